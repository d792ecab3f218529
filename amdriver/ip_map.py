"""What the discovery table says about a GPU, once it is trusted: IP instances, their bases, and the configuration.

Source: amd-discovery.md sections 4 to 7; Linux v7.3 include/soc15_hw_ip.h (ids), amdgpu_discovery.c (names, harvest,
XGMI fallback), aqua_vanjaram.c (AID rule), amdgpu_ip.c (logical to physical). Bases are in dwords. Immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

# The kernel's own names, so that what we print matches its sysfs tree (<device>/ip_discovery).
_NAMES = """
1 MP1  2 MP2  3 THM  4 SMUIO  5 FUSE  6 CLKA  10 PWR  11 GC  12 UVD  13 AUDIO_AZ  14 ACP  15 DCI  16 DCO  17 XDMA
18 DCEAZ  19 SDPMUX  20 NTB  21 VPE  22 UMSCH  24 IOHC  28 L2IMU  32 VCE  34 MMHUB  35 ATHUB  36 DBGU_NBIO  37 DFX
38 DBGU0  39 DBGU1  40 OSSSYS  41 HDP  42 SDMA0  43 SDMA1  44 ISP  45 DBGU_IO  46 DF  47 CLKB  48 FCH  49 DFX_DAP
50 L1IMU_PCIE  51 L1IMU_NBIF  52 L1IMU_IOAGR  53 L1IMU3  54 L1IMU4  55 L1IMU5  56 L1IMU6  57 L1IMU7  58 L1IMU8
59 L1IMU9  60 L1IMU10  61 L1IMU11  62 L1IMU12  63 L1IMU13  64 L1IMU14  65 L1IMU15  66 WAFLC  67 FCH_USB_PD  68 SDMA2
69 SDMA3  70 PCIE  80 PCS  89 DDCL  90 SST  91 LSDMA  100 IOAGR  108 NBIF  124 IOAPIC  128 SYSTEMHUB  144 NTBCCP
150 UMC  168 SATA  170 USB  176 CCXSEC  200 XGMI  216 XGBE  255 MP0  271 DMU  272 DIO  274 DAZ  294 ATU  295 AIGC
"""
_WORDS = _NAMES.split()
HW_NAMES: Mapping[int, str] = MappingProxyType(
    {int(number): name for number, name in zip(_WORDS[::2], _WORDS[1::2], strict=True)}
)
HW_IDS: Mapping[str, int] = MappingProxyType(
    {**{name: number for number, name in HW_NAMES.items()}, "VCN": 12, "JPEG": 12, "NBIO": 108, "IH": 40, "PSP": 255}
)
GC, VCN, SDMA0, DMU, UMC, WAFLC, XGMI = 11, 12, 42, 271, 150, 66, 200
SDMA_KINDS = frozenset((42, 43, 68, 69))
SDMA_PER_AID = 4
_VCN_CAPABILITY = 0xC0

Version = tuple[int, int, int]
NO_VERSION: Version = (0, 0, 0)


def hw_name(hw_id: int) -> str:
    """The kernel's name of a hardware id; `HW<n>` where it has none."""
    return HW_NAMES.get(hw_id) or f"HW{hw_id}"


class IpInstance(NamedTuple):
    """One record of the table. A NamedTuple, because a hundred of them are made each time a table is read.

    `bases` in dwords, cut to 30 bits as the kernel does; `raw_bases` as stored (they differ with 64-bit bases only).
    `version` without the capability bits of VCN, `raw_revision` with them. `nibbles`: the last byte of the record, 0
    before table version 3. `offset` is where the record begins, in bytes from the start of the binary."""

    hw_id: int
    instance: int
    version: Version
    bases: tuple[int, ...]
    harvested: bool = False
    die: int = 0
    offset: int = 0
    raw_revision: int = 0
    nibbles: int = 0
    raw_bases: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return hw_name(self.hw_id)

    @property
    def label(self) -> str:
        """`GC[3]`"""
        return f"{self.name}[{self.instance}]"

    @property
    def version_text(self) -> str:
        """`9.5.0`"""
        return ".".join(map(str, self.version))

    @property
    def variant(self) -> int:
        return self.nibbles >> 4

    @property
    def sub_revision(self) -> int:
        return self.nibbles & 0xF

    @property
    def encode_off(self) -> bool:
        """VCN only: bits 7:6 of the revision are 0b10."""
        return self.hw_id == VCN and self.raw_revision & _VCN_CAPABILITY == 0x80

    @property
    def decode_off(self) -> bool:
        """VCN only: bits 7:6 of the revision are 0b01."""
        return self.hw_id == VCN and self.raw_revision & _VCN_CAPABILITY == 0x40


