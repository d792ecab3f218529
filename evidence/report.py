"""`report.md`: what a person at the vendor reads first, in the field order of the vendor's issue form.

Field order: user-wants D: AMD's ROCm form (problem, OS, CPU, GPU, ROCm version, component, steps, rocminfo, more), and
NVIDIA's functional bug form (driver version, proprietary module, OS, kernel, hardware, description, steps, incidence,
nvidia-bug-report) when every GPU is theirs. Made from what was collected; what is not known says so, and what only the
reporter knows asks for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from base.findings import ProbeReport, Severity, graver
from evidence.host import first_line

ASK = "*(please fill in)*"
UNKNOWN = "unknown"
NVIDIA_VENDOR = 0x10DE
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Problem:
    """What only the reporter knows. `incidence`: `3 of 50`, `once`, `always`; `command`: one line that repeats it."""

    summary: str = ""
    steps: Sequence[str] = ()
    command: str = ""
    incidence: str = ""
    component: str = ""


def report(
    problem: Problem,
    reports: Sequence[ProbeReport],
    texts: Mapping[str, bytes],
    manifest: Mapping[str, Any],
    unread: Iterable[str],
) -> str:
    """The whole report. `texts`: files of the bundle by name, already redacted."""
    system = texts.get("system.txt", b"").decode("utf-8", "replace")
    theirs = bool(reports) and all((one.facts.get("identity") or {}).get("vendor") == NVIDIA_VENDOR for one in reports)
    rows = ["# GPU problem report", ""]
    rows += _nvidia_form(problem, reports, system) if theirs else _amd_form(problem, reports, system)
    rows += [*_versions(system, texts)[1 if theirs else 0 :], ""]  # the first is about amdgpu
    rows += _findings(reports)
    rows += _nvidia(reports)
    rows += _files(manifest)
    rows += _gaps(list(unread))
    rows += _redactions(manifest)
    return "\n".join(rows).rstrip("\n") + "\n"


def _amd_form(problem: Problem, reports: Sequence[ProbeReport], system: str) -> list[str]:
    rocm = _section(system, "opt/rocm/.info/version", r"(\S.*)") or f"{UNKNOWN} (not installed?)"
    fields: list[tuple[str, list[str]]] = [
        (
            "Problem Description",
            [problem.summary or _from_findings(reports) or ASK, "", f"Incidence: {problem.incidence or ASK}"],
        ),
        ("Operating System", [_os(system)]),
        ("CPU", [_section(system, "cpu", r"model name\s*:\s*(.+)") or UNKNOWN]),
        ("GPU", _gpus(reports)),
        ("ROCm Version", [rocm]),
        ("ROCm Component", [problem.component or "kernel driver (amdgpu), firmware"]),
        ("Steps to Reproduce", _steps(problem)),
        ("(Optional) Output of `rocminfo --support`", ["Not run: it opens the GPU, and can hang on a sick one."]),
        ("Additional Information", []),
    ]
    return _laid_out(fields)


def _nvidia_form(problem: Problem, reports: Sequence[ProbeReport], system: str) -> list[str]:
    """Field order: user-wants D, NVIDIA/open-gpu-kernel-modules 10_functional_bug.yml."""
    version = _section(system, "module/nvidia/version", r"(\S+)") or _told(reports, "driver", "version") or UNKNOWN
    kernel = _section(system, "proc/version", r"Linux version (\S+)") or UNKNOWN
    fields: list[tuple[str, list[str]]] = [
        ("NVIDIA Open GPU Kernel Modules Version", [f"{version}, commit {ASK}"]),
        ("Does this happen with the proprietary driver package too?", [ASK]),
        ("Operating System and Version", [_os(system)]),
        ("Kernel Release", [kernel]),
        ("Is it a stable kernel release of kernel.org or of the distribution?", [ASK]),
        ("Hardware: GPU", [*_gpus(reports), "", "`nvidia-smi -L` was not run: it can hang on a sick GPU."]),
        ("Describe the bug", [problem.summary or _from_findings(reports) or ASK]),
        ("To Reproduce", _steps(problem)),
        ("Bug Incidence (Once, Sometimes, Always)", [problem.incidence or ASK]),
        ("nvidia-bug-report.log.gz", [f"Not made: it can hang on a sick GPU; NVIDIA closes reports without it. {ASK}"]),
        ("More Info", []),
    ]
    return _laid_out(fields)


def _laid_out(fields: Sequence[tuple[str, list[str]]]) -> list[str]:
    return [row for title, text in fields for row in (f"### {title}", "", *text, *([""] if text else []))]


def _from_findings(reports: Sequence[ProbeReport]) -> str:
    told = [
        f"GPU {item.index} ({item.bdf}): {finding.summary} [{finding.code}]"
        for item in reports
        for finding in graver(list(item.findings))[:1]
        if finding.severity.rank >= Severity.WARNING.rank
    ]
    return "\n".join(f"- {row}" for row in told)


def _os(system: str) -> str:
    name = first_line(system, "PRETTY_NAME") or UNKNOWN
    kernel = _section(system, "proc/version", r"Linux version (\S+)") or UNKNOWN
    return f"{name}, kernel {kernel}"


def _section(system: str, name: str, pattern: str) -> str:
    """The first match below `== name ==`."""
    found = re.search(rf"^== (?:\S*/)?{re.escape(name)} ==\n(.*?)(?=^== |\Z)", system, re.MULTILINE | re.DOTALL)
    inner = re.search(pattern, found[1]) if found else None
    return inner[1].strip() if inner else ""


def _gpus(reports: Sequence[ProbeReport]) -> list[str]:
    if not reports:
        return [f"{UNKNOWN}: no supported GPU was found"]
    rows = ["| GPU | address | part | ids | health | action |", "|---|---|---|---|---|---|"]
    for item in reports:
        who = item.facts.get("identity") or {}
        ids = f"{_hex(who.get('vendor'))}:{_hex(who.get('device'))} rev {_word(who.get('revision'))}"
        rows.append(
            f"| {item.index} | {item.bdf} | {item.part} ({item.arch}) | {ids} | {item.health} | {item.action} |"
        )
    return rows


def _hex(value: Any) -> str:
    return f"{value:04x}" if isinstance(value, int) else UNKNOWN


def _word(value: Any) -> str:
    return UNKNOWN if value is None else str(value)


def _steps(problem: Problem) -> list[str]:
    rows = [f"{number}. {step}" for number, step in enumerate(problem.steps, start=1)] or [ASK]
    return rows + (["", f"In one line: `{problem.command}`"] if problem.command else [])


def _versions(system: str, texts: Mapping[str, bytes]) -> list[str]:
    """What the driver and the firmware are, as far as the machine tells."""
    word, line = r"(\S+)", r"(\S.*)"
    version = _section(system, "module/amdgpu/version", word) or UNKNOWN
    source = _section(system, "module/amdgpu/srcversion", word) or UNKNOWN
    rows = [
        f"- amdgpu module: version {version}, srcversion {source}",
        f"- BIOS: {_section(system, 'class/dmi/id/bios_version', line) or UNKNOWN}",
        f"- kernel command line: `{_section(system, 'proc/cmdline', line) or UNKNOWN}`",
    ]
    for name, data in texts.items():
        if name.endswith("/sysfs.txt"):
            vbios = _section(data.decode("utf-8", "replace"), "vbios_version", line)
            rows.append(f"- {name.partition('/')[0]}: VBIOS {vbios or UNKNOWN}")
    return rows


def _findings(reports: Sequence[ProbeReport]) -> list[str]:
    rows: list[str] = []
    for item in reports:
        for finding in graver(list(item.findings)):
            if finding.severity.rank < Severity.UNKNOWN.rank:
                continue
            rows += [f"- GPU {item.index} {item.bdf}: {finding.severity}: {finding.summary} [{finding.code}]"]
            told = (("expected", finding.expected), ("seen", finding.seen), ("where", finding.where))
            rows += [f"  - {label}: {text}" for label, text in told if text]
    return ["#### Findings", "", *rows, ""] if rows else []


def _nvidia(reports: Sequence[ProbeReport]) -> list[str]:
    """Of NVIDIA's GPUs: every Xid since the driver was loaded, what the driver says, temperature and power."""
    rows: list[str] = []
    for item in reports:
        facts = item.facts.get("nvidia")
        if not facts:
            continue
        heat = facts.get("telemetry") or {}
        shown = {
            "driver": _told([item], "driver", "version"), "VBIOS": facts.get("vbios"), "firmware": facts.get("firmware"),
            "recovery action": facts.get("recovery_action"), "boot": _told([item], "boot", "stage"),
            "temperature, C": _told([item], "telemetry", "temperature_c", "gpu"), "power, W": heat.get("power_w"),
            "slowed by": ", ".join(heat.get("slowed_by") or ()) or None, "rows remapped": _told([item], "row_remap", "rows"),
            "ECC errors": _told([item], "ecc", "uncorrected"), "Xids before the driver was loaded": facts.get("xids_before"),
        }  # fmt: skip
        rows.append(
            f"- GPU {item.index} {item.bdf}: {'; '.join(f'{name} {_word(value)}' for name, value in shown.items())}"
        )
        rows += [
            f"  - Xid {one['number']}, {one['count']} times, first at {_word(one['first_s'])} s: {one['text']}"
            for one in facts.get("xids") or ()
        ]
        rows += [
            f"  - SXid {one['number']} ({one['word']}) of {one['switch']}, {one['count']} times: {one['text']}"
            for one in facts.get("sxids") or ()
        ]
    return ["#### Xids, driver and telemetry of NVIDIA's GPUs", "", *rows, ""] if rows else []


