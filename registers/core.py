"""Field, Register, RegisterBlock: names for bits, bound to one instance of an IP block.

    class Control(Register):                    # msb then lsb, access kind if not rw
        MODE = bits(3, 1)
        FAULT = bit(31, "w1c")

    class Mp1(RegisterBlock):                   # offset in dwords from the base of its segment
        CONTROL = reg(0x11, Control, seg=0)

    mp1 = Mp1(bus, bases=(0x16000,), name="MP1[0]")
    mp1.CONTROL.read().FAULT                    # an int
    mp1.CONTROL.write(MODE=2)                   # the other fields 0
    mp1.CONTROL.modify(MODE=2)                  # the other fields as read; w1c and w1s bits are written as 0
    Control.decode(0x84)                        # {"MODE": 2, "FAULT": 0}

A value too big for its field, an unknown field, and a base that the block does not have raise ValueError, AttributeError
and IndexError with the register's name. Dword addresses throughout: address = bases[seg] + offset."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, overload

Access = Literal["rw", "r", "w", "w1c", "w1s"]
ACCESS_KINDS: tuple[Access, ...] = ("rw", "r", "w", "w1c", "w1s")
WORD = 0xFFFFFFFF
_MOST_CHANGES = 64


class Field:
    """Bits msb..lsb of a register. Read from a register value, it is an int."""

    __slots__ = ("access", "lsb", "mask", "maximum", "msb", "name")

    def __init__(self, msb: int, lsb: int, access: Access = "rw") -> None:
        if not 63 >= msb >= lsb >= 0:
            raise ValueError(f"bits({msb}, {lsb}): a field lies within bits 63..0, msb first")
        if access != "rw" and access not in ACCESS_KINDS:
            raise ValueError(f"access {access!r}: one of {', '.join(ACCESS_KINDS)}")
        self.msb, self.lsb, self.access = msb, lsb, access
        self.maximum = (1 << (msb - lsb + 1)) - 1
        self.mask = self.maximum << lsb
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, value: None, owner: type) -> Field: ...
    @overload
    def __get__(self, value: Register, owner: type) -> int: ...
    def __get__(self, value: Register | None, owner: type) -> Field | int:
        if value is None:
            return self
        return (value.value >> self.lsb) & self.maximum

    def place(self, number: int, register: str) -> int:
        """`number` shifted to its bits; ValueError if it does not fit."""
        if not 0 <= number <= self.maximum:
            span = f"bits {self.msb}:{self.lsb}" if self.msb != self.lsb else f"bit {self.lsb}"
            raise ValueError(f"{register}.{self.name} = {number:#x}: {span} hold 0..{self.maximum:#x}")
        return number << self.lsb


bits = Field  # the name to declare with; no function between, as generated modules make thousands


def bit(position: int, access: Access = "rw") -> Field:
    return Field(position, position, access)


R = TypeVar("R", bound="Register")


@dataclass(frozen=True, slots=True)
class Change(Generic[R]):
    """Fields of a register to be set: bits kept of what is read, bits set in it. `Register.change` makes one."""

    kept: int
    bits: int


class Register:
    """A 32-bit register value with named fields. Immutable; compares and hashes as its class and value."""

    __slots__ = ("value",)
    WIDTH: ClassVar[int] = 32
    FIELDS: ClassVar[Mapping[str, Field]] = {}
    _keep: ClassVar[int] = -1  # all but the bits that a 1 clears or sets: a read-modify-write must write 0 there
    # Changes of fields seen before, as (bits kept, bits set): a driver makes the same few again and again.
    _changes: ClassVar[dict[tuple[tuple[str, int], ...], tuple[int, int]]] = {}
    value: int

    def __init_subclass__(cls) -> None:
        fields = dict(cls.FIELDS) if cls.FIELDS else {}
        taken = 0
        for field in fields.values():
            taken |= field.mask
        keep = cls._keep
        for name, item in vars(cls).items():
            if type(item) is not Field:
                continue
            if taken & item.mask:
                raise TypeError(f"{cls.__name__}.{name} overlaps another field")
            taken |= item.mask
            if item.access in ("w1c", "w1s"):
                keep &= ~item.mask
            fields[name] = item
        if taken >> cls.WIDTH:
            raise TypeError(f"{cls.__name__} has fields beyond bit {cls.WIDTH - 1}")
        cls.FIELDS = fields
        cls._keep = keep
        cls._changes = {}
        # A compiled decoder of a base class must not be inherited.
        type.__setattr__(cls, "decode", _DECODE_FIRST)

    def __init__(self, value: int = 0) -> None:
        if value < 0 or value >> self.WIDTH:
            raise ValueError(f"{type(self).__name__}: {value:#x} is not a {self.WIDTH}-bit value")
        _store(self, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name}: a register value does not change; use replace()")

    @classmethod
    def of(cls: type[R], **fields: int) -> R:
        """A value made of fields; those not named are 0."""
        return cls(cls._merge(0, fields, cls.__name__))

    def replace(self: R, **fields: int) -> R:
        """This value with some fields changed."""
        return type(self)(self._merge(self.value, fields, type(self).__name__))

    @classmethod
    def _merge(cls, value: int, fields: Mapping[str, int], register: str) -> int:
        """`value` with these fields put in. `place` is written out here: this is the hot path of a driver."""
        known = cls.FIELDS
        for name, number in fields.items():
            field = known.get(name)
            if field is None:
                raise AttributeError(f"{register} has no field {name}; it has {', '.join(known) or 'none'}")
            if not 0 <= number <= field.maximum:
                field.place(number, register)  # raises, and says why
            value = value & ~field.mask | number << field.lsb
        return value

    @classmethod
    def change(cls: type[R], **fields: int) -> Change[R]:
        """A read-modify-write prepared once, for `Bound.apply`: for paths where `modify` is too slow."""
        return Change(*cls._change(tuple(fields.items()), fields, cls.__name__))

    @classmethod
    def _change(cls, key: tuple[tuple[str, int], ...], fields: Mapping[str, int], register: str) -> tuple[int, int]:
        """What a modification of these fields keeps of the value read, and what it sets."""
        kept = cls._keep & (1 << cls.WIDTH) - 1
        for name in fields:
            if name in cls.FIELDS:
                kept &= ~cls.FIELDS[name].mask
        change = kept, cls._merge(0, fields, register)
        if len(cls._changes) >= _MOST_CHANGES:
            cls._changes.clear()
        cls._changes[key] = change
        return change

    @classmethod
    def decode(cls, value: int) -> dict[str, int]:
        """Every field of a raw value by name, lowest bit first; `value` is not checked. The fast way to dump.

        The first call puts a function in its own place that is one dict display: as fast as written by hand."""
        ordered = sorted(cls.FIELDS.items(), key=lambda item: item[1].lsb)
        # Names are identifiers: a class body or make_register has checked them.
        items = ", ".join(f"{name!r}: v >> {f.lsb} & {f.maximum}" for name, f in ordered)
        scope: dict[str, Any] = {}
        exec(f"def decode(v): return {{{items}}}", scope)
        type.__setattr__(cls, "decode", staticmethod(scope["decode"]))
        decode: Callable[[int], dict[str, int]] = scope["decode"]
        return decode(value)

    def fields(self) -> dict[str, int]:
        """Every field by name, lowest bit first."""
        return type(self).decode(self.value)

    def __int__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.value == self.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __str__(self) -> str:
        """`0x00000083 (EN=1, MODE=1)`: the raw value, then the fields that are not 0, lowest bit first."""
        shown = ", ".join(
            f"{name}={number:#x}" if number > 9 else f"{name}={number}"
            for name, number in self.fields().items()
            if number
        )
        raw = f"0x{self.value:0{self.WIDTH // 4}x}"
        return f"{raw} ({shown})" if shown else raw

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value:#x})"


_DECODE_FIRST = vars(Register)["decode"]
_store: Callable[[Register, int], None] = vars(Register)["value"].__set__  # past our own __setattr__, and fast
_NOT_FIELDS = frozenset(name for name in dir(Register) if not name.startswith("__"))


class Register64(Register):
    """A register of two dwords, low one first (RAS banks of UMC and MP). Bound.read() reads both."""

    __slots__ = ()
    WIDTH = 64


class RegisterBus(Protocol):
    """Where the registers of a block are read and written; addresses in dwords."""

    def read(self, address: int) -> int: ...

    def write(self, address: int, value: int) -> None: ...

    def where(self, address: int) -> str:
        """The place in words: `BAR5+0x440 on 0000:c1:00.0`."""
        ...


class Bound(Generic[R]):
    """One register of one instance."""

    __slots__ = ("address", "bus", "kind", "name")

    def __init__(self, bus: RegisterBus, address: int, kind: type[R], name: str) -> None:
        self.bus, self.address, self.kind, self.name = bus, address, kind, name

    def read(self) -> R:
        return self.kind(self._read())

    def write(self, value: R | int = 0, **fields: int) -> None:
        """Write a whole value, or fields (the others 0)."""
        new = self.kind._merge(int(value), fields, self.name)
        if new >> self.kind.WIDTH:
            raise ValueError(f"{self.name}: {new:#x} is not a {self.kind.WIDTH}-bit value")
        self._write(new)

    def modify(self, **fields: int) -> R:
        """Read, change these fields, write; returns what was written. Bits that a 1 would clear or set stay untouched."""
        kind = self.kind
        key = tuple(fields.items())
        change = kind._changes.get(key)
        if change is None:
            change = kind._change(key, fields, self.name)
        new = self._read() & change[0] | change[1]
        self._write(new)
        return kind(new)

    def apply(self, change: Change[R]) -> None:
        """`modify` with fields that were prepared by `Register.change`."""
        if self.kind.WIDTH == 32:  # written out: this is the path that must be fast
            address = self.address
            self.bus.write(address, self.bus.read(address) & change.kept | change.bits)
        else:
            self._write(self._read() & change.kept | change.bits)

    def _read(self) -> int:
        low = self.bus.read(self.address)
        if self.kind.WIDTH == 32:
            return low
        return low | self.bus.read(self.address + 1) << 32

    def _write(self, value: int) -> None:
        if self.kind.WIDTH == 32:
            self.bus.write(self.address, value)
            return
        self.bus.write(self.address, value & WORD)
        self.bus.write(self.address + 1, value >> 32)

    def show(self, value: R) -> str:
        """`MP1[0].RESPONSE=0x00000000 (CODE=0x1)`"""
        return f"{self.name}={value}"

    @property
    def where(self) -> str:
        return f"{self.name} @ {self.bus.where(self.address)}"


class reg(Generic[R]):
    """Declares a register in a block: offset in dwords from the base of segment `seg`."""

    __slots__ = ("kind", "name", "offset", "seg")

    def __init__(self, offset: int, kind: type[R], seg: int = 0) -> None:
        self.offset, self.kind, self.seg = offset, kind, seg
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, block: None, owner: type) -> reg[R]: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> Bound[R]: ...
    def __get__(self, block: RegisterBlock | None, owner: type) -> reg[R] | Bound[R]:
        if block is None:
            return self
        bound = Bound(block.bus, block.address_of(self), self.kind, f"{block.name}.{self.name}")
        # The next access finds it in the instance and does not come here.
        block.__dict__[self.name] = bound
        return bound


class RegisterBlock:
    """The registers of one IP, bound to one instance of it. Binding touches no hardware."""

    REGISTERS: ClassVar[Mapping[str, reg[Any]]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: item for name, item in vars(cls).items() if type(item) is reg}
        cls.REGISTERS = {**cls.REGISTERS, **own}

    def __init__(self, bus: RegisterBus, bases: tuple[int, ...], name: str = "") -> None:
        self.bus = bus
        self.bases = bases
        self.name = name or type(self).__name__

    def address_of(self, register: reg[Any]) -> int:
        """Dword address of a register of this instance; IndexError when discovery gave too few bases."""
        if register.seg >= len(self.bases):
            raise IndexError(
                f"{self.name}.{register.name} lies in segment {register.seg}; discovery gave {len(self.bases)} bases"
            )
        return self.bases[register.seg] + register.offset

    def __iter__(self) -> Iterator[Bound[Any]]:
        for register in self.REGISTERS.values():
            yield Bound(self.bus, self.address_of(register), register.kind, f"{self.name}.{register.name}")


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def field_name(name: str) -> str:
    """The attribute under which a field of a header is found: `_` is added where Python or Register has the word.

    `value` becomes `value_`, `class` becomes `class_`, `1x` becomes `_1x`. Raises ValueError for other characters."""
    if name[:1].isdigit():
        name = f"_{name}"
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a register or field name")
    return f"{name}_" if keyword.iskeyword(name) or name in _NOT_FIELDS else name


def make_register(name: str, fields: Mapping[str, tuple[int, int]]) -> type[Register]:
    """A register class made at run time from a table row (`fields`: name to (msb, lsb)); for `gpumend regs`.

    Raises ValueError for names that are not identifiers: the rows come from a file. 64-bit where a field needs it."""
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a register or field name")
    body: dict[str, Any] = {field_name(key): Field(msb, lsb) for key, (msb, lsb) in fields.items()}
    body["__slots__"] = ()
    wide = any(msb > 31 for msb, _ in fields.values())
    return type(name, (Register64 if wide else Register,), body)
