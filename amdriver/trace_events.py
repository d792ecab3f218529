"""A trace as accesses to named registers: index/data pairs become the register or the VRAM that they reached.

Source: amdriver/access.py (the index pairs), amd-bringup.md section 2; Linux v7.3 amdgpu_device_mm_access, amdgpu_nv/soc15
remap_hdp_registers (the hole through which HDP is flushed), amdgpu_doorbell.h (a doorbell's number counts dwords).

Bases come, in this order, from what the caller gives, from a discovery table that the trace itself read, from
`assumed_map`. A trace that names its registers is asked whether it agrees with the bases; if not, its names stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from amdriver.access import MMIO_BAR, VRAM_BAR
from amdriver.discovery import validate
from amdriver.discovery_format import BINARY_SIGNATURE
from amdriver.ip_map import IpMap
from amdriver.parts import Part, part_of
from amdriver.trace_names import (
    UNNAMED,
    Names,
    Place,
    assumed_map,
    bank_of,
    fixed_place,
    names_of,
    place_of_name,
)
from base.errors import InvalidData, Unavailable
from pcibus.tracefile import DOORBELL_BAR, Damage, Kind, Touch, TraceFile
from registers.amd_fixed import Fixed
from registers.core import Register
from registers.tables import Entry

_TABLE_BYTES: Final = 0x2800  # amdgpu_discovery.h: as much as the kernel driver reads
_LOOK_FOR_TABLE: Final = 200_000  # accesses
_AGREE_LOOKS: Final = 2000
_MM_APER: Final = 1 << 31

_AT = {name: register.offset * 4 for name, register in Fixed.REGISTERS.items()}
_HDP_HOLES = {
    "BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL": "HDP_MEM_FLUSH (remapped)",
    "BIF_BX0_REMAP_HDP_REG_FLUSH_CNTL": "HDP_REG_FLUSH (remapped)",
}
_HDP_GIVEN = {"HDP_MEM_FLUSH (remap hole)": "HDP_MEM_FLUSH (remapped)"}


class Event(NamedTuple):
    """One access to something with a name, or a mark (block "MARK"). `bank`: which copy of a banked register.

    `offset` and `size` in bytes where the block is memory (VRAM, DMA) or config space. `value` None: not told."""

    line: int
    kind: Kind
    place: Place
    value: int | None
    times: int = 1
    bank: str = ""
    offset: int = 0
    size: int = 4
    failed: str = ""

    @property
    def register(self) -> str:
        """The name without instance: `CP_HQD_ACTIVE{me 2 pipe 1 queue 0}`."""
        return self.place.register + self.bank

    @property
    def decoded(self) -> Register | None:
        """The value with its fields by name; None without a value or a table that has the register."""
        return decoded(self.place.entry, self.value)


def decoded(entry: Entry | None, value: int | None) -> Register | None:
    """A value with its fields by name; None when either is missing or the value is wider than the register."""
    if entry is None or value is None:
        return None
    kind = entry.kind
    return None if value >> kind.WIDTH else kind(value)


@dataclass(slots=True)
class DecodedTrace:
    """A trace, decoded. `index_accesses`: accesses to index registers that were folded away."""

    path: Path
    is_ours: bool
    bases_from: str
    events: list[Event]
    part: Part | None = None
    index_accesses: int = 0
    cut: bool = False
    damage: list[Damage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Nothing is missing: no damaged line, not cut off."""
        return not self.damage and not self.cut


def read_trace(path: Path, ip_map: IpMap | None = None, source: str = "") -> DecodedTrace:
    """Decode a trace file. `ip_map` with `source` in words: the bases to use, whatever the trace says.

    Raises what opening a file can raise, InvalidData (no trace; `ip_map` is another GPU's), Unavailable (a recording of
    something that is no GPU of ours)."""
    trace = TraceFile(path)
    part = _part_of(trace)
    remarks: list[str] = []
    if ip_map is None:
        ip_map, source = table_in(path), "the discovery table in the trace"
    if ip_map is None:
        ip_map, source = assumed_map(), "assumed"
        remarks.append("bases are assumed: the trace holds no discovery table (--discovery FILE gives one)")
    names = names_of(ip_map.instances, source)
    wrong = 0 if trace.is_ours else _disagreements(path, names)
    if wrong:
        if source != "assumed":
            raise InvalidData(
                f"naming the registers of {path}",
                expected="a trace of the GPU that the discovery table belongs to",
                seen=f"{wrong} of the trace's own names disagree with {source}",
                where=str(path),
                next_step="gpumend discovery show FILE; without --discovery the trace's own table or names are used",
            )
        names = names_of((), "the trace's own names")
        remarks[:] = ["no bases: the trace's own names are used, what it does not name stays unnamed"]
    decoder = _Decoder(names)
    events = list(joined(decoder.events(trace)))
    return DecodedTrace(
        path,
        trace.is_ours,
        names.source,
        events,
        part,
        decoder.index_accesses,
        trace.cut,
        trace.damage,
        remarks,
    )


