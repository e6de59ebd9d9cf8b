"""Starting programs of consumers, having events come, and what views must hold by them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import sqlalchemy as sa

from sacho import Query, QueryItem
from sacho.reacting import Application
from tests.proof.consumer_programs import TOTAL, Entered, Sums
from tests.proof.processes import ROOT, WAIT, command

ACCOUNTS = 20


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


def enter_many(app: Application, count: int) -> None:
    """Append so many events, to the accounts in turn, many at a time."""
    for number in range(count // 50):
        account = f"a{number % ACCOUNTS}"
        app.store.append(f"accounts-{account}", [Entered(account, 1 + n % 9) for n in range(50)])


def check_sums(app: Application, kind: type[Sums] = Sums) -> int:
    """A view of sums is what the log comes to, each account in order; return how many events it has."""
    amounts: dict[str, tuple[int, int]] = {}
    events = entered(app)
    for event in events:
        for name in (event.account, TOTAL):
            amount, count = amounts.get(name, (0, 0))
            amounts[name] = (amount + kind.factor * event.amount, count + 1)
    with app.reading(kind) as view:
        rows = list(view.execute(sa.select(kind.rows)))
    assert {row.account: (row.amount, row.events) for row in rows} == amounts
    assert [row for row in rows if row.faults] == []
    return len(events)
