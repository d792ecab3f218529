"""mode1 of a whole hive: all members get ready, meet, are told together, and are awaited side by side.

Source: Linux v7.3 amdgpu_device.c (every member's config space is asked before the first is reset), amdgpu_reset and
aldebaran.c through amdgpu_task_barrier.h (all reach one point, then each sends), amdgpu_xgmi.c (links are negotiated
within a second, so all must be reset as soon as possible); amd-resets.md section 5.

When a member cannot be made ready, none is told. Once they are told, every one is carried to the end, whatever becomes of
the others; SIGINT, SIGTERM and SIGHUP wait until all have their config space back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from amdriver.recovery import BOOT_LIMIT_S, Target
from base.clock import Clock
from base.errors import GpumendError, Refused
from pcibus.configstate import COMMAND, SavedConfig

LINKS_WITHIN_S: Final = 1.0
STEPS: Final = ("prepare", "send", "restore", "boot")
_PUT_OFF: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Member:
    """What became of one member: `sent_s` None: it was not told; `error` None: it boots again. Times of the clock."""

    name: str
    sent_s: float | None
    ended_s: float
    error: GpumendError | None = None


@dataclass(frozen=True, slots=True)
class HiveOutcome:
    """`members` in the order given; `spread_s`: from the first to the last that was told, `began_s` when it all began."""

    members: tuple[Member, ...]
    began_s: float
    spread_s: float

    @property
    def ok(self) -> bool:
        """Every member was told in time, and boots again."""
        return self.spread_s < LINKS_WITHIN_S and all(member.error is None for member in self.members)

    @property
    def took_s(self) -> float:
        return max(member.ended_s for member in self.members) - self.began_s


class NotReady(Refused):
    """A member did not answer before the reset: none was told. `errors` by name of the member."""

    def __init__(self, errors: dict[str, GpumendError], count: int) -> None:
        told = [f"{name}: {error.doing} {error.verb}: {error.seen}".rstrip(": ") for name, error in errors.items()]
        super().__init__(
            f"resetting a hive of {count}",
            expected="every member answers: config space, SMU",
            seen="\n            ".join(told),
            where=", ".join(errors),
            next_step="one member alone must not be reset by mode1: gpumend reset --method bus-reset for all of them",
        )
        self.errors = errors


def reset_hive(
    targets: Sequence[Target],
    clock: Clock,
    *,
    fatal: bool = False,
    limit_s: float = BOOT_LIMIT_S,
    on_step: Callable[[str], None] | None = None,
) -> HiveOutcome:
    """Reset all members together; `targets` must be all of them. `on_step` gets each of STEPS before it.

    Raises NotReady when one does not answer (then none was reset). What goes wrong later stands with its member."""
    step = on_step or (lambda name: None)
    began_s = clock.now()
    step("prepare")
    saved = _prepare(targets, clock)
    try:
        step("send")
    except BaseException:  # an interrupt: nobody was told yet
        _put_back(targets, {target.name: kept.command for target, kept in zip(targets, saved, strict=True)})
        raise
    errors: dict[str, GpumendError] = {}
    with _undisturbed():
        sent = _side_by_side(clock, [partial(target.send_mode1, fatal=fatal) for target in targets], targets, errors)
        step("restore")
        works = [partial(target.restore_config, kept) for target, kept in zip(targets, saved, strict=True)]
        _side_by_side(clock, works, targets, errors)
    step("boot")
    ended = _side_by_side(
        clock, [partial(_boot, target, clock, limit_s, target.name in errors) for target in targets], targets, errors
    )
    times = [one for one in sent if one is not None]
    members = tuple(
        Member(target.name, told, end if end is not None else clock.now(), errors.get(target.name))
        for target, told, end in zip(targets, sent, ended, strict=True)
    )
    return HiveOutcome(members, began_s, max(times) - min(times) if times else 0.0)


def _prepare(targets: Sequence[Target], clock: Clock) -> list[SavedConfig]:
    """Every member answers, its config space is kept, its bus mastering is off; or all is as before and NotReady."""
    errors: dict[str, GpumendError] = {}
    commands: dict[str, int] = {}

    def ready(target: Target) -> SavedConfig:
        target.require_ready()
        kept = target.save_config()
        commands[target.name] = kept.command
        target.bus_master_off()
        return kept

    saved = _side_by_side(clock, [partial(ready, target) for target in targets], targets, errors)
    if not errors:
        return [kept for kept in saved if kept is not None]
    _put_back(targets, commands)
    raise NotReady(errors, len(targets))


def _put_back(targets: Sequence[Target], commands: Mapping[str, int]) -> None:
    """Bus mastering as it was."""
    for target in targets:
        if target.name in commands:
            target.transport.config_write(COMMAND, 2, commands[target.name])


def _boot(target: Target, clock: Clock, limit_s: float, failed: bool) -> float:
    """When the member was ready again; one that failed before is not waited for."""
    if not failed:
        target.await_boot(limit_s)
    return clock.now()


def _side_by_side(
    clock: Clock, works: Sequence[Callable[[], T]], targets: Sequence[Target], errors: dict[str, GpumendError]
) -> list[T | None]:
    """All together; the first error of each member is kept. What is no error of ours is raised when all are done."""
    values: list[T | None] = []
    for target, outcome in zip(targets, clock.run_together(works), strict=True):
        values.append(outcome.value)
        if isinstance(outcome.error, GpumendError):
            errors.setdefault(target.name, outcome.error)
        elif outcome.error is not None:
            raise outcome.error
    return values


@contextmanager
def _undisturbed() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP come afterwards: a hive of which some members are in reset must not be left.

    Their handlers are put off, not the signals: other threads of the process would take a signal that is blocked here.
    Handlers run in the main thread only; any other is not disturbed by them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in _PUT_OFF}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for got in dict.fromkeys(came):
            signal.raise_signal(got)
