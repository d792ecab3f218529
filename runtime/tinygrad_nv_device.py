"""tinygrad's NVDevice, its interface, memory, signals and queues on top of a GPU that gpumend has opened.

What tinygrad keeps of its own: the allocator's cache, graphs, profiling. What is ours: objects of the kernel driver, memory,
rings, waits. Views of memory and the allocator are those of the AMD backend (`tinygrad_device.py`)."""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tinygrad.helpers import getenv
from tinygrad.renderer.cstyle import CUDARenderer
from tinygrad.renderer.ptx import PTXRenderer
from tinygrad.runtime import ops_nv
from tinygrad.runtime.support.hcq import HCQBuffer, HCQCompiled, HCQSignal, HWQueue, hcq_filter_visible_devices

import gpumend
from base.errors import Unavailable, UsageError
from runtime import sessions
from runtime.tinygrad_device import Allocator as _Allocator
from runtime.tinygrad_device import View

if TYPE_CHECKING:
    from gpumend import Channel, NvRaw
    from runtime.tinygrad_nv import NvSession

KERNARG_BYTES: Final = 1 << 20
SIGNAL_PAGE_BYTES: Final = 4096
WAIT_MS: Final = 30_000  # as tinygrad's HCQSignal.wait
_NANOSECONDS_PER_US: Final = 1000
_ARCHES: Final = {0xC5C0: "sm_75", 0xC6C0: "sm_80", 0xC7C0: "sm_86", 0xC9C0: "sm_89", 0xCBC0: "sm_90", 0xCDC0: "sm_100",
                  0xCEC0: "sm_120"}  # fmt: skip
_original = ops_nv.NVDevice


class GPUMENDIface:
    """What tinygrad calls the interface of an NV device; `DEV=GPUMEND+NV` names it."""

    session: NvSession

    def __init__(self, dev: Any, device_id: int) -> None:
        self.dev = dev
        self.index = self.session.open(device_id, lambda found: hcq_filter_visible_devices(found, "NV"))
        self.gpu = self.session.gpus[self.index]
        self.count = len(self.session.found())
        self.peer_group = self.session.peer_group(self.index)
        self.raw: NvRaw = self.gpu.raw

    def alloc(self, size: int, host: bool = False, uncached: bool = False, cpu_access: bool = False, **_: Any) -> Any:
        """Memory of the host, where it is asked for or both sides poll; else VRAM."""
        self.session.require_own_process()
        self.gpu.require_open("allocating memory")
        try:
            memory = self.raw.alloc(size, where="host" if host or uncached else "vram", cpu=cpu_access)
        except gpumend.OutOfMemory as error:
            raise MemoryError(str(error)) from error
        view = View(memory) if cpu_access or host else None
        return HCQBuffer(memory.gpu_va, size, meta=memory, view=view, owner=self.dev)

    def free(self, buffer: Any) -> None:
        if self.session.is_own_process:
            buffer.meta.free()

    def map(self, buffer: Any) -> Any:
        raise UsageError(
            "mapping memory for a GPU",
            expected="memory of this GPU: copies between GPUs go through the host",
            seen=f"memory of {getattr(buffer.owner, 'device', buffer.owner)}",
            next_step="copy it to the GPU: Tensor.to(...)",
        )

    def sleep(self, timeout: int) -> None:
        """Its signals wait on the GPU's clock themselves."""

    def device_fini(self) -> None:
        self.session.end(self.index)


