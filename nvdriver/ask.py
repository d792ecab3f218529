"""The questions that a probe asks the loaded driver: state controls only, none that sets or clears anything.

Two groups, because a GPU whose firmware (GSP) is dead still answers the first from what the driver remembers, while each
of the second waits for the firmware for up to a minute. Both are meant to be run where they can be given up
(DriverFiles.apart). Source: nvidia-rm.md section 7 and nvidia-resets.md sections 4 to 6."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from base.errors import GpumendError
from nvdriver import status, telemetry
from nvdriver.rm import Client, RmGpu, shared_page, text_of
from nvdriver.status import RmError
from pcibus.driverfiles import DriverFiles

RECOVERY = {0: "none", 1: "reset", 2: "node-reboot", 3: "drain-p2p", 4: "drain-and-reset"}
LINK_ACTIVE, LINK_FAULT = 3, 4
LINK_STATES = {
    0: "init",
    1: "hwcfg",
    2: "swcfg",
    LINK_ACTIVE: "active",
    LINK_FAULT: "fault",
    5: "sleep",
    6: "recovery",
    8: "recovery",
    10: "recovery",
}
FABRIC_STATES = {0: "unsupported", 1: "not started", 2: "in progress", 3: "complete"}
FABRIC_HEALTH = {0: "not supported", 1: "healthy", 2: "unhealthy", 3: "limited capacity"}
_FB_TOTAL_KIB, _FB_FREE_KIB = 0x08, 0x16
_REMAP_PENDING, _REMAP_FAILED = 1, 2
_DRAINING = 1  # NV0000_CTRL_GPU_DRAIN_STATE_ENABLED


@dataclass(slots=True)
class Answers:
    """`facts`: plain JSON values, None where the GPU has no such thing. `unanswered`: (question, why).

    `statuses`: the RM status of every question that was refused, by its name."""

    facts: dict[str, Any] = field(default_factory=dict)
    unanswered: list[tuple[str, str]] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)

    def ask(self, question: str, work: Callable[[], dict[str, Any]]) -> None:
        """One question. What this GPU or branch does not have leaves its facts None; other refusals are told."""
        try:
            self.facts.update(work())
        except RmError as error:
            if error.status == status.NOT_SUPPORTED:
                return
            self.statuses[question] = error.status
            self.unanswered.append((question, f"{error.doing}: {error.seen}"))
        except GpumendError as error:
            self.unanswered.append((question, f"{error.doing}: {error.seen}"))


def ask_driver(files: DriverFiles, bdf: str) -> Answers:
    """What the driver answers from its own memory. Raises what opening it raises (Refused: it is not initialized)."""
    answers = Answers(
        {
            "recovery_action": None,
            "draining": None,
            "memory_mib": None,
            "name": None,
            "nvlinks": None,
            "fabric": None,
            "telemetry": None,
        }
    )
    with Client.open(files) as client, client.gpu(client.card(bdf)) as gpu:
        answers.facts["driver_version"] = client.version
        answers.ask("recovery action", lambda: _recovery(gpu))
        answers.ask("drain state", lambda: _draining(gpu))
        answers.ask("name", lambda: {"name": text_of(gpu.control("GPU_GET_NAME_STRING")[4:68])})
        answers.ask("memory size", lambda: _memory(gpu))
        answers.ask("NVLink", lambda: _nvlinks(gpu))
        answers.ask("fabric state", lambda: _fabric(gpu))
        answers.ask("telemetry", lambda: _telemetry(gpu))
    return answers


def ask_firmware(files: DriverFiles, bdf: str) -> Answers:
    """What the driver must ask the GPU's firmware for. A status of NV_ERR_TIMEOUT: it did not answer."""
    answers = Answers(
        {
            "reset_required": None,
            "drain_and_reset": None,
            "ecc": None,
            "row_remap": None,
            "repair": None,
            "pstate": None,
        }
    )
    with Client.open(files) as client, client.gpu(client.card(bdf)) as gpu:
        for question, work in (
            ("reset status", _reset_status),
            ("ECC", _ecc),
            ("row remapping", _row_remap),
            ("repairs", _repairs),
            ("P-state", _pstate),
        ):
            if status.TIMEOUT in answers.statuses.values():
                answers.unanswered.append((question, "not asked: the firmware does not answer"))
                continue
            answers.ask(question, _bound(work, gpu))
    return answers


def _bound(work: Callable[[RmGpu], dict[str, Any]], gpu: RmGpu) -> Callable[[], dict[str, Any]]:
    return lambda: work(gpu)


def _recovery(gpu: RmGpu) -> dict[str, Any]:
    return {"recovery_action": struct.unpack_from("<I", gpu.control("GPU_GET_RECOVERY_ACTION"))[0]}


