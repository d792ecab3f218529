"""RM mode: the loaded NVIDIA kernel driver asked by ioctl, without any library of the vendor's.

    with Client.open(files) as client:                  # /dev/nvidiactl; refuses a driver branch without a table
        if gpu_id in client.attached(): ...
        with client.gpu(card) as gpu:                   # opens /dev/nvidiaN: only of a GPU that somebody uses already
            gpu.control("GPU_GET_RECOVERY_ACTION")

Opening /dev/nvidiaN of a GPU that nobody uses would initialize it, which is no look: `gpu` refuses that, unless the GPU is
to be worked with (`initialize`).
Source: nvidia-rm.md sections 1, 2, 3, 5 and 7. Layouts: little-endian, offsets in bytes."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from base.errors import DeviceLost, GpumendError, InvalidData, NotPermitted, Refused, Unavailable
from nvdriver import abi
from nvdriver.status import OK, rm_error
from pcibus.driverfiles import DriverFiles, Mapped, WritableMapped, opened

_END_OF_IDS = 0xFFFFFFFF
_READ_ONLY = 1  # NVOS33_FLAGS_ACCESS
PAGE_BYTES = 4096
_NO_POINTERS: Mapping[int, bytearray] = {}


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU as the driver lists it (nv_ioctl_card_info_t)."""

    bdf: str
    vendor: int
    device: int
    gpu_id: int
    minor: int

    @property
    def node(self) -> str:
        return f"/dev/nvidia{self.minor}"


