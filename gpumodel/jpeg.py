"""JPEG: eight (4.0.3) or ten (5.0.1) decoder cores beside each VCN; here their rings and registers. They decode nothing.

Each core reads its ring itself. A packet is two dwords: what to do with which register, and a value. The numbers of
registers are the core's own; what lies elsewhere is reached through a pair of address and data.

Source: Linux v7.3 amdgpu/jpeg_v4_0_3.c and .h (numbers, set-up, ring, reset of a core), jpeg_v5_0_1.c and .h, soc15d.h
(packets), amdgpu_jpeg.c (ring test, what a user may send); research/amdgpu-on-model.md items 53, 73. The conditions of
packets are named nowhere: see docs/fidelity.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpumodel.chips import VCNS, Chip
from gpumodel.pm4 import BadPacket, compare
from gpumodel.registerfile import Entry, Layout
from gpumodel.vcn import version
from gpumodel.video_ring import Place, VideoRing, Words
from registers.amd.vcn_4_0_3 import Vcn as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

CORES = {(4, 0, 3): 8, (5, 0, 1): 10}
# Interrupt sources of the cores: irqsrcs_vcn_4_0.h, irqsrcs_vcn_5_0.h.
SOURCES = (153, 149, 151, 171, 172, 173, 174, 175, 177, 178)
FIRST_CORES = 8  # these have their interrupt enables side by side, the others further up
DJRBC0_BIT = 8  # JPEG_SYS_INT_EN.DJRBC0
ALL_CLIENTS = 0x1F  # of JMI_CLIENT_STALL

WRITE, READ_MEMORY, READ_REGISTER, WAIT_COMMAND, NOP, TRAP = 0, 2, 3, 4, 6, 7
# Numbers of registers in packets. A core's own 0x40 registers of the JRBC and 0x40 of its memory interface follow each
# other as in BAR5; the decoder's are listed where they matter.
JRBC_FIRST, JRBC_COUNT, JRBC_AT = 0x4080, 0x80, 0x640
GPCOM_COMMAND, GPCOM_DATA0 = 0x404D, 0x404E
GPCOM_STORE = 8  # DATA0 to memory
DECODER = range(0x4000, 0x4180)
MEM_RD_LOW, MEM_RD_HIGH = 0x42D4, 0x42D5
EXTERNAL_ADDRESS, EXTERNAL_DATA = 0x1BFFF, 0x18000

_CORE_PREFIXES = ("UVD_JRBC0_", "UVD_JMI0_")


@dataclass(frozen=True, slots=True)
class Packet:
    """PACKETJ."""

    register: int
    condition: int
    type: int

    @classmethod
    def of(cls, word: int) -> Packet:
        return cls(word & 0x3FFFF, word >> 24 & 0xF, word >> 28)


class Core(VideoRing):
    """One decoder core with its ring."""

    def __init__(self, gpu: ModelGpu, aid: int, index: int) -> None:
        super().__init__(gpu, "jpeg", f"core {aid}.{index}", aid)
        self.index = index
        self._inner: dict[int, int] = {}  # registers that have no place in BAR5, or whose place is not known
        self._first = gpu.chip.bases("VCN")[aid][1] + JRBC_AT + core_offset(index)

    def get(self, name: str) -> int:
        return self.gpu.registers.get(f"JPEG[{self.aid}].{name}[{self.index}]")

    def set(self, name: str, value: int) -> None:
        self.gpu.registers.set(f"JPEG[{self.aid}].{name}[{self.index}]", value)

    def get64(self, name: str) -> int:
        return self.get(f"{name}_64BIT_BAR_HIGH") << 32 | self.get(f"{name}_64BIT_BAR_LOW")

    def reset(self) -> None:
        super().reset()
        self._inner.clear()

    def runs(self) -> bool:
        """Not while the driver sets the ring up, nor while the memory interface of all cores is in reset."""
        if self.gpu.registers.get(f"JPEG[{self.aid}].UVD_JMI_CNTL") & 1 or self.get("UVD_JMI_CLIENT_STALL"):
            return False
        return not Regs.UVD_JRBC0_UVD_JRBC_RB_CNTL.kind(self.get("UVD_JRBC_RB_CNTL")).RB_NO_FETCH

    def place(self) -> Place:
        vmid = Regs.UVD_JMI0_UVD_LMI_JRBC_RB_VMID.kind(self.get("UVD_LMI_JRBC_RB_VMID")).RB_RD_VMID
        return Place(self.get64("UVD_LMI_JRBC_RB"), self.get("UVD_JRBC_RB_SIZE"), vmid)

    def write_pointer(self) -> int:
        return self.get("UVD_JRBC_RB_WPTR")

    def show(self) -> None:
        self.set("UVD_JRBC_RB_RPTR", self.position)

    def status(self) -> int:
        """Done is what has nothing in work."""
        kind = Regs.UVD_JRBC0_UVD_JRBC_STATUS.kind
        illegal = bool(self.stopped)
        done = not self.has_work and not illegal
        return int(
            kind.of(
                RB_JOB_DONE=int(done),
                IB_JOB_DONE=int(not self.inside_ib),
                RB_ILLEGAL_CMD=int(illegal and not self.inside_ib),
                IB_ILLEGAL_CMD=int(illegal and self.inside_ib),
            )
        )

    def doorbell(self, index: int, value: int) -> bool:
        control = Regs.VCN_JPEG_DB_CTRL.kind(self.get("VCN_JPEG_DB_CTRL"))
        if not control.EN or index != control.OFFSET:
            return False
        self.set("UVD_JRBC_RB_WPTR", value)
        if self.runs():
            self.wake()
        else:
            self.wrong(f"doorbell {value:#x} while the ring is off")
        return True

    # ---- packets

    def length(self, word: int) -> int:
        return 2

    def execute(self, words: Words) -> str:
        packet, value = Packet.of(words[0]), words[1]
        if packet.type == WRITE:
            self._write(packet.register, value)
        elif packet.type in (READ_MEMORY, READ_REGISTER, WAIT_COMMAND):
            return self._condition(packet, value)
        elif packet.type == TRAP:
            self._trap()
        elif packet.type != NOP:
            raise BadPacket(f"packet {words[0]:#x}")
        return ""

    def _condition(self, packet: Packet, mask: int) -> str:
        """Compared with REF_DATA; the numbers as in WAIT_REG_MEM. # guess: so 0, which the kernel uses, always holds"""
        if packet.type == READ_MEMORY:
            place = self._inner.get(MEM_RD_HIGH, 0) << 32 | self._inner.get(MEM_RD_LOW, 0)
            seen = self.read_words(self.vmid(), place & ~3, 1)[0]
        else:
            seen = self._read(packet.register)
        reference = self.get("UVD_JRBC_IB_REF_DATA" if self.inside_ib else "UVD_JRBC_RB_REF_DATA")
        if packet.condition > 6:
            raise BadPacket(f"condition {packet.condition}")
        if compare(packet.condition, seen & mask, reference):
            return ""
        return f"register {packet.register:#x}: {seen & mask:#x} is not yet right against {reference:#x}"

    def _trap(self) -> None:
        bit = DJRBC0_BIT + self.index + (12 if self.index >= FIRST_CORES else 0)
        if self.gpu.registers.get(f"JPEG[{self.aid}].JPEG_SYS_INT_EN") >> bit & 1:
            self.interrupt(SOURCES[self.index])

    # ---- registers by the core's own numbers

    def _own(self, number: int) -> int | None:
        """The address in BAR5, if the model has such a register."""
        if not JRBC_FIRST <= number < JRBC_FIRST + JRBC_COUNT:
            return None
        address = self._first + number - JRBC_FIRST
        return address if address in self.gpu.registers.layout.entries else None

    def _read(self, number: int) -> int:
        if number == EXTERNAL_DATA:
            return self.gpu.registers.read(self._external(), "jpeg")
        own = self._own(number)
        return self._inner.get(number, 0) if own is None else self.gpu.registers.read(own, "jpeg")

    def _write(self, number: int, value: int) -> None:
        own = self._own(number)
        if own is not None:
            self.gpu.registers.write(own, value, "jpeg")
        elif number == EXTERNAL_DATA:
            self.gpu.registers.write(self._external(), value, "jpeg")
        elif number in DECODER or number in (MEM_RD_LOW, MEM_RD_HIGH, EXTERNAL_ADDRESS):
            self._decoder(number, value)
        else:
            raise BadPacket(f"register {number:#x}")

    def _decoder(self, number: int, value: int) -> None:
        if number == GPCOM_COMMAND and value == GPCOM_STORE:
            address = self.get64("UVD_LMI_JRBC_RB_MEM_WR")
            self.write_word(self.vmid(), address, self._inner.get(GPCOM_DATA0, 0))
        elif number == GPCOM_COMMAND or (self.inside_ib and number in DECODER):
            self.gpu.registers.unknown[("jpeg-register", number)] += 1
            self.wrong(f"register {number:#x} = {value:#x}: decoding is not modelled, it leaves no picture")
        self._inner[number] = value

    def _external(self) -> int:
        return self.register(self._inner.get(EXTERNAL_ADDRESS, 0) >> 2)

    def start_buffer(self, dwords: int) -> None:
        """A write of IB_SIZE."""
        vmid = Regs.UVD_JMI0_UVD_LMI_JRBC_IB_VMID.kind(self.get("UVD_LMI_JRBC_IB_VMID")).IB_RD_VMID
        self.enter(self.get64("UVD_LMI_JRBC_IB"), dwords, vmid)


