"""UVM: the part of the driver that fills a GPU's page tables for a process (/dev/nvidia-uvm).

Numbers are taken as they are, without size or direction; each structure ends in its status, and nobody but its reader knows
where that is. Source: nvidia-rm.md section 4; kernel-open/nvidia-uvm/uvm_ioctl.h, uvm_linux_ioctl.h of
open-gpu-kernel-modules, compiled: the same from 570.86.16 to 580.142; in 590.44.01 and 590.48.01 FREE has no length, and
UNREGISTER_CHANNEL no GPU."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from base.errors import Unavailable
from nvdriver import abi
from nvdriver.rm import open_node
from nvdriver.status import NOTHING_TO_DO, OK, RmError, rm_error
from pcibus.driverfiles import DriverFiles

_INITIALIZE, _MM_INITIALIZE = 0x30000001, 75
_REGISTER_GPU, _UNREGISTER_GPU, _REGISTER_SPACE, _UNREGISTER_SPACE = 37, 38, 25, 26
_REGISTER_CHANNEL, _UNREGISTER_CHANNEL = 27, 28
_CREATE_RANGE, _MAP, _FREE = 73, 33, 34
_NO_HMM = 1  # UVM_INIT_FLAGS_DISABLE_HMM: only ranges that are made here
_ATTRIBUTES_AT, _MAP_BYTES, _READ_WRITE_ATOMIC = 24, 9264, 1


class Uvm:
    """One open file: the addresses of this process on its GPUs. `rm_file`: the open /dev/nvidiactl of the client; `branch`:
    the driver's."""

    def __init__(self, files: DriverFiles, handle: int, rm_file: int, branch: abi.Branch) -> None:
        self._files = files
        self._handle = handle
        self._rm_file = rm_file
        self._short = branch.uvm_short

    @classmethod
    @contextmanager
    def open(cls, files: DriverFiles, rm_file: int, branch: abi.Branch) -> Iterator[Uvm]:
        """Closing it frees everything. Raises Unavailable, NotPermitted, RmError."""
        handle = open_node(files, abi.UVM_NODE)
        uvm = cls(files, handle, rm_file, branch)
        try:
            uvm._call(_INITIALIZE, bytearray(struct.pack("<QQ", _NO_HMM, 0)), 8, "initializing UVM")
            with uvm._held_mm():
                yield uvm
        finally:
            uvm._handle = -1
            with suppress(OSError):
                files.close(handle)

    @contextmanager
    def _held_mm(self) -> Iterator[None]:
        """A second file that keeps the process's memory known to UVM, where UVM wants it (else: nothing to do)."""
        second = open_node(self._files, abi.UVM_NODE)
        try:
            data = bytearray(struct.pack("<iI", self._handle, 0))
            self._raw(second, _MM_INITIALIZE, data, "telling UVM of this process")
            status = struct.unpack_from("<I", data, 4)[0]
            if status not in (OK, NOTHING_TO_DO):
                raise rm_error("telling UVM of this process", status, abi.UVM_NODE)
            yield
        finally:
            with suppress(OSError):
                self._files.close(second)

    def register_gpu(self, uuid: bytes) -> None:
        data = bytearray(40)
        data[:16] = uuid
        struct.pack_into("<i", data, 24, -1)
        self._call(_REGISTER_GPU, data, 36, "registering the GPU with UVM")

    def unregister_gpu(self, uuid: bytes) -> None:
        self._call(_UNREGISTER_GPU, bytearray(uuid.ljust(20, b"\0")), 16, "taking the GPU from UVM")

    def register_space(self, uuid: bytes, client: int, space: int) -> None:
        data = bytearray(32)
        struct.pack_into("<16siII", data, 0, uuid, self._rm_file, client, space)
        self._call(_REGISTER_SPACE, data, 28, "registering the VA space with UVM")

    def unregister_space(self, uuid: bytes) -> None:
        self._call(_UNREGISTER_SPACE, bytearray(uuid.ljust(20, b"\0")), 16, "taking the VA space from UVM")

    def register_channel(self, uuid: bytes, client: int, channel: int, base: int, length: int) -> None:
        """`base`, `length`: addresses that nobody else uses, where UVM may map what the channel's engine needs."""
        data = bytearray(56)
        struct.pack_into("<16siII", data, 0, uuid, self._rm_file, client, channel)
        struct.pack_into("<QQ", data, 32, base, length)
        self._call(_REGISTER_CHANNEL, data, 48, "registering the channel with UVM")

    def unregister_channel(self, uuid: bytes, client: int, channel: int) -> None:
        ids = struct.pack("<II", client, channel)
        data = bytearray(ids if self._short else uuid + ids) + bytes(4)
        self._call(_UNREGISTER_CHANNEL, data, len(data) - 4, "taking the channel from UVM")

    def map(self, uuid: bytes, client: int, memory: int, base: int, length: int) -> None:
        """An allocation of RM's at an address of the GPU, in a range that is made for it."""
        self._call(_CREATE_RANGE, bytearray(struct.pack("<QQQ", base, length, 0)), 16, f"making a range at {base:#x}")
        try:
            data = bytearray(_MAP_BYTES)
            struct.pack_into("<QQQ", data, 0, base, length, 0)
            struct.pack_into("<16sI", data, _ATTRIBUTES_AT, uuid, _READ_WRITE_ATOMIC)
            struct.pack_into("<QiII", data, 9240, 1, self._rm_file, client, memory)
            self._call(_MAP, data, 9260, f"mapping object {memory:#x} at {base:#x}")
        except BaseException:
            with suppress(RmError, Unavailable):
                self.free(base, length)
            raise

    def free(self, base: int, length: int) -> None:
        """A range with what is mapped in it."""
        place = struct.pack("<Q", base) if self._short else struct.pack("<QQ", base, length)
        self._call(_FREE, bytearray(place) + bytes(8), len(place), f"freeing the range at {base:#x}")

    def _call(self, number: int, data: bytearray, status_at: int, doing: str) -> None:
        self._raw(self._handle, number, data, doing)
        status = struct.unpack_from("<I", data, status_at)[0]
        if status != OK:
            raise rm_error(doing, status, abi.UVM_NODE)

    def _raw(self, handle: int, number: int, data: bytearray, doing: str) -> None:
        try:
            self._files.ioctl(handle, number, data, {})
        except OSError as error:
            raise Unavailable(
                doing,
                expected="UVM takes the call",
                seen=os.strerror(error.errno or 0),
                where=f"{abi.UVM_NODE}, call {number}",
                next_step="is nvidia-uvm of the same version as the driver? look at dmesg",
            ) from error
