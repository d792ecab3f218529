"""Work that falls due: every access to a software GPU, and to memory that it shares, runs it first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from base.clock import RealClock
from gpumodel import open_models, pciconfig
from gpumodel.device import ModelTransport
from pcibus.transport import DmaBuffer

MEMSIZE = 0xDE3 * 4

ACCESSES: dict[str, Callable[[ModelTransport, DmaBuffer], object]] = {
    "config read": lambda gpu, memory: gpu.config_read(0, 4),
    "config write": lambda gpu, memory: gpu.config_write(pciconfig.COMMAND, 2, 6),
    "register read": lambda gpu, memory: gpu.read32(5, MEMSIZE),
    "register write": lambda gpu, memory: gpu.write32(5, 0x140, 0),
    "64-bit read": lambda gpu, memory: gpu.read64(0, 0),
    "64-bit write": lambda gpu, memory: gpu.write64(0, 0, 0),
    "doorbell": lambda gpu, memory: gpu.write64(2, 0, 0),
    "block read": lambda gpu, memory: gpu.read_block(0, 0, 64),
    "block write": lambda gpu, memory: gpu.write_block(0, 0, bytes(64)),
    "DMA buffer read": lambda gpu, memory: memory.read(0, 4),
    "DMA buffer write": lambda gpu, memory: memory.write(0, b"1234"),
}


@pytest.mark.parametrize("access", ACCESSES)
def test_access_runs_what_is_due_and_nothing_that_is_not(access: str) -> None:
    gpu, other = open_models("mi350x*2")
    memory = gpu.alloc_dma(4096)
    done: list[str] = []
    events = gpu.gpu.hive.events
    events.after(1.0, lambda: done.append("one"))
    events.after(2.0, lambda: done.append("two"))
    ACCESSES[access](gpu, memory)
    assert done == []
    gpu.gpu.clock.sleep(1.0)
    assert done == []
    ACCESSES[access](gpu, memory)
    assert done == ["one"]
    gpu.gpu.clock.sleep(5.0)
    ACCESSES[access](other, memory)
    assert done == ["one", "two"]


def test_work_without_delay_is_done_when_the_write_that_asked_for_it_returns() -> None:
    (gpu,) = open_models("mi350x?fault=ih-overflow")
    layout = gpu.gpu.registers.layout
    base = 0x80_0000_0000
    gpu.write32(5, layout.address("OSSSYS.IH_RB_BASE_HI") * 4, base >> 40)
    gpu.write32(5, layout.address("OSSSYS.IH_RB_BASE") * 4, base >> 8 & 0xFFFFFFFF)
    gpu.write32(5, layout.address("OSSSYS.IH_RB_CNTL") * 4, 1 | 1 << 16 | 8 << 1 | 4 << 28)
    assert gpu.gpu.registers.get("OSSSYS.IH_RB_WPTR") & 1
    assert len(gpu.gpu.hive.events) == 0


def test_read_sees_what_the_work_that_was_due_has_changed() -> None:
    (gpu,) = open_models("mi350x")
    memory = gpu.alloc_dma(4096)
    gpu.config_write(pciconfig.COMMAND, 2, 6)

    def finish() -> None:
        gpu.gpu.vram.write(0x100, b"done")
        assert gpu.gpu.gmc.bus_write(memory.bus_addr[0], b"done")

    gpu.gpu.hive.events.after(0.5, finish)
    assert gpu.read_block(0, 0x100, 4) == memory.read(0, 4) == bytes(4)
    gpu.gpu.clock.sleep(0.5)
    assert memory.read(0, 4) == gpu.read_block(0, 0x100, 4) == b"done"


def test_work_runs_in_order_of_its_time_and_may_ask_for_more() -> None:
    (gpu,) = open_models("mi350x")
    events = gpu.gpu.hive.events
    done: list[int] = []

    def first() -> None:
        done.append(1)
        events.after(0, lambda: done.append(3))
        events.after(9.0, lambda: done.append(4))

    events.after(2.0, lambda: done.append(2))
    events.after(1.0, first)
    gpu.gpu.clock.sleep(3.0)
    gpu.read32(5, MEMSIZE)
    assert done == [1, 2, 3]
    assert events.next_due() == gpu.gpu.clock.now() + 9.0


def test_work_on_the_real_clock_runs_when_somebody_looks() -> None:
    clock = RealClock()
    (gpu,) = open_models("mi350x", clock)
    done: list[int] = []
    gpu.gpu.hive.events.after(0.01, lambda: done.append(1))
    gpu.read32(5, MEMSIZE)
    assert done == []
    clock.sleep(0.02)
    gpu.read32(5, MEMSIZE)
    assert done == [1]


def test_work_that_looks_again_soon_on_the_real_clock_lets_the_access_return() -> None:
    """A queue that waits looks again after a microsecond, which is over before its look has ended."""
    clock = RealClock()
    (gpu,) = open_models("mi350x", clock)
    events = gpu.gpu.hive.events
    looks: list[float] = []

    def look() -> None:
        looks.append(clock.now())
        assert len(looks) < 100, "the access never returns"
        clock.sleep(0.0001)
        events.after(1e-6, look)

    events.after(0, look)
    for access in range(1, 4):
        clock.sleep(0.001)
        gpu.read32(5, MEMSIZE)
        assert len(looks) == access


def test_work_that_reads_through_the_transport_does_not_run_other_work_inside_itself() -> None:
    (gpu,) = open_models("mi350x")
    order: list[str] = []

    def outer() -> None:
        order.append("begin")
        gpu.read32(5, MEMSIZE)
        order.append("end")

    gpu.gpu.hive.events.after(1.0, outer)
    gpu.gpu.hive.events.after(1.0, lambda: order.append("other"))
    gpu.gpu.clock.sleep(1.0)
    gpu.read32(5, MEMSIZE)
    assert order == ["begin", "end", "other"]


def test_chain_that_follows_takes_as_long_as_its_parts_however_late_somebody_looks() -> None:
    (gpu,) = open_models("mi350x")
    events = gpu.gpu.hive.events
    done: list[str] = []

    def first() -> None:
        done.append("first")
        events.after(1.0, lambda: done.append("follows"), follow=True)
        events.after(1.0, lambda: done.append("from now"))

    events.after(1.0, first)
    gpu.gpu.clock.sleep(5.0)
    gpu.read32(5, MEMSIZE)
    assert done == ["first", "follows"]
    gpu.gpu.clock.sleep(1.0)
    gpu.read32(5, MEMSIZE)
    assert done == ["first", "follows", "from now"]
