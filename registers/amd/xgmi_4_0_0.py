"""XGMI WAFL PCS error status: the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/xgmi/xgmi_4_0_0_smn.h
  drivers/gpu/drm/amd/include/asic_reg/xgmi/xgmi_4_0_0_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, bit, bits


class XGMI0_PCS_GOPX16_PCS_ERROR_STATUS_t(Register):
    __slots__ = ()
    DataLossErr = bit(0)
    TrainingErr = bit(1)
    CRCErr = bit(5)
    BERExceededErr = bit(6)
    TxMetaDataErr = bit(7)
    ReplayBufParityErr = bit(8)
    DataParityErr = bit(9)
    ReplayFifoOverflowErr = bit(10)
    ReplayFifoUnderflowErr = bit(11)
    ElasticFifoOverflowErr = bit(12)
    DeskewErr = bit(13)
    DataStartupLimitErr = bit(15)
    FCInitTimeoutErr = bit(16)
    RecoveryTimeoutErr = bit(17)
    ReadySerialTimeoutErr = bit(18)
    ReadySerialAttemptErr = bit(19)
    RecoveryAttemptErr = bit(20)
    RecoveryRelockAttemptErr = bit(21)
    ClearBERAccum = bit(23)
    BERAccumulator = bits(31, 24)
