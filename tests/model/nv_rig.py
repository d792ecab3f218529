"""A modelled NVIDIA GPU for tests of work: opened by our driver, or reached by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from base.clock import VirtualClock
from gpumodel import nvidia
from gpumodel.nvidia.files import ModelFiles
from gpumodel.nvidia.gpu import NvGpu
from nvdriver.opengpu import OpenNvGpu, open_gpu


@dataclass
class Rig:
    model: NvGpu
    files: ModelFiles
    clock: VirtualClock
    gpu: OpenNvGpu

    def nothing_left(self) -> bool:
        """No file, no client, no memory, no channel."""
        files, model = self.files, self.model
        return not (files._nodes or files._uvms or files._contexts or files.rm.clients or model.fifo.channels)


@contextmanager
def opened(spec: str = "h200") -> Iterator[Rig]:
    clock = VirtualClock()
    transport = nvidia.open_models(spec, clock)[0]
    gpu = open_gpu(transport.files, transport.gpu.bdf, clock, name=transport.name, part="H200")
    with gpu:
        yield Rig(transport.gpu, transport.files, clock, gpu)


def data_of(size: int, seed: int = 1) -> bytes:
    """Bytes that repeat nowhere near."""
    block = b"".join(
        struct.pack("<Q", (seed * 0x9E3779B97F4A7C15 + place * 0x2545F4914F6CDD1D) % (1 << 64)) for place in range(512)
    )
    return (block * (size // len(block) + 1))[:size]
