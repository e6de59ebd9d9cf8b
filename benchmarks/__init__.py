"""Benchmarks: Sacho beside its peers and the raw floors, in turn, in one run. `python -m benchmarks --help`."""
