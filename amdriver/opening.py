"""Opening GPUs as a user does: one, or a hive side by side; and what can be said of it before anything is written.

Source: DESIGN section 5 (refusals and their exit codes), section 6 rule 9 (the lock)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

from amdriver.device import Device, require_drivable
from amdriver.opengpu import OpenGpu
from base.clock import Clock
from base.errors import GpumendError, Refused
from pcibus.lock import name_holder

if TYPE_CHECKING:
    from pcibus.transport import Transport


@dataclass(frozen=True, slots=True)
class Target:
    """A GPU to open: how it is reached, and on whose time."""

    transport: Transport
    clock: Clock


def open_gpu(
    transport: Transport,
    clock: Clock,
    *,
    firmware_dirs: Sequence[Path] | None = None,
    on_step: Callable[[str], None] | None = None,
    recovers: bool = False,
    slot: int | None = None,
) -> OpenGpu:
    """Bring it up. Raises what Device.open raises; nothing is left open then. `recovers` as OpenGpu has it, `slot` as Gmc."""
    device = Device.open(transport, clock, firmware_dirs=firmware_dirs, on_step=on_step, slot=slot)
    return OpenGpu(device, recovers=recovers)


def check_free(transport: Transport) -> None:
    """Refused while a kernel driver is bound or somebody holds the lock, or for a part that the driver cannot start.

    Looks only; between this and opening somebody else may come, and opening asks again."""
    require_drivable(transport.name, transport.info())
    holder = transport.holder()
    if holder is None:
        return
    raise Refused(
        f"opening {transport.name}",
        expected="nobody else drives this device",
        seen=f"held by {name_holder(holder)}",
        where=holder.path,
        next_step="end that process, or let it finish",
    )


class OpenHive(Sequence[OpenGpu]):
    """GPUs that were opened together, in the order given; a context manager that closes them all."""

    def __init__(self, gpus: Sequence[OpenGpu]) -> None:
        self._gpus = tuple(gpus)

    @overload
    def __getitem__(self, index: int) -> OpenGpu: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[OpenGpu]: ...
    def __getitem__(self, index: int | slice) -> OpenGpu | Sequence[OpenGpu]:
        return self._gpus[index]

    def __len__(self) -> int:
        return len(self._gpus)

    def __iter__(self) -> Iterator[OpenGpu]:
        return iter(self._gpus)

    def synchronize(self) -> None:
        """Wait for all that was queued on all of them."""
        for gpu in self._gpus:
            gpu.synchronize()

    def close(self) -> None:
        """Unmap what they have of each other, then close each; the first error is raised after all were tried."""
        failed: list[GpumendError] = []
        for gpu in self._gpus:
            _try(gpu.unmap_peers, failed, only=gpu.is_open)
        for gpu in self._gpus:
            _try(gpu.close, failed)
        if failed:
            raise failed[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except GpumendError as late:
            if error is None:
                raise
            error.add_note(f"closing them failed too: {late}")


def open_gpus(
    targets: Sequence[Target], *, firmware_dirs: Sequence[Path] | None = None, recovers: bool = False
) -> OpenHive:
    """Bring all up side by side. When one cannot be, the others are closed again and its error is raised."""
    clocks = {id(target.clock): target.clock for target in targets}
    opened: dict[int, OpenGpu] = {}
    failed: list[BaseException] = []
    for clock in clocks.values():
        group = [index for index, target in enumerate(targets) if target.clock is clock]
        works = [_opener(targets[index], firmware_dirs, recovers) for index in group]
        for index, outcome in zip(group, clock.run_together(works), strict=True):
            if outcome.value is not None:
                opened[index] = outcome.value
            elif outcome.error is not None:
                failed.append(outcome.error)
    hive = OpenHive([opened[index] for index in sorted(opened)])
    if not failed:
        return hive
    error = failed[0]
    try:
        hive.close()
    except GpumendError as late:
        error.add_note(f"closing the others failed too: {late}")
    raise error


def _opener(target: Target, firmware_dirs: Sequence[Path] | None, recovers: bool) -> Callable[[], OpenGpu]:
    return lambda: open_gpu(target.transport, target.clock, firmware_dirs=firmware_dirs, recovers=recovers)


def _try(work: Callable[[], None], failed: list[GpumendError], *, only: bool = True) -> None:
    if not only:
        return
    try:
        work()
    except GpumendError as error:
        failed.append(error)
