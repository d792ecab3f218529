"""A run of lanewise instructions as one loop over the lanes of a wave, WIDTH at a time: what they hand to each other stays in
the host's registers.

What is off is computed, too, and not stored; nothing of it can be seen, as each lane is by itself. The state of a wave:
layout.py."""

from __future__ import annotations

from gpumodel.isa.native import layout
from gpumodel.isa.native.crosslane import PART, TEMPORARY
from gpumodel.isa.native.ir import WIDTH, Builder, Value, lanes
from gpumodel.isa.waves import EXEC

WORDS, FLAGS = lanes("i32"), lanes("i1")
WAVE_POINTER, REGISTERS, MEMORY = Value("%h", "ptr"), Value("%v", "ptr"), Value("%m", "ptr")


class Close(Exception):
    """The segment has to end before this instruction: it needs as a whole what the segment writes lane by lane."""


class Segment:
    """`before`: what is done once, `body`: for each WIDTH lanes. Writes to registers are kept until the end of the body."""

    def __init__(self, within: Builder, slots: layout.Slots) -> None:
        self._slots = slots
        self.before, self.body = Builder(within), Builder(within)
        self._registers: dict[int, Value] = {}
        self._written: set[int] = set()
        self._masks: dict[int, Value] = {}
        self._masks_written: dict[int, Value] = {}
        self._scalars: dict[tuple[int, str], Value] = {}
        self.scalars_read: set[int] = set()
        self.scalars_written: set[int] = set()
        self._exec: Value | None = None
        self.changes_exec = False
        self.moved: int | None = None  # the register of which the temporary row holds what other lanes have
        self.in_part = False  # it writes registers of the lanes of PART alone
        self._chunk = Value(self.body.name(), "i64")
        self._base = Value(self.body.name(), "ptr")

    @property
    def empty(self) -> bool:
        return not self._written and not self._masks_written

    # ---- vector registers

    def _place(self, index: int) -> Value:
        return self.body.at(self._base, layout.ROW * self._slots.of(index))

    def vgpr(self, index: int) -> Value:
        if self.moved is not None:
            return self.temporary(index - self.moved)
        value = self._registers.get(index)
        if value is None:
            value = self._registers[index] = self.body.load(WORDS, self._place(index), 4 * WIDTH)
        return value

    def temporary(self, row: int = 0) -> Value:
        """Of the rows that crosslane.py filled."""
        at = self.body.at(TEMPORARY, layout.ROW * row)
        place = self.body.at(at, self.body.two("shl", self._chunk, Value("5", "i64")))
        return self.body.load(WORDS, place, 4 * WIDTH)

    def flags_at(self, pointer: Value) -> Value:
        """A bit of 64 for each lane."""
        byte = self.body.load("i8", self.body.at(pointer, self._chunk), 1)
        return self.body.value(FLAGS, f"bitcast i8 {byte.text} to {FLAGS}")

    def lanes(self) -> Value:
        """Their numbers."""
        first = self.body.two("shl", self.body.cast("trunc", self._chunk, "i32"), Value("3", "i32"))
        each = Value("<" + ", ".join(f"i32 {number}" for number in range(WIDTH)) + ">", WORDS)
        return self.body.two("add", self.body.splat(first), each)

    def set_vgpr(self, index: int, value: Value) -> None:
        assert value.type == WORDS, value
        self._registers[index] = value
        self._written.add(index)

    def check_vgpr(self, index: int, count: int) -> None:
        """Raises IndexError for registers that the kernel was not found to have."""
        for number in range(count):
            self._slots.of(index + number)

    # ---- scalar registers

    def sgpr(self, index: int, kind: str = "i32") -> Value:
        """A register, or a pair as i64, in all lanes."""
        used = {index, index + 1} if kind == "i64" else {index}
        if used & self.scalars_written:
            raise Close
        self.scalars_read |= used
        value = self._scalars.get((index, kind))
        if value is None:
            one = self.before.load(kind, self.before.at(WAVE_POINTER, 4 * index), 4)
            value = self._scalars[index, kind] = self.before.splat(one)
        return value

    # ---- masks

    def _mask_place(self, pair: int) -> Value:
        return self.body.at(self.body.at(WAVE_POINTER, 4 * pair), self._chunk)

    def _flags(self, pair: int) -> Value:
        byte = self.body.load("i8", self._mask_place(pair), 1)
        return self.body.value(FLAGS, f"bitcast i8 {byte.text} to {FLAGS}")

    def exec(self) -> Value:
        """Which of these lanes are on."""
        if self._exec is None:
            self.scalars_read |= {EXEC, EXEC + 1}
            self._exec = self._flags(EXEC)
        return self._exec

    def mask(self, pair: int) -> Value:
        """A pair of SGPRs, a lane a bit."""
        if pair in self._masks_written:
            return self._masks_written[pair]
        if {pair, pair + 1} & self.scalars_written:
            raise Close
        self.scalars_read |= {pair, pair + 1}
        if pair not in self._masks:
            self._masks[pair] = self._flags(pair)
        return self._masks[pair]

    def mask_of(self, bits: int) -> Value:
        """The same of a constant of 64 bits."""
        shift = self.body.two("shl", self._chunk, Value("3", "i64"))
        part = self.body.two("lshr", Value(str(bits), "i64"), shift)
        byte = self.body.cast("trunc", part, "i8")
        return self.body.value(FLAGS, f"bitcast i8 {byte.text} to {FLAGS}")

    def set_mask(self, pair: int, value: Value) -> None:
        """Lanes that are off become 0."""
        self.check_mask(pair)
        self._masks_written[pair] = self.body.two("and", value, self.exec())
        self.scalars_written |= {pair, pair + 1}
        self.changes_exec |= pair == EXEC

    def check_mask(self, pair: int) -> None:
        """Raises Close if it could not be set now: it shares a register with another pair, which is written, or read lane by
        lane."""
        if pair not in self._masks_written and {pair, pair + 1} & self.scalars_written:
            raise Close
        if {pair - 1, pair + 1} & self._masks.keys():
            raise Close

    # ---- the end

    def close(self, main: Builder) -> None:
        """The loop, into the function."""
        if self.empty:
            return
        body = self.body
        on = self.flags_at(PART) if self.in_part else self.exec() if self._written else None
        for index in sorted(self._written):
            assert on is not None
            place = self._place(index)
            old = body.load(WORDS, place, 4 * WIDTH)
            body.store(body.select(on, self._registers[index], old), place, 4 * WIDTH)
        for pair, flags in self._masks_written.items():
            byte = body.value("i8", f"bitcast {FLAGS} {flags.text} to i8")
            body.store(byte, self._mask_place(pair), 1)
        name = self._chunk.text.removeprefix("%")
        following = body.two("add", self._chunk, Value("1", "i64"))
        chunks = self.before.load("i64", self.before.at(MEMORY, layout.CHUNKS), 8)
        done = body.icmp("eq", following, chunks)
        main.lines += [
            *self.before.lines,
            f"  br label %into{name}",
            f"into{name}:",
            f"  br label %loop{name}",
            f"loop{name}:",
            f"  {self._chunk.text} = phi i64 [ 0, %into{name} ], [ {following.text}, %loop{name} ]",
            f"  {self._base.text}.offset = shl i64 {self._chunk.text}, 5",
            f"  {self._base.text} = getelementptr i8, ptr %v, i64 {self._base.text}.offset",
            *body.lines,
            f"  br i1 {done.text}, label %after{name}, label %loop{name}",
            f"after{name}:",
        ]
        lanemask = main.load("i64", main.at(MEMORY, layout.LANEMASK), 8) if self._masks_written else None
        for pair in self._masks_written:  # lanes that were not done
            assert lanemask is not None
            place = main.at(WAVE_POINTER, 4 * pair)
            kept = main.two("and", main.load("i64", place, 4), lanemask)
            main.store(kept, place, 4)
