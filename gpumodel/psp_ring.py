"""The PSP's command ring (GPCOM): frames, the commands of the graphics driver, and what is answered or refused.

Source: Linux v7.3 amdgpu/psp_gfx_if.h (frame, command buffer, commands), amdgpu_psp.c (which of them it sends, and how it
takes a refusal), amdgpu_fw_attestation.c, amdgpu_ttm.c (280 MiB at the end of VRAM belong to firmware); hardware/
amd-bringup.md section 6, amd-firmware.md section 9; research/amdgpu-on-model.md items 14, 25 to 27, 70. Status codes
other than 0, 0x100 and 0xFFFF000A are those of the TEE Internal Core API, which these two belong to. Times in seconds."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ctypes import sizeof
from enum import IntEnum
from typing import TYPE_CHECKING

from gpumodel.chips import AIDS, VRAM_MC_BASE, XCCS
from gpumodel.gmc import PageFault
from gpumodel.psp_blobs import Blob, BlobError, Flaw, Kind, load
from gpumodel.psp_ta import Applications
from gpumodel.vcn import BadList
from registers.amd.mmhub_1_8_0 import Mmhub
from registers.amd.nbio_7_9_0 import Nbio
from registers.amd.osssys_4_4_2 import Osssys
from registers.amd.structs_psp import (
    PSP_ERR_UNKNOWN_COMMAND,
    psp_gfx_boot_config_cmd,
    psp_gfx_cmd_resp,
    psp_gfx_rb_frame,
)
from registers.amd.structs_psp import psp_gfx_cmd_id as Command
from registers.amd.structs_psp import psp_gfx_fw_type as Firmware

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

FRAME_BYTES = sizeof(psp_gfx_rb_frame)
FRAME_DWORDS = FRAME_BYTES // 4
COMMAND_BYTES = sizeof(psp_gfx_cmd_resp)
RESPONSE_AT = psp_gfx_cmd_resp.resp.offset
PAGE = 0x1000
RESERVED_BYTES = 280 << 20  # at the end of VRAM, the discovery table in it: amdgpu_ttm.c keeps it free on these parts
TMR_BYTES_BEFORE_CODE = 0x100000  # guess: the attestation records lie first
ATTESTATION_COOKIE = 0x143B6A37
ATTESTATION_VERSION = 1

COMMAND_S = 0.2e-3  # guess
LOAD_S = 1e-3  # guess: to copy, decrypt and verify a blob


class Status(IntEnum):
    OK = 0
    UNKNOWN_COMMAND = PSP_ERR_UNKNOWN_COMMAND
    GENERIC = 0xFFFF0000
    BAD_FORMAT = 0xFFFF0005
    BAD_PARAMETERS = 0xFFFF0006
    BAD_STATE = 0xFFFF0007
    ITEM_NOT_FOUND = 0xFFFF0008
    NOT_SUPPORTED = 0xFFFF000A
    SECURITY = 0xFFFF000F


class Refusal(Exception):
    """A command that is answered with a status other than 0."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


