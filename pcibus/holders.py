"""Which processes hold a device: open device nodes, mapped BARs, and queues or memory that the compute driver knows of.

Right in both directions: a process that merely opened /dev/kfd is told apart (`only_kfd`), and one that is a zombie or
lives in a container is found. Device nodes are matched by their numbers, because a container may call them otherwise.
Strings are as the system gives them: whoever prints them escapes them.

Source: proc(5); Linux 7.3 drivers/gpu/drm/amd/amdkfd/kfd_process.c (kfd/proc/<pid>: vram_<gpu id>, queues/<id>/gpuid),
kfd_topology.c (location_id); open-gpu-kernel-modules 580.105.08 nv-procfs.c (Device Minor), nv-chardev-numbers.h (195)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from base.child import own_pids, run_in_child
from base.clock import Clock, RealClock

_MAX_TEXT_BYTES = 4096
_MAX_MAPS_BYTES = 8 << 20
_MAX_GAPS = 8
_NVIDIA_MAJOR = 195
_CONTAINERS = (
    (re.compile(r"docker[-/]([0-9a-f]{12})[0-9a-f]{52}"), "docker"),
    (re.compile(r"cri-containerd[-:]([0-9a-f]{12})[0-9a-f]{52}"), "containerd"),
    (re.compile(r"crio-([0-9a-f]{12})[0-9a-f]{52}"), "cri-o"),
    (re.compile(r"libpod-([0-9a-f]{12})[0-9a-f]{52}"), "podman"),
    (re.compile(r"/kubepods[^/]*/.*?pod[0-9a-f_-]{36}[^/]*/([0-9a-f]{12})[0-9a-f]{52}"), "kubernetes"),
    (re.compile(r"/lxc(?:\.payload\.|/)([\w.-]+)"), "lxc"),
    (re.compile(r"/machine-qemu\S*?([\w.-]+?)\.scope"), "libvirt"),
    (re.compile(r"/(?:slurm\w*|system\.slice/slurmstepd\.scope)/(job_\d+)"), "slurm"),
)


@dataclass(frozen=True, slots=True)
class Holder:
    """One process. `what`: the files, mappings and queues; `only_kfd`: it opened /dev/kfd, and no more is known of it."""

    pid: int
    command: str
    cgroup: str
    container: str
    what: tuple[str, ...]
    only_kfd: bool = False


@dataclass(frozen=True, slots=True)
class Holders:
    """`complete` False: some processes could not be looked at, so that an empty list proves nothing; `gaps` says why."""

    holders: tuple[Holder, ...]
    complete: bool
    gaps: tuple[str, ...] = ()

    @property
    def real(self) -> tuple[Holder, ...]:
        """Those that hold this very device, not only /dev/kfd."""
        return tuple(holder for holder in self.holders if not holder.only_kfd)


# For whoever is about to act: one who gives up too early has to refuse. A look has less patience (probe/host.py).
PATIENCE_S: Final = 10.0


def find_holders(
    bdf: str,
    *,
    root: Path = Path("/sys"),
    proc: Path = Path("/proc"),
    clock: Clock | None = None,
    limit_s: float = 2.0,
    max_processes: int = 100_000,
    ignore: frozenset[int] | None = None,
) -> Holders:
    """Processes that hold the function `bdf`, by pid. `ignore`: pids not to name (default: our own).

    Bounded by `limit_s` and `max_processes`. Open files and the compute driver's list are read here; mappings in a
    child that can be killed, because reading them waits for a lock that a stuck process may hold."""
    search = _Search(bdf, root, proc, clock or RealClock(), limit_s)
    skip = own_pids() if ignore is None else ignore
    pids = [pid for pid in search.pids() if pid not in skip]
    if len(pids) > max_processes:
        search.gap(f"more than {max_processes} processes: the rest was not looked at")
        pids = pids[:max_processes]
    for pid in pids:
        if search.late():
            search.gap(f"not all processes were looked at within {limit_s:g} s")
            break
        search.files_of(pid)
    search.kfd_processes(skip)
    search.mappings(pids)
    return search.result()


class _Search:
    def __init__(self, bdf: str, root: Path, proc: Path, clock: Clock, limit_s: float) -> None:
        self.root, self.proc, self.clock, self.limit_s = root, proc, clock, limit_s
        self.bdf = bdf
        self.deadline = clock.now() + limit_s
        self.device = root / "bus/pci/devices" / bdf
        self.nodes = dict(self._nodes())
        self.numbers = {number: node for node, number in self.nodes.items() if number}
        self.resource = re.compile(rf"/{re.escape(bdf)}/(resource\d+(?:_wc)?)(?: \(deleted\))?\Z")
        self.found: dict[int, list[str]] = {}
        self.kfd: set[int] = set()
        self.gaps: list[str] = []
        self.denied: set[int] = set()

    def late(self) -> bool:
        return self.clock.now() >= self.deadline

    def gap(self, text: str) -> None:
        if text not in self.gaps:
            self.gaps.append(text)

    def add(self, pid: int, what: str) -> None:
        entry = self.found.setdefault(pid, [])
        if what not in entry:
            entry.append(what)

    def _nodes(self) -> Iterator[tuple[str, str]]:
        """Device nodes of the function, with their numbers as `major:minor` ("" where sysfs does not tell)."""
        for entry in _entries(self.device / "drm"):
            if entry.startswith(("card", "renderD", "controlD")):
                yield f"/dev/dri/{entry}", _text(self.device / "drm" / entry / "dev")
        for entry in _entries(self.device / "vfio-dev"):
            yield f"/dev/vfio/devices/{entry}", _text(self.device / "vfio-dev" / entry / "dev")
        minor = _nvidia_minor(_text(self.proc / "driver/nvidia/gpus" / self.bdf / "information"))
        if minor:
            yield f"/dev/nvidia{minor}", f"{_NVIDIA_MAJOR}:{minor}"
        group = _link_name(self.device / "iommu_group")
        if group:
            yield f"/dev/vfio/{group}", ""
            yield f"/dev/vfio/noiommu-{group}", ""

    def pids(self) -> list[int]:
        try:
            names = [entry.name for entry in os.scandir(self.proc)]
        except OSError as error:
            self.gap(f"{self.proc} cannot be read: {os.strerror(error.errno or 0)}")
            return []
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    # --- open files

    def files_of(self, pid: int) -> None:
        try:
            entries = os.scandir(self.proc / str(pid) / "fd")
            handles = [entry.path for entry in sorted(entries, key=lambda entry: (len(entry.name), entry.name))]
        except PermissionError:
            self.denied.add(pid)
            return
        except OSError:
            return  # it ended meanwhile
        for path in handles:
            try:
                target = str(Path(path).readlink())
            except PermissionError:
                self.denied.add(pid)
                return
            except OSError:
                continue
            self._judge(pid, path, target)

    def _judge(self, pid: int, path: str, target: str) -> None:
        mapped = self.resource.search(target)
        if mapped:
            self.add(pid, f"{mapped[1]} open")
        elif target.endswith("/kfd"):
            self.kfd.add(pid)
        elif "/dri/" in target or "/vfio/" in target or "/nvidia" in target:
            node = self._node(path, target)
            if node:
                self.add(pid, node)

    def _node(self, path: str, target: str) -> str:
        """Our device node behind an open file, by its number if both tell one, else by its name."""
        number = _device_number(path)
        if number in self.numbers:
            return self.numbers[number]
        known = self.nodes.get(target)
        return "" if known is None or (known and number) else target

    # --- what the compute driver knows

    def kfd_processes(self, skip: frozenset[int]) -> None:
        folder = self.root / "class/kfd/kfd/proc"
        ids = self._kfd_gpu_ids()
        for name in _entries(folder):
            if not (name.isascii() and name.isdigit()) or int(name) in skip:
                continue
            for what in _kfd_use(folder / name, ids):
                self.add(int(name), what)

    def _kfd_gpu_ids(self) -> set[str]:
        """The compute driver's ids of this function; a partitioned GPU has one for each partition."""
        nodes = self.root / "class/kfd/kfd/topology/nodes"
        found = {
            _text(nodes / node / "gpu_id")
            for node in _entries(nodes)
            if self._is_ours(_kfd_bdf(_text(nodes / node / "properties")))
        }
        return found - {"", "0"}

    def _is_ours(self, bdf: str) -> bool:
        """Partitions of function 0 are numbered in the function bits; there is no such function on the bus then."""
        if bdf == self.bdf:
            return True
        partition = self.bdf.endswith(".0") and bdf[:-1] == self.bdf[:-1]
        return partition and not (self.device.parent / bdf).exists()

    # --- mappings

    def mappings(self, pids: list[int]) -> None:
        left = self.deadline - self.clock.now()
        if left <= 0 or not pids:
            return
        work = partial(_mappings, self.proc, pids, self.resource)
        outcome = run_in_child(work, left, doing="reading the mappings of processes")
        if outcome.value is None:
            self.gap(f"mappings were not read: {getattr(outcome.error, 'seen', '') or outcome.error}")
            return
        rows, skipped, denied = outcome.value
        for pid, file in rows:
            self.add(pid, f"{file} mapped")
        for pid in skipped:
            self.gap(f"process {pid} is stuck in the kernel: its mappings were not read")
        self.denied.update(denied)

    # --- the answer

    def result(self) -> Holders:
        if self.denied:
            some = ", ".join(map(str, sorted(self.denied)[:4])) + (", ..." if len(self.denied) > 4 else "")
            self.gap(
                f"processes that may not be looked into: {len(self.denied)} ({some}): run as root (CAP_SYS_PTRACE)"
            )
        holders = [self._holder(pid, tuple(what), only_kfd=False) for pid, what in sorted(self.found.items())]
        only = sorted(self.kfd - set(self.found))
        holders += [self._holder(pid, ("/dev/kfd",), only_kfd=True) for pid in only]
        return Holders(tuple(holders), complete=not self.gaps, gaps=tuple(self.gaps[:_MAX_GAPS]))

    def _holder(self, pid: int, what: tuple[str, ...], *, only_kfd: bool) -> Holder:
        folder = self.proc / str(pid)
        cgroup = _cgroup(_text(folder / "cgroup"))
        state = _state(_text(folder / "stat"))
        note = {"Z": ("the process is a zombie",), "D": ("the process is stuck in the kernel",)}
        if not folder.is_dir():
            note[state] = ("the process is gone, or hidden in another container",)
        return Holder(pid, _text(folder / "comm"), cgroup, container_of(cgroup), what + note.get(state, ()), only_kfd)


