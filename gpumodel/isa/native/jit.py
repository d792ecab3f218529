"""LLVM as a library: a module of IR text becomes code of this process."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

try:
    import llvmlite.binding as llvm
except ImportError:  # an extra: without it kernels are interpreted
    llvm = None

_NEEDED = ("avx2", "fma", "f16c")


def _machine() -> Any:
    """One for each module: an engine owns its machine, and frees it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2)


@lru_cache(maxsize=1)
def usable() -> bool:
    """Whether llvmlite is there, and the host computes as the interpreter does: a fused multiply-add and half precision of its
    own."""
    if llvm is None:
        return False
    features = llvm.get_host_cpu_features()
    return all(features.get(name) for name in _NEEDED)


class Module:
    """Compiled code. Functions live as long as this does. Raises RuntimeError for text that is not IR."""

    def __init__(self, text: str) -> None:
        module = llvm.parse_assembly(text)
        self._engine = llvm.create_mcjit_compiler(module, _machine())
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        return int(self._engine.get_function_address(name))


_shared: dict[str, Module] = {}


def share(name: str, text: str) -> None:
    """Other modules may call the function `name` of this module from now on, which declare it. Once for each name."""
    if name not in _shared:
        _shared[name] = Module(text)
        llvm.add_symbol(name, _shared[name].address(name))
