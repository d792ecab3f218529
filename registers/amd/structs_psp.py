"""PSP: ring frames, commands and responses. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/amdgpu/psp_gfx_if.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum

from registers.structs import Struct, Union, each, u8, u32

GFX_CMD_STATUS_MASK = 0xffff
GFX_CMD_ID_MASK = 0xf0000
GFX_CMD_RESERVED_MASK = 0x7ff00000
GFX_CMD_RESPONSE_MASK = 0x80000000
GFX_FLAG_RESPONSE = 0x80000000
GFX_BUF_MAX_DESC = 0x40
PSP_GFX_CMD_BUF_VERSION = 0x1
PSP_ERR_UNKNOWN_COMMAND = 0x100


class psp_gfx_crtl_cmd_id(IntEnum):
    GFX_CTRL_CMD_ID_INIT_RBI_RING = 0x10000
    GFX_CTRL_CMD_ID_INIT_GPCOM_RING = 0x20000
    GFX_CTRL_CMD_ID_DESTROY_RINGS = 0x30000
    GFX_CTRL_CMD_ID_CAN_INIT_RINGS = 0x40000
    GFX_CTRL_CMD_ID_ENABLE_INT = 0x50000
    GFX_CTRL_CMD_ID_DISABLE_INT = 0x60000
    GFX_CTRL_CMD_ID_MODE1_RST = 0x70000
    GFX_CTRL_CMD_ID_GBR_IH_SET = 0x80000
    GFX_CTRL_CMD_ID_CONSUME_CMD = 0x90000
    GFX_CTRL_CMD_ID_DESTROY_GPCOM_RING = 0xc0000
    GFX_CTRL_CMD_ID_MAX = 0xf0000


class psp_gfx_cmd_id(IntEnum):
    GFX_CMD_ID_LOAD_TA = 0x1
    GFX_CMD_ID_UNLOAD_TA = 0x2
    GFX_CMD_ID_INVOKE_CMD = 0x3
    GFX_CMD_ID_LOAD_ASD = 0x4
    GFX_CMD_ID_SETUP_TMR = 0x5
    GFX_CMD_ID_LOAD_IP_FW = 0x6
    GFX_CMD_ID_DESTROY_TMR = 0x7
    GFX_CMD_ID_SAVE_RESTORE = 0x8
    GFX_CMD_ID_SETUP_VMR = 0x9
    GFX_CMD_ID_DESTROY_VMR = 0xa
    GFX_CMD_ID_PROG_REG = 0xb
    GFX_CMD_ID_GET_FW_ATTESTATION = 0xf
    GFX_CMD_ID_LOAD_TOC = 0x20
    GFX_CMD_ID_AUTOLOAD_RLC = 0x21
    GFX_CMD_ID_BOOT_CFG = 0x22
    GFX_CMD_ID_SRIOV_SPATIAL_PART = 0x27
    GFX_CMD_ID_CONFIG_SQ_PERFMON = 0x46
    GFX_CMD_ID_FB_NPS_MODE = 0x48
    GFX_CMD_ID_PERF_HW = 0x4c
    GFX_CMD_ID_FB_FW_RESERV_ADDR = 0x50
    GFX_CMD_ID_FB_FW_RESERV_EXT_ADDR = 0x51
    GFX_CMD_ID_SET_MMHUB_ECO_SEC_LEVEL = 0x5d


class psp_gfx_boot_config_cmd(IntEnum):
    BOOTCFG_CMD_SET = 1
    BOOTCFG_CMD_GET = 2
    BOOTCFG_CMD_INVALIDATE = 3


class psp_gfx_boot_config(IntEnum):
    BOOT_CONFIG_GECC = 1


class psp_gfx_fw_type(IntEnum):
    GFX_FW_TYPE_NONE = 0x0
    GFX_FW_TYPE_CP_ME = 0x1
    GFX_FW_TYPE_CP_PFP = 0x2
    GFX_FW_TYPE_CP_CE = 0x3
    GFX_FW_TYPE_CP_MEC = 0x4
    GFX_FW_TYPE_CP_MEC_ME1 = 0x5
    GFX_FW_TYPE_CP_MEC_ME2 = 0x6
    GFX_FW_TYPE_RLC_V = 0x7
    GFX_FW_TYPE_RLC_G = 0x8
    GFX_FW_TYPE_SDMA0 = 0x9
    GFX_FW_TYPE_SDMA1 = 0xa
    GFX_FW_TYPE_DMCU_ERAM = 0xb
    GFX_FW_TYPE_DMCU_ISR = 0xc
    GFX_FW_TYPE_VCN = 0xd
    GFX_FW_TYPE_UVD = 0xe
    GFX_FW_TYPE_VCE = 0xf
    GFX_FW_TYPE_ISP = 0x10
    GFX_FW_TYPE_ACP = 0x11
    GFX_FW_TYPE_SMU = 0x12
    GFX_FW_TYPE_MMSCH = 0x13
    GFX_FW_TYPE_RLC_RESTORE_LIST_GPM_MEM = 0x14
    GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_MEM = 0x15
    GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_CNTL = 0x16
    GFX_FW_TYPE_UVD1 = 0x17
    GFX_FW_TYPE_TOC = 0x18
    GFX_FW_TYPE_RLC_P = 0x19
    GFX_FW_TYPE_RLC_IRAM = 0x1a
    GFX_FW_TYPE_GLOBAL_TAP_DELAYS = 0x1b
    GFX_FW_TYPE_SE0_TAP_DELAYS = 0x1c
    GFX_FW_TYPE_SE1_TAP_DELAYS = 0x1d
    GFX_FW_TYPE_GLOBAL_SE0_SE1_SKEW_DELAYS = 0x1e
    GFX_FW_TYPE_SDMA0_JT = 0x1f
    GFX_FW_TYPE_SDMA1_JT = 0x20
    GFX_FW_TYPE_CP_MES = 0x21
    GFX_FW_TYPE_MES_STACK = 0x22
    GFX_FW_TYPE_RLC_SRM_DRAM_SR = 0x23
    GFX_FW_TYPE_RLCG_SCRATCH_SR = 0x24
    GFX_FW_TYPE_RLCP_SCRATCH_SR = 0x25
    GFX_FW_TYPE_RLCV_SCRATCH_SR = 0x26
    GFX_FW_TYPE_RLX6_DRAM_SR = 0x27
    GFX_FW_TYPE_SDMA0_PG_CONTEXT = 0x28
    GFX_FW_TYPE_SDMA1_PG_CONTEXT = 0x29
    GFX_FW_TYPE_GLOBAL_MUX_SELECT_RAM = 0x2a
    GFX_FW_TYPE_SE0_MUX_SELECT_RAM = 0x2b
    GFX_FW_TYPE_SE1_MUX_SELECT_RAM = 0x2c
    GFX_FW_TYPE_ACCUM_CTRL_RAM = 0x2d
    GFX_FW_TYPE_RLCP_CAM = 0x2e
    GFX_FW_TYPE_RLC_SPP_CAM_EXT = 0x2f
    GFX_FW_TYPE_RLC_DRAM_BOOT = 0x30
    GFX_FW_TYPE_VCN0_RAM = 0x31
    GFX_FW_TYPE_VCN1_RAM = 0x32
    GFX_FW_TYPE_DMUB = 0x33
    GFX_FW_TYPE_SDMA2 = 0x34
    GFX_FW_TYPE_SDMA3 = 0x35
    GFX_FW_TYPE_SDMA4 = 0x36
    GFX_FW_TYPE_SDMA5 = 0x37
    GFX_FW_TYPE_SDMA6 = 0x38
    GFX_FW_TYPE_SDMA7 = 0x39
    GFX_FW_TYPE_VCN1 = 0x3a
    GFX_FW_TYPE_CAP = 0x3e
    GFX_FW_TYPE_SE2_TAP_DELAYS = 0x41
    GFX_FW_TYPE_SE3_TAP_DELAYS = 0x42
    GFX_FW_TYPE_REG_LIST = 0x43
    GFX_FW_TYPE_IMU_I = 0x44
    GFX_FW_TYPE_IMU_D = 0x45
    GFX_FW_TYPE_LSDMA = 0x46
    GFX_FW_TYPE_SDMA_UCODE_TH0 = 0x47
    GFX_FW_TYPE_SDMA_UCODE_TH1 = 0x48
    GFX_FW_TYPE_PPTABLE = 0x49
    GFX_FW_TYPE_DISCRETE_USB4 = 0x4a
    GFX_FW_TYPE_TA = 0x4b
    GFX_FW_TYPE_RS64_MES = 0x4c
    GFX_FW_TYPE_RS64_MES_STACK = 0x4d
    GFX_FW_TYPE_RS64_KIQ = 0x4e
    GFX_FW_TYPE_RS64_KIQ_STACK = 0x4f
    GFX_FW_TYPE_ISP_DATA = 0x50
    GFX_FW_TYPE_CP_MES_KIQ = 0x51
    GFX_FW_TYPE_MES_KIQ_STACK = 0x52
    GFX_FW_TYPE_UMSCH_DATA = 0x53
    GFX_FW_TYPE_UMSCH_UCODE = 0x54
    GFX_FW_TYPE_UMSCH_CMD_BUFFER = 0x55
    GFX_FW_TYPE_USB_DP_COMBO_PHY = 0x56
    GFX_FW_TYPE_RS64_PFP = 0x57
    GFX_FW_TYPE_RS64_ME = 0x58
    GFX_FW_TYPE_RS64_MEC = 0x59
    GFX_FW_TYPE_RS64_PFP_P0_STACK = 0x5a
    GFX_FW_TYPE_RS64_PFP_P1_STACK = 0x5b
    GFX_FW_TYPE_RS64_ME_P0_STACK = 0x5c
    GFX_FW_TYPE_RS64_ME_P1_STACK = 0x5d
    GFX_FW_TYPE_RS64_MEC_P0_STACK = 0x5e
    GFX_FW_TYPE_RS64_MEC_P1_STACK = 0x5f
    GFX_FW_TYPE_RS64_MEC_P2_STACK = 0x60
    GFX_FW_TYPE_RS64_MEC_P3_STACK = 0x61
    GFX_FW_TYPE_RLX6_UCODE_CORE1 = 0x62
    GFX_FW_TYPE_RLX6_DRAM_BOOT_CORE1 = 0x63
    GFX_FW_TYPE_VPEC_FW1 = 0x64
    GFX_FW_TYPE_VPEC_FW2 = 0x65
    GFX_FW_TYPE_VPE = 0x66
    GFX_FW_TYPE_JPEG_RAM = 0x80
    GFX_FW_TYPE_P2S_TABLE = 0x81
    GFX_FW_TYPE_MAX = 0x82


class tee_error_code(IntEnum):
    TEE_SUCCESS = 0x0
    TEE_ERROR_CANCEL = 0xffff0002
    TEE_ERROR_NOT_SUPPORTED = 0xffff000a


class psp_gfx_ctrl(Struct):
    _fields_ = [
        *each(u32, """
            cmd_resp rbi_wptr rbi_rptr gpcom_wptr gpcom_rptr ring_addr_lo ring_addr_hi ring_buf_size
        """),
    ]


class psp_gfx_cmd_load_ta(Struct):
    _fields_ = [
        *each(u32, """
            app_phy_addr_lo app_phy_addr_hi app_len cmd_buf_phy_addr_lo cmd_buf_phy_addr_hi cmd_buf_len
        """),
    ]


class psp_gfx_cmd_unload_ta(Struct):
    _fields_ = [
        ("session_id", u32),
    ]


class psp_gfx_buf_desc(Struct):
    _fields_ = [
        ("buf_phy_addr_lo", u32),
        ("buf_phy_addr_hi", u32),
        ("buf_size", u32),
    ]


class psp_gfx_buf_list(Struct):
    _fields_ = [
        ("num_desc", u32),
        ("total_size", u32),
        ("buf_desc", psp_gfx_buf_desc * 64),
    ]


class psp_gfx_cmd_invoke_cmd(Struct):
    _fields_ = [
        ("session_id", u32),
        ("ta_cmd_id", u32),
        ("buf", psp_gfx_buf_list),
    ]


class psp_gfx_cmd_setup_tmr_u3_bitfield(Struct):
    _fields_ = [
        ("sriov_enabled", u32, 1),
        ("virt_phy_addr", u32, 1),
        ("reserved", u32, 30),
    ]


class psp_gfx_cmd_setup_tmr_u3(Union):
    _fields_ = [
        ("bitfield", psp_gfx_cmd_setup_tmr_u3_bitfield),
        ("tmr_flags", u32),
    ]


class psp_gfx_cmd_setup_tmr(Struct):
    _anonymous_ = ('u3',)
    _fields_ = [
        ("buf_phy_addr_lo", u32),
        ("buf_phy_addr_hi", u32),
        ("buf_size", u32),
        ("u3", psp_gfx_cmd_setup_tmr_u3),
        ("system_phy_addr_lo", u32),
        ("system_phy_addr_hi", u32),
    ]


class psp_gfx_cmd_load_ip_fw(Struct):
    _fields_ = [
        *each(u32, "fw_phy_addr_lo fw_phy_addr_hi fw_size fw_type"),
    ]


class psp_gfx_cmd_save_restore_ip_fw(Struct):
    _fields_ = [
        *each(u32, "save_fw save_restore_addr_lo save_restore_addr_hi buf_size fw_type"),
    ]


class psp_gfx_cmd_reg_prog(Struct):
    _fields_ = [
        ("reg_value", u32),
        ("reg_id", u32),
    ]


class psp_gfx_cmd_load_toc(Struct):
    _fields_ = [
        ("toc_phy_addr_lo", u32),
        ("toc_phy_addr_hi", u32),
        ("toc_size", u32),
    ]


class psp_gfx_cmd_boot_cfg(Struct):
    _fields_ = [
        *each(u32, "timestamp sub_cmd boot_config boot_config_valid"),
    ]


class psp_gfx_cmd_sriov_spatial_part(Struct):
    _fields_ = [
        *each(u32, "mode override_ips override_xcds_avail override_this_aid"),
    ]


class psp_gfx_cmd_config_sq_perfmon(Struct):
    _fields_ = [
        ("gfx_xcp_mask", u32),
        ("core_override", u8),
        ("reg_override", u8),
        ("perfmon_override", u8),
        ("reserved", u8 * 5),
    ]


class psp_gfx_cmd_fb_memory_part(Struct):
    _fields_ = [
        ("mode", u32),
        ("resvd", u32),
    ]


class psp_gfx_cmd_req_perf_hw(Struct):
    _fields_ = [
        *each(u32, "req ptl_state pref_format1 pref_format2"),
    ]


class psp_gfx_commands(Union):
    _fields_ = [
        ("cmd_load_ta", psp_gfx_cmd_load_ta),
        ("cmd_unload_ta", psp_gfx_cmd_unload_ta),
        ("cmd_invoke_cmd", psp_gfx_cmd_invoke_cmd),
        ("cmd_setup_tmr", psp_gfx_cmd_setup_tmr),
        ("cmd_load_ip_fw", psp_gfx_cmd_load_ip_fw),
        ("cmd_save_restore_ip_fw", psp_gfx_cmd_save_restore_ip_fw),
        ("cmd_setup_reg_prog", psp_gfx_cmd_reg_prog),
        ("cmd_setup_vmr", psp_gfx_cmd_setup_tmr),
        ("cmd_load_toc", psp_gfx_cmd_load_toc),
        ("boot_cfg", psp_gfx_cmd_boot_cfg),
        ("cmd_spatial_part", psp_gfx_cmd_sriov_spatial_part),
        ("config_sq_perfmon", psp_gfx_cmd_config_sq_perfmon),
        ("cmd_memory_part", psp_gfx_cmd_fb_memory_part),
        ("cmd_req_perf_hw", psp_gfx_cmd_req_perf_hw),
    ]


class psp_gfx_uresp_reserved(Struct):
    _fields_ = [
        ("reserved", u32 * 8),
    ]


class psp_gfx_uresp_fwar_db_info(Struct):
    _fields_ = [
        ("fwar_db_addr_lo", u32),
        ("fwar_db_addr_hi", u32),
    ]


class psp_gfx_uresp_bootcfg(Struct):
    _fields_ = [
        ("boot_cfg", u32),
    ]


class psp_gfx_uresp_fw_reserve_info(Struct):
    _fields_ = [
        ("reserve_base_address_hi", u32),
        ("reserve_base_address_lo", u32),
        ("reserve_size", u32),
    ]


class psp_gfx_uresp_perf_hw(Struct):
    _fields_ = [
        *each(u32, "resp ptl_state pref_format1 pref_format2"),
    ]


class psp_gfx_uresp(Union):
    _fields_ = [
        ("reserved", psp_gfx_uresp_reserved),
        ("boot_cfg", psp_gfx_uresp_bootcfg),
        ("fwar_db_info", psp_gfx_uresp_fwar_db_info),
        ("fw_reserve_info", psp_gfx_uresp_fw_reserve_info),
        ("perf_hw_info", psp_gfx_uresp_perf_hw),
    ]


class psp_gfx_resp(Struct):
    _fields_ = [
        *each(u32, "status session_id fw_addr_lo fw_addr_hi tmr_size"),
        ("reserved", u32 * 11),
        ("uresp", psp_gfx_uresp),
    ]


class psp_gfx_cmd_resp(Struct):
    _fields_ = [
        *each(u32, """
            buf_size buf_version cmd_id resp_buf_addr_lo resp_buf_addr_hi resp_offset resp_buf_size
        """),
        ("cmd", psp_gfx_commands),
        ("reserved_1", u8 * 52),
        ("resp", psp_gfx_resp),
        ("reserved_2", u8 * 64),
    ]


class psp_gfx_rb_frame(Struct):
    _fields_ = [
        *each(u32, """
            cmd_buf_addr_lo cmd_buf_addr_hi cmd_buf_size fence_addr_lo fence_addr_hi fence_value sid_lo
            sid_hi
        """),
        ("vmid", u8),
        ("frame_type", u8),
        ("reserved1", u8 * 2),
        ("reserved2", u32 * 7),
    ]
