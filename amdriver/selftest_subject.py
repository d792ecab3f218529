"""What a self-test needs of a GPU: `amdriver.opengpu.OpenGpu` is one, and so is a fake in a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Memory(Protocol):
    """A buffer of an open GPU."""

    @property
    def size(self) -> int: ...

    def vram_at(self, offset: int) -> int | None:
        """Where a byte lies in the VRAM of the GPU that owns it; None: memory of the host."""
        ...

    def read(self, offset: int = 0, size: int | None = None) -> bytes: ...

    def write(self, data: bytes, offset: int = 0) -> None: ...

    def free(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Fenced:
    """What one compute queue wrote: the dwords of WRITE_DATA, the value of RELEASE_MEM, the clock before and after."""

    written: bytes
    fence: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """An entry of the interrupt ring."""

    client: int
    source: int
    node: int = 0
    context: int = 0


class OpenedGpu(Protocol):
    """What a run needs of an open GPU; `amdriver.opengpu.OpenGpu` is one. Errors are GpumendErrors; every wait is bounded."""

    @property
    def engines(self) -> int: ...

    @property
    def xccs(self) -> int: ...

    @property
    def start_state(self) -> str: ...

    @property
    def steps(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def node(self) -> tuple[int, int]:
        """(own number, how many): its place in the hive; (0, 1) when it is alone."""
        ...

    def alloc(self, size: int, *, where: str = "vram") -> Memory: ...

    def copy_many(self, pieces: Sequence[tuple[Any, int, Any, int, int]], *, engine: int) -> None:
        """Queue copies (dst, dst_offset, src, src_offset, size) on one engine."""
        ...

    def fill(
        self, dst: Any, value: int, size: int | None = None, *, offset: int = 0, engine: int | None = None
    ) -> None: ...

    def synchronize(self, *, engine: int | None = None) -> None: ...

    def timestamps(self, engine: int, count: int) -> list[int]: ...

    def compute_fence(self, xcc: int, value: int) -> Fenced: ...

    def trap(self, engine: int, context: int) -> None: ...

    def compute_trap(self, xcc: int) -> None: ...

    def interrupts(self) -> list[Interrupt]:
        """Entries that came since the last call."""
        ...

    def map_peer(self, memory: Any) -> Memory: ...

    def unmap_peers(self) -> None:
        """Free what map_peer gave and nobody freed."""
        ...

    def faults(self) -> list[str]:
        """Page faults since the last call, decoded; they are cleared."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A GPU to test and how to open it. `open` raises GpumendError when it cannot be."""

    index: int
    bdf: str
    part: str
    arch: str
    open: Callable[[], OpenedGpu]


def fence_payload(value: int) -> bytes:
    """What WRITE_DATA writes beside the fence: eight dwords that follow from its value."""
    words = (np.arange(1, 9, dtype=np.uint64) * np.uint64(0x9E3779B1) ^ np.uint64(value)).astype("<u4")
    return words.tobytes()
