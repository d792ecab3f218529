"""The firmware of one GPU: every file found, parsed and checked before anything is written to the device.

Source: Linux v7.3 amdgpu_psp.c (psp_hw_start, psp_load_p2s_table, psp_load_non_psp_fw, psp_rl_load), psp_v13_0.c (which
set of psp_13_0_6_sos goes with which power firmware), gfx_v9_4_3.c (version gates); amd-firmware.md sections 9 and 10.
Video firmware (VCN) is not needed by compute and copies, so it is neither asked for nor loaded."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from base.errors import InvalidData, Unavailable, UsageError
from firmware import store
from firmware.gfx_types import GfxFwType
from firmware.load_order import BOOTLOADER_STEPS, LOAD_IP_FW, BootloaderStep, RingStep, ring_steps
from firmware.model import Entry, FirmwareFile
from firmware.needed import CHIPS, PACKAGES, Chip, NeededFile, needed
from firmware.pinned import PINS
from firmware.psp import component, select_tas
from firmware.ucode import select_p2s
from firmware.verify import changed_copy

if TYPE_CHECKING:
    from amdriver.ip_map import IpMap, Version
    from amdriver.parts import Part

_KINDS: Final = frozenset(("sos", "ta", "mec", "rlc", "sdma", "smu"))
_IPS: Final = (("GC", "gc"), ("MP0", "mp0"), ("SDMA0", "sdma"))


class FirmwareTooOld(InvalidData):
    """The file is sound, but older than a feature that was asked for needs."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a feature needs: MEC firmware of at least this version, by GC version; not in it: the chip has it not."""

    title: str
    mec: Mapping[str, int]


# gfx_v9_4_3.c (sw_init, gfx_v9_4_3_check_if_need_gfxoff and xnack chain), amd-firmware.md section 10
FEATURES: Final[Mapping[str, Gate]] = MappingProxyType(
    {
        "queue-reset": Gate("reset of one compute queue or pipe", {"9.4.3": 155, "9.4.4": 155, "9.5.0": 21}),
        "cleaner-shader": Gate("the shader that clears registers and LDS", {"9.4.3": 153, "9.4.4": 153}),
        "xnack-chain": Gate("retried page faults in chains", {"9.4.3": 184, "9.5.0": 23}),
    }
)


@dataclass(frozen=True, slots=True)
class Image:
    """One piece of firmware as it is handed to the PSP. `gfx_type`: for LOAD_IP_FW; 0 for trusted applications."""

    name: str
    file: str
    gfx_type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Component:
    """One piece for the bootloader, and the command that takes it."""

    step: BootloaderStep
    data: bytes

    @property
    def name(self) -> str:
        return self.step.component.name


class FirmwareSet:
    """All that one GPU loads. Made by `load`; everything in it has been checked."""

    def __init__(self, part: Part, chip: Chip, files: Mapping[str, FirmwareFile]) -> None:
        self.part = part
        self.chip = chip
        self.files = MappingProxyType(dict(files))

    # ---- what is loaded

    def needs_pmfw_version(self) -> bool:
        """Whether the running power firmware decides which components go to the bootloader (two sets in the file)."""
        return any(entry.set == "aux" for entry in self._file("sos").entries)

    def bootloader(self, pmfw_version: int | None) -> list[Component]:
        """The components in the order in which the bootloader takes them, sOS last."""
        sos = self._file("sos")
        entries = sos.select(pmfw_version)
        there = {entry.type_id for entry in entries}
        wanted = [step for step in BOOTLOADER_STEPS if step.required or step.component in there]
        return [Component(step, sos.payload(component(entries, step.component))) for step in wanted]

    def images(self, sos_version: int, pmfw_version: int | None) -> list[Image]:
        """What LOAD_IP_FW takes, in order; the P2S table only if this sOS knows it."""
        steps = [step for step in ring_steps(self.chip.gc) if step.command == LOAD_IP_FW]
        steps = [step for step in steps if step.gfx_type != GfxFwType.VCN and sos_version >= step.min_sos]
        return [self._image(step, self._entry(step, pmfw_version)) for step in steps]

    def application(self, name: str) -> Image:
        """A trusted application: `XGMI` or `RAS`."""
        ta = self._file("ta")
        for entry in select_tas(ta, is_apu=self.part.is_apu):
            if entry.name == name:
                return Image(f"{name} TA", ta.name, GfxFwType.NONE, ta.payload(entry))
        raise InvalidData(
            f"choosing the trusted application {name}",
            expected=f"an entry {name}",
            seen=", ".join(entry.name for entry in ta.entries) or "none",
            where=ta.name,
            next_step=f"reinstall {PACKAGES}",
        )

    @property
    def crc(self) -> int:
        """CRC-32 over all files: marks what was loaded (in a scratch register), so that a warm start can keep it."""
        crc = 0
        for name in sorted(self.files):
            crc = zlib.crc32(self.files[name].data, zlib.crc32(name.encode(), crc))
        return crc or 1  # 0 is what the register holds when nothing was loaded

    # ---- versions

    @property
    def sos_version(self) -> int:
        return self._file("sos").version or 0

    @property
    def mec_version(self) -> int:
        return self._file("mec").version or 0

    def supports(self, feature: str) -> bool:
        """Whether the MEC firmware is new enough; UsageError for a feature that nobody knows."""
        needs = self._gate(feature).mec.get(self.chip.gc)
        return needs is not None and self.mec_version >= needs

    def require(self, features: Iterable[str]) -> None:
        """FirmwareTooOld for the first feature that this set is too old for."""
        for feature in features:
            gate = self._gate(feature)
            if self.supports(feature):
                continue
            needs = gate.mec.get(self.chip.gc)
            raise FirmwareTooOld(
                f"asking for {feature} ({gate.title})",
                expected=f"no such thing on GC {self.chip.gc}" if needs is None else f"MEC firmware {needs} or later",
                seen=f"MEC firmware {self.mec_version}",
                where=self._file("mec").name,
                next_step=f"install a newer {PACKAGES}, or do without {feature}",
                verb="refused",
            )

    def _gate(self, feature: str) -> Gate:
        if feature not in FEATURES:
            raise UsageError(f"asking for feature {feature!r}", expected=f"one of {', '.join(FEATURES)}", seen=feature)
        return FEATURES[feature]

    # ---- inside

    def _file(self, kind: str) -> FirmwareFile:
        return next(file for file in self.files.values() if file.kind == kind)

    def _image(self, step: RingStep, entry: Entry) -> Image:
        return Image(GfxFwType(step.gfx_type).name, step.file, step.gfx_type, self.files[step.file].payload(entry))

    def _entry(self, step: RingStep, pmfw_version: int | None) -> Entry:
        file = self.files[step.file]
        if step.gfx_type == GfxFwType.P2S_TABLE:
            return select_p2s(file, self.part.device, is_apu=self.part.is_apu)
        if file.kind == "sos":
            # A running sOS took its set long ago: without the version, the register list of the main set is as good.
            chosen = file.select(pmfw_version) if pmfw_version is not None else file.entries
            return next(entry for entry in chosen if entry.name == step.entry)
        found = file.find(step.entry)
        if found is None:
            raise InvalidData(
                f"choosing {step.entry} in {file.name}",
                expected=f"an entry {step.entry}",
                seen=", ".join(entry.name for entry in file.entries) or "none",
                where=file.name,
                next_step=f"reinstall {PACKAGES}",
            )
        return found


