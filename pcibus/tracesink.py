"""The file that a recording goes to: new, plain or gzip by its name, and never in the way of what is recorded.

A full disk in the middle of a boot must not look to the driver like a failure of the GPU: what cannot be written is given
up, and told when the file is closed."""

from __future__ import annotations

import errno
import gzip
import io
import os
from pathlib import Path

from base.errors import GpumendError, Refused
from base.files import explain


class TraceSink:
    """Takes the lines of a `Trace`. Opening raises Refused when the file is there already, NotPermitted, Unavailable;
    `finish` raises what went wrong while writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: GpumendError | None = None
        check_new(path)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except FileExistsError as error:
            raise _there(path) from error
        except (OSError, ValueError) as error:
            raise explain(error, path, _doing(path)) from error
        raw = os.fdopen(handle, "wb")
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else None
        self._files = [packed, raw] if packed is not None else [raw]
        self._text = io.TextIOWrapper(packed if packed is not None else raw, encoding="utf-8", newline="\n")

    def write(self, text: str, /) -> None:
        if self.lost is None:
            try:
                self._text.write(text)
            except OSError as error:
                self._give_up(error)

    def finish(self) -> None:
        """Close the file; raises what kept it from being whole."""
        try:
            self._text.close()
        except OSError as error:
            self._give_up(error)
        for file in self._files:  # gzip leaves the file below it open, and a failed flush leaves both
            try:
                file.close()
            except OSError as error:
                self._give_up(error)
        if self.lost is not None:
            raise self.lost

    def _give_up(self, error: OSError) -> None:
        if self.lost is None:
            self.lost = explain(error, self.path, _doing(self.path))


def check_new(path: Path) -> None:
    """Whether a recording could be written there: Refused when something is there already, Unavailable without the folder."""
    doing = _doing(path)
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise explain(error, path, doing) from error
    else:
        raise _there(path)
    try:
        path.parent.stat()
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise explain(error, path.parent, doing) from error


def _doing(path: Path) -> str:
    return f"writing the trace {path}"


def _there(path: Path) -> Refused:
    return Refused(
        _doing(path),
        expected="a file that is not there yet",
        seen="there is one",
        where=str(path),
        next_step="name another file, or remove it",
    )
