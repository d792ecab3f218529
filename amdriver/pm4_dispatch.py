"""A kernel launch by PM4 over all XCCs that share a queue: built once, a few dwords patched for each launch.

Source: Linux v7.3 gfx_v9_4_3.c (fence, cache flags), kfd_pm4_headers_ai.h (PRED_EXEC); gc_9_4_3_offset.h (the COMPUTE_*
registers and which of them are neighbours); v9_structs.h (COMPUTE_RESTART_X, Y, Z between TMPRING_SIZE and the thread
trace)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from amdriver.packets import (
    ADDRESS_END,
    U32,
    check_address,
    check_range,
    refused,
)
from amdriver.pm4 import (
    acquire_mem,
    dispatch_direct,
    kernel_fence,
    only_on,
    set_sh_reg,
    wait_memory,
)
from amdriver.pm4_fields import (
    PRED_EXEC,
    RELEASE_MEM,
    WAIT_MEMORY,
    Function,
    xcc_register,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_THREE = struct.Struct("<III")

SLOT_BYTES: Final = 64  # one fence slot each, so that no two XCCs write into one cache line
MOST_THREADS: Final = 1024


@dataclass(frozen=True, slots=True)
class Kernel:
    """What stays the same from launch to launch. Registers as the kernel descriptor has them; `kernarg_sgpr` is the number of
    the user SGPR that gets the low half of the kernarg address. Each XCC hands out scratch on its own, so each needs its own
    part: XCC n takes `scratch_bytes_per_xcc` from scratch_va + n * scratch_bytes_per_xcc on."""

    program_va: int
    rsrc1: int
    rsrc2: int
    rsrc3: int = 0
    workgroup: tuple[int, int, int] = (64, 1, 1)
    user_data: tuple[int, ...] = (0, 0)
    kernarg_sgpr: int = 0
    scratch_va: int = 0
    scratch_bytes_per_xcc: int = 0
    tmpring_size: int = 0
    resource_limits: int = 0


_LAUNCH: Final = "PM4 launch"
_FENCE_VALUE: Final = RELEASE_MEM.by_name["value"].dword
_USER_SGPRS: Final = 16


def _check_kernel(kernel: Kernel, xcc_count: int) -> None:
    check_range(_LAUNCH, "program_va", kernel.program_va, 1, ADDRESS_END - 1)
    check_address(_LAUNCH, "program_va", kernel.program_va, 256)
    if bool(kernel.scratch_va) != bool(kernel.scratch_bytes_per_xcc) or kernel.scratch_bytes_per_xcc % 256:
        seen = f"scratch_va={kernel.scratch_va:#x} scratch_bytes_per_xcc={kernel.scratch_bytes_per_xcc}"
        raise refused(_LAUNCH, "scratch_va and scratch_bytes_per_xcc (a multiple of 256), or neither", seen)
    check_address(_LAUNCH, "scratch_va", kernel.scratch_va, 256, max(1, xcc_count * kernel.scratch_bytes_per_xcc))
    for name in ("rsrc1", "rsrc2", "rsrc3", "tmpring_size", "resource_limits"):
        check_range(_LAUNCH, name, getattr(kernel, name), 0, U32)
    for axis, threads in zip("xyz", kernel.workgroup, strict=True):
        check_range(_LAUNCH, f"workgroup.{axis}", threads, 1, MOST_THREADS)
    x, y, z = kernel.workgroup
    check_range(_LAUNCH, "threads of a workgroup", x * y * z, 1, MOST_THREADS)
    check_range(_LAUNCH, "user SGPRs", len(kernel.user_data), 2, _USER_SGPRS)
    check_range(_LAUNCH, "kernarg_sgpr", kernel.kernarg_sgpr, 0, len(kernel.user_data) - 2)


def _setup(kernel: Kernel, xcc_count: int) -> bytes:
    """Caches and SH registers; the user data come last."""
    from registers.amd.gc_9_4_3 import Gc

    x, y, z = kernel.workgroup
    program = kernel.program_va >> 8
    first_user = xcc_register(Gc.COMPUTE_USER_DATA_0)
    return b"".join(
        (
            acquire_mem(),
            # START_X, Y, Z and NUM_THREAD_X, Y, Z are neighbours; so are PGM_LO, HI and PGM_RSRC1, 2.
            set_sh_reg(xcc_register(Gc.COMPUTE_START_X), (0, 0, 0, x, y, z)),
            # Where a launch that was saved goes on; left by another one, it would skip workgroups.
            set_sh_reg(xcc_register(Gc.COMPUTE_RESTART_X), (0, 0, 0)),
            set_sh_reg(xcc_register(Gc.COMPUTE_PGM_LO), (program & U32, program >> 32 & 0xFF)),
            set_sh_reg(xcc_register(Gc.COMPUTE_PGM_RSRC1), (kernel.rsrc1, kernel.rsrc2)),
            _scratch(kernel, xcc_count, xcc_register(Gc.COMPUTE_DISPATCH_SCRATCH_BASE_LO)),
            set_sh_reg(xcc_register(Gc.COMPUTE_RESOURCE_LIMITS), (kernel.resource_limits,)),
            set_sh_reg(xcc_register(Gc.COMPUTE_TMPRING_SIZE), (kernel.tmpring_size,)),
            set_sh_reg(xcc_register(Gc.COMPUTE_PGM_RSRC3), (kernel.rsrc3,)),
            set_sh_reg(first_user, kernel.user_data),
        )
    )


def _scratch(kernel: Kernel, xcc_count: int, register: int) -> bytes:
    """The base of each XCC's own scratch; nothing for a kernel that has none."""
    if not kernel.scratch_va:
        return b""
    parts = []
    for xcc in range(xcc_count):
        base = kernel.scratch_va + xcc * kernel.scratch_bytes_per_xcc >> 8
        packet = set_sh_reg(register, (base & U32, base >> 32 & 0xFF))
        parts.append(only_on(1 << xcc, packet) if xcc_count > 1 else packet)
    return b"".join(parts)


