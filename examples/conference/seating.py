"""Seating: an order that is confirmed has its places, once; when it is cancelled, they are withdrawn."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from examples.conference.assignments import CreateSeatAssignments, WithdrawSeatAssignments
from examples.conference.orders import OrderCancelled, OrderConfirmed
from sacho.reacting import Done, Moment, ProcessManager, Reaction, Send, continues, starts


class Nothing(msgspec.Struct, frozen=True):
    """There is nothing to remember: that the process took its step is enough."""


def confirmed_order(event: OrderCancelled) -> str | None:
    """Return the order that was cancelled, if it had places."""
    return event.order_id if event.was_confirmed else None


class Seating(ProcessManager[Nothing]):
    """Has places made and withdrawn. A second OrderConfirmed finds the process done, and makes no second places."""

    initial = Nothing()

    @starts(OrderConfirmed, key="order_id")
    def confirmed(self, event: OrderConfirmed, state: Nothing, moment: Moment) -> Iterator[Reaction]:
        yield Send(CreateSeatAssignments(event.order_id, event.seats))
        yield Done()

    @continues(OrderCancelled, key=confirmed_order, when_done=True)
    def cancelled(self, event: OrderCancelled, state: Nothing, moment: Moment) -> Iterator[Reaction]:
        yield Send(WithdrawSeatAssignments(event.order_id))
        yield Done()
