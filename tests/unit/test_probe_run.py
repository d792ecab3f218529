"""The probe of several GPUs: bounds, children, breakage, and what is borrowed."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gpumodel
from amdriver.discovery import validate
from amdriver.parts import PARTS
from base.clock import RealClock, VirtualClock
from base.errors import DeviceLost, NotPermitted, Unavailable
from base.findings import Action, Finding, Health, ProbeReport, Severity
from gpumodel.chips import CHIPS, discovery_spec
from gpumodel.discovery import encode
from pcibus.transport import Can, FunctionInfo, Transport
from probe.bounded import Bounded, OutOfTime
from probe.hive import Seen, settle
from probe.metrics import parse
from probe.one import NO_TIME
from probe.run import Target, is_whole, probe_all
from probe.scratch import Scratch
from probe.session import Progress, Unanswered, unanswered_finding
from tests.probe_fakes import MI350X, FakeGpu, Watched
from tests.probe_models import probe_model, serious, targets_of


def targets(*gpus: FakeGpu) -> list[Target]:
    return [Target(index, gpu, PARTS[gpu.info().device]) for index, gpu in enumerate(gpus)]


def codes(report: ProbeReport) -> list[str]:
    return [finding.code for finding in report.findings]


# ---- bounds


def test_probe_gpu_whose_every_read_takes_long_ends_at_its_limit() -> None:
    clock = VirtualClock()
    slow, good = FakeGpu(), FakeGpu()
    slow.on_read = lambda _offset: clock.sleep(0.3)
    reports = probe_all(targets(slow, good), clock=clock, limit_s=2.0)
    assert clock.now() <= 2.0 + 0.3
    assert "probe.timeout" in codes(reports[0])
    assert reports[0].health in (Health.UNKNOWN, Health.HUNG)
    assert "probe.timeout" not in codes(reports[1])


def test_probe_timeout_names_the_question_that_was_asked() -> None:
    clock = VirtualClock()
    gpu = FakeGpu()
    gpu.on_read = lambda offset: clock.sleep(5.0 if offset == 0x3878 else 0.0)
    (report,) = probe_all(targets(gpu), clock=clock)
    finding = next(item for item in report.findings if item.code == "probe.timeout")
    assert finding.summary == "no answer within 2 s while asking: RAS flags"
    assert report.facts["psp"]["bootloader"] == "ready"  # what was learned before stands


def test_bounded_reads_end_and_writes_pass_after_the_deadline() -> None:
    clock = VirtualClock()
    gpu = FakeGpu()
    bounded = Bounded(gpu, clock, 1.0, "0000:c1:00.0")
    clock.sleep(1.5)
    for read in (
        lambda: bounded.read32(5, 0),
        lambda: bounded.read64(5, 0),
        lambda: bounded.config_read(0, 4),
        lambda: bounded.read_block(0, 0, 4),
    ):
        with pytest.raises(OutOfTime, match="reading the GPU"):
            read()
    bounded.write32(5, 0x38, 7)
    assert gpu.writes == [(5, 0x38, 7)]


# ---- breakage


def test_probe_transport_that_raises_in_the_middle_leaves_the_others_alone() -> None:
    clock = VirtualClock()
    broken, good = FakeGpu(), FakeGpu()

    def explode(offset: int) -> None:
        if offset == 0x3878:
            raise OSError(5, "Input/output error")

    broken.on_read = explode
    reports = probe_all(targets(broken, good), clock=clock)
    unanswered = {item["question"]: item["reason"] for item in reports[0].facts["unanswered"]}
    assert unanswered["RAS flags"] == "OSError: [Errno 5] Input/output error"
    assert reports[0].health.rank >= Health.UNKNOWN.rank
    assert "RAS flags" not in {item["question"] for item in reports[1].facts["unanswered"]}


def test_probe_gpu_that_has_no_entry_any_more_is_lost() -> None:
    class Removed(FakeGpu):
        def info(self) -> FunctionInfo:
            raise Unavailable("asking who it is", expected="a PCI function at that address", seen="none")

    gpu = Removed()
    (report,) = probe_all([Target(0, gpu, MI350X)], clock=VirtualClock())
    assert (report.health, report.action, codes(report)) == (Health.LOST, Action.BUS_RESET, ["pci.lost"])
    assert report.facts["identity"]["bdf"] == "fake"


def test_probe_device_that_is_lost_while_asked_is_lost_and_nothing_else() -> None:
    gpu = FakeGpu()

    def leave(offset: int) -> None:
        if offset == 0x3878:
            raise DeviceLost("reading BAR5", seen="it went away")

    gpu.on_read = leave
    (report,) = probe_all(targets(gpu), clock=VirtualClock())
    assert report.health == Health.LOST
    finding = next(item for item in report.findings if item.code == "pci.lost")
    assert "while asking: RAS flags" in finding.seen
    assert "probe.unanswered" not in codes(report)


def test_probe_breaking_outside_of_a_question_is_told_as_broken() -> None:
    class Mad(FakeGpu):
        def info(self) -> FunctionInfo:
            raise RuntimeError("no sense at all")

    (report,) = probe_all([Target(0, Mad(), MI350X)], clock=VirtualClock())
    assert report.health == Health.UNKNOWN
    (finding,) = report.findings
    assert finding.summary == "the probe broke while asking: identity"
    assert finding.seen == "RuntimeError: no sense at all"


def test_probe_nothing_to_probe_gives_nothing() -> None:
    assert probe_all([], clock=VirtualClock()) == []


def test_probe_mapping_refused_is_its_own_finding_and_everything_behind_it_unanswered() -> None:
    class Refusing(NotPermitted):
        finding_code = "pci.mmap-refused"

    gpu = FakeGpu()

    def refuse(_offset: int) -> None:
        raise Refusing("mapping BAR5", expected="memory that userspace may map", seen="lockdown is integrity")

    gpu.on_read = refuse
    (report,) = probe_all(targets(gpu), clock=VirtualClock())
    assert report.health == Health.UNKNOWN
    assert "pci.mmap-refused" in codes(report)
    assert "pci.bar-dead" not in codes(report)
    assert {"PSP boot status", "SMU"} <= {item["question"] for item in report.facts["unanswered"]}


@pytest.mark.parametrize("state", ["D3hot", "D3cold"])
def test_probe_sleeping_gpu_is_left_asleep_and_unknown(state: str) -> None:
    gpu = FakeGpu(power_state=state)
    reads: list[int] = []
    gpu.on_read = reads.append
    config: list[int] = []
    real = gpu.config_read

    def counted(offset: int, size: int) -> int:
        config.append(offset)
        return real(offset, size)

    gpu.config_read = counted  # type: ignore[method-assign]
    (report,) = probe_all(targets(gpu), clock=VirtualClock())
    assert report.health == Health.UNKNOWN
    assert codes(report).count("pci.power") == 1
    assert reads == []
    if state == "D3cold":  # reading config space would wake it
        assert config == []


def test_probe_virtual_function_says_what_belongs_to_its_host() -> None:
    gpu = FakeGpu(0x75B0, sriov_vf=True)
    (report,) = probe_all(targets(gpu), clock=VirtualClock())
    assert (report.part, report.health) == ("MI350X VF", Health.UNKNOWN)
    assert report.facts["in_hive"] is False
    reasons = {item["reason"] for item in report.facts["unanswered"] if item["question"] == "PSP boot status"}
    assert reasons == {"a virtual function: its physical function and the host own this"}


def test_probe_apu_has_no_table_behind_a_bar_but_its_psp_is_asked() -> None:
    gpu = FakeGpu(0x74A0)
    gpu.registers[0x58270] = 0xBA
    (report,) = probe_all(targets(gpu), clock=VirtualClock())
    assert report.facts["psp"]["bootloader"] == "ready"
    assert "discovery table" in {item["question"] for item in report.facts["unanswered"]}
    assert not [code for code in codes(report) if code.startswith("amd.discovery")]


def test_report_facts_are_plain_json() -> None:
    (report,) = probe_all(targets(FakeGpu()), clock=VirtualClock())
    assert json.loads(json.dumps(report.to_dict()))["facts"]["identity"]["part"] == "MI350X"


# ---- children


class Hanging(FakeGpu):
    """On this machine's bus; reading one register never returns."""

    def __init__(self, at: int | None) -> None:
        super().__init__()
        self.can |= Can.HOST
        self.at = at
        self.on_read = self._hang

    def _hang(self, offset: int) -> None:
        if offset == self.at:
            time.sleep(60)


