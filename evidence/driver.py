"""What the kernel and its bound driver say of a GPU: sysfs, debugfs, RAS, XGMI, core dumps, and who holds it.

Only files that a read does not change, by name; never everything that is there: reading amdgpu_gpu_recover resets the GPU,
amdgpu_evict_* move memory, amdgpu_test_ib runs jobs, psp_vbflash writes flash, amdgpu_fw_attestation sends a command to the
PSP, xgmi_error clears its register, pcie_bw sleeps for a second, and ras/*_err_count sets the counters back.

Sources: Linux v7.3 amdgpu/ (DEVICE_ATTR, debugfs_create_file), pm/amdgpu_pm.c, amdgpu_ras.c amdgpu_ras_sysfs_read,
amdgpu_xgmi.c amdgpu_xgmi_show_error, amdgpu_device.c amdgpu_sysfs_reg_state_get; drivers/base/devcoredump.c; pci-sysfs.c."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from base.errors import GpumendError, Unavailable
from evidence.gpu import folder
from evidence.parts import Collector, Limits, Out, Places, attempt, reason
from evidence.safe import Folder
from evidence.subject import Subject
from pcibus.holders import find_holders

# Text attributes of the device's folder: PCI core, then amdgpu; in the order in which they are asked.
PCI_ATTRIBUTES = (
    "vendor", "device", "subsystem_vendor", "subsystem_device", "revision", "class", "uevent", "enable", "power_state",
    "current_link_speed", "current_link_width", "max_link_speed", "max_link_width", "reset_method", "numa_node",
    "local_cpulist", "irq", "msi_bus", "ari_enabled", "d3cold_allowed", "dma_mask_bits", "driver_override", "resource",
    "aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal", "aer_rootport_*", "sriov_numvfs", "sriov_totalvfs",
    "power/control", "power/runtime_status", "link/*",
)  # fmt: skip
AMDGPU_ATTRIBUTES = (
    "unique_id", "serial_number", "fru_id", "product_name", "product_number", "manufacturer", "vbios_version", "vbios_build",
    "board_info", "fw_version/*", "current_compute_partition", "available_compute_partition", "current_memory_partition",
    "available_memory_partition", "compute_partition_config/*", "enforce_isolation", "*_reset_mask", "mem_info_*",
    "xgmi_device_id", "xgmi_physical_id", "xgmi_num_hops", "xgmi_num_links", "xgmi_port_num",
    "ras/features", "ras/version", "ras/schema", "ras/event_state", "ras/gpu_vram_bad_pages", "pcie_replay_count",
    "power_dpm_force_performance_level", "power_dpm_state", "pp_dpm_*", "pp_features", "pp_od_clk_voltage",
    "gpu_busy_percent", "mem_busy_percent", "vcn_busy_percent", "thermal_throttling_logging", "hwmon/hwmon*/name",
    "hwmon/hwmon*/*_input", "hwmon/hwmon*/*_label", "hwmon/hwmon*/*_average", "hwmon/hwmon*/*_crit",
    "hwmon/hwmon*/power*_cap*",
)  # fmt: skip
BINARY_ATTRIBUTES = ("gpu_metrics",)
# What the driver dumps of its links: the offset at which it is read says of which kind (include/amdgpu_reg_state.h).
REG_STATES = {"xgmi": 0, "wafl": 0x1000, "pcie": 0x2000, "usr": 0x3000, "usr1": 0x4000}
RAS_COUNTS = "ras/*_err_count"
WHY_NO_RAS_COUNTS = "not read: reading it sets the driver's counters back (ask for it: ras_counts)"
# The raw SMU table holds serial numbers of the dies at places that depend on its version.
SERIALS_INSIDE = ("pm_metrics",)
WHY_NO_SERIALS = "not collected: a binary with serial numbers inside (collected with redaction off)"

# debugfs: (glob, is it binary). What blocks is asked last: these take the driver's locks.
DEBUGFS = (
    ("name", False), ("amdgpu_firmware_info", False), ("amdgpu_vbios", True),
    ("amdgpu_discovery", True), ("ras/ras_num_recs", False), ("ras/ras_hw_enabled", False), ("ras/ras_enabled", False),
    ("ras/bad_page_cnt_threshold", False), ("ras/auto_reboot", False), ("amdgpu_ring_*", True), ("amdgpu_mes_event_log", False),
    ("amdgpu_fence_info", False), ("amdgpu_sa_info", False), ("amdgpu_vm_info", False), ("amdgpu_gem_info", False),
)  # fmt: skip
_DRI = "kernel/debug/dri"
_MAX_DRI = 256


def collectors(
    subject: Subject, bdf: str, places: Places, limits: Limits, *, quick: bool, ras_counts: bool, redact: bool
) -> list[Collector]:
    """For a GPU of this machine's bus."""
    skipped = () if redact is False else SERIALS_INSIDE
    works = [
        ("sysfs", partial(_sysfs, subject, bdf, places, limits, ras_counts, skipped), 2),
        ("holders", partial(_holders, subject, bdf, places, limits), 0),
    ]
    if not subject.part.is_nvidia:
        works.insert(1, ("xgmi", partial(_hive, subject, bdf, places, limits), 0))
    if not quick and not subject.part.is_nvidia:
        works.append(("debugfs", partial(_debugfs, subject, bdf, places, limits), 2))
    return [Collector(name, work, limits.driver_s, subject.index, resumes=resumes) for name, work, resumes in works]


