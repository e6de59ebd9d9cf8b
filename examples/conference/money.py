"""Money: each movement is asked of the payment provider once. One process per payment: it is charged, and perhaps given back."""

from __future__ import annotations

from collections.abc import Iterator

from examples.conference.payments import PaymentInitiated, PaymentRefunded
from examples.conference.provider import Charge, GiveBack
from examples.conference.seating import Nothing
from sacho.reacting import Done, Moment, ProcessManager, Reaction, Send, continues, starts


class Money(ProcessManager[Nothing]):
    """Has payments charged and refunds given. Whether money came, the provider says in its own time."""

    initial = Nothing()

    @starts(PaymentInitiated, key="payment_id")
    def initiated(self, event: PaymentInitiated, state: Nothing, moment: Moment) -> Iterator[Reaction]:
        yield Send(Charge(event.payment_id, event.amount))
        yield Done()

    @continues(PaymentRefunded, key="payment_id", when_done=True)
    def refunded(self, event: PaymentRefunded, state: Nothing, moment: Moment) -> Iterator[Reaction]:
        yield Send(GiveBack(event.payment_id, event.amount))
        yield Done()