def test_probe_in_children_outlives_a_read_that_never_returns(tmp_path: Path) -> None:
    start = time.monotonic()
    gpus = (Hanging(0x3878), Hanging(None), Hanging(0x378C))
    reports = probe_all(targets(*gpus), clock=RealClock(), limit_s=3.0, sys_root=tmp_path, proc_root=tmp_path)
    assert time.monotonic() - start < 30
    first, second, third = reports
    told = next(finding for finding in first.findings if finding.code == "probe.timeout")
    assert "while asking: RAS flags" in told.summary
    assert "was killed" in told.seen
    assert first.facts["psp"]["sos_alive"] is False  # what the child had learned before
    assert "probe.timeout" not in codes(second)
    assert second.facts["ras"] == {"fatal": False, "controller": False}
    assert "while asking: memory space" in next(f for f in third.findings if f.code == "probe.timeout").summary


def test_probe_in_children_one_that_dies_is_told_and_the_others_answer(tmp_path: Path) -> None:
    dying, good = Hanging(None), Hanging(None)
    dying.on_read = lambda offset: os._exit(3) if offset == 0x3878 else None
    reports = probe_all(targets(dying, good), clock=RealClock(), sys_root=tmp_path, proc_root=tmp_path)
    broken = next(finding for finding in reports[0].findings if finding.code == "probe.broken")
    assert broken.summary == "the probe broke while asking: RAS flags"
    assert "exit status 3" in broken.seen
    assert reports[1].facts["ras"]["fatal"] is False


