"""`model`: the software GPUs, their faults, and the demo."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from base.errors import GpumendError, UsageError
from commands.common import Group, Settings, common_options, emit, settings_of
from gpumend import list_gpus
from render.text import Printer, Table

DEFAULT_REMOTE = "127.0.0.1:6667"
DEMO = "model:mi350x*8?fault=discovery-clobbered@2,bootloader-silent@5"


@click.group("model", cls=Group, short_help="Software GPUs to try things on, with faults.")
def model_group() -> None:
    """Software GPUs with faults: everything gpumend does can be tried on them."""


@model_group.command("list", short_help="The parts that can be modelled.")
@common_options
@click.pass_context
def model_list(context: click.Context) -> int:
    """List the parts that can be modelled, with an address to try for each."""
    from gpumend import model_parts

    settings = settings_of(context)
    parts = model_parts()
    columns = ("part", "product", "id", "vram_gib", "xcc", "compute_units", "sdma", "address")
    table = Table(columns, [["-" if part[name] is None else part[name] for name in columns] for part in parts])
    emit(settings, "model list", body={"parts": parts}, table=table, human=lambda printer: printer.table(table))
    return 0


@model_group.command("faults", short_help="The faults a model can be given, and what cures each.")
@common_options
@click.pass_context
def model_faults(context: click.Context) -> int:
    """List the faults: what each does to the GPU, and what cures it. Use: --on 'model:mi350x*8?fault=NAME[:ARG][@GPU]'."""
    from gpumend import model_faults as catalogue

    settings = settings_of(context)
    faults = catalogue()
    columns = ("fault", "what it does", "argument (default)", "cured by", "shows at", "of")
    rows = [
        (
            item["name"], item["summary"], _argument(item), ", ".join(item["cured_by"]) or "never", item["shows_at"],
            item["vendor"],
        )
        for item in faults
    ]  # fmt: skip

    def human(printer: Printer) -> None:
        vendor = ""
        for name, summary, argument, cures, shows_at, of in rows:
            if of != vendor:
                printer.heading({"amd": "of AMD's models", "nvidia": "of NVIDIA's models (h100, h200, ...)"}[of])
                vendor = of
            printer.spans((f"{name:<26}", "bold"), (summary, ""))
            if argument != "-":
                printer.spans((f"    argument {argument}", "dim"))
            printer.spans((f"    cured by {cures}", "dim"))
            if shows_at != "look":
                printer.spans((f"    shows at {shows_at} only", "dim"))

    emit(settings, "model faults", body={"faults": faults}, table=Table(columns, rows), human=human)
    return 0


@model_group.command("serve", short_help="Software GPUs in a process of their own, over a socket.")
@click.argument("spec", metavar="MODEL")
@click.option("--remote", metavar="HOST:PORT", help="Default 127.0.0.1:6667; port 0: any free one.")
@click.option(
    "--vfio-user", "folder", metavar="DIR", help="Instead: sockets DIR/gpu0.sock ... for QEMU's vfio-user-pci device."
)
@click.option(
    "--allow-remote", is_flag=True, help="Serve beyond this machine, too: whoever reaches the port owns these GPUs."
)
@click.option(
    "--kept", type=click.IntRange(1, 2_000_000), metavar="N", help="With --vfio-user: accesses in a trace (4096)."
)
@common_options
@click.pass_context
def serve(
    context: click.Context, spec: str, remote: str | None, folder: str | None, allow_remote: bool, kept: int | None
) -> int:
    """Serve the GPUs of MODEL ('mi350x*8') until Ctrl-C: they live on while clients come, go and are killed.

    Speaks tinygrad's remote PCI protocol (REMOTE=HOST:PORT) as well as gpumend's --on remote:HOST:PORT; with
    --vfio-user the GPUs are PCI devices of a virtual machine; SIGUSR1 writes their last accesses to DIR/gpuN.trace, SIGHUP
    power-cycles them into what DIR/model says ('mi350x*8?fault=...'), or, with + before it, lets its faults strike them."""
    settings = settings_of(context)
    settings.command = "model serve"
    if folder is not None and (remote is not None or allow_remote):
        raise UsageError(
            "serving GPUs", expected="--vfio-user, or --remote with --allow-remote", seen="--vfio-user and one of those"
        )
    if folder is None and kept is not None:
        raise UsageError("serving GPUs", expected="--kept with --vfio-user", seen="--kept alone")
    # SIGTERM, too, is a wish to end in order
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if folder is not None:
            _serve_vfio_user(settings, folder, spec, kept)
        else:
            _serve_remote(settings, remote or DEFAULT_REMOTE, spec, allow_remote)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _serve_remote(settings: Settings, remote: str, spec: str, allow_remote: bool) -> None:
    from gpumend import serve_model

    with serve_model(remote, spec, allow_remote=allow_remote) as server:
        _tell_address(settings, server.address, len(server.transports))
        server.wait()


def _serve_vfio_user(settings: Settings, folder: str, spec: str, kept: int | None) -> None:
    from gpumend import serve_vfio_user

    with serve_vfio_user(folder, spec, kept=kept, say=lambda text: click.echo(text, err=True)) as server:
        before = signal.signal(signal.SIGUSR1, lambda *_: server.dump())
        before_hup = signal.signal(signal.SIGHUP, lambda *_: _change(server))
        try:
            served, where = len(server.transports), str(server.folder)
            table = Table(("address", "gpus"), [[server.address, served]])
            text = f"serving {spec.removeprefix('model:')} at {where} (vfio-user)"
            body = {"address": server.address, "served": served}
            emit(settings, "model serve", body=body, table=table, human=lambda printer: printer.line(text))
            sys.stdout.flush()
            server.wait()
        finally:
            signal.signal(signal.SIGUSR1, before)
            signal.signal(signal.SIGHUP, before_hup)


def _change(server: Any) -> None:
    """SIGHUP: FOLDER/model says what the GPUs shall be from now on. What is wrong with it is told, and nothing changes."""
    try:
        server.change((server.folder / "model").read_text().strip())
    except (OSError, ValueError, GpumendError) as error:
        click.echo(f"not changed: {error}", err=True)


def _tell_address(settings: Settings, address: str, gpus: int) -> None:
    """One line, at once: whoever started us in a pipe waits for it."""
    table = Table(("address", "gpus"), [[address, gpus]])
    text = f"serving {gpus} GPU{'s' if gpus != 1 else ''} until Ctrl-C; try: gpumend --on {address} list"
    body = {"address": address, "served": gpus}
    emit(settings, "model serve", body=body, table=table, human=lambda printer: printer.line(text))
    sys.stdout.flush()


@model_group.command("demo", short_help="A sick hive, looked at: the tour in ten seconds.")
@click.option("--svg", type=click.Path(dir_okay=False), help="Also save the screen as an SVG picture.")
@common_options
@click.pass_context
def demo(context: click.Context, svg: str | None) -> int:
    """Look at a modelled hive of eight MI350X with two sick GPUs: list, probe with reasons, discovery diff, what next."""
    settings = settings_of(context)
    settings.command = "model demo"
    if settings.as_json or settings.as_csv:
        raise UsageError(
            "showing the demo",
            expected="a person who looks",
            seen="--json or --csv",
            next_step="its commands take both",
        )
    printer = _recorder() if svg else Printer(sys.stdout)
    _tour(printer)
    if svg:
        printer.console.save_svg(svg, title="gpumend: a sick hive, looked at")
    return 0


def _recorder() -> Printer:
    from rich.console import Console

    return Printer(console=Console(record=True, width=132, highlight=False, soft_wrap=False))


def _tour(printer: Printer) -> None:
    from commands.discovery import print_difference
    from commands.look import list_rows, list_table
    from gpumend import probe_gpus, read_discovery
    from render.reports import print_probe

    found = list_gpus([DEMO])
    _step(printer, "Eight MI350X in one XGMI hive, modelled: two of them are sick.", f"gpumend --on '{DEMO}' list")
    printer.table(list_table(list_rows(found)))
    _step(printer, "What is wrong, why, and what brings it back:", f"gpumend --on '{DEMO}' probe")
    print_probe(printer, probe_gpus(found))
    _step(
        printer,
        "GPU 2's discovery table beside the one of healthy GPU 0 (same part, per-GPU harvest may differ):",
        f"gpumend --on '{DEMO}' -g 0,2 discovery diff",
    )
    good, bad = (read_discovery(found[index]).blob for index in (0, 2))
    print_difference(printer, good, bad)
    printer.line()
    printer.heading("Next, try:")
    for command, why in _NEXT:
        printer.spans(("  ", ""), (command, "cyan"))
        printer.spans(("      ", ""), (why, "dim"))


_NEXT = (
    ("gpumend probe", "this machine's own GPUs; changes nothing, needs no driver"),
    ("gpumend --on 'model:mi300x*8?fault=mec-hang@1,xgmi-link-down@6' probe", "another bad night"),
    ("gpumend model faults", "every fault there is, and what cures it"),
    ("gpumend --on model:mi350x regs read 'GRBM_STATUS*'", "registers by name, decoded"),
    ("gpumend discovery validate FILE", "why a discovery table is refused, to the byte"),
)


def _step(printer: Printer, what: str, command: str) -> None:
    printer.line()
    printer.heading(what)
    printer.spans(("$ ", "dim"), (command, "cyan"))


def _argument(fault: dict[str, Any]) -> str:
    default = "must be given" if fault["default"] is None else fault["default"]
    return f"{fault['argument']} ({default})" if fault["argument"] else "-"
