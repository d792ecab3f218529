"""The function that a kernel becomes, `kernel(wave, registers, memory)`, as it is being written: the open segment of vector
instructions, the scalar registers of the wave, where its VGPRs lie, what is shared with other kernels, and how it is left.

What single instructions become is written by scalar_steps.py, lane_steps.py, matrix_steps.py and reach.py."""

from __future__ import annotations

from gpumodel.isa.native import crosslane, jit, layout
from gpumodel.isa.native.ir import BITS, Builder, Value, const
from gpumodel.isa.native.lanewise import Unlowered
from gpumodel.isa.native.layout import Reason, Slots
from gpumodel.isa.native.segment import REGISTERS, WAVE_POINTER, Segment
from gpumodel.isa.operands import EXECZ, SCC, VCCZ, Source, constant_bits
from gpumodel.isa.waves import EXEC, SGPRS, VCC


class Function:
    """`main`: its text so far; `segment`: the open one, which comes behind that; `target`: "gfx942" or "gfx950"."""

    def __init__(self, slots: Slots, target: str) -> None:
        self.slots = slots
        self.target = target
        self.main = Builder()
        self.segment = Segment(self.main, slots)
        self._leaving: list[tuple[int, str]] = []  # instructions that the interpreter does, and from which block
        self._shared: set[str] = set()  # declarations of functions of other modules
        self._functions: dict[str, str] = {}  # of this one

    def close(self) -> None:
        """Ends the open segment: what is written from now on comes behind it."""
        self.segment.close(self.main)
        self.drop()

    def drop(self) -> None:
        """Forgets the open segment."""
        self.segment = Segment(self.main, self.slots)

    # ---- blocks

    def label(self) -> str:
        """A new one."""
        return self.main.name()[1:]

    def begin(self, label: str) -> None:
        self.main.lines.append(f"{label}:")

    def fall(self, label: str) -> None:
        """A block that begins here, and is also gone to."""
        self.main.line(f"br label %{label}")
        self.begin(label)

    # ---- leaving

    def leave(self, pc: int, reason: Reason) -> None:
        """The wave stops: with its PC there."""
        main = self.main
        if reason is Reason.STEP:
            main.store(const("i64", 0), main.at(WAVE_POINTER, layout.MISSED), 8)  # none: not what an access left there
            block = self.label()
            self.fall(block)
            main.line("br label %leave")
            self._leaving.append((pc, block))
        else:
            self._stop(str(pc), reason)
        self.begin(self.label())

    def leave_if(self, pc: int, leaves: Value) -> None:
        """The interpreter does the instruction if so."""
        block, on = self.label(), self.label()
        self.fall(block)
        self.main.line(f"br i1 {leaves.text}, label %leave, label %{on}")
        self.begin(on)
        self._leaving.append((pc, block))

    def _stop(self, pc: str, reason: Reason) -> None:
        main = self.main
        main.store(Value(pc, "i64"), main.at(WAVE_POINTER, layout.PC), 8)
        main.store(Value(str(int(reason)), "i32"), main.at(WAVE_POINTER, layout.REASON), 4)
        main.line("ret void")

    # ---- scalars

    def get(self, source: Source, kind: str) -> Value:
        """A scalar operand as "i32" or "i64". Raises Unlowered."""
        main, code = self.main, source.code
        wide = kind == "i64"
        if source.constant:
            return const(kind, constant_bits(source, "u64" if wide else "u32"))
        if code < (127 if wide else 128):
            return main.load(kind, main.at(WAVE_POINTER, 4 * code), 4)
        if code == SCC:
            return main.cast("zext", main.load("i32", main.at(WAVE_POINTER, layout.SCC), 4), kind)
        if code in (EXECZ, VCCZ):
            pair = self.get(Source(EXEC if code == EXECZ else VCC), "i64")
            return main.cast("zext", main.icmp("eq", pair, const("i64", 0)), kind)
        raise Unlowered(f"source operand {code}")

    def put(self, place: int, value: Value) -> None:
        """Into a scalar register, or two. Raises Unlowered."""
        if place + BITS[value.type] // 32 > SGPRS:
            raise Unlowered("behind the last register")
        self.main.store(value, self.main.at(WAVE_POINTER, 4 * place), 4)

    def exec(self) -> Value:
        """Which lanes are on, a bit each."""
        return self.get(Source(EXEC), "i64")

    def scc(self) -> Value:
        return self.main.icmp("ne", self.get(Source(SCC), "i32"), const("i32", 0))

    def set_scc(self, flag: Value) -> None:
        main = self.main
        main.store(main.cast("zext", flag, "i32"), main.at(WAVE_POINTER, layout.SCC), 4)

    # ---- vector registers

    def row(self, index: int, count: int = 1) -> Value:
        """Where a register lies, that is the first of so many. Raises IndexError."""
        self.slots.of(index + count - 1)
        return self.main.at(REGISTERS, layout.ROW * self.slots.of(index))

    # ---- other functions

    def share(self, name: str, text: str, declaration: str) -> None:
        """Calls of a function are to come that all kernels share."""
        jit.share(name, text)
        self._shared.add(declaration)

    def define(self, name: str, text: str) -> None:
        """The same, of a function of this module."""
        self._functions[name] = text

    # ---- the end

    def text(self, entries: dict[int, str]) -> str:
        """The module: `run` runs several waves. `entries`: what PC may be when it begins, and the label that it goes on at."""
        main = self.main
        main.line("unreachable")
        if self._leaving:
            self.begin("leave")
            stood = main.name()
            main.line(f"{stood} = phi i64 " + ", ".join(f"[ {pc}, %{block} ]" for pc, block in self._leaving))
            self._stop(stood, Reason.STEP)
        switch = "".join(f"    i64 {pc}, label %{label}\n" for pc, label in entries.items())
        body = "\n".join(main.lines)
        head = (
            "define internal void @kernel(ptr noalias %h, ptr noalias %v, ptr noalias %m) {\nentry:\n"
            f"{crosslane.ALLOCATED if crosslane.TEMPORARY.text in body else ''}"
            f"  %pc.at = getelementptr i8, ptr %h, i64 {layout.PC}\n"
            "  %pc = load i64, ptr %pc.at\n"
            f"  switch i64 %pc, label %nowhere [\n{switch}  ]\nnowhere:\n"
            f"  %reason.at = getelementptr i8, ptr %h, i64 {layout.REASON}\n"
            f"  store i32 {Reason.STEP}, ptr %reason.at\n  ret void\nnever:\n"
        )
        declared = sorted(self._shared | main.declared)
        return "\n".join([*declared, *self._functions.values(), *main.texts, head + body + "\n}\n", _DRIVER])


_DRIVER = f"""
define void @run(ptr %waves, ptr %registers, ptr %m, ptr %list, i64 %count, i64 %stride) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %end = icmp eq i64 %i, %count
  br i1 %end, label %done, label %one
one:
  %at = getelementptr i64, ptr %list, i64 %i
  %number = load i64, ptr %at
  %h.offset = mul i64 %number, {layout.WAVE_BYTES}
  %v.offset = mul i64 %number, %stride
  %h = getelementptr i8, ptr %waves, i64 %h.offset
  %v = getelementptr i8, ptr %registers, i64 %v.offset
  call void @kernel(ptr %h, ptr %v, ptr %m)
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}}
"""
