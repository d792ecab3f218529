"""The PCI side of a GPU: who it is, whether it is there, awake and decoded, its link and errors, and whether its registers
can be believed.

Source: pcibus/config.py decodes; amd-resets.md section 9 ("half alive": config space good, registers all ones, cured by
restoring config space), amd-discovery.md section 1 (registers at fixed places). All ones is never believed before config
space was asked: lost, asleep, decoding off, mapping refused and dead BAR are findings of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from amdriver.parts import Part
from base.errors import GpumendError, NotPermitted
from base.findings import Finding, Severity
from pcibus import config as pci_config
from pcibus.config import ConfigSpace
from pcibus.transport import ALL_ONES, FunctionInfo, Transport
from probe import blocks, kernel
from probe.session import Gone, Session

NEXT_LOST = f"reset the bus of the port that was above it; if it stays away: power cycle. {pci_config.NOT_BY_RESCAN}"
_BAR_AT = 0x10
_MMIO_BAR = 5


def identity(session: Session) -> None:
    """What the system says of the function; nothing of the device is touched."""
    info = session.info
    session.facts["identity"] = identity_facts(info, session.part, session.address, None)
    session.facts["pci"] = {
        "driver": info.driver,
        "power_state": info.power_state,
        "enabled": info.enabled,
        "upstream": info.upstream,
        "numa_node": info.numa_node,
        "iommu_group": info.iommu_group,
        "reset_methods": None if info.reset_methods is None else list(info.reset_methods),
        "memory_enabled": None,
        "bus_master": None,
        "config_bytes": None,
        "bars": None,
        "link": None,
        "aspm": None,
        "aer": None,
    }
    bars = session.transport.bars()
    session.facts["pci"]["bars"] = [
        {"index": bar.index, "address": bar.address, "size": bar.size} for _, bar in sorted(bars.items())
    ]


def identity_facts(info: FunctionInfo, part: Part, address: str, serial: int | None) -> dict[str, Any]:
    return {
        "address": address,
        "bdf": info.bdf,
        "part": part.name,
        "arch": part.arch,
        "vendor": info.vendor,
        "device": info.device,
        "subsystem_vendor": info.subsystem_vendor,
        "subsystem_device": info.subsystem_device,
        "revision": info.revision,
        "class_code": info.class_code,
        "serial": None if serial is None else f"{serial:016x}",
        "is_vf": part.is_vf or info.sriov_vf,
        "is_apu": part.is_apu,
    }


def asleep(session: Session) -> str | None:
    """The kernel's word for a sleeping function, with its finding; None when it is awake or nobody knows."""
    state = session.info.power_state
    if state not in ("D3hot", "D3cold"):
        return None
    for finding in pci_config.why_all_ones(session.transport):
        session.found(finding)
    return state


def config(session: Session) -> None:
    """Decode config space: lost, power, memory decoding, link, ASPM, AER. Raises Gone."""
    with closing_port(session) as port:
        space = pci_config.decode(session.transport, port)
    if space.lost:
        raise Gone("config space reads all ones")
    facts = session.facts["pci"]
    facts["config_bytes"] = space.readable_bytes
    if space.command is not None:
        facts.update(memory_enabled=space.command.memory, bus_master=space.command.bus_master)
    if space.power_state is not None and facts["power_state"] in (None, "unknown"):
        facts["power_state"] = space.power_state
    _identity(session, space)
    _link(facts, space)
    for finding in space.findings:
        _keep(session, finding)


def _identity(session: Session, space: ConfigSpace) -> None:
    known = session.facts["identity"]
    for name in ("subsystem_vendor", "subsystem_device", "revision", "class_code"):
        if known[name] is None:
            known[name] = getattr(space, name)
    if space.serial_number is not None:
        session.serial = f"{space.serial_number:016x}"
        known["serial"] = session.serial


def _link(facts: dict[str, Any], space: ConfigSpace) -> None:
    link, aer = space.link, space.aer
    if link is not None:
        facts["aspm"] = link.aspm
        facts["link"] = {
            "speed_gts": link.speed_gts,
            "width": link.width,
            "max_speed_gts": link.best_speed_gts,
            "max_width": link.best_width,
        }
    if aer is not None:
        facts["aer"] = {
            "correctable": list(aer.correctable),
            "nonfatal": list(aer.nonfatal),
            "fatal": list(aer.fatal),
            "masked": list(aer.masked),
        }


def _keep(session: Session, finding: Finding) -> None:
    if finding.code == "pci.power" and session.has("pci.power"):
        return
    if finding.code == "pci.memory-off":
        # Without a driver, decoding that is off says nothing about the GPU: only that it cannot be asked.
        bound = bool(session.info.driver)
        finding = replace(finding, severity=Severity.ERROR if bound else Severity.UNKNOWN)
    session.found(finding)


