"""PSP (MP0 13.0): its bootloader takes the secure OS, the secure OS takes all other firmware through a ring.

Source: Linux v7.3 psp_v13_0.c (bootloader_load_component, bootloader_load_sos, ring_create, ring_stop, is_sos_alive),
amdgpu_psp.c (psp_hw_start, psp_cmd_submit_buf, psp_ring_cmd_submit, psp_tmr_load, psp_load_non_psp_fw, psp_rl_load,
psp_ta_load, psp_ras_initialize, psp_xgmi_initialize, psp_hw_fini), psp_gfx_if.h; amd-bringup.md section 6.

The mailbox words, C2PMSG_n:
    33  boot firmware ready (bit 31)          58  version of the secure OS
    35  bootloader: ready (bit 31), command   64  secure OS: ready or answered (bit 31), command, status
    36  address of a component, in MiB        67  write pointer of the ring, in dwords
    81  sign of life of the secure OS         69, 70, 71  ring: address low, high, size in bytes

Everything lies in VRAM at MC addresses: the PSP needs no page tables and no bus master."""

from __future__ import annotations

from ctypes import sizeof
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from base.errors import GpumendError, WaitTimeout
from pcibus.transport import ALL_ONES
from registers.amd.mp_13_0_6 import Mp0
from registers.amd.nbio_7_9_0 import Nbio
from registers.amd.structs_psp import (
    PSP_ERR_UNKNOWN_COMMAND,
    psp_gfx_cmd_id,
    psp_gfx_cmd_resp,
    psp_gfx_crtl_cmd_id,
    psp_gfx_rb_frame,
    psp_gfx_resp,
    tee_error_code,
)
from registers.amd.structs_ta import ta_ras_init_flags
from registers.amd_smn import MP0_C2PMSG_126, MP0_C2PMSG_127, MP1_PUB_SCRATCH0, RasCapability_t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amdriver.firmware_set import Component, FirmwareSet, Image
    from amdriver.gmc import Gmc, VramBlock
    from amdriver.gpu import Gpu
    from registers.core import Bound

STAGING_BYTES: Final = 1 << 20  # what one component may take; its address is told in MiB
RING_BYTES: Final = 0x1000
SHARED_BYTES: Final = 0x4000  # of one trusted application
FIRMWARE_ALIGNMENT: Final = 4096

IFWI_TIMEOUT_S: Final = 2.0  # amdgpu_discovery.c: 2000 polls of 1 ms
BOOTLOADER_TIMEOUT_S: Final = 300.0  # 3000 waits of 100 ms on these chips
HANDSHAKE_S: Final = 0.02  # "might be a handshake issue with hardware": after sOS start and after each ring command
SOS_TIMEOUT_S: Final = 0.1
RING_TIMEOUT_S: Final = 0.1
MEMSIZE_S: Final = 0.1
COMMAND_TIMEOUT_S: Final = 2.0  # 20000 polls of 60..100 us

READY: Final = 0x80000000
_ERROR_BITS: Final = 0xFF
_STATUS_BITS: Final = 0xFFFF
_FRAME: Final = sizeof(psp_gfx_rb_frame)
_FRAME_DWORDS: Final = _FRAME // 4
_RING_DWORDS: Final = RING_BYTES // 4

# One page: the command, and the fence right behind it.
_FENCE_AT: Final = sizeof(psp_gfx_cmd_resp)
_RESPONSE_AT: Final = psp_gfx_cmd_resp.resp.offset
_RESPONSE_BYTES: Final = sizeof(psp_gfx_resp)

_CMD: Final = psp_gfx_cmd_id
_CONTROL: Final = psp_gfx_crtl_cmd_id
_KM_RING: Final = _CONTROL.GFX_CTRL_CMD_ID_INIT_GPCOM_RING  # PSP_RING_TYPE__KM << 16
_NAMES: Final = {int(member): member.name.removeprefix("GFX_CMD_ID_") for member in psp_gfx_cmd_id}
_STATUS_WORDS: Final = {
    int(tee_error_code.TEE_ERROR_NOT_SUPPORTED): "not supported",
    int(tee_error_code.TEE_ERROR_CANCEL): "cancelled",
    PSP_ERR_UNKNOWN_COMMAND: "unknown command",
}

