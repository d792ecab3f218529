"""Config space of one function, kept before a reset and written back after it.

Source: Linux v7.3 drivers/pci/pci.c (pci_save_state: header, PCI Express, MSI and MSI-X control, resizable BARs;
pci_restore_state: BARs before the command), smu_v13_0_6_ppt.c restore_pci_config: the header is written although it reads
as saved, since a switch may show virtual BARs that the device behind it has forgotten; amd-resets.md sections 3 and 4.

A function that is lost or does not answer cannot be read: then the addresses come from the operating system
(`Transport.bars`), and the control words of its capabilities are left to whoever starts it."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from base.errors import GpumendError
from pcibus.config import decode
from pcibus.transport import ALL_ONES, Transport

COMMAND: Final = 4
MEMORY: Final = 0x2
BUS_MASTER: Final = 0x4
INTX_OFF: Final = 0x400
_BAR0: Final = 0x10
_CACHE_LINE: Final = 0x0C
_ROM: Final = 0x30
_INTERRUPT_LINE: Final = 0x3C
_MEMORY_64: Final = 0x4
_PREFETCH: Final = 0x8
_IO: Final = 0x1
_BAR_KIND: Final = 0xF  # of the low half: read-only
# Control words by capability: (offset, size). Nothing that starts something: no retraining, no function reset.
_EXPRESS: Final = ((0x08, 2), (0x10, 2), (0x28, 2), (0x30, 2))
_MSI: Final = ((0x04, 4), (0x08, 4), (0x0C, 4), (0x02, 2))
_MSIX: Final = ((0x02, 2),)
_FUNCTION_RESET: Final = 0x8000  # device control
_RETRAIN: Final = 0x20  # link control
_EXPRESS_ID, _MSI_ID, _MSIX_ID, _REBAR_ID = 0x10, 0x05, 0x11, 0x15


@dataclass(frozen=True, slots=True)
class SavedConfig:
    """What was kept. `words`: (offset, size, value) of control words, in the order of writing; `bars`: (offset, value) of
    each half of an address; `answered`: config space could be read, so that the command is the function's own."""

    name: str
    command: int
    bars: tuple[tuple[int, int], ...]
    words: tuple[tuple[int, int, int], ...]
    answered: bool

    @classmethod
    def take(cls, transport: Transport) -> SavedConfig:
        """Read what there is. Never raises for a function that does not answer."""
        told = tuple(_told_bars(transport))
        identity = ALL_ONES
        with suppress(GpumendError):
            identity = transport.config_read(0, 4)
        if identity == ALL_ONES:
            return cls(transport.name, MEMORY | INTX_OFF, told, (), answered=False)
        bars = tuple((offset, transport.config_read(offset, 4)) for offset, _ in told)
        if not any(value & ~0xF for _, value in bars):  # an earlier reset took them, or the kernel shows none
            bars = told
        command = transport.config_read(COMMAND, 2)
        if not command & MEMORY and bars is told:
            command |= MEMORY
        return cls(transport.name, command, bars, tuple(_control_words(transport)), answered=True)

    def restore(self, transport: Transport) -> None:
        """Write everything, whatever it reads: control words (a BAR's size among them), addresses, then the command.

        Without bus mastering: no DMA until a driver starts the GPU and switches it on."""
        transport.config_write(COMMAND, 2, self.command & ~(MEMORY | BUS_MASTER))
        for offset, size, value in self.words:
            transport.config_write(offset, size, value)
        for offset, value in self.bars:
            transport.config_write(offset, 4, value)
        transport.config_write(COMMAND, 2, (self.command | MEMORY) & ~BUS_MASTER)

    def lost(self, transport: Transport) -> tuple[str, ...]:
        """What its memory is reached by and reads other than it was kept: addresses, memory decoding; in words."""
        found = []
        upper = -1
        for offset, value in self.bars:
            is_upper = offset == upper
            if not is_upper and value & 0x7 == _MEMORY_64:
                upper = offset + 4
            seen = transport.config_read(offset, 4)
            if (seen ^ value) & (0xFFFFFFFF if is_upper else ~_BAR_KIND):
                found.append(f"config+{offset:#x}: {seen:#010x}, kept {value:#010x}")
        command = transport.config_read(COMMAND, 2)
        if not command & MEMORY:
            found.append(f"command: {command:#06x}, kept {self.command:#06x}")
        return tuple(found)

    def differences(self, transport: Transport) -> tuple[str, ...]:
        """All that reads other than it was kept, in words; bus mastering does not count."""
        found = list(self.lost(transport))
        for offset, size, value in self.words:
            seen = transport.config_read(offset, size)
            if seen != value:
                found.append(f"config+{offset:#x}: {seen:#0{2 + 2 * size}x}, kept {value:#0{2 + 2 * size}x}")
        seen = transport.config_read(COMMAND, 2)
        if seen & MEMORY and (seen ^ self.command) & ~(BUS_MASTER | MEMORY):
            found.append(f"command: {seen:#06x}, kept {self.command:#06x}")
        return tuple(found)


def bus_master_off(transport: Transport) -> None:
    """No more DMA. A function that does not answer does none."""
    command = transport.config_read(COMMAND, 2)
    if command != 0xFFFF and command & BUS_MASTER:
        transport.config_write(COMMAND, 2, command & ~BUS_MASTER)


def _told_bars(transport: Transport) -> list[tuple[int, int]]:
    """Addresses as the operating system gave them, as the registers hold them."""
    found = []
    bars = {}
    with suppress(GpumendError):
        bars = dict(transport.bars())
    for index, bar in sorted(bars.items()):
        low = bar.address & 0xFFFFFFFF
        low |= _IO if bar.is_io else (_MEMORY_64 * bar.is_64bit | _PREFETCH * bar.prefetchable)
        found.append((_BAR0 + 4 * index, low))
        if bar.is_64bit:
            found.append((_BAR0 + 4 * index + 4, bar.address >> 32))
    return found


def _control_words(transport: Transport) -> list[tuple[int, int, int]]:
    words = [(_CACHE_LINE, 1), (_INTERRUPT_LINE, 1), (_ROM, 4)]
    try:
        capabilities = decode(transport).capabilities
    except (GpumendError, struct.error):
        capabilities = ()
    for entry in capabilities:
        known: tuple[tuple[int, int], ...] = ()
        if not entry.extended:
            known = {_EXPRESS_ID: _EXPRESS, _MSI_ID: _MSI, _MSIX_ID: _MSIX}.get(entry.id, ())
        elif entry.id == _REBAR_ID:
            known = ((0x08, 4),)
        words += [(entry.offset + offset, size) for offset, size in known]
    found = []
    for offset, size in words:
        with suppress(GpumendError):
            value = transport.config_read(offset, size)
            if value != (1 << 8 * size) - 1:
                found.append((offset, size, _harmless(capabilities, offset, value)))
    return found


def _harmless(capabilities: object, offset: int, value: int) -> int:
    """Without the bits that start something when they are written."""
    for entry in capabilities if isinstance(capabilities, tuple) else ():
        if entry.extended or entry.id != _EXPRESS_ID:
            continue
        if offset == entry.offset + 0x08:
            return value & ~_FUNCTION_RESET
        if offset == entry.offset + 0x10:
            return value & ~_RETRAIN
    return value
