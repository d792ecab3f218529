"""pcibus/binding.py: the plan, what is refused, and a write that never comes back. The kernel is played by stand-ins."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pcibus.binding
from base.clock import VirtualClock
from base.errors import GpumendError, NotPermitted, Refused, Unavailable, UsageError
from pcibus.binding import (
    BindStuck,
    Bound,
    Plan,
    Write,
    bind,
    driver_of,
    plan_bind,
    plan_rebind,
    plan_unbind,
    rebind,
    unbind,
)
from tests.fakesys import FakeSys

BDF = "0000:c1:00.0"


@pytest.fixture
def fake(tmp_path: Path) -> FakeSys:
    made = FakeSys(tmp_path)
    made.add_device(BDF, driver="amdgpu", drm=("renderD129",))
    made.add_driver("vfio-pci")
    return made


def kernel(fake: FakeSys, monkeypatch: pytest.MonkeyPatch, *, obeys: bool = True) -> None:
    """Writes to sysfs do what Linux does."""

    def write(item: Write) -> None:
        item.path.write_text(item.text)
        link = fake.device(BDF).path / "driver"
        if not obeys:
            return
        if item.path.name == "unbind":
            link.unlink()
        if item.path.name == "drivers_probe":
            wanted = (link.parent / "driver_override").read_text()
            link.symlink_to(fake.root / "bus/pci/drivers" / wanted)

    monkeypatch.setattr(pcibus.binding, "_write", write)


def go(
    fake: FakeSys, driver: str, *, dry_run: bool = False, despite_holders: bool = False, limit_s: float = 20.0
) -> Bound:
    if not driver:
        return unbind(
            BDF,
            root=fake.root,
            proc=fake.proc,
            lock_dir=fake.locks,
            limit_s=limit_s,
            clock=VirtualClock(),
            dry_run=dry_run,
            despite_holders=despite_holders,
        )
    return bind(
        BDF,
        driver,
        root=fake.root,
        proc=fake.proc,
        lock_dir=fake.locks,
        limit_s=limit_s,
        clock=VirtualClock(),
        dry_run=dry_run,
        despite_holders=despite_holders,
    )


def shown(plan: Plan, fake: FakeSys) -> list[str]:
    return [str(write).replace(f"{fake.root}/bus/pci/", "") for write in plan.writes]


def test_binding_plan_to_vfio_lists_the_exact_writes(fake: FakeSys) -> None:
    plan = plan_bind(BDF, "vfio-pci", root=fake.root)
    assert (plan.before, plan.driver) == ("amdgpu", "vfio-pci")
    assert shown(plan, fake) == [
        f"echo {BDF} > drivers/amdgpu/unbind",
        f"echo vfio-pci > devices/{BDF}/driver_override",
        f"echo {BDF} > drivers_probe",
    ]


def test_binding_plan_to_a_native_driver_clears_the_override_afterwards(fake: FakeSys) -> None:
    (fake.device(BDF).path / "driver").unlink()
    plan = plan_bind(BDF, "amdgpu", root=fake.root)
    assert shown(plan, fake) == [
        f"echo amdgpu > devices/{BDF}/driver_override",
        f"echo {BDF} > drivers_probe",
        f'echo "" > devices/{BDF}/driver_override',
    ]
    assert plan.writes[2].text == "\n"


def test_binding_that_is_already_so_plans_and_does_nothing(fake: FakeSys) -> None:
    assert plan_bind(BDF, "amdgpu", root=fake.root).writes == ()
    (fake.device(BDF).path / "driver").unlink()
    assert plan_unbind(BDF, root=fake.root) == Plan(BDF, "", "", ())
    assert go(fake, "") == Bound(Plan(BDF, "", "", ()), "", (), dry_run=False)


def test_rebinding_takes_and_gives_back_to_the_same_driver(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(plan_rebind(BDF, root=fake.root), fake) == [
        f"echo {BDF} > drivers/amdgpu/unbind",
        f"echo {BDF} > drivers/amdgpu/bind",
    ]
    done: list[str] = []

    def write(item: Write) -> None:
        item.path.write_text(item.text)
        link = fake.device(BDF).path / "driver"
        if item.path.name == "unbind":
            link.unlink()
        else:
            link.symlink_to(item.path.parent)

    monkeypatch.setattr(pcibus.binding, "_write", write)
    bound = rebind(BDF, root=fake.root, proc=fake.proc, lock_dir=fake.locks, clock=VirtualClock())
    done += [str(one).rpartition("/")[2] for one in bound.done]
    assert (bound.after, done) == ("amdgpu", ["unbind", "bind"])


def test_rebinding_without_a_driver_is_unavailable(fake: FakeSys) -> None:
    (fake.device(BDF).path / "driver").unlink()
    with pytest.raises(Unavailable, match="rebinding"):
        plan_rebind(BDF, root=fake.root)


def test_binding_dry_run_writes_nothing_and_takes_no_lock(fake: FakeSys) -> None:
    bound = go(fake, "vfio-pci", dry_run=True)
    assert bound.dry_run and bound.after == "amdgpu" and bound.done == () and len(bound.plan.writes) == 3
    assert (fake.root / "bus/pci/drivers/amdgpu/unbind").read_text() == ""
    assert list(fake.locks.iterdir()) == []


def test_binding_is_done_and_read_back(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    bound = go(fake, "vfio-pci")
    assert (bound.after, len(bound.done)) == ("vfio-pci", 3) and not bound.dry_run
    assert driver_of(BDF, fake.root) == "vfio-pci"
    assert go(fake, "").after == ""
    back = go(fake, "amdgpu")
    assert back.after == driver_of(BDF, fake.root) == "amdgpu"
    assert (fake.device(BDF).path / "driver_override").read_text() == "\n"


def test_binding_writes_reach_the_files(fake: FakeSys) -> None:
    with pytest.raises(GpumendError, match="driver none after the writes") as caught:
        go(fake, "")  # plain files: nobody lets go of the device
    assert (fake.root / "bus/pci/drivers/amdgpu/unbind").read_text() == BDF
    assert caught.value.seen == "driver amdgpu" and "dmesg" in caught.value.next_step


def test_binding_that_the_driver_did_not_take_is_a_failure(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch, obeys=False)
    with pytest.raises(GpumendError, match="driver vfio-pci after the writes") as caught:
        go(fake, "vfio-pci")
    assert caught.value.exit_code == 1 and caught.value.seen == "driver amdgpu"


def test_binding_to_vfio_without_an_iommu_names_it(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch, obeys=False)
    (fake.device(BDF).path / "iommu_group").unlink()
    with pytest.raises(GpumendError) as caught:
        go(fake, "vfio-pci")
    assert "intel_iommu=on" in caught.value.next_step


def test_binding_is_refused_while_a_process_holds_the_device(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    cgroup = f"0::/system.slice/docker-{'ab' * 32}.scope"
    fake.add_process(77, "python3", fds=["/dev/dri/renderD129"], cgroup=cgroup)
    with pytest.raises(Refused) as caught:
        go(fake, "")
    assert caught.value.seen == "pid 77 python3 (/dev/dri/renderD129, docker abababababab)"
    assert driver_of(BDF, fake.root) == "amdgpu"
    assert go(fake, "", despite_holders=True).after == ""


def test_binding_many_holders_are_counted(fake: FakeSys) -> None:
    for pid in range(10, 30):
        fake.add_process(pid, fds=["/dev/dri/renderD129"])
    with pytest.raises(Refused, match="and 12 more"):
        go(fake, "")


def test_binding_kfd_opener_counts_when_amdgpu_is_to_go(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    fake.add_process(78, "rocminfo", fds=["/dev/kfd"])
    with pytest.raises(Refused, match="pid 78 rocminfo"):
        go(fake, "")
    (fake.device(BDF).path / "driver").unlink()
    fake.bind(BDF, "vfio-pci")
    assert go(fake, "").after == ""


def test_binding_is_refused_when_processes_are_hidden(fake: FakeSys, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="to see every process"):
        unbind(BDF, root=fake.root, proc=tmp_path / "noproc", lock_dir=fake.locks)


def test_binding_is_refused_while_another_driver_has_the_lock(fake: FakeSys) -> None:
    handle = os.open(fake.locks / f"am_{BDF}.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(Refused, match="taking the lock"):
        go(fake, "vfio-pci")
    os.close(handle)
    assert (fake.root / "bus/pci/drivers/amdgpu/unbind").read_text() == ""


def test_binding_that_sticks_is_killed_and_named(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcibus.binding, "_write", lambda write: time.sleep(60))
    start = time.monotonic()
    with pytest.raises(BindStuck) as caught:
        go(fake, "vfio-pci", limit_s=0.2)
    assert time.monotonic() - start < 10
    error = caught.value
    assert error.doing == f"binding {BDF} to vfio-pci: step 1 of 3, take it from amdgpu,"
    assert error.where == f"echo {BDF} > {fake.root}/bus/pci/drivers/amdgpu/unbind"
    assert "was killed" in error.seen and "reboot of the node" in error.next_step


def refusing(number: int, step: str) -> Callable[[Write], None]:
    def write(item: Write) -> None:
        if item.path.name == step:
            raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, NotPermitted),
        (errno.EROFS, NotPermitted),
        (errno.ENODEV, Unavailable),
        (errno.EINVAL, GpumendError),
        (errno.EBUSY, GpumendError),
    ],
)
def test_binding_write_that_fails_tells_what_was_done_before(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[GpumendError]
) -> None:
    monkeypatch.setattr(pcibus.binding, "_write", refusing(number, "driver_override"))
    with pytest.raises(kind) as caught:
        go(fake, "vfio-pci")
    assert type(caught.value) is kind
    done = f"already done: echo {BDF} > {fake.root}/bus/pci/drivers/amdgpu/unbind"
    assert caught.value.seen == f"{os.strerror(number)}; {done}"


def test_binding_child_that_dies_is_told(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcibus.binding, "_write", lambda write: os._exit(9))
    with pytest.raises(GpumendError, match="exit status 9"):
        go(fake, "")


@pytest.mark.parametrize("bad", ["", "../../evil", "a/b", "a b", "amdgpu\n", "x" * 65, "-x"])
def test_binding_driver_name_that_is_none_is_a_usage_error(fake: FakeSys, bad: str) -> None:
    with pytest.raises(UsageError, match="a driver's name"):
        plan_bind(BDF, bad, root=fake.root)


def test_binding_driver_that_is_not_loaded_names_modprobe(fake: FakeSys) -> None:
    with pytest.raises(Unavailable) as caught:
        plan_bind(BDF, "uio_pci_generic", root=fake.root)
    assert caught.value.next_step == "modprobe uio_pci_generic"


def test_binding_function_that_is_not_there(fake: FakeSys) -> None:
    with pytest.raises(Unavailable, match=r"looking for 0000:99:00\.0"):
        plan_unbind("0000:99:00.0", root=fake.root)
    with pytest.raises(UsageError, match="bus address"):
        plan_bind("../..", "amdgpu", root=fake.root)
