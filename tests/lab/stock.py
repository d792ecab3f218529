"""What the tests of the stock driver share: its log, its files, and how it is asked to reset."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from lab.guest import Guest

LOAD_LIMIT_S = 500
RESET_LIMIT_S = 300
APPEND = "log_buf_len=16M"  # a boot of eight GPUs says more than the default ring of the kernel's log holds


def bdf_of(index: int) -> str:
    """Behind the root port of that number."""
    return f"0000:{index + 1:02x}:00.0"


class Log:
    """The kernel's log since the last look."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.said = ""

    def take(self) -> str:
        """What was said since the last call; the kernel's ring is emptied."""
        self.said = self.guest.shell("dmesg -c").text
        return self.said

    def wait_for(self, pattern: str, limit_s: float = RESET_LIMIT_S) -> str:
        """What was said until a line came that fits, or until the limit."""
        said, end = self.take(), time.monotonic() + limit_s
        while not re.search(pattern, said) and time.monotonic() < end:
            time.sleep(1)
            said += self.take()
        self.said = said
        return said

    def has(self, pattern: str) -> bool:
        return re.search(pattern, self.said) is not None

    def lines(self, pattern: str) -> list[str]:
        return [line for line in self.said.splitlines() if re.search(pattern, line)]


def modprobe(guest: Guest, *words: str) -> int:
    return guest.run(["modprobe", *words], limit_s=LOAD_LIMIT_S).exit_code


def recover(guest: Guest, bdf: str) -> str:
    """Reading debugfs amdgpu_gpu_recover resets the GPU, and with it its hive."""
    guest.shell("test -d /sys/kernel/debug/dri || mount -t debugfs none /sys/kernel/debug")
    return guest.run(["cat", f"/sys/kernel/debug/dri/{bdf}/amdgpu_gpu_recover"], limit_s=RESET_LIMIT_S).text


def ib_tests(guest: Guest, bdf: str) -> str:
    """Reading debugfs amdgpu_test_ib runs an indirect buffer on every ring."""
    guest.shell("test -d /sys/kernel/debug/dri || mount -t debugfs none /sys/kernel/debug")
    return guest.run(["cat", f"/sys/kernel/debug/dri/{bdf}/amdgpu_test_ib"], limit_s=RESET_LIMIT_S).text


def topology(guest: Guest) -> dict[str, Any]:
    """What tests/lab/guest/topology.py finds."""
    done = guest.run(["env", "PYTHONPATH=/gpumend", "python3", "-m", "tests.lab.guest.topology"])
    assert done.exit_code == 0, done.stderr.decode(errors="replace")
    answer: dict[str, Any] = json.loads(done.text)
    return answer


TROUBLE = r"(?i)\*ERROR\*|test failed|IB test failed|timeout|BUG:|WARNING:|Oops|lost from bus|wrong|fault "
