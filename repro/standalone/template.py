"""@TITLE@
@ABOUT@
What one iteration does:
@STEPS@
Counts as reproduced:
@CONDITIONS@
Needs: Linux, root, Python 3.8 or later with its standard library, nothing else.
@NEEDS@
Destroys: @DESTROYS@
To put the machine back: @PUT_BACK@

    python3 @FILE@ --dry-run
    sudo python3 @FILE@

The first says what would be done, and changes nothing. The second asks, then runs; the folder that it names holds the
kernel's log, a timeline and the versions.

Exit: 0 not reproduced. 1 reproduced, or an iteration failed. 2 an iteration could not be judged. 3 refused: somebody
holds a GPU, a driver is in the way, a GPU is not well before, nobody to ask. 64 wrong arguments. 69 no such GPU. 70 a
defect of this script. 74 the system refused something in between. 77 not permitted. 130 interrupted.
Made by @TOOL@ from its scenario @NAME@."""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

SCENARIO: dict[str, Any] = {}
SYS = Path("/sys")
DEVICES = SYS / "bus/pci/devices"
PYTHON = str(Path("/proc/self/exe").resolve())  # sys.executable is empty where there is no PATH
PASS, UNKNOWN, FAIL, REPRODUCED = "pass", "UNKNOWN", "FAIL", "REPRODUCED"
KNOWN: list[Any] = []  # what was wrong before anything was done: nobody's doing


class Refused(Exception):
    """Why nothing is done, and the exit code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Failed(Exception):
    """An action that did not do what it should."""


def word(path: Path, default: str = "not there") -> str:
    """A small file of the kernel as one line."""
    try:
        return path.read_bytes()[:4096].decode("utf-8", "replace").strip() or default
    except OSError:
        return default


def find_gpus(wanted: list[Any]) -> list[Any]:
    """Bus addresses of the supported GPUs, or of those that were asked for."""
    found = []
    for device in sorted(DEVICES.glob("*")) if DEVICES.is_dir() else []:
        if word(device / "vendor") == "0x1002" and int(word(device / "device", "0"), 16) in SCENARIO["ids"]:
            found.append(device.name)
    missing = [bdf for bdf in wanted if bdf not in found]
    if missing:
        raise Refused(69, f"no supported GPU at {', '.join(missing)}; there are: {', '.join(found) or 'none'}")
    return [bdf for bdf in found if bdf in wanted] if wanted else found


def driver_of(bdf: str) -> str:
    link = DEVICES / bdf / "driver"
    return link.resolve().name if link.is_symlink() else ""


def holders_of(bdfs: list[Any]) -> list[Any]:
    """Processes with a file of these GPUs open, as `pid name: file`."""
    nodes = {"/dev/kfd"}
    for bdf in bdfs:
        nodes |= {f"/dev/dri/{entry.name}" for entry in (DEVICES / bdf / "drm").glob("*")}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = {str(entry.resolve()) for entry in (process / "fd").iterdir()}
        except OSError:
            continue
        held = {name for name in files if name in nodes or any(f"/{bdf}/resource" in name for bdf in bdfs)}
        if held and process.name != str(os.getpid()):
            found.append(f"{process.name} {word(process / 'comm')}: {', '.join(sorted(held))}")
    return found


def versions(bdfs: list[Any]) -> list[Any]:
    """What a reader of the report needs to know, one line each."""
    rows = [f"script: {SCENARIO['name']}, made by {SCENARIO['tool']}", f"python: {sys.version.split()[0]}"]
    rows += [f"kernel: {platform.release()} {platform.version()}", f"command line: {word(Path('/proc/cmdline'))}"]
    rows += [f"amdgpu: {word(SYS / 'module/amdgpu/version')}, srcversion {word(SYS / 'module/amdgpu/srcversion')}"]
    dmi = SYS / "class/dmi/id"
    rows += [f"machine: {word(dmi / 'product_name')}, BIOS {word(dmi / 'bios_version')}"]
    for bdf in bdfs:
        at = DEVICES / bdf
        rows.append(f"{bdf}: {word(at / 'device')} rev {word(at / 'revision')}, driver {driver_of(bdf) or 'none'}")
        rows.append(f"{bdf}: VBIOS {word(at / 'vbios_version')}, link {word(at / 'current_link_speed')}")
        # ---- section: driver
        firmware = word(debugfs(bdf) / "amdgpu_firmware_info", "").splitlines()
        rows += [f"{bdf}: {line}" for line in firmware if not line.endswith(": 0x00000000")]
        # ---- section: all
    return rows


# ---- section: driver
def debugfs(bdf: str) -> Path:
    """The folder of a GPU in debugfs; by address, or by number on older kernels."""
    root = SYS / "kernel/debug/dri"
    for entry in sorted(root.glob("*")) if root.is_dir() else []:
        if entry.name == bdf or bdf in word(entry / "name", ""):
            return entry
    return root / bdf


# ---- section: all
class KernelLog(threading.Thread):
    """Writes the kernel's log into a file as it comes, synced; keeps the lines that match a pattern."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.patterns = {name: re.compile(text) for name, text in SCENARIO["kernel_log"].items()}
        self.matches: list[Any] = []
        self.file = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self.ring = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise Refused(77, f"/dev/kmsg cannot be read: {error.strerror}") from error
        self.drain()
        self.matches.clear()  # what the ring held before we began does not count
        self.start()

    def run(self) -> None:
        while True:
            time.sleep(0.1)
            self.drain()

    def drain(self) -> None:
        """Everything that is there now."""
        while True:
            try:
                record = os.read(self.ring, 16384).decode("utf-8", "replace")
            except BlockingIOError:
                break
            except OSError:
                continue  # EPIPE: the ring went on, some records are gone
            head, _, text = record.partition(";")
            line = f"[{int(head.split(',')[2]) / 1e6:12.6f}] {text}" if head.count(",") >= 2 else record
            os.write(self.file, line.encode())
            hits = [name for name, pattern in self.patterns.items() if pattern.search(line)]
            self.matches += [(name, line.splitlines()[0]) for name in hits]
        os.fdatasync(self.file)

    def take(self) -> list[Any]:
        """Matches since the last call; the kernel's writers are given a moment."""
        time.sleep(0.3)
        if not self.is_alive():
            raise Refused(74, "the kernel's log is not kept any more (is the disk full?), so nothing can be told of it")
        found, self.matches = self.matches, []
        return found


