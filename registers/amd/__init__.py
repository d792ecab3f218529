"""Generated register classes and structures of AMD's IP blocks (tools/gen_registers.py)."""
