"""Jobs through a render node: buffers, mappings, command submission, fences.

Source: Linux v7.3 include/uapi/drm/amdgpu_drm.h, amdgpu/amdgpu_cs.c (chunks, waits), amdgpu_vm.c (addresses)."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from ctypes import c_int32, c_uint32, c_uint64
from dataclasses import dataclass

from tests.lab.guest.uapi import WRITE, Struct, open_device

PAGE = 4096
GTT, VRAM = 0x2, 0x4  # AMDGPU_GEM_DOMAIN_*
CPU_ACCESS = 1  # AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED
MAP, UNMAP = 1, 2  # AMDGPU_VA_OP_*
READ_WRITE_EXECUTE = 0xE  # AMDGPU_VM_PAGE_*
COMPUTE, DMA = 1, 2  # AMDGPU_HW_IP_*
CTX_ALLOC, CTX_FREE, CTX_STATE = 1, 2, 4
STATE_RESET, STATE_VRAM_LOST, STATE_GUILTY = 1, 2, 4  # AMDGPU_CTX_QUERY2_FLAGS_*
CHUNK_IB, CHUNK_FENCE, CHUNK_BUFFERS = 1, 2, 6
ALL_ONES = 0xFFFFFFFF
FIRST_VA = 0x1_0000_0000
VA_STEP = 0x1000_0000  # buffers in different tables of pages


class _Drm(Struct):
    MAGIC = "d"


class GemCreate(_Drm):
    NUMBER = 0x40
    _fields_ = (("bo_size", c_uint64), ("alignment", c_uint64), ("domains", c_uint64), ("domain_flags", c_uint64))


class GemMmap(_Drm):
    NUMBER = 0x41
    _fields_ = (("handle", c_uint32), ("pad", c_uint32))


class GemClose(_Drm):
    NUMBER = 0x09
    WAYS = WRITE
    _fields_ = (("handle", c_uint32), ("pad", c_uint32))


class Ctx(_Drm):
    NUMBER = 0x42
    _fields_ = (("op", c_uint32), ("flags", c_uint32), ("ctx_id", c_uint32), ("priority", c_int32))


class GemVa(_Drm):
    NUMBER = 0x48
    WAYS = WRITE
    _fields_ = (
        ("handle", c_uint32),
        ("pad", c_uint32),
        ("operation", c_uint32),
        ("flags", c_uint32),
        ("va_address", c_uint64),
        ("offset_in_bo", c_uint64),
        ("map_size", c_uint64),
        ("vm_timeline_point", c_uint64),
        ("vm_timeline_syncobj_out", c_uint32),
        ("num_syncobj_handles", c_uint32),
        ("input_fence_syncobj_handles", c_uint64),
    )


class Cs(_Drm):
    NUMBER = 0x44
    _fields_ = (
        ("ctx_id", c_uint32),
        ("bo_list_handle", c_uint32),
        ("num_chunks", c_uint32),
        ("flags", c_uint32),
        ("chunks", c_uint64),
    )


class WaitCs(_Drm):
    NUMBER = 0x49
    _fields_ = (
        ("handle", c_uint64),
        ("timeout", c_uint64),
        ("ip_type", c_uint32),
        ("ip_instance", c_uint32),
        ("ring", c_uint32),
        ("ctx_id", c_uint32),
    )


class Chunk(ctypes.Structure):
    _fields_ = (("chunk_id", c_uint32), ("length_dw", c_uint32), ("chunk_data", c_uint64))


class ChunkIb(ctypes.Structure):
    _fields_ = (
        ("pad", c_uint32),
        ("flags", c_uint32),
        ("va_start", c_uint64),
        ("ib_bytes", c_uint32),
        ("ip_type", c_uint32),
        ("ip_instance", c_uint32),
        ("ring", c_uint32),
    )


class ChunkFence(ctypes.Structure):
    _fields_ = (("handle", c_uint32), ("offset", c_uint32))


class BufferList(ctypes.Structure):
    _fields_ = (
        ("operation", c_uint32),
        ("list_handle", c_uint32),
        ("bo_number", c_uint32),
        ("bo_info_size", c_uint32),
        ("bo_info_ptr", c_uint64),
    )


@dataclass(slots=True)
class Buffer:
    """A buffer that the processor and the GPU see: `memory` here, `va` there."""

    handle: int
    size: int
    va: int
    memory: mmap.mmap


@dataclass(frozen=True, slots=True)
class Job:
    """A submitted job: what to wait for."""

    sequence: int
    engine: int
    ring: int


class Device:
    """An open render node with a context of its own."""

    def __init__(self, path: str) -> None:
        self.descriptor = open_device(path)
        self._next_va = FIRST_VA
        self.buffers: list[Buffer] = []
        self.context = self.new_context()
        self.fences = self.buffer(PAGE, GTT)

    def close(self) -> None:
        for buffer in self.buffers:
            buffer.memory.close()
        os.close(self.descriptor)

    def new_context(self) -> int:
        asked = Ctx(op=CTX_ALLOC)
        asked.call(self.descriptor)
        return int(asked.op)  # the answer's first word is ctx_id

    def context_flags(self, context: int) -> int:
        """AMDGPU_CTX_QUERY2_FLAGS_*."""
        asked = Ctx(op=CTX_STATE, ctx_id=context)
        asked.call(self.descriptor)
        return int(asked.op) | int(asked.flags) << 32

    def buffer(self, size: int, domain: int) -> Buffer:
        """Memory of the host (GTT) or of the GPU (VRAM), mapped for both."""
        made = GemCreate(bo_size=size, alignment=PAGE, domains=domain, domain_flags=CPU_ACCESS if domain == VRAM else 0)
        made.call(self.descriptor)
        handle = int(made.bo_size) & ALL_ONES  # the answer's first word
        asked = GemMmap(handle=handle)
        asked.call(self.descriptor)
        offset = int(asked.handle) | int(asked.pad) << 32
        va, self._next_va = self._next_va, self._next_va + -(-size // VA_STEP) * VA_STEP
        self._map(MAP, handle, va, size)
        made_buffer = Buffer(handle, size, va, mmap.mmap(self.descriptor, size, offset=offset))
        self.buffers.append(made_buffer)
        return made_buffer

    def free(self, buffer: Buffer) -> None:
        """Unmap it here and there, and forget it."""
        self._map(UNMAP, buffer.handle, buffer.va, buffer.size)
        buffer.memory.close()
        self.buffers.remove(buffer)
        GemClose(handle=buffer.handle).call(self.descriptor)

    def _map(self, operation: int, handle: int, va: int, size: int) -> None:
        flags = READ_WRITE_EXECUTE if operation == MAP else 0
        GemVa(handle=handle, operation=operation, flags=flags, va_address=va, map_size=size).call(self.descriptor)

    def submit(self, engine: int, program: Buffer, body: bytes, *, ring: int = 0, context: int | None = None) -> Job:
        """Run an indirect buffer, with a user fence in `fences`. Raises OSError (ECANCELED: the context was reset)."""
        program.memory[: len(body)] = body
        ib = ChunkIb(va_start=program.va, ib_bytes=len(body), ip_type=engine, ring=ring)
        fence = ChunkFence(handle=self.fences.handle, offset=self.fence_offset(engine, ring))
        entries = [word for buffer in self.buffers for word in (buffer.handle, 0)]
        table = (c_uint32 * len(entries))(*entries)
        listed = BufferList(ALL_ONES, ALL_ONES, len(self.buffers), 8, ctypes.addressof(table))
        parts = ((CHUNK_IB, ib), (CHUNK_FENCE, fence), (CHUNK_BUFFERS, listed))
        chunks = [Chunk(kind, ctypes.sizeof(part) // 4, ctypes.addressof(part)) for kind, part in parts]
        pointers = (c_uint64 * len(chunks))(*(ctypes.addressof(chunk) for chunk in chunks))
        asked = Cs(
            ctx_id=self.context if context is None else context,
            num_chunks=len(chunks),
            chunks=ctypes.addressof(pointers),
        )
        asked.call(self.descriptor)
        sequence = int(asked.ctx_id) | int(asked.bo_list_handle) << 32  # the answer's first word is a 64-bit handle
        return Job(sequence, engine, ring)

    def wait(self, job: Job, limit_s: float, *, context: int | None = None) -> bool:
        """True: done within the limit. Raises OSError: the fence of the job carries an error."""
        end_ns = time.monotonic_ns() + int(limit_s * 1e9)
        asked = WaitCs(
            handle=job.sequence,
            timeout=end_ns,
            ip_type=job.engine,
            ring=job.ring,
            ctx_id=self.context if context is None else context,
        )
        asked.call(self.descriptor)
        return int(asked.handle) == 0  # the answer's first word is the status: 1 is busy

    @staticmethod
    def fence_offset(engine: int, ring: int) -> int:
        return 64 * (8 * engine + ring)

    def user_fence(self, job: Job) -> int:
        """What the GPU wrote when the job ended: its sequence number."""
        offset = self.fence_offset(job.engine, job.ring)
        return int.from_bytes(self.fences.memory[offset : offset + 8], "little")
