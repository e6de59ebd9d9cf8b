"""Accounting: a ledger of payments and refunds. Exactly once, since the ledger and how far it was read are written together."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa

from examples.conference.neighbours.heard import PaymentReceived, PaymentRefunded
from sacho.reacting import Changes, Projection, View, handles


class Ledger(Projection):
    """One entry for each movement of money, in order; what goes back is below zero. Amounts are text, as exact as they came."""

    entries = sa.Table(
        "ledger",
        sa.MetaData(),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("booked_at", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("payment_id", sa.Text, nullable=False),
        sa.Column("amount", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )

    def prepare(self) -> None:
        self.enter = self.upsert(self.entries)

    @handles(PaymentReceived)
    def received(self, event: PaymentReceived, changes: Changes) -> None:
        self._book(event, event.amount, "payment", changes)

    @handles(PaymentRefunded)
    def refunded(self, event: PaymentRefunded, changes: Changes) -> None:
        self._book(event, -event.amount, f"refund: {event.reason}", changes)

    def _book(self, event: PaymentReceived | PaymentRefunded, amount: Decimal, note: str, changes: Changes) -> None:
        entry = {
            "number": changes.recorded.position,
            "booked_at": changes.recorded.recorded_at.isoformat(),
            "order_id": event.order_id,
            "payment_id": event.payment_id,
            "amount": str(amount),
            "note": note,
        }
        changes.execute(self.enter, entry)


class Entry(NamedTuple):
    """A movement of money."""

    order_id: str
    payment_id: str
    amount: Decimal
    note: str


def ledger(view: View) -> list[Entry]:
    """Return all entries, in order."""
    c = Ledger.entries.c
    rows = view.execute(sa.select(Ledger.entries).order_by(c.number))
    return [Entry(row.order_id, row.payment_id, Decimal(row.amount), row.note) for row in rows]


def balance(view: View) -> Decimal:
    """Return how much money is there."""
    return sum((entry.amount for entry in ledger(view)), start=Decimal(0))
