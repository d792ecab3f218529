"""PCI functions through VFIO (`vfio:0000:c1:00.0`): BARs, config space, memory behind the IOMMU, interrupts.

Making one opens nothing: until somebody reads a BAR, writes or asks for memory, it looks through sysfs. `acquire` opens the
device, and **then the kernel resets it** (pcibus/vfio_open.py), which is refused unless it was allowed. Nothing here binds.

A BAR that is touched while memory decoding is off ends the process (SIGBUS), so that is an error here. Parts of a BAR that
may not be mapped (a table of MSI-X) are read and written through the device's file.

Source: Linux 7.3 include/uapi/linux/vfio.h, Documentation/driver-api/vfio.rst, drivers/vfio/pci/vfio_pci_core.c
(vfio_pci_core_mmap), vfio_pci_intrs.c, drivers/vfio/vfio_iommu_type1.c."""

from __future__ import annotations

import errno
import mmap
import os
import select
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, overload

from base.errors import GpumendError, InvalidData, NotPermitted, Refused, Unavailable, UsageError
from pcibus import hostmemory
from pcibus import vfio_abi as abi
from pcibus.sysfs import SYS, MappedWindow, SysfsTransport, Window, parse_resource, span_within
from pcibus.transport import Bar, Can, DmaBuffer
from pcibus.vfio_memory import HUGE_BYTES, PAGE_BYTES, IovaSpace, VfioBuffer, address_of, map_anonymous
from pcibus.vfio_open import ALLOW, Handles, check_ready, open_device

_COMMAND: Final = 4
_MEMORY: Final = 2
_CAP_IPC_LOCK: Final = 14
_SELECT_LIMIT: Final = 1024  # FD_SETSIZE
_IRQS: Final = ((abi.MSIX_IRQ, "MSI-X"), (abi.MSI_IRQ, "MSI"))


