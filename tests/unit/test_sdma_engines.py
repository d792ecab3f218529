"""SDMA engines: what is written to start and stop them, and the test at the end of a start."""

from __future__ import annotations

from typing import Any

import pytest

from amdriver.memory import Closed
from amdriver.ring import QueueStuck
from amdriver.sdma import Sdma
from base.errors import DeviceLost, Unavailable, UsageError
from registers.amd.sdma_4_4_2 import Sdma as Registers
from tests.unit.queue_fake import Fake, SdmaEngine, ip_map, sdma_bases


def started(fake: Fake | None = None, *, ring_bytes: int = 4096) -> tuple[Fake, Sdma, list[SdmaEngine]]:
    fake = fake or Fake()
    engines = [SdmaEngine(fake, ip.instance) for ip in fake.ip.active("SDMA0")]
    sdma = Sdma(fake.gpu, fake.gmc, ring_bytes=ring_bytes)
    sdma.sw_init()
    sdma.hw_init()
    return fake, sdma, engines


def writes_of(fake: Fake, instance: int) -> list[tuple[str, int]]:
    """(register, value) written to one engine, in order."""
    names = {4 * (sdma_bases(instance)[0] + item.offset): name for name, item in Registers.REGISTERS.items()}
    return [(names[offset], value) for verb, _, offset, value in fake.transport.log if verb == "W" and offset in names]


def test_sw_init_touches_no_register_and_takes_one_piece_of_uncached_host_memory() -> None:
    fake = Fake()
    Sdma(fake.gpu, fake.gmc).sw_init()
    assert fake.transport.log == []
    assert [(one.where, one.uncached) for one in fake.gmc.live] == [("host", True)]


def test_hw_init_writes_an_engine_in_this_order() -> None:
    fake, sdma, _ = started()
    queue = sdma.queues[5]
    assert writes_of(fake, 5) == [
        ("SDMA_GFX_RB_CNTL", 0x0084_1014),
        ("SDMA_CNTL", 0x1004_0003),
        ("SDMA_UTCL1_TIMEOUT", 0x0080_0080),
        ("SDMA_SEM_WAIT_FAIL_TIMER_CNTL", 0),
        ("SDMA_GFX_MINOR_PTR_UPDATE", 1),
        ("SDMA_GFX_RB_RPTR", 0),
        ("SDMA_GFX_RB_RPTR_HI", 0),
        ("SDMA_GFX_RB_WPTR", 0),
        ("SDMA_GFX_RB_WPTR_HI", 0),
        ("SDMA_GFX_RB_BASE", queue.address >> 8),
        ("SDMA_GFX_RB_BASE_HI", 0),
        ("SDMA_GFX_RB_RPTR_ADDR_LO", queue.rptr_va),
        ("SDMA_GFX_RB_RPTR_ADDR_HI", 0),
        ("SDMA_GFX_RB_WPTR_POLL_ADDR_LO", queue.wptr_va),
        ("SDMA_GFX_RB_WPTR_POLL_ADDR_HI", 0),
        ("SDMA_GFX_DOORBELL_OFFSET", 4 * 2 * (0x100 + 50)),
        ("SDMA_GFX_DOORBELL", 1 << 28),
        ("SDMA_GFX_MINOR_PTR_UPDATE", 0),
        ("SDMA_GFX_RB_CNTL", 0x0084_1015),
        ("SDMA_GFX_IB_CNTL", 1),
    ]


def test_hw_init_of_all_engines_stays_within_its_share_of_accesses() -> None:
    fake, sdma, _ = started()
    assert len(sdma.queues) == 16
    assert fake.transport.count("R") == 16  # SDMA_CNTL
    assert fake.transport.count("W") == 16 * 20
    assert fake.transport.count("D") == 16


def test_hw_init_keeps_the_other_bits_of_sdma_cntl() -> None:
    fake = Fake()
    fake.transport.registers[4 * (sdma_bases(0)[0] + 0x6D)] = 1 << 9  # VM_HOLE_INT_ENABLE
    started(fake)
    assert dict(writes_of(fake, 0))["SDMA_CNTL"] == 0x1004_0203


def test_context_empty_interrupt_is_left_alone_on_4_4_5() -> None:
    fake = Fake(ip=ip_map(sdma=(4, 4, 5)))
    started(fake)
    assert dict(writes_of(fake, 0))["SDMA_CNTL"] == 0x0004_0003


def test_engines_are_tested_side_by_side() -> None:
    fake, _, engines = started()
    kinds = [entry[0] for entry in fake.transport.log if entry[0] == "D" or entry[0] == "W"]
    assert kinds[-16:] == ["D"] * 16
    assert all(engine.packets[0].startswith("WRITE_LINEAR") for engine in engines)


def test_harvested_engines_are_left_out() -> None:
    fake = Fake(ip=ip_map(engines=(0, 1, 2, 3, 8, 9)))
    _, sdma, _ = started(fake)
    assert [(queue.number, queue.instance) for queue in sdma.queues] == list(enumerate((0, 1, 2, 3, 8, 9)))
    assert writes_of(fake, 4) == []
    assert sdma.queues[4].doorbell == 0x100 + 80


