"""The board's EEPROM behind the SMU's I2C port: where the kernel keeps the table of bad pages. Outlives every reset.

Source: Linux v7.3 smu13_driver_if_v13_0_6.h (SwI2cRequest_t, CMDCONFIG_*), smu_v13_0_6_ppt.c smu_v13_0_6_i2c_xfer (how a
transfer becomes commands), ras/ras_mgr/amdgpu_ras_eeprom_i2c.c and amdgpu/amdgpu_eeprom.c (19-bit addresses: the low three
bits of the slave address, then two bytes; pages of 256 bytes in which writing wraps). Erased: all ones."""

from __future__ import annotations

MOST_COMMANDS = 24
REQUEST_BYTES = 4 + 2 * MOST_COMMANDS  # port, speed, slave address, number of commands, (data, configuration) each
DEVICE = 0xA  # upper half of the 8-bit slave address
PAGE = 256
SIZE = 1 << 19
WRITE = 1 << 2
ADDRESS_BYTES = 2


class Eeprom:
    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}  # what was written; the rest is erased

    def transfer(self, request: bytes) -> bytes | None:
        """The request with what was read filled in; None: nobody answers to the slave address, or it has no sense."""
        slave, count = request[2], request[3]
        if slave >> 4 != DEVICE or not ADDRESS_BYTES <= count <= MOST_COMMANDS:
            return None
        answer = bytearray(request)
        address, sent = (slave >> 1 & 7) << 16, 0
        for place in range(4, 4 + 2 * count, 2):
            data, configuration = request[place], request[place + 1]
            if not configuration & WRITE:
                answer[place] = self._bytes.get(address % SIZE, 0xFF)
                address += 1
            elif sent < ADDRESS_BYTES:
                address |= data << 8 * (ADDRESS_BYTES - 1 - sent)
                sent += 1
            else:
                self._bytes[address % SIZE] = data
                address = address & ~(PAGE - 1) | (address + 1) & (PAGE - 1)
        return bytes(answer)
