"""Resets that the kernel's PCI core carries out, asked for through sysfs: FLR, reset by the bus, remove and rescan.

    flr     `reset_method` is set to flr, then 1 is written to `reset`
    bus     the same with bus; a function that the kernel cannot reset so, by `reset_subordinate` of the port above, if
            nothing else lies below that port
    any     1 is written to `reset`, and `reset_method` left as it is: the kernel takes the first of that list that works
    rescan  1 to `remove`, then 1 to `rescan` of the port above; no driver may take the function meanwhile

Every write is made in a child that can be killed, all within one limit: a reset of a sick device can stick in the kernel.
What was changed besides (`reset_method`, `drivers_autoprobe`) is put back, also after a failure. Refused while a driver is
bound, unless the caller says that this does not matter. Who holds the device is asked by whoever calls.

Source: Linux v7.3 drivers/pci/pci-sysfs.c (reset_store, reset_method_store, remove_store, dev_rescan_store,
reset_subordinate_store), pci.c (pci_reset_function saves and restores config space; pcie_flr and
pci_bridge_wait_for_secondary_bus wait at most a minute), Documentation/ABI/testing/sysfs-bus-pci."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from base.child import ChildTimeout, run_in_child
from base.clock import Clock, RealClock
from base.errors import GpumendError, NotPermitted, Refused, Unavailable, UsageError, WaitTimeout
from base.files import read_bounded
from base.poll import poll

SYS: Final = Path("/sys")
BDF: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]\Z")
METHODS: Final = ("flr", "bus", "any", "rescan")
LIMIT_S: Final = 90.0  # the kernel itself waits up to 60 s for config space (PCIE_RESET_READY_POLL_MS)
_SETTLE_S: Final = 5.0
_RESTORE_S: Final = 5.0
_ATTRIBUTE_BYTES: Final = 4096


class ResetStuck(WaitTimeout):
    """The kernel did not come back from a reset; `seen` says whether its process could be killed and where it sits."""


def reset_function(
    bdf: str,
    method: str,
    *,
    root: Path = SYS,
    limit_s: float = LIMIT_S,
    clock: Clock | None = None,
    despite_driver: bool = False,
) -> None:
    """Reset the function at `bdf` by one of METHODS.

    Raises UsageError, Unavailable (no such function; the kernel has no such reset for it; not found again by rescan),
    Refused (driver bound, something else below the port), NotPermitted, ResetStuck, GpumendError (the kernel says no)."""
    if not BDF.match(bdf):
        raise UsageError(f"resetting {bdf!r}", expected="an address like 0000:c1:00.0 (small letters)", seen=bdf)
    if method not in METHODS:
        raise UsageError(f"resetting {bdf}", expected=f"one of {', '.join(METHODS)}", seen=repr(method))
    _Work(bdf, method, root, limit_s, clock or RealClock()).run(despite_driver=despite_driver)


class _Work:
    """One reset."""

    def __init__(self, bdf: str, method: str, root: Path, limit_s: float, clock: Clock) -> None:
        self.bdf = bdf
        self.method = method
        self.device = root / "bus/pci/devices" / bdf
        self.root = root
        self.clock = clock
        self.deadline = clock.now() + limit_s
        self.doing = f"resetting {bdf} by {method}"

    def run(self, *, despite_driver: bool) -> None:
        if not self.device.is_dir():
            raise Unavailable(
                self.doing,
                expected="a PCI function at that address",
                seen="none",
                where=str(self.device),
                next_step="gpumend list; one that was removed comes back by: echo 1 > /sys/bus/pci/rescan",
            )
        self._check_driver(despite_driver)
        if self.method == "rescan":
            self._rescan()
        elif self.method == "bus" and "bus" not in self._offered():
            self._by_port()
        else:
            self._by_function()

    def _check_driver(self, despite_driver: bool) -> None:
        driver = ""
        with suppress(OSError):
            driver = (self.device / "driver").readlink().name
        if driver and not despite_driver:
            raise Refused(
                self.doing,
                expected="no kernel driver bound",
                seen=f"bound to {driver}",
                where=str(self.device / "driver"),
                next_step=f"gpumend unbind -g {self.bdf}",
            )

    # ---- FLR and bus

    def _offered(self) -> tuple[str, ...]:
        """What the kernel is ready to use, in its order; () where it can reset nothing."""
        return tuple(_text(self.device / "reset_method").split())

    def _by_function(self) -> None:
        before = self._offered()
        any_of_them = self.method == "any"
        if not (before if any_of_them else self.method in before):
            wanted = "one" if any_of_them else self.method
            raise Unavailable(
                self.doing,
                expected=f"{wanted} among the kernel's reset methods",
                seen=", ".join(before) or "none",
                where=str(self.device / "reset_method"),
                next_step="gpumend reset --list-methods tells which are left",
            )
        with self._changed(self.device / "reset_method", self.method, " ".join(before), only=not any_of_them):
            self._write(self.device / "reset", "1")

    def _by_port(self) -> None:
        """Everything below the port is reset: only when that is this device alone."""
        port = self.device.resolve().parent
        file = port / "reset_subordinate"
        if not file.exists():
            raise Unavailable(
                self.doing,
                expected="bus among the kernel's reset methods, or reset_subordinate of the port above",
                seen=", ".join(self._offered()) or "neither",
                where=str(self.device / "reset_method"),
                next_step="a newer kernel has reset_subordinate; else reboot the node",
            )
        others = sorted(
            name for name in _functions_below(port) if name.rpartition(".")[0] != self.bdf.rpartition(".")[0]
        )
        if others:
            raise Refused(
                self.doing,
                expected=f"nothing else below the port {port.name}",
                seen=", ".join(others[:8]),
                where=str(port),
                next_step="these would be reset too; reboot the node instead",
            )
        self._write(file, "1")

    # ---- remove and rescan

    def _rescan(self) -> None:
        port = self.device.resolve().parent
        rescan = port / "rescan" if (port / "rescan").exists() else self.root / "bus/pci/rescan"
        autoprobe = self.root / "bus/pci/drivers_autoprobe"
        before = _text(autoprobe)
        with self._changed(autoprobe, "0", before or "1", only=before == "1"):
            self._write(self.device / "remove", "1")
            self._await(False, "the function is gone after remove")
            self._write(rescan, "1")
            self._await(True, "the function is found again")

    def _await(self, there: bool, expected: str) -> None:
        try:
            poll(
                self.clock,
                self.device.is_dir,
                lambda seen: seen == there,
                doing=self.doing,
                expected=expected,
                timeout_s=min(_SETTLE_S, max(0.0, self.deadline - self.clock.now())),
                where=str(self.device),
                show=lambda seen: "there" if seen else "not there",
            )
        except WaitTimeout as late:
            kind = Unavailable if there else GpumendError
            raise kind(
                late.doing,
                expected=late.expected,
                seen=late.seen,
                where=late.where,
                next_step="a device that does not answer is not found: gpumend reset --method bus-reset, or reboot the node",
            ) from late

    # ---- writing

    @contextmanager
    def _changed(self, file: Path, text: str, before: str, *, only: bool = True) -> Iterator[None]:
        """The attribute holds `text` within, and `before` again afterwards, whatever happens."""
        if not only or text == before:
            yield
            return
        self._write(file, text)
        try:
            yield
        except GpumendError as error:
            self._put_back(file, before, error)
            raise
        self._put_back(file, before, None)

    def _put_back(self, file: Path, before: str, error: GpumendError | None) -> None:
        self.deadline = max(self.deadline, self.clock.now() + _RESTORE_S)
        try:
            self._write(file, before)
        except GpumendError as late:
            note = f"{file} could not be put back to {before!r}: {late.seen}"
            if error is None:
                late.seen += f"; the reset itself was done, and {note}"
                raise
            error.add_note(note)

    def _write(self, file: Path, text: str) -> None:
        shown = f"echo {text} > {file}"
        left_s = max(0.0, self.deadline - self.clock.now())
        error = run_in_child(partial(_write, file, text), left_s, doing=self.doing, where=shown).error
        if error is None:
            return
        if isinstance(error, ChildTimeout):
            raise ResetStuck(
                self.doing,
                expected=error.expected,
                seen=error.seen,
                where=shown,
                next_step="read dmesg; a reset that hangs in the kernel needs a reboot of the node",
            ) from error
        if isinstance(error, OSError):
            raise self._explain(error, shown) from error
        raise error

    def _explain(self, error: OSError, shown: str) -> GpumendError:
        seen = os.strerror(error.errno or 0)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return NotPermitted(
                self.doing,
                expected="root (CAP_SYS_ADMIN), and a sysfs that is not mounted read-only",
                seen=seen,
                where=shown,
                next_step="run as root on the host",
            )
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return Unavailable(
                self.doing, expected="the function there", seen=seen, where=shown, next_step="gpumend list"
            )
        if error.errno == errno.ENOTTY:  # pci_dev_wait: it looked for as long as it looks, and config space stayed away
            seen = f"the function did not answer after it, or cannot be reset so ({seen})"
        return GpumendError(
            self.doing,
            expected="the kernel to carry it out",
            seen=seen,
            where=shown,
            next_step="read dmesg; gpumend probe",
        )


def _write(file: Path, text: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode("ascii"))
    finally:
        os.close(handle)


def _text(file: Path) -> str:
    try:
        return read_bounded(file, _ATTRIBUTE_BYTES).decode("ascii", "replace").strip()
    except GpumendError:
        return ""


def _functions_below(port: Path) -> list[str]:
    """Addresses of all functions in the port's folder, and in those below."""
    found = []
    for folder, names, _ in os.walk(port):
        if len(Path(folder).relative_to(port).parts) > 8:
            names.clear()
            continue
        functions = [name for name in names if name.count(":") == 2 and name[-2:-1] == "."]
        found += functions
        names[:] = functions
    return found
