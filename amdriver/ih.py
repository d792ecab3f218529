"""IH (OSSSYS 4.4): the ring into which the GPU writes its interrupts.

Source: Linux v7.3 vega20_ih.c (irq_init, enable_ring, toggle_ring_interrupts, get_wptr), amdgpu_ih.c
(amdgpu_ih_decode_iv_helper: eight dwords), include/soc15_ih_clientid.h, include/ivsrcid; amd-bringup.md section 8.

The ring lies in VRAM (MC_SPACE 4), so that the host only reads it and no bus master is needed. The write pointer is read
from where the IH writes it back. Where interrupts reach us, the IH sends one (MSI) and then none until the read pointer is
told to it (RPTR_REARM): `collect` does so after each, as amdgpu_ih_process does. Ring 1, for faults that are tried again,
stays off: our contexts do not ask for them."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from amdriver.nbio import RETRY_CAM_DOORBELL, ih_doorbell
from base.errors import DeviceLost
from pcibus.transport import ALL_ONES
from registers.amd.osssys_4_4_2 import IH_RB_WPTR_t, Osssys
from registers.amd.structs_ih import Client, GfxSource, NbifSource, SdmaSource, VmcSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import IntEnum

    from amdriver.gmc import Gmc, VramBlock
    from amdriver.gpu import Gpu

RING_BYTES: Final = 256 << 10
ENTRY_BYTES: Final = 32
DOORBELL_BAR: Final = 2
MAX_KEPT: Final = RING_BYTES // ENTRY_BYTES  # entries that were collected and that nobody has polled for yet
_MAX_ROUNDS: Final = 64  # of one `collect`: a GPU that never stops must not keep us
SETTLE_S: Final = 1e-3  # after interrupts were turned off (vega20_ih_irq_disable)

_ENTRY: Final = struct.Struct("<8I")
_MC_SPACE_VRAM: Final = 4
# What every start writes; RB_ENABLE and ENABLE_INTR come last, after the overflow flag was pulsed.
_CONTROL: Final = Osssys.IH_RB_CNTL.kind.of(
    RB_SIZE=(RING_BYTES // 4).bit_length() - 1,
    RB_GPU_TS_ENABLE=1,
    WPTR_WRITEBACK_ENABLE=1,
    WPTR_OVERFLOW_ENABLE=1,
    MC_SNOOP=1,
    RPTR_REARM=1,
    MC_SPACE=_MC_SPACE_VRAM,
)
_RUNNING: Final = _CONTROL.replace(RB_ENABLE=1, ENABLE_INTR=1)
_SDMA: Final = (Client.SDMA0, Client.SDMA1, Client.SDMA2, Client.SDMA3)
# The header gives several names to a number; on these chips it means the last of them.
_CLIENTS: Final = {
    **{int(client): client.name for client in Client},
    **{int(client): f"SDMA{number}" for number, client in enumerate(_SDMA)},
    int(Client.VCN): "VCN",
}


def _sources() -> Mapping[int, type[IntEnum]]:
    shaders = (Client.SE0SH, Client.SE1SH, Client.SE2SH, Client.SE3SH)
    return {
        Client.GRBM_CP: GfxSource,
        Client.BIF: NbifSource,
        Client.VMC: VmcSource,
        Client.UTCL2: VmcSource,
        **dict.fromkeys(_SDMA, SdmaSource),
        **dict.fromkeys(shaders, GfxSource),
    }


_SOURCES: Final = _sources()


@dataclass(frozen=True, slots=True)
class Interrupt:
    """One entry of the ring. `timestamp` in ticks of 10 ns (48 bits); `node`: 4 per AID, as the kernel counts them."""

    client: int
    source: int
    ring_id: int
    vmid: int
    vmid_source: int
    timestamp: int
    timestamp_source: int
    pasid: int
    node: int
    context: tuple[int, int, int, int]

    @property
    def client_name(self) -> str:
        return _CLIENTS.get(self.client, f"client {self.client:#x}")

    @property
    def source_name(self) -> str:
        names = _SOURCES.get(self.client)
        known = names is not None and self.source in set(names)
        return names(self.source).name if names is not None and known else f"source {self.source}"

    def __str__(self) -> str:
        return f"{self.client_name} {self.source_name} (ring {self.ring_id:#x}, VMID {self.vmid}, node {self.node})"


def decode(entry: bytes) -> Interrupt:
    """The 32 bytes of one entry."""
    words = _ENTRY.unpack(entry)
    return Interrupt(
        client=words[0] & 0xFF,
        source=words[0] >> 8 & 0xFF,
        ring_id=words[0] >> 16 & 0xFF,
        vmid=words[0] >> 24 & 0xF,
        vmid_source=words[0] >> 31,
        timestamp=words[1] | (words[2] & 0xFFFF) << 32,
        timestamp_source=words[2] >> 31,
        pasid=words[3] & 0xFFFF,
        node=words[3] >> 16 & 0xFF,
        context=words[4:8],
    )


class Ih:
    """`overflows` counts how often interrupts were lost because nobody polled in time."""

    def __init__(self, gpu: Gpu, gmc: Gmc) -> None:
        self.gpu = gpu
        self.gmc = gmc
        self.regs = gpu.block(Osssys, "OSSSYS")
        self.overflows = 0
        self._rptr = 0
        self._kept: deque[Interrupt] = deque()
        self._ring: VramBlock | None = None
        self._writeback: VramBlock | None = None

    def sw_init(self) -> None:
        """The ring, and the dword to which the IH writes its write pointer."""
        self._ring = self.gmc.alloc_vram(RING_BYTES, alignment=RING_BYTES, owner="IH ring")
        self._writeback = self.gmc.alloc_vram(4096, owner="IH write pointer")

    def hw_init(self) -> None:
        """Point the IH at the ring and enable it; NBIO has routed its doorbell already."""
        assert self._ring is not None and self._writeback is not None, "sw_init comes first"
        regs = self.regs
        self._writeback.write(0, bytes(4))
        self.halt()
        regs.IH_CHICKEN.modify(MC_SPACE_GPA_ENABLE=0)
        regs.IH_RB_BASE.write(self._ring.mc_addr >> 8 & 0xFFFFFFFF)
        regs.IH_RB_BASE_HI.write(self._ring.mc_addr >> 40 & 0xFF)
        regs.IH_RB_WPTR_ADDR_LO.write(self._writeback.mc_addr & 0xFFFFFFFF)
        regs.IH_RB_WPTR_ADDR_HI.write(self._writeback.mc_addr >> 32 & 0xFFFF)
        regs.IH_DOORBELL_RPTR.write(OFFSET=ih_doorbell(), ENABLE=1)
        regs.IH_DOORBELL_RETRY_CAM.write(OFFSET=2 * RETRY_CAM_DOORBELL, ENABLE=1)
        regs.IH_RETRY_INT_CAM_CNTL.modify(ENABLE=1)
        # An overflow of before is forgotten by the bit's way up; down again, so that the next one can be told.
        regs.IH_RB_CNTL.write(_CONTROL.replace(WPTR_OVERFLOW_CLEAR=1))
        regs.IH_RB_CNTL.write(_RUNNING)
        self._rptr = 0
        self._kept.clear()

    def halt(self) -> None:
        """Both rings off and empty, whoever set them up. Needs nothing but registers."""
        regs = self.regs
        regs.IH_RB_CNTL.write(RB_GPU_TS_ENABLE=1)
        regs.IH_RB_RPTR.write(0)
        regs.IH_RB_WPTR.write(0)
        regs.IH_RB_CNTL_RING1.write(RB_GPU_TS_ENABLE=1)

    def leave_mark(self, mark: int) -> None:
        """A number in the base of the ring that we do not use. amdgpu sets that register whenever it starts, so that the
        mark is gone when it was here."""
        self.regs.IH_RB_BASE_RING1.write(mark)

    def is_off_with(self, mark: int) -> bool:
        """Whether the ring is off, and the mark still there."""
        return self.regs.IH_RB_BASE_RING1.read().value == mark and not self.regs.IH_RB_CNTL.read().RB_ENABLE

    def hw_fini(self) -> None:
        """Interrupts off, and given the time to settle."""
        self.halt()
        self.regs.IH_DOORBELL_RPTR.write(0)
        self.regs.IH_DOORBELL_RETRY_CAM.write(0)
        self.gpu.clock.sleep(SETTLE_S)

    def sw_fini(self) -> None:
        """Give the memory back; twice is as good as once."""
        for block in (self._ring, self._writeback):
            if block is not None:
                block.free()
        self._ring = self._writeback = None

    def poll(self) -> list[Interrupt]:
        """What came since the last poll, oldest first. After an overflow the oldest are gone, and `overflows` says so.

        Raises DeviceLost when the ring cannot be read any more because the device left the bus."""
        fresh = self._fetch()
        if fresh:
            self._tell_read()
        kept = [*self._kept, *fresh]
        self._kept.clear()
        return kept

    def collect(self) -> None:
        """After an interrupt: keep what came for the next `poll`, and have the IH send the next interrupt."""
        self._keep(self._fetch())
        for _ in range(_MAX_ROUNDS):
            self._tell_read()
            fresh = self._fetch()  # what came before the pointer was told has no interrupt of its own
            if not fresh:
                return
            self._keep(fresh)

    def _keep(self, fresh: list[Interrupt]) -> None:
        self._kept += fresh
        if len(self._kept) <= MAX_KEPT:
            return
        self.overflows += 1
        while len(self._kept) > MAX_KEPT:
            self._kept.popleft()

    def _tell_read(self) -> None:
        self.gpu.transport.write32(DOORBELL_BAR, ih_doorbell() * 4, self._rptr)

    def _fetch(self) -> list[Interrupt]:
        """What stands in the ring; the IH is not told yet."""
        assert self._ring is not None and self._writeback is not None, "sw_init comes first"
        told = int.from_bytes(self._writeback.read(0, 4), "little")
        if told == ALL_ONES:
            self.gpu.require_present("reading the interrupt ring")
        pointer = IH_RB_WPTR_t(told)
        if pointer.RB_OVERFLOW:
            pointer = self._overflowed()
        wptr = pointer.OFFSET * 4 % RING_BYTES & -ENTRY_BYTES
        if wptr == self._rptr:
            return []
        data = self._between(self._ring, self._rptr, wptr)
        self._rptr = wptr
        return [decode(data[at : at + ENTRY_BYTES]) for at in range(0, len(data), ENTRY_BYTES)]

    def _overflowed(self) -> IH_RB_WPTR_t:
        """Entries were overwritten: go on behind the newest, which is the oldest that is whole, and clear the flag."""
        register = self.regs.IH_RB_WPTR
        pointer = register.read()
        if pointer.value == ALL_ONES:
            self.gpu.require_present("reading the interrupt ring")
            raise DeviceLost(
                "reading the interrupt ring",
                expected="a write pointer",
                seen=register.show(pointer),
                where=register.where,
                next_step="gpumend probe",
            )
        if not pointer.RB_OVERFLOW:  # cleared before: the written-back copy is older than that
            return pointer
        self.overflows += 1
        self._rptr = (pointer.OFFSET * 4 + ENTRY_BYTES) % RING_BYTES
        self.regs.IH_RB_CNTL.write(_RUNNING.replace(WPTR_OVERFLOW_CLEAR=1))
        self.regs.IH_RB_CNTL.write(_RUNNING)
        return pointer

    def _between(self, ring: VramBlock, start: int, end: int) -> bytes:
        if start <= end:
            return ring.read(start, end - start)
        return ring.read(start, RING_BYTES - start) + ring.read(0, end)
