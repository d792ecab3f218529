"""VCN, JPEG 4.0.3: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/vcn/vcn_4_0_3_offset.h
  drivers/gpu/drm/amd/include/asic_reg/vcn/vcn_4_0_3_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class UVD_CGC_GATE_t(Register):
    __slots__ = ()
    SYS = bit(0)
    UDEC = bit(1)
    MPEG2 = bit(2)
    REGS = bit(3)
    RBC = bit(4)
    LMI_MC = bit(5)
    LMI_UMC = bit(6)
    IDCT = bit(7)
    MPRD = bit(8)
    MPC = bit(9)
    LBSI = bit(10)
    LRBBM = bit(11)
    UDEC_RE = bit(12)
    UDEC_CM = bit(13)
    UDEC_IT = bit(14)
    UDEC_DB = bit(15)
    UDEC_MP = bit(16)
    WCB = bit(17)
    VCPU = bit(18)
    MMSCH = bit(20)
    LCM0 = bit(21)
    LCM1 = bit(22)
    MIF = bit(23)
    VREG = bit(24)
    PE = bit(25)
    PPU = bit(26)


class UVD_CGC_CTRL_t(Register):
    __slots__ = ()
    DYN_CLOCK_MODE = bit(0)
    CLK_GATE_DLY_TIMER = bits(5, 2)
    CLK_OFF_DELAY = bits(10, 6)
    UDEC_RE_MODE = bit(11)
    UDEC_CM_MODE = bit(12)
    UDEC_IT_MODE = bit(13)
    UDEC_DB_MODE = bit(14)
    UDEC_MP_MODE = bit(15)
    SYS_MODE = bit(16)
    UDEC_MODE = bit(17)
    MPEG2_MODE = bit(18)
    REGS_MODE = bit(19)
    RBC_MODE = bit(20)
    LMI_MC_MODE = bit(21)
    LMI_UMC_MODE = bit(22)
    IDCT_MODE = bit(23)
    MPRD_MODE = bit(24)
    MPC_MODE = bit(25)
    LBSI_MODE = bit(26)
    LRBBM_MODE = bit(27)
    WCB_MODE = bit(28)
    VCPU_MODE = bit(29)
    MMSCH_MODE = bit(31)


class UVD_SUVD_CGC_GATE_t(Register):
    __slots__ = ()
    SRE = bit(0)
    SIT = bit(1)
    SMP = bit(2)
    SCM = bit(3)
    SDB = bit(4)
    SRE_H264 = bit(5)
    SRE_HEVC = bit(6)
    SIT_H264 = bit(7)
    SIT_HEVC = bit(8)
    SCM_H264 = bit(9)
    SCM_HEVC = bit(10)
    SDB_H264 = bit(11)
    SDB_HEVC = bit(12)
    SCLR = bit(13)
    UVD_SC = bit(14)
    ENT = bit(15)
    IME = bit(16)
    SIT_HEVC_DEC = bit(17)
    SIT_HEVC_ENC = bit(18)
    SITE = bit(19)
    SRE_VP9 = bit(20)
    SCM_VP9 = bit(21)
    SIT_VP9_DEC = bit(22)
    SDB_VP9 = bit(23)
    IME_HEVC = bit(24)
    EFC = bit(25)
    SAOE = bit(26)
    SRE_AV1 = bit(27)
    FBC_PCLK = bit(28)
    FBC_CCLK = bit(29)
    SCM_AV1 = bit(30)
    SMPA = bit(31)


class UVD_SUVD_CGC_CTRL_t(Register):
    __slots__ = ()
    SRE_MODE = bit(0)
    SIT_MODE = bit(1)
    SMP_MODE = bit(2)
    SCM_MODE = bit(3)
    SDB_MODE = bit(4)
    SCLR_MODE = bit(5)
    UVD_SC_MODE = bit(6)
    ENT_MODE = bit(7)
    IME_MODE = bit(8)
    SITE_MODE = bit(9)
    EFC_MODE = bit(10)
    SAOE_MODE = bit(11)
    SMPA_MODE = bit(12)
    MPBE0_MODE = bit(13)
    MPBE1_MODE = bit(14)
    SIT_AV1_MODE = bit(15)
    SDB_AV1_MODE = bit(16)
    MPC1_MODE = bit(17)
    AVM_0_MODE = bit(18)
    AVM_1_MODE = bit(19)
    SIT_NXT_CMN_MODE = bit(20)
    SIT_NXT_DEC_MODE = bit(21)
    SIT_NXT_ENC_MODE = bit(22)
    FBC_PCLK = bit(28)
    FBC_CCLK = bit(29)
    CDEFE_MODE = bit(30)


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
    INT_OVERRUN = bits(23, 4)


class UVD_SYS_INT_EN_t(Register):
    __slots__ = ()
    PIF_ADDR_ERR_EN = bit(0)
    SEMA_WAIT_FAULT_TIMEOUT_EN = bit(1)
    SEMA_SIGNAL_INCOMPLETE_TIMEOUT_EN = bit(2)
    CXW_WR_EN = bit(3)
    RBC_REG_PRIV_FAULT_EN = bit(6)
    LBSI_EN = bit(11)
    UDEC_EN = bit(12)
    LMI_AXI_UNSUPPORTED_LEN_EN = bit(13)
    LMI_AXI_UNSUPPORTED_ADR_ALIGN_EN = bit(14)
    SUVD_EN = bit(15)
    JOB_DONE_EN = bit(16)
    SEMA_WAIT_FAIL_SIG_EN = bit(23)
    IDCT_EN = bit(24)
    MPRD_EN = bit(25)
    RASCNTL_VCPU_VCODEC_EN = bit(26)
    CLK_SWT_EN = bit(27)
    MIF_HWINT_EN = bit(28)
    MPRD_ERR_EN = bit(29)
    AVM_INT_EN = bit(31)


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


class UVD_VCPU_INT_EN2_t(Register):
    __slots__ = ()
    SW_RB6_INT_EN = bit(0)
    RASCNTL_VCPU_VCODEC_EN = bit(1)


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


class UVD_MPC_CNTL_t(Register):
    __slots__ = ()
    BLK_RST = bit(0)
    REG_MPC1_PERF_SELECT = bit(1)
    REPLACEMENT_MODE = bits(5, 3)
    PERF_RST = bit(6)
    REG_MPC_CNTL_BACKWARD_COMPATIBILITY = bit(7)
    DBG_MUX = bits(11, 8)
    AVE_WEIGHT = bits(17, 16)
    URGENT_EN = bit(18)
    SMPAT_REQ_SPEED_UP = bit(19)
    TEST_MODE_EN = bits(21, 20)


class UVD_MPC_SET_MUXA0_t(Register):
    __slots__ = ()
    VARA_0 = bits(5, 0)
    VARA_1 = bits(11, 6)
    VARA_2 = bits(17, 12)
    VARA_3 = bits(23, 18)
    VARA_4 = bits(29, 24)


class UVD_MPC_SET_MUXB0_t(Register):
    __slots__ = ()
    VARB_0 = bits(5, 0)
    VARB_1 = bits(11, 6)
    VARB_2 = bits(17, 12)
    VARB_3 = bits(23, 18)
    VARB_4 = bits(29, 24)


class UVD_MPC_SET_MUX_t(Register):
    __slots__ = ()
    SET_0 = bits(2, 0)
    SET_1 = bits(5, 3)
    SET_2 = bits(8, 6)


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
    RFU = bits(31, 30)


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


class VCN_RAS_CNTL_t(Register):
    __slots__ = ()
    VCPU_VCODEC_IH_EN = bit(0)
    VCPU_VCODEC_PMI_EN = bit(4)
    VCPU_VCODEC_REARM = bit(8)
    VCPU_VCODEC_STALL_EN = bit(12)
    VCPU_VCODEC_READY = bit(16)


class VCN_RRMT_CNTL_t(Register):
    __slots__ = ()


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
    FC_TIMEOUT_ERR_INT = bit(16)
    FC_FMT_ERR_INT = bit(17)
    FC_SRC_ERR_INT = bit(18)
    CROP_SIZE_ERR_INT = bit(19)


class UVD_JPEG_PITCH_t(Register):
    __slots__ = ()
    PITCH = bits(31, 0)


class UVD_JPEG_UV_PITCH_t(Register):
    __slots__ = ()
    UV_PITCH = bits(31, 0)


class JPEG_DEC_GFX8_ADDR_CONFIG_t(Register):
    __slots__ = ()
    PIPE_INTERLEAVE_SIZE = bits(6, 4)


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


class UVD_JRBC0_UVD_JRBC_RB_WPTR_t(Register):
    __slots__ = ()
    RB_WPTR = bits(22, 4)


class UVD_JRBC0_UVD_JRBC_RB_CNTL_t(Register):
    __slots__ = ()
    RB_NO_FETCH = bit(0)
    RB_RPTR_WR_EN = bit(1)
    RB_PRE_WRITE_TIMER = bits(18, 4)


class UVD_JRBC0_UVD_JRBC_IB_SIZE_t(Register):
    __slots__ = ()
    IB_SIZE = bits(22, 4)


class UVD_JRBC0_UVD_JRBC_RB_REF_DATA_t(Register):
    __slots__ = ()
    REF_DATA = bits(31, 0)


class UVD_JRBC0_UVD_JRBC_RB_COND_RD_TIMER_t(Register):
    __slots__ = ()
    RETRY_TIMER_CNT = bits(15, 0)
    RETRY_INTERVAL_CNT = bits(23, 16)
    CONTINUOUS_POLL_EN = bit(24)
    MEM_TIMEOUT_EN = bit(25)


class UVD_JRBC0_UVD_JRBC_STATUS_t(Register):
    __slots__ = ()
    RB_JOB_DONE = bit(0)
    IB_JOB_DONE = bit(1)
    RB_ILLEGAL_CMD = bit(2)
    RB_COND_REG_RD_TIMEOUT = bit(3)
    RB_MEM_WR_TIMEOUT = bit(4)
    RB_MEM_RD_TIMEOUT = bit(5)
    IB_ILLEGAL_CMD = bit(6)
    IB_COND_REG_RD_TIMEOUT = bit(7)
    IB_MEM_WR_TIMEOUT = bit(8)
    IB_MEM_RD_TIMEOUT = bit(9)
    RB_TRAP_STATUS = bit(10)
    PREEMPT_STATUS = bit(11)
    IB_TRAP_STATUS = bit(12)
    INT_EN = bit(16)
    INT_ACK = bit(17)


class UVD_JRBC0_UVD_JRBC_RB_RPTR_t(Register):
    __slots__ = ()
    RB_RPTR = bits(22, 4)


class UVD_JRBC0_UVD_JRBC_IB_COND_RD_TIMER_t(Register):
    __slots__ = ()
    RETRY_TIMER_CNT = bits(15, 0)
    RETRY_INTERVAL_CNT = bits(23, 16)
    CONTINUOUS_POLL_EN = bit(24)
    MEM_TIMEOUT_EN = bit(25)


class UVD_JRBC0_UVD_JRBC_IB_REF_DATA_t(Register):
    __slots__ = ()
    REF_DATA = bits(31, 0)


class UVD_JRBC0_UVD_JRBC_RB_SIZE_t(Register):
    __slots__ = ()
    RB_SIZE = bits(23, 4)


class UVD_JRBC0_UVD_JRBC_SCRATCH0_t(Register):
    __slots__ = ()
    SCRATCH0 = bits(31, 0)


class UVD_JMI0_JPEG_LMI_DROP_t(Register):
    __slots__ = ()
    JPEG_WR_DROP = bit(0)
    JRBC_WR_DROP = bit(1)
    JPEG_RD_DROP = bit(2)
    JRBC_RD_DROP = bit(3)
    JPEG_ATOMIC_WR_DROP = bit(4)


class UVD_JMI0_UVD_LMI_JRBC_IB_VMID_t(Register):
    __slots__ = ()
    IB_WR_VMID = bits(3, 0)
    IB_RD_VMID = bits(7, 4)
    MEM_RD_VMID = bits(11, 8)


class UVD_JMI0_UVD_LMI_JRBC_RB_VMID_t(Register):
    __slots__ = ()
    RB_WR_VMID = bits(3, 0)
    RB_RD_VMID = bits(7, 4)
    MEM_RD_VMID = bits(11, 8)


class UVD_JMI0_UVD_LMI_JPEG_VMID_t(Register):
    __slots__ = ()
    JPEG_RD_VMID = bits(3, 0)
    JPEG_WR_VMID = bits(7, 4)
    ATOMIC_USER0_WR_VMID = bits(11, 8)


class UVD_JMI0_UVD_LMI_JRBC_RB_64BIT_BAR_LOW_t(Register):
    __slots__ = ()
    BITS_31_0 = bits(31, 0)


class UVD_JMI0_UVD_LMI_JRBC_RB_64BIT_BAR_HIGH_t(Register):
    __slots__ = ()
    BITS_63_32 = bits(31, 0)


class UVD_JMI0_UVD_LMI_JRBC_RB_MEM_WR_64BIT_BAR_LOW_t(Register):
    __slots__ = ()
    BITS_31_0 = bits(31, 0)


class UVD_JMI0_UVD_LMI_JRBC_RB_MEM_WR_64BIT_BAR_HIGH_t(Register):
    __slots__ = ()
    BITS_63_32 = bits(31, 0)


class UVD_JMI0_UVD_LMI_JRBC_IB_64BIT_BAR_LOW_t(Register):
    __slots__ = ()
    BITS_31_0 = bits(31, 0)


class UVD_JMI0_UVD_LMI_JRBC_IB_64BIT_BAR_HIGH_t(Register):
    __slots__ = ()
    BITS_63_32 = bits(31, 0)


class UVD_JMI0_UVD_LMI_JRBC_IB_MEM_WR_64BIT_BAR_LOW_t(Register):
    __slots__ = ()
    BITS_31_0 = bits(31, 0)


class UVD_JMI0_UVD_LMI_JRBC_IB_MEM_WR_64BIT_BAR_HIGH_t(Register):
    __slots__ = ()
    BITS_63_32 = bits(31, 0)


class UVD_JMI0_UVD_JMI_CLIENT_STALL_t(Register):
    __slots__ = ()


class UVD_JMI0_UVD_JMI_CLIENT_CLEAN_STATUS_t(Register):
    __slots__ = ()


class UVD_JMI_CNTL_t(Register):
    __slots__ = ()
    SOFT_RESET = bit(0)
    MC_RD_REQ_RET_MAX = bits(17, 8)


class JPEG_SYS_INT_EN_t(Register):
    __slots__ = ()
    DJPEG0_CORE = bit(0)
    DJPEG1_CORE = bit(1)
    DJPEG2_CORE = bit(2)
    DJPEG3_CORE = bit(3)
    DJPEG4_CORE = bit(4)
    DJPEG5_CORE = bit(5)
    DJPEG6_CORE = bit(6)
    DJPEG7_CORE = bit(7)
    DJRBC0 = bit(8)
    DJRBC1 = bit(9)
    DJRBC2 = bit(10)
    DJRBC3 = bit(11)
    DJRBC4 = bit(12)
    DJRBC5 = bit(13)
    DJRBC6 = bit(14)
    DJRBC7 = bit(15)
    DJPEG0_PF_RPT = bit(16)
    DJPEG1_PF_RPT = bit(17)
    DJPEG2_PF_RPT = bit(18)
    DJPEG3_PF_RPT = bit(19)
    DJPEG4_PF_RPT = bit(20)
    DJPEG5_PF_RPT = bit(21)
    DJPEG6_PF_RPT = bit(22)
    DJPEG7_PF_RPT = bit(23)
    DJPEG0_RAS_CNTL = bit(24)
    DJPEG1_RAS_CNTL = bit(25)


class JPEG_SYS_INT_STATUS_t(Register):
    __slots__ = ()
    DJPEG0_CORE = bit(0)
    DJPEG1_CORE = bit(1)
    DJPEG2_CORE = bit(2)
    DJPEG3_CORE = bit(3)
    DJPEG4_CORE = bit(4)
    DJPEG5_CORE = bit(5)
    DJPEG6_CORE = bit(6)
    DJPEG7_CORE = bit(7)
    DJRBC0 = bit(8)
    DJRBC1 = bit(9)
    DJRBC2 = bit(10)
    DJRBC3 = bit(11)
    DJRBC4 = bit(12)
    DJRBC5 = bit(13)
    DJRBC6 = bit(14)
    DJRBC7 = bit(15)
    DJPEG0_PF_RPT = bit(16)
    DJPEG1_PF_RPT = bit(17)
    DJPEG2_PF_RPT = bit(18)
    DJPEG3_PF_RPT = bit(19)
    DJPEG4_PF_RPT = bit(20)
    DJPEG5_PF_RPT = bit(21)
    DJPEG6_PF_RPT = bit(22)
    DJPEG7_PF_RPT = bit(23)
    DJPEG0_RAS_CNTL = bit(24)
    DJPEG1_RAS_CNTL = bit(25)


class JPEG_CGC_GATE_t(Register):
    __slots__ = ()
    JPEG0_DEC = bit(0)
    JPEG1_DEC = bit(1)
    JPEG2_DEC = bit(2)
    JPEG3_DEC = bit(3)
    JPEG4_DEC = bit(4)
    JPEG5_DEC = bit(5)
    JPEG6_DEC = bit(6)
    JPEG7_DEC = bit(7)
    JPEG_ENC = bit(8)
    JMCIF = bit(9)
    JRBBM = bit(10)


class JPEG_CGC_CTRL_t(Register):
    __slots__ = ()
    DYN_CLOCK_MODE = bit(0)
    CLK_GATE_DLY_TIMER = bits(4, 1)
    CLK_OFF_DELAY = bits(12, 5)
    JPEG0_DEC_MODE = bit(16)
    JPEG1_DEC_MODE = bit(17)
    JPEG2_DEC_MODE = bit(18)
    JPEG3_DEC_MODE = bit(19)
    JPEG4_DEC_MODE = bit(20)
    JPEG5_DEC_MODE = bit(21)
    JPEG6_DEC_MODE = bit(22)
    JPEG7_DEC_MODE = bit(23)
    JPEG_ENC_MODE = bit(24)
    JMCIF_MODE = bit(25)
    JRBBM_MODE = bit(26)


class JPEG_CORE_RST_CTRL_t(Register):
    __slots__ = ()


class UVD_PGFSM_CONFIG_t(Register):
    __slots__ = ()
    UVDM_PWR_CONFIG = bits(1, 0)
    UVDS_PWR_CONFIG = bits(3, 2)
    UVDF_PWR_CONFIG = bits(5, 4)
    UVDTC_PWR_CONFIG = bits(7, 6)
    UVDB_PWR_CONFIG = bits(9, 8)
    UVDTA_PWR_CONFIG = bits(11, 10)
    UVDLM_PWR_CONFIG = bits(13, 12)
    UVDTD_PWR_CONFIG = bits(15, 14)
    UVDTE_PWR_CONFIG = bits(17, 16)
    UVDE_PWR_CONFIG = bits(19, 18)
    UVDAB_PWR_CONFIG = bits(21, 20)
    UVDJ_PWR_CONFIG = bits(23, 22)
    UVDTB_PWR_CONFIG = bits(25, 24)
    UVDNA_PWR_CONFIG = bits(27, 26)
    UVDNB_PWR_CONFIG = bits(29, 28)


class UVD_PGFSM_STATUS_t(Register):
    __slots__ = ()
    UVDM_PWR_STATUS = bits(1, 0)
    UVDS_PWR_STATUS = bits(3, 2)
    UVDF_PWR_STATUS = bits(5, 4)
    UVDTC_PWR_STATUS = bits(7, 6)
    UVDB_PWR_STATUS = bits(9, 8)
    UVDTA_PWR_STATUS = bits(11, 10)
    UVDLM_PWR_STATUS = bits(13, 12)
    UVDTD_PWR_STATUS = bits(15, 14)
    UVDTE_PWR_STATUS = bits(17, 16)
    UVDE_PWR_STATUS = bits(19, 18)
    UVDAB_PWR_STATUS = bits(21, 20)
    UVDJ_PWR_STATUS = bits(23, 22)
    UVDTB_PWR_STATUS = bits(25, 24)
    UVDNA_PWR_STATUS = bits(27, 26)
    UVDNB_PWR_STATUS = bits(29, 28)


class UVD_POWER_STATUS_t(Register):
    __slots__ = ()
    UVD_POWER_STATUS = bits(1, 0)
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
    READ_WRITE_ADDR = bits(31, 16)


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


class UVD_GFX8_ADDR_CONFIG_t(Register):
    __slots__ = ()
    PIPE_INTERLEAVE_SIZE = bits(6, 4)


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


class VCN_UE_ERR_STATUS_LO_VIDD_t(Register):
    __slots__ = ()
    Err_Status_Valid_Flag = bit(0)
    Address_Valid_Flag = bit(1)
    Address = bits(23, 2)
    Memory_id = bits(31, 24)


class VCN_UE_ERR_STATUS_HI_VIDD_t(Register):
    __slots__ = ()
    ECC = bit(0)
    Parity = bit(1)
    Err_Info_Valid_Flag = bit(2)
    Err_Info = bits(22, 3)
    UE_Cnt = bits(25, 23)
    FED_Cnt = bits(28, 26)
    RESERVED = bits(30, 29)
    Err_clr = bit(31)


class VCN_UE_ERR_STATUS_LO_VIDV_t(Register):
    __slots__ = ()
    Err_Status_Valid_Flag = bit(0)
    Address_Valid_Flag = bit(1)
    Address = bits(23, 2)
    Memory_id = bits(31, 24)


class VCN_UE_ERR_STATUS_HI_VIDV_t(Register):
    __slots__ = ()
    ECC = bit(0)
    Parity = bit(1)
    Err_Info_Valid_Flag = bit(2)
    Err_Info = bits(22, 3)
    UE_Cnt = bits(25, 23)
    FED_Cnt = bits(28, 26)
    RESERVED = bits(30, 29)
    Err_clr = bit(31)


class VCN_UE_ERR_STATUS_LO_JPEGnS_t(Register):
    __slots__ = ()
    Err_Status_Valid_Flag = bit(0)
    Address_Valid_Flag = bit(1)
    Address = bits(23, 2)
    Memory_id = bits(31, 24)


class VCN_UE_ERR_STATUS_HI_JPEGnS_t(Register):
    __slots__ = ()
    ECC = bit(0)
    Parity = bit(1)
    Err_Info_Valid_Flag = bit(2)
    Err_Info = bits(22, 3)
    UE_Cnt = bits(25, 23)
    FED_Cnt = bits(28, 26)
    RESERVED = bits(30, 29)
    Err_clr = bit(31)


class VCN_UE_ERR_STATUS_LO_JPEGnD_t(Register):
    __slots__ = ()
    Err_Status_Valid_Flag = bit(0)
    Address_Valid_Flag = bit(1)
    Address = bits(23, 2)
    Memory_id = bits(31, 24)


class VCN_UE_ERR_STATUS_HI_JPEGnD_t(Register):
    __slots__ = ()
    ECC = bit(0)
    Parity = bit(1)
    Err_Info_Valid_Flag = bit(2)
    Err_Info = bits(22, 3)
    UE_Cnt = bits(25, 23)
    FED_Cnt = bits(28, 26)
    RESERVED = bits(30, 29)
    Err_clr = bit(31)


class Vcn(RegisterBlock):
    UVD_PGFSM_CONFIG = reg(0x0000, UVD_PGFSM_CONFIG_t, 1)
    UVD_PGFSM_STATUS = reg(0x0001, UVD_PGFSM_STATUS_t, 1)
    UVD_POWER_STATUS = reg(0x0002, UVD_POWER_STATUS_t, 1)
    UVD_JPEG_POWER_STATUS = reg(0x0003, UVD_JPEG_POWER_STATUS_t, 1)
    UVD_DPG_LMA_CTL = reg(0x0011, UVD_DPG_LMA_CTL_t, 1)
    UVD_DPG_LMA_DATA = reg(0x0012, UVD_DPG_LMA_DATA_t, 1)
    UVD_DPG_LMA_MASK = reg(0x0013, UVD_DPG_LMA_MASK_t, 1)
    UVD_DPG_PAUSE = reg(0x0014, UVD_DPG_PAUSE_t, 1)
    UVD_PF_STATUS = reg(0x002c, UVD_PF_STATUS_t, 1)
    UVD_GFX8_ADDR_CONFIG = reg(0x0041, UVD_GFX8_ADDR_CONFIG_t, 1)
    UVD_GFX10_ADDR_CONFIG = reg(0x0042, UVD_GFX10_ADDR_CONFIG_t, 1)
    UVD_RAS_VCPU_VCODEC_STATUS = reg(0x0057, UVD_RAS_VCPU_VCODEC_STATUS_t, 1)
    UVD_RAS_JPEG0_STATUS = reg(0x0059, UVD_RAS_JPEGn_STATUS_t, 1)
    UVD_RAS_JPEG1_STATUS = reg(0x005a, UVD_RAS_JPEGn_STATUS_t, 1)
    VCN_JPEG_DB_CTRL = reg(0x0071, VCN_JPEG_DB_CTRL_t, 1)
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
    UVD_CGC_GATE = reg(0x00c1, UVD_CGC_GATE_t, 1)
    UVD_CGC_CTRL = reg(0x00c2, UVD_CGC_CTRL_t, 1)
    UVD_SUVD_CGC_GATE = reg(0x00c4, UVD_SUVD_CGC_GATE_t, 1)
    UVD_SUVD_CGC_CTRL = reg(0x00c6, UVD_SUVD_CGC_CTRL_t, 1)
    UVD_GPCOM_VCPU_DATA0 = reg(0x00d0, UVD_GPCOM_VCPU_DATA0_t, 1)
    UVD_GPCOM_VCPU_DATA1 = reg(0x00d1, UVD_GPCOM_VCPU_DATA1_t, 1)
    UVD_MASTINT_EN = reg(0x00e1, UVD_MASTINT_EN_t, 1)
    UVD_SYS_INT_EN = reg(0x00e2, UVD_SYS_INT_EN_t, 1)
    UVD_CONTEXT_ID = reg(0x00e7, UVD_CONTEXT_ID_t, 1)
    UVD_CONTEXT_ID2 = reg(0x00e8, UVD_CONTEXT_ID2_t, 1)
    UVD_RB_BASE_LO = reg(0x00ea, UVD_RB_BASE_LO_t, 1)
    UVD_RB_BASE_HI = reg(0x00eb, UVD_RB_BASE_HI_t, 1)
    UVD_RB_SIZE = reg(0x00ec, UVD_RB_SIZE_t, 1)
    UVD_RB_BASE_LO2 = reg(0x00ef, UVD_RB_BASE_LOn_t, 1)
    UVD_RB_BASE_HI2 = reg(0x00f0, UVD_RB_BASE_HIn_t, 1)
    UVD_RB_SIZE2 = reg(0x00f1, UVD_RB_SIZEn_t, 1)
    UVD_RB_BASE_LO3 = reg(0x00f4, UVD_RB_BASE_LOn_t, 1)
    UVD_RB_BASE_HI3 = reg(0x00f5, UVD_RB_BASE_HIn_t, 1)
    UVD_RB_SIZE3 = reg(0x00f6, UVD_RB_SIZEn_t, 1)
    UVD_RB_BASE_LO4 = reg(0x00f9, UVD_RB_BASE_LOn_t, 1)
    UVD_RB_BASE_HI4 = reg(0x00fa, UVD_RB_BASE_HIn_t, 1)
    UVD_RB_SIZE4 = reg(0x00fb, UVD_RB_SIZEn_t, 1)
    UVD_RB_ARB_CTRL = reg(0x0106, UVD_RB_ARB_CTRL_t, 1)
    UVD_VCPU_INT_EN2 = reg(0x013d, UVD_VCPU_INT_EN2_t, 1)
    UVD_STATUS = reg(0x0143, UVD_STATUS_t, 1)
    UVD_SOFT_RESET = reg(0x0147, UVD_SOFT_RESET_t, 1)
    UVD_GPCOM_VCPU_CMD = reg(0x0152, UVD_GPCOM_VCPU_CMD_t, 1)
    UVD_VCPU_CACHE_OFFSET0 = reg(0x0180, UVD_VCPU_CACHE_OFFSET0_t, 1)
    UVD_VCPU_CACHE_SIZE0 = reg(0x0181, UVD_VCPU_CACHE_SIZE0_t, 1)
    UVD_VCPU_CACHE_OFFSET1 = reg(0x0182, UVD_VCPU_CACHE_OFFSET1_t, 1)
    UVD_VCPU_CACHE_SIZE1 = reg(0x0183, UVD_VCPU_CACHE_SIZE1_t, 1)
    UVD_VCPU_CACHE_OFFSET2 = reg(0x0184, UVD_VCPU_CACHE_OFFSET2_t, 1)
    UVD_VCPU_CACHE_SIZE2 = reg(0x0185, UVD_VCPU_CACHE_SIZE2_t, 1)
    UVD_VCPU_NONCACHE_OFFSET0 = reg(0x0192, UVD_VCPU_NONCACHE_OFFSET0_t, 1)
    UVD_VCPU_NONCACHE_SIZE0 = reg(0x0193, UVD_VCPU_NONCACHE_SIZE0_t, 1)
    UVD_VCPU_CNTL = reg(0x0196, UVD_VCPU_CNTL_t, 1)
    UVD_MPC_CNTL = reg(0x01d4, UVD_MPC_CNTL_t, 1)
    UVD_MPC_SET_MUXA0 = reg(0x01d6, UVD_MPC_SET_MUXA0_t, 1)
    UVD_MPC_SET_MUXB0 = reg(0x01d8, UVD_MPC_SET_MUXB0_t, 1)
    UVD_MPC_SET_MUX = reg(0x01da, UVD_MPC_SET_MUX_t, 1)
    UVD_LMI_VCPU_NC0_64BIT_BAR_LOW = reg(0x0240, UVD_LMI_VCPU_NC0_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_NC0_64BIT_BAR_HIGH = reg(0x0241, UVD_LMI_VCPU_NC0_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_VCPU_CACHE_64BIT_BAR_LOW = reg(0x0244, UVD_LMI_VCPU_CACHE_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_CACHE_64BIT_BAR_HIGH = reg(0x0245, UVD_LMI_VCPU_CACHE_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_VCPU_CACHE1_64BIT_BAR_LOW = reg(0x0270, UVD_LMI_VCPU_CACHEn_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_CACHE1_64BIT_BAR_HIGH = reg(0x0271, UVD_LMI_VCPU_CACHEn_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_VCPU_CACHE2_64BIT_BAR_LOW = reg(0x0274, UVD_LMI_VCPU_CACHEn_64BIT_BAR_LOW_t, 1)
    UVD_LMI_VCPU_CACHE2_64BIT_BAR_HIGH = reg(0x0275, UVD_LMI_VCPU_CACHEn_64BIT_BAR_HIGH_t, 1)
    UVD_LMI_CTRL2 = reg(0x02ae, UVD_LMI_CTRL2_t, 1)
    UVD_LMI_CTRL = reg(0x02b0, UVD_LMI_CTRL_t, 1)
    UVD_LMI_STATUS = reg(0x02b1, UVD_LMI_STATUS_t, 1)
    VCN_RAS_CNTL = reg(0x02df, VCN_RAS_CNTL_t, 1)
    UVD_JPEG_INT_STAT = reg(0x05cb, UVD_JPEG_INT_STAT_t, 1)
    UVD_JPEG_PITCH = reg(0x0603, UVD_JPEG_PITCH_t, 1)
    UVD_JPEG_UV_PITCH = reg(0x0604, UVD_JPEG_UV_PITCH_t, 1)
    JPEG_DEC_GFX8_ADDR_CONFIG = reg(0x0607, JPEG_DEC_GFX8_ADDR_CONFIG_t, 1)
    JPEG_DEC_Y_GFX10_TILING_SURFACE = reg(0x0608, JPEG_DEC_Y_GFX10_TILING_SURFACE_t, 1)
    JPEG_DEC_UV_GFX10_TILING_SURFACE = reg(0x0609, JPEG_DEC_UV_GFX10_TILING_SURFACE_t, 1)
    JPEG_DEC_GFX10_ADDR_CONFIG = reg(0x060a, JPEG_DEC_GFX10_ADDR_CONFIG_t, 1)
    JPEG_DEC_ADDR_MODE = reg(0x060b, JPEG_DEC_ADDR_MODE_t, 1)
    UVD_JRBC0_UVD_JRBC_RB_WPTR = reg(0x0640, UVD_JRBC0_UVD_JRBC_RB_WPTR_t, 1)
    UVD_JRBC0_UVD_JRBC_RB_CNTL = reg(0x0641, UVD_JRBC0_UVD_JRBC_RB_CNTL_t, 1)
    UVD_JRBC0_UVD_JRBC_IB_SIZE = reg(0x0642, UVD_JRBC0_UVD_JRBC_IB_SIZE_t, 1)
    UVD_JRBC0_UVD_JRBC_RB_REF_DATA = reg(0x0644, UVD_JRBC0_UVD_JRBC_RB_REF_DATA_t, 1)
    UVD_JRBC0_UVD_JRBC_RB_COND_RD_TIMER = reg(0x0645, UVD_JRBC0_UVD_JRBC_RB_COND_RD_TIMER_t, 1)
    UVD_JRBC0_UVD_JRBC_STATUS = reg(0x0649, UVD_JRBC0_UVD_JRBC_STATUS_t, 1)
    UVD_JRBC0_UVD_JRBC_RB_RPTR = reg(0x064a, UVD_JRBC0_UVD_JRBC_RB_RPTR_t, 1)
    UVD_JRBC0_UVD_JRBC_IB_COND_RD_TIMER = reg(0x064e, UVD_JRBC0_UVD_JRBC_IB_COND_RD_TIMER_t, 1)
    UVD_JRBC0_UVD_JRBC_IB_REF_DATA = reg(0x064f, UVD_JRBC0_UVD_JRBC_IB_REF_DATA_t, 1)
    UVD_JRBC0_UVD_JRBC_RB_SIZE = reg(0x0653, UVD_JRBC0_UVD_JRBC_RB_SIZE_t, 1)
    UVD_JRBC0_UVD_JRBC_SCRATCH0 = reg(0x0654, UVD_JRBC0_UVD_JRBC_SCRATCH0_t, 1)
    UVD_JMI0_JPEG_LMI_DROP = reg(0x0663, UVD_JMI0_JPEG_LMI_DROP_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_IB_VMID = reg(0x0664, UVD_JMI0_UVD_LMI_JRBC_IB_VMID_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_RB_VMID = reg(0x0665, UVD_JMI0_UVD_LMI_JRBC_RB_VMID_t, 1)
    UVD_JMI0_UVD_LMI_JPEG_VMID = reg(0x0666, UVD_JMI0_UVD_LMI_JPEG_VMID_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_RB_64BIT_BAR_LOW = reg(0x0669, UVD_JMI0_UVD_LMI_JRBC_RB_64BIT_BAR_LOW_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_RB_64BIT_BAR_HIGH = reg(0x066a, UVD_JMI0_UVD_LMI_JRBC_RB_64BIT_BAR_HIGH_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_RB_MEM_WR_64BIT_BAR_LOW = reg(0x066b, UVD_JMI0_UVD_LMI_JRBC_RB_MEM_WR_64BIT_BAR_LOW_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_RB_MEM_WR_64BIT_BAR_HIGH = reg(0x066c, UVD_JMI0_UVD_LMI_JRBC_RB_MEM_WR_64BIT_BAR_HIGH_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_IB_64BIT_BAR_LOW = reg(0x0676, UVD_JMI0_UVD_LMI_JRBC_IB_64BIT_BAR_LOW_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_IB_64BIT_BAR_HIGH = reg(0x0677, UVD_JMI0_UVD_LMI_JRBC_IB_64BIT_BAR_HIGH_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_IB_MEM_WR_64BIT_BAR_LOW = reg(0x0678, UVD_JMI0_UVD_LMI_JRBC_IB_MEM_WR_64BIT_BAR_LOW_t, 1)
    UVD_JMI0_UVD_LMI_JRBC_IB_MEM_WR_64BIT_BAR_HIGH = reg(0x0679, UVD_JMI0_UVD_LMI_JRBC_IB_MEM_WR_64BIT_BAR_HIGH_t, 1)
    UVD_JMI0_UVD_JMI_CLIENT_STALL = reg(0x067a, UVD_JMI0_UVD_JMI_CLIENT_STALL_t, 1)
    UVD_JMI0_UVD_JMI_CLIENT_CLEAN_STATUS = reg(0x067b, UVD_JMI0_UVD_JMI_CLIENT_CLEAN_STATUS_t, 1)
    UVD_JMI_CNTL = reg(0x06ce, UVD_JMI_CNTL_t, 1)
    JPEG_SYS_INT_EN = reg(0x0701, JPEG_SYS_INT_EN_t, 1)
    JPEG_SYS_INT_STATUS = reg(0x0703, JPEG_SYS_INT_STATUS_t, 1)
    JPEG_CGC_GATE = reg(0x0720, JPEG_CGC_GATE_t, 1)
    JPEG_CGC_CTRL = reg(0x0721, JPEG_CGC_CTRL_t, 1)
    JPEG_CORE_RST_CTRL = reg(0x072e, JPEG_CORE_RST_CTRL_t, 1)
    VCN_RRMT_CNTL = reg(0x0940, VCN_RRMT_CNTL_t, 1)
    VCN_UE_ERR_STATUS_LO_VIDD = reg(0x094c, VCN_UE_ERR_STATUS_LO_VIDD_t, 1)
    VCN_UE_ERR_STATUS_HI_VIDD = reg(0x094d, VCN_UE_ERR_STATUS_HI_VIDD_t, 1)
    VCN_UE_ERR_STATUS_LO_VIDV = reg(0x094e, VCN_UE_ERR_STATUS_LO_VIDV_t, 1)
    VCN_UE_ERR_STATUS_HI_VIDV = reg(0x094f, VCN_UE_ERR_STATUS_HI_VIDV_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG0S = reg(0x0952, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG0S = reg(0x0953, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG0D = reg(0x0954, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG0D = reg(0x0955, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG1S = reg(0x0956, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG1S = reg(0x0957, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG1D = reg(0x0958, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG1D = reg(0x0959, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG2S = reg(0x095a, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG2S = reg(0x095b, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG2D = reg(0x095c, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG2D = reg(0x095d, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG3S = reg(0x095e, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG3S = reg(0x095f, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG3D = reg(0x0960, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG3D = reg(0x0961, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG4S = reg(0x0962, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG4S = reg(0x0963, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG4D = reg(0x0964, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG4D = reg(0x0965, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG5S = reg(0x0966, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG5S = reg(0x0967, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG5D = reg(0x0968, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG5D = reg(0x0969, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG6S = reg(0x096a, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG6S = reg(0x096b, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG6D = reg(0x096c, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG6D = reg(0x096d, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG7S = reg(0x096e, VCN_UE_ERR_STATUS_LO_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG7S = reg(0x096f, VCN_UE_ERR_STATUS_HI_JPEGnS_t, 1)
    VCN_UE_ERR_STATUS_LO_JPEG7D = reg(0x0970, VCN_UE_ERR_STATUS_LO_JPEGnD_t, 1)
    VCN_UE_ERR_STATUS_HI_JPEG7D = reg(0x0971, VCN_UE_ERR_STATUS_HI_JPEGnD_t, 1)
