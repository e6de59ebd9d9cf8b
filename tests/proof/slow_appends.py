"""Appends on PostgreSQL by whoever calls the log's function in a transaction of his own, and takes his time to commit.

As programs: writers of many connections, some through stores, some like this. Who is killed connects again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psycopg

import sacho
from sacho import Append, AppendCondition, EventData, EventStore, RawEvent
from sacho.errors import StorageError, StorageUnreachable
from sacho.events import Appended, Write
from sacho.storage.port import Outcome
from sacho.storage.postgres.calls import ARGUMENTS, Mode, arguments, outcomes, statement
from sacho.storage.postgres.locking import in_order, keys_of
from sacho.storage.postgres.packing import Packed, PackedDumper, packed
from tests.postgres_server import without_schema
from tests.proof.processes import WAIT
from tests.proof.programs import acknowledge, in_threads

SLEEP = "SELECT pg_sleep(%s)"
SHARE_ROLLED_BACK = 0.08

Locks = Callable[[Write], Sequence[int]]


def locks_of(write: Write) -> Sequence[int]:
    """Return the locks that the engine takes."""
    return in_order(keys_of(write))


class Killed(Exception):
    """The connection was lost; whether the transaction was committed is not known."""


class SlowAppends:
    """A connection of its own. With other `locks` than the engine's, conditions are not kept."""

    def __init__(self, url: str, random: Random, slowest: float, locks: Locks = locks_of) -> None:
        self._server, self._schema = without_schema(url)
        self._statement = statement(self._schema, ["%b"] * len(ARGUMENTS))
        self._locks = locks
        self.random = random
        self.slowest = slowest
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The connection, made anew where it was lost."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._server, autocommit=True)
            self._connection.adapters.register_dumper(Packed, PackedDumper)
        return self._connection

    @contextmanager
    def transaction(self, *, rolls_back: bool) -> Iterator[psycopg.Connection[Any]]:
        """A transaction that is slow to end. Raises Killed."""
        try:
            connection = self.connection
            with connection.transaction(force_rollback=rolls_back):
                yield connection
                connection.execute(SLEEP, (self.pause(),))
        except psycopg.OperationalError as error:
            if self._connection is not None and not self._connection.closed:
                raise
            raise Killed from error

    def pause(self) -> float:
        """Return for how long to do nothing, in seconds: sometimes ten times as long as usual."""
        longest = self.slowest * (10 if self.random.random() < 0.01 else 1)
        return self.random.random() * longest

    def append(self, write: Write, *, rolls_back: bool = False) -> Outcome:
        """Append by the function; return what became of it."""
        values = packed(arguments([write], self._locks(write), Mode(careful=True)))
        with self.transaction(rolls_back=rolls_back) as connection:
            rows = connection.execute(self._statement, values).fetchall()
        (outcome,) = outcomes([write], rows)
        assert outcome is not None
        return outcome

    def join(self, store: EventStore, parts: list[Append], *, rolls_back: bool = False) -> list[Appended]:
        """Append through a store that joins the transaction."""
        with self.transaction(rolls_back=rolls_back) as connection:
            return store.joined(connection).append_many(parts)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def opened(url: str) -> EventStore:
    """Open a store; again where its backend is killed before it is open."""
    ends = time.monotonic() + WAIT
    while True:
        try:
            return sacho.connect(url)
        except StorageUnreachable:
            assert time.monotonic() < ends


# --- programs -----------------------------------------------------------------------------------------


def write_in_disorder(url: str, seed: str, events: str, slowest: str) -> None:
    """Write about so many events from five connections: two stores, two that call the function, one that joins.

    Tell the batches that were acknowledged, those rolled back, and those of which nothing is known.
    """
    told: dict[str, list[str]] = {"acknowledged": [], "rolled back": [], "unknown": []}

    def work(number: int) -> None:
        name = f"{seed}x{number}"
        with ExitStack() as stack:
            slow = SlowAppends(url, Random(name), float(slowest))
            stack.callback(slow.close)
            store = stack.enter_context(opened(url)) if number in {0, 1, 4} else None
            write_batches(name, slow, store, int(events) // 5, told)

    in_threads(work, 5)
    acknowledge(told)


def write_until(url: str, path: str) -> None:
    """Append to two streams of one's own, at the version that comes next, until there is a file; tell the versions.

    No append may fail, whatever the server does.
    """
    versions: dict[str, int] = {}

    def work(number: int) -> None:
        stream, version = f"own-{os.getpid()}x{number}", 0
        while not Path(path).exists():
            events = [RawEvent("Until", version + count) for count in range(1 + version % 3)]
            done = store.append(stream, events, expected=version)
            assert done.version == version + len(events)
            versions[stream] = version = done.version

    with opened(url) as store:
        in_threads(work, 2)
    acknowledge(versions)


def write_batches(
    name: str, slow: SlowAppends, store: EventStore | None, events: int, told: dict[str, list[str]]
) -> None:
    """Append batches until there are enough events; those through the store alone are never rolled back."""
    random, written, number = slow.random, 0, 0
    joins = name.endswith("4")
    while written < events:
        number += 1
        parts = batch(random, name, number)
        rolls_back = (joins or store is None) and random.random() < SHARE_ROLLED_BACK
        state = "rolled back" if rolls_back else "acknowledged"
        try:
            if store is None:
                slow.append(encoded(parts), rolls_back=rolls_back)
            elif joins:
                slow.join(store, parts, rolls_back=rolls_back)
            else:
                store.append_many(parts)
        except Killed:
            state = "rolled back" if rolls_back else "unknown"
        except StorageError as error:
            assert joins, error
            state = "rolled back" if rolls_back else "unknown"
        told[state].append(f"{name}.{number}")
        written += sum(len(part.events) for part in parts)


def batch(random: Random, name: str, number: int) -> list[Append]:
    """Return an append to one or two streams, or to none; each event says how many there are in all."""
    own, shared = f"own-{name}", f"shared-{random.randint(1, 4)}"
    choices: list[list[str | None]] = [[own], [own], [shared], [None], ["two-1", None]]
    streams = random.choice(choices)
    sizes = random.choices([1, 2, 5, 20, 200], [60, 20, 10, 9, 1], k=len(streams))
    facts = {"batch": f"{name}.{number}", "of": sum(sizes)}
    return [
        Append(stream, [EventData(RawEvent("Written", facts), tags=[f"t:{random.randint(1, 3)}"]) for _ in range(size)])
        for stream, size in zip(streams, sizes, strict=True)
    ]


_memory = sacho.connect("memory://")


def encoded(parts: list[Append], condition: AppendCondition | None = None) -> Write:
    """Return parts as an engine takes them."""
    return _memory.encode_many(parts, condition)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
