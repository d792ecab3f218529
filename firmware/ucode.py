"""Parts of the firmware files that are not the PSP's own: GFX, MES, RLC, SDMA, SMU, IMU, VCN and older ones.

Source: Linux v7.3 amdgpu_ucode.c (amdgpu_ucode_init_single_fw: where each part lies and how large it is), amdgpu_rlc.c,
smu_v13_0_6_ppt.c (P2S tables). RLC lists, SMU tables and the second SDMA thread count from the start of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from base.errors import InvalidData, UsageError
from firmware import psp
from firmware.gfx_types import GfxFwType as Gfx
from firmware.model import Entry, FirmwareFile
from firmware.reading import Reading, span

SMU_ENTRY_BYTES = 12
MOST_SMU_ENTRIES = 64  # the files hold up to a dozen
P2S_APU = 0x50325341  # "P2SA"
P2S_DISCRETE = 0x50325358  # "P2SX"
P2S_DISCRETE_5 = 0x50325303  # discrete with a PCI device id that ends in 5 (0x74a5, MI325X)

_RS64 = MappingProxyType(
    {
        "pfp": (Gfx.RS64_PFP, Gfx.RS64_PFP_P0_STACK),
        "me": (Gfx.RS64_ME, Gfx.RS64_ME_P0_STACK),
        "mec": (Gfx.RS64_MEC, Gfx.RS64_MEC_P0_STACK),
    }
)
_CP = MappingProxyType({"pfp": Gfx.CP_PFP, "me": Gfx.CP_ME, "ce": Gfx.CP_CE, "mec": Gfx.CP_MEC})

# name, type, field of the size, field of the offset, field of the version or ""
_RLC_PARTS = (
    ("REG_LIST_FORMAT", Gfx.NONE, "reg_list_format_size_bytes", "reg_list_format_array_offset_bytes", ""),
    ("REG_LIST", Gfx.NONE, "reg_list_size_bytes", "reg_list_array_offset_bytes", ""),
    (
        "REG_LIST_FORMAT_SEPARATE",
        Gfx.NONE,
        "reg_list_format_separate_size_bytes",
        "reg_list_format_separate_array_offset_bytes",
        "",
    ),
    ("REG_LIST_SEPARATE", Gfx.NONE, "reg_list_separate_size_bytes", "reg_list_separate_array_offset_bytes", ""),
    *(
        (name, kind, f"{field}_size_bytes", f"{field}_offset_bytes", f"{field}_{version}" if version else "")
        for name, kind, field, version in (
            ("RLC_CNTL", Gfx.RLC_RESTORE_LIST_SRM_CNTL, "save_restore_list_cntl", "ucode_ver"),
            ("RLC_GPM", Gfx.RLC_RESTORE_LIST_GPM_MEM, "save_restore_list_gpm", "ucode_ver"),
            ("RLC_SRM", Gfx.RLC_RESTORE_LIST_SRM_MEM, "save_restore_list_srm", "ucode_ver"),
            ("RLC_IRAM", Gfx.RLC_IRAM, "rlc_iram_ucode", ""),
            ("RLC_DRAM", Gfx.RLC_DRAM_BOOT, "rlc_dram_ucode", ""),
            ("RLC_P", Gfx.RLC_P, "rlcp_ucode", "version"),
            ("RLC_V", Gfx.RLC_V, "rlcv_ucode", "version"),
            ("GLOBAL_TAP_DELAYS", Gfx.GLOBAL_TAP_DELAYS, "global_tap_delays_ucode", ""),
            ("SE0_TAP_DELAYS", Gfx.SE0_TAP_DELAYS, "se0_tap_delays_ucode", ""),
            ("SE1_TAP_DELAYS", Gfx.SE1_TAP_DELAYS, "se1_tap_delays_ucode", ""),
            ("SE2_TAP_DELAYS", Gfx.SE2_TAP_DELAYS, "se2_tap_delays_ucode", ""),
            ("SE3_TAP_DELAYS", Gfx.SE3_TAP_DELAYS, "se3_tap_delays_ucode", ""),
            ("RLC_IRAM_1", Gfx.RLX6_UCODE_CORE1, "rlc_1_iram_ucode", ""),
            ("RLC_DRAM_1", Gfx.RLX6_DRAM_BOOT_CORE1, "rlc_1_dram_ucode", ""),
        )
    ),
)


def _single(type_id: Gfx, name: str) -> Callable[[Reading], list[Entry]]:
    return lambda reading: reading.whole(type_id, name)


def _gfx(reading: Reading) -> list[Entry]:
    if reading.header.header_version[0] == 2:
        return _rs64(reading)
    if reading.kind != "mec" or not reading.fields["jt_size"]:
        return reading.whole(_CP[reading.kind], reading.kind.upper())
    return _mec(reading)


def _mec(reading: Reading) -> list[Entry]:
    """MEC code, and its jump table behind it: the PSP takes each by itself."""
    header, fields = reading.header, reading.fields
    table_bytes = fields["jt_size"] * 4
    table_offset = fields["jt_offset"] * 4
    if table_offset + table_bytes > header.ucode_bytes:
        reading.error(
            "bounds",
            "the jump table ends behind the ucode",
            expected=f"(jt_offset + jt_size) x 4 <= {header.ucode_bytes:#x}",
            seen=f"{table_offset + table_bytes:#x}",
            where=span(0x24, 0x2C),
        )
        return []
    second = "mec2" in reading.name
    version = header.ucode_version
    return [
        Entry(Gfx.CP_MEC, "MEC", version, header.array_offset, header.ucode_bytes - table_bytes),
        Entry(
            Gfx.CP_MEC_ME2 if second else Gfx.CP_MEC_ME1,
            "MEC_JT",
            version,
            header.array_offset + table_offset,
            table_bytes,
        ),
    ]


def _rs64(reading: Reading) -> list[Entry]:
    fields = reading.fields
    code, stack = _RS64.get(reading.kind, (Gfx.NONE, Gfx.NONE))
    name = reading.kind.upper()
    version = reading.header.ucode_version
    return [
        Entry(code, name, version, reading.header.array_offset, fields["ucode_size_bytes"]),
        Entry(stack, f"{name}_DATA", version, fields["data_offset_bytes"], fields["data_size_bytes"]),
    ]


def _two_part(prefix: str, name: str, code: Gfx, data: Gfx) -> Callable[[Reading], list[Entry]]:
    """MES and UMSCH: instructions and data, each with its own version, measured from the start of the file."""

    def decode(reading: Reading) -> list[Entry]:
        fields = reading.fields
        kiq = "mes1" in reading.name
        rows = (
            ("ucode", Gfx.CP_MES_KIQ if kiq else code, name),
            ("ucode_data", Gfx.MES_KIQ_STACK if kiq else data, f"{name}_DATA"),
        )
        return [
            Entry(
                kind,
                label,
                fields[f"{prefix}_{part}_version"],
                fields[f"{prefix}_{part}_offset_bytes"],
                fields[f"{prefix}_{part}_size_bytes"],
            )
            for part, kind, label in rows
        ]

    return decode


def _rlc(reading: Reading) -> list[Entry]:
    fields = reading.fields
    entries = reading.whole(Gfx.RLC_G, "RLC_G")
    for name, kind, size, offset, version in _RLC_PARTS:
        if fields.get(size):
            entries.append(Entry(kind, name, fields[version] if version else None, fields[offset], fields[size]))
    return entries


def _threads(first: Gfx, second: Gfx, name: str) -> Callable[[Reading], list[Entry]]:
    def decode(reading: Reading) -> list[Entry]:
        fields, version = reading.fields, reading.header.ucode_version
        return [
            Entry(first, f"{name}_CTX", version, reading.header.array_offset, fields["ctx_ucode_size_bytes"]),
            Entry(second, f"{name}_CTL", version, fields["ctl_ucode_offset"], fields["ctl_ucode_size_bytes"]),
        ]

    return decode


def _sdma(reading: Reading) -> list[Entry]:
    major = reading.header.header_version[0]
    if major == 2:
        return _threads(Gfx.SDMA_UCODE_TH0, Gfx.SDMA_UCODE_TH1, "SDMA")(reading)
    if major == 3:
        header = reading.header
        size = reading.fields["ucode_size_bytes"]
        return [Entry(Gfx.SDMA_UCODE_TH0, "SDMA", header.ucode_version, header.array_offset, size)]
    _check_sdma_table(reading)
    return reading.whole(Gfx.SDMA1 if "sdma1" in reading.name else Gfx.SDMA0, "SDMA")


def _check_sdma_table(reading: Reading) -> None:
    end = (reading.fields["jt_offset"] + reading.fields["jt_size"]) * 4
    if end > reading.header.ucode_bytes:
        reading.strict_error(
            "bounds",
            "the jump table ends behind the ucode",
            expected=f"(jt_offset + jt_size) x 4 <= {reading.header.ucode_bytes:#x}",
            seen=f"{end:#x}",
            where=span(0x28, 0x30),
        )


def _smu(reading: Reading) -> list[Entry]:
    entries = reading.whole(Gfx.SMU, "SMU") if reading.header.ucode_bytes else []
    minor = reading.header.header_version[1]
    if reading.header.header_version[0] == 1:
        return entries
    if minor == 0:
        fields = reading.fields
        if fields["ppt_size_bytes"]:
            entries.append(Entry(Gfx.PPTABLE, "PPTABLE", None, fields["ppt_offset_bytes"], fields["ppt_size_bytes"]))
        return entries
    return entries + _smu_tables(reading)


def _smu_tables(reading: Reading) -> list[Entry]:
    count, start = reading.fields["pptable_count"], reading.fields["pptable_entry_offset"]
    if count == 0 and not reading.strict:
        return []
    if not 0 < count <= MOST_SMU_ENTRIES:
        reading.error(
            "entry",
            "number of tables outside the limits",
            expected=f"1..{MOST_SMU_ENTRIES}",
            seen=str(count),
            where=span(0x24, 0x28),
        )
        return []
    end = start + count * SMU_ENTRY_BYTES
    if start < reading.header.header_bytes or end > reading.size:
        reading.error(
            "bounds",
            "the list of tables lies outside the file",
            expected=f"inside {span(reading.header.header_bytes, reading.size)}",
            seen=span(start, end),
            where=span(0x28, 0x2C),
        )
        return []
    return _smu_entries(reading, start, count)


def _smu_entries(reading: Reading, start: int, count: int) -> list[Entry]:
    entries = []
    for index in range(count):
        table_id, offset, size = reading.u32(start + index * SMU_ENTRY_BYTES, 3)
        entries.append(Entry(table_id, table_name(table_id), None, offset, size))
    ids = [entry.type_id for entry in entries]
    if len(set(ids)) != len(ids):
        reading.strict_error("entry", "the same table id more than once", expected="each id once", seen=_hex(ids))
    if reading.strict and P2S_DISCRETE not in ids:
        reading.error(
            "entry", "the table of discrete GPUs is missing", expected=f"id {P2S_DISCRETE:#x}", seen=_hex(ids)
        )
    return entries


def _hex(numbers: list[int]) -> str:
    return ", ".join(f"{number:#x}" for number in numbers)


def table_name(table_id: int) -> str:
    """`P2SX` for 0x50325358; ids that do not spell a word are written as hex."""
    if table_id in (P2S_APU, P2S_DISCRETE):
        return table_id.to_bytes(4, "big").decode("ascii")
    return "P2S3" if table_id == P2S_DISCRETE_5 else f"TABLE_{table_id:#x}"


def select_p2s(file: FirmwareFile, pci_device_id: int, *, is_apu: bool) -> Entry:
    """The P2S table for this GPU out of smu_13_0_6.bin or smu_13_0_14.bin (MP1 13.0.12 has none).

    Raises UsageError when this is not an SMU file, InvalidData when the file has an error or lacks the table."""
    if file.kind != "smu":
        raise UsageError(f"choosing the P2S table of {file.name}", expected="an SMU file", seen=f"kind {file.kind}")
    file.require_ok()
    wanted = P2S_APU if is_apu else P2S_DISCRETE_5 if pci_device_id & 0xF == 5 else P2S_DISCRETE
    for entry in file.entries:
        if entry.type_id == wanted:
            return entry
    raise InvalidData(
        f"choosing the P2S table of {file.name}",
        expected=f"table {wanted:#x}",
        seen=_hex([entry.type_id for entry in file.entries]) or "no table",
        where=file.name,
    )


def _imu(reading: Reading) -> list[Entry]:
    # The data part follows the instructions, whatever its offset field says (the kernel does not read it).
    array, fields = reading.header.array_offset, reading.fields
    instructions, data = fields["imu_iram_ucode_size_bytes"], fields["imu_dram_ucode_size_bytes"]
    version = reading.header.ucode_version
    return [
        Entry(Gfx.IMU_I, "IMU_I", version, array, instructions),
        Entry(Gfx.IMU_D, "IMU_D", version, array + instructions, data),
    ]


def _dmcu(reading: Reading) -> list[Entry]:
    header, fields = reading.header, reading.fields
    vectors = fields["intv_size_bytes"]
    if vectors > header.ucode_bytes:
        reading.error(
            "bounds",
            "interrupt vectors are larger than the ucode",
            expected=f"<= {header.ucode_bytes}",
            seen=str(vectors),
        )
        return []
    version = header.ucode_version
    return [
        Entry(Gfx.DMCU_ERAM, "DMCU_ERAM", version, header.array_offset, header.ucode_bytes - vectors),
        Entry(Gfx.DMCU_ISR, "DMCU_INTV", version, header.array_offset + fields["intv_offset_bytes"], vectors),
    ]


def _dmcub(reading: Reading) -> list[Entry]:
    header = reading.header
    return [Entry(Gfx.DMUB, "DMCUB", header.ucode_version, header.array_offset, reading.fields["inst_const_bytes"])]


def _mc(reading: Reading) -> list[Entry]:
    fields = reading.fields
    entries = reading.whole(Gfx.NONE, "MC")
    if fields["io_debug_size_bytes"]:
        offset = fields["io_debug_array_offset_bytes"]
        entries.append(Entry(Gfx.NONE, "MC_IO_DEBUG", None, offset, fields["io_debug_size_bytes"]))
    return entries


DECODERS: Mapping[str, Callable[[Reading], list[Entry]]] = MappingProxyType(
    {
        "sos": psp.sos,
        "ta": psp.ta,
        "asd": _single(Gfx.NONE, "ASD"),
        "toc": _single(Gfx.TOC, "TOC"),
        "mec": _gfx,
        "pfp": _gfx,
        "me": _gfx,
        "ce": _gfx,
        "mes": _two_part("mes", "MES", Gfx.CP_MES, Gfx.MES_STACK),
        "umsch_mm": _two_part("umsch_mm", "UMSCH_MM", Gfx.UMSCH_UCODE, Gfx.UMSCH_DATA),
        "rlc": _rlc,
        "sdma": _sdma,
        "vpe": _threads(Gfx.VPEC_FW1, Gfx.VPEC_FW2, "VPE"),
        "smu": _smu,
        "imu": _imu,
        "vcn": _single(Gfx.VCN, "VCN"),
        "uvd": _single(Gfx.UVD, "UVD"),
        "vce": _single(Gfx.VCE, "VCE"),
        "isp": _single(Gfx.ISP, "ISP"),
        "mc": _mc,
        "gpu_info": _single(Gfx.NONE, "GPU_INFO"),
        "dmcu": _dmcu,
        "dmcub": _dmcub,
    }
)
