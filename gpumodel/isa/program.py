"""Code: each instruction is decoded and bound once, when a wave first comes to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from gpumodel.isa import decode, indexed, scalar, smem, vector, vmem
from gpumodel.isa.alike import Alike
from gpumodel.isa.decode import LONGEST, Instruction, UnknownEncoding
from gpumodel.isa.memory import PAGE, WaveMemory
from gpumodel.isa.stop import Illegal, NotModelled, Stop
from gpumodel.isa.together import Group, group_of
from gpumodel.isa.waves import Waves


class Flow(Enum):
    """What an instruction does to the order of execution."""

    NEXT = "the next one follows"
    BRANCH = "to another place, always"
    IF = "to another place, or on"
    TO = "to an address in registers"
    END = "the wave ends"
    BARRIER = "until all of the group are here"
    INDEXED = "up to s_set_gpr_idx_off M0 is added to numbers of VGPRs"


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction, ready to run. `run` is what it does to registers and memory (None: nothing). `alike`: the same, so that
    several can be done together, if it is of that sort; `idle`: it does nothing at all."""

    instruction: Instruction
    run: Callable[[Waves], None] | None
    flow: Flow
    alike: Alike | None = None
    idle: bool = False

    @property
    def size(self) -> int:
        return self.instruction.size


_IDLE = frozenset(
    (
        "s_nop",
        "s_waitcnt",
        "s_sleep",
        "s_setprio",
        "s_setkill",
        "s_sethalt",
        "s_icache_inv",
        "s_incperflevel",
        "s_decperflevel",
        "s_ttracedata",
        "s_wakeup",
        "s_endpgm_ordered_ps_done",
        "s_set_gpr_idx_off",  # where it is not on
    )
)
_FLOWS = {
    "s_endpgm": Flow.END,
    "s_endpgm_saved": Flow.END,
    "s_barrier": Flow.BARRIER,
    "s_branch": Flow.BRANCH,
    "s_call_b64": Flow.BRANCH,
    "s_setpc_b64": Flow.TO,
    "s_swappc_b64": Flow.TO,
    "s_set_gpr_idx_on": Flow.INDEXED,
    **{f"s_cbranch_{what}": Flow.IF for what in ("scc0", "scc1", "vccz", "vccnz", "execz", "execnz")},
}
_BY_PC = frozenset(("s_getpc_b64", "s_swappc_b64", "s_call_b64"))  # run.py gives them the address
_SCALAR = frozenset(("SOP1", "SOP2", "SOPC", "SOPK"))
VECTOR = frozenset(("VOP1", "VOP2", "VOPC", "VOP3", "VOP3P", "MAI"))
_LANES = frozenset(("GLOBAL", "FLAT", "SCRATCH", "MUBUF", "DS"))


@lru_cache(maxsize=1 << 16)
def bind(target: str, word: int) -> Step:
    """Raises UnknownEncoding; NotModelled."""
    instruction = decode.decode(target, word)
    name, kind = instruction.name, instruction.format
    if name in ("s_set_gpr_idx_on", "s_set_gpr_idx_idx", "s_set_gpr_idx_mode"):
        return Step(instruction, indexed.bind(instruction), _FLOWS.get(name, Flow.NEXT))
    if name in _FLOWS:
        return Step(instruction, None, _FLOWS[name])
    if name in _IDLE or name in _BY_PC:
        return Step(instruction, None, Flow.NEXT, idle=name in _IDLE)
    alike: Alike | None = None
    if kind in _SCALAR:
        run = scalar.bind(instruction)
    elif kind == "SMEM":
        run = smem.bind(instruction)
    elif kind in VECTOR:
        run = vector.bind(instruction, target)
        alike = vector.alike(instruction, target)
    elif kind in _LANES:
        run = vmem.bind(instruction)
        alike = vmem.alike(instruction)
    else:
        raise NotModelled(name)
    return Step(instruction, run, Flow.NEXT, alike)


@lru_cache(maxsize=256)
def _page_steps(target: str, address: int, code: bytes) -> tuple[dict[int, Step], dict[int, Group | None]]:
    """What was bound of a page with such code before, and put together: kernels run again and again."""
    return {}, {}


