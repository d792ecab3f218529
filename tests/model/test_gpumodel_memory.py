"""VRAM of the true size that costs nothing, and memory of the host for DMA."""

from __future__ import annotations

import os

import pytest

from gpumodel import open_models
from gpumodel.memory import PAGE, HostMemory, Vram


@pytest.fixture(params=["memfd", "pages"])
def vram(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Vram:
    if request.param == "pages":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("no memfd on this system")
    return Vram(288 << 30)


def test_vram_untouched_reads_zeros_and_costs_nothing(vram: Vram) -> None:
    assert vram.read((288 << 30) - 4096, 4096) == bytes(4096)
    assert vram.read(0, 8) == bytes(8)
    assert vram.used() == 0


def test_vram_written_across_pages_reads_back(vram: Vram) -> None:
    data = bytes(range(256)) * 40
    offset = (200 << 30) + PAGE - 100
    vram.write(offset, data)
    assert vram.read(offset - 4, len(data) + 8) == bytes(4) + data + bytes(4)
    assert 0 < vram.used() <= len(data) + 2 * PAGE


@pytest.mark.parametrize(("offset", "size"), [(-4, 4), (288 << 30, 4), ((288 << 30) - 2, 4)])
def test_vram_outside_is_refused(vram: Vram, offset: int, size: int) -> None:
    with pytest.raises(ValueError, match="is outside of its 0x4800000000 bytes"):
        vram.read(offset, size)
    with pytest.raises(ValueError, match="is outside of its 0x4800000000 bytes"):
        vram.write(offset, bytes(size))


def test_vram_large_and_small_accesses_see_the_same_bytes(vram: Vram) -> None:
    data = bytes(range(251)) * 20000  # 5 MB: over chunks, through the file
    offset = (100 << 30) - 1_000_003
    vram.write(offset, data)
    assert vram.read(offset, len(data)) == data
    for place in (0, 999_000, 1_000_000, 3_000_000, len(data) - 70):
        assert vram.read(offset + place, 70) == data[place : place + 70]
    vram.write(offset + 2_000_000, b"small")
    vram.write(offset + 2_500_000, data[:100_000])  # large, over what is there
    whole = vram.read(offset, len(data))
    assert whole[2_000_000:2_000_005] == b"small"
    assert whole[2_500_000:2_600_000] == data[:100_000]
    assert whole[2_600_000:] == data[2_600_000:]


def test_vram_reading_holes_costs_nothing_next_to_what_is_written(vram: Vram) -> None:
    vram.write(0, b"x")
    before = vram.used()
    assert vram.read(64 << 20, 4096) == bytes(4096)
    assert vram.read(8 << 20, 16 << 20) == bytes(16 << 20)
    assert vram.used() == before


def test_vram_works_where_the_file_cannot_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("no memfd on this system")

    def refuse(*_arguments: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("gpumodel.memory.mmap.mmap", refuse)
    vram = Vram(1 << 40)
    vram.write(12345, b"there")
    assert vram.read(12344, 7) == b"\0there\0"


def test_vram_close_twice_is_fine(vram: Vram) -> None:
    vram.close()
    vram.close()
    assert vram.used() == 0


def test_hive_of_eight_takes_little_real_memory() -> None:
    hive = open_models("mi350x*8")
    assert sum(gpu.gpu.vram.used() for gpu in hive) <= 8 * 2 * PAGE
    assert {gpu.bars()[0].size for gpu in hive} == {512 << 30}
    assert {gpu.gpu.vram.size for gpu in hive} == {288 << 30}


def test_close_gives_the_file_back_and_keeps_registers() -> None:
    (gpu,) = open_models("mi300x")
    gpu.close()
    assert gpu.gpu.vram.used() == 0
    assert gpu.read32(5, 0xDE3 * 4) == 192 << 10


def test_dma_buffer_device_sees_what_the_host_wrote() -> None:
    host = HostMemory()
    first, second = host.alloc(100), host.alloc(3 * PAGE)
    assert first.size == 100
    assert len(second.bus_addr) == 3
    assert len({*first.bus_addr, *second.bus_addr}) == 4
    second.write(PAGE - 2, b"abcd")
    assert host.read(second.bus_addr[0] + PAGE - 2, 4) == b"abcd"
    assert host.write(second.bus_addr[1], b"xy")
    assert second.read(PAGE - 2, 4) == b"abxy"


def test_dma_buffer_closed_is_unreachable_for_the_device() -> None:
    host = HostMemory()
    buffer = host.alloc(PAGE)
    address = buffer.bus_addr[0]
    assert host.write(address + PAGE - 2, b"1234") is False
    assert host.read(address, PAGE) == bytes(PAGE)
    buffer.close()
    assert host.read(address, 4) is None
    assert host.write(address, b"1") is False


def test_dma_buffer_outside_and_empty_are_refused() -> None:
    host = HostMemory()
    with pytest.raises(ValueError, match="DMA buffer of 0 bytes"):
        host.alloc(0)
    buffer = host.alloc(8)
    with pytest.raises(ValueError, match="is outside of its 0x8 bytes"):
        buffer.read(4, 8)
    with pytest.raises(ValueError, match="is outside of its 0x8 bytes"):
        buffer.write(8, b"1")


def test_hive_gpus_share_one_host_memory() -> None:
    one, two = open_models("mi350x*2")
    buffer = one.alloc_dma(16)
    buffer.write(0, b"hello")
    assert two.gpu.hive.host_memory.read(buffer.bus_addr[0], 5) == b"hello"
    assert buffer.page_size == PAGE


def test_host_memory_range_over_two_buffers_is_one_for_the_device() -> None:
    memory = HostMemory()
    first, second = memory.alloc(2 * PAGE), memory.alloc(PAGE)
    start = first.bus_addr[1] + 4000
    assert memory.write(start, bytes(range(200)))
    assert first.read(PAGE + 4000, 96) + second.read(0, 104) == bytes(range(200))
    assert memory.read(start, 200) == bytes(range(200))
    first.close()
    assert memory.read(start, 200) is None
    assert memory.read(second.bus_addr[0], 104) == bytes(range(96, 200))
    first.close()
    assert memory.read(second.bus_addr[0], 1) is not None


def test_host_memory_closed_buffer_does_not_take_its_successor_along() -> None:
    memory = HostMemory()
    buffers = [memory.alloc(PAGE) for _ in range(5)]
    for buffer in buffers[::2]:
        buffer.close()
    assert [memory.read(buffer.bus_addr[0], 4) for buffer in buffers] == [None, bytes(4), None, bytes(4), None]
    assert not memory.write(buffers[1].bus_addr[0] + PAGE - 2, b"1234")
    assert buffers[1].read(PAGE - 2, 2) == bytes(2)
