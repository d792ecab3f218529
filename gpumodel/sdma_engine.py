"""One copy engine: its rings, and the firmware that serves them one after the other.

Source: Linux v7.3 amdgpu/sdma_v4_4_2.c (ring set-up, pointers, traps), amdgpu_amdkfd_gc_9_4_3.c (user queues);
hardware/amd-bringup.md section 11; research/amdgpu-on-model.md items 19, 44, 45, 63, 64, 68. Pointers in bytes, not
wrapped; times in seconds. The rings GFX, PAGE, RLC0..7 have the same registers, each 0x58 dwords further on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpumodel.events import LOOK_S, Patience
from gpumodel.gmc import PageFault
from gpumodel.pm4 import BadPacket, State
from gpumodel.sdma_packets import INT_TRAP, Executor, Timed, Wait, length
from registers.amd.sdma_4_4_2 import Sdma as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu
    from gpumodel.sdma import Sdma

RINGS = ("GFX", "PAGE", *(f"RLC{number}" for number in range(8)))
FIRST_USER_RING = 2
PACKETS_A_RUN = 20000
FETCH_DWORDS = 1 << 16
CLIENTS = (8, 9, 1, 4)  # interrupt clients of the engines of an AID (item 19)
FIRST_CLIENT_ID = 256  # of the engines in an MMHUB's fault status (gmc_v9_0.c, client names)
FW_TYPES = (9, 10, 52, 53)  # GFX_FW types of the engines of an AID (item 26)
IDLE_STATUS = 0x46DEE557
_IDLE = Regs.SDMA_STATUS_REG.kind(IDLE_STATUS)
_BUSY = _IDLE.replace(IDLE=0, RB_EMPTY=0, RB_CMD_IDLE=0, EX_IDLE=0, CONTEXT_EMPTY=0)


@dataclass(slots=True)
class Frame:
    """Packets of the ring, or of an indirect buffer."""

    words: tuple[int, ...]
    vmid: int
    start: int | None = None  # ring position of words[0]
    base: int = 0  # address of an indirect buffer
    at: int = 0
    end: int = 0  # of the packet in work


class Ring:
    """One ring of an engine."""

    def __init__(self, engine: Engine, index: int) -> None:
        self._engine = engine
        self.index = index
        self._prefix = f"SDMA[{engine.index}].SDMA_{RINGS[index]}_"
        self._frames: list[Frame] = []
        self._executor = Executor(engine, self)
        self.position = 0
        self.state = State.IDLE
        self.why = ""
        self.pasid = 0
        self.mqd = 0

    def get(self, name: str) -> int:
        return self._engine.gpu.registers.get(self._prefix + name)

    def set(self, name: str, value: int) -> None:
        self._engine.gpu.registers.set(self._prefix + name, value)

    def get64(self, name: str) -> int:
        return self.get(name) | self.get(f"{name}_HI") << 32

    def set64(self, name: str, value: int) -> None:
        self.set(name, value & 0xFFFFFFFF)
        self.set(f"{name}_HI", value >> 32)

    @property
    def enabled(self) -> bool:
        return bool(self.get("RB_CNTL") & 1)

    @property
    def ib_enabled(self) -> bool:
        return bool(self.get("IB_CNTL") & 1)

    @property
    def size(self) -> int:
        return 4 << Regs.SDMA_GFX_RB_CNTL.kind(self.get("RB_CNTL")).RB_SIZE

    @property
    def has_work(self) -> bool:
        """Not while a driver changes the pointers."""
        if not self.enabled or self.get("MINOR_PTR_UPDATE") & 1:
            return False
        return bool(self._frames) or self.position < self.get64("RB_WPTR")

    @property
    def inside_ib(self) -> bool:
        return len(self._frames) > 1

    @property
    def packet_end_dwords(self) -> int:
        """Where in the ring the packet in work ends."""
        frame = self._frames[0]
        assert frame.start is not None
        return frame.start // 4 + frame.end

    def ring_vmid(self) -> int:
        return Regs.SDMA_GFX_RB_CNTL.kind(self.get("RB_CNTL")).RB_VMID

    def vmid(self) -> int:
        return self._frames[-1].vmid if self._frames else self.ring_vmid()

    def doorbell_is(self, index: int) -> bool:
        """DOORBELL_OFFSET counts only while DOORBELL.ENABLE is set (item 64)."""
        enabled = Regs.SDMA_GFX_DOORBELL.kind(self.get("DOORBELL")).ENABLE
        place = Regs.SDMA_GFX_DOORBELL_OFFSET.kind(self.get("DOORBELL_OFFSET"))
        return bool(enabled and index == place.OFFSET)

    def restart(self, position: int | None = None) -> None:
        """The ring was switched on: pointers as the registers have them (item 63)."""
        self._frames.clear()
        self.position = self.get64("RB_RPTR") if position is None else position
        self.state = State.IDLE

    def enter(self, base: int, dwords: int, vmid: int) -> None:
        words = struct.unpack(f"<{dwords}I", self._engine.read(vmid, base, dwords * 4))
        self._frames.append(Frame(words, vmid, base=base))

    def leave(self) -> tuple[int, int, int]:
        """Pre-empt between packets: address, dwords and place of the indirect buffer in work, all 0 without one."""
        frame = self._frames[-1] if self.inside_ib else Frame((), 0)
        self.restart(self.position)
        return frame.base, len(frame.words), frame.at

    def resume(self, base: int, dwords: int, at: int) -> None:
        """Go on inside an indirect buffer whose packet is the next of the ring."""
        if not self._fetch() or self._packet(self._frames[0]) is None:
            raise BadPacket("no packet in the ring for the indirect buffer that a queue was in")
        self._frames[0].at = self._frames[0].end
        self.enter(base, dwords, self.vmid())
        self._frames[-1].at = at

    def skip(self, dwords: int) -> None:
        self._frames[-1].end += dwords

    def run(self) -> Timed | None:
        """Until the ring is empty or waits; what takes time is handed back, and ends with `finish`."""
        self.state = State.IDLE
        for _ in range(PACKETS_A_RUN):
            if not self._frames and not self._fetch():
                return None
            frame = self._frames[-1]
            if frame.at >= len(frame.words):
                self._pop()
                continue
            words = self._packet(frame)
            if words is None:
                return None
            result = self._executor.execute(words)
            if isinstance(result, Wait):
                self.state, self.why = State.WAITING, result.why
                return None
            if result is not None:
                return result
            self._end(frame)
        self._engine.wake(LOOK_S)
        return None

    def finish(self) -> None:
        """The packet in work is done."""
        self._end(self._frames[-1])

    def opcode(self) -> int:
        """Of the packet in work, 0 without one."""
        frame = self._frames[-1] if self._frames else None
        return frame.words[frame.at] & 0xFF if frame and frame.at < len(frame.words) else 0

    def _end(self, frame: Frame) -> None:
        frame.at = frame.end
        if self._frames[-1] is frame and frame.start is not None:
            self.position = frame.start + frame.at * 4

    def _pop(self) -> None:
        ended = self._frames.pop()
        frame = self._frames[-1] if self._frames else ended
        if frame.start is not None:
            self.position = frame.start + frame.at * 4

    def _packet(self, frame: Frame) -> tuple[int, ...] | None:
        """The next packet whole; None: its rest is not in the ring yet."""
        size = length(frame.words[frame.at : frame.at + 4])
        if frame.at + size > len(frame.words):
            if frame.start is None:
                raise BadPacket("packet reaches over the end of its indirect buffer")
            self._frames.pop()
            return None
        frame.end = frame.at + size
        return frame.words[frame.at : frame.end]

    def _fetch(self) -> bool:
        wptr, size = self.get64("RB_WPTR"), self.size
        if wptr - self.position > size:
            raise BadPacket(f"ring overrun: {wptr - self.position:#x} bytes in a ring of {size:#x}")
        count = min(wptr - self.position, FETCH_DWORDS * 4) & ~3
        if count <= 0:
            return False
        first = self.position % size
        base = self.get64("RB_BASE") << 8
        vmid = self.ring_vmid()
        data = self._engine.read(vmid, base + first, min(count, size - first))
        if len(data) < count:
            data += self._engine.read(vmid, base, count - len(data))
        self._frames.append(Frame(struct.unpack(f"<{count // 4}I", data), vmid, self.position))
        return True

    def show(self) -> None:
        """Read pointer into the register, and to memory if that is on."""
        if self.get64("RB_RPTR") == self.position:
            return
        self.set64("RB_RPTR", self.position)
        if not Regs.SDMA_GFX_RB_CNTL.kind(self.get("RB_CNTL")).RPTR_WRITEBACK_ENABLE:
            return
        address = self.get("RB_RPTR_ADDR_HI") << 32 | self.get("RB_RPTR_ADDR_LO") & ~3
        self._engine.write(self.ring_vmid(), address, self.position.to_bytes(8, "little"))


class Engine:
    """Serves its rings in turn; one packet is in work at a time."""

    def __init__(self, block: Sdma, gpu: ModelGpu, index: int) -> None:
        self._block, self.gpu, self.index = block, gpu, index
        self.aid = index // 4
        self.hub = f"MMHUB[{self.aid}]"
        self._rings: list[Ring] = []
        self.first_position = 0  # where the kernel's ring goes on, in bytes
        self.stopped = ""  # why, if for good
        self.at_work: Ring | None = None  # the ring whose packet takes time
        self._due = False
        self._patience = Patience(gpu.clock)
        self._life = 0  # counts resets: what was begun before one never ends

    @property
    def rings(self) -> list[Ring]:
        """Made when first asked for: most engines of most models never work."""
        if not self._rings:
            self._rings = [Ring(self, number) for number in range(len(RINGS))]
            self._rings[0].position = self.first_position
        return self._rings

    @property
    def firmware(self) -> int:
        return FW_TYPES[self.index % 4]

    def reset(self) -> None:
        """Everything in work is dropped."""
        self._life += 1
        self.stopped = ""
        self.at_work = None
        self._due = False
        self._rings = []
        self.first_position = 0

    def drop(self, ring: Ring) -> None:
        """What a ring has in work, and start it again at its pointers."""
        if self.at_work is ring:
            self._life += 1
            self.at_work = None
            self._due = False
        ring.restart()

    def wake(self, delay_s: float = 0.0) -> None:
        if self._due:
            return
        self._due = True
        life = self._life
        self.gpu.hive.events.after(delay_s, lambda: self._run(life))

    def _run(self, life: int) -> None:
        if life != self._life:
            return
        self._due = False
        if self.at_work is not None or self.stopped or not self._block.works(self.index):
            return
        for ring in self._in_turn():
            if not self._serve(ring):
                break
        self._show()
        waits = [(ring.index, ring.position, ring.why) for ring in self.rings if ring.state is State.WAITING]
        if waits and self.at_work is None:
            self.wake(self._patience.next_look_s(waits))

    def _in_turn(self) -> Iterator[Ring]:
        return (ring for ring in self.rings if ring.has_work)

    def _serve(self, ring: Ring) -> bool:
        """True: the next ring may have the engine."""
        try:
            timed = ring.run()
            ring.show()
        except (BadPacket, PageFault) as error:
            self._stop(ring, str(error) or type(error).__name__)
            return False
        if timed is None:
            return True
        self.at_work = ring
        life = self._life
        seconds = timed.seconds * self.gpu.smu.telemetry.slowness
        self.gpu.hive.events.after(seconds, lambda: self._finish(ring, timed, life), follow=True)
        return False

    def _finish(self, ring: Ring, timed: Timed, life: int) -> None:
        """A hung engine stops in the middle: half of the bytes have arrived, the rest never does."""
        if life != self._life or self.stopped or self.gpu.lost:
            return
        hung = self.index in self._block.hung
        try:
            timed.act(timed.size // 2 & ~7 if hung else timed.size)
            if hung:
                return
            self.at_work = None
            ring.finish()
        except PageFault as fault:
            self.at_work = None
            self._stop(ring, str(fault))
            return
        self._run(life)

    def _stop(self, ring: Ring, why: str) -> None:
        self.stopped = why
        ring.state, ring.why = State.STOPPED, why
        self.gpu.wrong("sdma", f"engine {self.index}, {RINGS[ring.index]}: {why}")
        self._show()

    def _show(self) -> None:
        """Status as the state dump reads it; a hung engine's stays as it is."""
        if self.index in self._block.hung:
            return
        registers, prefix = self.gpu.registers, f"SDMA[{self.index}].SDMA_"
        busy = bool(self.stopped) or self.at_work is not None
        for ring in self.rings:
            selected = ring is self.at_work or ring.state in (State.WAITING, State.STOPPED)
            busy = busy or selected
            if ring.enabled or selected:
                ring.set("CONTEXT_STATUS", 1 if selected else 5 if ring.index == 0 else 4)
        inside = int(any(ring.inside_ib for ring in self.rings))
        status = _BUSY.replace(INSIDE_IB=inside, IB_CMD_IDLE=1 - inside) if busy else _IDLE
        registers.set(f"{prefix}STATUS_REG", int(status))
        opcode = next((ring.opcode() for ring in self.rings if ring.get("CONTEXT_STATUS") == 1), 0)
        second = Regs.SDMA_STATUS2_REG.kind(registers.get(f"{prefix}STATUS2_REG"))
        registers.set(f"{prefix}STATUS2_REG", int(second.replace(CMD_OP=opcode)))
        (self._block.busy.add if busy else self._block.busy.discard)(self.index)

    def trap(self, ring: Ring, context: int) -> None:
        if Regs.SDMA_CNTL.kind(self.gpu.registers.get(f"SDMA[{self.index}].SDMA_CNTL")).TRAP_ENABLE:
            self.interrupt(ring, INT_TRAP, context)

    def interrupt(self, ring: Ring, source: int, context: int) -> None:
        self.gpu.ih.send(
            CLIENTS[self.index % 4],
            source,
            ring_id=ring.index,
            vmid=ring.ring_vmid(),
            pasid=ring.pasid,
            node=4 * self.aid,
            context=(context, 0, 0, 0),
        )

    def read(self, vmid: int, address: int, size: int) -> bytes:
        return self.gpu.gmc.read(self.hub, vmid, address, size, client=FIRST_CLIENT_ID + self.index % 4)

    def write(self, vmid: int, address: int, data: bytes) -> None:
        self.gpu.gmc.write(self.hub, vmid, address, data, client=FIRST_CLIENT_ID + self.index % 4)
