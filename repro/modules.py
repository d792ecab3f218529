"""What actions do: one function for each module, on GPUs that nobody else drives (or, for the kernel driver's, that
it drives).

Each gives a `Done`: whether it ended as it should, what was seen, and (a reset) what a probe said afterwards. What a
GPU did is never raised; wrong arguments, missing firmware and refusals are."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from amdriver.device import STEPS, Device
from amdriver.opening import open_gpu
from amdriver.ring import QueueStuck
from amdriver.running_recovery import Recovery, RecoveryFailed
from base.child import ChildDied, run_in_child
from base.errors import DeviceLost, GpumendError, NotPermitted, Refused, Unavailable
from base.findings import ProbeReport
from base.resets import Outcome, ResetReport
from repro.kernels import code_object
from repro.scenario import Action
from resets.subject import Subject, on_host

if TYPE_CHECKING:
    from amdriver.gfx import AnyQueue
    from amdriver.opengpu import OpenGpu

MODPROBE_S = 600.0
KILLED_START_S = 120.0
KERNEL_WAIT_S = 0.5
COPY_BYTES = 1 << 20
# Sums of the metrics table by the limit that throttles (amd-telemetry.md section 3).
THROTTLERS = {
    "PROCHOT": "ProchotResidencyAcc", "socket power": "PptResidencyAcc", "socket temperature": "SocketThmResidencyAcc",
    "regulator temperature": "VrThmResidencyAcc", "HBM temperature": "HbmThmResidencyAcc",
}  # fmt: skip


@dataclass(slots=True)
class Done:
    """`status`: `done`, `failed`, `unverified`, `refused`; `told`: plain JSON values; `samples`: seconds of the same
    work; `waves`: registers of waves that stood still, as text, by the index of their GPU."""

    status: str = "done"
    told: dict[str, Any] = field(default_factory=dict)
    error: GpumendError | None = None
    reports: tuple[ProbeReport, ...] = ()
    samples: tuple[float, ...] = ()
    throttled: dict[str, float] = field(default_factory=dict)
    waves: dict[int, str] = field(default_factory=dict)


class ResetBy(Protocol):
    """Reset these GPUs by one method (`auto`: the ladder)."""

    def __call__(
        self, subjects: Sequence[Subject], method: str, *, force: bool, limit_s: float | None
    ) -> ResetReport: ...


@dataclass(slots=True)
class Tools:
    """What modules work with; whoever has the GPUs hands it in. `seed`: of the bytes that are copied."""

    reset: ResetBy
    firmware_dirs: Sequence[Path] | None = None
    seed: int = 1
    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")


Module = Callable[[Action, Sequence[Subject], Tools], Done]


def act(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    """Carry one action out, `count` times."""
    done = Done()
    for _ in range(action.count):
        done = MODULES[action.module](action, subjects, tools)
        if done.status != "done":
            return done
    return done


# ---------------------------------------------------------------- resets


def _reset(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    method = str(action.settings["method"])
    report = tools.reset(subjects, method, force=bool(action.settings.get("force")), limit_s=action.duration_s)
    told = {
        "method": method, "exit": report.exit_code, "seconds": round(report.seconds, 6),
        "steps": [
            {"method": step.method, "status": str(step.status), "proof": step.proof, "gpus": list(step.gpus)}
            for step in report.steps
        ],
        "gpus": [{"index": one.index, "outcome": str(one.outcome), "reason": one.reason} for one in report.gpus],
    }  # fmt: skip
    done = Done("done", told, reports=tuple(one.after for one in report.gpus))
    outcomes = {one.outcome for one in report.gpus}
    done.error = next((step.error for step in report.steps if step.error is not None), None)
    if Outcome.REFUSED in outcomes and not report.steps:
        done.status = "refused"
        done.error = next((one.error for one in report.gpus if one.error is not None), None)
    elif outcomes & {Outcome.FAILED, Outcome.REFUSED} or (
        method != "auto" and any(_failed(step) for step in report.steps)
    ):
        done.status = "failed"
    elif outcomes & {Outcome.UNVERIFIED, Outcome.UNKNOWN}:
        done.status = "unverified"
    elif Outcome.INTERRUPTED in outcomes:
        done.status = "interrupted"
    return done


def _failed(step: Any) -> bool:
    return str(step.status) in ("failed", "worse")


# ---------------------------------------------------------------- our driver


def _each(action: Action, subjects: Sequence[Subject], work: Callable[[Subject], Done]) -> Done:
    """On each GPU, side by side or one after the other; the first that failed counts."""
    if action.parallel and len({id(one.clock) for one in subjects}) == 1 and len(subjects) > 1:
        outcomes = subjects[0].clock.run_together([partial(_caught, work, one) for one in subjects])
        made = [outcome.unwrap() for outcome in outcomes]
    else:
        made = [_caught(work, one) for one in subjects]
    worst = next((one for one in made if one.status == "failed"), made[0])
    told = {f"gpu{one.index}": done.told for one, done in zip(subjects, made, strict=True)}
    samples = tuple(value for one in made for value in one.samples)
    throttled: dict[str, float] = {}
    for done in made:
        for name, value in done.throttled.items():
            throttled[name] = throttled.get(name, 0.0) + value
    waves = {index: text for one in made for index, text in one.waves.items()}
    return Done(worst.status, told, worst.error, samples=samples, throttled=throttled, waves=waves)


def _caught(work: Callable[[Subject], Done], subject: Subject) -> Done:
    """What the GPU did is an answer; what keeps us from asking it at all is not."""
    try:
        return work(subject)
    except NotPermitted:
        raise
    except (Unavailable, Refused) as error:
        if isinstance(error, DeviceLost) or "action" in error.__dict__ or hasattr(error, "finding_code"):
            return Done("failed", error=error)
        raise
    except GpumendError as error:
        return Done("failed", error=error)


def _opened(subject: Subject, tools: Tools, on_step: Callable[[str], None] | None = None) -> OpenGpu:
    return open_gpu(subject.transport, subject.clock, firmware_dirs=tools.firmware_dirs, on_step=on_step)


def _boot(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    kill_at = str(action.settings.get("kill_at", "never"))
    if kill_at == "never":
        return _each(action, subjects, lambda one: _started(one, tools))
    assert kill_at in STEPS, "the schema knows the steps"
    return _each(action, subjects, lambda one: _killed(one, tools, kill_at, action.duration_s or KILLED_START_S))


def _started(subject: Subject, tools: Tools) -> Done:
    with _opened(subject, tools) as gpu:
        return Done(told={"start_state": gpu.start_state, "steps": list(gpu.steps)})


def _killed(subject: Subject, tools: Tools, step: str, limit_s: float) -> Done:
    """A start that ends as SIGKILL ends it: on this machine's bus a process of its own is killed; elsewhere the GPU
    simply sees no access any more from that step on."""
    if on_host(subject):
        return _killed_process(subject, tools, step, limit_s)
    cut = _Severed(subject.transport)
    seen: list[str] = []

    def begin(name: str) -> None:
        seen.append(name)
        cut.severed = name == step

    try:
        Device.open(cut, subject.clock, firmware_dirs=tools.firmware_dirs, on_step=begin).close()
    except _Gone:
        return Done(told={"killed_at": step, "steps": seen})
    return Done(told={"killed_at": "", "steps": seen, "note": f"this start had no step {step}"})


def _killed_process(subject: Subject, tools: Tools, step: str, limit_s: float) -> Done:
    def start() -> None:
        def begin(name: str) -> None:
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)

        Device.open(subject.transport, subject.clock, firmware_dirs=tools.firmware_dirs, on_step=begin).close()

    error = run_in_child(start, limit_s, doing=f"starting {subject.bdf}", where=subject.bdf).error
    if isinstance(error, ChildDied) and error.signal_name == "SIGKILL":
        return Done(told={"killed_at": step})
    if error is None:
        return Done(told={"killed_at": "", "note": f"this start had no step {step}"})
    raise error


class _Gone(DeviceLost):
    """The driver is dead: it touches nothing any more."""


class _Severed:
    """A transport through which nothing goes any more once it is severed, as after the death of whoever used it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.name, self.can = inner.name, inner.can
        self.severed = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _ACCESSES:
            return found

        def access(*arguments: Any, **options: Any) -> Any:
            if self.severed:
                raise _Gone(f"{name} of {self.name}", seen="the driver was killed", where=self.name)
            return found(*arguments, **options)

        return access


