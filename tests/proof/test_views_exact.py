"""Views are exact, whatever is killed, stopped, woken, and whoever joins or leaves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from sacho import Query, QueryItem
from sacho.reacting import Application
from tests.proof import reacting_programs
from tests.proof.processes import until
from tests.proof.reacting_programs import TOTAL, Counted, Shared
from tests.proof.view_programs import LEASE_SECONDS, Account, Accounts, Paid, Totals, application

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 180.0
ACCOUNTS = 20


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    return url_of(request.param)


def start(url: str) -> subprocess.Popen[bytes]:
    """Start a runner and wait until it runs."""
    program = [sys.executable, "-m", "tests.proof.view_programs", url]
    process = subprocess.Popen(
        program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a runner end by itself, if it lives, and wait for it."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait(PATIENCE)


@contextmanager
def writing(app: Application) -> Iterator[None]:
    """Append, from another thread, as long as the block lasts."""
    stopping = threading.Event()

    def write() -> None:
        chance = random.Random(1)
        while not stopping.is_set():
            account = f"a{chance.randrange(ACCOUNTS)}"
            app.store.append(
                f"accounts-{account}", [Paid(account, chance.randint(1, 9)) for _ in range(chance.randint(1, 5))]
            )
            stopping.wait(0.0005)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def handled(app: Application) -> int:
    return sum(one.handled for one in app.administration.status())


def some_are_handled(app: Application, chance: random.Random) -> None:
    """Wait until some more events are handled, or a moment has passed."""
    wanted, ends = handled(app) + chance.randint(0, 300), time.monotonic() + chance.uniform(0.0, 0.3)
    while handled(app) < wanted and time.monotonic() < ends:
        pass


def check(app: Application) -> int:
    """Check both views against the log; return how many events it has."""
    amounts: dict[str, Account] = {}
    count = 0
    for recorded in app.store.read_all(Query(QueryItem(types=[Paid]))):
        for name in (recorded.event.account, "all"):
            before = amounts.get(name, Account())
            amounts[name] = Account(before.amount + recorded.event.amount, before.events + 1)
        count += 1
    with app.reading(Totals) as view:
        rows = {row.account: row for row in view.execute(sa.select(Totals.totals))}
    assert {name: Account(row.amount, row.events) for name, row in rows.items()} == amounts
    assert [row for row in rows.values() if row.faults] == []
    del amounts["all"]
    with app.reading(Accounts) as view:
        documents = {row.key: row.document for row in view.execute(sa.select(Accounts.view))}
    assert documents == {name: f'{{"amount":{one.amount},"events":{one.events}}}' for name, one in amounts.items()}
    assert [one.handled for one in app.administration.status()] == [count, count]
    return count


def begin_total(app: Application) -> None:
    """Make the row that all workers share."""
    with app.running():
        assert app.wait_for(Totals, 0, PATIENCE)
    with app.views.writing() as connection:
        connection.execute(
            sa.text("INSERT INTO proof_totals_v1 (account, amount, events, faults) VALUES ('all', 0, 0, 0)")
        )


def test_runners_killed_at_random_instants_leave_views_exact(
    url: str, soak_count: Callable[[int], int], counted: Callable[[str, object], None]
) -> None:
    chance, rounds = random.Random(4), soak_count(50)
    with application(url) as app:
        begin_total(app)
        with writing(app):
            for _ in range(rounds):
                process = start(url)
                some_are_handled(app, chance)
                kill(process)
        app.run(once=True)
        counted(f"{url.partition(':')[0]}: runners killed / events exact in both views", (rounds, check(app)))


def test_workers_that_join_leave_and_die_keep_order_and_one_total_exact(
    url: str, soak_count: Callable[[int], int], counted: Callable[[str, object], None]
) -> None:
    chance, changes = random.Random(5), soak_count(50)
    with application(url) as app:
        begin_total(app)
        workers = [start(url) for _ in range(3)]
        with writing(app):
            for _ in range(changes):
                some_are_handled(app, chance)
                if len(workers) < 2 or (len(workers) < 4 and chance.random() < 0.5):
                    workers.append(start(url))
                else:
                    (kill if chance.random() < 0.5 else end)(workers.pop(chance.randrange(len(workers))))
        for worker in workers:
            end(worker)
        app.run(once=True)
        counted(f"{url.partition(':')[0]}: workers changed / events exact and in order", (changes, check(app)))


def test_a_stopped_worker_that_wakes_after_its_lease_commits_nothing(
    url: str, soak_count: Callable[[int], int], counted: Callable[[str, object], None]
) -> None:
    rounds = soak_count(10)
    with application(url) as app:
        begin_total(app)
        for _ in range(rounds):
            process = start(url)
            with writing(app):
                some_are_handled(app, random.Random(6))
                # one that is stopped within its commit to SQLite holds up all others until it wakes, the writer, too
                woken = threading.Timer(3 * LEASE_SECONDS, os.kill, (process.pid, signal.SIGCONT))
                os.kill(process.pid, signal.SIGSTOP)
                woken.start()
            with app.running(lease_seconds=LEASE_SECONDS):
                assert app.wait_for(Totals, app.store.head(), PATIENCE)
                woken.join()
            end(process)
        app.run(once=True)
        counted(f"{url.partition(':')[0]}: workers stopped and woken / events exact", (rounds, check(app)))


@contextmanager
def stopping_itself(url: str, instant: str, events: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker that stops itself at one of the next events."""
    program = [sys.executable, "-m", "tests.proof.reacting_programs", "stops", url, instant, str(events)]
    process = subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        yield process
    finally:
        kill(process)


