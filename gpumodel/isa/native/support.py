"""Memory accesses of compiled code: functions that several kernels share, compiled once each.

An access is done for all lanes that are on, or for none: where a page was not fetched yet, a window is in another one's place,
or an address is no multiple of its unit, the answer is false, and the interpreter does the instruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpumodel.isa.memory import DIRECT, PAGE_SHIFT, READ, WINDOW_SHIFT, WRITTEN
from gpumodel.isa.native import atomics, layout


@dataclass(frozen=True, slots=True)
class Access:
    """What one instruction moves between memory, or LDS (`local`), and registers. `size`: bytes of a lane; `signed`: extended.

    `half`: of a load, the half of the register that it goes to, of a store, that it comes from (None: all, with zeros above).
    `wide`: addresses are pairs of registers. `atomic`: what is done to memory (atomics.py), which `returns` what was there."""

    store: bool
    local: bool
    size: int
    signed: bool = False
    half: int | None = None
    wide: bool = False
    atomic: str = ""
    returns: bool = False

    @property
    def name(self) -> str:
        space = "lds" if self.local else "wide" if self.wide else "memory"
        half = "" if self.half is None else ("_low", "_high")[self.half]
        if self.atomic:
            return f"gpumend_{space}_{self.atomic}_{self.size}{'_returns' if self.returns else ''}"
        return f"gpumend_{space}_{'store' if self.store else 'load'}_{self.size}{'s' if self.signed else ''}{half}"

    @property
    def declaration(self) -> str:
        """The memory, the wave, EXEC, what is added to addresses, the register of these, that of the data; of an atomic, also
        that of what is expected, and that of the result."""
        return f"declare i1 @{self.name}(ptr, ptr, i64, i64, ptr, ptr{', ptr, ptr' if self.atomic else ''})"


SCALAR = "gpumend_scalar"
SCALAR_DECLARATION = f"declare ptr @{SCALAR}(ptr, ptr, i64, i64)"


def text(access: Access) -> str:
    """The module of one."""
    return f"declare i64 @llvm.cttz.i64(i64, i1)\n{_access(access)}"


def _entry(number: str) -> list[str]:
    """%e: the place of a window in the table."""
    return [
        f"%place = and i64 {number}, {layout.WINDOWS - 1}",
        f"%scaled = mul i64 %place, {layout.ENTRY_BYTES}",
        f"%table = getelementptr i8, ptr %m, i64 {layout.TABLE}",
        "%e = getelementptr i8, ptr %table, i64 %scaled",
    ]


def _missed(address: str) -> list[str]:
    """Which address is not there, unless it is found now."""
    return [f"%missed = getelementptr i8, ptr %h, i64 {layout.MISSED}", f"store i64 {address}, ptr %missed"]


def _look_up(size: str, wanted: int, after: str) -> list[str]:
    """From %address to %found.delta, what is added to it to have the host's; to `after`, or to %fail. Ends in block %found."""
    ones = (1 << WINDOW_SHIFT) - 1
    return [
        f"%number = lshr i64 %address, {WINDOW_SHIFT}",
        *_entry("%number"),
        "%holds = load i64, ptr %e",
        "%wants = add i64 %number, 1",
        "%is = icmp eq i64 %holds, %wants",
        "br i1 %is, label %window, label %fail",
        "window:",
        f"%offset = and i64 %address, {ones}",
        f"%after = add i64 %offset, {size}",
        "%end = sub i64 %after, 1",
        f"%inside = icmp ule i64 %end, {ones}",
        "br i1 %inside, label %pages, label %fail",
        "pages:",
        f"%states.at = getelementptr i8, ptr %e, i64 {layout.STATE}",
        "%states = load ptr, ptr %states.at",
        f"%page.first = lshr i64 %offset, {PAGE_SHIFT}",
        f"%page.last = lshr i64 %end, {PAGE_SHIFT}",
        "%first.at = getelementptr i8, ptr %states, i64 %page.first",
        "%last.at = getelementptr i8, ptr %states, i64 %page.last",
        "%state.first = load i8, ptr %first.at",
        "%state.last = load i8, ptr %last.at",
        f"%good.first = icmp uge i8 %state.first, {wanted}",
        f"%good.last = icmp uge i8 %state.last, {wanted}",
        "%good = and i1 %good.first, %good.last",
        "br i1 %good, label %found, label %fail",
        "found:",
        f"%bytes.at = getelementptr i8, ptr %e, i64 {layout.BYTES}",
        "%bytes = load i64, ptr %bytes.at",
        f"%window.base = shl i64 %number, {WINDOW_SHIFT}",
        "%found.delta = sub i64 %bytes, %window.base",
        f"%dirty.at = getelementptr i8, ptr %e, i64 {layout.DIRTY}",
        "%dirty = load i64, ptr %dirty.at",
        "%marks.delta = sub i64 %dirty, %bytes",
        f"%direct.first = icmp eq i8 %state.first, {DIRECT}",
        f"%direct.last = icmp eq i8 %state.last, {DIRECT}",
        "%direct = and i1 %direct.first, %direct.last",
        "%found.dirt = select i1 %direct, i64 0, i64 %marks.delta",
        f"br label {after}",
    ]


