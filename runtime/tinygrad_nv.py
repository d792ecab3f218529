"""Our driver as tinygrad's NV backend: after `install`, `Tensor(..., device="NV")` lives on GPUs that gpumend opened.

    import runtime.tinygrad_nv
    runtime.tinygrad_nv.install("model:h200*2")      # None: GPUMEND_ON, else this machine's PCI bus
    from tinygrad import Tensor
    Tensor([1, 2, 3], device="NV").to("NV:1").numpy()

or `gpumend --on model:h200 tinygrad SCRIPT`. As runtime/tinygrad.py does it for AMD: in this process tinygrad's table of
devices gets our NVDevice (`runtime/tinygrad_nv_device.py`), nothing of its files is changed. It runs on Hopper, too, whose
classes tinygrad's own NV backend does not know.

Memory, copies, fills and signals are built; kernels are not: what Hopper's constant bank must hold is not published, and no
board was at hand to find out. Work that the driver ends in an Xid raises ChannelDead where tinygrad waits for it; its
channel is made anew by then, and the next work runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gpumend
from base.errors import GpumendError
from runtime.sessions import GpuSession, require_once
from runtime.tinygrad import require_version

if TYPE_CHECKING:
    from gpumend import Gpu, OpenNvGpu  # noqa: F401 - the last in a string

_active: NvSession | None = None
_sessions = 0


class NvSession(GpuSession["OpenNvGpu"]):
    """NVIDIA's GPUs of one `install`."""

    word, vendor, example = "NV", "an NVIDIA", ("0000:18:00.0", "model:h200*2")
    staging: bool | None = None  # as tinygrad_device.Allocator asks: through host memory

    def is_ours(self, gpu: Gpu) -> bool:
        return gpu.part.is_nvidia

    def open(self, index: int, narrow: Callable[[list[Gpu]], list[Gpu]]) -> int:
        """Open the GPU that tinygrad counts as `index`: its key in `gpus`. Raises what gpumend.open_nvidia raises."""
        chosen, _ = self.choose(index, narrow)
        if chosen.index not in self.gpus:
            self.gpus[chosen.index] = gpumend.open_nvidia_found(chosen)
        return chosen.index

    def peer_group(self, index: int) -> str:
        """GPUs do not map each other's memory, so each is a group of its own."""
        return f"gpumend-nv-{self.number}-{index}"

    def end(self, index: int) -> None:
        """tinygrad has ended its device on this GPU, or none could be made."""
        gpu = self.gpus.pop(index, None)
        if gpu is not None and self.is_own_process:
            gpu.close()

    def close(self) -> None:
        """All GPUs, the first error raised after all were tried. In a forked child: nothing."""
        failed: list[GpumendError] = []
        for index in list(self.gpus):
            try:
                self.end(index)
            except GpumendError as error:
                failed.append(error)
        if failed:
            raise failed[0]


def install(on: str | None = None) -> NvSession:
    """From now on tinygrad's NV devices of this process are ours. `on`: one address (README), which may name several GPUs.
    Touches no GPU yet.

    Raises Unavailable (tinygrad is not installed, or of a version that was not tested), UsageError (installed already, or
    tinygrad has opened an NV device of its own)."""
    global _active, _sessions
    require_version()
    require_once(_active, "runtime.tinygrad_nv")
    from runtime import tinygrad_nv_device

    _sessions += 1
    session = NvSession(on, _sessions)
    tinygrad_nv_device.put_in_place(session)
    _active = session
    return session


def uninstall() -> None:
    """Finish the work, close the GPUs, give tinygrad its own NVDevice back."""
    global _active
    session, _active = _active, None
    if session is None:
        return
    from runtime import tinygrad_nv_device

    tinygrad_nv_device.take_away(session)
