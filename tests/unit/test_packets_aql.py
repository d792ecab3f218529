"""AQL packets: exact bytes, the header last, refusals, the decoder."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver import aql, pm4_decode
from amdriver.aql import Scope
from base.errors import UsageError
from tests.unit.packet_macros import words

KERNEL, ARGS, SIGNAL = 0x7F00_0000_1040, 0x7F00_0000_2010, 0x7F00_0000_3040


def dispatched(**changes: Any) -> aql.AqlPacket:
    given_values: dict[str, Any] = {
        "kernel_object": KERNEL, "kernarg_va": ARGS, "grid": (4096, 1, 1), "workgroup": (256, 1, 1), "signal": SIGNAL,
        "private_bytes": 16, "group_bytes": 0x8000,
    }  # fmt: skip
    return aql.dispatch(**{**given_values, **changes})


# --- exact bytes ------------------------------------------------------------------------------------------------------


def test_aql_dispatch_has_every_field_at_its_place() -> None:
    packet = dispatched(grid=(4096, 2, 3), workgroup=(64, 2, 1)).whole()
    assert len(packet) == 64
    at = struct.unpack_from
    assert at("<HH", packet, 0) == (2 | 2 << 9 | 2 << 11, 3)
    assert at("<3H", packet, 4) == (64, 2, 1)
    assert at("<H", packet, 10) == (0,)
    assert at("<3I", packet, 12) == (4096, 2, 3)
    assert at("<II", packet, 24) == (16, 0x8000)
    assert at("<Q", packet, 32) == (KERNEL,)
    assert at("<Q", packet, 40) == (ARGS,)
    assert at("<Q", packet, 48) == (0,)
    assert at("<Q", packet, 56) == (SIGNAL,)


@pytest.mark.parametrize(
    ("grid", "workgroup", "dimensions"),
    [
        ((64, 1, 1), (64, 1, 1), 1),
        ((64, 2, 1), (64, 1, 1), 2),
        ((64, 1, 1), (64, 2, 1), 2),
        ((64, 1, 2), (64, 1, 1), 3),
        ((64, 1, 1), (64, 1, 2), 3),
    ],
)
def test_aql_dispatch_counts_its_dimensions(
    grid: tuple[int, int, int], workgroup: tuple[int, int, int], dimensions: int
) -> None:
    assert dispatched(grid=grid, workgroup=workgroup).first >> 16 == dimensions


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({}, 0x1402),
        ({"barrier": True}, 0x1502),
        ({"acquire": Scope.NONE}, 0x1002),
        ({"release": Scope.AGENT}, 0x0C02),
        ({"acquire": Scope.AGENT, "release": Scope.NONE, "barrier": True}, 0x0302),
    ],
)
def test_aql_header_holds_type_barrier_and_fences(changes: dict[str, Any], header: int) -> None:
    assert dispatched(**changes).first & 0xFFFF == header


def test_aql_barrier_has_five_signals_and_one_to_complete() -> None:
    packet = aql.barrier_and([0x40, 0, 0xC0], signal=SIGNAL).whole()
    assert struct.unpack("<HHI5QQQ", packet) == (0x1503, 0, 0, 0x40, 0, 0xC0, 0, 0, 0, SIGNAL)
    assert aql.barrier_or([0x40], barrier=False).whole()[:2] == b"\x05\x14"


def test_aql_vendor_packet_carries_a_pm4_jump() -> None:
    packet = aql.pm4_buffer(0x1_0000_1000, 40, vmid=2, signal=SIGNAL)
    expected = [0x1500 | 1 << 16, 0xC002_3F00, 0x1000, 1, 0x0280_0028, 10, *[0] * 8, SIGNAL & 0xFFFF_FFFF, SIGNAL >> 32]
    assert words(packet.whole()) == expected


# --- the header comes last --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet", [dispatched(), aql.barrier_and(), aql.barrier_or([64]), aql.pm4_buffer(0x1000, 8)], ids=str
)
def test_aql_body_alone_is_an_invalid_packet(packet: aql.AqlPacket) -> None:
    assert len(packet.body) == 64
    assert struct.unpack_from("<H", packet.body) == (aql.Type.INVALID,)
    assert packet.whole()[4:] == packet.body[4:]


def test_aql_slots_put_writes_the_slot_and_nothing_else() -> None:
    ring = bytearray(b"\xee" * 256)
    packet = dispatched()
    aql.Slots(ring).put(4 * 1000 + 2, packet)
    assert bytes(ring[128:192]) == packet.whole()
    assert set(ring[:128] + ring[192:]) == {0xEE}


class Spy:
    """Dwords of a ring; notes how a slot's body looked at each store to a header."""

    def __init__(self, slots: aql.Slots) -> None:
        self.words, self.raw = slots.words, slots.raw
        self.stores: list[tuple[int, int, bytes]] = []

    def __setitem__(self, at: int, value: int) -> None:
        self.stores.append((at, value, bytes(self.raw[4 * at + 4 : 4 * at + 64])))
        self.words[at] = value


