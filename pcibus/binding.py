"""Handing a PCI function from one kernel driver to another: planned first, done in a child that can be killed, checked.

Unbinding a sick GPU can stick in the kernel for ever. The write then sits in a child that nothing can end; what is told
is where it sits. Only commands that ask the user call this, never a probe.
Source: Linux Documentation/ABI/testing/sysfs-bus-pci, sysfs-devices-driver (driver_override), drivers/base/bus.c."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from base.child import ChildTimeout, run_in_child
from base.clock import Clock, RealClock
from base.errors import GpumendError, NotPermitted, Refused, Unavailable, UsageError, WaitTimeout
from base.poll import poll
from pcibus.holders import PATIENCE_S, Holder, Holders, find_holders
from pcibus.lock import DeviceLock, name_holder
from pcibus.sysfs import BDF, SYS
from pcibus.transport import LockHolder

LIMIT_S = 30.0
_SETTLE_S = 2.0
_DRIVER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
# These match no device ids of their own: the override must stay for as long as they are to keep the device.
_KEEP_OVERRIDE = frozenset({"vfio-pci", "pci-stub", "uio_pci_generic"})


class BindStuck(WaitTimeout):
    """A write to sysfs did not come back; `seen` says whether its process could be killed and where it sits."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write to sysfs. `text` as written; a newline alone clears."""

    path: Path
    text: str
    why: str

    def __str__(self) -> str:
        return f"echo {self.text.strip() or chr(34) * 2} > {self.path}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be written, in order; empty when the function is already as wanted. `driver` "" means none."""

    bdf: str
    before: str
    driver: str
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """What was done: `after` is read back from sysfs; on a dry run it is what was found before, and `done` is empty."""

    plan: Plan
    after: str
    done: tuple[Write, ...]
    dry_run: bool


def driver_of(bdf: str, root: Path = SYS) -> str:
    """The bound driver, "" if none."""
    try:
        return (root / "bus/pci/devices" / bdf / "driver").readlink().name
    except OSError:
        return ""


def plan_unbind(bdf: str, *, root: Path = SYS) -> Plan:
    """Writes that leave the function without a driver. Raises UsageError, Unavailable."""
    _check_there(bdf, root)
    before = driver_of(bdf, root)
    writes = (_unbind_write(bdf, before, root),) if before else ()
    return Plan(bdf, before, "", writes)


def plan_bind(bdf: str, driver: str, *, root: Path = SYS) -> Plan:
    """Writes that give the function to `driver`. Raises UsageError, Unavailable (no such function, driver not loaded)."""
    if not _DRIVER.match(driver):
        raise UsageError(
            f"binding {bdf} to {driver!r}", expected="a driver's name, such as amdgpu or vfio-pci", seen=driver
        )
    _check_there(bdf, root)
    if not (root / "bus/pci/drivers" / driver).is_dir():
        raise Unavailable(
            f"binding {bdf} to {driver}",
            expected=f"the driver {driver} loaded",
            seen="no such driver on the PCI bus",
            where=str(root / "bus/pci/drivers" / driver),
            next_step=f"modprobe {driver}",
        )
    before = driver_of(bdf, root)
    if before == driver:
        return Plan(bdf, before, driver, ())
    device = root / "bus/pci/devices" / bdf
    writes = [_unbind_write(bdf, before, root)] if before else []
    writes.append(Write(device / "driver_override", driver, f"only {driver} may take it"))
    writes.append(Write(root / "bus/pci/drivers_probe", bdf, "offer it to that driver"))
    if driver not in _KEEP_OVERRIDE:
        writes.append(Write(device / "driver_override", "\n", "later binds choose by device id again"))
    return Plan(bdf, before, driver, tuple(writes))


def plan_rebind(bdf: str, *, root: Path = SYS) -> Plan:
    """Writes that take the function from its driver and give it back to the same. Raises UsageError, Unavailable."""
    _check_there(bdf, root)
    driver = driver_of(bdf, root)
    if not driver:
        raise Unavailable(
            f"rebinding {bdf}",
            expected="a driver that is bound",
            seen="none",
            where=str(root / "bus/pci/devices" / bdf / "driver"),
            next_step=f"gpumend bind -g {bdf} amdgpu",
        )
    give = Write(root / "bus/pci/drivers" / driver / "bind", bdf, f"give it back to {driver}")
    return Plan(bdf, driver, driver, (_unbind_write(bdf, driver, root), give))


