"""registers/core.py: fields, values, blocks, and every error text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registers.core import Bound, Field, Register, Register64, RegisterBlock, bit, bits, field_name, make_register, reg


class Control(Register):
    __slots__ = ()
    ENABLE = bit(0)
    MODE = bits(3, 1)
    COUNT = bits(23, 8, "r")
    STICKY = bit(30, "w1s")
    FAULT = bit(31, "w1c")


class Bank(Register64):
    __slots__ = ()
    CODE = bits(15, 0)
    VALID = bit(63)


class Block(RegisterBlock):
    CONTROL = reg(0x11, Control)
    FAR = reg(0x7, Control, seg=2)
    BANK = reg(0x20, Bank)


class Memory:
    """A RegisterBus of remembered values that writes down what is done to it."""

    def __init__(self, values: dict[int, int] | None = None) -> None:
        self.values = values or {}
        self.log: list[tuple[str, int, int]] = []

    def read(self, address: int) -> int:
        value = self.values.get(address, 0)
        self.log.append(("read", address, value))
        return value

    def write(self, address: int, value: int) -> None:
        self.values[address] = value
        self.log.append(("write", address, value))

    def where(self, address: int) -> str:
        return f"BAR5+{address * 4:#x} on 0000:c1:00.0"


def block(values: dict[int, int] | None = None) -> tuple[Block, Memory]:
    memory = Memory(values)
    return Block(memory, bases=(0x100, 0x200, 0x300), name="MP1[0]"), memory


# ---------------------------------------------------------------- fields


def test_field_read_from_value_is_its_bits() -> None:
    value = Control(0x8000_1205)
    assert (value.ENABLE, value.MODE, value.COUNT, value.FAULT) == (1, 2, 0x12, 1)


def test_field_beyond_bit_63_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bits\(64, 0\): a field lies within bits 63\.\.0, msb first"):
        bits(64, 0)


def test_field_with_lsb_first_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bits\(1, 3\)"):
        bits(1, 3)


def test_field_with_unknown_access_is_refused() -> None:
    with pytest.raises(ValueError, match="access 'rc': one of rw, r, w, w1c, w1s"):
        bit(0, "rc")  # type: ignore[arg-type]


def test_register_class_with_overlapping_fields_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bad\.SECOND overlaps another field"):
        type("Bad", (Register,), {"__slots__": (), "FIRST": Field(4, 0), "SECOND": Field(4, 4)})


def test_register_class_overlapping_an_inherited_field_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bad\.OTHER overlaps another field"):
        type("Bad", (Control,), {"__slots__": (), "OTHER": Field(3, 3)})


def test_register_class_with_field_beyond_its_width_is_refused() -> None:
    with pytest.raises(TypeError, match="Bad has fields beyond bit 31"):
        type("Bad", (Register,), {"__slots__": (), "HIGH": Field(32, 32)})


def test_register_subclass_keeps_inherited_fields_and_decodes_its_own() -> None:
    Control(1).fields()  # compiles the decoder of the base class, which the subclass must not inherit

    class More(Control):
        __slots__ = ()
        EXTRA = bit(4)

    assert More.decode(0x11) == {"ENABLE": 1, "MODE": 0, "EXTRA": 1, "COUNT": 0, "STICKY": 0, "FAULT": 0}


# ---------------------------------------------------------------- values


def test_register_value_does_not_change() -> None:
    value = Control(1)
    with pytest.raises(AttributeError, match=r"Control\.MODE: a register value does not change; use replace\(\)"):
        value.MODE = 2
    with pytest.raises(AttributeError, match=r"Control\.value: a register value does not change; use replace\(\)"):
        value.value = 2
    assert value == Control(1)


def test_register_value_of_33_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="Control: 0x100000000 is not a 32-bit value"):
        Control(1 << 32)


def test_register_value_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="Control: -0x1 is not a 32-bit value"):
        Control(-1)


def test_register_of_fields_sets_only_those() -> None:
    assert Control.of(MODE=2, FAULT=1) == Control(0x8000_0004)


def test_register_replace_keeps_the_other_fields() -> None:
    assert Control(0x8000_1205).replace(MODE=7, FAULT=0) == Control(0x0000_120F)


def test_register_with_number_too_big_for_its_bits_says_what_they_hold() -> None:
    with pytest.raises(ValueError, match=r"Control\.MODE = 0x8: bits 3:1 hold 0\.\.0x7"):
        Control.of(MODE=8)
    with pytest.raises(ValueError, match=r"Control\.ENABLE = -0x1: bit 0 hold 0\.\.0x1"):
        Control.of(ENABLE=-1)


def test_register_with_unknown_field_lists_those_it_has() -> None:
    with pytest.raises(AttributeError, match="Control has no field MOOD; it has ENABLE, MODE, COUNT, STICKY, FAULT"):
        Control.of(MOOD=1)


def test_register_without_fields_says_none() -> None:
    with pytest.raises(AttributeError, match="Plain has no field A; it has none"):
        make_register("Plain", {}).of(A=1)


def test_register_as_text_shows_raw_value_and_fields_that_are_not_zero() -> None:
    assert str(Control(0x8000_1205)) == "0x80001205 (ENABLE=1, MODE=2, COUNT=0x12, FAULT=1)"
    assert str(Control(0)) == "0x00000000"
    assert repr(Control(5)) == "Control(0x5)"
    assert int(Control(5)) == 5


def test_register64_as_text_has_sixteen_digits() -> None:
    assert str(Bank(1 << 63 | 7)) == "0x8000000000000007 (CODE=7, VALID=1)"


def test_register_values_compare_and_hash_as_class_and_value() -> None:
    assert Control(5) == Control(5)
    assert hash(Control(5)) == hash(Control(5))
    assert Control(5) != make_register("Control", {})(5)
    assert Control(5) != 5


def test_register_decode_of_raw_number_is_fields_of_value() -> None:
    assert Control.decode(0x8000_1205) == Control(0x8000_1205).fields()


def test_register_replace_without_fields_is_the_same_value() -> None:
    assert Control(7).replace() == Control(7)


@given(st.integers(0, 0xFFFFFFFF))
def test_register_of_its_own_fields_is_the_value_without_reserved_bits(raw: int) -> None:
    known = 0
    for field in Control.FIELDS.values():
        known |= field.mask
    assert Control.of(**Control(raw).fields()).value == raw & known


# ---------------------------------------------------------------- blocks


def test_bound_read_asks_base_plus_offset() -> None:
    unit, memory = block({0x111: 5})
    assert unit.CONTROL.read() == Control(5)
    assert memory.log == [("read", 0x111, 5)]


def test_bound_write_of_fields_leaves_the_others_zero() -> None:
    unit, memory = block({0x111: 0xFFFF_FFFF})
    unit.CONTROL.write(MODE=2)
    assert memory.log == [("write", 0x111, 4)]


def test_bound_write_of_value_and_fields_merges() -> None:
    unit, memory = block()
    unit.CONTROL.write(Control(0x101), MODE=7)
    assert memory.values == {0x111: 0x10F}


def test_bound_modify_changes_named_fields_and_keeps_the_rest() -> None:
    unit, memory = block({0x111: 0x0000_1205})
    assert unit.CONTROL.modify(MODE=7) == Control(0x0000_120F)
    assert memory.log == [("read", 0x111, 0x1205), ("write", 0x111, 0x120F)]


def test_bound_modify_does_not_clear_or_set_by_accident() -> None:
    unit, memory = block({0x111: 0xC000_0000})
    unit.CONTROL.modify(ENABLE=1)
    assert memory.values[0x111] == 1


def test_bound_modify_clears_a_w1c_bit_on_purpose() -> None:
    unit, memory = block({0x111: 0xC000_0000})
    unit.CONTROL.modify(FAULT=1)
    assert memory.values[0x111] == 0x8000_0000


def test_bound_modify_with_too_big_number_names_the_instance_and_writes_nothing() -> None:
    unit, memory = block()
    with pytest.raises(ValueError, match=r"MP1\[0\]\.CONTROL\.MODE = 0x9: bits 3:1 hold 0\.\.0x7"):
        unit.CONTROL.modify(MODE=9)
    assert memory.log == []


def test_bound_apply_does_what_modify_does() -> None:
    for before in (0, 0x0000_1205, 0xC000_0000, 0xFFFF_FFFF):
        one, by_modify = block({0x111: before})
        other, by_apply = block({0x111: before})
        one.CONTROL.modify(MODE=5, ENABLE=1)
        other.CONTROL.apply(Control.change(MODE=5, ENABLE=1))
        assert by_apply.values == by_modify.values


def test_register_change_with_bad_fields_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Control\.MODE = 0x9: bits 3:1 hold 0\.\.0x7"):
        Control.change(MODE=9)
    with pytest.raises(AttributeError, match="Control has no field NONE"):
        Control.change(NONE=1)


def test_modify_with_ever_new_values_keeps_few_of_them() -> None:
    class Wide(Register):
        __slots__ = ()
        NUMBER = bits(15, 0)

    memory = Memory({0x111: 0})
    wide = Bound(memory, 0x111, Wide, "WIDE")
    for number in range(1000):
        wide.modify(NUMBER=number)
        assert memory.values[0x111] == number
    assert 0 < len(Wide._changes) <= 64


def test_bound_write_of_too_wide_value_is_refused() -> None:
    unit, memory = block()
    with pytest.raises(ValueError, match=r"MP1\[0\]\.CONTROL: 0x100000000 is not a 32-bit value"):
        unit.CONTROL.write(1 << 32)
    with pytest.raises(ValueError, match=r"MP1\[0\]\.CONTROL: -0x1 is not a 32-bit value"):
        unit.CONTROL.write(-1)
    assert memory.log == []


def test_bound_64_bit_register_takes_two_dwords_low_first() -> None:
    unit, memory = block({0x120: 7, 0x121: 0x8000_0000})
    assert unit.BANK.read() == Bank(1 << 63 | 7)
    unit.BANK.modify(VALID=0)
    assert memory.values == {0x120: 7, 0x121: 0}


def test_bound_says_where_it_lies() -> None:
    unit, _ = block()
    assert unit.CONTROL.where == "MP1[0].CONTROL @ BAR5+0x444 on 0000:c1:00.0"
    assert unit.CONTROL.show(Control(2)) == "MP1[0].CONTROL=0x00000002 (MODE=1)"


def test_block_with_too_few_bases_names_register_and_segment() -> None:
    unit = Block(Memory(), bases=(0x100,), name="GC[3]")
    assert unit.CONTROL.address == 0x111
    with pytest.raises(IndexError, match=r"GC\[3\]\.FAR lies in segment 2; discovery gave 1 bases"):
        _ = unit.FAR


def test_block_without_name_takes_that_of_its_class() -> None:
    assert Block(Memory(), bases=(0,)).name == "Block"


def test_block_binds_a_register_once() -> None:
    unit, _ = block()
    assert unit.CONTROL is unit.CONTROL


def test_block_iterates_over_its_registers_without_touching_them() -> None:
    unit, memory = block()
    assert [bound.name for bound in unit] == ["MP1[0].CONTROL", "MP1[0].FAR", "MP1[0].BANK"]
    assert memory.log == []


def test_block_class_attribute_is_the_declaration() -> None:
    assert (Block.FAR.offset, Block.FAR.seg, Block.FAR.name, Block.FAR.kind) == (7, 2, "FAR", Control)


def test_block_subclass_inherits_registers() -> None:
    class Wider(Block):
        MORE = reg(0x30, Control)

    assert list(Wider.REGISTERS) == ["CONTROL", "FAR", "BANK", "MORE"]


# ---------------------------------------------------------------- made at run time


def test_make_register_with_high_field_is_64_bit() -> None:
    assert make_register("A", {"X": (40, 33)}).WIDTH == 64
    assert make_register("A", {"X": (31, 0)}).WIDTH == 32


@pytest.mark.parametrize("name", ["", "A B", "A-B", "A\n", "Ä"])
def test_make_register_with_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a register or field name"):
        make_register(name, {})
    with pytest.raises(ValueError, match="is not a register or field name"):
        make_register("GOOD", {name: (0, 0)})


@pytest.mark.parametrize(
    ("raw", "attribute"),
    [("value", "value_"), ("fields", "fields_"), ("of", "of_"), ("class", "class_"), ("1X", "_1X"), ("MODE", "MODE")],
)
def test_field_name_that_register_or_python_has_gets_an_underscore(raw: str, attribute: str) -> None:
    assert field_name(raw) == attribute
    kind = make_register("R", {raw: (3, 2)})
    assert getattr(kind(0xC), attribute) == 3
    assert kind(0xC).value == 0xC
