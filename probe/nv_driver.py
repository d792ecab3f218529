"""What the loaded NVIDIA driver says of one GPU. Source: nvidia-rm.md section 7, nvidia-resets.md sections 4 to 8.

Its calls may stick: with a dead firmware each waits for up to a minute, and holds the driver's locks meanwhile. So each
group of questions can be given up, and the firmware is not asked where the kernel log says already that it is silent."""

from __future__ import annotations

from typing import Any

from base.errors import GpumendError, Refused, WaitTimeout
from base.findings import Finding, Severity
from nvdriver import abi, host, status
from nvdriver.ask import RECOVERY, Answers, ask_driver, ask_firmware
from nvdriver.telemetry import SLOWED
from pcibus.driverfiles import DriverFiles
from probe.nv_needs import RESET_FIRST, need
from probe.reason import reason_of
from probe.session import Session

DRIVER, FIRMWARE = "the NVIDIA driver", "the GPU's firmware (GSP)"
DRIVER_LIMIT_S = 0.5  # for what the driver remembers
FIRMWARE_LIMIT_S = 0.5  # for what its firmware must answer: milliseconds, when it is well
SILENT_XIDS = (119, 120)


def files_of(session: Session, question: str) -> DriverFiles | None:
    """The driver's files; None, with the question noted as unanswered, where the address leads to none."""
    if session.settings.files is None:
        session.skip(question, "this address leads to a PCI function only, not to a machine with its driver")
    return session.settings.files


def driver(session: Session) -> None:
    if session.info.driver != host.DRIVER:
        return
    files = files_of(session, DRIVER)
    if files is None:
        return
    version = (session.facts["nvidia"]["driver"] or {}).get("version")
    if version is not None:
        try:
            abi.branch_of(version, host.VERSION_FILE)
        except Refused as refusal:
            session.skip(DRIVER, f"{reason_of(refusal)}; expected {refusal.expected}")
            return
    if not _ask(session, files, DRIVER, DRIVER_LIMIT_S) or session.has("nv.driver.lost"):
        return
    if _dead_by_log(session):
        session.skip(FIRMWARE, "the kernel log says that it does not answer: a question would wait for a minute")
        session.found(_silent(session, "not asked again: see the Xid beside this", "kernel log"))
        return
    _ask(session, files, FIRMWARE, FIRMWARE_LIMIT_S)


def _ask(session: Session, files: DriverFiles, question: str, limit_s: float) -> bool:
    """Ask one group of questions where they can be given up; whether there was an answer."""
    bdf = session.info.bdf
    ask = ask_driver if question == DRIVER else ask_firmware
    try:
        answers = files.apart(lambda: ask(files, bdf), limit_s, f"asking {question} about {bdf}")
    except Refused as refusal:
        session.facts["nvidia"]["initialized"] = False
        session.found(
            Finding(
                "nv.idle",
                Severity.NOTE,
                "the driver has not initialized this GPU: ECC, memory and NVLink were not asked",
                expected=refusal.expected,
                seen=refusal.seen,
                where=refusal.where,
                next=refusal.next_step,
            )
        )
        return False
    except WaitTimeout as late:
        session.found(_silent(session, late.seen or f"no answer within {limit_s:g} s", abi.CTL_NODE))
        session.skip(question, f"no answer within {limit_s:g} s")
        return False
    except GpumendError as error:
        session.skip(question, reason_of(error))
        return False
    session.facts["nvidia"]["initialized"] = True
    _take(session, answers)
    return True


def _take(session: Session, answers: Answers) -> None:
    facts = session.facts["nvidia"]
    told = dict(answers.facts)
    action = told.pop("recovery_action", None)
    told.pop("driver_version", None)
    facts.update(told)
    if action is not None:
        facts["recovery_action"] = RECOVERY.get(action, f"{action:#x}")
    for question, why in answers.unanswered:
        session.skip(question, why)
    statuses = set(answers.statuses.values())
    if status.GPU_IS_LOST in statuses:
        session.found(_lost(session))
    if status.TIMEOUT in statuses:
        session.found(_silent(session, status.name_of(status.TIMEOUT), abi.CTL_NODE))
    if status.RESET_REQUIRED in statuses or facts.get("reset_required"):
        need(session, "reset", session.place("GPU_GET_RESET_STATUS"))
    elif facts.get("drain_and_reset"):
        need(session, "drain-and-reset", session.place("GPU_GET_DRAIN_AND_RESET_STATUS"))
    if told.get("draining"):
        session.found(_draining(session))
    _judge_memory(session, told)
    _judge_links(session, told)
    _judge_speed(session, told)


def _dead_by_log(session: Session) -> bool:
    return any(item["number"] in SILENT_XIDS for item in session.facts["nvidia"]["xids"] or ())


def _silent(session: Session, seen: str, where: str) -> Finding:
    return Finding(
        "nv.gsp.silent",
        Severity.ERROR,
        "the GPU's firmware (GSP) does not answer the driver",
        expected="an answer within milliseconds",
        seen=seen,
        where=session.place(where),
        next=f"{RESET_FIRST}. Do not poll it: each question waits for up to a minute",
    )


