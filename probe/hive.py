"""What can only be told by looking at all GPUs: who is in which hive, and whose links are fewer than its mates'.

Source: gfxhub_v1_2.c (node and highest node of XGMI_LFB_CNTL), amdgpu_xgmi.c (hive id in sysfs). Members: GPUs with the
same hive id of the kernel's if it can be read, else (or where only some of them are bound) distinct node ids 0..max that
make max + 1 GPUs. A GPU with a hive id is in a hive, whatever its registers say. One that could not tell counts as a member
unless the others prove that it is not: mode1 on one member of a hive harms the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from base.findings import Finding
from probe.session import Progress
from probe.xgmi import LINK, link_finding


@dataclass(slots=True)
class Seen:
    """One GPU's answers, with what the look at all GPUs adds."""

    index: int
    bdf: str
    is_alone: bool  # a virtual function, or of another make: in no hive
    facts: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    in_hive: bool = True
    members: tuple[str, ...] | None = None

    @classmethod
    def of(cls, index: int, bdf: str, is_alone: bool, progress: Progress) -> Seen:
        return cls(index, bdf, is_alone, dict(progress.facts), list(progress.findings))

    def xgmi(self, name: str) -> Any:
        return (self.facts.get("xgmi") or {}).get(name)

    @property
    def hive_id(self) -> str | None:
        """The kernel's word; it gives one to members of hives only."""
        return self.xgmi("hive_id") or None


def settle(gpus: Sequence[Seen]) -> None:
    """Fill in `in_hive` and `members`, and add what comparing shows."""
    for group in _hives(gpus):
        for gpu in group:
            gpu.members = tuple(member.bdf for member in group)
    told = [gpu for gpu in gpus if gpu.xgmi("nodes") is not None]
    for gpu in gpus:
        gpu.in_hive = _in_hive(gpu, gpus, told)
        if gpu.facts.get("xgmi") is not None:
            gpu.facts["xgmi"] = {**gpu.facts["xgmi"], "members": None if gpu.members is None else list(gpu.members)}
    _compare_links(gpus)
    _name_other_end(gpus)


def _hives(gpus: Sequence[Seen]) -> list[list[Seen]]:
    """Complete hives among these GPUs."""
    rest = [gpu for gpu in gpus if (gpu.xgmi("nodes") or 1) > 1]
    found = []
    for name in dict.fromkeys(gpu.hive_id for gpu in rest if gpu.hive_id):
        group = [gpu for gpu in rest if gpu.hive_id == name]
        if _complete(group):
            found.append(group)
            rest = [gpu for gpu in rest if gpu.hive_id != name]
    # Ids are told for bound GPUs only: those that are left may be one hive, some bound and some not.
    if rest and len({gpu.hive_id for gpu in rest if gpu.hive_id}) <= 1 and _complete(rest):
        found.append(rest)
    return found


def _complete(group: Sequence[Seen]) -> bool:
    sizes = {gpu.xgmi("nodes") for gpu in group}
    return len(sizes) == 1 and sorted(gpu.xgmi("node") for gpu in group) == list(range(sizes.pop()))


def _in_hive(gpu: Seen, gpus: Sequence[Seen], told: Sequence[Seen]) -> bool:
    if gpu.is_alone:
        return False
    if gpu.hive_id:
        return True
    nodes = gpu.xgmi("nodes")
    if nodes is not None:
        return bool(nodes > 1)
    others = [other for other in told if other is not gpu]
    if not others:
        return True  # nobody could tell: the careful answer
    if all(other.xgmi("nodes") == 1 for other in others):
        return False
    # Every hive that is seen is complete without this GPU: it stands alone.
    return any(other.members is None for other in others if other.xgmi("nodes") > 1)


def _active(gpu: Seen) -> int:
    return sum(row["state"] == "active" for row in gpu.xgmi("links") or ())


def _compare_links(gpus: Sequence[Seen]) -> None:
    """A member with fewer active links than its mates has lost some, even if it has enough to reach everyone."""
    for group in _hives(gpus):
        most = max(_active(gpu) for gpu in group)
        for gpu in group:
            rows = gpu.xgmi("links") or []
            if any(row["state"] is None for row in rows) or not rows:
                continue
            if _active(gpu) < most and not any(finding.code == LINK for finding in gpu.findings):
                bad = [row for row in rows if row["state"] != "active"]
                facts = {**gpu.facts["xgmi"], "expected_links": most}
                gpu.findings.append(link_finding(bad, facts, f"link state words (SMN) on {gpu.bdf}", None))


def _name_other_end(gpus: Sequence[Seen]) -> None:
    """Which port leads to which GPU is known to the PSP only; but when exactly two members miss a link, it is theirs."""
    for group in _hives(gpus):
        ends = [gpu for gpu in group if any(finding.code == LINK for finding in gpu.findings)]
        if len(ends) != 2:
            continue
        for gpu, other in ((ends[0], ends[1]), (ends[1], ends[0])):
            told = (
                f"; the only other member with a link down is GPU {other.index} ({other.bdf}): the other end, it seems"
            )
            gpu.findings = [
                replace(finding, seen=finding.seen + told) if finding.code == LINK else finding
                for finding in gpu.findings
            ]
