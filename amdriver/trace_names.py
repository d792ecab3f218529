"""Names for the addresses in a trace: which register of which IP instance lies at a BAR5 or SMN address.

Source: bases from a discovery table; offsets and fields from registers/tables.py; AIDs behind SMN as in
amd-bringup.md section 2. Where several headers' names share an address the first stands, so that both sides of a
comparison say the same. Which register of a queue or VMID a banked address means is GRBM_GFX_CNTL's choice
(gfx_v9_4_3.c soc15_grbm_select)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from amdriver.access import smn_base
from amdriver.ip_map import HW_IDS, IpInstance, IpMap
from amdriver.regs import BANKED, BY_AID, PER_CHANNEL, headers_of, instances_of
from registers import amd_smn
from registers.amd.gc_9_4_3 import Gc
from registers.amd_fixed import Fixed
from registers.tables import Entry, search

UNNAMED: Final = "unnamed"
# Discovery's name to ours where they differ, then the words that a user may type for a block.
_BLOCK_OF_IP = {"SDMA0": "SDMA", "UVD": "VCN"}
ALIASES: Final = {
    "NBIO": "NBIF",
    "IH": "OSSSYS",
    "PSP": "MP0",
    "SMU": "MP1",
    "SDMA0": "SDMA",
    "UVD": "VCN",
    "JPEG": "VCN",
}
# MP0 registers that only an older header of this family (mp_13_0_2) has: dword offset, name.
_MORE_OF_MP0 = {0xBE: "MP0_SMN_C2PMSG_126", 0xBF: "MP0_SMN_C2PMSG_127"}
_SMN_NAMES = {
    amd_smn.MP1_FIRMWARE_FLAGS: ("MP1", "MP1_FIRMWARE_FLAGS"),
    amd_smn.MP1_PUB_SCRATCH0: ("MP1", "MP1_PUB_SCRATCH0"),
    **{
        address: ("XGMI", f"PCS_STATE_HIST1@{address:#x}")
        for address in (*amd_smn.XGMI_PCS_STATE_HIST1, *amd_smn.XGMI_PCS_STATE_HIST1_6_4_1)
    },
}
_NEAR_DWORDS: Final = 0x1000
_VIRTUAL = re.compile(r"_VF\d+_")
_PER_VMID = re.compile(r"SH_MEM_|SQ_SHADER_T[BM]A|SPI_GDBG_PER_VMID_CNTL")
# `GC3.NAME`, `MP00.NAME` (MP0, instance 0), `AID2.NBIF0.NAME`, as the register format of tracefile.py has it.
_GIVEN = re.compile(r"(?:AID(?P<aid>\d)\.)?(?P<block>MP[01]|[A-Z]+)(?P<instance>\d+)\.(?P<register>\w+)\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """A register of one instance. `instance` None: there is only one of its kind. `entry` None: no table has its bits."""

    block: str
    instance: int | None
    register: str
    entry: Entry | None = None


@lru_cache(maxsize=4)
def names_of(instances: tuple[IpInstance, ...], source: str) -> Names:
    """The names of a GPU with these instances. Half a second of work, so it is kept: two traces are mostly of one GPU."""
    return Names(IpMap(instances), source)


class Names:
    """Names by address for one GPU. `source` says where its bases came from."""

    def __init__(self, ip_map: IpMap, source: str) -> None:
        self.source = source
        self._direct: dict[int, tuple[IpInstance, Entry | str]] = {}
        self._smn: dict[tuple[int, int], tuple[IpInstance, Entry | str]] = {}
        self._found: dict[tuple[int, int], Place] = {}
        # The last instance of several that share a base (one on each AID) loses: the direct one is number 0.
        self._bases = sorted(
            {
                base: (base, seg, ip)
                for ip in reversed(ip_map.instances)
                for seg, base in enumerate(ip.bases)
                if ip.name not in PER_CHANNEL
            }.values(),
            key=lambda row: row[0],
        )
        self._places: dict[str, set[tuple[int | None, int | None]]] = {}  # of each name: an address has several
        for entry in _entries(ip_map):
            self._places.setdefault(entry.name, set()).add((entry.seg, entry.offset_dwords))
            for _, ip in instances_of(entry, ip_map):
                self._enter(entry, ip)
        for ip in ip_map.find("MP0"):
            for offset, name in _MORE_OF_MP0.items() if ip.bases else ():
                self._put(ip, ip.bases[0] + offset, name)

    def _enter(self, entry: Entry, ip: IpInstance) -> None:
        if ip.name in PER_CHANNEL or entry.seg is None or entry.offset_dwords is None or entry.seg >= len(ip.bases):
            return
        self._put(ip, ip.bases[entry.seg] + entry.offset_dwords, entry)

    def _put(self, ip: IpInstance, address: int, what: Entry | str) -> None:
        aid = ip.instance if ip.name in BY_AID else 0
        if aid:
            self._smn.setdefault((aid, address), (ip, what))
        else:
            self._direct.setdefault(address, (ip, what))

    def direct(self, byte_offset: int) -> Place | None:
        """The register at a byte offset of BAR5; None when no table has one there."""
        return self._place(0, byte_offset)

    def smn(self, byte_address: int) -> Place | None:
        """The register at a 40-bit SMN address (the AID in its upper bits)."""
        aid = _aid_of(byte_address)
        low = byte_address - smn_base(aid)
        found = self._place(aid, low)
        if found is None and low in _SMN_NAMES:
            block, name = _SMN_NAMES[low]
            return Place(block, aid, name)
        return found

    def _place(self, aid: int, byte_address: int) -> Place | None:
        key = aid, byte_address
        known = self._found.get(key)
        if known is not None:
            return known
        if byte_address % 4:
            return None
        entered = self._smn.get((aid, byte_address // 4)) if aid else self._direct.get(byte_address // 4)
        if entered is None:
            return None
        ip, what = entered
        block = _BLOCK_OF_IP.get(ip.name, ip.name)
        place = Place(block, ip.instance, what) if isinstance(what, str) else Place(block, ip.instance, what.name, what)
        self._found[key] = place
        return place

    def near(self, byte_offset: int) -> Place | None:
        """The block whose base comes last before an offset that no table has: `segment 0 + 0x25`, without a name."""
        at = bisect_right(self._bases, byte_offset // 4, key=lambda row: row[0]) - 1
        if at < 0 or byte_offset % 4:
            return None
        base, seg, ip = self._bases[at]
        beyond = byte_offset // 4 - base
        if beyond >= _NEAR_DWORDS:
            return None
        return Place(_BLOCK_OF_IP.get(ip.name, ip.name), ip.instance, f"segment {seg} + {beyond:#x}")

    def agrees(self, byte_offset: int, name: str) -> bool | None:
        """Whether a trace's own name for a BAR5 offset fits these bases; None when it cannot be told."""
        given = place_of_name(name)
        if given is None or given.block not in ("GC", "SDMA", "MMHUB", "NBIF", "MP0", "MP1", "OSSSYS", "HDP"):
            return None
        places = self._places.get(given.register)
        if places is None:
            return None
        found = self.direct(byte_offset)
        if found is None or (found.block, found.instance) != (given.block, given.instance):
            return False
        return found.entry is not None and (found.entry.seg, found.entry.offset_dwords) in places


