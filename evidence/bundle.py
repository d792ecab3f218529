"""Collecting a bundle: what is asked in which order, and what becomes of it.

Order: the machine's secrets (so that they can be taken out of all the rest), the kernel's log (it says most if the machine
dies next), then the GPUs themselves, then what the bound driver says, which a sick one may never answer. Before a reset the
GPUs come first: they are what it destroys. On hardware each collector is a child of its own that is killed at its limit; models
are asked here, on their clock. After each group what came is on the disk, and the manifest names it."""

from __future__ import annotations

import json
import platform
import re
import secrets as random_source
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from amdriver.discovery_store import load
from base.clock import Clock, RealClock
from base.errors import Unavailable
from base.files import state_folder
from base.findings import ProbeReport
from base.version import VERSION
from evidence import driver, gpu, host, nvidia
from evidence.parts import Collected, Collector, Limits, Out, Places, Unread, attempt
from evidence.redact import Redactor
from evidence.report import Problem, report
from evidence.running import run
from evidence.subject import Subject, on_host
from evidence.writer import Writer, lines
from probe.run import LIMIT_S, Target, probe_all

if TYPE_CHECKING:
    from pcibus.driverfiles import DriverFiles

# A reset must not wait long, and what it is about to destroy is in the GPU: so that comes first.
QUICK = Limits(
    budget_s=5.0,
    fast_s=0.7,
    hardware_s=1.2,
    driver_s=0.8,
    logs_s=0.9,
    log_bytes=4 << 20,
    coredump_bytes=4 << 20,
    coredumps=2,
)
_NAMES = ("identity", "serial")  # collectors of what is to be taken out
_MODELS = "the GPUs are models, or elsewhere: this machine's logs say nothing of them"

__all__ = ["Bundle", "Limits", "Places", "Problem", "Subject", "before_reset", "collect", "default_folder"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk. `unread`: what was not collected, and why; `seconds` that it took here, on the wall."""

    folder: Path
    manifest: Mapping[str, Any]
    unread: tuple[Unread, ...]
    seconds: float
    reports: tuple[ProbeReport, ...] = ()

    @property
    def files(self) -> list[str]:
        return [entry["name"] for entry in self.manifest["files"]]

    @property
    def complete(self) -> bool:
        return self.manifest["complete"] is True


@dataclass(slots=True)
class _Job:
    """All that one bundle is made from."""

    subjects: Sequence[Subject]
    places: Places
    limits: Limits
    quick: bool
    redact: bool
    ras_counts: bool
    firmware_dirs: Sequence[Path] | None
    files: Files
    reports: tuple[ProbeReport, ...] = ()
    texts: dict[str, bytes] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether this machine's own files say something of these GPUs; without any GPU they are all there is."""
        return not self.subjects or any(on_host(subject) for subject in self.subjects)


Files = Callable[[Subject], "DriverFiles | None"]


def _no_files(subject: Subject) -> DriverFiles | None:
    return None


def default_folder(reason: str = "bundle") -> Path:
    """A new name below `$XDG_STATE_HOME/gpumend/evidence` (`~/.local/state`): time, reason, and four letters by chance."""
    state = state_folder("looking for a place for a bundle")
    word = re.sub(r"[^A-Za-z0-9-]+", "-", reason).strip("-").lower()[:32] or "bundle"
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return state / "evidence" / f"{stamp}-{word}-{random_source.token_hex(2)}"


def collect(
    subjects: Sequence[Subject],
    folder: Path | None = None,
    *,
    reports: Sequence[ProbeReport] | None = None,
    reason: str = "bundle",
    problem: Problem | None = None,
    settings: Mapping[str, Any] | None = None,
    extra: Mapping[str, bytes] | None = None,
    redact: bool = True,
    ras_counts: bool = False,
    firmware_dirs: Sequence[Path] | None = None,
    places: Places | None = None,
    limits: Limits | None = None,
    progress: Callable[[str], None] | None = None,
    files: Files = _no_files,
) -> Bundle:
    """Collect everything about these GPUs (none: about this machine) into a new folder, each file synced as it comes.

    `reports`: what a probe said already; None: they are probed first. `extra`: more text files by name (a journal of
    resets, a scenario); they are redacted as well. `ras_counts`: read the driver's RAS counters too, which sets them back.
    `files`: of a GPU's kernel driver (NVIDIA).
    Raises nothing that a GPU, a driver or a file did; Refused (the folder is there), NotPermitted, Unavailable when the
    bundle itself cannot be written."""
    job = _Job(subjects, places or Places(), limits or Limits(), False, redact, ras_counts, firmware_dirs, files)
    return _write(job, folder or default_folder(reason), reports, reason, problem, settings, extra, progress)


def before_reset(
    subjects: Sequence[Subject],
    *,
    action: str,
    reports: Sequence[ProbeReport] | None = None,
    folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    extra: Mapping[str, bytes] | None = None,
    redact: bool = True,
    places: Places | None = None,
    limits: Limits = QUICK,
    files: Files = _no_files,
) -> Bundle:
    """What is lost by a reset, on the disk and synced when this returns: at most a few seconds, whatever hangs.

    `action`: what is about to be done, in words (`mode1`, `hive-reset`). Takes, of every GPU: the probe's report, config
    space, discovery table, state of every engine, the driver's sysfs files, holders; and the kernel's log and core
    dumps. Leaves out what a reset does not destroy. The same errors as `collect`: what could not be read is in `unread`."""
    job = _Job(subjects, places or Places(), limits, True, redact, False, None, files)
    told = {"action": action, **(settings or {})}
    return _write(
        job, folder or default_folder(f"before-{action}"), reports, f"before {action}", None, told, extra, None
    )


def _write(
    job: _Job,
    folder: Path,
    reports: Sequence[ProbeReport] | None,
    reason: str,
    problem: Problem | None,
    settings: Mapping[str, Any] | None,
    extra: Mapping[str, bytes] | None,
    progress: Callable[[str], None] | None,
) -> Bundle:
    start = time.monotonic()
    redactor = Redactor(job.redact)
    for kind, name in host.own_names():
        redactor.learn(kind, name)
    head = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": job.quick,
        "limits": {name: getattr(job.limits, name) for name in Limits.__dataclass_fields__},
        "gpus": [{"index": one.index, "bdf": "", "part": one.part.name} for one in job.subjects],
    }
    writer = Writer(folder, head, redactor, total_bytes=job.limits.total_bytes)
    try:
        for step, group in _groups(job, reports, start + job.limits.budget_s):
            if progress is not None:
                progress(step)
            _keep(group, writer, job)
        # Only now: what names this machine has been learned.
        writer.manifest(reason=redactor.text(reason))
        manifest = _close(job, writer, problem or Problem(), settings or {}, extra or {}, start)
    finally:
        writer.close()
    return Bundle(folder, MappingProxyType(manifest), tuple(writer.unread), time.monotonic() - start, job.reports)