def _draining(gpu: RmGpu) -> dict[str, Any]:
    """Whether the driver takes no new users of this GPU, as before a planned reset."""
    params = bytearray(gpu.client.size_of("GPU_QUERY_DRAIN_STATE"))
    struct.pack_into("<I", params, 0, gpu.card.gpu_id)
    answer = gpu.client.control(gpu.client.root, "GPU_QUERY_DRAIN_STATE", params)
    return {"draining": struct.unpack_from("<I", answer, 4)[0] == _DRAINING}


def _memory(gpu: RmGpu) -> dict[str, Any]:
    params = bytearray(gpu.client.size_of("FB_GET_INFO_V2"))
    struct.pack_into("<IIIII", params, 0, 2, _FB_TOTAL_KIB, 0, _FB_FREE_KIB, 0)
    answer = gpu.control("FB_GET_INFO_V2", params)
    total, free = (struct.unpack_from("<I", answer, 8 + 8 * place)[0] for place in range(2))
    return {"memory_mib": total >> 10, "memory_free_mib": free >> 10}


def _nvlinks(gpu: RmGpu) -> dict[str, Any]:
    branch = gpu.client.branch
    assert branch is not None, "an opened client has chosen its branch"
    answer = gpu.control("NVLINK_GET_NVLINK_STATUS")
    mask = struct.unpack_from("<I", answer)[0]
    rows = []
    for link in (number for number in range(32) if mask >> number & 1):
        state = struct.unpack_from("<I", answer, branch.links_at + link * branch.link_bytes + 8)[0]
        rows.append({"link": link, "state": LINK_STATES.get(state, f"{state:#x}")})
    return {"nvlinks": rows}


def _fabric(gpu: RmGpu) -> dict[str, Any]:
    answer = gpu.control("GET_GPU_FABRIC_PROBE_INFO")
    code = struct.unpack_from("<I", answer, 4)[0]
    summary = answer[48] if len(answer) > 48 else None  # branch 570 has none
    return {
        "fabric": {
            "state": FABRIC_STATES.get(answer[0], f"{answer[0]:#x}"),
            "status": code,
            "health": None if summary is None else FABRIC_HEALTH.get(summary, f"{summary:#x}"),
        }
    }


def _telemetry(gpu: RmGpu) -> dict[str, Any]:
    layout = telemetry.LAYOUTS.get(gpu.client.branch.number) if gpu.client.branch else None
    if layout is None:
        return {}
    with shared_page(gpu) as page:
        return {"telemetry": telemetry.read(page, layout)}


def _reset_status(gpu: RmGpu) -> dict[str, Any]:
    return {
        "reset_required": bool(gpu.control("GPU_GET_RESET_STATUS")[0]),
        "drain_and_reset": bool(gpu.control("GPU_GET_DRAIN_AND_RESET_STATUS")[0]),
    }


def _ecc(gpu: RmGpu) -> dict[str, Any]:
    """Whether it is on, and errors since the driver was loaded."""
    branch = gpu.client.branch
    assert branch is not None, "an opened client has chosen its branch"
    units = gpu.control("GPU_QUERY_ECC_STATUS")
    rows = [units[40 * place : 40 * place + 40] for place in range(branch.ecc_units)]
    sram, parity, secded, dram, dram_bad = struct.unpack_from("<5Q", gpu.control("ECC_GET_VOLATILE_COUNTS"))
    return {
        "ecc": {
            "enabled": any(row[0] for row in rows),
            "supported": any(row[2] for row in rows),
            "corrected": {"sram": sram, "dram": dram},
            "uncorrected": {"sram": parity + secded, "dram": dram_bad},
        }
    }


def _row_remap(gpu: RmGpu) -> dict[str, Any]:
    count, flags = struct.unpack_from("<IB", gpu.control("FB_GET_REMAPPED_ROWS"))
    return {
        "row_remap": {"rows": count, "pending": bool(flags & _REMAP_PENDING), "failed": bool(flags & _REMAP_FAILED)}
    }


def _repairs(gpu: RmGpu) -> dict[str, Any]:
    if "ECC_GET_REPAIR_STATUS" not in _controls(gpu):
        return {}  # branch 570 does not know of repairs
    tpc, channel = gpu.control("ECC_GET_REPAIR_STATUS")
    return {"repair": {"tpc_pending": bool(tpc), "channel_pending": bool(channel)}}


def _controls(gpu: RmGpu) -> frozenset[str]:
    branch = gpu.client.branch
    return frozenset(branch.controls if branch else ())


def _pstate(gpu: RmGpu) -> dict[str, Any]:
    mask = struct.unpack_from("<I", gpu.control("PERF_GET_CURRENT_PSTATE"))[0]
    return {"pstate": mask.bit_length() - 1 if mask else None}
