"""What config space says: header, capabilities, link, errors, power, resizable BARs; and why a device reads all ones.

Works over any Transport's `config_read` and reads only what it decodes. Data that reads all ones is never decoded as
if it were real, and a chain that is broken ends with a finding. Source: Linux 7.3 include/uapi/linux/pci_regs.h (fields),
drivers/pci/pcie/aer.c (names of errors), drivers/pci/rebar.c (sizes), PCI Express Base Specification 6.0 chapter 7."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from base.errors import GpumendError, WaitTimeout
from base.findings import Finding, Severity
from pcibus.transport import ALL_ONES, FunctionInfo, Transport

N = TypeVar("N", int, float)

_MIB = 1 << 20
_STANDARD_BYTES = 256
_FIRST_POINTER = 0x40
_FIRST_EXTENDED = 0x100
_MAX_CAPABILITIES = (_STANDARD_BYTES - _FIRST_POINTER) // 4
_MAX_EXTENDED = (4096 - _FIRST_EXTENDED) // 4

SPEEDS_GTS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}
_WIDTHS = (1, 2, 4, 8, 12, 16, 32)
_ASPM = ("off", "L0s", "L1", "L0s and L1")
_POWER = ("D0", "D1", "D2", "D3hot")
_PORT_TYPES = {
    0: "endpoint",
    1: "legacy endpoint",
    4: "root port",
    5: "upstream port",
    6: "downstream port",
    7: "bridge to PCI",
    8: "bridge from PCI",
    9: "integrated endpoint",
    10: "event collector",
}

CAPABILITY_NAMES = {
    0x01: "Power Management", 0x03: "Vital Product Data", 0x05: "MSI", 0x09: "Vendor Specific", 0x0D: "Subsystem ID",
    0x10: "PCI Express", 0x11: "MSI-X", 0x12: "SATA", 0x13: "Advanced Features", 0x14: "Enhanced Allocation",
}  # fmt: skip
EXTENDED_NAMES = {
    0x01: "Advanced Error Reporting", 0x02: "Virtual Channel", 0x03: "Device Serial Number", 0x04: "Power Budgeting",
    0x0B: "Vendor Specific", 0x0D: "Access Control Services", 0x0E: "Alternate Routing", 0x0F: "Address Translation",
    0x10: "SR-IOV", 0x12: "Multicast", 0x13: "Page Request", 0x15: "Resizable BAR", 0x16: "Dynamic Power Allocation",
    0x17: "TPH Requester", 0x18: "Latency Tolerance", 0x19: "Secondary PCI Express", 0x1B: "PASID",
    0x1D: "Downstream Port Containment", 0x1E: "L1 PM Substates", 0x1F: "Precision Time", 0x23: "Designated Vendor Specific",
    0x24: "VF Resizable BAR", 0x25: "Data Link Feature", 0x26: "Physical Layer 16 GT/s", 0x27: "Lane Margining",
    0x2A: "Physical Layer 32 GT/s", 0x2E: "Data Object Exchange", 0x2F: "Device 3", 0x30: "Integrity and Encryption",
    0x31: "Physical Layer 64 GT/s",
}  # fmt: skip

# Names as the kernel prints them, so that a reader can search the log for them.
CORRECTABLE_ERRORS = {
    0: "RxErr", 6: "BadTLP", 7: "BadDLLP", 8: "Rollover", 12: "Timeout", 13: "NonFatalErr", 14: "CorrIntErr",
    15: "HeaderOF",
}  # fmt: skip
UNCORRECTABLE_ERRORS = {
    0: "Undefined", 4: "DLP", 5: "SDES", 12: "TLP", 13: "FCP", 14: "CmpltTO", 15: "CmpltAbrt", 16: "UnxCmplt",
    17: "RxOF", 18: "MalfTLP", 19: "ECRC", 20: "UnsupReq", 21: "ACSViol", 22: "UncorrIntErr", 23: "BlockedTLP",
    24: "AtomicOpBlocked", 25: "TLPBlockedErr", 26: "PoisonTLPBlocked", 27: "DMWrReqBlocked", 28: "IDECheck",
    29: "MisIDETLP", 30: "PCRC_CHECK", 31: "TLPXlatBlocked",
}  # fmt: skip

NOT_BY_RESCAN = "Remove and rescan alone does not bring back a device that does not answer"
_PORT_IS_GONE = "does not answer either"


@dataclass(frozen=True, slots=True)
class Capability:
    """One entry of a capability chain; `offset` in bytes of config space."""

    id: int
    offset: int
    name: str
    version: int = 0
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """The command register: what the function is allowed to do."""

    value: int

    @property
    def io(self) -> bool:
        return bool(self.value & 0x1)

    @property
    def memory(self) -> bool:
        return bool(self.value & 0x2)

    @property
    def bus_master(self) -> bool:
        return bool(self.value & 0x4)

    @property
    def intx_disabled(self) -> bool:
        return bool(self.value & 0x400)


@dataclass(frozen=True, slots=True)
class Link:
    """The PCI Express link. Speeds in GT/s, widths in lanes; None: not told. `port_*`: the other end's maximum."""

    speed_gts: float | None
    width: int | None
    max_speed_gts: float | None
    max_width: int | None
    aspm_supported: str
    aspm: str
    training: bool
    active: bool | None
    port_max_speed_gts: float | None = None
    port_max_width: int | None = None

    @property
    def best_speed_gts(self) -> float | None:
        """What both ends can do."""
        return _least(self.max_speed_gts, self.port_max_speed_gts)

    @property
    def best_width(self) -> int | None:
        return _least(self.max_width, self.port_max_width)


