"""Which instruction it is: against the assembler's own listing, which is committed, and against the tool where it is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import cli
from gpumodel.isa import disassemble
from gpumodel.isa.decode import TARGETS, Row, UnknownEncoding, decode, rows
from tests import isa_code
from tools import get_llvm

BOTH = pytest.mark.parametrize("target", TARGETS)
# By llvm-mc -triple=amdgcn -mcpu=gfx942 -show-encoding (LLVM 22.1.8), gfx950 alike.
LISTING = """
c0060100 00000000 | s_load_dwordx2 s[4:5], s[0:1], 0x0
c0020081 00000010 | s_load_dword s2, s[2:3], 0x10
24000082 | v_lshlrev_b32_e32 v0, 2, v0
7e0202ff 40490fdb | v_mov_b32_e32 v1, 0x40490fdb
d3b04002 14220d04 | v_pk_fma_f32 v[2:3], v[4:5], v[6:7], v[8:9] op_sel_hi:[0,1,1]
d3cd8000 02020902 | v_mfma_f32_16x16x16_f16 a[0:3], v[2:3], v[4:5], 0
d0440102 40020501 | v_cmp_gt_f32_e64 s[2:3], |v1|, -v2
dc708010 00040100 | global_store_dword v0, v1, s[4:5] offset:16
dc5c8000 047f0002 | global_load_dwordx4 v[4:7], v[2:3], off
d89a0008 00000200 | ds_write_b64 v0, v[2:3] offset:8
d2800000 40020902 | v_add_f64 v[0:1], v[2:3], -v[4:5]
bf8c0f70 | s_waitcnt vmcnt(0)
bf810000 | s_endpgm
beea206a | s_and_saveexec_b64 vcc, vcc
"""


def words_of(text: str) -> bytes:
    return b"".join(int(word, 16).to_bytes(4, "little") for word in re.findall("[0-9a-f]{8}", text))


@BOTH
@pytest.mark.parametrize("line", LISTING.strip().splitlines())
def test_instruction_reads_as_the_assembler_writes_it(target: str, line: str) -> None:
    code, _, text = line.partition(" | ")
    data = words_of(code)
    (got,) = disassemble.lines(target, disassemble.Section("", 0, data, {}))
    assert (got.text, len(got.data)) == (text, len(data))


@BOTH
def test_every_encoding_of_the_table_is_found_again(target: str) -> None:
    table = list(rows(target))
    assert len(table) > 3000
    for row in table:
        found = decode(target, row.value)
        assert (found.name, found.encoding) == (row.name, row.encoding)


def test_targets_differ_where_they_should() -> None:
    names = {target: {row.name for row in rows(target)} for target in TARGETS}
    assert names["gfx942"] - names["gfx950"] == {"v_mfma_f32_16x16x8_xf32", "v_mfma_f32_32x32x4_xf32"}
    assert {"v_bitop3_b32", "v_prng_b32", "v_mfma_scale_f32_16x16x128_f8f6f4"} <= names["gfx950"] - names["gfx942"]


@BOTH
@pytest.mark.parametrize("word", [0xFFFFFFFF, 0xFC000000, 0xBFFF0000])
def test_word_that_is_none_says_so(target: str, word: int) -> None:
    with pytest.raises(UnknownEncoding, match=f"{word:#010x} begins no instruction of {target}"):
        decode(target, word)


def test_literal_counts_as_part_of_its_instruction() -> None:
    literal = decode("gfx942", 0x40490FDB_7E0202FF)
    assert (literal.size, literal.literal) == (8, 0x40490FDB)
    assert (decode("gfx942", 0x40490FDB_7E020280).size, decode("gfx942", 0xBE8000FF_BE8000FF).literal) == (
        4,
        0xBE8000FF,
    )


# ---- the command


def code_object(target: str) -> bytes:
    """An ELF file around the kernel `add`, of the machine that its target has."""
    text = isa_code.code("add", target)
    names = b"\0.text\0.shstrtab\0add\0"
    symbols = bytes(24) + disassemble._SYM.pack(names.index(b"add"), 0x12, 0, 1, 0, len(text))
    at = 64
    places = {"text": at, "names": at + len(text), "symbols": at + len(text) + len(names)}
    headers = b"".join(
        (
            bytes(64),
            disassemble._SHDR.pack(names.index(b".text"), 1, 6, 0, places["text"], len(text), 0, 0, 256, 0),
            disassemble._SHDR.pack(names.index(b".shstrtab"), 3, 0, 0, places["names"], len(names), 0, 0, 1, 0),
            disassemble._SHDR.pack(0, 2, 0, 0, places["symbols"], len(symbols), 2, 1, 8, 24),
        )
    )
    ident = b"\x7fELF\x02\x01\x01\x40".ljust(16, b"\0")
    flags = 0x500 | {name: mach for mach, name in disassemble.MACHINES.items()}[target]
    table = places["symbols"] + len(symbols)
    header = disassemble._EHDR.pack(ident, 1, 224, 1, 0, 0, table, flags, 64, 0, 0, 64, 4, 2)
    return header + text + names + symbols + headers


@BOTH
def test_code_object_names_its_target_and_its_kernels(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "add.co"
    file.write_bytes(code_object(target))
    assert cli.run(["isa", "disassemble", str(file)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f".text, {target}", "add:"]
    assert told[-1].split() == ["40", "bf810000", "s_endpgm"]
    assert any("global_store_dword v1, v2, s[4:5]" in line for line in told)


def test_bytes_without_a_header_need_a_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "code.bin"
    file.write_bytes(isa_code.code("add", "gfx950"))
    assert cli.run(["isa", "disassemble", str(file)]) == 64
    assert "a target: gfx942 or gfx950" in capsys.readouterr().err
    assert cli.run(["isa", "disassemble", str(file), "--target", "gfx950"]) == 0


def test_what_is_no_code_is_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "code.bin"
    file.write_bytes(bytes.fromhex("000081bf ffffffff 0000"))
    assert cli.run(["isa", "disassemble", str(file), "--target", "gfx942"]) == 1
    assert capsys.readouterr().out.count("no instruction") == 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "an empty file"),
        (b"\x7fELF\x02\x01\x01".ljust(64, b"\0"), "an ELF file for machine 0"),
        (b"\x7fELF", "an ELF file that is damaged"),
    ],
)
def test_file_without_code_is_refused(
    data: bytes, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    assert cli.run(["isa", "disassemble", str(file), "--target", "gfx942"]) == 1
    assert why in capsys.readouterr().err


# ---- the tool itself


def _names_by_tool(target: str, table: list[Row]) -> dict[int, str]:
    """What llvm-mc makes of each encoding with all operands 0. One that it cannot read ends it, so they go in pieces."""
    tool = get_llvm.tool("llvm-mc")
    assert tool is not None
    found: dict[int, str] = {}
    left = [table]
    while left:
        part = left.pop()
        lines = (" ".join(f"{byte:#04x}" for byte in row.value.to_bytes(row.size, "little")) for row in part)
        done = subprocess.run(
            [str(tool), "-disassemble", "-triple=amdgcn", f"-mcpu={target}"],
            input="\n".join(lines),
            text=True,
            env=get_llvm.environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        shown = [
            line.split()[0] for line in done.stdout.splitlines() if line.strip() and not line.strip().startswith(".")
        ]
        if len(shown) == len(part):
            found.update(zip((row.value for row in part), shown, strict=True))
        elif len(part) > 1:
            left += [part[: len(part) // 2], part[len(part) // 2 :]]
    return found


@pytest.mark.long
@BOTH
def test_every_encoding_has_the_name_that_llvm_gives_it(target: str) -> None:
    if get_llvm.tool("llvm-mc") is None:
        pytest.skip("tools/get_llvm.py was not run")
    table = list(rows(target))
    names = _names_by_tool(target, table)
    assert len(names) > 0.99 * len({row.value for row in table})
    for row in table:
        if row.value in names:
            found = decode(target, row.value)
            base = re.sub("_(e32|e64|sdwa|dpp)$", "", names[row.value])
            assert base == found.name
            assert names[row.value] in (base, f"{base}_{found.encoding}")


@BOTH
def test_committed_code_is_what_the_assembler_makes(target: str) -> None:
    try:
        made = {name: isa_code.assemble(source, target) for name, source in isa_code.SOURCES.items()}
    except FileNotFoundError as missing:
        pytest.skip(f"no assembler to compare with (make llvm): {missing}")
    assert made == {name: isa_code.code(name, target) for name in made}
