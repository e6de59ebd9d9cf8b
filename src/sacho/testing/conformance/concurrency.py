"""Many at once: versions, conditions and ids hold in a race, and no reader of the log ever skips an event.

These are small races that run in a second. What an engine endures for hours is for soak tests of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sacho.errors import AppendConditionFailed, WrongExpectedVersion
from sacho.events import Query, QueryItem
from sacho.storage.port import Storage
from sacho.testing.conformance.building import (
    PATIENCE,
    Reopen,
    append,
    asks_for,
    condition,
    everything,
    noted,
    of_stream,
    positions,
    reopened,
    writing,
)

T = TypeVar("T")

RACERS = 8
ROUNDS = 25


class ConcurrencyConformance:
    """Threads on one engine, and engines on one log."""

    def test_one_of_many_wins_each_version(self, storage: Storage) -> None:
        """Of all who append at one version, just one gets it."""
        _race_for_versions([storage])

    def test_one_of_many_engines_wins_each_version(self, storage: Storage, reopen: Reopen) -> None:
        """Also where they come through several engines."""
        _race_for_versions([storage, reopened(storage, reopen, "cross-process")])

    def test_one_of_many_wins_each_condition(self, storage: Storage) -> None:
        """Of all who append the first event with a tag, just one does."""
        asks_for(storage, "conditions")
        _race_for_conditions([storage])

    def test_one_of_many_engines_wins_each_condition(self, storage: Storage, reopen: Reopen) -> None:
        """Also where they come through several engines."""
        asks_for(storage, "conditions")
        _race_for_conditions([storage, reopened(storage, reopen, "cross-process")])

    def test_the_same_append_from_many_happens_once(self, storage: Storage) -> None:
        """All are told the same result."""
        for _ in range(ROUNDS):
            write = writing("seats-1", noted(), noted())
            results = together([partial(storage.write, write)] * RACERS)
            assert all(result == results[0] for result in results)
        assert len(everything(storage)) == 2 * ROUNDS

    def test_no_reader_ever_skips_an_event(self, storage: Storage) -> None:
        """Who reads on from the last position seen sees every event, while many write."""
        seen: list[int] = []
        over = threading.Event()

        def read_on() -> None:
            last = False
            while not last:
                last = over.is_set()
                after = seen[-1] if seen else 0
                head = storage.head()
                for page in storage.read_all(Query(), after=after, to=head, limit=None, backwards=False):
                    seen.extend(positions(page))

        def write(racer: int) -> None:
            for number in range(60):
                if number % 3:
                    append(storage, f"seats-{racer}", noted(), noted())
                else:
                    storage.submit(writing(None, noted(), noted())).result(PATIENCE)

        reader = threading.Thread(target=read_on)
        reader.start()
        try:
            together([partial(write, racer) for racer in range(4)])
        finally:
            over.set()
            reader.join()
        assert seen == positions(everything(storage))
        assert len(seen) == 480


def _race_for_versions(engines: Sequence[Storage]) -> None:
    def at(engine: Storage, version: int) -> int | None:
        try:
            return append(engine, "seats-1", noted(), expected=version).version
        except WrongExpectedVersion:
            return None

    for version in range(ROUNDS):
        racers = [engines[number % len(engines)] for number in range(RACERS)]
        won = together([partial(at, engine, version) for engine in racers])
        assert sorted(filter(None, won)) == [version + 1]
    assert len(of_stream(engines[0], "seats-1")) == ROUNDS


def _race_for_conditions(engines: Sequence[Storage]) -> None:
    def first(engine: Storage, tag: str) -> bool:
        try:
            append(engine, None, noted(tags=[tag]), condition=condition(QueryItem(tags=[tag])))
        except AppendConditionFailed:
            return False
        return True

    for number in range(ROUNDS):
        racers = [engines[racer % len(engines)] for racer in range(RACERS)]
        won = together([partial(first, engine, f"seat:{number}") for engine in racers])
        assert won.count(True) == 1
    assert len(everything(engines[0])) == ROUNDS


def together(actions: Sequence[Callable[[], T]]) -> list[T]:
    """Run the actions at once, a thread each; return their results in order."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        start.wait(PATIENCE)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result() for future in [pool.submit(run, action) for action in actions]]
