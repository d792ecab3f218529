"""`gpumend trace`: show, diff, record, as a user calls them; what they refuse; what they print as JSON and CSV."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
import gpumend
from tests.fakesys import MEM64_PREFETCH, FakeBar, FakeSys
from tests.unit.trace_lines import (
    C2PMSG_35,
    FENCE,
    INVALIDATE_ACK,
    INVALIDATE_REQ,
    RLC_CNTL,
    doorbell,
    read,
    saved,
    smn_write,
    write,
)

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/json.schema.json").read_text())
MI350X = "model:mi350x?state=cold"


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in arguments])
    told = capsys.readouterr()
    assert "has a defect" not in told.err, told.err
    return int(code), told.out, told.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code, out, _ = call(capsys, *arguments, "--json")
    body: dict[str, Any] = json.loads(out)
    jsonschema.validate(body, SCHEMA)
    return code, body


@pytest.fixture(autouse=True)
def no_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    monkeypatch.setattr(gpumend, "SYS_ROOT", tmp_path / "no-sys")


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """A few accesses of everything."""
    flush = [
        line
        for pair in zip(INVALIDATE_REQ, INVALIDATE_ACK, strict=True)
        for line in (write(pair[0], 1), read(pair[1], 1))
    ]
    lines = [read(C2PMSG_35, 0x80000000), *smn_write(5 << 32 | FENCE, 0x10000), *flush, doorbell(0x40, 0x100)]
    return saved(tmp_path, "boot.trace.gz", *lines, *(write(offset, 1) for offset in RLC_CNTL))


# --- show


def test_show_prints_counts_then_folded_accesses_with_fields(boot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "trace", "show", boot)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{boot}: register lines, part not told; 28 accesses"
    assert lines[1] == "  and 3 to index registers, folded away; bases: assumed"
    assert "  GC                8          3      8      16" in lines
    text = out[out.index("\n\n") :]
    assert "      4  write NBIF[1].XCC_DOORBELL_FENCE <- 0x00010000 (SHUB_SLV_MODE=1)" in text
    assert "8 times these 2:" in text
    assert "write GC[0-7].VM_INVALIDATE_ENG17_REQ <- 0x00000001 (PER_VMID_INVALIDATE_REQ=1)   x8" in text
    assert "write GC[0-7].RLC_CNTL <- 0x00000001 (RLC_ENABLE_F32=1)   x8" in text
    assert "write DOORBELL 0x10 <- 0x00000100" in text


def test_show_narrows_by_block_direction_and_number(boot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, body = document(capsys, "trace", "show", boot, "--block", "gc", "--writes")
    assert code == 0
    assert [row["register"] for row in body["rows"]] == ["VM_INVALIDATE_ENG17_REQ", "RLC_CNTL"]
    assert [block["block"] for block in body["blocks"]] == ["MP0", "NBIF", "GC", "DOORBELL"]
    _, body = document(capsys, "trace", "show", boot, "--limit", "1")
    assert (len(body["rows"]), body["not_shown"]) == (1, 6)
    _, out, _ = call(capsys, "trace", "show", boot, "--limit", "1")
    assert out.endswith("6 more rows: --limit 0 shows all, --block narrows\n")
    code, _, err = call(capsys, "trace", "show", boot, "--block", "SDMA")
    assert code == 64
    assert "one of DOORBELL, GC, MP0, NBIF" in err


def test_show_csv_has_one_row_an_access(boot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "trace", "show", boot, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["times"] for row in rows] == ["1", "1", "1", "8", "8", "1", "8"]
    assert rows[3] | {"repeats": "8", "of_lines": "2"} == rows[3]
    assert rows[-1]["fields"] == "RLC_ENABLE_F32=1"


def test_show_names_damaged_lines_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, "a.trace", write(RLC_CNTL[0], 1), "\x1b[2Jrubbish", write(RLC_CNTL[0], 2))
    code, out, _ = call(capsys, "trace", "show", path)
    assert code == 1
    assert f"damaged  {path}:2: not `R|W|D offset value [xN] ; name`" in out
    assert "\x1b" not in out
    code, body = document(capsys, "trace", "show", path)
    assert code == 1
    assert body["file"]["damage"] == [{"line": 2, "why": "not `R|W|D offset value [xN] ; name`"}]


def test_show_takes_bases_from_a_file_or_a_gpu_not_from_both(
    boot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (gpu,) = gpumend.list_gpus([MI350X])
    table = tmp_path / "table.bin"
    table.write_bytes(gpumend.read_discovery(gpu).blob)
    _, body = document(capsys, "trace", "show", boot, "--discovery", table)
    assert body["file"]["bases"] == f"the discovery table {table}"
    _, body = document(capsys, "--on", MI350X, "trace", "show", boot)
    assert body["file"]["bases"].startswith("the discovery table of GPU 0 ")
    code, _, err = call(capsys, "--on", MI350X, "trace", "show", boot, "--discovery", table)
    assert (code, "--discovery or a GPU" in err) == (64, True)
    code, _, err = call(capsys, "--on", "model:mi350x*2", "trace", "show", boot)
    assert (code, "choose with -g" in err) == (64, True)


def bad_files(folder: Path) -> dict[str, tuple[Path, int]]:
    """Files that are no trace, with the exit code of `show`."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "empty").write_bytes(b"")
    (folder / "random").write_bytes(bytes(range(256)) * 40)
    (folder / "bomb").write_bytes(gzip.compress(bytes(32 << 20), 1))
    (folder / "short.gz").write_bytes(gzip.compress(b"R 0x0 0x0\n")[:12])
    return {
        "empty": (folder / "empty", 1),
        "random": (folder / "random", 1),
        "bomb": (folder / "bomb", 1),
        "cut gzip": (folder / "short.gz", 1),
        "folder": (folder / "folder", 64),
        "fifo": (folder / "fifo", 64),
        "device": (Path("/dev/zero"), 64),
        "absent": (folder / "absent", 69),
    }


