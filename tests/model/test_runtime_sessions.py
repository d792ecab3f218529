"""runtime/sessions.py: which GPUs tinygrad's devices are counted among. Needs no tinygrad."""

from __future__ import annotations

import pytest

from base.errors import Unavailable
from runtime.tinygrad import Session
from runtime.tinygrad_nv import NvSession


def amd(on: str | None = None) -> Session:
    return Session(on, None, None, None, 1)


def test_sessions_count_the_gpus_of_their_vendor_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with both, AMD:0 is not an NVIDIA GPU that happens to come first."""
    monkeypatch.setenv("GPUMEND_ON", "model:h200*2 model:mi350x*2 model:mi300x")
    gpu, count = amd().choose(0, lambda found: found)
    assert (gpu.part.name, gpu.index, count) == ("MI350X", 2, 3)
    gpu, count = NvSession(None, 1).choose(1, lambda found: found)
    assert (gpu.part.name, gpu.index, count) == ("H200", 1, 2)


@pytest.mark.parametrize(
    ("session", "vendor", "model"),
    [(amd("model:h200"), "supported AMD", "mi350x"), (NvSession("model:mi350x", 1), "NVIDIA", "h200")],
    ids=["amd", "nv"],
)
def test_sessions_without_a_gpu_of_their_vendor_say_where_to_find_one(
    session: Session | NvSession, vendor: str, model: str
) -> None:
    with pytest.raises(Unavailable, match=vendor) as caught:
        session.choose(0, lambda found: found)
    assert model in caught.value.next_step


def test_number_that_is_not_there_says_how_many_are() -> None:
    with pytest.raises(Unavailable, match="1, counted from NV:0"):
        NvSession("model:h200", 1).choose(1, lambda found: found)
