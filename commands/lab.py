"""`lab`: software GPUs behind a real Linux kernel, in a virtual machine (docs/lab.md)."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from base.errors import UsageError
from commands.common import Group, Seconds, Settings, common_options, emit, settings_of
from render.text import Table, clean

KERNEL_HELP = "trixie-backports (the newest), trixie, or the beginning of a version: 7, 6.12."


@click.group("lab", cls=Group, short_help="A virtual machine: software GPUs behind a real Linux kernel.")
def lab_group() -> None:
    """Rehearse any command in a virtual machine, where software GPUs are PCI devices of a real Linux kernel."""


@lab_group.command("build", short_help="Fetch and build what the virtual machine needs.")
@click.option("--kernel", "kernels", multiple=True, metavar="SUITE", help="trixie-backports or trixie; repeatable.")
@common_options
@click.pass_context
def build_command(context: click.Context, kernels: tuple[str, ...]) -> int:
    """Ask Debian's mirror for the newest QEMU, kernel, firmware and Python, and build what is not there. Needs no root."""
    from lab import parts

    settings = settings_of(context)
    settings.command = "lab build"
    suites = kernels or parts.SUITES
    if unknown := [name for name in suites if name not in parts.SUITES]:
        raise UsageError(
            "building the lab's parts", expected=f"--kernel {' or '.join(parts.SUITES)}", seen=", ".join(unknown)
        )
    rows = parts.build(suites, say=_say)
    columns = ("part", "version", "release", "folder")
    table = Table(
        columns, [[name, row["version"], row.get("release", "-"), row["folder"]] for name, row in rows.items()]
    )
    body = {"parts": [dict(zip(columns, row, strict=True)) for row in table.rows], "where": str(parts.cache_folder())}
    emit(settings, "lab build", body=body, table=table, human=lambda printer: printer.table(table))
    return 0


@lab_group.command(
    "run",
    short_help="Run a command in the virtual machine; its exit code is ours.",
    context_settings={"allow_interspersed_args": False},  # what stands behind COMMAND is COMMAND's
)
@click.option("--gpus", metavar="MODEL", help="Software GPUs on the guest's PCI bus: 'mi350x*8?fault=smu-silent@2'.")
@click.option("--kernel", metavar="KERNEL", default="trixie-backports", show_default=True, help=KERNEL_HELP)
@click.option(
    "--timeout",
    "limit_s",
    type=Seconds(1, 24 * 3600),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="After this the command is killed, exit 124.",
)
@click.option(
    "--memory",
    "memory_mib",
    type=click.IntRange(1024, 1 << 20),
    default=3072,
    show_default=True,
    metavar="MIB",
    help="The guest's memory.",
)
@click.option("--append", metavar="WORDS", default="", help="More words for the kernel's command line.")
@click.option("--iommu", is_flag=True, help="With an emulated IOMMU, for vfio-pci in the guest.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Keep the console's log, and of each GPU a trace for `gpumend trace`.",
)
@click.option(
    "--accesses",
    type=click.IntRange(1, 2_000_000),
    metavar="N",
    help="With --keep: the last N accesses of each GPU (4096); a start of amdgpu makes 30,000.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@common_options
@click.pass_context
def run_command(
    context: click.Context,
    command: tuple[str, ...],
    gpus: str | None,
    kernel: str,
    limit_s: float,
    memory_mib: int,
    append: str,
    iommu: bool,
    keep: str | None,
    accesses: int | None,
) -> int:
    """Boot a guest, run COMMAND in it as root, end it. This checkout is inside: `gpumend` works there.

    \b
        gpumend lab run -- gpumend --version
        gpumend lab run --gpus 'mi350x*8?fault=discovery-clobbered@2' -- gpumend probe
        gpumend lab run --gpus mi350x -- sh -c 'modprobe amdgpu; dmesg'
    """
    settings = settings_of(context)
    settings.command = "lab run"
    _refuse_forms(settings)
    if accesses is not None and not (keep and gpus):
        raise UsageError("running a command in the lab", expected="--accesses with --keep and --gpus", seen="it alone")
    from lab import guest, parts, served
    from lab.qemu import Machine

    if gpus is not None:
        served.count(gpus)  # a bad address is told before anything is fetched
    found = parts.ready(kernel, say=_say)
    machine = Machine(memory_mib=memory_mib, append=append, iommu=iommu)
    life_s = limit_s + guest.BOOT_LIMIT_S + 2 * guest.MARGIN_S
    kept = Path(keep) if keep else None
    # SIGTERM, too, is a wish to end in order
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with guest.boot(found, gpus=gpus, machine=machine, life_s=life_s, keep=kept, accesses=accesses) as running:
            done = running.run(command, limit_s=limit_s, output=_pass_on)
    finally:
        signal.signal(signal.SIGTERM, before)
    if done.timed_out:
        _say(f"the command did not end within {limit_s:g} s and was killed")
    return done.exit_code


def _refuse_forms(settings: Settings) -> None:
    """What the command prints passes through as it is; its own --json stands behind the dashes."""
    if settings.as_json or settings.as_csv or settings.on or settings.gpus:
        raise UsageError(
            "running a command in the lab",
            expected="the options of the command behind `--`",
            seen="--json, --csv, --on or -g in front of it",
            next_step="gpumend lab run --gpus MODEL -- gpumend probe --json",
        )


def _pass_on(number: int, data: bytes) -> None:
    stream = sys.stdout if number == 1 else sys.stderr
    stream.flush()
    stream.buffer.write(data)
    stream.flush()


def _say(line: str) -> None:
    sys.stderr.write(f"lab: {clean(line)}\n")
    sys.stderr.flush()
