"""PSP: bootloader, secure OS, ring, commands, applications; against a PSP of a few lines that obeys, refuses or is silent."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from amdriver import firmware_set, psp
from amdriver.psp import Application, BootloaderRefused, CommandRefused, Psp
from amdriver.xgmi import Peer, Xgmi, XgmiRefused, join
from base.clock import VirtualClock
from base.errors import DeviceLost, WaitTimeout
from registers.amd.structs_psp import psp_gfx_cmd_resp
from tests import boot_fakes as fakes
from tests import firmware_files
from tests.boot_fakes import C35, C64, C67, C71, C81, READY, FakeGmc, FakePsp, FakeTransport, words

PUB_SCRATCH0 = 0x03B10090
ORDER = [0x80000, 0x10000, 0xB0000, 0xD0000, 0xC0000, 0xE0000, 0x20000]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in firmware_files.chip_folder().items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


class Bench:
    """A PSP block under test on a fake, with memory allocated."""

    def __init__(self, folder: Path, *, nodes: int = 1, sos: bool = False) -> None:
        self.clock = VirtualClock()
        self.transport = FakeTransport()
        self.transport.smn[PUB_SCRATCH0] = 0x00557900
        self.fake = FakePsp(self.transport, self.clock)
        self.gpu = fakes.fake_gpu(self.transport, clock=self.clock)
        self.gmc = FakeGmc(self.transport, nodes)
        self.firmware = firmware_set.load(self.gpu.part, self.gpu.ip, [folder])
        self.psp = Psp(self.gpu, self.gmc.as_gmc, self.firmware)
        self.psp.sw_init()
        if sos:
            self.fake.alive()


@pytest.fixture
def cold(folder: Path) -> Bench:
    return Bench(folder)


@pytest.fixture
def ring(folder: Path) -> Bench:
    made = Bench(folder, sos=True)
    made.psp.create_ring()
    made.psp.read_sos_version()
    return made


# ---------------------------------------------------------------- bootloader


def test_psp_cold_hands_over_every_component_in_order(cold: Bench) -> None:
    cold.psp.start_bootloader()
    cold.psp.start_sos()
    assert [command for command, _ in cold.fake.components] == ORDER
    assert all(data[0x10:0x14] == b"$PS1" for _, data in cold.fake.components)
    assert cold.psp.sos_version == 0x00360260


def test_psp_interrupted_among_the_components_goes_on_with_the_next(cold: Bench) -> None:
    told: list[int] = []
    cold.psp.start_bootloader(4, told.append)
    assert [command for command, _ in cold.fake.components] == ORDER[4:6]
    assert told == [5, 6]
    cold.psp.start_bootloader(6, told.append)
    assert told == [5, 6]


def test_psp_staging_memory_is_aligned_to_what_its_register_holds(cold: Bench) -> None:
    cold.psp.start_bootloader()
    assert {value for _, value in cold.transport.writes(fakes.C36)} == {(fakes.MC_BASE + (1 << 20)) >> 20}


def test_psp_old_power_firmware_gets_the_aux_set(cold: Bench) -> None:
    cold.transport.smn[PUB_SCRATCH0] = 0x00557200
    cold.psp.start_bootloader()
    versions = {struct.unpack_from("<I", data, 0x60)[0] for command, data in cold.fake.components if command == 0x10000}
    assert versions == {0x0036024E}


@pytest.mark.parametrize(("command", "name"), [(0x80000, "KDB"), (0xB0000, "SOC_DRV"), (0xE0000, "RAS_DRV")])
def test_psp_bootloader_refuses_a_component_told_at_once_and_by_name(cold: Bench, command: int, name: str) -> None:
    cold.fake.error[command] = 0x1F
    with pytest.raises(BootloaderRefused) as error:
        cold.psp.start_bootloader()
    assert (error.value.component, error.value.code) == (name, 0x1F)
    assert "C2PMSG_35=0x8000001f (error 0x1f); C2PMSG_92=0x000000ba" in str(error.value)
    assert cold.clock.now() < 0.1


def test_psp_bootloader_silent_ends_after_the_kernels_limit_with_the_boot_status(cold: Bench) -> None:
    cold.transport.registers[C35] = 0x1234_0000
    with pytest.raises(WaitTimeout) as error:
        cold.psp.start_bootloader()
    assert error.value.doing == "waiting for the bootloader (KDB)"
    assert "C2PMSG_35=0x12340000" in error.value.seen
    assert "C2PMSG_126=0x00000000" in error.value.seen
    assert "bus-reset" in error.value.next_step
    assert 300 <= cold.clock.now() < 301
    assert cold.fake.components == []


@pytest.mark.parametrize("after_s", [0.0, 0.019, 0.05, 0.119])
def test_psp_sos_sign_of_life_early_or_late_is_seen(cold: Bench, after_s: float) -> None:
    cold.fake.sos_after_s = after_s
    cold.psp.start_sos()
    assert 0.02 <= cold.clock.now() < 0.13


def test_psp_sos_without_sign_of_life_ends_in_bounded_time(cold: Bench) -> None:
    cold.fake.sos_after_s = None
    with pytest.raises(WaitTimeout, match="starting the secure OS") as error:
        cold.psp.start_sos()
    assert "C2PMSG_35=0x80000000" in error.value.seen
    assert cold.clock.now() < 0.2


def test_psp_sos_refused_is_no_timeout(cold: Bench) -> None:
    cold.fake.sos_after_s = None
    cold.fake.error[0x20000] = 0x0A
    with pytest.raises(BootloaderRefused, match="bootloader component SOS refused by the PSP"):
        cold.psp.start_sos()


def test_psp_device_gone_while_waiting_is_device_lost(cold: Bench) -> None:
    cold.transport.lost = True
    with pytest.raises(DeviceLost):
        cold.psp.start_bootloader()
    with pytest.raises(DeviceLost):
        cold.psp.is_sos_alive()


# ---------------------------------------------------------------- ring


def test_psp_ring_is_told_by_address_and_size(ring: Bench) -> None:
    low, high, size = (ring.transport.registers[offset] for offset in (fakes.C69, fakes.C70, C71))
    assert (high << 32 | low) % 4096 == 0
    assert size == 0x1000
    assert ring.transport.writes(C64) == [(C64, 0x20000)]


def test_psp_ring_creation_refused_is_no_timeout(folder: Path) -> None:
    made = Bench(folder, sos=True)
    made.fake.status[0x20000] = 0x0007
    with pytest.raises(CommandRefused, match="creating the ring") as error:
        made.psp.create_ring()
    assert error.value.status == 7
    assert not made.psp.ring_created


def test_psp_ring_never_ready_ends_in_bounded_time(folder: Path) -> None:
    made = Bench(folder, sos=True)
    made.transport.registers[C64] = 0
    with pytest.raises(WaitTimeout, match="before creating the ring"):
        made.psp.create_ring()
    assert made.clock.now() < 0.2


def test_psp_ring_wraps_and_keeps_every_command(ring: Bench) -> None:
    for number in range(150):
        ring.psp.submit(psp_gfx_cmd_resp(cmd_id=0xB), f"command {number}")
    assert [number for number, _ in ring.fake.commands] == [0xB] * 150
    assert {value for _, value in ring.transport.writes(C67)} == set(range(0, 1024, 16))


def test_psp_command_refused_names_it_and_its_status(ring: Bench) -> None:
    ring.fake.status[5] = 0xFFFF000A
    with pytest.raises(CommandRefused) as error:
        ring.psp.setup_tmr()
    assert error.value.status == 0xFFFF000A
    assert "PSP command SETUP_TMR refused by the PSP" in str(error.value)
    assert "(not supported)" in error.value.seen


def test_psp_ring_dead_ends_in_bounded_time_and_names_the_command(ring: Bench) -> None:
    ring.fake.silent = True
    with pytest.raises(WaitTimeout) as error:
        ring.psp.setup_tmr()
    assert error.value.doing == "PSP command SETUP_TMR"
    assert "C2PMSG_67=0x10" in error.value.where
    assert ring.clock.now() < 2.2


def test_psp_tmr_is_the_one_of_the_boot_firmware(ring: Bench) -> None:
    ring.psp.setup_tmr()
    ((number, command),) = ring.fake.commands
    assert number == 5
    assert words(command, 6) == (0, 0, 0, 2, 0, 0)


# ---------------------------------------------------------------- firmware and applications


def test_psp_firmware_is_loaded_in_the_kernels_order(ring: Bench) -> None:
    ring.psp.load_firmware()
    types = [words(command, 4)[3] for number, command in ring.fake.commands if number == 6]
    assert types == [129, 9, 10, 52, 53, 4, 5, 22, 20, 21, 8, 67]


def test_psp_firmware_old_secure_os_gets_no_p2s_table(ring: Bench) -> None:
    ring.psp.sos_version = 0x0036003B
    ring.psp.load_firmware()
    assert words(ring.fake.commands[0][1], 4)[3] == 9


def test_psp_firmware_is_copied_once_and_each_piece_lies_at_a_page(ring: Bench) -> None:
    before = ring.gmc.flushes
    ring.psp.load_firmware()
    places = [words(command, 4) for _, command in ring.fake.commands]
    assert all(low % 4096 == 0 for low, *_ in places)
    by_type = {kind: (low, high, size) for low, high, size, kind in places}
    assert len({by_type[kind] for kind in (9, 10, 52, 53)}) == 1
    low, high, size = by_type[4]
    mec = ring.firmware.files["gc_9_4_3_mec.bin"]
    code = mec.find("MEC")
    assert code is not None
    assert ring.transport.peek((high << 32 | low) - fakes.MC_BASE, size) == mec.payload(code)
    assert ring.gmc.flushes - before == 1 + len(places)  # the copy, and one for each command


def test_psp_firmware_refused_names_the_piece(ring: Bench) -> None:
    ring.fake.status[6] = 0xFFFF0007
    with pytest.raises(CommandRefused, match=r"LOAD_IP_FW \(P2S_TABLE, type 129\)"):
        ring.psp.load_firmware()


def test_psp_alone_loads_the_ras_application_only(ring: Bench) -> None:
    ring.transport.registers[0x582FC] = 0x01067F7F
    ring.psp.memory_partitions = 4
    ring.psp.load_applications()
    assert [number for number, _ in ring.fake.commands] == [1]
    assert ring.psp.xgmi is None
    shared = ring.transport.peek(ring.fake.shared[1], 24)
    assert shared[16:18] == b"\1\1"  # poison is known, a discrete GPU
    assert shared[21] == 4  # NPS4
    assert int.from_bytes(shared[18:20], "little") == 0xFF  # all XCCs


def test_psp_goes_as_the_kernel_goes(folder: Path) -> None:
    made = Bench(folder, nodes=8)
    made.psp.hw_init()
    del made.fake.commands[:]
    made.psp.hw_fini()
    assert [number for number, _ in made.fake.commands] == [2, 2, 7]
    assert [words(command, 1)[0] for _, command in made.fake.commands[:2]] == [1, 2]
    assert made.transport.writes(C64)[-1] == (C64, 0x30000)
    made.psp.sw_fini()
    made.psp.sw_fini()
    assert made.gmc.live == []


def test_psp_secure_os_alive_skips_the_bootloader(folder: Path) -> None:
    made = Bench(folder, sos=True)
    made.psp.hw_init()
    assert made.fake.components == []
    assert made.psp.sos_version == 0x00360260


def test_psp_partitions_are_asked_for(ring: Bench) -> None:
    ring.psp.set_partitions(1)
    assert (ring.fake.commands[0][0], words(ring.fake.commands[0][1], 1)) == (0x27, (1,))


def test_psp_command_names_are_the_kernels() -> None:
    assert psp.command_name(6) == "LOAD_IP_FW"
    assert psp.command_name(0x99) == "0x99"


# ---------------------------------------------------------------- XGMI application


class FakeXgmi:
    """Answers in the shared memory, at the offsets of amdgpu-on-model.md item 55."""

    def __init__(self, bench: Bench, node_id: int, hive_id: int = 0x1234) -> None:
        self.bench, self.node_id, self.hive_id = bench, node_id, hive_id
        self.told: list[int] = []
        self.status = 0
        bench.fake.on_invoke = self.run
        application = Application(bench.psp, "XGMI", bench.gmc.alloc_vram(0x4000))  # type: ignore[arg-type]
        image = bench.gmc.alloc_vram(0x1000)
        application.load(image, 0, 0x800)  # type: ignore[arg-type]
        self.xgmi = Xgmi(application, "fake")

    def run(self, session: int, command: int) -> None:
        at, transport = self.bench.fake.shared[session], self.bench.transport
        transport.poke(at + 4, struct.pack("<II", command | 0x80000000, self.status))
        if command == 0:
            transport.poke(at + 13, b"\1")
        elif command in (1, 2):
            transport.poke(at + 1048, struct.pack("<Q", self.node_id if command == 1 else self.hive_id))
        elif command == 4:
            count = struct.unpack("<I", transport.peek(at + 16, 4))[0]
            self.told = [struct.unpack("<Q", transport.peek(at + 24 + 16 * n, 8))[0] for n in range(count)]
        elif command == 3:
            nodes = b"".join(struct.pack("<QBB2xi", n, n != self.node_id, 1, -1) for n in self.told)
            transport.poke(at + 1048, struct.pack("<I4x", len(self.told)) + nodes)
        elif command == 0xC:
            for n in range(len(self.told)):
                transport.poke(at + 1056 + 32 * n + 8, b"\2")


def test_xgmi_join_tells_everybody_and_gives_hops_and_links(folder: Path) -> None:
    one, two = (FakeXgmi(_ringed(folder), node) for node in (0xA, 0xB))
    for fake in (one, two):
        fake.xgmi.initialize()
    assert (one.xgmi.hive_id, one.xgmi.node_id, two.xgmi.node_id) == (0x1234, 0xA, 0xB)
    told = join([one.xgmi, two.xgmi])
    assert one.told == two.told == [0xA, 0xB]
    assert told[0xA] == [Peer(0xA, 0, 2), Peer(0xB, 1, 2)]


def test_xgmi_refusal_carries_its_status(folder: Path) -> None:
    fake = FakeXgmi(_ringed(folder), 1)
    fake.status = 7
    with pytest.raises(XgmiRefused, match="INITIALIZE") as error:
        fake.xgmi.initialize()
    assert "status 0x7 (INVALID_TOPOLOGY)" in error.value.seen


def test_xgmi_members_of_two_hives_are_not_joined(folder: Path) -> None:
    fakes_ = [FakeXgmi(_ringed(folder), 1, hive) for hive in (1, 2)]
    for fake in fakes_:
        fake.xgmi.initialize()
    with pytest.raises(XgmiRefused, match="joining a hive") as error:
        join([fake.xgmi for fake in fakes_])
    assert error.value.seen == "0x1, 0x2"
    assert fakes_[0].told == []


def test_xgmi_more_nodes_than_the_application_knows_is_a_mistake(folder: Path) -> None:
    fake = FakeXgmi(_ringed(folder), 1)
    with pytest.raises(ValueError, match="65 nodes"):
        fake.xgmi.set_topology(range(65))


def _ringed(folder: Path) -> Bench:
    made = Bench(folder, sos=True)
    made.psp.create_ring()
    return made


def test_psp_sign_of_life_is_not_taken_from_a_dead_register(cold: Bench) -> None:
    cold.transport.on_read[C81] = lambda: 0xFFFFFFFF
    with pytest.raises(WaitTimeout):
        cold.psp.start_sos()
    assert cold.transport.registers[C35] == READY
