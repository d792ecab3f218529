"""PM4 packets of gfx9: opcodes, where their fields lie, the scheduler's packets. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/amdgpu/soc15d.h
  drivers/gpu/drm/amd/amdkfd/kfd_pm4_headers_ai.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum

from registers.structs import Struct, Union, each, i32, u32

PACKET_TYPE0 = 0x0
PACKET_TYPE1 = 0x1
PACKET_TYPE2 = 0x2
PACKET_TYPE3 = 0x3
PACKET3_SET_CONFIG_REG_START = 0x2000
PACKET3_SET_CONTEXT_REG_START = 0xa000
PACKET3_SET_SH_REG_START = 0x2c00
PACKET3_SET_UCONFIG_REG_START = 0xc000
PACKET3_SET_CONFIG_REG_END = 0x2c00
PACKET3_SET_CONTEXT_REG_END = 0xa400
PACKET3_SET_SH_REG_END = 0x3000
PACKET3_SET_UCONFIG_REG_END = 0xc400
EOP_TCL1_VOL_ACTION_EN = 0x1000
EOP_TC_VOL_ACTION_EN = 0x2000
EOP_TC_WB_ACTION_EN = 0x8000
EOP_TCL1_ACTION_EN = 0x10000
EOP_TC_ACTION_EN = 0x20000
EOP_TC_NC_ACTION_EN = 0x80000
EOP_TC_MD_ACTION_EN = 0x200000
EOP_EXEC = 0x10000000
WR_CONFIRM = 0x100000
WR_ONE_ADDR = 0x10000
INDIRECT_BUFFER_VALID = 0x800000


class Op(IntEnum):
    NOP = 0x10
    SET_BASE = 0x11
    CLEAR_STATE = 0x12
    INDEX_BUFFER_SIZE = 0x13
    DISPATCH_DIRECT = 0x15
    DISPATCH_INDIRECT = 0x16
    ATOMIC_GDS = 0x1d
    ATOMIC_MEM = 0x1e
    OCCLUSION_QUERY = 0x1f
    SET_PREDICATION = 0x20
    REG_RMW = 0x21
    COND_EXEC = 0x22
    PRED_EXEC = 0x23
    DRAW_INDIRECT = 0x24
    DRAW_INDEX_INDIRECT = 0x25
    INDEX_BASE = 0x26
    DRAW_INDEX_2 = 0x27
    CONTEXT_CONTROL = 0x28
    INDEX_TYPE = 0x2a
    DRAW_INDIRECT_MULTI = 0x2c
    DRAW_INDEX_AUTO = 0x2d
    NUM_INSTANCES = 0x2f
    DRAW_INDEX_MULTI_AUTO = 0x30
    INDIRECT_BUFFER_CONST = 0x33
    STRMOUT_BUFFER_UPDATE = 0x34
    DRAW_INDEX_OFFSET_2 = 0x35
    DRAW_PREAMBLE = 0x36
    WRITE_DATA = 0x37
    DRAW_INDEX_INDIRECT_MULTI = 0x38
    MEM_SEMAPHORE = 0x39
    WAIT_REG_MEM = 0x3c
    INDIRECT_BUFFER = 0x3f
    COPY_DATA = 0x40
    PFP_SYNC_ME = 0x42
    COND_WRITE = 0x45
    EVENT_WRITE = 0x46
    RELEASE_MEM = 0x49
    PREAMBLE_CNTL = 0x4a
    DMA_DATA = 0x50
    ACQUIRE_MEM = 0x58
    REWIND = 0x59
    LOAD_UCONFIG_REG = 0x5e
    LOAD_SH_REG = 0x5f
    LOAD_CONFIG_REG = 0x60
    LOAD_CONTEXT_REG = 0x61
    SET_CONFIG_REG = 0x68
    SET_CONTEXT_REG = 0x69
    SET_CONTEXT_REG_INDIRECT = 0x73
    SET_SH_REG = 0x76
    SET_SH_REG_OFFSET = 0x77
    SET_QUEUE_REG = 0x78
    SET_UCONFIG_REG = 0x79
    SCRATCH_RAM_WRITE = 0x7d
    SCRATCH_RAM_READ = 0x7e
    LOAD_CONST_RAM = 0x80
    WRITE_CONST_RAM = 0x81
    DUMP_CONST_RAM = 0x83
    INCREMENT_CE_COUNTER = 0x84
    INCREMENT_DE_COUNTER = 0x85
    WAIT_ON_CE_COUNTER = 0x86
    WAIT_ON_DE_COUNTER_DIFF = 0x88
    SWITCH_BUFFER = 0x8b
    FRAME_CONTROL = 0x90
    INVALIDATE_TLBS = 0x98
    SET_RESOURCES = 0xa0
    MAP_QUEUES = 0xa2
    UNMAP_QUEUES = 0xa3
    QUERY_STATUS = 0xa4
    RUN_CLEANER_SHADER_9_0 = 0xd7
    RUN_CLEANER_SHADER = 0xd2


class Value:
    ATOMIC_MEM__COMMAND__SINGLE_PASS_ATOMIC = 0
    ATOMIC_MEM__COMMAND__LOOP_UNTIL_COMPARE_SATISFIED = 1
    WRITE_DATA__DST_SEL__MEM_MAPPED_REGISTER = 0
    WRITE_DATA__DST_SEL__TC_L2 = 2
    WRITE_DATA__DST_SEL__GDS = 3
    WRITE_DATA__DST_SEL__MEMORY = 5
    WRITE_DATA__DST_SEL__MEMORY_MAPPED_ADC_PERSISTENT_STATE = 6
    WRITE_DATA__ADDR_INCR__INCREMENT_ADDRESS = 0
    WRITE_DATA__ADDR_INCR__DO_NOT_INCREMENT_ADDRESS = 1
    WRITE_DATA__WR_CONFIRM__DO_NOT_WAIT_FOR_WRITE_CONFIRMATION = 0
    WRITE_DATA__WR_CONFIRM__WAIT_FOR_WRITE_CONFIRMATION = 1
    WRITE_DATA__CACHE_POLICY__LRU = 0
    WRITE_DATA__CACHE_POLICY__STREAM = 1
    WRITE_DATA__CACHE_POLICY__NOA = 2
    WRITE_DATA__CACHE_POLICY__BYPASS = 3
    WAIT_REG_MEM__FUNCTION__ALWAYS_PASS = 0
    WAIT_REG_MEM__FUNCTION__LESS_THAN_REF_VALUE = 1
    WAIT_REG_MEM__FUNCTION__LESS_THAN_EQUAL_TO_THE_REF_VALUE = 2
    WAIT_REG_MEM__FUNCTION__EQUAL_TO_THE_REFERENCE_VALUE = 3
    WAIT_REG_MEM__FUNCTION__NOT_EQUAL_REFERENCE_VALUE = 4
    WAIT_REG_MEM__FUNCTION__GREATER_THAN_OR_EQUAL_REFERENCE_VALUE = 5
    WAIT_REG_MEM__FUNCTION__GREATER_THAN_REFERENCE_VALUE = 6
    WAIT_REG_MEM__MEM_SPACE__REGISTER_SPACE = 0
    WAIT_REG_MEM__MEM_SPACE__MEMORY_SPACE = 1
    WAIT_REG_MEM__OPERATION__WAIT_REG_MEM = 0
    WAIT_REG_MEM__OPERATION__WR_WAIT_WR_REG = 1
    WAIT_REG_MEM__OPERATION__WAIT_MEM_PREEMPTABLE = 3
    INDIRECT_BUFFER__CACHE_POLICY__LRU = 0
    INDIRECT_BUFFER__CACHE_POLICY__STREAM = 1
    COPY_DATA__SRC_SEL__MEM_MAPPED_REGISTER = 0
    COPY_DATA__SRC_SEL__MEMORY = 1
    COPY_DATA__SRC_SEL__TC_L2 = 2
    COPY_DATA__SRC_SEL__GDS = 3
    COPY_DATA__SRC_SEL__PERFCOUNTERS = 4
    COPY_DATA__SRC_SEL__IMMEDIATE_DATA = 5
    COPY_DATA__SRC_SEL__ATOMIC_RETURN_DATA = 6
    COPY_DATA__SRC_SEL__GDS_ATOMIC_RETURN_DATA0 = 7
    COPY_DATA__SRC_SEL__GDS_ATOMIC_RETURN_DATA1 = 8
    COPY_DATA__SRC_SEL__GPU_CLOCK_COUNT = 9
    COPY_DATA__DST_SEL__MEM_MAPPED_REGISTER = 0
    COPY_DATA__DST_SEL__TC_L2 = 2
    COPY_DATA__DST_SEL__GDS = 3
    COPY_DATA__DST_SEL__PERFCOUNTERS = 4
    COPY_DATA__DST_SEL__MEMORY = 5
    COPY_DATA__DST_SEL__MEM_MAPPED_REG_DC = 6
    COPY_DATA__SRC_CACHE_POLICY__LRU = 0
    COPY_DATA__SRC_CACHE_POLICY__STREAM = 1
    COPY_DATA__COUNT_SEL__32_BITS_OF_DATA = 0
    COPY_DATA__COUNT_SEL__64_BITS_OF_DATA = 1
    COPY_DATA__WR_CONFIRM__DO_NOT_WAIT_FOR_CONFIRMATION = 0
    COPY_DATA__WR_CONFIRM__WAIT_FOR_CONFIRMATION = 1
    COPY_DATA__DST_CACHE_POLICY__LRU = 0
    COPY_DATA__DST_CACHE_POLICY__STREAM = 1
    COPY_DATA__PQ_EXE_STATUS__DEFAULT = 0
    COPY_DATA__PQ_EXE_STATUS__PHASE_UPDATE = 1
    EVENT_WRITE__EVENT_INDEX__OTHER = 0
    EVENT_WRITE__EVENT_INDEX__SAMPLE_PIPELINESTATS = 2
    EVENT_WRITE__EVENT_INDEX__CS_PARTIAL_FLUSH = 4


class Place:
    """(msb, lsb) of a field in its dword; NAME__FIELD as in the header, without PACKET3_."""

    BASE_INDEX = (31, 0)
    ATOMIC_MEM__ATOMIC = (5, 0)
    ATOMIC_MEM__COMMAND = (11, 8)
    ATOMIC_MEM__CACHE_POLICY = (26, 25)
    ATOMIC_MEM__ADDR_LO = (31, 0)
    ATOMIC_MEM__ADDR_HI = (31, 0)
    ATOMIC_MEM__SRC_DATA_LO = (31, 0)
    ATOMIC_MEM__SRC_DATA_HI = (31, 0)
    ATOMIC_MEM__CMP_DATA_LO = (31, 0)
    ATOMIC_MEM__CMP_DATA_HI = (31, 0)
    ATOMIC_MEM__LOOP_INTERVAL = (12, 0)
    PRED_EXEC__EXEC_COUNT = (13, 0)
    PRED_EXEC__VIRTUAL_XCC_ID_SELECT = (31, 24)
    WRITE_DATA_DST_SEL = (31, 8)
    WRITE_DATA_CACHE_POLICY = (31, 25)
    WRITE_DATA_ENGINE_SEL = (31, 30)
    WRITE_DATA__DST_SEL = (11, 8)
    WRITE_DATA__ADDR_INCR = (16, 16)
    WRITE_DATA__RESUME_VF_MI300 = (19, 19)
    WRITE_DATA__WR_CONFIRM = (20, 20)
    WRITE_DATA__CACHE_POLICY = (26, 25)
    WRITE_DATA__DST_MMREG_ADDR = (17, 0)
    WRITE_DATA__DST_GDS_ADDR = (15, 0)
    WRITE_DATA__DST_MEM_ADDR_LO = (31, 2)
    WRITE_DATA__DST_MEM_ADDR_HI = (31, 0)
    WAIT_REG_MEM_FUNCTION = (31, 0)
    WAIT_REG_MEM_MEM_SPACE = (31, 4)
    WAIT_REG_MEM_OPERATION = (31, 6)
    WAIT_REG_MEM_ENGINE = (31, 8)
    WAIT_REG_MEM__FUNCTION = (2, 0)
    WAIT_REG_MEM__MEM_SPACE = (5, 4)
    WAIT_REG_MEM__OPERATION = (7, 6)
    WAIT_REG_MEM__MES_INTR_PIPE = (23, 22)
    WAIT_REG_MEM__MES_ACTION = (24, 24)
    WAIT_REG_MEM__CACHE_POLICY = (26, 25)
    WAIT_REG_MEM__MEM_POLL_ADDR_LO = (31, 2)
    WAIT_REG_MEM__REG_POLL_ADDR = (17, 0)
    WAIT_REG_MEM__REG_WRITE_ADDR1 = (17, 0)
    WAIT_REG_MEM__MEM_POLL_ADDR_HI = (31, 0)
    WAIT_REG_MEM__REG_WRITE_ADDR2 = (17, 0)
    WAIT_REG_MEM__REFERENCE = (31, 0)
    WAIT_REG_MEM__MASK = (31, 0)
    WAIT_REG_MEM__POLL_INTERVAL = (15, 0)
    WAIT_REG_MEM__OPTIMIZE_ACE_OFFLOAD_MODE = (31, 31)
    INDIRECT_BUFFER_CACHE_POLICY = (31, 28)
    INDIRECT_BUFFER_PRE_ENB = (31, 21)
    INDIRECT_BUFFER_PRE_RESUME = (31, 30)
    INDIRECT_BUFFER__IB_BASE_LO = (31, 2)
    INDIRECT_BUFFER__IB_BASE_HI = (31, 0)
    INDIRECT_BUFFER__IB_SIZE = (19, 0)
    INDIRECT_BUFFER__CHAIN = (20, 20)
    INDIRECT_BUFFER__OFFLOAD_POLLING = (21, 21)
    INDIRECT_BUFFER__VALID = (23, 23)
    INDIRECT_BUFFER__VMID = (27, 24)
    INDIRECT_BUFFER__CACHE_POLICY = (29, 28)
    INDIRECT_BUFFER__PRIV = (31, 31)
    COPY_DATA__SRC_SEL = (3, 0)
    COPY_DATA__DST_SEL = (11, 8)
    COPY_DATA__SRC_CACHE_POLICY = (14, 13)
    COPY_DATA__COUNT_SEL = (16, 16)
    COPY_DATA__WR_CONFIRM = (20, 20)
    COPY_DATA__DST_CACHE_POLICY = (26, 25)
    COPY_DATA__PQ_EXE_STATUS = (29, 29)
    COPY_DATA__SRC_REG_OFFSET = (17, 0)
    COPY_DATA__SRC_32B_ADDR_LO = (31, 2)
    COPY_DATA__SRC_64B_ADDR_LO = (31, 3)
    COPY_DATA__SRC_GDS_ADDR_LO = (15, 0)
    COPY_DATA__IMM_DATA = (31, 0)
    COPY_DATA__SRC_MEMTC_ADDR_HI = (31, 0)
    COPY_DATA__SRC_IMM_DATA = (31, 0)
    COPY_DATA__DST_REG_OFFSET = (17, 0)
    COPY_DATA__DST_32B_ADDR_LO = (31, 2)
    COPY_DATA__DST_64B_ADDR_LO = (31, 3)
    COPY_DATA__DST_GDS_ADDR_LO = (15, 0)
    COPY_DATA__DST_ADDR_HI = (31, 0)
    EVENT_TYPE = (31, 0)
    EVENT_INDEX = (31, 8)
    EVENT_WRITE__EVENT_TYPE = (5, 0)
    EVENT_WRITE__EVENT_INDEX = (11, 8)
    EVENT_WRITE__OFFLOAD_ENABLE = (31, 31)
    EVENT_WRITE__SAMP_PLST_CNTR_MODE = (30, 29)
    EVENT_WRITE__ADDRESS_LO = (31, 3)
    EVENT_WRITE__ADDRESS_HI = (31, 0)
    DATA_SEL = (31, 29)
    INT_SEL = (31, 24)
    DST_SEL = (31, 16)
    DMA_DATA_ENGINE = (31, 0)
    DMA_DATA_SRC_CACHE_POLICY = (31, 13)
    DMA_DATA_DST_SEL = (31, 20)
    DMA_DATA_DST_CACHE_POLICY = (31, 25)
    DMA_DATA_SRC_SEL = (31, 29)
    ACQUIRE_MEM_CP_COHER_CNTL_TC_NC_ACTION_ENA = (31, 3)
    ACQUIRE_MEM_CP_COHER_CNTL_TC_WC_ACTION_ENA = (31, 4)
    ACQUIRE_MEM_CP_COHER_CNTL_TC_INV_METADATA_ACTION_ENA = (31, 5)
    ACQUIRE_MEM_CP_COHER_CNTL_TCL1_VOL_ACTION_ENA = (31, 15)
    ACQUIRE_MEM_CP_COHER_CNTL_TC_WB_ACTION_ENA = (31, 18)
    ACQUIRE_MEM_CP_COHER_CNTL_TCL1_ACTION_ENA = (31, 22)
    ACQUIRE_MEM_CP_COHER_CNTL_TC_ACTION_ENA = (31, 23)
    ACQUIRE_MEM_CP_COHER_CNTL_CB_ACTION_ENA = (31, 25)
    ACQUIRE_MEM_CP_COHER_CNTL_DB_ACTION_ENA = (31, 26)
    ACQUIRE_MEM_CP_COHER_CNTL_SH_KCACHE_ACTION_ENA = (31, 27)
    ACQUIRE_MEM_CP_COHER_CNTL_SH_KCACHE_VOL_ACTION_ENA = (31, 28)
    ACQUIRE_MEM_CP_COHER_CNTL_SH_ICACHE_ACTION_ENA = (31, 29)
    ACQUIRE_MEM_CP_COHER_CNTL_SH_KCACHE_WB_ACTION_ENA = (31, 30)
    ACQUIRE_MEM__COHER_SIZE = (31, 0)
    ACQUIRE_MEM__COHER_SIZE_HI = (7, 0)
    ACQUIRE_MEM__COHER_SIZE_HI_VG10 = (23, 0)
    ACQUIRE_MEM__COHER_BASE_LO = (31, 0)
    ACQUIRE_MEM__COHER_BASE_HI = (23, 0)
    ACQUIRE_MEM__POLL_INTERVAL = (15, 0)
    ACQUIRE_MEM__GCR_CNTL = (10, 0)
    SET_SH_REG__REG_OFFSET = (15, 0)
    SET_SH_REG__VMID_SHIFT = (27, 23)
    SET_SH_REG__INDEX = (31, 28)
    SET_UCONFIG_REG__REG_OFFSET = (15, 0)
    INVALIDATE_TLBS_DST_SEL = (31, 0)
    INVALIDATE_TLBS_ALL_HUB = (31, 4)
    INVALIDATE_TLBS_PASID = (31, 5)
    INVALIDATE_TLBS_FLUSH_TYPE = (31, 29)
    SET_RESOURCES_VMID_MASK = (31, 0)
    SET_RESOURCES_UNMAP_LATENTY = (31, 16)
    SET_RESOURCES_QUEUE_TYPE = (31, 29)
    MAP_QUEUES_QUEUE_SEL = (31, 4)
    MAP_QUEUES_VMID = (31, 8)
    MAP_QUEUES_QUEUE = (31, 13)
    MAP_QUEUES_PIPE = (31, 16)
    MAP_QUEUES_ME = (31, 18)
    MAP_QUEUES_QUEUE_TYPE = (31, 21)
    MAP_QUEUES_ALLOC_FORMAT = (31, 24)
    MAP_QUEUES_ENGINE_SEL = (31, 26)
    MAP_QUEUES_NUM_QUEUES = (31, 29)
    MAP_QUEUES_CHECK_DISABLE = (31, 1)
    MAP_QUEUES_DOORBELL_OFFSET = (31, 2)
    UNMAP_QUEUES_ACTION = (31, 0)
    UNMAP_QUEUES_QUEUE_SEL = (31, 4)
    UNMAP_QUEUES_ENGINE_SEL = (31, 26)
    UNMAP_QUEUES_NUM_QUEUES = (31, 29)
    UNMAP_QUEUES_PASID = (31, 0)
    UNMAP_QUEUES_DOORBELL_OFFSET0 = (31, 2)
    UNMAP_QUEUES_DOORBELL_OFFSET1 = (31, 2)
    UNMAP_QUEUES_RB_WPTR = (31, 0)
    UNMAP_QUEUES_DOORBELL_OFFSET2 = (31, 2)
    UNMAP_QUEUES_DOORBELL_OFFSET3 = (31, 2)
    QUERY_STATUS_CONTEXT_ID = (31, 0)
    QUERY_STATUS_INTERRUPT_SEL = (31, 28)
    QUERY_STATUS_COMMAND = (31, 30)
    QUERY_STATUS_PASID = (31, 0)
    QUERY_STATUS_DOORBELL_OFFSET = (31, 2)
    QUERY_STATUS_ENG_SEL = (31, 25)


class PM4_MES_TYPE_3_HEADER_u0(Struct):
    _fields_ = [
        ("reserved1", u32, 8),
        ("opcode", u32, 8),
        ("count", u32, 14),
        ("type", u32, 2),
    ]


class PM4_MES_TYPE_3_HEADER(Union):
    _anonymous_ = ('u0',)
    _fields_ = [
        ("u0", PM4_MES_TYPE_3_HEADER_u0),
        ("u32All", u32),
    ]


class pm4_mes_set_resources_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mes_set_resources_u1_bitfields2(Struct):
    _fields_ = [
        ("vmid_mask", u32, 16),
        ("unmap_latency", u32, 8),
        ("reserved1", u32, 4),
        ("enb_xnack_retry_disable_check", u32, 1),
        ("queue_type", u32, 3),
    ]


class pm4_mes_set_resources_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mes_set_resources_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mes_set_resources_u6_bitfields7(Struct):
    _fields_ = [
        ("oac_mask", u32, 16),
        ("reserved2", u32, 16),
    ]


class pm4_mes_set_resources_u6(Union):
    _fields_ = [
        ("bitfields7", pm4_mes_set_resources_u6_bitfields7),
        ("ordinal7", u32),
    ]


class pm4_mes_set_resources_u7_bitfields8(Struct):
    _fields_ = [
        ("gds_heap_base", u32, 10),
        ("reserved3", u32, 1),
        ("gds_heap_size", u32, 10),
        ("reserved4", u32, 11),
    ]


class pm4_mes_set_resources_u7(Union):
    _fields_ = [
        ("bitfields8", pm4_mes_set_resources_u7_bitfields8),
        ("ordinal8", u32),
    ]


class pm4_mes_set_resources(Struct):
    _anonymous_ = ('u0', 'u1', 'u6', 'u7')
    _fields_ = [
        ("u0", pm4_mes_set_resources_u0),
        ("u1", pm4_mes_set_resources_u1),
        *each(u32, "queue_mask_lo queue_mask_hi gws_mask_lo gws_mask_hi"),
        ("u6", pm4_mes_set_resources_u6),
        ("u7", pm4_mes_set_resources_u7),
    ]


class pm4_mes_map_queues_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mes_map_queues_u1_bitfields2(Struct):
    _fields_ = [
        ("reserved1", u32, 2),
        ("extended_engine_sel", u32, 2),
        ("queue_sel", u32, 2),
        ("reserved5", u32, 6),
        ("gws_control_queue", u32, 1),
        ("reserved2", u32, 8),
        ("queue_type", u32, 3),
        ("reserved3", u32, 2),
        ("engine_sel", u32, 3),
        ("num_queues", u32, 3),
    ]


class pm4_mes_map_queues_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mes_map_queues_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mes_map_queues_u2_bitfields3(Struct):
    _fields_ = [
        ("reserved3", u32, 1),
        ("check_disable", u32, 1),
        ("doorbell_offset", u32, 26),
        ("reserved4", u32, 4),
    ]


class pm4_mes_map_queues_u2(Union):
    _fields_ = [
        ("bitfields3", pm4_mes_map_queues_u2_bitfields3),
        ("ordinal3", u32),
    ]


class pm4_mes_map_queues(Struct):
    _anonymous_ = ('u0', 'u1', 'u2')
    _fields_ = [
        ("u0", pm4_mes_map_queues_u0),
        ("u1", pm4_mes_map_queues_u1),
        ("u2", pm4_mes_map_queues_u2),
        *each(u32, "mqd_addr_lo mqd_addr_hi wptr_addr_lo wptr_addr_hi"),
    ]


class pm4_mes_unmap_queues_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mes_unmap_queues_u1_bitfields2(Struct):
    _fields_ = [
        ("action", u32, 2),
        ("extended_engine_sel", u32, 2),
        ("queue_sel", u32, 2),
        ("reserved2", u32, 20),
        ("engine_sel", u32, 3),
        ("num_queues", u32, 3),
    ]


class pm4_mes_unmap_queues_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mes_unmap_queues_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mes_unmap_queues_u2_bitfields3a(Struct):
    _fields_ = [
        ("pasid", u32, 16),
        ("reserved3", u32, 16),
    ]


class pm4_mes_unmap_queues_u2_bitfields3b(Struct):
    _fields_ = [
        ("reserved4", u32, 2),
        ("doorbell_offset0", u32, 26),
        ("reserved5", i32, 4),
    ]


class pm4_mes_unmap_queues_u2(Union):
    _fields_ = [
        ("bitfields3a", pm4_mes_unmap_queues_u2_bitfields3a),
        ("bitfields3b", pm4_mes_unmap_queues_u2_bitfields3b),
        ("ordinal3", u32),
    ]


class pm4_mes_unmap_queues_u3_bitfields4(Struct):
    _fields_ = [
        ("reserved6", u32, 2),
        ("doorbell_offset1", u32, 26),
        ("reserved7", u32, 4),
    ]


class pm4_mes_unmap_queues_u3(Union):
    _fields_ = [
        ("bitfields4", pm4_mes_unmap_queues_u3_bitfields4),
        ("ordinal4", u32),
    ]


class pm4_mes_unmap_queues_u4_bitfields5(Struct):
    _fields_ = [
        ("reserved8", u32, 2),
        ("doorbell_offset2", u32, 26),
        ("reserved9", u32, 4),
    ]


class pm4_mes_unmap_queues_u4(Union):
    _fields_ = [
        ("bitfields5", pm4_mes_unmap_queues_u4_bitfields5),
        ("ordinal5", u32),
    ]


class pm4_mes_unmap_queues_u5_bitfields6(Struct):
    _fields_ = [
        ("reserved10", u32, 2),
        ("doorbell_offset3", u32, 26),
        ("reserved11", u32, 4),
    ]


class pm4_mes_unmap_queues_u5(Union):
    _fields_ = [
        ("bitfields6", pm4_mes_unmap_queues_u5_bitfields6),
        ("ordinal6", u32),
    ]


class pm4_mes_unmap_queues(Struct):
    _anonymous_ = ('u0', 'u1', 'u2', 'u3', 'u4', 'u5')
    _fields_ = [
        ("u0", pm4_mes_unmap_queues_u0),
        ("u1", pm4_mes_unmap_queues_u1),
        ("u2", pm4_mes_unmap_queues_u2),
        ("u3", pm4_mes_unmap_queues_u3),
        ("u4", pm4_mes_unmap_queues_u4),
        ("u5", pm4_mes_unmap_queues_u5),
    ]


class pm4_mes_query_status_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mes_query_status_u1_bitfields2(Struct):
    _fields_ = [
        ("context_id", u32, 28),
        ("interrupt_sel", u32, 2),
        ("command", u32, 2),
    ]


class pm4_mes_query_status_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mes_query_status_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mes_query_status_u2_bitfields3a(Struct):
    _fields_ = [
        ("pasid", u32, 16),
        ("reserved1", u32, 16),
    ]


class pm4_mes_query_status_u2_bitfields3b(Struct):
    _fields_ = [
        ("reserved2", u32, 2),
        ("doorbell_offset", u32, 26),
        ("engine_sel", u32, 3),
        ("reserved3", u32, 1),
    ]


class pm4_mes_query_status_u2(Union):
    _fields_ = [
        ("bitfields3a", pm4_mes_query_status_u2_bitfields3a),
        ("bitfields3b", pm4_mes_query_status_u2_bitfields3b),
        ("ordinal3", u32),
    ]


class pm4_mes_query_status(Struct):
    _anonymous_ = ('u0', 'u1', 'u2')
    _fields_ = [
        ("u0", pm4_mes_query_status_u0),
        ("u1", pm4_mes_query_status_u1),
        ("u2", pm4_mes_query_status_u2),
        *each(u32, "addr_lo addr_hi data_lo data_hi"),
    ]


class pm4_mes_map_process_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mes_map_process_u1_bitfields2(Struct):
    _fields_ = [
        ("pasid", u32, 16),
        ("reserved1", u32, 1),
        ("exec_cleaner_shader", u32, 1),
        ("debug_vmid", u32, 4),
        ("new_debug", u32, 1),
        ("reserved2", u32, 1),
        ("diq_enable", u32, 1),
        ("process_quantum", u32, 7),
    ]


class pm4_mes_map_process_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mes_map_process_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mes_map_process_u13_bitfields14(Struct):
    _fields_ = [
        ("num_gws", u32, 7),
        ("sdma_enable", u32, 1),
        ("num_oac", u32, 4),
        ("gds_size_hi", u32, 4),
        ("gds_size", u32, 6),
        ("num_queues", u32, 10),
    ]


class pm4_mes_map_process_u13(Union):
    _fields_ = [
        ("bitfields14", pm4_mes_map_process_u13_bitfields14),
        ("ordinal14", u32),
    ]


class pm4_mes_map_process(Struct):
    _anonymous_ = ('u0', 'u1', 'u13')
    _fields_ = [
        ("u0", pm4_mes_map_process_u0),
        ("u1", pm4_mes_map_process_u1),
        *each(u32, """
            vm_context_page_table_base_addr_lo32 vm_context_page_table_base_addr_hi32 sh_mem_bases
            sh_mem_config sq_shader_tba_lo sq_shader_tba_hi sq_shader_tma_lo sq_shader_tma_hi reserved6
            gds_addr_lo gds_addr_hi
        """),
        ("u13", pm4_mes_map_process_u13),
        ("completion_signal_lo", u32),
        ("completion_signal_hi", u32),
    ]


class pm4_mes_runlist_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mes_runlist_u1_bitfields2(Struct):
    _fields_ = [
        ("reserved1", u32, 2),
        ("ib_base_lo", u32, 30),
    ]


class pm4_mes_runlist_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mes_runlist_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mes_runlist_u3_bitfields4(Struct):
    _fields_ = [
        ("ib_size", u32, 20),
        ("chain", u32, 1),
        ("offload_polling", u32, 1),
        ("chained_runlist_idle_disable", u32, 1),
        ("valid", u32, 1),
        ("process_cnt", u32, 4),
        ("reserved3", u32, 4),
    ]


class pm4_mes_runlist_u3(Union):
    _fields_ = [
        ("bitfields4", pm4_mes_runlist_u3_bitfields4),
        ("ordinal4", u32),
    ]


class pm4_mes_runlist(Struct):
    _anonymous_ = ('u0', 'u1', 'u3')
    _fields_ = [
        ("u0", pm4_mes_runlist_u0),
        ("u1", pm4_mes_runlist_u1),
        ("ib_base_hi", u32),
        ("u3", pm4_mes_runlist_u3),
    ]


class pm4_mec_release_mem_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mec_release_mem_u1_bitfields2(Struct):
    _fields_ = [
        ("event_type", u32, 6),
        ("reserved1", u32, 2),
        ("event_index", u32, 4),
        ("tcl1_vol_action_ena", u32, 1),
        ("tc_vol_action_ena", u32, 1),
        ("reserved2", u32, 1),
        ("tc_wb_action_ena", u32, 1),
        ("tcl1_action_ena", u32, 1),
        ("tc_action_ena", u32, 1),
        ("reserved3", u32, 1),
        ("tc_nc_action_ena", u32, 1),
        ("tc_wc_action_ena", u32, 1),
        ("tc_md_action_ena", u32, 1),
        ("reserved4", u32, 3),
        ("cache_policy", u32, 2),
        ("reserved5", u32, 2),
        ("pq_exe_status", u32, 1),
        ("reserved6", u32, 2),
    ]


class pm4_mec_release_mem_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mec_release_mem_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mec_release_mem_u2_bitfields3(Struct):
    _fields_ = [
        ("reserved7", u32, 16),
        ("dst_sel", u32, 2),
        ("reserved8", u32, 6),
        ("int_sel", u32, 3),
        ("reserved9", u32, 2),
        ("data_sel", u32, 3),
    ]


class pm4_mec_release_mem_u2(Union):
    _fields_ = [
        ("bitfields3", pm4_mec_release_mem_u2_bitfields3),
        ("ordinal3", u32),
    ]


class pm4_mec_release_mem_u3_bitfields4(Struct):
    _fields_ = [
        ("reserved10", u32, 2),
        ("address_lo_32b", u32, 30),
    ]


class pm4_mec_release_mem_u3_bitfields4b(Struct):
    _fields_ = [
        ("reserved11", u32, 3),
        ("address_lo_64b", u32, 29),
    ]


class pm4_mec_release_mem_u3(Union):
    _fields_ = [
        ("bitfields4", pm4_mec_release_mem_u3_bitfields4),
        ("bitfields4b", pm4_mec_release_mem_u3_bitfields4b),
        ("reserved12", u32),
        ("ordinal4", u32),
    ]


class pm4_mec_release_mem_u4(Union):
    _fields_ = [
        ("address_hi", u32),
        ("reserved13", u32),
        ("ordinal5", u32),
    ]


class pm4_mec_release_mem_u5_bitfields6c(Struct):
    _fields_ = [
        ("dw_offset", u32, 16),
        ("num_dwords", u32, 16),
    ]


class pm4_mec_release_mem_u5(Union):
    _fields_ = [
        ("data_lo", u32),
        ("cmp_data_lo", u32),
        ("bitfields6c", pm4_mec_release_mem_u5_bitfields6c),
        ("reserved14", u32),
        ("ordinal6", u32),
    ]


class pm4_mec_release_mem_u6(Union):
    _fields_ = [
        *each(u32, "data_hi cmp_data_hi reserved15 reserved16 ordinal7"),
    ]


class pm4_mec_release_mem(Struct):
    _anonymous_ = ('u0', 'u1', 'u2', 'u3', 'u4', 'u5', 'u6')
    _fields_ = [
        ("u0", pm4_mec_release_mem_u0),
        ("u1", pm4_mec_release_mem_u1),
        ("u2", pm4_mec_release_mem_u2),
        ("u3", pm4_mec_release_mem_u3),
        ("u4", pm4_mec_release_mem_u4),
        ("u5", pm4_mec_release_mem_u5),
        ("u6", pm4_mec_release_mem_u6),
        ("int_ctxid", u32),
    ]


class pm4_mec_write_data_mmio_u0(Union):
    _fields_ = [
        ("header", PM4_MES_TYPE_3_HEADER),
        ("ordinal1", u32),
    ]


class pm4_mec_write_data_mmio_u1_bitfields2(Struct):
    _fields_ = [
        ("reserved1", u32, 8),
        ("dst_sel", u32, 4),
        ("reserved2", u32, 4),
        ("addr_incr", u32, 1),
        ("reserved3", u32, 2),
        ("resume_vf", u32, 1),
        ("wr_confirm", u32, 1),
        ("reserved4", u32, 4),
        ("cache_policy", u32, 2),
        ("reserved5", u32, 5),
    ]


class pm4_mec_write_data_mmio_u1(Union):
    _fields_ = [
        ("bitfields2", pm4_mec_write_data_mmio_u1_bitfields2),
        ("ordinal2", u32),
    ]


class pm4_mec_write_data_mmio_u2_bitfields3(Struct):
    _fields_ = [
        ("dst_mmreg_addr", u32, 18),
        ("reserved6", u32, 14),
    ]


class pm4_mec_write_data_mmio_u2(Union):
    _fields_ = [
        ("bitfields3", pm4_mec_write_data_mmio_u2_bitfields3),
        ("ordinal3", u32),
    ]


class pm4_mec_write_data_mmio(Struct):
    _anonymous_ = ('u0', 'u1', 'u2')
    _fields_ = [
        ("u0", pm4_mec_write_data_mmio_u0),
        ("u1", pm4_mec_write_data_mmio_u1),
        ("u2", pm4_mec_write_data_mmio_u2),
        ("reserved7", u32),
        ("data", u32),
    ]
