"""The probe of one GPU: which question follows which, and what ends it early.

Order: who and where it is; who holds it (that is known of a lost GPU too); power; config space (gone?); then, only if the
memory space can be believed, the registers: memory size, discovery table, PSP, SMU, RAS, XGMI, hubs, GFX, SDMA; last what
seemed stuck is watched. Nothing is written but index registers, which the read-only transport puts back.

A GPU without a table of its own can be asked again with the map of another GPU: then only what had no answer for want of
bases is asked, and all that the first look learned stays, however the second one ends."""

from __future__ import annotations

from collections.abc import Callable

from amdriver.access import INDEX_REGISTERS, Access
from amdriver.ip_map import IpMap
from amdriver.parts import Part
from base.clock import Clock
from base.errors import DeviceLost, GpumendError, Unavailable
from base.findings import Finding, Severity
from pcibus.readonly import ReadOnly
from pcibus.transport import FunctionInfo, Transport
from probe import discovery, gfx, gmc, host, kernel, pci, psp, ras, sdma, smu, xgmi
from probe.bounded import Bounded, OutOfTime
from probe.session import Gone, Progress, Session, Settings, timeout_finding
from probe.watch import WATCH_S, watch

_FOR_LAST_FINDINGS_S = 0.1
VF_REASON = "a virtual function: its physical function and the host own this"
APU_REASON = "an APU: its table and memory are the system's, not behind a BAR"

Question = tuple[str, Callable[[Session], None]]
# Registers of the device itself. A virtual function has no rights to them; its host must be asked.
HARDWARE: tuple[Question, ...] = (
    ("PSP boot status", psp.ask),
    ("SMU", smu.ask),
    ("RAS flags", ras.ask),
    ("XGMI", xgmi.ask),
    ("VM faults", gmc.ask),
    ("GFX engines", gfx.ask),
    ("SDMA engines", sdma.ask),
)

NO_TIME = "no time was left to ask it with the map of another GPU"
BEYOND_XCC0 = " beyond XCC 0"
# What needs bases, by the names under which it may be without an answer; first what tells most.
WITH_A_MAP: tuple[tuple[tuple[str, ...], Callable[[Session], None]], ...] = (
    ((xgmi.LINKS_QUESTION, xgmi.OTHER_LINKS, xgmi.HIVE_QUESTION), xgmi.ask),
    (("VM faults", f"VM faults{BEYOND_XCC0}"), gmc.ask),
    (("GFX engines", f"GFX engines{BEYOND_XCC0}"), gfx.ask),
    (("SDMA engines",), sdma.ask),
    ((psp.OTHER_AIDS,), psp.ask_others),
)


def probe_one(
    transport: Transport,
    *,
    part: Part,
    clock: Clock,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Progress | None = None,
) -> Progress:
    """Ask one GPU everything, within `settings.limit_s` on `clock`. Raises nothing that the GPU or its transport did.

    With `settings.borrowed`: go on from `earlier`, with the map of another GPU."""
    settings = settings or Settings()
    deadline = clock.now() + settings.limit_s
    try:
        info = transport.info()
    except (DeviceLost, Unavailable) as error:
        return _not_there(transport, part, error)
    reader = Bounded(ReadOnly(transport, INDEX_REGISTERS), clock, deadline, info.bdf)
    session = Session(
        transport.name, reader, Access(reader), clock, part, info, settings, on_progress=on_progress, deadline=deadline
    )
    try:
        if earlier is not None and settings.borrowed is not None:
            session.resume(earlier)
            _ask_again(session, settings.borrowed)
        elif part.is_nvidia:
            from probe import nv

            nv.ask_all(session)
        else:
            _ask_all(session)
    except Gone as gone:
        session.found(pci.lost_finding(session, str(gone)))
        session.unanswered.clear()
    except OutOfTime:
        _out_of_time(session)
    return session.progress(done=True)


