"""Atomics of compiled code, on integers and sums of floats: lane after lane, as gpumodel/isa/atomics.py has it."""

from __future__ import annotations

_PLAIN = {"add": "add", "sub": "sub", "and": "and", "or": "or", "xor": "xor"}
_LEAST = {"smin": "slt", "umin": "ult", "smax": "sgt", "umax": "ugt"}
WHAT = frozenset((*_PLAIN, *_LEAST, "rsub", "inc", "dec", "swap", "cmpswap", "add_f"))


def changed(what: str, size: int) -> list[str]:
    """%new of %old and %value, integers of `size` bytes; cmpswap: if that is %expected."""
    kind = f"i{8 * size}"
    if what in _PLAIN:
        return [f"%new = {_PLAIN[what]} {kind} %old, %value"]
    if what in _LEAST:
        return [
            f"%less = icmp {_LEAST[what]} {kind} %old, %value",
            f"%new = select i1 %less, {kind} %old, {kind} %value",
        ]
    if what == "rsub":
        return [f"%new = sub {kind} %value, %old"]
    if what == "swap":
        return [f"%new = or {kind} %value, 0"]
    if what == "cmpswap":
        return [f"%equal = icmp eq {kind} %old, %expected", f"%new = select i1 %equal, {kind} %value, {kind} %old"]
    if what == "inc":
        return [
            f"%wraps = icmp uge {kind} %old, %value",
            f"%more = add {kind} %old, 1",
            f"%new = select i1 %wraps, {kind} 0, {kind} %more",
        ]
    if what == "dec":
        return [
            f"%zero = icmp eq {kind} %old, 0",
            f"%over = icmp ugt {kind} %old, %value",
            "%wraps = or i1 %zero, %over",
            f"%less = sub {kind} %old, 1",
            f"%new = select i1 %wraps, {kind} %value, {kind} %less",
        ]
    assert what == "add_f", what
    real = "float" if size == 4 else "double"
    return [
        f"%old.real = bitcast {kind} %old to {real}",
        f"%value.real = bitcast {kind} %value to {real}",
        f"%total = fadd {real} %old.real, %value.real",
        f"%new = bitcast {real} %total to {kind}",
    ]
