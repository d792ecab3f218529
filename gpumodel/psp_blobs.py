"""What the PSP checks in a firmware blob before it takes it: the `$PS1` wrapper, the kind, the signature.

Source: AMD's own files (hardware/amd-firmware.md section 6; the words at +0x58 and +0x64 were decoded for this model: no
document tells of them). A signature cannot be computed without AMD's keys, so the digests of all known payloads stand
in for it: a known version with other bytes fails, a version that nobody has seen passes when its wrapper is sound.
Sizes in bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

MAGIC = b"$PS1"
HEADER_BYTES = 0x100
SIGNATURE_BYTES = 0x200
LARGEST = 1 << 20  # the loading buffer of the kernel driver

_MAGIC_AT, _BODY_AT, _SIGNED_AT, _KIND_AT, _VERSION_AT, _PLATFORM_AT, _TOTAL_AT = (
    0x10,
    0x14,
    0x30,
    0x58,
    0x60,
    0x64,
    0x6C,
)
_PLATFORMS = {b"MI30": ("9.4.3", "9.4.4"), b"MI35": ("9.5.0",)}  # in SOS and SYS_DRV only
_RAS_TA_SLACK = 0x200  # the RAS application's total leaves out that much


class Kind(IntEnum):
    """Low half of the word at +0x58."""

    XGMI_TA = 0x0000
    SOS = 0x0009
    SYS_DRV = 0x000A
    KDB = 0x004F
    REG_LIST = 0x0135
    SOC_DRV = 0x014A
    DBG_DRV = 0x014B
    INTF_DRV = 0x014C
    RAS_DRV = 0x0152
    P2S = 0x01D2
    RAS_TA = 0x0F1B
    MEC = 0x2004
    MEC_JT = 0x2005
    RLC_G = 0x2009
    RLC_GPM = 0x200B
    RLC_SRM = 0x200C
    RLC_CNTL = 0x200D
    SDMA = 0x2025
    VCN = 0x2038


class BlobError(Exception):
    """Why a blob is not taken. `flaw` says at which check it failed."""

    def __init__(self, flaw: Flaw, text: str) -> None:
        super().__init__(text)
        self.flaw = flaw


class Flaw(IntEnum):
    FORMAT = 4
    KIND = 5
    SIGNATURE = 6


@dataclass(frozen=True, slots=True)
class Blob:
    kind: int
    version: int
    total: int


# GC version of the family, kind, version, first 16 hex digits of the SHA-256 of header, body and signature.
# firmware-amd-graphics 20260916.
_KNOWN = """
9.5.0 0000 20000014 2b24429cb389279a
9.4.3 0000 20000014 8aa29b27871e7cca
9.4.4 0000 20000015 2e29d1b434c2f92c
9.4.3 0000 20000114 dbe249213a38e281
9.4.3 0009 0036024e 34e751f01dc654ee
9.4.3 0009 00360260 32ce781d8d88541a
9.4.4 0009 00360822 0ff3eb4b29388871
9.5.0 0009 0045002f 647f0a9d6511bc4d
9.4.3 000a 0036024e ac289a27a2b15c9c
9.4.3 000a 00360260 4f20e69769804709
9.4.4 000a 00360822 8a23998065c8cb33
9.5.0 000a 0045002f 4b1bb1ab3778f6c0
9.4.3 004f 05003600 21c1e8bbf6572eac
9.4.4 004f 05003600 c66865bc44612b7e
9.5.0 004f 70450401 11d008166730ee3f
9.5.0 0135 06004500 7778cf42cef5b8c5
9.4.3 0135 09023600 c6018e05af69d48b
9.4.3 0135 0c023600 c6435c046c5067dc
9.4.4 0135 0c023600 c6435c046c5067dc
9.4.3 014a 0036024e af9252cea6366509
9.4.3 014a 00360260 848d45110da975a7
9.4.4 014a 00360822 4fdf052631680519
9.5.0 014a 0045002f 45865507bfb0c309
9.4.3 014b 0036024e 6adbb4853af7da13
9.4.3 014b 00360260 742a3cb5494fb538
9.4.4 014b 00360822 64021dd48ea7580e
9.5.0 014b 0045002f ddb67889bf8d7305
9.4.3 014c 0036024e 5976d1ab06f1aa0d
9.4.3 014c 00360260 bbbd6cdbc3cfc843
9.4.4 014c 00360822 c7b41ba6f24b07c8
9.5.0 014c 0045002f 78ff0af638212ef7
9.4.3 0152 0036024e 498394fefb15cca5
9.4.3 0152 00360260 1df20624d6e0c6f6
9.4.4 0152 00360822 20385354c452cfc1
9.5.0 0152 0045002f c7da445ed87205c5
9.4.4 01d2 00010201 d06b8648033d9c92
9.4.3 01d2 00030301 033216829a98fe9c
9.4.3 01d2 00050101 70d7553c27665495
9.4.3 01d2 00070001 090b06c735e03c9a
9.4.3 0f1b 1b36021b 3f6c162ca5e2354a
9.4.4 0f1b 1b360818 2eb291fd0883702c
9.5.0 0f1b 1b45000a 607fb978e1be8c94
9.5.0 2004 0000002c 415e77753a00c2ee
9.4.3 2004 000000c2 6b9ec3423861d489
9.4.4 2004 000000c2 f6774a1a052d90d9
9.5.0 2004 0000802c 469334907979bb4b
9.4.4 2004 000080c2 b2c0a2f765663e80
9.4.3 2004 000080c2 d5a666a0ad868288
9.5.0 2005 0000002c 9f54199d3013a15d
9.4.4 2005 000000c2 2bb8ed6e280884bf
9.4.3 2005 000000c2 ffe1a02ebb7012b3
9.5.0 2005 0000802c e744a22fce253fb8
9.4.4 2005 000080c2 0278687dd0b877cb
9.4.3 2005 000080c2 753bef0ba6bc3601
9.5.0 2009 0000002b 4e7d49e0049b426f
9.4.4 2009 00000040 4a053a3c10dc3646
9.4.3 2009 00000046 07c71f7c6def6b2f
9.5.0 200b 00000000 03d7d0eebd7b70fb
9.4.4 200b 00000000 1e368a0d0bc9f598
9.4.3 200b 00000000 c721d3779a12f28e
9.5.0 200c 00000000 10e2033d0d298b3e
9.4.3 200c 00000000 41fb1b60c186aa52
9.4.4 200c 00000000 6a4a35503f68bc44
9.5.0 200d 00000000 2320d4b8f8ea8815
9.4.3 200d 00000000 a135f9c11d4ccb34
9.4.4 200d 00000000 e09deb0169e99e45
9.5.0 2025 0000000e e2e8aa64e0d7d14f
9.4.4 2025 0000001b 4ea816710ae02c11
9.4.3 2025 0000001b a884ea461ee956d2
9.5.0 2038 0910c01a f2fcbd3401ce1948
9.4.3 2038 09118020 13a276a9871b79f2
9.4.4 2038 09118020 13a276a9871b79f2
"""


@lru_cache(maxsize=1)
def _known() -> dict[tuple[int, int], dict[str, set[str]]]:
    """Families by digest, by (kind, version)."""
    table: dict[tuple[int, int], dict[str, set[str]]] = {}
    for line in _KNOWN.split("\n")[1:-1]:
        family, kind, version, digest = line.split()
        table.setdefault((int(kind, 16), int(version, 16)), {}).setdefault(digest, set()).add(family)
    return table


Read = Callable[[int, int], bytes]


def load(read: Read, address: int, limit: int, wanted: frozenset[int], family: str) -> Blob:
    """Read and check the blob at an address, at most `limit` bytes; `wanted`: kinds that will do, empty: any that is no
    known one. Raises BlobError, and whatever `read` raises."""
    if limit < HEADER_BYTES:
        raise BlobError(Flaw.FORMAT, f"{limit:#x} bytes are less than a wrapper")
    header = read(address, HEADER_BYTES)
    blob = _header(header, limit)
    _check_kind(blob, header, wanted, family)
    data = header + read(address + HEADER_BYTES, blob.total - HEADER_BYTES)
    _check_signature(blob, data, family)
    return blob


def _header(header: bytes, limit: int) -> Blob:
    def word(place: int) -> int:
        value: int = struct.unpack_from("<I", header, place)[0]
        return value

    if header[_MAGIC_AT : _MAGIC_AT + 4] != MAGIC:
        raise BlobError(Flaw.FORMAT, f"no $PS1 at +{_MAGIC_AT:#x} but {header[_MAGIC_AT : _MAGIC_AT + 4].hex()}")
    total, body = word(_TOTAL_AT), word(_BODY_AT)
    framed = HEADER_BYTES + body + SIGNATURE_BYTES
    if total not in (framed, framed - _RAS_TA_SLACK) or not body:
        raise BlobError(Flaw.FORMAT, f"body {body:#x} and total {total:#x} do not fit together")
    if total > limit:
        raise BlobError(Flaw.FORMAT, f"its {total:#x} bytes are more than the {limit:#x} given")
    if word(_SIGNED_AT) != 1:
        raise BlobError(Flaw.SIGNATURE, "it is not signed")
    return Blob(word(_KIND_AT) & 0xFFFF, word(_VERSION_AT), total)


def _check_kind(blob: Blob, header: bytes, wanted: frozenset[int], family: str) -> None:
    known = {int(kind) for kind in Kind}
    if blob.kind not in wanted if wanted else blob.kind in known:
        found = Kind(blob.kind).name if blob.kind in known else f"kind {blob.kind:#x}"
        names = "/".join(Kind(kind).name for kind in sorted(wanted)) or "something else"
        raise BlobError(Flaw.KIND, f"it is {found}, not {names}")
    platform = _PLATFORMS.get(header[_PLATFORM_AT : _PLATFORM_AT + 4])
    if platform is not None and family not in platform:
        raise BlobError(Flaw.SIGNATURE, f"it is for GC {' and '.join(platform)}, this is {family}")


def _check_signature(blob: Blob, data: bytes, family: str) -> None:
    versions = _known().get((blob.kind, blob.version))
    if versions is None:
        return
    families = versions.get(hashlib.sha256(data).hexdigest()[:16])
    if families is None:
        raise BlobError(Flaw.SIGNATURE, "its signature does not match")
    if family not in families:
        raise BlobError(Flaw.SIGNATURE, f"it is signed for GC {' and '.join(sorted(families))}, this is {family}")
