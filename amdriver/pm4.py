"""PM4 packets for the compute engines (MEC) of GC 9.4.3 and 9.5.0: builders that return bytes.

    pm4.kernel_fence(address, 7)                       # RELEASE_MEM as the kernel's compute rings write it
    pm4.set_sh_reg(0x2E0C, [program >> 8 & 0xFFFFFFFF, program >> 40])
    pm4_decode.decode(words)                           # "WAIT_REG_MEM memory EQUAL address=0x1000 reference=0x1 ..."

Source: Linux v7.3 gfx_v9_4_3.c (what the kernel's rings and its KIQ send); the layout of each packet: `pm4_fields`.
Registers are dword numbers local to the XCC that runs the packet: segment 0 of GC begins at 0x2000, segment 1 at 0xA000.
The first field of a header is the payload's length in dwords, less one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from amdriver.packets import (
    U32,
    Shape,
    check_address,
    check_range,
    pack_words,
    refused,
)
from amdriver.pm4_fields import (
    ACQUIRE_ACTIONS,
    ACQUIRE_MEM,
    ACQUIRE_POLL_INTERVAL,
    COPY_DATA,
    DISPATCH_DIRECT,
    EVENT_WRITE,
    INDIRECT_BUFFER,
    INVALIDATE_TLBS,
    KIQ_POLL_INTERVAL,
    MAP_QUEUES,
    NOP_LIMIT_DWORDS,
    ONE_DWORD_NOP,
    PAYLOAD_LIMIT_DWORDS,
    PRED_EXEC,
    QUERY_STATUS,
    RANGES,
    RELEASE_ACTIONS,
    RELEASE_MEM,
    RUN_LIST_SHAPE,
    SET_CONFIG_REG,
    SET_RESOURCES,
    SET_SH_REG,
    SET_UCONFIG_REG,
    UNMAP_QUEUES,
    WAIT_MEMORY,
    WAIT_REGISTER,
    WRITE_DATA,
    WRITE_REGISTER,
    CopyFrom,
    CopyTo,
    Event,
    Function,
    Operation,
    QueueEngine,
    QueueSelect,
    ReleaseData,
    ReleaseInterrupt,
    UnmapAction,
    WriteTo,
    header,
)
from registers.amd.structs_pm4 import Op, Value

_U32 = struct.Struct("<I")


def _with_payload(shape: Shape, payload: bytes, **values: int) -> bytes:
    count = shape.dwords - 1 + len(payload) // 4
    if count > PAYLOAD_LIMIT_DWORDS:
        raise refused(
            shape.name,
            f"at most {PAYLOAD_LIMIT_DWORDS - shape.dwords + 1} dwords of data",
            f"{len(payload) // 4} dwords",
        )
    start = shape.build(**values)
    return _U32.pack(int.from_bytes(start[:4], "little") | (count - 1) << 16) + start[4:] + payload


def nop(dwords: int = 1) -> bytes:
    """Nothing, `dwords` long in all. One dword is the special form 0xFFFF1000; longer ones are filled with it."""
    check_range("PM4 NOP", "dwords", dwords, 1, NOP_LIMIT_DWORDS)
    if dwords == 1:
        return _U32.pack(ONE_DWORD_NOP)
    return _U32.pack(header(Op.NOP, dwords - 1)) + _U32.pack(ONE_DWORD_NOP) * (dwords - 1)


def acquire_mem(*actions: str, base: int = 0, size_bytes: int = 0) -> bytes:
    """Invalidate caches before reading what others wrote. Without names: what the kernel asks for (icache, kcache, tc, tcl1,
    tc_wb); without a size: everything. Names are those of ACQUIRE_ACTIONS; base and size in units of 256 bytes."""
    names = actions or ("icache", "kcache", "tc", "tcl1", "tc_wb")
    for name in names:
        if name not in ACQUIRE_ACTIONS:
            raise refused(ACQUIRE_MEM.name, f"actions out of {' '.join(ACQUIRE_ACTIONS)}", name)
    flags = dict.fromkeys(names, 1)
    if not size_bytes:
        if base:
            raise refused(ACQUIRE_MEM.name, "a size with the base", f"base={base:#x} size_bytes=0")
        return ACQUIRE_MEM.build(size_256b=(1 << 56) - 1, interval=ACQUIRE_POLL_INTERVAL, **flags)
    check_address(ACQUIRE_MEM.name, "base", base, 256, max(1, size_bytes))
    if size_bytes < 0 or size_bytes % 256:
        raise refused(ACQUIRE_MEM.name, "size_bytes a multiple of 256", f"size_bytes={size_bytes}")
    return ACQUIRE_MEM.build(base_256b=base >> 8, size_256b=size_bytes >> 8, interval=ACQUIRE_POLL_INTERVAL, **flags)


def release_mem(
    addr: int,
    value: int = 0,
    *,
    data: ReleaseData = ReleaseData.WHOLE_64,
    interrupt: ReleaseInterrupt = ReleaseInterrupt.NONE,
    actions: Sequence[str] = ("tcl1", "tc", "tc_wb", "tc_md"),
    event: Event = Event.CACHE_FLUSH_AND_INV_TS,
    index: int = 5,
) -> bytes:
    """When all before it is done: write back and invalidate caches, then write (a value or a clock), then interrupt.

    8-byte aligned for 64-bit data, 4 for 32-bit. Actions: tcl1 tc tc_wb tc_nc tc_wc tc_md tcl1_vol tc_vol."""
    name = RELEASE_MEM.name
    known = [field.name for field in RELEASE_ACTIONS]
    for action in actions:
        if action not in known:
            raise refused(name, f"actions out of {' '.join(known)}", action)
    if data is ReleaseData.NONE:
        check_range(name, "address without data", addr, 0, 0)
    else:
        check_address(name, "address", addr, 4 if data is ReleaseData.LOW_32 else 8, 8)
    if data is ReleaseData.LOW_32:
        check_range(name, "value", value, 0, U32)
    return RELEASE_MEM.build(
        event=event, index=index, interrupt=interrupt, data=data, address=addr, value=value, **dict.fromkeys(actions, 1)
    )


def kernel_fence(
    addr: int, sequence: int, *, wide: bool = True, interrupt: bool = False, write_back_only: bool = False
) -> bytes:
    """RELEASE_MEM with the flags of the kernel's compute fence."""
    return release_mem(
        addr,
        sequence,
        data=ReleaseData.WHOLE_64 if wide else ReleaseData.LOW_32,
        interrupt=ReleaseInterrupt.AFTER_WRITE if interrupt else ReleaseInterrupt.NONE,
        actions=("tc_wb", "tc_nc") if write_back_only else ("tcl1", "tc", "tc_wb", "tc_md"),
    )


