"""With this folder in PYTHONPATH tinygrad runs on our driver: `PYTHONPATH=$(gpumend tinygrad --path) python SCRIPT`.

Python imports this module when it starts. Nothing else is imported before the program imports tinygrad's AMD backend.
Another `sitecustomize` further on in the path is run as well."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_BACKEND = "tinygrad.runtime.ops_amd"
_HERE = str(Path(__file__).resolve().parent)


class _Finder(importlib.abc.MetaPathFinder):
    """Installs our backend right after tinygrad's own was imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _BACKEND:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader = spec.loader if spec is not None else None
        if loader is None:
            return spec
        load = loader.exec_module

        def load_and_install(module: ModuleType) -> None:
            load(module)
            import runtime.tinygrad

            runtime.tinygrad.install()

        loader.exec_module = load_and_install  # type: ignore[method-assign]
        return spec


def _run_the_next() -> None:
    """What this module hides."""
    others = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


sys.meta_path.insert(0, _Finder())
_run_the_next()
