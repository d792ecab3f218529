"""Kernels that go wrong, as machine code: a few instructions each, the same for gfx942 and gfx950.

Source of every word: LLVM 22 llvm-mc -triple=amdgcn -mcpu=gfx942 and gfx950 -show-encoding; its disassembler knows no
instruction 0xFFFFFFFF. The descriptor before the code: AMDGPU usage guide, code object kernel descriptor (64 bytes,
entry at byte 16)."""

from __future__ import annotations

import struct

UNMAPPED_VA = 0x7F00_0000_1000  # in nobody's page table: we map near the lower end
DESCRIPTOR_BYTES = 256
_V_MOV_B32 = 0x7E0002FF  # v_mov_b32 v0, literal; the register number in bits 24:17
_V_MOV_V2_42 = 0x7E0402AA
_GLOBAL_STORE = (0xDC708000, 0x007F0200)  # global_store_dword v[0:1], v2, off
_S_WAITCNT_VM0 = 0xBF8C0F70
_S_BRANCH_SELF = 0xBF82FFFF
_S_ENDPGM = 0xBF810000
_NO_INSTRUCTION = 0xFFFFFFFF

PROGRAMS: dict[str, tuple[int, ...]] = {
    "invalid-address": (
        _V_MOV_B32, UNMAPPED_VA & 0xFFFFFFFF, _V_MOV_B32 | 1 << 17, UNMAPPED_VA >> 32, _V_MOV_V2_42, *_GLOBAL_STORE,
        _S_WAITCNT_VM0, _S_ENDPGM,
    ),
    "infinite-loop": (_S_BRANCH_SELF, _S_ENDPGM),
    "illegal-instruction": (_NO_INSTRUCTION, _S_ENDPGM),
    "good": (_S_ENDPGM,),
}  # fmt: skip


def code_object(name: str) -> bytes:
    """Kernel descriptor and code; the kernel object's address is that of the first byte. No SGPRs are asked for."""
    descriptor = struct.pack("<III4xq20xIIIH6x", 0, 0, 0, DESCRIPTOR_BYTES, 0, 0, 0, 0)
    words = PROGRAMS[name]
    # The instruction prefetch reads on behind the end: s_endpgm there, not whatever the memory held.
    return (
        descriptor.ljust(DESCRIPTOR_BYTES, b"\0")
        + struct.pack(f"<{len(words)}I", *words)
        + struct.pack("<I", _S_ENDPGM) * 64
    )
