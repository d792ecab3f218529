"""A fast portion of tests/fuzz/fuzz_vfio_user.py; `make fuzz` runs the 200,000."""

from __future__ import annotations

import os
import struct

import pytest

from gpumodel.vfio_dma import GuestMemory
from gpumodel.vfio_user import VfioUserServer
from tests.fuzz import fuzz_vfio_user
from tests.fuzz import vfio_client as vu
from tests.fuzz.fuzz_vfio_user import PAGE, SECRET, Sent, Tally, Target, exchange, hold_against, run
from tests.fuzz.vfio_client import message

GREETING = message(1, vu.VERSION, bytes(4))


def test_vfio_fuzz_portion_finds_no_crash() -> None:
    tally = run(count=400, seconds=None, seed=30)
    assert tally.cases == 400
    assert tally.answers > 300 and tally.refusals > 300, "streams reach all sides"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        message(5, vu.REGION_READ, bytes(20), 1)[:-1],
        message(5, vu.REGION_READ, bytes(21), 1),
        message(6, vu.REGION_READ, bytes(20), 1),
        message(5, vu.REGION_WRITE, bytes(20), 1),
        message(5, vu.REGION_READ, bytes(20), 1) * 2,
        message(5, vu.REGION_READ, b"", 0x21),
        message(5, vu.REGION_READ, b"data", 0x21, 5),
        message(5, vu.REGION_READ, bytes(20), 3),
        message(5, vu.GET_INFO, bytes(20), 0),
    ],
)
def test_vfio_fuzz_judge_notices_a_wrong_answer(reply: bytes) -> None:
    sent = [Sent(5, vu.REGION_READ, b"", count=4), Sent(6, vu.REGION_WRITE, b"", quiet=True)]
    hold_against(sent, message(9, vu.DMA_READ, bytes(16)) + message(5, vu.REGION_READ, bytes(20), 1), Tally())
    hold_against(sent, message(5, vu.REGION_READ, b"", 0x21, 22), Tally())
    with pytest.raises((AssertionError, struct.error)):
        hold_against(sent, reply, Tally())


def test_vfio_fuzz_notices_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target()
    try:
        target.check()
        target.models[0].gpu.vram.write(64, SECRET)
        steal = message(2, vu.REGION_WRITE, struct.pack("<QIIH", 4, vu.CONFIG, 2, 6))
        steal += message(3, vu.REGION_READ, struct.pack("<QII", 0, 0, 256))
        with pytest.raises(AssertionError, match="was told"):
            exchange(target, [(GREETING + steal, ())])
        target.check()
        os.pwrite(target.memory, b"x", 100)
        with pytest.raises(AssertionError, match="memory changed"):
            target.check()
        os.pwrite(target.memory, SECRET, 100)
        monkeypatch.setattr(fuzz_vfio_user, "PATIENCE_S", 0.3)
        monkeypatch.setattr(GuestMemory, "clear", lambda self: None)
        kept = message(2, vu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0x1000, PAGE))
        exchange(target, [(GREETING, ()), (kept, [target.fds["memory"]])])
        with pytest.raises(AssertionError, match="outlived"):
            target.check()
        monkeypatch.undo()
        target.server.devices[0].memory.clear()
        monkeypatch.setattr(VfioUserServer, "clients", 1)
        target.server.note_defect("here", ValueError("made up"))
        with pytest.raises(AssertionError, match="made up"):
            target.check()
    finally:
        target.close()
