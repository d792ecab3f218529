"""SMUIO 13.0.3, 13.0.11: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/smuio/smuio_13_0_3_offset.h
  drivers/gpu/drm/amd/include/asic_reg/smuio/smuio_13_0_3_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class SMUIO_SOC_HALT_t(Register):
    __slots__ = ()
    WDT_FORCE_PWROK_EN = bit(2)
    WDT_FORCE_RESETn_EN = bit(3)


class GOLDEN_TSC_COUNT_UPPER_t(Register):
    __slots__ = ()
    GoldenTscCountUpper = bits(23, 0)


class GOLDEN_TSC_COUNT_LOWER_t(Register):
    __slots__ = ()
    GoldenTscCountLower = bits(31, 0)


class SOC_GAP_PWROK_t(Register):
    __slots__ = ()
    soc_gap_pwrok = bit(0)


class SMUIO_MCM_CONFIG_t(Register):
    __slots__ = ()
    DIE_ID = bits(1, 0)
    PKG_TYPE = bits(5, 2)
    SOCKET_ID = bits(11, 8)
    PKG_SUBTYPE = bit(12)
    CONSOLE_K = bit(16)
    CONSOLE_A = bit(17)
    TOPOLOGY_ID = bits(22, 18)


class IP_DISCOVERY_VERSION_t(Register):
    __slots__ = ()
    IP_DISCOVERY_VERSION = bits(31, 0)


class SCRATCH_REGISTER0_t(Register):
    __slots__ = ()
    ScratchPad0 = bits(31, 0)


class SCRATCH_REGISTER1_t(Register):
    __slots__ = ()
    ScratchPad1 = bits(31, 0)


class SCRATCH_REGISTER2_t(Register):
    __slots__ = ()
    ScratchPad2 = bits(31, 0)


class SCRATCH_REGISTER3_t(Register):
    __slots__ = ()
    ScratchPad3 = bits(31, 0)


class SCRATCH_REGISTER4_t(Register):
    __slots__ = ()
    ScratchPad4 = bits(31, 0)


class SCRATCH_REGISTER5_t(Register):
    __slots__ = ()
    ScratchPad5 = bits(31, 0)


class SCRATCH_REGISTER6_t(Register):
    __slots__ = ()
    ScratchPad6 = bits(31, 0)


class SCRATCH_REGISTER7_t(Register):
    __slots__ = ()
    ScratchPad7 = bits(31, 0)


class Smuio(RegisterBlock):
    SMUIO_MCM_CONFIG = reg(0x0023, SMUIO_MCM_CONFIG_t, 1)
    SMUIO_SOC_HALT = reg(0x00c2, SMUIO_SOC_HALT_t, 1)
    IP_DISCOVERY_VERSION = reg(0x0000, IP_DISCOVERY_VERSION_t, 2)
    GOLDEN_TSC_COUNT_UPPER = reg(0x002d, GOLDEN_TSC_COUNT_UPPER_t, 2)
    GOLDEN_TSC_COUNT_LOWER = reg(0x002e, GOLDEN_TSC_COUNT_LOWER_t, 2)
    SOC_GAP_PWROK = reg(0x0031, SOC_GAP_PWROK_t, 2)
    SCRATCH_REGISTER0 = reg(0x01bd, SCRATCH_REGISTER0_t, 2)
    SCRATCH_REGISTER1 = reg(0x01be, SCRATCH_REGISTER1_t, 2)
    SCRATCH_REGISTER2 = reg(0x01bf, SCRATCH_REGISTER2_t, 2)
    SCRATCH_REGISTER3 = reg(0x01c0, SCRATCH_REGISTER3_t, 2)
    SCRATCH_REGISTER4 = reg(0x01c1, SCRATCH_REGISTER4_t, 2)
    SCRATCH_REGISTER5 = reg(0x01c2, SCRATCH_REGISTER5_t, 2)
    SCRATCH_REGISTER6 = reg(0x01c3, SCRATCH_REGISTER6_t, 2)
    SCRATCH_REGISTER7 = reg(0x01c4, SCRATCH_REGISTER7_t, 2)