@pytest.mark.parametrize("kind", ["empty", "random", "bomb", "cut gzip", "folder", "fifo", "device", "absent"])
def test_bad_files_are_refused_by_show_and_undecided_in_diff(
    kind: str, boot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, expected = bad_files(tmp_path)[kind]
    code, body = document(capsys, "trace", "show", path)
    assert code == expected
    assert body["error"]["seen"]
    code, body = document(capsys, "trace", "diff", boot, path)
    assert code == (2 if expected == 1 else expected)
    assert body["error"]["where"].startswith(str(path))


# --- diff


def test_diff_of_the_same_is_0(boot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "trace", "diff", boot, boot)
    assert code == 0
    assert out.endswith("the same: 4 registers are written by both; 4 of 4 rows are the same\n")
    code, body = document(capsys, "trace", "diff", boot, boot)
    assert (code, body["same"], body["rows"]) == (0, True, [])
    _, body = document(capsys, "trace", "diff", boot, boot, "--all")
    assert {row["status"] for row in body["rows"]} == {"same"}


def test_diff_names_registers_values_and_fields(boot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = saved(
        tmp_path,
        "b.trace",
        write(C2PMSG_35, 0x80000),
        *(write(offset, 9 if xcc == 5 else 1) for xcc, offset in enumerate(RLC_CNTL)),
        doorbell(0x40, 0x100),
    )
    code, out, _ = call(capsys, "trace", "diff", boot, other)
    assert code == 1
    assert "  different  GC[5].RLC_CNTL\n               A  0x00000001  (1 write)\n" in out
    assert "               RLC_STEP_F32 0 -> 1\n" in out
    assert "  only-a     GC[0-7].VM_INVALIDATE_ENG17_REQ\n" in out
    assert "  only-b     MP0[0].MP0_SMN_C2PMSG_35\n" in out
    assert "GC[0-4,6-7].RLC_CNTL" not in out
    code, body = document(capsys, "trace", "diff", boot, other)
    (row,) = (row for row in body["rows"] if row["status"] == "different")
    assert (row["instances"], row["fields"]) == ([5], [{"name": "RLC_STEP_F32", "a": 0, "b": 1}])
    assert (row["a"]["final"], row["b"]["final"], row["b"]["values"]) == (1, 9, [9])
    _, out, _ = call(capsys, "trace", "diff", boot, other, "--csv", "--block", "GC")
    rows = {row["register"]: row for row in csv.DictReader(io.StringIO(out))}
    assert rows["GC[5].RLC_CNTL"]["fields"] == "RLC_STEP_F32 0 -> 1"
    assert set(rows) == {"GC[5].RLC_CNTL", "GC[0-7].VM_INVALIDATE_ENG17_REQ"}


def test_diff_order_and_reads_count_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = saved(tmp_path, "a", *(write(C2PMSG_35, value) for value in (1, 2, 3)), read(RLC_CNTL[0], 1))
    b = saved(tmp_path, "b", *(write(C2PMSG_35, value) for value in (2, 1, 3)))
    assert call(capsys, "trace", "diff", a, b)[0] == 0
    code, out, _ = call(capsys, "trace", "diff", a, b, "--order")
    assert (code, "  order      MP0[0].MP0_SMN_C2PMSG_35" in out) == (1, True)
    code, out, _ = call(capsys, "trace", "diff", a, b, "--reads")
    assert (code, "A  only read, 1 time\n" in out) == (1, True)


def test_diff_that_cannot_tell_is_2(boot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = saved(tmp_path, "other", write(0x1234, 1))
    code, _, err = call(capsys, "trace", "diff", boot, other)
    assert (code, "a register that both of them write" in err) == (2, True)
    damaged = saved(tmp_path, "damaged", write(RLC_CNTL[0], 1), "rubbish")
    whole = saved(tmp_path, "whole", write(RLC_CNTL[0], 1))
    assert call(capsys, "trace", "diff", damaged, whole)[0] == 2
    code, body = document(capsys, "trace", "diff", damaged, whole)
    assert (code, body["same"]) == (2, False)
    different = saved(tmp_path, "different", write(RLC_CNTL[0], 2))
    assert call(capsys, "trace", "diff", damaged, different)[0] == 1


# --- record


def test_record_dry_run_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], firmware_dir: Path) -> None:
    path = tmp_path / "a.gz"
    arguments = ("--on", MI350X, "--firmware", firmware_dir, "trace", "record", "--output", path, "--dry-run")
    code, body = document(capsys, *arguments)
    assert code == 0
    (gpu,) = body["gpus"]
    assert (gpu["status"], gpu["accesses"]) == ("would be recorded", None)
    assert not path.exists()


def test_record_without_firmware_names_files_and_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a"
    code, _, err = call(capsys, "--on", MI350X, "--firmware", tmp_path, "trace", "record", "--output", path)
    assert code == 69
    assert "psp_13_0_12_sos.bin" in err
    assert "firmware-amd-graphics" in err
    assert not path.exists()


def test_record_refuses_a_file_that_is_there_and_two_gpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a"
    path.write_text("keep")
    for dry in ((), ("--dry-run",)):
        code, _, err = call(capsys, "--on", MI350X, "trace", "record", "--output", path, *dry)
        assert (code, "a file that is not there yet" in err) == (3, True)
    assert path.read_text() == "keep"
    code, _, err = call(capsys, "--on", "model:mi350x*2", "trace", "record", "--output", tmp_path / "b")
    assert (code, "choose with -g" in err) == (64, True)
    assert call(capsys, "trace", "record", "--output", tmp_path / "b")[0] == 69
    assert not (tmp_path / "b").exists()


def test_record_of_a_gpu_that_is_no_model_needs_somebody_to_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FakeSys(tmp_path)
    monkeypatch.setattr(gpumend, "SYS_ROOT", made.root)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    made.add_device("0000:c1:00.0", bars={5: FakeBar(0xE0000000, 1 << 21, MEM64_PREFETCH)})
    code, _, err = call(capsys, "trace", "record", "--output", tmp_path / "a")
    assert (code, "somebody to ask" in err, "--yes" in err) == (3, True, True)
    assert not (tmp_path / "a").exists()


def test_record_boots_and_its_trace_names_steps_blocks_and_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], firmware_dir: Path
) -> None:
    path = tmp_path / "boot.jsonl.gz"
    arguments = ("--on", MI350X, "--firmware", firmware_dir, "trace", "record", "--output", path)
    code, body = document(capsys, *arguments)
    assert code == 0
    (gpu,) = body["gpus"]
    assert (gpu["status"], gpu["start_state"]) == ("recorded, read back", "cold")
    assert {"discovery", "psp-sos", "psp-firmware", "sdma"} <= set(gpu["steps"])
    trace = gpumend.read_trace(path)
    assert trace.bases_from == "the discovery table in the trace"
    assert [event.register for event in trace.events if event.kind == "mark"] == gpu["steps"]
    assert {"GC", "MMHUB", "NBIF", "MP0", "MP1", "OSSSYS", "SDMA", "DOORBELL"} <= {
        event.place.block for event in trace.events
    }
    assert not [event for event in trace.events if event.place.block == "unnamed" and event.kind == "write"]
    assert gpu["accesses"] == sum(event.times for event in trace.events if event.kind != "mark") + trace.index_accesses
    assert call(capsys, "trace", "diff", path, path, "--order")[0] == 0


