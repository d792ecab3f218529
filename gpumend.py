"""The public Python API: reach GPUs by address, list them, probe them, open them, test them.

    import gpumend

    for gpu in gpumend.list_gpus(["model:mi350x*8"]):
        print(gpu.index, gpu.bdf, gpu.part)
    reports = gpumend.probe(["model:mi350x*8?fault=mec-hang@2"])
    with gpumend.open("model:mi350x") as gpu:
        one, two = gpu.alloc(4096), gpu.alloc(4096)
        gpu.copy(two, one)

Addresses and selection: DESIGN section 4 and README. `python -m gpumend` is the command line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from amdriver.running_recovery import KernelFault as KernelFault
from amdriver.running_recovery import KernelHung as KernelHung
from amdriver.running_recovery import Recovery as Recovery
from amdriver.running_recovery import RecoveryFailed as RecoveryFailed
from base.clock import Clock, Outcome, RealClock, VirtualClock
from base.errors import DeviceLost as DeviceLost
from base.errors import GpumendError as GpumendError  # for those who catch it
from base.errors import InvalidData, NotPermitted, Refused, Unavailable, Undecided, UsageError
from base.errors import OutOfMemory as OutOfMemory
from base.findings import Finding, ProbeReport, Severity, graver
from base.part import NVIDIA_VENDOR
from base.resets import GpuOutcome as GpuOutcome  # what `reset` gives
from base.resets import Outcome as ResetOutcome
from base.resets import ResetReport as ResetReport
from base.resets import ResetStep as ResetStep
from base.runs import Iteration as Iteration  # what `run_scenario` gives
from base.runs import RunOutcome as RunOutcome
from base.runs import RunReport as RunReport
from base.version import VERSION
from nvdriver.status import ChannelDead as ChannelDead
from pcibus.transport import Can, FunctionInfo, Transport

if TYPE_CHECKING:
    from amdriver.clocks import ClockMessage as ClockMessage
    from amdriver.clocks import ClockRange as ClockRange
    from amdriver.clocks import Clocks as Clocks
    from amdriver.discovery import Validation
    from amdriver.discovery_diff import Difference
    from amdriver.discovery_locate import Located
    from amdriver.gfx import AnyQueue
    from amdriver.ip_map import IpInstance, IpMap
    from amdriver.opengpu import OpenGpu as OpenGpu
    from amdriver.opening import OpenHive as OpenHive
    from amdriver.queue import AqlQueue as AqlQueue  # what `gpu.raw` gives
    from amdriver.queue import SdmaQueue as SdmaQueue
    from amdriver.rawgpu import Raw as Raw
    from amdriver.rawgpu import RawMemory as RawMemory
    from amdriver.rawgpu import Shape as Shape
    from amdriver.regs import Reading
    from amdriver.trace_compare import BlockCount as BlockCount  # for commands/ too
    from amdriver.trace_compare import Comparison as Comparison
    from amdriver.trace_compare import Folded as Folded
    from amdriver.trace_compare import TraceRow as TraceRow
    from amdriver.trace_compare import TraceSeen as TraceSeen
    from amdriver.trace_events import DecodedTrace as DecodedTrace
    from base.part import Part
    from base.selftest import Level
    from base.selftest import SelftestProgress as SelftestProgress
    from base.selftest import SelftestReport as SelftestReport
    from evidence import Bundle as Bundle
    from evidence import Checked as Checked
    from evidence import Places, Problem
    from firmware.model import FirmwareFile
    from firmware.verify import VerifyReport
    from gpumodel.remote_pci import RemoteServer
    from gpumodel.vfio_user import VfioUserServer
    from nvdriver.channel import Channel as Channel  # what an NVIDIA GPU's `raw` gives
    from nvdriver.opengpu import OpenNvGpu as OpenNvGpu
    from nvdriver.rawgpu import NvRaw as NvRaw
    from nvdriver.rawgpu import NvRawMemory as NvRawMemory
    from pcibus.driverfiles import DriverFiles
    from registers.tables import Entry
    from repro.export import Exported as Exported
    from repro.runner import Onlooker as RunOnlooker
    from repro.scenario import Scenario as Scenario
    from resets.climb import Watcher as ResetWatcher
    from resets.critical import Asked as Asked
    from resets.methods import Method as ResetMethod
    from resets.preview import Preview as Preview
    from resets.soak import SoakReport as SoakReport
    from resets.subject import Subject

__version__ = VERSION

T = TypeVar("T")
SYS_ROOT, PROC_ROOT = Path("/sys"), Path("/proc")  # tests put trees of their own here
REAL_CLOCK = RealClock()
LOOK_LIMIT_S = 5.0  # for one look at one GPU, in a child that is killed then

ADDRESS_HELP = (
    "0000:c1:00.0, vfio:0000:c1:00.0[?resets=allowed], replay:FILE, remote:HOST:PORT[#INDEX] or "
    "model:PART[*N][?state=cold|used&vram=GIB&vbios=on|off&driver=VERSION&fault=NAME[:ARG][@GPU],...]"
)
MODEL_LINE = "gpumend --on 'model:mi350x*8' list"
SUPPORTED = "an AMD Instinct of the MI300 or MI350 family (PCI vendor 1002), or an NVIDIA GPU from Ampere on (10de)"
_BDF = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-1][0-9a-f])\.([0-7])\Z", re.IGNORECASE)


@dataclass(slots=True)
class Gpu:
    """One GPU that was found: where it is and what it is. `transport` touches nothing before its first read."""

    index: int
    address: str
    info: FunctionInfo
    part: Part
    transport: Transport
    clock: Clock

    @property
    def bdf(self) -> str:
        return self.info.bdf

    @property
    def on_host(self) -> bool:
        """Whether it is on this machine's PCI bus: not a model, a recording or behind a server."""
        return Can.HOST in self.transport.can


def part_of(vendor: int, device: int) -> Part | None:
    """The part with this PCI id, of whichever vendor; None if it is none that gpumend knows."""
    from amdriver.parts import part_of as amd_part
    from nvdriver.parts import part_of as nvidia_part

    return amd_part(vendor, device) or nvidia_part(vendor, device)


def require_amd(found: Sequence[Gpu], doing: str) -> None:
    """UsageError where one of these GPUs is NVIDIA's: what is asked for is built for AMD only, so far."""
    others = [gpu for gpu in found if gpu.part.is_nvidia]
    if not others:
        return
    rest = ",".join(str(gpu.index) for gpu in found if not gpu.part.is_nvidia)
    raise UsageError(
        doing,
        expected="AMD GPUs: this is not built for NVIDIA yet",
        seen=", ".join(gpu_name(gpu) for gpu in others),
        where=others[0].address,
        next_step=f"select the others: -g {rest}" if rest else "gpumend list and gpumend probe know NVIDIA",
    )


def normal_bdf(text: str) -> str | None:
    """`c1:00.0` or `0000:C1:00.0` as `0000:c1:00.0`; None if it is no bus address."""
    match = _BDF.match(text)
    if not match:
        return None
    domain, bus, device, function = match.groups()
    return f"{domain or '0000'}:{bus}:{device}.{function}".lower()


def list_gpus(
    on: Sequence[str] = (), gpus: Sequence[str] = (), *, clock: Clock | None = None, sys_root: Path | None = None
) -> list[Gpu]:
    """The GPUs at the addresses `on` (none: GPUMEND_ON, else this machine's PCI bus), narrowed to `gpus`.

    `gpus`: index, BDF, UUID (GPU-<16 hex digits of the serial>) or `all`; comma lists allowed. Raises UsageError for
    what cannot be an address or a selection, Unavailable when nothing is there."""
    sys_root = sys_root or SYS_ROOT
    addresses = list(on) or os.environ.get("GPUMEND_ON", "").split()
    if clock is None and any(address.startswith(("model:", "replay:")) for address in addresses):
        clock = VirtualClock()
    found = [gpu for address in dict.fromkeys(addresses) for gpu in _at(address, clock, sys_root)]
    if not addresses:
        found = _on_this_bus(sys_root)
    for index, gpu in enumerate(found):
        gpu.index = index
    return select(found, gpus)


def select(found: list[Gpu], wanted: Sequence[str]) -> list[Gpu]:
    """Narrow to the GPUs that `wanted` names, in the order found, each once."""
    names = [name.strip() for entry in wanted for name in entry.split(",") if name.strip()]
    if wanted and not names:  # an unset variable in a script must not mean every GPU
        raise UsageError("selecting GPUs", expected="an index, a BDF, GPU-<16 hex digits> or all", seen="an empty -g")
    if not names or "all" in names:
        return found
    chosen: set[int] = set()
    for name in names:
        chosen |= {gpu.index for gpu in _matching(found, name)}
    return [gpu for gpu in found if gpu.index in chosen]


def _matching(found: list[Gpu], name: str) -> list[Gpu]:
    bdf = normal_bdf(name)
    if name.isascii() and name.isdigit():
        hits = [gpu for gpu in found if str(gpu.index) == (name.lstrip("0") or "0")]
    elif bdf is not None:
        hits = [gpu for gpu in found if gpu.bdf == bdf]
    elif re.match(r"GPU-[0-9a-f]{16}\Z", name, re.IGNORECASE):
        hits = [gpu for gpu in found if uuid_of(serial_of(gpu)) == "GPU-" + name[4:].lower()]
    else:
        raise UsageError(
            f"selecting GPU {name!r}", expected="an index, a BDF (0000:c1:00.0), GPU-<16 hex digits> or all"
        )
    if not hits:
        there = ", ".join(f"{gpu.index} ({gpu.bdf})" for gpu in found)
        raise UsageError(f"selecting GPU {name!r}", expected=f"one of {there or 'none: no GPU was found'}", seen=name)
    return hits


def serial_of(gpu: Gpu) -> int | None:
    """The PCI Device Serial Number; None where the GPU has none or cannot be asked."""
    from pcibus.config import serial_number

    return _looks([gpu], [partial(serial_number, gpu.transport)], "reading config space")[0].value


def uuid_of(serial: int | None) -> str | None:
    """GPU-<serial>; None where the GPU shows no serial number."""
    return None if serial is None else f"GPU-{serial:016x}"


def _at(address: str, clock: Clock | None, sys_root: Path) -> list[Gpu]:
    kind, _, rest = address.partition(":")
    if kind == "model":
        return _models(address, rest, clock)
    if kind == "replay":
        return _replays(address, rest, clock)
    if kind == "remote":
        return _remotes(address)
    if kind == "vfio":
        return [_through_vfio(address, rest, sys_root)]
    bdf = normal_bdf(address)
    if bdf is None:
        raise UsageError(f"reading the address {address!r}", expected=ADDRESS_HELP, seen=address)
    return [_on_bus(bdf, sys_root)]


