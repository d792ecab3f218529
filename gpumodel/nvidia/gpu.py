"""One modelled NVIDIA GPU, and the Transport through which it is reached.

BAR0 holds the registers that prove each stage of boot (nvidia-gsp.md section 3), no more: any other offset answers with
the error pattern of a register that is not there and is counted in `unknown`. Nothing may be written yet; a write is
counted and lost. What a reset does is resets.py, what taking its driver away does kernel.py."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from base.errors import Unavailable
from gpumodel.nvidia import config, kernel, resets
from gpumodel.nvidia.chips import MIB, VENDOR, NvChip
from gpumodel.nvidia.fifo import Fifo
from pcibus.transport import ALL_ONES, Bar, Can, DmaBuffer, FunctionInfo, LockHolder

if TYPE_CHECKING:
    from gpumodel.nvidia.faults import NvFault
    from gpumodel.nvidia.files import ModelFiles
    from gpumodel.nvidia.machine import Machine
    from pcibus.holders import Holders

NOT_THERE = 0xBADF1100  # guess: 0xBADFxxxx is an error of the register bus (nvidia-gsp.md section 2), the rest varies
FSP_LOCKED = 0xBADF4100

BOOT_0, BOOT_42 = 0x000000, 0x000A00
SCRATCH_FRTS, SCRATCH_RESET = 0x001438, 0x001478
WPR2_LOW, WPR2_HIGH = 0x1FA824, 0x1FA828
USABLE_FB = 0x1183A4
GFW_MASK, GFW_BOOT = 0x118128, 0x118234
FSP_SCRATCH = (0x8F0320, 0x8F0324, 0x8F0328, 0x8F032C)
GSP_MAILBOX0, GSP_OS, GSP_HWCFG2, GSP_RISCV_CPUCTL = 0x110040, 0x110080, 0x1100F4, 0x111388
SEC2_MAILBOX0, SEC2_CPUCTL = 0x840040, 0x840100

RISCV_ACTIVE, RISCV_HALTED = 1 << 7, 1 << 4
CPU_HALTED = 1 << 4
HAS_RISCV, RESET_READY = 1 << 10, 1 << 31
WPR2_BYTES = 0x9200000 + 0x200000  # heap of a 141 GiB Hopper and FRTS, about (nvidia-gsp.md section 13)

LINK_ACTIVE, LINK_FAULT = 3, 4


@dataclass(slots=True)
class Telemetry:
    """What the page of telemetry shows; `polled`: whether somebody has it polled. # guess: values of an idle H200"""

    polled: bool = True
    gpu_c: int = 32
    memory_c: int = 38
    power_mw: int = 76_000
    limit_mw: int = 700_000
    graphics_mhz: int = 345
    memory_mhz: int = 3201
    reasons: int = 1  # idle


@dataclass(slots=True)
class RmState:
    """What the driver and the GPU's firmware know of this GPU."""

    persistent: bool = True  # held initialized by a daemon
    gsp_alive: bool = True
    recovery_action: int = 0
    draining: bool = False
    remap_rows: int = 0
    remap_pending: bool = False
    remap_failed: bool = False
    uncorrected: int = 0
    links: dict[int, int] = field(default_factory=dict)
    telemetry: Telemetry = field(default_factory=Telemetry)