def _part_of(trace: TraceFile) -> Part | None:
    if trace.info is None:
        return None
    part = part_of(trace.info.vendor, trace.info.device)
    if part is None:
        trace.close()
        raise Unavailable(
            f"reading the trace {trace.path}",
            expected="a recording of an AMD Instinct of the MI300 or MI350 family (vendor 1002)",
            seen=f"{trace.info.vendor:04x}:{trace.info.device:04x}",
            where=f"{trace.path}:1",
        )
    return part


def _disagreements(path: Path, names: Names) -> int:
    """How many of the trace's own names contradict the bases; 0 when at most one in ten does (a slip, not a rule)."""
    seen: dict[int, bool] = {}
    for touch in TraceFile(path):
        if touch.name and touch.bar == MMIO_BAR and touch.offset not in seen:
            answer = names.agrees(touch.offset, touch.name)
            if answer is not None:
                seen[touch.offset] = answer
            if len(seen) >= _AGREE_LOOKS:
                break
    wrong = sum(not right for right in seen.values())
    return wrong if wrong * 10 > len(seen) else 0


# --- the discovery table in the trace


def table_in(path: Path) -> IpMap | None:
    """The IP map of the discovery table that whoever was traced read from VRAM; None when there is no whole, valid one."""
    run = bytearray()
    end = -1
    window = _Window()
    for number, touch in enumerate(TraceFile(path)):
        if number > _LOOK_FOR_TABLE:
            break
        piece = window.vram_read(touch)
        if piece is None:
            continue
        at, data = piece
        if at != end:
            if found := _map_of(run):
                return found
            run.clear()
        run += data
        end = at + len(data)
        if len(run) >= _TABLE_BYTES:
            if found := _map_of(run):
                return found
            run.clear()
    return _map_of(run)


def _map_of(run: bytearray) -> IpMap | None:
    if int.from_bytes(run[:4], "little") != BINARY_SIGNATURE:
        return None
    return validate(bytes(run)).ip_map


class _Window:
    """What the MM_INDEX window and BAR0 read from VRAM."""

    def __init__(self) -> None:
        self.index, self.high = 0, 0

    def vram_read(self, touch: Touch) -> tuple[int, bytes] | None:
        if touch.space != "bar" or touch.failed:
            return None
        if touch.bar == VRAM_BAR and touch.kind == "read":
            if touch.data is not None:
                return touch.offset, touch.data
            return None if touch.value is None else (touch.offset, touch.value.to_bytes(touch.size, "little"))
        if touch.bar != MMIO_BAR or touch.value is None:
            return None
        if touch.kind == "write":
            self.index = touch.value if touch.offset == _AT["MM_INDEX"] else self.index
            self.high = touch.value if touch.offset == _AT["MM_INDEX_HI"] else self.high
        elif touch.offset == _AT["MM_DATA"] and self.index & _MM_APER:
            return self.high << 31 | self.index & ~_MM_APER, touch.value.to_bytes(4, "little")
        return None


# --- accesses by name


