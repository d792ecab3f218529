"""amdriver/discovery.py on AMD's own files: what they hold, and every single bit of them flipped."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from amdriver.discovery import IpMap, validate
from base.findings import Severity

# amd-discovery.md section 8: size, binary checksum, IPs, GC table, harvest offset, first 16 of sha256.
FILES = {
    "aldebaran": (732, 0x3814, 22, None, 0x254, "0634acf566946df7"),
    "arcturus": (936, 0x4A70, 29, 0x2D0, 0x320, "7a6c5236bfa65be8"),
    "picasso": (628, 0x1B15, 20, 0x19C, 0x1EC, "b783460daf796f3a"),
    "raven": (628, 0x1B15, 20, 0x19C, 0x1EC, "b783460daf796f3a"),
    "raven2": (628, 0x1B2B, 20, 0x19C, 0x1EC, "3686618ca031c428"),
    "vega10": (656, 0x1BA3, 22, 0x1B8, 0x208, "f1b1f7d1d08adf3c"),
    "vega12": (656, 0x1C9E, 22, 0x1B8, 0x208, "dfbeed33284b175b"),
    "vega20": (564, 0x1A39, 19, None, 0x1AC, "9b473431322ba062"),
}
# The same section: IP, instance, version, bases of aldebaran.
ALDEBARAN = """
ATHUB 0 9.4.2 C20 2408C00 | NBIF 0 7.4.4 0 14 D20 10400 241B000 4040000 | DF 0 3.6.2 7000 240B800 7C00000
GC 0 9.4.2 2000 A000 2402C00 | HDP 0 4.4.0 F20 240A400 | MMHUB 0 9.4.2 1A000 2408800
MP0 0 13.0.2 16000 DC0000 E00000 E40000 243FC00 | MP1 0 13.0.2 16000 DC0000 E00000 E40000 243FC00
OSSSYS 0 4.4.0 10A0 240A000 | SDMA0 0 4.4.0 1260 12540 40A800 | SDMA0 1 4.4.0 1860 12560 40AC00
SDMA0 2 4.4.0 13760 1E000 42EC00 | SDMA0 3 4.4.0 13780 1E400 42F000 | SDMA0 4 4.4.0 137A0 1E800 42F400
SMUIO 0 13.0.2 16800 16A00 2401000 3440000 | THM 0 13.0.2 16600 2400C00 | UMC 0 6.7.0 14000 54000 2425800
UMC 1 6.7.0 94000 D4000 2425C00 | UMC 2 6.7.0 114000 154000 2426000 | UMC 3 6.7.0 194000 1D4000 2426400
UVD 0 2.6.0 7800 7E00 2403000 | UVD 1 2.6.0 7A00 9000 2445000
"""


def _blob(folder: Path, name: str) -> bytes:
    file = folder / f"{name}_ip_discovery.bin"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    blob = file.read_bytes()
    if not hashlib.sha256(blob).hexdigest().startswith(FILES[name][5]):
        pytest.skip(f"{file} is another release than the one that the fact sheet decodes")
    return blob


def _map(blob: bytes) -> IpMap:
    validation = validate(blob)
    assert validation.ip_map is not None
    return validation.ip_map


@pytest.mark.parametrize("name", FILES)
def test_discovery_real_file_is_valid_and_as_decoded_in_the_sheet(firmware_dir: Path, name: str) -> None:
    size, checksum, ips, gc_at, harvest_at, _ = FILES[name]
    validation = validate(_blob(firmware_dir, name))
    assert validation.findings == ()
    assert validation.ok
    assert validation.header is not None
    assert (validation.header.size_bytes, validation.header.checksum) == (size, checksum)
    offsets = {table.name: table.offset for table in validation.tables}
    expected = {"IP discovery table": 0x3C, "harvest table": harvest_at} | ({"GC table": gc_at} if gc_at else {})
    assert offsets == expected
    assert validation.ip_map is not None
    assert len(validation.ip_map.instances) == ips
    assert validation.ip_map.harvested == ()


def test_discovery_real_aldebaran_has_every_ip_of_the_sheet(firmware_dir: Path) -> None:
    expected = set()
    for row in ALDEBARAN.replace("\n", "|").split("|"):
        if row.strip():
            name, instance, version, *bases = row.split()
            expected.add((name, int(instance), version, tuple(int(base, 16) for base in bases)))
    instances = _map(_blob(firmware_dir, "aldebaran")).instances
    assert {(ip.name, ip.instance, ip.version_text, ip.bases) for ip in instances} == expected


def test_discovery_real_arcturus_gc_configuration_and_sdma(firmware_dir: Path) -> None:
    ip_map = _map(_blob(firmware_dir, "arcturus"))
    assert ip_map.gc is not None
    words = (8, 16, 1, 8, 16, 256, 32, 32, 1792, 2048, 1, 64, 10, 32, 64, 0, 0)
    assert tuple(ip_map.gc.values.values()) == words
    assert ip_map.gc.version == (2, 0)
    assert (ip_map.gc["num_se"], ip_map.gc["wave_size"], ip_map.gc["lds_size"]) == (8, 64, 64)
    assert ip_map.gc.cu_per_xcc == 128
    assert ip_map.gc.get("tcc_size") is None
    assert [ip.instance for ip in ip_map.find("SDMA1")] == list(range(7))
    assert ip_map.sdma_mask == 0b1111111


def test_discovery_real_bases_give_the_fixed_registers(firmware_dir: Path) -> None:
    ip_map = _map(_blob(firmware_dir, "aldebaran"))
    nbif, mp0 = ip_map.get("NBIO"), ip_map.get("PSP")
    assert nbif is not None
    assert mp0 is not None
    assert nbif.bases[2] + 0xC3 == 0xDE3
    assert nbif.bases[1] + 0x80 == 0x94
    assert mp0.bases[0] + 0x61 == 0x16061


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in FILES if name != "raven"])
def test_discovery_real_file_with_any_bit_flipped_names_the_table(firmware_dir: Path, name: str) -> None:
    blob = _blob(firmware_dir, name)
    regions = [(table.offset, table.end, table.name) for table in validate(blob).tables]
    assert sum(end - start for start, end, _ in regions) == len(blob) - 60, "header and tables fill the file"
    missed = []
    for at in range(len(blob)):
        region = next((text for start, end, text in regions if start <= at < end), "binary header")
        for bit in range(8):
            damaged = bytearray(blob)
            damaged[at] ^= 1 << bit
            findings = validate(bytes(damaged)).findings
            errors = [finding for finding in findings if finding.severity.rank >= Severity.ERROR.rank]
            if not any(region in finding.where for finding in errors):
                missed.append((at, bit))
    assert missed == []


@pytest.mark.parametrize("name", ["arcturus", "vega20"])
def test_discovery_real_file_cut_at_any_length_is_an_error(firmware_dir: Path, name: str) -> None:
    blob = _blob(firmware_dir, name)
    assert [length for length in range(len(blob)) if validate(blob[:length]).ok] == []


def test_discovery_real_file_followed_by_the_rest_of_its_region_is_valid(firmware_dir: Path) -> None:
    blob = _blob(firmware_dir, "arcturus")
    assert validate(blob.ljust(0x2800, b"\xa5")).ok