MODE1_NEXT: Final = "gpumend reset --method mode1 (in a hive: of all members), then start again"
BUS_RESET_NEXT: Final = "gpumend reset --method bus-reset, then start again; gpumend repro bundle keeps the evidence"


class BootloaderRefused(GpumendError):
    """The bootloader answered a component with an error code: a wrong or rejected signature, not a timeout."""

    def __init__(self, component: str, code: int, seen: str, where: str) -> None:
        super().__init__(
            f"bootloader component {component}",
            expected=f"C2PMSG_35={READY:#010x}",
            seen=seen,
            where=where,
            next_step=f"is it the firmware of this chip? gpumend firmware verify; {MODE1_NEXT}",
            verb="refused by the PSP",
        )
        self.component = component
        self.code = code


class CommandRefused(GpumendError):
    """The secure OS answered a command with a status other than 0: a refusal, not a timeout."""

    def __init__(self, what: str, status: int, where: str) -> None:
        word = _STATUS_WORDS.get(status)
        super().__init__(
            f"PSP command {what}",
            expected="status 0",
            seen=f"status {status:#010x}" + (f" ({word})" if word else ""),
            where=where,
            next_step=f"is it the firmware of this chip? gpumend firmware verify; {MODE1_NEXT}",
            verb="refused by the PSP",
        )
        self.status = status


@dataclass(frozen=True, slots=True)
class Response:
    """What the secure OS wrote behind a command."""

    status: int
    session_id: int
    fw_addr: int
    tmr_size: int


class Application:
    """A trusted application that was loaded: its session, and the memory it shares with us."""

    def __init__(self, psp: Psp, name: str, shared: VramBlock) -> None:
        self._psp = psp
        self.name = name
        self.shared = shared
        self.session_id: int | None = None

    def load(self, image: VramBlock, offset: int, size: int) -> None:
        command = psp_gfx_cmd_resp(cmd_id=_CMD.GFX_CMD_ID_LOAD_TA)
        load = command.cmd.cmd_load_ta
        load.app_phy_addr_lo, load.app_phy_addr_hi = _halves(image.mc_addr + offset)
        load.app_len = size
        load.cmd_buf_phy_addr_lo, load.cmd_buf_phy_addr_hi = _halves(self.shared.mc_addr)
        load.cmd_buf_len = self.shared.size
        self.session_id = self._psp.submit(command, f"LOAD_TA ({self.name})").session_id

    def invoke(self, command_id: int) -> None:
        """Run a command whose input lies in the shared memory; what it answers lies there afterwards."""
        assert self.session_id is not None, "load comes first"
        command = psp_gfx_cmd_resp(cmd_id=_CMD.GFX_CMD_ID_INVOKE_CMD)
        command.cmd.cmd_invoke_cmd.session_id = self.session_id
        command.cmd.cmd_invoke_cmd.ta_cmd_id = command_id
        self._psp.submit(command, f"INVOKE_CMD ({self.name} {command_id:#x})")

    def unload(self) -> None:
        if self.session_id is None:
            return
        command = psp_gfx_cmd_resp(cmd_id=_CMD.GFX_CMD_ID_UNLOAD_TA)
        command.cmd.cmd_unload_ta.session_id = self.session_id
        self.session_id = None
        self._psp.submit(command, f"UNLOAD_TA ({self.name})")


