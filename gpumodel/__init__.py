"""Software GPUs with faults; written from the kernel source and the fact sheets, never from our own drivers."""
