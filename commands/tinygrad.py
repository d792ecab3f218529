"""`tinygrad`: run a program of tinygrad's with our driver as its AMD backend."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from base.errors import Exit, GpumendError, Unavailable, UsageError
from commands.common import common_options, settings_of


@click.command(
    "tinygrad",
    short_help="Run a tinygrad program on GPUs that gpumend drives.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--path", is_flag=True, help="Print the folder to put into PYTHONPATH, which does the same for any program."
)
@click.option(
    "--pin-clocks", "mhz", type=click.IntRange(1, 65535), metavar="MHZ", help="Hold the graphics clock there."
)
@click.argument("script", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@common_options
@click.pass_context
def tinygrad_command(
    context: click.Context, path: bool, mhz: int | None, script: str | None, arguments: tuple[str, ...]
) -> int:
    """Run SCRIPT as Python would, with --on (one address) as tinygrad's devices AMD, AMD:1, ..., or, where it names NVIDIA's
    GPUs, NV, NV:1, ... What the VRAM of AMD's held is lost. NVIDIA's are opened beside other users, for copies, not kernels.

    Exit: that of the script; 69: tinygrad of a version that was tested is not installed. See docs/tensor-runtime.md."""
    import runtime.tinygrad

    settings = settings_of(context)
    if path:
        print(Path(runtime.tinygrad.__file__).resolve().parent / "site")
        return Exit.OK
    if script is None:
        raise click.UsageError("A script is missing.", context)
    if len(settings.on) > 1 or settings.gpus:
        raise UsageError(
            "running a tinygrad program",
            expected="one address, which may name several GPUs",
            seen=" ".join((*settings.on, *settings.gpus)),
            next_step="DEV=:0,2+AMD chooses among them",
        )
    if not Path(script).is_file():
        raise Unavailable(f"running {script}", expected="a Python program", seen="no such file")
    take_away = _install(settings.on[0] if settings.on else None, settings.firmware, mhz)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        return _run(script)
    finally:
        take_away()


def _run(script: str) -> int:
    """As Python runs it; errors of ours are told as everywhere."""
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or Exit.OK
        print(ended.code, file=sys.stderr)
        return Exit.PROBLEM
    except GpumendError:
        raise
    except Exception:  # noqa: BLE001 - the script's own, not a defect of ours
        traceback.print_exc()
        return Exit.PROBLEM
    return Exit.OK


def _install(on: str | None, firmware: str | None, mhz: int | None) -> Callable[[], None]:
    """Of the vendor whose GPUs are there; what ends it again."""
    import gpumend
    import runtime.tinygrad

    runtime.tinygrad.require_version()
    # Only AMD's are reached by a server or through VFIO: those are left alone until they are used.
    found = [] if on is not None and on.startswith(("remote:", "vfio:")) else gpumend.list_gpus([on] if on else ())
    if not found or not all(one.part.is_nvidia for one in found):
        runtime.tinygrad.install(on, firmware=firmware, clocks_mhz=mhz)
        return runtime.tinygrad.uninstall
    import runtime.tinygrad_nv

    if mhz is not None:
        raise UsageError(
            "running a tinygrad program", expected="no --pin-clocks: it is for AMD's GPUs", seen=f"{mhz} MHz"
        )
    runtime.tinygrad_nv.install(on)
    return runtime.tinygrad_nv.uninstall