_ACCESSES = frozenset(
    ("config_read", "config_write", "read32", "write32", "read64", "write64", "read_block", "write_block", "alloc_dma")
)


def _kernel(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    return _each(action, subjects, lambda one: _bad_kernel(action, one, tools))


def _bad_kernel(action: Action, subject: Subject, tools: Tools) -> Done:
    """Launch it, see that it does not end, free its queue, and work on; how long each took, on the GPU's clock."""
    name, limit = str(action.settings["kernel"]), str(action.settings.get("limit", "mode2"))
    gpu = _opened(subject, tools)
    waves: dict[int, str] = {}
    try:
        pattern = _pattern(COPY_BYTES, tools.seed)
        kept = gpu.alloc(COPY_BYTES)
        kept.write(pattern)
        queue = gpu.device.gfx.create_queue(0, "aql")
        seen = _launch(gpu, queue, name)
        started = subject.clock.now()
        made = gpu.recover(queue, limit=limit)
        waves = _waves(subject, made)
        told: dict[str, Any] = {
            "kernel": name, "seen": seen, "level": str(made.level), "lost": list(made.lost),
            "faults": [str(fault) for fault in made.faults], "recovery_s": round(subject.clock.now() - started, 6),
            "waves": [str(wave) for wave in made.waves],
        }  # fmt: skip
        _launch(gpu, queue, "good", must_end=True)
        gpu.compute_fence(1 if gpu.xccs > 1 else 0, 7)
        _copy_checked(gpu, kept, pattern, 0)
        told["usable"] = True
    except RecoveryFailed as error:
        _abandon(gpu)
        tried = [str(one) for one in error.recovery.attempts]
        return Done("failed", {"kernel": name, "attempts": tried}, error, waves=_waves(subject, error.recovery))
    except GpumendError as error:
        _abandon(gpu)
        if not waves:
            raise
        return Done("failed", {"kernel": name}, error, waves=waves)  # it was recovered, and is not well all the same
    gpu.close()
    return Done(told=told, waves=waves)


def _waves(subject: Subject, made: Recovery) -> dict[int, str]:
    return {subject.index: made.registers()} if made.waves else {}


def _abandon(gpu: OpenGpu) -> None:
    """Close what is sick as far as it goes; what fails on the way is not the news."""
    try:
        gpu.close()
    except GpumendError:
        return


def _launch(gpu: OpenGpu, queue: AnyQueue, name: str, *, must_end: bool = False) -> str:
    """One wave of a program on an AQL queue, a barrier behind it: how it ended, in words. GpumendError: it ended, or
    did not, where it should not."""
    from amdriver.queue import AqlQueue

    assert isinstance(queue, AqlQueue), "made as one"
    code = gpu.device.gmc.alloc(4096, owner="code", executable=True)
    code.write(0, code_object(name))
    kernarg = gpu.device.gmc.alloc(4096, owner="kernel arguments")
    queue.dispatch(kernel_object=code.gpu_va, kernarg=kernarg, grid=(64, 1, 1), workgroup=(64, 1, 1))
    behind = gpu.device.gfx.signals.new(1)
    queue.barrier(signal=behind)
    queue.submit()
    try:
        behind.wait_at_most(0, KERNEL_WAIT_S)
    except QueueStuck as error:
        if must_end:
            raise
        return error.seen
    if must_end:
        return "it ended"
    raise GpumendError(
        f"launching the kernel {name}", expected="that it does not end", seen="the packet behind it was done", where=gpu.name,
    )  # fmt: skip


def _pattern(size: int, seed: int) -> bytes:
    """Bytes that look like nothing else, the same for the same seed."""
    import random

    block = random.Random(seed).randbytes(4096)
    return (block * (size // len(block) + 1))[:size]


def _copy_checked(gpu: OpenGpu, source: Any, pattern: bytes, engine: int) -> None:
    with gpu.alloc(len(pattern)) as target:
        gpu.copy(target, source, engine=engine)
        data = target.read()
    if data != pattern:
        at = next(place for place in range(len(data)) if data[place] != pattern[place])
        raise GpumendError(
            f"copying with SDMA {engine}", expected=pattern[at : at + 16].hex(), seen=data[at : at + 16].hex(),
            where=f"{gpu.name}, byte {at:#x} of the copy", verb="gave wrong bytes",
        )  # fmt: skip


def _sdma_reset(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    return _each(action, subjects, lambda one: _reset_while_copying(action, one, tools))


def _reset_while_copying(action: Action, subject: Subject, tools: Tools) -> Done:
    size = int(action.settings.get("bytes", COPY_BYTES))
    wanted = int(action.settings.get("engine", 0))
    gpu = _opened(subject, tools)
    try:
        engine = min(wanted, gpu.engines - 1)
        neighbour = (engine + 1) % gpu.engines
        pattern = _pattern(size, tools.seed)
        source, target = gpu.alloc(size), gpu.alloc(size)
        source.write(pattern)
        gpu.copy(target, source, engine=engine)
        started = subject.clock.now()
        made = gpu.recover(engine=engine, limit="queue")
        told = {"engine": engine, "level": str(made.level), "reset_s": round(subject.clock.now() - started, 6)}
        _copy_checked(gpu, source, pattern, engine)
        _copy_checked(gpu, source, pattern, neighbour)
    except GpumendError:
        _abandon(gpu)
        raise
    gpu.close()
    return Done(told=told)


def _psp_reload(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    return _each(action, subjects, lambda one: _reloaded(one, tools))


def _reloaded(subject: Subject, tools: Tools) -> Done:
    gpu = _opened(subject, tools)
    try:
        state = gpu.start_state
        gpu.device.psp.load_firmware()
        for xcc in range(gpu.xccs):
            gpu.compute_fence(xcc, xcc + 1)
        pattern = _pattern(4096, tools.seed)
        kept = gpu.alloc(len(pattern))
        kept.write(pattern)
        for engine in range(gpu.engines):
            _copy_checked(gpu, kept, pattern, engine)
    except GpumendError:
        _abandon(gpu)
        raise
    gpu.close()
    return Done(told={"start_state": state})


def _work(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    return _each(action, subjects, lambda one: _copies(action, one, tools))


def _copies(action: Action, subject: Subject, tools: Tools) -> Done:
    """The same copy again and again, and what the power firmware counted meanwhile."""
    size, repeat = int(action.settings.get("bytes", 16 << 20)), int(action.settings.get("repeat", 8))
    with _opened(subject, tools) as gpu:
        engine = min(int(action.settings.get("engine", 0)), gpu.engines - 1)
        source, target = gpu.alloc(size), gpu.alloc(size)
        gpu.fill(source, 0x5A)
        before = gpu.device.smu.metrics()
        samples = []
        clocks = []
        for _ in range(repeat):
            samples.append(gpu.timed_copy(target, source, engine=engine))
            clocks.append(gpu.device.smu.metrics().GfxclkFrequency[0] / 1024)
        after = gpu.device.smu.metrics()
    steps = after.AccumulationCounter - before.AccumulationCounter
    throttled = {
        name: _share(getattr(after, counter) - getattr(before, counter), steps) for name, counter in THROTTLERS.items()
    }
    told = {
        "samples_s": samples, "gfxclk_mhz": clocks, "accumulation_steps": steps,
        "throttled_share": {name: share for name, share in throttled.items() if share},
        "socket_c": after.MaxSocketTemperature / 1024, "power_w": after.SocketPower / 1024,
    }  # fmt: skip
    total_s = sum(samples)
    return Done(
        told=told, samples=tuple(samples),
        throttled={name: share * total_s for name, share in throttled.items() if share},
    )  # fmt: skip


def _share(counted: int, steps: int) -> float:
    """Of the steps that were counted; sums of 32 bits run over."""
    return (counted & 0xFFFFFFFF) / steps if steps > 0 else 0.0


# ---------------------------------------------------------------- this machine


def _modprobe(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    """Load (or remove) the kernel's driver in a child that can be killed: an oops kills the child, not us."""
    driver = str(action.settings["driver"])
    options = str(action.settings.get("options", "")).split()
    words = ["modprobe", "-r", driver] if action.settings.get("remove") else ["modprobe", driver, *options]
    limit_s = action.duration_s or MODPROBE_S

    def load() -> tuple[int, str]:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        ended = subprocess.run(words, capture_output=True, text=True, errors="replace", env={"PATH": path})
        return ended.returncode, ended.stderr.strip()[:500]

    outcome = run_in_child(load, limit_s, doing=" ".join(words), where="this machine's kernel")
    told: dict[str, Any] = {"command": " ".join(words)}
    if outcome.error is not None:
        if isinstance(outcome.error, GpumendError):
            return Done("failed", told, outcome.error)
        raise outcome.error
    code, said = outcome.unwrap()
    if code == 0:
        return Done(told=told | {"exit": 0})
    error = GpumendError(" ".join(words), expected="exit code 0", seen=f"{code} {said}".strip(), next_step="read dmesg")
    return Done("failed", told | {"exit": code}, error)


def _wait(action: Action, subjects: Sequence[Subject], tools: Tools) -> Done:
    for clock in {id(one.clock): one.clock for one in subjects}.values():
        clock.sleep(float(action.settings["seconds"]))
    return Done()


MODULES: Mapping[str, Module] = {
    "reset": _reset, "boot": _boot, "kernel": _kernel, "sdma-reset": _sdma_reset, "psp-reload": _psp_reload, "work": _work,
    "modprobe": _modprobe, "wait": _wait,
}  # fmt: skip
NEED_FIRMWARE = frozenset(("boot", "kernel", "sdma-reset", "psp-reload", "work"))
