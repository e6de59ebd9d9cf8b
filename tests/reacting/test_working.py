"""Working: how workers share, stop, hand over, take over and get over what goes wrong around them."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
import sqlalchemy as sa

import sacho
from sacho.deciding import Retry
from sacho.errors import NewerSchema, ViewNotReady
from sacho.reacting import Application, Changes, Consumer, Delivery, Projection, handles
from sacho.reacting.bookkeeping import Bookkeeping
from sacho.reacting.databases import ViewDatabase
from sacho.reacting.pace import Pace
from sacho.reacting.runner import Runner
from sacho.reacting.tables import workers
from sacho.reacting.worker import Worker
from tests.reacting.conftest import SECONDS, Place
from tests.reacting.domain import (
    PATIENCE,
    DoubledScores,
    Scored,
    Scores,
    caught_up,
    expected_scores,
    is_serving,
    scored,
    scores,
    status,
    until,
)


class Gated(Consumer):
    """Notes what it handles, each event as soon as the test lets it through."""

    seen: ClassVar[list[int]] = []
    gate: ClassVar[threading.Semaphore] = threading.Semaphore(0)

    @handles(Scored)
    def scored(self, event: Scored, delivery: Delivery) -> None:
        self.seen.append(event.points)
        assert self.gate.acquire(timeout=PATIENCE), "nobody opened the gate"


@pytest.fixture(autouse=True)
def gate_is_shut() -> None:
    Gated.seen.clear()
    Gated.gate = threading.Semaphore(0)


def test_a_stop_waits_for_one_slow_event_and_not_for_a_page_of_them(place: Place) -> None:
    place.store.append("game-1", scored("ann", *range(500)))
    with place.application(Gated) as app:
        with ThreadPoolExecutor() as pool, app.running():
            until(lambda: Gated.seen)
            (worker,) = app._runners[0].workers
            worker.stop()
            Gated.gate.release()
            pool.submit(until, lambda: worker.holding.leases == {}).result()
        assert Gated.seen == [0]
        assert (status(app).position, status(app).handled) == (1, 1)


def test_what_slow_events_came_to_is_written_before_the_page_is_through(place: Place) -> None:
    place.store.append("game-1", scored("ann", *range(50)))

    class Slow(Consumer):
        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            if event.points < 30:  # for much longer than a batch, also where the machine is slow
                threading.Event().wait(0.05)
            else:
                assert Gated.gate.acquire(timeout=PATIENCE)

    with place.running(Slow) as app:
        until(lambda: status(app).position >= 8)
        found = status(app)
        assert found.handled == found.position < 50
        for _ in range(50):
            Gated.gate.release()
        caught_up(app, Slow)
        assert (status(app).position, status(app).handled) == (50, 50)


class Spread(Scores):
    """Dealt among partitions, of which one can be held up. Its first build, too, waits to be told to serve."""

    partitions = 4
    takes_over = "manual"
    scores = Scores.scores.to_metadata(sa.MetaData(), name="reacting_spread")

    def key(self, recorded: Any) -> str:
        return str(recorded.event.who)

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        if event.who == "slow":
            assert Gated.gate.acquire(timeout=PATIENCE)
        super().scored(event, changes)


def test_a_first_build_serves_only_when_every_worker_has_caught_up_with_its_part(place: Place) -> None:
    with place.running(Spread) as app, place.running(Spread):
        until(lambda: sorted(Counter(one.owner for one in status(app).partitions).values()) == [2, 2])
        for who in ("ann", "bob", "cid", "slow", "dan", "eve"):
            place.store.append(f"game-{who}", scored(who, 1, 2))
        app.administration.switch("spread", 1)
        until(lambda: sum(one.position >= place.store.head() for one in status(app).partitions) == 2)
        with pytest.raises(ViewNotReady):
            scores(app, Spread)
        assert not app.wait_for(Spread, 1, 0.05)
        Gated.gate.release(2)
        until(lambda: is_serving(app))
        caught_up(app, Spread)
        assert scores(app, Spread) == expected_scores(place.store)


def test_two_workers_share_evenly_and_what_one_leaves_the_other_takes_at_once(place: Place) -> None:
    class Five(Consumer):
        partitions = 5

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None: ...

    def owners() -> list[int]:
        found = [one.owner for one in status(first).partitions]
        return sorted(found.count(name) for name in set(found) if name is not None)

    with place.running(Five) as first:
        until(lambda: owners() == [5])
        with place.running(Five):
            until(lambda: owners() == [2, 3])
        until(lambda: owners() == [5])


def test_who_holds_the_only_partition_keeps_it_when_others_join(place: Place) -> None:
    with place.running(Scores, lease_seconds=PATIENCE) as first:  # so long that it cannot run out
        until(lambda: status(first).partitions[0].owner)
        owner = status(first).partitions[0].owner
        for _ in range(4):  # names of workers are by chance: some would sort before it
            with place.running(Scores, lease_seconds=PATIENCE) as other:
                done = place.store.append("game-1", scored("ann", 1))
                assert other.wait_for(Scores, done.position, PATIENCE)
                (runner,) = other._runners
                until(lambda runner=runner: runner.workers[0].holding.workers_alive == 2)  # type: ignore[misc]
                assert status(first).partitions[0].owner == owner


def test_a_new_version_takes_over_though_writers_never_rest(place: Place) -> None:
    place.store.append("game-1", scored("ann", *range(3_000)))
    place.run(Scores)
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.0005):
            place.store.append("game-1", scored("ann", 1, 2, 3))

    writer = threading.Thread(target=write)
    with place.running(Scores, DoubledScores) as app:
        writer.start()
        try:
            until(lambda: is_serving(app, 2))
        finally:
            ended.set()
            writer.join()
        caught_up(app, DoubledScores)
        assert scores(app) == expected_scores(place.store, 2)


def test_one_can_switch_there_and_back_within_one_beat(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    with place.running(Scores, DoubledScores) as app:
        for version, factor in ((2, 2), (1, 1), (2, 2)):
            app.administration.switch("scores", version)
            until(lambda version=version: is_serving(app, version))  # type: ignore[misc]
            done = place.store.append("game-1", scored("ann", 3))
            assert app.wait_for("scores", done.position, PATIENCE)
            assert scores(app) == expected_scores(place.store, factor)


def test_a_worker_that_dies_is_replaced(place: Place, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    turn, faults = Worker._turn, [SystemExit(3)]

    def dying(worker: Worker) -> bool:
        if faults:
            raise faults.pop()
        return turn(worker)

    with place.running(Scores) as app, caplog.at_level(logging.ERROR, "sacho.reacting"):
        caught_up(app, Scores)
        monkeypatch.setattr(Worker, "_turn", dying)
        place.store.append("game-1", scored("ann", 1))
        caught_up(app, Scores)
        assert scores(app) == {"ann": (1, 1)}
    assert not faults
    assert "the worker ended; another begins in its place" in caplog.text


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_failing_event_is_handled_as_often_as_it_may_be_and_the_ones_before_it_once(
    place: Place, attempts: int
) -> None:
    class Failing(Consumer):
        retry = Retry(attempts=attempts, first_pause=0.001, longest_pause=0.001)
        seen: ClassVar[list[int]] = []

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            self.seen.append(event.points)
            if event.points == 3:
                raise ValueError(event.points)

    place.store.append("game-1", scored("ann", 1, 2, 3, 4))
    with place.running(Failing) as app:
        until(lambda: status(app).is_stopped)
        assert Failing.seen == [1, 2] + [3] * attempts
        assert (status(app).handled, app.administration.parked(Failing)[0].attempts) == (2, attempts)


class Announced(Projection):
    """Looks up for each event, and announces it, which fails."""

    independent_keys = True
    retry = Retry(attempts=2, first_pause=0.001, longest_pause=0.001)
    rows = sa.Table("reacting_announced", sa.MetaData(), sa.Column("points", sa.BigInteger, primary_key=True))

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.fetch(sa.select(self.rows))
        changes.execute(self.rows.insert(), {"points": event.points})

        def announce() -> None:
            raise ValueError("nobody listens")

        changes.after_commit(announce)


def test_an_effect_that_raises_is_logged_and_blamed_on_no_other_event(place: Place, caplog: Any) -> None:
    place.run(Announced)
    with place.running(Announced) as app, caplog.at_level(logging.ERROR, "sacho.reacting"):
        place.store.append("game-1", scored("ann", 1, 2, 3))
        caught_up(app, Announced)
        assert app.administration.parked(Announced) == []
        with app.reading(Announced) as view:
            assert len(view.execute(sa.select(Announced.rows)).all()) == 3
    assert caplog.text.count("an effect after the commit failed") == 3


def test_a_retry_of_a_plain_consumers_event_holds_no_lock_however_long_it_takes(place: Place) -> None:
    class Slow(Consumer):
        independent_keys = True
        retry = Retry(attempts=1)
        is_mended: ClassVar[bool] = False

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            if not self.is_mended:
                raise ValueError(event.points)
            Gated.seen.append(event.points)
            assert Gated.gate.acquire(timeout=PATIENCE)

    place.store.append("game-1", scored("ann", 1))
    with place.running(Slow) as app:
        until(lambda: app.administration.parked(Slow))
        Slow.is_mended = True
        app.administration.retry(Slow)
        until(lambda: Gated.seen)
        with app.views.writing() as connection:
            if app.views.dialect == "postgresql":
                connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            connection.execute(sa.text("UPDATE sacho_parked SET attempts = attempts + 1"))
        Gated.gate.release()
        until(lambda: not app.administration.parked(Slow))
        assert status(app).handled == 1


def test_a_rebuild_of_what_started_at_the_end_begins_where_that_was(place: Place) -> None:
    class Late(Scores):
        name = "late"
        start = "end"
        scores = Scores.scores.to_metadata(sa.MetaData(), name="reacting_late")

    place.store.append("game-1", scored("ann", 1))
    place.run(Late)
    place.store.append("game-1", scored("ann", 2, 3))
    with place.running(Late) as app:
        caught_up(app, Late)
        build = app.administration.rebuild(Late).build
        until(lambda: is_serving(app, 1, build))
        assert scores(app, Late) == {"ann": (5, 2)}


def test_lag_is_that_of_the_stream(place: Place) -> None:
    class One(Consumer):
        stream = "game-1"

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None: ...

    place.run(One)
    place.store.append("game-2", scored("ann", 1))
    with place.application(One) as app:
        assert status(app).lag_seconds == 0
        place.store.append("game-1", scored("ann", 1))
        until(lambda: status(app).lag_seconds > 0)


def test_rate_and_time_left_are_told_while_a_build_is_made(place: Place) -> None:
    class Paced(Scores):
        scores = Scores.scores.to_metadata(sa.MetaData(), name="reacting_paced")

        @handles(Scored)
        def scored(self, event: Scored, changes: Changes) -> None:
            threading.Event().wait(0.02)
            super().scored(event, changes)

    place.store.append("game-1", scored("ann", *range(80)))
    with place.application(Paced) as app:
        for builder in Runner(app.store, app._books, app.consumers, moved=print)._builders:
            app.prepare()
            builder.enter()
        assert (status(app).rate, status(app).seconds_left) == (0, None)
        with app.running():
            until(lambda: status(app).position)
            found = status(app)
            assert 1 < found.rate < 60
            assert found.seconds_left == pytest.approx((80 - found.position) / found.rate)
            caught_up(app, Paced)
            assert status(app).seconds_left == 0


def test_a_pace_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("sacho.reacting.pace.time.monotonic", lambda: now[0])
    pace = Pace()
    for events in (1_000, 1_000, 10):
        for _ in range(30):
            now[0] += 1
            pace.note(events, 2 * events)
    assert 10 < pace.rate < 100
    assert pace.speed == pytest.approx(2 * pace.rate)


def test_the_tables_of_a_newer_sacho_are_left_alone(place: Place) -> None:
    place.run(Scores)
    with place.application(Scores) as app:
        with app.views.writing() as connection:
            connection.execute(sa.text("UPDATE sacho_views_format SET format = 99"))
        app._is_prepared = False
        with pytest.raises(NewerSchema, match="upgrade sacho"):
            app.run(once=True)


def test_many_that_open_a_new_file_of_views_at_once_all_succeed(tmp_path: Path) -> None:
    """As processes do: WAL is made by one of them, and SQLite's own waiting does not cover that."""
    code = (
        "import sys, sacho; from sacho.reacting import Application\n"
        "store = sacho.connect('memory://'); app = Application(store, views=sys.argv[1]); sys.stdin.readline()\n"
        "app.prepare(); app.close(); store.close()\n"
    )
    for number in range(3):
        url = f"sqlite:///{tmp_path / f'views-{number}.db'}"
        processes = [
            subprocess.Popen([sys.executable, "-c", code, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(6)
        ]
        for one in processes:
            assert one.stdin is not None
            one.stdin.write(b"\n")
            one.stdin.flush()
        errors = [one.communicate(timeout=60)[1] for one in processes]
        assert [one.returncode for one in processes] == [0] * 6, errors


def test_a_server_that_ends_an_idle_transaction_is_told_in_one_line(postgres_url: str, caplog: Any) -> None:
    class Idle(Announced):
        name = "idle"
        rows = sa.Table("reacting_idle", sa.MetaData(), sa.Column("points", sa.BigInteger, primary_key=True))
        ended: ClassVar[bool] = False

        @handles(Scored)
        def scored(self, event: Scored, changes: Changes) -> None:
            changes.execute(self.rows.insert(), {"points": event.points})
            ((backend,),) = changes.fetch(sa.select(sa.func.pg_backend_pid()))
            if not Idle.ended:
                Idle.ended = True
                _end(postgres_url, backend)

    with sacho.connect(postgres_url) as store, Application(store, consumers=[Idle]) as app:
        with app.running(), caplog.at_level(logging.WARNING, "sacho.reacting"):
            caught_up(app, Idle)
            store.append("game-1", scored("ann", 1))
            caught_up(app, Idle)
        (told,) = [one for one in caplog.records if "waits" in one.getMessage()]
        assert "the views' database" in told.getMessage()
        assert told.exc_info is None
        with app.reading(Idle) as view:
            assert len(view.execute(sa.select(Idle.rows)).all()) == 1


def test_checkpoints_are_found_at_once_where_a_long_time_passed(place: Place) -> None:
    """A start in the past is looked up once, and does not change as the log grows."""

    class Recent(Scores):
        name = "recent"
        start = datetime.now(UTC) - timedelta(hours=1)
        scores = Scores.scores.to_metadata(sa.MetaData(), name="reacting_recent")

    place.store.append("game-1", scored("ann", 1))
    with place.running(Recent) as app:
        caught_up(app, Recent)
        assert scores(app, Recent) == {"ann": (1, 1)}


def test_a_lease_that_is_in_a_commit_is_not_waited_for_when_the_runner_says_that_it_lives(postgres_url: str) -> None:
    with sacho.connect(postgres_url) as store:
        with Application(store, consumers=[Scores]) as app:
            app.run(once=True)
            database = ViewDatabase.open(None, store)
            books = Bookkeeping(database)
            with database.writing() as busy, database.reading() as reading:
                (generation,) = [row.generation for row in books.generations(reading)]
                books.acquire(busy, generation, "me", 1, 4.0, count=1)
                with database.writing() as connection:
                    connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
                    assert books.see(connection, generation, "me", 4.0) == (0, 1)
            database.close()


def test_a_worker_whose_own_sign_of_life_is_old_already_as_it_is_written_counts_itself(place: Place) -> None:
    """A transaction may be held up for longer than a lease lasts: here it lasts no time at all."""
    with place.application(Scores) as app:
        app.run(once=True)
        books = Bookkeeping(app.views)
        with app.views.writing() as connection:
            (generation,) = [row.generation for row in books.generations(connection)]
            assert books.see(connection, generation, "me", 0.0) == (0, 1)


def test_a_runner_that_cannot_begin_says_why_and_ends(place: Place) -> None:
    with place.application(Scores) as app:
        app.run(once=True)
        with app.views.writing() as connection:
            workers.drop(connection)
        with pytest.raises((sa.exc.OperationalError, sa.exc.ProgrammingError), match="sacho_workers"):
            app.run(once=True)


def test_an_event_that_outlasts_a_lease_at_the_stop_is_not_begun_by_another(place: Place) -> None:
    with place.running(Gated) as other:
        until(lambda: status(other).partitions[0].owner is not None)
        first = status(other).partitions[0].owner
        with ThreadPoolExecutor() as pool, place.application(Gated) as app:
            running = other._runners[0]
            place.store.append("game-1", scored("ann", 1))
            until(lambda: Gated.seen)
            ended = pool.submit(running.stop)
            with app.running(lease_seconds=SECONDS):
                threading.Event().wait(3 * SECONDS)  # a lease would have run out twice
                assert Gated.seen == [1]
                assert status(app).partitions[0].owner == first
                Gated.gate.release()
                ended.result()
                until(lambda: status(app).partitions[0].owner not in {None, first})
                assert status(app).position == 1
        assert Gated.seen == [1]


def _end(url: str, backend: int) -> None:
    """End a connection, as the server's timeout does."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (backend,))
