"""Runs in a process of tinygrad's: open the GPUs that REMOTE names and work with them; tells what came of it as JSON.

    python tinygrad_client.py single|hive|killed|tensors COUNT

Only tinygrad's own code touches the GPUs: its AMDDevice, allocator, copy and compute queues."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

SIZES = (1, 4, 4096, (1 << 20) + 0x3005, 8 << 20, 64 << 20)
QUEUES = 8  # copy queues that tinygrad uses at most (HCQGraph: min(devices, 8)); it makes them when they are asked for
MOVED = 3 << 20
PEER_BYTES = 1 << 20
HELD_BACK_S = 0.05


def payload(seed: int, size: int) -> bytearray:
    return bytearray(random.Random(seed).randbytes(size))


def digest(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def read_back(device: Any, buffer: Any, size: int) -> str:
    out = bytearray(size)
    device.allocator._copyout(memoryview(out), buffer)
    return digest(out)


def filled(device: Any, data: bytearray) -> Any:
    buffer = device.allocator.alloc(len(data))
    device.allocator._copyin(buffer, memoryview(data))
    device.synchronize()
    return buffer


def in_vram(device: Any, buffer: Any, size: int) -> str:
    """What lies where tinygrad says that the buffer is, read through BAR0."""
    pieces = [device.iface.dev_impl.vram.view(start, length)[:] for start, length in buffer.meta.mapping.paddrs]
    return digest(b"".join(bytes(piece) for piece in pieces)[:size])


def opened(count: int) -> list[Any]:
    device: Any = importlib.import_module("tinygrad.device").Device
    return [device["AMD" if index == 0 else f"AMD:{index}"] for index in range(count)]


def about(device: Any) -> dict[str, object]:
    inside = device.iface.dev_impl
    return {
        "arch": device.arch,
        "xccs": device.xccs,
        "cus": device.cu_cnt,
        "vram_gib": inside.vram_size >> 30,
        "partial_boot": inside.partial_boot,
        "is_hive": inside.is_hive(),
        "is_aql": bool(device.is_aql),
        "base": inside.gmc.paddr_base,
    }


def behind(device: Any, queue: Any) -> Any:
    """A queue whose work comes after all that was asked for before."""
    return queue.wait(device.timeline_signal, device.timeline_value - 1)


def submit(device: Any, queue: Any) -> None:
    queue.signal(device.timeline_signal, device.next_timeline()).submit(device)


def copies(device: Any) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {"copied": [], "in_vram": []}
    for size in SIZES:
        buffer = filled(device, payload(size, size))
        told["copied"].append(read_back(device, buffer, size))
        told["in_vram"].append(in_vram(device, buffer, size))
    return told


def moved(device: Any) -> dict[str, object]:
    """VRAM to VRAM by the copy engine, timed by it."""
    source, target = filled(device, payload(7, MOVED)), device.allocator.alloc(MOVED)
    begin, end = device.new_signal(), device.new_signal()
    queue = behind(device, device.hw_copy_queue_t()).timestamp(begin).copy(target, source, MOVED).timestamp(end)
    submit(device, queue)
    device.synchronize()
    return {"moved": read_back(device, target, MOVED), "copy_us": float(end.timestamp - begin.timestamp)}


def every_queue(device: Any) -> list[str]:
    """VRAM to VRAM on each copy queue."""
    arrived = []
    for number in range(QUEUES):
        source, target = filled(device, payload(50 + number, MOVED)), device.allocator.alloc(MOVED)
        submit(device, behind(device, device.hw_copy_queue_t(queue_idx=number)).copy(target, source, MOVED))
        device.synchronize()
        arrived.append(read_back(device, target, MOVED))
    return arrived


def launched(device: Any) -> dict[str, object]:
    """Kernels: programs of the model's own in ELF files, launched by tinygrad's program class, a hundred times."""
    from gpumodel.dispatch import FROM_KERNARG, Code, Operation
    from tests.peer.model_elf import kernel

    tiny: Any = importlib.import_module("tinygrad.device")
    target: Any = importlib.import_module("tinygrad.helpers").Target()
    lib = kernel(Operation(Code.ADD | FROM_KERNARG, 0, 3))
    program = device.runtime(tiny.TinyELF(lib=lib, name="add", target=target, signature=()))
    counter = filled(device, bytearray(4096))
    for _ in range(100):
        program(counter, global_size=(8, 1, 1), local_size=(64, 1, 1))
    device.synchronize()
    out = bytearray(4)
    device.allocator._copyout(memoryview(out), counter)
    return {"counted": int.from_bytes(out, "little")}


def computed(device: Any) -> dict[str, object]:
    """The compute queue without kernels: barrier, two time stamps, signal, ten times over."""
    stamps: list[float] = []
    for _ in range(10):
        begin, end = device.new_signal(), device.new_signal()
        queue = behind(device, device.hw_compute_queue_t()).memory_barrier().timestamp(begin).timestamp(end)
        submit(device, queue)
        device.synchronize()
        stamps += [float(begin.timestamp), float(end.timestamp)]
    return {"stamps_rise": stamps == sorted(stamps) and stamps[0] > 0 and len(set(stamps)) == len(stamps)}


def held_back(device: Any) -> dict[str, object]:
    """The compute queue waits for a signal that the copy engine gives."""
    gate = device.new_signal(value=0)
    wanted = device.timeline_value
    submit(device, device.hw_compute_queue_t().wait(gate, 7))
    time.sleep(HELD_BACK_S)
    early = device.timeline_signal.value
    device.hw_copy_queue_t().signal(gate, 7).submit(device)
    device.synchronize()
    return {"waited": early < wanted, "went_on": device.timeline_signal.value >= wanted}


def single(count: int) -> dict[str, object]:
    (device,) = opened(count)
    told = {**about(device), **copies(device), **moved(device), **computed(device), **held_back(device)}
    return {**told, **launched(device), "every_queue": every_queue(device)}


def hive(count: int) -> dict[str, object]:
    """Each GPU's data to the next one, over XGMI addresses."""
    devices = opened(count)
    sources = [filled(device, payload(100 + index, PEER_BYTES)) for index, device in enumerate(devices)]
    arrived = []
    for index, device in enumerate(devices):
        peer = devices[(index + 1) % count]
        target = peer.allocator.alloc(PEER_BYTES)
        peer.allocator._transfer(target, sources[index], PEER_BYTES, src_dev=device, dest_dev=peer)
        device.synchronize()
        peer.synchronize()
        arrived.append(read_back(peer, target, PEER_BYTES))
    return {
        "gpus": [about(device) for device in devices],
        "in_vram": [in_vram(device, source, PEER_BYTES) for device, source in zip(devices, sources, strict=True)],
        "arrived": arrived,
    }


def killed(count: int) -> dict[str, object]:
    """Dies in the middle: queues on, work waiting, memory mapped."""
    (device,) = opened(count)
    copies(device)
    submit(device, device.hw_compute_queue_t().wait(device.new_signal(value=0), 7))
    submit(device, device.hw_copy_queue_t().wait(device.new_signal(value=0), 7))
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def tensors(count: int) -> dict[str, object]:
    """What tinygrad's compiler makes, run."""
    tensor: Any = importlib.import_module("tinygrad").Tensor
    opened(count)
    column = tensor([[float(row)] * 8 for row in range(5)], device="AMD")
    return {"added": (tensor([1.0, 2.0], device="AMD") + 1).tolist(), "product": (column @ column.T).tolist()}


RUNS: dict[str, Callable[[int], dict[str, object]]] = {
    "single": single,
    "hive": hive,
    "killed": killed,
    "tensors": tensors,
}

if __name__ == "__main__":
    print("told:" + json.dumps(RUNS[sys.argv[1]](int(sys.argv[2]))))
