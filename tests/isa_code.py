"""Small kernels of our own for the interpreter, as assembly and as the bytes that LLVM makes of it.

    .venv/bin/python tools/get_llvm.py && .venv/bin/python -m tests.isa_code    # assembles all again into isa_code.txt

Command: llvm-mc -triple=amdgcn -mcpu=TARGET -filetype=obj, then llvm-objcopy -O binary -j .text (LLVM 22.1.8). Every kernel
gets the address of its arguments in s[0:1]; group ids follow from s2 on. Argument 0 is where it writes, 1 where it reads."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

TARGETS = ("gfx942", "gfx950")
_FILE = Path(__file__).with_name("isa_code.txt")

_START = """
  s_load_dwordx4 s[4:7], s[0:1], 0x0
  s_waitcnt lgkmcnt(0)
"""

SOURCES = {
    # out[i] = in[i] + 1.0, for i < 1000; group size 64
    "add": _START
    + """
  s_lshl_b32 s3, s2, 6
  v_add_u32_e32 v0, s3, v0
  v_lshlrev_b32_e32 v1, 2, v0
  v_cmp_gt_u32_e32 vcc, 0x3e8, v0
  s_and_saveexec_b64 s[10:11], vcc
  s_cbranch_execz L0
  global_load_dword v2, v1, s[6:7]
  s_waitcnt vmcnt(0)
  v_add_f32_e32 v2, 1.0, v2
  global_store_dword v1, v2, s[4:5]
L0:
  s_endpgm
""",
    # each wave goes round as often as its group's number says, plus one; out[thread] = rounds
    "rounds": _START
    + """
  v_mov_b32_e32 v2, 0
  s_mov_b32 s8, 0
L0:
  v_add_u32_e32 v2, 1, v2
  s_add_i32 s8, s8, 1
  s_cmp_le_u32 s8, s2
  s_cbranch_scc1 L0
  s_lshl_b32 s3, s2, 6
  v_add_u32_e32 v0, s3, v0
  v_lshlrev_b32_e32 v1, 2, v0
  global_store_dword v1, v2, s[4:5]
  s_endpgm
""",
    # out[i] = in[255 - i] through LDS, one group of 256
    "reverse": _START
    + """
  v_lshlrev_b32_e32 v1, 2, v0
  global_load_dword v2, v1, s[6:7]
  s_waitcnt vmcnt(0)
  ds_write_b32 v1, v2
  s_waitcnt lgkmcnt(0)
  s_barrier
  v_sub_u32_e32 v3, 0x3fc, v1
  ds_read_b32 v4, v3
  s_waitcnt lgkmcnt(0)
  global_store_dword v1, v4, s[4:5]
  s_endpgm
""",
    # the first wave alone writes LDS before the barrier, by a branch that tells waves apart
    "first_wave_writes": _START
    + """
  v_lshlrev_b32_e32 v1, 2, v0
  v_readfirstlane_b32 s8, v0
  s_cmp_lg_u32 s8, 0
  s_cbranch_scc1 L0
  v_add_u32_e32 v2, 7, v0
  ds_write_b32 v1, v2
L0:
  s_waitcnt lgkmcnt(0)
  s_barrier
  v_and_b32_e32 v3, 0xfc, v1
  ds_read_b32 v4, v3
  s_waitcnt lgkmcnt(0)
  global_store_dword v1, v4, s[4:5]
  s_endpgm
""",
    # in[0] counts all threads; out[i] = what was there before; out of order is allowed, twice the same is not
    "count": _START
    + """
  s_lshl_b32 s3, s2, 6
  v_add_u32_e32 v0, s3, v0
  v_lshlrev_b32_e32 v1, 2, v0
  v_mov_b32_e32 v2, 0
  v_mov_b32_e32 v3, 1
  global_atomic_add v4, v2, v3, s[6:7] sc0
  s_waitcnt vmcnt(0)
  global_store_dword v1, v4, s[4:5]
  s_endpgm
""",
    # SGPRs parked in lanes that the group does not have; lanes that read each other
    "lanes": _START
    + """
  v_lshlrev_b32_e32 v1, 4, v0
  s_movk_i32 s8, 0x1234
  v_writelane_b32 v9, s8, 40
  s_mov_b32 s8, 0
  v_readlane_b32 s8, v9, 40
  v_mov_b32_e32 v4, s8
  v_mov_b32_dpp v5, v0 quad_perm:[3,2,1,0] row_mask:0xf bank_mask:0xf
  v_sub_u32_e32 v2, 7, v0
  v_lshlrev_b32_e32 v2, 2, v2
  ds_bpermute_b32 v6, v2, v0
  ds_swizzle_b32 v7, v0 offset:swizzle(SWAP,1)
  s_waitcnt lgkmcnt(0)
  global_store_dwordx4 v1, v[4:7], s[4:5]
  s_endpgm
