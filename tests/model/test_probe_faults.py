"""Every fault of the model, on one GPU of a hive and on a GPU alone: finding, health, action, and nobody else is blamed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest

import gpumodel
from amdriver.parts import PARTS as KNOWN_PARTS
from base.clock import VirtualClock
from base.errors import InvalidData
from base.findings import Action, Health, Severity
from pcibus.transport import Transport
from probe.run import Target, probe_all
from tests.probe_fakes import Watched
from tests.probe_models import probe_model, serious

INDEX_REGISTERS = {(5, offset) for offset in (0x0, 0x18, 0x38, 0x44, 0x50)}
PARTS = ("mi300x", "mi350x")
PART_OF = {"mi300x": KNOWN_PARTS[0x74A1], "mi350x": KNOWN_PARTS[0x75A0]}
SICK = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the design's table."""

    fault: str
    code: str
    health: Health
    in_hive: Action
    single: Action


HUNG, DEGRADED = Health.HUNG, Health.DEGRADED
RESET, MODE1, BUS = Action.HIVE_RESET, Action.MODE1, Action.BUS_RESET
QUEUE, NONE = Action.QUEUE_RESET, Action.NONE
TABLE = (
    Row("bus-lost", "pci.lost", Health.LOST, BUS, BUS),
    Row("bar-dead", "pci.bar-dead", HUNG, Action.RESTORE_CONFIG, Action.RESTORE_CONFIG),
    Row("discovery-clobbered", "amd.discovery.signature", HUNG, RESET, MODE1),
    Row("discovery-zeros", "amd.discovery.signature", HUNG, RESET, MODE1),
    Row("discovery-ones", "amd.discovery.signature", HUNG, RESET, MODE1),
    Row("discovery-bitflip", "amd.discovery.checksum", HUNG, RESET, MODE1),
    Row("bootloader-silent", "amd.psp.bootloader", HUNG, BUS, BUS),
    Row("needs-power-cycle", "amd.psp.bootloader", HUNG, BUS, BUS),
    Row("smu-silent", "amd.smu.silent", HUNG, BUS, BUS),
    Row("mec-hang", "amd.gfx.mec", HUNG, QUEUE, QUEUE),
    Row("sdma-hang", "amd.sdma.hang", HUNG, QUEUE, QUEUE),
    Row("page-fault", "amd.gmc.fault", HUNG, QUEUE, QUEUE),
    Row("ras-fatal", "amd.ras.fatal", HUNG, RESET, MODE1),
    Row("xgmi-link-down", "amd.xgmi.link", DEGRADED, NONE, NONE),
    Row("link-narrow", "pci.link", DEGRADED, NONE, NONE),
    Row("aer-correctable", "pci.aer", DEGRADED, NONE, NONE),
)
BY_NAME = {row.fault: row for row in TABLE}


LATER = [fault.name for fault in gpumodel.faults() if fault.shows_at != "look"]  # at bring-up, or at a reset


def test_table_of_faults_names_every_fault_of_the_model_that_looking_shows() -> None:
    assert {fault.name for fault in gpumodel.faults()} == set(BY_NAME) | set(LATER)
    assert not set(BY_NAME) & set(LATER)


@pytest.mark.parametrize("fault", LATER)
@pytest.mark.parametrize("state", ["cold", "used"])
def test_probe_cannot_see_a_fault_that_does_not_show_yet(fault: str, state: str) -> None:
    report = probe_model(f"mi350x?state={state}&fault={fault}").one
    assert (report.health, report.action, report.findings) == (Health.HEALTHY, Action.NONE, ())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.fault)
def test_probe_fault_on_one_of_eight_finds_exactly_it(part: str, row: Row) -> None:
    probed = probe_model(f"{part}*8?fault={row.fault}@{SICK}")
    sick = probed.reports[SICK]
    assert serious(sick) == [row.code]
    assert (sick.health, sick.action) == (row.health, row.in_hive)
    assert "probe.unanswered" not in [finding.code for finding in sick.findings]
    others = [report for report in probed.reports if report.index != SICK]
    ends = [report for report in others if row.fault == "xgmi-link-down" and serious(report) == [row.code]]
    assert len(ends) == (row.fault == "xgmi-link-down")
    for report in others:
        if report in ends:
            assert (report.health, report.action) == (DEGRADED, NONE)
        else:
            assert (report.health, report.action, report.findings) == (Health.HEALTHY, NONE, ())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.fault)
