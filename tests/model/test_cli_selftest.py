"""`gpumend selftest` on modelled GPUs with AMD's own firmware: the whole way from a cold GPU to peers, and what breaks it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/json.schema.json").read_text())
Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], firmware_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`selftest --json` at an address; the document is checked against its schema."""
    monkeypatch.setenv("GPUMEND_FIRMWARE", str(firmware_dir))

    def call(address: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        code = cli.run(["--on", address, "--json", "selftest", *arguments])
        out, err = capsys.readouterr()
        assert "has a defect" not in err, err
        document: dict[str, Any] = json.loads(out)
        jsonschema.validate(document, SCHEMA)
        return code, document

    return call


def failed(gpu: dict[str, Any]) -> list[str]:
    return [f"{one['name']} {one['engine']}: {one['seen']}" for one in gpu["checks"] if one["status"] == "failed"]


@pytest.mark.long
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_selftest_hive_of_eight_is_done_and_verified(run: Run, part: str) -> None:
    code, document = run(f"model:{part}*8")
    assert code == 0, [failed(gpu) for gpu in document["gpus"]]
    for gpu in document["gpus"]:
        counts = {name: sum(one["name"] == name for one in gpu["checks"]) for name in ("sdma", "compute", "peers")}
        assert counts == {"sdma": 16, "compute": 8, "peers": 1 + 7 * 3}
        assert all(one["verified"] for one in gpu["checks"])


@pytest.mark.parametrize("state", ["cold", "used"])
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_selftest_one_gpu_passes_from_every_state(run: Run, part: str, state: str) -> None:
    code, document = run(f"model:{part}?state={state}")
    assert code == 0, failed(document["gpus"][0])
    assert document["gpus"][0]["start_state"] == {"cold": "cold", "used": "dirty"}[state]


def test_selftest_is_the_same_twice(run: Run) -> None:
    def told() -> list[dict[str, Any]]:
        _, document = run("model:mi350x")
        return [{key: value for key, value in one.items() if key != "wall_s"} for one in document["gpus"][0]["checks"]]

    assert told() == told()


def test_selftest_full_level_bounded_by_memory_passes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpumend

    monkeypatch.setattr(gpumend, "_memory_limit", lambda found: 4 << 20)
    code, document = run("model:mi350x", "--level", "full", "--engine", "0,5")
    assert code == 0, failed(document["gpus"][0])
    (memory,) = [one for one in document["gpus"][0]["checks"] if one["name"] == "memory"]
    assert "1 to 4194304 bytes" in memory["seen"]


def test_selftest_small_bar_passes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the VRAM is out of the CPU's reach: engines carry what is written and read back."""
    import dataclasses

    from gpumodel.device import ModelTransport

    shown = 256 << 20
    bars, read, write = ModelTransport.bars, ModelTransport.read_block, ModelTransport.write_block

    def small_bars(self: ModelTransport) -> dict[int, Any]:
        return {index: dataclasses.replace(bar, size=shown) if index == 0 else bar for index, bar in bars(self).items()}

    def small_read(self: ModelTransport, bar: int, offset: int, size: int) -> bytes:
        assert bar != 0 or offset + size <= shown
        return read(self, bar, offset, size)

    def small_write(self: ModelTransport, bar: int, offset: int, data: bytes) -> None:
        assert bar != 0 or offset + len(data) <= shown
        write(self, bar, offset, data)

    monkeypatch.setattr(ModelTransport, "bars", small_bars)
    monkeypatch.setattr(ModelTransport, "read_block", small_read)
    monkeypatch.setattr(ModelTransport, "write_block", small_write)
    code, document = run("model:mi350x")
    assert code == 0, failed(document["gpus"][0])


def test_selftest_sdma_hang_fails_that_engine_only(run: Run) -> None:
    code, document = run("model:mi350x*2?fault=sdma-halted:3@1")
    assert code == 1
    assert document["gpus"][0]["status"] in ("ok", "unverified"), failed(document["gpus"][0])
    assert document["gpus"][1]["status"] == "failed"
    assert any(item["code"].startswith("amd.selftest.") for item in document["gpus"][1]["findings"])


def test_selftest_gpu_lost_while_copying_exits_69_and_spares_the_others(run: Run) -> None:
    code, document = run("model:mi350x*2?fault=lost-during:copy@1")
    assert code == 69
    assert document["gpus"][1]["status"] == "unavailable"
    assert [item["code"] for item in document["gpus"][1]["findings"]] == ["amd.selftest.lost"]
    assert not failed(document["gpus"][0])


@pytest.mark.long
def test_selftest_link_that_is_down_fails_at_both_ends_and_nothing_else(run: Run) -> None:
    code, document = run("model:mi350x*2?fault=xgmi-link-down@1")
    assert code == 1
    for gpu in document["gpus"]:
        assert {one["name"] for one in gpu["checks"] if one["status"] == "failed"} == {"peers"}
        (finding,) = gpu["findings"]
        assert finding["code"] == "amd.selftest.peers" and "XGMI" in finding["next"]


def test_selftest_old_page_fault_is_not_blamed_on_us(run: Run) -> None:
    code, document = run("model:mi350x?fault=page-fault")
    assert code == 0, failed(document["gpus"][0])
    assert "page faults of before forgotten" in document["gpus"][0]["checks"][0]["seen"]


def test_selftest_stuck_engine_at_boot_is_told_in_one_line(run: Run) -> None:
    code, document = run("model:mi350x?fault=sdma-hang:3")
    assert code == 1
    (finding,) = document["gpus"][0]["findings"]
    assert finding["code"] == "amd.selftest.boot"
    assert "SDMA 3: rptr" in finding["seen"] and "WRITE_LINEAR" in finding["seen"] and "\n" not in finding["seen"]


def test_selftest_sick_gpu_is_refused_with_the_action(run: Run) -> None:
    code, document = run("model:mi350x*2?fault=discovery-clobbered@0")
    assert code == 3
    first, second = document["gpus"]
    assert first["status"] == "refused" and "reset" in first["error"]["next"]
    assert not failed(second)


def test_selftest_without_firmware_exits_69_and_names_files_and_package(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["--on", "model:mi350x*8", "--firmware", str(tmp_path), "selftest"]) == 69
    out, err = capsys.readouterr()
    assert out == ""
    for word in ("psp_13_0_12_sos.bin", "gc_9_5_0_mec.bin", "sdma_4_4_4.bin", "firmware-amd-graphics", str(tmp_path)):
        assert word in err
    assert "vcn" not in err


def test_selftest_dry_run_writes_nothing_and_says_what_would_be_done(
    capsys: pytest.CaptureFixture[str], firmware_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpumodel.device import ModelTransport

    def forbidden(self: object, *_: object) -> None:
        raise AssertionError("a dry run wrote to the GPU")

    for name in ("config_write", "write64", "write_block", "alloc_dma"):
        monkeypatch.setattr(ModelTransport, name, forbidden)
    assert cli.run(["--on", "model:mi350x*2", "--firmware", str(firmware_dir), "selftest", "--dry-run"]) == 0
    out, _ = capsys.readouterr()
    assert out.count("would be tested") == 2
    assert "SDMA engines 0 to 15" in out and "each of 8 XCCs" in out and "1 others of the hive" in out


def test_selftest_dry_run_of_a_held_gpu_exits_3_and_names_the_holder(
    capsys: pytest.CaptureFixture[str], firmware_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpumodel.device import ModelTransport
    from pcibus.transport import LockHolder

    monkeypatch.setattr(ModelTransport, "holder", lambda self: LockHolder("/tmp/am.lock", 42, "python3"))
    assert cli.run(["--on", "model:mi350x", "--firmware", str(firmware_dir), "selftest", "--dry-run"]) == 3
    assert "held by python3 (pid 42)" in capsys.readouterr().out


def test_selftest_copies_that_drop_a_byte_are_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is wrong by one byte does not pass."""
    from amdriver import sdma_packets

    right = sdma_packets.copy_linear

    def short(dst: int, src: int, size_bytes: int) -> bytes:
        return right(dst, src, size_bytes - 1 if size_bytes == 4097 else size_bytes)

    monkeypatch.setattr(sdma_packets, "copy_linear", short)
    code, document = run("model:mi350x", "--engine", "5")
    assert code == 1
    (bad,) = [one for one in document["gpus"][0]["checks"] if one["status"] == "failed"]
    assert (bad["name"], bad["engine"]) == ("memory", "SDMA5")
    assert "VRAM offset 0x" in bad["where"] and bad["where"].endswith("moved by SDMA5, read through BAR0")
    assert "1 of 4096 bytes differ" in bad["seen"] or "bytes differ, the first at" in bad["seen"]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_selftest_interrupted_closes_and_exits_130(number: signal.Signals, firmware_dir: Path) -> None:
    """The GPUs live in this process: after the interrupt they are as after any clean close."""
    import gpumend
    from amdriver.opening import open_gpu

    server = gpumend.serve_model("127.0.0.1:0", "mi350x*2?state=cold")
    command = [sys.executable, "-m", "gpumend", "--on", server.address, "--firmware", str(firmware_dir), "selftest"]
    process = subprocess.Popen(
        [*command, "--level", "full"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        (looked, _) = gpumend.list_gpus([server.address])
        while looked.transport.holder() is None and process.poll() is None:
            time.sleep(0.05)
        looked.transport.close()
        time.sleep(1.5)  # some way into it; wherever it is, what it has begun must be closed
        process.send_signal(number)
        out, err = process.communicate(timeout=90)
        assert (process.returncode, out, err.strip()) == (130, "", "interrupted")
        for gpu in gpumend.list_gpus([server.address]):
            with open_gpu(gpu.transport, gpu.clock, firmware_dirs=[firmware_dir]) as opened:
                assert opened.start_state == "clean"
            gpu.transport.close()
    finally:
        process.kill()
        process.wait()
        server.close()


def test_selftest_of_a_gpu_that_is_driven_by_another_is_refused_and_names_it(run: Run, firmware_dir: Path) -> None:
    import gpumend
    from amdriver.opening import open_gpu

    server = gpumend.serve_model("127.0.0.1:0", "mi350x")
    try:
        (mine,) = gpumend.list_gpus([server.address])
        with open_gpu(mine.transport, mine.clock, firmware_dirs=[firmware_dir]):
            for arguments in ((), ("--dry-run",)):
                code, document = run(server.address, *arguments)
                assert code == 3
                assert f"(pid {os.getpid()}" in document["gpus"][0]["error"]["seen"]
        mine.transport.close()
    finally:
        server.close()


def test_selftest_of_a_virtual_function_is_refused(firmware_dir: Path) -> None:
    """The driver starts no VF: checked before anything is asked of it."""
    import dataclasses

    from amdriver.opening import check_free
    from base.errors import Refused
    from gpumodel import open_models

    (transport,) = open_models("mi350x")
    info = dataclasses.replace(transport.info(), device=0x75B0)
    object.__setattr__(transport, "info", lambda: info)
    with pytest.raises(Refused, match="opening"):
        check_free(transport)
