"""VCN, JPEG 4.0.3: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/vcn/vcn_4_0_3_offset.h
  drivers/gpu/drm/amd/include/asic_reg/vcn/vcn_4_0_3_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class UVD_STATUS_t(Register):
    __slots__ = ()
    RBC_BUSY = bit(0)
    VCPU_REPORT = bits(7, 1)
    FILL_0 = bits(15, 8)
    RBC_ACCESS_GPCOM = bit(16)
    DRM_BUSY = bit(17)
    FILL_1 = bits(30, 18)
    SYS_GPCOM_REQ = bit(31)


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


class UVD_POWER_STATUS_t(Register):
    __slots__ = ()
    UVD_POWER_STATUS = bits(1, 0)
    UVD_PG_MODE = bit(2)
    UVD_CG_MODE = bits(5, 4)
    UVD_PG_EN = bit(8)
    RBC_SNOOP_DIS = bit(9)
    SW_RB_SNOOP_DIS = bit(11)
    STALL_DPG_POWER_UP = bit(31)


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


class UVD_RAS_VCPU_VCODEC_STATUS_t(Register):
    __slots__ = ()
    POISONED_VF = bits(30, 0)
    POISONED_PF = bit(31)


class VCN_RB1_DB_CTRL_t(Register):
    __slots__ = ()
    OFFSET = bits(27, 2)
    EN = bit(30)
    HIT = bit(31)


class UVD_RB_RPTR_t(Register):
    __slots__ = ()
    RB_RPTR = bits(22, 4)


class UVD_RB_WPTR_t(Register):
    __slots__ = ()
    RB_WPTR = bits(22, 4)


class Vcn(RegisterBlock):
    UVD_POWER_STATUS = reg(0x0002, UVD_POWER_STATUS_t, 1)
    UVD_PF_STATUS = reg(0x002c, UVD_PF_STATUS_t, 1)
    UVD_RAS_VCPU_VCODEC_STATUS = reg(0x0057, UVD_RAS_VCPU_VCODEC_STATUS_t, 1)
    VCN_RB1_DB_CTRL = reg(0x0072, VCN_RB1_DB_CTRL_t, 1)
    UVD_RB_RPTR = reg(0x00ac, UVD_RB_RPTR_t, 1)
    UVD_RB_WPTR = reg(0x00ad, UVD_RB_WPTR_t, 1)
    UVD_STATUS = reg(0x0143, UVD_STATUS_t, 1)
    UVD_LMI_STATUS = reg(0x02b1, UVD_LMI_STATUS_t, 1)
