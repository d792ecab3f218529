"""What the rings of the video engines have in common: where they are read, how far, what waits, what stops them.

Source: Linux v7.3 amdgpu/amdgpu_ring.c (pointers of rings without 64-bit pointers wrap), vcn_v4_0_3.c, jpeg_v4_0_3.c;
research/amdgpu-on-model.md items 52, 53. Pointers and sizes in dwords, times in seconds. Commands are those of the
subclass: JPEG's are read by hardware, VCN's by firmware."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpumodel.chips import AID_STRIDE
from gpumodel.gmc import PageFault
from gpumodel.pm4 import BadPacket

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

CLIENT = 0x10  # soc15_ih_clientid.h: VCN, whatever the AID; node_id tells that
DOORBELL_S = 2e-6  # guess: until a ring is looked at whose doorbell rang
POLL_AFTER_S = 1e-6  # guess: how soon a wait looks again
COMMANDS_A_RUN = 20000
AID_REGISTERS = AID_STRIDE - 1
RRMT_ENABLED = 0x100  # VCN_RRMT_CNTL: register numbers name the AID, too (vcn_v4_0_3_normalizn_reqd)

Words = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A ring as its registers describe it now."""

    address: int
    dwords: int
    vmid: int


@dataclass(slots=True)
class Frame:
    """Commands of the ring, or of an indirect buffer. `start`: ring position of words[0], None in a buffer."""

    words: Words
    vmid: int
    start: int | None = None
    at: int = 0


class VideoRing(ABC):
    """One ring. `stopped`: why, if for good; a reset of its engine makes it whole again."""

    def __init__(self, gpu: ModelGpu, block: str, name: str, aid: int) -> None:
        self.gpu, self.aid = gpu, aid
        self._block, self._name = block, name
        self.stopped = ""
        self.position = 0
        self._frames: list[Frame] = []
        self._due = False
        self._at_work = False
        self._life = 0  # counts resets: what was begun before one never ends

    @abstractmethod
    def runs(self) -> bool:
        """Whether anybody reads the ring now."""

    @abstractmethod
    def place(self) -> Place: ...

    @abstractmethod
    def write_pointer(self) -> int: ...

    @abstractmethod
    def show(self) -> None:
        """Put the position into the registers."""

    @abstractmethod
    def length(self, word: int) -> int:
        """Dwords of the command that begins so; BadPacket when none does."""

    @abstractmethod
    def execute(self, words: Words) -> str:
        """One whole command; what it waits for, "" when it is done."""

    @property
    def has_work(self) -> bool:
        return bool(self._frames) or self.position != self.write_pointer()

    @property
    def inside_ib(self) -> bool:
        return len(self._frames) > 1

    @property
    def at_work(self) -> bool:
        """A command of this ring is being carried out: it may be what writes a register."""
        return self._at_work

    def reset(self) -> None:
        """Everything in work is dropped; the position is 0."""
        self._life += 1
        self.stopped = ""
        self.position = 0
        self._frames = []
        self._due = False

    def move(self, position: int) -> None:
        """The driver says where to go on."""
        self._frames = []
        self.position = position

    def wake(self, delay_s: float = DOORBELL_S) -> None:
        if self._due:
            return
        self._due = True
        life = self._life
        self.gpu.hive.events.after(delay_s, lambda: self._run(life))

    def wrong(self, text: str) -> None:
        self.gpu.wrong(self._block, f"{self._name}: {text}")

    def register(self, number: int) -> int:
        """Address of a register by the number in a command: local to the AID unless RRMT is on (item 53)."""
        if self.gpu.registers.get(f"VCN[{self.aid}].VCN_RRMT_CNTL") & RRMT_ENABLED:
            return number
        return (number & AID_REGISTERS) + self.aid * AID_STRIDE

    def enter(self, address: int, dwords: int, vmid: int) -> None:
        """The commands of an indirect buffer come next."""
        if self.inside_ib:
            raise BadPacket("an indirect buffer inside of one")
        self._frames.append(Frame(self.read_words(vmid, address, dwords), vmid))

    def vmid(self) -> int:
        return self._frames[-1].vmid

    def read_words(self, vmid: int, address: int, dwords: int) -> Words:
        data = self.gpu.gmc.read(f"MMHUB[{self.aid}]", vmid, address, dwords * 4)
        return struct.unpack(f"<{dwords}I", data)

    def write_word(self, vmid: int, address: int, value: int) -> None:
        if address & 3:
            raise BadPacket(f"a write to {address:#x}, not a multiple of 4")
        self.gpu.gmc.write(f"MMHUB[{self.aid}]", vmid, address, value.to_bytes(4, "little"))

    def interrupt(self, source: int) -> None:
        self.gpu.ih.send(CLIENT, source, node=4 * self.aid)

    def _run(self, life: int) -> None:
        if life != self._life:
            return
        self._due = False
        if self.stopped or self.gpu.lost:
            return
        try:
            if not self.runs():
                return
            delay_s = self._commands()
        except (BadPacket, PageFault) as error:
            self.stopped = str(error) or type(error).__name__
            self.wrong(self.stopped)
            delay_s = None
        if life != self._life:  # a command that resets its own engine
            return
        self.show()
        if delay_s is not None:
            self.wake(delay_s)

    def _commands(self) -> float | None:
        """Until the ring is empty or waits; when to look again, None: when somebody asks for it."""
        life = self._life
        for _ in range(COMMANDS_A_RUN):
            if not self._frames and not self._fetch():
                return None
            frame = self._frames[-1]
            if frame.at >= len(frame.words):
                self._frames.pop()
                self._settle()
                continue
            size = self.length(frame.words[frame.at])
            if frame.at + size > len(frame.words):
                if frame.start is None:
                    raise BadPacket("a command reaches over the end of its indirect buffer")
                self._frames.pop()
                return None
            if self._execute(frame.words[frame.at : frame.at + size]):
                return POLL_AFTER_S
            if life != self._life:
                return None
            frame.at += size
            self._settle()
        return POLL_AFTER_S

    def _execute(self, words: Words) -> str:
        self._at_work = True
        try:
            return self.execute(words)
        finally:
            self._at_work = False

    def _settle(self) -> None:
        """The position is behind a command once its indirect buffer is done, too."""
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.start is not None:
            self.position = (frame.start + frame.at) % self.place().dwords

    def _fetch(self) -> bool:
        place, end = self.place(), self.write_pointer()
        if end == self.position:
            return False
        if max(end, self.position) >= place.dwords:
            raise BadPacket(f"pointers {self.position:#x}, {end:#x} in a ring of {place.dwords:#x} dwords")
        count = (end - self.position) % place.dwords
        first = min(count, place.dwords - self.position)
        words = self.read_words(place.vmid, place.address + self.position * 4, first)
        if first < count:
            words += self.read_words(place.vmid, place.address, count - first)
        self._frames.append(Frame(words, place.vmid, self.position))
        return True
