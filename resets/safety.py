"""Which method is forbidden for which part in which situation, and which is allowed only when it is named with --force.

Data, a source beside each row. What no row knows is not safe: a part that is not in `KNOWN` gets only what is safe for all.
NVIDIA's parts have rows of their own; what they share with AMD's is that nobody resets a GPU that a driver has.
Source: the rows; DESIGN section 4 (virtual functions and MI300A are never reset) and section 6 rule 6 (hives)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

from amdriver.parts import PARTS, Part
from base.errors import Refused
from base.part import AMD_VENDOR, NVIDIA_VENDOR
from nvdriver.parts import PARTS as NV_PARTS
from resets.methods import METHODS, Doer, Method
from resets.subject import Subject

MI300X, MI308X, MI325X, MI308X_HF, MI300X_HF = 0x74A1, 0x74A2, 0x74A5, 0x74A8, 0x74A9
MI350X, MI355X, MI350P = 0x75A0, 0x75A3, 0x75A8
NVIDIA = frozenset(NV_PARTS)
KNOWN = frozenset({MI300X, MI308X, MI325X, MI308X_HF, MI300X_HF, MI350X, MI355X, MI350P}) | NVIDIA
GRACE_HOPPER = frozenset({0x2342, 0x2348})
GRACE = GRACE_HOPPER | {0x2941, 0x31C2}  # a coherent link to the CPU, which takes their memory for its own
A100_SXM = frozenset({0x20B0, 0x20B2, 0x20B3, 0x20BD, 0x20F3})
# Parts for which FLR is known to help: of AMD's none (a silent SMU), the ladder takes a bus reset instead. NVIDIA's own order
# is FLR, then the bus (nvidia-resets.md section 1).
FLR_HELPS: frozenset[int] = NVIDIA
SAFE_FOR_ALL = frozenset({"restore-config", "remove-rescan"})

_WHOLE_CHIP = frozenset({"mode1", "hive-reset", "link-reset"})
_FROM_THE_BUS = frozenset({"flr", "bus-reset", "sysfs-reset"})


class When(StrEnum):
    """The situation that a rule is about."""

    ALWAYS = "always"
    VFIO = "under vfio"
    DRIVER_BOUND = "while a driver is bound"
    NO_DRIVER = "while no driver is bound"
    VF = "a virtual function"
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
    vendor: int | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        everyone = (*PARTS.values(), *NV_PARTS.values())
        names = [part.name for part in everyone if self.devices is not None and part.device in self.devices]
        whose = {None: "", NVIDIA_VENDOR: " (NVIDIA)", AMD_VENDOR: " (AMD)"}[self.vendor]
        doers = "" if self.by is None else f", by {' or '.join(sorted(self.by))}"
        return {
            "when": str(self.when),
            "methods": ", ".join(sorted(self.methods)) if self.methods is not None else "",
            "parts": f" of {', '.join(names)}" if names else f"{whose}{doers}",
            "verdict": self.verdict.value,
            "why": self.why,
            "instead": self.instead,
            "source": self.source,
        }

    def covers(self, part: Part, method: Method) -> bool:
        return (
            (self.devices is None or part.device in self.devices)
            and self.vendor in (None, part.vendor)
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
    is_vf: bool = False

    def holds(self, when: When) -> bool:
        return {
            When.ALWAYS: True,
            When.VFIO: self.driver == "vfio-pci",
            When.DRIVER_BOUND: self.driver not in ("", "vfio-pci", "pci-stub", "uio_pci_generic"),
            When.NO_DRIVER: self.driver not in ("amdgpu", "nvidia"),
            When.VF: self.is_vf,
            When.ALONE: self.alone,
            When.HIVE_UNKNOWN: self.in_hive and not self.hive_complete,
            When.NO_HIVE: not self.in_hive,
            When.BEHIND_SWITCH: bool(self.behind_switch),
            When.SIBLINGS: bool(self.siblings),
        }[when]


RULES: tuple[Rule, ...] = (
    Rule(
        When.VF, Verdict.NEVER, "the host owns the hardware behind it", "reset the physical function on the host",
        "DESIGN section 4",
    ),
    Rule(
        When.DRIVER_BOUND, Verdict.NEVER, "the driver has no handlers for resets: it would go on with what it knew of the GPU, "
        "which is of no use then until the driver is unbound or the node rebooted",
        "gpumend reset --unbind, when nothing holds the GPU", "nvidia-resets.md section 1.3 (S)",
        by=frozenset({Doer.GPUMEND, Doer.PCI_CORE}), vendor=NVIDIA_VENDOR,
    ),
    Rule(
        When.ALWAYS, Verdict.NEVER, "these GPUs do not work after a bus reset, and the kernel prevents it",
        "--method flr", "Linux v7.3 drivers/pci/quirks.c quirk_nvidia_no_bus_reset", devices=GRACE_HOPPER,
        methods=frozenset({"bus-reset"}),
    ),
    Rule(
        When.ALWAYS, Verdict.FORCE, "what becomes of the coherent link to the CPU, and of memory that the system took from "
        "this GPU for its own, is not known", "node-reboot", "nvidia-resets.md section 7 (Xid 173: I)", devices=GRACE,
        methods=_FROM_THE_BUS,
    ),
    Rule(
        When.ALWAYS, Verdict.FORCE, "before Hopper the fabric manager has to shut down the NVLinks of a board with NVSwitches "
        "first, and the kernel does not ask it",
        "the vendor's own tool while the fabric manager runs, all linked GPUs in one command; or node-reboot",
        "nvidia-resets.md sections 1.1 and 3 (S, D)", devices=A100_SXM, methods=_FROM_THE_BUS,
    ),
    Rule(
        When.SIBLINGS, Verdict.FORCE, "the reset of that port hits others too; if one of them is the board's audio function: "
        "woken a moment ago, it can wedge the whole board", "--method flr; or stop what uses them, then --force bus-reset",
        "nvidia-resets.md section 1.2; Linux v7.3 drivers/pci/quirks.c quirk_nvidia_hda_pm",
        methods=frozenset({"bus-reset"}), vendor=NVIDIA_VENDOR,
    ),
    Rule(
        When.DRIVER_BOUND, Verdict.NEVER, "two owners at once: the driver would find its GPU changed under it",
        "gpumend reset --unbind, or --method kernel-recover", "tinygrad/tinygrad#14624; amd-resets.md section 10, never",
        by=frozenset({Doer.GPUMEND, Doer.PCI_CORE}), vendor=AMD_VENDOR,
    ),
    Rule(
        When.NO_DRIVER, Verdict.NEVER, "it is the bound driver that carries this out, and none is bound",
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
        "--method bus-reset", "tinygrad/tinygrad#15636", methods=frozenset({"flr", "sysfs-reset"}), vendor=AMD_VENDOR,
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


def check_fit(method: Method, subjects: Iterable[Subject]) -> None:
    """Refused where this method is none for one of these parts, whatever stands in its way."""
    for one in subjects:
        refusal = unfit_part(one.part, one.bdf, method)
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
        if not rule.covers(part, method) or not situation.holds(rule.when):
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
    if method is not None and part.is_nvidia and not method.nvidia and not method.is_answer:
        theirs = ", ".join(name for name, one in METHODS.items() if one.nvidia)
        return Refused(doing, expected=f"a method for NVIDIA's GPUs: {theirs}", seen=f"{method.name} is done to AMD's only",
                       where=bdf, next_step="gpumend reset --list-methods")  # fmt: skip
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
