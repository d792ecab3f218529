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

A value too big for its field, an unknown field, and a base that the block does not have raise ValueError, AttributeError
and IndexError with the register's name. Dword addresses throughout: address = bases[seg] + offset."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, overload

Access = Literal["rw", "r", "w", "w1c", "w1s"]
ACCESS_KINDS: tuple[Access, ...] = ("rw", "r", "w", "w1c", "w1s")
WORD = 0xFFFFFFFF


class Field:
    """Bits msb..lsb of a register. Read from a register value, it is an int."""

    __slots__ = ("access", "lsb", "mask", "maximum", "msb", "name")

    def __init__(self, msb: int, lsb: int, access: Access = "rw") -> None:
        if not 31 >= msb >= lsb >= 0:
            raise ValueError(f"bits({msb}, {lsb}): a field lies within bits 31..0, msb first")
        if access not in ACCESS_KINDS:
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

    def __set__(self, value: Register, new: int) -> None:
        raise AttributeError(f"{type(value).__name__}.{self.name}: a register value does not change; use replace()")

    def place(self, number: int, register: str) -> int:
        """`number` shifted to its bits; ValueError if it does not fit."""
        if not 0 <= number <= self.maximum:
            span = f"bits {self.msb}:{self.lsb}" if self.msb != self.lsb else f"bit {self.lsb}"
            raise ValueError(f"{register}.{self.name} = {number:#x}: {span} hold 0..{self.maximum:#x}")
        return number << self.lsb


def bits(msb: int, lsb: int, access: Access = "rw") -> Field:
    return Field(msb, lsb, access)


def bit(position: int, access: Access = "rw") -> Field:
    return Field(position, position, access)


R = TypeVar("R", bound="Register")


class Register:
    """A 32-bit register value with named fields. Immutable; compares and hashes as its class and value."""

    __slots__ = ("value",)
    FIELDS: ClassVar[Mapping[str, Field]] = {}
    _decode: ClassVar[Callable[[int], dict[str, int]] | None] = None
    value: int

    def __init_subclass__(cls) -> None:
        fields = dict(cls.FIELDS)
        fields.update((name, item) for name, item in vars(cls).items() if isinstance(item, Field))
        taken = 0
        for field in fields.values():
            if taken & field.mask:
                raise TypeError(f"{cls.__name__}.{field.name} overlaps another field")
            taken |= field.mask
        cls.FIELDS = dict(sorted(fields.items(), key=lambda item: item[1].lsb))
        cls._decode = None

    def __init__(self, value: int = 0) -> None:
        if not 0 <= value <= WORD:
            raise ValueError(f"{type(self).__name__}: {value:#x} is not a 32-bit value")
        object.__setattr__(self, "value", value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}: a register value does not change; use replace()")

    @classmethod
    def of(cls: type[R], **fields: int) -> R:
        """A value made of fields; those not named are 0."""
        return cls(cls._merge(0, fields))

    def replace(self: R, **fields: int) -> R:
        """This value with some fields changed."""
        return type(self)(self._merge(self.value, fields))

    @classmethod
    def _merge(cls, value: int, fields: Mapping[str, int]) -> int:
        for name, number in fields.items():
            field = cls.FIELDS.get(name)
            if field is None:
                raise AttributeError(f"{cls.__name__} has no field {name}; it has {', '.join(cls.FIELDS) or 'none'}")
            value = (value & ~field.mask) | field.place(number, cls.__name__)
        return value

    def fields(self) -> dict[str, int]:
        """Every field by name, lowest bit first. Compiled once per class: this is a hot path of dumps."""
        decode = type(self)._decode or type(self)._compile()
        return decode(self.value)

    @classmethod
    def _compile(cls) -> Callable[[int], dict[str, int]]:
        # One dict display without calls: as fast as written by hand. Field names are checked identifiers of ours.
        items = ", ".join(f"{name!r}: (v >> {f.lsb}) & {f.maximum}" for name, f in cls.FIELDS.items())
        scope: dict[str, Any] = {}
        exec(f"def decode(v): return {{{items}}}", scope)
        cls._decode = staticmethod(scope["decode"])
        decode: Callable[[int], dict[str, int]] = scope["decode"]
        return decode

    def __int__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.value == self.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __str__(self) -> str:
        """`0x83 (EN=1, MODE=1)`: the fields that are not 0, highest value first to the eye: the hex."""
        shown = ", ".join(
            f"{name}={number:#x}" if number > 9 else f"{name}={number}"
            for name, number in self.fields().items()
            if number
        )
        return f"{self.value:#010x} ({shown})" if shown else f"{self.value:#010x}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value:#x})"


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
        return self.kind(self.bus.read(self.address))

    def write(self, value: R | int = 0, **fields: int) -> None:
        """Write a whole value, or fields (the others 0)."""
        self.bus.write(self.address, self.kind._merge(int(value), fields))

    def modify(self, **fields: int) -> R:
        """Read, change these fields, write; returns what was written. Bits that a 1 would clear or set stay untouched."""
        raw = self.bus.read(self.address)
        for field in self.kind.FIELDS.values():
            if field.access in ("w1c", "w1s"):
                raw &= ~field.mask
        new = self.kind._merge(raw, fields)
        self.bus.write(self.address, new)
        return self.kind(new)

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
        return Bound(block.bus, block.address_of(self), self.kind, f"{block.name}.{self.name}")


class RegisterBlock:
    """The registers of one IP, bound to one instance of it. Binding touches no hardware."""

    __slots__ = ("bases", "bus", "name")
    REGISTERS: ClassVar[Mapping[str, reg[Any]]] = {}

    def __init_subclass__(cls) -> None:
        registers = dict(cls.REGISTERS)
        registers.update((name, item) for name, item in vars(cls).items() if isinstance(item, reg))
        cls.REGISTERS = registers

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


def make_register(name: str, fields: Mapping[str, tuple[int, int]]) -> type[Register]:
    """A register class made at run time from a table row (`fields`: name to (msb, lsb)); for `gpumend regs`.

    Raises ValueError for names that are not identifiers: the rows come from a file."""
    for word in (name, *fields):
        if not _NAME.match(word):
            raise ValueError(f"{word!r} is not a register or field name")
    body: dict[str, Any] = {key: Field(msb, lsb) for key, (msb, lsb) in fields.items()}
    body["__slots__"] = ()
    return type(name, (Register,), body)
