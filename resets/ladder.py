"""Which method next: the decision table from findings to rungs, mildest first, and how the rungs of several GPUs go together.

    one GPU         its gravest finding chooses a row; the row's first method that was not tried in this climb is its rung
    several GPUs    first those that bring a GPU back to its registers (nothing that hits the hive works without them); then one
                    that hits all, if any GPU needs it, because it hits the others anyway; else each GPU's own, alike together

In a hive, mode1 means hive-reset. A bus reset takes all members together too, since one that comes back alone has lost its
links; but a GPU that is lost from the bus is brought back alone first: nothing else reaches it, its links are down already,
and the hive reset that trains them again needs every member. Links that are down because of what this climb did are
trained again by hive-reset; links that were down before are left alone.

NVIDIA: a GPU is reset alone, since its driver trains the links anew. The driver's own word on what it needs decides over Xids;
any finding without a row takes the one of its action (probe/verdict.py).

Source: amd-resets.md section 10 (table, with its evidence: K kernel, T tinygrad, I inference), sections 5 and 7;
nvidia-resets.md sections 1 (order), 5 (loss), 6 (recovery action), 7 (Xids); DESIGN section 5. What is left out: PSP ring
command 0x70000 for a silent SMU (never tried by anybody here), FLR of AMD's GPUs (safety.py)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from base.findings import Action, Finding, ProbeReport, Severity
from base.part import Part
from base.resets import numbers
from probe.verdict import rule_of
from resets.methods import METHODS, Method

WHOLE: Final = "whole"  # mode1, in a hive hive-reset
BUS: Final = "bus-reset"
ALONE: Final = "bus-reset-alone"
XGMI: Final = "amd.xgmi.link"
LOST: Final = "pci.lost"
FIRST: Final = frozenset({"restore-config", "remove-rescan", ALONE})  # these bring a GPU back to its registers


@dataclass(frozen=True, slots=True)
class Row:
    """`rungs` mildest first; `then`: the answer when none of them helped."""

    rungs: tuple[str, ...]
    then: Action
    source: str


# The order is the order of gravity: of several findings of a GPU the first row here decides.
TABLE: dict[str, Row] = {
    "nv.recovery.node-reboot": Row((), Action.NODE_REBOOT, "nvidia-resets.md 6, value 2: S"),
    LOST: Row((ALONE, "remove-rescan"), Action.POWER_CYCLE, "all ones everywhere: K"),
    "amd.psp.bootloader": Row((BUS,), Action.POWER_CYCLE, "PSP bootloader not ready: K"),
    "pci.bar-dead": Row(("restore-config", "flr", BUS), Action.POWER_CYCLE, "config good, MMIO all ones: K"),
    "pci.memory-off": Row(("restore-config", BUS), Action.POWER_CYCLE, "config good, MMIO all ones: K"),
    "pci.config.capabilities": Row(("restore-config", BUS), Action.POWER_CYCLE, "config good, MMIO all ones: K"),
    "amd.discovery.bar0": Row(("restore-config", BUS), Action.POWER_CYCLE, "config good, MMIO all ones: K"),
    "amd.smu.silent": Row(("flr", BUS), Action.POWER_CYCLE, "SMU silent: I"),
    "amd.ras.fatal": Row((WHOLE, BUS), Action.POWER_CYCLE, "RAS fatal: K"),
    "amd.discovery.signature": Row((WHOLE, BUS), Action.POWER_CYCLE, "signature mismatch: K, I"),
    "amd.discovery.checksum": Row((WHOLE, BUS), Action.POWER_CYCLE, "signature mismatch: K, I"),
    "amd.discovery.memsize": Row((WHOLE, BUS), Action.POWER_CYCLE, "signature mismatch: K, I"),
    "amd.gmc.poison": Row(("mode2", WHOLE), Action.CONTACT_VENDOR, "poison consumed: K"),
    "amd.gfx.mec": Row(("mec-reset", "mode2", WHOLE, BUS), Action.POWER_CYCLE, "all queues of an XCC hung: T, I"),
    "amd.sdma.hang": Row(("sdma-reset", "mode2", WHOLE, BUS), Action.POWER_CYCLE, "SDMA engine hung: K"),
    "amd.gmc.fault": Row(("queue-mmio", "mec-reset", "mode2", WHOLE), Action.POWER_CYCLE, "VM fault: T"),
    "nv.boot.fsp": Row((BUS,), Action.POWER_CYCLE, "nvidia-resets.md 1.1: an FLR waits for the FSP, too"),
    "nv.recovery.reset": Row(("flr", BUS), Action.POWER_CYCLE, "nvidia-resets.md 6, value 1: S"),
    "nv.recovery.drain-p2p": Row((), Action.RESTART_APP, "nvidia-resets.md 6, value 3: D"),
    "nv.recovery.drain-and-reset": Row(("flr", BUS), Action.POWER_CYCLE, "nvidia-resets.md 6, value 4: D"),
    "nv.xid.79": Row((BUS,), Action.NODE_REBOOT, "nvidia-resets.md 5 and 7: D"),
}
_OTHER = Row((WHOLE, BUS), Action.POWER_CYCLE, "no row of its own: the reset of the whole chip")
_OUR_LINKS = Row((WHOLE, BUS), Action.POWER_CYCLE, "one XGMI link inactive: K, I")
_NV_RESET = Row(("flr", BUS), Action.POWER_CYCLE, "nvidia-resets.md 1: the vendor's own order")
# Of NVIDIA's findings that have no row: what their action asks for. An answer for a person has no rung.
_NV_BY_ACTION: dict[Action, Row] = {
    Action.FLR: _NV_RESET,
    Action.DRIVER_REBIND: _NV_RESET,  # what the driver has given up stays so until it lets go
    Action.BUS_RESET: Row((BUS,), Action.POWER_CYCLE, "nvidia-resets.md 1.2"),
}
_GRAVITY = {code: number for number, code in enumerate(TABLE)}


@dataclass(frozen=True, slots=True)
class Rung:
    """A method for these GPUs (indices) together; `alone`: a bus reset of a lost member without its hive."""

    method: Method
    gpus: tuple[int, ...]
    why: str
    alone: bool = False

    @property
    def key(self) -> tuple[str, tuple[int, ...]]:
        return self.method.name, self.gpus


@dataclass(slots=True)
class Climb:
    """What was tried so far in this climb, which links were down before it, and what is only seemingly cured."""

    done: set[tuple[str, int]] = field(default_factory=set)  # method (bus-reset-alone is one of its own), GPU
    links_before: frozenset[int] = frozenset()  # GPUs that had a link down before anything was done
    lost_before: frozenset[int] = frozenset()  # GPUs that were gone from the bus before anything was done
    unproven: dict[int, str] = field(default_factory=dict)  # GPU: what a reset that did not take place was to cure

    def tried(self, rung: Rung) -> None:
        name = ALONE if rung.alone else rung.method.name
        self.done |= {(name, gpu) for gpu in rung.gpus}


def needs_reset(report: ProbeReport) -> bool:
    """Whether some finding has a cure."""
    return report.action is not Action.NONE


def row_of(report: ProbeReport, climb: Climb) -> tuple[str, Row] | None:
    """The row that decides for this GPU, and the code that chose it; None: no reset helps, or nothing is wrong."""
    found: list[tuple[int, str, Row]] = []
    for finding in report.findings:
        if finding.code == XGMI and report.index not in climb.links_before:
            found.append((len(TABLE), XGMI, _OUR_LINKS))
        elif _has_cure(finding):
            row = _row_for(finding)
            found.append((_GRAVITY.get(finding.code, len(TABLE) - 1), finding.code, row))
    code = climb.unproven.get(report.index)
    if code is not None:
        found.append((_GRAVITY.get(code, len(TABLE) - 1), code, TABLE.get(code, _other(code))))
    if not found:
        return None
    _, code, row = min(found, key=lambda item: item[0])
    return code, row


def _row_for(finding: Finding) -> Row:
    if finding.code in TABLE or not finding.code.startswith("nv."):
        return TABLE.get(finding.code, _OTHER)
    action = rule_of(finding).single
    return _NV_BY_ACTION.get(action, Row((), action, "the finding's own action"))


def _other(code: str) -> Row:
    return _NV_RESET if code.startswith("nv.") else _OTHER


def whole_of(part: Part, hive: Collection[int], forbidden: Collection[str] = ()) -> Method:
    """The reset of the whole chip for a GPU that nothing is known to be wrong with."""
    if part.is_nvidia:
        return METHODS["flr" if "flr" not in forbidden else BUS]
    return METHODS["hive-reset" if hive else "mode1"]


def _has_cure(finding: Finding) -> bool:
    rule = rule_of(finding)
    return finding.severity is not Severity.NOTE and Action.NONE not in (rule.single, rule.in_hive)


def next_rungs(
    reports: Sequence[ProbeReport],
    hive: Collection[int],
    climb: Climb,
    forbidden: Collection[str] = (),
) -> list[Rung]:
    """The rungs to take now, in order; [] when nothing is left to try.

    `reports`: of the GPUs that are to be brought back; `hive`: indices of all members of their hive (empty: in none);
    `forbidden`: methods that the safety table refuses here."""
    wanted: dict[int, tuple[str, str]] = {}
    for report in reports:
        chosen = _rung_of(report, hive, climb, forbidden)
        if chosen is not None:
            wanted[report.index] = chosen
    if not wanted:
        return []
    everyone = tuple(sorted(hive))
    wide = {name for name, _ in wanted.values() if everyone and name in (BUS, "hive-reset")}
    early = {name for name, _ in wanted.values() if name in FIRST}
    if BUS in wide or (wide and not early):
        name = BUS if BUS in wide else "hive-reset"
        return [Rung(METHODS[name], everyone, _whys(wanted, name))]
    return [_together(name, wanted) for name in _in_order(early or {name for name, _ in wanted.values()})]


def _rung_of(
    report: ProbeReport, hive: Collection[int], climb: Climb, forbidden: Collection[str]
) -> tuple[str, str] | None:
    """(method, the finding that asks for it)"""
    decided = row_of(report, climb)
    if decided is None:
        return None
    code, row = decided
    for rung in row.rungs:
        name = rung
        if rung == WHOLE:
            name = "hive-reset" if hive else "mode1"
        if rung == ALONE and not hive:
            name = BUS
        plain = BUS if name == ALONE else name
        if plain in forbidden or {(name, report.index), (plain, report.index)} & climb.done:
            continue
        return name, code
    return None


def _in_order(names: Collection[str]) -> list[str]:
    order = {name: number for number, name in enumerate(["restore-config", "remove-rescan", ALONE, *METHODS])}
    return sorted(names, key=order.__getitem__)


def _together(name: str, wanted: dict[int, tuple[str, str]]) -> Rung:
    gpus = tuple(sorted(gpu for gpu, (chosen, _) in wanted.items() if chosen == name))
    return Rung(METHODS[BUS if name == ALONE else name], gpus, _whys(wanted, name), alone=name == ALONE)


def _whys(wanted: dict[int, tuple[str, str]], name: str) -> str:
    """`amd.gfx.mec on GPU 3; pci.lost on GPU 5`: who asks for it."""
    codes: dict[str, list[int]] = {}
    for gpu, (chosen, code) in sorted(wanted.items()):
        if chosen == name:
            codes.setdefault(code, []).append(gpu)
    return "; ".join(f"{code} on GPU {numbers(gpus)}" for code, gpus in codes.items())


def answer_of(report: ProbeReport, climb: Climb, hive: Collection[int], forbidden: Collection[str] = ()) -> Action:
    """What would help this GPU now: the next rung's action, or what a person has to do when none is left."""
    decided = row_of(report, climb)
    if decided is None:
        return Action.NONE
    code, row = decided
    if code == LOST and _was_there(climb, report):
        return Action.NODE_REBOOT  # reported after resets from the bus: nothing else brings such a GPU back (safety.py)
    chosen = _rung_of(report, hive, climb, forbidden)
    if chosen is None:
        return row.then
    return METHODS[BUS if chosen[0] == ALONE else chosen[0]].action


def _was_there(climb: Climb, report: ProbeReport) -> bool:
    """It was on the bus until this climb reset it from there."""
    from_the_bus = {(name, report.index) for name in ("flr", BUS, ALONE, "sysfs-reset")}
    return report.index not in climb.lost_before and bool(from_the_bus & climb.done)