class Timeline:
    """One JSON document a line, on the disk before the next thing is done."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def add(self, kind: str, **told: object) -> None:
        row = {"t": round(time.monotonic(), 3), "wall": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "kind": kind}
        row.update(told)
        os.write(self.file, (json.dumps(row) + "\n").encode())
        os.fdatasync(self.file)


# ---- section: flr bus-reset driver-rebind kernel-recover modprobe
def apart(words: list[Any], limit_s: float, doing: str) -> str:
    """Run a command that may stick in the kernel: killed at its limit, left alone if even that does not end it."""
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said = child.communicate(timeout=limit_s)[0].decode("utf-8", "replace").strip()
    except subprocess.TimeoutExpired:
        child.kill()
        state = word(Path(f"/proc/{child.pid}/wchan"), "?")
        raise Failed(f"{doing} did not come back within {limit_s:g} s (waits in {state})") from None
    if child.returncode:
        raise Failed(f"{doing} failed: exit {child.returncode} {said[-300:]}")
    return said


# ---- section: flr bus-reset driver-rebind
def written(path: Path, text: str, limit_s: float) -> None:
    """Write a sysfs file, in a process of its own."""
    code = f"open({str(path)!r}, 'w').write({text!r})"
    apart([PYTHON, "-I", "-c", code], limit_s, f"writing {text} to {path}")


# ---- section: all
class Registers:
    """BAR5 and config space of one GPU through sysfs; reads only, unless `writable`. Offsets in bytes.

    Linux v7.3 asic_reg/mp/mp_13_0_6_offset.h on base 0x16000; amdgpu_discovery.c (memory size, signature)."""

    MP0_33, MP0_35, MP0_81, MP0_92 = ((0x16000 + at) * 4 for at in (0x61, 0x63, 0x91, 0x9C))
    MEMSIZE = 0xDE3 * 4
    # ---- section: hive-reset
    MP1_66, MP1_82, MP1_90 = ((0x16000 + at) * 4 for at in (0x282, 0x292, 0x29A))
    # ---- section: xgmi
    INDEX2, DATA2, INDEX2_HI = 0x38, 0x3C, 0x44
    # ---- section: all

    def __init__(self, bdf: str, writable: bool = False) -> None:
        self.bdf = bdf
        self.place = DEVICES / bdf
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        with (self.place / "resource5").open("r+b" if writable else "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            self.view = memoryview(mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, access)).cast("I")

    def read(self, at: int) -> int:
        return self.view[at // 4]

    # ---- section: hive-reset xgmi
    def write(self, at: int, value: int) -> None:
        self.view[at // 4] = value

    # ---- section: all
    def state(self) -> str:
        """What the boot firmware says, in words."""
        ready = "ready" if self.booted() else "NOT READY"
        told = [f"{self.read(at):#010x}" for at in (self.MP0_33, self.MP0_35, self.MP0_92)]
        return f"{self.bdf}: bootloader {ready} (C2PMSG_33, 35, 92 = {', '.join(told)})"

    def booted(self) -> bool:
        """Mailbox and bootloader are up, or the secure OS that came after it runs."""
        if self.read(self.MP0_33) == 0xFFFFFFFF:
            return False
        up = self.read(self.MP0_33) >> 31 == 1 and self.read(self.MP0_35) == 0x80000000
        return up or bool(self.read(self.MP0_81))

    def signature(self) -> int:
        """First word of the discovery table, 64 KiB before the end of VRAM; -1 where BAR0 does not show it."""
        end = self.read(self.MEMSIZE) << 20
        with (self.place / "resource0").open("rb", buffering=0) as file:
            if not 0x10000 < end <= os.fstat(file.fileno()).st_size:
                return -1
            with mmap.mmap(file.fileno(), 4096, mmap.MAP_SHARED, mmap.PROT_READ, offset=end - 0x10000) as view:
                return int(struct.unpack("<I", view[:4])[0])


# ---- section: flr bus-reset hive-reset
def await_boot(opened: list[Any], limit_s: float, after: str) -> None:
    """Wait for boot firmware: it is silent for a second or so after every reset, and for minutes where memory is trained."""
    silent, end = opened, time.monotonic() + limit_s
    while silent and time.monotonic() < end:
        time.sleep(0.1)
        silent = [each for each in silent if not each.booted()]
    time.sleep(1)  # firmware negotiates the XGMI links within a second
    if silent:
        raise Failed(f"boot firmware silent {limit_s:g} s after {after}: {'; '.join(each.state() for each in silent)}")


# ---- section: hive-reset
def config_of(bdf: str) -> list[Any]:
    """(offset, bytes) that mode1 loses: BARs, device and link control, size of the resizable BAR; the command last."""
    data = (DEVICES / bdf / "config").read_bytes()
    kept = [(at, data[at : at + 4]) for at in range(0x10, 0x28, 4)]
    at = data[0x34] & 0xFC
    while at and len(data) > 64:
        if data[at] == 0x10:
            kept = [(at + 8, data[at + 8 : at + 10]), (at + 0x10, data[at + 0x10 : at + 0x12]), *kept]
        at = data[at + 1] & 0xFC
    at = 0x100 if len(data) > 0x100 else 0
    while at:
        (head,) = struct.unpack_from("<I", data, at)
        if head & 0xFFFF == 0x15:
            kept = [(at + 8, data[at + 8 : at + 12]), *kept]
        at = head >> 20
    (command,) = struct.unpack_from("<H", data, 4)
    return [*kept, (4, struct.pack("<H", (command | 2) & ~4))]


# ---- section: registers
def config_write(bdf: str, rows: list[Any]) -> None:
    handle = os.open(str(DEVICES / bdf / "config"), os.O_WRONLY)
    try:
        for at, data in rows:
            os.pwrite(handle, data, at)
    finally:
        os.close(handle)


def decode_memory(bdf: str) -> None:
    """Without a driver nobody may have switched it on, and all registers read as ones."""
    (command,) = struct.unpack_from("<H", (DEVICES / bdf / "config").read_bytes(), 4)
    config_write(bdf, [(4, struct.pack("<H", command | 2))])


# ---- section: hive-reset
def smu_message(registers: Registers, message: int, argument: int) -> None:
    """smu_cmn.c: response cleared, argument, message; the answer must be 1."""
    registers.write(Registers.MP1_90, 0)
    registers.write(Registers.MP1_82, argument)
    registers.write(Registers.MP1_66, message)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        answer = registers.read(Registers.MP1_90)
        if answer:
            break
        time.sleep(0.0005)
    if answer != 1:
        raise Failed(f"{registers.bdf}: SMU message {message:#x} was answered with {answer:#x}, not 1")


def hive_reset(bdfs: list[Any], limit_s: float) -> None:
    """mode1 of every GPU together: amdgpu_device.c amdgpu_device_mode1_reset, within a second of each other."""
    opened = [Registers(bdf, writable=True) for bdf in bdfs]
    for registers in opened:
        smu_message(registers, 1, 1)  # TestMessage: every member must answer before the first is reset
    kept = {bdf: config_of(bdf) for bdf in bdfs}
    wrong: list[Any] = []
    came: list[Any] = []  # signals wait: a hive of which some members are in reset must not be left
    waiting = [number for number in (1, 2, 15) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *got: came.append(got)) for number in waiting}
    try:
        for bdf in bdfs:
            config_write(bdf, kept[bdf][-1:])  # bus mastering off
        for registers in opened:
            try:
                smu_message(registers, 3, 1)  # GfxDriverReset, mode1
            except Failed as error:  # the others are told all the same: their links need each other
                wrong.append(str(error))
        time.sleep(0.5)  # no register may be touched meanwhile
        for bdf in bdfs:
            try:
                config_write(bdf, [(4, b"\0\0"), *kept[bdf]])
            except OSError as error:
                wrong.append(f"{bdf}: {error}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
    if wrong:
        raise Failed("; ".join(wrong))
    await_boot(opened, limit_s, "mode1")


# ---- section: flr bus-reset
def pci_reset(bdf: str, method: str, limit_s: float) -> None:
    """A reset by the kernel's PCI core: `flr` or `bus`."""
    way = DEVICES / bdf / "reset_method"
    before = word(way, "")
    written(way, method, 10)
    try:
        written(DEVICES / bdf / "reset", "1", limit_s)
    finally:
        with suppress(Failed):  # a function that is gone is told by look()
            written(way, before.replace(" ", ","), 10)
    with suppress(OSError, ValueError):  # that its registers cannot be read, or that it is gone, is told by look()
        if present(bdf):
            await_boot([Registers(bdf)], min(limit_s, 300), method)


