"""What the machine says: system facts, the kernel's log, the journal of earlier boots, firmware files; and its secrets.

Source: proc(5). The kernel's log is read by base/kernellog.py."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from base.errors import GpumendError, Unavailable
from base.kernellog import read_kmsg, read_syslog
from evidence.parts import Collector, Limits, Out, Places, attempt, reason
from evidence.safe import Folder, read_file
from pcibus import sysfs

# (root, name): text files, in the order in which they are asked. The modules' parameters come from their folders.
_SYSTEM = (
    ("proc", "version"), ("proc", "cmdline"), ("proc", "uptime"), ("proc", "loadavg"), ("proc", "meminfo"),
    ("proc", "modules"), ("proc", "iomem"), ("proc", "sys/kernel/tainted"), ("proc", "sys/kernel/hung_task_timeout_secs"),
    ("proc", "driver/nvidia/version"), ("etc", "os-release"), ("etc", "debian_version"), ("opt", "rocm/.info/version"),
    ("sys", "module/amdgpu/version"), ("sys", "module/amdgpu/srcversion"), ("sys", "module/amdgpu/initstate"),
    *(("sys", f"module/nvidia/{name}") for name in ("version", "srcversion", "initstate", "refcnt", "taint")),
    ("proc", "driver/nvidia/params"), ("proc", "driver/nvidia/registry"),
    ("sys", "module/amdgpu/refcnt"), ("sys", "module/amdgpu/taint"), ("sys", "kernel/security/lockdown"),
    ("sys", "devices/system/cpu/online"), ("sys", "devices/system/node/online"), ("sys", "module/pcie_aspm/parameters/policy"),
    *(("sys", f"class/dmi/id/{name}") for name in (
        "sys_vendor", "product_name", "product_version", "board_vendor", "board_name", "board_version", "bios_vendor",
        "bios_version", "bios_date", "ec_firmware_release")),
)  # fmt: skip
_CPU_FIELDS = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode")
_CMDLINE_LIMIT = 64 << 10
_FIRST_USER, _NOBODY = 1000, 65534
_MAX_USERS = 2000
_PR_SET_PDEATHSIG = 1


def secrets(places: Places, limits: Limits) -> Collector:
    """Names of this machine and its users, serial numbers and network addresses: to be taken out of all the rest."""
    return Collector("identity", partial(_secrets, places), limits.fast_s, resumes=1)


def collectors(places: Places, limits: Limits, *, quick: bool) -> list[Collector]:
    """System facts and logs. In the quick form without the journal of earlier boots: it is on disk already."""
    made = [
        Collector(
            "kernel-log", partial(_kernel_log, places, limits), limits.logs_s, room_bytes=limits.log_bytes + (1 << 16)
        ),
        Collector("system", partial(_system, places, limits), limits.fast_s, resumes=1),
        Collector("pci-tree", partial(_pci_tree, places), limits.fast_s),
    ]
    if not quick:
        journal = partial(_journal, places, limits)
        made.append(Collector("journal", journal, limits.logs_s, room_bytes=2 * limits.log_bytes, resumes=1))
    return made


# ---------------------------------------------------------------- secrets


def own_names() -> Iterable[tuple[str, str]]:
    """What is known without reading a file: the kernel's word on the host's name, and who runs this."""
    yield "host", os.uname().nodename
    for name in ("SUDO_USER", "USER", "LOGNAME"):
        yield "user", os.environ.get(name, "")


def _secrets(places: Places, out: Out) -> None:
    for root, name, kind in (
        (places.proc, "sys/kernel/hostname", "host"),
        (places.etc, "hostname", "host"),
        (places.etc, "machine-id", "serial"),
        *((places.sys, f"class/dmi/id/{name}_serial", "serial") for name in ("product", "board", "chassis")),
        (places.sys, "class/dmi/id/product_uuid", "serial"),
    ):
        if out.begin(str(root / name)):
            text = _text(root, name)
            if text:
                out.secret(kind, text)
    domain = _text(places.proc, "sys/kernel/domainname")
    host = _text(places.proc, "sys/kernel/hostname")
    if domain and host and "." in domain:
        out.secret("host", f"{host}.{domain}")
    if out.begin("users"):
        for user in _users(places):
            out.secret("user", user)
    if out.begin("network addresses"):
        for address in _macs(places):
            out.secret("mac", address)


def _users(places: Places) -> Iterable[str]:
    """People, not services."""
    rows = [line.split(":") for line in _text(places.etc, "passwd", 1 << 20).splitlines()[:_MAX_USERS]]
    for row in rows:
        if len(row) >= 6 and row[2].isdecimal() and int(row[2]) >= _FIRST_USER and int(row[2]) != _NOBODY:
            yield row[0]


def _macs(places: Places) -> Iterable[str]:
    try:
        with Folder(places.sys, "class/net") as opened:
            names = opened.names()[:256]
    except GpumendError:
        return
    for name in names:
        address = _text(places.sys, f"class/net/{name}/address")
        if address.replace(":", "").strip("0"):
            yield address


def _text(root: Path, name: str, limit_bytes: int = 4096) -> str:
    """A small file's text; "" when it is absent, a link, or cannot be read."""
    try:
        return read_file(root, name, limit_bytes)[0].decode("utf-8", "replace").strip()
    except GpumendError:
        return ""