""",
    # out[4 * group ..] = the ids of the group and the packed id of thread (1, 1, 1); groups of 2 x 3 x n
    "group_ids": """
  s_load_dwordx2 s[6:7], s[0:1], 0x0
  s_lshl_b32 s8, s3, 1
  s_add_i32 s8, s8, s2
  s_mul_i32 s9, s4, 6
  s_add_i32 s8, s8, s9
  s_lshl_b32 s8, s8, 4
  v_mov_b32_e32 v4, s2
  v_mov_b32_e32 v5, s3
  v_mov_b32_e32 v6, s4
  v_mov_b32_e32 v7, v0
  v_mov_b32_e32 v1, s8
  v_cmp_eq_u32_e32 vcc, 0x100401, v0
  s_and_b64 exec, exec, vcc
  s_waitcnt lgkmcnt(0)
  global_store_dwordx4 v1, v[4:7], s[6:7]
  s_endpgm
""",
    # bytes, halves and their signs; d16 forms keep the other half
    "narrow": _START
    + """
  v_lshlrev_b32_e32 v1, 2, v0
  global_load_sbyte v2, v1, s[6:7]
  global_load_ubyte v3, v1, s[6:7] offset:1
  global_load_sshort v4, v1, s[6:7] offset:2
  v_mov_b32_e32 v5, -1
  global_load_short_d16 v5, v1, s[6:7]
  v_mov_b32_e32 v6, -1
  global_load_short_d16_hi v6, v1, s[6:7]
  s_waitcnt vmcnt(0)
  v_mul_u32_u24_e32 v7, 5, v1
  global_store_dwordx4 v7, v[2:5], s[4:5]
  global_store_byte v7, v6, s[4:5] offset:16
  global_store_short_d16_hi v7, v6, s[4:5] offset:18
  s_endpgm
""",
    # a thread's dword, put together again from bytes and halves in LDS; 32 bytes of output a thread
    "narrow_lds": _START
    + """
  v_lshlrev_b32_e32 v1, 2, v0
  v_lshlrev_b32_e32 v8, 5, v0
  global_load_dword v3, v1, s[6:7]
  global_load_ushort v2, v1, s[6:7] offset:2
  s_waitcnt vmcnt(0)
  global_store_short v8, v2, s[4:5]
  global_store_short v8, v3, s[4:5] offset:6
  ds_write_b8 v1, v3
  ds_write_b8 v1, v2 offset:1
  ds_write_b16_d16_hi v1, v3 offset:2
  ds_write_b16 v1, v3 offset:256
  ds_write_b16 v1, v2 offset:258
  s_waitcnt lgkmcnt(0)
  ds_read_u8 v4, v1 offset:1
  ds_read_u16 v5, v1 offset:2
  ds_read_b32 v6, v1
  ds_read_b32 v7, v1 offset:256
  s_waitcnt lgkmcnt(0)
  global_store_dwordx4 v8, v[4:7], s[4:5] offset:16
  s_endpgm
""",
    # signs and d16 forms of LDS; 32 bytes a thread
    "narrow_lds_signed": _START
    + """
  v_lshlrev_b32_e32 v1, 2, v0
  v_lshlrev_b32_e32 v12, 5, v0
  global_load_dword v3, v1, s[6:7]
  s_waitcnt vmcnt(0)
  ds_write_b32 v1, v3
  ds_write_b8_d16_hi v1, v3 offset:256
  v_mov_b32_e32 v6, -1
  v_mov_b32_e32 v7, -1
  v_mov_b32_e32 v8, -1
  v_mov_b32_e32 v9, -1
  v_mov_b32_e32 v10, -1
  s_waitcnt lgkmcnt(0)
  ds_read_i8 v4, v1 offset:3
  ds_read_i16 v5, v1
  ds_read_u8_d16 v6, v1 offset:1
  ds_read_u8_d16_hi v7, v1 offset:2
  ds_read_i8_d16 v8, v1 offset:3
  ds_read_u16_d16_hi v9, v1 offset:2
  ds_read_u16_d16 v10, v1
  ds_read_u8 v11, v1 offset:256
  s_waitcnt lgkmcnt(0)
  global_store_dwordx4 v12, v[4:7], s[4:5]
  global_store_dwordx4 v12, v[8:11], s[4:5] offset:16
  s_endpgm
