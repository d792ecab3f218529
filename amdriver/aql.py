"""AQL packets, 64 bytes each: kernel dispatch, barrier-AND, barrier-OR, and AMD's packet with a PM4 buffer.

    packet = aql.dispatch(kernel_object=descriptor_va, kernarg_va=args_va, grid=(4096, 1, 1), workgroup=(256, 1, 1))
    slots = aql.Slots(ring_memory)
    slots.put(index, packet)              # body first, the header last; then the doorbell gets the index

**The header is written last.** The packet processor runs ahead as soon as a slot's header is not INVALID, so a builder gives
two parts: `body`, 64 bytes that begin with an INVALID header, and `first`, the dword (header, setup) that makes it live.
Write the body, then store `first` as one 32-bit write, then ring the doorbell. When a packet is done the processor puts INVALID
back and moves its read index on. (`struct.pack_into` will not do for this: it fills its target with zeros before it packs, and
0 is the type VENDOR.)

Source: HSA Platform System Architecture 1.2, section 2.9 (header, dispatch and barrier packets, fences: facts); the
vendor packet (format 1: PM4 indirect buffer) is the public interface of AMD's runtime. Sizes in bytes unless named otherwise;
grid in work-items, not in workgroups."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from amdriver import pm4, pm4_decode
from amdriver.packets import (
    ADDRESS_END,
    U32,
    Decoded,
    Words,
    check_address,
    check_range,
    refused,
    stream,
    words_of,
)

PACKET_BYTES: Final = 64
PACKET_DWORDS: Final = 16
MOST_SIGNALS: Final = 5
MOST_THREADS: Final = 1024
FORMAT_PM4_IB: Final = 1
_DWORDS_REMAINING: Final = 10  # of the vendor packet, behind its four dwords of PM4
_BARRIER_BIT: Final = 1 << 8


class Type(IntEnum):
    """Header bits 7:0."""

    VENDOR = 0
    INVALID = 1
    KERNEL_DISPATCH = 2
    BARRIER_AND = 3
    AGENT_DISPATCH = 4
    BARRIER_OR = 5


class Scope(IntEnum):
    """How far a fence reaches: header bits 10:9 (acquire, before) and 12:11 (release, after)."""

    NONE = 0
    AGENT = 1
    SYSTEM = 2


class AqlPacket(NamedTuple):
    """Body (64 bytes, INVALID in the header's place) and the dword to store last."""

    first: int
    body: bytes

    def whole(self) -> bytes:
        """As it will stand in memory; for tests and for buffers that nobody reads yet."""
        return _WORD.pack(self.first) + self.body[4:]


_WORD = struct.Struct("<I")
_DISPATCH = struct.Struct("<HHHHHHIIIIIQQQQ")
_BODY = struct.Struct("<HHHHIIIIIQQQQ")  # the same without header and setup
_BARRIER = struct.Struct("<HHI5QQQ")
_VENDOR = struct.Struct("<HH16sI32xQ")
_SIGNAL_ALIGNMENT: Final = 64  # of a signal's handle, its address


def header(kind: Type, *, barrier: bool = False, acquire: Scope = Scope.SYSTEM, release: Scope = Scope.SYSTEM) -> int:
    """The 16-bit header. `barrier`: wait until all packets before this one are complete."""
    return kind | barrier << 8 | acquire << 9 | release << 11


_INVALID: Final = int(Type.INVALID)  # a plain number packs faster
_PLAIN: Final = header(Type.KERNEL_DISPATCH)


def dispatch(
    *,
    kernel_object: int,
    kernarg_va: int,
    grid: tuple[int, int, int],
    workgroup: tuple[int, int, int],
    private_bytes: int = 0,
    group_bytes: int = 0,
    signal: int = 0,
    barrier: bool = False,
    acquire: Scope = Scope.SYSTEM,
    release: Scope = Scope.SYSTEM,
) -> AqlPacket:
    """Run a kernel. kernel_object: address of its 64-byte descriptor; kernarg_va: 16-byte aligned; signal: address of the
    completion signal (64-byte aligned) or 0; private_bytes: scratch of one work-item; group_bytes: LDS of one workgroup."""
    x, y, z = workgroup
    grid_x, grid_y, grid_z = grid
    # Three tests for the alignments, the addresses and the zeros; what is too big or negative, struct refuses. Which one it
    # was is asked only then.
    if (
        (kernel_object | signal) & 63
        or kernarg_va & 15
        or not (kernel_object and 0 < kernel_object | kernarg_va | signal < ADDRESS_END)
        or not (grid_x and grid_y and grid_z and 0 < x * y * z <= MOST_THREADS)
    ):
        _check_dispatch(kernel_object, kernarg_va, grid, workgroup, private_bytes, group_bytes, signal)
    dimensions = 3 if grid_z > 1 or z > 1 else 2 if grid_y > 1 or y > 1 else 1
    try:
        body = _DISPATCH.pack(
            _INVALID, dimensions, x, y, z, 0, grid_x, grid_y, grid_z, private_bytes, group_bytes,
            kernel_object, kernarg_va, 0, signal,
        )  # fmt: skip
    except struct.error:
        _check_dispatch(kernel_object, kernarg_va, grid, workgroup, private_bytes, group_bytes, signal)
        raise
    if barrier or acquire != 2 or release != 2:
        first = header(Type.KERNEL_DISPATCH, barrier=barrier, acquire=acquire, release=release)
        return AqlPacket(first | dimensions << 16, body)
    return AqlPacket(_PLAIN | dimensions << 16, body)


class Slots:
    """The memory of an AQL queue, seen as slots; contiguous, a whole number of them."""

    __slots__ = ("count", "raw", "words")

    def __init__(self, ring: memoryview | bytearray) -> None:
        raw = memoryview(ring).cast("B")
        if not len(raw) or len(raw) % PACKET_BYTES:
            raise refused("AQL queue", f"memory of whole {PACKET_BYTES}-byte slots", f"{len(raw)} bytes")
        self.raw = raw
        self.words = raw.cast("I")  # an item store here is one 32-bit store
        self.count = len(raw) // PACKET_BYTES

    def clear(self) -> None:
        """Every header INVALID, as a queue must be before the processor first looks at it (zeros mean VENDOR)."""
        for index in range(self.count):
            self.words[index * PACKET_DWORDS] = _INVALID

    def put(self, index: int, packet: AqlPacket) -> None:
        """A packet into slot `index` modulo their number. The caller knows the read index and leaves live packets alone."""
        self.write(index, packet.body[4:], packet.first)

    def write(self, index: int, rest: bytes, first: int) -> None:
        """60 bytes behind the header, then the header's dword."""
        slot = index % self.count
        at = slot * PACKET_BYTES
        words = self.words
        words[slot * PACKET_DWORDS] = _INVALID
        self.raw[at + 4 : at + PACKET_BYTES] = rest
        words[slot * PACKET_DWORDS] = first


class DispatchTemplate:
    """One kernel, launched again and again, straight into slots of a queue.

    The same checks as `dispatch`; those of what does not change are made here, once."""

    __slots__ = ("_fixed", "_header", "_workgroup")

    def __init__(
        self,
        *,
        kernel_object: int,
        workgroup: tuple[int, int, int],
        private_bytes: int = 0,
        group_bytes: int = 0,
        barrier: bool = False,
        acquire: Scope = Scope.SYSTEM,
        release: Scope = Scope.SYSTEM,
    ) -> None:
        _check_dispatch(kernel_object, 0, (1, 1, 1), workgroup, private_bytes, group_bytes, 0)
        self._workgroup = workgroup
        self._fixed = (private_bytes, group_bytes, kernel_object)
        # Three dimensions always: a size of 1 in the others is allowed, and no launch has to count them.
        self._header = header(Type.KERNEL_DISPATCH, barrier=barrier, acquire=acquire, release=release) | 3 << 16

    def launch(self, slots: Slots, index: int, kernarg_va: int, x: int, y: int, z: int, signal: int = 0) -> None:
        """A launch over a grid of x * y * z work-items, into slot `index` modulo their number; the header last.

        UsageError for what does not fit; the slot was not touched then."""
        if kernarg_va & 15 or signal & 63 or not (x and y and z) or not 0 <= kernarg_va | signal < ADDRESS_END:
            self._check(kernarg_va, x, y, z, signal)
        wide, high, deep = self._workgroup
        private, group, kernel = self._fixed
        try:
            rest = _BODY.pack(wide, high, deep, 0, x, y, z, private, group, kernel, kernarg_va, 0, signal)
        except struct.error:
            self._check(kernarg_va, x, y, z, signal)
            raise
        slots.write(index, rest, self._header)

    def _check(self, kernarg_va: int, x: int, y: int, z: int, signal: int) -> None:
        private, group, kernel = self._fixed
        _check_dispatch(kernel, kernarg_va, (x, y, z), self._workgroup, private, group, signal)


def _check_dispatch(
    kernel_object: int,
    kernarg_va: int,
    grid: tuple[int, int, int],
    workgroup: tuple[int, int, int],
    private_bytes: int,
    group_bytes: int,
    signal: int,
) -> None:
    """Say which one it was; upper addresses are the one thing that the quick test refuses and this one does not."""
    name = "AQL KERNEL_DISPATCH"
    if not kernel_object:
        raise refused(name, "kernel_object, the address of a kernel descriptor", "kernel_object=0")
    check_address(name, "kernel_object", kernel_object, 64, 64)
    check_address(name, "kernarg_va", kernarg_va, 16, 16)
    check_address(name, "signal", signal, _SIGNAL_ALIGNMENT, 64)
    for axis, threads in zip("xyz", workgroup, strict=True):
        check_range(name, f"workgroup.{axis}", threads, 1, MOST_THREADS)
    x, y, z = workgroup
    check_range(name, "threads of a workgroup", x * y * z, 1, MOST_THREADS)
    for axis, items in zip("xyz", grid, strict=True):
        check_range(name, f"grid.{axis}", items, 1, U32)
    check_range(name, "private_bytes", private_bytes, 0, U32)
    check_range(name, "group_bytes", group_bytes, 0, U32)


def barrier_and(
    signals: Sequence[int] = (),
    *,
    signal: int = 0,
    barrier: bool = True,
    acquire: Scope = Scope.SYSTEM,
    release: Scope = Scope.SYSTEM,
) -> AqlPacket:
    """Wait until all of up to five signals are 0 (handles of 0 are skipped), then complete `signal`."""
    return _barrier(Type.BARRIER_AND, signals, signal, barrier, acquire, release)


def barrier_or(
    signals: Sequence[int],
    *,
    signal: int = 0,
    barrier: bool = True,
    acquire: Scope = Scope.SYSTEM,
    release: Scope = Scope.SYSTEM,
) -> AqlPacket:
    """Wait until one of up to five signals is 0. At least one must be named: of none, none ever is."""
    if not any(signals):
        raise refused("AQL BARRIER_OR", "at least one signal that is not 0", f"{len(signals)} signals")
    return _barrier(Type.BARRIER_OR, signals, signal, barrier, acquire, release)


def _barrier(
    kind: Type, signals: Sequence[int], signal: int, barrier: bool, acquire: Scope, release: Scope
) -> AqlPacket:
    name = f"AQL {kind.name}"
    if len(signals) > MOST_SIGNALS:
        raise refused(
            name, f"at most {MOST_SIGNALS} signals", f"{len(signals)} signals", "chain several barrier packets"
        )
    for at, handle in enumerate(signals):
        check_address(name, f"signals[{at}]", handle, _SIGNAL_ALIGNMENT, 64)
    check_address(name, "signal", signal, _SIGNAL_ALIGNMENT, 64)
    five = (*signals, *(0,) * (MOST_SIGNALS - len(signals)))
    body = _BARRIER.pack(Type.INVALID, 0, 0, *five, 0, signal)
    return AqlPacket(header(kind, barrier=barrier, acquire=acquire, release=release), body)


def pm4_buffer(
    base: int,
    dwords: int,
    *,
    vmid: int = 0,
    signal: int = 0,
    barrier: bool = True,
    acquire: Scope = Scope.SYSTEM,
    release: Scope = Scope.SYSTEM,
) -> AqlPacket:
    """AMD's vendor packet: run an indirect buffer of PM4 out of an AQL queue."""
    check_address("AQL VENDOR", "signal", signal, _SIGNAL_ALIGNMENT, 64)
    jump = pm4.indirect_buffer(base, dwords, vmid)
    body = _VENDOR.pack(Type.INVALID, FORMAT_PM4_IB, jump, _DWORDS_REMAINING, signal)
    return AqlPacket(header(Type.VENDOR, barrier=barrier, acquire=acquire, release=release) | FORMAT_PM4_IB << 16, body)


# --- reading back -----------------------------------------------------------------------------------------------------


def decode(words: Words) -> str:
    """The first packet as one line: name and fields. Never raises, whatever the words are."""
    return _one(words_of(words, 0, PACKET_DWORDS), 0).text


def decode_stream(words: Words, start: int = 0, most: int = 1024) -> Iterator[Decoded]:
    """The packets of the slots from dword `start` on, at most `most`. Slots begin at multiples of 16 dwords."""
    return stream(words, start, _one, most)


def _one(words: Sequence[int], at: int) -> Decoded:
    if not words:
        return Decoded(at, 0, "nothing")
    words = words[:PACKET_DWORDS]
    kind = _type_of(words[0])
    if len(words) < PACKET_DWORDS:
        shown = " ".join(f"{word:08x}" for word in words[:8])
        return Decoded(at, len(words), f"{kind} cut off after {len(words)} of {PACKET_DWORDS} dwords: {shown}")
    data = struct.pack(f"<{PACKET_DWORDS}I", *words)
    return Decoded(at, PACKET_DWORDS, f"{kind}{_body_text(words[0] & 0xFF, data, words)}{_header_text(words[0])}")


def _type_of(first: int) -> str:
    known = Type._value2member_map_.get(first & 0xFF)
    return known.name if isinstance(known, Type) else f"unknown AQL type {first & 0xFF:#x}"


def _header_text(first: int) -> str:
    barrier = " barrier" if first & _BARRIER_BIT else ""
    return f"{barrier} acquire={_scope(first >> 9 & 3)} release={_scope(first >> 11 & 3)}"


def _scope(value: int) -> str:
    return Scope(value).name if value in (0, 1, 2) else f"{value}?"


def _body_text(kind: int, data: bytes, words: Sequence[int]) -> str:
    if kind == Type.KERNEL_DISPATCH:
        return _dispatch_text(data)
    if kind in (Type.BARRIER_AND, Type.BARRIER_OR):
        _, _, _, *signals, _, done = _BARRIER.unpack(data)
        waits = " ".join(f"{signal:#x}" for signal in signals if signal)
        return f" signals=[{waits}] signal={done:#x}"
    if kind == Type.VENDOR and words[0] >> 16 == FORMAT_PM4_IB:
        done = _VENDOR.unpack(data)[4]
        return f" PM4: {pm4_decode.decode(words[1:5])} signal={done:#x}"
    if kind == Type.VENDOR:
        return f" format={words[0] >> 16:#x}"
    return ""


def _dispatch_text(data: bytes) -> str:
    (_, setup, x, y, z, _, grid_x, grid_y, grid_z, private, group, kernel, kernarg, _, signal) = _DISPATCH.unpack(data)
    return (
        f" dimensions={setup & 3} grid={grid_x}x{grid_y}x{grid_z} workgroup={x}x{y}x{z} kernel_object={kernel:#x}"
        f" kernarg={kernarg:#x} private_bytes={private} group_bytes={group} signal={signal:#x}"
    )