class Psp:
    """The steps of a boot: `start_bootloader`, `start_sos`, `create_ring`, `setup_tmr`, `load_firmware`,
    `load_applications`; which of them are needed, the device decides. `hw_init` does all that a cold start needs."""

    def __init__(self, gpu: Gpu, gmc: Gmc, firmware: FirmwareSet) -> None:
        self.gpu = gpu
        self.gmc = gmc
        self.firmware = firmware
        self.regs = gpu.block(Mp0, "MP0")
        self.sos_version = 0
        self.ring_created = False
        self.memory_partitions = 1  # NPS; the RAS application wants to know
        self.ras: Application | None = None
        self.xgmi: Application | None = None
        self._tmr = False
        self._pmfw: int | None = None
        self._fence = 0
        self._wptr = 0
        self._blocks: list[VramBlock] = []
        self._staging: VramBlock | None = None
        self._ring: VramBlock | None = None
        self._command: VramBlock | None = None

    # ---- memory

    def sw_init(self) -> None:
        """Memory for components and firmware (1 MiB), ring, command and fence."""
        self._staging = self._allocate(STAGING_BYTES, STAGING_BYTES, "PSP firmware")
        self._ring = self._allocate(RING_BYTES, FIRMWARE_ALIGNMENT, "PSP ring")
        self._command = self._allocate(FIRMWARE_ALIGNMENT, FIRMWARE_ALIGNMENT, "PSP command")

    def sw_fini(self) -> None:
        """Give the memory back; twice is as good as once."""
        for block in self._blocks:
            block.free()
        self._blocks.clear()
        self._staging = self._ring = self._command = None

    def _allocate(self, size: int, alignment: int, owner: str) -> VramBlock:
        block = self.gmc.alloc_vram(size, alignment=alignment, owner=owner)
        self._blocks.append(block)
        return block

    # ---- verbs

    def hw_init(self) -> None:
        """All that a start needs; what runs already (the secure OS) is kept."""
        if not self.is_sos_alive():
            self.start_bootloader()
            self.start_sos()
        self.create_ring()
        self.setup_tmr()
        self.load_firmware()
        self.load_applications()

    def hw_fini(self) -> None:
        """Applications, trusted memory and ring away, as the kernel's driver does it. The secure OS stays alive."""
        for application in (self.ras, self.xgmi):
            if application is not None:
                application.unload()
        if self._tmr:
            self._tmr = False
            self.submit(psp_gfx_cmd_resp(cmd_id=_CMD.GFX_CMD_ID_DESTROY_TMR), "DESTROY_TMR")
        if self.ring_created:
            self.destroy_ring()

    # ---- state

    def is_sos_alive(self) -> bool:
        """Whether the secure OS runs; DeviceLost when the register reads all ones because the device is gone."""
        value = self.regs.MP0_SMN_C2PMSG_81.read().value
        if value == ALL_ONES:
            self.gpu.require_present("looking for the secure OS")
        return value != 0

    def pmfw_version(self) -> int:
        """Version of the running power firmware, as it stands before the SMU's mailbox may be used."""
        if self._pmfw is None:
            self._pmfw = self.gpu.access.smn_read(MP1_PUB_SCRATCH0)
        return self._pmfw

    def boot_status(self) -> str:
        """What the boot firmware says about itself, for the text of an error."""
        steady = self.regs.MP0_SMN_C2PMSG_92.read().value
        errors = self.gpu.access.smn_read(MP0_C2PMSG_126)
        return f"C2PMSG_92={steady:#010x}, C2PMSG_126={errors:#010x}"

    # ---- bootloader

    def start_bootloader(self, done: int = 0, on_component: Callable[[int], object] | None = None) -> None:
        """Hand over everything but the secure OS itself, each component when the one before was accepted.

        `done`: so many were handed over before, by a start that was interrupted; the bootloader takes none twice.
        `on_component` is told before each how many there will be then."""
        parts = self._components()[:-1]
        self._wait_bootloader(parts[min(done, len(parts) - 1)].name)
        for number, part in enumerate(parts, start=1):
            if number <= done:
                continue
            if on_component is not None:
                on_component(number)
            self._hand_over(part)
            self._wait_bootloader(part.name)

    def start_sos(self) -> None:
        """After `start_bootloader`: start the secure OS, and wait for its sign of life."""
        part = self._components()[-1]
        self._hand_over(part)
        self.gpu.clock.sleep(HANDSHAKE_S)
        register = self.regs.MP0_SMN_C2PMSG_81
        try:
            self.gpu.wait(
                register.read,
                lambda value: value.value not in (0, ALL_ONES),
                doing="starting the secure OS",
                expected="C2PMSG_81 not 0",
                timeout_s=SOS_TIMEOUT_S,
                where=register.where,
                next_step=MODE1_NEXT,
                show=register.show,
            )
        except WaitTimeout as late:
            code = self.regs.MP0_SMN_C2PMSG_35.read().value
            if code & _ERROR_BITS and code != ALL_ONES:
                raise self._refused(part.name, code) from late
            late.seen += f"; C2PMSG_35={code:#010x}, {self.boot_status()}"
            raise
        self.read_sos_version()

    def read_sos_version(self) -> int:
        """Version of the secure OS that runs."""
        self.sos_version = self.regs.MP0_SMN_C2PMSG_58.read().value
        return self.sos_version

    def _components(self) -> list[Component]:
        return self.firmware.bootloader(self.pmfw_version() if self.firmware.needs_pmfw_version() else None)

    def _hand_over(self, part: Component) -> None:
        assert self._staging is not None, "sw_init comes first"
        self._staging.write(0, part.data)
        self.regs.MP0_SMN_C2PMSG_36.write(self._staging.mc_addr >> 20)
        self.regs.MP0_SMN_C2PMSG_35.write(part.step.command)

    def _wait_bootloader(self, component: str) -> None:
        register = self.regs.MP0_SMN_C2PMSG_35

        def answered(value: int) -> bool:
            return value == READY or bool(value & _ERROR_BITS and value != ALL_ONES)

        try:
            value = self.gpu.wait(
                lambda: register.read().value,
                answered,
                doing=f"waiting for the bootloader ({component})",
                expected=f"C2PMSG_35={READY:#010x}",
                timeout_s=BOOTLOADER_TIMEOUT_S,
                where=register.where,
                next_step=BUS_RESET_NEXT,
                show=lambda value: f"C2PMSG_35={value:#010x}",
                longest_pause_s=0.1,
            )
        except WaitTimeout as late:
            late.seen += f"; {self.boot_status()}"
            raise
        if value != READY:
            raise self._refused(component, value)

    def _refused(self, component: str, value: int) -> BootloaderRefused:
        seen = f"C2PMSG_35={value:#010x} (error {value & _ERROR_BITS:#04x}); {self.boot_status()}"
        return BootloaderRefused(component, value & _ERROR_BITS, seen, self.regs.MP0_SMN_C2PMSG_35.where)

    # ---- ring

    def create_ring(self) -> None:
        """A ring for our commands, in a secure OS that has none: an older one must have been destroyed."""
        assert self._ring is not None, "sw_init comes first"
        regs = self.regs
        self._wait_ring("before creating the ring")
        regs.MP0_SMN_C2PMSG_69.write(self._ring.mc_addr & 0xFFFFFFFF)
        regs.MP0_SMN_C2PMSG_70.write(self._ring.mc_addr >> 32)
        regs.MP0_SMN_C2PMSG_71.write(RING_BYTES)
        regs.MP0_SMN_C2PMSG_64.write(int(_KM_RING))
        self.gpu.clock.sleep(HANDSHAKE_S)
        self._wait_ring("creating the ring")
        self._wptr = regs.MP0_SMN_C2PMSG_67.read().value % _RING_DWORDS & -_FRAME_DWORDS
        self.ring_created = True

    def destroy_ring(self) -> None:
        """Take the ring away, ours or that of an earlier driver; harmless where there is none."""
        self.ring_created = False
        self.regs.MP0_SMN_C2PMSG_64.write(int(_CONTROL.GFX_CTRL_CMD_ID_DESTROY_RINGS))
        self.gpu.clock.sleep(HANDSHAKE_S)
        self._wait_ring("destroying the ring")

    def _wait_ring(self, doing: str) -> None:
        register = self.regs.MP0_SMN_C2PMSG_64
        value = self.gpu.wait(
            lambda: register.read().value,
            lambda value: bool(value & READY) and value != ALL_ONES,
            doing=f"PSP: {doing}",
            expected="C2PMSG_64 bit 31",
            timeout_s=RING_TIMEOUT_S,
            where=register.where,
            next_step=MODE1_NEXT,
            show=lambda value: f"C2PMSG_64={value:#010x}",
        )
        if value & _STATUS_BITS:
            raise CommandRefused(doing, value & _STATUS_BITS, register.where)

    def submit(self, command: psp_gfx_cmd_resp, what: str) -> Response:
        """Run one command and give its answer. CommandRefused when the status is not 0, WaitTimeout when none comes."""
        assert self._ring is not None and self._command is not None, "sw_init comes first"
        self._fence = self._fence % 0xFFFFFFFF + 1
        frame = psp_gfx_rb_frame(fence_value=self._fence)
        frame.cmd_buf_addr_lo, frame.cmd_buf_addr_hi = _halves(self._command.mc_addr)
        frame.fence_addr_lo, frame.fence_addr_hi = _halves(self._command.mc_addr + _FENCE_AT)
        self._ring.write(self._wptr * 4, bytes(frame), flush=False)
        self._command.write(0, bytes(command) + bytes(4))  # flushes both
        self._wptr = (self._wptr + _FRAME_DWORDS) % _RING_DWORDS
        self.regs.MP0_SMN_C2PMSG_67.write(self._wptr)
        response = self._answer(what)
        if response.status:
            raise CommandRefused(what, response.status, f"PSP ring of {self.gpu.name}")
        return response

    def _answer(self, what: str) -> Response:
        """Wait for the fence, then read the response: the PSP writes it first."""
        command, fence = self._command, self._fence
        assert command is not None
        self.gpu.wait(
            lambda: int.from_bytes(command.read(_FENCE_AT, 4), "little"),
            lambda seen: seen == fence,
            doing=f"PSP command {what}",
            expected=f"fence {fence:#x}",
            timeout_s=COMMAND_TIMEOUT_S,
            where=f"PSP ring of {self.gpu.name}, write pointer C2PMSG_67={self._wptr:#x}",
            next_step=MODE1_NEXT,
            show=lambda seen: f"fence {seen:#x}",
        )
        told = psp_gfx_resp.from_buffer_copy(command.read(_RESPONSE_AT, _RESPONSE_BYTES))
        return Response(told.status, told.session_id, told.fw_addr_hi << 32 | told.fw_addr_lo, told.tmr_size)

    # ---- what goes through the ring

    def setup_tmr(self) -> None:
        """Trusted memory: the boot firmware of these chips made it, so the command names none."""
        command = psp_gfx_cmd_resp(cmd_id=_CMD.GFX_CMD_ID_SETUP_TMR)
        command.cmd.cmd_setup_tmr.bitfield.virt_phy_addr = 1
        self.submit(command, "SETUP_TMR")
        self._tmr = True

    def load_firmware(self) -> None:
        """Every firmware of the IP blocks, in order. All are copied in one go."""
        pmfw = self.pmfw_version() if self.firmware.needs_pmfw_version() else None
        images = self.firmware.images(self.sos_version or self.read_sos_version(), pmfw)
        block, places = self._place(images)
        for image in images:
            command = psp_gfx_cmd_resp(cmd_id=_CMD.GFX_CMD_ID_LOAD_IP_FW)
            load = command.cmd.cmd_load_ip_fw
            load.fw_phy_addr_lo, load.fw_phy_addr_hi = _halves(block.mc_addr + places[image.data])
            load.fw_size = len(image.data)
            load.fw_type = image.gfx_type
            self.submit(command, f"LOAD_IP_FW ({image.name}, type {image.gfx_type})")

    def _place(self, images: Iterable[Image]) -> tuple[VramBlock, dict[bytes, int]]:
        """Copy images into the staging memory, each once; where each begins."""
        assert self._staging is not None, "sw_init comes first"
        places: dict[bytes, int] = {}
        content = bytearray()
        for image in images:
            if image.data not in places:
                content += bytes(-len(content) % FIRMWARE_ALIGNMENT)
                places[image.data] = len(content)
                content += image.data
        block = self._staging
        if len(content) > block.size:
            block = self._staging = self._allocate(
                -(-len(content) // STAGING_BYTES) * STAGING_BYTES, STAGING_BYTES, "PSP firmware"
            )
        block.write(0, bytes(content))
        return block, places

    def set_partitions(self, count: int) -> None:
        """Cut the XCCs into so many partitions; 1 (SPX): all work as one."""
        command = psp_gfx_cmd_resp(cmd_id=_CMD.GFX_CMD_ID_SRIOV_SPATIAL_PART)
        command.cmd.cmd_spatial_part.mode = count
        self.submit(command, f"SRIOV_SPATIAL_PART ({count})")

    def load_applications(self) -> None:
        """RAS always, XGMI in a hive."""
        names = ["RAS"] + (["XGMI"] if self.gmc.place.nodes > 1 else [])
        images = [self.firmware.application(name) for name in names]
        block, places = self._place(images)
        for name, image in zip(names, images, strict=True):
            shared = self._allocate(SHARED_BYTES, FIRMWARE_ALIGNMENT, f"{name} TA")
            application = Application(self, name, shared)
            shared.write(0, self._ras_input() if name == "RAS" else bytes(SHARED_BYTES))
            application.load(block, places[image.data], len(image.data))
            if name == "RAS":
                self.ras = application
            else:
                self.xgmi = application

    def _ras_input(self) -> bytes:
        """What the RAS application is told about the GPU (psp_ras_initialize)."""
        gpu = self.gpu
        capability = RasCapability_t(gpu.access.read(MP0_C2PMSG_127 // 4))
        new_memory = gpu.ip.version_of("GC") == (9, 5, 0) or gpu.part.device & 0xF == 5
        flags = ta_ras_init_flags(
            poison_mode_en=capability.POISON,
            dgpu_mode=1,
            xcc_mask=gpu.ip.xcc_mask,
            channel_dis_num=2 * gpu.ip.mall.half_use_mask.bit_count() if gpu.ip.mall else 0,
            nps_mode=self.memory_partitions,
            active_umc_mask=gpu.ip.mask("UMC") & 0xFFFFFFFF,
            vram_type=_HBM3E if new_memory else _HBM,
        )
        return (bytes(_RAS_INPUT_AT) + bytes(flags)).ljust(SHARED_BYTES, b"\0")


_HBM, _HBM3E = 6, 13  # AMDGPU_VRAM_TYPE_* (include/uapi/drm/amdgpu_drm.h), as gmc_v9_0_init_vram_info chooses
_RAS_INPUT_AT: Final = 16  # behind cmd_id, resp_id, ras_status and if_version (ta_ras_if.h, ta_ras_shared_memory)


def command_name(number: int) -> str:
    """`LOAD_IP_FW` for 6."""
    return _NAMES.get(number, f"{number:#x}")


def _halves(address: int) -> tuple[int, int]:
    return address & 0xFFFFFFFF, address >> 32


def await_boot(gpu: Gpu, limit_s: float) -> None:
    """After a reset: boot firmware ready (C2PMSG_33 bit 31), bootloader ready (C2PMSG_35), memory has its size.

    As the kernel does it, with its pauses of up to 100 ms. WaitTimeout says what the boot firmware says of itself."""
    mp0 = gpu.block(Mp0, "MP0")
    start_s = gpu.clock.now()
    _await_word(gpu, mp0.MP0_SMN_C2PMSG_33, limit_s, lambda value: bool(value & READY), "bit 31")
    left_s = max(0.0, limit_s - (gpu.clock.now() - start_s))
    _await_word(gpu, mp0.MP0_SMN_C2PMSG_35, left_s, lambda value: value == READY, f"{READY:#010x}")
    _await_word(gpu, gpu.block(Nbio, "NBIF").RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE, MEMSIZE_S, bool, "a size in MiB")


def _await_word(gpu: Gpu, register: Bound[Any], limit_s: float, ready: Callable[[int], bool], expected: str) -> None:
    try:
        gpu.wait(
            lambda: int(register.read().value),
            lambda value: value != ALL_ONES and ready(value),
            doing="waiting for the boot firmware",
            expected=f"{register.name}: {expected}",
            timeout_s=limit_s,
            where=register.where,
            next_step=BUS_RESET_NEXT,
            show=lambda value: f"{value:#010x}",
            longest_pause_s=0.1,
        )
    except WaitTimeout as late:
        steady = gpu.block(Mp0, "MP0").MP0_SMN_C2PMSG_92.read().value
        errors = gpu.access.smn_read(MP0_C2PMSG_126)
        late.seen += f"; C2PMSG_92={steady:#010x}, C2PMSG_126={errors:#010x}"
        raise
