"""Kernels of a modelled GPU compiled to the host's own code with LLVM, where llvmlite is installed; interpreted elsewhere."""
