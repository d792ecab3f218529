"""A host that speaks to the model's firmware as psp_v13_0.c, amdgpu_psp.c and smu_cmn.c do: registers, VRAM through
BAR0, waiting in virtual time. Nothing of our own driver is in it."""

from __future__ import annotations

import struct
from ctypes import sizeof
from pathlib import Path

from base.clock import VirtualClock
from firmware import containers
from firmware.model import FirmwareFile
from gpumodel import open_models
from gpumodel.chips import VRAM_MC_BASE
from gpumodel.device import ModelTransport
from gpumodel.memory import PAGE, ModelDmaBuffer
from registers.amd.structs_psp import psp_gfx_cmd_id as Command
from registers.amd.structs_psp import psp_gfx_cmd_resp, psp_gfx_rb_frame

PSP = 0x16040  # dword of C2PMSG_0 of MP0; of MP1 0x200 further
SMU = 0x16240
READY = 0x80000000
MIB = 1 << 20
# Where this host keeps things in VRAM.
RING, COMMAND, FENCE, TABLE, SHARED, BLOB = 0x100000, 0x102000, 0x103000, 0x104000, 0x108000, 0x200000
RING_BYTES = 0x1000
GART_FLAGS = 1 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6  # valid, system, snooped, readable, writeable
FILES = {
    "mi300x": {"sos": "psp_13_0_6_sos", "ta": "psp_13_0_6_ta", "mec": "gc_9_4_3_mec", "rlc": "gc_9_4_3_rlc"}
    | {"sdma": "sdma_4_4_2", "smu": "smu_13_0_6"},
    "mi350x": {"sos": "psp_13_0_12_sos", "ta": "psp_13_0_12_ta", "mec": "gc_9_5_0_mec", "rlc": "gc_9_5_0_rlc"}
    | {"sdma": "sdma_4_4_4"},
}
# The kernel's order, with the names in the files.
BOOT = (
    ("KDB", 0x80000),
    ("SYS_DRV", 0x10000),
    ("SOC_DRV", 0xB0000),
    ("INTF_DRV", 0xD0000),
    ("DBG_DRV", 0xC0000),
    ("RAS_DRV", 0xE0000),
    ("SOS", 0x20000),
)
# LOAD_IP_FW: file, entry, firmware type.
ENGINES = (
    *(("sdma", "SDMA", kind) for kind in (9, 10, 52, 53)),
    ("mec", "MEC", 4),
    ("mec", "MEC_JT", 5),
    ("rlc", "RLC_CNTL", 22),
    ("rlc", "RLC_GPM", 20),
    ("rlc", "RLC_SRM", 21),
    ("rlc", "RLC_G", 8),
    ("sos", "RL", 67),
)


class Files:
    """The firmware of one part, taken apart."""

    def __init__(self, folder: Path, part: str) -> None:
        self._folder = folder
        self._names = FILES[part]
        self._parsed: dict[str, FirmwareFile] = {}

    def payload(self, file: str, entry: str, set_name: str | None = None) -> bytes:
        if file not in self._parsed:
            name = f"{self._names[file]}.bin"
            self._parsed[file] = containers.parse((self._folder / name).read_bytes(), name)
        parsed = self._parsed[file]
        found = next(e for e in parsed.entries if e.name == entry and (set_name is None or e.set == set_name))
        return parsed.payload(found)


