"""The served model's wire format, asked by a client written from the protocol's description; what it refuses, and how."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from base.clock import RealClock
from base.errors import Refused, Unavailable, UsageError
from gpumodel import open_models
from gpumodel.device import ModelTransport
from gpumodel.remote_pci import Limits, RemoteServer
from pcibus.remote_protocol import parse_endpoint
from tests.fuzz import remote_wire as wire
from tests.fuzz.remote_wire import Wire, WireClosed, WireRefused, request

QUICK = Limits(linger_s=0.2, connections=4, buffers=3, dma_bytes=1 << 20, transfer_bytes=1 << 24)
HASTY = replace(QUICK, request_s=0.3)
MI350X = (0xFFFFFFFF, 0x75A0)


@pytest.fixture
def models() -> list[ModelTransport]:
    return open_models("mi350x*2", RealClock())


@pytest.fixture
def server(models: list[ModelTransport]) -> Iterator[RemoteServer]:
    with RemoteServer(models, limits=QUICK) as running:
        yield running
    assert running.defects == []
    assert (running.connections, running.dma_bytes) == (0, 0)


@pytest.fixture
def hasty(models: list[ModelTransport]) -> Iterator[RemoteServer]:
    """Waits 0.3 s for a request."""
    with RemoteServer(models, limits=HASTY) as running:
        yield running
    assert (running.defects, running.connections) == ([], 0)


@pytest.fixture
def client(server: RemoteServer) -> Iterator[Wire]:
    with Wire(server.port) as opened:
        yield opened


def until(condition: object) -> None:
    """The server notices a close in its own thread."""
    assert callable(condition)
    end = time.monotonic() + 3
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    assert condition()


# --- what is asked and answered


def test_wire_probe_lists_name_and_index(client: Wire) -> None:
    assert client.probe(0x12, 0x1002, MI350X) == ["0000:05:00.0:0", "0000:15:00.0:1"]
    assert client.probe(0, 0x1002, (0xFFF0, 0x74A0), (0xFFF0, 0x75A0)) == ["0000:05:00.0:0", "0000:15:00.0:1"]


@pytest.mark.parametrize("asked", [(0x03, 0x1002, MI350X), (0x12, 0x10DE, MI350X), (0, 0x1002, (0xFFFF, 0x74A1))])
def test_wire_probe_without_a_match_is_refused_not_empty(client: Wire, asked: tuple[int, int, tuple[int, int]]) -> None:
    with pytest.raises(WireRefused, match="none served"):
        client.probe(*asked)
    assert client.ask(wire.PING) == (0, 0)


def test_wire_map_bar_tells_address_and_size(client: Wire, models: list[ModelTransport]) -> None:
    for index, bar in models[1].bars().items():
        assert client.ask(wire.MAP_BAR, 1, index) == (bar.address, bar.size)
        assert client.ask(wire.RESIZE_BAR, 1, index)[1] == bar.size
    with pytest.raises(WireRefused, match="no such BAR"):
        client.ask(wire.MAP_BAR, 1, 1)


def test_wire_config_space_is_read_and_written(client: Wire) -> None:
    assert client.ask(wire.CFG_READ, 0, 0, 0, 4) == (0x75A01002, 0)
    command, _ = client.ask(wire.CFG_READ, 0, 0, 4, 2)
    client.ask(wire.CFG_WRITE, 0, 0, 4, 2, command & ~2)
    assert client.ask(wire.CFG_READ, 0, 0, 4, 2) == (command & ~2, 0)
    assert client.read(0, 0, 0, 4) == b"\xff" * 4  # memory decoding is off
    assert client.ask(wire.CFG_READ, 1, 0, 4, 2) == (command, 0)


def test_wire_memory_takes_any_bytes_and_devices_are_apart(client: Wire, models: list[ModelTransport]) -> None:
    client.write(0, 0, 0x1001, b"hello world")
    assert client.read(0, 0, 0x0FFF, 15) == b"\0\0hello world\0\0"
    assert client.read(1, 0, 0x1000, 12) == bytes(12)
    assert models[0].read_block(0, 0x1000, 4) == b"\0hel"
    assert client.read(0, 0, 5, 0) == b""


def test_wire_big_block_crosses_pieces(client: Wire) -> None:
    data = struct.pack("<I", 0x12345678) * (600 << 10)
    client.write(0, 0, 0xFFFFC, data)
    assert client.read(0, 0, 0xFFFFC, len(data)) == data


def test_wire_registers_and_doorbells_are_words(client: Wire, models: list[ModelTransport]) -> None:
    client.write(0, 2, 8, struct.pack("<Q", 0x1122334455667788))
    client.ask(wire.PING)  # writes are posted: an answer says that they have arrived
    assert models[0].read64(2, 8) == 0x1122334455667788
    value = models[0].read32(5, 0)
    assert client.read(0, 5, 0, 4) == struct.pack("<I", value)
    assert client.read(0, 5, 0, 12)[:4] == struct.pack("<I", value)
    with pytest.raises(WireRefused, match="whole words"):
        client.read(0, 5, 1, 4)


def test_wire_memory_for_dma_lives_in_the_server(
    client: Wire, models: list[ModelTransport], server: RemoteServer
) -> None:
    handle, pages = client.map_sysmem(0, 5000)
    assert len(pages) == 2 and all(page % 4096 == 0 for page in pages)
    client.write(0, handle, 4990, b"0123456789", wire.SYSMEM_WRITE)
    assert client.read(0, handle, 4990, 10, wire.SYSMEM_READ) == b"0123456789"
    memory = models[0].gpu.hive.host_memory
    assert memory.read(pages[1] + 4990 - 4096, 10) == b"0123456789"  # as the device fetches it
    assert memory.write(pages[0], b"from the device")
    assert client.read(0, handle, 0, 15, wire.SYSMEM_READ) == b"from the device"
    assert server.dma_bytes == 8192


@pytest.mark.parametrize(("asked", "done"), [((), "flr"), ((0,), "flr"), ((1,), "bus-reset")])
def test_wire_reset_reaches_the_device(
    client: Wire, models: list[ModelTransport], asked: tuple[int, ...], done: str
) -> None:
    before = models[1].config_read(0x14, 4)
    assert client.ask(wire.RESET, 1, 0, *asked) == (0, 0)
    assert [str(reset.kind) for reset in models[1].gpu.resets.done] == [done]
    assert models[0].gpu.resets.done == []
    assert models[1].config_read(0x14, 4) == before  # as the kernel does


def test_wire_reset_of_no_kind_is_refused(client: Wire, models: list[ModelTransport]) -> None:
    with pytest.raises(wire.WireRefused, match="no reset 4"):
        client.ask(wire.RESET, 1, 0, 4)
    assert models[1].gpu.resets.done == []


def test_wire_hello_tells_all_devices(client: Wire) -> None:
    told = json.loads(client.hello(4711))
    assert [row["info"]["bdf"] for row in told["devices"]] == ["0000:05:00.0", "0000:15:00.0"]
    assert [bar["index"] for bar in told["devices"][0]["bars"]] == [0, 2, 5]


# --- what is refused, and goes on


REFUSED = [
    (request(wire.CFG_READ, 0, 0, 4094, 4), "config space"),
    (request(wire.CFG_READ, 0, 0, 1 << 63, 1), "config space"),
    (request(wire.CFG_READ, 0, 0, 0, 3), "config space"),
    (request(wire.CFG_WRITE, 0, 0, 0x3C, 1, 0x100), "does not fit"),
    (request(wire.CFG_READ, 2, 0, 0, 4), "there are 2"),
    (request(wire.CFG_READ, 0xFFFFFFFF, 0, 0, 4), "there are 2"),
    (request(wire.MMIO_READ, 0, 1, 0, 4), "none of that number"),
    (request(wire.MMIO_READ, 0, 5, 2 << 20, 4), "0x200000 bytes"),
    (request(wire.MMIO_READ, 0, 5, (1 << 64) - 4, 8), "0x200000 bytes"),
    (request(wire.MMIO_READ, 0, 0, 0, 1 << 63), "in one request"),
    (request(wire.MMIO_READ, 0, 0, 0, (1 << 24) + 4), "in one request"),
    (request(wire.MAP_SYSMEM, 0, 0, 0), "0 bytes"),
    (request(wire.MAP_SYSMEM, 0, 0, (1 << 20) + 1), "are left for all clients"),
    (request(wire.MAP_SYSMEM, 0, 0, 1 << 63), "are left for all clients"),
    (request(wire.MAP_SYSMEM_FD, 0, 0, 4096), "TCP socket"),
    (request(wire.SYSMEM_READ, 0, 77, 0, 4), "a handle that this connection got"),
    (request(wire.FREE_SYSMEM, 0, 77), "a handle that this connection got"),
    (request(wire.UNLOCK, 0), "has not locked"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[f"{item[0][0]}-{item[1]}" for item in REFUSED])
def test_wire_wrong_request_is_refused_and_the_connection_goes_on(client: Wire, data: bytes, message: str) -> None:
    client.hello(1)
    client.send(data)
    with pytest.raises(WireRefused) as told:
        client.answer()
    assert message in str(told.value)
    assert told.value.code in (3, 64, 69)
    assert client.ask(wire.CFG_READ, 0, 0, 0, 4) == (0x75A01002, 0)


CLOSED = [
    (request(13), "unknown command 13"),
    (b"GET / HTTP/1.1\r\nHost: localhost:6667\r\n\r\n", "unknown command 71"),
    (b"\xff" * 33, "unknown command 255"),
    (request(wire.MMIO_WRITE, 0, 5, 2 << 20, 4) + b"abcd", "0x200000 bytes"),
    (request(wire.MMIO_WRITE, 0, 5, 2, 4) + b"abcd", "whole words"),
    (request(wire.MMIO_WRITE, 0, 2, 0, 3) + b"abc", "whole words"),
    (request(wire.MMIO_WRITE, 0, 0, 0, 1 << 60), "in one request"),
    (request(wire.SYSMEM_WRITE, 0, 5, 0, 4) + b"abcd", "a handle that this connection got"),
    (request(wire.PROBE, 0, 0, 0, 1 << 40, 0x1002), "ids"),
    (request(wire.PROBE, 0, 0, 0, 7, 0x1002) + b"1234567", "pairs"),
    (request(wire.HELLO, 0, 0, 1, 1 << 32, 1), "bytes of name"),
    (request(wire.HELLO, 0, 0, 1, 0, 2), "version 2"),
]


@pytest.mark.parametrize(("data", "message"), CLOSED, ids=[item[1] for item in CLOSED])
def test_wire_what_cannot_be_answered_is_told_and_closed(server: RemoteServer, data: bytes, message: str) -> None:
    with Wire(server.port) as bad, Wire(server.port) as good:
        assert good.ask(wire.PING) == (0, 0)
        bad.send(data)
        with pytest.raises(WireRefused) as told:
            bad.answer()
        assert message in str(told.value)
        assert bad.closed()
        assert good.probe(0, 0x1002, MI350X)


def test_wire_half_requests_are_cut_off_and_told(hasty: RemoteServer) -> None:
    halves = (
        request(wire.CFG_READ, 0, 0, 0, 4)[:20],
        request(wire.MMIO_WRITE, 0, 0, 0, 100) + b"too short",
        request(wire.PROBE, 0, 0, 0, 8, 0x1002) + b"1234",
    )
    opened = [Wire(hasty.port) for _ in halves]
    for client, half in zip(opened, halves, strict=True):
        client.send(half)
    for client in opened:
        with client:
            with pytest.raises(WireRefused, match=r"half a request: \d+ bytes did not come within 0\.3 s"):
                client.answer()
            assert client.closed()


def test_wire_silent_newcomer_is_dropped_and_a_served_client_may_rest(hasty: RemoteServer) -> None:
    with Wire(hasty.port) as patient, Wire(hasty.port) as silent:
        patient.ask(wire.PING)
        assert silent.closed()
        time.sleep(0.1)  # longer in all than a request may take: between requests there is no limit
        patient.ask(wire.PING)


def test_wire_slow_drip_of_a_request_is_cut_off(hasty: RemoteServer) -> None:
    with Wire(hasty.port) as slow:
        begun = time.monotonic()
        with pytest.raises((WireRefused, ConnectionError)):
            for byte in request(wire.PING):
                slow.send(bytes([byte]))
                time.sleep(0.02)
            slow.answer()
        assert time.monotonic() - begun < 3


def test_wire_client_that_never_reads_is_dropped(hasty: RemoteServer) -> None:
    with Wire(hasty.port) as deaf:
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(4):
            deaf.send(request(wire.MMIO_READ, 0, 0, 0, 1 << 24))
        until(lambda: hasty.connections == 0)


def test_wire_one_client_too_many_is_told_so(server: RemoteServer) -> None:
    opened = [Wire(server.port) for _ in range(QUICK.connections)]
    for one in opened:
        one.ask(wire.PING)
    with Wire(server.port) as late, pytest.raises(WireRefused, match="4 clients are served already"):
        late.ask(wire.PING)
    opened.pop().sock.close()
    until(lambda: server.connections == QUICK.connections - 1)
    with Wire(server.port) as again:
        assert again.ask(wire.PING) == (0, 0)
    for one in opened:
        one.sock.close()


def test_wire_buffers_are_bounded_and_given_back(server: RemoteServer) -> None:
    with Wire(server.port) as client:
        client.hello(1)
        handles = [client.map_sysmem(0, 4096)[0] for _ in range(QUICK.buffers)]
        with pytest.raises(WireRefused, match="3 buffers already"):
            client.map_sysmem(0, 4096)
        assert client.ask(wire.FREE_SYSMEM, 0, handles[0]) == (0, 0)
        with pytest.raises(WireRefused, match="a handle"):
            client.read(0, handles[0], 0, 4, wire.SYSMEM_READ)
        client.map_sysmem(0, 4096)


def test_wire_other_clients_and_devices_memory_does_not_exist(server: RemoteServer) -> None:
    with Wire(server.port) as owner, Wire(server.port) as thief:
        handle, _ = owner.map_sysmem(0, 4096)
        owner.write(0, handle, 0, b"secret", wire.SYSMEM_WRITE)
        thief.hello(1)
        with pytest.raises(WireRefused, match="a handle that this connection got"):
            thief.read(0, handle, 0, 6, wire.SYSMEM_READ)
        with pytest.raises(WireRefused, match="a handle that this connection got for device 1"):
            owner.read(1, handle, 0, 6, wire.SYSMEM_READ)
        with pytest.raises(WireRefused, match="0x1000 bytes"):
            owner.read(0, handle, 4090, 7, wire.SYSMEM_READ)


def test_wire_dead_clients_memory_is_unmapped_and_its_addresses_never_come_back(
    server: RemoteServer, models: list[ModelTransport]
) -> None:
    memory = models[0].gpu.hive.host_memory
    with Wire(server.port) as dying:
        _, pages = dying.map_sysmem(0, 8192)
        assert memory.read(pages[0], 4) == bytes(4)
    until(lambda: server.dma_bytes == 0)
    assert memory.read(pages[0], 4) is None
    assert not memory.write(pages[1], b"late")
    with Wire(server.port) as heir:
        assert not set(heir.map_sysmem(0, 8192)[1]) & set(pages)


# --- the lock


def test_wire_lock_second_client_is_refused_and_the_holder_named(server: RemoteServer) -> None:
    with Wire(server.port) as first, Wire(server.port) as second:
        first.hello(4711, b"train.py")
        second.hello(4712)
        first.ask(wire.LOCK, 1)
        first.ask(wire.LOCK, 1)  # the holder's own: nothing new
        with pytest.raises(WireRefused, match=r"held by train.py \(pid 4711, from 127.0.0.1:\d+\)") as told:
            second.ask(wire.LOCK, 1)
        assert told.value.code == 3
        size, _ = second.ask(wire.HOLDER, 1)
        assert json.loads(second.exactly(size)) == {"path": server.address, "pid": 4711, "command": "train.py"}
        assert first.ask(wire.HOLDER, 1) == (0, 0)
        second.ask(wire.LOCK, 0)
        first.ask(wire.UNLOCK, 1)
        second.ask(wire.LOCK, 1)


def test_wire_stock_client_that_drives_a_device_has_its_lock(server: RemoteServer) -> None:
    with Wire(server.port) as looker, Wire(server.port) as stock, Wire(server.port) as other:
        looker.read(0, 5, 0, 4)  # a look claims nothing
        looker.ask(wire.CFG_READ, 0, 0, 0, 4)
        stock.ask(wire.MAP_BAR, 0, 5)
        with pytest.raises(WireRefused, match=r"held by a client of tinygrad's protocol at 127\.0\.0\.1"):
            looker.ask(wire.MAP_BAR, 0, 5)
        looker.write(0, 0, 0, b"abcd")
        with pytest.raises(WireRefused, match="held by"):
            looker.answer()
        assert looker.closed()
        other.hello(7)
        size, _ = other.ask(wire.HOLDER, 0)
        assert json.loads(other.exactly(size))["pid"] is None
        stock.sock.close()
        until(lambda: server.connections == 1)
        other.ask(wire.LOCK, 0)


def test_wire_lock_held_in_the_servers_process_is_respected(server: RemoteServer, models: list[ModelTransport]) -> None:
    with Wire(server.port) as client, models[0].exclusive():
        client.hello(1)
        with pytest.raises(WireRefused, match=r"taking the lock of 0000:05:00\.0"):
            client.ask(wire.LOCK, 0)


# --- the server itself


def test_server_survives_a_device_that_raises(models: list[ModelTransport], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bar: int, offset: int) -> int:
        raise KeyError("oops")

    monkeypatch.setattr(models[0], "read32", broken)
    with RemoteServer(models, limits=QUICK) as server, Wire(server.port) as client:
        with pytest.raises(WireRefused, match="the model has a defect: KeyError: 'oops'") as told:
            client.read(0, 5, 0, 4)
        assert told.value.code == 70
        assert client.ask(wire.PING) == (0, 0)
        assert server.defects == ["KeyError: 'oops'"]


def test_server_close_ends_connections_and_frees_the_port(models: list[ModelTransport]) -> None:
    server = RemoteServer(models, limits=QUICK).open()
    with Wire(server.port) as client:
        client.map_sysmem(0, 4096)
        server.close()
        with pytest.raises(WireClosed):
            client.ask(wire.PING)
    assert (server.connections, server.dma_bytes) == (0, 0)
    RemoteServer(models, port=server.port).open().close()


def test_server_beyond_loopback_needs_to_be_told(models: list[ModelTransport]) -> None:
    with pytest.raises(Refused, match="0\\.0\\.0\\.0") as told:
        RemoteServer(models, "0.0.0.0").open()
    assert "--allow-remote" in told.value.next_step
    with RemoteServer(models, "0.0.0.0", allow_remote=True) as server, Wire(server.port) as client:
        client.ask(wire.PING)
    with RemoteServer(models, "127.0.0.5") as server:
        assert server.address == f"remote:127.0.0.5:{server.port}"


def test_server_taken_port_and_unknown_host_are_told(models: list[ModelTransport], server: RemoteServer) -> None:
    with pytest.raises(Unavailable, match="Address already in use"):
        RemoteServer(models, port=server.port).open()
    with pytest.raises(UsageError, match="HOST:PORT of this machine"):
        RemoteServer(models, "no such host").open()


@pytest.mark.parametrize("text", ["", "6667", ":6667", "host:", "host:x", "host:65536", "::1:6667", "a:b:1", "host:-1"])
def test_endpoint_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_endpoint(text)


def test_endpoint_of_both_families_is_read() -> None:
    assert parse_endpoint("127.0.0.1:6667") == ("127.0.0.1", 6667)
    assert parse_endpoint("[::1]:0") == ("::1", 0)
