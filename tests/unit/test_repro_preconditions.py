"""What must be so before a scenario does anything: each refusal names what is in the way."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from amdriver.parts import part_of
from base.errors import Exit, GpumendError
from repro.modules import Tools
from repro.preconditions import check_now, check_reports
from repro.scenario import Needs, Scenario, read
from resets.subject import Subject
from tests.evidence_tree import GPU, Machine, machine


@dataclass
class OnBus:
    """A GPU of the fake machine, as resets and repro want it."""

    index: int
    address: str
    bdf: str
    transport: object
    part: object
    clock: object


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(platform, "release", lambda: "7.3.4+deb13-amd64")
    return machine(tmp_path / "machine")


def refused(there: Machine, scenario: Scenario) -> GpumendError:
    one: Subject = OnBus(0, GPU, GPU, there.subject.transport, there.subject.part, there.subject.clock)  # type: ignore[assignment]
    tools = Tools(reset=None, proc_root=there.fake.proc, sys_root=there.fake.root)  # type: ignore[arg-type]
    with pytest.raises(GpumendError) as caught:
        check_now(scenario, [one], [one], tools)
    return caught.value


def needing(**changes: object) -> Scenario:
    scenario = read("flr-loop")
    return replace(scenario, needs=replace(Needs(), **changes))  # type: ignore[arg-type]


def test_bound_driver_is_named_with_the_command_that_unbinds(there: Machine) -> None:
    error = refused(there, needing(driver="none"))
    assert (error.exit_code, error.seen) == (Exit.REFUSED, f"GPU 0 ({GPU}): amdgpu")
    assert error.next_step == "gpumend -g 0 unbind"


def test_driver_that_is_not_bound_is_asked_for(there: Machine) -> None:
    (there.device / "driver").unlink()
    error = refused(there, needing(driver="amdgpu"))
    assert "bind amdgpu" in error.next_step


def test_loaded_module_is_in_the_way_of_its_options(there: Machine) -> None:
    (there.device / "driver").unlink()
    (there.fake.root / "module/amdgpu").mkdir(parents=True)
    assert "modprobe -r amdgpu" in refused(there, needing(driver="unloaded", holders="any")).next_step


def test_process_that_holds_the_gpu_is_named(there: Machine) -> None:
    error = refused(there, needing(driver="amdgpu"))
    assert error.exit_code == Exit.REFUSED
    assert "4242" in error.seen


def test_root_and_kernel_are_asked_for(there: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "7.3.4" in refused(there, needing(driver="amdgpu", kernel=">= 7.4")).seen
    assert "7.3.4" in refused(there, needing(driver="amdgpu", kernel="== 6.12")).seen
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refused(there, needing(driver="amdgpu")).exit_code == Exit.NOT_PERMITTED


@pytest.mark.parametrize("kernel", [">= 7.3", ">= 6.8", "== 7.3", "<= 7.3.4"])
def test_kernels_that_fit_are_let_through(there: Machine, kernel: str) -> None:
    error = refused(there, needing(driver="amdgpu", kernel=kernel))
    assert "4242" in error.seen, "the kernel was no reason; what comes after it is"


def test_parts_that_are_never_reset_or_do_not_fit_are_refused(there: Machine) -> None:
    for device, words in ((0x74A0, "never reset"), (0x75A8, "MI350P")):
        there.subject.part = part_of(0x1002, device)  # type: ignore[assignment]
        assert words in refused(there, read("psp-reload-loop")).seen


def test_debugfs_is_asked_for_where_amdgpu_does_it(there: Machine) -> None:
    import shutil

    shutil.rmtree(there.fake.proc / "4242")
    shutil.rmtree(there.fake.root / "kernel/debug/dri")
    error = refused(there, read("hive-reset-loop"))
    assert (error.exit_code, "mount -t debugfs" in error.next_step) == (Exit.UNAVAILABLE, True)


def test_hive_is_asked_of_the_probe() -> None:
    from tests.unit.test_repro_judged import report

    one = OnBus(3, "x", "0000:75:00.0", None, None, None)
    with pytest.raises(GpumendError) as caught:
        check_reports(needing(hive=True), [one], [report()])  # type: ignore[list-item]
    assert "GPU 3 is in none" in caught.value.seen
    with pytest.raises(GpumendError) as caught:
        check_reports(needing(), [one], [report("amd.gfx.mec")])  # type: ignore[list-item]
    assert "amd.gfx.mec" in caught.value.seen
