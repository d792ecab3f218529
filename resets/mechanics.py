"""What the ladder asks of a mechanism, and the one that drives the real thing (or a model): amdriver/recovery.py, and for
what comes from the bus nvdriver/recovery.py, which has the same verbs.

`carry_out` does one rung on its GPUs together: takes their locks, plants a mark, resets, asks whether the mark is gone, gives
the locks back. It never raises what a GPU did: that is in its answer. Nothing here decides which method.

The stages, in order; those that a method does not have are left out:
    open        take the locks, find the registers; nothing is written
    look        registers of the waves that the reset ends, for the evidence: selects through index registers
    mark        plant a mark in state that the reset destroys
    prepare     every GPU answers, config space is kept, bus mastering off
    send        the reset itself
    restore     config space is written again
    boot        boot firmware is waited for
    prove       is the mark gone

Source: amd-resets.md sections 2 to 6; nvidia-resets.md section 1; DESIGN section 6 rules 4, 7 and 9."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from amdriver.hive_reset import reset_hive
from amdriver.kernel_reset import reset_by_driver
from amdriver.recovery import FIXED_PLACES, MARKED_WHOLE, Target
from base.clock import Clock
from base.errors import GpumendError, Refused, Unavailable, WaitTimeout
from base.findings import ProbeReport
from nvdriver import recovery as nv
from pcibus.binding import rebind
from pcibus.transport import Can, DriverSource, ResetSource
from resets.ladder import Rung
from resets.subject import Subject, on_host

if TYPE_CHECKING:
    from amdriver.gfx_reset import Hqd
    from amdriver.ip_map import IpMap
    from amdriver.marks import Mark
    from pcibus.driverfiles import DriverFiles

AnyTarget = Target | nv.Target

OnStage = Callable[[str], None]
KERNEL_RECOVER_S: Final = 660.0  # the kernel itself waits up to 300 s for each of two flags
DRIVER_REBIND_S: Final = 360.0  # its start waits for boot firmware just as long
WATCH_S: Final = 0.02  # the probe has watched for a second: this only finds the same again
_ENDS_WAVES: Final = frozenset(
    ("wave-kill", "hqd-dequeue", "queue-mmio", "queue-kiq", "pipe-reset", "mec-reset", "mode2")
)
_FROM_THE_BUS: Final = {"flr": "flr", "bus-reset": "bus", "sysfs-reset": "any"}


@dataclass(frozen=True, slots=True)
class Done:
    """`gone`: whether each GPU shows that the reset took place: True, False (it did not), None (nothing tells); `what`: what
    was done to whom, in words; `error`: what stopped it."""

    gone: Mapping[int, bool | None] = field(default_factory=dict)
    what: str = ""
    error: GpumendError | None = None


class Mechanic(Protocol):
    """Carries methods out. `on_stage` is called with the name of each stage before it begins."""

    def carry_out(
        self, rung: Rung, targets: Sequence[Subject], reports: Mapping[int, ProbeReport], on_stage: OnStage
    ) -> Done: ...


@dataclass(slots=True)
class DriverMechanic:
    """`golden` gives the saved good discovery table of a GPU (by its serial number, as the probe tells it); `files` the files
    of its kernel driver (NVIDIA); `kernel_s`: how long the bound driver may take for a reset of its own; `keep` writes a file
    into the bundle that was begun (None: there is none, nothing is looked at for it)."""

    golden: Callable[[str], bytes | None] = lambda serial: None
    firmware_dirs: Sequence[Path] | None = None
    files: Callable[[Subject], DriverFiles | None] = lambda subject: None
    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    kernel_s: float = KERNEL_RECOVER_S
    keep: Callable[[str, bytes], object] | None = None

    def carry_out(
        self, rung: Rung, targets: Sequence[Subject], reports: Mapping[int, ProbeReport], on_stage: OnStage
    ) -> Done:
        """See Mechanic."""
        work = _Work(self, rung, targets, reports, on_stage)
        name = rung.method.name
        if name in ("driver-rebind", "kernel-recover"):
            return work.by_driver()
        try:
            with ExitStack() as stack:
                on_stage("open")
                work.open(stack)
                return work.do()
        except GpumendError as error:
            return Done(work.gone, work.what, error)


class _Work:
    """One rung being carried out."""

    def __init__(
        self,
        mechanic: DriverMechanic,
        rung: Rung,
        subjects: Sequence[Subject],
        reports: Mapping[int, ProbeReport],
        stage: OnStage,
    ) -> None:
        self.mechanic, self.rung, self.subjects, self.reports, self.stage = mechanic, rung, subjects, reports, stage
        self.clock: Clock = subjects[0].clock
        self.targets: dict[int, AnyTarget] = {}
        self.gone: dict[int, bool | None] = {}
        self.what = ""

    def open(self, stack: ExitStack) -> None:
        """Every lock, or none. A GPU without a table of its own borrows the map of a whole one of the same part."""
        for subject in self.subjects:
            self.targets[subject.index] = stack.enter_context(self._open(subject, None))
        for subject in self.subjects:
            mine = self.targets[subject.index]
            if not isinstance(mine, Target) or mine.map_source != FIXED_PLACES:
                continue
            lent = self._lent(subject)
            if lent is not None:
                self.targets[subject.index].close()
                self.targets[subject.index] = stack.enter_context(self._open(subject, lent))

    def _open(self, subject: Subject, borrowed: IpMap | None) -> AbstractContextManager[AnyTarget]:
        if subject.part.is_nvidia:
            return nv.Target.open(subject.transport, subject.clock, self.mechanic.files(subject))
        facts = self.reports[subject.index].facts.get("identity") or {}
        golden = self.mechanic.golden(facts["serial"]) if facts.get("serial") else None
        return Target.open(subject.transport, subject.clock, golden=golden, borrowed=borrowed)

    def _lent(self, subject: Subject) -> IpMap | None:
        from probe.run import is_whole

        for other in self.subjects:
            target = self.targets[other.index]
            if not isinstance(target, Target):
                continue
            if other.part == subject.part and target.map_source == "its own table" and is_whole(target.ip, other.part):
                return target.ip
        return None

    def do(self) -> Done:
        works: dict[str, Callable[[], None]] = {
            "restore-config": self._restore_config,
            "wave-kill": partial(self._each, self._wave_kill),
            "hqd-dequeue": partial(self._each, partial(self._queues, Target.dequeue)),
            "queue-mmio": partial(self._each, partial(self._queues, Target.queue_reset_mmio)),
            "queue-kiq": partial(self._each, partial(self._queues, Target.queue_reset_kiq)),
            "pipe-reset": partial(self._each, self._pipes),
            "mec-reset": partial(self._each, self._mecs),
            "sdma-reset": partial(self._each, self._sdmas),
            "mode2": self._mode2,
            "mode1": self._whole_chip,
            "hive-reset": self._whole_chip,
            "link-reset": self._link,
            "remove-rescan": self._rescan,
        }
        if self.rung.method.name in _ENDS_WAVES and self.mechanic.keep is not None:
            self._look(self.mechanic.keep)
        works.get(self.rung.method.name, self._from_the_bus)()
        return Done(self.gone, self.what)

    def _look(self, keep: Callable[[str, bytes], object]) -> None:
        """Where its waves stand, into the bundle: what helps to find the cause, never what a reset depends on."""
        self.stage("look")
        for index, target in self._amd().items():
            try:
                text = "\n\n".join(wave.registers() for wave in target.first_waves())
            except GpumendError as error:
                text = f"the registers of its waves could not be read:\n{error}"
            if text:
                with suppress(GpumendError):
                    keep(f"gpu{index}/waves-{self.rung.method.name}.txt", (text + "\n").encode())

    # ---- engines: what proves them is that the engine shows it, or the mechanism raises

    def _each(self, work: Callable[[Target, ProbeReport], str]) -> None:
        self.stage("send")
        mine = self._amd()
        names = [(subject, mine[subject.index]) for subject in self.subjects]
        outcomes = self.clock.run_together(
            [partial(work, target, self.reports[subject.index]) for subject, target in names]
        )
        told = []
        errors = []
        for (subject, _), outcome in zip(names, outcomes, strict=True):
            if outcome.error is None:
                self.gone[subject.index] = True
                told.append(f"GPU {subject.index}: {outcome.value}")
            elif isinstance(outcome.error, GpumendError):
                # The engine itself shows that it is not done; a refusal says that nothing was begun.
                self.gone[subject.index] = None if isinstance(outcome.error, Refused) else False
                errors.append(outcome.error)
            else:
                raise outcome.error
        self.what = "; ".join(told)
        if errors:
            raise errors[0]

    def _amd(self) -> dict[int, Target]:
        """Those that have engines to reset: the safety table has let no other come so far."""
        return {index: target for index, target in self.targets.items() if isinstance(target, Target)}

    def _stuck_queues(self, target: Target) -> list[Hqd]:
        """The queues that a finding is about: those of a faulting address space, those of a stuck MEC; else all there are."""
        active = [hqd for hqd in target.active_queues() if not hqd.kiq]
        stuck = target.stuck_engines(WATCH_S)
        vmids = {(_xcc_of(fault.hub), fault.vmid) for fault in stuck.faults}
        xccs = {mec.xcc for mec in stuck.mecs}
        chosen = [hqd for hqd in active if hqd.xcc in xccs or (hqd.xcc, hqd.vmid) in vmids]
        if not chosen and not stuck:
            chosen = active
        return chosen

    def _queues(self, work: Callable[[Target, Hqd], object], target: Target, report: ProbeReport) -> str:
        queues = self._stuck_queues(target)
        if not queues:
            raise self._nothing(target, "a queue that sits on a MEC and that the finding is about")
        for hqd in queues:
            work(target, hqd)
        self._clear_faults(target)
        return f"{len(queues)} queue{'s' * (len(queues) > 1)}: {', '.join(map(str, queues[:4]))}"

    def _clear_faults(self, target: Target) -> None:
        for fault in target.stuck_engines(0.0).faults:
            target.clear_fault(fault.hub)

    def _wave_kill(self, target: Target, report: ProbeReport) -> str:
        pairs = sorted({(hqd.xcc, hqd.vmid) for hqd in self._stuck_queues(target) if hqd.vmid})
        if not pairs:
            raise self._nothing(target, "a queue of a process, whose waves could be killed")
        for xcc, vmid in pairs:
            target.wave_kill(xcc, vmid)
        self._clear_faults(target)
        return ", ".join(f"waves of VMID {vmid} on XCC {xcc}" for xcc, vmid in pairs)

    def _pipes(self, target: Target, report: ProbeReport) -> str:
        places = sorted({(hqd.xcc, hqd.me, hqd.pipe) for hqd in self._stuck_queues(target)})
        if not places:
            raise self._nothing(target, "a queue that sits on a pipe and that the finding is about")
        for place in places:
            target.pipe_reset(*place)
        self._clear_faults(target)
        return ", ".join(f"pipe {pipe} of MEC{me} of XCC {xcc}" for xcc, me, pipe in places)

    def _mecs(self, target: Target, report: ProbeReport) -> str:
        stuck = target.stuck_engines(WATCH_S)
        faulting = {xcc for fault in stuck.faults if (xcc := _xcc_of(fault.hub)) is not None}
        xccs = sorted({mec.xcc for mec in stuck.mecs} | faulting) or list(target.xccs)
        for xcc in xccs:
            target.mec_reset(xcc)
        self._clear_faults(target)
        return f"MEC of XCC {', '.join(map(str, xccs))}"

    def _sdmas(self, target: Target, report: ProbeReport) -> str:
        engines = sorted(stuck.engine for stuck in target.stuck_engines(WATCH_S).sdmas) or list(target.engines)
        cold = (report.facts.get("psp") or {}).get("sos_alive") is False
        for engine in engines:
            try:
                target.sdma_reset(engine)
            except WaitTimeout:
                if not cold or target.stuck_engines(0.0).sdmas:
                    raise  # on a cold GPU it has no firmware to start again, and stays halted
        return f"SDMA engine {', '.join(map(str, engines))}{', halted as on a cold GPU' * cold}"

    def _nothing(self, target: Target, expected: str) -> Refused:
        return Refused(
            f"{self.rung.method.name} of {target.name}", expected=expected, seen="none", where=target.name,
            next_step="gpumend probe; --method mec-reset takes all queues of every XCC",
        )  # fmt: skip

    # ---- the whole GPU: proved by a mark

    def _marked(self, work: Callable[[], None]) -> None:
        self.stage("mark")
        marks = {index: target.plant_mark(self.rung.method.name) for index, target in self.targets.items()}
        try:
            work()
        except GpumendError:
            self._ask(marks)
            raise
        self._ask(marks)

    def _ask(self, marks: Mapping[int, Mark | nv.Mark]) -> None:
        self.stage("prove")
        for index, mark in marks.items():
            self.gone[index] = None
            with suppress(GpumendError):
                self.gone[index] = mark.gone()
                mark.remove()

    def _whole_chip(self) -> None:
        fatal = any(
            finding.code == "amd.ras.fatal" for one in self.subjects for finding in self.reports[one.index].findings
        )

        def work() -> None:
            outcome = reset_hive(list(self._amd().values()), self.clock, fatal=fatal, on_step=self.stage)
            if len(self.targets) > 1:
                self.what = f"{len(outcome.members)} GPUs, told within {1000 * outcome.spread_s:.0f} ms"
            errors = [member.error for member in outcome.members if member.error is not None]
            if errors:
                raise errors[0]

        self._marked(work)

    def _link(self) -> None:
        def one(target: Target) -> None:
            saved = target.save_config()
            target.send_link_reset()
            target.restore_config(saved)
            target.await_boot()

        self._marked(lambda: self._all_amd(one))

    def _mode2(self) -> None:
        def one(target: Target) -> None:
            target.require_ready()
            saved = target.save_config()
            target.send_mode2()
            target.restore_config(saved)
            target.finish_mode2(self.mechanic.firmware_dirs)

        def work() -> None:
            self.stage("send")
            self._all_amd(one)

        self.stage("prepare")
        for target in self._amd().values():
            target.require_startable(self.mechanic.firmware_dirs)

        self._marked(work)

    def _all_amd(self, work: Callable[[Target], None]) -> None:
        self._together(lambda target: work(cast(Target, target)))

    def _together(self, work: Callable[[AnyTarget], None]) -> None:
        """All side by side; the first error is raised when all are done."""
        outcomes = self.clock.run_together([partial(work, target) for target in self.targets.values()])
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:
            raise errors[0]

    # ---- from the bus

    def _from_the_bus(self) -> None:
        word = _FROM_THE_BUS[self.rung.method.name]
        self._require_can()
        method = self.rung.method.name if self.rung.method.name in MARKED_WHOLE else "flr"
        self.stage("mark")
        marks = {index: target.plant_mark(method) for index, target in self.targets.items()}
        saved = {index: target.save_config() for index, target in self.targets.items()}
        try:
            self.stage("send")
            if word == "any":
                self.what = "; ".join(f"GPU {index}: {_listed(target)}" for index, target in self.targets.items())
            self._together(lambda target: cast(ResetSource, target.transport).reset(word))
            self.stage("restore")
            for index, target in self.targets.items():
                target.restore_config(saved[index])
            self.stage("boot")
            self._together(lambda target: target.await_boot())
        finally:
            self._ask(marks)
        for index, target in self.targets.items():
            if isinstance(target, nv.Target) and self.gone[index] is not False:
                target.tell_started_anew(self.rung.method.name)

    def _rescan(self) -> None:
        self._require_can()
        self.stage("send")
        self._together(lambda target: cast(ResetSource, target.transport).reset("rescan"))
        self._restore_config()

    def _restore_config(self) -> None:
        """Proved by what was seen to happen: the system lost the function and found it, config space holds what was written."""
        self.stage("restore")
        for index, target in self.targets.items():
            target.restore_config(target.save_config())
            self.gone[index] = True

    def _require_can(self) -> None:
        for target in self.targets.values():
            if Can.RESET not in target.transport.can:
                raise Unavailable(
                    f"{self.rung.method.name} of {target.name}", expected="a way to it that can reset it from the bus",
                    seen="none", where=target.name, next_step="reach it on this machine's PCI bus: gpumend list",
                )  # fmt: skip

    # ---- by the bound driver

    def by_driver(self) -> Done:
        self.stage("send")
        try:
            for subject in self.subjects:
                if not on_host(subject) and not self._plays_its_driver(subject):
                    raise Refused(
                        f"{self.rung.method.name} of {subject.bdf}", expected="a GPU on this machine's bus",
                        seen=subject.address,
                    )  # fmt: skip
            if self.rung.method.name == "driver-rebind":
                for subject in self.subjects:
                    self._rebind(subject)
            else:  # one of a hive resets all of it
                self._recover(self.subjects[0])
        except GpumendError as error:
            return Done(self.gone, self.what, error)
        return Done(self.gone, self.what)

    def _plays_its_driver(self, subject: Subject) -> bool:
        return self.rung.method.name == "driver-rebind" and Can.DRIVER in subject.transport.can

    def _rebind(self, subject: Subject) -> None:
        if not on_host(subject):
            source = cast(DriverSource, subject.transport)
            name = subject.transport.info().driver
            source.unbind()
            source.bind()
            self.what = f"{name} let go of it and took it again"
            self.gone[subject.index] = True
            return
        bound = rebind(subject.bdf, root=self.mechanic.sys_root, proc=self.mechanic.proc_root, limit_s=DRIVER_REBIND_S)
        self.what = f"{bound.after} let go of it and took it again"
        self.gone[subject.index] = True  # the system binds only what is not bound

    def _recover(self, subject: Subject) -> None:
        root = self.mechanic.sys_root / "kernel/debug/dri"
        told = reset_by_driver(subject.bdf, root=root, limit_s=self.mechanic.kernel_s) or frozenset()
        self.gone = {one.index: one.bdf in told or None for one in self.subjects}
        self.what = "amdgpu reset it, and its hive"


def _listed(target: AnyTarget) -> str:
    """Which reset the system takes when it is left to it; it does not tell which it was when the first did not work."""
    first, *rest = target.transport.info().reset_methods or ("none",)
    return f"by {first}, first of the kernel's reset_method" + (f" (if that fails: {', '.join(rest)})" if rest else "")


def _xcc_of(hub: str) -> int | None:
    """The XCC of a graphics hub (`GC[3]`); None for MMHUB."""
    return int(hub[3:-1]) if hub.startswith("GC[") else None
