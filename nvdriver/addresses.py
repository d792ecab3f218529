"""GPU addresses: which are taken. First fit; what is freed is joined with its neighbours."""

from __future__ import annotations

from bisect import bisect_left

from base.errors import OutOfMemory

FIRST, END = 0x10_0000_0000, 1 << 40  # ring entries and QMDs name addresses of 40 bits


class Addresses:
    """Ranges from `first` to `end` (bytes)."""

    def __init__(self, first: int = FIRST, end: int = END) -> None:
        self._free: list[tuple[int, int]] = [(first, end)]  # ascending, never touching each other

    def take(self, size: int, alignment: int) -> int:
        """The lowest address with room. Raises OutOfMemory."""
        for place, (start, end) in enumerate(self._free):
            at = -(-start // alignment) * alignment
            if at + size <= end:
                self._free[place : place + 1] = [
                    piece for piece in ((start, at), (at + size, end)) if piece[0] < piece[1]
                ]
                return at
        raise OutOfMemory(
            f"choosing GPU addresses for {size} bytes",
            expected="as many free addresses",
            seen=f"at most {max((end - start for start, end in self._free), default=0)} in one piece",
            next_step="free what is not needed any more",
        )

    def give(self, address: int, size: int) -> None:
        """What `take` gave."""
        start, end = address, address + size
        place = bisect_left(self._free, (start, end))
        if place < len(self._free) and self._free[place][0] == end:
            end = self._free.pop(place)[1]
        if place and self._free[place - 1][1] == start:
            place -= 1
            start = self._free.pop(place)[0]
        self._free.insert(place, (start, end))
