"""One GPU as every block of the driver sees it: how it is reached, what it is made of, whose time passes.

Source: amd-bringup.md section 2 (all ones: ask config space), section 12 (limits of waits)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from amdriver.access import Access
from amdriver.ip_map import IpInstance, IpMap
from amdriver.parts import Part
from base.clock import Clock, Outcome
from base.errors import DeviceLost, Unavailable, WaitTimeout
from base.poll import poll
from pcibus.transport import ALL_ONES
from registers.core import RegisterBlock

LOOK_S = 1.0  # how long a wait goes on before it asks whether the device is still there

T = TypeVar("T")
V = TypeVar("V")
B = TypeVar("B", bound=RegisterBlock)


class _InterruptClock:
    """A clock whose pauses end when an interrupt comes."""

    def __init__(self, clock: Clock, wait_interrupt: Callable[[float], object]) -> None:
        self._clock = clock
        self._wait_interrupt = wait_interrupt

    def now(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        self._wait_interrupt(seconds)

    def run_together(self, callables: Sequence[Callable[[], V]]) -> list[Outcome[V]]:
        return self._clock.run_together(callables)


class Gpu:
    """Making one touches no hardware. `place`: which node of how many, filled in by gmc from XGMI_LFB_CNTL."""

    def __init__(self, access: Access, clock: Clock, ip: IpMap, part: Part) -> None:
        self.access = access
        self.transport = access.transport
        self.clock = clock
        self.ip = ip
        self.part = part
        # Where interrupts reach us (VFIO): sleep until one comes, at most so many seconds. Waits with `interruptible` use it
        # in place of the clock's sleep, and look again after each; None: they poll with back-off.
        self.wait_interrupt: Callable[[float], object] | None = None

    @property
    def name(self) -> str:
        """The address that reaches it."""
        return self.transport.name

    def instance(self, ip_name: str, number: int = 0) -> IpInstance:
        """An IP instance by physical number; Unavailable when discovery did not list it."""
        found = self.ip.get(ip_name, number)
        if found is None:
            raise Unavailable(
                f"looking for {ip_name}[{number}]",
                expected="an entry in the discovery table",
                seen="there is none",
                where=self.name,
                next_step="gpumend discovery show",
            )
        return found

    def block(self, kind: type[B], ip_name: str, number: int = 0) -> B:
        """The registers of one IP instance, bound: `gpu.block(Gc, "GC", xcc).RLC_CNTL.read()`."""
        return kind(self.access, self.instance(ip_name, number).bases, f"{ip_name}[{number}]")

    def block_on_aid(self, kind: type[B], ip_name: str, aid: int) -> B:
        """The registers of instance 0 as they stand on another AID, reached by SMN (NBIO, MP0, XGMI, UMC, DF)."""
        if aid == 0:
            return self.block(kind, ip_name)
        return kind(self.access.smn_bus(aid), self.instance(ip_name).bases, f"{ip_name}@AID{aid}")

    def wait(
        self,
        read: Callable[[], T],
        until: Callable[[T], bool],
        *,
        doing: str,
        expected: str,
        timeout_s: float,
        where: str = "",
        next_step: str = "",
        show: Callable[[T], str] = str,
        first_pause_s: float = 20e-6,
        longest_pause_s: float = 10e-3,
        interruptible: bool = False,
    ) -> T:
        """base.poll.poll on this GPU's clock. When config space reads all ones, DeviceLost instead: asked once a second, so
        that nobody waits minutes for a device that is gone, and when the time is up. Not for waits across a reset.

        `interruptible`: what is awaited comes with an interrupt; where there are any, pauses end early."""
        clock = self.clock
        look_again = clock.now() + LOOK_S

        def look() -> T:
            nonlocal look_again
            value = read()
            if clock.now() >= look_again:
                self.require_present(doing)
                look_again = clock.now() + LOOK_S
            return value

        if interruptible and self.wait_interrupt is not None:
            clock = _InterruptClock(self.clock, self.wait_interrupt)
        try:
            return poll(
                clock,
                look,
                until,
                doing=doing,
                expected=expected,
                timeout_s=timeout_s,
                where=where or self.name,
                next_step=next_step,
                show=show,
                first_pause_s=first_pause_s,
                longest_pause_s=longest_pause_s,
            )
        except WaitTimeout as late:
            self.require_present(doing, cause=late)
            raise

    def is_lost(self) -> bool:
        """Whether config space reads all ones: the device left the bus."""
        return self.transport.config_read(0, 4) == ALL_ONES

    def require_present(self, doing: str, cause: BaseException | None = None) -> None:
        """DeviceLost when the device left the bus."""
        if self.is_lost():
            raise DeviceLost(
                doing,
                expected="a device on the bus",
                seen="config space reads 0xffffffff",
                where=self.name,
                next_step="gpumend probe; a bus reset or power cycle of the node brings it back",
            ) from cause
