"""Checks across entities, made before a command is handled: who waits or pays does so for an order, and for what it asked for.

Deciders see one stream only. These facts can be looked up beforehand, without a condition on the append, since they never
cease to hold: an order that was placed stays, with its conference and the prices of what it asked for.
"""

from __future__ import annotations

from examples.conference.orders import Order, UnknownOrder, order_stream
from examples.conference.payments import InitiatePayment
from examples.conference.rules import InvalidField
from examples.conference.seats import UnknownSeatType
from examples.conference.waiting import JoinWaitingList
from sacho import EventStore


def check_order(store: EventStore, command: object) -> None:
    """Raise UnknownOrder, InvalidField or UnknownSeatType for a command about an order that cannot be meant."""
    if not isinstance(command, InitiatePayment | JoinWaitingList):
        return
    events = (recorded.event for recorded in store.read(order_stream(command.order_id)))
    order = Order().fold(Order.initial, events)
    if order.phase == "none":
        raise UnknownOrder(command.order_id)
    if isinstance(command, JoinWaitingList):
        if command.conference_id != order.conference_id:
            raise InvalidField("conference_id", "is another one than that of the order")
        if command.seat_type not in order.prices:
            raise UnknownSeatType(command.seat_type)