def scalar_text() -> str:
    """Where some dwords at one address lie; null."""
    lines = [
        f"define ptr @{SCALAR}(ptr %m, ptr %h, i64 %address, i64 %size) {{",
        "entry:",
        *_missed("%address"),
        *_look_up("%size", READ, "%there"),
        "there:",
        "%host = add i64 %address, %found.delta",
        "%pointer = inttoptr i64 %host to ptr",
        "ret ptr %pointer",
        "fail:",
        "ret ptr null",
        "}",
    ]
    return "\n".join(lines)


def _over_lanes(name: str, carried: dict[str, tuple[str, str]], first: str, body: list[str], end: str) -> list[str]:
    """A loop over the lanes that are on: %NAME.lane. `carried`: type and first value of what goes round; its next value is
    %ONE.next. The body goes on to the block %NAME.last."""
    phis = [
        f"%{one} = phi {kind} [ {start}, %{first} ], [ %{one}.next, %{name}.last ]"
        for one, (kind, start) in carried.items()
    ]
    return [
        f"br label %{name}",
        f"{name}:",
        f"%{name}.bits = phi i64 [ %exec, %{first} ], [ %{name}.rest, %{name}.last ]",
        *phis,
        f"%{name}.none = icmp eq i64 %{name}.bits, 0",
        f"br i1 %{name}.none, label %{end}, label %{name}.one",
        f"{name}.one:",
        f"%{name}.lane = call i64 @llvm.cttz.i64(i64 %{name}.bits, i1 true)",
        f"%{name}.less = sub i64 %{name}.bits, 1",
        f"%{name}.rest = and i64 %{name}.bits, %{name}.less",
        *body,
        f"br label %{name}.last",
        f"{name}.last:",
        f"br label %{name}",
    ]


def _whole(name: str, place: str, lane: str, size: int) -> list[str]:
    """A register of a lane, or two as a number of 64 bits."""
    lines = [f"%{name}.at = getelementptr i32, ptr {place}, i64 {lane}"]
    if size == 4:
        return [*lines, f"%{name} = load i32, ptr %{name}.at"]
    return [
        *lines,
        f"%{name}.low = load i32, ptr %{name}.at",
        f"%{name}.up = getelementptr i8, ptr %{name}.at, i64 {layout.ROW}",
        f"%{name}.high = load i32, ptr %{name}.up",
        f"%{name}.long = zext i32 %{name}.low to i64",
        f"%{name}.wide = zext i32 %{name}.high to i64",
        f"%{name}.moved = shl i64 %{name}.wide, 32",
        f"%{name} = or i64 %{name}.long, %{name}.moved",
    ]


def _address(access: Access) -> list[str]:
    lines = _whole("given", "%r", "%check.lane", 8 if access.wide else 4)
    if access.local:  # 32 bits that wrap
        return [
            *lines,
            "%add = trunc i64 %base to i32",
            "%sum = add i32 %given, %add",
            "%address = zext i32 %sum to i64",
        ]
    if access.wide:
        return [*lines, "%address = add i64 %given, %base"]
    return [*lines, "%given.all = zext i32 %given to i64", "%address = add i64 %given.all, %base"]


