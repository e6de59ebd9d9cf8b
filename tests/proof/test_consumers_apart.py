"""Consumers stand apart: from each other, from those who write, and from what their own deaths and doubles do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from sacho import Query, QueryItem
from sacho.reacting import Application
from tests.proof.consumer_programs import (
    CALLED,
    DELIVERED,
    EXACT,
    LEASE_SECONDS,
    Entered,
    Ledger,
    effects,
    make_tallies,
    tallies,
)
from tests.proof.processes import ROOT, WAIT, Count, Counted, command, until

ACCOUNTS = 20


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    return url_of(request.param)


@pytest.fixture
def effects_url(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> str:
    """The URL of a database for effects, apart from the log's."""
    if url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'effects.db'}"
    found: str = request.getfixturevalue("postgres_database_url")
    return found


@contextmanager
def program(name: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program of consumers; it is killed at the end of the block."""
    process = subprocess.Popen(
        command(f"consumer_programs.{name}", *arguments),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(WAIT)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def entered(app: Application) -> list[Entered]:
    """Return what the log has, in order."""
    return [recorded.event for recorded in app.store.read_all(Query(QueryItem(types=[Entered])))]


def enter(app: Application, chance: Random, *, is_poison: bool = False) -> int:
    """Append an event to one of the accounts; return its position."""
    account = f"a{chance.randrange(ACCOUNTS)}"
    event = Entered(account, chance.randint(1, 9), is_poison)
    return app.store.append(f"accounts-{account}", [event]).position


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
        """Have some events come; wake who is stopped when the others have passed it, or are all stopped as well.

        Return how many have died, and how many were passed.
        """
        (status,) = self._app.administration.status()
        if status.lag_events < 60:
            for _ in range(5):
                enter(self._app, self._chance)
        states = {process: state_of(process) for process in self._alive}
        assert {*states.values()} <= {None, os.CLD_KILLED, os.CLD_STOPPED}
        for process in [one for one, state in states.items() if state == os.CLD_KILLED]:
            self._alive[self._alive.index(process)] = self._start()
            self.died += 1
        for process in [one for one, state in states.items() if state == os.CLD_STOPPED]:
            is_passed = status.position >= self._stopped_at.setdefault(process.pid, status.head)
            if is_passed or {*states.values()} == {os.CLD_STOPPED}:
                process.send_signal(signal.SIGCONT)
                self.passed += is_passed
        return self.died, self.passed

    def _start(self, stops_at: int = 0) -> subprocess.Popen[bytes]:
        dies_at = self._chance.randint(2, 60) if self._may_die else 0
        if dies_at and self._chance.random() < 0.5:
            stops_at = self._chance.randint(1, dies_at)
        return self.held.enter_context(program("ledger", *self._urls, stops_at, dies_at))


def test_three_workers_that_die_stop_and_handle_twice_keep_one_total_exact(
    url: str, effects_url: str, soak_count: Count, counted: Counted
) -> None:
    engine, rounds = effects(effects_url), soak_count(50)
    make_tallies(engine)
    with Application(url, consumers=[Ledger(engine)]) as app:
        app.run(once=True)
        workers = Workers(app, url, effects_url)
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
