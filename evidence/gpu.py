"""What the GPU itself says: config space of it and of the ports above, its discovery table, registers by name.

All through the read-only transport, with the same care as the probe: nothing that MMIO says is asked for when the function is
lost, asleep or does not decode its memory; what reads with side effects is left out (amdriver/regs.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial

from amdriver.access import INDEX_REGISTERS, Access
from amdriver.discovery import Validation, validate
from amdriver.discovery_locate import Located, look_up
from amdriver.ip_map import IpMap
from amdriver.regs import Reading, read_registers
from base.errors import GpumendError, Refused
from base.findings import Finding
from evidence.parts import Collector, Limits, Out, Places, attempt
from evidence.safe import read_file
from evidence.subject import Subject, on_host
from pcibus import sysfs
from pcibus.config import ConfigSpace, Link, decode, serial_number, why_all_ones
from pcibus.readonly import ReadOnly
from pcibus.transport import Transport
from probe.bounded import Bounded
from registers.amd_fixed import Fixed

_MAX_PORTS = 8  # a GPU behind two switches has five above it
ALL_ONES = 0xFFFFFFFF
SERIALS = ("unique_id", "serial_number", "fru_id")  # of amdgpu

# What is asked before a reset, in this order: what is nearest to the bus first, each block's own state before its details.
# Header dumps and other registers that step on when they are read are not among them.
QUICK: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("BIF", ("RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE",)),
    ("PSP", tuple(f"MP0_SMN_C2PMSG_{number}" for number in (33, 35, 36, 58, 64, 67, 81, 92))),
    ("SMU", tuple(f"MP1_SMN_C2PMSG_{number}" for number in (66, 82, 90))),
    ("IH", ("IH_STATUS", "IH_RB_RPTR", "IH_RB_WPTR")),
    ("hubs", ("VM_L2_PROTECTION_FAULT_STATUS", "VM_L2_PROTECTION_FAULT_ADDR_*")),
    ("GFX", ("GRBM_STATUS", "GRBM_STATUS2", "CP_STAT", "CP_CPC_STATUS", "CP_CPF_STATUS", "RLC_STAT")),
    ("MEC", ("CP_MEC_CNTL", "CP_MEC1_INSTR_PNTR", "CP_MEC2_INSTR_PNTR")),
    ("SDMA", ("SDMA_STATUS_REG", "SDMA_STATUS1_REG", "SDMA_F32_CNTL", "SDMA_GFX_RB_RPTR", "SDMA_GFX_RB_WPTR")),
)
FULL: tuple[tuple[str, tuple[str, ...]], ...] = (
    *QUICK,
    ("PSP messages", ("MP0_SMN_C2PMSG_*",)),
    ("SMU messages", ("MP1_SMN_C2PMSG_*",)),
    ("IH rings", ("IH_RB_*", "IH_CNTL", "IH_INT_FLOOD_*")),
    ("hub faults", ("VM_L2_PROTECTION_FAULT_CNTL*",)),
    ("GFX engines", ("GRBM_STATUS_SE*", "CP_*STATUS*", "CP_*BUSY_STAT*", "RLC_GPM_STAT", "*INSTR_PNTR")),
    ("SDMA rings", ("SDMA_STATUS*_REG", "SDMA_GFX_RB_*", "SDMA_RLC*_RB_?PTR*")),
)


def folder(subject: Subject) -> str:
    """Where its files lie in the bundle."""
    return f"gpu{subject.index}"


def collectors(subject: Subject, places: Places, limits: Limits, *, quick: bool) -> list[Collector]:
    """Config space; then discovery table and registers, one after the other because both use the index registers (of an
    NVIDIA GPU: evidence/nvidia.py)."""
    names = QUICK if quick else FULL
    works = (
        ("pci", partial(_config, subject, places), limits.fast_s),
        ("hardware", partial(_hardware, subject, places, names, limits.hardware_s), limits.hardware_s),
    )
    made = works[:1] if subject.part.is_nvidia else works
    return [Collector(name, work, limit_s, subject.index, apart=on_host(subject)) for name, work, limit_s in made]


# ---------------------------------------------------------------- config space


def _config(subject: Subject, places: Places, out: Out) -> None:
    """Raw bytes, decoded fields, and lines for people; of the function and of every port above it."""
    for role, transport, upstream in _chain(subject, places):
        info = transport.info()
        name = f"{folder(subject)}/pci/{info.bdf.replace(':', '-')}"
        if not out.begin(f"config space of {info.bdf}"):
            continue
        with attempt(out, f"config space of {info.bdf}"):
            decoded = decode(transport, upstream)
            if decoded.serial_number is not None:
                out.secret("serial", f"{decoded.serial_number:016x}")
            out.add(f"{name}.bin", _raw(transport), binary=True)
            body = {"bdf": info.bdf, "role": role, "driver": info.driver, **_plain(decoded)}
            out.add(f"{name}.json", _json(body))
            out.add(
                f"{folder(subject)}/pci.txt", "".join(f"{row}\n" for row in _lines(info.bdf, role, decoded)).encode()
            )


def _chain(subject: Subject, places: Places) -> Iterator[tuple[str, Transport, Transport | None]]:
    """The function, then the ports above it: (role, transport, the port above that)."""
    transport: Transport = ReadOnly(subject.transport, INDEX_REGISTERS)
    role = "GPU"
    for number in range(1, _MAX_PORTS + 1):
        above = transport.info().upstream if on_host(subject) else None
        port = sysfs.SysfsTransport(above, root=places.sys, proc=places.proc) if above else None
        yield role, transport, port
        if port is None:
            return
        transport, role = ReadOnly(port), f"port {number} above"


def _raw(transport: Transport) -> bytes:
    return b"".join(
        transport.config_read(at, 4).to_bytes(4, "little") for at in range(0, transport.config_size() & ~3, 4)
    )


def _plain(decoded: ConfigSpace) -> dict[str, object]:
    body = asdict(decoded)
    body["findings"] = [finding.to_dict() for finding in decoded.findings]
    if decoded.serial_number is not None:
        body["serial_number"] = f"{decoded.serial_number:016x}"
    return body


def _lines(bdf: str, role: str, decoded: ConfigSpace) -> Iterator[str]:
    """What `lspci -vv` would say of what matters here."""
    if decoded.lost:
        yield f"{bdf} ({role}): config space reads all ones"
        return
    ids = f"{decoded.vendor or 0:04x}:{decoded.device or 0:04x}"
    kind = decoded.port_type or "not PCIe"
    yield f"{bdf} ({role}): {ids} rev {decoded.revision}, class {decoded.class_code or 0:06x}, {kind}"
    command = decoded.command
    if command is not None:
        yield f"  control  memory{_sign(command.memory)} bus master{_sign(command.bus_master)} ({command.value:#06x})"
    yield f"  power    {decoded.power_state or 'unknown'}; FLR {_known(decoded.flr)}"
    if decoded.link is not None:
        yield f"  link     {_link(decoded.link)}"
    aer = decoded.aer
    if aer is not None:
        for word in ("correctable", "nonfatal", "fatal", "masked"):
            yield f"  aer      {word}: {', '.join(getattr(aer, word)) or '-'}"
        if aer.first_error:
            yield f"  aer      first: {aer.first_error}; header log {' '.join(f'{item:08x}' for item in aer.header_log)}"
    yield f"  caps     {', '.join(entry.name for entry in decoded.capabilities) or 'none readable'}"
    for finding in decoded.findings:
        yield f"  finding  {finding.severity}: {finding.summary} [{finding.code}] {finding.seen}"


def _link(link: Link) -> str:
    now = f"{link.speed_gts or 'unknown'} GT/s x{link.width or 'unknown'}"
    best = f"{link.best_speed_gts or 'unknown'} GT/s x{link.best_width or 'unknown'}"
    return f"{now} of {best}; ASPM {link.aspm or 'off'} (can {link.aspm_supported or 'none'}); active {_known(link.active)}"


def _sign(on: bool) -> str:
    return "+" if on else "-"


def _known(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


# ---------------------------------------------------------------- discovery table and registers


def _hardware(
    subject: Subject, places: Places, names: Sequence[tuple[str, tuple[str, ...]]], limit_s: float, out: Out
) -> None:
    clock = subject.clock
    info = subject.transport.info()
    reader = Bounded(ReadOnly(subject.transport, INDEX_REGISTERS), clock, clock.now() + limit_s, info.bdf)
    doubts = why_all_ones(reader)
    if doubts:
        out.add(f"{folder(subject)}/not-asked.json", _json([finding.to_dict() for finding in doubts]))
        out.unread("discovery table and registers", f"not asked: {doubts[0].summary}")
        return
    ip_map: IpMap | None = None
    if out.begin("discovery table"):
        with attempt(out, "discovery table"):
            ip_map = _discovery(subject, places, reader, out)
    _registers(subject, Access(reader), ip_map, names, out)


def _discovery(subject: Subject, places: Places, reader: Transport, out: Out) -> IpMap | None:
    """`discovery.bin` as it was read, and what is wrong with it. The IP map when it can be trusted."""
    if subject.part.is_vf or subject.part.is_apu:
        out.unread("discovery table", "a virtual function or an APU shows none")
        return None
    located, is_copy = look_up(reader, subject.clock, part=subject.part, debugfs=places.sys / "kernel/debug/dri")
    checked = (
        validate(located.blob, vram_size_bytes=located.vram_size_bytes, driver_copy=is_copy) if located.blob else None
    )
    if located.blob:
        out.add(f"{folder(subject)}/discovery.bin", located.blob, binary=True)
    else:
        out.unread("discovery table", located.findings[0].summary if located.findings else "nothing was read")
    out.add(f"{folder(subject)}/discovery.json", _json(_verdict(located, checked)))
    return checked.ip_map if checked and not is_copy else None


def _verdict(located: Located, checked: Validation | None) -> dict[str, object]:
    found: tuple[Finding, ...] = (*located.findings, *(checked.findings if checked else ()))
    known = (checked.ip_map or checked.salvaged) if checked else None
    return {
        "source": located.source,
        "vram_offset": located.vram_offset,
        "memory_mib": located.memsize_mib,
        "bytes": len(located.blob),
        "valid": bool(checked and checked.ok),
        "trusted": bool(checked and checked.ip_map),
        "findings": [finding.to_dict() for finding in found],
        "header": asdict(checked.header) if checked and checked.header else None,
        "tables": [table._asdict() for table in checked.tables] if checked else [],
        "ips": [
            {
                "name": ip.name, "die": ip.die, "instance": ip.instance, "version": ip.version_text,
                "harvested": ip.harvested, "bases": list(ip.bases),
            }
            for ip in known.instances
        ] if known else [],
    }  # fmt: skip


def _registers(
    subject: Subject, access: Access, ip_map: IpMap | None, names: Sequence[tuple[str, tuple[str, ...]]], out: Out
) -> None:
    """One line a register, in the order in which they were read."""
    file = f"{folder(subject)}/registers.txt"
    if out.begin("registers at fixed places"):
        with attempt(out, "registers at fixed places"):
            out.add(file, _fixed(access))
    if ip_map is None:
        out.unread("registers beyond the fixed ones", "without a trusted discovery table nobody knows where they lie")
        return
    counts = {"read": 0, "all_ones": 0, "not_read": 0}
    for group, globs in names:
        if not out.begin(f"registers of {group}"):
            continue
        out.add(file, f"# {group}\n".encode())
        for glob in globs:
            with attempt(out, f"registers {glob}"):
                readings = read_registers(access, ip_map, glob)
                out.add(file, "".join(f"{_reading(item)}\n" for item in readings).encode())
                for item in readings:
                    counts["not_read" if item.raw is None else "all_ones" if item.raw == ALL_ONES else "read"] += 1
    out.add(f"{folder(subject)}/registers.json", _json(counts))


def _fixed(access: Access) -> bytes:
    """What can be read of a GPU of which nothing is known."""
    block = Fixed(access)
    rows = ["# fixed places"]
    for name in ("RCC_CONFIG_MEMSIZE", "MP0_SMN_C2PMSG_33", "DRIVER_SCRATCH_0", "DRIVER_SCRATCH_1", "DRIVER_SCRATCH_2",
                 "IP_DISCOVERY_VERSION"):  # fmt: skip
        register = getattr(block, name)
        try:
            value = register.read()
        except Refused as error:
            rows.append(f"{name} @ {register.where}: not read: {error.seen}")
            continue
        rows.append(f"{name} @ {register.where}: {value}{_ones(value.value)}")
    return ("\n".join(rows) + "\n").encode()


def _reading(item: Reading) -> str:
    place = "" if item.address is None else f" @ {item.address:#x}" + (f" AID {item.aid}" if item.aid else "")
    value = item.value
    return f"{item.name}{place}: {item.note if value is None else f'{value}{_ones(value.value)}'}"


def _ones(value: int) -> str:
    return "  ALL ONES" if value == ALL_ONES else ""


def _json(body: object) -> bytes:
    return (json.dumps(body, default=str) + "\n").encode()


def learn_serials(subject: Subject, places: Places, out: Out) -> None:
    """The serial numbers that the driver and config space tell, so that they can be taken out of everything else."""
    for name in SERIALS if on_host(subject) else ():
        if out.begin(f"{name} of GPU {subject.index}"):
            with suppress(GpumendError):
                text, _ = read_file(places.sys, f"bus/pci/devices/{subject.transport.info().bdf}/{name}", 256)
                out.secret("serial", text.decode("utf-8", "replace"))
    if out.begin(f"serial number of GPU {subject.index}"):
        number = serial_number(subject.transport)
        if number is not None:
            out.secret("serial", f"{number:016x}")
