"""PSP (MP0): did the boot firmware come up, did it report an error, is the secure OS alive.

Source: psp_v13_0.c (C2PMSG_33 bit 31, C2PMSG_35 exactly 0x80000000, C2PMSG_81 sign of life, C2PMSG_58 version),
amdgpu_ras.c amdgpu_ras_query_boot_status (C2PMSG_92 low byte 0xBA per AID, C2PMSG_126 decoded only when it is not; the
kernel only prints both). So a boot status that is not steady speaks against the bootloader only while no secure OS runs."""

from __future__ import annotations

from functools import partial
from typing import Any

from base.findings import Finding, Severity
from pcibus.transport import ALL_ONES
from probe import blocks
from probe.session import Session
from probe.watch import Suspect
from registers.amd_smn import BOOT_STEADY, MP0_C2PMSG_126, BootError_t

READY = 0x80000000
BOOTLOADER, BOOT_STATUS = "amd.psp.bootloader", "amd.psp.boot-status"
OTHER_AIDS = "boot status of AIDs 1-3"
NEXT_ERRORS = (
    "record it with the serial number and watch this GPU: what failed at its start can show again. Where a link or memory "
    "is named, ask for its errors too"
)
NEXT_NOTE = "nothing while the GPU works; the kernel prints this word and does nothing about it"
BOOT_ERRORS = {
    "MEM_TRAINING": "memory training failed",
    "FW_LOAD": "firmware load failed",
    "WAFL_LINK_TRAINING": "WAFL link training failed",
    "XGMI_LINK_TRAINING": "XGMI link training failed",
    "USR_CP_LINK_TRAINING": "USR CP link training failed",
    "USR_DP_LINK_TRAINING": "USR DP link training failed",
    "HBM_MEM_TEST": "HBM memory test failed",
    "HBM_BIST_TEST": "HBM BIST failed",
    "DATA_ABORT": "data abort",
    "GENERIC": "boot controller error",
}


def boot_errors(word: int) -> list[str]:
    """C2PMSG_126 in words; socket, AID and HBM are named with the errors, not alone."""
    error = BootError_t(word)
    fields = error.fields()
    told = [text for name, text in BOOT_ERRORS.items() if fields[name]]
    if not told:
        return []
    stack = 0 if error.HBM_ID == 1 else 1
    return [*told, f"at socket {error.SOCKET_ID}, AID {error.AID_ID}, HBM {stack}"]


def ask(session: Session) -> None:
    """Bootloader, boot status of every AID, secure OS."""
    facts: dict[str, Any] = {"bootloader": None, "ifwi_ready": None, "sos_alive": None, "sos_version": None}
    facts["boot"] = []
    session.facts["psp"] = facts
    mp0 = blocks.mp0(session)
    sos = session.value(mp0.MP0_SMN_C2PMSG_81)
    facts["sos_alive"] = None if sos is None else sos.value != 0
    if facts["sos_alive"]:
        version = session.value(mp0.MP0_SMN_C2PMSG_58)
        facts["sos_version"] = None if version is None else version.value
    _boot(session, facts, blocks.aids(session))


def ask_others(session: Session) -> None:
    """Boot status of the AIDs that could not be reached before the bases were known."""
    facts = session.facts["psp"]
    known = {row["aid"] for row in facts["boot"]}
    _boot(session, facts, tuple(aid for aid in blocks.aids(session) if aid not in known))


def _boot(session: Session, facts: dict[str, Any], aids: tuple[int, ...]) -> None:
    state = _Boot(session, facts, aids)
    for aid in aids:
        session.attempt(f"boot status of AID {aid}", partial(state.read_aid, aid))
    if facts["sos_alive"]:
        state.tell()
    if session.has(BOOTLOADER):  # told already; another AID changes nothing
        return
    if not state.look():
        session.suspects.append(Suspect("PSP bootloader", state.look, state.finding, state.unsure))


