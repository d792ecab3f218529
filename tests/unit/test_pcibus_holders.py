"""pcibus/holders.py: who holds the device, in both directions."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import pytest

import pcibus.holders
from base.clock import VirtualClock
from pcibus.holders import Holders, container_of, find_holders
from tests.fakesys import FakeBar, FakeSys

BDF = "0000:c1:00.0"
OTHER = "0000:c2:00.0"
ID = "0123456789abcdef" * 4


@pytest.fixture
def fake(tmp_path: Path) -> FakeSys:
    made = FakeSys(tmp_path)
    made.add_device(BDF, drm=("card1", "renderD129"), iommu_group=41, bars={5: FakeBar(0x1000, 4096)})
    made.add_device(OTHER, drm=("card2", "renderD130"), iommu_group=42)
    return made


def find(fake: FakeSys, limit_s: float = 20.0, max_processes: int = 1000) -> Holders:
    return find_holders(BDF, root=fake.root, proc=fake.proc, limit_s=limit_s, max_processes=max_processes)


def test_holders_open_nodes_and_bars_are_found(fake: FakeSys) -> None:
    real = fake.device(BDF).path
    fake.add_process(100, "python3", fds=["/dev/null", "/dev/dri/renderD129", f"{real}/resource5", "socket:[1]"])
    fake.add_process(101, "qemu", fds=["/dev/vfio/vfio", "/dev/vfio/41"])
    fake.add_process(102, "other", fds=["/dev/dri/renderD130", "/dev/vfio/42", f"/x/{OTHER}/resource5", "/home/dri/x"])
    fake.add_process(103, "noiommu", fds=["/dev/vfio/noiommu-41"])
    held = find(fake)
    assert held.complete and held.gaps == ()
    assert [(h.pid, h.command, h.what, h.only_kfd) for h in held.holders] == [
        (100, "python3", ("/dev/dri/renderD129", "resource5 open"), False),
        (101, "qemu", ("/dev/vfio/41",), False),
        (103, "noiommu", ("/dev/vfio/noiommu-41",), False),
    ]
    assert held.real == held.holders


def test_holders_of_an_idle_device_are_none(fake: FakeSys) -> None:
    fake.add_process(1, "systemd")
    assert find(fake) == Holders((), complete=True)


def test_holders_that_only_opened_kfd_are_told_apart(fake: FakeSys) -> None:
    fake.add_kfd({111: (BDF, 0), 222: (OTHER, 0)})
    for pid in (200, 201, 202):
        fake.add_process(pid, "python3", fds=["/dev/kfd"])
    fake.add_kfd_process(200, queues={0: 222, 1: 111}, vram={111: 4096, 222: 0})
    fake.add_kfd_process(201, queues={0: 222}, vram={111: 0, 222: 4096})
    held = find(fake)
    assert [(h.pid, h.what, h.only_kfd) for h in held.holders] == [
        (200, ("kfd queue 1", "kfd memory: 4096 bytes of VRAM"), False),
        (201, ("/dev/kfd",), True),
        (202, ("/dev/kfd",), True),
    ]
    assert [h.pid for h in held.real] == [200]


def test_holders_zombie_that_keeps_memory_is_found(fake: FakeSys) -> None:
    fake.add_kfd({111: (BDF, 0)})
    fake.add_process(300, "python3", state="Z")
    fake.add_kfd_process(300, vram={111: 1 << 30})
    fake.add_kfd_process(301, vram={111: 5})
    zombie, gone = find(fake).holders
    assert zombie.what == ("kfd memory: 1073741824 bytes of VRAM", "the process is a zombie")
    assert (gone.command, gone.what[1]) == ("", "the process is gone, or hidden in another container")


def test_holders_of_a_partition_hold_the_gpu(fake: FakeSys) -> None:
    fake.add_kfd({111: (BDF, 0), 112: (BDF, 3), 222: (OTHER, 3)})
    fake.add_process(400)
    fake.add_kfd_process(400, queues={7: 112})
    fake.add_process(401)
    fake.add_kfd_process(401, queues={7: 222})
    assert [(h.pid, h.what) for h in find(fake).holders] == [(400, ("kfd queue 7",))]


def test_holders_of_a_neighbour_function_are_not_ours(fake: FakeSys) -> None:
    fake.add_device("0000:c1:00.3")
    fake.add_kfd({113: ("0000:c1:00.3", 0)})
    fake.add_process(400)
    fake.add_kfd_process(400, queues={7: 113})
    assert find(fake).holders == ()


def test_holders_mapping_outlives_the_open_file(fake: FakeSys) -> None:
    line = f"7f0000000000-7f0000001000 rw-s 00000000 00:17 123  /sys/devices/pci0000:00/{BDF}/resource5"
    deleted = f"7f0000000000-7f0000001000 rw-s 00000000 00:17 123  /sys/devices/pci0000:00/{BDF}/resource0_wc (deleted)"
    fake.add_process(500, "vfu", maps=f"55 r--p 0 0:0 0\n{line}\n{line}\n{deleted}\n")
    fake.add_process(501, "no", maps=line.replace(BDF, OTHER))
    (holder,) = find(fake).holders
    assert (holder.pid, holder.what) == (500, ("resource0_wc mapped", "resource5 mapped"))


def test_holders_device_number_beats_the_name_that_a_container_gives(fake: FakeSys, tmp_path: Path) -> None:
    fake.device(BDF).set("drm/renderD129/dev", "1:3")  # /dev/null plays our node, /dev/zero another
    fake.device(BDF).set("drm/card1/dev", "1:99")
    inside = tmp_path / "container/dev/dri"
    inside.mkdir(parents=True)
    (inside / "renderD128").symlink_to("/dev/null")
    (inside / "renderD129").symlink_to("/dev/zero")
    fake.add_process(600, fds=[str(inside / "renderD128")], cgroup=f"0::/system.slice/docker-{ID}.scope")
    fake.add_process(601, fds=[str(inside / "renderD129")])
    (holder,) = find(fake).holders
    assert (holder.pid, holder.what, holder.container) == (600, ("/dev/dri/renderD129",), "docker 0123456789ab")


def test_holders_vfio_device_nodes_are_found(fake: FakeSys) -> None:
    fake.device(BDF).set("vfio-dev/vfio3/dev", "511:3")
    fake.add_process(610, "vmm", fds=["/dev/vfio/devices/vfio3"])
    assert [h.what for h in find(fake).holders] == [("/dev/vfio/devices/vfio3",)]


@pytest.mark.parametrize(
    ("cgroup", "hint"),
    [
        (f"/system.slice/docker-{ID}.scope", "docker 0123456789ab"),
        (f"/docker/{ID}", "docker 0123456789ab"),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "containerd 0123456789ab"),
        (f"/machine.slice/libpod-{ID}.scope", "podman 0123456789ab"),
        (f"/kubepods/burstable/pod{'a' * 8}-{'b' * 27}/{ID}", "kubernetes 0123456789ab"),
        (f"/x/crio-{ID}.scope", "cri-o 0123456789ab"),
        ("/lxc.payload.web1/init.scope", "lxc web1"),
        ("/system.slice/slurmstepd.scope/job_4711/step_0", "slurm job_4711"),
        ("/user.slice/user-1000.slice/session-1.scope", ""),
    ],
)
def test_holders_container_is_read_from_the_cgroup(cgroup: str, hint: str) -> None:
    assert container_of(cgroup) == hint


def test_holders_cgroup_of_the_old_hierarchy(fake: FakeSys) -> None:
    cgroup = f"12:devices:/docker/{ID}\n1:name=systemd:/x\n0::/"
    fake.add_process(620, fds=["/dev/dri/card1"], cgroup=cgroup)
    (holder,) = find(fake).holders
    assert (holder.cgroup, holder.container) == (f"/docker/{ID}", "docker 0123456789ab")


def test_holders_strings_stay_raw(fake: FakeSys) -> None:
    fake.add_process(630, "\x1b[31mevil", fds=["/dev/dri/card1"])
    assert find(fake).holders[0].command == "\x1b[31mevil"


def test_holders_hidden_processes_make_it_incomplete(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_process(700)
    fake.add_process(701, fds=["/dev/dri/card1"])
    real = os.scandir

    def deny(path: object) -> object:
        if str(path).endswith("/700/fd"):
            raise PermissionError(13, "Permission denied")
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", deny)
    held = find(fake)
    assert not held.complete
    assert held.gaps == ("processes that may not be looked into: 1 (700): run as root (CAP_SYS_PTRACE)",)
    assert [h.pid for h in held.holders] == [701]


def test_holders_mappings_that_are_denied_make_it_incomplete(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in range(700, 706):
        fake.add_process(pid)
    real = Path.open

    def deny(self: Path, *arguments: str) -> object:
        if self.name == "maps":
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", deny)
    (gap,) = find(fake).gaps
    assert gap.startswith("processes that may not be looked into: 6 (700, 701, 702, 703, ...)")


def test_holders_processes_that_end_meanwhile_are_passed_over(fake: FakeSys) -> None:
    (fake.proc / "800").mkdir()
    (fake.proc / "801/fd").mkdir(parents=True)
    assert find(fake) == Holders((), complete=True)


def test_holders_without_proc_are_unknown_not_none(fake: FakeSys, tmp_path: Path) -> None:
    held = find_holders(BDF, root=fake.root, proc=tmp_path / "nowhere")
    assert not held.complete and "cannot be read: No such file" in held.gaps[0]


def test_holders_too_many_processes_are_cut_and_said(fake: FakeSys) -> None:
    for pid in range(900, 910):
        fake.add_process(pid, fds=["/dev/dri/card1"])
    held = find(fake, max_processes=4)
    assert len(held.holders) == 4 and held.gaps == ("more than 4 processes: the rest was not looked at",)


def test_holders_search_ends_with_its_time(fake: FakeSys) -> None:
    class Slow(VirtualClock):
        def now(self) -> float:
            self.sleep(0.5)
            return super().now()

    for pid in range(900, 990):
        fake.add_process(pid, fds=["/dev/dri/card1"])
    held = find_holders(BDF, root=fake.root, proc=fake.proc, clock=Slow(), limit_s=10)
    assert not held.complete and 1 <= len(held.holders) < 40
    assert held.gaps[0] == "not all processes were looked at within 10 s"


def test_holders_stuck_process_is_named_and_its_maps_left_alone(fake: FakeSys) -> None:
    process = fake.add_process(910, fds=["/dev/dri/card1"], state="D")
    (process / "maps").unlink()
    os.mkfifo(process / "maps")  # reading it would never end
    held = find(fake)
    assert held.holders[0].what == ("/dev/dri/card1", "the process is stuck in the kernel")
    assert held.gaps == ("process 910 is stuck in the kernel: its mappings were not read",)


def test_holders_maps_that_never_answer_cost_the_limit_only(fake: FakeSys) -> None:
    process = fake.add_process(920, fds=["/dev/dri/card1"])
    (process / "maps").unlink()
    os.mkfifo(process / "maps")
    start = time.monotonic()
    held = find(fake, limit_s=0.5)
    assert time.monotonic() - start < 10
    assert [h.pid for h in held.holders] == [920]
    assert not held.complete and held.gaps[0].startswith("mappings were not read: no answer; process")


def test_holders_of_this_very_process_on_the_real_proc(fake: FakeSys) -> None:
    file = fake.device(BDF).path / "resource5"
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 4096):
        me = find_holders(BDF, root=fake.root, limit_s=20, ignore=frozenset())
        without = find_holders(BDF, root=fake.root, limit_s=20)
    mine = next(holder for holder in me.holders if holder.pid == os.getpid())
    assert {"resource5 open", "resource5 mapped"} <= set(mine.what)
    assert os.getpid() not in [holder.pid for holder in without.holders]


def test_holders_gaps_are_bounded(fake: FakeSys) -> None:
    for pid in range(930, 960):
        fake.add_process(pid, state="D")
    assert len(find(fake).gaps) == pcibus.holders._MAX_GAPS
