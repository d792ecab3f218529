"""Methods as bytes: against the values that follow from NVIDIA's headers by hand (nvidia-rm.md section 14)."""

from __future__ import annotations

import struct

import pytest

from base.errors import OutOfMemory, Unavailable
from nvdriver import gpuclasses, pushbuffer
from nvdriver.addresses import Addresses

TARGET, SOURCE = 0x12_3456_7890, 0x9A_BCDE_F012


def words(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def test_headers_are_the_golden_ones() -> None:
    assert pushbuffer.header(pushbuffer.HOST, 0x5C, 5) == 0x20050017
    assert pushbuffer.header(pushbuffer.COPY, 0x400, 4) == 0x20048100
    assert pushbuffer.header(pushbuffer.COPY, 0x418, 1) == 0x20018106
    assert pushbuffer.header(pushbuffer.COPY, 0x300, 1) == 0x200180C0
    assert pushbuffer.header(pushbuffer.COMPUTE, 0x2B4, 1) == 0x200120AD


def test_set_object_names_the_class_on_its_subchannel() -> None:
    assert words(pushbuffer.set_object(pushbuffer.COMPUTE, 0xCBC0)) == [0x20012000, 0xCBC0]
    assert words(pushbuffer.set_object(pushbuffer.COPY, 0xC8B5)) == [0x20018000, 0xC8B5]


def test_host_semaphores_release_with_the_time_and_acquire_circularly() -> None:
    value = 0x1_0000_0002
    assert words(pushbuffer.release(TARGET, value)) == [0x20050017, 0x34567890, 0x12, 2, 1, 0x03100001]
    assert words(pushbuffer.acquire(TARGET, value)) == [0x20050017, 0x34567890, 0x12, 2, 1, 0x01001003]
    assert words(pushbuffer.store32(TARGET, 7)) == [0x20050017, 0x34567890, 0x12, 7, 0, 0x00100001]
    assert words(pushbuffer.interrupt()) == [0x20010008, 0]


def test_copy_is_three_packets_and_split_at_two_gib() -> None:
    one = [0x20048100, 0x9A, 0xBCDEF012, 0x12, 0x34567890, 0x20018106, 4096, 0x200180C0, 0x182]
    assert words(pushbuffer.copy(TARGET, SOURCE, 4096)) == one
    long = words(pushbuffer.copy(TARGET, SOURCE, (5 << 30) + 3))
    assert [long[6 + 9 * place] for place in range(3)] == [2 << 30, 2 << 30, (1 << 30) + 3]
    assert (long[9 + 1] << 32 | long[9 + 2]) - SOURCE == 2 << 30
    assert (long[18 + 3] << 32 | long[18 + 4]) - TARGET == 4 << 30


@pytest.mark.parametrize(
    ("at", "size", "runs"),
    [
        (0, 16, [(0, 3, 4)]),
        (1, 2, [(1, 0, 2)]),
        (1, 10, [(1, 0, 3), (4, 3, 1), (8, 0, 3)]),
        (4, 5, [(4, 3, 1), (8, 0, 1)]),
        (0, (4 << 29) + 8, [(0, 3, 1 << 29), (4 << 29, 3, 2)]),
    ],
)
def test_fill_is_bytes_then_dwords_then_bytes(at: int, size: int, runs: list[tuple[int, int, int]]) -> None:
    told = words(pushbuffer.fill(at, 0xA5, size))
    assert len(told) == 11 * len(runs)
    for place, (target, component, count) in enumerate(runs):
        packet = told[11 * place : 11 * place + 11]
        assert packet[:4] == [0x200181C0, 0xA5A5A5A5, 0x200181C2, 4 | component << 16]
        assert packet[5] << 32 | packet[6] == target
        assert packet[7:] == [0x20018106, count, 0x200180C0, 0x582]


def test_copy_engine_release_flushes_and_stamps() -> None:
    assert words(pushbuffer.copy_release(TARGET, 9)) == [0x20038090, 0x12, 0x34567890, 9, 0x200180C0, 0x14]


def test_dispatch_sends_the_qmd_and_schedules_it() -> None:
    assert words(pushbuffer.dispatch(0x12_3456_7800)) == [0x200120AD, 0x12345678, 0x200120B0, 9]


def test_addresses_are_aligned_reused_and_joined() -> None:
    space = Addresses(0x1000, 0x100000)
    first, second = space.take(0x1000, 0x1000), space.take(0x3000, 0x10000)
    assert (first, second) == (0x1000, 0x10000)
    assert space.take(0x1000, 0x1000) == 0x2000
    space.give(first, 0x1000)
    space.give(second, 0x3000)
    space.give(0x2000, 0x1000)
    assert space.take(0xFF000, 0x1000) == 0x1000, "all of it is free in one piece again"
    with pytest.raises(OutOfMemory) as caught:
        space.take(1, 1)
    assert caught.value.seen == "at most 0 in one piece"


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        ((0xC36F, 0xC46F, 0xC56F, 0xC86F, 0xC361, 0xC661, 0xCBC0, 0xC8B5), (0xC86F, 0xC661, 0xCBC0, 0xC8B5)),  # GH100
        ((0xC46F, 0xC461, 0xC5C0, 0xC5B5), (0xC46F, 0xC461, 0xC5C0, 0xC5B5)),  # Turing
        ((0xC56F, 0xC46F, 0xC561, 0xC6C0, 0xC6B5), (0xC56F, 0xC561, 0xC6C0, 0xC6B5)),  # GA100
        ((0xCA6F, 0xC96F, 0xC86F, 0xC761, 0xC661, 0xCEC0, 0xCAB5), (0xCA6F, 0xC761, 0xCEC0, 0xCAB5)),  # GB202
    ],
)
def test_classes_are_the_newest_that_are_listed(listed: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    found = gpuclasses.choose(listed, "a GPU")
    assert (found.channel, found.doorbell, found.compute, found.copy) == wanted


def test_classes_of_a_gpu_that_is_too_old_are_named() -> None:
    with pytest.raises(Unavailable) as caught:
        gpuclasses.choose((0xC46F, 0xC461, 0xC3C0, 0xC3B5), "a GPU")  # Volta's compute and copy
    assert "0xc3c0" in caught.value.seen and "compute" in caught.value.expected
