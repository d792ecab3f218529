"""SMN byte addresses and bits of registers that no header of asic_reg gives an offset for. MI300X and MI350X.

Addresses are those of AID 0; another AID's have bit 34 and its number in bits 33:32. Sources, Linux v7.3
drivers/gpu/drm/amd: pm/swsmu/smu13/smu_v13_0_6_ppt.c (MP1), amdgpu/psp_v13_0.c line 81 (PUB_SCRATCH0), amdgpu/amdgpu_xgmi.c
lines 38..106 and 250..294 (XGMI), amdgpu/amdgpu_ras.c lines 4736..4830 and amdgpu_ras.h (boot error word)."""

from __future__ import annotations

from typing import Final

from registers.core import Register, bit, bits

# MP1
MP1_FIRMWARE_FLAGS: Final = 0x03B10028  # MP1_Public 0x03B00000 | smnMP1_FIRMWARE_FLAGS 0x3010028
MP1_PUB_SCRATCH0: Final = 0x03B10090  # PMFW version before the mailbox may be used; below 0x557300 the aux sOS is taken

# MP0, per AID: dword offset 0xBE on base 0x16000, times 4 (mp_13_0_2; the later header leaves it out)
MP0_C2PMSG_126: Final = 0x160BE * 4
MP0_C2PMSG_127: Final = 0x160BF * 4  # what RAS covers (psp_v13_0.c psp_v13_0_get_ras_capability)
BOOT_STEADY: Final = 0xBA  # low byte of MP0_C2PMSG_92 when boot has finished

# XGMI: two links of every AID
# amdgpu_xgmi_get_ext_link: port of the package by link number
XGMI_PORT_OF_LINK: Final = (0, 3, 1, 2, 7, 6, 4, 5)
XGMI_PCS_STATE_HIST1: Final = (0x11A00070, 0x11B00070)  # XGMI 6.4.0
XGMI_PCS_STATE_HIST1_6_4_1: Final = (0x12100070, 0x11B00070)
XGMI_STATE_ACTIVE: Final = 0x81  # low byte of PCS_STATE_HIST1: LS0
XGMI_STATE_DISABLED: Final = 0xD1


class MP1_FIRMWARE_FLAGS_t(Register):
    __slots__ = ()
    INTERRUPTS_ENABLED = bit(0)  # 1: the firmware runs


class RasCapability_t(Register):
    """MP0_C2PMSG_127."""

    __slots__ = ()
    BLOCKS = bits(23, 0)
    POISON = bit(24)


class BootError_t(Register):
    """MP0_C2PMSG_126 of an AID: what failed while the boot firmware ran (amdgpu_ras.h lines 37..49)."""

    __slots__ = ()
    MEM_TRAINING = bit(0)
    FW_LOAD = bit(1)
    WAFL_LINK_TRAINING = bit(2)
    XGMI_LINK_TRAINING = bit(3)
    USR_CP_LINK_TRAINING = bit(4)
    USR_DP_LINK_TRAINING = bit(5)
    HBM_MEM_TEST = bit(6)
    HBM_BIST_TEST = bit(7)
    SOCKET_ID = bits(10, 8)
    AID_ID = bits(12, 11)
    HBM_ID = bits(14, 13)  # 1 means HBM 0, anything else HBM 1
    DATA_ABORT = bit(29)
    GENERIC = bit(30)
