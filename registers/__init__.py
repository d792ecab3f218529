"""What the bits of a register mean; generated tables of AMD's registers and structures."""

from registers.core import Bound, Field, Register, RegisterBlock, RegisterBus, bit, bits, reg

__all__ = ["Bound", "Field", "Register", "RegisterBlock", "RegisterBus", "bit", "bits", "reg"]
