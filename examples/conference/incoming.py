"""What comes in: a payment provider that tells of payments over HTTP or a broker, as CloudEvents. Its messages become commands."""

from __future__ import annotations

from cloudevents.core.base import BaseCloudEvent

from examples.conference.payments import CompletePayment, RejectPayment
from sacho.reacting import Inbox, PublicEvent, accepts


class PaymentSettled(PublicEvent, type="payments.settled"):
    """What the provider promises to tell: which payment came to its end, and whether the money came."""

    payment_id: str
    has_succeeded: bool


class FromProvider(Inbox):
    """Takes the provider's messages; one that comes twice, by its source and id, does nothing."""

    @accepts(PaymentSettled)
    def settled(self, data: PaymentSettled, message: BaseCloudEvent) -> CompletePayment | RejectPayment:
        return (CompletePayment if data.has_succeeded else RejectPayment)(data.payment_id)
