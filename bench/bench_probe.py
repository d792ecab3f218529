"""How long a probe of eight GPUs takes, over the model: our own work, without a bus in between."""

from __future__ import annotations

from functools import partial

import gpumodel
from amdriver.parts import part_of
from base.clock import VirtualClock
from bench.harness import Row, duration
from probe.run import Target, probe_all

GOAL_S = 1.5
SICK = "discovery-clobbered@1,bootloader-silent@2,mec-hang@3,sdma-hang@4,xgmi-link-down@5"


def _targets(spec: str, clock: VirtualClock) -> list[Target]:
    targets = []
    for index, transport in enumerate(gpumodel.open_models(spec, clock)):
        info = transport.info()
        part = part_of(info.vendor, info.device)
        assert part is not None
        targets.append(Target(index, transport, part))
    return targets


def _probe(targets: list[Target], clock: VirtualClock) -> None:
    probe_all(targets, clock=clock)


def _row(work: str, spec: str, goal: str) -> Row:
    clock = VirtualClock()
    return duration(work, partial(_probe, _targets(spec, clock), clock), goal=goal, rounds=7)


def rows() -> list[Row]:
    """Eight healthy ones, and eight of which five are sick (watched for a second of virtual time)."""
    return [
        _row("probe of eight healthy model GPUs (MI350X)", "mi350x*8", f"<= {GOAL_S} s"),
        _row("probe of eight healthy model GPUs (MI300X)", "mi300x*8", f"<= {GOAL_S} s"),
        _row("probe of eight model GPUs, five of them sick", f"mi350x*8?fault={SICK}", f"<= {GOAL_S} s"),
    ]