def _device(bdf: str) -> str:
    return f"bus/pci/devices/{bdf}"


def _sysfs(
    subject: Subject, bdf: str, places: Places, limits: Limits, ras_counts: bool, skipped: tuple[str, ...], out: Out
) -> None:
    with Folder(places.sys, _device(bdf)) as opened:
        file = f"{folder(subject)}/sysfs.txt"
        for name in _matching(opened, PCI_ATTRIBUTES + AMDGPU_ATTRIBUTES):
            _attribute(opened, name, file, limits, out)
        for name in _matching(opened, BINARY_ATTRIBUTES + (() if skipped else SERIALS_INSIDE)):
            _binary(opened, name, f"{folder(subject)}/{name}.bin", limits.attribute_bytes, out)
        for _ in _matching(opened, ("reg_state",)):
            _reg_states(subject, opened, out)
        for name in _matching(opened, skipped):
            out.unread(name, WHY_NO_SERIALS)
        counts = list(_matching(opened, (RAS_COUNTS,)))
        for name in counts if ras_counts else ():
            _attribute(opened, name, file, limits, out)
        if counts and not ras_counts:
            out.unread(f"{RAS_COUNTS} ({len(counts)} files)", WHY_NO_RAS_COUNTS)


def _matching(opened: Folder, globs: Iterable[str]) -> Iterator[str]:
    """Names that are there, in the order of the globs, each once. Links and their like are told when they are read."""
    listed: dict[str, list[str]] = {}
    given: set[str] = set()
    for glob in globs:
        for name in _expanded(opened, "", glob, listed):
            if name not in given:
                given.add(name)
                yield name


def _expanded(opened: Folder, below: str, glob: str, listed: dict[str, list[str]]) -> Iterator[str]:
    head, _, rest = glob.partition("/")
    if below not in listed:
        try:
            with Folder(opened.path, below.rstrip("/")) if below else Folder(opened.path) as inner:
                listed[below] = [f"{name}/" if inner.is_folder(name) else name for name in inner.names()]
        except GpumendError:
            listed[below] = []
    for entry in listed[below]:
        name = entry.rstrip("/")
        if not fnmatchcase(name, head) or entry.endswith("/") != bool(rest):
            continue
        if rest:
            yield from _expanded(opened, f"{below}{name}/", rest, listed)
        else:
            yield f"{below}{name}"


def _attribute(opened: Folder, name: str, file: str, limits: Limits, out: Out) -> None:
    if not out.begin(name):
        return
    try:
        data, cut = opened.read(name, limits.attribute_bytes)
    except GpumendError as error:
        out.unread(name, _why(error))
        return
    out.add(file, b"== " + name.encode() + b" ==\n" + data.rstrip(b"\n") + b"\n")
    if cut:
        out.unread(name, f"cut after {len(data)} bytes: it had more")


def _binary(opened: Folder, name: str, file: str, limit_bytes: int, out: Out) -> None:
    if not out.begin(name):
        return
    try:
        data, cut = opened.read(name, limit_bytes)
    except GpumendError as error:
        out.unread(name, _why(error))
        return
    out.add(file, data, binary=True, cut=cut)


def _reg_states(subject: Subject, opened: Folder, out: Out) -> None:
    for kind, offset in REG_STATES.items():
        what = f"reg_state of {kind}"
        if not out.begin(what):
            continue
        with attempt(out, what):
            handle = opened.open("reg_state")
            try:
                data = os.pread(handle, 4096, offset)
            finally:
                os.close(handle)
            if data:
                out.add(f"{folder(subject)}/reg_state-{kind}.bin", data, binary=True)