class _Decoder:
    """Follows the index registers and the selections of one trace."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._index: dict[int, int] = {}  # byte offset of an index register: what was written to it last
        self._selected: dict[int | None, int] = {}  # XCC: GRBM_GFX_CNTL
        self._holes: dict[int, str] = {}
        self.index_accesses = 0

    def events(self, trace: Iterable[Touch]) -> Iterator[Event]:
        for touch in trace:
            if touch.space == "bar":
                yield from self._bar(touch)
            elif touch.kind == "mark":
                yield Event(touch.line, "mark", Place("MARK", None, touch.name), None)
            else:
                yield self._elsewhere(touch)

    def _elsewhere(self, touch: Touch) -> Event:
        if touch.space == "config":
            place = Place("CONFIG", None, f"{touch.offset:#x}")
        else:
            place = Place("DMA", touch.bar, "")
        return Event(
            touch.line, touch.kind, place, touch.value, touch.times, "", touch.offset, touch.size, touch.failed
        )

    def _bar(self, touch: Touch) -> Iterator[Event]:
        if touch.bar == VRAM_BAR:
            place = Place("VRAM", None, "")
            yield Event(
                touch.line, touch.kind, place, touch.value, touch.times, "", touch.offset, touch.size, touch.failed
            )
        elif touch.bar == DOORBELL_BAR:
            place = Place("DOORBELL", None, f"{touch.offset // 4:#x}")
            yield Event(touch.line, touch.kind, place, touch.value, touch.times, "", 0, touch.size, touch.failed)
        elif touch.bar == MMIO_BAR:
            for dword in _dwords(touch):
                event = self._register(dword)
                if event is None:
                    self.index_accesses += dword.times
                else:
                    yield event
        else:
            place = Place(UNNAMED, None, f"BAR{touch.bar}+{touch.offset:#x}")
            yield Event(touch.line, touch.kind, place, touch.value, touch.times, "", 0, touch.size, touch.failed)

    def _register(self, touch: Touch) -> Event | None:
        """An access of one dword of BAR5; None for one that only moves an index."""
        offset = touch.offset
        if offset in _INDEX_OF.values() or offset in _HIGH_OF.values():
            if touch.kind == "write" and touch.value is not None and not touch.failed:
                self._index[offset] = touch.value
            return None
        if offset in _INDEX_OF:
            return self._data(touch)
        return self._named(touch, self._direct(offset, touch.name))

    def _data(self, touch: Touch) -> Event:
        index = self._index.get(_INDEX_OF[touch.offset])
        high = self._index.get(_HIGH_OF[touch.offset], 0)
        if index is None:
            return self._named(touch, Place(UNNAMED, None, f"behind an index not seen, BAR5+{touch.offset:#x}"))
        if touch.offset != _AT["MM_DATA"]:
            address = (high & 0xFF) << 32 | index
            name = touch.name.rpartition(" ")[2]
            found = self._names.smn(address) or place_of_name(name) or Place(UNNAMED, None, f"SMN {address:#x}")
            return self._named(touch, found)
        if not index & _MM_APER:
            return self._named(touch, self._direct(index, ""))
        at = high << 31 | index & ~_MM_APER
        return Event(touch.line, touch.kind, Place("VRAM", None, ""), touch.value, touch.times, "", at, 4, touch.failed)

    def _direct(self, offset: int, given: str) -> Place:
        if hole := self._holes.get(offset) or _HDP_GIVEN.get(given):
            return Place("HDP", 0, hole)
        found = self._names.direct(offset) or place_of_name(given) or fixed_place(offset) or self._names.near(offset)
        return found or Place(UNNAMED, None, given or f"BAR5+{offset:#x}")

    def _named(self, touch: Touch, place: Place) -> Event:
        if touch.kind == "write" and touch.value is not None:
            if place.register == "GRBM_GFX_CNTL":
                self._selected[place.instance] = touch.value
            elif place.register in _HDP_HOLES and place.instance in (0, None):
                self._holes[touch.value] = _HDP_HOLES[place.register]
        bank = bank_of(place, self._selected.get(place.instance))
        return Event(touch.line, touch.kind, place, touch.value, touch.times, bank, touch.offset, 4, touch.failed)


# The data half of each pair in BAR5: its index, and where the upper bits of the address are.
_INDEX_OF = {
    _AT["MM_DATA"]: _AT["MM_INDEX"],
    _AT["PCIE_DATA"]: _AT["PCIE_INDEX"],
    _AT["PCIE_DATA2"]: _AT["PCIE_INDEX2"],
    _AT["RSMU_DATA"]: _AT["RSMU_INDEX"],
}
_HIGH_OF = {
    _AT["MM_DATA"]: _AT["MM_INDEX_HI"],
    _AT["PCIE_DATA"]: _AT["PCIE_INDEX_HI"],
    _AT["PCIE_DATA2"]: _AT["PCIE_INDEX2_HI"],
    _AT["RSMU_DATA"]: _AT["RSMU_INDEX_HI"],
}


def _dwords(touch: Touch) -> Iterator[Touch]:
    """An access of BAR5 as accesses of a dword each; a block whose bytes were not kept, as dwords of unknown value."""
    if touch.size == 4:
        yield touch
        return
    data = touch.data
    if touch.value is not None and touch.value >> 8 * touch.size == 0:
        data = touch.value.to_bytes(touch.size, "little")
    for at in range(0, min(touch.size, _TABLE_BYTES * 16), 4):
        value = None if data is None else int.from_bytes(data[at : at + 4], "little")
        yield touch._replace(offset=touch.offset + at, size=4, value=value, data=None)


def joined(events: Iterable[Event]) -> Iterator[Event]:
    """Neighbouring accesses of memory that lie behind each other, as one range."""
    held: Event | None = None
    for event in events:
        if held is not None and _continues(held, event):
            held = held._replace(size=held.size + event.size, value=None)
            continue
        if held is not None:
            yield held
        held = event
    if held is not None:
        yield held


def _continues(held: Event, event: Event) -> bool:
    return (
        event.place.block in ("VRAM", "DMA")
        and event.place == held.place
        and event.kind == held.kind
        and event.offset == held.offset + held.size
        and not event.failed
        and not held.failed
        and event.times == held.times == 1
    )