# Firmware types of LOAD_IP_FW, the kind of blob behind each, and the name in `psp-refuses`.
_SDMA = tuple(Firmware[f"GFX_FW_TYPE_SDMA{number}"] for number in range(8))
_BLOBS: dict[int, tuple[Kind, str]] = {
    **{int(kind): (Kind.SDMA, "sdma") for kind in _SDMA},
    Firmware.GFX_FW_TYPE_CP_MEC: (Kind.MEC, "mec"),
    Firmware.GFX_FW_TYPE_CP_MEC_ME1: (Kind.MEC_JT, "mec-jt"),
    Firmware.GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_CNTL: (Kind.RLC_CNTL, "rlc-cntl"),
    Firmware.GFX_FW_TYPE_RLC_RESTORE_LIST_GPM_MEM: (Kind.RLC_GPM, "rlc-gpm"),
    Firmware.GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_MEM: (Kind.RLC_SRM, "rlc-srm"),
    Firmware.GFX_FW_TYPE_RLC_G: (Kind.RLC_G, "rlc-g"),
    Firmware.GFX_FW_TYPE_REG_LIST: (Kind.REG_LIST, "reg-list"),
    Firmware.GFX_FW_TYPE_P2S_TABLE: (Kind.P2S, "p2s"),
    Firmware.GFX_FW_TYPE_VCN: (Kind.VCN, "vcn"),
}
# Register images of the video engines, made by the driver: no wrapper (item 52).
_UNSIGNED = frozenset({Firmware.GFX_FW_TYPE_VCN0_RAM, Firmware.GFX_FW_TYPE_VCN1_RAM, Firmware.GFX_FW_TYPE_JPEG_RAM})
# What must be there before: a jump table belongs to its code, the RLC starts with its lists. # guess
_NEEDS: dict[int, frozenset[int]] = {
    Firmware.GFX_FW_TYPE_CP_MEC_ME1: frozenset({Firmware.GFX_FW_TYPE_CP_MEC}),
    Firmware.GFX_FW_TYPE_RLC_G: frozenset(
        {
            Firmware.GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_CNTL,
            Firmware.GFX_FW_TYPE_RLC_RESTORE_LIST_GPM_MEM,
            Firmware.GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_MEM,
        }
    ),
}
# What a driver leaves loaded: all that the kernel sends except the register images.
FIRMWARE_KINDS = frozenset(int(kind) for kind in _BLOBS) - {int(kind) for kind in _SDMA[4:]}

_FLAWS = {Flaw.FORMAT: Status.BAD_FORMAT, Flaw.KIND: Status.BAD_FORMAT, Flaw.SIGNATURE: Status.SECURITY}
_PARTITION_MODES = {1: 0, 2: 1, 4: 3, 8: 4}  # number of partitions: SPX, DPX, QPX, CPX in PARTITION_COMPUTE_STATUS
_CONFIG_GECC = 1
_PTL_QUERY, _PTL_SET = 0xA0000000, 0xA0000001
_SWITCH_REQUESTED = 8  # PARTITION_MEM_STATUS bits 3:0
_SLOW = frozenset({Command.GFX_CMD_ID_LOAD_IP_FW, Command.GFX_CMD_ID_LOAD_TA, Command.GFX_CMD_ID_LOAD_ASD})
_NOT_ON_THESE_PARTS = frozenset(
    {
        Command.GFX_CMD_ID_SAVE_RESTORE,  # older parts
        Command.GFX_CMD_ID_SETUP_VMR,  # guests
        Command.GFX_CMD_ID_DESTROY_VMR,
        Command.GFX_CMD_ID_LOAD_TOC,  # RLC autoload
        Command.GFX_CMD_ID_AUTOLOAD_RLC,
    }
)


