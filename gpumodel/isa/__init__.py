"""The instructions of gfx942 (MI300X) and gfx950 (MI350X): decoded, printed, and run by NumPy for many waves at once."""
