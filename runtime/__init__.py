"""Hooks into tensor runtimes; uses the public API (gpumend.py) as an outside user would."""
