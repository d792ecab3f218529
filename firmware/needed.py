"""Which files a chip needs. The file's name is the IP's name and discovered version, so discovery decides.

Source: Linux v7.3 amdgpu_ucode.c (amdgpu_ucode_ip_version_decode), psp_v13_0.c, gfx_v9_4_3.c, amdgpu_sdma.c, amdgpu_vcn.c,
pm/swsmu/smu13/smu_v13_0_6_ppt.c. Power firmware and IMU come from the board's flash: no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from base.errors import UsageError

PACKAGES = "firmware-amd-graphics (Debian), linux-firmware (Ubuntu, Fedora)"


@dataclass(frozen=True, slots=True)
class NeededFile:
    """`order`: place in which the driver first takes something from the file, counted from 1. `required` False: the
    driver runs without it; `guest`: only a guest of a virtualised GPU asks for it."""

    name: str
    kind: str
    ip: str
    why: str
    order: int
    required: bool = True
    guest: bool = False


@dataclass(frozen=True, slots=True)
class Chip:
    """IP versions of one chip family, as in the names of files; `smu` "" where no file exists."""

    gc: str
    parts: tuple[str, ...]
    mp0: str
    smu: str
    sdma: str
    vcn: str


CHIPS = (
    Chip(
        "9.4.3",
        ("mi300x", "mi300a", "mi300x-hf", "mi308x", "mi308x-hf", "mi325x"),
        "13.0.6",
        "13.0.6",
        "4.4.2",
        "4.0.3",
    ),
    Chip("9.4.4", (), "13.0.14", "13.0.14", "4.4.5", "4.0.3"),
    Chip("9.5.0", ("mi350x", "mi350p", "mi355x"), "13.0.12", "", "4.4.4", "5.0.1"),
)
_ARCHES: Mapping[str, str] = MappingProxyType({"gfx942": "9.4.3", "gfx950": "9.5.0"})


def chip(part_or_gc_version: str) -> Chip:
    """The chip of a part (`mi300x`), architecture (`gfx950`) or GC version (`9.4.4`). Raises UsageError if unknown."""
    wanted = part_or_gc_version.strip().lower()
    wanted = _ARCHES.get(wanted, wanted)
    for candidate in CHIPS:
        if wanted == candidate.gc or wanted in candidate.parts:
            return candidate
    known = [*(part for candidate in CHIPS for part in candidate.parts), *(candidate.gc for candidate in CHIPS)]
    raise UsageError(
        f"looking up the firmware of {part_or_gc_version!r}",
        expected="one of " + ", ".join([*known, *_ARCHES]),
        seen=part_or_gc_version,
    )


def needed(part_or_gc_version: str) -> list[NeededFile]:
    """The files of a part or GC version in the order in which the driver takes them. Raises UsageError if unknown."""
    return _files(chip(part_or_gc_version))


def names_of(files: Chip) -> tuple[str, ...]:
    return tuple(file.name for file in _files(files))


def _files(c: Chip) -> list[NeededFile]:
    gc, psp = f"gc_{_tail(c.gc)}", f"psp_{_tail(c.mp0)}"
    rows = [
        (
            f"{psp}_sos.bin",
            "sos",
            f"MP0 {c.mp0}",
            "security processor: keys, drivers, secure OS, register list",
            True,
            False,
        ),
        (
            f"sdma_{_tail(c.sdma)}.bin",
            "sdma",
            f"SDMA {c.sdma}",
            "copy engines; one file for all instances",
            True,
            False,
        ),
        (f"{gc}_mec.bin", "mec", f"GC {c.gc}", "compute queues (MEC) and their jump table", True, False),
        (
            f"{gc}_sjt_mec.bin",
            "mec",
            f"GC {c.gc}",
            "MEC for a guest; without it the guest takes the plain MEC",
            False,
            True,
        ),
        (f"{gc}_rlc.bin", "rlc", f"GC {c.gc}", "power gating and save/restore lists of the graphics core", True, False),
        (f"vcn_{_tail(c.vcn)}.bin", "vcn", f"VCN {c.vcn}", "video; amdgpu refuses to start without it", True, False),
        (f"{psp}_ta.bin", "ta", f"MP0 {c.mp0}", "trusted applications: RAS and XGMI", True, False),
    ]
    if c.smu:
        why = "P2S tables (platform settings for the power firmware)"
        rows.insert(1, (f"smu_{_tail(c.smu)}.bin", "smu", f"MP1 {c.smu}", why, True, False))
    return [
        NeededFile(name, kind, ip, why, order, required, guest)
        for order, (name, kind, ip, why, required, guest) in enumerate(rows, start=1)
    ]


def _tail(version: str) -> str:
    return version.replace(".", "_")


ALL_NAMES = frozenset(name for candidate in CHIPS for name in names_of(candidate))
