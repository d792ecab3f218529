"""`verify_path`: one row per file that the chips need, and what makes the whole a problem."""

from __future__ import annotations

import errno
import json
import lzma
import os
from pathlib import Path

import pytest

from base.errors import NotPermitted, Unavailable, UsageError
from firmware import store
from firmware.needed import ALL_NAMES, needed
from firmware.verify import Status, VerifyReport, VerifyRow, check, verify_path
from tests.firmware_files import SOS_TYPES, chip_folder, container, mec, packed, smu, vcn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in chip_folder().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "navi10_mec.bin").write_bytes(b"x")
    (tmp_path / "README").write_text("hello")
    return tmp_path


def row(report: VerifyReport, name: str) -> VerifyRow:
    (found,) = [row for row in report.rows if row.file == name]
    return found


def test_verify_folder_of_one_chip_is_ok(folder: Path) -> None:
    report = verify_path(folder)
    assert report.ok and not report.undecided
    assert {item.file for item in report.rows} == ALL_NAMES
    assert report.not_examined == 2
    present = [item.file for item in report.rows if item.status == Status.OK]
    assert sorted(present) == sorted(chip_folder())
    assert {item.status for item in report.rows} == {Status.OK, Status.ABSENT}


def test_verify_folder_rows_tell_version_and_note(folder: Path) -> None:
    report = verify_path(folder)
    sos_row = row(report, "psp_13_0_6_sos.bin")
    assert sos_row.version == "0x00360260 (aux 0x0036024e)"
    assert sos_row.note == "CRC verified (rule A); newer or unknown (not pinned)"
    assert row(report, "vcn_4_0_3.bin").note.startswith("CRC verified (rule B)")
    assert row(report, "smu_13_0_6.bin").note.startswith("no CRC defined")
    assert row(report, "smu_13_0_6.bin").version == "P2SA 0x00070001, P2SX 0x00070002, P2S3 0x00070003"
    assert row(report, "psp_13_0_6_ta.bin").version == "XGMI 0x20000014, RAS 0x20000014, XGMI_AUX 0x20000014"
    assert "only a virtualised GPU's guest" in row(report, "gc_9_4_3_sjt_mec.bin").note
    assert row(report, "gc_9_5_0_mec.bin").note == "no file of GC 9.5.0 is here"


@pytest.mark.parametrize("name", sorted(set(chip_folder()) - {"smu_13_0_6.bin"}))
def test_verify_folder_with_one_flipped_byte_is_a_problem(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) * 3 // 4] ^= 0x10
    (folder / name).write_bytes(data)
    report = verify_path(folder)
    assert not report.ok
    assert [item.file for item in report.rows if item.status == Status.PROBLEM] == [name]
    assert "the checksum does not match" in row(report, name).note
    assert row(report, name).findings[0].code == "amd.firmware.crc"


def test_verify_folder_counts_further_findings(folder: Path) -> None:
    (folder / "gc_9_4_3_mec.bin").write_bytes(mec()[:0x300])
    assert "more)" in row(verify_path(folder), "gc_9_4_3_mec.bin").note


def test_verify_folder_with_a_needed_file_missing_is_a_problem(folder: Path) -> None:
    (folder / "sdma_4_4_2.bin").unlink()
    report = verify_path(folder)
    assert not report.ok
    missing = row(report, "sdma_4_4_2.bin")
    assert (missing.status, missing.version) == (Status.MISSING, "-")
    assert missing.note == "GC 9.4.3 needs it; other files of that chip are here"


def test_verify_folder_shared_file_missing_for_one_chip_is_a_problem(folder: Path) -> None:
    (folder / "vcn_4_0_3.bin").unlink()
    for file in needed("9.4.3"):
        (folder / file.name).unlink(missing_ok=True)
    (folder / "sdma_4_4_5.bin").write_bytes(chip_folder()["sdma_4_4_2.bin"])
    assert row(verify_path(folder), "vcn_4_0_3.bin").status == Status.MISSING


