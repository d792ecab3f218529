"""Byte streams against a served model: random ones, and ones that know the protocol. It may not crash, hang or tell secrets.

    python -m tests.fuzz.fuzz_remote --count 200000 --seed 1
    python -m tests.fuzz.fuzz_remote --seconds 20

What is held against the server, for every stream: it ends in time; a well-formed stream gets exactly the answers that the
protocol's description promises, in order; another client's memory is neither told nor changed and its lock stays; what
the stream's connection had is given back; nothing was raised that a client must not be able to cause."""

from __future__ import annotations

import argparse
import random
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from base.clock import RealClock
from gpumodel import open_models
from gpumodel.remote_pci import Limits, RemoteServer
from tests.fuzz import remote_wire as wire
from tests.fuzz.remote_wire import Wire, WireRefused

LIMITS = Limits(connections=8, buffers=6, dma_bytes=1 << 20, transfer_bytes=1 << 18, linger_s=1.0)
SECRET = bytes(random.Random(77).randbytes(64))
PER_TARGET = 2000  # then a fresh model: bytes that were written to VRAM take real memory
CHECK_EVERY = 25
MAX_REPLY_BYTES = 16 << 20
PATIENCE_S = 10.0
EDGES = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    0x3C,
    0xFF,
    0x100,
    0xFFC,
    0xFFF,
    0x1000,
    0x1001,
    0xFFFF,
    0x1FFFFC,
    0x200000,
    1 << 18,
    1 << 20,
)
HUGE = ((1 << 31) - 1, 1 << 32, 288 << 30, (512 << 30) - 4, 1 << 40, 1 << 63, (1 << 64) - 4, (1 << 64) - 1)
COMMANDS = (*range(13), *range(0xE0, 0xE6))


@dataclass(frozen=True, slots=True)
class Sent:
    """One well-formed request."""

    command: int
    data: bytes
    size: int = 0  # of the data that an answer brings, if it is not a refusal; -1: the first number tells
    last: bool = False  # a refusal of it ends the connection


@dataclass
class Tally:
    """What a run came to."""

    cases: int = 0
    sound: int = 0
    answers: int = 0
    refusals: int = 0
    hang_ups: int = 0


class Target:
    """A served model, and a well-behaved client that holds memory and the lock of device 1 while others misbehave."""

    def __init__(self) -> None:
        self.models = open_models("mi350x*2", RealClock())
        self.server = RemoteServer(self.models, limits=LIMITS).open()
        self.guard = Wire(self.server.port, PATIENCE_S)
        self.guard.hello(4242, b"guard")
        self.guard.ask(wire.LOCK, 1)
        self.handle, _ = self.guard.map_sysmem(1, 4096)
        self.guard.write(1, self.handle, 100, SECRET, wire.SYSMEM_WRITE)
        self.guard.ask(wire.PING)

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE_S)
        self.server.take(theirs, "fuzz:0")
        return ours

    def check(self) -> None:
        """AssertionError if the server, the guard's things or the model suffered."""
        end = time.monotonic() + PATIENCE_S
        while self.server.connections > 1 and time.monotonic() < end:
            time.sleep(0.0005)
        assert self.server.connections == 1, "a connection that ended is still there"
        assert self.server.dma_bytes == 4096, "memory was not given back"
        assert self.guard.read(1, self.handle, 100, len(SECRET), wire.SYSMEM_READ) == SECRET, (
            "the guard's memory changed"
        )
        assert self.guard.ask(wire.HOLDER, 1) == (0, 0), "the guard lost its lock"
        assert self.guard.ask(wire.HOLDER, 0) == (0, 0), "a dead client still has a lock"
        assert self.server.defects == [], self.server.defects

    def close(self) -> None:
        self.guard.sock.close()
        self.server.close()
        for model in self.models:
            model.close()


# ---- streams


def number(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(EDGES)
    return rng.randrange(1 << 20) if kind < 0.8 else rng.choice(HUGE)


def sound_request(rng: random.Random) -> Sent:
    """A request whose payload has the length that it says, whatever else is wrong with it."""
    command = rng.choice(COMMANDS) if rng.random() < 0.97 else rng.choice((13, 71, 0xDF, 0xE6, 0xFF))
    device = rng.choice((0, 0, 0, 1, 1, 2, 0xFFFFFFFF))
    bar = rng.choice((0, 0, 2, 5, 5, 1, 2, 3, 4, 5, 6, 7, 0xFFFFFFFF))
    args = [number(rng), number(rng), number(rng)]
    payload, size, last = b"", 0, False
    if command in wire.POSTED:
        payload = rng.randbytes(rng.choice((0, 1, 3, 4, 4, 4, 8, 8, 12, 64, 4096, 5000)))
        args[1], last = len(payload), True
    elif command in (wire.MMIO_READ, wire.SYSMEM_READ):
        size = args[1] = rng.choice((0, 1, 3, 4, 4, 4, 8, 8, 12, 4096, 5000, number(rng)))
    elif command == wire.PROBE:
        payload = struct.pack(
            "<II", rng.choice((0, 0xFFFFFFFF, 0xFFF0)), rng.choice((0, 0x75A0, 0x74A1))
        ) * rng.randrange(4)
        args, size = [rng.choice((0, 0x12, 3)), len(payload), rng.choice((0, 0x1002, 0x10DE))], -1
    elif command == wire.HELLO:
        payload = rng.randbytes(rng.choice((0, 4, 256)))
        args[1], args[2], size, last = len(payload), rng.choice((1, 1, 1, 2)), -1, True
    elif command in (wire.CFG_READ, wire.CFG_WRITE):
        args[1] = rng.choice((1, 2, 4, 4, 3, 8, 0))
    elif command in (wire.MAP_SYSMEM, wire.INFO, wire.HOLDER):
        size = -1
    last = last or command not in COMMANDS
    return Sent(command, wire.request(command, device, bar, *args) + payload, size, last)


def sound_stream(rng: random.Random) -> list[Sent]:
    """A few requests in a row; half of the time handles and a greeting come first, so that the inner paths are met."""
    sent = [sound_request(rng) for _ in range(rng.randrange(1, 9))]
    if rng.random() < 0.5:
        name = b"fuzz"
        sent.insert(0, Sent(wire.MAP_SYSMEM, wire.request(wire.MAP_SYSMEM, 0, 0, rng.choice((1, 4096, 70000))), -1))
        sent.insert(0, Sent(wire.HELLO, wire.request(wire.HELLO, 0, 0, 1, len(name), 1) + name, -1, True))
    return sent


def damaged(rng: random.Random, data: bytearray) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(5)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 40))
        elif kind == 3:
            del data[at : at + rng.randrange(1, 40)]
        elif data:
            data[at : at + 8] = struct.pack("<Q", rng.choice(EDGES + HUGE))
    return bytes(data)


