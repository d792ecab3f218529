"""UMC 12.0.0, 12.5.0: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/umc/umc_12_0_0_offset.h
  drivers/gpu/drm/amd/include/asic_reg/umc/umc_12_0_0_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, Register64, RegisterBlock, bit, bits, reg


class UMCCH0_OdEccCntSel_t(Register):
    __slots__ = ()
    OdEccCntSel = bits(2, 0)
    OdEccErrInt = bits(5, 4)


class UMCCH0_OdEccErrCnt_t(Register):
    __slots__ = ()
    Cnt = bits(15, 0)
    CntOvr = bit(16)
    OvrClr = bit(17)


class MCA_UMC_UMC0_MCUMC_STATUST0_t(Register64):
    __slots__ = ()
    ErrorCode = bits(15, 0)
    ErrorCodeExt = bits(21, 16)
    RESERV22 = bits(23, 22)
    AddrLsb = bits(29, 24)
    RESERV30 = bits(31, 30)
    ErrCoreId = bits(37, 32)
    RESERV38 = bits(39, 38)
    Scrub = bit(40)
    RESERV41 = bits(42, 41)
    Poison = bit(43)
    Deferred = bit(44)
    UECC = bit(45)
    CECC = bit(46)
    RESERV47 = bits(51, 47)
    Transparent = bit(52)
    SyndV = bit(53)
    RESERV54 = bit(54)
    TCC = bit(55)
    ErrCoreIdVal = bit(56)
    PCC = bit(57)
    AddrV = bit(58)
    MiscV = bit(59)
    En = bit(60)
    UC = bit(61)
    Overflow = bit(62)
    Val = bit(63)


class MCA_UMC_UMC0_MCUMC_ADDRT0_t(Register64):
    __slots__ = ()
    ErrorAddr = bits(55, 0)
    Reserved = bits(63, 56)


class Umc(RegisterBlock):
    UMCCH0_OdEccCntSel = reg(0x032c, UMCCH0_OdEccCntSel_t, 0)
    UMCCH0_OdEccErrCnt = reg(0x032d, UMCCH0_OdEccErrCnt_t, 0)
    MCA_UMC_UMC0_MCUMC_STATUST0 = reg(0x03c2, MCA_UMC_UMC0_MCUMC_STATUST0_t, 0)
    MCA_UMC_UMC0_MCUMC_ADDRT0 = reg(0x03c4, MCA_UMC_UMC0_MCUMC_ADDRT0_t, 0)
