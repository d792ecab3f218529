"""What must be so before a scenario does anything; each refusal names what is in the way and what to do about it.

Source: DESIGN section 5 (exit codes: refused 3, nothing there 69, not permitted 77)."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence

from base.errors import NotPermitted, Refused, Unavailable
from base.findings import ProbeReport
from pcibus.binding import driver_of
from repro.modules import Tools
from repro.scenario import DRIVER, Scenario
from resets.around import Places, held_by, holder_words
from resets.subject import Subject, named, on_host

KEEPERS = ("", "vfio-pci", "pci-stub", "uio_pci_generic")  # bound, and driving nothing
MOST_NAMED = 16
NEVER_RESET = "virtual functions and APUs are never reset or started"


def check_now(scenario: Scenario, wanted: Sequence[Subject], everyone: Sequence[Subject], tools: Tools) -> None:
    """Everything that can be told without asking a GPU."""
    doing = f"running {scenario.name}"
    _check_parts(scenario, wanted, doing)
    if len(wanted) < scenario.needs.gpus:
        raise Refused(
            doing, expected=f"at least {scenario.needs.gpus} GPUs", seen=f"{len(wanted)}: {named(wanted) or 'none'}"
        )
    here = [one for one in wanted if on_host(one)]
    if scenario.through == DRIVER and len(here) < len(wanted):
        raise Refused(
            doing, expected="GPUs on this machine's bus: the kernel's driver is what is tried",
            seen=f"{named([one for one in wanted if not on_host(one)])}: no kernel of ours drives a model",
            next_step=_lab_line(scenario),
        )  # fmt: skip
    if here:
        _check_machine(scenario, here, tools, doing)


def _check_parts(scenario: Scenario, wanted: Sequence[Subject], doing: str) -> None:
    for one in wanted:
        if one.part.is_vf or one.part.is_apu:
            raise Refused(
                doing,
                expected="GPUs that may be reset",
                seen=f"GPU {one.index} ({one.bdf}) is {one.part.name}: {NEVER_RESET}",
            )
        if not scenario.suits_all and one.part.name not in scenario.parts:
            raise Refused(
                doing, expected=f"one of {', '.join(scenario.parts)}", seen=f"GPU {one.index} ({one.bdf}) is {one.part.name}",
                where=one.bdf, next_step="select others with -g",
            )  # fmt: skip


def _check_machine(scenario: Scenario, here: Sequence[Subject], tools: Tools, doing: str) -> None:
    needs = scenario.needs
    if needs.root and os.geteuid() != 0:
        raise NotPermitted(
            doing, expected="root", seen=f"user id {os.geteuid()}", next_step="sudo gpumend repro run ..."
        )
    _check_kernel(needs.kernel, doing)
    for one in here:
        driver = driver_of(one.bdf, tools.sys_root)
        if needs.driver == "amdgpu" and driver != "amdgpu":
            raise Refused(
                doing, expected="amdgpu bound to it", seen=f"GPU {one.index} ({one.bdf}): {driver or 'no driver'}",
                where=one.bdf, next_step=f"gpumend -g {one.index} bind amdgpu",
            )  # fmt: skip
        if needs.driver == "none" and driver not in KEEPERS:
            raise Refused(
                doing, expected="no kernel driver bound to it", seen=f"GPU {one.index} ({one.bdf}): {driver}", where=one.bdf,
                next_step=f"gpumend -g {one.index} unbind",
            )  # fmt: skip
    _check_holders(scenario, here, tools, doing)
    if needs.driver == "unloaded" and (tools.sys_root / "module/amdgpu").is_dir():
        raise Refused(
            doing, expected="amdgpu not loaded: its options are given when it is", seen="it is loaded",
            where=str(tools.sys_root / "module/amdgpu"), next_step="modprobe -r amdgpu, or boot with modprobe.blacklist=amdgpu",
        )  # fmt: skip
    if scenario.through == DRIVER and needs.driver == "amdgpu" and not (tools.sys_root / "kernel/debug/dri").is_dir():
        raise Unavailable(
            doing, expected="debugfs: amdgpu's files are there", seen="none", where=str(tools.sys_root / "kernel/debug/dri"),
            next_step="mount -t debugfs none /sys/kernel/debug",
        )  # fmt: skip


def _check_holders(scenario: Scenario, here: Sequence[Subject], tools: Tools, doing: str) -> None:
    """Processes that hold a GPU, named, where nobody may."""
    if scenario.needs.holders != "none":
        return
    places = Places(tools.sys_root, tools.proc_root)
    held = [
        f"GPU {one.subject.index} ({one.subject.bdf}): {holder_words(one, holder, places)}"
        for one in held_by(here, places)
        for holder in one.processes
    ]
    if held:
        more = f"; and {len(held) - MOST_NAMED} more" if len(held) > MOST_NAMED else ""
        raise Refused(
            doing, expected="no process that holds a GPU", seen="; ".join(held[:MOST_NAMED]) + more, next_step="end them first"
        )  # fmt: skip


def _check_kernel(wanted: str, doing: str) -> None:
    """`>= 6.8` against this kernel's release."""
    if not wanted:
        return
    found = re.match(r"(>=|==|<=) ?([\d.]+)\Z", wanted)
    assert found is not None, "the schema knows the form"
    have = _numbers(platform.release())
    want = _numbers(found[2])
    fits = {">=": have >= want, "<=": have[: len(want)] <= want, "==": have[: len(want)] == want}[found[1]]
    if not fits:
        raise Refused(doing, expected=f"a kernel {wanted}", seen=platform.release())


def _numbers(release: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", release)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def check_reports(scenario: Scenario, wanted: Sequence[Subject], reports: Sequence[ProbeReport]) -> None:
    """What a probe tells: a hive where one is needed, and GPUs that are not sick already."""
    doing = f"running {scenario.name}"
    by_index = {report.index: report for report in reports}
    mine = [by_index[one.index] for one in wanted]
    if scenario.needs.hive and not all(report.facts.get("in_hive") for report in mine):
        raise Refused(
            doing,
            expected="GPUs of a hive",
            seen="; ".join(f"GPU {one.index} is in none" for one in mine if not one.facts.get("in_hive")),
        )
    sick = [one for one in mine if str(one.health) in ("hung", "lost")]
    if sick:
        told = "; ".join(
            f"GPU {one.index} ({one.bdf}) is {one.health}: {one.findings[0].code}" for one in sick if one.findings
        )
        raise Refused(
            doing, expected="GPUs that are well: what follows would say nothing", seen=told,
            next_step="gpumend repro bundle -o now.tar.gz; gpumend reset",
        )  # fmt: skip


def _lab_line(scenario: Scenario) -> str:
    inside = f"modprobe amdgpu; gpumend repro run {scenario.name} --yes"
    return f"rehearse it in the lab: gpumend lab run --gpus mi350x -- sh -c '{inside}'"
