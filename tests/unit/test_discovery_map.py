"""amdriver/ip_map.py: names, masks, logical and physical instances, the AID rule."""

from __future__ import annotations

import pytest

from amdriver.discovery import validate
from amdriver.ip_map import HW_IDS, HW_NAMES, IpInstance, IpMap, aid_mask_of, set_bits
from tests.fuzz.discovery_blobs import build, mi350x


def ip_map(*harvested: tuple[int, int]) -> IpMap:
    made = validate(build(mi350x(harvested=harvested))).ip_map
    assert made is not None
    return made


def test_ip_map_finds_by_name_alias_and_number() -> None:
    whole = ip_map()
    assert len(whole.find("GC")) == 8
    assert whole.find("VCN") == whole.find("UVD") == whole.find("JPEG") == whole.find(12)
    assert whole.find("NBIO") == whole.find("NBIF")
    assert whole.find("PSP") == whole.find("MP0")
    assert whole.find("VCE") == ()


def test_ip_map_unknown_name_raises() -> None:
    with pytest.raises(KeyError):
        ip_map().find("GCX")


def test_ip_map_find_is_sorted_and_keeps_harvested_ones() -> None:
    holes = ip_map((11, 0), (11, 5))
    assert [ip.instance for ip in holes.find("GC")] == list(range(8))
    assert [ip.instance for ip in holes.active("GC")] == [1, 2, 3, 4, 6, 7]
    assert [ip.label for ip in holes.harvested] == ["GC[0]", "GC[5]"]


def test_ip_map_physical_is_the_nth_set_bit_for_three_ips_only() -> None:
    holes = ip_map((11, 0), (11, 5), (42, 4), (42, 5), (12, 2))
    assert [holes.physical("GC", n) for n in range(6)] == [1, 2, 3, 4, 6, 7]
    assert holes.physical("SDMA0", 4) == 6
    assert holes.physical("VCN", 2) == 3
    assert holes.physical("MMHUB", 3) == 3
    with pytest.raises(IndexError, match=r"GC\[6\]: this GPU has 6 of them"):
        holes.physical("GC", 6)


@pytest.mark.parametrize(
    ("sdma_mask", "aids"),
    [(0xFFFF, 0b1111), (0xF, 1), (0, 1), (0x3F, 0b11), (0xCF, 0b11), (0xF0F, 0b101), (0x7F, 1), (0x5F, 1)],
)
def test_aid_mask_follows_the_groups_of_four(sdma_mask: int, aids: int) -> None:
    assert aid_mask_of(sdma_mask) == aids


def test_ip_map_masks_of_a_whole_gpu() -> None:
    whole = ip_map()
    assert (whole.xcc_mask, whole.sdma_mask, whole.vcn_mask, whole.aid_count) == (0xFF, 0xFFFF, 0xF, 4)


def test_ip_map_versions_and_their_fallback() -> None:
    whole = ip_map()
    assert whole.version_of("GC") == (9, 5, 0)
    assert whole.version_of("GC", 9) == (0, 0, 0)
    assert whole.version_of("XGMI") == (6, 4, 1)
    waflc = IpMap((IpInstance(66, 0, (1, 2, 3), (0,)),))
    assert waflc.version_of("XGMI") == (1, 2, 3)
    assert waflc.version_of(200) == (1, 2, 3)
    assert waflc.version_of("GC") == (0, 0, 0)


def test_ip_map_get_one_physical_instance() -> None:
    whole = ip_map()
    ip = whole.get("SDMA0", 5)
    assert ip is not None
    assert (ip.label, ip.version_text, ip.bases[0]) == ("SDMA0[5]", "4.4.4", 0x1860 + 0x20000)
    assert whole.get("SDMA0", 16) is None


def test_ip_instances_do_not_change() -> None:
    with pytest.raises(AttributeError):
        ip_map().instances[0].harvested = True  # type: ignore[misc]


def test_hw_names_are_those_of_the_kernel() -> None:
    assert len(HW_NAMES) == 80
    assert (HW_NAMES[11], HW_NAMES[65], HW_NAMES[255], HW_NAMES[274]) == ("GC", "L1IMU15", "MP0", "DAZ")
    assert HW_IDS["VCN"] == HW_IDS["UVD"] == 12
    assert IpInstance(77, 1, (0, 0, 0), ()).label == "HW77[1]"


def test_set_bits_lists_positions() -> None:
    assert set_bits(0b101001) == (0, 3, 5)
    assert set_bits(0) == ()