""",
    # 16 bytes a thread go into LDS by one width and come out of it by another; 64 bytes a thread
    "wide_lds": _START
    + """
  v_lshlrev_b32_e32 v1, 4, v0
  v_lshlrev_b32_e32 v2, 6, v0
  v_add_u32_e32 v3, 0x800, v1
  global_load_dwordx4 v[4:7], v1, s[6:7]
  s_waitcnt vmcnt(0)
  ds_write_b64 v1, v[4:5] offset:8
  ds_write_b64 v1, v[6:7]
  ds_write_b128 v1, v[4:7] offset:1024
  ds_write2_b64 v3, v[6:7], v[4:5] offset1:1
  s_waitcnt lgkmcnt(0)
  v_sub_u32_e32 v9, 0x3f0, v1
  ds_read_b32 v8, v1
  ds_read_b128 v[20:23], v9 offset:1024
  ds_read_b64 v[10:11], v1 offset:1032
  ds_read2_b32 v[12:13], v1 offset0:3 offset1:2
  ds_read2st64_b32 v[14:15], v1 offset0:4 offset1:8
  ds_read_b96 v[16:18], v1 offset:1024
  ds_read2_b64 v[24:27], v3 offset0:1 offset1:0
  s_waitcnt lgkmcnt(0)
  v_mov_b32_e32 v9, v18
  global_store_dwordx4 v2, v[8:11], s[4:5]
  global_store_dwordx4 v2, v[12:15], s[4:5] offset:16
  global_store_dwordx4 v2, v[20:23], s[4:5] offset:32
  global_store_dwordx4 v2, v[24:27], s[4:5] offset:48
  s_endpgm
""",
    # what a thread keeps for itself, written and read in other widths; 32 bytes a thread
    "wide_scratch": _START
    + """
  v_lshlrev_b32_e32 v1, 4, v0
  v_lshlrev_b32_e32 v2, 5, v0
  global_load_dwordx4 v[4:7], v1, s[6:7]
  s_waitcnt vmcnt(0)
  scratch_store_dwordx4 off, v[4:7], off offset:16
  scratch_store_dwordx2 off, v[4:5], off offset:32
  v_mov_b32_e32 v3, 20
  scratch_load_dwordx4 v[8:11], v3, off
  scratch_load_dwordx2 v[12:13], off, off offset:24
  scratch_load_dwordx2 v[14:15], v3, off offset:12
  s_waitcnt vmcnt(0)
  global_store_dwordx4 v2, v[8:11], s[4:5]
  global_store_dwordx4 v2, v[12:15], s[4:5] offset:16
  s_endpgm
""",
    # every lane leaves the inner loop by itself, after thread % 8 + 1 rounds; the outer one runs as often as the group's
    # number says, plus one. out[thread] = rounds of both
    "lanes_leave": _START
    + """
  s_mov_b32 s8, 0
  v_mov_b32_e32 v2, 0
  v_and_b32_e32 v4, 7, v0
L0:
  v_mov_b32_e32 v3, 0
L1:
  v_add_u32_e32 v2, 1, v2
  v_add_u32_e32 v3, 1, v3
  v_cmp_le_u32_e32 vcc, v3, v4
  s_and_b64 exec, exec, vcc
  s_cbranch_execnz L1
  s_mov_b64 exec, -1
  s_add_i32 s8, s8, 1
  s_cmp_gt_u32 s8, s2
  s_cbranch_scc0 L0
  s_lshl_b32 s3, s2, 6
  v_add_u32_e32 v0, s3, v0
  v_lshlrev_b32_e32 v1, 2, v0
  global_store_dword v1, v2, s[4:5]
  s_endpgm
""",
    "sdwa": _START
    + """
  v_lshlrev_b32_e32 v1, 4, v0
  v_lshlrev_b32_e32 v3, 2, v0
  global_load_dword v2, v3, s[6:7]
  s_waitcnt vmcnt(0)
  v_add_u32_sdwa v4, v2, v2 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:BYTE_1 src1_sel:WORD_1
  v_mov_b32_e32 v5, -1
  v_lshlrev_b32_sdwa v5, v0, v2 dst_sel:WORD_1 dst_unused:UNUSED_PRESERVE src0_sel:DWORD src1_sel:BYTE_0
  v_mov_b32_sdwa v6, sext(v2) dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:BYTE_3
  v_cvt_f32_f16_sdwa v7, v2 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:WORD_1
  global_store_dwordx4 v1, v[4:7], s[4:5]
  s_endpgm