# ---- section: xgmi
def links_down(bdf: str) -> list[Any]:
    """Links whose PCS_STATE_HIST1 (amdgpu_xgmi.c) is neither 0x81, active, nor 0xd1, disabled; in words."""
    registers = Registers(bdf, writable=True)
    first = 0x11A00070 if word(DEVICES / bdf / "device").startswith("0x74") else 0x12100070
    found = []
    for link in range(8):
        registers.write(Registers.INDEX2, (first, 0x11B00070)[link % 2])
        # Bit 34 of an address: another AID, whose number is in bits 33:32.
        registers.write(Registers.INDEX2_HI, 4 | link // 2 if link > 1 else 0)
        state = registers.read(Registers.DATA2) & 0xFF
        registers.write(Registers.INDEX2_HI, 0)
        if state not in (0x81, 0xD1):
            found.append(("amd.xgmi.link", f"{bdf}: XGMI link {link} is down (state {state:#04x})"))
    return found


# ---- section: kernel-recover
def kernel_recover(bdf: str, limit_s: float) -> None:
    """Reading this file has amdgpu reset the GPU, and its hive (amdgpu_fence.c gpu_recover_get); it shows 0, or an error."""
    path = debugfs(bdf) / "amdgpu_gpu_recover"
    if not path.exists():
        raise Refused(69, f"{path} is not there: debugfs is not mounted on /sys/kernel/debug, or gpu_recovery=0")
    code = f"print(open({str(path)!r}).read())"
    said = apart([PYTHON, "-I", "-c", code], limit_s, f"a reset of {bdf} through amdgpu")
    numbers = re.findall(r"-?\d+", said)
    if not numbers or int(numbers[-1]):
        raise Failed(f"amdgpu says that its reset of {bdf} failed: {said or 'nothing'}")


# ---- section: driver-rebind
def driver_rebind(bdf: str, limit_s: float) -> None:
    """Take the GPU from amdgpu and give it back."""
    driver = SYS / "bus/pci/drivers/amdgpu"
    written(driver / "unbind", bdf, limit_s)
    written(driver / "bind", bdf, limit_s)
    if driver_of(bdf) != "amdgpu":
        raise Failed(f"amdgpu did not take {bdf} again")


# ---- section: modprobe
def modprobe(words: list[Any], limit_s: float) -> None:
    places = [Path(folder) / "modprobe" for folder in ("/usr/sbin", "/sbin", "/usr/bin", "/bin")]
    found = [str(path) for path in places if path.exists()]
    if not found:
        raise Refused(69, "modprobe is not there (package kmod)")
    apart([found[0], *words], limit_s, f"modprobe {' '.join(words)}")


# ---- section: all
def act(action: dict[str, Any], bdfs: list[Any]) -> None:
    """One action of the scenario on its GPUs."""
    limit_s = float(action["duration_s"] or 660)
    # ---- section: flr bus-reset driver-rebind kernel-recover
    chosen = bdfs if action["device"] == "all" else bdfs[:1]
    # ---- section: all
    method = action.get("method", action["module"])
    for _ in range(action["count"]):
        # ---- section: hive-reset
        if method == "hive-reset":
            hive_reset(bdfs, min(limit_s, 300))
        # ---- section: flr bus-reset
        if method in ("flr", "bus-reset"):
            for bdf in chosen:
                pci_reset(bdf, method.split("-")[0], limit_s)
        # ---- section: kernel-recover
        if method == "kernel-recover":
            kernel_recover(chosen[0], limit_s)
        # ---- section: driver-rebind
        if method == "driver-rebind":
            for bdf in chosen:
                driver_rebind(bdf, limit_s)
        # ---- section: modprobe
        if method == "modprobe":
            remove = ["-r"] if action.get("remove") else []
            modprobe([*remove, action["driver"], *action.get("options", "").split()], limit_s)
        # ---- section: all


def present(bdf: str) -> bool:
    with suppress(OSError):
        return (DEVICES / bdf / "config").read_bytes()[:2] == b"\x02\x10"
    return False


def look_at(bdf: str) -> tuple[Any, ...]:
    """(code of what is wrong or "", the same in words)."""
    (command,) = struct.unpack_from("<H", (DEVICES / bdf / "config").read_bytes(), 4)
    if not command & 2:
        return "pci.memory-off", f"{bdf}: memory decoding is off in its config space"
    registers = Registers(bdf)
    if registers.read(Registers.MP0_33) == registers.read(Registers.MEMSIZE) == 0xFFFFFFFF:
        return "pci.bar-dead", f"{bdf}: config space answers, every register reads all ones"
    if not registers.booted():
        return "amd.psp.bootloader", registers.state()
    if registers.signature() not in (-1, 0x28211407):
        return "amd.discovery.signature", f"{bdf}: signature of the table {registers.signature():#x}, not 0x28211407"
    return "", registers.state()


def look(bdfs: list[Any]) -> tuple[Any, ...]:
    """((code, words) of what is wrong, words of what could not be told, of what was seen) of the GPUs now."""
    wrong: list[Any] = []
    seen, unsure = wrong[:], wrong[:]
    for bdf in bdfs:
        power = word(DEVICES / bdf / "power_state", "unknown")
        if not present(bdf):
            wrong.append(("pci.lost", f"{bdf} is gone from the bus: config space reads all ones, or is not there"))
        elif power not in ("D0", "unknown"):
            unsure.append(f"{bdf} is asleep ({power}): its registers say nothing")
        else:
            try:
                code, text = look_at(bdf)
                (wrong if code else seen).append((code, text) if code else text)
            except (OSError, ValueError, struct.error) as error:
                unsure.append(f"{bdf}: its registers cannot be read: {error}")
    # ---- section: xgmi
    wrong = wrong or [one for bdf in bdfs if not unsure for one in links_down(bdf)]
    # ---- section: driver
    seen, unsure = seen + unsure, []  # a bound driver may keep its registers to itself: its word counts
    # ---- section: all
    known = [text.split(" (")[0] for _, text in KNOWN]
    return [one for one in wrong if one[1].split(" (")[0] not in known], unsure, seen


def look_before(bdfs: list[Any]) -> None:
    """What is wrong before does not count afterwards; on a GPU that is sick already an iteration would say nothing."""
    # ---- section: modprobe
    if SCENARIO["driver"] == "unloaded":
        return
    # ---- section: registers
    for bdf in bdfs:
        decode_memory(bdf)
    # ---- section: all
    wrong, unsure, _ = look(bdfs)
    KNOWN.extend(wrong)
    sick = unsure + [text for code, text in wrong if code != "amd.xgmi.link"]
    if sick:
        raise Refused(77 if unsure else 3, f"not well before anything was done: {'; '.join(sick)}")


def iterate(bdfs: list[Any], log: KernelLog, timeline: Timeline) -> tuple[Any, ...]:
    """(word, why) of one iteration."""
    failed: list[Any] = []
    for action in SCENARIO["actions"]:
        timeline.add("action", name=action["name"], state="begin")
        try:
            act(action, bdfs)
        except (Failed, OSError, ValueError, struct.error) as error:
            failed.append((action["name"], str(error)))
        timeline.add("action", name=action["name"], state=failed[-1][1] if failed else "done")
        if failed:
            break
    lines = log.take()
    wrong, unsure, seen = look(bdfs)
    timeline.add("look", wrong=wrong, unsure=unsure, seen=seen, kernel_log=lines)
    why = [f"kernel log: {line}" for name, line in lines if name in SCENARIO["reproduced_log"]]
    why += [text for name, text in failed if name in SCENARIO["reproduced_actions"]]
    why += [text for code, text in wrong if any(fnmatchcase(code, one) for one in SCENARIO["findings"])]
    if why:
        return REPRODUCED, why
    if failed or wrong:
        return FAIL, [text for _, text in failed + wrong]
    # ---- section: proved
    unsure += [f"the kernel's log shows no {name}" for name in set(SCENARIO["proofs"]) - {name for name, _ in lines}]
    # ---- section: all
    return (UNKNOWN, unsure) if unsure else (PASS, seen)


def check(bdfs: list[Any], options: argparse.Namespace) -> None:
    """Everything that must be so before the first action, and a person's consent."""
    if os.geteuid():
        raise Refused(77, "this needs root: sudo python3 ...")
    if not bdfs:
        raise Refused(69, f"no supported GPU on this machine's PCI bus ({SCENARIO['parts']}); looked in {DEVICES}")
    bound = {bdf: driver_of(bdf) for bdf in bdfs}
    # ---- section: driver
    if SCENARIO["driver"] == "amdgpu" and set(bound.values()) != {"amdgpu"}:
        raise Refused(3, f"amdgpu must be bound; it is: {bound}")
    if SCENARIO["driver"] == "unloaded" and (SYS / "module/amdgpu").is_dir():
        raise Refused(3, "amdgpu must not be loaded yet: its options are given when it is")
    # ---- section: registers
    if set(bound.values()) - {"", "vfio-pci", "pci-stub"}:
        raise Refused(3, f"no driver may be bound; there is: {bound}. First: modprobe -r amdgpu")
    # ---- section: hive-reset
    if len(bdfs) < len(find_gpus([])):
        raise Refused(3, "mode1 of one member of a hive leaves its links down: all GPUs, or none")
    # ---- section: all
    held = holders_of(bdfs)
    if held:
        raise Refused(3, "these processes hold a GPU: " + "; ".join(held[:20]))
    print(f"This will be lost: {SCENARIO['destroys']}\nGPUs: {', '.join(bdfs)}")
    print(f"To put the machine back: {SCENARIO['put_back']}")
    if options.yes:
        return
    if not sys.stdin or not sys.stdin.isatty():
        raise Refused(3, "nobody to ask: standard input is no terminal; --yes goes on without asking")
    if input("Type yes to begin: ").strip() != "yes":
        raise Refused(3, "the answer was not yes")


def run(options: argparse.Namespace) -> int:
    """The whole run; its exit code."""
    bdfs = find_gpus(options.gpu)
    if options.dry_run:
        print(f"{SCENARIO['name']}: {SCENARIO['shows']}\nGPUs here: {', '.join(bdfs) or 'none that this is for'}")
        for action in SCENARIO["actions"]:
            told = {name: value for name, value in action.items() if value is not None}
            print(f"  would do, {options.count} times at most: {json.dumps(told)}")
        print("\n".join(f"  {row}" for row in versions(bdfs)))
        return 0
    check(bdfs, options)
    look_before(bdfs)
    folder = Path(options.output or f"{SCENARIO['name']}-{time.strftime('%Y%m%dT%H%M%S')}")
    folder.mkdir(mode=0o700)
    print(f"into {folder}/", flush=True)
    (folder / "versions.txt").write_text("".join(f"{row}\n" for row in versions(bdfs)))
    print((folder / "versions.txt").read_text(), end="", flush=True)
    log = KernelLog(folder / "kernel.log")
    timeline = Timeline(folder / "timeline.jsonl")
    code, results = repeat(options, bdfs, log, timeline)
    hits = sum(result == REPRODUCED for result in results)
    timeline.add("end", exit=code, incidence=f"{hits} of {len(results)}")
    verdict = "REPRODUCED" if hits else "not reproduced"
    print(f"{verdict}: {hits} of {len(results)} iterations; exit {code}; everything is in {folder}/")
    if code == 1:
        print(f"to put the machine back: {SCENARIO['put_back']}")
    return int(code)


def repeat(options: argparse.Namespace, bdfs: list[Any], log: KernelLog, timeline: Timeline) -> tuple[Any, ...]:
    """(exit code, words of the iterations)."""
    results: list[Any] = []
    began = time.monotonic()
    for number in range(1, options.count + 1):
        started = time.monotonic()
        timeline.add("iteration", number=number, state="begin")
        print(f"iteration {number} of {options.count}: ", end="", flush=True)
        try:
            result, why = iterate(bdfs, log, timeline)
        except KeyboardInterrupt:
            timeline.add("iteration", number=number, state="interrupted")
            print("interrupted")
            return 130, results
        results.append(result)
        timeline.add("iteration", number=number, state="end", word=result, why=why)
        print(f"{result} ({time.monotonic() - started:.1f} s)", flush=True)
        for line in why if result != PASS else []:
            print(f"    {line}", flush=True)
        if result in (FAIL, REPRODUCED) and (not options.keep_going or look(bdfs)[0]):
            break  # on GPUs that are not as before, further iterations would say nothing
        if time.monotonic() - began > SCENARIO["duration_s"]:
            break  # the scenario's time limit
        # ---- section: pause
        time.sleep(SCENARIO["pause_s"])
        # ---- section: all
    worst = {FAIL: 1, REPRODUCED: 1, UNKNOWN: 2}
    codes = [worst[result] for result in results if result != PASS]
    return min(codes, default=0), results


def main() -> int:
    head = (__doc__ or "").split("\n\n")[0]
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=head, epilog=(__doc__ or "")[len(head) :], formatter_class=style)
    parser.add_argument("--count", type=int, default=SCENARIO.get("count", 1), help="iterations at most (%(default)s)")
    parser.add_argument("--gpu", action="append", default=[], metavar="BDF", help="only this GPU; repeatable")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="for one action, instead of the scenario's own")
    parser.add_argument("-o", "--output", metavar="DIR", help="a new folder for log, timeline and versions")
    parser.add_argument("--keep-going", action="store_true", help="go on after it, if all is as before")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    try:
        options = parser.parse_args()
    except SystemExit as ending:
        return 64 if ending.code else 0
    if options.count < 1 or not (options.limit is None or 0 < options.limit < 1e6):
        print("wrong arguments: --count is 1 or more, --limit more than 0", file=sys.stderr)
        return 64
    for action in SCENARIO["actions"] if options.limit else []:
        action["duration_s"] = options.limit
    try:
        return run(options)
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return int(refusal.code)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"stopped: {error}; nothing is overwritten", file=sys.stderr)
        return 3 if isinstance(error, FileExistsError) else 74
    except Exception:  # noqa: BLE001 - a defect of this script is no verdict, and exit code 1 is one
        traceback.print_exc()
        return 70


if __name__ == "__main__":
    sys.exit(main())
