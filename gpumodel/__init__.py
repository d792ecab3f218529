"""Software GPUs with faults; written from the kernel source and the fact sheets, never from our own drivers.

    transports = open_models("mi350x*8?fault=discovery-clobbered@2")

Imports nothing big until asked for a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

# Loaded now (it is small) so that the function faults() below, not the module of that name, is what callers get;
# `from gpumodel.faults import CATALOGUE` works all the same.
import gpumodel.faults as _faults

if TYPE_CHECKING:
    from base.clock import Clock
    from gpumodel.device import ModelTransport
    from gpumodel.faults import Fault


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A part that can be modelled; memory in bytes."""

    name: str
    product: str
    vendor: int
    device: int
    vram_size: int
    xccs: int
    compute_units: int
    sdma_engines: int


def open_models(spec: str, clock: Clock | None = None, *, serial_capability: bool = True) -> list[ModelTransport]:
    """The GPUs that an address asks for (gpumodel.spec), as transports; UsageError when it cannot be read.

    `clock` None: a virtual clock of their own, shared by the hive. `serial_capability` False: config space without
    Device Serial Number, because a kernel driver with a full SMU model stumbles over both."""
    from base.clock import VirtualClock
    from gpumodel.device import ModelTransport
    from gpumodel.hive import Hive
    from gpumodel.spec import parse

    wanted = parse(spec)
    hive = Hive(
        wanted.chip,
        wanted.count,
        VirtualClock() if clock is None else clock,
        used=wanted.state == "used",
        serial_capability=serial_capability,
    )
    hive.power_on(wanted.faults)
    transports = [ModelTransport(gpu, wanted.name_of(gpu.index)) for gpu in hive.gpus]
    return transports if wanted.pick is None else [transports[wanted.pick]]


def parts() -> list[PartInfo]:
    """Every part that can be modelled."""
    from gpumodel.chips import CHIPS, SDMAS, VENDOR_AMD, XCCS

    return [
        PartInfo(
            chip.name,
            chip.product,
            VENDOR_AMD,
            chip.device_id,
            chip.vram_size,
            XCCS,
            chip.compute_units,
            SDMAS,
        )
        for chip in CHIPS.values()
    ]


def faults() -> list[Fault]:
    """The catalogue of faults, in its order."""
    return list(_faults.CATALOGUE.values())
