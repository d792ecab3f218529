"""The click commands, one file per subject; cli.py gathers them."""
