"""XGMI as the trusted application tells and sets it: who the hive is, and who is linked to whom.

Source: Linux v7.3 amdgpu_psp.c (psp_xgmi_initialize, psp_xgmi_get_hive_id, psp_xgmi_get_node_id,
psp_xgmi_set_topology_info, psp_xgmi_get_topology_info), ta_xgmi_if.h. Data does not pass here: peers' VRAM is mapped by gmc."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import sizeof
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from base.errors import GpumendError
from registers.amd.structs_ta import (
    EXTEND_PEER_LINK_INFO_CMD_FLAG,
    RSP_ID_MASK,
    ta_command_xgmi,
    ta_xgmi_shared_memory,
    ta_xgmi_status,
)

if TYPE_CHECKING:
    from amdriver.psp import Application

MOST_NODES: Final = 64
_CMD: Final = ta_command_xgmi


class XgmiRefused(GpumendError):
    """The application ran, and answered with a status other than success."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another GPU of the hive, seen from this one. `links` 0: not told."""

    node_id: int
    hops: int
    links: int


class Xgmi:
    """The session with the XGMI application of one GPU."""

    def __init__(self, application: Application, where: str) -> None:
        self._application = application
        self._where = where
        self.hive_id = 0
        self.node_id = 0
        self.tells_links = False

    def initialize(self) -> None:
        """Open the session, and ask who we are."""
        answer = self._run(_CMD.TA_COMMAND_XGMI__INITIALIZE, ta_xgmi_shared_memory())
        self.tells_links = bool(answer.caps_flag & EXTEND_PEER_LINK_INFO_CMD_FLAG)
        hive = self._run(_CMD.TA_COMMAND_XGMI__GET_HIVE_ID, ta_xgmi_shared_memory())
        self.hive_id = hive.xgmi_out_message.get_hive_id.hive_id
        node = self._run(_CMD.TA_COMMAND_XGMI__GET_NODE_ID, ta_xgmi_shared_memory())
        self.node_id = node.xgmi_out_message.get_node_id.node_id

    def set_topology(self, node_ids: Sequence[int]) -> None:
        """Tell the application who is in the hive; on every member, with the same list."""
        message = ta_xgmi_shared_memory()
        self._put_nodes(message.xgmi_in_message.set_topology_info, node_ids, sharing=1)
        self._run(_CMD.TA_COMMAND_XGMI__SET_TOPOLOGY_INFO, message)

    def topology(self, node_ids: Sequence[int]) -> list[Peer]:
        """Hops and links to each of these nodes, in their order, ourselves (0 hops) included."""
        message = ta_xgmi_shared_memory()
        self._put_nodes(message.xgmi_in_message.get_topology_info, node_ids, sharing=0)
        told = self._run(_CMD.TA_COMMAND_XGMI__GET_TOPOLOGY_INFO, message).xgmi_out_message.get_topology_info
        nodes = [told.nodes[index] for index in range(min(told.num_nodes, MOST_NODES))]
        links = self._links([node.node_id for node in nodes])
        return [Peer(node.node_id, node.num_hops, links.get(node.node_id, 0)) for node in nodes]

    def _links(self, node_ids: Sequence[int]) -> dict[int, int]:
        """Number of links to each node. This command takes its input where the output stands."""
        if not self.tells_links:
            return {}
        message = ta_xgmi_shared_memory()
        table = message.xgmi_out_message.get_extend_link_info
        table.num_nodes = len(node_ids)
        for index, node_id in enumerate(node_ids):
            table.nodes[index].node_id = node_id
        told = self._run(_CMD.TA_COMMAND_XGMI__GET_EXTEND_PEER_LINKS, message).xgmi_out_message.get_extend_link_info
        return {told.nodes[index].node_id: told.nodes[index].num_links for index in range(len(node_ids))}

    def _put_nodes(self, table: object, node_ids: Sequence[int], *, sharing: int) -> None:
        if len(node_ids) > MOST_NODES:
            raise ValueError(f"{len(node_ids)} nodes: the application knows {MOST_NODES}")
        table.num_nodes = len(node_ids)  # type: ignore[attr-defined]
        for node, node_id in zip(table.nodes, node_ids, strict=False):  # type: ignore[attr-defined]
            node.node_id = node_id
            node.is_sharing_enabled = sharing

    def _run(self, command: ta_command_xgmi, message: ta_xgmi_shared_memory) -> ta_xgmi_shared_memory:
        message.cmd_id = int(command)
        shared = self._application.shared
        shared.write(0, bytes(message))
        self._application.invoke(int(command))
        answer = ta_xgmi_shared_memory.from_buffer_copy(shared.read(0, sizeof(ta_xgmi_shared_memory)))
        status = answer.xgmi_status
        if answer.resp_id == int(command) | RSP_ID_MASK and not status:
            return answer
        known = status in set(ta_xgmi_status)
        raise XgmiRefused(
            f"XGMI application: {command.name.removeprefix('TA_COMMAND_XGMI__')}",
            expected=f"response {int(command) | RSP_ID_MASK:#010x}, status 0",
            seen=f"response {answer.resp_id:#010x}, status {status:#x}"
            + (f" ({ta_xgmi_status(status).name.removeprefix('TA_XGMI_STATUS__')})" if known else ""),
            where=self._where,
            next_step="gpumend probe: links of the hive; hive-reset brings the links up again",
        )


def join(members: Sequence[Xgmi]) -> dict[int, list[Peer]]:
    """Make one hive of these: everybody is told of everybody. Topology by node id; XgmiRefused when one refuses, or
    when they are not of the same hive."""
    hives = {member.hive_id for member in members}
    if len(hives) > 1:
        raise XgmiRefused(
            "joining a hive",
            expected="one hive id on all members",
            seen=", ".join(f"{hive:#x}" for hive in sorted(hives)),
            next_step="gpumend list: are all of them of one machine?",
        )
    node_ids = [member.node_id for member in members]
    for member in members:
        member.set_topology(node_ids)
    return {member.node_id: member.topology(node_ids) for member in members}
