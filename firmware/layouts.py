"""Header layouts by kind and version, and the kind by file name: the header does not tell what it is a header of.

Source: Linux v7.3 amdgpu_ucode.h (checked against it by tests/unit/test_firmware_layouts.py). Every field is a
little-endian u32 unless the layout says otherwise; layouts start at 0x20, after the common header."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

COMMON = struct.Struct("<IIHHHHIIII")
COMMON_BYTES = COMMON.size
SMALLEST_FILE_BYTES = 0x100  # the kernel's union of all headers
MAX_PACKED = 26  # UCODE_MAX_PSP_PACKAGING: the kernel refuses this many packed components and more


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of one header version after the common header."""

    names: tuple[str, ...] = ()
    code: str = "I"

    @property
    def size_bytes(self) -> int:
        """Size of the whole header, common part included."""
        return COMMON_BYTES + struct.calcsize(f"<{len(self.names)}{self.code}")

    def read(self, data: bytes) -> Mapping[str, int]:
        """Field values by name. `data` must hold at least `size_bytes` bytes."""
        values = struct.unpack_from(f"<{len(self.names)}{self.code}", data, COMMON_BYTES)
        return MappingProxyType(dict(zip(self.names, values, strict=True)))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _legacy(*parts: str) -> tuple[str, ...]:
    return tuple(f"{part}_{word}" for part in parts for word in ("fw_version", "offset_bytes", "size_bytes"))


def _sized(*parts: str) -> tuple[str, ...]:
    return tuple(f"{part}_{word}_bytes" for part in parts for word in ("size", "offset"))


_PSP_1_0 = _legacy("sos")
_PSP_1_1 = _PSP_1_0 + _legacy("toc", "kdb")
_RLC_2_0 = _names(
    "ucode_feature_version jt_offset jt_size save_and_restore_offset clear_state_descriptor_offset"
    " avail_scratch_ram_locations reg_restore_list_size reg_list_format_start reg_list_format_separate_start"
    " starting_offsets_start reg_list_format_size_bytes reg_list_format_array_offset_bytes reg_list_size_bytes"
    " reg_list_array_offset_bytes reg_list_format_separate_size_bytes reg_list_format_separate_array_offset_bytes"
    " reg_list_separate_size_bytes reg_list_separate_array_offset_bytes"
)
_LISTS = ("save_restore_list_cntl", "save_restore_list_gpm", "save_restore_list_srm")
_RLC_2_1 = (
    *_RLC_2_0,
    "reg_list_format_direct_reg_list_length",
    *(f"{name}_{word}" for name in _LISTS for word in ("ucode_ver", "feature_ver", "size_bytes", "offset_bytes")),
)
_RLC_2_2 = _RLC_2_1 + _sized("rlc_iram_ucode", "rlc_dram_ucode")
_RLC_2_3 = _RLC_2_2 + tuple(
    f"{core}_ucode_{word}"
    for core in ("rlcp", "rlcv")
    for word in ("version", "feature_version", "size_bytes", "offset_bytes")
)
_TAPS = ("global", "se0", "se1", "se2", "se3")
_RLC_2_4 = _RLC_2_3 + _sized(*(f"{where}_tap_delays_ucode" for where in _TAPS))
_RLC_2_5 = _RLC_2_2 + _sized("rlc_1_iram_ucode", "rlc_1_dram_ucode")
_SDMA_1_0 = _names("ucode_feature_version ucode_change_version jt_offset jt_size")
_TWO_THREADS = _names(
    "ucode_feature_version ctx_ucode_size_bytes ctx_jt_offset ctx_jt_size"
    " ctl_ucode_offset ctl_ucode_size_bytes ctl_jt_offset ctl_jt_size"
)
_MES = _names("ucode_version ucode_size_bytes ucode_offset_bytes")
_MES += tuple(f"ucode_data_{name.removeprefix('ucode_')}" for name in _MES)

