"""The packets of a tensor runtime's queues as templates: built once by the builders, then an address and a value put in.

A launch takes some ten of them; filling a list of dwords is what the interpreter does fastest. Values wider than a dword and
addresses may be anything that the caller can take apart (tinygrad's symbols), so nothing is checked here: addresses come from
memory that was allocated.
Source: Linux v7.3 gfx_v9_0.c gfx_v9_0_ring_emit_hdp_flush, nbio_v7_9.c (ref_and_mask_cp2); `pm4`, `sdma_packets`, `aql`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from amdriver import aql, pm4, sdma_packets
from amdriver.pm4_fields import Function, ReleaseData

if TYPE_CHECKING:
    from amdriver.gpu import Gpu

_ADDRESS: Final = 0x5678_9ABC_DEF8
_LOW, _HIGH, _VALUE = _ADDRESS & 0xFFFF_FFFF, _ADDRESS >> 32, 0x1357_2468
_FIRST_XCC: Final = 1
_HDP_CP2: Final = 1 << 2  # BIF_BX_PF0_GPU_HDP_FLUSH_DONE.CP2: pipe 0 of MEC 1
_LAUNCH: Final = struct.Struct("<HHHHHHIIIIIQQQQ")  # as aql.dispatch packs it
_LAUNCH_HEADER: Final = aql.header(aql.Type.KERNEL_DISPATCH, barrier=True)
_THREE_DIMENSIONS: Final = 3
LAUNCH_WORKGROUP_AT: Final = 4  # three 16-bit numbers of work-items
LAUNCH_GRID_AT: Final = 12  # three 32-bit numbers of work-items


@dataclass(frozen=True, slots=True)
class Template:
    """Dwords, and where in them the low dword of the address and the value stand (-1: there is none)."""

    words: tuple[int, ...]
    address_at: int
    value_at: int

    @classmethod
    def of(cls, packets: bytes) -> Template:
        """Of packets that were built with _ADDRESS and _VALUE."""
        words = struct.unpack(f"<{len(packets) // 4}I", packets)
        address_at = words.index(_LOW)
        assert words[address_at + 1] == _HIGH
        return cls(words, address_at, words.index(_VALUE) if _VALUE in words else -1)

    def fill(self, address: int, value: int = 0) -> list[int]:
        words = list(self.words)
        words[self.address_at] = address & 0xFFFF_FFFF
        words[self.address_at + 1] = address >> 32
        if self.value_at >= 0:
            words[self.value_at] = value
        return words


@dataclass(frozen=True)
class RuntimePackets:
    """`compute_*` for indirect buffers of an AQL queue, the rest for SDMA rings. Waits are for a dword that is at least the
    value; fences write a dword when all before is done, of all XCCs the first only; times are 64 bits."""

    compute_barrier: tuple[int, ...]
    compute_wait: Template
    compute_fence: Template
    compute_time: Template
    compute_write: Template
    compute_write_wide: Template
    wait: Template
    fence: Template
    time: Template
    copy_head: int

    workgroup_at: ClassVar = LAUNCH_WORKGROUP_AT
    grid_at: ClassVar = LAUNCH_GRID_AT

    @staticmethod
    def launch(
        kernel_object: int,
        kernarg: int,
        workgroup: tuple[int, int, int],
        grid: tuple[int, int, int],
        private_bytes: int,
        group_bytes: int,
    ) -> bytearray:
        """The AQL packet that runs a kernel: `grid` in work-items. Completion is told by the packets behind it."""
        packed = _LAUNCH.pack(
            _LAUNCH_HEADER, _THREE_DIMENSIONS, *workgroup, 0, *grid, private_bytes, group_bytes, kernel_object, kernarg, 0, 0
        )  # fmt: skip
        return bytearray(packed)

    @staticmethod
    def indirect(address: int, dwords: int) -> bytes:
        """The AQL packet that runs PM4; the next packet waits for it."""
        return aql.pm4_buffer(address, dwords, barrier=True).whole()


def runtime_packets(gpu: Gpu) -> RuntimePackets:
    """For this GPU: the addresses of the HDP's registers are its own."""
    from registers.amd.nbio_7_9_0 import Nbio

    nbio = gpu.block(Nbio, "NBIO")
    request = nbio.address_of(Nbio.BIF_BX_PF0_GPU_HDP_FLUSH_REQ)
    done = nbio.address_of(Nbio.BIF_BX_PF0_GPU_HDP_FLUSH_DONE)
    barrier = pm4.write_then_wait(request, done, _HDP_CP2, _HDP_CP2) + pm4.acquire_mem()
    fence = pm4.kernel_fence(_ADDRESS, _VALUE, wide=False, write_back_only=True)
    time = pm4.release_mem(_ADDRESS, data=ReleaseData.GPU_CLOCK, actions=()) + pm4.acquire_mem()
    return RuntimePackets(
        compute_barrier=struct.unpack(f"<{len(barrier) // 4}I", barrier),
        compute_wait=Template.of(pm4.wait_memory(_ADDRESS, _VALUE, function=Function.GREATER_EQUAL)),
        compute_fence=Template.of(pm4.only_on(_FIRST_XCC, fence)),
        compute_time=Template.of(pm4.only_on(_FIRST_XCC, time)),
        compute_write=Template.of(pm4.release_mem(_ADDRESS, _VALUE, data=ReleaseData.LOW_32, actions=())),
        compute_write_wide=Template.of(pm4.release_mem(_ADDRESS, _VALUE, actions=())),
        wait=Template.of(sdma_packets.poll_memory(_ADDRESS, _VALUE, function=sdma_packets.Function.GREATER_EQUAL)),
        fence=Template.of(sdma_packets.fence(_ADDRESS, _VALUE)),
        time=Template.of(sdma_packets.timestamp(_ADDRESS)),
        copy_head=struct.unpack_from("<I", sdma_packets.copy_linear(_ADDRESS, 0x1000, 4))[0],
    )
