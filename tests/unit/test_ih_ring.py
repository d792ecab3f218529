"""IH: the interrupt ring is set up, read, overflows and is taken down."""

from __future__ import annotations

import struct

import pytest

from amdriver.ih import MAX_KEPT, RING_BYTES, Ih, decode
from base.clock import VirtualClock
from base.errors import DeviceLost
from tests import boot_fakes as fakes
from tests.boot_fakes import FakeGmc, FakeTransport

CNTL, BASE, BASE_HI, RPTR, WPTR = 0x4480, 0x4484, 0x4488, 0x448C, 0x4490
ADDR_HI, ADDR_LO, DOORBELL, RETRY_DOORBELL, CNTL1 = 0x4494, 0x4498, 0x449C, 0x44A0, 0x44B0


class Ring:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.transport = FakeTransport()
        self.gmc = FakeGmc(self.transport)
        self.ih = Ih(fakes.fake_gpu(self.transport, clock=self.clock), self.gmc.as_gmc)
        self.ih.sw_init()
        self.ring, self.writeback = (block.vram_offset for block in self.gmc.live)
        self.wptr = 0

    def send(self, client: int, source: int, context: int = 0, *, count: int = 1, overflow: bool = False) -> None:
        for _ in range(count):
            entry = struct.pack("<8I", client | source << 8 | 3 << 16 | 8 << 24, 1000, 0, 5 | 6 << 16, context, 1, 2, 3)
            self.transport.poke(self.ring + self.wptr, entry)
            self.wptr = (self.wptr + 32) % RING_BYTES
        told = self.wptr | overflow
        self.transport.registers[WPTR] = told
        self.transport.poke(self.writeback, struct.pack("<I", told))


@pytest.fixture
def ring() -> Ring:
    made = Ring()
    made.ih.hw_init()
    return made


def test_ih_entry_is_decoded_as_the_kernel_does() -> None:
    entry = struct.pack("<8I", 0x8F_03_B5_14 & 0x8FFFFFFF, 0x11223344, 0x80005566, 0x00061234, 1, 2, 3, 4)
    seen = decode(entry)
    assert (seen.client, seen.source, seen.ring_id, seen.vmid, seen.vmid_source) == (0x14, 0xB5, 3, 15, 1)
    assert (seen.timestamp, seen.timestamp_source, seen.pasid, seen.node) == (0x556611223344, 1, 0x1234, 6)
    assert seen.context == (1, 2, 3, 4)
    assert str(seen) == "GRBM_CP CP_EOP_INTERRUPT (ring 0x3, VMID 15, node 6)"


@pytest.mark.parametrize(
    ("client", "source", "words"),
    [
        (8, 224, "SDMA0 SDMA_TRAP"),
        (4, 224, "SDMA3 SDMA_TRAP"),
        (0x12, 0, "VMC VM_FAULT"),
        (3, 0x61, "BIF ERREVENT_ATHUB_INTERRUPT"),
        (0x17, 9, "DF source 9"),
        (0x14, 1, "GRBM_CP source 1"),
        (0xEE, 1, "client 0xee source 1"),
    ],
)
def test_ih_client_and_source_have_names(client: int, source: int, words: str) -> None:
    assert str(decode(struct.pack("<8I", client | source << 8, *([0] * 7)))).startswith(words)


def test_ih_ring_lies_in_vram_and_is_enabled_last(ring: Ring) -> None:
    registers = ring.transport.registers
    assert registers[BASE] << 8 | registers[BASE_HI] << 40 == fakes.MC_BASE + ring.ring
    assert registers[ADDR_LO] | registers[ADDR_HI] << 32 == fakes.MC_BASE + ring.writeback
    assert registers[DOORBELL] == 0x10000340
    assert registers[RETRY_DOORBELL] == 0x10000346
    writes = ring.transport.writes(CNTL)
    assert [value for _, value in writes] == [0x80, 0xC03101A0, 0x403301A1]
    assert ring.transport.writes()[-1] == writes[-1]
    assert registers[CNTL1] & 1 == 0


def test_ih_poll_gives_what_came_and_moves_the_read_pointer_by_doorbell(ring: Ring) -> None:
    assert ring.ih.poll() == []
    ring.send(0x14, 181, 7, count=3)
    assert [one.context[0] for one in ring.ih.poll()] == [7, 7, 7]
    assert ring.transport.doorbells == [(0x340 * 4, 96)]
    assert ring.ih.poll() == []
    assert len(ring.transport.doorbells) == 1


