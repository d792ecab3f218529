"""pcibus/hostmemory.py: what is asked of the system before memory is given to a device, on files that a test wrote."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from pathlib import Path

import pytest

from base.errors import Exit, NotPermitted, Refused, Unavailable, UsageError
from pcibus import hostmemory
from pcibus.hostmemory import HUGE_BYTES, PAGE_BYTES, HostBuffer

START = 16 * PAGE_BYTES  # where the fake memory claims to be: pagemap entry 16
PRESENT = 1 << 63


class Host:
    """A /proc and a device folder; `maps` holds what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.device = folder / "0000:c1:00.0"
        self.device.mkdir()
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "sys/vm").mkdir(parents=True)
        self.capabilities(0x1FFFFFFFFFF)
        self.compaction("0")
        self.pages([0x1000 + 7 * index for index in range(1024)])
        self.maps: list[tuple[int, bool]] = []
        self.made: list[mmap.mmap] = []
        self.huge_pages = 0
        self.refuses = 0

    def capabilities(self, mask: int) -> None:
        (self.proc / "self/status").write_text(f"Name:\tpython\nCapEff:\t{mask:016x}\n")

    def compaction(self, value: str) -> None:
        (self.proc / "sys/vm/compact_unevictable_allowed").write_text(f"{value}\n")

    def pages(self, frames: list[int], flags: int = PRESENT) -> None:
        entries = [0] * (START // PAGE_BYTES) + [frame | flags for frame in frames]
        (self.proc / "self/pagemap").write_bytes(struct.pack(f"<{len(entries)}Q", *entries))

    def iommu(self, kind: str | None) -> None:
        (self.device / "iommu_group").mkdir()
        if kind is not None:
            (self.device / "iommu_group/type").write_text(f"{kind}\n")

    def _map(self, size: int, huge: bool) -> mmap.mmap:
        self.maps.append((size, huge))
        if self.refuses or (huge and size // HUGE_BYTES > self.huge_pages):
            raise OSError(self.refuses or errno.ENOMEM, os.strerror(self.refuses or errno.ENOMEM))
        self.made.append(mmap.mmap(-1, size))
        return self.made[-1]

    def allocate(self, size: int) -> HostBuffer:
        return hostmemory.allocate(
            size, device=self.device, proc=self.proc, where="card", mapper=self._map, address_of=lambda _: START
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_hostmemory_addresses_are_those_of_pagemap(host: Host) -> None:
    buffer = host.allocate(3 * PAGE_BYTES - 5)
    assert buffer.page_size == PAGE_BYTES
    assert buffer.bus_addr == (0x1000000, 0x1007000, 0x100E000)
    assert buffer.size == 3 * PAGE_BYTES - 5
    assert host.maps == [(3 * PAGE_BYTES, False)]


def test_hostmemory_bits_above_the_frame_are_no_address(host: Host) -> None:
    host.pages([5], flags=PRESENT | 1 << 55 | 1 << 61)
    assert host.allocate(1).bus_addr == (5 * PAGE_BYTES,)


def test_hostmemory_large_sizes_take_huge_pages_where_there_are_some(host: Host) -> None:
    host.huge_pages = 2
    host.pages(list(range(0x4000, 0x4000 + 512)) + list(range(0x9000, 0x9000 + 512)))
    buffer = host.allocate(HUGE_BYTES + 1)
    assert (buffer.page_size, buffer.bus_addr) == (HUGE_BYTES, (0x4000000, 0x9000000))


def test_hostmemory_huge_pages_need_no_word_about_compaction(host: Host) -> None:
    host.huge_pages = 1
    host.compaction("1")
    assert host.allocate(HUGE_BYTES).page_size == HUGE_BYTES


def test_hostmemory_without_huge_pages_takes_small_ones(host: Host) -> None:
    buffer = host.allocate(HUGE_BYTES)
    assert host.maps == [(HUGE_BYTES, True), (HUGE_BYTES, False)]
    assert len(buffer.bus_addr) == 512


def test_hostmemory_reads_and_writes_within_its_bounds_until_it_is_closed(host: Host) -> None:
    buffer = host.allocate(PAGE_BYTES)
    buffer.write(10, b"hello")
    assert buffer.read(9, 7) == b"\0hello\0"
    for offset, size in ((-1, 1), (PAGE_BYTES, 1), (0, PAGE_BYTES + 1)):
        with pytest.raises(ValueError, match="outside of its 0x1000 bytes"):
            buffer.read(offset, size)
    buffer.close()
    buffer.close()
    with pytest.raises(ValueError, match="given back"):
        buffer.write(0, b"x")
    assert host.made[0].closed


@pytest.mark.parametrize("size", [0, -4096])
def test_hostmemory_of_nothing_is_refused(host: Host, size: int) -> None:
    with pytest.raises(UsageError, match="expected  a size above zero"):
        host.allocate(size)
    assert host.maps == []


@pytest.mark.parametrize(
    ("kind", "told"), [("DMA", "DMA"), ("DMA-FQ", "DMA-FQ"), ("blocked", "blocked"), (None, "unknown")]
)
def test_hostmemory_behind_a_translating_iommu_is_refused(host: Host, kind: str | None, told: str) -> None:
    host.iommu(kind)
    with pytest.raises(Refused, match=f"IOMMU group of type {told}") as caught:
        host.allocate(PAGE_BYTES)
    assert "iommu=pt" in caught.value.next_step
    assert f"vfio:{host.device.name}" in caught.value.next_step
    assert host.maps == []
    assert not hostmemory.may_allocate(host.device, host.proc)


def test_hostmemory_behind_an_iommu_that_passes_addresses_on_is_given(host: Host) -> None:
    host.iommu("identity")
    assert host.allocate(PAGE_BYTES).bus_addr
    assert hostmemory.may_allocate(host.device, host.proc)


def test_hostmemory_without_cap_sys_admin_names_it(host: Host) -> None:
    host.capabilities(0x1FFFFFFFFFF & ~(1 << 21))
    with pytest.raises(NotPermitted, match="CAP_SYS_ADMIN") as caught:
        host.allocate(PAGE_BYTES)
    assert caught.value.exit_code is Exit.NOT_PERMITTED
    assert host.maps == []
    assert not hostmemory.may_allocate(host.device, host.proc)


def test_hostmemory_without_a_proc_is_not_permitted(host: Host) -> None:
    (host.proc / "self/status").unlink()
    with pytest.raises(NotPermitted):
        host.allocate(PAGE_BYTES)


def test_hostmemory_pagemap_that_hides_addresses_names_the_capability(host: Host) -> None:
    host.pages([0, 0])
    with pytest.raises(NotPermitted, match="pagemap shows zeros"):
        host.allocate(2 * PAGE_BYTES)
    assert host.made[0].closed


def test_hostmemory_page_that_is_not_there_is_told_and_given_back(host: Host) -> None:
    host.pages([7, 8], flags=0)
    with pytest.raises(Unavailable, match="0 of them"):
        host.allocate(2 * PAGE_BYTES)
    host.pages([7])
    with pytest.raises(Unavailable, match="expected  2 pages in memory\n  seen      1 of them"):
        host.allocate(2 * PAGE_BYTES)
    assert all(one.closed for one in host.made)


def test_hostmemory_without_pagemap_is_unavailable(host: Host) -> None:
    (host.proc / "self/pagemap").unlink()
    with pytest.raises(Unavailable, match="expected  pagemap"):
        host.allocate(PAGE_BYTES)
    assert host.made[0].closed


def test_hostmemory_small_pages_that_may_move_are_refused(host: Host) -> None:
    host.compaction("1")
    with pytest.raises(Refused, match="compact_unevictable_allowed is 1") as caught:
        host.allocate(PAGE_BYTES)
    assert "nr_hugepages" in caught.value.next_step


def test_hostmemory_kernel_without_compaction_moves_nothing(host: Host) -> None:
    (host.proc / "sys/vm/compact_unevictable_allowed").unlink()
    assert host.allocate(PAGE_BYTES).bus_addr


def test_hostmemory_that_cannot_be_locked_names_capability_or_memory(host: Host) -> None:
    host.refuses = errno.ENOMEM
    with pytest.raises(Unavailable, match="memory that can be locked"):
        host.allocate(PAGE_BYTES)
    host.capabilities(1 << 21)
    with pytest.raises(NotPermitted, match="CAP_IPC_LOCK"):
        host.allocate(PAGE_BYTES)


def test_hostmemory_device_that_is_not_there_gets_none(host: Host) -> None:
    assert not hostmemory.may_allocate(host.device / "gone", host.proc)


def test_hostmemory_real_mapping_is_zeroed_and_closes() -> None:
    try:
        mapped = hostmemory._map(2 * PAGE_BYTES, False)
    except OSError as error:
        pytest.skip(f"this machine locks no memory for us: {error}")
    assert hostmemory._address_of(mapped) % PAGE_BYTES == 0
    assert mapped[:] == bytes(2 * PAGE_BYTES)
    mapped.close()
    assert mapped.closed
