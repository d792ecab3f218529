"""NVIDIA's GSP firmware: real files where they are at hand, small ones written here from the kernel's structures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from firmware import nvidia
from firmware.containers import parse
from firmware.model import FirmwareFile
from firmware.verify import check, verify_path

PLACES = (Path(__file__).resolve().parents[2] / ".cache/firmware-nvidia/nvidia", Path("/lib/firmware/nvidia"))
ENTRIES = {
    "gh100/gsp/fmc-570.144.bin": {"hash": 0x30, "signature": 0x180, "publickey": 0x180, "image": 0x28648},
    "gb202/gsp/fmc-570.144.bin": {"hash": 0x30, "signature": 0x60, "publickey": 0x61, "image": 0x30A48},
    "gh100/gsp/bootloader-570.144.bin": {"manifest": 0xA00, "monitor-data": 0xA700, "monitor-code": 0x1D500},
    "ad102/gsp/booter_load-570.144.bin": {"signatures": 0x300, "os-code": 0x100, "app-code": 0x7D00, "data": 0x6000},
}


@pytest.fixture(scope="session")
def nvidia_dir() -> Path:
    for place in PLACES:
        if (place / "gh100/gsp").is_dir():
            return place
    pytest.skip(f"no NVIDIA firmware in {', '.join(map(str, PLACES))}: make firmware-nvidia brings it")


# --- files written from the structures


def elf(wide: bool, sections: Sequence[tuple[str, bytes, int]]) -> bytes:
    """An ELF file as a linker writes it: bytes of the sections, then names, then the table. Each: name, bytes, sh_info."""
    header, row = (0x40, 0x40) if wide else (0x34, 0x28)
    names = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in sections) + b".shstrtab\0"
    body, rows, name_at = bytearray(header), [bytes(row)], 1
    for name, data, info in [*sections, (".shstrtab", names, 0)]:
        place = (name_at, 3 if name == ".shstrtab" else 1, 0, 0, len(body), len(data), 0, info, 1, 0)
        rows.append(struct.pack("<IIQQQQIIQQ" if wide else "<10I", *place))
        body += data
        name_at += len(name) + 1
    table = len(body)
    body[:16] = b"\x7fELF" + bytes((2 if wide else 1, 1, 1)) + bytes(9)
    shape = "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH"
    struct.pack_into(shape, body, 16, 1, 243, 1, 0, 0, table, 0, header, 0, 0, row, len(rows), len(rows) - 1)
    return bytes(body) + b"".join(rows)


def gsp(version: bytes = b"570.144\0", **signatures: int) -> bytes:
    signed = signatures or {"gh100": 0x1000, "ad10x": 0x1000}
    rows = [(".fwimage", b"image" * 100, 0), (".fwversion", version, 0)]
    return elf(True, [*rows, *((f".fwsignature_{name}", bytes(size), 0) for name, size in signed.items())])


def fmc(image: bytes = b"riscv" * 50, *, wrong: str = "", key: int = 0x180) -> bytes:
    parts = {"hash": bytes(0x30), "signature": b"s" * 0x180, "publickey": b"k" * key, "image": image}
    sums = {name: zlib.crc32(data) ^ (name == wrong) for name, data in parts.items()}
    return elf(False, [(name, data, sums[name]) for name, data in parts.items()])


def wrapped(header: bytes, data: bytes, /, **changes: int) -> bytes:
    """`changes`: fields of the wrapper that are not as they should be."""
    size = 0x18 + len(header) + len(data)
    told = {"magic": 0x10DE, "version": 1, "size": -(-size // 0x100) * 0x100, "header": 0x18}
    told |= {"data": 0x18 + len(header), "data_size": len(data)} | changes
    return struct.pack("<6I", *told.values()) + header + data


def booter(count: int = 2, apps: int = 1) -> bytes:
    """Signed code: header, signatures, three words that it points to, the load header; then code and data."""
    first = 0x18 + 36
    words = first + count * 384
    load = words + 4 + 4 + 12 + 4
    header = struct.pack("<9I", first, count * 384, words, words + 4, words + 8, 12, words + 20, load, 36)
    header += bytes(count * 384) + bytes(20) + struct.pack("<I", count)
    header += struct.pack("<9I", 0, 0x100, 0x300, 0x80, apps, 0x100, 0x200, 0, 0)
    return wrapped(header, bytes(0x380))


def loader(version: int = 5, words: int = 21) -> bytes:
    fields = [version, 0x300, 0x80, 0x380, 0x10, 0, 0, 0x77, 0, 0x100, 0x100, 0x100, 0x200, 0x100, *[0] * 7]
    return wrapped(struct.pack(f"<{words}I", *fields[:words]), bytes(0x400))


def codes(file: FirmwareFile) -> list[str]:
    return [finding.code.removeprefix("nv.firmware.") for finding in file.findings]


GOOD = {
    "gsp-570.144.bin": gsp(),
    "fmc-570.144.bin": fmc(),
    "booter_load-570.144.bin": booter(),
    "scrubber-570.144.bin": booter(1),
    "bootloader-570.144.bin": loader(),
    "gen_bootloader-570.144.bin": wrapped(struct.pack("<6I", 0xFD, 0, 0, 0x200, 0x200, 0x100), bytes(0x300)),
}


@pytest.mark.parametrize("name", GOOD)
def test_parse_whole_file_has_no_finding(name: str) -> None:
    file = parse(GOOD[name], name)
    assert (file.ok, file.findings) == (True, ())
    assert file.entries and all(0 < entry.end <= file.size_bytes for entry in file.entries)


def test_parse_gsp_image_names_its_version_and_the_chips_that_it_is_signed_for() -> None:
    file = parse(GOOD["gsp-570.144.bin"], "gsp-570.144.bin")
    assert file.told_version == "570.144"
    assert [entry.set for entry in file.entries if entry.name == "signature"] == ["gh100", "ad10x"]
    assert file.payload(file.entries[0]) == b"image" * 100


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("gsp-570.144.bin", gsp(b"535.113.01\0"), "version", "535.113.01"),
        ("gsp-570.144.bin", gsp(b"x" * 8), "version", "none"),
        ("gsp-570.144.bin", gsp(gh100=0x800), "size", "gh100"),
        ("gsp-570.144.bin", elf(True, [(".fwimage", b"i", 0), (".fwversion", b"570.144\0", 0)]), "header", "signature"),
        ("gsp-570.144.bin", elf(True, [(".fwversion", b"570.144\0", 0)]), "header", "no section .fwimage"),
        ("gsp-570.144.bin", fmc(), "header", "another kind of ELF"),
        ("gsp-570.144.bin", b"", "header", "not an ELF"),
        ("fmc-570.144.bin", fmc(wrong="image"), "crc", "image has another CRC-32"),
        ("fmc-570.144.bin", fmc(wrong="hash"), "crc", "hash has another CRC-32"),
        ("fmc-570.144.bin", fmc(key=0x61), "size", "other sizes"),
        ("fmc-570.144.bin", elf(False, [("hash", bytes(0x30), 0)]), "header", "no section signature, publickey, image"),
        ("fmc-570.144.bin", GOOD["fmc-570.144.bin"][:-1], "bounds", "section table"),
        ("booter_load-570.144.bin", b"\xde\x10", "size", "shorter than its header"),
        ("booter_load-570.144.bin", GOOD["booter_load-570.144.bin"][:-1], "bounds", "the data lies outside"),
        ("booter_load-570.144.bin", GOOD["booter_load-570.144.bin"] + b"x", "size", "another length"),
        ("bootloader-570.144.bin", loader(6), "header", "description that is not known"),
        ("bootloader-570.144.bin", loader(4), "header", "description that is not known"),
        ("bootloader-570.144.bin", wrapped(bytes(84), bytes(16), magic=0x10DF), "header", "not NVIDIA's wrapper"),
        ("bootloader-570.144.bin", wrapped(bytes(84), bytes(16), header=0x60), "bounds", "the inner header"),
        ("bootloader-570.144.bin", wrapped(bytes(84), bytes(16), size=0x80), "header", "total size"),
        ("gen_bootloader-570.144.bin", wrapped(struct.pack("<6I", 0, 0, 0, 9, 4, 5), bytes(9)), "overlap", "overlap"),
    ],
)
def test_parse_broken_file_says_what_is_wrong(name: str, data: bytes, code: str, words: str) -> None:
    file = parse(data, name)
    assert not file.ok
    assert code in codes(file), file.findings
    assert any(words in finding.summary + finding.seen for finding in file.findings), file.findings
    assert all(finding.next for finding in file.findings)


def test_parse_bootloader_of_version_4_has_two_words_less() -> None:
    assert parse(loader(4, 19), "bootloader-570.144.bin").ok


def test_parse_signatures_that_do_not_fill_their_place_are_an_error() -> None:
    data = bytearray(booter(2))
    struct.pack_into("<I", data, 0x18 + 36 + 2 * 384 + 20, 5)
    assert "header" in codes(parse(bytes(data), "booter_load-570.144.bin"))


@pytest.mark.parametrize("data", [GOOD["fmc-570.144.bin"], GOOD["bootloader-570.144.bin"]])
def test_parse_container_of_a_name_that_tells_nothing_is_a_note(data: bytes) -> None:
    file = parse(data, "something.bin")
    assert (file.ok, codes(file), file.kind) == (True, ["kind"], "unknown")


@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_parse_any_damage_never_raises_and_hands_out_nothing_beyond_the_file(
    name: str, changes: list[tuple[int, int]], more: st.DataObject
) -> None:
    data = bytearray(GOOD[name])
    for place, value in changes:
        data[place % 0x200 % len(data)] = value
    file = parse(bytes(data[: more.draw(st.integers(0, len(data)))]), name)
    assert all(entry.end <= file.size_bytes for entry in file.entries)
    assert all(finding.summary and finding.code.startswith("nv.firmware.") for finding in file.findings)


# --- the folder and the command


def test_verify_folder_reads_shared_files_once_and_names_each_chip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for chip in ("ga102", "gh100"):
        (tmp_path / chip / "gsp").mkdir(parents=True)
    (tmp_path / "ga102/gsp/gsp-570.144.bin").write_bytes(GOOD["gsp-570.144.bin"])
    (tmp_path / "gh100/gsp/gsp-570.144.bin").symlink_to("../../ga102/gsp/gsp-570.144.bin")
    (tmp_path / "gh100/gsp/bootloader-570.144.bin").symlink_to("nowhere")
    (tmp_path / "gh100/gsp/fmc-570.144.bin").write_bytes(fmc(wrong="image"))
    rows = {row.file: (str(row.status), row.version) for row in verify_path(tmp_path).rows}
    assert rows == {
        "ga102/gsp/gsp-570.144.bin": ("ok", "570.144"),
        "gh100/gsp/gsp-570.144.bin": ("ok", "570.144"),
        "gh100/gsp/bootloader-570.144.bin": ("missing", "-"),
        "gh100/gsp/fmc-570.144.bin": ("problem", "-"),
    }
    assert cli.run(["firmware", "verify", str(tmp_path)]) == 1
    assert "image has another CRC-32" in capsys.readouterr().out
    assert cli.run(["firmware", "show", str(tmp_path / "ga102/gsp/gsp-570.144.bin")]) == 0
    assert "version 570.144" in capsys.readouterr().out


# --- NVIDIA's own bytes


@pytest.mark.parametrize("path", ENTRIES)
def test_real_file_has_the_entries_that_the_fact_sheet_lists(nvidia_dir: Path, path: str) -> None:
    data = (nvidia_dir / path).read_bytes()
    file = parse(data, path.rpartition("/")[2])
    assert (file.ok, file.findings) == (True, ())
    assert {entry.name: entry.size for entry in file.entries} == ENTRIES[path]


def test_every_real_file_is_whole_and_known_or_newer(nvidia_dir: Path) -> None:
    report = verify_path(nvidia_dir)
    assert len(report.rows) >= 10
    assert [row for row in report.rows if row.status != "ok"] == []


def test_real_fmc_with_any_of_some_bits_flipped_is_a_problem_or_unknown(nvidia_dir: Path) -> None:
    """Its sections have sums, the file's table has none: there the digest tells that the file is not the known one."""
    data = (nvidia_dir / "gh100/gsp/fmc-570.144.bin").read_bytes()
    for place in range(0, len(data), 397):
        changed = bytearray(data)
        changed[place] ^= 1
        row = check(bytes(changed), "fmc-570.144.bin")
        assert row.status == "problem" or row.pinned is False, hex(place)


def test_kind_of_tells_names_apart() -> None:
    known = {
        "gsp_ga10x.bin": "gsp",
        "booter_unload-535.113.01.bin.zst": "booter",
        "bootloader-570.144.bin": "gsp-bootloader",
    }
    assert {name: nvidia.kind_of(name) for name in known} == known
    assert nvidia.kind_of("psp_13_0_6_sos.bin") == "unknown"
