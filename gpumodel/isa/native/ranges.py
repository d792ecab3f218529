"""Which lanes of an access are within the range of a buffer, and what the others get: functions that several kernels share.

Buffers as compilers have them: raw, without stride; the others are the interpreter's (gpumodel/isa/vmem.py)."""

from __future__ import annotations

from gpumodel.isa.native import layout
from gpumodel.isa.waves import WAVE

WITHIN, WITHIN_DECLARATION = "gpumend_within", "declare i64 @gpumend_within(ptr, i64, i64, i64)"
CLEARED, CLEARED_DECLARATION = "gpumend_cleared", "declare void @gpumend_cleared(ptr, i64, i64)"
STRIDE_OR_SWIZZLE = 0xBFFF0000  # of the second dword of a buffer
ADDS_LANE = 1 << 23  # of the fourth


def within_text() -> str:
    """The lanes of `exec` of which offset + `end` is not beyond `records`."""
    return f"""
define i64 @{WITHIN}(ptr %offsets, i64 %exec, i64 %end, i64 %records) {{
entry:
  br label %one
one:
  %lane = phi i64 [ 0, %entry ], [ %next, %one ]
  %inside = phi i64 [ 0, %entry ], [ %more, %one ]
  %at = getelementptr i32, ptr %offsets, i64 %lane
  %word = load i32, ptr %at
  %offset = zext i32 %word to i64
  %last = add i64 %offset, %end
  %okay = icmp ule i64 %last, %records
  %bit = zext i1 %okay to i64
  %moved = shl i64 %bit, %lane
  %more = or i64 %inside, %moved
  %next = add i64 %lane, 1
  %done = icmp eq i64 %next, {WAVE}
  br i1 %done, label %end.here, label %one
end.here:
  %on = and i64 %more, %exec
  ret i64 %on
}}"""


def cleared_text() -> str:
    """0 into so many registers of the lanes of `which`."""
    return f"""
declare i64 @llvm.cttz.i64(i64, i1)
define void @{CLEARED}(ptr %register, i64 %which, i64 %count) {{
entry:
  br label %loop
loop:
  %left = phi i64 [ %which, %entry ], [ %rest, %after ]
  %none = icmp eq i64 %left, 0
  br i1 %none, label %end, label %lane
lane:
  %number = call i64 @llvm.cttz.i64(i64 %left, i1 true)
  %less = sub i64 %left, 1
  %rest = and i64 %left, %less
  %first = getelementptr i32, ptr %register, i64 %number
  br label %one
one:
  %place = phi i64 [ 0, %lane ], [ %next, %one ]
  %offset = mul i64 %place, {layout.ROW}
  %at = getelementptr i8, ptr %first, i64 %offset
  store i32 0, ptr %at
  %next = add i64 %place, 1
  %done = icmp eq i64 %next, %count
  br i1 %done, label %after, label %one
after:
  br label %loop
end:
  ret void
}}"""
