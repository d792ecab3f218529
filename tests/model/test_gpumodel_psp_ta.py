"""Trusted applications in the model's PSP: sessions, the XGMI application in a hive, the RAS application."""

from __future__ import annotations

import struct
from ctypes import sizeof
from pathlib import Path

import pytest

from gpumodel.psp_ring import Status
from gpumodel.psp_ta import MOST_SESSIONS, RAS_OUT_AT, hive_id, node_id
from gpumodel.xgmi import STATE_TRAINING, link_to
from registers.amd.structs_psp import psp_gfx_cmd_resp
from registers.amd.structs_ta import ta_xgmi_shared_memory
from tests.model.firmware_host import BLOB, SHARED, Files, Host, host, hosts

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
INITIALIZE, NODE_ID, HIVE_ID, GET_TOPOLOGY, SET_TOPOLOGY, LINKS, EXTENDED_LINKS = 0, 1, 2, 3, 4, 0xB, 0xC
OUT_AT = 1048  # item 55
NOT_INITIALIZED, INVALID_PARAMETER, BAD_COUNT, BAD_ID = 4, 3, 5, 6


class Xgmi:
    """The kernel's side of the XGMI application on one GPU."""

    def __init__(self, gpu: Host, files: Files) -> None:
        self.gpu = gpu
        gpu.open_ring()
        answer = gpu.load_ta(files.payload("ta", "XGMI")).resp
        assert answer.status == 0
        self.session = answer.session_id

    def invoke(self, command: int, memory: ta_xgmi_shared_memory | None = None) -> ta_xgmi_shared_memory:
        memory = memory or ta_xgmi_shared_memory()
        memory.cmd_id = command
        self.gpu.put(SHARED, bytes(memory))
        assert self.gpu.send(3, session_id=self.session, ta_cmd_id=command).resp.status == 0
        back = ta_xgmi_shared_memory.from_buffer_copy(self.gpu.get(SHARED, sizeof(ta_xgmi_shared_memory)))
        assert back.resp_id == command | 0x80000000
        return back

    def topology(self, command: int, ids: list[int]) -> ta_xgmi_shared_memory:
        memory = ta_xgmi_shared_memory()
        given = memory.xgmi_in_message.set_topology_info
        given.num_nodes = len(ids)
        for place, number in enumerate(ids):
            given.nodes[place].node_id = number
            given.nodes[place].is_sharing_enabled = 1
        return self.invoke(command, memory)

    def peer_links(self, ids: list[int]) -> list[int]:
        """The ids go where the answer comes."""
        memory = ta_xgmi_shared_memory()
        table = memory.xgmi_out_message.get_link_info
        table.num_nodes = len(ids)
        for place, number in enumerate(ids):
            table.nodes[place].node_id = number
        back = self.invoke(LINKS, memory).xgmi_out_message.get_link_info
        return [back.nodes[place].num_links for place in range(len(ids))]

    def extended_links(self, ids: list[int]) -> list[tuple[int, int, int]]:
        memory = ta_xgmi_shared_memory()
        table = memory.xgmi_out_message.get_extend_link_info
        table.num_nodes = len(ids)
        for place, number in enumerate(ids):
            table.nodes[place].node_id = number
        back = self.invoke(EXTENDED_LINKS, memory).xgmi_out_message.get_extend_link_info
        found = []
        for place in range(len(ids)):
            node = back.nodes[place]
            found.append((node.num_links, node.port_num[0].src_xgmi_port_num, node.port_num[0].dst_xgmi_port_num))
        return found


def hive(part: str, nodes: int, firmware_dir: Path) -> list[Xgmi]:
    files = Files(firmware_dir, part)
    members = [Xgmi(gpu, files) for gpu in hosts(f"{part}*{nodes}")]
    for member in members:
        assert member.invoke(INITIALIZE).caps_flag == 1
    return members


@pytest.fixture(scope="module")
def mi350x(firmware_dir: Path) -> Files:
    return Files(firmware_dir, "mi350x")


def ready(part: str = "mi350x") -> Host:
    gpu = host(part)
    gpu.open_ring()
    return gpu


# Sessions.


@BOTH
def test_applications_of_the_part_load_with_their_own_sessions_and_unload(firmware_dir: Path, part: str) -> None:
    gpu, files = ready(part), Files(firmware_dir, part)
    sessions = [gpu.load_ta(files.payload("ta", name)).resp.session_id for name in ("RAS", "XGMI")]
    assert sessions[0] != sessions[1]
    assert all(sessions)
    assert gpu.send(2, session_id=sessions[0]).resp.status == 0
    assert gpu.send(2, session_id=sessions[0]).resp.status == Status.ITEM_NOT_FOUND
    assert gpu.gpu.wrongs == [f"psp: command 0x2: there is no session {sessions[0]:#x}"]


