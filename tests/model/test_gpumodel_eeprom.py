"""The EEPROM behind the SMU: a transfer as smu_v13_0_6_i2c_xfer lays it out; pages; it outlives every reset."""

from __future__ import annotations

from gpumodel.eeprom import REQUEST_BYTES
from gpumodel.faults import Reset
from tests.model.firmware_host import TABLE, Host, host

STOP, RESTART, WRITE = 1, 2, 4
TRANSFER = 7


def transfer(gpu: Host, address: int, data: bytes = b"", read: int = 0, slave: int | None = None) -> tuple[int, bytes]:
    """The response, and what was read at a 19-bit address."""
    commands = [(byte, WRITE) for byte in (address >> 8 & 0xFF, address & 0xFF, *data)]
    commands += [(0, RESTART if place == 0 else 0) for place in range(read)]
    commands[-1] = commands[-1][0], commands[-1][1] & ~RESTART | STOP
    head = bytes((0, 2, slave if slave is not None else (0x50 | address >> 16) << 1, len(commands)))
    request = head + b"".join(bytes(command) for command in commands)
    gpu.table_at()
    gpu.put(TABLE, request.ljust(REQUEST_BYTES, b"\0"))
    response, _ = gpu.message(TRANSFER)
    answer = gpu.get(TABLE, REQUEST_BYTES)
    return response, answer[4 + 2 * (2 + len(data)) :: 2][:read]


def test_what_is_written_is_read_the_rest_is_erased() -> None:
    gpu = host("mi300x")
    assert transfer(gpu, 0x40000, read=4) == (1, b"\xff" * 4)
    assert transfer(gpu, 0x40000, b"RAS!") == (1, b"")
    assert transfer(gpu, 0x40001, read=5) == (1, b"AS!\xff\xff")
    assert transfer(gpu, 0x50000, read=1) == (1, b"\xff"), "another 64 KiB"


def test_write_wraps_within_its_page_reading_goes_on() -> None:
    gpu = host("mi350x")
    transfer(gpu, 0x400FE, b"abcd")
    assert transfer(gpu, 0x400FE, read=4) == (1, b"ab\xff\xff")
    assert transfer(gpu, 0x40000, read=2) == (1, b"cd")


def test_nobody_answers_to_another_slave_or_a_request_without_address() -> None:
    gpu = host("mi300x")
    assert transfer(gpu, 0, read=2, slave=0x90)[0] == 0xFF
    gpu.put(TABLE, bytes((0, 2, 0xA8, 1)) + bytes(48))
    assert gpu.message(TRANSFER)[0] == 0xFF
    assert gpu.message(TRANSFER)[0] == 0xFF


def test_content_outlives_a_reset_of_the_chip() -> None:
    gpu = host("mi300x")
    transfer(gpu, 0x40000, b"kept")
    gpu.gpu.resets.begin(Reset.BUS_RESET)
    gpu.clock.sleep(2)
    for place, value in ((0x14, 0x2000), (0x1C, 0x2040), (0x24, 0xA0000000), (4, 2)):
        gpu.transport.config_write(place, 4 if place != 4 else 2, value)
    assert transfer(gpu, 0x40000, read=4) == (1, b"kept")
