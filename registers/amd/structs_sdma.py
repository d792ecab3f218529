"""SDMA packets: opcodes, and which bits of which dword hold a field. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/amdgpu/vega10_sdma_pkt_open.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum



class Op(IntEnum):
    NOP = 0x0
    COPY = 0x1
    WRITE = 0x2
    INDIRECT = 0x4
    FENCE = 0x5
    TRAP = 0x6
    SEM = 0x7
    POLL_REGMEM = 0x8
    COND_EXE = 0x9
    ATOMIC = 0xa
    CONST_FILL = 0xb
    PTEPDE = 0xc
    TIMESTAMP = 0xd
    SRBM_WRITE = 0xe
    PRE_EXE = 0xf
    DUMMY_TRAP = 0x10


class SubOp:
    TIMESTAMP_SET = 0
    TIMESTAMP_GET = 1
    TIMESTAMP_GET_GLOBAL = 2
    COPY_LINEAR = 0
    COPY_LINEAR_SUB_WIND = 4
    COPY_TILED = 1
    COPY_TILED_SUB_WIND = 5
    COPY_T2T_SUB_WIND = 6
    COPY_SOA = 3
    COPY_DIRTY_PAGE = 7
    COPY_LINEAR_PHY = 8
    WRITE_LINEAR = 0
    WRITE_TILED = 1
    PTEPDE_GEN = 0
    PTEPDE_COPY = 1
    PTEPDE_RMW = 2
    PTEPDE_COPY_BACKWARDS = 3
    DATA_FILL_MULTI = 1
    POLL_REG_WRITE_MEM = 1
    POLL_DBIT_WRITE_MEM = 2
    POLL_MEM_VERIFY = 3


PACKETS: dict[str, tuple[tuple[str, int, int, int], ...]] = {
    "NOP": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_count", 0, 29, 16),
        ("DATA0_data0", 1, 31, 0),
    ),
    "COPY_LINEAR": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_encrypt", 0, 16, 16),
        ("HEADER_tmz", 0, 18, 18),
        ("HEADER_broadcast", 0, 27, 27),
        ("COUNT_count", 1, 21, 0),
        ("PARAMETER_dst_sw", 2, 17, 16),
        ("PARAMETER_src_sw", 2, 25, 24),
        ("SRC_ADDR_LO_src_addr_31_0", 3, 31, 0),
        ("SRC_ADDR_HI_src_addr_63_32", 4, 31, 0),
        ("DST_ADDR_LO_dst_addr_31_0", 5, 31, 0),
        ("DST_ADDR_HI_dst_addr_63_32", 6, 31, 0),
    ),
    "WRITE_UNTILED": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_encrypt", 0, 16, 16),
        ("HEADER_tmz", 0, 18, 18),
        ("DST_ADDR_LO_dst_addr_31_0", 1, 31, 0),
        ("DST_ADDR_HI_dst_addr_63_32", 2, 31, 0),
        ("DW_3_count", 3, 19, 0),
        ("DW_3_sw", 3, 25, 24),
        ("DATA0_data0", 4, 31, 0),
    ),
    "INDIRECT": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_vmid", 0, 19, 16),
        ("BASE_LO_ib_base_31_0", 1, 31, 0),
        ("BASE_HI_ib_base_63_32", 2, 31, 0),
        ("IB_SIZE_ib_size", 3, 19, 0),
        ("CSA_ADDR_LO_csa_addr_31_0", 4, 31, 0),
        ("CSA_ADDR_HI_csa_addr_63_32", 5, 31, 0),
    ),
    "FENCE": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("ADDR_LO_addr_31_0", 1, 31, 0),
        ("ADDR_HI_addr_63_32", 2, 31, 0),
        ("DATA_data", 3, 31, 0),
    ),
    "TRAP": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("INT_CONTEXT_int_context", 1, 27, 0),
    ),
    "POLL_REGMEM": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_hdp_flush", 0, 26, 26),
        ("HEADER_func", 0, 30, 28),
        ("HEADER_mem_poll", 0, 31, 31),
        ("ADDR_LO_addr_31_0", 1, 31, 0),
        ("ADDR_HI_addr_63_32", 2, 31, 0),
        ("VALUE_value", 3, 31, 0),
        ("MASK_mask", 4, 31, 0),
        ("DW5_interval", 5, 15, 0),
        ("DW5_retry_count", 5, 27, 16),
    ),
    "COND_EXE": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("ADDR_LO_addr_31_0", 1, 31, 0),
        ("ADDR_HI_addr_63_32", 2, 31, 0),
        ("REFERENCE_reference", 3, 31, 0),
        ("EXEC_COUNT_exec_count", 4, 13, 0),
    ),
    "ATOMIC": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_loop", 0, 16, 16),
        ("HEADER_tmz", 0, 18, 18),
        ("HEADER_atomic_op", 0, 31, 25),
        ("ADDR_LO_addr_31_0", 1, 31, 0),
        ("ADDR_HI_addr_63_32", 2, 31, 0),
        ("SRC_DATA_LO_src_data_31_0", 3, 31, 0),
        ("SRC_DATA_HI_src_data_63_32", 4, 31, 0),
        ("CMP_DATA_LO_cmp_data_31_0", 5, 31, 0),
        ("CMP_DATA_HI_cmp_data_63_32", 6, 31, 0),
        ("LOOP_INTERVAL_loop_interval", 7, 12, 0),
    ),
    "CONSTANT_FILL": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_sw", 0, 17, 16),
        ("HEADER_fillsize", 0, 31, 30),
        ("DST_ADDR_LO_dst_addr_31_0", 1, 31, 0),
        ("DST_ADDR_HI_dst_addr_63_32", 2, 31, 0),
        ("DATA_src_data_31_0", 3, 31, 0),
        ("COUNT_count", 4, 21, 0),
    ),
    "WRITE_INCR": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("DST_ADDR_LO_dst_addr_31_0", 1, 31, 0),
        ("DST_ADDR_HI_dst_addr_63_32", 2, 31, 0),
        ("MASK_DW0_mask_dw0", 3, 31, 0),
        ("MASK_DW1_mask_dw1", 4, 31, 0),
        ("INIT_DW0_init_dw0", 5, 31, 0),
        ("INIT_DW1_init_dw1", 6, 31, 0),
        ("INCR_DW0_incr_dw0", 7, 31, 0),
        ("INCR_DW1_incr_dw1", 8, 31, 0),
        ("COUNT_count", 9, 18, 0),
    ),
    "SRBM_WRITE": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_byte_en", 0, 31, 28),
        ("ADDR_addr", 1, 17, 0),
        ("DATA_data", 2, 31, 0),
    ),
    "TIMESTAMP_GET": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("WRITE_ADDR_LO_write_addr_31_3", 1, 31, 3),
        ("WRITE_ADDR_HI_write_addr_63_32", 2, 31, 0),
    ),
    "TIMESTAMP_GET_GLOBAL": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("WRITE_ADDR_LO_write_addr_31_3", 1, 31, 3),
        ("WRITE_ADDR_HI_write_addr_63_32", 2, 31, 0),
    ),
    "PTEPDE_RMW": (
        ("HEADER_op", 0, 7, 0),
        ("HEADER_sub_op", 0, 15, 8),
        ("HEADER_gcc", 0, 19, 19),
        ("HEADER_sys", 0, 20, 20),
        ("HEADER_snp", 0, 22, 22),
        ("HEADER_gpa", 0, 23, 23),
        ("ADDR_LO_addr_31_0", 1, 31, 0),
        ("ADDR_HI_addr_63_32", 2, 31, 0),
        ("MASK_LO_mask_31_0", 3, 31, 0),
        ("MASK_HI_mask_63_32", 4, 31, 0),
        ("VALUE_LO_value_31_0", 5, 31, 0),
        ("VALUE_HI_value_63_32", 6, 31, 0),
    ),
}
