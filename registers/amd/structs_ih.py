"""Interrupt clients and sources. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/soc15_ih_clientid.h
  drivers/gpu/drm/amd/include/ivsrcid/gfx/irqsrcs_gfx_9_0.h
  drivers/gpu/drm/amd/include/ivsrcid/sdma0/irqsrcs_sdma0_4_0.h
  drivers/gpu/drm/amd/include/ivsrcid/vmc/irqsrcs_vmc_1_0.h
  drivers/gpu/drm/amd/include/ivsrcid/nbio/irqsrcs_nbif_7_4.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum



class Client(IntEnum):
    IH = 0x0
    ACP = 0x1
    ATHUB = 0x2
    BIF = 0x3
    DCE = 0x4
    ISP = 0x5
    PCIE0 = 0x6
    RLC = 0x7
    SDMA0 = 0x8
    SDMA1 = 0x9
    SE0SH = 0xa
    SE1SH = 0xb
    SE2SH = 0xc
    SE3SH = 0xd
    UVD1 = 0xe
    THM = 0xf
    UVD = 0x10
    VCE0 = 0x11
    VMC = 0x12
    XDMA = 0x13
    GRBM_CP = 0x14
    ATS = 0x15
    ROM_SMUIO = 0x16
    DF = 0x17
    VCE1 = 0x18
    PWR = 0x19
    RESERVED = 0x1a
    UTCL2 = 0x1b
    EA = 0x1c
    UTCL2LOG = 0x1d
    MP0 = 0x1e
    MP1 = 0x1f
    MAX = 0x20
    VCN = 0x10
    VCN1 = 0xe
    SDMA2 = 0x1
    SDMA3 = 0x4
    SDMA3_Sienna_Cichlid = 0x5
    SDMA4 = 0x5
    SDMA5 = 0x11
    SDMA6 = 0x13
    SDMA7 = 0x18
    VMC1 = 0x6


class GfxSource(IntEnum):
    CP_RB_INTERRUPT_PKT = 0xb0
    CP_IB1_INTERRUPT_PKT = 0xb1
    CP_IB2_INTERRUPT_PKT = 0xb2
    CP_PM4_PKT_RSVD_BIT_ERROR = 0xb4
    CP_EOP_INTERRUPT = 0xb5
    CP_BAD_OPCODE_ERROR = 0xb7
    CP_PRIV_REG_FAULT = 0xb8
    CP_PRIV_INSTR_FAULT = 0xb9
    CP_WAIT_MEM_SEM_FAULT = 0xba
    CP_CTX_EMPTY_INTERRUPT = 0xbb
    CP_CTX_BUSY_INTERRUPT = 0xbc
    CP_ME_WAIT_REG_MEM_POLL_TIMEOUT = 0xc0
    CP_SIG_INCOMPLETE = 0xc1
    CP_PREEMPT_ACK = 0xc2
    CP_GPF = 0xc3
    CP_GDS_ALLOC_ERROR = 0xc4
    CP_ECC_ERROR = 0xc5
    CP_COMPUTE_QUERY_STATUS = 0xc7
    CP_VM_DOORBELL = 0xc8
    CP_FUE_ERROR = 0xc9
    RLC_STRM_PERF_MONITOR_INTERRUPT = 0xca
    GRBM_RD_TIMEOUT_ERROR = 0xe8
    GRBM_REG_GUI_IDLE = 0xe9
    SQ_INTERRUPT_ID = 0xef


class SdmaSource(IntEnum):
    SDMA_ATOMIC_RTN_DONE = 0xd9
    SDMA_ATOMIC_TIMEOUT = 0xda
    SDMA_IB_PREEMPT = 0xdb
    SDMA_ECC = 0xdc
    SDMA_PAGE_FAULT = 0xdd
    SDMA_PAGE_NULL = 0xde
    SDMA_XNACK = 0xdf
    SDMA_TRAP = 0xe0
    SDMA_SEM_INCOMPLETE_TIMEOUT = 0xe1
    SDMA_SEM_WAIT_FAIL_TIMEOUT = 0xe2
    SDMA_SRAM_ECC = 0xe4
    SDMA_PREEMPT = 0xf0
    SDMA_VM_HOLE = 0xf2
    SDMA_CTXEMPTY = 0xf3
    SDMA_DOORBELL_INVALID = 0xf4
    SDMA_FROZEN = 0xf5
    SDMA_POLL_TIMEOUT = 0xf6
    SDMA_SRBMWRITE = 0xf7


class VmcSource(IntEnum):
    VM_FAULT = 0x0
    VM_RETRY = 0x1
    VM_CONTEXT0_ALL = 0x100
    VM_CONTEXT1_ALL = 0x101


class NbifSource(IntEnum):
    CHIP_ERR_INT_EVENT = 0x5e
    DOORBELL_INTERRUPT = 0x5f
    RAS_CONTROLLER_INTERRUPT = 0x60
    ERREVENT_ATHUB_INTERRUPT = 0x61
    PF_VF_MSGBUF_VALID = 0x87
    PF_VF_MSGBUF_ACK = 0x88
    VF_PF_MSGBUF_VALID = 0x89
    VF_PF_MSGBUF_ACK = 0x8a
    CHIP_DPA_INT_EVENT = 0xa0
    CHIP_SLOT_POWER_CHG_INT_EVENT = 0xa1
    ATOMIC_UR_OPCODE = 0xce
    ATOMIC_REQESTEREN_LOW = 0xcf
