"""Which kernels are compiled: those for which the interpreter has worked about as long as LLVM will need.

`GPUMEND_KERNELS` says otherwise: `interpreted`, or `compiled` at first sight. Results are the same."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpumodel.isa.memory import PAGE
from gpumodel.isa.native import jit

if TYPE_CHECKING:
    from gpumodel.isa.native.drive import Entry
    from gpumodel.isa.native.layout import Slots
    from gpumodel.isa.program import Program
    from gpumodel.isa.waves import Waves

MOST_KERNELS = 512  # that are remembered
# Work is counted in steps of the interpreter (about 18 us each); LLVM takes about a millisecond an instruction.
WORTH = 500  # steps, whatever the kernel
WORTH_EACH = 55  # and for each of its instructions
LANES_AS_MUCH = 1 << 12  # lanes whose arithmetic takes as long as the calls


@dataclass(slots=True)
class Kernel:
    """Compiled code. `compiled`: addresses of its instructions; `interpreted`: names of what it leaves to the interpreter."""

    module: jit.Module
    entry: Entry
    slots: Slots
    compiled: frozenset[int]
    interpreted: list[str]

    def run(self, program: Program, parts: Sequence[Waves], waiting: Sequence[bool] = ()) -> None:
        """Waves, wherever they stand, to their end; `waiting`: which parts stand at a barrier. Raises Endless, Halted."""
        from gpumodel.isa.native.drive import Driver, State

        Driver(self.entry, self.compiled, program, State(parts, self.slots, waiting)).run()


@dataclass(slots=True)
class _Known:
    """A kernel that was seen. `pages`: its code, as far as it is known; `work`: of the interpreter; `worth`: how much of that
    makes LLVM worth it; `why_not`: it is left to the interpreter."""

    pages: dict[int, bytes]
    work: float = 0.0
    worth: float = WORTH
    kernel: Kernel | None = None
    why_not: str | None = None


_kernels: OrderedDict[tuple[str, int], _Known] = OrderedDict()  # by target and entry


def wanted() -> str:
    """interpreted, compiled, or nothing: when it is worth it."""
    value = os.environ.get("GPUMEND_KERNELS", "")
    if value not in ("", "interpreted", "compiled"):
        warnings.warn(f"GPUMEND_KERNELS={value} is neither interpreted nor compiled: it is ignored", stacklevel=2)
        value = ""
    return value if jit.usable() else "interpreted"


def at_hand(program: Program, entry: int) -> Kernel | None:
    """The compiled code of the kernel that begins there, or None: it is interpreted."""
    choice = wanted()
    if choice == "interpreted":
        return None
    known = _known(program, entry)
    if known.kernel is None and known.why_not is None and (choice == "compiled" or known.work >= known.worth):
        _compile(program, entry, known)
    return known.kernel


def spent(program: Program, entry: int, steps: int, lanes: int) -> None:
    """The interpreter has done so many steps, of stacks of so many lanes."""
    if wanted() == "":
        known = _known(program, entry)
        known.work += steps * (1 + lanes / LANES_AS_MUCH)
        known.worth = WORTH + WORTH_EACH * len(program.steps)


def settled(program: Program, entry: int) -> bool:
    """Whether a kernel was compiled, or never will be."""
    known = _known(program, entry)
    return known.kernel is not None or known.why_not is not None or wanted() == "interpreted"


def never(program: Program, entry: int, why: str) -> None:
    """It is left to the interpreter from now on: that finds out sooner what never ends."""
    known = _known(program, entry)
    known.kernel, known.why_not = None, why


def _known(program: Program, entry: int) -> _Known:
    key = program.target, entry
    known = _kernels.get(key)
    if known is None or any(program.page(at) != code for at, code in known.pages.items()):
        known = _kernels[key] = _Known({entry & -PAGE: program.page(entry)})
    _kernels.move_to_end(key)
    if len(_kernels) > MOST_KERNELS:
        _kernels.popitem(last=False)
    return known


def _compile(program: Program, entry: int, known: _Known) -> None:
    from gpumodel.isa.native import drive
    from gpumodel.isa.native.code import NotCompiled
    from gpumodel.isa.native.kernel import compiled_text

    try:
        text, code, interpreted = compiled_text(program, entry)
        module = jit.Module(text)
    except NotCompiled as reason:
        known.why_not = str(reason)
        return
    known.pages = {at: program.page(at) for at in sorted(code.pages)}
    compiled = frozenset(pc for pc, step in code.steps.items() if step is not None)
    known.kernel = Kernel(module, drive.entry_of(module.address("run")), code.slots, compiled, interpreted)
