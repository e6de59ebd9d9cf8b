"""Races of threads and of processes on versions, conditions, ids and new files: exactly the allowed ones win."""

from __future__ import annotations

import subprocess
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

import sacho
from sacho import EventStore, RawEvent, RecordedEvent
from sacho.errors import SachoError
from tests.proof.judging import check_log, check_names, check_sound
from tests.proof.processes import ROOT, SECONDS, Count, Counted, command, finished, started
from tests.proof.programs import append_on_condition, in_threads, race_for_ids, race_for_versions, switching_often

PROCESSES = 4
THREADS = 8


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'log.db'}"}
    url = urls.get(request.param) or request.getfixturevalue("postgres_url")
    with sacho.connect(url) as opened, switching_often():
        yield opened


def raced(name: str, url: str, each: int) -> list[Any]:
    """Run a racing program in several processes at once; return what each says at its end."""
    with ExitStack() as stack:
        return finished(*[stack.enter_context(started(name, url, seed, each)) for seed in range(PROCESSES)])


def check_versions(store: EventStore, results: list[Any]) -> str:
    """Each version was won by one racer, the one whose event stands there; return how many were won and lost."""
    events = check_log(store)
    assert [one.event.data["on"] for one in events] == [(one.version or 0) - 1 for one in events]
    by_place = {(one.stream, one.version, one.position): one.event.data["by"] for one in events}
    claimed = {tuple(win): str(racer) for racer, (won, _) in enumerate(results) for win in won}
    assert claimed == by_place
    assert sum(len(won) for won, _ in results) == len(events)
    return f"{len(events)}, {sum(lost for _, lost in results)}"


def check_conditions(store: EventStore, refused: list[Any]) -> str:
    """No append stands behind an event that its condition excluded, and none was refused without one."""
    events = check_log(store)
    check_names(store, events)
    appends, violated = violations(events)
    assert violated == 0
    by_position = {one.position: one for one in events}
    for asked, after, position in refused:
        assert position > after
        assert excludes(asked, by_position[position])
    return f"{appends}, {len(refused)}"


def violations(events: list[RecordedEvent]) -> tuple[int, int]:
    """Return how many appends there are in a log, and how many stand behind an event that their condition excluded.

    Each event names its append and the append's condition.
    """
    positions = [one.position for one in events]
    begun: set[str] = set()
    violated = 0
    for one in events:
        data = one.event.data
        if data["append"] not in begun:
            begun.add(data["append"])
            between = events[bisect_right(positions, data["after"]) : bisect_left(positions, one.position)]
            violated += any(excludes(data["query"], other) for other in between)
    return len(begun), violated


def excludes(asked: list[dict[str, Any]], one: RecordedEvent) -> bool:
    """Tell whether a query means an event: written out anew, not asked of the package."""
    category = None if one.stream is None else one.stream.partition("-")[0]
    return any(
        ("types" not in item or one.type in item["types"])
        and set(item.get("tags", ())) <= one.tags
        and ("categories" not in item or category in item["categories"])
        for item in asked
    )


def check_ids(store: EventStore, results: list[list[Any]]) -> str:
    """All who sent the recorded content got one and the same result, all others were refused."""
    events = check_log(store)
    assert len(events) == 2 * len(results[0])
    refused = 0
    for number in range(len(results[0])):
        first, second = store.read(f"once-{number}", raw=True)
        assert first.event == second.event
        for racer in results:
            content, version, position = racer[number]
            if content == first.event.data:
                assert (version, position) == (2, second.position)
            else:
                assert (version, position) == (None, None)
                refused += 1
    return f"{sum(map(len, results))}, {refused}"


def test_one_writer_wins_each_version_among_threads(store: EventStore, soak_count: Count, counted: Counted) -> None:
    """Seen to fail with an engine that does not compare versions."""
    results: list[Any] = [None] * THREADS
    versions, together = soak_count(1_000), threading.Barrier(THREADS)

    def race(number: int) -> None:
        together.wait(SECONDS)
        results[number] = race_for_versions(store, str(number), versions)

    in_threads(race, THREADS)
    counted(f"versions raced for by threads ({store.storage.name}): won, lost", check_versions(store, results))


