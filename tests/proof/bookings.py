"""The conference's whole registration for proofs of processes, on a clock on which a quarter of an hour is three seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

from examples.conference import booking, invariants
from examples.conference.management import AddSeatType, CreateConference, Details, PublishConference
from examples.conference.orders import AssignRegistrant, CancelOrder, RegisterToConference
from examples.conference.payments import CompletePayment, InitiatePayment
from examples.conference.provider import SimulatedProvider
from examples.conference.read_models.orders import PricedOrders
from examples.conference.waiting import AcceptOffer, JoinWaitingList, SeatsOffered
from sacho import CommandRefused, Query, QueryItem, RecordedEvent
from sacho.reacting import Application
from sacho.store.ids import new_id_text

FASTER = 300
ORIGIN = float(os.environ.setdefault("SACHO_PROOF_ORIGIN", str(time.time())))
"""When the clock began, the same in all processes of a run."""
LASTING = invariants.LASTING
PRICES = {"GA": Decimal("199.00"), "WS": Decimal("500.00")}
DETAILS = Details("PyConf", "All about Python", "Seoul", "Write less", date(2099, 5, 1), date(2099, 5, 3))


def clock() -> datetime:
    """Return the present on the fast clock."""
    return datetime.fromtimestamp(ORIGIN, UTC) + timedelta(seconds=(time.time() - ORIGIN) * FASTER)


def application(url: str) -> Application:
    """Return the application. The provider of payments succeeds, fails, waits, or tells twice, by the payment's id."""
    return booking.application(url, provider=SimulatedProvider(), clock=clock)


def begin(app: Application) -> None:
    """Open a conference with few seats."""
    app.bus.handle(CreateConference("c1", "pyconf", "C0FFEE", "Ann", "ann@example.org", DETAILS))
    for kind, price in PRICES.items():
        app.bus.handle(AddSeatType("c1", kind, f"Seats {kind}", "", 12, price))
    app.bus.handle(PublishConference("c1"))


def place(app: Application, chance: Random) -> None:
    """Register, pay, cancel, wait, or take up an offer; it may well be refused."""
    with suppress(CommandRefused):
        match chance.choices(["register", "pay", "cancel", "wait", "accept"], [4, 8, 1, 2, 2])[0]:
            case "register":
                wanted = {kind: chance.randint(0, 3) for kind in PRICES}
                app.bus.handle(RegisterToConference(new_id_text(), "c1", wanted, PRICES, "CODE01", clock()))
            case "pay":
                _pay(app, chance)
            case "cancel":
                app.bus.handle(CancelOrder(_some_order(app, chance)))
            case "wait":
                kind, seats = chance.choice(list(PRICES)), chance.randint(1, 3)
                app.bus.handle(JoinWaitingList("c1", kind, _some_order(app, chance), seats))
            case _:
                found = list(app.store.read_all(Query(QueryItem(types=[SeatsOffered])), backwards=True, limit=3))
                for offer in (one.event for one in found):
                    app.bus.handle(AcceptOffer("c1", offer.seat_type, offer.order_id))


def _pay(app: Application, chance: Random) -> None:
    """Pay for an order; where the provider does not answer, its notice comes late or never."""
    order, payment = _some_order(app, chance), new_id_text()
    with app.reading(PricedOrders) as view:
        price = view.get(order)
    if price is None or not price.total:
        return
    app.bus.handle(AssignRegistrant(order, "Bob", "Kim", f"{order}@example.org"))
    app.bus.handle(InitiatePayment(payment, order, price.total))
    if SimulatedProvider().behaviour(payment) == "timeout" and chance.random() < 0.8:
        late = clock() + timedelta(minutes=chance.randint(0, 25))
        app.bus.store(CompletePayment(payment), at=late, command_id=f"notice of {payment}", origin="inbox")


def _some_order(app: Application, chance: Random) -> str:
    """Return one of the last orders."""
    last = list(app.store.read_all(Query(QueryItem(types=["OrderPlaced"])), backwards=True, limit=12))
    return chance.choice(last).event.order_id if last else "nobody's"


def faults(events: Sequence[RecordedEvent]) -> list[str]:
    """Return which of the conference's invariants do not hold at the end."""
    return invariants.faults(events)
