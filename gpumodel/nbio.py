"""NBIO: memory size, scratch registers, and the index/data windows to VRAM and to the SMN space.

Source: Linux v7.3 amdgpu/nbio_v7_9.c, amdgpu_discovery.c (fixed addresses), amdgpu_reg_access.c (SMN by PCIE_INDEX2);
hardware/amd-bringup.md sections 2 and 4; research/amdgpu-on-model.md items 1 to 10, 71. Addresses in dwords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel import pciconfig
from gpumodel.chips import AIDS, Chip
from gpumodel.registerfile import Entry, Layout
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

_SCRATCH = ("BIF_BX0_*SCRATCH_*",)
_PLAIN = (
    "RCC_DEV0_EPF0_RCC_IOV_FUNC_IDENTIFIER",
    "RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN",
    "RCC_DEV0_EPF0_RCC_ERR_LOG",
    "RCC_STRAP0_RCC_DEV0_EPF0_STRAP0",
    "RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE",
    "BIF_BX0_BIF_FB_EN",
    "BIF_BX0_BACO_CNTL",
    "BIF_BX_PF0_PARTITION_*",
    "BIF_BX_PF0_BIF_BME_STATUS",
    "BIF_BX_PF0_BIF_ATOMIC_ERR_LOG",
    "RAS_GLOBAL_STATUS_*",
)
_PER_AID = ("BIF_BX0_BACO_CNTL", "RAS_GLOBAL_STATUS_*")


class Nbio:
    """The windows. Reads and writes of a data register reach whatever its index registers name at that moment."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu

    def power_on(self) -> None:
        self.show_link(pciconfig.LINK_SPEED, pciconfig.LINK_WIDTH)

    def show_link(self, speed: int, width: int) -> None:
        """What the GPU's own port says of the link; `speed` 1 to 5 as in config space."""
        self._gpu.registers.set("PCIE.LC_LINK_WIDTH_CNTL", WIDTH_CODES.index(width) << WIDTH_SHIFT)
        self._gpu.registers.set("PCIE.LC_SPEED_CNTL", (speed - 1) << RATE_SHIFT)

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
    }
    unit = layout.unit(Regs, "NBIO[0]", chip.bases("NBIF")[0], "nbio")
    unit.plain((*_PLAIN, *_SCRATCH), resets)
    unit.plain(("BIF_BX_PF0_MM_INDEX", "BIF_BX_PF0_MM_INDEX_HI"))
    unit.plain(("BIF_BX0_PCIE_INDEX2", "BIF_BX0_PCIE_INDEX2_HI"))
    unit.plain(("BIF_BX_PF0_RSMU_INDEX", "BIF_BX_PF0_RSMU_INDEX_HI"))
    unit.active(Regs.BIF_BX_PF0_MM_DATA, on_read=Nbio.mm_read, on_write=Nbio.mm_write)
    unit.active(Regs.BIF_BX0_PCIE_DATA2, on_read=Nbio.smn_read, on_write=Nbio.smn_write)
    unit.active(Regs.BIF_BX_PF0_RSMU_DATA, on_read=Nbio.rsmu_read, on_write=Nbio.rsmu_write)
    for aid in range(1, AIDS):
        layout.unit(Regs, f"NBIO[{aid}]", chip.bases("NBIF")[aid], "nbio", aid, aid).plain(_PER_AID)
    layout.add(Entry("PCIE.LC_LINK_WIDTH_CNTL", LINK_WIDTH_CNTL // 4, 0, "nbio", 0))
    layout.add(Entry("PCIE.LC_SPEED_CNTL", LINK_SPEED_CNTL // 4, 0, "nbio", 0))
    for word in range(pciconfig.MSIX_VECTORS * 4):
        name = f"MSIX.VECTOR{word // 4}_{('ADDR_LO', 'ADDR_HI', 'DATA', 'CONTROL')[word % 4]}"
        masked = int(word % 4 == 3)  # vector control after reset: masked
        layout.add(Entry(name, pciconfig.MSIX_TABLE // 4 + word, masked, "nbio", 0))
    layout.add(Entry("MSIX.PENDING_LO", pciconfig.MSIX_PENDING // 4, 0, "nbio", 0))
    layout.add(Entry("MSIX.PENDING_HI", pciconfig.MSIX_PENDING // 4 + 1, 0, "nbio", 0))
