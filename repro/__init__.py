"""Scenarios that bring a GPU down, run again and again, and written out as one file that the vendor can run."""
