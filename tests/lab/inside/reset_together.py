"""Runs inside a guest: has the kernel reset several GPUs at the same moment.

python3 reset_together.py METHOD BDF..."""

from __future__ import annotations

import sys
import threading
from pathlib import Path


def main(method: str, bdfs: list[str]) -> None:
    folders = [Path("/sys/bus/pci/devices") / bdf for bdf in bdfs]
    for folder in folders:
        (folder / "reset_method").write_text(method)
    start = threading.Barrier(len(folders))

    def work(folder: Path) -> None:
        start.wait()
        (folder / "reset").write_text("1")

    threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