""",
    "scratch": _START
    + """
  v_lshlrev_b32_e32 v1, 2, v0
  v_mul_u32_u24_e32 v2, 3, v0
  scratch_store_dword off, v2, off offset:16
  v_mov_b32_e32 v3, 0
  v_mov_b32_e32 v4, 16
  scratch_load_dword v3, v4, off
  s_waitcnt vmcnt(0)
  global_store_dword v1, v3, s[4:5]
  s_endpgm
""",
    # generic pointers into LDS, scratch and memory; by thread % 4 into memory, LDS, scratch, memory. 32 bytes a thread
    "flat_places": _START
    + """
  s_mov_b64 s[8:9], src_shared_base
  s_mov_b64 s[10:11], src_private_base
  v_lshlrev_b32_e32 v2, 2, v0
  v_mov_b32_e32 v3, s9
  v_add_u32_e32 v6, 7, v0
  flat_store_dword v[2:3], v6
  s_waitcnt vmcnt(0) lgkmcnt(0)
  ds_read_b32 v16, v2
  v_mov_b32_e32 v4, 16
  v_mov_b32_e32 v5, s11
  v_mul_u32_u24_e32 v7, 3, v0
  flat_store_dword v[4:5], v7
  s_waitcnt vmcnt(0) lgkmcnt(0)
  scratch_load_dword v17, off, off offset:16
  v_mov_b32_e32 v9, s7
  v_add_co_u32_e32 v8, vcc, s6, v2
  v_addc_co_u32_e32 v9, vcc, 0, v9, vcc
  v_and_b32_e32 v10, 3, v0
  v_cmp_eq_u32_e32 vcc, 1, v10
  v_cndmask_b32_e32 v8, v8, v2, vcc
  v_cndmask_b32_e32 v9, v9, v3, vcc
  v_cmp_eq_u32_e32 vcc, 2, v10
  v_cndmask_b32_e32 v8, v8, v4, vcc
  v_cndmask_b32_e32 v9, v9, v5, vcc
  flat_load_dword v18, v[8:9]
  flat_load_ubyte v19, v[8:9]
  v_mov_b32_e32 v20, 0
  v_cmp_ne_u32_e32 vcc, 2, v10
  s_and_saveexec_b64 s[12:13], vcc
  flat_atomic_add v20, v[8:9], v6 sc0
  s_mov_b64 exec, s[12:13]
  s_waitcnt vmcnt(0) lgkmcnt(0)
  flat_store_byte v[8:9], v0 offset:3
  s_waitcnt vmcnt(0) lgkmcnt(0)
  flat_load_dword v21, v[8:9]
  v_mov_b32_e32 v22, s9
  v_mov_b32_e32 v23, s11
  v_lshlrev_b32_e32 v1, 5, v0
  s_waitcnt vmcnt(0) lgkmcnt(0)
  global_store_dwordx4 v1, v[16:19], s[4:5]
  global_store_dwordx4 v1, v[20:23], s[4:5] offset:16
  s_endpgm
""",
    "flat_atomic_of_scratch": """
  s_mov_b64 s[10:11], src_private_base
  v_mov_b32_e32 v4, 0
  v_mov_b32_e32 v5, s11
  flat_atomic_add v[4:5], v0
  s_endpgm
""",
    "call": _START
    + """
  v_lshlrev_b32_e32 v1, 2, v0
  v_mov_b32_e32 v2, 5
  s_getpc_b64 s[8:9]
L0:
  s_add_u32 s8, s8, L1-L0
  s_addc_u32 s9, s9, 0
  s_nop 0
  s_swappc_b64 s[10:11], s[8:9]
  global_store_dword v1, v2, s[4:5]
  s_endpgm
L1:
  s_nop 0
  s_nop 0
  v_add_u32_e32 v2, v2, v0
  s_setpc_b64 s[10:11]