def _nvidia_minor(information: str) -> str:
    """The number of /dev/nvidiaN in the driver's page of a GPU; "" without one."""
    found = re.search(r"^Device Minor:\s*(\d+)$", information, re.MULTILINE)
    return found[1] if found else ""


def container_of(cgroup: str) -> str:
    """The container or job that a cgroup path belongs to: `docker 0123456789ab`, `lxc web`; "" if none is known."""
    for pattern, kind in _CONTAINERS:
        found = pattern.search(cgroup)
        if found:
            return f"{kind} {found[1]}"
    return ""


def _mappings(
    proc: Path, pids: list[int], resource: re.Pattern[str]
) -> tuple[list[tuple[int, str]], list[int], list[int]]:
    """(pid, file) of mapped BARs, pids left out because they are stuck, and pids that were denied."""
    rows: list[tuple[int, str]] = []
    skipped: list[int] = []
    denied: list[int] = []
    for pid in pids:
        folder = proc / str(pid)
        if _state(_text(folder / "stat")) == "D":
            skipped.append(pid)
            continue
        try:
            with (folder / "maps").open("rb") as file:
                text = file.read(_MAX_MAPS_BYTES).decode("utf-8", "replace")
        except PermissionError:
            denied.append(pid)
            continue
        except OSError:
            continue
        if "/resource" in text:
            hits = (resource.search(line) for line in text.splitlines())
            rows += sorted({(pid, hit[1]) for hit in hits if hit})
    return rows, skipped, denied


