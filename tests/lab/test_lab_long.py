"""What takes minutes in an emulated machine: `make test-lab-long`."""

from __future__ import annotations

import json

import pytest

from lab import guest
from lab.parts import Parts
from tests.lab.conftest import LOGS

LIFE_S = 2 * 3600.0

pytestmark = pytest.mark.long


def test_eight_gpus_pass_the_whole_selftest(lab_parts: Parts) -> None:
    with guest.boot(lab_parts, gpus="mi350x*8", life_s=LIFE_S, keep=LOGS / "long-hive") as hive:
        hive.shell("echo 0 > /proc/sys/vm/compact_unevictable_allowed")
        done = hive.run(["gpumend", "selftest", "--json"], limit_s=LIFE_S / 2)
        gpus = json.loads(done.text)["gpus"]
        assert [(gpu["status"], gpu["error"]) for gpu in gpus] == [("ok", None)] * 8
        assert done.exit_code == 0
