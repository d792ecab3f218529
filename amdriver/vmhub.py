"""One memory hub: the GFXHUB of an XCC or the MMHUB of an AID. Apertures, TLBs, contexts, invalidation, faults.

Source: Linux v7.3 gfxhub_v1_2.c and mmhub_v1_8.c (*_gart_enable, *_gart_disable, *_set_fault_enable_default),
gmc_v9_0.c (gmc_v9_0_get_invalidate_req, gmc_v9_0_process_interrupt, gfxhub_client_ids, mmhub_client_ids_aldebaran),
reset values: gc_9_0_default.h and mmhub_9_4_1_default.h (the same there; none is published for these chips);
amd-bringup.md section 5.

Whole values are written, because their reset values are known: no read comes before a write, but for the snoop
overrides and the two registers whose other bits nobody documents, which are read from one hub of a kind (`learn`).
The registers of context n lie at those of context 0, plus n times the distance to context 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from amdriver.memory import ADDRESS_BITS, PAGE_SHIFT
from pcibus.transport import ALL_ONES
from registers.amd.gc_9_4_3 import Gc, VM_CONTEXTn_CNTL_t
from registers.amd.mmhub_1_8_0 import Mmhub
from registers.core import WORD

if TYPE_CHECKING:
    from amdriver.gpu import Gpu

CONTEXTS: Final = 16
ACK_TIMEOUT_S: Final = 0.1
LEGACY, HEAVY = 0, 2  # flush types

_PAGES: Final = (1 << ADDRESS_BITS - PAGE_SHIFT) - 1
_NOTHING: Final = 0xFFFFFF  # an aperture whose bottom is there and whose top is 0 is off
_UC: Final = 3
_SDMA_CLIENT: Final = 1 << 15
_DAGBS: Final = 5

# The fault bits come in pairs, interrupt and default page, from bit 9 (range) to 22 (execute).
_FAULT_BITS: Final = 0x7FFE00
# Four levels: PDB2 and PDB1 are counted, PDB0 entries translate further; tables of 512 entries.
CONTEXT_ON: Final = (
    VM_CONTEXTn_CNTL_t.of(ENABLE_CONTEXT=1, PAGE_TABLE_DEPTH=2, PAGE_TABLE_BLOCK_SIZE=9).value | _FAULT_BITS
)

# Reset value 0x3FFFFFFC: every kind of fault goes to the default page, every client's fault interrupts.
_FAULT_CNTL: Final = 0x3FFFFFFC
_FAULT_CNTL_CLEAR: Final = _FAULT_CNTL | 1
_FAULT_CNTL2: Final = 0x000A0000 | 1 << 18  # reset value, and ACTIVE_PAGE_MIGRATION_PTE_READ_RETRY
_L2_CNTL2: Final = 3  # INVALIDATE_ALL_L1_TLBS, INVALIDATE_L2_CACHE
# 0x80100007 and 0xC1 after reset; bank select 12 and fragments of 2^9 pages, as with tables that translate further;
# the walker's requests of a discrete GPU are not physical.
_L2_CNTL3: Final = 0x80100007 & ~(0x3F | 0x1F << 15) | 12 | 9 << 15
_L2_CNTL4: Final = 0xC1 & ~0xC0

_GFX_CLIENTS: Final = (
    "CB",
    "DB",
    "IA",
    "WD",
    "CPF",
    "CPC",
    "CPG",
    "RLC",
    "TCP",
    "SQC (inst)",
    "SQC (data)",
    "SQG",
    "PA",
)
# By (unit, client within it): the kernel's table has them at unit + client.
_MM_CLIENTS: Final = {
    2: "MP1", 3: "MP0",
    32 + 1: "DBGU_IO0", 32 + 2: "DBGU_IO2", 32 + 4: "MPIO",
    96 + 11: "JPEG0", 96 + 12: "VCN0", 96 + 13: "VCNU0",
    128 + 11: "JPEG1", 128 + 12: "VCN1", 128 + 13: "VCNU1",
    160 + 1: "XDP", 160 + 14: "HDP",
    256: "SDMA0", 257: "SDMA1", 258: "SDMA2", 259: "SDMA3", 260: "SDMA4",
    384: "OSS",
}  # fmt: skip
# The order of the context's fault bits; the kernel prints the number only. Its logs agree: 3 reads, 5 writes of nothing.
_PERMISSIONS: Final = ("valid", "read", "write", "execute")


@dataclass(frozen=True, slots=True)
class VmFault:
    """An access that a hub refused. `address` is that of the page; `status` the register as it was read."""

    hub: str
    status: int
    vmid: int
    address: int
    write: bool
    client: int
    client_name: str
    permissions: tuple[str, ...]
    walker_error: int
    mapping_error: bool
    atomic: bool
    more: bool
    poison: bool

    def __str__(self) -> str:
        """`GC[3]: VMID 8 read 0x7f0000001000 (TCP): no valid page; permission valid, read; status 0x...`"""
        access = "atomic access" if self.atomic else "write" if self.write else "read"
        told = []
        if self.mapping_error:
            told.append("mapping error")
        if self.walker_error:
            told.append(f"walker error {self.walker_error}")
        if self.permissions:
            told.append(f"fails at: {', '.join(self.permissions)}")
        if self.poison:
            told.append("poisoned data")
        if self.more:
            told.append("more faults came after it")
        reasons = "".join(f"; {one}" for one in told)
        return (
            f"{self.hub}: VMID {self.vmid} {access} at {self.address:#x} by {self.client_name} "
            f"({self.client:#x}){reasons}; status {self.status:#010x}"
        )


@dataclass(frozen=True, slots=True)
class HubSetup:
    """What all hubs of one GPU are told. Addresses in bytes; `root` is the value of the page table base registers."""

    fb_base: int
    fb_top: int
    default_page: int  # physical: reads of nothing end there
    fault_page: int
    root: int
    contexts: tuple[int, ...]


class Hub:
    """The registers of one hub. Making one touches no hardware."""

    def __init__(self, gpu: Gpu, ip_name: str, number: int) -> None:
        self.gpu = gpu
        self.number = number
        self.is_gfx = ip_name == "GC"
        self.regs: Gc | Mmhub = gpu.block(Gc, ip_name, number) if self.is_gfx else gpu.block(Mmhub, ip_name, number)
        self.name = self.regs.name
        first, second = self.regs.VM_CONTEXT0_CNTL.address, self.regs.VM_CONTEXT1_CNTL.address
        self._context0, self._context_stride = first, second - first
        base = self.regs.VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32.address
        self._table_stride = self.regs.VM_CONTEXT1_PAGE_TABLE_BASE_ADDR_LO32.address - base
        self._request = self.regs.VM_INVALIDATE_ENG17_REQ.address
        self._ack = self.regs.VM_INVALIDATE_ENG17_ACK.address
        self._status = self.regs.VM_L2_PROTECTION_FAULT_STATUS.address

    # ---- set up

    def learn(self) -> Learned:
        """Read what has bits that must stay as they are; the same on every hub of a kind."""
        regs = self.regs
        snoop: tuple[int, ...] = ()
        if isinstance(regs, Mmhub):
            read = self.gpu.access.read
            snoop = tuple(read(address) for address in self._snoop_addresses(regs))
        return Learned(regs.MC_VM_MX_L1_TLB_CNTL.read().value, regs.VM_L2_CNTL.read().value, snoop)

    def set_up(self, setup: HubSetup, learned: Learned) -> None:
        """Everything but the contexts' own switches, which `enable` sets when the tables are written."""
        regs = self.regs
        regs.VM_L2_PROTECTION_FAULT_CNTL.write(_FAULT_CNTL)
        self._apertures(setup)
        regs.VM_L2_PROTECTION_FAULT_CNTL2.write(_FAULT_CNTL2)
        tlb = regs.MC_VM_MX_L1_TLB_CNTL
        tlb.write(
            tlb.kind(learned.tlb_cntl).replace(
                ENABLE_L1_TLB=1,
                SYSTEM_ACCESS_MODE=3,
                ENABLE_ADVANCED_DRIVER_MODEL=1,
                SYSTEM_APERTURE_UNMAPPED_ACCESS=0,
                MTYPE=_UC,
                ATC_EN=1,
            )  # type: ignore[arg-type]
        )
        self._cache(learned)
        if isinstance(regs, Mmhub):
            for address, value in zip(self._snoop_addresses(regs), learned.snoop, strict=True):
                self.gpu.access.write(address, value | _SDMA_CLIENT)
        self._no_identity()
        regs.VM_INVALIDATE_ENG17_ADDR_RANGE_LO32.write(WORD)
        regs.VM_INVALIDATE_ENG17_ADDR_RANGE_HI32.write(0x1F)
        for context in setup.contexts:
            self._tables(context, setup.root)

    def enable(self, contexts: Sequence[int], *, others: bool) -> None:
        """Switch these contexts on; with `others`, all others off: a driver before us may have left some on."""
        for context in range(CONTEXTS) if others else contexts:
            self._context(context, CONTEXT_ON if context in contexts else 0)

    def disable(self, contexts: Iterable[int]) -> None:
        """Contexts, L1 TLB and L2 cache off, as the kernel leaves them."""
        for context in contexts:
            self._context(context, 0)
        self.regs.MC_VM_MX_L1_TLB_CNTL.modify(ENABLE_L1_TLB=0, ENABLE_ADVANCED_DRIVER_MODEL=0)
        self.regs.VM_L2_CNTL.modify(ENABLE_L2_CACHE=0)
        self.regs.VM_L2_CNTL3.write(0)

    def _context(self, context: int, value: int) -> None:
        self.gpu.access.write(self._context0 + context * self._context_stride, value)

    def _tables(self, context: int, root: int) -> None:
        """Tables for all addresses: root, first and last page."""
        regs = self.regs
        write = self.gpu.access.write
        away = context * self._table_stride
        write(regs.VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32.address + away, root & WORD)
        write(regs.VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_HI32.address + away, root >> 32)
        write(regs.VM_CONTEXT0_PAGE_TABLE_START_ADDR_LO32.address + away, 0)
        write(regs.VM_CONTEXT0_PAGE_TABLE_START_ADDR_HI32.address + away, 0)
        write(regs.VM_CONTEXT0_PAGE_TABLE_END_ADDR_LO32.address + away, _PAGES & WORD)
        write(regs.VM_CONTEXT0_PAGE_TABLE_END_ADDR_HI32.address + away, _PAGES >> 32)

    def _apertures(self, setup: HubSetup) -> None:
        regs = self.regs
        regs.MC_VM_AGP_BASE.write(0)
        regs.MC_VM_AGP_BOT.write(_NOTHING)
        regs.MC_VM_AGP_TOP.write(0)
        regs.MC_VM_SYSTEM_APERTURE_LOW_ADDR.write(setup.fb_base >> 18)
        regs.MC_VM_SYSTEM_APERTURE_HIGH_ADDR.write(setup.fb_top >> 18)
        default, fault = setup.default_page >> PAGE_SHIFT, setup.fault_page >> PAGE_SHIFT
        regs.MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_LSB.write(default & WORD)
        regs.MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_MSB.write(default >> 32)
        regs.VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_LO32.write(fault & WORD)
        regs.VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_HI32.write(fault >> 32)

    def _cache(self, learned: Learned) -> None:
        regs = self.regs
        cntl = regs.VM_L2_CNTL
        cntl.write(
            cntl.kind(learned.l2_cntl).replace(
                ENABLE_L2_CACHE=1,
                ENABLE_L2_FRAGMENT_PROCESSING=1,
                L2_PDE0_CACHE_TAG_GENERATION_MODE=0,
                PDE_FAULT_CLASSIFICATION=0,
                CONTEXT1_IDENTITY_ACCESS_MODE=1,
                IDENTITY_MODE_FRAGMENT_SIZE=0,
            )  # type: ignore[arg-type]
        )
        regs.VM_L2_CNTL2.write(_L2_CNTL2)
        regs.VM_L2_CNTL3.write(_L2_CNTL3)
        regs.VM_L2_CNTL4.write(_L2_CNTL4)

    def _no_identity(self) -> None:
        """An identity aperture whose lowest page is above its highest."""
        regs = self.regs
        regs.VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_LO32.write(WORD)
        regs.VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_HI32.write(0xF)
        regs.VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_LO32.write(0)
        regs.VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_HI32.write(0)
        regs.VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_LO32.write(0)
        regs.VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_HI32.write(0)

    @staticmethod
    def _snoop_addresses(regs: Mmhub) -> list[int]:
        """Override and value of each DAGB: with the SDMA's bit, its writes invalidate cached lines."""
        first, value = regs.DAGB0_WRCLI_GPU_SNOOP_OVERRIDE.address, regs.DAGB0_WRCLI_GPU_SNOOP_OVERRIDE_VALUE.address
        stride = regs.DAGB1_WRCLI_GPU_SNOOP_OVERRIDE.address - first
        return [place + unit * stride for unit in range(_DAGBS) for place in (first, value)]

    # ---- invalidation

    def request_flush(self, vmid_mask: int, flush_type: int) -> None:
        """Ask for the TLBs of these VMIDs to be emptied: L1 and every level of L2."""
        self.gpu.access.write(self._request, vmid_mask | flush_type << 16 | 0x1F << 18)

    def wait_flushed(self, vmid_mask: int, flush_type: int) -> None:
        """Until all of them are acknowledged; WaitTimeout or DeviceLost."""
        bus = self.gpu.access
        seen = bus.read(self._ack)
        if seen & vmid_mask == vmid_mask and seen != ALL_ONES:
            return
        self.gpu.wait(
            lambda: bus.read(self._ack),
            lambda value: value & vmid_mask == vmid_mask and value != ALL_ONES,
            doing=f"TLB invalidation of {self.name}, VMIDs {vmid_mask:#x}, flush type {flush_type}",
            expected=f"acknowledged: VM_INVALIDATE_ENG17_ACK & {vmid_mask:#x}",
            timeout_s=ACK_TIMEOUT_S,
            where=self.regs.VM_INVALIDATE_ENG17_ACK.where,
            next_step="gpumend probe; the hub hangs: a reset of the GPU (mode1, in a hive of all) brings it back",
            show=lambda value: f"{value:#010x}",
            first_pause_s=1e-6,
        )

    # ---- faults

    def fault(self) -> VmFault | None:
        """The first fault since the last clear; None: there was none, or the hub does not answer."""
        status = self.gpu.access.read(self._status)
        if status in (0, ALL_ONES):
            return None
        regs = self.regs
        low = regs.VM_L2_PROTECTION_FAULT_ADDR_LO32.read().value
        high = regs.VM_L2_PROTECTION_FAULT_ADDR_HI32.read().LOGICAL_PAGE_ADDR_HI4
        return self.decode_fault(status, (high << 32 | low) << PAGE_SHIFT)

    def decode_fault(self, status: int, address: int) -> VmFault:
        """A status register in words."""
        kind = self.regs.VM_L2_PROTECTION_FAULT_STATUS.kind(status)
        return VmFault(
            hub=self.name,
            status=status,
            vmid=kind.VMID,
            address=address,
            write=bool(kind.RW),
            client=kind.CID,
            client_name=self._client(kind.CID),
            permissions=tuple(name for at, name in enumerate(_PERMISSIONS) if kind.PERMISSION_FAULTS >> at & 1),
            walker_error=kind.WALKER_ERROR,
            mapping_error=bool(kind.MAPPING_ERROR),
            atomic=bool(kind.ATOMIC),
            more=bool(kind.MORE_FAULTS),
            poison=bool(kind.FED),
        )

    def clear_fault(self) -> None:
        """Forget the fault that is latched, so that the next one is."""
        self.regs.VM_L2_PROTECTION_FAULT_CNTL.write(_FAULT_CNTL_CLEAR)

    def _client(self, cid: int) -> str:
        if not self.is_gfx:
            return _MM_CLIENTS.get(cid, "unknown client")
        return _GFX_CLIENTS[cid] if cid < len(_GFX_CLIENTS) else "unknown client"


@dataclass(frozen=True, slots=True)
class Learned:
    """Registers as one hub of a kind had them; `snoop` in the order of the DAGBs, of an MMHUB only."""

    tlb_cntl: int
    l2_cntl: int
    snoop: tuple[int, ...]
