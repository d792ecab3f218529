"""Trusted applications in the PSP: XGMI, which knows who is linked with whom in a hive, and RAS.

Source: Linux v7.3 amdgpu/ta_xgmi_if.h, ta_ras_if.h (shared memory, commands, status codes), amdgpu_psp.c (psp_xgmi_*,
psp_ras_*: what it asks, in which part of the memory, and that 13.0.6 tells the links of a pair on one side only);
research/amdgpu-on-model.md items 27, 28, 55."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ctypes import sizeof
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpumodel.psp_blobs import Kind
from gpumodel.xgmi import STATE_ACTIVE, link_to
from registers.amd.structs_ta import RSP_ID_MASK, ta_xgmi_cmd_get_topology_info_input, ta_xgmi_shared_memory
from registers.amd.structs_ta import ras_command as RasCommand
from registers.amd.structs_ta import ta_command_xgmi as XgmiCommand
from registers.amd.structs_ta import ta_ras_status as RasStatus
from registers.amd.structs_ta import ta_xgmi_status as XgmiStatus

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

MOST_SESSIONS = 8  # guess
FIRST_SESSION = 0x10001  # guess
NOT_ASSIGNED = 0xFFFFFFFF  # sdma_engine of a peer: -1
CAPS_EXTENDED_LINKS = 1  # GET_EXTEND_PEER_LINKS is there
MOST_NODES = 64

# ta_ras_shared_memory: command, response, status, interface version, then 1024 bytes each way.
RAS_STATUS_AT = 8
RAS_IN_AT = 16
RAS_OUT_AT = RAS_IN_AT + 1024
RAS_BYTES = RAS_OUT_AT + 1024
RAS_BLOCKS = 20
RAS_READY = b"\1\0\0"  # ras_init_success_flag, err_inject_switch_disable_flag, reg_access_failure_flag


@dataclass(slots=True)
class Session:
    kind: int
    shared: int  # MC address; 0: a buffer comes with each command
    size: int
    initialized: bool = False


class Applications:
    """Loaded applications by session number."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self._sessions: dict[int, Session] = {}
        self._next = FIRST_SESSION
        self._sharing: dict[int, int] = {}  # node id: is_sharing_enabled, as last set

    def close(self) -> None:
        self._sessions.clear()
        self._sharing.clear()

    def load(self, kind: int, shared: int, size: int) -> int | None:
        """Its session; None when there is no room. The RAS application reads its set-up from the shared memory now."""
        if len(self._sessions) >= MOST_SESSIONS:
            return None
        number = self._next
        self._next += 1
        session = Session(kind, shared, size)
        if kind == Kind.RAS_TA and size:
            self._start_ras(session)
        self._sessions[number] = session
        return number

    def unload(self, number: int) -> bool:
        return self._sessions.pop(number, None) is not None

    def invoke(self, number: int, command: int, buffer: tuple[int, int]) -> str:
        """Run one command on the memory that was shared at loading, else on `buffer` (address, size).

        "" when the application ran (what it thinks of the command stands in the memory), "session" when there is none
        with that number, else why it could not run. Raises PageFault when the memory is not there."""
        session = self._sessions.get(number)
        if session is None:
            return "session"
        place, size = (session.shared, session.size) if session.size else buffer
        if session.kind == Kind.XGMI_TA:
            return self._xgmi(session, command, place, size)
        if session.kind == Kind.RAS_TA:
            return self._ras(session, command, place, size)
        return ""

    # XGMI.

    def _xgmi(self, session: Session, command: int, place: int, size: int) -> str:
        if size < sizeof(ta_xgmi_shared_memory):
            return f"the XGMI application needs {sizeof(ta_xgmi_shared_memory):#x} shared bytes, not {size:#x}"
        memory = ta_xgmi_shared_memory.from_buffer_copy(self._gpu.gmc.mc_read(place, sizeof(ta_xgmi_shared_memory)))
        handlers: dict[int, Callable[[ta_xgmi_shared_memory], int]] = {
            XgmiCommand.TA_COMMAND_XGMI__GET_NODE_ID: self._node_id,
            XgmiCommand.TA_COMMAND_XGMI__GET_HIVE_ID: self._hive_id,
            XgmiCommand.TA_COMMAND_XGMI__GET_TOPOLOGY_INFO: self._get_topology,
            XgmiCommand.TA_COMMAND_XGMI__SET_TOPOLOGY_INFO: self._set_topology,
            XgmiCommand.TA_COMMAND_XGMI__GET_PEER_LINKS: self._links,
            XgmiCommand.TA_COMMAND_XGMI__GET_EXTEND_PEER_LINKS: self._extended_links,
        }
        if command == XgmiCommand.TA_COMMAND_XGMI__INITIALIZE:
            session.initialized = True
            memory.caps_flag |= CAPS_EXTENDED_LINKS
            memory.xgmi_out_message.initialize.status = 0
            status = int(XgmiStatus.TA_XGMI_STATUS__SUCCESS)
        elif not session.initialized:
            status = self._wrong("XGMI application asked before INITIALIZE", XgmiStatus.TA_XGMI_STATUS__NOT_INITIALIZED)
        elif command in handlers:
            status = handlers[command](memory)
        else:
            text = f"XGMI application has no command {command:#x}"
            status = self._wrong(text, XgmiStatus.TA_XGMI_STATUS__INVALID_PARAMETER)
        memory.xgmi_status = status
        memory.resp_id = command | RSP_ID_MASK
        self._gpu.gmc.mc_write(place, bytes(memory))
        return ""

    def _node_id(self, memory: ta_xgmi_shared_memory) -> int:
        memory.xgmi_out_message.get_node_id.node_id = node_id(self._gpu)
        return 0

    def _hive_id(self, memory: ta_xgmi_shared_memory) -> int:
        memory.xgmi_out_message.get_hive_id.hive_id = hive_id(self._gpu)
        return 0

    def _get_topology(self, memory: ta_xgmi_shared_memory) -> int:
        given = memory.xgmi_in_message.get_topology_info
        status = self._check_nodes(given)
        if status:
            return status
        answer = memory.xgmi_out_message.get_topology_info
        answer.num_nodes = given.num_nodes
        for place in range(given.num_nodes):
            number = given.nodes[place].node_id
            node = answer.nodes[place]
            node.node_id = number
            node.num_hops = int(self._linked(number))
            node.is_sharing_enabled = self._sharing.get(number, 0)
            node.sdma_engine = NOT_ASSIGNED
        return 0

    def _set_topology(self, memory: ta_xgmi_shared_memory) -> int:
        given = memory.xgmi_in_message.set_topology_info
        status = self._check_nodes(given)
        if not status:
            nodes = given.nodes[: given.num_nodes]
            self._sharing = {node.node_id: node.is_sharing_enabled for node in nodes}
        return status

    def _check_nodes(self, given: ta_xgmi_cmd_get_topology_info_input) -> int:
        members = {node_id(gpu) for gpu in self._gpu.hive.gpus}
        if not 0 < given.num_nodes <= len(members):
            text = f"XGMI topology of {given.num_nodes} nodes in a hive of {len(members)}"
            return self._wrong(text, XgmiStatus.TA_XGMI_STATUS__INVALID_NODE_NUM)
        numbers = [node.node_id for node in given.nodes[: given.num_nodes]]
        strangers = [number for number in numbers if number not in members]
        if strangers or len(set(numbers)) != len(numbers):
            text = f"XGMI topology with node {(strangers or numbers)[0]:#x}, strange or named twice"
            return self._wrong(text, XgmiStatus.TA_XGMI_STATUS__INVALID_NODE_ID)
        return 0

    def _links(self, memory: ta_xgmi_shared_memory) -> int:
        """The driver writes the node ids where the answer goes."""
        table = memory.xgmi_out_message.get_link_info
        if not 0 < table.num_nodes <= MOST_NODES:
            return self._bad_count(table.num_nodes)
        for node in table.nodes[: table.num_nodes]:
            node.num_links = int(self._tells_link(node.node_id))
        return 0

    def _extended_links(self, memory: ta_xgmi_shared_memory) -> int:
        table = memory.xgmi_out_message.get_extend_link_info
        if not 0 < table.num_nodes <= MOST_NODES:
            return self._bad_count(table.num_nodes)
        for node in table.nodes[: table.num_nodes]:
            node.num_links = int(self._tells_link(node.node_id))
            if node.num_links:
                mine, peer, nodes = self._gpu.index, self._index(node.node_id), self._gpu.hive.nodes
                node.port_num[0].src_xgmi_port_num = link_to(mine, peer, nodes)
                node.port_num[0].dst_xgmi_port_num = link_to(peer, mine, nodes)
        return 0

    def _bad_count(self, count: int) -> int:
        return self._wrong(f"XGMI links of {count} nodes", XgmiStatus.TA_XGMI_STATUS__INVALID_NODE_NUM)

    def _linked(self, number: int) -> bool:
        """Whether a working link leads there."""
        peer = self._index(number)
        if peer < 0 or peer == self._gpu.index:
            return False
        link = link_to(self._gpu.index, peer, self._gpu.hive.nodes)
        return self._gpu.registers.get(f"XGMI[{link}].PCS_STATE_HIST1") == STATE_ACTIVE

    def _tells_link(self, number: int) -> bool:
        """13.0.6 keeps one record for a pair, with the first of the two: the driver has to reflect it."""
        one_sided = self._gpu.chip.version("MP0") == (13, 0, 6)
        return self._linked(number) and not (one_sided and self._index(number) < self._gpu.index)

    def _index(self, number: int) -> int:
        """Place in the hive of a node; -1: it is no member."""
        return next((gpu.index for gpu in self._gpu.hive.gpus if node_id(gpu) == number), -1)

    # RAS.

    def _start_ras(self, session: Session) -> None:
        self._gpu.gmc.mc_read(session.shared, RAS_BYTES)
        self._gpu.gmc.mc_write(session.shared + RAS_STATUS_AT, struct.pack("<I", RasStatus.TA_RAS_STATUS__SUCCESS))
        self._gpu.gmc.mc_write(session.shared + RAS_OUT_AT, RAS_READY)
        session.initialized = True

    def _ras(self, session: Session, command: int, place: int, size: int) -> str:
        if size < RAS_BYTES:
            return f"the RAS application needs {RAS_BYTES:#x} shared bytes, not {size:#x}"
        block, error = struct.unpack("<2I", self._gpu.gmc.mc_read(place + RAS_IN_AT, 8))
        status = self._ras_status(command, block, error)
        self._gpu.gmc.mc_write(place + 4, struct.pack("<3I", command | RSP_ID_MASK, status, 0))
        self._gpu.gmc.mc_write(place + RAS_OUT_AT, RAS_READY)
        return ""

    def _ras_status(self, command: int, block: int, error: int) -> int:
        """Features are switched; errors are not put in, and addresses not translated. # guess: with these codes"""
        if command in (RasCommand.TA_RAS_COMMAND__ENABLE_FEATURES, RasCommand.TA_RAS_COMMAND__DISABLE_FEATURES):
            if block < RAS_BLOCKS and error in (0, 1, 2, 4, 8):
                return 0
            text = f"RAS feature of block {block}, error type {error}"
            return self._wrong(text, RasStatus.TA_RAS_STATUS__ERROR_INVALID_PARAMETER)
        if command == RasCommand.TA_RAS_COMMAND__TRIGGER_ERROR:
            return int(RasStatus.TA_RAS_STATUS__ERROR_UNSUPPORTED_ERROR_INJ)
        if command <= RasCommand.TA_RAS_COMMAND__QUERY_ADDRESS:
            return int(RasStatus.TA_RAS_STATUS__ERROR_UNSUPPORTED_FUNCTION)
        text = f"RAS application has no command {command:#x}"
        return self._wrong(text, RasStatus.TA_RAS_STATUS__ERROR_INVALID_PARAMETER)

    def _wrong(self, text: str, status: int) -> int:
        self._gpu.wrong("psp", text)
        return int(status)


def node_id(gpu: ModelGpu) -> int:
    """Number of a GPU in its hive, different for each. # guess: boards derive it from a serial number"""
    return gpu.serial


def hive_id(gpu: ModelGpu) -> int:
    """Number of the hive, the same on all members. # guess: as node_id"""
    return gpu.hive.gpus[0].serial ^ 0x4856 << 48
