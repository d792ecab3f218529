"""From findings to one health word and one recovery action.

Source: the fault table of the design (findings, health, action in a hive and on a single GPU); what cures what is the
decision table of the reset sheet (section 10). Where the kernel resets a whole hive together, one GPU of it is never
told to do mode1 alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from base.findings import Action, Finding, Health, Severity
from nvdriver.xid import CATALOGUE


@dataclass(frozen=True, slots=True)
class Rule:
    """What one finding says about the GPU: its health, and what brings it back in a hive and alone."""

    health: Health
    in_hive: Action
    single: Action


def _rule(health: Health, in_hive: Action, single: Action | None = None) -> Rule:
    return Rule(health, in_hive, in_hive if single is None else single)


# One row per finding code that a probe can give. Notes and questions without an answer need no row.
TABLE: dict[str, Rule] = {
    "pci.lost": _rule(Health.LOST, Action.BUS_RESET),
    "pci.bar-dead": _rule(Health.HUNG, Action.RESTORE_CONFIG),
    "pci.memory-off": _rule(Health.HUNG, Action.RESTORE_CONFIG),
    "pci.config.capabilities": _rule(Health.DEGRADED, Action.RESTORE_CONFIG),
    "pci.link": _rule(Health.DEGRADED, Action.NONE),
    "pci.aer": _rule(Health.DEGRADED, Action.NONE),
    "amd.discovery.signature": _rule(Health.HUNG, Action.HIVE_RESET, Action.MODE1),
    "amd.discovery.checksum": _rule(Health.HUNG, Action.HIVE_RESET, Action.MODE1),
    "amd.discovery.bar0": _rule(Health.HUNG, Action.RESTORE_CONFIG),
    "amd.discovery.memsize": _rule(Health.DEGRADED, Action.NONE),
    "amd.psp.bootloader": _rule(Health.HUNG, Action.BUS_RESET),
    "amd.psp.boot-status": _rule(Health.DEGRADED, Action.NONE),
    "amd.smu.silent": _rule(Health.HUNG, Action.BUS_RESET),
    "amd.gfx.mec": _rule(Health.HUNG, Action.QUEUE_RESET),
    "amd.sdma.hang": _rule(Health.HUNG, Action.QUEUE_RESET),
    "amd.gmc.fault": _rule(Health.HUNG, Action.QUEUE_RESET),
    "amd.gmc.poison": _rule(Health.HUNG, Action.MODE2),
    "amd.ras.fatal": _rule(Health.HUNG, Action.HIVE_RESET, Action.MODE1),
    "amd.ras.controller": _rule(Health.DEGRADED, Action.NONE),
    "amd.xgmi.link": _rule(Health.DEGRADED, Action.NONE),
}

# NVIDIA: what cures what is nvidia-resets.md sections 6 and 7 and nvidia-gsp.md section 11. "Reset the GPU" is `flr`: the
# vendor's own order is a function level reset, then a bus reset where that fails (section 1 of the same sheet).
NVIDIA: dict[str, Rule] = {
    "nv.boot.fsp": _rule(Health.HUNG, Action.BUS_RESET),
    "nv.boot.devinit": _rule(Health.HUNG, Action.FLR),
    "nv.boot.left": _rule(Health.DEGRADED, Action.FLR),
    "nv.gsp.dead": _rule(Health.HUNG, Action.FLR),
    "nv.gsp.silent": _rule(Health.HUNG, Action.FLR),
    "nv.pri": _rule(Health.HUNG, Action.FLR),
    "nv.driver.lost": _rule(Health.LOST, Action.DRIVER_REBIND),
    "nv.recovery.reset": _rule(Health.HUNG, Action.FLR),
    "nv.recovery.node-reboot": _rule(Health.HUNG, Action.NODE_REBOOT),
    "nv.recovery.drain-p2p": _rule(Health.DEGRADED, Action.RESTART_APP),
    "nv.recovery.drain-and-reset": _rule(Health.DEGRADED, Action.FLR),
    "nv.ecc.uncorrected": _rule(Health.DEGRADED, Action.NONE),
    "nv.remap.pending": _rule(Health.DEGRADED, Action.FLR),
    "nv.remap.failed": _rule(Health.HUNG, Action.CONTACT_VENDOR),
    "nv.repair.pending": _rule(Health.DEGRADED, Action.FLR),
    "nv.nvlink": _rule(Health.DEGRADED, Action.NONE),
    "nv.sxid.fatal": _rule(Health.DEGRADED, Action.NONE),
    "nv.sxid.fabric": _rule(Health.DEGRADED, Action.NODE_REBOOT),
    "nv.slowed": _rule(Health.DEGRADED, Action.NONE),
    "nv.fabric": _rule(Health.DEGRADED, Action.NONE),
}
_XID = "nv.xid."

# Codes whose errors are graver than their warnings: with such a memory size no table could be found.
ERRORS: dict[str, Rule] = {"amd.discovery.memsize": TABLE["amd.discovery.signature"]}

# Any other code of a family that somebody adds: the family's prefix decides, so that nothing new counts as healthy.
_FAMILIES: tuple[tuple[str, Rule], ...] = (
    ("amd.discovery.", TABLE["amd.discovery.signature"]),
    ("amd.", _rule(Health.HUNG, Action.HIVE_RESET, Action.MODE1)),
    ("nv.selftest", _rule(Health.HUNG, Action.FLR)),
)
# What is unknown because of this has a cure all the same.
_CURES_THE_UNKNOWN = {"pci.memory-off": Action.RESTORE_CONFIG}
_BY_SEVERITY: dict[Severity, Health] = {
    Severity.NOTE: Health.HEALTHY,
    Severity.UNKNOWN: Health.UNKNOWN,
    Severity.WARNING: Health.DEGRADED,
    Severity.ERROR: Health.HUNG,
    Severity.FATAL: Health.HUNG,
}


def rule_of(finding: Finding) -> Rule:
    """What this finding means. A note is healthy and an unanswered question unknown, whatever its code."""
    by_severity = _rule(_BY_SEVERITY[finding.severity], Action.NONE)
    if finding.severity is Severity.NOTE:
        return by_severity
    if finding.severity is Severity.UNKNOWN:
        return _rule(Health.UNKNOWN, _CURES_THE_UNKNOWN.get(finding.code, Action.NONE))
    known = TABLE.get(finding.code) or NVIDIA.get(finding.code)
    if finding.code.startswith(_XID):
        known = _xid_rule(finding)
    if finding.severity.rank >= Severity.ERROR.rank:
        known = ERRORS.get(finding.code, known)
    if known is not None:
        return known
    if finding.severity is Severity.WARNING:
        return by_severity
    return next((rule for prefix, rule in _FAMILIES if finding.code.startswith(prefix)), by_severity)


def _xid_rule(finding: Finding) -> Rule | None:
    """The catalogue's word on an Xid; off the bus is lost, whatever config space says: the driver has given the GPU up."""
    known = CATALOGUE.get(int(finding.code.removeprefix(_XID)))
    if known is None:
        return None
    health = Health.LOST if known.severity is Severity.FATAL else _BY_SEVERITY[known.severity]
    return _rule(health, known.action)


def verdict(findings: Iterable[Finding], *, in_hive: bool) -> tuple[Health, Action]:
    """The worst health and the gravest action of all findings; no finding: healthy, none."""
    rules = [rule_of(finding) for finding in findings]
    health = max((rule.health for rule in rules), key=lambda word: word.rank, default=Health.HEALTHY)
    actions = [rule.in_hive if in_hive else rule.single for rule in rules]
    action = max(actions, key=lambda word: word.rank, default=Action.NONE)
    return health, action
