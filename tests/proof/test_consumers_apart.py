"""Consumers stand apart: from each other, from those who write, and from what their own deaths and doubles do."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from sacho.reacting import Application, Changes, Consumer, Delivery, handles
from tests.postgres_server import without_schema
from tests.proof.consumer_programs import (
    AT_ONCE,
    CALLED,
    DELIVERED,
    EXACT,
    LEASE_SECONDS,
    Entered,
    Ledger,
    Sums,
    effects,
    make_tallies,
    tallies,
)
from tests.proof.consuming import check_sums, enter, entered, program
from tests.proof.processes import WAIT, Count, Counted, until


@pytest.fixture
def effects_url(request: pytest.FixtureRequest, log_url: str, tmp_path: Path) -> str:
    """The URL of a database for effects, apart from the log's."""
    if log_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'effects.db'}"
    found: str = request.getfixturevalue("postgres_database_url")
    return found


# --- one total by doubled deliveries -------------------------------------------------------------------


def state_of(process: subprocess.Popen[bytes]) -> int | None:
    """Return how a process ended or that it is stopped (CLD_KILLED, CLD_STOPPED), leaving it to others to hear of it."""
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    return found.si_code if found else None


class Workers:
    """Three processes that keep the total. Each dies some time, and another takes its place; some stop before that."""

    def __init__(self, app: Application, url: str, effects_url: str) -> None:
        self.held = ExitStack()
        self.died = self.passed = 0
        self._app = app
        self._urls = (url, effects_url)
        self._chance = Random(8)
        self._pace = threading.Event()
        self._may_die = True
        self._stopped_at: dict[int, int] = {}
        self._alive = [self._start() for _ in range(3)]

    def see_one_off(self) -> None:
        """Have events come until one has died; another takes its place."""
        died = self.died
        until(lambda: self._look()[0] > died)

    def see_one_passed(self) -> None:
        """Have events come until one was stopped while others, of whom no more die, handled the event that it had in hand."""
        passed, self._may_die = self.passed, False
        self._alive.append(self._start(stops_at=1))
        until(lambda: self._look()[1] > passed)

    def _look(self) -> tuple[int, int]:
        """Have some events come; wake who is stopped when the others have passed it. Return how many died, and were passed.

        Where all are stopped, all but one are woken, so that they pass this one: none has stopped in vain.
        """
        self._pace.wait(0.01)  # the workers need the processor
        (status,) = self._app.administration.status()
        if status.lag_events < 60:
            for _ in range(5):
                enter(self._app, self._chance)
        states = {process: state_of(process) for process in self._alive}
        assert {*states.values()} <= {None, os.CLD_KILLED, os.CLD_STOPPED}
        for process in [one for one, state in states.items() if state == os.CLD_KILLED]:
            self._alive[self._alive.index(process)] = self._start()
            self.died += 1
        stopped = [one for one, state in states.items() if state == os.CLD_STOPPED]
        head = self._app.store.head()
        for process in stopped:
            is_passed = status.position >= self._stopped_at.setdefault(process.pid, head)
            if is_passed or (len(stopped) == len(states) and process is not stopped[-1]):
                process.send_signal(signal.SIGCONT)
                self.passed += is_passed
        return self.died, self.passed

    def _start(self, stops_at: int = 0) -> subprocess.Popen[bytes]:
        dies_at = self._chance.randint(2, 60) if self._may_die else 0
        if dies_at and self._chance.random() < 0.5:
            stops_at = self._chance.randint(1, dies_at)
        return self.held.enter_context(program("ledger", *self._urls, stops_at, dies_at))


