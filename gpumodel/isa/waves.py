"""The registers of many waves that stand at the same instruction: one array a register, a row a wave.

An SGPR is uint32 [waves], or [1] where all waves hold the same. A VGPR is uint32 of any shape that broadcasts to
[waves][lanes], so that what is the same in all lanes is held and computed once. `lanes` is as many as the work-groups
have, 64 as soon as an instruction reaches across lanes. Arrays are never written to after they were stored: a copy of the
lists is a snapshot.

A pair of SGPRs that a compare wrote is kept as bool [waves][lanes] (`_masks`) until somebody wants its bits; lanes above
`lanes` are 0 in it. EXEC is such a pair. VGPR 256 and up are the accumulation registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gpumodel.isa.context import Context

Array = npt.NDArray[Any]

WAVE = 64
SGPRS = 128
VGPRS = 512
FLAT_SCRATCH, XNACK_MASK, VCC, M0, EXEC = 102, 104, 106, 124, 126
MODE_DEFAULT = 0xF0
_ZERO: Array = np.zeros(1, np.uint32)
_ZERO_LANES: Array = np.zeros((1, 1), np.uint32)


class Waves:
    """`group`: of each wave, its work-group among those that run together; `number`: its own number among them."""

    def __init__(self, context: Context, count: int, lanes: int, group: Array, number: Array, active: Array) -> None:
        self.context = context
        self.count = count
        self.lanes = lanes
        self.group = group
        self.number = number
        self.pc = 0
        self.scc: Array = np.zeros(1, bool)
        self.mode = MODE_DEFAULT

        self._s: list[Array | None] = [None] * SGPRS
        self._v: list[Array] = [_ZERO_LANES] * VGPRS
        self._masks: dict[int, Array] = {EXEC: active}
        self._known_full: tuple[Array | None, bool] = (None, False)
        self.taking_part: Array | None = None

    # ---- scalar registers

    def s(self, index: int) -> Array:
        """uint32 [waves] or [1]."""
        value = self._s[index]
        if value is None:
            mask = self._masks.get(index & ~1)
            if mask is None:
                return _ZERO
            self._s[index & ~1], self._s[index | 1] = pack(mask)
            value = self._s[index]
            assert value is not None
        return value

    def scalars(self) -> Iterator[tuple[int, Array]]:
        """The SGPRs that hold anything."""
        for pair in self._masks:
            self.s(pair)
        for index, value in enumerate(self._s):
            if value is not None:
                yield index, value

    def vectors(self) -> Iterator[tuple[int, Array]]:
        """The VGPRs that hold anything."""
        return ((index, value) for index, value in enumerate(self._v) if value is not _ZERO_LANES)

    def set_s(self, index: int, value: Array) -> None:
        if index & ~1 in self._masks:
            self.s(index)
            del self._masks[index & ~1]
        self._s[index] = value
        if index & ~1 == EXEC and self.lanes < WAVE:
            high = self.lanes - (32 if index & 1 else 0)
            if bool((value >> np.uint32(high) if high > 0 else value).any() if high < 32 else False):
                self.widen()

    def s64(self, index: int) -> Array:
        """uint64, a pair."""
        low, high = self.s(index), self.s(index + 1)
        return low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)

    def set_s64(self, index: int, value: Array) -> None:
        self.set_s(index, value.astype(np.uint32))
        self.set_s(index + 1, (value >> np.uint64(32)).astype(np.uint32))

    def mask(self, pair: int) -> Array:
        """A pair as bool [waves][lanes]."""
        mask = self._masks.get(pair)
        if mask is None:
            low, high = self.s(pair), self.s(pair + 1)
            if pair & 1:
                return unpack(low, high, self.count, self.lanes)
            mask = self._masks[pair] = unpack(low, high, self.count, self.lanes)
        return mask

    def known_mask(self, pair: int) -> Array | None:
        """The same if it is at hand and nothing was in the bits above."""
        return self._masks.get(pair) if self._s[pair] is None else None

    def set_mask(self, pair: int, mask: Array) -> None:
        """From bool [waves][lanes]; the bits above are 0."""
        if pair & 1:
            self.set_s(pair, pack(mask)[0])
            self.set_s(pair + 1, pack(mask)[1])
            return
        self._masks[pair] = mask
        self._s[pair] = self._s[pair + 1] = None

    # ---- lanes

    @property
    def active(self) -> Array:
        """EXEC as bool [waves][lanes]."""
        return self.mask(EXEC)

    @property
    def all_active(self) -> bool:
        """Whether no lane of those that exist is off."""
        mask = self._masks.get(EXEC)
        if mask is None:
            mask = self.mask(EXEC)
        if self._known_full[0] is not mask:
            self._known_full = (mask, bool(mask.all()))
        return self._known_full[1]

    def v(self, index: int) -> Array:
        """uint32, broadcasts to [waves][lanes]."""
        return self._v[index]

    def set_v(self, index: int, value: Array) -> None:
        """Of the active lanes; of fewer while DPP says so."""
        if self.taking_part is not None:
            self._v[index] = np.where(self.taking_part, value, self.v(index))
        else:
            self._v[index] = value if self.all_active else np.where(self.active, value, self.v(index))

    def several(self, wanted: Callable[[list[Array]], tuple[Array, ...]]) -> tuple[Array, ...]:
        """Some VGPRs at once: what an itemgetter of their numbers gets."""
        return wanted(self._v)

    def set_several(self, numbers: Sequence[int], values: Array) -> None:
        """Of the active lanes; a row of `values` each."""
        if not self.all_active:
            values = np.where(self.active, values, np.stack([self.full(self._v[number]) for number in numbers]))
        v = self._v
        for number, value in zip(numbers, values, strict=True):
            v[number] = value

    def put_v(self, index: int, value: Array) -> None:
        """Of all lanes, whatever EXEC says."""
        self._v[index] = value

    def vgprs_of(self, chosen: Array, run: Callable[[Waves], None]) -> None:
        """Runs something that writes VGPRs alone on those waves alone; `chosen` bool [waves]."""
        part = self.part(chosen)
        before = list(part._v)
        run(part)
        for number, (old, new) in enumerate(zip(before, part._v, strict=True)):
            if new is not old:
                value = self.full(self.v(number)).copy()
                value[chosen] = new
                self._v[number] = value

    def v64(self, index: int) -> Array:
        low, high = self.v(index), self.v(index + 1)
        return low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)

    def set_v64(self, index: int, value: Array) -> None:
        self.set_v(index, value.astype(np.uint32))
        self.set_v(index + 1, (value >> np.uint64(32)).astype(np.uint32))

    def full(self, value: Array) -> Array:
        """A value as [waves][lanes], to be read only."""
        shape = (self.count, self.lanes)
        return value if value.shape == shape else np.broadcast_to(value, shape)

    def widen(self) -> None:
        """From now on all 64 lanes exist. The new ones hold zeros; they are off, unless EXEC was just said to have them."""
        if self.lanes == WAVE:
            return
        missing = ((0, 0), (0, WAVE - self.lanes))
        self._v = [value if value is _ZERO_LANES else np.pad(self.full(value), missing) for value in self._v]
        # Where bits are known, they say what is above.
        self._masks = {
            pair: np.pad(self.full(mask), missing) for pair, mask in self._masks.items() if self._s[pair] is None
        }
        self.lanes = WAVE

    # ---- parts

    def _shape(self) -> Waves:
        other = Waves.__new__(Waves)
        other.context = self.context
        other.lanes, other.pc, other.mode = self.lanes, self.pc, self.mode
        other._known_full = (None, False)
        other.taking_part = None
        return other

    def part(self, chosen: Array) -> Waves:
        """Those waves alone; `chosen` bool [waves]."""
        index = np.flatnonzero(chosen)

        def rows(value: Array | None) -> Array | None:
            same = value is None or value is _ZERO_LANES or (value.shape[0] == 1 and self.count != 1)
            return value if same else value[index]  # type: ignore[index]

        other = self._shape()
        other.count = len(index)
        other.group, other.number = self.group[index], self.number[index]
        other.scc = rows(self.scc)  # type: ignore[assignment]
        other._s = [rows(value) for value in self._s]
        other._v = [rows(value) for value in self._v]  # type: ignore[misc]
        other._masks = {pair: self.full(mask)[index] for pair, mask in self._masks.items()}
        return other

    def joined(self, other: Waves) -> Waves:
        """Both together, at one instruction."""
        if self.lanes != other.lanes:
            self.widen()
            other.widen()
        both = self._shape()
        both.pc = self.pc
        both.count = self.count + other.count
        both.group = np.concatenate((self.group, other.group))
        both.number = np.concatenate((self.number, other.number))

        def rows(first: Array | None, second: Array | None, zero: Array) -> Array | None:
            if first is second:
                return first if first is None or first.shape[0] == 1 else np.concatenate((first, first))
            a, b = zero if first is None else first, zero if second is None else second
            if a.shape[0] == b.shape[0] == 1 and a.shape == b.shape and np.array_equal(a, b):
                return a
            width = max(a.shape[1:], b.shape[1:])
            return np.concatenate((np.broadcast_to(a, (self.count, *width)), np.broadcast_to(b, (other.count, *width))))

        both.scc = rows(self.scc, other.scc, np.zeros(1, bool))  # type: ignore[assignment]
        both._masks = {}
        for pair in self._masks.keys() | other._masks.keys() | {EXEC}:
            if self._s[pair] is None and other._s[pair] is None and pair in self._masks and pair in other._masks:
                both._masks[pair] = np.concatenate((self.full(self._masks[pair]), other.full(other._masks[pair])))
                continue
            for one in (self, other):  # bits, as one of them has it
                one.s(pair)
        both._s = [rows(a, b, _ZERO) for a, b in zip(self._s, other._s, strict=True)]
        both._v = [rows(a, b, _ZERO_LANES) for a, b in zip(self._v, other._v, strict=True)]  # type: ignore[misc]
        return both

    def same_as(self, other: Waves) -> bool:
        """Whether every register holds the same."""
        if self.count != other.count or self.lanes != other.lanes or self.mode != other.mode:
            return False
        if self._masks.keys() != other._masks.keys() or not np.array_equal(self.number, other.number):
            return False

        def equal(a: Array | None, b: Array | None) -> bool:
            return a is b or (a is not None and b is not None and np.array_equal(a, b))

        return (
            equal(self.scc, other.scc)
            and all(equal(mask, other._masks[pair]) for pair, mask in self._masks.items())
            and all(equal(a, b) for a, b in zip(self._s, other._s, strict=True))
            and all(equal(a, b) for a, b in zip(self._v, other._v, strict=True))
        )

    def snapshot(self) -> Waves:
        other = self._shape()
        other.count, other.group, other.number, other.scc = self.count, self.group, self.number, self.scc
        other._s, other._v, other._masks = list(self._s), list(self._v), dict(self._masks)
        return other


def pack(mask: Array) -> tuple[Array, Array]:
    """bool [waves][lanes] to the two halves of 64 bits, uint32 [waves]."""
    packed = np.packbits(mask, axis=1, bitorder="little")
    words = np.zeros((mask.shape[0], 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    halves = words.view("<u4")
    return halves[:, 0].copy(), halves[:, 1].copy()


def unpack(low: Array, high: Array, count: int, lanes: int) -> Array:
    """The other way; of shape [count][lanes]."""
    rows = max(low.shape[0], high.shape[0])
    words = np.empty((rows, 2), np.uint32)
    words[:, 0] = low
    words[:, 1] = high
    mask = np.unpackbits(words.view(np.uint8), axis=1, count=lanes, bitorder="little").view(bool)
    return mask if rows == count else np.broadcast_to(mask, (count, lanes))