@pytest.mark.parametrize("version", [(4, 4, 0), (5, 0, 0)])
def test_unknown_version_is_refused_before_anything_is_allocated(version: Any) -> None:
    fake = Fake(ip=ip_map(sdma=version))
    with pytest.raises(Unavailable, match=r"engines of version 4\.4\.2, 4\.4\.4, 4\.4\.5"):
        Sdma(fake.gpu, fake.gmc).sw_init()
    assert fake.gmc.live == []


def test_gpu_without_engines_is_refused() -> None:
    fake = Fake(ip=ip_map(engines=()))
    with pytest.raises(Unavailable, match="no engine in the discovery table"):
        Sdma(fake.gpu, fake.gmc).sw_init()


def test_ring_of_bad_size_is_refused_by_the_constructor() -> None:
    fake = Fake()
    with pytest.raises(UsageError, match="ring_bytes"):
        Sdma(fake.gpu, fake.gmc, ring_bytes=5000)


def test_engines_that_never_start_are_all_named_in_the_time_of_one() -> None:
    fake = Fake()
    engines = [SdmaEngine(fake, instance) for instance in range(16)]
    engines[3].dead = engines[7].dead = True
    sdma = Sdma(fake.gpu, fake.gmc)
    sdma.sw_init()
    with pytest.raises(QueueStuck, match="testing SDMA 3") as caught:
        sdma.hw_init()
    assert fake.clock.now() < 0.12
    assert "also: SDMA 7" in str(caught.value)
    assert "0xdeadbeef in memory within 0.1 s" in str(caught.value)
    assert "SDMA0[3].SDMA_F32_CNTL=0x00000000" in str(caught.value)
    assert "SDMA0[3].SDMA_STATUS_REG @ BAR5" in caught.value.where
    assert caught.value.packet.startswith("WRITE_LINEAR")


def test_hw_init_of_a_lost_device_ends_with_device_lost() -> None:
    fake = Fake()
    sdma = Sdma(fake.gpu, fake.gmc)
    sdma.sw_init()
    fake.transport.lost = True
    with pytest.raises(DeviceLost, match="testing SDMA 0"):
        sdma.hw_init()
    with pytest.raises(DeviceLost):
        sdma.hw_fini()
    sdma.sw_fini()
    assert fake.gmc.live == []


def test_hw_fini_stops_as_the_kernel_does_with_the_doorbell_off_before_its_offset() -> None:
    fake, sdma, _ = started()
    fake.transport.log.clear()
    sdma.hw_fini()
    assert writes_of(fake, 0) == [
        ("SDMA_GFX_RB_CNTL", 0x0084_1014),
        ("SDMA_GFX_IB_CNTL", 0),
        ("SDMA_CNTL", 0x1000_0001),
        ("SDMA_GFX_DOORBELL", 0),
        ("SDMA_GFX_DOORBELL_OFFSET", 0),
    ]


def test_hw_fini_with_a_hanging_engine_stops_all_in_bounded_time() -> None:
    fake, sdma, engines = started()
    engines[0].dead = True
    sdma.queues[0].submit(bytes(4))
    with pytest.raises(QueueStuck, match="waiting for SDMA 0 to read its ring"):
        sdma.hw_fini()
    assert fake.clock.now() < 0.12
    assert writes_of(fake, 15)[-1] == ("SDMA_GFX_DOORBELL_OFFSET", 0)


def test_started_again_after_halt_begins_at_the_start() -> None:
    _, sdma, engines = started()
    sdma.queues[0].submit(bytes(64))
    sdma.halt()
    for engine in engines:
        engine.rptr = 0
    sdma.hw_init()
    assert sdma.queues[0].wptr == 20


def test_sw_fini_gives_all_memory_back_and_closes_the_queues() -> None:
    fake, sdma, _ = started()
    queue = sdma.queues[0]
    sdma.signals.new()
    sdma.hw_fini()
    sdma.sw_fini()
    assert fake.gmc.live == []
    assert sdma.queues == []
    with pytest.raises(Closed):
        queue.submit(bytes(4))


def test_stop_left_rings_switches_off_what_an_earlier_driver_left_on_and_names_it() -> None:
    fake = Fake()
    page = 4 * (sdma_bases(3)[0] + Registers.SDMA_PAGE_RB_CNTL.offset)
    user = 4 * (sdma_bases(3)[0] + Registers.SDMA_RLC7_RB_CNTL.offset)
    off = 4 * (sdma_bases(3)[0] + Registers.SDMA_RLC1_RB_CNTL.offset)
    gone = 4 * (sdma_bases(4)[0] + Registers.SDMA_RLC0_RB_CNTL.offset)
    fake.transport.registers |= {page: 0x1017, user: 0x0804_1017, off: 0x1016, gone: 0xFFFF_FFFF}
    sdma = Sdma(fake.gpu, fake.gmc)
    sdma.sw_init()
    assert sdma.stop_left_rings() == ["SDMA 3 PAGE", "SDMA 3 RLC7"]
    assert writes_of(fake, 3) == [
        ("SDMA_PAGE_RB_CNTL", 0x1016),
        ("SDMA_PAGE_IB_CNTL", 0),
        ("SDMA_PAGE_DOORBELL", 0),
        ("SDMA_RLC7_RB_CNTL", 0x0804_1016),
        ("SDMA_RLC7_IB_CNTL", 0),
        ("SDMA_RLC7_DOORBELL", 0),
    ]
    assert writes_of(fake, 4) == []
    assert sdma.stop_left_rings() == []
