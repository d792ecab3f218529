"""GMC: the memory hubs, one GFXHUB per XCC and one MMHUB per AID: apertures, page tables, translation caches, faults.

Source: Linux v7.3 amdgpu/gfxhub_v1_2.c, mmhub_v1_8.c (what is programmed), gmc_v9_0.c (entry bits, flush request, fault
interrupt), amdgpu_vm.h, amdgpu_gmc.c (get_vm_pde), amdkfd/kfd_int_process_v9.c; hardware/amd-bringup.md section 5;
research/amdgpu-on-model.md items 12 to 16, 54, 56. Reset values: asic_reg/gc/gc_9_0_default.h, an older relative.

Three kinds of address: what an engine uses (a hub and a VMID translate it), the address in the hive (node * segment +
offset, what entries hold), and bus addresses (entries with the SYSTEM bit)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gpumodel.chips import AIDS, VRAM_MC_BASE, XCCS, Chip
from gpumodel.memory import CHUNK, PAGE, Mapped
from gpumodel.registerfile import Entry, Layout, Unit
from gpumodel.translation import FAULT_VALID, MOST, PAGE_SHIFT, WRITEABLE, Denied, Kind, Place, Tlb, Walk
from gpumodel.xgmi import STATE_ACTIVE, link_to
from registers.amd.gc_9_4_3 import Gc
from registers.amd.mmhub_1_8_0 import Mmhub
from registers.core import reg

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

MC_SHIFT = 24  # FB_LOCATION, AGP and LFB_SIZE count 16 MiB
APERTURE_SHIFT = 18  # SYSTEM_APERTURE counts 256 KiB
CONTEXTS = 16
ENGINES = 18
FLUSH_S = 1e-6  # guess: the kernel driver's first look always found it done (item 15)
CLIENT_VMC = 0x12
CLIENT_UTCL2 = 0x1B
FAULT_WRITE = 0x20  # context word 1 of the interrupt: amdgpu_gmc.h
FAULT_READ = 0x40
ALL_CACHES = 0x1F << 18  # INVALIDATE_L2_PTES, L2_PDE0..2, L1_PTES

_HUB = (
    "MC_VM_FB_*",
    "MC_VM_XGMI_LFB_*",
    "MC_VM_AGP_*",
    "MC_VM_SYSTEM_APERTURE_*",
    "MC_VM_MX_L1_TLB_CNTL",
    "VM_L2_CNTL*",
    "VM_L2_STATUS",
    "VM_L2_CONTEXT*",
)
_SNOOP = ("DAGB?_WRCLI_GPU_SNOOP_OVERRIDE*",)
_FAULT = (
    "VM_L2_PROTECTION_FAULT_CNTL2",
    "VM_L2_PROTECTION_FAULT_MM_CNTL?",
    "VM_L2_PROTECTION_FAULT_STATUS",
    "VM_L2_PROTECTION_FAULT_ADDR_*",
    "VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_*",
)
_CONTEXT_CNTL_RESET = 0x007FFE80
_RESETS = {
    "VM_L2_CNTL": 0x00080602,
    "VM_L2_CNTL3": 0x80100007,
    "VM_L2_CNTL4": 0x000000C1,
    "VM_L2_PROTECTION_FAULT_CNTL2": 0x000A0000,
    "VM_L2_PROTECTION_FAULT_MM_CNTL3": 0xFFFFFFFF,
    "VM_L2_PROTECTION_FAULT_MM_CNTL4": 0xFFFFFFFF,
    "MC_VM_MX_L1_TLB_CNTL": 0x00002501,
}
FAULTS_AGAIN_S = 1e-3  # guess
_FAULT_CNTL_RESET = 0x3FFFFFFC
CLEAR_FAULT = 1  # VM_L2_PROTECTION_FAULT_CNTL bit 0 clears status and address
UPDATE_FAULT = 2  # bit 1: later faults replace the latched one

# SYSTEM_ACCESS_MODE of MC_VM_MX_L1_TLB_CNTL: which addresses of VMID 0 the page table translates.
ACCESS_PHYSICAL, ACCESS_MAPPED, ACCESS_IN_APERTURE, ACCESS_OUTSIDE_APERTURE = range(4)


def hubs() -> list[str]:
    """Prefixes of all hubs, as in register names."""
    return [f"GC[{xcc}]" for xcc in range(XCCS)] + [f"MMHUB[{aid}]" for aid in range(AIDS)]


class PageFault(Exception):
    """An access that no translation allows; latched in its hub and told by an interrupt when this is raised."""

    def __init__(self, hub: str, vmid: int, address: int, write: bool, why: str) -> None:
        super().__init__(f"{hub} VMID {vmid} {'write' if write else 'read'} of {address:#x}: {why}")
        self.hub = hub
        self.vmid = vmid
        self.address = address
        self.write = write
        self.why = why


@dataclass(slots=True)
class _Hub:
    """One hub: where its registers lie, and what it has translated before, by VMID."""

    name: str
    instance: int
    is_gfx: bool
    contexts: tuple[tuple[int, ...], ...]  # addresses of the registers that say how a VMID is translated
    tlbs: list[Tlb] = field(default_factory=lambda: [Tlb() for _ in range(CONTEXTS)])
    walks: list[tuple[tuple[int | None, ...], Walk] | None] = field(default_factory=lambda: [None] * CONTEXTS)

    @classmethod
    def of(cls, layout: Layout, name: str) -> _Hub:
        return cls(name, int(name.partition("[")[2][:-1]), name.startswith("GC"), _contexts(layout, name))


@lru_cache(maxsize=64)
def _contexts(layout: Layout, hub: str) -> tuple[tuple[int, ...], ...]:
    halves = [f"{what}_ADDR_{half}" for what in ("BASE", "START", "END") for half in ("LO32", "HI32")]
    names = ("CNTL", *(f"PAGE_TABLE_{half}" for half in halves))
    cache = layout.address(f"{hub}.VM_L2_CNTL")
    return tuple(
        (cache, *(layout.address(f"{hub}.VM_CONTEXT{vmid}_{name}") for name in names)) for vmid in range(CONTEXTS)
    )


class Gmc:
    """`ack_missing`: invalidations are never acknowledged nor done. `flushes` counts those asked for."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.ack_missing = False
        self.flushes = 0
        self._hubs: dict[str, _Hub] = {}
        self.stays: dict[str, tuple[int, int]] = {}  # by hub: a fault that comes again until its queue is reset
        self._held: set[int] = set()  # addresses of semaphores that somebody holds

    def power_on(self) -> None:
        """Boot firmware tells every hub where VRAM of the whole hive lies, and which part of it is ours."""
        self.ack_missing = False
        self.flushes = 0
        self._held.clear()
        self._start(hubs())

    def reset_gfx(self) -> None:
        """The hubs of the XCCs start anew, with what boot firmware told them; their registers are reset."""
        self._start([hub for hub in hubs() if hub.startswith("GC")])

    def _start(self, started: list[str]) -> None:
        gpu = self._gpu
        nodes = gpu.hive.nodes
        top = VRAM_MC_BASE + nodes * gpu.chip.vram_size - 1
        place = Gc.MC_VM_XGMI_LFB_CNTL.kind.of(PF_LFB_REGION=gpu.index, PF_MAX_REGION=nodes - 1)
        values = {
            "MC_VM_FB_LOCATION_BASE": VRAM_MC_BASE >> MC_SHIFT,
            "MC_VM_FB_LOCATION_TOP": top >> MC_SHIFT,
            "MC_VM_XGMI_LFB_CNTL": int(place),
            "MC_VM_XGMI_LFB_SIZE": gpu.chip.vram_size >> MC_SHIFT,
        }
        for hub in started:
            for name, value in values.items():
                gpu.registers.set(f"{hub}.{name}", value)
            self._hubs[hub] = _Hub.of(gpu.registers.layout, hub)
            self.stays.pop(hub, None)

    # ---- memory as engines see it

    def read(self, hub: str, vmid: int, address: int, size: int, *, client: int = 0) -> bytes:
        """What an engine behind a hub reads. Raises PageFault."""
        parts = [self._place_read(*piece) for piece in self._pieces(hub, vmid, address, size, False, client)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, hub: str, vmid: int, address: int, data: bytes, *, client: int = 0) -> None:
        """What an engine behind a hub writes. Raises PageFault; what lies before the fault is written."""
        done = 0
        for place, size in self._pieces(hub, vmid, address, len(data), True, client):
            self._place_write(place, data if size == len(data) else data[done : done + size])
            done += size

    def mapped(self, hub: str, vmid: int, address: int, write: bool, *, client: int = 0) -> Mapped | None:
        """Where the byte at an address lies, with all around it that the same translation maps to one chunk of VRAM; None: only
        reads and writes reach it. Raises PageFault."""
        if self._gpu.lost or not (vmid or self._is_mapped(hub, address)):
            return None
        known = self._hubs[hub]
        try:
            walk = self._walk(known, vmid, address)
            leaf = walk.leaf(address, address + 1, write)
        except Denied as denied:
            self._raise(known, vmid, denied, write, client)
        if leaf.kind is not Kind.VRAM:
            return None
        owner = self._owner(leaf.base + (address & leaf.low) & MOST, 1)
        if owner is None:
            return None
        gpu, offset = owner
        writable = bool(leaf.flags & WRITEABLE)
        fd = gpu.vram.mappable(offset, write)
        back = min(address & leaf.low, offset % CHUNK, address - (walk.first_page << PAGE_SHIFT))
        on = min(leaf.low + 1 - (address & leaf.low), CHUNK - offset % CHUNK, gpu.vram.size - offset)
        on = min(on, (walk.last_page + 1 << PAGE_SHIFT) - address)
        first = offset - back
        if fd < 0 or first % PAGE or (address - back) % PAGE or (back + on) % PAGE:
            return None
        return Mapped(address - back, address + on, fd, first, writable, gpu is self._gpu)

    def there(self, hub: str, vmid: int, address: int) -> bool:
        """Whether a read of a byte would find something. Nobody is told if not."""
        known = self._hubs[hub]
        try:
            if vmid or self._is_mapped(hub, address):
                self._walk(known, vmid, address).leaf(address, address + 1, False)
            else:
                next(self._unmapped(hub, address, 1, False))
        except Denied:
            return False
        return not self._gpu.lost

    def remembered(self, hub: str, vmid: int) -> dict[int, Any]:
        """What is forgotten as soon as translations are."""
        tlb = self._hubs[hub].tlbs[vmid]
        if self._gpu.lost:
            tlb.clear()
        return tlb.remembered

    def mc_read(self, address: int, size: int) -> bytes:
        """Firmware reads by MC address: MMHUB of AID 0, VMID 0."""
        return self.read("MMHUB[0]", 0, address, size)

    def mc_write(self, address: int, data: bytes) -> None:
        self.write("MMHUB[0]", 0, address, data)

    def try_mc_write(self, address: int, data: bytes) -> bool:
        """For the interrupt ring: a fault of its own is latched but cannot be told, there is no ring to tell it in."""
        try:
            for place, size in self._pieces("MMHUB[0]", 0, address, len(data), True, None):
                self._place_write(place, data[:size])
                data = data[size:]
        except PageFault:
            return False
        return True

    def invalidate(self, hub: str, vmid_mask: int) -> None:
        """Forget translations; packets of the command processor do this without a register."""
        for vmid in range(CONTEXTS):
            if vmid_mask >> vmid & 1:
                self._hubs[hub].tlbs[vmid].clear()

    # ---- the bus

    def bus_read(self, bus_addr: int, size: int) -> bytes | None:
        """Memory of the host, or BAR0 of a GPU; None when nobody answers or bus master is off."""
        if not self._may_master("read", bus_addr):
            return None
        target = self._gpu_behind(bus_addr)
        if target is None:
            return self._gpu.bus_memory.read(bus_addr, size)
        gpu, bar, offset = target
        reaches = bar == 0 and gpu.decodes and offset + size <= gpu.vram.size
        return gpu.vram.read(offset, size) if reaches else None

    def bus_write(self, bus_addr: int, data: bytes) -> bool:
        """To memory of the host, BAR0 of a GPU or the doorbells; False when nobody takes it or bus master is off."""
        if self._gpu.nbio.rings_itself(bus_addr, data):
            return True
        if not self._may_master("write", bus_addr):
            return False
        target = self._gpu_behind(bus_addr)
        if target is None:
            return self._gpu.bus_memory.write(bus_addr, data)
        gpu, bar, offset = target
        reaches = bar == 0 and gpu.decodes and offset + len(data) <= gpu.vram.size
        if reaches:
            gpu.vram.write(offset, data)
        return reaches

    def _may_master(self, what: str, bus_addr: int) -> bool:
        gpu = self._gpu
        if gpu.lost:
            return False
        if gpu.config.bus_master:
            return True
        gpu.registers.set("NBIO[0].BIF_BX_PF0_BIF_BME_STATUS", 1)  # DMA_ON_BME_LOW
        gpu.wrong("gmc", f"{what} of bus address {bus_addr:#x} while bus master is off")
        return False

    def _gpu_behind(self, bus_addr: int) -> tuple[ModelGpu, int, int] | None:
        """The GPU of the hive whose BAR holds a bus address, the BAR, and the offset in it."""
        for gpu in self._gpu.hive.gpus:
            for bar in (0, 2):
                found = gpu.bars[bar]
                if found.address <= bus_addr < found.address + found.size:
                    if not self._gpu.bus_memory.reaches_bars(bus_addr):
                        return None
                    return gpu, bar, bus_addr - found.address
        return None

    # ---- places

    def _place_read(self, place: Place, size: int) -> bytes:
        if place.kind is Kind.NOTHING:
            return bytes(size)
        if place.kind is Kind.BUS:
            data = self.bus_read(place.address, size)
            if data is None:
                self._gpu.wrong("gmc", f"nobody answers a read of bus address {place.address:#x}, {size} bytes")
                return b"\xff" * size
            return data
        owner = self._owner(place.address, size)
        if owner is None:
            return b"\xff" * size
        gpu, offset = owner
        return gpu.vram.read(offset, size)

    def _place_write(self, place: Place, data: bytes) -> None:
        if place.kind is Kind.NOTHING:
            return
        if place.kind is Kind.BUS:
            if not self.bus_write(place.address, data):
                self._gpu.wrong("gmc", f"nobody takes a write to bus address {place.address:#x}, {len(data)} bytes")
            return
        owner = self._owner(place.address, len(data))
        if owner is not None:
            gpu, offset = owner
            gpu.vram.write(offset, data)

    def _owner(self, address: int, size: int) -> tuple[ModelGpu, int] | None:
        """Whose VRAM an address of the hive is, and where in it; None, and recorded, when there is nothing."""
        gpu = self._gpu
        nodes = gpu.hive.nodes
        node, offset = divmod(address, gpu.chip.vram_size)
        if node >= nodes or offset + size > gpu.chip.vram_size:
            gpu.wrong("gmc", f"no memory at {address:#x}, {size} bytes, in a hive of {nodes}")
            return None
        if node == gpu.index:
            return gpu, offset
        peer = gpu.hive.gpus[node]
        if peer.lost or not self._linked(peer):
            gpu.wrong("gmc", f"no way to GPU {node} over XGMI")
            return None
        return peer, offset

    def _linked(self, peer: ModelGpu) -> bool:
        """Both ends of the link between us are up."""
        gpu = self._gpu
        nodes = gpu.hive.nodes
        ours = f"XGMI[{link_to(gpu.index, peer.index, nodes)}].PCS_STATE_HIST1"
        theirs = f"XGMI[{link_to(peer.index, gpu.index, nodes)}].PCS_STATE_HIST1"
        return gpu.registers.get(ours) & 0xFF == peer.registers.get(theirs) & 0xFF == STATE_ACTIVE

    # ---- translation

    def _pieces(
        self, hub: str, vmid: int, address: int, size: int, write: bool, client: int | None
    ) -> Iterator[tuple[Place, int]]:
        """Contiguous pieces of a range; `client` None: a fault sends no interrupt."""
        if self._gpu.lost:
            raise PageFault(hub, vmid, address, write, "the device is gone")
        known = self._hubs[hub]
        try:
            if vmid or self._is_mapped(hub, address):
                yield from self._walk(known, vmid, address).pieces(address, size, write)
            else:
                yield from self._unmapped(hub, address, size, write)
        except Denied as denied:
            self._raise(known, vmid, denied, write, client)

    def _walk(self, hub: _Hub, vmid: int, address: int) -> Walk:
        """The page table of a context, read from the registers again when one of them has changed."""
        values = self._gpu.registers.values
        now = tuple([values.get(place) for place in hub.contexts[vmid]])
        known = hub.walks[vmid]
        if known is not None and known[0] == now:
            return known[1]
        registers, name = self._gpu.registers, hub.name
        control = Gc.VM_CONTEXT1_CNTL.kind(registers.get(f"{name}.VM_CONTEXT{vmid}_CNTL"))
        if not control.ENABLE_CONTEXT:
            raise Denied(address, FAULT_VALID, f"context {vmid} is off", walker=1)
        cache = Gc.VM_L2_CNTL.kind(registers.get(f"{name}.VM_L2_CNTL"))
        walk = Walk(
            read_table=self._place_read,
            tlb=hub.tlbs[vmid],
            root=self._wide(f"{name}.VM_CONTEXT{vmid}_PAGE_TABLE_BASE_ADDR"),
            first_page=self._wide(f"{name}.VM_CONTEXT{vmid}_PAGE_TABLE_START_ADDR"),
            last_page=self._wide(f"{name}.VM_CONTEXT{vmid}_PAGE_TABLE_END_ADDR"),
            depth=control.PAGE_TABLE_DEPTH,
            block_bits=control.PAGE_TABLE_BLOCK_SIZE,
            use_fragments=bool(cache.ENABLE_L2_FRAGMENT_PROCESSING),
        )
        hub.walks[vmid] = (now, walk)
        return walk

    def _wide(self, name: str) -> int:
        return self._gpu.registers.get(f"{name}_LO32") | self._gpu.registers.get(f"{name}_HI32") << 32

    def _is_mapped(self, hub: str, address: int) -> bool:
        """Whether the page table of VMID 0 translates an address."""
        values = self._gpu.registers
        control = Gc.MC_VM_MX_L1_TLB_CNTL.kind(values.get(f"{hub}.MC_VM_MX_L1_TLB_CNTL"))
        mode = control.SYSTEM_ACCESS_MODE if control.ENABLE_L1_TLB else ACCESS_PHYSICAL
        if mode in (ACCESS_PHYSICAL, ACCESS_MAPPED):
            return mode == ACCESS_MAPPED
        low = values.get(f"{hub}.MC_VM_SYSTEM_APERTURE_LOW_ADDR")
        high = values.get(f"{hub}.MC_VM_SYSTEM_APERTURE_HIGH_ADDR")
        inside = low <= address >> APERTURE_SHIFT <= high
        return inside if mode == ACCESS_IN_APERTURE else not inside

    def _unmapped(self, hub: str, address: int, size: int, write: bool) -> Iterator[tuple[Place, int]]:
        """VMID 0 without page table: the FB aperture, the AGP aperture, or nothing."""
        values = self._gpu.registers
        end = address + size
        first = values.get(f"{hub}.MC_VM_FB_LOCATION_BASE") << MC_SHIFT
        last = (values.get(f"{hub}.MC_VM_FB_LOCATION_TOP") + 1) << MC_SHIFT
        if first <= address < last:
            here = min(end, last) - address
            yield from self._split_nodes(address - first, here)
        else:
            agp_first = values.get(f"{hub}.MC_VM_AGP_BOT") << MC_SHIFT
            agp_last = (values.get(f"{hub}.MC_VM_AGP_TOP") + 1) << MC_SHIFT
            if not agp_first <= address < agp_last:
                raise Denied(address, 0, "neither VRAM nor AGP, and not translated", mapping=1)
            here = min(end, agp_last) - address
            base = values.get(f"{hub}.MC_VM_AGP_BASE") << MC_SHIFT
            yield Place(Kind.BUS, base + address - agp_first), here
        if address + here < end:
            yield from self._unmapped(hub, address + here, end - address - here, write)

    def _split_nodes(self, address: int, size: int) -> Iterator[tuple[Place, int]]:
        segment = self._gpu.chip.vram_size
        while size:
            here = min(size, segment - address % segment)
            yield Place(Kind.VRAM, address), here
            address += here
            size -= here

    # ---- faults

    def _raise(self, hub: _Hub, vmid: int, denied: Denied, write: bool, client: int | None) -> None:
        """Latch the fault, tell it by interrupt if the context asks for that, and raise."""
        kind = Gc.VM_L2_PROTECTION_FAULT_STATUS.kind
        status = kind.of(
            WALKER_ERROR=denied.walker,
            PERMISSION_FAULTS=denied.permissions,
            MAPPING_ERROR=denied.mapping,
            CID=(client or 0) & 0x1FF,
            RW=int(write),
            VMID=vmid,
        )
        self._latch(hub.name, int(status), denied.address)
        control = Gc.VM_CONTEXT1_CNTL.kind(self._gpu.registers.get(f"{hub.name}.VM_CONTEXT{vmid}_CNTL"))
        if client is not None and getattr(control, denied.enable):
            page = denied.address >> PAGE_SHIFT
            self._gpu.ih.send(
                CLIENT_UTCL2 if hub.is_gfx else CLIENT_VMC,
                0,
                ring_id=denied.permissions << 3,  # kfd_int_process_v9.c: valid 8, read 16, write 32
                vmid=vmid,
                node=4 * (hub.instance // 2) + 1 + hub.instance % 2 if hub.is_gfx else 4 * hub.instance,
                context=(page & 0xFFFFFFFF, page >> 32 & 0xF | (FAULT_WRITE if write else FAULT_READ), 0, 0),
            )
        raise PageFault(hub.name, vmid, denied.address, write, denied.why)

    def _latch(self, hub: str, status: int, address: int) -> None:
        """The first fault stays until it is cleared; later ones only say that there were more."""
        values = self._gpu.registers
        before = values.get(f"{hub}.VM_L2_PROTECTION_FAULT_STATUS")
        if before and not values.get(f"{hub}.VM_L2_PROTECTION_FAULT_CNTL") & UPDATE_FAULT:
            values.set(f"{hub}.VM_L2_PROTECTION_FAULT_STATUS", before | 1)
            return
        self.fault(hub, status | int(bool(before)), address)

    def fault(self, hub: str, status: int, gpu_va: int) -> None:
        """Latch a page fault in one hub."""
        page = gpu_va >> PAGE_SHIFT
        self._gpu.registers.set(f"{hub}.VM_L2_PROTECTION_FAULT_STATUS", status)
        self._gpu.registers.set(f"{hub}.VM_L2_PROTECTION_FAULT_ADDR_LO32", page & 0xFFFFFFFF)
        self._gpu.registers.set(f"{hub}.VM_L2_PROTECTION_FAULT_ADDR_HI32", page >> 32 & 0xF)

    def fault_control(self, entry: Entry, value: int) -> None:
        """Bit 0 written as 1 clears the latched fault."""
        self._gpu.registers.store(entry, value)
        if value & CLEAR_FAULT:
            hub = entry.name.partition(".")[0]
            self.fault(hub, 0, 0)
            self._gpu.hive.events.after(FAULTS_AGAIN_S, lambda: self._fault_again(hub))

    def _fault_again(self, hub: str) -> None:
        """The wave is still there, and tries once more."""
        if hub in self.stays:
            self.fault(hub, *self.stays[hub])

    # ---- invalidation engines

    def request(self, entry: Entry, value: int) -> None:
        """A flush request: a moment later the translations are gone, and the acknowledgement shows whose."""
        registers = self._gpu.registers
        registers.store(entry, value)
        hub, _, name = entry.name.partition(".")
        acknowledge = f"{hub}.{name.replace('_REQ', '_ACK')}"
        asked = Gc.VM_INVALIDATE_ENG17_REQ.kind(value)
        mask = asked.PER_VMID_INVALIDATE_REQ
        registers.set(acknowledge, registers.get(acknowledge) & ~mask)
        self.flushes += 1
        self._gpu.stage("gmc")
        if self.ack_missing or not mask:
            return

        def done() -> None:
            if value & ALL_CACHES == ALL_CACHES:
                self.invalidate(hub, mask)
            if asked.CLEAR_PROTECTION_FAULT_STATUS_ADDR:
                self.fault(hub, 0, 0)
            registers.set(acknowledge, registers.get(acknowledge) | mask)

        if value & ALL_CACHES != ALL_CACHES:
            self._gpu.wrong("gmc", f"{hub}: flush {value:#x} leaves some of the caches as they are")
        self._gpu.hive.events.after(FLUSH_S, done)

    def semaphore_read(self, entry: Entry) -> int:
        """1: it was free and is yours now."""
        if entry.address in self._held:
            return 0
        self._held.add(entry.address)
        return 1

    def semaphore_write(self, entry: Entry, value: int) -> None:
        """0 gives it back."""
        if not value & 1:
            self._held.discard(entry.address)


def _declare_hub(unit: Unit, block: Any) -> None:
    """All registers of a hub; contexts 2 to 15 and engines 0 to 16 lie at fixed distances from those with a name."""
    unit.plain((*_HUB, *_FAULT), _RESETS)
    unit.active(block.VM_L2_PROTECTION_FAULT_CNTL, _FAULT_CNTL_RESET, on_write=Gmc.fault_control)

    def series(first: reg[Any], index: int, count: int, stride: int, reset: int = 0, **hooks: Any) -> None:
        start = unit.address(first) - index * stride
        head, _, tail = f"{unit.prefix}.{first.name}".partition(str(index) + "_")
        for number in range(count):
            name = f"{head}{number}_{tail}"
            unit.layout.add(Entry(name, start + number * stride, reset, unit.owner, unit.instance, **hooks))

    series(block.VM_CONTEXT0_CNTL, 0, CONTEXTS, 1, _CONTEXT_CNTL_RESET)
    for what in ("BASE", "START", "END"):
        for half in ("LO32", "HI32"):
            series(getattr(block, f"VM_CONTEXT0_PAGE_TABLE_{what}_ADDR_{half}"), 0, CONTEXTS, 2)
    semaphore = block.VM_INVALIDATE_ENG17_SEM
    series(semaphore, 17, ENGINES, 1, on_read=Gmc.semaphore_read, on_write=Gmc.semaphore_write)
    series(block.VM_INVALIDATE_ENG17_REQ, 17, ENGINES, 1, on_write=Gmc.request)
    series(block.VM_INVALIDATE_ENG17_ACK, 17, ENGINES, 1)
    series(block.VM_INVALIDATE_ENG17_ADDR_RANGE_LO32, 17, ENGINES, 2)
    series(block.VM_INVALIDATE_ENG17_ADDR_RANGE_HI32, 17, ENGINES, 2)


def declare(layout: Layout, chip: Chip) -> None:
    for xcc, bases in enumerate(chip.bases("GC")):
        _declare_hub(layout.unit(Gc, f"GC[{xcc}]", bases, "gmc", xcc), Gc)
    for aid, bases in enumerate(chip.bases("MMHUB")):
        unit = layout.unit(Mmhub, f"MMHUB[{aid}]", bases, "gmc", aid)
        _declare_hub(unit, Mmhub)
        unit.plain((*_SNOOP, "PCTL0_MMHUB_DEEPSLEEP_IB"))  # video rings keep their hub awake with it
