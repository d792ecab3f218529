"""What the NVIDIA kernel driver tells in /proc, without its nodes: its version, and each GPU's own page.

Source: nvidia-rm.md section 1; open-gpu-kernel-modules 580.105.08, kernel-open/nvidia/nv-procfs.c (names of the fields)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from base.errors import Unavailable
from nvdriver import abi
from pcibus.driverfiles import DriverFiles

VERSION_FILE = "/proc/driver/nvidia/version"
DRIVER = "nvidia"  # its name as a bound PCI driver
_VERSION = re.compile(r"\b(\d{3}\.\d+(?:\.\d+)?)\b")


@dataclass(frozen=True, slots=True)
class Driver:
    """`version` "" : there is a driver, but its version could not be read from its text. `is_open`: the open modules."""

    version: str
    is_open: bool
    text: str

    @property
    def branch(self) -> int | None:
        return abi.branch_number(self.version)


@dataclass(frozen=True, slots=True)
class GpuPage:
    """/proc/driver/nvidia/gpus/<bdf>/information; None: not told (a GPU that was never initialized shows question marks)."""

    model: str | None = None
    uuid: str | None = None
    vbios: str | None = None
    firmware: str | None = None
    minor: int | None = None


def driver(files: DriverFiles) -> Driver | None:
    """The loaded driver; None: none is loaded. Raises NotPermitted and what reading a file can raise."""
    try:
        text = files.read_text(VERSION_FILE)
    except Unavailable:
        return None
    line = next((row for row in text.splitlines() if row.startswith("NVRM version:")), "")
    match = _VERSION.search(line)
    return Driver(match[1] if match else "", "Open Kernel Module" in line, line.removeprefix("NVRM version:").strip())


def page(files: DriverFiles, bdf: str) -> GpuPage:
    """A GPU's page. Raises Unavailable where the driver does not have the GPU."""
    text = files.read_text(f"/proc/driver/nvidia/gpus/{bdf}/information")
    pairs = (line.partition(":") for line in text.splitlines())
    rows = {name.strip(): value.strip() for name, _, value in pairs}
    minor = rows.get("Device Minor", "")
    return GpuPage(
        model=_told(rows.get("Model")),
        uuid=_told(rows.get("GPU UUID")),
        vbios=_told(rows.get("Video BIOS")),
        firmware=_told(rows.get("GPU Firmware")),
        minor=int(minor) if minor.isascii() and minor.isdigit() else None,
    )


def _told(text: str | None) -> str | None:
    return None if not text or "?" in text or text in ("N/A", "Unknown") else text
