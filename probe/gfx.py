"""GFX: does each XCC's micro engine (MEC) move.

Source: gfx_v9_4_3.c gc_reg_list_9_4_3 (what the kernel dumps of a hung GPU), gc_9_4_3_sh_mask.h. Queue registers (CP_HQD_*)
are banked by GRBM_GFX_CNTL, which a probe never writes, so they are not asked here. A MEC that is busy all the time while
its instruction pointer stands still for the whole watch is taken for hung; an idle one rests wherever it likes, a halted
one is held on purpose. The rule is our inference (docs/fidelity.md): one wait longer than the watch looks the same."""

from __future__ import annotations

from typing import Any

from base.findings import Finding, Severity
from probe import blocks, host
from probe.session import Session
from probe.watch import Suspect
from registers.amd.gc_9_4_3 import Gc

NEXT_MEC = (
    "reset the compute queues of this XCC (queue reset, then pipe, then the MEC itself); if the MEC does not come back: "
    "mode2. The other XCCs and GPUs need nothing"
)


def ask(session: Session) -> None:
    """Busy state of every XCC, and whether busy MECs move."""
    rows: list[dict[str, Any]] = session.facts.setdefault("gfx", [])
    for instance, gc in blocks.gcs_left(session):
        state = _Mec(session, gc, instance)
        rows.append(state.row)
        session.attempt(f"GC[{instance}]", state.first_look)


class _Mec:
    """Both MECs of one XCC, sampled until they moved."""

    def __init__(self, session: Session, gc: Gc, instance: int) -> None:
        self.session = session
        self.gc = gc
        self.instance = instance
        self.pointers: dict[int, int] = {}
        self.samples = 0
        self.stuck: tuple[int, ...] = ()
        self.status = ""
        self.stalled = ""
        self.row: dict[str, Any] = {
            "xcc": instance,
            "busy": None,
            "mec_busy": None,
            "halted": None,
            "grbm_status": None,
        }

    def first_look(self) -> None:
        if not self.look():
            # Read now: when the watch is over there may be no time left for reading.
            self.stalled = str(self.gc.CP_CPC_STALLED_STAT1.read())
            self.session.suspects.append(Suspect(f"MEC of GC[{self.instance}]", self.look, self.finding))

    def look(self) -> bool:
        status = self.session.value(self.gc.CP_CPC_STATUS)
        grbm = self.session.value(self.gc.GRBM_STATUS)
        control = self.session.value(self.gc.CP_MEC_CNTL)
        if status is None or grbm is None or control is None:
            return True
        self.samples += 1
        busy = {1: bool(status.MEC1_BUSY), 2: bool(status.MEC2_BUSY)}
        halted = {1: bool(control.MEC_ME1_HALT), 2: bool(control.MEC_ME2_HALT)}
        self.row.update(
            busy=bool(grbm.GUI_ACTIVE), mec_busy=any(busy.values()), halted=all(halted.values()), grbm_status=grbm.value
        )
        running = [me for me in busy if busy[me] and not halted[me]]
        moved = [me for me in running if self._moved(me)]
        self.stuck = tuple(me for me in running if me not in moved)
        self.status = str(status)
        return not self.stuck

    def _moved(self, me: int) -> bool:
        """The instruction pointer is elsewhere than at the first look."""
        register = self.gc.CP_MEC1_INSTR_PNTR if me == 1 else self.gc.CP_MEC2_INSTR_PNTR
        pointer = register.read().value
        return self.pointers.setdefault(me, pointer) != pointer

    def finding(self, watched_s: float) -> Finding:
        engines = " and ".join(f"MEC{me}" for me in self.stuck)
        many = len(self.stuck) > 1
        what = f"{'hang' if many else 'hangs'}: busy, and {'no' if many else 'its'} instruction pointer "
        what += "moves" if many else "does not move"
        pointers = ", ".join(f"CP_MEC{me}_INSTR_PNTR={self.pointers[me]:#x}" for me in self.stuck)
        return Finding(
            "amd.gfx.mec",
            Severity.ERROR,
            f"{engines} of XCC {self.instance} {what}",
            expected="an idle MEC, or an instruction pointer that moves while it is busy",
            seen=f"{pointers} in {self.samples} samples over {watched_s:.1f} s (one wait longer than that looks the same); "
            f"CP_CPC_STATUS={self.status}; CP_CPC_STALLED_STAT1={self.stalled}",
            where=self.gc.CP_CPC_STATUS.where,
            next=host.job_first(self.session, NEXT_MEC),
        )