# ---------------------------------------------------------------- system facts


def _system(places: Places, limits: Limits, out: Out) -> None:
    roots = {"proc": places.proc, "sys": places.sys, "etc": places.etc, "opt": places.opt}
    for root, name in _SYSTEM:
        _part(roots[root], name, limits, out)
    _cpus(places, out)
    for module in ("amdgpu", "nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset"):
        _folder(places.sys, f"module/{module}/parameters", limits, out)
    with attempt(out, "class/iommu"):
        names = _names(places.sys, "class/iommu")
        out.add("system.txt", f"== iommu units ==\n{' '.join(names) or 'none'}\n".encode())
        groups = _names(places.sys, "kernel/iommu_groups")
        out.add("system.txt", f"== iommu groups ==\n{len(groups)}\n".encode())


def _part(root: Path, name: str, limits: Limits, out: Out) -> None:
    """One small file, with a line above it that says which. What is not there is left out; os-release is a link by right."""
    if not out.begin(str(root / name)):
        return
    if name == "os-release":
        for place in ("os-release", "../usr/lib/os-release"):
            found = root / place
            if found.is_file() and not found.is_symlink():
                root, name = found.parent, found.name
                break
    try:
        data, cut = read_file(root, name, limits.attribute_bytes)
    except Unavailable:
        return
    except GpumendError as error:
        out.unread(str(root / name), reason(error))
        return
    out.add("system.txt", f"== {root.name}/{name} ==\n".encode() + data.rstrip(b"\n") + b"\n", cut=cut)


def _folder(root: Path, name: str, limits: Limits, out: Out) -> None:
    """Every file of a folder; module parameters are small and have no read side."""
    for entry in _names(root, name):
        _part(root, f"{name}/{entry}", limits, out)


def _names(root: Path, name: str) -> list[str]:
    try:
        with Folder(root, name) as opened:
            return opened.names()
    except GpumendError:
        return []


def _cpus(places: Places, out: Out) -> None:
    """What kind they are and how many; a server's whole cpuinfo is a megabyte of the same."""
    if not out.begin("cpuinfo"):
        return
    with attempt(out, "cpuinfo"):
        data, _ = read_file(places.proc, "cpuinfo", 8 << 20)
        text = data.decode("utf-8", "replace")
        rows = [
            line for line in text.partition("\n\n")[0].splitlines() if line.partition(":")[0].strip() in _CPU_FIELDS
        ]
        count = sum(line.startswith("processor") for line in text.splitlines())
        out.add("system.txt", ("== cpu ==\n" + "\n".join([*rows, f"processors: {count}"]) + "\n").encode())


def _pci_tree(places: Places, out: Out) -> None:
    """Every function: who it is, under which port, which driver. Reads no config space and wakes nothing."""
    if not out.begin("PCI functions"):
        return
    rows = []
    for info in sysfs.scan(places.sys, lambda _vendor, _device, _class_code: True):
        words = [f"{info.bdf} {info.vendor:04x}:{info.device:04x} class {info.class_code or 0:06x}"]
        words += [f"below {info.upstream}"] if info.upstream else []
        words += [f"driver {info.driver or 'none'}", f"power {info.power_state or 'unknown'}"]
        words += [f"numa {info.numa_node}"] if info.numa_node is not None else []
        words += [f"iommu group {info.iommu_group}"] if info.iommu_group is not None else []
        words += [f"resets {' '.join(info.reset_methods)}"] if info.reset_methods else []
        rows.append(", ".join(words))
    out.add("pci-tree.txt", ("\n".join(rows) + "\n").encode())