@dataclass(frozen=True, slots=True)
class Aer:
    """Advanced Error Reporting: names of the errors that stand in the status registers, masked ones apart."""

    correctable: tuple[str, ...] = ()
    nonfatal: tuple[str, ...] = ()
    fatal: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    first_error: str = ""
    header_log: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ResizableBar:
    """Sizes in bytes."""

    bar: int
    size: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Interrupts:
    """`vectors` as the capability offers them; None: no such capability."""

    msi_vectors: int | None = None
    msi_enabled: bool = False
    msix_vectors: int | None = None
    msix_enabled: bool = False


@dataclass(frozen=True, slots=True)
class ConfigSpace:
    """Decoded config space. None: not there, not readable or not believable; `lost`: everything reads all ones."""

    readable_bytes: int
    lost: bool = False
    vendor: int | None = None
    device: int | None = None
    revision: int | None = None
    class_code: int | None = None
    header_type: int | None = None
    multifunction: bool = False
    command: Command | None = None
    status: int | None = None
    subsystem_vendor: int | None = None
    subsystem_device: int | None = None
    secondary_bus: int | None = None
    capabilities: tuple[Capability, ...] = ()
    port_type: str = ""
    flr: bool | None = None
    link: Link | None = None
    power_state: str | None = None
    interrupts: Interrupts = Interrupts()
    aer: Aer | None = None
    resizable_bars: tuple[ResizableBar, ...] = ()
    serial_number: int | None = None
    findings: tuple[Finding, ...] = ()

    def find(self, number: int, *, extended: bool = False) -> Capability | None:
        """The first capability of that id."""
        for entry in self.capabilities:
            if entry.id == number and entry.extended == extended:
                return entry
        return None


def decode(transport: Transport, upstream: Transport | None = None) -> ConfigSpace:
    """Decode config space; `upstream`: the port above, for what the link's other end can do.

    Raises what `config_read` raises for the first 64 bytes; what is hidden beyond them is a finding."""
    return _Decoder(transport, upstream).decode()


def is_lost(transport: Transport) -> bool:
    """Whether config space reads all ones. A virtual function's ids always do: there the class is asked."""
    if transport.config_read(0, 4) != ALL_ONES:
        return False
    return transport.config_read(8, 4) == ALL_ONES