def _in_lds(access: Access) -> list[str]:
    """From %address, which is %aligned or not, to %host; or to %fail."""
    return [
        f"%end = add i64 %address, {access.size}",
        "%inside = icmp ule i64 %end, %lds.size",
        "%fits = and i1 %inside, %aligned",
        "br i1 %fits, label %okay, label %fail",
        "okay:",
        "%host = add i64 %address, %lds.base",
    ]


# From lane to lane: mostly the page is the same.
_CARRIED = {"page": ("i64", "-1"), "delta": ("i64", "0"), "dirt": ("i64", "0")}


def _in_memory(access: Access) -> list[str]:
    """The same; of a store also where its mark goes, which is kept behind the places of all lanes."""
    marked = ["%dirt.at = getelementptr i64, ptr %at, i64 64", "store i64 %dirt.next, ptr %dirt.at"]
    return [
        "br i1 %aligned, label %placed, label %fail",
        "placed:",
        f"%page.here = lshr i64 %address, {PAGE_SHIFT}",
        f"%address.last = add i64 %address, {access.size - 1}",
        f"%page.there = lshr i64 %address.last, {PAGE_SHIFT}",
        "%known.here = icmp eq i64 %page.here, %page",
        "%known.there = icmp eq i64 %page.there, %page",
        "%known = and i1 %known.here, %known.there",
        "br i1 %known, label %okay, label %look",
        "look:",
        "store i64 %address, ptr %missed",
        *_look_up(str(access.size), WRITTEN if access.store else READ, "%okay"),
        "okay:",
        "%page.next = phi i64 [ %page, %placed ], [ %page.here, %found ]",
        "%delta.next = phi i64 [ %delta, %placed ], [ %found.delta, %found ]",
        "%dirt.next = phi i64 [ %dirt, %placed ], [ %found.dirt, %found ]",
        *(marked if access.store else ()),
        "%host = add i64 %address, %delta.next",
    ]


def _access(access: Access) -> str:
    unit = min(access.size, 4)
    align = access.size if access.atomic and not access.local else 1 if access.local and not access.atomic else unit
    more = ", ptr %x, ptr %o" if access.atomic else ""
    check = [
        "%at = getelementptr i64, ptr %a, i64 %check.lane",
        *_address(access),
        f"%low = and i64 %address, {align - 1}",
        "%aligned = icmp eq i64 %low, 0",
        *(_in_lds if access.local else _in_memory)(access),
        "store i64 %host, ptr %at",
    ]
    move = [
        "%host.at = getelementptr i64, ptr %a, i64 %move.lane",
        "%host.number = load i64, ptr %host.at",
        "%memory = inttoptr i64 %host.number to ptr",
        "%register = getelementptr i32, ptr %d, i64 %move.lane",
        *(_atomic if access.atomic else _store if access.store else _load)(access, align),
    ]
    counted = [
        f"%stores.at = getelementptr i8, ptr %m, i64 {layout.STORES}",
        "%stores = load i64, ptr %stores.at",
        "%stores.more = add i64 %stores, 1",
        "store i64 %stores.more, ptr %stores.at",
    ]
    lines = [
        f"define i1 @{access.name}(ptr %m, ptr %h, i64 %exec, i64 %base, ptr %r, ptr %d{more}) {{",
        "entry:",
        "%a = alloca [128 x i64], align 64",
        *_missed("0"),
        f"%lds.at = getelementptr i8, ptr %h, i64 {layout.LDS}",
        "%lds.base = load i64, ptr %lds.at",
        f"%lds.size.at = getelementptr i8, ptr %m, i64 {layout.LDS_BYTES}",
        "%lds.size = load i64, ptr %lds.size.at",
        *_over_lanes("check", {} if access.local else _CARRIED, "entry", check, "go"),
        "go:",
        *_over_lanes("move", {}, "go", move, "done"),
        "done:",
        *(counted if access.store else ()),
        "ret i1 true",
        "fail:",
        "ret i1 false",
        "}",
    ]
    return "\n".join(lines)


