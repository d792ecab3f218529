"""Who is in the way is named; with leave, drivers let go and processes end: never the wrong ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import resets.makeway
from base.errors import Refused, Unavailable
from nvdriver.parts import PARTS as NV_PARTS
from pcibus.holders import Holder, Holders
from pcibus.sysfs import SysfsTransport
from pcibus.transport import Can
from resets.around import Places, behind_port, behind_switch, held_by, process_state, situation
from resets.grouping import Group
from resets.ladder import Rung
from resets.makeway import Way, ancestors, untouchable
from resets.methods import METHODS
from tests.fakesys import FakeSys, config_space
from tests.reset_fakes import FakeGpu

PORT, SWITCH = "0000:c0:00.0", "0000:bf:00.0"
ID = "0123456789abcdef" * 4


@pytest.fixture
def fake(tmp_path: Path) -> FakeSys:
    """A GPU behind a switch's port, and another function beside it."""
    made = FakeSys(tmp_path)
    made.add_device(SWITCH, class_code=0x060400, config=config_space(port_type=5, header_type=1))
    made.add_device(PORT, class_code=0x060400, below=SWITCH, config=config_space(port_type=6, header_type=1))
    made.add_device("0000:10:00.0", below=PORT, device=0x75A0, drm=("renderD129",))
    return made


def gpu_on_host(driver: str = "") -> FakeGpu:
    gpu = FakeGpu(0)
    gpu.transport.can = Can.HOST
    gpu.transport.driver = driver
    return gpu


def way(fake: FakeSys, **allowed: Any) -> Way:
    return Way(places=Places(fake.root, fake.proc), **allowed)


MODE1 = METHODS["mode1"]


def test_nobody_in_the_way_is_no_obstacle(fake: FakeSys) -> None:
    way(fake).clear([gpu_on_host()], MODE1)


def test_holders_are_named_with_container_and_state(fake: FakeSys) -> None:
    fake.add_process(100, "python3", fds=["/dev/dri/renderD129"], cgroup=f"0::/system.slice/docker-{ID}.scope")
    fake.add_process(101, "dead", fds=["/dev/dri/renderD129"], state="Z")
    with pytest.raises(Refused) as refused:
        way(fake).clear([gpu_on_host()], MODE1)
    assert "pid 100 python3 (docker 0123456789ab; /dev/dri/renderD129)" in refused.value.seen
    assert "pid 101 dead (/dev/dri/renderD129; the process is a zombie)" in refused.value.seen
    assert "--kill-holders" in refused.value.next_step


def test_process_that_only_opened_kfd_counts_while_amdgpu_is_bound(fake: FakeSys) -> None:
    fake.add_process(100, "python3", fds=["/dev/kfd"])
    way(fake).check([gpu_on_host()], MODE1)
    fake.bind("0000:10:00.0", "amdgpu")
    with pytest.raises(Refused, match="pid 100 python3"):
        way(fake).check([gpu_on_host("amdgpu")], METHODS["kernel-recover"])


def test_bound_driver_is_named_and_only_methods_of_the_driver_go_on(fake: FakeSys) -> None:
    fake.bind("0000:10:00.0", "amdgpu")
    with pytest.raises(Refused, match="amdgpu") as refused:
        way(fake).check([gpu_on_host("amdgpu")], MODE1)
    assert "--unbind" in refused.value.next_step
    way(fake).check([gpu_on_host("amdgpu")], METHODS["kernel-recover"])
    way(fake, unbind=True).check([gpu_on_host("amdgpu")], MODE1)


