"""RAS: has the GPU declared a fatal error.

Source: nbio_v7_9.c (BIF_DOORBELL_INT_CNTL: bit 2 ATHUB error event, which the kernel treats as fatal for the whole hive;
bit 1 RAS controller, after which it only reads the error counts). The banks that tell the cause sit behind SMU messages,
which a probe does not send."""

from __future__ import annotations

from typing import Any

from base.findings import Finding, Severity
from probe import blocks
from probe.session import Session


def ask(session: Session) -> None:
    """The two RAS flags."""
    facts: dict[str, Any] = {"fatal": None, "controller": None}
    session.facts["ras"] = facts
    register = blocks.nbio(session).BIF_BX0_BIF_DOORBELL_INT_CNTL
    word = session.value(register)
    if word is None:
        return
    fatal, controller = bool(word.RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS), bool(word.RAS_CNTLR_INTERRUPT_STATUS)
    facts.update(fatal=fatal, controller=controller)
    where = register.where
    if fatal:
        session.found(
            Finding(
                "amd.ras.fatal",
                Severity.FATAL,
                "RAS: fatal error, the GPU's data path is stopped",
                expected="RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS=0",
                seen=f"{register.name}={word}",
                where=where,
            )
        )
    elif controller:
        session.found(
            Finding(
                "amd.ras.controller",
                Severity.WARNING,
                "RAS: the controller reports an error that nobody has read yet",
                expected="RAS_CNTLR_INTERRUPT_STATUS=0",
                seen=f"{register.name}={word}",
                where=where,
                next="read the error counts with the driver that owns the GPU (amdgpu: ras/*_err_count); watch this GPU",
            )
        )
