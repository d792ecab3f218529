"""lab/parts.py, lab/kernels.py, lab/tree.py, base/debian.py's plans: parts without a network."""

from __future__ import annotations

import json
import lzma
import platform
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from base import debian
from base.debian import Apt, DebianError, Package
from base.errors import Unavailable
from lab import kernels, parts
from lab.tree import Tree, run_in

OPEN = Apt.open
QEMU = Package("qemu-system-x86", "1:11.1.3-1", "qemu-system-x86_1%3a11.1.3-1_amd64.deb", 3)


def put_parts(folder: Path, *suites: str) -> None:
    """A cache as a build leaves it, without the big files."""
    releases = {"trixie": "6.12.107+deb13-amd64", "trixie-backports": "7.3.4+deb13-amd64"}
    rows: dict[str, dict[str, str]] = {name: {"version": "1", "release": "1"} for name in ("qemu", "guest", "firmware")}
    rows |= {f"kernel-{suite}": {"version": "1", "release": releases[suite]} for suite in suites}
    for name, row in rows.items():
        row["folder"] = f"{name}-key"
        (folder / row["folder"]).mkdir(parents=True)
        (folder / row["folder"] / "part.json").write_text(json.dumps(row))
    (folder / "parts.json").write_text(json.dumps({"recipe": parts.RECIPE, "parts": rows}))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DebianError("no network in this test")

    monkeypatch.setattr(Apt, "open", refuse)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize("wish", ["trixie-backports", "7", "7.3", "7.3.4", "7.3.4+deb13-amd64"])
def test_ready_with_built_parts_asks_no_mirror(tmp_path: Path, wish: str) -> None:
    put_parts(tmp_path, "trixie", "trixie-backports")
    found = parts.ready(wish, folder=tmp_path)
    assert found.kernel.release == "7.3.4+deb13-amd64"
    assert found.kernel.image == tmp_path / "kernel-trixie-backports-key/vmlinuz"


def test_ready_by_version_picks_the_older_suite(tmp_path: Path) -> None:
    put_parts(tmp_path, "trixie", "trixie-backports")
    assert parts.ready("6.12", folder=tmp_path).kernel.release == "6.12.107+deb13-amd64"


@pytest.mark.parametrize("wish", ["7.2", "7.3.40", "5", "x"])
def test_ready_for_a_kernel_that_the_archive_has_not_names_those_it_has(tmp_path: Path, wish: str) -> None:
    put_parts(tmp_path, "trixie", "trixie-backports")
    with pytest.raises(Unavailable, match=r"7\.3\.4.*of trixie-backports"):
        parts.ready(wish, folder=tmp_path)


def test_ready_with_a_part_gone_builds_and_tells_why_it_cannot(tmp_path: Path) -> None:
    put_parts(tmp_path, "trixie-backports")
    shutil.rmtree(tmp_path / "qemu-key")
    with pytest.raises(Unavailable, match="no network in this test") as caught:
        parts.ready(folder=tmp_path)
    assert "gpumend lab build" in caught.value.next_step


@pytest.mark.parametrize("text", ["{", "", '{"recipe": 0, "parts": {}}'])
def test_ready_with_a_damaged_or_older_table_builds_anew(tmp_path: Path, text: str) -> None:
    put_parts(tmp_path, "trixie-backports")
    (tmp_path / "parts.json").write_text(text)
    with pytest.raises(Unavailable, match="no network in this test"):
        parts.ready(folder=tmp_path)


def test_ready_on_another_machine_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(Unavailable, match="Linux on aarch64"):
        parts.ready(folder=tmp_path)


def test_build_without_space_says_how_much_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 300_000_000))
    with pytest.raises(Unavailable, match=r"2 GB free\n  seen      0.3 GB"):
        parts.build(folder=tmp_path)


def test_build_in_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="Not a directory"):
        parts.build(folder=tmp_path / "file/lab")


