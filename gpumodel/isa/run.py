"""Waves run: all of them stand at one instruction until a branch tells them apart.

Parts that differ run on by themselves: the one with the lowest address first, so that those who left a loop wait behind it for
the others, and join there. At a barrier a part waits until nobody can run any more. A loop that comes back to the same
registers with nothing written in between goes on for ever; so does, for a model, what takes more than `MOST_STEPS` steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpumodel.isa import indexed
from gpumodel.isa.program import VECTOR, Flow, Program, Step
from gpumodel.isa.stop import NotModelled, Stop
from gpumodel.isa.together import MOST_LANES
from gpumodel.isa.waves import EXEC, VCC, Array, Waves

MOST_STEPS = 1 << 21  # of stacked waves
_U64 = np.uint64


class Endless(Exception):
    """Waves that do not end. `waves`: some of them."""

    def __init__(self, waves: Waves, why: str) -> None:
        super().__init__(why)
        self.waves = waves


class OutOfSteps(Endless):
    """It has done as many steps as it may; whoever gives it more can let it go on."""

    def __init__(self, waves: Waves) -> None:
        super().__init__(waves, "more steps than a model does")


class Halted(Exception):
    """A wave cannot go on; `cause` says why: a Stop, or what memory raised."""

    def __init__(self, waves: Waves, cause: Exception) -> None:
        super().__init__(str(cause))
        self.waves = waves
        self.cause = cause


class _Part:
    """Waves that stand together. `spins_at`: what had been written when it was found to wait for others; `seen`: the
    registers at its last look."""

    def __init__(self, waves: Waves) -> None:
        self.waves = waves
        self.at_barrier = False
        self.spins_at = -1
        self.seen: Waves | None = None
        self.seen_stores = -1
        self.jumps = 0
        self.next_look = 1


class Runner:
    """Runs waves of whole groups to their end."""

    def __init__(self, program: Program, limit: int = MOST_STEPS) -> None:
        self._program = program
        self._left = limit
        self._parts: list[_Part] = []
        self._closed: dict[int, bool] = {}  # branches by address: loops that nothing leaves

    @property
    def left(self) -> int:
        """Steps that may still be done."""
        return self._left

    @property
    def parts(self) -> list[tuple[Waves, bool]]:
        """Waves that have not ended, and whether they stand at a barrier."""
        return [(part.waves, part.at_barrier) for part in self._parts]

    def run(self, waves: Waves) -> None:
        """Raises Endless, Halted."""
        self._parts = [_Part(waves)]
        self._go_on()

    def resume(self, more: int) -> None:
        """After OutOfSteps, with so many steps."""
        self._left = more
        self._go_on()

    def _go_on(self) -> None:
        while self._parts:
            context = self._parts[0].waves.context
            ready = [part for part in self._parts if not part.at_barrier and part.spins_at != context.stores]
            if not ready:
                self._release()
                continue
            part = min(ready, key=lambda one: one.waves.pc)
            self._until_it_meets(part)

    def _release(self) -> None:
        """Nobody can run: groups that are at the barrier go on, unless some of them wait for something else."""
        waiting = [part for part in self._parts if part.at_barrier]
        spinning = [part for part in self._parts if not part.at_barrier]
        blocked = np.concatenate([part.waves.group for part in spinning] or [np.zeros(0, np.int64)])
        released: dict[int, Waves] = {}
        kept = list(spinning)
        for part in waiting:
            free = ~np.isin(part.waves.group, blocked)
            if not free.all():
                part.waves, going = (
                    (part.waves, None) if not free.any() else (part.waves.part(~free), part.waves.part(free))
                )
                kept.append(part)
            else:
                going = part.waves
            if going is not None:
                other = released.get(going.pc)
                released[going.pc] = going if other is None else other.joined(going)
        if not released:
            raise Endless(self._parts[0].waves, "the waves wait for what nobody writes")
        for pc, waves in released.items():
            waves.pc = pc
        self._parts = kept + [_Part(waves) for waves in released.values()]

    def _until_it_meets(self, part: _Part) -> None:
        """Until it ends, waits, is told apart, or comes to where another one stands or beyond."""
        others = [one for one in self._parts if one is not part and not one.at_barrier]
        stop_at = min((one.waves.pc for one in others if one.waves.pc >= part.waves.pc), default=-1)
        if stop_at == part.waves.pc:
            other = next(one for one in others if one.waves.pc == stop_at)
            self._parts = [one for one in self._parts if one is not part and one is not other]
            self._parts.append(_Part(part.waves.joined(other.waves)))
            return
        steps = self._program.steps
        fetch = self._program.step
        groups, group_of = self._program.groups, self._program.group
        waves = part.waves
        few = waves.count * waves.lanes <= MOST_LANES
        pc = waves.pc
        left = self._left
        try:
            with np.errstate(all="ignore"):
                while True:
                    if few:
                        group = groups[pc] if pc in groups else group_of(pc)
                        if group is not None and not pc < stop_at < group.end and (done := group.run(waves)):
                            pc, count = group.stops[done]
                            left -= count
                            if pc == stop_at or left <= 0:
                                break
                            continue
                    step = steps.get(pc) or fetch(pc)
                    left -= 1
                    if step.flow is Flow.NEXT:
                        if step.run is not None:
                            step.run(waves)
                        elif step.instruction.name == "s_getpc_b64":
                            save_pc(waves, step, pc)
                        pc += step.instruction.size
                        if pc == stop_at or left <= 0:
                            break
                        continue
                    waves.pc = pc
                    self._left = left
                    if not self._flow(part, step):
                        return
                    if others and (part.waves.pc >= stop_at >= 0 or part.waves.pc <= pc):
                        return
                    waves, pc = part.waves, part.waves.pc
        except (Endless, Halted):
            raise
        except Exception as cause:  # memory raises what it likes; the dispatcher knows it
            waves.pc = pc
            raise Halted(waves, cause) from cause
        waves.pc = pc
        self._left = left
        if left <= 0:
            raise OutOfSteps(waves)

    def _flow(self, part: _Part, step: Step) -> bool:
        """A branch, a barrier, or the end; False: this part does not go on now."""
        waves = part.waves
        following = waves.pc + step.instruction.size
        if step.flow is Flow.END:
            self._parts.remove(part)
            return False
        if step.flow is Flow.BARRIER:
            waves.pc = following
            if len(self._parts) == 1:
                return True
            part.at_barrier = True
            return False
        if step.flow is Flow.TO:
            return self._to_register(part, step, following)
        if step.flow is Flow.INDEXED:
            self._indexed(waves, step)
            return True
        target = following + 4 * _signed16(step.instruction.get("simm16"))
        if step.flow is Flow.BRANCH:
            if step.instruction.name == "s_call_b64":
                save_pc(waves, step, waves.pc)
            elif self._no_way_out(target, waves.pc):
                if len(self._parts) == 1:
                    raise Endless(waves, "a loop without a way out")
                part.spins_at = waves.context.stores
                self._jump(part, target)
                return False
            return self._jump(part, target)
        taken = CONDITIONS[step.instruction.name](waves)
        if taken.all():
            return self._jump(part, target)
        if not taken.any():
            waves.pc = following
            return True
        taken = np.broadcast_to(taken, waves.count)
        going, staying = waves.part(taken), waves.part(~taken)
        going.pc, staying.pc = target, following
        self._parts.remove(part)
        self._parts += [_Part(staying), _Part(going)]
        self._check_budget(waves)
        return False

    def _indexed(self, waves: Waves, step: Step) -> None:
        """Up to behind s_set_gpr_idx_off, to which compilers never branch."""
        while step.instruction.name != "s_set_gpr_idx_off":
            if step.flow not in (Flow.NEXT, Flow.INDEXED):
                raise NotModelled(f"{step.instruction.name} while VGPRs are indexed")
            if step.instruction.format in VECTOR:
                indexed.run(step.instruction, self._program.target, waves)
            elif step.run is not None:
                step.run(waves)
            waves.pc += step.size
            step = self._program.step(waves.pc)
            self._left -= 1
        waves.pc += step.size

    def _no_way_out(self, target: int, pc: int) -> bool:
        """Whether between the target of a branch backwards and the branch no instruction leads elsewhere."""
        known = self._closed.get(pc)
        if known is None:
            at = target
            while at < pc and self._program.step(at).flow is Flow.NEXT:
                at += self._program.step(at).size
            known = self._closed[pc] = target <= pc and at == pc
        return known

    def _check_budget(self, waves: Waves) -> None:
        if self._left <= 0:
            raise OutOfSteps(waves)

    def _jump(self, part: _Part, target: int) -> bool:
        """Backwards: whether anything has changed since this loop was looked at."""
        waves = part.waves
        backwards = target <= waves.pc
        waves.pc = target
        if not backwards:
            return True
        self._check_budget(waves)
        stores = waves.context.stores
        part.jumps += 1
        if part.seen is not None:
            same = part.seen.pc == target and part.seen_stores == stores and waves.same_as(part.seen)
            part.seen = None
            if same and len(self._parts) == 1:
                raise Endless(waves, "a loop that changes nothing")
            if same:
                part.spins_at = stores
                part.next_look = part.jumps + 1
                return False
        if part.jumps >= part.next_look:
            part.next_look = 2 * part.jumps
            part.seen, part.seen_stores = waves.snapshot(), stores
        return True

    def _to_register(self, part: _Part, step: Step, following: int) -> bool:
        waves = part.waves
        targets = waves.s64(step.instruction.get("src0"))
        if step.instruction.name == "s_swappc_b64":
            save_pc(waves, step, waves.pc)
        if len(targets) == 1 or (targets == targets[0]).all():
            return self._jump(part, int(targets[0]))
        self._parts.remove(part)
        for target in np.unique(targets):
            going = waves.part(targets == target)
            going.pc = int(target)
            self._parts.append(_Part(going))
        self._check_budget(waves)
        return False


def save_pc(waves: Waves, step: Step, pc: int) -> None:
    """The address of the next instruction."""
    waves.set_s64(step.instruction.get("sdst"), np.array([pc + step.instruction.size], _U64))


def _signed16(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


def _zero(pair: int) -> Callable[[Waves], Array]:
    def run(waves: Waves) -> Array:
        mask = waves.known_mask(pair)
        if mask is not None:
            return np.logical_not(mask.any(axis=1))
        return np.equal(waves.s(pair) | waves.s(pair + 1), 0)

    return run


CONDITIONS: dict[str, Callable[[Waves], Array]] = {
    "s_cbranch_scc0": lambda waves: ~waves.scc,
    "s_cbranch_scc1": lambda waves: waves.scc,
    "s_cbranch_vccz": _zero(VCC),
    "s_cbranch_vccnz": lambda waves: ~_zero(VCC)(waves),
    "s_cbranch_execz": _zero(EXEC),
    "s_cbranch_execnz": lambda waves: ~_zero(EXEC)(waves),
}

__all__ = ["CONDITIONS", "MOST_STEPS", "Endless", "Halted", "Runner", "Stop", "save_pc"]