def test_three_workers_that_die_stop_and_handle_twice_keep_one_total_exact(
    log_url: str, effects_url: str, soak_count: Count, counted: Counted
) -> None:
    engine, rounds = effects(effects_url), soak_count(30)
    make_tallies(engine)
    with Application(log_url, consumers=[Ledger(engine)]) as app:
        app.run(once=True)
        workers = Workers(app, log_url, effects_url)
        with workers.held:
            for _ in range(rounds):
                workers.see_one_off()
            workers.see_one_passed()
        with app.running(lease_seconds=LEASE_SECONDS):
            assert app.wait_for(Ledger, app.store.head(), WAIT)
        events = entered(app)
    with engine.connect() as connection:
        found = {row.name: row for row in connection.execute(sa.select(tallies))}
        ids = connection.execute(sa.text("SELECT count(*) FROM sacho_handled")).scalar_one()
    engine.dispose()
    total = sum(event.amount for event in events)
    assert (found[EXACT].amount, found[EXACT].events, ids) == (total, len(events), len(events))
    assert found[CALLED].amount > found[DELIVERED].amount > total
    repeats = (found[DELIVERED].events - len(events), found[CALLED].events - found[DELIVERED].events)
    counted(
        f"{engine.dialect.name}: workers killed behind an effect, stopped and passed / events, once each in one total"
        " / deliveries repeated, calls doubled",
        (workers.died, workers.passed, len(events), *repeats),
    )


LONG_LEASE_SECONDS = 20.0


# --- consumers that hang, sleep, or fail ---------------------------------------------------------------


class Hanging:
    """The part of a consumer that hangs in its first event until it is let go."""

    def __init__(self) -> None:
        self.is_inside = threading.Event()
        self.goes_on = threading.Event()
        self.done: list[int] = []  # shared by the copies that a runner makes of a projection

    @property
    def is_done(self) -> bool:
        return bool(self.done)

    def hang(self, position: int) -> None:
        self.is_inside.set()
        assert self.goes_on.wait(4 * WAIT)
        self.done.append(position)


@contextmanager
def let_go(*gates: threading.Event) -> Iterator[None]:
    """Let those who hang or sleep go on at the end of a block, however it ends: their runner waits for them."""
    try:
        yield
    finally:
        for one in gates:
            one.set()


class HangingConsumer(Hanging, Consumer):
    name = "proof-hanging"

    @handles(Entered)
    def entered(self, event: Entered, delivery: Delivery) -> None:
        self.hang(delivery.recorded.position)


class HangingAsync(Hanging, Consumer):
    name = "proof-hanging-async"

    @handles(Entered)
    async def entered(self, event: Entered, delivery: Delivery) -> None:
        await asyncio.to_thread(self.hang, delivery.recorded.position)


class HangingView(Hanging, Sums):
    name = "proof-hanging-view"
    rows = Sums.rows.to_metadata(sa.MetaData(), name="proof_hanging")

    @handles(Entered)
    def entered(self, event: Entered, changes: Changes) -> None:
        self.hang(changes.recorded.position)
        super().entered(event, changes)


class Sleeping(Consumer):
    """Is slow: so slow that it will not come to an end while the test runs."""

    name = "proof-sleeping"

    def __init__(self) -> None:
        self.wakes = threading.Event()

    @handles(Entered)
    def entered(self, event: Entered, delivery: Delivery) -> None:
        self.wakes.wait(2.0)


class Failing(Consumer):
    """Stops at its first event."""

    name = "proof-failing"
    retry = AT_ONCE

    @handles(Entered)
    def entered(self, event: Entered, delivery: Delivery) -> None:
        raise ValueError("fails always")


class Parking(Failing):
    """Parks a few, then stops."""

    name = "proof-parking"
    independent_keys = True
    most_parked = 3


class Told(Consumer):
    """Is well, and notes what it is told."""

    name = "proof-told"

    def __init__(self) -> None:
        self.positions: list[int] = []

    @handles(Entered)
    async def entered(self, event: Entered, delivery: Delivery) -> None:
        self.positions.append(delivery.recorded.position)


