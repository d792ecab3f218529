"""tinygrad's queues for our driver: its methods fill a list of dwords from templates, a submission is one write and a doorbell.

A compute queue becomes AQL packets: its PM4 goes as indirect buffers around the kernels' own packets. Values that are not
known yet (tinygrad's symbols, in graphs) get a place in the list and are put in by `submit`."""

from __future__ import annotations

import struct
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any

from tinygrad.helpers import data64_le
from tinygrad.runtime.support.hcq import HWQueue, MMIOInterface
from tinygrad.uop.ops import UOp, sym_infer

from base.errors import UsageError

if TYPE_CHECKING:
    from gpumend import AqlQueue, Raw, RawMemory

IB_BYTES = 4 << 20
_IB_ALIGNMENT = 64
_COPY_BYTES = 0x400000  # of one packet, as tinygrad has it for these engines
_AQL_BYTES = 64


class Patch(MMIOInterface):
    """A view of bytes of ours, where tinygrad puts sizes that are not known yet."""

    def __init__(self, data: bytearray, offset: int = 0, fmt: str = "B") -> None:
        self.data, self.at, self.fmt, self.nbytes = data, offset, fmt, len(data) - offset

    def view(self, offset: int = 0, size: int | None = None, fmt: str | None = None) -> Patch:
        return Patch(self.data, self.at + offset, fmt or self.fmt)

    def __getitem__(self, index: int) -> int:
        return int(struct.unpack_from(f"<{self.fmt}", self.data, self.at + index * struct.calcsize(self.fmt))[0])

    def __setitem__(self, index: int, value: int) -> None:
        struct.pack_into(f"<{self.fmt}", self.data, self.at + index * struct.calcsize(self.fmt), value)


