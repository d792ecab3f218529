"""Small traces for tests, in the format of register lines: byte offsets of BAR5 and what a software GPU would name them.

Bases as amdriver/trace_names.py assumes them; names and offsets are written out, so that a slip of the tables shows."""

from __future__ import annotations

import gzip
from pathlib import Path

GRBM_GFX_CNTL = [0x8000 + 0x88 + 0x40000 * xcc for xcc in range(8)]  # GC: segment 0 at 0x2000 dwords
HQD_ACTIVE = [0xC91C + 0x40000 * xcc for xcc in range(8)]
RLC_CNTL = [0x3B000 + 0x40000 * xcc for xcc in range(8)]
SH_MEM_CONFIG = [0x8C34 + 0x40000 * xcc for xcc in range(8)]
C2PMSG_35, C2PMSG_36 = 0x5818C, 0x58190
HDP_MEM_REMAP = 0x3934
INDEX2, DATA2, INDEX2_HI = 0x38, 0x3C, 0x44
MM_INDEX, MM_DATA, MM_INDEX_HI = 0x00, 0x04, 0x18
FENCE = 0x1011D030  # SMN: XCC_DOORBELL_FENCE of NBIO
INVALIDATE_REQ = [0xA250 + 0x40000 * xcc for xcc in range(8)]
INVALIDATE_ACK = [0xA298 + 0x40000 * xcc for xcc in range(8)]


def write(offset: int, value: int, times: int = 1, name: str = "") -> str:
    return _line("W", offset, value, times, name)


def read(offset: int, value: int, times: int = 1, name: str = "") -> str:
    return _line("R", offset, value, times, name)


def doorbell(offset: int, value: int) -> str:
    return _line("D", offset, value, 1, f"doorbell[dword {offset // 4:#x}]")


def smn_write(address: int, value: int) -> list[str]:
    """As the stock driver does it: the upper bits only for another AID, and back to 0 after."""
    high = address >> 32
    lines = [write(INDEX2, address & 0xFFFFFFFF)]
    lines += [write(INDEX2_HI, high)] if high else []
    lines += [write(DATA2, value), read(DATA2, value)]
    return lines + ([write(INDEX2_HI, 0)] if high else [])


def _line(op: str, offset: int, value: int, times: int, name: str) -> str:
    many = f" x{times}" if times > 1 else ""
    return f"{op} {offset:#07x} {value:#010x}{many}{f' ; {name}' if name else ''}"


def save(path: Path, *lines: str) -> Path:
    """The lines as a file; gzip when the name says so."""
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def saved(folder: Path, name: str, *lines: str) -> Path:
    return save(folder / name, *lines)