def nothing_is_locked(app: Application, url: str) -> None:
    """Nobody is within a transaction in the database of log and views, not even to read; there is an instant of that."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path, timeout=WAIT, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        return
    server, schema = without_schema(url)
    with psycopg.connect(server, autocommit=True) as other:
        held = sql.SQL(HELD).format(sql.Literal(schema), sql.Literal(app.views.schema))
        until(lambda: other.execute(held).fetchall() == [])


HELD = """
SELECT l.pid, l.mode, c.relname
FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ({}, {}) AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""Locks on tables of a log and its views; whoever is within a transaction there has some."""


def append_and_follow(app: Application, told: Told, count: int) -> tuple[int, float]:
    """Append so many events, and wait for each until those who are well have it; return the rate, and the lag in ms."""
    chance, appending, following = Random(9), 0.0, 0.0
    for _ in range(count):
        began = time.perf_counter()
        position = enter(app, chance)
        done = time.perf_counter()
        assert app.wait_for(Sums, position, WAIT)
        assert app.wait_for(Told, position, WAIT)
        assert told.positions[-1] == position
        appending += done - began
        following += time.perf_counter() - done
    return round(count / appending), round(following / count * 1_000, 2)


def positions(app: Application) -> dict[str, int]:
    return {status.name: status.position for status in app.administration.status()}


def test_consumers_that_hang_sleep_and_fail_hold_up_no_writer_and_no_other_consumer(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    count, told = soak_count(2_000), Told()
    with Application(log_url, consumers=[Sums, told]) as app, app.running():
        alone = append_and_follow(app, told, count)
    hanging: tuple[HangingConsumer, HangingAsync, HangingView] = (HangingConsumer(), HangingAsync(), HangingView())
    sleeping = Sleeping()
    unwell: list[Consumer] = [*hanging, sleeping, Failing(), Parking()]
    gates = [sleeping.wakes, *(one.goes_on for one in hanging)]
    app = Application(log_url, consumers=[Sums, told, *unwell])
    with app, app.running(lease_seconds=LONG_LEASE_SECONDS), let_go(*gates):
        until(lambda: all(one.is_inside.is_set() for one in hanging))
        until(lambda: sum(one.is_stopped for one in app.administration.status()) == 2)
        nothing_is_locked(app, log_url)
        beside = append_and_follow(app, told, count)
        nothing_is_locked(app, log_url)
        assert not any(one.is_done for one in hanging)
        head, reached = app.store.head(), positions(app)
        assert [reached[one.name] for one in hanging] == [0, 0, 0]
        assert all(reached[one.name] < head for one in unwell)
        assert check_sums(app) == 2 * count == len(told.positions)
        for one in hanging:
            one.goes_on.set()
        for one in hanging:
            assert app.wait_for(one, head, WAIT)
            assert len(one.done) == 2 * count  # no transaction was taken from it, so that it had to begin again
        assert check_sums(app, HangingView) == 2 * count
    engine = log_url.partition(":")[0]
    counted(f"{engine}: events that were written and followed while others hung, slept, stopped", count)
    counted(f"{engine}: appends a second / ms until followed, alone and beside those", (*alone, *beside))


class MendedConsumer(HangingConsumer):
    """Fails until it is mended; then it hangs."""

    name = "proof-mended"
    independent_keys = True
    retry = AT_ONCE
    is_mended = False

    @handles(Entered)
    def entered(self, event: Entered, delivery: Delivery) -> None:
        if not self.is_mended:
            raise ValueError("not mended")
        self.hang(delivery.recorded.position)


class MendedView(HangingView):
    """The same as a view."""

    name = "proof-mended-view"
    independent_keys = True
    retry = AT_ONCE
    is_mended = False
    rows = Sums.rows.to_metadata(sa.MetaData(), name="proof_mended")

    @handles(Entered)
    def entered(self, event: Entered, changes: Changes) -> None:
        if not self.is_mended:
            raise ValueError("not mended")
        super().entered(event, changes)


@pytest.mark.parametrize("kind", [MendedConsumer, MendedView])
def test_a_handler_that_hangs_when_its_event_is_tried_again_holds_up_nobody(
    log_url: str, kind: type[MendedConsumer | MendedView], soak_count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, told, hanging = soak_count(100), Told(), kind()
    with Application(log_url, consumers=[Sums, told, hanging]) as app, app.running(), let_go(hanging.goes_on):
        append_and_follow(app, told, 1)
        until(lambda: app.administration.parked(hanging))
        (parked,) = app.administration.parked(hanging)
        monkeypatch.setattr(kind, "is_mended", True)
        app.administration.retry(hanging)
        until(hanging.is_inside.is_set)
        nothing_is_locked(app, log_url)
        append_and_follow(app, told, count)
        assert not hanging.is_done
        hanging.goes_on.set()
        until(lambda: not app.administration.parked(hanging))
        assert (
            hanging.done.count(parked.position) == 1
        )  # no transaction was taken from it, so that it had to begin again
