"""GC 9.4.3, 9.5.0: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/gc/gc_9_4_3_offset.h
  drivers/gpu/drm/amd/include/asic_reg/gc/gc_9_4_3_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class GRBM_CNTL_t(Register):
    __slots__ = ()
    READ_TIMEOUT = bits(7, 0)
    REPORT_LAST_RDERR = bit(31)


class GRBM_STATUS2_t(Register):
    __slots__ = ()
    ME0PIPE1_CMDFIFO_AVAIL = bits(3, 0)
    ME0PIPE1_CF_RQ_PENDING = bit(4)
    ME0PIPE1_PF_RQ_PENDING = bit(5)
    ME1PIPE0_RQ_PENDING = bit(6)
    ME1PIPE1_RQ_PENDING = bit(7)
    ME1PIPE2_RQ_PENDING = bit(8)
    ME1PIPE3_RQ_PENDING = bit(9)
    ME2PIPE0_RQ_PENDING = bit(10)
    ME2PIPE1_RQ_PENDING = bit(11)
    ME2PIPE2_RQ_PENDING = bit(12)
    ME2PIPE3_RQ_PENDING = bit(13)
    RLC_RQ_PENDING = bit(14)
    UTCL2_BUSY = bit(15)
    EA_BUSY = bit(16)
    RMI_BUSY = bit(17)
    UTCL2_RQ_PENDING = bit(18)
    CPF_RQ_PENDING = bit(19)
    EA_LINK_BUSY = bit(20)
    CANE_BUSY = bit(21)
    CANE_LINK_BUSY = bit(22)
    RLC_BUSY = bit(24)
    TC_BUSY = bit(25)
    TCC_CC_RESIDENT = bit(26)
    CPF_BUSY = bit(28)
    CPC_BUSY = bit(29)
    CPG_BUSY = bit(30)
    CPAXI_BUSY = bit(31)


class GRBM_STATUS_t(Register):
    __slots__ = ()
    ME0PIPE0_CMDFIFO_AVAIL = bits(3, 0)
    RSMU_RQ_PENDING = bit(5)
    ME0PIPE0_CF_RQ_PENDING = bit(7)
    ME0PIPE0_PF_RQ_PENDING = bit(8)
    GDS_DMA_RQ_PENDING = bit(9)
    DB_CLEAN = bit(12)
    CB_CLEAN = bit(13)
    TA_BUSY = bit(14)
    GDS_BUSY = bit(15)
    WD_BUSY_NO_DMA = bit(16)
    VGT_BUSY = bit(17)
    IA_BUSY_NO_DMA = bit(18)
    IA_BUSY = bit(19)
    SX_BUSY = bit(20)
    WD_BUSY = bit(21)
    SPI_BUSY = bit(22)
    BCI_BUSY = bit(23)
    SC_BUSY = bit(24)
    PA_BUSY = bit(25)
    DB_BUSY = bit(26)
    CP_COHERENCY_BUSY = bit(28)
    CP_BUSY = bit(29)
    CB_BUSY = bit(30)
    GUI_ACTIVE = bit(31)


class GRBM_STATUS_SEn_t(Register):
    __slots__ = ()
    DB_CLEAN = bit(1)
    CB_CLEAN = bit(2)
    RMI_BUSY = bit(21)
    BCI_BUSY = bit(22)
    VGT_BUSY = bit(23)
    PA_BUSY = bit(24)
    TA_BUSY = bit(25)
    SX_BUSY = bit(26)
    SPI_BUSY = bit(27)
    SC_BUSY = bit(29)
    DB_BUSY = bit(30)
    CB_BUSY = bit(31)


class GRBM_SOFT_RESET_t(Register):
    __slots__ = ()
    SOFT_RESET_CP = bit(0)
    SOFT_RESET_RLC = bit(2)
    SOFT_RESET_GFX = bit(16)
    SOFT_RESET_CPF = bit(17)
    SOFT_RESET_CPC = bit(18)
    SOFT_RESET_CPG = bit(19)
    SOFT_RESET_CAC = bit(20)
    SOFT_RESET_CANE = bit(21)
    SOFT_RESET_EA = bit(22)
    SOFT_RESET_UTCL2 = bit(23)


class GRBM_READ_ERROR_t(Register):
    __slots__ = ()
    READ_ADDRESS = bits(17, 2)
    READ_PIPEID = bits(21, 20)
    READ_MEID = bits(23, 22)
    READ_ERROR = bit(31)


class GRBM_READ_ERROR2_t(Register):
    __slots__ = ()
    READ_REQUESTER_CPF = bit(16)
    READ_REQUESTER_RSMU = bit(17)
    READ_REQUESTER_RLC = bit(18)
    READ_REQUESTER_GDS_DMA = bit(19)
    READ_REQUESTER_ME0PIPE0_CF = bit(20)
    READ_REQUESTER_ME0PIPE0_PF = bit(21)
    READ_REQUESTER_ME0PIPE1_CF = bit(22)
    READ_REQUESTER_ME0PIPE1_PF = bit(23)
    READ_REQUESTER_ME1PIPE0 = bit(24)
    READ_REQUESTER_ME1PIPE1 = bit(25)
    READ_REQUESTER_ME1PIPE2 = bit(26)
    READ_REQUESTER_ME1PIPE3 = bit(27)
    READ_REQUESTER_ME2PIPE0 = bit(28)
    READ_REQUESTER_ME2PIPE1 = bit(29)
    READ_REQUESTER_ME2PIPE2 = bit(30)
    READ_REQUESTER_ME2PIPE3 = bit(31)


class GRBM_CHIP_REVISION_t(Register):
    __slots__ = ()
    CHIP_REVISION = bits(7, 0)


class GRBM_GFX_CNTL_t(Register):
    __slots__ = ()
    PIPEID = bits(1, 0)
    MEID = bits(3, 2)
    VMID = bits(7, 4)
    QUEUEID = bits(10, 8)


class CP_CPC_STATUS_t(Register):
    __slots__ = ()
    MEC1_BUSY = bit(0)
    MEC2_BUSY = bit(1)
    DC0_BUSY = bit(2)
    DC1_BUSY = bit(3)
    RCIU1_BUSY = bit(4)
    RCIU2_BUSY = bit(5)
    ROQ1_BUSY = bit(6)
    ROQ2_BUSY = bit(7)
    TCIU_BUSY = bit(10)
    SCRATCH_RAM_BUSY = bit(11)
    QU_BUSY = bit(12)
    UTCL2IU_BUSY = bit(13)
    SAVE_RESTORE_BUSY = bit(14)
    CPG_CPC_BUSY = bit(29)
    CPF_CPC_BUSY = bit(30)
    CPC_BUSY = bit(31)


class CP_CPC_BUSY_STAT_t(Register):
    __slots__ = ()
    MEC1_LOAD_BUSY = bit(0)
    MEC1_SEMAPOHRE_BUSY = bit(1)
    MEC1_MUTEX_BUSY = bit(2)
    MEC1_MESSAGE_BUSY = bit(3)
    MEC1_EOP_QUEUE_BUSY = bit(4)
    MEC1_IQ_QUEUE_BUSY = bit(5)
    MEC1_IB_QUEUE_BUSY = bit(6)
    MEC1_TC_BUSY = bit(7)
    MEC1_DMA_BUSY = bit(8)
    MEC1_PARTIAL_FLUSH_BUSY = bit(9)
    MEC1_PIPE0_BUSY = bit(10)
    MEC1_PIPE1_BUSY = bit(11)
    MEC1_PIPE2_BUSY = bit(12)
    MEC1_PIPE3_BUSY = bit(13)
    MEC2_LOAD_BUSY = bit(16)
    MEC2_SEMAPOHRE_BUSY = bit(17)
    MEC2_MUTEX_BUSY = bit(18)
    MEC2_MESSAGE_BUSY = bit(19)
    MEC2_EOP_QUEUE_BUSY = bit(20)
    MEC2_IQ_QUEUE_BUSY = bit(21)
    MEC2_IB_QUEUE_BUSY = bit(22)
    MEC2_TC_BUSY = bit(23)
    MEC2_DMA_BUSY = bit(24)
    MEC2_PARTIAL_FLUSH_BUSY = bit(25)
    MEC2_PIPE0_BUSY = bit(26)
    MEC2_PIPE1_BUSY = bit(27)
    MEC2_PIPE2_BUSY = bit(28)
    MEC2_PIPE3_BUSY = bit(29)


class CP_CPC_STALLED_STAT1_t(Register):
    __slots__ = ()
    RCIU_TX_FREE_STALL = bit(3)
    RCIU_PRIV_VIOLATION = bit(4)
    TCIU_TX_FREE_STALL = bit(6)
    MEC1_DECODING_PACKET = bit(8)
    MEC1_WAIT_ON_RCIU = bit(9)
    MEC1_WAIT_ON_RCIU_READ = bit(10)
    MEC1_WAIT_ON_ROQ_DATA = bit(13)
    MEC2_DECODING_PACKET = bit(16)
    MEC2_WAIT_ON_RCIU = bit(17)
    MEC2_WAIT_ON_RCIU_READ = bit(18)
    MEC2_WAIT_ON_ROQ_DATA = bit(21)
    UTCL2IU_WAITING_ON_FREE = bit(22)
    UTCL2IU_WAITING_ON_TAGS = bit(23)
    UTCL1_WAITING_ON_TRANS = bit(24)


class CP_CPF_STATUS_t(Register):
    __slots__ = ()
    POST_WPTR_GFX_BUSY = bit(0)
    CSF_BUSY = bit(1)
    ROQ_ALIGN_BUSY = bit(4)
    ROQ_RING_BUSY = bit(5)
    ROQ_INDIRECT1_BUSY = bit(6)
    ROQ_INDIRECT2_BUSY = bit(7)
    ROQ_STATE_BUSY = bit(8)
    ROQ_CE_RING_BUSY = bit(9)
    ROQ_CE_INDIRECT1_BUSY = bit(10)
    ROQ_CE_INDIRECT2_BUSY = bit(11)
    SEMAPHORE_BUSY = bit(12)
    INTERRUPT_BUSY = bit(13)
    TCIU_BUSY = bit(14)
    HQD_BUSY = bit(15)
    PRT_BUSY = bit(16)
    UTCL2IU_BUSY = bit(17)
    CPF_GFX_BUSY = bit(26)
    CPF_CMP_BUSY = bit(27)
    GRBM_CPF_STAT_BUSY = bits(29, 28)
    CPC_CPF_BUSY = bit(30)
    CPF_BUSY = bit(31)


class CP_CPF_BUSY_STAT_t(Register):
    __slots__ = ()
    REG_BUS_FIFO_BUSY = bit(0)
    CSF_RING_BUSY = bit(1)
    CSF_INDIRECT1_BUSY = bit(2)
    CSF_INDIRECT2_BUSY = bit(3)
    CSF_STATE_BUSY = bit(4)
    CSF_CE_INDR1_BUSY = bit(5)
    CSF_CE_INDR2_BUSY = bit(6)
    CSF_ARBITER_BUSY = bit(7)
    CSF_INPUT_BUSY = bit(8)
    OUTSTANDING_READ_TAGS = bit(9)
    HPD_PROCESSING_EOP_BUSY = bit(11)
    HQD_DISPATCH_BUSY = bit(12)
    HQD_IQ_TIMER_BUSY = bit(13)
    HQD_DMA_OFFLOAD_BUSY = bit(14)
    HQD_WAIT_SEMAPHORE_BUSY = bit(15)
    HQD_SIGNAL_SEMAPHORE_BUSY = bit(16)
    HQD_MESSAGE_BUSY = bit(17)
    HQD_PQ_FETCHER_BUSY = bit(18)
    HQD_IB_FETCHER_BUSY = bit(19)
    HQD_IQ_FETCHER_BUSY = bit(20)
    HQD_EOP_FETCHER_BUSY = bit(21)
    HQD_CONSUMED_RPTR_BUSY = bit(22)
    HQD_FETCHER_ARB_BUSY = bit(23)
    HQD_ROQ_ALIGN_BUSY = bit(24)
    HQD_ROQ_EOP_BUSY = bit(25)
    HQD_ROQ_IQ_BUSY = bit(26)
    HQD_ROQ_PQ_BUSY = bit(27)
    HQD_ROQ_IB_BUSY = bit(28)
    HQD_WPTR_POLL_BUSY = bit(29)
    HQD_PQ_BUSY = bit(30)
    HQD_IB_BUSY = bit(31)


class CP_CPF_STALLED_STAT1_t(Register):
    __slots__ = ()
    RING_FETCHING_DATA = bit(0)
    INDR1_FETCHING_DATA = bit(1)
    INDR2_FETCHING_DATA = bit(2)
    STATE_FETCHING_DATA = bit(3)
    TCIU_WAITING_ON_FREE = bit(5)
    TCIU_WAITING_ON_TAGS = bit(6)
    UTCL2IU_WAITING_ON_FREE = bit(7)
    UTCL2IU_WAITING_ON_TAGS = bit(8)
    GFX_UTCL1_WAITING_ON_TRANS = bit(9)
    CMP_UTCL1_WAITING_ON_TRANS = bit(10)
    RCIU_WAITING_ON_FREE = bit(11)


class CP_MEC_CNTL_t(Register):
    __slots__ = ()
    MEC_INVALIDATE_ICACHE = bit(4)
    MEC_ME1_PIPE0_RESET = bit(16)
    MEC_ME1_PIPE1_RESET = bit(17)
    MEC_ME1_PIPE2_RESET = bit(18)
    MEC_ME1_PIPE3_RESET = bit(19)
    MEC_ME2_PIPE0_RESET = bit(20)
    MEC_ME2_PIPE1_RESET = bit(21)
    MEC_ME2_HALT = bit(28)
    MEC_ME2_STEP = bit(29)
    MEC_ME1_HALT = bit(30)
    MEC_ME1_STEP = bit(31)


class CP_MEC_MEn_HEADER_DUMP_t(Register):
    __slots__ = ()
    HEADER_DUMP = bits(31, 0)


class CP_STALLED_STAT3_t(Register):
    __slots__ = ()
    CE_TO_CSF_NOT_RDY_TO_RCV = bit(0)
    CE_TO_RAM_INIT_FETCHER_NOT_RDY_TO_RCV = bit(1)
    CE_WAITING_ON_DATA_FROM_RAM_INIT_FETCHER = bit(2)
    CE_TO_RAM_INIT_NOT_RDY = bit(3)
    CE_TO_RAM_DUMP_NOT_RDY = bit(4)
    CE_TO_RAM_WRITE_NOT_RDY = bit(5)
    CE_TO_INC_FIFO_NOT_RDY_TO_RCV = bit(6)
    CE_TO_WR_FIFO_NOT_RDY_TO_RCV = bit(7)
    CE_WAITING_ON_BUFFER_DATA = bit(10)
    CE_WAITING_ON_CE_BUFFER_FLAG = bit(11)
    CE_WAITING_ON_DE_COUNTER = bit(12)
    CE_WAITING_ON_DE_COUNTER_UNDERFLOW = bit(13)
    TCIU_WAITING_ON_FREE = bit(14)
    TCIU_WAITING_ON_TAGS = bit(15)
    CE_STALLED_ON_TC_WR_CONFIRM = bit(16)
    CE_STALLED_ON_ATOMIC_RTN_DATA = bit(17)
    UTCL2IU_WAITING_ON_FREE = bit(18)
    UTCL2IU_WAITING_ON_TAGS = bit(19)
    UTCL1_WAITING_ON_TRANS = bit(20)


class CP_STALLED_STAT1_t(Register):
    __slots__ = ()
    RBIU_TO_DMA_NOT_RDY_TO_RCV = bit(0)
    RBIU_TO_SEM_NOT_RDY_TO_RCV = bit(2)
    RBIU_TO_MEMWR_NOT_RDY_TO_RCV = bit(4)
    ME_HAS_ACTIVE_CE_BUFFER_FLAG = bit(10)
    ME_HAS_ACTIVE_DE_BUFFER_FLAG = bit(11)
    ME_STALLED_ON_TC_WR_CONFIRM = bit(12)
    ME_STALLED_ON_ATOMIC_RTN_DATA = bit(13)
    ME_WAITING_ON_TC_READ_DATA = bit(14)
    ME_WAITING_ON_REG_READ_DATA = bit(15)
    RCIU_WAITING_ON_GDS_FREE = bit(23)
    RCIU_WAITING_ON_GRBM_FREE = bit(24)
    RCIU_WAITING_ON_VGT_FREE = bit(25)
    RCIU_STALLED_ON_ME_READ = bit(26)
    RCIU_STALLED_ON_DMA_READ = bit(27)
    RCIU_STALLED_ON_APPEND_READ = bit(28)
    RCIU_HALTED_BY_REG_VIOLATION = bit(29)


class CP_STALLED_STAT2_t(Register):
    __slots__ = ()
    PFP_TO_CSF_NOT_RDY_TO_RCV = bit(0)
    PFP_TO_MEQ_NOT_RDY_TO_RCV = bit(1)
    PFP_TO_RCIU_NOT_RDY_TO_RCV = bit(2)
    PFP_TO_VGT_WRITES_PENDING = bit(4)
    PFP_RCIU_READ_PENDING = bit(5)
    PFP_WAITING_ON_BUFFER_DATA = bit(8)
    ME_WAIT_ON_CE_COUNTER = bit(9)
    ME_WAIT_ON_AVAIL_BUFFER = bit(10)
    GFX_CNTX_NOT_AVAIL_TO_ME = bit(11)
    ME_RCIU_NOT_RDY_TO_RCV = bit(12)
    ME_TO_CONST_NOT_RDY_TO_RCV = bit(13)
    ME_WAITING_DATA_FROM_PFP = bit(14)
    ME_WAITING_ON_PARTIAL_FLUSH = bit(15)
    MEQ_TO_ME_NOT_RDY_TO_RCV = bit(16)
    STQ_TO_ME_NOT_RDY_TO_RCV = bit(17)
    ME_WAITING_DATA_FROM_STQ = bit(18)
    PFP_STALLED_ON_TC_WR_CONFIRM = bit(19)
    PFP_STALLED_ON_ATOMIC_RTN_DATA = bit(20)
    EOPD_FIFO_NEEDS_SC_EOP_DONE = bit(21)
    EOPD_FIFO_NEEDS_WR_CONFIRM = bit(22)
    STRMO_WR_OF_PRIM_DATA_PENDING = bit(23)
    PIPE_STATS_WR_DATA_PENDING = bit(24)
    APPEND_RDY_WAIT_ON_CS_DONE = bit(25)
    APPEND_RDY_WAIT_ON_PS_DONE = bit(26)
    APPEND_WAIT_ON_WR_CONFIRM = bit(27)
    APPEND_ACTIVE_PARTITION = bit(28)
    APPEND_WAITING_TO_SEND_MEMWRITE = bit(29)
    SURF_SYNC_NEEDS_IDLE_CNTXS = bit(30)
    SURF_SYNC_NEEDS_ALL_CLEAN = bit(31)


class CP_BUSY_STAT_t(Register):
    __slots__ = ()
    REG_BUS_FIFO_BUSY = bit(0)
    COHER_CNT_NEQ_ZERO = bit(6)
    PFP_PARSING_PACKETS = bit(7)
    ME_PARSING_PACKETS = bit(8)
    RCIU_PFP_BUSY = bit(9)
    RCIU_ME_BUSY = bit(10)
    SEM_CMDFIFO_NOT_EMPTY = bit(12)
    SEM_FAILED_AND_HOLDING = bit(13)
    SEM_POLLING_FOR_PASS = bit(14)
    GFX_CONTEXT_BUSY = bit(15)
    ME_PARSER_BUSY = bit(17)
    EOP_DONE_BUSY = bit(18)
    STRM_OUT_BUSY = bit(19)
    PIPE_STATS_BUSY = bit(20)
    RCIU_CE_BUSY = bit(21)
    CE_PARSING_PACKETS = bit(22)


class CP_STAT_t(Register):
    __slots__ = ()
    ROQ_RING_BUSY = bit(9)
    ROQ_INDIRECT1_BUSY = bit(10)
    ROQ_INDIRECT2_BUSY = bit(11)
    ROQ_STATE_BUSY = bit(12)
    DC_BUSY = bit(13)
    UTCL2IU_BUSY = bit(14)
    PFP_BUSY = bit(15)
    MEQ_BUSY = bit(16)
    ME_BUSY = bit(17)
    QUERY_BUSY = bit(18)
    SEMAPHORE_BUSY = bit(19)
    INTERRUPT_BUSY = bit(20)
    SURFACE_SYNC_BUSY = bit(21)
    DMA_BUSY = bit(22)
    RCIU_BUSY = bit(23)
    SCRATCH_RAM_BUSY = bit(24)
    CE_BUSY = bit(26)
    TCIU_BUSY = bit(27)
    ROQ_CE_RING_BUSY = bit(28)
    ROQ_CE_INDIRECT1_BUSY = bit(29)
    ROQ_CE_INDIRECT2_BUSY = bit(30)
    CP_BUSY = bit(31)


class CP_MECn_INSTR_PNTR_t(Register):
    __slots__ = ()
    INSTR_PNTR = bits(15, 0)


class CP_RB_WPTR_POLL_CNTL_t(Register):
    __slots__ = ()
    POLL_FREQUENCY = bits(15, 0)
    IDLE_POLL_COUNT = bits(31, 16)


class WD_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)
    FAULT_UTCL1ID = bits(13, 8)
    RETRY_UTCL1ID = bits(21, 16)
    PRT_UTCL1ID = bits(29, 24)


class CC_GC_SHADER_ARRAY_CONFIG_t(Register):
    __slots__ = ()
    WRITE_DIS = bit(0)
    INACTIVE_CUS = bits(31, 16)


class GC_USER_SHADER_ARRAY_CONFIG_t(Register):
    __slots__ = ()
    INACTIVE_CUS = bits(31, 16)


class SH_MEM_BASES_t(Register):
    __slots__ = ()
    PRIVATE_BASE = bits(15, 0)
    SHARED_BASE = bits(31, 16)


class SQ_TIMEOUT_CONFIG_t(Register):
    __slots__ = ()
    PERIOD_SEL = bits(5, 0)
    TIMEOUT_FATAL_DISABLE = bit(6)
    TIMER_LONGER_SEL = bit(7)
    TIMEOUT_CONDITIONS_MASK = bits(26, 8)


class SQ_TIMEOUT_STATUS_t(Register):
    __slots__ = ()
    WAVE_TIMEOUT = bits(31, 0)


class SH_MEM_CONFIG_t(Register):
    __slots__ = ()
    ADDRESS_MODE = bit(0)
    ALIGNMENT_MODE = bits(4, 3)
    F8_MODE = bit(8)
    PRECISION_MODE = bit(9)
    RETRY_DISABLE = bit(12)
    PRIVATE_NV = bit(13)


class SQ_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)
    RESERVED = bits(15, 3)
    UNUSED = bits(31, 16)


class SQ_SHADER_TBA_LO_t(Register):
    __slots__ = ()
    ADDR_LO = bits(31, 0)


class SQ_SHADER_TBA_HI_t(Register):
    __slots__ = ()
    ADDR_HI = bits(7, 0)


class SQ_SHADER_TMA_LO_t(Register):
    __slots__ = ()
    ADDR_LO = bits(31, 0)


class SQ_SHADER_TMA_HI_t(Register):
    __slots__ = ()
    ADDR_HI = bits(7, 0)


class SQ_IND_INDEX_t(Register):
    __slots__ = ()
    WAVE_ID = bits(3, 0)
    SIMD_ID = bits(5, 4)
    THREAD_ID = bits(11, 6)
    AUTO_INCR = bit(12)
    FORCE_READ = bit(13)
    READ_TIMEOUT = bit(14)
    UNINDEXED = bit(15)
    INDEX = bits(31, 16)


class SQ_IND_DATA_t(Register):
    __slots__ = ()
    DATA = bits(31, 0)


class SQ_CONFIG1_t(Register):
    __slots__ = ()
    DISABLE_XDL_PORTD_CO_EXEC = bit(0)
    DISABLE_MGCG_ON_IBUF = bit(1)
    DISABLE_MGCG_ON_PERF = bit(2)
    DISABLE_MGCG_ON_EXP = bit(3)
    DISABLE_MGCG_ON_SCA = bit(4)
    DISABLE_MGCG_ON_SREG = bit(5)
    DISABLE_MGCG_ON_VDEC = bit(6)
    EXTRA_DGEMM_PROTECT_EN = bit(7)
    DISABLE_VALU_COEXEC = bit(8)
    DISABLE_WAVE_VALU_COEXEC = bit(9)
    VGPR_ARB_PLUS1 = bit(10)
    DISABLE_VGPR_COLLAPSE = bit(11)
    DISABLE_XNACK_CHECK_IN_RETRY_DISABLE = bit(12)
    DISABLE_BARRIER_ADDR_WATCH = bit(13)
    DISABLE_BARRIER_MEMVIOL_WAIT = bit(14)
    DISABLE_BARRIER_MEMVIOL_BACKOFF = bit(15)
    EXPAND_SP_CMD_FGCG = bit(16)
    EXPAND_SP_EXPORT_FGCG = bit(17)
    DISABLE_MGCG_ON_PERF_SNAP = bit(18)
    DISABLE_VALU_COEXEC_MODE_AUTO_CLEAN = bit(19)
    SP_CORE1_MGCG_OVERRIDE = bit(20)
    SP_CORE4_MGCG_OVERRIDE = bit(21)
    SP_CORE5_MGCG_OVERRIDE = bit(22)
    DISABLE_SP_VGPR_COLLAPSE = bit(23)
    SP_FGCG_REP_OVERRIDE = bit(24)
    DPMACC_MGCG_OVERRIDE = bit(25)
    XDLMACC_MGCG_OVERRIDE = bit(26)
    TRANSMACC_MGCG_OVERRIDE = bit(27)
    SPMACC_MGCG_OVERRIDE = bit(28)
    DPMACC_DGEMM2X_MGCG_OVERRIDE = bit(29)
    DISABLE_SP_VGPR_READ_SKIP = bit(30)
    SP_SRC_1ST_BUFFER_MGCG_OVERRIDE = bit(31)


class SQ_CMD_t(Register):
    __slots__ = ()
    CMD = bits(2, 0)
    MODE = bits(6, 4)
    CHECK_VMID = bit(7)
    DATA = bits(11, 8)
    WAVE_ID = bits(19, 16)
    SIMD_ID = bits(21, 20)
    QUEUE_ID = bits(26, 24)
    VM_ID = bits(31, 28)


class SQC_ICACHE_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)


class SQC_DCACHE_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)


class SPI_CSQ_WF_ACTIVE_STATUS_t(Register):
    __slots__ = ()
    ACTIVE = bits(31, 0)


class SPI_CSQ_WF_ACTIVE_COUNT_n_t(Register):
    __slots__ = ()
    COUNT = bits(8, 0)
    EVENTS = bits(24, 16)


class GDS_PROTECTION_FAULT_t(Register):
    __slots__ = ()
    WRITE_DIS = bit(0)
    FAULT_DETECTED = bit(1)
    GRBM = bit(2)
    SH_ID = bits(5, 3)
    CU_ID = bits(9, 6)
    SIMD_ID = bits(11, 10)
    WAVE_ID = bits(15, 12)
    ADDRESS = bits(31, 16)


class GDS_VM_PROTECTION_FAULT_t(Register):
    __slots__ = ()
    WRITE_DIS = bit(0)
    FAULT_DETECTED = bit(1)
    GWS = bit(2)
    OA = bit(3)
    GRBM = bit(4)
    TMZ = bit(5)
    VMID = bits(11, 8)
    ADDRESS = bits(31, 16)


class DB_DEBUG2_t(Register):
    __slots__ = ()
    ALLOW_COMPZ_BYTE_MASKING = bit(0)
    DISABLE_TC_ZRANGE_L0_CACHE = bit(1)
    DISABLE_TC_MASK_L0_CACHE = bit(2)
    DTR_ROUND_ROBIN_ARB = bit(3)
    DTR_PREZ_STALLS_FOR_ETF_ROOM = bit(4)
    DISABLE_PREZL_FIFO_STALL = bit(5)
    DISABLE_PREZL_FIFO_STALL_REZ = bit(6)
    ENABLE_VIEWPORT_STALL_ON_ALL = bit(7)
    OPTIMIZE_HIZ_MATCHES_FB_DISABLE = bit(8)
    CLK_OFF_DELAY = bits(13, 9)
    DISABLE_TILE_COVERED_FOR_PS_ITER = bit(14)
    ENABLE_SUBTILE_GROUPING = bit(15)
    RESERVED = bit(16)
    DISABLE_NULL_EOT_FORWARDING = bit(17)
    DISABLE_DTT_DATA_FORWARDING = bit(18)
    DISABLE_QUAD_COHERENCY_STALL = bit(19)
    DISABLE_VR_OBJ_PRIM_ID = bit(26)
    DISABLE_VR_PS_INVOKE = bit(27)
    ENABLE_PREZ_OF_REZ_SUMM = bit(28)
    DISABLE_PREZL_VIEWPORT_STALL = bit(29)
    DISABLE_SINGLE_STENCIL_QUAD_SUMM = bit(30)
    DISABLE_WRITE_STALL_ON_RDWR_CONFLICT = bit(31)


class GB_ADDR_CONFIG_t(Register):
    __slots__ = ()
    NUM_PIPES = bits(2, 0)
    PIPE_INTERLEAVE_SIZE = bits(5, 3)
    MAX_COMPRESSED_FRAGS = bits(7, 6)
    BANK_INTERLEAVE_SIZE = bits(10, 8)
    NUM_BANKS = bits(14, 12)
    SHADER_ENGINE_TILE_SIZE = bits(18, 16)
    NUM_SHADER_ENGINES = bits(20, 19)
    NUM_GPUS = bits(23, 21)
    MULTI_GPU_TILE_SIZE = bits(25, 24)
    NUM_RB_PER_SE = bits(27, 26)
    ROW_SIZE = bits(29, 28)
    NUM_LOWER_PIPES = bit(30)
    SE_ENABLE = bit(31)


class GB_ADDR_CONFIG_READ_t(Register):
    __slots__ = ()
    NUM_PIPES = bits(2, 0)
    PIPE_INTERLEAVE_SIZE = bits(5, 3)
    MAX_COMPRESSED_FRAGS = bits(7, 6)
    BANK_INTERLEAVE_SIZE = bits(10, 8)
    NUM_BANKS = bits(14, 12)
    SHADER_ENGINE_TILE_SIZE = bits(18, 16)
    NUM_SHADER_ENGINES = bits(20, 19)
    NUM_GPUS = bits(23, 21)
    MULTI_GPU_TILE_SIZE = bits(25, 24)
    NUM_RB_PER_SE = bits(27, 26)
    ROW_SIZE = bits(29, 28)
    NUM_LOWER_PIPES = bit(30)
    SE_ENABLE = bit(31)


class RMI_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)


class VM_L2_CNTL_t(Register):
    __slots__ = ()
    ENABLE_L2_CACHE = bit(0)
    ENABLE_L2_FRAGMENT_PROCESSING = bit(1)
    L2_CACHE_PTE_ENDIAN_SWAP_MODE = bits(3, 2)
    L2_CACHE_PDE_ENDIAN_SWAP_MODE = bits(5, 4)
    L2_PDE0_CACHE_TAG_GENERATION_MODE = bit(8)
    ENABLE_L2_PTE_CACHE_LRU_UPDATE_BY_WRITE = bit(9)
    ENABLE_L2_PDE0_CACHE_LRU_UPDATE_BY_WRITE = bit(10)
    ENABLE_DEFAULT_PAGE_OUT_TO_SYSTEM_MEMORY = bit(11)
    L2_PDE0_CACHE_SPLIT_MODE = bits(14, 12)
    EFFECTIVE_L2_QUEUE_SIZE = bits(17, 15)
    PDE_FAULT_CLASSIFICATION = bit(18)
    CONTEXT1_IDENTITY_ACCESS_MODE = bits(20, 19)
    IDENTITY_MODE_FRAGMENT_SIZE = bits(25, 21)
    L2_PTE_CACHE_ADDR_MODE = bits(27, 26)


class VM_L2_CNTL2_t(Register):
    __slots__ = ()
    INVALIDATE_ALL_L1_TLBS = bit(0)
    INVALIDATE_L2_CACHE = bit(1)
    DISABLE_INVALIDATE_PER_DOMAIN = bit(21)
    DISABLE_BIGK_CACHE_OPTIMIZATION = bit(22)
    L2_PTE_CACHE_VMID_MODE = bits(25, 23)
    INVALIDATE_CACHE_MODE = bits(27, 26)
    PDE_CACHE_EFFECTIVE_SIZE = bits(30, 28)


class VM_L2_CNTL3_t(Register):
    __slots__ = ()
    BANK_SELECT = bits(5, 0)
    L2_CACHE_UPDATE_MODE = bits(7, 6)
    L2_CACHE_UPDATE_WILDCARD_REFERENCE_VALUE = bits(12, 8)
    L2_CACHE_BIGK_FRAGMENT_SIZE = bits(19, 15)
    L2_CACHE_BIGK_ASSOCIATIVITY = bit(20)
    L2_CACHE_4K_EFFECTIVE_SIZE = bits(23, 21)
    L2_CACHE_BIGK_EFFECTIVE_SIZE = bits(27, 24)
    L2_CACHE_4K_FORCE_MISS = bit(28)
    L2_CACHE_BIGK_FORCE_MISS = bit(29)
    PDE_CACHE_FORCE_MISS = bit(30)
    L2_CACHE_4K_ASSOCIATIVITY = bit(31)


class VM_L2_STATUS_t(Register):
    __slots__ = ()
    L2_BUSY = bit(0)
    CONTEXT_DOMAIN_BUSY = bits(16, 1)
    FOUND_4K_PTE_CACHE_PARITY_ERRORS = bit(17)
    FOUND_BIGK_PTE_CACHE_PARITY_ERRORS = bit(18)
    FOUND_PDE0_CACHE_PARITY_ERRORS = bit(19)
    FOUND_PDE1_CACHE_PARITY_ERRORS = bit(20)
    FOUND_PDE2_CACHE_PARITY_ERRORS = bit(21)


class VM_L2_PROTECTION_FAULT_CNTL_t(Register):
    __slots__ = ()
    CLEAR_PROTECTION_FAULT_STATUS_ADDR = bit(0)
    ALLOW_SUBSEQUENT_PROTECTION_FAULT_STATUS_ADDR_UPDATES = bit(1)
    RANGE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(2)
    PDE0_PROTECTION_FAULT_ENABLE_DEFAULT = bit(3)
    PDE1_PROTECTION_FAULT_ENABLE_DEFAULT = bit(4)
    PDE2_PROTECTION_FAULT_ENABLE_DEFAULT = bit(5)
    TRANSLATE_FURTHER_PROTECTION_FAULT_ENABLE_DEFAULT = bit(6)
    NACK_PROTECTION_FAULT_ENABLE_DEFAULT = bit(7)
    DUMMY_PAGE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(8)
    VALID_PROTECTION_FAULT_ENABLE_DEFAULT = bit(9)
    READ_PROTECTION_FAULT_ENABLE_DEFAULT = bit(10)
    WRITE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(11)
    EXECUTE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(12)
    CLIENT_ID_NO_RETRY_FAULT_INTERRUPT = bits(28, 13)
    OTHER_CLIENT_ID_NO_RETRY_FAULT_INTERRUPT = bit(29)
    CRASH_ON_NO_RETRY_FAULT = bit(30)
    CRASH_ON_RETRY_FAULT = bit(31)


class VM_L2_PROTECTION_FAULT_CNTL2_t(Register):
    __slots__ = ()
    CLIENT_ID_PRT_FAULT_INTERRUPT = bits(15, 0)
    OTHER_CLIENT_ID_PRT_FAULT_INTERRUPT = bit(16)
    ACTIVE_PAGE_MIGRATION_PTE = bit(17)
    ACTIVE_PAGE_MIGRATION_PTE_READ_RETRY = bit(18)
    ENABLE_RETRY_FAULT_INTERRUPT = bit(19)


class VM_L2_PROTECTION_FAULT_MM_CNTL3_t(Register):
    __slots__ = ()
    VML1_READ_CLIENT_ID_NO_RETRY_FAULT_INTERRUPT = bits(31, 0)


class VM_L2_PROTECTION_FAULT_MM_CNTL4_t(Register):
    __slots__ = ()
    VML1_WRITE_CLIENT_ID_NO_RETRY_FAULT_INTERRUPT = bits(31, 0)


class VM_L2_PROTECTION_FAULT_STATUS_t(Register):
    __slots__ = ()
    MORE_FAULTS = bit(0)
    WALKER_ERROR = bits(3, 1)
    PERMISSION_FAULTS = bits(7, 4)
    MAPPING_ERROR = bit(8)
    CID = bits(17, 9)
    RW = bit(18)
    ATOMIC = bit(19)
    VMID = bits(23, 20)
    VF = bit(24)
    VFID = bits(28, 25)
    UCE = bit(29)
    FED = bit(30)


class VM_L2_PROTECTION_FAULT_ADDR_LO32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_ADDR_LO32 = bits(31, 0)


class VM_L2_PROTECTION_FAULT_ADDR_HI32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_ADDR_HI4 = bits(3, 0)


class VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_LO32_t(Register):
    __slots__ = ()
    PHYSICAL_PAGE_ADDR_LO32 = bits(31, 0)


class VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_HI32_t(Register):
    __slots__ = ()
    PHYSICAL_PAGE_ADDR_HI4 = bits(3, 0)


class VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_LO32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_LO32 = bits(31, 0)


class VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_HI32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_HI4 = bits(3, 0)


class VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_LO32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_LO32 = bits(31, 0)


class VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_HI32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_HI4 = bits(3, 0)


class VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_LO32_t(Register):
    __slots__ = ()
    PHYSICAL_PAGE_OFFSET_LO32 = bits(31, 0)


class VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_HI32_t(Register):
    __slots__ = ()
    PHYSICAL_PAGE_OFFSET_HI4 = bits(3, 0)


class VM_L2_CNTL4_t(Register):
    __slots__ = ()
    L2_CACHE_4K_PARTITION_COUNT = bits(5, 0)
    VMC_TAP_PDE_REQUEST_PHYSICAL = bit(6)
    VMC_TAP_PTE_REQUEST_PHYSICAL = bit(7)
    MM_NONRT_IFIFO_ACTIVE_TRANSACTION_LIMIT = bits(17, 8)
    MM_SOFTRT_IFIFO_ACTIVE_TRANSACTION_LIMIT = bits(27, 18)
    BPM_CGCGLS_OVERRIDE = bit(28)
    GC_CH_FGCG_OFF = bit(29)
    VFIFO_HEAD_OF_QUEUE = bit(30)


class VM_L2_CNTL5_t(Register):
    __slots__ = ()
    WALKER_FETCH_PDE_MTYPE_ENABLE = bit(0)
    WALKER_FETCH_PDE_NOALLOC_ENABLE = bit(1)


class UTCL2_MEM_ECC_STATUS_t(Register):
    __slots__ = ()
    UCE = bit(0)
    FED = bit(1)


class VM_CONTEXTn_CNTL_t(Register):
    __slots__ = ()
    ENABLE_CONTEXT = bit(0)
    PAGE_TABLE_DEPTH = bits(2, 1)
    PAGE_TABLE_BLOCK_SIZE = bits(6, 3)
    RETRY_PERMISSION_OR_INVALID_PAGE_FAULT = bit(7)
    RETRY_OTHER_FAULT = bit(8)
    RANGE_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(9)
    RANGE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(10)
    DUMMY_PAGE_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(11)
    DUMMY_PAGE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(12)
    PDE0_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(13)
    PDE0_PROTECTION_FAULT_ENABLE_DEFAULT = bit(14)
    VALID_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(15)
    VALID_PROTECTION_FAULT_ENABLE_DEFAULT = bit(16)
    READ_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(17)
    READ_PROTECTION_FAULT_ENABLE_DEFAULT = bit(18)
    WRITE_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(19)
    WRITE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(20)
    EXECUTE_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(21)
    EXECUTE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(22)
    SECURE_PROTECTION_FAULT_ENABLE_INTERRUPT = bit(23)
    SECURE_PROTECTION_FAULT_ENABLE_DEFAULT = bit(24)


class VM_INVALIDATE_ENG17_SEM_t(Register):
    __slots__ = ()
    SEMAPHORE = bit(0)


class VM_INVALIDATE_ENG17_REQ_t(Register):
    __slots__ = ()
    PER_VMID_INVALIDATE_REQ = bits(15, 0)
    FLUSH_TYPE = bits(17, 16)
    INVALIDATE_L2_PTES = bit(18)
    INVALIDATE_L2_PDE0 = bit(19)
    INVALIDATE_L2_PDE1 = bit(20)
    INVALIDATE_L2_PDE2 = bit(21)
    INVALIDATE_L1_PTES = bit(22)
    CLEAR_PROTECTION_FAULT_STATUS_ADDR = bit(23)
    LOG_REQUEST = bit(24)


class VM_INVALIDATE_ENG17_ACK_t(Register):
    __slots__ = ()
    PER_VMID_INVALIDATE_ACK = bits(15, 0)
    SEMAPHORE = bit(16)


class VM_INVALIDATE_ENG17_ADDR_RANGE_LO32_t(Register):
    __slots__ = ()
    S_BIT = bit(0)
    LOGI_PAGE_ADDR_RANGE_LO31 = bits(31, 1)


class VM_INVALIDATE_ENG17_ADDR_RANGE_HI32_t(Register):
    __slots__ = ()
    LOGI_PAGE_ADDR_RANGE_HI5 = bits(4, 0)


class VM_CONTEXTn_PAGE_TABLE_BASE_ADDR_LO32_t(Register):
    __slots__ = ()
    PAGE_DIRECTORY_ENTRY_LO32 = bits(31, 0)


class VM_CONTEXTn_PAGE_TABLE_BASE_ADDR_HI32_t(Register):
    __slots__ = ()
    PAGE_DIRECTORY_ENTRY_HI32 = bits(31, 0)


class VM_CONTEXTn_PAGE_TABLE_START_ADDR_LO32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_LO32 = bits(31, 0)


class VM_CONTEXTn_PAGE_TABLE_START_ADDR_HI32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_HI4 = bits(3, 0)


class VM_CONTEXTn_PAGE_TABLE_END_ADDR_LO32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_LO32 = bits(31, 0)


class VM_CONTEXTn_PAGE_TABLE_END_ADDR_HI32_t(Register):
    __slots__ = ()
    LOGICAL_PAGE_NUMBER_HI4 = bits(3, 0)


class MC_VM_FB_OFFSET_t(Register):
    __slots__ = ()
    FB_OFFSET = bits(23, 0)


class MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_LSB_t(Register):
    __slots__ = ()
    PHYSICAL_PAGE_NUMBER_LSB = bits(31, 0)


class MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_MSB_t(Register):
    __slots__ = ()
    PHYSICAL_PAGE_NUMBER_MSB = bits(3, 0)


class MC_VM_XGMI_LFB_CNTL_t(Register):
    __slots__ = ()
    PF_LFB_REGION = bits(3, 0)
    PF_MAX_REGION = bits(7, 4)


class MC_VM_XGMI_LFB_SIZE_t(Register):
    __slots__ = ()
    PF_LFB_SIZE = bits(16, 0)


class MC_VM_FB_LOCATION_BASE_t(Register):
    __slots__ = ()
    FB_BASE = bits(23, 0)


class MC_VM_FB_LOCATION_TOP_t(Register):
    __slots__ = ()
    FB_TOP = bits(23, 0)


class MC_VM_AGP_TOP_t(Register):
    __slots__ = ()
    AGP_TOP = bits(23, 0)


class MC_VM_AGP_BOT_t(Register):
    __slots__ = ()
    AGP_BOT = bits(23, 0)


class MC_VM_AGP_BASE_t(Register):
    __slots__ = ()
    AGP_BASE = bits(23, 0)


class MC_VM_SYSTEM_APERTURE_LOW_ADDR_t(Register):
    __slots__ = ()
    LOGICAL_ADDR = bits(29, 0)


class MC_VM_SYSTEM_APERTURE_HIGH_ADDR_t(Register):
    __slots__ = ()
    LOGICAL_ADDR = bits(29, 0)


class MC_VM_MX_L1_TLB_CNTL_t(Register):
    __slots__ = ()
    ENABLE_L1_TLB = bit(0)
    SYSTEM_ACCESS_MODE = bits(4, 3)
    SYSTEM_APERTURE_UNMAPPED_ACCESS = bit(5)
    ENABLE_ADVANCED_DRIVER_MODEL = bit(6)
    ECO_BITS = bits(10, 7)
    MTYPE = bits(12, 11)
    ATC_EN = bit(13)


class TCP_CNTL_t(Register):
    __slots__ = ()
    FORCE_HIT = bit(0)
    FORCE_MISS = bit(1)
    L1_SIZE = bits(3, 2)
    FLAT_BUF_HASH_ENABLE = bit(4)
    FLAT_BUF_CACHE_SWIZZLE = bit(5)
    FORCE_EOW_TOTAL_CNT = bits(20, 15)
    FORCE_EOW_TAGRAM_CNT = bits(27, 22)
    DISABLE_Z_MAP = bit(28)


class COMPUTE_DISPATCH_INITIATOR_t(Register):
    __slots__ = ()
    COMPUTE_SHADER_EN = bit(0)
    PARTIAL_TG_EN = bit(1)
    FORCE_START_AT_000 = bit(2)
    ORDERED_APPEND_ENBL = bit(3)
    ORDERED_APPEND_MODE = bit(4)
    USE_THREAD_DIMENSIONS = bit(5)
    ORDER_MODE = bit(6)
    SCALAR_L1_INV_VOL = bit(10)
    VECTOR_L1_INV_VOL = bit(11)
    RESERVED = bit(12)
    RESTORE = bit(14)


class COMPUTE_START_X_t(Register):
    __slots__ = ()
    START = bits(31, 0)


class COMPUTE_START_Y_t(Register):
    __slots__ = ()
    START = bits(31, 0)


class COMPUTE_START_Z_t(Register):
    __slots__ = ()
    START = bits(31, 0)


class COMPUTE_NUM_THREAD_X_t(Register):
    __slots__ = ()
    NUM_THREAD_FULL = bits(15, 0)
    NUM_THREAD_PARTIAL = bits(31, 16)


class COMPUTE_NUM_THREAD_Y_t(Register):
    __slots__ = ()
    NUM_THREAD_FULL = bits(15, 0)
    NUM_THREAD_PARTIAL = bits(31, 16)


class COMPUTE_NUM_THREAD_Z_t(Register):
    __slots__ = ()
    NUM_THREAD_FULL = bits(15, 0)
    NUM_THREAD_PARTIAL = bits(31, 16)


class COMPUTE_PGM_LO_t(Register):
    __slots__ = ()
    DATA = bits(31, 0)


class COMPUTE_PGM_HI_t(Register):
    __slots__ = ()
    DATA = bits(7, 0)


class COMPUTE_DISPATCH_SCRATCH_BASE_LO_t(Register):
    __slots__ = ()
    DATA = bits(31, 0)


class COMPUTE_DISPATCH_SCRATCH_BASE_HI_t(Register):
    __slots__ = ()
    DATA = bits(7, 0)


class COMPUTE_PGM_RSRC1_t(Register):
    __slots__ = ()
    VGPRS = bits(5, 0)
    SGPRS = bits(9, 6)
    PRIORITY = bits(11, 10)
    FLOAT_MODE = bits(19, 12)
    PRIV = bit(20)
    DX10_CLAMP = bit(21)
    DEBUG_MODE = bit(22)
    IEEE_MODE = bit(23)
    BULKY = bit(24)
    CDBG_USER = bit(25)
    FP16_OVFL = bit(26)


class COMPUTE_PGM_RSRC2_t(Register):
    __slots__ = ()
    SCRATCH_EN = bit(0)
    USER_SGPR = bits(5, 1)
    TRAP_PRESENT = bit(6)
    TGID_X_EN = bit(7)
    TGID_Y_EN = bit(8)
    TGID_Z_EN = bit(9)
    TG_SIZE_EN = bit(10)
    TIDIG_COMP_CNT = bits(12, 11)
    EXCP_EN_MSB = bits(14, 13)
    LDS_SIZE = bits(23, 15)
    EXCP_EN = bits(30, 24)
    SKIP_USGPR0 = bit(31)


class COMPUTE_RESOURCE_LIMITS_t(Register):
    __slots__ = ()
    WAVES_PER_SH = bits(9, 0)
    TG_PER_CU = bits(15, 12)
    LOCK_THRESHOLD = bits(21, 16)
    SIMD_DEST_CNTL = bit(22)
    FORCE_SIMD_DIST = bit(23)
    CU_GROUP_COUNT = bits(26, 24)
    SIMD_DISABLE = bits(30, 27)


class COMPUTE_STATIC_THREAD_MGMT_SEn_t(Register):
    __slots__ = ()
    SH0_CU_EN = bits(15, 0)
    SH1_CU_EN = bits(31, 16)


class COMPUTE_TMPRING_SIZE_t(Register):
    __slots__ = ()
    WAVES = bits(11, 0)
    WAVESIZE = bits(24, 12)


class COMPUTE_RESTART_X_t(Register):
    __slots__ = ()
    RESTART = bits(31, 0)


class COMPUTE_RESTART_Y_t(Register):
    __slots__ = ()
    RESTART = bits(31, 0)


class COMPUTE_RESTART_Z_t(Register):
    __slots__ = ()
    RESTART = bits(31, 0)


class COMPUTE_PGM_RSRC3_t(Register):
    __slots__ = ()
    ACCUM_OFFSET = bits(5, 0)
    TRAP_ON_START = bit(10)
    TRAP_ON_END = bit(11)
    TG_SPLIT = bit(16)


class COMPUTE_USER_DATA_0_t(Register):
    __slots__ = ()
    DATA = bits(31, 0)


class CPC_INT_INFO_t(Register):
    __slots__ = ()
    ADDR_HI = bits(15, 0)
    TYPE = bit(16)
    VMID = bits(23, 20)
    QUEUE_ID = bits(30, 28)


class CPC_INT_ADDR_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class CP_GFX_ERROR_t(Register):
    __slots__ = ()
    EDC_ERROR_ID = bits(3, 0)
    SUA_ERROR = bit(4)
    RSVD1_ERROR = bit(5)
    RSVD2_ERROR = bit(6)
    SEM_UTCL1_ERROR = bit(7)
    QU_STRM_UTCL1_ERROR = bit(8)
    QU_EOP_UTCL1_ERROR = bit(9)
    QU_PIPE_UTCL1_ERROR = bit(10)
    QU_READ_UTCL1_ERROR = bit(11)
    SYNC_MEMRD_UTCL1_ERROR = bit(12)
    SYNC_MEMWR_UTCL1_ERROR = bit(13)
    SHADOW_UTCL1_ERROR = bit(14)
    APPEND_UTCL1_ERROR = bit(15)
    CE_DMA_UTCL1_ERROR = bit(16)
    PFP_VGTDMA_UTCL1_ERROR = bit(17)
    DMA_SRC_UTCL1_ERROR = bit(18)
    DMA_DST_UTCL1_ERROR = bit(19)
    PFP_TC_UTCL1_ERROR = bit(20)
    ME_TC_UTCL1_ERROR = bit(21)
    CE_TC_UTCL1_ERROR = bit(22)
    PRT_LOD_UTCL1_ERROR = bit(23)
    RDPTR_RPT_UTCL1_ERROR = bit(24)
    RB_FETCHER_UTCL1_ERROR = bit(25)
    I1_FETCHER_UTCL1_ERROR = bit(26)
    I2_FETCHER_UTCL1_ERROR = bit(27)
    C1_FETCHER_UTCL1_ERROR = bit(28)
    C2_FETCHER_UTCL1_ERROR = bit(29)
    ST_FETCHER_UTCL1_ERROR = bit(30)
    CE_INIT_UTCL1_ERROR = bit(31)


class CP_INT_CNTL_t(Register):
    __slots__ = ()
    CP_VM_DOORBELL_WR_INT_ENABLE = bit(11)
    CP_ECC_ERROR_INT_ENABLE = bit(14)
    GPF_INT_ENABLE = bit(16)
    WRM_POLL_TIMEOUT_INT_ENABLE = bit(17)
    CMP_BUSY_INT_ENABLE = bit(18)
    CNTX_BUSY_INT_ENABLE = bit(19)
    CNTX_EMPTY_INT_ENABLE = bit(20)
    GFX_IDLE_INT_ENABLE = bit(21)
    PRIV_INSTR_INT_ENABLE = bit(22)
    PRIV_REG_INT_ENABLE = bit(23)
    OPCODE_ERROR_INT_ENABLE = bit(24)
    TIME_STAMP_INT_ENABLE = bit(26)
    RESERVED_BIT_ERROR_INT_ENABLE = bit(27)
    GENERIC2_INT_ENABLE = bit(29)
    GENERIC1_INT_ENABLE = bit(30)
    GENERIC0_INT_ENABLE = bit(31)


class CP_MEC_DOORBELL_RANGE_LOWER_t(Register):
    __slots__ = ()
    DOORBELL_RANGE_LOWER = bits(27, 2)


class CP_MEC_DOORBELL_RANGE_UPPER_t(Register):
    __slots__ = ()
    DOORBELL_RANGE_UPPER = bits(27, 2)


class CP_INT_CNTL_RING0_t(Register):
    __slots__ = ()
    CP_VM_DOORBELL_WR_INT_ENABLE = bit(11)
    CP_ECC_ERROR_INT_ENABLE = bit(14)
    GPF_INT_ENABLE = bit(16)
    WRM_POLL_TIMEOUT_INT_ENABLE = bit(17)
    CMP_BUSY_INT_ENABLE = bit(18)
    CNTX_BUSY_INT_ENABLE = bit(19)
    CNTX_EMPTY_INT_ENABLE = bit(20)
    GFX_IDLE_INT_ENABLE = bit(21)
    PRIV_INSTR_INT_ENABLE = bit(22)
    PRIV_REG_INT_ENABLE = bit(23)
    OPCODE_ERROR_INT_ENABLE = bit(24)
    TIME_STAMP_INT_ENABLE = bit(26)
    RESERVED_BIT_ERROR_INT_ENABLE = bit(27)
    GENERIC2_INT_ENABLE = bit(29)
    GENERIC1_INT_ENABLE = bit(30)
    GENERIC0_INT_ENABLE = bit(31)


class CP_INT_STATUS_RING0_t(Register):
    __slots__ = ()
    CP_VM_DOORBELL_WR_INT_STAT = bit(11)
    CP_ECC_ERROR_INT_STAT = bit(14)
    GPF_INT_STAT = bit(16)
    WRM_POLL_TIMEOUT_INT_STAT = bit(17)
    CMP_BUSY_INT_STAT = bit(18)
    GCNTX_BUSY_INT_STAT = bit(19)
    CNTX_EMPTY_INT_STAT = bit(20)
    GFX_IDLE_INT_STAT = bit(21)
    PRIV_INSTR_INT_STAT = bit(22)
    PRIV_REG_INT_STAT = bit(23)
    OPCODE_ERROR_INT_STAT = bit(24)
    TIME_STAMP_INT_STAT = bit(26)
    RESERVED_BIT_ERROR_INT_STAT = bit(27)
    GENERIC2_INT_STAT = bit(29)
    GENERIC1_INT_STAT = bit(30)
    GENERIC0_INT_STAT = bit(31)


class CP_MEM_SLP_CNTL_t(Register):
    __slots__ = ()
    CP_MEM_LS_EN = bit(0)
    CP_MEM_DS_EN = bit(1)
    RESERVED = bits(6, 2)
    CP_LS_DS_BUSY_OVERRIDE = bit(7)
    CP_MEM_LS_ON_DELAY = bits(15, 8)
    CP_MEM_LS_OFF_DELAY = bits(23, 16)
    RESERVED1 = bits(31, 24)


class CP_DEBUG_t(Register):
    __slots__ = ()
    CPG_REPEATER_FGCG_OVERRIDE = bit(9)
    CPG_RAM_CLK_GATING_DISABLE = bit(14)
    DISABLE_GFX_HALT_ON_UTCL1_ERROR = bit(15)
    SURFSYNC_CNTX_RDADDR = bits(18, 16)
    BUSY_EXTENDER = bits(20, 19)
    PRIV_REG_INTERRUPT_ENABLE = bit(21)
    INTERRUPT_ENABLE = bit(22)
    PREDICATE_DISABLE = bit(23)
    UNDERFLOW_BUSY_DISABLE = bit(24)
    OVERFLOW_BUSY_DISABLE = bit(25)
    EVENT_FILT_DISABLE = bit(26)
    CPG_TC_MTYPE_OVERRIDE = bit(27)
    CPG_TC_ONE_CYCLE_WRITE_DISABLE = bit(28)
    CS_STATE_FILT_DISABLE = bit(29)
    CS_PIPELINE_RESET_DISABLE = bit(30)
    IB_PACKET_INJECTOR_DISABLE = bit(31)


class CP_CPC_DEBUG_t(Register):
    __slots__ = ()
    CPC_PIPE_SEL = bits(1, 0)
    CPC_ROLLOVER_EVENT_DEBUG_EN = bit(3)
    CPC_HARVESTING_CONTINUE_DISABLE = bit(11)
    CPC_HARVESTING_RELAUNCH_DISABLE = bit(12)
    CPC_HARVEST_AUTO_DISABLE = bit(13)
    CPC_HARVESTING_DISPATCH_DISABLE = bit(14)
    CPC_REPEATER_FGCG_OVERRIDE = bit(15)
    CPC_RAM_CLK_GATING_DISABLE = bit(18)
    BUSY_EXTENDER = bits(20, 19)
    UCODE_ECC_ERROR_DISABLE = bit(21)
    RESERVED_INTERRUPT_ENABLE = bit(22)
    RESTORE_FIFO_EMPTY_SEL = bit(23)
    UNDERFLOW_BUSY_DISABLE = bit(24)
    OVERFLOW_BUSY_DISABLE = bit(25)
    EVENT_FILT_DISABLE = bit(26)
    PRIV_REG_INTERRUPT_ENABLE = bit(27)
    CPC_TC_ONE_CYCLE_WRITE_DISABLE = bit(28)
    CS_STATE_FILT_DISABLE = bit(29)
    ME2_UCODE_RAM_ENABLE = bit(31)


class CP_PQ_WPTR_POLL_CNTL_t(Register):
    __slots__ = ()
    PERIOD = bits(7, 0)
    DISABLE_PEND_REQ_ONE_SHOT = bit(29)
    POLL_ACTIVE = bit(30)
    EN = bit(31)


class CP_PQ_WPTR_POLL_CNTL1_t(Register):
    __slots__ = ()
    QUEUE_MASK = bits(31, 0)


class CP_ME1_PIPEn_INT_CNTL_t(Register):
    __slots__ = ()
    CMP_QUERY_STATUS_INT_ENABLE = bit(12)
    DEQUEUE_REQUEST_INT_ENABLE = bit(13)
    CP_ECC_ERROR_INT_ENABLE = bit(14)
    SUA_VIOLATION_INT_ENABLE = bit(15)
    GPF_INT_ENABLE = bit(16)
    WRM_POLL_TIMEOUT_INT_ENABLE = bit(17)
    PRIV_REG_INT_ENABLE = bit(23)
    OPCODE_ERROR_INT_ENABLE = bit(24)
    TIME_STAMP_INT_ENABLE = bit(26)
    RESERVED_BIT_ERROR_INT_ENABLE = bit(27)
    GENERIC2_INT_ENABLE = bit(29)
    GENERIC1_INT_ENABLE = bit(30)
    GENERIC0_INT_ENABLE = bit(31)


class CP_ME1_PIPEn_INT_STATUS_t(Register):
    __slots__ = ()
    CMP_QUERY_STATUS_INT_STATUS = bit(12)
    DEQUEUE_REQUEST_INT_STATUS = bit(13)
    CP_ECC_ERROR_INT_STATUS = bit(14)
    SUA_VIOLATION_INT_STATUS = bit(15)
    GPF_INT_STATUS = bit(16)
    WRM_POLL_TIMEOUT_INT_STATUS = bit(17)
    PRIV_REG_INT_STATUS = bit(23)
    OPCODE_ERROR_INT_STATUS = bit(24)
    TIME_STAMP_INT_STATUS = bit(26)
    RESERVED_BIT_ERROR_INT_STATUS = bit(27)
    GENERIC2_INT_STATUS = bit(29)
    GENERIC1_INT_STATUS = bit(30)
    GENERIC0_INT_STATUS = bit(31)


class CP_IQ_WAIT_TIME1_t(Register):
    __slots__ = ()
    IB_OFFLOAD = bits(7, 0)
    ATOMIC_OFFLOAD = bits(15, 8)
    WRM_OFFLOAD = bits(23, 16)
    GWS = bits(31, 24)


class CP_IQ_WAIT_TIME2_t(Register):
    __slots__ = ()
    QUE_SLEEP = bits(7, 0)
    SCH_WAVE = bits(15, 8)
    SEM_REARM = bits(23, 16)
    DEQ_RETRY = bits(31, 24)


class CPC_INT_CNTL_t(Register):
    __slots__ = ()
    CMP_QUERY_STATUS_INT_ENABLE = bit(12)
    DEQUEUE_REQUEST_INT_ENABLE = bit(13)
    CP_ECC_ERROR_INT_ENABLE = bit(14)
    SUA_VIOLATION_INT_ENABLE = bit(15)
    GPF_INT_ENABLE = bit(16)
    WRM_POLL_TIMEOUT_INT_ENABLE = bit(17)
    PRIV_REG_INT_ENABLE = bit(23)
    OPCODE_ERROR_INT_ENABLE = bit(24)
    TIME_STAMP_INT_ENABLE = bit(26)
    RESERVED_BIT_ERROR_INT_ENABLE = bit(27)
    GENERIC2_INT_ENABLE = bit(29)
    GENERIC1_INT_ENABLE = bit(30)
    GENERIC0_INT_ENABLE = bit(31)


class CPC_INT_STATUS_t(Register):
    __slots__ = ()
    CMP_QUERY_STATUS_INT_STATUS = bit(12)
    DEQUEUE_REQUEST_INT_STATUS = bit(13)
    CP_ECC_ERROR_INT_STATUS = bit(14)
    SUA_VIOLATION_INT_STATUS = bit(15)
    GPF_INT_STATUS = bit(16)
    WRM_POLL_TIMEOUT_INT_STATUS = bit(17)
    PRIV_REG_INT_STATUS = bit(23)
    OPCODE_ERROR_INT_STATUS = bit(24)
    TIME_STAMP_INT_STATUS = bit(26)
    RESERVED_BIT_ERROR_INT_STATUS = bit(27)
    GENERIC2_INT_STATUS = bit(29)
    GENERIC1_INT_STATUS = bit(30)
    GENERIC0_INT_STATUS = bit(31)


class CP_PQ_STATUS_t(Register):
    __slots__ = ()
    DOORBELL_UPDATED = bit(0)
    DOORBELL_ENABLE = bit(1)
    DOORBELL_UPDATED_EN = bit(2)


class CP_CPC_IC_BASE_LO_t(Register):
    __slots__ = ()
    IC_BASE_LO = bits(31, 12)


class CP_CPC_IC_BASE_HI_t(Register):
    __slots__ = ()
    IC_BASE_HI = bits(15, 0)


class CP_CPC_IC_BASE_CNTL_t(Register):
    __slots__ = ()
    VMID = bits(3, 0)
    CACHE_POLICY = bit(24)


class CP_CPC_IC_OP_CNTL_t(Register):
    __slots__ = ()
    INVALIDATE_CACHE = bit(0)
    PRIME_ICACHE = bit(4)
    ICACHE_PRIMED = bit(5)
    ICACHE_INVALIDATED = bit(6)


class CPG_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)
    FAULT_UTCL1ID = bits(13, 8)
    RETRY_UTCL1ID = bits(21, 16)
    PRT_UTCL1ID = bits(29, 24)


class CPC_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)
    FAULT_UTCL1ID = bits(13, 8)
    RETRY_UTCL1ID = bits(21, 16)
    PRT_UTCL1ID = bits(29, 24)


class CPF_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)
    FAULT_UTCL1ID = bits(13, 8)
    RETRY_UTCL1ID = bits(21, 16)
    PRT_UTCL1ID = bits(29, 24)


class SPI_WCL_PIPE_PERCENT_GFX_t(Register):
    __slots__ = ()
    VALUE = bits(6, 0)
    LS_GRP_VALUE = bits(11, 7)
    HS_GRP_VALUE = bits(16, 12)
    ES_GRP_VALUE = bits(21, 17)
    GS_GRP_VALUE = bits(26, 22)


class SPI_WCL_PIPE_PERCENT_CSn_t(Register):
    __slots__ = ()
    VALUE = bits(6, 0)


class SPI_GDBG_PER_VMID_CNTL_t(Register):
    __slots__ = ()
    STALL_VMID = bit(0)
    LAUNCH_MODE = bits(2, 1)
    TRAP_EN = bit(3)
    EXCP_EN = bits(12, 4)
    EXCP_REPLACE = bit(13)
    TRAP_ON_START = bit(14)
    TRAP_ON_END = bit(15)


class SPI_COMPUTE_QUEUE_RESET_t(Register):
    __slots__ = ()
    RESET = bit(0)


class CP_HQD_GFX_CONTROL_t(Register):
    __slots__ = ()
    MESSAGE = bits(3, 0)
    MISC = bits(14, 4)
    DB_UPDATED_MSG_EN = bit(15)


class CP_HQD_GFX_STATUS_t(Register):
    __slots__ = ()
    STATUS = bits(15, 0)


class CP_MQD_BASE_ADDR_t(Register):
    __slots__ = ()
    BASE_ADDR = bits(31, 2)


class CP_MQD_BASE_ADDR_HI_t(Register):
    __slots__ = ()
    BASE_ADDR_HI = bits(15, 0)


class CP_HQD_ACTIVE_t(Register):
    __slots__ = ()
    ACTIVE = bit(0)
    BUSY_GATE = bit(1)


class CP_HQD_VMID_t(Register):
    __slots__ = ()
    VMID = bits(3, 0)
    IB_VMID = bits(11, 8)
    VQID = bits(25, 16)


class CP_HQD_PERSISTENT_STATE_t(Register):
    __slots__ = ()
    PRELOAD_REQ = bit(0)
    PRELOAD_SIZE = bits(17, 8)
    WPP_SWITCH_QOS_EN = bit(21)
    IQ_SWITCH_QOS_EN = bit(22)
    IB_SWITCH_QOS_EN = bit(23)
    EOP_SWITCH_QOS_EN = bit(24)
    PQ_SWITCH_QOS_EN = bit(25)
    TC_OFFLOAD_QOS_EN = bit(26)
    CACHE_FULL_PACKET_EN = bit(27)
    RESTORE_ACTIVE = bit(28)
    RELAUNCH_WAVES = bit(29)
    QSWITCH_MODE = bit(30)
    DISP_ACTIVE = bit(31)


class CP_HQD_PIPE_PRIORITY_t(Register):
    __slots__ = ()
    PIPE_PRIORITY = bits(1, 0)


class CP_HQD_QUEUE_PRIORITY_t(Register):
    __slots__ = ()
    PRIORITY_LEVEL = bits(3, 0)


class CP_HQD_QUANTUM_t(Register):
    __slots__ = ()
    QUANTUM_EN = bit(0)
    QUANTUM_SCALE = bit(4)
    QUANTUM_DURATION = bits(13, 8)
    QUANTUM_ACTIVE = bit(31)


class CP_HQD_PQ_BASE_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class CP_HQD_PQ_BASE_HI_t(Register):
    __slots__ = ()
    ADDR_HI = bits(7, 0)


class CP_HQD_PQ_RPTR_t(Register):
    __slots__ = ()
    CONSUMED_OFFSET = bits(31, 0)


class CP_HQD_PQ_RPTR_REPORT_ADDR_t(Register):
    __slots__ = ()
    RPTR_REPORT_ADDR = bits(31, 2)


class CP_HQD_PQ_RPTR_REPORT_ADDR_HI_t(Register):
    __slots__ = ()
    RPTR_REPORT_ADDR_HI = bits(15, 0)


class CP_HQD_PQ_WPTR_POLL_ADDR_t(Register):
    __slots__ = ()
    WPTR_ADDR = bits(31, 3)


class CP_HQD_PQ_WPTR_POLL_ADDR_HI_t(Register):
    __slots__ = ()
    WPTR_ADDR_HI = bits(15, 0)


class CP_HQD_PQ_DOORBELL_CONTROL_t(Register):
    __slots__ = ()
    DOORBELL_MODE = bit(0)
    DOORBELL_BIF_DROP = bit(1)
    DOORBELL_OFFSET = bits(27, 2)
    DOORBELL_SOURCE = bit(28)
    DOORBELL_SCHD_HIT = bit(29)
    DOORBELL_EN = bit(30)
    DOORBELL_HIT = bit(31)


class CP_HQD_PQ_CONTROL_t(Register):
    __slots__ = ()
    QUEUE_SIZE = bits(5, 0)
    WPTR_CARRY = bit(6)
    RPTR_CARRY = bit(7)
    RPTR_BLOCK_SIZE = bits(13, 8)
    QUEUE_FULL_EN = bit(14)
    PQ_EMPTY = bit(15)
    WPP_CLAMP_EN = bit(16)
    ENDIAN_SWAP = bits(18, 17)
    MIN_AVAIL_SIZE = bits(21, 20)
    TMZ = bit(22)
    EXE_DISABLE = bit(23)
    CACHE_POLICY = bit(24)
    SLOT_BASED_WPTR = bits(26, 25)
    NO_UPDATE_RPTR = bit(27)
    UNORD_DISPATCH = bit(28)
    ROQ_PQ_IB_FLIP = bit(29)
    PRIV_STATE = bit(30)
    KMD_QUEUE = bit(31)


class CP_HQD_IB_BASE_ADDR_t(Register):
    __slots__ = ()
    IB_BASE_ADDR = bits(31, 2)


class CP_HQD_IB_BASE_ADDR_HI_t(Register):
    __slots__ = ()
    IB_BASE_ADDR_HI = bits(15, 0)


class CP_HQD_IB_RPTR_t(Register):
    __slots__ = ()
    CONSUMED_OFFSET = bits(19, 0)


class CP_HQD_IB_CONTROL_t(Register):
    __slots__ = ()
    IB_SIZE = bits(19, 0)
    MIN_IB_AVAIL_SIZE = bits(21, 20)
    IB_EXE_DISABLE = bit(23)
    IB_CACHE_POLICY = bit(24)
    IB_PRIV_STATE = bit(30)
    PROCESSING_IB = bit(31)


class CP_HQD_IQ_TIMER_t(Register):
    __slots__ = ()
    WAIT_TIME = bits(7, 0)
    RETRY_TYPE = bits(10, 8)
    IMMEDIATE_EXPIRE = bit(11)
    INTERRUPT_TYPE = bits(13, 12)
    CLOCK_COUNT = bits(15, 14)
    INTERRUPT_SIZE = bits(21, 16)
    QUANTUM_TIMER = bit(22)
    EXE_DISABLE = bit(23)
    CACHE_POLICY = bit(24)
    QUEUE_TYPE = bit(25)
    REARM_TIMER = bit(28)
    PROCESS_IQ_EN = bit(29)
    PROCESSING_IQ = bit(30)
    ACTIVE = bit(31)


class CP_HQD_IQ_RPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(5, 0)


class CP_HQD_DEQUEUE_REQUEST_t(Register):
    __slots__ = ()
    DEQUEUE_REQ = bits(2, 0)
    IQ_REQ_PEND = bit(4)
    DEQUEUE_INT = bit(8)
    IQ_REQ_PEND_EN = bit(9)
    DEQUEUE_REQ_EN = bit(10)


class CP_HQD_DMA_OFFLOAD_t(Register):
    __slots__ = ()
    DMA_OFFLOAD = bit(0)


class CP_HQD_OFFLOAD_t(Register):
    __slots__ = ()
    DMA_OFFLOAD = bit(0)
    DMA_OFFLOAD_EN = bit(1)
    AQL_OFFLOAD = bit(2)
    AQL_OFFLOAD_EN = bit(3)
    EOP_OFFLOAD = bit(4)
    EOP_OFFLOAD_EN = bit(5)


class CP_HQD_SEMA_CMD_t(Register):
    __slots__ = ()
    RETRY = bit(0)
    RESULT = bits(2, 1)


class CP_HQD_MSG_TYPE_t(Register):
    __slots__ = ()
    ACTION = bits(2, 0)
    SAVE_STATE = bits(6, 4)


class CP_HQD_ATOMIC0_PREOP_LO_t(Register):
    __slots__ = ()
    ATOMIC0_PREOP_LO = bits(31, 0)


class CP_HQD_ATOMIC0_PREOP_HI_t(Register):
    __slots__ = ()
    ATOMIC0_PREOP_HI = bits(31, 0)


class CP_HQD_ATOMIC1_PREOP_LO_t(Register):
    __slots__ = ()
    ATOMIC1_PREOP_LO = bits(31, 0)


class CP_HQD_ATOMIC1_PREOP_HI_t(Register):
    __slots__ = ()
    ATOMIC1_PREOP_HI = bits(31, 0)


class CP_HQD_HQ_SCHEDULERn_t(Register):
    __slots__ = ()
    SCHEDULER = bits(31, 0)


class CP_HQD_HQ_STATUS0_t(Register):
    __slots__ = ()
    DEQUEUE_STATUS = bits(1, 0)
    DEQUEUE_RETRY_CNT = bits(3, 2)
    RSV_6_4 = bits(6, 4)
    SCRATCH_RAM_INIT = bit(7)
    TCL2_DIRTY = bit(8)
    PG_ACTIVATED = bit(9)
    RSVR_29_10 = bits(29, 10)
    QUEUE_IDLE = bit(30)
    DB_UPDATED_MSG_EN = bit(31)


class CP_HQD_HQ_CONTROLn_t(Register):
    __slots__ = ()
    CONTROL = bits(31, 0)


class CP_MQD_CONTROL_t(Register):
    __slots__ = ()
    VMID = bits(3, 0)
    PRIV_STATE = bit(8)
    PROCESSING_MQD = bit(12)
    PROCESSING_MQD_EN = bit(13)
    EXE_DISABLE = bit(23)
    CACHE_POLICY = bit(24)


class CP_HQD_HQ_STATUS1_t(Register):
    __slots__ = ()
    STATUS = bits(31, 0)


class CP_HQD_EOP_BASE_ADDR_t(Register):
    __slots__ = ()
    BASE_ADDR = bits(31, 0)


class CP_HQD_EOP_BASE_ADDR_HI_t(Register):
    __slots__ = ()
    BASE_ADDR_HI = bits(7, 0)


class CP_HQD_EOP_CONTROL_t(Register):
    __slots__ = ()
    EOP_SIZE = bits(5, 0)
    PROCESSING_EOP = bit(8)
    PROCESS_EOP_EN = bit(12)
    PROCESSING_EOPIB = bit(13)
    PROCESS_EOPIB_EN = bit(14)
    HALT_FETCHER = bit(21)
    HALT_FETCHER_EN = bit(22)
    EXE_DISABLE = bit(23)
    CACHE_POLICY = bit(24)
    SIG_SEM_RESULT = bits(30, 29)
    PEND_SIG_SEM = bit(31)


class CP_HQD_EOP_RPTR_t(Register):
    __slots__ = ()
    RPTR = bits(12, 0)
    RESET_FETCHER = bit(28)
    DEQUEUE_PEND = bit(29)
    RPTR_EQ_CSMD_WPTR = bit(30)
    INIT_FETCHER = bit(31)


class CP_HQD_EOP_WPTR_t(Register):
    __slots__ = ()
    WPTR = bits(12, 0)
    EOP_EMPTY = bit(15)
    EOP_AVAIL = bits(28, 16)


class CP_HQD_EOP_EVENTS_t(Register):
    __slots__ = ()
    EVENT_COUNT = bits(11, 0)
    CS_PARTIAL_FLUSH_PEND = bit(16)


class CP_HQD_CTX_SAVE_BASE_ADDR_LO_t(Register):
    __slots__ = ()
    ADDR = bits(31, 12)


class CP_HQD_CTX_SAVE_BASE_ADDR_HI_t(Register):
    __slots__ = ()
    ADDR_HI = bits(15, 0)


class CP_HQD_CTX_SAVE_CONTROL_t(Register):
    __slots__ = ()
    POLICY = bit(3)
    EXE_DISABLE = bit(23)


class CP_HQD_CNTL_STACK_OFFSET_t(Register):
    __slots__ = ()
    OFFSET = bits(15, 2)


class CP_HQD_CNTL_STACK_SIZE_t(Register):
    __slots__ = ()
    SIZE = bits(15, 12)


class CP_HQD_WG_STATE_OFFSET_t(Register):
    __slots__ = ()
    OFFSET = bits(26, 2)


class CP_HQD_CTX_SAVE_SIZE_t(Register):
    __slots__ = ()
    SIZE = bits(26, 12)


class CP_HQD_GDS_RESOURCE_STATE_t(Register):
    __slots__ = ()
    OA_REQUIRED = bit(0)
    OA_ACQUIRED = bit(1)
    GWS_SIZE = bits(9, 4)
    GWS_PNTR = bits(17, 12)


class CP_HQD_ERROR_t(Register):
    __slots__ = ()
    EDC_ERROR_ID = bits(3, 0)
    SUA_ERROR = bit(4)
    AQL_ERROR = bit(5)
    PQ_UTCL1_ERROR = bit(8)
    IB_UTCL1_ERROR = bit(9)
    EOP_UTCL1_ERROR = bit(10)
    IQ_UTCL1_ERROR = bit(11)
    RRPT_UTCL1_ERROR = bit(12)
    WPP_UTCL1_ERROR = bit(13)
    SEM_UTCL1_ERROR = bit(14)
    DMA_SRC_UTCL1_ERROR = bit(15)
    DMA_DST_UTCL1_ERROR = bit(16)
    SR_UTCL1_ERROR = bit(17)
    QU_UTCL1_ERROR = bit(18)
    TC_UTCL1_ERROR = bit(19)


class CP_HQD_EOP_WPTR_MEM_t(Register):
    __slots__ = ()
    WPTR = bits(12, 0)


class CP_HQD_AQL_CONTROL_t(Register):
    __slots__ = ()
    CONTROL0 = bits(14, 0)
    CONTROL0_EN = bit(15)
    CONTROL1 = bits(30, 16)
    CONTROL1_EN = bit(31)


class CP_HQD_PQ_WPTR_LO_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class CP_HQD_PQ_WPTR_HI_t(Register):
    __slots__ = ()
    DATA = bits(31, 0)


class CP_HQD_AQL_CONTROL_1_t(Register):
    __slots__ = ()
    RESERVED = bits(31, 0)


class CP_HQD_AQL_DISPATCH_ID_t(Register):
    __slots__ = ()
    CONSUMED_OFFSET = bits(31, 0)


class CP_HQD_AQL_DISPATCH_ID_HI_t(Register):
    __slots__ = ()
    CONSUMED_OFFSET = bits(31, 0)


class TCP_UTCL1_CNTL2_t(Register):
    __slots__ = ()
    SPARE = bits(7, 0)
    MTYPE_OVRD_DIS = bit(9)
    ANY_LINE_VALID = bit(10)
    GPUVM_INV_MODE = bit(12)
    FORCE_SNOOP = bit(14)
    FORCE_GPUVM_INV_ACK = bit(15)
    FORCE_FRAG_2M_TO_64K = bit(26)
    THRASHING_TIMEOUT_PROTECT_ENABLE = bit(27)
    THRASHING_ENABLE = bit(28)


class TCP_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)
    TIMEOUT_DETECTED = bit(3)


class GDS_VMID0_BASE_t(Register):
    __slots__ = ()
    BASE = bits(15, 0)


class GDS_VMID0_SIZE_t(Register):
    __slots__ = ()
    SIZE = bits(16, 0)


class GDS_GWS_VMID0_t(Register):
    __slots__ = ()
    BASE = bits(5, 0)
    SIZE = bits(22, 16)


class GDS_OA_VMID0_t(Register):
    __slots__ = ()
    MASK = bits(15, 0)
    UNUSED = bits(31, 16)


class SCRATCH_REG0_t(Register):
    __slots__ = ()
    SCRATCH_REG0 = bits(31, 0)


class SCRATCH_REG1_t(Register):
    __slots__ = ()
    SCRATCH_REG1 = bits(31, 0)


class SCRATCH_REG2_t(Register):
    __slots__ = ()
    SCRATCH_REG2 = bits(31, 0)


class SCRATCH_REG3_t(Register):
    __slots__ = ()
    SCRATCH_REG3 = bits(31, 0)


class SCRATCH_REG4_t(Register):
    __slots__ = ()
    SCRATCH_REG4 = bits(31, 0)


class SCRATCH_REG5_t(Register):
    __slots__ = ()
    SCRATCH_REG5 = bits(31, 0)


class SCRATCH_REG6_t(Register):
    __slots__ = ()
    SCRATCH_REG6 = bits(31, 0)


class SCRATCH_REG7_t(Register):
    __slots__ = ()
    SCRATCH_REG7 = bits(31, 0)


class GRBM_GFX_INDEX_t(Register):
    __slots__ = ()
    INSTANCE_INDEX = bits(7, 0)
    SH_INDEX = bits(15, 8)
    SE_INDEX = bits(23, 16)
    SH_BROADCAST_WRITES = bit(29)
    INSTANCE_BROADCAST_WRITES = bit(30)
    SE_BROADCAST_WRITES = bit(31)


class RLC_CNTL_t(Register):
    __slots__ = ()
    RLC_ENABLE_F32 = bit(0)
    FORCE_RETRY = bit(1)
    READ_CACHE_DISABLE = bit(2)
    RLC_STEP_F32 = bit(3)
    RESERVED = bits(31, 4)


class RLC_STAT_t(Register):
    __slots__ = ()
    RLC_BUSY = bit(0)
    RLC_SRM_BUSY = bit(1)
    RLC_GPM_BUSY = bit(2)
    RLC_SPM_BUSY = bit(3)
    MC_BUSY = bit(4)
    RLC_THREAD_0_BUSY = bit(5)
    RLC_THREAD_1_BUSY = bit(6)
    RLC_THREAD_2_BUSY = bit(7)
    RESERVED = bits(31, 8)


class RLC_SAFE_MODE_t(Register):
    __slots__ = ()
    CMD = bit(0)
    MESSAGE = bits(4, 1)
    RESERVED1 = bits(7, 5)
    RESPONSE = bits(11, 8)
    RESERVED = bits(31, 12)


class RLC_MEM_SLP_CNTL_t(Register):
    __slots__ = ()
    RLC_MEM_LS_EN = bit(0)
    RLC_MEM_DS_EN = bit(1)
    RESERVED = bits(6, 2)
    RLC_LS_DS_BUSY_OVERRIDE = bit(7)
    RLC_MEM_LS_ON_DELAY = bits(15, 8)
    RLC_MEM_LS_OFF_DELAY = bits(23, 16)
    RESERVED1 = bits(31, 24)


class SMU_RLC_RESPONSE_t(Register):
    __slots__ = ()
    RESP = bits(31, 0)


class RLC_SMU_SAFE_MODE_t(Register):
    __slots__ = ()
    CMD = bit(0)
    MESSAGE = bits(4, 1)
    RESERVED1 = bits(7, 5)
    RESPONSE = bits(11, 8)
    RESERVED = bits(31, 12)


class RLC_INT_STAT_t(Register):
    __slots__ = ()
    LAST_CP_RLC_INT_ID = bits(7, 0)
    CP_RLC_INT_PENDING = bit(8)
    RESERVED = bits(31, 9)


class RLC_GPU_CLOCK_COUNT_LSB_t(Register):
    __slots__ = ()
    GPU_CLOCKS_LSB = bits(31, 0)


class RLC_GPU_CLOCK_COUNT_MSB_t(Register):
    __slots__ = ()
    GPU_CLOCKS_MSB = bits(31, 0)


class RLC_CAPTURE_GPU_CLOCK_COUNT_t(Register):
    __slots__ = ()
    CAPTURE = bit(0)
    RESERVED = bits(31, 1)


class RLC_GPM_STAT_t(Register):
    __slots__ = ()
    RLC_BUSY = bit(0)
    GFX_POWER_STATUS = bit(1)
    GFX_CLOCK_STATUS = bit(2)
    GFX_LS_STATUS = bit(3)
    GFX_PIPELINE_POWER_STATUS = bit(4)
    CNTX_IDLE_BEING_PROCESSED = bit(5)
    CNTX_BUSY_BEING_PROCESSED = bit(6)
    GFX_IDLE_BEING_PROCESSED = bit(7)
    CMP_BUSY_BEING_PROCESSED = bit(8)
    SAVING_REGISTERS = bit(9)
    RESTORING_REGISTERS = bit(10)
    GFX3D_BLOCKS_CHANGING_POWER_STATE = bit(11)
    CMP_BLOCKS_CHANGING_POWER_STATE = bit(12)
    STATIC_CU_POWERING_UP = bit(13)
    STATIC_CU_POWERING_DOWN = bit(14)
    DYN_CU_POWERING_UP = bit(15)
    DYN_CU_POWERING_DOWN = bit(16)
    ABORTED_PD_SEQUENCE = bit(17)
    CMP_power_status = bit(18)
    RESERVED_1 = bits(20, 19)
    MGCG_OVERRIDE_STATUS = bit(21)
    RLC_EXEC_ROM_CODE = bit(22)
    FGCG_OVERRIDE_STATUS = bit(23)
    PG_ERROR_STATUS = bits(31, 24)


class RLC_CGTT_MGCG_OVERRIDE_t(Register):
    __slots__ = ()
    RESERVED_0 = bit(0)
    RLC_CGTT_SCLK_OVERRIDE = bit(1)
    GFXIP_MGCG_OVERRIDE = bit(2)
    GFXIP_CGCG_OVERRIDE = bit(3)
    GFXIP_CGLS_OVERRIDE = bit(4)
    GRBM_CGTT_SCLK_OVERRIDE = bit(5)
    GFXIP_MGLS_OVERRIDE = bit(6)
    GFXIP_GFX3D_CG_OVERRIDE = bit(7)
    GFXIP_FGCG_OVERRIDE = bit(8)
    GFXIP_REP_FGCG_OVERRIDE = bit(9)
    GFXIP_PERF_CLK_EN = bit(10)
    RESERVED_15_11 = bits(15, 11)
    ENABLE_CGTS_LEGACY = bit(16)
    RESERVED_31_17 = bits(31, 17)


class RLC_CGCG_CGLS_CTRL_t(Register):
    __slots__ = ()
    CGCG_EN = bit(0)
    CGLS_EN = bit(1)
    CGLS_REP_COMPANSAT_DELAY = bits(7, 2)
    CGCG_GFX_IDLE_THRESHOLD = bits(26, 8)
    CGCG_CONTROLLER = bit(27)
    CGCG_REG_CTRL = bit(28)
    SLEEP_MODE = bits(30, 29)
    SIM_SILICON_EN = bit(31)


class RLC_SERDES_CU_MASTER_BUSY_t(Register):
    __slots__ = ()
    BUSY_BUSY = bits(31, 0)


class RLC_SERDES_NONCU_MASTER_BUSY_t(Register):
    __slots__ = ()
    SE_MASTER_BUSY = bits(15, 0)
    GC_MASTER_BUSY = bit(16)
    GC_GFX_MASTER_BUSY = bit(17)
    TC0_MASTER_BUSY = bit(18)
    TC1_MASTER_BUSY = bit(19)
    SPARE0_MASTER_BUSY = bit(20)
    SPARE1_MASTER_BUSY = bit(21)
    SPARE2_MASTER_BUSY = bit(22)
    SPARE3_MASTER_BUSY = bit(23)
    EA_0_MASTER_BUSY = bit(24)
    TC2_MASTER_BUSY = bit(25)
    RESERVED = bits(31, 26)


class RLC_GPM_GENERAL_n_t(Register):
    __slots__ = ()
    DATA = bits(31, 0)


class RLC_SPM_MC_CNTL_t(Register):
    __slots__ = ()
    RLC_SPM_VMID = bits(3, 0)
    RLC_SPM_POLICY = bit(4)
    RLC_SPM_PERF_CNTR = bit(5)
    RLC_SPM_FED = bit(6)
    RLC_SPM_MTYPE_OVER = bit(7)
    RLC_SPM_MTYPE = bits(9, 8)
    RESERVED = bits(31, 10)


class RLC_SMU_MESSAGE_t(Register):
    __slots__ = ()
    CMD = bits(31, 0)


class RLC_SRM_CNTL_t(Register):
    __slots__ = ()
    SRM_ENABLE = bit(0)
    AUTO_INCR_ADDR = bit(1)
    RESERVED = bits(31, 2)


class RLC_SMU_COMMAND_t(Register):
    __slots__ = ()
    CMD = bits(31, 0)


class RLC_CP_SCHEDULERS_t(Register):
    __slots__ = ()
    scheduler0 = bits(7, 0)
    scheduler1 = bits(15, 8)
    scheduler2 = bits(23, 16)
    scheduler3 = bits(31, 24)


class RLC_SMU_ARGUMENT_n_t(Register):
    __slots__ = ()
    ARG = bits(31, 0)


class RLC_UTCL1_STATUS_t(Register):
    __slots__ = ()
    FAULT_DETECTED = bit(0)
    RETRY_DETECTED = bit(1)
    PRT_DETECTED = bit(2)
    RESERVED = bits(7, 3)
    FAULT_UTCL1ID = bits(13, 8)
    RESERVED_1 = bits(15, 14)
    RETRY_UTCL1ID = bits(21, 16)
    RESERVED_2 = bits(23, 22)
    PRT_UTCL1ID = bits(29, 24)
    RESERVED_3 = bits(31, 30)


class CP_MEC_MEn_UCODE_ADDR_t(Register):
    __slots__ = ()
    UCODE_ADDR = bits(16, 0)


class CP_MEC_MEn_UCODE_DATA_t(Register):
    __slots__ = ()
    UCODE_DATA = bits(31, 0)


class CP_HYP_XCP_CTL_t(Register):
    __slots__ = ()
    VIRTUAL_XCC_ID = bits(2, 0)
    NUM_XCC_IN_XCP = bits(6, 3)


class RLC_GPM_UCODE_ADDR_t(Register):
    __slots__ = ()
    UCODE_ADDR = bits(13, 0)
    RESERVED = bits(31, 14)


class CPC_PSP_DEBUG_t(Register):
    __slots__ = ()
    PRIV_VIOLATION_CNTL = bits(1, 0)
    VMID_VIOLATION_CNTL = bit(2)
    UTCL2IUGPAOVERRIDE = bit(3)
    CPC_DC_FIX_DISABLE = bit(4)


class Gc(RegisterBlock):
    GRBM_CNTL = reg(0x0000, GRBM_CNTL_t, 0)
    GRBM_STATUS2 = reg(0x0002, GRBM_STATUS2_t, 0)
    GRBM_STATUS = reg(0x0004, GRBM_STATUS_t, 0)
    GRBM_STATUS_SE0 = reg(0x0005, GRBM_STATUS_SEn_t, 0)
    GRBM_STATUS_SE1 = reg(0x0006, GRBM_STATUS_SEn_t, 0)
    GRBM_SOFT_RESET = reg(0x0008, GRBM_SOFT_RESET_t, 0)
    GRBM_STATUS_SE2 = reg(0x000e, GRBM_STATUS_SEn_t, 0)
    GRBM_STATUS_SE3 = reg(0x000f, GRBM_STATUS_SEn_t, 0)
    GRBM_READ_ERROR = reg(0x0016, GRBM_READ_ERROR_t, 0)
    GRBM_READ_ERROR2 = reg(0x0017, GRBM_READ_ERROR2_t, 0)
    GRBM_CHIP_REVISION = reg(0x0021, GRBM_CHIP_REVISION_t, 0)
    GRBM_GFX_CNTL = reg(0x0022, GRBM_GFX_CNTL_t, 0)
    CP_CPC_STATUS = reg(0x0084, CP_CPC_STATUS_t, 0)
    CP_CPC_BUSY_STAT = reg(0x0085, CP_CPC_BUSY_STAT_t, 0)
    CP_CPC_STALLED_STAT1 = reg(0x0086, CP_CPC_STALLED_STAT1_t, 0)
    CP_CPF_STATUS = reg(0x0087, CP_CPF_STATUS_t, 0)
    CP_CPF_BUSY_STAT = reg(0x0088, CP_CPF_BUSY_STAT_t, 0)
    CP_CPF_STALLED_STAT1 = reg(0x0089, CP_CPF_STALLED_STAT1_t, 0)
    CP_MEC_CNTL = reg(0x008d, CP_MEC_CNTL_t, 0)
    CP_MEC_ME1_HEADER_DUMP = reg(0x008e, CP_MEC_MEn_HEADER_DUMP_t, 0)
    CP_MEC_ME2_HEADER_DUMP = reg(0x008f, CP_MEC_MEn_HEADER_DUMP_t, 0)
    CP_STALLED_STAT3 = reg(0x019c, CP_STALLED_STAT3_t, 0)
    CP_STALLED_STAT1 = reg(0x019d, CP_STALLED_STAT1_t, 0)
    CP_STALLED_STAT2 = reg(0x019e, CP_STALLED_STAT2_t, 0)
    CP_BUSY_STAT = reg(0x019f, CP_BUSY_STAT_t, 0)
    CP_STAT = reg(0x01a0, CP_STAT_t, 0)
    CP_MEC1_INSTR_PNTR = reg(0x01a8, CP_MECn_INSTR_PNTR_t, 0)
    CP_MEC2_INSTR_PNTR = reg(0x01a9, CP_MECn_INSTR_PNTR_t, 0)
    CP_RB_WPTR_POLL_CNTL = reg(0x01c2, CP_RB_WPTR_POLL_CNTL_t, 0)
    WD_UTCL1_STATUS = reg(0x0244, WD_UTCL1_STATUS_t, 0)
    CC_GC_SHADER_ARRAY_CONFIG = reg(0x026f, CC_GC_SHADER_ARRAY_CONFIG_t, 0)
    GC_USER_SHADER_ARRAY_CONFIG = reg(0x0270, GC_USER_SHADER_ARRAY_CONFIG_t, 0)
    SH_MEM_BASES = reg(0x030a, SH_MEM_BASES_t, 0)
    SQ_TIMEOUT_CONFIG = reg(0x030b, SQ_TIMEOUT_CONFIG_t, 0)
    SQ_TIMEOUT_STATUS = reg(0x030c, SQ_TIMEOUT_STATUS_t, 0)
    SH_MEM_CONFIG = reg(0x030d, SH_MEM_CONFIG_t, 0)
    SQ_UTCL1_STATUS = reg(0x0319, SQ_UTCL1_STATUS_t, 0)
    SQ_SHADER_TBA_LO = reg(0x031c, SQ_SHADER_TBA_LO_t, 0)
    SQ_SHADER_TBA_HI = reg(0x031d, SQ_SHADER_TBA_HI_t, 0)
    SQ_SHADER_TMA_LO = reg(0x031e, SQ_SHADER_TMA_LO_t, 0)
    SQ_SHADER_TMA_HI = reg(0x031f, SQ_SHADER_TMA_HI_t, 0)
    SQ_IND_INDEX = reg(0x0378, SQ_IND_INDEX_t, 0)
    SQ_IND_DATA = reg(0x0379, SQ_IND_DATA_t, 0)
    SQ_CONFIG1 = reg(0x037a, SQ_CONFIG1_t, 0)
    SQ_CMD = reg(0x037b, SQ_CMD_t, 0)
    SQC_ICACHE_UTCL1_STATUS = reg(0x03d7, SQC_ICACHE_UTCL1_STATUS_t, 0)
    SQC_DCACHE_UTCL1_STATUS = reg(0x03d8, SQC_DCACHE_UTCL1_STATUS_t, 0)
    SPI_CSQ_WF_ACTIVE_STATUS = reg(0x04db, SPI_CSQ_WF_ACTIVE_STATUS_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_0 = reg(0x04dc, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_1 = reg(0x04dd, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_2 = reg(0x04de, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_3 = reg(0x04df, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_4 = reg(0x04e0, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_5 = reg(0x04e1, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_6 = reg(0x04e2, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    SPI_CSQ_WF_ACTIVE_COUNT_7 = reg(0x04e3, SPI_CSQ_WF_ACTIVE_COUNT_n_t, 0)
    GDS_PROTECTION_FAULT = reg(0x05c3, GDS_PROTECTION_FAULT_t, 0)
    GDS_VM_PROTECTION_FAULT = reg(0x05c4, GDS_VM_PROTECTION_FAULT_t, 0)
    DB_DEBUG2 = reg(0x060d, DB_DEBUG2_t, 0)
    GB_ADDR_CONFIG = reg(0x063e, GB_ADDR_CONFIG_t, 0)
    GB_ADDR_CONFIG_READ = reg(0x0642, GB_ADDR_CONFIG_READ_t, 0)
    RMI_UTCL1_STATUS = reg(0x0797, RMI_UTCL1_STATUS_t, 0)
    VM_L2_CNTL = reg(0x0820, VM_L2_CNTL_t, 0)
    VM_L2_CNTL2 = reg(0x0821, VM_L2_CNTL2_t, 0)
    VM_L2_CNTL3 = reg(0x0822, VM_L2_CNTL3_t, 0)
    VM_L2_STATUS = reg(0x0823, VM_L2_STATUS_t, 0)
    VM_L2_PROTECTION_FAULT_CNTL = reg(0x0827, VM_L2_PROTECTION_FAULT_CNTL_t, 0)
    VM_L2_PROTECTION_FAULT_CNTL2 = reg(0x0828, VM_L2_PROTECTION_FAULT_CNTL2_t, 0)
    VM_L2_PROTECTION_FAULT_MM_CNTL3 = reg(0x0829, VM_L2_PROTECTION_FAULT_MM_CNTL3_t, 0)
    VM_L2_PROTECTION_FAULT_MM_CNTL4 = reg(0x082a, VM_L2_PROTECTION_FAULT_MM_CNTL4_t, 0)
    VM_L2_PROTECTION_FAULT_STATUS = reg(0x082b, VM_L2_PROTECTION_FAULT_STATUS_t, 0)
    VM_L2_PROTECTION_FAULT_ADDR_LO32 = reg(0x082c, VM_L2_PROTECTION_FAULT_ADDR_LO32_t, 0)
    VM_L2_PROTECTION_FAULT_ADDR_HI32 = reg(0x082d, VM_L2_PROTECTION_FAULT_ADDR_HI32_t, 0)
    VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_LO32 = reg(0x082e, VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_LO32_t, 0)
    VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_HI32 = reg(0x082f, VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_HI32_t, 0)
    VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_LO32 = reg(0x0831, VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_LO32_t, 0)
    VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_HI32 = reg(0x0832, VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_HI32_t, 0)
    VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_LO32 = reg(0x0833, VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_LO32_t, 0)
    VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_HI32 = reg(0x0834, VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_HI32_t, 0)
    VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_LO32 = reg(0x0835, VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_LO32_t, 0)
    VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_HI32 = reg(0x0836, VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_HI32_t, 0)
    VM_L2_CNTL4 = reg(0x0837, VM_L2_CNTL4_t, 0)
    VM_L2_CNTL5 = reg(0x0838, VM_L2_CNTL5_t, 0)
    UTCL2_MEM_ECC_STATUS = reg(0x084a, UTCL2_MEM_ECC_STATUS_t, 0)
    VM_CONTEXT0_CNTL = reg(0x0860, VM_CONTEXTn_CNTL_t, 0)
    VM_CONTEXT1_CNTL = reg(0x0861, VM_CONTEXTn_CNTL_t, 0)
    VM_INVALIDATE_ENG17_SEM = reg(0x0882, VM_INVALIDATE_ENG17_SEM_t, 0)
    VM_INVALIDATE_ENG17_REQ = reg(0x0894, VM_INVALIDATE_ENG17_REQ_t, 0)
    VM_INVALIDATE_ENG17_ACK = reg(0x08a6, VM_INVALIDATE_ENG17_ACK_t, 0)
    VM_INVALIDATE_ENG17_ADDR_RANGE_LO32 = reg(0x08c9, VM_INVALIDATE_ENG17_ADDR_RANGE_LO32_t, 0)
    VM_INVALIDATE_ENG17_ADDR_RANGE_HI32 = reg(0x08ca, VM_INVALIDATE_ENG17_ADDR_RANGE_HI32_t, 0)
    VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32 = reg(0x08cb, VM_CONTEXTn_PAGE_TABLE_BASE_ADDR_LO32_t, 0)
    VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_HI32 = reg(0x08cc, VM_CONTEXTn_PAGE_TABLE_BASE_ADDR_HI32_t, 0)
    VM_CONTEXT1_PAGE_TABLE_BASE_ADDR_LO32 = reg(0x08cd, VM_CONTEXTn_PAGE_TABLE_BASE_ADDR_LO32_t, 0)
    VM_CONTEXT1_PAGE_TABLE_BASE_ADDR_HI32 = reg(0x08ce, VM_CONTEXTn_PAGE_TABLE_BASE_ADDR_HI32_t, 0)
    VM_CONTEXT0_PAGE_TABLE_START_ADDR_LO32 = reg(0x08eb, VM_CONTEXTn_PAGE_TABLE_START_ADDR_LO32_t, 0)
    VM_CONTEXT0_PAGE_TABLE_START_ADDR_HI32 = reg(0x08ec, VM_CONTEXTn_PAGE_TABLE_START_ADDR_HI32_t, 0)
    VM_CONTEXT1_PAGE_TABLE_START_ADDR_LO32 = reg(0x08ed, VM_CONTEXTn_PAGE_TABLE_START_ADDR_LO32_t, 0)
    VM_CONTEXT1_PAGE_TABLE_START_ADDR_HI32 = reg(0x08ee, VM_CONTEXTn_PAGE_TABLE_START_ADDR_HI32_t, 0)
    VM_CONTEXT0_PAGE_TABLE_END_ADDR_LO32 = reg(0x090b, VM_CONTEXTn_PAGE_TABLE_END_ADDR_LO32_t, 0)
    VM_CONTEXT0_PAGE_TABLE_END_ADDR_HI32 = reg(0x090c, VM_CONTEXTn_PAGE_TABLE_END_ADDR_HI32_t, 0)
    VM_CONTEXT1_PAGE_TABLE_END_ADDR_LO32 = reg(0x090d, VM_CONTEXTn_PAGE_TABLE_END_ADDR_LO32_t, 0)
    VM_CONTEXT1_PAGE_TABLE_END_ADDR_HI32 = reg(0x090e, VM_CONTEXTn_PAGE_TABLE_END_ADDR_HI32_t, 0)
    MC_VM_FB_OFFSET = reg(0x0947, MC_VM_FB_OFFSET_t, 0)
    MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_LSB = reg(0x0948, MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_LSB_t, 0)
    MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_MSB = reg(0x0949, MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_MSB_t, 0)
    MC_VM_XGMI_LFB_CNTL = reg(0x0957, MC_VM_XGMI_LFB_CNTL_t, 0)
    MC_VM_XGMI_LFB_SIZE = reg(0x0958, MC_VM_XGMI_LFB_SIZE_t, 0)
    MC_VM_FB_LOCATION_BASE = reg(0x095c, MC_VM_FB_LOCATION_BASE_t, 0)
    MC_VM_FB_LOCATION_TOP = reg(0x095d, MC_VM_FB_LOCATION_TOP_t, 0)
    MC_VM_AGP_TOP = reg(0x095e, MC_VM_AGP_TOP_t, 0)
    MC_VM_AGP_BOT = reg(0x095f, MC_VM_AGP_BOT_t, 0)
    MC_VM_AGP_BASE = reg(0x0960, MC_VM_AGP_BASE_t, 0)
    MC_VM_SYSTEM_APERTURE_LOW_ADDR = reg(0x0961, MC_VM_SYSTEM_APERTURE_LOW_ADDR_t, 0)
    MC_VM_SYSTEM_APERTURE_HIGH_ADDR = reg(0x0962, MC_VM_SYSTEM_APERTURE_HIGH_ADDR_t, 0)
    MC_VM_MX_L1_TLB_CNTL = reg(0x0963, MC_VM_MX_L1_TLB_CNTL_t, 0)
    TCP_CNTL = reg(0x0b02, TCP_CNTL_t, 0)
    COMPUTE_DISPATCH_INITIATOR = reg(0x0e00, COMPUTE_DISPATCH_INITIATOR_t, 0)
    COMPUTE_START_X = reg(0x0e04, COMPUTE_START_X_t, 0)
    COMPUTE_START_Y = reg(0x0e05, COMPUTE_START_Y_t, 0)
    COMPUTE_START_Z = reg(0x0e06, COMPUTE_START_Z_t, 0)
    COMPUTE_NUM_THREAD_X = reg(0x0e07, COMPUTE_NUM_THREAD_X_t, 0)
    COMPUTE_NUM_THREAD_Y = reg(0x0e08, COMPUTE_NUM_THREAD_Y_t, 0)
    COMPUTE_NUM_THREAD_Z = reg(0x0e09, COMPUTE_NUM_THREAD_Z_t, 0)
    COMPUTE_PGM_LO = reg(0x0e0c, COMPUTE_PGM_LO_t, 0)
    COMPUTE_PGM_HI = reg(0x0e0d, COMPUTE_PGM_HI_t, 0)
    COMPUTE_DISPATCH_SCRATCH_BASE_LO = reg(0x0e10, COMPUTE_DISPATCH_SCRATCH_BASE_LO_t, 0)
    COMPUTE_DISPATCH_SCRATCH_BASE_HI = reg(0x0e11, COMPUTE_DISPATCH_SCRATCH_BASE_HI_t, 0)
    COMPUTE_PGM_RSRC1 = reg(0x0e12, COMPUTE_PGM_RSRC1_t, 0)
    COMPUTE_PGM_RSRC2 = reg(0x0e13, COMPUTE_PGM_RSRC2_t, 0)
    COMPUTE_RESOURCE_LIMITS = reg(0x0e15, COMPUTE_RESOURCE_LIMITS_t, 0)
    COMPUTE_STATIC_THREAD_MGMT_SE0 = reg(0x0e16, COMPUTE_STATIC_THREAD_MGMT_SEn_t, 0)
    COMPUTE_STATIC_THREAD_MGMT_SE1 = reg(0x0e17, COMPUTE_STATIC_THREAD_MGMT_SEn_t, 0)
    COMPUTE_TMPRING_SIZE = reg(0x0e18, COMPUTE_TMPRING_SIZE_t, 0)
    COMPUTE_STATIC_THREAD_MGMT_SE2 = reg(0x0e19, COMPUTE_STATIC_THREAD_MGMT_SEn_t, 0)
    COMPUTE_STATIC_THREAD_MGMT_SE3 = reg(0x0e1a, COMPUTE_STATIC_THREAD_MGMT_SEn_t, 0)
    COMPUTE_RESTART_X = reg(0x0e1b, COMPUTE_RESTART_X_t, 0)
    COMPUTE_RESTART_Y = reg(0x0e1c, COMPUTE_RESTART_Y_t, 0)
    COMPUTE_RESTART_Z = reg(0x0e1d, COMPUTE_RESTART_Z_t, 0)
    COMPUTE_PGM_RSRC3 = reg(0x0e2d, COMPUTE_PGM_RSRC3_t, 0)
    COMPUTE_USER_DATA_0 = reg(0x0e40, COMPUTE_USER_DATA_0_t, 0)
    CPC_INT_INFO = reg(0x1037, CPC_INT_INFO_t, 0)
    CPC_INT_ADDR = reg(0x1039, CPC_INT_ADDR_t, 0)
    CP_GFX_ERROR = reg(0x103b, CP_GFX_ERROR_t, 0)
    CP_INT_CNTL = reg(0x1049, CP_INT_CNTL_t, 0)
    CP_MEC_DOORBELL_RANGE_LOWER = reg(0x105c, CP_MEC_DOORBELL_RANGE_LOWER_t, 0)
    CP_MEC_DOORBELL_RANGE_UPPER = reg(0x105d, CP_MEC_DOORBELL_RANGE_UPPER_t, 0)
    CP_INT_CNTL_RING0 = reg(0x106a, CP_INT_CNTL_RING0_t, 0)
    CP_INT_STATUS_RING0 = reg(0x106d, CP_INT_STATUS_RING0_t, 0)
    CP_MEM_SLP_CNTL = reg(0x1079, CP_MEM_SLP_CNTL_t, 0)
    CP_DEBUG = reg(0x107f, CP_DEBUG_t, 0)
    CP_CPC_DEBUG = reg(0x1081, CP_CPC_DEBUG_t, 0)
    CP_PQ_WPTR_POLL_CNTL = reg(0x1083, CP_PQ_WPTR_POLL_CNTL_t, 0)
    CP_PQ_WPTR_POLL_CNTL1 = reg(0x1084, CP_PQ_WPTR_POLL_CNTL1_t, 0)
    CP_ME1_PIPE0_INT_CNTL = reg(0x1085, CP_ME1_PIPEn_INT_CNTL_t, 0)
    CP_ME1_PIPE1_INT_CNTL = reg(0x1086, CP_ME1_PIPEn_INT_CNTL_t, 0)
    CP_ME1_PIPE2_INT_CNTL = reg(0x1087, CP_ME1_PIPEn_INT_CNTL_t, 0)
    CP_ME1_PIPE3_INT_CNTL = reg(0x1088, CP_ME1_PIPEn_INT_CNTL_t, 0)
    CP_ME1_PIPE0_INT_STATUS = reg(0x108d, CP_ME1_PIPEn_INT_STATUS_t, 0)
    CP_ME1_PIPE1_INT_STATUS = reg(0x108e, CP_ME1_PIPEn_INT_STATUS_t, 0)
    CP_ME1_PIPE2_INT_STATUS = reg(0x108f, CP_ME1_PIPEn_INT_STATUS_t, 0)
    CP_ME1_PIPE3_INT_STATUS = reg(0x1090, CP_ME1_PIPEn_INT_STATUS_t, 0)
    CP_IQ_WAIT_TIME1 = reg(0x10af, CP_IQ_WAIT_TIME1_t, 0)
    CP_IQ_WAIT_TIME2 = reg(0x10b0, CP_IQ_WAIT_TIME2_t, 0)
    CPC_INT_CNTL = reg(0x10b4, CPC_INT_CNTL_t, 0)
    CPC_INT_STATUS = reg(0x10b5, CPC_INT_STATUS_t, 0)
    CP_PQ_STATUS = reg(0x10b8, CP_PQ_STATUS_t, 0)
    CP_CPC_IC_BASE_LO = reg(0x10b9, CP_CPC_IC_BASE_LO_t, 0)
    CP_CPC_IC_BASE_HI = reg(0x10ba, CP_CPC_IC_BASE_HI_t, 0)
    CP_CPC_IC_BASE_CNTL = reg(0x10bb, CP_CPC_IC_BASE_CNTL_t, 0)
    CP_CPC_IC_OP_CNTL = reg(0x10bc, CP_CPC_IC_OP_CNTL_t, 0)
    CPG_UTCL1_STATUS = reg(0x11b4, CPG_UTCL1_STATUS_t, 0)
    CPC_UTCL1_STATUS = reg(0x11b5, CPC_UTCL1_STATUS_t, 0)
    CPF_UTCL1_STATUS = reg(0x11b6, CPF_UTCL1_STATUS_t, 0)
    SPI_WCL_PIPE_PERCENT_GFX = reg(0x11c7, SPI_WCL_PIPE_PERCENT_GFX_t, 0)
    SPI_WCL_PIPE_PERCENT_CS0 = reg(0x11c9, SPI_WCL_PIPE_PERCENT_CSn_t, 0)
    SPI_WCL_PIPE_PERCENT_CS1 = reg(0x11ca, SPI_WCL_PIPE_PERCENT_CSn_t, 0)
    SPI_WCL_PIPE_PERCENT_CS2 = reg(0x11cb, SPI_WCL_PIPE_PERCENT_CSn_t, 0)
    SPI_WCL_PIPE_PERCENT_CS3 = reg(0x11cc, SPI_WCL_PIPE_PERCENT_CSn_t, 0)
    SPI_GDBG_PER_VMID_CNTL = reg(0x11d3, SPI_GDBG_PER_VMID_CNTL_t, 0)
    SPI_COMPUTE_QUEUE_RESET = reg(0x11db, SPI_COMPUTE_QUEUE_RESET_t, 0)
    CP_HQD_GFX_CONTROL = reg(0x123e, CP_HQD_GFX_CONTROL_t, 0)
    CP_HQD_GFX_STATUS = reg(0x123f, CP_HQD_GFX_STATUS_t, 0)
    CP_MQD_BASE_ADDR = reg(0x1245, CP_MQD_BASE_ADDR_t, 0)
    CP_MQD_BASE_ADDR_HI = reg(0x1246, CP_MQD_BASE_ADDR_HI_t, 0)
    CP_HQD_ACTIVE = reg(0x1247, CP_HQD_ACTIVE_t, 0)
    CP_HQD_VMID = reg(0x1248, CP_HQD_VMID_t, 0)
    CP_HQD_PERSISTENT_STATE = reg(0x1249, CP_HQD_PERSISTENT_STATE_t, 0)
    CP_HQD_PIPE_PRIORITY = reg(0x124a, CP_HQD_PIPE_PRIORITY_t, 0)
    CP_HQD_QUEUE_PRIORITY = reg(0x124b, CP_HQD_QUEUE_PRIORITY_t, 0)
    CP_HQD_QUANTUM = reg(0x124c, CP_HQD_QUANTUM_t, 0)
    CP_HQD_PQ_BASE = reg(0x124d, CP_HQD_PQ_BASE_t, 0)
    CP_HQD_PQ_BASE_HI = reg(0x124e, CP_HQD_PQ_BASE_HI_t, 0)
    CP_HQD_PQ_RPTR = reg(0x124f, CP_HQD_PQ_RPTR_t, 0)
    CP_HQD_PQ_RPTR_REPORT_ADDR = reg(0x1250, CP_HQD_PQ_RPTR_REPORT_ADDR_t, 0)
    CP_HQD_PQ_RPTR_REPORT_ADDR_HI = reg(0x1251, CP_HQD_PQ_RPTR_REPORT_ADDR_HI_t, 0)
    CP_HQD_PQ_WPTR_POLL_ADDR = reg(0x1252, CP_HQD_PQ_WPTR_POLL_ADDR_t, 0)
    CP_HQD_PQ_WPTR_POLL_ADDR_HI = reg(0x1253, CP_HQD_PQ_WPTR_POLL_ADDR_HI_t, 0)
    CP_HQD_PQ_DOORBELL_CONTROL = reg(0x1254, CP_HQD_PQ_DOORBELL_CONTROL_t, 0)
    CP_HQD_PQ_CONTROL = reg(0x1256, CP_HQD_PQ_CONTROL_t, 0)
    CP_HQD_IB_BASE_ADDR = reg(0x1257, CP_HQD_IB_BASE_ADDR_t, 0)
    CP_HQD_IB_BASE_ADDR_HI = reg(0x1258, CP_HQD_IB_BASE_ADDR_HI_t, 0)
    CP_HQD_IB_RPTR = reg(0x1259, CP_HQD_IB_RPTR_t, 0)
    CP_HQD_IB_CONTROL = reg(0x125a, CP_HQD_IB_CONTROL_t, 0)
    CP_HQD_IQ_TIMER = reg(0x125b, CP_HQD_IQ_TIMER_t, 0)
    CP_HQD_IQ_RPTR = reg(0x125c, CP_HQD_IQ_RPTR_t, 0)
    CP_HQD_DEQUEUE_REQUEST = reg(0x125d, CP_HQD_DEQUEUE_REQUEST_t, 0)
    CP_HQD_DMA_OFFLOAD = reg(0x125e, CP_HQD_DMA_OFFLOAD_t, 0)
    CP_HQD_OFFLOAD = reg(0x125e, CP_HQD_OFFLOAD_t, 0)
    CP_HQD_SEMA_CMD = reg(0x125f, CP_HQD_SEMA_CMD_t, 0)
    CP_HQD_MSG_TYPE = reg(0x1260, CP_HQD_MSG_TYPE_t, 0)
    CP_HQD_ATOMIC0_PREOP_LO = reg(0x1261, CP_HQD_ATOMIC0_PREOP_LO_t, 0)
    CP_HQD_ATOMIC0_PREOP_HI = reg(0x1262, CP_HQD_ATOMIC0_PREOP_HI_t, 0)
    CP_HQD_ATOMIC1_PREOP_LO = reg(0x1263, CP_HQD_ATOMIC1_PREOP_LO_t, 0)
    CP_HQD_ATOMIC1_PREOP_HI = reg(0x1264, CP_HQD_ATOMIC1_PREOP_HI_t, 0)
    CP_HQD_HQ_SCHEDULER0 = reg(0x1265, CP_HQD_HQ_SCHEDULERn_t, 0)
    CP_HQD_HQ_STATUS0 = reg(0x1265, CP_HQD_HQ_STATUS0_t, 0)
    CP_HQD_HQ_CONTROL0 = reg(0x1266, CP_HQD_HQ_CONTROLn_t, 0)
    CP_HQD_HQ_SCHEDULER1 = reg(0x1266, CP_HQD_HQ_SCHEDULERn_t, 0)
    CP_MQD_CONTROL = reg(0x1267, CP_MQD_CONTROL_t, 0)
    CP_HQD_HQ_STATUS1 = reg(0x1268, CP_HQD_HQ_STATUS1_t, 0)
    CP_HQD_HQ_CONTROL1 = reg(0x1269, CP_HQD_HQ_CONTROLn_t, 0)
    CP_HQD_EOP_BASE_ADDR = reg(0x126a, CP_HQD_EOP_BASE_ADDR_t, 0)
    CP_HQD_EOP_BASE_ADDR_HI = reg(0x126b, CP_HQD_EOP_BASE_ADDR_HI_t, 0)
    CP_HQD_EOP_CONTROL = reg(0x126c, CP_HQD_EOP_CONTROL_t, 0)
    CP_HQD_EOP_RPTR = reg(0x126d, CP_HQD_EOP_RPTR_t, 0)
    CP_HQD_EOP_WPTR = reg(0x126e, CP_HQD_EOP_WPTR_t, 0)
    CP_HQD_EOP_EVENTS = reg(0x126f, CP_HQD_EOP_EVENTS_t, 0)
    CP_HQD_CTX_SAVE_BASE_ADDR_LO = reg(0x1270, CP_HQD_CTX_SAVE_BASE_ADDR_LO_t, 0)
    CP_HQD_CTX_SAVE_BASE_ADDR_HI = reg(0x1271, CP_HQD_CTX_SAVE_BASE_ADDR_HI_t, 0)
    CP_HQD_CTX_SAVE_CONTROL = reg(0x1272, CP_HQD_CTX_SAVE_CONTROL_t, 0)
    CP_HQD_CNTL_STACK_OFFSET = reg(0x1273, CP_HQD_CNTL_STACK_OFFSET_t, 0)
    CP_HQD_CNTL_STACK_SIZE = reg(0x1274, CP_HQD_CNTL_STACK_SIZE_t, 0)
    CP_HQD_WG_STATE_OFFSET = reg(0x1275, CP_HQD_WG_STATE_OFFSET_t, 0)
    CP_HQD_CTX_SAVE_SIZE = reg(0x1276, CP_HQD_CTX_SAVE_SIZE_t, 0)
    CP_HQD_GDS_RESOURCE_STATE = reg(0x1277, CP_HQD_GDS_RESOURCE_STATE_t, 0)
    CP_HQD_ERROR = reg(0x1278, CP_HQD_ERROR_t, 0)
    CP_HQD_EOP_WPTR_MEM = reg(0x1279, CP_HQD_EOP_WPTR_MEM_t, 0)
    CP_HQD_AQL_CONTROL = reg(0x127a, CP_HQD_AQL_CONTROL_t, 0)
    CP_HQD_PQ_WPTR_LO = reg(0x127b, CP_HQD_PQ_WPTR_LO_t, 0)
    CP_HQD_PQ_WPTR_HI = reg(0x127c, CP_HQD_PQ_WPTR_HI_t, 0)
    CP_HQD_AQL_CONTROL_1 = reg(0x127d, CP_HQD_AQL_CONTROL_1_t, 0)
    CP_HQD_AQL_DISPATCH_ID = reg(0x127e, CP_HQD_AQL_DISPATCH_ID_t, 0)
    CP_HQD_AQL_DISPATCH_ID_HI = reg(0x127f, CP_HQD_AQL_DISPATCH_ID_HI_t, 0)
    TCP_UTCL1_CNTL2 = reg(0x12b6, TCP_UTCL1_CNTL2_t, 0)
    TCP_UTCL1_STATUS = reg(0x12b7, TCP_UTCL1_STATUS_t, 0)
    GDS_VMID0_BASE = reg(0x1300, GDS_VMID0_BASE_t, 0)
    GDS_VMID0_SIZE = reg(0x1301, GDS_VMID0_SIZE_t, 0)
    GDS_GWS_VMID0 = reg(0x1320, GDS_GWS_VMID0_t, 0)
    GDS_OA_VMID0 = reg(0x1330, GDS_OA_VMID0_t, 0)
    SCRATCH_REG0 = reg(0x2040, SCRATCH_REG0_t, 1)
    SCRATCH_REG1 = reg(0x2041, SCRATCH_REG1_t, 1)
    SCRATCH_REG2 = reg(0x2042, SCRATCH_REG2_t, 1)
    SCRATCH_REG3 = reg(0x2043, SCRATCH_REG3_t, 1)
    SCRATCH_REG4 = reg(0x2044, SCRATCH_REG4_t, 1)
    SCRATCH_REG5 = reg(0x2045, SCRATCH_REG5_t, 1)
    SCRATCH_REG6 = reg(0x2046, SCRATCH_REG6_t, 1)
    SCRATCH_REG7 = reg(0x2047, SCRATCH_REG7_t, 1)
    GRBM_GFX_INDEX = reg(0x2200, GRBM_GFX_INDEX_t, 1)
    RLC_CNTL = reg(0x4c00, RLC_CNTL_t, 1)
    RLC_STAT = reg(0x4c04, RLC_STAT_t, 1)
    RLC_SAFE_MODE = reg(0x4c05, RLC_SAFE_MODE_t, 1)
    RLC_MEM_SLP_CNTL = reg(0x4c06, RLC_MEM_SLP_CNTL_t, 1)
    SMU_RLC_RESPONSE = reg(0x4c07, SMU_RLC_RESPONSE_t, 1)
    RLC_SMU_SAFE_MODE = reg(0x4c09, RLC_SMU_SAFE_MODE_t, 1)
    RLC_INT_STAT = reg(0x4c18, RLC_INT_STAT_t, 1)
    RLC_GPU_CLOCK_COUNT_LSB = reg(0x4c24, RLC_GPU_CLOCK_COUNT_LSB_t, 1)
    RLC_GPU_CLOCK_COUNT_MSB = reg(0x4c25, RLC_GPU_CLOCK_COUNT_MSB_t, 1)
    RLC_CAPTURE_GPU_CLOCK_COUNT = reg(0x4c26, RLC_CAPTURE_GPU_CLOCK_COUNT_t, 1)
    RLC_GPM_STAT = reg(0x4c40, RLC_GPM_STAT_t, 1)
    RLC_CGTT_MGCG_OVERRIDE = reg(0x4c48, RLC_CGTT_MGCG_OVERRIDE_t, 1)
    RLC_CGCG_CGLS_CTRL = reg(0x4c49, RLC_CGCG_CGLS_CTRL_t, 1)
    RLC_SERDES_CU_MASTER_BUSY = reg(0x4c61, RLC_SERDES_CU_MASTER_BUSY_t, 1)
    RLC_SERDES_NONCU_MASTER_BUSY = reg(0x4c62, RLC_SERDES_NONCU_MASTER_BUSY_t, 1)
    RLC_GPM_GENERAL_6 = reg(0x4c69, RLC_GPM_GENERAL_n_t, 1)
    RLC_SPM_MC_CNTL = reg(0x4c71, RLC_SPM_MC_CNTL_t, 1)
    RLC_SMU_MESSAGE = reg(0x4c76, RLC_SMU_MESSAGE_t, 1)
    RLC_SRM_CNTL = reg(0x4c80, RLC_SRM_CNTL_t, 1)
    RLC_SMU_COMMAND = reg(0x4ca9, RLC_SMU_COMMAND_t, 1)
    RLC_CP_SCHEDULERS = reg(0x4caa, RLC_CP_SCHEDULERS_t, 1)
    RLC_SMU_ARGUMENT_1 = reg(0x4cab, RLC_SMU_ARGUMENT_n_t, 1)
    RLC_SMU_ARGUMENT_2 = reg(0x4cac, RLC_SMU_ARGUMENT_n_t, 1)
    RLC_GPM_GENERAL_12 = reg(0x4cb1, RLC_GPM_GENERAL_n_t, 1)
    RLC_UTCL1_STATUS = reg(0x4cd4, RLC_UTCL1_STATUS_t, 1)
    CP_MEC_ME1_UCODE_ADDR = reg(0x581a, CP_MEC_MEn_UCODE_ADDR_t, 1)
    CP_MEC_ME1_UCODE_DATA = reg(0x581b, CP_MEC_MEn_UCODE_DATA_t, 1)
    CP_MEC_ME2_UCODE_ADDR = reg(0x581c, CP_MEC_MEn_UCODE_ADDR_t, 1)
    CP_MEC_ME2_UCODE_DATA = reg(0x581d, CP_MEC_MEn_UCODE_DATA_t, 1)
    CP_HYP_XCP_CTL = reg(0x5828, CP_HYP_XCP_CTL_t, 1)
    RLC_GPM_UCODE_ADDR = reg(0x583c, RLC_GPM_UCODE_ADDR_t, 1)
    CPC_PSP_DEBUG = reg(0x5c31, CPC_PSP_DEBUG_t, 1)