def _entries(ip_map: IpMap) -> Iterator[Entry]:
    """Every register of every table, those of virtual functions last: they lie where the physical one's do."""
    late = []
    for header in headers_of(ip_map):
        for entry in search("*", header):
            if _VIRTUAL.search(entry.name):
                late.append(entry)
            else:
                yield entry
    yield from late


def _aid_of(byte_address: int) -> int:
    return byte_address >> 32 & 3 if byte_address >> 34 & 1 else 0


def place_of_name(name: str) -> Place | None:
    """The place that a trace's own name stands for; None when it is not of that form."""
    match = _GIVEN.match(name)
    if match is None:
        return None
    instance = int(match["aid"] or match["instance"])
    return Place(_BLOCK_OF_IP.get(match["block"], match["block"]), instance, match["register"])


def fixed_place(byte_offset: int) -> Place | None:
    """A register that has one place on every GPU (registers/amd_fixed.py)."""
    return _FIXED.get(byte_offset)


_FIXED = {item.offset * 4: Place("NBIF", 0, name) for name, item in Fixed.REGISTERS.items()}


def bank_of(place: Place, selected: int | None) -> str:
    """Which of a banked register's copies a value of GRBM_GFX_CNTL selects: `{me 2 pipe 1 queue 0}`; "" when not banked.

    `selected` None: nothing was written to it yet."""
    if place.block != "GC":
        return ""
    per_vmid = _PER_VMID.match(place.register)
    if not per_vmid and not BANKED.match(place.register):
        return ""
    if selected is None:
        return "{not selected}"
    now = Gc.GRBM_GFX_CNTL.kind(selected & 0xFFFFFFFF)
    return f"{{vmid {now.VMID}}}" if per_vmid else f"{{me {now.MEID} pipe {now.PIPEID} queue {now.QUEUEID}}}"


def assumed_map() -> IpMap:
    """The bases that a model and the traces of the stock driver have, for a trace that holds no discovery table.

    A guess for any other GPU: bases are the discovery table's to tell. Dwords (docs/fidelity.md, "Guesses")."""
    found = [_assumed("GC", i, (0x2000 + 0x10000 * i, 0xA000 + 0x10000 * i)) for i in range(8)]
    sdma = (0x1260, 0x1860, 0x19400, 0x19800)
    found += [_assumed("SDMA0", i, (sdma[i % 4] + 0x20000 * (i // 4),)) for i in range(16)]
    found += [_assumed("MMHUB", i, (0x18000 + 0x20000 * i,)) for i in range(4)]
    nbif = (0, 0x14, 0xD20, 0x10400, 0x241B000, 0x4040000, 0x5000000, 0x5400000, 0x6000000)
    for aid in range(4):
        found += [_assumed("NBIF", aid, nbif), _assumed("MP0", aid, (0x16000,)), _assumed("MP1", aid, (0x16000,))]
    found += [_assumed("OSSSYS", 0, (0x10A0,)), _assumed("HDP", 0, (0xF20,)), _assumed("ATHUB", 0, (0xC20,))]
    found += [_assumed("SMUIO", 0, (0x2401000, 0x16800, 0x16A00))]
    found += [_assumed("UVD", i, (0x7800 + 0x20000 * i, 0x7E00 + 0x20000 * i)) for i in range(4)]
    return IpMap(tuple(found))


def _assumed(name: str, instance: int, bases: tuple[int, ...]) -> IpInstance:
    return IpInstance(HW_IDS[name], instance, (0, 0, 0), bases)
