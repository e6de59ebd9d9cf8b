"""What one measurement is told: its own empty folder, the run's folder, the round, and how much to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec


class Job(msgspec.Struct, frozen=True):
    """One measurement of one side, in a process of its own.

    `directory` is empty and goes away afterwards; `prepared` is the run's, and holds what was built once for all rounds.
    On PostgreSQL, `database` and `prepared_database` are the URLs of databases that are the same for it; else empty.
    """

    directory: Path
    prepared: Path
    round: int = 0
    quick: bool = False
    database: str = ""
    prepared_database: str = ""

    def count(self, full: int, quick: int) -> int:
        """Return how many to do: `full`, or `quick` where only is tried whether everything runs."""
        return quick if self.quick else full

    def file(self, name: str) -> Path:
        """Return the path of a fresh file of this measurement."""
        return self.directory / name

    def copy_of(self, name: str) -> Path:
        """Return a fresh copy of a closed file that was prepared."""
        return Path(shutil.copy(self.prepared / name, self.directory / name))

    def encode(self) -> bytes:
        """Return the job as JSON."""
        return msgspec.json.encode(self, enc_hook=str)

    @classmethod
    def decode(cls, data: bytes) -> Job:
        """Return the job that was encoded."""
        return msgspec.json.decode(data, type=cls, dec_hook=_path)


def _path(kind: type[Any], text: Any) -> Any:
    return kind(text)