def _draining(session: Session) -> Finding:
    return Finding(
        "nv.drain",
        Severity.NOTE,
        "the driver takes no new users of this GPU",
        expected="drain state off",
        seen="on",
        where=session.place("GPU_QUERY_DRAIN_STATE"),
        next="somebody prepares a reset or takes the GPU out of use; nvidia-smi drain -m 0 ends it",
    )


def _lost(session: Session) -> Finding:
    return Finding(
        "nv.driver.lost",
        Severity.FATAL,
        "the driver has given this GPU up",
        expected="NV_OK",
        seen=status.name_of(status.GPU_IS_LOST),
        where=session.place(abi.CTL_NODE),
        next="it stays lost for this driver, even if it is back on the bus: stop all holders, unbind, reset, bind again",
    )


def _judge_memory(session: Session, facts: dict[str, Any]) -> None:
    remap, ecc, repair = facts.get("row_remap"), facts.get("ecc"), facts.get("repair")
    if remap and remap["failed"]:
        session.found(
            Finding(
                "nv.remap.failed",
                Severity.ERROR,
                "a row of memory could not be remapped",
                expected="no failed remapping",
                seen=f"{remap['rows']} rows in the table, failure flag set",
                where=session.place("FB_GET_REMAPPED_ROWS"),
                next="reset the GPU; if it stays, return the board",
            )
        )
    if remap and remap["pending"]:
        session.found(
            Finding(
                "nv.remap.pending",
                Severity.WARNING,
                "a row of memory waits to be remapped at the next reset",
                expected="no pending remapping",
                seen=f"{remap['rows']} rows in the table, pending flag set",
                where=session.place("FB_GET_REMAPPED_ROWS"),
                next=f"at the next window: {RESET_FIRST}",
            )
        )
    if ecc and any(ecc["uncorrected"].values()):
        session.found(
            Finding(
                "nv.ecc.uncorrected",
                Severity.WARNING,
                "uncorrectable memory errors since the driver was loaded",
                expected="0",
                seen=", ".join(f"{name} {count}" for name, count in ecc["uncorrected"].items()),
                where=session.place("ECC_GET_VOLATILE_COUNTS"),
                next="read the Xids beside it (48, 63, 64, 94, 95): they say whether it was contained",
            )
        )
    if repair and any(repair.values()):
        session.found(
            Finding(
                "nv.repair.pending",
                Severity.WARNING,
                "a repair waits for the next reset",
                expected="none pending",
                seen=", ".join(name.removesuffix("_pending") for name, waits in repair.items() if waits),
                where=session.place("ECC_GET_REPAIR_STATUS"),
                next=f"at the next window: {RESET_FIRST}",
            )
        )


def _judge_links(session: Session, facts: dict[str, Any]) -> None:
    """A link in fault is down. One that merely is not active may never have had anything at its other end."""
    bad = [row["link"] for row in facts.get("nvlinks") or () if row["state"] == "fault"]
    if bad:
        session.found(
            Finding(
                "nv.nvlink",
                Severity.WARNING,
                f"{len(bad)} NVLink{'s are' if len(bad) > 1 else ' is'} in fault",
                expected="active",
                seen=f"link {', '.join(map(str, bad))} of {len(facts['nvlinks'])}: fault",
                where=session.place("NVLINK_GET_NVLINK_STATUS"),
                next="stop peer-to-peer jobs; look at both ends and at the switch (SXid in the log); reset it if fatal",
            )
        )
    fabric = facts.get("fabric")
    if fabric and fabric["health"] == "unhealthy":
        session.found(
            Finding(
                "nv.fabric",
                Severity.WARNING,
                "the NVLink fabric calls this GPU unhealthy",
                expected="healthy",
                seen=f"state {fabric['state']}, health {fabric['health']}",
                where=session.place("GET_GPU_FABRIC_PROBE_INFO"),
                next="read the fabric manager's log; then fabric manager off, GPUs and switches reset together, and on again",
            )
        )


def _judge_speed(session: Session, facts: dict[str, Any]) -> None:
    """What slows a GPU from outside: heat, or too little power. Software limits are what somebody wanted."""
    reasons = [name for name in (facts.get("telemetry") or {}).get("slowed_by") or () if name in SLOWED]
    if not reasons:
        return
    heat, power = facts["telemetry"]["temperature_c"]["gpu"], facts["telemetry"]["power_w"]
    session.found(
        Finding(
            "nv.slowed",
            Severity.WARNING,
            "the hardware slows this GPU down",
            expected="no slowdown by the hardware",
            seen=f"{', '.join(reasons)}; {_told(heat, ' C')}, {_told(power, ' W')}",
            where=session.place("shared data, clock throttle reasons"),
            next="look at cooling and power supply: fans, air, cables, the chassis' power brake",
        )
    )


def _told(value: float | None, unit: str) -> str:
    return f"unknown{unit}" if value is None else f"{value:g}{unit}"
