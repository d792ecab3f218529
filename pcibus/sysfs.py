"""PCI functions through /sys/bus/pci: the scan, and the Transport that reads config space and maps resource files.

Opening touches nothing; nothing here enables memory decoding, unbinds or wakes. Linux reads config space of a function
in D3cold, or behind a port that sleeps, by waking it: such reads are refused here (`pci.power`). A config read sleeps
in the kernel while a reset of the function is going on: ask hardware in a child (base/child.py). A mapping outlives the
removal of its function, and would reach whoever gets the addresses next: it is not used any more then (`pci.lost`).

Source: Linux 7.3 drivers/pci/pci-sysfs.c (pci_read_config, resource_show, pci_mmap_resource), pci.c
(pci_config_pm_runtime_get), access.c (pci_wait_cfg), include/linux/ioport.h."""

from __future__ import annotations

import array
import errno
import functools
import mmap
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, overload

from base.errors import (
    DeviceLost,
    GpumendError,
    InvalidData,
    NotPermitted,
    Unavailable,
    Undecided,
    UsageError,
)
from pcibus import hostmemory, sysreset
from pcibus.lock import DeviceLock
from pcibus.sysreset import BDF, SYS
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder

_STANDARD_BARS = 6
_MAX_ATTRIBUTE_BYTES = 4096  # a sysfs attribute is at most one page
_WHOLE_BAR_BYTES = 64 << 20  # above this, windows: mapping 288 GiB costs half a GiB of page tables
_WINDOW_BYTES = 2 << 20
_MAX_WINDOWS = 16
_POWER_CHECK_S = 0.1

_IO = 0x100  # IORESOURCE_IO ... UNSET
_MEM = 0x200
_PREFETCH = 0x2000
_MEM_64 = 0x100000
_DISABLED = 0x10000000
_UNSET = 0x20000000

_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR)
_ASLEEP = ("D3hot", "D3cold")
# Functions that may be GPUs get all facts in a scan, the others only who they are: a server has five hundred.
_GPU_CLASSES = (0x03, 0x12)  # display controller, processing accelerator
_CAP_SYS_ADMIN = 21


class MapRefused(NotPermitted):
    """The kernel does not let this process map a BAR: no privilege, lockdown, or a driver's region (strict iomem)."""

    finding_code = "pci.mmap-refused"


class Asleep(Undecided):
    """The function is in D3 and is left asleep."""

    finding_code = "pci.power"


def scan(root: Path = SYS, details: Callable[[int, int, int], bool] | None = None) -> list[FunctionInfo]:
    """All functions of this machine's PCI bus, by address. Reads no config space and wakes nothing.

    `details(vendor, device, class_code)` says which functions get more than identity (default: display controllers and
    processing accelerators). Functions that vanish meanwhile are left out. Raises Unavailable if there is no PCI bus."""
    folder = root / "bus/pci/devices"
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise Unavailable(
            "looking for PCI functions",
            expected="the PCI bus in sysfs",
            seen=os.strerror(error.errno or 0),
            where=str(folder),
            next_step="is there a PCI bus, and is sysfs mounted (in a container, too)?",
        ) from error
    wanted = details or (lambda _vendor, _device, class_code: class_code >> 16 in _GPU_CLASSES)
    found = (_scan_one(f"{folder}/{name}", name, wanted) for name in names if BDF.match(name))
    return [info for info in found if info is not None]


def _scan_one(path: str, bdf: str, wanted: Callable[[int, int, int], bool]) -> FunctionInfo | None:
    vendor, device = _number(path, "vendor"), _number(path, "device")
    if vendor is None or device is None:
        return None
    class_code = _number(path, "class")
    if not wanted(vendor, device, class_code or 0):
        return FunctionInfo(bdf, vendor, device, class_code=class_code)
    return _full_info(path, bdf, vendor, device, class_code)