class Jpeg:
    """All cores of all AIDs."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self._cores: list[list[Core]] = []

    @property
    def cores(self) -> list[list[Core]]:
        """By AID; made when first asked for: in most models nobody does."""
        if not self._cores:
            count = CORES[self._gpu.chip.version("VCN")]
            self._cores = [[Core(self._gpu, aid, index) for index in range(count)] for aid in range(VCNS)]
        return self._cores

    def power_on(self) -> None:
        for cores in self._cores:
            for core in cores:
                core.reset()

    def doorbell(self, unit: int, index: int, value: int) -> bool:
        """A doorbell routed to an AID, by its dword in BAR2; False: no core listens there."""
        return any(core.doorbell(index, value) for core in self.cores[unit])

    def _core(self, entry: Entry) -> Core:
        """Registers of cores have the core's number at their end."""
        return self.cores[entry.instance][int(entry.name.rpartition("[")[2][:-1])]

    # ---- registers

    def ring_control(self, entry: Entry, value: int) -> None:
        """RB_CNTL: the pointers are taken over when fetching begins."""
        core = self._core(entry)
        self._gpu.registers.store(entry, value)
        if core.runs():
            core.move(core.get("UVD_JRBC_RB_RPTR"))
            core.wake()

    def read_pointer(self, entry: Entry, value: int) -> None:
        core = self._core(entry)
        if Regs.UVD_JRBC0_UVD_JRBC_RB_CNTL.kind(core.get("UVD_JRBC_RB_CNTL")).RB_RPTR_WR_EN:
            self._gpu.registers.store(entry, value)
            core.move(value)
        else:
            core.wrong(f"read pointer {value:#x} written without RB_RPTR_WR_EN")

    def write_pointer(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        self._core(entry).wake()

    def status(self, entry: Entry) -> int:
        return self._core(entry).status()

    def buffer(self, entry: Entry, value: int) -> None:
        """IB_SIZE, by a packet of the core itself."""
        self._gpu.registers.store(entry, value)
        core = self._core(entry)
        if core.at_work:
            core.start_buffer(value)

    def clean(self, entry: Entry) -> int:
        """JMI_CLIENT_CLEAN_STATUS: what was told to stand still has nothing under way."""
        return self._core(entry).get("UVD_JMI_CLIENT_STALL") & ALL_CLIENTS

    def core_reset(self, entry: Entry, value: int) -> None:
        """JPEG_CORE_RST_CTRL: a bit for each core."""
        self._gpu.registers.store(entry, value)
        for core in self.cores[entry.instance]:
            if value >> core.index & 1:
                core.reset()


def core_offset(index: int) -> int:
    """From a register of core 0 to that of another (jpeg_v4_0_3_core_reg_offset, jpeg_v5_0_1_core_reg_offset)."""
    if index == 0:
        return 0
    return 0x40 * index - (0xC80 if index <= FIRST_CORES else 0x440)


_PLAIN = (
    "UVD_JPEG_POWER_STATUS",
    "UVD_JPEG_INT_STAT",
    "UVD_JPEG_PITCH",
    "UVD_JPEG_UV_PITCH",
    "JPEG_DEC_*",
    "JPEG_SYS_INT_EN",
    "UVD_JMI_CNTL",
    "UVD_RAS_JPEG?_STATUS",
)
_PLAIN_4 = ("JPEG_CGC_*", "JPEG_SYS_INT_STATUS", "VCN_UE_ERR_STATUS_??_JPEG*")
_HOOKS: dict[str, dict[str, Any]] = {
    "UVD_JRBC_RB_CNTL": {"on_write": Jpeg.ring_control},
    "UVD_JRBC_RB_RPTR": {"on_write": Jpeg.read_pointer},
    "UVD_JRBC_RB_WPTR": {"on_write": Jpeg.write_pointer},
    "UVD_JRBC_STATUS": {"on_read": Jpeg.status},
    "UVD_JRBC_IB_SIZE": {"on_write": Jpeg.buffer},
    "UVD_JMI_CLIENT_CLEAN_STATUS": {"on_read": Jpeg.clean},
}


def declare(layout: Layout, chip: Chip) -> None:
    registers = version(chip).registers
    cores = CORES[chip.version("VCN")]
    for aid, bases in enumerate(chip.bases("VCN")):
        unit = layout.unit(registers, f"JPEG[{aid}]", bases, "jpeg", aid)
        unit.plain(_PLAIN, {"UVD_JMI_CNTL": 1, "UVD_JPEG_POWER_STATUS": 1})  # guess: in reset, gated
        if registers is Regs:
            unit.plain(_PLAIN_4)
        # The cores and their reset are where vcn_4_0_3 has them in 5.0.1, too (jpeg_v5_0_1.h, vcn_5_0_0_offset.h).
        common = layout.unit(Regs, f"JPEG[{aid}]", bases, "jpeg", aid)
        common.active(Regs.JPEG_CORE_RST_CTRL, on_write=Jpeg.core_reset)
        for core in range(cores):
            doorbell = unit.address(registers.VCN_JPEG_DB_CTRL) + _doorbell_offset(chip, core)
            layout.add(Entry(f"JPEG[{aid}].VCN_JPEG_DB_CTRL[{core}]", doorbell, 0, "jpeg", aid))
            for name, register in Regs.REGISTERS.items():
                prefix = next((known for known in _CORE_PREFIXES if name.startswith(known)), "")
                if prefix:
                    short = name.removeprefix(prefix)
                    address = common.address(register) + core_offset(core)
                    entry = Entry(f"JPEG[{aid}].{short}[{core}]", address, 0, "jpeg", aid, **_HOOKS.get(short, {}))
                    layout.add(entry)


def _doorbell_offset(chip: Chip, core: int) -> int:
    """From VCN_JPEG_DB_CTRL to that of another core: jpeg_v4_0_3_hw_init, jpeg_v5_0_1_hw_init."""
    if chip.version("VCN") == (5, 0, 1):
        return core
    return core - 0x15 if core else 0
