"""Starting GPUs, copying to them, waiting for them: accesses, the driver's own time, virtual time.

The model's own time is left out where it says so: a start is recorded once, and then driven by the recorded answers.
Register accesses are those of BAR5 (MMIO), as in the figures of the peer; doorbells and VRAM are told apart."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from amdriver.device import Device
from amdriver.hive import Hive
from base.clock import RealClock, VirtualClock
from bench.harness import Row, compare, duration
from bench.recorded import Answers, Recorder
from firmware.store import search_dirs
from gpumend import selftest
from gpumodel import open_models
from pcibus.transport import Transport

MIB = 1 << 20
COPY_BYTES = 16 * MIB  # as in the peers' figures; more does not stay in the processor's cache


class _Ticks:
    """A clock on which every sleep is short and does not happen: a replayed start waits for nothing."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds

    def run_together(self, callables: Any) -> Any:
        raise NotImplementedError("one GPU only")


def _start(transport: Transport, clock: Any) -> Device:
    return Device.open(transport, clock, firmware_dirs=search_dirs())


def _recorded(spec: str) -> tuple[Recorder, float]:
    """A start of a model, recorded: the recorder, and the virtual time that it took in seconds."""
    clock = VirtualClock()
    (transport,) = open_models(spec, clock)
    recorder = Recorder(transport)
    device = _start(recorder, clock)
    took_s = clock.now()
    counts, repeats = recorder.counts.copy(), recorder.repeats
    device.close()
    recorder.counts, recorder.repeats = counts, repeats
    transport.close()
    return recorder, took_s


def start_rows() -> list[Row]:
    """A start from cold: accesses, and the driver's own time with the model out of the way."""
    rows = []
    for part in ("mi300x", "mi350x"):
        recorder, took_s = _recorded(f"{part}?state=cold")
        counts = recorder.counts

        spent: list[float] = []

        def again(recorder: Recorder = recorder, spent: list[float] = spent) -> None:
            cpu = time.process_time()
            _start(Answers(recorder), _Ticks())
            spent.append(time.process_time() - cpu)

        row = duration(
            f"cold start of {part}: driver alone, recorded answers",
            again,
            goal="<= peer",
            peer="tinygrad 40-57 ms CPU, recorded",
        )
        told = (
            f"{counts['read', 5] - recorder.repeats} reads, {counts['write', 5]} writes of registers, "
            f"{counts['write', 2]} doorbells; a device that answers late: {recorder.repeats} polls more, "
            f"{took_s * 1e3:.0f} ms virtual (tinygrad 241 reads, 1,540 writes)"
        )
        rows += [replace(row, ours_s=sorted(spent)[len(spent) // 2]), Row(f"   {told}", 0.0, 0.0, 0.0, "-")]
    return rows


def hive_row() -> Row:
    """Virtual time of eight side by side against one."""

    def took(count: int) -> float:
        clock = VirtualClock()
        transports = open_models(f"mi300x*{count}?state=cold", clock)
        hive = Hive.open(transports, clock, firmware_dirs=search_dirs())
        opened_s = clock.now()
        hive.close()
        for transport in transports:
            transport.close()
        return opened_s

    one, eight = took(1), took(8)
    return Row("cold start of eight, virtual time against one", eight, one, eight / one, "<= 1.25x", "tinygrad 8x")


def copy_row() -> Row:
    """Bytes of the host into VRAM through BAR0. The floor is one copy of as many bytes in this process's memory."""
    clock = VirtualClock()
    (transport,) = open_models("mi300x", clock)
    data = os.urandom(COPY_BYTES)
    plain = memoryview(bytearray(COPY_BYTES))

    def floor() -> None:
        plain[:] = data

    with _start(transport, clock) as device, device.gmc.alloc(COPY_BYTES) as target:
        row = compare(
            f"host to device, {COPY_BYTES // MIB} MiB", lambda: target.write(0, data), floor, goal=">= 5 GB/s"
        )
        assert target.read(COPY_BYTES - 16, 16) == data[-16:]
    ours, theirs = (COPY_BYTES / seconds / 1e9 for seconds in (row.ours_s, row.floor_s))
    told = f"{ours:.1f} GB/s of the {theirs:.1f} that memcpy makes here"
    return replace(row, peer=f"{told}; tinygrad: KFD mock 3.0-4.0, PCI mock 0.31-0.42, recorded (memcpy 8-11)")


def wait_row() -> Row:
    """How much of a core a wait takes that lasts: real time, an engine that never answers."""
    clock = RealClock()
    (transport,) = open_models("mi300x", clock)
    with _start(transport, clock) as device:
        signal = device.sdma.signals.new()
        cpu, wall = time.process_time(), time.monotonic()
        try:
            signal.wait(1, timeout_s=1.0)
        except Exception:  # noqa: BLE001 - that it runs out is the point
            spent, lasted = time.process_time() - cpu, time.monotonic() - wall
        signal.free()
    return Row("share of a core while waiting 1 s", spent, lasted, spent / lasted, "< 0.1x", "tinygrad 1.0 (spins)")


def selftest_row() -> Row:
    """The whole quick self-test of a hive of eight, as the command line runs it."""

    def run() -> None:
        reports = selftest(["model:mi350x*8"])
        assert len(reports) == 8 and all(report.exit_code == 0 for report in reports)

    return duration("self-test of eight model GPUs (MI350X)", run, goal="< 20 s", rounds=1)


def rows() -> list[Row]:
    """Starts, a hive, a copy, a wait, a self-test. Nothing without firmware."""
    if not any((Path(place) / "psp_13_0_6_sos.bin").exists() for place in search_dirs()):
        print("starts need AMD's firmware: make firmware")
        return []
    return [*start_rows(), hive_row(), copy_row(), wait_row(), selftest_row()]