def test_one_writer_wins_each_version_among_processes(log_url: str, soak_count: Count, counted: Counted) -> None:
    """Seen to fail with an engine that does not compare versions."""
    results = raced("race_versions", log_url, soak_count(2_000))
    with sacho.connect(log_url) as store:
        counted(f"versions raced for by processes ({store.storage.name}): won, lost", check_versions(store, results))
    check_sound(log_url)


def test_no_condition_is_violated_among_threads(store: EventStore, soak_count: Count, counted: Counted) -> None:
    """Seen to fail with an engine that does not look at conditions, or (in memory) not under its lock."""
    each, refused, together = soak_count(5_000) // THREADS, list[Any](), threading.Barrier(THREADS)

    def race(number: int) -> None:
        random = Random(number)
        together.wait(SECONDS)
        refused.extend(one for _ in range(each) if (one := append_on_condition(store, random)) is not None)

    in_threads(race, THREADS)
    counted(f"conditional appends by threads ({store.storage.name}): won, lost", check_conditions(store, refused))


def test_no_condition_is_violated_among_processes(log_url: str, soak_count: Count, counted: Counted) -> None:
    """Seen to fail with a writer that keeps the events behind the marks when another process has written."""
    results = raced("race_conditions", log_url, soak_count(8_000) // PROCESSES)
    with sacho.connect(log_url) as store:
        told = check_conditions(store, [one for racer in results for one in racer])
    counted(f"conditional appends by processes ({store.storage.name}): won, lost", told)
    check_sound(log_url)


def test_the_same_ids_are_recorded_once_among_threads(store: EventStore, soak_count: Count, counted: Counted) -> None:
    """Seen to fail with an engine that looks for no repeats, or not at their content."""
    results: list[Any] = [None] * THREADS
    each, together = soak_count(1_000), threading.Barrier(THREADS)

    def race(number: int) -> None:
        together.wait(SECONDS)
        results[number] = race_for_ids(store, number, each)

    in_threads(race, THREADS)
    counted(f"appends of the same ids by threads ({store.storage.name}): all, refused", check_ids(store, results))


def test_the_same_ids_are_recorded_once_among_processes(log_url: str, soak_count: Count, counted: Counted) -> None:
    results = raced("race_ids", log_url, soak_count(2_000))
    with sacho.connect(log_url) as store:
        counted(f"appends of the same ids by processes ({store.storage.name}): all, refused", check_ids(store, results))
    check_sound(log_url)


def test_a_new_file_may_be_opened_by_many_threads_at_once(tmp_path: Path, soak_count: Count, counted: Counted) -> None:
    """Who opens a file while another makes it a log must not take it for a foreign database."""
    files, errors = soak_count(300), list[str]()

    def check(number: int) -> None:
        together = threading.Barrier(THREADS)

        def open_it(_: int) -> None:
            together.wait(SECONDS)
            try:
                with sacho.connect(f"sqlite:///{tmp_path / str(number)}.db") as store:
                    store.append("new-1", [RawEvent("New", None)])
            except SachoError as error:
                errors.append(f"{type(error).__name__} in file {number}")

        in_threads(open_it, THREADS)

    for number in range(files):
        check(number)
    counted(f"new files opened by {THREADS} threads at once: files, errors", f"{files}, {len(errors)}")
    assert errors == []


def test_a_new_file_may_be_opened_by_many_processes_at_once(
    tmp_path: Path, soak_count: Count, counted: Counted
) -> None:
    files = soak_count(500)
    openers = [
        subprocess.Popen(
            command("open_at_once", f"sqlite:///{tmp_path / 'new'}", files),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for _ in range(files):
            for opener in openers:
                assert opener.stdout is not None
                assert opener.stdout.readline() == b'"ready"\n'
            for opener in openers:
                assert opener.stdin is not None
                opener.stdin.write(b"\n")
                opener.stdin.flush()
        assert [opener.wait(SECONDS) for opener in openers] == [0] * PROCESSES
    finally:
        for opener in openers:
            opener.kill()
            opener.communicate()
    for number in range(files):
        with sacho.connect(f"sqlite:///{tmp_path / 'new'}-{number}.db") as store:
            assert store.version("new-1") == PROCESSES
    counted(f"new files opened by {PROCESSES} processes at once", files)
