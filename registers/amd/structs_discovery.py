"""The IP discovery binary. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/discovery.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum

from registers.structs import Packed, PackedUnion, each, u8, u16, u32, u64

BINARY_SIGNATURE = 0x28211407
DISCOVERY_TABLE_SIGNATURE = 0x53445049
HARVEST_TABLE_SIGNATURE = 0x56524148
GC_TABLE_ID = 0x4347
VCN_INFO_TABLE_ID = 0x4e4356
MALL_INFO_TABLE_ID = 0x4c4c414d
NPS_INFO_TABLE_ID = 0x53504e
VCN_INFO_TABLE_MAX_NUM_INSTANCES = 0x4
NPS_INFO_TABLE_MAX_NUM_INSTANCES = 0xc
PSP_HEADER_SIZE = 0x100


class table(IntEnum):
    IP_DISCOVERY = 0
    GC = 1
    HARVEST_INFO = 2
    VCN_INFO = 3
    MALL_INFO = 4
    NPS_INFO = 5
    TOTAL_TABLES = 6


class table_info(Packed):
    _fields_ = [
        *each(u16, "offset checksum size padding"),
    ]


class binary_header(Packed):
    _fields_ = [
        ("binary_signature", u32),
        *each(u16, "version_major version_minor binary_checksum binary_size"),
        ("table_list", table_info * 6),
    ]


class binary_header_v2(Packed):
    _fields_ = [
        ("binary_signature", u32),
        *each(u16, "version_major version_minor binary_checksum binary_size num_tables padding"),
        ("table_list", table_info * 0),
    ]


class die_info(Packed):
    _fields_ = [
        ("die_id", u16),
        ("die_offset", u16),
    ]


class ip_discovery_header_u6_u1(Packed):
    _fields_ = [
        ("base_addr_64_bit", u8, 1),
        ("reserved", u8, 7),
        ("reserved2", u8),
    ]


class ip_discovery_header_u6(PackedUnion):
    _anonymous_ = ('u1',)
    _fields_ = [
        ("padding", u16 * 1),
        ("u1", ip_discovery_header_u6_u1),
    ]


class ip_discovery_header(Packed):
    _anonymous_ = ('u6',)
    _fields_ = [
        ("signature", u32),
        ("version", u16),
        ("size", u16),
        ("id", u32),
        ("num_dies", u16),
        ("die_info", die_info * 16),
        ("u6", ip_discovery_header_u6),
    ]


class ip(Packed):
    _fields_ = [
        ("hw_id", u16),
        *each(u8, "number_instance num_base_address major minor revision"),
        ("harvest", u8, 4),
        ("reserved", u8, 4),
        ("base_address", u32 * 0),
    ]


class ip_v3(Packed):
    _fields_ = [
        ("hw_id", u16),
        *each(u8, "instance_number num_base_address major minor revision"),
        ("sub_revision", u8, 4),
        ("variant", u8, 4),
        ("base_address", u32 * 0),
    ]


class ip_v4_u8(PackedUnion):
    _fields_ = [
        ("base_address", u32 * 0),
        ("base_address_64", u64 * 0),
    ]


class ip_v4(Packed):
    _anonymous_ = ('u8',)
    _fields_ = [
        ("hw_id", u16),
        *each(u8, "instance_number num_base_address major minor revision"),
        ("sub_revision", u8, 4),
        ("variant", u8, 4),
        ("u8", ip_v4_u8),
    ]


class die_header(Packed):
    _fields_ = [
        ("die_id", u16),
        ("num_ips", u16),
    ]


class gpu_info_header(Packed):
    _fields_ = [
        ("table_id", u32),
        ("version_major", u16),
        ("version_minor", u16),
        ("size", u32),
    ]


class gc_info_v1_0(Packed):
    _fields_ = [
        ("header", gpu_info_header),
        *each(u32, """
            gc_num_se gc_num_wgp0_per_sa gc_num_wgp1_per_sa gc_num_rb_per_se gc_num_gl2c gc_num_gprs
            gc_num_max_gs_thds gc_gs_table_depth gc_gsprim_buff_depth gc_parameter_cache_depth
            gc_double_offchip_lds_buffer gc_wave_size gc_max_waves_per_simd gc_max_scratch_slots_per_cu
            gc_lds_size gc_num_sc_per_se gc_num_sa_per_se gc_num_packer_per_sc gc_num_gl2a
        """),
    ]


class gc_info_v1_1(Packed):
    _fields_ = [
        ("header", gpu_info_header),
        *each(u32, """
            gc_num_se gc_num_wgp0_per_sa gc_num_wgp1_per_sa gc_num_rb_per_se gc_num_gl2c gc_num_gprs
            gc_num_max_gs_thds gc_gs_table_depth gc_gsprim_buff_depth gc_parameter_cache_depth
            gc_double_offchip_lds_buffer gc_wave_size gc_max_waves_per_simd gc_max_scratch_slots_per_cu
            gc_lds_size gc_num_sc_per_se gc_num_sa_per_se gc_num_packer_per_sc gc_num_gl2a
            gc_num_tcp_per_sa gc_num_sdp_interface gc_num_tcps
        """),
    ]


class gc_info_v1_2(Packed):
    _fields_ = [
        ("header", gpu_info_header),
        *each(u32, """
            gc_num_se gc_num_wgp0_per_sa gc_num_wgp1_per_sa gc_num_rb_per_se gc_num_gl2c gc_num_gprs
            gc_num_max_gs_thds gc_gs_table_depth gc_gsprim_buff_depth gc_parameter_cache_depth
            gc_double_offchip_lds_buffer gc_wave_size gc_max_waves_per_simd gc_max_scratch_slots_per_cu
            gc_lds_size gc_num_sc_per_se gc_num_sa_per_se gc_num_packer_per_sc gc_num_gl2a
            gc_num_tcp_per_sa gc_num_sdp_interface gc_num_tcps gc_num_tcp_per_wpg gc_tcp_l1_size
            gc_num_sqc_per_wgp gc_l1_instruction_cache_size_per_sqc gc_l1_data_cache_size_per_sqc
            gc_gl1c_per_sa gc_gl1c_size_per_instance gc_gl2c_per_gpu
        """),
    ]


class gc_info_v1_3(Packed):
    _fields_ = [
        ("header", gpu_info_header),
        *each(u32, """
            gc_num_se gc_num_wgp0_per_sa gc_num_wgp1_per_sa gc_num_rb_per_se gc_num_gl2c gc_num_gprs
            gc_num_max_gs_thds gc_gs_table_depth gc_gsprim_buff_depth gc_parameter_cache_depth
            gc_double_offchip_lds_buffer gc_wave_size gc_max_waves_per_simd gc_max_scratch_slots_per_cu
            gc_lds_size gc_num_sc_per_se gc_num_sa_per_se gc_num_packer_per_sc gc_num_gl2a
            gc_num_tcp_per_sa gc_num_sdp_interface gc_num_tcps gc_num_tcp_per_wpg gc_tcp_l1_size
            gc_num_sqc_per_wgp gc_l1_instruction_cache_size_per_sqc gc_l1_data_cache_size_per_sqc
            gc_gl1c_per_sa gc_gl1c_size_per_instance gc_gl2c_per_gpu gc_tcp_size_per_cu
            gc_tcp_cache_line_size gc_instruction_cache_size_per_sqc gc_instruction_cache_line_size
            gc_scalar_data_cache_size_per_sqc gc_scalar_data_cache_line_size gc_tcc_size
            gc_tcc_cache_line_size
        """),
    ]


class gc_info_v2_0(Packed):
    _fields_ = [
        ("header", gpu_info_header),
        *each(u32, """
            gc_num_se gc_num_cu_per_sh gc_num_sh_per_se gc_num_rb_per_se gc_num_tccs gc_num_gprs
            gc_num_max_gs_thds gc_gs_table_depth gc_gsprim_buff_depth gc_parameter_cache_depth
            gc_double_offchip_lds_buffer gc_wave_size gc_max_waves_per_simd gc_max_scratch_slots_per_cu
            gc_lds_size gc_num_sc_per_se gc_num_packer_per_sc
        """),
    ]


class gc_info_v2_1(Packed):
    _fields_ = [
        ("header", gpu_info_header),
        *each(u32, """
            gc_num_se gc_num_cu_per_sh gc_num_sh_per_se gc_num_rb_per_se gc_num_tccs gc_num_gprs
            gc_num_max_gs_thds gc_gs_table_depth gc_gsprim_buff_depth gc_parameter_cache_depth
            gc_double_offchip_lds_buffer gc_wave_size gc_max_waves_per_simd gc_max_scratch_slots_per_cu
            gc_lds_size gc_num_sc_per_se gc_num_packer_per_sc gc_num_tcp_per_sh gc_tcp_size_per_cu
            gc_num_sdp_interface gc_num_cu_per_sqc gc_instruction_cache_size_per_sqc
            gc_scalar_data_cache_size_per_sqc gc_tcc_size
        """),
    ]


class harvest_info_header(Packed):
    _fields_ = [
        ("signature", u32),
        ("version", u32),
    ]


class harvest_info(Packed):
    _fields_ = [
        ("hw_id", u16),
        ("number_instance", u8),
        ("reserved", u8),
    ]


class harvest_table(Packed):
    _fields_ = [
        ("header", harvest_info_header),
        ("list", harvest_info * 32),
    ]


class mall_info_header(Packed):
    _fields_ = [
        ("table_id", u32),
        ("version_major", u16),
        ("version_minor", u16),
        ("size_bytes", u32),
    ]


class mall_info_v1_0(Packed):
    _fields_ = [
        ("header", mall_info_header),
        *each(u32, "mall_size_per_m m_s_present m_half_use m_mall_config"),
        ("reserved", u32 * 5),
    ]


class mall_info_v2_0(Packed):
    _fields_ = [
        ("header", mall_info_header),
        ("mall_size_per_umc", u32),
        ("reserved", u32 * 8),
    ]


class vcn_info_header(Packed):
    _fields_ = [
        ("table_id", u32),
        ("version_major", u16),
        ("version_minor", u16),
        ("size_bytes", u32),
    ]


class _fuse_data_bits(Packed):
    _fields_ = [
        ("av1_disabled", u32, 1),
        ("vp9_disabled", u32, 1),
        ("hevc_disabled", u32, 1),
        ("h264_disabled", u32, 1),
        ("reserved", u32, 28),
    ]


class _fuse_data(PackedUnion):
    _fields_ = [
        ("bits", _fuse_data_bits),
        ("all_bits", u32),
    ]


class vcn_instance_info_v1_0(Packed):
    _fields_ = [
        ("instance_num", u32),
        ("fuse_data", _fuse_data),
        ("reserved", u32 * 2),
    ]


class vcn_info_v1_0(Packed):
    _fields_ = [
        ("header", vcn_info_header),
        ("num_of_instances", u32),
        ("instance_info", vcn_instance_info_v1_0 * 4),
        ("reserved", u32 * 4),
    ]


class nps_info_header(Packed):
    _fields_ = [
        ("table_id", u32),
        ("version_major", u16),
        ("version_minor", u16),
        ("size_bytes", u32),
    ]


class nps_instance_info_v1_0(Packed):
    _fields_ = [
        ("base_address", u64),
        ("limit_address", u64),
    ]


class nps_info_v1_0(Packed):
    _fields_ = [
        ("header", nps_info_header),
        ("nps_type", u32),
        ("count", u32),
        ("instance_info", nps_instance_info_v1_0 * 12),
    ]
