"""A scenario as one file that an engineer at the vendor can read and run: Python 3.8 or later, nothing but its
standard library.

`standalone/template.py` is a module of its own; sections that a scenario does not need are cut out and its data is
put in. What needs our own driver (a bad kernel, a killed start) cannot be exported: the refusal says why, and what to
send instead."""

from __future__ import annotations

import pprint
import re
import textwrap
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

from amdriver.parts import PARTS
from base.errors import Refused
from base.version import VERSION
from repro.scenario import DRIVER, Scenario, action_dict
from repro.text import steps_of

BY_REGISTERS = frozenset(("hive-reset", "flr", "bus-reset"))
BY_DRIVER = frozenset(("kernel-recover", "driver-rebind"))
MAX_LINES = 580
MAX_S = 86400.0  # of a scenario that names no limit
_SECTION = re.compile(r"^\s*# ---- section: ([\w -]+)$")
_WIDTH = 116


@dataclass(frozen=True, slots=True)
class Exported:
    """`text` of the file, `name` that it should have, `through`: `driver` (the stock kernel driver) or `registers`."""

    name: str
    text: str
    through: str


def export(scenario: Scenario) -> Exported:
    """The file. Refused for scenarios that need more than the kernel's files or a message to the SMU."""
    wanted = _methods(scenario)
    name = f"{scenario.name}.py"
    if any(one.kind == "finding" and fnmatchcase("amd.xgmi.link", one.value) for one in scenario.reproduced):
        wanted.add("xgmi")
    through = "driver" if scenario.through == DRIVER else "registers"
    wanted.add(through)
    if scenario.pause_s:
        wanted.add("pause")
    if any(action.settings.get("proved_by") for action in scenario.actions):
        wanted.add("proved")
    text = _cut(resources.files("repro").joinpath("standalone").joinpath("template.py").read_text("utf-8"), wanted)
    for place, value in _texts(scenario, name).items():
        text = text.replace(f"@{place}@", value)
    data = pprint.pformat(_data(scenario), width=_WIDTH, sort_dicts=False, compact=True)
    text = text.replace("SCENARIO: dict[str, Any] = {}", f"SCENARIO: dict[str, Any] = {data}")
    return Exported(name, f"#!/usr/bin/env python3\n{text}", through)


def _methods(scenario: Scenario) -> set[str]:
    """What its actions do; Refused where that cannot be done without our own driver."""
    wanted: set[str] = {
        str(action.settings["method"]) if action.module == "reset" else action.module for action in scenario.actions
    }
    allowed = BY_DRIVER | {"modprobe"} if scenario.through == DRIVER else BY_REGISTERS
    beyond = wanted - allowed
    if not beyond:
        return wanted
    raise Refused(
        f"exporting {scenario.name}",
        expected="actions that the kernel's files or one message to the SMU carry out",
        seen=f"{', '.join(sorted(beyond))}: that takes a driver of our own, which does not fit into one file",
        next_step=f"send the archive of a run: gpumend repro run {scenario.name} -o run.tar.gz",
    )


def _cut(text: str, wanted: set[str]) -> str:
    """Without the sections that are not wanted, and without the marks."""
    keep = True
    lines = []
    for line in text.splitlines():
        mark = _SECTION.match(line)
        if mark:
            keep = mark[1] == "all" or bool(wanted & set(mark[1].split()))
        elif keep:
            lines.append(line)
    return _unused_imports_out("\n".join(lines).rstrip("\n") + "\n")


def _unused_imports_out(text: str) -> str:
    """A cut section may have been an import's only user."""
    kept = []
    for line in text.splitlines():
        found = re.match(r"(?:from \w+ )?import (\w+)$", line)
        if not found or "__future__" in line or len(re.findall(rf"\b{found[1]}\b", text)) > 1:
            kept.append(line)
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(kept)) + "\n"


def _texts(scenario: Scenario, name: str) -> dict[str, str]:
    needs = {
        "amdgpu": "amdgpu must be bound, debugfs mounted.", "none": "No driver may be bound to the GPUs.",
        "unloaded": "amdgpu must not be loaded yet.",
    }[scenario.needs.driver]  # fmt: skip
    return {
        "TITLE": f"{scenario.name}: {scenario.shows}.",
        "ABOUT": f"\n{_wrapped(scenario.details)}\n" if scenario.details else "",
        "STEPS": _wrapped("\n".join(f"{number}. {line}" for number, line in enumerate(steps_of(scenario), start=1)), "    "),
        "CONDITIONS": _wrapped("\n".join(f"- {one.words}" for one in scenario.reproduced), "    "),
        "NEEDS": needs + (f" Kernel {scenario.needs.kernel}." if scenario.needs.kernel else ""),
        "DESTROYS": _inline(scenario.destroys or "nothing"),
        "PUT_BACK": _inline(scenario.put_back or "nothing is to be put back"),
        "FILE": name,
        "TOOL": f"gpumend {VERSION}",
        "NAME": scenario.name,
    }  # fmt: skip


def _wrapped(text: str, indent: str = "") -> str:
    rows = []
    for line in text.splitlines():
        rows += textwrap.wrap(
            _safe(line), _WIDTH, initial_indent=indent, subsequent_indent=indent + "  " * bool(indent)
        ) or [""]
    return "\n".join(rows)


def _inline(text: str) -> str:
    return textwrap.fill(_safe(text), _WIDTH, initial_indent=" " * 16).lstrip()


def _safe(text: str) -> str:
    """What may stand in the file's docstring."""
    return text.replace("\\", "/").replace('"""', "'''").replace("@", "(at)")


def _data(scenario: Scenario) -> dict[str, Any]:
    """All that the file has to know, as Python values."""
    fits = [
        part for part in PARTS.values()
        if not (part.is_vf or part.is_apu) and (scenario.suits_all or part.name in scenario.parts)
    ]  # fmt: skip
    by_kind: dict[str, list[Any]] = {}
    for one in scenario.reproduced:
        by_kind.setdefault(one.kind, []).append(one.value)
    proofs = [text for action in scenario.actions if (text := action.settings.get("proved_by"))]
    wanted = {*by_kind.get("kernel_log", ()), *proofs}
    actions = []
    for action in scenario.actions:
        body = action_dict(action)
        for name in ("parallel", "force", "proved_by"):
            body.pop(name, None)
        actions.append(body)
    return {
        "name": scenario.name, "shows": scenario.shows, "tool": f"gpumend {VERSION}",
        "ids": sorted(part.device for part in fits), "parts": ", ".join(part.name for part in fits),
        "driver": scenario.needs.driver, "count": scenario.count, "duration_s": scenario.duration_s or MAX_S,
        "pause_s": scenario.pause_s, "actions": actions,
        "kernel_log": {name: text for name, text in scenario.kernel_log.items() if name in wanted},
        "proofs": proofs, "reproduced_log": by_kind.get("kernel_log", []),
        "reproduced_actions": by_kind.get("action", []), "findings": by_kind.get("finding", []),
        "destroys": scenario.destroys, "put_back": scenario.put_back,
    }  # fmt: skip
