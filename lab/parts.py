"""What the virtual machine is made of, from Debian into the cache: QEMU, kernels with modules, firmware, the guest's tree.

Packages are unpacked, never installed: no root, no chroot, nothing of this machine is changed. QEMU and the guest's
Python run on this machine through the loader and the libraries of their own tree. Each part lies in a folder that is
keyed by the versions of its packages; `parts.json` tells which are the newest."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.debian import Apt, DebianError, Package, unpack
from base.errors import Unavailable
from lab import cpio, guesttree, kernels
from lab.tree import Tree, run_in

CHECKOUT = Path(__file__).resolve().parent.parent
RECIPE = 2  # counts up when the same packages are to give other parts
STABLE, BACKPORTS = "trixie", "trixie-backports"
SUITES = (STABLE, BACKPORTS)
QEMU_PACKAGE = "qemu-system-x86"
QEMU_OLDEST = (10, 1)  # the first with the vfio-user-pci client
FIRMWARE_PACKAGE = "firmware-amd-graphics"
FIRMWARE = re.compile(
    r"usr/lib/firmware/amdgpu/(gc_9_(4_[34]|5_0)|psp_13_0_(6|12|14)|sdma_4_4_|vcn_(4_0_3|5_0_1)|smu_13_0_6|.*ip_discovery)"
)
PART_FOLDER = re.compile(r"(qemu|guest|firmware|kernel-[a-z-]+)(-[0-9a-f]{12}|\.[a-z0-9_]{8})")
SPACE_BYTES = 2_000_000_000  # all parts with two kernels take half of it
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of one suite with the modules that the lab uses."""

    release: str  # as uname -r says: 7.3.4+deb13-amd64
    image: Path
    modules: Path


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a guest is booted from. `versions`: package versions by part, for reports."""

    qemu: Tree
    kernel: Kernel
    guest: Path
    guest_tree: Tree
    firmware: Path
    versions: dict[str, str]
    folder: Path


def cache_folder() -> Path:
    """`.cache/lab` of the checkout; for an installed package the user's cache."""
    if (CHECKOUT / "pyproject.toml").is_file():
        return CHECKOUT / ".cache/lab"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gpumend/lab"


def ready(kernel: str = BACKPORTS, *, folder: Path | None = None, say: Say = lambda line: None) -> Parts:
    """The parts that were built last, without asking the mirror; what is missing is built.

    `kernel`: a suite (`trixie-backports`, the newest; `trixie`) or the beginning of a version (`7`, `6.12`).
    Raises Unavailable with the reason when a part cannot be had."""
    folder = folder or cache_folder()
    require_machine()
    suite = _suite_of(kernel, folder)
    known = _read(folder)
    if not _complete(known, suite):
        known = build([suite], folder=folder, say=say)
    parts = _parts(known, suite, folder)
    if kernel not in SUITES and not _is_version(parts.kernel.release, kernel):
        there = {name: row["release"] for name in SUITES if (row := known.get(f"kernel-{name}"))}
        raise Unavailable(
            "finding the kernel",
            expected=f"a kernel {kernel}",
            seen=", ".join(f"{release} of {name}" for name, release in there.items()),
            next_step="Debian's archive keeps the newest of each suite only: choose one of these",
        )
    return parts


def build(
    suites: Sequence[str] = (BACKPORTS,), *, folder: Path | None = None, say: Say = lambda line: None
) -> dict[str, Any]:
    """Ask the mirror for the newest versions and build what is missing; gives the rows of parts.json."""
    folder = folder or cache_folder()
    require_machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            _require_space(folder)
            return _build(suites, folder, say)
    except (DebianError, OSError) as error:
        raise Unavailable(
            "building the lab's parts",
            expected=f"the packages of Debian's {' and '.join(SUITES)}",
            seen=str(error),
            where=str(folder),
            next_step="repair the folder, the network or the mirror that apt is configured with, then: gpumend lab build",
        ) from error


def require_machine() -> None:
    """Unavailable where the parts cannot run at all."""
    machine = platform.machine()
    if machine != "x86_64" or platform.system() != "Linux":
        raise Unavailable(
            "preparing the lab",
            expected="Linux on x86_64",
            seen=f"{platform.system()} on {machine}",
            verb="is not possible",
        )


def _build(suites: Sequence[str], folder: Path, say: Say) -> dict[str, Any]:
    apt = Apt(folder / "apt")
    apt.open(SUITES)
    rows = _read(folder)
    rows["qemu"] = _part(apt, folder, "qemu", apt.plan(QEMU_PACKAGE, suite=BACKPORTS), _build_qemu, say)
    rows["guest"] = _part(apt, folder, "guest", apt.plan(*guesttree.PACKAGES, suite=STABLE), guesttree.build, say)
    only = [package for package in apt.plan(FIRMWARE_PACKAGE, suite=BACKPORTS) if package.name == FIRMWARE_PACKAGE]
    rows["firmware"] = _part(apt, folder, "firmware", only, _build_firmware, say)
    tree = Tree(folder / rows["guest"]["folder"] / guesttree.TREE)
    for suite in suites:
        packages = kernels.of_plan(apt.plan(kernels.PACKAGE, suite=suite))

        def build_kernel(debs: list[Path], into: Path) -> dict[str, str]:
            return kernels.build(debs, into, tree)

        rows[f"kernel-{suite}"] = _part(apt, folder, f"kernel-{suite}", packages, build_kernel, say)
    _write(folder, rows)
    _prune(folder, rows)
    return rows


