"""Ask every GPU what is wrong with it; changes nothing, needs no firmware.

    python examples/probe_gpus.py [ADDRESS]           # default: a modelled hive with one sick GPU

Exit code 0: all healthy; 1: not."""

from __future__ import annotations

import sys

import gpumend


def main(address: str = "model:mi350x*8?fault=smu-silent@4") -> int:
    reports = gpumend.probe([address])
    for report in reports:
        print(f"GPU {report.index} {report.bdf} {report.part}: {report.health}, action {report.action}")
        for finding in report.findings:
            if finding.severity != "note":
                print(f"  {finding.summary} [{finding.code}]: {finding.next}")
    return int(any(report.health != "healthy" for report in reports))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
