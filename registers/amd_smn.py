"""SMN byte addresses and bits of registers that no header of asic_reg gives an offset for. MI300X and MI350X.

An SMN address of AID n is the address below plus `aid_base(n)`. Sources, Linux v7.3 drivers/gpu/drm/amd:
pm/swsmu/smu13/smu_v13_0_6_ppt.c (MP1, PCIE), amdgpu/psp_v13_0.c line 81 (PUB_SCRATCH0), amdgpu/amdgpu_xgmi.c lines 38..106
and 250..294 (XGMI), amdgpu/aqua_vanjaram.c lines 580..780 (what the kernel dumps), amdgpu/amdgpu_ras.c lines 4736..4830 and
amdgpu_ras.h (boot error word), amdgpu/amdgpu_reg_access.c line 336 (AID base)."""

from __future__ import annotations

from typing import Final

from registers.core import Register, bit, bits

AIDS: Final = 4


def aid_base(aid: int) -> int:
    """What to add to an SMN address to reach AID `aid`: bit 34 and the AID in bits 33:32; nothing for AID 0."""
    if not 0 <= aid < AIDS:
        raise ValueError(f"AID {aid}: there are {AIDS}, counted from 0")
    return aid << 32 | 1 << 34 if aid else 0


# MP1
MP1_FIRMWARE_FLAGS: Final = 0x03B10028  # MP1_Public 0x03B00000 | smnMP1_FIRMWARE_FLAGS 0x3010028
MP1_PUB_SCRATCH0: Final = 0x03B10090  # PMFW version before the mailbox may be used; below 0x557300 the aux sOS is taken

# MP0, per AID: the dword offsets of mp_13_0_6 on base 0x16000, times 4
MP0_C2PMSG_92: Final = 0x1609C * 4
MP0_C2PMSG_126: Final = 0x160BE * 4
BOOT_STEADY: Final = 0xBA  # low byte of MP0_C2PMSG_92 when boot has finished

# PCIE link as the GPU sees it
PCIE_LC_LINK_WIDTH_CNTL: Final = 0x1A340288
PCIE_LC_SPEED_CNTL: Final = 0x1A340290

# XGMI: two links of every AID, the second 0x100000 above the first (6.4.0; for the state of 6.4.1 see below)
XGMI_LINK_STRIDE: Final = 0x100000
XGMI_LINKS_PER_AID: Final = 2
XGMI_PORT_OF_LINK: Final = (
    0,
    3,
    1,
    2,
    7,
    6,
    4,
    5,
)  # amdgpu_xgmi.c, amdgpu_xgmi_get_ext_link: port of the package by link number
XGMI_PCS_STATE_HIST1: Final = (0x11A00070, 0x11B00070)  # XGMI 6.4.0
XGMI_PCS_STATE_HIST1_6_4_1: Final = (0x12100070, 0x11B00070)
XGMI_STATE_ACTIVE: Final = 0x81  # low byte of PCS_STATE_HIST1: LS0
XGMI_STATE_DISABLED: Final = 0xD1
XGMI_PCS_ERROR_STATUS: Final = 0x11A0020C  # bits: xgmi_6_1_0.PCS_XGMI3X16_PCS_ERROR_STATUS_t
XGMI_PCS_ERROR_MASK: Final = 0x11A00218  # which of them count as not correctable
# Dumped by the kernel without a name: see aqua_vanjaram.c
XGMI_DUMP: Final = (
    (0x11A00050, 1),
    (0x11A00180, 16),
    (0x11A00070, 4),
    (0x11A00200, 1),
    (0x11A0020C, 1),
    (0x11A00210, 1),
    (0x11A00108, 1),
)

# WAFL: same layout as XGMI
WAFL_PCS_STATE_HIST1: Final = 0x11C00070
WAFL_PCS_ERROR_STATUS: Final = 0x12200210


def xgmi_state_address(link: int, addresses: tuple[int, int] = XGMI_PCS_STATE_HIST1) -> int:
    """SMN byte address of the state of global link 0..7: two links on each AID."""
    return addresses[link % XGMI_LINKS_PER_AID] + aid_base(link // XGMI_LINKS_PER_AID)


class MP1_FIRMWARE_FLAGS_t(Register):
    __slots__ = ()
    INTERRUPTS_ENABLED = bit(0)  # 1: the firmware runs


class PCIE_LC_LINK_WIDTH_CNTL_t(Register):
    __slots__ = ()
    LC_LINK_WIDTH_RD = bits(6, 4)


class PCIE_LC_SPEED_CNTL_t(Register):
    __slots__ = ()
    LC_CURRENT_DATA_RATE = bits(7, 5)


class XGMI_PCS_STATE_HIST1_t(Register):
    __slots__ = ()
    STATE = bits(7, 0)


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
