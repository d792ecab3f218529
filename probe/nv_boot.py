"""How far an NVIDIA GPU's boot got, read from its registers. Source: nvidia-gsp.md section 11 (how each failed stage looks)."""

from __future__ import annotations

from base.errors import NotPermitted
from base.findings import Finding, Severity
from nvdriver import bare
from nvdriver.bare import Bare, Stage
from pcibus import config as pci_config
from pcibus.transport import ALL_ONES
from probe.nv_needs import RESET_FIRST, need
from probe.session import Session


def registers(session: Session) -> None:
    alone = not session.info.driver
    try:
        seen = bare.look(lambda offset: session.transport.read32(bare.BAR, offset), alone=alone)
    except NotPermitted as error:
        session.found(pci_config.finding_of(error))
        return
    if seen.boot0 == ALL_ONES:
        _no_registers(session)
        return
    session.facts["nvidia"]["boot"] = {
        "chip": seen.chip or None,
        "stage": str(seen.stage),
        "boot_done": seen.boot_done,
        "wpr2": None if seen.wpr2 is None else list(seen.wpr2),
        "gsp_active": seen.gsp_active,
        "reset_required": seen.reset_required,
        "drain_and_reset": seen.drain_and_reset,
        "memory_mib": seen.memory_mib,
        "values": dict(seen.values),
        "refused": dict(seen.refused),
    }
    _judge_chip(session, seen)
    _judge_boot(session, seen)
    where = bare.register_where("SCRATCH_RESET", seen, session.info.bdf)
    if seen.reset_required:
        need(session, "reset", where)
    elif seen.drain_and_reset:
        need(session, "drain-and-reset", where)


def _no_registers(session: Session) -> None:
    session.confirm_present()
    reasons = pci_config.why_all_ones(session.transport)
    for finding in reasons:
        session.found(finding)
    if not reasons:
        session.found(
            Finding(
                "pci.bar-dead",
                Severity.ERROR,
                "config space answers, but the registers read all ones",
                expected="PMC_BOOT_0, the chip's number",
                seen=f"{ALL_ONES:#010x}",
                where=bare.register_where("BOOT_0", None, session.info.bdf),
                next="restore config space (BARs, command) from a saved copy and probe again; if it stays: reset of the bus "
                "above",
            )
        )


def _judge_chip(session: Session, seen: Bare) -> None:
    where = bare.register_where("BOOT_42", seen, session.info.bdf)
    if bare.is_refused(seen.boot0):
        session.found(
            Finding(
                "nv.pri",
                Severity.ERROR,
                "the chip's number reads as a register error: its inner bus does not answer",
                expected="PMC_BOOT_0, the chip's number",
                seen=bare.describe_refused(seen.boot0),
                where=bare.register_where("BOOT_0", seen, session.info.bdf),
                next=RESET_FIRST,
            )
        )
    elif not seen.chip:
        told = "nothing" if seen.chip_id is None else f"{seen.chip_id:#x}"
        session.skip("NVIDIA registers", f"{where} tells {told}, a chip that is not known here")
    elif seen.chip != session.part.arch:
        session.found(
            Finding(
                "nv.chip",
                Severity.NOTE,
                f"the chip is a {seen.chip}, not the {session.part.arch} of the parts' table",
                expected=session.part.arch,
                seen=f"{seen.chip} ({seen.chip_id or 0:#x})",
                where=where,
                next="report it with the PCI id: the table is then wrong",
            )
        )


def _judge_boot(session: Session, seen: Bare) -> None:
    bdf = session.info.bdf
    if not seen.chip:
        return
    if seen.boot_done is None:
        name = "FSP_BOOT" if seen.has_fsp else "GFW_BOOT"
        told = seen.refused.get(name)
        told_text = "not told" if told is None else bare.describe_refused(told)
        session.skip("boot of the chip", f"{bare.register_where(name, seen, bdf)}: {told_text}")
    elif not seen.boot_done:
        session.found(_boot_finding(seen, bdf))
    elif seen.stage is Stage.RUNNING and seen.gsp_halted:
        session.found(_dead_firmware(seen, bdf, "active and halted"))
    elif seen.stage is Stage.PROTECTED and seen.alone and seen.gsp_active is False:
        session.found(_dead_firmware(seen, bdf, "halted" if seen.gsp_halted else "not active"))
    elif seen.stage is Stage.RUNNING and seen.alone:
        session.found(
            Finding(
                "nv.boot.left",
                Severity.WARNING,
                "firmware of an earlier driver still runs: no driver can start this GPU",
                expected="no WPR2 region while no driver is bound",
                seen=_region(seen),
                where=bare.register_where("WPR2_HIGH", seen, bdf),
                next=RESET_FIRST,
            )
        )


def _boot_finding(seen: Bare, bdf: str) -> Finding:
    if seen.has_fsp:
        detail = ", ".join(f"{name} {value:#010x}" for name, value in seen.values.items() if name.startswith("FSP_S"))
        return Finding(
            "nv.boot.fsp",
            Severity.ERROR,
            "the GPU's security processor (FSP) has not finished its boot",
            expected=f"{bare.FSP_DONE:#x} (up to 5 s after power-on or a reset)",
            seen=f"{seen.values.get('FSP_BOOT', 0):#x}" + (f"; {detail}" if detail else ""),
            where=bare.register_where("FSP_BOOT", seen, bdf),
            next="if it was switched on or reset a moment ago: probe again. Else reset the bus above it, then power cycle",
        )
    return Finding(
        "nv.boot.devinit",
        Severity.ERROR,
        "the GPU's boot firmware (devinit) has not finished",
        expected="0xff (up to 4 s after power-on or a reset)",
        seen=f"{seen.values['GFW_BOOT']:#x}" if "GFW_BOOT" in seen.values else "its register is not open yet",
        where=bare.register_where("GFW_BOOT", seen, bdf),
        next=f"if it was switched on or reset a moment ago: probe again. Else {RESET_FIRST}",
    )


def _dead_firmware(seen: Bare, bdf: str, how: str) -> Finding:
    mailbox = seen.values.get("GSP_MAILBOX0")
    told = "" if mailbox is None else f"; mailbox {mailbox:#x}"
    return Finding(
        "nv.gsp.dead",
        Severity.ERROR,
        "the GPU's firmware (GSP) was started and does not run any more",
        expected="its processor active, or no WPR2 region",
        seen=f"{how}; {_region(seen)}{told}",
        where=bare.register_where("GSP_RISCV_CPUCTL", seen, bdf),
        next=RESET_FIRST,
    )


def _region(seen: Bare) -> str:
    return "no WPR2" if seen.wpr2 is None else f"WPR2 {seen.wpr2[0]:#x} to {seen.wpr2[1]:#x}"
