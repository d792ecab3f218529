"""NBIO: memory size, scratch registers, the index/data windows to VRAM and to the SMN space, doorbells, HDP flushes.

Source: Linux v7.3 amdgpu/nbio_v7_9.c, amdgpu_discovery.c (fixed addresses), amdgpu_reg_access.c (SMN by PCIE_INDEX2),
amdgpu_hdp.c; hardware/amd-bringup.md sections 2 and 4; research/amdgpu-on-model.md items 1 to 11, 71. Addresses in
dwords; doorbells, too, are counted in dwords of BAR2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpumodel import pciconfig
from gpumodel.chips import AIDS, SDMAS, Chip
from gpumodel.registerfile import Entry, Layout
from registers.amd.hdp_4_4_2 import Hdp
from registers.amd.nbio_7_9_0 import Nbio as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

MIB = 1 << 20
ALL_ONES = 0xFFFFFFFF
ASIC_INIT_DONE = 0x200  # BIOS_SCRATCH_7, ATOM_S7_ASIC_INIT_COMPLETE_MASK: the board was posted
NPS1 = 1 << 4  # PARTITION_MEM_STATUS: one-hot from bit 4
INDEX_HI_BITS = 0xFF  # SMN address bits 39:32

# SMN byte addresses of the link as the GPU sees it: smu_v13_0_6_ppt.c
LINK_WIDTH_CNTL = 0x1A340288
LINK_SPEED_CNTL = 0x1A340290
WIDTH_CODES = (0, 1, 2, 4, 8, 12, 16)  # LC_LINK_WIDTH_RD, bits 6:4
WIDTH_SHIFT = 4
RATE_SHIFT = 5  # LC_CURRENT_DATA_RATE: 0 is 2.5 GT/s

# Doorbell routing: entry 0 of DOORBELL0_CTRL is the interrupt ring's, 1 to 16 those of the SDMA engines, 17 to 20 of VCN.
# Behind it, on the AID of the receiver, an S2A entry passes the doorbell on: its number, AWID, AWADDR[31:28].
# Only the lower 12 bits of the address count (amdgpu_amdkfd.c, amdgpu_amdkfd_device_init): pages of processes look alike.
CTRL_ENTRIES = 21
ROUTED_DWORDS = 1024
S2A_ENTRIES = 16
FIRST_VCN_ENTRY = 17
SDMA_PORTS = ((1, 0xE, 1), (2, 0x8, 2), (5, 0x9, 8), (6, 0xA, 9))
IH_PORT = (3, 0x0, 0)
VCN_PORT = (4, 0x4, 4)
HDP_MEM_FLUSH = 0x385C  # reset value of REMAP_HDP_MEM_FLUSH_CNTL, in bytes: nbio_2_3_default.h, an older relative
HDP_REG_FLUSH = 0x3858
DOORBELLS_ALLOWED = 0xFFFFF  # guess: silicon comes with it, the kernel's comment speaks of pre-silicon

_SCRATCH = ("BIF_BX0_*SCRATCH_*",)
_PLAIN = (
    "RCC_DEV0_EPF0_RCC_IOV_FUNC_IDENTIFIER",
    "RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN",
    "RCC_DEV0_EPF0_RCC_ERR_LOG",
    "RCC_STRAP0_RCC_DEV0_EPF0_STRAP0",
    "RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE",
    "BIF_BX0_BIF_FB_EN",
    "BIF_BX0_BACO_CNTL",
    "BIF_BX0_INTERRUPT_CNTL",
    "BIF_BX0_INTERRUPT_CNTL2",
    "BIF_BX0_BIF_DOORBELL_CNTL",
    "BIF_BX0_REMAP_HDP_*",
    "BIF_BX_PF0_DOORBELL_SELFRING_*",
    "BIF_BX_PF0_GPU_HDP_FLUSH_DONE",
    "BIF_BX_PF0_PARTITION_*",
    "BIF_BX_PF0_BIF_BME_STATUS",
    "BIF_BX_PF0_BIF_ATOMIC_ERR_LOG",
    "BIFC_GFX_INT_MONITOR_MASK",
    "BIFC_DOORBELL_ACCESS_EN_PF",
    "XCC_DOORBELL_FENCE",
    "RAS_GLOBAL_STATUS_*",
)
_HDP = (
    "HDP_NONSURFACE_BASE*",
    "HDP_HOST_PATH_CNTL",
    "HDP_MISC_CNTL",
    "HDP_MEM_POWER_CTRL",
    "HDP_EDC_CNT",
    "HDP_VERSION",
)
_PER_AID = (
    "BIF_BX0_BACO_CNTL",
    "BIFC_GFX_INT_MONITOR_MASK",
    "BIFC_DOORBELL_ACCESS_EN_PF",
    "XCC_DOORBELL_FENCE",
    "RAS_GLOBAL_STATUS_*",
)


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a range of doorbells goes: to "ih", "sdma" or "vcn", whose unit is `unit`; `why_lost` if it gets nowhere."""

    first: int
    last: int
    block: str
    unit: int
    why_lost: str = ""


