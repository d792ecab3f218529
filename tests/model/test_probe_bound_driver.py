"""A GPU that amdgpu drives: nothing is written to it, and its driver's files answer what cannot be asked directly."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.findings import Action, Health, ProbeReport
from pcibus.transport import Can, Transport
from tests.probe_fakes import Watched
from tests.probe_models import Probed, probe_model

HIVE_ID = "0x1122334455667788"
ACTIVE = (1, 1, 1, 1, 1, 0xFFFF, 1, 1)  # by port; port 5 is link 7, which a hive of eight does not need


def bound(_index: int, transport: Transport) -> Watched:
    watched = Watched(transport, driver="amdgpu", upstream=None)
    watched.can |= Can.HOST
    return watched


def gpu_metrics(states: tuple[int, ...]) -> bytes:
    """Version 1.9 with two attributes: a temperature, then the link states."""
    values = b"".join(state.to_bytes(2, "little") for state in states)
    body = (2).to_bytes(4, "little")
    body += (0x02200001).to_bytes(8, "little") + b"\x30\x00"
    body += (0x00207C08).to_bytes(8, "little") + values
    return (4 + len(body)).to_bytes(2, "little") + b"\x01\x09" + body


def device(root: Path, bdf: str) -> Path:
    folder = root / "bus/pci/devices" / bdf
    (folder / "xgmi_hive_info").mkdir(parents=True)
    (folder / "xgmi_hive_info/xgmi_hive_id").write_text(f"{HIVE_ID}\n")
    return folder


def probe_bound(root: Path, spec: str = "mi350x*8") -> Probed:
    return probe_model(spec, bound, in_children=False, sys_root=root, proc_root=root)


def prepare(root: Path, states: tuple[int, ...] = ACTIVE, spec: str = "mi350x*8") -> list[Path]:
    folders = [device(root, report.bdf) for report in probe_model(spec).reports]
    for folder in folders:
        (folder / "gpu_metrics").write_bytes(gpu_metrics(states))
    return folders


def unanswered(report: ProbeReport) -> set[str]:
    return {item["question"] for item in report.facts["unanswered"]}


def test_probe_bound_healthy_gpu_with_its_drivers_files_is_healthy(tmp_path: Path) -> None:
    prepare(tmp_path)
    probed = probe_bound(tmp_path)
    for report, transport in zip(probed.reports, probed.transports, strict=True):
        assert (report.health, report.action, report.findings) == (Health.HEALTHY, Action.NONE, ())
        assert report.facts["smu"]["alive"] is True
        assert report.facts["smu"]["source"] == "amdgpu"
        assert report.facts["xgmi"]["hive_id"] == HIVE_ID
        assert report.facts["xgmi"]["links_source"] == "amdgpu"
        assert [row["state"] for row in report.facts["xgmi"]["links"]].count("active") == 7
        assert transport.written == []


def test_probe_bound_gpu_without_metrics_is_unknown_and_says_why(tmp_path: Path) -> None:
    for folder in prepare(tmp_path):
        (folder / "gpu_metrics").unlink()
    for report in probe_bound(tmp_path).reports:
        assert report.health == Health.UNKNOWN
        assert {"SMU firmware flags", "XGMI links", "boot status of AID 1"} <= unanswered(report)
        (finding,) = [item for item in report.findings if item.code == "probe.unanswered"]
        assert "bound to amdgpu" in finding.seen


def test_probe_bound_gpu_with_a_link_down_by_its_drivers_word(tmp_path: Path) -> None:
    folders = prepare(tmp_path)
    down = (0, *ACTIVE[1:])
    (folders[3] / "gpu_metrics").write_bytes(gpu_metrics(down))
    reports = probe_bound(tmp_path).reports
    (finding,) = reports[3].findings
    assert finding.summary == "XGMI link 0 (AID 0, port 0) is down"
    assert finding.where.endswith("gpu_metrics")
    assert [report.health for report in reports].count(Health.HEALTHY) == 7


def test_probe_bound_gpu_with_strange_metrics_is_unknown(tmp_path: Path) -> None:
    for folder in prepare(tmp_path):
        (folder / "gpu_metrics").write_bytes(b"\xff" * 64)
    report = probe_bound(tmp_path).reports[0]
    assert report.health == Health.UNKNOWN
    assert any("not a table that is known: ff ff ff ff" in item["reason"] for item in report.facts["unanswered"])


@pytest.mark.parametrize("fault", ["mec-hang", "page-fault", "ras-fatal", "discovery-bitflip"])
def test_probe_bound_gpu_shows_faults_that_need_no_index_register(tmp_path: Path, fault: str) -> None:
    prepare(tmp_path)
    probed = probe_bound(tmp_path, f"mi350x*8?fault={fault}@2")
    assert probed.reports[2].health == Health.HUNG
    assert [report.index for report in probed.reports if report.health != Health.HEALTHY] == [2]
    assert all(transport.written == [] for transport in probed.transports)


def test_probe_holders_on_this_machine_are_facts(tmp_path: Path) -> None:
    prepare(tmp_path)
    report = probe_bound(tmp_path).reports[0]
    assert report.facts["holders"]["processes"] == []
    assert report.facts["holders_complete"] is report.facts["holders"]["complete"]


def test_probe_model_has_no_holders_to_look_for() -> None:
    facts = probe_model("mi350x").one.facts
    assert (facts["holders"], facts["holders_complete"]) == (None, None)


def test_probe_bound_gpu_without_a_table_is_told_its_links_by_its_driver(tmp_path: Path) -> None:
    prepare(tmp_path)
    report = probe_bound(tmp_path, "mi350x*8?fault=discovery-zeros@2").reports[2]
    assert report.facts["discovery"]["bases_from"] == "another GPU of this part"
    assert report.facts["xgmi"]["links_source"] == "amdgpu"
    assert [row["state"] for row in report.facts["xgmi"]["links"]].count("active") == 7
    assert unanswered(report) == set()
    assert len(report.facts["gfx"]) == 8


def test_probe_hive_members_are_known_from_the_driver_when_registers_are_not(tmp_path: Path) -> None:
    spec = "mi350x*2?fault=bar-dead"
    for node, folder in enumerate(prepare(tmp_path, spec=spec)):
        (folder / "xgmi_physical_id").write_text(f"{node}\n")
        for number in (1, 2):
            (folder / "xgmi_hive_info" / f"node{number}").mkdir()
    reports = probe_bound(tmp_path, spec).reports
    assert [report.facts["xgmi"]["node"] for report in reports] == [0, 1]
    assert reports[0].facts["xgmi"]["members"] == [report.bdf for report in reports]


def test_probe_lock_held_by_somebody_else_asks_no_index_question() -> None:
    class Held(Watched):
        def exclusive(self):  # type: ignore[no-untyped-def]
            from base.errors import Refused

            raise Refused("taking the lock of 0000:05:00.0", seen="held by pid 7 (python)")

    probed = probe_model("mi350x", lambda _index, transport: Held(transport))
    assert probed.one.health == Health.UNKNOWN
    assert probed.transports[0].written == []
    (finding,) = probed.one.findings
    assert "held by pid 7 (python)" in finding.seen
