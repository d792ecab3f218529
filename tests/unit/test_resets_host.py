"""Resets of GPUs on a machine's bus: refusals name who is in the way, and nothing is written. The bus is a made-up one, and,
where this machine has one, its own: no GPU is on it, so every function of it has to be refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cli
import gpumend
from amdriver.parts import PARTS
from base.errors import Exit
from base.resets import Outcome
from pcibus.sysfs import SysfsTransport, scan
from tests.fakesys import FakeSys

BDF = "0000:c1:00.0"
MI350X = PARTS[0x75A0]


class Recording(SysfsTransport):
    """Config space as it is; of BARs all ones, without looking (they belong to somebody); whatever would write is kept."""

    def __init__(self, bdf: str, root: Path, kept: list[str]) -> None:
        super().__init__(bdf, root=root)
        self.kept = kept

    def read32(self, bar: int, offset: int) -> int:
        return 0xFFFFFFFF

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        return b"\xff" * size

    def write32(self, bar: int, offset: int, value: int) -> None:
        self.kept.append(f"BAR{bar}+{offset:#x}")

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self.kept.append(f"BAR{bar}+{offset:#x}, {len(data)} bytes")

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.kept.append(f"config+{offset:#x}")

    def reset(self, method: str) -> None:
        self.kept.append(f"reset {method}")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GPUMEND_ON", raising=False)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSys]:
    made = FakeSys(tmp_path / "machine")
    monkeypatch.setattr(gpumend, "SYS_ROOT", made.root)
    monkeypatch.setattr(gpumend, "PROC_ROOT", made.proc)
    yield made


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()
    }


def reset(bdf: str, root: Path, kept: list[str], method: str) -> gpumend.ResetReport:
    info = next(info for info in scan(root) if info.bdf == bdf)
    gpu = gpumend.Gpu(0, bdf, info, MI350X, Recording(bdf, root, kept), gpumend.REAL_CLOCK)
    return gpumend.reset_gpus([gpu], [gpu], gpumend.ResetOptions(method=method))


@pytest.mark.parametrize(
    "method", ["auto", "mode1", "mode2", "bus-reset", "flr", "mec-reset", "restore-config", "remove-rescan"]
)
def test_bound_and_held_gpu_is_refused_with_names_and_nothing_is_written(fake: FakeSys, method: str) -> None:
    fake.add_device(BDF, device=0x75A0, driver="amdgpu", drm=("renderD129",))
    fake.add_process(4242, "python3", fds=["/dev/dri/renderD129"])
    before, kept = snapshot(fake.root), list[str]()
    report = reset(BDF, fake.root, kept, method)
    (one,) = report.gpus
    assert one.outcome in (Outcome.REFUSED, Outcome.UNKNOWN) and report.steps == ()
    if one.outcome is Outcome.REFUSED and method != "auto":
        assert "4242 python3" in one.reason
    assert (kept, snapshot(fake.root)) == ([], before)


@pytest.mark.parametrize("method", ["mode1", "bus-reset"])
def test_bound_gpu_is_refused_with_the_driver_and_nothing_is_written(fake: FakeSys, method: str) -> None:
    fake.add_device(BDF, device=0x75A0, driver="amdgpu")
    before, kept = snapshot(fake.root), list[str]()
    report = reset(BDF, fake.root, kept, method)
    assert report.exit_code == Exit.REFUSED and "amdgpu" in report.gpus[0].reason
    assert (kept, snapshot(fake.root)) == ([], before)


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--hive",), ("--yes",)])
@pytest.mark.parametrize("device", [0x74A0, 0x74B5, 0x75B0])
def test_virtual_functions_and_mi300a_are_refused(
    fake: FakeSys, device: int, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.add_device(BDF, device=device)
    before = snapshot(fake.root)
    assert cli.run(["reset", *arguments]) == Exit.REFUSED
    told = capsys.readouterr()
    assert "refused" in told.out + told.err and "has a defect" not in told.err
    assert snapshot(fake.root) == before


def test_machine_without_a_gpu_says_what_was_looked_for(fake: FakeSys, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["reset", "--yes"]) == Exit.UNAVAILABLE
    assert "AMD Instinct" in capsys.readouterr().err


def test_own_bus_every_function_is_refused_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    found = scan()
    if not found:
        pytest.skip("this machine has no PCI bus in /sys/bus/pci/devices")
    for info in found:
        for arguments in (("--yes",), ("--method", "bus-reset", "--yes"), ("--dry-run",)):
            assert cli.run(["--on", info.bdf, "reset", *arguments]) == Exit.UNAVAILABLE, info
            assert "expected  an AMD Instinct" in capsys.readouterr().err
        kept: list[str] = []
        report = reset(info.bdf, Path("/sys"), kept, "auto")
        assert report.gpus[0].outcome in (Outcome.REFUSED, Outcome.UNKNOWN, Outcome.FAILED)
        assert kept == [], info
