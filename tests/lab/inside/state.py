"""Runs inside a guest: what state a GPU is in, told from its config space and plain maps of its resource files.

    python3 state.py BDF          # one JSON document
    python3 state.py BDF plant    # marks into all that a reset may destroy, then the same

Nothing of gpumend: what it tells is what Linux and the device say. Registers: research/amdgpu-on-model.md (byte offsets in
BAR5). It switches memory decoding on, as a driver would, and leaves it on; and it waits for the boot firmware."""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import time

MEMORY_SIZE = 0x378C  # RCC_CONFIG_MEMSIZE, MiB
SOS = 0x58244  # C2PMSG_81: not 0 while sOS runs
BOOTLOADER = 0x5818C  # C2PMSG_35: bit 31 when it is ready
SMU = 0x58A68  # C2PMSG_90: the last response
PLANTED = {"scratch": 0x30118, "driver_scratch": 0x250}  # GC[0].SCRATCH_REG6, BIF_BX0_DRIVER_SCRATCH_0
MARK = 0x600D600D
VRAM_MARK = 64 << 20
PAGE = 4096
TABLE_FROM_END = 64 << 10
COMMAND, MEMORY = 4, 2
BOOT_MOST_S = 20.0


class Bar:
    """One page-wise map of a resource file, dword by dword."""

    def __init__(self, folder: str, number: int) -> None:
        self.handle = os.open(f"{folder}/resource{number}", os.O_RDWR)

    def word(self, offset: int, value: int | None = None) -> int:
        with mmap.mmap(self.handle, PAGE, offset=offset & -PAGE) as page:
            words = memoryview(page).cast("I")
            if value is not None:
                words[offset % PAGE // 4] = value
            found = words[offset % PAGE // 4]
            words.release()
        return found


def config_word(folder: str, offset: int) -> int:
    handle = os.open(f"{folder}/config", os.O_RDONLY)
    try:
        return int(struct.unpack("<I", os.pread(handle, 4, offset))[0])
    finally:
        os.close(handle)


def switch_on(folder: str) -> None:
    handle = os.open(f"{folder}/config", os.O_RDWR)
    try:
        (command,) = struct.unpack("<H", os.pread(handle, 2, COMMAND))
        os.pwrite(handle, struct.pack("<H", command | MEMORY), COMMAND)
    finally:
        os.close(handle)


def is_up(registers: Bar) -> bool:
    """Whether the boot firmware is ready, at once or within its time; all ones is no answer."""
    end = time.monotonic() + BOOT_MOST_S
    while True:
        value = registers.word(BOOTLOADER)
        if value >> 31 and value != 0xFFFFFFFF:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)


def tell(bdf: str, plant: bool) -> dict[str, object]:
    folder = f"/sys/bus/pci/devices/{bdf}"
    told: dict[str, object] = {"command_found": config_word(folder, COMMAND) & 0xFFFF}
    switch_on(folder)
    told["bars"] = [config_word(folder, place) for place in (0x10, 0x14, 0x18, 0x1C, 0x24)]
    registers, vram = Bar(folder, 5), Bar(folder, 0)
    told["bootloader_ready"] = is_up(registers)
    end = registers.word(MEMORY_SIZE) << 20
    told["memory_bytes"] = end
    if plant:
        vram.word(VRAM_MARK, MARK)
        for place in PLANTED.values():
            registers.word(place, MARK)
    told |= {name: registers.word(place) == MARK for name, place in PLANTED.items()}
    told["vram"] = vram.word(VRAM_MARK) == MARK
    told["discovery"] = f"{vram.word(end - TABLE_FROM_END):#010x}"
    told["sos"] = registers.word(SOS) != 0
    told["smu"] = registers.word(SMU)
    return told


if __name__ == "__main__":
    print(json.dumps(tell(sys.argv[1], sys.argv[2:] == ["plant"])))
