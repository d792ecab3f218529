"""Memory hubs: is there a VM fault that nobody took, and whose is it.

Source: gmc_v9_0.c (status fields, client names), mmhub_v1_8.c, gfxhub_v1_2.c; gc_9_4_3_sh_mask.h. One hub per XCC
(GFXHUB) and one per AID (MMHUB). The status stays until a driver clears it. FED marks poisoned data, which a queue reset
does not cure. MMHUB clients have names for 1.8.0 only; the kernel knows none for 1.8.1."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from base.findings import Finding, Severity
from probe import blocks
from probe.session import Session
from registers.amd.gc_9_4_3 import Gc
from registers.amd.mmhub_1_8_0 import Mmhub
from registers.core import Bound

GFX_CLIENTS = ("CB", "DB", "IA", "WD", "CPF", "CPC", "CPG", "RLC", "TCP", "SQC (inst)", "SQC (data)", "SQG", "PA")
MM_CLIENTS: Mapping[int, str] = {
    2: "MP1",
    3: "MP0",
    33: "DBGU_IO0",
    34: "DBGU_IO2",
    36: "MPIO",
    107: "JPEG0",
    108: "VCN0",
    109: "VCNU0",
    139: "JPEG1",
    140: "VCN1",
    141: "VCNU1",
    161: "XDP",
    174: "HDP",
    384: "OSS",
    **{256 + engine: f"SDMA{engine}" for engine in range(5)},
}
MM_NAMED_VERSION = (1, 8, 0)
NEXT_FAULT = (
    "stop the process that owns this VMID and reset its queue; the fault status is cleared with it. If the queue cannot "
    "be stopped: reset the MEC of this XCC, then mode2"
)
NEXT_POISON = "poisoned memory was used: mode2, then retire the bad page; the process that used it must end"


def ask(session: Session) -> None:
    """Fault status of every hub."""
    rows: list[dict[str, Any]] = session.facts.setdefault("faults", [])
    named = session.ip_map is not None and session.ip_map.version_of("MMHUB") == MM_NAMED_VERSION
    mm_clients = MM_CLIENTS if named else {}
    gfx_clients = dict(enumerate(GFX_CLIENTS))
    for xcc, gc in blocks.gcs_left(session):
        hub = f"GFXHUB of XCC {xcc}"
        session.attempt(hub, partial(_hub, session, rows, gc, hub, gfx_clients))
    for aid, mmhub in blocks.mmhubs(session):
        hub = f"MMHUB of AID {aid}"
        session.attempt(hub, partial(_hub, session, rows, mmhub, hub, mm_clients))


def _hub(session: Session, rows: list[dict[str, Any]], block: Gc | Mmhub, hub: str, clients: Mapping[int, str]) -> None:
    register: Bound[Any] = block.VM_L2_PROTECTION_FAULT_STATUS  # the same fields in both blocks
    status = session.value(register)
    if status is None or status.value == 0:
        return
    low = block.VM_L2_PROTECTION_FAULT_ADDR_LO32.read().value
    high = block.VM_L2_PROTECTION_FAULT_ADDR_HI32.read().value
    fields = status.fields()
    row: dict[str, Any] = {
        "hub": hub,
        "status": status.value,
        "address": ((high & 0xF) << 32 | low) << 12,
        "vmid": fields["VMID"],
        "client": clients.get(fields["CID"]),
        "client_id": fields["CID"],
        "write": bool(fields["RW"]),
        "poison": bool(fields["FED"]),
        "more": bool(fields["MORE_FAULTS"]),
    }
    rows.append(row)
    session.found(_finding(row, f"{register.name}={status}", register.where))


def _finding(row: dict[str, Any], shown: str, where: str) -> Finding:
    client = f"{row['client']} ({row['client_id']:#x})" if row["client"] else f"client {row['client_id']:#x}"
    kind = "write" if row["write"] else "read"
    poison = row["poison"]
    return Finding(
        "amd.gmc.poison" if poison else "amd.gmc.fault",
        Severity.ERROR,
        f"{row['hub']}: {'poison used' if poison else 'page fault'} by VMID {row['vmid']}, {kind} at {row['address']:#x}",
        expected="VM_L2_PROTECTION_FAULT_STATUS=0",
        seen=f"{kind} by {client}, VMID {row['vmid']}, address {row['address']:#x}"
        f"{', more faults followed' if row['more'] else ''}; {shown}",
        where=where,
        next=NEXT_POISON if poison else NEXT_FAULT,
    )
