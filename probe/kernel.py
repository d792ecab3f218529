"""What the kernel says of a GPU on this machine's bus: the port above, AER counts, and the bound amdgpu's own files.

Source: pci-sysfs (aer_dev_*), amdgpu_xgmi.c (xgmi_hive_info/xgmi_hive_id, node<n>, xgmi_physical_id), gpu_metrics. While a
driver is bound no index register may be written, so what lies behind one (other AIDs, SMU flags, links) is asked here.
Only files that a read does not change are read: amdgpu's ras/*_err_count resets its counters when read. A sick driver's
files can block for ever, so this comes last, and on hardware in a child."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from base.errors import GpumendError
from base.files import read_bounded
from base.findings import Finding
from pcibus import config as pci_config
from pcibus import sysfs
from pcibus.transport import Transport
from probe import metrics
from probe.reason import reason_of
from probe.session import Session
from probe.xgmi import HIVE_QUESTION, LINKS_QUESTION, OTHER_LINKS, PORTS, bad_links, empty_facts, link_finding

_MOST_BYTES = 4096
_NODE = re.compile(r"node\d+\Z")
_TOLD_BY = "amdgpu"
SMU_QUESTIONS = ("SMU firmware flags", "SMU firmware version")


def folder(session: Session) -> Path:
    return session.settings.sys_root / "bus/pci/devices" / session.info.bdf


def upstream(session: Session) -> Transport | None:
    """The port above, for what the other end of the link can do; None where the system does not show it."""
    if not session.on_host or not session.info.upstream:
        return None
    return sysfs.SysfsTransport(session.info.upstream, root=session.settings.sys_root)


def aer(session: Session) -> Finding | None:
    if not session.on_host:
        return None
    return pci_config.aer_finding(session.info.bdf, sysfs.aer_counters(session.info.bdf, session.settings.sys_root))


def driver(session: Session) -> None:
    """Ask the bound amdgpu what could not be asked of the GPU itself."""
    if not session.on_host or session.info.driver != "amdgpu":
        return
    session.attempt("hive of the bound driver", lambda: _hive(session))
    path = folder(session) / "gpu_metrics"
    try:
        data = read_bounded(path, metrics.MAX_BYTES)
    except GpumendError as error:
        session.skip("gpu_metrics of the bound driver", reason_of(error))
        return
    table = metrics.parse(data)
    if table is None:
        session.skip("gpu_metrics of the bound driver", f"not a table that is known: {data[:4].hex(' ')}")
        return
    _smu_answers(session)
    if table.link_states is not None:
        _links(session, table.link_states, path)


def _hive(session: Session) -> None:
    path = folder(session)
    facts = session.facts.setdefault("xgmi", empty_facts())
    facts["hive_id"] = _text(path / "xgmi_hive_info/xgmi_hive_id")
    if facts["nodes"] is not None:
        return
    physical = _text(path / "xgmi_physical_id")
    nodes = _nodes(path / "xgmi_hive_info")
    if physical is not None and physical.isdigit() and nodes:
        facts.update(node=int(physical), nodes=nodes, source=_TOLD_BY)
        session.answered(HIVE_QUESTION)


def _smu_answers(session: Session) -> None:
    """The driver's table comes from the SMU; and a driver that runs with a live secure OS has booted every AID."""
    smu = session.facts.get("smu")
    if smu is not None and smu["alive"] is None:
        smu.update(alive=True, source=_TOLD_BY)
        session.answered(*SMU_QUESTIONS)
    psp = session.facts.get("psp")
    if psp is not None and psp["sos_alive"]:
        session.answered(*[item.question for item in session.unanswered if item.question.startswith("boot status")])


def _links(session: Session, states: tuple[int, ...], path: Path) -> None:
    facts = session.facts.get("xgmi")
    if facts is None or facts["links"]:
        return
    if (facts["nodes"] or 1) < 2 and any(state != metrics.NOT_FILLED for state in states):
        return  # what the SMU says of links that lead nowhere is not known
    rows = [_link(link, states[PORTS[link]]) for link in range(metrics.LINKS)]
    if all(row["state"] is None for row in rows):
        return
    facts.update(links=rows, links_source=_TOLD_BY)
    session.answered(LINKS_QUESTION, OTHER_LINKS)
    bad = bad_links(rows, facts["nodes"], whole=True)
    if bad:
        session.found(link_finding(bad, facts, str(path), None))


def _link(link: int, state: int) -> dict[str, Any]:
    word = "disabled" if state == metrics.NOT_FILLED else metrics.STATES.get(state)
    return {"link": link, "port": PORTS[link], "aid": link // 2, "state": word, "word": None}


def _nodes(path: Path) -> int:
    try:
        return sum(1 for entry in path.iterdir() if _NODE.match(entry.name))
    except OSError:
        return 0


def _text(path: Path) -> str | None:
    """A small file's text; None when it is absent or cannot be read."""
    try:
        return read_bounded(path, _MOST_BYTES).decode("utf-8", "replace").strip() or None
    except GpumendError:
        return None