LAYOUTS: Mapping[tuple[str, int, int], Layout] = MappingProxyType(
    {
        ("common", 1, 0): Layout(),
        ("psp", 1, 0): Layout(_PSP_1_0),
        ("psp", 1, 1): Layout(_PSP_1_1),
        ("psp", 1, 2): Layout(_PSP_1_0 + _legacy("res", "kdb")),
        ("psp", 1, 3): Layout(_PSP_1_1 + _legacy("spl", "rl", "sys_drv_aux", "sos_aux")),
        ("psp", 2, 0): Layout(("psp_fw_bin_count",)),
        ("psp", 2, 1): Layout(("psp_fw_bin_count", "psp_aux_fw_bin_index")),
        ("ta", 1, 0): Layout(_legacy("xgmi", "ras", "hdcp", "dtm", "securedisplay")),
        ("ta", 2, 0): Layout(("ta_fw_bin_count",)),
        ("gfx", 1, 0): Layout(_names("ucode_feature_version jt_offset jt_size")),
        ("gfx", 2, 0): Layout(
            _names(
                "ucode_feature_version ucode_size_bytes ucode_offset_bytes data_size_bytes data_offset_bytes"
                " ucode_start_addr_lo ucode_start_addr_hi"
            )
        ),
        ("mes", 1, 0): Layout(
            tuple(f"mes_{name}" for name in _MES)
            + _names("mes_uc_start_addr_lo mes_uc_start_addr_hi mes_data_start_addr_lo mes_data_start_addr_hi")
        ),
        ("rlc", 1, 0): Layout(
            _names(
                "ucode_feature_version save_and_restore_offset clear_state_descriptor_offset"
                " avail_scratch_ram_locations master_pkt_description_offset"
            )
        ),
        ("rlc", 2, 0): Layout(_RLC_2_0),
        ("rlc", 2, 1): Layout(_RLC_2_1),
        ("rlc", 2, 2): Layout(_RLC_2_2),
        ("rlc", 2, 3): Layout(_RLC_2_3),
        ("rlc", 2, 4): Layout(_RLC_2_4),
        ("rlc", 2, 5): Layout(_RLC_2_5),
        ("sdma", 1, 0): Layout(_SDMA_1_0),
        ("sdma", 1, 1): Layout((*_SDMA_1_0, "digest_size")),
        ("sdma", 2, 0): Layout(_TWO_THREADS),
        ("sdma", 3, 0): Layout(_names("ucode_feature_version ucode_offset_bytes ucode_size_bytes")),
        ("vpe", 1, 0): Layout(_TWO_THREADS),
        ("umsch_mm", 1, 0): Layout(
            tuple(f"umsch_mm_{name}" for name in _MES)
            + tuple(f"umsch_mm_{name}_start_addr_{half}" for name in ("irq", "uc", "data") for half in ("lo", "hi"))
        ),
        ("smc", 1, 0): Layout(("ucode_start_addr",)),
        ("smc", 2, 0): Layout(_names("ucode_start_addr ppt_offset_bytes ppt_size_bytes")),
        ("smc", 2, 1): Layout(_names("ucode_start_addr pptable_count pptable_entry_offset")),
        ("mc", 1, 0): Layout(_names("io_debug_size_bytes io_debug_array_offset_bytes")),
        ("imu", 1, 0): Layout(_sized("imu_iram_ucode", "imu_dram_ucode")),
        ("gpu_info", 1, 0): Layout(("version_major", "version_minor"), code="H"),
        ("dmcu", 1, 0): Layout(_names("intv_offset_bytes intv_size_bytes")),
        ("dmcub", 1, 0): Layout(_names("inst_const_bytes bss_data_bytes")),
    }
)

# kind of file: the family of its header
FAMILIES: Mapping[str, str] = MappingProxyType(
    {kind: kind for kind in ("ta", "mes", "rlc", "sdma", "vpe", "umsch_mm", "mc", "imu", "gpu_info", "dmcu", "dmcub")}
    | dict.fromkeys(("sos", "asd", "toc"), "psp")
    | dict.fromkeys(("mec", "pfp", "me", "ce"), "gfx")
    | dict.fromkeys(("vcn", "uvd", "vce", "isp"), "common")
    | {"smu": "smc"}
)

DISCOVERY = "discovery"
UNKNOWN = "unknown"

_WORDS: Mapping[str, str] = MappingProxyType(
    {kind: kind for kind in FAMILIES}
    | {"smc": "smu", "mec2": "mec", "sdma1": "sdma", "mes1": "mes", "info": "gpu_info", "mm": "umsch_mm"}
)
_COMPRESSED = (".zst", ".xz")
_VERSION = re.compile(r"[a-z]+_(\d+)_(\d+)_(\d+)(?:_|\Z)")


def plain_name(name: str) -> str:
    """`psp_13_0_6_sos.bin` for `psp_13_0_6_sos.bin.zst`."""
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name


def kind_of(name: str) -> str:
    """The kind that a file name stands for (`psp_13_0_6_sos.bin`: sos), or `unknown`; ip_discovery blobs: `discovery`.

    The last word that names a kind decides; words after it mark board variants (`_kicker`, `_wks`, `_2`)."""
    stem = plain_name(name).removesuffix(".bin")
    if stem.endswith("ip_discovery"):
        return DISCOVERY
    for word in reversed(stem.split("_")):
        if word in _WORDS:
            return _WORDS[word]
    return UNKNOWN


def ip_version_of(name: str) -> tuple[int, int] | None:
    """Major and minor of the IP as the header should tell them, from names such as `gc_9_4_3_mec.bin`; else None."""
    stem = plain_name(name).removesuffix(".bin")
    if stem == "vcn_5_0_1":
        return (5, 1)  # magic: from the file itself; the header says 5.1 for IP 5.0.1, meaning unknown
    match = _VERSION.match(stem)
    return (int(match[1]), int(match[2])) if match else None
