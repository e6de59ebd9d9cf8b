"""What proofs of consumers run as processes of their own: `python -m tests.proof.consumer_programs NAME ...`.

Each runs its consumers until standard input ends, or it is killed. One kills or stops itself where it hurts: behind the
commit of an effect, before the checkpoint; or with an event in hand whose effect is not begun.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import sqlalchemy as sa

import sacho
from sacho import Event
from sacho.deciding import Retry
from sacho.reacting import Application, Changes, Consumer, Delivery, HandledIds, Projection, handles
from sacho.reacting.runner import Runner
from tests.proof.reacting_programs import looking, stop_here

PARTITIONS = 4
LEASE_SECONDS = 1.0
TOTAL = "all"
AT_ONCE = Retry(attempts=2, first_pause=0.001, longest_pause=0.001)


class Entered(Event, type="ProofEntered"):
    """An amount that is entered into an account; `is_poison` says that who has not been mended cannot handle it."""

    account: str
    amount: int
    is_poison: bool = False


# --- one total, in a database of its own ---------------------------------------------------------------

tallies = sa.Table(
    "proof_tallies",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
)
"""Three totals: of the messages that are new (`exact`), of all deliveries, and of all calls of the handler."""

EXACT, DELIVERED, CALLED = "exact", "delivered", "called"


def effects(url: str) -> sa.Engine:
    """Return the engine of the database of the effects."""
    if url.startswith("sqlite"):
        return sa.create_engine(url, connect_args={"timeout": 60})
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))


def make_tallies(engine: sa.Engine) -> None:
    """Make the tables of the effects. SQLite's are in WAL mode: several who write starve each other without it."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    HandledIds(Ledger.name).make_table(engine)
    tallies.create(engine)
    with engine.begin() as connection:
        for name in (EXACT, DELIVERED, CALLED):
            connection.execute(tallies.insert().values(name=name, amount=0, events=0))


class Ledger(Consumer):
    """Adds what is entered to one total; some of its calls are made twice, at the same time."""

    name = "proof-ledger"
    partitions = PARTITIONS
    retry = Retry(attempts=2**31, first_pause=0.01, longest_pause=0.1)

    def __init__(self, engine: sa.Engine, *, stops_at: int = 0, dies_at: int = 0) -> None:
        """At the events of these numbers, counted from 1 by this process, it stops or kills itself; 0 is never."""
        self._engine = engine
        self._handled_ids = HandledIds(self.name)
        self._chance = Random(os.getpid())
        self._threads = ThreadPoolExecutor(2)
        self._stops_at = stops_at
        self._dies_at = dies_at
        self._count = 0

    @handles(Entered)
    def entered(self, event: Entered, delivery: Delivery) -> None:
        self._count += 1
        if self._count == self._stops_at:
            stop_here()
        calls = 2 if self._chance.random() < 0.2 else 1
        for call in [self._threads.submit(self._add, event, delivery, is_first=not n) for n in range(calls)]:
            call.result()
        if self._count == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _add(self, event: Entered, delivery: Delivery, *, is_first: bool) -> None:
        """Add to the total in one transaction with the message's id; and, whatever the id says, to those beside it."""
        with self._engine.begin() as connection:
            is_new = self._handled_ids.is_new(connection, delivery)
            for name in [EXACT] * is_new + [DELIVERED] * is_first + [CALLED]:
                more = {"amount": tallies.c.amount + event.amount, "events": tallies.c.events + 1}
                connection.execute(tallies.update().where(tallies.c.name == name).values(more))


# --- totals in a view ----------------------------------------------------------------------------------


class Sums(Projection):
    """A row for each account, with where its order was broken; and one total over all, which several workers keep."""

    name = "proof-sums"
    partitions = PARTITIONS
    factor = 1
    rows = sa.Table(
        "proof_sums",
        sa.MetaData(),
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("faults", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        name, is_next = self.rows.name, f"excluded.last IN (0, {self.rows.name}.last + 1)"
        self.add: Any = sa.text(
            f"INSERT INTO {name} (account, amount, events, last, faults)"
            " VALUES (:account, :amount, 1, :version, CASE WHEN :version > 1 THEN 1 ELSE 0 END)"
            f" ON CONFLICT (account) DO UPDATE SET amount = {name}.amount + excluded.amount, events = {name}.events + 1,"
            f" last = excluded.last, faults = {name}.faults + CASE WHEN {is_next} THEN 0 ELSE 1 END"
        ).bindparams(
            sa.bindparam("account", type_=sa.Text),
            sa.bindparam("amount", type_=sa.BigInteger),
            sa.bindparam("version", type_=sa.BigInteger),
        )

    @handles(Entered)
    def entered(self, event: Entered, changes: Changes) -> None:
        amount = event.amount * self.factor
        changes.execute(self.add, {"account": event.account, "amount": amount, "version": changes.recorded.version})
        changes.execute(self.add, {"account": TOTAL, "amount": amount, "version": 0})


class DoubledSums(Sums):
    """The second version: all counts twice."""

    name = "proof-sums"
    version = 2
    factor = 2


class Poisoned(Sums):
    """The same, whose accounts are independent; until it is mended, it raises for some events."""

    name = "proof-poisoned"
    independent_keys = True
    most_parked = 1_000
    retry = AT_ONCE
    rows = Sums.rows.to_metadata(sa.MetaData(), name="proof_poisoned")

    def __init__(self, *, is_mended: bool, dies_at: int = 0) -> None:
        """At the event of a number, counted from 1 by this process, it kills itself; 0 is never."""
        self._is_mended = is_mended
        self._dies_at = dies_at
        self._count = 0

    @handles(Entered)
    def entered(self, event: Entered, changes: Changes) -> None:
        if event.is_poison and not self._is_mended:
            raise ValueError("poison")
        super().entered(event, changes)
        self._count += 1
        if self._count == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


# --- programs ------------------------------------------------------------------------------------------


def run(app: Application) -> None:
    """Run the consumers until standard input ends."""
    with app, app.running(lease_seconds=LEASE_SECONDS):
        print("running", flush=True)
        sys.stdin.read()


def ledger(url: str, url_of_effects: str, stops_at: str, dies_at: str) -> None:
    """Keep the total; stop, and die, at an event of this process. It never stops while the runner holds locks."""
    look = Runner._look

    def looked(runner: Runner) -> None:
        with looking:
            look(runner)

    setattr(Runner, "_look", looked)  # noqa: B010 - so that the types need no exception
    kept = Ledger(effects(url_of_effects), stops_at=int(stops_at), dies_at=int(dies_at))
    run(Application(url, consumers=[kept]))


def sums(url: str, *versions: str) -> None:
    """Keep the sums, of these versions."""
    run(Application(url, consumers=[{"1": Sums, "2": DoubledSums}[version] for version in versions]))


def writes(url: str) -> None:
    """Append one event after the other, to accounts of its own; not so many that builds get longer and longer."""
    pace = threading.Event()
    with sacho.connect(url) as store:
        for number in itertools.count():
            account = f"w{number % 7}"
            store.append(f"accounts-{account}", [Entered(account, 1 + number % 9)])
            pace.wait(0.002)


def mended(url: str, dies_at: str = "0") -> None:
    """Keep what was poisoned, by the handler that is mended; die at an event of this process."""
    run(Application(url, consumers=[Poisoned(is_mended=True, dies_at=int(dies_at))]))


PROGRAMS: dict[str, Callable[..., None]] = {"ledger": ledger, "sums": sums, "writes": writes, "mended": mended}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
