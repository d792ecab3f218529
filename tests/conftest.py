"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machine decides how long an example takes: hypothesis would call a busy one a failure.
settings.register_profile("gpumend", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gpumend")

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE_PLACES = (
    ROOT / ".cache/firmware/amdgpu",
    ROOT / ".cache/fw/usr/lib/firmware/amdgpu",
    Path("/lib/firmware/amdgpu"),
)


@pytest.fixture(scope="session")
def firmware_dir() -> Path:
    """The folder with AMD's own firmware files; the test is skipped, saying why, when there is none."""
    told = os.environ.get("GPUMEND_FIRMWARE")
    places = (Path(told),) if told else FIRMWARE_PLACES
    for place in places:
        if any(place.glob("psp_13_0_6_sos.bin")):
            return place
    pytest.skip(f"no AMD firmware in {', '.join(map(str, places))}: make firmware brings it")
