"""In which order a cold GPU takes its firmware: the bootloader phase, then the ring phase.

Source: Linux v7.3 amdgpu_psp.c (psp_hw_start, psp_load_p2s_table, psp_load_non_psp_fw, psp_rl_load, psp_load_fw),
amdgpu_psp.h (enum psp_bootloader_cmd), amdgpu_ucode.h (order of AMDGPU_UCODE_ID), amdgpu_sdma.c. Autoload is not used."""

from __future__ import annotations

from dataclasses import dataclass

from firmware.gfx_types import GfxFwType
from firmware.needed import Chip, chip
from firmware.psp import SosType

LOAD_IP_FW = 6  # commands of the PSP ring (psp_gfx_if.h)
LOAD_TA = 1
SDMA_TYPES = (GfxFwType.SDMA0, GfxFwType.SDMA1, GfxFwType.SDMA2, GfxFwType.SDMA3)
P2S_SINCE_SOS_DISCRETE = 0x0036003C
P2S_SINCE_SOS_APU = 0x0036013D


@dataclass(frozen=True, slots=True)
class BootloaderStep:
    """Hand `component` of the SOS file to the bootloader with `command` in C2PMSG_35. Skipped when the file has none;
    the whole phase is skipped when C2PMSG_81 is not 0 (the secure OS runs). `required`: the known files all have it."""

    component: SosType
    command: int
    required: bool


@dataclass(frozen=True, slots=True)
class RingStep:
    """Send `entry` of `file` with ring command `command`; `gfx_type` is the firmware type of LOAD_IP_FW, 0 for TAs.

    `min_sos`: sent only when the secure OS is at least this (discrete GPU). P2S: which entry, `firmware.ucode.select_p2s`
    says."""

    file: str
    entry: str
    command: int
    gfx_type: int
    min_sos: int = 0


BOOTLOADER_STEPS = (
    BootloaderStep(SosType.KDB, 0x80000, True),
    BootloaderStep(SosType.SPL, 0x10000000, False),
    BootloaderStep(SosType.SYS_DRV, 0x10000, True),
    BootloaderStep(SosType.SOC_DRV, 0xB0000, True),
    BootloaderStep(SosType.INTF_DRV, 0xD0000, True),
    BootloaderStep(SosType.DBG_DRV, 0xC0000, True),
    BootloaderStep(SosType.RAS_DRV, 0xE0000, True),
    BootloaderStep(SosType.IPKEYMGR_DRV, 0xF0000, False),
    BootloaderStep(SosType.SPDM_DRV, 0x20000000, False),
    BootloaderStep(SosType.SOS, 0x20000, True),
)


def ring_steps(part_or_gc_version: str) -> tuple[RingStep, ...]:
    """What goes through the PSP ring once the secure OS runs, in order. Raises UsageError for an unknown part."""
    return _steps(chip(part_or_gc_version))


def _steps(c: Chip) -> tuple[RingStep, ...]:
    psp, gc = f"psp_{_file(c.mp0)}", f"gc_{_file(c.gc)}"
    steps = []
    if c.smu:
        p2s = RingStep(f"smu_{_file(c.smu)}.bin", "P2S", LOAD_IP_FW, GfxFwType.P2S_TABLE, P2S_SINCE_SOS_DISCRETE)
        steps.append(p2s)
    # One load per instance index of an AID: the PSP gives the same file to every AID.
    steps += [RingStep(f"sdma_{_file(c.sdma)}.bin", "SDMA", LOAD_IP_FW, kind) for kind in SDMA_TYPES]
    steps += [
        RingStep(f"{gc}_mec.bin", "MEC", LOAD_IP_FW, GfxFwType.CP_MEC),
        RingStep(f"{gc}_mec.bin", "MEC_JT", LOAD_IP_FW, GfxFwType.CP_MEC_ME1),
        RingStep(f"{gc}_rlc.bin", "RLC_CNTL", LOAD_IP_FW, GfxFwType.RLC_RESTORE_LIST_SRM_CNTL),
        RingStep(f"{gc}_rlc.bin", "RLC_GPM", LOAD_IP_FW, GfxFwType.RLC_RESTORE_LIST_GPM_MEM),
        RingStep(f"{gc}_rlc.bin", "RLC_SRM", LOAD_IP_FW, GfxFwType.RLC_RESTORE_LIST_SRM_MEM),
        RingStep(f"{gc}_rlc.bin", "RLC_G", LOAD_IP_FW, GfxFwType.RLC_G),
        RingStep(f"vcn_{_file(c.vcn)}.bin", "VCN", LOAD_IP_FW, GfxFwType.VCN),
        RingStep(f"{psp}_sos.bin", "RL", LOAD_IP_FW, GfxFwType.REG_LIST),
        RingStep(f"{psp}_ta.bin", "RAS", LOAD_TA, GfxFwType.NONE),
        RingStep(f"{psp}_ta.bin", "XGMI", LOAD_TA, GfxFwType.NONE),
    ]
    return tuple(steps)


def _file(version: str) -> str:
    return version.replace(".", "_")
