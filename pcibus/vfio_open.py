"""Opening a PCI function through VFIO: what stands in the way, told before it is tried; then container, group and device.

**The kernel resets the function** when its device handle is opened and again when it is closed, by the first of its reset
methods that works. Where it has none, or none worked, and every function of its bus is bound to vfio-pci, the whole bus is
reset when the handle is closed. Emptying `reset_method` therefore avoids the former only. `resets_of` tells what will come.

Source: Linux 7.3 drivers/vfio/pci/vfio_pci_core.c (vfio_pci_core_enable, vfio_pci_core_disable,
vfio_pci_dev_set_try_reset), drivers/vfio/group.c, container.c, drivers/pci/pci.c (pci_reset_supported),
pci-sysfs.c (reset_method_store)."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from base.errors import GpumendError, NotPermitted, Refused, Unavailable
from pcibus import vfio_abi as abi
from pcibus.binding import driver_of
from pcibus.holders import find_holders
from pcibus.sysfs import BDF

DRIVER: Final = "vfio-pci"
# Drivers that leave a function alone, so that its group can be used (vfio.rst; pcieport: ports do no DMA of their own).
_HARMLESS: Final = frozenset(("", DRIVER, "pci-stub", "pcieport"))
_MAX_MEMBERS: Final = 16
ALLOW: Final = "resets=allowed"


@dataclass(frozen=True, slots=True)
class Resets:
    """What the kernel does to a function that is opened through VFIO: by which `methods` it resets it when it is opened and
    when it is closed, and whether it may reset the whole bus when it is closed."""

    methods: tuple[str, ...]
    bus: bool

    def __bool__(self) -> bool:
        return bool(self.methods) or self.bus

    def __str__(self) -> str:
        told = []
        if self.methods:
            told.append(f"by {self.methods[0]} when it is opened and when it is closed")
        if self.bus:
            told.append("by a reset of its bus when it is closed" + (", if the former fails" if self.methods else ""))
        return "; ".join(told) or "not at all"


@dataclass(frozen=True, slots=True)
class Handles:
    """What was opened; to be closed device first."""

    device: int
    group: int
    container: int

    def close(self) -> None:
        for handle in (self.device, self.group, self.container):
            os.close(handle)


def resets_of(bdf: str, root: Path) -> Resets:
    """From sysfs alone. No file `reset_method`: the kernel knows none for it."""
    device = root / "bus/pci/devices" / bdf
    try:
        methods = tuple((device / "reset_method").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        methods = ()
    return Resets(methods, _bus_may_be_reset(device, root))


def _bus_may_be_reset(device: Path, root: Path) -> bool:
    """The function is no VF, there is a bridge above it, and it has the bus for itself as far as VFIO sees it."""
    parent = device.resolve().parent
    if not BDF.match(parent.name) or (device / "physfn").exists():
        return False
    try:
        mates = [entry.name for entry in parent.iterdir() if BDF.match(entry.name)]
    except OSError:
        return True
    return all(driver_of(mate, root) == DRIVER for mate in mates)


def check_ready(bdf: str, name: str, root: Path, *, resets_allowed: bool) -> int:
    """The number of the function's IOMMU group. Raises Unavailable (no function, no IOMMU), Refused (not bound to vfio-pci,
    or opening would reset it and `resets_allowed` is not set). Opens nothing."""
    doing = f"opening {name}"
    device = root / "bus/pci/devices" / bdf
    if not device.is_dir():
        raise Unavailable(
            doing, expected="a PCI function at that address", seen="none", where=str(device), next_step="gpumend list"
        )
    group = _group_of(doing, device)
    driver = driver_of(bdf, root)
    if driver != DRIVER:
        raise Refused(
            doing,
            expected=f"the function bound to {DRIVER}",
            seen=f"bound to {driver}" if driver else "no driver bound",
            where=str(device / "driver"),
            next_step=f"modprobe {DRIVER}; gpumend --on {bdf} bind {DRIVER}",
        )
    resets = resets_of(bdf, root)
    if resets and not resets_allowed:
        raise Refused(
            doing,
            expected="the kernel to leave it as it is: a reset under VFIO has made GPUs of this kind unreachable until the "
            "host was rebooted",
            seen=f"the kernel would reset it: {resets}",
            where=str(device / "reset_method"),
            next_step=_how_to_avoid(bdf, device, resets),
        )
    return group


def _how_to_avoid(bdf: str, device: Path, resets: Resets) -> str:
    if not resets.bus:
        return f"echo > {device}/reset_method"
    both = f"echo > {device}/reset_method avoids only the first of them; " if resets.methods else ""
    return f"{both}unbind it and use the address {bdf}, or accept the resets: vfio:{bdf}?{ALLOW}"


def _group_of(doing: str, device: Path) -> int:
    try:
        link = (device / "iommu_group").readlink().name
    except OSError:
        link = ""
    if link.isascii() and link.isdigit():
        return int(link)
    raise Unavailable(
        doing,
        expected="an IOMMU that keeps the function apart from others",
        seen="it is in no IOMMU group",
        where=str(device / "iommu_group"),
        next_step="switch the IOMMU on in the firmware's setup (AMD-Vi, VT-d; SVM or VMX) and boot with amd_iommu=on or "
        "intel_iommu=on; without one use the address without vfio:",
    )


def open_device(bdf: str, name: str, group: int, *, kernel: abi.Kernel, root: Path, proc: Path, dev: Path) -> Handles:
    """Container, group and device. **The kernel resets the function here** (see above), for up to a minute.

    Raises Unavailable, NotPermitted, Refused; nothing is left open then."""
    doing = f"opening {name}"
    opened: list[int] = []
    try:
        container = _open_container(doing, kernel, dev)
        opened.append(container)
        _check_container(doing, container, kernel, dev)
        group_handle = _open_group(doing, bdf, group, kernel, root, proc, dev)
        opened.append(group_handle)
        _join(doing, group, group_handle, container, kernel, root, dev)
        return Handles(_get_device(doing, bdf, group_handle, kernel, dev, group), group_handle, container)
    except BaseException:
        for handle in reversed(opened):
            with suppress(OSError):
                os.close(handle)
        raise


def _open_container(doing: str, kernel: abi.Kernel, dev: Path) -> int:
    file = dev / "vfio"
    try:
        return kernel.open(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise _not_permitted(doing, file, error) from error
        raise Unavailable(
            doing,
            expected="VFIO in the kernel",
            seen=os.strerror(error.errno or 0),
            where=str(file),
            next_step="modprobe vfio_iommu_type1 vfio-pci; in a container, pass /dev/vfio in",
        ) from error


def _check_container(doing: str, container: int, kernel: abi.Kernel, dev: Path) -> None:
    try:
        version = kernel.ioctl(container, abi.GET_API_VERSION, 0)
        type1 = kernel.ioctl(container, abi.CHECK_EXTENSION, abi.TYPE1V2_IOMMU)
    except OSError as error:
        raise _failed(doing, "a container of VFIO", error, dev / "vfio") from error
    if version == abi.API_VERSION and type1:
        return
    raise Unavailable(
        doing,
        expected=f"version {abi.API_VERSION} of VFIO with the IOMMU type 1 v2",
        seen=f"version {version}, " + ("type 1 v2" if type1 else "without it"),
        where=str(dev / "vfio"),
        next_step="modprobe vfio_iommu_type1",
    )


def _open_group(doing: str, bdf: str, group: int, kernel: abi.Kernel, root: Path, proc: Path, dev: Path) -> int:
    file = dev / str(group)
    try:
        return kernel.open(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise _not_permitted(doing, file, error) from error
        if error.errno == errno.EBUSY:
            raise _in_use(doing, bdf, file, root, proc) from error
        noiommu = (dev / f"noiommu-{group}").exists()
        raise Unavailable(
            doing,
            expected="the group's file",
            seen="VFIO without an IOMMU (noiommu), which gives the device no memory"
            if noiommu
            else os.strerror(error.errno or 0),
            where=str(file),
            next_step="switch the IOMMU on: amd_iommu=on or intel_iommu=on"
            if noiommu
            else "is /dev complete here (a container?), and does udev run?",
        ) from error


def _in_use(doing: str, bdf: str, file: Path, root: Path, proc: Path) -> Refused:
    """EBUSY: who has it is looked up, as far as this process may see others."""
    who = ""
    with suppress(GpumendError, OSError):
        found = [
            one
            for one in find_holders(bdf, root=root, proc=proc).holders
            if any(what.endswith(f"/vfio/{file.name}") for what in one.what)
        ]
        who = ", ".join(f"{one.command} (pid {one.pid})" for one in found[:4])
    return Refused(
        doing,
        expected="nobody else has the IOMMU group open",
        seen=f"it is in use by {who or 'a process that the system does not name (a virtual machine?)'}",
        where=str(file),
        next_step="end that process, or let it finish",
    )


def _join(doing: str, group: int, handle: int, container: int, kernel: abi.Kernel, root: Path, dev: Path) -> None:
    """The group into the container, and the IOMMU switched to it."""
    file = dev / str(group)
    status = bytearray(abi.GROUP_STATUS.pack(abi.GROUP_STATUS.size, 0))
    try:
        kernel.ioctl(handle, abi.GROUP_GET_STATUS, status)
        if not abi.GROUP_STATUS.unpack(status)[1] & abi.GROUP_VIABLE:
            raise _not_viable(doing, group, file, root)
        kernel.ioctl(handle, abi.GROUP_SET_CONTAINER, bytearray(container.to_bytes(4, "little")))
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EPERM):
            raise _not_viable(doing, group, file, root) from error
        raise _failed(doing, "the group to join a container", error, file) from error
    try:
        kernel.ioctl(container, abi.SET_IOMMU, abi.TYPE1V2_IOMMU)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise _failed(doing, "the IOMMU of type 1 v2", error, file) from error
        raise NotPermitted(
            doing,
            expected="an IOMMU that remaps interrupts: without, a device could send any",
            seen="the kernel refuses the group",
            where=str(file),
            next_step="switch interrupt remapping on in the firmware's setup (x2APIC), or accept the risk: "
            "modprobe vfio_iommu_type1 allow_unsafe_interrupts=1",
        ) from error


def _not_viable(doing: str, group: int, file: Path, root: Path) -> Refused:
    """Somebody of the group belongs to a driver of the host; they are named."""
    folder = root / "kernel/iommu_groups" / str(group) / "devices"
    try:
        members = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        members = []
    bound = [(member, driver_of(member, root)) for member in members]
    others = [f"{member} ({driver})" for member, driver in bound if driver not in _HARMLESS]
    more = f" and {len(others) - _MAX_MEMBERS} more" if len(others) > _MAX_MEMBERS else ""
    told = ", ".join(others[:_MAX_MEMBERS]) + more
    return Refused(
        doing,
        expected=f"all functions of IOMMU group {group} bound to {DRIVER}, or to nothing",
        seen=f"bound to drivers of the host: {told}"
        if told
        else "the kernel does not let the group go; nobody is to be seen",
        where=str(file),
        next_step=f"unbind them, or bind them to {DRIVER}",
    )


def _get_device(doing: str, bdf: str, group_handle: int, kernel: abi.Kernel, dev: Path, group: int) -> int:
    try:
        return kernel.ioctl(group_handle, abi.GROUP_GET_DEVICE_FD, bytearray(bdf.encode("ascii") + b"\0"))
    except OSError as error:
        where = f"{bdf} in {dev / str(group)}"
        if error.errno == errno.EAGAIN:
            raise Refused(
                doing,
                expected="the device free for the reset that comes with opening it",
                seen="the kernel holds its lock: it is being reset, or bound",
                where=where,
                next_step="try again in a minute; dmesg tells more",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise NotPermitted(
                doing,
                expected="a device that is opened without the token of a PF",
                seen=os.strerror(error.errno),
                where=where,
                next_step="open the PF first, or switch its VFs off",
            ) from error
        raise _failed(doing, "the device's handle", error, Path(where)) from error


def _not_permitted(doing: str, file: Path, error: OSError) -> NotPermitted:
    owner = "root"
    with suppress(OSError, KeyError):
        import grp

        owner = grp.getgrgid(file.stat().st_gid).gr_name
    return NotPermitted(
        doing,
        expected=f"this user may read and write {file} (group {owner})",
        seen=os.strerror(error.errno or 0),
        where=str(file),
        next_step=f"run as root, or: chown $USER {file}; ulimit -l must allow the memory that is shared with the device",
    )


def _failed(doing: str, expected: str, error: OSError, where: Path) -> Unavailable:
    return Unavailable(
        doing,
        expected=expected,
        seen=os.strerror(error.errno or 0),
        where=str(where),
        next_step="dmesg tells why; gpumend probe",
    )
