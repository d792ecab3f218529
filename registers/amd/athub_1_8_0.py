"""ATHUB 1.8.0: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/athub/athub_1_8_0_offset.h
  drivers/gpu/drm/amd/include/asic_reg/athub/athub_1_8_0_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, RegisterBlock, bit, bits, reg


class ATC_ATS_STATUS_t(Register):
    __slots__ = ()
    BUSY = bit(0)
    CRASHED = bit(1)
    DEADLOCK_DETECTION = bit(2)
    FED_IND = bit(3)


class ATC_ATS_FAULT_STATUS_INFO_t(Register):
    __slots__ = ()
    FAULT_TYPE = bits(8, 0)
    VMID_ALL = bit(9)
    VMID = bits(14, 10)
    EXTRA_INFO = bit(15)
    EXTRA_INFO2 = bit(16)
    INVALIDATION = bit(17)
    PAGE_REQUEST = bit(18)
    STATUS = bits(23, 19)
    PAGE_ADDR_HIGH = bits(27, 24)
    PHYSICAL_ADDR_HIGH = bits(31, 28)


class ATC_ATS_FAULT_STATUS_ADDR_t(Register):
    __slots__ = ()
    PAGE_ADDR = bits(31, 0)


class ATHUB_COMMAND_t(Register):
    __slots__ = ()
    BUS_MASTER_EN = bit(2)


class ATC_VMID_PASID_MAPPING_UPDATE_STATUS_t(Register):
    __slots__ = ()
    VMID0_REMAPPING_FINISHED = bit(0)
    VMID1_REMAPPING_FINISHED = bit(1)
    VMID2_REMAPPING_FINISHED = bit(2)
    VMID3_REMAPPING_FINISHED = bit(3)
    VMID4_REMAPPING_FINISHED = bit(4)
    VMID5_REMAPPING_FINISHED = bit(5)
    VMID6_REMAPPING_FINISHED = bit(6)
    VMID7_REMAPPING_FINISHED = bit(7)
    VMID8_REMAPPING_FINISHED = bit(8)
    VMID9_REMAPPING_FINISHED = bit(9)
    VMID10_REMAPPING_FINISHED = bit(10)
    VMID11_REMAPPING_FINISHED = bit(11)
    VMID12_REMAPPING_FINISHED = bit(12)
    VMID13_REMAPPING_FINISHED = bit(13)
    VMID14_REMAPPING_FINISHED = bit(14)
    VMID15_REMAPPING_FINISHED = bit(15)


class ATC_VMIDn_PASID_MAPPING_t(Register):
    __slots__ = ()
    PASID = bits(15, 0)
    NO_INVALIDATION = bit(30)
    VALID = bit(31)


class Athub(RegisterBlock):
    ATC_ATS_STATUS = reg(0x0009, ATC_ATS_STATUS_t, 0)
    ATC_ATS_FAULT_STATUS_INFO = reg(0x0013, ATC_ATS_FAULT_STATUS_INFO_t, 0)
    ATC_ATS_FAULT_STATUS_ADDR = reg(0x0017, ATC_ATS_FAULT_STATUS_ADDR_t, 0)
    ATHUB_COMMAND = reg(0x0023, ATHUB_COMMAND_t, 0)
    ATC_VMID_PASID_MAPPING_UPDATE_STATUS = reg(0x003e, ATC_VMID_PASID_MAPPING_UPDATE_STATUS_t, 0)
    ATC_VMID0_PASID_MAPPING = reg(0x003f, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID1_PASID_MAPPING = reg(0x0040, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID2_PASID_MAPPING = reg(0x0041, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID3_PASID_MAPPING = reg(0x0042, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID4_PASID_MAPPING = reg(0x0043, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID5_PASID_MAPPING = reg(0x0044, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID6_PASID_MAPPING = reg(0x0045, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID7_PASID_MAPPING = reg(0x0046, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID8_PASID_MAPPING = reg(0x0047, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID9_PASID_MAPPING = reg(0x0048, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID10_PASID_MAPPING = reg(0x0049, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID11_PASID_MAPPING = reg(0x004a, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID12_PASID_MAPPING = reg(0x004b, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID13_PASID_MAPPING = reg(0x004c, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID14_PASID_MAPPING = reg(0x004d, ATC_VMIDn_PASID_MAPPING_t, 0)
    ATC_VMID15_PASID_MAPPING = reg(0x004e, ATC_VMIDn_PASID_MAPPING_t, 0)
