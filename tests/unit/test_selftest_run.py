"""The self-test on GPUs made of byte arrays: what it checks, what it makes of failures, and that it always ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from amdriver.selftest import run
from amdriver.selftest_report import CHECKS, FINDINGS, SUMMARIES
from base.clock import RealClock, VirtualClock
from base.errors import DeviceLost, Exit, InvalidData, Refused, Unavailable, UsageError, WaitTimeout
from base.findings import Severity
from base.selftest import LEVELS, Check, Level, SelftestProgress, SelftestReport, Status, findings_of, level_of
from tests.selftest_fakes import FakeGpu, hive, subject

SMALL = Level("quick", most_bytes=1 << 17, engine_bytes=1 << 12, peer_bytes=1 << 12, stamps=4, meeting_s=100)


def test_run_on_one_good_gpu_passes_all_checks() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    (report,) = run([subject(gpu)], SMALL, clock)
    assert (report.exit_code, report.status, report.findings) == (0, "ok", ())
    assert {check.name for check in report.checks} == set(CHECKS)
    assert [check.engine for check in report.checks if check.name == "sdma"] == ["SDMA0", "SDMA1", "SDMA2", "SDMA3"]
    assert [check.engine for check in report.checks if check.name == "compute"] == ["XCC0", "XCC1"]
    skipped = [check for check in report.checks if check.status is Status.SKIPPED]
    assert [(check.name, check.reason, check.applies) for check in skipped] == [("peers", "alone in its hive", False)]
    assert report.bytes > 2 * SMALL.most_bytes
    assert gpu.closed == 1 and not gpu.live


def test_run_tells_what_was_odd_about_the_start() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.notes = ("an older secure OS runs",)
    (report,) = run([subject(gpu)], SMALL, clock)
    assert report.checks[0].seen == "4 SDMA engines, 2 XCCs, 3 steps, found cold; an older secure OS runs"


def test_run_hive_copies_both_ways_between_all_pairs() -> None:
    clock = VirtualClock()
    gpus = hive(clock, 3)
    reports = run([subject(gpu, index) for index, gpu in enumerate(gpus)], SMALL, clock)
    assert [report.exit_code for report in reports] == [0, 0, 0]
    told = [check.engine for check in reports[0].checks if check.name == "peers"]
    assert told == [
        "own buffers", "pull from GPU 1", "push to GPU 1", "pull from GPU 2", "push to GPU 2",
        "arrival from GPU 1", "arrival from GPU 2",
    ]  # fmt: skip
    assert not any(gpu.live for gpu in gpus)


def test_run_wrong_byte_names_gpu_offset_engine_and_both_bytes() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.wrong = {0}
    (report,) = run([subject(gpu)], SMALL, clock, skip=["memory"])
    assert report.exit_code == Exit.PROBLEM
    bad = [check for check in report.checks if check.status is Status.FAILED]
    assert {(check.name, check.engine) for check in bad} >= {("sdma", "SDMA0")}
    mine = next(check for check in bad if check.engine == "SDMA0")
    assert "GPU 0 0000:05:00.0, VRAM offset 0x" in mine.where and "moved by SDMA0" in mine.where
    assert "1 of" not in mine.expected and len(bytes.fromhex(mine.expected)) == 16
    assert mine.where.endswith("read through BAR0")
    finding = next(item for item in report.findings if item.code == "amd.selftest.sdma")
    assert finding.severity is Severity.ERROR and "SDMA0" in finding.where


def test_run_bar0_that_lies_is_found_and_no_engine_blamed() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.wrong_bar0 = True
    (report,) = run([subject(gpu)], SMALL, clock)
    assert report.status == "failed"
    bad = [check for check in report.checks if check.status is Status.FAILED]
    assert {check.engine for check in bad} == {"BAR0"}
    assert all("read through BAR0" in check.where and "reads what is expected" in check.seen for check in bad)
    assert [finding.where.partition(";")[0] for finding in report.findings] == ["BAR0", "BAR0"]
    assert "the engines are not to blame" in report.findings[0].next


def test_run_wrong_reader_is_the_one_that_failed() -> None:
    """Engine 1 spoils what it carries to the host: what engine 0 moved was right, and BAR0 and engine 2 say so."""
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.wrong = {1}
    (report,) = run([subject(gpu)], SMALL, clock)
    bad = [(check.name, check.engine) for check in report.checks if check.status is Status.FAILED]
    assert bad == [("sdma", "SDMA1")]
    (finding,) = report.findings
    assert "moved by SDMA0, read through SDMA1" in finding.where


def test_run_two_readers_that_disagree_blame_the_mover() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.wrong = {1, 2}
    (report,) = run([subject(gpu)], SMALL, clock, engines=[0])
    bad = [(check.name, check.engine) for check in report.checks if check.status is Status.FAILED]
    assert bad == [("memory", "SDMA0")]


def test_run_reader_that_gets_stuck_is_the_one_that_failed() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.stuck = {1}
    (report,) = run([subject(gpu)], SMALL, clock)
    bad = [(check.name, check.engine) for check in report.checks if check.status is Status.FAILED]
    assert bad == [("sdma", "SDMA1")]


def test_run_stuck_engine_ends_its_own_checks_only() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.stuck = {0}
    (report,) = run([subject(gpu)], SMALL, clock)
    states = {(check.name, check.engine): check.status for check in report.checks}
    assert states["memory", "SDMA0"] is Status.FAILED
    assert states["sdma", "SDMA0"] is Status.SKIPPED
    assert [states["sdma", f"SDMA{number}"] for number in (1, 2, 3)] == [Status.OK] * 3
    assert [item.code for item in report.findings] == ["amd.selftest.memory"]
    assert report.exit_code == Exit.PROBLEM and gpu.closed == 1


def test_run_all_engines_stuck_share_one_finding() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.stuck = {0, 1, 2, 3}
    (report,) = run([subject(gpu)], SMALL, clock, skip=["memory"])
    (finding,) = report.findings
    assert finding.code == "amd.selftest.sdma"
    assert finding.where.startswith("SDMA0, SDMA1, SDMA2, SDMA3")


def test_run_one_engine_only_is_not_verified() -> None:
    clock = VirtualClock()
    (report,) = run([subject(FakeGpu(clock, engines=1))], SMALL, clock)
    assert (report.exit_code, report.status) == (Exit.UNKNOWN, "unverified")
    assert any("no second engine" in check.reason for check in report.checks)


def test_run_dead_xcc_is_named() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.dead_xccs = {1}
    (report,) = run([subject(gpu)], SMALL, clock)
    bad = [(check.name, check.engine) for check in report.checks if check.status is Status.FAILED]
    assert bad == [("compute", "XCC1")]
    assert report.findings[0].where.startswith("XCC1")


def test_run_lost_trap_is_named() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.silent = {3}
    (report,) = run([subject(gpu)], SMALL, clock)
    (bad,) = [check for check in report.checks if check.status is Status.FAILED]
    assert (bad.name, bad.reason) == ("interrupts", "waiting for the trap (source 224) of SDMA3")
    assert bad.seen == "3 entries in all"


@pytest.mark.parametrize("rate", [0.0, 25e6, 400e6, -1.0])
def test_run_clock_at_the_wrong_pace_fails(rate: float) -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.tick_rate = rate
    (report,) = run([subject(gpu)], SMALL, clock, skip=["compute"])
    assert [item.code for item in report.findings] == ["amd.selftest.timestamps"]


def test_run_page_fault_of_before_is_forgotten() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.told_faults = ["GC[0] VMID 8 read at 0x1000"]
    (report,) = run([subject(gpu)], SMALL, clock)
    assert report.exit_code == 0
    assert "1 page faults of before forgotten" in report.checks[0].seen


def test_run_page_fault_fails_the_check_that_made_it() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)

    def fault() -> None:
        gpu.told_faults = ["GC[0] VMID 8 read at 0x1000"]
        gpu.on_copy = lambda: None

    gpu.on_copy = fault
    (report,) = run([subject(gpu)], SMALL, clock)
    (bad,) = [check for check in report.checks if check.status is Status.FAILED]
    assert (bad.name, bad.seen) == ("memory", "GC[0] VMID 8 read at 0x1000")


def test_run_page_fault_of_a_stuck_engine_is_not_the_next_ones() -> None:
    """The wait that runs out leaves the fault latched in the hub."""
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.stuck = {1}

    def fault() -> None:
        gpu.told_faults = ["MMHUB[0] VMID 0 write at 0x1000 by SDMA1"]
        gpu.on_copy = lambda: None

    gpu.on_copy = fault
    (report,) = run([subject(gpu)], SMALL, clock, skip=["memory"], engines=[1, 2, 3])
    bad = [(check.name, check.engine) for check in report.checks if check.status is Status.FAILED]
    assert bad == [("sdma", "SDMA1")]


def test_run_page_fault_of_the_reader_fails_the_reader() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    synchronize = gpu.synchronize

    def carried(*, engine: int | None = None) -> None:
        synchronize(engine=engine)
        if engine == 1:
            gpu.told_faults = ["MMHUB[0] VMID 0 write at 0x1000 by SDMA1"]

    gpu.synchronize = carried  # type: ignore[method-assign]
    (report,) = run([subject(gpu)], SMALL, clock)
    bad = [(check.name, check.engine) for check in report.checks if check.status is Status.FAILED]
    assert bad == [("sdma", "SDMA1")]


def test_run_gpu_lost_in_the_middle_ends_its_checks_and_exits_69() -> None:
    clock = VirtualClock()
    gpus = hive(clock, 2)
    gpus[1].lost_after = 40
    reports = run([subject(gpu, index) for index, gpu in enumerate(gpus)], SMALL, clock)
    assert reports[1].exit_code == Exit.UNAVAILABLE and isinstance(reports[1].error, DeviceLost)
    assert [item.code for item in reports[1].findings] == ["amd.selftest.lost"]
    assert reports[1].findings[0].severity is Severity.FATAL
    assert gpus[1].closed == 1
    own = [check for check in reports[0].checks if check.name != "peers"]
    assert all(check.status is Status.OK for check in own)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (Refused("opening it", seen="held by python3 (pid 42)"), 3, "refused"),
        (Unavailable("loading firmware", seen="psp_13_0_12_sos.bin is missing"), 69, "unavailable"),
        (DeviceLost("opening it"), 69, "unavailable"),
        (WaitTimeout("waiting for the bootloader"), 1, "failed"),
        (InvalidData("loading firmware", seen="a wrong CRC"), 1, "failed"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_run_gpu_that_cannot_be_opened_is_a_result(error: Exception, code: int, status: str) -> None:
    clock = VirtualClock()
    gpus: list[FakeGpu | Exception] = [*hive(clock, 3)]
    gpus[1] = error
    reports = run([subject(gpu, index) for index, gpu in enumerate(gpus)], SMALL, clock)
    assert [report.exit_code for report in reports] == [0, code, 0]
    assert reports[1].status == status
    assert [check.name for check in reports[1].checks] == ["boot"]
    assert len(reports[1].findings) == 1


def test_run_gpu_whose_server_went_away_blames_no_engine_and_exits_69() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)

    def gone() -> None:
        raise Unavailable("reading from remote:1", seen="the server closed the connection")

    gpu.alive = gone  # type: ignore[method-assign]
    (report,) = run([subject(gpu)], SMALL, clock)
    assert (report.exit_code, report.status) == (Exit.UNAVAILABLE, "unavailable")
    (finding,) = report.findings
    assert (finding.code, finding.summary) == ("amd.selftest.unreachable", "the GPU cannot be reached any more")
    assert len([check for check in report.checks if check.status is Status.FAILED]) == 1
    assert gpu.closed == 1


def test_run_close_that_fails_is_a_failed_check() -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.close_error = WaitTimeout("stopping SDMA0", expected="idle", seen="busy")
    (report,) = run([subject(gpu)], SMALL, clock)
    assert report.exit_code == Exit.PROBLEM
    assert [item.code for item in report.findings] == ["amd.selftest.close"]


def test_run_two_hives_at_once_says_so_and_vouches_for_nothing() -> None:
    clock = VirtualClock()
    gpus = [FakeGpu(clock, 0, 2), FakeGpu(clock, 0, 2)]
    reports = run([subject(gpu, index) for index, gpu in enumerate(gpus)], SMALL, clock)
    assert [report.status for report in reports] == ["unverified", "unverified"]
    assert any("more than one hive" in check.reason for check in reports[0].checks)


@pytest.mark.parametrize("name", ["memory", "sdma", "compute", "timestamps", "interrupts", "peers"])
def test_run_skip_leaves_a_check_out_and_still_passes(name: str) -> None:
    clock = VirtualClock()
    reports = run([subject(gpu, index) for index, gpu in enumerate(hive(clock, 2))], SMALL, clock, skip=[name])
    assert [report.exit_code for report in reports] == [0, 0]
    left_out = [check for check in reports[0].checks if check.name == name]
    assert left_out and all(check.status is Status.SKIPPED for check in left_out)
    assert all(check.reason == "left out by --skip" for check in left_out)


def test_run_engines_narrows_to_those() -> None:
    clock = VirtualClock()
    (report,) = run([subject(FakeGpu(clock))], SMALL, clock, engines=[2, 3])
    assert [check.engine for check in report.checks if check.name in ("memory", "sdma")] == ["SDMA2", "SDMA2", "SDMA3"]


def test_run_engine_that_is_not_there_is_not_vouched_for() -> None:
    clock = VirtualClock()
    (report,) = run([subject(FakeGpu(clock))], SMALL, clock, engines=[99])
    assert report.status == "unverified"
    assert any("none of the engines asked for: it has 4" in check.reason for check in report.checks)


def test_run_engine_that_is_not_there_beside_one_that_is_is_not_vouched_for() -> None:
    clock = VirtualClock()
    (report,) = run([subject(FakeGpu(clock))], SMALL, clock, engines=[0, 99])
    assert report.status == "unverified"
    (doubt,) = [check for check in report.checks if check.in_doubt]
    assert (doubt.engine, doubt.reason) == ("SDMA99", "there is none: it has 4")


@pytest.mark.parametrize("bad", [{"skip": ["boot"]}, {"skip": ["sdna"]}, {"engines": []}, {"engines": [-1]}], ids=str)
def test_run_wrong_arguments_are_refused_before_anything_is_opened(bad: dict[str, Sequence[str]]) -> None:
    gpu = FakeGpu(VirtualClock())
    with pytest.raises(UsageError):
        run([subject(gpu)], SMALL, VirtualClock(), **bad)  # type: ignore[arg-type]
    assert gpu.closed == 0


def test_run_tells_progress_up_to_its_total() -> None:
    clock = VirtualClock()
    told: list[SelftestProgress] = []
    run([subject(FakeGpu(clock))], SMALL, clock, progress=told.append)
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert told[-1].done <= told[-1].total
    assert {one.check for one in told} >= set(CHECKS)


@pytest.mark.parametrize("real", [False, True], ids=["virtual", "real"])
def test_run_interrupted_closes_what_it_opened(real: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RealClock() if real else VirtualClock()
    gpus = [FakeGpu(clock, node, 2) for node in range(2)]  # type: ignore[arg-type]
    reached = threading.Event()
    gpus[0].on_copy = reached.set
    together = clock.run_together

    def interrupted(callables):  # type: ignore[no-untyped-def]
        threading.Thread(target=together, args=(callables,), daemon=True).start()
        reached.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "run_together", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([subject(gpu, index) for index, gpu in enumerate(gpus)], LEVELS["quick"], clock)
    assert gpus[0].closed == 1
    assert [gpu.closed for gpu in gpus] == [gpu.opened for gpu in gpus]


def test_run_is_the_same_twice() -> None:
    def once() -> list[dict[str, object]]:
        clock = VirtualClock()
        reports = run([subject(gpu, index) for index, gpu in enumerate(hive(clock, 2))], SMALL, clock)
        return [
            {key: value for key, value in check.to_dict().items() if key != "wall_s"}
            for report in reports
            for check in report.checks
        ]

    assert once() == once()


# ---- levels and reports


def test_level_of_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        level_of("medium")
    assert caught.value.expected == "quick or full"


def test_level_of_limit_cuts_sizes_to_a_power_of_two() -> None:
    assert level_of("full").most_bytes == 1 << 30
    assert level_of("full", 100 << 20).most_bytes == 64 << 20
    with pytest.raises(UsageError, match="bounding"):
        level_of("full", 1000)


def test_quick_level_moves_at_most_16_mib_an_engine() -> None:
    from base.patterns import ALIGNMENTS, sizes_up_to

    sizes = sizes_up_to(LEVELS["quick"].most_bytes)
    small = sum(size for size in sizes if size <= 64 << 10) * 2
    assert small + sum(size for size in sizes if size > 64 << 10) + LEVELS["quick"].engine_bytes < 16 << 20
    assert len(ALIGNMENTS) == 8


def _report(*checks: Check) -> SelftestReport:
    return SelftestReport(0, "0000:05:00.0", "MI350X", "gfx950", "cold", checks)


def test_report_without_any_check_is_not_ok() -> None:
    assert _report().exit_code == Exit.UNKNOWN


def test_report_skipped_check_that_applies_is_not_verified() -> None:
    good = Check("boot", "", Status.OK)
    assert _report(good).exit_code == 0
    assert _report(good, Check("sdma", "SDMA0", Status.SKIPPED)).exit_code == Exit.UNKNOWN
    assert _report(good, Check("peers", "", Status.SKIPPED, applies=False)).exit_code == 0


def test_check_as_json_is_verified_only_when_ok() -> None:
    assert Check("boot", "", Status.OK).to_dict()["verified"] is True
    assert Check("boot", "", Status.FAILED).to_dict()["verified"] is False
    assert Check("boot", "", Status.OK, verified=False).to_dict()["verified"] is False


def test_findings_of_seventeen_engines_stay_readable() -> None:
    failures = [
        (Check("sdma", f"SDMA{n}", Status.FAILED), WaitTimeout("waiting", expected="1", seen="0")) for n in range(17)
    ]
    (finding,) = findings_of(failures, FINDINGS, SUMMARIES)
    assert finding.where.endswith("SDMA15 and 1 more")
    assert len(finding.summary) <= 80


def test_run_peer_of_a_lost_gpu_is_not_blamed() -> None:
    """GPU 1 leaves the bus while peers copy: GPU 0 does not fail for it, but its peer copies are not vouched for."""
    clock = VirtualClock()
    gpus = hive(clock, 2)
    (alone,) = run([subject(gpus[1], 1)], SMALL, clock)
    own = gpus[1].copies
    gpus = hive(clock, 2)
    gpus[1].lost_after = own  # its first peer copy
    reports = run([subject(gpu, index) for index, gpu in enumerate(gpus)], SMALL, clock)
    assert alone.exit_code == 0
    assert reports[1].exit_code == Exit.UNAVAILABLE
    assert reports[0].status == "unverified" and not reports[0].findings
    assert any(check.reason == "GPU 1 was lost" for check in reports[0].checks)


def test_run_interrupted_names_what_did_not_close(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RealClock()

    def interrupted(callables):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "run_together", interrupted)
    monkeypatch.setattr("amdriver.selftest.CLOSING_WAIT_S", 0.01)
    with pytest.raises(KeyboardInterrupt, match=r"GPU 0 0000:05:00\.0 could not be closed"):
        run([subject(FakeGpu(VirtualClock()))], SMALL, clock)
