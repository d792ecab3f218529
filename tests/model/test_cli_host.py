"""The command line on this machine's bus, which is a tree of files here: privilege, power, decoding, drivers, holders."""

from __future__ import annotations

import errno
import json
import mmap
import os
from pathlib import Path

import pytest

import cli
import gpumend
from tests.fakesys import MEM64_PREFETCH, FakeBar, FakeSys, config_space

GPU = "0000:c1:00.0"
BARS = {
    0: FakeBar(0x200000000000, 1 << 28, MEM64_PREFETCH),
    2: FakeBar(0x20F000000000, 1 << 21, MEM64_PREFETCH),
    5: FakeBar(0xE0000000, 1 << 21),
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSys:
    made = FakeSys(tmp_path)
    monkeypatch.setattr(gpumend, "SYS_ROOT", made.root)
    monkeypatch.setattr(gpumend, "PROC_ROOT", made.proc)
    monkeypatch.setenv("TMPDIR", str(made.locks))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    return made


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.run(arguments)
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert "has a defect" not in told.err, told.err
    return int(code), told.out, told.err


def codes(out: str) -> dict[str, str]:
    """Finding codes of the one GPU in a JSON probe: code to severity."""
    (gpu,) = json.loads(out)["gpus"]
    return {item["code"]: item["severity"] for item in gpu["findings"]}


def test_list_shows_identity_driver_and_state(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, driver="amdgpu", power_state="D3hot", numa_node=1, iommu_group=7)
    machine.add_device("0000:01:00.0", vendor=0x8086, device=0x1234)
    code, out, _ = call(capsys, "list", "--json")
    assert code == 0
    (gpu,) = json.loads(out)["gpus"]
    wanted = {
        "bdf": GPU,
        "part": "MI300X",
        "driver": "amdgpu",
        "power": "D3hot",
        "numa": 1,
        "iommu_group": 7,
        "bus": "ok",
    }
    assert {key: gpu[key] for key in wanted} == wanted


def test_list_without_pci_bus_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpumend, "SYS_ROOT", FakeSys(tmp_path, pci=False).root)
    code, _, err = call(capsys, "list")
    assert code == 2
    assert "bus/pci" in err
    assert "--on 'model:mi350x*8' list" in err


