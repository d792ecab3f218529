"""What to do about a finding, said for the GPU at hand: one of a hive, or alone.

Source: amd-resets.md sections 5 and 10. In a hive whatever ends a whole GPU is done to all members together: links are
trained by all of them at once, and mode1 on one member harms the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from base.findings import Action, Finding
from probe.verdict import rule_of

_TOGETHER = (
    "reset the hive with mode1: {members} together, never this GPU alone. If the finding stays: bus reset of all of "
    "them, then power cycle"
)
_ALONE = "reset this GPU with mode1 (it is in no hive). If the finding stays: bus reset, then power cycle"
_BUS_TOGETHER = (
    "reset the bus above every member of the hive: a member that comes back alone has lost its links. "
    "If the finding stays: power cycle, then show this to the vendor"
)
_BUS_ALONE = "reset the bus above this GPU. If the finding stays: power cycle, then show this to the vendor"
_LOST_TOGETHER = (
    "The other members of its hive have lost their links to it, and the bus reset brings back this member only, without "
    "its links: then reset the hive with mode1, {members} together, never this GPU alone"
)
_REASONS = {
    "amd.discovery.": "The boot firmware then writes the table anew; gpumend discovery diff shows what changed",
    "amd.ras.fatal": "Save the evidence first (error banks are lost with the reset), and use the fatal flag",
    "amd.smu.silent": "mode1 and mode2 go through the SMU and cannot work",
    "amd.psp.bootloader": "No firmware can be loaded, so mode1 does not come back either",
}


def advise(findings: Sequence[Finding], *, in_hive: bool, nodes: int | None) -> list[Finding]:
    """The same findings, with `next` fitted to whether the GPU is in a hive (of `nodes` GPUs, if that is known)."""
    who = f"all {nodes} GPUs of it" if nodes else "all GPUs of it"
    return [_fitted(finding, in_hive, who) for finding in findings]


def _fitted(finding: Finding, in_hive: bool, who: str) -> Finding:
    rule = rule_of(finding)
    action = rule.in_hive if in_hive else rule.single
    texts = {
        Action.HIVE_RESET: _TOGETHER,
        Action.MODE1: _ALONE,
        Action.BUS_RESET: _BUS_TOGETHER if in_hive else _BUS_ALONE,
    }
    if finding.code == "pci.lost":
        return replace(finding, next=f"{finding.next}. {_LOST_TOGETHER.format(members=who)}") if in_hive else finding
    if action not in texts:
        return finding
    reason = next((text for code, text in _REASONS.items() if finding.code.startswith(code)), "")
    told = texts[action].format(members=who)
    return replace(finding, next=f"{told}. {reason}" if reason else told)
