"""What can be watched of an engine: counts, latencies, sizes. Telemetry and tests read it; nothing decides by it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class CommitReport(NamedTuple):
    """One commit: how many appends it took in, how many it refused, how many events it wrote, how long it took."""

    appends: int
    conflicts: int
    events: int
    seconds: float


CommitObserver: TypeAlias = Callable[[CommitReport], None]


class StorageStatistics(NamedTuple):
    """Counts since the engine was opened in this process; sizes and age as of now."""

    appends: int
    conflicts: int
    events: int
    commits: int
    log_bytes: int
    wal_bytes: int
    oldest_in_flight_seconds: float


def call_safely(callback: Callable[[T], object], value: T) -> None:
    """Call what others have registered; what it raises is logged, since the append it is told of is durable."""
    try:
        callback(value)
    except Exception:
        logging.getLogger("sacho").exception("a callback of the storage engine raised")


class Counting:
    """Adds up commits. Its one writer at a time is whoever holds the engine's write lock."""

    def __init__(self) -> None:
        self.appends = self.conflicts = self.events = self.commits = 0
        self.observers: list[CommitObserver] = []

    def commit(self, writes: int, conflicts: int, events: int, started: float) -> None:
        """Take in one commit of so many writes, some of them refused, that began at `started` (time.perf_counter)."""
        appends = writes - conflicts
        self.appends += appends
        self.conflicts += conflicts
        self.events += events
        self.commits += 1
        if self.observers:
            report = CommitReport(appends, conflicts, events, time.perf_counter() - started)
            for observer in self.observers:
                call_safely(observer, report)

    def statistics(self, log_bytes: int, wal_bytes: int, oldest: float) -> StorageStatistics:
        """Return the counts with the sizes and age given."""
        return StorageStatistics(self.appends, self.conflicts, self.events, self.commits, log_bytes, wal_bytes, oldest)