def test_list_bus_without_supported_gpu_exits_2(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device("0000:01:00.0", vendor=0x10DE, device=0x1340)
    code, _, err = call(capsys, "list")
    assert code == 2
    assert "MI300" in err
    assert "--on 'model:mi350x*8' list" in err


def test_address_of_another_device_exits_69(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device("0000:01:00.0", vendor=0x10DE, device=0x1340)
    code, _, err = call(capsys, "--on", "01:00.0", "list")
    assert (code, "10de:1340" in err) == (69, True)
    code, _, err = call(capsys, "--on", "0000:02:00.0", "probe")
    assert (code, "0000:02:00.0" in err) == (69, True)


def test_probe_lost_gpu(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, config=b"\xff" * 4096)
    code, out, _ = call(capsys, "probe", "--json")
    assert code == 1
    (gpu,) = json.loads(out)["gpus"]
    assert (gpu["health"], gpu["action"]) == ("lost", "bus-reset")
    assert [item for item, severity in codes(out).items() if severity != "note"] == ["pci.lost"]


@pytest.mark.parametrize("state", ["D3hot", "D3cold"])
def test_probe_sleeping_gpu_is_not_woken_and_not_called_healthy(
    machine: FakeSys, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    made = machine.add_device(GPU, bars=BARS, power_state=state)
    before = {path: path.read_bytes()[:4096] for path in made.path.iterdir() if path.is_file()}
    code, out, _ = call(capsys, "probe", "--json")
    assert code == 2
    assert "pci.power" in codes(out)
    assert {path: path.read_bytes()[:4096] for path in made.path.iterdir() if path.is_file()} == before


def test_probe_memory_decoding_off_says_so(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, config=config_space(command=0x0400))
    code, out, _ = call(capsys, "probe", "--json")
    assert code in (1, 2)
    assert "pci.memory-off" in codes(out)
    assert json.loads(out)["gpus"][0]["facts"]["pci"]["memory_enabled"] is False


@pytest.mark.parametrize("size", [64, 256])
def test_probe_without_privilege_reports_the_rest(
    machine: FakeSys, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    machine.add_device(GPU, bars=BARS, config=config_space(size=size))
    code, out, _ = call(capsys, "probe", "--json")
    assert code in (1, 2)
    (gpu,) = json.loads(out)["gpus"]
    assert gpu["health"] != "healthy"
    assert gpu["facts"]["pci"]["config_bytes"] == size
    assert gpu["facts"]["pci"]["aer"] is None


def test_strings_of_the_machine_are_escaped(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, driver="a\x1b[31m\x9b2J")
    machine.add_process(77, "evil\x1b]0;x\x07", fds=[f"/sys/bus/pci/devices/{GPU}/resource0"])
    for arguments in (("list",), ("probe", "--notes"), ("unbind", "--dry-run")):
        _, out, err = call(capsys, *arguments)
        assert not {"\x1b", "\x9b", "\x07"} & set(out + err)


def test_unbind_dry_run_shows_the_writes_and_makes_none(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, driver="amdgpu")
    code, out, _ = call(capsys, "unbind", "--dry-run")
    assert code == 0
    assert f"echo {GPU} > {machine.root}/bus/pci/drivers/amdgpu/unbind" in out
    assert (machine.root / "bus/pci/drivers/amdgpu/unbind").read_text() == ""


def test_unbind_dry_run_of_a_held_gpu_says_that_it_would_be_refused(
    machine: FakeSys, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.add_device(GPU, bars=BARS, driver="amdgpu", drm=["renderD128"])
    machine.add_process(4711, "python3", fds=["/dev/dri/renderD128"])
    code, out, _ = call(capsys, "unbind", "--dry-run")
    assert code == 3
    assert "4711" in out


def test_unbind_with_nobody_to_ask_is_refused(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, driver="amdgpu")
    code, _, err = call(capsys, "unbind")
    assert code == 3
    assert "--yes" in err
    assert (machine.root / "bus/pci/drivers/amdgpu/unbind").read_text() == ""


def test_bind_that_does_not_take_is_a_failure_not_a_success(
    machine: FakeSys, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.add_device(GPU, bars=BARS)
    machine.add_driver("vfio-pci")
    code, out, _ = call(capsys, "bind", "vfio-pci", "--yes", "--despite-holders")
    assert code == 1
    assert "driver none" in out


def test_bind_of_a_model_is_refused_as_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "--on", "model:mi350x", "bind", "amdgpu", "--yes")
    assert code == 64
    assert "PCI bus" in err


def test_bind_without_any_gpu_exits_69(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "bind", "amdgpu", "--yes")[0] == 69


VRAM_BYTES = 192 << 30


@pytest.fixture
def booted(machine: FakeSys) -> FakeSys:
    """A GPU whose BARs are files that hold what a modelled MI300X shows: registers that answer, and a real table."""
    from gpumodel import open_models

    (model,) = open_models("mi300x")
    bars = {**BARS, 0: FakeBar(0x200000000000, VRAM_BYTES, MEM64_PREFETCH), 5: FakeBar(0xE0000000, 1 << 21)}
    made = machine.add_device(GPU, bars=bars)
    with (made.path / "resource5").open("r+b") as registers:
        for offset in (0x378C, 0x58184, 0x5818C, 0x58244):
            registers.seek(offset)
            registers.write(model.read32(5, offset).to_bytes(4, "little"))
    with (made.path / "resource0").open("r+b") as vram:
        vram.seek(VRAM_BYTES - 0x10000)
        vram.write(model.read_block(0, VRAM_BYTES - 0x10000, 0x2800))
    return machine


def test_discovery_of_a_gpu_on_the_bus_is_read_in_a_child_and_comes_back_whole(
    booted: FakeSys, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "discovery", "show", "--json")
    assert code == 0, err
    (gpu,) = json.loads(out)["gpus"]
    assert gpu["trusted"] is True
    assert sum(ip["name"] == "GC" for ip in gpu["ips"]) == 8
    assert gpu["gc"]["wave_size"] == 64
    assert call(capsys, "discovery", "validate")[0] == 0


def test_discovery_save_then_damage_on_the_bus_is_compared(booted: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "discovery", "save")[0] == 0
    assert call(capsys, "discovery", "diff")[0] == 0
    with (booted.device(GPU).path / "resource0").open("r+b") as vram:
        vram.seek(VRAM_BYTES - 0x10000)
        vram.write(b"\x80\x3f\x00\x00" * 100)
    code, out, _ = call(capsys, "discovery", "diff")
    assert code == 1
    assert "0x0000" in out
    code, out, _ = call(capsys, "discovery", "validate")
    assert code == 1
    assert "bytes differ" in out


def test_regs_read_of_a_gpu_on_the_bus(booted: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "regs", "read", "MP0_SMN_C2PMSG_35[0]", "GRBM_STATUS[0]")
    assert code == 0, err
    assert "MP0[0].MP0_SMN_C2PMSG_35" in out


def test_probe_of_a_gpu_on_the_bus_reads_its_table(booted: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "probe", "--json")
    assert code in (1, 2)
    (gpu,) = json.loads(out)["gpus"]
    assert gpu["facts"]["memory_mib"] == VRAM_BYTES >> 20
    assert gpu["facts"]["discovery"]["xcc"] == 8
    assert gpu["health"] != "healthy"


def test_probe_names_driver_and_holders_of_a_sick_gpu(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, driver="amdgpu", drm=["renderD128"], config=b"\xff" * 4096)
    machine.add_process(4711, "train.py", fds=["/dev/dri/renderD128"])
    code, out, _ = call(capsys, "probe")
    assert code == 1
    assert "driver amdgpu" in out
    assert "pid 4711 train.py" in out


def test_discovery_of_eight_where_one_sleeps_tells_of_all(machine: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    machine.add_device(GPU, bars=BARS, config=b"\xff" * 4096)
    machine.add_device("0000:c2:00.0", bars=BARS, power_state="D3cold")
    code, out, _ = call(capsys, "discovery", "validate", "--json")
    assert code == 1
    first, second = json.loads(out)["gpus"]
    assert [item["code"] for item in first["findings"]] == ["pci.lost"]
    assert [item["code"] for item in second["findings"]] == ["pci.power"]


def test_discovery_of_a_bound_gpu_whose_bars_cannot_be_mapped_is_the_drivers_copy(
    machine: FakeSys, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpumodel import open_models

    made = machine.add_device(GPU, bars=BARS, driver="amdgpu")
    (made.path / "resource5").unlink()
    assert call(capsys, "discovery", "validate")[0] == 2
    blob = open_models("mi300x")[0].read_block(0, VRAM_BYTES - 0x10000, 0x2800)
    folder = machine.root / "kernel/debug/dri" / GPU
    folder.mkdir(parents=True)
    (folder / "amdgpu_discovery").write_bytes(blob)
    code, out, _ = call(capsys, "discovery", "validate", "--json")
    assert code == 0
    (gpu,) = json.loads(out)["gpus"]
    assert "debugfs" in gpu["source"]
    assert "amd.discovery.driver-copy" in [item["code"] for item in gpu["findings"]]


def test_saved_copy_of_a_gpu_without_serial_is_kept_and_found_by_bus_address(
    booted: FakeSys, capsys: pytest.CaptureFixture[str]
) -> None:
    config = booted.device(GPU).path / "config"
    config.write_bytes(config_space(more={0x150: (1 | 2 << 16 | 0x210 << 20).to_bytes(4, "little")}))
    code, out, _ = call(capsys, "discovery", "save")
    assert (code, "under its bus address" in out) == (0, True)
    with (booted.device(GPU).path / "resource0").open("r+b") as vram:
        vram.seek(VRAM_BYTES - 0x10000)
        vram.write(b"\x80\x3f\x00\x00" * 100)
    assert "against the saved good copy" in call(capsys, "probe", "--json")[1]


def test_regs_read_where_no_gpu_lets_itself_be_mapped_exits_77(
    machine: FakeSys, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add_device(GPU, bars=BARS)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(mmap, "mmap", refuse)
    code, out, _ = call(capsys, "regs", "read", "GRBM_STATUS", "--json")
    (gpu,) = json.loads(out)["gpus"]
    assert (code, gpu["error"]["kind"], gpu["registers"]) == (77, "MapRefused", [])


NVIDIA_GPU = "0000:18:00.0"


@pytest.fixture
def nvidia_machine(machine: FakeSys) -> FakeSys:
    """An H200 that its driver has, node /dev/nvidia0."""
    machine.add_device(NVIDIA_GPU, vendor=0x10DE, device=0x2335, driver="nvidia")
    folder = machine.proc / f"driver/nvidia/gpus/{NVIDIA_GPU}"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Device Minor: \t 0\n")
    return machine


@pytest.mark.parametrize(("running", "code"), [(True, 3), (False, 0), (None, 0)])
def test_unbind_of_an_nvidia_gpu_that_runs_is_refused_whatever_is_said_of_holders(
    nvidia_machine: FakeSys, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    running: bool | None, code: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("nvdriver.usage.is_initialized", lambda files, bdf: running)
    assert call(capsys, "unbind", "--dry-run", "--despite-holders")[0] == code
    nvidia_machine.add_process(812, "nvidia-persiste", fds=["/dev/nvidia0"])
    got, out, _ = call(capsys, "unbind", "--dry-run", "--despite-holders")
    assert got == code
    if running:
        assert "pid 812 nvidia-persiste" in out and "systemctl stop nvidia-persistenced" in out