@pytest.mark.parametrize("through_template", [False, True])
def test_aql_slot_turns_invalid_first_and_live_last(through_template: bool) -> None:
    slots = aql.Slots(bytearray(128))
    spy = Spy(slots)
    slots.words = spy  # type: ignore[assignment]
    if through_template:
        template = aql.DispatchTemplate(kernel_object=KERNEL, workgroup=(256, 1, 1))
        template.launch(slots, 1, ARGS, 4096, 1, 1, SIGNAL)
    else:
        slots.put(1, dispatched())
    assert [(at, value & 0xFF) for at, value, _ in spy.stores] == [
        (16, aql.Type.INVALID),
        (16, aql.Type.KERNEL_DISPATCH),
    ]
    assert not any(spy.stores[0][2])
    assert spy.stores[1][2] == bytes(slots.raw[68:128])
    assert any(spy.stores[1][2])


def test_aql_slots_cleared_are_all_invalid() -> None:
    ring = bytearray(256)
    aql.Slots(ring).clear()
    assert [packet.text.split()[0] for packet in aql.decode_stream(ring)] == ["INVALID"] * 4


@pytest.mark.parametrize("size", [0, 63, 100])
def test_aql_slots_of_something_that_is_no_ring_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match=rf"memory of whole 64-byte slots\s+seen +{size} bytes"):
        aql.Slots(bytearray(size))


# --- the template -----------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 1 << 40),
    st.integers(0, (1 << 44) - 1),
    st.tuples(*[st.integers(1, 0xFFFF_FFFF)] * 3),
    st.integers(0, (1 << 42) - 1),
    st.booleans(),
)
def test_aql_template_writes_what_the_builder_builds(
    index: int, kernarg: int, grid: tuple[int, int, int], signal: int, barrier: bool
) -> None:
    ring = bytearray(256)
    template = aql.DispatchTemplate(
        kernel_object=KERNEL, workgroup=(8, 8, 2), private_bytes=4, group_bytes=8, barrier=barrier, release=Scope.AGENT
    )
    template.launch(aql.Slots(ring), index, 16 * kernarg, *grid, 64 * signal)
    built = aql.dispatch(
        kernel_object=KERNEL, workgroup=(8, 8, 2), private_bytes=4, group_bytes=8, barrier=barrier, release=Scope.AGENT,
        kernarg_va=16 * kernarg, grid=grid, signal=64 * signal,
    )  # fmt: skip
    assert bytes(ring[64 * (index % 4) :][:64]) == built.whole()


@pytest.mark.parametrize(
    ("arguments", "expected", "seen"),
    [
        ((8, 1, 1, 1, 0), "kernarg_va aligned to 16", "kernarg_va=0x8"),
        ((0, 0, 1, 1, 0), "grid.x in 1..0xffffffff", "grid.x=0x0"),
        ((0, 1, 1 << 32, 1, 0), "grid.y in 1..0xffffffff", "grid.y=0x100000000"),
        ((0, 1, 1, -1, 0), "grid.z in 1..0xffffffff", "grid.z=-0x1"),
        ((0, 1, 1, 1, 32), "signal aligned to 64", "signal=0x20"),
        ((1 << 48, 1, 1, 1, 0), "kernarg_va..+0x10 below", "kernarg_va=0x1000000000000"),
    ],
)
def test_aql_template_given_what_does_not_fit_leaves_the_slot_alone(
    arguments: tuple[int, int, int, int, int], expected: str, seen: str
) -> None:
    ring = bytearray(b"\xee" * 64)
    template = aql.DispatchTemplate(kernel_object=KERNEL, workgroup=(64, 1, 1))
    kernarg, x, y, z, signal = arguments
    with pytest.raises(UsageError) as caught:
        template.launch(aql.Slots(ring), 0, kernarg, x, y, z, signal)
    assert caught.value.expected.startswith(expected)
    assert caught.value.seen == seen
    assert set(ring) == {0xEE}