class VfioTransport(SysfsTransport):
    """One function that is bound to vfio-pci. Not for several threads at once, but for `exclusive`.

    `resets_allowed`: the kernel may reset it when it is opened and closed. `kernel` and `dev` are for tests."""

    def __init__(
        self,
        bdf: str,
        *,
        root: Path = SYS,
        lock_dir: Path | None = None,
        lock_prefix: str = "am",
        proc: Path = Path("/proc"),
        dev: Path = Path("/dev/vfio"),
        resets_allowed: bool = False,
        kernel: abi.Kernel | None = None,
    ) -> None:
        super().__init__(bdf, root=root, lock_dir=lock_dir, lock_prefix=lock_prefix, proc=proc)
        self.name = f"vfio:{bdf}?{ALLOW}" if resets_allowed else f"vfio:{bdf}"
        self.can |= Can.DMA | Can.INTERRUPTS | Can.VIA_DRIVER
        self.can &= ~Can.RESET
        self._dev = dev
        self._resets_allowed = resets_allowed
        self._kernel: abi.Kernel = kernel or abi.LinuxKernel()
        self._handles: Handles | None = None
        self._regions: dict[int, abi.Region] = {}
        self._space: IovaSpace | None = None
        self._page_bytes = PAGE_BYTES
        self._buffers: dict[int, VfioBuffer] = {}
        self._memory_on = False
        self._event = -1
        self._irq: tuple[int, str] = _IRQS[0]

    # ---- opening and closing

    def acquire(self) -> None:
        """Open the device; twice is as good as once. The kernel may reset it now, which takes up to a minute.

        Raises Refused (not bound to vfio-pci; would be reset; group in use or not viable, by whom), NotPermitted,
        Unavailable. Nothing is left open then."""
        if self._handles is not None:
            return
        group = check_ready(self.bdf, self.name, self.root, resets_allowed=self._resets_allowed)
        handles = open_device(
            self.bdf, self.name, group, kernel=self._kernel, root=self.root, proc=self._proc, dev=self._dev
        )
        self._handles = handles
        try:
            self._learn(handles)
        except OSError as error:
            self.close()
            raise self._explain(error, "asking what it is", "vfio") from error
        except BaseException:
            self.close()
            raise

    def reset(self, method: str) -> None:
        raise Refused(
            f"resetting {self.name} by {method}",
            expected="a function that no kernel driver has",
            seen="bound to vfio-pci, and in use by us",
            where=self.name,
            next_step=f"gpumend unbind -g {self.bdf}, then reset it by its address {self.bdf}",
        )

    def close(self) -> None:
        """Interrupts off, BARs unmapped, the device closed (which stops its DMA, and may reset it), then its memory."""
        with suppress(GpumendError):
            self.disable_interrupts()
        super().close()  # the mappings hold the device, too
        handles, self._handles = self._handles, None
        self._regions.clear()
        if handles is None:
            return
        os.close(handles.device)
        for buffer in list(self._buffers.values()):
            with suppress(GpumendError):
                buffer.close()
        self._space = None
        os.close(handles.group)
        os.close(handles.container)

    def _learn(self, handles: Handles) -> None:
        """What the device and the IOMMU are; that it is a PCI function with a config space is checked."""
        info = abi.ask(self._kernel, handles.device, abi.DEVICE_GET_INFO, abi.DEVICE_INFO)
        _, flags, regions, _, _, _ = abi.DEVICE_INFO.unpack_from(info)
        if not flags & abi.DEVICE_IS_PCI or regions <= abi.CONFIG_REGION:
            raise InvalidData(
                f"opening {self.name}",
                expected="a PCI function with a config space",
                seen=f"flags {flags:#x}, {regions} regions",
                where=self.name,
            )
        page_bytes, ranges = abi.iommu_of(abi.ask(self._kernel, handles.container, abi.IOMMU_GET_INFO, abi.IOMMU_INFO))
        self._page_bytes = max(PAGE_BYTES, page_bytes, mmap.PAGESIZE)
        self._space = IovaSpace(ranges, self._bars_around())
        self._memory_on = bool(self.config_read(_COMMAND, 2) & _MEMORY)

    def _bars_around(self) -> list[tuple[int, int]]:
        """Bus addresses of the BARs of the function and of its group: a switch may send what goes there to them, not up."""
        found = []
        folder = self.path / "iommu_group/devices"
        members = [self.path, *(entry for entry in folder.iterdir())] if folder.is_dir() else [self.path]
        for member in members:
            with suppress(OSError, InvalidData):
                bars = parse_resource((member / "resource").read_text(encoding="ascii", errors="replace"))
                found += [(bar.address, bar.address + bar.size) for bar in bars.values() if not bar.is_io]
        return found

    def _opened(self) -> Handles:
        self.acquire()
        assert self._handles is not None
        return self._handles

    def _region(self, index: int) -> abi.Region:
        if index not in self._regions:
            handles = self._opened()
            try:
                data = abi.ask(self._kernel, handles.device, abi.DEVICE_GET_REGION_INFO, abi.REGION_INFO, index)
            except OSError as error:
                raise self._explain(error, f"asking for region {index}", "vfio") from error
            self._regions[index] = abi.region_of(data)
        return self._regions[index]

    # ---- config space

    def config_size(self) -> int:
        if self._handles is None:
            return super().config_size()
        return min(4096, self._region(abi.CONFIG_REGION).size)

    def config_read(self, offset: int, size: int) -> int:
        if self._handles is None:
            return super().config_read(offset, size)
        self._check_config(offset, size)
        region = self._region(abi.CONFIG_REGION)
        try:
            data = os.pread(self._handles.device, size, region.offset + offset)
        except OSError as error:
            raise self._explain(error, "reading config space", f"config+{offset:#x}") from error
        if len(data) < size:
            raise Unavailable(
                f"reading config space of {self.name}",
                expected=f"{size} bytes at {offset:#x}",
                seen=f"{len(data)} bytes: config space has {region.size}",
                where=f"config+{offset:#x} on {self.name}",
            )
        return int.from_bytes(data, "little")

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._check_config(offset, size)
        data = value.to_bytes(size, "little")
        handles = self._opened()
        try:
            os.pwrite(handles.device, data, self._region(abi.CONFIG_REGION).offset + offset)
        except OSError as error:
            raise self._explain(error, "writing config space", f"config+{offset:#x}") from error
        if offset & ~3 == _COMMAND:
            self._memory_on = bool(self.config_read(_COMMAND, 2) & _MEMORY)

    # ---- BARs

    def _stay_asleep(self, doing: str, *, config: bool) -> None:
        """Before it is opened, a function that sleeps stays so (`acquire` wakes it). After, memory must be on."""
        if self._handles is None:
            super()._stay_asleep(doing, config=config)
        elif not config and not self._memory_on:
            raise Unavailable(
                f"{doing} of {self.name}",
                expected="memory decoding on (command register, bit 1)",
                seen="it is off: an access would end this process",
                where=f"config+{_COMMAND:#x} on {self.name}",
                next_step="switch it on first",
            )

    def _span(self, bar: Bar, offset: int) -> tuple[int, int]:
        region = self._bar_region(bar)
        self._stay_asleep(f"accessing BAR{bar.index}", config=False)  # opened by now: is memory on?
        gap_start = 0
        for start, end in region.areas:
            if offset < start:
                return gap_start, min(start, bar.size) - gap_start
            if offset < end:
                return span_within(start, min(end, bar.size), offset)
            gap_start = end
        return gap_start, bar.size - gap_start

    def _bar_region(self, bar: Bar) -> abi.Region:
        region = self._region(bar.index)
        if region.size < bar.size:
            raise Unavailable(
                f"accessing BAR{bar.index} of {self.name}",
                expected=f"a region of {bar.size:#x} bytes",
                seen=f"{region.size:#x} bytes",
                where=self.name,
                next_step="dmesg tells what vfio-pci made of it",
            )
        return region

    def _map(self, bar: Bar, start: int, size: int, write: bool) -> Window:
        handles = self._opened()
        region = self._region(bar.index)
        if not any(first <= start < end for first, end in region.areas):
            return FileWindow(handles.device, region.offset + start, size, partial(self._unreadable, bar))
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        try:
            return MappedWindow(
                mmap.mmap(handles.device, size, flags=mmap.MAP_SHARED, prot=protection, offset=region.offset + start)
            )
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"mapping BAR{bar.index} of {self.name}",
                expected=f"{size:#x} bytes at {start:#x}",
                seen=os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error),
                where=self.name,
                next_step="does another driver claim the BAR? see /proc/iomem and dmesg",
            ) from error

    def _unreadable(self, bar: Bar, error: OSError) -> GpumendError:
        return self._explain(error, f"accessing BAR{bar.index}", "vfio")

    # ---- memory

    def alloc_dma(self, size: int) -> DmaBuffer:
        """Zeroed memory in one run of IOVAs, pinned by VFIO; in steps of 2 MiB from 1 MiB on.

        Raises UsageError (size), NotPermitted (the limit of locked memory), Unavailable (no memory, no addresses)."""
        doing = f"allocating {size:#x} bytes that {self.name} can reach"
        if size <= 0:
            raise UsageError(doing, expected="a size above zero", seen=str(size), where=self.name)
        self._opened()
        step = max(self._page_bytes, HUGE_BYTES if size >= HUGE_BYTES // 2 else 0)
        length = -(-size // step) * step
        try:
            mapped = map_anonymous(length)
        except OSError as error:
            raise _no_memory(doing, error, self.name) from error
        try:
            return self._pin(doing, mapped, size, step, owned=True)
        except BaseException:
            mapped.close()
            raise

    def share_dma(self, buffer: DmaBuffer) -> DmaBuffer:
        """Memory that another VFIO transport of this process allocated, for this device too, at IOVAs of its own.

        Raises UsageError (no such memory), ValueError (it was given back), NotPermitted, Unavailable, as `alloc_dma`."""
        doing = f"sharing {buffer.size:#x} bytes of memory with {self.name}"
        if not isinstance(buffer, VfioBuffer):
            raise UsageError(
                doing, expected="memory of a VFIO transport", seen=type(buffer).__name__, where=self.name,
                next_step="reach both GPUs through VFIO, or neither",
            )  # fmt: skip
        mapped = buffer.memory()
        self._opened()
        step = max(self._page_bytes, buffer.page_size)
        if len(mapped) % step:
            raise Unavailable(
                doing, expected=f"whole pages of this device's IOMMU ({step:#x} bytes)", seen=f"{len(mapped):#x} bytes",
                where=self.name,
            )  # fmt: skip
        return self._pin(doing, mapped, buffer.size, step, owned=False)

    def _pin(self, doing: str, mapped: mmap.mmap, size: int, step: int, *, owned: bool) -> VfioBuffer:
        """Put memory of this process where the device can reach it."""
        assert self._space is not None and self._handles is not None
        container, length = self._handles.container, len(mapped)
        iova = self._space.take(length, step)
        if iova is None:
            raise Unavailable(
                doing,
                expected=f"{length:#x} bytes of free IOVAs",
                seen="none in the IOMMU's ranges",
                where=self.name,
                next_step="free some memory first",
            )
        try:
            flags = abi.DMA_READ | abi.DMA_WRITE
            request = bytearray(abi.DMA_MAP.pack(abi.DMA_MAP.size, flags, address_of(mapped), iova, length))
            self._kernel.ioctl(container, abi.IOMMU_MAP_DMA, request)
        except BaseException as error:
            self._space.give(iova, length)
            if isinstance(error, OSError):
                raise self._not_pinned(doing, error, length) from error
            raise
        buffer = VfioBuffer(mapped, size, iova, step, partial(self._unmap, container, iova, length), owned=owned)
        self._buffers[iova] = buffer
        return buffer

    def _unmap(self, container: int, iova: int, length: int) -> None:
        """Called by a buffer that closes; `close` closes those that are left while the container is still there."""
        self._buffers.pop(iova, None)
        assert self._space is not None
        request = bytearray(abi.DMA_UNMAP.pack(abi.DMA_UNMAP.size, 0, iova, length))
        try:
            self._kernel.ioctl(container, abi.IOMMU_UNMAP_DMA, request)
        except OSError as error:  # its addresses are never given out again
            raise Unavailable(
                f"taking {length:#x} bytes from {self.name}",
                expected="the IOMMU to let them go",
                seen=os.strerror(error.errno or 0),
                where=f"IOVA {iova:#x}",
                next_step="dmesg tells why",
            ) from error
        self._space.give(iova, length)

    def _not_pinned(self, doing: str, error: OSError, length: int) -> GpumendError:
        if error.errno == errno.ENOSPC:
            return Unavailable(
                doing,
                expected="fewer buffers than vfio_iommu_type1 lets one process have (dma_entry_limit)",
                seen=f"{len(self._buffers)} buffers of ours",
                where=self.name,
                next_step="free some, or allocate fewer and larger ones",
            )
        if error.errno != errno.ENOMEM or hostmemory.has_capability(self._proc, _CAP_IPC_LOCK):
            return _no_memory(doing, error, self.name)
        import resource

        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        told = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit >> 10} KiB"
        return NotPermitted(
            doing,
            expected=f"a limit of locked memory (RLIMIT_MEMLOCK) with room for {length >> 10} KiB more",
            seen=f"the limit is {told}",
            where=self.name,
            next_step="ulimit -l unlimited (memlock in /etc/security/limits.conf, LimitMEMLOCK of a service), or run with "
            "CAP_IPC_LOCK",
        )

    # ---- interrupts

    def enable_interrupts(self) -> None:
        """The function's first vector, of MSI-X or else MSI, signals this process; twice is as good as once.

        Raises Unavailable where it has neither, or the kernel gives none."""
        if self._event >= 0:
            return
        handles = self._opened()
        doing = f"switching on interrupts of {self.name}"
        tried = []
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            for index, kind in _IRQS:
                seen = self._connect(handles.device, index, event)
                if not seen:
                    self._event, self._irq = event, (index, kind)
                    return
                tried.append(f"{kind}: {seen}")
        finally:
            if self._event < 0:
                os.close(event)
        raise Unavailable(
            doing,
            expected="an interrupt vector of MSI-X or MSI",
            seen="; ".join(tried),
            where=self.name,
            next_step="dmesg tells why; waiting works without them, too",
        )

    def disable_interrupts(self) -> None:
        """No more of them, and none is remembered. Raises Unavailable when the kernel refuses."""
        event, self._event = self._event, -1
        if event < 0:
            return
        handles = self._opened()
        index, kind = self._irq
        request = bytearray(abi.IRQ_SET.pack(abi.IRQ_SET.size, abi.IRQ_SET_NONE | abi.IRQ_SET_TRIGGER, index, 0, 0))
        try:
            self._kernel.ioctl(handles.device, abi.DEVICE_SET_IRQS, request)
        except OSError as error:
            raise self._explain(error, f"switching off {kind}", "vfio") from error
        finally:
            os.close(event)

    def wait_interrupt(self, timeout_s: float) -> bool:
        """Until an interrupt has come since the last call, at most `timeout_s`; whether one has."""
        if self._event < 0:
            raise ValueError("wait_interrupt without enable_interrupts")
        timeout_s = max(0.0, timeout_s)
        if self._event < _SELECT_LIMIT:  # to the microsecond, where poll knows milliseconds only
            ready = bool(select.select([self._event], [], [], timeout_s)[0])
        else:
            waiting = select.poll()
            waiting.register(self._event, select.POLLIN)
            ready = bool(waiting.poll(timeout_s * 1000))
        if not ready:
            return False
        try:
            return os.eventfd_read(self._event) > 0
        except BlockingIOError:  # somebody else with the same handle (a child) was faster
            return False

    def _connect(self, device: int, index: int, event: int) -> str:
        """Vector 0 of this kind to the event; "" or why not."""
        try:
            data = abi.ask(self._kernel, device, abi.DEVICE_GET_IRQ_INFO, abi.IRQ_INFO, index)
            _, flags, _, count = abi.IRQ_INFO.unpack_from(data)
            if not count or not flags & abi.IRQ_EVENTFD:
                return "the function has none"
            body = struct.pack("<i", event)
            head = abi.IRQ_SET.pack(
                abi.IRQ_SET.size + len(body), abi.IRQ_SET_EVENTFD | abi.IRQ_SET_TRIGGER, index, 0, 1
            )
            # More than 0 is how many vectors there would have been.
            return (
                "no vector is free" if self._kernel.ioctl(device, abi.DEVICE_SET_IRQS, bytearray(head + body)) else ""
            )
        except OSError as error:
            return os.strerror(error.errno or 0)


class _FileWords:
    """Words of one size in a stretch of the device's file: each index is one read or write of the kernel's."""

    __slots__ = ("_bytes", "_count", "_explain", "_handle", "_offset")

    def __init__(
        self, handle: int, offset: int, size: int, step: int, explain: Callable[[OSError], GpumendError]
    ) -> None:
        self._explain = explain
        self._handle = handle
        self._offset = offset
        self._bytes = step
        self._count = size // step

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int, /) -> int: ...

    @overload
    def __getitem__(self, index: slice, /) -> Iterable[int]: ...

    def __getitem__(self, index: int | slice, /) -> int | Iterable[int]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        try:
            data = os.pread(self._handle, self._bytes, self._offset + index * self._bytes)
        except OSError as error:
            raise self._explain(error) from error
        if len(data) < self._bytes:
            raise self._explain(OSError(errno.EIO, ""))
        return int.from_bytes(data, "little")

    def __setitem__(self, index: int, value: int, /) -> None:
        data = value.to_bytes(self._bytes, "little")
        try:
            os.pwrite(self._handle, data, self._offset + index * self._bytes)
        except OSError as error:
            raise self._explain(error) from error


class FileWindow:
    """A piece of a BAR that may not be mapped."""

    __slots__ = ("longs", "words")

    def __init__(self, handle: int, offset: int, size: int, explain: Callable[[OSError], GpumendError]) -> None:
        self.words = _FileWords(handle, offset, size, 4, explain)
        self.longs = _FileWords(handle, offset, size, 8, explain)

    def close(self) -> None:
        """The handle belongs to the transport."""


def _no_memory(doing: str, error: OSError, where: str) -> Unavailable:
    return Unavailable(
        doing,
        expected="memory that can be shared with the device",
        seen=os.strerror(error.errno or 0),
        where=where,
        next_step="free memory on this machine",
    )
