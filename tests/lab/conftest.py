"""The lab's parts, or the reason why these tests cannot run here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from base.errors import Unavailable
from lab import guest, parts, qemu
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine

LOGS = Path(__file__).resolve().parents[2] / ".cache/lab/logs"
INSIDE = "/gpumend/tests/lab/inside"  # programs that run in the guest
FIRST_GPU = "0000:01:00.0"  # behind the first root port; the second is 0000:02:00.0, and so on


@pytest.fixture(scope="session")
def lab_parts() -> Parts:
    """What guests are booted from; skipped, saying why, where it cannot be had (no network, no space, not x86_64, too
    little memory)."""
    try:
        qemu.require_memory(Machine())
        return parts.ready()
    except Unavailable as error:
        pytest.skip(f"no lab here: {error}".replace("\n", ";"))


@pytest.fixture(scope="module")
def bare(lab_parts: Parts) -> Iterator[Guest]:
    """A guest without a GPU."""
    with guest.boot(lab_parts, keep=LOGS / "bare") as booted:
        yield booted


@pytest.fixture(scope="module")
def one_mi350x(lab_parts: Parts) -> Iterator[Guest]:
    """A guest with one healthy MI350X and no driver bound to it."""
    with guest.boot(lab_parts, gpus="mi350x", keep=LOGS / "one-mi350x") as booted:
        yield booted
