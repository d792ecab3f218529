"""GMC: where this GPU's memory lies in the hive, who owns it, and how addresses are translated on all hubs.

Source: Linux v7.3 gmc_v9_0.c (gmc_v9_0_vram_gtt_location, gmc_v9_0_hw_init, gmc_v9_0_flush_gpu_tlb), amdgpu_gmc.c
(amdgpu_gmc_flush_gpu_tlb: the extra heavy flush; amdgpu_gmc_vram_mc2pa), gfxhub_v1_2.c gfxhub_v1_2_get_xgmi_info,
hdp_v4_0.c hdp_v4_0_init_registers, amdgpu_hdp.c; amd-bringup.md section 5.

    MC address   fb_base + node * segment + offset     engines in VMID 0 and firmware; reaches peers too
    physical     FB_OFFSET + node * segment + offset   what page tables hold
    GPU VA       from VaAllocator, outside of the hive's FB range, the same in context 0 and COMPUTE_VMID

All contexts share one tree of tables. Everything mapped before `hw_init` is written and flushed by it, once; later,
`with gmc.batch():` does the same for whatever is mapped and freed inside. New mappings alone need no TLB flush."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from amdriver.access import VramMemory
from amdriver.buffer import Buffer, Copier, NotVisible, Place, StillMapped, VramBlock
from amdriver.memory import (
    ADDRESS_BITS,
    PAGE_BYTES,
    VA_END,
    VA_START,
    Allocation,
    DmaMemory,
    Range,
    VaAllocator,
    good_alignment,
    pages_of,
)
from amdriver.nbio import HDP_FLUSH_OFFSET
from amdriver.pagetable import Batch, PageTables
from amdriver.pte import Pages, Where, pte_flags
from amdriver.vmhub import HEAVY, LEGACY, Hub, HubSetup, Learned, VmFault
from amdriver.vram import FIRMWARE_BYTES, VramAllocator, firmware_range
from base.errors import DeviceLost, GpumendError, InvalidData, Unavailable, Undecided, UsageError
from pcibus.transport import ALL_ONES, Can
from registers.amd.gc_9_4_3 import Gc
from registers.amd.hdp_4_4_2 import Hdp
from registers.amd.mmhub_1_8_0 import Mmhub
from registers.amd.nbio_7_9_0 import Nbio as NbioRegisters

if TYPE_CHECKING:
    from amdriver.gpu import Gpu

COMPUTE_VMID: Final = 8
SLOTS: Final = 16  # parts of the address space, one for each GPU of a machine
SLOT_BYTES: Final = VA_END // SLOTS
CONTEXTS: Final = (0, COMPUTE_VMID)
_VMID_MASK: Final = 1 << 0 | 1 << COMPUTE_VMID
_MOST_NODES: Final = 8
_MIB: Final = 1 << 20
_MOST_MIB: Final = 1 << 24
_UNIT_SHIFT: Final = 24  # FB registers count 16 MiB
_EXTRA_HEAVY: Final = ((9, 4, 3), (9, 4, 4), (9, 5, 0))
# magic: bit 0 of HDP_MISC_CNTL, from hdp_v4_0.c (FLUSH_INVALIDATE_CACHE); the header of 4.4.2 has no name for it
_FLUSH_INVALIDATE_CACHE: Final = 1


class _State(Enum):
    NEW = auto()
    RUNNING = auto()
    OFF = auto()


class NotInHive(UsageError):
    """The VRAM of a GPU that this one does not reach over XGMI."""


@dataclass(frozen=True, slots=True)
class HivePlace:
    """Which node of how many, and where its VRAM begins. Addresses and sizes in bytes; `fb_top` is the last address."""

    node: int
    nodes: int
    segment_bytes: int
    fb_base: int
    fb_top: int
    fb_offset: int

    @property
    def mc_base(self) -> int:
        """MC address of VRAM offset 0."""
        return self.fb_base + self.node * self.segment_bytes

    @property
    def physical_base(self) -> int:
        """What page tables hold for VRAM offset 0."""
        return self.fb_offset + self.node * self.segment_bytes

    def is_beside(self, other: HivePlace) -> bool:
        """Whether the other is another node of what looks like the same hive."""
        alike = (self.nodes, self.segment_bytes, self.fb_base, self.fb_top)
        return alike == (other.nodes, other.segment_bytes, other.fb_base, other.fb_top) and self.node != other.node


class Gmc:
    """Memory of one GPU. `sw_init` reads six registers and writes none; `place`, `vram` and `tables` are there after it."""

    place: HivePlace
    vram_bytes: int
    vram: VramAllocator
    addresses: VaAllocator  # ours
    foreign: VaAllocator | None  # of other slots: what is mapped at the address that its owner gave it
    tables: PageTables

    def __init__(self, gpu: Gpu, *, slot: int | None = None) -> None:
        """`slot`: take addresses from this part of the address space only, so that GPUs with different slots can map each
        other's memory at the addresses that it has there (`map_peer`, `map_host` with `same_address`)."""
        if slot is not None and not 0 <= slot < SLOTS:
            raise UsageError("opening a GPU", expected=f"a slot of addresses from 0 to {SLOTS - 1}", seen=str(slot))
        self.gpu = gpu
        self.slot = slot
        self.hubs: tuple[Hub, ...] = ()
        self.copier: Copier | None = None
        self._memsize = gpu.block(NbioRegisters, "NBIF").RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE
        self._flush_types = (HEAVY, LEGACY) if gpu.ip.version_of("GC") in _EXTRA_HEAVY else (LEGACY,)
        self._state = _State.NEW
        self._live: dict[VramBlock | Buffer, None] = {}
        self._after_flush: list[Callable[[], object]] = []
        self._own = ExitStack()
        self._setup: HubSetup | None = None

    # ---- set up

    def sw_init(self) -> None:
        """Who we are in the hive, what VRAM there is, empty page tables. Raises InvalidData for values that cannot be."""
        self.vram_bytes = self._vram_size()
        self.place = self._read_place()
        gpu = self.gpu
        aids = gpu.ip.aid_mask
        self.hubs = tuple(Hub(gpu, "GC", ip.instance) for ip in gpu.ip.active("GC"))
        self.hubs += tuple(Hub(gpu, "MMHUB", ip.instance) for ip in gpu.ip.active("MMHUB") if aids >> ip.instance & 1)
        self.vram = VramAllocator(
            self.vram_bytes,
            reserved=(firmware_range(self.vram_bytes),),
            where=gpu.name,
            visible_bytes=gpu.access.visible_vram_bytes or None,
        )
        self.addresses, self.foreign = _allocators(self.slot, tuple(_direct_range(self.place)), gpu.name)
        self.tables = PageTables(
            VramMemory(gpu.access),
            self.vram,
            self._tables_written,
            physical_base=self.place.physical_base,
            where=gpu.name,
        )
        self._pages = self.vram.allocate(2 * PAGE_BYTES, owner="default pages")
        # Until hw_init, what is mapped is only kept in mind.
        self._own.enter_context(self.tables.batch())

    def hw_init(self, *, cold: bool = False) -> None:
        """HDP, then all hubs: page tables written, contexts on, TLBs empty.

        `cold`: since its last reset no driver was here, so the contexts that are not ours are off as they are."""
        self._init_hdp()
        physical = self.place.physical_base + self._pages.start
        setup = HubSetup(
            self.place.fb_base, self.place.fb_top, physical, physical + PAGE_BYTES, self.tables.root_register, CONTEXTS
        )
        self._setup = setup
        self._set_up(self.hubs)
        self._own.close()  # the batch ends: the tables are written
        self.tables.commit()
        self.flush_hdp()
        for hub in self.hubs:
            hub.enable(CONTEXTS, others=not cold)
        self.flush_tlb()
        self._state = _State.RUNNING
        self._release()

    def resume_gfx(self) -> None:
        """After mode2: the hubs of the XCCs anew, with the same page tables, which VRAM has kept."""
        hubs = [hub for hub in self.hubs if hub.is_gfx]
        self._set_up(hubs)
        for hub in hubs:
            hub.enable(CONTEXTS, others=True)
        self.flush_hdp()
        self.flush_tlb()

    def _set_up(self, hubs: Sequence[Hub]) -> None:
        """Hubs of a kind are alike: what has to be kept is read from one of each."""
        assert self._setup is not None, "hw_init comes first"
        learned: dict[bool, Learned] = {}
        for hub in hubs:
            if hub.is_gfx not in learned:
                learned[hub.is_gfx] = hub.learn()
            hub.set_up(self._setup, learned[hub.is_gfx])

    def hw_fini(self) -> None:
        """Contexts, TLBs and L2 caches off, as the kernel leaves them; nothing is translated any more."""
        self._state = _State.OFF
        for hub in self.hubs:
            hub.disable(CONTEXTS)

    def abandon(self) -> None:
        """From now on what is freed is given back at once and unmapped nowhere: the device is lost, or off. No register."""
        self._state = _State.OFF

    def sw_fini(self) -> tuple[str, ...]:
        """After hw_fini, or when the device is lost: give everything back. Names what its owners had not freed.

        Touches no register, so that it works on a dead device."""
        self._state = _State.OFF
        left = self.live
        self._release()
        for one in tuple(self._live):
            one.freed = True
            if isinstance(one, Buffer):
                self._forget(one)
            else:
                self.vram.free(one.allocation)
        self._live.clear()
        if self.hubs:
            self.tables.close()
            self._own.close()
            self.vram.free(self._pages)
            self.hubs = ()
        return left

    # ---- what there is

    @property
    def live(self) -> tuple[str, ...]:
        """What is not freed, oldest first."""
        return tuple(f"{one.name} of {one.size:#x} bytes" for one in self._live)

    def is_cpu_visible(self, memory: VramBlock | Buffer) -> bool:
        """Whether BAR0 shows all of it; memory of the host counts as visible."""
        shows = self.gpu.access.is_visible
        if isinstance(memory, VramBlock):
            return shows(memory.vram_offset, memory.size)
        return all(shows(start, size) for start, size in memory.extents)

    def require_answering(self, doing: str) -> None:
        """Memory that reads all ones may be a device that answers nothing: DeviceLost when it left the bus, Undecided when
        only its BARs are dead."""
        if self._memsize.read().value != ALL_ONES:
            return
        self.gpu.require_present(doing)
        raise Undecided(
            doing,
            expected="a device that answers",
            seen="memory and registers read all ones, config space does not",
            where=self._memsize.where,
            next_step="gpumend probe; gpumend reset --method restore-config brings the BARs back",
        )

    # ---- allocating

    def alloc_vram(self, size: int, *, alignment: int = PAGE_BYTES, owner: str = "", cpu: bool = True) -> VramBlock:
        """Contiguous VRAM that is not mapped, by default where the CPU reaches it. Its bytes are whatever they were.

        Raises BadSize, BadAlignment, OutOfVram."""
        allocation = self.vram.allocate(size, alignment, owner=owner, cpu=cpu)
        block = VramBlock(self, allocation, size, owner)
        self._live[block] = None
        return block

    def alloc(
        self,
        size: int,
        *,
        where: str = "vram",
        owner: str = "",
        alignment: int = PAGE_BYTES,
        uncached: bool = False,
        executable: bool = False,
        cpu: bool = False,
    ) -> Buffer:
        """Memory mapped for all engines: "vram", or "host" (of this machine, through the transport). Contents: whatever
        they were. `cpu`: VRAM in one piece that BAR0 shows. `alignment` is that of the GPU address.

        Raises BadSize, BadAlignment, OutOfVram, OutOfAddresses, NoDma, UsageError; whatever is refused changes nothing."""
        if where not in ("vram", "host"):
            raise UsageError(
                f"allocating {size:#x} bytes for {owner or 'a buffer'}",
                expected="vram or host",
                seen=where,
                where=self.gpu.name,
                next_step="memory of another GPU is mapped by map_peer",
            )
        flags = pte_flags(
            self.gpu.part.arch,
            Where.SYSTEM if where == "host" else Where.LOCAL_VRAM,
            uncached=uncached,
            executable=executable,
        )
        va = self.addresses.allocate(size, _address_alignment(size, alignment), owner=owner)
        try:
            host = DmaMemory(self.gpu.transport, size, owner=owner) if where == "host" else None
            vram = self._vram_for(size, owner, cpu) if host is None else None
        except BaseException:
            self.addresses.free(va)
            raise
        buffer = Buffer(self, size, owner, "vram" if host is None else "host", va, vram=vram, host=host)
        return self._map(buffer, self._physical(buffer.extents) if host is None else host.runs, flags)

    def map_peer(self, peer: Buffer, *, owner: str = "", uncached: bool = False, same_address: bool = False) -> Buffer:
        """The VRAM of another GPU of the hive, at an address of this one. Free it before the peer frees its buffer.

        `same_address`: at the address that its owner knows it by; both GPUs must have a slot of addresses of their own.
        Raises NotInHive, UsageError (not VRAM, no slot), Closed, OutOfAddresses, OutOfVram."""
        doing = f"mapping {peer.name} of {peer.gmc.gpu.name}"
        peer._check_open(doing)
        if peer.vram is None:
            raise UsageError(
                doing,
                expected="VRAM of another GPU",
                seen=f"memory of kind {peer.where}",
                where=self.gpu.name,
                next_step="host memory is allocated by each GPU that uses it",
            )
        if not self.place.is_beside(peer.gmc.place):
            raise NotInHive(
                doing,
                expected="another node of the same hive",
                seen=f"node {peer.gmc.place.node} of {peer.gmc.place.nodes}; this is {self.place.node} of {self.place.nodes}",
                where=self.gpu.name,
                next_step="copy through memory of the host",
            )
        flags = pte_flags(self.gpu.part.arch, Where.REMOTE_VRAM, uncached=uncached)
        if same_address:
            va = self._same_address(doing, peer)
        else:
            va = self.addresses.allocate(peer.size, good_alignment(peer.size), owner=owner or peer.owner)
        buffer = Buffer(self, peer.size, owner or peer.owner, "peer", va, peer=peer)
        peer.mapped_by.append(buffer)
        return self._map(buffer, peer.gmc._physical(peer.vram.extents), flags)

    def map_host(self, peer: Buffer, *, owner: str = "") -> Buffer:
        """Memory of the host that another GPU allocated, at the same address here: for signals that both write.

        Behind VFIO each GPU has bus addresses of its own for it.
        Raises UsageError (not host memory, no slot), Unavailable (one GPU through VFIO, the other not; no room for it),
        NotPermitted (limit of locked memory), Closed, OutOfVram."""
        doing = f"mapping {peer.name} of {peer.gmc.gpu.name}"
        peer._check_open(doing)
        if peer.host is None:
            raise UsageError(doing, expected="memory of the host", seen=f"memory of kind {peer.where}")
        own_addresses = [Can.VIA_DRIVER in one.transport.can for one in (self.gpu, peer.gmc.gpu)]
        if own_addresses[0] != own_addresses[1] or (own_addresses[0] and not hasattr(self.gpu.transport, "share_dma")):
            raise Unavailable(
                doing,
                expected="GPUs that are all reached through VFIO, or all without",
                seen="behind VFIO each has bus addresses of its own",
                where=self.gpu.name,
                next_step="open all of them by vfio: addresses, or all by their bus addresses (no IOMMU)",
            )
        va = self._same_address(doing, peer)
        try:
            shared = DmaMemory(self.gpu.transport, peer.size, owner=owner, of=peer.host) if own_addresses[0] else None
        except BaseException:
            va.allocator.free(va)
            raise
        buffer = Buffer(self, peer.size, owner or peer.owner, "peer", va, peer=peer, host=shared)
        peer.mapped_by.append(buffer)
        flags = pte_flags(self.gpu.part.arch, Where.SYSTEM, uncached=True)
        return self._map(buffer, (shared or peer.host).runs, flags)

    def _same_address(self, doing: str, peer: Buffer) -> Allocation:
        """The owner's address of it, taken here too."""
        if self.foreign is None or self.slot == peer.gmc.slot:
            raise UsageError(
                doing,
                expected="GPUs that were opened with different slots of addresses",
                seen=f"slots {self.slot} and {peer.gmc.slot}",
                where=self.gpu.name,
                next_step="gpumend.open_found(gpu, slot=...), another number for each GPU",
            )
        return self.foreign.allocate_at(peer.gpu_va, peer.size, owner=peer.owner)

    def unmap_peers(self) -> None:
        """Free every mapping of another GPU's VRAM that is left, with one flush."""
        with self.batch():
            for one in tuple(self._live):
                if isinstance(one, Buffer) and one.peer is not None:
                    one.free()

    def batch(self) -> Batch:
        """`with gmc.batch():` one write of the tables and one flush for all that is allocated and freed inside."""
        return self.tables.batch()

    # ---- flushing

    def flush_hdp(self) -> None:
        """What the host wrote through BAR0 becomes visible to the GPU."""
        self.gpu.access.write(HDP_FLUSH_OFFSET // 4, 0)
        self._memsize.read()  # the write has arrived

    def flush_tlb(self, vmid_mask: int = _VMID_MASK) -> None:
        """Empty the TLBs of all hubs for these VMIDs: all are asked, then all waited for.

        On these chips a heavy flush goes before the one that counts: they race with accesses to the same cache line.
        Raises WaitTimeout that names the hub, DeviceLost."""
        for flush_type in self._flush_types:
            for hub in self.hubs:
                hub.request_flush(vmid_mask, flush_type)
            for hub in self.hubs:
                hub.wait_flushed(vmid_mask, flush_type)

    # ---- faults

    def faults(self) -> list[VmFault]:
        """The fault that each hub has latched. Raises DeviceLost when the device left the bus."""
        found = [fault for hub in self.hubs if (fault := hub.fault()) is not None]
        if not found:
            self.gpu.require_present("reading page faults")
        return found

    def clear_faults(self) -> None:
        """On all hubs."""
        for hub in self.hubs:
            hub.clear_fault()

    # ---- inside: what Buffer and VramBlock call

    def _free_block(self, block: VramBlock) -> None:
        block.freed = True
        del self._live[block]
        self.vram.free(block.allocation)

    def _free_buffer(self, buffer: Buffer) -> None:
        """Unmapped now; address and memory are given back when the TLBs have forgotten them."""
        buffer.freed = True
        del self._live[buffer]
        if self._state is _State.OFF:  # nobody translates any more, and the device may be gone
            self._forget(buffer)
            return
        self._after_flush.append(lambda: self._forget(buffer))
        self.tables.unmap(buffer.gpu_va, pages_of(buffer.size) * PAGE_BYTES)

    def _forget(self, buffer: Buffer) -> None:
        buffer.va.allocator.free(buffer.va)
        if buffer.peer is not None:
            buffer.peer.mapped_by.remove(buffer)
        if buffer.vram is not None:
            self.vram.free(buffer.vram)
        if buffer.host is not None:
            buffer.host.close()

    def _release(self) -> None:
        """Give back what was unmapped before the last flush."""
        while self._after_flush:
            self._after_flush.pop()()

    def _tables_written(self, _: tuple[Range, ...]) -> None:
        """The flush of the page tables, after each batch."""
        if self._state is not _State.RUNNING:  # hw_init flushes, or there is nothing that could have looked at them
            return
        self.flush_hdp()
        if self.tables.needs_invalidate:
            self.flush_tlb()
            self._release()

    # ---- inside: allocating

    def _map(self, buffer: Buffer, pages: Pages, flags: int) -> Buffer:
        """Mapped and known; or, when that fails, nothing of it is left."""
        try:
            self.tables.map(buffer.gpu_va, pages, flags)
        except BaseException:
            buffer.freed = True
            if self.tables.lookup(buffer.gpu_va) is None:
                self._forget(buffer)
                raise
            # Mapped, but the flush failed: the memory may only be used again when one succeeds.
            self._after_flush.append(lambda: self._forget(buffer))
            with suppress(GpumendError):  # the error that is being raised tells the same
                self.tables.unmap(buffer.gpu_va, pages_of(buffer.size) * PAGE_BYTES)
            raise
        self._live[buffer] = None
        return buffer

    def _vram_for(self, size: int, owner: str, cpu: bool) -> Allocation:
        if cpu:
            return self.vram.allocate(size, good_alignment(size), owner=owner)
        return self.vram.allocate_scattered(size, good_alignment(size), owner=owner)

    def _physical(self, extents: Sequence[tuple[int, int]]) -> Pages:
        """What page tables hold for ranges of this GPU's VRAM."""
        base = self.place.physical_base
        return [(base + start, size) for start, size in extents]

    # ---- inside: registers

    def _init_hdp(self) -> None:
        """BAR0 shows this node's VRAM; a flush also invalidates."""
        hdp = self.gpu.block(Hdp, "HDP")
        misc = hdp.HDP_MISC_CNTL
        misc.write(misc.read().value | _FLUSH_INVALIDATE_CACHE)
        hdp.HDP_NONSURFACE_BASE.write(self.place.mc_base >> 8 & ALL_ONES)
        hdp.HDP_NONSURFACE_BASE_HI.write(self.place.mc_base >> 40)
        self.flush_hdp()

    def _vram_size(self) -> int:
        size_mib = self._memsize.read().value
        if FIRMWARE_BYTES // _MIB * 2 <= size_mib <= _MOST_MIB:
            return size_mib * _MIB
        raise self._refusal(
            "asking for the size of VRAM",
            f"{2 * FIRMWARE_BYTES // _MIB} MiB or more",
            f"{size_mib:#x} MiB",
            self._memsize.where,
        )

    def _read_place(self) -> HivePlace:
        """FB range of the MMHUB, node and segment of the first GFXHUB."""
        doing = "finding our place in the hive"
        mmhub = self.gpu.block(Mmhub, "MMHUB")
        gc = self.gpu.block(Gc, "GC", self.gpu.ip.active("GC")[0].instance)
        base = mmhub.MC_VM_FB_LOCATION_BASE.read()
        top = mmhub.MC_VM_FB_LOCATION_TOP.read()
        control = gc.MC_VM_XGMI_LFB_CNTL.read()
        segment = gc.MC_VM_XGMI_LFB_SIZE.read()
        offset = gc.MC_VM_FB_OFFSET.read()
        seen = (
            f"FB {base.value:#x}..{top.value:#x}, FB_OFFSET {offset.value:#x}, XGMI_LFB_CNTL {control.value:#x}, "
            f"XGMI_LFB_SIZE {segment.value:#x}, VRAM {self.vram_bytes:#x} bytes"
        )
        alone = control.PF_MAX_REGION == 0
        place = HivePlace(
            node=0 if alone else control.PF_LFB_REGION,
            nodes=control.PF_MAX_REGION + 1,
            segment_bytes=0 if alone else segment.PF_LFB_SIZE << _UNIT_SHIFT,
            fb_base=base.FB_BASE << _UNIT_SHIFT,
            fb_top=(top.FB_TOP + 1 << _UNIT_SHIFT) - 1,
            fb_offset=offset.FB_OFFSET << _UNIT_SHIFT,
        )
        values = (base.value, top.value, control.value, segment.value, offset.value)
        wrong = "registers that answer" if ALL_ONES in values else self._wrong_place(place)
        if wrong:
            raise self._refusal(doing, wrong, seen, gc.MC_VM_XGMI_LFB_CNTL.where)
        return place

    def _wrong_place(self, place: HivePlace) -> str:
        """What one would have to see instead; "": it is right."""
        if place.nodes > _MOST_NODES:
            return f"at most {_MOST_NODES} nodes"
        if place.node >= place.nodes:
            return f"a node below the {place.nodes} that there are"
        if place.nodes > 1 and place.segment_bytes < self.vram_bytes:
            return "a segment that holds the VRAM of a node"
        if place.mc_base + self.vram_bytes - 1 > place.fb_top:
            return "an FB range that holds the VRAM of this node"
        if place.nodes * place.segment_bytes > place.fb_top + 1 - place.fb_base:
            return "an FB range that holds all nodes"
        if place.physical_base + self.vram_bytes > 1 << ADDRESS_BITS:
            return f"physical addresses below 2^{ADDRESS_BITS}"
        return ""

    def _refusal(self, doing: str, expected: str, seen: str, where: str) -> GpumendError:
        kind = DeviceLost if self.gpu.is_lost() else InvalidData
        return kind(doing, expected=expected, seen=seen, where=where, next_step="gpumend probe; then gpumend reset")


def _address_alignment(size: int, asked: int) -> int:
    """What was asked for and what lets pages be large; what is no alignment stays as it is, to be refused."""
    return max(asked, good_alignment(size)) if asked > 0 and not asked & asked - 1 else asked


def _allocators(slot: int | None, direct: tuple[Range, ...], where: str) -> tuple[VaAllocator, VaAllocator | None]:
    """For our own addresses, and for those of other slots."""
    if slot is None:
        return VaAllocator(reserved=direct, where=where), None
    first, end = max(slot * SLOT_BYTES, VA_START), (slot + 1) * SLOT_BYTES
    inside, outside = [], []
    for one in direct:
        start, stop = max(one.start, first), min(one.end, end)
        if start < stop:
            inside.append(Range(start, stop - start, one.why))
        outside += [
            Range(low, high - low, one.why)
            for low, high in ((one.start, min(one.end, first)), (max(one.start, end), one.end))
            if low < high
        ]
    own = VaAllocator(first, end, reserved=inside, where=where)
    return own, VaAllocator(reserved=[Range(first, end - first, "our own slot"), *outside], where=where)


def _direct_range(place: HivePlace) -> Iterator[Range]:
    """The part of the FB range that addresses could be taken from: in VMID 0 it is VRAM, whatever the tables say."""
    start, end = max(place.fb_base, VA_START), min(place.fb_top + 1, VA_END)
    if start < end:
        yield Range(start, end - start, "FB aperture")


__all__ = [
    "COMPUTE_VMID",
    "CONTEXTS",
    "Buffer",
    "Gmc",
    "HivePlace",
    "NotInHive",
    "NotVisible",
    "Place",
    "StillMapped",
    "VmFault",
    "VramBlock",
]
