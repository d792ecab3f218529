"""Serves software GPUs over vfio-user: a virtual machine monitor (QEMU's `vfio-user-pci`) sees them as PCI devices.

Source: QEMU docs/interop/vfio-user.rst (messages), hw/vfio-user/ (what its client sends and when), include/uapi/linux/vfio.h
(regions, interrupts). One socket for each GPU, DIR/gpu0.sock and so on, one client at a time on each, one thread for all:

- BAR0 is shared memory as far as there is VRAM; every access to the other BARs and to config space is a message, because
  registers and doorbells have side effects and whoever reads a recording wants to see them all.
- The memory that a client maps (gpumodel/vfio_dma.py) is the host memory of its GPU. A BAR of the hive that the client maps
  without a file is that GPU's memory; other memory without a file is asked for by message.
- What the model still has to do is done when it is due on the real clock, also while the guest sleeps.
- A function level reset is bit 15 of the device control register. A DEVICE_RESET is a bus reset, but only once the client
  has turned on memory decoding: before that it is the power-on of the virtual machine, which the GPU does not notice.
- A client that ends, however it ends, takes its maps and interrupts along; the GPU stays as it is.
- What cannot be done is refused with an error number. A client whose messages make no sense is disconnected; its last
  accesses are in DIR/gpuN.trace then, as they are after a defect of the model.

A GPU that is lost from the bus still has its VRAM mapped in the client: only messages can be answered with all ones."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import selectors
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from base.errors import GpumendError, NotPermitted, Refused, Unavailable, UsageError
from base.files import explain
from gpumodel import pciconfig, resets, vbios
from gpumodel import vfio_wire as wire
from gpumodel.access_ring import CONFIG, KEPT, AccessRing, Recording
from gpumodel.chips import VENDOR_AMD
from gpumodel.device import BAR_DWORDS, ModelGpu, ModelTransport
from gpumodel.faults import Reset
from gpumodel.spec import ModelSpec, parse
from gpumodel.vfio_dma import MOST_MAPS, GuestMemory
from gpumodel.vfio_irq import Interrupts
from gpumodel.vfio_wire import Channel, Command, Message

MOST_PATH = 107  # bytes of a local socket's name
REGIONS = 9
ROM_REGION = 6
CONFIG_REGION = 7
FLAG_READ, FLAG_WRITE, FLAG_MMAP, FLAG_CAPS = 1, 2, 4, 8
SPARSE_MMAP = 1  # id of the capability
DEVICE_RESETS, DEVICE_IS_PCI = 1, 2
UNMAP_DIRTY, UNMAP_ALL = 1, 2
MOST_REGISTER_BYTES = 4096  # in one access to registers or doorbells
MOST_WRITES = 1024  # in one REGION_WRITE_MULTI
MOST_INBOX = 4096  # messages of a client that waits for none of their answers
MOST_INBOX_BYTES = 8 << 20
MOST_LATE = 64  # answers that may come too late
NOTED_BYTES = 64
DMA_WAIT_S = 1.0  # QEMU itself gives up after 5
IDLE_S = 1.0
TRACE_PAUSE_S = 1.0  # between traces that bad clients of one GPU cause
MOST_DEFECTS = 100
MOST_UNKNOWN = 1000  # told in a trace
_U16 = 0xFFFF


class _Ended(Exception):
    """The conversation with a client is over; the text says why, if somebody should know."""


class _Device:
    """One GPU, its socket and its client."""

    def __init__(self, server: VfioUserServer, number: int, transport: ModelTransport, kept: int) -> None:
        self.server = server
        self.number = number
        self.transport = transport
        self.gpu: ModelGpu = transport.gpu
        self.path = server.folder / f"gpu{number}.sock"
        self.ring = AccessRing(transport, self.gpu.clock, kept, self._complaints)
        self.memory = GuestMemory(self)
        self.interrupts = Interrupts(self.gpu, self.ring)
        self.listener: socket.socket | None = None
        self.channel: Channel | None = None
        self.ended: str | None = None  # why the client must go
        self.traced = -TRACE_PAUSE_S  # when its last accesses were written last, because of a client
        self._inbox: deque[Message] = deque()
        self._inbox_bytes = 0
        self._asked: int | None = None  # id of what we asked the client just now
        self._answer: Message | None = None
        self._late: deque[int] = deque(maxlen=MOST_LATE)
        self._next_id = 0
        self._greeted = False
        self._most_data = wire.MOST_DATA
        self._enumerated = False
        self._regions = {bar.index: bar.size for bar in self.gpu.bars.values()} | {CONFIG_REGION: pciconfig.SIZE}
        self._rom = vbios.image(self.gpu.chip, VENDOR_AMD) if self.gpu.chip.has_vbios else b""
        self._regions[ROM_REGION] = len(self._rom)
        self._handlers: dict[int, Callable[[Message], tuple[bytes, Sequence[int]]]] = {
            Command.DMA_MAP: self._dma_map,
            Command.DMA_UNMAP: self._dma_unmap,
            Command.GET_INFO: self._get_info,
            Command.GET_REGION_INFO: self._get_region_info,
            Command.GET_IRQ_INFO: self._get_irq_info,
            Command.SET_IRQS: self._set_irqs,
            Command.REGION_READ: self._region_read,
            Command.REGION_WRITE: self._region_write,
            Command.REGION_WRITE_MULTI: self._region_write_multi,
            Command.DEVICE_RESET: self._device_reset,
        }

    def _complaints(self) -> list[str]:
        """What the model says of its drivers: wrong use, and what they touched that it does not know."""
        unknown = self.gpu.unknown_accesses.most_common(MOST_UNKNOWN)
        words = [f"wrong use: {text}" for text in self.gpu.wrongs]
        return words + [f"not modelled: {kind} {address:#x}, {times} times" for (kind, address), times in unknown]

    # ---- the client

    def welcome(self, sock: socket.socket) -> None:
        self.channel = Channel(sock)
        self.ended = None
        self._greeted = False
        self._most_data = wire.MOST_DATA
        self._enumerated = False
        self.ring.mark("a client has come")

    def ready(self, events: int) -> None:
        """The socket can be read, or written."""
        if self.channel is None:
            return
        try:
            if events & selectors.EVENT_WRITE:
                self.channel.flush()
            if events & selectors.EVENT_READ:
                self._take_in()
            self._work()
        except _Ended as error:
            self.ended = str(error)
        except wire.HungUp:
            self.ended = "in the middle of a message" if self.channel.in_the_middle else ""

    def _take_in(self) -> None:
        """Read once: requests wait in the inbox, answers go to whoever asked."""
        assert self.channel is not None
        try:
            messages = self.channel.receive()
        except wire.Garbage as error:
            raise _Ended(str(error)) from error
        for place, message in enumerate(messages):
            if message.flags & wire.TYPE_BITS == wire.REQUEST:
                self._inbox.append(message)
                self._inbox_bytes += len(message.body)
                continue
            if not self._is_answer(message):
                wire.discard(messages[place:])
                raise _Ended("an answer that nobody asked for")
            wire.close_all(message.fds)
        if len(self._inbox) > MOST_INBOX or self._inbox_bytes > MOST_INBOX_BYTES:
            raise _Ended("more requests than are kept")

    def _is_answer(self, message: Message) -> bool:
        """Keep the answer to what we asked; one that comes too late is nobody's."""
        if message.flags & wire.TYPE_BITS != wire.REPLY:
            return False
        if message.id == self._asked:
            self._answer = message
            return True
        if message.id not in self._late:
            return False
        self._late.remove(message.id)
        return True

    def _work(self) -> None:
        """Requests in order, until the client does not fetch its answers."""
        while self._inbox and self.channel is not None and not self.channel.blocked:
            message = self._inbox.popleft()
            self._inbox_bytes -= len(message.body)
            self._obey(message)
            if self.ended is not None:  # noticed while the model asked for memory
                return

    def _obey(self, message: Message) -> None:
        try:
            body, fds = self._handle(message)
            flags, error = wire.REPLY, 0
        except OSError as refused:
            body, fds, flags, error = b"", (), wire.REPLY | wire.ERROR, refused.errno or errno.EIO
            self.ring.mark(f"refused {_named(message.command)}: {refused}")
        except (GpumendError, ValueError) as refused:
            body, fds, flags, error = b"", (), wire.REPLY | wire.ERROR, errno.EINVAL
            self.ring.mark(f"refused {_named(message.command)}: {refused}")
        except Exception as defect:  # noqa: BLE001 - of the model; the other devices must not suffer
            body, fds, flags, error = b"", (), wire.REPLY | wire.ERROR, errno.EIO
            self.server.note_defect(f"gpu{self.number}", defect)
        finally:
            wire.close_all(message.fds)
        if not message.flags & wire.NO_REPLY and self.channel is not None:
            self.channel.send(wire.pack(message.id, message.command, body, flags, error), fds)

    def _handle(self, message: Message) -> tuple[bytes, Sequence[int]]:
        if message.command == Command.VERSION:
            return self._version(message)
        if not self._greeted:
            raise OSError(errno.EINVAL, "the first message is VERSION")
        handler = self._handlers.get(message.command)
        if handler is None:
            raise OSError(errno.EOPNOTSUPP, f"command {message.command}")
        if message.fds and message.command not in (Command.DMA_MAP, Command.SET_IRQS):
            raise OSError(errno.EINVAL, "file descriptors with a command that takes none")
        return handler(message)

    def farewell(self) -> None:
        """The client is gone: its maps, interrupts and unread messages go, too."""
        self.ring.mark("the client has gone")
        wire.discard(self._inbox)
        self._inbox.clear()
        self._inbox_bytes = 0
        self._late.clear()
        self.memory.clear()
        self.interrupts.clear()
        if self.channel is not None:
            self.channel.close()
        self.channel = None  # last: only now it is over

    def _version(self, message: Message) -> tuple[bytes, Sequence[int]]:
        major, _ = _unpack(wire.VERSION, message.body)
        if self._greeted or major:
            raise OSError(errno.EINVAL, f"version {major}" if major else "a second VERSION")
        offered = _capabilities(message.body[wire.VERSION.size :])
        most = offered.get("max_data_xfer_size", wire.MOST_DATA)
        if not isinstance(most, int) or most <= 0:
            raise OSError(errno.EINVAL, f"max_data_xfer_size {most!r}")
        self._most_data = min(most, wire.MOST_DATA)
        ours: dict[str, object] = {
            "max_msg_fds": 8,
            "max_data_xfer_size": wire.MOST_DATA,
            "max_dma_maps": MOST_MAPS,
            "pgsizes": 4096,
        }
        if offered.get("write_multiple") is True:
            ours["write_multiple"] = True
        self._greeted = True
        text = json.dumps({"capabilities": ours}).encode() + b"\0"
        return wire.VERSION.pack(0, 0) + text, ()

    # ---- what the device is

    def _get_info(self, message: Message) -> tuple[bytes, Sequence[int]]:
        _unpack(wire.DEVICE_INFO, message.body)
        flags = DEVICE_RESETS | DEVICE_IS_PCI
        return wire.DEVICE_INFO.pack(wire.DEVICE_INFO.size, flags, REGIONS, self.interrupts.INDEXES), ()

    def _get_region_info(self, message: Message) -> tuple[bytes, Sequence[int]]:
        room, _, index, _, _, _ = _unpack(wire.REGION_INFO, message.body)
        if index >= REGIONS:
            raise OSError(errno.EINVAL, f"region {index}")
        size = self._regions.get(index, 0)
        flags = 0 if not size else FLAG_READ if index == ROM_REGION else FLAG_READ | FLAG_WRITE
        if index:
            return wire.REGION_INFO.pack(wire.REGION_INFO.size, flags, index, 0, size, 0), ()
        flags |= FLAG_MMAP | FLAG_CAPS
        shared = self.gpu.vram.size // 4096 * 4096
        areas = wire.SPARSE.pack(SPARSE_MMAP, 1, 0, 1, 0, 0, shared)
        needed = wire.REGION_INFO.size + len(areas)
        info = wire.REGION_INFO.pack(needed, flags, index, wire.REGION_INFO.size, size, 0)
        if room < needed:  # the client comes again with more room
            return info, ()
        return info + areas, (self.gpu.vram.share(),)

    def _get_irq_info(self, message: Message) -> tuple[bytes, Sequence[int]]:
        _, _, index, _ = _unpack(wire.IRQ_INFO, message.body)
        flags, count = self.interrupts.about(index)
        return wire.IRQ_INFO.pack(wire.IRQ_INFO.size, flags, index, count), ()

    def _set_irqs(self, message: Message) -> tuple[bytes, Sequence[int]]:
        _, flags, index, start, count = _unpack(wire.IRQ_SET, message.body)
        data = message.body[wire.IRQ_SET.size :]
        self.interrupts.set(flags, index, start, count, data, message.fds)
        return b"", ()

    # ---- accesses

    def _region_read(self, message: Message) -> tuple[bytes, Sequence[int]]:
        offset, region, count = _unpack(wire.ACCESS, message.body)
        self._check(region, offset, count)
        if region == CONFIG_REGION:
            data = b"".join(self._config_read(at, size) for at, size in _naturally(offset, count))
        elif region == ROM_REGION:
            return wire.ACCESS.pack(offset, region, count) + self._rom[offset : offset + count], ()
        else:
            data = self._bar_read(region, offset, count)
        self.ring.note(False, CONFIG if region == CONFIG_REGION else region, offset, data[:NOTED_BYTES])
        return wire.ACCESS.pack(offset, region, count) + data, ()

    def _region_write(self, message: Message) -> tuple[bytes, Sequence[int]]:
        offset, region, count = _unpack(wire.ACCESS, message.body)
        data = message.body[wire.ACCESS.size :]
        if len(data) != count:
            raise OSError(errno.EINVAL, f"{len(data)} bytes of data for a write of {count}")
        self._write(region, offset, data)
        return wire.ACCESS.pack(offset, region, count), ()

    def _region_write_multi(self, message: Message) -> tuple[bytes, Sequence[int]]:
        """Several small writes; they are checked before the first is done."""
        (count,) = _unpack(wire.MULTI_COUNT, message.body)
        entries = message.body[wire.MULTI_COUNT.size :]
        if count > MOST_WRITES or len(entries) != count * wire.MULTI.size:
            raise OSError(errno.EINVAL, f"{count} writes in {len(entries)} bytes")
        writes = []
        for offset, region, size, data in wire.MULTI.iter_unpack(entries):
            if size > len(data):
                raise OSError(errno.EINVAL, f"a small write of {size} bytes")
            self._check(region, offset, size)
            writes.append((region, offset, data[:size]))
        for region, offset, data in writes:
            self._write(region, offset, data)
        return wire.MULTI_COUNT.pack(count), ()

    def _check(self, region: int, offset: int, count: int) -> None:
        size = self._regions.get(region, 0)
        most = wire.MOST_DATA if region in (0, ROM_REGION) else MOST_REGISTER_BYTES
        if not 0 < count <= most or offset + count > size:
            raise OSError(errno.EINVAL, f"{count} bytes at {offset:#x} of region {region}, which has {size:#x}")

    def _write(self, region: int, offset: int, data: bytes) -> None:
        self._check(region, offset, len(data))
        if region == ROM_REGION:
            raise OSError(errno.EINVAL, "a write to the expansion ROM")
        self.ring.note(True, CONFIG if region == CONFIG_REGION else region, offset, data[:NOTED_BYTES])
        if region != CONFIG_REGION:
            self._bar_write(region, offset, data)
            return
        done = 0
        for at, size in _naturally(offset, len(data)):
            self._config_write(at, size, int.from_bytes(data[done : done + size], "little"))
            done += size

    def _bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """BAR0 is larger than VRAM: there is nothing behind its end."""
        inside = size if bar else min(size, max(0, self.gpu.vram.size - offset))
        data = bar_read(self.transport, bar, offset, inside) if inside else b""
        return data + b"\xff" * (size - inside)

    def _bar_write(self, bar: int, offset: int, data: bytes) -> None:
        inside = len(data) if bar else min(len(data), max(0, self.gpu.vram.size - offset))
        if inside:
            bar_write(self.transport, bar, offset, data[:inside])

    def _config_read(self, offset: int, size: int) -> bytes:
        return self.transport.config_read(offset, size).to_bytes(size, "little")

    def _config_write(self, offset: int, size: int, value: int) -> None:
        control = pciconfig.DEVICE_CONTROL
        if offset <= control + 1 < offset + size and not self.gpu.lost:
            bit = pciconfig.FUNCTION_RESET << 8 * (control - offset) if offset <= control else 0x80
            if value & bit:
                self._reset(Reset.FLR)
                return
        self.transport.config_write(offset, size, value)
        if offset & ~3 in BAR_DWORDS or offset <= pciconfig.COMMAND < offset + size:
            self._place_bars()
        self.interrupts.look_again()

    def _place_bars(self) -> None:
        """The guest has said where the BARs lie, or that they are to be heard."""
        gpu = self.gpu
        for index, bar in gpu.bars.items():
            place = pciconfig.BAR0 + 4 * index
            address = gpu.config.read(place, 8 if bar.is_64bit else 4) & ~0xF
            if address != bar.address:
                gpu.bars[index] = replace(bar, address=address)
        self._enumerated = self._enumerated or gpu.config.memory_enabled

    def _device_reset(self, message: Message) -> tuple[bytes, Sequence[int]]:
        if self._enumerated:
            self._reset(Reset.BUS_RESET)
        else:
            self.ring.mark("power-on of the virtual machine")
            resets.unassign(self.gpu)
            self._place_bars()
        return b"", ()

    def _reset(self, kind: Reset) -> None:
        self.ring.mark(f"reset: {kind}")
        self.gpu.resets.begin(kind)
        self._place_bars()

    # ---- memory of the guest

    def _dma_map(self, message: Message) -> tuple[bytes, Sequence[int]]:
        _, flags, offset, address, size = _unpack(wire.MAP, message.body)
        if len(message.fds) > 1:
            raise OSError(errno.EINVAL, f"a map of {len(message.fds)} files")
        self.memory.map(address, size, flags, message.fds[0] if message.fds else -1, offset)
        return b"", ()

    def _dma_unmap(self, message: Message) -> tuple[bytes, Sequence[int]]:
        _, flags, address, size = _unpack(wire.UNMAP, message.body)
        if flags & ~UNMAP_ALL:
            raise OSError(errno.EOPNOTSUPP, f"unmap with flags {flags:#x}")
        if flags & UNMAP_ALL:
            self.memory.unmap_all()
        else:
            self.memory.unmap(address, size)
        return wire.UNMAP.pack(wire.UNMAP.size, flags, address, size), ()

    def dma_read(self, bus_addr: int, size: int) -> bytes | None:
        """Ask the client for memory that it did not share."""
        parts: list[bytes] = []
        for at in range(0, size, self._most_data):
            count = min(size - at, self._most_data)
            answer = self._ask(Command.DMA_READ, wire.DMA.pack(bus_addr + at, count))
            if answer is None or len(answer.body) != wire.DMA.size + count:
                return None
            parts.append(answer.body[wire.DMA.size :])
        return b"".join(parts)

    def dma_write(self, bus_addr: int, data: bytes) -> bool:
        for at in range(0, len(data), self._most_data):
            part = data[at : at + self._most_data]
            if self._ask(Command.DMA_WRITE, wire.DMA.pack(bus_addr + at, len(part)) + part) is None:
                return False
        return True

    def _ask(self, command: Command, body: bytes) -> Message | None:
        """Send a command to the client and wait a bounded time for its answer; what it asks meanwhile waits.

        None: it said no, went away or did not answer."""
        if self.channel is None or self.ended is not None:
            return None
        self._next_id = number = (self._next_id + 1) & _U16
        self._asked, self._answer = number, None
        answer: Message | None = None
        try:
            self.channel.send(wire.pack(number, command, body, wire.REQUEST))
            answer = self._await()
        except _Ended as error:
            self.ended = str(error)
        except wire.HungUp:
            self.ended = ""
        self._asked = self._answer = None
        if answer is None:
            self.ring.mark(f"no answer to {command.name}")
            self._late.append(number)
            return None
        return None if answer.flags & wire.ERROR else answer

    def _await(self) -> Message | None:
        assert self.channel is not None
        end = time.monotonic() + DMA_WAIT_S
        poll = select.poll()
        while self._answer is None:
            left = end - time.monotonic()
            if left <= 0:
                return None
            poll.register(self.channel, select.POLLIN | (select.POLLOUT if self.channel.blocked else 0))
            for _, happened in poll.poll(left * 1000):
                if happened & select.POLLOUT:
                    self.channel.flush()
                if happened & ~select.POLLOUT:
                    self._take_in()
        return self._answer