class Ring:
    """`size` 0: there is no ring. Frames are carried out one after the other."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.size = 0
        self.tmr = False  # whether SETUP_TMR was accepted
        self.applications = Applications(gpu)
        self._address = 0
        self._read_dword = 0
        self._write_dword = 0
        self._busy = False
        self._stuck = False
        self._generation = 0
        self._boot_config = _CONFIG_GECC
        self._ptl = (0, 0, 0)
        self._versions: dict[int, int] = {}
        self._handlers: dict[int, Callable[[psp_gfx_cmd_resp], None]] = {
            Command.GFX_CMD_ID_LOAD_TA: self._load_ta,
            Command.GFX_CMD_ID_UNLOAD_TA: self._unload_ta,
            Command.GFX_CMD_ID_INVOKE_CMD: self._invoke,
            Command.GFX_CMD_ID_LOAD_ASD: self._load_asd,
            Command.GFX_CMD_ID_SETUP_TMR: self._setup_tmr,
            Command.GFX_CMD_ID_DESTROY_TMR: self._destroy_tmr,
            Command.GFX_CMD_ID_LOAD_IP_FW: self._load_ip_fw,
            Command.GFX_CMD_ID_PROG_REG: self._prog_reg,
            Command.GFX_CMD_ID_GET_FW_ATTESTATION: self._attestation,
            Command.GFX_CMD_ID_BOOT_CFG: self._boot_cfg,
            Command.GFX_CMD_ID_SRIOV_SPATIAL_PART: self._spatial_part,
            Command.GFX_CMD_ID_CONFIG_SQ_PERFMON: self._sq_perfmon,
            Command.GFX_CMD_ID_FB_NPS_MODE: self._nps_mode,
            Command.GFX_CMD_ID_PERF_HW: self._perf_hw,
            Command.GFX_CMD_ID_FB_FW_RESERV_ADDR: self._reserved_range,
            Command.GFX_CMD_ID_FB_FW_RESERV_EXT_ADDR: self._reserved_extension,
            Command.GFX_CMD_ID_SET_MMHUB_ECO_SEC_LEVEL: self._nothing_to_do,
        }

    def power_on(self) -> None:
        self.close()
        self.tmr = False
        self._boot_config = _CONFIG_GECC
        self._ptl = (0, 0, 0)
        self._versions.clear()

    def open(self, address: int, size: int) -> None:
        self._address, self.size = address, size
        self._read_dword = self._write_dword = 0
        self._stuck = False

    def close(self) -> None:
        """Commands under way are dropped, sessions end. # guess: sessions might outlive the ring"""
        self.size = 0
        self._busy = False
        self._generation += 1
        self.applications.close()

    def pointer(self, dword: int) -> None:
        """The driver wrote frames up to here."""
        if not self.size:
            self._wrong(f"write pointer {dword:#x} without a ring")
        elif dword % FRAME_DWORDS or dword * 4 >= self.size:
            self._stuck = True
            self._wrong(f"write pointer {dword:#x} is no frame of the ring: it is not read any more")
        elif not self._gpu.psp.ring_dead:
            self._write_dword = dword
            self._next()

    def _next(self) -> None:
        """Fetch the next frame and its command; the answer comes later."""
        if self._busy or self._stuck or self._read_dword == self._write_dword:
            return
        try:
            data = self._gpu.gmc.mc_read(self._address + 4 * self._read_dword, FRAME_BYTES)
            frame = psp_gfx_rb_frame.from_buffer_copy(data)
            place = frame.cmd_buf_addr_hi << 32 | frame.cmd_buf_addr_lo
            if frame.vmid or place % PAGE:
                self._stop(f"command buffer at {place:#x} of VMID {frame.vmid}: not at a page of VMID 0")
                return
            command = psp_gfx_cmd_resp.from_buffer_copy(self._gpu.gmc.mc_read(place, COMMAND_BYTES))
        except PageFault as fault:
            self._stop(f"frame {self._read_dword // FRAME_DWORDS} or its command cannot be read: {fault}")
            return
        self._busy = True
        generation = self._generation

        def when_due() -> None:
            if generation == self._generation and not self._gpu.lost:
                self._finish(frame, place, command)

        self._gpu.hive.events.after(LOAD_S if command.cmd_id in _SLOW else COMMAND_S, when_due)

    def _finish(self, frame: psp_gfx_rb_frame, place: int, command: psp_gfx_cmd_resp) -> None:
        """Carry the command out, write the response and then the fence."""
        self._busy = False
        self._execute(command)
        if self._gpu.lost:
            return
        fence = frame.fence_addr_hi << 32 | frame.fence_addr_lo
        try:
            self._gpu.gmc.mc_write(place + RESPONSE_AT, bytes(command.resp))
            self._gpu.gmc.mc_write(fence, struct.pack("<I", frame.fence_value))
        except PageFault as fault:
            self._stop(f"response at {place:#x} or fence at {fence:#x} cannot be written: {fault}")
            return
        self._read_dword = (self._read_dword + FRAME_DWORDS) % (self.size // 4)
        self._next()

    def _execute(self, command: psp_gfx_cmd_resp) -> None:
        response = command.resp
        response.status = Status.OK
        handler = self._handlers.get(command.cmd_id)
        try:
            if handler is None:
                self._refuse_command(command.cmd_id)
            else:
                handler(command)
        except Refusal as refusal:
            response.status = refusal.status
            self._wrong(f"command {command.cmd_id:#x}: {refusal}")
        except PageFault as fault:
            response.status = Status.BAD_PARAMETERS
            self._wrong(f"command {command.cmd_id:#x}: memory that it names cannot be used: {fault}")

    def _refuse_command(self, number: int) -> None:
        if number in _NOT_ON_THESE_PARTS:
            raise Refusal(Status.NOT_SUPPORTED, "not on these parts")
        self._gpu.registers.unknown[("psp-ring-command", number)] += 1
        raise Refusal(Status.UNKNOWN_COMMAND, "no such command")

    # Memory and firmware.

    def _setup_tmr(self, command: psp_gfx_cmd_resp) -> None:
        """Without a size: boot firmware has set it up already, as it has on these parts (boot_time_tmr of
        amdgpu_psp.c, which sends neither size nor address; tinygrad sends MI350X an address: ignored, a guess)."""
        self._gpu.stage("tmr")
        self._fault("tmr")
        asked = command.cmd.cmd_setup_tmr
        address = asked.buf_phy_addr_hi << 32 | asked.buf_phy_addr_lo
        if (asked.buf_size and not address) or address % PAGE or asked.buf_size % PAGE:
            raise Refusal(Status.BAD_PARAMETERS, f"TMR at {address:#x} with {asked.buf_size:#x} bytes")
        if asked.buf_size:
            self._gpu.gmc.mc_read(address, 4)
            self._gpu.gmc.mc_read(address + asked.buf_size - 4, 4)
        self.tmr = True

    def _destroy_tmr(self, command: psp_gfx_cmd_resp) -> None:
        if not self.tmr:
            raise Refusal(Status.BAD_STATE, "DESTROY_TMR without SETUP_TMR")
        self.tmr = False

    def _load_ip_fw(self, command: psp_gfx_cmd_resp) -> None:
        gpu = self._gpu
        gpu.stage("firmware")
        asked = command.cmd.cmd_load_ip_fw
        kind = asked.fw_type
        if not self.tmr:
            raise Refusal(Status.BAD_STATE, f"firmware type {kind} before SETUP_TMR")
        address = asked.fw_phy_addr_hi << 32 | asked.fw_phy_addr_lo
        version = self._check_ip_fw(kind, address, asked.fw_size)
        missing = _NEEDS.get(kind, frozenset()) - gpu.psp.loaded
        if missing:
            names = ", ".join(Firmware(other).name for other in sorted(missing))
            raise Refusal(Status.BAD_STATE, f"firmware type {kind} before {names}")
        gpu.psp.loaded.add(kind)
        gpu.gfx.firmware_loaded(kind)
        gpu.sdma.firmware_loaded(kind)
        self._versions[kind] = version
        place = self._tmr_address() + TMR_BYTES_BEFORE_CODE * (1 + kind)
        command.resp.fw_addr_lo, command.resp.fw_addr_hi = place & 0xFFFFFFFF, place >> 32

    def _check_ip_fw(self, kind: int, address: int, size: int) -> int:
        """The version of what lies there."""
        if address % PAGE:
            raise Refusal(Status.BAD_PARAMETERS, f"firmware at {address:#x}: not at a page")
        if kind in _UNSIGNED:
            self._image(kind, self._gpu.gmc.mc_read(address, max(size, 1)))
            return 0
        if kind not in _BLOBS:
            raise Refusal(Status.NOT_SUPPORTED, f"firmware type {kind}")
        wanted, name = _BLOBS[kind]
        self._fault(name)
        return self._blob(address, size, frozenset({int(wanted)}), name).version

    def _image(self, kind: int, data: bytes) -> None:
        """Of the types for register images the kernel sends the first only, for whichever engine."""
        if kind != Firmware.GFX_FW_TYPE_VCN0_RAM:
            return
        try:
            self._gpu.vcn.apply(data)
        except BadList as error:
            raise Refusal(Status.BAD_PARAMETERS, f"firmware type {kind}: {error}") from error

    def _blob(self, address: int, size: int, wanted: frozenset[int], name: str) -> Blob:
        family = ".".join(map(str, self._gpu.chip.version("GC")))
        try:
            return load(self._gpu.gmc.mc_read, address, size, wanted, family)
        except BlobError as error:
            raise Refusal(_FLAWS[error.flaw], f"{name} at {address:#x}: {error}") from error

    def _fault(self, name: str) -> None:
        if name in self._gpu.psp.refuses:
            raise Refusal(Status.GENERIC, f"{name} is refused whatever it is")

    def _tmr_address(self) -> int:
        gpu = self._gpu
        return VRAM_MC_BASE + (gpu.index + 1) * gpu.chip.vram_size - RESERVED_BYTES

    def _attestation(self, command: psp_gfx_cmd_resp) -> None:
        """What was loaded, as records in VRAM."""
        gpu = self._gpu
        records = [struct.pack("<2I", ATTESTATION_VERSION, ATTESTATION_COOKIE)]
        for kind, version in sorted(self._versions.items()):
            records.append(struct.pack("<HHIHBBI", kind, 0, version, 0, 0, 1, 0))
        records.append(bytes(16))
        gpu.vram.write(gpu.chip.vram_size - RESERVED_BYTES, b"".join(records))
        info, place = command.resp.uresp.fwar_db_info, self._tmr_address()
        info.fwar_db_addr_lo, info.fwar_db_addr_hi = place & 0xFFFFFFFF, place >> 32

    def _reserved_range(self, command: psp_gfx_cmd_resp) -> None:
        info = command.resp.uresp.fw_reserve_info
        first = self._gpu.chip.vram_size - RESERVED_BYTES
        info.reserve_base_address_hi, info.reserve_base_address_lo = first >> 32, first & 0xFFFFFFFF
        info.reserve_size = RESERVED_BYTES

    def _reserved_extension(self, command: psp_gfx_cmd_resp) -> None:
        info = command.resp.uresp.fw_reserve_info
        info.reserve_base_address_hi = info.reserve_base_address_lo = info.reserve_size = 0

    # Trusted applications.

    def _load_ta(self, command: psp_gfx_cmd_resp) -> None:
        self._gpu.stage("ta")
        self._fault("ta")
        self._load_application(command, frozenset({int(Kind.XGMI_TA), int(Kind.RAS_TA)}))

    def _load_asd(self, command: psp_gfx_cmd_resp) -> None:
        """No file of these parts holds one: anything sound that is none of the known blobs will do."""
        self._load_application(command, frozenset())

    def _load_application(self, command: psp_gfx_cmd_resp, kinds: frozenset[int]) -> None:
        asked = command.cmd.cmd_load_ta
        address = asked.app_phy_addr_hi << 32 | asked.app_phy_addr_lo
        shared = asked.cmd_buf_phy_addr_hi << 32 | asked.cmd_buf_phy_addr_lo
        if address % PAGE or shared % PAGE or asked.cmd_buf_len % PAGE:
            text = f"application at {address:#x}, shared {shared:#x} + {asked.cmd_buf_len:#x}: not in whole pages"
            raise Refusal(Status.BAD_PARAMETERS, text)
        blob = self._blob(address, asked.app_len, kinds, "application")
        session = self.applications.load(blob.kind, shared, asked.cmd_buf_len)
        if session is None:
            raise Refusal(Status.BAD_STATE, "too many sessions")
        command.resp.session_id = session

    def _unload_ta(self, command: psp_gfx_cmd_resp) -> None:
        session = command.cmd.cmd_unload_ta.session_id
        if not self.applications.unload(session):
            raise Refusal(Status.ITEM_NOT_FOUND, f"there is no session {session:#x}")

    def _invoke(self, command: psp_gfx_cmd_resp) -> None:
        asked = command.cmd.cmd_invoke_cmd
        command.resp.session_id = asked.session_id
        parts = asked.buf
        buffer = (0, 0)
        if parts.num_desc == 1:
            only = parts.buf_desc[0]
            buffer = (only.buf_phy_addr_hi << 32 | only.buf_phy_addr_lo, only.buf_size)
        elif parts.num_desc:
            raise Refusal(Status.NOT_SUPPORTED, f"{parts.num_desc} pieces of shared memory")
        trouble = self.applications.invoke(asked.session_id, asked.ta_cmd_id, buffer)
        if trouble == "session":
            raise Refusal(Status.ITEM_NOT_FOUND, f"there is no session {asked.session_id:#x}")
        if trouble:
            raise Refusal(Status.BAD_PARAMETERS, trouble)

    # Partitions and settings.

    def _spatial_part(self, command: psp_gfx_cmd_resp) -> None:
        count = command.cmd.cmd_spatial_part.mode
        mode = _PARTITION_MODES.get(count)
        if mode is None:
            raise Refusal(Status.BAD_PARAMETERS, f"{count} partitions of {XCCS} XCCs")
        value = Nbio.BIF_BX_PF0_PARTITION_COMPUTE_STATUS.kind.of(PARTITION_MODE=mode)
        self._gpu.registers.set("NBIO[0].BIF_BX_PF0_PARTITION_COMPUTE_STATUS", int(value))
        self._gpu.gfx.divide(count)

    def _nps_mode(self, command: psp_gfx_cmd_resp) -> None:
        """Only noted: it changes at the next reset."""
        mode = command.cmd.cmd_memory_part.mode
        registers = self._gpu.registers
        able = registers.get("NBIO[0].BIF_BX_PF0_PARTITION_MEM_CAP")
        if not 1 <= mode <= 8 or not able >> (mode - 1) & 1:
            raise Refusal(Status.BAD_PARAMETERS, f"NPS{mode}, of which this board is not capable")
        name = "NBIO[0].BIF_BX_PF0_PARTITION_MEM_STATUS"
        status = Nbio.BIF_BX_PF0_PARTITION_MEM_STATUS.kind(registers.get(name))
        if status.fields()["NPS_MODE"] != 1 << (mode - 1):
            registers.set(name, int(status.replace(CHANGE_STATUE=_SWITCH_REQUESTED)))

    def _boot_cfg(self, command: psp_gfx_cmd_resp) -> None:
        asked = command.cmd.boot_cfg
        if asked.sub_cmd == psp_gfx_boot_config_cmd.BOOTCFG_CMD_SET:
            kept = self._boot_config & ~asked.boot_config_valid
            self._boot_config = kept | asked.boot_config & asked.boot_config_valid
        elif asked.sub_cmd == psp_gfx_boot_config_cmd.BOOTCFG_CMD_INVALIDATE:
            self._boot_config = _CONFIG_GECC
        elif asked.sub_cmd != psp_gfx_boot_config_cmd.BOOTCFG_CMD_GET:
            raise Refusal(Status.BAD_PARAMETERS, f"boot configuration command {asked.sub_cmd}")
        command.resp.uresp.boot_cfg.boot_cfg = self._boot_config

    def _sq_perfmon(self, command: psp_gfx_cmd_resp) -> None:
        if self._gpu.chip.version("MP0") != (13, 0, 6):
            raise Refusal(Status.NOT_SUPPORTED, "SQ performance counters are set on 13.0.6 only")

    def _perf_hw(self, command: psp_gfx_cmd_resp) -> None:
        asked = command.cmd.cmd_req_perf_hw
        if asked.req == _PTL_SET:
            self._ptl = (asked.ptl_state, asked.pref_format1, asked.pref_format2)
        elif asked.req != _PTL_QUERY:
            raise Refusal(Status.BAD_PARAMETERS, f"performance request {asked.req:#x}")
        answer = command.resp.uresp.perf_hw_info
        answer.resp = 0
        answer.ptl_state, answer.pref_format1, answer.pref_format2 = self._ptl

    def _prog_reg(self, command: psp_gfx_cmd_resp) -> None:
        """Registers that a driver may not reach itself when it is a guest: two interrupt rings, the TLBs of all hubs."""
        asked = command.cmd.cmd_setup_reg_prog
        chip, registers = self._gpu.chip, self._gpu.registers
        rings = {0: Osssys.IH_RB_CNTL.offset, 1: Osssys.IH_RB_CNTL_RING1.offset}
        if asked.reg_id in rings:
            registers.write(chip.bases("OSSSYS")[0][0] + rings[asked.reg_id], asked.reg_value, "psp")
        elif asked.reg_id == 25:
            for aid in range(AIDS):
                base = chip.bases("MMHUB")[aid][0]
                registers.write(base + Mmhub.MC_VM_MX_L1_TLB_CNTL.offset, asked.reg_value, "psp")
        else:
            raise Refusal(Status.BAD_PARAMETERS, f"register id {asked.reg_id}")

    def _nothing_to_do(self, command: psp_gfx_cmd_resp) -> None:
        """Accepted; nothing of it shows."""

    def _stop(self, text: str) -> None:
        """No fence, and no frame after this one. # guess: the ring hangs until it is made anew"""
        self._stuck = True
        self._busy = False
        self._wrong(f"{text}: the ring stands still")

    def _wrong(self, text: str) -> None:
        self._gpu.wrong("psp", text)
