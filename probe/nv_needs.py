"""What an NVIDIA GPU needs, by the driver's own word or by the scratch bits that outlive it.

Source: nvidia-resets.md sections 1 (order of resets), 3 (never while the driver is bound) and 6 (recovery action)."""

from __future__ import annotations

from base.findings import Finding, Severity
from probe.session import Session

RESET_FIRST = (
    "stop what uses it and unbind the driver, then reset the GPU: function level reset where the system offers one "
    "(reset_method), else reset of the bus above"
)

_NEEDS = {
    "reset": (
        Severity.ERROR,
        "the driver says that this GPU needs a reset",
        f"stop all its processes; {RESET_FIRST}",
    ),
    "node-reboot": (
        Severity.ERROR,
        "the driver says that this node needs a reboot",
        "drain the node and reboot it: the state of the driver or the system may be inconsistent",
    ),
    "drain-p2p": (
        Severity.WARNING,
        "the driver wants all peer-to-peer users stopped",
        "stop every process with peer-to-peer traffic, then probe again: it turns into one of the other actions",
    ),
    "drain-and-reset": (
        Severity.WARNING,
        "the GPU works with reduced capacity until it is reset",
        f"take no new work, let running work end; then {RESET_FIRST}",
    ),
}


def need(session: Session, word: str, where: str) -> None:
    if word == "none" or session.has(f"nv.recovery.{word}"):
        return
    if word not in _NEEDS:
        session.skip("recovery action", f"the driver told {word}, which has no name here")
        return
    severity, summary, next_ = _NEEDS[word]
    session.found(
        Finding(f"nv.recovery.{word}", severity, summary, expected="none", seen=word, where=where, next=next_)
    )