def test_part_that_fails_while_building_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Apt, "fetch", lambda self, packages: [])

    def make(debs: list[Path], into: Path) -> dict[str, str]:
        (into / "half").write_text("")
        raise DebianError("broken package")

    with pytest.raises(DebianError, match="broken package"):
        parts._part(Apt(tmp_path), tmp_path, "qemu", [QEMU], make, lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_part_is_built_once_for_the_same_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Apt, "fetch", lambda self, packages: [])
    built: list[Path] = []
    told: list[str] = []

    def make(debs: list[Path], into: Path) -> dict[str, str]:
        built.append(into)
        return {"release": "11.1.3"}

    newer = Package("qemu-system-x86", "1:11.2-1", "f", 3)
    rows = [parts._part(Apt(tmp_path), tmp_path, "qemu", [it], make, told.append) for it in (QEMU, QEMU, newer)]
    assert rows[0] == rows[1] != rows[2]
    assert len(built) == len(told) == 2
    assert told[0] == "qemu: qemu-system-x86 1:11.1.3-1, 1 packages, 0 MB"


def test_parts_of_older_versions_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        "qemu-0123456789ab",
        "qemu-ba9876543210",
        "kernel-trixie-0123456789ab",
        "apt",
        "logs",
        "guest.x7_y2abc",
    ):
        (tmp_path / name).mkdir()
    parts._prune(tmp_path, {"qemu": {"folder": "qemu-0123456789ab"}})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apt", "logs", "qemu-0123456789ab"]


def test_qemu_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "run_in", lambda *_: "QEMU emulator version 10.0.8 (Debian 1:10.0.8)\n")
    with pytest.raises(Unavailable, match=r"QEMU 10.1 or later(.|\n)*10.0.8"):
        parts.require_qemu(Tree(Path("/nowhere")))


def test_qemu_that_is_new_enough_tells_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "run_in", lambda *_: "QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1)\n")
    assert parts.require_qemu(Tree(Path("/nowhere"))) == (11, 1, 3)


# --- kernels


def test_kernel_packages_are_taken_out_of_a_plan() -> None:
    names = (
        "libc6",
        "linux-base",
        "linux-base-7.3.4+deb13-amd64",
        "linux-modules-7.3.4+deb13-amd64",
        "linux-image-amd64",
    )
    plan = [Package(name, "1", f"{name}.deb", 1) for name in names]
    assert [package.name for package in kernels.of_plan(plan)] == list(names[2:])


def put_modules(folder: Path, *, amdgpu: bool = True) -> None:
    folder.mkdir()
    lines = ["kernel/vfio-pci.ko.xz: kernel/vfio-pci-core.ko.xz", "kernel/vfio-pci-core.ko.xz:", "kernel/sound.ko.xz:"]
    if amdgpu:
        lines += ["kernel/amdgpu.ko: kernel/ttm.ko.xz", "kernel/ttm.ko.xz:"]
    (folder / "modules.dep").write_text("\n".join(lines) + "\n")
    (folder / "modules.order").write_text("")
    (folder / "kernel").mkdir()
    for line in lines:
        name = line.partition(":")[0]
        body = name.encode()
        (folder / name).write_bytes(lzma.compress(body) if name.endswith(".xz") else body)


def test_modules_are_picked_with_what_they_need_and_unpacked(tmp_path: Path) -> None:
    put_modules(tmp_path / "all")
    kernels._pick(tmp_path / "all", tmp_path / "few")
    files = {path.name: path.read_bytes() for path in (tmp_path / "few/kernel").iterdir()}
    assert set(files) == {"amdgpu.ko", "ttm.ko", "vfio-pci.ko", "vfio-pci-core.ko"}
    assert files["ttm.ko"] == b"kernel/ttm.ko.xz"
    assert (tmp_path / "few/modules.order").exists()


def test_modules_without_amdgpu_are_refused(tmp_path: Path) -> None:
    put_modules(tmp_path / "all", amdgpu=False)
    with pytest.raises(DebianError, match="no amdgpu among its modules"):
        kernels._pick(tmp_path / "all", tmp_path / "few")


