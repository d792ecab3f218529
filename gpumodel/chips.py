"""What makes an MI300X an MI300X and an MI350X an MI350X: ids, IP versions, bases, counts, memory, what is fused off.

Source: research/amdgpu-on-model.md ("Register geometry", "MI300X on kernel 7.3.4"): bases and versions that the stock
kernel driver accepted; hardware/amd-discovery.md section 7 (versions), hardware/amd-bringup.md section 1 (PCI ids),
hardware/amd-firmware.md section 7 (firmware versions). No table of a real board was available: see docs/fidelity.md.
Bases and strides in dwords, memory in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gpumodel.discovery import DiscoverySpec, GcInfo, Harvest, IpRecord, NpsInfo, VcnInfo, encode

VENDOR_AMD = 0x1002
GIB = 1 << 30
XCC_STRIDE = 0x10000
AID_STRIDE = 0x20000
AIDS = 4
XCCS = 8
SDMAS = 16
VCNS = 4
UMCS = 16
XGMI_LINKS = 8
SHADER_ENGINES = 4  # per XCC
VRAM_MC_BASE = 0x80_0000_0000  # where the driver's log put VRAM in the accepted geometry (item 12)
HIVE_MOST = 8

# hw_id of an IP by its name, amd-discovery.md section 6.
HW_IDS = {
    "MP1": 1,
    "THM": 3,
    "SMUIO": 4,
    "FUSE": 5,
    "GC": 11,
    "VCN": 12,
    "MMHUB": 34,
    "ATHUB": 35,
    "OSSSYS": 40,
    "HDP": 41,
    "SDMA0": 42,
    "DF": 46,
    "NBIF": 108,
    "UMC": 150,
    "XGMI": 200,
    "MP0": 255,
}

Version = tuple[int, int, int]
Bases = tuple[int, ...]

_MP_BASES = (0x16000, 0xDC0000, 0xE00000, 0xE40000, 0x243FC00)
# Nine segments: the register headers use segment 8 and the driver reads past a shorter record.
_NBIF_BASES = (0, 0x14, 0xD20, 0x10400, 0x241B000, 0x4040000, 0x5000000, 0x5400000, 0x6000000)
_SDMA_BASES = (0x1260, 0x1860, 0x19400, 0x19800)


@dataclass(frozen=True, slots=True)
class Board:
    """What the power management firmware tells of the board: watts, MHz, degrees, GB/s, lanes, Gb/s; clock tables of up
    to four levels, rising."""

    power_limit: int
    idle_power: int
    gfx_clocks: tuple[int, int]  # fine grained between the two
    memory_clocks: tuple[int, ...]
    fabric_clocks: tuple[int, ...]
    soc_clocks: tuple[int, ...]
    video_clocks: tuple[int, ...]
    decoder_clocks: tuple[int, ...]
    link_clocks: tuple[int, ...]
    memory_bandwidth: int
    xgmi_lanes: int
    xgmi_rate: int
    fast_power: tuple[int, int, int] = (0, 0, 0)  # second power limit: smallest, default, largest; 0: has none
    shutdown_die: int = 115
    shutdown_memory: int = 110
    throttle_die: int = 100
    throttle_memory: int = 95
    input_millivolts: int = 54000


@dataclass(frozen=True, slots=True)
class Chip:
    """One part. `inactive_cus`: per shader engine, how many of `cus_per_engine` are fused off in a GPU."""

    name: str  # as written in an address: mi300x
    product: str
    device_id: int
    vram_size: int
    versions: tuple[tuple[str, Version], ...]
    cus_per_engine: int
    inactive_cus: tuple[int, ...]
    lds_kib: int
    sos_version: int
    pmfw_version: int
    bdfs: tuple[str, ...]
    board: Board
    has_vbios: bool = False  # in an expansion ROM; boards in virtual machines come without

    def version(self, ip: str) -> Version:
        return dict(self.versions)[ip]

    @property
    def isa(self) -> str:
        """Whose instructions its shaders run, as LLVM names them."""
        return {(9, 4, 3): "gfx942", (9, 5, 0): "gfx950"}[self.version("GC")[:3]]

    @property
    def compute_units(self) -> int:
        return XCCS * (SHADER_ENGINES * self.cus_per_engine - sum(self.inactive_cus))

    def bases(self, ip: str) -> tuple[Bases, ...]:
        """Register bases of every instance of an IP, by segment."""
        return _bases()[ip]

    def serial(self, index: int) -> int:
        """64-bit serial number of the GPU at that place of the hive. # guess: the layout of real ones is not public"""
        return self.device_id << 48 | 0x26 << 40 | (0x51_0000 + 0x0101 * index)

    def inactive_cu_mask(self, index: int, xcc: int, engine: int) -> int:
        """Which CUs of one shader engine are fused off: differs by GPU, the number of active ones does not."""
        count = self.inactive_cus[engine]
        first = (3 * index + 5 * xcc + 2 * engine) % self.cus_per_engine
        return sum(1 << (first + step) % self.cus_per_engine for step in range(count))

    def harvested(self, index: int) -> tuple[tuple[int, int], ...]:
        """Harvest entries of the discovery table as (hw_id, instance). # guess: two places of eight lack one decoder"""
        broken_decoder = {3: 1, 6: 3}.get(index)
        return () if broken_decoder is None else ((HW_IDS["VCN"], broken_decoder),)