def bind(
    bdf: str,
    driver: str,
    *,
    root: Path = SYS,
    proc: Path = Path("/proc"),
    lock_dir: Path | None = None,
    clock: Clock | None = None,
    limit_s: float = LIMIT_S,
    despite_holders: bool = False,
    dry_run: bool = False,
) -> Bound:
    """Give the function to `driver` (see `carry_out`)."""
    plan = plan_bind(bdf, driver, root=root)
    return carry_out(
        plan,
        root=root,
        proc=proc,
        lock_dir=lock_dir,
        clock=clock,
        limit_s=limit_s,
        despite_holders=despite_holders,
        dry_run=dry_run,
    )


def unbind(
    bdf: str,
    *,
    root: Path = SYS,
    proc: Path = Path("/proc"),
    lock_dir: Path | None = None,
    clock: Clock | None = None,
    limit_s: float = LIMIT_S,
    despite_holders: bool = False,
    dry_run: bool = False,
) -> Bound:
    """Take the function from its driver (see `carry_out`)."""
    plan = plan_unbind(bdf, root=root)
    return carry_out(
        plan,
        root=root,
        proc=proc,
        lock_dir=lock_dir,
        clock=clock,
        limit_s=limit_s,
        despite_holders=despite_holders,
        dry_run=dry_run,
    )


def rebind(
    bdf: str,
    *,
    root: Path = SYS,
    proc: Path = Path("/proc"),
    lock_dir: Path | None = None,
    clock: Clock | None = None,
    limit_s: float = LIMIT_S,
    despite_holders: bool = False,
    dry_run: bool = False,
) -> Bound:
    """Have the driver let go of the function and take it again, which starts it anew (see `carry_out`)."""
    plan = plan_rebind(bdf, root=root)
    return carry_out(
        plan,
        root=root,
        proc=proc,
        lock_dir=lock_dir,
        clock=clock,
        limit_s=limit_s,
        despite_holders=despite_holders,
        dry_run=dry_run,
    )


def carry_out(
    plan: Plan,
    *,
    root: Path = SYS,
    proc: Path = Path("/proc"),
    lock_dir: Path | None = None,
    clock: Clock | None = None,
    limit_s: float = LIMIT_S,
    despite_holders: bool = False,
    dry_run: bool = False,
) -> Bound:
    """Do the plan's writes under the device's lock, each in a killable child, all within `limit_s`; then read back.

    Raises Refused (held by a process, or processes are hidden and `despite_holders` is not set; lock taken),
    NotPermitted, Unavailable (gone), BindStuck (a write hangs: says where), GpumendError (the driver did not take it)."""
    clock = clock or RealClock()
    if not plan.writes:
        return Bound(plan, plan.before, (), dry_run)
    if dry_run:  # a dry run that passes says that it would be done: so it asks what would stand in the way
        _check_lock(plan, DeviceLock(plan.bdf, folder=lock_dir, proc=proc).holder())
        if not despite_holders:
            _check_unheld(plan, find_holders(plan.bdf, root=root, proc=proc, clock=clock, limit_s=PATIENCE_S))
        return Bound(plan, plan.before, (), dry_run)
    with DeviceLock(plan.bdf, folder=lock_dir, proc=proc).exclusive():
        if not despite_holders:
            _check_unheld(plan, find_holders(plan.bdf, root=root, proc=proc, clock=clock, limit_s=PATIENCE_S))
        deadline = clock.now() + limit_s
        for index, write in enumerate(plan.writes):
            try:
                _do(plan, index, write, max(0.0, deadline - clock.now()))
            except GpumendError as error:
                if index:  # what was begun is named
                    error.seen += f"; already done: {'; '.join(map(str, plan.writes[:index]))}"
                raise
        after = _settled(plan, root, clock)
    return Bound(plan, after, plan.writes, dry_run=False)


def _check_there(bdf: str, root: Path) -> None:
    if not BDF.match(bdf):
        raise UsageError(f"reading the bus address {bdf!r}", expected="0000:c1:00.0 (small letters)", seen=bdf)
    if not (root / "bus/pci/devices" / bdf).is_dir():
        raise Unavailable(
            f"looking for {bdf}",
            expected="a PCI function at that address",
            seen="none",
            where=str(root / "bus/pci/devices"),
            next_step="gpumend list",
        )


