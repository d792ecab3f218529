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

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import gpumend
from base.errors import GpumendError, Refused, Unavailable, UsageError
from runtime.tinygrad import require_version

if TYPE_CHECKING:
    from gpumend import Gpu, OpenNvGpu

_active: NvSession | None = None
_sessions = 0


class NvSession:
    """The GPUs of one `install`, opened when they are first used."""

    staging: bool | None = None  # as tinygrad_device.Allocator asks: through host memory

    def __init__(self, on: str | None, number: int) -> None:
        self.on = on
        self.number = number
        self.gpus: dict[int, OpenNvGpu] = {}
        self.pid = os.getpid()
        self._found: list[Gpu] | None = None

    def found(self) -> list[Gpu]:
        """NVIDIA's GPUs at the address. Raises Unavailable when there is none."""
        if self._found is None:
            self._found = [one for one in gpumend.list_gpus([self.on] if self.on else ()) if one.part.is_nvidia]
        if not self._found:
            raise Unavailable(
                "looking for a GPU for tinygrad",
                expected="an NVIDIA GPU on this machine's PCI bus",
                seen="none",
                next_step="say where it is: GPUMEND_ON=0000:18:00.0; without one: GPUMEND_ON='model:h200*2'",
            )
        return self._found

    def open(self, index: int, narrow: Callable[[list[Gpu]], list[Gpu]]) -> int:
        """Open the GPU that tinygrad counts as `index`: its key in `gpus`. Raises what gpumend.open_nvidia raises."""
        self.require_own_process()
        there = narrow(self.found())
        if not 0 <= index < len(there):
            raise Unavailable(
                f"opening NV:{index}",
                expected=f"a GPU of that number at {self.on or os.environ.get('GPUMEND_ON') or 'the PCI bus'}",
                seen=f"{len(there)}, counted from NV:0",
                next_step="gpumend list",
            )
        chosen = there[index]
        if chosen.index not in self.gpus:
            self.gpus[chosen.index] = gpumend.open_nvidia_found(chosen)
        return chosen.index

    @property
    def is_own_process(self) -> bool:
        return os.getpid() == self.pid

    def require_own_process(self) -> None:
        """Refused in a process that was forked after the GPUs were opened: two of them would write one ring."""
        if self.is_own_process:
            return
        raise Refused(
            "using a GPU after fork",
            expected=f"the process that opened it ({self.pid})",
            seen=f"its child {os.getpid()}",
            next_step="fork before the first use of the GPU, or start the child anew (multiprocessing: spawn)",
        )

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
    if _active is not None:
        raise UsageError(
            "installing gpumend into tinygrad",
            expected="once",
            seen=f"it is installed, on {_active.on or 'the default address'}",
            next_step="runtime.tinygrad_nv.uninstall() first",
        )
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