class DispatchTemplate:
    """A launch on 1 to 8 XCCs that share one queue, built once; `launch` patches the few dwords that change.

    Every XCC runs the same stream and takes its share of the workgroups. The stream:
      1. caches invalidated, SH registers set, DISPATCH_DIRECT;
      2. each XCC writes the sequence number into its own slot (fence_va + 64 * xcc) when its share is done and its L2 is
         written back (RELEASE_MEM under PRED_EXEC);
      3. each XCC waits until all slots hold at least this number: what comes next sees all that the launch wrote;
      4. XCC 0 writes the number to `done_va`, with an interrupt if asked for: the one address to watch.
    The slots must lie in memory that no L2 keeps (MTYPE UC): each XCC has its own L2, and would poll its own stale copy.
    With one XCC steps 2 and 3 fall away. The slots start at 0, numbers count up from 1; 2^32 launches and it must be rebuilt
    (the engine compares 32 bits, and "at least" because a fast XCC may already be one launch ahead)."""

    __slots__ = (
        "_buffer",
        "_grid_at",
        "_kernarg_at",
        "_last_at",
        "_sequences",
        "done_va",
        "dwords",
        "kernel",
        "xcc_count",
    )

    def __init__(self, kernel: Kernel, *, fence_va: int, xcc_count: int = 8, interrupt: bool = False) -> None:
        check_range(_LAUNCH, "xcc_count", xcc_count, 1, 8)
        check_address(_LAUNCH, "fence_va", fence_va, SLOT_BYTES, SLOT_BYTES * (xcc_count + 1))
        _check_kernel(kernel, xcc_count)
        self.kernel = kernel
        self.xcc_count = xcc_count
        self.done_va = fence_va + SLOT_BYTES * xcc_count
        setup = _setup(kernel, xcc_count)
        body = bytearray(setup)
        # User data is the last register packet, its values the last dwords of the setup.
        self._kernarg_at = len(setup) - 4 * (len(kernel.user_data) - kernel.kernarg_sgpr)
        self._grid_at = len(body) + 4
        body += dispatch_direct(1)
        slots = [fence_va + SLOT_BYTES * xcc for xcc in range(xcc_count)] if xcc_count > 1 else []
        fences_at = len(body)
        for xcc, slot in enumerate(slots):
            body += only_on(1 << xcc, kernel_fence(slot, 0))
        waits_at = len(body)
        for slot in slots:
            body += wait_memory(slot, 0, function=Function.GREATER_EQUAL)
        last = kernel_fence(self.done_va, 0, interrupt=interrupt)
        self._last_at = len(body) + 4 * (_FENCE_VALUE + (PRED_EXEC.dwords if slots else 0))
        body += only_on(1, last) if slots else last
        self._buffer = body
        self.dwords = len(body) // 4
        self._sequences = self._views(fences_at // 4, waits_at // 4) if slots else ()

    def _views(self, fences_at: int, waits_at: int) -> tuple[NDArray[np.uint32], ...]:
        """The sequence numbers of all fences and of all waits; arguments in dwords."""
        import numpy as np

        words = np.frombuffer(self._buffer, "<u4")
        step = PRED_EXEC.dwords + RELEASE_MEM.dwords
        fences = words[fences_at + PRED_EXEC.dwords + _FENCE_VALUE : waits_at : step]
        first = waits_at + WAIT_MEMORY.by_name["reference"].dword
        waits = words[first : first + WAIT_MEMORY.dwords * self.xcc_count : WAIT_MEMORY.dwords]
        return fences, waits

    def launch(self, kernarg_va: int, x: int, y: int, z: int, sequence: int) -> memoryview:
        """The stream for x * y * z workgroups. The view is the template's own memory: copy it before the next call.

        sequence: 1..2^32-1, greater than that of the launch before."""
        if kernarg_va & 15 or kernarg_va >= ADDRESS_END or not (x and y and z and sequence):
            self._refuse(kernarg_va, x, y, z, sequence)
        buffer = self._buffer
        try:
            _U64.pack_into(buffer, self._kernarg_at, kernarg_va)
            _THREE.pack_into(buffer, self._grid_at, x, y, z)
            _U32.pack_into(buffer, self._last_at, sequence)
        except struct.error:
            self._refuse(kernarg_va, x, y, z, sequence)
        for view in self._sequences:
            view[...] = sequence
        return memoryview(buffer)

    def _refuse(self, kernarg_va: int, x: int, y: int, z: int, sequence: int) -> None:
        """Say which one it was."""
        check_address(_LAUNCH, "kernarg_va", kernarg_va, 16, 16)
        for name, value in (("x", x), ("y", y), ("z", z), ("sequence", sequence)):
            check_range(_LAUNCH, name, value, 1, U32)