def test_verify_folder_with_only_the_shared_file_does_not_ask_for_the_rest(tmp_path: Path) -> None:
    (tmp_path / "vcn_4_0_3.bin").write_bytes(vcn())
    report = verify_path(tmp_path)
    assert report.ok
    assert [item.file for item in report.rows if item.status != Status.ABSENT] == ["vcn_4_0_3.bin"]


@pytest.mark.parametrize("names", [[], ["README"], ["navi10_mec.bin", "x"]])
def test_verify_folder_without_any_needed_file_is_a_problem(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    report = verify_path(tmp_path)
    assert not report.ok
    assert (report.rows, report.not_examined) == ((), len(names))
    (finding,) = report.findings
    assert finding.code == "amd.firmware.missing"
    assert "firmware-amd-graphics" in finding.next
    assert finding.seen == (f"{len(names)} other names" if names else "an empty folder")


def test_verify_folder_above_amdgpu_descends(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    above = tmp_path_factory.mktemp("lib")
    (above / "amdgpu").symlink_to(folder)
    report = verify_path(above)
    assert report.ok and report.path == str(above / "amdgpu")


def test_verify_folder_takes_packed_files(folder: Path) -> None:
    name = "gc_9_4_3_rlc.bin"
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / f"{name}.xz").write_bytes(lzma.compress(data))
    assert row(verify_path(folder), name).status == Status.OK


def test_verify_folder_with_damaged_archive_is_a_problem(folder: Path) -> None:
    name = "gc_9_4_3_rlc.bin"
    (folder / name).unlink()
    (folder / f"{name}.xz").write_bytes(b"junk")
    report = verify_path(folder)
    assert not report.ok
    assert "cannot be unpacked" in row(report, name).note


def test_verify_folder_with_a_link_to_nowhere_is_missing(folder: Path) -> None:
    (folder / "sdma_4_4_2.bin").unlink()
    (folder / "sdma_4_4_2.bin").symlink_to("gone.bin")
    report = verify_path(folder)
    assert not report.ok
    assert row(report, "sdma_4_4_2.bin").note == "a link that leads nowhere"


@pytest.mark.parametrize(("make", "word"), [(Path.mkdir, "a directory"), (os.mkfifo, "a FIFO (named pipe)")])
def test_verify_folder_with_something_else_under_a_needed_name_is_a_problem(folder: Path, make, word: str) -> None:  # type: ignore[no-untyped-def]
    (folder / "sdma_4_4_2.bin").unlink()
    make(folder / "sdma_4_4_2.bin")
    report = verify_path(folder)
    assert row(report, "sdma_4_4_2.bin").status == Status.PROBLEM
    assert row(report, "sdma_4_4_2.bin").note == f"{word} where a regular file should be"


def test_verify_folder_with_an_unreadable_file_is_undecided(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.read

    def refuse(path: Path) -> bytes:
        if path.name == "sdma_4_4_2.bin":
            raise NotPermitted("reading", expected="read permission", seen="Permission denied")
        return real(path)

    monkeypatch.setattr(store, "read", refuse)
    report = verify_path(folder)
    assert report.ok and report.undecided
    assert row(report, "sdma_4_4_2.bin").status == Status.UNKNOWN
    assert "not read: Permission denied" in row(report, "sdma_4_4_2.bin").note


def test_verify_folder_file_that_vanishes_is_unknown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: Path) -> bytes:
        raise Unavailable("reading", expected="a file", seen="No such file or directory")

    monkeypatch.setattr(store, "read", gone)
    assert verify_path(folder).undecided


def test_verify_path_that_is_not_there_is_69(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="verifying"):
        verify_path(tmp_path / "nothing")


def test_verify_path_without_permission_is_77(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **words: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(NotPermitted):
        verify_path(tmp_path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_verify_path_of_a_device_is_64(path: str) -> None:
    with pytest.raises(UsageError, match="a character device"):
        verify_path(path)


def test_verify_path_of_one_file_is_one_row(folder: Path) -> None:
    report = verify_path(folder / "sdma_4_4_2.bin")
    assert report.ok
    assert [item.file for item in report.rows] == ["sdma_4_4_2.bin"]


def test_verify_path_of_an_empty_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "sdma_4_4_2.bin").touch()
    report = verify_path(tmp_path / "sdma_4_4_2.bin")
    assert not report.ok
    assert "the file is empty" in report.rows[0].note


def test_verify_path_of_a_damaged_archive_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "sdma_4_4_2.bin.xz").write_bytes(b"junk")
    report = verify_path(tmp_path / "sdma_4_4_2.bin.xz")
    assert not report.ok
    assert report.rows[0].file == "sdma_4_4_2.bin"


def test_verify_path_of_another_chips_file_is_examined_when_named(tmp_path: Path) -> None:
    (tmp_path / "hawaii_smc.bin").write_bytes(container((1, 0), [0], b"x" * 0x200, rule=""))
    report = verify_path(tmp_path / "hawaii_smc.bin")
    assert report.ok
    assert report.rows[0].note == "CRC rule not known"


@pytest.mark.parametrize("name", ["renoir_ip_discovery.bin", "something.bin"])
def test_verify_path_of_an_unknown_kind_is_undecided(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(vcn())
    report = verify_path(tmp_path / name)
    assert report.ok and report.undecided


def test_check_unknown_component_is_a_warning_in_the_note() -> None:
    entries = [(kind, 0x36, 0x400) for kind in (*SOS_TYPES, 13)]
    found = check(packed(entries, ucode_version=0x36), "psp_13_0_12_sos.bin")
    assert (found.status, found.pinned, len(found.sha256)) == (Status.OK, False, 64)
    assert "component of an unknown type; the kernel skips it: seen 13" in found.note


def test_check_newer_smu_file_stays_ok() -> None:
    assert check(smu(), "smu_13_0_6.bin").status == Status.OK


def test_report_to_dict_is_plain_json(folder: Path) -> None:
    told = json.loads(json.dumps(verify_path(folder).to_dict()))
    assert told["ok"] is True and told["undecided"] is False
    assert len(told["rows"]) == 22 and told["not_examined"] == 2
    assert {"file", "kind", "version", "status", "note", "sha256", "pinned", "findings"} == set(told["rows"][0])


def test_verify_real_folder_is_ok_and_known(firmware_dir: Path) -> None:
    report = verify_path(firmware_dir)
    assert report.ok and not report.undecided, [item for item in report.rows if item.status == Status.PROBLEM]
    assert len(report.rows) == 22
    for item in report.rows:
        if item.pinned:
            assert item.note in (
                "CRC verified (rule A); known file",
                "CRC verified (rule B); known file",
                "no CRC defined; known file",
            )


@pytest.mark.parametrize("name", sorted(ALL_NAMES))
def test_verify_real_folder_with_one_flipped_byte_is_a_problem(firmware_dir: Path, tmp_path: Path, name: str) -> None:
    source = firmware_dir / name
    if name.startswith("smu_") and not check(source.read_bytes(), name).pinned:
        pytest.skip(f"{name} has no checksum rule and is not pinned")
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    assert not verify_path(tmp_path / name).ok


def test_verify_note_of_changed_copy_names_both_digests(firmware_dir: Path) -> None:
    name = "psp_13_0_6_ta.bin"
    data = bytearray((firmware_dir / name).read_bytes())
    if not check(bytes(data), name).pinned:
        pytest.skip(f"{name} is another version than the pinned one")
    data[0x10] ^= 1
    found = check(bytes(data), name)
    assert found.status == Status.PROBLEM
    assert "a changed copy of a known file" in found.note and "712567e725c1704a" in found.note
    assert found.findings[-1].next.startswith("reinstall")
