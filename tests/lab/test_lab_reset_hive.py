"""`gpumend reset` of a hive of two MI350X on the real PCI bus of Linux, no driver bound: one member alone loses its links, all
members together train them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from tests.lab.conftest import LOGS
from tests.lab.resets import codes, reset

BOTH_WELL = [("recovered", "healthy")] * 2


@pytest.fixture(scope="module")
def pair(lab_parts: Parts) -> Iterator[Guest]:
    with guest.boot(lab_parts, gpus="mi350x*2", keep=LOGS / "reset-hive") as booted:
        yield booted


def test_mode1_of_one_member_is_refused(pair: Guest) -> None:
    told = reset(pair, "-g", "1", "reset", "--method", "mode1")
    assert (told.exit, told.steps) == (3, [])
    assert "one member of a hive alone" in told.refusals[0]


def test_member_that_is_reset_alone_has_lost_its_links(pair: Guest) -> None:
    """What the kernel's FLR does to it, and what the next reset without a name makes of that: nothing, it was so before."""
    told = reset(pair, "-g", "0", "reset", "--method", "flr")
    assert told.steps == [("flr", [0], "partly")], told.document
    assert told.exit == 1 and {code for gpu in told.document["gpus"] for code in codes(gpu)} == {"amd.xgmi.link"}


def test_hive_reset_brings_every_member_and_every_link_back(pair: Guest) -> None:
    told = reset(pair, "reset", "--hive")
    assert (told.exit, told.steps, told.outcomes) == (0, [("hive-reset", [0, 1], "verified")], BOTH_WELL), told.document
    assert "mark gone on 2 of 2" in told.proof
    assert [codes(gpu) for gpu in told.document["gpus"]] == [set(), set()]


def test_auto_resets_the_hive_for_one_clobbered_table(pair: Guest) -> None:
    assert pair.models is not None
    pair.models.change("mi350x*2?fault=discovery-clobbered@1")
    told = reset(pair, "-g", "1", "reset")
    assert (told.exit, told.steps) == (0, [("hive-reset", [0, 1], "verified")]), told.document
    assert told.outcomes == [("recovered", "healthy")]
    assert pair.run(["gpumend", "probe"]).exit_code == 0


@pytest.mark.long
def test_hive_of_eight_is_reset_together(lab_parts: Parts) -> None:
    with guest.boot(lab_parts, gpus="mi350x*8?fault=mec-hang:2@4", keep=LOGS / "reset-eight") as eight:
        told = reset(eight, "reset", "--hive", "--probe-timeout", "300")
        assert (told.exit, told.steps) == (0, [("hive-reset", list(range(8)), "verified")]), told.document
        assert told.outcomes == [("recovered", "healthy")] * 8
