"""A scenario read and checked, against PyYAML reading the same text; a synced record of a run, against write and sync alone."""

from __future__ import annotations

import json
import os
import tempfile
from importlib import resources
from pathlib import Path

import yaml

from bench.harness import Row, compare
from repro.record import Record
from repro.scenario import read

NAME = "hive-reset-loop"
TOLD = {"number": 1, "name": "reset", "state": "done", "seconds": 0.96, "told": {"gpus": list(range(8))}}


def rows() -> list[Row]:
    text = resources.files("repro").joinpath("scenarios").joinpath(f"{NAME}.yaml").read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder) / "run", {"scenario": NAME}, text)
        line = (json.dumps({"n": 1, "t": 0.1, "wall": "2026-11-28T14:00:00", "kind": "action", **TOLD}) + "\n").encode()
        handle = os.open(Path(folder) / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def floor() -> None:
            os.write(handle, line)
            os.fdatasync(handle)

        made = [
            compare(
                "repro: read and check a scenario",
                lambda: read(NAME),
                lambda: yaml.load(text, Loader=yaml.SafeLoader),
                goal="<= 4x",
            ),
            compare("repro: one record of a run, synced", lambda: record.add("action", **TOLD), floor, goal="<= 2x"),
        ]
        os.close(handle)
        record.close()
    return made
