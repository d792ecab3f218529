"""SDMA: sixteen copy engines; here their registers, what starts, stops and resets them. gpumodel.sdma_engine does the work.

Source: Linux v7.3 amdgpu/sdma_v4_4_2.c (the registers of its state dump, engine start, stop and reset);
hardware/amd-bringup.md section 11; research/amdgpu-on-model.md items 44, 63, 64, 68;
reset values: asic_reg/sdma0/sdma0_4_0_default.h, an older relative."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gpumodel.chips import SDMAS, Chip
from gpumodel.faults import Reset
from gpumodel.gmc import PageFault
from gpumodel.pm4 import BadPacket, State
from gpumodel.registerfile import WORD, Entry, Layout
from gpumodel.resets import Fate
from gpumodel.sdma_engine import FIRST_USER_RING, RINGS, Engine, Ring
from gpumodel.sdma_engine import IDLE_STATUS as IDLE_STATUS
from registers.amd.sdma_4_4_2 import Sdma as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

USED_POINTER = 0x1C00  # bytes: where the last job of an earlier boot ended
RING_DWORDS_LOG2 = 11  # 2048 dwords (item 44)
RING_STRIDE = 0x58  # dwords from one ring's registers to the next one's
DOORBELL_S = 1e-6  # guess: until the engine looks at a ring whose doorbell rang

_STATUS = (
    "SDMA_F32_COUNTER",
    "SDMA_STATUS_REG",
    "SDMA_STATUS1_REG",
    "SDMA_STATUS3_REG",
    "SDMA_STATUS4_REG",
    "SDMA_ERROR_LOG",
    "SDMA_UCODE_*",
    "SDMA_VERSION",
    "SDMA_VM_CNTL",
    "SDMA_CNTL",
    "SDMA_CLK_CTRL",
    "SDMA_POWER_CNTL",
    "SDMA_PHASE?_QUANTUM",
    "SDMA_SEM_WAIT_FAIL_TIMER_CNTL",
    "SDMA_GB_ADDR_CONFIG",
    "SDMA_GB_ADDR_CONFIG_READ",
    "SDMA_RB_RPTR_FETCH",
    "SDMA_RB_RPTR_FETCH_HI",
    "SDMA_UTCL1_*",
    "SDMA_UE_ERR_STATUS_*",
    "SDMA_RAS_STATUS",
    "SDMA_CLK_STATUS",
)
_RESETS = {
    "SDMA_F32_CNTL": 0x00000001,  # halted
    "SDMA_STATUS_REG": IDLE_STATUS,
    "SDMA_STATUS1_REG": 0x000003FF,
    "SDMA_STATUS3_REG": 0x00100000,
    "SDMA_CNTL": 0x00000002,
    "SDMA_VERSION": 0x00000404,  # guess: 0x400 on version 4.0
    "SDMA_GB_ADDR_CONFIG": 0x00100012,
    "SDMA_GB_ADDR_CONFIG_READ": 0x00100012,
    "SDMA_UTCL1_CNTL": 0xD0003019,
    "SDMA_UTCL1_TIMEOUT": 0x00010001,
    "SDMA_GFX_RB_WPTR_POLL_CNTL": 0x00401000,
    "SDMA_GFX_CONTEXT_STATUS": 0x00000005,
    "SDMA_GFX_DUMMY_REG": 0x0000000F,
    "SDMA_GFX_RB_AQL_CNTL": 0x00004000,
    **{f"SDMA_{ring}_RB_CNTL": 0x00040000 for ring in RINGS},
    **{f"SDMA_{ring}_IB_CNTL": 0x00000100 for ring in RINGS},
    **{f"SDMA_{ring}_CONTEXT_STATUS": 0x00000004 for ring in RINGS[1:]},
}
# Where the registers of a user queue stand in its MQD (v9_structs.h, v9_sdma_mqd).
_MQD = {
    "RB_BASE": 1,
    "RB_BASE_HI": 2,
    "RB_RPTR": 3,
    "RB_RPTR_HI": 4,
    "RB_WPTR": 5,
    "RB_WPTR_HI": 6,
    "RB_RPTR_ADDR_HI": 8,
    "RB_RPTR_ADDR_LO": 9,
}
MQD_IB_OFFSET, MQD_IB_BASE, MQD_IB_SIZE = 12, 13, 15
UNSELECTED = 4  # CONTEXT_STATUS of a user ring that is not in work


class Sdma:
    """`busy`: engines at work; `hung`: those that stand still while busy; `never_starts`: those that stay halted."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.busy: set[int] = set()
        self.hung: set[int] = set()
        self.never_starts: set[int] = set()
        self.engines = [Engine(self, gpu, index) for index in range(SDMAS)]
        self._started: set[int] = set()  # engines whose firmware has begun to run

    def power_on(self) -> None:
        self.busy.clear()
        self.hung.clear()
        self.never_starts.clear()
        self._started.clear()
        for engine in self.engines:
            engine.reset()
        if not self._gpu.is_used:
            return
        self._started.update(range(SDMAS))
        control = Regs.SDMA_GFX_RB_CNTL.kind.of(RB_ENABLE=1, RB_SIZE=RING_DWORDS_LOG2, RPTR_WRITEBACK_ENABLE=1)
        values = {
            "SDMA_F32_CNTL": 0,
            "SDMA_GFX_RB_CNTL": int(control),
            "SDMA_GFX_RB_RPTR": USED_POINTER,
            "SDMA_GFX_RB_WPTR": USED_POINTER,
        }
        for engine in self.engines:
            for name, value in values.items():
                self._gpu.registers.set(f"SDMA[{engine.index}].{name}", value)
            engine.first_position = USED_POINTER

    def works(self, engine: int) -> bool:
        """Whether it runs its firmware."""
        gpu = self._gpu
        loaded = self.engines[engine].firmware in gpu.psp.loaded
        if gpu.lost or not loaded or engine in self.never_starts or engine in self.hung:
            return False
        return not self._control(engine) & 1

    def doorbell(self, engine: int, index: int, value: int) -> bool:
        """A doorbell routed to an engine, by its dword in BAR2; False: none of its rings listens there."""
        listening = [ring for ring in self.engines[engine].rings if ring.doorbell_is(index)]
        for ring in listening:
            self._ring(engine, ring, value)
        return bool(listening)

    def _ring(self, engine: int, ring: Ring, value: int) -> None:
        """A ring that is off takes its write pointer, too: gfx_resume commits it by doorbell before RB_ENABLE, also with
        `restore`, where RB_WPTR was set to the read pointer and jobs lie between the two."""
        ring.set64("RB_WPTR", value)
        if ring.enabled:
            self.engines[engine].wake(DOORBELL_S)

    def reset_engines(self, mask: int) -> None:
        """By the SMU, message 0x4D: registers as after power-on, the firmware starts again by itself (item 63).

        guess: the interrupts in SDMA_CNTL stay on: sdma_v4_4_2_restore_queue does not switch them on again, and without
        the trap each job after a reset would end by the driver's fallback timer, and the one that is sent again not at
        all (amdgpu_ring_set_fence_errors_and_reemit starts no timer)."""
        registers = self._gpu.registers
        if self._gpu.resets.fate(Reset.SDMA_ENGINE) is Fate.LIES:
            return
        for engine in self.engines:
            if not mask >> engine.index & 1:
                continue
            engine.reset()
            self.hung.discard(engine.index)
            self.never_starts.discard(engine.index)
            self.busy.discard(engine.index)
            prefix = f"SDMA[{engine.index}]."
            kept = {f"{prefix}SDMA_CNTL"}
            for name in registers.layout.names():
                if name.startswith(prefix) and name not in kept:
                    entry = registers.layout.entries[registers.layout.address(name)]
                    registers.store(entry, entry.reset)
            self._started.discard(engine.index)
            self._control(engine.index)

    # User queues, mapped by a scheduler.

    def map_user_queue(
        self, engine: int, mqd: tuple[int, ...], doorbell: int, vmid: int, pasid: int, wptr_address: int, address: int
    ) -> None:
        """A process's queue onto a free ring of an engine (item 68); a guess: the scheduler takes the first free one."""
        if engine >= SDMAS:
            self._gpu.wrong("sdma", f"MAP_QUEUES for engine {engine}")
            return
        ring = next((ring for ring in self.engines[engine].rings[FIRST_USER_RING:] if not ring.enabled), None)
        if ring is None:
            self._gpu.wrong("sdma", f"engine {engine}: no free ring for a user queue")
            return
        for name, place in _MQD.items():
            ring.set(name, mqd[place])
        ring.pasid, ring.mqd = pasid, address
        control = Regs.SDMA_GFX_RB_CNTL.kind(mqd[0]).replace(RB_VMID=vmid, RB_ENABLE=1)
        ring.set("DOORBELL", int(Regs.SDMA_GFX_DOORBELL.kind.of(ENABLE=1)))
        ring.set("DOORBELL_OFFSET", doorbell << 2)
        ring.set("IB_CNTL", mqd[10] | 1)
        ring.set("RB_CNTL", int(control))
        if wptr_address:
            try:
                ring.set64("RB_WPTR", int.from_bytes(self.engines[engine].read(vmid, wptr_address, 8), "little"))
            except PageFault as fault:
                self._gpu.wrong("sdma", f"engine {engine}: write pointer at {wptr_address:#x}: {fault}")
        ring.restart()
        try:
            if mqd[MQD_IB_SIZE]:
                ring.resume(mqd[MQD_IB_BASE] | mqd[MQD_IB_BASE + 1] << 32, mqd[MQD_IB_SIZE], mqd[MQD_IB_OFFSET])
        except (BadPacket, PageFault) as error:
            self._gpu.wrong("sdma", f"engine {engine}: a queue cannot go on where it was: {error}")
        self.engines[engine].wake(DOORBELL_S)

    def unmap_user_queues(self) -> bool:
        """All of them; what they are at goes back into their MQDs. False: one has a packet in work, ask again.

        One that stopped for good stays, and is selected: so the driver finds it and resets its engine (sdma_has_hang)."""
        mapped = [
            (engine, ring)
            for engine in self.engines
            for ring in engine.rings[FIRST_USER_RING:]
            if ring.enabled and ring.mqd and not self._is_stuck(engine, ring)
        ]
        if any(engine.at_work is ring for engine, ring in mapped):
            return False
        for engine, ring in mapped:
            pointers = [ring.get(name) for name in ("RB_RPTR", "RB_RPTR_HI", "RB_WPTR", "RB_WPTR_HI")]
            base, size, offset = ring.leave()
            places = {_MQD["RB_RPTR"]: pointers, MQD_IB_OFFSET: [offset, base & WORD, base >> 32, size]}
            for place, words in places.items():
                self._gpu.gmc.write("GC[0]", 0, ring.mqd + place * 4, struct.pack(f"<{len(words)}I", *words))
            ring.set("RB_CNTL", ring.get("RB_CNTL") & ~1)
            ring.set("CONTEXT_STATUS", UNSELECTED)
            engine.wake()  # for the status of the others
        return True

    def _is_stuck(self, engine: Engine, ring: Ring) -> bool:
        return ring.state is State.STOPPED or (engine.index in self.hung and engine.at_work is ring)

    def firmware_loaded(self, kind: int) -> None:
        """The PSP lets the engines of that kind of firmware run, also those that a driver has halted."""
        self._started.difference_update(engine.index for engine in self.engines if engine.firmware == kind)

    # Registers.

    def _control(self, engine: int) -> int:
        """F32_CNTL: PSP lets an engine run when it has loaded its firmware; the driver does nothing for it."""
        registers, name = self._gpu.registers, f"SDMA[{engine}].SDMA_F32_CNTL"
        loaded = self.engines[engine].firmware in self._gpu.psp.loaded
        if loaded and engine not in self._started and engine not in self.never_starts:
            self._started.add(engine)
            registers.set(name, registers.get(name) & ~1)
        return registers.get(name)

    def control_read(self, entry: Entry) -> int:
        return self._control(entry.instance) | int(entry.instance in self.never_starts)

    def control_write(self, entry: Entry, value: int) -> None:
        self._control(entry.instance)
        control = Regs.SDMA_F32_CNTL.kind(value)
        self._gpu.registers.store(entry, value)
        if control.RESET:
            self.engines[entry.instance].reset()
        self.engines[entry.instance].wake(DOORBELL_S)

    def ring_control(self, entry: Entry, value: int) -> None:
        engine, ring = self._place(entry)
        was = ring.enabled
        self._gpu.registers.store(entry, value)
        if was or not value & 1:
            return
        self._gpu.stage("sdma")
        if engine.firmware not in self._gpu.psp.loaded:
            self._gpu.wrong("sdma", f"engine {engine.index}: ring enabled without firmware")
        ring.restart()
        engine.wake(DOORBELL_S)

    def ring_wptr(self, entry: Entry, value: int) -> None:
        engine, ring = self._place(entry)
        self._gpu.registers.store(entry, value)
        if ring.enabled and not ring.get("MINOR_PTR_UPDATE") & 1:
            engine.wake(DOORBELL_S)

    def ring_rptr(self, entry: Entry, value: int) -> None:
        """With MINOR_PTR_UPDATE a ring that is on goes on from there (gfx_resume skips bad commands so; tinygrad takes
        over the rings of a killed process on MI350X boards without switching them off)."""
        engine, ring = self._place(entry)
        self._gpu.registers.store(entry, value)
        if ring.enabled and ring.get("MINOR_PTR_UPDATE") & 1:
            engine.drop(ring)

    def _place(self, entry: Entry) -> tuple[Engine, Ring]:
        engine = self.engines[entry.instance]
        return engine, engine.rings[RINGS.index(entry.name.split("_")[1])]

    def program_counter(self, entry: Entry) -> int:
        """STATUS2 carries the instruction pointer: it moves while the engine works."""
        value = Regs.SDMA_STATUS2_REG.kind(self._gpu.registers.stored(entry))
        stands = entry.instance in self.hung or self.engines[entry.instance].stopped
        if entry.instance in self.busy and not stands:
            value = value.replace(F32_INSTR_PTR=(value.fields()["F32_INSTR_PTR"] + 7) % 0x1000)
            self._gpu.registers.store(entry, int(value))
        return int(value)


