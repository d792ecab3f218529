"""Trusted applications of the PSP: shared memory of XGMI and RAS. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/amdgpu/ta_xgmi_if.h
  drivers/gpu/drm/amd/amdgpu/ta_ras_if.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum

from registers.structs import Struct, Union, u8, u16, u32, u64

EXTEND_PEER_LINK_INFO_CMD_FLAG = 0x1
RSP_ID_MASK = 0x80000000


class ta_command_xgmi(IntEnum):
    TA_COMMAND_XGMI__INITIALIZE = 0x0
    TA_COMMAND_XGMI__GET_NODE_ID = 0x1
    TA_COMMAND_XGMI__GET_HIVE_ID = 0x2
    TA_COMMAND_XGMI__GET_TOPOLOGY_INFO = 0x3
    TA_COMMAND_XGMI__SET_TOPOLOGY_INFO = 0x4
    TA_COMMAND_XGMI__GET_PEER_LINKS = 0xb
    TA_COMMAND_XGMI__GET_EXTEND_PEER_LINKS = 0xc


class ta_xgmi_status(IntEnum):
    TA_XGMI_STATUS__SUCCESS = 0x0
    TA_XGMI_STATUS__GENERIC_FAILURE = 0x1
    TA_XGMI_STATUS__NULL_POINTER = 0x2
    TA_XGMI_STATUS__INVALID_PARAMETER = 0x3
    TA_XGMI_STATUS__NOT_INITIALIZED = 0x4
    TA_XGMI_STATUS__INVALID_NODE_NUM = 0x5
    TA_XGMI_STATUS__INVALID_NODE_ID = 0x6
    TA_XGMI_STATUS__INVALID_TOPOLOGY = 0x7
    TA_XGMI_STATUS__FAILED_ID_GEN = 0x8
    TA_XGMI_STATUS__FAILED_TOPOLOGY_INIT = 0x9
    TA_XGMI_STATUS__SET_SHARING_ERROR = 0xa


class ras_command(IntEnum):
    TA_RAS_COMMAND__ENABLE_FEATURES = 0
    TA_RAS_COMMAND__DISABLE_FEATURES = 1
    TA_RAS_COMMAND__TRIGGER_ERROR = 2
    TA_RAS_COMMAND__QUERY_BLOCK_INFO = 3
    TA_RAS_COMMAND__QUERY_SUB_BLOCK_INFO = 4
    TA_RAS_COMMAND__QUERY_ADDRESS = 5


class ta_ras_status(IntEnum):
    TA_RAS_STATUS__SUCCESS = 0x0
    TA_RAS_STATUS__RESET_NEEDED = 0xa001
    TA_RAS_STATUS__ERROR_INVALID_PARAMETER = 0xa002
    TA_RAS_STATUS__ERROR_RAS_NOT_AVAILABLE = 0xa003
    TA_RAS_STATUS__ERROR_RAS_DUPLICATE_CMD = 0xa004
    TA_RAS_STATUS__ERROR_INJECTION_FAILED = 0xa005
    TA_RAS_STATUS__ERROR_ASD_READ_WRITE = 0xa006
    TA_RAS_STATUS__ERROR_TOGGLE_DF_CSTATE = 0xa007
    TA_RAS_STATUS__ERROR_TIMEOUT = 0xa008
    TA_RAS_STATUS__ERROR_BLOCK_DISABLED = 0xa009
    TA_RAS_STATUS__ERROR_GENERIC = 0xa00a
    TA_RAS_STATUS__ERROR_RAS_MMHUB_INIT = 0xa00b
    TA_RAS_STATUS__ERROR_GET_DEV_INFO = 0xa00c
    TA_RAS_STATUS__ERROR_UNSUPPORTED_DEV = 0xa00d
    TA_RAS_STATUS__ERROR_NOT_INITIALIZED = 0xa00e
    TA_RAS_STATUS__ERROR_TEE_INTERNAL = 0xa00f
    TA_RAS_STATUS__ERROR_UNSUPPORTED_FUNCTION = 0xa010
    TA_RAS_STATUS__ERROR_SYS_DRV_REG_ACCESS = 0xa011
    TA_RAS_STATUS__ERROR_RAS_READ_WRITE = 0xa012
    TA_RAS_STATUS__ERROR_NULL_PTR = 0xa013
    TA_RAS_STATUS__ERROR_UNSUPPORTED_IP = 0xa014
    TA_RAS_STATUS__ERROR_PCS_STATE_QUIET = 0xa015
    TA_RAS_STATUS__ERROR_PCS_STATE_ERROR = 0xa016
    TA_RAS_STATUS__ERROR_PCS_STATE_HANG = 0xa017
    TA_RAS_STATUS__ERROR_PCS_STATE_UNKNOWN = 0xa018
    TA_RAS_STATUS__ERROR_UNSUPPORTED_ERROR_INJ = 0xa019
    TA_RAS_STATUS__TEE_ERROR_ACCESS_DENIED = 0xa01a


class ta_xgmi_node_info(Struct):
    _fields_ = [
        ("node_id", u64),
        ("num_hops", u8),
        ("is_sharing_enabled", u8),
        ("sdma_engine", u32),
    ]


class ta_xgmi_peer_link_info(Struct):
    _fields_ = [
        ("node_id", u64),
        ("num_links", u8),
    ]


class xgmi_connected_port_num(Struct):
    _fields_ = [
        ("dst_xgmi_port_num", u8),
        ("src_xgmi_port_num", u8),
    ]


class ta_xgmi_extend_peer_link_info(Struct):
    _fields_ = [
        ("node_id", u64),
        ("num_links", u8),
        ("port_num", xgmi_connected_port_num * 8),
    ]


class ta_xgmi_cmd_initialize_output(Struct):
    _fields_ = [
        ("status", u32),
    ]


class ta_xgmi_cmd_get_node_id_output(Struct):
    _fields_ = [
        ("node_id", u64),
    ]


class ta_xgmi_cmd_get_hive_id_output(Struct):
    _fields_ = [
        ("hive_id", u64),
    ]


class ta_xgmi_cmd_get_topology_info_input(Struct):
    _fields_ = [
        ("num_nodes", u32),
        ("nodes", ta_xgmi_node_info * 64),
    ]


class ta_xgmi_cmd_get_topology_info_output(Struct):
    _fields_ = [
        ("num_nodes", u32),
        ("nodes", ta_xgmi_node_info * 64),
    ]


class ta_xgmi_cmd_set_topology_info_input(Struct):
    _fields_ = [
        ("num_nodes", u32),
        ("nodes", ta_xgmi_node_info * 64),
    ]


class ta_xgmi_cmd_get_peer_link_info(Struct):
    _fields_ = [
        ("num_nodes", u32),
        ("nodes", ta_xgmi_peer_link_info * 64),
    ]


class ta_xgmi_cmd_get_extend_peer_link_info(Struct):
    _fields_ = [
        ("num_nodes", u32),
        ("nodes", ta_xgmi_extend_peer_link_info * 64),
    ]


class ta_xgmi_cmd_input(Union):
    _fields_ = [
        ("get_topology_info", ta_xgmi_cmd_get_topology_info_input),
        ("set_topology_info", ta_xgmi_cmd_set_topology_info_input),
    ]


class ta_xgmi_cmd_output(Union):
    _fields_ = [
        ("initialize", ta_xgmi_cmd_initialize_output),
        ("get_node_id", ta_xgmi_cmd_get_node_id_output),
        ("get_hive_id", ta_xgmi_cmd_get_hive_id_output),
        ("get_topology_info", ta_xgmi_cmd_get_topology_info_output),
        ("get_link_info", ta_xgmi_cmd_get_peer_link_info),
        ("get_extend_link_info", ta_xgmi_cmd_get_extend_peer_link_info),
    ]


class ta_xgmi_shared_memory(Struct):
    _fields_ = [
        ("cmd_id", u32),
        ("resp_id", u32),
        ("xgmi_status", u32),
        ("flag_extend_link_record", u8),
        ("caps_flag", u8),
        ("reserved", u8 * 2),
        ("xgmi_in_message", ta_xgmi_cmd_input),
        ("xgmi_out_message", ta_xgmi_cmd_output),
    ]


class ta_ras_init_flags(Struct):
    _fields_ = [
        ("poison_mode_en", u8),
        ("dgpu_mode", u8),
        ("xcc_mask", u16),
        ("channel_dis_num", u8),
        ("nps_mode", u8),
        ("active_umc_mask", u32),
        ("vram_type", u8),
    ]


class ta_ras_output_flags(Struct):
    _fields_ = [
        ("ras_init_success_flag", u8),
        ("err_inject_switch_disable_flag", u8),
        ("reg_access_failure_flag", u8),
    ]
