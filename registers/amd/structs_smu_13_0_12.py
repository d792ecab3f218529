"""SMU 13.0.12 (MI350X): messages, results, metrics. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/pm/swsmu/inc/pmfw_if/smu_v13_0_12_pmfw.h
  drivers/gpu/drm/amd/pm/swsmu/inc/pmfw_if/smu_v13_0_12_ppsmc.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum

from registers.structs import Packed4, each, i16, u8, u16, u32, u64

SMU_METRICS_TABLE_VERSION = 0x15


class FEATURE_LIST_e(IntEnum):
    FEATURE_DATA_CALCULATION = 0x0
    FEATURE_DPM_FCLK = 0x1
    FEATURE_DPM_GFXCLK = 0x2
    FEATURE_DPM_LCLK = 0x3
    FEATURE_DPM_SOCCLK = 0x4
    FEATURE_DPM_UCLK = 0x5
    FEATURE_DPM_VCN = 0x6
    FEATURE_DPM_XGMI = 0x7
    FEATURE_DS_FCLK = 0x8
    FEATURE_DS_GFXCLK = 0x9
    FEATURE_DS_LCLK = 0xa
    FEATURE_DS_MP0CLK = 0xb
    FEATURE_DS_MP1CLK = 0xc
    FEATURE_DS_MPIOCLK = 0xd
    FEATURE_DS_SOCCLK = 0xe
    FEATURE_DS_VCN = 0xf
    FEATURE_APCC_DFLL = 0x10
    FEATURE_APCC_PLUS = 0x11
    FEATURE_PPT = 0x12
    FEATURE_TDC = 0x13
    FEATURE_THERMAL = 0x14
    FEATURE_SOC_PCC = 0x15
    FEATURE_PROCHOT = 0x16
    FEATURE_FDD_AID_HBM = 0x17
    FEATURE_FDD_AID_SOC = 0x18
    FEATURE_FDD_XCD_EDC = 0x19
    FEATURE_FDD_XCD_XVMIN = 0x1a
    FEATURE_FW_CTF = 0x1b
    FEATURE_SMU_CG = 0x1c
    FEATURE_PSI7 = 0x1d
    FEATURE_XGMI_PER_LINK_PWR_DOWN = 0x1e
    FEATURE_SOC_DC_RTC = 0x1f
    FEATURE_GFX_DC_RTC = 0x20
    FEATURE_DVM_MIN_PSM = 0x21
    FEATURE_PRC = 0x22
    FEATURE_PSM_SQ_THROTTLER = 0x23
    FEATURE_PIT = 0x24
    FEATURE_DVO = 0x25
    FEATURE_XVMINORPSM_CLKSTOP_DS = 0x26
    FEATURE_GLOBAL_DPM = 0x27
    FEATURE_HROM_EN = 0x28
    NUM_FEATURES = 0x29


class Result(IntEnum):
    OK = 0x1
    Failed = 0xff
    UnknownCmd = 0xfe
    CmdRejectedPrereq = 0xfd
    CmdRejectedBusy = 0xfc


class Message(IntEnum):
    TestMessage = 0x1
    GetSmuVersion = 0x2
    GfxDriverReset = 0x3
    GetDriverIfVersion = 0x4
    EnableAllSmuFeatures = 0x5
    DisableAllSmuFeatures = 0x6
    RequestI2cTransaction = 0x7
    GetMetricsVersion = 0x8
    GetMetricsTable = 0x9
    GetEccInfoTable = 0xa
    GetEnabledSmuFeaturesLow = 0xb
    GetEnabledSmuFeaturesHigh = 0xc
    SetDriverDramAddrHigh = 0xd
    SetDriverDramAddrLow = 0xe
    SetToolsDramAddrHigh = 0xf
    SetToolsDramAddrLow = 0x10
    SetSystemVirtualDramAddrHigh = 0x11
    SetSystemVirtualDramAddrLow = 0x12
    SetSoftMinByFreq = 0x13
    SetSoftMaxByFreq = 0x14
    GetMinDpmFreq = 0x15
    GetMaxDpmFreq = 0x16
    GetDpmFreqByIndex = 0x17
    SetPptLimit = 0x18
    GetPptLimit = 0x19
    DramLogSetDramAddrHigh = 0x1a
    DramLogSetDramAddrLow = 0x1b
    DramLogSetDramSize = 0x1c
    GetDebugData = 0x1d
    HeavySBR = 0x1e
    SetNumBadHbmPagesRetired = 0x1f
    DFCstateControl = 0x20
    GetGmiPwrDnHyst = 0x21
    SetGmiPwrDnHyst = 0x22
    GmiPwrDnControl = 0x23
    EnterGfxoff = 0x24
    ExitGfxoff = 0x25
    EnableDeterminism = 0x26
    DisableDeterminism = 0x27
    DumpSTBtoDram = 0x28
    STBtoDramLogSetDramAddrHigh = 0x29
    STBtoDramLogSetDramAddrLow = 0x2a
    STBtoDramLogSetDramSize = 0x2b
    SetSystemVirtualSTBtoDramAddrHigh = 0x2c
    SetSystemVirtualSTBtoDramAddrLow = 0x2d
    GfxDriverResetRecovery = 0x2e
    TriggerVFFLR = 0x2f
    SetSoftMinGfxClk = 0x30
    SetSoftMaxGfxClk = 0x31
    GetMinGfxDpmFreq = 0x32
    GetMaxGfxDpmFreq = 0x33
    PrepareForDriverUnload = 0x34
    ReadThrottlerLimit = 0x35
    QueryValidMcaCount = 0x36
    McaBankDumpDW = 0x37
    GetCTFLimit = 0x38
    ClearMcaOnRead = 0x39
    QueryValidMcaCeCount = 0x3a
    McaBankCeDumpDW = 0x3b
    SelectPLPDMode = 0x40
    PmLogReadSample = 0x41
    PmLogGetTableVersion = 0x42
    RmaDueToBadPageThreshold = 0x43
    SetThrottlingPolicy = 0x44
    SetPhaseDetectCSBWThreshold = 0x45
    SetPhaseDetectFreqHigh = 0x46
    SetPhaseDetectFreqLow = 0x47
    SetPhaseDetectDownHysterisis = 0x48
    SetPhaseDetectAlphaX1e6 = 0x49
    SetPhaseDetectOnOff = 0x4a
    GetPhaseDetectResidency = 0x4b
    UpdatePccWaitDecMaxStr = 0x4c
    ResetSDMA = 0x4d
    GetRasTableVersion = 0x4e
    GetBadPageCount = 0x50
    GetBadPageMcaAddress = 0x51
    SetTimestamp = 0x53
    SetTimestampHi = 0x54
    GetTimestamp = 0x55
    GetBadPageIpIdLoHi = 0x57
    EraseRasTable = 0x58
    GetStaticMetricsTable = 0x59
    ResetVfArbitersByIndex = 0x5a
    GetSystemMetricsTable = 0x5c
    GetSystemMetricsVersion = 0x5d
    ResetVCN = 0x5e
    SetFastPptLimit = 0x5f
    GetFastPptLimit = 0x60


class ResetType(IntEnum):
    DRIVER_MODE_1_RESET = 1
    DRIVER_MODE_2_RESET = 2
    DRIVER_MODE_3_RESET = 3


class MetricsTable_t(Packed4):
    _fields_ = [
        ("AccumulationCounter", u64),
        ("MaxSocketTemperature", u32),
        ("MaxVrTemperature", u32),
        ("MaxHbmTemperature", u32),
        ("MaxSocketTemperatureAcc", u64),
        ("MaxVrTemperatureAcc", u64),
        ("MaxHbmTemperatureAcc", u64),
        ("SocketPowerLimit", u32),
        ("SocketPower", u32),
        *each(u64, "Timestamp SocketEnergyAcc XcdEnergyAcc AidEnergyAcc HbmEnergyAcc"),
        ("GfxclkFrequencyLimit", u32),
        ("FclkFrequency", u32),
        ("UclkFrequency", u32),
        *each(u32 * 4, "SocclkFrequency VclkFrequency DclkFrequency LclkFrequency"),
        ("GfxclkFrequencyAcc", u64 * 8),
        *each(u32, "MaxLclkDpmRange MinLclkDpmRange XgmiWidth XgmiBitrate"),
        ("XgmiReadBandwidthAcc", u64 * 8),
        ("XgmiWriteBandwidthAcc", u64 * 8),
        ("SocketGfxBusy", u32),
        ("DramBandwidthUtilization", u32),
        ("SocketGfxBusyAcc", u64),
        ("DramBandwidthAcc", u64),
        ("MaxDramBandwidth", u32),
        ("DramBandwidthUtilizationAcc", u64),
        ("PcieBandwidthAcc", u64 * 4),
        *each(u32, """
            ProchotResidencyAcc PptResidencyAcc SocketThmResidencyAcc VrThmResidencyAcc
            HbmThmResidencyAcc GfxLockXCDMak
        """),
        ("GfxclkFrequency", u32 * 8),
        ("XgmiReadDataSizeAcc", u64 * 8),
        ("XgmiWriteDataSizeAcc", u64 * 8),
        ("PcieBandwidth", u32 * 4),
        *each(u32, """
            PCIeL0ToRecoveryCountAcc PCIenReplayAAcc PCIenReplayARolloverCountAcc PCIeNAKSentCountAcc
            PCIeNAKReceivedCountAcc
        """),
        ("VcnBusy", u32 * 4),
        ("JpegBusy", u32 * 40),
        ("PCIeLinkSpeed", u32),
        ("PCIeLinkWidth", u32),
        ("GfxBusy", u32 * 8),
        ("GfxBusyAcc", u64 * 8),
        ("PCIeOtherEndRecoveryAcc", u32),
        *each(u64 * 8, """
            GfxclkBelowHostLimitPptAcc GfxclkBelowHostLimitThmAcc GfxclkBelowHostLimitTotalAcc
            GfxclkLowUtilizationAcc
        """),
        ("AidTemperature", u32 * 4),
        ("XcdTemperature", u32 * 8),
        ("HbmTemperature", u32 * 8),
    ]


class SystemMetricsTable_t(Packed4):
    _fields_ = [
        ("AccumulationCounter", u64),
        ("LabelVersion", u16),
        ("NodeIdentifier", u16),
        ("SystemTemperatures", i16 * 32),
        ("NodeTemperatures", i16 * 12),
        ("VrTemperatures", i16 * 13),
        ("spare", i16 * 7),
        ("NodePowerLimit", u32),
        ("NodePower", u32),
        ("GlobalPPTResidencyAcc", u32),
        ("SystemPower", u16 * 4),
    ]


class VfMetricsTable_t(Packed4):
    _fields_ = [
        ("AccumulationCounter", u32),
        ("InstGfxclk_TargFreq", u32),
        *each(u64, """
            AccGfxclk_TargFreq AccGfxRsmuDpm_Busy AccGfxclkBelowHostLimitPpt AccGfxclkBelowHostLimitThm
            AccGfxclkBelowHostLimitTotal AccGfxclkLowUtilization
        """),
    ]


class FRUProductInfo_t(Packed4):
    _fields_ = [
        ("ModelNumber", u8 * 20),
        ("Name", u8 * 64),
        ("Serial", u8 * 20),
        ("ManufacturerName", u8 * 32),
        ("FruId", u8 * 32),
    ]


class StaticMetricsTable_t(Packed4):
    _fields_ = [
        ("ProductInfo", FRUProductInfo_t),
        ("MaxSocketPowerLimit", u32),
        ("MaxGfxclkFrequency", u32),
        ("MinGfxclkFrequency", u32),
        *each(u32 * 4, """
            FclkFrequencyTable UclkFrequencyTable SocclkFrequencyTable VclkFrequencyTable
            DclkFrequencyTable LclkFrequencyTable
        """),
        ("PublicSerialNumber_AID", u64 * 4),
        ("PublicSerialNumber_XCD", u64 * 8),
        ("MaxXgmiWidth", u32),
        ("MaxXgmiBitrate", u32),
        ("InputTelemetryVoltageInmV", u32),
        ("pldmVersion", u32 * 2),
        *each(u32, "MaxNodePowerLimit PPT1Max PPT1Min PPT1Default"),
    ]
