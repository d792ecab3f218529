"""Who keeps an NVIDIA GPU from being let go: daemons and their ways to end, and what holds it without any process.

Unbinding a GPU that is in use never returns (nv-pci.c nv_pci_remove waits for the usage count without end), so this is asked
before. Source: nvidia-resets.md section 3; names as /proc/<pid>/comm cuts them, after 15 letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from base.errors import GpumendError
from nvdriver.rm import Client

if TYPE_CHECKING:
    from pcibus.driverfiles import DriverFiles

LIMIT_S = 1.0

# What runs for the whole machine and holds GPUs, and how it is stopped. Started again the same way, once all is well.
STOPPED_BY: Mapping[str, str] = MappingProxyType(
    {
        "nvidia-persiste": "systemctl stop nvidia-persistenced",
        "nv-fabricmanage": "systemctl stop nvidia-fabricmanager",
        "nv-hostengine": "systemctl stop nvidia-dcgm",
        "dcgm-exporter": "stop dcgm-exporter (its pod, or its unit)",
        "nvidia-imex": "systemctl stop nvidia-imex",
        "Xorg": "stop the display manager (systemctl isolate multi-user.target)",
        "Xwayland": "stop the display manager (systemctl isolate multi-user.target)",
        "gnome-shell": "stop the display manager (systemctl isolate multi-user.target)",
    }
)
KEPT = "no process has its node open, and the driver keeps it initialized all the same"
KEPT_NEXT = (
    "persistence mode of the module: nvidia-smi -i {bdf} -pm 0; or a module of the kernel that uses it: lsmod | grep nvidia, "
    "then modprobe -r nvidia-drm nvidia-modeset nvidia-peermem"
)
ORDER = (
    "stop scheduling to it, end its jobs and what uses it peer to peer, stop nvidia-persistenced and dcgm, then "
    "gpumend reset --unbind; afterwards gpumend bind nvidia, and the daemons again"
)


def stop_words(commands: Iterable[str]) -> str:
    """`systemctl stop nvidia-persistenced; ...` of the daemons among these commands; "" where there is none."""
    return "; ".join(dict.fromkeys(STOPPED_BY[name] for name in commands if name in STOPPED_BY))


def is_initialized(files: DriverFiles, bdf: str) -> bool | None:
    """Whether the driver has this GPU running, by its own list; None: it does not say. Opens no GPU's node."""

    def ask() -> bool:
        with Client.open(files) as client:
            return client.card(bdf).gpu_id in client.attached()

    try:
        return files.apart(ask, LIMIT_S, f"asking whether {bdf} is in use")
    except GpumendError:
        return None
