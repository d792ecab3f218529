"""PM4: what the micro engine of a compute queue does with its packets.

Source: Linux v7.3 amdgpu/soc15d.h (packets), gfx_v9_4_3.c (what the driver sends); hardware/amd-bringup.md section 10;
research/amdgpu-on-model.md items 40 to 42, 46, 57, 76. A packet that cannot go on now is tried again from its start."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gpumodel.chips import XCC_STRIDE
from gpumodel.dispatch import CLIENT_TCP, Dispatch, HubMemory
from gpumodel.ticks import ticks
from registers.amd.gc_9_4_3 import Gc as Regs
from registers.amd.structs_pm4 import (
    PACKET3_SET_CONFIG_REG_START,
    PACKET3_SET_SH_REG_START,
    PACKET3_SET_UCONFIG_REG_START,
    Op,
)

if TYPE_CHECKING:
    from gpumodel.queues import ComputeQueue

WORD = 0xFFFFFFFF
PACKETS_A_RUN = 20000  # then the queue rests, so that a chain without end cannot hold up the model
REGISTER_BITS = 0x7FFFF  # dwords of BAR5; the hubs of AIDs 2 and 3 lie above 0x40000 (normalize_xcc_reg_offset)
ONE_DWORD_NOP = 0x3FFF  # count field
SCRATCH_UNIT = 16  # bytes a lane: COMPUTE_TMPRING_SIZE.WAVESIZE counts 256 dwords of a wave of 64
REST_S = 1e-6
MOST_NESTED = 3  # guess: ring, IB, IB of an IB
INT_EOP = 181
INT_BAD_OPCODE = 183
MOST_DMA_BYTES = 0x3FFFFFF  # guess: 26 bits as on older gfx9 parts; soc15d.h still says 21
GRBM_RANGES = ((0x2000, 0x3400), (0xA000, 0x10000))  # dword addresses that mean "of this XCC"

Body = Sequence[int]
Verdict = bool  # True: done, False: not yet


class State(Enum):
    """What a queue does."""

    IDLE = "idle"
    WAITING = "waits for memory or a register"
    WAVES = "waits for its waves"
    STOPPED = "stopped"


class BadPacket(Exception):
    """What the micro engine does not understand."""


@dataclass(slots=True)
class Frame:
    """A run of packets: the ring, or an indirect buffer."""

    words: tuple[int, ...]
    vmid: int
    start: int | None = None  # ring position of words[0]; None: an indirect buffer
    at: int = 0


class Pm4:
    def __init__(self, queue: ComputeQueue) -> None:
        self._queue = queue
        self._gpu = queue.gpu
        self._frames: list[Frame] = []
        self._armed = False  # the write of a write-then-wait has been done
        self._handlers: dict[int, Callable[[Body], Verdict]] = {
            Op.WRITE_DATA: self._write_data,
            Op.WAIT_REG_MEM: self._wait_reg_mem,
            Op.COPY_DATA: self._copy_data,
            Op.ACQUIRE_MEM: self._nothing,
            Op.RELEASE_MEM: self._release_mem,
            Op.EVENT_WRITE: self._event_write,
            Op.SET_CONFIG_REG: lambda body: self._set_registers(PACKET3_SET_CONFIG_REG_START, body),
            Op.SET_UCONFIG_REG: lambda body: self._set_registers(PACKET3_SET_UCONFIG_REG_START, body),
            Op.SET_SH_REG: self._set_shader_registers,
            Op.INDIRECT_BUFFER: self._indirect_buffer,
            Op.PRED_EXEC: self._pred_exec,
            Op.DISPATCH_DIRECT: self._dispatch_direct,
            Op.DMA_DATA: self._dma_data,
            Op.INVALIDATE_TLBS: self._invalidate_tlbs,
            Op.RUN_CLEANER_SHADER: self._nothing,
            Op.RUN_CLEANER_SHADER_9_0: self._nothing,
        }
        if queue.scheduler:
            from gpumodel.scheduler import Scheduler

            self._handlers.update(Scheduler(queue, self).handlers())

    @property
    def in_work(self) -> bool:
        """Whether it is inside an indirect buffer."""
        return any(frame.start is None for frame in self._frames)

    def serve(self, queue: ComputeQueue) -> None:
        """The same queue in another slot."""
        self._queue = queue

    def run(self) -> None:
        """Until the ring is empty, or something has to be waited for."""
        for _ in range(PACKETS_A_RUN):
            if not self._frames and not self._fetch():
                return
            frame = self._frames[-1]
            if frame.at >= len(frame.words):
                self._frames.pop()
                self._show(self._frames[-1] if self._frames else frame)
            elif not self._step(frame):
                return
        self._queue.wake(REST_S)

    def run_words(self, words: tuple[int, ...]) -> bool:
        """Packets that come from elsewhere (an AQL packet); False: not done yet, call `run_on`."""
        self._frames.append(Frame(words, self._queue.vmid))
        return self.run_on()

    def run_on(self) -> bool:
        """Go on with what `run_words` began."""
        for _ in range(PACKETS_A_RUN):
            if not self._frames:
                return True
            frame = self._frames[-1]
            if frame.at >= len(frame.words):
                self._frames.pop()
            elif not self._step(frame):
                return False
        self._queue.wake(REST_S)
        return False

    def enter(self, address: int, dwords: int, vmid: int, *, chain: bool = False) -> None:
        """Run an indirect buffer next; `chain`: instead of what is left of this one."""
        data = self._gpu.gmc.read(self._queue.hub, vmid, address, dwords * 4, client=4)
        frame = Frame(struct.unpack(f"<{dwords}I", data), vmid)
        if chain and self._frames[-1].start is None:
            self._frames[-1] = frame
            return
        if len(self._frames) >= MOST_NESTED:
            raise BadPacket(f"indirect buffers nested {len(self._frames)} deep")
        self._frames.append(frame)

    def _fetch(self) -> bool:
        words = self._queue.fetch()
        if words:
            self._frames.append(Frame(words, self._queue.vmid, self._queue.position))
        return bool(words)

    def _show(self, frame: Frame) -> None:
        if frame.start is not None:
            self._queue.position = frame.start + frame.at

    def _step(self, frame: Frame) -> bool:
        """One packet; False when it has to be tried again later, or when the queue stopped."""
        header = frame.words[frame.at]
        kind, count, opcode = header >> 30, header >> 16 & 0x3FFF, header >> 8 & 0xFF
        if kind == 2 or (kind == 3 and opcode == Op.NOP and count == ONE_DWORD_NOP):
            frame.at += 1
            self._done(frame)
            return True
        end = frame.at + 2 + count
        if kind == 3 and end > len(frame.words):
            return self._incomplete(frame)
        try:
            if kind != 3:
                raise BadPacket(f"packet type {kind}")
            done = self._execute(opcode, frame, end)
        except BadPacket as bad:
            self._bad(header, str(bad))
            return False
        if not done:
            return False
        return self._queue.state is not State.STOPPED

    def _execute(self, opcode: int, frame: Frame, end: int) -> bool:
        body = frame.words[frame.at + 1 : end]
        handler = self._nothing if opcode == Op.NOP else self._handlers.get(opcode)
        if handler is None:
            raise BadPacket(f"opcode {opcode:#x}")
        if not self._queue.scheduler:
            self._gpu.stage("compute")
        before = frame.at
        frame.at = end  # so that an indirect buffer comes back behind its packet
        self._queue.preemptable = True
        if not handler(body):
            frame.at = before
            return False
        self._armed = False
        self._queue.preemptable = True
        self._done(frame)
        return True

    def _done(self, frame: Frame) -> None:
        if self._frames and self._frames[-1] is frame:
            self._show(frame)

    def _incomplete(self, frame: Frame) -> bool:
        """At the end of the ring's frame the rest may still come; in an indirect buffer it cannot."""
        if frame.start is None:
            self._bad(frame.words[frame.at], "packet reaches over the end of its indirect buffer")
            return False
        self._frames.pop()
        return bool(frame.at) and frame.start + len(frame.words) < self._queue.wptr  # then only the fetch was short

    def _bad(self, header: int, text: str) -> None:
        queue = self._queue
        name = f"GC[{queue.slot.xcc}].CP_MEC_ME{queue.slot.me}_HEADER_DUMP"
        if name in self._gpu.registers.layout:
            self._gpu.registers.set(name, header)
        queue.stop(f"bad packet {header:#010x}: {text}")
        if queue.gfx.interrupt_enabled(queue.slot, "OPCODE_ERROR_INT_ENABLE"):
            queue.interrupt(INT_BAD_OPCODE, header)

    # Memory and registers as packets name them.

    def vmid(self) -> int:
        return self._frames[-1].vmid

    def read(self, address: int, size: int) -> bytes:
        return self._gpu.gmc.read(self._queue.hub, self.vmid(), address, size, client=5)

    def write(self, address: int, data: bytes) -> None:
        self._gpu.gmc.write(self._queue.hub, self.vmid(), address, data, client=5)

    def register(self, address: int) -> int:
        """The dword address in the register space of what this XCC calls so."""
        low = address & 0xFFFF
        if any(first <= low < last for first, last in GRBM_RANGES):
            return low + self._queue.slot.xcc * XCC_STRIDE
        return address & REGISTER_BITS

    def read_register(self, address: int) -> int:
        return self._gpu.registers.read(self.register(address), "pm4")

    def write_register(self, address: int, value: int) -> None:
        self._gpu.registers.write(self.register(address), value, "pm4")

    # Packets. `body` is everything behind the header.

    def _nothing(self, body: Body) -> Verdict:
        return True

    def _write_data(self, body: Body) -> Verdict:
        control, low, high = needs(body, 4)[:3]
        values = body[3:]
        target = control >> 8 & 0xF
        step = 0 if control >> 16 & 1 else 1
        if target == 0:
            for place, value in enumerate(values):
                self.write_register(low + place * step, value)
        elif target in (1, 2, 5):
            address = high << 32 | low & ~3
            if step:
                self.write(address, struct.pack(f"<{len(values)}I", *values))
            else:
                self.write(address, values[-1].to_bytes(4, "little"))
        else:
            raise BadPacket(f"WRITE_DATA to destination {target}")
        return True

    def _wait_reg_mem(self, body: Body) -> Verdict:
        control, low, high, reference, mask, _ = needs(body, 6)[:6]
        operation = control >> 6 & 3
        in_memory = control >> 4 & 3
        if operation == 2 or in_memory > 1 or control & 7 == 7:
            raise BadPacket(f"WAIT_REG_MEM control {control:#x}")
        self._queue.preemptable = operation == 3
        if operation == 1:
            if self._queue.gfx.is_hdp_flush(self.register(low)):
                self._queue.gfx.hdp_flush(low, reference)
                return True
            if not self._armed:
                self.write_register(low, reference)
                self._armed = True
            value = self.read_register(high)
        elif in_memory:
            value = int.from_bytes(self.read(high << 32 | low & ~3, 4), "little")
        else:
            value = self.read_register(low)
        if compare(control & 7, value & mask, reference):
            return True
        self._queue.wait(f"WAIT_REG_MEM: {value & mask:#x} is not yet right against {reference:#x}")
        return False

    def _copy_data(self, body: Body) -> Verdict:
        control, low, high, to_low, to_high = needs(body, 5)[:5]
        source, target = control & 0xF, control >> 8 & 0xF
        size = 8 if control >> 16 & 1 else 4
        if source in (0, 4):
            value = self.read_register(low)
            if size == 8:
                value |= self.read_register(low + 1) << 32
        elif source in (1, 2):
            value = int.from_bytes(self.read(high << 32 | low & -size, size), "little")
        elif source == 5:
            value = high << 32 | low
        elif source == 9:
            value = ticks(self._gpu)
        else:
            raise BadPacket(f"COPY_DATA from source {source}")
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        if target in (0, 4):
            for place in range(0, size, 4):
                self.write_register(to_low + place // 4, int.from_bytes(data[place : place + 4], "little"))
        elif target in (2, 5):
            self.write(to_high << 32 | to_low & -size, data)
        else:
            raise BadPacket(f"COPY_DATA to destination {target}")
        return True

    def _release_mem(self, body: Body) -> Verdict:
        event, select, low, high, data_low, data_high = needs(body, 6)[:6]
        if event >> 8 & 0xF not in (5, 6):
            raise BadPacket(f"RELEASE_MEM with event index {event >> 8 & 0xF}")
        if not self._waves_ended("RELEASE_MEM"):
            return False
        address = high << 32 | low
        what = select >> 29
        if what == 1:
            self.write(address & ~3, data_low.to_bytes(4, "little"))
        elif what == 2:
            self.write(address & ~7, (data_high << 32 | data_low).to_bytes(8, "little"))
        elif what in (3, 4):
            self.write(address & ~7, ticks(self._gpu).to_bytes(8, "little"))
        elif what:
            raise BadPacket(f"RELEASE_MEM with data {what}")
        context = body[6] if len(body) > 6 else 0
        if select >> 24 & 7 and self._queue.gfx.interrupt_enabled(self._queue.slot, "TIME_STAMP_INT_ENABLE"):
            self._queue.interrupt(INT_EOP, context)
        return True

    def _event_write(self, body: Body) -> Verdict:
        needs(body, 1)
        partial_flush = body[0] >> 8 & 0xF == 4
        return self._waves_ended("EVENT_WRITE") if partial_flush else True

    def _waves_ended(self, what: str) -> bool:
        if self._queue.waves is None:
            return True
        self._queue.preemptable = False
        self._queue.wait(f"{what} waits for waves", State.WAVES)
        return False

    def _set_registers(self, first: int, body: Body) -> Verdict:
        needs(body, 2)
        for place, value in enumerate(body[1:]):
            self.write_register(first + (body[0] & 0xFFFF) + place, value)
        return True

    def _set_shader_registers(self, body: Body) -> Verdict:
        needs(body, 2)
        for place, value in enumerate(body[1:]):
            self._queue.shader_registers[PACKET3_SET_SH_REG_START + (body[0] & 0xFFFF) + place] = value
        return True

    def _indirect_buffer(self, body: Body) -> Verdict:
        low, high, control = needs(body, 3)[:3]
        if not control >> 23 & 1:
            raise BadPacket("INDIRECT_BUFFER without its valid bit")
        vmid = self._queue.vmid or control >> 24 & 0xF
        self.enter(high << 32 | low & ~3, control & 0xFFFFF, vmid, chain=bool(control >> 20 & 1))
        return True

    def _pred_exec(self, body: Body) -> Verdict:
        """Only in an indirect buffer: in a ring it has no effect (amd-bringup.md section 10)."""
        needs(body, 1)
        if len(self._frames) == 1:
            self._gpu.wrong("gfx", f"{self._queue.slot}: PRED_EXEC in a ring selects nothing")
            return True
        if not body[0] >> 24 >> self._queue.slot.xcc & 1:
            self._frames[-1].at += body[0] & 0x3FFF
        return True

    def _dispatch_direct(self, body: Body) -> Verdict:
        x, y, z, initiator = needs(body, 4)[:4]
        bits = Regs.COMPUTE_DISPATCH_INITIATOR.kind(initiator)
        if not bits.COMPUTE_SHADER_EN:
            self._gpu.wrong("gfx", f"{self._queue.slot}: DISPATCH_DIRECT without COMPUTE_SHADER_EN starts nothing")
            return True
        dispatch = self._dispatch((x, y, z))
        if bits.USE_THREAD_DIMENSIONS:
            sizes = dispatch.group_size
            dispatch.groups = (-(-x // sizes[0]), -(-y // sizes[1]), -(-z // sizes[2]))
            dispatch.threads = (x, y, z)
        if self._queue.waves is not None:  # one grid at a time in a queue: a simplification
            return self._waves_ended("DISPATCH_DIRECT")
        if 0 not in (x, y, z):
            self._queue.launch(dispatch)
        return True

    def _dispatch(self, groups: tuple[int, int, int]) -> Dispatch:
        def value(offset: int) -> int:
            return self._queue.shader_registers.get(PACKET3_SET_CONFIG_REG_START + offset, 0)

        program = value(Regs.COMPUTE_PGM_LO.offset) | value(Regs.COMPUTE_PGM_HI.offset) << 32
        user_data = tuple(value(Regs.COMPUTE_USER_DATA_0.offset + place) for place in range(16))
        sizes = [value(Regs.COMPUTE_NUM_THREAD_X.offset + axis) & 0xFFFF or 1 for axis in range(3)]
        rsrc1, rsrc2 = value(Regs.COMPUTE_PGM_RSRC1.offset), value(Regs.COMPUTE_PGM_RSRC2.offset)
        return Dispatch(
            self._queue.slot.xcc,
            self.vmid(),
            program << 8,
            user_data[0] | user_data[1] << 32,
            user_data,
            groups,
            (sizes[0], sizes[1], sizes[2]),
            HubMemory(self._gpu, self._queue.hub, self.vmid(), CLIENT_TCP),
            lds_bytes=(rsrc2 >> 15 & 0x1FF) * 512,
            scratch_bytes=Regs.COMPUTE_TMPRING_SIZE.kind(value(Regs.COMPUTE_TMPRING_SIZE.offset)).WAVESIZE
            * SCRATCH_UNIT,
            resources=(rsrc1, rsrc2, value(Regs.COMPUTE_PGM_RSRC3.offset)),
            share=(0, 1) if self._queue.is_aql else self._queue.gfx.share(self._queue.slot.xcc),
            apertures=self._queue.gfx.apertures(self._queue.slot.xcc, self.vmid()),
            time=lambda: ticks(self._gpu),
        )

    def _dma_data(self, body: Body) -> Verdict:
        control, low, high, to_low, to_high, command = needs(body, 6)[:6]
        size = command & MOST_DMA_BYTES
        source, target = control >> 29 & 3, control >> 20 & 3
        if command >> 26 & 3 or source == 1 or target in (1, 2):
            raise BadPacket(f"DMA_DATA control {control:#x} command {command:#x}")
        if source == 2:
            data = (low.to_bytes(4, "little") * (size // 4 + 1))[:size]
        else:
            data = self.read(high << 32 | low, size)
        self.write(to_high << 32 | to_low, data)
        return True

    def _invalidate_tlbs(self, body: Body) -> Verdict:
        needs(body, 1)
        self._queue.gfx.invalidate_tlbs(self._queue.slot.xcc, body[0] >> 5 & 0xFFFF, all_hubs=bool(body[0] >> 4 & 1))
        return True


def needs(body: Body, count: int) -> Body:
    if len(body) < count:
        raise BadPacket(f"{len(body)} dwords behind the header, {count} belong there")
    return body


def compare(function: int, value: int, reference: int) -> bool:
    """The seven comparisons of WAIT_REG_MEM and of the copy engines' POLL_REGMEM."""
    return (
        True,
        value < reference,
        value <= reference,
        value == reference,
        value != reference,
        value >= reference,
        value > reference,
    )[function]
