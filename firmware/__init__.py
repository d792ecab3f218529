"""Firmware containers: bytes in, dataclasses out; finding files, and what a chip needs."""
