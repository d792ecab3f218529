"""Which method is forbidden for which part in which situation, and which is allowed only when it is named with --force.

Data, a source beside each row. What no row knows is not safe: a part that is not in `KNOWN` gets only what is safe for all.
Source: the rows; DESIGN section 4 (virtual functions and MI300A are never reset) and section 6 rule 6 (hives)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, StrEnum

from amdriver.parts import PARTS, Part
from base.errors import Refused
from resets.methods import Doer, Method

MI300X, MI308X, MI325X, MI308X_HF, MI300X_HF = 0x74A1, 0x74A2, 0x74A5, 0x74A8, 0x74A9
MI350X, MI355X, MI350P = 0x75A0, 0x75A3, 0x75A8
KNOWN = frozenset({MI300X, MI308X, MI325X, MI308X_HF, MI300X_HF, MI350X, MI355X, MI350P})
# Parts for which FLR is known to bring back the power firmware: none; the ladder takes a bus reset instead.
FLR_HELPS: frozenset[int] = frozenset()
SAFE_FOR_ALL = frozenset({"restore-config", "remove-rescan"})

_WHOLE_CHIP = frozenset({"mode1", "hive-reset", "link-reset"})
_FROM_THE_BUS = frozenset({"flr", "bus-reset", "sysfs-reset"})


class When(StrEnum):
    """The situation that a rule is about."""

    ALWAYS = "always"
    VFIO = "under vfio"
    DRIVER_BOUND = "while amdgpu is bound"
    NO_DRIVER = "while amdgpu is not bound"
    ALONE = "one member of a hive alone"
    HIVE_UNKNOWN = "members of the hive not all known"
    NO_HIVE = "a GPU in no hive"
    BEHIND_SWITCH = "behind a switch"
    SIBLINGS = "others behind the same port"


class Verdict(Enum):
    NEVER = "refused"
    FORCE = "refused unless forced"


@dataclass(frozen=True, slots=True)
class Rule:
    """`devices` None: every part; `methods` None: every one that touches the GPU (`by`: only those of these doers)."""

    when: When
    verdict: Verdict
    why: str
    instead: str
    source: str
    devices: frozenset[int] | None = None
    methods: frozenset[str] | None = None
    by: frozenset[Doer] | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        names = [part.name for part in PARTS.values() if self.devices is not None and part.device in self.devices]
        doers = "" if self.by is None else f", by {' or '.join(sorted(self.by))}"
        return {
            "when": str(self.when),
            "methods": ", ".join(sorted(self.methods)) if self.methods is not None else "",
            "parts": f" of {', '.join(names)}" if names else doers,
            "verdict": self.verdict.value,
            "why": self.why,
            "instead": self.instead,
            "source": self.source,
        }

    def covers(self, device: int, method: Method) -> bool:
        return (
            (self.devices is None or device in self.devices)
            and (self.methods is None or method.name in self.methods)
            and (self.by is None or method.doer in self.by)
        )


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is around one GPU. `driver`: the kernel driver that is bound ("" none); `alone`: it is a member of a hive
    and the method would hit it alone; `siblings`: functions behind the same port that are not to be reset, by bus address;
    `behind_switch` None: not known, as for models."""

    driver: str = ""
    in_hive: bool = False
    alone: bool = False
    hive_complete: bool = True
    siblings: tuple[str, ...] = ()
    behind_switch: bool | None = None

    def holds(self, when: When) -> bool:
        return {
            When.ALWAYS: True,
            When.VFIO: self.driver == "vfio-pci",
            When.DRIVER_BOUND: self.driver not in ("", "vfio-pci", "pci-stub", "uio_pci_generic"),
            When.NO_DRIVER: self.driver != "amdgpu",
            When.ALONE: self.alone,
            When.HIVE_UNKNOWN: self.in_hive and not self.hive_complete,
            When.NO_HIVE: not self.in_hive,
            When.BEHIND_SWITCH: bool(self.behind_switch),
            When.SIBLINGS: bool(self.siblings),
        }[when]