def _told(reports: Sequence[ProbeReport], *names: str) -> Any:
    """The first GPU's fact of that place; None where it was not told."""
    for item in reports:
        value: Any = item.facts.get("nvidia")
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _files(manifest: Mapping[str, Any]) -> list[str]:
    rows = [f"- `{entry['name']}` ({entry['size']} bytes)" for entry in manifest.get("files", ())]
    return ["#### Files of this bundle", "", "`manifest.json` has their SHA-256.", "", *rows, ""]


def _gaps(unread: list[str]) -> list[str]:
    if not unread:
        return []
    more = [f"- and {len(unread) - _SHOWN} more: manifest.json"] if len(unread) > _SHOWN else []
    return ["#### Not collected", "", *(f"- {row}" for row in unread[:_SHOWN]), *more, ""]


def _redactions(manifest: Mapping[str, Any]) -> list[str]:
    told: Callable[[Mapping[str, Any]], str] = lambda row: f"{row['distinct']} {row['kind']}"  # noqa: E731
    summary = manifest.get("redaction", {})
    if not summary.get("on"):
        return ["#### Redaction", "", "Off: names, serial numbers and addresses of this machine are in here.", ""]
    if not summary.get("complete"):
        doubt = "Some names of this machine could not be learned in time: look through this bundle before you send it."
        return ["#### Redaction", "", doubt, ""]
    kinds = ", ".join(told(row) for row in summary.get("redacted", ())) or "nothing was found to take out"
    return ["#### Redaction", "", f"Replaced by pseudonyms that stay the same throughout: {kinds}.", ""]
