"""Register classes and tables against what the interpreter allows.

Peers' figures were measured earlier on a machine like this one, without a GPU (tinygrad 0.14.0); compare ratios only."""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
from pathlib import Path

from bench import peer as tinygrad
from bench.harness import Row, compare, duration

ROOT = Path(__file__).resolve().parent.parent
RUNS = 7

# A fresh interpreter for each run; what it takes is counted inside it, from before the import to the first value read.
_FIRST_USE = """
import registers.core, time
class Bus:
    def read(self, address): return 0x80003028
    def write(self, address, value): pass
    def where(self, address): return "nowhere"
start = time.perf_counter()
from registers.amd.{module} import {block}
{block}(Bus(), (0x2000, 0xA000, 0, 0, 0, 0, 0, 0, 0)).{register}.read().fields()
print(time.perf_counter() - start)
"""


class Bus:
    """One dword of memory."""

    def __init__(self) -> None:
        self.value = 0x1234_5678

    def read(self, address: int) -> int:
        return self.value

    def write(self, address: int, value: int) -> None:
        self.value = value

    def where(self, address: int) -> str:
        return hex(address)


def first_use(module: str, block: str, register: str) -> float:
    """Seconds from the import to the first register read, median of some fresh interpreters with compiled files."""
    program = _FIRST_USE.format(module=module, block=block, register=register)
    times = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
        times.append(float(done.stdout))
    return statistics.median(times)


def first_use_rows() -> list[Row]:
    # As pip installs them: with their .pyc files. compileall writes them even where the environment says not to.
    compileall.compile_dir(str(ROOT / "registers"), quiet=2)
    blocks = (
        ("gc_9_4_3", "Gc", "GRBM_STATUS"),
        ("nbio_7_9_0", "Nbio", "BIF_BX0_BIF_FB_EN"),
        ("mp_13_0_6", "Mp0", "MP0_SMN_C2PMSG_35"),
    )
    peer = "tinygrad 38-59 ms for one GPU's tables, 4-6.5 ms for each further one"
    return [
        Row(f"first use of {module}.{block}", first_use(module, block, register), 0.0, 0.0, "<= 5 ms", peer)
        for module, block, register in blocks
    ]


def further_gpu_row() -> Row:
    from registers.amd.gc_9_4_3 import Gc

    bus = Bus()
    return duration(
        "the same block for a further GPU",
        lambda: Gc(bus, (0x2000, 0xA000)).GRBM_STATUS.read(),
        goal="~0",
        peer="tinygrad 4-6.5 ms",
        rounds=9,
    )


def decode_row() -> Row:
    from registers.core import Register, bit, bits

    class Ten(Register):
        __slots__ = ()
        A = bits(2, 0)
        B = bits(5, 3)
        C = bit(6)
        D = bit(7)
        E = bits(11, 8)
        F = bits(15, 12)
        G = bits(19, 16)
        H = bits(23, 20)
        I = bits(30, 24)  # noqa: E741
        J = bit(31)

    def by_hand(v: int = 0x8123_4567) -> dict[str, int]:
        return {
            "A": v & 7,
            "B": v >> 3 & 7,
            "C": v >> 6 & 1,
            "D": v >> 7 & 1,
            "E": v >> 8 & 15,
            "F": v >> 12 & 15,
            "G": v >> 16 & 15,
            "H": v >> 20 & 15,
            "I": v >> 24 & 127,
            "J": v >> 31 & 1,
        }

    assert Ten.decode(0x8123_4567) == by_hand()
    return compare(
        "decode a 10-field register",
        lambda: Ten.decode(0x8123_4567),
        lambda: by_hand(0x8123_4567),
        goal="<= 1.5x",
        peer="tinygrad 2.0-2.7 us (floor 0.6-0.96)",
    )


def modify_rows() -> list[Row]:
    from registers.amd.gc_9_4_3 import Gc

    bus = Bus()
    control = Gc(bus, (0x2000, 0xA000)).CP_HQD_PQ_CONTROL
    address = control.address
    prepared = control.kind.change(QUEUE_SIZE=9, RPTR_BLOCK_SIZE=5, PRIV_STATE=1)

    def floor() -> None:
        value = bus.read(address)
        bus.write(address, value & ~0x3F & ~0x3F00 & ~(1 << 30) | 9 | 5 << 8 | 1 << 30)

    def by_names() -> None:
        control.modify(QUEUE_SIZE=9, RPTR_BLOCK_SIZE=5, PRIV_STATE=1)

    # By names it cannot be 8x: that is what the floor takes, which checks nothing and takes no names. Hot paths prepare.
    works = {
        "read-modify-write of 3 fields, prepared": (lambda: control.apply(prepared), ">= 8x peer"),
        "the same by names, checked at each call": (by_names, "-"),
    }
    rows = []
    for name, (work, goal) in works.items():
        row = compare(name, work, floor, goal=goal, peer="tinygrad 4.3-7.0 us (floor 0.3-0.4)")
        if tinygrad.at_hand():
            fields = {field: (bits.lsb, bits.msb) for field, bits in control.kind.FIELDS.items()}
            theirs = tinygrad.Peer().register_update(fields, {"QUEUE_SIZE": 9, "RPTR_BLOCK_SIZE": 5, "PRIV_STATE": 1})
            row = tinygrad.side_by_side(row, work, theirs)
        rows.append(row)
    return rows


def table_rows() -> list[Row]:
    from registers import tables

    return [
        duration("find one register by exact name", lambda: tables.lookup("CP_HQD_ACTIVE"), goal="-", rounds=9),
        duration("search all tables for CP_HQD*", lambda: tables.search("CP_HQD*"), goal="-", rounds=9),
    ]


def rows() -> list[Row]:
    return [*first_use_rows(), further_gpu_row(), decode_row(), *modify_rows(), *table_rows()]