class NvGpu:
    """The state of one GPU. `bound`: the driver has it; `placed`: faults that a reset may leave; `boots_until_s`: until when
    the chip's own boot runs; `fails_flr`, `lies_about_resets`: what the kernel's resets come to; `resets_done`: what struck."""

    def __init__(self, machine: Machine, chip: NvChip, index: int) -> None:
        self.machine = machine
        self.chip = chip
        self.index = index
        self.bdf = chip.bdf(index)
        self.gpu_id = 0x1800 + 0x1000 * index  # guess: real ones are made of the bus address
        self.bars = config.bars_of(chip, index)
        self.config = config.build(chip, self.bars, self.serial, bound=bool(machine.driver))
        self.lost = False
        self.bound = bool(machine.driver)
        self.placed: list[tuple[NvFault, int]] = []
        self.boots_until_s = 0.0
        self.fails_flr = self.lies_about_resets = False
        self.resets_done: list[str] = []
        self.reset_while_bound = False
        self.users = 0  # open handles of its node
        self.unknown: Counter[tuple[str, int]] = Counter()
        self.rm = RmState(links=self.trained_links())
        self.vram_used = 0
        self.fifo = Fifo(self)
        self.registers = self.after_boot()
        if self.bound:
            self.start_gsp()

    @property
    def serial(self) -> int:
        """Device Serial Number. # guess: what real boards show there is not public"""
        return 0x48B0_2D00_0000_0000 | self.chip.device << 8 | self.index

    def trained_links(self) -> dict[int, int]:
        return dict.fromkeys(range(self.chip.links), LINK_ACTIVE)

    @property
    def scratch_bits(self) -> int:
        """What outlives the driver: 1 reset required, 2 drain and reset."""
        return self.registers[SCRATCH_RESET]

    @property
    def can_start(self) -> bool:
        """Whether a driver could start it: its own boot is through, and no region of an earlier one is locked."""
        done = self.read(self.chip.fsp_boot or GFW_BOOT) == 0xFF
        return not self.lost and done and not self.registers[WPR2_HIGH]

    def after_boot(self) -> dict[int, int]:
        """Registers as the chip's own boot leaves them."""
        chip = self.chip
        values = {
            BOOT_0: chip.boot0,
            BOOT_42: chip.boot42,
            SCRATCH_FRTS: 0,
            SCRATCH_RESET: 0,
            WPR2_LOW: 0,
            WPR2_HIGH: 0,
            USABLE_FB: chip.vram_size // MIB,
            GSP_MAILBOX0: 0,
            GSP_OS: 0,
            GSP_HWCFG2: HAS_RISCV | RESET_READY,
            GSP_RISCV_CPUCTL: RISCV_HALTED,
        }
        if chip.fsp_boot:
            return values | {chip.fsp_boot: 0xFF} | dict.fromkeys(FSP_SCRATCH, 0)
        return values | {GFW_MASK: 1, GFW_BOOT: 0xFF, SEC2_MAILBOX0: 0, SEC2_CPUCTL: CPU_HALTED}

    def start_gsp(self) -> None:
        """As a driver leaves it: a locked region at the end of memory, and GSP's processor active."""
        end = self.chip.vram_size - (2 * MIB if self.chip.fsp_boot else MIB)
        self.registers[WPR2_LOW] = (end - WPR2_BYTES) >> 12 << 4
        self.registers[WPR2_HIGH] = (end - 1) >> 12 << 4
        self.registers[GSP_RISCV_CPUCTL] = RISCV_ACTIVE
        self.registers[GSP_OS] = 1  # guess: the version of its application

    @property
    def vram_free(self) -> int:
        """What may be allocated. # guess: the driver keeps the end for itself, with the region that it locked"""
        kept = WPR2_BYTES + 2 * MIB if self.machine.driver else 0
        return self.chip.vram_size - kept - self.vram_used

    def give_back(self, size: int) -> None:
        self.vram_used -= size

    def timer_ns(self) -> int:
        """The GPU's timer, PTIMER: nanoseconds since boot. # guess: real ones count from 1970"""
        return int(self.machine.uptime_s() * 1e9)

    def fall_off(self) -> None:
        """It is gone from the bus; a driver says Xid 79."""
        self.lost = True
        if self.machine.driver:
            self.machine.xid(self, 79, "GPU has fallen off the bus.")

    def stop_gsp(self) -> None:
        """As a driver that unloads leaves it; the scratch bits stay."""
        self.registers = self.after_boot() | {SCRATCH_RESET: self.scratch_bits}

    def read(self, offset: int) -> int:
        """A register of BAR0, as the host sees it."""
        if offset not in self.registers:
            self.unknown["read", offset] += 1
            return NOT_THERE
        if offset == (self.chip.fsp_boot or GFW_BOOT) and self.machine.clock.now() < self.boots_until_s:
            return 0
        return self.registers[offset]


