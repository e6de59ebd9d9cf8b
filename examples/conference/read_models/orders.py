"""Orders: as their registrants see them, as they are priced, and as the organiser goes through them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from examples.conference.orders import (
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderPartiallyReserved,
    OrderPlaced,
    OrderRegistrantAssigned,
    OrderReinstated,
    OrderReservationCompleted,
    OrderTotalsCalculated,
    OrderUpdated,
)
from examples.conference.payments import PaymentCompleted, PaymentRefunded
from examples.conference.seats import Seats
from sacho import RecordedEvent
from sacho.reacting import DocumentReader, DocumentView, handles

State: TypeAlias = Literal["placed", "partially reserved", "reserved", "confirmed", "expired", "cancelled"]
Reserved: TypeAlias = OrderReservationCompleted | OrderPartiallyReserved


class DraftOrder(msgspec.Struct, frozen=True):
    """An order on its way: what was asked for, what is reserved, and until when."""

    conference_id: str
    access_code: str
    requested: Seats
    expires_at: datetime
    reserved: Seats = {}
    state: State = "placed"
    email: str = ""

    @property
    def mailbox(self) -> str:
        """The e-mail address as it is looked for: case makes no difference."""
        return self.email.casefold()

    @property
    def missing(self) -> Seats:
        """What was asked for and could not be had."""
        return {
            key: quantity - self.reserved.get(key, 0)
            for key, quantity in self.requested.items()
            if quantity > self.reserved.get(key, 0)
        }


class DraftOrders(DocumentView[DraftOrder]):
    """Each order, by its id; found by e-mail and access code."""

    indexed = ("conference_id", "mailbox", "access_code", "state")

    @handles(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced, known: DraftOrder | None) -> DraftOrder:
        return DraftOrder(event.conference_id, event.access_code, event.seats, event.expires_at)

    @handles(OrderUpdated, key="order_id")
    def updated(self, event: OrderUpdated, known: DraftOrder | None) -> DraftOrder | None:
        return known and msgspec.structs.replace(known, requested=event.seats, reserved={}, state="placed")

    @handles(OrderReservationCompleted, OrderPartiallyReserved, key="order_id")
    def reserved(self, event: Reserved, known: DraftOrder | None) -> DraftOrder | None:
        state: State = "reserved" if isinstance(event, OrderReservationCompleted) else "partially reserved"
        return known and msgspec.structs.replace(known, reserved=event.seats, expires_at=event.expires_at, state=state)

    @handles(OrderRegistrantAssigned, key="order_id")
    def registrant(self, event: OrderRegistrantAssigned, known: DraftOrder | None) -> DraftOrder | None:
        return known and msgspec.structs.replace(known, email=event.email)

    @handles(OrderConfirmed, key="order_id")
    def confirmed(self, event: OrderConfirmed, known: DraftOrder | None) -> DraftOrder | None:
        return known and msgspec.structs.replace(known, state="confirmed")

    @handles(OrderExpired, key="order_id")
    def expired(self, event: OrderExpired, known: DraftOrder | None) -> DraftOrder | None:
        return known and msgspec.structs.replace(known, reserved={}, state="expired")

    @handles(OrderReinstated, key="order_id")
    def reinstated(self, event: OrderReinstated, known: DraftOrder | None) -> DraftOrder | None:
        return known and msgspec.structs.replace(known, state="placed")

    @handles(OrderCancelled, key="order_id")
    def cancelled(self, event: OrderCancelled, known: DraftOrder | None) -> DraftOrder | None:
        return known and msgspec.structs.replace(known, reserved={}, state="cancelled")


def find_orders(view: DocumentReader[DraftOrder], email: str, access_code: str) -> list[tuple[str, DraftOrder]]:
    """Return ids and orders of a registrant who knows the access code."""
    c = DraftOrders.view.c
    return view.find(c.mailbox == email.strip().casefold(), c.access_code == access_code)


class PricedOrder(msgspec.Struct, frozen=True):
    """What an order costs, line by line."""

    lines: list[Line]
    total: Decimal
    is_free: bool


class PricedOrders(DocumentView[PricedOrder]):
    """The price of each order, by the order's id."""

    @handles(OrderTotalsCalculated, key="order_id")
    def calculated(self, event: OrderTotalsCalculated, known: PricedOrder | None) -> PricedOrder:
        return PricedOrder(event.lines, event.total, event.is_free)


class ListedOrder(msgspec.Struct, frozen=True):
    """An order as the organiser sees it: who, how much, and whether it is pending, paid or over."""

    conference_id: str
    placed_at: datetime
    total: Decimal = Decimal(0)
    registrant: str = ""
    email: str = ""
    state: Literal["pending", "paid", "expired", "cancelled"] = "pending"
    received: Decimal = Decimal(0)

    @property
    def is_paid(self) -> bool:
        """Whether it is confirmed; a free order is paid, too."""
        return self.state == "paid"


class OrderList(DocumentView[ListedOrder]):
    """The organiser's list of orders, by their ids. `received` is the money that came and did not go back."""

    indexed = ("conference_id", "state", "placed_at")

    @handles(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced, known: ListedOrder | None, recorded: RecordedEvent) -> ListedOrder:
        return ListedOrder(event.conference_id, recorded.recorded_at)

    @handles(OrderTotalsCalculated, key="order_id")
    def calculated(self, event: OrderTotalsCalculated, known: ListedOrder | None) -> ListedOrder | None:
        return known and msgspec.structs.replace(known, total=event.total)

    @handles(OrderRegistrantAssigned, key="order_id")
    def registrant(self, event: OrderRegistrantAssigned, known: ListedOrder | None) -> ListedOrder | None:
        name = f"{event.first_name} {event.last_name}"
        return known and msgspec.structs.replace(known, registrant=name, email=event.email)

    @handles(OrderConfirmed, key="order_id")
    def confirmed(self, event: OrderConfirmed, known: ListedOrder | None) -> ListedOrder | None:
        return known and msgspec.structs.replace(known, state="paid", total=event.total)

    @handles(OrderExpired, key="order_id")
    def expired(self, event: OrderExpired, known: ListedOrder | None) -> ListedOrder | None:
        return known and msgspec.structs.replace(known, state="expired")

    @handles(OrderReinstated, key="order_id")
    def reinstated(self, event: OrderReinstated, known: ListedOrder | None) -> ListedOrder | None:
        return known and msgspec.structs.replace(known, state="pending")

    @handles(OrderCancelled, key="order_id")
    def cancelled(self, event: OrderCancelled, known: ListedOrder | None) -> ListedOrder | None:
        return known and msgspec.structs.replace(known, state="cancelled")

    @handles(PaymentCompleted, key="order_id")
    def received(self, event: PaymentCompleted, known: ListedOrder | None) -> ListedOrder | None:
        return known and msgspec.structs.replace(known, received=known.received + event.amount)

    @handles(PaymentRefunded, key="order_id")
    def refunded(self, event: PaymentRefunded, known: ListedOrder | None) -> ListedOrder | None:
        return known and msgspec.structs.replace(known, received=known.received - event.amount)
