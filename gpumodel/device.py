"""One software GPU, and the Transport through which a driver reaches it.

What answers how: config space always, unless the device left the bus; BARs only while memory decoding is on, power is
D0 and the device still knows its BARs; everything else reads all ones and loses writes (PCI Express base specification).
BARs: hardware/amd-bringup.md section 1: 0 VRAM, 2 doorbells, 5 registers. Sizes in bytes."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from base.clock import Clock
from base.errors import GpumendError, Refused, Unavailable
from gpumodel import pciconfig, vbios
from gpumodel.chips import GIB, VENDOR_AMD, Chip, discovery_table
from gpumodel.faults import Reset, tensor
from gpumodel.gfx import Gfx
from gpumodel.gmc import Gmc
from gpumodel.ih import Ih
from gpumodel.jpeg import Jpeg
from gpumodel.memory import BusMemory, ModelDmaBuffer, Vram
from gpumodel.nbio import Nbio
from gpumodel.psp import Psp
from gpumodel.ras import Ras
from gpumodel.registerfile import Block, Layout, RegisterFile
from gpumodel.resets import Resets
from gpumodel.sdma import Sdma
from gpumodel.smu import Smu
from gpumodel.vcn import Vcn
from gpumodel.xgmi import Xgmi
from pcibus.transport import Bar, Can, FunctionInfo, LockHolder

if TYPE_CHECKING:
    from gpumodel.faults import ActiveFault
    from gpumodel.hive import Hive

ALL_ONES = 0xFFFFFFFF
MIB = 1 << 20
REGISTER_BAR_BYTES = 2 * MIB  # what a real MI300X reports
DOORBELL_BAR_BYTES = 2 * MIB  # guess
TABLE_FROM_END = 0x10000  # the discovery table starts 64 KiB before the end of VRAM
MEMORY_WINDOW = 1 << 45  # first bus address of the 64-bit BARs; each GPU has 1 TiB of it
REGISTER_WINDOW = 0xA000_0000  # first bus address of the 32-bit BARs; each GPU has 16 MiB of it
MOST_WRONGS = 256
BAR_DWORDS = frozenset((0x10, 0x14, 0x18, 0x1C, 0x24))
RESET_METHODS = {"flr": Reset.FLR, "bus": Reset.BUS_RESET, "any": Reset.FLR, "rescan": Reset.REMOVE_RESCAN}
RESET_PAUSE_S = 0.1  # drivers/pci/pci.c pcie_flr, pci_bridge_wait_for_secondary_bus
RESET_WAIT_S = 3.0  # the kernel waits 60 s (PCIE_RESET_READY_POLL_MS); a model that is still away then stays away
# What pci_save_state keeps: the header, the control words of PCI Express, MSI and MSI-X, the size of BAR0.
_SAVED = (
    *range(0, 0x40, 4),
    pciconfig.DEVICE_CONTROL,
    pciconfig.LINK_CONTROL,
    pciconfig.LINK_CONTROL2,
    pciconfig.MSI_CAP,
    pciconfig.MSIX_CAP,
    pciconfig.REBAR_CAP + 8,
)


def bars_of(chip: Chip, index: int) -> dict[int, Bar]:
    """BARs as assigned to the GPU at a place. BAR0 is the power of two that holds all VRAM."""
    vram = 1 << (chip.vram_size - 1).bit_length()
    first = MEMORY_WINDOW + index * 1024 * GIB
    return {
        0: Bar(0, first, vram, is_64bit=True, prefetchable=True),
        2: Bar(2, first + vram, DOORBELL_BAR_BYTES, is_64bit=True, prefetchable=True),
        5: Bar(5, REGISTER_WINDOW + index * 16 * MIB, REGISTER_BAR_BYTES),
    }


class ModelGpu:
    """The state of one GPU. `registers.unknown` lists what was touched and is not modelled."""

    def __init__(self, hive: Hive, index: int, layout: Layout, serial_capability: bool) -> None:
        self.hive = hive
        self.is_used = hive.used  # an earlier driver left it so; no more after a reset that boots the firmware
        self.bus_memory: BusMemory = hive.host_memory
        self.index = index
        self.chip = hive.chip
        self.bdf = self.chip.bdfs[index]
        self.serial = self.chip.serial(index)
        self.bars = bars_of(self.chip, index)
        self.vram = Vram(self.chip.vram_size, f"{self.chip.name}-{index}-vram")
        self.config = pciconfig.build(
            self.chip.device_id,
            VENDOR_AMD,
            self.bars,
            self.serial if serial_capability else None,
            vbios.SIZE if self.chip.has_vbios else 0,
        )
        self.fresh_config = self.config.copy()
        self.wrongs: list[str] = []
        self.lost_during = ""  # the stage at which the device leaves the bus; see stage
        self.clobbers_after_exit = (
            False  # a driver that is gone without having stopped the GPU costs the discovery table
        )
        self.nbio, self.psp, self.smu, self.gmc = Nbio(self), Psp(self), Smu(self), Gmc(self)
        self.gfx, self.sdma, self.xgmi, self.ras = Gfx(self), Sdma(self), Xgmi(self), Ras(self)
        self.ih, self.vcn, self.jpeg = Ih(self), Vcn(self), Jpeg(self)
        self.resets = Resets(self)
        self.blocks: dict[str, Block] = {
            "nbio": self.nbio,
            "psp": self.psp,
            "smu": self.smu,
            "gmc": self.gmc,
            "ih": self.ih,
            "gfx": self.gfx,
            "sdma": self.sdma,
            "xgmi": self.xgmi,
            "ras": self.ras,
            "vcn": self.vcn,
            "jpeg": self.jpeg,
        }
        self.registers = RegisterFile(layout, self.blocks)
        self.registers.take_unlisted = self.nbio.take_unlisted
        self.doorbells: dict[int, int] = {}  # byte offset: last value
        self.lost = False  # gone from the bus
        self.lost_bars: set[int] = set()  # config offsets of BARs that the device forgot, whatever config space shows
        self.host_keeps_bars = False  # a virtual machine monitor answers for the BAR registers, and never loses them
        self.faults: list[ActiveFault] = []
        self.held_by: LockHolder | None = None  # somebody else who holds the lock
        self._lock = threading.RLock()
        self._locked = 0  # how often by who has it

    @property
    def clock(self) -> Clock:
        return self.hive.clock

    @property
    def unknown_accesses(self) -> Counter[tuple[str, int]]:
        """How often what was touched that the model does not know: (kind, byte address or number)."""
        return self.registers.unknown

    @property
    def decodes(self) -> bool:
        """Whether BARs answer at all."""
        config = self.config
        away = self.lost or self.resets.quiet
        return not (away or self.lost_bars or config.power_state) and config.memory_enabled

    @property
    def table_offset(self) -> int:
        """Where boot firmware puts the discovery table in VRAM."""
        return self.chip.vram_size - TABLE_FROM_END

    def power_on(self) -> None:
        """Registers as after power-on and boot firmware (and, if used, an earlier driver); a fresh discovery table."""
        self.resets.power_on()
        self.clear_registers()
        self.write_table()

    def clear_registers(self) -> None:
        """Every block as after power-on."""
        self.registers.values.clear()
        self.lost_during = ""
        for block in self.blocks.values():
            block.power_on()

    def write_table(self) -> None:
        """What boot firmware does last: the discovery table into VRAM."""
        self.vram.write(self.table_offset, discovery_table(self.chip, self.index, self.hive.nodes))

    def clobber_table(self) -> None:
        """Somebody's data over it."""
        self.vram.write(self.table_offset, tensor(512))

    def wrong(self, block: str, text: str) -> None:
        """Remember that a driver did what it must not; it learns of it only as it would from hardware."""
        if len(self.wrongs) < MOST_WRONGS:
            self.wrongs.append(f"{block}: {text}")

    def stage(self, name: str) -> None:
        """A block has got to a stage of bring-up; one of them may be the last."""
        if self.lost_during and name == self.lost_during:
            self.lost = True

    def vram_read32(self, offset: int, path: str) -> int:
        """All ones beyond the end of VRAM, and counted: what real hardware answers there is not known."""
        if offset + 4 > self.vram.size:
            self.registers.unknown[(f"{path}-read", offset)] += 1
            return ALL_ONES
        return int.from_bytes(self.vram.read(offset, 4), "little")

    def vram_write32(self, offset: int, value: int, path: str) -> None:
        if offset + 4 > self.vram.size:
            self.registers.unknown[(f"{path}-write", offset)] += 1
        else:
            self.vram.write(offset, value.to_bytes(4, "little"))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Never waits: on a virtual clock the holder could not run on to give the lock back."""
        if self.held_by is not None:
            raise _held(self.bdf, self.held_by)
        if not self._lock.acquire(blocking=False):
            raise _held(self.bdf, LockHolder(f"lock of {self.bdf}", os.getpid(), "another thread of this process"))
        self._locked += 1
        try:
            yield
        finally:
            self._locked -= 1
            if self._locked == 0:
                self._let_go()
            self._lock.release()

    def _let_go(self) -> None:
        """Whoever had the device has given it up, or is gone."""
        if self.clobbers_after_exit and self.config.bus_master and self.psp.ring.size:
            self.clobber_table()


def _held(bdf: str, holder: LockHolder) -> Refused:
    who = f"process {holder.pid}" if holder.pid is not None else "an unknown process"
    return Refused(
        f"taking the lock of {bdf}",
        expected="nobody else holds it",
        seen=f"held by {who} {holder.command}".rstrip(),
        where=holder.path,
        next_step="wait for the holder, or end it",
    )


class ModelTransport:
    """The Transport of one software GPU (pcibus.transport)."""

    can = Can.CONFIG_EXTENDED | Can.CONFIG_WRITE | Can.MMIO | Can.DMA | Can.RESET

    def __init__(self, gpu: ModelGpu, name: str) -> None:
        self.gpu = gpu
        self.name = name

    def info(self) -> FunctionInfo:
        """What an operating system remembers from enumeration; it does not notice a device that left the bus."""
        gpu = self.gpu
        bus = int(gpu.bdf[5:7], 16)
        return FunctionInfo(
            bdf=gpu.bdf,
            vendor=VENDOR_AMD,
            device=gpu.chip.device_id,
            subsystem_vendor=VENDOR_AMD,
            subsystem_device=gpu.chip.device_id,
            revision=0,
            class_code=0x120000,
            driver="",
            power_state=("D0", "D1", "D2", "D3hot")[gpu.config.power_state],
            enabled=gpu.config.memory_enabled,
            numa_node=int(bus >= 0x80),
            iommu_group=20 + gpu.index,
            reset_methods=("flr", "bus"),
            upstream=f"0000:{bus - 1:02x}:00.0",
        )

    def bars(self) -> Mapping[int, Bar]:
        return MappingProxyType(self.gpu.bars)

    def config_size(self) -> int:
        return pciconfig.SIZE

    def config_read(self, offset: int, size: int) -> int:
        _check_config(offset, size)
        self._run_due()
        gone = self.gpu.lost or self.gpu.resets.away
        return (1 << 8 * size) - 1 if gone else self.gpu.config.read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        _check_config(offset, size)
        self._run_due()
        if self.gpu.lost or self.gpu.resets.away:
            return
        value &= (1 << 8 * size) - 1
        self.gpu.config.write(offset, size, value)
        self.gpu.lost_bars.discard(offset & ~3)
        if value << 8 * (offset & 1) & pciconfig.FUNCTION_RESET and offset & ~1 == pciconfig.DEVICE_CONTROL:
            self.gpu.resets.begin(Reset.FLR)
        self._run_due()

    def read32(self, bar: int, offset: int) -> int:
        self._check(bar, offset, 4)
        self._run_due()
        return self._read32(bar, offset)

    def _read32(self, bar: int, offset: int) -> int:
        gpu = self.gpu
        if not self._decodes(bar):
            return ALL_ONES
        if bar == 5:
            return gpu.registers.read(offset >> 2)
        if bar == 0:
            return gpu.vram_read32(offset, "bar0")
        return gpu.doorbells.get(offset, 0)

    def write32(self, bar: int, offset: int, value: int) -> None:
        self._check(bar, offset, 4)
        self._run_due()
        self._write32(bar, offset, value & ALL_ONES)
        self._run_due()

    def _write32(self, bar: int, offset: int, value: int) -> None:
        gpu = self.gpu
        if not self._decodes(bar):
            return
        if bar == 5:
            gpu.registers.write(offset >> 2, value)
        elif bar == 0:
            gpu.vram_write32(offset, value, "bar0")
        else:
            self._ring(offset, value, 4)

    def _ring(self, offset: int, value: int, size: int) -> None:
        """A doorbell reaches its block as one write of 4 or 8 bytes."""
        for place in range(0, size, 4):
            self.gpu.doorbells[offset + place] = value >> 8 * place & ALL_ONES
        self.gpu.nbio.doorbell(offset, value, size)

    def read64(self, bar: int, offset: int) -> int:
        self._check(bar, offset, 8)
        self._run_due()
        return self._read32(bar, offset) | self._read32(bar, offset + 4) << 32

    def write64(self, bar: int, offset: int, value: int) -> None:
        self._check(bar, offset, 8)
        self._run_due()
        if bar != 2:
            self._write32(bar, offset, value & ALL_ONES)
            self._write32(bar, offset + 4, value >> 32 & ALL_ONES)
        elif self._decodes(bar):
            self._ring(offset, value & (1 << 64) - 1, 8)
        self._run_due()

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        self._check(bar, offset, size)
        self._run_due()
        if not self._decodes(bar):
            return b"\xff" * size
        if bar == 0 and offset + size <= self.gpu.vram.size:
            return self.gpu.vram.read(offset, size)
        return b"".join(self._read32(bar, at).to_bytes(4, "little") for at in range(offset, offset + size, 4))

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self._check(bar, offset, len(data))
        self._run_due()
        if not self._decodes(bar):
            return
        if bar == 0 and offset + len(data) <= self.gpu.vram.size:
            self.gpu.vram.write(offset, data)
        else:
            for place in range(0, len(data), 4):
                self._write32(bar, offset + place, int.from_bytes(data[place : place + 4], "little"))
        self._run_due()

    def _decodes(self, bar: int) -> bool:
        """Whether the BAR answers; whoever tries during a reset is told of."""
        if self.gpu.resets.quiet:
            self.gpu.resets.touched(f"BAR{bar} touched")
        return self.gpu.decodes

    def _run_due(self) -> None:
        """What the device has done in the meantime is done before it answers, and what it does at once, right after."""
        self.gpu.hive.events.run_due()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self.gpu.exclusive():
            yield

    def holder(self) -> LockHolder | None:
        return self.gpu.held_by

    def alloc_dma(self, size: int) -> ModelDmaBuffer:
        return self.gpu.hive.host_memory.alloc(size, self.gpu.hive.events.run_due)

    def reset(self, method: str) -> None:
        for pause_s in self.reset_steps(method):
            self.gpu.clock.sleep(pause_s)

    def reset_steps(self, method: str) -> Iterator[float]:
        """What the kernel's PCI core does: save config space, disable, reset, wait until it answers, restore.

        Gives the pauses to make between the steps, so that a server need not hold its lock through them."""
        gpu, clock = self.gpu, self.gpu.clock
        if method not in RESET_METHODS:
            raise ValueError(f"{method!r}: one of {', '.join(RESET_METHODS)}")
        saved = {place: self.config_read(place, 4) for place in _SAVED}
        if saved[0] != ALL_ONES:
            self.config_write(pciconfig.COMMAND, 2, pciconfig.COMMAND_INTX_OFF)
        if method != "rescan":
            gpu.resets.begin(RESET_METHODS[method])
        yield RESET_PAUSE_S
        deadline = clock.now() + (0 if method == "rescan" else RESET_WAIT_S)
        pause_s = 1e-3
        while self.config_read(0, 4) == ALL_ONES:
            if clock.now() >= deadline:
                raise _unanswered(gpu.bdf, method)
            yield pause_s
            pause_s *= 2
        if saved[0] == ALL_ONES and method != "rescan":
            return  # there was nothing to save
        for bar in gpu.bars.values() if saved[0] == ALL_ONES else ():
            saved[pciconfig.BAR0 + 4 * bar.index] = bar.address & ALL_ONES
            saved[pciconfig.BAR0 + 4 * bar.index + 4] = bar.address >> 32
        for place, value in sorted(saved.items(), reverse=True):  # the BARs before the command
            if value != ALL_ONES and self.config_read(place, 4) != value:
                self.config_write(place, 4, value)

    def close(self) -> None:
        """Give the memory of the GPU back; its other state stays readable."""
        self.gpu.vram.close()

    def _check(self, bar: int, offset: int, size: int) -> None:
        found = self.gpu.bars.get(bar)
        if found is None:
            raise Unavailable(
                f"accessing BAR{bar} of {self.gpu.bdf}", expected="BAR 0, 2 or 5", seen=f"BAR{bar}", where=self.name
            )
        if offset % 4 or size % 4:
            raise ValueError(f"BAR{bar}+{offset:#x}, {size} bytes: offset and size are multiples of 4")
        if not 0 <= offset <= offset + size <= found.size:
            raise Unavailable(
                f"accessing BAR{bar} of {self.gpu.bdf}",
                expected=f"an offset within its {found.size:#x} bytes",
                seen=f"{offset:#x}, {size} bytes",
                where=self.name,
            )


def _unanswered(bdf: str, method: str) -> GpumendError:
    kind, doing = (Unavailable, "finding") if method == "rescan" else (GpumendError, "resetting")
    return kind(
        f"{doing} {bdf} again by rescan" if method == "rescan" else f"{doing} {bdf} by {method}",
        expected="config space answers" + ("" if method == "rescan" else f" within {RESET_WAIT_S:g} s"),
        seen="all ones",
        where=f"config space of {bdf}",
        next_step="gpumend probe",
    )


def _check_config(offset: int, size: int) -> None:
    if size not in (1, 2, 4) or offset % size or not 0 <= offset <= pciconfig.SIZE - size:
        raise ValueError(f"config space at {offset:#x}, {size} bytes: 1, 2 or 4 bytes, aligned, below {pciconfig.SIZE}")
