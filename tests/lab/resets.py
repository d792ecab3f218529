"""What the tests of `gpumend reset` in a guest share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lab.guest import Guest

# What the kernel waits for a device that stays away, the probes and the evidence, on emulated processors with other work.
LIMIT_S = 400
DEVICES = "/sys/bus/pci/devices"


@dataclass(frozen=True)
class Told:
    """What `gpumend reset --json` said. `steps`: (method, GPUs, status)."""

    exit: int
    document: dict[str, Any]

    @property
    def steps(self) -> list[tuple[str, list[int], str]]:
        return [(step["method"], step["gpus"], step["status"]) for step in self.document["steps"]]

    @property
    def proof(self) -> str:
        return str(self.document["steps"][-1]["proof"])

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(gpu["status"], gpu["after"]["health"]) for gpu in self.document["gpus"]]

    @property
    def refusals(self) -> list[str]:
        return [gpu["error"]["seen"] for gpu in self.document["gpus"] if gpu["error"]]


def reset(guest: Guest, *words: str) -> Told:
    """Without asking, by the command line."""
    done = guest.run(["gpumend", *words, "--yes", "--json"], limit_s=LIMIT_S)
    assert done.stdout, done.stderr.decode(errors="replace")
    return Told(done.exit_code, json.loads(done.text))


def codes(gpu: dict[str, Any]) -> set[str]:
    """Of one entry's state after a reset: what is more than a note."""
    return {finding["code"] for finding in gpu["after"]["findings"] if finding["severity"] != "note"}