def test_record_has_as_many_accesses_as_the_documents_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], firmware_dir: Path
) -> None:
    path = tmp_path / "boot.jsonl.gz"
    assert call(capsys, "--on", MI350X, "--firmware", firmware_dir, "trace", "record", "--output", path)[0] == 0
    made = Counter[str]()
    for event in gpumend.read_trace(path).events:
        made[event.kind] += event.times
    page = (Path(__file__).resolve().parents[2] / "docs/fidelity.md").read_text()
    told = re.search(r"B is ours on `model:mi350x` \(([\d,]+): ([\d,]+) reads,\s+([\d,]+) writes", page)
    assert told is not None
    counts = [int(number.replace(",", "")) for number in told.groups()]
    assert counts == [made["read"] + made["write"], made["read"], made["write"]]


def test_record_twice_gives_the_same_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], firmware_dir: Path
) -> None:
    for name in ("a.gz", "b.gz"):
        assert (
            call(capsys, "--on", MI350X, "--firmware", firmware_dir, "trace", "record", "--output", tmp_path / name)[0]
            == 0
        )
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_record_of_a_boot_that_fails_keeps_the_trace_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], firmware_dir: Path
) -> None:
    path = tmp_path / "boot.gz"
    sick = "model:mi350x?state=cold&fault=bootloader-silent"
    code, body = document(capsys, "--on", sick, "--firmware", firmware_dir, "trace", "record", "--output", path)
    assert code in (1, 3)
    assert body["error"]["next"].endswith(f"gpumend trace show {path}")
    code, out, _ = call(capsys, "trace", "show", path)
    assert code == 0
    assert "--- discovery" in out
