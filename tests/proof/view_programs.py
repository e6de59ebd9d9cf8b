"""What proofs of views run as processes of their own: `python -m tests.proof.view_programs URL` runs the consumers until it is killed."""

from __future__ import annotations

import sys
import threading
from typing import Any

import msgspec
import sqlalchemy as sa

from sacho import Event
from sacho.reacting import Application, Changes, DocumentView, Projection, handles

PARTITIONS = 4
LEASE_SECONDS = 1.0


class Paid(Event, type="ProofPaid"):
    account: str
    amount: int


class Totals(Projection):
    """A total for each account and one over all, which several workers keep; and where an account's order was broken."""

    name = "proof-totals"
    partitions = PARTITIONS
    totals = sa.Table(
        "proof_totals",
        sa.MetaData(),
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("faults", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        c = self.totals.c
        amount, version = sa.bindparam("more", type_=sa.BigInteger), sa.bindparam("at", type_=sa.BigInteger)
        is_next = c.events == version - 1
        self.add: Any = (
            self.totals.update()
            .where(c.account == sa.bindparam("name"))
            .values(
                amount=c.amount + amount,
                events=c.events + 1,
                faults=c.faults + sa.case((sa.or_(version == 0, is_next), 0), else_=1),
            )
        )
        there = sa.select(1).where(c.account == sa.bindparam("name"))
        new = sa.select(sa.bindparam("name", type_=sa.Text), sa.literal(0), sa.literal(0), sa.literal(0))
        self.begin: Any = self.totals.insert().from_select(
            ["account", "amount", "events", "faults"], new.where(~there.exists())
        )

    @handles(Paid)
    def paid(self, event: Paid, changes: Changes) -> None:
        version = changes.recorded.version or 0
        if version == 1:
            changes.execute(self.begin, {"name": event.account})
        changes.execute(self.add, {"name": event.account, "more": event.amount, "at": version})
        changes.execute(self.add, {"name": "all", "more": event.amount, "at": 0})


class Account(msgspec.Struct, frozen=True):
    """What an account came to."""

    amount: int = 0
    events: int = 0


class Accounts(DocumentView[Account]):
    """The same as documents."""

    name = "proof-accounts"

    @handles(Paid, key="account")
    def paid(self, event: Paid, account: Account | None) -> Account:
        before = account or Account()
        return Account(before.amount + event.amount, before.events + 1)


def application(url: str) -> Application:
    """Return the application."""
    return Application(url, consumers=[Totals, Accounts])


def main() -> None:
    """Run the consumers; say so; end when standard input does."""
    stopping = threading.Event()
    with application(sys.argv[1]) as app, app.running(lease_seconds=LEASE_SECONDS):
        print("running", flush=True)
        sys.stdin.read()
        stopping.set()


if __name__ == "__main__":
    main()