def _kfd_use(folder: Path, gpu_ids: set[str]) -> list[str]:
    """Queues and memory of one process on one GPU. Only these files: reading others makes the driver act."""
    found = []
    for name in _entries(folder / "queues"):
        if _text(folder / "queues" / name / "gpuid") in gpu_ids:
            found.append(f"kfd queue {name}")
    for gpu_id in sorted(gpu_ids):
        used = _text(folder / f"vram_{gpu_id}")
        if used.isascii() and used.isdigit() and int(used):
            found.append(f"kfd memory: {used} bytes of VRAM")
    return found


def _kfd_bdf(properties: str) -> str:
    """The address in a topology node's properties; "" when it tells none (a CPU)."""
    values = dict(line.split()[:2] for line in properties.splitlines() if len(line.split()) >= 2)
    location, domain = values.get("location_id", ""), values.get("domain", "0")
    if not (location.isascii() and location.isdigit() and domain.isascii() and domain.isdigit()):
        return ""
    number = int(location)
    return f"{int(domain):04x}:{number >> 8 & 0xFF:02x}:{number >> 3 & 0x1F:02x}.{number & 7}"


def _device_number(path: str) -> str:
    """`major:minor` of the character device behind an open file; "" if it is none or cannot be asked."""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    if not stat.S_ISCHR(status.st_mode):
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _cgroup(text: str) -> str:
    """The process's cgroup path: the line of the unified hierarchy, else the longest."""
    paths = [line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2]
    unified = [line[3:] for line in text.splitlines() if line.startswith("0::")]
    if unified and unified[0] not in ("", "/"):
        return unified[0]
    return max(paths, key=len, default="")


def _state(stat_text: str) -> str:
    words = stat_text.rpartition(")")[2].split()
    return words[0] if words else ""


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []


def _link_name(path: Path) -> str:
    try:
        return path.readlink().name
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(handle, _MAX_TEXT_BYTES).decode("utf-8", "replace").strip("\n")
    except OSError:
        return ""
    finally:
        os.close(handle)