def kernel_aer(session: Session) -> None:
    """The kernel's AER counts since boot: it clears the status registers when it handles an error."""
    finding = kernel.aer(session)
    if finding is None or session.has("pci.aer"):
        return
    # A correctable error some time since boot is worth knowing, not a defect now.
    mild = finding.severity is Severity.WARNING
    session.found(replace(finding, severity=Severity.NOTE if mild else Severity.WARNING))


def memory_reason(session: Session) -> str | None:
    """Why the registers must not be touched; None: nothing known against it."""
    if session.has("pci.power"):
        return "asleep; a probe wakes nothing"
    if session.has("pci.memory-off"):
        _bars_lost(session)
        return "memory decoding is off"
    if _bars_lost(session):
        return "config space lost its BARs"
    return None


def _bars_lost(session: Session) -> bool:
    """The system gave the BARs addresses, and the device has forgotten them, as after mode1, mode2 or a reset unseen."""
    bars = [bar for bar in session.transport.bars().values() if bar.address and not bar.is_io]
    if not bars or session.part.is_vf:
        return False
    words = {bar.index: session.transport.config_read(_BAR_AT + 4 * bar.index, 4) & ~0xF for bar in bars}
    high = {bar.index: session.transport.config_read(_BAR_AT + 4 * bar.index + 4, 4) for bar in bars if bar.is_64bit}
    if any(words[bar.index] or high.get(bar.index) for bar in bars):
        return False
    session.findings[:] = [finding for finding in session.findings if finding.code != "pci.memory-off"]
    shown = ", ".join(f"BAR{bar.index} {bar.address:#x}" for bar in bars)
    session.found(
        Finding(
            "pci.bar-dead",
            Severity.ERROR,
            "config space lost its BARs: no register can be reached",
            expected=shown,
            seen="every BAR is 0",
            where=session.place(f"config+{_BAR_AT:#x}"),
            next="restore config space from a saved copy, or remove and rescan the function; then probe again",
        )
    )
    return True


def memory_space(session: Session) -> None:
    """Read four registers of different blocks at their fixed places; all ones from all of them: the BAR is dead."""
    mp0 = blocks.mp0(session)
    registers = (
        blocks.nbio(session).RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE,
        mp0.MP0_SMN_C2PMSG_33,
        mp0.MP0_SMN_C2PMSG_35,
        mp0.MP0_SMN_C2PMSG_81,
    )
    try:
        values = [register.read().value for register in registers]
    except NotPermitted as error:
        session.found(pci_config.finding_of(error))
        return
    if any(value != ALL_ONES for value in values):
        return
    session.confirm_present()
    reasons = pci_config.why_all_ones(session.transport)
    for finding in reasons:
        _keep(session, finding)
    if not reasons:
        session.found(_dead(session, [register.where for register in registers]))


def _dead(session: Session, places: list[str]) -> Finding:
    bar = session.transport.bars().get(_MMIO_BAR)
    address = f" at {bar.address:#x}" if bar is not None else ""
    return Finding(
        "pci.bar-dead",
        Severity.ERROR,
        "config space answers, but every register reads all ones",
        expected="register values: memory decoding is on and the function is awake",
        seen=f"0xffffffff from {len(places)} registers of NBIO and MP0 through BAR{_MMIO_BAR}{address}",
        where="; ".join(places[:2]),
        next="restore config space (BARs, command, MSI) from a saved copy and probe again; if it stays: function level "
        "reset where this part survives one, else reset of the bus above",
    )


def dead_reason(session: Session) -> str | None:
    """Why no register is asked after `memory_space`; None: they answer."""
    for code, reason in (
        ("pci.bar-dead", "every register reads all ones"),
        ("pci.mmap-refused", "the kernel refuses to map the registers"),
        ("pci.memory-off", "memory decoding is off"),
        ("pci.power", "asleep"),
    ):
        if session.has(code):
            return reason
    missing = [item.reason for item in session.unanswered if item.question == "memory space"]
    return missing[0] if missing else None


def lost_finding(session: Session, why: str) -> Finding:
    """The GPU is gone: from the start, or while it was asked. The port above is asked for its link."""
    with closing_port(session) as port:
        return pci_config.lost_finding(session.info, port, f"{why}, while asking: {session.asking}")


@contextmanager
def closing_port(session: Session) -> Iterator[Transport | None]:
    """The port above, for as long as it is asked; None where the system does not show it."""
    try:
        port = kernel.upstream(session)
    except (GpumendError, OSError):
        port = None
    try:
        yield port
    finally:
        if port is not None:
            port.close()
