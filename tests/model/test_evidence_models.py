"""Bundles of modelled GPUs: on the virtual clock, in every state, and nothing is written to them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

import evidence
import gpumend
from amdriver.access import INDEX_REGISTERS
from amdriver.parts import Part
from base.clock import Clock, VirtualClock
from evidence import Limits
from gpumodel import faults
from pcibus.transport import Transport
from tests.evidence_tree import raw_bytes
from tests.probe_fakes import Watched


@dataclass(slots=True)
class Gpu:
    """A subject whose transport the test can watch."""

    index: int
    transport: Transport
    part: Part
    clock: Clock


def watched(spec: str, read_s: float = 0.0) -> tuple[list[Gpu], list[Watched], VirtualClock]:
    clock = VirtualClock()
    found = gpumend.list_gpus([spec], clock=clock)
    transports = [Watched(gpu.transport) for gpu in found]
    for transport in transports if read_s else ():
        transport.before_read = partial(clock.sleep, read_s)
    subjects = [Gpu(gpu.index, transport, gpu.part, clock) for gpu, transport in zip(found, transports, strict=True)]
    return subjects, transports, clock


def test_before_reset_of_a_model_has_registers_by_name_and_writes_index_registers_only(tmp_path: Path) -> None:
    subjects, transports, clock = watched("model:mi350x*2?fault=mec-hang:3@1")
    bundle = evidence.before_reset(subjects, action="hive-reset", folder=tmp_path / "out")
    assert bundle.complete
    assert evidence.check(bundle.folder).ok
    files = raw_bytes(bundle.folder)
    for name in ("gpu0", "gpu1"):
        text = files[f"{name}/registers.txt"].decode()
        for register in (
            "MP0[0].MP0_SMN_C2PMSG_81 @",
            "GC[3].CP_MEC_CNTL @",
            "SDMA0[0].SDMA_STATUS_REG @",
            "MP0[3].MP0_SMN_C2PMSG_92",
        ):
            assert register in text, register
        verdict = json.loads(files[f"{name}/discovery.json"])
        assert verdict["valid"]
        assert len(files[f"{name}/discovery.bin"]) == verdict["bytes"]
    assert {gpu["index"]: gpu["health"] for gpu in bundle.manifest["gpus"]} == {0: "healthy", 1: "hung"}
    assert b"amd.gfx.mec" in files["report.md"]
    assert {(bar, offset) for one in transports for bar, offset, _ in one.written} <= INDEX_REGISTERS
    assert clock.now() < 5.0, "virtual: what a bundle costs before a reset"
    assert bundle.unread == ()
    left_out = {row["name"] for row in bundle.manifest["collectors"] if row["status"] == "skipped"}
    assert left_out == {"kernel-log", "devcoredump"}, "this machine's logs say nothing of models"


@pytest.mark.long
@pytest.mark.parametrize("fault", [item.name for item in faults()])
def test_before_reset_of_every_fault_is_complete_and_bounded(fault: str, tmp_path: Path) -> None:
    subjects, _, clock = watched(f"model:mi300x*2?fault={fault}@1")
    bundle = evidence.before_reset(subjects, action="mode1", folder=tmp_path / "out")
    assert bundle.complete
    assert evidence.check(bundle.folder).ok
    assert clock.now() < 6.0
    assert json.loads(raw_bytes(bundle.folder)["gpu0/discovery.json"])["valid"], "the other GPU's part is whole"


def test_before_reset_of_a_lost_gpu_reads_none_of_its_registers(tmp_path: Path) -> None:
    subjects, _, _ = watched("model:mi300x?fault=bus-lost")
    bundle = evidence.before_reset(subjects, action="bus-reset", folder=tmp_path / "out")
    files = raw_bytes(bundle.folder)
    assert "gpu0/registers.txt" not in files
    assert json.loads(files["gpu0/not-asked.json"])[0]["code"] == "pci.lost"
    assert b"config space reads all ones" in files["gpu0/pci.txt"]
    assert any("not asked" in row.why for row in bundle.unread)


def test_before_reset_without_a_table_keeps_its_bytes_and_says_what_is_unknown(tmp_path: Path) -> None:
    subjects, _, _ = watched("model:mi300x?fault=discovery-clobbered")
    bundle = evidence.before_reset(subjects, action="mode1", folder=tmp_path / "out")
    files = raw_bytes(bundle.folder)
    verdict = json.loads(files["gpu0/discovery.json"])
    assert not verdict["valid"]
    assert "amd.discovery.signature" in {item["code"] for item in verdict["findings"]}
    assert files["gpu0/discovery.bin"], "the clobbered bytes are the evidence"
    assert b"MP0_SMN_C2PMSG_33" in files["gpu0/registers.txt"]
    assert any("nobody knows where they lie" in row.why for row in bundle.unread)


def test_before_reset_of_a_slow_gpu_stops_at_its_limit_on_the_virtual_clock(tmp_path: Path) -> None:
    subjects, _, clock = watched("model:mi300x", read_s=0.01)
    limits = replace(Limits(), hardware_s=1.0)
    bundle = evidence.before_reset(subjects, action="mode1", reports=[], folder=tmp_path / "out", limits=limits)
    assert bundle.complete
    assert any("within the time" in row.why or "reading the GPU" in row.why for row in bundle.unread)
    assert clock.now() < 15.0  # config space is 1024 reads of its own


def test_collect_of_a_model_has_more_registers_than_the_quick_form(tmp_path: Path) -> None:
    subjects, _, _ = watched("model:mi350x")
    quick = evidence.before_reset(subjects, action="mode1", folder=tmp_path / "quick")
    full = evidence.collect(subjects, tmp_path / "full")
    lines = [len(raw_bytes(one.folder)["gpu0/registers.txt"].splitlines()) for one in (quick, full)]
    assert lines[1] > 5 * lines[0]
    assert raw_bytes(full.folder)["system.txt"]


def test_bundles_of_one_model_hold_the_same_but_for_time(tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        subjects, _, _ = watched("model:mi350x*2?fault=smu-silent@1")
        folders.append(evidence.before_reset(subjects, action="mode1", folder=tmp_path / name).folder)
    one, two = (raw_bytes(folder) for folder in folders)
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} <= {"manifest.json"}
