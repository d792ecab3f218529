"""What the bits of a register mean; generated tables of AMD's registers and structures."""

from registers.core import Bound, Field, Register, Register64, RegisterBlock, RegisterBus, bit, bits, reg

__all__ = ["Bound", "Field", "Register", "Register64", "RegisterBlock", "RegisterBus", "bit", "bits", "reg"]
