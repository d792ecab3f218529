"""Opening a model and probing it, for the tests of the probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import gpumodel
from amdriver.parts import part_of
from base.clock import VirtualClock
from base.findings import ProbeReport, Severity
from pcibus.transport import Transport
from probe.run import Target, probe_all
from tests.probe_fakes import Watched


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe of a model gave: reports, the transports that saw it, and how much virtual time went by."""

    reports: list[ProbeReport]
    transports: list[Watched]
    virtual_s: float

    @property
    def one(self) -> ProbeReport:
        assert len(self.reports) == 1
        return self.reports[0]


def probe_model(
    spec: str,
    wrap: Callable[[int, Transport], Watched] | None = None,
    limit_s: float = 2.0,
    read_s: Mapping[int, float] | None = None,
    **settings: object,
) -> Probed:
    """Probe every GPU of a model address; each behind a transport that records writes. `read_s`: what a register read of
    some GPU costs."""
    clock = VirtualClock()
    wrap = wrap or (lambda _index, transport: Watched(transport))
    transports = [wrap(index, transport) for index, transport in enumerate(gpumodel.open_models(spec, clock))]
    for index, cost_s in (read_s or {}).items():
        transports[index].before_read = partial(clock.sleep, cost_s)
    reports = probe_all(targets_of(transports), clock=clock, limit_s=limit_s, **settings)  # type: ignore[arg-type]
    return Probed(reports, transports, clock.now())


def targets_of(transports: list[Watched]) -> list[Target]:
    targets = []
    for index, transport in enumerate(transports):
        info = transport.info()
        part = part_of(info.vendor, info.device)
        assert part is not None
        targets.append(Target(index, transport, part))
    return targets


def serious(report: ProbeReport) -> list[str]:
    """Codes of what is worse than unknown."""
    return [finding.code for finding in report.findings if finding.severity.rank >= Severity.WARNING.rank]