# ---- judging


def exchange(target: Target, data: bytes, rng: random.Random) -> bytes:
    """Send it all, in one or several parts, say that nothing more comes, and take what comes back until the end."""
    with target.connect() as sock:
        reply = bytearray()
        cut = rng.randrange(len(data) + 1) if data else 0
        try:
            for part in (data[:cut], data[cut:]):
                sock.sendall(part)
            sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionError):  # it hung up before the end of the stream
            pass
        while True:
            try:
                chunk = sock.recv(1 << 16)
            except ConnectionError:
                break
            if not chunk:
                break
            reply += chunk
            assert len(reply) <= MAX_REPLY_BYTES, "answers are bounded"
    assert SECRET[:16] not in reply, "another client's memory was told"
    return bytes(reply)


class _Reply:
    """A cursor in what came back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        assert len(part) == size, f"an answer of {size} bytes ends after {len(part)}"
        self.at += size
        return part

    @property
    def over(self) -> bool:
        return self.at == len(self.data)


def hold_against(sent: Sequence[Sent], data: bytes, tally: Tally) -> None:
    """Each request that is not posted has its answer, in order, until the server hangs up, which a refusal precedes."""
    reply = _Reply(data)
    refused = False
    for one in sent:
        if one.command in wire.POSTED:
            continue
        if reply.over:
            assert refused, f"no answer to command {one.command}"
            tally.hang_ups += 1
            return
        refused = _answer(one, reply, tally)
        if refused and one.last:
            break
    if not reply.over:  # only a posted write at the end can still have been refused
        assert _answer(sent[-1], reply, tally), "more answers than requests"
    assert reply.over, "bytes after the last answer"


def _answer(one: Sent, reply: _Reply, tally: Tally) -> bool:
    """Take one answer; True: it was a refusal."""
    status, first, second = struct.unpack("<BQQ", reply.take(17))
    assert status in (0, 1)
    if status:
        assert 0 < first <= 4096, "a refusal has a reason"
        reply.take(first).decode("utf-8")
        assert second in (1, 3, 64, 69), f"exit code {second}"
        tally.refusals += 1
        return True
    tally.answers += 1
    reply.take(first if one.size < 0 else one.size)
    return False


def run(*, count: int | None, seconds: float | None, seed: int) -> Tally:
    """Until `count` cases or `seconds` are over; each case repeats from `seed` and its number."""
    tally = Tally()
    end = time.monotonic() + seconds if seconds is not None else None
    number_of_case = 0
    target: Target | None = None
    try:
        while (count is None or number_of_case < count) and (end is None or time.monotonic() < end):
            if target is None or number_of_case % PER_TARGET == 0:
                if target is not None:
                    target.close()
                target = Target()
            _case(target, number_of_case, seed, tally)
            number_of_case += 1
        if target is not None:
            target.check()
    finally:
        if target is not None:
            target.close()
    return tally


def _case(target: Target, number_of_case: int, seed: int, tally: Tally) -> None:
    rng = random.Random(seed * 1_000_003 + number_of_case)
    sent = sound_stream(rng)
    data = b"".join(one.data for one in sent)
    kind = rng.random()
    if kind > 0.9:
        data = rng.randbytes(rng.randrange(200))
    elif kind > 0.55:
        data = damaged(rng, bytearray(data))
    try:
        reply = exchange(target, data, rng)
        if kind <= 0.55:
            tally.sound += 1
            hold_against(sent, reply, tally)
        if number_of_case % CHECK_EVERY == 0:
            target.check()
    except (AssertionError, TimeoutError, WireRefused):
        print(f"case {number_of_case} of seed {seed}: {data.hex()[:4000]}", file=sys.stderr)
        raise
    tally.cases += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    count = 200_000 if told.count is None and told.seconds is None else told.count
    start = time.monotonic()
    tally = run(count=count, seconds=told.seconds, seed=told.seed)
    print(
        f"remote: {tally.cases} streams (seed {told.seed}), {tally.sound} of them well-formed: no crash, no hang; "
        f"{tally.answers} answers, {tally.refusals} refusals, {tally.hang_ups} hang-ups; {time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
