"""Debian packages into the git-ignored cache: fetch the newest of a suite, and unpack the files that are wanted.

`Apt.plan` and `Apt.fetch` take a package with everything it depends on (the lab's virtual machine, lab/parts.py).

The mirror is the one that the machine's own apt is configured with; lists, state and archives are private to the cache
folder, so that nothing of the machine changes and no privilege is needed. The archive is unpacked in Python."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CACHE = Path(__file__).resolve().parent.parent / ".cache"
SUITE = "trixie-backports"
COMPONENTS = "main non-free-firmware"
MIRROR_VARIABLE = "GPUMEND_DEBIAN_MIRROR"
KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
ARCHITECTURE = "amd64"
UPDATE_TIMEOUT_S = 300
PLAN_TIMEOUT_S = 60
DOWNLOAD_TIMEOUT_S = 1800


class DebianError(Exception):
    """Could not fetch or unpack; the text says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package that a plan asks for; `file` is its name in the archives folder."""

    name: str
    version: str
    file: str
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with its own folders under `root`."""

    root: Path

    def options(self) -> list[str]:
        settings = {
            "Dir::Etc::SourceList": self.root / "etc/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": self.root / "state",
            "Dir::State::Lists": self.root / "lists",
            "Dir::State::status": self.root / "etc/status",
            "Dir::Cache": self.root,
            "Dir::Cache::archives": self.root / "archives",
            "APT::Get::List-Cleanup": "0",
            "Acquire::Languages": "none",
        }
        if os.geteuid() == 0:
            settings["APT::Sandbox::User"] = "root"
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def prepare(self, source: str) -> None:
        for folder in ("etc", "state/lists", "lists/partial", "archives/partial"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "etc/status").touch()
        (self.root / "etc/sources.list").write_text(source)

    def run(self, *words: str, timeout_s: float) -> str:
        command = [words[0], *self.options(), *words[1:]]
        shown = " ".join(words)
        try:
            done = subprocess.run(
                command, cwd=self.root / "archives", capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise DebianError(f"{shown}: no result within {timeout_s:g} s") from None
        if done.returncode != 0:
            raise DebianError(f"{shown}: exit {done.returncode}\n{(done.stderr or done.stdout).strip()}")
        return done.stdout

    def open(self, suites: Sequence[str], components: str = COMPONENTS) -> None:
        """Read what the mirror has in these suites; raises DebianError with what is missing."""
        if shutil.which("apt-get") is None:
            raise DebianError("the packages come from Debian through apt-get, and this machine has none")
        keyring, mirror = _keyring(), _mirror()
        lines = [f"deb [arch={ARCHITECTURE} signed-by={keyring}] {mirror} {suite} {components}\n" for suite in suites]
        self.prepare("".join(lines))
        try:  # by default apt-get only warns when nothing could be fetched, and the reason is lost
            self.run("apt-get", "update", "-o", "APT::Update::Error-Mode=any", timeout_s=UPDATE_TIMEOUT_S)
        except DebianError:
            if not all(self._is_known(suite) for suite in suites):
                raise

    def _is_known(self, suite: str) -> bool:
        """What the suite has was fetched, now or before."""
        return any((self.root / "lists").glob(f"*_dists_{suite}_*Release"))

    def plan(self, *packages: str, suite: str) -> list[Package]:
        """These packages with everything that they depend on, as on a machine where nothing is installed."""
        nothing = self.root / "nothing"  # apt leaves out what is in its archives
        (nothing / "partial").mkdir(parents=True, exist_ok=True)
        place = ("-o", f"Dir::Cache::archives={nothing}")
        words = ("install", *place, "--no-install-recommends", "--print-uris", "-qq", "-y", "-t", suite, *packages)
        lines = self.run("apt-get", *words, timeout_s=PLAN_TIMEOUT_S).splitlines()
        rows = [line.split() for line in lines if line.startswith("'")]
        return [Package(*named(Path(file)), file, int(size)) for _, file, size, *_ in rows]

    def fetch(self, packages: Iterable[Package]) -> list[Path]:
        """The .deb files of a plan, in its order; those that are there already are not fetched again."""
        archives = self.root / "archives"
        wanted = {package.file: package for package in packages}
        missing = [package for package in wanted.values() if not _is_there(archives, package)]
        if missing:
            exact = [f"{package.name}={package.version}" for package in missing]
            self.run("apt-get", "download", *exact, timeout_s=DOWNLOAD_TIMEOUT_S)
        lost = [package for package in missing if not _is_there(archives, package)]
        if lost:
            raise DebianError(f"apt-get download left no complete {', '.join(map(str, lost))} in {archives}")
        return [archives / file for file in wanted]


def download(
    package: str,
    suite: str = SUITE,
    components: str = COMPONENTS,
    cache: Path = CACHE,
    *,
    newest: bool = True,
) -> Path:
    """The newest `package` of `suite` as a .deb under `cache`/apt/archives.

    With `newest` False a copy that is already there is returned without asking the mirror. Raises DebianError."""
    archives = cache / "apt/archives"
    if not newest and (kept := cached(package, cache)):
        return kept
    if shutil.which("apt-get") is None:
        raise DebianError(
            f"{package} comes from Debian, and this machine has no apt-get. "
            f"Fetch {package}_*_all.deb of {suite} on another machine and put it into {archives}"
        )
    apt = Apt(cache / "apt")
    apt.prepare(f"deb [signed-by={_keyring()}] {_mirror()} {suite} {components}\n")
    apt.run("apt-get", "update", timeout_s=UPDATE_TIMEOUT_S)
    version = _candidate(apt, package, suite)
    apt.run("apt-get", "download", f"{package}={version}", timeout_s=DOWNLOAD_TIMEOUT_S)
    found = [path for path in archives.glob(f"{package}_*.deb") if version_of(path) == version]
    if not found:
        raise DebianError(f"apt-get download {package}={version} left no file in {archives}")
    return found[0]


def cached(package: str, cache: Path = CACHE) -> Path | None:
    """The copy that was downloaded last, or None."""
    found = sorted((cache / "apt/archives").glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def version_of(deb: Path) -> str:
    """`20260916-1~bpo13+1` of firmware-amd-graphics_20260916-1~bpo13+1_all.deb (apt writes an epoch's colon as %3a)."""
    return deb.name.split("_")[1].replace("%3a", ":")


def named(deb: Path) -> tuple[str, str]:
    """Name and version of a package file."""
    return deb.name.split("_")[0], version_of(deb)


def _is_there(archives: Path, package: Package) -> bool:
    file = archives / package.file
    return file.is_file() and file.stat().st_size == package.size_bytes


def _candidate(apt: Apt, package: str, suite: str) -> str:
    for line in apt.run("apt-cache", "policy", package, timeout_s=60).splitlines():
        word, _, version = line.strip().partition(": ")
        if word == "Candidate" and version != "(none)":
            return version
    raise DebianError(f"{suite} of this mirror has no package {package}")


def _keyring() -> str:
    for path in KEYRINGS:
        if Path(path).exists():
            return path
    raise DebianError(
        "the keys that sign Debian's archive are missing: install the package debian-archive-keyring (Ubuntu has it too)"
    )


def _mirror() -> str:
    """The Debian mirror of this machine's apt: where its own Debian packages come from."""
    if told := os.environ.get(MIRROR_VARIABLE):
        return told
    query = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    mirror = pick_mirror(done.stdout)
    if mirror:
        return mirror
    raise DebianError(
        "this machine's apt is configured with no Debian mirror (Ubuntu's has other packages): "
        f"set {MIRROR_VARIABLE} to the address of one"
    )


def pick_mirror(targets: str) -> str | None:
    """First mirror among apt's index targets (`URI release origin` a line) that holds Debian itself, not a side archive.

    Before the first `apt-get update` the origin is not known and stays empty or unexpanded: then the URI's last folder
    decides."""
    for line in targets.splitlines():
        uri, release, *origin = line.split()
        if "security" in release or "security" in uri:
            continue
        known = bool(origin) and not origin[0].startswith("$")
        is_debian = origin[0] == "Debian" if known else uri.rstrip("/").endswith("/debian")
        if is_debian:
            return uri
    return None


def members(deb: Path) -> Iterator[tuple[str, bytes]]:
    """The parts of a .deb (an `ar` archive): name and bytes."""
    data = deb.read_bytes()
    if not data.startswith(b"!<arch>\n"):
        raise DebianError(f"{deb}: not a Debian package; delete it and fetch it again")
    position = 8
    while position + 60 <= len(data):
        header = data[position : position + 60]
        size = int(header[48:58])
        yield header[:16].decode().strip().rstrip("/"), data[position + 60 : position + 60 + size]
        position += 60 + size + size % 2


@contextmanager
def _plain(name: str, data: bytes, deb: Path) -> Iterator[IO[bytes]]:
    """The tar inside data.tar.xz, .zst, .gz or .tar, as a stream."""
    if name.endswith(".zst"):
        yield io.BytesIO(_unzstd(data, deb))
    elif name.endswith(".xz"):
        with xz_stream(io.BytesIO(data)) as stream:
            yield stream
    elif name.endswith(".tar"):
        yield io.BytesIO(data)
    else:
        raise DebianError(f"{deb}: {name}: compression not known")


@contextmanager
def xz_stream(packed: IO[bytes]) -> Iterator[IO[bytes]]:
    with lzma.open(packed) as stream:
        yield stream


def _unzstd(data: bytes, deb: Path) -> bytes:
    try:
        import zstandard
    except ImportError:
        pass
    else:
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            return reader.read()
    if shutil.which("dpkg-deb"):
        return subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, timeout=600, check=True
        ).stdout
    raise DebianError(f"{deb} is compressed with zstd: install the Python package zstandard, or dpkg")


@contextmanager
def data_stream(deb: Path) -> Iterator[IO[bytes]]:
    """The package's tar of files, uncompressed, as a stream."""
    for name, data in members(deb):
        if name.startswith("data.tar"):
            with _plain(name, data, deb) as stream:
                yield stream
            return
    raise DebianError(f"{deb}: holds no data.tar; delete it and fetch it again")


def extract_tar(stream: IO[bytes], into: Path, wanted: Callable[[str], bool], *, links_stay_inside: bool = True) -> int:
    """Unpack the members of a tar stream whose path `wanted` accepts; returns how many files.

    Links to outside of `into` are refused, unless `into` is the root of a system, where absolute links are right."""
    count = 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter" if links_stay_inside else "tar_filter", None)
        for member in archive:
            path = member.name.removeprefix("./")
            if member.isdir() or not wanted(path):
                continue
            archive.extract(member, into)
            count += 1
    return count


def extract(deb: Path, into: Path, wanted: Callable[[str], bool] = lambda path: True) -> int:
    """Unpack the files of a .deb whose path (`usr/lib/...`) `wanted` accepts into `into`; returns how many."""
    into.mkdir(parents=True, exist_ok=True)
    with data_stream(deb) as stream:
        return extract_tar(stream, into, wanted)


def unpack(deb: Path, into: Path, wanted: Callable[[str], bool] = lambda path: True) -> int:
    """Unpack a .deb as part of a system's root `into`, with its links as they are; returns how many files.

    Packages' scripts are not run."""
    with data_stream(deb) as stream:
        return extract_tar(stream, into, wanted, links_stay_inside=False)
