"""The seam between "how a PCI function is reached" and "what it is".

A Transport reads and writes config space and BARs of one function. sysfs, a model, a recording and a remote server
implement it alike, so a driver cannot tell them apart. Offsets and sizes in bytes, values unsigned, little-endian."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Flag, auto
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pcibus.holders import Holders

ALL_ONES = 0xFFFFFFFF


class Can(Flag):
    """What a transport can do; declared, never found out by trying."""

    NOTHING = 0
    CONFIG_EXTENDED = auto()  # config space beyond byte 256 (sysfs: CAP_SYS_ADMIN)
    CONFIG_WRITE = auto()
    MMIO = auto()  # BARs can be mapped
    DMA = auto()  # memory that the device can reach
    HOST = auto()  # the device is on this machine's bus: /proc and /sys say more about it
    INTERRUPTS = auto()  # an InterruptSource too
    RESET = auto()  # a ResetSource too
    VIA_DRIVER = auto()  # the kernel driver that is bound is the way in, and keeps others out (vfio-pci)
    DRIVER = auto()  # a DriverSource too: a model of a machine with a kernel driver


@dataclass(frozen=True, slots=True)
class Bar:
    """One base address register as the operating system assigned it. `size` in bytes; `address` is a bus address."""

    index: int
    address: int
    size: int
    is_io: bool = False
    is_64bit: bool = False
    prefetchable: bool = False


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """Identity and state of a PCI function as the operating system tells it; None: it did not say.

    `power_state` is the kernel's word (D0, D3hot, D3cold, unknown); `driver` is "" when none is bound."""

    bdf: str
    vendor: int
    device: int
    subsystem_vendor: int | None = None
    subsystem_device: int | None = None
    revision: int | None = None
    class_code: int | None = None
    driver: str | None = None
    power_state: str | None = None
    enabled: bool | None = None
    numa_node: int | None = None
    iommu_group: int | None = None
    reset_methods: tuple[str, ...] | None = None
    upstream: str | None = None
    sriov_vf: bool = False


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a device lock; `pid` None: somebody, but the system does not tell us who."""

    path: str
    pid: int | None = None
    command: str = ""


class DmaBuffer(Protocol):
    """Memory that the device can reach. `bus_addr` holds one address per page of `page_size` bytes."""

    size: int
    page_size: int
    bus_addr: tuple[int, ...]

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class Transport(Protocol):
    """One PCI function. Opening one maps and reads nothing by itself, and unbinds, wakes and enables nothing.

    Errors: Unavailable (no such BAR, not mapped), NotPermitted, DeviceLost (the operating system says that it is gone).
    A device that answers all ones is not an error here: only whoever knows the register can judge that."""

    name: str  # the address that reaches it again: 0000:c1:00.0, model:mi350x*8#2, replay:FILE
    can: Can

    def info(self) -> FunctionInfo: ...

    def bars(self) -> Mapping[int, Bar]: ...

    def config_size(self) -> int:
        """Bytes of config space that can be read: 64, 256 or 4096."""
        ...

    def config_read(self, offset: int, size: int) -> int:
        """Read 1, 2 or 4 bytes; offset is aligned to size."""
        ...

    def config_write(self, offset: int, size: int, value: int) -> None: ...

    def read32(self, bar: int, offset: int) -> int: ...

    def write32(self, bar: int, offset: int, value: int) -> None: ...

    def read64(self, bar: int, offset: int) -> int: ...

    def write64(self, bar: int, offset: int, value: int) -> None: ...

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        """Bytes of memory behind a BAR (VRAM); offset and size are multiples of 4."""
        ...

    def write_block(self, bar: int, offset: int, data: bytes) -> None: ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the device's lock, so that an index/data register pair is ours for a moment. Re-entrant in one thread.

        Raises Refused, with the holder named, when somebody else has it."""
        ...

    def holder(self) -> LockHolder | None:
        """Who else holds the device's lock now; None: nobody."""
        ...

    def alloc_dma(self, size: int) -> DmaBuffer: ...

    def close(self) -> None: ...


class ResetSource(Protocol):
    """What a transport with `Can.RESET` has besides: resets that the operating system's PCI core carries out."""

    def reset(self, method: str) -> None:
        """`method`: "flr" (of the function), "bus" (by the port above), "any" (the first of the system's own list that works:
        FunctionInfo.reset_methods), "rescan" (the function removed and found again).

        Bounded; config space is as before afterwards, if it could be read before. Raises GpumendError when the system
        says that it failed, Unavailable when the function is not found again, and Refused, NotPermitted."""
        ...


class DmaSharer(Protocol):
    """What a transport has besides where each device has bus addresses of its own (`Can.VIA_DRIVER`)."""

    def share_dma(self, buffer: DmaBuffer) -> DmaBuffer:
        """Memory that another such transport of this process allocated, at bus addresses of this device; `close` takes it
        from this device only. Raises UsageError (no such memory), NotPermitted, Unavailable."""
        ...


class DriverSource(Protocol):
    """What a transport with `Can.DRIVER` has besides: the kernel driver and the processes of a machine that is none of ours
    (of this machine's bus, pcibus.binding and pcibus.holders tell)."""

    def holders(self) -> Holders:
        """Who holds the function."""
        ...

    def end_holder(self, pid: int) -> None:
        """The process ends; nothing where there is none."""
        ...

    def unbind(self) -> None:
        """The driver lets go. WaitTimeout where it never does."""
        ...

    def bind(self) -> None:
        """The driver takes it again. GpumendError where it does not."""
        ...


class InterruptSource(Protocol):
    """What a transport with `Can.INTERRUPTS` has besides."""

    def enable_interrupts(self) -> None:
        """From now on the function's first interrupt vector reaches this process; twice is as good as once."""
        ...

    def disable_interrupts(self) -> None: ...

    def wait_interrupt(self, timeout_s: float) -> bool:
        """Until an interrupt has come since the last call, or the time is up; whether one has."""
        ...
