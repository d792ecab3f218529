"""A mark in state that a reset destroys: if it is still there afterwards, the reset did not take place.

Source: amd-resets.md section 8 (state after each reset). What is certain to go, and what is only "treat as lost":

    mode2               SCRATCH_REG2 of each XCC                     certain
    mode1, link, FLR,   the same, the secure OS's sign of life       certain
    bus reset           VRAM, a BIOS scratch register of NBIO        only told: they may survive
    SDMA engine         the mark is part of `SdmaReset.reset`
    queue, pipe, MEC    nothing that is known to be wiped: what proves them is that the queue is off and the MEC idle

Nothing is overwritten for good: what a mark replaces is kept in it, and `remove` writes it back if the mark is still there.
The 16 bytes of VRAM lie at a fixed place far from the discovery table and the firmware's own memory at the end of VRAM;
somebody's data may be there, so they are only written for resets that lose VRAM anyway, and `Mark.where` names them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from base.errors import GpumendError
from pcibus.transport import ALL_ONES
from registers.amd.gc_9_4_3 import Gc
from registers.amd.mp_13_0_6 import Mp0
from registers.amd.nbio_7_9_0 import Nbio

if TYPE_CHECKING:
    from amdriver.gpu import Gpu
    from registers.core import Bound

VRAM_AT: Final = 16 << 20
VRAM_BYTES: Final = 16
_MARK: Final = 0x6D61_726B


@dataclass(slots=True)
class _Place:
    """One marked place. `certain`: the reset is known to destroy it."""

    name: str
    certain: bool
    still: Callable[[], bool | None]  # None: it cannot be asked
    undo: Callable[[], None]


@dataclass(slots=True)
class Mark:
    """What was planted before a reset of kind `method`. Made by `plant`."""

    method: str
    _places: list[_Place] = field(default_factory=list)

    @property
    def where(self) -> tuple[str, ...]:
        """The places that bear it; () when nothing could be marked (a GPU that does not answer)."""
        return tuple(place.name for place in self._places)

    def gone(self) -> bool | None:
        """After the reset: True: every place that it is known to destroy was destroyed. False: one of them still bears the
        mark, so the reset did not take place. None: there is no such place, or the GPU does not answer: not proved."""
        told = [place.still() for place in self._places if place.certain]
        if any(told):
            return False
        return True if told and None not in told else None

    def left(self) -> tuple[str, ...]:
        """Places that still bear it, the uncertain ones too."""
        return tuple(place.name for place in self._places if place.still())

    def remove(self) -> None:
        """Write back what the mark replaced where it still is; where it is gone, nothing is written."""
        for place in self._places:
            with suppress(GpumendError):
                if place.still():
                    place.undo()


def plant(gpu: Gpu, method: str, xccs: tuple[int, ...], *, whole: bool) -> Mark:
    """Mark what `method` destroys: of the engines only, or (`whole`) of the whole chip. A place that does not take the mark
    is left out; errors of the GPU are not raised, they show in `Mark.where`."""
    mark = Mark(method)
    for xcc in xccs:
        with suppress(GpumendError):
            _register(mark, gpu.block(Gc, "GC", xcc).SCRATCH_REG2, certain=True)
    if whole:
        with suppress(GpumendError):
            _secure_os(mark, gpu.block(Mp0, "MP0").MP0_SMN_C2PMSG_81)
        with suppress(GpumendError):
            _register(mark, gpu.block(Nbio, "NBIF").BIF_BX0_BIOS_SCRATCH_13, certain=False)
        with suppress(GpumendError):
            _vram(mark, gpu)
    return mark


def _register(mark: Mark, register: Bound[Any], *, certain: bool) -> None:
    before = register.read().value
    if before == ALL_ONES:
        return
    value = _other_than(before)
    register.write(value)
    if register.read().value != value:
        return

    def still() -> bool | None:
        seen = register.read().value
        return None if seen == ALL_ONES else seen == value

    mark._places.append(_Place(register.where, certain, still, lambda: register.write(before)))


def _secure_os(mark: Mark, register: Bound[Any]) -> None:
    """Nothing is written: that it lived, and does not, is the mark. It is 0 until a driver loads it again."""
    before = register.read().value
    if before in (0, ALL_ONES):
        return

    def still() -> bool | None:
        seen = register.read().value
        return None if seen == ALL_ONES else seen != 0

    mark._places.append(_Place(f"secure OS, {register.where}", certain=True, still=still, undo=lambda: None))


def _vram(mark: Mark, gpu: Gpu) -> None:
    access = gpu.access
    if not access.is_visible(VRAM_AT, VRAM_BYTES):
        return
    before = access.vram_read(VRAM_AT, VRAM_BYTES)
    if before == b"\xff" * VRAM_BYTES:
        return
    value = _other_than(int.from_bytes(before[:4], "little")).to_bytes(4, "little") * (VRAM_BYTES // 4)
    access.vram_write(VRAM_AT, value)
    if access.vram_read(VRAM_AT, VRAM_BYTES) != value:
        return

    def still() -> bool | None:
        seen = access.vram_read(VRAM_AT, VRAM_BYTES)
        return None if seen == b"\xff" * VRAM_BYTES else seen == value

    def undo() -> None:
        access.vram_write(VRAM_AT, before)

    name = f"VRAM {VRAM_AT:#x}, {VRAM_BYTES} bytes, on {gpu.name}"
    mark._places.append(_Place(name, certain=False, still=still, undo=undo))


def _other_than(before: int) -> int:
    """Neither what is there, be it an older mark, nor 0 nor all ones."""
    return _MARK if before != _MARK else _MARK ^ 1