# --- refusals ---------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[], object], str, str]] = [
    (lambda: dispatched(kernel_object=0), "kernel_object, the address of", "kernel_object=0"),
    (lambda: dispatched(kernel_object=0x20), "kernel_object aligned to 64 bytes", "kernel_object=0x20"),
    (lambda: dispatched(kernarg_va=8), "kernarg_va aligned to 16 bytes", "kernarg_va=0x8"),
    (lambda: dispatched(kernarg_va=-16), "kernarg_va..+0x10 below", "kernarg_va=-0x10"),
    (lambda: dispatched(signal=8), "signal aligned to 64 bytes", "signal=0x8"),
    (lambda: dispatched(signal=1 << 48), "signal..+0x40 below", "signal=0x1000000000000"),
    (lambda: dispatched(signal=1 << 64), "signal..+0x40 below", "signal=0x10000000000000000"),
    (lambda: dispatched(workgroup=(0, 1, 1)), "workgroup.x in 1..0x400", "workgroup.x=0x0"),
    (lambda: dispatched(workgroup=(-1, -1, 1)), "workgroup.x in 1..0x400", "workgroup.x=-0x1"),
    (lambda: dispatched(workgroup=(1, 1025, 1)), "workgroup.y in 1..0x400", "workgroup.y=0x401"),
    (lambda: dispatched(workgroup=(32, 32, 2)), "threads of a workgroup in 1..0x400", "threads of a workgroup=0x800"),
    (lambda: dispatched(grid=(1, 0, 1)), "grid.y in 1..0xffffffff", "grid.y=0x0"),
    (lambda: dispatched(grid=(1, 1, 1 << 32)), "grid.z in 1..0xffffffff", "grid.z=0x100000000"),
    (lambda: dispatched(grid=(-1, 1, 1)), "grid.x in 1..0xffffffff", "grid.x=-0x1"),
    (lambda: dispatched(private_bytes=1 << 32), "private_bytes in 0..0xffffffff", "private_bytes=0x100000000"),
    (lambda: dispatched(group_bytes=-1), "group_bytes in 0..0xffffffff", "group_bytes=-0x1"),
    (lambda: aql.barrier_and([0] * 6), "at most 5 signals", "6 signals"),
    (lambda: aql.barrier_and([0, 8]), "signals[1] aligned to 64 bytes", "signals[1]=0x8"),
    (lambda: aql.barrier_and(signal=8), "signal aligned to 64 bytes", "signal=0x8"),
    (lambda: aql.barrier_or([]), "at least one signal that is not 0", "0 signals"),
    (lambda: aql.barrier_or([0, 0]), "at least one signal that is not 0", "2 signals"),
    (lambda: aql.pm4_buffer(0x1000, 8, signal=4), "signal aligned to 64 bytes", "signal=0x4"),
    (lambda: aql.pm4_buffer(2, 8), "base aligned to 4 bytes", "base=0x2"),
    (lambda: aql.pm4_buffer(4, 0), "dwords in 1..0xfffff", "dwords=0x0"),
    (
        lambda: aql.DispatchTemplate(kernel_object=0x20, workgroup=(1, 1, 1)),
        "kernel_object aligned to 64 bytes",
        "kernel_object=0x20",
    ),
    (
        lambda: aql.DispatchTemplate(kernel_object=KERNEL, workgroup=(1, 1, 2000)),
        "workgroup.z in 1..0x400",
        "workgroup.z=0x7d0",
    ),
]


