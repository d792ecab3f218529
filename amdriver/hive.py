"""Several GPUs of one hive: started side by side, made known to one another, closed together.

    with Hive.open(transports, clock) as hive:
        shared = hive.devices[0].gmc.alloc(1 << 20)
        near = hive.map_everywhere(shared)      # near[n] is what device n reaches it by

Source: Linux v7.3 amdgpu_xgmi.c amdgpu_xgmi_add_device (every member tells its firmware of every other),
gfxhub_v1_2.c gfxhub_v1_2_get_xgmi_info (distinct nodes of one FB range); DESIGN section 6 rules 6 and 7."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from amdriver.buffer import Buffer
from amdriver.device import Device
from amdriver.gmc import NotInHive
from amdriver.xgmi import Peer, join
from base.clock import Clock
from base.errors import GpumendError, InvalidData, UsageError
from pcibus.transport import Transport

OnStep = Callable[[str, str], None]


class Hive:
    """Made by `Hive.open`. `devices` in the order of the transports; `topology`: what each sees of the others, by node id."""

    def __init__(self, devices: Sequence[Device], clock: Clock) -> None:
        self.devices = tuple(devices)
        self.topology: dict[int, list[Peer]] = {}
        self._clock = clock

    @classmethod
    def open(
        cls,
        transports: Sequence[Transport],
        clock: Clock,
        *,
        firmware_dirs: Sequence[Path] | None = None,
        on_step: OnStep | None = None,
    ) -> Self:
        """Start all side by side. `on_step` gets a transport's name and the step before it.

        A hive may be opened in part. When one GPU cannot be started, or they do not belong together, all are closed
        again. Raises what Device.open raises (the first, with the others in its notes), NotInHive, InvalidData."""
        if not transports:
            raise UsageError("opening a hive", expected="at least one GPU", seen="none", next_step="gpumend list")
        works = [_opener(transport, clock, firmware_dirs, on_step) for transport in transports]
        outcomes = clock.run_together(works)
        hive = cls([outcome.value for outcome in outcomes if outcome.value is not None], clock)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        try:
            if errors:
                raise _first(errors)
            hive._join()
        except BaseException as error:
            hive._close_after(error)
            raise
        return hive

    def close(self) -> None:
        """What they have mapped of each other first, then all side by side; the first error is raised when all is done."""
        errors: list[BaseException] = []
        for device in self.devices:
            if not device.is_open:
                continue
            try:
                device.gmc.unmap_peers()
            except GpumendError as error:
                errors.append(error)
        outcomes = self._clock.run_together([device.close for device in self.devices])
        errors += [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:
            raise _first(errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._close_after(error)

    def map_everywhere(self, buffer: Buffer) -> tuple[Buffer, ...]:
        """A buffer as each device reaches it, in their order; on its own device it is itself.

        When one has no room, what was mapped by then is unmapped again. Free the others before the buffer."""
        near: list[Buffer] = []
        try:
            for device in self.devices:
                near.append(buffer if device.gmc is buffer.gmc else device.gmc.map_peer(buffer))
        except BaseException:
            for one in near:
                if one is not buffer:
                    one.free()
            raise
        return tuple(near)

    # ---- inside

    def _join(self) -> None:
        """One hive, no node twice; then the firmware of each is told of all."""
        if len(self.devices) < 2:
            return
        first = self.devices[0].gmc.place
        nodes: dict[int, str] = {first.node: self.devices[0].gpu.name}
        for device in self.devices[1:]:
            place, name = device.gmc.place, device.gpu.name
            if first.nodes > 1 and place.node in nodes and place.nodes == first.nodes:
                raise InvalidData(
                    "joining a hive",
                    expected="a node number of its own for each GPU",
                    seen=f"node {place.node} of {place.nodes} twice: {nodes[place.node]} and {name}",
                    where=name,
                    next_step="gpumend probe; are they of two hives? open one at a time",
                )
            if not first.is_beside(place):
                raise NotInHive(
                    "joining a hive",
                    expected=f"nodes of one hive: {first.nodes} nodes, FB {first.fb_base:#x}..{first.fb_top:#x}",
                    seen=f"{place.nodes} nodes, FB {place.fb_base:#x}..{place.fb_top:#x}",
                    where=name,
                    next_step="gpumend list tells the hives apart; open one at a time",
                )
            nodes[place.node] = name
        sessions = [device.xgmi for device in self.devices if device.xgmi is not None]
        if len(sessions) == len(self.devices):
            self.topology = join(sessions)

    def _close_after(self, error: BaseException) -> None:
        try:
            self.close()
        except GpumendError as late:
            error.add_note(f"closing failed too: {late}")


def _opener(
    transport: Transport, clock: Clock, firmware_dirs: Sequence[Path] | None, on_step: OnStep | None
) -> Callable[[], Device]:
    def step(name: str) -> None:
        if on_step is not None:
            on_step(transport.name, name)

    return lambda: Device.open(transport, clock, firmware_dirs=firmware_dirs, on_step=step)


def _first(errors: Sequence[BaseException]) -> BaseException:
    """The first, with what the others came to in its notes."""
    for other in errors[1:]:
        errors[0].add_note(f"and on another GPU: {other}")
    return errors[0]
