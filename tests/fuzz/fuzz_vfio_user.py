"""Message streams against models behind vfio-user: random ones, and ones that know the protocol, with descriptors.

    python -m tests.fuzz.fuzz_vfio_user --count 200000 --seed 1
    python -m tests.fuzz.fuzz_vfio_user --seconds 20

What is held against the server, for every stream: it ends in time; a well-formed stream gets one answer for each request
that wants one, in order, of the size that the protocol's description promises; the memory, interrupts and registers of
the client of another GPU are neither told nor changed; what the stream brought along (maps, descriptors) is gone when its
connection ends; nothing was raised that a client must not be able to cause."""

from __future__ import annotations

import argparse
import array
import fcntl
import os
import random
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from base.clock import RealClock
from gpumodel import open_models, vfio_user
from gpumodel.vfio_user import VfioUserServer
from tests.fuzz import vfio_client as vu
from tests.fuzz.vfio_client import Client, message

SECRET = bytes(random.Random(78).randbytes(64))
PER_TARGET = 2000  # then a fresh model: bytes that were written to VRAM take real memory
CHECK_EVERY = 25
MAX_REPLY_BYTES = 16 << 20
PATIENCE_S = 10.0
PAGE = 4096
COMMANDS = (1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9, 9, 9, 10, 10, 10, 11, 12, 13, 14, 15)
EDGES = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    0x10,
    0x24,
    0x6C,
    0x6D,
    0xA2,
    0xC2,
    0xFFF,
    PAGE,
    PAGE + 1,
    2 * PAGE,
    0x10000,
    0x1FFFFC,
    1 << 20,
)
HUGE = (
    (1 << 31) - 1,
    1 << 32,
    288 << 30,
    (512 << 30) - 4,
    1 << 40,
    1 << 63,
    (1 << 64) - PAGE,
    (1 << 64) - 4,
    (1 << 64) - 1,
)
KINDS = ("memory", "loose", "eventfd", "pipe", "folder")
# bytes of an answer that is no refusal, where that is always the same
SIZES = {2: 0, 3: 24, 4: 16, 7: 16, 8: 0, 10: 16, 13: 0, 15: 8}


@dataclass(frozen=True, slots=True)
class Sent:
    """One well-formed message."""

    number: int
    command: int
    data: bytes
    fds: tuple[int, ...] = ()
    quiet: bool = False  # wants no answer
    count: int = 0  # bytes that a read asks for


@dataclass
class Tally:
    """What a run came to."""

    cases: int = 0
    sound: int = 0
    answers: int = 0
    refusals: int = 0


class Target:
    """Two served models; a well-behaved client of the second keeps memory, an interrupt and a register."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gpumend-fuzz-"))
        self.models = open_models("mi350x*2", RealClock())
        self.server = VfioUserServer(self.models, self.folder).open()
        self.scratch = self.models[0].gpu.registers.layout.address("GC[0].SCRATCH_REG0") * 4
        self.guard = Client(self.folder / "gpu1.sock", PATIENCE_S)
        self.guard.greet()
        self.guard.enumerate(1 << 42, 1 << 43, 0xB000_0000)
        self.memory = _memory(4 * PAGE, True)
        self.irq = os.eventfd(0, os.EFD_NONBLOCK)
        self.guard.map(0x10000, 4 * PAGE, self.memory)
        self.guard.irqs(2, 0, 1, 4 | 32, [self.irq])
        os.pwrite(self.memory, SECRET, 100)
        self.guard.write32(self.scratch, 0x12345678)
        self.fds = {kind: _descriptor(kind, self.folder) for kind in KINDS}
        self.open_before = self._open()

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        sock.connect(str(self.folder / "gpu0.sock"))
        return sock

    def check(self) -> None:
        """AssertionError if the server, the guard's things or the model suffered."""
        end = time.monotonic() + PATIENCE_S
        # a trace that is being written is a descriptor, too
        while (self.server.clients > 1 or self._open() > self.open_before) and time.monotonic() < end:
            time.sleep(0.0005)
        assert self.server.clients == 1, "a client that ended is still there"
        first = self.server.devices[0]
        assert (len(first.memory), first.memory.files) == (0, 0), "maps outlived their client"
        now_open = self._open()
        assert now_open <= self.open_before, "descriptors leak"
        self.open_before = now_open  # fewer: something else in this process has closed its own in the meantime
        assert os.pread(self.memory, len(SECRET), 100) == SECRET, "the guard's memory changed"
        assert self.guard.read32(self.scratch) == 0x12345678, "the guard's register changed"
        assert vu.count_of(self.irq) == 0, "somebody else's interrupt"
        assert self.guard.served == []
        assert self.server.defects == [], self.server.defects

    @staticmethod
    def _open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def close(self) -> None:
        self.guard.close()
        self.server.close()
        for model in self.models:
            model.close()
        for fd in (self.memory, self.irq, *self.fds.values()):
            os.close(fd)
        shutil.rmtree(self.folder, ignore_errors=True)