def _dwords(access: Access, one: Callable[[int], list[str]]) -> list[str]:
    return [line for number in range(access.size // 4) for line in one(number)]


def _load(access: Access, align: int) -> list[str]:
    if access.size >= 4:
        return _dwords(
            access,
            lambda number: [
                f"%from{number} = getelementptr i8, ptr %memory, i64 {4 * number}",
                f"%word{number} = load i32, ptr %from{number}, align {align}",
                f"%to{number} = getelementptr i8, ptr %register, i64 {layout.ROW * number}",
                f"store i32 %word{number}, ptr %to{number}",
            ],
        )
    kind = f"i{8 * access.size}"
    lines = [f"%small = load {kind}, ptr %memory, align {align}"]
    lines.append(f"%value = {'sext' if access.signed else 'zext'} {kind} %small to i32")
    if access.half is None:
        return [*lines, "store i32 %value, ptr %register"]
    lines += ["%before = load i32, ptr %register"]
    if access.half:
        lines += ["%kept = and i32 %before, 65535", "%mine = shl i32 %value, 16"]
    else:
        lines += ["%kept = and i32 %before, -65536", "%mine = and i32 %value, 65535"]
    return [*lines, "%both = or i32 %kept, %mine", "store i32 %both, ptr %register"]


def _atomic(access: Access, align: int) -> list[str]:
    kind = f"i{8 * access.size}"
    lines = _whole("value", "%d", "%move.lane", access.size)
    if access.atomic == "cmpswap":
        lines += _whole("expected", "%x", "%move.lane", access.size)
    lines += [
        f"%old = load {kind}, ptr %memory, align {align}",
        *atomics.changed(access.atomic, access.size),
        f"store {kind} %new, ptr %memory, align {align}",
    ]
    if access.returns:
        lines += ["%result = getelementptr i32, ptr %o, i64 %move.lane"]
        if access.size == 4:
            lines += ["store i32 %old, ptr %result"]
        else:
            lines += [
                "%old.low = trunc i64 %old to i32",
                "%old.moved = lshr i64 %old, 32",
                "%old.high = trunc i64 %old.moved to i32",
                "store i32 %old.low, ptr %result",
                f"%result.up = getelementptr i8, ptr %result, i64 {layout.ROW}",
                "store i32 %old.high, ptr %result.up",
            ]
    return lines if access.local else [*lines, *_marked("i32", access.size // 4, min(align, 4))]


def _store(access: Access, align: int) -> list[str]:
    """The data, and what says that a copy was written."""
    if access.size >= 4:
        kind, count = "i32", access.size // 4
        lines = _dwords(
            access,
            lambda number: [
                f"%from{number} = getelementptr i8, ptr %register, i64 {layout.ROW * number}",
                f"%word{number} = load i32, ptr %from{number}",
                f"%to{number} = getelementptr i8, ptr %memory, i64 {4 * number}",
                f"store i32 %word{number}, ptr %to{number}, align {align}",
            ],
        )
    else:
        kind, count = f"i{8 * access.size}", 1
        lines = [
            "%word = load i32, ptr %register",
            f"%part = lshr i32 %word, {16 if access.half else 0}",
            f"%small = trunc i32 %part to {kind}",
            f"store {kind} %small, ptr %memory, align {align}",
        ]
    return lines if access.local else [*lines, *_marked(kind, count, align)]


def _marked(kind: str, count: int, align: int) -> list[str]:
    """What was written is marked, if it is a copy."""
    marks = [
        line
        for number in range(count)
        for line in (
            f"%mark{number} = getelementptr i8, ptr %marks, i64 {4 * number}",
            f"store {kind} -1, ptr %mark{number}, align {align}",
        )
    ]
    return [
        "%dirt.place = getelementptr i64, ptr %host.at, i64 64",
        "%dirt.offset = load i64, ptr %dirt.place",
        "%copied = icmp ne i64 %dirt.offset, 0",
        "br i1 %copied, label %mark, label %marked",
        "mark:",
        "%marks = getelementptr i8, ptr %memory, i64 %dirt.offset",
        *marks,
        "br label %marked",
        "marked:",
    ]
