"""Recordings in which one line stands for several accesses."""

from __future__ import annotations

import json
from pathlib import Path

from pcibus.tracefile import TraceFile

HEAD = {
    "gpumend-trace": 1,
    "name": "x",
    "can": 0,
    "info": {"bdf": "0000:01:00.0", "vendor": 0x1002, "device": 0x75A0},
    "bars": [],
    "config_size": 4096,
}
READ = {"t": 0, "op": "read32", "bar": 5, "offset": 4, "value": 7}
CONFIG = {"t": 0, "op": "config_read", "offset": 4, "size": 2, "value": 7}


def test_times_are_told_and_wrong_ones_are_damage(tmp_path: Path) -> None:
    rows = [HEAD, READ, READ | {"times": 5}, CONFIG | {"times": 3}]
    rows += [READ | {"times": wrong} for wrong in (0, -1, True, "2", 1.5)]
    path = tmp_path / "ring.trace"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trace = TraceFile(path)
    assert [touch.times for touch in trace] == [1, 5, 3]
    assert [damage.line for damage in trace.damage] == [5, 6, 7, 8, 9]