class Host:
    """One GPU and the clock that all GPUs of its hive share."""

    def __init__(self, transport: ModelTransport, clock: VirtualClock) -> None:
        self.transport = transport
        self.gpu = transport.gpu
        self.clock = clock
        self.fence = 0

    def read(self, dword: int) -> int:
        return self.transport.read32(5, dword * 4)

    def write(self, dword: int, value: int) -> None:
        self.transport.write32(5, dword * 4, value)

    def mc(self, offset: int) -> int:
        return VRAM_MC_BASE + self.gpu.index * self.gpu.chip.vram_size + offset

    def put(self, offset: int, data: bytes) -> None:
        self.transport.write_block(0, offset, data + bytes(-len(data) % 4))

    def get(self, offset: int, size: int) -> bytes:
        return self.transport.read_block(0, offset, size)

    def until(self, dword: int, mask: int, value: int, limit_s: float = 0.1) -> bool:
        """psp_wait_for."""
        end = self.clock.now() + limit_s
        while self.read(dword) & mask != value:
            if self.clock.now() > end:
                return False
            self.clock.sleep(1e-4)
        return True

    # Bootloader.

    def boot(self, command: int, data: bytes, offset: int = BLOB) -> int:
        """C2PMSG_35 after one component."""
        self.put(offset, data)
        self.write(PSP + 36, self.mc(offset) >> 20)
        self.write(PSP + 35, command)
        self.until(PSP + 35, READY, READY)
        return self.read(PSP + 35)

    def boot_all(self, files: Files) -> None:
        for name, command in BOOT:
            assert self.boot(command, files.payload("sos", name)) == READY, name
        self.clock.sleep(0.02)
        before = self.read(PSP + 81)
        end = self.clock.now() + 0.1
        while self.read(PSP + 81) == before:
            assert self.clock.now() < end
            self.clock.sleep(1e-4)

    # Ring.

    def control(self, command: int) -> int:
        """C2PMSG_64 after a control command."""
        self.write(PSP + 64, command)
        self.clock.sleep(0.02)
        self.until(PSP + 64, READY, READY)
        return self.read(PSP + 64)

    def open_ring(self, offset: int = RING, size: int = RING_BYTES) -> int:
        self.write(PSP + 69, self.mc(offset) & 0xFFFFFFFF)
        self.write(PSP + 70, self.mc(offset) >> 32)
        self.write(PSP + 71, size)
        return self.control(0x20000)

    def push(self, command: psp_gfx_cmd_resp, command_mc: int | None = None) -> None:
        """Write a command and its frame, move the pointer on."""
        self.fence += 1
        self.put(COMMAND, bytes(command))
        place = self.mc(COMMAND) if command_mc is None else command_mc
        frame = psp_gfx_rb_frame(
            cmd_buf_addr_lo=place & 0xFFFFFFFF,
            cmd_buf_addr_hi=place >> 32,
            fence_addr_lo=self.mc(FENCE) & 0xFFFFFFFF,
            fence_addr_hi=self.mc(FENCE) >> 32,
            fence_value=self.fence,
        )
        pointer = self.read(PSP + 67)
        self.put(RING + 4 * pointer, bytes(frame))
        self.write(PSP + 67, (pointer + 16) % (RING_BYTES // 4))

    def fenced(self, limit_s: float = 1.2) -> bool:
        """Whether the fence of the last command comes."""
        end = self.clock.now() + limit_s
        while struct.unpack("<I", self.get(FENCE, 4))[0] != self.fence:
            if self.clock.now() > end:
                return False
            self.clock.sleep(80e-6)
        return True

    def send(self, number: int, **fields: int) -> psp_gfx_cmd_resp:
        """A command with the fields of its structure, by name; the buffer as it came back."""
        command = psp_gfx_cmd_resp(cmd_id=number)
        member = getattr(command.cmd, _MEMBER[number]) if fields else None
        for name, value in fields.items():
            setattr(member, name, value)
        self.push(command)
        assert self.fenced(), f"no fence for command {number:#x}: {self.gpu.wrongs}"
        return psp_gfx_cmd_resp.from_buffer_copy(self.get(COMMAND, sizeof(psp_gfx_cmd_resp)))

    def load(self, kind: int, data: bytes, offset: int = BLOB) -> int:
        """LOAD_IP_FW: its status."""
        self.put(offset, data)
        place = self.mc(offset)
        fields = {"fw_phy_addr_lo": place & 0xFFFFFFFF, "fw_phy_addr_hi": place >> 32}
        status: int = self.send(6, **fields, fw_size=len(data), fw_type=kind).resp.status
        return status

    def load_ta(self, data: bytes, shared: int = SHARED, size: int = 0x4000) -> psp_gfx_cmd_resp:
        self.put(BLOB, data)
        place, memory = self.mc(BLOB), self.mc(shared)
        return self.send(
            1,
            app_phy_addr_lo=place & 0xFFFFFFFF,
            app_phy_addr_hi=place >> 32,
            app_len=len(data),
            cmd_buf_phy_addr_lo=memory & 0xFFFFFFFF,
            cmd_buf_phy_addr_hi=memory >> 32,
            cmd_buf_len=size,
        )

    def load_all(self, files: Files) -> None:
        assert self.send(5, tmr_flags=2).resp.status == 0
        for file, entry, kind in ENGINES:
            assert self.load(kind, files.payload(file, entry)) == 0, entry

    # SMU.

    def message(self, number: int, argument: int = 0, limit_s: float = 2.0) -> tuple[int, int]:
        """Response and argument afterwards; response 0 when none came."""
        self.until(SMU + 90, 0xFFFFFFFF, 1, 0)
        self.write(SMU + 90, 0)
        self.write(SMU + 82, argument)
        self.write(SMU + 66, number)
        end = self.clock.now() + limit_s
        while not self.read(SMU + 90) and self.clock.now() < end:
            self.clock.sleep(20e-6)
        return self.read(SMU + 90), self.read(SMU + 82)

    def ask(self, number: int, argument: int = 0) -> int:
        """The answer to a message that must succeed."""
        response, answer = self.message(number, argument)
        assert response == 1, f"message {number:#x}: {response:#x}"
        return answer

    def table_at(self, offset: int = TABLE) -> None:
        self.ask(0xD, self.mc(offset) >> 32)
        self.ask(0xE, self.mc(offset) & 0xFFFFFFFF)


_MEMBER: dict[int, str] = {
    Command.GFX_CMD_ID_LOAD_TA: "cmd_load_ta",
    Command.GFX_CMD_ID_UNLOAD_TA: "cmd_unload_ta",
    Command.GFX_CMD_ID_INVOKE_CMD: "cmd_invoke_cmd",
    Command.GFX_CMD_ID_LOAD_ASD: "cmd_load_ta",
    Command.GFX_CMD_ID_SETUP_TMR: "cmd_setup_tmr",
    Command.GFX_CMD_ID_LOAD_IP_FW: "cmd_load_ip_fw",
    Command.GFX_CMD_ID_PROG_REG: "cmd_setup_reg_prog",
    Command.GFX_CMD_ID_BOOT_CFG: "boot_cfg",
    Command.GFX_CMD_ID_SRIOV_SPATIAL_PART: "cmd_spatial_part",
    Command.GFX_CMD_ID_CONFIG_SQ_PERFMON: "config_sq_perfmon",
    Command.GFX_CMD_ID_FB_NPS_MODE: "cmd_memory_part",
    Command.GFX_CMD_ID_PERF_HW: "cmd_req_perf_hw",
}


def hosts(spec: str) -> list[Host]:
    clock = VirtualClock()
    return [Host(transport, clock) for transport in open_models(spec, clock)]


def host(spec: str) -> Host:
    (only,) = hosts(spec)
    return only


def map_gart(gpu: Host, pages: int, table: int = 0x700000) -> ModelDmaBuffer:
    """System memory at MC address 0 and up, as gmc_v9_0.c sets up its GART: a flat table in VRAM, VMID 0 of MMHUB 0."""
    buffer = gpu.transport.alloc_dma(pages * PAGE)
    entries = [bus | GART_FLAGS for bus in buffer.bus_addr]
    gpu.put(table, struct.pack(f"<{pages}Q", *entries))
    top = gpu.mc(gpu.gpu.chip.vram_size)
    values = {
        "VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32": table | 1,
        "VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_HI32": 0,
        "VM_CONTEXT0_PAGE_TABLE_START_ADDR_LO32": 0,
        "VM_CONTEXT0_PAGE_TABLE_END_ADDR_LO32": pages - 1,
        "VM_CONTEXT0_CNTL": 1,
        "MC_VM_SYSTEM_APERTURE_LOW_ADDR": gpu.mc(0) >> 18,
        "MC_VM_SYSTEM_APERTURE_HIGH_ADDR": (top - 1) >> 18,
        "MC_VM_MX_L1_TLB_CNTL": 1 | 3 << 3,
    }
    for name, value in values.items():
        gpu.write(gpu.gpu.registers.layout.address(f"MMHUB[0].{name}"), value)
    gpu.transport.config_write(4, 2, 6)  # memory decoding and bus master
    return buffer
