"""VRAM by offset: contiguous for what the hardware reads without page tables, else in as few pieces as it takes.

Source: Linux v7.3 amdgpu_vram_mgr.c (large requests in 2 MiB blocks, contiguous on demand), amdgpu_discovery.h (the
discovery table lies 64 KiB below the end of the VRAM). Offsets count from the start of this GPU's own VRAM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from amdriver.memory import PAGE_BYTES, Allocation, OutOfVram, Range, RangeAllocator

DISCOVERY_FROM_END_BYTES: Final = 64 << 10


def discovery_range(vram_size_bytes: int) -> Range:
    """Where the discovery table lies: from 64 KiB below the end up to the end."""
    return Range(vram_size_bytes - DISCOVERY_FROM_END_BYTES, DISCOVERY_FROM_END_BYTES, "discovery table")


class VramAllocator(RangeAllocator):
    """The VRAM of one GPU. `reserved`: the discovery table, the TMR, what the firmware keeps.

    `allocate` and `allocate_at` give one run (rings, firmware, page tables); `allocate_scattered` is for what is
    reached through page tables only, and fails only when too little is free."""

    kind = "VRAM"
    out_of_room = OutOfVram
    next_step = "free buffers that are not needed, or ask for scattered memory"

    def __init__(self, size: int, *, reserved: Iterable[Range] = (), where: str = "") -> None:
        super().__init__(0, size, reserved=reserved, where=where)

    def allocate_scattered(self, size: int, alignment: int = PAGE_BYTES, *, owner: str = "") -> Allocation:
        """In one run if there is one, else in several: each starts aligned, all but the last have whole alignments."""
        doing = f"allocating {size:#x} bytes of {self.kind} in pieces" + (f" for {owner}" if owner else "")
        pages, aligned = self._check_request(doing, size, alignment)
        page = self._contiguous(pages, aligned)
        if page is not None:
            return self._hand_out(((page, pages),), owner)
        runs = self._pieces(pages, aligned)
        if runs is None:
            raise self._no_room(doing, size, alignment, contiguous=False)
        return self._hand_out(runs, owner)

    def _pieces(self, pages: int, aligned: int) -> list[tuple[int, int]] | None:
        """The largest blocks first; None, and nothing taken, when they do not suffice.

        Mapped in this order, each piece lies at a virtual address that its size divides: the largest fragments."""
        runs: list[tuple[int, int]] = []
        while pages:
            run = self._piece(pages, aligned)
            if run is None:
                for page, count in runs:
                    self._buddy.give(page, count)
                return None
            if runs and sum(runs[-1]) == run[0]:
                runs[-1] = (runs[-1][0], runs[-1][1] + run[1])
            else:
                runs.append(run)
            pages -= run[1]
        return runs

    def _piece(self, pages: int, aligned: int) -> tuple[int, int] | None:
        """At most so many pages, aligned at their start."""
        least = aligned.bit_length() - 1
        order = min(self._buddy.largest_order(), max(pages.bit_length() - 1, least))
        if order < least:
            return self._last_piece(pages, aligned)
        block = self._buddy.take(order)
        assert block is not None
        count = min(pages, 1 << order)
        if tail := (1 << order) - count:
            self._buddy.give(block + count, tail)
        return block, count

    def _last_piece(self, pages: int, aligned: int) -> tuple[int, int] | None:
        """For what is left when every block is smaller than the alignment: a free run may still start aligned."""
        run = self._buddy.find_run(pages, aligned) if pages <= aligned else None
        if run is None:
            return None
        taken = self._buddy.take_at(run, pages)
        assert taken
        return run, pages
