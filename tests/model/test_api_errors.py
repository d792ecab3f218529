"""The Python API on modelled GPUs: what it does, and that whatever is wrong is refused before anything is queued."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpumend
from amdriver.memory import BadAddress, BadAlignment, BadSize, Closed, DoubleFree
from amdriver.opengpu import ForeignBuffer, GpuBuffer, NoSuchEngine, OpenGpu
from amdriver.opening import open_gpu
from base.clock import VirtualClock
from base.errors import (
    DeviceLost,
    GpumendError,
    InvalidData,
    NotPermitted,
    OutOfMemory,
    Refused,
    Unavailable,
    Undecided,
    UsageError,
)
from gpumodel import open_models
from tests.model.injected import Injected, ones, raising

SIZE = 1 << 16


@pytest.fixture(scope="module")
def gpu(firmware_dir: Path) -> Iterator[OpenGpu]:
    with gpumend.open("model:mi350x", firmware=firmware_dir) as opened:
        yield opened


@pytest.fixture(scope="module")
def hive(firmware_dir: Path) -> Iterator[gpumend.OpenHive]:
    with gpumend.open_hive("model:mi350x*2", firmware=firmware_dir) as opened:
        yield opened


@pytest.fixture
def pair(gpu: OpenGpu) -> Iterator[tuple[GpuBuffer, GpuBuffer]]:
    with gpu.alloc(SIZE) as one, gpu.alloc(SIZE) as two:
        yield one, two


def written(gpu: OpenGpu) -> int:
    """Bytes that the engines were given so far: what was refused must not change it."""
    return sum(queue.wptr for queue in gpu.device.sdma.queues)


def refused(gpu: OpenGpu, kind: type[GpumendError], work: Callable[[], object]) -> GpumendError:
    """It is refused by kind, says what to do, and told the engines nothing."""
    gpu.synchronize()
    before = written(gpu)
    with pytest.raises(kind) as caught:
        work()
    assert written(gpu) == before
    error = caught.value
    assert error.expected and error.seen
    assert error.next_step or isinstance(error, NoSuchEngine | UsageError)
    return error


# ---- what works


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_copy_of_any_part_equals_the_same_copy_in_python(
    pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, data: st.DataObject
) -> None:
    one, two = pair
    size = data.draw(st.integers(1, SIZE))
    src_offset = data.draw(st.integers(0, SIZE - size))
    dst_offset = data.draw(st.integers(0, SIZE - size))
    engine = data.draw(st.integers(0, gpu.engines - 1))
    source, target = bytearray(random.Random(size).randbytes(SIZE)), bytearray(SIZE)
    one.write(bytes(source))
    two.write(bytes(target))
    gpu.copy(two, one, size, dst_offset=dst_offset, src_offset=src_offset, engine=engine)
    target[dst_offset : dst_offset + size] = source[src_offset : src_offset + size]
    assert two.read() == bytes(target)


def test_copy_without_a_size_takes_the_rest_of_the_source(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu) -> None:
    one, two = pair
    one.write(b"\x11" * SIZE)
    gpu.fill(two, 0)
    gpu.copy(two, one, src_offset=SIZE - 100)
    assert two.read(0, 101) == b"\x11" * 100 + b"\0"


def test_fill_writes_the_byte_and_leaves_the_rest(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu) -> None:
    one, _ = pair
    one.write(b"\x77" * SIZE)
    gpu.fill(one, 0xAB, 16, offset=8)
    assert one.read(0, 32) == b"\x77" * 8 + b"\xab" * 16 + b"\x77" * 8


def test_fence_is_done_after_its_wait(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu) -> None:
    one, two = pair
    gpu.copy(two, one, engine=3)
    fence = gpu.fence(engine=3)
    fence.wait()
    assert fence.done
    assert fence.done  # asking twice is as good as once


def test_host_buffer_is_reached_by_engines(gpu: OpenGpu) -> None:
    with gpu.alloc(5000, where="host") as host, gpu.alloc(5000) as vram, gpu.alloc(5000, where="host") as back:
        data = bytes(range(250)) * 20
        host.write(data)
        gpu.copy(vram, host)
        gpu.copy(back, vram)
        assert back.read() == data
        assert (host.where, vram.where, host.vram_at(0)) == ("host", "vram", None)


def test_map_peer_reaches_the_other_gpus_memory_both_ways(hive: gpumend.OpenHive) -> None:
    one, two = hive
    with two.alloc(SIZE) as theirs, one.alloc(SIZE) as mine, one.map_peer(theirs) as near:
        mine.write(b"\x5a" * SIZE)
        one.copy(near, mine)
        one.synchronize()
        assert theirs.read() == b"\x5a" * SIZE
        theirs.write(b"\xc3" * SIZE)
        one.copy(mine, near)
        assert mine.read() == b"\xc3" * SIZE


def test_hive_members_have_places_of_their_own(hive: gpumend.OpenHive) -> None:
    assert [member.node for member in hive] == [(0, 2), (1, 2)]
    assert len(hive[0:1]) == 1 and len(hive) == 2


def test_close_frees_what_the_user_did_not(firmware_dir: Path) -> None:
    opened = gpumend.open("model:mi300x", firmware=firmware_dir)
    kept = opened.alloc(SIZE)
    opened.copy(opened.alloc(SIZE), kept)
    opened.close()
    assert opened.device.left == ()
    opened.close()  # twice is as good as once
    assert not opened.is_open


def test_open_after_a_clean_close_finds_it_clean(firmware_dir: Path) -> None:
    clock = VirtualClock()
    (found,) = gpumend.list_gpus(["model:mi350x?state=cold"], clock=clock)
    from amdriver.opening import open_gpu

    states = []
    for _ in range(2):
        with open_gpu(found.transport, clock, firmware_dirs=[firmware_dir]) as opened:
            states.append(opened.start_state)
    assert states == ["cold", "clean"]


def test_open_gives_up_the_gpu_when_the_body_raises(firmware_dir: Path) -> None:
    with pytest.raises(ZeroDivisionError), gpumend.open("model:mi350x", firmware=firmware_dir) as opened:
        opened.alloc(SIZE)
        raise ZeroDivisionError
    assert not opened.is_open and opened.device.left == ()


# ---- sizes and offsets


@pytest.mark.parametrize("size", [0, -1, 1 << 45, 1 << 50])
@pytest.mark.parametrize("where", ["vram", "host"])
def test_alloc_of_an_impossible_size_is_refused(gpu: OpenGpu, size: int, where: str) -> None:
    gmc = gpu.device.gmc
    before = gmc.vram.free_bytes, gmc.addresses.free_bytes
    refused(gpu, OutOfMemory if (where, size) == ("host", 1 << 45) else BadSize, lambda: gpu.alloc(size, where=where))
    assert (gmc.vram.free_bytes, gmc.addresses.free_bytes) == before


def test_alloc_beyond_what_is_free_is_out_of_memory(gpu: OpenGpu) -> None:
    total = gpu.device.gmc.vram.size
    with gpu.alloc(total // 2):
        error = refused(gpu, OutOfMemory, lambda: gpu.alloc(total // 2))
        assert "free" in error.seen


def test_alloc_beyond_the_vram_is_a_bad_size(gpu: OpenGpu) -> None:
    error = refused(gpu, BadSize, lambda: gpu.alloc(gpu.device.gmc.vram.size + 4096))
    assert error.exit_code == 64


def test_alloc_in_an_unknown_place_is_refused(gpu: OpenGpu) -> None:
    assert refused(gpu, UsageError, lambda: gpu.alloc(4096, where="moon")).seen == "'moon'"


@pytest.mark.parametrize("size", [0, -1])
def test_copy_of_nothing_is_refused(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, size: int) -> None:
    one, two = pair
    refused(gpu, BadSize, lambda: gpu.copy(two, one, size))


@pytest.mark.parametrize(
    ("size", "dst_offset", "src_offset"),
    [(SIZE + 1, 0, 0), (1, SIZE, 0), (1, 0, SIZE), (2, SIZE - 1, 0), (1, -1, 0), (1, 0, -1), (SIZE, 1, 0)],
)
def test_copy_beyond_a_buffer_is_refused(
    pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, size: int, dst_offset: int, src_offset: int
) -> None:
    one, two = pair
    refused(gpu, BadAddress, lambda: gpu.copy(two, one, size, dst_offset=dst_offset, src_offset=src_offset))


def test_copy_many_with_one_bad_piece_queues_none(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu) -> None:
    one, two = pair
    pieces = [(two, 0, one, 0, 64), (two, 64, one, 64, SIZE)]
    refused(gpu, BadAddress, lambda: gpu.copy_many(pieces, engine=0))


def test_copy_onto_itself_is_refused(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu) -> None:
    one, _ = pair
    error = refused(gpu, BadAddress, lambda: gpu.copy(one, one, 100, dst_offset=50))
    assert "third buffer" in error.next_step
    gpu.copy(one, one, 100, dst_offset=100)  # side by side is fine


@pytest.mark.parametrize(("offset", "size"), [(1, 4), (0, 3), (2, 6)])
def test_fill_misaligned_is_refused(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, offset: int, size: int) -> None:
    refused(gpu, BadAlignment, lambda: gpu.fill(pair[0], 0, size, offset=offset))


@pytest.mark.parametrize("value", [-1, 256])
def test_fill_with_no_byte_is_refused(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, value: int) -> None:
    refused(gpu, UsageError, lambda: gpu.fill(pair[0], value))


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (SIZE, 1), (-1, 1), (0, SIZE + 1)])
def test_read_and_write_beyond_a_buffer_are_refused(
    pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, offset: int, size: int
) -> None:
    refused(gpu, UsageError, lambda: pair[0].read(offset, size))
    refused(gpu, UsageError, lambda: pair[0].write(bytes(size), offset))


# ---- freed, foreign, closed


@pytest.mark.parametrize("use", ["read", "write", "copy from", "copy to", "fill", "address"])
def test_freed_buffer_is_refused(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, use: str) -> None:
    freed = gpu.alloc(4096)
    freed.free()
    works: dict[str, Callable[[], object]] = {
        "read": freed.read,
        "write": lambda: freed.write(b"x"),
        "copy from": lambda: gpu.copy(pair[0], freed, 16),
        "copy to": lambda: gpu.copy(freed, pair[0], 16),
        "fill": lambda: gpu.fill(freed, 0),
        "address": lambda: freed.gpu_va,
    }
    assert "freed before" in refused(gpu, Closed, works[use]).seen
    assert repr(freed) == "<freed buffer>"


def test_freed_twice_is_refused(gpu: OpenGpu) -> None:
    buffer = gpu.alloc(4096)
    buffer.free()
    refused(gpu, DoubleFree, buffer.free)


def test_foreign_buffer_is_refused_and_names_map_peer(hive: gpumend.OpenHive) -> None:
    one, two = hive
    with one.alloc(4096) as mine, two.alloc(4096) as theirs:
        for work in (lambda: one.copy(mine, theirs), lambda: one.copy(theirs, mine), lambda: one.fill(theirs, 1)):
            error = refused(one, ForeignBuffer, work)
            assert "map_peer" in error.next_step


def test_map_peer_of_own_or_host_memory_is_refused(hive: gpumend.OpenHive) -> None:
    one, two = hive
    with one.alloc(4096) as mine, two.alloc(4096, where="host") as host:
        assert "directly" in refused(one, UsageError, lambda: one.map_peer(mine)).next_step
        assert "vram" in refused(one, UsageError, lambda: one.map_peer(host)).next_step


def test_map_peer_outside_the_hive_is_refused(gpu: OpenGpu, hive: gpumend.OpenHive) -> None:
    with hive[0].alloc(4096) as theirs:
        refused(gpu, GpumendError, lambda: gpu.map_peer(theirs))


def test_peer_buffer_that_is_mapped_cannot_be_freed_by_its_owner(hive: gpumend.OpenHive) -> None:
    one, two = hive
    theirs = two.alloc(4096)
    near = one.map_peer(theirs)
    error = refused(two, Refused, theirs.free)
    assert "mapped by" in error.seen
    near.free()
    theirs.free()


def test_closed_gpu_refuses_everything(firmware_dir: Path) -> None:
    opened = gpumend.open("model:mi350x", firmware=firmware_dir)
    buffer = opened.alloc(4096)
    fence = opened.fence()
    opened.close()
    works: list[Callable[[], object]] = [
        lambda: opened.alloc(4096),
        lambda: opened.copy(buffer, buffer),
        lambda: opened.fill(buffer, 0),
        lambda: opened.fence(),
        opened.synchronize,
        buffer.read,
        buffer.free,
        fence.wait,
        lambda: fence.done,
        opened.interrupts,
        lambda: opened.compute_fence(0, 1),
        opened.faults,
    ]
    for work in works:
        with pytest.raises(UsageError) as caught:
            work()
        assert caught.value.seen


@pytest.mark.parametrize("engine", [-1, 16, 99])
def test_engine_that_is_not_there_is_refused(pair: tuple[GpuBuffer, GpuBuffer], gpu: OpenGpu, engine: int) -> None:
    one, two = pair
    refused(gpu, NoSuchEngine, lambda: gpu.copy(two, one, engine=engine))
    refused(gpu, NoSuchEngine, lambda: gpu.fence(engine=engine))
    refused(gpu, NoSuchEngine, lambda: gpu.timestamps(engine, 1))


@pytest.mark.parametrize("xcc", [-1, 8])
def test_xcc_that_is_not_there_is_refused(gpu: OpenGpu, xcc: int) -> None:
    refused(gpu, NoSuchEngine, lambda: gpu.compute_fence(xcc, 1))


# ---- opening


def test_read_of_a_gpu_whose_bars_died_is_not_taken_for_data(firmware_dir: Path) -> None:
    transport = Injected(open_models("mi350x", clock := VirtualClock())[0])
    with open_gpu(transport, clock, firmware_dirs=[firmware_dir]) as opened:
        buffer = opened.alloc(64)
        buffer.write(b"\xff" * 64)
        assert buffer.read() == b"\xff" * 64
        transport.harm, transport.at = ones, 0
        with pytest.raises(Undecided, match="reading a buffer") as caught:
            buffer.read()
        assert "registers read all ones" in caught.value.seen
        transport.config_too = True
        with pytest.raises(DeviceLost):
            buffer.read()
        transport.harm = None


def test_free_that_fails_once_is_not_told_as_a_double_free_by_close(firmware_dir: Path) -> None:
    transport = Injected(open_models("mi350x", clock := VirtualClock())[0])
    opened = open_gpu(transport, clock, firmware_dirs=[firmware_dir])
    buffer = opened.alloc(64)
    transport.harm, transport.at, transport.count = raising(lambda: NotPermitted("writing")), transport.accesses, 1
    with pytest.raises(NotPermitted):
        buffer.free()
    with pytest.raises(DoubleFree):
        buffer.free()
    opened.close()
    assert transport.open_dma == []


def test_open_among_several_asks_which(firmware_dir: Path) -> None:
    with pytest.raises(UsageError) as caught:
        gpumend.open("model:mi350x*8", firmware=firmware_dir)
    assert "gpu=0" in caught.value.next_step
    with gpumend.open("model:mi350x*8", gpu=3, firmware=firmware_dir) as opened:
        assert opened.node == (3, 8)


@pytest.mark.parametrize("address", ["model:mi999", "nonsense", "0000:00:1f.7"])
def test_open_of_what_is_not_there_is_typed(address: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, Unavailable)):
        gpumend.open(address, firmware=tmp_path)


def test_open_with_an_empty_firmware_folder_names_files_and_package(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        gpumend.open("model:mi300x", firmware=tmp_path)
    assert "psp_13_0_6_sos.bin" in caught.value.expected and "gc_9_4_3_rlc.bin" in caught.value.expected
    assert "firmware-amd-graphics" in caught.value.next_step
    assert str(tmp_path) in caught.value.where


@pytest.mark.parametrize("damage", ["cut", "flip", "other chip"])
def test_open_with_damaged_firmware_writes_nothing(
    damage: str, firmware_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpumodel.device import ModelTransport

    folder = tmp_path / "amdgpu"
    folder.mkdir()
    for file in firmware_dir.iterdir():
        if file.name.split(".")[0].startswith(("psp_13_0_12", "gc_9_5_0", "sdma_4_4_4")):
            shutil.copy(file, folder / file.name)
    name = next(file for file in folder.iterdir() if file.name.startswith("gc_9_5_0_mec.bin"))
    data = bytearray(name.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    else:
        other = next(file for file in firmware_dir.iterdir() if file.name.startswith("gc_9_4_3_mec.bin"))
        data = bytearray(other.read_bytes())
    name.write_bytes(data)
    writes: list[object] = []
    for method in ("write64", "write_block", "alloc_dma"):
        monkeypatch.setattr(ModelTransport, method, lambda self, *what: writes.append(what))
    with pytest.raises(InvalidData) as caught:
        gpumend.open("model:mi350x?state=cold", firmware=folder)
    assert "gc_9_5_0_mec" in str(caught.value)
    assert not writes


def test_open_hive_that_fails_closes_the_others(firmware_dir: Path) -> None:
    clock = VirtualClock()
    with pytest.raises(GpumendError):
        gpumend.open_hive("model:mi350x*2?fault=discovery-clobbered@1", firmware=firmware_dir, clock=clock)


def test_open_hive_of_nothing_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firmware_dir: Path
) -> None:
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    monkeypatch.setattr(gpumend, "SYS_ROOT", tmp_path)
    (tmp_path / "bus/pci/devices").mkdir(parents=True)
    for call in (gpumend.open, gpumend.open_hive):
        with pytest.raises(Unavailable) as caught:
            call(firmware=firmware_dir)
        assert "model:mi350x" in caught.value.next_step
