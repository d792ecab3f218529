"""`list` and `probe` of an NVIDIA GPU on this machine's bus, which is a tree of files here: with its driver and without."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

import cli
import gpumend
from tests.fakesys import FakeBar, FakeSys, config_space, words

GPU = "0000:c1:00.0"
XID = "[   100.000000] NVRM: Xid (PCI:0000:c1:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
VERSION = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build\n"
PAGE = "GPU UUID: \t GPU-01234567-89ab-cdef-0123-456789abcdef\nDevice Minor: \t 0\nGPU Firmware: \t 580.105.08\n"
REGISTERS = {0x0: 0x180000A1, 0xA00: 0x1800A000, 0x0200BC: 0xFF, 0x1183A4: 144384, 0x111388: 0x10}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSys:
    made = FakeSys(tmp_path)
    monkeypatch.setattr(gpumend, "SYS_ROOT", made.root)
    monkeypatch.setattr(gpumend, "PROC_ROOT", made.proc)
    monkeypatch.setenv("TMPDIR", str(made.locks))
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    return made


def add_gpu(machine: FakeSys, *, driver: str = "", config: bytes | None = None, **registers: int) -> None:
    content = bytearray(0x200000)
    for offset, value in {**REGISTERS, **{int(name[1:], 16): value for name, value in registers.items()}}.items():
        struct.pack_into("<I", content, offset, value)
    bars = {0: FakeBar(0xE0000000, 1 << 24, content=bytes(content))}
    if config is None:
        config = config_space(vendor=0x10DE, device=0x2335, class_code=0x030200, more={0x10: words(0xE0000000)})
    machine.add_device(GPU, vendor=0x10DE, device=0x2335, class_code=0x030200, driver=driver, config=config, bars=bars)


def add_driver(machine: FakeSys, version: str, log: str) -> None:
    folder = machine.proc / "driver/nvidia"
    (folder / "gpus" / GPU).mkdir(parents=True)
    (folder / "version").write_text(VERSION.format(version))
    (folder / "gpus" / GPU / "information").write_text(PAGE)
    dev = machine.root.parent / "dev"
    dev.mkdir()
    (dev / "kmsg").write_text(log)


def probe(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = cli.run(["probe", "--json", "--timeout", "20"])
    (gpu,) = json.loads(capsys.readouterr().out)["gpus"]
    return int(code), gpu


def test_list_shows_an_nvidia_gpu_of_this_bus(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    add_gpu(machine, driver="nvidia")
    assert cli.run(["list", "--json"]) == 0
    (gpu,) = json.loads(capsys.readouterr().out)["gpus"]
    assert (gpu["part"], gpu["arch"], gpu["driver"], gpu["bus"]) == ("H200", "GH100", "nvidia", "ok")


def test_probe_gpu_without_a_driver_reads_its_registers(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    add_gpu(machine)
    (machine.root.parent / "dev").mkdir()
    (machine.root.parent / "dev/kmsg").write_text("")
    code, gpu = probe(capsys)
    assert (code, gpu["health"], gpu["facts"]["nvidia"]["boot"]["stage"]) == (0, "healthy", "ready")
    assert gpu["facts"]["nvidia"]["driver"] is None


def test_probe_finds_xid_branch_and_holder_though_the_nodes_are_missing(
    machine: FakeSys, capsys: pytest.CaptureFixture[str]
) -> None:
    add_gpu(machine, driver="nvidia")
    add_driver(machine, "580.105.08", XID)
    machine.add_process(4242, "train", fds=["/dev/nvidia0"])
    code, gpu = probe(capsys)
    facts = gpu["facts"]
    assert (code, gpu["health"], gpu["action"]) == (1, "lost", "node-reboot")
    assert facts["nvidia"]["driver"] == {"version": "580.105.08", "branch": 580, "open": True}
    assert facts["nvidia"]["uuid"] == "GPU-01234567-89ab-cdef-0123-456789abcdef"
    assert [row["number"] for row in facts["nvidia"]["xids"]] == [79]
    assert [row["pid"] for row in facts["holders"]["processes"]] == [4242]
    reasons = {row["question"]: row["reason"] for row in facts["unanswered"]}
    assert "/dev/nvidiactl" in reasons["the NVIDIA driver"]


def test_probe_lost_gpu_still_tells_its_xids(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    add_gpu(machine, driver="nvidia", config=b"\xff" * 4096)
    add_driver(machine, "580.105.08", XID)
    code, gpu = probe(capsys)
    assert (code, gpu["health"]) == (1, "lost")
    assert {"nv.xid.79", "pci.lost"} <= {item["code"] for item in gpu["findings"]}


def test_probe_text_of_the_log_cannot_forge_lines(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    add_gpu(machine, driver="nvidia")
    add_driver(machine, "580.105.08", "[1.0] NVRM: Xid (PCI:0000:c1:00): 109, \x1b[2J\x07 all is well\n")
    assert cli.run(["probe", "--timeout", "20"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "\\x1b[2J" in out


def test_probe_log_that_cannot_be_read_is_not_healthy(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    add_gpu(machine)
    code, gpu = probe(capsys)
    assert (code, gpu["health"]) == (2, "unknown")
    assert [row["question"] for row in gpu["facts"]["unanswered"]] == ["Xids of the kernel log"]
