"""SXids: errors of NVSwitches in the kernel log, on boards up to Hopper. They belong to the board, not to one GPU.

The driver itself says how grave each is (Correctable, Non-fatal, Fatal: "to the fabric"); the unit follows from the number.
What is always fatal to the whole fabric, and what is done about which, is NVIDIA's word.

Source: open-gpu-kernel-modules 595.45.04: src/common/nvswitch/kernel/inc/common_nvswitch.h (NVSWITCH_PRINT_SXID: the form),
intr_nvswitch.h (the words), interface/ctrl_dev_nvswitch.h (numbers of the units); NVIDIA Fabric Manager user guide
DU-09883-001 v1.3, appendix D.4 to D.6, as tabulated in leptonai/gpud components/accelerator/nvidia/sxid; nvidia-resets.md
section 4 (up to Hopper)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nvdriver.xid import DRIVER_LOADED, seconds_of

CORRECTABLE, NON_FATAL, FATAL = "Correctable", "Non-fatal", "Fatal"

UNITS: Mapping[int, str] = MappingProxyType(
    {
        10: "host interface", 11: "port, ingress", 12: "port, egress", 13: "port, FSTATE", 14: "port, TSTATE",
        15: "port, route", 16: "port", 17: "NVLCTRL", 18: "NVLIPT", 19: "NVLink transaction layer (NVLTLC)",
        20: "NVLink data and physical layer (DLPL)", 21: "AFS", 22: "link microcontroller (MINION)", 23: "crossbar (NXBAR)",
        24: "port, source tracking", 25: "NVLIPT, link", 26: "SOE", 27: "cable controller (CCI)", 28: "OSFP, thermal",
        29: "port, multicast", 30: "port, reduction",
    }
)  # fmt: skip
ALWAYS_FATAL = frozenset((10003, 12020, 22003, 22011, *range(23001, 23018)))
TOGETHER = "stop the fabric manager, reset all GPUs and NVSwitches together, start it again; else reboot the node"

_NEXT: Mapping[int, str] = MappingProxyType(
    {
        10004: "make sure that the system is cooled well enough",
        10005: "make sure that the system is cooled well enough",
        11004: "the fabric's partitions are set up wrongly: check the fabric manager's configuration",
        12028: "restart what used it (a guest: restart the guest)",
        19084: TOGETHER,
        20001: "none: the link repeats by itself",
        20012: "if nothing was switched off at the other end: check the link's connectors",
        22012: "if nothing was switched off at the other end: check the link's connectors",
        22013: "none",
    }
)
_LINE = re.compile(
    r"nvidia-(?P<switch>nvswitch\d+): SXid \(PCI:(?P<bdf>[0-9a-f:.]+)\): (?P<number>\d{5}),"
    r" (?P<word>Correctable|Non-fatal|Fatal), (?P<text>.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One number on one switch since the driver was loaded. `word`: the gravest that was said of it; `last_s`: since boot."""

    number: int
    switch: str
    bdf: str
    word: str
    count: int
    last_s: float | None
    text: str

    @property
    def unit(self) -> str:
        return UNITS.get(self.number // 1000, "a unit that is not known")

    @property
    def is_always_fatal(self) -> bool:
        """Whether the whole fabric is gone, not one link."""
        return self.number in ALWAYS_FATAL

    @property
    def next(self) -> str:
        """What to do about it."""
        if self.number in _NEXT:
            return _NEXT[self.number]
        return TOGETHER if self.word == FATAL else "none; if it comes again, show it to the vendor"


def read_log(text: str) -> list[Seen]:
    """The SXids of all switches in a kernel log, one record a line, in order of their first line.

    A switch prints more lines for an error (its data), without a word: those are not counted."""
    found: dict[tuple[str, int], list[tuple[str, float | None, str]]] = {}
    places: dict[str, str] = {}
    for line in text.splitlines():
        if DRIVER_LOADED.search(line):
            found = {}
            continue
        match = _LINE.search(line)
        if match is None:
            continue
        places[match["switch"]] = match["bdf"]
        row = (match["word"].capitalize(), seconds_of(line), match["text"].strip())
        found.setdefault((match["switch"], int(match["number"])), []).append(row)
    return [_seen(switch, number, places[switch], rows) for (switch, number), rows in found.items()]


def _seen(switch: str, number: int, bdf: str, rows: list[tuple[str, float | None, str]]) -> Seen:
    order = (CORRECTABLE, NON_FATAL, FATAL)
    word = max((row[0] for row in rows), key=order.index)
    return Seen(number, switch, bdf, word, len(rows), rows[-1][1], rows[0][2])
