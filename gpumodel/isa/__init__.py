"""Real compiled code of gfx942 and gfx950, interpreted on NumPy arrays: all waves of a dispatch at once."""
