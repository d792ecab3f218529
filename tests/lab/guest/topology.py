"""What amdgpu and KFD made of each GPU: IP blocks as the driver read them from the discovery table, and KFD's nodes.

Prints one JSON document. Source: Linux v7.3 amdgpu_discovery.c (ip_discovery in sysfs), kfd_topology.c."""

from __future__ import annotations

import json
from pathlib import Path

NODES = Path("/sys/class/kfd/kfd/topology/nodes")
FIELDS = ("major", "minor", "revision", "harvest")


def ip_discovery(device: Path) -> list[list[object]]:
    """[die, hardware id, instance, major, minor, revision, harvest, [bases]] of every IP instance."""
    found: list[list[object]] = []
    root = device / "ip_discovery/die"
    for die in sorted(path for path in root.iterdir() if path.name.isdigit()):
        for block in sorted(path for path in die.iterdir() if path.name.isdigit()):
            for instance in sorted(path for path in block.iterdir() if path.name.isdigit()):
                values = [int((instance / name).read_text(), 0) for name in FIELDS]
                bases = [int(word, 16) for word in (instance / "base_addr").read_text().split()]
                found.append([int(die.name), int(block.name), int(instance.name), *values, bases])
    return found


def node(path: Path) -> dict[str, object]:
    properties = dict(line.split(maxsplit=1) for line in (path / "properties").read_text().splitlines())
    links = [
        dict(line.split(maxsplit=1) for line in (link / "properties").read_text().splitlines())
        for link in sorted((path / "io_links").iterdir())
    ]
    return {
        "gfx": int(properties["gfx_target_version"]),
        "simds": int(properties["simd_count"]),
        "simds_per_cu": int(properties["simd_per_cu"]),
        "xccs": int(properties.get("num_xcc", 0)),
        "sdma": int(properties["num_sdma_engines"]) + int(properties.get("num_sdma_xgmi_engines", 0)),
        "location": int(properties["location_id"]),
        "hive": int(properties["hive_id"]),
        "xgmi_links": sum(int(link["type"]) == 11 for link in links),
    }


def main() -> None:
    devices = sorted(Path("/sys/bus/pci/drivers/amdgpu").glob("0000:*"))
    nodes = [node(path) for path in sorted(NODES.iterdir(), key=lambda path: int(path.name))]
    print(
        json.dumps(
            {
                "devices": {path.name: ip_discovery(path) for path in devices},
                "nodes": [found for found in nodes if found["gfx"]],
            }
        )
    )


if __name__ == "__main__":
    main()
