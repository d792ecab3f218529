"""THM 13.0.2: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/thm/thm_13_0_2_offset.h
  drivers/gpu/drm/amd/include/asic_reg/thm/thm_13_0_2_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class THM_TCON_CUR_TMP_t(Register):
    __slots__ = ()
    PER_STEP_TIME_UP = bits(4, 0)
    TMP_MAX_DIFF_UP = bits(6, 5)
    TMP_SLEW_DN_EN = bit(7)
    PER_STEP_TIME_DN = bits(12, 8)
    CUR_TEMP_TJ_SEL = bits(17, 16)
    CUR_TEMP_TJ_SLEW_SEL = bit(18)
    CUR_TEMP_RANGE_SEL = bit(19)
    MCM_EN = bit(20)
    CUR_TEMP = bits(31, 21)


class THM_TCON_HTC_t(Register):
    __slots__ = ()
    HTC_EN = bit(0)
    EXTERNAL_PROCHOT = bit(2)
    INTERNAL_PROCHOT = bit(3)
    HTC_ACTIVE = bit(4)
    HTC_ACTIVE_LOG = bit(5)
    HTC_DIAG = bit(8)
    DIS_PROCHOT_PIN_OUT = bit(9)
    HTC_TO_IH_EN = bit(10)
    PROCHOT_TO_IH_EN = bit(11)
    PROCHOT_EVENT_SRC = bits(14, 12)
    DIS_PROCHOT_PIN_IN = bit(15)
    HTC_TMP_LMT = bits(22, 16)
    HTC_HYST_LMT = bits(26, 23)
    HTC_SLEW_SEL = bits(28, 27)


class THM_TCON_THERM_TRIP_t(Register):
    __slots__ = ()
    CTF_PAD_POLARITY = bit(0)
    THERM_TP = bit(1)
    CTF_THRESHOLD_EXCEEDED = bit(2)
    THERM_TP_SENSE = bit(3)
    RSVD2 = bit(4)
    THERM_TP_EN = bit(5)
    THERM_TP_LMT = bits(13, 6)
    RSVD3 = bits(30, 14)
    SW_THERM_TP = bit(31)


class THM_THERMAL_INT_ENA_t(Register):
    __slots__ = ()
    THERM_INTH_SET = bit(0)
    THERM_INTL_SET = bit(1)
    THERM_TRIGGER_SET = bit(2)
    THERM_INTH_CLR = bit(3)
    THERM_INTL_CLR = bit(4)
    THERM_TRIGGER_CLR = bit(5)


class THM_THERMAL_INT_CTRL_t(Register):
    __slots__ = ()
    DIG_THERM_INTH = bits(7, 0)
    DIG_THERM_INTL = bits(15, 8)
    TEMP_THRESHOLD = bits(23, 16)
    THERM_INTH_MASK = bit(24)
    THERM_INTL_MASK = bit(25)
    THERM_TRIGGER_MASK = bit(26)
    THERM_PROCHOT_MASK = bit(27)
    THERM_IH_HW_ENA = bit(28)
    MAX_IH_CREDIT = bits(31, 29)


class THM_THERMAL_INT_STATUS_t(Register):
    __slots__ = ()
    THERM_INTH_DETECT = bit(0)
    THERM_INTL_DETECT = bit(1)
    THERM_TRIGGER_DETECT = bit(2)
    THERM_PROCHOT_DETECT = bit(3)


class Thm(RegisterBlock):
    THM_TCON_CUR_TMP = reg(0x0000, THM_TCON_CUR_TMP_t, 0)
    THM_TCON_HTC = reg(0x0001, THM_TCON_HTC_t, 0)
    THM_TCON_THERM_TRIP = reg(0x0002, THM_TCON_THERM_TRIP_t, 0)
    THM_THERMAL_INT_ENA = reg(0x000a, THM_THERMAL_INT_ENA_t, 0)
    THM_THERMAL_INT_CTRL = reg(0x000b, THM_THERMAL_INT_CTRL_t, 0)
    THM_THERMAL_INT_STATUS = reg(0x000c, THM_THERMAL_INT_STATUS_t, 0)
