"""tinygrad's AMDDevice, its interface, memory and signals on top of a GPU that gpumend has opened.

What tinygrad keeps of its own: the renderers, the allocator's cache, graphs, profiling, how a kernel's ELF file is laid out.
What is ours: bring-up, memory and page tables, the rings (`tinygrad_queues.py`), waiting on the GPU's clock, recovery.
Scratch: as tinygrad's AMDDevice._ensure_has_local_memory computes it, for AQL."""

from __future__ import annotations

import array
import struct
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tinygrad.device import Compiled
from tinygrad.helpers import PROFILE, cpu_profile, getenv
from tinygrad.renderer.cstyle import HIPCCRenderer, HIPRenderer
from tinygrad.renderer.llvmir import AMDLLVMRenderer
from tinygrad.runtime import ops_amd
from tinygrad.runtime.support.hcq import (
    CLikeArgsState,
    HCQAllocator,
    HCQBuffer,
    HCQCompiled,
    MMIOInterface,
    hcq_filter_visible_devices,
    hcq_profile,
)

import gpumend
from base.errors import UsageError, WaitTimeout
from runtime import sessions
from runtime.tinygrad import DispatchFailed
from runtime.tinygrad_queues import ComputeQueue, CopyQueue, IndirectRing

if TYPE_CHECKING:
    from gpumend import NvRawMemory, Raw, RawMemory, SdmaQueue
    from runtime.tinygrad import Session

STAGING_BYTES: Final = 2 << 20
STAGINGS: Final = 4
KERNARG_BYTES: Final = 16 << 20
SIGNAL_PAGE_BYTES: Final = 4096
WAIT_MS: Final = 30_000  # as tinygrad's HCQSignal.wait
SETTLE_S: Final = 5e-3  # how long an engine may take over a step while the timeline is put right
_TICKS_PER_US: Final = 100
_SCRATCH_ALIGNMENT: Final = 1024  # of a wave's scratch on gfx9
_LANES: Final = 64
_original = ops_amd.AMDDevice


