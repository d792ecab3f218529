"""Single questions of the probe against a GPU made of dictionaries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from base.clock import VirtualClock
from base.errors import Refused
from base.findings import Finding, Severity
from pcibus.transport import ALL_ONES
from probe import discovery, gfx, gmc, pci, psp, ras, sdma, smu, xgmi
from probe.session import Gone, Session
from probe.watch import watch
from tests.probe_fakes import INDEX2, FakeGpu, ip_map, session_of

C33, C35, C58, C81, C92 = 0x58184, 0x5818C, 0x581E8, 0x58244, 0x58270
C126 = 0x582F8
GC0, GC1 = 0x2000 * 4, 0x12000 * 4
GRBM_STATUS, CPC_STATUS, MEC_CNTL, MEC1_PNTR = 0x4 * 4, 0x84 * 4, 0x8D * 4, 0x1A8 * 4
FAULT = 0x82B * 4
LFB_CNTL, LFB_SIZE = 0x957 * 4, 0x958 * 4
FB_BASE, FB_TOP = 0x95C * 4, 0x95D * 4
SDMA0 = 0x1260 * 4
SMU_FLAGS, SMU_RESPONSE = 0x03B10028, 0x58A68
RAS = 0x3878
PCS = (0x12100070, 0x11B00070)


def answer(gpu: FakeGpu, question: Callable[[Session], None], *, mapped: bool = True) -> tuple[Session, list[Finding]]:
    """Ask, then watch what looked stuck."""
    clock = VirtualClock()
    session = session_of(gpu, mapped=mapped, clock=clock)
    session.ask("question", question)
    watched = watch(session.suspects, clock)
    assert watched.undecided == []
    return session, session.findings + watched.findings


def steady(gpu: FakeGpu) -> FakeGpu:
    gpu.registers[C92] = 0xBA
    for aid in (1, 2, 3):
        gpu.smn[aid, C92] = 0xBA
    return gpu


# ---- PSP


def test_psp_cold_and_ready_is_fine() -> None:
    session, findings = answer(steady(FakeGpu()), psp.ask)
    assert findings == []
    assert session.facts["psp"]["bootloader"] == "ready"
    assert [row["steady"] for row in session.facts["psp"]["boot"]] == [True] * 4


def test_psp_live_secure_os_makes_the_bootloader_word_a_fact_only() -> None:
    gpu = steady(FakeGpu())
    gpu.registers |= {C81: 1, C58: 0x45002F, C35: 0, C33: 0}
    session, findings = answer(gpu, psp.ask)
    assert findings == []
    assert session.facts["psp"]["bootloader"] == "done"
    assert session.facts["psp"]["sos_version"] == 0x45002F


def test_psp_sign_of_life_of_all_ones_is_not_life() -> None:
    gpu = steady(FakeGpu())
    gpu.registers[C81] = ALL_ONES
    session, _ = answer(gpu, psp.ask)
    assert session.facts["psp"]["sos_alive"] is None
    assert any("C2PMSG_81" in item.question for item in session.unanswered)


@pytest.mark.parametrize(
    ("word", "told"), [(0, "busy or dead"), (0x80000017, "error code 0x17"), (0x80010000, "unexpected bits")]
)
def test_psp_bootloader_word_that_is_not_exactly_ready_is_told(word: int, told: str) -> None:
    gpu = steady(FakeGpu())
    gpu.registers[C35] = word
    _, (finding,) = answer(gpu, psp.ask)
    assert finding.code == "amd.psp.bootloader"
    assert f"C2PMSG_35={word:#010x} ({told})" in finding.seen


def test_psp_bootloader_that_becomes_ready_while_watched_is_fine() -> None:
    gpu = steady(FakeGpu())
    gpu.registers[C35] = 0
    clock = VirtualClock()
    session = session_of(gpu, clock=clock)

    def ready_later(offset: int) -> None:
        if clock.now() > 0.4:
            gpu.registers[C35] = 1 << 31

    gpu.on_read = ready_later
    psp.ask(session)
    assert watch(session.suspects, clock) == ([], [])
    assert session.facts["psp"]["bootloader"] == "ready"


def test_psp_aid_that_is_not_steady_tells_its_boot_errors_in_words() -> None:
    gpu = steady(FakeGpu())
    gpu.smn[2, C92] = 0x31
    gpu.smn[2, C126] = 1 << 0 | 1 << 7 | 3 << 8 | 2 << 11 | 1 << 13
    session, (finding,) = answer(gpu, psp.ask)
    assert (
        "AID 2 C2PMSG_92=0x00000031 (not steady, memory training failed; HBM BIST failed; at socket 3" in finding.seen
    )
    assert session.facts["psp"]["boot"][2]["errors"][-1] == "at socket 3, AID 2, HBM 0"


def test_psp_without_a_table_touches_no_other_aid() -> None:
    gpu = steady(FakeGpu())
    session, _ = answer(gpu, psp.ask, mapped=False)
    assert [row["aid"] for row in session.facts["psp"]["boot"]] == [0]
    assert gpu.writes == []


@pytest.mark.parametrize(
    ("bit", "text"),
    [(1, "firmware load failed"), (3, "XGMI link training failed"), (29, "data abort"), (30, "boot controller error")],
)
def test_boot_errors_each_bit_has_its_words(bit: int, text: str) -> None:
    assert psp.boot_errors(1 << bit)[0] == text


def test_boot_errors_place_alone_is_no_error() -> None:
    assert psp.boot_errors(0x7F00) == []


def test_psp_aid_that_is_not_steady_beside_a_live_secure_os_is_a_note_with_its_own_register() -> None:
    gpu = steady(FakeGpu())
    gpu.registers |= {C81: 1, C58: 0x45002F}
    gpu.smn[2, C92] = 0
    session, (finding,) = answer(gpu, psp.ask)
    assert (finding.code, finding.severity) == ("amd.psp.boot-status", Severity.NOTE)
    assert finding.summary == "the boot firmware of AID 2 is not steady; the secure OS runs"
    assert finding.seen == "AID 2 C2PMSG_92=0x00000000 (not steady)"
    assert finding.where.startswith("MP0[2].MP0_SMN_C2PMSG_92 @ ")
    assert session.suspects == []


def test_psp_boot_errors_beside_a_live_secure_os_are_a_warning() -> None:
    gpu = steady(FakeGpu())
    gpu.registers |= {C81: 1, C92: 0x31, C126: 1 << 1}
    _, (finding,) = answer(gpu, psp.ask)
    assert (finding.code, finding.severity) == ("amd.psp.boot-status", Severity.WARNING)
    assert finding.summary == "the boot firmware of AID 0 reports errors; the secure OS runs"
    assert "firmware load failed" in finding.seen


def test_psp_aid_that_is_not_steady_without_a_secure_os_names_its_own_register() -> None:
    gpu = steady(FakeGpu())
    gpu.smn[3, C92] = 0x31
    _, (finding,) = answer(gpu, psp.ask)
    assert (finding.code, finding.severity) == ("amd.psp.bootloader", Severity.ERROR)
    assert finding.where.startswith("MP0[3].MP0_SMN_C2PMSG_92 @ ")
    assert "C2PMSG_33" not in finding.where


def test_psp_other_aids_are_asked_later_and_add_to_what_is_known() -> None:
    gpu = steady(FakeGpu())
    session, _ = answer(gpu, psp.ask, mapped=False)
    gpu.smn[1, C92] = 0x31
    session.ip_map = ip_map()
    psp.ask_others(session)
    assert [row["aid"] for row in session.facts["psp"]["boot"]] == [0, 1, 2, 3]
    (suspect,) = session.suspects
    assert "AID 1" in suspect.finding(1.0).seen


def test_psp_other_aids_add_no_second_finding_about_a_bootloader_known_to_be_dead() -> None:
    gpu = FakeGpu()
    gpu.registers[C35] = 0
    session, (finding,) = answer(gpu, psp.ask, mapped=False)
    session.found(finding)
    session.suspects.clear()
    session.ip_map = ip_map()
    psp.ask_others(session)
    assert (session.suspects, len(session.facts["psp"]["boot"])) == ([], 4)


# ---- SMU


def test_smu_that_was_not_watched_long_enough_is_neither_dead_nor_alive() -> None:
    gpu = FakeGpu()
    clock = VirtualClock()
    session = session_of(gpu, clock=clock)
    smu.ask(session)
    assert session.facts["smu"]["alive"] is False
    assert watch(session.suspects, clock, 0.1).findings == []
    assert session.facts["smu"]["alive"] is None


def test_smu_alive_when_flags_and_mailbox_say_so() -> None:
    gpu = FakeGpu()
    gpu.smn |= {(0, SMU_FLAGS): 1, (0, 0x03B10090): 0x00557900}
    gpu.registers[SMU_RESPONSE] = 1
    session, findings = answer(gpu, smu.ask)
    assert findings == []
    assert session.facts["smu"] == {"alive": True, "firmware_flags": 1, "response": 1, "pmfw_version": "85.121.0"}


def test_smu_refusing_a_message_is_not_silent() -> None:
    gpu = FakeGpu()
    gpu.smn[0, SMU_FLAGS] = 1
    gpu.registers[SMU_RESPONSE] = 0xFE
    session, findings = answer(gpu, smu.ask)
    assert findings == []
    assert session.facts["smu"]["alive"] is True


@pytest.mark.parametrize(("flags", "response"), [(0, 1), (1, 0), (0, 0)])
def test_smu_without_flag_or_answer_is_silent(flags: int, response: int) -> None:
    gpu = FakeGpu()
    gpu.smn[0, SMU_FLAGS] = flags
    gpu.registers[SMU_RESPONSE] = response
    session, (finding,) = answer(gpu, smu.ask)
    assert finding.code == "amd.smu.silent"
    assert f"C2PMSG_90={response:#x}" in finding.seen
    assert session.facts["smu"]["alive"] is False


def test_smu_that_answers_while_watched_is_fine() -> None:
    gpu = FakeGpu()
    gpu.smn[0, SMU_FLAGS] = 1
    clock = VirtualClock()
    session = session_of(gpu, clock=clock)
    gpu.on_read = lambda _offset: gpu.registers.update({SMU_RESPONSE: int(clock.now() > 0.3)})
    smu.ask(session)
    assert watch(session.suspects, clock) == ([], [])
    assert session.facts["smu"]["alive"] is True


def test_smu_flags_behind_a_held_lock_are_unknown_and_alive_is_not_claimed() -> None:
    gpu = FakeGpu(driver="amdgpu")
    gpu.registers[SMU_RESPONSE] = 1
    session, findings = answer(gpu, smu.ask)
    assert findings == []
    assert session.facts["smu"]["alive"] is None
    (item,) = session.unanswered
    assert item.question == "SMU firmware flags"
    assert "bound to amdgpu" in item.reason


def test_smu_flags_of_all_ones_are_unknown() -> None:
    gpu = FakeGpu()
    gpu.smn[0, SMU_FLAGS] = ALL_ONES
    gpu.registers[SMU_RESPONSE] = 1
    session, findings = answer(gpu, smu.ask)
    assert findings == []
    assert session.facts["smu"]["alive"] is None
    assert session.unanswered[0].reason == "SMN 0x03b10028 reads 0xffffffff"


# ---- RAS


def test_ras_controller_flag_alone_is_a_warning() -> None:
    gpu = FakeGpu()
    gpu.registers[RAS] = 0x2
    _, (finding,) = answer(gpu, ras.ask)
    assert (finding.code, finding.severity) == ("amd.ras.controller", Severity.WARNING)


def test_ras_both_flags_are_one_fatal_finding() -> None:
    gpu = FakeGpu()
    gpu.registers[RAS] = 0x6
    session, (finding,) = answer(gpu, ras.ask)
    assert (finding.code, finding.severity) == ("amd.ras.fatal", Severity.FATAL)
    assert session.facts["ras"] == {"fatal": True, "controller": True}


def test_ras_flags_are_asked_without_a_discovery_table_too() -> None:
    gpu = FakeGpu()
    gpu.registers[RAS] = 0x4
    _, findings = answer(gpu, ras.ask, mapped=False)
    assert [finding.code for finding in findings] == ["amd.ras.fatal"]


# ---- hubs


def test_gmc_poison_is_told_apart_from_a_page_fault() -> None:
    gpu = FakeGpu()
    gpu.registers[GC1 + FAULT] = 1 << 30 | 5 << 20
    _, (finding,) = answer(gpu, gmc.ask)
    assert finding.code == "amd.gmc.poison"
    assert finding.summary.startswith("GFXHUB of XCC 1: poison used by VMID 5")


def test_gmc_mmhub_client_has_a_name_on_1_8_0() -> None:
    gpu = FakeGpu()
    gpu.registers[(0x18000 + 0xB6B) * 4] = 257 << 9 | 1 << 18
    gpu.registers[(0x18000 + 0xB6C) * 4] = 0x12345
    gpu.registers[(0x18000 + 0xB6D) * 4] = 0x3
    session, (finding,) = answer(gpu, gmc.ask)
    assert session.facts["faults"][0]["client"] == "SDMA1"
    assert session.facts["faults"][0]["address"] == 0x300012345000
    assert finding.seen.startswith("write by SDMA1 (0x101), VMID 0, address 0x300012345000")


def test_gmc_unknown_client_is_told_by_its_number() -> None:
    gpu = FakeGpu()
    gpu.registers[GC0 + FAULT] = 100 << 9
    _, (finding,) = answer(gpu, gmc.ask)
    assert "read by client 0x64" in finding.seen


def test_gmc_hub_that_reads_all_ones_is_unanswered_and_the_others_are_told() -> None:
    gpu = FakeGpu()
    gpu.registers[GC0 + FAULT] = ALL_ONES
    gpu.registers[GC1 + FAULT] = 1
    session, findings = answer(gpu, gmc.ask)
    assert [finding.code for finding in findings] == ["amd.gmc.fault"]
    assert session.unanswered[0].question == "GC[0].VM_L2_PROTECTION_FAULT_STATUS"


# ---- GFX


def test_gfx_busy_mec_whose_pointer_moves_is_fine() -> None:
    gpu = FakeGpu()
    gpu.registers |= {GC0 + CPC_STATUS: 0x1, GC0 + GRBM_STATUS: 1 << 31}
    gpu.on_read = lambda offset: gpu.registers.update({GC0 + MEC1_PNTR: gpu.registers.get(GC0 + MEC1_PNTR, 0) + 1})
    session, findings = answer(gpu, gfx.ask)
    assert findings == []
    assert session.facts["gfx"][0]["busy"] is True


def test_gfx_busy_mec_that_stands_still_is_hung_and_only_that_xcc() -> None:
    gpu = FakeGpu()
    gpu.registers |= {GC1 + CPC_STATUS: 0x3, GC1 + MEC1_PNTR: 0x123}
    _, (finding,) = answer(gpu, gfx.ask)
    assert finding.summary.startswith("MEC1 and MEC2 of XCC 1 hang: busy, and no instruction pointer moves")
    assert "CP_MEC1_INSTR_PNTR=0x123" in finding.seen


def test_gfx_idle_mec_may_rest_anywhere() -> None:
    gpu = FakeGpu()
    gpu.registers[GC0 + MEC1_PNTR] = 0x123
    assert answer(gpu, gfx.ask)[1] == []


def test_gfx_halted_mec_is_no_hang() -> None:
    gpu = FakeGpu()
    gpu.registers |= {GC0 + CPC_STATUS: 0x3, GC0 + MEC_CNTL: 0x50000000}
    session, findings = answer(gpu, gfx.ask)
    assert findings == []
    assert session.facts["gfx"][0]["halted"] is True


def test_gfx_hang_says_that_it_is_inferred() -> None:
    gpu = FakeGpu()
    gpu.registers |= {GC1 + CPC_STATUS: 0x1, GC1 + MEC1_PNTR: 0x123}
    _, (finding,) = answer(gpu, gfx.ask)
    assert "over 1.0 s (one wait longer than that looks the same); CP_CPC_STATUS=" in finding.seen
    assert finding.next == gfx.NEXT_MEC


@pytest.mark.parametrize("question", [gfx.ask, sdma.ask])
def test_hang_under_a_driver_with_a_process_at_work_says_to_look_at_the_job_first(
    question: Callable[[Session], None],
) -> None:
    gpu = FakeGpu(driver="amdgpu")
    gpu.registers |= {GC1 + CPC_STATUS: 0x1, GC1 + MEC1_PNTR: 0x123}
    ring(gpu, SDMA0, 0x80, 0x40, 0x80)
    clock = VirtualClock()
    session = session_of(gpu, clock=clock)
    other = {"pid": 9, "command": "rocm-smi", "only_kfd": True}
    session.facts["holders"] = {"processes": [{"pid": 4711, "command": "train.py", "only_kfd": False}, other]}
    session.ask("question", question)
    (finding,) = watch(session.suspects, clock).findings
    assert finding.next.startswith("first check whether the job makes progress (pid 4711 train.py). If not: reset")
    assert finding.severity is Severity.ERROR
    session.facts["holders"] = {"processes": [other]}
    session.suspects.clear()
    session.facts.pop("gfx", None)
    session.ask("question", question)
    assert watch(session.suspects, clock).findings[0].next.startswith("reset")


def test_gfx_finding_reads_nothing_when_the_watch_is_over() -> None:
    gpu = FakeGpu()
    gpu.registers |= {GC1 + CPC_STATUS: 0x1, GC1 + MEC1_PNTR: 0x123}
    session = session_of(gpu)
    gfx.ask(session)
    reads: list[int] = []
    gpu.on_read = reads.append
    assert "CP_CPC_STALLED_STAT1=" in session.suspects[0].finding(1.0).seen
    assert reads == []


# ---- SDMA


def test_sdma_hang_says_that_it_is_inferred_and_reads_nothing_for_it() -> None:
    gpu = FakeGpu()
    ring(gpu, SDMA0, 0x80, 0x40, 0x80)
    session = session_of(gpu)
    sdma.ask(session)
    reads: list[int] = []
    gpu.on_read = reads.append
    finding = session.suspects[0].finding(1.0)
    assert "over 1.0 s (one wait longer than that looks the same); SDMA_STATUS_REG=" in finding.seen
    assert reads == []


def ring(gpu: FakeGpu, engine: int, base: int, read_pointer: int, write_pointer: int) -> None:
    at = engine + base * 4
    gpu.registers |= {at: 1, at + 0xC: read_pointer, at + 0x14: write_pointer}


def test_sdma_ring_with_work_that_moves_is_fine() -> None:
    gpu = FakeGpu()
    ring(gpu, SDMA0, 0x80, 0x100, 0x10000)
    moved = SDMA0 + 0x83 * 4
    gpu.on_read = lambda offset: gpu.registers.update({moved: gpu.registers[moved] + 4}) if offset == moved else None
    assert answer(gpu, sdma.ask)[1] == []


def test_sdma_user_queue_that_stands_still_is_found_on_a_busy_engine() -> None:
    gpu = FakeGpu()
    ring(gpu, SDMA0, 0x188, 0x40, 0x80)  # RLC1
    _, (finding,) = answer(gpu, sdma.ask)
    assert "RLC1 ring rptr=0x40 wptr=0x80" in finding.seen


def test_sdma_user_queue_of_an_idle_engine_is_not_asked() -> None:
    gpu = FakeGpu()
    gpu.registers[SDMA0 + 0x25 * 4] = 1
    ring(gpu, SDMA0, 0x188, 0x40, 0x80)
    assert answer(gpu, sdma.ask)[1] == []


def test_sdma_ring_that_is_disabled_or_halted_has_no_work() -> None:
    gpu = FakeGpu()
    ring(gpu, SDMA0, 0x80, 0x40, 0x80)
    gpu.registers[SDMA0 + 0x80 * 4] = 0
    assert answer(gpu, sdma.ask)[1] == []
    ring(gpu, SDMA0, 0x80, 0x40, 0x80)
    gpu.registers[SDMA0 + 0x2 * 4] = 1
    session, findings = answer(gpu, sdma.ask)
    assert findings == []
    assert session.facts["sdma"][0]["halted"] is True


# ---- XGMI


def hive(gpu: FakeGpu, nodes: int, states: list[int]) -> FakeGpu:
    gpu.registers |= {GC0 + LFB_CNTL: 1 | (nodes - 1) << 4, GC0 + LFB_SIZE: 288 << 6}
    for link, state in enumerate(states):
        gpu.smn[link // 2, PCS[link % 2]] = state
    return gpu


def test_xgmi_seven_of_eight_links_are_enough_for_eight_nodes() -> None:
    session, findings = answer(hive(FakeGpu(), 8, [0x81] * 7 + [0xD1]), xgmi.ask)
    assert findings == []
    assert session.facts["xgmi"]["node"] == 1
    assert session.facts["xgmi"]["segment_mib"] == 288 << 10
    assert [row["port"] for row in session.facts["xgmi"]["links"]] == [0, 3, 1, 2, 7, 6, 4, 5]


def test_xgmi_two_disabled_links_in_a_hive_of_eight_name_both_as_possible() -> None:
    _, (finding,) = answer(hive(FakeGpu(), 8, [0x81] * 6 + [0xD1, 0xD1]), xgmi.ask)
    assert finding.summary == "XGMI: 6 of 7 links active"
    assert "link 6 (AID 3, port 4) disabled, state 0xd1, link 7" in finding.seen


def test_xgmi_link_that_trains_while_watched_is_fine() -> None:
    gpu = hive(FakeGpu(), 8, [0x81] * 6 + [0x10, 0xD1])
    clock = VirtualClock()
    session = session_of(gpu, clock=clock)
    gpu.on_read = lambda _offset: gpu.smn.update({(3, PCS[0]): 0x81 if clock.now() > 0.5 else 0x10})
    xgmi.ask(session)
    assert len(session.suspects) == 1
    assert watch(session.suspects, clock) == ([], [])


def test_xgmi_node_that_cannot_be_is_unanswered() -> None:
    gpu = FakeGpu()
    gpu.registers[GC0 + LFB_CNTL] = 5 | 3 << 4
    session, findings = answer(gpu, xgmi.ask)
    assert findings == []
    assert session.facts["xgmi"]["nodes"] is None
    assert "names no node of a hive" in session.unanswered[0].reason


def test_xgmi_link_word_of_all_ones_is_unanswered_not_down() -> None:
    session, findings = answer(hive(FakeGpu(), 8, [0x81] * 7 + [ALL_ONES]), xgmi.ask)
    assert findings == []
    assert session.unanswered[0].question == "XGMI link 7"


def test_xgmi_without_a_table_believes_only_registers_that_know_the_memory_size() -> None:
    gpu = hive(FakeGpu(), 8, [0x81] * 2)
    session, _ = answer(gpu, xgmi.ask, mapped=False)
    assert session.facts["xgmi"]["nodes"] is None
    assert "not known where the registers of GC are" in session.unanswered[0].reason
    gpu.registers |= {GC0 + FB_BASE: 0x8000, GC0 + FB_TOP: 0x8000 + 8 * (288 << 6) - 1}
    session, findings = answer(gpu, xgmi.ask, mapped=False)
    assert (session.facts["xgmi"]["node"], session.facts["xgmi"]["nodes"]) == (1, 8)
    assert findings == []


@pytest.mark.parametrize("proven", [False, True])
def test_xgmi_without_a_table_links_of_a_gpu_alone_are_unanswered(proven: bool) -> None:
    gpu = FakeGpu()
    if proven:
        gpu.registers |= {GC0 + FB_BASE: 0x8000, GC0 + FB_TOP: 0x8000 + (288 << 6) - 1}
    session, findings = answer(gpu, xgmi.ask, mapped=False)
    assert findings == []
    assert session.facts["xgmi"]["nodes"] == (1 if proven else None)
    assert xgmi.LINKS_QUESTION in {item.question for item in session.unanswered}
    assert (session.gc0 is not None) == proven


def test_xgmi_without_a_table_links_of_other_aids_are_unanswered() -> None:
    gpu = hive(FakeGpu(), 8, [0x81] * 8)
    gpu.registers |= {GC0 + FB_BASE: 0x8000, GC0 + FB_TOP: 0x8000 + 8 * (288 << 6) - 1}
    session, _ = answer(gpu, xgmi.ask, mapped=False)
    assert [item.question for item in session.unanswered] == [xgmi.OTHER_LINKS]


def rows_of(states: list[str | None], word: int | None = 0x10) -> list[dict[str, object]]:
    return [{"link": link, "state": state, "word": word} for link, state in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "nodes", "whole", "bad"),
    [
        (["active"] * 7 + ["disabled"], 8, True, []),
        (["active"] * 6 + ["disabled"] * 2, 8, True, [6, 7]),
        (["active"] * 6 + ["disabled"] * 2, 8, False, []),
        (["active"] * 6 + ["disabled", None], 8, True, []),  # what was not read may be up
        (["active"] * 6 + ["disabled", "inactive"], 8, True, [7]),
        (["disabled", "inactive"], 1, True, [1]),
    ],
)
def test_xgmi_bad_links_are_inactive_or_missing(
    states: list[str | None], nodes: int, whole: bool, bad: list[int]
) -> None:
    assert [row["link"] for row in xgmi.bad_links(rows_of(states), nodes, whole=whole)] == bad


def test_xgmi_bad_links_out_of_a_hive_a_word_of_zero_says_nothing() -> None:
    assert xgmi.bad_links(rows_of(["inactive"], 0), 1, whole=True) == []


# ---- what ends or disturbs a question


def test_session_gpu_that_leaves_the_bus_in_the_middle_is_gone() -> None:
    gpu = FakeGpu()

    def vanish(offset: int) -> None:
        gpu.lost = offset == GC1 + CPC_STATUS or gpu.lost

    gpu.on_read = vanish
    session = session_of(gpu)
    with pytest.raises(Gone, match="config space reads all ones"):
        session.ask("GFX engines", gfx.ask)
    assert session.asking == "GFX engines"


def test_session_question_that_breaks_is_unanswered_with_its_reason() -> None:
    session = session_of(FakeGpu())

    def broken(_session: Session) -> None:
        raise ZeroDivisionError("by a transport")

    session.ask("odd question", broken)
    assert session.unanswered[0].reason == "ZeroDivisionError: by a transport"


def test_session_refusal_names_who_refused() -> None:
    session = session_of(FakeGpu())

    def refused(_session: Session) -> None:
        raise Refused("using index registers", seen="held by pid 7 (python)")

    session.ask("links", refused)
    assert session.unanswered[0].reason == "using index registers refused: held by pid 7 (python)"


def test_session_smn_reads_leave_the_index_as_it_was() -> None:
    gpu = FakeGpu()
    gpu.index[INDEX2] = 0xABC0
    gpu.smn[0, SMU_FLAGS] = 1
    gpu.registers[SMU_RESPONSE] = 1
    answer(gpu, smu.ask)
    assert gpu.index[INDEX2] == 0xABC0


# ---- discovery


@pytest.mark.parametrize("valid", [True, False])
def test_discovery_memory_size_is_the_cause_only_where_no_table_is_valid(valid: bool) -> None:
    session = session_of(FakeGpu())
    size = Finding("amd.discovery.memsize", Severity.WARNING, "x")
    other = Finding("amd.discovery.signature", Severity.ERROR, "y")
    discovery._keep(session, (size, other), valid=valid)
    told = [(finding.code, finding.severity) for finding in session.findings]
    if valid:
        assert told == [(size.code, Severity.WARNING), (other.code, Severity.ERROR)]
    else:
        assert told == [(size.code, Severity.ERROR), (other.code, Severity.NOTE)]


# ---- PCI


def test_pci_memory_decoding_off_without_a_driver_is_unknown() -> None:
    gpu = FakeGpu()
    gpu.config[4] = 0
    session = session_of(gpu)
    session.ask("identity", pci.identity)
    session.ask("config space", pci.config)
    assert pci.memory_reason(session) == "memory decoding is off"
    assert [(item.code, item.severity) for item in session.findings] == [("pci.memory-off", Severity.UNKNOWN)]


def test_pci_memory_decoding_off_under_a_driver_is_an_error() -> None:
    gpu = FakeGpu(driver="amdgpu")
    gpu.config[4] = 0
    session = session_of(gpu)
    session.ask("identity", pci.identity)
    session.ask("config space", pci.config)
    assert [(item.code, item.severity) for item in session.findings] == [("pci.memory-off", Severity.ERROR)]


def test_pci_config_space_that_lost_its_bars_is_a_dead_bar() -> None:
    gpu = FakeGpu()
    gpu.config[4] = 0
    gpu.config[0x24:0x28] = bytes(4)
    session = session_of(gpu)
    session.ask("identity", pci.identity)
    session.ask("config space", pci.config)
    assert pci.memory_reason(session) == "config space lost its BARs"
    (finding,) = session.findings
    assert finding.code == "pci.bar-dead"
    assert finding.expected == "BAR5 0x90000000"
