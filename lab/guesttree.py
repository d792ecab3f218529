"""The guest's own files: Python with what gpumend needs, lspci, module tools, a shell. Packed as one archive.

Packages' scripts are not run; what they would have done that matters here is done below."""

from __future__ import annotations

import re
from pathlib import Path

from base.debian import DebianError
from lab import cpio
from lab.tree import LIBRARIES, Tree, run_in

# our runtime dependencies (pyproject.toml) as Debian packages them, and the tools that a guest is asked with
PACKAGES = (
    "pciutils",
    "kmod",
    "busybox-static",
    "python3-click",
    "python3-rich",
    "python3-yaml",
    "python3-numpy",
    "python3",
)
TREE = "tree"
ARCHIVE = "guest.cpio"
PYTHON = "usr/bin/python3"
UNUSED = re.compile(
    r"usr/lib/python3[^/]*/(.*/)?(test|tests|idlelib|turtledemo|ensurepip|pydoc_data|tkinter|lib2to3)/"
    r"|usr/share/(perl5|pixmaps|applications|debconf|gcc|python-wheels|readline|tabset|sounds)/"
    r"|usr/(s?bin/(dpkg|tar$|debconf|perl)|lib/(dpkg|python3/dist-packages/numpy/_core/(include|lib)))"
    r"|usr/lib/x86_64-linux-gnu/(gconv|perl|audit|engines|ossl-modules)|.*\.a$|usr/lib/x86_64-linux-gnu/pkgconfig|etc/|var/"
)
LINKS = {  # Debian's update-alternatives makes these
    f"{LIBRARIES}/libblas.so.3": "blas/libblas.so.3",
    f"{LIBRARIES}/liblapack.so.3": "lapack/liblapack.so.3",
}
FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "etc", "mnt", "var/tmp", "lab", "gpumend")
INIT = """#!/bin/busybox sh
# The guest's first process: file systems, the port to the outside, the agent; then the end.
export PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb PYTHONDONTWRITEBYTECODE=1
# an emulated processor needs longer for the same questions
export GPUMEND_PROBE_TIMEOUT=30
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs run /run
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t debugfs debug /sys/kernel/debug 2>/dev/null
echo 0 > /proc/sys/kernel/hung_task_timeout_secs 2>/dev/null
ulimit -l unlimited
hostname lab
modprobe -q virtio_pci
modprobe -q virtio_console
n=0
while [ ! -e /dev/vport0p1 ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done
cd /root
python3 -I -S /lab/agent.py /dev/vport0p1
echo "lab: the agent ended with $?"
poweroff -f
"""
COMMAND = """#!/usr/bin/python3
import sys

sys.path.insert(0, "/gpumend")
from cli import main

main()
"""


def build(debs: list[Path], into: Path) -> dict[str, str]:
    """The tree, with byte code, and the archive of it."""
    tree = Tree(into / TREE)
    tree.unpack(debs, lambda path: not UNUSED.match(path))
    for path, target in LINKS.items():
        (tree.root / path).symlink_to(target)
    _applets(tree)
    for folder in FOLDERS:
        (tree.root / folder).mkdir(parents=True, exist_ok=True)
    _write(tree.root / "init", INIT, 0o755)
    _write(tree.root / "usr/bin/gpumend", COMMAND, 0o755)
    _write(tree.root / "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n", 0o644)
    _write(tree.root / "etc/group", "root:x:0:\nvideo:x:44:\nrender:x:992:\nuser:x:1000:\n", 0o644)
    version = run_python(tree, ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    if tuple(map(int, version.split("."))) < (3, 11):
        raise DebianError(f"the guest's Python is {version}, and gpumend needs 3.11")
    folders = [f"usr/lib/python{version}", "usr/lib/python3/dist-packages"]
    compile_in(tree, [tree.root / folder for folder in folders], strip=tree.root)
    cpio.pack(into / ARCHIVE, lambda archive: archive.tree(tree.root))
    return {"release": version}


def run_python(tree: Tree, arguments: list[str]) -> str:
    """The guest's Python on this machine, cut off from this machine's own modules."""
    return run_in(tree, PYTHON, ["-S", "-s", *arguments], PYTHONHOME=str(tree.root / "usr"))


def compile_in(tree: Tree, folders: list[Path], strip: Path) -> None:
    """Byte code for the guest: it would spend seconds on it at each start. Paths in it are the guest's."""
    words = ["-m", "compileall", "-q", "-s", str(strip), "-p", "/", *map(str, folders)]
    run_python(tree, words)


def _applets(tree: Tree) -> None:
    """busybox under the names of its tools, where no package brings the tool itself."""
    there = {path.name for folder in ("bin", "sbin") for path in (tree.root / "usr" / folder).iterdir()}
    for name in run_in(tree, "usr/bin/busybox", ["--list"], static=True).split():
        if name not in there:
            (tree.root / "usr/bin" / name).symlink_to("busybox")


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
