"""Userspace driver for AMD Instinct MI300X and MI350X."""
