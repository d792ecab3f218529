"""ELF files as tinygrad loads kernels from, around programs of the model's own (gpumodel/dispatch.py)."""

from __future__ import annotations

import struct

from gpumodel.dispatch import Operation, program

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_DESCRIPTOR = struct.Struct("<III4xq20xIIIHH4x")  # llvm_amdhsa_kernel_descriptor_t
_PROGBITS, _STRTAB, _ALLOC = 1, 3, 2
RODATA_AT, TEXT_AT = 0x1000, 0x1100  # addresses in the image, and offsets in the file
_KERNARG_POINTER = 1 << 3  # kernel_code_properties: ENABLE_SGPR_KERNARG_SEGMENT_PTR


def kernel(*operations: Operation, arguments: int = 1, private_bytes: int = 0) -> bytes:
    """A file with one kernel of so many 64-bit arguments."""
    text = program(*operations)
    descriptor = _DESCRIPTOR.pack(0, private_bytes, 8 * arguments, TEXT_AT - RODATA_AT, 0, 0, 0, _KERNARG_POINTER, 0)
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
