"""XGMI: eight links, two on each AID; a hive of n connects every GPU with every other by one link each.

Source: Linux v7.3 amdgpu/amdgpu_xgmi.c (link state of 6.4.0 and 6.4.1, state words), aqua_vanjaram.c (which PCS
registers exist on these parts). Which port leads where is a guess: boot firmware of real boards owns it. SMN bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel.chips import XGMI_LINKS, Chip
from gpumodel.registerfile import Entry, Layout, aid_base

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

LINKS_PER_AID = 2
STATE_ACTIVE = 0x81  # LS0
STATE_DISABLED = 0xD1
STATE_TRAINING = 0x01  # guess: to the kernel every other value is "inactive"
TRAIN_WITHIN_S = 1.0  # amdgpu_xgmi.c: links are negotiated by firmware within a second
STATE_OFFSET = 0x70  # PCS_STATE_HIST1 in the PCS of a link
ERROR_STATUS_OFFSET = 0x20C
PCS = {(6, 4, 0): (0x11A00000, 0x11B00000), (6, 4, 1): (0x12100000, 0x11B00000)}
_DUMPED = {0x50: 1, 0x74: 3, 0x108: 1, 0x180: 16, 0x200: 1, ERROR_STATUS_OFFSET: 1, 0x210: 1, 0x218: 1}


def link_to(index: int, peer: int, nodes: int) -> int:
    """The link of GPU `index` that leads to GPU `peer` in a hive of `nodes`."""
    return (peer - index - 1) % nodes


def peer_of(index: int, link: int, nodes: int) -> int | None:
    """The GPU at the other end of a link; None: nothing is connected."""
    return (index + link + 1) % nodes if link < nodes - 1 else None


class Xgmi:
    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self._trained_s = float("-inf")  # when the links of this GPU last began to train: at power-on, all together

    def power_on(self) -> None:
        for link in range(self._gpu.hive.nodes - 1):
            self.set_state(link, STATE_ACTIVE)

    def drop(self) -> None:
        """A reset of this GPU: its links go down, at both ends."""
        self._trained_s = self._gpu.hive.events.time()
        for link, peer in self._peers():
            self._both_ends(link, peer, STATE_TRAINING)

    def retrain(self) -> None:
        """The firmware is up again: a link trains when its other end was reset at about the same time."""
        for link, peer in self._peers():
            together = abs(self._trained_s - peer.xgmi._trained_s) <= TRAIN_WITHIN_S
            self._both_ends(link, peer, STATE_ACTIVE if together else STATE_TRAINING)

    def _peers(self) -> list[tuple[int, ModelGpu]]:
        nodes, index = self._gpu.hive.nodes, self._gpu.index
        return [(link_to(index, peer.index, nodes), peer) for peer in self._gpu.hive.gpus if peer.index != index]

    def _both_ends(self, link: int, peer: ModelGpu, state: int) -> None:
        self.set_state(link, state)
        peer.xgmi.set_state(link_to(peer.index, self._gpu.index, self._gpu.hive.nodes), state)

    def set_state(self, link: int, state: int) -> None:
        self._gpu.registers.set(f"XGMI[{link}].PCS_STATE_HIST1", state)

    def set_error(self, link: int, status: int) -> None:
        self._gpu.registers.set(f"XGMI[{link}].PCS_ERROR_STATUS", status)


def declare(layout: Layout, chip: Chip) -> None:
    pcs = PCS[chip.version("XGMI")]
    for link in range(XGMI_LINKS):
        base = aid_base(link // LINKS_PER_AID) + pcs[link % LINKS_PER_AID] // 4
        layout.add(Entry(f"XGMI[{link}].PCS_STATE_HIST1", base + STATE_OFFSET // 4, STATE_DISABLED, "xgmi", link))
        for offset, count in _DUMPED.items():
            for word in range(count):
                address = base + offset // 4 + word
                known = offset == ERROR_STATUS_OFFSET
                name = "PCS_ERROR_STATUS" if known else f"PCS_{offset + 4 * word:03X}"
                layout.add(Entry(f"XGMI[{link}].{name}", address, 0, "xgmi", link))
