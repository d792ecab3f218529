"""A trace by register name: index pairs, banks, holes, VRAM ranges, and where the bases come from."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

import gpumend
from amdriver.ip_map import HW_IDS, IpInstance, IpMap
from amdriver.trace_events import DecodedTrace, Event, read_trace, table_in
from amdriver.trace_names import Names, Place, assumed_map, bank_of, place_of_name
from base.errors import InvalidData, Unavailable, Undecided, UsageError
from pcibus.trace import Trace
from pcibus.transport import FunctionInfo
from tests.unit.discovery_fake import FakeGpu
from tests.unit.trace_lines import (
    C2PMSG_35,
    DATA2,
    FENCE,
    GRBM_GFX_CNTL,
    HDP_MEM_REMAP,
    HQD_ACTIVE,
    INDEX2,
    MM_DATA,
    MM_INDEX,
    MM_INDEX_HI,
    RLC_CNTL,
    SH_MEM_CONFIG,
    doorbell,
    read,
    saved,
    smn_write,
    write,
)


def decoded(tmp_path: Path, *lines: str) -> DecodedTrace:
    return read_trace(saved(tmp_path, "a.trace", *lines))


def told(events: list[Event]) -> list[tuple[str, str, int | None, str, int | None]]:
    return [(event.kind, event.place.block, event.place.instance, event.register, event.value) for event in events]


def window_read(vram_offset: int, words: list[int]) -> list[str]:
    """Dwords through MM_INDEX / MM_DATA, the upper bits written once."""
    lines = [write(MM_INDEX_HI, vram_offset >> 31)]
    for number, word in enumerate(words):
        at = vram_offset + 4 * number
        lines += [write(MM_INDEX, at & 0x7FFFFFFF | 1 << 31), read(MM_DATA, word)]
    return lines


def model_table() -> bytes:
    (gpu,) = gpumend.list_gpus(["model:mi350x"])
    return gpumend.read_discovery(gpu).blob


# --- names


def test_trace_names_a_register_by_block_instance_and_name_with_its_fields(tmp_path: Path) -> None:
    (event,) = decoded(tmp_path, write(RLC_CNTL[3], 1)).events
    assert told([event]) == [("write", "GC", 3, "RLC_CNTL", 1)]
    assert event.decoded is not None
    assert event.decoded.fields()["RLC_ENABLE_F32"] == 1


def test_trace_smn_pair_becomes_the_register_behind_it_on_its_aid(tmp_path: Path) -> None:
    trace = decoded(tmp_path, *smn_write(FENCE, 0), *smn_write(6 << 32 | FENCE, 0x10000))
    assert told(trace.events) == [
        ("write", "NBIF", 0, "XCC_DOORBELL_FENCE", 0),
        ("read", "NBIF", 0, "XCC_DOORBELL_FENCE", 0),
        ("write", "NBIF", 2, "XCC_DOORBELL_FENCE", 0x10000),
        ("read", "NBIF", 2, "XCC_DOORBELL_FENCE", 0x10000),
    ]
    assert trace.index_accesses == 4


def test_trace_smn_address_without_a_register_keeps_its_number(tmp_path: Path) -> None:
    trace = decoded(tmp_path, *smn_write(0x0BADF00C, 1))
    assert trace.events[0].place == Place("unnamed", None, "SMN 0xbadf00c")


def test_trace_smn_firmware_flags_have_a_name_although_no_header_has_them(tmp_path: Path) -> None:
    (event,) = decoded(tmp_path, write(INDEX2, 0x03B10028), read(DATA2, 1)).events
    assert (event.place.block, event.place.register) == ("MP1", "MP1_FIRMWARE_FLAGS")


def test_trace_data_register_without_an_index_before_it_stays_unnamed(tmp_path: Path) -> None:
    (event,) = decoded(tmp_path, read(DATA2, 1)).events
    assert event.place.block == "unnamed"
    assert "index not seen" in event.place.register


def test_trace_memory_window_becomes_one_range_of_vram(tmp_path: Path) -> None:
    trace = decoded(tmp_path, *window_read(0x3FFFF0000, [1, 2, 3]), *window_read(0x1000, [4]))
    assert [(event.place.block, event.offset, event.size) for event in trace.events] == [
        ("VRAM", 0x3FFFF0000, 12),
        ("VRAM", 0x1000, 4),
    ]
    assert trace.index_accesses == 6


def test_trace_memory_window_at_a_register_is_that_register(tmp_path: Path) -> None:
    (event,) = decoded(tmp_path, write(MM_INDEX, RLC_CNTL[0]), read(MM_DATA, 1)).events
    assert event.register == "RLC_CNTL"


def test_trace_doorbell_counts_in_dwords(tmp_path: Path) -> None:
    (event,) = decoded(tmp_path, doorbell(0x48, 0x100)).events
    assert told([event]) == [("write", "DOORBELL", None, "0x12", 0x100)]


def test_trace_banked_registers_name_the_queue_or_vmid_selected_on_their_xcc(tmp_path: Path) -> None:
    trace = decoded(
        tmp_path,
        write(HQD_ACTIVE[1], 0),
        write(GRBM_GFX_CNTL[1], 1 | 2 << 2 | 5 << 8),
        write(HQD_ACTIVE[1], 1),
        write(HQD_ACTIVE[0], 1),
        write(GRBM_GFX_CNTL[1], 9 << 4),
        write(SH_MEM_CONFIG[1], 7),
        write(RLC_CNTL[1], 1),
    )
    assert [event.register for event in trace.events if event.place.register != "GRBM_GFX_CNTL"] == [
        "CP_HQD_ACTIVE{not selected}",
        "CP_HQD_ACTIVE{me 2 pipe 1 queue 5}",
        "CP_HQD_ACTIVE{not selected}",
        "SH_MEM_CONFIG{vmid 9}",
        "RLC_CNTL",
    ]


def test_trace_hdp_hole_has_the_name_of_what_was_mapped_into_it(tmp_path: Path) -> None:
    trace = decoded(tmp_path, write(0x1A000, 0), write(HDP_MEM_REMAP, 0x1A000), write(0x1A000, 0))
    assert trace.events[-1].place == Place("HDP", 0, "HDP_MEM_FLUSH (remapped)")
    assert trace.events[0].place != trace.events[-1].place


def test_trace_address_without_a_name_says_near_which_base_it_lies(tmp_path: Path) -> None:
    far, near = decoded(tmp_path, write(0x1FFFFC, 0), write(0x1E094, 0)).events
    assert near.place == Place("VCN", 0, "segment 0 + 0x25")
    assert far.place == Place("unnamed", None, "BAR5+0x1ffffc")


def test_trace_wide_and_block_accesses_become_one_register_each(tmp_path: Path) -> None:
    sink = StringIO()
    Trace(FakeGpu(), sink).bars()
    wide = f'{{"op":"write64","bar":5,"offset":{C2PMSG_35},"value":{0x11_00000022}}}'
    block = f'{{"op":"read_block","bar":5,"offset":{C2PMSG_35},"size":8,"data":"2200000011000000"}}'
    path = saved(tmp_path, "a.jsonl", sink.getvalue().strip(), wide, block)
    events = read_trace(path).events
    assert [(event.kind, event.register, event.value) for event in events] == [
        ("write", "MP0_SMN_C2PMSG_35", 0x22),
        ("write", "MP0_SMN_C2PMSG_36", 0x11),
        ("read", "MP0_SMN_C2PMSG_35", 0x22),
        ("read", "MP0_SMN_C2PMSG_36", 0x11),
    ]


def test_trace_of_ours_has_config_dma_marks_and_the_part(tmp_path: Path) -> None:
    (gpu,) = gpumend.list_gpus(["model:mi350x"])
    sink = StringIO()
    trace = Trace(gpu.transport, sink, gpu.clock)
    trace.mark("look")
    trace.config_read(0, 4)
    buffer = trace.alloc_dma(4096)
    buffer.write(0, b"1234")
    buffer.write(4, b"5678")
    buffer.read(0, 4)
    path = tmp_path / "a.jsonl"
    path.write_text(sink.getvalue())
    answer = read_trace(path)
    assert answer.part is not None
    assert answer.part.name == "MI350X"
    rows = [(event.kind, event.place.block, event.register, event.offset, event.size) for event in answer.events]
    assert rows == [
        ("mark", "MARK", "look", 0, 4),
        ("read", "CONFIG", "0x0", 0, 4),
        ("write", "DMA", "", 0, 8),
        ("read", "DMA", "", 0, 4),
    ]


# --- bases


def test_trace_bases_come_from_the_discovery_table_that_it_read(tmp_path: Path) -> None:
    blob = model_table()
    words = [int.from_bytes(blob[at : at + 4], "little") for at in range(0, 0x1000, 4)]
    thermal = write(0x16600 * 4, 0)  # THM: a block that the assumed bases leave out
    known = decoded(tmp_path, *window_read(0x3FFFF0000, words), thermal)
    assert known.bases_from == "the discovery table in the trace"
    assert known.events[-1].place.block == "THM"
    assert known.remarks == []
    words[40] ^= 1
    spoilt = decoded(tmp_path, *window_read(0x3FFFF0000, words), thermal)
    assert spoilt.bases_from == "assumed"
    assert spoilt.events[-1].place.block != "THM"
    assert spoilt.remarks[0].startswith("bases are assumed")


def test_trace_table_is_found_in_blocks_read_through_bar0(tmp_path: Path) -> None:
    (gpu,) = gpumend.list_gpus(["model:mi350x"])
    sink = StringIO()
    wrapped = gpumend.Gpu(0, gpu.address, gpu.info, gpu.part, Trace(gpu.transport, sink, gpu.clock), gpu.clock)
    expected = gpumend.read_discovery(wrapped).require_ip_map()
    path = tmp_path / "a.jsonl"
    path.write_text(sink.getvalue())
    assert table_in(path) == expected


def test_trace_that_contradicts_the_given_table_is_refused(tmp_path: Path) -> None:
    path = saved(
        tmp_path, "a.trace", *(write(offset, 1, 1, f"GC{xcc}.RLC_CNTL") for xcc, offset in enumerate(RLC_CNTL))
    )
    other = IpMap(tuple(IpInstance(HW_IDS["GC"], xcc, (9, 5, 0), (0x3000 + xcc * 0x10000, 0xB000)) for xcc in range(8)))
    with pytest.raises(InvalidData) as caught:
        read_trace(path, other, "the discovery table x")
    assert caught.value.seen == "8 of the trace's own names disagree with the discovery table x"
    assert read_trace(path, assumed_map(), "y").bases_from == "y"


def test_trace_that_contradicts_the_assumed_bases_keeps_its_own_names(tmp_path: Path) -> None:
    trace = decoded(tmp_path, write(0x123400, 1, 1, "GC2.RLC_CNTL"), write(0x123404, 1))
    assert trace.bases_from == "the trace's own names"
    assert trace.events[0].place == Place("GC", 2, "RLC_CNTL")
    assert trace.events[1].place.block == "unnamed"
    assert trace.remarks == ["no bases: the trace's own names are used, what it does not name stays unnamed"]


def test_trace_bases_can_come_from_a_file_or_a_gpu(tmp_path: Path) -> None:
    table = tmp_path / "table.bin"
    table.write_bytes(model_table())
    path = saved(tmp_path, "a.trace", write(0x16600 * 4, 0))
    (gpu,) = gpumend.list_gpus(["model:mi350x"])
    for trace in (gpumend.read_trace(path, discovery=table), gpumend.read_trace(path, gpu=gpu)):
        assert trace.events[0].place.block == "THM"
    table.write_bytes(bytes(4096))
    with pytest.raises(Undecided):
        gpumend.read_trace(path, discovery=table)


def test_trace_of_something_else_is_refused(tmp_path: Path) -> None:
    class Other(FakeGpu):
        def info(self) -> FunctionInfo:
            return FunctionInfo("0000:c1:00.0", 0x10DE, 0x2335)

    sink = StringIO()
    Trace(Other(), sink).read32(5, 0)
    path = tmp_path / "a.jsonl"
    path.write_text(sink.getvalue())
    with pytest.raises(Unavailable) as caught:
        read_trace(path)
    assert caught.value.seen == "10de:2335"


# --- narrowing, small parts


def test_fold_trace_narrows_to_blocks_by_any_of_their_names(tmp_path: Path) -> None:
    trace = decoded(tmp_path, write(RLC_CNTL[0], 1), read(C2PMSG_35, 1), write(C2PMSG_35, 2))
    assert [row.name for row in gpumend.fold_trace(trace, blocks=["psp"])] == ["MP0[0].MP0_SMN_C2PMSG_35"] * 2
    assert [row.event.value for row in gpumend.fold_trace(trace, blocks=["psp,gc"], writes_only=True)] == [1, 2]
    with pytest.raises(UsageError) as caught:
        gpumend.fold_trace(trace, blocks=["sdma"])
    assert caught.value.expected == "one of GC, MP0"
    with pytest.raises(UsageError):
        gpumend.fold_trace(trace, blocks=[","])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("GC7.RLC_CNTL", Place("GC", 7, "RLC_CNTL")),
        ("SDMA15.SDMA_CNTL", Place("SDMA", 15, "SDMA_CNTL")),
        ("MP00.MP0_SMN_C2PMSG_35", Place("MP0", 0, "MP0_SMN_C2PMSG_35")),
        ("AID3.NBIF0.XCC_DOORBELL_FENCE", Place("NBIF", 3, "XCC_DOORBELL_FENCE")),
        ("MM_INDEX", None),
        ("doorbell[dword 0x10]", None),
        ("", None),
    ],
)
def test_trace_own_names_are_taken_apart(name: str, place: Place | None) -> None:
    assert place_of_name(name) == place


def test_trace_names_agree_or_not_with_bases() -> None:
    names = Names(assumed_map(), "assumed")
    assert names.agrees(RLC_CNTL[2], "GC2.RLC_CNTL") is True
    assert names.agrees(RLC_CNTL[2], "GC3.RLC_CNTL") is False
    assert names.agrees(0x1FFFFC, "GC3.RLC_CNTL") is False
    assert names.agrees(RLC_CNTL[2], "GC2.RLC_STAT") is False
    assert names.agrees(0x1FFFFC, "GC3.NOT_IN_ANY_TABLE") is None
    assert names.agrees(RLC_CNTL[2], "whatever") is None


def test_trace_bank_is_empty_for_what_is_not_banked() -> None:
    assert bank_of(Place("SDMA", 0, "CP_HQD_ACTIVE"), 1) == ""
    assert bank_of(Place("GC", 0, "RLC_CNTL"), 1) == ""
    assert bank_of(Place("GC", 0, "CP_MQD_CONTROL"), 0x704) == "{me 1 pipe 0 queue 7}"