def test_unbinding_is_done_and_said(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.bind("0000:10:00.0", "amdgpu")
    asked: list[str] = []
    monkeypatch.setattr(resets.makeway, "unbind", lambda bdf, **options: asked.append(bdf))
    said: list[str] = []
    way(fake, unbind=True, say=said.append).clear([gpu_on_host("amdgpu")], MODE1)
    assert asked == ["0000:10:00.0"] and "unbound 0000:10:00.0 from amdgpu" in said[0]


def test_hidden_processes_are_a_refusal(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resets.around.find_holders", lambda *a, **k: Holders((), False, ("some are hidden",)))
    with pytest.raises(Refused, match="some are hidden"):
        way(fake, kill_holders=True).check([gpu_on_host()], MODE1)


# --- ending processes


def holder(pid: int, command: str = "python3") -> Holder:
    return Holder(pid, command, "", "", ("/dev/dri/renderD129",))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def holding(monkeypatch: pytest.MonkeyPatch, *answers: tuple[Holder, ...]) -> None:
    """find_holders gives these one after the other, the last for ever."""
    left = list(answers)

    def find(*_: object, **__: object) -> Holders:
        return Holders(left.pop(0) if len(left) > 1 else left[0], True)

    monkeypatch.setattr("resets.around.find_holders", find)
    monkeypatch.setattr("resets.makeway.find_holders", find)


def real_way(**allowed: Any) -> Way:
    return Way(kill_holders=True, **allowed)


def test_holder_is_ended(sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    holding(monkeypatch, (holder(sleeper.pid),), (holder(sleeper.pid),), ())
    said: list[str] = []
    real_way(say=said.append).clear([gpu_on_host()], MODE1)
    assert sleeper.wait(timeout=10) == -signal.SIGTERM
    assert said == [f"ended pid {sleeper.pid} python3, which held 0000:10:00.0"]


def test_holder_that_ignores_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setattr(resets.makeway, "TERM_S", 0.1)
        holding(monkeypatch, (holder(process.pid),), (holder(process.pid),), ())
        real_way().clear([gpu_on_host()], MODE1)
        assert process.wait(timeout=10) == -signal.SIGKILL


def holding_while_alive(monkeypatch: pytest.MonkeyPatch, *processes: subprocess.Popen[bytes]) -> None:
    """As the system tells it: each of these holds every GPU until it has ended."""

    def find(*_: object, **__: object) -> Holders:
        alive = [one.pid for one in processes if process_state(one.pid) not in ("", "Z")]
        return Holders(tuple(holder(pid) for pid in alive), True)

    monkeypatch.setattr("resets.around.find_holders", find)
    monkeypatch.setattr("resets.makeway.find_holders", find)


def test_process_that_holds_a_whole_hive_is_ended_once(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is gone when the next of its GPUs is looked at is what was wanted, not a refusal."""
    holding_while_alive(monkeypatch, sleeper)
    said: list[str] = []
    real_way(say=said.append).clear([gpu_on_host(), gpu_on_host(), gpu_on_host()], METHODS["hive-reset"])
    assert sleeper.wait(timeout=10) == -signal.SIGTERM
    assert len(said) == 1


def test_process_that_ends_with_the_job_it_is_of_is_no_obstacle(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher goes, and its worker with it before its turn comes."""
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    holding_while_alive(monkeypatch, sleeper, worker)

    def launcher_goes(text: str) -> None:
        worker.kill()
        worker.wait()

    real_way(say=launcher_goes).clear([gpu_on_host()], MODE1)


def test_holder_that_is_started_anew_is_a_refusal(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor is at work: what was ended holds the GPU again under another number."""
    monkeypatch.setattr(resets.makeway, "LET_GO_S", 0.1)
    holding(monkeypatch, (holder(sleeper.pid),), (holder(sleeper.pid),), (holder(os.getppid(), "worker"),))
    with pytest.raises(Refused, match=f"pid {os.getppid()} worker") as refused:
        real_way().clear([gpu_on_host()], MODE1)
    assert "stop what starts them anew" in refused.value.next_step


def test_process_that_does_not_hold_it_any_more_is_left_alone(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked for again just before: it let go, or its number is somebody else's now."""
    holding(monkeypatch, (holder(sleeper.pid),), (), ())
    real_way().clear([gpu_on_host()], MODE1)
    assert sleeper.poll() is None


@pytest.mark.parametrize("name", ["containerd-shim-runc-v2", "dockerd", "kubelet", "systemd", "slurmstepd"])
def test_container_runtimes_are_never_ended(
    name: str, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(monkeypatch, (holder(sleeper.pid, name),))
    with pytest.raises(Refused, match="every container or job"):
        real_way().clear([gpu_on_host()], MODE1)
    assert sleeper.poll() is None


def test_first_process_and_our_own_ancestors_are_never_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {os.getpid(), os.getppid()} <= ancestors()
    for pid in (0, 1, os.getpid(), os.getppid()):
        assert untouchable(holder(pid))
    holding(monkeypatch, (holder(os.getppid()),))
    with pytest.raises(Refused, match="gpumend itself"):
        real_way().clear([gpu_on_host()], MODE1)


def test_one_that_must_not_be_ended_keeps_all_others_alive(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(monkeypatch, (holder(sleeper.pid), holder(1, "systemd")))
    with pytest.raises(Refused, match="first process"):
        real_way().clear([gpu_on_host()], MODE1)
    assert sleeper.poll() is None


def test_zombie_is_named_and_cannot_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        holding(monkeypatch, (holder(process.pid),))
        with pytest.raises(Refused, match="it has ended"):
            real_way().clear([gpu_on_host()], MODE1)


# --- what stands around


def test_functions_behind_the_same_port_are_found(fake: FakeSys) -> None:
    fake.add_device("0000:c1:00.1", below=PORT)
    fake.add_device("0000:c2:00.0", below="0000:c1:00.1")
    assert behind_port("0000:10:00.0", fake.root) == ["0000:10:00.0", "0000:c1:00.1", "0000:c2:00.0"]
    group = Group((gpu_on_host(),))
    bus = situation(gpu_on_host(), Rung(METHODS["bus-reset"], (0,), ""), group, Places(fake.root, fake.proc))
    assert bus.siblings == ("0000:c1:00.1", "0000:c2:00.0") and bus.behind_switch is True
    assert situation(gpu_on_host(), Rung(MODE1, (0,), ""), group, Places(fake.root, fake.proc)).siblings == ()


def test_situation_of_a_function_that_the_system_does_not_know_any_more_is_told_without_an_error(
    tmp_path: Path,
) -> None:
    gone = SysfsTransport("0000:c1:00.0", root=FakeSys(tmp_path).root)
    with pytest.raises(Unavailable):
        gone.info()
    subject = gpu_on_host()
    subject.transport = gone
    told = situation(subject, Rung(METHODS["bus-reset"], (0,), ""), Group((subject,)), Places(tmp_path, tmp_path))
    assert (told.driver, told.is_vf, told.siblings) == ("", False, ())


def test_root_port_is_no_switch(fake: FakeSys) -> None:
    fake.add_device("0000:80:01.0", class_code=0x060400, config=config_space(port_type=4, header_type=1))
    fake.add_device("0000:81:00.0", below="0000:80:01.0")
    assert behind_switch("0000:81:00.0", fake.root) is False
    assert behind_switch("0000:99:00.0", fake.root) is None


def test_model_is_held_by_nobody() -> None:
    (held,) = held_by([FakeGpu(0)])
    assert (held.holders, held.processes, held.lock) == (None, (), "")


def nvidia_gpu(fake: FakeSys, driver: str = "nvidia") -> FakeGpu:
    """An H200 at the same place, with its node /dev/nvidia3."""
    gpu = gpu_on_host(driver)
    gpu.part = NV_PARTS[0x2335]
    folder = fake.proc / "driver/nvidia/gpus/0000:10:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Device Minor: \t 3\n")
    fake.bind("0000:10:00.0", driver)
    return gpu


FLR = METHODS["flr"]


def test_daemons_of_nvidia_are_named_with_the_way_to_stop_them(fake: FakeSys) -> None:
    gpu = nvidia_gpu(fake)
    fake.add_process(100, "nvidia-persiste", fds=["/dev/nvidia3"])
    fake.add_process(101, "nv-hostengine", fds=["/dev/nvidia3"])
    with pytest.raises(Refused) as refused:
        way(fake, unbind=True).check([gpu], FLR)
    assert "pid 100 nvidia-persiste" in refused.value.seen and "pid 101 nv-hostengine" in refused.value.seen
    told = "systemctl stop nvidia-persistenced; systemctl stop nvidia-dcgm, or let --kill-holders do it"
    assert refused.value.next_step == told
    fake.add_process(102, "python3", fds=["/dev/nvidia3"])
    with pytest.raises(Refused, match="refused") as refused:
        way(fake, unbind=True).check([gpu], FLR)
    assert "; end the others, or" in refused.value.next_step


def test_process_with_another_gpus_node_or_the_control_node_is_no_holder(fake: FakeSys) -> None:
    gpu = nvidia_gpu(fake)
    fake.add_process(100, "nv-fabricmanage", fds=["/dev/nvidiactl", "/dev/nvidia-nvswitchctl"])
    fake.add_process(101, "python3", fds=["/dev/nvidia2"])
    way(fake, unbind=True).check([gpu], FLR)


@pytest.mark.parametrize("running", [True, False, None])
def test_driver_that_keeps_the_gpu_running_without_a_process_is_not_asked_to_let_go(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch, running: bool | None
) -> None:
    gpu = nvidia_gpu(fake)
    monkeypatch.setattr("nvdriver.usage.is_initialized", lambda files, bdf: running)
    mine = way(fake, unbind=True, files=lambda subject: object())
    for method in (FLR, METHODS["driver-rebind"]):
        if running:
            with pytest.raises(Refused, match="keeps it initialized"):
                mine.check([gpu], method)
        else:
            mine.check([gpu], method)


def test_bound_nvidia_driver_is_refused_with_the_order(fake: FakeSys) -> None:
    with pytest.raises(Refused, match="nvidia") as refused:
        way(fake).check([nvidia_gpu(fake)], FLR)
    assert "nvidia-persistenced" in refused.value.next_step and "kernel-recover" not in refused.value.next_step