def load(part: Part, ip: IpMap, dirs: Sequence[Path] | None = None) -> FirmwareSet:
    """Find, read and check every file that this GPU needs.

    Raises Unavailable naming every missing file and the package; InvalidData for a file that is truncated, damaged, or
    made for another chip, and when discovery names versions for which no firmware is known."""
    chip = _chip_of(ip)
    wanted = [file for file in needed(chip.gc) if file.kind in _KINDS and not file.guest]
    folders = store.search_dirs() if dirs is None else list(dirs)
    paths = _find_all(wanted, folders, part)
    files = {}
    for need in wanted:
        file = _parsed(store.read(paths[need.name]), need.name, paths[need.name])
        files[need.name] = file
    made = FirmwareSet(part, chip, files)
    _check_entries(made)
    return made


def _chip_of(ip: IpMap) -> Chip:
    versions = {attribute: _text(ip.version_of(name)) for name, attribute in _IPS}
    for chip in CHIPS:
        if all(getattr(chip, attribute) == version for attribute, version in versions.items()):
            return chip
    seen = ", ".join(f"{name} {versions[attribute]}" for name, attribute in _IPS)
    known = "; ".join(", ".join(f"{name} {getattr(chip, a)}" for name, a in _IPS) for chip in CHIPS)
    raise InvalidData(
        "choosing the firmware",
        expected=known,
        seen=seen,
        where="discovery table",
        next_step="gpumend discovery validate; a chip that is not listed is not supported",
    )


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _find_all(wanted: Sequence[NeededFile], folders: Sequence[Path], part: Part) -> dict[str, Path]:
    paths, missing = {}, []
    for need in wanted:
        try:
            paths[need.name] = store.find(need.name, folders)
        except Unavailable:
            missing.append(need.name)
    if missing:
        raise Unavailable(
            f"collecting the firmware of {part.name}",
            expected=", ".join(need.name for need in wanted),
            seen=f"missing: {', '.join(missing)}",
            where=", ".join(map(str, folders)) or "no folder",
            next_step=store.HOW_TO_GET,
        )
    return paths


def _parsed(data: bytes, name: str, path: Path) -> FirmwareFile:
    from firmware.containers import parse

    file = parse(data, name)
    file.require_ok()
    digest = hashlib.sha256(data).hexdigest()
    _check_known(digest, file, path)
    _check_chip(digest, file, path)
    return file


def _check_known(digest: str, file: FirmwareFile, path: Path) -> None:
    """A known file with a byte changed where its checksum does not look."""
    changed = changed_copy(file, digest)
    if changed is not None:
        raise InvalidData(
            f"checking {file.name}",
            expected=changed.expected,
            seen=f"{changed.summary}: {changed.seen}",
            where=str(path),
            next_step=f"reinstall {PACKAGES}",
        )


def _check_chip(digest: str, file: FirmwareFile, path: Path) -> None:
    """A sound file of another chip under this name: by its digest, or by the number of the chip in its version."""
    others = [name for name, pin in PINS.items() if digest.startswith(pin.sha256_16) and name != file.name]
    pin = PINS.get(file.name)
    seen = f"the bytes of {others[0]}" if others else ""
    if not seen and file.kind == "sos" and pin is not None and file.version is not None:
        ours, theirs = pin.version >> 16, file.version >> 16
        seen = f"a sOS of family {theirs:#06x}, not {ours:#06x}" if ours != theirs else ""
    if seen:
        raise InvalidData(
            f"using firmware {file.name} (made for another chip)",
            expected=f"the firmware that {file.name} names",
            seen=seen,
            where=str(path),
            next_step=f"reinstall {PACKAGES}",
            verb="refused",
        )


def _check_entries(made: FirmwareSet) -> None:
    """Everything that will be asked for later is there, in both sets: a missing piece must not show half way through."""
    for pmfw_version in (0, 0xFFFFFFFF):
        made.bootloader(pmfw_version)
        made.images(0xFFFFFFFF, pmfw_version)
    for name in ("RAS", "XGMI"):
        made.application(name)
