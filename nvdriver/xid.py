"""Xids: the driver's error numbers in the kernel log, what each means and what to do about it.

Source: nvidia-resets.md section 7 (NVIDIA's public catalogue for A100 to GB200; names: nverror.h of
open-gpu-kernel-modules 580.105.08; the log's form: kernel_rc.c of the same). The number in an error notifier is the same.

Rules of the catalogue that are kept here: the first fatal Xid of a burst counts, 43 and 45 are its echoes; a driver that
is loaded anew starts afresh, so what was logged before that is past; and so is, for one GPU, what was logged before gpumend
reset it, which a line of its own tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from base.findings import Action, Severity


class Kind(StrEnum):
    """What an Xid is about; decides how grave it is."""

    APP = "application fault"
    CONTAINED = "contained memory error"
    UNCONTAINED = "uncontained memory error"
    FIRMWARE = "firmware or hang"
    LINK = "link"
    BUS = "bus"
    PENDING = "maintenance pending"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class Xid:
    """One number. `first`: what to do at once; `second`: what if it comes again; `action`: the same in our words."""

    number: int
    name: str
    meaning: str
    kind: Kind
    severity: Severity
    action: Action
    first: str
    second: str = ""


_APP, _KEPT, _LOST = Kind.APP, Kind.CONTAINED, Kind.UNCONTAINED
_FIRMWARE, _LINK, _BUS, _PENDING, _INFO = Kind.FIRMWARE, Kind.LINK, Kind.BUS, Kind.PENDING, Kind.INFORMATION
_NOTE, _WARNING, _ERROR, _FATAL = Severity.NOTE, Severity.WARNING, Severity.ERROR, Severity.FATAL

_RESTART = "restart the application"
_RESET = "reset the GPU"
_IGNORE = "ignore"
_WINDOW = "reset the GPU at the next window"
_NVLINK = "follow the NVLink workflow: check both ends, reset if it is fatal"
_NVLINK5 = "follow the NVLink 5 workflow: the sub-code decides; Xid 154 beside it says what to do"
_SUPPORT = "show it to the vendor"
_SOFTWARE = "update the software"

_APP_RESTART = (_APP, _WARNING, Action.RESTART_APP, _RESTART)
_HANG = (_FIRMWARE, _ERROR, Action.FLR, _RESET)

# numbers, name, meaning, (kind, severity, action, first), second
_Row = tuple[tuple[int, ...], str, str, tuple[Kind, Severity, Action, str], str]
_ROWS: tuple[_Row, ...] = (
    ((8,), "FIFO idle timeout", "the GPU stopped processing", _APP_RESTART, _SUPPORT),
    ((11, 25, 32, 80), "bad pushbuffer", "a bad or corrupted pushbuffer", _APP_RESTART,
     "check the application, then the PCI Express path"),
    ((13,), "graphics engine exception", "an illegal address in a shader, or ECC", _APP_RESTART,
     "compare with another GPU"),
    ((31,), "MMU fault", "a page fault of the GPU", _APP_RESTART, "check the application; hardware if it is random"),
    ((37,), "FECS bad method", "a method that the firmware refused", (_APP, _NOTE, Action.NONE, _IGNORE),
     "check the application"),
    ((38,), "FECS watchdog", "an error of the driver's firmware", (_FIRMWARE, _NOTE, Action.NONE, _IGNORE), _SUPPORT),
    ((*range(39, 42), *range(70, 73), *range(75, 78), 85, *range(126, 136)), "copy engine exception",
     "an exception of a copy engine", _APP_RESTART, _SUPPORT),
    ((43,), "channel stopped", "a channel stopped after an earlier error",
     (_APP, _NOTE, Action.NONE, "read the earlier Xid"), _SUPPORT),
    ((44,), "fault during context switch", "a fault of the graphics engine",
     (_FIRMWARE, _NOTE, Action.NONE, _IGNORE), _SUPPORT),
    ((45,), "preemptive removal", "a channel was removed because of another error",
     (_INFO, _NOTE, Action.NONE, "follow the other Xid; alone: restart the fabric manager"), ""),
    ((46,), "GPU timeout", "the GPU stopped processing", _HANG, _SUPPORT),
    ((48,), "double-bit ECC", "an uncorrectable memory error",
     (_KEPT, _WARNING, Action.RESTART_APP, "read 63, 64, 94, 95, 171, 172 beside it. If contained: restart the application, "
      "reset when a remap is pending; else reset the GPU"), "return the board"),
    ((54,), "auxiliary power", "the power connector is missing",
     (_BUS, _WARNING, Action.NONE, "check the cabling"), _SUPPORT),
    ((60,), "SEC2", "an exception of the security engine", (_FIRMWARE, _WARNING, Action.RESTART_APP, _RESTART), _SOFTWARE),
    ((62,), "PMU halt", "an internal controller halted", _HANG, _SUPPORT),
    ((63,), "row remap event", "a row of memory was marked for remapping",
     (_PENDING, _WARNING, Action.NONE, f"ignore now; {_WINDOW}"), ""),
    ((64,), "row remap failure", "remapping a row failed", (_PENDING, _ERROR, Action.FLR, _RESET), "return the board"),
    ((66, 67), "FECS access violation", "an illegal access by the driver", (_APP, _NOTE, Action.NONE, _IGNORE), _SOFTWARE),
    ((68, 83, 84, 88, 89, 96, 97, 98), "decoder exception", "an exception of a video decoder", _APP_RESTART, _SUPPORT),
    ((69,), "graphics class error", "a wrong class or method", _APP_RESTART, "check the application"),
    ((74,), "NVLink error", "a fault of an NVLink, up to Hopper", (_LINK, _WARNING, Action.NONE, _NVLINK),
     "show it to the vendor: cable or board"),
    ((78,), "vGPU start", "a wrong configuration of vGPU", (_INFO, _NOTE, Action.NONE, _SOFTWARE), ""),
    ((79,), "fallen off the bus", "the GPU cannot be reached any more",
     (_BUS, _FATAL, Action.NODE_REBOOT, "reboot the node (bare metal)"), "show it to the vendor; reseat the board"),
    ((82, *range(99, 106)), "JPEG exception", "an exception of a JPEG engine", _APP_RESTART, _SUPPORT),
    ((86, 139), "OFA exception", "an exception of the optical flow engine", _APP_RESTART, _SUPPORT),
    ((92,), "many single-bit errors", "a storm of corrected memory errors",
     (_PENDING, _NOTE, Action.NONE, "ignore, watch"), _SUPPORT),
    ((93,), "InfoROM wear", "the board's memory of itself wears out", (_INFO, _NOTE, Action.NONE, _IGNORE), _SUPPORT),
    ((94,), "contained error", "a memory error that hit one application only",
     (_KEPT, _WARNING, Action.RESTART_APP, f"{_RESTART} that it hit"), "ignore if sympathetic"),
    ((95,), "uncontained error", "a memory error that cannot be laid to one application",
     (_LOST, _ERROR, Action.FLR, _RESET), ""),
    ((108, 137), "remote NVLink access", "a fault of a peer's access",
     (_LINK, _NOTE, Action.NONE, "ignore; check the applications of the peers"), ""),
    ((109,), "context switch timeout", "a context switch hangs", _HANG, _SUPPORT),
    ((110,), "security fault", "the firmware found a fault", _HANG, _SOFTWARE),
    ((119,), "GSP RPC timeout", "the GPU's firmware (GSP) does not answer", _HANG, _SOFTWARE),
    ((120,), "GSP error", "the GPU's firmware (GSP) crashed", _HANG, _SOFTWARE),
    ((121,), "C2C error", "the link to Grace corrected an error", (_LINK, _NOTE, Action.NONE, _IGNORE), _SUPPORT),
    ((136,), "NVLink training failed", "an NVLink could not be trained", (_LINK, _ERROR, Action.FLR, _RESET),
     "the link's signal integrity"),
    ((140,), "unrecovered ECC error", "a memory error escaped", (_LOST, _ERROR, Action.FLR, _RESET), _SUPPORT),
    ((141,), "fast path", "CUDA's fast path", (_APP, _NOTE, Action.NONE, _IGNORE), _SUPPORT),
    ((143,), "GPU initialization error", "it could not be initialized (FSP, devinit)", _HANG, _SUPPORT),
    (tuple(range(144, 151)), "NVLink 5 error", "an error of an NVLink unit of Blackwell",
     (_LINK, _WARNING, Action.NONE, _NVLINK5), ""),
    ((151,), "key rotation", "confidential computing", (_INFO, _WARNING, Action.NONE, "restart the virtual machine"),
     _SUPPORT),
    ((154,), "recovery action changed", "the driver's word on what this GPU needs",
     (_INFO, _NOTE, Action.NONE, "do what it says"), ""),
    ((155,), "NVLink taken down", "software took a link down", (_LINK, _ERROR, Action.FLR, _RESET),
     "check the user's software"),
    ((156,), "resource retirement", "a TPC or channel is to be repaired",
     (_PENDING, _WARNING, Action.NONE, _WINDOW), ""),
    ((157,), "resource retirement failure", "a repair failed", (_PENDING, _NOTE, Action.NONE, _IGNORE), _SUPPORT),
    ((158,), "GPU fatal timeout", "the GPU hangs", _HANG, _SUPPORT),
    ((159,), "CHI non-data error", "Grace's coherent fabric", (_LINK, _NOTE, Action.NONE, "check UVM"), _SUPPORT),
    ((160,), "memory channel retirement", "a memory channel is retired",
     (_PENDING, _WARNING, Action.NONE, "ignore; note the capacity"), ""),
    ((161,), "memory channel retirement failure", "retiring a memory channel failed",
     (_PENDING, _WARNING, Action.NONE, "ignore; note the capacity"), _SOFTWARE),
    (tuple(range(162, 166)), "power smoothing", "power smoothing changed", (_INFO, _NOTE, Action.NONE, "note it"), ""),
    ((166, 170), "secure NVLink", "traffic before or while encryption is set up",
     (_LINK, _NOTE, Action.NONE, f"note it; {_NVLINK}"), ""),
    ((167,), "PCI Express fatal timeout", "completions timed out",
     (_BUS, _ERROR, Action.FLR, "treat it as a candidate for 79: check the link, reset the GPU"), _SUPPORT),
    ((168,), "reduced memory capacity", "errors in the protected region of memory",
     (_PENDING, _WARNING, Action.NONE, "plan a reset, or return the board"), ""),
    ((169,), "SEC2 halt", "a controller halted", _HANG, _SUPPORT),
    ((171, 172), "uncorrectable memory error", "detail for 48: DRAM (171) or SRAM (172)",
     (_KEPT, _WARNING, Action.RESTART_APP, "as for 48"), "return the board if the SRAM threshold is crossed"),
    ((173,), "C2C fatal link failure", "the link to Grace is down",
     (_LINK, _ERROR, Action.NODE_REBOOT, "reboot the node"), _SUPPORT),  # inferred, as the fact sheet marks it
)  # fmt: skip

CATALOGUE: Mapping[int, Xid] = MappingProxyType(
    {
        number: Xid(number, name, meaning, *told, second)
        for numbers, name, meaning, told, second in _ROWS
        for number in numbers
    }
)

# Channels that are torn down after an error; they say nothing of their own.
ECHOES = frozenset((43, 45))
RECOVERY_CHANGED = 154

# The driver is loaded (nv.c nvidia_init_module): what it knew before is gone.
DRIVER_LOADED = re.compile(r"NVRM: loading ")
_ANEW = re.compile(r"gpumend: (?P<bdf>[0-9a-f:.]+) was started anew by ", re.IGNORECASE)
_LINE = re.compile(
    r"NVRM: Xid \(PCI:(?P<place>(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2})[^)]*\): (?P<number>\d{1,5}),? ?(?P<text>.*)",
    re.IGNORECASE,
)
_STAMP = re.compile(r"(?:<\d+>)?\[\s*(\d+(?:\.\d+)?)\]")
_PID = re.compile(r"pid='?(\d+)")
_ACTION_CHANGED = re.compile(r"from 0x[0-9a-f]+ \([^)]*\) to 0x([0-9a-f]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Seen:
    """One number in the log of one GPU: how often, when (seconds since boot; None: not told), and the first text."""

    number: int
    count: int
    first_s: float | None
    last_s: float | None
    text: str
    pids: tuple[int, ...] = ()

    @property
    def known(self) -> Xid | None:
        return CATALOGUE.get(self.number)


@dataclass(frozen=True, slots=True)
class Log:
    """What the kernel log says of one GPU. `seen`: since the driver was loaded last or the GPU was reset by us, in order of
    their first line; `past`: how many lines before that; `action`: the recovery action that the last Xid 154 told, None
    without one."""

    seen: tuple[Seen, ...] = ()
    past: int = 0
    action: int | None = None

    @property
    def first_fatal(self) -> Seen | None:
        """The one to act on: the first that is an error of its own, not an echo."""
        for item in self.seen:
            if item.number in ECHOES or (item.known is not None and item.known.severity.rank < Severity.ERROR.rank):
                continue
            return item
        return None


def started_anew(bdf: str, method: str) -> str:
    """The line that says that a reset took place: what the log says of this GPU above it is past."""
    return f"gpumend: {bdf} was started anew by {method}"


@dataclass(frozen=True, slots=True)
class Line:
    """One Xid in the log. `seconds`: since boot, None where the log does not tell; `past`: before the driver was loaded last,
    or the GPU reset by us."""

    number: int
    seconds: float | None
    text: str
    past: bool = False


def lines_of(text: str, bdf: str) -> list[Line]:
    """Every Xid of the GPU at `bdf` (0000:c1:00.0) in a kernel log, one record a line, in its order."""
    place = bdf.rpartition(".")[0].lower()
    found: list[Line] = []
    for line in text.splitlines():
        anew = _ANEW.search(line)
        if DRIVER_LOADED.search(line) or (anew and anew["bdf"].lower() == bdf.lower()):
            found = [replace(row, past=True) for row in found]
            continue
        match = _LINE.search(line)
        if match is not None and _normal(match["place"]) == place:
            found.append(Line(int(match["number"]), seconds_of(line), match["text"].strip()))
    return found


def read_log(text: str, bdf: str) -> Log:
    """The same, by number."""
    rows = lines_of(text, bdf)
    now = [row for row in rows if not row.past]
    counts: dict[int, list[tuple[float | None, str]]] = {}
    action = None
    for row in now:
        counts.setdefault(row.number, []).append((row.seconds, row.text))
        changed = _ACTION_CHANGED.search(row.text)
        if row.number == RECOVERY_CHANGED and changed:
            action = int(changed[1], 16)
    seen = tuple(_seen(number, told) for number, told in counts.items())
    return Log(seen, len(rows) - len(now), action)


def _seen(number: int, rows: list[tuple[float | None, str]]) -> Seen:
    pids = dict.fromkeys(int(match[1]) for _, text in rows for match in _PID.finditer(text))
    return Seen(number, len(rows), rows[0][0], rows[-1][0], rows[0][1], tuple(pids))


def _normal(place: str) -> str:
    """`0000:c1:00` of a place whose domain may be missing or have eight digits."""
    *domain, bus, device = place.lower().split(":")
    return f"{int(domain[0], 16) if domain else 0:04x}:{bus}:{device}"


def seconds_of(line: str) -> float | None:
    """The stamp of a line of the log, in seconds since boot."""
    match = _STAMP.match(line)
    return float(match[1]) if match else None
