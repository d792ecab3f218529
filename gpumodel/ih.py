"""IH: the interrupt ring, in which the device tells the driver what happened.

Source: Linux v7.3 amdgpu/vega20_ih.c (set-up, write pointer, overflow, retry CAM), amdgpu_ih.c (entry), soc15_ih_clientid.h,
asic_reg/oss/osssys_4_4_2_*; hardware/amd-bringup.md section 8; research/amdgpu-on-model.md items 17 to 19. Pointers count
bytes; an entry has 32. Ring 0 writes its pointer back to memory and raises interrupts; ring 1 does neither, it announces
itself in ring 0."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from gpumodel.chips import AID_STRIDE, AIDS, Chip
from gpumodel.registerfile import Entry, Layout
from registers.amd.osssys_4_4_2 import Osssys as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

ENTRY_BYTES = 32
POINTER_BITS = 0x3FFFC  # OFFSET of RPTR and WPTR: no ring is larger than 256 KiB
OVERFLOW = 1  # WPTR bit 0
SPACE_BUS = 1  # MC_SPACE: the address is a bus address
SPACE_MC = 4  # MC_SPACE: the address is translated by MMHUB 0, VMID 0
SMALLEST_RING_LOG2 = 3  # dwords: one entry
LARGEST_RING_LOG2 = 16
CLOCK_HZ = 100_000_000
TIMESTAMP_BITS = (1 << 48) - 1
DOORBELL_ENABLE = 1 << 28
DOORBELL_OFFSET = 0x03FFFFFF
CLIENT_IH = 0x00
CLIENT_MP1 = 0x1F
MM_CLIENTS = frozenset(
    (0x01, 0x04, 0x08, 0x09, 0x10, 0x12)
)  # SDMA, VCN and VMC: PASIDs of their VMIDs are in the second table
FLOOD_SOURCE = 0xFE  # guess: any source; the driver's own one is what gets lost
NODES_AN_AID = 4
_RINGS = ("", "_RING1")


class Ih:
    """`overflows`: some source sends more than anybody can read, so that entries are overwritten (fault `ih-overflow`).
    `dropped` counts interrupts that no ring took; `on_interrupt` is called where a message would go to the host."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.overflows = False
        self.dropped = 0
        self.on_interrupt: Callable[[], None] | None = None

    def power_on(self) -> None:
        self.overflows = False
        self.dropped = 0

    def send(
        self,
        client: int,
        source: int,
        *,
        ring_id: int = 0,
        vmid: int = 0,
        pasid: int = 0,
        node: int = 0,
        context: tuple[int, int, int, int] = (0, 0, 0, 0),
        ring: int = 0,
    ) -> None:
        """One interrupt; while the ring is off it is lost. PASID 0: the one that the driver set for this VMID."""
        if not self._enabled(ring):
            self._drop(f"interrupt {client:#x}/{source} while ring {ring} is off")
            return
        pasid = pasid or self._pasid(client, vmid, node)
        stamp = self._timestamp(ring)
        entry = struct.pack(
            "<8I",
            client & 0xFF
            | (source & 0xFF) << 8
            | (ring_id & 0xFF) << 16
            | (vmid & 0xF) << 24
            | self._hub(client) << 31,
            stamp & 0xFFFFFFFF,
            stamp >> 32,
            pasid & 0xFFFF | (node & 0xFF) << 16,
            *(word & 0xFFFFFFFF for word in context),
        )
        self._put(ring, entry)
        if ring:
            self.send(CLIENT_IH, 0, ring_id=ring, context=(self._get("WPTR", ring), 0, 0, 0))
        elif self.overflows:
            self._flood()

    def doorbell(self, dword_index: int, value: int) -> bool:
        """A read pointer by doorbell; False: neither ring nor the retry CAM listens at this index."""
        taken = False
        for ring, suffix in enumerate(_RINGS):
            control = self._gpu.registers.get(f"OSSSYS.IH_DOORBELL_RPTR{suffix}")
            if control & DOORBELL_ENABLE and control & DOORBELL_OFFSET == dword_index:
                self._gpu.registers.set(_name("RPTR", ring), value & POINTER_BITS)
                taken = True
        control = self._gpu.registers.get("OSSSYS.IH_DOORBELL_RETRY_CAM")
        return taken or bool(control & DOORBELL_ENABLE and control & DOORBELL_OFFSET == dword_index)

    # ---- registers

    def control(self, entry: Entry, value: int) -> None:
        """RB_CNTL: the ring on or off; WPTR_OVERFLOW_CLEAR forgets an overflow in the register, not in memory."""
        before = Regs.IH_RB_CNTL.kind(self._gpu.registers.stored(entry))
        now = Regs.IH_RB_CNTL.kind(value)
        self._gpu.registers.store(entry, value)
        if now.WPTR_OVERFLOW_CLEAR:
            self._set("WPTR", entry.instance, self._get("WPTR", entry.instance) & ~OVERFLOW)
        if not now.RB_ENABLE or before.RB_ENABLE:
            return
        if not SMALLEST_RING_LOG2 <= now.RB_SIZE <= LARGEST_RING_LOG2:
            self._gpu.wrong("ih", f"ring {entry.instance} enabled with size code {now.RB_SIZE}")
        self._gpu.stage("ih")
        if self.overflows and not entry.instance:
            self._gpu.hive.events.after(0, self._flood)

    def write_pointer(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value & (POINTER_BITS | OVERFLOW))

    def read_pointer(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value & POINTER_BITS)

    # ---- the ring

    def _put(self, ring: int, entries: bytes) -> None:
        """Store entries at the write pointer; the oldest are overwritten when the driver does not keep up."""
        control = Regs.IH_RB_CNTL.kind(self._get("CNTL", ring))
        size = self._size(ring)
        if not size:
            self._drop(f"ring {ring} has no usable size")
            return
        pointer = self._get("WPTR", ring) & POINTER_BITS & size - 1
        used = (pointer - (self._get("RPTR", ring) & size - 1)) % size
        overflow = used + len(entries) >= size
        if overflow and not control.WPTR_OVERFLOW_ENABLE:
            self._drop(f"ring {ring} is full")
            return
        if not self._store_entries(ring, pointer, size, entries):
            return
        kept = self._get("WPTR", ring) & OVERFLOW
        now = (pointer + len(entries)) % size | kept | (OVERFLOW if overflow else 0)
        self._set("WPTR", ring, now)
        if ring:
            return
        if control.WPTR_WRITEBACK_ENABLE:
            self._write_back(now)
        if control.ENABLE_INTR and self.on_interrupt is not None:
            self.on_interrupt()

    def _store_entries(self, ring: int, pointer: int, size: int, entries: bytes) -> bool:
        entries = entries[-size:]
        base = self._get("BASE", ring) << 8 | (self._get("BASE_HI", ring) & 0xFF) << 40
        first = min(len(entries), size - pointer)
        done = self._write(ring, base + pointer, entries[:first])
        if done and first < len(entries):
            done = self._write(ring, base, entries[first:])
        return done

    def _write_back(self, pointer: int) -> None:
        registers = self._gpu.registers
        high = registers.get("OSSSYS.IH_RB_WPTR_ADDR_HI") & 0xFFFF
        address = high << 32 | registers.get("OSSSYS.IH_RB_WPTR_ADDR_LO") & ~3
        self._write(0, address, pointer.to_bytes(4, "little"))

    def _write(self, ring: int, address: int, data: bytes) -> bool:
        """To where the ring lives; False when nothing can be written there."""
        control = Regs.IH_RB_CNTL.kind(self._get("CNTL", ring))
        gmc = self._gpu.gmc
        if control.MC_SPACE == SPACE_BUS:
            allowed = Regs.IH_CHICKEN.kind(self._gpu.registers.get("OSSSYS.IH_CHICKEN")).MC_SPACE_GPA_ENABLE
            done = bool(allowed) and gmc.bus_write(address, data)
            why = "" if allowed else " without MC_SPACE_GPA_ENABLE"
        else:
            done, why = control.MC_SPACE == SPACE_MC and gmc.try_mc_write(address, data), ""
        if not done:
            self._drop(f"ring {ring}: space {control.MC_SPACE} address {address:#x} cannot be written{why}")
        return done

    def _flood(self) -> None:
        """More entries of somebody else than the ring holds."""
        size = self._size(0)
        if not size or not self._enabled(0):
            return
        stamp = self._timestamp(0)
        words = (CLIENT_MP1 | FLOOD_SOURCE << 8, stamp & 0xFFFFFFFF, stamp >> 32, 0, 0, 0, 0, 0)
        self._put(0, struct.pack("<8I", *words) * (size // ENTRY_BYTES + 3))

    def _size(self, ring: int) -> int:
        log2 = Regs.IH_RB_CNTL.kind(self._get("CNTL", ring)).RB_SIZE
        return 4 << log2 if SMALLEST_RING_LOG2 <= log2 <= LARGEST_RING_LOG2 else 0

    def _enabled(self, ring: int) -> bool:
        return bool(Regs.IH_RB_CNTL.kind(self._get("CNTL", ring)).RB_ENABLE)

    def _timestamp(self, ring: int) -> int:
        if not Regs.IH_RB_CNTL.kind(self._get("CNTL", ring)).RB_GPU_TS_ENABLE:
            return 0
        return int(self._gpu.clock.now() * CLOCK_HZ) & TIMESTAMP_BITS

    def _hub(self, client: int) -> int:
        return int(client in MM_CLIENTS)

    def set_pasid(self, vmid: int, pasid: int) -> None:
        """For all clients, as kgd_gfx_v9_4_3_set_pasid_vmid_mapping does; a scheduler does it for its processes."""
        for table in ("OSSSYS.IH_VMID_LUT", *(_mm_lut(aid) for aid in range(AIDS))):
            self._gpu.registers.set(f"{table}[{vmid}]", pasid)

    def _pasid(self, client: int, vmid: int, node: int) -> int:
        table = _mm_lut(node // NODES_AN_AID % AIDS) if client in MM_CLIENTS else "OSSSYS.IH_VMID_LUT"
        return self._gpu.registers.get(f"{table}[{vmid & 0xF}]") & 0xFFFF

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._gpu.registers.unknown[("interrupt-lost", 0)] += 1
        if self.dropped == 1:
            self._gpu.wrong("ih", f"first lost interrupt: {why}")

    def _get(self, what: str, ring: int) -> int:
        return self._gpu.registers.get(_name(what, ring))

    def _set(self, what: str, ring: int, value: int) -> None:
        self._gpu.registers.set(_name(what, ring), value)


def _name(what: str, ring: int) -> str:
    return f"OSSSYS.IH_RB_{what}{_RINGS[ring]}"


def _mm_lut(aid: int) -> str:
    """guess: each AID has a table of its own, because rings set one of their own AID before a job (register numbers are
    local; gmc_v9_0_emit_pasid_mapping), and IH_VMID_LUT_INDEX counts 4 for each AID."""
    return f"OSSSYS[{aid}].IH_VMID_LUT_MM" if aid else "OSSSYS.IH_VMID_LUT_MM"


def declare(layout: Layout, chip: Chip) -> None:
    bases = chip.bases("OSSSYS")[0]
    unit = layout.unit(Regs, "OSSSYS", bases, "ih")
    second = layout.unit(Regs, "OSSSYS", bases, "ih", 1)
    unit.active(Regs.IH_RB_CNTL, on_write=Ih.control)
    unit.active(Regs.IH_RB_WPTR, on_write=Ih.write_pointer)
    unit.active(Regs.IH_RB_RPTR, on_write=Ih.read_pointer)
    second.active(Regs.IH_RB_CNTL_RING1, on_write=Ih.control)
    second.active(Regs.IH_RB_WPTR_RING1, on_write=Ih.write_pointer)
    second.active(Regs.IH_RB_RPTR_RING1, on_write=Ih.read_pointer)
    unit.plain(
        (
            "IH_RB_BASE*",
            "IH_RB_WPTR_ADDR_*",
            "IH_DOORBELL_*",
            "IH_CNTL*",
            "IH_STATUS",
            "IH_VERSION",
            "IH_CHICKEN",
            "IH_RETRY_INT_CAM_CNTL",
            "IH_CLK_CTRL",
        ),
        {"IH_STATUS": 7},  # guess: idle, input idle, ring buffer idle
    )
    for vmid in range(16):
        for name, register in (("IH_VMID_LUT", Regs.IH_VMID_0_LUT), ("IH_VMID_LUT_MM", Regs.IH_VMID_0_LUT_MM)):
            place = unit.address(register) + vmid
            layout.add(Entry(f"OSSSYS.{name}[{vmid}]", place, 0, "ih", 0))
            for aid in range(1, AIDS):
                layout.add(Entry(f"OSSSYS[{aid}].{name}[{vmid}]", place + aid * AID_STRIDE, 0, "ih", aid))
