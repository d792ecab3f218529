"""`gpumend reset` of one MI350X on the real PCI bus of Linux, no driver bound: what the kernel carries out for us and what
we do ourselves, what it destroys (told by tests/lab/inside/state.py, which knows nothing of gpumend), refusals, the journal.

The tests follow each other in one guest. Which state survives which reset: hardware/amd-resets.md section 8."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from tests.lab.conftest import FIRST_GPU as GPU
from tests.lab.conftest import INSIDE, LOGS
from tests.lab.resets import DEVICES, codes, reset

CONFIG = f"{DEVICES}/{GPU}/config"
METHODS = f"{DEVICES}/{GPU}/reset_method"
ONE = [("recovered", "healthy")]


@pytest.fixture(scope="module")
def alone(lab_parts: Parts) -> Iterator[Guest]:
    with guest.boot(lab_parts, gpus="mi350x", keep=LOGS / "reset") as booted:
        yield booted


def state(alone: Guest, *words: str) -> dict[str, Any]:
    (answer,) = alone.run(["python3", f"{INSIDE}/state.py", GPU, *words]).json_lines()
    assert isinstance(answer, dict)
    return answer


def header(alone: Guest) -> bytes:
    """What memory is reached by, as config space has it: memory decoding and addresses."""
    data = alone.read(CONFIG)
    return bytes([data[4] & 2]) + data[0x10:0x28]


def test_dry_run_on_a_gpu_that_is_well_says_so_and_writes_nothing(alone: Guest) -> None:
    before = alone.read(CONFIG)
    done = alone.run(["gpumend", "reset", "--dry-run"])
    assert (done.exit_code, "nothing" in done.text) == (0, True), done.text
    assert alone.read(CONFIG) == before
    assert alone.run(["test", "-e", "/root/.local/state/gpumend/resets.jsonl"]).exit_code == 1


@pytest.mark.parametrize("method", ["flr", "bus-reset", "sysfs-reset"])
def test_reset_by_the_kernel_takes_place_and_is_proved(alone: Guest, method: str) -> None:
    planted = state(alone, "plant")
    assert planted["vram"] and planted["scratch"]
    kept = alone.read(METHODS), header(alone)
    told = reset(alone, "reset", "--method", method)
    assert (told.exit, told.steps, told.outcomes) == (0, [(method, [0], "verified")], ONE), told.document
    assert "mark gone on 1 of 1" in told.proof
    assert (alone.read(METHODS), header(alone)) == kept, "what was changed for it is put back, addresses too"
    after = state(alone)
    assert not (after["vram"] or after["scratch"] or after["sos"])


def test_reset_that_is_left_to_the_kernel_says_what_the_kernel_takes(alone: Guest) -> None:
    kept = alone.read(METHODS).decode().split()
    alone.shell(f"echo bus > {METHODS}")
    told = reset(alone, "reset", "--method", "sysfs-reset")
    assert (told.exit, told.outcomes) == (0, ONE), told.document
    assert "by bus, first of the kernel's reset_method" in told.proof
    assert alone.read(METHODS).split() == [b"bus"], "the user's choice stays"
    alone.shell(f"echo '{' '.join(kept)}' > {METHODS}")


def test_mode1_and_mode2_destroy_and_keep_what_they_do_on_hardware(alone: Guest) -> None:
    alone.shell("echo 0 > /proc/sys/vm/compact_unevictable_allowed")
    for method, vram in (("mode2", True), ("mode1", False)):
        assert state(alone, "plant")["vram"]
        kept = header(alone)
        told = reset(alone, "reset", "--method", method)
        assert (told.exit, told.steps, told.outcomes) == (0, [(method, [0], "verified")], ONE), told.document
        after = state(alone)
        assert (after["vram"], after["scratch"]) == (vram, False)
        assert header(alone) == kept
        assert after["sos"] is vram, "mode2 leaves the secure OS running, and it is started again after it"


def test_mode2_without_memory_to_start_again_from_is_not_begun(alone: Guest) -> None:
    alone.shell("echo 1 > /proc/sys/vm/compact_unevictable_allowed")
    planted = state(alone, "plant")
    told = reset(alone, "reset", "--method", "mode2")
    alone.shell("echo 0 > /proc/sys/vm/compact_unevictable_allowed")
    assert told.exit == 1, told.document
    assert "compact_unevictable_allowed" in told.document["steps"][0]["error"]["seen"]
    assert state(alone)["scratch"] is planted["scratch"] is True, "nothing was reset"


def test_addresses_that_were_lost_are_written_again(alone: Guest) -> None:
    """As after a reset behind a switch; the system still knows them."""
    kept = header(alone)
    alone.shell(
        f"dd if=/dev/zero of={CONFIG} bs=4 seek=4 count=6 conv=notrunc; printf '\\0\\0' | dd of={CONFIG} bs=2 seek=2"
    )
    assert header(alone) != kept
    told = reset(alone, "reset")
    assert (told.exit, told.steps, told.outcomes) == (0, [("restore-config", [0], "verified")], ONE), told.document
    assert header(alone) == kept


def test_held_gpu_is_refused_with_names_and_its_holder_is_ended_when_that_is_asked_for(alone: Guest) -> None:
    """Then removed and found again: all that is in the device stays."""
    alone.shell(f"sleep 1000 < {DEVICES}/{GPU}/resource5 > /dev/null 2>&1 & echo $! > /tmp/holder; sleep 0.2")
    pid = alone.read("/tmp/holder").decode().strip()
    assert state(alone, "plant")["scratch"]
    told = reset(alone, "reset", "--method", "remove-rescan")
    assert told.exit == 3 and told.steps == []
    assert f"pid {pid} sleep (resource5 open)" in told.refusals[0]
    told = reset(alone, "reset", "--method", "remove-rescan", "--kill-holders")
    assert (told.exit, told.steps) == (0, [("remove-rescan", [0], "verified")]), told.document
    assert alone.run(["test", "-e", f"/proc/{pid}/fd/0"]).exit_code == 1
    after = state(alone)
    assert after["vram"] and after["scratch"]


def lost_for_good(alone: Guest, method: str) -> None:
    """Reset a GPU that does not survive it, as is reported of MI300X under vfio; then have what is left tried."""
    assert alone.models is not None
    alone.models.change("mi350x?fault=flr-loses-config")
    told = reset(alone, "reset", "--method", method)
    assert (told.exit, told.steps, told.outcomes) == (1, [(method, [0], "worse")], [("failed", "lost")]), told.document
    assert "did not answer after it" in told.document["steps"][0]["error"]["seen"]
    assert told.document["gpus"][0]["answer"] == "node-reboot"
    assert set(alone.read(CONFIG)[:4]) == {0xFF}
    told = reset(alone, "reset")
    assert told.exit == 1 and [step[0] for step in told.steps] == ["bus-reset", "remove-rescan"], told.document
    assert told.document["gpus"][0]["answer"] == "power-cycle"


def power_cycle(alone: Guest) -> None:
    assert alone.models is not None
    alone.models.change("mi350x")
    alone.shell("echo 1 > /sys/bus/pci/rescan")


def test_gpu_whose_config_space_does_not_come_back_is_told_as_lost(alone: Guest) -> None:
    """The kernel gives up after a second here, since the emulated link is slow; after an FLR it waits a minute."""
    lost_for_good(alone, "bus-reset")
    power_cycle(alone)
    told = reset(alone, "reset")
    assert (told.exit, codes(told.document["gpus"][0])) == (0, set()), told.document


@pytest.mark.long
def test_gpu_that_flr_takes_away_is_told_as_lost(alone: Guest) -> None:
    lost_for_good(alone, "flr")
    assert "after FLR; giving up" in alone.shell("dmesg").text
    power_cycle(alone)


def test_history_has_one_line_for_each_attempt(alone: Guest) -> None:
    rows = json.loads(alone.run(["gpumend", "reset", "--history", "--json"]).text)["history"]
    assert rows, "every step above"
    assert {row["status"] for row in rows} <= {"verified", "failed", "worse"}
    for row in rows:
        assert alone.run(["test", "-d", row["evidence"]]).exit_code == 0, row
