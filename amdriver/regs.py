"""Read registers of a GPU by name, through the complete tables; what a look may not read says why.

Source: registers/tables.py (AMD's headers); instances and bases from discovery; amd-bringup.md section 2 (which path
reaches which instance); Linux v7.3 gmc_v9_0.c (reading a semaphore register acquires it), gfx_v9_4_3.c (GRBM_GFX_CNTL
selects the queue whose registers answer). Nothing is written but index registers, by `Access`, inside its lock."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from amdriver.access import Access
from amdriver.ip_map import IpInstance, IpMap
from base.errors import Refused, UsageError
from registers.amd.gc_9_4_3 import Gc
from registers.core import Register, RegisterBus
from registers.tables import Entry, HeaderInfo, headers, near, search, split_instance

MOST_READINGS = 4096
ALL_ONES = 0xFFFFFFFF

# Header family to the IPs of discovery that have its registers.
_IP_OF_HEADER = {
    "gc": ("GC",),
    "nbio": ("NBIF",),
    "mmhub": ("MMHUB",),
    "hdp": ("HDP",),
    "osssys": ("OSSSYS",),
    "sdma": ("SDMA0",),
    "smuio": ("SMUIO",),
    "thm": ("THM",),
    "athub": ("ATHUB",),
    "vcn": ("UVD",),
    "df": ("DF",),
    "mp": ("MP0", "MP1"),
    "umc": ("UMC",),
    "xgmi": ("XGMI",),
}
# Instances that share one set of bases: number 0 is reached directly, number n is the same address on AID n.
BY_AID = frozenset(("MP0", "MP1", "NBIF"))
PER_CHANNEL = frozenset(("UMC",))

# A name that says data, unless it is plainly a value of its own, may be the data half of an index pair that steps on.
_OWN_VALUE = re.compile(r"USER_?DATA|METADATA|EOP_DONE_DATA|APPEND_DATA|MSG_DATA|HTILE_DATA|WORD_INST|DATACREDITS")
_SIDE_EFFECTS = (
    (re.compile(r"_SEM(APHORE)?$"), "reading it acquires the semaphore"),
    (re.compile(r"(^|_)DATA(\d|_|$)|_DATA$|MUXSEL_DATA"), "a data port: reading it may step on"),
    (re.compile(r"ATOM_READ|_POP(_|$)|_FIFO_(RD|READ)"), "reading it takes something away"),
)
BANKED = re.compile(r"(CP_(HQD|MQD)_|SH_MEM_|SQ_SHADER_T[BM]A)")


@dataclass(frozen=True, slots=True)
class Reading:
    """One register of one instance. `raw` None: not read, `note` says why; with a value, what to bear in mind.

    `address` is a dword address (of AID `aid` where that is not 0), None where the header publishes none. Plain data: it
    can come from a child process."""

    name: str
    entry: Entry
    address: int | None = None
    aid: int = 0
    raw: int | None = None
    note: str = ""

    @property
    def value(self) -> Register | None:
        """The value with its fields by name; None when it was not read."""
        return None if self.raw is None else self.entry.decode(self.raw)


def read_registers(access: Access, ip_map: IpMap, glob: str) -> list[Reading]:
    """Every register whose name matches the shell glob, of every instance (`NAME[3]`: of instance 3 only).

    Raises UsageError when nothing matches (with near names) or when too much does."""
    pattern, wanted = split_instance(glob)
    there = {header: _fits(header, ip_map) for header in {entry.header for entry in _named(pattern)}}
    entries = [entry for entry in _named(pattern) if there[entry.header]]
    if not entries:
        raise _unknown(pattern)
    plan = [item for entry in entries for item in instances_of(entry, ip_map) if wanted in (None, item[1].instance)]
    if not plan:
        labels = sorted({item.label for entry in entries for _, item in instances_of(entry, ip_map)})
        raise UsageError(
            f"reading register {glob!r}",
            expected=f"one of {', '.join(labels[:32])}",
            seen=f"instance {wanted}: there is none",
        )
    if len(plan) > MOST_READINGS:
        raise UsageError(
            f"reading registers {glob!r}",
            expected=f"at most {MOST_READINGS} of them",
            seen=f"{len(entries)} registers, {len(plan)} with all instances",
            next_step="a narrower glob, or one instance: 'GC[0].NAME'",
        )
    reader = _Reader(access, ip_map)
    return [reader.read(entry, ip) for entry, ip in plan]


@functools.lru_cache(maxsize=256)
def _named(pattern: str) -> tuple[Entry, ...]:
    """The tables' entries in the order of their places; kept, because GPUs are asked the same one after the other."""
    return tuple(sorted(search(pattern), key=lambda entry: (entry.header, entry.seg or 0, entry.offset_dwords or 0)))


