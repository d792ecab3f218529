"""Memory as the waves of one dispatch see it: pages are fetched when they are first touched, and what was written goes back
at the end.

A dispatch runs to its end in one go, so nobody sees the difference, and a gather of many lanes is one NumPy operation. The
address space is cut into windows of 256 MiB, each as large an array that takes real memory only where it is touched. Which
bytes were written is known to the byte: neighbours on the same page may be the host's."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gpumodel.memory import Mapped

Array = npt.NDArray[Any]

_MAP_FIXED = 0x10  # Linux, asm-generic/mman-common.h

PAGE_SHIFT = 12
PAGE = 1 << PAGE_SHIFT
WINDOW_SHIFT = 28
WINDOW = 1 << WINDOW_SHIFT
MOST_RUNS = 64  # pieces of one page that are written back one by one
MANY_PAGES = 8
MOST_WINDOWS = 64  # that are kept from one dispatch to the next
MOST_PAGES = 1 << 20  # 4 GiB of pages held: a dispatch that touches more is not for a model
UNKNOWN, READ, WRITTEN, DIRECT = range(4)  # of a page: DIRECT is the memory itself, which may be written; READ can be


class Behind(Protocol):
    """Memory by address; raises what it likes for one that does not exist. If it has `mapped` (gmc.py), memory that lies in a
    file is not copied; if it has `remembered`, where that is stays known to the next dispatch; if it has `there`, a look ahead
    is no fault."""

    def read(self, address: int, size: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...


class TooMuch(Exception):
    """A dispatch touched more memory than a model holds."""


class Window:
    """`state` of its pages, its bytes, and 0xFF for each byte of a copy that was written (`copied`: there are such pages,
    else `dirty` is empty), each also as dwords. `copies`: runs of pages, first and count; `temporary`: it is not kept."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.state = np.zeros(WINDOW >> PAGE_SHIFT, np.uint8)
        self.bytes = np.frombuffer(mmap.mmap(-1, WINDOW, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
        self.address = int(self.bytes.ctypes.data)
        self.copies: list[tuple[int, int]] = []
        self.copied = False
        self.temporary = False
        self.known = [(1, 0), (1, 0)]  # pages, first and last, that were last found to be read, and written
        self.halves = self.bytes.view(np.uint16)
        self.words = self.bytes.view(np.uint32)
        self._mark_by(np.zeros(0, np.uint8))

    def _mark_by(self, dirty: Array) -> None:
        self.dirty = dirty
        self.dirty_halves, self.dirty_words = dirty.view(np.uint16), dirty.view(np.uint32)

    def will_be_written(self, first: int, count: int) -> None:
        """Copies, which go back."""
        if not len(self.dirty):
            self._mark_by(np.zeros(WINDOW, np.uint8))
        self.state[first : first + count] = WRITTEN
        self.copied = True

    def forget_copies(self) -> None:
        """They are clean; what they were made of may change now."""
        for first, count in self.copies:
            state = self.state[first : first + count]
            state[state < DIRECT] = UNKNOWN
        if self.copies:
            self.known = [(1, 0), (1, 0)]
        self.copies.clear()
        self.copied = False

    def overlay(self, place: Mapped, first: int, end: int) -> None:
        """The pages of the window from `first` to `end` become a piece of that file. Raises OSError."""
        at = place.offset + self.base + (first << PAGE_SHIFT) - place.first
        size = end - first << PAGE_SHIFT
        access = mmap.PROT_READ | (mmap.PROT_WRITE if place.writable else 0)
        got = _libc().mmap(
            self.address + (first << PAGE_SHIFT), size, access, mmap.MAP_SHARED | _MAP_FIXED, place.fd, at
        )
        if got != self.address + (first << PAGE_SHIFT):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.temporary |= not place.own
        self.state[first:end] = DIRECT if place.writable else READ


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    return library


class Offsets:
    """What accesses of `size` bytes each (1, 2 or whole dwords) add to their bases: uint64, of which negative ones wrap.
    `which`: of each access, the number of its base."""

    def __init__(self, offsets: list[int], which: list[int], size: int) -> None:
        numbers = [offset - (1 << 64) if offset >> 63 else offset for offset in offsets]
        self.unit = min(size, 4)
        self.shift = self.unit // 2
        self.which = np.array(which) if any(which) else None
        self.aligned = all(number % self.unit == 0 for number in numbers)
        own = [
            [number for number, one in zip(numbers, which, strict=True) if one == base] for base in sorted(set(which))
        ]
        self.ranges = [(min(some), max(some) + size - 1) for some in own]
        places = (np.array(numbers)[:, None] >> self.shift) + np.arange(max(1, size // 4))
        self.places = places[:, :, None, None]


class WaveMemory:
    """`stores` counts what was written, so that a loop that waits for a change knows when there was none."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind
        self._mapped: Callable[[int, bool], Mapped | None] | None = getattr(behind, "mapped", None)
        remembered = getattr(behind, "remembered", None)
        self.windows: dict[int, Window] = {} if remembered is None else remembered()  # by address >> WINDOW_SHIFT
        if len(self.windows) > MOST_WINDOWS:
            self.windows.clear()
        self._last: Window | None = None
        self._pages = 0
        self.stores = 0

    # ---- what instructions do. Addresses uint64 of any shape, every one of them meant.

    def load(self, address: Array, dwords: int) -> list[Array]:
        """Whole dwords."""
        window = self._one_window(address, 4 * dwords, False)
        if window is None:
            return [self._load_slowly(address + np.uint64(4 * place), 4) for place in range(dwords)]
        offset = (address - np.uint64(window.base)).astype(np.int64)
        if offset.size and np.bitwise_or.reduce(offset, axis=None) & 3:
            return [self._load_slowly(address + np.uint64(4 * place), 4) for place in range(dwords)]
        index = offset >> 2
        words = window.words
        return [words.take(index + place if place else index) for place in range(dwords)]

    def load_small(self, address: Array, size: int) -> Array:
        """One or two bytes, zero-extended."""
        window = self._one_window(address, size, False)
        if window is None:
            return self._load_slowly(address, size)
        offset = (address - np.uint64(window.base)).astype(np.int64)
        if size == 1:
            return window.bytes.take(offset).astype(np.uint32)
        if offset.size and np.bitwise_or.reduce(offset, axis=None) & 1:
            return self._load_slowly(address, size)
        return window.halves.take(offset >> 1).astype(np.uint32)

    def store(self, address: Array, values: list[Array]) -> None:
        """Whole dwords; of lanes with the same address the last one counts. One dimension."""
        if not address.size:
            return
        self.stores += 1
        window = self._one_window(address, 4 * len(values), True)
        if window is not None:
            offset = (address - np.uint64(window.base)).astype(np.int64)
            if not np.bitwise_or.reduce(offset, axis=None) & 3:
                index = offset >> 2
                for place, value in enumerate(values):
                    at = index + place if place else index
                    window.words[at] = value
                    if window.copied:
                        window.dirty_words[at] = 0xFFFFFFFF
                return
        for place, value in enumerate(values):
            self._store_slowly(address + np.uint64(4 * place), value, 4)

    def store_small(self, address: Array, value: Array, size: int) -> None:
        """The low one or two bytes of each."""
        if not address.size:
            return
        self.stores += 1
        window = self._one_window(address, size, True)
        if window is not None:
            offset = (address - np.uint64(window.base)).astype(np.int64)
            if size == 1:
                window.bytes[offset] = value.astype(np.uint8)
                if window.copied:
                    window.dirty[offset] = 0xFF
                return
            if not np.bitwise_or.reduce(offset, axis=None) & 1:
                index = offset >> 1
                window.halves[index] = value.astype(np.uint16)
                if window.copied:
                    window.dirty_halves[index] = 0xFFFF
                return
        self._store_slowly(address, value, size)

    def _at_hand(self, bases: Array, offsets: Offsets, write: bool) -> tuple[Window, Array] | None:
        """The window, and places [accesses][dwords][waves][lanes] in units of the access: of the first accesses, as many as are
        aligned and have all of their pages there, so that they cannot fail."""
        window = self._last
        if window is None:
            return None
        start = (bases - np.uint64(window.base)).view(np.int64)
        if not offsets.aligned or (offsets.unit > 1 and np.bitwise_or.reduce(start, axis=None) & offsets.unit - 1):
            return None
        wanted, there = (WRITTEN if write else READ), True
        for base, (lowest, highest) in zip(start, offsets.ranges, strict=True):
            low, high = int(base.min()) + lowest, int(base.max()) + highest
            if low < 0 or high >= WINDOW:
                return None
            known = window.known[write]
            first, last = low >> PAGE_SHIFT, high >> PAGE_SHIFT
            if there and not (known[0] <= first and last <= known[1]):
                there = bool(window.state[first : last + 1].min() >= wanted)
        place = start >> offsets.shift if offsets.shift else start
        index = (place if offsets.which is None else place[offsets.which])[:, None] + offsets.places
        if there:
            return window, index
        ready = window.state.take(index >> PAGE_SHIFT - offsets.shift).reshape(len(index), -1).min(axis=1) >= wanted
        return window, index if ready.all() else index[: int(ready.argmin())]

    def load_at_hand(self, bases: Array, offsets: Offsets) -> Array:
        """Several accesses at once, the first that are at hand: uint32 [accesses * dwords][waves][lanes], zero-extended.
        `bases`: addresses [bases][waves][lanes], to which the offsets are added."""
        there = self._at_hand(bases, offsets, False)
        if there is None:
            return np.zeros((0, 1, 1), np.uint32)
        window, index = there
        values = (window.bytes, window.halves, window.words)[offsets.shift].take(index)
        return values.reshape(-1, *index.shape[2:]).astype(np.uint32, copy=False)

    def store_at_hand(self, bases: Array, offsets: Offsets, values: Callable[[], list[Array]]) -> int:
        """The same, in their order; how many were done. `values`: [accesses * dwords] of [waves][lanes]."""
        there = self._at_hand(bases, offsets, True)
        if there is None or not len(there[1]):
            return 0
        window, index = there
        self.stores += 1
        data, flat = np.concatenate(values()).reshape(-1)[: index.size], index.reshape(-1)
        place = (window.bytes, window.halves, window.words)[offsets.shift]
        place[flat] = data.astype(place.dtype)
        if window.copied:
            marks = (window.dirty, window.dirty_halves, window.dirty_words)[offsets.shift]
            marks[flat] = np.iinfo(marks.dtype).max
        return len(index)

    def atomic(self, flat: Array, size: int, change: Callable[[Array, Array], Array]) -> Array:
        """`change(old, which)` gives what is stored, one after the other where addresses are the same; what was there comes
        back as uint64. `which`: places in the array of addresses, which has one dimension."""
        old = np.zeros(len(flat), np.uint64)
        self.stores += 1
        left = np.arange(len(flat))
        while len(left):
            _, first = np.unique(flat[left], return_index=True)  # the first lane of each address
            now = left[first]
            words = self.load(flat[now], size // 4)
            value = words[0].astype(np.uint64)
            if size == 8:
                value |= words[1].astype(np.uint64) << np.uint64(32)
            old[now] = value
            new = change(value, now)
            self.store(flat[now], [new.astype(np.uint32), (new >> np.uint64(32)).astype(np.uint32)][: size // 4])
            keep = np.ones(len(left), bool)
            keep[first] = False
            left = left[keep]
        return old

    # ---- code and other small things

    def read(self, address: int, size: int) -> bytes:
        """As the waves see it now."""
        parts = []
        end = address + size
        while address < end:
            here = min(end, (address >> WINDOW_SHIFT) + 1 << WINDOW_SHIFT) - address
            window = self._window(address)
            offset = address - window.base
            self._prepare(
                window, np.arange(offset >> PAGE_SHIFT, (offset + here - 1 >> PAGE_SHIFT) + 1), address, False
            )
            parts.append(window.bytes[offset : offset + here].tobytes())
            address += here
        return b"".join(parts)

    def flush(self) -> None:
        """What was written goes to where it belongs, and copies are forgotten: the end of a dispatch. If memory takes no more,
        nothing is kept."""
        try:
            self._write_copies()
        except BaseException:
            self.windows.clear()
            raise
        for number in [number for number, window in self.windows.items() if window.temporary]:
            del self.windows[number]

    # ---- inside

    def _write_copies(self) -> None:
        for window in self.windows.values():
            for first, count in runs(np.flatnonzero(window.state == WRITTEN)) if window.copied else ():
                piece = slice(first << PAGE_SHIFT, first + count << PAGE_SHIFT)
                if window.dirty[piece].all():
                    self._run(window.base + piece.start, window.bytes[piece].tobytes())
                    window.dirty[piece] = 0
                else:
                    for page in range(first, first + count):
                        self._write_back(window, page)
            window.forget_copies()
        self._flush_runs()

    def _window(self, address: int) -> Window:
        number = address >> WINDOW_SHIFT
        window = self.windows.get(number)
        if window is None:
            window = self.windows[number] = Window(number << WINDOW_SHIFT)
        return window

    def _one_window(self, address: Array, size: int, write: bool) -> Window | None:
        """The window that holds all of it, with its pages there; None when there are several."""
        if not address.size:
            return self._last or self._window(0)
        low, high = int(address.min()), int(address.max()) + size - 1
        window = self._last
        if window is None or not window.base <= low < window.base + WINDOW:
            window = self._last = self._window(low)
        if high >= window.base + WINDOW:
            return None
        first, last = low - window.base >> PAGE_SHIFT, high - window.base >> PAGE_SHIFT
        wanted = WRITTEN if write else READ
        known = window.known[write]
        if known[0] <= first and last <= known[1]:
            return window
        if window.state[first : last + 1].min() >= wanted:
            window.known[write] = first, last
        else:
            pages = np.arange(first, last + 1)
            if first != last:
                offset = (address.reshape(-1) - np.uint64(window.base)).astype(np.int64)
                touched = np.zeros(last + 1 - first, bool)
                touched[(offset >> PAGE_SHIFT) - first] = True
                touched[(offset + (size - 1) >> PAGE_SHIFT) - first] = True
                pages = pages[touched]
            self._prepare(window, pages, low, write)
        return window

    def _prepare(self, window: Window, pages: Array, lowest: int, write: bool) -> None:
        """Fetch pages that are not there, and ask whether they can be written. `lowest`: the first address that is meant, so
        that a fault names it."""
        if self._mapped is not None:
            self._overlay(window, pages, lowest, write)
        for first, count in runs(pages[window.state[pages] == UNKNOWN]):
            self._pages += count
            if self._pages > MOST_PAGES:
                raise TooMuch(f"a dispatch that touches more than {MOST_PAGES * PAGE >> 30} GiB")
            start = window.base + (first << PAGE_SHIFT)
            end = start + (count << PAGE_SHIFT)
            begin = max(start, lowest) if lowest < end else start
            data = self._behind.read(begin, end - begin)
            if begin > start:
                data = self._behind.read(start, begin - start) + data
            window.bytes[first << PAGE_SHIFT : first + count << PAGE_SHIFT] = np.frombuffer(data, np.uint8)
            window.state[first : first + count] = READ
            window.copies.append((first, count))
        if not write:
            return
        for first, count in runs(pages[window.state[pages] == READ]):
            # What is there, as it is: only whether it can be. A word of each page, unless there are so many that they are
            # a buffer of this dispatch's own.
            step, length = (PAGE, 4) if count < MANY_PAGES else (count << PAGE_SHIFT, count << PAGE_SHIFT)
            for offset in range(first << PAGE_SHIFT, first + count << PAGE_SHIFT, step):
                at = max(offset, min(lowest - window.base, offset + PAGE - 4)) & ~3
                self._behind.write(window.base + at, window.bytes[at : min(at + length, offset + step)].tobytes())
            window.will_be_written(first, count)

    def _overlay(self, window: Window, pages: Array, lowest: int, write: bool) -> None:
        """As many of the pages as can be the memory itself."""
        wanted = WRITTEN if write else READ
        for page in pages[window.state[pages] < wanted].tolist():
            if self._mapped is None:
                return
            if window.state[page] >= wanted:
                continue  # a neighbour brought it
            start = window.base + (page << PAGE_SHIFT)
            place = self._mapped(max(start, lowest) if lowest < start + PAGE else start, write)
            if place is not None:
                self._put_over(window, place, page)

    def _put_over(self, window: Window, place: Mapped, page: int) -> bool:
        """All that the place has of a window, but for copies that will be written back. False: it cannot be."""
        first = max(place.first - window.base, 0) >> PAGE_SHIFT
        end = min(place.end - window.base, WINDOW) >> PAGE_SHIFT
        if window.copied and (window.state[first:end] == WRITTEN).any():
            first, end = page, page + 1
        try:
            window.overlay(place, first, end)
        except OSError:  # there is a limit to how many maps a process has
            self._mapped = None
            return False
        return True

    def there(self, address: int) -> bool:
        """Whether a read would find something; memory that cannot be asked is read."""
        window = self.windows.get(address >> WINDOW_SHIFT)
        if window is not None and window.state[address - window.base >> PAGE_SHIFT] >= READ:
            return True
        there: Callable[[int], bool] | None = getattr(self._behind, "there", None)
        if there is not None:
            return there(address)
        try:
            self.read(address, 1)
        except Exception:  # noqa: BLE001  # memory raises what it likes
            return False
        return True

    def bring(self, address: int, write: bool) -> bool:
        """Makes the page of an address the memory itself, if it is not there and can be. Raises what memory raises."""
        window = self._window(address)
        page = address - window.base >> PAGE_SHIFT
        if self._mapped is None or window.state[page] >= (WRITTEN if write else READ):
            return False
        place = self._mapped(address, write)
        return place is not None and self._put_over(window, place, page)

    def _load_slowly(self, address: Array, size: int) -> Array:
        """Byte by byte, in any window."""
        value = np.zeros(address.shape, np.uint32)
        for place in range(size):
            for chosen, part, window in self._by_window(address + np.uint64(place), False):
                value[chosen] |= window.bytes.take(part).astype(np.uint32) << np.uint32(8 * place)
        return value

    def _store_slowly(self, address: Array, value: Array, size: int) -> None:
        for place in range(size):
            data = (value >> np.uint32(8 * place)).astype(np.uint8)
            for chosen, part, window in self._by_window(address + np.uint64(place), True):
                window.bytes[part] = data[chosen]
                if window.copied:
                    window.dirty[part] = 0xFF

    def _by_window(self, address: Array, write: bool) -> Iterator[tuple[Array, Array, Window]]:
        """(which lanes, offsets, window)."""
        numbers = address >> np.uint64(WINDOW_SHIFT)
        for number in np.unique(numbers):
            chosen = numbers == number
            part = address[chosen]
            window = self._one_window(part, 1, write)
            assert window is not None
            yield chosen, (part - np.uint64(window.base)).astype(np.int64), window

    def _write_back(self, window: Window, page: int) -> None:
        dirty = window.dirty[page << PAGE_SHIFT : page + 1 << PAGE_SHIFT]
        start = window.base + (page << PAGE_SHIFT)
        data = window.bytes[page << PAGE_SHIFT : page + 1 << PAGE_SHIFT]
        if dirty.all():
            self._run(start, data.tobytes())
        else:
            edges = np.flatnonzero(np.diff(dirty, prepend=0, append=0))
            pieces = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
            if len(pieces) > MOST_RUNS:
                fresh = np.frombuffer(self._behind.read(start, PAGE), np.uint8)
                self._run(start, np.where(dirty, data, fresh).tobytes())
            else:
                for first, last in pieces:
                    self._run(start + first, data[first:last].tobytes())
        dirty[:] = 0

    _open: tuple[int, list[bytes], int] | None = None  # a piece that the next one may continue: start, parts, end

    def _run(self, address: int, data: bytes) -> None:
        if self._open is not None and self._open[2] == address:
            start, parts, end = self._open
            parts.append(data)
            self._open = (start, parts, end + len(data))
            return
        self._flush_runs()
        self._open = (address, [data], address + len(data))

    def _flush_runs(self) -> None:
        if self._open is not None:
            address, parts, _ = self._open
            self._open = None
            self._behind.write(address, b"".join(parts))


def runs(pages: Array) -> Iterator[tuple[int, int]]:
    """(first, count) of pages that follow each other; `pages` rises."""
    if not len(pages):
        return
    breaks = np.flatnonzero(np.diff(pages) != 1) + 1
    starts = np.concatenate(([0], breaks))
    ends = np.concatenate((breaks, [len(pages)]))
    for start, end in zip(starts, ends, strict=True):
        yield int(pages[start]), int(end - start)