def _keep(group: Sequence[Collected], writer: Writer, job: _Job) -> None:
    """Everything that names this machine is learned before anything of the same group is written."""
    for done in group:
        for kind, value in done.secrets:
            writer.redactor.learn(kind, value)
        if done.collector.name in _NAMES and done.status not in ("ok", "partial"):
            writer.redactor.complete = False
    for done in group:
        writer.take(done)
        for item in done.items.values():
            if item.name == "system.txt" or item.name.endswith("/sysfs.txt"):
                job.texts[item.name] = writer.redactor.data(bytes(item.data), binary=False)
    writer.manifest()


def _groups(job: _Job, reports: Sequence[ProbeReport] | None, deadline: float) -> Iterator[tuple[str, list[Collected]]]:
    """(what was asked, what came), in the order of the module's text."""
    secrets = [host.secrets(job.places, job.limits)]
    secrets += [_serial_of(subject, job) for subject in job.subjects]
    if job.quick:  # what holds them must not cost the GPUs their turn
        secrets = [replace(one, resumes=0) for one in secrets]
    yield from _run("names to take out", secrets, job, deadline)
    if not job.quick:
        yield from _machine(job, deadline)
    probed = _probe(job, reports)
    deadline += probed.seconds  # it has a limit of its own
    yield "the probe", [probed]
    yield from _run("the GPUs", _of_the_gpus(job), job, deadline)
    if job.quick:
        yield from _machine(job, deadline)
    yield from _run("the driver", _of_the_driver(job), job, deadline)


def _run(
    step: str, collectors: Sequence[Collector], job: _Job, deadline: float
) -> Iterator[tuple[str, list[Collected]]]:
    for group in run(collectors, _clock(job), deadline):
        yield step, group


def _machine(job: _Job, deadline: float) -> Iterator[tuple[str, list[Collected]]]:
    yield from _run("the machine", _of_the_machine(job), job, deadline)
    if not job.local:
        logs = {id(files): nvidia.kernel_log(files, job.limits) for one in job.subjects if (files := job.files(one))}
        yield from _run("the machine", list(logs.values())[:1], job, deadline)
        yield "the machine", [_left_out(name, job) for name in ("kernel-log", "devcoredump")[bool(logs) :]]


def _clock(job: _Job) -> Clock:
    """The models' clock, for those that are asked here."""
    return next((subject.clock for subject in job.subjects if not on_host(subject)), RealClock())


def _serial_of(subject: Subject, job: _Job) -> Collector:
    def work(out: Out) -> None:
        gpu.learn_serials(subject, job.places, out)
        if subject.part.is_nvidia:
            nvidia.learn_uuid(subject, job.files(subject), out)

    return Collector("serial", work, job.limits.fast_s, subject.index, apart=on_host(subject), resumes=1)