class Nbio:
    """The windows: reads and writes of a data register reach whatever its index registers name at that moment.
    `hdp_flushes` counts what the host, or an engine, asked for."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.hdp_flushes = 0
        self._routes: tuple[_Route, ...] | None = None  # None: to be read from the registers again

    def power_on(self) -> None:
        self.hdp_flushes = 0
        self._routes = None
        self.show_link(pciconfig.LINK_SPEED, pciconfig.LINK_WIDTH)

    def show_link(self, speed: int, width: int) -> None:
        """What the GPU's own port says of the link; `speed` 1 to 5 as in config space."""
        self._gpu.registers.set("PCIE.LC_LINK_WIDTH_CNTL", WIDTH_CODES.index(width) << WIDTH_SHIFT)
        self._gpu.registers.set("PCIE.LC_SPEED_CNTL", (speed - 1) << RATE_SHIFT)

    # ---- doorbells

    def doorbell(self, offset: int, value: int, size: int) -> None:
        """A write of 4 or 8 bytes to BAR2. What no range claims goes to the command processors."""
        gpu = self._gpu
        index = offset >> 2
        enabled = gpu.registers.get("NBIO[0].RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN") & 1
        if not enabled or not self._take(index, value):
            gpu.registers.unknown[("doorbell", offset)] += 1
            if not enabled:
                gpu.wrong("nbio", f"doorbell {offset:#x} while the aperture is off")

    def _take(self, index: int, value: int) -> bool:
        gpu = self._gpu
        place = index & ROUTED_DWORDS - 1
        route = next((known for known in self._known_routes() if known.first <= place <= known.last), None)
        if route is None:
            return gpu.gfx.doorbell(index, value)
        if route.why_lost:
            gpu.wrong("nbio", f"doorbell {index * 4:#x} for {route.block} {route.unit} gets lost: {route.why_lost}")
            return False
        if route.block == "sdma":
            return gpu.sdma.doorbell(route.unit, index, value)
        if route.block == "vcn":
            return gpu.vcn.doorbell(route.unit, index, value) or gpu.jpeg.doorbell(route.unit, index, value)
        return route.block == "ih" and gpu.ih.doorbell(index, value)

    def rings_itself(self, bus_addr: int, data: bytes) -> bool:
        """A write of the device to the bus address that it takes for its own doorbells."""
        registers = self._gpu.registers
        if not registers.get("NBIO[0].BIF_BX_PF0_DOORBELL_SELFRING_GPA_APER_CNTL") & 1:
            return False
        low = registers.get("NBIO[0].BIF_BX_PF0_DOORBELL_SELFRING_GPA_APER_BASE_LOW")
        high = registers.get("NBIO[0].BIF_BX_PF0_DOORBELL_SELFRING_GPA_APER_BASE_HIGH")
        offset = bus_addr - (high << 32 | low)
        inside = 0 <= offset <= self._gpu.bars[2].size - len(data)
        if not inside or len(data) not in (4, 8) or offset % 4:
            return False
        self.doorbell(offset, int.from_bytes(data, "little"), len(data))
        return True

    def route_write(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        self._routes = None

    def _known_routes(self) -> tuple[_Route, ...]:
        if self._routes is None:
            self._routes = tuple(self._read_routes())
        return self._routes

    def _read_routes(self) -> list[_Route]:
        routes = []
        for number in range(CTRL_ENTRIES):
            register = getattr(Regs, f"DOORBELL0_CTRL_ENTRY_{number}")
            control = Regs.DOORBELL0_CTRL_ENTRY_0.kind(self._gpu.registers.get(f"NBIO[0].{register.name}"))
            size = control.BIF_DOORBELL0_RANGE_SIZE_ENTRY
            if not size:
                continue
            first = control.BIF_DOORBELL0_RANGE_OFFSET_ENTRY
            block, unit, aid, port = _receiver(number)
            routes.append(_Route(first, first + size - 1, block, unit, self._port_problem(aid, port)))
        return routes

    def _port_problem(self, aid: int, port: tuple[int, int, int]) -> str:
        """Why the S2A entry does not pass doorbells on to its unit; nothing if it does."""
        number, awid, awaddr = port
        name = f"S2A_DOORBELL_ENTRY_{number}_CTRL"
        control = Regs.S2A_DOORBELL_ENTRY_1_CTRL.kind(self._gpu.registers.get(f"NBIO[{aid}].{name}"))
        if not control.S2A_DOORBELL_PORT1_ENABLE or not control.S2A_DOORBELL_PORT1_RANGE_SIZE:
            return f"{name} of AID {aid} is off"
        named = (control.S2A_DOORBELL_PORT1_AWID, control.S2A_DOORBELL_PORT1_AWADDR_31_28_VALUE)
        if named != (awid, awaddr):
            return f"{name} of AID {aid} names another receiver"
        return ""

    # ---- HDP: the model has no cache between BAR0 and memory, so that a flush is only counted

    def hdp_flush(self, entry: Entry, value: int) -> None:
        self.hdp_flushes += 1

    def hdp_request(self, entry: Entry, value: int) -> None:
        """Engines ask by a bit each and wait until the same bit is in GPU_HDP_FLUSH_DONE."""
        self._gpu.registers.store(entry, value)
        self._gpu.registers.set("NBIO[0].BIF_BX_PF0_GPU_HDP_FLUSH_DONE", value)
        self.hdp_flushes += 1

    def take_unlisted(self, address: int) -> bool:
        """A write to an address without a register: the flush registers lie where the driver put them."""
        registers = self._gpu.registers
        for what in ("MEM", "REG"):
            if registers.get(f"NBIO[0].BIF_BX0_REMAP_HDP_{what}_FLUSH_CNTL") >> 2 == address:
                self.hdp_flushes += 1
                return True
        return False

    # MM_INDEX: bit 31 means VRAM, else a byte offset in the register space.

    def mm_read(self, entry: Entry) -> int:
        index = self._gpu.registers.get("NBIO[0].BIF_BX_PF0_MM_INDEX")
        if index >> 31:
            return self._gpu.vram_read32(self._vram_offset(index), "mm-window")
        return self._through(index >> 2, "mm-window")

    def mm_write(self, entry: Entry, value: int) -> None:
        index = self._gpu.registers.get("NBIO[0].BIF_BX_PF0_MM_INDEX")
        if index >> 31:
            self._gpu.vram_write32(self._vram_offset(index), value, "mm-window")
        else:
            self._through(index >> 2, "mm-window", value)

    def _vram_offset(self, index: int) -> int:
        high = self._gpu.registers.get("NBIO[0].BIF_BX_PF0_MM_INDEX_HI")
        return high << 31 | index & 0x7FFFFFFC

    # PCIE_INDEX2/DATA2 and RSMU_INDEX/DATA: an SMN byte address of 40 bits.

    def smn_read(self, entry: Entry) -> int:
        return self._through(self._smn("NBIO[0].BIF_BX0_PCIE_INDEX2"), "smn")

    def smn_write(self, entry: Entry, value: int) -> None:
        self._through(self._smn("NBIO[0].BIF_BX0_PCIE_INDEX2"), "smn", value)

    def rsmu_read(self, entry: Entry) -> int:
        return self._through(self._smn("NBIO[0].BIF_BX_PF0_RSMU_INDEX"), "rsmu")

    def rsmu_write(self, entry: Entry, value: int) -> None:
        self._through(self._smn("NBIO[0].BIF_BX_PF0_RSMU_INDEX"), "rsmu", value)

    def _smn(self, index: str) -> int:
        low = self._gpu.registers.get(index)
        high = self._gpu.registers.get(f"{index}_HI") & INDEX_HI_BITS
        return (high << 32 | low) >> 2

    def _through(self, address: int, path: str, value: int | None = None) -> int:
        """A read, or a write of `value`, behind a window. A window cannot look into itself."""
        registers = self._gpu.registers
        entry = registers.layout.entries.get(address)
        if entry is not None and entry.on_read in _WINDOWS:
            registers.unknown[(f"{path}-{'read' if value is None else 'write'}", address * 4)] += 1
            return 0
        if value is None:
            return registers.read(address, path)
        registers.write(address, value, path)
        return value


def _receiver(number: int) -> tuple[str, int, int, tuple[int, int, int]]:
    """Block, unit, AID and S2A port behind an entry of DOORBELL0_CTRL."""
    if number == 0:
        return "ih", 0, 0, IH_PORT
    if number >= FIRST_VCN_ENTRY:
        return "vcn", number - FIRST_VCN_ENTRY, number - FIRST_VCN_ENTRY, VCN_PORT
    engine = number - 1
    each = SDMAS // AIDS
    return "sdma", engine, engine // each, SDMA_PORTS[engine % each]


_WINDOWS = (Nbio.mm_read, Nbio.smn_read, Nbio.rsmu_read)


def declare(layout: Layout, chip: Chip) -> None:
    """The registers of NBIO of AID 0, in BAR5, and of the other AIDs, by SMN."""
    resets = {
        "RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE": chip.vram_size // MIB,
        "RCC_STRAP0_RCC_DEV0_EPF0_STRAP0": 1 << 28 | 1 << 24 | chip.device_id,  # enabled, stepping 1
        "BIF_BX0_BIF_FB_EN": 3,
        "BIF_BX0_BIOS_SCRATCH_7": ASIC_INIT_DONE,
        "BIF_BX_PF0_PARTITION_MEM_STATUS": NPS1,
        "BIF_BX_PF0_PARTITION_MEM_CAP": 1,
        "BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL": HDP_MEM_FLUSH,
        "BIF_BX0_REMAP_HDP_REG_FLUSH_CNTL": HDP_REG_FLUSH,
        "BIFC_DOORBELL_ACCESS_EN_PF": DOORBELLS_ALLOWED,
    }
    unit = layout.unit(Regs, "NBIO[0]", chip.bases("NBIF")[0], "nbio")
    unit.plain((*_PLAIN, *_SCRATCH), resets)
    unit.plain(("BIF_BX_PF0_MM_INDEX", "BIF_BX_PF0_MM_INDEX_HI"))
    unit.plain(("BIF_BX0_PCIE_INDEX2", "BIF_BX0_PCIE_INDEX2_HI"))
    unit.plain(("BIF_BX_PF0_RSMU_INDEX", "BIF_BX_PF0_RSMU_INDEX_HI"))
    unit.active(Regs.BIF_BX_PF0_MM_DATA, on_read=Nbio.mm_read, on_write=Nbio.mm_write)
    unit.active(Regs.BIF_BX0_PCIE_DATA2, on_read=Nbio.smn_read, on_write=Nbio.smn_write)
    unit.active(Regs.BIF_BX_PF0_RSMU_DATA, on_read=Nbio.rsmu_read, on_write=Nbio.rsmu_write)
    unit.active(Regs.BIF_BX_PF0_GPU_HDP_FLUSH_REQ, on_write=Nbio.hdp_request)
    layout.unit(Hdp, "HDP", chip.bases("HDP")[0], "nbio").plain(_HDP)
    for number in range(CTRL_ENTRIES):
        unit.active(getattr(Regs, f"DOORBELL0_CTRL_ENTRY_{number}"), on_write=Nbio.route_write)
    for aid in range(AIDS):
        other = layout.unit(Regs, f"NBIO[{aid}]", chip.bases("NBIF")[aid], "nbio", aid, aid)
        if aid:
            other.plain(_PER_AID, resets)
        for number in range(S2A_ENTRIES):
            other.active(getattr(Regs, f"S2A_DOORBELL_ENTRY_{number}_CTRL"), on_write=Nbio.route_write)
    layout.add(Entry("PCIE.LC_LINK_WIDTH_CNTL", LINK_WIDTH_CNTL // 4, 0, "nbio", 0))
    layout.add(Entry("PCIE.LC_SPEED_CNTL", LINK_SPEED_CNTL // 4, 0, "nbio", 0))
    for word in range(pciconfig.MSIX_VECTORS * 4):
        name = f"MSIX.VECTOR{word // 4}_{('ADDR_LO', 'ADDR_HI', 'DATA', 'CONTROL')[word % 4]}"
        masked = int(word % 4 == 3)  # vector control after reset: masked
        layout.add(Entry(name, pciconfig.MSIX_TABLE // 4 + word, masked, "nbio", 0))
    layout.add(Entry("MSIX.PENDING_LO", pciconfig.MSIX_PENDING // 4, 0, "nbio", 0))
    layout.add(Entry("MSIX.PENDING_HI", pciconfig.MSIX_PENDING // 4 + 1, 0, "nbio", 0))