def _models(address: str, spec: str, clock: Clock | None) -> list[Gpu]:
    from gpumodel import nvidia, open_models
    from gpumodel.nvidia.spec import names_nvidia

    clock = clock or VirtualClock()
    gpus = []
    transports: Sequence[Transport] = (nvidia.open_models if names_nvidia(spec) else open_models)(spec, clock)
    for transport in transports:
        info = transport.info()
        part = part_of(info.vendor, info.device)
        assert part is not None, "the model shows an id that the tables of parts do not know"
        gpus.append(Gpu(0, address, info, part, transport, clock))
    return gpus


def _replays(address: str, file: str, clock: Clock | None) -> list[Gpu]:
    from pcibus.replay import Replay

    if not file:
        raise UsageError(f"reading the address {address!r}", expected="replay:FILE", seen="no file")
    transport = Replay(Path(file))
    info = transport.info()
    part = part_of(info.vendor, info.device)
    if part is None:
        raise Unavailable(
            f"opening {address}",
            expected="a recording of a supported GPU",
            seen=f"{info.vendor:04x}:{info.device:04x}",
            where=file,
        )
    return [Gpu(0, address, info, part, transport, clock or VirtualClock())]


def _remotes(address: str) -> list[Gpu]:
    """The supported GPUs behind a server, on the real clock: time passes there, whatever the caller's other GPUs live
    on."""
    from base.part import AMD_VENDOR
    from pcibus.remote import open_remote

    gpus = []
    for transport in open_remote(address, vendors=(AMD_VENDOR, NVIDIA_VENDOR)):
        info = transport.device.info
        part = part_of(info.vendor, info.device)
        if part is not None:
            gpus.append(Gpu(0, address, info, part, transport, REAL_CLOCK))
    if not gpus:
        raise Unavailable(
            f"opening {address}",
            expected=SUPPORTED,
            seen="none among the devices that it serves",
            where=address,
        )
    return gpus


def _through_vfio(address: str, rest: str, sys_root: Path) -> Gpu:
    """A GPU that is bound to vfio-pci. Nothing is opened yet: opening it lets the kernel reset it, which must be
    allowed."""
    from pcibus.vfio import VfioTransport

    place, _, option = rest.partition("?")
    bdf = normal_bdf(place)
    if bdf is None or (option != "resets=allowed" and "?" in rest):
        raise UsageError(
            f"reading the address {address!r}",
            expected="vfio:0000:c1:00.0 or vfio:0000:c1:00.0?resets=allowed",
            seen=rest,
        )
    found = _on_bus(bdf, sys_root)
    found.address = address
    found.transport = VfioTransport(bdf, root=sys_root, resets_allowed=bool(option), proc=PROC_ROOT)
    return found


def _on_bus(bdf: str, sys_root: Path) -> Gpu:
    from pcibus.sysfs import SysfsTransport, scan

    for info in scan(sys_root):
        if info.bdf != bdf:
            continue
        part = part_of(info.vendor, info.device)
        if part is None:
            raise Unavailable(
                f"opening {bdf}",
                expected=SUPPORTED,
                seen=f"{info.vendor:04x}:{info.device:04x}",
                where=bdf,
                next_step="gpumend list",
            )
        return Gpu(0, bdf, info, part, SysfsTransport(bdf, root=sys_root), REAL_CLOCK)
    raise Unavailable(
        f"opening {bdf}",
        expected="a PCI function at that address",
        seen="none",
        where=str(sys_root / "bus/pci/devices"),
        next_step="gpumend list",
    )


def _on_this_bus(sys_root: Path) -> list[Gpu]:
    from pcibus.sysfs import SysfsTransport, scan

    gpus = []
    for info in sorted(scan(sys_root), key=lambda item: item.bdf):
        part = part_of(info.vendor, info.device)
        if part is not None:
            gpus.append(Gpu(0, info.bdf, info, part, SysfsTransport(info.bdf, root=sys_root), REAL_CLOCK))
    return gpus


def probe(
    on: Sequence[str] = (), gpus: Sequence[str] = (), *, clock: Clock | None = None, sys_root: Path | None = None
) -> list[ProbeReport]:
    """Ask every selected GPU what is wrong with it; changes nothing, and takes at most about 2 s whatever the GPUs
    do."""
    return probe_gpus(list_gpus(on, gpus, clock=clock, sys_root=sys_root), sys_root=sys_root)


def probe_gpus(
    found: Sequence[Gpu], *, sys_root: Path | None = None, limit_s: float | None = None
) -> list[ProbeReport]:
    """Probe GPUs that `list_gpus` found, side by side; `limit_s` for all together, None for the usual 2 s."""
    from amdriver.discovery_store import load
    from probe.run import LIMIT_S, Target, probe_all

    sys_root = sys_root or SYS_ROOT
    reports: dict[int, ProbeReport] = {}
    for clock in {id(gpu.clock): gpu.clock for gpu in found}.values():
        group = [gpu for gpu in found if gpu.clock is clock]
        targets = [Target(gpu.index, gpu.transport, gpu.part, _driver_files(gpu)) for gpu in group]
        for report in probe_all(
            targets,
            clock=clock,
            limit_s=LIMIT_S if limit_s is None else limit_s,
            sys_root=sys_root,
            proc_root=PROC_ROOT,
            golden=load,
        ):
            reports[report.index] = report
    return [reports[gpu.index] for gpu in found]


def _driver_files(gpu: Gpu) -> DriverFiles | None:
    """Where the kernel driver of a GPU is asked: NVIDIA's, on this machine or of a model; None for the others."""
    if not gpu.part.is_nvidia:
        return None
    if Can.HOST not in gpu.transport.can:
        files: DriverFiles | None = getattr(gpu.transport, "files", None)
        return files
    from pcibus.driverfiles import HostFiles

    return HostFiles() if Path("/sys") == SYS_ROOT else HostFiles(SYS_ROOT.parent / "dev", PROC_ROOT)


def _files_among(found: Sequence[Gpu]) -> Callable[[Any], DriverFiles | None]:
    """The same for those who know a GPU by its index only."""
    by_index = {gpu.index: gpu for gpu in found}
    return lambda one: _driver_files(by_index[one.index])


def bus_states(found: Sequence[Gpu]) -> list[tuple[str, str | None]]:
    """For each GPU its state and UUID. State: `ok`, `lost` (config space reads all ones), `unknown` (it cannot be
    read).

    Asks config space only, in a child on this machine's bus: while a reset goes on, the kernel lets its readers
    sleep."""
    outcomes = _looks(found, [partial(_bus_state, gpu) for gpu in found], "reading config space")
    return [outcome.value or ("unknown", None) for outcome in outcomes]


def _bus_state(gpu: Gpu) -> tuple[str, str | None]:
    from pcibus.config import is_lost, serial_number

    return ("lost", None) if is_lost(gpu.transport) else ("ok", uuid_of(serial_number(gpu.transport)))


def list_there(on: Sequence[str] = (), gpus: Sequence[str] = ()) -> tuple[list[Gpu], list[Unavailable]]:
    """The GPUs that are there, and an error for each address of this machine's bus at which there is none.

    For a bundle, which says most about a GPU that has gone: what other commands take for the end is told beside the
    rest. Raises what `list_gpus` raises for other addresses and selections."""
    found: list[Gpu] = []
    missing: list[Unavailable] = []
    for address in list(on) or os.environ.get("GPUMEND_ON", "").split() or [""]:
        place = address.removeprefix("vfio:").partition("?")[0]
        try:
            # By hand, because list_gpus would take an empty list for the whole bus, and one missing GPU for the end.
            found += _at(address, None, SYS_ROOT) if address else _on_this_bus(SYS_ROOT)
        except Unavailable as error:
            if address and normal_bdf(place) is None:
                raise
            missing.append(error)
    for index, gpu in enumerate(found):
        gpu.index = index
    return select(found, gpus) if found else [], missing


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that was written and checked. `path`: archive or folder; `checked`: what reading it again found."""

    path: Path
    bundle: Bundle
    checked: Checked

    @property
    def ok(self) -> bool:
        return self.checked.ok


def write_bundle(
    found: Sequence[Gpu],
    output: Path | None = None,
    *,
    redact: bool = True,
    ras_counts: bool = False,
    problem: str = "",
    incidence: str = "",
    run: Path | None = None,
    extra: dict[str, bytes] | None = None,
    settings: dict[str, Any] | None = None,
    firmware: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Written:
    """Collect what a vendor asks for about these GPUs (none: about this machine), write it, read it again. `run`: the
    folder of a scenario's run, whose files go into it, redacted; its steps, incidence and command into the report.
    `extra`: more files.

    `output`: a file (.tar.zst, .tar.gz), a folder that is not there yet, or None for one of its own below the user's
    state folder. `problem`, `incidence`: what only the reporter knows. An archive is collected in a folder there, so
    that a machine that dies leaves what it had; the folder goes when the archive is whole. Changes nothing on any
    GPU. Raises Refused (`output` is there), NotPermitted, Unavailable."""
    import shutil
    from dataclasses import replace

    from evidence import Problem, check, collect, default_folder, pack
    from evidence.archive import require_packer, suffix_of
    from firmware.store import search_dirs

    packs = output is not None and bool(suffix_of(output))
    if packs and output is not None:
        require_packer(output)  # before minutes of collecting
        _require_free(output)
    folder = default_folder() if packs or output is None else output
    told, files = _run_for_bundle(run) if run is not None else (Problem(), {})
    told = replace(told, summary=problem or told.summary, incidence=incidence or told.incidence)
    if progress is not None:
        progress(f"into {folder}")
    bundle = collect(
        found,
        folder,
        redact=redact,
        ras_counts=ras_counts,
        problem=told,
        extra={**_journal_for_bundle(), **files, **(extra or {})},
        settings=settings,
        firmware_dirs=search_dirs(firmware),
        places=_places(),
        progress=progress,
        files=_files_among(found),
    )
    if not packs or output is None:
        return Written(folder, bundle, check(folder))
    pack(folder, output, bundle.files)
    checked = check(output)
    if checked.ok:
        shutil.rmtree(folder, ignore_errors=True)
    return Written(output, bundle, checked)


JOURNAL_BYTES = 1 << 20  # of the newest entries in a bundle


def _journal_for_bundle() -> dict[str, bytes]:
    """Every reset that this user's journal knows: part 9 of what a vendor wants. {} where there is none."""
    from base.files import read_bounded
    from resets.journal import default_path

    try:
        data = read_bounded(default_path(), 256 << 20)
    except GpumendError:
        return {}
    return {"resets.jsonl": data[-JOURNAL_BYTES:].partition(b"\n")[2] if len(data) > JOURNAL_BYTES else data}


def _run_for_bundle(folder: Path) -> tuple[Problem, dict[str, bytes]]:
    """What a run's folder says of the problem, and its files by their names in a bundle."""
    from evidence import Problem
    from repro.finished import files_of, problem_of

    words = problem_of(folder)
    return Problem(**words), {f"run/{name}": data for name, data in files_of(folder).items()}