""",
    "clock": _START
    + """
  s_memtime s[8:9]
  s_getreg_b32 s10, hwreg(HW_REG_MODE)
  s_waitcnt lgkmcnt(0)
  v_mov_b32_e32 v1, 0
  v_mov_b32_e32 v2, s8
  v_mov_b32_e32 v3, s10
  global_store_dwordx2 v1, v[2:3], s[4:5]
  s_endpgm
""",
    "bad_address": _START
    + """
  v_mov_b32_e32 v2, 0x1000
  v_mov_b32_e32 v3, 0x7f00
  global_store_dword v[2:3], v0, off
  s_endpgm
""",
    "lds_overrun": """
  v_mov_b32_e32 v1, 0x20000
  ds_write_b32 v1, v0
  s_endpgm
""",
    "same_loop": """
L0:
  s_nop 0
  s_branch L0
""",
    "counts_as_far_as_memory_says": _START
    + """
  s_load_dword s8, s[6:7], 0x0
  s_mov_b32 s9, 0
  s_waitcnt lgkmcnt(0)
L0:
  s_add_u32 s9, s9, 1
  s_cmp_lg_u32 s9, s8
  s_cbranch_scc1 L0
  v_mov_b32_e32 v1, s9
  v_lshlrev_b32_e32 v0, 2, v0
  global_store_dword v0, v1, s[4:5]
  s_endpgm
""",
    "counting_loop": """
  s_mov_b32 s8, 1
L0:
  s_add_i32 s8, s8, 2
  s_cmp_lg_u32 s8, 0
  s_cbranch_scc1 L0
  s_endpgm
""",
    "counts_for_ever": """
L0:
  s_add_i32 s8, s8, 1
  s_branch L0
""",
    "waits_for_memory": _START
    + """
L0:
  s_load_dword s8, s[6:7], 0x0
  s_waitcnt lgkmcnt(0)
  s_cmp_eq_u32 s8, 0
  s_cbranch_scc1 L0
  s_endpgm
""",
    # the second wave waits for a word of LDS that the first one writes; the loop lies before what the first one does
    "waits_for_wave": _START
    + """
  v_mov_b32_e32 v1, 0
  v_mov_b32_e32 v2, 1
  v_readfirstlane_b32 s8, v0
  s_cmp_eq_u32 s8, 0
  s_cbranch_scc1 L1
L0:
  ds_read_b32 v3, v1
  s_waitcnt lgkmcnt(0)
  v_readfirstlane_b32 s9, v3
  s_cmp_eq_u32 s9, 0
  s_cbranch_scc1 L0
  v_lshlrev_b32_e32 v4, 2, v0
  global_store_dword v4, v3, s[4:5]
  s_endpgm
L1:
  ds_write_b32 v1, v2
  s_endpgm
""",
    # before, and behind, instructions that are tried (tests/unit/test_native_lanes.py): v8 to v23 from memory, 1024 bytes of
    # LDS from v[20:23], EXEC and s[16:19] as memory behind the registers says; all of it, VCC and s[16:19] into memory
    "tried_before": _START
    + """
  v_lshlrev_b32_e32 v1, 6, v0
  v_lshlrev_b32_e32 v2, 4, v0
  v_lshlrev_b32_e32 v3, 7, v0
  global_load_dwordx4 v[8:11], v1, s[6:7]
  global_load_dwordx4 v[12:15], v1, s[6:7] offset:16
  global_load_dwordx4 v[16:19], v1, s[6:7] offset:32
  global_load_dwordx4 v[20:23], v1, s[6:7] offset:48
  s_load_dwordx8 s[12:19], s[6:7], 0x1000
  s_waitcnt vmcnt(0) lgkmcnt(0)
  ds_write_b128 v2, v[20:23]
  s_waitcnt lgkmcnt(0)
  s_mov_b64 s[14:15], exec
  s_mov_b64 vcc, s[18:19]
  s_mov_b64 exec, s[12:13]
""",
    "tried_behind": """
  s_mov_b64 exec, s[14:15]
  ds_read_b128 v[24:27], v2
  s_waitcnt lgkmcnt(0)
  v_mov_b32_e32 v28, vcc_lo
  v_mov_b32_e32 v29, vcc_hi
  v_mov_b32_e32 v30, s16
  v_mov_b32_e32 v31, s17
  global_store_dwordx4 v3, v[8:11], s[4:5]
  global_store_dwordx4 v3, v[12:15], s[4:5] offset:16
  global_store_dwordx4 v3, v[16:19], s[4:5] offset:32
  global_store_dwordx4 v3, v[20:23], s[4:5] offset:48
  global_store_dwordx4 v3, v[24:27], s[4:5] offset:64
  global_store_dwordx4 v3, v[28:31], s[4:5] offset:80
  s_endpgm
