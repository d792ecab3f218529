"""User queues through /dev/kfd: a process, its memory on every GPU, queues with doorbells, events.

Source: Linux v7.3 include/uapi/linux/kfd_ioctl.h, amdkfd/kfd_queue.c (sizes that a compute queue must bring),
kfd_chardev.c (doorbell offsets), kfd_events.c (event page). HSA platform specification: AQL packets; amd_signal_t."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Sequence
from ctypes import c_uint32, c_uint64
from dataclasses import dataclass, field

from tests.lab.guest.uapi import WRITE, Node, Struct, open_device

PAGE = 4096
EVENT_PAGE_SIZE = 4096 * 8  # KFD_SIGNAL_EVENT_LIMIT slots of 8 bytes
DOORBELL_PAGE = 8192  # kfd_doorbell.c: 1024 doorbells of 8 bytes for each process
# Above 1 TiB, as the addresses of a process are: the driver takes a hanging queue whose ring lies below for one of its own
# (amdgpu_amdkfd_gfx_v9.c, kgd_gfx_v9_hqd_get_pq_addr: "only concerned with user queues") and resets the whole GPU.
FIRST_VA = 0x7000_0000_0000
VA_STEP = 0x20_0000
VRAM, GTT = 1 << 0, 1 << 1  # KFD_IOC_ALLOC_MEM_FLAGS_*
USUAL = 1 << 31 | 1 << 30 | 1 << 29  # writable, executable, public
COHERENT = 1 << 26
SDMA, AQL, SDMA_XGMI, SDMA_ENGINE = 1, 2, 3, 4  # KFD_IOC_QUEUE_TYPE_*
EVENT_SIGNAL, EVENT_HW_EXCEPTION, EVENT_MEMORY = 0, 3, 8  # KFD_IOC_EVENT_*
WAIT_COMPLETE = 0
FAULT_VA = 2  # kfd_hsa_memory_exception_data: quad-word of `va`
FULL_PERCENTAGE, PRIORITY = 100, 7
WAVES_PER_CU, WAVES_PER_ENGINE, DEBUG_BYTES_PER_WAVE = 40, 512, 32  # kfd_queue.c, get_num_waves
EOP_BYTES = 4096  # kfd_queue.c, eop_buffer_size

AQL_VENDOR, AQL_INVALID, AQL_DISPATCH, AQL_BARRIER_AND = range(4)
AQL_BARRIER_BIT = 1 << 8
AQL_FENCES = 2 << 9 | 2 << 11  # acquire and release, system scope
AQL_BYTES = 64
PM4_IB = 1  # second half-word of a vendor packet
PM4_LEFT = 10  # dwords of a vendor packet behind the PM4


class _Kfd(Struct):
    MAGIC = "K"


class CreateQueue(_Kfd):
    NUMBER = 0x02
    _fields_ = (
        ("ring_base_address", c_uint64),
        ("write_pointer_address", c_uint64),
        ("read_pointer_address", c_uint64),
        ("doorbell_offset", c_uint64),
        ("ring_size", c_uint32),
        ("gpu_id", c_uint32),
        ("queue_type", c_uint32),
        ("queue_percentage", c_uint32),
        ("queue_priority", c_uint32),
        ("queue_id", c_uint32),
        ("eop_buffer_address", c_uint64),
        ("eop_buffer_size", c_uint64),
        ("ctx_save_restore_address", c_uint64),
        ("ctx_save_restore_size", c_uint32),
        ("ctl_stack_size", c_uint32),
        ("sdma_engine_id", c_uint32),
        ("metadata_ring_size", c_uint32),
    )


class DestroyQueue(_Kfd):
    NUMBER = 0x03
    _fields_ = (("queue_id", c_uint32), ("pad", c_uint32))


class CreateEvent(_Kfd):
    NUMBER = 0x08
    _fields_ = (
        ("event_page_offset", c_uint64),
        ("event_trigger_data", c_uint32),
        ("event_type", c_uint32),
        ("auto_reset", c_uint32),
        ("node_id", c_uint32),
        ("event_id", c_uint32),
        ("event_slot_index", c_uint32),
    )


class WaitEvents(_Kfd):
    NUMBER = 0x0C
    _fields_ = (
        ("events_ptr", c_uint64),
        ("num_events", c_uint32),
        ("wait_for_all", c_uint32),
        ("timeout", c_uint32),
        ("wait_result", c_uint32),
    )


class EventData(ctypes.Structure):
    _fields_ = (
        ("data", c_uint64 * 4),
        ("kfd_event_data_ext", c_uint64),
        ("event_id", c_uint32),
        ("pad", c_uint32),
    )


class AcquireVm(_Kfd):
    NUMBER = 0x15
    WAYS = WRITE
    _fields_ = (("drm_fd", c_uint32), ("gpu_id", c_uint32))


class AllocMemory(_Kfd):
    NUMBER = 0x16
    _fields_ = (
        ("va_addr", c_uint64),
        ("size", c_uint64),
        ("handle", c_uint64),
        ("mmap_offset", c_uint64),
        ("gpu_id", c_uint32),
        ("flags", c_uint32),
    )


class MapMemory(_Kfd):
    NUMBER = 0x18
    _fields_ = (
        ("handle", c_uint64),
        ("device_ids_array_ptr", c_uint64),
        ("n_devices", c_uint32),
        ("n_success", c_uint32),
    )


@dataclass(slots=True)
class Memory:
    """Memory that this process and GPUs see: `memory` here, `va` there."""

    handle: int
    size: int
    va: int
    memory: mmap.mmap

    def number(self, offset: int, size: int = 8) -> int:
        return int.from_bytes(self.memory[offset : offset + size], "little")


@dataclass(frozen=True, slots=True)
class Event:
    """A signal event. A GPU that writes `number` into its slot and interrupts with it sets the event."""

    number: int
    slot_va: int


@dataclass(slots=True)
class Queue:
    """A user queue: its ring, its pointers (write at 0, read at 128 of `pointers`), its doorbell."""

    number: int
    ring: Memory
    pointers: Memory
    doorbell: c_uint64
    position: int = 0  # bytes written so far

    READ, WRITE_POINTER = 0x80, 0

    def put(self, body: bytes) -> None:
        """Into the ring, round its end."""
        for place, byte_count in self._pieces(len(body)):
            self.ring.memory[place : place + byte_count] = body[:byte_count]
            body = body[byte_count:]
            self.position += byte_count

    def _pieces(self, size: int) -> list[tuple[int, int]]:
        start = self.position % self.ring.size
        first = min(size, self.ring.size - start)
        return [(start, first), (0, size - first)] if size > first else [(start, first)]

    def ring_bell(self, *, packets: bool) -> None:
        """Tell the GPU. AQL: pointers count packets, and the doorbell says which was the last."""
        pointer = self.position // AQL_BYTES if packets else self.position
        self.pointers.memory[self.WRITE_POINTER : self.WRITE_POINTER + 8] = pointer.to_bytes(8, "little")
        self.doorbell.value = pointer - 1 if packets else pointer


@dataclass(slots=True)
class Process:
    """This process to KFD, with the address spaces of all GPUs given."""

    nodes: Sequence[Node]
    descriptor: int = field(init=False)
    _renders: dict[int, int] = field(default_factory=dict)
    _doorbells: dict[int, int] = field(default_factory=dict)
    _next_va: int = FIRST_VA
    _events: Memory | None = None

    def __post_init__(self) -> None:
        self.descriptor = open_device("/dev/kfd")
        for node in self.nodes:
            self._renders[node.gpu_id] = open_device(node.render)
            AcquireVm(drm_fd=self._renders[node.gpu_id], gpu_id=node.gpu_id).call(self.descriptor)

    def memory(self, node: Node, size: int, kind: int, *, everywhere: bool = False) -> Memory:
        """Memory of the host (GTT) or of a GPU (VRAM), mapped on that GPU, or on all of them."""
        va, self._next_va = self._next_va, self._next_va + -(-size // VA_STEP) * VA_STEP
        flags = kind | USUAL | (COHERENT if kind == GTT else 0)
        made = AllocMemory(va_addr=va, size=size, gpu_id=node.gpu_id, flags=flags)
        made.call(self.descriptor)
        chosen = [other.gpu_id for other in self.nodes] if everywhere else [node.gpu_id]
        ids = (c_uint32 * len(chosen))(*chosen)
        MapMemory(
            handle=made.handle, device_ids_array_ptr=ctypes.addressof(ids), n_devices=len(chosen), n_success=0
        ).call(self.descriptor)
        mapped = mmap.mmap(self._renders[node.gpu_id], size, offset=made.mmap_offset)
        return Memory(int(made.handle), size, va, mapped)

    def event(self) -> Event:
        """A new signal event, which resets itself when somebody has waited for it."""
        first = self._events is None
        if self._events is None:
            self._events = self.memory(self.nodes[0], EVENT_PAGE_SIZE, GTT, everywhere=True)
        made = CreateEvent(event_type=EVENT_SIGNAL, auto_reset=1)
        made.event_page_offset = self._events.handle if first else 0
        made.call(self.descriptor)
        return Event(int(made.event_id), self._events.va + 8 * int(made.event_slot_index))

    def reset_event(self) -> Event:
        """An event that the driver sets when it has reset a queue of this process."""
        return self._event(EVENT_HW_EXCEPTION)

    def memory_event(self) -> Event:
        """An event that the driver sets when a GPU used an address of this process that it may not."""
        return self._event(EVENT_MEMORY)

    def _event(self, kind: int) -> Event:
        made = CreateEvent(event_type=kind, auto_reset=1)
        made.call(self.descriptor)
        return Event(int(made.event_id), 0)

    def wait(self, event: Event, limit_s: float) -> bool:
        """True: the event came, which takes an interrupt."""
        return self._wait(event, limit_s) is not None

    def fault_address(self, event: Event, limit_s: float) -> int | None:
        """Of a memory event, in whole pages; None: it did not come."""
        data = self._wait(event, limit_s)
        return None if data is None else int(data.data[FAULT_VA])

    def _wait(self, event: Event, limit_s: float) -> EventData | None:
        data = EventData(event_id=event.number)
        asked = WaitEvents(events_ptr=ctypes.addressof(data), num_events=1, wait_for_all=1, timeout=int(limit_s * 1000))
        asked.call(self.descriptor)
        return data if int(asked.wait_result) == WAIT_COMPLETE else None

    def sdma_queue(self, node: Node, ring_size: int, *, kind: int = SDMA, engine: int = 0) -> Queue:
        return self._queue(node, ring_size, CreateQueue(queue_type=kind, sdma_engine_id=engine))

    def aql_queue(self, node: Node, ring_size: int) -> Queue:
        """With what a compute queue must bring: memory for the ends of shaders, and for waves that are taken off."""
        properties = node.properties
        xccs = properties["num_xcc"]
        cus = properties["simd_count"] // properties["simd_per_cu"] // xccs
        engines = properties["array_count"] // properties["simd_arrays_per_engine"]
        waves = min(cus * WAVES_PER_CU, engines * WAVES_PER_ENGINE)
        debug = -(-waves * DEBUG_BYTES_PER_WAVE // 64) * 64
        saved = self.memory(node, -(-(properties["cwsr_size"] + debug) * xccs // PAGE) * PAGE, GTT)
        ends = self.memory(node, EOP_BYTES, GTT)
        asked = CreateQueue(
            queue_type=AQL,
            eop_buffer_address=ends.va,
            eop_buffer_size=ends.size,
            ctx_save_restore_address=saved.va,
            ctx_save_restore_size=properties["cwsr_size"],
            ctl_stack_size=properties["ctl_stack_size"],
        )
        queue = self._queue(node, ring_size, asked)
        queue.ring.memory[:] = AQL_INVALID.to_bytes(AQL_BYTES, "little") * (ring_size // AQL_BYTES)
        return queue

    def _queue(self, node: Node, ring_size: int, asked: CreateQueue) -> Queue:
        ring, pointers = self.memory(node, ring_size, GTT), self.memory(node, PAGE, GTT)
        asked.ring_base_address, asked.ring_size, asked.gpu_id = ring.va, ring_size, node.gpu_id
        asked.write_pointer_address = pointers.va + Queue.WRITE_POINTER
        asked.read_pointer_address = pointers.va + Queue.READ
        asked.queue_percentage, asked.queue_priority = FULL_PERCENTAGE, PRIORITY
        asked.call(self.descriptor)
        address = self._doorbell_page(node, int(asked.doorbell_offset)) + int(asked.doorbell_offset) % DOORBELL_PAGE
        return Queue(int(asked.queue_id), ring, pointers, c_uint64.from_address(address))

    def _doorbell_page(self, node: Node, offset: int) -> int:
        """Its address. Python's own mmap takes no offset with bit 63 set."""
        if node.gpu_id not in self._doorbells:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.mmap.restype = ctypes.c_void_p
            start = ctypes.c_int64(offset // DOORBELL_PAGE * DOORBELL_PAGE)
            ways, shared = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED
            address = libc.mmap(None, ctypes.c_size_t(DOORBELL_PAGE), ways, shared, self.descriptor, start)
            if address in (None, ctypes.c_void_p(-1).value):
                raise OSError(ctypes.get_errno(), f"mapping the doorbells of {node.render}")
            self._doorbells[node.gpu_id] = address
        return self._doorbells[node.gpu_id]

    def destroy(self, queue: Queue) -> None:
        """Raises OSError when it cannot be taken off."""
        DestroyQueue(queue_id=queue.number).call(self.descriptor)

    def close(self) -> None:
        """The kernel takes the rest away when the process ends."""
        for descriptor in (*self._renders.values(), self.descriptor):
            os.close(descriptor)


# --- AQL


class Signal:
    """A completion signal in memory (amd_signal_t): value at 8, mailbox 16, event 24, start 32, end 40."""

    SIZE = 64

    def __init__(self, memory: Memory, offset: int, value: int, event: Event | None = None) -> None:
        self.memory, self.offset, self.va = memory, offset, memory.va + offset
        slot, number = (event.slot_va, event.number) if event else (0, 0)
        memory.memory[offset : offset + self.SIZE] = struct.pack("<qqQIIQQQQ", 1, value, slot, number, 0, 0, 0, 0, 0)

    @property
    def value(self) -> int:
        return self.memory.number(self.offset + 8)

    @property
    def times(self) -> tuple[int, int]:
        return self.memory.number(self.offset + 32), self.memory.number(self.offset + 40)


def aql_pm4(jump: bytes, signal: Signal) -> bytes:
    """A vendor packet with four dwords of PM4 (a jump to an indirect buffer)."""
    header = AQL_VENDOR | AQL_BARRIER_BIT | AQL_FENCES
    return struct.pack("<HH16sI32xQ", header, PM4_IB, jump, PM4_LEFT, signal.va)


def aql_barrier_and(signal: Signal, *needed: Signal) -> bytes:
    handles = [needed_signal.va for needed_signal in needed]
    handles += [0] * (5 - len(handles))
    return struct.pack("<HHI5QQQ", AQL_BARRIER_AND | AQL_BARRIER_BIT | AQL_FENCES, 0, 0, *handles, 0, signal.va)


def aql_dispatch(kernel: int, kernarg: int, signal: Signal, *, groups: int, size: int) -> bytes:
    """One dimension; `kernel` is the address of a kernel descriptor."""
    header = AQL_DISPATCH | AQL_BARRIER_BIT | AQL_FENCES
    return struct.pack(
        "<HHHHHHIIIIIQQQQ", header, 1, size, 1, 1, 0, groups * size, 1, 1, 0, 0, kernel, kernarg, 0, signal.va
    )


def kernel_descriptor(entry_offset: int) -> bytes:
    """64 bytes: the program begins `entry_offset` behind them; the address of the arguments goes to s[0:1]."""
    return struct.pack("<IIIIq20xIIIHH4x", 0, 0, 16, 0, entry_offset, 0, 0, 0, 1 << 3, 0)
