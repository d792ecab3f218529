"""The public Python API: reach GPUs by address, list them, probe them.

    import gpumend

    for gpu in gpumend.list_gpus(["model:mi350x*8"]):
        print(gpu.index, gpu.bdf, gpu.part)
    reports = gpumend.probe(["model:mi350x*8?fault=mec-hang@2"])

Addresses and selection: DESIGN section 4 and README. `python -m gpumend` is the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from base.clock import Clock, Outcome, RealClock, VirtualClock
from base.errors import GpumendError, InvalidData, NotPermitted, Unavailable, Undecided, UsageError
from base.findings import Finding, ProbeReport, Severity, graver
from base.version import VERSION
from pcibus.transport import Can, FunctionInfo, Transport

if TYPE_CHECKING:
    from amdriver.discovery import Validation
    from amdriver.discovery_diff import Difference
    from amdriver.discovery_locate import Located
    from amdriver.ip_map import IpInstance, IpMap
    from amdriver.parts import Part
    from amdriver.regs import Reading
    from firmware.model import FirmwareFile
    from firmware.verify import VerifyReport
    from gpumodel.remote_pci import RemoteServer
    from registers.tables import Entry

__version__ = VERSION

T = TypeVar("T")
SYS_ROOT, PROC_ROOT = Path("/sys"), Path("/proc")  # tests put trees of their own here
REAL_CLOCK = RealClock()
LOOK_LIMIT_S = 5.0  # for one look at one GPU, in a child that is killed then

ADDRESS_HELP = (
    "0000:c1:00.0, replay:FILE, remote:HOST:PORT[#INDEX] or model:PART[*N][?state=cold|used&fault=NAME[:ARG][@GPU],...]"
)
MODEL_LINE = "gpumend --on 'model:mi350x*8' list"
_BDF = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-1][0-9a-f])\.([0-7])\Z", re.IGNORECASE)
_LATER = {"vfio": "through VFIO"}


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
    if kind in _LATER:
        raise UsageError(
            f"reaching {address}", expected=ADDRESS_HELP, seen=f"{kind}: reaching a GPU {_LATER[kind]} is not built yet"
        )
    bdf = normal_bdf(address)
    if bdf is None:
        raise UsageError(f"reading the address {address!r}", expected=ADDRESS_HELP, seen=address)
    return [_on_bus(bdf, sys_root)]


def _models(address: str, spec: str, clock: Clock | None) -> list[Gpu]:
    from amdriver.parts import part_of
    from gpumodel import open_models

    clock = clock or VirtualClock()
    gpus = []
    for transport in open_models(spec, clock):
        info = transport.info()
        part = part_of(info.vendor, info.device)
        assert part is not None, "the model shows an id that amdriver/parts.py does not know"
        gpus.append(Gpu(0, address, info, part, transport, clock))
    return gpus


def _replays(address: str, file: str, clock: Clock | None) -> list[Gpu]:
    from amdriver.parts import part_of
    from pcibus.replay import Replay

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
    """The supported GPUs behind a server, on the real clock: time passes there, whatever the caller's other GPUs live on."""
    from amdriver.parts import AMD_VENDOR, part_of
    from pcibus.remote import open_remote

    gpus = []
    for transport in open_remote(address, vendors=(AMD_VENDOR,)):
        info = transport.device.info
        part = part_of(info.vendor, info.device)
        if part is not None:
            gpus.append(Gpu(0, address, info, part, transport, REAL_CLOCK))
    if not gpus:
        raise Unavailable(
            f"opening {address}",
            expected="an AMD Instinct of the MI300 or MI350 family (vendor 1002)",
            seen="none among the devices that it serves",
            where=address,
        )
    return gpus