def _memory(size: int, sealed: bool) -> int:
    fd = os.memfd_create("guest", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


def _descriptor(kind: str, folder: Path) -> int:
    if kind == "eventfd":
        return os.eventfd(0, os.EFD_NONBLOCK)
    if kind == "pipe":
        read, write = os.pipe()
        os.close(write)
        return read
    if kind == "folder":
        return os.open(folder, os.O_RDONLY)
    return _memory(8 * PAGE, kind == "memory")


# ---- streams


def number(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(EDGES)
    return rng.randrange(1 << 21) if kind < 0.8 else rng.choice(HUGE)


def _word(rng: random.Random) -> int:
    return number(rng) & 0xFFFFFFFF


def _body(rng: random.Random, command: int) -> tuple[bytes, int]:
    """What a command of this kind brings, of the right shape whatever else is wrong with it; and what a read asks for."""
    region = rng.choice((0, 0, 2, 5, 5, 5, 7, 7, 1, 8, 9, 0xFFFFFFFF))
    size = rng.choice((1, 2, 4, 4, 4, 8, 8, 3, 64, 4096, 4097, 0, _word(rng)))
    if command == vu.VERSION:
        return struct.pack("<HH", rng.choice((0, 0, 1)), 0) + rng.choice((vu.GREETING, b"", b"{}\0", b"[\0")), 0
    if command == vu.REGION_READ:
        return struct.pack("<QII", number(rng), region, size), size
    if command == vu.REGION_WRITE:
        data = rng.randbytes(size if size <= 5000 else 4)
        claimed = len(data) if rng.random() < 0.9 else _word(rng)
        return struct.pack("<QII", number(rng), region, claimed) + data, 0
    if command == vu.WRITE_MULTI:
        count = rng.choice((0, 1, 2, 5))
        entries = [
            struct.pack("<QII8s", number(rng), region, rng.choice((1, 4, 8, 9)), rng.randbytes(8)) for _ in range(count)
        ]
        return struct.pack("<Q", count if rng.random() < 0.9 else number(rng)) + b"".join(entries), 0
    if command == vu.DMA_MAP:
        address, length = rng.choice((0, 0x10000, 0x20000, number(rng))), rng.choice((PAGE, 2 * PAGE, number(rng)))
        return struct.pack(
            "<IIQQQ", 32, rng.choice((0, 1, 3, 3, 7)), rng.choice((0, PAGE, number(rng))), address, length
        ), 0
    if command == vu.DMA_UNMAP:
        return struct.pack("<IIQQ", 24, rng.choice((0, 0, 2, 1)), rng.choice((0, 0x10000)), number(rng)), 0
    if command == vu.SET_IRQS:
        flags = rng.choice((36, 36, 33, 34, 9, 17, 20, _word(rng)))
        head = struct.pack(
            "<IIIII",
            20,
            flags,
            rng.choice((0, 1, 2, 2, 3, 9)),
            rng.choice((0, 1, _word(rng))),
            rng.choice((0, 1, 4, _word(rng))),
        )
        return head + rng.randbytes(rng.choice((0, 4))), 0
    if command == vu.GET_REGION_INFO:
        return struct.pack("<IIIIQQ", rng.choice((32, 64, 4096, _word(rng))), 0, rng.randrange(11), 0, 0, 0), 0
    return struct.pack("<IIII", 16, 0, rng.randrange(7), 0), 0


def sound_stream(rng: random.Random, target: Target) -> list[Sent]:
    """Some messages in a row; mostly a greeting and memory decoding come first, so that the inner paths are met."""
    commands = [rng.choice(COMMANDS) for _ in range(rng.randrange(1, 12))]
    sent: list[Sent] = []
    if rng.random() < 0.9:
        sent.append(Sent(1, vu.VERSION, message(1, vu.VERSION, bytes(4) + vu.GREETING)))
        command_on = struct.pack("<QIIH", 4, vu.CONFIG, 2, 6)
        sent.append(Sent(2, vu.REGION_WRITE, message(2, vu.REGION_WRITE, command_on)))
    for place, command in enumerate(commands, len(sent) + 1):
        body, count = _body(rng, command)
        quiet = rng.random() < 0.1
        names = rng.choices(KINDS, (5, 3, 5, 1, 1), k=rng.choice((0, 0, 1, 1, 4))) if command in (2, 8) else []
        if rng.random() < 0.02:
            names = [rng.choice(KINDS)] * rng.randrange(1, 16)
        data = message(place, command, body, 0x10 if quiet else 0)
        sent.append(Sent(place, command, data, tuple(target.fds[name] for name in names), quiet, count))
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


def exchange(target: Target, parts: Sequence[tuple[bytes, Sequence[int]]]) -> bytes:
    """Send all parts, say that nothing more comes, and take what comes back until the end."""
    reply = bytearray()
    with target.connect() as sock:
        with suppress(BrokenPipeError, ConnectionError):  # it hung up before the end of the stream
            for data, fds in parts:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
                sent = sock.sendmsg([data], rights) if data else 0
                sock.sendall(data[sent:])
            sock.shutdown(socket.SHUT_WR)
        while True:
            try:
                chunk, rights_back, _, _ = sock.recvmsg(1 << 16, socket.CMSG_SPACE(64))
            except ConnectionError:
                break
            for _, _, raw in rights_back:
                fds_back = array.array("i")
                fds_back.frombytes(raw)
                for fd in fds_back:
                    os.close(fd)
            if not chunk:
                break
            reply += chunk
            assert len(reply) <= MAX_REPLY_BYTES, "answers are bounded"
    assert SECRET[:16] not in reply, "another client's memory was told"
    return bytes(reply)


def hold_against(sent: Sequence[Sent], data: bytes, tally: Tally) -> None:
    """Each message that is not quiet has its answer, in order; what the device asks in between is passed over."""
    at = 0
    waiting = [one for one in sent if not one.quiet]
    while at < len(data):
        got, command, size, flags, error = struct.unpack_from("<HHIII", data, at)
        body = data[at + 16 : at + size]
        assert len(body) == size - 16, "the end of an answer is missing"
        at += size
        if not flags & 0xF:
            assert command in (vu.DMA_READ, vu.DMA_WRITE), f"the device asks {command}"
            continue
        assert waiting, "more answers than requests"
        one = waiting.pop(0)
        assert (got, command) == (one.number, one.command), f"answer {got} to {one.number}"
        if flags & 0x20:
            assert not body and 0 < error < 200, "a refusal is a number"
            tally.refusals += 1
            continue
        tally.answers += 1
        expected = 16 + one.count if command == vu.REGION_READ else SIZES.get(command, len(body))
        assert flags == 1 and not error and len(body) == expected, f"{len(body)} bytes for command {command}"
    assert not waiting, f"no answer to command {waiting[0].command}"


def run(*, count: int | None, seconds: float | None, seed: int) -> Tally:
    """Until `count` cases or `seconds` are over; each case repeats from `seed` and its number."""
    tally = Tally()
    end = time.monotonic() + seconds if seconds is not None else None
    number_of_case = 0
    target: Target | None = None
    wait_s, vfio_user.DMA_WAIT_S = vfio_user.DMA_WAIT_S, 0.02  # nobody answers the device here
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
        vfio_user.DMA_WAIT_S = wait_s
        if target is not None:
            target.close()
    return tally


def _case(target: Target, number_of_case: int, seed: int, tally: Tally) -> None:
    rng = random.Random(seed * 1_000_003 + number_of_case)
    sent = sound_stream(rng, target)
    kind = rng.random()
    parts: list[tuple[bytes, Sequence[int]]] = [(one.data, one.fds) for one in sent]
    if kind > 0.9:
        parts = [(rng.randbytes(rng.randrange(1, 200)), ())]
    elif kind > 0.55:
        fds = [fd for one in sent for fd in one.fds][: rng.choice((0, 1, 16, 20))]
        parts = [(damaged(rng, bytearray(b"".join(one.data for one in sent))), fds)]
    try:
        reply = exchange(target, parts)
        if kind <= 0.55:
            tally.sound += 1
            hold_against(sent, reply, tally)
        if number_of_case % CHECK_EVERY == 0:
            target.check()
    except (AssertionError, TimeoutError, vu.Told, vu.Closed):
        told = b"|".join(data for data, _ in parts)
        print(f"case {number_of_case} of seed {seed}: {told.hex()[:4000]}", file=sys.stderr)
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
        f"vfio-user: {tally.cases} streams (seed {told.seed}), {tally.sound} of them well-formed: no crash, no hang; "
        f"{tally.answers} answers, {tally.refusals} refusals; {time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
