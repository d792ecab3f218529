"""Video engines: start by a list of registers, pause, the unified ring, sessions, interrupts, wrong use."""

from __future__ import annotations

import struct

import pytest

from gpumodel.vcn import BadList
from tests.model.firmware_host import host
from tests.video_rig import (
    LMA_CTL,
    LMA_DATA,
    PARTS,
    PAUSE,
    RING,
    RPTR,
    RRMT,
    VCN_FIRMWARE,
    WPTR,
    VideoRig,
    buffer,
    fence,
    message_buffer,
    register_wait,
    register_write,
)

BOTH = pytest.mark.parametrize("part", PARTS)
END = (1,)
TRAP = (4,)
HERE = 0x5000
IB = 0x60_0000
MESSAGE = 0x70_0000
CREATE = (0x28, 0x38, 1, 0, 1, 0, 1, 0x28, 0x10, 0, 7, 0, 0x780, 0x440)
DESTROY = (0x28, 0x18, 0, 2, 1, 0)


@BOTH
@pytest.mark.parametrize("aid", range(4))
def test_engine_started_by_a_list_passes_the_ring_test(part: str, aid: int) -> None:
    rig = VideoRig(part, aid).start()
    assert rig.read(PAUSE) == 0xC
    before = rig.read(RPTR)
    rig.submit(END, *[(0,)] * 63)
    assert (before, rig.read(RPTR), rig.read(WPTR)) == (0, 64, 64)
    assert {(hub, vmid) for hub, vmid, _ in rig.rig.memory.seen} == {(f"MMHUB[{aid}]", 0)}
    assert rig.gpu.wrongs == []
    assert not rig.gpu.unknown_accesses


@BOTH
def test_status_and_acknowledgement_come_with_the_firmware_and_not_before(part: str) -> None:
    rig = VideoRig(part, 2)
    status = f"VCN[{rig.aid}].UVD_STATUS"
    rig.write(PAUSE, 4)
    rig.rig.run()
    assert (rig.read(PAUSE), rig.rig.reg(status)) == (4, 0)
    rig.gpu.vcn.apply(rig.start_list())
    assert (rig.read(PAUSE), rig.rig.reg(status)) == (4, 0)
    rig.rig.run(1e-3)
    assert (rig.read(PAUSE), rig.rig.reg(status)) == (0xC, 2)
    rig.write(PAUSE, 8)
    rig.rig.run()
    assert rig.read(PAUSE) == 0


@BOTH
def test_released_without_firmware_it_never_runs(part: str) -> None:
    rig = VideoRig(part, firmware=False).start()
    rig.submit(END)
    assert (rig.read(PAUSE), rig.read(RPTR)) == (4, 0)
    assert rig.gpu.wrongs == ["vcn: engine 0: released without firmware"]


@pytest.mark.parametrize("shared", [{"flags": 0}, {"enabled": 0}, {"mode": 1}])
def test_ring_is_not_served_unless_the_shared_memory_says_so(shared: dict[str, int]) -> None:
    rig = VideoRig().start()
    rig.share(**shared)
    rig.submit(fence(HERE, 1))
    assert rig.rig.get(HERE) == 0
    rig.share()
    rig.submit(END)
    assert rig.rig.get(HERE) == 1


@BOTH
def test_list_reaches_both_windows_of_the_engine_that_it_names(part: str) -> None:
    rig = VideoRig(part)
    rig.gpu.vcn.apply(rig.list_of((0x2, 5), (rig.master, 2), (0x42, 0x77), aid=3))
    got = [rig.rig.reg(f"VCN[3].{name}") for name in ("UVD_POWER_STATUS", "UVD_MASTINT_EN", "UVD_GFX10_ADDR_CONFIG")]
    assert got == [5, 2, 0x77]
    assert rig.read(0x2) == 0
    assert not rig.gpu.unknown_accesses


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "a list of 0 bytes"),
        (bytes(12), "a list of 12 bytes"),
        (bytes(520), "a list of 520 bytes"),
        (struct.pack("<IIII", 0x100, 0, 0, 1), "begins with 0x100, 0x0"),
        (struct.pack("<IIII", 0xDEADBEEF, 4, 0, 1), "begins with 0xdeadbeef, 0x4"),
    ],
)
def test_list_that_is_none_is_refused(data: bytes, text: str) -> None:
    rig = VideoRig()
    with pytest.raises(BadList, match=text):
        rig.gpu.vcn.apply(data)
    assert not rig.gpu.unknown_accesses


