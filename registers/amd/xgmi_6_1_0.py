"""XGMI 6.4.0, 6.4.1 (PCS error status): the registers that the code uses (tools/register_names.txt). Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/asic_reg/xgmi/xgmi_6_1_0_sh_mask.h
Made by: .venv/bin/python tools/gen_registers.py
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.core import Register, bit


class PCS_XGMI3X16_PCS_ERROR_STATUS_t(Register):
    __slots__ = ()
    DataLossErr = bit(0)
    TrainingErr = bit(1)
    FlowCtrlAckErr = bit(2)
    RxFifoUnderflowErr = bit(3)
    RxFifoOverflowErr = bit(4)
    CRCErr = bit(5)
    BERExceededErr = bit(6)
    TxVcidDataErr = bit(7)
    ReplayBufParityErr = bit(8)
    DataParityErr = bit(9)
    ReplayFifoOverflowErr = bit(10)
    ReplayFifoUnderflowErr = bit(11)
    ElasticFifoOverflowErr = bit(12)
    DeskewErr = bit(13)
    FlowCtrlCRCErr = bit(14)
    DataStartupLimitErr = bit(15)
    FCInitTimeoutErr = bit(16)
    RecoveryTimeoutErr = bit(17)
    ReadySerialTimeoutErr = bit(18)
    ReadySerialAttemptErr = bit(19)
    RecoveryAttemptErr = bit(20)
    RecoveryRelockAttemptErr = bit(21)
    ReplayAttemptErr = bit(22)
    SyncHdrErr = bit(23)
    TxReplayTimeoutErr = bit(24)
    RxReplayTimeoutErr = bit(25)
    LinkSubTxTimeoutErr = bit(26)
    LinkSubRxTimeoutErr = bit(27)
    RxCMDPktErr = bit(28)
