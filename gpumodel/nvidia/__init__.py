"""Software GPUs of NVIDIA's: config space, the registers that tell how boot went, and the files of a loaded driver.

    transports = open_models("h200*8?fault=gsp-dead@2")

Written from the fact sheets and the kernel modules' source (docs/fidelity.md), never from nvdriver."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from base.clock import Clock
    from gpumodel.nvidia.chips import NvChip
    from gpumodel.nvidia.faults import NvFault
    from gpumodel.nvidia.gpu import NvTransport


def open_models(spec: str, clock: Clock | None = None) -> list[NvTransport]:
    """The GPUs that an address asks for (gpumodel.nvidia.spec), as transports; UsageError when it cannot be read."""
    from base.clock import VirtualClock
    from gpumodel.nvidia.files import ModelFiles
    from gpumodel.nvidia.gpu import NvTransport
    from gpumodel.nvidia.machine import Machine
    from gpumodel.nvidia.spec import parse

    wanted = parse(spec)
    machine = Machine(wanted.chip, wanted.count, VirtualClock() if clock is None else clock, driver=wanted.driver)
    for placed in wanted.faults:
        machine.gpus[placed.gpu].placed.append((placed.fault, placed.value))
        placed.fault.apply(machine.gpus[placed.gpu], placed.value)
    files = ModelFiles(machine)
    transports = [NvTransport(gpu, wanted.name_of(gpu.index), files) for gpu in machine.gpus]
    return transports if wanted.pick is None else [transports[wanted.pick]]


def parts() -> list[NvChip]:
    """Every part that can be modelled."""
    from gpumodel.nvidia.chips import CHIPS

    return list(CHIPS.values())


def catalogue() -> list[NvFault]:
    """The catalogue of faults, in its order."""
    from gpumodel.nvidia.faults import FAULTS

    return list(FAULTS.values())
