"""The probe of one NVIDIA GPU: first what costs nothing and needs no GPU that answers (procfs, kernel log), then config
space, then registers, last the loaded driver, whose calls may stick.

Source: nvidia-resets.md sections 5 to 7 (how loss shows, recovery action, Xids). Registers: nv_boot.py; the driver's
answers: nv_driver.py. Same words, actions and exit codes as for AMD."""

from __future__ import annotations

from typing import Any

from base.errors import Unavailable
from base.findings import Finding, Severity
from nvdriver import host, xid
from nvdriver.ask import RECOVERY
from probe import host as holders
from probe import nv_boot, nv_driver, nv_switch, pci
from probe.nv_driver import files_of
from probe.nv_needs import need
from probe.session import Session

FRESH_S = 900.0  # how long an application's Xid is news: the GPU itself is well after it
_TEXT_MOST = 300

REGISTERS, LOG = "NVIDIA registers", "Xids of the kernel log"


def ask_all(session: Session) -> None:
    """Ask one GPU everything; findings and facts are left in the session. Raises only Gone and OutOfTime."""
    session.facts["nvidia"] = _no_facts()
    session.ask("identity", pci.identity)
    session.ask("holders", holders.ask)
    session.ask("the driver's version", _version)
    session.ask(LOG, _kernel_log)
    try:
        _ask_device(session)
    finally:  # of a GPU that is gone, too
        _recovery_of_the_log(session)


def _ask_device(session: Session) -> None:
    asleep = pci.asleep(session)
    if asleep != "D3cold":
        session.ask("config space", pci.config)
        session.ask("AER counts", pci.kernel_aer)
    if asleep:
        session.skip(REGISTERS, f"asleep in {asleep}; a probe wakes nothing")
        return
    reason = pci.memory_reason(session)
    if reason is None:
        session.ask(REGISTERS, nv_boot.registers)
    elif not _explained(session):
        session.skip(REGISTERS, reason)
    session.ask(nv_driver.DRIVER, nv_driver.driver)


def _no_facts() -> dict[str, Any]:
    names = (
        "driver",
        "uuid",
        "minor",
        "vbios",
        "firmware",
        "xids",
        "xids_before",
        "sxids",
        "boot",
        "initialized",
        "recovery_action",
    )
    return dict.fromkeys(names)


def _explained(session: Session) -> bool:
    return any(finding.severity.rank > Severity.UNKNOWN.rank for finding in session.findings)


# ---------------------------------------------------------------- host side


def _version(session: Session) -> None:
    files = files_of(session, "the driver's version")
    loaded = host.driver(files) if files is not None else None
    if files is None or loaded is None:
        return
    facts = session.facts["nvidia"]
    facts["driver"] = {"version": loaded.version or None, "branch": loaded.branch, "open": loaded.is_open}
    if session.info.driver != host.DRIVER:
        return
    try:
        page = host.page(files, session.info.bdf)
    except Unavailable:
        return  # the driver is loaded, and has not taken this GPU
    facts.update(uuid=page.uuid, minor=page.minor, vbios=page.vbios, firmware=page.firmware)


def _kernel_log(session: Session) -> None:
    files = files_of(session, LOG)
    if files is None:
        return
    text, now_s = files.kernel_log(), files.uptime_s()
    log = xid.read_log(text, session.info.bdf)
    facts = session.facts["nvidia"]
    facts["xids_before"] = log.past
    facts["xids"] = [
        {
            "number": item.number,
            "name": item.known.name if item.known else None,
            "count": item.count,
            "first_s": item.first_s,
            "last_s": item.last_s,
            "text": item.text[:_TEXT_MOST],
        }
        for item in log.seen
    ]
    if log.action is not None:
        facts["recovery_action"] = RECOVERY.get(log.action, f"{log.action:#x}")
    first = log.first_fatal
    for item in log.seen:
        session.found(_xid_finding(session, item, now_s, is_first=item is first))
    nv_switch.judge(session, text, now_s)


def _xid_finding(session: Session, item: xid.Seen, now_s: float, *, is_first: bool) -> Finding:
    known = item.known
    times = "once" if item.count == 1 else f"{item.count} times"
    when = "" if item.first_s is None else f", first {max(0.0, now_s - item.first_s):.0f} s ago"
    seen = f"{times}{when}: {item.text[:_TEXT_MOST]}"
    where = f"kernel log, NVRM: Xid (PCI:{session.info.bdf.rpartition('.')[0]})"
    code = f"nv.xid.{item.number}"
    if known is None:
        return Finding(
            code,
            Severity.UNKNOWN,
            f"Xid {item.number}: a number that the catalogue does not have",
            expected="a number of the catalogue (1 to 173)",
            seen=seen,
            where=where,
            next="look it up in NVIDIA's Xid catalogue of your driver; until then this GPU is not known to be well",
        )
    again = f"; if it comes again: {known.second}" if known.second else ""
    lead = "the first of its burst, so act on this one: " if is_first else ""
    return Finding(
        code,
        _xid_severity(known, item, now_s),
        f"Xid {item.number}: {known.name}: {known.meaning}"[:80],
        expected="no Xid since the driver was loaded",
        seen=seen,
        where=where,
        next=f"{lead}{known.first}{again}",
    )


def _xid_severity(known: xid.Xid, item: xid.Seen, now_s: float) -> Severity:
    """What hit one application only is over when that has ended: after a while it is a note."""
    is_old = item.last_s is not None and now_s - item.last_s > FRESH_S
    if is_old and known.kind in (xid.Kind.APP, xid.Kind.CONTAINED):
        return Severity.NOTE
    return known.severity


def _recovery_of_the_log(session: Session) -> None:
    """The driver's own word on what this GPU needs: asked, or read from the last Xid 154."""
    word = session.facts["nvidia"]["recovery_action"]
    if word is not None:
        need(
            session,
            word,
            session.place("recovery action of the driver (control GPU_GET_RECOVERY_ACTION, or Xid 154 in the log)"),
        )
