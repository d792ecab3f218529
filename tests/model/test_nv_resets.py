"""Resets of NVIDIA's GPUs on their model: who is in the way, what is refused, what proves a reset, and the log after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gpumend
from base.clock import VirtualClock
from base.errors import Exit, GpumendError, Refused, Unavailable, WaitTimeout
from base.findings import Action, Health
from base.resets import Outcome, StepStatus
from gpumodel import nvidia
from gpumodel.nvidia.gpu import SCRATCH_RESET, WPR2_HIGH, NvTransport
from nvdriver import usage
from nvdriver.recovery import Target, require_free
from pcibus.config import decode
from tests.model.test_nv_probe import run

SICK = 2


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def models(spec: str) -> list[NvTransport]:
    return nvidia.open_models(spec, VirtualClock())


def bare(spec: str = "h200?driver=none") -> NvTransport:
    return models(spec)[0]


def reset(spec: str, *gpus: str, **options: Any) -> gpumend.ResetReport:
    return gpumend.reset([f"model:{spec}"], gpus, **options)


ALL: dict[str, Any] = {"unbind": True, "kill_holders": True}


# ---------------------------------------------------------------- who is in the way


def test_gpu_that_a_daemon_holds_is_refused_with_its_name_and_how_to_stop_it() -> None:
    (one,) = reset("h200?fault=gsp-dead", unbind=True).gpus
    assert one.outcome is Outcome.REFUSED and one.error is not None
    assert "pid 1042 nvidia-persiste (/dev/nvidia0)" in one.reason
    assert "systemctl stop nvidia-persistenced" in one.error.next_step


def test_gpu_that_its_driver_has_is_refused_with_the_order_of_what_to_stop() -> None:
    transport = bare("h200?fault=gsp-dead")
    transport.end_holder(1042)
    found = gpumend.list_gpus(["model:h200?fault=gsp-dead"])
    found[0].transport, found[0].clock = transport, transport.gpu.machine.clock
    (one,) = gpumend.reset_gpus(found, found).gpus
    assert one.outcome is Outcome.REFUSED and one.error is not None
    assert "nvidia" in one.reason
    assert all(
        word in one.error.next_step for word in ("persistenced", "--unbind", "peer to peer", "gpumend bind nvidia")
    )
    assert not transport.gpu.resets_done


def test_dry_run_names_holders_peers_and_order_and_touches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--on", f"model:h200*8?fault=gsp-dead@{SICK}", "-g", "2", "reset", "--dry-run", "--json")
    assert code == Exit.REFUSED
    (group,) = json.loads(out)["groups"]
    assert [row["method"] for row in group["planned"]] == ["flr", "bus-reset"]
    assert group["planned"][0]["linked"] == [0, 1, 3, 4, 5, 6, 7]
    assert group["held"] == [
        {"index": 2, "bdf": "0000:38:00.0", "by": ["driver nvidia is bound", "pid 1042 nvidia-persiste (/dev/nvidia2)"]}
    ]
    code, out, _ = run(
        capsys, "--on", f"model:h200*8?fault=gsp-dead@{SICK}", "-g", "2", "reset", "--dry-run", "--unbind",
        "--kill-holders", "--json",
    )  # fmt: skip
    assert code == Exit.OK, "with leave to make way nothing is refused"


def test_boards_without_nvlink_have_no_peers(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--on", "model:rtx4090*2?fault=gsp-dead@1", "reset", "--dry-run", "--json")
    assert [row["linked"] for group in json.loads(out)["groups"] for row in group["planned"]] == [[], []]


def test_driver_that_keeps_a_gpu_running_without_a_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from pcibus.holders import Holders

    monkeypatch.setattr(NvTransport, "holders", lambda self: Holders((), complete=True))
    (one,) = reset("h200?fault=gsp-dead", **ALL).gpus
    assert one.outcome is Outcome.REFUSED and one.error is not None
    assert usage.KEPT in one.reason and "nvidia-smi -i 0000:18:00.0 -pm 0" in one.error.next_step


def test_unbinding_a_gpu_in_use_never_comes_back_in_the_model() -> None:
    transport = bare("h200")
    with pytest.raises(WaitTimeout):
        transport.unbind()
    assert "non-zero usage count" in transport.files.kernel_log() and transport.info().driver == "nvidia"
    transport.end_holder(1042)
    transport.unbind()
    assert transport.info().driver == "" and not transport.gpu.registers[WPR2_HIGH]


def test_usage_tells_whether_the_driver_runs_a_gpu() -> None:
    transport = bare("h200")
    assert usage.is_initialized(transport.files, "0000:18:00.0") is True
    transport.end_holder(1042)
    assert usage.is_initialized(transport.files, "0000:18:00.0") is False
    assert usage.is_initialized(bare("h200?driver=535.1").files, "0000:18:00.0") is None


def test_stop_words_know_daemons_and_no_others() -> None:
    assert usage.stop_words(["nv-hostengine", "python3", "nv-hostengine"]) == "systemctl stop nvidia-dcgm"
    assert usage.stop_words(["python3"]) == ""


# ---------------------------------------------------------------- tested, too


def test_gpus_that_are_well_are_tested_beside_their_users(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--on", "model:h200*2", "reset", "--selftest", "--yes", "--json")
    document = json.loads(out)
    assert code == Exit.OK and document["notes"] == ["self-test: 2 GPUs tested"] and not document["steps"]


def test_gpu_that_fails_its_selftest_is_reset_by_flr_and_is_not_well_before_it_was_tested_again() -> None:
    """The driver is gone then, and only through it can a GPU be tested."""
    report = reset("h200?fault=copy-spoiled", selftest=True, **ALL)
    assert [(step.method, step.why) for step in report.steps] == [("flr", "nv.selftest on GPU 0")]
    assert report.exit_code == Exit.UNKNOWN and report.gpus[0].outcome is Outcome.UNVERIFIED
    before, after = report.notes[1:]
    assert before.startswith("self-test of GPU 0: failed: ") and "copy engine" in before
    assert after.startswith("self-test of GPU 0 after the reset: unavailable") and "no GPU" in after


def test_refused_reset_after_a_failed_selftest_tells_both() -> None:
    report = reset("h200?fault=copy-spoiled", selftest=True)
    assert report.exit_code == Exit.REFUSED and "pid 1042" in report.gpus[0].reason
    assert any(note.startswith("self-test of GPU 0: failed") for note in report.notes)


@pytest.mark.parametrize("spec", ["h200?driver=none", "h200?fault=gsp-dead"])
def test_gpu_without_a_driver_is_not_reset_because_it_cannot_be_tested(spec: str) -> None:
    report = reset(spec, selftest=True, **ALL)
    assert "nv.selftest" not in [step.why.split()[0] for step in report.steps]
    (one,) = report.gpus
    assert report.exit_code == Exit.UNKNOWN and one.outcome is Outcome.UNVERIFIED
    assert one.error is not None and "driver" in one.error.next_step


def test_selftest_of_a_preview_says_what_it_does_to_each_vendors_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--on", "model:h200", "reset", "--selftest", "--dry-run")
    assert "GPU 0: through the NVIDIA driver" in out and "is lost" not in out


# ---------------------------------------------------------------- what is done, and what proves it


def test_gpu_is_reset_alone_and_its_peers_stay(capsys: pytest.CaptureFixture[str]) -> None:
    report = reset(f"h200*8?fault=gsp-dead@{SICK}", **ALL)
    assert report.exit_code == Exit.OK and report.touched == (SICK,)
    (step,) = report.steps
    assert (step.method, step.status, step.gpus) == ("flr", StepStatus.VERIFIED, (SICK,))
    assert "mark gone on 1 of 1" in step.proof
    assert report.gpus[SICK].after.health is Health.HEALTHY


def test_xids_before_a_reset_are_past_and_one_after_it_counts() -> None:
    transport = bare("h200?fault=xid:62")
    machine = transport.gpu.machine
    found = gpumend.list_gpus(["model:h200?fault=xid:62"])
    found[0].transport, found[0].clock = transport, machine.clock
    assert gpumend.reset_gpus(found, found, gpumend.ResetOptions(**ALL)).exit_code == Exit.OK
    assert "gpumend: 0000:18:00.0 was started anew by flr" in transport.files.kernel_log()
    assert gpumend.probe_gpus(found)[0].health is Health.HEALTHY
    machine.xid(transport.gpu, 62, "again")
    (report,) = gpumend.probe_gpus(found)
    assert report.health is Health.HUNG and report.facts["nvidia"]["xids_before"] == 1


def test_a_reset_that_did_not_strike_leaves_the_xids(capsys: pytest.CaptureFixture[str]) -> None:
    report = reset("h200?fault=resets-lie,xid:62", **ALL)
    assert [(step.method, step.status) for step in report.steps] == [
        ("flr", StepStatus.FAILED), ("bus-reset", StepStatus.FAILED),
    ]  # fmt: skip
    (one,) = report.gpus
    assert one.outcome is Outcome.FAILED and one.answer is Action.POWER_CYCLE
    assert one.after.health is Health.HUNG


@pytest.mark.parametrize("method", ["flr", "bus-reset", "sysfs-reset"])
def test_healthy_gpu_without_a_driver_is_reset_by_name_and_proved(method: str) -> None:
    report = reset("h200?driver=none", method=method)
    assert [(step.method, step.status) for step in report.steps] == [(method, StepStatus.VERIFIED)]
    assert report.exit_code == Exit.OK


@pytest.mark.parametrize("method", ["remove-rescan", "restore-config"])
def test_methods_that_destroy_nothing_are_proved_otherwise(method: str) -> None:
    report = reset("h200?driver=none", method=method)
    assert [(step.method, step.status) for step in report.steps] == [(method, StepStatus.VERIFIED)]


def test_driver_rebind_is_carried_out_and_leaves_the_xids() -> None:
    report = reset("h200?fault=xid:62", method="driver-rebind", kill_holders=True)
    (step,) = report.steps
    assert step.status is StepStatus.PARTLY and "took it again" in step.proof
    assert report.gpus[0].after.health is Health.HUNG, "the driver is another, the chip is the same"


def test_loop_resets_gpus_that_are_well_by_flr() -> None:
    found = gpumend.list_gpus(["model:h200?driver=none"])
    soak = gpumend.soak_reset(found, found, 3)
    assert soak.exit_code == Exit.OK
    assert [step.method for one in soak.rounds for step in one.report.steps] == ["flr"] * 3


@pytest.mark.parametrize(
    "method", ["mode1", "mode2", "hive-reset", "link-reset", "mec-reset", "sdma-reset", "kernel-recover"]
)
def test_methods_of_amd_are_refused_by_name(method: str) -> None:
    (one,) = reset("h200?driver=none", method=method).gpus
    assert one.outcome is Outcome.REFUSED and "AMD" in one.reason


def test_both_vendors_are_reset_in_one_run() -> None:
    report = gpumend.reset(["model:mi350x?fault=bar-dead", "model:h200?fault=gsp-dead"], **ALL)
    assert [(step.method, step.gpus) for step in report.steps] == [("restore-config", (0,)), ("flr", (1,))]
    assert report.exit_code == Exit.OK


@pytest.mark.parametrize(
    ("fault", "answer"),
    [("recovery-action:2", Action.NODE_REBOOT), ("recovery-action:3", Action.RESTART_APP), ("xid:13", Action.RESTART_APP),
     ("xid:173", Action.NODE_REBOOT)],
)  # fmt: skip
def test_what_a_person_has_to_do_is_said_and_nothing_is_done(fault: str, answer: Action) -> None:
    report = reset(f"h200?fault={fault}", **ALL)
    (one,) = report.gpus
    assert (one.outcome, one.answer, report.steps) == (Outcome.REFUSED, answer, ())
    assert str(answer) in one.reason


def test_word_of_the_driver_decides_over_xids() -> None:
    """It asks for a reboot: then no reset is tried, though an Xid asks for one."""
    report = reset("h200?fault=xid:62,recovery-action:2", **ALL)
    assert report.steps == () and report.gpus[0].answer is Action.NODE_REBOOT


# ---------------------------------------------------------------- the mechanism


@pytest.fixture
def target() -> Iterator[Target]:
    transport = bare("h200?driver=none&fault=gsp-left")
    with Target.open(transport, transport.gpu.machine.clock, transport.files) as opened:
        yield opened


def test_mark_is_gone_after_a_reset_and_there_without_one(target: Target) -> None:
    saved = target.save_config()
    mark = target.plant_mark("flr")
    assert len(mark.where) == 2 and mark.gone() is False
    target.transport.reset("flr")  # type: ignore[attr-defined]
    mark.seen = None
    target.restore_config(saved)
    target.await_boot()
    assert mark.gone() is True


def test_mark_is_taken_back_where_nothing_was_reset(target: Target) -> None:
    before = [target.transport.config_read(at, 4) for at in range(0, 4096, 4)]
    mark = target.plant_mark("flr")
    assert [target.transport.config_read(at, 4) for at in range(0, 4096, 4)] != before
    mark.remove()
    assert [target.transport.config_read(at, 4) for at in range(0, 4096, 4)] == before
    assert not target.transport.gpu.unknown, "no register of the GPU was written"  # type: ignore[attr-defined]


def test_no_mark_is_planted_while_interrupts_are_on(target: Target) -> None:
    capability = next(entry for entry in decode(target.transport).capabilities if entry.id == 0x05)
    target.transport.config_write(capability.offset + 2, 2, 1)
    assert target.plant_mark("flr").where == ("WPR2_HIGH",)


def test_lost_gpu_bears_no_mark() -> None:
    transport = bare("h200?driver=none&fault=fallen-off-bus")
    with Target.open(transport, transport.gpu.machine.clock) as target:
        mark = target.plant_mark("bus-reset")
        assert mark.where == () and mark.gone() is None


def test_waiting_for_boot_ends_and_says_what_it_waits_for() -> None:
    transport = bare("h200?driver=none&fault=boot-stuck")
    with Target.open(transport, transport.gpu.machine.clock) as target, pytest.raises(WaitTimeout) as late:
        target.await_boot(1.0)
    assert "FSP_BOOT" in late.value.expected and "powered" in late.value.seen


def test_another_chip_after_the_reset_is_an_error(target: Target) -> None:
    target.plant_mark("flr")
    target.transport.gpu.registers[0] ^= 1  # type: ignore[attr-defined]
    with pytest.raises(GpumendError, match="waiting for the boot") as wrong:
        target.await_boot()
    assert "chip that it was" in wrong.value.expected


@pytest.mark.parametrize("spec", ["h200", "h200?fault=gsp-dead"])
def test_target_that_a_driver_has_is_refused(spec: str) -> None:
    with pytest.raises(Refused, match="opening"):
        require_free(bare(spec))


# ---------------------------------------------------------------- the model


def test_model_config_space_is_the_kernels_after_a_reset_and_errors_stay() -> None:
    transport = bare()
    gpu = transport.gpu
    gpu.config.data[0x110] = 0x41  # a correctable error, latched
    transport.config_write(0xA2, 2, 0x10)
    before = transport.config_read(0x10, 4), transport.config_read(0x04, 2)
    transport.reset("flr")
    assert (transport.config_read(0x10, 4), transport.config_read(0x04, 2)) == before
    assert gpu.config.data[0x110] == 0x41 and not transport.config_read(0xA2, 2) & 0x70


def test_model_lost_gpu_comes_back_by_the_bus_only_and_without_addresses() -> None:
    transport = bare("h200?driver=none&fault=fallen-off-bus")
    with pytest.raises(GpumendError, match="by flr"):
        transport.reset("flr")
    with pytest.raises(Unavailable, match="rescan"):
        transport.reset("rescan")
    transport.reset("bus")
    assert transport.config_read(0, 4) == 0x233510DE and transport.config_read(0x10, 4) & ~0xF == 0


def test_model_boot_takes_its_time() -> None:
    transport = bare()
    transport.reset("flr")
    assert transport.read32(0, 0x200BC) == 0
    transport.gpu.machine.clock.sleep(2.6)
    assert transport.read32(0, 0x200BC) == 0xFF


def test_model_driver_unloads_and_what_it_knew_is_gone_but_what_outlives_it() -> None:
    transport = bare("h200?fault=recovery-action:1,ecc-row-remap-pending")
    gpu = transport.gpu
    transport.end_holder(1042)
    transport.unbind()
    assert (gpu.registers[SCRATCH_RESET], gpu.rm.remap_pending, gpu.rm.uncorrected) == (1, True, 0)
    transport.reset("flr")
    assert (gpu.registers[SCRATCH_RESET], gpu.rm.remap_pending, gpu.rm.remap_rows) == (0, False, 1)


def test_model_dead_firmware_leaves_its_region_when_the_driver_goes() -> None:
    transport = bare("h200?fault=gsp-dead")
    transport.end_holder(1042)
    transport.unbind()
    transport.bind()
    assert transport.gpu.registers[WPR2_HIGH]
    with pytest.raises(OSError, match="Input/output"):
        transport.files.open("/dev/nvidia0")


def test_model_reset_under_a_driver_is_remembered() -> None:
    transport = bare("h200")
    transport.reset("flr")
    assert transport.gpu.reset_while_bound
    assert not transport.gpu.rm.gsp_alive


def test_model_says_no_to_a_method_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="mode1"):
        bare().reset("mode1")
