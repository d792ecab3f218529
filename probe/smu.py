"""SMU (MP1): is the power firmware alive.

Source: smu_v13_0_6_ppt.c smu_v13_0_6_check_fw_status (MP1_FIRMWARE_FLAGS bit 0 through SMN), smu_cmn.c (C2PMSG_90: 0 means
that a message is still being worked on), psp_v13_0.c (PMFW version in MP1's public scratch register 0)."""

from __future__ import annotations

from typing import Any

from base.findings import Finding, Severity
from probe import blocks
from probe.session import Session
from probe.watch import Suspect
from registers.amd_smn import MP1_FIRMWARE_FLAGS, MP1_PUB_SCRATCH0, MP1_FIRMWARE_FLAGS_t

RESPONSES = {0: "busy or no answer", 1: "OK", 0xFF: "failed", 0xFE: "unknown command", 0xFD: "bad prerequisite"}
RESPONSES |= {0xFC: "busy with another", 0xFB: "debug end"}


def ask(session: Session) -> None:
    """Firmware flags, mailbox, version."""
    facts: dict[str, Any] = {"alive": None, "firmware_flags": None, "response": None, "pmfw_version": None}
    session.facts["smu"] = facts
    state = _Smu(session, facts)
    # The mailbox is read directly, so it answers even where no index register may be written.
    session.attempt("SMU firmware flags", state.read_flags)
    session.attempt("SMU mailbox", state.read_response)
    if facts["firmware_flags"] is not None:
        session.attempt("SMU firmware version", lambda: _version(session, facts))
    if not state.settled():
        session.suspects.append(Suspect("SMU", state.look, state.finding, state.unsure))


def _version(session: Session, facts: dict[str, Any]) -> None:
    word = session.access.smn_read(MP1_PUB_SCRATCH0)
    if word and word != 0xFFFFFFFF:
        facts["pmfw_version"] = f"{word >> 16 & 0xFF}.{word >> 8 & 0xFF}.{word & 0xFF}"


class _Smu:
    def __init__(self, session: Session, facts: dict[str, Any]) -> None:
        self.session = session
        self.facts = facts

    def read_flags(self) -> None:
        flags = self.session.access.smn_read(MP1_FIRMWARE_FLAGS)
        if flags == 0xFFFFFFFF:
            self.session.confirm_present()
            self.session.skip("SMU firmware flags", f"SMN {MP1_FIRMWARE_FLAGS:#010x} reads 0xffffffff")
            return
        self.facts["firmware_flags"] = flags

    def read_response(self) -> None:
        response = self.session.value(blocks.mp1(self.session).MP1_SMN_C2PMSG_90)
        self.facts["response"] = None if response is None else response.value

    def settled(self) -> bool:
        """True when nothing speaks against the SMU; sets `alive` as far as it can be told."""
        flags, response = self.facts["firmware_flags"], self.facts["response"]
        enabled = None if flags is None else bool(MP1_FIRMWARE_FLAGS_t(flags).INTERRUPTS_ENABLED)
        silent = enabled is False or response == 0
        self.facts["alive"] = False if silent else (True if enabled and response is not None else None)
        return not silent

    def look(self) -> bool:
        if self.facts["firmware_flags"] is not None:
            self.read_flags()
        self.read_response()
        return self.settled()

    def unsure(self) -> None:
        """One look without an answer is no death."""
        self.facts["alive"] = None

    def finding(self, watched_s: float) -> Finding:
        flags, response = self.facts["firmware_flags"], self.facts["response"]
        seen = "flags not read" if flags is None else f"MP1_FIRMWARE_FLAGS={MP1_FIRMWARE_FLAGS_t(flags)}"
        if response is not None:
            seen += f", C2PMSG_90={response:#x} ({RESPONSES.get(response, 'unknown answer')})"
        return Finding(
            "amd.smu.silent",
            Severity.ERROR,
            "SMU does not answer: clocks, power and resets by message are out of reach",
            expected="MP1_FIRMWARE_FLAGS.INTERRUPTS_ENABLED=1 and a mailbox answer (C2PMSG_90 not 0)",
            seen=f"{seen}; unchanged for {watched_s:.1f} s",
            where=self.session.place(f"MP1[0]: SMN {MP1_FIRMWARE_FLAGS:#010x}, C2PMSG_90 (BAR5+0x58a68)"),
        )