@lru_cache(maxsize=1)
def _bases() -> dict[str, tuple[Bases, ...]]:
    return {
        "MP0": (_MP_BASES,) * AIDS,
        "MP1": (_MP_BASES,) * AIDS,
        "THM": ((0x16600, 0x2400C00),),
        # IP_DISCOVERY_VERSION is segment 2 offset 0 (smuio_13_0_3) and lies at 0x16A00 (amdgpu_discovery.c): so segment 2
        # starts there. Segments 0, 1 and 3: guess, the accepted geometry moved up by one.
        "SMUIO": ((0x2401000, 0x16800, 0x16A00, 0x440000),),
        "FUSE": ((0x17400, 0x2401400),),
        "NBIF": (_NBIF_BASES,) * AIDS,  # one per AID: the driver walks four
        "DF": ((0x7000, 0x240B800),),
        "HDP": ((0xF20, 0x240A400),),
        "OSSSYS": ((0x10A0, 0x240A000),),
        "MMHUB": tuple((0x18000 + aid * AID_STRIDE, 0x2408800 + aid * 0x100000) for aid in range(AIDS)),
        "ATHUB": ((0xC20, 0x2408C00),),
        "GC": tuple((0x2000 + i * XCC_STRIDE, 0xA000 + i * XCC_STRIDE, 0x2402C00 + i * 0x400) for i in range(XCCS)),
        "SDMA0": tuple((_SDMA_BASES[i % 4] + i // 4 * AID_STRIDE,) for i in range(SDMAS)),
        "VCN": tuple((0x7800 + aid * AID_STRIDE, 0x7E00 + aid * AID_STRIDE, 0x2403000) for aid in range(VCNS)),
        "UMC": ((0x14000, 0x2425800),) * UMCS,
        "XGMI": ((0x1AB00,),) * XGMI_LINKS,
    }


MI300X = Chip(
    name="mi300x",
    product="AMD Instinct MI300X",
    device_id=0x74A1,
    vram_size=192 * GIB,
    versions=(
        ("MP0", (13, 0, 6)),
        ("MP1", (13, 0, 6)),
        ("THM", (13, 0, 6)),
        ("SMUIO", (13, 0, 3)),
        ("FUSE", (13, 0, 2)),
        ("NBIF", (7, 9, 0)),
        ("DF", (4, 6, 2)),
        ("HDP", (4, 4, 2)),
        ("OSSSYS", (4, 4, 2)),
        ("MMHUB", (1, 8, 0)),
        ("ATHUB", (1, 8, 0)),
        ("GC", (9, 4, 3)),
        ("SDMA0", (4, 4, 2)),
        ("VCN", (4, 0, 3)),
        ("UMC", (12, 0, 0)),
        ("XGMI", (6, 4, 0)),
    ),
    cus_per_engine=10,  # 40 CUs on the die, 38 in use: 304 in eight XCCs
    inactive_cus=(1, 0, 1, 0),
    lds_kib=64,
    sos_version=0x00360260,
    pmfw_version=0x00557900,
    bdfs=(
        "0000:05:00.0",
        "0000:26:00.0",
        "0000:46:00.0",
        "0000:65:00.0",
        "0000:85:00.0",
        "0000:a6:00.0",
        "0000:c6:00.0",
        "0000:e5:00.0",
    ),
    # Power, top clocks, bandwidth: the product's data sheet. guess: the clocks below the top, the temperatures
    board=Board(
        power_limit=750,
        idle_power=140,
        gfx_clocks=(132, 2100),
        memory_clocks=(900, 1100, 1200, 1300),
        fabric_clocks=(1200, 1500, 1800, 2100),
        soc_clocks=(1000, 1100, 1200, 1300),
        video_clocks=(914, 1143, 1371, 1600),
        decoder_clocks=(711, 889, 1067, 1333),
        link_clocks=(600, 800, 1000, 1200),
        memory_bandwidth=5300,
        xgmi_lanes=16,
        xgmi_rate=32,
    ),
)

MI350X = Chip(
    name="mi350x",
    product="AMD Instinct MI350X",
    device_id=0x75A0,
    vram_size=288 * GIB,
    versions=(
        ("MP0", (13, 0, 12)),
        ("MP1", (13, 0, 12)),
        ("THM", (13, 0, 6)),
        ("SMUIO", (13, 0, 3)),
        ("FUSE", (13, 0, 2)),
        ("NBIF", (7, 9, 1)),
        ("DF", (4, 15, 0)),
        ("HDP", (4, 4, 5)),
        ("OSSSYS", (4, 4, 2)),  # guess, the kernel takes 4.4.5 too: tinygrad, made for boards, fails with that
        ("MMHUB", (1, 8, 1)),
        ("ATHUB", (1, 8, 1)),
        ("GC", (9, 5, 0)),
        ("SDMA0", (4, 4, 4)),
        ("VCN", (5, 0, 1)),
        ("UMC", (12, 5, 0)),
        ("XGMI", (6, 4, 1)),
    ),
    cus_per_engine=9,  # 36 CUs on the die, 32 in use: 256 in eight XCCs
    inactive_cus=(1, 1, 1, 1),
    lds_kib=160,
    sos_version=0x0045002F,
    pmfw_version=0x04561000,
    bdfs=(
        "0000:05:00.0",
        "0000:15:00.0",
        "0000:65:00.0",
        "0000:75:00.0",
        "0000:85:00.0",
        "0000:95:00.0",
        "0000:e5:00.0",
        "0000:f5:00.0",
    ),
    board=Board(
        power_limit=1000,
        idle_power=170,
        gfx_clocks=(132, 2200),
        memory_clocks=(900, 1300, 1700, 2000),
        fabric_clocks=(1200, 1500, 1800, 2100),
        soc_clocks=(1000, 1100, 1200, 1300),
        video_clocks=(914, 1143, 1371, 1600),
        decoder_clocks=(711, 889, 1067, 1333),
        link_clocks=(600, 800, 1000, 1200),
        memory_bandwidth=8000,
        xgmi_lanes=16,
        xgmi_rate=36,  # item 55
        fast_power=(500, 1100, 1200),
    ),
)

CHIPS = {chip.name: chip for chip in (MI300X, MI350X)}


def _gc_info(chip: Chip) -> GcInfo:
    """GC table 2.1; caches and depths as in the accepted geometry, the LDS size is the product's."""
    words = (
        SHADER_ENGINES,
        chip.cus_per_engine,  # num_cu_per_sh
        1,  # num_sh_per_se
        4,  # num_rb_per_se
        16,  # num_tccs
        256,  # num_gprs
        32,  # num_max_gs_thds
        32,  # gs_table_depth
        1792,  # gsprim_buff_depth
        0,  # parameter_cache_depth
        0,  # double_offchip_lds_buffer
        64,  # wave_size
        8,  # max_waves_per_simd
        32,  # max_scratch_slots_per_cu
        chip.lds_kib,
        1,  # num_sc_per_se
        4,  # num_packer_per_sc
        chip.cus_per_engine,  # num_tcp_per_sh
        32,  # tcp_size_per_cu
        2,  # num_sdp_interface
        2,  # num_cu_per_sqc
        64,  # instruction_cache_size_per_sqc
        16,  # scalar_data_cache_size_per_sqc
        4096,  # tcc_size
    )
    return GcInfo(2, 1, words)


def discovery_spec(chip: Chip, index: int, nodes: int) -> DiscoverySpec:
    """What boot firmware of the GPU at place `index` in a hive of `nodes` writes.

    The NPS range holds hive addresses (item 74): node * segment and up."""
    records = tuple(
        IpRecord(HW_IDS[ip], instance, *version, bases)
        for ip, version in chip.versions
        for instance, bases in enumerate(chip.bases(ip))
    )
    base = index * chip.vram_size if nodes > 1 else 0
    return DiscoverySpec(
        dies=(records,),
        gc=_gc_info(chip),
        harvest=Harvest(chip.harvested(index)),
        vcn=VcnInfo(tuple((instance, 0) for instance in range(VCNS))),
        nps=NpsInfo(1, ((base, base + chip.vram_size - 1),)),
    )


@lru_cache(maxsize=64)
def discovery_table(chip: Chip, index: int, nodes: int) -> bytes:
    """The binary itself; made once per chip and place."""
    return encode(discovery_spec(chip, index, nodes))
