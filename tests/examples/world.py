"""A running conference for tests: the whole application over an engine, with a clock in hand and a provider that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from examples.conference.booking import application
from examples.conference.invariants import faults
from examples.conference.management import AddSeatType, CreateConference, Details, PublishConference
from examples.conference.orders import AssignRegistrant, RegisterToConference
from examples.conference.payments import InitiatePayment
from examples.conference.provider import SimulatedProvider
from examples.conference.read_models.conferences import ConferencePage, ConferencePages
from examples.conference.read_models.orders import DraftOrder, DraftOrders, PricedOrder, PricedOrders
from examples.conference.seats import Seats
from sacho import EventStore, Query, QueryItem
from sacho.deciding import Outcome
from sacho.events import CommandDue, ProcessAdvanced
from sacho.reacting import Application, DocumentView
from sacho.testing import ManualClock

E = TypeVar("E")
D = TypeVar("D")

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
PATIENCE = 180.0
"""Seconds after which a test says that something hangs."""
PRICES = {"GA": Decimal("199.00"), "WS": Decimal("500.00"), "CP": Decimal("50.00")}
DETAILS = Details("PyConf", "All about Python", "Seoul", "Write less", date(2027, 5, 1), date(2027, 5, 3))


class World:
    """One conference, `c1`, and those who deal with it. What one does returns at once; `settle` waits for what it leads to."""

    def __init__(self, app: Application, clock: ManualClock, provider: SimulatedProvider) -> None:
        self.app = app
        self.clock = clock
        self.provider = provider

    def do(self, command: Any, **more: Any) -> Outcome:
        """Let a caller give a command."""
        return self.app.bus.handle(command, **more)

    def open(self, prices: dict[str, Decimal] = PRICES, **quantities: int) -> None:
        """Create the conference with these seats, publish it, and wait until they can be booked."""
        self.do(CreateConference("c1", "pyconf", "C0FFEE", "Ann", "ann@example.org", DETAILS))
        for seat_type, quantity in quantities.items():
            self.do(AddSeatType("c1", seat_type, f"Seats {seat_type}", "", quantity, prices[seat_type]))
        self.do(PublishConference("c1"))
        self.settle()

    def register(self, order_id: str, **seats: int) -> None:
        """Want seats at the prices that are shown, and wait for the answer."""
        page = self.page()
        self.do(RegisterToConference(order_id, "c1", seats, page.prices, f"CODE{order_id[-2:]:0>2}", self.clock()))
        self.settle()

    def pay(self, order_id: str, payment_id: str, amount: str | None = None) -> None:
        """Say who one is and pay what the order costs; what the provider says, it says by its plan."""
        self.do(AssignRegistrant(order_id, "Bob", "Kim", f"{order_id}@example.org"))
        total = self.read(PricedOrders, order_id).total if amount is None else Decimal(amount)
        self.do(InitiatePayment(payment_id, order_id, total))
        self.settle()

    def page(self) -> ConferencePage:
        """What everybody sees of the conference."""
        return self.read(ConferencePages, "c1")

    def order(self, order_id: str) -> DraftOrder:
        """What the registrant sees of the order."""
        return self.read(DraftOrders, order_id)

    def price(self, order_id: str) -> PricedOrder:
        """What the order costs."""
        return self.read(PricedOrders, order_id)

    def read(self, view: type[DocumentView[D]], key: str) -> D:
        """Return a document, which must be there."""
        with self.app.reading(view) as reader:
            found = reader.get(key)
        assert found is not None, f"{view.__name__} has no {key}"
        return found

    def events(self, kind: type[E], **fields: object) -> list[E]:
        """Return the events of a kind so far, with these fields, in order of the log."""
        found = self.app.store.read_all(Query(QueryItem(types=[kind])))
        return [one.event for one in found if all(getattr(one.event, key) == it for key, it in fields.items())]

    def until(self, kind: type[E], **fields: object) -> E:
        """Wait for an event of a kind with these fields."""
        ends = time.monotonic() + PATIENCE
        with self.app.store.subscribe(Query(QueryItem(types=[kind]))) as live:
            while (left := ends - time.monotonic()) > 0:
                recorded = live.next(timeout=left)
                if recorded and all(getattr(recorded.event, key) == it for key, it in fields.items()):
                    self.settle()
                    found: E = recorded.event
                    return found
        raise AssertionError(f"no {kind.__name__} with {fields} within {PATIENCE} seconds")

    def settle(self) -> None:
        """Wait until everybody has handled all there is, and nothing came of it any more."""
        names = [consumer.name for consumer in self.app.consumers]
        head = -1
        while head != self.app.store.head():
            head = self.app.store.head()
            for name in names:
                assert self.app.wait_for(name, head, timeout=PATIENCE), f"{name} hangs"

    def held_for(self, order_id: str) -> Seats:
        """What the order has reserved, as its registrant sees it."""
        return self.order(order_id).reserved

    def pass_time(self, **parts: float) -> None:
        """Move the clock on, and wait until all that was due by then has come, and what it led to."""
        self.clock.advance(**parts)
        until(lambda: all(at > self.clock() for at in self.pending()))
        self.settle()

    def pending(self) -> list[datetime]:
        """Return the times of all deadlines and commands that are still to come, as the log says."""
        last = {(one.process, one.key): one for one in self.events(ProcessAdvanced)}
        called = {one.command_id for one in self.events(CommandDue)}
        sent = [command for one in self.events(ProcessAdvanced) for command in one.commands]
        return [
            *(deadline.due_at for one in last.values() for deadline in one.deadlines.values()),
            *(one.due_at for one in sent if one.due_at is not None and one.id not in called),
        ]

    def faults(self, *, but: Sequence[str] = ()) -> list[str]:
        """Return what the invariants find, but for what has one of these texts in it."""
        found = faults(self.app.store.read_all())
        return [fault for fault in found if not any(text in fault for text in but)]


@contextmanager
def running(store: str | EventStore, **more: Any) -> Iterator[World]:
    """Run the application over a store. Payments wait for `provider.settle`, unless told otherwise."""
    provider = more.pop("provider", None) or SimulatedProvider(usually="timeout")
    clock = more.pop("clock", None) or ManualClock(NOW)
    with application(store, provider=provider, clock=clock, **more) as app, app.running():
        yield World(app, clock, provider)


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    ends, pause = time.monotonic() + PATIENCE, threading.Event()
    while not condition():
        assert time.monotonic() < ends, f"nothing came of it within {PATIENCE} seconds"
        pause.wait(0.02)
