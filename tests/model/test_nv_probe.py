"""`list` and `probe` on modelled NVIDIA GPUs: healthy ones, every fault, and what cannot be told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpumend
from base.clock import VirtualClock
from base.errors import NotPermitted, UsageError
from base.findings import Action, Health, ProbeReport, Severity
from base.part import NVIDIA_VENDOR
from gpumodel import nvidia
from gpumodel.nvidia.gpu import NvTransport
from nvdriver.parts import PARTS
from probe.run import Target, probe_all
from probe.verdict import NVIDIA

PARTS_OF_MODELS = [chip.name for chip in nvidia.parts()]
SICK = 2


def one(spec: str, change: Callable[[NvTransport], None] | None = None, limit_s: float = 2.0) -> ProbeReport:
    """The report on the first GPU of `spec`, after `change`."""
    return probed(spec, change, limit_s)[0]


def probed(spec: str, change: Callable[[NvTransport], None] | None = None, limit_s: float = 2.0) -> list[ProbeReport]:
    clock = VirtualClock()
    transports = nvidia.open_models(spec, clock)
    if change is not None:
        change(transports[0])
    targets = [
        Target(index, transport, PARTS[transport.gpu.chip.device], transport.files)
        for index, transport in enumerate(transports)
    ]
    reports = probe_all(targets, clock=clock, limit_s=limit_s)
    assert clock.now() <= limit_s + 0.01  # whatever it met
    for transport in transports:
        touched = [kind for kind, _ in transport.gpu.unknown if kind != "read"]
        assert not touched, "a probe writes nothing"
    return reports


def codes(report: ProbeReport) -> list[str]:
    return [finding.code for finding in report.findings if finding.severity is not Severity.NOTE]


@pytest.mark.parametrize("part", PARTS_OF_MODELS)
@pytest.mark.parametrize("state", ["used", "cold"])
def test_probe_well_gpus_are_healthy_and_every_register_asked_is_known(part: str, state: str) -> None:
    kept: list[NvTransport] = []
    reports = probed(f"{part}*8?state={state}", kept.append)
    assert [(report.health, report.action, report.findings) for report in reports] == [
        (Health.HEALTHY, Action.NONE, ())
    ] * 8
    assert not kept[0].gpu.unknown


@pytest.mark.parametrize("driver", ["570.144", "580.65.06", "580.105.08", "590.48.01"])
def test_probe_through_each_branch_reads_the_same_state(driver: str) -> None:
    report = one(f"h200?driver={driver}&fault=nvlink-down:17,ecc-row-remap-pending")
    facts = report.facts["nvidia"]
    assert facts["driver"] == {"version": driver, "branch": int(driver[:3]), "open": True}
    assert [row["link"] for row in facts["nvlinks"] if row["state"] == "fault"] == [17]
    assert len(facts["nvlinks"]) == 18
    assert facts["ecc"] == {
        "enabled": True,
        "supported": True,
        "corrected": {"sram": 0, "dram": 0},
        "uncorrected": {"sram": 0, "dram": 1},
    }
    assert facts["row_remap"] == {"rows": 1, "pending": True, "failed": False}
    assert (facts["memory_mib"], facts["name"], facts["pstate"]) == (144384, "NVIDIA H200", 0)
    assert facts["fabric"]["state"] == "complete"
    assert facts["boot"]["stage"] == "protected"  # its processor is not asked while a driver is bound


FAULTS = [
    ("gsp-dead", ["nv.xid.119", "nv.recovery.reset", "nv.gsp.silent"], Health.HUNG, Action.FLR),
    ("fallen-off-bus", ["nv.xid.79", "pci.lost", "nv.recovery.reset"], Health.LOST, Action.NODE_REBOOT),
    ("nvlink-down", ["nv.xid.74", "nv.nvlink"], Health.DEGRADED, Action.NONE),
    ("ecc-row-remap-pending", ["nv.xid.63", "nv.remap.pending", "nv.ecc.uncorrected"], Health.DEGRADED, Action.FLR),
    ("thermal-slowdown", ["nv.slowed"], Health.DEGRADED, Action.NONE),
    ("recovery-action:1", ["nv.recovery.reset"], Health.HUNG, Action.FLR),
    ("recovery-action:2", ["nv.recovery.node-reboot"], Health.HUNG, Action.NODE_REBOOT),
    ("recovery-action:3", ["nv.recovery.drain-p2p"], Health.DEGRADED, Action.RESTART_APP),
    ("recovery-action:4", ["nv.recovery.drain-and-reset"], Health.DEGRADED, Action.FLR),
    ("xid:13", ["nv.xid.13"], Health.DEGRADED, Action.RESTART_APP),
    ("xid:31", ["nv.xid.31"], Health.DEGRADED, Action.RESTART_APP),
    ("xid:43", [], Health.HEALTHY, Action.NONE),
    ("xid:48", ["nv.xid.48"], Health.DEGRADED, Action.RESTART_APP),
    ("xid:79", ["nv.xid.79"], Health.LOST, Action.NODE_REBOOT),
    ("xid:95", ["nv.xid.95"], Health.HUNG, Action.FLR),
    ("xid:119", ["nv.xid.119", "nv.gsp.silent"], Health.HUNG, Action.FLR),
    ("xid:154", [], Health.HEALTHY, Action.NONE),
    ("xid:999", ["nv.xid.999"], Health.UNKNOWN, Action.NONE),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "found", "health", "action"), FAULTS, ids=[row[0] for row in FAULTS])
def test_probe_fault_on_one_of_eight_finds_exactly_it(
    fault: str, found: list[str], health: Health, action: Action
) -> None:
    reports = probed(f"h200*8?fault={fault}@{SICK}")
    sick = reports.pop(SICK)
    assert set(codes(sick)) == set(found)
    assert (sick.health, sick.action) == (health, action)
    assert all((report.health, report.findings) == (Health.HEALTHY, ()) for report in reports)
    for finding in sick.findings:
        assert finding.expected and finding.seen and finding.where and finding.next
        assert len(finding.summary) <= 80


@pytest.mark.parametrize(
    ("number", "found", "health", "action"),
    [(20034, ["nv.sxid.fatal"], Health.DEGRADED, Action.NONE), (22003, ["nv.sxid.fabric"], Health.DEGRADED, Action.NODE_REBOOT),
     (19084, [], Health.HEALTHY, Action.NONE)],
)  # fmt: skip
def test_probe_sxid_of_a_switch_is_told_with_every_gpu_of_the_board(
    number: int, found: list[str], health: Health, action: Action
) -> None:
    for report in probed(f"h200*4?fault=sxid:{number}@0"):
        assert (codes(report), report.health, report.action) == (found, health, action)
        (row,) = report.facts["nvidia"]["sxids"]
        assert (row["number"], row["switch"], row["count"]) == (number, "nvswitch0", 1)
        told = next(finding for finding in report.findings if finding.code.startswith("nv.sxid."))
        assert str(number) in told.summary and told.next


BARE = [
    ("h200", "gsp-dead", "nv.gsp.dead", Health.HUNG, Action.FLR),
    ("rtx4090", "gsp-dead", "nv.gsp.dead", Health.HUNG, Action.FLR),
    ("h200", "boot-stuck", "nv.boot.fsp", Health.HUNG, Action.BUS_RESET),
    ("rtx5090", "boot-stuck", "nv.boot.fsp", Health.HUNG, Action.BUS_RESET),
    ("rtx4090", "boot-stuck", "nv.boot.devinit", Health.HUNG, Action.FLR),
    ("b200", "gsp-left", "nv.boot.left", Health.DEGRADED, Action.FLR),
    ("h100", "fallen-off-bus", "pci.lost", Health.LOST, Action.BUS_RESET),
]


@pytest.mark.parametrize(("part", "fault", "code", "health", "action"), BARE, ids=lambda item: str(item))
def test_probe_fault_of_a_gpu_without_driver(part: str, fault: str, code: str, health: Health, action: Action) -> None:
    report = one(f"{part}?driver=none&fault={fault}")
    assert (codes(report), report.health, report.action) == ([code], health, action)


def test_every_fault_of_the_catalogue_is_in_one_of_the_tables() -> None:
    covered = {row[0].partition(":")[0] for row in FAULTS} | {row[1] for row in BARE} | {"sxid"}
    assert covered == {fault.name for fault in nvidia.catalogue() if fault.shows_at == "look"}


UNSEEN = sorted(fault.name for fault in nvidia.catalogue() if fault.shows_at == "work")


@pytest.mark.parametrize("fault", UNSEEN)
def test_probe_cannot_see_what_only_work_meets(fault: str) -> None:
    report = one(f"h200?fault={fault}")
    assert (report.health, report.findings) == (Health.HEALTHY, ())


def test_probe_finding_codes_all_have_a_rule() -> None:
    root = Path(__file__).resolve().parents[2] / "probe"
    text = "".join(
        (root / name).read_text() for name in ("nv.py", "nv_boot.py", "nv_driver.py", "nv_needs.py", "nv_switch.py")
    )
    used = set(re.findall(r'"(nv\.[a-z0-9.-]+)"', text)) - {"nv.chip", "nv.idle", "nv.drain", "nv.sxid.error"}  # notes
    assert used <= set(NVIDIA)
    assert {code for code in NVIDIA if not code.startswith("nv.recovery.")} <= used


def test_probe_silent_firmware_that_the_log_does_not_know_of_costs_half_a_second() -> None:
    def change(transport: NvTransport) -> None:
        transport.gpu.rm.gsp_alive = False

    report = one("h200", change)
    assert (report.health, report.action) == (Health.HUNG, Action.FLR)
    assert "nv.gsp.silent" in codes(report)
    assert report.facts["nvidia"]["recovery_action"] == "none"  # the driver still answers from memory
    assert report.facts["nvidia"]["nvlinks"]


def test_probe_gpu_that_nobody_uses_is_not_initialized_by_looking() -> None:
    kept: list[NvTransport] = []

    def change(transport: NvTransport) -> None:
        transport.gpu.rm.persistent = False
        kept.append(transport)

    report = one("h200", change)
    assert (report.health, codes(report)) == (Health.HEALTHY, [])
    assert [finding.code for finding in report.findings] == ["nv.idle"]
    assert report.facts["nvidia"]["initialized"] is False
    assert not kept[0].files.rm.users


def test_probe_gpu_that_the_driver_gave_up_is_lost_though_it_is_back_on_the_bus() -> None:
    report = one("h200?fault=xid:79")
    assert (report.health, report.action) == (Health.LOST, Action.NODE_REBOOT)


@pytest.mark.parametrize("driver", ["535.129.03", "610.10"])
def test_probe_driver_branch_without_a_table_is_unknown_and_named(driver: str) -> None:
    report = one(f"h200?driver={driver}")
    assert report.health is Health.UNKNOWN
    (finding,) = [item for item in report.findings if item.severity is Severity.UNKNOWN]
    assert driver in finding.seen and "570, 580, 590" in finding.seen
    assert report.facts["nvidia"]["boot"]["chip"] == "GH100"  # all else was asked


def test_probe_log_that_may_not_be_read_is_unknown_never_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpumodel.nvidia.files import ModelFiles

    def denied(self: ModelFiles) -> str:
        raise NotPermitted("reading the kernel log", expected="CAP_SYSLOG", seen="Operation not permitted")

    monkeypatch.setattr(ModelFiles, "kernel_log", denied)
    report = one("h200")
    assert report.health is Health.UNKNOWN
    assert report.facts["nvidia"]["xids"] is None


@pytest.mark.parametrize("driver", ["570.144", "580.105.08", "590.48.01"])
def test_probe_telemetry_is_that_of_the_page_where_somebody_polls_it(driver: str) -> None:
    told = one(f"h200?driver={driver}&fault=thermal-slowdown").facts["nvidia"]["telemetry"]
    assert told["temperature_c"] == {"gpu": 95.0, "memory": 38.0}
    assert (told["power_w"], told["power_limit_w"]) == (76.0, 700.0)
    assert told["clocks_mhz"] == {"graphics": 345, "memory": 3201, "sm": 345}
    assert told["slowed_by"] == ["hardware slowdown", "hardware thermal slowdown"]


@pytest.mark.parametrize("driver", ["570.144", "580.105.08", "590.48.01"])
def test_probe_drain_state_is_a_note(driver: str) -> None:
    def change(transport: NvTransport) -> None:
        transport.gpu.rm.draining = True

    report = one(f"h200?driver={driver}", change)
    assert report.health is Health.HEALTHY and report.facts["nvidia"]["draining"] is True
    assert [finding.code for finding in report.findings] == ["nv.drain"]
    assert one(f"h200?driver={driver}").facts["nvidia"]["draining"] is False


def test_probe_telemetry_that_nobody_polls_is_unknown_not_zero() -> None:
    def change(transport: NvTransport) -> None:
        transport.gpu.rm.telemetry.polled = False

    report = one("h200", change)
    assert report.health is Health.HEALTHY
    assert report.facts["nvidia"]["telemetry"] == {
        "temperature_c": {"gpu": None, "memory": None},
        "power_w": None,
        "power_limit_w": None,
        "clocks_mhz": None,
        "slowed_by": None,
    }


def test_probe_old_application_error_is_a_note_and_an_old_hang_is_not() -> None:
    clock = VirtualClock()
    (transport,) = nvidia.open_models("h200?fault=xid:31,xid:109", clock)
    clock.sleep(3600)
    (report,) = probe_all([Target(0, transport, PARTS[0x2335], transport.files)], clock=clock)
    severities = {finding.code: finding.severity for finding in report.findings}
    assert severities == {"nv.xid.31": Severity.NOTE, "nv.xid.109": Severity.ERROR}


def test_probe_without_the_machine_says_what_was_not_asked() -> None:
    (transport,) = nvidia.open_models("h200")
    (report,) = probe_all([Target(0, transport, PARTS[0x2335])], clock=VirtualClock())
    assert report.health is Health.UNKNOWN
    assert {item["question"] for item in report.facts["unanswered"]} == {
        "the driver's version", "Xids of the kernel log", "the NVIDIA driver",
    }  # fmt: skip


def test_probe_first_register_that_is_an_error_of_the_inner_bus_is_hung() -> None:
    def change(transport: NvTransport) -> None:
        transport.gpu.registers[0] = 0xBADF5040

    report = one("h200?driver=none", change)
    assert (report.health, codes(report)[0]) == (Health.HUNG, "nv.pri")


def test_probe_dead_bar_is_told_from_a_lost_gpu() -> None:
    def change(transport: NvTransport) -> None:
        transport.gpu.registers[0] = 0xFFFFFFFF

    report = one("h200?driver=none", change)
    assert (report.health, codes(report)) == (Health.HUNG, ["pci.bar-dead"])


def test_probe_memory_decoding_off_reads_no_register() -> None:
    def change(transport: NvTransport) -> None:
        transport.config_write(4, 2, 0)

    report = one("h200?driver=none", change)
    assert "pci.memory-off" in {finding.code for finding in report.findings}
    assert report.facts["nvidia"]["boot"] is None


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    import cli

    code = cli.run(list(arguments))
    said = capsys.readouterr()
    return int(code), said.out, said.err


def test_list_shows_both_vendors_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--on", "model:h200*2", "--on", "model:mi300x", "list", "--json")
    assert code == 0
    rows: list[dict[str, Any]] = json.loads(out)["gpus"]
    assert [(row["part"], row["arch"], row["id"], row["driver"]) for row in rows] == [
        ("H200", "GH100", "10de:2335", "nvidia"),
        ("H200", "GH100", "10de:2335", "nvidia"),
        ("MI300X", "gfx942", "1002:74a1", ""),
    ]


def test_probe_shows_both_vendors_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "--on", "model:h200?fault=xid:119", "--on", "model:mi300x?fault=mec-hang", "probe", "--json"
    )
    assert code == 1
    rows = json.loads(out)["gpus"]
    assert [(row["part"], row["health"], row["action"]) for row in rows] == [
        ("H200", "hung", "flr"), ("MI300X", "hung", "queue-reset"),
    ]  # fmt: skip


@pytest.mark.parametrize(("spec", "code"), [("h200*8", 0), ("h200*8?fault=gsp-dead@2", 1), ("h200?driver=535.1", 2)])
def test_probe_exit_codes(capsys: pytest.CaptureFixture[str], spec: str, code: int) -> None:
    assert run(capsys, "--on", f"model:{spec}", "probe")[0] == code


@pytest.mark.parametrize(
    "command",
    [
        ("regs", "read", "GRBM_STATUS"), ("discovery", "show"),
        ("discovery", "save"), ("trace", "record", "--output", "x.jsonl"), ("firmware", "needed"),
        ("repro", "run", "hive-reset-loop-userspace", "--yes"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_command_that_is_not_built_for_nvidia_says_so_at_once(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code, _, err = run(capsys, "--on", "model:h200*2", *command)
    assert code == 64
    assert "not built for NVIDIA yet" in err and "H200" in err
    assert "defect" not in err


def test_command_on_a_mixed_machine_names_the_gpus_that_it_can_take(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--on", "model:h200", "--on", "model:mi300x*2", "discovery", "show")
    assert code == 64 and "-g 1,2" in err
    assert run(capsys, "--on", "model:h200", "--on", "model:mi300x*2", "-g", "1,2", "discovery", "validate")[0] == 0
    assert run(capsys, "--on", "model:h200", "--on", "model:mi300x", "-g", "1", "reset", "--dry-run")[0] == 0


def test_api_that_is_not_built_for_nvidia_raises_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        gpumend.open_hive("model:h200")
    assert "NVIDIA" in caught.value.expected


def test_part_of_every_model_is_one_that_the_table_of_parts_knows() -> None:
    for chip in nvidia.parts():
        part = gpumend.part_of(NVIDIA_VENDOR, chip.device)
        assert part is not None and part.vram_mib in (None, chip.vram_size >> 20)
