"""The command line on modelled GPUs: exit codes, what is said, and what is never said."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cli
from base.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]
HIVE = "model:mi350x*8"
BAD = "model:mi350x*8?fault=discovery-clobbered@2,bootloader-silent@5"


class Ran:
    """What one command line came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def text(self) -> str:
        return self.out + self.err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[object]:
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def call(*arguments: str) -> Ran:
        code = cli.run(arguments)
        told = capsys.readouterr()
        assert "Traceback" not in told.err + told.out
        assert "has a defect" not in told.err, told.err
        return Ran(int(code), told.out, told.err)

    yield call


def test_version_is_printed(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--version")
    assert (ran.code, ran.out) == (0, "gpumend 0.1.0\n")


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
@pytest.mark.parametrize("state", ["cold", "used"])
def test_list_modelled_hive_shows_eight(run, part: str, state: str) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", f"model:{part}*8?state={state}", "list")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split()[:4] == ["gpu", "bdf", "part", "arch"]
    assert len(lines) == 9
    assert all(part.upper() in line and " ok " in line for line in lines[1:])


def test_list_lost_gpu_exits_1_and_says_lost(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", "model:mi350x*8?fault=bus-lost@3", "list")
    assert ran.code == 1
    assert [" lost " in line for line in ran.out.splitlines()[1:]] == [index == 3 for index in range(8)]


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
@pytest.mark.parametrize("state", ["cold", "used"])
def test_probe_healthy_hive_exits_0(run, part: str, state: str) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", f"model:{part}*8?state={state}", "probe")
    assert ran.code == 0, ran.text
    assert ran.out.count("  healthy  ") == 8


def test_probe_sick_hive_exits_1_and_explains(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", BAD, "probe")
    assert ran.code == 1
    for word in (
        "amd.discovery.signature",
        "amd.psp.bootloader",
        "hive-reset",
        "bus-reset",
        "expected",
        "seen",
        "where",
        "next",
    ):
        assert word in ran.out
    assert ran.out.count("  healthy  ") == 6
    assert "6 of 8 healthy, 2 hung; gravest action: bus-reset (GPU 5)" in ran.out


def test_options_work_before_and_after_the_command(run) -> None:  # type: ignore[no-untyped-def]
    before = run("--on", HIVE, "-g", "3", "list")
    after = run("list", "--on", HIVE, "--gpu", "3")
    assert before.out == after.out
    assert len(before.out.splitlines()) == 2


def test_environment_names_the_address(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GPUMEND_ON", "model:mi350x model:mi300x*2")
    ran = run("list")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == ["0", "1", "2"]


def test_select_by_index_bdf_uuid_and_list(run) -> None:  # type: ignore[no-untyped-def]
    import json

    rows = json.loads(run("--on", HIVE, "--json", "list").out)["gpus"]
    for name in (str(rows[4]["index"]), rows[4]["bdf"], rows[4]["uuid"]):
        picked = json.loads(run("--on", HIVE, "-g", name, "--json", "list").out)["gpus"]
        assert [gpu["index"] for gpu in picked] == [4]
    both = json.loads(run("--on", HIVE, "-g", "1,5", "-g", "7", "--json", "list").out)["gpus"]
    assert [gpu["index"] for gpu in both] == [1, 5, 7]


def test_list_without_any_gpu_exits_2_and_names_the_model_line(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("list")
    if ran.code == 0:
        pytest.skip("this machine has a supported GPU")
    assert ran.code == 2
    assert "MI300" in ran.err
    assert "--on 'model:mi350x*8' list" in ran.err


WRONG = [
    (("--on", "model:mi350y*8", "list"), 64, "mi350x"),
    (("--on", "model:mi350x*9", "list"), 64, "1 to 8"),
    (("--on", "model:mi350x*8?fault=nope@1", "list"), 64, "nope"),
    (("--on", "model:mi350x*8?fault=mec-hang@8", "list"), 64, "8"),
    (("--on", "nonsense", "list"), 64, "nonsense"),
    (("--on", "vfio:0000:c1", "list"), 64, "vfio:0000:c1:00.0"),
    (("--on", "vfio:0000:c1:00.0?resets=no", "list"), 64, "resets=allowed"),
    (("--on", "vfio:ffff:ff:1f.7", "list"), 69, "a PCI function at that address"),
    (("--on", HIVE, "-g", "8", "list"), 64, "0000:"),
    (("--on", HIVE, "-g", "x", "list"), 64, "index"),
    (("lst",), 64, "list"),
    (("list", "extra"), 64, "extra"),
    (("list", "--nope"), 64, "--nope"),
    ((), 64, "Usage"),
    (("discovery", "validate", "/nonexistent/file"), 69, "/nonexistent/file"),
    (("discovery", "validate", "/dev/zero"), 64, "device"),
    (("discovery", "validate", "/"), 64, "directory"),
    (("firmware", "verify", "/nonexistent"), 69, "/nonexistent"),
    (("firmware", "verify", "/dev/zero"), 64, "device"),
    (("firmware", "show", "/"), 64, "directory"),
    (("firmware", "needed", "mi999"), 64, "mi300x"),
    (("regs", "decode", "CP_HQD_ACTIV", "1"), 64, "CP_HQD_ACTIVE"),
    (("regs", "decode", "CP_HQD_ACTIVE", "zz"), 64, "zz"),
    (("regs", "decode", "CP_HQD_ACTIVE", "0x1ffffffff"), 64, "32-bit"),
    (("regs", "search", "NO_SUCH_*"), 64, "none"),
    (("--on", "model:mi350x", "regs", "read", "CP_HQD_ACTIV"), 64, "CP_HQD_ACTIVE"),
    (("--on", "model:mi350x", "regs", "read", "*"), 64, "narrower"),
    (("--on", "replay:/nonexistent", "list"), 69, "/nonexistent"),
    (("--on", "replay:/dev/zero", "list"), 64, "device"),
    (("--on", "replay:", "list"), 64, "no file"),
    (("discovery", "validate", ""), 64, "empty"),
    (("firmware", "verify", ""), 64, "empty"),
    (("trace", "show", ""), 64, "empty"),
    (("--on", HIVE, "discovery", "diff"), 64, "-g"),
    (("discovery", "diff", "a", "b", "c"), 64, "two"),
    (("bind",), 64, "DRIVER"),
    (("bind", ""), 64, "empty name"),
    (("unbind", "--limit", "nan"), 64, "limit"),
    (("--on", "model:mi350x", "regs", "read", "GRBM_STATUS[8]"), 64, "there is none"),
    (("--on", "model:mi350x", "regs", "read", "GC[99].GRBM_STATUS"), 64, "GRBM_STATUS"),
    (("--on", HIVE, "-g", "9" * 5000, "list"), 64, "selecting"),
    (("model", "demo", "--json"), 64, "person"),
    (("--on", HIVE, "-g", "", "list"), 64, "empty -g"),
    (("--on", HIVE, "-g", " , ", "probe"), 64, "empty -g"),
    (("-g", "0", "discovery", "diff", "a", "b"), 64, "-g"),
]


@pytest.mark.parametrize(("arguments", "code", "word"), WRONG, ids=[" ".join(item[0]) or "nothing" for item in WRONG])
def test_wrong_use_has_one_message_and_the_right_code(run, arguments: tuple[str, ...], code: int, word: str) -> None:  # type: ignore[no-untyped-def]
    ran = run(*arguments)
    assert ran.code == code, ran.text
    assert word in ran.text


def test_fifo_is_refused_without_waiting(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for command in (("discovery", "validate"), ("discovery", "show"), ("firmware", "verify"), ("firmware", "show")):
        ran = run(*command, str(fifo))
        assert ran.code == 64
        assert "FIFO" in ran.err


def test_empty_file_is_a_problem_and_not_a_crash(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    empty = tmp_path / "empty.bin"
    empty.write_bytes(b"")
    assert run("discovery", "validate", str(empty)).code == 1
    assert run("discovery", "show", str(empty)).code == 1
    assert run("firmware", "show", str(empty)).code == 1
    assert run("firmware", "verify", str(empty)).code == 1


def test_unreadable_file_exits_77(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"x")
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user may read everything")
    ran = run("discovery", "validate", str(secret))
    assert ran.code == 77
    assert "read permission" in ran.err


def test_file_name_with_escapes_is_printed_escaped(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    evil = tmp_path / "a\x1b[31m\x9b2J.bin"
    evil.write_bytes(b"\x00" * 100)
    for arguments in (
        ("discovery", "validate", str(evil)),
        ("discovery", "validate", str(evil) + "x"),
        ("firmware", "show", str(evil)),
    ):
        ran = run(*arguments)
        assert ran.code in (1, 69)
        assert "\x1b" not in ran.text
        assert "\x9b" not in ran.text
        assert "\\x1b[31m" in ran.text


def test_discovery_validate_clobbered_gpu_names_table_and_cause(run) -> None:  # type: ignore[no-untyped-def]
    assert run("--on", BAD, "-g", "0", "discovery", "validate").code == 0
    ran = run("--on", BAD, "-g", "2", "discovery", "validate")
    assert ran.code == 1
    assert "overwritten" in ran.out


def test_discovery_saved_copy_tells_how_many_bytes_differ(run) -> None:  # type: ignore[no-untyped-def]
    assert run("--on", HIVE, "discovery", "save", "--dry-run").code == 0
    assert "no saved copy" in run("--on", HIVE, "-g", "2", "discovery", "diff").text
    ran = run("--on", HIVE, "discovery", "save")
    assert ran.code == 0, ran.text
    assert run("--on", HIVE, "-g", "2", "discovery", "diff").code == 0
    assert "bytes differ" in run("--on", BAD, "-g", "2", "discovery", "validate").out
    assert "bytes differ" in run("--on", BAD, "-g", "2", "probe").out
    ran = run("--on", BAD, "-g", "2", "discovery", "diff")
    assert ran.code == 1
    assert "good" in ran.out


def test_discovery_save_damaged_table_is_refused(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", BAD, "-g", "2", "discovery", "save")
    assert ran.code == 1
    assert "not saved" in ran.out


def test_discovery_diff_two_gpus_shows_hex(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", BAD, "-g", "0,2", "discovery", "diff")
    assert ran.code == 1
    assert "good" in ran.out and "seen" in ran.out and "*" in ran.out
    assert run("--on", HIVE, "-g", "0,1", "discovery", "diff", "--json").code in (0, 1)


def test_regs_read_banked_queue_registers_say_which_queue(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", "model:mi350x", "regs", "read", "CP_HQD*")
    assert "GC[0].CP_HQD_ACTIVE" in ran.out
    assert "GRBM_GFX_CNTL" in ran.out
    assert "GC[7].CP_HQD_ACTIVE" in ran.out
    assert ran.code == 0


def test_regs_read_semaphores_are_not_read(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", "model:mi350x", "regs", "read", "VM_INVALIDATE_ENG17_SEM")
    assert ran.code == 2
    assert "acquires the semaphore" in ran.out


def test_regs_read_one_instance(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", "model:mi300x", "regs", "read", "GRBM_STATUS[3]")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == ["GC[3].GRBM_STATUS"]


def test_regs_read_without_a_table_says_so(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("--on", BAD, "-g", "1,2", "regs", "read", "GRBM_STATUS")
    assert ran.code == 2
    assert "looking up where the registers of GPU 2" in ran.out
    assert "GC[7].GRBM_STATUS = " in ran.out  # of GPU 1: one bad GPU does not silence the others


def test_discovery_diff_of_a_lost_gpu_is_undecided_in_every_format(run) -> None:  # type: ignore[no-untyped-def]
    import json

    where = ("--on", "model:mi350x*2?fault=bus-lost@1", "-g", "0,1", "discovery", "diff")
    assert run(*where).code == 2
    ran = run(*where, "--json")
    assert (ran.code, json.loads(ran.out)["error"]["exit"]) == (2, 2)


def test_regs_decode_shows_every_field(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("regs", "decode", "RLC_SAFE_MODE", "0x3")
    assert ran.code == 0
    assert "CMD" in ran.out and "MESSAGE" in ran.out


def test_regs_search_lists_names(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("regs", "search", "cp_hqd_act*")
    assert ran.code == 0
    assert "CP_HQD_ACTIVE" in ran.out


def test_model_list_and_faults(run) -> None:  # type: ignore[no-untyped-def]
    assert "mi300x" in run("model", "list").out
    ran = run("model", "faults")
    assert ran.code == 0
    for name in ("bus-lost", "bar-dead", "discovery-bitflip", "ras-fatal", "xgmi-link-down", "aer-correctable"):
        assert name in ran.out


def test_demo_shows_both_sick_gpus_the_bytes_and_what_next(run) -> None:  # type: ignore[no-untyped-def]
    ran = run("model", "demo")
    assert ran.code == 0
    for word in ("amd.discovery.signature", "amd.psp.bootloader", "hive-reset", "bus-reset", "Next, try"):
        assert word in ran.out
    assert "\x1b" not in ran.out


def test_csv_is_rows_with_a_header(run) -> None:  # type: ignore[no-untyped-def]
    import csv

    for arguments in (("list",), ("probe",), ("discovery", "show"), ("discovery", "validate")):
        rows = list(csv.reader(io.StringIO(run("--on", BAD, "--csv", *arguments).out)))
        assert len(rows) > 8
        assert {len(row) for row in rows} == {len(rows[0])}


def test_closed_pipe_ends_quietly_and_claims_no_health(tmp_path: Path) -> None:
    script = f"{sys.executable} -m gpumend --on {HIVE} list; echo code $? >&2"
    ran = subprocess.run(["sh", "-c", f"( {script} ) | true"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stderr in ("code 141\n", "code 0\n"), ran.stderr  # 0 only when all was written before the reader left
    ran = subprocess.run(
        ["sh", "-c", f"exec 3>&1; ( sleep 0.5; {script} ) | exec true"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stderr == "code 141\n"


def test_lost_gpu_keeps_its_saved_copy_and_says_why_it_cannot_be_found(run) -> None:  # type: ignore[no-untyped-def]
    assert run("--on", "model:mi350x", "discovery", "save").code == 0
    ran = run("--on", "model:mi350x?fault=bus-lost", "discovery", "diff")
    assert ran.code == 2
    assert "the GPU is lost" in ran.err
    assert "no saved copy" not in ran.err


def test_save_where_nothing_can_be_written_is_refused(run, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    for flags in ((), ("--dry-run",)):
        ran = run("--on", "model:mi350x", "discovery", "save", *flags)
        assert ran.code == 69
        assert "XDG_DATA_HOME" in ran.out


def test_same_address_twice_is_one_gpu(run) -> None:  # type: ignore[no-untyped-def]
    assert len(run("--on", "model:mi350x", "--on", "model:mi350x", "list").out.splitlines()) == 2


def test_show_same_file_twice_shows_each_once(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from gpumodel import open_models

    blob = open_models("mi300x")[0].read_block(0, (192 << 30) - 0x10000, 0x2800)
    path = tmp_path / "table.bin"
    path.write_bytes(blob)
    once = run("discovery", "show", str(path)).out
    assert run("discovery", "show", str(path), str(path)).out == once * 2


def test_several_files_of_which_one_is_missing_are_all_told(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from gpumodel import open_models

    path = tmp_path / "table.bin"
    path.write_bytes(open_models("mi300x")[0].read_block(0, (192 << 30) - 0x10000, 0x2800))
    ran = run("discovery", "validate", str(path), str(tmp_path / "none"))
    assert ran.code == 2
    assert f"{path}: valid" in ran.out
    assert "cannot be read" in ran.out


def test_every_known_part_has_its_firmware_listed(run) -> None:  # type: ignore[no-untyped-def]
    from amdriver.parts import PARTS

    for part in PARTS.values():
        if not part.is_vf:
            assert "gc_9_" in run("firmware", "needed", part.name.lower()).out, part.name


@pytest.mark.parametrize("how", ["option", "variable"])
def test_probe_with_a_limit_of_its_own_is_given_that(run, how: str, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    import probe.run

    limits: list[float] = []

    def probe_all(targets: object, *, limit_s: float, **_: object) -> list[object]:
        limits.append(limit_s)
        raise Unavailable("probing", seen="enough seen")

    monkeypatch.setattr(probe.run, "probe_all", probe_all)
    words = ("--timeout", "30") if how == "option" else ()
    monkeypatch.setenv("GPUMEND_PROBE_TIMEOUT", "7" if how == "option" else "30")
    assert run("--on", "model:mi350x", "probe", *words).code == 69
    assert limits == [30.0]