@BOTH
def test_psp_takes_the_list_as_firmware_type_49_and_refuses_garbage(part: str) -> None:
    list_rig = VideoRig(part, aid=1)
    gpu = host(part)
    gpu.open_ring()
    gpu.send(5, tmr_flags=2)
    assert gpu.load(49, list_rig.start_list()) == 0
    gpu.clock.sleep(1e-3)
    gpu.read(0)
    assert gpu.gpu.vcn.engines[1].awake
    assert [engine.awake for engine in gpu.gpu.vcn.engines] == [False, True, False, False]
    assert gpu.load(49, bytes(0xC0)) == 0xFFFF0006
    assert any("a list that begins with 0x0, 0x0" in wrong for wrong in gpu.gpu.wrongs)


@BOTH
def test_fence_and_trap_tell_of_a_finished_job(part: str) -> None:
    rig = VideoRig(part, 3).start()
    rig.submit(fence(HERE, 7), TRAP)
    assert rig.rig.get(HERE) == 7
    sent = rig.rig.interrupts.sent
    assert [(one.client, one.source, one.node, one.ring_id) for one in sent] == [(0x10, 119, 12, 0)]


@BOTH
def test_trap_without_the_master_interrupt_is_not_told(part: str) -> None:
    rig = VideoRig(part).start()
    rig.write(rig.master, 0)
    rig.submit(TRAP)
    assert rig.rig.interrupts.sent == []


@BOTH
@pytest.mark.parametrize("vmid", [0, 5])
def test_messages_open_and_close_a_session(part: str, vmid: int) -> None:
    rig = VideoRig(part).start()
    engine = rig.gpu.vcn.engines[0]
    words = message_buffer(MESSAGE)
    rig.rig.put(IB, *words)
    rig.rig.put(MESSAGE, *CREATE)
    rig.submit(buffer(IB, len(words) + 8, vmid), fence(HERE, 1))
    assert (engine.sessions, rig.rig.get(HERE)) == ({1}, 1)
    rig.rig.put(MESSAGE, *DESTROY)
    rig.submit(buffer(IB, len(words) + 8, vmid), fence(HERE, 2))
    assert (engine.sessions, rig.rig.get(HERE)) == (set(), 2)
    assert ("MMHUB[0]", vmid, 0) in rig.rig.memory.seen
    assert rig.gpu.wrongs == []


def test_message_for_a_session_that_is_not_open_stops_the_engine() -> None:
    rig = VideoRig().start()
    words = message_buffer(MESSAGE)
    rig.rig.put(IB, *words)
    rig.rig.put(MESSAGE, *DESTROY)
    rig.submit(buffer(IB, len(words)), fence(HERE, 1))
    assert rig.rig.get(HERE) == 0
    assert rig.gpu.wrongs == ["vcn: engine 0: message 2 of session 0x1, with 0 sessions open"]


