"""VCN, JPEG 5.0.1: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/vcn/vcn_5_0_0_offset.h
  drivers/gpu/drm/amd/include/asic_reg/vcn/vcn_5_0_0_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class UVD_GPCOM_VCPU_DATA0_t(Register):
    __slots__ = ()
    DATA0 = bits(31, 0)


class UVD_GPCOM_VCPU_DATA1_t(Register):
    __slots__ = ()
    DATA1 = bits(31, 0)


class UVD_MASTINT_EN_t(Register):
    __slots__ = ()
    OVERRUN_RST = bit(0)
    VCPU_EN = bit(1)
    SYS_EN = bit(2)
    INT_OVERRUN = bits(22, 4)


class UVD_CONTEXT_ID_t(Register):
    __slots__ = ()
    CONTEXT_ID = bits(31, 0)


class UVD_CONTEXT_ID2_t(Register):
    __slots__ = ()
    CONTEXT_ID2 = bits(31, 0)


class UVD_RB_BASE_LO_t(Register):
    __slots__ = ()
    RB_BASE_LO = bits(31, 6)


class UVD_RB_BASE_HI_t(Register):
    __slots__ = ()
    RB_BASE_HI = bits(31, 0)


class UVD_RB_SIZE_t(Register):
    __slots__ = ()
    RB_SIZE = bits(22, 4)


class UVD_RB_BASE_LOn_t(Register):
    __slots__ = ()
    RB_BASE_LO = bits(31, 6)


class UVD_RB_BASE_HIn_t(Register):
    __slots__ = ()
    RB_BASE_HI = bits(31, 0)


class UVD_RB_SIZEn_t(Register):
    __slots__ = ()
    RB_SIZE = bits(22, 4)


class UVD_RB_ARB_CTRL_t(Register):
    __slots__ = ()
    SRBM_DROP = bit(0)
    SRBM_DIS = bit(1)
    VCPU_DROP = bit(2)
    VCPU_DIS = bit(3)
    RBC_DROP = bit(4)
    RBC_DIS = bit(5)
    FWOFLD_DROP = bit(6)
    FWOFLD_DIS = bit(7)
    FAST_PATH_EN = bit(8)
    UVD_RB_DBG_EN = bit(9)


class UVD_STATUS_t(Register):
    __slots__ = ()
    RBC_BUSY = bit(0)
    VCPU_REPORT = bits(7, 1)
    FILL_0 = bits(15, 8)
    RBC_ACCESS_GPCOM = bit(16)
    DRM_BUSY = bit(17)
    FILL_1 = bits(30, 18)
    SYS_GPCOM_REQ = bit(31)


class UVD_SOFT_RESET_t(Register):
    __slots__ = ()
    RBC_SOFT_RESET = bit(0)
    LBSI_SOFT_RESET = bit(1)
    LMI_SOFT_RESET = bit(2)
    VCPU_SOFT_RESET = bit(3)
    UDEC_SOFT_RESET = bit(4)
    CXW_SOFT_RESET = bit(6)
    TAP_SOFT_RESET = bit(7)
    MPC_SOFT_RESET = bit(8)
    EFC_SOFT_RESET = bit(9)
    IH_SOFT_RESET = bit(10)
    MPRD_SOFT_RESET = bit(11)
    IDCT_SOFT_RESET = bit(12)
    LMI_UMC_SOFT_RESET = bit(13)
    SPH_SOFT_RESET = bit(14)
    MIF_SOFT_RESET = bit(15)
    LCM_SOFT_RESET = bit(16)
    SUVD_SOFT_RESET = bit(17)
    LBSI_VCLK_RESET_STATUS = bit(18)
    VCPU_VCLK_RESET_STATUS = bit(19)
    UDEC_VCLK_RESET_STATUS = bit(20)
    UDEC_DCLK_RESET_STATUS = bit(21)
    MPC_DCLK_RESET_STATUS = bit(22)
    MPRD_VCLK_RESET_STATUS = bit(23)
    MPRD_DCLK_RESET_STATUS = bit(24)
    IDCT_VCLK_RESET_STATUS = bit(25)
    MIF_DCLK_RESET_STATUS = bit(26)
    LCM_DCLK_RESET_STATUS = bit(27)
    SUVD_VCLK_RESET_STATUS = bit(28)
    SUVD_DCLK_RESET_STATUS = bit(29)
    RE_DCLK_RESET_STATUS = bit(30)
    SRE_DCLK_RESET_STATUS = bit(31)


class UVD_GPCOM_VCPU_CMD_t(Register):
    __slots__ = ()
    CMD_SEND = bit(0)
    CMD = bits(30, 1)
    CMD_SOURCE = bit(31)


class UVD_VCPU_CACHE_OFFSET0_t(Register):
    __slots__ = ()
    CACHE_OFFSET0 = bits(20, 0)


class UVD_VCPU_CACHE_SIZE0_t(Register):
    __slots__ = ()
    CACHE_SIZE0 = bits(20, 0)


class UVD_VCPU_CACHE_OFFSET1_t(Register):
    __slots__ = ()
    CACHE_OFFSET1 = bits(20, 0)


class UVD_VCPU_CACHE_SIZE1_t(Register):
    __slots__ = ()
    CACHE_SIZE1 = bits(20, 0)


class UVD_VCPU_CACHE_OFFSET2_t(Register):
    __slots__ = ()
    CACHE_OFFSET2 = bits(20, 0)


class UVD_VCPU_CACHE_SIZE2_t(Register):
    __slots__ = ()
    CACHE_SIZE2 = bits(20, 0)


class UVD_VCPU_NONCACHE_OFFSET0_t(Register):
    __slots__ = ()
    NONCACHE_OFFSET0 = bits(24, 0)


class UVD_VCPU_NONCACHE_SIZE0_t(Register):
    __slots__ = ()
    NONCACHE_SIZE0 = bits(20, 0)


class UVD_VCPU_CNTL_t(Register):
    __slots__ = ()
    IRQ_ERR = bits(3, 0)
    AXI_MAX_BRST_SIZE_IS_4 = bit(4)
    PMB_ED_ENABLE = bit(5)
    PMB_SOFT_RESET = bit(6)
    RBBM_SOFT_RESET = bit(7)
    ABORT_REQ = bit(8)
    CLK_EN = bit(9)
    TRCE_EN = bit(10)
    TRCE_MUX = bits(12, 11)
    DBG_MUX = bits(15, 13)
    JTAG_EN = bit(16)
    TIMEOUT_DIS = bit(18)
    PRB_TIMEOUT_VAL = bits(27, 20)
    BLK_RST = bit(28)
    RUNSTALL = bit(29)
    SRE_CMDIF_DRST = bit(30)
    SRE_CMDIF_VRST = bit(31)


class UVD_LMI_VCPU_NC0_64BIT_BAR_LOW_t(Register):
    __slots__ = ()
    BITS_31_0 = bits(31, 0)


class UVD_LMI_VCPU_NC0_64BIT_BAR_HIGH_t(Register):
    __slots__ = ()
    BITS_63_32 = bits(31, 0)


class UVD_LMI_VCPU_CACHE_64BIT_BAR_LOW_t(Register):
    __slots__ = ()
    BITS_31_0 = bits(31, 0)


class UVD_LMI_VCPU_CACHE_64BIT_BAR_HIGH_t(Register):
    __slots__ = ()
    BITS_63_32 = bits(31, 0)


class UVD_LMI_VCPU_CACHEn_64BIT_BAR_LOW_t(Register):
    __slots__ = ()
    BITS_31_0 = bits(31, 0)


class UVD_LMI_VCPU_CACHEn_64BIT_BAR_HIGH_t(Register):
    __slots__ = ()
    BITS_63_32 = bits(31, 0)


class UVD_LMI_CTRL2_t(Register):
    __slots__ = ()
    SPH_DIS = bit(0)
    STALL_ARB = bit(1)
    ASSERT_UMC_URGENT = bit(2)
    MASK_UMC_URGENT = bit(3)
    CRC1_RESET = bit(4)
    DRCITF_BUBBLE_FIX_DIS = bit(7)
    STALL_ARB_UMC = bit(8)
    MC_READ_ID_SEL = bits(10, 9)
    MC_WRITE_ID_SEL = bits(12, 11)
    VCPU_NC0_EXT_EN = bit(13)
    VCPU_NC1_EXT_EN = bit(14)
    SPU_EXTRA_CID_EN = bit(15)
    RE_OFFLOAD_EN = bit(16)
    RE_OFLD_MIF_WR_REQ_NUM = bits(24, 17)
    CLEAR_NJ_PF_BP = bit(25)
    NJ_MIF_GATING = bit(26)
    CRC1_SEL = bits(31, 27)


class UVD_LMI_CTRL_t(Register):
    __slots__ = ()
    WRITE_CLEAN_TIMER = bits(7, 0)
    WRITE_CLEAN_TIMER_EN = bit(8)
    REQ_MODE = bit(9)
    ASSERT_MC_URGENT = bit(11)
    MASK_MC_URGENT = bit(12)
    DATA_COHERENCY_EN = bit(13)
    CRC_RESET = bit(14)
    CRC_SEL = bits(19, 15)
    DISABLE_ON_FWV_FAIL = bit(20)
    VCPU_DATA_COHERENCY_EN = bit(21)
    CM_DATA_COHERENCY_EN = bit(22)
    DB_DB_DATA_COHERENCY_EN = bit(23)
    DB_IT_DATA_COHERENCY_EN = bit(24)
    IT_IT_DATA_COHERENCY_EN = bit(25)
    MIF_MIF_DATA_COHERENCY_EN = bit(26)
    MIF_LESS_OUTSTANDING_RD_REQ = bit(27)
    MC_BLK_RST = bit(28)
    UMC_BLK_RST = bit(29)


class UVD_LMI_STATUS_t(Register):
    __slots__ = ()
    READ_CLEAN = bit(0)
    WRITE_CLEAN = bit(1)
    WRITE_CLEAN_RAW = bit(2)
    VCPU_LMI_WRITE_CLEAN = bit(3)
    UMC_READ_CLEAN = bit(4)
    UMC_WRITE_CLEAN = bit(5)
    UMC_WRITE_CLEAN_RAW = bit(6)
    PENDING_UVD_MC_WRITE = bit(7)
    READ_CLEAN_RAW = bit(8)
    UMC_READ_CLEAN_RAW = bit(9)
    UMC_UVD_IDLE = bit(10)
    UMC_AVP_IDLE = bit(11)
    ADP_MC_READ_CLEAN = bit(12)
    ADP_UMC_READ_CLEAN = bit(13)
    BSP0_WRITE_CLEAN = bit(18)
    BSP1_WRITE_CLEAN = bit(19)
    BSP2_WRITE_CLEAN = bit(20)
    BSP3_WRITE_CLEAN = bit(21)
    CENC_READ_CLEAN = bit(22)


class UVD_JPEG_INT_STAT_t(Register):
    __slots__ = ()
    OUTBUF_WPTR_INC_INT = bit(0)
    JOB_AVAIL_INT = bit(1)
    FENCE_VAL_INT = bit(2)
    FIFO_OVERFLOW_ERR_INT = bit(6)
    BLK_CNT_OUT_OF_SYNC_ERR_INT = bit(7)
    EOI_ERR_INT = bit(8)
    HFM_ERR_INT = bit(9)
    RST_ERR_INT = bit(10)
    ECS_MK_ERR_INT = bit(11)
    TIMEOUT_ERR_INT = bit(12)
    MARKER_ERR_INT = bit(13)
    FMT_ERR_INT = bit(14)
    PROFILE_ERR_INT = bit(15)


class UVD_JPEG_PITCH_t(Register):
    __slots__ = ()
    PITCH = bits(31, 0)


class UVD_JPEG_UV_PITCH_t(Register):
    __slots__ = ()
    UV_PITCH = bits(31, 0)


class JPEG_DEC_Y_GFX10_TILING_SURFACE_t(Register):
    __slots__ = ()
    SWIZZLE_MODE = bits(4, 0)


class JPEG_DEC_UV_GFX10_TILING_SURFACE_t(Register):
    __slots__ = ()
    SWIZZLE_MODE = bits(4, 0)


class JPEG_DEC_GFX10_ADDR_CONFIG_t(Register):
    __slots__ = ()
    NUM_PIPES = bits(2, 0)
    PIPE_INTERLEAVE_SIZE = bits(5, 3)
    NUM_PKRS = bits(10, 8)
    NUM_BANKS = bits(14, 12)
    NUM_SHADER_ENGINES = bits(20, 19)


class JPEG_DEC_ADDR_MODE_t(Register):
    __slots__ = ()
    ADDR_MODE_Y = bits(1, 0)
    ADDR_MODE_UV = bits(3, 2)
    ADDR_LIB_SEL = bits(14, 12)


class UVD_JMI_CNTL_t(Register):
    __slots__ = ()
    SOFT_RESET = bit(0)
    MC_RD_REQ_RET_MAX = bits(17, 8)


class JPEG_SYS_INT_EN_t(Register):
    __slots__ = ()
    DJPEG0_CORE = bit(0)
    DJRBC0 = bit(8)
    DJPEG0_PF_RPT = bit(16)
    DJPEG0_RAS_CNTL = bit(24)


class UVD_POWER_STATUS_t(Register):
    __slots__ = ()
    UVD_POWER_STATUS = bit(0)
    UVD_PG_MODE = bit(2)
    UVD_CG_MODE = bits(5, 4)
    UVD_PG_EN = bit(8)
    RBC_SNOOP_DIS = bit(9)
    SW_RB_SNOOP_DIS = bit(11)
    STALL_DPG_POWER_UP = bit(31)


class UVD_JPEG_POWER_STATUS_t(Register):
    __slots__ = ()
    JPEG_POWER_STATUS = bit(0)
    JPEG_PG_MODE = bit(4)
    JRBC_DEC_SNOOP_DIS = bit(8)
    JRBC_ENC_SNOOP_DIS = bit(9)
    STALL_JDPG_POWER_UP = bit(31)


class UVD_DPG_LMA_CTL_t(Register):
    __slots__ = ()
    READ_WRITE = bit(0)
    MASK_EN = bit(1)
    ADDR_AUTO_INCREMENT = bit(2)
    SRAM_SEL = bit(4)
    READ_WRITE_ADDR = bits(31, 14)


class UVD_DPG_LMA_DATA_t(Register):
    __slots__ = ()
    LMA_DATA = bits(31, 0)


class UVD_DPG_LMA_MASK_t(Register):
    __slots__ = ()
    LMA_MASK = bits(31, 0)


class UVD_DPG_PAUSE_t(Register):
    __slots__ = ()
    JPEG_PAUSE_DPG_REQ = bit(0)
    JPEG_PAUSE_DPG_ACK = bit(1)
    NJ_PAUSE_DPG_REQ = bit(2)
    NJ_PAUSE_DPG_ACK = bit(3)


class UVD_PF_STATUS_t(Register):
    __slots__ = ()
    JPEG_PF_OCCURED = bit(0)
    NJ_PF_OCCURED = bit(1)
    ENCODER0_PF_OCCURED = bit(2)
    ENCODER1_PF_OCCURED = bit(3)
    ENCODER2_PF_OCCURED = bit(4)
    ENCODER3_PF_OCCURED = bit(5)
    ENCODER4_PF_OCCURED = bit(6)
    EJPEG_PF_OCCURED = bit(7)
    JPEG_PF_CLEAR = bit(8)
    NJ_PF_CLEAR = bit(9)
    ENCODER0_PF_CLEAR = bit(10)
    ENCODER1_PF_CLEAR = bit(11)
    ENCODER2_PF_CLEAR = bit(12)
    ENCODER3_PF_CLEAR = bit(13)
    ENCODER4_PF_CLEAR = bit(14)
    EJPEG_PF_CLEAR = bit(15)
    NJ_ATM_PF_OCCURED = bit(16)
    DJ_ATM_PF_OCCURED = bit(17)
    EJ_ATM_PF_OCCURED = bit(18)
    JPEG2_PF_OCCURED = bit(19)
    DJ2_ATM_PF_OCCURED = bit(20)
    JPEG2_PF_CLEAR = bit(21)
    ENCODER5_PF_OCCURED = bit(22)
    ENCODER5_PF_CLEAR = bit(23)


class UVD_GFX10_ADDR_CONFIG_t(Register):
    __slots__ = ()
    NUM_PIPES = bits(2, 0)
    PIPE_INTERLEAVE_SIZE = bits(5, 3)
    MAX_COMPRESSED_FRAGS = bits(7, 6)
    NUM_PKRS = bits(10, 8)
    NUM_BANKS = bits(14, 12)
    NUM_SHADER_ENGINES = bits(20, 19)


class UVD_RAS_VCPU_VCODEC_STATUS_t(Register):
    __slots__ = ()
    POISONED_VF = bits(30, 0)
    POISONED_PF = bit(31)


class UVD_RAS_JPEGn_STATUS_t(Register):
    __slots__ = ()
    POISONED_VF = bits(30, 0)
    POISONED_PF = bit(31)


class VCN_JPEG_DB_CTRL_t(Register):
    __slots__ = ()
    OFFSET = bits(27, 2)
    EN = bit(30)
    HIT = bit(31)


class VCN_RB1_DB_CTRL_t(Register):
    __slots__ = ()
    OFFSET = bits(27, 2)
    EN = bit(30)
    HIT = bit(31)


class VCN_RB_ENABLE_t(Register):
    __slots__ = ()
    RB_EN = bit(0)
    JPEG_RB_EN = bit(1)
    RB1_EN = bit(2)
    RB2_EN = bit(3)
    RB3_EN = bit(4)
    RB4_EN = bit(5)
    UMSCH_RB_EN = bit(6)
    EJPEG_RB_EN = bit(7)
    AUDIO_RB_EN = bit(8)


class UVD_RB_RPTR_t(Register):
    __slots__ = ()
    RB_RPTR = bits(22, 4)


class UVD_RB_WPTR_t(Register):
    __slots__ = ()
    RB_WPTR = bits(22, 4)


class UVD_RB_RPTRn_t(Register):
    __slots__ = ()
    RB_RPTR = bits(22, 4)


class UVD_RB_WPTRn_t(Register):
    __slots__ = ()
    RB_WPTR = bits(22, 4)


class Vcn5(RegisterBlock):
    UVD_POWER_STATUS = reg(0x0002, UVD_POWER_STATUS_t, 1)
    UVD_JPEG_POWER_STATUS = reg(0x0003, UVD_JPEG_POWER_STATUS_t, 1)
    UVD_DPG_LMA_CTL = reg(0x0011, UVD_DPG_LMA_CTL_t, 1)
    UVD_DPG_LMA_DATA = reg(0x0012, UVD_DPG_LMA_DATA_t, 1)
    UVD_DPG_LMA_MASK = reg(0x0013, UVD_DPG_LMA_MASK_t, 1)
    UVD_DPG_PAUSE = reg(0x0014, UVD_DPG_PAUSE_t, 1)
    UVD_PF_STATUS = reg(0x002c, UVD_PF_STATUS_t, 1)
    UVD_GFX10_ADDR_CONFIG = reg(0x0042, UVD_GFX10_ADDR_CONFIG_t, 1)
    UVD_RAS_VCPU_VCODEC_STATUS = reg(0x0057, UVD_RAS_VCPU_VCODEC_STATUS_t, 1)
    UVD_RAS_JPEG0_STATUS = reg(0x0059, UVD_RAS_JPEGn_STATUS_t, 1)
    UVD_RAS_JPEG1_STATUS = reg(0x005a, UVD_RAS_JPEGn_STATUS_t, 1)
    VCN_JPEG_DB_CTRL = reg(0x0068, VCN_JPEG_DB_CTRL_t, 1)
    VCN_RB1_DB_CTRL = reg(0x0072, VCN_RB1_DB_CTRL_t, 1)
    VCN_RB_ENABLE = reg(0x0085, VCN_RB_ENABLE_t, 1)
    UVD_RB_RPTR = reg(0x00ac, UVD_RB_RPTR_t, 1)
    UVD_RB_WPTR = reg(0x00ad, UVD_RB_WPTR_t, 1)
    UVD_RB_RPTR2 = reg(0x00ae, UVD_RB_RPTRn_t, 1)
    UVD_RB_WPTR2 = reg(0x00af, UVD_RB_WPTRn_t, 1)
    UVD_RB_RPTR3 = reg(0x00b0, UVD_RB_RPTRn_t, 1)
    UVD_RB_WPTR3 = reg(0x00b1, UVD_RB_WPTRn_t, 1)
    UVD_RB_RPTR4 = reg(0x00b2, UVD_RB_RPTRn_t, 1)
    UVD_RB_WPTR4 = reg(0x00b3, UVD_RB_WPTRn_t, 1)
    UVD_GPCOM_VCPU_DATA0 = reg(0x0110, UVD_GPCOM_VCPU_DATA0_t, 1)
    UVD_GPCOM_VCPU_DATA1 = reg(0x0111, UVD_GPCOM_VCPU_DATA1_t, 1)
    UVD_MASTINT_EN = reg(0x0121, UVD_MASTINT_EN_t, 1)
    UVD_CONTEXT_ID = reg(0x0127, UVD_CONTEXT_ID_t, 1)
    UVD_CONTEXT_ID2 = reg(0x0128, UVD_CONTEXT_ID2_t, 1)
    UVD_RB_BASE_LO = reg(0x012a, UVD_RB_BASE_LO_t, 1)
    UVD_RB_BASE_HI = reg(0x012b, UVD_RB_BASE_HI_t, 1)
    UVD_RB_SIZE = reg(0x012c, UVD_RB_SIZE_t, 1)
    UVD_RB_BASE_LO2 = reg(0x012f, UVD_RB_BASE_LOn_t, 1)
    UVD_RB_BASE_HI2 = reg(0x0130, UVD_RB_BASE_HIn_t, 1)
    UVD_RB_SIZE2 = reg(0x0131, UVD_RB_SIZEn_t, 1)
    UVD_RB_BASE_LO3 = reg(0x0134, UVD_RB_BASE_LOn_t, 1)
    UVD_RB_BASE_HI3 = reg(0x0135, UVD_RB_BASE_HIn_t, 1)
    UVD_RB_SIZE3 = reg(0x0136, UVD_RB_SIZEn_t, 1)
    UVD_RB_BASE_LO4 = reg(0x0139, UVD_RB_BASE_LOn_t, 1)
    UVD_RB_BASE_HI4 = reg(0x013a, UVD_RB_BASE_HIn_t, 1)
    UVD_RB_SIZE4 = reg(0x013b, UVD_RB_SIZEn_t, 1)
    UVD_RB_ARB_CTRL = reg(0x0146, UVD_RB_ARB_CTRL_t, 1)
    UVD_STATUS = reg(0x0183, UVD_STATUS_t, 1)
    UVD_SOFT_RESET = reg(0x0187, UVD_SOFT_RESET_t, 1)
    UVD_GPCOM_VCPU_CMD = reg(0x0192, UVD_GPCOM_VCPU_CMD_t, 1)
    UVD_VCPU_CACHE_OFFSET0 = reg(0x01c0, UVD_VCPU_CACHE_OFFSET0_t, 1)
    UVD_VCPU_CACHE_SIZE0 = reg(0x01c1, UVD_VCPU_CACHE_SIZE0_t, 1)
    UVD_VCPU_CACHE_OFFSET1 = reg(0x01c2, UVD_VCPU_CACHE_OFFSET1_t, 1)
    UVD_VCPU_CACHE_SIZE1 = reg(0x01c3, UVD_VCPU_CACHE_SIZE1_t, 1)
    UVD_VCPU_CACHE_OFFSET2 = reg(0x01c4, UVD_VCPU_CACHE_OFFSET2_t, 1)
    UVD_VCPU_CACHE_SIZE2 = reg(0x01c5, UVD_VCPU_CACHE_SIZE2_t, 1)
    UVD_VCPU_NONCACHE_OFFSET0 = reg(0x01d2, UVD_VCPU_NONCACHE_OFFSET0_t, 1)
    UVD_VCPU_NONCACHE_SIZE0 = reg(0x01d3, UVD_VCPU_NONCACHE_SIZE0_t, 1)
    UVD_VCPU_CNTL = reg(0x01d6, UVD_VCPU_CNTL_t, 1)
    UVD_LMI_VCPU_NC0_64BIT_BAR_LOW = reg(0x02cb, UVD_LMI_VCPU_NC0_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_NC0_64BIT_BAR_HIGH = reg(0x02cc, UVD_LMI_VCPU_NC0_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_VCPU_CACHE_64BIT_BAR_LOW = reg(0x02cf, UVD_LMI_VCPU_CACHE_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_CACHE_64BIT_BAR_HIGH = reg(0x02d0, UVD_LMI_VCPU_CACHE_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_VCPU_CACHE1_64BIT_BAR_LOW = reg(0x02fb, UVD_LMI_VCPU_CACHEn_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_CACHE1_64BIT_BAR_HIGH = reg(0x02fc, UVD_LMI_VCPU_CACHEn_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_VCPU_CACHE2_64BIT_BAR_LOW = reg(0x02ff, UVD_LMI_VCPU_CACHEn_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_CACHE2_64BIT_BAR_HIGH = reg(0x0300, UVD_LMI_VCPU_CACHEn_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_CTRL2 = reg(0x032e, UVD_LMI_CTRL2_t, 1)
    UVD_LMI_CTRL = reg(0x0330, UVD_LMI_CTRL_t, 1)
    UVD_LMI_STATUS = reg(0x0331, UVD_LMI_STATUS_t, 1)
    UVD_JPEG_INT_STAT = reg(0x05cb, UVD_JPEG_INT_STAT_t, 1)
    UVD_JPEG_PITCH = reg(0x0603, UVD_JPEG_PITCH_t, 1)
    UVD_JPEG_UV_PITCH = reg(0x0604, UVD_JPEG_UV_PITCH_t, 1)
    JPEG_DEC_Y_GFX10_TILING_SURFACE = reg(0x0608, JPEG_DEC_Y_GFX10_TILING_SURFACE_t, 1)
    JPEG_DEC_UV_GFX10_TILING_SURFACE = reg(0x0609, JPEG_DEC_UV_GFX10_TILING_SURFACE_t, 1)
    JPEG_DEC_GFX10_ADDR_CONFIG = reg(0x060a, JPEG_DEC_GFX10_ADDR_CONFIG_t, 1)
    JPEG_DEC_ADDR_MODE = reg(0x060b, JPEG_DEC_ADDR_MODE_t, 1)
    UVD_JMI_CNTL = reg(0x06ce, UVD_JMI_CNTL_t, 1)
    JPEG_SYS_INT_EN = reg(0x0701, JPEG_SYS_INT_EN_t, 1)