def _full_info(path: str, bdf: str, vendor: int, device: int, class_code: int | None) -> FunctionInfo:
    enable = _text(path, "enable")
    methods = _text(path, "reset_method")
    group = _link_name(path, "iommu_group")
    return FunctionInfo(
        bdf,
        vendor,
        device,
        subsystem_vendor=_number(path, "subsystem_vendor"),
        subsystem_device=_number(path, "subsystem_device"),
        revision=_number(path, "revision"),
        class_code=class_code,
        driver=_link_name(path, "driver") or "",
        power_state=_text(path, "power_state") or None,
        enabled=None if enable is None else enable not in ("0", ""),
        numa_node=_numa(path),
        iommu_group=int(group) if group is not None and group.isdigit() else None,
        reset_methods=None if methods is None else tuple(methods.split()),
        upstream=_upstream(path),
        sriov_vf=_link_name(path, "physfn") is not None,
    )


def _text(path: str, name: str) -> str | None:
    """A sysfs attribute as it is but for blanks at its ends; None if it is absent, unreadable or gone."""
    try:
        handle = os.open(f"{path}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(handle, _MAX_ATTRIBUTE_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return None
    finally:
        os.close(handle)


def _number(path: str, name: str) -> int | None:
    text = _text(path, name)
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None


def _numa(path: str) -> int | None:
    node = _number(path, "numa_node")
    return None if node is None or node < 0 else node


def _link_name(path: str, name: str) -> str | None:
    try:
        return os.path.basename(os.readlink(f"{path}/{name}"))  # noqa: PTH119, PTH115 - hot in a scan
    except OSError:
        return None


def _upstream(path: str) -> str | None:
    """The bridge above: the folder that the function's real folder lies in."""
    parent = os.path.basename(os.path.dirname(os.path.realpath(path)))  # noqa: PTH119, PTH120 - hot in a scan
    return parent if BDF.match(parent) else None


@functools.cache
def _may_read_all_config() -> bool:
    """Whether this process has CAP_SYS_ADMIN, without which the kernel shows 64 bytes of config space."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return os.geteuid() == 0
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(found and int(found[1], 16) >> _CAP_SYS_ADMIN & 1)


class SysfsTransport:
    """One function on this machine's bus. Not for several threads at once, but for `exclusive`."""

    def __init__(
        self,
        bdf: str,
        *,
        root: Path = SYS,
        lock_dir: Path | None = None,
        lock_prefix: str = "am",
        proc: Path = Path("/proc"),
    ) -> None:
        if not BDF.match(bdf):
            raise UsageError(f"reading the bus address {bdf!r}", expected="0000:c1:00.0 (small letters)", seen=bdf)
        self.name = bdf
        self.bdf = bdf
        self.root = root
        self.can = Can.MMIO | Can.HOST | Can.CONFIG_WRITE | Can.RESET
        if _may_read_all_config():
            self.can |= Can.CONFIG_EXTENDED
        self.path = root / "bus/pci/devices" / bdf
        self._proc = proc
        if hostmemory.may_allocate(self.path, proc):
            self.can |= Can.DMA
        self._lock = DeviceLock(bdf, prefix=lock_prefix, folder=lock_dir, proc=proc)
        self._config: dict[bool, int] = {}
        self._config_size: int | None = None
        self._bars: dict[int, Bar] | None = None
        self._windows: OrderedDict[tuple[int, bool, int], Window] = OrderedDict()
        self._awake_until = 0.0

    def info(self) -> FunctionInfo:
        path = str(self.path)
        vendor, device = _number(path, "vendor"), _number(path, "device")
        if vendor is None or device is None:
            raise self._gone("asking who it is", "no vendor and device id")
        return _full_info(path, self.bdf, vendor, device, _number(path, "class"))

    def bars(self) -> Mapping[int, Bar]:
        """The BARs that the kernel gave an address, from `resource`."""
        if self._bars is None:
            text = _text(str(self.path), "resource")
            if text is None:
                raise self._gone("reading the BARs", "no file `resource`")
            self._bars = parse_resource(text, where=str(self.path / "resource"))
        return self._bars

    def config_size(self) -> int:
        """64 bytes without CAP_SYS_ADMIN, else 256 or 4096; what is really readable counts."""
        if self._config_size is None:
            handle = self._config_handle(write=False)
            try:
                there = os.fstat(handle).st_size
                # Asks across the limit of the unprivileged: the kernel cuts what it does not show.
                shown = 64 + len(os.pread(handle, 8, 60)) - 4
            except OSError as error:
                raise self._explain(error, "reading config space", "config") from error
            if shown < 64:
                self._config_size = min(there, 60)
            elif shown == 64:
                self._config_size = 64
            else:
                self._config_size = 4096 if there >= 4096 else 256
        return self._config_size

    def config_read(self, offset: int, size: int) -> int:
        self._check_config(offset, size)
        handle = self._config_handle(write=False)
        try:
            data = os.pread(handle, size, offset)
        except OSError as error:
            raise self._explain(error, "reading config space", f"config+{offset:#x}") from error
        if len(data) < size:
            raise NotPermitted(
                f"reading config space of {self.bdf}",
                expected=f"{size} bytes at {offset:#x}",
                seen=f"{len(data)} bytes: config space ends, or is hidden without privilege",
                where=f"{self.path}/config",
                next_step="run as root (CAP_SYS_ADMIN) to see more than the first 64 bytes",
            )
        return int.from_bytes(data, "little")

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._check_config(offset, size)
        data = value.to_bytes(size, "little")
        handle = self._config_handle(write=True)
        try:
            os.pwrite(handle, data, offset)
        except OSError as error:
            raise self._explain(error, "writing config space", f"config+{offset:#x}") from error

    def read32(self, bar: int, offset: int) -> int:
        window, index = self._at(bar, offset, 4, write=False)
        return window.words[index]

    def write32(self, bar: int, offset: int, value: int) -> None:
        window, index = self._at(bar, offset, 4, write=True)
        window.words[index] = value

    def read64(self, bar: int, offset: int) -> int:
        window, index = self._at(bar, offset, 8, write=False)
        return window.longs[index]

    def write64(self, bar: int, offset: int, value: int) -> None:
        window, index = self._at(bar, offset, 8, write=True)
        window.longs[index] = value

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        """Word by word: memory behind a BAR is not cached, and a wide unaligned load may fault on some machines."""
        self._check_block(bar, offset, size)
        words = array.array("I")
        while len(words) < size // 4:
            window, index = self._at(bar, offset + 4 * len(words), 4, write=False)
            words.extend(window.words[index : index + size // 4 - len(words)])  # to the window's end at most
        if sys.byteorder == "big":
            words.byteswap()
        return words.tobytes()

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self._check_block(bar, offset, len(data))
        words = array.array("I", data)
        if sys.byteorder == "big":
            words.byteswap()
        done = 0
        while done < len(words):
            window, index = self._at(bar, offset + 4 * done, 4, write=True)
            count = min(len(words) - done, len(window.words) - index)
            for step in range(count):
                window.words[index + step] = words[done + step]
            done += count

    def exclusive(self) -> AbstractContextManager[None]:
        return self._lock.exclusive()

    def holder(self) -> LockHolder | None:
        return self._lock.holder()

    def acquire(self) -> None:
        """Whoever drives it comes here first. Raises Refused (an IOMMU translates) and NotPermitted when there will be no
        memory that it can reach."""
        hostmemory.check_ready(f"opening {self.name} to drive it", self.path, self._proc, self.name)

    def alloc_dma(self, size: int) -> DmaBuffer:
        """Locked memory of this process; needs CAP_SYS_ADMIN and no translating IOMMU (pcibus/hostmemory.py)."""
        if not self.path.exists():
            raise self._gone("allocating memory for the device", "no such function")
        return hostmemory.allocate(size, device=self.path, proc=self._proc, where=self.name)

    def reset(self, method: str) -> None:
        """See pcibus/sysreset.py: `flr`, `bus`, `any` or `rescan`, in killable children. Refused while a driver is bound.

        What was mapped is unmapped before: a function that is removed takes its memory along."""
        self.close()
        try:
            sysreset.reset_function(self.bdf, method, root=self.root)
        finally:
            self._bars = self._config_size = None
            self._awake_until = 0.0

    def close(self) -> None:
        for handle in self._config.values():
            os.close(handle)
        self._config.clear()
        while self._windows:
            self._windows.popitem()[1].close()

    def __del__(self) -> None:
        if hasattr(self, "_windows"):  # not so when the constructor refused
            self.close()

    # --- config space

    @staticmethod
    def _check_config(offset: int, size: int) -> None:
        if size not in (1, 2, 4) or offset < 0 or offset % size or offset + size > 4096:
            raise ValueError(f"config space: {size} bytes at {offset:#x}; 1, 2 or 4 bytes, aligned, below 4096")

    def _config_handle(self, *, write: bool) -> int:
        self._stay_asleep("accessing config space", config=True)
        if write not in self._config:
            flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
            try:
                self._config[write] = os.open(self.path / "config", flags)
            except OSError as error:
                raise self._explain(error, "opening config space", "config") from error
        return self._config[write]

    # --- memory

    def _check_block(self, bar: int, offset: int, size: int) -> None:
        """The whole block lies in the BAR, so that no half of it is transferred first."""
        if size % 4 or offset % 4 or size < 0:
            raise ValueError(f"BAR{bar}+{offset:#x}: {size} bytes; offset and size of a block are multiples of 4")
        if size:
            self._check_inside(self._bar(bar), offset, size)

    def _bar(self, index: int) -> Bar:
        bar = self.bars().get(index)
        if bar is None:
            raise Unavailable(
                f"accessing BAR{index} of {self.bdf}",
                expected="a BAR with an address",
                seen=f"BARs {', '.join(map(str, self.bars())) or 'none'}",
                where=str(self.path / "resource"),
                next_step="was memory for it assigned? see dmesg for BAR assignment failures",
            )
        if bar.is_io:
            raise Unavailable(
                f"accessing BAR{index} of {self.bdf}",
                expected="a memory BAR",
                seen="I/O ports",
                where=str(self.path / "resource"),
            )
        return bar

    def _check_inside(self, bar: Bar, offset: int, size: int) -> None:
        if offset < 0 or offset + size > bar.size:
            raise Unavailable(
                f"accessing BAR{bar.index} of {self.bdf}",
                expected=f"an offset below {bar.size:#x}",
                seen=f"{size} bytes at {offset:#x}",
                where=f"BAR{bar.index}+{offset:#x} on {self.bdf}",
            )

    def _at(self, index: int, offset: int, size: int, *, write: bool) -> tuple[Window, int]:
        """The window that holds the access, and the index of its word in it."""
        if offset % size:
            raise ValueError(f"BAR{index}+{offset:#x}: not aligned to {size} bytes")
        bar = self._bar(index)
        self._check_inside(bar, offset, size)
        self._stay_asleep(f"accessing BAR{index}", config=False)
        start, span = self._span(bar, offset)
        key = (index, write, start)
        window = self._windows.get(key)
        if window is None:
            window = self._map(bar, start, span, write)
            while len(self._windows) >= _MAX_WINDOWS:
                self._windows.popitem(last=False)[1].close()
            self._windows[key] = window
        return window, (offset - start) // size

    def _span(self, bar: Bar, offset: int) -> tuple[int, int]:
        """Start and size of the window that an access at this offset gets."""
        return span_within(0, bar.size, offset)

    def _map(self, bar: Bar, start: int, size: int, write: bool) -> Window:
        doing = f"mapping BAR{bar.index}"
        file = self.path / f"resource{bar.index}"
        try:
            handle = os.open(file, (os.O_RDWR if write else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._explain(error, doing, file.name) from error
        try:
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
            return MappedWindow(mmap.mmap(handle, size, flags=mmap.MAP_SHARED, prot=protection, offset=start))
        except (OSError, ValueError) as error:
            raise self._explain_map(error, doing, file) from error
        finally:
            os.close(handle)

    def _explain_map(self, error: OSError | ValueError, doing: str, file: Path) -> GpumendError:
        if isinstance(error, ValueError):
            return Unavailable(
                f"{doing} of {self.bdf}", expected="a file of the BAR's size", seen=str(error), where=str(file)
            )
        number = error.errno or 0
        if number == errno.EPERM:
            mode = lockdown(self.root)
            return MapRefused(
                f"{doing} of {self.bdf}",
                expected="memory that userspace may map",
                seen=f"refused by the kernel: lockdown is {mode or 'unknown'}",
                where=str(file),
                next_step="boot without lockdown (it comes with Secure Boot), or ask the bound driver's own files",
            )
        if number in (errno.EINVAL, errno.EBUSY):
            driver = _link_name(str(self.path), "driver")
            return MapRefused(
                f"{doing} of {self.bdf}",
                expected="memory that no driver keeps for itself",
                seen=f"refused by the kernel: {os.strerror(number)}; bound driver: {driver or 'none'}",
                where=str(file),
                next_step=f"unbind {driver} first" if driver else "boot with iomem=relaxed (CONFIG_IO_STRICT_DEVMEM)",
            )
        return self._explain(error, doing, file.name)

    # --- both

    def _stay_asleep(self, doing: str, *, config: bool) -> None:
        """Raise Asleep rather than wake the function or touch one that sleeps. Asked ten times a second at most."""
        now = time.monotonic()
        if now < self._awake_until:
            return
        state = _text(str(self.path), "power_state") or "unknown"
        if state == "unknown" and not self.path.exists():
            raise self._gone(doing, "removed")
        upstream = _upstream(str(self.path))
        above = _text(str(self.path.parent / upstream), "power_state") if upstream else None
        hot_is_fine = config and state == "D3hot"
        if state in _ASLEEP and not hot_is_fine:
            raise self._asleep(doing, state, self.bdf)
        if upstream and above in _ASLEEP:
            raise self._asleep(doing, above, f"its upstream port {upstream}")
        if not hot_is_fine:
            self._awake_until = now + _POWER_CHECK_S

    def _asleep(self, doing: str, state: str, who: str) -> Asleep:
        return Asleep(
            f"{doing} of {self.bdf}",
            expected="power state D0",
            seen=f"{who} is in {state}; looking would wake it or read nothing but ones",
            where=f"{self.path}/power_state",
            next_step=f"to wake it: echo on > {self.path}/power/control",
            verb="not done",
        )

    def _explain(self, error: OSError, doing: str, file: str) -> GpumendError:
        number = error.errno or 0
        where = f"{self.path}/{file}"
        if number == errno.ENOENT and self.path.is_dir():
            return Unavailable(
                f"{doing} of {self.bdf}",
                expected=f"the file {file}",
                seen="this kernel offers no such file",
                where=where,
                next_step="is sysfs complete here (a container?), and was the kernel built with mapping of PCI resources?",
            )
        if number in _GONE:
            return self._gone(doing, os.strerror(number))
        if number in (errno.EACCES, errno.EPERM):
            lock = lockdown(self.root)
            told = f"{os.strerror(number)}; lockdown is {lock}" if lock not in ("", "none") else os.strerror(number)
            kind = MapRefused if doing.startswith("mapping") else NotPermitted
            return kind(
                f"{doing} of {self.bdf}",
                expected="root (CAP_DAC_OVERRIDE), no kernel lockdown, a sysfs that is not mounted read-only",
                seen=told,
                where=where,
                next_step="run as root",
            )
        if number == errno.EROFS:
            return NotPermitted(
                f"{doing} of {self.bdf}",
                expected="a sysfs that can be written",
                seen="mounted read-only (a container?)",
                where=where,
            )
        return Unavailable(f"{doing} of {self.bdf}", expected="the file's data", seen=os.strerror(number), where=where)

    def _gone(self, doing: str, seen: str) -> Unavailable:
        """Not there now: lost if we reached it before, else nothing at that address."""
        seen_before = bool(self._config or self._windows or self._bars is not None)
        if self.path.exists():
            return DeviceLost(
                f"{doing} of {self.bdf}", expected="a device that answers", seen=seen, where=str(self.path)
            )
        kind = DeviceLost if seen_before else Unavailable
        return kind(
            f"{doing} of {self.bdf}",
            expected="a PCI function at that address",
            seen="none" if not seen_before else "it went away",
            where=str(self.path),
            next_step="gpumend list",
        )


class Words(Protocol):
    """Aligned words of one size: each index is one access of that size."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, index: int, /) -> int: ...

    @overload
    def __getitem__(self, index: slice, /) -> Iterable[int]: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class Window(Protocol):
    """A piece of a BAR, as words of 32 and of 64 bits."""

    @property
    def words(self) -> Words: ...

    @property
    def longs(self) -> Words: ...

    def close(self) -> None: ...


class MappedWindow:
    """A mapped piece of a BAR: each index is one load or store."""

    """A mapped piece of a BAR, as aligned 32-bit and 64-bit words: each index is one load or store."""

    __slots__ = ("_map", "_view", "longs", "words")

    def __init__(self, mapped: mmap.mmap) -> None:
        self._map = mapped
        self._view = memoryview(mapped)
        self.words = self._view[: len(mapped) & ~3].cast("I")
        self.longs = self._view[: len(mapped) & ~7].cast("Q")

    def close(self) -> None:
        for view in (self.words, self.longs, self._view):
            view.release()
        self._map.close()


def span_within(first: int, end: int, offset: int) -> tuple[int, int]:
    """Start and size of the window around `offset` in the stretch first..end: all of it, if that is not too much."""
    if end - first <= _WHOLE_BAR_BYTES:
        return first, end - first
    start = max(first, offset - offset % _WINDOW_BYTES)
    return start, min(offset - offset % _WINDOW_BYTES + _WINDOW_BYTES, end) - start


def parse_resource(text: str, *, where: str = "resource") -> dict[int, Bar]:
    """The BARs of a sysfs `resource` file: one line `start end flags` each; BARs without an address are left out.

    Raises InvalidData when a line is something else."""
    bars = {}
    for index, line in enumerate(text.splitlines()[:_STANDARD_BARS]):
        try:
            start, end, flags = (int(word, 16) for word in line.split())
        except ValueError as error:
            raise InvalidData(
                "reading the BARs",
                expected="start, end and flags in hex",
                seen=repr(line[:80]),
                where=f"{where}:{index + 1}",
            ) from error
        if not flags & (_IO | _MEM) or flags & (_UNSET | _DISABLED) or end <= start:
            continue
        bars[index] = Bar(
            index,
            start,
            end - start + 1,
            is_io=bool(flags & _IO),
            is_64bit=bool(flags & _MEM_64),
            prefetchable=bool(flags & _PREFETCH),
        )
    return bars


def lockdown(root: Path = SYS) -> str:
    """The kernel's lockdown mode: none, integrity or confidentiality; "" where it cannot be read."""
    text = _text(str(root / "kernel/security"), "lockdown") or ""
    found = re.search(r"\[(\w+)\]", text)
    return found[1] if found else ""


def aer_counters(bdf: str, root: Path = SYS) -> dict[str, dict[str, int]] | None:
    """The kernel's AER counts of a function, {"correctable": {"BadTLP": 3, ...}, "nonfatal": ..., "fatal": ...}, those
    that are not 0; None when it keeps none (no AER, or firmware handles errors). The totals are left out."""
    path = str(root / "bus/pci/devices" / bdf)
    counters = {}
    for kind in ("correctable", "nonfatal", "fatal"):
        text = _text(path, f"aer_dev_{kind}")
        if text is not None:
            counters[kind] = _counts(text)
    return counters or None


def _counts(text: str) -> dict[str, int]:
    rows = (line.rsplit(None, 1) for line in text.splitlines())
    pairs = ((row[0], int(row[1])) for row in rows if len(row) == 2 and row[1].isascii() and row[1].isdigit())
    return {name: count for name, count in pairs if count and not name.startswith("TOTAL_")}


__all__ = [
    "BDF",
    "SYS",
    "Asleep",
    "MapRefused",
    "SysfsTransport",
    "aer_counters",
    "lockdown",
    "parse_resource",
    "scan",
]
