"""A GPU for the self-test that is made of byte arrays, with one thing wrong where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amdriver.selftest_subject import Fenced, Interrupt, Subject, fence_payload
from base.clock import VirtualClock
from base.errors import DeviceLost, WaitTimeout

VRAM_BYTES = 64 << 20


class FakeMemory:
    def __init__(self, gpu: FakeGpu, start: int, size: int, where: str) -> None:
        self.gpu = gpu
        self.start = start
        self.size = size
        self.where = where
        self.data = bytearray(b"\xee" * size)
        self.freed = False

    def vram_at(self, offset: int) -> int | None:
        return None if self.where == "host" else self.start + offset

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        self.gpu.alive()
        count = self.size - offset if size is None else size
        assert not self.freed and 0 <= offset <= offset + count <= self.size
        return self.gpu.seen(self, bytes(self.data[offset : offset + count]), offset)

    def write(self, data: bytes, offset: int = 0) -> None:
        self.gpu.alive()
        assert not self.freed and offset + len(data) <= self.size
        self.data[offset : offset + len(data)] = data

    def free(self) -> None:
        assert not self.freed
        self.freed = True
        self.gpu.live.remove(self)


class FakePeer(FakeMemory):
    """Another GPU's memory; the bytes are theirs."""

    def __init__(self, gpu: FakeGpu, of: FakeMemory) -> None:
        super().__init__(gpu, of.start, of.size, "peer")
        self.data = of.data


class FakeGpu:
    """`stuck`, `wrong`: engines; `lost_after`: copies until it leaves the bus; `silent`: engines whose traps get lost."""

    def __init__(self, clock: VirtualClock, node: int = 0, nodes: int = 1, *, engines: int = 4, xccs: int = 2) -> None:
        self.clock = clock
        self.engines = engines
        self.xccs = xccs
        self.start_state = "cold"
        self.steps = ("nbio", "psp", "gfx")
        self.notes: tuple[str, ...] = ()
        self.node = (node, nodes)
        self.live: list[FakeMemory] = []
        self.opened = 0
        self.closed = 0
        self.copies = 0
        self.stuck: set[int] = set()
        self.wrong: set[int] = set()
        self.wrong_bar0 = False
        self.lost_after: int | None = None
        self.silent: set[int] = set()
        self.dead_xccs: set[int] = set()
        self.told_faults: list[str] = []
        self.tick_rate = 100e6
        self.close_error: Exception | None = None
        self.on_copy: Callable[[], None] = lambda: None
        self._entries: list[Interrupt] = []
        self._next = 0x10000
        self._queued: dict[int, bool] = {}

    def alive(self) -> None:
        if self.lost_after is not None and self.copies > self.lost_after:
            raise DeviceLost("asking the GPU", expected="a device on the bus", seen="all ones", where="fake")

    def seen(self, memory: FakeMemory, data: bytes, offset: int) -> bytes:
        if self.wrong_bar0 and memory.where == "vram" and data:
            return bytes((data[0] ^ 0xFF,)) + data[1:]
        return data

    def alloc(self, size: int, *, where: str = "vram") -> FakeMemory:
        self.alive()
        made = FakeMemory(self, self._next, size, where)
        self._next += -(-size // 4096) * 4096
        self.live.append(made)
        return made

    def copy_many(self, pieces: Sequence[tuple[Any, int, Any, int, int]], *, engine: int) -> None:
        for dst, dst_at, src, src_at, size in pieces:
            self.copies += 1
            self.on_copy()
            self.alive()
            data = bytearray(src.data[src_at : src_at + size])
            if engine in self.wrong:
                data[size // 2] ^= 1
            dst.data[dst_at : dst_at + size] = data
            self.clock.sleep(1e-6)
        self._queued[engine] = True

    def fill(
        self, dst: Any, value: int, size: int | None = None, *, offset: int = 0, engine: int | None = None
    ) -> None:
        count = dst.size - offset if size is None else size
        dst.data[offset : offset + count] = bytes((value,)) * count
        self._queued[engine or 0] = True

    def synchronize(self, *, engine: int | None = None) -> None:
        self.alive()
        for number in [engine] if engine is not None else list(self._queued):
            if number in self.stuck:
                self.clock.sleep(5.0)
                raise WaitTimeout(
                    f"waiting for a fence of SDMA{number}",
                    expected="value 1 within 5 s",
                    seen="0",
                    where=f"SDMA{number}",
                )
            self._queued.pop(number, None)

    def timestamps(self, engine: int, count: int) -> list[int]:
        self.clock.sleep(1e-6)
        return [1000 + int(self.clock.now() * self.tick_rate) for _ in range(count)]

    def compute_fence(self, xcc: int, value: int) -> Fenced:
        before = self.timestamps(0, 1)[0]
        written = bytes(32) if xcc in self.dead_xccs else fence_payload(value)
        return Fenced(written, value, before, self.timestamps(0, 1)[0])

    def trap(self, engine: int, context: int) -> None:
        if engine not in self.silent:
            self._entries.append(Interrupt(8, 224, 0, context))

    def compute_trap(self, xcc: int) -> None:
        if xcc not in self.dead_xccs:
            self._entries.append(Interrupt(0x14, 181, 4 * xcc, 0))

    def interrupts(self) -> list[Interrupt]:
        found, self._entries = self._entries, []
        return found

    def map_peer(self, memory: FakeMemory) -> FakeMemory:
        made = FakePeer(self, memory)
        self.live.append(made)
        return made

    def unmap_peers(self) -> None:
        for memory in [one for one in self.live if isinstance(one, FakePeer)]:
            memory.free()

    def faults(self) -> list[str]:
        found, self.told_faults = self.told_faults, []
        return found

    def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


def subject(gpu: FakeGpu | Exception, index: int = 0) -> Subject:
    """`gpu` an exception: what opening it raises."""

    def opened() -> FakeGpu:
        if isinstance(gpu, Exception):
            raise gpu
        gpu.opened += 1
        return gpu

    return Subject(index, f"0000:{5 + 0x20 * index:02x}:00.0", "MI350X", "gfx950", opened)


def hive(clock: VirtualClock, count: int) -> list[FakeGpu]:
    return [FakeGpu(clock, node, count) for node in range(count)]