def test_application_without_a_session_cannot_be_invoked() -> None:
    gpu = ready()
    assert gpu.send(3, session_id=0x55, ta_cmd_id=0).resp.status == Status.ITEM_NOT_FOUND
    assert gpu.gpu.wrongs == ["psp: command 0x3: there is no session 0x55"]


def test_application_that_is_none_or_foreign_or_off_a_page_is_refused(firmware_dir: Path, mi350x: Files) -> None:
    gpu = ready()
    assert gpu.load_ta(mi350x.payload("mec", "MEC")).resp.status == Status.BAD_FORMAT
    assert gpu.load_ta(Files(firmware_dir, "mi300x").payload("ta", "RAS")).resp.status == Status.SECURITY
    assert gpu.load_ta(mi350x.payload("ta", "XGMI"), SHARED + 8).resp.status == Status.BAD_PARAMETERS
    assert gpu.load_ta(mi350x.payload("ta", "XGMI"), SHARED, 0x100).resp.status == Status.BAD_PARAMETERS
    assert "it is MEC, not XGMI_TA/RAS_TA" in gpu.gpu.wrongs[0]
    assert "not in whole pages" in gpu.gpu.wrongs[2]


def test_psp_refuses_applications(mi350x: Files) -> None:
    gpu = ready()
    gpu.gpu.psp.refuses.add("ta")
    assert gpu.load_ta(mi350x.payload("ta", "XGMI")).resp.status == Status.GENERIC


def test_application_sessions_are_limited(mi350x: Files) -> None:
    gpu = ready()
    answers = [gpu.load_ta(mi350x.payload("ta", "XGMI")).resp.status for _ in range(MOST_SESSIONS + 1)]
    assert answers == [0] * MOST_SESSIONS + [Status.BAD_STATE]
    assert gpu.gpu.wrongs == ["psp: command 0x1: too many sessions"]


def test_application_sessions_end_with_the_ring(mi350x: Files) -> None:
    gpu = ready()
    session = gpu.load_ta(mi350x.payload("ta", "XGMI")).resp.session_id
    gpu.control(0x30000)
    gpu.open_ring()
    assert gpu.send(3, session_id=session, ta_cmd_id=0).resp.status == Status.ITEM_NOT_FOUND


def test_asd_takes_what_is_none_of_the_known_blobs(mi350x: Files) -> None:
    gpu = ready()
    asd = bytearray(mi350x.payload("ta", "XGMI"))
    place = gpu.mc(BLOB)
    fields = {"app_phy_addr_lo": place & 0xFFFFFFFF, "app_phy_addr_hi": place >> 32, "app_len": len(asd)}
    gpu.put(BLOB, bytes(asd))
    assert gpu.send(4, **fields).resp.status == Status.BAD_FORMAT
    assert "it is XGMI_TA, not something else" in gpu.gpu.wrongs[0]
    asd[0x58:0x5A] = b"\x34\x12"
    gpu.put(BLOB, bytes(asd))
    answer = gpu.send(4, **fields).resp
    assert answer.status == 0
    assert gpu.send(3, session_id=answer.session_id, ta_cmd_id=1).resp.status == 0


def test_application_with_a_buffer_for_each_command(mi350x: Files) -> None:
    gpu = ready()
    session = gpu.load_ta(mi350x.payload("ta", "XGMI"), 0, 0).resp.session_id
    command = psp_gfx_cmd_resp(cmd_id=3)
    invoke = command.cmd.cmd_invoke_cmd
    invoke.session_id, invoke.ta_cmd_id, invoke.buf.num_desc = session, INITIALIZE, 1
    only = invoke.buf.buf_desc[0]
    place = gpu.mc(SHARED)
    only.buf_phy_addr_lo, only.buf_phy_addr_hi, only.buf_size = place & 0xFFFFFFFF, place >> 32, 0x4000
    gpu.push(command)
    assert gpu.fenced()
    assert struct.unpack_from("<I", gpu.get(SHARED + 4, 4))[0] == 0x80000000
    assert gpu.send(3, session_id=session, ta_cmd_id=INITIALIZE).resp.status == Status.BAD_PARAMETERS
    assert "the XGMI application needs 0xc20 shared bytes, not 0x0" in gpu.gpu.wrongs[0]
    invoke.buf.num_desc = 2
    gpu.push(command)
    assert gpu.fenced()
    assert gpu.gpu.wrongs[-1] == "psp: command 0x3: 2 pieces of shared memory"