class Program:
    """The code that the waves of a dispatch run. `steps`: what is bound of it, by address; `groups`: what begins there."""

    def __init__(self, target: str, memory: WaveMemory) -> None:
        self.target = target
        self.steps: dict[int, Step] = {}
        self.groups: dict[int, Group | None] = {}
        self._memory = memory
        self._pages: dict[int, tuple[bytes, dict[int, Step], dict[int, Group | None]]] = {}

    def step(self, pc: int) -> Step:
        """Raises what memory raises where there is no code, Illegal, NotModelled with its name and encoding."""
        step = self.steps.get(pc)
        if step is not None:
            return step
        code, known, _ = self._page(pc)
        self.steps.update(known)
        step = known.get(pc)
        if step is None:
            step = self.steps[pc] = self._bound(pc, code)
            if pc % PAGE + step.size <= PAGE:
                known[pc] = step
        return step

    def there(self, pc: int) -> bool:
        """Whether there is memory."""
        return self._memory.there(pc)

    def ahead(self, pc: int) -> Step | None:
        """The step of an instruction that no wave may ever come to; None: it is none, or not modelled, or not there."""
        if not self.there(pc):
            return None
        rest = self.page(pc)[pc % PAGE : pc % PAGE + LONGEST]
        if len(rest) < LONGEST and not self.there(pc + LONGEST) and _needs_more(self.target, rest):
            return None
        try:
            return self.step(pc)
        except Stop:
            return None

    def group(self, pc: int) -> Group | None:
        """What can be done together from here on. Raises as `step` does where that is for the instruction here."""
        self.step(pc)
        known = self._page(pc)[2]
        if pc not in known:
            known[pc] = group_of(pc, lambda at: self._step_ahead(at, pc))
        group = self.groups[pc] = known[pc]
        return group

    def _step_ahead(self, at: int, pc: int) -> Step | None:
        """A step that nobody has come to yet: on the page of the first, as another may not be there."""
        if at == pc:
            return self.step(pc)
        if at // PAGE != pc // PAGE or at % PAGE > PAGE - LONGEST:
            return None
        try:
            return self.step(at)
        except Stop:
            return None

    def code(self, pc: int) -> bytes:
        """The bytes of an instruction, as many as the longest has."""
        return self._code(pc, self._page(pc)[0])

    def page(self, pc: int) -> bytes:
        """The code of the page with this address. Raises what memory raises where there is none."""
        return self._page(pc)[0]

    def _page(self, pc: int) -> tuple[bytes, dict[int, Step], dict[int, Group | None]]:
        page = pc & -PAGE
        if page not in self._pages:
            code = self._memory.read(page, PAGE)
            self._pages[page] = code, *_page_steps(self.target, page, code)
            self.groups.update(self._pages[page][2])
        return self._pages[page]

    def _bound(self, pc: int, code: bytes) -> Step:
        word = int.from_bytes(self._code(pc, code), "little")
        try:
            instruction = decode.decode(self.target, word)
            return bind(self.target, word & (1 << 8 * instruction.size) - 1)
        except UnknownEncoding as unknown:
            raise Illegal(f"{unknown} (at {pc:#x})") from None
        except NotModelled as missing:
            shown = instruction.word.to_bytes(instruction.size, "little").hex(" ", 4)
            raise NotModelled(f"{missing.reason} not interpreted: {shown} at {pc:#x} of a {self.target}") from None

    def _code(self, pc: int, code: bytes) -> bytes:
        """As many bytes as the longest instruction has; zeros where its page is the last and the instruction ends in it."""
        at = pc % PAGE
        data = code[at : at + LONGEST]
        if len(data) < LONGEST and _needs_more(self.target, data):
            data += self._page(pc + LONGEST)[0][: LONGEST - len(data)]
        return data.ljust(LONGEST, b"\0")


def _needs_more(target: str, data: bytes) -> bool:
    """Whether an instruction that begins here goes on behind these bytes."""
    try:
        return decode.decode(target, int.from_bytes(data, "little")).size > len(data)
    except UnknownEncoding:
        return True