def wait_memory(
    addr: int,
    reference: int,
    mask: int = U32,
    function: Function = Function.EQUAL,
    *,
    interval: int = 4,
    preemptable: bool = False,
) -> bytes:
    """Wait until (dword at `addr` & mask) FUNCTION reference."""
    return WAIT_MEMORY.build(
        function=function,
        operation=Operation.WAIT_PREEMPTABLE if preemptable else Operation.WAIT,
        address=addr,
        reference=reference,
        mask=mask,
        interval=interval,
    )


def wait_register(
    register: int,
    reference: int,
    mask: int = U32,
    function: Function = Function.EQUAL,
    *,
    interval: int = KIQ_POLL_INTERVAL,
) -> bytes:
    """Wait until (register & mask) FUNCTION reference."""
    return WAIT_REGISTER.build(function=function, register=register, reference=reference, mask=mask, interval=interval)


def write_then_wait(request: int, done: int, reference: int, mask: int, *, interval: int = KIQ_POLL_INTERVAL) -> bytes:
    """Write the reference to register `request`, wait until (register `done` & mask) equals it: an HDP flush, a TLB flush."""
    return WAIT_REGISTER.build(
        function=Function.EQUAL,
        operation=Operation.WRITE_THEN_WAIT,
        register=request,
        done=done,
        reference=reference,
        mask=mask,
        interval=interval,
    )


def write_data(
    addr: int,
    data: Sequence[int] | bytes,
    *,
    to: WriteTo = WriteTo.MEMORY,
    confirm: bool = True,
    one_address: bool = False,
) -> bytes:
    """Write dwords to memory; `confirm` waits until they have arrived, `one_address` writes all to the same place."""
    if to not in (WriteTo.MEMORY, WriteTo.L2):
        raise refused(WRITE_DATA.name, "to MEMORY or L2", to.name, "registers: pm4.write_register")
    payload = pack_words(WRITE_DATA.name, data)
    check_address(WRITE_DATA.name, "address", addr, 4, len(payload))
    return _with_payload(WRITE_DATA, payload, to=to, address=addr, confirm=confirm, one_address=one_address)


