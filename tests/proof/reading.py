"""Readers of a log under way: what they are shown is judged as it comes, up to the last event of a workload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import psycopg

from sacho import EventStore, Query, RawEvent, RecordedEvent
from tests.postgres_server import without_schema
from tests.proof.processes import WAIT, finished, started
from tests.proof.programs import in_threads
from tests.proof.slow_appends import opened

PROCESSES = 4
SLOWEST = 0.02
"""For how many seconds a slow append does nothing before it commits, at most as a rule."""
LAST = "Last"
"""The type of the event that ends a workload."""


class Reader:
    """What a reader was shown, judged as it comes: positions rise, and each stream's versions have no gap."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.faults: list[str] = []
        self._versions = Counter[str]()
        self._missing = Counter[str]()

    def take(self, one: RecordedEvent) -> bool:
        """Take an event in; return whether it is not yet the last one of the workload."""
        if self.seen and one.position <= self.seen[-1]:
            self.faults.append(f"{one.position} behind {self.seen[-1]}")
        self.seen.append(one.position)
        if one.stream is not None:
            if one.version != self._versions[one.stream] + 1:
                self.faults.append(f"{one.stream}: {one.version} behind {self._versions[one.stream]}")
            self._versions[one.stream] += 1
        if isinstance(one.event.data, dict) and "batch" in one.event.data:
            batch, of = one.event.data["batch"], one.event.data["of"]
            self._missing[batch] += of if batch not in self._missing else 0
            self._missing[batch] -= 1
            if not self._missing[batch]:
                del self._missing[batch]
        return one.type != LAST

    def at_a_head(self) -> None:
        """All up to a head was shown: each append is whole or absent."""
        self.faults += [f"of {batch} {count} are missing" for batch, count in self._missing.items()]
        self._missing.clear()


def poll(store: EventStore, reader: Reader) -> None:
    """Read on from the last event, again and again; nothing is shown above a head."""
    going, head = True, 0
    while going:
        reading = store.read_all(after=reader.seen[-1] if reader.seen else 0, raw=True)
        head = max(head, reading.head)
        for one in reading:
            going = reader.take(one)
        assert not reader.seen or reader.seen[-1] <= head
        reader.at_a_head()


def follow(store: EventStore, query: Query, reader: Reader) -> None:
    """Subscribe until the last event."""
    with store.subscribe(query, raw=True) as live:
        going = True
        while going:
            one = live.next(timeout=WAIT)
            assert one is not None
            going = reader.take(one)


def read_naively(url: str, seen: list[int]) -> None:
    """Read up to the highest position that is there, and on from it, up to the last event."""
    server, schema = without_schema(url)
    statement = f"SELECT position, type FROM {schema}.event_rows WHERE position > %s ORDER BY position"
    with psycopg.connect(server, autocommit=True, application_name="sacho naive") as connection:
        last = ""
        while last != LAST:
            for position, last in connection.execute(statement, (seen[-1] if seen else 0,)):
                seen.append(position)


def in_disorder(url: str, events: int, read: list[Callable[[], None]]) -> list[dict[str, list[str]]]:
    """Have 20 connections of four processes write beside readers; return what each process tells."""
    results: list[Any] = []

    def write() -> None:
        with ExitStack() as stack:
            each = events // PROCESSES
            writers = [
                stack.enter_context(started("slow_appends.write_in_disorder", url, seed, each, SLOWEST))
                for seed in range(PROCESSES)
            ]
            results.extend(finished(*writers))
        with opened(url) as store:
            store.append(None, [RawEvent(LAST, None)])

    work = [write, *read]
    in_threads(lambda number: work[number](), len(work))
    return results