def test_ih_poll_goes_round_the_end_of_the_ring(ring: Ring) -> None:
    per_ring = RING_BYTES // 32
    ring.send(8, 224, count=per_ring - 2)
    assert len(ring.ih.poll()) == per_ring - 2
    ring.send(8, 224, 1, count=2)
    ring.send(8, 224, 2, count=3)
    assert [one.context[0] for one in ring.ih.poll()] == [1, 1, 2, 2, 2]


def test_ih_overflow_is_counted_cleared_and_gone_on_with(ring: Ring) -> None:
    per_ring = RING_BYTES // 32
    ring.send(8, 224, 1, count=per_ring)
    ring.send(8, 224, 2, count=10, overflow=True)
    before = len(ring.transport.writes(CNTL))
    seen = ring.ih.poll()
    assert ring.ih.overflows == 1
    assert len(seen) == per_ring - 1
    assert [one.context[0] for one in seen[-10:]] == [2] * 10
    assert [value for _, value in ring.transport.writes(CNTL)[before:]] == [0xC03301A1, 0x403301A1]
    ring.send(8, 224, 3)
    assert [one.context[0] for one in ring.ih.poll()] == [3]


def test_ih_overflow_that_was_cleared_already_is_not_counted_again(ring: Ring) -> None:
    ring.send(8, 224, count=2)
    ring.transport.poke(ring.writeback, struct.pack("<I", ring.wptr | 1))
    assert len(ring.ih.poll()) == 2
    assert ring.ih.overflows == 0


def test_ih_poll_of_a_lost_device_says_so(ring: Ring) -> None:
    ring.transport.lost = True
    with pytest.raises(DeviceLost):
        ring.ih.poll()


def test_ih_dead_write_pointer_of_a_device_that_is_there_is_an_error(ring: Ring) -> None:
    ring.send(8, 224, count=2, overflow=True)
    ring.transport.registers[WPTR] = 0xFFFFFFFF
    with pytest.raises(DeviceLost, match="reading the interrupt ring"):
        ring.ih.poll()


def test_ih_fini_turns_rings_and_doorbells_off(ring: Ring) -> None:
    before = ring.clock.now()
    ring.ih.hw_fini()
    registers = ring.transport.registers
    assert [registers[offset] for offset in (CNTL, RPTR, WPTR, CNTL1, DOORBELL, RETRY_DOORBELL)] == [
        0x80,
        0,
        0,
        0x80,
        0,
        0,
    ]
    assert ring.clock.now() - before == pytest.approx(1e-3)
    ring.ih.sw_fini()
    ring.ih.sw_fini()
    assert ring.gmc.live == []


def test_ih_collect_keeps_what_came_for_poll_and_asks_for_the_next_interrupt(ring: Ring) -> None:
    ring.send(8, 224, 1, count=2)
    ring.ih.collect()
    assert ring.transport.doorbells == [(0x340 * 4, 64)]
    ring.send(8, 224, 2)
    assert [one.context[0] for one in ring.ih.poll()] == [1, 1, 2]
    assert ring.ih.poll() == []


def test_ih_collect_without_an_entry_asks_for_the_next_interrupt_all_the_same(ring: Ring) -> None:
    """Else the first interrupt that comes with nothing, or late, would be the last."""
    ring.ih.collect()
    assert ring.transport.doorbells == [(0x340 * 4, 0)]


def test_ih_collect_sees_what_comes_while_the_pointer_is_told(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    tell, late = ring.ih._tell_read, [5, 6]

    def told_while_more_comes() -> None:
        if late:
            ring.send(8, 224, late.pop(0))
        tell()

    monkeypatch.setattr(ring.ih, "_tell_read", told_while_more_comes)
    ring.send(8, 224, 4)
    ring.ih.collect()
    assert [offset for _, offset in ring.transport.doorbells] == [32, 64, 96]
    assert [one.context[0] for one in ring.ih.poll()] == [4, 5, 6]


def test_ih_collect_ends_though_the_gpu_never_stops(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring.ih, "_tell_read", lambda: ring.send(8, 224))
    ring.ih.collect()
    assert 10 < len(ring.ih.poll()) < 1000


def test_ih_collected_entries_are_bounded_and_the_loss_is_counted(ring: Ring) -> None:
    for number in range(3):
        ring.send(8, 224, number, count=MAX_KEPT // 2)
        ring.ih.collect()
    kept = ring.ih.poll()
    assert (len(kept), ring.ih.overflows) == (MAX_KEPT, 1)
    assert (kept[0].context[0], kept[-1].context[0]) == (1, 2)
