"""What lanes read of each other, in functions that several kernels share: a row of a wave's registers into the temporary row of
its kernel, for the segment that comes next.

The counterpart of DPP and v_permlane_swap in gpumodel/isa/vector.py, and of what share.py does between lanes. All 64 lanes are
looked at; those that a work-group does not have are off."""

from __future__ import annotations

from collections.abc import Sequence

from gpumodel.isa.native.ir import Value
from gpumodel.isa.waves import WAVE

TEMPORARY = Value("%temporary", "ptr")  # rows of 64 dwords
VALID = Value("%valid", "ptr")  # of which lanes it holds something, a bit each
PART = Value("%part", "ptr")  # which lanes are written
ROWS = 2  # of a pair of registers
ALLOCATED = (
    f"  {TEMPORARY.text} = alloca [{ROWS * WAVE} x i32], align 64\n"
    f"  {VALID.text} = alloca i64, align 8\n  {PART.text} = alloca i64, align 8\n"
)

MOVED = "i64 @{}(ptr, ptr, i64)"
PULLED = "void @{}(ptr, ptr, ptr, i64, i32)"
SWAPPED = "void @{}(ptr, ptr)"

_ROW, _FLAGS, _BYTES = f"<{WAVE} x i32>", f"<{WAVE} x i1>", f"<{WAVE} x i8>"


def _mask(lanes: Sequence[int]) -> str:
    return f"<{WAVE} x i32> <" + ", ".join(f"i32 {lane}" if lane >= 0 else "i32 poison" for lane in lanes) + ">"


def moved_text(name: str, lanes: Sequence[int]) -> str:
    """From a row to another: each lane gets that of `lanes`, -1: nothing. Of which lanes that is one that is on (%exec)."""
    zeros = [lane if lane >= 0 else WAVE for lane in lanes]
    return f"""
define i64 @{name}(ptr %from, ptr %to, i64 %exec) {{
  %row = load {_ROW}, ptr %from, align 32
  %moved = shufflevector {_ROW} %row, {_ROW} poison, {_mask(lanes)}
  store {_ROW} %moved, ptr %to, align 32
  %flags = bitcast i64 %exec to {_FLAGS}
  %bytes = sext {_FLAGS} %flags to {_BYTES}
  %there = shufflevector {_BYTES} %bytes, {_BYTES} zeroinitializer, {_mask(zeros)}
  %on = icmp ne {_BYTES} %there, zeroinitializer
  %valid = bitcast {_FLAGS} %on to i64
  ret i64 %valid
}}"""


def swapped_text(name: str, width: int) -> str:
    """Of two rows: the upper half of each pair of groups of `width` lanes of the first with the lower half of the second."""
    lanes = range(WAVE)
    first = [WAVE + (lane ^ width) if lane & width else lane for lane in lanes]
    second = [WAVE + lane if lane & width else lane ^ width for lane in lanes]
    return f"""
define void @{name}(ptr %first, ptr %second) {{
  %a = load {_ROW}, ptr %first, align 32
  %b = load {_ROW}, ptr %second, align 32
  %x = shufflevector {_ROW} %a, {_ROW} %b, {_mask(first)}
  %y = shufflevector {_ROW} %a, {_ROW} %b, {_mask(second)}
  store {_ROW} %x, ptr %first, align 32
  store {_ROW} %y, ptr %second, align 32
  ret void
}}"""


_LANE = f"""
  %address.at = getelementptr i32, ptr %addresses, i64 %lane
  %address = load i32, ptr %address.at
  %sum = add i32 %address, %offset
  %number = lshr i32 %sum, 2
  %other = and i32 %number, {WAVE - 1}
  %index = zext i32 %other to i64"""


def pulled_text(name: str) -> str:
    """Each lane gets the data of the lane that its address names; 0 of one that is off."""
    return f"""
define void @{name}(ptr %addresses, ptr %data, ptr %to, i64 %exec, i32 %offset) {{
entry:
  br label %one
one:
  %lane = phi i64 [ 0, %entry ], [ %next, %one ]{_LANE}
  %from = getelementptr i32, ptr %data, i64 %index
  %value = load i32, ptr %from
  %bits = lshr i64 %exec, %index
  %on = trunc i64 %bits to i1
  %kept = select i1 %on, i32 %value, i32 0
  %place = getelementptr i32, ptr %to, i64 %lane
  store i32 %kept, ptr %place
  %next = add i64 %lane, 1
  %done = icmp eq i64 %next, {WAVE}
  br i1 %done, label %end, label %one
end:
  ret void
}}"""


def pushed_text(name: str) -> str:
    """Each lane that is on sends its data to the lane that its address names; the highest arrives, and 0 where none does."""
    return f"""
declare i64 @llvm.cttz.i64(i64, i1)
define void @{name}(ptr %addresses, ptr %data, ptr %to, i64 %exec, i32 %offset) {{
entry:
  store {_ROW} zeroinitializer, ptr %to, align 32
  br label %loop
loop:
  %left = phi i64 [ %exec, %entry ], [ %rest, %one ]
  %none = icmp eq i64 %left, 0
  br i1 %none, label %end, label %one
one:
  %lane = call i64 @llvm.cttz.i64(i64 %left, i1 true)
  %less = sub i64 %left, 1
  %rest = and i64 %left, %less{_LANE}
  %from = getelementptr i32, ptr %data, i64 %lane
  %value = load i32, ptr %from
  %place = getelementptr i32, ptr %to, i64 %index
  store i32 %value, ptr %place
  br label %loop
end:
  ret void
}}"""