# XGMI.


def test_xgmi_layout_is_the_one_that_the_kernel_was_seen_to_use() -> None:
    assert ta_xgmi_shared_memory.caps_flag.offset == 13
    assert ta_xgmi_shared_memory.xgmi_out_message.offset == OUT_AT


@BOTH
def test_xgmi_nodes_differ_and_share_one_hive(firmware_dir: Path, part: str) -> None:
    members = hive(part, 8, firmware_dir)
    nodes = [member.invoke(NODE_ID).xgmi_out_message.get_node_id.node_id for member in members]
    hives = {member.invoke(HIVE_ID).xgmi_out_message.get_hive_id.hive_id for member in members}
    assert nodes == [node_id(member.gpu.gpu) for member in members]
    assert len(set(nodes)) == 8
    assert hives == {hive_id(members[0].gpu.gpu)}
    assert not hives & set(nodes)


@BOTH
def test_xgmi_topology_every_peer_is_one_hop_away(firmware_dir: Path, part: str) -> None:
    members = hive(part, 8, firmware_dir)
    ids = [node_id(member.gpu.gpu) for member in members]
    for member in members:
        assert member.topology(SET_TOPOLOGY, ids).xgmi_status == 0
    for mine, member in enumerate(members):
        told = member.topology(GET_TOPOLOGY, ids).xgmi_out_message.get_topology_info
        assert told.num_nodes == 8
        assert [told.nodes[peer].node_id for peer in range(8)] == ids
        assert [told.nodes[peer].num_hops for peer in range(8)] == [int(peer != mine) for peer in range(8)]
        assert [told.nodes[peer].is_sharing_enabled for peer in range(8)] == [1] * 8
        assert told.nodes[0].sdma_engine == 0xFFFFFFFF


@pytest.mark.parametrize("extended", [False, True])
def test_xgmi_links_of_a_pair_on_both_sides_on_mi350x_on_one_side_on_mi300x(firmware_dir: Path, extended: bool) -> None:
    for part, one_sided in (("mi350x", False), ("mi300x", True)):
        members = hive(part, 4, firmware_dir)
        ids = [node_id(member.gpu.gpu) for member in members]
        for mine, member in enumerate(members):
            links = [row[0] for row in member.extended_links(ids)] if extended else member.peer_links(ids)
            assert links == [int(peer > mine if one_sided else peer != mine) for peer in range(4)]


def test_xgmi_ports_of_a_link_are_each_others(firmware_dir: Path) -> None:
    members = hive("mi350x", 4, firmware_dir)
    ids = [node_id(member.gpu.gpu) for member in members]
    rows = [member.extended_links(ids) for member in members]
    for mine in range(4):
        for peer in range(4):
            if mine != peer:
                assert rows[mine][peer] == (1, link_to(mine, peer, 4), link_to(peer, mine, 4))
                assert rows[mine][peer][1:] == rows[peer][mine][:0:-1]


def test_xgmi_link_that_is_down_is_no_hop_and_no_link(firmware_dir: Path) -> None:
    members = hive("mi350x", 2, firmware_dir)
    ids = [node_id(member.gpu.gpu) for member in members]
    members[0].gpu.gpu.xgmi.set_state(0, STATE_TRAINING)
    told = members[0].topology(GET_TOPOLOGY, ids).xgmi_out_message.get_topology_info
    assert [told.nodes[peer].num_hops for peer in range(2)] == [0, 0]
    assert members[0].peer_links(ids) == [0, 0]


def test_xgmi_command_before_initialize_is_refused(firmware_dir: Path) -> None:
    member = Xgmi(host("mi350x"), Files(firmware_dir, "mi350x"))
    assert member.invoke(NODE_ID).xgmi_status == NOT_INITIALIZED
    assert member.gpu.gpu.wrongs == ["psp: XGMI application asked before INITIALIZE"]


def test_xgmi_command_that_does_not_exist_is_refused(firmware_dir: Path) -> None:
    (member,) = hive("mi350x", 1, firmware_dir)
    assert member.invoke(0x20).xgmi_status == INVALID_PARAMETER
    assert member.gpu.gpu.wrongs == ["psp: XGMI application has no command 0x20"]