def serial_number(transport: Transport) -> int | None:
    """The Device Serial Number capability; None where there is none, or where it cannot be asked."""
    try:
        if is_lost(transport):
            return None
        decoder = _Decoder(transport, None)
        return decoder.serial(decoder.walk_extended())
    except (GpumendError, OSError):
        return None


def why_all_ones(transport: Transport) -> list[Finding]:
    """Reasons why MMIO of this function may read all ones, gravest first; empty: none in sight, the device may mean it.

    Asks the kernel's word on its power, then config space (lost, power state, memory decoding). Touches no MMIO."""
    info = transport.info()
    if info.power_state in ("D3hot", "D3cold"):
        return [_asleep(info.power_state, f"power_state of {info.bdf}", transport.name)]
    try:
        if is_lost(transport):
            return [lost_finding(info)]
        return _doubts(transport, info)
    except (GpumendError, OSError) as error:
        return [finding_of(error)]


def _doubts(transport: Transport, info: FunctionInfo) -> list[Finding]:
    decoder = _Decoder(transport, None)
    power = decoder.power(decoder.walk())
    if power not in (None, "D0"):
        return [_asleep(power or "", f"PMCSR of {info.bdf}", transport.name)]
    if decoder.memory_is_off():
        return [_memory_off(info)]
    return []


def finding_of(error: Exception) -> Finding:
    """The finding that an error of a transport amounts to. A child that timed out while it read config space: blocked."""
    if not isinstance(error, GpumendError):
        return Finding("pci.unreadable", Severity.UNKNOWN, "the device could not be asked", seen=str(error))
    code = getattr(error, "finding_code", "")
    if isinstance(error, WaitTimeout) and "config space" in error.doing:
        code = "pci.config-blocked"
        error.next_step = error.next_step or "is a reset of it going on? wait, then ask again"
    summaries = {
        "pci.mmap-refused": "the kernel does not let us map this BAR",
        "pci.power": "the device sleeps, and is left asleep",
        "pci.config-blocked": "config access is blocked: a reset seems to be going on",
    }
    return Finding(
        code or "pci.unreadable",
        Severity.UNKNOWN,
        summaries.get(code, "the device could not be asked"),
        expected=error.expected,
        seen=error.seen or error.doing,
        where=error.where,
        next=error.next_step,
    )