class View(MMIOInterface):
    """Memory of a GPU as tinygrad looks at memory: elements of a struct format; every access goes through the driver."""

    def __init__(
        self, memory: RawMemory | NvRawMemory, offset: int = 0, nbytes: int | None = None, fmt: str = "B"
    ) -> None:
        self.memory, self.offset, self.fmt = memory, offset, fmt
        self.nbytes = memory.size - offset if nbytes is None else nbytes
        self._each = struct.calcsize(fmt)

    def __len__(self) -> int:
        return int(self.nbytes // self._each)

    def view(self, offset: int = 0, size: int | None = None, fmt: str | None = None) -> View:
        return View(self.memory, self.offset + offset, size or self.nbytes - offset, fmt or self.fmt)

    def __getitem__(self, index: int | slice) -> Any:
        start, count = self._range(index)
        data = self.memory.read(self.offset + start * self._each, count * self._each)
        if isinstance(index, slice):
            return data if self.fmt == "B" else list(struct.unpack(f"<{count}{self.fmt}", data))
        return struct.unpack(f"<{self.fmt}", data)[0]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        start, count = self._range(index)
        if not isinstance(index, slice):
            data = struct.pack(f"<{self.fmt}", value)
        elif isinstance(value, array.array | bytes | bytearray | memoryview):
            data = bytes(memoryview(value).cast("B"))
        else:
            data = struct.pack(f"<{count}{self.fmt}", *value)
        if len(data) != count * self._each:
            raise ValueError(f"{len(data)} bytes for a view of {count * self._each}")
        self.memory.write(self.offset + start * self._each, data)

    def _range(self, index: int | slice) -> tuple[int, int]:
        if not isinstance(index, slice):
            if not 0 <= index < len(self):
                raise IndexError(f"element {index} of {len(self)}")
            return index, 1
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("a view has no steps")
        return start, max(0, stop - start)


class GPUMENDIface:
    """What tinygrad calls the interface of an AMD device; `DEV=GPUMEND+AMD` names it."""

    session: Session

    def __init__(self, dev: Any, device_id: int) -> None:
        self.dev = dev
        self.index, self.count = self.session.open(device_id, lambda found: hcq_filter_visible_devices(found, "AMD"))
        self.gpu = self.session.gpus[self.index]
        self.peer_group = self.session.peer_group
        self.raw: Raw = self.gpu.raw
        shape = self.raw.shape
        arrays = shape.arrays_per_engine * shape.shader_engines * shape.xccs
        gc = 10000 * shape.gc[0] + 100 * shape.gc[1] + shape.gc[2]
        self.props: dict[str, int] = {
            "cu_per_simd_array": shape.cus_per_array,
            "simd_count": 2 * shape.cus_per_array * arrays,
            "simd_per_cu": 2,
            "array_count": arrays,
            "max_slots_scratch_cu": shape.scratch_slots_per_cu,
            "max_waves_per_simd": shape.waves_per_simd,
            "simd_arrays_per_engine": shape.arrays_per_engine,
            "lds_size_in_kb": shape.lds_kib,
            "num_xcc": shape.xccs,
            "gfx_target_version": {90403: 90402}.get(gc, gc),  # GC 9.4.3 runs code of gfx942
        }
        self.ip_versions = {"GC": shape.gc, "SDMA0": shape.sdma, "NBIF": shape.nbio}

    # ---- memory

    def alloc(self, size: int, host: bool = False, uncached: bool = False, cpu_access: bool = False, **_: Any) -> Any:
        """As tinygrad's own interface: memory of the host, where it is asked for or both sides poll; else VRAM."""
        self.session.require_own_process()
        self.gpu.require_open("allocating memory")
        try:
            if host or (uncached and cpu_access):
                memory = self.raw.alloc(size, where="host", uncached=True)
            else:
                memory = self.raw.alloc(size, uncached=uncached, cpu=cpu_access)
        except (gpumend.OutOfMemory, UsageError) as error:  # no room now, or more than there is
            raise MemoryError(str(error)) from error
        view = View(memory) if cpu_access or host else None
        return HCQBuffer(memory.gpu_va, size, meta=memory, view=view, owner=self.dev)

    def free(self, buffer: Any) -> None:
        if self.session.is_own_process:
            buffer.meta.free()

    def map(self, buffer: Any) -> Any:
        """Memory of another GPU of this session, at the same address."""
        owner = buffer.owner
        if owner is None or not isinstance(getattr(owner, "iface", None), GPUMENDIface):
            raise UsageError(
                "mapping memory for a GPU",
                expected="memory of a GPU of this session",
                seen=f"memory of {getattr(owner, 'device', owner)}",
                next_step="copy it to the GPU: Tensor.to(...)",
            )
        return HCQBuffer(buffer.va_addr, buffer.size, meta=self.raw.map_other(buffer.meta), owner=owner)

    # ---- what the rest of tinygrad asks an interface

    def sleep(self, timeout: int) -> None:
        """Its signals wait on the GPU's clock themselves."""

    def device_fini(self) -> None:
        self.session.finish(self.index)


class Signal(ops_amd.AMDSignal):
    """16 bytes: a value of 64 bits, and a time. Waits pass the time of the GPU's clock, and look for faults."""

    def wait(self, value: int, timeout: int | None = None) -> None:
        """Raises DispatchFailed when work of this GPU, or of another one of the session, is stuck."""
        if not self.owner.is_open:  # its end has waited for all
            return
        view: View = self.base_buf.view
        if self.value < value:
            self.owner.await_value(view.memory, view.offset, value, timeout)


class Arguments(CLikeArgsState):
    """Kernel arguments; when all are known they are written at once."""

    def __init__(self, buf: Any, prg: Any, bufs: Any, vals: Any = (), prefix: Any = None) -> None:
        addresses = [one.va_addr for one in bufs]
        if vals or prefix is not None or not all(type(one) is int for one in addresses):
            super().__init__(buf, prg, bufs, vals=vals, prefix=prefix)
            return
        self.buf, self.prg, self.bufs, self.vals = buf, prg, bufs, vals
        self.bind_data: list[Any] = []
        if addresses:
            view: View = buf.view
            view.memory.write(view.offset, struct.pack(f"<{len(addresses)}Q", *addresses))


class Program(ops_amd.AMDProgram):
    """A kernel: tinygrad reads its ELF file and loads it; its arguments are packed by us."""

    def __init__(self, dev: Any, obj: Any) -> None:
        super().__init__(dev, obj)
        self.args_state_t = Arguments


class Allocator(HCQAllocator):
    """VRAM, and copies: through a few pieces of host memory that an SDMA engine reads and writes, or straight (see install)."""

    def __init__(self, dev: Any) -> None:
        super().__init__(dev, copy_bufs=[None], supports_copy_from_disk=True, supports_transfer=True)
        self._stagings: list[Any] = []
        self._busy: list[int] = []  # the timeline's value after which each is free
        self._turn = 0
        staging = dev.session.staging
        self._straight = not (dev.raw.on_host if staging is None else staging)

    def _alloc(self, size: int, options: Any) -> Any:
        return self.dev.iface.alloc(size, host=options.host, uncached=options.uncached, cpu_access=options.cpu_access)

    def _free(self, buf: Any, options: Any = None) -> None:
        """What outlives its GPU was given back when that was closed."""
        if self.dev.is_open:
            super()._free(buf, options)

    def _do_free(self, opaque: Any, options: Any) -> None:
        self.dev.iface.free(opaque)

    def _do_map(self, buf: Any) -> Any:
        return self.dev.iface.map(buf.base)

    def _staging(self) -> int:
        """A piece that is not in use; its number."""
        if len(self._stagings) < STAGINGS:
            self._stagings.append(self.dev.iface.alloc(STAGING_BYTES, host=True))
            self._busy.append(0)
            return len(self._stagings) - 1
        self._turn = (self._turn + 1) % STAGINGS
        self.dev.timeline_signal.wait(self._busy[self._turn])
        return self._turn

    def _queue(self) -> Any:
        return self.dev.hw_copy_queue_t().wait(self.dev.timeline_signal, self.dev.timeline_value - 1)

    def _hand_over(self, queue: Any) -> int:
        """The timeline's value when it is done."""
        value: int = self.dev.next_timeline()
        queue.signal(self.dev.timeline_signal, value).submit(self.dev)
        return value

    def _copyin(self, dest: Any, src: memoryview) -> None:
        data = src.cast("B")
        if self._straight:
            self.dev.synchronize()
            with cpu_profile(f"TINY -> {self.dev.device}", f"{self.dev.device}:COPY"):
                first = dest.va_addr - dest.meta.gpu_va
                for at in range(0, data.nbytes, STAGING_BYTES):  # a copy of all of it would cost more than its way
                    dest.meta.write(first + at, bytes(data[at : at + STAGING_BYTES]))
            return
        with self._profiled(f"TINY -> {self.dev.device}"):
            for at in range(0, data.nbytes, STAGING_BYTES):
                part = data[at : at + STAGING_BYTES]
                number = self._staging()
                staging = self._stagings[number]
                staging.meta.write(0, bytes(part))
                self._busy[number] = self._hand_over(self._queue().copy(dest.offset(at), staging, part.nbytes))

    def _copyout(self, dest: memoryview, src: Any) -> None:
        """All pieces are asked for before the first is waited for, as far as there are some."""
        self.dev.synchronize()
        data = dest.cast("B")
        if self._straight:
            with cpu_profile(f"{self.dev.device} -> TINY", f"{self.dev.device}:COPY"):
                first = src.va_addr - src.meta.gpu_va
                for at in range(0, data.nbytes, STAGING_BYTES):
                    part = data[at : at + STAGING_BYTES]
                    part[:] = src.meta.read(first + at, part.nbytes)
            return
        asked: deque[tuple[int, int, int, int]] = deque()
        with self._profiled(f"{self.dev.device} -> TINY"):
            for at in range(0, data.nbytes, STAGING_BYTES):
                if len(asked) == STAGINGS:
                    self._fetch(data, *asked.popleft())
                count = min(STAGING_BYTES, data.nbytes - at)
                number = self._staging()
                value = self._hand_over(self._queue().copy(self._stagings[number], src.offset(at), count))
                self._busy[number] = value
                asked.append((at, count, number, value))
            while asked:
                self._fetch(data, *asked.popleft())

    def _fetch(self, data: memoryview, at: int, count: int, number: int, value: int) -> None:
        self.dev.timeline_signal.wait(value)
        data[at : at + count] = self._stagings[number].meta.read(0, count)

    def copy_from_disk(self, dest: Any, src: Any, size: int) -> None:
        """By way of memory of this process: an asynchronous read would have to know where our pieces lie."""
        part = memoryview(bytearray(min(size, STAGING_BYTES)))
        for at in range(0, size, STAGING_BYTES):
            count = min(STAGING_BYTES, size - at)
            src.device.allocator._copyout(part[:count], src.device.allocator._offset(src, count, at))
            self._copyin(dest.offset(at), part[:count])

    def _profiled(self, text: str) -> Any:
        return hcq_profile(
            self.dev, queue_type=self.dev.hw_copy_queue_t, desc=text, enabled=bool(PROFILE), dev_suff="SDMA:0"
        )


class AMDDevice(ops_amd.AMDDevice):
    """An AMD device of tinygrad that gpumend drives. The name is tinygrad's: it looks for it."""

    ifaces = (GPUMENDIface,)

    def __init__(self, device: str = "") -> None:
        self.iface = self._select_iface(device)
        self.session: Session = self.iface.session
        self.raw: Raw = self.iface.raw
        try:
            self._set_up(device)
        except BaseException:
            self.session.give_up(self.iface.index)
            raise

    def _set_up(self, device: str) -> None:
        props = self.iface.props
        version = props["gfx_target_version"]
        self.target: tuple[int, ...] = (version // 10000, version // 100 % 100, version % 100)
        self.xccs, self.is_aql = props["num_xcc"], True
        self.se_cnt = props["array_count"] // props["simd_arrays_per_engine"] // self.xccs
        self.cu_cnt = props["simd_count"] // props["simd_per_cu"] // self.xccs
        self.waves_per_cu = props["max_waves_per_simd"] * props["simd_per_cu"]
        self.pmc_enabled = self.sqtt_enabled = False
        if PROFILE > 0 and (ops_amd.PMC > 0 or ops_amd.SQTT > 0):
            raise UsageError(
                f"opening {device}",
                expected="profiling without PMC and SQTT",
                seen=f"PMC={int(ops_amd.PMC)} SQTT={int(ops_amd.SQTT)}",
                next_step="PROFILE=1 alone: times of kernels and copies",
            )
        self.compute_queue = self.raw.compute_queue()
        self.indirect = IndirectRing(self.raw, self.compute_queue)
        self.has_sdma_queue = True
        self.sdma_queues: dict[int, SdmaQueue] = {}
        self._expected: deque[int] = deque()  # values that the compute queue will give the timeline
        HCQCompiled.__init__(
            self,
            device,
            Allocator(self),
            [HIPRenderer, AMDLLVMRenderer, HIPCCRenderer],
            Program,
            Signal,
            partial(ComputeQueue, self),
            partial(CopyQueue, self),
            kernargs_size=KERNARG_BYTES,
            sigalloc_size=SIGNAL_PAGE_BYTES,
            can_recover=True,
            arch=f"gfx{self.target[0]}{self.target[1]:x}{self.target[2]:x}",
        )
        self.max_private_segment_size = 0
        self._ensure_has_local_memory(128)

    @property
    def is_open(self) -> bool:
        """Whether its GPU is open, and this the process that opened it."""
        return bool(self.iface.gpu.is_open) and self.session.is_own_process

    def is_am(self) -> bool:
        """No events of the kernel's driver: waits look at memory."""
        return True

    def is_usb(self) -> bool:
        return False

    # ---- queues

    def sdma(self, number: int) -> SdmaQueue:
        """The ring of an engine."""
        if number not in self.sdma_queues:
            self.sdma_queues[number] = self.raw.copy_queue(number)
        return self.sdma_queues[number]

    def hw_copy_queues(self) -> list[tuple[str, Any]]:
        return [(f"SDMA:{number}", partial(self.hw_copy_queue_t, queue_idx=number)) for number in self.sdma_queues]

    def expect(self, value: int) -> None:
        """The compute queue was given work that ends with this value of the timeline."""
        self._expected.append(value)

    def require_usable(self) -> None:
        """Raises Refused in a forked child, Closed after the end, and what made the device unusable."""
        self.session.require_own_process()
        self.iface.gpu.require_open("using an AMD device of tinygrad")
        if self.error_state is not None:
            raise self.error_state

    # ---- waiting

    def synchronize(self, timeout: int | None = None) -> None:
        """Raises DispatchFailed: its queue was freed, and the next work runs."""
        self.require_usable()
        if not hasattr(self, "timeline_signal"):
            return
        for one in HCQCompiled.cpu_devices:
            one.synchronize()
        self.timeline_signal.wait(self.timeline_value - 1, timeout=timeout)
        self._expected.clear()
        if self.timeline_value > 1 << 31:
            self._wrap_timeline_signal()
        if PROFILE:
            self._keep_profile()

    def _keep_profile(self) -> None:
        from tinygrad.helpers import ProfileRangeEvent

        records: list[Any] = self.sig_prof_records
        self.sig_prof_records: list[Any] = []
        Compiled.profile_events += [
            ProfileRangeEvent(dev, name, st.timestamp, en.timestamp, key) for st, en, name, dev, key in records
        ]

    def await_value(self, memory: RawMemory, offset: int, value: int, timeout_ms: int | None) -> None:
        """For its signals. `timeout_ms` None: HCQDEV_WAIT_TIMEOUT_MS, else 30 s."""
        self.require_usable()
        timeout_s = (timeout_ms or getenv("HCQDEV_WAIT_TIMEOUT_MS", WAIT_MS)) / 1000
        try:
            try:
                self.raw.wait(memory, offset, value, timeout_s)
            except gpumend.KernelHung as error:
                self.put_right(error)
            except WaitTimeout as late:
                self._find_stuck(late)
                raise
        except (gpumend.RecoveryFailed, gpumend.DeviceLost) as error:
            self.error_state = error
            raise

    def _find_stuck(self, late: WaitTimeout) -> None:
        """The work of another GPU may be what is waited for. Whose queues merely wait comes last."""
        others = [one for one in HCQCompiled.peer_groups[self.peer_group] if one is not self]
        for device, also_waiting in [*((one, False) for one in others), *((one, True) for one in (self, *others))]:
            try:
                device.raw.free_stuck(late, also_waiting=also_waiting)
            except gpumend.KernelHung as error:
                device.put_right(error)

    def put_right(self, error: gpumend.KernelHung) -> None:
        """After a recovery: what was lost counts as done, so that whoever waits for it goes on; then tell of it."""
        self.indirect.forget()
        wanted = self.timeline_value - 1
        lost = set(self._expected)
        self._expected.clear()
        clock = self.iface.gpu.clock
        limit = clock.now() + SETTLE_S
        while (seen := self.timeline_signal.value) < wanted:
            if seen + 1 in lost:
                self.timeline_signal.value = seen + 1
                limit = clock.now() + SETTLE_S
            elif clock.now() < limit:
                clock.sleep(SETTLE_S / 50)
            else:
                break
        self.raw.settle()
        self.timeline_signal.value = wanted
        raise DispatchFailed(error) from error

    def on_device_hang(self) -> None:
        """`await_value` has done what can be done."""

    # ---- scratch

    def _ensure_has_local_memory(self, private_segment_size: int) -> None:
        if self.max_private_segment_size >= private_segment_size:
            return
        step = _SCRATCH_ALIGNMENT // _LANES
        per_thread = -(-private_segment_size // step) * step
        slots = self.iface.props["max_slots_scratch_cu"] * self.cu_cnt
        per_xcc = per_thread * _LANES * slots
        self.scratch, enough = self._realloc(getattr(self, "scratch", None), per_xcc * self.xccs)
        if not enough:
            return
        wave_units = -(-_LANES * per_thread // _SCRATCH_ALIGNMENT)
        waves = min(per_xcc // (wave_units * _SCRATCH_ALIGNMENT), slots * self.xccs)
        self.tmpring_size = waves | wave_units << 12
        self.max_private_segment_size = private_segment_size
        self.compute_queue.set_scratch(
            address=self.scratch.va_addr,
            lane_bytes=private_segment_size,
            tmpring_size=self.tmpring_size,
            resource=_scratch_resource(self.scratch.va_addr, per_xcc),
            cus=self.cu_cnt * self.xccs,
            waves_per_cu=self.waves_per_cu,
        )

    def finalize(self) -> None:
        """At the end of the process, and by `uninstall`; in a forked child it is not ours to end."""
        if not self.session.is_own_process:
            return
        try:
            self.synchronize()
        except (RuntimeError, gpumend.GpumendError) as error:
            print(f"{self.device} synchronization failed before finalizing: {error}")
        self.iface.device_fini()


def _scratch_resource(address: int, per_xcc: int) -> tuple[int, int, int, int]:
    """The buffer resource of all scratch: swizzled, elements of 4 bytes, 64 lanes side by side, lane number added."""
    from tinygrad.runtime.autogen import hsa

    high = hsa.union_SQ_BUF_RSRC_WORD1_bitfields(BASE_ADDRESS_HI=address >> 32, SWIZZLE_ENABLE=1)
    last = hsa.union_SQ_BUF_RSRC_WORD3_bitfields(
        DST_SEL_X=hsa.SQ_SEL_X,
        DST_SEL_Y=hsa.SQ_SEL_Y,
        DST_SEL_Z=hsa.SQ_SEL_Z,
        DST_SEL_W=hsa.SQ_SEL_W,
        ADD_TID_ENABLE=1,
        TYPE=hsa.SQ_RSRC_BUF,
        NUM_FORMAT=hsa.BUF_NUM_FORMAT_UINT,
        DATA_FORMAT=hsa.BUF_DATA_FORMAT_32,
        ELEMENT_SIZE=1,
        INDEX_STRIDE=3,
    )
    words = (int.from_bytes(bytes(word), "little") for word in (high, last))
    second, fourth = words
    return address & 0xFFFF_FFFF, second, per_xcc & 0xFFFF_FFFF, fourth


def put_in_place(session: Session) -> None:
    """tinygrad finds our AMDDevice from now on. Raises UsageError when it has opened one of its own."""
    sessions.put_in_place("AMD", ops_amd, AMDDevice, GPUMENDIface, session)


def take_away(session: Session) -> None:
    """Close what is open, and let tinygrad find its own again. The first error is raised after all was done."""
    sessions.take_away("AMD", ops_amd, _original, session, lambda: [session.peer_group])