def test_probe_fault_on_a_single_gpu_finds_exactly_it(part: str, row: Row) -> None:
    report = probe_model(f"{part}?fault={row.fault}").one
    assert [finding.code for finding in report.findings if finding.severity is not Severity.NOTE] == [row.code]
    assert (report.health, report.action) == (row.health, row.single)
    if row.fault not in ("bus-lost", "bar-dead"):
        assert report.facts["in_hive"] is False


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("state", ["cold", "used"])
@pytest.mark.parametrize("count", ["", "*2", "*8"])
def test_probe_healthy_models_find_nothing(part: str, state: str, count: str) -> None:
    probed = probe_model(f"{part}{count}?state={state}")
    for report in probed.reports:
        assert (report.health, report.action, report.findings) == (Health.HEALTHY, Action.NONE, ())
        assert report.facts["unanswered"] == []
        assert report.facts["psp"]["bootloader"] == ("done" if state == "used" else "ready")
    assert probed.virtual_s < 0.1


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.fault)
def test_probe_writes_index_registers_only_and_puts_them_back(part: str, row: Row) -> None:
    before = [0x0, 0x18, 0x38, 0x44, 0x50]

    def marked(_index: int, transport: Transport) -> Watched:
        for offset in (0x0, 0x38, 0x50):  # what somebody left there; PCIE_INDEX2_HI and MM_INDEX_HI rest at 0
            transport.write32(5, offset, 0x1234_5670)
        return Watched(transport)

    probed = probe_model(f"{part}*8?fault={row.fault}@{SICK}", marked)
    for index, transport in enumerate(probed.transports):
        assert {(bar, offset) for bar, offset, _ in transport.written} <= INDEX_REGISTERS
        if index == SICK and row.fault in ("bus-lost", "bar-dead"):
            continue
        assert [transport.read32(5, offset) for offset in before] == [0x1234_5670, 0, 0x1234_5670, 0, 0x1234_5670]


def test_probe_knows_every_register_that_it_reads() -> None:
    spec = "mi350x*8?fault=mec-hang@1,sdma-hang@2,page-fault@3,xgmi-link-down@4,smu-silent@5,discovery-clobbered@6"
    probed = probe_model(spec)
    for transport in probed.transports:
        inner = transport.inner
        assert isinstance(inner, Transport)
        assert dict(inner.gpu.unknown_accesses) == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.fault)
def test_probe_of_a_sick_gpu_costs_less_than_two_virtual_seconds(row: Row) -> None:
    assert probe_model(f"mi350x*8?fault={row.fault}@{SICK}").virtual_s < 2.0
    assert probe_model(f"mi350x?fault={row.fault}").virtual_s < 2.0


# ---- pairs of faults on one GPU

MASKS = {  # (fault, what it hides)
    "bus-lost": {row.code for row in TABLE} - {"pci.lost"},
    "bar-dead": {row.code for row in TABLE if row.code.startswith("amd.")},
    "discovery-clobbered": {"amd.discovery.checksum"},
    "discovery-zeros": {"amd.discovery.checksum"},
    "discovery-ones": {"amd.discovery.checksum"},
}
PAIRS = tuple(
    pair
    for pair in itertools.combinations((row.fault for row in TABLE), 2)
    if not all(name.startswith("discovery-") for name in pair)  # one table holds one kind of damage
)


@pytest.mark.long
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_probe_two_faults_on_one_gpu_both_found_unless_masked_and_the_graver_action_wins(pair: tuple[str, str]) -> None:
    report = probe_model(f"mi350x*8?fault={pair[0]}@{SICK},{pair[1]}@{SICK}").reports[SICK]
    rows = [BY_NAME[name] for name in pair]
    hidden = {code for name in pair for code in MASKS.get(name, ())}
    visible = [row for row in rows if row.code not in hidden]
    assert visible
    assert set(serious(report)) == {row.code for row in visible}
    assert report.health == max((row.health for row in visible), key=lambda word: word.rank)
    assert report.action == max((row.in_hive for row in visible), key=lambda word: word.rank)
    # What is masked is never better than what masks it.
    assert report.health.rank >= min(row.health.rank for row in rows)


def test_probe_faults_on_two_gpus_keep_apart() -> None:
    reports = probe_model("mi350x*8?fault=discovery-clobbered@2,bootloader-silent@5").reports
    assert serious(reports[2]) == ["amd.discovery.signature"]
    assert serious(reports[5]) == ["amd.psp.bootloader"]
    assert [report.index for report in reports if report.health != Health.HEALTHY] == [2, 5]


# A single GPU without a table: nobody lends it a map. XCC 0 is still asked for its engine and its faults, because the
# usual base of GC has proved itself there (XGMI_LFB_CNTL, FB range and memory size agree). Masked stay, each by name:
MASKED_ALONE = {
    "sdma-hang": "SDMA engines",  # the bases of SDMA differ between parts and prove nothing about themselves
    "mec-hang:3": "GFX engines beyond XCC 0",  # which XCCs are there is known to the table only
    "xgmi-link-down": "XGMI links",  # a card without links may not answer at such an address at all
}

