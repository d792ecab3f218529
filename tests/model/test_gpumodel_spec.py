"""Addresses of software GPUs: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import pytest

from base.errors import Exit, UsageError
from gpumodel import faults, open_models, parts
from gpumodel.faults import CATALOGUE
from gpumodel.spec import parse


def test_parse_part_alone_is_one_used_gpu_without_faults() -> None:
    spec = parse("mi350x")
    assert (spec.chip.name, spec.count, spec.state, spec.faults, spec.pick) == ("mi350x", 1, "used", (), None)
    assert spec.name_of(0) == "model:mi350x"


def test_parse_everything_given_is_kept() -> None:
    spec = parse("model:mi300x*8?state=cold&fault=discovery-clobbered:64@2,bootloader-silent@5,mec-hang:3#7")
    assert (spec.chip.name, spec.count, spec.state, spec.pick) == ("mi300x", 8, "cold", 7)
    placed = [(item.gpu, item.fault.fault.name, item.fault.value) for item in spec.faults]
    assert placed[:2] == [(2, "discovery-clobbered", 64), (5, "bootloader-silent", 2)]
    assert placed[2:] == [(gpu, "mec-hang", 3) for gpu in range(8)]
    assert spec.address == "model:mi300x*8?state=cold&fault=discovery-clobbered:64@2,bootloader-silent@5,mec-hang:3"


@pytest.mark.parametrize(
    ("text", "expected", "seen", "next_step"),
    [
        ("", "a part: mi300x, mi350x", "nothing", "example: model:mi350x*8"),
        ("mi305x", "a part: mi300x, mi350x", "'mi305x'", "did you mean mi3"),
        ("h201", "h100, h200, b200, rtx4090, rtx5090", "'h201'", "did you mean h200"),
        ("mi350x*0", "the number of GPUs from 1 to 8", "'0'", "example"),
        ("mi350x*9", "the number of GPUs from 1 to 8", "'9'", "example"),
        ("mi350x*", "the number of GPUs from 1 to 8", "nothing", "example"),
        ("mi350x*two", "the number of GPUs from 1 to 8", "'two'", "example"),
        ("mi350x?", "state=..., fault=..., vram=..., vbios=...", "nothing", "example"),
        ("mi350x?vbios=yes", "vbios on or off", "'yes'", "example"),
        ("mi350x?vbios=of", "vbios on or off", "'of'", "did you mean off"),
        ("mi350x?stat=cold", "state=..., fault=..., vram=..., vbios=...", "'stat=cold'", "did you mean state"),
        ("mi350x?state=warm", "state cold or used", "'warm'", "example"),
        ("mi350x?state=usd", "state cold or used", "'usd'", "did you mean used"),
        ("mi350x?state=cold&state=used", "state once", "state twice", "example"),
        ("mi350x?fault=", "a fault", "nothing", "example"),
        ("mi350x?fault=bootloader-silnt", "a fault", "'bootloader-silnt'", "did you mean bootloader-silent"),
        ("mi350x*4?fault=bus-lost@4", "GPU of bus-lost from 0 to 3", "'4'", "example"),
        ("mi350x?fault=bus-lost@", "GPU of bus-lost from 0 to 0", "nothing", "example"),
        ("mi350x?fault=bus-lost:1", "bus-lost without argument", "bus-lost:1", "example"),
        ("mi350x?fault=mec-hang:8", "XCC of mec-hang from 0 to 7", "'8'", "example"),
        ("mi350x?fault=mec-hang:", "XCC of mec-hang from 0 to 7", "nothing", "example"),
        ("mi350x?fault=page-fault:0", "VMID of page-fault from 1 to 15", "'0'", "example"),
        ("mi350x?fault=link-narrow:3", "LANES of link-narrow one of 1, 2, 4, 8", "3", "example"),
        ("mi350x*2?fault=xgmi-link-down:1", "LINK of xgmi-link-down from 0 to 0", "'1'", "example"),
        ("mi350x?fault=discovery-bitflip:16512", "BIT of discovery-bitflip from 0 to 16511", "'16512'", "example"),
        ("mi350x*2#2", "GPU from 0 to 1", "'2'", "example"),
        ("mi350x*2#", "GPU from 0 to 1", "nothing", "example"),
        ("mi350x*1_0", "the number of GPUs from 1 to 8", "'1_0'", "example"),
        ("mi350x*2*3", "the number of GPUs from 1 to 8", "'2*3'", "example"),
    ],
)
def test_parse_wrong_address_is_a_usage_error(text: str, expected: str, seen: str, next_step: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    error = caught.value
    assert error.exit_code == Exit.USAGE
    assert error.doing == f"reading the address {text!r}"
    assert expected in error.expected
    assert error.seen == seen
    assert next_step in error.next_step


def test_open_models_names_reach_the_same_gpu_again() -> None:
    hive = open_models("mi300x*3?fault=sdma-hang@1")
    assert [gpu.name for gpu in hive] == [f"model:mi300x*3?fault=sdma-hang@1#{index}" for index in range(3)]
    (again,) = open_models(hive[1].name)
    assert again.name == hive[1].name
    assert again.gpu.index == 1
    assert len(again.gpu.hive.gpus) == 3


def test_parts_and_faults_are_listed() -> None:
    assert list(CATALOGUE.values()) == faults()
    assert [(part.name, hex(part.device), part.vram_size >> 30, part.compute_units) for part in parts()] == [
        ("mi300x", "0x74a1", 192, 304),
        ("mi350x", "0x75a0", 288, 256),
    ]
    assert [fault.name for fault in faults()] == [
        "bus-lost",
        "bar-dead",
        "discovery-clobbered",
        "discovery-zeros",
        "discovery-ones",
        "discovery-bitflip",
        "bootloader-silent",
        "smu-silent",
        "mec-hang",
        "sdma-hang",
        "page-fault",
        "ras-fatal",
        "xgmi-link-down",
        "link-narrow",
        "aer-correctable",
        "psp-refuses",
        "psp-ring-dead",
        "smu-refuses",
        "smu-busy",
        "tlb-ack-missing",
        "rlc-stuck",
        "kiq-dead",
        "sdma-halted",
        "ih-overflow",
        "lost-during",
        "needs-power-cycle",
        "reset-wears-out",
        "reset-hangs",
        "reset-lies",
        "flr-loses-config",
        "discovery-clobbered-after",
        "one-member-late",
        "throttle",
    ]


@pytest.mark.parametrize(
    ("fault", "expected", "seen"),
    [
        ("psp-refuses:kbd", "COMPONENT of psp-refuses: kdb, spl, sys-drv", "'kbd'"),
        ("psp-refuses:3", "COMPONENT of psp-refuses: kdb, spl, sys-drv", "'3'"),
        ("psp-refuses:", "COMPONENT of psp-refuses: kdb, spl, sys-drv", "nothing"),
        ("lost-during:kernel", "STEP of lost-during: gmc, ih, bootloader", "'kernel'"),
        ("smu-refuses:GetSmuVersio", "MSG of smu-refuses: the name of one, such as GetSmuVersion", "'GetSmuVersio'"),
        ("smu-refuses:0x100", "MSG of smu-refuses from 1 to 255", "'0x100'"),
        ("sdma-halted:16", "ENGINE of sdma-halted from 0 to 15", "'16'"),
        ("smu-busy:1", "smu-busy without argument", "smu-busy:1"),
    ],
)
def test_spec_argument_that_is_no_word_or_number_of_the_fault_is_refused(fault: str, expected: str, seen: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_models(f"mi350x?fault={fault}")
    assert caught.value.expected.startswith(expected)
    assert caught.value.seen == seen


def test_spec_word_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        open_models("mi350x?fault=lost-during:psp-rng")
    assert caught.value.next_step == "did you mean psp-ring?"