class _Decoder:
    """One pass over one config space; dwords are read once."""

    def __init__(self, transport: Transport, upstream: Transport | None) -> None:
        self.transport = transport
        self.upstream = upstream
        self.info = transport.info()
        self.size = transport.config_size()
        self.findings: list[Finding] = []
        self._dwords: dict[int, int] = {}

    def decode(self) -> ConfigSpace:
        if is_lost(self.transport):
            return ConfigSpace(self.size, lost=True, findings=(lost_finding(self.info, self.upstream),))
        # A virtual function's ids read all ones; the system knows them from the physical one.
        ids = self.dword(0)
        vendor, device = (ids & 0xFFFF, ids >> 16) if ids != ALL_ONES else (self.info.vendor, self.info.device)
        kind = self.dword(0x0C) >> 16 & 0xFF
        command = Command(self.dword(4) & 0xFFFF)
        plain = kind & 0x7F == 0
        subsystem = self.dword(0x2C) if plain else None
        capabilities = self.walk() + self.walk_extended()
        express = _first(capabilities, 0x10)
        power = self.power(capabilities)
        self._judge_state(power)
        return ConfigSpace(
            self.size,
            vendor=vendor,
            device=device,
            revision=self.dword(8) & 0xFF,
            class_code=self.dword(8) >> 8,
            header_type=kind & 0x7F,
            multifunction=bool(kind & 0x80),
            command=command,
            status=self.dword(4) >> 16,
            subsystem_vendor=None if subsystem is None else subsystem & 0xFFFF,
            subsystem_device=None if subsystem is None else subsystem >> 16,
            secondary_bus=self.dword(0x18) >> 8 & 0xFF if kind & 0x7F == 1 else None,
            capabilities=capabilities,
            port_type=_PORT_TYPES.get(self.word(express.offset + 2) >> 4 & 0xF, "") if express else "",
            flr=self.flr(capabilities, express),
            link=self.link(express),
            power_state=power,
            interrupts=self.interrupts(capabilities),
            aer=self.aer(capabilities),
            resizable_bars=self.resizable_bars(capabilities),
            serial_number=self.serial(capabilities),
            findings=tuple(self.findings),
        )

    # --- reading

    def dword(self, offset: int) -> int:
        if offset not in self._dwords:
            self._dwords[offset] = self.transport.config_read(offset, 4)
        return self._dwords[offset]

    def word(self, offset: int) -> int:
        return self.dword(offset & ~3) >> (offset & 2) * 8 & 0xFFFF

    def readable(self, entry: Capability, size: int) -> bool:
        """Whether a capability's first `size` bytes can be read and are not all ones."""
        if entry.offset + size > self.size:
            self._note_hidden(entry, size)
            return False
        if all(self.dword(at) == ALL_ONES for at in range(entry.offset + 4, entry.offset + size, 4)):
            self._broken(entry.offset, f"data of {entry.name}", "all ones")
            return False
        return True

    def memory_is_off(self) -> bool:
        """Whether the function has memory BARs and does not decode them. A virtual one's switch is the physical one's."""
        if self.info.sriov_vf or self.dword(4) & 2:
            return False
        count = {0: 6, 1: 2}.get(self.dword(0x0C) >> 16 & 0x7F, 0)
        bars = [self.dword(0x10 + 4 * index) for index in range(count)]
        return any(
            bar and not bar & 1 for bar in bars
        )  # an empty register reads 0; one that lost its address keeps flags

    # --- the chains

    def walk(self) -> tuple[Capability, ...]:
        """The standard chain. Pointers below 0x40, to all ones or back into the chain end it with a finding."""
        if not self.word(6) & 0x10:
            return ()
        kind = self.dword(0x0C) >> 16 & 0x7F
        pointer = self.dword(0x14 if kind == 2 else 0x34) & 0xFF
        limit = min(self.size, _STANDARD_BYTES)
        found: list[Capability] = []
        seen: set[int] = set()
        while pointer := pointer & ~3:
            if pointer >= limit and pointer >= _FIRST_POINTER and self.size < _STANDARD_BYTES:
                self._hidden("the capabilities", pointer)
                break
            if pointer < _FIRST_POINTER or pointer in seen or len(found) >= _MAX_CAPABILITIES:
                self._broken(pointer, "a pointer to the next capability", _fault(pointer, seen, _FIRST_POINTER))
                break
            seen.add(pointer)
            head = self.dword(pointer)
            if head & 0xFF == 0xFF or head == ALL_ONES:
                self._broken(pointer, "a capability", f"{head:#010x}")
                break
            found.append(Capability(head & 0xFF, pointer, _name(CAPABILITY_NAMES, head & 0xFF)))
            pointer = head >> 8 & 0xFF
        return tuple(found)

    def walk_extended(self) -> tuple[Capability, ...]:
        """The extended chain from 0x100; nothing without a finding where the function has or shows no such space."""
        if self.size <= _FIRST_EXTENDED:
            return ()
        found: list[Capability] = []
        seen: set[int] = set()
        pointer = _FIRST_EXTENDED
        while pointer:
            if pointer < _FIRST_EXTENDED or pointer in seen or len(found) >= _MAX_EXTENDED or pointer + 4 > self.size:
                fault = _fault(pointer, seen, _FIRST_EXTENDED)
                self._broken(pointer, "a pointer to the next extended capability", fault)
                break
            seen.add(pointer)
            head = self.dword(pointer)
            if head == 0 or (head == ALL_ONES and pointer == _FIRST_EXTENDED):
                break  # none: a function without them reads zero or all ones there
            if head == ALL_ONES:
                self._broken(pointer, "an extended capability", f"{head:#010x}")
                break
            number = head & 0xFFFF
            if number:  # id 0 is a place holder
                found.append(
                    Capability(number, pointer, _name(EXTENDED_NAMES, number), head >> 16 & 0xF, extended=True)
                )
            pointer = head >> 20 & 0xFFC
        return tuple(found)

    # --- capabilities

    def power(self, capabilities: Iterable[Capability]) -> str | None:
        entry = _first(capabilities, 0x01)
        if entry is None or not self.readable(entry, 8):
            return None
        return _POWER[self.word(entry.offset + 4) & 3]

    def flr(self, capabilities: Iterable[Capability], express: Capability | None) -> bool | None:
        """Whether the function says that it can reset itself; None: neither place could be read."""
        features = _first(capabilities, 0x13)
        if express is not None and self.readable(express, 0x0C) and self.dword(express.offset + 4) >> 28 & 1:
            return True
        if features is not None and features.offset + 4 <= self.size:
            return bool(self.dword(features.offset) >> 25 & 1)
        return False if express is not None and express.offset + 0x0C <= self.size else None

    def link(self, express: Capability | None) -> Link | None:
        if express is None or not self.readable(express, 0x14):
            return None
        control_status = self.dword(express.offset + 0x10)
        if control_status == ALL_ONES:
            self._broken(express.offset + 0x10, "link control and status", "all ones")
            return None
        max_speed, max_width, capability = self._link_maximum(express)
        link = Link(
            speed_gts=SPEEDS_GTS.get(control_status >> 16 & 0xF),
            width=_width(control_status >> 20 & 0x3F),
            max_speed_gts=max_speed,
            max_width=max_width,
            aspm_supported=_ASPM[capability >> 10 & 3],
            aspm=_ASPM[control_status & 3],
            training=bool(control_status >> 27 & 1),
            active=bool(control_status >> 29 & 1) if capability >> 20 & 1 else None,
            port_max_speed_gts=None,
            port_max_width=None,
        )
        link = self._with_other_end(link)
        self._judge_link(link, express)
        return link

    def _link_maximum(self, express: Capability) -> tuple[float | None, int | None, int]:
        capability = self.dword(express.offset + 0x0C)
        speed = SPEEDS_GTS.get(capability & 0xF)
        if self.word(express.offset + 2) & 0xF >= 2 and express.offset + 0x30 <= self.size:
            speeds = self.dword(express.offset + 0x2C) >> 1 & 0x7F
            speed = SPEEDS_GTS.get(speeds.bit_length(), speed) if speeds else speed
        return speed, _width(capability >> 4 & 0x3F), capability

    def _with_other_end(self, link: Link) -> Link:
        if self.upstream is None:
            return link
        try:
            if is_lost(self.upstream):
                return link
            port = _Decoder(self.upstream, None)
            express = _first(port.walk(), 0x10)
            if express is None or not port.readable(express, 0x14):
                return link
            speed, width, _ = port._link_maximum(express)
        except (GpumendError, OSError):
            return link
        return replace(link, port_max_speed_gts=speed, port_max_width=width)

    def interrupts(self, capabilities: Iterable[Capability]) -> Interrupts:
        msi, msix = _first(capabilities, 0x05), _first(capabilities, 0x11)
        msi_flags = self.dword(msi.offset) >> 16 if msi else 0
        msix_flags = self.dword(msix.offset) >> 16 if msix else 0
        return Interrupts(
            msi_vectors=1 << (msi_flags >> 1 & 7) if msi else None,
            msi_enabled=bool(msi_flags & 1),
            msix_vectors=(msix_flags & 0x7FF) + 1 if msix else None,
            msix_enabled=bool(msix_flags >> 15 & 1),
        )

    def aer(self, capabilities: Iterable[Capability]) -> Aer | None:
        entry = _first(capabilities, 0x01, extended=True)
        if entry is None or not self.readable(entry, 0x2C):
            return None
        at = entry.offset
        bad, bad_mask, fatal = (self.dword(at + offset) for offset in (0x04, 0x08, 0x0C))
        good, good_mask = self.dword(at + 0x10), self.dword(at + 0x14)
        if ALL_ONES in (bad, good):
            self._broken(at, "error status", "all ones")
            return None
        log = tuple(self.dword(at + 0x1C + step) for step in (0, 4, 8, 12))
        first = self.dword(at + 0x18) & 0x1F
        aer = Aer(
            correctable=_named(good & ~good_mask, CORRECTABLE_ERRORS),
            nonfatal=_named(bad & ~bad_mask & ~fatal, UNCORRECTABLE_ERRORS),
            fatal=_named(bad & ~bad_mask & fatal, UNCORRECTABLE_ERRORS),
            masked=_named(good & good_mask, CORRECTABLE_ERRORS) + _named(bad & bad_mask, UNCORRECTABLE_ERRORS),
            first_error=UNCORRECTABLE_ERRORS.get(first, "") if bad >> first & 1 else "",
            header_log=log if bad and any(log) else (),
        )
        self._judge_aer(aer, at)
        return aer

    def resizable_bars(self, capabilities: Iterable[Capability]) -> tuple[ResizableBar, ...]:
        entry = _first(capabilities, 0x15, extended=True)
        if entry is None or not self.readable(entry, 12):
            return ()
        count = self.dword(entry.offset + 8) >> 5 & 7
        bars = []
        for step in range(min(count, 6)):
            at = entry.offset + 4 + 8 * step
            if at + 8 > self.size or ALL_ONES in (self.dword(at), self.dword(at + 4)):
                self._broken(at, "a resizable BAR", "all ones, or beyond config space")
                break
            control = self.dword(at + 4)
            # bit 4 is 1 MiB; sizes from 256 TiB up stand in the control register's upper half
            mask = self.dword(at) >> 4 | (control >> 16) << 28
            sizes = tuple(_MIB << bit for bit in range(44) if mask >> bit & 1)
            bars.append(ResizableBar(control & 7, _MIB << (control >> 8 & 0x3F), sizes))
        return tuple(bars)

    def serial(self, capabilities: Iterable[Capability]) -> int | None:
        entry = _first(capabilities, 0x03, extended=True)
        if entry is None or entry.offset + 12 > self.size:
            return None
        number = self.dword(entry.offset + 4) | self.dword(entry.offset + 8) << 32
        return None if number in (0, (1 << 64) - 1) else number

    # --- judging

    def _judge_state(self, power: str | None) -> None:
        if power not in (None, "D0"):
            self.findings.append(_asleep(power or "", f"PMCSR of {self.info.bdf}", self.transport.name))
        elif self.memory_is_off():
            self.findings.append(_memory_off(self.info))

    def _judge_link(self, link: Link, express: Capability) -> None:
        where = f"LNKSTA at config+{express.offset + 0x12:#x} on {self.info.bdf}"
        integrated = self.word(express.offset + 2) >> 4 & 0xF in (9, 10)
        if self.info.sriov_vf or integrated:
            return  # a virtual or integrated function has no link of its own and reads zero
        if link.aspm in ("L1", "L0s and L1"):
            self.findings.append(
                Finding(
                    "pci.aspm",
                    Severity.NOTE,
                    f"ASPM {link.aspm} is on: register reads may waver when the link wakes",
                    expected="ASPM off on a compute GPU",
                    seen=link.aspm,
                    where=f"LNKCTL at config+{express.offset + 0x10:#x} on {self.info.bdf}",
                    next="boot with pcie_aspm=off, or set the ASPM policy to performance",
                )
            )
        if link.speed_gts is None or link.width is None:
            self.findings.append(
                Finding(
                    "pci.link",
                    Severity.UNKNOWN,
                    "the link's speed or width is not a known one",
                    expected="a speed and a width of the PCI Express specification",
                    seen=f"{self.word(express.offset + 0x12):#06x}",
                    where=where,
                )
            )
            return
        narrow = link.best_width is not None and link.width < link.best_width
        slow = link.best_speed_gts is not None and link.speed_gts < link.best_speed_gts
        if not narrow and not slow:
            return
        what = "narrower and slower" if narrow and slow else "narrower" if narrow else "slower"
        self.findings.append(
            Finding(
                "pci.link",
                Severity.WARNING,
                f"the PCI Express link is {what} than both ends can do",
                expected=_link_words(link.best_speed_gts, link.best_width),
                seen=_link_words(link.speed_gts, link.width),
                where=where,
                next="look again under load; if it stays: reseat the card or cable, read the port's AER counts",
            )
        )

    def _judge_aer(self, aer: Aer, at: int) -> None:
        log = f"; header log {' '.join(f'{word:08x}' for word in aer.header_log)}" if aer.header_log else ""
        rows = (
            (aer.fatal, Severity.FATAL, "fatal PCI Express errors stand in AER", 0x04, log),
            (aer.nonfatal, Severity.ERROR, "uncorrectable PCI Express errors stand in AER", 0x04, log),
            (aer.correctable, Severity.WARNING, "correctable PCI Express errors stand in AER", 0x10, ""),
            (aer.masked, Severity.NOTE, "masked PCI Express errors stand in AER", 0x04, ""),
        )
        for names, severity, summary, offset, more in rows:
            if names:
                self.findings.append(
                    Finding(
                        "pci.aer",
                        severity,
                        summary,
                        expected="no error",
                        seen=", ".join(names) + more,
                        where=f"AER at config+{at + offset:#x} on {self.info.bdf}",
                        next=""
                        if severity is Severity.NOTE
                        else "watch the counts; reseat the card or cable if they grow",
                    )
                )

    def _broken(self, offset: int, what: str, seen: str) -> None:
        finding = Finding(
            "pci.config.capabilities",
            Severity.WARNING,
            "the capability chain of config space is broken; what follows is not decoded",
            expected=f"{what} that makes sense",
            seen=seen,
            where=f"config+{offset:#x} on {self.info.bdf}",
            next="was a reset done that loses config space? restore it, or reset the bus",
        )
        if finding not in self.findings:
            self.findings.append(finding)

    def _note_hidden(self, entry: Capability, size: int) -> None:
        if self.size < _STANDARD_BYTES:
            self._hidden(entry.name, entry.offset)
        else:
            self._broken(entry.offset, entry.name, f"{size} bytes that end beyond config space")

    def _hidden(self, what: str, offset: int) -> None:
        finding = Finding(
            "pci.config.hidden",
            Severity.UNKNOWN,
            f"only {self.size} bytes of config space can be read: link and errors unknown",
            expected=f"{what} at {offset:#x}",
            seen=f"{self.size} bytes",
            where=f"config space of {self.info.bdf}",
            next="run as root (CAP_SYS_ADMIN)",
        )
        if not any(known.code == finding.code for known in self.findings):
            self.findings.append(finding)