NO_TABLE = tuple(row.fault for row in TABLE if row.fault.startswith("discovery-"))
BESIDE_A_TABLE = tuple(
    row.fault for row in TABLE if row.fault not in {"bus-lost", "bar-dead", *MASKED_ALONE, *NO_TABLE}
)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("table", NO_TABLE)
@pytest.mark.parametrize("name", MASKED_ALONE)
def test_probe_without_a_table_on_a_single_gpu_says_what_it_could_not_ask(part: str, table: str, name: str) -> None:
    report = probe_model(f"{part}?fault={table},{name}").one
    assert serious(report) == [BY_NAME[table].code]
    unanswered = {item["question"]: item["reason"] for item in report.facts["unanswered"]}
    assert "without a valid discovery table" in unanswered[MASKED_ALONE[name]]
    assert "VM faults beyond XCC 0" in unanswered
    assert report.action == MODE1


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("table", NO_TABLE)
@pytest.mark.parametrize("name", BESIDE_A_TABLE)
def test_probe_two_faults_on_a_single_gpu_both_found_without_a_table(part: str, table: str, name: str) -> None:
    report = probe_model(f"{part}?fault={table},{name}").one
    rows = [BY_NAME[table], BY_NAME[name]]
    assert set(serious(report)) == {row.code for row in rows}
    assert report.action == max((row.single for row in rows), key=lambda word: word.rank)
    assert report.facts["in_hive"] is False


def test_probe_without_a_table_does_not_believe_an_xcc_that_has_not_proved_itself() -> None:
    class Strange(Watched):
        def read32(self, bar: int, offset: int) -> int:
            # MC_VM_FB_LOCATION_TOP of GC 0: twice the memory
            return super().read32(bar, offset) + (0x4800 if offset == (0x2000 + 0x95D) * 4 else 0)

    report = probe_model("mi350x?fault=discovery-zeros,mec-hang", lambda _index, inner: Strange(inner)).one
    assert serious(report) == ["amd.discovery.signature"]
    assert {"GFX engines", "VM faults", "XGMI links", "hive membership"} <= {
        item["question"] for item in report.facts["unanswered"]
    }


# ---- words that are odd on a GPU that works


class Odd(Watched):
    """One register of BAR5 reads something else."""

    def __init__(self, inner: Transport, at: int, value: int) -> None:
        super().__init__(inner)
        self.at, self.value = at, value

    def read32(self, bar: int, offset: int) -> int:
        truth = super().read32(bar, offset)
        return self.value if (bar, offset) == (5, self.at) else truth


C2PMSG_92 = 0x58270


@pytest.mark.parametrize("spec", ["mi350x?state=used", "mi300x*2?state=used"])
def test_probe_unsteady_boot_status_of_a_gpu_with_a_live_secure_os_is_a_note(spec: str) -> None:
    report = probe_model(spec, lambda _index, inner: Odd(inner, C2PMSG_92, 0x1)).reports[0]
    assert [(finding.code, finding.severity) for finding in report.findings] == [("amd.psp.boot-status", Severity.NOTE)]
    assert (report.health, report.action) == (Health.HEALTHY, NONE)
    assert report.findings[0].where.startswith("MP0[0].MP0_SMN_C2PMSG_92 @ BAR5+0x58270")


def test_probe_unsteady_boot_status_without_a_secure_os_is_a_dead_bootloader() -> None:
    report = probe_model("mi350x?state=cold", lambda _index, inner: Odd(inner, C2PMSG_92, 0x1)).one
    assert (serious(report), report.action) == (["amd.psp.bootloader"], BUS)


def test_probe_other_memory_size_than_we_know_with_a_valid_table_is_degraded_only() -> None:
    clock = VirtualClock()
    (inner,) = gpumodel.open_models("mi350x", clock)
    part = replace(PART_OF["mi350x"], vram_mib=310 << 10)
    (report,) = probe_all([Target(0, inner, part)], clock=clock)
    assert [(item.code, item.severity) for item in report.findings] == [("amd.discovery.memsize", Severity.WARNING)]
    assert (report.health, report.action) == (DEGRADED, NONE)
    assert report.facts["discovery"]["valid"] is True


def test_probe_memory_size_behind_which_no_table_lies_is_an_error() -> None:
    report = probe_model("mi350x", lambda _index, inner: Odd(inner, 0x378C, 250_000)).one
    assert serious(report) == ["amd.discovery.memsize"]
    assert (report.health, report.action) == (HUNG, MODE1)