class Client:
    """A client of RM: the root of a tree of objects, freed with the last handle. Use `open`."""

    def __init__(self, files: DriverFiles, handle: int) -> None:
        self.files = files
        self._ctl = handle
        self.root = 0
        self.version = ""
        self.branch: abi.Branch | None = None
        self._next_handle = 0xC0DE0001  # any number that this client does not use yet

    @classmethod
    @contextmanager
    def open(cls, files: DriverFiles) -> Iterator[Client]:
        """Raises Unavailable (no node), NotPermitted, Refused (a driver branch without a table), RmError."""
        handle = open_node(files, abi.CTL_NODE)
        client = cls(files, handle)
        try:
            client.root = client._alloc(0, 0, 0, abi.ROOT, bytearray(), "a client")
            client.version = client._driver_version()
            client.branch = abi.branch_of(client.version, abi.CTL_NODE)
            yield client
        finally:
            with suppress(OSError):  # the driver frees what the client had when its file closes
                files.close(handle)
            client._ctl = -1  # whoever uses it later must not reach a file that got the same number

    def cards(self) -> list[Card]:
        """Every GPU that the driver has found, initialized or not."""
        data = bytearray(abi.CARD_ENTRY_BYTES * abi.CARD_ENTRIES)
        self._escape(self._ctl, abi.CARD_INFO, data, _NO_POINTERS, "asking for the list of GPUs")
        rows = [
            data[at : at + abi.CARD_ENTRY_BYTES]
            for at in range(0, len(data), abi.CARD_ENTRY_BYTES)
        ]  # fmt: skip
        return [_card(row) for row in rows if row[0]]

    def card(self, bdf: str) -> Card:
        """The entry of the GPU at `bdf`. Raises Unavailable when the driver does not know it."""
        cards = self.cards()
        for card in cards:
            if card.bdf == bdf:
                return card
        raise Unavailable(
            f"looking for {bdf} in the driver's list",
            expected=bdf,
            seen=", ".join(card.bdf for card in cards) or "no GPU",
            where=abi.CTL_NODE,
            next_step="is the driver bound to it (gpumend list)? else gpumend bind nvidia; dmesg",
        )

    def attached(self) -> set[int]:
        """Ids of the GPUs that are initialized now."""
        answer = self.control(self.root, "GPU_GET_ATTACHED_IDS")
        return {number for (number,) in struct.iter_unpack("<I", answer) if number != _END_OF_IDS}

    @contextmanager
    def gpu(self, card: Card, *, initialize: bool = False) -> Iterator[RmGpu]:
        """Objects for one GPU. Raises Refused where nobody uses it: opening its node would initialize it. `initialize`:
        that is what is wanted."""
        if not initialize and card.gpu_id not in self.attached():
            raise Refused(
                f"asking the driver about {card.bdf}",
                expected="a GPU that the driver has initialized: a process uses it, or nvidia-persistenced holds it",
                seen="not initialized; opening its node would initialize it, and looking changes nothing",
                where=card.node,
                next_step="start nvidia-persistenced, or run a program on it; then probe again",
            )
        node = self._registered(card.node)
        try:
            yield self._objects_of(card)
        finally:
            with suppress(OSError):
                self.files.close(node)

    def _registered(self, path: str) -> int:
        """A GPU's node, opened and told to which client it belongs."""
        node = open_node(self.files, path)
        try:
            self._escape(node, abi.REGISTER_FD, bytearray(struct.pack("<i", self._ctl)), _NO_POINTERS, "registering")
        except BaseException:
            self.files.close(node)
            raise
        return node

    @property
    def ctl(self) -> int:
        """The open /dev/nvidiactl, as UVM wants it named."""
        return self._ctl

    def _objects_of(self, card: Card) -> RmGpu:
        params = bytearray(self.size_of("GPU_GET_ID_INFO_V2"))
        struct.pack_into("<I", params, 0, card.gpu_id)
        instance = struct.unpack_from("<I", self.control(self.root, "GPU_GET_ID_INFO_V2", params), 8)[0]
        device_params = bytearray(56)  # NV0080_ALLOC_PARAMETERS
        struct.pack_into("<II", device_params, 0, instance, self.root)
        device = self._alloc(self.root, self.root, self._handle(), abi.DEVICE, device_params, f"device {card.bdf}")
        subdevice = self._alloc(
            self.root, device, self._handle(), abi.SUBDEVICE, bytearray(4), f"subdevice of {card.bdf}"
        )
        return RmGpu(self, card, device, subdevice)

    @property
    def tables(self) -> abi.Branch:
        """Those of the driver's branch."""
        assert self.branch is not None, "an opened client has chosen its branch"
        return self.branch

    def size_of(self, name: str) -> int:
        return self.tables.controls[name].size

    def control(self, target: int, name: str, params: bytearray | None = None) -> bytearray:
        """One control call on an object; returns the parameters as the driver left them. Raises RmError, DeviceLost."""
        control = self.tables.controls.get(name) or self.tables.work[name]
        memory = bytearray(control.size) if params is None else params
        return self._control(target, control.command, memory, name)

    def _control(self, target: int, command: int, memory: bytearray, name: str) -> bytearray:
        data = bytearray(32)  # NVOS54_PARAMETERS
        struct.pack_into("<IIIIQI", data, 0, self.root, target, command, 0, 0, len(memory))
        doing = f"control {name} ({command:#010x})"
        self._escape(self._ctl, abi.RM_CONTROL, data, {16: memory}, doing)
        _check(struct.unpack_from("<I", data, 28)[0], doing)
        return memory

    def _alloc(self, root: int, parent: int, handle: int, number: int, params: bytearray, what: str) -> int:
        data = bytearray(32)  # NVOS21_PARAMETERS
        struct.pack_into("<IIIIQI", data, 0, root, parent, handle, number, 0, len(params))
        doing = f"allocating {what} (class {number:#x})"
        self._escape(self._ctl, abi.RM_ALLOC, data, {16: params} if params else _NO_POINTERS, doing)
        _check(struct.unpack_from("<I", data, 28)[0], doing)
        return int(struct.unpack_from("<I", data, 8)[0])

    def alloc(self, parent: int, number: int, params: bytearray, what: str) -> int:
        """A new object of this client; its handle."""
        return self._alloc(self.root, parent, self._handle(), number, params, what)

    def free(self, parent: int, handle: int, what: str) -> None:
        """An object, and all that hangs below it."""
        data = bytearray(16)  # NVOS00_PARAMETERS
        struct.pack_into("<III", data, 0, self.root, parent, handle)
        doing = f"freeing {what}"
        self._escape(self._ctl, abi.RM_FREE, data, _NO_POINTERS, doing)
        _check(struct.unpack_from("<I", data, 12)[0], doing)

    @contextmanager
    def mapped(self, device: int, memory: int, size: int) -> Iterator[Mapped]:
        """System memory of the driver, to read; `device`: the device or subdevice that it belongs to."""
        found = self.map(device, memory, size)
        try:
            yield found
        finally:
            found.close()

    def map(self, device: int, memory: int, size: int, *, node: str = "", writable: bool = False) -> CpuMapping:
        """Memory of an object in this process. `node`: that of the GPU, for its own memory and registers; "": of the host.

        The context of a mapping hangs on a file of its own, one each (nvidia-rm.md section 2.1)."""
        own = self._registered(node) if node else open_node(self.files, abi.CTL_NODE)
        try:
            data = bytearray(56)  # NVOS33_PARAMETERS and the file
            struct.pack_into("<III", data, 0, self.root, device, memory)
            struct.pack_into("<QQ", data, 16, 0, size)
            struct.pack_into("<Ii", data, 44, 0 if writable else _READ_ONLY, own)
            doing = f"mapping object {memory:#x}"
            self._escape(self._ctl, abi.RM_MAP_MEMORY, data, _NO_POINTERS, doing)
            _check(struct.unpack_from("<I", data, 40)[0], doing)
            return CpuMapping(self.files, own, self._mmap(own, size, doing, writable=writable))
        except BaseException:
            with suppress(OSError):
                self.files.close(own)
            raise

    def _mmap(self, handle: int, size: int, doing: str, *, writable: bool) -> WritableMapped:
        try:
            return self.files.mmap(handle, size, writable=writable)
        except OSError as error:
            raise _refused_by_kernel(error, doing, abi.RM_MAP_MEMORY) from error

    def _driver_version(self) -> str:
        # Its size is the same in every branch (nvidia-rm.md section 12), or no branch could be chosen by it.
        answer = self._control(self.root, 0x13E, bytearray(1032), "SYSTEM_GET_BUILD_VERSION_V2")
        return text_of(answer[:256])

    def _handle(self) -> int:
        self._next_handle += 1
        return self._next_handle

    def _escape(self, handle: int, number: int, data: bytearray, pointers: Mapping[int, bytearray], doing: str) -> None:
        try:
            self.files.ioctl(handle, abi.request(number, len(data)), data, pointers)
        except OSError as error:
            raise _refused_by_kernel(error, doing, number) from error


