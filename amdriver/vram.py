"""VRAM by offset: contiguous for what the hardware reads without page tables, else in as few pieces as it takes.

Source: Linux v7.3 amdgpu_vram_mgr.c (large requests in 2 MiB blocks, contiguous on demand), amdgpu_discovery.h (the
discovery table lies 64 KiB below the end of the VRAM), amdgpu_ttm.c amdgpu_ttm_init_fw_resv_region (what the firmware
keeps at the end). Offsets count from the start of this GPU's own VRAM.

Where BAR0 shows only the first part of VRAM (small BAR), that part is kept for what the CPU must touch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from amdriver.memory import PAGE_BYTES, PAGE_SHIFT, Allocation, OutOfVram, Range, RangeAllocator

DISCOVERY_FROM_END_BYTES: Final = 64 << 10
# What the kernel keeps at the end of VRAM on GC 9.4.3, 9.4.4 and 9.5.0 where it has no VBIOS to ask: the TMR and all else
# that the firmware keeps, the discovery table too.
FIRMWARE_BYTES: Final = 280 << 20


def discovery_range(vram_size_bytes: int) -> Range:
    """Where the discovery table lies: from 64 KiB below the end up to the end."""
    return Range(vram_size_bytes - DISCOVERY_FROM_END_BYTES, DISCOVERY_FROM_END_BYTES, "discovery table")


def firmware_range(vram_size_bytes: int) -> Range:
    """What the firmware keeps: the last 280 MiB, with the discovery table in it."""
    return Range(vram_size_bytes - FIRMWARE_BYTES, FIRMWARE_BYTES, "firmware and discovery table")


class VramAllocator(RangeAllocator):
    """The VRAM of one GPU. `reserved`: the discovery table, the TMR, what the firmware keeps.

    `allocate` and `allocate_at` give one run (rings, firmware, page tables); `allocate_scattered` is for what is
    reached through page tables only, and fails only when too little is free. `visible_bytes`: so much of it BAR0 shows,
    None: all; `cpu` asks for memory within that, else memory beyond it comes first."""

    kind = "VRAM"
    out_of_room = OutOfVram
    next_step = "free buffers that are not needed, or ask for scattered memory"

    def __init__(
        self, size: int, *, reserved: Iterable[Range] = (), where: str = "", visible_bytes: int | None = None
    ) -> None:
        super().__init__(0, size, reserved=reserved, where=where)
        self.visible_bytes = size if visible_bytes is None else min(size, visible_bytes)

    def allocate(self, size: int, alignment: int = PAGE_BYTES, *, owner: str = "", cpu: bool = True) -> Allocation:
        """One contiguous run; with `cpu`, one that BAR0 shows."""
        if self.visible_bytes == self.size:
            return super().allocate(size, alignment, owner=owner)
        doing = f"allocating {size:#x} bytes of {self.kind}" + (f" for {owner}" if owner else "")
        pages, aligned = self._check_request(doing, size, alignment)
        page = self._visible(pages, aligned) if cpu else self._hidden(pages, aligned)
        if page is None:
            raise (
                self._not_visible(doing, size, alignment)
                if cpu
                else self._no_room(doing, size, alignment, contiguous=True)
            )
        return self._hand_out(((page, pages),), owner)

    def allocate_scattered(self, size: int, alignment: int = PAGE_BYTES, *, owner: str = "") -> Allocation:
        """In one run if there is one, else in several: each starts aligned, all but the last have whole alignments.

        Of a small BAR, what BAR0 shows comes last."""
        doing = f"allocating {size:#x} bytes of {self.kind} in pieces" + (f" for {owner}" if owner else "")
        pages, aligned = self._check_request(doing, size, alignment)
        whole = self.visible_bytes == self.size
        page = self._contiguous(pages, aligned) if whole else self._hidden(pages, aligned)
        if page is not None:
            return self._hand_out(((page, pages),), owner)
        runs = self._pieces(pages, aligned)
        if runs is None:
            raise self._no_room(doing, size, alignment, contiguous=False)
        return self._hand_out(runs, owner)

    def _visible(self, pages: int, aligned: int) -> int | None:
        """A run that BAR0 shows."""
        return self._take_run(pages, aligned, 0, self.visible_bytes >> PAGE_SHIFT)

    def _hidden(self, pages: int, aligned: int) -> int | None:
        """A run beyond what BAR0 shows, else any."""
        page = self._take_run(pages, aligned, self.visible_bytes >> PAGE_SHIFT, None)
        return self._contiguous(pages, aligned) if page is None else page

    def _take_run(self, pages: int, aligned: int, low: int, high: int | None) -> int | None:
        page = self._buddy.find_run(pages, aligned, low, high)
        if page is not None:
            taken = self._buddy.take_at(page, pages)
            assert taken
        return page

    def _not_visible(self, doing: str, size: int, alignment: int) -> OutOfVram:
        return OutOfVram(
            doing,
            expected=f"{size:#x} bytes free in one run, aligned to {max(alignment, PAGE_BYTES):#x}, that BAR0 shows",
            seen=f"BAR0 shows {self.visible_bytes:#x} of {self.size:#x} bytes; {self.free_bytes:#x} bytes are free in all",
            where=self.where,
            next_step="make BAR0 as large as the VRAM (resizable BAR), or free what the CPU need not touch",
        )

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
