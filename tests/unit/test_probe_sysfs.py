"""The probe through sysfs: folders and files that look like /sys, each GPU asked in a child of its own."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from amdriver.parts import PARTS
from base.clock import RealClock
from base.findings import Action, Health, ProbeReport
from pcibus.sysfs import SysfsTransport
from probe.run import Target, probe_all
from tests.fakesys import FakeSys, config_space

BDF = "0000:c1:00.0"
PORT = "0000:c0:01.0"
MIB = 1 << 20
REGISTERS = {0x378C: 288 << 10, 0x58184: 1 << 31, 0x5818C: 1 << 31, 0x58270: 0xBA, 0x58A68: 1, 0x3C: 0x81}


class Tree:
    """A sysfs tree with one MI350X whose BAR5 is a file. It has no BAR0: VRAM is seen through the index window."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "bus/pci/devices" / BDF
        self.folder.mkdir(parents=True)
        for name, text in (
            ("vendor", "0x1002"),
            ("device", "0x75a0"),
            ("class", "0x120000"),
            ("power_state", "D0"),
            ("enable", "1"),
            ("numa_node", "1"),
            ("resource", "\n".join(["0x0 0x0 0x0"] * 5 + ["0x90000000 0x901fffff 0x40200"])),
        ):
            self.write(name, text)
        self.config = bytearray(4096)
        struct.pack_into("<HHHHI", self.config, 0, 0x1002, 0x75A0, 0x0002, 0, 0x12000000)
        struct.pack_into("<I", self.config, 0x24, 0x90000000)
        self.bar5 = bytearray(2 * MIB)
        for offset, value in REGISTERS.items():
            struct.pack_into("<I", self.bar5, offset, value)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text + "\n")

    def probe(self) -> ProbeReport:
        (self.folder / "config").write_bytes(self.config)
        (self.folder / "resource5").write_bytes(self.bar5)
        transport = SysfsTransport(BDF, root=self.root, lock_dir=self.root, proc=self.root)
        target = Target(0, transport, PARTS[0x75A0])
        (report,) = probe_all([target], clock=RealClock(), sys_root=self.root, proc_root=self.root)
        transport.close()
        assert (self.folder / "resource5").read_bytes() == bytes(self.bar5)
        assert (self.folder / "config").read_bytes() == bytes(self.config)
        return report


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def codes(report: ProbeReport) -> list[str]:
    return [finding.code for finding in report.findings]


def unanswered(report: ProbeReport) -> set[str]:
    return {item["question"] for item in report.facts["unanswered"]}


def test_probe_through_sysfs_asks_what_it_can_and_leaves_every_byte_as_it_was(tree: Tree) -> None:
    report = tree.probe()
    assert "amd.discovery.signature" in codes(report)
    assert report.bdf == BDF
    assert report.facts["psp"]["bootloader"] == "ready"
    assert report.facts["smu"]["alive"] is True
    assert report.facts["pci"]["numa_node"] == 1
    assert report.facts["holders"]["processes"] == []


def test_probe_without_privilege_says_what_is_hidden_and_reports_the_rest(tree: Tree) -> None:
    tree.config = tree.config[:64]
    tree.config[6] = 0x10  # there are capabilities
    tree.config[0x34] = 0x50
    report = tree.probe()
    hidden = next(finding for finding in report.findings if finding.code == "pci.config.hidden")
    assert "only 64 bytes of config space can be read" in hidden.summary
    assert report.facts["pci"]["config_bytes"] == 64
    assert report.facts["psp"]["bootloader"] == "ready"


def test_probe_with_memory_decoding_off_touches_no_register(tree: Tree) -> None:
    struct.pack_into("<H", tree.config, 4, 0)
    report = tree.probe()
    assert (report.health, report.action) == (Health.UNKNOWN, Action.RESTORE_CONFIG)
    assert "pci.memory-off" in codes(report)
    assert {"PSP boot status", "discovery table", "SDMA engines"} <= unanswered(report)
    assert report.facts["pci"]["memory_enabled"] is False


