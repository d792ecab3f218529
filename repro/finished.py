"""What a run's folder tells afterwards: how far it came, what of it goes into a bundle. The folder may come from
whomever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from base.errors import GpumendError, Refused, UsageError
from base.files import read_bounded
from repro.record import TIMELINE, boot_id, read_timeline

MAX_FILE_BYTES = 32 << 20
MOST_FILES = 200
_LEFT_OUT = ("manifest.json",)  # the bundle has its own


def progress_of(folder: Path) -> dict[str, Any] | None:
    """See gpumend.run_progress. Raises what reading a file can raise."""
    if not (folder / TIMELINE).is_file():
        return None
    rows = read_timeline(folder)
    begin = next((row for row in rows if row["kind"] == "begin"), {})
    iterations = [row for row in rows if row["kind"] == "iteration"]
    ended = [row for row in iterations if row.get("state") == "end"]
    end = next((row for row in rows if row["kind"] == "end"), None)
    settings = _json(folder / "settings.json")
    definition = settings.get("definition")
    last = rows[-1] if rows else {}
    return {
        "scenario": settings.get("scenario"),
        "asked": definition.get("count") if isinstance(definition, dict) else None,
        "begun": sum(row.get("state") == "begin" for row in iterations),
        "ended": len(ended),
        "reproduced": sum(row.get("word") == "reproduced" for row in ended),
        "outcome": None if end is None else end.get("outcome"),
        "last": " ".join(str(last[name]) for name in ("kind", "number", "name", "state") if name in last),
        "last_wall": last.get("wall"),
        "records": len(rows),
        "started_anew_since": _anew(begin.get("boot")),
        "command": settings.get("command"),
    }


def _anew(boot: object) -> bool | None:
    """Whether this machine was started anew since; None where nobody knows (another machine looks just the same)."""
    now = boot_id()
    return boot != now if now and isinstance(boot, str) and boot else None


def left_of(folder: Path) -> dict[str, Any]:
    """See gpumend.unfinished_run."""
    doing = f"going on with the run in {folder}"
    progress = progress_of(folder)
    settings = _json(folder / "settings.json")
    values, definition = settings.get("parameters"), settings.get("definition")
    if progress is None or not isinstance(values, dict) or not isinstance(definition, dict):
        raise UsageError(
            doing, expected=f"a run's folder, with {TIMELINE} and settings.json", seen="none", where=str(folder)
        )
    left = int(progress["asked"] or 0) - progress["ended"]
    if progress["outcome"] is not None or left <= 0:
        raise Refused(
            doing, expected="a run that did not come to its end", seen=str(progress["outcome"] or "all iterations ended"),
            where=str(folder), next_step=str(settings.get("command") or ""),
        )  # fmt: skip
    return {
        "scenario": str(folder / "scenario.yaml"), "parameters": values, "seed": int(settings.get("seed", 1)),
        "on": _words(settings.get("on")), "selected": _words(settings.get("selected")),
        "command": settings.get("command"), "keep_going": definition.get("stop_after") == "count", "left": left,
        "before": f"{progress['reproduced']} of {progress['ended']}",
    }  # fmt: skip


def _words(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def problem_of(folder: Path) -> dict[str, Any]:
    """The fields of `evidence.Problem` that a run knows. UsageError: that is no folder of a run."""
    progress = progress_of(folder)
    if progress is None:
        raise UsageError(
            "taking a run into a bundle", expected=f"a folder with {TIMELINE}", seen="none", where=str(folder)
        )
    settings = _json(folder / "settings.json")
    definition = settings.get("definition")
    told: dict[str, Any] = definition if isinstance(definition, dict) else {}
    return {
        "summary": _summary(told, progress),
        "steps": [
            f"{one.get('name')}: {one.get('module')} {one.get('method', '')}".strip() for one in told.get("actions", ())
        ],
        "command": str(settings.get("command") or ""),
        "incidence": f"{progress['reproduced']} of {progress['ended']}",
        "component": str(told.get("component") or ""),
    }


def _summary(told: dict[str, Any], progress: dict[str, Any]) -> str:
    text = f"{told.get('name')}: {told.get('shows')}"
    if progress["outcome"] is None:
        return f"{text} (the run did not come to its end: last was {progress['last']})"
    return f"{text}: {progress['outcome']}"


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a run by name, no links; what is too big is cut at its end, where the newest is."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if len(found) >= MOST_FILES or name in _LEFT_OUT or path.is_symlink() or not path.is_file():
            continue
        if any(above.is_symlink() for above in path.parents if above != folder and folder in above.parents):
            continue
        try:
            data = read_bounded(path, 1 << 30)
        except GpumendError:
            continue
        found[name] = data[-MAX_FILE_BYTES:]
    return found


def _json(path: Path) -> dict[str, Any]:
    """A file of the run; {} where it is not there or damaged: what is left still tells something."""
    try:
        body = json.loads(read_bounded(path, 16 << 20))
    except (GpumendError, ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