def _of_the_machine(job: _Job) -> list[Collector]:
    """A model's machine is this one too, but its logs are not about the model."""
    made = host.collectors(job.places, job.limits, quick=job.quick)
    if not job.local:
        return [replace(one, apart=True) for one in made if one.name == "system" and not job.quick]
    made.append(driver.coredumps(job.places, job.limits))
    return made


def _left_out(name: str, job: _Job) -> Collected:
    collector = Collector(name, lambda _out: None, job.limits.fast_s)
    return Collected(collector, "skipped", _MODELS)


def _of_the_gpus(job: _Job) -> list[Collector]:
    made = [one for item in job.subjects for one in gpu.collectors(item, job.places, job.limits, quick=job.quick)]
    theirs = [item for item in job.subjects if item.part.is_nvidia]
    return made + [one for item in theirs for one in nvidia.collectors(item, job.files(item), job.limits)]


def _of_the_driver(job: _Job) -> list[Collector]:
    """What amdgpu says, of those on this machine's bus; and which firmware files it would load."""
    options: dict[str, bool] = {"quick": job.quick, "ras_counts": job.ras_counts, "redact": job.redact}
    made = [
        one
        for item in job.subjects
        if on_host(item)
        for one in driver.collectors(item, _bdf(job, item), job.places, job.limits, **options)
    ]
    ours = (item.part for item in job.subjects if not (item.part.is_vf or item.part.is_apu or item.part.is_nvidia))
    parts = sorted({part.name.lower() for part in ours})
    if parts and job.firmware_dirs is not None:
        made.append(host.firmware_files(parts, job.firmware_dirs, job.limits))
    return made


def _bdf(job: _Job, subject: Subject) -> str:
    known = next((item.bdf for item in job.reports if item.index == subject.index), "")
    return known or subject.transport.name.removeprefix("vfio:").partition("?")[0]


def _probe(job: _Job, reports: Sequence[ProbeReport] | None) -> Collected:
    """The probe's reports, taken now unless they were handed in."""
    done = Collected(Collector("probe", lambda _out: None, LIMIT_S))
    start = time.monotonic()
    out = _Into(done)
    with attempt(out, "probe"):
        job.reports = tuple(reports) if reports is not None else tuple(_probe_all(job))
        done.detail = "handed in" if reports is not None else "asked now"
        for item in job.reports:
            serial = (item.facts.get("identity") or {}).get("serial")
            if serial:
                out.secret("serial", str(serial))
        body = {"gpus": [item.to_dict() for item in job.reports]}
        out.add("probe.json", (json.dumps(body, default=str) + "\n").encode())
    done.seconds = time.monotonic() - start
    if done.unread:
        done.status = "failed"
    return done


class _Into:
    """An `Out` for what is made here."""

    def __init__(self, done: Collected) -> None:
        self._done = done

    def begin(self, what: str) -> bool:
        return True

    def add(self, name: str, data: bytes, *, binary: bool = False, cut: bool = False) -> None:
        self._done.take(("add", name, data, binary, cut))

    def unread(self, what: str, why: str) -> None:
        self._done.take(("unread", what, why))

    def secret(self, kind: str, value: str) -> None:
        self._done.take(("secret", kind, value))


def _probe_all(job: _Job) -> list[ProbeReport]:
    found: list[ProbeReport] = []
    for clock in {id(subject.clock): subject.clock for subject in job.subjects}.values():
        targets = [
            Target(one.index, one.transport, one.part, job.files(one)) for one in job.subjects if one.clock is clock
        ]
        found += probe_all(targets, clock=clock, sys_root=job.places.sys, proc_root=job.places.proc, golden=load)
    order = {subject.index: place for place, subject in enumerate(job.subjects)}
    return sorted(found, key=lambda item: order[item.index])


def _close(
    job: _Job, writer: Writer, problem: Problem, settings: Mapping[str, Any], extra: Mapping[str, bytes], start: float
) -> dict[str, Any]:
    """The files that are made from the others, then the manifest that says: this is all."""
    own = {
        "gpumend": VERSION, "python": sys.version.split()[0], "platform": platform.machine(), "arguments": sys.argv[1:],
        "settings": dict(settings), "problem": {name: getattr(problem, name) for name in Problem.__dataclass_fields__},
    }  # fmt: skip
    for name, data in {"settings.json": (json.dumps(own, default=str) + "\n").encode(), **extra}.items():
        try:
            writer.add(name, data, by="caller" if name in extra else "")
        except Unavailable as error:
            writer.unread.append(Unread(name, f"not written: {error.seen}"))
    gpus = [
        {
            "index": item.index,
            "bdf": item.bdf,
            "part": item.part,
            "health": str(item.health),
            "action": str(item.action),
        }
        for item in job.reports
    ]
    so_far = writer.manifest(**({"gpus": gpus} if gpus else {}))
    text = report(problem, job.reports, job.texts, so_far, lines(writer.unread))
    writer.add("report.md", text.encode())
    return writer.manifest(complete=True, seconds=round(time.monotonic() - start, 3))
