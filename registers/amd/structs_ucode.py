"""Headers of firmware files. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/amdgpu/amdgpu_ucode.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum

from registers.structs import Struct, each, u16, u32


class psp_fw_type(IntEnum):
    PSP_FW_TYPE_UNKOWN = 0x0
    PSP_FW_TYPE_PSP_SOS = 0x1
    PSP_FW_TYPE_PSP_SYS_DRV = 0x2
    PSP_FW_TYPE_PSP_KDB = 0x3
    PSP_FW_TYPE_PSP_TOC = 0x4
    PSP_FW_TYPE_PSP_SPL = 0x5
    PSP_FW_TYPE_PSP_RL = 0x6
    PSP_FW_TYPE_PSP_SOC_DRV = 0x7
    PSP_FW_TYPE_PSP_INTF_DRV = 0x8
    PSP_FW_TYPE_PSP_DBG_DRV = 0x9
    PSP_FW_TYPE_PSP_RAS_DRV = 0xa
    PSP_FW_TYPE_PSP_IPKEYMGR_DRV = 0xb
    PSP_FW_TYPE_PSP_SPDM_DRV = 0xc
    PSP_FW_TYPE_MAX_INDEX = 0xd


class ta_fw_type(IntEnum):
    TA_FW_TYPE_UNKOWN = 0
    TA_FW_TYPE_PSP_ASD = 1
    TA_FW_TYPE_PSP_XGMI = 2
    TA_FW_TYPE_PSP_RAS = 3
    TA_FW_TYPE_PSP_HDCP = 4
    TA_FW_TYPE_PSP_DTM = 5
    TA_FW_TYPE_PSP_RAP = 6
    TA_FW_TYPE_PSP_SECUREDISPLAY = 7
    TA_FW_TYPE_PSP_XGMI_AUX = 8
    TA_FW_TYPE_MAX_INDEX = 9


class common_firmware_header(Struct):
    _fields_ = [
        ("size_bytes", u32),
        ("header_size_bytes", u32),
        *each(u16, "header_version_major header_version_minor ip_version_major ip_version_minor"),
        *each(u32, "ucode_version ucode_size_bytes ucode_array_offset_bytes crc32"),
    ]


class psp_fw_legacy_bin_desc(Struct):
    _fields_ = [
        ("fw_version", u32),
        ("offset_bytes", u32),
        ("size_bytes", u32),
    ]


class psp_fw_bin_desc(Struct):
    _fields_ = [
        *each(u32, "fw_type fw_version offset_bytes size_bytes"),
    ]


class psp_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("sos", psp_fw_legacy_bin_desc),
    ]


class psp_firmware_header_v1_1(Struct):
    _fields_ = [
        ("v1_0", psp_firmware_header_v1_0),
        ("toc", psp_fw_legacy_bin_desc),
        ("kdb", psp_fw_legacy_bin_desc),
    ]


class psp_firmware_header_v1_2(Struct):
    _fields_ = [
        ("v1_0", psp_firmware_header_v1_0),
        ("res", psp_fw_legacy_bin_desc),
        ("kdb", psp_fw_legacy_bin_desc),
    ]


class psp_firmware_header_v1_3(Struct):
    _fields_ = [
        ("v1_1", psp_firmware_header_v1_1),
        *each(psp_fw_legacy_bin_desc, "spl rl sys_drv_aux sos_aux"),
    ]


class psp_firmware_header_v2_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("psp_fw_bin_count", u32),
        ("psp_fw_bin", psp_fw_bin_desc * 0),
    ]


class psp_firmware_header_v2_1(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("psp_fw_bin_count", u32),
        ("psp_aux_fw_bin_index", u32),
        ("psp_fw_bin", psp_fw_bin_desc * 0),
    ]


class ta_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        *each(psp_fw_legacy_bin_desc, "xgmi ras hdcp dtm securedisplay"),
    ]


class ta_firmware_header_v2_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("ta_fw_bin_count", u32),
        ("ta_fw_bin", psp_fw_bin_desc * 0),
    ]


class gfx_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("ucode_feature_version", u32),
        ("jt_offset", u32),
        ("jt_size", u32),
    ]


class gfx_firmware_header_v2_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        *each(u32, """
            ucode_feature_version ucode_size_bytes ucode_offset_bytes data_size_bytes data_offset_bytes
            ucode_start_addr_lo ucode_start_addr_hi
        """),
    ]


class rlc_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        *each(u32, """
            ucode_feature_version save_and_restore_offset clear_state_descriptor_offset
            avail_scratch_ram_locations master_pkt_description_offset
        """),
    ]


class rlc_firmware_header_v2_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        *each(u32, """
            ucode_feature_version jt_offset jt_size save_and_restore_offset
            clear_state_descriptor_offset avail_scratch_ram_locations reg_restore_list_size
            reg_list_format_start reg_list_format_separate_start starting_offsets_start
            reg_list_format_size_bytes reg_list_format_array_offset_bytes reg_list_size_bytes
            reg_list_array_offset_bytes reg_list_format_separate_size_bytes
            reg_list_format_separate_array_offset_bytes reg_list_separate_size_bytes
            reg_list_separate_array_offset_bytes
        """),
    ]


class rlc_firmware_header_v2_1(Struct):
    _fields_ = [
        ("v2_0", rlc_firmware_header_v2_0),
        *each(u32, """
            reg_list_format_direct_reg_list_length save_restore_list_cntl_ucode_ver
            save_restore_list_cntl_feature_ver save_restore_list_cntl_size_bytes
            save_restore_list_cntl_offset_bytes save_restore_list_gpm_ucode_ver
            save_restore_list_gpm_feature_ver save_restore_list_gpm_size_bytes
            save_restore_list_gpm_offset_bytes save_restore_list_srm_ucode_ver
            save_restore_list_srm_feature_ver save_restore_list_srm_size_bytes
            save_restore_list_srm_offset_bytes
        """),
    ]


class rlc_firmware_header_v2_2(Struct):
    _fields_ = [
        ("v2_1", rlc_firmware_header_v2_1),
        *each(u32, """
            rlc_iram_ucode_size_bytes rlc_iram_ucode_offset_bytes rlc_dram_ucode_size_bytes
            rlc_dram_ucode_offset_bytes
        """),
    ]


class rlc_firmware_header_v2_3(Struct):
    _fields_ = [
        ("v2_2", rlc_firmware_header_v2_2),
        *each(u32, """
            rlcp_ucode_version rlcp_ucode_feature_version rlcp_ucode_size_bytes rlcp_ucode_offset_bytes
            rlcv_ucode_version rlcv_ucode_feature_version rlcv_ucode_size_bytes rlcv_ucode_offset_bytes
        """),
    ]


class rlc_firmware_header_v2_4(Struct):
    _fields_ = [
        ("v2_3", rlc_firmware_header_v2_3),
        *each(u32, """
            global_tap_delays_ucode_size_bytes global_tap_delays_ucode_offset_bytes
            se0_tap_delays_ucode_size_bytes se0_tap_delays_ucode_offset_bytes
            se1_tap_delays_ucode_size_bytes se1_tap_delays_ucode_offset_bytes
            se2_tap_delays_ucode_size_bytes se2_tap_delays_ucode_offset_bytes
            se3_tap_delays_ucode_size_bytes se3_tap_delays_ucode_offset_bytes
        """),
    ]


class rlc_firmware_header_v2_5(Struct):
    _fields_ = [
        ("v2_2", rlc_firmware_header_v2_2),
        *each(u32, """
            rlc_1_iram_ucode_size_bytes rlc_1_iram_ucode_offset_bytes rlc_1_dram_ucode_size_bytes
            rlc_1_dram_ucode_offset_bytes
        """),
    ]


class sdma_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        *each(u32, "ucode_feature_version ucode_change_version jt_offset jt_size"),
    ]


class sdma_firmware_header_v1_1(Struct):
    _fields_ = [
        ("v1_0", sdma_firmware_header_v1_0),
        ("digest_size", u32),
    ]


class sdma_firmware_header_v2_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        *each(u32, """
            ucode_feature_version ctx_ucode_size_bytes ctx_jt_offset ctx_jt_size ctl_ucode_offset
            ctl_ucode_size_bytes ctl_jt_offset ctl_jt_size
        """),
    ]


class sdma_firmware_header_v3_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("ucode_feature_version", u32),
        ("ucode_offset_bytes", u32),
        ("ucode_size_bytes", u32),
    ]


class smc_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("ucode_start_addr", u32),
    ]


class smc_firmware_header_v2_0(Struct):
    _fields_ = [
        ("v1_0", smc_firmware_header_v1_0),
        ("ppt_offset_bytes", u32),
        ("ppt_size_bytes", u32),
    ]


class smc_soft_pptable_entry(Struct):
    _fields_ = [
        ("id", u32),
        ("ppt_offset_bytes", u32),
        ("ppt_size_bytes", u32),
    ]


class smc_firmware_header_v2_1(Struct):
    _fields_ = [
        ("v1_0", smc_firmware_header_v1_0),
        ("pptable_count", u32),
        ("pptable_entry_offset", u32),
    ]


class gpu_info_firmware_v1_0(Struct):
    _fields_ = [
        *each(u32, """
            gc_num_se gc_num_cu_per_sh gc_num_sh_per_se gc_num_rb_per_se gc_num_tccs gc_num_gprs
            gc_num_max_gs_thds gc_gs_table_depth gc_gsprim_buff_depth gc_parameter_cache_depth
            gc_double_offchip_lds_buffer gc_wave_size gc_max_waves_per_simd gc_max_scratch_slots_per_cu
            gc_lds_size
        """),
    ]


class gpu_info_firmware_v1_1(Struct):
    _fields_ = [
        ("v1_0", gpu_info_firmware_v1_0),
        ("num_sc_per_sh", u32),
        ("num_packer_per_sc", u32),
    ]


class gpu_info_voltage_scaling_v1_0(Struct):
    _fields_ = [
        *each(u32, """
            state dscclk_mhz dcfclk_mhz socclk_mhz dram_speed_mts fabricclk_mhz dispclk_mhz phyclk_mhz
            dppclk_mhz
        """),
    ]


class gpu_info_soc_bounding_box_v1_0(Struct):
    _fields_ = [
        *each(u32, """
            sr_exit_time_us sr_enter_plus_exit_time_us urgent_latency_us
            urgent_latency_pixel_data_only_us urgent_latency_pixel_mixed_with_vm_data_us
            urgent_latency_vm_data_only_us writeback_latency_us ideal_dram_bw_after_urgent_percent
            pct_ideal_dram_sdp_bw_after_urgent_pixel_only
            pct_ideal_dram_sdp_bw_after_urgent_pixel_and_vm pct_ideal_dram_sdp_bw_after_urgent_vm_only
            max_avg_sdp_bw_use_normal_percent max_avg_dram_bw_use_normal_percent max_request_size_bytes
            downspread_percent dram_page_open_time_ns dram_rw_turnaround_time_ns
            dram_return_buffer_per_channel_bytes dram_channel_width_bytes
            fabric_datapath_to_dcn_data_return_bytes dcn_downspread_percent dispclk_dppclk_vco_speed_mhz
            dfs_vco_period_ps urgent_out_of_order_return_per_channel_pixel_only_bytes
            urgent_out_of_order_return_per_channel_pixel_and_vm_bytes
            urgent_out_of_order_return_per_channel_vm_only_bytes round_trip_ping_latency_dcfclk_cycles
            urgent_out_of_order_return_per_channel_bytes channel_interleave_bytes num_banks num_chans
            vmm_page_size_bytes dram_clock_change_latency_us writeback_dram_clock_change_latency_us
            return_bus_width_bytes voltage_override xfc_bus_transport_time_us
            xfc_xbuf_latency_tolerance_us use_urgent_burst_bw num_states
        """),
        ("clock_limits", gpu_info_voltage_scaling_v1_0 * 8),
    ]


class gpu_info_firmware_v1_2(Struct):
    _fields_ = [
        ("v1_1", gpu_info_firmware_v1_1),
        ("soc_bounding_box", gpu_info_soc_bounding_box_v1_0),
    ]


class gpu_info_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        ("version_major", u16),
        ("version_minor", u16),
    ]


class imu_firmware_header_v1_0(Struct):
    _fields_ = [
        ("header", common_firmware_header),
        *each(u32, """
            imu_iram_ucode_size_bytes imu_iram_ucode_offset_bytes imu_dram_ucode_size_bytes
            imu_dram_ucode_offset_bytes
        """),
    ]
