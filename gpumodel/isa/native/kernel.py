"""A kernel as one function of the host, which runs a wave until it ends, waits, or stands at an instruction that is the
interpreter's.

Vector instructions are collected into segments (segment.py); scalar ones are moved before the open segment when neither sees
the difference."""

from __future__ import annotations

from dataclasses import replace

from gpumodel.isa.decode import Instruction
from gpumodel.isa.mfma import mfma
from gpumodel.isa.native import lane_steps, lanewise, layout, matrix_steps, reach, scalar_steps
from gpumodel.isa.native.code import SCALAR, VECTOR, Code, NotCompiled, found, target_of
from gpumodel.isa.native.function import Function
from gpumodel.isa.native.ir import const
from gpumodel.isa.native.lanewise import Unlowered
from gpumodel.isa.native.layout import Reason
from gpumodel.isa.native.segment import WAVE_POINTER, Close
from gpumodel.isa.operands import SCC, Source
from gpumodel.isa.program import Flow, Program, Step
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.waves import EXEC, VCC


def compiled_text(program: Program, entry: int) -> tuple[str, Code, list[str]]:
    """The module, and the names of the instructions that it leaves to the interpreter. Raises NotCompiled."""
    code = found(program, entry)
    compiler = Compiler(code, program.target)
    text = compiler.text()
    if compiler.missing:
        code = replace(code, returns=code.returns | compiler.missing)
        compiler = Compiler(code, program.target)
        text = compiler.text()
    return text, code, compiler.interpreted


class Compiler:
    """`interpreted`: what is left to the interpreter, by name; `missing`: where the function has to be entered, and cannot."""

    def __init__(self, code: Code, target: str) -> None:
        self._code = code
        self._function = Function(code.slots, target)
        self.interpreted: list[str] = []
        self.missing: set[int] = set()

    def text(self) -> str:
        """The module. Raises NotCompiled."""
        f, code = self._function, self._code
        order = sorted(code.steps)
        for number, pc in enumerate(order):
            step = code.steps[pc]
            if pc in code.leaders or pc in code.returns:
                f.close()
                f.fall(_block(pc))
            if pc in code.leaders:
                self._count(order[number:])
            if pc in code.again:
                f.close()
                f.fall(_again(pc))
            if step is None:
                f.close()
                f.leave(pc, Reason.STEP)
                continue
            following = pc + step.size
            self._step(pc, step)
            goes_on = step.flow not in (Flow.END, Flow.BRANCH, Flow.BARRIER, Flow.IF)
            if goes_on and (number + 1 == len(order) or order[number + 1] != following):
                raise NotCompiled("instructions that overlap")
        f.close()
        entries = {pc: _block(pc) for pc in sorted(code.leaders | code.returns)}
        entries |= {pc | layout.AGAIN: _again(pc) for pc in sorted(code.again)}
        return f.text(entries)

    def _count(self, order: list[int]) -> None:
        """The instructions of a block; whoever comes back behind one of them was counted."""
        number = 0
        for pc in order:
            if number and pc in self._code.leaders:
                break
            number += 1
        main = self._function.main
        place = main.at(WAVE_POINTER, layout.STEPS)
        main.store(main.two("add", main.load("i64", place, 8), const("i64", number)), place, 8)

    def _step(self, pc: int, step: Step) -> None:
        f, following = self._function, pc + step.size
        if step.idle:
            return
        if step.flow in (Flow.END, Flow.BARRIER, Flow.BRANCH, Flow.IF):
            f.close()
        if step.flow is Flow.END:
            f.leave(pc, Reason.END)
        elif step.flow is Flow.BARRIER:
            f.leave(following, Reason.BARRIER)
        elif step.flow is Flow.BRANCH:
            self._go(pc, target_of(step, pc))
        elif step.flow is Flow.IF:
            self._branch(pc, step)
        else:
            try:
                _lower(f, pc, step.instruction)
            except (Unlowered, NotModelled, IndexError):
                f.close()
                self.interpreted.append(step.instruction.name)
                f.leave(pc, Reason.STEP)
                if following not in self._code.leaders | self._code.returns:
                    self.missing.add(following)

    def _branch(self, pc: int, step: Step) -> None:
        f, what = self._function, step.instruction.name.removeprefix("s_cbranch_")
        if what.startswith("scc"):
            value = f.get(Source(SCC), "i32")
        else:
            value = f.get(Source(EXEC if what.startswith("exec") else VCC), "i64")
        zero = what.endswith(("0", "z")) and not what.endswith("nz")
        taken = f.main.icmp("eq" if zero else "ne", value, const(value.type, 0))
        yes = f.label()
        f.main.line(f"br i1 {taken.text}, label %{yes}, label %{_block(pc + step.size)}")
        f.begin(yes)
        self._go(pc, target_of(step, pc))

    def _go(self, pc: int, target: int) -> None:
        """To a block; backwards only so often."""
        f = self._function
        main = f.main
        if target > pc:
            main.line(f"br label %{_block(target)}")
            f.begin(f.label())
            return
        place = main.at(WAVE_POINTER, layout.FUEL)
        left = main.two("sub", main.load("i64", place, 8), const("i64", 1))
        main.store(left, place, 8)
        enough = main.icmp("sgt", left, const("i64", 0))
        out = f.label()
        main.line(f"br i1 {enough.text}, label %{_block(target)}, label %{out}")
        f.begin(out)
        f.leave(target, Reason.FUEL)


def _block(pc: int) -> str:
    """The label of the block that begins there."""
    return f"b{pc:x}"


def _again(pc: int) -> str:
    """The label of an instruction that is tried again."""
    return f"again{pc:x}"


def _lower(f: Function, pc: int, instruction: Instruction) -> None:
    """Raises Unlowered, NotModelled, IndexError."""
    kind, name = instruction.format, instruction.name
    if name == "s_getpc_b64":
        raise Unlowered(name)
    if kind in SCALAR:
        scalar_steps.compute(f, instruction)
    elif kind == "SMEM":
        scalar_steps.load(f, pc, instruction)
    elif name in ("v_readfirstlane_b32", "v_readlane_b32"):
        lane_steps.read(f, instruction)
    elif name == "v_writelane_b32":
        lane_steps.write(f, instruction)
    elif name in mfma(f.target):
        matrix_steps.multiply(f, instruction)
    elif name.startswith("v_permlane"):
        lane_steps.swap(f, pc, instruction)
    elif instruction.encoding == "dpp":
        lane_steps.dpp(f, instruction)
    elif name in ("ds_swizzle_b32", "ds_bpermute_b32", "ds_permute_b32"):
        lane_steps.exchange(f, instruction)
    elif kind in VECTOR:
        _lanewise(f, instruction)
    elif kind in ("GLOBAL", "DS"):
        reach.access(f, pc, instruction)
    elif kind == "MUBUF":
        reach.buffer(f, pc, instruction)
    else:
        raise Unlowered(name)


def _lanewise(f: Function, instruction: Instruction) -> None:
    try:
        lanewise.lower(f.segment, instruction, f.target)
    except Close:
        f.close()
        try:
            lanewise.lower(f.segment, instruction, f.target)
        except Close:
            raise Unlowered(f"{instruction.name} with pairs that overlap") from None
    if f.segment.changes_exec:
        f.close()


__all__ = ["Code", "Compiler", "NotCompiled", "compiled_text", "found"]
