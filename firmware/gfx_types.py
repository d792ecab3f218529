"""Firmware type numbers of the PSP's LOAD_IP_FW command.

Source: Linux v7.3 amdgpu/psp_gfx_if.h, enum psp_gfx_fw_type (the ones that a file of the package is loaded as)."""

from __future__ import annotations

from enum import IntEnum


class GfxFwType(IntEnum):
    """Names as in the kernel, without GFX_FW_TYPE_."""

    NONE = 0
    CP_ME = 1
    CP_PFP = 2
    CP_CE = 3
    CP_MEC = 4
    CP_MEC_ME1 = 5  # jump table of the first MEC
    CP_MEC_ME2 = 6
    RLC_V = 7
    RLC_G = 8
    SDMA0 = 9
    SDMA1 = 10
    DMCU_ERAM = 11
    DMCU_ISR = 12
    VCN = 13
    UVD = 14
    VCE = 15
    ISP = 16
    SMU = 18
    RLC_RESTORE_LIST_GPM_MEM = 20
    RLC_RESTORE_LIST_SRM_MEM = 21
    RLC_RESTORE_LIST_SRM_CNTL = 22
    TOC = 24
    RLC_P = 25
    RLC_IRAM = 26
    GLOBAL_TAP_DELAYS = 27
    SE0_TAP_DELAYS = 28
    SE1_TAP_DELAYS = 29
    CP_MES = 33
    MES_STACK = 34
    RLC_DRAM_BOOT = 48
    DMUB = 51
    SDMA2 = 52
    SDMA3 = 53
    SDMA4 = 54
    SDMA5 = 55
    SDMA6 = 56
    SDMA7 = 57
    SE2_TAP_DELAYS = 65
    SE3_TAP_DELAYS = 66
    REG_LIST = 67
    IMU_I = 68
    IMU_D = 69
    SDMA_UCODE_TH0 = 71
    SDMA_UCODE_TH1 = 72
    PPTABLE = 73
    CP_MES_KIQ = 81
    MES_KIQ_STACK = 82
    UMSCH_DATA = 83
    UMSCH_UCODE = 84
    RS64_PFP = 87
    RS64_ME = 88
    RS64_MEC = 89
    RS64_PFP_P0_STACK = 90
    RS64_ME_P0_STACK = 92
    RS64_MEC_P0_STACK = 94
    RLX6_UCODE_CORE1 = 98
    RLX6_DRAM_BOOT_CORE1 = 99
    VPEC_FW1 = 100
    VPEC_FW2 = 101
    P2S_TABLE = 129
