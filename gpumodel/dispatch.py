"""Where shaders would run: what a dispatch is, who runs it, and a tiny program format of the model's own.

Source: Linux v7.3 amdkfd/v9_structs.h (compute registers), hardware/amd-bringup.md section 10; the AQL kernel descriptor
and its user SGPRs: HSA platform specification. A `Dispatcher` is set as `gpu.gfx.dispatcher`; the default one knows the
model's own programs and real code (gpumodel/isa); an instruction that it does not run stops the waves and is recorded
("not interpreted").

A program: a header of two dwords (MAGIC, number of operations), then 32 bytes an operation: code, a, b, c, 64 bits each.
With FROM_KERNARG (or FROM_KERNARG_B) in the code, a (or b) is the offset in kernarg memory where the address stands."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu
    from gpumodel.memory import Mapped

CLIENT_TCP = 8  # gmc_v9_0.c, client names of the GFX hub
MAGIC = 0x5047_4D47  # "GMGP"
FROM_KERNARG = 0x100
FROM_KERNARG_B = 0x200
MOST_OPERATIONS = 4096
_HEADER = struct.Struct("<II")
_OPERATION = struct.Struct("<QQQQ")
_CODE = 0xFF
_LONG = (1 << 64) - 1

Size3 = tuple[int, int, int]


class Outcome(Enum):
    """What became of the waves."""

    DONE = "ended"
    RUNNING = "still running"
    ILLEGAL = "halted at an illegal instruction"
    FAULTED = "halted by a memory violation"


class Memory(Protocol):
    """Memory as the waves see it: through the hub of their XCC, in their VMID. Raises gmc.PageFault."""

    def read(self, address: int, size: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...


class HubMemory:
    """Memory through one hub, in one VMID, in the name of one client."""

    def __init__(self, gpu: ModelGpu, hub: str, vmid: int, client: int) -> None:
        self._gpu, self._hub, self._vmid, self._client = gpu, hub, vmid, client

    def read(self, address: int, size: int) -> bytes:
        return self._gpu.gmc.read(self._hub, self._vmid, address, size, client=self._client)

    def write(self, address: int, data: bytes) -> None:
        self._gpu.gmc.write(self._hub, self._vmid, address, data, client=self._client)

    def there(self, address: int) -> bool:
        return self._gpu.gmc.there(self._hub, self._vmid, address)

    def remembered(self) -> dict[int, Any]:
        return self._gpu.gmc.remembered(self._hub, self._vmid)

    def mapped(self, address: int, write: bool) -> Mapped | None:
        return self._gpu.gmc.mapped(self._hub, self._vmid, address, write, client=self._client)


@dataclass(frozen=True, slots=True)
class WaveState:
    """The registers of one wave that could not go on, or never ended. `vgprs`: those that hold anything, a value a lane."""

    pc: int
    instruction: str
    code: tuple[int, int]  # its first two dwords
    why: str
    exec: int
    vcc: int
    m0: int
    scc: bool
    mode: int
    sgprs: tuple[int, ...]
    vgprs: dict[int, tuple[int, ...]]


def no_time() -> int:
    return 0


@dataclass(slots=True)
class Dispatch:
    """One grid. `groups` counts workgroups, `group_size` work-items of one; `user_data` are the first SGPRs.

    `threads`: work-items of the grid where the last groups are not whole. `share`: of so many XCCs that run the same grid this
    is which one; it runs every so-manieth group. `apertures`: highest 16 bits of flat addresses of LDS and scratch.
    `state`: of a wave that did not end."""

    xcc: int
    vmid: int
    program: int
    kernarg: int
    user_data: tuple[int, ...]
    groups: Size3
    group_size: Size3
    memory: Memory
    lds_bytes: int = 0
    scratch_bytes: int = 0
    resources: tuple[int, int, int] = (0, 0, 0)  # COMPUTE_PGM_RSRC1..3
    outcome: Outcome = field(default=Outcome.DONE)
    threads: Size3 | None = None
    share: tuple[int, int] = (0, 1)
    apertures: tuple[int, int] = (0, 0)
    time: Callable[[], int] = no_time
    state: WaveState | None = None


class Dispatcher(Protocol):
    """Runs the waves of a dispatch and sets its outcome. PageFault from its memory may simply pass through."""

    def run(self, dispatch: Dispatch) -> None: ...


class Code(IntEnum):
    """Operations of the model's own programs."""

    END = 0
    STORE = 1  # a: address, b: value, c: 4 or 8 bytes
    ADD = 2  # 32 bits at address a: plus b
    COPY = 3  # to address a from address b, c bytes
    LOOP = 4  # for ever
    TOUCH = 5  # read 4 bytes at address a
    ILLEGAL = 6


@dataclass(frozen=True, slots=True)
class Operation:
    code: int
    a: int = 0
    b: int = 0
    c: int = 0


def program(*operations: Operation) -> bytes:
    """The bytes of such a program."""
    body = b"".join(_OPERATION.pack(step.code, step.a & _LONG, step.b & _LONG, step.c & _LONG) for step in operations)
    return _HEADER.pack(MAGIC, len(operations)) + body


class ModelPrograms:
    """The default dispatcher. `target`: whose instructions real code has. `record` is told what it could not run."""

    def __init__(self, record: Callable[[str], None], target: str = "gfx942") -> None:
        self._record = record
        self._target = target

    def run(self, dispatch: Dispatch) -> None:
        magic, count = _HEADER.unpack(dispatch.memory.read(dispatch.program, _HEADER.size))
        if magic != MAGIC or count > MOST_OPERATIONS:
            from gpumodel.isa import launch

            launch.run(dispatch, self._target, self._record)
            return
        body = dispatch.memory.read(dispatch.program + _HEADER.size, count * _OPERATION.size)
        for code, a, b, c in _OPERATION.iter_unpack(body):
            dispatch.outcome = self._step(dispatch, Operation(code, a, b, c))
            if dispatch.outcome is not Outcome.DONE or code & _CODE == Code.END:
                return

    def _step(self, dispatch: Dispatch, step: Operation) -> Outcome:
        memory = dispatch.memory
        a = self._pointer(dispatch, step.a) if step.code & FROM_KERNARG else step.a
        b = self._pointer(dispatch, step.b) if step.code & FROM_KERNARG_B else step.b
        code = step.code & _CODE
        if code == Code.STORE:
            size = 8 if step.c == 8 else 4
            memory.write(a, (b & (1 << 8 * size) - 1).to_bytes(size, "little"))
        elif code == Code.ADD:
            old = int.from_bytes(memory.read(a, 4), "little")
            memory.write(a, (old + b & 0xFFFFFFFF).to_bytes(4, "little"))
        elif code == Code.COPY:
            memory.write(a, memory.read(b, step.c))
        elif code == Code.TOUCH:
            memory.read(a, 4)
        elif code == Code.LOOP:
            return Outcome.RUNNING
        elif code != Code.END:
            return Outcome.ILLEGAL
        return Outcome.DONE

    def _pointer(self, dispatch: Dispatch, offset: int) -> int:
        return int.from_bytes(dispatch.memory.read(dispatch.kernarg + offset, 8), "little")
