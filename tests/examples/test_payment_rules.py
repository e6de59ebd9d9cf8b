"""Every rule of payments, as given/when/then."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from examples.conference.payments import (
    CompletePayment,
    InitiatePayment,
    Payment,
    PaymentCompleted,
    PaymentInitiated,
    PaymentIs,
    PaymentRefunded,
    PaymentRejected,
    RefundPayment,
    RejectPayment,
)
from examples.conference.rules import InvalidField
from sacho.testing import given_for

given = given_for(Payment())

INITIATE = InitiatePayment("p1", "o1", Decimal("249.00"))
INITIATED = PaymentInitiated("p1", "o1", Decimal("249.00"))
COMPLETED = PaymentCompleted("p1", "o1", Decimal("249.00"))
REJECTED = PaymentRejected("p1", "o1")
REFUND = RefundPayment("p1", "order cancelled")
REFUNDED = PaymentRefunded("p1", "o1", Decimal("249.00"), "order cancelled")


def test_a_payment_is_initiated_then_completed_or_rejected() -> None:
    given().when(INITIATE).then(INITIATED)
    given(INITIATED).when(CompletePayment("p1")).then(COMPLETED)
    given(INITIATED).when(RejectPayment("p1")).then(REJECTED)


def test_a_completed_payment_is_refunded_once_however_often_it_is_asked_for() -> None:
    given(INITIATED, COMPLETED).when(REFUND).then(REFUNDED)
    given(INITIATED, COMPLETED, REFUNDED).when(RefundPayment("p1", "paid before")).then_nothing()


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ((INITIATED,), INITIATE),
        ((INITIATED, COMPLETED), INITIATE),
        ((), CompletePayment("p1")),
        ((INITIATED, COMPLETED), CompletePayment("p1")),
        ((INITIATED, REJECTED), CompletePayment("p1")),
        ((INITIATED, COMPLETED, REFUNDED), CompletePayment("p1")),
        ((), RejectPayment("p1")),
        ((INITIATED, COMPLETED), RejectPayment("p1")),
        ((INITIATED, REJECTED), RejectPayment("p1")),
        ((), REFUND),
        ((INITIATED,), REFUND),
        ((INITIATED, REJECTED), REFUND),
    ],
)
def test_anything_else_is_an_error(before: Any, command: Any) -> None:
    given(*before).when(command).then_refused(PaymentIs, "'p1'")


@pytest.mark.parametrize("amount", [Decimal(-1), Decimal("0.001"), 1.5, Decimal("Infinity")])
def test_an_amount_that_is_no_money_is_refused(amount: Any) -> None:
    given().when(InitiatePayment("p1", "o1", amount)).then_refused(InvalidField)
