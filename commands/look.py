"""`list` and `probe`: what is there, and what is wrong with it. Both change nothing."""

from __future__ import annotations

from typing import Any

import click

from base.errors import Exit
from commands.common import code_of_health, common_options, emit, gpu_head, probe_limit, settings_of, worst
from gpumend import Gpu, bus_states
from render.text import Printer, Table


@click.command("list", short_help="The supported GPUs that are there.")
@common_options
@click.pass_context
def list_command(context: click.Context) -> int:
    """List the supported GPUs: index, bus address, part, driver, power state. Asks config space only.

    Exit 0 when all answer, 1 when one is lost from the bus, 2 when none is found or one cannot be asked."""
    settings = settings_of(context)
    found = settings.find("list", nvidia=True)
    rows = list_rows(found)
    table = _table(rows)

    def human(printer: Printer) -> None:
        printer.table(list_table(rows))

    emit(settings, "list", body={"gpus": rows}, table=table, human=human)
    return worst(
        Exit.OK if row["bus"] == "ok" else Exit.PROBLEM if row["bus"] == "lost" else Exit.UNKNOWN for row in rows
    )


def list_table(rows: list[dict[str, Any]]) -> Table:
    """What `list` prints for people: what fits 80 columns; --csv and --json have IOMMU group and address too."""
    whole = _table(rows)
    return Table(whole.columns[:-2], [row[:-2] for row in whole.rows], states=whole.states, right=whole.right)


def _table(rows: list[dict[str, Any]]) -> Table:
    columns = ("gpu", "bdf", "part", "arch", "id", "bus", "driver", "power", "numa", "iommu group", "address")
    cells = [
        (
            row["index"], row["bdf"], row["part"], row["arch"], row["id"], row["bus"],
            "-" if row["driver"] == "" else row["driver"], row["power"], row["numa"], row["iommu_group"], row["address"],
        )
        for row in rows
    ]  # fmt: skip
    return Table(columns, cells, states=frozenset({"bus"}), right=frozenset({"gpu"}))


def list_rows(found: list[Gpu]) -> list[dict[str, Any]]:
    return [_row(gpu, *told) for gpu, told in zip(found, bus_states(found), strict=True)]


def _row(gpu: Gpu, bus: str, uuid: str | None) -> dict[str, Any]:
    info = gpu.info
    return {
        **gpu_head(gpu),
        "id": f"{info.vendor:04x}:{info.device:04x}",
        "vf": gpu.part.is_vf,
        "bus": bus,
        "uuid": uuid,
        "driver": info.driver,
        "power": info.power_state,
        "numa": info.numa_node,
        "iommu_group": info.iommu_group,
        "address": gpu.address,
    }


@click.command("probe", short_help="Ask every GPU what is wrong with it.")
@click.option("--notes", is_flag=True, help="Show notes too, not only what needs attention.")
@probe_limit("--timeout")
@common_options
@click.pass_context
def probe_command(context: click.Context, notes: bool, limit_s: float) -> int:
    """Ask each GPU how it is, read-only and bounded: at most 2 s for a GPU that answers nothing, all side by side.

    Gives a health word, the recovery action, and the reasons: expected, seen, where, what to do next.
    Exit 0: all healthy. 1: a problem was found. 2: could not tell, or some of it could not be read."""
    from gpumend import probe_gpus
    from render.reports import findings_table, print_probe

    settings = settings_of(context)
    found = settings.find("probe", nvidia=True)
    reports = probe_gpus(found, limit_s=limit_s)
    body = {"gpus": [report.to_dict() for report in reports]}
    emit(
        settings,
        "probe",
        body=body,
        table=findings_table(reports),
        human=lambda printer: print_probe(printer, reports, notes=notes),
    )
    return worst(code_of_health(report.health) for report in reports)
