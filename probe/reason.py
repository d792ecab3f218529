"""Why a question has no answer, in one line, made of the error that prevented it."""

from __future__ import annotations

from base.errors import GpumendError


def reason_of(error: GpumendError) -> str:
    """`using index registers refused: held by pid 7 (python)`"""
    told = ": ".join(part for part in (f"{error.doing} {error.verb}".strip(), error.seen) if part)
    return " ".join(told.split())
