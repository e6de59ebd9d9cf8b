"""Messages of a payment provider become commands, once, whatever comes twice, and strangers' messages do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from examples.conference.incoming import FromProvider
from examples.conference.orders import OrderConfirmed
from examples.conference.payments import PaymentCompleted, PaymentRejected
from sacho.errors import InvalidSignature, MalformedMessage, UnknownMessageType
from sacho.events import CommandTurnedDown
from sacho.reacting import Accepted
from tests.conftest import ENGINES
from tests.examples.world import World, running

HEADERS = {"content-type": "application/cloudevents+json"}


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> Iterator[World]:
    with running(url_of(request.param)) as found:
        found.open(GA=3)
        found.register("o1", GA=2)
        found.pay("o1", "p1")
        yield found


def told(id: str, *, type: str = "payments.settled", **data: object) -> bytes:
    message = {"specversion": "1.0", "id": id, "source": "urn:bank", "type": type, "data": data}
    return json.dumps(message).encode()


def receive(world: World, body: bytes) -> Accepted:
    return FromProvider(world.app.bus, world.app.store).receive(HEADERS, body)


def test_a_message_completes_the_payment_and_the_same_again_does_nothing(world: World) -> None:
    body = told("1", payment_id="p1", has_succeeded=True)
    assert not receive(world, body).is_duplicate
    assert receive(world, body).is_duplicate
    world.until(OrderConfirmed, order_id="o1")
    assert len(world.events(PaymentCompleted)) == 1
    assert world.faults() == []


def test_a_message_that_says_no_rejects_it_and_a_later_yes_is_refused_and_holds_up_nobody(world: World) -> None:
    receive(world, told("1", payment_id="p1", has_succeeded=False))
    world.until(PaymentRejected, payment_id="p1")
    receive(world, told("2", payment_id="p1", has_succeeded=True))
    assert world.until(CommandTurnedDown, command="CompletePayment").error == "PaymentIs"
    assert not world.events(PaymentCompleted)
    assert not [one for one in world.app.administration.status() if one.parked]


def test_what_is_no_message_of_the_provider_is_an_error_and_changes_nothing(world: World) -> None:
    head = world.app.store.head()
    with pytest.raises(UnknownMessageType):
        receive(world, told("1", type="payments.guessed", payment_id="p1"))
    with pytest.raises(MalformedMessage):
        receive(world, told("1", payment_id="p1", has_succeeded="perhaps"))
    with pytest.raises(InvalidSignature):
        FromProvider(world.app.bus, world.app.store, secret="x" * 32).receive(
            HEADERS, told("1", payment_id="p1", has_succeeded=True)
        )
    assert world.app.store.head() == head
