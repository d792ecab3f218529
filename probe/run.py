"""Probing many GPUs side by side, each within its time, and the reports made of what they said.

On hardware every GPU is asked in a child of its own: a read that never returns costs that GPU its answer and nobody else
anything; what the child had learned before is still told. Models are asked side by side on their clock.

`ProbeReport.facts`: plain JSON; None where something could not be read or does not apply. A section is missing when its
question was never reached (a lost GPU has no `gfx`).
    identity    address, bdf, part, arch, vendor, device, subsystem_vendor, subsystem_device, revision, class_code,
                serial (16 hex digits, the key of a saved discovery table), is_vf, is_apu
    pci         driver ("" none), power_state, enabled, memory_enabled, bus_master, upstream, numa_node, iommu_group,
                reset_methods [word], config_bytes, bars [{index, address, size}], aspm,
                link {speed_gts, width, max_speed_gts, max_width}: the maxima of both ends,
                aer {correctable, nonfatal, fatal, masked: [name]}
    memory_mib
    discovery   valid, source (how it was read), vram_offset, bases_from (whose table gave the register bases), ip_count,
                gc_version, xcc, sdma, aids, harvested [label]
    psp         bootloader (ready, silent, done), ifwi_ready, sos_alive, sos_version,
                boot [{aid, status, steady, error_word, errors [words]}]
    smu         alive, firmware_flags, response, pmfw_version, source (only when the bound driver told)
    ras         fatal, controller
    xgmi        node, nodes (1: no XGMI), segment_mib, source, hive_id, members [bdf] (None: not all seen), links_source,
                links [{link, port, aid, state (active, inactive, disabled), word}]
    in_hive     whether the verdict took it for a member of a hive
    faults      [{hub, status, address, vmid, client, client_id, write, poison, more}]
    gfx         [{xcc, busy, mec_busy, halted, grbm_status}] by physical instance
    sdma        [{engine, idle, halted, pending}] by physical instance
    holders     {complete, gaps, processes [{pid, command, cgroup, container, what, only_kfd}]}; None for a model
    holders_complete    whether every process could be looked at: if not, an empty list proves nothing; None for a model
    nvidia      (NVIDIA only; instead of memory_mib to sdma) driver {version, branch, open}, uuid, minor, vbios, firmware,
                xids [{number, name, count, first_s, last_s, text}] since the driver was loaded, xids_before,
                sxids [{number, switch, bdf, unit, word, count, last_s, text}] of the board's NVSwitches (up to Hopper),
                boot {chip, stage, boot_done, wpr2, gsp_active, reset_required, drain_and_reset, memory_mib, values, refused},
                initialized, recovery_action (word), draining, name, memory_mib, memory_free_mib, nvlinks [{link, state}],
                fabric {state, status, health}, telemetry {temperature_c {gpu, memory}, power_w, power_limit_w, clocks_mhz
                {graphics, memory, sm}, slowed_by [reason]} (None in it: nobody polls it now), reset_required,
                drain_and_reset, ecc {enabled, supported, corrected, uncorrected}, row_remap {rows, pending, failed},
                repair {tpc_pending, channel_pending}, pstate
    unanswered  [{question, reason}]; without a table "... beyond XCC 0" means that XCC 0 alone was asked"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from amdriver.discovery import validate
from amdriver.ip_map import SDMA_PER_AID, IpMap
from amdriver.parts import Part
from base.child import ChildTimeout, run_many_in_children
from base.clock import Clock, Outcome, RealClock
from base.errors import GpumendError
from base.findings import Finding, ProbeReport, Severity, graver
from pcibus.driverfiles import DriverFiles
from pcibus.transport import Can, Transport
from probe.advice import advise
from probe.hive import Seen, settle
from probe.one import probe_one
from probe.scratch import Scratch
from probe.session import TIMEOUT, Progress, Settings, timeout_finding, unanswered_finding
from probe.verdict import verdict

LIMIT_S = 2.0
_CHILD_MARGIN_S = 0.2  # so that the child itself can end its probe and tell more
_LEAST_S = 0.2  # a second look is not worth less
_XCCS_PER_AID = 2
_NOTHING = Progress("identity", {}, (), ())


@dataclass(frozen=True, slots=True)
class Target:
    """One GPU to probe."""

    index: int
    transport: Transport
    part: Part
    files: DriverFiles | None = None  # of the kernel driver, where it is asked (NVIDIA)

    @property
    def name(self) -> str:
        return self.transport.name


@dataclass(slots=True)
class _Running:
    """One GPU being probed: what it is told, and what it has said so far."""

    target: Target
    settings: Settings
    progress: Progress = _NOTHING
    used_s: float = 0.0
    broken: Finding | None = None


def probe_all(
    targets: Sequence[Target],
    *,
    clock: Clock,
    limit_s: float = LIMIT_S,
    in_children: bool | None = None,
    sys_root: Path = Path("/sys"),
    proc_root: Path = Path("/proc"),
    golden: Callable[[str], bytes | None] | None = None,
) -> list[ProbeReport]:
    """Probe all targets side by side; reports in the order given. All together cost about `limit_s` at most.

    `in_children` None: each target on this machine's bus gets a child, the others run on `clock`. `golden` gives the saved
    good discovery table of a serial number. Raises nothing that a GPU or its transport did."""
    settings = Settings(limit_s=limit_s, sys_root=sys_root, proc_root=proc_root, golden=golden)
    runs = [_Running(target, replace(settings, files=target.files)) for target in targets]
    _round(runs, clock, in_children)
    _second_look(runs, clock, in_children)
    return _reports(runs)


def _round(runs: Sequence[_Running], clock: Clock, in_children: bool | None) -> None:
    """Ask every GPU of `runs` once; those on this machine's bus in children."""

    def apart(run: _Running) -> bool:
        return Can.HOST in run.target.transport.can if in_children is None else in_children

    host = [run for run in runs if apart(run)]
    others = [run for run in runs if not apart(run)]
    if host:
        _in_children(host)
    if others:
        start = clock.now()
        outcomes = clock.run_together([_work(run, run.settings, clock) for run in others])
        for run, outcome in zip(others, outcomes, strict=True):
            run.used_s = clock.now() - start
            _take(run, outcome)


