"""pcibus/remote.py: the Transport of a served GPU, of a server that knows tinygrad's commands only, and of none at all."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gpumend
from base.clock import RealClock
from base.errors import GpumendError, Refused, Unavailable, UsageError
from gpumodel import open_models
from gpumodel.device import ModelTransport
from gpumodel.remote_pci import Limits, RemoteServer
from pcibus import remote
from pcibus.remote import RemoteTransport, open_remote
from pcibus.remote_protocol import Command
from pcibus.transport import Can, DmaBuffer, LockHolder, Transport


@pytest.fixture
def models() -> list[ModelTransport]:
    return open_models("mi350x*3?fault=bus-lost@2", RealClock())


@pytest.fixture
def server(models: list[ModelTransport]) -> Iterator[RemoteServer]:
    with RemoteServer(models, limits=Limits(dma_bytes=8 << 20)) as running:
        yield running
    assert running.defects == []


@pytest.fixture
def gpus(server: RemoteServer) -> Iterator[list[RemoteTransport]]:
    opened = open_remote(server.address)
    yield opened
    for one in opened:
        one.close()


def one_of(server: RemoteServer, index: int = 0) -> RemoteTransport:
    return open_remote(f"{server.address}#{index}")[0]


def test_remote_tells_what_the_device_itself_tells(gpus: list[RemoteTransport], models: list[ModelTransport]) -> None:
    assert len(gpus) == len(models)
    for far, near in zip(gpus, models, strict=True):
        assert isinstance(far, Transport)
        assert far.info() == near.info()
        assert dict(far.bars()) == dict(near.bars())
        assert far.config_size() == near.config_size()
        assert far.can == near.can
        assert [far.config_read(at, 4) for at in range(0, 0x180, 4)] == [
            near.config_read(at, 4) for at in range(0, 0x180, 4)
        ]


def test_remote_name_reaches_the_same_gpu_again(server: RemoteServer, gpus: list[RemoteTransport]) -> None:
    assert gpus[1].name == f"{server.address}#1"
    (again,) = open_remote(gpus[1].name)
    assert again.info().bdf == gpus[1].info().bdf


def test_remote_never_claims_to_be_on_this_machine(models: list[ModelTransport]) -> None:
    models[0].can = models[0].can | Can.HOST
    with RemoteServer(models) as server:
        assert Can.HOST not in one_of(server).can


def test_remote_info_follows_the_device(gpus: list[RemoteTransport], models: list[ModelTransport]) -> None:
    assert gpus[0].info().enabled
    models[0].config_write(4, 2, 0)
    assert gpus[0].info().enabled is False


def test_remote_reads_and_writes_every_width(gpus: list[RemoteTransport], models: list[ModelTransport]) -> None:
    far, near = gpus[0], models[0]
    far.write32(0, 0x100, 0x1_89ABCDEF)
    far.write64(0, 0x108, 0x1122334455667788)
    far.write_block(0, 0x110, b"12345678abcd")
    assert far.read32(0, 0x100) == 0x89ABCDEF
    assert near.read_block(0, 0x100, 0x1C) == far.read_block(0, 0x100, 0x1C)
    assert far.read64(0, 0x108) == 0x1122334455667788
    assert far.read_block(0, 0x200, 0) == b""
    big = os.urandom(3 << 20)
    far.write_block(0, 0x1004, big)
    assert far.read_block(0, 0x1004, len(big)) == big
    far.config_write(0x3C, 1, 0x5A)
    assert far.config_read(0x3C, 1) == near.config_read(0x3C, 1)


def test_remote_dma_memory_is_read_written_and_given_back(
    gpus: list[RemoteTransport], models: list[ModelTransport], server: RemoteServer
) -> None:
    buffer: DmaBuffer = gpus[0].alloc_dma(3 << 20)
    assert len(buffer.bus_addr) == (3 << 20) // buffer.page_size
    data = os.urandom(2 << 20)
    buffer.write(5, data)
    assert buffer.read(5, len(data)) == data
    memory = models[0].gpu.hive.host_memory
    assert memory.read(buffer.bus_addr[1], 100) == data[4091:4191]
    buffer.close()
    buffer.close()
    assert server.dma_bytes == 0
    with pytest.raises(ValueError, match="given back"):
        buffer.read(0, 4)


WRONG: list[tuple[Callable[[RemoteTransport], object], type[Exception], str]] = [
    (lambda gpu: gpu.read32(1, 0), Unavailable, "BAR 0, 2, 5"),
    (lambda gpu: gpu.read32(5, 2 << 20), Unavailable, "0x200000 bytes"),
    (lambda gpu: gpu.read32(5, -4), Unavailable, "within its"),
    (lambda gpu: gpu.write64(5, (2 << 20) - 4, 0), Unavailable, "within its"),
    (lambda gpu: gpu.read32(5, 2), ValueError, "multiples of 4"),
    (lambda gpu: gpu.write_block(0, 0, b"abc"), ValueError, "multiples of 4"),
    (lambda gpu: gpu.config_read(4096, 4), ValueError, "below 4096"),
    (lambda gpu: gpu.config_read(1, 2), ValueError, "aligned"),
    (lambda gpu: gpu.config_write(0, 3, 0), ValueError, "1, 2 or 4"),
    (lambda gpu: gpu.alloc_dma(0), ValueError, "DMA buffer of 0 bytes"),
    (lambda gpu: gpu.alloc_dma(16 << 20), Refused, "left for all clients"),
    (lambda gpu: gpu.alloc_dma(4096).read(4090, 7), ValueError, "outside of its 0x1000 bytes"),
    (lambda gpu: gpu.alloc_dma(4096).write(-1, b"a"), ValueError, "outside of its 0x1000 bytes"),
]


@pytest.mark.parametrize(("work", "kind", "text"), WRONG, ids=[f"{n}-{item[2]}" for n, item in enumerate(WRONG)])
def test_remote_wrong_access_is_a_typed_error_and_the_connection_goes_on(
    gpus: list[RemoteTransport], work: Callable[[RemoteTransport], object], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        work(gpus[0])
    assert gpus[0].config_read(0, 4) == 0x75A01002


# --- the lock


def test_remote_lock_second_holder_is_refused_with_the_first_named(server: RemoteServer) -> None:
    first, second = one_of(server), one_of(server)
    with first.exclusive(), first.exclusive():
        holder = second.holder()
        assert holder is not None and (holder.pid, holder.path) == (os.getpid(), server.address)
        assert first.holder() is None
        with pytest.raises(Refused, match=rf"held by .* \(pid {os.getpid()}, from 127\.0\.0\.1:"), second.exclusive():
            pytest.fail("both have it")
    with second.exclusive():
        assert first.holder() is not None
    assert first.holder() is None


def test_remote_lock_goes_with_the_connection(server: RemoteServer) -> None:
    first, second = one_of(server), one_of(server)
    with pytest.raises(Unavailable, match="closed here"), first.exclusive():
        first.close()
    _until(lambda: second.holder() is None)
    with second.exclusive():
        pass


def test_remote_lock_error_inside_is_what_is_raised(server: RemoteServer) -> None:
    gpu = one_of(server)
    with pytest.raises(KeyError), gpu.exclusive():
        gpu.close()
        raise KeyError


def test_remote_lock_of_the_model_itself_is_told(models: list[ModelTransport], gpus: list[RemoteTransport]) -> None:
    models[0].gpu.held_by = LockHolder("/tmp/am.lock", 4711, "python3")
    assert gpus[0].holder() == models[0].gpu.held_by
    with pytest.raises(Refused, match="4711"), gpus[0].exclusive():
        pytest.fail("taken")


def test_remote_threads_of_one_transport_take_turns(gpus: list[RemoteTransport]) -> None:
    counts = []

    def work() -> None:
        for _ in range(20):
            with gpus[0].exclusive():
                value = gpus[0].read32(0, 0x40)
                gpus[0].write32(0, 0x40, value + 1)
        counts.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert (len(counts), gpus[0].read32(0, 0x40)) == (4, 80)


# --- nobody there, somebody else there, gone


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.002)
    assert condition()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_remote_nobody_listens_is_unavailable_and_says_how_to_start() -> None:
    with pytest.raises(Unavailable, match="Connection refused") as told:
        open_remote(f"remote:127.0.0.1:{_free_port()}")
    assert "gpumend model serve" in told.value.next_step
    with pytest.raises(Unavailable):
        open_remote("remote:no.such.host.invalid:1")


@pytest.mark.parametrize(
    "address", ["remote:", "remote:1", "remote:h:99999", "remote:h:1#x", "remote:h:1#-1", "remote:h:1#"]
)
def test_remote_bad_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(UsageError, match="reading the address"):
        open_remote(address)


def test_remote_index_that_is_not_there_names_the_ones_that_are(server: RemoteServer) -> None:
    with pytest.raises(Unavailable, match="0, 1, 2"):
        open_remote(f"{server.address}#3")


def test_remote_server_that_went_is_unavailable_at_once_and_stays_so(models: list[ModelTransport]) -> None:
    with RemoteServer(models) as server:
        gpu, unused = one_of(server), one_of(server, 1)
        buffer = gpu.alloc_dma(4096)
    for work in (lambda: gpu.read32(5, 0), lambda: buffer.read(0, 4), lambda: gpu.config_read(0, 4), gpu.holder):
        with pytest.raises(Unavailable, match="is it still running"):
            work()
    with pytest.raises(Unavailable, match="Connection refused"):
        unused.read32(5, 0)
    told = gpu.info()
    assert (told.bdf, told.power_state, told.driver) == ("0000:05:00.0", None, None)
    with RemoteServer(models, port=server.port) as _, pytest.raises(Unavailable):
        gpu.read32(5, 0)  # lock and memory are gone: a new server behind the same port does not bring them back


def test_remote_other_server_behind_the_same_port_is_noticed(models: list[ModelTransport]) -> None:
    with RemoteServer(models) as server:
        gpu = one_of(server)
    with RemoteServer(models, port=server.port), pytest.raises(Unavailable, match="another server took its place"):
        gpu.read32(5, 0)


def test_remote_posted_write_that_was_wrong_is_told_by_the_next_answer(server: RemoteServer) -> None:
    gpu = one_of(server)
    gpu._link.post(Command.MMIO_WRITE, 0, 5, (2 << 20, 4), b"abcd")
    with pytest.raises(GpumendError, match="accessing BAR5"):
        gpu.read32(5, 0)
    with pytest.raises(Unavailable, match="is it still running"):
        gpu.read32(5, 0)


def test_remote_forked_child_does_not_talk_on_the_parents_connection(server: RemoteServer) -> None:
    from base.child import run_in_child

    gpu = one_of(server)
    gpu.read32(5, 0)
    outcome = run_in_child(lambda: gpu.read32(5, 0), 5.0)
    assert isinstance(outcome.error, Unavailable)
    assert "forked from" in outcome.error.seen
    assert gpu.config_read(0, 4) == 0x75A01002


@contextmanager
def service(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that listens and talks as told, to one client after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    try:
                        talk(sock)
                    except OSError:
                        pass

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"remote:127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def _saying(data: bytes) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(data)

    return talk


def _hello(body: bytes) -> bytes:
    return struct.pack("<BQQ", 0, len(body), 1) + body


ROW = b'{"info":{"bdf":"0000:05:00.0","vendor":4098,"device":30112},"bars":[],"config_size":4096,"can":0}'
STRANGERS = [
    (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "a message of"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a message of"),
    (struct.pack("<BQQ", 0, 5, 9), "version 9"),
    (struct.pack("<BQQ", 0, 1 << 60, 1), "bytes of text"),
    (_hello(b"not json"), "JSONDecodeError"),
    (_hello(b"[" * 100000), "RecursionError"),
    (_hello(b"[1]"), "TypeError"),
    (_hello(b'{"session": "a", "devices": []}'), "devices"),
    (_hello(b'{"session": 5, "devices": [' + ROW + b"]}"), "session"),
    (_hello(b'{"session": "a", "devices": [' + ROW.replace(b"0000:05:00.0", b"\\u001b[2J") + b"]}"), "bdf"),
    (_hello(b'{"session": "a", "devices": [' + ROW.replace(b"4098", b"-1") + b"]}"), "-1"),
    (_hello(b'{"session": "a", "devices": [' + ROW.replace(b"[]", b"7") + b"]}"), "TypeError"),
    (struct.pack("<BQQ", 1, 4, 3) + b"full", "full"),
]


@pytest.mark.parametrize(("data", "seen"), STRANGERS, ids=[str(n) for n in range(len(STRANGERS))])
def test_remote_other_service_is_told_from_ours(data: bytes, seen: str) -> None:
    with service(_saying(data)) as address, pytest.raises(GpumendError) as told:
        open_remote(address)
    assert seen in str(told.value)
    assert told.value.exit_code in (3, 69)


def test_remote_silent_service_is_left_after_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def listen_only(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    monkeypatch.setattr(remote, "ANSWER_TIMEOUT_S", 0.1)
    with service(listen_only) as address, pytest.raises(Unavailable, match=r"no answer within 0\.1 s"):
        open_remote(address)


# --- a server that knows tinygrad's commands only


class Stock:
    """The commands that the protocol's description names, on a model, for one client at a time."""

    def __init__(self, models: list[ModelTransport], *, closes: bool) -> None:
        self.models, self.closes = models, closes

    def __call__(self, sock: socket.socket) -> None:
        stream = sock.makefile("rb")
        memories: list[DmaBuffer] = []
        with stream:
            while head := stream.read(33):
                command, device, bar, *args = struct.unpack("<BIIQQQ", head)
                if command > 12 and self.closes:
                    return
                try:
                    answer = self.obey(stream.read, memories, command, self.models[device], bar, args)
                except (KeyError, ValueError, GpumendError) as error:
                    text = str(error).encode()
                    answer = struct.pack("<BQQ", 1, len(text), 0) + text
                sock.sendall(answer)

    def obey(
        self,
        read: Callable[[int], bytes],
        memories: list[DmaBuffer],
        command: int,
        gpu: ModelTransport,
        bar: int,
        args: list[int],
    ) -> bytes:
        def ok(first: int = 0, second: int = 0, data: bytes = b"") -> bytes:
            return struct.pack("<BQQ", 0, first, second) + data

        if command == 0:
            read(args[1])
            names = "\n".join(f"{model.info().bdf}:{n}" for n, model in enumerate(self.models)).encode()
            return ok(len(names), 0, names) if args[2] == 0x1002 else ok()
        if command == 1:
            return ok(gpu.bars()[bar].address, gpu.bars()[bar].size)
        if command == 3:
            return ok(gpu.config_read(args[0], args[1]))
        if command == 6:
            return ok(args[1], 0, gpu.read_block(bar, args[0], args[1]))
        if command == 7:
            gpu.write_block(bar, args[0], read(args[1]))
            return b""
        if command == 8:
            memories.append(gpu.alloc_dma(args[0]))
            pages = b"".join(struct.pack("<Q", page) for page in memories[-1].bus_addr)
            return ok(len(pages), len(memories) - 1, pages)
        if command == 9:
            return ok(args[1], 0, memories[bar].read(args[0], args[1]))
        if command == 10:
            memories[bar].write(args[0], read(args[1]))
            return b""
        if command == 0xE0:
            read(args[1])
        raise ValueError(f"unknown command {command}")