class CpuMapping:
    """A mapping with the file that it hangs on (pcibus.driverfiles.WritableMapped)."""

    def __init__(self, files: DriverFiles, handle: int, memory: WritableMapped) -> None:
        self._files = files
        self._handle = handle
        self._memory = memory
        self.store32 = memory.store32

    def __getitem__(self, place: slice, /) -> bytes:
        return self._memory[place]

    def __setitem__(self, place: slice, data: bytes, /) -> None:
        self._memory[place] = data

    def close(self) -> None:
        self._memory.close()
        with suppress(OSError):
            self._files.close(self._handle)


@dataclass(frozen=True, slots=True)
class RmGpu:
    """A GPU's device and subdevice objects."""

    client: Client
    card: Card
    device: int
    subdevice: int

    def control(self, name: str, params: bytearray | None = None) -> bytearray:
        """One control call on the subdevice."""
        return self.client.control(self.subdevice, name, params)

    def classes(self) -> list[int]:
        """The class numbers that this GPU has with this driver."""
        answer = self.client.control(self.device, "GET_CLASSLIST_V2")
        count = struct.unpack_from("<I", answer)[0]
        if 4 + 4 * count > len(answer):
            raise InvalidData(
                "reading the class list", expected=f"at most {len(answer) // 4 - 1} classes", seen=str(count)
            )
        return list(struct.unpack_from(f"<{count}I", answer, 4))


@contextmanager
def shared_page(gpu: RmGpu) -> Iterator[Mapped]:
    """The driver's page of telemetry of a GPU (class 0x00DE), mapped for reading.

    It asks for no polling (mask 0): so nothing is set going, and what nobody else polls is not there."""
    client = gpu.client
    page = client.alloc(gpu.subdevice, abi.SHARED_DATA, bytearray(8), f"shared data of {gpu.card.bdf}")
    with client.mapped(gpu.subdevice, page, PAGE_BYTES) as memory:
        yield memory


def text_of(data: bytes | bytearray) -> str:
    """A C string."""
    return bytes(data).partition(b"\0")[0].decode("ascii", "replace")


def _card(row: bytearray) -> Card:
    domain, bus, slot, function = struct.unpack_from("<IBBB", row, 4)
    vendor, device, gpu_id = struct.unpack_from("<HHI", row, 12)
    return Card(
        f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}", vendor, device, gpu_id, *struct.unpack_from("<I", row, 56)
    )


def _check(status: int, doing: str) -> None:
    if status != OK:
        raise rm_error(doing, status, abi.CTL_NODE)


def _refused_by_kernel(error: OSError, doing: str, number: int) -> GpumendError:
    """The escape itself failed: a lost GPU, a wrong size, or the wrong file."""
    kind = DeviceLost if number == abi.REGISTER_FD else Unavailable
    return kind(
        doing,
        expected="the driver takes the call",
        seen=os.strerror(error.errno or 0),
        where=f"escape {number:#x}",
        next_step="EINVAL on a GPU's own node means that the driver has lost it; look at dmesg",
    )


def open_node(files: DriverFiles, path: str) -> int:
    """One of the driver's nodes. Unavailable (with what may be the reason) or NotPermitted where it cannot be opened."""
    try:
        return opened(files, path)
    except NotPermitted as error:
        error.expected, error.next_step = "read and write permission", f"ls -l {path}; run as a user or group that may"
        raise
    except Unavailable as error:
        error.expected = "the driver's node"
        failed = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO
        error.next_step = _NO_START if failed else _WHY_NO_NODE.get(path, _NO_GPU_NODE)
        raise


_NO_GPU_NODE = (
    "in a container: was this GPU given to it (--gpus, --device)? else look at dmesg: it could not be initialized"
)
_NO_START = (
    "the driver could not initialize it, or has lost it: gpumend probe; dmesg (NVRM: RmInitAdapter failed, Xid 79)"
)
_WHY_NO_NODE = {
    abi.CTL_NODE: "is NVIDIA's driver loaded (lsmod), and not just being unloaded? in a container: --gpus, --device",
    abi.UVM_NODE: "modprobe nvidia-uvm, or nvidia-modprobe -c 0 -u; in a container: --device /dev/nvidia-uvm",
}