def declare(layout: Layout, chip: Chip) -> None:
    first = [(name.removeprefix("SDMA_GFX_"), r.offset) for name, r in Regs.REGISTERS.items() if "SDMA_GFX_" in name]
    for engine, bases in enumerate(chip.bases("SDMA0")):
        unit = layout.unit(Regs, f"SDMA[{engine}]", bases, "sdma", engine)
        unit.plain(_STATUS, _RESETS)
        unit.active(Regs.SDMA_F32_CNTL, 1, on_read=Sdma.control_read, on_write=Sdma.control_write)
        # guess: ID counts the engines of an AID
        unit.active(Regs.SDMA_STATUS2_REG, engine % 4, on_read=Sdma.program_counter)
        for number, ring in enumerate(RINGS):
            for name, offset in first:
                text = f"SDMA_{ring}_{name}"
                address = bases[0] + offset + number * RING_STRIDE
                entry = Entry(f"SDMA[{engine}].{text}", address, _RESETS.get(text, 0), "sdma", engine)
                if name == "RB_CNTL":
                    entry.on_write = Sdma.ring_control
                elif name in ("RB_RPTR", "RB_RPTR_HI"):
                    entry.on_write = Sdma.ring_rptr
                elif name in ("RB_WPTR", "RB_WPTR_HI"):
                    entry.on_write = Sdma.ring_wptr
                layout.add(entry)
