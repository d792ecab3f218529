"""Our driver as tinygrad's AMD backend: after `install`, `Tensor(..., device="AMD")` runs on GPUs that gpumend drives.

    import runtime.tinygrad
    runtime.tinygrad.install("model:mi350x*2")       # None: GPUMEND_ON, else this machine's PCI bus
    from tinygrad import Tensor
    Tensor([1, 2, 3], device="AMD").to("AMD:1").numpy()

or, without a line of it in the program: `gpumend tinygrad SCRIPT`. Nothing of tinygrad's files is changed: in this process its
table of devices gets our AMDDevice (`runtime/tinygrad_device.py`) in place of its own. AMD is the first GPU at the address,
AMD:1 the second; each is brought up when it is first used.

A kernel that faults, is stopped or does not end raises DispatchFailed where tinygrad waits for it; its queue has been freed
by then, and the next work runs. Other errors are those of gpumend (GpumendError), which tinygrad shows as they are."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpumend
from base.errors import Unavailable
from runtime.sessions import GpuSession, require_once

if TYPE_CHECKING:
    from gpumend import Gpu, KernelHung, OpenGpu  # noqa: F401 - the last in a string

SUPPORTED = ("0.14.0",)
_active: Session | None = None
_sessions = 0


class DispatchFailed(RuntimeError):
    """Work that went wrong, after its queue was freed. RuntimeError, because tinygrad's kernel search takes that for a kernel
    that is of no use and goes on."""

    def __init__(self, error: KernelHung) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def fault(self) -> Any:
        """The first page fault, decoded (`address`, `vmid`, `client_name`, `write`, ...); None: there was none."""
        return self.error.faults[0] if self.error.faults else None

    @property
    def recovery(self) -> gpumend.Recovery:
        """What was done about it, how long it took, what was lost."""
        return self.error.recovery


class Session(GpuSession["OpenGpu"]):
    """AMD's GPUs of one `install`, brought up when they are first used."""

    word, vendor, example = "AMD", "a supported AMD", ("0000:c1:00.0", "model:mi350x*2")

    def __init__(
        self, on: str | None, firmware: str | Path | None, clocks_mhz: int | None, staging: bool | None, number: int
    ) -> None:
        super().__init__(on, number)
        self.staging = staging
        self.firmware = firmware
        self.clocks_mhz = clocks_mhz
        self.peer_group = f"gpumend-{number}"
        self.finished: set[int] = set()

    def is_ours(self, gpu: Gpu) -> bool:
        return not gpu.part.is_nvidia

    def open(self, index: int, narrow: Callable[[list[Gpu]], list[Gpu]]) -> tuple[int, int]:
        """Bring up the GPU that tinygrad counts as `index`: its key in `gpus`, and how many there are.

        Raises what gpumend.open raises."""
        chosen, count = self.choose(index, narrow)
        if chosen.index not in self.gpus:
            gpu = gpumend.open_found(chosen, firmware=self.firmware, recover=True, slot=chosen.index)
            self.gpus[chosen.index] = gpu
            if self.clocks_mhz is not None:
                gpu.clocks.pin(self.clocks_mhz)
        return chosen.index, count

    def pin_clocks(self, mhz: int | None = None) -> None:
        """Hold the graphics clock of every GPU that is open at a frequency (None: the highest), so that a kernel search
        measures the same twice. Freed when they are closed, or by `free_clocks`."""
        for gpu in self.gpus.values():
            gpu.clocks.pin(mhz)

    def free_clocks(self) -> None:
        """Their whole range again."""
        for gpu in self.gpus.values():
            gpu.clocks.auto()

    def close(self) -> None:
        """All GPUs, the first error raised after all were tried. In a forked child: nothing."""
        gpus, self.gpus = self.gpus, {}
        self.finished.clear()
        failed: list[gpumend.GpumendError] = []
        if self.is_own_process:
            for work in (*(gpu.unmap_peers for gpu in gpus.values()), *(gpu.close for gpu in gpus.values())):
                try:
                    work()
                except gpumend.GpumendError as error:
                    failed.append(error)
        if failed:
            raise failed[0]

    def finish(self, index: int) -> None:
        """tinygrad has ended its device on this GPU. Memory of one may be in use by the others: all close with the last."""
        self.finished.add(index)
        if self.finished >= set(self.gpus):
            self.close()

    def give_up(self, index: int) -> None:
        """A GPU on which no device could be made."""
        gpu = self.gpus.pop(index, None)
        if gpu is not None and self.is_own_process:
            gpu.close()


def install(
    on: str | None = None,
    *,
    firmware: str | Path | None = None,
    clocks_mhz: int | None = None,
    staging: bool | None = None,
) -> Session:
    """From now on tinygrad's AMD devices of this process are ours. `on`: one address (README), which may name several GPUs;
    None: GPUMEND_ON, else this machine's PCI bus. `clocks_mhz`: each GPU's graphics clock is held there. `staging`:
    whether copies from and to the host go through memory that an SDMA engine reads and writes, or straight through BAR0; None:
    the first on this machine's bus, the second elsewhere. Touches no GPU yet.

    Raises Unavailable (tinygrad is not installed, or of a version that was not tested), UsageError (installed already, or
    tinygrad has opened an AMD device of its own)."""
    global _active, _sessions
    require_version()
    require_once(_active, "runtime.tinygrad")
    from runtime import tinygrad_device

    _sessions += 1
    session = Session(on, firmware, clocks_mhz, staging, _sessions)
    tinygrad_device.put_in_place(session)
    _active = session
    return session


def uninstall() -> None:
    """Finish the work, close the GPUs, give tinygrad its own AMDDevice back; buffers that are left raise Closed when used."""
    global _active
    session, _active = _active, None
    if session is None:
        return
    from runtime import tinygrad_device

    tinygrad_device.take_away(session)


def require_version() -> str:
    """The version of tinygrad that is installed. Raises Unavailable when it is none that was tested."""
    try:
        version = importlib.metadata.version("tinygrad")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if version in SUPPORTED:
        return version
    raise Unavailable(
        "installing gpumend into tinygrad",
        expected=f"tinygrad {' or '.join(SUPPORTED)}",
        seen=version or "it is not installed",
        next_step=f"pip install 'tinygrad=={SUPPORTED[-1]}' (the extra gpumend[tinygrad])",
    )
