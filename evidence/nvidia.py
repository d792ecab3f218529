"""What is kept of an NVIDIA GPU: the registers that tell how far its boot got, its driver's texts in /proc, and every Xid of
the kernel's log, past ones too. What the driver answers by ioctl (ECC, rows, links, telemetry) is in the probe's report.

Nothing is run: nvidia-smi and nvidia-bug-report.sh open the GPU and can hang on a sick one. Source: nvidia-resets.md
section 9 (evidence before a reset); open-gpu-kernel-modules 580.105.08 kernel-open/nvidia/nv-procfs.c (files of /proc)."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from base.errors import GpumendError, Unavailable
from evidence.parts import Collector, Limits, Out, attempt, reason
from evidence.subject import Subject, on_host
from nvdriver import bare, host, xid
from pcibus.config import why_all_ones
from pcibus.readonly import ReadOnly
from probe.bounded import Bounded

if TYPE_CHECKING:
    from pcibus.driverfiles import DriverFiles

_OF_THE_DRIVER = ("version", "params", "registry", "warnings/README")
_OF_THE_GPU = ("information", "power", "registry", "numa_status", "unbindLock")
_PROC = "/proc/driver/nvidia"


def collectors(subject: Subject, files: DriverFiles | None, limits: Limits) -> list[Collector]:
    """Registers; and where the address leads to a machine with its driver, the texts and the log."""
    works = [("hardware", partial(_registers, subject), limits.hardware_s)]
    if files is not None:
        works.append(("nvidia", partial(_texts, subject, files), limits.driver_s))
        works.append(("xids", partial(_xids, subject, files), limits.driver_s))
    return [
        Collector(name, work, limit_s, subject.index, apart=on_host(subject), resumes=1)
        for name, work, limit_s in works
    ]


def kernel_log(files: DriverFiles, limits: Limits) -> Collector:
    """The log of a modelled machine."""

    def work(out: Out) -> None:
        if out.begin("kernel log"):
            with attempt(out, "kernel log"):
                data = files.kernel_log().encode()
                out.add("kernel.log", data[-limits.log_bytes :], cut=len(data) > limits.log_bytes)

    return Collector("kernel-log", work, limits.logs_s, room_bytes=limits.log_bytes + (1 << 16), apart=False)


def learn_uuid(subject: Subject, files: DriverFiles | None, out: Out) -> None:
    """The UUID that the driver shows, which is the board's as a serial number is."""
    if files is None or not out.begin(f"UUID of GPU {subject.index}"):
        return
    with suppress(GpumendError):
        page = host.page(files, subject.transport.info().bdf)
        if page.uuid is not None:
            out.secret("serial", page.uuid)


def _registers(subject: Subject, out: Out) -> None:
    """`boot.json`, what they say, and `registers.txt`, as they were read; falcons only where no driver has them."""
    place = f"gpu{subject.index}"
    info = subject.transport.info()
    clock = subject.clock
    reader = Bounded(ReadOnly(subject.transport), clock, clock.now() + 1.0, info.bdf)
    doubts = why_all_ones(reader)
    if doubts:
        out.add(f"{place}/not-asked.json", _json([finding.to_dict() for finding in doubts]))
        out.unread("registers", f"not asked: {doubts[0].summary}")
        return
    if not out.begin("registers of boot"):
        return
    with attempt(out, "registers of boot"):
        seen = bare.look(lambda offset: reader.read32(bare.BAR, offset), alone=not info.driver)
        body = {
            "chip": seen.chip or None, "chip_id": seen.chip_id, "stage": str(seen.stage), "boot_done": seen.boot_done,
            "wpr2": seen.wpr2, "gsp_active": seen.gsp_active, "gsp_halted": seen.gsp_halted,
            "reset_required": seen.reset_required, "drain_and_reset": seen.drain_and_reset, "memory_mib": seen.memory_mib,
            "driver": info.driver,
        }  # fmt: skip
        out.add(f"{place}/boot.json", _json(body))
        rows = {"BOOT_0": seen.boot0, **seen.values, **seen.refused}
        lines = [
            f"{bare.register_where(name, seen, info.bdf)}: {value:#010x}"
            + (f"  {bare.describe_refused(value)}" if bare.is_refused(value) else "")
            for name, value in rows.items()
        ]
        out.add(f"{place}/registers.txt", ("\n".join(lines) + "\n").encode())


def _texts(subject: Subject, files: DriverFiles, out: Out) -> None:
    """What there is of /proc/driver/nvidia, one after the other, each with its name above it."""
    bdf = subject.transport.info().bdf
    names = [f"{_PROC}/{name}" for name in _OF_THE_DRIVER] + [f"{_PROC}/gpus/{bdf}/{name}" for name in _OF_THE_GPU]
    for name in names:
        if not out.begin(name):
            continue
        try:
            text = files.read_text(name)
        except Unavailable:
            continue  # this branch has no such file, or the driver does not have this GPU
        except GpumendError as error:
            out.unread(name, reason(error))
            continue
        out.add(f"gpu{subject.index}/nvidia.txt", f"== {name.lstrip('/')} ==\n{text.rstrip()}\n".encode())


def _xids(subject: Subject, files: DriverFiles, out: Out) -> None:
    """One JSON line for each Xid of this GPU, in the order of the log, with what the catalogue says of it."""
    if not out.begin("Xids of the kernel log"):
        return
    with attempt(out, "Xids of the kernel log"):
        rows = xid.lines_of(files.kernel_log(), subject.transport.info().bdf)
        for row in rows:
            known = xid.CATALOGUE.get(row.number)
            body = {
                "number": row.number, "seconds": row.seconds, "text": row.text, "past": row.past,
                "name": known.name if known else None, "kind": str(known.kind) if known else None,
                "first": known.first if known else None,
            }  # fmt: skip
            out.add(f"gpu{subject.index}/xids.jsonl", _json(body))


def _json(body: object) -> bytes:
    return (json.dumps(body, default=str) + "\n").encode()