def wait_until_stopped(process: subprocess.Popen[bytes]) -> None:
    until(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG))


def append_some(app: Application, count: int) -> None:
    for number in range(count):
        app.store.append(f"counted-{number % 40}", [Counted(str(number % 40))])


def check_shared(app: Application) -> int:
    """Check the shared view against the log; return how many events it has."""
    counts: dict[str, int] = {}
    for recorded in app.store.read_all(Query(QueryItem(types=[Counted]))):
        for key in (recorded.event.key, TOTAL):
            counts[key] = counts.get(key, 0) + 1
    with app.reading(Shared) as view:
        rows = {row.key: row for row in view.execute(sa.select(Shared.rows))}
    assert {key: row.n for key, row in rows.items()} == counts
    assert {key: row.last for key, row in rows.items()} == {**counts, TOTAL: 0}
    assert [row for row in rows.values() if row.faults] == []
    assert [one.handled for one in app.administration.status()] == [counts[TOTAL]]
    return counts[TOTAL]


@pytest.mark.parametrize(
    ("engine", "instant"), [("sqlite", "gathered"), ("postgres", "gathered"), ("postgres", "transaction")]
)
def test_a_worker_stopped_at_its_worst_instant_is_taken_over_and_its_commit_refused(
    engine: str,
    instant: str,
    url_of: Callable[[str], str],
    soak_count: Callable[[int], int],
    counted: Callable[[str, object], None],
) -> None:
    """It sleeps until the others are done, however long. (On SQLite nobody can write while one sleeps in a transaction.)"""
    chance, rounds, url = random.Random(7), soak_count(10), url_of(engine)
    with reacting_programs.application(url) as app:
        append_some(app, 40)
        app.run(once=True)
        for _ in range(rounds):
            with stopping_itself(url, instant, chance.randint(1, 100)) as process:
                append_some(app, 200)
                wait_until_stopped(process)
                with app.running(lease_seconds=LEASE_SECONDS):
                    assert app.wait_for(Shared, app.store.head(), PATIENCE)
                    before = check_shared(app)
                    os.kill(process.pid, signal.SIGCONT)
                    said, _ = process.communicate(timeout=PATIENCE)
                    assert process.returncode == 0
                    assert check_shared(app) == before
                    refused = (
                        said.strip() == b"LeaseLost" if instant == "gathered" else b"Error" in said or b"View" in said
                    )
                    assert refused, said
                    append_some(app, 50)
                    assert app.wait_for(Shared, app.store.head(), PATIENCE)
        counted(f"{engine}: workers stopped when {instant} and woken / events exact", (rounds, check_shared(app)))