def _unbind_write(bdf: str, driver: str, root: Path) -> Write:
    return Write(root / "bus/pci/drivers" / driver / "unbind", bdf, f"take it from {driver}")


def _check_lock(plan: Plan, holder: LockHolder | None) -> None:
    if holder is not None:
        raise Refused(
            _title(plan),
            expected="the device's lock free",
            seen=f"held by {name_holder(holder)}",
            where=holder.path,
            next_step="end that process",
        )


def _check_unheld(plan: Plan, held: Holders) -> None:
    """Refuse while a process holds the device. A process that only opened /dev/kfd counts when amdgpu is to go."""
    holders = held.holders if plan.before == "amdgpu" else held.real
    if holders:
        told = "; ".join(map(_holder_words, holders[:8]))
        raise Refused(
            _title(plan),
            expected="no process that holds the device",
            seen=told + (f" and {len(holders) - 8} more" if len(holders) > 8 else ""),
            where=plan.bdf,
            next_step="end these processes",
        )
    if not held.complete:
        raise Refused(
            _title(plan),
            expected="to see every process",
            seen="; ".join(held.gaps),
            where=plan.bdf,
            next_step="run as root on the host, or say that holders do not matter",
        )


def _holder_words(holder: Holder) -> str:
    more = (*holder.what, holder.container) if holder.container else holder.what
    return f"pid {holder.pid} {holder.command} ({', '.join(more)})"


def _do(plan: Plan, index: int, write: Write, limit_s: float) -> None:
    doing = f"{_title(plan)}: step {index + 1} of {len(plan.writes)}, {write.why},"
    outcome = run_in_child(partial(_write, write), limit_s, doing=doing, where=str(write))
    error = outcome.error
    if error is None:
        return
    if isinstance(error, ChildTimeout):
        raise BindStuck(
            doing,
            expected=error.expected,
            seen=error.seen,
            where=str(write),
            next_step="read dmesg; a driver that hangs while it lets go needs a reboot of the node",
        ) from error
    if isinstance(error, OSError):
        raise _explain(error, doing, write) from error
    raise error


def _write(write: Write) -> None:
    handle = os.open(write.path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, write.text.encode("ascii"))
    finally:
        os.close(handle)


def _explain(error: OSError, doing: str, write: Write) -> GpumendError:
    seen = os.strerror(error.errno or 0)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotPermitted(
            doing,
            expected="root, and a sysfs that is not mounted read-only",
            seen=seen,
            where=str(write),
            next_step="run as root on the host",
        )
    if error.errno in (errno.ENOENT, errno.ENODEV):
        return Unavailable(doing, expected="the function and its driver there", seen=seen, where=str(write))
    return GpumendError(doing, expected="the kernel to accept it", seen=seen, where=str(write), next_step="read dmesg")


def _settled(plan: Plan, root: Path, clock: Clock) -> str:
    """The driver after the writes; GpumendError when it is not the wanted one."""
    try:
        return poll(
            clock,
            lambda: driver_of(plan.bdf, root),
            lambda driver: driver == plan.driver,
            doing=_title(plan),
            expected=f"driver {plan.driver or 'none'}",
            timeout_s=_SETTLE_S,
            show=lambda driver: driver or "none",
        )
    except WaitTimeout as error:
        raise GpumendError(
            _title(plan),
            expected=f"driver {plan.driver or 'none'} after the writes",
            seen=f"driver {driver_of(plan.bdf, root) or 'none'}",
            where=str(root / "bus/pci/devices" / plan.bdf / "driver"),
            next_step=_why_not_taken(plan, root),
        ) from error


def _why_not_taken(plan: Plan, root: Path) -> str:
    if plan.driver == "vfio-pci" and not (root / "bus/pci/devices" / plan.bdf / "iommu_group").exists():
        return "the function is in no IOMMU group, which vfio-pci needs: boot with amd_iommu=on or intel_iommu=on"
    return "read dmesg: the driver's probe may have failed"


def _title(plan: Plan) -> str:
    if not plan.driver:
        return f"unbinding {plan.bdf} from {plan.before}"
    if plan.driver == plan.before:
        return f"rebinding {plan.bdf} to {plan.driver}"
    return f"binding {plan.bdf} to {plan.driver}"
