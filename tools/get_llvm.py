"""LLVM 22 out of Debian into the git-ignored cache: the library that compiles for both parts, its tools, and on request the
TableGen files that describe their instructions.

    .venv/bin/python tools/get_llvm.py             # libllvm22 and llvm-22 (48 MB), unpacked into .cache/llvm/root
    .venv/bin/python tools/get_llvm.py --source    # the source, too (197 MB), of which the AMDGPU descriptions are kept
    .venv/bin/python tools/get_llvm.py --clang     # clang, too (14 MB): tinygrad's emulator needs it

Nothing is installed. The packages are those of this machine's own apt (they must fit its glibc). tinygrad finds the library by
`LLVM_PATH`, which the program prints."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base import debian

PACKAGES = ("libllvm22", "llvm-22")
CLANG = ("clang-22", "libclang-cpp22", "libclang-common-22-dev")
SOURCE, SUITE = "llvm-toolchain-22", "sid"
FOLDER = debian.CACHE / "llvm"
LIBRARIES = FOLDER / "root/usr/lib/x86_64-linux-gnu"
BINARIES = FOLDER / "root/usr/lib/llvm-22/bin"
LIBRARY = LIBRARIES / "libLLVM.so.22.1"


def tool(name: str) -> Path | None:
    """A program of llvm-22 in the cache, or None."""
    path = BINARIES / name
    return path if path.exists() else None


def environment() -> dict[str, str]:
    """What its programs need to find their library, and others to find them."""
    path = os.pathsep.join((str(BINARIES), os.environ.get("PATH", "")))
    return {**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES), "PATH": path}


def get(packages: tuple[str, ...]) -> None:
    """Fetch and unpack packages. Raises DebianError."""
    archives = FOLDER / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["apt-get", "download", *packages],
        cwd=archives,
        capture_output=True,
        text=True,
        timeout=debian.DOWNLOAD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise debian.DebianError(f"apt-get download {' '.join(packages)}: {done.stderr.strip()}")
    for package in packages:
        deb = max(archives.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
        debian.unpack(deb, FOLDER / "root")


def get_source() -> Path:
    """Fetch the source and unpack the descriptions; the folder `llvm` of it. Raises DebianError."""
    apt = debian.Apt(FOLDER / "apt")
    apt.open([SUITE], "main")
    packages = apt.root / "etc/sources.list"
    packages.write_text(packages.read_text().replace("deb [arch=amd64 ", "deb-src ["))
    apt.run("apt-get", "update", timeout_s=debian.UPDATE_TIMEOUT_S)
    apt.run("apt-get", "source", "--download-only", "--tar-only", SOURCE, timeout_s=debian.DOWNLOAD_TIMEOUT_S)
    (archive,) = (apt.root / "archives").glob(f"{SOURCE}_*.orig.tar.xz")
    into = FOLDER / "source"
    with debian.xz_stream(archive.open("rb")) as stream, tarfile.open(fileobj=stream, mode="r|") as files:
        for member in files:
            _, _, path = member.name.partition("/")
            if path.endswith(".td") and path.startswith(("llvm/lib/Target/AMDGPU/", "llvm/include/llvm/")):
                member.name = path
                files.extract(member, into, filter="data")
    (into / "VERSION").write_text(archive.name.split("_")[1].removesuffix(".orig.tar.xz"))
    return into / "llvm"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fetch LLVM 22 into the cache")
    parser.add_argument("--source", action="store_true", help="the descriptions of the instructions, too")
    parser.add_argument("--clang", action="store_true", help="the compiler, too")
    options = parser.parse_args(arguments)
    try:
        if not LIBRARY.exists():
            get(PACKAGES)
        if options.clang and not tool("clang"):
            get(CLANG)
        if options.source:
            get_source()
    except (debian.DebianError, subprocess.SubprocessError) as error:
        print(f"get_llvm: {error}", file=sys.stderr)
        return 69
    print(f"LLVM_PATH={LIBRARY}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