class _Boot:
    """The bootloader's words, sampled until they are good. `aids`: those that are asked now, AID 0 with its mailbox."""

    def __init__(self, session: Session, facts: dict[str, Any], aids: tuple[int, ...]) -> None:
        self.session = session
        self.facts = facts
        self.asked = aids
        self.aids: dict[int, dict[str, Any]] = {row["aid"]: row for row in facts["boot"]}
        self.wrong: list[str] = []
        self.places: list[str] = []

    def read_aid(self, aid: int) -> None:
        mp0 = blocks.mp0(self.session, aid)
        status = self.session.value(mp0.MP0_SMN_C2PMSG_92)
        error = mp0.bus.read(MP0_C2PMSG_126 // 4)
        row = {
            "aid": aid,
            "status": None if status is None else status.value,
            "steady": None if status is None else status.value & 0xFF == BOOT_STEADY,
            "error_word": None if error == ALL_ONES else error,
            "errors": [] if error == ALL_ONES else boot_errors(error),
        }
        self.aids[aid] = row
        self.facts["boot"] = [self.aids[number] for number in sorted(self.aids)]

    def look(self) -> bool:
        """Sample the bootloader; True when nothing speaks against it."""
        alive = bool(self.facts["sos_alive"])
        self.wrong, self.places = [], []
        if 0 in self.asked:
            self._judge_mailbox(alive)
        if alive:
            return not self.wrong
        for aid in self.asked:
            if self._unsteady(aid):
                self.read_aid(aid)
            if self._unsteady(aid):
                self.wrong.append(_boot_line(aid, self.aids[aid]))
                self.places.append(self._place(aid))
        return not self.wrong

    def _unsteady(self, aid: int) -> bool:
        return aid in self.aids and self.aids[aid]["steady"] is False

    def _place(self, aid: int) -> str:
        return blocks.mp0(self.session, aid).MP0_SMN_C2PMSG_92.where

    def _judge_mailbox(self, alive: bool) -> None:
        mp0 = blocks.mp0(self.session)
        ifwi = self.session.value(mp0.MP0_SMN_C2PMSG_33)
        command = self.session.value(mp0.MP0_SMN_C2PMSG_35)
        self._judge_ifwi(None if ifwi is None else ifwi.value, alive)
        self._judge_command(None if command is None else command.value, alive)
        if self.wrong:
            self.places.append(self.session.place("MP0[0] C2PMSG_33 (BAR5+0x58184), C2PMSG_35 (BAR5+0x5818c)"))

    # After the secure OS took over, C2PMSG_33 and 35 are not the bootloader's any more: then they are facts only.
    def _judge_ifwi(self, word: int | None, alive: bool) -> None:
        self.facts["ifwi_ready"] = None if word is None else bool(word & READY)
        if word is not None and not alive and not word & READY:
            self.wrong.append(f"C2PMSG_33={word:#010x} (boot firmware not ready)")

    def _judge_command(self, word: int | None, alive: bool) -> None:
        self.facts["bootloader"] = None if word is None else ("ready" if word == READY else "silent")
        if alive:
            self.facts["bootloader"] = "done"
        elif word is not None and word != READY:
            self.wrong.append(f"C2PMSG_35={word:#010x} ({_command(word)})")

    def finding(self, watched_s: float) -> Finding:
        sos = "" if self.facts["sos_alive"] else "; C2PMSG_81=0: no secure OS can be started"
        return Finding(
            BOOTLOADER,
            Severity.ERROR,
            "PSP bootloader is not ready: no firmware can be loaded",
            expected="C2PMSG_33 bit 31 set, C2PMSG_35=0x80000000 (or a live secure OS), C2PMSG_92 low byte 0xba on each AID",
            seen=f"{', '.join(self.wrong)}{sos}; unchanged for {watched_s:.1f} s",
            where="; ".join(self.places),
        )

    def unsure(self) -> None:
        """A word seen for a moment only does not make the bootloader silent."""
        if self.facts["bootloader"] == "silent":
            self.facts["bootloader"] = None

    def tell(self) -> None:
        """The secure OS lives: what the boot left behind is told, and is not why anything stands still."""
        for aid in self.asked:
            if self._unsteady(aid):
                self.session.found(_left_behind(aid, self.aids[aid], self._place(aid)))


def _left_behind(aid: int, row: dict[str, Any], where: str) -> Finding:
    failed = bool(row["errors"])
    return Finding(
        BOOT_STATUS,
        Severity.WARNING if failed else Severity.NOTE,
        f"the boot firmware of AID {aid} {'reports errors' if failed else 'is not steady'}; the secure OS runs",
        expected="C2PMSG_92 low byte 0xba",
        seen=_boot_line(aid, row),
        where=where,
        next=NEXT_ERRORS if failed else NEXT_NOTE,
    )


def _command(word: int) -> str:
    if word & 0xFF:
        return f"error code {word & 0xFF:#04x}"
    return "busy or dead" if not word & READY else "unexpected bits"


def _boot_line(aid: int, row: dict[str, Any]) -> str:
    errors = f", {'; '.join(row['errors'])}" if row["errors"] else ""
    return f"AID {aid} C2PMSG_92={row['status']:#010x} (not steady{errors})"
