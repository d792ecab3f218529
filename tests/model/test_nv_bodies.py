"""The tests for a board (`tests/hardware/nvidia`), their bodies run on the model: so they are known to work as code."""

from __future__ import annotations

import pytest

from tests.hardware.nvidia import bodies
from tests.model.nv_rig import opened


@pytest.mark.parametrize("part", ["h200", "rtx4090"])
def test_bodies_of_the_tests_for_a_board_hold_on_the_model(part: str) -> None:
    with opened(part) as rig:
        gpu = rig.gpu
        bodies.copies_on_each_engine(gpu, 1 << 20)
        bodies.copies_between_host_and_vram(gpu, 1 << 18)
        bodies.bar1_shows_what_the_engines_see(gpu)
        bodies.semaphores_wait_and_release(gpu)
        bodies.timestamps_go_forwards(gpu)
        bodies.two_channels_take_turns(gpu)
        bodies.two_engines_copy_at_once(gpu, 1 << 20)
        bodies.channels_come_and_go(gpu, 12, lambda: (rig.model.vram_used, len(rig.files._nodes)))
        bodies.compute_channel_fences(gpu)
        assert "Xid" not in rig.files.kernel_log()
        assert not rig.model.unknown and not rig.files.rm.unknown


def test_fills_of_the_tests_for_a_board_hold_on_the_model() -> None:
    with opened("rtx4090") as rig:
        bodies.fills_of_every_alignment(rig.gpu)


def test_dispatch_of_the_tests_for_a_board_holds_on_the_model() -> None:
    with opened() as rig:
        bodies.kernel_is_dispatched(rig.gpu, bytes(256), registers=24)  # the model runs no code: any will do
        assert len(rig.model.fifo.dispatches) == 1