def _on_bus(bdf: str, sys_root: Path) -> Gpu:
    from amdriver.parts import part_of
    from pcibus.sysfs import SysfsTransport, scan

    for info in scan(sys_root):
        if info.bdf != bdf:
            continue
        part = part_of(info.vendor, info.device)
        if part is None:
            raise Unavailable(
                f"opening {bdf}",
                expected="an AMD Instinct of the MI300 or MI350 family (vendor 1002)",
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
    from amdriver.parts import part_of
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
    """Ask every selected GPU what is wrong with it; changes nothing, and takes at most about 2 s whatever the GPUs do."""
    return probe_gpus(list_gpus(on, gpus, clock=clock, sys_root=sys_root), sys_root=sys_root)


def probe_gpus(found: Sequence[Gpu], *, sys_root: Path | None = None) -> list[ProbeReport]:
    """Probe GPUs that `list_gpus` found, side by side."""
    from amdriver.discovery_store import load
    from probe.run import Target, probe_all

    sys_root = sys_root or SYS_ROOT
    reports: dict[int, ProbeReport] = {}
    for clock in {id(gpu.clock): gpu.clock for gpu in found}.values():
        group = [gpu for gpu in found if gpu.clock is clock]
        targets = [Target(index=gpu.index, transport=gpu.transport, part=gpu.part) for gpu in group]
        for report in probe_all(targets, clock=clock, sys_root=sys_root, proc_root=PROC_ROOT, golden=load):
            reports[report.index] = report
    return [reports[gpu.index] for gpu in found]


def bus_states(found: Sequence[Gpu]) -> list[tuple[str, str | None]]:
    """For each GPU its state and UUID. State: `ok`, `lost` (config space reads all ones), `unknown` (it cannot be read).

    Asks config space only, in a child on this machine's bus: while a reset goes on, the kernel lets its readers sleep."""
    outcomes = _looks(found, [partial(_bus_state, gpu) for gpu in found], "reading config space")
    return [outcome.value or ("unknown", None) for outcome in outcomes]


def _bus_state(gpu: Gpu) -> tuple[str, str | None]:
    from pcibus.config import is_lost, serial_number

    return ("lost", None) if is_lost(gpu.transport) else ("ok", uuid_of(serial_number(gpu.transport)))


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
    """Read and validate a discovery binary in a file. Raises what reading a file can raise; damage is in its findings."""
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
    from amdriver.access import Access
    from amdriver.discovery_locate import Located, from_debugfs, locate
    from pcibus.config import why_all_ones

    doubts = tuple(why_all_ones(gpu.transport))
    if doubts:  # MMIO would read all ones, or must not be touched: nothing that it says could be believed
        return Located(b"", None, "", doubts), False
    debugfs = SYS_ROOT / "kernel/debug/dri"
    try:
        located = locate(Access(look(gpu)), gpu.clock, part=gpu.part)
    except GpumendError:  # with a driver bound the kernel usually refuses to map its BARs
        copy = from_debugfs(gpu.bdf, debugfs) if gpu.info.driver == "amdgpu" else None
        if copy is None:
            raise
        return copy, True
    copy = from_debugfs(gpu.bdf, debugfs) if gpu.info.driver == "amdgpu" and not located.blob else None
    return (copy, True) if copy else (located, False)


def gpu_name(gpu: Gpu) -> str:
    """`GPU 2 0000:65:00.0 MI350X`: index and bus address always stand together."""
    return f"GPU {gpu.index} {gpu.bdf} {gpu.part.name}"


def _key(gpu: Gpu) -> str:
    """The name under which a GPU's good copy is kept: its serial, as `probe` tells it; its bus address if it shows none.

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
    """The tables' entries of exactly this name (instance brackets and the kernel's prefixes allowed). UsageError: none."""
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


def model_parts() -> list[dict[str, Any]]:
    """The parts that can be modelled: part, product, id, vram_gib, xcc, compute_units, sdma, address to try."""
    from gpumodel import parts

    return [
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


def model_faults() -> list[dict[str, Any]]:
    """The faults that a model can be given: name, argument, summary, symptom, source, cured_by ([]: nothing does)."""
    from gpumodel import faults

    return [
        {
            "name": item.name,
            "argument": f"{item.argument.name}: {item.argument.meaning}" if item.argument else "",
            "default": item.argument.default if item.argument else None,
            "summary": item.summary,
            "effect": item.effect,
            "symptom": item.symptom,
            "cured_by": [] if item.cured_by == "never" else item.cured_by.split(", "),
        }
        for item in faults()
    ]


def serve_model(endpoint: str, spec: str, *, allow_remote: bool = False) -> RemoteServer:
    """Serve software GPUs at HOST:PORT (port 0: any free one) until the answer's `close()`; `--on` takes its `address`.

    They live on the real clock, and on, while clients come and go. Raises UsageError, Refused (not a loopback address,
    and not `allow_remote`), Unavailable (the port is taken), NotPermitted."""
    from gpumodel import open_models
    from gpumodel.remote_pci import RemoteServer
    from pcibus.remote_protocol import parse_endpoint

    host, port = parse_endpoint(endpoint)
    return RemoteServer(open_models(spec, REAL_CLOCK), host, port, allow_remote=allow_remote).open()


def _on_host(gpu: Gpu, doing: str) -> None:
    if Can.HOST not in gpu.transport.can:
        raise UsageError(
            f"{doing} {gpu.address}",
            expected="a GPU on this machine's PCI bus: kernel drivers bind to nothing else",
            seen=gpu.address,
        )


def plan_hand_over(gpu: Gpu, driver: str) -> list[str]:
    """The sysfs writes that would give a GPU to a kernel driver ("": to none), as shell lines; [] if it is so already."""
    from pcibus.binding import plan_bind, plan_unbind

    _on_host(gpu, "binding" if driver else "unbinding")
    plan = plan_bind(gpu.bdf, driver, root=SYS_ROOT) if driver else plan_unbind(gpu.bdf, root=SYS_ROOT)
    return [str(write) for write in plan.writes]


def hand_over(
    gpu: Gpu, driver: str, *, dry_run: bool = False, despite_holders: bool = False, limit_s: float = 30.0
) -> dict[str, Any]:
    """Give a GPU to a kernel driver ("": to none); bounded, read back. Returns `status` and the `driver` found after.

    Raises Refused (a process holds it, or the lock is taken), NotPermitted, Unavailable, WaitTimeout (stuck, says where)."""
    from pcibus.binding import bind, unbind

    _on_host(gpu, "binding" if driver else "unbinding")
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
