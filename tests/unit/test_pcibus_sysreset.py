"""pcibus/sysreset.py: what is written, in which order, what is put back, what is refused. The kernel is played by stand-ins."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pcibus.sysreset
from base.clock import VirtualClock
from base.errors import GpumendError, NotPermitted, ReadOnlyViolation, Refused, Unavailable, UsageError
from pcibus.readonly import ReadOnly
from pcibus.sysfs import SysfsTransport
from pcibus.sysreset import ResetStuck, reset_function
from pcibus.transport import Can
from tests.fakesys import FakeBar, FakeSys

BDF = "0000:c1:00.0"
PORT = "0000:c0:01.0"


@pytest.fixture
def fake(tmp_path: Path) -> FakeSys:
    made = FakeSys(tmp_path)
    made.add_device(PORT, vendor=0x1022, class_code=0x060400, attributes={"rescan": ""})
    made.add_device(BDF, below=PORT, bars={5: FakeBar(0xA0000000, 4096)}, attributes={"reset": "", "remove": ""})
    (made.root / "bus/pci/rescan").touch()
    (made.root / "bus/pci/drivers_autoprobe").write_text("1\n")
    return made


def kernel(
    fake: FakeSys,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fails: Callable[[Path], OSError | None] = lambda file: None,
    finds_again: bool = True,
) -> None:
    """Writes to sysfs do what Linux does, and are kept in a file (they are made in children)."""
    device, link = fake.device(BDF).path, fake.root / "bus/pci/devices" / BDF

    def write(file: Path, text: str) -> None:
        with (fake.root / "log").open("a") as log:
            log.write(f"{file.relative_to(fake.root).as_posix()}={text}\n")
        error = fails(file)
        if error is not None:
            raise error
        if file.name == "remove":
            link.unlink()
        elif file.name == "rescan" and finds_again:
            link.symlink_to(device)
        elif file.name in ("reset_method", "drivers_autoprobe"):
            file.write_text(text + "\n")

    monkeypatch.setattr(pcibus.sysreset, "_write", write)


def log(fake: FakeSys) -> list[str]:
    """What was written: file names and texts."""
    file = fake.root / "log"
    return [line.rpartition("/")[2] for line in file.read_text().splitlines()] if file.exists() else []


def reset(fake: FakeSys, method: str, *, despite_driver: bool = False, limit_s: float = 20.0) -> None:
    reset_function(BDF, method, root=fake.root, clock=VirtualClock(), despite_driver=despite_driver, limit_s=limit_s)


# ---- FLR and bus


@pytest.mark.parametrize("method", ["flr", "bus"])
def test_function_is_reset_by_that_method_only_and_the_list_put_back(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    kernel(fake, monkeypatch)
    reset(fake, method)
    assert log(fake) == [f"reset_method={method}", "reset=1", "reset_method=flr bus"]


def test_only_method_needs_no_choosing(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    fake.device(BDF).set("reset_method", "bus")
    reset(fake, "bus")
    assert log(fake) == ["reset=1"]


def test_reset_that_is_left_to_the_kernel_leaves_its_list_as_it_is(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel(fake, monkeypatch)
    reset(fake, "any")
    assert log(fake) == ["reset=1"]
    fake.device(BDF).set("reset_method", "")
    with pytest.raises(Unavailable, match="one among the kernel's reset methods"):
        reset(fake, "any")


def test_failed_reset_is_told_and_the_list_is_put_back_all_the_same(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel(fake, monkeypatch, fails=lambda file: OSError(errno.ENOTTY, "no") if file.name == "reset" else None)
    with pytest.raises(GpumendError, match=f"resetting {BDF} by flr") as caught:
        reset(fake, "flr")
    assert caught.value.where.endswith("/reset")
    assert "did not answer after it" in caught.value.seen, "ENOTTY is the kernel's word for that"
    assert "dmesg" in caught.value.next_step
    assert log(fake)[-1] == "reset_method=flr bus"


def test_list_that_cannot_be_put_back_is_named(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(file: Path) -> OSError | None:
        chosen = file.name == "reset_method" and file.read_text().strip() == "flr"
        return OSError(errno.EIO, "no") if chosen else None

    kernel(fake, monkeypatch, fails=fails)
    with pytest.raises(GpumendError) as caught:
        reset(fake, "flr")
    assert "the reset itself was done" in caught.value.seen
    assert "could not be put back to 'flr bus'" in caught.value.seen


def test_method_that_the_kernel_does_not_offer_is_unavailable(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    fake.device(BDF).set("reset_method", "pm")
    for method in ("flr", "bus"):
        with pytest.raises(Unavailable) as caught:
            reset(fake, method)
        assert "pm" in caught.value.seen
    assert log(fake) == []


def test_bus_reset_by_the_port_where_the_function_has_none(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    fake.device(BDF).set("reset_method", "flr")
    fake.device(PORT).set("reset_subordinate", "")
    fake.add_device("0000:c1:00.1", below=PORT)
    reset(fake, "bus")
    assert log(fake) == ["reset_subordinate=1"]
    fake.add_device("0000:c1:01.0", below=PORT)
    with pytest.raises(Refused) as caught:
        reset(fake, "bus")
    assert caught.value.seen == "0000:c1:01.0"
    assert log(fake) == ["reset_subordinate=1"]


# ---- remove and rescan


def test_rescan_removes_and_finds_again_and_keeps_drivers_away(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    reset(fake, "rescan")
    assert log(fake) == ["drivers_autoprobe=0", "remove=1", "rescan=1", "drivers_autoprobe=1"]
    assert f"{PORT}/rescan=1" in (fake.root / "log").read_text(), "of the port above only"


def test_rescan_leaves_autoprobe_off_where_it_was_off(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    (fake.root / "bus/pci/drivers_autoprobe").write_text("0\n")
    reset(fake, "rescan")
    assert log(fake) == ["remove=1", "rescan=1"]


def test_function_that_is_not_found_again_is_unavailable(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch, finds_again=False)
    with pytest.raises(Unavailable, match="found again") as caught:
        reset(fake, "rescan")
    assert "bus-reset" in caught.value.next_step
    assert log(fake)[-1] == "drivers_autoprobe=1"


def test_function_that_does_not_go_is_told(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcibus.sysreset, "_write", lambda file, text: None)
    with pytest.raises(GpumendError, match="gone after remove"):
        reset(fake, "rescan")


# ---- refusals


@pytest.mark.parametrize("method", ["flr", "bus", "rescan"])
def test_bound_driver_is_refused_unless_told(fake: FakeSys, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    kernel(fake, monkeypatch)
    fake.bind(BDF, "amdgpu")
    with pytest.raises(Refused, match="bound to amdgpu"):
        reset(fake, method)
    assert log(fake) == []
    reset(fake, method, despite_driver=True)
    assert log(fake)


def test_wrong_words_and_absent_functions(fake: FakeSys) -> None:
    with pytest.raises(UsageError):
        reset(fake, "slot")
    with pytest.raises(UsageError):
        reset_function("../../x", "flr", root=fake.root)
    with pytest.raises(Unavailable, match="gpumend list"):
        reset_function("0000:c2:00.0", "flr", root=fake.root)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EACCES, NotPermitted), (errno.EROFS, NotPermitted), (errno.ENODEV, Unavailable), (errno.EIO, GpumendError)],
)
def test_what_the_kernel_says_becomes_an_error_of_ours(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[GpumendError]
) -> None:
    kernel(fake, monkeypatch, fails=lambda file: OSError(number, "no"))
    with pytest.raises(kind) as caught:
        reset(fake, "flr")
    assert type(caught.value) is kind
    assert caught.value.seen == os.strerror(number)


def test_reset_that_sticks_in_the_kernel_is_given_up(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(file: Path, text: str) -> None:
        if file.name == "reset":
            time.sleep(60)
        file.write_text(text)

    monkeypatch.setattr(pcibus.sysreset, "_write", write)
    with pytest.raises(ResetStuck) as caught:
        reset(fake, "flr", limit_s=0.3)
    assert caught.value.where.endswith("/reset")
    assert "reboot" in caught.value.next_step
    assert fake.device(BDF).path.joinpath("reset_method").read_text() == "flr bus"


# ---- the transport


def transport(fake: FakeSys) -> SysfsTransport:
    return SysfsTransport(BDF, root=fake.root, proc=fake.proc, lock_dir=fake.locks)


def test_transport_forgets_what_a_reset_takes_along(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(fake, monkeypatch)
    made = transport(fake)
    assert Can.RESET in made.can
    assert made.bars()[5].address == 0xA0000000
    assert made.read32(5, 0) == 0
    made.reset("rescan")
    assert not made._windows and not made._config
    resource = fake.device(BDF).path / "resource"
    resource.write_text(resource.read_text().replace("0x00000000a0000", "0x00000000b0000"))
    made.reset("flr")
    assert made.bars()[5].address == 0xB0000000


def test_look_refuses_a_reset(fake: FakeSys) -> None:
    look = ReadOnly(transport(fake))
    assert Can.RESET not in look.can
    with pytest.raises(ReadOnlyViolation, match="by flr"):
        look.reset("flr")
    assert log(fake) == []
