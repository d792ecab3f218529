"""amdriver/discovery_locate.py on a fake GPU: every place, every way in, and what it does to the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from amdriver.access import Access
from amdriver.discovery import validate
from amdriver.discovery_locate import Located, from_debugfs, locate
from amdriver.parts import part_of
from base.clock import VirtualClock
from base.errors import NotPermitted, Unavailable
from base.findings import Finding, Severity
from tests.fuzz.discovery_blobs import build, mi350x
from tests.unit.discovery_fake import (
    C2PMSG_33,
    MEMSIZE,
    MM_INDEX,
    MM_INDEX_HI,
    ONES,
    SCRATCH_0,
    SCRATCH_1,
    SCRATCH_2,
    FakeGpu,
)

GOOD = build(mi350x())
MIB = 196608
DEFAULT = (MIB << 20) - 0x10000
WHOLE_BAR0 = 1 << 38


def gpu_with_table(**settings: int) -> FakeGpu:
    gpu = FakeGpu(memsize_mib=MIB, **settings)
    gpu.put(DEFAULT, GOOD)
    return gpu


def look(gpu: FakeGpu, clock: VirtualClock | None = None, device: int = 0x74A1) -> Located:
    return locate(Access(gpu), clock or VirtualClock(), part=part_of(0x1002, device))


def one(located: Located) -> Finding:
    assert len(located.findings) == 1, located.findings
    assert len(located.findings[0].summary) <= 80
    return located.findings[0]


@pytest.mark.parametrize(
    ("bar0", "word"), [(WHOLE_BAR0, "BAR0"), (0, "the MM_INDEX window"), (256 << 20, "the MM_INDEX")]
)
def test_locate_default_place_through_bar0_or_window(bar0: int, word: str) -> None:
    located = look(gpu_with_table(bar0=bar0))
    assert located.blob == GOOD
    assert located.findings == ()
    assert located.vram_offset == DEFAULT
    assert located.memsize_mib == MIB
    assert located.vram_size_bytes == MIB << 20
    assert located.source.startswith(word)
    assert "64 KiB before the end" in located.source
    assert validate(located.blob).ok


def test_locate_through_bar0_writes_nothing_at_all() -> None:
    gpu = gpu_with_table(bar0=WHOLE_BAR0)
    look(gpu)
    assert gpu.written() == set()


def test_locate_through_the_window_writes_only_its_index_and_restores_it() -> None:
    gpu = gpu_with_table()
    gpu.registers |= {MM_INDEX: 0x80000010, MM_INDEX_HI: 2}
    look(gpu)
    assert gpu.written() == {MM_INDEX, MM_INDEX_HI}
    assert (gpu.registers[MM_INDEX], gpu.registers[MM_INDEX_HI]) == (0x80000010, 2)
    assert gpu.unlocked_index_accesses == 0


def test_locate_default_place_wins_over_driver_scratch() -> None:
    gpu = gpu_with_table(bar0=WHOLE_BAR0)
    gpu.registers |= {SCRATCH_2: 0x2800, SCRATCH_0: 0x100000}
    assert look(gpu).vram_offset == DEFAULT
    assert gpu.count("R", 5, SCRATCH_2) == 0


def test_locate_driver_scratch_names_another_place() -> None:
    gpu = FakeGpu(bar0=WHOLE_BAR0, memsize_mib=MIB)
    place = 0x12_3456_7000
    gpu.put(place, GOOD)
    gpu.registers |= {SCRATCH_2: 0x2000, SCRATCH_1: place >> 32, SCRATCH_0: place & ONES}
    located = look(gpu)
    assert located.blob == GOOD
    assert located.vram_offset == place
    assert located.source == "BAR0, where the driver scratch registers point"
    assert located.findings == ()


@pytest.mark.parametrize(
    ("offset", "size"), [(MIB << 20, 0x2800), ((MIB << 20) - 0x1000, 0x2800), (0x1002, 0x2800), (0, 4)]
)
def test_locate_driver_scratch_that_makes_no_sense_is_noted_and_not_followed(offset: int, size: int) -> None:
    gpu = FakeGpu(bar0=WHOLE_BAR0, memsize_mib=MIB)
    gpu.put(DEFAULT, b"foreign!" * 512)
    gpu.registers |= {SCRATCH_2: size, SCRATCH_1: offset >> 32, SCRATCH_0: offset & ONES}
    located = look(gpu)
    finding = one(located)
    assert (finding.code, finding.severity) == ("amd.discovery.scratch", Severity.NOTE)
    assert f"offset {offset:#x}, size {size:#x}" in finding.seen


def test_locate_driver_scratch_with_a_huge_size_is_read_within_64_kib() -> None:
    gpu = FakeGpu(bar0=WHOLE_BAR0, memsize_mib=MIB)
    gpu.put(0x100000, b"\x07\x14\x21\x28" + b"\xee" * 60)  # the signature, and then no size that fits
    gpu.registers |= {SCRATCH_2: 1 << 30, SCRATCH_0: 0x100000}
    located = look(gpu)
    assert (located.vram_offset, len(located.blob)) == (0x100000, 0xEEEE)


def test_locate_table_that_appears_a_moment_later_is_found() -> None:
    gpu = FakeGpu(bar0=WHOLE_BAR0, memsize_mib=MIB)

    class Late(VirtualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            gpu.put(DEFAULT, GOOD)

    clock = Late()
    located = look(gpu, clock)
    assert located.blob == GOOD
    assert 0 < clock.now() < 0.1


def test_locate_overwritten_table_gives_the_whole_region_for_comparison() -> None:
    gpu = FakeGpu(bar0=WHOLE_BAR0, memsize_mib=MIB)
    foreign = b"\xef\xbe\xad\xde" * 64 + GOOD[256:]
    gpu.put(DEFAULT, foreign)
    located = look(gpu)
    assert len(located.blob) == 0x2800
    assert located.blob.startswith(foreign)
    assert located.findings == ()
    assert validate(located.blob, golden=GOOD).findings[0].code == "amd.discovery.signature"


def test_locate_zeros_are_handed_on_for_judgement() -> None:
    located = look(FakeGpu(bar0=WHOLE_BAR0, memsize_mib=MIB))
    assert located.blob == bytes(0x2800)


# ---- a GPU that is not well


def test_locate_boot_firmware_not_ready_is_noted_after_a_bounded_wait() -> None:
    gpu = gpu_with_table(bar0=WHOLE_BAR0)
    gpu.registers[C2PMSG_33] = 0
    clock = VirtualClock()
    located = look(gpu, clock)
    assert located.blob == GOOD
    assert (one(located).code, one(located).severity) == ("amd.discovery.boot", Severity.NOTE)
    assert clock.now() == pytest.approx(0.3, abs=0.02)
    assert gpu.count("R", 5, C2PMSG_33) < 60


def test_locate_dead_registers_cost_one_read_and_no_time() -> None:
    gpu = gpu_with_table()
    gpu.dead = True
    clock = VirtualClock()
    located = look(gpu, clock)
    finding = one(located)
    assert (finding.code, finding.severity) == ("amd.discovery.unreadable", Severity.UNKNOWN)
    assert "all ones" in finding.summary
    assert located.blob == b""
    assert clock.now() == 0
    assert len(gpu.log) == 1


def test_locate_memory_size_all_ones_is_unreadable() -> None:
    gpu = gpu_with_table()
    gpu.registers[MEMSIZE] = ONES
    located = look(gpu)
    assert one(located).code == "amd.discovery.unreadable"
    assert located.memsize_mib is None


def test_locate_memory_size_zero_is_an_error() -> None:
    gpu = gpu_with_table()
    gpu.registers[MEMSIZE] = 0
    finding = one(look(gpu))
    assert (finding.code, finding.severity) == ("amd.discovery.memsize", Severity.ERROR)


def test_locate_memory_size_zero_of_an_apu_is_only_unreadable() -> None:
    gpu = gpu_with_table()
    gpu.registers[MEMSIZE] = 0
    finding = one(look(gpu, device=0x74A0))
    assert (finding.code, finding.severity) == ("amd.discovery.unreadable", Severity.UNKNOWN)
    assert "APU" in finding.summary


def test_locate_memory_size_beyond_reason_is_not_followed() -> None:
    gpu = gpu_with_table()
    gpu.registers[MEMSIZE] = 0xDEADBEEF
    located = look(gpu)
    assert one(located).summary == "memory size makes no sense"
    assert located.blob == b""


def test_locate_memory_size_of_another_part_is_a_warning() -> None:
    located = look(gpu_with_table(bar0=WHOLE_BAR0), device=0x75A0)
    finding = one(located)
    assert (finding.severity, finding.summary) == (Severity.WARNING, "memory size is not that of an MI350X")
    assert finding.expected == "286064..294912 MiB"
    assert located.blob == GOOD


def test_locate_without_a_part_judges_no_size() -> None:
    located = locate(Access(gpu_with_table(bar0=WHOLE_BAR0)), VirtualClock())
    assert located.findings == ()


def test_locate_vram_all_ones_is_sampled_not_read_whole() -> None:
    gpu = gpu_with_table(bar0=WHOLE_BAR0)
    gpu.bar0_dead = True
    gpu.vram.clear()
    for at in range(0, 0x2800, 4):
        gpu.vram[DEFAULT + at] = ONES
    located = look(gpu)
    assert located.blob == b"\xff" * 64
    assert len(gpu.log) < 100
    assert validate(located.blob).findings[0].seen == "all ones"


def test_locate_dead_bar0_with_a_good_window_blames_bar0() -> None:
    gpu = gpu_with_table(bar0=WHOLE_BAR0)
    gpu.bar0_dead = True
    located = look(gpu)
    assert one(located).code == "amd.discovery.bar0"
    assert located.blob == GOOD
    assert located.source.startswith("the MM_INDEX window")


def test_locate_dead_bar0_and_a_refused_window_leaves_bar0s_answer() -> None:
    gpu = gpu_with_table(bar0=WHOLE_BAR0)
    gpu.bar0_dead = True
    gpu.locked_by = "amdgpu"
    located = look(gpu)
    assert located.blob == b"\xff" * 64
    assert located.findings == ()


def test_locate_refused_window_is_a_finding_of_unknown_severity() -> None:
    gpu = gpu_with_table()
    gpu.locked_by = "python[12]"
    located = look(gpu)
    finding = one(located)
    assert (finding.code, finding.severity) == ("amd.discovery.unreadable", Severity.UNKNOWN)
    assert finding.seen == "locking the GPU refused: held by python[12]"
    assert finding.next == "stop it"
    assert located.blob == b""
    assert located.memsize_mib == MIB
    assert gpu.written() == set()


def test_locate_table_that_changes_while_read_is_unstable() -> None:
    class Changing(FakeGpu):
        @contextmanager
        def exclusive(self) -> Iterator[None]:
            with super().exclusive():
                yield
            self.vram[DEFAULT + 0x100] = len(self.log)

    gpu = Changing(memsize_mib=MIB)
    gpu.put(DEFAULT, GOOD)
    finding = next(f for f in look(gpu).findings if f.code == "amd.discovery.unstable")
    assert finding.severity is Severity.ERROR
    assert "differ, first at 0x100" in finding.seen


@pytest.mark.parametrize("error", [NotPermitted("reading BAR5"), Unavailable("reading BAR5")])
def test_locate_first_register_read_that_raises_is_passed_on(error: Exception) -> None:
    class Closed(FakeGpu):
        def read32(self, bar: int, offset: int) -> int:
            raise error

    with pytest.raises(type(error), match="reading BAR5"):
        look(Closed())


# ---- the driver's copy

BDF = "0000:c1:00.0"


def _minor(root: Path, number: str, bdf: str, blob: bytes | None) -> None:
    folder = root / number
    folder.mkdir()
    (folder / "name").write_text(f"amdgpu dev={bdf} master=pci:{bdf} unique={bdf}\n")
    if blob is not None:
        (folder / "amdgpu_discovery").write_bytes(blob)


def test_debugfs_folder_by_minor_is_matched_by_its_name(tmp_path: Path) -> None:
    _minor(tmp_path, "0", "0000:05:00.0", b"other")
    _minor(tmp_path, "128", BDF, GOOD.ljust(0x2800, b"\0"))
    (tmp_path / "not-a-number").mkdir()
    located = from_debugfs(BDF, tmp_path)
    assert located is not None
    assert located.blob.startswith(GOOD)
    assert located.vram_offset is None
    assert located.findings[0].code == "amd.discovery.driver-copy"
    assert validate(located.blob, driver_copy=True).ok


def test_debugfs_folder_by_address_is_taken_first(tmp_path: Path) -> None:
    (tmp_path / BDF).mkdir()
    (tmp_path / BDF / "amdgpu_discovery").write_bytes(GOOD)
    located = from_debugfs(BDF, str(tmp_path))
    assert located is not None
    assert located.source == f"debugfs {tmp_path}/{BDF}/amdgpu_discovery"


def test_debugfs_nothing_usable_is_none(tmp_path: Path) -> None:
    assert from_debugfs(BDF, tmp_path) is None
    assert from_debugfs(BDF, tmp_path / "absent") is None
    assert from_debugfs("../../etc", tmp_path) is None
    _minor(tmp_path, "0", BDF, None)
    assert from_debugfs(BDF, tmp_path) is None
    (tmp_path / "0" / "amdgpu_discovery").write_bytes(bytes(0x10001))
    assert from_debugfs(BDF, tmp_path) is None
