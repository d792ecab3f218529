"""The NVIDIA side: what the parts are, what the kernel driver says (RM mode), what the bare GPU says (PCI mode).

`parts.py` ids; `host.py` the driver's procfs; `xid.py` the kernel log; `bare.py` BAR0, read-only; `rm.py` (with
`abi.py`, `status.py`) the loaded kernel driver by ioctl; `ask.py`, `telemetry.py` what a probe asks of it. Booting a GPU
by ourselves (GSP) has its place here and is not built. Imports nothing by itself."""