def _part(
    apt: Apt,
    folder: Path,
    name: str,
    packages: list[Package],
    make: Callable[[list[Path], Path], dict[str, str]],
    say: Say,
) -> dict[str, Any]:
    """One part in a folder of its own: built under another name, so that a half-built one is never taken for a part."""
    text = "\n".join([f"recipe {RECIPE}", *sorted(map(str, packages))])
    place = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    note = place / "part.json"
    if note.is_file():
        row: dict[str, Any] = json.loads(note.read_text())
        return row
    size = sum(package.size_bytes for package in packages)
    say(f"{name}: {packages[-1]}, {len(packages)} packages, {size / 1e6:.0f} MB")
    debs = apt.fetch(packages)
    work = Path(tempfile.mkdtemp(dir=folder, prefix=f"{name}."))
    try:
        row = {"folder": place.name, "version": packages[-1].version, **make(debs, work)}
        (work / note.name).write_text(json.dumps(row, indent=1))
        work.chmod(0o755)
        shutil.rmtree(place, ignore_errors=True)
        work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return row


def _build_qemu(debs: list[Path], into: Path) -> dict[str, str]:
    tree = Tree(into / "tree")
    tree.unpack(debs)
    return {"release": ".".join(map(str, require_qemu(tree)))}


def require_qemu(tree: Tree) -> tuple[int, ...]:
    """The version of this QEMU; Unavailable when it cannot talk to our models."""
    done = run_in(tree, "usr/bin/qemu-system-x86_64", ["--version"])
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", done)
    version = tuple(map(int, match.groups())) if match else ()
    if version < QEMU_OLDEST:
        raise Unavailable(
            "preparing QEMU",
            expected=f"QEMU {'.'.join(map(str, QEMU_OLDEST))} or later, the first with vfio-user-pci",
            seen=done.strip().splitlines()[0] if done.strip() else "no answer",
            where=str(tree.root),
            next_step=f"the {QEMU_PACKAGE} of Debian's {BACKPORTS} is new enough",
        )
    return version


def _build_firmware(debs: list[Path], into: Path) -> dict[str, str]:
    tree = Path(into) / "tree"
    count = sum(unpack(deb, tree, lambda path: FIRMWARE.match(path) is not None) for deb in debs)
    if not count:
        raise DebianError(f"{debs[-1].name} holds no firmware of the MI300 or MI350 family")
    cpio.pack(into / "firmware.cpio", lambda archive: archive.tree(tree))
    shutil.rmtree(tree)
    return {}


def _parts(rows: dict[str, Any], suite: str, folder: Path) -> Parts:
    kernel = rows[f"kernel-{suite}"]
    place = folder / kernel["folder"]
    guest = folder / rows["guest"]["folder"]
    return Parts(
        qemu=Tree(folder / rows["qemu"]["folder"] / "tree"),
        kernel=Kernel(kernel["release"], place / kernels.IMAGE, place / kernels.MODULES),
        guest=guest / guesttree.ARCHIVE,
        guest_tree=Tree(guest / guesttree.TREE),
        firmware=folder / rows["firmware"]["folder"] / "firmware.cpio",
        versions={name: row["version"] for name, row in rows.items()},
        folder=folder,
    )


def _suite_of(kernel: str, folder: Path) -> str:
    """The suite that a wish for a kernel means: by what was built before, else the newest."""
    if kernel in SUITES:
        return kernel
    rows = _read(folder)
    for suite in SUITES:
        row = rows.get(f"kernel-{suite}")
        if row and _is_version(row["release"], kernel):
            return suite
    return STABLE if kernel.split(".")[0] == "6" else BACKPORTS


def _is_version(release: str, wish: str) -> bool:
    return release == wish or release.startswith((f"{wish}.", f"{wish}+", f"{wish}-"))


def _complete(rows: dict[str, Any], suite: str) -> bool:
    return all(name in rows for name in ("qemu", "guest", "firmware", f"kernel-{suite}"))


def _read(folder: Path) -> dict[str, Any]:
    """The rows of parts.json whose folders are there and were made by this recipe."""
    try:
        told = json.loads((folder / "parts.json").read_text())
    except (OSError, ValueError):
        return {}
    if told.get("recipe") != RECIPE:
        return {}
    return {name: row for name, row in told["parts"].items() if (folder / row["folder"] / "part.json").is_file()}


def _write(folder: Path, rows: dict[str, Any]) -> None:
    unfinished = folder / "parts.json.part"
    unfinished.write_text(json.dumps({"recipe": RECIPE, "parts": rows}, indent=1))
    unfinished.replace(folder / "parts.json")


def _prune(folder: Path, rows: dict[str, Any]) -> None:
    """Remove parts of older versions and what a killed build left. A guest that runs from one has read all it needs."""
    kept = {row["folder"] for row in rows.values()}
    for place in folder.iterdir():
        if PART_FOLDER.fullmatch(place.name) and place.name not in kept:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time builds, or copies the checkout; another one is waited for, it has limits of its own."""
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < SPACE_BYTES:
        raise Unavailable(
            "building the lab's parts",
            expected=f"{SPACE_BYTES / 1e9:.0f} GB free",
            seen=f"{free / 1e9:.1f} GB",
            where=str(folder),
            next_step="free some space, or remove the folder to begin anew",
        )