def _work(
    run: _Running, settings: Settings, clock: Clock, on_progress: Callable[[Progress], None] | None = None
) -> Callable[[], Progress]:
    target, earlier = run.target, run.progress

    def work() -> Progress:
        return probe_one(
            target.transport,
            part=target.part,
            clock=clock,
            settings=settings,
            on_progress=on_progress,
            earlier=earlier,
        )

    return work


def _take(run: _Running, outcome: Outcome[Progress]) -> None:
    if outcome.error is None and outcome.value is not None:
        run.progress, run.broken = outcome.value, None
        return
    if isinstance(outcome.error, KeyboardInterrupt | SystemExit):
        raise outcome.error
    run.broken = _broken(outcome.error, run.progress.asking, run.settings.limit_s, run.target.name)


def _in_children(runs: Sequence[_Running]) -> None:
    clock = RealClock()  # whatever clock the caller lives on: hardware has only this one
    scratches = [Scratch() for _ in runs]

    def child(run: _Running, scratch: Scratch) -> Callable[[], Progress]:
        # The child ends its own probe a little earlier, because it can tell more than its parent.
        settings = replace(run.settings, limit_s=max(_LEAST_S, run.settings.limit_s - _CHILD_MARGIN_S))

        def tell(progress: Progress) -> None:
            scratch.put(pickle.dumps(progress, pickle.HIGHEST_PROTOCOL))

        return _work(run, settings, clock, tell)

    start = time.monotonic()
    try:
        outcomes = run_many_in_children(
            [child(run, scratch) for run, scratch in zip(runs, scratches, strict=True)],
            max(run.settings.limit_s for run in runs),
            doing=[f"probing {run.target.name}" for run in runs],
            where=[run.target.name for run in runs],
        )
        for run, scratch, outcome in zip(runs, scratches, outcomes, strict=True):
            run.used_s = time.monotonic() - start
            known = scratch.get()
            if known is not None and outcome.error is not None:
                run.progress = pickle.loads(known)  # written by our own child into memory that only we share
            _take(run, outcome)
    finally:
        for scratch in scratches:
            scratch.close()