class VfioUserServer:
    """Serves `transports` as DIR/gpu0.sock, DIR/gpu1.sock and so on. `open` binds and starts; `close` ends everything.

    The transports belong to the caller and are not closed. They live on the real clock. `say` is told what goes wrong."""

    def __init__(
        self,
        transports: Sequence[ModelTransport],
        folder: str | Path,
        *,
        kept: int = KEPT,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.transports = tuple(transports)
        self.folder = Path(folder)
        self.defects: list[str] = []  # what the model raised that no client can cause on purpose; the first few
        self._say = say or (lambda text: None)
        self.devices = tuple(_Device(self, number, one, kept) for number, one in enumerate(self.transports))
        self._clock = self.devices[0].gpu.clock
        self._all_events = {id(device.gpu.hive): device.gpu.hive.events for device in self.devices}
        self._selector: selectors.BaseSelector | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._folder_fd = -1
        self._made_folder = False
        self._wake_read = self._wake_write = -1
        self._dump_asked = False
        self._changes: list[tuple[ModelSpec, bool]] = []  # and whether the GPUs stay on
        self._to_dump: set[_Device] = set()
        self._writer: threading.Thread | None = None

    @property
    def address(self) -> str:
        return f"vfio-user:{self.folder}"

    @property
    def clients(self) -> int:
        return sum(device.channel is not None for device in self.devices)

    # ---- life

    def open(self) -> VfioUserServer:
        """Bind and answer from a thread. Raises UsageError (name too long), Refused (another server is there, or something
        that is no socket), Unavailable, NotPermitted."""
        self._check_paths()
        if any(device.gpu.vram.share() < 0 for device in self.devices):
            raise Unavailable(
                self._doing(), expected="a system with memory files (memfd_create)", seen="there are none"
            )
        try:
            self._take_folder()
            for device in self.devices:
                device.listener = self._bind(device.path)
        except BaseException:
            self._clean_up()
            raise
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        for device in self.devices:
            assert device.listener is not None
            self._selector.register(device.listener, selectors.EVENT_READ, (device, True))
            device.gpu.host_keeps_bars = (
                True  # the guest reads QEMU's own BAR registers, and sees no reason to write them
            )
            resets.unassign(device.gpu)
            device._place_bars()
            device.gpu.bus_memory = device.memory
            device.gpu.ih.on_interrupt = device.interrupts.fire
        self._thread = threading.Thread(target=self._run, daemon=True, name="vfio-user")
        self._thread.start()
        return self

    def close(self) -> None:
        """Disconnect all clients, remove the sockets."""
        self._stop.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
            self._thread = None
        if self._writer is not None:
            self._writer.join(timeout=30.0)
            self._writer = None
        self._to_dump.update(self.devices if self._dump_asked else ())
        self._dump_asked = False
        self._write(self._recordings())
        for device in self.devices:
            if device.channel is not None:
                device.farewell()
            device.gpu.ih.on_interrupt = None
            device.gpu.host_keeps_bars = False
            device.gpu.bus_memory = device.gpu.hive.host_memory
        self._clean_up()

    def wait(self) -> None:
        """Until `close`, or until an interrupt (Ctrl-C) is raised here."""
        while not self._stop.wait(0.5):
            pass

    def __enter__(self) -> VfioUserServer:
        return self if self._thread is not None else self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def dump(self) -> None:
        """Write the last accesses of every GPU to DIR/gpuN.trace, soon; may be called from a signal handler."""
        self._dump_asked = True
        self._wake()

    def change(self, spec: str) -> None:
        """Power-cycle the GPUs into the state and with the faults of another address of the same part and number, soon.
        With a + before it the GPUs stay on, and its faults strike them as they are.

        May be called from a signal handler. Raises UsageError."""
        wanted, first = parse(spec.removeprefix("+")), self.devices[0].gpu
        if (wanted.chip, wanted.count) != (first.chip, len(self.devices)):
            raise UsageError(
                "changing the served GPUs",
                expected=f"{first.chip.name}*{len(self.devices)} with as much memory",
                seen=f"{wanted.chip.name}*{wanted.count}",
            )
        self._changes.append((wanted, spec.startswith("+")))
        self._wake()

    def _change(self) -> None:
        while self._changes:
            wanted, stay_on = self._changes.pop(0)
            for device in self.devices:
                device.ring.mark(f"{'fault' if stay_on else 'power cycle'}: {wanted.address}")
            hive = self.devices[0].gpu.hive
            if stay_on:
                hive.strike(wanted.faults)
            else:
                hive.change(wanted.state == "used", wanted.faults)
            self._say(f"now {wanted.address}")

    def note_defect(self, where: str, error: Exception) -> None:
        text = f"{where}: {type(error).__name__}: {error}"
        self._say(f"defect of the model: {text}")
        if len(self.defects) < MOST_DEFECTS:
            self.defects.append(text)
            self._dump_asked = True

    def _wake(self) -> None:
        if self._wake_write >= 0:
            with suppress(OSError):
                os.write(self._wake_write, b"!")

    # ---- sockets

    def _doing(self) -> str:
        return f"serving at {self.folder}"

    def _check_paths(self) -> None:
        for device in self.devices:
            size = len(os.fsencode(device.path))
            if size > MOST_PATH or "\0" in str(device.path):
                raise UsageError(
                    self._doing(),
                    expected=f"a folder with a short name: a socket's path has at most {MOST_PATH} bytes",
                    seen=f"{size} bytes: {str(device.path)!r:.200}",
                    next_step="name another folder, for example under /tmp",
                )

    def _take_folder(self) -> None:
        """Make the folder if it is missing, and hold its lock: the sockets of a server that was killed may go then."""
        try:
            with suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
                self._made_folder = True
            self._folder_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._taken(self.folder) from error
        except OSError as error:
            raise explain(error, self.folder, self._doing()) from error

    def _taken(self, where: Path) -> Refused:
        return Refused(
            self._doing(),
            expected="a folder that no other server uses",
            seen="another server is there",
            where=str(where),
            next_step="end the other server, or name another folder",
        )

    def _bind(self, path: Path) -> socket.socket:
        self._remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(8)
        except OSError as error:
            listener.close()
            kind = NotPermitted if isinstance(error, PermissionError) else Unavailable
            seen = os.strerror(error.errno) if error.errno else str(error)
            raise kind(
                self._doing(), expected="a folder where sockets can be made", seen=seen, where=str(path)
            ) from error
        return listener

    def _remove_stale(self, path: Path) -> None:
        """Only a socket where nobody listens any more."""
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise explain(error, path, self._doing()) from error
        if not stat.S_ISSOCK(mode):
            raise Refused(
                self._doing(),
                expected="no file of that name, or a socket that was left behind",
                seen="something else",
                where=str(path),
                next_step="name another folder",
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                return
            except OSError as error:
                raise self._taken(path) from error
        raise self._taken(path)

    def _clean_up(self) -> None:
        for device in self.devices:
            if device.listener is not None:
                device.listener.close()
                device.listener = None
                with suppress(OSError):
                    device.path.unlink()
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        fds = [fd for fd in (self._wake_read, self._wake_write, self._folder_fd) if fd >= 0]
        self._wake_read = self._wake_write = self._folder_fd = -1
        wire.close_all(fds)
        if self._made_folder:
            with suppress(OSError):  # recordings stay, and their folder
                self.folder.rmdir()

    # ---- the loop

    def _run(self) -> None:
        assert self._selector is not None
        while not self._stop.is_set():
            for key, happened in self._selector.select(self._until_due()):
                if key.data is None:
                    with suppress(OSError):
                        os.read(self._wake_read, 64)
                    continue
                device, is_listener = key.data
                if is_listener:
                    self._accept(device)
                else:
                    device.ready(happened)
                    self._look_after(device)
            self._change()
            self._run_due()
            if self._dump_asked:
                self._dump_asked = False
                self._to_dump.update(self.devices)
            if self._to_dump and self._writer is None:
                self._dump()

    def _until_due(self) -> float:
        left = IDLE_S
        for device_events in self._all_events.values():
            due = device_events.next_due()
            if due is not None:
                left = min(left, due - self._clock.now())
        return max(0.0, left)

    def _run_due(self) -> None:
        for device_events in self._all_events.values():
            try:
                device_events.run_due()
            except Exception as error:  # noqa: BLE001 - of the model; the server lives on
                self.note_defect("work that was due", error)
        for device in self.devices:
            if device.channel is not None and (device.ended is not None or device._inbox):
                device.ready(0)
                self._look_after(device)

    def _accept(self, device: _Device) -> None:
        assert device.listener is not None and self._selector is not None
        try:
            sock, _ = device.listener.accept()
        except OSError:  # no descriptors left, or the client went before it was served
            self._stop.wait(0.01)
            return
        if device.channel is not None:  # one client at a time
            sock.close()
            return
        device.welcome(sock)
        self._selector.register(sock, selectors.EVENT_READ, (device, False))

    def _look_after(self, device: _Device) -> None:
        """Part with a client that ended; else wait for what it has to do next."""
        channel = device.channel
        if channel is None or self._selector is None:
            return
        if device.ended is None:
            wanted = selectors.EVENT_WRITE if channel.blocked else selectors.EVENT_READ
            if self._selector.get_key(channel.sock).events != wanted:
                self._selector.modify(channel.sock, wanted, (device, False))
            return
        self._selector.unregister(channel.sock)
        if device.ended:
            device.ring.mark(f"disconnected: {device.ended}")
            self._say(f"gpu{device.number}: disconnected a client: {device.ended}")
            now = self._clock.now()
            if now - device.traced >= TRACE_PAUSE_S:
                device.traced = now
                self._to_dump.add(device)
        device.farewell()

    def _dump(self) -> None:
        """Written by a thread of its own: guests do not wait for a disk."""
        self._writer = threading.Thread(
            target=self._write, args=(self._recordings(),), daemon=True, name="vfio-user-trace"
        )
        self._writer.start()

    def _recordings(self) -> list[tuple[str, Recording]]:
        devices = sorted(self._to_dump, key=lambda device: device.number)
        self._to_dump.clear()
        return [(f"gpu{device.number}", device.ring.recording()) for device in devices]

    def _write(self, work: Sequence[tuple[str, Recording]]) -> None:
        for name, recording in work:
            path = self.folder / f"{name}.trace"
            try:
                recording.write(path)
            except OSError as error:
                self._say(f"{name}: the trace cannot be written: {error}")
            else:
                self._say(f"{name}: the last accesses are in {path}")
        if not self._stop.is_set():
            self._writer = None  # the next one may come
            self._wake()


def _unpack(layout: Any, body: bytes) -> tuple[Any, ...]:
    """The fixed start of a message; it may be longer."""
    if len(body) < layout.size:
        raise OSError(errno.EINVAL, f"{len(body)} bytes where {layout.size} are needed")
    fields: tuple[Any, ...] = layout.unpack_from(body)
    return fields


def _capabilities(text: bytes) -> dict[str, Any]:
    """What the client offers: JSON that ends in a zero byte, or nothing."""
    text = text.rstrip(b"\0")
    if not text:
        return {}
    try:
        offered = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise OSError(errno.EINVAL, "version data that is not JSON") from error
    found = offered.get("capabilities", {}) if isinstance(offered, dict) else None
    if not isinstance(found, dict):
        raise OSError(errno.EINVAL, "version data that is no object with capabilities")
    return found


def _named(command: int) -> str:
    return Command(command).name if command in Command._value2member_map_ else f"command {command}"


def _naturally(offset: int, count: int) -> list[tuple[int, int]]:
    """(offset, bytes) of aligned accesses of 1, 2 and 4 bytes that make up a range."""
    pieces = []
    end = offset + count
    while offset < end:
        size = next(size for size in (4, 2, 1) if not offset % size and offset + size <= end)
        pieces.append((offset, size))
        offset += size
    return pieces


def bar_read(transport: ModelTransport, bar: int, offset: int, size: int) -> bytes:
    """The width of an access is its size where a device can tell the difference."""
    if size == 4 and not offset % 4:
        return transport.read32(bar, offset).to_bytes(4, "little")
    if size == 8 and not offset % 8:
        return transport.read64(bar, offset).to_bytes(8, "little")
    before = offset % 4
    whole = -(-(before + size) // 4) * 4
    return transport.read_block(bar, offset - before, whole)[before : before + size]


def bar_write(transport: ModelTransport, bar: int, offset: int, data: bytes) -> None:
    """Odd bytes: the words at both ends keep the rest of theirs."""
    size = len(data)
    if size == 4 and not offset % 4:
        transport.write32(bar, offset, int.from_bytes(data, "little"))
        return
    if size == 8 and not offset % 8:
        transport.write64(bar, offset, int.from_bytes(data, "little"))
        return
    before = offset % 4
    whole = -(-(before + size) // 4) * 4
    if whole == size:
        transport.write_block(bar, offset, data)
        return
    words = bytearray(transport.read_block(bar, offset - before, whole))
    words[before : before + size] = data
    transport.write_block(bar, offset - before, bytes(words))
