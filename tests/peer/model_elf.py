"""ELF files as tinygrad loads kernels from, around programs of the model's own (gpumodel/dispatch.py) or real code."""

from __future__ import annotations

import struct

from gpumodel.dispatch import Operation, program

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_DESCRIPTOR = struct.Struct("<III4xq20xIIIHH4x")  # llvm_amdhsa_kernel_descriptor_t
_PROGBITS, _STRTAB, _ALLOC = 1, 3, 2
RODATA_AT, TEXT_AT = 0x1000, 0x1100  # addresses in the image, and offsets in the file
_KERNARG_POINTER = 1 << 3  # kernel_code_properties: ENABLE_SGPR_KERNARG_SEGMENT_PTR
_TWO_USER_SGPRS_AND_GROUP_X = 2 << 1 | 1 << 7  # COMPUTE_PGM_RSRC2


def kernel(*operations: Operation, arguments: int = 1, private_bytes: int = 0) -> bytes:
    """A file with one kernel of so many 64-bit arguments."""
    return around(program(*operations), arguments=arguments, private_bytes=private_bytes)


def around(text: bytes, *, arguments: int = 1, private_bytes: int = 0, group_bytes: int = 0) -> bytes:
    """A file with one kernel: the address of its arguments in s[0:1], the number of its group in s2."""
    entry, size = TEXT_AT - RODATA_AT, 8 * arguments
    rsrc2 = _TWO_USER_SGPRS_AND_GROUP_X
    descriptor = _DESCRIPTOR.pack(group_bytes, private_bytes, size, entry, 0, 0, rsrc2, _KERNARG_POINTER, 0)
    names = b"\0.rodata\0.text\0.shstrtab\0"
    names_at = TEXT_AT + len(text)
    headers_at = names_at + len(names)
    sections = (
        bytes(_SHDR.size),
        _SHDR.pack(names.index(b".rodata"), _PROGBITS, _ALLOC, RODATA_AT, RODATA_AT, len(descriptor), 0, 0, 64, 0),
        _SHDR.pack(names.index(b".text"), _PROGBITS, _ALLOC, TEXT_AT, TEXT_AT, len(text), 0, 0, 256, 0),
        _SHDR.pack(names.index(b".shstrtab"), _STRTAB, 0, 0, names_at, len(names), 0, 0, 1, 0),
    )
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = _EHDR.pack(ident, 3, 224, 1, 0, 0, headers_at, 0, _EHDR.size, 0, 0, _SHDR.size, len(sections), 3)
    body = header.ljust(RODATA_AT, b"\0") + descriptor.ljust(TEXT_AT - RODATA_AT, b"\0") + text
    return body + names + b"".join(sections)
