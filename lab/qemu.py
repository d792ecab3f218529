"""QEMU's command line, and its process under limits.

The processor is emulated (TCG, asked for by name): /dev/kvm may exist and not work, as in a virtual machine.
The guest's memory is shared memory, since the models reach into it by DMA."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import Unavailable
from lab.parts import Parts

PROGRAM = "usr/bin/qemu-system-x86_64"
DATA = ("usr/share/qemu", "usr/share/seabios")
# the guest's kernel ends at the first oops: after one, nothing that it says is worth anything
APPEND = "console=ttyS0 quiet panic=-1 oops=panic rdinit=/init"
IOMMU = "intel-iommu,caching-mode=on,intremap=on"
IOMMU_APPEND = "intel_iommu=on"
PORT_LINK = "x-speed=5"  # with a link of 8 GT/s or more the guest waits for a link-active bit after a bus reset
ADDRESS_BITS = 46  # eight times 512 GiB of BAR 0 above the guest's memory
KILL_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of the virtual machine. `append`: kernel parameters; `gpus`: sockets of vfio-user servers."""

    memory_mib: int = 3072
    processors: int = 2
    append: str = ""
    iommu: bool = False  # an emulated Intel IOMMU: vfio-pci in the guest needs one
    gpus: Sequence[Path] = ()


@dataclass(slots=True)
class Qemu:
    """A running QEMU; `port` is our end of the guest's serial port, `console` the file with its kernel's words."""

    process: subprocess.Popen[bytes]
    port: socket.socket
    console: Path
    errors: Path

    @property
    def ended(self) -> int | None:
        """The exit status, None while it runs."""
        return self.process.poll()

    def wait(self, limit_s: float) -> bool:
        """Did it end by itself within the limit?"""
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        self.port.close()
        if self.process.poll() is None:
            self.process.terminate()  # `timeout` hands it on, and kills after KILL_AFTER_S
            if not self.wait(KILL_AFTER_S + 1):
                self.process.kill()
                self.wait(1)


def start(parts: Parts, machine: Machine, initrd: Path, folder: Path, limit_s: float) -> Qemu:
    """Start QEMU; `timeout` of coreutils ends it should we die before it."""
    ours, its = socket.socketpair()
    console, errors = folder / "console.log", folder / "qemu.err"
    console.touch()
    try:
        with errors.open("wb") as stream, its:
            words = command(parts, machine, initrd, console, its.fileno())
            process = subprocess.Popen(
                [*limited(limit_s), *words],
                env=parts.qemu.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=[its.fileno()],
                start_new_session=True,  # Ctrl-C is for us; we end it in order
            )
    except BaseException:
        ours.close()
        raise
    return Qemu(process, ours, console, errors)


def command(parts: Parts, machine: Machine, initrd: Path, console: Path, port_fd: int) -> list[str]:
    """The whole command line; `port_fd`: our socket, which becomes the guest's /dev/vport0p1."""
    memory = f"{machine.memory_mib}M"
    words = [word for folder in DATA for word in ("-L", str(parts.qemu.root / folder))]
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    words += ["-machine", "q35,memory-backend=ram", "-accel", "tcg,thread=multi"]
    words += ["-cpu", f"qemu64,phys-bits={ADDRESS_BITS}", "-smp", str(machine.processors), "-m", memory]
    words += ["-object", f"memory-backend-memfd,id=ram,size={memory},share=on"]
    words += ["-kernel", str(parts.kernel.image), "-initrd", str(initrd)]
    words += ["-append", " ".join(filter(None, (APPEND, IOMMU_APPEND if machine.iommu else "", machine.append)))]
    words += ["-device", IOMMU] if machine.iommu else []  # before all devices that are to be behind it
    words += ["-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"]
    words += ["-chardev", f"socket,id=agent,fd={port_fd}", "-device", "virtio-serial-pci,max_ports=2"]
    words += ["-device", "virtserialport,chardev=agent,nr=1,name=agent"]
    for index, path in enumerate(machine.gpus):
        words += gpu(index, path)
    return parts.qemu.command(PROGRAM, words)


def gpu(index: int, path: Path) -> list[str]:
    """A root port of its own for each GPU, as on real boards: the kernel can reset the bus below it."""
    port = f"port{index}"
    device = {"driver": "vfio-user-pci", "socket": {"path": str(path), "type": "unix"}, "bus": port}
    slot = f"chassis={index + 1},slot={index + 1}"
    return ["-device", f"pcie-root-port,id={port},{slot},{PORT_LINK}", "-device", json.dumps(device)]


def limited(limit_s: float) -> list[str]:
    """The words before a command that end it whatever becomes of us."""
    if shutil.which("timeout") is None:
        raise Unavailable(
            "starting the guest",
            expected="the program timeout (coreutils), which ends it whatever happens",
            seen="none",
        )
    # should we be killed, it goes at once where setpriv (util-linux) is there, else at its limit
    with_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return [*with_us, "timeout", f"--kill-after={KILL_AFTER_S}", f"{limit_s:.0f}"]


def memory_free_mib() -> int | None:
    """What this machine can give to a guest; None where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:  # noqa: PTH123
            rows = dict(line.split(":", 1) for line in stream)
        return int(rows["MemAvailable"].split()[0]) >> 10
    except (OSError, KeyError, ValueError):
        return None


def require_memory(machine: Machine) -> None:
    """Refuse before the guest begins to swap: nothing in it would end in time."""
    free = memory_free_mib()
    if free is not None and free < machine.memory_mib:
        raise Unavailable(
            "starting the guest",
            expected=f"{machine.memory_mib} MiB of free memory",
            seen=f"{free} MiB",
            next_step="--memory asks for less",
        )
