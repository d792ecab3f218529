"""What is written down about sick GPUs before anything is done to them: collected within limits, redacted, hashed, packed.

`collect` and `before_reset` write a folder (bundle.py), `pack` makes one file of it (archive.py), `check` reads either
again without unpacking (checking.py). Formats and rules: docs/evidence.md."""

from evidence.adding import add
from evidence.archive import pack
from evidence.bundle import Bundle, Problem, Subject, before_reset, collect, default_folder
from evidence.checking import Checked, check
from evidence.parts import Limits, Places

__all__ = [
    "Bundle",
    "Checked",
    "Limits",
    "Places",
    "Problem",
    "Subject",
    "add",
    "before_reset",
    "check",
    "collect",
    "default_folder",
    "pack",
]
