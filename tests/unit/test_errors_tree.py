"""base/errors.py: text, exit codes, and the way through a pickle."""

from __future__ import annotations

import pickle

import pytest

from base.child import ChildDied, ChildTimeout
from base.errors import (
    DeviceLost,
    Exit,
    GpumendError,
    InvalidData,
    NotPermitted,
    ReadOnlyViolation,
    Refused,
    Unavailable,
    Undecided,
    UsageError,
    WaitTimeout,
)

CODES = {
    GpumendError: 1,
    WaitTimeout: 1,
    InvalidData: 1,
    Undecided: 2,
    Refused: 3,
    ReadOnlyViolation: 3,
    UsageError: 64,
    Unavailable: 69,
    DeviceLost: 69,
    NotPermitted: 77,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_errors_each_kind_has_its_exit_code(kind: type[GpumendError], code: int) -> None:
    assert kind("x").exit_code == Exit(code) == code


def test_errors_text_shows_the_rows_that_are_filled() -> None:
    error = WaitTimeout("SMU message 0x1", expected="an answer", seen="none", next_step="gpumend probe")
    assert str(error) == "SMU message 0x1 failed\n  expected  an answer\n  seen      none\n  next      gpumend probe"


def test_errors_refusal_says_refused_and_a_verb_can_be_given() -> None:
    assert str(Refused("mode1")) == "mode1 refused"
    assert str(Unavailable("looking", verb="found nothing")) == "looking found nothing"


@pytest.mark.parametrize("kind", CODES)
def test_errors_pickled_keep_kind_and_every_row(kind: type[GpumendError]) -> None:
    error = kind("doing", expected="a", seen="b", where="c", next_step="d", verb="stopped")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) and copy.args == ("doing",)
    assert (copy.expected, copy.seen, copy.where, copy.next_step, copy.verb) == ("a", "b", "c", "d", "stopped")


def test_errors_pickled_keep_what_subclasses_add() -> None:
    slow, dead = ChildTimeout("x"), ChildDied("y")
    slow.pid, slow.stuck, dead.signal_name = 7, True, "SIGBUS"
    copy = pickle.loads(pickle.dumps(slow))
    assert (copy.pid, copy.stuck) == (7, True)
    assert pickle.loads(pickle.dumps(dead)).signal_name == "SIGBUS"
