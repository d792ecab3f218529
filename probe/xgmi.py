"""XGMI: which node of which hive is this GPU, and which of its links are up.

Source: gfxhub_v1_2.c (XGMI_LFB_CNTL: node and highest node; 0 means that XGMI is off), amdgpu_xgmi.c
xgmi_v6_4_get_link_status (one state word per link at fixed SMN addresses, two links per AID; low byte 0x81 active, 0xD1
disabled, else not trained), amdgpu_xgmi_get_ext_link (which port of the package a link is). All GPUs of a hive are linked
with each other, so a hive of n needs n - 1 active links on each; links that it does not need are disabled. The kernel
asks links of hives only; we also ask those of a GPU that is alone, where a link that tries and fails shows."""

from __future__ import annotations

from typing import Any

from base.findings import Finding, Severity
from probe import blocks
from probe.session import Session
from probe.watch import Suspect
from registers.amd_smn import (
    XGMI_PCS_STATE_HIST1,
    XGMI_PCS_STATE_HIST1_6_4_1,
    XGMI_PORT_OF_LINK,
    XGMI_STATE_ACTIVE,
    XGMI_STATE_DISABLED,
)

SMN_STATE: dict[tuple[int, int, int], tuple[int, int]] = {
    (6, 4, 0): XGMI_PCS_STATE_HIST1,
    (6, 4, 1): XGMI_PCS_STATE_HIST1_6_4_1,
}
BY_ARCH = {"gfx942": (6, 4, 0), "gfx950": (6, 4, 1)}
PORTS = XGMI_PORT_OF_LINK  # indexed by link, as amdgpu_xgmi_get_ext_link does
MAX_NODES = 8
HIVE_QUESTION = "hive membership"
LINKS_QUESTION = "XGMI links"
OTHER_LINKS = "XGMI links of AIDs 1-3"
LINK = "amd.xgmi.link"
NEXT_LINK = (
    "leave it running and record it; traffic to the GPU at the other end is slow or stands. When the hive can be "
    "stopped: reset the hive with mode1, all GPUs together, which trains the links again; if it stays: cable or board"
)

NEXT_ALONE = (
    "record it. The GPU itself says that it is in no hive; if it should be in one, its links never came up: reset all "
    "members together with mode1, which trains the links again; if it stays: cable or board"
)


def ask(session: Session) -> None:
    """Node id, size of the hive, link states. What an earlier look has answered is not asked again."""
    facts = session.facts.setdefault("xgmi", empty_facts())
    if facts["nodes"] is None:
        session.attempt(HIVE_QUESTION, lambda: _membership(session, facts))
    if facts["nodes"] is None:
        session.skip(LINKS_QUESTION, "it is not known how many GPUs this one is linked with")
        return
    if facts["nodes"] < 2 and not _has_links(session):
        if session.ip_map is None:
            session.skip(LINKS_QUESTION, "without a valid discovery table it is not known whether this GPU has links")
        return
    version = BY_ARCH[session.part.arch]
    if session.ip_map is not None and session.ip_map.version_of("XGMI") in SMN_STATE:
        version = session.ip_map.version_of("XGMI")
    state = _Links(session, facts, SMN_STATE[version])
    session.attempt(LINKS_QUESTION, lambda: _links(session, state))
    if session.ip_map is None:
        session.skip(OTHER_LINKS, "without a valid discovery table it is not known which AIDs are there")


def _has_links(session: Session) -> bool:
    """Whether a GPU that is in no hive has links to ask about: only where its own table names them. A card without XGMI
    may not answer at such an address at all."""
    return session.ip_map is not None and bool(session.ip_map.find("XGMI"))


def empty_facts() -> dict[str, Any]:
    return {"node": None, "nodes": None, "segment_mib": None, "links": [], "source": None, "hive_id": None}


def _links(session: Session, state: _Links) -> None:
    if state.look():
        return
    earlier = [finding for finding in session.findings if finding.code == LINK]
    if not earlier:
        session.suspects.append(Suspect(LINKS_QUESTION, state.look, state.finding))
        return
    # Watched by an earlier look that saw fewer links: now all that are down can be named.
    session.findings[:] = [finding for finding in session.findings if finding.code != LINK]
    session.found(state.finding(None))


def _membership(session: Session, facts: dict[str, Any]) -> None:
    first = next(iter(blocks.gcs(session)), None)
    if first is None:
        _guess(session, facts)
        return
    gc = first[1]
    control = session.value(gc.MC_VM_XGMI_LFB_CNTL)
    size = session.value(gc.MC_VM_XGMI_LFB_SIZE)
    if control is None or size is None:
        return
    node, nodes = control.PF_LFB_REGION, control.PF_MAX_REGION + 1
    if nodes > MAX_NODES or node >= nodes:
        session.skip(HIVE_QUESTION, f"{gc.MC_VM_XGMI_LFB_CNTL.name}={control} names no node of a hive")
        return
    facts.update(node=node, nodes=nodes, segment_mib=size.PF_LFB_SIZE << 4, source="XGMI_LFB_CNTL")


