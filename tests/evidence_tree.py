"""A machine made of files for the tests of evidence/: healthy where it can be, hostile where it likes, full of secrets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from amdriver.parts import Part, part_of
from base.clock import Clock, RealClock
from evidence import Limits, Places
from pcibus.sysfs import SysfsTransport
from pcibus.transport import Transport
from tests.fakesys import FakeBar, FakeSys, config_space

GPU = "0000:c1:00.0"
BRIDGE = "0000:c0:00.0"
SERIAL = 0x5EC2E7AB1DE7F00D
HOST, DOMAIN, USER = "turing-node7", "example.lab", "alice-secret"
IPV4, IPV6, MAC = "192.0.2.77", "2001:db8::dead:77", "02:42:ac:de:ad:07"
BOARD_SERIAL = "BSN-778899-XY"
SHADOW = "root:$6$shadow-secret:19000"
SECRETS = (
    HOST, USER, f"{SERIAL:016x}", IPV4, IPV6, MAC, MAC.replace(":", "-"), MAC.upper(), BOARD_SERIAL, SHADOW, "shadow-secret",
)  # fmt: skip
PLANTED = (
    f"host {HOST} and {HOST}.{DOMAIN} user {USER} in /home/{USER}/x serial {SERIAL:016x} 0x{SERIAL:016x} board {BOARD_SERIAL} "
    f"ip {IPV4}, {IPV4}:8080 ip6 {IPV6} [{IPV6}]:22 {IPV6}/64 mac {MAC} {MAC.upper()} {MAC.replace(':', '-')}"
)
QUICK_LIMITS = Limits(budget_s=60, fast_s=20, hardware_s=20, driver_s=20, logs_s=20)


@dataclass(slots=True)
class Gpu:
    """A subject as `evidence` wants it."""

    index: int
    transport: Transport
    part: Part
    clock: Clock


@dataclass(slots=True)
class Machine:
    """The tree; `places` for `collect`, `subject` the one GPU."""

    fake: FakeSys
    places: Places
    subject: Gpu
    outside: Path

    @property
    def device(self) -> Path:
        return self.fake.device(GPU).path


def machine(tmp_path: Path, *, journalctl: Path | None = None) -> Machine:
    """One GPU below one bridge, amdgpu bound, secrets in every text that there is."""
    fake = FakeSys(tmp_path)
    config = config_space(serial=SERIAL)
    fake.add_device(
        BRIDGE, vendor=0x1022, device=0x14AB, class_code=0x060400, config=config_space(header_type=1, port_type=4)
    )
    fake.add_device(
        GPU, below=BRIDGE, config=config, driver="amdgpu", bars={5: FakeBar(0xE0000000, 1 << 21)}, power_state="D0",
        attributes={
            "unique_id": f"{SERIAL:016x}", "serial_number": BOARD_SERIAL, "product_name": PLANTED,
            "product_number": "102-G30211-00", "vbios_version": "113-M3000100-102", "aer_dev_correctable": f"RxErr 0 {PLANTED}",
            "ras/umc_err_count": "ue: 0", "ras/features": PLANTED, "hwmon/hwmon3/name": "amdgpu",
            "hwmon/hwmon3/temp1_input": "45000", "pp_dpm_sclk": "0: 132Mhz *", "gpu_metrics": f"\x00\x01{HOST}{USER}",
            "pm_metrics": "binary", "xgmi_error": "must not be read",
            "reg_state": "xgmi state", "amdgpu_gpu_recover": "must not be read", "rom": "must not be read",
            "xgmi_hive_info/xgmi_hive_id": "1234567890",
        },
    )  # fmt: skip
    (fake.device(GPU).path / "xgmi_hive_info/node1").symlink_to(fake.device(GPU).path)
    _proc(fake)
    dev, etc, opt = tmp_path / "dev", tmp_path / "etc", tmp_path / "opt"
    for folder in (dev, etc, opt):
        folder.mkdir()
    (dev / "kmsg").write_text(f"<6>[    1.000000] {PLANTED}\n" * 3)
    (etc / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{USER}:x:1001:1001::/home/{USER}:/bin/sh\n")
    (etc / "hostname").write_text(f"{HOST}\n")
    (etc / "os-release").write_text('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "shadow").write_text(SHADOW)
    _sys(fake)
    transport = SysfsTransport(GPU, root=fake.root, lock_dir=fake.locks, proc=fake.proc)
    part = part_of(0x1002, 0x74A1)
    assert part is not None
    places = Places(fake.root, fake.proc, dev, etc, opt, journalctl)
    return Machine(fake, places, Gpu(0, transport, part, RealClock()), outside)


def _proc(fake: FakeSys) -> None:
    (fake.proc / "sys/kernel").mkdir(parents=True)
    (fake.proc / "sys/kernel/hostname").write_text(f"{HOST}\n")
    (fake.proc / "sys/kernel/domainname").write_text(f"{DOMAIN}\n")
    (fake.proc / "version").write_text(f"Linux version 7.3.4 ({USER}@{HOST})\n")
    (fake.proc / "cmdline").write_text(f"root=/dev/sda1 ip={IPV4} hostname={HOST}\n")
    (fake.proc / "cpuinfo").write_text("processor : 0\nmodel name : AMD EPYC 9654\n\nprocessor : 1\n")
    fake.add_process(
        4242, USER[:15], fds=[f"/sys/bus/pci/devices/{GPU}/resource5"], cgroup=f"0::/user.slice/{USER}.scope"
    )


def _sys(fake: FakeSys) -> None:
    net = fake.root / "class/net/eth0"
    net.mkdir(parents=True)
    (net / "address").write_text(f"{MAC}\n")
    dmi = fake.root / "class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "board_serial").write_text(f"{BOARD_SERIAL}\n")
    (dmi / "product_name").write_text(f"Server {PLANTED}\n")
    dump = fake.root / "devices/virtual/devcoredump/devcd1"
    dump.mkdir(parents=True)
    (dump / "data").write_text(f"**** AMDGPU Device Coredump ****\n{PLANTED}\n")
    (dump / "failing_device").symlink_to(fake.device(GPU).path)
    (fake.root / "class/devcoredump").mkdir(parents=True)
    (fake.root / "class/devcoredump/devcd1").symlink_to(dump)
    debug = fake.root / "kernel/debug/dri" / GPU
    (debug / "ras").mkdir(parents=True)
    (debug / "amdgpu_firmware_info").write_text(f"VCE feature version: 0 {PLANTED}\n")
    (debug / "amdgpu_ring_gfx").write_bytes(bytes(range(256)) + HOST.encode())
    (debug / "amdgpu_gpu_recover").write_text("must not be read")


def make_hostile(machine: Machine) -> None:
    """Links out of the tree, FIFOs, something huge, something without rights, something that is no text."""
    device = machine.device
    (device / "vbios_build").symlink_to(machine.outside / "shadow")
    (device / "board_info").symlink_to("/etc/shadow")
    os.mkfifo(device / "pp_features")
    with (device / "pp_od_clk_voltage").open("wb") as file:
        file.truncate(1 << 40)
    (device / "manufacturer").write_bytes(b"\xff\xfe\x00bin" + PLANTED.encode() + b"\x80\x81")
    (device / "fw_version").symlink_to(machine.outside)
    (machine.outside / "smc_fw_version").write_text(SHADOW)
    dumps = machine.fake.root / "class/devcoredump"
    (dumps / "devcd2").symlink_to(machine.outside)
    (machine.outside / "data").write_text(SHADOW)
    (dumps / "devcd3").mkdir()
    (dumps / "devcd3/data").symlink_to(machine.outside / "shadow")
    debug = machine.fake.root / "kernel/debug/dri" / GPU
    (debug / "amdgpu_vm_info").symlink_to(machine.outside / "shadow")
    os.mkfifo(debug / "amdgpu_gem_info")


def raw_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a bundle by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
