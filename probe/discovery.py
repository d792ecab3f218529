"""The discovery table of one GPU: find it, check it, compare it with the saved good copy, and take the bases from it.

Source: amdriver/discovery_locate.py (where it is), amdriver/discovery.py (what is checked). When the GPU's own table cannot
be trusted, bases come from, in this order: the saved good copy of this very GPU, the copy of the bound driver, the map of
a whole GPU of the same part in the same probe, else none: then only registers at fixed places are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from amdriver.discovery import validate
from amdriver.discovery_locate import Located, from_debugfs, locate
from amdriver.ip_map import IpMap
from base.errors import GpumendError
from base.findings import Finding, Severity
from probe import blocks
from probe.reason import reason_of
from probe.session import Session

MEMSIZE = "amd.discovery.memsize"
NO_BASES = "without a valid discovery table it is not known where these registers are"
# Of several things wrong with one table the first of these is the cause; the others follow from it and become notes.
CAUSES = (
    MEMSIZE,
    "amd.discovery.unstable",
    "amd.discovery.bar0",
    "amd.discovery.signature",
    "amd.discovery.checksum",
)
DEBUGFS = "kernel/debug/dri"


def memory_size(session: Session) -> None:
    """RCC_CONFIG_MEMSIZE in MiB, as a fact; `locate` judges it."""
    session.facts["memory_mib"] = None
    word = session.value(blocks.nbio(session).RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE)
    if word is not None and not session.part.is_apu:
        session.facts["memory_mib"] = word.value


def ask(session: Session) -> None:
    """Read and validate the table; set `session.ip_map` to the best map there is."""
    facts: dict[str, Any] = {"valid": None, "source": None, "vram_offset": None, "bases_from": None}
    session.facts["discovery"] = facts
    golden = _golden(session)
    session.attempt("discovery table", lambda: _own(session, facts, golden))
    if session.ip_map is None:
        _elsewhere(session, facts, golden)
    if session.ip_map is not None:
        facts.update(_summary(session.ip_map))


def _golden(session: Session) -> bytes | None:
    if session.settings.golden is None:
        return None
    try:  # kept under the bus address where a GPU shows no serial number
        return session.settings.golden(session.serial or session.info.bdf)
    except GpumendError as error:  # a copy that went bad says nothing about the GPU
        session.found(
            Finding(
                "amd.discovery.golden",
                Severity.NOTE,
                "the saved good copy cannot be used",
                expected="a valid table",
                seen=reason_of(error),
                where=error.where,
                next=error.next_step,
            )
        )
        return None


def _own(session: Session, facts: dict[str, Any], golden: bytes | None) -> None:
    located = locate(session.access, session.clock, part=session.part)
    facts.update(source=located.source or None, vram_offset=located.vram_offset)
    if not located.blob:
        _keep(session, located.findings)
        return
    validation = validate(located.blob, golden=golden, vram_size_bytes=located.vram_size_bytes)
    _keep(session, (*located.findings, *validation.findings), at=_place(located), valid=validation.ip_map is not None)
    facts["valid"] = validation.ok and validation.ip_map is not None
    _use(session, facts, validation.ip_map, "its own table")
    if validation.ip_map is not None:
        session.table = located.blob


def _place(located: Located) -> str:
    return f"VRAM {located.vram_offset:#x}" if located.vram_offset is not None else located.source


def _keep(session: Session, findings: Iterable[Finding], at: str = "", *, valid: bool = False) -> None:
    """Tell the cause; what else is wrong with the same table becomes a note. Each says where in VRAM it was read.

    A memory size that is not the product's is the cause of a table that is not there. Beside a `valid` one it only says
    that this is another memory size than we know."""
    # Whether the boot firmware is ready is the PSP's question, asked next.
    told = [finding for finding in findings if finding.code != "amd.discovery.boot"]
    serious = [finding for finding in told if finding.severity.rank >= Severity.WARNING.rank]
    if valid:
        serious = [finding for finding in serious if finding.code != MEMSIZE]
    order = {code: place for place, code in enumerate(CAUSES)}
    cause = min(serious, key=lambda finding: order.get(finding.code, len(order)), default=None)
    for finding in told:
        where = (
            f"{finding.where} (table at {at} of {session.info.bdf})" if at and finding.where else finding.where or at
        )
        mild = finding in serious and finding is not cause
        severity = Severity.NOTE if mild else finding.severity
        if finding is cause and severity is Severity.WARNING:
            severity = Severity.ERROR if finding.code in CAUSES else severity
        session.found(replace(finding, where=where, severity=severity))


def borrow(session: Session, ip_map: IpMap) -> None:
    """Take the bases from the map of another GPU of this part, for a second look."""
    facts = session.facts["discovery"]
    _use(session, facts, ip_map, "another GPU of this part")
    facts.update(_summary(ip_map))


def _elsewhere(session: Session, facts: dict[str, Any], golden: bytes | None) -> None:
    for ip_map, source in _other_maps(session, golden):
        if ip_map is not None:
            _use(session, facts, ip_map, source)
            return


def _other_maps(session: Session, golden: bytes | None) -> Iterator[tuple[IpMap | None, str]]:
    if golden is not None:
        yield validate(golden).ip_map, "the saved good copy"
    yield _driver_map(session), "the bound driver's copy"


def _driver_map(session: Session) -> IpMap | None:
    if not session.on_host or not session.info.driver:
        return None
    copy = from_debugfs(session.info.bdf, session.settings.sys_root / DEBUGFS)
    return None if copy is None else validate(copy.blob, driver_copy=True).ip_map


def _use(session: Session, facts: dict[str, Any], ip_map: IpMap | None, source: str) -> None:
    session.ip_map = ip_map
    facts["bases_from"] = source if ip_map is not None else None


def _summary(ip_map: IpMap) -> dict[str, Any]:
    return {
        "ip_count": len(ip_map.instances),
        "gc_version": ".".join(map(str, ip_map.version_of("GC"))),
        "xcc": ip_map.xcc_mask.bit_count(),
        "sdma": ip_map.sdma_mask.bit_count(),
        "aids": ip_map.aid_count,
        "harvested": [instance.label for instance in ip_map.harvested],
    }