def _unknown(name: str) -> UsageError:
    alike = near(name.strip("*?"))
    return UsageError(
        f"looking for register {name!r}",
        expected="the name of a register of this GPU (globs allowed)",
        seen="no such register",
        next_step=f"did you mean {', '.join(alike)}?" if alike else "gpumend regs search 'GLOB'",
    )


def _family(header: str) -> str:
    return header.split("_", 1)[0]


def _fits(header: str, ip_map: IpMap) -> bool:
    """Whether this header is the one for the version that this GPU has; the first of a family where none names it."""
    family = _family(header)
    ips = _IP_OF_HEADER.get(family, ())
    if not any(ip_map.find(ip) for ip in ips):
        return False
    relatives = [info for info in headers() if _family(info.name) == family and info.registers]
    exact = [info.name for info in relatives if any(_names_version(info, ip_map, ip) for ip in ips)]
    return header in (exact or [relatives[0].name])


def _names_version(info: HeaderInfo, ip_map: IpMap, ip: str) -> bool:
    version = ".".join(map(str, ip_map.version_of(ip)))
    return version in re.findall(r"\d+\.\d+\.\d+", info.ip)


def headers_of(ip_map: IpMap) -> list[str]:
    """The tables that hold the registers of this GPU's IPs, each IP's own version where there is one."""
    return [info.name for info in headers() if info.registers and _fits(info.name, ip_map)]


def instances_of(entry: Entry, ip_map: IpMap) -> Iterator[tuple[Entry, IpInstance]]:
    """Every instance that has this register."""
    for ip in _IP_OF_HEADER[_family(entry.header)]:
        if entry.header.startswith("mp_") and not entry.name.startswith(ip):
            continue
        for instance in ip_map.find(ip):
            yield entry, instance


class _Reader:
    """Reads one entry of one instance, and knows what must not be read."""

    def __init__(self, access: Access, ip_map: IpMap) -> None:
        self.access = access
        self.ip_map = ip_map
        self._selected: dict[int, str] = {}

    def read(self, entry: Entry, ip: IpInstance) -> Reading:
        name = f"{ip.label}.{entry.name}"
        why = self._why_not(entry, ip)
        if why:
            return Reading(name, entry, note=why)
        assert entry.offset_dwords is not None and entry.seg is not None, "checked by _why_not"
        address = ip.bases[entry.seg] + entry.offset_dwords
        aid = ip.instance if ip.name in BY_AID else 0
        bus: RegisterBus = self.access.smn_bus(aid) if aid else self.access
        try:
            value = bus.read(address)
        except Refused as error:
            return Reading(name, entry, address, aid, note=f"not read: {error.seen or error.doing}")
        return Reading(name, entry, address, aid, value, self._remark(entry, ip, value))

    def _why_not(self, entry: Entry, ip: IpInstance) -> str:
        if ip.harvested:
            return "not read: this instance is harvested"
        if entry.offset_dwords is None or entry.seg is None:
            return f"not read: {entry.place}"
        if ip.name in PER_CHANNEL:
            return "not read: addressed per memory channel"
        if entry.seg >= len(ip.bases):
            return f"not read: it lies in segment {entry.seg}, discovery gave {len(ip.bases)}"
        for pattern, why in _SIDE_EFFECTS:
            if pattern.search(entry.name) and not _OWN_VALUE.search(entry.name):
                return f"not read: {why}"
        return ""

    def _remark(self, entry: Entry, ip: IpInstance, value: int) -> str:
        if value == ALL_ONES:
            return "all ones: suspicious, see gpumend probe"
        if ip.name == "GC" and BANKED.match(entry.name):
            return f"banked: of {self._selection(ip)}; a look never selects another (GRBM_GFX_CNTL)"
        return ""

    def _selection(self, ip: IpInstance) -> str:
        if ip.instance not in self._selected:
            now = Gc(self.access, ip.bases, ip.label).GRBM_GFX_CNTL.read()
            self._selected[ip.instance] = (
                f"me {now.MEID} pipe {now.PIPEID} queue {now.QUEUEID} vmid {now.VMID}, selected now"
            )
        return self._selected[ip.instance]