class NvTransport:
    """The Transport of one modelled GPU (pcibus.transport)."""

    can = Can.CONFIG_EXTENDED | Can.CONFIG_WRITE | Can.MMIO | Can.RESET | Can.DRIVER

    def __init__(self, gpu: NvGpu, name: str, files: ModelFiles) -> None:
        self.gpu = gpu
        self.name = name
        self.files = files  # of the machine's kernel driver
        self._lock = threading.RLock()

    def info(self) -> FunctionInfo:
        gpu = self.gpu
        bus = int(gpu.bdf[5:7], 16)
        return FunctionInfo(
            bdf=gpu.bdf,
            vendor=VENDOR,
            device=gpu.chip.device,
            subsystem_vendor=VENDOR,
            subsystem_device=gpu.chip.subsystem,
            revision=gpu.chip.revision,
            class_code=gpu.chip.class_code,
            driver=kernel.DRIVER if gpu.bound else "",
            power_state="D0",
            enabled=True,
            numa_node=int(bus >= 0x58),
            iommu_group=40 + gpu.index,
            reset_methods=("flr", "bus"),
            upstream=f"0000:{bus - 1:02x}:00.0",
        )

    def bars(self) -> Mapping[int, Bar]:
        return MappingProxyType(self.gpu.bars)

    def config_size(self) -> int:
        return 4096

    def config_read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1 if self.gpu.lost else self.gpu.config.read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        if not self.gpu.lost:
            self.gpu.config.write(offset, size, value)

    def read32(self, bar: int, offset: int) -> int:
        self._check(bar, offset, 4)
        if self.gpu.lost or not self.gpu.config.memory_enabled:
            return ALL_ONES
        if bar == 0:
            return self.gpu.read(offset)
        self.gpu.unknown[f"bar{bar}-read", offset] += 1
        return ALL_ONES

    def write32(self, bar: int, offset: int, value: int) -> None:
        self._check(bar, offset, 4)
        self.gpu.unknown[f"bar{bar}-write", offset] += 1

    def read64(self, bar: int, offset: int) -> int:
        return self.read32(bar, offset) | self.read32(bar, offset + 4) << 32

    def write64(self, bar: int, offset: int, value: int) -> None:
        self.write32(bar, offset, value & ALL_ONES)
        self.write32(bar, offset + 4, value >> 32)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        return b"".join(self.read32(bar, at).to_bytes(4, "little") for at in range(offset, offset + size, 4))

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        for at in range(0, len(data), 4):
            self.write32(bar, offset + at, int.from_bytes(data[at : at + 4], "little"))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock:
            yield

    def holder(self) -> LockHolder | None:
        return None

    def alloc_dma(self, size: int) -> DmaBuffer:
        raise Unavailable(
            f"allocating {size} bytes for {self.gpu.bdf}", expected="a model with DMA", seen="this one has none yet"
        )

    def reset(self, method: str) -> None:
        for pause_s in self.reset_steps(method):
            self.gpu.machine.clock.sleep(pause_s)

    def reset_steps(self, method: str) -> Iterator[float]:
        """What the kernel's PCI core does; the pauses between its steps."""
        return resets.steps(self.gpu, method)

    def holders(self) -> Holders:
        return kernel.holders(self.gpu)

    def end_holder(self, pid: int) -> None:
        kernel.end(self.gpu.machine, pid)

    def unbind(self) -> None:
        kernel.unbind(self.gpu)

    def bind(self) -> None:
        kernel.bind(self.gpu)

    def close(self) -> None:
        """It has nothing to give back."""

    def _check(self, bar: int, offset: int, size: int) -> None:
        found = self.gpu.bars.get(bar)
        if found is None or not 0 <= offset <= offset + size <= found.size or offset % 4:
            raise Unavailable(
                f"accessing BAR{bar} of {self.gpu.bdf}",
                expected=f"an offset within BAR {', '.join(map(str, self.gpu.bars))}, a multiple of 4",
                seen=f"BAR{bar}+{offset:#x}, {size} bytes",
                where=self.name,
            )
