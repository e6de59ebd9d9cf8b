"""A view that is built again and again under writes is whole at every instant, whoever reads it and whoever is killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psycopg
import sqlalchemy as sa

from sacho.reacting import Application
from tests.postgres_server import without_schema
from tests.proof.consumer_programs import LEASE_SECONDS, TOTAL, DoubledSums, Sums
from tests.proof.consuming import check_sums, enter_many, program
from tests.proof.processes import WAIT, Count, Counted, until

BEFORE = 8_000
"""How many events there are before the first build begins."""
READERS = 1
"""How many threads read in each of the two ways."""

WHOLE = f"""
SELECT
    (SELECT amount FROM {{view}} WHERE account = '{TOTAL}'),
    (SELECT sum(amount) FROM {{view}} WHERE account <> '{TOTAL}'),
    (SELECT events FROM {{view}} WHERE account = '{TOTAL}'),
    (SELECT sum(events) FROM {{view}} WHERE account <> '{TOTAL}'),
    (SELECT sum(faults) FROM {{view}})
"""
"""The total and the sum of its parts, of amounts and of events, at one instant; and the faults."""


class Seen(NamedTuple):
    """What one read saw."""

    amount: int
    amount_of_parts: int
    events: int
    events_of_parts: int
    faults: int
    position: int = 0


Read = Callable[[], Seen]


@contextmanager
def reading_as_application(url: str) -> Iterator[Read]:
    """Read by an application of one's own: each read also has its position."""
    with Application(url, consumers=[Sums]) as app:

        def read() -> Seen:
            with app.reading(Sums) as view:
                row: Any = view.execute(
                    sa.select(sa.text(WHOLE.format(view="proof_sums").strip().removeprefix("SELECT")))
                ).one()
                return Seen._make((*row, view.position))

        yield read


@contextmanager
def reading_as_outsider(url: str) -> Iterator[Read]:
    """Read by the view's plain name, by a connection that knows nothing of Sacho."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(Path(url.removeprefix("sqlite:///")), timeout=WAIT)) as file:
            yield lambda: Seen(*file.execute(WHOLE.format(view="proof_sums")).fetchone())
        return
    server, schema = without_schema(url)
    with psycopg.connect(server, autocommit=True) as connection:
        whole: Any = WHOLE.format(view=f"{schema}_views.proof_sums")
        yield lambda: Seen(*(connection.execute(whole).fetchone() or ()))


class Readers:
    """Threads that read all the time, each judging what it sees by itself and by what it saw before."""

    def __init__(self) -> None:
        self.reads = 0
        self.builds: set[int] = set()
        self.faults: list[object] = []
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    @contextmanager
    def at_work(self, url: str) -> Iterator[None]:
        ways = [reading_as_application, reading_as_outsider] * READERS
        self._threads = [threading.Thread(target=self._read_on, args=(way, url)) for way in ways]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join()

    def _read_on(self, way: Callable[[str], Any], url: str) -> None:
        try:
            with way(url) as read:
                before: Seen = read()
                while not self._ended.is_set():
                    before = self._judged(before, read())
                    self.reads += 1
        except BaseException as error:
            self.faults.append(error)

    def _judged(self, before: Seen, seen: Seen) -> Seen:
        is_whole = seen.amount == seen.amount_of_parts and seen.events == seen.events_of_parts >= BEFORE
        is_later = seen.events >= before.events and seen.position >= before.position
        if not is_whole or not is_later or seen.faults:
            self.faults.append((before, seen))
        return seen


class Runners:
    """Two processes that share the partitions, and one that writes; one who shares may be killed, and another takes its place."""

    def __init__(self, url: str) -> None:
        self.held = ExitStack()
        self._url = url
        self.killed_before = 0
        """How many were killed before the build that they were at served."""
        self._running = [self._start("1") for _ in range(2)]
        self._writing = self.held.enter_context(program("writes", url))

    def kill_one(self, *versions: str) -> None:
        """Kill one, and start another that runs these versions."""
        process = self._running.pop(0)
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT)
        self._running.append(self._start(*versions))

    def kill_all(self) -> None:
        for process in (*self._running, self._writing):
            process.kill()
            process.wait(WAIT)

    def _start(self, *versions: str) -> subprocess.Popen[bytes]:
        return self.held.enter_context(program("sums", self._url, *versions))


def is_serving(app: Application, version: int, build: int = 0) -> bool:
    states = {(one.version, one.build): one.state for one in app.administration.status()}
    return states[version, build] == "serving"


def rebuild(app: Application, runners: Runners, chance: Random, *, is_killed: bool) -> None:
    """Build again, and wait until the new build serves, although one who builds it may be killed; remove the old one."""
    build = app.administration.rebuild(Sums).build
    if is_killed:
        handled = chance.randrange(BEFORE)
        until(lambda: is_serving(app, 1, build) or handled_by(app, build) >= handled)
        runners.kill_one("1")
        runners.killed_before += not is_serving(app, 1, build)
    until(lambda: is_serving(app, 1, build))
    app.administration.remove(Sums, 1, build - 1)


def handled_by(app: Application, build: int) -> int:
    return next(one.handled for one in app.administration.status() if one.build == build)


def test_a_view_built_again_and_again_under_writes_is_never_seen_empty_half_or_of_before(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    chance, builds, readers = Random(13), soak_count(20), Readers()
    engine = log_url.partition(":")[0]
    with Application(log_url, consumers=[Sums]) as app:
        enter_many(app, BEFORE)
        app.run(once=True)
        runners = Runners(log_url)
        with runners.held, readers.at_work(log_url):
            for number in range(builds):
                rebuild(app, runners, chance, is_killed=number % 2 == 0)
            with Application(app.store, consumers=[Sums, DoubledSums]) as both:
                runners.kill_one("1", "2")  # beside one that knows the first only
                until(lambda: any(one.version == 2 for one in both.administration.status()))
                until(lambda: is_serving(both, 2))
            runners.kill_all()
        assert readers.faults == []
    with Application(log_url, consumers=[DoubledSums]) as app, app.running(lease_seconds=LEASE_SECONDS):
        assert app.wait_for(DoubledSums, app.store.head(), WAIT)
        events = check_sums(app, DoubledSums)
    killed = 1 + len(range(0, builds, 2))
    counted(
        f"{engine}: builds that took over under writes, one new version too / runners killed, before they served"
        " / reads, all whole / events",
        (builds, killed, runners.killed_before, readers.reads, events),
    )