@pytest.mark.parametrize(("build", "expected", "seen"), REFUSED, ids=[f"{row[1][:30]}|{row[2]}" for row in REFUSED])
def test_aql_builder_given_what_does_not_fit_names_it(build: Callable[[], object], expected: str, seen: str) -> None:
    with pytest.raises(UsageError) as caught:
        build()
    assert caught.value.doing.startswith("building ")
    assert expected in caught.value.expected
    assert caught.value.seen == seen


def test_aql_dispatch_takes_addresses_of_the_upper_half() -> None:
    upper = 0xFFFF_8000_0000_0040
    assert words(dispatched(signal=upper).whole())[14:] == [0x40, 0xFFFF_8000]


# --- reading back -----------------------------------------------------------------------------------------------------

TEXTS: list[tuple[bytes | list[int], str]] = [
    (
        dispatched(barrier=True).whole(),
        "KERNEL_DISPATCH dimensions=1 grid=4096x1x1 workgroup=256x1x1 kernel_object=0x7f0000001040"
        " kernarg=0x7f0000002010 private_bytes=16 group_bytes=32768 signal=0x7f0000003040 barrier"
        " acquire=SYSTEM release=SYSTEM",
    ),
    (
        aql.barrier_and([0x40, 0, 0xC0], signal=0x100, acquire=Scope.NONE).whole(),
        "BARRIER_AND signals=[0x40 0xc0] signal=0x100 barrier acquire=NONE release=SYSTEM",
    ),
    (
        aql.barrier_or([0x40], barrier=False, release=Scope.AGENT).whole(),
        "BARRIER_OR signals=[0x40] signal=0x0 acquire=SYSTEM release=AGENT",
    ),
    (
        aql.pm4_buffer(0x1000, 40).whole(),
        "VENDOR PM4: INDIRECT_BUFFER base=0x1000 dwords=40 vmid=0 valid signal=0x0 barrier acquire=SYSTEM release=SYSTEM",
    ),
    (dispatched().body, "INVALID acquire=NONE release=NONE"),
    ([0x0002_0000, *[0] * 15], "VENDOR format=0x2 acquire=NONE release=NONE"),
    ([0x1E77, *[0] * 15], "unknown AQL type 0x77 acquire=3? release=3?"),
    ([0x1402, 1, 2], "KERNEL_DISPATCH cut off after 3 of 16 dwords: 00001402 00000001 00000002"),
    ([], "nothing"),
]


@pytest.mark.parametrize(("packet", "text"), TEXTS, ids=[text[:30] for _, text in TEXTS])
def test_aql_decode_reads_name_and_fields(packet: bytes | list[int], text: str) -> None:
    assert aql.decode(packet) == text


def test_aql_stream_goes_from_slot_to_slot() -> None:
    data = dispatched().whole() + aql.barrier_and().whole() + aql.pm4_buffer(0x1000, 8).whole() + b"\0\0\0\0"
    found = list(aql.decode_stream(data))
    assert [(packet.at, packet.dwords) for packet in found] == [(0, 16), (16, 16), (32, 16), (48, 1)]
    assert [packet.text.split()[0] for packet in found] == ["KERNEL_DISPATCH", "BARRIER_AND", "VENDOR", "VENDOR"]
    assert list(aql.decode_stream(data, 16, 1)) == found[1:2]


@settings(max_examples=200)
@given(st.lists(st.integers(-(1 << 70), 1 << 70), max_size=50), st.integers(-5, 60))
def test_aql_stream_of_garbage_moves_on_and_ends(garbage: list[int], start: int) -> None:
    found = list(aql.decode_stream(garbage, start))
    assert all(packet.text and "\n" not in packet.text and len(packet.text) < 500 for packet in found)
    assert len(found) <= len(garbage) // 16 + 1


@settings(max_examples=200)
@given(st.integers(0, 0xFFFF_FFFF), st.binary(min_size=60, max_size=60))
def test_aql_decode_of_any_header_never_raises(first: int, body: bytes) -> None:
    assert aql.decode(struct.pack("<I", first) + body)


def test_aql_decode_of_a_vendor_packet_with_rubbish_inside_shows_it() -> None:
    packet = [1 << 16, 0xFFFF_FFFF, *[0] * 14]
    assert aql.decode(packet).startswith("VENDOR PM4: unknown PM4 op 0xff")
    assert pm4_decode.decode(packet[1:5]).startswith("unknown PM4 op 0xff")