def aer_finding(bdf: str, counters: dict[str, dict[str, int]] | None) -> Finding | None:
    """The kernel's own AER counts (`sysfs.aer_counters`) as a finding; None when there are none or all are 0."""
    seen = [f"{kind}: {', '.join(f'{name} {n}' for name, n in c.items())}" for kind, c in (counters or {}).items() if c]
    if counters is None or not seen:
        return None
    severity = Severity.ERROR if counters.get("fatal") or counters.get("nonfatal") else Severity.WARNING
    return Finding(
        "pci.aer",
        severity,
        "the kernel counted PCI Express errors of this device since boot",
        expected="no error",
        seen="; ".join(seen),
        where=f"aer_dev_* of {bdf}",
        next="ask again later: only counts that grow matter; reseat the card or cable if they do",
    )


def lost_finding(info: FunctionInfo, upstream: Transport | None = None, seen: str = f"{ALL_ONES:#010x}") -> Finding:
    """The device does not answer any more; `upstream`: the port above, asked for the state of its link."""
    port = _port_state(info, upstream)
    next_ = f"reset the bus of the port above{f' ({info.upstream})' if info.upstream else ''}"
    if port.endswith(_PORT_IS_GONE):
        next_ = "bring back the port above first, then reset its bus"
    return Finding(
        "pci.lost",
        Severity.FATAL,
        "the device is gone from the bus: config space reads all ones",
        expected=f"{info.device:04x}{info.vendor:04x} (its ids), or its class",
        seen=seen,
        where=f"config+0x0 on {info.bdf}; {port}",
        next=f"{next_}; if it stays away: power cycle. {NOT_BY_RESCAN}",
    )