class IndirectRing:
    """Memory for indirect buffers, used round and round; a piece is used again when the processor is past it."""

    def __init__(self, raw: Raw, queue: AqlQueue) -> None:
        self._queue = queue
        self._memory = raw.alloc(IB_BYTES, where="host", uncached=True)
        self._raw = raw
        self._next = 0
        self._used: deque[tuple[int, int, int]] = deque()  # start, end, the queue's write pointer behind it

    def put(self, data: bytes) -> int:
        """The address of a copy of it. Raises UsageError (too long), QueueStuck when the queue does not get on."""
        size = -(-len(data) // _IB_ALIGNMENT) * _IB_ALIGNMENT
        if size > IB_BYTES // 2:
            raise UsageError(
                "submitting to a compute queue",
                expected=f"at most {IB_BYTES // 2} bytes of packets beside the kernels",
                seen=f"{len(data)}",
                next_step="submit it in several parts",
            )
        if self._next + size > IB_BYTES:
            self._next = 0
        start, end = self._next, self._next + size
        while self._used and self._used[0][0] < end and start < self._used[0][1]:
            # Read is not done: only when the packet behind it was taken too, nothing of it is in work.
            if self._queue.rptr <= self._used[0][2]:
                self._queue.wait_idle()
            self._used.popleft()
        self._memory.write(start, data)
        self._next = end
        self._used.append((start, end, self._queue.wptr + _AQL_BYTES))
        return self._memory.gpu_va + start

    def forget(self) -> None:
        """After a recovery the ring starts anew."""
        self._used.clear()
        self._next = 0


class ComputeQueue(HWQueue):
    """What tinygrad calls a compute queue: gathered here, handed over by `submit`."""

    def __init__(self, dev: Any) -> None:
        super().__init__()
        self.dev = dev
        self._packets = dev.raw.packets
        self._launches: list[tuple[int, bytearray]] = []  # dwords before it, its packet
        self._marks: list[Any] = []  # values that the timeline gets from here
        self._page: RawMemory | None = None
        self._fixed: list[bytearray | bytes] = []

    # ---- what tinygrad asks for

    def wait(self, signal: Any, value: Any = 0) -> ComputeQueue:
        return self._add(self._packets.compute_wait, signal.base_buf.va_addr, value)

    def timestamp(self, signal: Any) -> ComputeQueue:
        return self._add(self._packets.compute_time, signal.base_buf.va_addr + 8, 0)

    def signal(self, signal: Any, value: Any = 0) -> ComputeQueue:
        if signal.is_timeline:
            self._marks.append(value)
        return self._add(self._packets.compute_fence, signal.base_buf.va_addr, value)

    def write(self, b: Any, val: Any, b64: bool = False) -> ComputeQueue:
        if not b64:
            return self._add(self._packets.compute_write, b.va_addr, val)
        template = self._packets.compute_write_wide
        words: list[Any] = list(template.words)
        words[template.address_at : template.address_at + 2] = data64_le(b.va_addr)
        words[template.value_at : template.value_at + 2] = data64_le(val)
        self.q(*words)
        return self

    def memory_barrier(self) -> ComputeQueue:
        self._q += self._packets.compute_barrier
        return self

    def exec(self, prg: Any, args_state: Any, global_size: Any, local_size: Any) -> ComputeQueue:
        self.bind_args_state(args_state)
        fixed = all(type(one) is int for one in (*global_size, *local_size))
        grid = tuple(a * b for a, b in zip(global_size, local_size, strict=True))
        packet = self._packets.launch(
            prg.aql_prog_addr,
            args_state.buf.va_addr,
            local_size if fixed else (0, 0, 0),
            grid if fixed else (0, 0, 0),
            prg.private_segment_size,
            prg.group_segment_size,
        )
        if not fixed:
            view = Patch(packet)
            self.bind_sints_to_mem(*local_size, mem=view, fmt="H", offset=self._packets.workgroup_at)
            self.bind_sints_to_mem(*grid, mem=view, fmt="I", offset=self._packets.grid_at)
        self._launches.append((len(self._q), packet))
        return self

    def bind(self, dev: Any) -> ComputeQueue:
        """Memory of its own for the indirect buffers: a graph is submitted again and again."""
        self.binded_device = dev
        self._page = dev.raw.alloc(max(4 * len(self._q), 4), where="host", uncached=True)
        self._fixed = self._split(self._page.gpu_va)
        return self

    def __del__(self) -> None:
        page = getattr(self, "_page", None)
        if page is not None and not page.freed and self.dev.is_open:
            page.free()

    # ---- inside

    def _add(self, template: Any, address: Any, value: Any) -> ComputeQueue:
        if type(address) is int and type(value) is int:
            self._q += template.fill(address, value)
            return self
        words = list(template.words)
        words[template.address_at : template.address_at + 2] = data64_le(address)
        if template.value_at >= 0:
            words[template.value_at] = value
        self.q(*words)
        return self

    def _split(self, address: int) -> list[bytearray | bytes]:
        """The AQL packets, for indirect buffers that lie side by side from an address on."""
        packets: list[bytearray | bytes] = []
        at = 0
        for before, launch in (*self._launches, (len(self._q), None)):
            if before > at:
                packets.append(self._packets.indirect(address + 4 * at, before - at))
                at = before
            if launch is not None:
                packets.append(launch)
        return packets

    def submit(self, dev: Any, var_vals: dict[str, int] | None = None) -> ComputeQueue:
        if var_vals is not None:
            self._apply_var_vals(var_vals)
        for mark in self._marks:
            dev.expect(sym_infer(mark, var_vals or {}) if isinstance(mark, UOp) else mark)
        self._submit(dev)
        return self

    def _submit(self, dev: Any) -> None:
        dev.require_usable()
        data = array("I", self._q).tobytes()
        if self._page is not None and dev is self.binded_device:
            self._page.write(0, data)
            packets = self._fixed
        else:
            packets = self._split(dev.indirect.put(data) if data else 0)
        dev.raw.submit(dev.compute_queue, b"".join(packets))


class CopyQueue(HWQueue):
    """What tinygrad calls a copy queue, on one SDMA engine. Packets stay whole: `_sizes` holds their dwords."""

    def __init__(self, dev: Any, queue_idx: int = 0) -> None:
        super().__init__()
        self.dev, self.queue_idx = dev, queue_idx
        self._packets = dev.raw.packets
        self._sizes: list[int] = []

    def copy(self, dest: Any, src: Any, copy_size: int) -> CopyQueue:
        for at in range(0, copy_size, _COPY_BYTES):
            count = min(copy_size - at, _COPY_BYTES)
            head = (self._packets.copy_head, count - 1, 0)
            self._whole(*head, *data64_le(src.va_addr + at), *data64_le(dest.va_addr + at))
        return self

    def wait(self, signal: Any, value: Any = 0) -> CopyQueue:
        return self._add(self._packets.wait, signal.base_buf.va_addr, value)

    def signal(self, signal: Any, value: Any = 0) -> CopyQueue:
        return self._add(self._packets.fence, signal.base_buf.va_addr, value)

    def timestamp(self, signal: Any) -> CopyQueue:
        return self._add(self._packets.time, signal.base_buf.va_addr + 8, 0)

    def _add(self, template: Any, address: Any, value: Any) -> CopyQueue:
        if type(address) is int and type(value) is int:
            words = template.fill(address, value)
            self._q += words
            self._sizes.append(len(words))
            return self
        words = list(template.words)
        words[template.address_at : template.address_at + 2] = data64_le(address)
        if template.value_at >= 0:
            words[template.value_at] = value
        self._whole(*words)
        return self

    def _whole(self, *words: Any) -> None:
        self.q(*words)
        self._sizes.append(len(words))

    def _submit(self, dev: Any) -> None:
        dev.require_usable()
        queue = dev.sdma(self.queue_idx)
        data = array("I", self._q).tobytes()
        if len(data) > queue.limit_bytes:
            at = 0
            for size in self._sizes:  # piece by piece; the ring makes room between them
                queue.add(data[at : at + 4 * size])
                at += 4 * size
            data = b""
        dev.raw.flush()
        queue.submit(data)