def test_decoding_is_recorded_as_not_modelled_and_the_job_ends() -> None:
    rig = VideoRig().start()
    words = message_buffer(MESSAGE)
    rig.rig.put(IB, *words)
    rig.rig.put(MESSAGE, 0x28, 0x38, 1, 1, 1, 0)
    rig.submit(buffer(IB, len(words)), fence(HERE, 1))
    assert rig.rig.get(HERE) == 1
    assert rig.gpu.wrongs == ["vcn: engine 0: decoding is not modelled: it leaves no picture"]
    assert rig.gpu.unknown_accesses == {("vcn-job", 0): 1}


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (2, 0x123, "checksum"),
        (4, 0x6, "part 0x30000001 of 0x6 bytes"),
        (8, 0x4000, "part 0x1 of 0x4000 bytes"),
        (3, 0x4000, "checksum"),
    ],
)
def test_broken_indirect_buffer_stops_the_engine(place: int, value: int, text: str) -> None:
    rig = VideoRig().start()
    words = list(message_buffer(MESSAGE))
    words[place] = value
    if place > 3:
        words[2] = sum(words[4:]) & 0xFFFFFFFF
    rig.rig.put(IB, *words)
    rig.rig.put(MESSAGE, *CREATE)
    rig.submit(buffer(IB, len(words)), fence(HERE, 1))
    assert rig.rig.get(HERE) == 0
    assert any(text in wrong for wrong in rig.gpu.wrongs), rig.gpu.wrongs


@pytest.mark.parametrize("aid", [0, 2])
def test_register_numbers_are_local_to_the_aid_unless_rrmt_is_on(aid: int) -> None:
    rig = VideoRig(aid=aid).start()
    scratch = 0x7E00 + 0x127  # UVD_CONTEXT_ID
    rig.submit(register_write(scratch, 0x55), register_wait(scratch, 0x55), fence(HERE, 1))
    assert (rig.rig.reg(f"VCN[{aid}].UVD_CONTEXT_ID"), rig.rig.get(HERE)) == (0x55, 1)
    rig.write(RRMT, 0x100)
    rig.submit(register_write(scratch + 0x20000, 0x66), fence(HERE, 2))
    assert (rig.rig.reg("VCN[1].UVD_CONTEXT_ID"), rig.rig.get(HERE)) == (0x66, 2)


@pytest.mark.parametrize("aid", range(4))
def test_pasid_of_a_vmid_can_be_set_by_the_ring_of_every_aid(aid: int) -> None:
    rig = VideoRig(aid=aid).start()
    table = rig.gpu.registers.layout.address("OSSSYS.IH_VMID_LUT_MM[0]")
    rig.submit(register_write(table, 0x33))
    block = f"OSSSYS[{aid}]" if aid else "OSSSYS"
    assert rig.rig.reg(f"{block}.IH_VMID_LUT_MM[0]") == 0x33
    assert not rig.gpu.unknown_accesses


def test_register_wait_holds_the_ring_until_it_is_right() -> None:
    rig = VideoRig().start()
    place = 0x7E00 + 0x127
    rig.submit(register_wait(place, 0x30, 0xF0), fence(HERE, 1))
    assert (rig.rig.get(HERE), rig.read(RPTR)) == (0, 0)
    rig.rig.set("VCN[0].UVD_CONTEXT_ID", 0x3F)
    rig.rig.run()
    assert (rig.rig.get(HERE), rig.read(RPTR)) == (1, 8)


def test_ring_wraps() -> None:
    rig = VideoRig(dwords=64).start()
    for number in range(40):
        rig.submit(fence(HERE, number))
        rig.submit(END)
    assert rig.rig.get(HERE) == 39
    assert rig.read(RPTR) == 200 % 64


def test_command_whose_rest_comes_later_waits_for_it() -> None:
    rig = VideoRig().start()
    rig.submit(fence(HERE, 9)[:2])
    assert (rig.rig.get(HERE), rig.read(RPTR)) == (0, 0)
    rig.submit(fence(HERE, 9)[2:])
    assert (rig.rig.get(HERE), rig.read(RPTR)) == (9, 4)


@pytest.mark.parametrize(
    ("command", "text"),
    [((0x99,), "command 0x99"), (fence(HERE + 1, 1), "not a multiple of 4"), (buffer(0x1_0000, 8), "no page")],
)
def test_what_the_firmware_cannot_do_stops_it_until_it_is_started_again(command: tuple[int, ...], text: str) -> None:
    rig = VideoRig().start()
    rig.rig.memory.forbidden.append(range(0x1_0000, 0x2_0000))
    rig.submit(command, fence(HERE, 1))
    assert rig.rig.get(HERE) == 0
    assert [text in wrong for wrong in rig.gpu.wrongs] == [True]
    rig.wptr = 0
    rig.start().submit(fence(HERE, 2))
    assert rig.rig.get(HERE) == 2


