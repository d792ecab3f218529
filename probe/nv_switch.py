"""SXids: what the NVSwitches of the board said. Told with every GPU that may be linked by them: which link leads where only the
fabric manager knows. Source: nvdriver/sxid.py; nvidia-resets.md section 4."""

from __future__ import annotations

from base.findings import Finding, Severity
from nvdriver import sxid
from probe.session import Session

LINKED = frozenset({"GA100", "GH100"})  # later switches have no driver on the host
_TEXT_MOST = 300
_SEVERITY = {sxid.CORRECTABLE: Severity.NOTE, sxid.NON_FATAL: Severity.NOTE, sxid.FATAL: Severity.WARNING}


def judge(session: Session, log_text: str, now_s: float) -> None:
    """Facts and findings from the kernel log."""
    if session.part.arch not in LINKED:
        return
    rows = sxid.read_log(log_text)
    session.facts["nvidia"]["sxids"] = [
        {
            "number": row.number,
            "switch": row.switch,
            "bdf": row.bdf,
            "unit": row.unit,
            "word": row.word,
            "count": row.count,
            "last_s": row.last_s,
            "text": row.text[:_TEXT_MOST],
        }
        for row in rows
    ]
    for row in rows:
        session.found(_finding(row, now_s))


def _finding(row: sxid.Seen, now_s: float) -> Finding:
    always = row.is_always_fatal
    when = "" if row.last_s is None else f", last {max(0.0, now_s - row.last_s):.0f} s ago"
    code = "nv.sxid.fabric" if always else "nv.sxid.fatal" if row.word == sxid.FATAL else "nv.sxid.error"
    what = "fatal to the whole fabric" if always else row.word.lower()
    return Finding(
        code,
        Severity.ERROR if always else _SEVERITY[row.word],
        f"SXid {row.number} of an NVSwitch: {what}: {row.unit}"[:80],
        expected="no SXid since the driver was loaded",
        seen=f"{'once' if row.count == 1 else f'{row.count} times'}{when}: {row.text[:_TEXT_MOST]}",
        where=f"kernel log, {row.switch} ({row.bdf})",
        next=f"{row.next}. A GPU that it reached has Xid 74 or 45 beside it",
    )
