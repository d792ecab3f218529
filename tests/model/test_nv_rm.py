"""RM mode against the modelled driver: what it takes, what it refuses and with which status, as the driver's source says."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import pytest

from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, Refused, Unavailable, UsageError, WaitTimeout
from gpumodel import nvidia
from gpumodel.nvidia.chips import H200
from gpumodel.nvidia.files import ModelFiles
from gpumodel.nvidia.machine import Machine
from gpumodel.nvidia.spec import parse
from nvdriver import abi, status
from nvdriver.ask import ask_driver, ask_firmware
from nvdriver.rm import Client, RmGpu, shared_page
from nvdriver.status import RmError
from nvdriver.telemetry import _group

BDF = "0000:18:00.0"


def machine(count: int = 1, driver: str = "580.105.08", *, is_admin: bool = True) -> ModelFiles:
    return ModelFiles(Machine(H200, count, VirtualClock(), driver=driver, is_admin=is_admin))


@pytest.fixture
def gpu() -> Iterator[RmGpu]:
    with Client.open(machine()) as client, client.gpu(client.card(BDF)) as opened:
        yield opened


def raw_control(files: ModelFiles, root: int, target: int, command: int, size: int) -> int:
    """The status of a control call, made by hand."""
    handle = files.open("/dev/nvidiactl")
    data, params = bytearray(32), bytearray(size)
    struct.pack_into("<IIIIQI", data, 0, root, target, command, 0, 0, size)
    files.ioctl(handle, 0xC020462A, data, {16: params} if size else {})
    files.close(handle)
    return int(struct.unpack_from("<I", data, 28)[0])


def raw_alloc(
    files: ModelFiles, root: int, parent: int, handle: int, number: int, params: bytes = b""
) -> tuple[int, int]:
    """(status, handle) of an allocation, made by hand, on the file that is open already."""
    data = bytearray(32)
    struct.pack_into("<IIIIQI", data, 0, root, parent, handle, number, 0, len(params))
    files.ioctl(3, 0xC020462B, data, {16: bytearray(params)} if params else {})
    return int(struct.unpack_from("<I", data, 28)[0]), int(struct.unpack_from("<I", data, 8)[0])


def device_params(instance: int) -> bytes:
    return struct.pack("<I", instance).ljust(56, b"\0")


def test_client_learns_version_cards_and_classes(gpu: RmGpu) -> None:
    assert gpu.client.version == "580.105.08"
    card = gpu.card
    assert (card.bdf, card.vendor, card.device, card.node) == (BDF, 0x10DE, 0x2335, "/dev/nvidia0")
    classes = gpu.classes()
    assert {0xC86F, 0xCBC0, 0xC8B5, 0xC661} <= set(classes)  # nvidia-rm.md section 16
    assert not {0xC7C0, 0xC7B5} & set(classes)


def test_client_of_an_unknown_branch_is_refused_and_leaves_nothing_open() -> None:
    files = machine(driver="535.129.03")
    with pytest.raises(Refused) as caught, Client.open(files):
        pass
    assert caught.value.seen == "535.129.03"
    assert not files._nodes and not files.rm.clients


def test_client_that_ends_leaves_nothing_behind() -> None:
    files = machine()
    with Client.open(files) as client, client.gpu(client.card(BDF)):
        assert len(files._nodes) == 2
    assert not files._nodes and not files.rm.clients and not files.rm.users[0]


@pytest.mark.parametrize("name", sorted(abi.branch_of("580.105.08", "").controls))
def test_control_of_a_wrong_size_is_a_named_error(gpu: RmGpu, name: str) -> None:
    control = abi.branch_of("580.105.08", "").controls[name]
    target = (
        gpu.client.root if control.command < 0x800000 else gpu.device if control.command < 0x20800000 else gpu.subdevice
    )
    with pytest.raises(RmError) as caught:
        gpu.client.control(target, name, bytearray(control.size + 4))
    assert caught.value.status == status.BAD_STRUCT
    assert "NV_ERR_INVALID_PARAM_STRUCT (0x3a)" in caught.value.seen


@pytest.mark.parametrize("name", sorted(abi.branch_of("580.105.08", "").controls))
@pytest.mark.parametrize("driver", ["570.144", "580.65.06", "590.48.01"])
def test_control_of_each_branch_is_taken_in_its_size(driver: str, name: str) -> None:
    with Client.open(machine(driver=driver)) as client, client.gpu(client.card(BDF)) as gpu:
        assert client.branch is not None
        control = client.branch.controls.get(name)
        if control is None:
            assert (client.branch.number, name) == (570, "ECC_GET_REPAIR_STATUS")
            return
        target = (
            client.root if control.command < 0x800000 else gpu.device if control.command < 0x20800000 else gpu.subdevice
        )
        params = bytearray(control.size)
        struct.pack_into("<I", params, 0, gpu.card.gpu_id) if control.command in (0x205, 0x279) else None
        assert len(client.control(target, name, params)) == control.size


def test_control_that_the_driver_does_not_know_or_on_a_wrong_object_is_not_supported(gpu: RmGpu) -> None:
    files = gpu.client.files
    assert isinstance(files, ModelFiles)
    assert raw_control(files, gpu.client.root, gpu.subdevice, 0x20809999, 4) == 0x56
    assert raw_control(files, gpu.client.root, gpu.device, 0x208001B2, 4) == 0x56


def test_control_of_strangers_objects_is_refused(gpu: RmGpu) -> None:
    files = gpu.client.files
    assert isinstance(files, ModelFiles)
    assert raw_control(files, 0xDEAD, gpu.subdevice, 0x208001B2, 4) == 0x33
    assert raw_control(files, gpu.client.root, 0xDEAD, 0x208001B2, 4) == 0x57


def test_control_for_root_only_is_refused_to_a_user() -> None:
    for is_admin, expected in ((False, 0x1B), (True, 0)):
        files = machine(is_admin=is_admin)
        with Client.open(files) as client, client.gpu(client.card(BDF)) as gpu:
            assert raw_control(files, client.root, gpu.subdevice, 0x20803402, 16804) == expected


def test_alloc_refusals_are_those_of_the_driver() -> None:
    files = machine(2)
    files.open("/dev/nvidiactl")
    code, root = raw_alloc(files, 0, 0, 0, 0x41)
    assert (code, root) == (0, 0xC1D00000)
    assert raw_alloc(files, root, root, 1, 0x9999)[0] == 0x22  # no such class
    assert raw_alloc(files, 0xBAD, root, 1, 0x80, device_params(0))[0] == 0x33  # no such client
    assert raw_alloc(files, root, 0xBAD, 1, 0x80, device_params(0))[0] == 0x57  # no such parent
    assert raw_alloc(files, root, root, 1, 0x80)[0] == 0x1F  # a device needs parameters
    assert raw_alloc(files, root, root, 1, 0x80, device_params(0)[:-4])[0] == 0x1F
    assert raw_alloc(files, root, root, 1, 0x80, device_params(40))[0] == 0x1F
    assert raw_alloc(files, root, root, 1, 0x80, device_params(5))[0] == 0x40  # no such GPU
    assert raw_alloc(files, root, root, 1, 0x2080, bytes(4))[0] == 0x36  # a subdevice hangs below a device
    assert raw_alloc(files, root, root, 1, 0x80, device_params(0))[0] == 0
    assert raw_alloc(files, root, root, 1, 0x80, device_params(0))[0] == 0x19  # the handle is taken
    assert raw_alloc(files, root, 1, 2, 0x80, device_params(0))[0] == 0x36  # a device hangs below the client
    assert raw_alloc(files, root, 1, 2, 0x2080, bytes(4))[0] == 0


@pytest.mark.parametrize(
    ("node", "request_number", "size"),
    [
        ("/dev/nvidiactl", 0xC020462A - (4 << 16), 28),  # a wrong size
        ("/dev/nvidiactl", 0xC00446FF, 4),  # no such escape
        ("/dev/nvidiactl", 0xC00446C9, 4),  # REGISTER_FD is for a GPU's node
        ("/dev/nvidia0", 0xC020462A, 32),  # RM_CONTROL is for nvidiactl
        ("/dev/nvidia0", 0xD20046C8, 4608),
        ("/dev/nvidiactl", 0xC00A46C8, 10),
    ],
)
def test_escape_of_a_wrong_size_or_on_the_wrong_node_is_einval(node: str, request_number: int, size: int) -> None:
    files = machine()
    with pytest.raises(OSError) as caught:
        files.ioctl(files.open(node), request_number, bytearray(size), {})
    assert caught.value.errno == errno.EINVAL


def test_shared_page_is_mapped_through_a_file_of_its_own_and_given_back(gpu: RmGpu) -> None:
    files = gpu.client.files
    assert isinstance(files, ModelFiles)
    before = len(files._nodes)
    with shared_page(gpu) as page:
        assert len(files._nodes) == before + 1
        assert len(page[0:4096]) == 4096
    assert len(files._nodes) == before and not files._contexts


def test_mapping_without_context_or_of_a_wrong_object_is_refused(gpu: RmGpu) -> None:
    files = gpu.client.files
    assert isinstance(files, ModelFiles)
    with pytest.raises(OSError) as caught:
        files.mmap(files.open("/dev/nvidiactl"), 4096)
    assert caught.value.errno == errno.EINVAL
    for memory, expected in ((gpu.device, 0x1F), (0xDEAD, 0x57)):
        with pytest.raises(RmError) as refused, gpu.client.mapped(gpu.subdevice, memory, 4096):
            pass
        assert refused.value.status == expected
    page = gpu.client.alloc(gpu.subdevice, 0xDE, bytearray(8), "a page")
    with pytest.raises(RmError), gpu.client.mapped(gpu.subdevice, page, 8192):
        pass
    with pytest.raises(RmError) as wrong:
        gpu.client.alloc(gpu.device, 0xDE, bytearray(8), "a page")
    assert wrong.value.status == 0x36


class Page:
    """A page whose stamp moves while it is read."""

    def __init__(self, stamps: list[int], value: int = 7) -> None:
        self.stamps = stamps
        self.value = value

    def __getitem__(self, place: slice, /) -> bytes:
        if place.start == 0:
            stamp = self.stamps[0] if len(self.stamps) == 1 else self.stamps.pop(0)
            return struct.pack("<Q", stamp)
        return struct.pack("<Q", self.value)[: place.stop - place.start]

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([5], 7),  # a time
        ([0], None),  # nobody polls it
        ([0xFF00000000000002], 7),  # an even count
        ([0xFF00000000000001], None),  # written all the time
        ([5, 6, 6, 6], 7),  # moved once, then still
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], None),  # never still
        ([(1 << 64) - 1], None),  # a write goes on
    ],
)
def test_telemetry_group_is_taken_only_with_a_valid_stamp_that_stays(stamps: list[int], expected: int | None) -> None:
    data = _group(Page(stamps), 0, 4)
    assert (None if data is None else struct.unpack("<I", data)[0]) == expected


def test_gpu_that_is_lost_in_the_middle_ends_in_one_named_error() -> None:
    files = machine()
    with Client.open(files) as client:
        card = client.card(BDF)
        with client.gpu(card) as gpu:
            files.machine.gpus[0].lost = True
            with pytest.raises(RmError) as caught:
                gpu.control("GPU_GET_RECOVERY_ACTION")
            assert caught.value.status == status.GPU_IS_LOST
            assert "reset it, then bind" in caught.value.next_step
        with pytest.raises(GpumendError), client.gpu(card):
            pass


def test_gpu_that_is_lost_before_it_is_registered_is_a_lost_device() -> None:
    files = machine()

    class Late(ModelFiles):
        def open(self, path: str) -> int:
            handle = super().open(path)
            self.machine.gpus[0].lost = path != "/dev/nvidiactl"
            return handle

    late = Late(files.machine)
    with Client.open(late) as client, pytest.raises(DeviceLost), client.gpu(client.card(BDF)):
        pass


def test_gpu_that_nobody_uses_is_refused_before_its_node_is_opened() -> None:
    files = machine()
    files.machine.gpus[0].rm.persistent = False
    with Client.open(files) as client, pytest.raises(Refused) as caught, client.gpu(client.card(BDF)):
        pass
    assert "nvidia-persistenced" in caught.value.next_step
    assert not files.rm.users[0]


def test_nodes_that_are_missing_are_named() -> None:
    with pytest.raises(Unavailable) as caught, Client.open(machine(driver="")):
        pass
    assert "/dev/nvidiactl" in caught.value.where


def test_gpu_that_the_driver_does_not_have_is_named() -> None:
    with Client.open(machine()) as client, pytest.raises(Unavailable) as caught:
        client.card("0000:99:00.0")
    assert caught.value.seen == BDF


def test_firmware_that_is_silent_costs_its_timeout_once_or_is_given_up() -> None:
    files = machine()
    clock = files.machine.clock
    files.machine.gpus[0].rm.gsp_alive = False
    answers = ask_firmware(files, BDF)
    assert 45.0 <= clock.now() < 46.0  # the questions after the first are not asked
    assert set(answers.statuses.values()) == {status.TIMEOUT}
    assert len(answers.unanswered) == 5
    before = clock.now()
    with pytest.raises(WaitTimeout):
        files.apart(lambda: ask_firmware(files, BDF), 0.5, "asking")
    assert clock.now() - before == pytest.approx(0.5)
    assert ask_driver(files, BDF).facts["recovery_action"] == 0  # what the driver remembers is still told
    assert not files._nodes


@pytest.mark.parametrize(
    "text",
    [
        "h300", "h200*0", "h200*9", "h200*x", "h200?vram=16", "h200?fault=", "h200?fault=mec-hang", "h200?fault=xid",
        "h200?fault=xid:x", "h200?fault=gsp-dead:1", "h200?fault=gsp-dead@8", "h200*2?fault=gsp-dead@2", "h200?driver=580",
        "h200?state=warm", "h200?state=cold&driver=580.1", "h200?fault=boot-stuck", "h200?driver=none&fault=xid:31",
        "rtx4090?fault=nvlink-down", "rtx4090?fault=ecc-row-remap-pending", "h200?fault=nvlink-down:18", "h200#1",
        "h200?fault=xid:31&fault=xid:32", "h200?state", "\u0661",
    ],
)  # fmt: skip
def test_address_that_is_none_is_a_usage_error_that_says_what_was_expected(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.expected and caught.value.seen and caught.value.next_step


def test_address_picks_one_gpu_of_a_machine() -> None:
    (one,) = nvidia.open_models("model:h200*8?fault=xid:31@3#3")
    assert (one.gpu.index, one.name) == (3, "model:h200*8?fault=xid:31@3#3")
    assert "): 31, pid=" in one.files.kernel_log()
