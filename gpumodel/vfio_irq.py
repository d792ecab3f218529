"""Interrupts of one device towards a vfio-user client: its eventfds for INTx, MSI and MSI-X.

Source: include/uapi/linux/vfio.h (VFIO_DEVICE_SET_IRQS, VFIO_IRQ_INFO_*); which of the three is meant when: PCI local bus
specification. The device sends one interrupt only, that of its ring: vector 0."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gpumodel import pciconfig
from gpumodel.access_ring import AccessRing
from gpumodel.device import ModelGpu
from gpumodel.vfio_wire import close_all

INTX, MSI, MSIX = range(3)
DATA_NONE, DATA_BOOL, DATA_EVENTFD = 1, 2, 4
ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER = 8, 16, 32
CAN_EVENTFD, CAN_MASK, MASKS_ITSELF, FIXED_COUNT = 1, 2, 4, 8
MSI_ENABLE = 1
MSIX_ENABLE, MSIX_MASK = 1 << 15, 1 << 14
INTX_OFF = 1 << 10  # command register
_ABOUT = {
    INTX: (CAN_EVENTFD | CAN_MASK | MASKS_ITSELF, 1),
    MSI: (CAN_EVENTFD | FIXED_COUNT, 1),
    MSIX: (CAN_EVENTFD | FIXED_COUNT, pciconfig.MSIX_VECTORS),
}
_ONE = (1).to_bytes(8, "little")


class Interrupts:
    """`fired` counts those that reached the client, `lost` those that nobody waited for."""

    INDEXES = 5  # with error and request, of which the device has none

    def __init__(self, gpu: ModelGpu, ring: AccessRing) -> None:
        self._gpu = gpu
        self._ring = ring
        self._fds: dict[tuple[int, int], int] = {}
        self._masked = False  # INTx, until the client has served it
        self._waiting = False  # something came while masked
        self.fired = 0
        self.lost = 0

    def about(self, index: int) -> tuple[int, int]:
        """Flags and number of vectors. Raises OSError."""
        if index >= self.INDEXES:
            raise OSError(errno.EINVAL, f"interrupt index {index}")
        return _ABOUT.get(index, (0, 0))

    def fire(self) -> None:
        """The device has something to tell."""
        gpu = self._gpu
        config = gpu.config
        control = config.read(pciconfig.MSIX_CAP + 2, 2)
        if gpu.lost:
            return
        if control & MSIX_ENABLE:
            self._send(MSIX, bool(control & MSIX_MASK), config.bus_master)
        elif config.read(pciconfig.MSI_CAP + 2, 2) & MSI_ENABLE:
            self._send(MSI, False, config.bus_master)
        else:
            self._send(INTX, self._masked, not config.read(pciconfig.COMMAND, 2) & INTX_OFF)

    def _send(self, index: int, masked: bool, allowed: bool) -> None:
        if masked:
            self._waiting = True
        elif allowed and self._signal(index, 0):
            self._masked = index == INTX
        else:
            self.lost += 1

    def look_again(self) -> None:
        """Config space or a mask changed: what waited may go now."""
        if self._waiting:
            self._waiting = False
            self.fire()

    def set(self, flags: int, index: int, start: int, count: int, data: bytes, fds: Sequence[int]) -> None:
        """SET_IRQS; descriptors are copied, the caller closes them. Raises OSError."""
        _, vectors = self.about(index)
        kind, action = flags & 7, flags & 0x38
        sound = kind in (DATA_NONE, DATA_BOOL, DATA_EVENTFD) and action in (ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER)
        if not sound or flags & ~0x3F or start + count > vectors:
            raise OSError(errno.EINVAL, f"interrupt {index}, vectors {start}+{count}, flags {flags:#x}")
        if fds and kind != DATA_EVENTFD:
            raise OSError(errno.EINVAL, "descriptors that no flag announces")
        self._ring.mark(f"interrupt {index} vectors {start}+{count} flags {flags:#x} descriptors {len(fds)}")
        if kind == DATA_EVENTFD:
            self._set_eventfds(action, index, start, count, fds)
        elif kind == DATA_NONE and action == ACTION_TRIGGER and not count:
            self._forget(index)
        elif kind == DATA_BOOL and len(data) < count:
            raise OSError(errno.EINVAL, f"{len(data)} bytes for {count} vectors")
        else:
            chosen = [start + place for place in range(count) if kind == DATA_NONE or data[place]]
            self._act(action, index, chosen)

    def _set_eventfds(self, action: int, index: int, start: int, count: int, fds: Sequence[int]) -> None:
        if action != ACTION_TRIGGER:
            raise OSError(errno.EOPNOTSUPP, "masking by eventfd")
        if len(fds) not in (0, count):
            raise OSError(errno.EINVAL, f"{len(fds)} descriptors for {count} vectors")
        if not all(_is_eventfd(fd) for fd in fds):
            raise OSError(errno.EINVAL, "a descriptor that is no eventfd")
        for place in range(count):
            before = self._fds.pop((index, start + place), None)
            if before is not None:
                os.close(before)
            if fds:
                self._fds[index, start + place] = os.dup(fds[place])

    def _act(self, action: int, index: int, vectors: Sequence[int]) -> None:
        if action == ACTION_TRIGGER:
            for vector in vectors:
                self._signal(index, vector)
        elif index != INTX:
            raise OSError(errno.EINVAL, "only INTx can be masked here")
        elif vectors:
            self._masked = action == ACTION_MASK
            self.look_again()

    def _forget(self, index: int) -> None:
        close_all(fd for (known, _), fd in self._fds.items() if known == index)
        self._fds = {key: fd for key, fd in self._fds.items() if key[0] != index}
        if index == INTX:
            self._masked = False

    def _signal(self, index: int, vector: int) -> bool:
        fd = self._fds.get((index, vector))
        if fd is None:
            return False
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if poll.poll(0):  # a counter that is full would block us, and has been noticed anyway
            with suppress(OSError):
                os.write(fd, _ONE)
        self.fired += 1
        self._ring.mark(f"interrupt {('INTx', 'MSI', 'MSI-X')[index]} {vector}")
        return True

    def clear(self) -> None:
        """The client is gone."""
        close_all(self._fds.values())
        self._fds.clear()
        self._masked = self._waiting = False


def _is_eventfd(fd: int) -> bool:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink()) == "anon_inode:[eventfd]"
    except OSError:
        return False
