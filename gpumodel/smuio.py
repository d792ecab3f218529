"""SMUIO: which package this is, and the version of the discovery firmware.

Source: Linux v7.3 amdgpu/smuio_v13_0_3.c, amdgpu_discovery.c (4 makes the driver ask four AIDs for boot errors);
research/amdgpu-on-model.md item 6."""

from __future__ import annotations

from gpumodel.chips import Chip
from gpumodel.registerfile import Layout
from registers.amd.smuio_13_0_3 import Smuio as Regs

DISCOVERY_VERSION = 4


def declare(layout: Layout, chip: Chip) -> None:
    unit = layout.unit(Regs, "SMUIO[0]", chip.bases("SMUIO")[0], "")
    unit.plain(("SMUIO_MCM_CONFIG", "IP_DISCOVERY_VERSION"), {"IP_DISCOVERY_VERSION": DISCOVERY_VERSION})
