"""The registers of a software GPU: which exist, what they read after power-on, and who reacts to an access.

A `Layout` is the same for all GPUs of a part and is made once; a `RegisterFile` holds what differs in one GPU.
Addresses are dwords of the SMN space: BAR5 shows the start of it, the same registers of AID n lie at bit 32 with n in
bits 31:30 (SMN byte bits 34 and 33:32; Linux v7.3 amdgpu_reg_access.c, amdgpu_reg_smn_v1_0_get_base)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from registers.core import RegisterBlock, reg

WORD = 0xFFFFFFFF
AID_SHIFT = 30
OTHER_AID = 1 << 32
BANK_SHIFT = 40  # above every address

OnRead = Callable[[Any, "Entry"], int]
OnWrite = Callable[[Any, "Entry", int], None]


def aid_base(aid: int) -> int:
    """First dword of the SMN space of an AID."""
    return OTHER_AID | aid << AID_SHIFT if aid else 0


def smn_text(address: int) -> str:
    """A dword address as the byte address that a driver uses."""
    return f"SMN {address * 4:#x}"


@dataclass(slots=True)
class Entry:
    """One register of one instance. `owner` names the block whose hooks run; `bank` is the address of the register
    whose value, masked with `bank_mask`, selects one of several copies (0: there is one copy)."""

    name: str  # GC[3].GRBM_STATUS
    address: int
    reset: int
    owner: str
    instance: int
    bank: int = 0
    bank_mask: int = WORD
    on_read: OnRead | None = None
    on_write: OnWrite | None = None


class Layout:
    """All registers that a part's model knows."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._addresses: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """A second name for a register of the same instance is fine (headers have such); ValueError when registers of
        two instances claim one address, or one of them is active: a defect of the geometry."""
        taken = self.entries.setdefault(entry.address, entry)
        if taken is not entry and not _same_storage(taken, entry):
            raise ValueError(f"{entry.name} and {taken.name} share {smn_text(entry.address)}")
        self._addresses[entry.name] = entry.address

    def address(self, name: str) -> int:
        """Dword address by name; KeyError with the name when the model has no such register."""
        return self._addresses[name]

    def __contains__(self, name: str) -> bool:
        return name in self._addresses

    def names(self) -> Iterator[str]:
        return iter(self._addresses)

    def unit(
        self,
        block: type[RegisterBlock],
        prefix: str,
        bases: tuple[int, ...],
        owner: str,
        instance: int = 0,
        aid: int = 0,
    ) -> Unit:
        """One instance of an IP block, to declare its registers."""
        return Unit(self, block, prefix, bases, owner, instance, aid_base(aid))


def _same_storage(one: Entry, other: Entry) -> bool:
    hooks = (one.on_read, one.on_write, other.on_read, other.on_write)
    same = one.name.partition(".")[0] == other.name.partition(".")[0] and one.reset == other.reset
    return same and one.bank == other.bank and hooks == (None, None, None, None)


@dataclass(slots=True)
class Unit:
    """Declares registers of one instance; see Layout.unit."""

    layout: Layout
    block: type[RegisterBlock]
    prefix: str
    bases: tuple[int, ...]
    owner: str
    instance: int
    offset: int

    def plain(
        self,
        patterns: Iterable[str],
        resets: Mapping[str, int] | None = None,
        bank: reg[Any] | None = None,
        bank_mask: int = WORD,
    ) -> Unit:
        """Registers that keep what is written, by name or shell pattern; reset value 0 where `resets` has none.

        `bank`: the register that selects between copies of them."""
        resets = resets or {}
        select = self.address(bank) if bank else 0
        for name, register in _expand(self.block, tuple(patterns)):
            address = self.address(register)
            text = f"{self.prefix}.{name}"
            self.layout.add(Entry(text, address, resets.get(name, 0), self.owner, self.instance, select, bank_mask))
        return self

    def active(
        self, register: reg[Any], reset: int = 0, on_read: OnRead | None = None, on_write: OnWrite | None = None
    ) -> Unit:
        """A register whose accesses have an effect."""
        entry = Entry(f"{self.prefix}.{register.name}", self.address(register), reset, self.owner, self.instance)
        entry.on_read, entry.on_write = on_read, on_write
        self.layout.add(entry)
        return self

    def address(self, register: reg[Any]) -> int:
        return self.offset + self.bases[register.seg] + register.offset


_EXPANDED: dict[tuple[str, tuple[str, ...]], tuple[tuple[str, reg[Any]], ...]] = {}


def _expand(block: type[RegisterBlock], patterns: tuple[str, ...]) -> tuple[tuple[str, reg[Any]], ...]:
    """The registers of a block that the patterns name, each once; ValueError for a pattern that names none."""
    known = _EXPANDED.get((block.__name__, patterns))
    if known is not None:
        return known
    found: dict[str, reg[Any]] = {}
    for pattern in patterns:
        names = [pattern] if pattern in block.REGISTERS else [n for n in block.REGISTERS if fnmatchcase(n, pattern)]
        if not names:
            raise ValueError(f"{block.__name__} has no register {pattern}")
        found.update((name, block.REGISTERS[name]) for name in names)
    _EXPANDED[block.__name__, patterns] = tuple(found.items())
    return _EXPANDED[block.__name__, patterns]


class Block(Protocol):
    """The live part of an IP block in one GPU: its hooks, and what power-on does."""

    def power_on(self) -> None: ...


class RegisterFile:
    """The register values of one GPU. An access that the layout does not know reads 0 and is counted."""

    def __init__(self, layout: Layout, blocks: Mapping[str, Block]) -> None:
        self.layout = layout
        self.blocks = blocks
        self.values: dict[int, int] = {}
        self.unknown: Counter[tuple[str, int]] = Counter()
        self._entries = layout.entries
        self.take_unlisted: Callable[[int], bool] = lambda address: False  # writes to a place that a register names

    def read(self, address: int, path: str = "mmio") -> int:
        """What the device answers at a dword address; `path` names the way for the list of unknown accesses."""
        entry = self._entries.get(address)
        if entry is None:
            self.unknown[(f"{path}-read", address * 4)] += 1
            return 0
        if entry.on_read is not None:
            return entry.on_read(self.blocks[entry.owner], entry)
        return self.values.get(self._key(entry), entry.reset)

    def write(self, address: int, value: int, path: str = "mmio") -> None:
        entry = self._entries.get(address)
        if entry is None:
            if not self.take_unlisted(address):
                self.unknown[(f"{path}-write", address * 4)] += 1
        elif entry.on_write is not None:
            entry.on_write(self.blocks[entry.owner], entry, value & WORD)
        else:
            self.values[self._key(entry)] = value & WORD

    def get(self, name: str) -> int:
        """The stored value behind a name: no side effects."""
        return self.stored(self._entries[self.layout.address(name)])

    def set(self, name: str, value: int) -> None:
        """Change the stored value behind a name: no side effects."""
        self.store(self._entries[self.layout.address(name)], value)

    def stored(self, entry: Entry) -> int:
        return self.values.get(self._key(entry), entry.reset)

    def store(self, entry: Entry, value: int) -> None:
        self.values[self._key(entry)] = value & WORD

    def store_bank(self, name: str, select: int, value: int) -> None:
        """Change the copy of a banked register that `select` (already masked) stands for."""
        entry = self._entries[self.layout.address(name)]
        self.values[entry.address | select << BANK_SHIFT] = value & WORD

    def forget(self, which: Callable[[Entry], bool]) -> None:
        """Registers, with all their copies, as after power-on."""
        addresses = {address for address, entry in self._entries.items() if which(entry)}
        below = (1 << BANK_SHIFT) - 1
        self.values = {key: value for key, value in self.values.items() if key & below not in addresses}

    def _key(self, entry: Entry) -> int:
        if not entry.bank:
            return entry.address
        select = self.values.get(entry.bank, 0) & entry.bank_mask
        return entry.address | select << BANK_SHIFT
