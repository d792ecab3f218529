"""An NVIDIA GPU that nobody drives, and what can be done to it from the bus: the counterpart of amdriver/recovery.py.

    with Target.open(transport, clock, files) as target:
        saved = target.save_config()
        mark = target.plant_mark("flr")
        transport.reset("flr")
        target.restore_config(saved)
        target.await_boot()
        mark.gone()

What proves a reset, with nothing written to BAR0:
    WPR2          the region that a driver's firmware has locked. FLR and bus reset open it; nothing else does but a driver
                  that unloads, and there is none.
    MSI, MSI-X    a bit of their control word that is 0 after a reset and does nothing while they are off: MSI-X's function
                  mask, else MSI's number of vectors. The kernel writes neither back unless they are on.

What was wrong before is told by Xids in the kernel's log, which a reset does not take out. So a line of ours is written into
it (xid.started_anew): what is above it is past.

Source: nvidia-resets.md sections 1.1, 1.2, 1.4 and 2; PCI Express base specification 7.7.1.2 (multiple message enable: 0
after reset), 7.7.2.2 (function mask: 0 after reset); Linux v7.3 drivers/pci/msi/msi.c __pci_restore_msi_state,
__pci_restore_msix_state (nothing while off)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from base.errors import GpumendError, Refused
from base.part import NVIDIA_VENDOR
from base.poll import poll
from nvdriver import bare, host, xid
from pcibus.config import decode
from pcibus.configstate import SavedConfig
from pcibus.transport import ALL_ONES, Transport

if TYPE_CHECKING:
    from base.clock import Clock
    from pcibus.driverfiles import DriverFiles

BOOT_LIMIT_S: Final = 10.0  # the driver waits 4 s for the FSP after a reset
_MSI_ID, _MSIX_ID = 0x05, 0x11
_MSI_ON, _MSI_COUNT = 0x0001, 0x0070
_MSIX_ON, _MSIX_MASK = 0x8000, 0x4000


@dataclass(slots=True)
class Mark:
    """What shows that a reset took place. `offset` None: config space bears no mark; `seen`: whether it was still there when
    config space came back, before it was written; `region`: WPR2 was locked before."""

    target: Target
    offset: int | None
    bits: int
    before: int
    region: bool
    seen: bool | None = field(default=None)

    @property
    def where(self) -> tuple[str, ...]:
        """The places that bear it; () when nothing could be marked."""
        config = (
            () if self.offset is None else (f"config+{self.offset:#x} bits {self.bits:#06x} of {self.target.name}",)
        )
        return config + (("WPR2_HIGH",) if self.region else ())

    def look(self) -> None:
        """Remember whether config space still bears it; to be asked before config space is written again."""
        if self.offset is not None:
            value = self.target.transport.config_read(self.offset, 2)
            self.seen = None if value == 0xFFFF else bool(value & self.bits)

    def gone(self) -> bool | None:
        """True: every place was destroyed. False: one of them was not, so the reset did not take place. None: not told."""
        if self.seen is None:
            self.look()
        told = [] if self.offset is None else [self.seen]
        if self.region:
            told.append(self.target.region_locked())
        if any(told):
            return False
        return True if told and None not in told else None

    def remove(self) -> None:
        """Config space as it was, where the reset did not do that."""
        if self.offset is None:
            return
        value = self.target.transport.config_read(self.offset, 2)
        if value != 0xFFFF and value & self.bits:
            self.target.transport.config_write(self.offset, 2, value & ~self.bits | self.before & self.bits)


class Target:
    """One GPU that no driver has. Made by `open`."""

    def __init__(self, transport: Transport, clock: Clock, files: DriverFiles | None, stack: ExitStack) -> None:
        self.transport = transport
        self.clock = clock
        self.bdf = transport.info().bdf
        self._files = files
        self._stack = stack
        self._saved: SavedConfig | None = None
        self._mark: Mark | None = None
        self._boot0 = ALL_ONES

    @classmethod
    @contextmanager
    def open(cls, transport: Transport, clock: Clock, files: DriverFiles | None = None) -> Iterator[Target]:
        """Take the device's lock; writes nothing. A GPU that is lost opens too. Raises Refused (lock held, driver bound,
        a virtual function), NotPermitted."""
        require_free(transport)
        with ExitStack() as stack:
            stack.enter_context(transport.exclusive())
            yield cls(transport, clock, files, stack)

    def close(self) -> None:
        """Give the lock up."""
        self._stack.close()

    @property
    def name(self) -> str:
        """The address that reaches it."""
        return self.transport.name

    def save_config(self) -> SavedConfig:
        """Config space as it was before any mark."""
        if self._saved is None:
            self._saved = SavedConfig.take(self.transport)
        return self._saved

    def plant_mark(self, method: str) -> Mark:
        """A mark in state that `method` (a reset from the bus) destroys; without any place where nothing can be marked."""
        self.save_config()
        self._boot0 = self._read(bare.BOOT_0)
        offset, bits, before = self._config_mark()
        self._mark = Mark(self, offset, bits, before, self.region_locked() is True)
        return self._mark

    def restore_config(self, saved: SavedConfig) -> None:
        """Write config space as it was kept. GpumendError where addresses or memory decoding do not hold."""
        if self._mark is not None and self._mark.seen is None:
            self._mark.look()
        saved.restore(self.transport)
        left = saved.lost(self.transport)
        if left:
            raise GpumendError(
                f"restoring config space of {self.name}", expected="what was kept before the reset",
                seen="; ".join(left[:4]), where=f"config space of {self.name}",
                next_step="gpumend probe; then gpumend reset --method bus-reset",
            )  # fmt: skip

    def await_boot(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Until the chip's own boot is through, and it is the chip that it was. WaitTimeout, GpumendError."""
        where = bare.register_where("BOOT_0", None, self.bdf)
        seen = poll(
            self.clock, self._look, lambda now: now.boot_done is True, doing=f"waiting for the boot of {self.name}",
            expected="the chip's own boot is done (FSP_BOOT or GFW_BOOT 0xff)", timeout_s=limit_s, where=where,
            next_step="gpumend probe tells what it waits for; gpumend reset --method bus-reset", show=_shown,
        )  # fmt: skip
        if self._boot0 not in (ALL_ONES, seen.boot0) and not bare.is_refused(self._boot0):
            raise GpumendError(
                f"waiting for the boot of {self.name}", expected=f"the chip that it was: {self._boot0:#010x}",
                seen=f"{seen.boot0:#010x}", where=where,
            )  # fmt: skip

    def tell_started_anew(self, method: str) -> None:
        """A line in the kernel's log: Xids above it are past. Where it cannot be written, they stand."""
        if self._files is not None:
            with suppress(GpumendError):
                self._files.note(xid.started_anew(self.bdf, method))

    def region_locked(self) -> bool | None:
        """Whether WPR2 is locked; None: the GPU does not say."""
        value = self._read(bare.WPR2_HIGH)
        return None if value == ALL_ONES or bare.is_refused(value) else bool(value >> 4)

    def _look(self) -> bare.Bare:
        return bare.look(lambda offset: self.transport.read32(bare.BAR, offset), alone=False)

    def _read(self, offset: int) -> int:
        try:
            return self.transport.read32(bare.BAR, offset)
        except GpumendError:
            return ALL_ONES

    def _config_mark(self) -> tuple[int | None, int, int]:
        """(offset, bits, what was there) of a control word that took the mark."""
        try:
            capabilities = {
                entry.id: entry.offset for entry in decode(self.transport).capabilities if not entry.extended
            }
        except GpumendError:
            return None, 0, 0
        for number, is_on, bits in ((_MSIX_ID, _MSIX_ON, _MSIX_MASK), (_MSI_ID, _MSI_ON, _MSI_COUNT & -_MSI_COUNT)):
            if number not in capabilities:
                continue
            offset = capabilities[number] + 2
            value = self.transport.config_read(offset, 2)
            if value == 0xFFFF or value & is_on:
                continue
            self.transport.config_write(offset, 2, value | bits)
            if self.transport.config_read(offset, 2) & bits:
                return offset, bits, value
        return None, 0, 0


def require_free(transport: Transport) -> None:
    """Refused while a driver has it, or where it is none of NVIDIA's physical functions."""
    info = transport.info()
    seen = ""
    if info.vendor != NVIDIA_VENDOR:
        seen = f"PCI id {info.vendor:04x}:{info.device:04x}"
    elif info.sriov_vf:
        seen = "a virtual function: the host owns the hardware behind it"
    elif info.driver in (host.DRIVER, "nouveau", "nova_core"):
        seen = f"{info.driver} is bound"
    if seen:
        raise Refused(
            f"opening {transport.name}", expected="an NVIDIA GPU that no driver has", seen=seen, where=info.bdf,
            next_step=f"gpumend reset --unbind -g {info.bdf}",
        )  # fmt: skip


def _shown(seen: bare.Bare) -> str:
    return f"{seen.stage} (BOOT_0 {seen.boot0:#010x})"
