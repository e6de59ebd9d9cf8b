"""The machine a run was made on, as far as it bears on the figures."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import msgspec

SYNCS = 300


class Machine(msgspec.Struct, frozen=True):
    """Facts that a reader needs beside the figures. `sync_ms` is the median of append + fdatasync of 200 bytes."""

    cpus: int
    python: str
    sqlite: str
    system: str
    sync_ms: float
    load: float
    packages: dict[str, str]

    @property
    def line(self) -> str:
        """All of it in one line."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.cpus} CPUs · {self.python} · SQLite {self.sqlite} · {self.system} · append + fdatasync p50 "
            f"{self.sync_ms:.3f} ms · load at the start {self.load:.2f} · {packages}"
        )


def describe(directory: Path) -> Machine:
    """Look at the machine; `directory` is where the files of the run lie."""
    return Machine(
        cpus=os.cpu_count() or 1,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        sqlite=sqlite3.sqlite_version,
        system=f"{platform.system()} {platform.machine()}",
        sync_ms=_sync_milliseconds(directory / "sync"),
        load=os.getloadavg()[0],
        packages={name: _version(name) for name in ("sacho", "msgspec", "eventsourcing", "umadb")},
    )


def sync(descriptor: int) -> None:
    """Have the data of an open file on the disk: fdatasync where there is one."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def _sync_milliseconds(path: Path) -> float:
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(b"x" * 200)
            sync(file.fileno())
            took.append(time.perf_counter() - started)
    path.unlink()
    return median(took) * 1_000


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