def _why(error: GpumendError) -> str:
    return f"vanished, or cannot be read: {reason(error)}" if isinstance(error, Unavailable) else reason(error)


def _hive(subject: Subject, bdf: str, places: Places, limits: Limits, out: Out) -> None:
    """The hive's folder: it lies in the folder of one of its members, and the others link to it."""
    if not os.path.lexists(places.sys / _device(bdf) / "xgmi_hive_info"):
        return
    file = f"{folder(subject)}/xgmi.txt"
    with attempt(out, "xgmi_hive_info"), Folder(places.sys, f"{_device(bdf)}/xgmi_hive_info") as opened:
        for name in opened.names():
            if name.startswith("node"):
                with attempt(out, f"xgmi_hive_info/{name}"):
                    member = Path(os.readlink(name, dir_fd=opened.fd)).name
                    out.add(file, f"{name} -> {member}\n".encode())
        if out.begin("xgmi_hive_info/xgmi_hive_id"):
            data, _ = opened.read("xgmi_hive_id", limits.attribute_bytes)
            out.add(file, b"xgmi_hive_id " + data)


def _holders(subject: Subject, bdf: str, places: Places, limits: Limits, out: Out) -> None:
    found = find_holders(bdf, root=places.sys, proc=places.proc, limit_s=max(0.3, limits.driver_s - 0.5))
    for gap in found.gaps:
        out.unread("holders", gap)
    body = {"complete": found.complete, "holders": [asdict(holder) for holder in found.holders]}
    out.add(f"{folder(subject)}/holders.json", (json.dumps(body) + "\n").encode())


def _debugfs(subject: Subject, bdf: str, places: Places, limits: Limits, out: Out) -> None:
    place = _dri_folder(bdf, places)
    if place is None:
        out.unread("debugfs", "none of this GPU: not mounted, no driver bound, or not permitted (root)")
        return
    with Folder(places.sys, place) as opened:
        file = f"{folder(subject)}/debugfs.txt"
        for glob, binary in DEBUGFS:
            for name in _matching(opened, (glob,)):
                if binary:
                    _binary(opened, name, f"{folder(subject)}/debugfs/{name}.bin", 4 * limits.attribute_bytes, out)
                else:
                    _attribute(opened, name, file, limits, out)


def _dri_folder(bdf: str, places: Places) -> str | None:
    """By address on newer kernels; on older ones by minor, with the address in the file `name`."""
    try:
        with Folder(places.sys, _DRI) as opened:
            names = opened.names()[:_MAX_DRI]
            if bdf in names:
                return f"{_DRI}/{bdf}"
            for name in names:
                if name.isdecimal() and opened.is_folder(name):
                    try:
                        text, _ = opened.read(f"{name}/name", 4096)
                    except GpumendError:
                        continue
                    if f"dev={bdf}" in text.decode("ascii", "replace").split():
                        return f"{_DRI}/{name}"
    except GpumendError:
        return None
    return None


# ---------------------------------------------------------------- core dumps (of the machine, each names its device)


def coredumps(places: Places, limits: Limits) -> Collector:
    """What the driver dumped when it noticed a hang; the kernel drops it after five minutes. Reading leaves it there."""
    work = partial(_coredumps, places, limits)
    room = limits.coredumps * limits.coredump_bytes
    return Collector("devcoredump", work, limits.logs_s, room_bytes=room, resumes=1)


def _coredumps(places: Places, limits: Limits, out: Out) -> None:
    try:
        with Folder(places.sys, "class/devcoredump") as opened:
            names = [name for name in opened.names() if name.startswith("devcd")]
    except GpumendError:
        return  # the kernel makes the folder with the first dump
    for name in names[limits.coredumps :]:
        out.unread(f"devcoredump {name}", f"only {limits.coredumps} are collected")
    for name in names[: limits.coredumps]:
        if not out.begin(f"devcoredump {name}"):
            continue
        with attempt(out, f"devcoredump {name}"), Folder(places.sys, f"class/devcoredump/{name}") as dump:
            device = "unknown"
            with attempt(out, f"device of {name}"):
                device = Path(os.readlink("failing_device", dir_fd=dump.fd)).name
            data, cut = dump.read("data", limits.coredump_bytes)
            out.add("devcoredump/index.txt", f"{name}: device {device}, {len(data)} bytes\n".encode())
            out.add(f"devcoredump/{name}.txt", data, cut=cut)
