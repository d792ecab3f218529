"""SDMA: does every engine that has work move on.

Source: sdma_v4_4_2.c (STATUS_REG.IDLE, F32_CNTL.HALT, ring registers of the GFX, PAGE and eight RLC queues),
sdma_4_4_2_sh_mask.h. Work is a ring that is enabled and whose read pointer has not reached its write pointer. An engine is
taken for hung when none of its rings with work moves for the whole watch, be the engine busy or idle. The rule is our
inference (docs/fidelity.md): one wait or copy longer than the watch looks the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from base.findings import Finding, Severity
from probe import blocks, host
from probe.session import Session
from probe.watch import Suspect
from registers.amd.sdma_4_4_2 import Sdma

ALWAYS = ("GFX", "PAGE")
USER = tuple(f"RLC{number}" for number in range(8))
NEXT_SDMA = (
    "reset this engine through the SMU (ResetSDMA with this physical instance); if it does not come back: mode2. "
    "The other engines and GPUs need nothing"
)


@dataclass(frozen=True, slots=True)
class Ring:
    """Pointers of one queue, in bytes."""

    name: str
    enabled: bool
    read_pointer: int
    write_pointer: int

    @property
    def has_work(self) -> bool:
        return self.enabled and self.read_pointer != self.write_pointer


def ask(session: Session) -> None:
    """State of every engine, and whether those with work move."""
    rows: list[dict[str, Any]] = []
    session.facts["sdma"] = rows
    for instance, sdma in blocks.sdmas(session):
        state = _Engine(session, sdma, instance)
        rows.append(state.row)
        session.attempt(f"SDMA[{instance}]", state.first_look)


class _Engine:
    """One engine, sampled until it has no work or moved."""

    def __init__(self, session: Session, sdma: Sdma, instance: int) -> None:
        self.session = session
        self.sdma = sdma
        self.instance = instance
        self.first: dict[str, Ring] = {}
        self.waiting: list[Ring] = []
        self.samples = 0
        self.status = ""
        self.row: dict[str, Any] = {"engine": instance, "idle": None, "halted": None, "pending": None}

    def first_look(self) -> None:
        if not self.look():
            self.session.suspects.append(Suspect(f"SDMA[{self.instance}]", self.look, self.finding))

    def look(self) -> bool:
        status = self.session.value(self.sdma.SDMA_STATUS_REG)
        control = self.session.value(self.sdma.SDMA_F32_CNTL)
        if status is None or control is None:
            return True
        self.samples += 1
        self.status = str(status)
        idle, halted = bool(status.IDLE), bool(control.HALT)
        self.row.update(idle=idle, halted=halted)
        if halted:  # held in reset, as on a GPU that was never started
            self.row["pending"] = 0
            return True
        # User queues only matter when the engine is at work: an idle engine has handed them back.
        rings = [self._ring(name) for name in (ALWAYS if idle else ALWAYS + USER)]
        self.waiting = [ring for ring in rings if ring.has_work]
        self.row["pending"] = len(self.waiting)
        if not self.waiting:
            return True
        seen_before = all(ring.name in self.first for ring in self.waiting)
        for ring in self.waiting:
            self.first.setdefault(ring.name, ring)
        return seen_before and any(ring.read_pointer != self.first[ring.name].read_pointer for ring in self.waiting)

    def _ring(self, name: str) -> Ring:
        control = self._read(f"SDMA_{name}_RB_CNTL")
        if not control & 1 or control == 0xFFFFFFFF:  # RB_ENABLE is bit 0 in every ring's control
            return Ring(name, False, 0, 0)
        read_pointer = self._read(f"SDMA_{name}_RB_RPTR") | self._read(f"SDMA_{name}_RB_RPTR_HI") << 32
        write_pointer = self._read(f"SDMA_{name}_RB_WPTR") | self._read(f"SDMA_{name}_RB_WPTR_HI") << 32
        return Ring(name, True, read_pointer, write_pointer)

    def _read(self, register: str) -> int:
        address = self.sdma.address_of(self.sdma.REGISTERS[register])
        return self.sdma.bus.read(address)

    def finding(self, watched_s: float) -> Finding:
        rings = ", ".join(
            f"{ring.name} ring rptr={ring.read_pointer:#x} wptr={ring.write_pointer:#x}" for ring in self.waiting
        )
        return Finding(
            "amd.sdma.hang",
            Severity.ERROR,
            f"SDMA engine {self.instance} hangs: work in its ring, and the read pointer stands still",
            expected="read pointer reaches the write pointer, or moves",
            seen=f"{rings} in {self.samples} samples over {watched_s:.1f} s (one wait longer than that looks the same); "
            f"SDMA_STATUS_REG={self.status}",
            where=self.sdma.SDMA_STATUS_REG.where,
            next=host.job_first(self.session, NEXT_SDMA),
        )