def test_probe_in_children_watches_hardware_in_real_time_whatever_clock_the_caller_has(tmp_path: Path) -> None:
    gpu = Hanging(None)
    gpu.registers[0x5818C] = 0
    start = time.monotonic()
    (report,) = probe_all(targets(gpu), clock=VirtualClock(), sys_root=tmp_path, proc_root=tmp_path)
    assert time.monotonic() - start > 0.9
    assert "amd.psp.bootloader" in codes(report)


def test_scratch_keeps_the_newest_that_fits() -> None:
    scratch = Scratch(64)
    assert scratch.get() is None
    assert scratch.put(b"one")
    assert scratch.put(b"two")
    assert not scratch.put(bytes(64))
    assert scratch.get() == b"two"
    scratch.close()


# ---- borrowed maps


def test_probe_many_without_a_table_share_one_second_look() -> None:
    faults = ",".join(f"discovery-zeros@{index},mec-hang@{index}" for index in range(1, 8))
    probed = probe_model(f"mi350x*8?fault={faults}")
    assert probed.virtual_s < 2.0
    for report in probed.reports[1:]:
        assert report.facts["discovery"]["bases_from"] == "another GPU of this part"
        assert set(serious(report)) == {"amd.discovery.signature", "amd.gfx.mec"}


def test_probe_nobody_lends_when_no_table_is_good() -> None:
    probed = probe_model("mi350x*8?fault=discovery-zeros")
    for report in probed.reports:
        assert report.facts["discovery"]["bases_from"] is None
        assert report.action == Action.HIVE_RESET
        assert len(report.facts["xgmi"]["members"]) == 8


@pytest.mark.parametrize("read_s", [0.001, 0.003, 0.005])
def test_probe_second_look_at_a_slow_gpu_keeps_what_the_first_found(read_s: float) -> None:
    probed = probe_model("mi350x*8?fault=discovery-clobbered@0,smu-silent@0", read_s={0: read_s})
    report = probed.reports[0]
    assert set(serious(report)) == {"amd.discovery.signature", "amd.smu.silent"}
    assert (report.health, report.action) == (Health.HUNG, Action.BUS_RESET)
    assert report.facts["discovery"]["bases_from"] == "another GPU of this part"
    assert "probe.timeout" not in codes(report)
    assert probed.virtual_s <= 2.1


def test_probe_second_look_that_runs_out_of_time_says_what_was_left() -> None:
    late = 0
    for step in range(12, 28):
        spec = "mi350x*8?fault=discovery-clobbered@0,ras-fatal@0"
        report = probe_model(spec, read_s={0: step * 0.5e-3}).reports[0]
        assert {"amd.discovery.signature", "amd.ras.fatal"} <= set(serious(report))
        reasons = {item["question"]: item["reason"] for item in report.facts["unanswered"]}
        # Every question has an answer or a reason.
        assert ("SDMA engines" in reasons) == (
            len(report.facts["sdma"]) < 16 or report.facts["sdma"][-1]["idle"] is None
        )
        assert ("GFX engines beyond XCC 0" in reasons) == (
            len(report.facts["gfx"]) < 8 or report.facts["gfx"][-1]["busy"] is None
        )
        assert ("boot status of AIDs 1-3" in reasons) == (len(report.facts["psp"]["boot"]) < 4)
        late += NO_TIME in reasons.values()
    assert late