def _places() -> Places:
    """Where this machine's files are; a test's machine has neither journal nor settings of ours."""
    from evidence import Places

    if Path("/sys") == SYS_ROOT:
        return Places()
    above = SYS_ROOT.parent
    return Places(SYS_ROOT, PROC_ROOT, above / "dev", above / "etc", above / "opt", None)


def _require_free(output: Path) -> None:
    """Raise now what writing `output` would raise in the end, as far as that shows."""
    from evidence.writer import cannot_write

    number = None
    if os.path.lexists(output):
        number = errno.EEXIST
    elif not output.parent.is_dir():
        number = errno.ENOENT
    elif not os.access(output.parent, os.W_OK | os.X_OK):
        number = errno.EACCES
    if number is not None:
        raise cannot_write(OSError(number, os.strerror(number)), output)


def run_progress(path: Path) -> dict[str, Any] | None:
    """How far a run came, by its folder: scenario, iterations, the last thing that it did, and whether the machine was
    started anew since. None: that folder is none of a run."""
    from repro.finished import progress_of

    return progress_of(path)


def unfinished_run(folder: Path) -> dict[str, Any]:
    """What a run in that folder did not come to: `scenario` (its file there), `parameters`, `seed`, `on`, `selected`,
    `command`, `keep_going`, `left` (iterations), `before` (what came of those that ended, in words).

    Raises UsageError (no folder of a run, or damaged), Refused (it came to its end)."""
    from repro.finished import left_of

    return left_of(folder)


def check_bundle(path: Path) -> Checked:
    """Read a bundle's folder or archive, or a run's folder, from whomever, and say whether it is whole; nothing is
    unpacked to disk.

    Raises Unavailable, NotPermitted or UsageError when it cannot be read at all."""
    from evidence import check

    return check(path)


def firmware_file(path: Path) -> FirmwareFile:
    """Decode one firmware file. Raises what reading a file can raise; damage is in its findings."""
    from firmware.containers import parse
    from firmware.store import read

    return parse(read(path), path.name)


def firmware_verify(path: Path | None = None, folder: str | None = None) -> VerifyReport:
    """Check a folder or file; without `path` the first of `folder`, GPUMEND_FIRMWARE, cache, system that is there."""
    from firmware.store import HOW_TO_GET, search_dirs
    from firmware.verify import verify_path

    if path is not None:
        return verify_path(path)
    dirs = search_dirs(folder)
    for candidate in dirs:
        if len(dirs) == 1 or candidate.is_dir():
            return verify_path(candidate)
    where = ", ".join(map(str, dirs))
    raise Unavailable(
        "looking for firmware", expected="a firmware folder", seen="none", where=where, next_step=HOW_TO_GET
    )


