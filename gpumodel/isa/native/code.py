"""The code of a kernel, before it is compiled: which instructions can be reached, where basic blocks begin, which registers
there are.

Blocks are found from the entry on; wherever the interpreter may have to step in, the code can be entered again behind that
instruction."""

from __future__ import annotations

from dataclasses import dataclass

from gpumodel.isa import vector, vmem
from gpumodel.isa.decode import Instruction
from gpumodel.isa.memory import PAGE
from gpumodel.isa.native.layout import Slots
from gpumodel.isa.operands import VGPR0
from gpumodel.isa.program import Flow, Program, Step

MOST_INSTRUCTIONS = 6000
SCALAR = frozenset(("SOP1", "SOP2", "SOPC", "SOPK"))  # formats
VECTOR = frozenset(("VOP1", "VOP2", "VOPC", "VOP3", "VOP3P", "MAI"))


class NotCompiled(Exception):
    """A kernel that is interpreted; why."""


@dataclass(frozen=True, slots=True)
class Code:
    """A kernel by its instructions. `leaders`: where basic blocks begin; `returns`: where waves may come back from the
    interpreter, or a barrier; `again`: which are tried again, after memory has been brought; `pages`: that they lie in."""

    steps: dict[int, Step | None]  # None: not an instruction, or not one that is modelled
    leaders: frozenset[int]
    returns: frozenset[int]
    again: frozenset[int]
    slots: Slots
    pages: frozenset[int]


def found(program: Program, entry: int) -> Code:
    """All that can be reached, as far as memory is there. Raises NotCompiled."""
    steps: dict[int, Step | None] = {}
    leaders, returns, again, pages = {entry}, set[int](), set[int](), set[int]()
    todo = [entry]
    while todo:
        pc = todo.pop()
        while pc not in steps:
            if len(steps) >= MOST_INSTRUCTIONS:
                raise NotCompiled(f"more than {MOST_INSTRUCTIONS} instructions")
            step = steps[pc] = program.ahead(pc)
            if step is None:
                pages |= {pc & -PAGE} if program.there(pc) else set()
                break
            pages |= {pc & -PAGE, pc + step.size - 1 & -PAGE}
            _check(step)
            following = pc + step.size
            if step.flow in (Flow.BRANCH, Flow.IF):
                target = target_of(step, pc)
                if step.flow is Flow.BRANCH and target <= pc and _closed(steps, target, pc):
                    raise NotCompiled("a loop without a way out")
                leaders |= {target, following}
                todo.append(target)
            if step.flow in (Flow.END, Flow.BRANCH):
                break
            if step.flow is Flow.BARRIER or not _stays(step):
                returns.add(following)
            if step.instruction.format in ("SMEM", "GLOBAL", "MUBUF"):
                again.add(pc)
            pc = following
    known = [step for step in steps.values() if step is not None]
    returns = returns & steps.keys() - leaders
    leaders &= steps.keys()
    return Code(steps, frozenset(leaders), frozenset(returns), frozenset(again), _slots(known), frozenset(pages))


def _closed(steps: dict[int, Step | None], target: int, pc: int) -> bool:
    """Whether between the target of a branch backwards and the branch no instruction leads elsewhere."""
    at = target
    while at < pc and (step := steps.get(at)) is not None and step.flow is Flow.NEXT:
        at += step.size
    return at == pc


def _check(step: Step) -> None:
    name = step.instruction.name
    if step.flow is Flow.TO or name == "s_call_b64":
        raise NotCompiled(f"{name}: where it leads is not known before")
    if name.startswith(("s_setreg", "s_getreg", "s_movrel", "s_set_gpr_idx")):
        raise NotCompiled(name)


def _stays(step: Step) -> bool:
    """Whether no wave leaves the compiled code here, as far as its kind tells."""
    return step.idle or step.instruction.format in ("SOPP", *SCALAR, *VECTOR)


def target_of(step: Step, pc: int) -> int:
    """Where a branch leads."""
    return pc + step.size + 4 * vmem.signed(step.instruction.get("simm16"), 16)


def _slots(steps: list[Step]) -> Slots:
    plain, accumulation = 1, 0
    for step in steps:
        for first, count in _vgprs(step.instruction):
            if first >= 256:
                accumulation = max(accumulation, first + count - 256)
            else:
                plain = max(plain, first + count)
    return Slots(min(plain, 256), min(accumulation, 256))


def _vgprs(instruction: Instruction) -> list[tuple[int, int]]:
    """First and how many, of each operand that is (or may be) a VGPR."""
    pieces = []
    for operand in instruction.operands:
        if operand.kind in "si" or not instruction.has(operand.name):
            continue
        if instruction.format not in VECTOR:
            pieces.append((vmem.register(instruction, operand.name), operand.dwords))
        elif operand.name == "vdst":
            pieces.append((vector.destination(instruction), operand.dwords))
        elif (code := vector.source_code(instruction, operand.name)) >= VGPR0:
            pieces.append((code - VGPR0, max(operand.dwords, 2)))  # packed ones may name the second of two
    return pieces