def _broken(error: BaseException | None, asking: str, limit_s: float, where: str) -> Finding:
    if isinstance(error, ChildTimeout):
        finding = timeout_finding(asking, limit_s, where)
        return replace(finding, seen=f"{finding.seen}; {error.seen}")
    seen = error.seen if isinstance(error, GpumendError) else f"{type(error).__name__}: {error}"
    return Finding(
        "probe.broken",
        Severity.UNKNOWN,
        f"the probe broke while asking: {asking}"[:80],
        expected="an answer, or a reason why there is none",
        seen=seen,
        where=where,
        next="probe again; if it stays so, report it with this text",
    )


def _second_look(runs: Sequence[_Running], clock: Clock, in_children: bool | None) -> None:
    """GPUs without a table of their own are asked again with the map of a whole GPU of the same part, in the time left.

    The second look starts from what the first one learned, so that nothing is lost if it breaks or runs out of time."""
    again = []
    lenders: dict[Part, IpMap | None] = {}
    for run in runs:
        left_s = run.settings.limit_s - run.used_s
        if run.broken is not None or left_s < _LEAST_S or not _needs_map(run.progress):
            continue
        part = run.target.part
        if part not in lenders:
            lenders[part] = _lender(runs, part)
        borrowed = lenders[part]
        if borrowed is not None:
            run.settings = replace(run.settings, limit_s=left_s, borrowed=borrowed)
            again.append(run)
    _round(again, clock, in_children)


def _needs_map(progress: Progress) -> bool:
    if any(finding.code in ("pci.lost", TIMEOUT) for finding in progress.findings):
        return False
    discovery = progress.facts.get("discovery")
    return discovery is not None and discovery.get("bases_from") is None


def _lender(runs: Sequence[_Running], part: Part) -> IpMap | None:
    """The map of a GPU of this part that has nothing harvested: a product of which every one is whole has nothing that
    this GPU may lack. Only where every GPU that told is whole: with one that is not, this one may be like it."""
    maps = [
        validation.ip_map
        for run in runs
        if run.target.part == part and run.progress.table is not None
        for validation in (validate(run.progress.table),)
        if validation.ip_map is not None
    ]
    if not maps or not all(is_whole(ip_map, part) for ip_map in maps):
        return None
    return maps[0]


def is_whole(ip_map: IpMap, part: Part) -> bool:
    """Whether it has every XCC, SDMA engine and hub that this product can have. Two XCCs and four engines on each AID."""
    if part.xcc_count is None or part.xcc_count % _XCCS_PER_AID:
        return False
    aids = part.xcc_count // _XCCS_PER_AID
    masks = {"GC": part.xcc_count, "SDMA0": SDMA_PER_AID * aids, "MMHUB": aids}
    return all(
        ip_map.mask(name) == (1 << count) - 1 and not any(ip.harvested for ip in ip_map.find(name))
        for name, count in masks.items()
    )


def _reports(runs: Sequence[_Running]) -> list[ProbeReport]:
    seen = [Seen.of(run.target.index, _bdf(run), not run.target.part.may_join_hive, run.progress) for run in runs]
    settle(seen)
    return [_report(run, gpu) for run, gpu in zip(runs, seen, strict=True)]


def _bdf(run: _Running) -> str:
    return str((run.progress.facts.get("identity") or {}).get("bdf") or run.target.name)


def _report(run: _Running, gpu: Seen) -> ProbeReport:
    findings = advise(gpu.findings, in_hive=gpu.in_hive, nodes=gpu.xgmi("nodes"))
    if run.broken is not None:
        findings.append(run.broken)
    if run.progress.unanswered:
        # Beside a cause that is known, what it hides is not a finding of its own: it cannot make the verdict worse.
        explained = any(finding.severity.rank >= Severity.ERROR.rank for finding in findings)
        findings.append(unanswered_finding(run.progress.unanswered, gpu.bdf, explained=explained))
    health, action = verdict(findings, in_hive=gpu.in_hive)
    facts: Mapping[str, object] = {
        **gpu.facts,
        "in_hive": gpu.in_hive,
        "unanswered": [{"question": item.question, "reason": item.reason} for item in run.progress.unanswered],
    }
    return ProbeReport(
        index=run.target.index,
        bdf=gpu.bdf,
        part=run.target.part.name,
        arch=run.target.part.arch,
        health=health,
        action=action,
        findings=tuple(graver(findings)),
        facts=MappingProxyType(dict(facts)),
    )