# ---------------------------------------------------------------- logs


def _kernel_log(places: Places, limits: Limits, out: Out) -> None:
    """The whole log as it stands in the kernel, `[seconds] text`; when it may not be read that is told."""
    if not out.begin(str(places.dev / "kmsg")):
        return
    try:
        data, lost = read_kmsg(places.dev / "kmsg", limits.log_bytes)
    except (GpumendError, OSError) as error:
        out.unread(str(places.dev / "kmsg"), reason(error))
        if places.dev == Path("/dev") and out.begin("syslog(2)"):
            with attempt(out, "kernel log by syslog(2)"):
                out.add("kernel.log", read_syslog())
        return
    out.add("kernel.log", data[: limits.log_bytes], cut=len(data) > limits.log_bytes)
    if lost:
        out.unread("kernel log", f"{lost} times records were overwritten while it was read")


def _journal(places: Places, limits: Limits, out: Out) -> None:
    """The kernel's messages of this boot and the ones before, where the journal is kept on disk."""
    if places.journalctl is None or not places.journalctl.is_file():
        out.unread("journal", "no journalctl here")
        return
    for boot in range(limits.boots):
        what = f"journal of boot -{boot}" if boot else "journal of this boot"
        if not out.begin(what):
            continue
        arguments = [
            str(places.journalctl),
            "-k",
            "-b",
            f"-{boot}",
            "--no-pager",
            "--no-hostname",
            "-q",
            "-o",
            "short-precise",
        ]
        limit_s = max(0.5, limits.logs_s / limits.boots - 0.2)
        with attempt(out, what):
            data, why = _program(arguments, limit_s, limits.log_bytes // limits.boots)
            if data:
                out.add(f"journal/boot-{boot}.log", data)
            if why:
                out.unread(what, why)


def _program(arguments: Sequence[str], limit_s: float, limit_bytes: int) -> tuple[bytes, str]:
    """What a program printed, at most `limit_bytes`, and why that is not all. It dies with us, and at its limit."""

    def die_with_parent() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    with subprocess.Popen(
        list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            return _drain(process, limit_s, limit_bytes)
        finally:
            process.kill()


def _drain(process: subprocess.Popen[bytes], limit_s: float, limit_bytes: int) -> tuple[bytes, str]:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + limit_s
    data = bytearray()
    while time.monotonic() < deadline:
        try:
            chunk = os.read(process.stdout.fileno(), 1 << 20)
        except BlockingIOError:
            time.sleep(0.005)
            continue
        if not chunk:
            code = process.wait(timeout=1)
            return bytes(data), "" if code == 0 else f"exit status {code}: no such boot, or not permitted"
        data += chunk
        if len(data) > limit_bytes:
            return bytes(data[:limit_bytes]), f"cut after {limit_bytes} bytes: it had more"
    return bytes(data), f"no end within {limit_s:.1f} s"


# ---------------------------------------------------------------- firmware files


def firmware_files(parts: Sequence[str], dirs: Sequence[Path], limits: Limits) -> Collector:
    """Which firmware files a driver would load from this machine: version, size, SHA-256. Not the files: they are AMD's."""
    return Collector("firmware-files", partial(_firmware, parts, dirs), limits.logs_s, resumes=1)


def _firmware(parts: Sequence[str], dirs: Sequence[Path], out: Out) -> None:
    from firmware.containers import parse
    from firmware.needed import needed
    from firmware.store import find, read

    names = dict.fromkeys(item.name for part in parts for item in needed(part) if not item.guest)
    for name in names:
        if not out.begin(f"firmware {name}"):
            continue
        try:
            path = find(name, dirs)
            data = read(path)
        except GpumendError as error:
            out.unread(f"firmware {name}", reason(error))
            continue
        file = parse(data, name)
        entries = {entry.name: entry.version for entry in file.entries if entry.version is not None}
        body = {
            "file": name, "folder": str(path.parent), "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
            "version": file.version, "entries": entries, "ok": file.ok,
        }  # fmt: skip
        out.add("firmware-files.jsonl", (json.dumps(body) + "\n").encode())


def first_line(text: str, key: str) -> str:
    """The value of `KEY="value"` in os-release; "" when it is not there."""
    found = re.search(rf'^{key}="?([^"\n]*)"?$', text, re.MULTILINE)
    return found[1] if found else ""