def test_pointer_beyond_the_ring_stops_it() -> None:
    rig = VideoRig().start()
    rig.gpu.vcn.doorbell(0, rig.doorbell, 0x1000)
    rig.rig.run()
    assert rig.gpu.wrongs == ["vcn: engine 0: pointers 0x0, 0x1000 in a ring of 0x80 dwords"]


def test_doorbell_while_the_ring_is_off_is_recorded() -> None:
    rig = VideoRig().start()
    rig.write(0x85, 0)
    rig.submit(END)
    assert rig.read(RPTR) == 0
    assert rig.gpu.wrongs == ["vcn: engine 0: doorbell 0x1 while the ring is off"]


def test_ring_can_be_driven_without_doorbell() -> None:
    rig = VideoRig().start()
    rig.put(fence(HERE, 3))
    rig.write(WPTR, rig.wptr)
    rig.rig.run()
    assert rig.rig.get(HERE) == 3


@BOTH
def test_register_of_a_list_can_be_reached_through_the_lma(part: str) -> None:
    rig = VideoRig(part, 1)
    shift = 16 if part == "mi300x" else 14
    rig.write(LMA_DATA, 0x1234)
    rig.write(LMA_CTL, rig.number(0x42) << shift | 1)
    assert rig.rig.reg("VCN[1].UVD_GFX10_ADDR_CONFIG") == 0x1234
    rig.rig.set("VCN[1].UVD_GFX10_ADDR_CONFIG", 0x4321)
    rig.write(LMA_CTL, rig.number(0x42) << shift)
    assert rig.read(LMA_DATA) == 0x4321


@BOTH
@pytest.mark.parametrize("aid", range(4))
def test_doorbell_of_the_bar_reaches_the_engine(part: str, aid: int) -> None:
    rig = VideoRig(part, aid).start()
    size = 9 if part == "mi300x" else 11
    rig.rig.set("NBIO[0].RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN", 1)
    rig.rig.set(f"NBIO[0].DOORBELL0_CTRL_ENTRY_{17 + aid}", rig.doorbell | size << 10)
    rig.rig.set(f"NBIO[{aid}].S2A_DOORBELL_ENTRY_4_CTRL", 1 | 4 << 1 | 4 << 7 | size << 17 | 4 << 28)
    rig.put(fence(HERE, 4))
    rig.rig.transport.write32(2, rig.doorbell * 4, rig.wptr)
    rig.rig.run()
    assert rig.rig.get(HERE) == 4
    assert rig.gpu.wrongs == []


def test_power_on_forgets_everything() -> None:
    rig = VideoRig().start()
    rig.gpu.power_on()
    assert (rig.gpu.vcn.engines[0].awake, rig.read(RPTR), rig.read(PAUSE)) == (False, 0, 0)
    assert VCN_FIRMWARE in rig.gpu.psp.loaded  # left by an earlier boot
    rig.rig.run()
    assert rig.rig.memory.data.read(RING, 4) == bytes(4)


@pytest.mark.parametrize("aid", range(4))
def test_tiles_are_powered_off_and_on_by_two_bits_each(aid: int) -> None:
    rig = VideoRig("mi300x", aid)
    config, status, jpeg, all_tiles = 0, 1, 22, 0x2AAA_AAAA  # UVD_PGFSM_*; UVDJ_PWR_CONFIG; 15 tiles, each off
    rig.write(config, 2 << jpeg)
    assert (rig.read(config), rig.read(status)) == (2 << jpeg, 2 << jpeg)
    rig.write(config, all_tiles & ~(3 << jpeg))  # the JPEG tile is not named: it stays as it is
    assert rig.read(status) == all_tiles
    rig.write(config, 1 << jpeg)
    assert rig.read(status) == all_tiles & ~(3 << jpeg)
