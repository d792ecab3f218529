"""SDMA 4.4.2, 4.4.4, 4.4.5: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/sdma/sdma_4_4_2_offset.h
  drivers/gpu/drm/amd/include/asic_reg/sdma/sdma_4_4_2_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class SDMA_UCODE_ADDR_t(Register):
    __slots__ = ()
    VALUE = bits(13, 0)


class SDMA_UCODE_DATA_t(Register):
    __slots__ = ()
    VALUE = bits(31, 0)


class SDMA_F32_CNTL_t(Register):
    __slots__ = ()
    HALT = bit(0)
    STEP = bit(1)
    DBG_SELECT_BITS = bits(7, 2)
    RESET = bit(8)
    CHECKSUM_CLR = bit(9)


class SDMA_VM_CNTL_t(Register):
    __slots__ = ()
    CMD = bits(3, 0)


class SDMA_RB_RPTR_FETCH_HI_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_SEM_WAIT_FAIL_TIMER_CNTL_t(Register):
    __slots__ = ()
    TIMER = bits(31, 0)


class SDMA_RB_RPTR_FETCH_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 2)


class SDMA_STATUS_REG_t(Register):
    __slots__ = ()
    IDLE = bit(0)
    REG_IDLE = bit(1)
    RB_EMPTY = bit(2)
    RB_FULL = bit(3)
    RB_CMD_IDLE = bit(4)
    RB_CMD_FULL = bit(5)
    IB_CMD_IDLE = bit(6)
    IB_CMD_FULL = bit(7)
    BLOCK_IDLE = bit(8)
    INSIDE_IB = bit(9)
    EX_IDLE = bit(10)
    EX_IDLE_POLL_TIMER_EXPIRE = bit(11)
    PACKET_READY = bit(12)
    MC_WR_IDLE = bit(13)
    SRBM_IDLE = bit(14)
    CONTEXT_EMPTY = bit(15)
    DELTA_RPTR_FULL = bit(16)
    RB_MC_RREQ_IDLE = bit(17)
    IB_MC_RREQ_IDLE = bit(18)
    MC_RD_IDLE = bit(19)
    DELTA_RPTR_EMPTY = bit(20)
    MC_RD_RET_STALL = bit(21)
    MC_RD_NO_POLL_IDLE = bit(22)
    DRM_IDLE = bit(23)
    DRM_MASK_FULL = bit(24)
    PREV_CMD_IDLE = bit(25)
    SEM_IDLE = bit(26)
    SEM_REQ_STALL = bit(27)
    SEM_RESP_STATE = bits(29, 28)
    INT_IDLE = bit(30)
    INT_REQ_STALL = bit(31)


class SDMA_STATUS1_REG_t(Register):
    __slots__ = ()
    CE_WREQ_IDLE = bit(0)
    CE_WR_IDLE = bit(1)
    CE_SPLIT_IDLE = bit(2)
    CE_RREQ_IDLE = bit(3)
    CE_OUT_IDLE = bit(4)
    CE_IN_IDLE = bit(5)
    CE_DST_IDLE = bit(6)
    CE_DRM_IDLE = bit(7)
    CE_DRM1_IDLE = bit(8)
    CE_CMD_IDLE = bit(9)
    CE_AFIFO_FULL = bit(10)
    CE_DRM_FULL = bit(11)
    CE_DRM1_FULL = bit(12)
    CE_INFO_FULL = bit(13)
    CE_INFO1_FULL = bit(14)
    EX_START = bit(15)
    DRM_CTX_RESTORE = bit(16)
    CE_RD_STALL = bit(17)
    CE_WR_STALL = bit(18)


class SDMA_UCODE_CHECKSUM_t(Register):
    __slots__ = ()
    DATA = bits(31, 0)


class SDMA_PHASEn_QUANTUM_t(Register):
    __slots__ = ()
    UNIT = bits(3, 0)
    VALUE = bits(23, 8)
    PREFER = bit(30)


class SDMA_VERSION_t(Register):
    __slots__ = ()
    MINVER = bits(6, 0)
    MAJVER = bits(14, 8)
    REV = bits(21, 16)


class SDMA_STATUS2_REG_t(Register):
    __slots__ = ()
    ID = bits(2, 0)
    F32_INSTR_PTR = bits(15, 3)
    CMD_OP = bits(31, 16)


class SDMA_UTCL1_CNTL_t(Register):
    __slots__ = ()
    REDO_ENABLE = bit(0)
    REDO_DELAY = bits(10, 1)
    REDO_WATERMK = bits(13, 11)
    INVACK_DELAY = bits(23, 14)
    REQL2_CREDIT = bits(28, 24)
    VADDR_WATERMK = bits(31, 29)


class SDMA_UTCL1_RD_STATUS_t(Register):
    __slots__ = ()
    RQMC_RET_ADDR_FIFO_EMPTY = bit(0)
    RQMC_REQ_FIFO_EMPTY = bit(1)
    RTPG_RET_BUF_EMPTY = bit(2)
    RTPG_VADDR_FIFO_EMPTY = bit(3)
    RQPG_HEAD_VIRT_FIFO_EMPTY = bit(4)
    RQPG_REDO_FIFO_EMPTY = bit(5)
    RQPG_REQPAGE_FIFO_EMPTY = bit(6)
    RQPG_XNACK_FIFO_EMPTY = bit(7)
    RQPG_INVREQ_FIFO_EMPTY = bit(8)
    RQMC_RET_ADDR_FIFO_FULL = bit(9)
    RQMC_REQ_FIFO_FULL = bit(10)
    RTPG_RET_BUF_FULL = bit(11)
    RTPG_VADDR_FIFO_FULL = bit(12)
    RQPG_HEAD_VIRT_FIFO_FULL = bit(13)
    RQPG_REDO_FIFO_FULL = bit(14)
    RQPG_REQPAGE_FIFO_FULL = bit(15)
    RQPG_XNACK_FIFO_FULL = bit(16)
    RQPG_INVREQ_FIFO_FULL = bit(17)
    PAGE_FAULT = bit(18)
    PAGE_NULL = bit(19)
    REQL2_IDLE = bit(20)
    CE_L1_STALL = bit(21)
    NEXT_RD_VECTOR = bits(25, 22)
    MERGE_STATE = bits(28, 26)
    ADDR_RD_RTR = bit(29)
    WPTR_POLLING = bit(30)
    INVREQ_SIZE = bit(31)


class SDMA_UTCL1_WR_STATUS_t(Register):
    __slots__ = ()
    RQMC_RET_ADDR_FIFO_EMPTY = bit(0)
    RQMC_REQ_FIFO_EMPTY = bit(1)
    RTPG_RET_BUF_EMPTY = bit(2)
    RTPG_VADDR_FIFO_EMPTY = bit(3)
    RQPG_HEAD_VIRT_FIFO_EMPTY = bit(4)
    RQPG_REDO_FIFO_EMPTY = bit(5)
    RQPG_REQPAGE_FIFO_EMPTY = bit(6)
    REDO_ARR_EMPTY = bit(7)
    RESERVED_8 = bit(8)
    RQMC_RET_ADDR_FIFO_FULL = bit(9)
    RQMC_REQ_FIFO_FULL = bit(10)
    RTPG_RET_BUF_FULL = bit(11)
    RTPG_VADDR_FIFO_FULL = bit(12)
    RQPG_HEAD_VIRT_FIFO_FULL = bit(13)
    RQPG_REDO_FIFO_FULL = bit(14)
    RQPG_REQPAGE_FIFO_FULL = bit(15)
    REDO_ARR_FULL = bit(16)
    RESERVED_17 = bit(17)
    PAGE_FAULT = bit(18)
    PAGE_NULL = bit(19)
    REQL2_IDLE = bit(20)
    F32_WR_RTR = bit(21)
    NEXT_WR_VECTOR = bits(24, 22)
    MERGE_STATE = bits(27, 25)
    RPTR_DATA_FIFO_EMPTY = bit(28)
    RPTR_DATA_FIFO_FULL = bit(29)
    WRREQ_DATA_FIFO_EMPTY = bit(30)
    WRREQ_DATA_FIFO_FULL = bit(31)


class SDMA_UTCL1_RD_XNACK0_t(Register):
    __slots__ = ()
    XNACK_ADDR_LO = bits(31, 0)


class SDMA_UTCL1_RD_XNACK1_t(Register):
    __slots__ = ()
    XNACK_ADDR_HI = bits(3, 0)
    XNACK_VMID = bits(7, 4)
    XNACK_VECTOR = bits(25, 8)
    IS_XNACK = bits(27, 26)


class SDMA_UTCL1_WR_XNACK0_t(Register):
    __slots__ = ()
    XNACK_ADDR_LO = bits(31, 0)


class SDMA_UTCL1_WR_XNACK1_t(Register):
    __slots__ = ()
    XNACK_ADDR_HI = bits(3, 0)
    XNACK_VMID = bits(7, 4)
    XNACK_VECTOR = bits(25, 8)
    IS_XNACK = bits(27, 26)


class SDMA_UTCL1_TIMEOUT_t(Register):
    __slots__ = ()
    RD_XNACK_LIMIT = bits(15, 0)
    WR_XNACK_LIMIT = bits(31, 16)


class SDMA_UTCL1_PAGE_t(Register):
    __slots__ = ()
    VM_HOLE = bit(0)
    REQ_TYPE = bits(4, 1)
    TMZ_ENABLE = bit(5)
    USE_MTYPE = bits(8, 6)
    USE_PT_SNOOP = bit(9)
    LLC_NOALLOC = bit(10)


class SDMA_STATUS3_REG_t(Register):
    __slots__ = ()
    CMD_OP_STATUS = bits(15, 0)
    PREV_VM_CMD = bits(19, 16)
    EXCEPTION_IDLE = bit(20)
    QUEUE_ID_MATCH = bit(21)
    INT_QUEUE_ID = bits(25, 22)


class SDMA_ERROR_LOG_t(Register):
    __slots__ = ()
    OVERRIDE = bits(15, 0)
    STATUS = bits(31, 16)


class SDMA_F32_COUNTER_t(Register):
    __slots__ = ()
    VALUE = bits(31, 0)


class SDMA_STATUS4_REG_t(Register):
    __slots__ = ()
    IDLE = bit(0)
    IH_OUTSTANDING = bit(2)
    SEM_OUTSTANDING = bit(3)
    MMHUB_RD_OUTSTANDING = bit(4)
    MMHUB_WR_OUTSTANDING = bit(5)
    UTCL2_RD_OUTSTANDING = bit(6)
    UTCL2_WR_OUTSTANDING = bit(7)
    REG_POLLING = bit(8)
    MEM_POLLING = bit(9)
    UTCL2_RD_XNACK = bits(11, 10)
    UTCL2_WR_XNACK = bits(13, 12)
    ACTIVE_QUEUE_ID = bits(17, 14)
    SRIOV_WATING_RLCV_CMD = bit(18)
    SRIOV_SDMA_EXECUTING_CMD = bit(19)
    VM_HOLE_STATUS = bit(20)


class SDMA_RAS_STATUS_t(Register):
    __slots__ = ()
    RB_FETCH_ECC = bit(0)
    IB_FETCH_ECC = bit(1)
    F32_DATA_ECC = bit(2)
    WPTR_ATOMIC_ECC = bit(3)
    COPY_DATA_ECC = bit(4)
    SRAM_ECC = bit(5)
    RB_FETCH_NACK_GEN_ERR = bit(8)
    IB_FETCH_NACK_GEN_ERR = bit(9)
    F32_DATA_NACK_GEN_ERR = bit(10)
    COPY_DATA_NACK_GEN_ERR = bit(11)
    WRRET_DATA_NACK_GEN_ERR = bit(12)
    WPTR_RPTR_ATOMIC_NACK_GEN_ERR = bit(13)
    ECC_PWRMGT_INT_BUSY = bit(14)


class SDMA_CLK_STATUS_t(Register):
    __slots__ = ()
    DYN_CLK = bit(0)
    PTR_CLK = bit(1)
    REG_CLK = bit(2)
    F32_CLK = bit(3)
    CE_CLK = bit(4)
    PERF_CLK = bit(5)


class SDMA_UE_ERR_STATUS_LO_t(Register):
    __slots__ = ()
    ERR_STATUS_VALID_FLAG = bit(0)
    ADDRESS_VALID_FLAG = bit(1)
    ADDRESS = bits(23, 2)
    MEMORY_ID = bits(31, 24)


class SDMA_UE_ERR_STATUS_HI_t(Register):
    __slots__ = ()
    ECC = bit(0)
    PARITY = bit(1)
    ERR_INFO_VALID_FLAG = bit(2)
    ERR_INFO = bits(22, 3)
    UE_CNT = bits(25, 23)
    FED_CNT = bits(28, 26)
    RESERVED = bits(31, 29)


class SDMA_POWER_CNTL_t(Register):
    __slots__ = ()
    PG_CNTL_ENABLE = bit(0)
    EXT_PG_POWER_ON_REQ = bit(1)
    EXT_PG_POWER_OFF_REQ = bit(2)
    ON_OFF_CONDITION_HOLD_TIME = bits(7, 3)
    MEM_POWER_OVERRIDE = bit(8)
    MEM_POWER_LS_EN = bit(9)
    MEM_POWER_DS_EN = bit(10)
    MEM_POWER_SD_EN = bit(11)
    MEM_POWER_DELAY = bits(21, 12)
    ON_OFF_STATUS_DURATION_TIME = bits(31, 26)


class SDMA_CLK_CTRL_t(Register):
    __slots__ = ()
    ON_DELAY = bits(3, 0)
    OFF_HYSTERESIS = bits(11, 4)
    RESERVED = bits(23, 12)
    SOFT_OVERRIDE7 = bit(24)
    SOFT_OVERRIDE6 = bit(25)
    SOFT_OVERRIDE5 = bit(26)
    SOFT_OVERRIDE4 = bit(27)
    SOFT_OVERRIDE3 = bit(28)
    SOFT_OVERRIDE2 = bit(29)
    SOFT_OVERRIDE1 = bit(30)
    SOFT_OVERRIDE0 = bit(31)


class SDMA_CNTL_t(Register):
    __slots__ = ()
    TRAP_ENABLE = bit(0)
    UTC_L1_ENABLE = bit(1)
    SEM_WAIT_INT_ENABLE = bit(2)
    DATA_SWAP_ENABLE = bit(3)
    FENCE_SWAP_ENABLE = bit(4)
    MIDCMD_PREEMPT_ENABLE = bit(5)
    MIDCMD_EXPIRE_ENABLE = bit(6)
    REG_WRITE_PROTECT_INT_ENABLE = bit(7)
    INVALID_DOORBELL_INT_ENABLE = bit(8)
    VM_HOLE_INT_ENABLE = bit(9)
    DRAM_ECC_INT_ENABLE = bit(10)
    PAGE_RETRY_TIMEOUT_INT_ENABLE = bit(11)
    PAGE_NULL_INT_ENABLE = bit(12)
    PAGE_FAULT_INT_ENABLE = bit(13)
    NACK_GEN_ERR_INT_ENABLE = bit(14)
    MIDCMD_WORLDSWITCH_ENABLE = bit(17)
    AUTO_CTXSW_ENABLE = bit(18)
    DRM_RESTORE_ENABLE = bit(19)
    CTXEMPTY_INT_ENABLE = bit(28)
    FROZEN_INT_ENABLE = bit(29)
    IB_PREEMPT_INT_ENABLE = bit(30)
    RB_PREEMPT_INT_ENABLE = bit(31)


class SDMA_GB_ADDR_CONFIG_t(Register):
    __slots__ = ()
    NUM_PIPES = bits(2, 0)
    PIPE_INTERLEAVE_SIZE = bits(5, 3)
    BANK_INTERLEAVE_SIZE = bits(10, 8)
    NUM_BANKS = bits(14, 12)
    NUM_SHADER_ENGINES = bits(20, 19)


class SDMA_GB_ADDR_CONFIG_READ_t(Register):
    __slots__ = ()
    NUM_PIPES = bits(2, 0)
    PIPE_INTERLEAVE_SIZE = bits(5, 3)
    BANK_INTERLEAVE_SIZE = bits(10, 8)
    NUM_BANKS = bits(14, 12)
    NUM_SHADER_ENGINES = bits(20, 19)


class SDMA_GFX_RB_CNTL_t(Register):
    __slots__ = ()
    RB_ENABLE = bit(0)
    RB_SIZE = bits(5, 1)
    RB_SWAP_ENABLE = bit(9)
    RPTR_WRITEBACK_ENABLE = bit(12)
    RPTR_WRITEBACK_SWAP_ENABLE = bit(13)
    RPTR_WRITEBACK_TIMER = bits(20, 16)
    RB_PRIV = bit(23)
    RB_VMID = bits(27, 24)


class SDMA_GFX_RB_BASE_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class SDMA_GFX_RB_BASE_HI_t(Register):
    __slots__ = ()
    ADDR = bits(23, 0)


class SDMA_GFX_RB_RPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_GFX_RB_RPTR_HI_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_GFX_RB_WPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_GFX_RB_WPTR_HI_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_GFX_RB_WPTR_POLL_CNTL_t(Register):
    __slots__ = ()
    ENABLE = bit(0)
    SWAP_ENABLE = bit(1)
    F32_POLL_ENABLE = bit(2)
    FREQUENCY = bits(15, 4)
    IDLE_POLL_COUNT = bits(31, 16)


class SDMA_GFX_RB_RPTR_ADDR_HI_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class SDMA_GFX_RB_RPTR_ADDR_LO_t(Register):
    __slots__ = ()
    RPTR_WB_IDLE = bit(0)
    ADDR = bits(31, 2)


class SDMA_GFX_IB_CNTL_t(Register):
    __slots__ = ()
    IB_ENABLE = bit(0)
    IB_SWAP_ENABLE = bit(4)
    SWITCH_INSIDE_IB = bit(8)
    CMD_VMID = bits(19, 16)
    IB_PRIV = bit(31)


class SDMA_GFX_IB_RPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(21, 2)


class SDMA_GFX_IB_OFFSET_t(Register):
    __slots__ = ()
    OFFSET = bits(21, 2)


class SDMA_GFX_IB_BASE_LO_t(Register):
    __slots__ = ()
    ADDR = bits(31, 5)


class SDMA_GFX_IB_BASE_HI_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class SDMA_GFX_IB_SIZE_t(Register):
    __slots__ = ()
    SIZE = bits(19, 0)


class SDMA_GFX_SKIP_CNTL_t(Register):
    __slots__ = ()
    SKIP_COUNT = bits(19, 0)


class SDMA_GFX_CONTEXT_STATUS_t(Register):
    __slots__ = ()
    SELECTED = bit(0)
    IDLE = bit(2)
    EXPIRED = bit(3)
    EXCEPTION = bits(6, 4)
    CTXSW_ABLE = bit(7)
    CTXSW_READY = bit(8)
    PREEMPTED = bit(9)
    PREEMPT_DISABLE = bit(10)


class SDMA_GFX_DOORBELL_t(Register):
    __slots__ = ()
    ENABLE = bit(28)
    CAPTURED = bit(30)


class SDMA_GFX_CONTEXT_CNTL_t(Register):
    __slots__ = ()
    RESUME_CTX = bit(16)
    SESSION_SEL = bits(27, 24)


class SDMA_GFX_STATUS_t(Register):
    __slots__ = ()
    WPTR_UPDATE_FAIL_COUNT = bits(7, 0)
    WPTR_UPDATE_PENDING = bit(8)


class SDMA_GFX_DOORBELL_LOG_t(Register):
    __slots__ = ()
    BE_ERROR = bit(0)
    DATA = bits(31, 2)


class SDMA_GFX_WATERMARK_t(Register):
    __slots__ = ()
    RD_OUTSTANDING = bits(11, 0)
    WR_OUTSTANDING = bits(25, 16)


class SDMA_GFX_DOORBELL_OFFSET_t(Register):
    __slots__ = ()
    OFFSET = bits(27, 2)


class SDMA_GFX_CSA_ADDR_LO_t(Register):
    __slots__ = ()
    ADDR = bits(31, 2)


class SDMA_GFX_CSA_ADDR_HI_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class SDMA_GFX_IB_SUB_REMAIN_t(Register):
    __slots__ = ()
    SIZE = bits(19, 0)


class SDMA_GFX_PREEMPT_t(Register):
    __slots__ = ()
    IB_PREEMPT = bit(0)


class SDMA_GFX_DUMMY_REG_t(Register):
    __slots__ = ()
    DUMMY = bits(31, 0)


class SDMA_GFX_RB_WPTR_POLL_ADDR_HI_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class SDMA_GFX_RB_WPTR_POLL_ADDR_LO_t(Register):
    __slots__ = ()
    ADDR = bits(31, 2)


class SDMA_GFX_RB_AQL_CNTL_t(Register):
    __slots__ = ()
    AQL_ENABLE = bit(0)
    AQL_PACKET_SIZE = bits(7, 1)
    PACKET_STEP = bits(15, 8)


class SDMA_GFX_MINOR_PTR_UPDATE_t(Register):
    __slots__ = ()
    ENABLE = bit(0)


class SDMA_GFX_MIDCMD_DATA0_t(Register):
    __slots__ = ()
    DATA0 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA1_t(Register):
    __slots__ = ()
    DATA1 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA2_t(Register):
    __slots__ = ()
    DATA2 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA3_t(Register):
    __slots__ = ()
    DATA3 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA4_t(Register):
    __slots__ = ()
    DATA4 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA5_t(Register):
    __slots__ = ()
    DATA5 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA6_t(Register):
    __slots__ = ()
    DATA6 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA7_t(Register):
    __slots__ = ()
    DATA7 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA8_t(Register):
    __slots__ = ()
    DATA8 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA9_t(Register):
    __slots__ = ()
    DATA9 = bits(31, 0)


class SDMA_GFX_MIDCMD_DATA10_t(Register):
    __slots__ = ()
    DATA10 = bits(31, 0)


class SDMA_GFX_MIDCMD_CNTL_t(Register):
    __slots__ = ()
    DATA_VALID = bit(0)
    COPY_MODE = bit(1)
    SPLIT_STATE = bits(7, 4)
    ALLOW_PREEMPT = bit(8)


class SDMA_PAGE_RB_CNTL_t(Register):
    __slots__ = ()
    RB_ENABLE = bit(0)
    RB_SIZE = bits(5, 1)
    RB_SWAP_ENABLE = bit(9)
    RPTR_WRITEBACK_ENABLE = bit(12)
    RPTR_WRITEBACK_SWAP_ENABLE = bit(13)
    RPTR_WRITEBACK_TIMER = bits(20, 16)
    RB_PRIV = bit(23)
    RB_VMID = bits(27, 24)


class SDMA_PAGE_RB_RPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_PAGE_RB_RPTR_HI_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_PAGE_RB_WPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_PAGE_RB_WPTR_HI_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_PAGE_IB_CNTL_t(Register):
    __slots__ = ()
    IB_ENABLE = bit(0)
    IB_SWAP_ENABLE = bit(4)
    SWITCH_INSIDE_IB = bit(8)
    CMD_VMID = bits(19, 16)
    IB_PRIV = bit(31)


class SDMA_PAGE_CONTEXT_STATUS_t(Register):
    __slots__ = ()
    SELECTED = bit(0)
    IDLE = bit(2)
    EXPIRED = bit(3)
    EXCEPTION = bits(6, 4)
    CTXSW_ABLE = bit(7)
    CTXSW_READY = bit(8)
    PREEMPTED = bit(9)
    PREEMPT_DISABLE = bit(10)


class SDMA_PAGE_DOORBELL_t(Register):
    __slots__ = ()
    ENABLE = bit(28)
    CAPTURED = bit(30)


class SDMA_PAGE_DOORBELL_OFFSET_t(Register):
    __slots__ = ()
    OFFSET = bits(27, 2)


class SDMA_RLCn_RB_CNTL_t(Register):
    __slots__ = ()
    RB_ENABLE = bit(0)
    RB_SIZE = bits(5, 1)
    RB_SWAP_ENABLE = bit(9)
    RPTR_WRITEBACK_ENABLE = bit(12)
    RPTR_WRITEBACK_SWAP_ENABLE = bit(13)
    RPTR_WRITEBACK_TIMER = bits(20, 16)
    RB_PRIV = bit(23)
    RB_VMID = bits(27, 24)


class SDMA_RLCn_RB_BASE_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class SDMA_RLCn_RB_BASE_HI_t(Register):
    __slots__ = ()
    ADDR = bits(23, 0)


class SDMA_RLCn_RB_RPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_RLCn_RB_RPTR_HI_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_RLCn_RB_WPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_RLCn_RB_WPTR_HI_t(Register):
    __slots__ = ()
    OFFSET = bits(31, 0)


class SDMA_RLCn_IB_CNTL_t(Register):
    __slots__ = ()
    IB_ENABLE = bit(0)
    IB_SWAP_ENABLE = bit(4)
    SWITCH_INSIDE_IB = bit(8)
    CMD_VMID = bits(19, 16)
    IB_PRIV = bit(31)


class SDMA_RLCn_CONTEXT_STATUS_t(Register):
    __slots__ = ()
    SELECTED = bit(0)
    IDLE = bit(2)
    EXPIRED = bit(3)
    EXCEPTION = bits(6, 4)
    CTXSW_ABLE = bit(7)
    CTXSW_READY = bit(8)
    PREEMPTED = bit(9)
    PREEMPT_DISABLE = bit(10)


class SDMA_RLCn_DOORBELL_t(Register):
    __slots__ = ()
    ENABLE = bit(28)
    CAPTURED = bit(30)


class SDMA_RLCn_STATUS_t(Register):
    __slots__ = ()
    WPTR_UPDATE_FAIL_COUNT = bits(7, 0)
    WPTR_UPDATE_PENDING = bit(8)


class SDMA_RLCn_DOORBELL_OFFSET_t(Register):
    __slots__ = ()
    OFFSET = bits(27, 2)


class Sdma(RegisterBlock):
    SDMA_UCODE_ADDR = reg(0x0000, SDMA_UCODE_ADDR_t, 0)
    SDMA_UCODE_DATA = reg(0x0001, SDMA_UCODE_DATA_t, 0)
    SDMA_F32_CNTL = reg(0x0002, SDMA_F32_CNTL_t, 0)
    SDMA_VM_CNTL = reg(0x0010, SDMA_VM_CNTL_t, 0)
    SDMA_RB_RPTR_FETCH_HI = reg(0x0020, SDMA_RB_RPTR_FETCH_HI_t, 0)
    SDMA_SEM_WAIT_FAIL_TIMER_CNTL = reg(0x0021, SDMA_SEM_WAIT_FAIL_TIMER_CNTL_t, 0)
    SDMA_RB_RPTR_FETCH = reg(0x0022, SDMA_RB_RPTR_FETCH_t, 0)
    SDMA_STATUS_REG = reg(0x0025, SDMA_STATUS_REG_t, 0)
    SDMA_STATUS1_REG = reg(0x0026, SDMA_STATUS1_REG_t, 0)
    SDMA_UCODE_CHECKSUM = reg(0x0029, SDMA_UCODE_CHECKSUM_t, 0)
    SDMA_PHASE0_QUANTUM = reg(0x002c, SDMA_PHASEn_QUANTUM_t, 0)
    SDMA_PHASE1_QUANTUM = reg(0x002d, SDMA_PHASEn_QUANTUM_t, 0)
    SDMA_VERSION = reg(0x0035, SDMA_VERSION_t, 0)
    SDMA_STATUS2_REG = reg(0x0038, SDMA_STATUS2_REG_t, 0)
    SDMA_UTCL1_CNTL = reg(0x003c, SDMA_UTCL1_CNTL_t, 0)
    SDMA_UTCL1_RD_STATUS = reg(0x003e, SDMA_UTCL1_RD_STATUS_t, 0)
    SDMA_UTCL1_WR_STATUS = reg(0x003f, SDMA_UTCL1_WR_STATUS_t, 0)
    SDMA_UTCL1_RD_XNACK0 = reg(0x0043, SDMA_UTCL1_RD_XNACK0_t, 0)
    SDMA_UTCL1_RD_XNACK1 = reg(0x0044, SDMA_UTCL1_RD_XNACK1_t, 0)
    SDMA_UTCL1_WR_XNACK0 = reg(0x0045, SDMA_UTCL1_WR_XNACK0_t, 0)
    SDMA_UTCL1_WR_XNACK1 = reg(0x0046, SDMA_UTCL1_WR_XNACK1_t, 0)
    SDMA_UTCL1_TIMEOUT = reg(0x0047, SDMA_UTCL1_TIMEOUT_t, 0)
    SDMA_UTCL1_PAGE = reg(0x0048, SDMA_UTCL1_PAGE_t, 0)
    SDMA_STATUS3_REG = reg(0x004c, SDMA_STATUS3_REG_t, 0)
    SDMA_PHASE2_QUANTUM = reg(0x004f, SDMA_PHASEn_QUANTUM_t, 0)
    SDMA_ERROR_LOG = reg(0x0050, SDMA_ERROR_LOG_t, 0)
    SDMA_F32_COUNTER = reg(0x0055, SDMA_F32_COUNTER_t, 0)
    SDMA_STATUS4_REG = reg(0x0063, SDMA_STATUS4_REG_t, 0)
    SDMA_RAS_STATUS = reg(0x0067, SDMA_RAS_STATUS_t, 0)
    SDMA_CLK_STATUS = reg(0x0068, SDMA_CLK_STATUS_t, 0)
    SDMA_UE_ERR_STATUS_LO = reg(0x0069, SDMA_UE_ERR_STATUS_LO_t, 0)
    SDMA_UE_ERR_STATUS_HI = reg(0x006a, SDMA_UE_ERR_STATUS_HI_t, 0)
    SDMA_POWER_CNTL = reg(0x006b, SDMA_POWER_CNTL_t, 0)
    SDMA_CLK_CTRL = reg(0x006c, SDMA_CLK_CTRL_t, 0)
    SDMA_CNTL = reg(0x006d, SDMA_CNTL_t, 0)
    SDMA_GB_ADDR_CONFIG = reg(0x006f, SDMA_GB_ADDR_CONFIG_t, 0)
    SDMA_GB_ADDR_CONFIG_READ = reg(0x0070, SDMA_GB_ADDR_CONFIG_READ_t, 0)
    SDMA_GFX_RB_CNTL = reg(0x0080, SDMA_GFX_RB_CNTL_t, 0)
    SDMA_GFX_RB_BASE = reg(0x0081, SDMA_GFX_RB_BASE_t, 0)
    SDMA_GFX_RB_BASE_HI = reg(0x0082, SDMA_GFX_RB_BASE_HI_t, 0)
    SDMA_GFX_RB_RPTR = reg(0x0083, SDMA_GFX_RB_RPTR_t, 0)
    SDMA_GFX_RB_RPTR_HI = reg(0x0084, SDMA_GFX_RB_RPTR_HI_t, 0)
    SDMA_GFX_RB_WPTR = reg(0x0085, SDMA_GFX_RB_WPTR_t, 0)
    SDMA_GFX_RB_WPTR_HI = reg(0x0086, SDMA_GFX_RB_WPTR_HI_t, 0)
    SDMA_GFX_RB_WPTR_POLL_CNTL = reg(0x0087, SDMA_GFX_RB_WPTR_POLL_CNTL_t, 0)
    SDMA_GFX_RB_RPTR_ADDR_HI = reg(0x0088, SDMA_GFX_RB_RPTR_ADDR_HI_t, 0)
    SDMA_GFX_RB_RPTR_ADDR_LO = reg(0x0089, SDMA_GFX_RB_RPTR_ADDR_LO_t, 0)
    SDMA_GFX_IB_CNTL = reg(0x008a, SDMA_GFX_IB_CNTL_t, 0)
    SDMA_GFX_IB_RPTR = reg(0x008b, SDMA_GFX_IB_RPTR_t, 0)
    SDMA_GFX_IB_OFFSET = reg(0x008c, SDMA_GFX_IB_OFFSET_t, 0)
    SDMA_GFX_IB_BASE_LO = reg(0x008d, SDMA_GFX_IB_BASE_LO_t, 0)
    SDMA_GFX_IB_BASE_HI = reg(0x008e, SDMA_GFX_IB_BASE_HI_t, 0)
    SDMA_GFX_IB_SIZE = reg(0x008f, SDMA_GFX_IB_SIZE_t, 0)
    SDMA_GFX_SKIP_CNTL = reg(0x0090, SDMA_GFX_SKIP_CNTL_t, 0)
    SDMA_GFX_CONTEXT_STATUS = reg(0x0091, SDMA_GFX_CONTEXT_STATUS_t, 0)
    SDMA_GFX_DOORBELL = reg(0x0092, SDMA_GFX_DOORBELL_t, 0)
    SDMA_GFX_CONTEXT_CNTL = reg(0x0093, SDMA_GFX_CONTEXT_CNTL_t, 0)
    SDMA_GFX_STATUS = reg(0x00a8, SDMA_GFX_STATUS_t, 0)
    SDMA_GFX_DOORBELL_LOG = reg(0x00a9, SDMA_GFX_DOORBELL_LOG_t, 0)
    SDMA_GFX_WATERMARK = reg(0x00aa, SDMA_GFX_WATERMARK_t, 0)
    SDMA_GFX_DOORBELL_OFFSET = reg(0x00ab, SDMA_GFX_DOORBELL_OFFSET_t, 0)
    SDMA_GFX_CSA_ADDR_LO = reg(0x00ac, SDMA_GFX_CSA_ADDR_LO_t, 0)
    SDMA_GFX_CSA_ADDR_HI = reg(0x00ad, SDMA_GFX_CSA_ADDR_HI_t, 0)
    SDMA_GFX_IB_SUB_REMAIN = reg(0x00af, SDMA_GFX_IB_SUB_REMAIN_t, 0)
    SDMA_GFX_PREEMPT = reg(0x00b0, SDMA_GFX_PREEMPT_t, 0)
    SDMA_GFX_DUMMY_REG = reg(0x00b1, SDMA_GFX_DUMMY_REG_t, 0)
    SDMA_GFX_RB_WPTR_POLL_ADDR_HI = reg(0x00b2, SDMA_GFX_RB_WPTR_POLL_ADDR_HI_t, 0)
    SDMA_GFX_RB_WPTR_POLL_ADDR_LO = reg(0x00b3, SDMA_GFX_RB_WPTR_POLL_ADDR_LO_t, 0)
    SDMA_GFX_RB_AQL_CNTL = reg(0x00b4, SDMA_GFX_RB_AQL_CNTL_t, 0)
    SDMA_GFX_MINOR_PTR_UPDATE = reg(0x00b5, SDMA_GFX_MINOR_PTR_UPDATE_t, 0)
    SDMA_GFX_MIDCMD_DATA0 = reg(0x00c0, SDMA_GFX_MIDCMD_DATA0_t, 0)
    SDMA_GFX_MIDCMD_DATA1 = reg(0x00c1, SDMA_GFX_MIDCMD_DATA1_t, 0)
    SDMA_GFX_MIDCMD_DATA2 = reg(0x00c2, SDMA_GFX_MIDCMD_DATA2_t, 0)
    SDMA_GFX_MIDCMD_DATA3 = reg(0x00c3, SDMA_GFX_MIDCMD_DATA3_t, 0)
    SDMA_GFX_MIDCMD_DATA4 = reg(0x00c4, SDMA_GFX_MIDCMD_DATA4_t, 0)
    SDMA_GFX_MIDCMD_DATA5 = reg(0x00c5, SDMA_GFX_MIDCMD_DATA5_t, 0)
    SDMA_GFX_MIDCMD_DATA6 = reg(0x00c6, SDMA_GFX_MIDCMD_DATA6_t, 0)
    SDMA_GFX_MIDCMD_DATA7 = reg(0x00c7, SDMA_GFX_MIDCMD_DATA7_t, 0)
    SDMA_GFX_MIDCMD_DATA8 = reg(0x00c8, SDMA_GFX_MIDCMD_DATA8_t, 0)
    SDMA_GFX_MIDCMD_DATA9 = reg(0x00c9, SDMA_GFX_MIDCMD_DATA9_t, 0)
    SDMA_GFX_MIDCMD_DATA10 = reg(0x00ca, SDMA_GFX_MIDCMD_DATA10_t, 0)
    SDMA_GFX_MIDCMD_CNTL = reg(0x00cb, SDMA_GFX_MIDCMD_CNTL_t, 0)
    SDMA_PAGE_RB_CNTL = reg(0x00d8, SDMA_PAGE_RB_CNTL_t, 0)
    SDMA_PAGE_RB_RPTR = reg(0x00db, SDMA_PAGE_RB_RPTR_t, 0)
    SDMA_PAGE_RB_RPTR_HI = reg(0x00dc, SDMA_PAGE_RB_RPTR_HI_t, 0)
    SDMA_PAGE_RB_WPTR = reg(0x00dd, SDMA_PAGE_RB_WPTR_t, 0)
    SDMA_PAGE_RB_WPTR_HI = reg(0x00de, SDMA_PAGE_RB_WPTR_HI_t, 0)
    SDMA_PAGE_IB_CNTL = reg(0x00e2, SDMA_PAGE_IB_CNTL_t, 0)
    SDMA_PAGE_CONTEXT_STATUS = reg(0x00e9, SDMA_PAGE_CONTEXT_STATUS_t, 0)
    SDMA_PAGE_DOORBELL = reg(0x00ea, SDMA_PAGE_DOORBELL_t, 0)
    SDMA_PAGE_DOORBELL_OFFSET = reg(0x0103, SDMA_PAGE_DOORBELL_OFFSET_t, 0)
    SDMA_RLC0_RB_CNTL = reg(0x0130, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC0_RB_BASE = reg(0x0131, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC0_RB_BASE_HI = reg(0x0132, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC0_RB_RPTR = reg(0x0133, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC0_RB_RPTR_HI = reg(0x0134, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC0_RB_WPTR = reg(0x0135, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC0_RB_WPTR_HI = reg(0x0136, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC0_IB_CNTL = reg(0x013a, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC0_CONTEXT_STATUS = reg(0x0141, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC0_DOORBELL = reg(0x0142, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC0_STATUS = reg(0x0158, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC0_DOORBELL_OFFSET = reg(0x015b, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
    SDMA_RLC1_RB_CNTL = reg(0x0188, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC1_RB_BASE = reg(0x0189, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC1_RB_BASE_HI = reg(0x018a, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC1_RB_RPTR = reg(0x018b, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC1_RB_RPTR_HI = reg(0x018c, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC1_RB_WPTR = reg(0x018d, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC1_RB_WPTR_HI = reg(0x018e, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC1_IB_CNTL = reg(0x0192, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC1_CONTEXT_STATUS = reg(0x0199, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC1_DOORBELL = reg(0x019a, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC1_STATUS = reg(0x01b0, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC1_DOORBELL_OFFSET = reg(0x01b3, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
    SDMA_RLC2_RB_CNTL = reg(0x01e0, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC2_RB_BASE = reg(0x01e1, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC2_RB_BASE_HI = reg(0x01e2, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC2_RB_RPTR = reg(0x01e3, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC2_RB_RPTR_HI = reg(0x01e4, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC2_RB_WPTR = reg(0x01e5, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC2_RB_WPTR_HI = reg(0x01e6, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC2_IB_CNTL = reg(0x01ea, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC2_CONTEXT_STATUS = reg(0x01f1, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC2_DOORBELL = reg(0x01f2, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC2_STATUS = reg(0x0208, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC2_DOORBELL_OFFSET = reg(0x020b, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
    SDMA_RLC3_RB_CNTL = reg(0x0238, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC3_RB_BASE = reg(0x0239, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC3_RB_BASE_HI = reg(0x023a, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC3_RB_RPTR = reg(0x023b, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC3_RB_RPTR_HI = reg(0x023c, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC3_RB_WPTR = reg(0x023d, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC3_RB_WPTR_HI = reg(0x023e, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC3_IB_CNTL = reg(0x0242, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC3_CONTEXT_STATUS = reg(0x0249, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC3_DOORBELL = reg(0x024a, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC3_STATUS = reg(0x0260, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC3_DOORBELL_OFFSET = reg(0x0263, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
    SDMA_RLC4_RB_CNTL = reg(0x0290, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC4_RB_BASE = reg(0x0291, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC4_RB_BASE_HI = reg(0x0292, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC4_RB_RPTR = reg(0x0293, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC4_RB_RPTR_HI = reg(0x0294, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC4_RB_WPTR = reg(0x0295, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC4_RB_WPTR_HI = reg(0x0296, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC4_IB_CNTL = reg(0x029a, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC4_CONTEXT_STATUS = reg(0x02a1, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC4_DOORBELL = reg(0x02a2, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC4_STATUS = reg(0x02b8, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC4_DOORBELL_OFFSET = reg(0x02bb, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
    SDMA_RLC5_RB_CNTL = reg(0x02e8, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC5_RB_BASE = reg(0x02e9, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC5_RB_BASE_HI = reg(0x02ea, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC5_RB_RPTR = reg(0x02eb, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC5_RB_RPTR_HI = reg(0x02ec, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC5_RB_WPTR = reg(0x02ed, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC5_RB_WPTR_HI = reg(0x02ee, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC5_IB_CNTL = reg(0x02f2, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC5_CONTEXT_STATUS = reg(0x02f9, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC5_DOORBELL = reg(0x02fa, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC5_STATUS = reg(0x0310, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC5_DOORBELL_OFFSET = reg(0x0313, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
    SDMA_RLC6_RB_CNTL = reg(0x0340, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC6_RB_BASE = reg(0x0341, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC6_RB_BASE_HI = reg(0x0342, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC6_RB_RPTR = reg(0x0343, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC6_RB_RPTR_HI = reg(0x0344, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC6_RB_WPTR = reg(0x0345, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC6_RB_WPTR_HI = reg(0x0346, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC6_IB_CNTL = reg(0x034a, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC6_CONTEXT_STATUS = reg(0x0351, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC6_DOORBELL = reg(0x0352, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC6_STATUS = reg(0x0368, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC6_DOORBELL_OFFSET = reg(0x036b, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
    SDMA_RLC7_RB_CNTL = reg(0x0398, SDMA_RLCn_RB_CNTL_t, 0)
    SDMA_RLC7_RB_BASE = reg(0x0399, SDMA_RLCn_RB_BASE_t, 0)
    SDMA_RLC7_RB_BASE_HI = reg(0x039a, SDMA_RLCn_RB_BASE_HI_t, 0)
    SDMA_RLC7_RB_RPTR = reg(0x039b, SDMA_RLCn_RB_RPTR_t, 0)
    SDMA_RLC7_RB_RPTR_HI = reg(0x039c, SDMA_RLCn_RB_RPTR_HI_t, 0)
    SDMA_RLC7_RB_WPTR = reg(0x039d, SDMA_RLCn_RB_WPTR_t, 0)
    SDMA_RLC7_RB_WPTR_HI = reg(0x039e, SDMA_RLCn_RB_WPTR_HI_t, 0)
    SDMA_RLC7_IB_CNTL = reg(0x03a2, SDMA_RLCn_IB_CNTL_t, 0)
    SDMA_RLC7_CONTEXT_STATUS = reg(0x03a9, SDMA_RLCn_CONTEXT_STATUS_t, 0)
    SDMA_RLC7_DOORBELL = reg(0x03aa, SDMA_RLCn_DOORBELL_t, 0)
    SDMA_RLC7_STATUS = reg(0x03c0, SDMA_RLCn_STATUS_t, 0)
    SDMA_RLC7_DOORBELL_OFFSET = reg(0x03c3, SDMA_RLCn_DOORBELL_OFFSET_t, 0)
