"""Who holds this GPU open on this machine. Source: pcibus/holders.py (open files, mappings, the compute driver's list).

What could not be looked at (other users' processes) is told beside the list, not as a finding: it says nothing about
the GPU's health, only that an empty list proves nothing."""

from __future__ import annotations

from dataclasses import asdict

from pcibus.transport import Can
from probe.session import Session

LIMIT_S = 0.5


def ask(session: Session) -> None:
    """The processes that hold the device; None for a model, which has none to look for."""
    session.facts["holders"] = None
    if Can.HOST not in session.transport.can:
        return
    from pcibus.holders import find_holders

    found = find_holders(
        session.info.bdf, root=session.settings.sys_root, proc=session.settings.proc_root, limit_s=LIMIT_S
    )
    session.facts["holders"] = {
        "complete": found.complete,
        "gaps": list(found.gaps),
        "processes": [{**asdict(holder), "what": list(holder.what)} for holder in found.holders],
    }
