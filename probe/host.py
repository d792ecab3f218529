"""Who holds this GPU open on this machine. Source: pcibus/holders.py (open files, mappings, the compute driver's list).

What could not be looked at (other users' processes) is told beside the list, not as a finding: it says nothing about
the GPU's health, only that an empty list proves nothing."""

from __future__ import annotations

from dataclasses import asdict

from pcibus.transport import Can
from probe.session import Session

LIMIT_S = 0.5
_SHOWN = 3


def ask(session: Session) -> None:
    """The processes that hold the device; None for a model, which has none to look for."""
    session.facts.update(holders=None, holders_complete=None)
    if Can.HOST not in session.transport.can:
        return
    from pcibus.holders import find_holders

    found = find_holders(
        session.info.bdf, root=session.settings.sys_root, proc=session.settings.proc_root, limit_s=LIMIT_S
    )
    session.facts["holders_complete"] = found.complete
    session.facts["holders"] = {
        "complete": found.complete,
        "gaps": list(found.gaps),
        "processes": [{**asdict(holder), "what": list(holder.what)} for holder in found.holders],
    }


def job_first(session: Session, next_: str) -> str:
    """`next_`, after a look at the job: with a driver bound and a process at work, what stands still may be waiting."""
    processes = (session.facts.get("holders") or {}).get("processes", ())
    working = [f"{item['pid']} {item['command']}".strip() for item in processes if not item["only_kfd"]]
    if not session.info.driver or not working:
        return next_
    more = f" and {len(working) - _SHOWN} more" if len(working) > _SHOWN else ""
    return f"first check whether the job makes progress (pid {', '.join(working[:_SHOWN])}{more}). If not: {next_}"