def _guess(session: Session, facts: dict[str, Any]) -> None:
    """Without a discovery table: try the usual place of GC instance 0, and believe it only if it knows the memory size.

    The frame buffer's range must hold the memory of every node, and each node's segment the memory of this GPU."""
    gc = blocks.gc_guess(session)
    memory_mib = session.facts.get("memory_mib")
    control = gc.MC_VM_XGMI_LFB_CNTL.read()
    segment_mib = gc.MC_VM_XGMI_LFB_SIZE.read().PF_LFB_SIZE << 4
    base = gc.MC_VM_FB_LOCATION_BASE.read().FB_BASE
    top = gc.MC_VM_FB_LOCATION_TOP.read().FB_TOP
    span_mib = (top - base + 1) << 4
    node, nodes = control.PF_LFB_REGION, control.PF_MAX_REGION + 1
    sane = control.value != 0xFFFFFFFF and node < nodes <= MAX_NODES and memory_mib
    alone = nodes == 1 and span_mib >= (memory_mib or 0) and span_mib < 2 * (memory_mib or 0)
    together = nodes > 1 and segment_mib >= (memory_mib or 0) and span_mib >= nodes * (memory_mib or 0)
    if not sane or not (alone or together):
        session.skip(HIVE_QUESTION, "without a discovery table it is not known where the registers of GC are")
        return
    facts.update(node=node, nodes=nodes, segment_mib=segment_mib, source="XGMI_LFB_CNTL at its usual place")
    session.gc0 = gc


class _Links:
    """Every link of this GPU, sampled until enough of them are active."""

    def __init__(self, session: Session, facts: dict[str, Any], addresses: tuple[int, int]) -> None:
        self.session = session
        self.facts = facts
        self.addresses = addresses
        self.bad: list[dict[str, Any]] = []

    def look(self) -> bool:
        rows: list[dict[str, Any]] = []
        for aid in blocks.aids(self.session):
            for pcs, address in enumerate(self.addresses):
                rows.append(self._link(aid, pcs, address))
        self.facts["links"] = rows
        self.bad = bad_links(rows, self.facts["nodes"], whole=self.session.ip_map is not None)
        return not self.bad

    def _link(self, aid: int, pcs: int, address: int) -> dict[str, Any]:
        link = 2 * aid + pcs
        word = self.session.access.smn_read(address, aid)
        row: dict[str, Any] = {"link": link, "port": PORTS[link], "aid": aid, "state": _state(word), "word": word}
        if row["state"] is None:
            self.session.confirm_present()
            self.session.skip(f"XGMI link {link}", f"SMN {address:#x} of AID {aid} reads 0xffffffff")
        return row

    def finding(self, watched_s: float | None) -> Finding:
        return link_finding(
            self.bad, self.facts, self.session.place(f"SMN {self.addresses[0]:#x}, {self.addresses[1]:#x}"), watched_s
        )


def _state(word: int) -> str | None:
    if word == 0xFFFFFFFF:
        return None
    return {XGMI_STATE_ACTIVE: "active", XGMI_STATE_DISABLED: "disabled"}.get(word & 0xFF, "inactive")


def bad_links(rows: list[dict[str, Any]], nodes: int, *, whole: bool) -> list[dict[str, Any]]:
    """Those of one GPU's links that should be up and are not. `whole`: `rows` are all the links it has."""
    bad = [row for row in rows if row["state"] == "inactive"]
    if nodes < 2:
        # Out of a hive nobody says which links should be up. One that is neither off nor up tries and fails;
        # a word of 0 says nothing.
        return [row for row in bad if row["word"]]
    could_be_up = sum(row["state"] in ("active", None) for row in rows) + len(bad)
    if whole and could_be_up < nodes - 1:
        # Too few active ones: a disabled one should be up; which one, nobody can tell.
        bad += [row for row in rows if row["state"] == "disabled"]
    return bad


def link_finding(bad: list[dict[str, Any]], facts: dict[str, Any], where: str, watched_s: float | None) -> Finding:
    """Some of the links `bad` of one GPU should be up. `watched_s` None: seen by comparing with the other members."""
    needed = facts.get("expected_links", facts["nodes"] - 1)
    active = sum(row["state"] == "active" for row in facts["links"])
    words = ", ".join(_shown(row) for row in bad)
    watched = "" if watched_s is None else f", unchanged for {watched_s:.1f} s"
    summary = f"XGMI: {active} of {needed} links active" if needed else f"XGMI: {len(bad)} links are down"
    if len(bad) == 1:
        summary = f"XGMI link {bad[0]['link']} (AID {bad[0]['aid']}, port {bad[0]['port']}) is down"
    return Finding(
        LINK,
        Severity.WARNING,
        summary,
        expected=_expected(needed, facts["nodes"]),
        seen=f"{active} active; not active: {words}{watched}",
        where=where,
        next=NEXT_LINK if needed else NEXT_ALONE,
    )


def _expected(needed: int, nodes: int) -> str:
    if not needed:
        return "every link active (state 0x81) or disabled (0xd1)"
    return f"{needed} active links (state 0x81) in a hive of {nodes}, none inactive"


def _shown(row: dict[str, Any]) -> str:
    word = "" if row["word"] is None else f", state {row['word'] & 0xFF:#04x}"
    return f"link {row['link']} (AID {row['aid']}, port {row['port']}) {row['state']}{word}"
