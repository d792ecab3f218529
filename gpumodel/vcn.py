"""VCN: four video engines, one per AID; here their registers, their start and their unified ring. They code no video.

The driver writes a list of registers into memory, the PSP applies it (the engine's own window is closed to the driver
while it is gated) and so releases the VCPU, which runs the firmware that serves the ring.

Source: Linux v7.3 amdgpu/vcn_v4_0_3.c, vcn_v5_0_1.c (start, pause, stop, ring), vcn_v2_0.c (what is put into the ring),
amdgpu_vcn.c and .h (address windows of the list, indirect buffers, messages); research/amdgpu-on-model.md items 52, 73.
What the firmware makes of an indirect buffer: the kernel's own ring test, nothing else is published. Times in seconds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpumodel.chips import AID_STRIDE, VCNS, Chip
from gpumodel.pm4 import BadPacket
from gpumodel.registerfile import Entry, Layout
from gpumodel.video_ring import Place, VideoRing, Words
from registers.amd.structs_psp import psp_gfx_fw_type as Firmware
from registers.amd.vcn_4_0_3 import Vcn as Regs
from registers.amd.vcn_5_0_0 import Vcn5

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

BOOT_S = 100e-6  # guess: from release of the VCPU to firmware that serves its ring
PAUSE_S = 1e-6  # guess
TRAP = 119  # irqsrcs_vcn_4_0.h, irqsrcs_vcn_5_0.h: UVD_ENC_GENERAL_PURPOSE
BOOTED = 1  # UVD_STATUS.VCPU_REPORT: vcn_v4_0_3_start waits for it
IN_RESET = int(Regs.UVD_VCPU_CNTL.kind.of(BLK_RST=1))  # guess: how silicon comes
LIST_HEAD = 0xDEADBEEF  # the first "register" of a list carries the AID
LIST_BYTES = 64 * 2 * 4  # amdgpu_vcn.c: what is allocated for it

# Windows of register numbers in a list: first byte there, bytes, what follows the first byte of the engine in BAR5.
VIDEO_BYTES, AON_BYTES = 0x2600, 0x600
AON_WINDOW = 0x30000
AON_AT = 0x1F800

# Memory shared with the firmware: amdgpu_vcn4_fw_shared, amdgpu_vcn5_fw_shared, in bytes.
SHARED_BYTES, ENABLED_AT, MODE_AT = 24, 16, 17  # present_flag_0; sq.is_enabled, sq.queue_mode
UNIFIED_QUEUE = 1 << 2
RING_RESET = 1

NO_OP, END, IB, FENCE, TRAP_COMMAND, REG_WRITE, REG_WAIT = 0, 1, 2, 3, 4, 0xB, 0xC
_LENGTHS = {NO_OP: 1, END: 1, IB: 5, FENCE: 4, TRAP_COMMAND: 1, REG_WRITE: 3, REG_WAIT: 4}
# Parts of an indirect buffer of the unified queue.
CHECKSUM, ENGINE_INFO, DECODE_BUFFER = 0x30000002, 0x30000001, 1
DECODER = 3
HAS_MESSAGE = 1
MESSAGE_BYTES = 0x18
CREATE, DECODE, DESTROY = range(3)


@dataclass(frozen=True, slots=True)
class Version:
    """What differs between the two: the register class, which bit of VCN_RB_ENABLE stands for the unified ring, where
    the video window of a list begins in BAR5."""

    registers: Any
    enable: str
    video_at: int


_VERSIONS = {(4, 0, 3): Version(Regs, "RB_EN", 0x1FB00), (5, 0, 1): Version(Vcn5, "RB1_EN", 0x1FC00)}


def version(chip: Chip) -> Version:
    return _VERSIONS[chip.version("VCN")]


class BadList(Exception):
    """A list of registers that the PSP does not take."""


class Engine(VideoRing):
    """One engine. `awake`: its firmware serves the ring; `sessions`: the handles that are open."""

    def __init__(self, gpu: ModelGpu, aid: int) -> None:
        super().__init__(gpu, "vcn", f"engine {aid}", aid)
        self.awake = False
        self.sessions: set[int] = set()
        self._version = version(gpu.chip)

    def get(self, name: str) -> int:
        return self.gpu.registers.get(f"VCN[{self.aid}].{name}")

    def set(self, name: str, value: int) -> None:
        self.gpu.registers.set(f"VCN[{self.aid}].{name}", value)

    def reset(self) -> None:
        super().reset()
        self.awake = False
        self.sessions.clear()

    @property
    def enabled(self) -> bool:
        return bool(getattr(Regs.VCN_RB_ENABLE.kind(self.get("VCN_RB_ENABLE")), self._version.enable))

    def runs(self) -> bool:
        return self.awake and self.enabled and self._is_served()

    def _is_served(self) -> bool:
        """What the driver says in the memory that it shares with the firmware. Raises PageFault."""
        address = self.get("UVD_LMI_VCPU_NC0_64BIT_BAR_HIGH") << 32 | self.get("UVD_LMI_VCPU_NC0_64BIT_BAR_LOW")
        shared = self.gpu.gmc.read(f"MMHUB[{self.aid}]", 0, address, SHARED_BYTES)
        unified = int.from_bytes(shared[:4], "little") & UNIFIED_QUEUE and shared[ENABLED_AT]
        return bool(unified) and not shared[MODE_AT] & RING_RESET

    def place(self) -> Place:
        return Place(self.get("UVD_RB_BASE_HI") << 32 | self.get("UVD_RB_BASE_LO"), self.get("UVD_RB_SIZE"), 0)

    def write_pointer(self) -> int:
        return self.get("UVD_RB_WPTR")

    def show(self) -> None:
        self.set("UVD_RB_RPTR", self.position)

    # ---- start and pause

    def control(self, value: int) -> None:
        """UVD_VCPU_CNTL: with its clock and without reset the VCPU boots."""
        now = Regs.UVD_VCPU_CNTL.kind(value)
        if now.BLK_RST or not now.CLK_EN:
            self.reset()
            self.set("UVD_STATUS", 0)
            return
        if self.awake:
            return
        life = self._life
        self.gpu.hive.events.after(BOOT_S, lambda: self._boot(life))

    def _boot(self, life: int) -> None:
        if life != self._life or self.awake or self.gpu.lost:
            return
        if Firmware.GFX_FW_TYPE_VCN not in self.gpu.psp.loaded:
            self.wrong("released without firmware")
            return
        self.awake = True
        self.set("UVD_STATUS", self.get("UVD_STATUS") | int(Regs.UVD_STATUS.kind.of(VCPU_REPORT=BOOTED)))
        self.position = self.get("UVD_RB_RPTR")
        self._acknowledge()
        self.wake()

    def pause(self, value: int) -> None:
        """UVD_DPG_PAUSE: what is asked for is acknowledged as soon as the firmware runs."""
        asked = Regs.UVD_DPG_PAUSE.kind(value)
        self.set("UVD_DPG_PAUSE", int(asked.replace(NJ_PAUSE_DPG_ACK=0, JPEG_PAUSE_DPG_ACK=0)))
        self.gpu.hive.events.after(PAUSE_S, self._acknowledge)

    def _acknowledge(self) -> None:
        if not self.awake:
            return
        asked = Regs.UVD_DPG_PAUSE.kind(self.get("UVD_DPG_PAUSE"))
        done = asked.replace(NJ_PAUSE_DPG_ACK=asked.NJ_PAUSE_DPG_REQ, JPEG_PAUSE_DPG_ACK=asked.JPEG_PAUSE_DPG_REQ)
        self.set("UVD_DPG_PAUSE", int(done))

    def doorbell(self, index: int, value: int) -> bool:
        control = Regs.VCN_RB1_DB_CTRL.kind(self.get("VCN_RB1_DB_CTRL"))
        if not control.EN or index != control.OFFSET:
            return False
        if not self.enabled:
            self.wrong(f"doorbell {value:#x} while the ring is off")
            return True
        self.set("UVD_RB_WPTR", value)
        self.wake()
        return True

    # ---- commands

    def length(self, word: int) -> int:
        if word not in _LENGTHS:
            raise BadPacket(f"command {word:#x}")
        return _LENGTHS[word]

    def execute(self, words: Words) -> str:
        command = words[0]
        if command == IB:
            vmid, low, high, dwords = words[1:]
            self._buffer(vmid & 0xF, high << 32 | low, dwords)
        elif command == FENCE:
            self.write_word(self.vmid(), words[2] << 32 | words[1], words[3])
        elif command == TRAP_COMMAND:
            self._trap()
        elif command == REG_WRITE:
            self.gpu.registers.write(self.register(words[1] >> 2), words[2], "vcn")
        elif command == REG_WAIT:
            value = self.gpu.registers.read(self.register(words[1] >> 2), "vcn")
            if value & words[2] != words[3]:
                return f"register {words[1]:#x} is not yet {words[3]:#x}"
        return ""

    def _trap(self) -> None:
        if Regs.UVD_MASTINT_EN.kind(self.get("UVD_MASTINT_EN")).VCPU_EN:
            self.interrupt(TRAP)

    def _buffer(self, vmid: int, address: int, dwords: int) -> None:
        """An indirect buffer: parts of a size in bytes and a type each. It ends with a size of 0."""
        words = self.read_words(vmid, address, dwords)
        at = 0
        engine = 0
        while at + 1 < dwords and words[at]:
            size, kind = words[at], words[at + 1]
            if size % 4 or size < 8 or at + size // 4 > dwords:
                raise BadPacket(f"part {kind:#x} of {size:#x} bytes in an indirect buffer of {dwords} dwords")
            part = words[at : at + size // 4]
            if kind == CHECKSUM:
                self._check(words, at + size // 4, part)
            elif kind == ENGINE_INFO:
                engine = part[2]
            elif kind == DECODE_BUFFER and engine == DECODER:
                self._decode_buffer(vmid, part)
            else:
                self._not_modelled(f"part {kind:#x} of engine {engine}")
            at += size // 4

    def _check(self, words: Words, at: int, part: Words) -> None:
        expected, dwords = part[2:4]
        seen = sum(words[at : at + dwords]) & 0xFFFFFFFF
        if at + dwords > len(words) or seen != expected:
            raise BadPacket(f"checksum {seen:#x} of an indirect buffer that claims {expected:#x}")

    def _decode_buffer(self, vmid: int, part: Words) -> None:
        """The message says what is to be done; other buffers (bit stream, target) are for real decoding only."""
        flags, high, low = part[2:5]
        if not flags & HAS_MESSAGE:
            raise BadPacket("a decode buffer without a message")
        kind, handle = self.read_words(vmid, high << 32 | low, MESSAGE_BYTES // 4)[3:5]
        if kind == CREATE:
            self.sessions.add(handle)
        elif kind == DESTROY and handle in self.sessions:
            self.sessions.discard(handle)
        elif kind == DECODE:
            self._not_modelled("decoding")
        else:
            raise BadPacket(f"message {kind} of session {handle:#x}, with {len(self.sessions)} sessions open")

    def _not_modelled(self, what: str) -> None:
        self.gpu.registers.unknown[("vcn-job", self.aid)] += 1
        self.wrong(f"{what} is not modelled: it leaves no picture")


class Vcn:
    """All four engines."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.engines = [Engine(gpu, aid) for aid in range(VCNS)]

    def power_on(self) -> None:
        for engine in self.engines:
            engine.reset()

    def doorbell(self, unit: int, index: int, value: int) -> bool:
        """A doorbell routed to an AID, by its dword in BAR2; False: this ring does not listen there."""
        return self.engines[unit].doorbell(index, value)

    def apply(self, data: bytes) -> None:
        """By the PSP: a list of (register, value), the AID first. Raises BadList, before a register is written."""
        if len(data) % 8 or not 8 <= len(data) <= LIST_BYTES:
            raise BadList(f"a list of {len(data)} bytes")
        pairs = list(struct.iter_unpack("<II", data))
        head, aid = pairs[0]
        if head != LIST_HEAD or aid >= VCNS:
            raise BadList(f"a list that begins with {head:#x}, {aid:#x}")
        for number, value in pairs[1:]:
            self._gpu.registers.write(self._address(aid, number), value, "psp")

    def _address(self, aid: int, number: int) -> int:
        """SOC15_DPG_MODE_OFFSET backwards: two windows of the engine have places of their own."""
        place = number * 4
        if place < VIDEO_BYTES:
            place += version(self._gpu.chip).video_at
        elif AON_WINDOW <= place < AON_WINDOW + AON_BYTES:
            place += AON_AT - AON_WINDOW
        return place // 4 + aid * AID_STRIDE

    # ---- registers

    def control(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        self.engines[entry.instance].control(value)

    def gate(self, entry: Entry, value: int) -> None:
        """UVD_PGFSM_CONFIG: two bits for each tile, 1 powers it on, 2 off; the status says 0 for on, 2 for off
        (enum jpeg_engin_status in jpeg_v4_0_3.c; stop in v6.12's turns the JPEG tile off and waits for it)."""
        self._gpu.registers.store(entry, value)
        name = f"VCN[{entry.instance}].UVD_PGFSM_STATUS"
        status = self._gpu.registers.get(name)
        for place in range(0, 32, 2):
            wanted = value >> place & 3
            if wanted in (1, 2):
                status = status & ~(3 << place) | (0 if wanted == 1 else 2) << place
        self._gpu.registers.set(name, status)

    def pause(self, entry: Entry, value: int) -> None:
        self.engines[entry.instance].pause(value)

    def through(self, entry: Entry, value: int) -> None:
        """UVD_DPG_LMA_CTL: one register by its number in a list, through UVD_DPG_LMA_DATA."""
        registers, aid = self._gpu.registers, entry.instance
        registers.store(entry, value)
        control = version(self._gpu.chip).registers.UVD_DPG_LMA_CTL.kind(value)
        address = self._address(aid, control.READ_WRITE_ADDR)
        if control.READ_WRITE:
            registers.write(address, registers.get(f"VCN[{aid}].UVD_DPG_LMA_DATA"), "dpg")
        else:
            registers.set(f"VCN[{aid}].UVD_DPG_LMA_DATA", registers.read(address, "dpg"))

    def enable(self, entry: Entry, value: int) -> None:
        """VCN_RB_ENABLE: a ring that is switched on starts at its read pointer."""
        engine = self.engines[entry.instance]
        was = engine.enabled
        self._gpu.registers.store(entry, value)
        if engine.enabled and not was:
            engine.move(engine.get("UVD_RB_RPTR"))
            engine.wake()

    def read_pointer(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        self.engines[entry.instance].move(value)

    def write_pointer(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        self.engines[entry.instance].wake()


_PLAIN = (
    "UVD_STATUS",
    "UVD_POWER_STATUS",
    "UVD_DPG_LMA_DATA",
    "UVD_DPG_LMA_MASK",
    "UVD_VCPU_CACHE_*",
    "UVD_VCPU_NONCACHE_*",
    "UVD_MASTINT_EN",
    "UVD_SOFT_RESET",
    "UVD_RB_ARB_CTRL",
    "UVD_LMI_CTRL*",
    "UVD_LMI_STATUS",
    "UVD_LMI_VCPU_*",
    "UVD_GFX10_ADDR_CONFIG",
    "UVD_CONTEXT_ID*",
    "UVD_GPCOM_VCPU_*",
    "UVD_RB_BASE_*",
    "UVD_RB_SIZE*",
    "UVD_RB_RPTR[234]",
    "UVD_RB_WPTR[234]",
    "VCN_RB1_DB_CTRL",
    "UVD_PF_STATUS",
    "UVD_RAS_VCPU_VCODEC_STATUS",
)
_PLAIN_4 = (
    "VCN_RAS_CNTL",
    "UVD_VCPU_INT_EN2",
    "UVD_SYS_INT_EN",
    "UVD_CGC_*",
    "UVD_SUVD_CGC_*",
    "UVD_GFX8_ADDR_CONFIG",
    "UVD_PGFSM_STATUS",
    "UVD_MPC_*",
    "VCN_UE_ERR_STATUS_??_VID?",
)


def declare(layout: Layout, chip: Chip) -> None:
    registers = version(chip).registers
    for aid, bases in enumerate(chip.bases("VCN")):
        unit = layout.unit(registers, f"VCN[{aid}]", bases, "vcn", aid)
        unit.plain(_PLAIN)
        unit.active(registers.UVD_VCPU_CNTL, IN_RESET, on_write=Vcn.control)
        unit.active(registers.UVD_DPG_PAUSE, on_write=Vcn.pause)
        unit.active(registers.UVD_DPG_LMA_CTL, on_write=Vcn.through)
        unit.active(registers.VCN_RB_ENABLE, on_write=Vcn.enable)
        unit.active(registers.UVD_RB_RPTR, on_write=Vcn.read_pointer)
        unit.active(registers.UVD_RB_WPTR, on_write=Vcn.write_pointer)
        if registers is Regs:
            unit.plain(_PLAIN_4)
            unit.active(Regs.UVD_PGFSM_CONFIG, on_write=Vcn.gate)
        # vcn_v5_0_1.h puts it where vcn_4_0_3 has it.
        layout.unit(Regs, f"VCN[{aid}]", bases, "vcn", aid).plain(("VCN_RRMT_CNTL",))
