"""A worker that stops itself at a chosen instant: `python -m tests.proof.reacting_programs stops URL INSTANT EVENTS`.

It is stopped as by SIGSTOP from outside, but always where it hurts: with events gathered, or within its transaction.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import sqlalchemy as sa

from sacho import Event
from sacho.reacting import Application, Changes, Projection, handles
from sacho.reacting.runner import Runner
from sacho.reacting.worker import Worker

LEASE_SECONDS = 1.0
TOTAL = "all"


looking = threading.Lock()
"""Held while the runner looks after its leases."""


def stop_here() -> None:
    """Stop the process with this thread at this very place, and none within a transaction of the runner's.

    A signal to the process may be taken by another thread, and this one would go on for a moment, and might commit.
    """
    with looking:
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


class Counted(Event, type="ProofCounted"):
    key: str


class Shared(Projection):
    """A row for each key, with the last version seen and how often it was not the next one; and one total over all."""

    name = "proof-shared"
    partitions = 8
    rows = sa.Table(
        "proof_shared",
        sa.MetaData(),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("faults", sa.BigInteger, nullable=False),
    )

    instant = ""
    left = 0
    """At how many events from now the process stops; 0 for never."""

    def prepare(self) -> None:
        name = self.rows.name
        self.add: Any = sa.text(
            f"INSERT INTO {name} (key, n, last, faults)"  # noqa: S608 - the table's own name
            " VALUES (:key, :d, :version, CASE WHEN :version > 1 THEN 1 ELSE 0 END)"
            f" ON CONFLICT (key) DO UPDATE SET n = {name}.n + excluded.n, last = excluded.last, faults = {name}.faults"
            f" + CASE WHEN excluded.last IN (0, {name}.last + 1) THEN 0 ELSE 1 END"
        ).bindparams(
            sa.bindparam("key", type_=sa.Text),
            sa.bindparam("d", type_=sa.BigInteger),
            sa.bindparam("version", type_=sa.BigInteger),
        )

    @handles(Counted)
    def counted(self, event: Counted, changes: Changes) -> None:
        changes.execute(self.add, {"key": event.key, "d": 1, "version": changes.recorded.version})
        changes.execute(self.add, {"key": TOTAL, "d": 1, "version": 0})
        if self.left:
            self.left -= 1
            if not self.left:
                if self.instant == "transaction":
                    changes.fetch(sa.select(self.rows.c.n))
                stop_here()


def application(url: str, shared: Shared | None = None) -> Application:
    return Application(url, consumers=[shared or Shared()])


def stops(url: str, instant: str, events: str) -> None:
    """Run until standard input ends; stop at an event on the way. Say whether the first commit after it was refused."""
    shared = Shared()
    commit, look, answers = Worker.commit, Runner._look, []

    def noted(worker: Worker, position: int) -> None:
        # the projection is bound to its tables as a copy, which the worker has
        is_woken = worker.consumer.__dict__.get("left") == 0
        try:
            commit(worker, position)
        except Exception as error:
            answers.extend([type(error).__name__] if is_woken else [])
            raise
        answers.extend(["committed"] if is_woken else [])

    def looked(runner: Runner) -> None:
        with looking:
            look(runner)

    shared.instant, shared.left = instant, int(events)
    setattr(Worker, "commit", noted)  # noqa: B010 - so that the types need no exception
    setattr(Runner, "_look", looked)  # noqa: B010
    with application(url, shared) as app, app.running(lease_seconds=LEASE_SECONDS):
        print("running", flush=True)
        sys.stdin.read()
    print(answers[0] if answers else "nothing", flush=True)


if __name__ == "__main__":
    {"stops": stops}[sys.argv[1]](*sys.argv[2:])