def test_xgmi_topology_with_strangers_or_a_wrong_number_is_refused(firmware_dir: Path) -> None:
    members = hive("mi350x", 2, firmware_dir)
    ids = [node_id(member.gpu.gpu) for member in members]
    first = members[0]
    assert first.topology(SET_TOPOLOGY, [ids[0], 0x123]).xgmi_status == BAD_ID
    assert first.topology(SET_TOPOLOGY, [ids[0], ids[0]]).xgmi_status == BAD_ID
    assert first.topology(GET_TOPOLOGY, []).xgmi_status == BAD_COUNT
    assert first.topology(GET_TOPOLOGY, [*ids, 1]).xgmi_status == BAD_COUNT
    assert first.invoke(LINKS).xgmi_status == first.invoke(EXTENDED_LINKS).xgmi_status == BAD_COUNT
    assert first.gpu.gpu.wrongs == [
        "psp: XGMI topology with node 0x123, strange or named twice",
        f"psp: XGMI topology with node {ids[0]:#x}, strange or named twice",
        "psp: XGMI topology of 0 nodes in a hive of 2",
        "psp: XGMI topology of 3 nodes in a hive of 2",
        "psp: XGMI links of 0 nodes",
        "psp: XGMI links of 0 nodes",
    ]


def test_xgmi_shared_memory_that_is_nowhere_is_a_refusal(mi350x: Files) -> None:
    gpu = ready()
    session = gpu.load_ta(mi350x.payload("ta", "XGMI"), 1 << 45).resp.session_id
    assert gpu.send(3, session_id=session, ta_cmd_id=0).resp.status == Status.BAD_PARAMETERS
    assert any("memory that it names cannot be used" in wrong for wrong in gpu.gpu.wrongs)


# RAS.


def ras(gpu: Host, files: Files) -> int:
    gpu.put(SHARED, bytes(16) + b"\1\1\xff\0\0\1")
    answer = gpu.load_ta(files.payload("ta", "RAS")).resp
    assert answer.status == 0
    session: int = answer.session_id
    return session


def ras_invoke(gpu: Host, session: int, command: int, *words: int) -> tuple[int, int, int]:
    gpu.put(SHARED, struct.pack("<4I", command, 0, 0xDEAD, 0) + struct.pack(f"<{len(words)}I", *words))
    assert gpu.send(3, session_id=session, ta_cmd_id=command).resp.status == 0
    response, status, version = struct.unpack("<3I", gpu.get(SHARED + 4, 12))
    return response, status, version


def test_ras_starts_with_its_flags_and_switches_features(mi350x: Files) -> None:
    gpu = ready()
    session = ras(gpu, mi350x)
    assert gpu.get(SHARED + RAS_OUT_AT, 4) == b"\1\0\0\0"
    assert ras_invoke(gpu, session, 0, 2, 4) == (0x80000000, 0, 0)
    assert ras_invoke(gpu, session, 1, 2, 4) == (0x80000001, 0, 0)
    assert gpu.gpu.wrongs == []


def test_ras_bad_block_is_refused(mi350x: Files) -> None:
    gpu = ready()
    session = ras(gpu, mi350x)
    assert ras_invoke(gpu, session, 0, 20, 4)[1] == 0xA002
    assert ras_invoke(gpu, session, 0, 2, 3)[1] == 0xA002
    assert ras_invoke(gpu, session, 9)[1] == 0xA002
    assert gpu.gpu.wrongs == [
        "psp: RAS feature of block 20, error type 4",
        "psp: RAS feature of block 2, error type 3",
        "psp: RAS application has no command 0x9",
    ]


@pytest.mark.parametrize(("command", "status"), [(2, 0xA019), (3, 0xA010), (4, 0xA010), (5, 0xA010)])
def test_ras_injection_and_queries_are_not_supported(mi350x: Files, command: int, status: int) -> None:
    gpu = ready()
    assert ras_invoke(gpu, ras(gpu, mi350x), command, 0, 2) == (command | 0x80000000, status, 0)


def test_ras_too_little_shared_memory_is_a_refusal(mi350x: Files) -> None:
    gpu = ready()
    session = gpu.load_ta(mi350x.payload("ta", "RAS"), 0, 0).resp.session_id
    assert gpu.send(3, session_id=session, ta_cmd_id=0).resp.status == Status.BAD_PARAMETERS
    assert "the RAS application needs 0x810 shared bytes, not 0x0" in gpu.gpu.wrongs[0]
