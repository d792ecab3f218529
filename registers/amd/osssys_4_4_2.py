"""OSSSYS 4.4.2, 4.4.5: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/oss/osssys_4_4_2_offset.h
  drivers/gpu/drm/amd/include/asic_reg/oss/osssys_4_4_2_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class IH_VMID_0_LUT_t(Register):
    __slots__ = ()
    PASID = bits(15, 0)


class IH_VMID_0_LUT_MM_t(Register):
    __slots__ = ()
    PASID = bits(15, 0)


class IH_RB_CNTL_t(Register):
    __slots__ = ()
    RB_ENABLE = bit(0)
    RB_SIZE = bits(5, 1)
    RB_GPU_TS_ENABLE = bit(7)
    WPTR_WRITEBACK_ENABLE = bit(8)
    RB_FULL_DRAIN_ENABLE = bit(9)
    FULL_DRAIN_CLEAR = bit(10)
    PAGE_RB_CLEAR = bit(11)
    RB_USED_INT_THRESHOLD = bits(15, 12)
    WPTR_OVERFLOW_ENABLE = bit(16)
    ENABLE_INTR = bit(17)
    MC_SWAP = bits(19, 18)
    MC_SNOOP = bit(20)
    RPTR_REARM = bit(21)
    MC_RO = bit(22)
    MC_VMID = bits(27, 24)
    MC_SPACE = bits(30, 28)
    WPTR_OVERFLOW_CLEAR = bit(31)


class IH_RB_BASE_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class IH_RB_BASE_HI_t(Register):
    __slots__ = ()
    ADDR = bits(7, 0)


class IH_RB_RPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(17, 2)


class IH_RB_WPTR_t(Register):
    __slots__ = ()
    RB_OVERFLOW = bit(0)
    OFFSET = bits(17, 2)
    RB_LEFT_NONE = bit(18)
    RB_MAY_OVERFLOW = bit(19)


class IH_RB_WPTR_ADDR_HI_t(Register):
    __slots__ = ()
    ADDR = bits(15, 0)


class IH_RB_WPTR_ADDR_LO_t(Register):
    __slots__ = ()
    ADDR = bits(31, 2)


class IH_DOORBELL_RPTR_t(Register):
    __slots__ = ()
    OFFSET = bits(25, 0)
    ENABLE = bit(28)


class IH_DOORBELL_RETRY_CAM_t(Register):
    __slots__ = ()
    OFFSET = bits(25, 0)
    ENABLE = bit(28)


class IH_RB_CNTL_RING1_t(Register):
    __slots__ = ()
    RB_ENABLE = bit(0)
    RB_SIZE = bits(5, 1)
    RB_GPU_TS_ENABLE = bit(7)
    RB_FULL_DRAIN_ENABLE = bit(9)
    FULL_DRAIN_CLEAR = bit(10)
    PAGE_RB_CLEAR = bit(11)
    RB_USED_INT_THRESHOLD = bits(15, 12)
    WPTR_OVERFLOW_ENABLE = bit(16)
    MC_SWAP = bits(19, 18)
    MC_SNOOP = bit(20)
    MC_RO = bit(22)
    MC_VMID = bits(27, 24)
    MC_SPACE = bits(30, 28)
    WPTR_OVERFLOW_CLEAR = bit(31)


class IH_RB_BASE_RING1_t(Register):
    __slots__ = ()
    ADDR = bits(31, 0)


class IH_RB_BASE_HI_RING1_t(Register):
    __slots__ = ()
    ADDR = bits(7, 0)


class IH_RB_RPTR_RING1_t(Register):
    __slots__ = ()
    OFFSET = bits(17, 2)


class IH_RB_WPTR_RING1_t(Register):
    __slots__ = ()
    RB_OVERFLOW = bit(0)
    OFFSET = bits(17, 2)
    RB_LEFT_NONE = bit(18)
    RB_MAY_OVERFLOW = bit(19)


class IH_DOORBELL_RPTR_RING1_t(Register):
    __slots__ = ()
    OFFSET = bits(25, 0)
    ENABLE = bit(28)


class IH_VERSION_t(Register):
    __slots__ = ()
    MINVER = bits(6, 0)
    MAJVER = bits(14, 8)
    REV = bits(21, 16)


class IH_CNTL_t(Register):
    __slots__ = ()
    WPTR_WRITEBACK_TIMER = bits(4, 0)
    IH_IDLE_HYSTERESIS_CNTL = bits(7, 6)
    IH_FIFO_HIGHWATER = bits(14, 8)
    MC_WR_CLEAN_CNT = bits(24, 20)
    SRAM_ECC_ENABLE = bit(25)
    FED_ENABLE = bit(26)


class IH_CNTL2_t(Register):
    __slots__ = ()
    SELF_IV_FORCE_WPTR_UPDATE_TIMEOUT = bits(4, 0)
    SELF_IV_FORCE_WPTR_UPDATE_ENABLE = bit(8)


class IH_STATUS_t(Register):
    __slots__ = ()
    IDLE = bit(0)
    INPUT_IDLE = bit(1)
    BUFFER_IDLE = bit(2)
    RB_FULL = bit(3)
    RB_FULL_DRAIN = bit(4)
    RB_OVERFLOW = bit(5)
    MC_WR_IDLE = bit(6)
    MC_WR_STALL = bit(7)
    MC_WR_CLEAN_PENDING = bit(8)
    MC_WR_CLEAN_STALL = bit(9)
    BIF_INTERRUPT_LINE = bit(10)
    SWITCH_READY = bit(11)
    RB1_FULL = bit(12)
    RB1_FULL_DRAIN = bit(13)
    RB1_OVERFLOW = bit(14)
    SELF_INT_GEN_IDLE = bit(18)
    RETRY_INT_CAM_IDLE = bit(19)
    IH_BUFFER_MEM_POWER_GATED = bit(20)
    IH_RETRY_INT_CAM_MEM_POWER_GATED = bit(21)
    IH_PASID_LUT_MEM_POWER_GATED = bit(22)


class IH_CLK_CTRL_t(Register):
    __slots__ = ()
    IH_PASID_LUT_MEM_CLK_SOFT_OVERRIDE = bit(23)
    IH_RAS_CLK_SOFT_OVERRIDE = bit(24)
    IH_RETRY_INT_CAM_MEM_CLK_SOFT_OVERRIDE = bit(25)
    IH_BUFFER_MEM_CLK_SOFT_OVERRIDE = bit(26)
    DBUS_MUX_CLK_SOFT_OVERRIDE = bit(27)
    OSSSYS_SHARE_CLK_SOFT_OVERRIDE = bit(28)
    LIMIT_SMN_CLK_SOFT_OVERRIDE = bit(29)
    DYN_CLK_SOFT_OVERRIDE = bit(30)
    REG_CLK_SOFT_OVERRIDE = bit(31)


class IH_RETRY_INT_CAM_CNTL_t(Register):
    __slots__ = ()
    CAM_SIZE = bits(4, 0)
    BACK_PRESSURE_SKID_VALUE = bits(14, 8)
    ENABLE = bit(16)
    BACK_PRESSURE_ENABLE = bit(17)
    PER_VF_ENTRY_SIZE = bits(21, 20)


class IH_CHICKEN_t(Register):
    __slots__ = ()
    ACTIVE_FCN_ID_PROT_ENABLE = bit(0)
    MC_SPACE_FBPA_ENABLE = bit(3)
    MC_SPACE_GPA_ENABLE = bit(4)
    REG_FIREWALL_ENABLE = bit(5)


class Osssys(RegisterBlock):
    IH_VMID_0_LUT = reg(0x0000, IH_VMID_0_LUT_t, 0)
    IH_VMID_0_LUT_MM = reg(0x0010, IH_VMID_0_LUT_MM_t, 0)
    IH_RB_CNTL = reg(0x0080, IH_RB_CNTL_t, 0)
    IH_RB_BASE = reg(0x0081, IH_RB_BASE_t, 0)
    IH_RB_BASE_HI = reg(0x0082, IH_RB_BASE_HI_t, 0)
    IH_RB_RPTR = reg(0x0083, IH_RB_RPTR_t, 0)
    IH_RB_WPTR = reg(0x0084, IH_RB_WPTR_t, 0)
    IH_RB_WPTR_ADDR_HI = reg(0x0085, IH_RB_WPTR_ADDR_HI_t, 0)
    IH_RB_WPTR_ADDR_LO = reg(0x0086, IH_RB_WPTR_ADDR_LO_t, 0)
    IH_DOORBELL_RPTR = reg(0x0087, IH_DOORBELL_RPTR_t, 0)
    IH_DOORBELL_RETRY_CAM = reg(0x0088, IH_DOORBELL_RETRY_CAM_t, 0)
    IH_RB_CNTL_RING1 = reg(0x008c, IH_RB_CNTL_RING1_t, 0)
    IH_RB_BASE_RING1 = reg(0x008d, IH_RB_BASE_RING1_t, 0)
    IH_RB_BASE_HI_RING1 = reg(0x008e, IH_RB_BASE_HI_RING1_t, 0)
    IH_RB_RPTR_RING1 = reg(0x008f, IH_RB_RPTR_RING1_t, 0)
    IH_RB_WPTR_RING1 = reg(0x0090, IH_RB_WPTR_RING1_t, 0)
    IH_DOORBELL_RPTR_RING1 = reg(0x0093, IH_DOORBELL_RPTR_RING1_t, 0)
    IH_VERSION = reg(0x00a5, IH_VERSION_t, 0)
    IH_CNTL = reg(0x00c0, IH_CNTL_t, 0)
    IH_CNTL2 = reg(0x00c1, IH_CNTL2_t, 0)
    IH_STATUS = reg(0x00c2, IH_STATUS_t, 0)
    IH_CLK_CTRL = reg(0x00db, IH_CLK_CTRL_t, 0)
    IH_RETRY_INT_CAM_CNTL = reg(0x00ea, IH_RETRY_INT_CAM_CNTL_t, 0)
    IH_CHICKEN = reg(0x018d, IH_CHICKEN_t, 0)