def _port_state(info: FunctionInfo, upstream: Transport | None) -> str:
    """What the port above says of the link down to a device that does not answer."""
    if upstream is None:
        return (
            f"port above {info.upstream}: not asked" if info.upstream else "the port above is not known, so not asked"
        )
    try:
        return f"port above {upstream.info().bdf}: {_port_words(upstream)}"
    except (GpumendError, OSError) as error:
        reason = error.seen or error.doing if isinstance(error, GpumendError) else str(error)
        return f"port above {info.upstream}: cannot be asked ({reason})"


def _port_words(upstream: Transport) -> str:
    if is_lost(upstream):
        return _PORT_IS_GONE
    port = _Decoder(upstream, None)
    link = port.link(_first(port.walk(), 0x10))
    if link is None or link.active is None:
        return "answers, does not tell whether its link is up"
    return "answers, link up" if link.active else "link down"


def _memory_off(info: FunctionInfo) -> Finding:
    return Finding(
        "pci.memory-off",
        Severity.WARNING,
        "memory decoding is off: every register reads all ones",
        expected="bit 1 (memory space) of the command register set",
        seen="0",
        where=f"COMMAND at config+0x4 on {info.bdf}",
        next="restore config space; a driver enables it when it binds",
    )


def _asleep(state: str, where: str, name: str) -> Finding:
    return Finding(
        "pci.power",
        Severity.UNKNOWN,
        f"the device sleeps in {state}: its registers cannot be read",
        expected="power state D0",
        seen=state,
        where=where,
        next=f"to wake it: echo on > /sys/bus/pci/devices/{name}/power/control",
    )


def _fault(pointer: int, seen: set[int], lowest: int) -> str:
    if pointer in seen:
        return f"{pointer:#x}: a loop"
    return f"{pointer:#x}: {'inside the header' if pointer < lowest else 'too many, or beyond config space'}"


def _first(capabilities: Iterable[Capability], number: int, *, extended: bool = False) -> Capability | None:
    return next((entry for entry in capabilities if entry.id == number and entry.extended == extended), None)


def _name(names: dict[int, str], number: int) -> str:
    return names.get(number, f"id {number:#x}")


def _named(bits: int, names: dict[int, str]) -> tuple[str, ...]:
    return tuple(names.get(bit, f"bit {bit}") for bit in range(32) if bits >> bit & 1)


def _width(lanes: int) -> int | None:
    return lanes if lanes in _WIDTHS else None


def _least(a: N | None, b: N | None) -> N | None:
    if a is None or b is None:
        return a if b is None else b
    return min(a, b)


def _link_words(speed_gts: float | None, width: int | None) -> str:
    return f"{'unknown' if speed_gts is None else f'{speed_gts:g}'} GT/s x{width if width is not None else '?'}"
