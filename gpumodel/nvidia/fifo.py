"""The channels of one GPU: who is told by the doorbell, who goes on when, and what an error ends.

Work is done while the doorbell is rung, and the clock moves by what it takes: there is nothing to wait for but semaphores
that somebody else releases. Source: clc361.h (doorbell), kernel_rc_notification.c (what an error writes, and that it
ends the whole channel group), nvos.h NvNotification; rates are guesses (docs/fidelity.md)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gpumodel.nvidia.channel import Channel, ChannelError, Engine
from gpumodel.nvidia.compute import ComputeEngine, Dispatch
from gpumodel.nvidia.copyengine import CopyEngine
from gpumodel.nvidia.memory import PageFault

if TYPE_CHECKING:
    from gpumodel.nvidia.gpu import NvGpu

XID_MMU = 31  # ROBUST_CHANNEL_FIFO_ERROR_MMU_ERR_FLT
ENGINE_GRAPHICS = 1
FIRST_COPY, FIRST_FAR_COPY, NEAR_COPIES = 9, 0x34, 10  # NV2080_ENGINE_TYPE_COPY0, COPY10
NOTIFIER_SET = 0xFFFF
VRAM_BYTES_PER_S, HOST_BYTES_PER_S, LAUNCH_S, STAMP_S = 1.5e12, 50e9, 2e-6, 0.5e-6  # guess
STAMP_STEP_NS = 32  # the timer's low 5 bits are zero (dev_timer.h, NV_PTIMER_TIME_0_NSEC 31:5)


def copy_index(engine_type: int) -> int | None:
    """Which copy engine an NV2080_ENGINE_TYPE is."""
    if FIRST_COPY <= engine_type < FIRST_COPY + NEAR_COPIES:
        return engine_type - FIRST_COPY
    if engine_type >= FIRST_FAR_COPY:
        return engine_type - FIRST_FAR_COPY + NEAR_COPIES
    return None


class Fifo:
    """`next_error`, `rings_until_lost`, `spoils_copies`, `hangs`: faults that come in the middle of work (faults.py)."""

    def __init__(self, gpu: NvGpu) -> None:
        self.gpu = gpu
        self.channels: dict[int, Channel] = {}  # by token
        self.dispatches: list[Dispatch] = []
        self.next_error: int | None = None  # an Xid in which the next work ends
        self.rings_until_lost: int | None = None
        self.spoils_copies = False
        self.hangs = False
        self._next_number = 8
        self._lead_s = 0.0  # what the work that is done now has taken so far
        self._busy = False
        self._again = False

    def reset(self) -> None:
        """The GPU was reset: no channel runs any more, and no fault of engines is left."""
        for channel in self.channels.values():
            channel.dead = True
        self.next_error = self.rings_until_lost = None
        self.spoils_copies = self.hangs = False

    # ---- what is there

    def has_engine(self, engine_type: int) -> bool:
        index = copy_index(engine_type)
        return engine_type == ENGINE_GRAPHICS or (index is not None and index < self.gpu.chip.copy_engines)

    def runlist_of(self, engine_type: int) -> int:
        """0 for graphics and compute, one for each copy engine. # guess: real numbers differ"""
        index = copy_index(engine_type)
        return 0 if index is None else 1 + index

    def new_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def add(self, channel: Channel) -> None:
        self.channels[channel.token] = channel

    def remove(self, channel: Channel) -> None:
        self.channels.pop(channel.token, None)

    # ---- what a channel needs (channel.Surroundings)

    def stamp_ns(self) -> int:
        self._lead_s += STAMP_S
        return (self.gpu.timer_ns() + round(self._lead_s * 1e9)) & -STAMP_STEP_NS

    def engine(self, channel: Channel, number: int) -> Engine | None:
        if number not in channel.classes:
            return None
        compute, copy = self.gpu.chip.classes[2:]
        if number == compute and channel.engine_type == ENGINE_GRAPHICS:
            return ComputeEngine(channel, number, self.dispatches.append)
        if number == copy:
            # On the graphics runlist copies are done by the engine that shares it. # guess: the first
            index = copy_index(channel.engine_type) or 0
            return CopyEngine(channel, index, lambda to, of, size: self._moved(channel, to, of, size))
        return None

    def _moved(self, channel: Channel, target: int, source: int | None, size: int) -> None:
        over_pcie = channel.space.is_host(target) or (source is not None and channel.space.is_host(source))
        self._lead_s += LAUNCH_S + size / (HOST_BYTES_PER_S if over_pcie else VRAM_BYTES_PER_S)
        if self.spoils_copies and size:
            piece = next(channel.space.pieces(target + size // 2, 1, writes=True))
            piece[0] ^= 0x10

    # ---- running

    def ring(self, token: int) -> None:
        """NOTIFY_CHANNEL_PENDING. A token that is none of a channel's is lost, as nobody is told."""
        if self.gpu.lost:
            return
        if self.rings_until_lost is not None:
            self.rings_until_lost -= 1
            if self.rings_until_lost < 0:
                self.gpu.fall_off()
                return
        if self.hangs:
            return
        channel = self.channels.get(token)
        if channel is not None:
            self._run(channel)
            self.go_on()

    def go_on(self) -> None:
        """Memory has changed: whoever waits for a semaphore looks again, until nobody gets further."""
        if self._busy:
            self._again = True
            return
        waiting = [one for one in self.channels.values() if one.is_waiting]
        while waiting:
            self._again = False
            for channel in waiting:
                self._run(channel)
            still = [one for one in self.channels.values() if one.is_waiting]
            if len(still) == len(waiting) and not self._again:
                return
            waiting = still

    def _run(self, channel: Channel) -> None:
        if self._busy or self.gpu.lost:
            self._again = True
            return
        self._busy, self._lead_s = True, 0.0
        try:
            if self.next_error is not None and not channel.dead and channel.scheduled:
                xid, self.next_error = self.next_error, None
                raise ChannelError(xid, f"Ch {channel.number:08x}")
            channel.run()
        except PageFault as fault:
            channel.fault = (fault.address, fault.kind)
            self._end(channel, XID_MMU, self._fault_text(channel, fault))
        except ChannelError as error:
            self._end(channel, error.xid, error.text)
        finally:
            taken, self._lead_s, self._busy = self._lead_s, 0.0, False
        if taken:
            self.gpu.machine.clock.sleep(taken)

    def _fault_text(self, channel: Channel, fault: PageFault) -> str:
        """As users' logs show it. # guess: the firmware writes it"""
        index = copy_index(channel.engine_type)
        engine, client = (
            ("GRAPHICS", "GPC0 GPCCLIENT_T1_0") if index is None else (f"CE{index}", f"HUBCLIENT_CE{index}")
        )
        address = f"0x{fault.address >> 32:x}_{fault.address & 0xFFFFFFFF:08x}"
        return (
            f"Ch {channel.number:08x}, intr 00000000. MMU Fault: ENGINE {engine} {client} faulted @ {address}. "
            f"Fault is of type {fault.text()}"
        )

    def _end(self, failed: Channel, xid: int, text: str) -> None:
        """Robust-channel recovery: the Xid, and the notifier of every channel of the group."""
        self.gpu.machine.xid(self.gpu, xid, text, pid=4242, name="python3")
        for channel in self.channels.values():
            if channel.group == failed.group and not channel.dead:
                channel.dead = True
                self._notify(channel, xid)

    def _notify(self, channel: Channel, xid: int) -> None:
        if channel.notifier is None:
            return
        index = copy_index(channel.engine_type)
        struct.pack_into(
            "<QIHH", channel.notifier.view, 0, self.stamp_ns(), xid,
            ENGINE_GRAPHICS if index is None else channel.engine_type, NOTIFIER_SET,
        )  # fmt: skip
