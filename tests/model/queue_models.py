"""Models whose memory and engines the driver's blocks have brought up, without the firmware steps before them.

A model in state=used has all firmware loaded; what these tests are about begins behind the PSP."""

from __future__ import annotations

from dataclasses import dataclass

from amdriver import discovery, discovery_locate
from amdriver.access import Access
from amdriver.gfx import Gfx
from amdriver.gmc import Gmc
from amdriver.gpu import Gpu
from amdriver.nbio import Nbio
from amdriver.parts import part_of
from amdriver.sdma import Sdma
from base.clock import VirtualClock
from gpumodel import open_models

_COMMAND = 4
_MEMORY_AND_MASTER = 6


@dataclass
class Opened:
    """One model, NBIO and GMC running, SDMA and GFX ready for hw_init."""

    clock: VirtualClock
    gpu: Gpu
    gmc: Gmc
    sdma: Sdma
    gfx: Gfx


def opened(spec: str = "mi300x") -> list[Opened]:
    clock = VirtualClock()
    return [_opened(Access(transport), clock) for transport in open_models(spec, clock)]


def _opened(access: Access, clock: VirtualClock) -> Opened:
    transport = access.transport
    table = discovery.validate(discovery_locate.locate(access, clock).blob).ip_map
    info = transport.info()
    part = part_of(info.vendor, info.device)
    assert table is not None
    assert part is not None
    gpu = Gpu(access, clock, table, part)
    transport.config_write(_COMMAND, 2, transport.config_read(_COMMAND, 2) | _MEMORY_AND_MASTER)
    nbio, gmc = Nbio(gpu), Gmc(gpu)
    nbio.sw_init()
    gmc.sw_init()
    one = Opened(clock, gpu, gmc, Sdma(gpu, gmc), Gfx(gpu, gmc))
    one.sdma.sw_init()
    one.gfx.sw_init()
    nbio.hw_init()
    gmc.hw_init()
    return one
