"""Races of threads and of processes on versions, conditions and ids: exactly the allowed ones win."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

import sacho
from sacho import Appended, EventData, EventStore, Query, QueryItem, RawEvent, uuid7
from sacho.errors import Conflict, DuplicateEventId
from tests.proof.processes import finished, started
from tests.proof.programs import append_on_condition, in_threads

Count = Callable[[int], int]
Counted = Callable[[str, object], None]
PROCESSES = 4
THREADS = 8


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'log.db'}"
    with sacho.connect(url) as opened:
        yield opened


def check_versions(store: EventStore, won: int) -> None:
    """Each event was written on the version that it was decided on, and no win is missing."""
    events = [recorded for recorded in store.read_all(raw=True) if recorded.type == "Won"]
    assert [one.event.data["on"] for one in events] == [(one.version or 0) - 1 for one in events]
    assert len(events) == won


def check_conditions(store: EventStore) -> int:
    """No event stands behind one that its own condition excluded; return how many conditions were looked at."""
    events = list(store.read_all(raw=True))
    for recorded in events:
        query = Query(QueryItem(**recorded.event.data["query"]))
        between = events[recorded.event.data["after"] : recorded.position - 1]
        assert not [one for one in between if query.matches(one.type, one.tags, one.stream)]
    return len(events)


def test_one_writer_wins_each_version_among_threads(store: EventStore, soak_count: Count, counted: Counted) -> None:
    each, won, lost = soak_count(5_000) // THREADS, [0] * THREADS, [0] * THREADS

    def race(number: int) -> None:
        random = Random(number)
        for _ in range(each):
            stream = f"race-{random.randint(1, 3)}"
            version = store.version(stream)
            try:
                store.append(stream, [RawEvent("Won", {"on": version})], expected=version)
                won[number] += 1
            except Conflict:
                lost[number] += 1

    in_threads(race, THREADS)
    check_versions(store, sum(won))
    counted(f"versions raced for by threads ({store.storage.name}): won, lost", f"{sum(won)}, {sum(lost)}")


def test_one_writer_wins_each_version_among_processes(tmp_path: Path, soak_count: Count, counted: Counted) -> None:
    url, each = f"sqlite:///{tmp_path / 'log.db'}", soak_count(6_000) // PROCESSES
    with ExitStack() as stack:
        racers = [stack.enter_context(started("race_versions", url, seed, each)) for seed in range(PROCESSES)]
        results = finished(*racers)
    with sacho.connect(url) as store:
        check_versions(store, sum(won for won, _ in results))
    counted("versions raced for by processes: won, lost", [sum(column) for column in zip(*results, strict=True)])


def test_no_condition_is_violated_among_threads(store: EventStore, soak_count: Count, counted: Counted) -> None:
    each, won = soak_count(4_000) // THREADS, [0] * THREADS

    def race(number: int) -> None:
        random = Random(number)
        won[number] = sum(append_on_condition(store, random) for _ in range(each))

    in_threads(race, THREADS)
    assert check_conditions(store) == sum(won)
    counted(f"conditional appends by threads ({store.storage.name}): tried, won", f"{each * THREADS}, {sum(won)}")


def test_no_condition_is_violated_among_processes(tmp_path: Path, soak_count: Count, counted: Counted) -> None:
    url, each = f"sqlite:///{tmp_path / 'log.db'}", soak_count(4_000) // PROCESSES
    with ExitStack() as stack:
        racers = [stack.enter_context(started("race_conditions", url, seed, each)) for seed in range(PROCESSES)]
        results = finished(*racers)
    with sacho.connect(url) as store:
        assert check_conditions(store) == sum(won for won, _ in results)
    counted("conditional appends by processes: won, lost", [sum(column) for column in zip(*results, strict=True)])


def test_the_same_ids_are_recorded_once_and_all_get_the_first_result(
    store: EventStore, soak_count: Count, counted: Counted
) -> None:
    rounds = soak_count(1_000)
    for number in range(rounds):
        ids = [uuid7(), uuid7()]
        results: list[Appended] = []
        refused: list[UUID] = []

        def race(racer: int, ids: list[UUID] = ids, number: int = number) -> None:
            data = number if racer < THREADS - 1 else -1
            try:
                results.append(
                    store.append(f"s-{number % 9}", [EventData(RawEvent("Once", data), id=id) for id in ids])
                )
            except DuplicateEventId as error:
                refused.extend(error.ids)

        in_threads(race, THREADS)
        assert len(set(results)) == 1
        assert {len(results), len(results) + len(refused) // 2} == {len(results), THREADS}
    assert store.head() == 2 * rounds
    counted(f"ids raced for, {THREADS} times each ({store.storage.name})", rounds)
