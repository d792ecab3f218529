"""A fast portion of tests/fuzz/fuzz_remote.py; `make fuzz` runs the 200,000."""

from __future__ import annotations

import random
import struct

import pytest

from gpumodel.remote_pci import RemoteServer
from tests.fuzz import remote_wire as wire
from tests.fuzz.fuzz_remote import Sent, Tally, Target, exchange, hold_against, run


def test_remote_fuzz_portion_finds_no_crash() -> None:
    tally = run(count=500, seconds=None, seed=30)
    assert tally.cases == 500
    assert tally.answers > 300 and tally.refusals > 100 and tally.hang_ups > 10, "streams reach all sides"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        struct.pack("<BQQ", 0, 4, 0) + b"abc",
        struct.pack("<BQQ", 0, 4, 0) + b"abcd" + b"x",
        struct.pack("<BQQ", 1, 0, 64),
        struct.pack("<BQQ", 1, 1, 70) + b"x",
        struct.pack("<BQQ", 7, 1, 64) + b"x",
    ],
)
def test_remote_fuzz_judge_notices_a_wrong_answer(reply: bytes) -> None:
    sent = [Sent(wire.MMIO_READ, wire.request(wire.MMIO_READ, 0, 0, 0, 4), 4)]
    hold_against(sent, struct.pack("<BQQ", 0, 4, 0) + b"abcd", Tally())
    with pytest.raises((AssertionError, struct.error)):
        hold_against(sent, reply, Tally())


def test_remote_fuzz_notices_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target()
    try:
        target.check()
        steal = wire.request(wire.SYSMEM_READ, 1, target.handle, 100, 64)
        assert exchange(target, steal, random.Random(1))[0] == 1
        owner = target.server._holders[1]
        monkeypatch.setattr(RemoteServer, "_buffer", lambda server, client, request: owner.buffers[request.bar])
        with pytest.raises(AssertionError, match="was told"):
            exchange(target, wire.request(wire.HELLO, 0, 0, 1, 0, 1) + steal, random.Random(1))
    finally:
        target.close()
