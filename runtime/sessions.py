"""What tinygrad's AMD and NV devices on our drivers have in common: which GPUs there are and how they are counted, that one
process uses them, and how a device of ours is put into tinygrad's table and taken out again."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import gpumend
from base.errors import Refused, Unavailable, UsageError

if TYPE_CHECKING:
    from gpumend import Gpu

Opened = TypeVar("Opened")


class GpuSession(ABC, Generic[Opened]):
    """The GPUs of one `install`, opened when they are first used. `gpus` holds those by their index at the address."""

    word: ClassVar[str]  # tinygrad's for the device: AMD, NV
    vendor: ClassVar[str]
    example: ClassVar[tuple[str, str]]  # addresses, for who has given none: of a real one, of a model

    def __init__(self, on: str | None, number: int) -> None:
        self.on = on
        self.number = number
        self.gpus: dict[int, Opened] = {}
        self.pid = os.getpid()
        self._found: list[Gpu] | None = None

    @abstractmethod
    def is_ours(self, gpu: Gpu) -> bool:
        """Whether it is of the vendor."""

    @abstractmethod
    def close(self) -> None:
        """All GPUs, the first error raised after all were tried. In a forked child: nothing."""

    def found(self) -> list[Gpu]:
        """The vendor's GPUs at the address. Raises Unavailable when there is none."""
        if self._found is None:
            self._found = [one for one in gpumend.list_gpus([self.on] if self.on else ()) if self.is_ours(one)]
        if not self._found:
            real, model = self.example
            raise Unavailable(
                "looking for a GPU for tinygrad",
                expected=f"{self.vendor} GPU on this machine's PCI bus",
                seen="none",
                next_step=f"say where it is: GPUMEND_ON={real}; without one: GPUMEND_ON='{model}'",
            )
        return self._found

    def choose(self, index: int, narrow: Callable[[list[Gpu]], list[Gpu]]) -> tuple[Gpu, int]:
        """The GPU that tinygrad counts as `index`, and how many there are. Raises Refused, Unavailable."""
        self.require_own_process()
        there = narrow(self.found())
        if 0 <= index < len(there):
            return there[index], len(there)
        raise Unavailable(
            f"opening {self.word}:{index}",
            expected=f"a GPU of that number at {self.on or os.environ.get('GPUMEND_ON') or 'the PCI bus'}",
            seen=f"{len(there)}, counted from {self.word}:0",
            next_step="gpumend list",
        )

    @property
    def is_own_process(self) -> bool:
        return os.getpid() == self.pid

    def require_own_process(self) -> None:
        """Refused in a process that was forked after the GPUs were opened: two of them would write one ring."""
        if self.is_own_process:
            return
        raise Refused(
            "using a GPU after fork",
            expected=f"the process that opened it ({self.pid})",
            seen=f"its child {os.getpid()}",
            next_step="fork before the first use of the GPU, or start the child anew (multiprocessing: spawn)",
        )


def require_once(active: GpuSession[Any] | None, module: str) -> None:
    """Raises UsageError when something is installed already."""
    if active is not None:
        raise UsageError(
            "installing gpumend into tinygrad",
            expected="once",
            seen=f"it is installed, on {active.on or 'the default address'}",
            next_step=f"{module}.uninstall() first",
        )


def put_in_place(word: str, backend: Any, device: type, interface: Any, session: GpuSession[Any]) -> None:
    """tinygrad finds `device` from now on. `backend`: its module of that kind of device.

    Raises UsageError when tinygrad has opened one of its own."""
    from tinygrad.device import Device

    opened = _opened(word)
    if opened:
        raise UsageError(
            "installing gpumend into tinygrad",
            expected=f"before tinygrad opens an {word} device",
            seen=f"{', '.join(opened)} opened",
            next_step="install at the start of the program, or run it by: gpumend tinygrad SCRIPT",
        )
    interface.session = session
    setattr(backend, f"{word}Device", device)
    Device.get_class.cache_clear()


def take_away(
    word: str, backend: Any, original: type, session: GpuSession[Any], groups: Callable[[], Iterable[str]]
) -> None:
    """Close what is open, and let tinygrad find its own again; `groups`: names of our devices' peer groups. The first error
    is raised after all was done."""
    from tinygrad.device import Device
    from tinygrad.runtime.support.hcq import HCQCompiled

    names = _opened(word)
    theirs = list(groups()) if names else []
    try:
        for name in names if session.is_own_process else ():
            Device[name].finalize()
    finally:
        Device._opened_devices -= set(names)
        setattr(backend, f"{word}Device", original)
        Device.get_class.cache_clear()
        # tinygrad has no public way to forget a device
        type(Device)._Device__get_canonicalized_item.cache_clear()
        pools: tuple[dict[str, Any], ...] = (HCQCompiled.peer_groups, HCQCompiled.signal_pages, HCQCompiled.signal_pool)
        for pool in pools:
            for group in theirs:
                pool.pop(group, None)
        session.close()


def _opened(word: str) -> list[str]:
    from tinygrad.device import Device

    return sorted(name for name in Device._opened_devices if name.split(":")[0] == word)
