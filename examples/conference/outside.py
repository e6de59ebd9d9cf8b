"""What is told to others, and when: the mapping from the domain's own events to the public ones."""

from __future__ import annotations

from collections.abc import Iterator

from examples.conference import orders, payments, public, waiting
from examples.conference.seats import SeatsAvailability, SeatsReserved
from sacho.reacting import Context, Relay, publishes


class Outside(Relay):
    """Tells others what is theirs to know, in order of the order or conference that it is about."""

    source = "urn:conference:booking"

    @publishes(orders.OrderRegistrantAssigned, key="order_id")
    def registrant(self, event: orders.OrderRegistrantAssigned, context: Context) -> public.RegistrantAssigned:
        conference_id = context.fold(orders.Order()).conference_id
        return public.RegistrantAssigned(event.order_id, conference_id, event.first_name, event.last_name, event.email)

    @publishes(orders.OrderConfirmed, key="order_id")
    def confirmed(self, event: orders.OrderConfirmed, context: Context) -> public.OrderConfirmed:
        """Say all of an order at once: it was placed, somebody said who they are, and it was confirmed."""
        history = [recorded.event for recorded in context.history()]
        code = next(one.access_code for one in history if isinstance(one, orders.OrderPlaced))
        first_name, last_name, email = context.fold(orders.Order()).registrant or ("", "", "")
        return public.OrderConfirmed(
            event.order_id, event.conference_id, first_name, last_name, email, event.seats, event.total, code
        )

    @publishes(orders.OrderCancelled, key="order_id")
    def cancelled(self, event: orders.OrderCancelled, context: Context) -> public.OrderCancelled:
        return public.OrderCancelled(event.order_id, event.conference_id, "by the registrant")

    @publishes(orders.OrderExpired, key="order_id")
    def expired(self, event: orders.OrderExpired, context: Context) -> public.OrderCancelled:
        return public.OrderCancelled(event.order_id, event.conference_id, "not paid in time")

    @publishes(payments.PaymentCompleted, key="order_id")
    def received(self, event: payments.PaymentCompleted, context: Context) -> public.PaymentReceived:
        return public.PaymentReceived(event.payment_id, event.order_id, event.amount)

    @publishes(payments.PaymentRefunded, key="order_id")
    def refunded(self, event: payments.PaymentRefunded, context: Context) -> public.PaymentRefunded:
        return public.PaymentRefunded(event.payment_id, event.order_id, event.amount, event.reason)

    @publishes(waiting.SeatsOffered, key="order_id")
    def offered(self, event: waiting.SeatsOffered, context: Context) -> public.SeatsOffered:
        return public.SeatsOffered(event.order_id, event.conference_id, event.seat_type, event.seats, event.expires_at)

    @publishes(SeatsReserved, key="conference_id")
    def reserved(self, event: SeatsReserved, context: Context) -> Iterator[public.SoldOut]:
        """Say that a type is sold out when its last seat goes; most reservations leave some, and nothing leaves here."""
        taken = {seat_type: -delta for seat_type, delta in event.deltas.items() if delta < 0}
        remaining = context.fold(SeatsAvailability()).remaining if taken else {}
        for seat_type, quantity in taken.items():
            if remaining[seat_type] <= 0 < remaining[seat_type] + quantity:
                yield public.SoldOut(event.conference_id, seat_type)
