"""The one place where the version stands; importing it costs nothing (pyproject.toml reads it too)."""

VERSION = "0.1.0"
