"""The QMD against bits that are set by hand from NVIDIA's header (clcbc0qmd.h)."""

from __future__ import annotations

import struct

import pytest

from base.errors import UsageError
from nvdriver import qmd

KERNEL = qmd.Kernel(0x12_3456_7800, registers=40, shared_bytes=1000, local_bytes=64, barriers=2, code_bytes=0x1234)


def bits(data: bytes, high: int, low: int) -> int:
    return int.from_bytes(data, "little") >> low & (1 << high - low + 1) - 1


def test_qmd_holds_each_field_at_its_bits_and_nothing_else() -> None:
    data = qmd.build(
        KERNEL,
        grid=(0x12345, 0x67, 0x89),
        threads=(64, 4, 2),
        constants=((0, 0x40_0000_1240, 0x160), (3, 0x40, 0x10)),
        releases=((0x1F_2345_6780, 0xAABBCCDD_11223344), (0x10, 7)),
    )
    assert len(data) == 384
    wanted = {
        (21, 16): 0x3F, (25, 23): 2, (320, 320): 1, (322, 321): 0, (323, 323): 1, (332, 332): 1, (336, 336): 1,
        (339, 339): 1, (348, 348): 1, (416, 416): 1, (419, 419): 1, (428, 428): 1, (431, 431): 1, (543, 536): 0x90,
        (567, 544): 64, (568, 568): 1, (569, 569): 1, (583, 576): 0x40, (601, 584): 1024, (607, 602): 0b101111,
        (613, 608): 3, (619, 614): 58, (625, 620): 3, (671, 640): 0x23456780, (696, 672): 0x1F, (735, 704): 0x11223344,
        (767, 736): 0xAABBCCDD, (799, 768): 0x10, (863, 832): 7, (1055, 1024): 0x12345, (1071, 1056): 0x67,
        (1103, 1088): 0x89, (1137, 1136): 1, (1167, 1152): 64, (1183, 1168): 4, (1199, 1184): 2, (1208, 1200): 40,
        (1215, 1211): 2, (1247, 1216): 0x34567800, (1272, 1248): 0x12, (1375, 1344): 0x12345678, (1392, 1376): 0,
        (1401, 1393): 0x12, (1567, 1536): 0x40_0000_1240 >> 6 & 0xFFFFFFFF, (1586, 1568): 0x40_0000_1240 >> 38,
        (1599, 1587): 0x16, (1759, 1728): 1, (1791, 1779): 1,
    }  # fmt: skip
    rest = int.from_bytes(data, "little")
    for (high, low), value in wanted.items():
        assert bits(data, high, low) == value, (high, low)
        rest &= ~(((1 << high - low + 1) - 1) << low)
    assert rest == 0


@pytest.mark.parametrize(
    "change",
    [
        {"grid": (0, 1, 1)}, {"grid": (1, 1 << 16, 1)}, {"threads": (1025, 1, 1)}, {"threads": (0, 1, 1)},
        {"constants": ((8, 0, 16),)}, {"constants": ((0, 32, 16),)}, {"constants": ((0, 64, 8),)},
        {"constants": ((0, 64, 1 << 17),)}, {"releases": ((8, 1),)}, {"releases": ((0, 1 << 64),)}, {"releases": ((0, 1),) * 4},
    ],
)  # fmt: skip
def test_qmd_of_what_the_fields_cannot_hold_is_refused(change: dict[str, object]) -> None:
    values: dict[str, object] = {"grid": (1, 1, 1), "threads": (32, 1, 1), **change}
    with pytest.raises(UsageError):
        qmd.build(KERNEL, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kernel",
    [qmd.Kernel(0, 0), qmd.Kernel(0, 256), qmd.Kernel(0, 1, shared_bytes=228 << 10), qmd.Kernel(0, 1, local_bytes=8),
     qmd.Kernel(1 << 60, 1)],
)  # fmt: skip
def test_qmd_of_a_kernel_that_cannot_be_is_refused(kernel: qmd.Kernel) -> None:
    with pytest.raises(UsageError):
        qmd.build(kernel, grid=(1, 1, 1), threads=(1, 1, 1))


def test_launch_template_gives_what_build_gives() -> None:
    template = qmd.LaunchTemplate(KERNEL, threads=(64, 4, 2), bank_bytes=0x160, release=0x1F_2345_6780)
    for bank, grid, value in (
        (0x40_0000_1240, (5, 6, 7), 9),
        (0x7F_FFFF_FFC0, (0xFFFFFFFF, 0xFFFF, 0xFFFF), (1 << 64) - 1),
    ):
        whole = qmd.build(
            KERNEL, grid=grid, threads=(64, 4, 2), constants=((0, bank, 0x160),), releases=((0x1F_2345_6780, value),)
        )
        assert bytes(template.launch(bank, *grid, value)) == whole
    with pytest.raises(struct.error):
        template.launch(0, 1, 1 << 16, 1, 0)
