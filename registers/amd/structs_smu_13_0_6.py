"""SMU 13.0.6 (MI300X): messages, results, metrics. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/pm/swsmu/inc/pmfw_if/smu_v13_0_6_pmfw.h
  drivers/gpu/drm/amd/pm/swsmu/inc/pmfw_if/smu_v13_0_6_ppsmc.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from enum import IntEnum

from registers.structs import Packed4, each, u32, u64

SMU_METRICS_TABLE_VERSION = 0x11


class FEATURE_LIST_e(IntEnum):
    FEATURE_DATA_CALCULATION = 0x0
    FEATURE_DPM_CCLK = 0x1
    FEATURE_DPM_FCLK = 0x2
    FEATURE_DPM_GFXCLK = 0x3
    FEATURE_DPM_LCLK = 0x4
    FEATURE_DPM_SOCCLK = 0x5
    FEATURE_DPM_UCLK = 0x6
    FEATURE_DPM_VCN = 0x7
    FEATURE_DPM_XGMI = 0x8
    FEATURE_DS_FCLK = 0x9
    FEATURE_DS_GFXCLK = 0xa
    FEATURE_DS_LCLK = 0xb
    FEATURE_DS_MP0CLK = 0xc
    FEATURE_DS_MP1CLK = 0xd
    FEATURE_DS_MPIOCLK = 0xe
    FEATURE_DS_SOCCLK = 0xf
    FEATURE_DS_VCN = 0x10
    FEATURE_APCC_DFLL = 0x11
    FEATURE_APCC_PLUS = 0x12
    FEATURE_DF_CSTATE = 0x13
    FEATURE_CC6 = 0x14
    FEATURE_PC6 = 0x15
    FEATURE_CPPC = 0x16
    FEATURE_PPT = 0x17
    FEATURE_TDC = 0x18
    FEATURE_THERMAL = 0x19
    FEATURE_SOC_PCC = 0x1a
    FEATURE_CCD_PCC = 0x1b
    FEATURE_CCD_EDC = 0x1c
    FEATURE_PROCHOT = 0x1d
    FEATURE_DVO_CCLK = 0x1e
    FEATURE_FDD_AID_HBM = 0x1f
    FEATURE_FDD_AID_SOC = 0x20
    FEATURE_FDD_XCD_EDC = 0x21
    FEATURE_FDD_XCD_XVMIN = 0x22
    FEATURE_FW_CTF = 0x23
    FEATURE_GFXOFF = 0x24
    FEATURE_SMU_CG = 0x25
    FEATURE_PSI7 = 0x26
    FEATURE_CSTATE_BOOST = 0x27
    FEATURE_XGMI_PER_LINK_PWR_DOWN = 0x28
    FEATURE_CXL_QOS = 0x29
    FEATURE_SOC_DC_RTC = 0x2a
    FEATURE_GFX_DC_RTC = 0x2b
    FEATURE_DVM_MIN_PSM = 0x2c
    FEATURE_PRC = 0x2d
    NUM_FEATURES = 0x2e


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
    RmaDueToBadPageThreshold = 0x43
    SetThrottlingPolicy = 0x44
    ResetSDMA = 0x4d
    GetStaticMetricsTable = 0x59
    ResetVCN = 0x5b


class ResetType(IntEnum):
    DRIVER_MODE_1_RESET = 1
    DRIVER_MODE_2_RESET = 2
    DRIVER_MODE_3_RESET = 3


class MetricsTableV0_t(Packed4):
    _fields_ = [
        *each(u32, "AccumulationCounter MaxSocketTemperature MaxVrTemperature MaxHbmTemperature"),
        ("MaxSocketTemperatureAcc", u64),
        ("MaxVrTemperatureAcc", u64),
        ("MaxHbmTemperatureAcc", u64),
        ("SocketPowerLimit", u32),
        ("MaxSocketPowerLimit", u32),
        ("SocketPower", u32),
        *each(u64, "Timestamp SocketEnergyAcc CcdEnergyAcc XcdEnergyAcc AidEnergyAcc HbmEnergyAcc"),
        *each(u32, "CclkFrequencyLimit GfxclkFrequencyLimit FclkFrequency UclkFrequency"),
        *each(u32 * 4, "SocclkFrequency VclkFrequency DclkFrequency LclkFrequency"),
        ("GfxclkFrequencyAcc", u64 * 8),
        ("CclkFrequencyAcc", u64 * 96),
        *each(u32, "MaxCclkFrequency MinCclkFrequency MaxGfxclkFrequency MinGfxclkFrequency"),
        *each(u32 * 4, """
            FclkFrequencyTable UclkFrequencyTable SocclkFrequencyTable VclkFrequencyTable
            DclkFrequencyTable LclkFrequencyTable
        """),
        *each(u32, "MaxLclkDpmRange MinLclkDpmRange XgmiWidth XgmiBitrate"),
        ("XgmiReadBandwidthAcc", u64 * 8),
        ("XgmiWriteBandwidthAcc", u64 * 8),
        ("SocketC0Residency", u32),
        ("SocketGfxBusy", u32),
        ("DramBandwidthUtilization", u32),
        ("SocketC0ResidencyAcc", u64),
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
        ("PublicSerialNumber_AID", u64 * 4),
        ("PublicSerialNumber_XCD", u64 * 8),
        ("PublicSerialNumber_CCD", u64 * 12),
        ("XgmiReadDataSizeAcc", u64 * 8),
        ("XgmiWriteDataSizeAcc", u64 * 8),
        ("PcieBandwidth", u32 * 4),
        *each(u32, """
            PCIeL0ToRecoveryCountAcc PCIenReplayAAcc PCIenReplayARolloverCountAcc PCIeNAKSentCountAcc
            PCIeNAKReceivedCountAcc
        """),
        ("VcnBusy", u32 * 4),
        ("JpegBusy", u32 * 32),
        ("PCIeLinkSpeed", u32),
        ("PCIeLinkWidth", u32),
        ("GfxBusy", u32 * 8),
        ("GfxBusyAcc", u64 * 8),
        ("PCIeOtherEndRecoveryAcc", u32),
        *each(u64 * 8, """
            GfxclkBelowHostLimitPptAcc GfxclkBelowHostLimitThmAcc GfxclkBelowHostLimitTotalAcc
            GfxclkLowUtilizationAcc
        """),
    ]


class MetricsTableV1_t(Packed4):
    _fields_ = [
        *each(u32, "AccumulationCounter MaxSocketTemperature MaxVrTemperature MaxHbmTemperature"),
        ("MaxSocketTemperatureAcc", u64),
        ("MaxVrTemperatureAcc", u64),
        ("MaxHbmTemperatureAcc", u64),
        ("SocketPowerLimit", u32),
        ("MaxSocketPowerLimit", u32),
        ("SocketPower", u32),
        *each(u64, "Timestamp SocketEnergyAcc CcdEnergyAcc XcdEnergyAcc AidEnergyAcc HbmEnergyAcc"),
        *each(u32, "CclkFrequencyLimit GfxclkFrequencyLimit FclkFrequency UclkFrequency"),
        *each(u32 * 4, "SocclkFrequency VclkFrequency DclkFrequency LclkFrequency"),
        ("GfxclkFrequencyAcc", u64 * 8),
        ("CclkFrequencyAcc", u64 * 96),
        *each(u32, "MaxCclkFrequency MinCclkFrequency MaxGfxclkFrequency MinGfxclkFrequency"),
        *each(u32 * 4, """
            FclkFrequencyTable UclkFrequencyTable SocclkFrequencyTable VclkFrequencyTable
            DclkFrequencyTable LclkFrequencyTable
        """),
        *each(u32, "MaxLclkDpmRange MinLclkDpmRange XgmiWidth XgmiBitrate"),
        ("XgmiReadBandwidthAcc", u64 * 8),
        ("XgmiWriteBandwidthAcc", u64 * 8),
        ("SocketC0Residency", u32),
        ("SocketGfxBusy", u32),
        ("DramBandwidthUtilization", u32),
        ("SocketC0ResidencyAcc", u64),
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
        ("PublicSerialNumber_AID", u64 * 4),
        ("PublicSerialNumber_XCD", u64 * 8),
        ("PublicSerialNumber_CCD", u64 * 12),
        ("XgmiReadDataSizeAcc", u64 * 8),
        ("XgmiWriteDataSizeAcc", u64 * 8),
        ("VcnBusy", u32 * 4),
        ("JpegBusy", u32 * 32),
    ]


class MetricsTableV2_t(Packed4):
    _fields_ = [
        ("AccumulationCounter", u64),
        ("MaxSocketTemperature", u32),
        ("MaxVrTemperature", u32),
        ("MaxHbmTemperature", u32),
        ("MaxSocketTemperatureAcc", u64),
        ("MaxVrTemperatureAcc", u64),
        ("MaxHbmTemperatureAcc", u64),
        ("SocketPowerLimit", u32),
        ("MaxSocketPowerLimit", u32),
        ("SocketPower", u32),
        *each(u64, "Timestamp SocketEnergyAcc CcdEnergyAcc XcdEnergyAcc AidEnergyAcc HbmEnergyAcc"),
        ("GfxclkFrequencyLimit", u32),
        ("FclkFrequency", u32),
        ("UclkFrequency", u32),
        *each(u32 * 4, "SocclkFrequency VclkFrequency DclkFrequency LclkFrequency"),
        ("GfxclkFrequencyAcc", u64 * 8),
        ("MaxGfxclkFrequency", u32),
        ("MinGfxclkFrequency", u32),
        *each(u32 * 4, """
            FclkFrequencyTable UclkFrequencyTable SocclkFrequencyTable VclkFrequencyTable
            DclkFrequencyTable LclkFrequencyTable
        """),
        *each(u32, "MaxLclkDpmRange MinLclkDpmRange XgmiWidth XgmiBitrate"),
        ("XgmiReadBandwidthAcc", u64 * 8),
        ("XgmiWriteBandwidthAcc", u64 * 8),
        ("SocketGfxBusy", u32),
        ("DramBandwidthUtilization", u32),
        ("SocketC0ResidencyAcc", u64),
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
        ("PublicSerialNumber_AID", u64 * 4),
        ("PublicSerialNumber_XCD", u64 * 8),
        ("XgmiReadDataSizeAcc", u64 * 8),
        ("XgmiWriteDataSizeAcc", u64 * 8),
        ("PcieBandwidth", u32 * 4),
        *each(u32, """
            PCIeL0ToRecoveryCountAcc PCIenReplayAAcc PCIenReplayARolloverCountAcc PCIeNAKSentCountAcc
            PCIeNAKReceivedCountAcc
        """),
        ("VcnBusy", u32 * 4),
        ("JpegBusy", u32 * 32),
        ("PCIeLinkSpeed", u32),
        ("PCIeLinkWidth", u32),
        ("GfxBusy", u32 * 8),
        ("GfxBusyAcc", u64 * 8),
        ("PCIeOtherEndRecoveryAcc", u32),
        ("GfxclkBelowHostLimitAcc", u64 * 8),
    ]


class VfMetricsTable_t(Packed4):
    _fields_ = [
        ("AccumulationCounter", u32),
        ("InstGfxclk_TargFreq", u32),
        ("AccGfxclk_TargFreq", u64),
        ("AccGfxRsmuDpm_Busy", u64),
        ("AccGfxclkBelowHostLimit", u64),
    ]


class StaticMetricsTable_t(Packed4):
    _fields_ = [
        ("InputTelemetryVoltageInmV", u32),
        ("pldmVersion", u32 * 2),
    ]