def write_register(
    register: int, data: Sequence[int] | bytes, *, confirm: bool = True, one_address: bool = False
) -> bytes:
    """Write registers from `register` on by WRITE_DATA, which reaches all 2^18 of them. The KIQ of the kernel sets
    one_address and does not wait for the confirmation."""
    payload = pack_words(WRITE_REGISTER.name, data)
    check_range(WRITE_REGISTER.name, "last register", register + len(payload) // 4 - 1, 0, 0x3FFFF)
    return _with_payload(
        WRITE_REGISTER, payload, to=WriteTo.REGISTER, register=register, confirm=confirm, one_address=one_address
    )


def copy_data(
    source: CopyFrom, source_at: int, target: CopyTo, target_at: int, *, wide: bool = False, confirm: bool = True
) -> bytes:
    """Copy 4 or (wide) 8 bytes between register, memory and the clock.

    source_at, target_at: register number, address, the value itself for IMMEDIATE, 0 for GPU_CLOCK."""
    name = COPY_DATA.name
    alignment = 8 if wide else 4
    for label, kind, value in (("source", source.name, source_at), ("target", target.name, target_at)):
        if kind in ("MEMORY", "L2"):
            check_address(name, label, value, alignment, alignment)
        elif kind in ("REGISTER", "PERFCOUNTER"):
            check_range(name, label, value, 0, 0x3FFFF)
        elif kind == "GPU_CLOCK":
            check_range(name, label, value, 0, 0)
        else:
            check_range(name, label, value, 0, (1 << 8 * alignment) - 1)
    return COPY_DATA.build(
        **{"from": source}, source=source_at, to=target, target=target_at, wide=wide, confirm=confirm
    )


@lru_cache(maxsize=1)
def dispatch_initiator() -> int:
    """COMPUTE_DISPATCH_INITIATOR of a plain launch: shaders on, workgroups counted from 0, 0, 0."""
    from registers.amd.gc_9_4_3 import COMPUTE_DISPATCH_INITIATOR_t

    return COMPUTE_DISPATCH_INITIATOR_t.of(COMPUTE_SHADER_EN=1, FORCE_START_AT_000=1).value


def dispatch_direct(x: int, y: int = 1, z: int = 1, initiator: int | None = None) -> bytes:
    """Start x * y * z workgroups of the kernel that the SH registers describe."""
    for name, count in (("x", x), ("y", y), ("z", z)):
        check_range(DISPATCH_DIRECT.name, name, count, 1, U32)
    return DISPATCH_DIRECT.build(x=x, y=y, z=z, initiator=dispatch_initiator() if initiator is None else initiator)


def indirect_buffer(base: int, dwords: int, vmid: int = 0, *, chain: bool = False) -> bytes:
    """Run `dwords` at `base`; `chain` goes there and does not come back."""
    check_range(INDIRECT_BUFFER.name, "dwords", dwords, 1, INDIRECT_BUFFER.by_name["dwords"].mask)
    return INDIRECT_BUFFER.build(base=base, dwords=dwords, vmid=vmid, chain=chain, valid=1)


def event_write(event: Event = Event.CS_PARTIAL_FLUSH, index: int | None = None) -> bytes:
    """An event without a write; CS_PARTIAL_FLUSH (index 4) waits until all waves have ended."""
    if index is None:
        index = Value.EVENT_WRITE__EVENT_INDEX__CS_PARTIAL_FLUSH if event is Event.CS_PARTIAL_FLUSH else 0
    return EVENT_WRITE.build(event=event, index=index)


def set_sh_reg(register: int, values: Sequence[int] | bytes) -> bytes:
    """Persistent compute state, registers 0x2C00..0x2FFF of the XCC."""
    return _set_registers(SET_SH_REG, Op.SET_SH_REG, register, values)


def set_uconfig_reg(register: int, values: Sequence[int] | bytes) -> bytes:
    """Registers 0xC000..0xC3FF of the XCC, the scratch registers among them."""
    return _set_registers(SET_UCONFIG_REG, Op.SET_UCONFIG_REG, register, values)


def set_config_reg(register: int, values: Sequence[int] | bytes) -> bytes:
    """Registers 0x2000..0x2BFF of the XCC."""
    return _set_registers(SET_CONFIG_REG, Op.SET_CONFIG_REG, register, values)


def _set_registers(shape: Shape, op: Op, register: int, values: Sequence[int] | bytes) -> bytes:
    payload = pack_words(shape.name, values)
    begin, end = RANGES[op]
    last = register + len(payload) // 4 - 1
    if not begin <= register <= last < end:
        raise refused(
            shape.name,
            f"registers in {begin:#x}..{end - 1:#x}",
            f"{register:#x}..{last:#x}",
            "others: pm4.write_register; numbers are local to the XCC, so the base of XCC 0 must be used",
        )
    return _with_payload(shape, payload, offset=register - begin)


def pred_exec(xcc_mask: int, dwords: int) -> bytes:
    """Only the XCCs of the mask (bit n: logical XCC n) run the next `dwords`; the others skip them."""
    check_range(PRED_EXEC.name, "xcc_mask", xcc_mask, 1, 0xFF)
    check_range(PRED_EXEC.name, "dwords", dwords, 1, PRED_EXEC.by_name["dwords"].mask)
    return PRED_EXEC.build(xcc_mask=xcc_mask, dwords=dwords)


def only_on(xcc_mask: int, packets: bytes) -> bytes:
    """PRED_EXEC in front of these packets."""
    return pred_exec(xcc_mask, len(packets) // 4) + packets


def set_resources(
    queue_mask: int,
    *,
    vmid_mask: int = 0,
    unmap_latency: int = 0,
    queue_type: int = 0,
    cleaner_shader: int = 0,
    gws_mask: int = 0,
    xnack_retry_disable_check: bool = False,
) -> bytes:
    """What the scheduler may use. From the KIQ (queue type 0) only the queue mask counts, and words 5 and 6 carry the address
    of the cleaner shader (256-byte aligned); from the HIQ (type 1) they are the GWS mask. The KFD sets the check (bit 28)
    where XNACK can be chained."""
    if cleaner_shader and gws_mask:
        raise refused(SET_RESOURCES.name, "a cleaner shader or a GWS mask: they share two words", "both")
    check_address(SET_RESOURCES.name, "cleaner_shader", cleaner_shader, 256)
    return SET_RESOURCES.build(
        queue_mask=queue_mask,
        vmid_mask=vmid_mask,
        unmap_latency=unmap_latency,
        queue_type=queue_type,
        gws_mask=gws_mask or cleaner_shader >> 8,
        xnack_retry_disable_check=xnack_retry_disable_check,
    )


def map_queues(
    doorbell: int,
    mqd: int,
    wptr: int,
    *,
    me: int,
    pipe: int,
    queue: int,
    vmid: int = 0,
    engine: QueueEngine = QueueEngine.COMPUTE,
) -> bytes:
    """KIQ: start the queue (me 1 or 2, pipe, queue) from its MQD. doorbell: dword number; mqd, wptr: addresses."""
    check_range(MAP_QUEUES.name, "me", me, 1, 2)
    check_address(MAP_QUEUES.name, "wptr", wptr, 8)
    return MAP_QUEUES.build(
        doorbell=doorbell, mqd=mqd, wptr=wptr, me=me - 1, pipe=pipe, queue=queue, vmid=vmid, engine=engine, queues=1
    )


def unmap_queues(
    doorbell: int,
    action: UnmapAction = UnmapAction.PREEMPT,
    *,
    select: QueueSelect = QueueSelect.BY_DOORBELL,
    engine: QueueEngine = QueueEngine.COMPUTE,
    fence_address: int = 0,
    fence_value: int = 0,
) -> bytes:
    """Take queues off the engine. Fence address and value (32 bits) go with PREEMPT_NO_UNMAP only.

    Selections other than BY_DOORBELL come with doorbell 0; the kernel then gives 0 as the number of queues."""
    if select is not QueueSelect.BY_DOORBELL:
        check_range(UNMAP_QUEUES.name, f"doorbell with {select.name}", doorbell, 0, 0)
    if action is not UnmapAction.PREEMPT_NO_UNMAP and (fence_address or fence_value):
        raise refused(UNMAP_QUEUES.name, "a fence only with PREEMPT_NO_UNMAP", action.name)
    check_address(UNMAP_QUEUES.name, "fence_address", fence_address, 4)
    return UNMAP_QUEUES.build(
        action=action,
        select=select,
        engine=engine,
        queues=int(select is QueueSelect.BY_DOORBELL),
        doorbell=doorbell,
        control3=fence_address & U32,
        control4=fence_address >> 32,
        control5=fence_value,
    )


def query_status(
    addr: int, value: int, *, doorbell: int = 0, engine: QueueEngine = QueueEngine.COMPUTE, context: int = 0
) -> bytes:
    """Scheduler: write a 64-bit value when all before it is done and its writes have arrived (command 2)."""
    return QUERY_STATUS.build(address=addr, value=value, doorbell=doorbell, engine=engine, context=context, command=2)


def invalidate_tlbs(pasid: int, flush_type: int = 0, *, all_hubs: bool = True) -> bytes:
    """KIQ: flush the TLBs of a process, by PASID (select 1)."""
    return INVALIDATE_TLBS.build(select=1, pasid=pasid, flush_type=flush_type, all_hubs=all_hubs)


def run_list(base: int, dwords: int, processes: int, *, chain: bool = False) -> bytes:
    """HIQ: run the MAP_PROCESS and MAP_QUEUES packets in the buffer at `base`. A length of 0 is refused."""
    check_range("PM4 RUN_LIST", "dwords", dwords, 1, RUN_LIST_SHAPE.by_name["dwords"].mask)
    return RUN_LIST_SHAPE.build(base=base, dwords=dwords, processes=processes, chain=chain, idle_disable=chain, valid=1)