RULES: tuple[Rule, ...] = (
    Rule(
        When.DRIVER_BOUND, Verdict.NEVER, "two owners at once: the driver would find its GPU changed under it",
        "gpumend reset --unbind, or --method kernel-recover", "tinygrad/tinygrad#14624; amd-resets.md section 10, never",
        by=frozenset({Doer.GPUMEND, Doer.PCI_CORE}),
    ),
    Rule(
        When.NO_DRIVER, Verdict.NEVER, "it is the bound driver that carries this out, and amdgpu is not bound",
        "gpumend reset --method auto", "amd-resets.md section 6", methods=frozenset({"driver-rebind", "kernel-recover"}),
    ),
    Rule(
        When.ALONE, Verdict.NEVER, "mode1 of one member of a hive leaves the XGMI links of all members down",
        "--method hive-reset takes all members together", "amd-resets.md sections 5 and 10, never",
        methods=frozenset({"mode1", "link-reset"}),
    ),
    Rule(
        When.HIVE_UNKNOWN, Verdict.NEVER, "not every member of the hive is known or in reach, and all must be reset together",
        "bring the missing members back first (gpumend probe names them); name all of them with --on",
        "amd-resets.md section 5 (a hive that is not complete never resets)", methods=frozenset({"hive-reset"}),
    ),
    Rule(
        When.NO_HIVE, Verdict.NEVER, "the GPU is in no hive", "--method mode1", "amd-resets.md section 5",
        methods=frozenset({"hive-reset"}),
    ),
    Rule(
        When.VFIO, Verdict.FORCE, "reported to leave config space at all ones until the host is rebooted",
        "gpumend unbind, then the plain address", "amd/MxGPU-Virtualization#25 (MI300X, MI355X)",
        devices=frozenset({MI300X, MI300X_HF, MI355X}), methods=_FROM_THE_BUS,
    ),
    Rule(
        When.VFIO, Verdict.FORCE, "not known to be survived by this part; its siblings MI300X and MI355X do not",
        "gpumend unbind, then the plain address", "amd/MxGPU-Virtualization#25, by inference",
        devices=frozenset({MI308X, MI308X_HF, MI325X, MI350X, MI350P}), methods=_FROM_THE_BUS,
    ),
    Rule(
        When.ALWAYS, Verdict.FORCE, "mode1 was reported to be destructive on this part",
        "--method bus-reset", "tinygrad/tinygrad#17693", devices=frozenset({MI350P}), methods=_WHOLE_CHIP,
    ),
    Rule(
        When.BEHIND_SWITCH, Verdict.FORCE, "an FLR of the endpoint was reported not to be enough behind a switch",
        "--method bus-reset", "tinygrad/tinygrad#15636", methods=frozenset({"flr", "sysfs-reset"}),
    ),
    Rule(
        When.SIBLINGS, Verdict.FORCE, "the reset of that port hits others too",
        "stop what uses them, then --force bus-reset",
        "ROCm/rocm-systems projects/amdsmi/docs/conceptual/gpu-reset-behavior.md", methods=frozenset({"bus-reset"}),
    ),
)  # fmt: skip


def check(method: Method, part: Part, bdf: str, situation: Situation, force: Collection[str] = ()) -> None:
    """Refused, with the rule and its source, when this part must not be reset so in this situation."""
    refusal = refusal_of(method, part, bdf, situation, force)
    if refusal is not None:
        raise refusal


def refusal_of(
    method: Method, part: Part, bdf: str, situation: Situation, force: Collection[str] = ()
) -> Refused | None:
    """The same as an answer."""
    unfit = unfit_part(part, bdf, method)
    if unfit is not None:
        return unfit
    for rule in RULES:
        if not rule.covers(part.device, method) or not situation.holds(rule.when):
            continue
        if rule.verdict is Verdict.FORCE and method.name in force:
            continue
        return _refusal(method, part, bdf, situation, rule)
    return None


def unfit_part(part: Part, bdf: str, method: Method | None = None) -> Refused | None:
    """Why this part is not reset at all, or not so."""
    doing = f"resetting {bdf}" if method is None else f"{method.name} of {bdf}"
    if part.is_vf:
        return Refused(doing, expected="a physical function", seen=f"{part.name}: the host owns the hardware behind it",
                       where=bdf, next_step="reset the physical function on the host")  # fmt: skip
    if part.is_apu:
        return Refused(doing, expected="a GPU of its own", seen=f"{part.name}: its memory is this machine's memory",
                       where=bdf, next_step="reboot the node; if the GPU stays away, power cycle it")  # fmt: skip
    if method is not None and part.device not in KNOWN and method.name not in SAFE_FOR_ALL:
        return Refused(doing, expected=f"a part whose resets are known, or one of {', '.join(sorted(SAFE_FOR_ALL))}",
                       seen=f"{part.name} (device {part.device:04x}) is not in the safety table", where=bdf,
                       next_step="node-reboot")  # fmt: skip
    return None


def _refusal(method: Method, part: Part, bdf: str, situation: Situation, rule: Rule) -> Refused:
    seen = f"{rule.when}: {rule.why}"
    if rule.when is When.DRIVER_BOUND:
        seen = f"{situation.driver} is bound: {rule.why}"
    if rule.when is When.ALONE and not situation.hive_complete:
        seen = f"it cannot be told with whom it is in a hive, and {rule.why}"
    if rule.when is When.SIBLINGS:
        seen = f"{rule.why}: {', '.join(situation.siblings[:8])}"
    forced = f"; --force {method.name} goes on all the same" if rule.verdict is Verdict.FORCE else ""
    return Refused(
        f"{method.name} of {bdf} ({part.name})",
        expected="a method that is safe for this part as it stands",
        seen=f"{seen} [{rule.source}]",
        where=bdf,
        next_step=f"{rule.instead}{forced}",
    )
