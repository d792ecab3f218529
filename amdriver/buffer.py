"""Memory of one GPU as its other blocks and its users hold it.

    VramBlock   contiguous VRAM that no page table maps: rings, firmware, MQDs; known by its MC address
    Buffer      mapped at a GPU address: VRAM of this GPU or of a peer, or memory of the host

Both are made and freed by `gmc.Gmc`. Freed ones raise Closed when used and DoubleFree when freed again. Writes through
BAR0 are flushed out of the HDP unless `flush=False` says that the caller does it later (Gmc.flush_hdp).
Source: Linux v7.3 amdgpu_device.c (amdgpu_device_vram_access: BAR0 where it reaches, else MM_INDEX, HDP flush after a
write through the BAR; these HDP versions need no invalidation before a read: hdp_v4_0.c)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal, Protocol, Self

from amdriver.memory import Allocation, BadAddress, Closed, DmaMemory, DoubleFree
from base.errors import Refused, Unavailable

if TYPE_CHECKING:
    from amdriver.gmc import Gmc

Place = Literal["vram", "host", "peer"]
# The window takes two accesses a dword: 64 KiB are 32,768 of them, some tens of milliseconds over a bus.
WINDOW_BYTES: Final = 64 << 10
_CHUNK: Final = 1 << 20


class NotVisible(Unavailable):
    """VRAM that BAR0 does not show, and too much of it for the index window."""


class StillMapped(Refused):
    """Freed while another GPU has it mapped."""


class _Memory:
    """What both have: a size, a life, and bounds."""

    kind = "memory"

    def __init__(self, gmc: Gmc, size: int, owner: str) -> None:
        self.gmc = gmc
        self.size = size
        self.owner = owner
        self.freed = False

    @property
    def name(self) -> str:
        return f"{self.kind} {self.owner}".rstrip()

    def _check_open(self, doing: str) -> None:
        if not self.freed:
            return
        raise Closed(
            f"{doing} {self.name}",
            expected="memory that is in use",
            seen="it was freed before",
            where=self.gmc.gpu.name,
            next_step="allocate it anew; whoever frees it drops it",
        )

    def _check(self, doing: str, offset: int, size: int) -> None:
        self._check_open(doing)
        if 0 <= offset <= offset + size <= self.size:
            return
        raise BadAddress(
            f"{doing} {self.name}",
            expected=f"a range within its {self.size:#x} bytes",
            seen=f"{size:#x} bytes from {offset:#x}",
            where=self.gmc.gpu.name,
            next_step="stay within the buffer",
        )

    def _check_not_freed(self) -> None:
        if not self.freed:
            return
        raise DoubleFree(
            f"freeing {self.name}",
            expected="memory that is in use",
            seen="it was freed before",
            where=self.gmc.gpu.name,
            next_step="free it once; the one who frees first drops it",
        )

    def _vram_read(self, pieces: Iterator[tuple[int, int]]) -> bytes:
        access = self.gmc.gpu.access
        out = []
        for start, size in pieces:
            copier = self._copier("reading", start, size)
            out.append(access.vram_read(start, size) if copier is None else copier.read_vram(start, size))
        return out[0] if len(out) == 1 else b"".join(out)

    def _vram_write(self, pieces: Iterator[tuple[int, int]], data: bytes, flush: bool) -> None:
        access = self.gmc.gpu.access
        done, through_bar = 0, False
        for start, size in pieces:
            part = data if size == len(data) else data[done : done + size]
            copier = self._copier("writing", start, size)
            if copier is None:
                through_bar |= access.vram_write(start, part)
            else:
                copier.write_vram(start, part)
            done += size
        if through_bar and flush:
            self.gmc.flush_hdp()

    def _copier(self, doing: str, vram_offset: int, size: int) -> Copier | None:
        """None: the CPU can reach it itself."""
        hidden = vram_offset + size - max(vram_offset, self.gmc.gpu.access.visible_vram_bytes)
        if hidden <= WINDOW_BYTES:
            return None
        if self.gmc.copier is not None:
            return self.gmc.copier
        raise NotVisible(
            f"{doing} {self.name}",
            expected=f"at most {WINDOW_BYTES:#x} bytes of VRAM that BAR0 does not show",
            seen=f"{hidden:#x} bytes from {vram_offset:#x}; BAR0 shows {self.gmc.gpu.access.visible_vram_bytes:#x}",
            where=self.gmc.gpu.name,
            next_step="copy with SDMA, allocate with cpu=True, or make BAR0 larger (resizable BAR)",
        )


class Copier(Protocol):
    """Moves bytes between host and VRAM that the CPU cannot reach; what has an SDMA engine sets `Gmc.copier` to one.

    Any offset and size; done, and visible, when it returns."""

    def read_vram(self, vram_offset: int, size: int) -> bytes: ...

    def write_vram(self, vram_offset: int, data: bytes) -> None: ...


class VramBlock(_Memory):
    """Contiguous VRAM. `mc_addr` is where the firmware and the engines' VMID 0 find it."""

    kind = "VRAM block"

    def __init__(self, gmc: Gmc, allocation: Allocation, size: int, owner: str) -> None:
        super().__init__(gmc, size, owner)
        self.allocation = allocation
        self.vram_offset = allocation.start
        self.mc_addr = gmc.place.mc_base + allocation.start

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        size = self.size - offset if size is None else size
        self._check("reading", offset, size)
        return self._vram_read(iter(((self.vram_offset + offset, size),)))

    def write(self, offset: int, data: bytes, *, flush: bool = True) -> None:
        self._check("writing", offset, len(data))
        self._vram_write(iter(((self.vram_offset + offset, len(data)),)), data, flush)

    def fill(self, byte: int = 0, *, flush: bool = True) -> None:
        """Every byte of it."""
        self.write(0, bytes((byte,)) * self.size, flush=flush)

    def free(self) -> None:
        """Give it back. Nothing may use it any more."""
        self._check_not_freed()
        self.gmc._free_block(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.freed:
            self.free()


class Buffer(_Memory):
    """Memory at a GPU address, the same in VMID 0 and in the compute queues' VMID."""

    kind = "buffer"

    def __init__(
        self,
        gmc: Gmc,
        size: int,
        owner: str,
        where: Place,
        va: Allocation,
        *,
        vram: Allocation | None = None,
        host: DmaMemory | None = None,
        peer: Buffer | None = None,
    ) -> None:
        super().__init__(gmc, size, owner)
        self.where = where
        self.va = va
        self.gpu_va = va.start
        self.vram = vram
        self.host = host
        self.peer = peer
        self.mapped_by: list[Buffer] = []  # on other GPUs

    @property
    def cpu_visible(self) -> bool:
        """Whether the CPU reaches all of it, and fast."""
        if self.peer is not None:
            return self.peer.cpu_visible
        return self.vram is None or self.gmc.is_cpu_visible(self)

    @property
    def mc_addr(self) -> int | None:
        """Of VRAM in one piece: where firmware finds it; None of everything else."""
        if self.vram is None or not self.vram.contiguous:
            return None
        return self.gmc.place.mc_base + self.vram.start

    @property
    def extents(self) -> Sequence[tuple[int, int]]:
        """(VRAM offset, size) in order; of the GPU that it lies on. () for memory of the host."""
        if self.peer is not None:
            return self.peer.extents
        return self.vram.extents if self.vram is not None else ()

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        size = self.size - offset if size is None else size
        self._check("reading", offset, size)
        if self.host is not None:
            return self.host.read(offset, size)
        if self.peer is not None:
            return self.peer.read(offset, size)
        return self._vram_read(self._pieces(offset, size))

    def write(self, offset: int, data: bytes, *, flush: bool = True) -> None:
        self._check("writing", offset, len(data))
        if self.host is not None:
            self.host.write(offset, data)
        elif self.peer is not None:
            self.peer.write(offset, data, flush=flush)
        else:
            self._vram_write(self._pieces(offset, len(data)), data, flush)

    def fill(self, byte: int = 0, *, flush: bool = True) -> None:
        """Every byte of it, by the CPU."""
        for at in range(0, self.size, _CHUNK):
            self.write(at, bytes((byte,)) * min(_CHUNK, self.size - at), flush=False)
        if flush and self.host is None:
            (self.peer or self).gmc.flush_hdp()

    def free(self) -> None:
        """Unmap it and give it back; its memory is used again only after the TLBs were flushed."""
        self._check_not_freed()
        if self.mapped_by:
            raise StillMapped(
                f"freeing {self.name}",
                expected="no other GPU that has it mapped",
                seen=f"mapped by {', '.join(one.gmc.gpu.name for one in self.mapped_by)}",
                where=self.gmc.gpu.name,
                next_step="free the mappings of the peers first",
            )
        self.gmc._free_buffer(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.freed:
            self.free()

    def _pieces(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        """VRAM offsets and sizes of a range of the buffer."""
        if not size:
            return
        for start, length in self.extents:
            if offset >= length:
                offset -= length
                continue
            part = min(size, length - offset)
            yield start + offset, part
            size -= part
            offset = 0
            if not size:
                return