""",
    # v8..v11 = 100 + lane, 200 + lane, ...; out = the one that the group's number says; the one that the lane says, by a loop
    # over the indices that differ; all four after the one of the group was set to 7 (with the next index: 8)
    "indexed": _START
    + """
  v_add_u32_e32 v8, 0x64, v0
  v_add_u32_e32 v9, 0xc8, v0
  v_add_u32_e32 v10, 0x12c, v0
  v_add_u32_e32 v11, 0x190, v0
  s_mov_b32 m0, 0xabcd0f00
  s_set_gpr_idx_on s2, gpr_idx(SRC0)
  v_mov_b32_e32 v4, v8
  s_set_gpr_idx_off
  s_mov_b32 s11, m0
  v_and_b32_e32 v1, 3, v0
  s_mov_b64 s[8:9], exec
L0:
  v_readfirstlane_b32 s10, v1
  v_cmp_eq_u32_e32 vcc, s10, v1
  s_and_saveexec_b64 vcc, vcc
  s_set_gpr_idx_on s10, gpr_idx(SRC0)
  v_mov_b32_e32 v5, v8
  s_set_gpr_idx_off
  s_xor_b64 exec, exec, vcc
  s_cbranch_execnz L0
  s_mov_b64 exec, s[8:9]
  v_mov_b32_e32 v2, 7
  s_set_gpr_idx_on s2, gpr_idx(DST)
  v_mov_b32_e32 v8, v2
  s_add_u32 s3, s2, 1
  s_and_b32 s3, s3, 3
  s_set_gpr_idx_idx s3
  v_add_u32_e32 v8, 1, v2
  s_set_gpr_idx_mode gpr_idx(SRC1)
  s_set_gpr_idx_off
  v_mov_b32_e32 v6, s11
  v_mov_b32_e32 v7, m0
  s_lshl_b32 s3, s2, 6
  v_add_u32_e32 v0, s3, v0
  v_lshlrev_b32_e32 v1, 5, v0
  global_store_dwordx4 v1, v[4:7], s[4:5]
  global_store_dwordx4 v1, v[8:11], s[4:5] offset:16
  s_endpgm
""",
    # what compilers never put there: a branch
    "indexed_branch": """
  s_set_gpr_idx_on 1, gpr_idx(SRC0)
  s_branch L0
L0:
  s_set_gpr_idx_off
  s_endpgm
""",
    # past the last VGPR that there is
    "indexed_beyond": """
  s_set_gpr_idx_on 0xff, gpr_idx(SRC0)
  v_mov_b32_e32 v0, v1
  s_set_gpr_idx_off
  s_endpgm
""",
    "trap": """
  s_trap 2
  s_endpgm
""",
}


def code(name: str, target: str) -> bytes:
    """The bytes of a kernel."""
    for line in _FILE.read_text().splitlines():
        if line.startswith(f"{name} {target} "):
            return bytes.fromhex(line.split(" ")[2])
    raise KeyError(f"{name} for {target}: python -m tests.isa_code")


def assemble(source: str, target: str) -> bytes:
    """By the tools of tools/get_llvm.py. Raises FileNotFoundError where they are not."""
    from tools import get_llvm

    assembler, copier = get_llvm.tool("llvm-mc"), get_llvm.tool("llvm-objcopy")
    if assembler is None or copier is None:
        raise FileNotFoundError("tools/get_llvm.py was not run")
    with tempfile.TemporaryDirectory() as folder:
        made, out = Path(folder, "code.o"), Path(folder, "code.bin")
        subprocess.run(
            [str(assembler), "-triple=amdgcn", f"-mcpu={target}", "-filetype=obj", "-o", str(made)],
            input=source,
            text=True,
            env=get_llvm.environment(),
            timeout=60,
            check=True,
        )
        subprocess.run(
            [str(copier), "-O", "binary", "-j", ".text", str(made), str(out)],
            env=get_llvm.environment(),
            timeout=60,
            check=True,
        )
        return out.read_bytes()


def text() -> str:
    lines = [
        f"{name} {target} {assemble(source, target).hex()}" for name, source in SOURCES.items() for target in TARGETS
    ]
    return "# Our own kernels, assembled: python -m tests.isa_code\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    _FILE.write_text(text())
