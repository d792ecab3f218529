"""Where the discovery binary is found on a GPU, and reading it from there without changing anything.

Source: Linux v7.3 amdgpu/amdgpu_discovery.c (amdgpu_discovery_get_tmr_info: wait, memory size, default place, driver
scratch), amdgpu_debugfs.c (the bound driver's copy); amd-discovery.md section 1 and section 9 rows 1 and 17.

The order: boot firmware ready (bounded wait; the kernel goes on without it too), memory size, the place 64 KiB before the
end of VRAM, the place that the driver scratch registers name, both once more; each through BAR0 where that reaches, else
through the MM_INDEX window, whose index registers are the only thing written. What is there is read twice and compared."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amdriver.access import Access, VramPath
from amdriver.discovery import diff
from amdriver.discovery_format import (
    BINARY_SIGNATURE,
    COPY_SIZE_BYTES,
    FROM_VRAM_END_BYTES,
    HEADER,
    MAX_BLOB_BYTES,
    V1_TABLES_AT,
)
from amdriver.parts import Part
from base.clock import Clock
from base.errors import GpumendError, WaitTimeout
from base.files import read_bounded
from base.findings import Finding, Severity
from base.poll import poll
from pcibus.config import why_all_ones
from pcibus.transport import ALL_ONES, Transport
from registers.amd_fixed import Fixed

BOOT_WAIT_S = 0.3  # for a probe
KERNEL_BOOT_WAIT_S = 2.0  # amdgpu_discovery.c: 2000 times a millisecond
RETRY_PAUSE_S = 0.02
DEBUGFS_ROOT = "/sys/kernel/debug/dri"

_MIB = 1 << 20
_MOST_MIB = 1 << 24  # 16 TiB: more than this is no memory size
_HEAD_BYTES = 64
_SAMPLES = 8
_MAX_DEBUGFS_ENTRIES = 1024
_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_PATH_WORDS = {"bar0": "BAR0", "window": "the MM_INDEX window"}


@dataclass(frozen=True, slots=True)
class Located:
    """What was read from a GPU. `blob` b"": nothing could be read, `findings` say why.

    A table that was found is cut to its binary_size. `vram_offset` in bytes; None when it did not come from VRAM."""

    blob: bytes
    vram_offset: int | None
    source: str
    findings: tuple[Finding, ...] = ()
    memsize_mib: int | None = None

    @property
    def vram_size_bytes(self) -> int | None:
        """For `validate`."""
        return self.memsize_mib * _MIB if self.memsize_mib else None


@dataclass(frozen=True, slots=True)
class _Place:
    """One place where the table may lie."""

    offset: int
    limit_bytes: int
    name: str


def locate(
    access: Access,
    clock: Clock,
    *,
    part: Part | None = None,
    boot_wait_s: float = BOOT_WAIT_S,
    retry_pause_s: float = RETRY_PAUSE_S,
) -> Located:
    """Find and read the discovery binary. Bounded: the two waits, and at most twice 64 KiB read.

    What stands in the way of reading VRAM becomes a finding (`amd.discovery.unreadable`, severity unknown). Raises only
    what the first register read raises: NotPermitted, Unavailable, DeviceLost."""
    return _Search(access, clock, part, boot_wait_s, retry_pause_s).run()


class _Search:
    def __init__(
        self, access: Access, clock: Clock, part: Part | None, boot_wait_s: float, retry_pause_s: float
    ) -> None:
        self.access = access
        self.clock = clock
        self.part = part
        self.boot_wait_s = boot_wait_s
        self.retry_pause_s = retry_pause_s
        self.regs = Fixed(access)
        self.findings: list[Finding] = []

    def run(self) -> Located:
        if not self._wait_for_boot():
            return self._nothing(None)
        memsize_mib = self.regs.RCC_CONFIG_MEMSIZE.read().VALUE
        if not self._memsize_usable(memsize_mib):
            return self._nothing(None if memsize_mib == ALL_ONES else memsize_mib)
        try:
            return self._from_vram(memsize_mib)
        except GpumendError as error:
            self._unreadable(error)
            return self._nothing(memsize_mib)

    def _nothing(self, memsize_mib: int | None) -> Located:
        return Located(b"", None, "", tuple(self.findings), memsize_mib)

    def _add(
        self, code: str, severity: Severity, what: str, expected: str, seen: str, where: str, next_: str = ""
    ) -> None:
        self.findings.append(Finding(code, severity, what, expected, seen, where, next_))

    def _unreadable(self, error: GpumendError) -> None:
        self._add(
            "amd.discovery.unreadable",
            Severity.UNKNOWN,
            "the discovery table could not be read",
            error.expected,
            f"{error.doing} {error.verb}: {error.seen}".rstrip(": "),
            error.where or self.access.transport.name,
            error.next_step,
        )

    def _dead(self, where: str) -> None:
        self._add(
            "amd.discovery.unreadable",
            Severity.UNKNOWN,
            "registers read all ones, so the discovery table cannot be reached",
            "a register value",
            f"{ALL_ONES:#010x}",
            where,
            "gpumend probe: is the function off the bus, memory decoding off, or the BAR dead?",
        )

    # ---- before VRAM

    def _wait_for_boot(self) -> bool:
        """False if the registers are dead. A boot firmware that is not ready is told, but does not end the search."""
        register = self.regs.MP0_SMN_C2PMSG_33
        try:
            seen = poll(
                self.clock,
                register.read,
                lambda value: bool(value.IFWI_READY),
                doing="waiting for the boot firmware",
                expected="C2PMSG_33 bit 31",
                timeout_s=self.boot_wait_s,
                where=register.where,
                show=register.show,
            )
        except WaitTimeout as error:
            what = "the boot firmware does not say that it is ready; read all the same"
            self._add("amd.discovery.boot", Severity.NOTE, what, error.expected, error.seen, error.where)
            return True
        if seen.value == ALL_ONES:
            self._dead(register.where)
            return False
        return True

    def _memsize_usable(self, memsize_mib: int) -> bool:
        where = self.regs.RCC_CONFIG_MEMSIZE.where
        if memsize_mib == ALL_ONES:
            self._dead(where)
            return False
        code, next_ = "amd.discovery.memsize", "gpumend probe; if it stays so: mode1 (in a hive: of all members)"
        if memsize_mib == 0 and self.part is not None and self.part.is_apu:
            what = "an APU: its table lies in system memory, where only its driver finds it"
            self._add("amd.discovery.unreadable", Severity.UNKNOWN, what, "VRAM", "memory size 0", where)
            return False
        if memsize_mib == 0:
            self._add(code, Severity.ERROR, "memory size is 0: VRAM is not set up", "a size in MiB", "0", where, next_)
            return False
        if memsize_mib > _MOST_MIB:
            what, expected = "memory size makes no sense", f"at most {_MOST_MIB} MiB"
            self._add(code, Severity.ERROR, what, expected, f"{memsize_mib} MiB", where, next_)
            return False
        told = self.part.vram_range_mib if self.part else None
        if self.part is not None and told is not None and not told[0] <= memsize_mib <= told[1]:
            what = f"memory size is not that of an {self.part.name}"
            expected = f"{told[0]}..{told[1]} MiB"
            self._add(code, Severity.WARNING, what, expected, f"{memsize_mib} MiB", where, next_)
        return True

    # ---- VRAM

    def _from_vram(self, memsize_mib: int) -> Located:
        default = _Place(memsize_mib * _MIB - FROM_VRAM_END_BYTES, COPY_SIZE_BYTES, "64 KiB before the end of VRAM")
        found = self._search(default, memsize_mib)
        place, path = found or (default, self._path(default))
        if found is None and path == "bar0" and self._window_sees(default):
            path = "window"
        blob = self._read(place, path)
        again = self._read(place, path)
        where = f"VRAM {place.offset:#x} through {_PATH_WORDS[path]} on {self.access.transport.name}"
        if blob != again:
            what = "the discovery table changes while it is read"
            seen = str(diff(blob, again))
            next_ = "a reset is under way, or something writes there: wait, then gpumend probe again"
            self._add("amd.discovery.unstable", Severity.ERROR, what, "two equal reads", seen, where, next_)
        source = f"{_PATH_WORDS[path]}, {place.name}"
        return Located(again, place.offset, source, tuple(self.findings), memsize_mib)

    def _search(self, default: _Place, memsize_mib: int) -> tuple[_Place, VramPath] | None:
        """The place that shows the signature: default, driver scratch, and after a pause both once more."""
        for attempt in range(2):
            if attempt:
                self.clock.sleep(self.retry_pause_s)
            if self._shows_signature(default, self._path(default)):
                return default, self._path(default)
            scratch = self._scratch(memsize_mib, tell=attempt == 0)
            if scratch is not None and self._shows_signature(scratch, self._path(scratch)):
                return scratch, self._path(scratch)
        return None

    def _path(self, place: _Place) -> VramPath:
        return "bar0" if self.access.is_visible(place.offset, place.limit_bytes) else "window"

    def _shows_signature(self, place: _Place, path: VramPath) -> bool:
        return int.from_bytes(self.access.vram_read(place.offset, 4, path), "little") == BINARY_SIGNATURE

    def _window_sees(self, place: _Place) -> bool:
        """BAR0 shows no table. If the other way in does, BAR0 is what is broken."""
        try:
            is_there = self._shows_signature(place, "window")
        except GpumendError:  # driver bound or lock held: then this question stays open, and BAR0's answer stands
            return False
        if is_there:
            what = "BAR0 does not show the discovery table that the index window shows"
            where = f"BAR0+{place.offset:#x} on {self.access.transport.name}"
            next_ = "BAR0 is dead or points elsewhere: gpumend probe; restore the configuration"
            self._add(
                "amd.discovery.bar0", Severity.ERROR, what, f"{BINARY_SIGNATURE:#010x}", "other data", where, next_
            )
        return is_there

    def _scratch(self, memsize_mib: int, *, tell: bool) -> _Place | None:
        """Where the driver scratch registers say that the table lies; None when they say nothing usable."""
        regs = self.regs
        size = regs.DRIVER_SCRATCH_2.read().VALUE
        if size in (0, ALL_ONES):
            return None
        offset = regs.DRIVER_SCRATCH_1.read().VALUE << 32 | regs.DRIVER_SCRATCH_0.read().VALUE
        if size >= HEADER.size and offset % 4 == 0 and offset + size <= memsize_mib * _MIB:
            return _Place(offset, min(size, MAX_BLOB_BYTES) & ~3, "where the driver scratch registers point")
        if tell:
            what = "the driver scratch registers name no usable place"
            expected = f"within {memsize_mib * _MIB:#x} bytes of VRAM"
            seen = f"offset {offset:#x}, size {size:#x}"
            self._add("amd.discovery.scratch", Severity.NOTE, what, expected, seen, regs.DRIVER_SCRATCH_2.where)
        return None

    def _read(self, place: _Place, path: VramPath) -> bytes:
        """The whole table, or all that may hold it when its size is not known; little when all is ones."""
        read = self.access.vram_read
        head = read(place.offset, min(_HEAD_BYTES, place.limit_bytes), path)
        size = place.limit_bytes
        if int.from_bytes(head[:4], "little") == BINARY_SIGNATURE:
            told: int = HEADER.unpack_from(head)[4]
            if V1_TABLES_AT < told <= place.limit_bytes:
                size = told
        elif head.count(0xFF) == len(head) and self._all_ones(place, path):
            return head  # each further dword may cost a completion timeout
        return head[:size] + (read(place.offset + len(head), size - len(head), path) if size > len(head) else b"")

    def _all_ones(self, place: _Place, path: VramPath) -> bool:
        step = place.limit_bytes // _SAMPLES & ~3
        offsets = [place.offset + number * step for number in range(1, _SAMPLES)]
        return all(self.access.vram_read(at, 4, path) == b"\xff" * 4 for at in offsets)


# ---- the bound driver's copy


def look_up(
    transport: Transport, clock: Clock, *, part: Part | None = None, debugfs: str | Path = DEBUGFS_ROOT
) -> tuple[Located, bool]:
    """The table through a read-only transport, or the bound amdgpu's copy where the GPU itself shows none (True: a copy).

    Where MMIO would read all ones, or must not be touched, nothing is read: `findings` say why. Raises what `locate`
    raises, unless there is a copy."""
    doubts = tuple(why_all_ones(transport))
    if doubts:  # nothing that MMIO says could be believed
        return Located(b"", None, "", doubts), False
    info = transport.info()

    def copy() -> Located | None:
        return from_debugfs(info.bdf, debugfs) if info.driver == "amdgpu" else None

    try:
        located = locate(Access(transport), clock, part=part)
    except GpumendError:  # with a driver bound the kernel usually refuses to map its BARs
        instead = copy()
        if instead is None:
            raise
        return instead, True
    instead = None if located.blob else copy()
    return (instead, True) if instead else (located, False)


def from_debugfs(bdf: str, root: str | Path = DEBUGFS_ROOT) -> Located | None:
    """The copy that the bound amdgpu made when it was loaded; None when there is none, or it may not be read.

    Touches no hardware. It shows what the driver saw then, not what VRAM holds now, and amdgpu has changed the IP
    records in it: `validate(..., driver_copy=True)`."""
    if not _BDF.match(bdf):
        return None
    for folder in debugfs_folders(bdf, Path(root)):
        file = folder / "amdgpu_discovery"
        try:
            blob = read_bounded(file, MAX_BLOB_BYTES)
        except GpumendError:
            continue
        if blob:
            what = "this is the driver's copy, made when amdgpu was loaded"
            note = Finding("amd.discovery.driver-copy", Severity.NOTE, what, where=str(file))
            return Located(blob, None, f"debugfs {file}", (note,))
    return None


def debugfs_folders(bdf: str, root: Path) -> Iterator[Path]:
    """Newer kernels name the folder by address; older ones by minor, with the address in the file `name`."""
    yield root / bdf
    try:
        with os.scandir(root) as entries:
            minors = sorted(entry.name for entry, _ in zip(entries, range(_MAX_DEBUGFS_ENTRIES), strict=False))
    except OSError:
        return
    for minor in minors:
        if not minor.isdecimal():
            continue
        try:
            words = read_bounded(root / minor / "name", 4096).decode("ascii", "replace").split()
        except GpumendError:
            continue
        if f"dev={bdf}" in words:
            yield root / minor