def test_probe_with_config_space_lost_names_the_bars(tree: Tree) -> None:
    struct.pack_into("<H", tree.config, 4, 0)
    struct.pack_into("<I", tree.config, 0x24, 0)
    report = tree.probe()
    assert (report.health, report.action, codes(report)) == (Health.HUNG, Action.RESTORE_CONFIG, ["pci.bar-dead"])


@pytest.mark.parametrize("state", ["D3hot", "D3cold"])
def test_probe_of_a_sleeping_gpu_wakes_nothing(tree: Tree, state: str) -> None:
    tree.write("power_state", state)
    report = tree.probe()
    assert report.health == Health.UNKNOWN
    assert "pci.power" in codes(report)
    assert "PSP boot status" in unanswered(report)


def test_probe_of_registers_that_all_read_ones_is_a_dead_bar(tree: Tree) -> None:
    tree.bar5 = bytearray(b"\xff" * len(tree.bar5))
    report = tree.probe()
    assert (report.health, codes(report)) == (Health.HUNG, ["pci.bar-dead"])


def test_probe_of_a_gpu_off_the_bus_is_lost(tree: Tree) -> None:
    tree.config = bytearray(b"\xff" * 4096)
    report = tree.probe()
    assert (report.health, report.action, codes(report)) == (Health.LOST, Action.BUS_RESET, ["pci.lost"])
    assert report.facts["holders"]["processes"] == []  # who holds it is known all the same


def test_probe_of_a_gpu_whose_folder_went_away_is_lost(tree: Tree) -> None:
    transport = SysfsTransport(BDF, root=tree.root, lock_dir=tree.root)
    target = Target(0, transport, PARTS[0x75A0])
    for file in tree.folder.iterdir():
        file.unlink()
    tree.folder.rmdir()
    (report,) = probe_all([target], clock=RealClock(), sys_root=tree.root, proc_root=tree.root)
    assert (report.health, report.bdf, codes(report)) == (Health.LOST, BDF, ["pci.lost"])


def test_probe_counts_of_the_kernel_since_boot_are_a_note_when_correctable(tree: Tree) -> None:
    tree.write("aer_dev_correctable", "RxErr 3\nTOTAL_ERR_COR 3")
    report = tree.probe()
    (finding,) = [finding for finding in report.findings if finding.code == "pci.aer"]
    assert finding.severity == "note"
    assert "RxErr 3" in finding.seen


def test_probe_counts_of_fatal_errors_since_boot_are_a_warning(tree: Tree) -> None:
    tree.write("aer_dev_fatal", "DLP 1\nTOTAL_ERR_FATAL 1")
    (finding,) = [finding for finding in tree.probe().findings if finding.code == "pci.aer"]
    assert finding.severity == "warning"


# ---- the port above a GPU that is gone


@pytest.mark.parametrize(("link", "told"), [(0, "link down"), (1 << 13, "answers, link up")])
def test_probe_of_a_lost_gpu_asks_the_port_above_for_its_link(tmp_path: Path, link: int, told: str) -> None:
    fake = FakeSys(tmp_path)
    port = config_space(header_type=1, port_type=6, more={0x76: struct.pack("<H", link)})
    fake.add_device(PORT, config=port, class_code=0x060400)
    fake.add_device(BDF, device=0x75A0, config=b"\xff" * 4096, below=PORT)
    transport = SysfsTransport(BDF, root=fake.root, lock_dir=fake.locks, proc=fake.proc)
    target = Target(0, transport, PARTS[0x75A0])
    (report,) = probe_all([target], clock=RealClock(), sys_root=fake.root, proc_root=fake.proc)
    transport.close()
    (finding,) = [finding for finding in report.findings if finding.code == "pci.lost"]
    assert finding.where == f"config+0x0 on {BDF}; port above {PORT}: {told}"
    assert f"reset the bus of the port above ({PORT})" in finding.next
    assert finding.seen == "config space reads all ones, while asking: config space"


def test_probe_holders_say_whether_all_processes_could_be_seen(tree: Tree) -> None:
    report = tree.probe()
    assert report.facts["holders_complete"] is report.facts["holders"]["complete"]
