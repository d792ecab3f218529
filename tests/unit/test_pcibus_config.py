"""pcibus/config.py: what is decoded, what is doubted, and chains that lead nowhere."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from base.errors import NotPermitted
from base.findings import Finding, Severity
from pcibus.config import (
    ConfigSpace,
    ResizableBar,
    aer_finding,
    decode,
    finding_of,
    is_lost,
    serial_number,
    why_all_ones,
)
from pcibus.sysfs import SysfsTransport
from tests.fakesys import FakeSys, config_space, words

BDF = "0000:c1:00.0"
PORT = "0000:c0:01.0"
GIB = 1 << 30


def made(tmp_path: Path, config: bytes, **facts: str) -> SysfsTransport:
    fake = FakeSys(tmp_path)
    if facts.get("physfn"):
        fake.add_device("0000:c1:00.1")
    fake.add_device(BDF, config=config, power_state=facts.get("power_state", "D0"), physfn=facts.get("physfn", ""))
    return SysfsTransport(BDF, root=fake.root, lock_dir=fake.locks)


def decoded(tmp_path: Path, config: bytes) -> ConfigSpace:
    return decode(made(tmp_path, config))


def codes(space: ConfigSpace) -> list[str]:
    return [finding.code for finding in space.findings]


def only(space: ConfigSpace) -> Finding:
    (finding,) = space.findings
    assert len(finding.summary) <= 80
    return finding


# --- healthy


def test_config_healthy_gpu_is_decoded_without_a_finding(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(revision=1))
    assert space.findings == () and not space.lost and space.readable_bytes == 4096
    assert (space.vendor, space.device, space.revision, space.class_code) == (0x1002, 0x74A1, 1, 0x120000)
    assert (space.subsystem_vendor, space.subsystem_device) == (0x1002, 0x0C34)
    assert (space.header_type, space.multifunction, space.port_type) == (0, False, "endpoint")
    assert space.command is not None
    assert (space.command.io, space.command.memory, space.command.bus_master, space.command.intx_disabled) == (
        False, True, True, True,
    )  # fmt: skip
    assert space.power_state == "D0" and space.flr is True
    assert space.serial_number == 0x0123456789ABCDEF
    assert [(c.name, c.offset, c.extended) for c in space.capabilities] == [
        ("Power Management", 0x50, False),
        ("PCI Express", 0x64, False),
        ("MSI", 0xA0, False),
        ("MSI-X", 0xC0, False),
        ("Vendor Specific", 0x100, True),
        ("Advanced Error Reporting", 0x150, True),
        ("Device Serial Number", 0x200, True),
        ("Resizable BAR", 0x210, True),
    ]
    aer = space.find(0x01, extended=True)
    assert aer is not None and aer.version == 2
    assert space.find(0x42) is None


def test_config_link_interrupts_and_resizable_bars(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space())
    link = space.link
    assert link is not None
    assert (link.speed_gts, link.width, link.max_speed_gts, link.max_width) == (32.0, 16, 32.0, 16)
    assert (link.aspm_supported, link.aspm, link.training, link.active) == ("L0s and L1", "off", False, True)
    assert (space.interrupts.msi_vectors, space.interrupts.msi_enabled) == (4, False)
    assert (space.interrupts.msix_vectors, space.interrupts.msix_enabled) == (4, True)
    sizes = tuple(1 << (20 + bit) for bit in range(8, 16))
    assert space.resizable_bars == (ResizableBar(0, 64 * GIB, sizes),)


def test_config_resizable_bar_sizes_beyond_128_tib_stand_in_the_control_word(tmp_path: Path) -> None:
    more = {0x214: words(1 << 31, 2 | 1 << 5 | 28 << 8 | 1 << 16)}
    space = decoded(tmp_path, config_space(more=more))
    assert space.resizable_bars == (ResizableBar(2, 1 << 48, (1 << 47, 1 << 48)),)


def test_config_flr_may_come_from_advanced_features(tmp_path: Path) -> None:
    more = {0xC0: words(0x13 | 0x03000600 & 0xFFFF0000, 0)}
    assert decoded(tmp_path / "a", config_space(flr=False, more=more)).flr is True
    assert decoded(tmp_path / "b", config_space(flr=False)).flr is False


def test_config_bridge_has_a_secondary_bus_and_no_subsystem(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(header_type=0x81, port_type=4, more={0x18: bytes((0xC0, 0xC1, 0xC8, 0))}))
    assert (space.header_type, space.multifunction, space.secondary_bus) == (1, True, 0xC1)
    assert space.subsystem_vendor is None and space.port_type == "root port"


def test_config_function_without_capabilities_has_none(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(size=256, more={0x06: b"\0\0"}))
    assert space.capabilities == () and space.link is None and space.power_state is None and space.flr is None
    assert space.findings == ()


# --- lost, asleep, off


def test_config_all_ones_is_lost_and_nothing_is_decoded(tmp_path: Path) -> None:
    space = decoded(tmp_path, b"\xff" * 4096)
    finding = only(space)
    assert (finding.code, finding.severity) == ("pci.lost", Severity.FATAL)
    assert (finding.seen, finding.expected) == ("0xffffffff", "74a11002 (its ids), or its class")
    assert space.lost and space.vendor is None and space.command is None and space.capabilities == ()


LINK_DOWN = {0x74: words(5 << 16)}
NO_LINK_REPORT = {0x70: words(5 | 16 << 4)}


@pytest.mark.parametrize(
    ("port", "told"),
    [
        (config_space(header_type=1, port_type=6), "answers, link up"),
        (config_space(header_type=1, port_type=6, more=LINK_DOWN), "link down"),
        (
            config_space(header_type=1, port_type=6, more=NO_LINK_REPORT),
            "answers, does not tell whether its link is up",
        ),
        (b"\xff" * 4096, "does not answer either"),
    ],
)
def test_config_lost_device_tells_what_the_port_above_says(tmp_path: Path, port: bytes, told: str) -> None:
    fake = FakeSys(tmp_path)
    fake.add_device(PORT, config=port, class_code=0x060400)
    fake.add_device(BDF, config=b"\xff" * 4096, below=PORT)
    space = decode(SysfsTransport(BDF, root=fake.root), SysfsTransport(PORT, root=fake.root))
    finding = only(space)
    assert finding.where == f"config+0x0 on {BDF}; port above {PORT}: {told}"
    first = (
        "bring back the port above first"
        if told == "does not answer either"
        else f"reset the bus of the port above ({PORT})"
    )
    assert finding.next.startswith(first)
    assert finding.next.endswith("Remove and rescan alone does not bring back a device that does not answer")


def test_config_lost_device_with_a_port_that_cannot_be_asked_says_why(tmp_path: Path) -> None:
    fake = FakeSys(tmp_path)
    fake.add_device(PORT, config=b"", class_code=0x060400)
    fake.add_device(BDF, config=b"\xff" * 4096, below=PORT)
    gpu, port = (SysfsTransport(bdf, root=fake.root) for bdf in (BDF, PORT))
    assert f"port above {PORT}: cannot be asked (" in only(decode(gpu, port)).where
    assert only(decode(gpu)).where.endswith(f"port above {PORT}: not asked")


def test_config_lost_device_with_no_port_known_says_so(tmp_path: Path) -> None:
    assert only(decoded(tmp_path, b"\xff" * 4096)).where.endswith("; the port above is not known, so not asked")


def test_config_virtual_function_shows_no_ids_and_is_not_lost(tmp_path: Path) -> None:
    config = config_space(vendor=0xFFFF, device=0xFFFF, command=0, speed=0, width=0, max_speed=0, max_width=0)
    transport = made(tmp_path, config, physfn="0000:c1:00.1")
    assert not is_lost(transport)
    space = decode(transport)
    assert (space.lost, space.vendor, space.device) == (False, 0x1002, 0x74A1)
    assert codes(space) == []  # no memory enable bit and no link of its own: neither is a fault
    assert why_all_ones(transport) == []


def test_config_memory_decoding_off_is_said(tmp_path: Path) -> None:
    finding = only(decoded(tmp_path, config_space(command=0x0404)))
    assert (finding.code, finding.severity) == ("pci.memory-off", Severity.WARNING)


def test_config_memory_decoding_off_without_memory_bars_is_no_fault(tmp_path: Path) -> None:
    more = {0x10: words(0xE001, 0, 0, 0, 0, 0)}  # I/O ports only
    assert codes(decoded(tmp_path, config_space(command=0, more=more))) == []


def test_config_memory_decoding_off_with_bars_that_lost_their_address_is_said(tmp_path: Path) -> None:
    more = {0x10: words(0xC, 0, 0, 0, 0, 0)}
    assert codes(decoded(tmp_path, config_space(command=0, more=more))) == ["pci.memory-off"]


def test_config_d3hot_in_pmcsr_is_said_instead_of_memory_off(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(command=0, power=3))
    assert space.power_state == "D3hot"
    assert only(space).code == "pci.power"


@pytest.mark.parametrize(
    ("config", "power_state", "expected"),
    [
        (config_space(), "D0", []),
        (b"\xff" * 4096, "D0", ["pci.lost"]),
        (config_space(command=0), "D0", ["pci.memory-off"]),
        (config_space(power=3), "D0", ["pci.power"]),
        (config_space(), "D3hot", ["pci.power"]),
        (b"\xff" * 4096, "D3cold", ["pci.power"]),
        (b"", "D0", ["pci.unreadable"]),
    ],
)
def test_config_why_all_ones_names_the_reason(
    tmp_path: Path, config: bytes, power_state: str, expected: list[str]
) -> None:
    transport = made(tmp_path, config, power_state=power_state)
    assert [finding.code for finding in why_all_ones(transport)] == expected


def test_config_finding_of_errors_that_are_not_ours() -> None:
    finding = finding_of(OSError("Input/output error"))
    assert (finding.code, finding.severity, finding.seen) == ("pci.unreadable", Severity.UNKNOWN, "Input/output error")
    told = finding_of(NotPermitted("reading", expected="root", where="here"))
    assert (told.code, told.expected, told.seen) == ("pci.unreadable", "root", "reading")


# --- link


@pytest.mark.parametrize(
    ("facts", "what", "expected", "seen"),
    [
        ({"width": 8}, "narrower than", "32 GT/s x16", "32 GT/s x8"),
        ({"speed": 1}, "slower than", "32 GT/s x16", "2.5 GT/s x16"),
        ({"speed": 3, "width": 1}, "narrower and slower", "32 GT/s x16", "8 GT/s x1"),
    ],
)
def test_config_link_below_its_best_is_a_warning(
    tmp_path: Path, facts: dict[str, int], what: str, expected: str, seen: str
) -> None:
    finding = only(decoded(tmp_path, config_space(**facts)))  # type: ignore[arg-type]
    assert (finding.code, finding.severity) == ("pci.link", Severity.WARNING)
    assert what in finding.summary and (finding.expected, finding.seen) == (expected, seen)
    assert finding.where == f"LNKSTA at config+0x76 on {BDF}"


def test_config_link_is_judged_by_what_the_port_above_can_do(tmp_path: Path) -> None:
    fake = FakeSys(tmp_path)
    port = config_space(header_type=1, port_type=4, max_speed=4, max_width=8)
    fake.add_device(PORT, config=port, class_code=0x060400)
    fake.add_device(BDF, config=config_space(speed=4, width=8), below=PORT)
    gpu, above = (SysfsTransport(bdf, root=fake.root) for bdf in (BDF, PORT))
    assert codes(decode(gpu)) == ["pci.link"]
    space = decode(gpu, above)
    assert codes(space) == [] and space.link is not None
    assert (space.link.port_max_speed_gts, space.link.port_max_width) == (16.0, 8)
    assert (space.link.best_speed_gts, space.link.best_width) == (16.0, 8)


@pytest.mark.parametrize("port", [b"\xff" * 4096, config_space(more={0x34: b"\0"}), b""])
def test_config_port_above_that_does_not_tell_changes_nothing(tmp_path: Path, port: bytes) -> None:
    fake = FakeSys(tmp_path)
    fake.add_device(PORT, config=port, class_code=0x060400)
    fake.add_device(BDF, below=PORT)
    space = decode(SysfsTransport(BDF, root=fake.root), SysfsTransport(PORT, root=fake.root))
    assert codes(space) == [] and space.link is not None and space.link.port_max_width is None


def test_config_link_with_unknown_numbers_is_unknown_not_healthy(tmp_path: Path) -> None:
    finding = only(decoded(tmp_path, config_space(width=0, speed=0)))
    assert (finding.code, finding.severity, finding.seen) == ("pci.link", Severity.UNKNOWN, "0x2000")


def test_config_integrated_endpoint_has_no_link_to_judge(tmp_path: Path) -> None:
    assert codes(decoded(tmp_path, config_space(port_type=9, width=0, speed=0))) == []


@pytest.mark.parametrize(
    ("aspm", "word", "expected"), [(1, "L0s", []), (2, "L1", ["pci.aspm"]), (3, "L0s and L1", ["pci.aspm"])]
)
def test_config_aspm_l1_is_a_note(tmp_path: Path, aspm: int, word: str, expected: list[str]) -> None:
    space = decoded(tmp_path, config_space(aspm=aspm))
    assert space.link is not None and space.link.aspm == word
    assert codes(space) == expected
    assert all(finding.severity is Severity.NOTE for finding in space.findings)


def test_config_link_speeds_vector_beats_the_old_field(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(more={0x64 + 0x2C: words(0x1E)}))
    assert space.link is not None and space.link.max_speed_gts == 16.0


# --- errors


def test_config_aer_correctable_is_a_warning_with_the_kernels_names(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(correctable=0x1041))
    finding = only(space)
    assert (finding.code, finding.severity, finding.seen) == ("pci.aer", Severity.WARNING, "RxErr, BadTLP, Timeout")
    assert finding.where == f"AER at config+0x160 on {BDF}"
    assert space.aer is not None and space.aer.header_log == ()


def test_config_aer_uncorrectable_is_split_by_severity_and_shows_the_log(tmp_path: Path) -> None:
    log = (0x4A000001, 0xC1000004, 0x12, 0)
    space = decoded(tmp_path, config_space(uncorrectable=0x00144000, fatal_mask=0x00040000, header_log=log))
    fatal, nonfatal = space.findings
    assert (fatal.severity, nonfatal.severity) == (Severity.FATAL, Severity.ERROR)
    assert fatal.seen == "MalfTLP; header log 4a000001 c1000004 00000012 00000000"
    assert nonfatal.seen.startswith("CmpltTO, UnsupReq; header log")
    assert space.aer is not None and space.aer.header_log == log


def test_config_aer_first_error_is_named(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(uncorrectable=1 << 14, more={0x168: words(14)}))
    assert space.aer is not None and space.aer.first_error == "CmpltTO"


def test_config_aer_masked_errors_are_a_note(tmp_path: Path) -> None:
    facts = config_space(uncorrectable=1 << 20, masked=1 << 20, correctable=1 << 13, correctable_masked=1 << 13)
    finding = only(decoded(tmp_path, facts))
    assert (finding.severity, finding.seen) == (Severity.NOTE, "NonFatalErr, UnsupReq")


def test_config_aer_status_of_all_ones_is_not_believed(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(uncorrectable=0xFFFFFFFF, correctable=0xFFFFFFFF))
    assert space.aer is None
    assert only(space).code == "pci.config.capabilities" and only(space).seen == "all ones"


def test_config_aer_bit_without_a_name_is_counted(tmp_path: Path) -> None:
    assert only(decoded(tmp_path, config_space(correctable=1 << 20))).seen == "bit 20"


def test_config_aer_counts_of_the_kernel_become_a_finding() -> None:
    assert aer_finding(BDF, None) is None
    assert aer_finding(BDF, {"correctable": {}, "fatal": {}}) is None
    mild = aer_finding(BDF, {"correctable": {"BadTLP": 3}, "nonfatal": {}})
    assert mild is not None and (mild.severity, mild.seen) == (Severity.WARNING, "correctable: BadTLP 3")
    grave = aer_finding(BDF, {"correctable": {"BadTLP": 3}, "fatal": {"DLP": 1}})
    assert grave is not None and grave.severity is Severity.ERROR and "fatal: DLP 1" in grave.seen


# --- broken chains


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({0x51: b"\x50"}, "0x50: a loop"),
        ({0xC1: b"\x64"}, "0x64: a loop"),
        ({0x51: b"\x10"}, "0x10: inside the header"),
        ({0x34: b"\x08"}, "0x8: inside the header"),
        ({0x64: b"\xff\xff\xff\xff"}, "0xffffffff"),
        ({0x64: b"\xff\x00\x00\x00"}, "0x000000ff"),
        ({0x154 - 4: words(1 | 2 << 16 | 0x150 << 20)}, "0x150: a loop"),
        ({0x150: words(1 | 2 << 16 | 0x100 << 20)}, "0x100: a loop"),
        ({0x150: words(1 | 2 << 16 | 0x40 << 20)}, "0x40: inside the header"),
        ({0x200: b"\xff" * 4}, "0xffffffff"),
    ],
)
def test_config_broken_chain_ends_with_a_finding(tmp_path: Path, more: dict[int, bytes], seen: str) -> None:
    space = decoded(tmp_path, config_space(more=more))
    findings = [finding for finding in space.findings if finding.code == "pci.config.capabilities"]
    assert [finding.seen for finding in findings] == [seen]
    assert len({(c.offset, c.extended) for c in space.capabilities}) == len(space.capabilities)


def test_config_capability_data_of_all_ones_is_not_decoded(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(more={0x54: b"\xff" * 4, 0x68: b"\xff" * 0x30, 0x204: b"\xff" * 8}))
    assert (space.power_state, space.link, space.serial_number) == (None, None, None)
    assert {finding.expected for finding in space.findings} == {
        "data of Power Management that makes sense",
        "data of PCI Express that makes sense",
    }


def test_config_extended_capability_that_ends_beyond_config_space(tmp_path: Path) -> None:
    more = {0x100: words(0x0B | 1 << 16 | 0xFF8 << 20), 0xFF8: words(0x01 | 2 << 16)}
    space = decoded(tmp_path, config_space(more=more))
    assert space.aer is None
    assert "ends" not in only(space).seen or "beyond config space" in only(space).seen
    assert only(space).code == "pci.config.capabilities"


def test_config_no_extended_capabilities_is_no_fault(tmp_path: Path) -> None:
    for index, head in enumerate((0, 0xFFFFFFFF)):
        space = decoded(tmp_path / str(index), config_space(more={0x100: words(head)}))
        assert codes(space) == [] and space.aer is None and space.serial_number is None


def test_config_random_bytes_never_crash_and_always_end(tmp_path: Path) -> None:
    fake = FakeSys(tmp_path)
    device = fake.add_device(BDF)
    dice = random.Random(20260101)
    for length in (64, 256, 4096):
        for _ in range(60):
            data = bytearray(config_space(size=length))
            for _ in range(dice.choice((1, 8, 200))):
                data[dice.randrange(4, length)] = dice.choice((0, 0xFF, dice.randrange(256)))
            (device.path / "config").write_bytes(data)
            transport = SysfsTransport(BDF, root=fake.root)
            space = decode(transport)
            assert len(space.capabilities) <= 48 + 960
            assert all(len(finding.summary) <= 80 for finding in space.findings)
            transport.close()


# --- little privilege


def test_config_of_64_bytes_says_what_is_hidden_and_gives_the_rest(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(size=64))
    finding = only(space)
    assert (finding.code, finding.severity) == ("pci.config.hidden", Severity.UNKNOWN)
    assert finding.next == "run as root (CAP_SYS_ADMIN)" and finding.seen == "64 bytes"
    assert (space.vendor, space.device, space.readable_bytes) == (0x1002, 0x74A1, 64)
    assert space.command is not None and space.command.memory
    assert (space.link, space.aer, space.flr, space.serial_number) == (None, None, None, None)


def test_config_of_256_bytes_has_a_link_but_no_aer(tmp_path: Path) -> None:
    space = decoded(tmp_path, config_space(size=256))
    assert space.findings == () and space.link is not None and space.aer is None and space.serial_number is None


# --- serial number


def test_config_serial_number_alone(tmp_path: Path) -> None:
    assert serial_number(made(tmp_path / "a", config_space(serial=0xFEDCBA9876543210))) == 0xFEDCBA9876543210
    assert serial_number(made(tmp_path / "b", config_space(size=64))) is None
    assert serial_number(made(tmp_path / "c", b"\xff" * 4096)) is None
    assert serial_number(made(tmp_path / "d", config_space(serial=0))) is None
    assert serial_number(SysfsTransport("0000:99:00.0", root=tmp_path)) is None


def test_config_of_this_machines_functions_is_decoded(tmp_path: Path) -> None:
    folder = Path("/sys/bus/pci/devices")
    if not folder.is_dir() or not os.access(folder, os.R_OK):
        pytest.skip("this machine has no PCI bus")
    for entry in folder.iterdir():
        space = decode(SysfsTransport(entry.name))
        assert space.lost or space.vendor not in (None, 0xFFFF)