def _not_there(transport: Transport, part: Part, error: GpumendError) -> Progress:
    """The function has no entry on the bus (any more)."""
    info = FunctionInfo(transport.name, 0, part.device)
    finding = Finding(
        "pci.lost",
        Severity.FATAL,
        "the GPU is not on the PCI bus any more",
        expected="a PCI function at its address",
        seen=error.seen or str(error.doing),
        where=transport.name,
        next=pci.NEXT_LOST,
    )
    return Progress(
        "identity", {"identity": pci.identity_facts(info, part, transport.name, None)}, (finding,), (), done=True
    )


def _ask_all(session: Session) -> None:
    session.ask("identity", pci.identity)
    session.ask("holders", host.ask)
    asleep = pci.asleep(session)
    if asleep != "D3cold":  # reading config space of a function in D3cold would wake it
        session.ask("config space", pci.config)
        session.ask("AER counts", pci.kernel_aer)
    if asleep:
        _mask(session, f"asleep in {asleep}; a probe wakes nothing")
        return
    reason = pci.memory_reason(session)
    if reason is None:
        session.ask("memory space", pci.memory_space)
        reason = pci.dead_reason(session)
    if reason is not None:
        _mask(session, reason)
        session.ask("the bound driver", kernel.driver)
        return
    _ask_registers(session)
    session.ask("the bound driver", kernel.driver)


def _ask_registers(session: Session) -> None:
    session.ask("memory size", discovery.memory_size)
    if session.part.is_vf:
        _skip_hardware(session, VF_REASON, ("discovery table", *(name for name, _ in HARDWARE)))
        return
    if session.part.is_apu:
        session.skip("discovery table", APU_REASON)
    else:
        session.ask("discovery table", discovery.ask)
    for name, question in HARDWARE:
        session.ask(name, question)
    if session.ip_map is None:
        beyond = "" if session.gc0 is None else BEYOND_XCC0
        names = (f"VM faults{beyond}", f"GFX engines{beyond}", "SDMA engines", psp.OTHER_AIDS)
        _skip_hardware(session, discovery.NO_BASES, names)
    session.ask("what looks stuck", _watch)


def _ask_again(session: Session, borrowed: IpMap) -> None:
    """Ask what had no answer for want of bases."""
    discovery.borrow(session, borrowed)
    asked = [(tuple(name for name in names if session.is_open(name)), question) for names, question in WITH_A_MAP]
    left = [(names, question) for names, question in asked if names]
    try:
        while left:
            names, question = left[0]
            session.answered(*names)
            session.ask(names[0], question)
            left.pop(0)
        if session.is_open(xgmi.LINKS_QUESTION):
            session.ask("the bound driver", kernel.driver)
    except OutOfTime:
        for names, _ in left:
            session.answered(*names)
            _skip_hardware(session, NO_TIME, names)
    session.ask("what looks stuck", _watch)


def _watch(session: Session) -> None:
    left_s = session.deadline - session.clock.now() - _FOR_LAST_FINDINGS_S
    suspects, session.suspects = session.suspects, []
    watched = watch(suspects, session.clock, min(WATCH_S, max(0.0, left_s)))
    for finding in watched.findings:
        session.found(finding)
    for suspect in watched.undecided:
        session.skip(suspect.name, suspect.reason)


def _out_of_time(session: Session) -> None:
    """The time was used up before what looked stuck could be watched."""
    session.found(timeout_finding(session.asking, session.settings.limit_s, session.info.bdf))
    for suspect in session.suspects:
        suspect.unsure()
        session.skip(suspect.name, suspect.reason)


def _skip_hardware(session: Session, reason: str, names: tuple[str, ...]) -> None:
    for name in names:
        session.skip(name, reason)


def _mask(session: Session, reason: str) -> None:
    """No register can be asked. A finding that says why stands for all of them; only an unknown state is listed."""
    if any(finding.severity.rank > Severity.UNKNOWN.rank for finding in session.findings):
        return
    _skip_hardware(session, reason, ("memory size", "discovery table", *(name for name, _ in HARDWARE)))