class Counting(Watched):
    """Counts what is read elsewhere than in the register BAR."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.blocks = self.config = 0

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        self.blocks += 1
        return super().read_block(bar, offset, size)

    def config_read(self, offset: int, size: int) -> int:
        self.config += 1
        return super().config_read(offset, size)


def test_probe_second_look_asks_only_what_needs_the_map() -> None:
    once = probe_model("mi350x?fault=discovery-clobbered", lambda _index, inner: Counting(inner))
    twice = probe_model("mi350x*8?fault=discovery-clobbered@0", lambda _index, inner: Counting(inner))
    assert twice.reports[0].facts["discovery"]["bases_from"] == "another GPU of this part"
    first, second = once.transports[0], twice.transports[0]
    assert isinstance(first, Counting)
    assert isinstance(second, Counting)
    assert (second.blocks, second.config) == (first.blocks, first.config)


GC1 = 0x12000 * 4  # XCC 1: asked in a second look only


class Leaving(Watched):
    """Falls off the bus when XCC 1 is asked."""

    gone = False

    def config_read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1 if self.gone else super().config_read(offset, size)

    def read32(self, bar: int, offset: int) -> int:
        self.gone = self.gone or GC1 <= offset < GC1 + 0x1000
        return 0xFFFFFFFF if self.gone else super().read32(bar, offset)


def test_probe_second_look_in_which_the_gpu_leaves_keeps_what_the_first_found() -> None:
    spec = "mi350x*8?fault=discovery-clobbered@0,smu-silent@0"
    report = probe_model(spec, lambda index, inner: Watched(inner) if index else Leaving(inner)).reports[0]
    assert set(serious(report)) == {"pci.lost", "amd.discovery.signature", "amd.smu.silent"}
    assert report.health == Health.LOST


class Sticking(Watched):
    """A read of XCC 1 never returns."""

    def read32(self, bar: int, offset: int) -> int:
        if GC1 <= offset < GC1 + 0x1000:
            time.sleep(60)
        return super().read32(bar, offset)


def test_probe_second_look_in_a_child_that_sticks_keeps_what_the_first_found() -> None:
    clock = VirtualClock()
    spec = "mi350x*2?fault=discovery-clobbered@0,ras-fatal@0"
    transports = [
        Watched(inner) if index else Sticking(inner) for index, inner in enumerate(gpumodel.open_models(spec, clock))
    ]
    report = probe_all(targets_of(transports), clock=clock, limit_s=5.0, in_children=True)[0]
    assert set(serious(report)) == {"amd.discovery.signature", "amd.ras.fatal"}
    stuck = next(finding for finding in report.findings if finding.code == "probe.timeout")
    assert "was killed" in stuck.seen
    assert report.facts["ras"]["fatal"] is True


def test_probe_second_look_names_all_links_that_are_down_once() -> None:
    for link in range(7):
        report = probe_model(f"mi350x*8?fault=discovery-zeros@2,xgmi-link-down:{link}@2").reports[2]
        found = [finding for finding in report.findings if finding.code == "amd.xgmi.link"]
        assert len(found) == 1
        assert found[0].summary.startswith(f"XGMI link {link} (AID {link // 2}, ")
        assert [row["state"] for row in report.facts["xgmi"]["links"]].count("active") == 6


def test_probe_second_look_finds_the_engine_of_another_xcc_and_blames_none_twice() -> None:
    report = probe_model("mi350x*8?fault=discovery-zeros@2,mec-hang:0@2,mec-hang:5@2,page-fault@2").reports[2]
    hung = [finding.summary for finding in report.findings if finding.code == "amd.gfx.mec"]
    assert len(hung) == 2
    assert hung[0].startswith("MEC1 of XCC 0") and hung[1].startswith("MEC1 of XCC 5")
    assert [row["xcc"] for row in report.facts["gfx"]] == list(range(8))
    assert len([finding for finding in report.findings if finding.code == "amd.gmc.fault"]) == 1


@pytest.mark.parametrize("fault", ["smu-silent", "mec-hang", "sdma-hang"])
def test_probe_nobody_is_called_stuck_without_a_watch(fault: str) -> None:
    undecided = 0
    for step in range(16, 36):
        report = probe_model(f"mi350x?fault={fault}", read_s={0: step * 0.25e-3}).one
        for finding in report.findings:
            watched = re.search(r"(?:unchanged for|over) (\d+\.\d) s", finding.seen)
            assert watched is None or float(watched[1]) >= 0.2
        short = [item for item in report.facts["unanswered"] if "0.25 s are needed" in item["reason"]]
        if short:
            undecided += 1
            assert (report.health, report.action) == (Health.UNKNOWN, Action.NONE)
    assert undecided


def without(hw_id: int, instance: int) -> bytes:
    """The table of an MI350X of which one more instance is harvested."""
    spec = discovery_spec(CHIPS["mi350x"], 0, 8)
    assert spec.harvest is not None
    entries = (*spec.harvest.entries, (hw_id, instance))
    return encode(replace(spec, harvest=replace(spec.harvest, entries=entries)))


@pytest.mark.parametrize(("hw_id", "instance"), [(11, 5), (42, 3), (34, 2)])
def test_probe_gpu_with_something_harvested_lends_no_map(hw_id: int, instance: int) -> None:
    clock = VirtualClock()
    transports = gpumodel.open_models("mi350x*8?fault=discovery-zeros@0", clock)
    for transport in transports[1:]:
        gpu = transport.gpu
        gpu.vram.write(gpu.table_offset, without(hw_id, instance))
    reports = probe_all(targets_of([Watched(transport) for transport in transports]), clock=clock)
    assert all(report.facts["discovery"]["bases_from"] == "its own table" for report in reports[1:])
    assert reports[0].facts["discovery"]["bases_from"] is None


def test_map_is_whole_only_for_a_part_whose_count_is_known() -> None:
    whole = validate(encode(discovery_spec(CHIPS["mi350x"], 0, 8))).ip_map
    assert whole is not None
    assert is_whole(whole, MI350X)
    assert not is_whole(whole, PARTS[0x74A2])


# ---- the look at all


def seen(
    index: int, nodes: int | None, node: int | None = None, *, vf: bool = False, hive_id: str | None = None
) -> Seen:
    facts: dict[str, Any] = {}
    if nodes is not None or hive_id is not None:
        facts = {"xgmi": {"nodes": nodes, "node": node, "links": [], "hive_id": hive_id}}
    return Seen.of(index, f"bdf{index}", vf, Progress("", facts, (), ()))


def test_hive_complete_one_names_its_members() -> None:
    gpus = [seen(0, 2, 1), seen(1, 2, 0)]
    settle(gpus)
    assert [gpu.members for gpu in gpus] == [("bdf0", "bdf1")] * 2


def test_hive_with_two_gpus_of_one_node_id_names_nobody() -> None:
    gpus = [seen(0, 2, 1), seen(1, 2, 1)]
    settle(gpus)
    assert [gpu.members for gpu in gpus] == [None, None]


def test_hive_silent_gpu_is_a_member_while_one_is_missing() -> None:
    gpus = [seen(0, 3, 0), seen(1, 3, 2), seen(2, None)]
    settle(gpus)
    assert gpus[2].in_hive


def test_hive_silent_gpu_beside_a_complete_hive_or_single_ones_is_alone() -> None:
    for others in ([seen(0, 2, 0), seen(1, 2, 1)], [seen(0, 1, 0)]):
        gpus = [*others, seen(9, None)]
        settle(gpus)
        assert not gpus[-1].in_hive


def test_hive_silent_gpu_with_nobody_to_ask_counts_as_a_member() -> None:
    gpus = [seen(0, None)]
    settle(gpus)
    assert gpus[0].in_hive


def test_hive_virtual_function_is_in_none() -> None:
    gpus = [seen(0, None, vf=True)]
    settle(gpus)
    assert not gpus[0].in_hive


@pytest.mark.parametrize("nodes", [None, 1])
def test_hive_id_of_the_kernel_outranks_registers(nodes: int | None) -> None:
    gpus = [seen(0, nodes, None if nodes is None else 0, hive_id="0xabc"), seen(1, 1, 0)]
    settle(gpus)
    assert [gpu.in_hive for gpu in gpus] == [True, False]


def test_hive_of_which_half_is_bound_still_names_all_members() -> None:
    gpus = [seen(node, 4, node, hive_id="0xabc" if node < 2 else None) for node in range(4)]
    settle(gpus)
    assert {gpu.members for gpu in gpus} == {("bdf0", "bdf1", "bdf2", "bdf3")}


def test_hive_half_bound_beside_a_bound_one_keeps_them_apart() -> None:
    gpus = [seen(node, 2, node, hive_id="0xa") for node in range(2)]
    gpus += [seen(2, 2, 0, hive_id="0xb"), seen(3, 2, 1)]
    settle(gpus)
    assert [gpu.members for gpu in gpus] == [("bdf0", "bdf1")] * 2 + [("bdf2", "bdf3")] * 2


def test_hive_two_ids_and_one_without_name_nobody() -> None:
    gpus = [seen(0, 3, 0, hive_id="0xa"), seen(1, 3, 1, hive_id="0xb"), seen(2, 3, 2)]
    settle(gpus)
    assert [gpu.members for gpu in gpus] == [None] * 3
    assert all(gpu.in_hive for gpu in gpus)


def test_hive_member_with_fewer_links_than_its_mates_has_lost_one() -> None:
    gpus = [seen(node, 3, node) for node in range(3)]
    for gpu in gpus:
        states = ["active"] * 3 if gpu.index else ["active", "active", "disabled"]
        gpu.facts["xgmi"]["links"] = [
            {"link": link, "port": link, "aid": link // 2, "state": state, "word": 0xD1}
            for link, state in enumerate(states)
        ]
    settle(gpus)
    assert [len(gpu.findings) for gpu in gpus] == [1, 0, 0]
    assert gpus[0].findings[0].summary == "XGMI link 2 (AID 1, port 2) is down"


# ---- unanswered questions as a finding


def test_unanswered_finding_groups_questions_by_reason() -> None:
    items = [Unanswered("a", "why"), Unanswered("b", "why"), Unanswered("c", "other")]
    finding = unanswered_finding(items, "0000:c1:00.0")
    assert finding.summary == "3 questions could not be asked"
    assert finding.seen == "a, b (why); c (other)"
    assert finding.severity is Severity.UNKNOWN


def test_unanswered_finding_shortens_a_long_list() -> None:
    finding = unanswered_finding([Unanswered(str(number), "why") for number in range(9)], "")
    assert finding.seen == "0, 1, 2, 3, 4, 5 and 3 more (why)"


# ---- gpu_metrics


def attribute(number: int, kind: int, payload: bytes, count: int) -> bytes:
    return (count | number << 10 | kind << 20).to_bytes(8, "little") + payload


def test_metrics_1_9_is_walked_by_encoding() -> None:
    links = b"".join(state.to_bytes(2, "little") for state in (1, 1, 0, 1, 1, 1, 1, 0xFFFF))
    body = bytes(4) + attribute(0, 2, b"\x30\x00", 1) + attribute(31, 2, links, 8)
    data = (4 + len(body)).to_bytes(2, "little") + b"\x01\x09" + body
    table = parse(data)
    assert table is not None
    assert table.link_states == (1, 1, 0, 1, 1, 1, 1, 0xFFFF)


def test_metrics_1_8_has_its_links_at_a_fixed_place() -> None:
    data = bytearray(3872)
    data[0:4] = (3872).to_bytes(2, "little") + b"\x01\x08"
    data[264:266] = b"\x01\x00"
    table = parse(bytes(data))
    assert table is not None
    assert table.link_states == (1, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "data", [b"", bytes(8), b"\xff" * 64, b"\x40\x00\x01\x09" + bytes(8), b"\x10\x00\x02\x09" + bytes(60)]
)
def test_metrics_other_bytes_are_no_table(data: bytes) -> None:
    assert parse(data) is None


def test_metrics_attribute_that_runs_past_the_end_is_not_read() -> None:
    body = bytes(4) + attribute(5, 6, b"", 1000)
    table = parse((4 + len(body)).to_bytes(2, "little") + b"\x01\x09" + body)
    assert table is not None
    assert table.link_states is None


def test_finding_texts_fit_their_line() -> None:
    clock = VirtualClock()
    gpu = FakeGpu()
    gpu.on_read = lambda _offset: clock.sleep(0.3)
    for report in probe_all(targets(gpu), clock=clock):
        assert all(isinstance(finding, Finding) and len(finding.summary) <= 80 for finding in report.findings)