def test_kernel_packages_without_modules_or_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DebianError, match="hold no modules"):
        kernels.build([], tmp_path, Tree(tmp_path))
    (tmp_path / "full/usr/lib/modules/7.3").mkdir(parents=True)
    with pytest.raises(DebianError, match="no vmlinuz in"):
        kernels.build([], tmp_path, Tree(tmp_path))


# --- programs of a tree


def test_program_of_a_tree_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DebianError, match=r"usr/bin/none .* does not run"):
        run_in(Tree(tmp_path), "usr/bin/none", [])


def test_program_of_a_tree_that_fails_tells_its_words(tmp_path: Path) -> None:
    script = tmp_path / "fails"
    script.write_text("#!/bin/sh\necho no such disk >&2\nexit 3\n")
    script.chmod(0o755)
    with pytest.raises(DebianError, match="exit 3\nno such disk"):
        run_in(Tree(tmp_path), "fails", [], static=True)


def test_program_of_a_tree_runs_by_the_loader_of_the_tree(tmp_path: Path) -> None:
    words = Tree(tmp_path).command("usr/bin/python3", ["-V"])
    assert words[0] == f"{tmp_path}/usr/lib64/ld-linux-x86-64.so.2"
    assert words[1:3] == ["--library-path", f"{tmp_path}/usr/lib/x86_64-linux-gnu"]
    assert words[3:] == [f"{tmp_path}/usr/bin/python3", "-V"]


# --- plans


def test_plan_reads_what_apt_would_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "'http://mirror/pool/q_1%3a11.1.3-1.deb' qemu-system-x86_1%3a11.1.3-1_amd64.deb 3 SHA256:00"
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, f"{line}\n", "")

    (tmp_path / "archives").mkdir()
    monkeypatch.setattr(subprocess, "run", run)
    assert Apt(tmp_path).plan("qemu-system-x86", suite="trixie-backports") == [QEMU]
    assert "--print-uris" in asked[0]
    assert f"Dir::Cache::archives={tmp_path}/nothing" in asked[0]


@pytest.mark.parametrize("known", [("trixie",), ("trixie", "trixie-backports")], ids=len)
def test_mirror_out_of_reach_is_told_unless_the_suites_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: tuple[str, ...]
) -> None:
    def run(self: Apt, *words: str, timeout_s: float) -> str:
        raise DebianError("Temporary failure resolving the mirror")

    monkeypatch.setattr(Apt, "open", OPEN)
    monkeypatch.setattr(Apt, "run", run)
    monkeypatch.setattr(debian, "_mirror", lambda: "http://mirror/debian")
    monkeypatch.setattr(debian, "_keyring", lambda: Path("/keyring"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "lists").mkdir()
    for suite in known:
        (tmp_path / f"lists/mirror_debian_dists_{suite}_InRelease").touch()
    if len(known) == 2:
        Apt(tmp_path).open(parts.SUITES)
        return
    with pytest.raises(DebianError, match="resolving"):
        Apt(tmp_path).open(parts.SUITES)


def test_fetch_asks_only_for_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    kept = Package("libc6", "2.41", "libc6_2.41_amd64.deb", 4)
    (archives / kept.file).write_bytes(b"data")
    asked: list[tuple[str, ...]] = []

    def run(self: Apt, *words: str, timeout_s: float) -> str:
        asked.append(words)
        (archives / QEMU.file).write_bytes(b"deb")
        return ""

    monkeypatch.setattr(Apt, "run", run)
    assert Apt(tmp_path).fetch([kept, QEMU]) == [archives / kept.file, archives / QEMU.file]
    assert asked == [("apt-get", "download", "qemu-system-x86=1:11.1.3-1")]


def test_fetch_that_leaves_half_a_file_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / QEMU.file).write_bytes(b"d")
    monkeypatch.setattr(Apt, "run", lambda self, *words, timeout_s: "")
    with pytest.raises(DebianError, match=r"left no complete qemu-system-x86 1:11.1.3-1"):
        Apt(tmp_path).fetch([QEMU])