@pytest.mark.parametrize("closes", [False, True])
def test_remote_stock_server_is_listed_and_read(
    closes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[ModelTransport]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with service(Stock(models[:2], closes=closes)) as address:
        first, second = open_remote(address, vendors=(0x1002,))
        info = second.info()
        assert (info.bdf, info.vendor, info.device, info.class_code) == ("0000:15:00.0", 0x1002, 0x75A0, 0x120000)
        assert (info.driver, first.config_size()) == (None, 4096)
        assert {n: (bar.address, bar.size) for n, bar in first.bars().items()} == {
            n: (bar.address, bar.size) for n, bar in models[0].bars().items()
        }
        first.write32(0, 8, 77)
        assert first.read32(0, 8) == 77
        buffer = first.alloc_dma(8192)
        buffer.write(4090, b"across a page")
        assert buffer.read(4090, 13) == b"across a page"
        buffer.close()
        with first.exclusive():  # the file that tinygrad's own client takes
            (lock,) = tmp_path.iterdir()
            assert lock.name == f"am_{address}:0000:05:00.0:0.lock"
        assert first.holder() is None
        first.close()


def test_remote_stock_server_probes_as_the_model_itself(models: list[ModelTransport]) -> None:
    near = gpumend.probe(["model:mi350x"])[0]
    with service(Stock(open_models("mi350x", RealClock()), closes=False)) as address:
        found = gpumend.list_gpus([address])
        (far,) = gpumend.probe_gpus(found)
        found[0].transport.close()
    assert (far.health, [finding.code for finding in far.findings]) == (
        near.health,
        [finding.code for finding in near.findings],
    )
