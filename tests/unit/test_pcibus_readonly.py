"""pcibus/readonly.py: looking changes nothing, and what it must change it puts back."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import DeviceLost, ReadOnlyViolation, Refused
from pcibus.readonly import ReadOnly
from pcibus.sysfs import SysfsTransport
from pcibus.transport import Can, FunctionInfo, LockHolder, Transport
from tests.fakesys import FakeBar, FakeDevice, FakeSys, words

BDF = "0000:c1:00.0"
INDEX, DATA, INDEX_HI, OTHER = 0x38, 0x3C, 0x44, 0x100
ALLOWED = frozenset({(5, INDEX), (5, INDEX_HI)})


def build(tmp_path: Path, driver: str = "") -> tuple[SysfsTransport, FakeDevice, FakeSys]:
    fake = FakeSys(tmp_path)
    content = bytes(INDEX) + words(0x1111, 0x2222, 0, 0x3333)
    device = fake.add_device(BDF, driver=driver, bars={5: FakeBar(0x1000, 8192, content=content)})
    return SysfsTransport(BDF, root=fake.root, lock_dir=fake.locks), device, fake


def test_readonly_reads_pass_through(tmp_path: Path) -> None:
    inner, _, _ = build(tmp_path)
    look = ReadOnly(inner)
    assert isinstance(look, Transport)
    assert look.read32(5, INDEX) == 0x1111 and look.read64(5, INDEX) == 0x2222_0000_1111
    assert look.read_block(5, INDEX, 8) == words(0x1111, 0x2222)
    assert look.config_read(0, 4) == inner.config_read(0, 4) and look.config_size() == inner.config_size()
    assert (look.info(), look.bars(), look.name, look.holder()) == (inner.info(), inner.bars(), BDF, None)
    assert look.can == inner.can & ~(Can.CONFIG_WRITE | Can.RESET)
    look.close()


@pytest.mark.parametrize(
    ("write", "where"),
    [
        (lambda t: t.write32(5, OTHER, 1), "BAR5+0x100"),
        (lambda t: t.write32(0, INDEX, 1), "BAR0+0x38"),
        (lambda t: t.write64(5, INDEX, 1), "BAR5+0x38"),
        (lambda t: t.write_block(5, INDEX, bytes(4)), "BAR5+0x38"),
        (lambda t: t.config_write(4, 2, 0x402), "config+0x4"),
        (lambda t: t.alloc_dma(4096), "DMA"),
    ],
)
def test_readonly_every_other_write_is_a_violation(
    tmp_path: Path, write: Callable[[Transport], object], where: str
) -> None:
    inner, device, _ = build(tmp_path)
    before = (device.path / "resource5").read_bytes(), (device.path / "config").read_bytes()
    look = ReadOnly(inner, ALLOWED)
    for hold in (False, True):
        with pytest.raises(ReadOnlyViolation) as caught:
            if hold:
                with look.exclusive():
                    write(look)
            else:
                write(look)
        assert caught.value.where == f"{where} on {BDF}"
        assert "defect of gpumend" in caught.value.next_step
    assert ((device.path / "resource5").read_bytes(), (device.path / "config").read_bytes()) == before


def test_readonly_index_register_without_the_lock_is_a_violation(tmp_path: Path) -> None:
    inner, _, _ = build(tmp_path)
    with pytest.raises(ReadOnlyViolation, match="without the lock"):
        ReadOnly(inner, ALLOWED).write32(5, INDEX, 1)
    assert inner.read32(5, INDEX) == 0x1111


def test_readonly_index_registers_are_put_back_last_first(tmp_path: Path) -> None:
    inner, _, _ = build(tmp_path)
    log: list[tuple[int, int]] = []
    real = inner.write32

    def logging(bar: int, offset: int, value: int) -> None:
        log.append((offset, value))
        real(bar, offset, value)

    inner.write32 = logging  # type: ignore[method-assign]
    look = ReadOnly(inner, ALLOWED)
    with look.exclusive():
        look.write32(5, INDEX, 7)
        with look.exclusive():
            look.write32(5, INDEX_HI, 8)
        assert inner.read32(5, INDEX_HI) == 8  # put back at the outermost
        look.write32(5, INDEX, 9)
    assert log == [(INDEX, 7), (INDEX_HI, 8), (INDEX, 9), (INDEX_HI, 0x3333), (INDEX, 0x1111)]
    with look.exclusive():
        pass
    assert len(log) == 5  # what was not written is not restored


def test_readonly_index_registers_are_put_back_after_an_error(tmp_path: Path) -> None:
    inner, _, _ = build(tmp_path)
    look = ReadOnly(inner, ALLOWED)
    with pytest.raises(KeyError), look.exclusive():
        look.write32(5, INDEX, 7)
        raise KeyError
    assert inner.read32(5, INDEX) == 0x1111


def test_readonly_restore_goes_on_when_one_register_fails(tmp_path: Path) -> None:
    inner, _, _ = build(tmp_path)
    real = inner.write32
    look = ReadOnly(inner, ALLOWED)

    def failing(bar: int, offset: int, value: int) -> None:
        if (offset, value) == (INDEX_HI, 0x3333):
            raise DeviceLost("writing")
        real(bar, offset, value)

    inner.write32 = failing  # type: ignore[method-assign]
    with pytest.raises(DeviceLost), look.exclusive():
        look.write32(5, INDEX, 7)
        look.write32(5, INDEX_HI, 8)
    assert inner.read32(5, INDEX) == 0x1111


def test_readonly_lock_is_refused_while_a_driver_is_bound_and_no_file_is_made(tmp_path: Path) -> None:
    inner, _, fake = build(tmp_path, driver="amdgpu")
    with pytest.raises(Refused, match="bound to amdgpu"), ReadOnly(inner, ALLOWED).exclusive():
        pass
    assert list(fake.locks.iterdir()) == []


def test_readonly_lock_is_refused_while_somebody_holds_it(tmp_path: Path) -> None:
    inner, _, fake = build(tmp_path)
    handle = os.open(fake.locks / f"am_{BDF}.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(Refused, match="nobody else drives") as caught, ReadOnly(inner, ALLOWED).exclusive():
        pass
    assert caught.value.where == str(fake.locks / f"am_{BDF}.lock")
    os.close(handle)


class Elsewhere(SysfsTransport):
    """A device whose system tells little."""

    facts: FunctionInfo
    other: LockHolder | None = None

    def info(self) -> FunctionInfo:
        return self.facts

    def holder(self) -> LockHolder | None:
        return self.other


def test_readonly_unknown_driver_is_refused_on_this_machine_and_fine_elsewhere(tmp_path: Path) -> None:
    _, _, fake = build(tmp_path)
    inner = Elsewhere(BDF, root=fake.root, lock_dir=fake.locks)
    inner.facts = replace(SysfsTransport(BDF, root=fake.root).info(), driver=None)
    with pytest.raises(Refused, match="does not say whether one is bound"), ReadOnly(inner, ALLOWED).exclusive():
        pass
    inner.can &= ~Can.HOST  # a model, a recording
    with ReadOnly(inner, ALLOWED).exclusive():
        pass
    inner.other = LockHolder("/tmp/x.lock", 5, "python3")
    with pytest.raises(Refused, match=r"held by python3 \(pid 5\)"), ReadOnly(inner, ALLOWED).exclusive():
        pass


def test_readonly_index_registers_belong_to_the_thread_with_the_lock(tmp_path: Path) -> None:
    inner, _, _ = build(tmp_path)
    look = ReadOnly(inner, ALLOWED)
    caught: list[BaseException] = []

    def intruder() -> None:
        try:
            look.write32(5, INDEX, 5)
        except ReadOnlyViolation as error:
            caught.append(error)

    with look.exclusive():
        thread = threading.Thread(target=intruder)
        thread.start()
        thread.join(20)
    assert len(caught) == 1
    assert inner.read32(5, INDEX) == 0x1111
