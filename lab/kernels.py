"""A kernel of Debian with the modules that the lab uses, and what these need.

Since 7.x the packages are split: linux-binary has vmlinuz, linux-modules the modules, linux-base the tables; before,
linux-image has all. All lie below usr/lib/modules/RELEASE but the older vmlinuz, which lies in boot/."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Iterable
from pathlib import Path

from base.debian import DebianError, Package, unpack
from lab import cpio
from lab.tree import Tree, run_in

PACKAGE = "linux-image-amd64"
IMAGE = "vmlinuz"
MODULES = "modules.cpio"
# what the guest is for, then how it talks to us (built in, or modules, by kernel)
WANTED = ("amdgpu", "vfio-pci", "vfio_iommu_type1", "virtio_pci", "virtio_console")
TABLES = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


def of_plan(plan: Iterable[Package]) -> list[Package]:
    """The kernel's own packages out of all that linux-image-amd64 depends on."""
    return [package for package in plan if package.name.startswith("linux-") and package.name[-6:] == "-amd64"]


def build(debs: list[Path], into: Path, tools: Tree) -> dict[str, str]:
    """vmlinuz and an archive of modules; `tools`: the guest's tree, whose depmod is used."""
    full = into / "full"
    for deb in debs:
        unpack(deb, full, lambda path: path.startswith(("usr/lib/modules/", "lib/modules/", "boot/vmlinuz")))
    modules, release = _modules_of(full)
    image = next(iter([*modules.glob("vmlinuz"), *full.glob("boot/vmlinuz-*")]), None)
    if image is None:
        raise DebianError(f"no vmlinuz in {', '.join(deb.name for deb in debs)}")
    shutil.copyfile(image, into / IMAGE)
    (full / "lib").mkdir(exist_ok=True)
    if not (full / "lib/modules").exists():
        (full / "lib/modules").symlink_to(full / "usr/lib/modules")
    _depmod(tools, full, release)
    small = into / "small"
    _pick(modules, small / "usr/lib/modules" / release)
    (small / "lib").symlink_to("usr/lib")
    _depmod(tools, small, release)
    cpio.pack(into / MODULES, lambda archive: archive.tree(small, wanted=lambda path: path != "lib"))
    shutil.rmtree(full)
    shutil.rmtree(small)
    return {"release": release}


def _modules_of(full: Path) -> tuple[Path, str]:
    for folder in ("usr/lib/modules", "lib/modules"):
        for place in sorted((full / folder).glob("*")):
            return place, place.name
    raise DebianError("the kernel's packages hold no modules")


def _depmod(tools: Tree, base: Path, release: str) -> None:
    run_in(tools, "usr/sbin/depmod", ["-b", str(base), release])


def _pick(modules: Path, into: Path) -> None:
    """Copy the wanted modules and all that they depend on, unpacked: the guest is slower at that than we are."""
    needs = _dependencies(modules)
    by_name = {_name_of(path): path for path in needs}
    chosen: dict[str, None] = {}
    for name in WANTED:
        if path := by_name.get(name.replace("-", "_")):
            chosen |= dict.fromkeys([path, *needs[path]])
    if "amdgpu" not in map(_name_of, chosen):
        raise DebianError(f"{modules}: no amdgpu among its modules")
    for path in chosen:
        target = into / path.removesuffix(".xz")
        target.parent.mkdir(parents=True, exist_ok=True)
        data = (modules / path).read_bytes()
        target.write_bytes(lzma.decompress(data) if path.endswith(".xz") else data)
    for table in TABLES:
        if (modules / table).exists():
            shutil.copyfile(modules / table, into / table)


def _dependencies(modules: Path) -> dict[str, list[str]]:
    """depmod's table: path of a module, to the paths of all that it needs."""
    rows = (line.partition(":") for line in (modules / "modules.dep").read_text().splitlines())
    return {path: needs.split() for path, _, needs in rows}


def _name_of(path: str) -> str:
    return Path(path).name.partition(".ko")[0].replace("-", "_")
