"""pcibus/configstate.py: config space kept and written back, whatever it reads; nothing that starts something."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from base.errors import Unavailable
from pcibus.configstate import BUS_MASTER, COMMAND, SavedConfig, bus_master_off
from pcibus.sysfs import SysfsTransport
from pcibus.transport import Bar
from tests.fakesys import MEM32, MEM64_PREFETCH, FakeBar, FakeSys, config_space, words

BDF = "0000:c1:00.0"
BARS = {
    0: FakeBar(0x20_0000_0000, 1 << 30, MEM64_PREFETCH),
    2: FakeBar(0x60_0000_0000, 1 << 20, MEM64_PREFETCH),
    5: FakeBar(0xE000_0000, 1 << 12, MEM32),
}
# As config_space() has them, with the kernel's addresses.
ADDRESSES = {0x10: 0x0000000C, 0x14: 0x20, 0x18: 0x0000000C, 0x1C: 0x60, 0x24: 0xE0000000}


class Recording(SysfsTransport):
    """Config space of a file, its writes in order."""

    def __init__(self, fake: FakeSys) -> None:
        super().__init__(BDF, root=fake.root, proc=fake.proc, lock_dir=fake.locks)
        self.writes: list[tuple[int, int, int]] = []
        self.lost = False

    def config_read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1 if self.lost else super().config_read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.writes.append((offset, size, value))
        super().config_write(offset, size, value)

    def bars(self) -> Mapping[int, Bar]:
        return super().bars()


@pytest.fixture
def gpu(tmp_path: Path) -> Recording:
    fake = FakeSys(tmp_path)
    fake.add_device(BDF, bars=BARS, config=config_space(aspm=2, more={0x64 + 0x08: words(0x00002810)}))
    return Recording(fake)


def forget(gpu: Recording) -> None:
    for offset in ADDRESSES:
        SysfsTransport.config_write(gpu, offset, 4, 0)
    SysfsTransport.config_write(gpu, COMMAND, 2, 0)


def test_everything_is_written_although_it_reads_as_kept(gpu: Recording) -> None:
    saved = SavedConfig.take(gpu)
    assert saved.answered
    assert dict(saved.bars) == ADDRESSES
    saved.restore(gpu)
    written = {offset: value for offset, _, value in gpu.writes}
    assert ADDRESSES.items() <= written.items()
    assert written[0x64 + 0x10] == 2, "link control"
    assert {0x0C, 0x3C, 0xA2, 0xC2, 0x218} <= set(written), "cache line, line, MSI, MSI-X, size of the BAR"


def test_command_comes_last_and_bus_mastering_stays_off(gpu: Recording) -> None:
    assert gpu.config_read(COMMAND, 2) & BUS_MASTER
    saved = SavedConfig.take(gpu)
    forget(gpu)
    saved.restore(gpu)
    assert gpu.writes[0][0] == gpu.writes[-1][0] == COMMAND
    assert gpu.writes[0][2] & 6 == 0, "nothing decodes while addresses are written"
    assert gpu.config_read(COMMAND, 2) == 0x0402
    assert saved.differences(gpu) == ()


def test_size_of_a_bar_is_written_before_its_address(gpu: Recording) -> None:
    SavedConfig.take(gpu).restore(gpu)
    order = [offset for offset, _, _ in gpu.writes]
    assert order.index(0x218) < order.index(0x10)


def test_bits_that_start_something_are_not_written(gpu: Recording) -> None:
    SysfsTransport.config_write(gpu, 0x64 + 0x08, 2, 0xA810)  # as if the bit could be read
    SavedConfig.take(gpu).restore(gpu)
    (control,) = [value for offset, _, value in gpu.writes if offset == 0x64 + 0x08]
    assert control == 0x2810, "without the function's reset"


def test_function_that_does_not_answer_is_restored_from_what_the_system_knows(gpu: Recording) -> None:
    gpu.lost = True
    saved = SavedConfig.take(gpu)
    assert (saved.answered, saved.words) == (False, ())
    assert dict(saved.bars) == ADDRESSES
    gpu.lost = False
    forget(gpu)
    saved.restore(gpu)
    assert {offset: gpu.config_read(offset, 4) for offset in ADDRESSES} == ADDRESSES
    assert gpu.config_read(COMMAND, 2) & 6 == 2


def test_addresses_that_are_lost_already_come_from_the_system(gpu: Recording) -> None:
    forget(gpu)
    saved = SavedConfig.take(gpu)
    assert dict(saved.bars) == ADDRESSES
    assert saved.command & 2


def test_function_of_which_nothing_is_known_is_kept_all_the_same(
    gpu: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Mapping[int, Bar]:
        raise Unavailable("reading the BARs", seen="gone")

    gpu.lost = True
    monkeypatch.setattr(gpu, "bars", gone)
    assert SavedConfig.take(gpu).bars == ()


def test_what_differs_is_told_in_words(gpu: Recording) -> None:
    saved = SavedConfig.take(gpu)
    forget(gpu)
    told = saved.differences(gpu)
    assert "config+0x14: 0x00000000, kept 0x00000020" in told
    assert told[-1] == "command: 0x0000, kept 0x0406"
    assert told == saved.lost(gpu)


def test_control_word_that_differs_is_told_and_is_no_loss(gpu: Recording) -> None:
    saved = SavedConfig.take(gpu)
    SysfsTransport.config_write(gpu, 0x64 + 0x10, 2, 0)
    SysfsTransport.config_write(gpu, COMMAND, 2, 2)
    assert saved.lost(gpu) == ()
    assert saved.differences(gpu) == ("config+0x74: 0x0000, kept 0x0002", "command: 0x0002, kept 0x0406")


def test_kind_of_an_address_is_the_functions_own(gpu: Recording) -> None:
    gpu.lost = True
    saved = SavedConfig.take(gpu)
    gpu.lost = False
    SysfsTransport.config_write(gpu, 0x18, 4, 0x00000004)  # not prefetchable, whatever the system said
    assert saved.lost(gpu) == ()
    SysfsTransport.config_write(gpu, 0x1C, 4, 0x61)
    assert saved.lost(gpu) == ("config+0x1c: 0x00000061, kept 0x00000060",)


def test_bus_mastering_off_is_written_only_where_it_is_on(gpu: Recording) -> None:
    bus_master_off(gpu)
    bus_master_off(gpu)
    assert gpu.writes == [(COMMAND, 2, 0x0402)]
    gpu.lost = True
    bus_master_off(gpu)
    assert len(gpu.writes) == 1
