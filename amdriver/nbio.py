"""NBIO 7.9: the way in from PCI. Opens VRAM and doorbells to the host and routes doorbells to IH, SDMA and CP.

Source: Linux v7.3 nbio_v7_9.c (init_registers, sdma_doorbell_range, ih_doorbell_range, enable_doorbell_aperture,
ih_control, remap_hdp_registers), soc15.c (soc15_common_hw_init: the order), amdgpu_doorbell.h (layout 1);
amd-bringup.md section 4.

Whole values are written where they are known. Registers beyond BAR5 go through SMN, all of one AID in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from base.errors import DeviceLost, Unavailable
from pcibus.transport import ALL_ONES
from registers.amd.nbio_7_9_0 import Nbio as Registers

if TYPE_CHECKING:
    from amdriver.gpu import Gpu
    from registers.core import Bound

# Doorbell numbers count 64-bit units; registers and the offsets in BAR2 count dwords, so they hold twice the number.
SDMA_DOORBELL: Final = 0x100
SDMA_DOORBELL_STEP: Final = 10
IH_DOORBELL: Final = 0x1A0
RETRY_CAM_DOORBELL: Final = IH_DOORBELL + 3
HDP_FLUSH_OFFSET: Final = 0x1A000  # a hole in BAR5 that the HDP flush registers are shown in (MMIO_REG_HOLE_OFFSET)

_SDMA_RANGE: Final = 20  # dwords that one SDMA engine has
_IH_RANGE: Final = 8
_ALL_DOORBELLS: Final = 0xFFFFF
_INTERRUPT_MONITORS: Final = 0x7FF
_AID_FENCE: Final = Registers.XCC_DOORBELL_FENCE.kind.of(SHUB_SLV_MODE=1).value


@dataclass(frozen=True, slots=True)
class _Port:
    """Through which port of the S2A the doorbells of one engine leave; `awid` is also the range offset."""

    entry: int
    awid: int
    address: int


# By the number of the SDMA engine within its AID.
_SDMA_PORTS: Final = (_Port(1, 0xE, 1), _Port(2, 0x8, 2), _Port(5, 0x9, 8), _Port(6, 0xA, 9))
_IH_PORT: Final = _Port(3, 0, 0)


def sdma_doorbell(engine: int) -> int:
    """Doorbell dword of an SDMA engine, by physical number: what DOORBELL_OFFSET holds; times 4, its place in BAR2."""
    return 2 * (SDMA_DOORBELL + SDMA_DOORBELL_STEP * engine)


def ih_doorbell() -> int:
    """Doorbell dword of the interrupt ring."""
    return 2 * IH_DOORBELL


@dataclass(frozen=True, slots=True)
class RasState:
    """Errors that the hardware has raised towards the host; `fatal` needs a reset of the whole device."""

    controller: bool
    fatal: bool


class Nbio:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.regs = gpu.block(Registers, "NBIF")

    def sw_init(self) -> None:
        """There is nothing to allocate."""

    def hw_init(self) -> None:
        """Open VRAM and doorbells, and route the doorbells, before any of these blocks is started."""
        self._leave_baco()
        self.regs.BIF_BX0_BIF_FB_EN.write(FB_READ_EN=1, FB_WRITE_EN=1)
        self.regs.BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL.write(HDP_FLUSH_OFFSET)
        self.regs.BIF_BX0_REMAP_HDP_REG_FLUSH_CNTL.write(HDP_FLUSH_OFFSET + 4)
        self.regs.RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN.write(BIF_DOORBELL_APER_EN=1)
        self.gpu.access.smn_write_all(self._aid0_writes())
        for aid in self._aids():
            if aid:
                self.gpu.access.smn_write_all(self._aid_writes(aid), aid)
        self._check_memory()

    def hw_fini(self) -> None:
        """Doorbells off, also those that the GPU rings itself."""
        self.regs.RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN.write(0)
        self.regs.BIF_BX_PF0_DOORBELL_SELFRING_GPA_APER_CNTL.write(0)

    # ---- what it tells

    def memsize_mib(self) -> int:
        """VRAM in MiB; all ones when the registers are dead."""
        return self.regs.RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE.read().value

    def ras(self) -> RasState:
        """Errors signalled to the host."""
        told = self.regs.BIF_BX0_BIF_DOORBELL_INT_CNTL.read()
        return RasState(bool(told.RAS_CNTLR_INTERRUPT_STATUS), bool(told.RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS))

    def compute_partition(self) -> int:
        """0 SPX, 1 DPX, 2 TPX, 3 QPX, 4 CPX."""
        return self.regs.BIF_BX_PF0_PARTITION_COMPUTE_STATUS.read().PARTITION_MODE

    def memory_partitions(self) -> int:
        """NPS: how many parts the memory is cut into; 0: not told."""
        modes = self.regs.BIF_BX_PF0_PARTITION_MEM_STATUS.read().NPS_MODE
        return (modes & -modes).bit_length()

    # ---- for IH, whose own setting up this is part of

    def setup_interrupts(self) -> None:
        """Requests of the interrupt ring: no dummy read that the host did not ask for, snooped."""
        self.regs.BIF_BX0_INTERRUPT_CNTL.modify(IH_DUMMY_RD_OVERRIDE=0, IH_REQ_NONSNOOP_EN=0)

    # ---- inside

    def _aids(self) -> list[int]:
        mask = self.gpu.ip.aid_mask
        return [aid for aid in range(mask.bit_length()) if mask >> aid & 1]

    def _leave_baco(self) -> None:
        """Each NBIF instance, of which some share their registers: bus and memory are on, whatever an earlier driver left."""
        seen = set()
        for instance in self.gpu.ip.active("NBIF"):
            regs = self.gpu.block(Registers, "NBIF", instance.instance)
            baco = regs.BIF_BX0_BACO_CNTL
            if baco.address in seen:
                continue
            seen.add(baco.address)
            value = baco.read()
            if value.BACO_EN or value.BACO_DUMMY_EN:
                baco.write(value.replace(BACO_EN=0, BACO_DUMMY_EN=0))

    def _aid0_writes(self) -> list[tuple[int, int]]:
        regs = self.regs
        fence = 0xFF & ~self.gpu.ip.xcc_mask
        writes = [
            _smn(regs.XCC_DOORBELL_FENCE, fence),
            _smn(regs.BIFC_GFX_INT_MONITOR_MASK, _INTERRUPT_MONITORS),
            _smn(regs.BIFC_DOORBELL_ACCESS_EN_PF, _ALL_DOORBELLS),
            self._control(0, ih_doorbell(), _IH_RANGE),
            self._port(_IH_PORT, _IH_RANGE),
        ]
        for engine in self.gpu.ip.active("SDMA0"):
            aid, number = divmod(engine.instance, 4)
            writes.append(self._control(1 + 4 * aid + number, sdma_doorbell(engine.instance), _SDMA_RANGE))
        return writes + self._sdma_ports(0)

    def _aid_writes(self, aid: int) -> list[tuple[int, int]]:
        return [_smn(self.regs.XCC_DOORBELL_FENCE, _AID_FENCE), *self._sdma_ports(aid)]

    def _sdma_ports(self, aid: int) -> list[tuple[int, int]]:
        numbers = [ip.instance % 4 for ip in self.gpu.ip.active("SDMA0") if ip.instance // 4 == aid]
        return [self._port(_SDMA_PORTS[number], _SDMA_RANGE) for number in numbers]

    def _control(self, entry: int, first_dword: int, size: int) -> tuple[int, int]:
        """Which doorbells entry n of the control table takes; the entries lie side by side."""
        first = self.regs.DOORBELL0_CTRL_ENTRY_0
        value = first.kind.of(BIF_DOORBELL0_RANGE_OFFSET_ENTRY=first_dword, BIF_DOORBELL0_RANGE_SIZE_ENTRY=size)
        return (first.address + entry) * 4, value.value

    def _port(self, port: _Port, size: int) -> tuple[int, int]:
        """Entries of the S2A lie side by side too, and have the same fields."""
        first = self.regs.S2A_DOORBELL_ENTRY_0_CTRL
        value = first.kind.of(
            S2A_DOORBELL_PORT0_ENABLE=1,
            S2A_DOORBELL_PORT0_AWID=port.awid,
            S2A_DOORBELL_PORT0_RANGE_OFFSET=port.awid,
            S2A_DOORBELL_PORT0_RANGE_SIZE=size,
            S2A_DOORBELL_PORT0_AWADDR_31_28_VALUE=port.address,
        )
        return (first.address + port.entry) * 4, value.value

    def _check_memory(self) -> None:
        register = self.regs.RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE
        size_mib = register.read().value
        if 0 < size_mib < ALL_ONES:
            return
        kind = DeviceLost if size_mib == ALL_ONES and self.gpu.is_lost() else Unavailable
        raise kind(
            "opening the way to VRAM",
            expected="a size in RCC_CONFIG_MEMSIZE",
            seen=f"{size_mib:#010x}",
            where=register.where,
            next_step="gpumend probe",
        )


def _smn(register: Bound[Any], value: int) -> tuple[int, int]:
    return register.address * 4, value