def firmware_needed(part: str, folder: str | None = None) -> list[dict[str, Any]]:
    """The files that a part needs, in load order: name, ip, why, required, path (None: not found), next."""
    from firmware.needed import needed
    from firmware.store import find, search_dirs

    rows: list[dict[str, Any]] = []
    for item in needed(part):
        row = {"part": part, "order": item.order, "file": item.name, "kind": item.kind, "ip": item.ip, "why": item.why}
        row |= {"required": item.required, "guest": item.guest, "path": None, "next": ""}
        try:
            row["path"] = str(find(item.name, search_dirs(folder)))
        except Unavailable as error:
            row["next"] = error.next_step
        rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class Discovery:
    """A discovery table from somewhere, with what is wrong with it. `blob` is empty when nothing could be read."""

    name: str
    source: str
    blob: bytes
    findings: tuple[Finding, ...]
    validation: Validation | None = None
    refusal: NotPermitted | None = None  # set when nothing was read because we may not

    @property
    def ok(self) -> bool:
        """Read, and nothing worse than a note was found."""
        return bool(self.blob) and all(finding.severity == Severity.NOTE for finding in self.findings)

    @property
    def sha256(self) -> str:
        """Of the bytes that the table's header claims (VRAM holds more behind it); "" when nothing was read."""
        import hashlib

        header = self.validation.header if self.validation else None
        size = header.size_bytes if header and self.ok else len(self.blob)
        return hashlib.sha256(self.blob[:size]).hexdigest() if self.blob else ""

    def require_ip_map(self) -> IpMap:
        """The IP map; Undecided, with the gravest finding, when the table cannot be trusted."""
        ip_map = self.validation.ip_map if self.validation else None
        if ip_map is not None:
            return ip_map
        if self.refusal is not None:
            raise self.refusal
        worst = graver(list(self.findings))[0]
        raise Undecided(
            f"looking up where the registers of {self.name} lie",
            expected="a valid discovery table",
            seen=worst.summary,
            where=worst.where,
            next_step="gpumend discovery validate; gpumend probe",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: tables, ips, gc, nps, harvested; `trusted` False: decoded from a damaged table."""
        checked = self.validation
        known = (checked.ip_map or checked.salvaged) if checked else None
        return {
            "valid": self.ok,
            "trusted": bool(checked and checked.ip_map),
            "header": asdict(checked.header) if checked and checked.header else None,
            "tables": [table._asdict() for table in checked.tables] if checked else [],
            "ips": [_ip_dict(ip) for ip in known.instances] if known else [],
            "gc": dict(known.gc.values) if known and known.gc else None,
            "nps": asdict(known.nps) if known and known.nps else None,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def _ip_dict(ip: IpInstance) -> dict[str, Any]:
    body = {"die": ip.die, "hw_id": ip.hw_id, "name": ip.name, "instance": ip.instance, "version": ip.version_text}
    return body | {"harvested": ip.harvested, "bases": list(ip.bases)}


def discovery_file(path: Path) -> Discovery:
    """Read and validate a discovery binary in a file. Raises what reading a file can raise; damage is in its
    findings."""
    from amdriver.discovery import validate
    from base.files import MIB, read_bounded

    blob = read_bounded(path, MIB)
    checked = validate(blob)
    return Discovery(str(path), "file", blob, checked.findings, checked)


def discovery_file_or_why(path: Path) -> Discovery:
    """The same among several files: one that cannot be read becomes a finding of severity unknown."""
    try:
        return discovery_file(path)
    except GpumendError as error:
        what = "the file cannot be read"
        finding = Finding(
            "file.unreadable", Severity.UNKNOWN, what, error.expected, error.seen, error.where, error.next_step
        )
        return Discovery(str(path), "", b"", (finding,))


def _looks(found: Sequence[Gpu], works: Sequence[Callable[[], T]], doing: str) -> list[Outcome[T]]:
    """Run one look at each GPU: on this machine's bus side by side in children that can be killed, elsewhere here."""
    from base.child import run_many_in_children

    outcomes: list[Outcome[T] | None] = [None] * len(found)
    apart = [index for index, gpu in enumerate(found) if Can.HOST in gpu.transport.can]
    if apart:
        names = [f"{doing} of {found[index].bdf}" for index in apart]
        places = [found[index].bdf for index in apart]
        answers = run_many_in_children([works[index] for index in apart], LOOK_LIMIT_S, doing=names, where=places)
        for index, answer in zip(apart, answers, strict=True):
            outcomes[index] = answer
    told = [outcome or _here(work) for outcome, work in zip(outcomes, works, strict=True)]
    return [_ours(outcome, f"{doing} of {gpu.bdf}") for gpu, outcome in zip(found, told, strict=True)]


def _here(work: Callable[[], T]) -> Outcome[T]:
    try:
        return Outcome(value=work())
    except (GpumendError, OSError) as error:
        return Outcome(error=error)


def _ours(outcome: Outcome[T], doing: str) -> Outcome[T]:
    """What the operating system refused becomes an error of ours; a defect of ours is raised."""
    error = outcome.error
    if isinstance(error, OSError):
        return Outcome(error=Unavailable(doing, expected="an answer", seen=os.strerror(error.errno or 0)))
    if error is not None and not isinstance(error, GpumendError):
        raise error
    return outcome


def read_discovery(gpu: Gpu) -> Discovery:
    """Read and validate a GPU's discovery table; compares it with the saved good copy when there is one.

    Raises nothing that the GPU or its transport did: why it could not be read is in the findings."""
    return read_discoveries([gpu])[0]


def read_discoveries(found: Sequence[Gpu]) -> list[Discovery]:
    """The same for several GPUs, side by side."""
    require_amd(found, "reading the discovery table")
    # Only bytes and findings come back from a child: what they mean is worked out here.
    outcomes = _looks(found, [partial(_locate, gpu) for gpu in found], "reading the discovery table")
    return [_discovery(gpu, outcome) for gpu, outcome in zip(found, outcomes, strict=True)]


def _discovery(gpu: Gpu, outcome: Outcome[tuple[Located, bool]]) -> Discovery:
    from amdriver.discovery import validate
    from pcibus.config import finding_of

    name = gpu_name(gpu)
    if isinstance(outcome.error, Exception):
        refusal = outcome.error if isinstance(outcome.error, NotPermitted) else None
        return Discovery(name, "", b"", (finding_of(outcome.error),), refusal=refusal)
    located, is_copy = outcome.unwrap()
    if not located.blob:
        return Discovery(name, located.source, b"", located.findings)
    golden, doubt = _golden(gpu)
    checked = validate(located.blob, golden=golden, vram_size_bytes=located.vram_size_bytes, driver_copy=is_copy)
    findings = (*located.findings, *checked.findings, *doubt)
    return Discovery(name, located.source, located.blob, findings, checked)


def _locate(gpu: Gpu) -> tuple[Located, bool]:
    """The table's bytes, and whether they are only the bound driver's copy."""
    from amdriver.discovery_locate import look_up

    return look_up(look(gpu), gpu.clock, part=gpu.part, debugfs=SYS_ROOT / "kernel/debug/dri")


def gpu_name(gpu: Gpu) -> str:
    """`GPU 2 0000:65:00.0 MI350X`: index and bus address always stand together."""
    return f"GPU {gpu.index} {gpu.bdf} {gpu.part.name}"


def _key(gpu: Gpu) -> str:
    """The name under which a GPU's good copy is kept: its serial, as `probe` tells it; its bus address if it shows
    none.

    Raises Undecided when the GPU cannot be asked: its copy may be there all the same."""
    from pcibus.config import is_lost, serial_number

    def work() -> tuple[bool, int | None]:
        return is_lost(gpu.transport), serial_number(gpu.transport)

    outcome = _looks([gpu], [work], "reading the serial number")[0]
    lost, serial = outcome.value or (True, None)
    if lost:
        raise Undecided(
            f"looking up the saved copy of {gpu_name(gpu)}",
            expected="its serial number, which names the copy",
            seen=str(outcome.error.args[0]) if outcome.error else "config space reads all ones: the GPU is lost",
            next_step="gpumend probe",
        )
    return gpu.bdf if serial is None else f"{serial:016x}"


def _golden(gpu: Gpu) -> tuple[bytes | None, tuple[Finding, ...]]:
    """The saved copy; a copy that cannot be used is a note, not an error: the GPU is not to blame."""
    from amdriver.discovery_store import load

    try:
        return load(_key(gpu)), ()
    except GpumendError as error:
        what = "the saved good copy cannot be used"
        note = Finding(
            "amd.discovery.saved", Severity.NOTE, what, error.expected, error.seen, error.where, error.next_step
        )
        return None, (note,)


def saved_discovery(gpu: Gpu) -> Discovery:
    """The saved good copy of a GPU's table. Raises Undecided when there is none, InvalidData when it is damaged."""
    from amdriver.discovery import validate
    from amdriver.discovery_store import default_folder, file_name, load

    key = _key(gpu)
    blob = load(key)
    path = default_folder() / file_name(key)
    if blob is None:
        raise Undecided(
            f"comparing {gpu_name(gpu)} with its saved copy",
            expected="a saved copy",
            seen="there is no saved copy of this GPU",
            where=str(path),
            next_step="gpumend discovery save, while the GPU is well; or name two GPUs: -g 0,2",
        )
    checked = validate(blob)
    return Discovery(f"saved copy of {gpu_name(gpu)}", str(path), blob, checked.findings, checked)


def save_discovery(gpu: Gpu, *, dry_run: bool = False) -> tuple[Path, str]:
    """Keep a GPU's table as its good copy. Returns the file and what was done, after reading it back.

    Raises InvalidData for a table that is not valid, Undecided when it could not be read."""
    from amdriver.discovery_store import check_writable, default_folder, file_name, load, save

    read = read_discovery(gpu)
    if not read.blob:
        worst = graver(list(read.findings))[0]
        raise Undecided(
            f"saving the discovery table of {gpu_name(gpu)}", expected="a table", seen=worst.summary, where=worst.where
        )
    key = _key(gpu)
    if not read.ok:
        worst = graver(list(read.findings))[0]
        raise InvalidData(
            f"saving the discovery table of {gpu_name(gpu)}",
            expected="a valid table",
            seen=worst.summary,
            where=worst.where,
            next_step="gpumend discovery validate",
            verb="refused",
        )
    path = default_folder() / file_name(key)
    under = " under its bus address (it shows no serial number)" if key == gpu.bdf else ""
    if dry_run:
        check_writable(path)
        return path, f"would be saved{under}"
    path = save(key, read.blob)
    kept = load(key)
    if kept is None or not read.blob.startswith(kept):
        raise Undecided(
            f"saving the discovery table of {gpu_name(gpu)}",
            expected="the same bytes back",
            seen="others",
            where=str(path),
        )
    return path, f"saved{under}"


def diff_discovery(good: bytes, bad: bytes) -> Difference:
    """Where two tables differ, and in which parts of them.

    Bytes behind a table's own end do not count: VRAM holds more there than a file does."""
    from amdriver.discovery_diff import diff

    return diff(_own_bytes(good), _own_bytes(bad))


def _own_bytes(blob: bytes) -> bytes:
    from amdriver.discovery import validate

    checked = validate(blob)
    return blob[: checked.header.size_bytes] if checked.ok and checked.header else blob


def look(gpu: Gpu) -> Transport:
    """The GPU through the read-only transport: the only way in which anything but a reset or a driver reaches it."""
    from amdriver.access import INDEX_REGISTERS
    from pcibus.readonly import ReadOnly

    return ReadOnly(gpu.transport, INDEX_REGISTERS)


def read_registers(found: Sequence[Gpu], names: Sequence[str]) -> list[Outcome[list[Reading]]]:
    """Registers by name or glob, every instance, of each GPU, side by side.

    An outcome's error says why a GPU could not be asked (Undecided: discovery does not say where its registers lie).
    Raises UsageError for a name that no register has, or a glob that matches too many."""
    require_amd(found, "reading registers by name")
    tables = read_discoveries(found)
    works = [_register_look(gpu, table, names) for gpu, table in zip(found, tables, strict=True)]
    outcomes = _looks(found, works, "reading registers")
    for outcome in outcomes:
        if isinstance(outcome.error, UsageError):
            raise outcome.error
    return outcomes


def _register_look(gpu: Gpu, item: Discovery, names: Sequence[str]) -> Callable[[], list[Reading]]:
    def work() -> list[Reading]:
        from amdriver.access import Access
        from amdriver.regs import read_registers as read

        ip_map = item.require_ip_map()
        access = Access(look(gpu))
        return [reading for name in names for reading in read(access, ip_map, name)]

    return work


def registers_named(name: str) -> list[Entry]:
    """The tables' entries of exactly this name (instance brackets and the kernel's prefixes allowed). UsageError:
    none."""
    from registers.tables import lookup, near, split_instance

    entries = lookup(split_instance(name)[0])
    if entries:
        return entries
    alike = near(name)
    raise UsageError(
        f"looking for register {name!r}",
        expected="the name of a register",
        seen="no such register",
        next_step=f"did you mean {', '.join(alike)}?" if alike else "gpumend regs search 'GLOB'",
    )


def search_registers(glob: str) -> list[Entry]:
    """The tables' entries that match a shell glob. UsageError, with near names, when there is none."""
    from registers.tables import near, search

    try:
        entries = search(glob)
    except ValueError as error:
        raise UsageError(f"searching for {glob!r}", expected="a shell glob: 'CP_HQD*'", seen=str(error)) from error
    if entries:
        return entries
    alike = near(glob.strip("*?"))
    raise UsageError(
        f"searching for {glob!r}",
        expected="a glob that some register matches",
        seen="none does",
        next_step=f"did you mean {', '.join(alike)}?" if alike else "gpumend regs search 'CP_*'",
    )


def register_tables() -> tuple[str, list[str]]:
    """What the tables were made from, and which IPs of these chips have none (and what is used instead)."""
    from registers.tables import headers, source

    return source(), [f"{info.name}: {info.note}" for info in headers() if not info.registers]


def read_trace(path: Path, *, discovery: Path | None = None, gpu: Gpu | None = None) -> DecodedTrace:
    """Decode a trace of register accesses: a recording of ours, or lines `R|W|D offset value [xN] ; name`; gzip or
    plain.

    Bases come from the table in the file `discovery`, else from `gpu`, else from the trace itself, else they are
    assumed. Raises InvalidData (no trace, or the table is another GPU's), Undecided (a table that cannot be trusted),
    and what opening a file can raise; lines that cannot be read are in the answer's `damage`."""
    from amdriver.trace_events import read_trace as read

    if discovery is not None:
        return read(path, discovery_file(discovery).require_ip_map(), f"the discovery table {discovery}")
    if gpu is not None:
        return read(path, read_discovery(gpu).require_ip_map(), f"the discovery table of {gpu_name(gpu)}")
    return read(path)


def count_trace(trace: DecodedTrace) -> list[BlockCount]:
    """How often the trace reads and writes each block, and how many registers of it."""
    from amdriver.trace_compare import count_blocks

    return count_blocks(trace.events)


def fold_trace(trace: DecodedTrace, *, blocks: Sequence[str] = (), writes_only: bool = False) -> list[Folded]:
    """The trace with repeats folded, narrowed to these blocks (and marks). UsageError for a block that it does not
    touch."""
    from amdriver.trace_compare import fold

    wanted = _blocks(blocks, {event.place.block for event in trace.events})
    return list(
        fold(
            [
                event
                for event in trace.events
                if event.place.block in wanted and not (writes_only and event.kind == "read")
            ]
        )
    )


def _blocks(asked: Sequence[str], there: set[str]) -> set[str]:
    """The block names that are meant; everything that is there when none is asked for. Marks always stay."""
    from amdriver.trace_names import ALIASES

    if not asked:
        return there
    wanted = {ALIASES.get(name.upper(), name.upper()) for entry in asked for name in entry.split(",") if name}
    upper = {name.upper(): name for name in there}
    missing = sorted(wanted - upper.keys())
    if missing or not wanted:
        raise UsageError(
            f"narrowing to block {', '.join(missing) or repr(',')}",
            expected=f"one of {', '.join(sorted(there - {'MARK'}))}",
            seen="no access to it",
        )
    return {upper[name] for name in wanted} | {"MARK"}


def diff_traces(
    a: DecodedTrace, b: DecodedTrace, *, blocks: Sequence[str] = (), order: bool = False, reads: bool = False
) -> Comparison:
    """Compare what two traces wrote, register by register (trace_compare.py). Undecided when they have none in
    common."""
    from amdriver.trace_compare import compare

    wanted = _blocks(blocks, {event.place.block for event in (*a.events, *b.events)})
    answer = compare(
        *([event for event in item.events if event.place.block in wanted] for item in (a, b)), order=order, reads=reads
    )
    if answer.common:
        return answer
    raise Undecided(
        f"comparing {a.path} with {b.path}",
        expected="a register that both of them write",
        seen=f"none: {len(answer.rows)} registers are written by one of them only",
        where=f"{a.path}, {b.path}",
        next_step="gpumend trace show FILE; give the bases with --discovery FILE",
    )


def alike_rows(rows: Sequence[TraceRow]) -> list[list[TraceRow]]:
    """Rows of a comparison in groups that differ in numbers of the register's name only."""
    from amdriver.trace_compare import alike

    return alike(rows)


RECORDED_BLOCK_BYTES = 16 << 10  # a discovery table is kept, firmware stays a checksum


def record_trace(gpu: Gpu, path: Path, *, firmware: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Boot a GPU through our driver, write down every access of the boot to a new file, close the GPU again.

    A name that ends in .gz is packed. Returns `path`, `status`, `start_state`, `steps`, `accesses`, `seconds` (of the
    GPU's clock), after reading the file back. When the boot fails its error is raised and the trace up to there
    stays. Raises Refused (the file is there already; what `Device.open` refuses), Unavailable (firmware), Undecided
    (the file is not whole)."""
    from firmware.store import search_dirs
    from pcibus.tracesink import check_new

    require_amd([gpu], "recording a trace")
    check_new(path)
    _require_firmware(gpu, firmware)
    answer: dict[str, Any] = {"path": str(path), "status": "would be recorded"}
    answer |= dict.fromkeys(("start_state", "steps", "accesses", "seconds"))
    if dry_run:
        return answer
    started = gpu.clock.now()
    start_state, steps = _record_boot(gpu, path, search_dirs(firmware))
    seconds = gpu.clock.now() - started
    trace = read_trace(path)
    accesses = sum(event.times for event in trace.events if event.kind != "mark") + trace.index_accesses
    if not trace.whole or not accesses:
        raise Undecided(
            f"recording {gpu_name(gpu)}",
            expected="a trace that reads back whole",
            seen="it was cut off at the recorder's limit" if trace.cut else f"{len(trace.damage)} damaged lines",
            where=str(path),
        )
    answer |= {"status": "recorded, read back", "start_state": start_state, "steps": steps}
    return answer | {"accesses": accesses, "seconds": seconds}


def _record_boot(gpu: Gpu, path: Path, firmware_dirs: list[Path]) -> tuple[str, list[str]]:
    """Boot through a recording transport: how the GPU was found, and the steps. The close is not recorded."""
    from amdriver.device import Device
    from pcibus.trace import Trace
    from pcibus.tracesink import TraceSink

    steps: list[str] = []
    sink = TraceSink(path)
    trace = Trace(gpu.transport, sink, gpu.clock, block_limit_bytes=RECORDED_BLOCK_BYTES)

    def begin(step: str) -> None:
        steps.append(step)
        trace.mark(step)

    try:
        with Device.open(trace, gpu.clock, firmware_dirs=firmware_dirs, on_step=begin) as device:
            start_state = str(device.start_state)
            trace.stop()
    except GpumendError as error:
        so_far = f"gpumend trace show {path}"
        error.next_step = f"{error.next_step}; what was done: {so_far}" if error.next_step else so_far
        with suppress(GpumendError):
            sink.finish()
        raise
    except BaseException:
        with suppress(GpumendError):
            sink.finish()
        raise
    sink.finish()
    return start_state, steps


def _require_firmware(gpu: Gpu, folder: str | None) -> None:
    """Unavailable, naming the files and how to get them, when the GPU's part needs some that are not there."""
    rows = [row for row in firmware_needed(gpu.part.name, folder) if row["required"] and row["path"] is None]
    if rows:
        raise Unavailable(
            f"looking for the firmware of {gpu_name(gpu)}",
            expected="every file that its driver loads",
            seen=f"missing: {', '.join(row['file'] for row in rows)}",
            next_step=rows[0]["next"],
        )


@dataclass(frozen=True, slots=True)
class CodeSection:
    """Code of a file; `lines`: gpumodel.isa.disassemble.Line, with `address`, `data`, `name`, `operands`, `text`, `label`."""

    name: str
    address: int
    lines: list[Any]


@dataclass(frozen=True, slots=True)
class Code:
    """What `disassemble` found in a file, and whose instructions it took it for."""

    target: str
    sections: list[CodeSection]


def disassemble(path: Path, target: str | None = None) -> Code:
    """The instructions of a code object, or of a file of nothing but code; `target`: gfx942 or gfx950, None: as the file says.

    Raises what reading a file raises (`base.files.read_bounded`), InvalidData (no code), UsageError (no target is known)."""
    from base.files import MIB, read_bounded
    from gpumodel.isa.disassemble import NotCode, code_object, lines

    data = read_bounded(path, 64 * MIB)
    doing = f"disassembling {path}"
    try:
        told, sections = code_object(data)
    except NotCode as error:
        raise InvalidData(doing, expected="code for gfx942 or gfx950", seen=str(error)) from error
    chosen = target or told
    if chosen is None:
        seen = "a code object for another one" if data.startswith(b"\x7fELF") else "a file that names none"
        next_step = "gpumend isa disassemble --target gfx942 FILE"
        raise UsageError(doing, expected="a target: gfx942 or gfx950", seen=seen, next_step=next_step)
    if not any(section.data for section in sections):
        raise InvalidData(doing, expected="code", seen="an empty file")
    return Code(chosen, [CodeSection(one.name, one.address, list(lines(chosen, one))) for one in sections])


def model_parts() -> list[dict[str, Any]]:
    """The parts that can be modelled: part, product, id, vram_gib, xcc (None: NVIDIA has none), compute_units (NVIDIA: SMs),
    sdma (NVIDIA: copy engines), address to try."""
    from gpumodel import nvidia, parts

    rows = [
        {
            "part": item.name,
            "product": item.product,
            "id": f"{item.vendor:04x}:{item.device:04x}",
            "vram_gib": item.vram_size >> 30,
            "xcc": item.xccs,
            "compute_units": item.compute_units,
            "sdma": item.sdma_engines,
            "address": f"model:{item.name}*8",
        }
        for item in parts()
    ]
    return rows + [
        {
            "part": chip.name,
            "product": chip.product,
            "id": f"{NVIDIA_VENDOR:04x}:{chip.device:04x}",
            "vram_gib": chip.vram_size >> 30,
            "xcc": None,
            "compute_units": chip.sms,
            "sdma": chip.copy_engines,
            "address": f"model:{chip.name}*8",
        }
        for chip in nvidia.parts()
    ]


def model_faults() -> list[dict[str, Any]]:
    """The faults that a model can be given: vendor ("amd", "nvidia"), name, argument, default (None: it must be given),
    summary, effect, symptom, cured_by ([]: nothing does), shows_at ("look": without touching it; "bring-up": only when a
    driver starts the GPU; "reset")."""
    from gpumodel import faults, nvidia

    rows = [
        {
            "vendor": "amd",
            "name": item.name,
            "argument": f"{item.argument.name}: {item.argument.meaning}" if item.argument else "",
            "default": item.argument.default if item.argument else None,
            "summary": item.summary,
            "effect": item.effect,
            "symptom": item.symptom,
            "shows_at": str(item.shows_at),
            "cured_by": [] if item.cured_by == "never" else item.cured_by.split(", "),
        }
        for item in faults()
    ]
    return rows + [
        {
            "vendor": "nvidia",
            "name": fault.name,
            "argument": f"{fault.argument.name}: {fault.argument.meaning}" if fault.argument else "",
            "default": fault.argument.default if fault.argument else None,
            "summary": fault.summary,
            "effect": fault.effect,
            "symptom": fault.symptom,
            "shows_at": fault.shows_at,
            "cured_by": list(fault.cured_by),
        }
        for fault in nvidia.catalogue()
    ]


def serve_model(endpoint: str, spec: str, *, allow_remote: bool = False) -> RemoteServer:
    """Serve software GPUs at HOST:PORT (port 0: any free one) until the answer's `close()`; `--on` takes its `address`.

    They live on the real clock, and on, while clients come and go. NVIDIA's are served without their driver: a PCI function
    has no door for it. Raises UsageError, Refused (not a loopback address, and not `allow_remote`; an NVIDIA model with a
    driver), Unavailable (the port is taken), NotPermitted."""
    from gpumodel import nvidia, open_models
    from gpumodel.nvidia.spec import names_nvidia, parse
    from gpumodel.remote_pci import RemoteServer, ServedTransport
    from pcibus.remote_protocol import parse_endpoint

    host, port = parse_endpoint(endpoint)
    models: Sequence[ServedTransport]
    if names_nvidia(spec):
        if parse(spec).driver:
            raise Refused(
                f"serving {spec}",
                expected="NVIDIA GPUs without a driver (?state=cold): config space, registers, resets",
                seen="a driver is loaded: its nodes, its texts and the kernel's log are files of a machine, and the protocol "
                "serves PCI functions",
                next_step="?state=cold; or without a server: gpumend --on model:...",
            )
        models = nvidia.open_models(spec, REAL_CLOCK)
    else:
        models = open_models(spec, REAL_CLOCK)
    return RemoteServer(models, host, port, allow_remote=allow_remote).open()


def serve_vfio_user(
    folder: str | Path, spec: str, *, kept: int | None = None, say: Callable[[str], None] | None = None
) -> VfioUserServer:
    """Serve software GPUs as sockets FOLDER/gpu0.sock, gpu1.sock and so on, until the answer's `close()`: QEMU's
    `vfio-user-pci` shows each to its guest as a PCI device. `say` is told when something goes wrong; `kept`: how many
    of the last accesses of each GPU are in its trace (FOLDER/gpu0.trace, written on failure and by `dump()`).

    They live on the real clock. Raises UsageError (a name too long), Refused (another server is there; NVIDIA's), Unavailable,
    NotPermitted."""
    from gpumodel import open_models
    from gpumodel.access_ring import KEPT
    from gpumodel.nvidia.spec import names_nvidia
    from gpumodel.vfio_user import VfioUserServer

    if names_nvidia(spec):
        raise Refused(
            f"serving {spec} to a virtual machine",
            expected="a model that a driver in the guest could start",
            seen="NVIDIA's has no memory behind its BARs, no DMA and no interrupts: no driver could do anything with it",
            next_step="gpumend model serve --remote, for probes and resets of the bare GPU",
        )

    # Without serial number capability: the stock driver and the PCI core would both make a file of that name.
    models = open_models(spec, REAL_CLOCK, serial_capability=False)
    return VfioUserServer(models, folder, kept=kept or KEPT, say=say).open()


def open(
    address: str | None = None,
    gpu: str | int | None = None,
    *,
    firmware: str | Path | None = None,
    clock: Clock | None = None,
    recover: bool = False,
) -> OpenGpu:
    """Bring up one GPU with our own driver, to allocate, copy and fence on it; use it with `with`, or call `close`.

    `address` as `--on` takes it (None: GPUMEND_ON, else this machine's PCI bus), `gpu` as `-g` where there are
    several. What its VRAM held is lost. `recover`: where a wait finds a stuck queue, that queue is freed (see
    `recover` below) before KernelHung or KernelFault is raised.

    An NVIDIA GPU is opened through its loaded kernel driver, beside other users, and what its VRAM holds stays. What comes
    back has the same words for memory, copies, fills, fences and times, but is an OpenNvGpu (`open_nvidia` tells a type
    checker so).

    Raises UsageError (none or several fit), Unavailable (nothing there, or firmware missing: named, with its
    package), Refused (a driver is bound, or a process holds it: named), WaitTimeout and others of GpumendError when
    bring-up fails."""
    from amdriver.opening import open_gpu

    found = list_gpus([address] if address else (), () if gpu is None else [str(gpu)], clock=clock)
    one = _only(found, address)
    if one.part.is_nvidia:
        return cast("OpenGpu", open_nvidia_found(one))
    require_firmware([one], firmware)
    return open_gpu(one.transport, one.clock, firmware_dirs=_firmware_dirs(firmware), recovers=recover)


def open_nvidia(address: str | None = None, gpu: str | int | None = None, *, clock: Clock | None = None) -> OpenNvGpu:
    """Open one NVIDIA GPU through its loaded kernel driver; the arguments are those of `open`.

    Raises UsageError (none or several fit, or it is AMD's), Unavailable (no driver, no node), NotPermitted, Refused (a
    driver branch without tables), WaitTimeout (its firmware does not answer), DeviceLost and others of GpumendError."""
    found = list_gpus([address] if address else (), () if gpu is None else [str(gpu)], clock=clock)
    return open_nvidia_found(_only(found, address))


def open_nvidia_found(gpu: Gpu) -> OpenNvGpu:
    """The same for a GPU that `list_gpus` found."""
    from nvdriver.opengpu import open_gpu

    return open_gpu(_nvidia_files(gpu), gpu.bdf, gpu.clock, name=gpu.transport.name, part=gpu.part.name)


def _nvidia_files(gpu: Gpu) -> DriverFiles:
    files = _driver_files(gpu)
    if files is not None:
        return files
    raise UsageError(
        "opening an NVIDIA GPU",
        expected="a GPU of NVIDIA's, on this machine or a model",
        seen=gpu_name(gpu),
        where=gpu.address,
        next_step="gpumend.open for AMD's; recordings cannot be opened",
    )


def open_hive(
    address: str | Sequence[str] | None = None,
    gpus: Sequence[str | int] = (),
    *,
    firmware: str | Path | None = None,
    clock: Clock | None = None,
    recover: bool = False,
) -> OpenHive:
    """Bring up several GPUs side by side (all at `address`, or those that `gpus` names): a sequence of what `open`
    returns.

    `hive[0].map_peer(buffer)` gives GPU 0 an address of a buffer of another. When one cannot be brought up, the
    others are closed again and its error is raised, as `open` does; `recover` as there."""
    from amdriver.opening import Target, open_gpus

    addresses = [address] if isinstance(address, str) else list(address or ())
    found = list_gpus(addresses, [str(gpu) for gpu in gpus], clock=clock)
    if not found:
        raise _nothing(addresses)
    require_amd(found, "opening GPUs")
    require_firmware(found, firmware)
    return open_gpus(
        [Target(one.transport, one.clock) for one in found], firmware_dirs=_firmware_dirs(firmware), recovers=recover
    )


def open_found(
    gpu: Gpu, *, firmware: str | Path | None = None, recover: bool = False, slot: int | None = None
) -> OpenGpu:
    """Bring up a GPU that `list_gpus` found, as `open` does.

    `slot` (0 to 15): take its addresses from this part of the address space, so that GPUs with different slots can have
    each other's memory at the same addresses (`gpu.raw.map_other`): what tensor runtimes expect."""
    from amdriver.opening import open_gpu

    require_firmware([gpu], firmware)
    return open_gpu(gpu.transport, gpu.clock, firmware_dirs=_firmware_dirs(firmware), recovers=recover, slot=slot)


def recover(
    gpu: OpenGpu, queue: AnyQueue | None = None, *, engine: int | None = None, limit: str = "mode2"
) -> Recovery:
    """After a kernel that hangs or faults on an open GPU: free its queue, or the MEC of its XCC, or all engines
    (mode2), whichever helps first, no further than `limit` (`queue`, `mec`, `mode2`). VRAM, other queues and other
    GPUs stay.

    `queue`, `engine`: what is stuck, where that is known. Raises RecoveryFailed: then the GPU needs a reset as a
    whole."""
    return gpu.recover(queue, engine=engine, limit=limit)


def _only(found: list[Gpu], address: str | None) -> Gpu:
    if len(found) == 1:
        return found[0]
    if not found:
        raise _nothing([address] if address else [])
    raise UsageError(
        "opening a GPU",
        expected="exactly one",
        seen=f"{len(found)}: {', '.join(f'{one.index} ({one.bdf})' for one in found)}",
        next_step="say which: gpumend.open(address, gpu=0); or all of them: gpumend.open_hive(address)",
    )


def _nothing(addresses: Sequence[str]) -> Unavailable:
    return Unavailable(
        "looking for a supported GPU",
        expected=SUPPORTED,
        seen="none",
        where=", ".join(addresses) or str(SYS_ROOT / "bus/pci/devices"),
        next_step="to try it without a GPU: gpumend.open('model:mi350x')",
        verb="found nothing",
    )


def _firmware_dirs(firmware: str | Path | None) -> list[Path]:
    from firmware.store import search_dirs

    return search_dirs(None if firmware is None else str(firmware))


def require_firmware(found: Sequence[Gpu], firmware: str | Path | None = None) -> None:
    """Unavailable, naming every file that these GPUs cannot be brought up without and the package that has them.

    Video firmware is not asked for: the driver does not start video engines."""
    from firmware.store import HOW_TO_GET

    folder = None if firmware is None else str(firmware)
    parts = sorted({gpu.part.name.lower() for gpu in found if not (gpu.part.is_vf or gpu.part.is_apu)})
    rows = [row for part in parts for row in firmware_needed(part, folder)]
    wanted = [row for row in rows if row["required"] and not row["guest"] and row["kind"] != "vcn"]
    missing = dict.fromkeys(row["file"] for row in wanted if row["path"] is None)
    if missing:
        raise Unavailable(
            f"looking for the firmware of {', '.join(parts)}",
            expected=", ".join(missing),
            seen="missing",
            where=", ".join(map(str, _firmware_dirs(firmware))),
            next_step=HOW_TO_GET,
        )


def selftest(
    on: Sequence[str] = (),
    gpus: Sequence[str] = (),
    *,
    level: str = "quick",
    firmware: str | Path | None = None,
    clock: Clock | None = None,
) -> list[SelftestReport]:
    """Bring up every selected GPU and test it: memory, every engine, every XCC, clocks, interrupts, peers; verified
    twice.

    What their VRAM held is lost. A GPU that fails or cannot be opened is a report, not an exception. Raises
    UsageError, and Unavailable when nothing is there or firmware is missing."""
    return selftest_gpus(list_gpus(on, gpus, clock=clock), level=level, firmware=firmware)


def selftest_gpus(
    found: Sequence[Gpu],
    *,
    level: str = "quick",
    engines: Sequence[int] | None = None,
    skip: Sequence[str] = (),
    seed: int = 1,
    firmware: str | Path | None = None,
    progress: Callable[[SelftestProgress], None] | None = None,
) -> list[SelftestReport]:
    """The same for GPUs that `list_gpus` found. `engines`: only these SDMA or copy engines; `skip`: names of checks to
    leave out, of either vendor."""
    from base.selftest import level_of

    _check_selftest_words(skip)
    amount = level_of(level, _memory_limit(found))
    amd = [gpu for gpu in found if not gpu.part.is_nvidia]
    require_firmware(amd, firmware)
    reports: dict[int, SelftestReport] = {}
    for clock in {id(gpu.clock): gpu.clock for gpu in found}.values():
        options = {"engines": engines, "seed": seed, "progress": progress}
        ours = [gpu for gpu in amd if gpu.clock is clock]
        if ours:
            told = _selftest_amd(ours, amount, clock, _firmware_dirs(firmware), skip, options)
            reports |= {report.index: report for report in told}
        theirs = [gpu for gpu in found if gpu.part.is_nvidia and gpu.clock is clock]
        if theirs:
            reports |= {report.index: report for report in _selftest_nvidia(theirs, amount, clock, skip, options)}
    return [reports[gpu.index] for gpu in found]


def _check_selftest_words(skip: Sequence[str]) -> None:
    from amdriver import selftest_report
    from nvdriver import selftest as nv_selftest

    nv_selftest.check_words(skip, dict.fromkeys((*selftest_report.SKIPPABLE, *nv_selftest.SKIPPABLE)))


def _selftest_amd(
    found: Sequence[Gpu], level: Level, clock: Clock, folders: list[Path], skip: Sequence[str], options: dict[str, Any]
) -> list[SelftestReport]:
    from amdriver.opening import open_gpu
    from amdriver.selftest import run
    from amdriver.selftest_report import SKIPPABLE
    from amdriver.selftest_subject import Subject

    subjects = [
        Subject(
            gpu.index,
            gpu.bdf,
            gpu.part.name,
            gpu.part.arch,
            partial(open_gpu, gpu.transport, gpu.clock, firmware_dirs=folders),
        )
        for gpu in found
    ]
    return run(subjects, level, clock, skip=set(skip) & set(SKIPPABLE), **options)


def _selftest_nvidia(
    found: Sequence[Gpu], level: Level, clock: Clock, skip: Sequence[str], options: dict[str, Any]
) -> list[SelftestReport]:
    from nvdriver.selftest import Subject, run

    subjects = [
        Subject(gpu.index, gpu.bdf, gpu.part.name, gpu.part.arch, partial(open_nvidia_found, gpu)) for gpu in found
    ]
    return run(subjects, level, clock, skip=skip, **options)


def plan_selftest(
    found: Sequence[Gpu],
    *,
    level: str = "quick",
    engines: Sequence[int] | None = None,
    skip: Sequence[str] = (),
    firmware: str | Path | None = None,
) -> list[dict[str, Any]]:
    """What `selftest_gpus` would do to each GPU: `status`, `steps` in words, `error` (why it would be refused, or
    None).

    Writes nothing. Raises UsageError, and Unavailable when firmware is missing."""
    from base.selftest import level_of

    _check_selftest_words(skip)
    amount = level_of(level, _memory_limit(found))
    amd = [gpu for gpu in found if not gpu.part.is_nvidia]
    require_firmware(amd, firmware)
    tables = dict(zip((gpu.index for gpu in amd), read_discoveries(amd), strict=True))
    plans: list[dict[str, Any]] = []
    for gpu in found:
        error: GpumendError | None = None
        steps: list[str] = []
        try:
            if gpu.part.is_nvidia:
                steps = _nvidia_steps(gpu, amount, engines, skip)
            else:
                steps = _amd_steps(gpu, tables[gpu.index], amount, len(amd) - 1, engines, skip)
        except GpumendError as refusal:
            error = refusal
        plans.append({"status": "would be tested" if error is None else error.verb, "steps": steps, "error": error})
    return plans


def _amd_steps(
    gpu: Gpu, table: Discovery, level: Level, peers: int, engines: Sequence[int] | None, skip: Sequence[str]
) -> list[str]:
    from amdriver.opening import check_free
    from amdriver.selftest_report import plan_lines

    check_free(gpu.transport)
    ip_map = table.require_ip_map()
    counts = len(ip_map.active("SDMA0")), len(ip_map.active("GC"))
    return plan_lines(level, *counts, peers=peers, only=engines, skip=skip)


def _nvidia_steps(gpu: Gpu, level: Level, engines: Sequence[int] | None, skip: Sequence[str]) -> list[str]:
    from nvdriver.opengpu import count_engines
    from nvdriver.selftest import plan_lines

    return plan_lines(level, count_engines(_nvidia_files(gpu), gpu.bdf), only=engines, skip=skip)


@dataclass(slots=True)
class ResetOptions:
    """How a reset goes about it. `force`: methods for which the safety table may be overruled; `unbind`,
    `kill_holders`: what is in the way may be removed; `selftest`: test what was recovered (VRAM of AMD's is overwritten);
    `evidence`: the folder for the bundle (None: a new one below the state folder); `deep`: reset GPUs that are well,
    too; `shown`: indices of the GPUs that may be hit (None: whomever `plan_reset` names when it begins)."""

    method: str = "auto"
    force: Sequence[str] = ()
    attempts: int = 5
    budget_s: float = 900.0
    deep: bool = False
    unbind: bool = False
    kill_holders: bool = False
    selftest: bool = False
    evidence: Path | None = None
    firmware: str | Path | None = None
    journal: Path | None = None
    probe_s: float | None = None
    shown: frozenset[int] | None = None


def reset(
    on: Sequence[str] = (), gpus: Sequence[str] = (), *, clock: Clock | None = None, **options: Any
) -> ResetReport:
    """Bring the selected GPUs back, mildest method first, each verified; options: those of ResetOptions.

    In a hive other members may be hit: `plan_reset` tells before. A GPU that is refused or stays sick is in the
    report, not an exception; `exit_code` sums it up. Raises UsageError, Unavailable (nothing there; no place for
    journal or evidence), NotPermitted."""
    everyone = with_neighbours(list_gpus(on, (), clock=clock))
    return reset_gpus(everyone, select(everyone, gpus), ResetOptions(**options))


def with_neighbours(found: Sequence[Gpu]) -> list[Gpu]:
    """The same GPUs, and the others of this machine's bus where one of them is on it: they may be of its hive."""
    if not any(Can.HOST in gpu.transport.can for gpu in found):
        return list(found)
    known = {gpu.bdf for gpu in found if Can.HOST in gpu.transport.can}
    more = [gpu for gpu in _on_this_bus(SYS_ROOT) if gpu.bdf not in known and gpu.part.may_join_hive]
    for index, gpu in enumerate(more, start=max(gpu.index for gpu in found) + 1):
        gpu.index = index
    return [*found, *more]


def reset_gpus(
    everyone: Sequence[Gpu],
    wanted: Sequence[Gpu],
    options: ResetOptions | None = None,
    *,
    watcher: ResetWatcher | None = None,
    asked: Asked | None = None,
) -> ResetReport:
    """The same for GPUs that `list_gpus` found: `wanted` of `everyone` in reach."""
    from resets.session import reset_all

    options = options or ResetOptions()
    means = _reset_means(everyone, options, watcher, asked)
    report = reset_all(everyone, wanted, _reset_request(options), means)
    return _selftested(report, everyone, wanted, options, means) if options.selftest else report


def plan_reset(
    everyone: Sequence[Gpu], wanted: Sequence[Gpu], options: ResetOptions | None = None
) -> tuple[list[Preview], list[GpuOutcome]]:
    """What `reset_gpus` would do, by hive or lone GPU: methods in their order, whom each hits, who is in the way; and
    those GPUs that are never reset, with why. Writes nothing."""
    from resets.session import preview_all

    options = options or ResetOptions()
    return preview_all(everyone, wanted, _reset_request(options), _reset_means(everyone, options, None, None))


def soak_reset(
    everyone: Sequence[Gpu],
    wanted: Sequence[Gpu],
    rounds: int,
    options: ResetOptions | None = None,
    *,
    until_failure: bool = False,
    watcher: ResetWatcher | None = None,
    on_round: Callable[[SoakReport], None] = lambda report: None,
) -> SoakReport:
    """Reset the same GPUs again and again; GPUs that are well are reset as a whole. Evidence is written before the first
    round, at the first round in which a method failed, and after the last if that failed too: three bundles at most."""
    from dataclasses import replace

    from evidence import default_folder
    from resets.critical import Asked
    from resets.session import reset_all
    from resets.soak import Round, soak

    options = replace(options or ResetOptions(), deep=True)
    asked = Asked()
    means = _reset_means(everyone, options, watcher, asked)
    request = _reset_request(options)

    def once(number: int) -> ResetReport:
        return reset_all(everyone, wanted, request, means)

    def capture(one: Round) -> str:
        reports = [item.after for item in one.report.gpus]
        return _bundle(
            wanted, reports, f"nothing: round {one.number} failed", default_folder(f"round-{one.number}-failed")
        )

    return soak(
        rounds, once, until_failure=until_failure, capture=capture, on_round=on_round, asked=lambda: bool(asked)
    )


def soak_chart(report: SoakReport) -> list[tuple[str, str]]:
    """The rounds of a soak as a bar of blocks: (character, word of its worst round)."""
    from resets.soak import chart

    return chart([one.seconds for one in report.rounds], [one.word for one in report.rounds])


def new_asked() -> Asked:
    """What `reset_gpus` sets when a signal asked it to stop: it finishes the step that was begun first."""
    from resets.critical import Asked

    return Asked()


def reset_methods() -> list[ResetMethod]:
    """Every method, mildest first."""
    from resets.methods import METHODS

    return list(METHODS.values())


def reset_words() -> list[str]:
    """What `method` may be."""
    from resets.methods import words

    return words()


def reset_rules() -> list[Any]:
    """The safety table: what is refused for which part in which situation, with its source."""
    from resets.safety import RULES

    return list(RULES)


def reset_history(*, journal: Path | None = None) -> list[dict[str, Any]]:
    """Every attempt that this user's journal knows, oldest first."""
    from resets.journal import Journal

    return [entry.to_dict() for entry in Journal(journal).entries()]


def _reset_request(options: ResetOptions) -> Any:
    from resets.climb import Request
    from resets.methods import AUTO, METHODS, method_of

    if options.method != AUTO:
        method_of(options.method)
    for name in options.force:
        if name not in METHODS:
            raise UsageError(
                f"forcing {name!r}", expected=f"one of {', '.join(METHODS)}", seen=name,
                next_step="gpumend reset --list-methods",
            )  # fmt: skip
    return Request(
        options.method, frozenset(options.force), options.attempts, options.budget_s, options.deep, options.shown
    )  # fmt: skip


def _reset_means(
    everyone: Sequence[Gpu], options: ResetOptions, watcher: ResetWatcher | None, asked: Asked | None
) -> Any:
    from amdriver.discovery_store import load
    from evidence import add
    from resets.around import Places, situation
    from resets.climb import Means, Silent
    from resets.critical import Asked
    from resets.journal import Journal
    from resets.makeway import Way
    from resets.mechanics import DriverMechanic

    places = Places(SYS_ROOT, PROC_ROOT)
    watcher = watcher or Silent()
    by_index = {gpu.index: gpu for gpu in everyone}

    def ours(subjects: Sequence[Subject]) -> list[Gpu]:
        return [by_index[one.index] for one in subjects]

    files = _files_among(everyone)
    way = Way(options.unbind, options.kill_holders, places, watcher.say, files)
    mechanic = DriverMechanic(load, _firmware_dirs(options.firmware), files, SYS_ROOT, PROC_ROOT)
    means = Means(
        probe=lambda subjects: probe_gpus(ours(subjects), limit_s=options.probe_s),
        mechanic=mechanic,
        around=partial(situation, places=places),
        way=way,
        evidence=lambda subjects, reports, action: _bundle(ours(subjects), reports, action, options.evidence),
        journal=Journal(options.journal),
        watcher=watcher,
        asked=Asked() if asked is None else asked,
    )
    mechanic.keep = lambda name, data: add(Path(means.bundle), name, data, by="reset") if means.bundle else ""
    return means


def _bundle(subjects: Sequence[Gpu], reports: Sequence[ProbeReport], action: str, folder: Path | None) -> str:
    from evidence import Places, before_reset

    places = Places(sys=SYS_ROOT, proc=PROC_ROOT)
    files = _files_among(subjects)
    done = before_reset(subjects, action=action, reports=reports, folder=folder, places=places, files=files)
    return str(done.folder)


def _selftested(
    report: ResetReport, everyone: Sequence[Gpu], wanted: Sequence[Gpu], options: ResetOptions, means: Any
) -> ResetReport:
    """The same report; a GPU that fails its self-test is not well. With `auto` the ladder goes on from there."""
    from dataclasses import replace

    from resets.methods import AUTO
    from resets.session import reset_all
    from resets.tested import Tried, has_failed, merged, words_of

    def test(gpus: Sequence[Any]) -> list[SelftestReport]:
        return selftest_gpus(gpus, firmware=options.firmware)

    good = {item.index for item in report.gpus if item.outcome in (ResetOutcome.RECOVERED, ResetOutcome.HEALTHY)}
    tested = test([gpu for gpu in wanted if gpu.index in good])
    report = replace(report, notes=(*report.notes, f"self-test: {len(tested)} GPUs tested", *words_of(tested)))
    nvidia = {gpu.index for gpu in wanted if gpu.part.is_nvidia}
    failed = {item.index: item for item in tested if has_failed(item, is_nvidia=item.index in nvidia)}
    results = {item.index: item for item in tested}
    if failed and options.method == AUTO and not means.asked:
        means.probe = tried = Tried(means.probe, test, failed)
        again = reset_all(everyone, [gpu for gpu in wanted if gpu.index in failed], _reset_request(options), means)
        report = merged(report, again)
        report = replace(report, notes=(*report.notes, *words_of(tried.again.values(), " after the reset")))
        results = {index: item for index, item in results.items() if index not in failed}
    outcomes = []
    for item in report.gpus:
        result = results.get(item.index)
        if result is None or result.exit_code == 0:
            outcomes.append(item)
            continue
        word = ResetOutcome.FAILED if result.exit_code == 1 else ResetOutcome.UNVERIFIED
        outcomes.append(replace(item, outcome=word, reason=f"self-test {result.status}", error=result.error))
    return replace(report, gpus=tuple(outcomes))


def scenarios() -> list[str]:
    """The names of the scenarios that come with gpumend."""
    from repro.scenario import shipped

    return shipped()


def read_scenario(name: str, parameters: Sequence[str] = ()) -> Scenario:
    """A scenario by its name, or its YAML file (`./mine.yaml`), with parameters `NAME=VALUE`.

    Raises UsageError; where a file is wrong, with line, column, key and the words that are allowed."""
    from repro.scenario import read

    return read(name, parameters)


def scenario_steps(scenario: Scenario) -> list[str]:
    """One iteration in words."""
    from repro.text import steps_of

    return steps_of(scenario)


def scenario_restore(scenario: Scenario) -> list[str]:
    """What is done afterwards to GPUs that are not as before, in words."""
    from repro.text import restore_of

    return restore_of(scenario)


def check_scenario(
    scenario: Scenario,
    everyone: Sequence[Gpu],
    wanted: Sequence[Gpu],
    *,
    firmware: str | None = None,
    probe_s: float | None = None,
) -> None:
    """Whether a scenario could be run on these GPUs; writes nothing. Raises what keeps it from being run."""
    from repro.preconditions import check_now, check_reports

    tools = _run_tools(everyone, ResetOptions(firmware=firmware, probe_s=probe_s), 1, None)
    if scenario.needs.firmware:
        require_firmware(wanted, firmware)
    check_now(scenario, wanted, everyone, tools)
    check_reports(scenario, wanted, probe_gpus(everyone, limit_s=probe_s))


def run_scenario(
    scenario: Scenario,
    everyone: Sequence[Gpu],
    wanted: Sequence[Gpu],
    folder: Path | None = None,
    *,
    seed: int = 1,
    firmware: str | None = None,
    settings: dict[str, Any] | None = None,
    onlooker: RunOnlooker | None = None,
    asked: Asked | None = None,
    probe_s: float | None = None,
) -> RunReport:
    """Run a scenario on `wanted` of `everyone` in reach, into a new folder (None: below the user's state folder).

    What GPUs and drivers did is in the report. Raised is what keeps it from beginning: UsageError, Refused,
    NotPermitted, Unavailable; then nothing was done, and there is no folder."""
    from dataclasses import replace

    from pcibus.trace import Trace
    from repro.record import default_folder
    from repro.ring import BLOCK_BYTES, RingSink
    from repro.runner import Means, Silent, run
    from resets.critical import Asked

    require_amd(wanted, "running a scenario on")
    if scenario.needs.firmware:
        require_firmware(wanted, firmware)
    rings = {gpu.index: RingSink() for gpu in everyone}
    traced = [
        replace(gpu, transport=Trace(gpu.transport, rings[gpu.index], gpu.clock, block_limit_bytes=BLOCK_BYTES))
        for gpu in everyone
    ]
    mine = {gpu.index for gpu in wanted}
    asked = Asked() if asked is None else asked
    folder = folder or default_folder(scenario.name)
    means = Means(
        everyone=traced,
        wanted=[gpu for gpu in traced if gpu.index in mine],
        probe=lambda subjects: probe_gpus([one for one in traced if one in subjects], limit_s=probe_s),
        tools=_run_tools(
            traced,
            ResetOptions(firmware=firmware, probe_s=probe_s, evidence=folder / "evidence-before"),
            seed,
            asked,
        ),
        evidence=lambda subjects, reports, action, place: _bundle(
            [one for one in traced if one in subjects], reports, action, place
        ),
        traces=lambda: {index: data for index, ring in rings.items() if (data := ring.data())},
        settings=_run_settings(scenario, wanted, seed, settings or {}),
        onlooker=onlooker or Silent(),
        asked=asked,
    )
    return run(scenario, means, folder)


def _run_tools(everyone: Sequence[Gpu], options: ResetOptions, seed: int, asked: Asked | None) -> Any:
    """What the modules of a scenario work with: resets go through the same climb as `reset`, one bundle before the first."""
    from dataclasses import replace

    from repro.modules import Tools
    from resets.session import reset_all

    made: dict[tuple[str, bool, float | None], Any] = {}
    bundle = ""

    def reset_by(subjects: Sequence[Subject], method: str, *, force: bool, limit_s: float | None) -> ResetReport:
        nonlocal bundle
        mine = replace(options, method=method, force=(method,) if force else ())
        means = made.setdefault((method, force, limit_s), _reset_means(everyone, mine, None, asked))
        if limit_s is not None:
            means.mechanic.kernel_s = limit_s
        means.bundle = means.bundle or bundle
        report = reset_all(everyone, subjects, _reset_request(mine), means)
        bundle = bundle or means.bundle
        return report

    firmware = options.firmware
    return Tools(reset_by, _firmware_dirs(firmware), seed, PROC_ROOT, SYS_ROOT)


def _run_settings(scenario: Scenario, wanted: Sequence[Gpu], seed: int, more: dict[str, Any]) -> dict[str, Any]:
    import platform
    import sys

    return {
        "scenario": scenario.name,
        "parameters": dict(scenario.values),
        "seed": seed,
        "gpus": [{"index": gpu.index, "bdf": gpu.bdf, "part": gpu.part.name, "address": gpu.address} for gpu in wanted],
        "versions": {
            "gpumend": VERSION,
            "python": sys.version.split()[0],
            "kernel": platform.release(),
            "amdgpu": _word_of(SYS_ROOT / "module/amdgpu/version"),
            "amdgpu source": _word_of(SYS_ROOT / "module/amdgpu/srcversion"),
            **{
                f"VBIOS of GPU {gpu.index}": _word_of(SYS_ROOT / f"bus/pci/devices/{gpu.bdf}/vbios_version")
                for gpu in wanted
            },
        },
        "definition": scenario.to_dict(),
        **more,
    }


def _word_of(path: Path) -> str:
    """A small file of the kernel; where it is not there (a model, no driver), that is said."""
    try:
        with path.open("rb") as file:
            return file.read(200).decode("utf-8", "replace").strip() or "empty"
    except OSError:
        return "not there"


def run_result(report: RunReport) -> dict[str, Any]:
    """A run's result as plain JSON values, as `result.json` of its folder has it."""
    from repro.runner import result_dict

    return result_dict(report)


def require_free_output(path: Path) -> bool:
    """Whether `path` names an archive, by its suffix. Raises what writing it would raise in the end: Refused where it
    is there, Unavailable where its folder is not or the packer is missing."""
    from evidence.archive import require_packer, suffix_of

    packs = bool(suffix_of(path))
    if packs:
        require_packer(path)
    _require_free(path)
    return packs


def write_text(path: Path, text: str) -> None:
    """A new file, synced. Refused when it is there, NotPermitted, Unavailable."""
    from evidence.writer import cannot_write, write_synced

    try:
        write_synced(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), text.encode()
        )
    except OSError as error:
        raise cannot_write(error, path) from error


def export_scenario(scenario: Scenario) -> Exported:
    """A scenario as one Python file for any Python from 3.8 on, with nothing but its standard library.

    Raises Refused where it needs our own driver: it says why, and what to send instead."""
    from repro.export import export

    return export(scenario)


def _memory_limit(found: Sequence[Gpu]) -> int | None:
    """Bytes that one buffer of a self-test may have: a model's VRAM is memory of this machine, and so are its
    copies."""
    modelled = sum(Can.HOST not in gpu.transport.can for gpu in found)
    if not modelled:
        return None
    try:
        text = (PROC_ROOT / "meminfo").read_text()
        free = next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        free = 2 << 30
    return free // (8 * modelled)


@contextmanager
def _mailbox(gpu: Gpu) -> Iterator[Clocks]:
    """The clocks of a GPU that nobody drives, under its lock. Raises Refused (held, a driver is bound), NotPermitted."""
    from amdriver.clocks import Clocks
    from amdriver.recovery import Target

    with Target.open(gpu.transport, gpu.clock) as target:
        yield Clocks(target.smu)


def clock_ranges(gpu: Gpu) -> list[ClockRange]:
    """What the power firmware allows each clock, the graphics clock first. It is asked by messages: the GPU's lock is taken
    for them. Raises Refused, NotPermitted, SmuSilent, SmuRefused."""
    with _mailbox(gpu) as clocks:
        return clocks.ranges()


def plan_clocks(gpu: Gpu, mhz: int | None = None, *, free: bool = False) -> list[ClockMessage]:
    """The messages that `pin_clocks` (or, `free`, `free_clocks`) would send; changes nothing."""
    with _mailbox(gpu) as clocks:
        return clocks.plan_auto() if free else clocks.plan(mhz)


def pin_clocks(gpu: Gpu, mhz: int | None = None) -> int:
    """Let the graphics clock have one frequency only (None: the highest); returns it. It stays so until `free_clocks` or a
    reset, whatever becomes of this process. Raises UsageError (out of range), and what `clock_ranges` raises."""
    with _mailbox(gpu) as clocks:
        return clocks.pin(mhz)


def free_clocks(gpu: Gpu) -> None:
    """The whole range again."""
    with _mailbox(gpu) as clocks:
        clocks.auto()


def _on_host(gpu: Gpu, doing: str) -> None:
    if Can.HOST not in gpu.transport.can:
        raise UsageError(
            f"{doing} {gpu.address}",
            expected="a GPU on this machine's PCI bus: kernel drivers bind to nothing else",
            seen=gpu.address,
        )


def _require_stopped(gpu: Gpu, driver: str) -> None:
    """Refused where the NVIDIA driver would have to let go of a GPU in use: it waits then, without end."""
    from nvdriver import usage
    from pcibus.holders import PATIENCE_S, find_holders

    files = _driver_files(gpu)
    if gpu.info.driver != "nvidia" or driver == "nvidia" or files is None or not usage.is_initialized(files, gpu.bdf):
        return
    found = find_holders(gpu.bdf, root=SYS_ROOT, proc=PROC_ROOT, limit_s=PATIENCE_S).real
    names = ", ".join(f"pid {holder.pid} {holder.command}" for holder in found)
    stop = usage.stop_words(holder.command for holder in found) or "end these processes"
    raise Refused(
        f"taking {gpu.bdf} from nvidia",
        expected="a GPU that its driver has stopped: unbinding one in use never ends",
        seen=f"held by {names}" if names else usage.KEPT,
        where=gpu.bdf,
        next_step=stop if names else usage.KEPT_NEXT.format(bdf=gpu.bdf),
    )


def plan_hand_over(gpu: Gpu, driver: str) -> list[str]:
    """The sysfs writes that would give a GPU to a kernel driver ("": to none), as shell lines; [] if it is so
    already."""
    from pcibus.binding import plan_bind, plan_unbind

    _on_host(gpu, "binding" if driver else "unbinding")
    plan = plan_bind(gpu.bdf, driver, root=SYS_ROOT) if driver else plan_unbind(gpu.bdf, root=SYS_ROOT)
    return [str(write) for write in plan.writes]


def hand_over(
    gpu: Gpu, driver: str, *, dry_run: bool = False, despite_holders: bool = False, limit_s: float = 30.0
) -> dict[str, Any]:
    """Give a GPU to a kernel driver ("": to none); bounded, read back. Returns `status` and the `driver` found after.

    An NVIDIA GPU that its driver keeps running is not taken from it, whatever `despite_holders` says: that would never end.
    Raises Refused (a process holds it, or the lock is taken), NotPermitted, Unavailable, WaitTimeout (stuck, says
    where)."""
    from pcibus.binding import bind, unbind

    _on_host(gpu, "binding" if driver else "unbinding")
    _require_stopped(gpu, driver)
    options: dict[str, Any] = {
        "root": SYS_ROOT,
        "proc": PROC_ROOT,
        "dry_run": dry_run,
        "despite_holders": despite_holders,
        "limit_s": limit_s,
    }
    done = bind(gpu.bdf, driver, **options) if driver else unbind(gpu.bdf, **options)
    if dry_run:
        status = "would be done" if done.plan.writes else "nothing to do"
    else:
        status = "done, verified" if done.done else "nothing to do"
    return {"status": status, "driver": done.after}


def main() -> None:
    """`python -m gpumend`."""
    from cli import main as run

    run()


if __name__ == "__main__":
    main()
