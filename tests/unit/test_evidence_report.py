"""`report.md` has the fields of the vendor's form, in its order."""

from __future__ import annotations

import re

import pytest

from base.findings import Action, Health, ProbeReport
from evidence.report import NVIDIA_VENDOR, Problem, report

AMD_FIELDS = [
    "Problem Description", "Operating System", "CPU", "GPU", "ROCm Version", "ROCm Component", "Steps to Reproduce",
    "(Optional) Output of `rocminfo --support`", "Additional Information",
]  # fmt: skip
NVIDIA_FIELDS = [
    "NVIDIA Open GPU Kernel Modules Version", "Does this happen with the proprietary driver package too?",
    "Operating System and Version", "Kernel Release",
    "Is it a stable kernel release of kernel.org or of the distribution?", "Hardware: GPU", "Describe the bug", "To Reproduce",
    "Bug Incidence (Once, Sometimes, Always)", "nvidia-bug-report.log.gz", "More Info",
]  # fmt: skip
SYSTEM = b"== /proc/version ==\nLinux version 7.3.4 (x)\n== /sys/module/nvidia/version ==\n595.10\n"


def gpu(index: int, vendor: int) -> ProbeReport:
    facts = {"identity": {"vendor": vendor, "device": 0x2330, "revision": 0xA1}}
    return ProbeReport(index, "0000:c1:00.0", "some", "arch", Health.HUNG, Action.NONE, (), facts)


def fields(*vendors: int) -> list[str]:
    text = written(*vendors)
    return re.findall(r"^### (.*)$", text, re.MULTILINE)


def written(*vendors: int) -> str:
    problem = Problem("it hangs", ("do it",), "gpumend repro run x", "3 of 50", "PSP")
    return report(problem, [gpu(*row) for row in enumerate(vendors)], {"system.txt": SYSTEM}, {}, [])


@pytest.mark.parametrize(
    ("vendors", "wanted"),
    [
        ((0x1002,), AMD_FIELDS),
        ((), AMD_FIELDS),
        ((NVIDIA_VENDOR,) * 2, NVIDIA_FIELDS),
        ((NVIDIA_VENDOR, 0x1002), AMD_FIELDS),
    ],
)
def test_report_has_the_form_of_whose_gpus_they_are(vendors: tuple[int, ...], wanted: list[str]) -> None:
    assert fields(*vendors) == wanted


def test_report_fills_in_what_is_known_and_asks_for_the_rest() -> None:
    for text in (written(0x1002), written(NVIDIA_VENDOR)):
        for words in ("it hangs", "1. do it", "`gpumend repro run x`", "3 of 50", "7.3.4"):
            assert words in text
    assert "595.10" in written(NVIDIA_VENDOR)
    assert "*(please fill in)*" in written(NVIDIA_VENDOR)
    assert "amdgpu module" not in written(NVIDIA_VENDOR)
