"""amdriver/vmhub.py: faults as a hub latches them, in words."""

from __future__ import annotations

import pytest

from base.errors import DeviceLost
from tests.unit.gmc_fake import Card, started


def status(
    *, cid: int = 0, write: bool = False, vmid: int = 0, permission: int = 0, mapping: bool = False, walker: int = 0
) -> int:
    return walker << 1 | permission << 4 | mapping << 8 | cid << 9 | write << 18 | vmid << 20


def test_faults_none_is_an_empty_list_after_one_read_a_hub() -> None:
    transport, gmc = started()
    assert gmc.faults() == []
    assert transport.reads() == 12


def test_faults_of_a_gfx_hub_are_decoded() -> None:
    transport, gmc = started()
    hub = transport.hub("GC[3]")
    transport.registers[hub.base + hub.at.fault_status] = status(cid=8, vmid=8, permission=3)
    transport.registers[hub.base + hub.at.fault_address] = 0xF000_1234
    transport.registers[hub.base + hub.at.fault_address + 4] = 0x7
    (fault,) = gmc.faults()
    assert (fault.hub, fault.vmid, fault.address, fault.write) == ("GC[3]", 8, 0x7F0001234000, False)
    assert (fault.client, fault.client_name, fault.permissions) == (8, "TCP", ("valid", "read"))
    assert str(fault) == ("GC[3]: VMID 8 read at 0x7f0001234000 by TCP (0x8); fails at: valid, read; status 0x00801030")


def test_faults_of_an_mmhub_name_its_clients() -> None:
    transport, gmc = started()
    hub = transport.hub("MMHUB[2]")
    raw = status(cid=258, write=True, permission=5, mapping=True, walker=2) | 1 | 1 << 30
    transport.registers[hub.base + hub.at.fault_status] = raw
    (fault,) = gmc.faults()
    assert (fault.client_name, fault.write, fault.more, fault.poison) == ("SDMA2", True, True, True)
    assert str(fault) == (
        "MMHUB[2]: VMID 0 write at 0x0 by SDMA2 (0x102); mapping error; walker error 2; fails at: valid, write; "
        f"poisoned data; more faults came after it; status {raw:#010x}"
    )


@pytest.mark.parametrize(
    ("name", "cid", "told"),
    [("GC[0]", 5, "CPC"), ("GC[0]", 13, "unknown client"), ("MMHUB[0]", 174, "HDP"), ("MMHUB[0]", 5, "unknown client")],
)
def test_faults_client_names(name: str, cid: int, told: str) -> None:
    transport, gmc = started()
    hub = transport.hub(name)
    transport.registers[hub.base + hub.at.fault_status] = status(cid=cid, permission=1) | 1 << 19
    (fault,) = gmc.faults()
    assert fault.client_name == told
    assert " atomic access at " in str(fault)


def test_faults_of_several_hubs_are_all_told() -> None:
    transport, gmc = started(Card(harvested=(1,)))
    for hub in transport.hubs:
        transport.registers[hub.base + hub.at.fault_status] = status(vmid=8, permission=1)
    assert [fault.hub for fault in gmc.faults()] == [hub.name for hub in transport.hubs]


def test_clear_faults_writes_bit_0_beside_the_value_that_is_there() -> None:
    transport, gmc = started()
    gmc.clear_faults()
    for hub in transport.hubs:
        assert transport.value(hub, hub.at.fault_cntl) == 0x3FFFFFFD
    assert transport.reads() == 0


def test_faults_of_a_lost_gpu_are_device_lost() -> None:
    transport, gmc = started()
    transport.dead = True
    with pytest.raises(DeviceLost, match="reading page faults"):
        gmc.faults()