def _no_values() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GcConfig:
    """The GC table: numbers by the header's names without `gc_` (`num_se`, `num_cu_per_sh`, `lds_size` in KiB)."""

    version: tuple[int, int]
    values: Mapping[str, int] = field(default_factory=_no_values)

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def get(self, name: str) -> int | None:
        """None: this version of the table does not tell."""
        return self.values.get(name)

    @property
    def cu_per_xcc(self) -> int | None:
        """Compute units that one XCC is built with (not: has enabled)."""
        values = self.values
        if "num_cu_per_sh" in values:
            return values["num_se"] * values["num_sh_per_se"] * values["num_cu_per_sh"]
        if "num_wgp0_per_sa" in values:
            per_sa = 2 * (values["num_wgp0_per_sa"] + values["num_wgp1_per_sa"])
            return values["num_se"] * values["num_sa_per_se"] * per_sa
        return None


@dataclass(frozen=True, slots=True)
class VcnFuse:
    """What the fuses took from one VCN instance."""

    instance: int
    bits: int

    @property
    def disabled(self) -> tuple[str, ...]:
        return tuple(codec for bit, codec in enumerate(("AV1", "VP9", "HEVC", "H264")) if self.bits >> bit & 1)


@dataclass(frozen=True, slots=True)
class MallInfo:
    """Size of the memory-attached last-level cache, in bytes for each UMC (table v2) or each m (v1)."""

    version: tuple[int, int]
    size_bytes_each: int
    present_mask: int = 0
    half_use_mask: int = 0


@dataclass(frozen=True, slots=True)
class NpsInfo:
    """Memory partitions. Ranges are (base, limit), both inclusive, as addresses in the hive (node * segment + ...)."""

    nps_type: int
    ranges: tuple[tuple[int, int], ...]


def set_bits(mask: int) -> tuple[int, ...]:
    """Positions of the bits that are set, lowest first: index is the logical instance, value the physical one."""
    return tuple(position for position in range(mask.bit_length()) if mask >> position & 1)


def aid_mask_of(sdma_mask: int) -> int:
    """Which AIDs are there: AID 0 always; another one if its four SDMA bits are all set, or the lower or upper two."""
    mask, aid = 1, 1
    rest = sdma_mask >> SDMA_PER_AID
    while rest:
        if rest & 0xF in (0xF, 0x3, 0xC):
            mask |= 1 << aid
        rest >>= SDMA_PER_AID
        aid += 1
    return mask


@dataclass(frozen=True, slots=True)
class IpMap:
    """Everything a driver takes from the table. `instances` in the order of the table, harvested ones included."""

    instances: tuple[IpInstance, ...]
    num_dies: int = 1
    table_version: int = 0
    gc: GcConfig | None = None
    vcn_fuses: tuple[VcnFuse, ...] = ()
    mall: MallInfo | None = None
    nps: NpsInfo | None = None

    def find(self, name: str | int) -> tuple[IpInstance, ...]:
        """All instances of an IP (also by the names VCN, NBIO, IH, PSP), lowest first, harvested ones included.

        () when there is none; KeyError for a name that no IP has."""
        hw_id = name if isinstance(name, int) else HW_IDS[name]
        return tuple(sorted(ip for ip in self.instances if ip.hw_id == hw_id))

    def active(self, name: str | int) -> tuple[IpInstance, ...]:
        """The instances that are not harvested; the index in it is the logical instance."""
        return tuple(ip for ip in self.find(name) if not ip.harvested)

    def get(self, name: str | int, instance: int = 0) -> IpInstance | None:
        """One physical instance."""
        return next((ip for ip in self.find(name) if ip.instance == instance), None)

    def version_of(self, name: str | int, instance: int = 0) -> Version:
        """Version of an instance; XGMI falls back to WAFLC, as in the kernel. (0, 0, 0): there is none."""
        hw_id = name if isinstance(name, int) else HW_IDS[name]
        found = self.get(hw_id, instance)
        if found is None and hw_id == XGMI:
            found = next(iter(self.find(WAFLC)), None)
        return found.version if found else NO_VERSION

    def mask(self, name: str | int) -> int:
        """Bit n is set when physical instance n is there and not harvested."""
        mask = 0
        for ip in self.active(name):
            mask |= 1 << ip.instance
        return mask

    @property
    def harvested(self) -> tuple[IpInstance, ...]:
        return tuple(ip for ip in self.instances if ip.harvested)

    @property
    def xcc_mask(self) -> int:
        return self.mask(GC)

    @property
    def sdma_mask(self) -> int:
        """All four SDMA ids in one mask, as the kernel has it; harvest entries name SDMA0 only."""
        mask = 0
        for kind in SDMA_KINDS:
            mask |= self.mask(kind)
        return mask

    @property
    def vcn_mask(self) -> int:
        return self.mask(VCN)

    @property
    def aid_mask(self) -> int:
        return aid_mask_of(self.sdma_mask)

    @property
    def aid_count(self) -> int:
        return self.aid_mask.bit_count()

    def physical(self, name: str, logical: int) -> int:
        """Physical instance of a logical one: a map for GC, SDMA0 and VCN, the same number for every other IP.

        IndexError when the GPU has not that many."""
        if HW_IDS[name] not in (GC, SDMA0, VCN):
            return logical
        instances = set_bits(self.mask(name))
        if not 0 <= logical < len(instances):
            raise IndexError(f"{name}[{logical}]: this GPU has {len(instances)} of them")
        return instances[logical]
