"""HDP 4.4.2, 4.4.5: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/hdp/hdp_4_4_2_offset.h
  drivers/gpu/drm/amd/include/asic_reg/hdp/hdp_4_4_2_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class HDP_NONSURFACE_BASE_t(Register):
    __slots__ = ()
    NONSURF_BASE_39_8 = bits(31, 0)


class HDP_NONSURFACE_BASE_HI_t(Register):
    __slots__ = ()
    NONSURF_BASE_47_40 = bits(7, 0)


class HDP_HOST_PATH_CNTL_t(Register):
    __slots__ = ()
    WR_STALL_TIMER = bits(10, 9)
    RD_STALL_TIMER = bits(12, 11)
    WRITE_COMBINE_TIMER_PRELOAD_CFG = bit(18)
    WRITE_COMBINE_TIMER = bits(20, 19)
    WRITE_COMBINE_EN = bit(21)
    WRITE_COMBINE_64B_EN = bit(22)
    ALL_SURFACES_DIS = bit(29)


class HDP_MISC_CNTL_t(Register):
    __slots__ = ()
    IDLE_HYSTERESIS_CNTL = bits(3, 2)
    ATOMIC_BUFFER_PROTECT_ENABLE = bit(4)
    OUTSTANDING_WRITE_COUNT_1024 = bit(5)
    RAW_ADDR_CAM_ENABLE = bit(7)
    MMHUB_EARLY_WRACK_ENABLE = bit(8)
    EARLY_WRACK_MISSING_PROTECT_ENABLE = bit(9)
    SIMULTANEOUS_READS_WRITES = bit(11)
    SYSHUB_CHANNEL_PRIORITY = bits(13, 12)
    READ_BUFFER_WATERMARK = bits(15, 14)
    SRAM_ECC_ENABLE = bit(20)
    FED_ENABLE = bit(21)
    ATOMIC_FED_ENABLE = bit(22)
    MMHUB_WRBURST_ENABLE = bit(24)
    HDP_MMHUB_PENDING_WR_TAG_CHECK = bit(26)
    XDP_MMHUB_PENDING_WR_TAG_CHECK = bit(27)
    MMHUB_WRBURST_SIZE = bit(30)


class HDP_MEM_POWER_CTRL_t(Register):
    __slots__ = ()
    IPH_MEM_POWER_CTRL_EN = bit(0)
    IPH_MEM_POWER_LS_EN = bit(1)
    IPH_MEM_POWER_DS_EN = bit(2)
    IPH_MEM_POWER_SD_EN = bit(3)
    IPH_MEM_IDLE_HYSTERESIS = bits(6, 4)
    IPH_MEM_POWER_UP_RECOVER_DELAY = bits(13, 8)
    IPH_MEM_POWER_DOWN_LS_ENTER_DELAY = bits(15, 14)
    RC_MEM_POWER_CTRL_EN = bit(16)
    RC_MEM_POWER_LS_EN = bit(17)
    RC_MEM_POWER_DS_EN = bit(18)
    RC_MEM_POWER_SD_EN = bit(19)
    RC_MEM_IDLE_HYSTERESIS = bits(22, 20)
    RC_MEM_POWER_UP_RECOVER_DELAY = bits(29, 24)
    RC_MEM_POWER_DOWN_LS_ENTER_DELAY = bits(31, 30)


class HDP_EDC_CNT_t(Register):
    __slots__ = ()
    MEM0_SED_COUNT = bits(1, 0)


class HDP_VERSION_t(Register):
    __slots__ = ()
    MINVER = bits(7, 0)
    MAJVER = bits(15, 8)
    REV = bits(23, 16)


class Hdp(RegisterBlock):
    HDP_NONSURFACE_BASE = reg(0x0040, HDP_NONSURFACE_BASE_t, 0)
    HDP_NONSURFACE_BASE_HI = reg(0x0042, HDP_NONSURFACE_BASE_HI_t, 0)
    HDP_HOST_PATH_CNTL = reg(0x00cc, HDP_HOST_PATH_CNTL_t, 0)
    HDP_MISC_CNTL = reg(0x00d3, HDP_MISC_CNTL_t, 0)
    HDP_MEM_POWER_CTRL = reg(0x00d4, HDP_MEM_POWER_CTRL_t, 0)
    HDP_EDC_CNT = reg(0x00d6, HDP_EDC_CNT_t, 0)
    HDP_VERSION = reg(0x00d7, HDP_VERSION_t, 0)