# ---- what the findings say


@pytest.mark.parametrize("instance", [0, 7])
def test_probe_mec_hang_names_the_xcc_and_the_pointer(instance: int) -> None:
    report = probe_model(f"mi350x?fault=mec-hang:{instance}").one
    (finding,) = report.findings
    assert finding.summary == f"MEC1 of XCC {instance} hangs: busy, and its instruction pointer does not move"
    assert "CP_MEC1_INSTR_PNTR=0x" in finding.seen
    assert finding.where.startswith(f"GC[{instance}].CP_CPC_STATUS @ BAR5+0x")


def test_probe_sdma_hang_names_the_engine_and_its_pointers() -> None:
    report = probe_model("mi300x?fault=sdma-hang:9").one
    (finding,) = report.findings
    assert finding.summary.startswith("SDMA engine 9 hangs")
    assert "rptr=0x" in finding.seen
    assert "wptr=0x" in finding.seen
    assert finding.where.startswith("SDMA[9].SDMA_STATUS_REG @ ")


def test_probe_page_fault_decodes_client_vmid_and_direction() -> None:
    report = probe_model("mi350x?fault=page-fault").one
    (finding,) = report.findings
    (row,) = report.facts["faults"]
    assert row["client"] == "TCP"
    assert row["write"] is True
    assert f"VMID {row['vmid']}" in finding.summary
    assert f"{row['address']:#x}" in finding.seen


def test_probe_link_down_in_a_hive_names_the_other_end() -> None:
    reports = probe_model("mi350x*8?fault=xgmi-link-down@2").reports
    ends = [report for report in reports if serious(report)]
    assert len(ends) == 2
    for end, other in (ends, ends[::-1]):
        assert f"GPU {other.index} ({other.bdf}): the other end" in end.findings[0].seen


def test_probe_advice_differs_between_a_hive_and_a_single_gpu() -> None:
    member = probe_model("mi350x*8?fault=ras-fatal@2").reports[2].findings[0]
    alone = probe_model("mi350x?fault=ras-fatal").one.findings[0]
    assert "all 8 GPUs of it together, never this GPU alone" in member.next
    assert alone.next.startswith("reset this GPU with mode1 (it is in no hive)")


def test_probe_clobbered_table_is_compared_with_the_saved_copy() -> None:
    good = probe_model("mi350x?state=used").transports[0]
    table = good.read_block(0, (288 << 30) - 0x10000, 0x2800)
    asked: list[str] = []

    def golden(serial: str) -> bytes | None:
        asked.append(serial)
        return table

    report = probe_model("mi350x?fault=discovery-clobbered,mec-hang", golden=golden).one
    assert asked == [report.facts["identity"]["serial"]]
    assert report.facts["discovery"]["bases_from"] == "the saved good copy"
    assert set(serious(report)) == {"amd.discovery.signature", "amd.gfx.mec"}
    assert "against the saved good copy" in next(f for f in report.findings if f.code.endswith("signature")).seen


def test_probe_saved_copy_that_went_bad_is_a_note_and_the_gpu_stays_healthy() -> None:
    def golden(serial: str) -> bytes | None:
        raise InvalidData(f"loading {serial}.bin", expected="a valid table", seen="all zeros", where="/data/x.bin")

    report = probe_model("mi350x", golden=golden).one
    (finding,) = report.findings
    assert (finding.code, finding.severity) == ("amd.discovery.golden", Severity.NOTE)
    assert finding.summary == "the saved good copy cannot be used"
    assert finding.where == "/data/x.bin"
    assert report.health == Health.HEALTHY


def test_probe_healthy_table_that_matches_the_saved_copy_gives_no_finding() -> None:
    good = probe_model("mi350x").transports[0]
    table = good.read_block(0, (288 << 30) - 0x10000, 0x2800)
    assert probe_model("mi350x", golden=lambda _serial: table).one.findings == ()


def test_probe_hive_members_are_listed_in_facts() -> None:
    reports = probe_model("mi350x*8").reports
    for node, report in enumerate(reports):
        assert report.facts["xgmi"]["node"] == node
        assert report.facts["xgmi"]["members"] == [other.bdf for other in reports]


@pytest.mark.parametrize("fault", ["ras-fatal", "discovery-clobbered"])
def test_probe_of_one_member_alone_still_sees_a_hive(fault: str) -> None:
    report = probe_model(f"mi350x*8?fault={fault}@2#2").one
    assert report.facts["in_hive"] is True
    assert report.facts["xgmi"]["members"] is None
    assert report.action == Action.HIVE_RESET
