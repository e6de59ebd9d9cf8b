"""Orders as the domain records them, what others are told of them, and a relay in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any

import msgspec

from sacho import Decider, Event, EventStore
from sacho.deciding import Retry
from sacho.reacting import Context, Message, PublicEvent, Relay, one_by_one, publishes

AT_ONCE = Retry(attempts=3, first_pause=0.001, longest_pause=0.001)
SOURCE = "urn:conference:booking"


class Placed(Event, type="MessagingPlaced"):
    order_id: str
    seats: int
    price: Decimal = Decimal("10.00")


class Paid(Event, type="MessagingPaid"):
    order_id: str


class Noted(Event, type="MessagingNoted"):
    """A number for an order; relayed as it is."""

    order_id: str
    number: int
    text: str = ""


class Confirmed(PublicEvent, type="conference.order-confirmed"):
    order_id: str
    seats: int
    total: Decimal


class ConfirmedAgain(PublicEvent, type="conference.order-confirmed", version=2):
    order_id: str
    at: datetime


class Told(PublicEvent, type="conference.told"):
    number: int
    text: str = ""


class Order(msgspec.Struct, frozen=True):
    seats: int = 0
    total: Decimal = Decimal(0)


class Orders(Decider[Any, Order, Any]):
    initial = Order()

    def evolve(self, state: Order, event: Any) -> Order:
        match event:
            case Placed(_, seats, price):
                return Order(seats, seats * price)
            case _:
                return state


class Outside(Relay):
    """Two domain events become one; of some nothing is told, of some twice."""

    name = "outside"
    source = SOURCE
    retry = AT_ONCE

    @publishes(Paid, key="order_id")
    def paid(self, event: Paid, context: Context) -> Iterator[PublicEvent]:
        order = context.fold(Orders())
        if order.seats:
            yield Confirmed(event.order_id, order.seats, order.total)
            yield ConfirmedAgain(event.order_id, context.recorded.recorded_at)

    @publishes(Noted, key=lambda event: event.order_id)
    def noted(self, event: Noted, context: Context) -> PublicEvent | None:
        return Told(event.number, event.text) if event.number >= 0 else None


class Shelf:
    """A target that keeps what it is given; or fails, as told by `fails`."""

    at_once = 50

    def __init__(self, fails: Callable[[Message], BaseException | None] = lambda message: None) -> None:
        self.fails = fails
        self.messages: list[Message] = []
        self.tries = 0
        self._lock = Lock()

    def send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        with self._lock:
            return one_by_one(messages, self._take)

    def _take(self, message: Message) -> None:
        self.tries += 1
        error = self.fails(message)
        if error is not None:
            raise error
        self.messages.append(message)

    @property
    def by_key(self) -> dict[str, list[int]]:
        """The numbers that each key was told, in order."""
        return numbers_by_key(self.messages)


def numbers_by_key(messages: Sequence[Message]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for message in messages:
        assert isinstance(message.event, Told)
        found.setdefault(message.key, []).append(message.event.number)
    return found


def note(store: EventStore, *numbers: int, order: str = "1", text: str = "") -> int:
    """Append numbers for an order; return the last one's position."""
    return store.append(f"orders-{order}", [Noted(order, number, text) for number in numbers]).position
