"""Reaching one PCI function; knows nothing about GPUs."""
