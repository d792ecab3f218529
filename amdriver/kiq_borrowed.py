"""A KIQ for one request, on a GPU that nobody drives: to have a queue reset by the MEC's own firmware.

Source: Linux v7.3 gfx_v9_4_3.c reset_kcq (UNMAP_QUEUES with RESET, the KIQ's own test, then CP_HQD_ACTIVE), amd-resets.md
section 1 row 4: the MEC's firmware must be 155 or later (GC 9.4.3, 9.4.4), 21 or later (9.5.0); older firmware has no such
action, and nothing tells its version when no driver runs, so that a request that is not answered may mean that.

The KIQ of the driver that was here is taken off: its ring lay in memory that is gone. Ours lies in 16 KiB of VRAM that
may be somebody's: what was there is read before, and written back when the request is over, whatever came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from amdriver import pm4
from amdriver.gfx import KIQ_DOORBELL, LAST_DOORBELL, OWN_QUEUES, XCC_DOORBELLS
from amdriver.gfx_reset import Hqd
from amdriver.gmc import Gmc
from amdriver.kiq import KIQ_BYTES, Kiq, selected, wait_inactive
from amdriver.pm4_fields import UnmapAction
from base.errors import GpumendError, UsageError
from registers.amd.gc_9_4_3 import Gc

if TYPE_CHECKING:
    from amdriver.gpu import Gpu

_DOING: Final = "resetting a queue by a KIQ"


def reset_by_kiq(gpu: Gpu, hqd: Hqd) -> None:
    """Have the MEC reset this queue and take it off. Raises UsageError (a queue without doorbell, a KIQ), QueueStuck (the
    KIQ does not answer: its MEC stands, or its firmware is too old), WaitTimeout (the queue stays)."""
    if hqd.kiq or not hqd.doorbell:
        raise UsageError(
            f"{_DOING}: {hqd}",
            expected="a queue that has a doorbell, and is no KIQ itself",
            seen="a KIQ" if hqd.kiq else "no doorbell to name it by",
            where=gpu.name,
            next_step="reset it by its registers (queue-reset-mmio), or reset its MEC",
        )
    gc = gpu.block(Gc, "GC", hqd.xcc)
    with _running(gpu, gc, hqd.xcc) as (kiq, gmc):
        for packets in (pm4.set_resources(OWN_QUEUES), pm4.unmap_queues(hqd.doorbell, UnmapAction.RESET)):
            kiq.stage(packets)
            gmc.flush_hdp()
            kiq.ring()
            kiq.wait_answer(f"{_DOING}: {hqd}")
        with selected(gc, me=hqd.me, pipe=hqd.pipe, queue=hqd.queue):
            wait_inactive(gpu, gc, str(hqd))


@contextmanager
def _running(gpu: Gpu, gc: Gc, xcc: int) -> Iterator[tuple[Kiq, Gmc]]:
    """A KIQ on this XCC; afterwards it is off, and VRAM and the doorbell range are as they were."""
    gmc = Gmc(gpu)
    gmc.sw_init()  # reads who we are in the hive; writes nothing
    block = gmc.alloc_vram(KIQ_BYTES, owner="borrowed for a KIQ")
    before = block.read()
    ranges = gc.CP_MEC_DOORBELL_RANGE_LOWER.read(), gc.CP_MEC_DOORBELL_RANGE_UPPER.read()
    position = [ip.instance for ip in gpu.ip.active("GC")].index(xcc)
    first = XCC_DOORBELLS * position
    kiq = Kiq(gpu, gmc, gc, xcc=xcc, block=block, at=0, doorbell=first + KIQ_DOORBELL)
    try:
        block.write(0, kiq.image())
        gc.CP_MEC_DOORBELL_RANGE_LOWER.write(8 * (first + KIQ_DOORBELL))
        gc.CP_MEC_DOORBELL_RANGE_UPPER.write(8 * (first + LAST_DOORBELL))
        kiq.start()
        kiq.prepare_test()
        yield kiq, gmc
    finally:
        with suppress(GpumendError):  # what came of the request is the news; a KIQ that stays is switched off by force
            kiq.request_stop()
            kiq.finish_stop()
        gc.CP_MEC_DOORBELL_RANGE_LOWER.write(ranges[0])
        gc.CP_MEC_DOORBELL_RANGE_UPPER.write(ranges[1])
        block.write(0, before)
        gmc.abandon()
        block.free()
        gmc.sw_fini()
