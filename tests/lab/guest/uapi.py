"""How the programs of this folder talk to the kernel: ioctl numbers, structures, and which GPUs there are.

Source: Linux v7.3 include/uapi/asm-generic/ioctl.h, Documentation/gpu/amdgpu (KFD topology in sysfs). Standard library
only: these programs run in the guest, and on a machine with GPUs, as they are."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

TOPOLOGY = Path("/sys/class/kfd/kfd/topology/nodes")
WRITE, READ = 1, 2  # _IOC_WRITE, _IOC_READ: as user space sees it


class Struct(ctypes.Structure):
    """Arguments of an ioctl, with the kernel's names for the fields."""

    MAGIC: ClassVar[str]
    NUMBER: ClassVar[int]
    WAYS: ClassVar[int] = READ | WRITE

    def call(self, descriptor: int) -> None:
        """Raises OSError."""
        size = ctypes.sizeof(self)
        request = self.WAYS << 30 | size << 16 | ord(self.MAGIC) << 8 | self.NUMBER
        fcntl.ioctl(descriptor, request, self)


@dataclass(frozen=True, slots=True)
class Node:
    """A GPU as KFD knows it: its number among the GPUs, its id, its render node and what its queues need."""

    index: int
    gpu_id: int
    render: str
    properties: dict[str, int]


def nodes() -> list[Node]:
    """Every GPU of the topology, in its order; a hive has one for each member."""
    found: list[Node] = []
    for folder in sorted(TOPOLOGY.iterdir(), key=lambda path: int(path.name)):
        gpu_id = int((folder / "gpu_id").read_text())
        if not gpu_id:
            continue  # a processor
        lines = (line.split() for line in (folder / "properties").read_text().splitlines())
        properties = {name: int(value) for name, value in lines}
        render = f"/dev/dri/renderD{properties['drm_render_minor']}"
        found.append(Node(len(found), gpu_id, render, properties))
    return found


def open_device(path: str) -> int:
    """Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def tell(**facts: object) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