class Signal(HCQSignal):
    """16 bytes: a value of 64 bits, and a time in nanoseconds. Waits look for Xids."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "timestamp_divider": _NANOSECONDS_PER_US})

    def wait(self, value: int, timeout: int | None = None) -> None:
        """Raises ChannelDead, DeviceLost, WaitTimeout."""
        if not self.owner.is_open:  # its end has waited for all
            return
        if self.value < value:
            view: View = self.base_buf.view
            self.owner.await_value(view.memory, view.offset, value, timeout)


class _Queue(HWQueue):
    """Methods as dwords in a list; values that are not known yet (tinygrad's symbols, in graphs) have a place in it."""

    def __init__(self, dev: Any) -> None:
        super().__init__()
        self.dev = dev
        self._packets = dev.raw.packets

    def _put(self, words: tuple[Any, ...]) -> Any:
        if all(type(word) is int for word in words):
            self._q += words
        else:
            self.q(*words)
        return self

    def wait(self, signal: Any, value: Any = 0) -> Any:
        return self._put(self._packets.acquire_words(signal.value_addr, value))

    def _send(self, dev: Any, channel: Channel) -> None:
        dev.require_usable()
        dev.raw.submit(channel, array("I", self._q).tobytes())


class CopyQueue(_Queue):
    """What tinygrad calls a copy queue, on one copy engine."""

    def __init__(self, dev: Any, queue_idx: int = 0) -> None:
        super().__init__(dev)
        self.queue_idx = queue_idx

    def copy(self, dest: Any, src: Any, copy_size: int) -> CopyQueue:
        most = self._packets.MOST_COPY_BYTES
        for at in range(0, copy_size, most):
            self._put(self._packets.copy_words(dest.va_addr + at, src.va_addr + at, min(copy_size - at, most)))
        return self

    def signal(self, signal: Any, value: Any = 0) -> Any:
        return self._put(self._packets.copy_release_words(signal.value_addr, value))

    def timestamp(self, signal: Any) -> Any:
        return self.signal(signal, 0)

    def _submit(self, dev: Any) -> None:
        self._send(dev, dev.copy_channel(self.queue_idx))


class ComputeQueue(_Queue):
    """What tinygrad calls a compute queue: signals, waits, stores."""

    def signal(self, signal: Any, value: Any = 0) -> Any:
        self._put(self._packets.release_words(signal.value_addr, value))
        return self._put(self._packets.INTERRUPT_WORDS)

    def timestamp(self, signal: Any) -> Any:
        return self._put(self._packets.release_words(signal.value_addr, 0))

    def write(self, b: Any, val: Any, b64: bool = False) -> Any:
        if b64:
            raise UsageError(
                "storing from a compute queue", expected="32 bits", seen="64: that would overwrite what follows"
            )
        return self._put(self._packets.store32_words(b.va_addr, val))

    def memory_barrier(self) -> Any:
        return self._put(self._packets.INVALIDATE_WORDS)

    def exec(self, prg: Any, args_state: Any, global_size: Any, local_size: Any) -> Any:
        raise _no_kernels(prg.name)

    def _submit(self, dev: Any) -> None:
        self._send(dev, dev.raw.compute_channel())


def _no_kernels(name: str) -> Unavailable:
    return Unavailable(
        f"running kernel {name}",
        expected="a GPU on which kernels were tried",
        seen="none: what constant bank 0 must hold on this generation is not known (docs/nvidia.md)",
        next_step="copies, fills and signals work; for kernels use tinygrad's own NV backend where it knows the GPU",
    )


class Program:
    """tinygrad asks for one when it has compiled a kernel."""

    def __init__(self, dev: Any, obj: Any) -> None:
        raise _no_kernels(obj.name)


class Allocator(_Allocator):
    """GPUs do not reach each other's memory: tinygrad copies between them through the host."""

    def __init__(self, dev: Any) -> None:
        super().__init__(dev)
        self.supports_transfer = False


class NVDevice(ops_nv.NVDevice):
    """An NV device of tinygrad that gpumend drives. The name is tinygrad's: it looks for it."""

    ifaces = (GPUMENDIface,)

    def __init__(self, device: str = "") -> None:
        self.iface = self._select_iface(device)
        self.session: NvSession = self.iface.session
        self.raw: NvRaw = self.iface.raw
        try:
            HCQCompiled.__init__(
                self,
                device,
                Allocator(self),
                [CUDARenderer, PTXRenderer],
                Program,
                Signal,
                partial(ComputeQueue, self),
                partial(CopyQueue, self),
                kernargs_size=KERNARG_BYTES,
                sigalloc_size=SIGNAL_PAGE_BYTES,
                can_recover=True,
                arch=_ARCHES[self.iface.gpu.classes.compute],
            )
        except BaseException:
            self.session.end(self.iface.index)
            raise

    @property
    def is_open(self) -> bool:
        """Whether its GPU is open, and this the process that opened it."""
        return bool(self.iface.gpu.is_open) and self.session.is_own_process

    def is_nvd(self) -> bool:
        """No GPU of tinygrad's own driver."""
        return False

    def copy_channel(self, number: int) -> Channel:
        return self.raw.copy_channel(number)

    def hw_copy_queues(self) -> list[tuple[str, Any]]:
        return [
            (f"SDMA:{number}", partial(self.hw_copy_queue_t, queue_idx=number))
            for number in range(self.iface.gpu.engines)
        ]

    def require_usable(self) -> None:
        """Raises Refused in a forked child, UsageError after the end, and what made the device unusable."""
        self.session.require_own_process()
        self.iface.gpu.require_open("using an NV device of tinygrad")
        if self.error_state is not None:
            raise self.error_state

    def synchronize(self, timeout: int | None = None) -> None:
        """Raises ChannelDead: its channel was made anew, and the next work runs."""
        self.require_usable()
        HCQCompiled.synchronize(self, timeout)

    def await_value(self, memory: Any, offset: int, value: int, timeout_ms: int | None) -> None:
        """For its signals. `timeout_ms` None: HCQDEV_WAIT_TIMEOUT_MS, else 30 s."""
        self.require_usable()
        timeout_s = (timeout_ms or getenv("HCQDEV_WAIT_TIMEOUT_MS", WAIT_MS)) / 1000
        try:
            self.raw.wait(memory, offset, value, timeout_s)
        except gpumend.ChannelDead:
            self.raw.renew()
            self.timeline_signal.value = self.timeline_value - 1  # what was lost counts as done: others may wait for it
            raise
        except gpumend.DeviceLost as error:
            self.error_state = error
            raise

    def on_device_hang(self) -> None:
        """`await_value` has done what can be done."""

    def finalize(self) -> None:
        """At the end of the process, and by `uninstall`; in a forked child it is not ours to end."""
        if not self.session.is_own_process:
            return
        try:
            self.synchronize()
        except (RuntimeError, gpumend.GpumendError) as error:
            print(f"{self.device} synchronization failed before finalizing: {error}")
        self.iface.device_fini()


def put_in_place(session: NvSession) -> None:
    """tinygrad finds our NVDevice from now on. Raises UsageError when it has opened one of its own."""
    sessions.put_in_place("NV", ops_nv, NVDevice, GPUMENDIface, session)


def take_away(session: NvSession) -> None:
    """Close what is open, and let tinygrad find its own again. The first error is raised after all was done."""
    sessions.take_away(
        "NV", ops_nv, _original, session, lambda: [session.peer_group(gpu.index) for gpu in session.found()]
    )
