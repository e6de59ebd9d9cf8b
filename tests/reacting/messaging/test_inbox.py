"""The inbox: messages become commands in the log, once each; what is no message, or comes twice, is told."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from cloudevents.core.v1.event import CloudEvent

from sacho import CommandBus, EventStore, call
from sacho.errors import InvalidConsumer, InvalidSignature, MalformedMessage, MessageTooLarge, UnknownMessageType
from sacho.events.builtin import CommandStored, command_stream
from sacho.reacting import Application, Inbox, PublicEvent, WebhookTarget, accepts
from sacho.reacting.messaging.signing import Secrets
from tests.reacting.conftest import Place
from tests.reacting.messaging.domain import Outside, Shelf, Told, note
from tests.reacting.messaging.receiver import Posted, receiving

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class MarkPaid(msgspec.Struct, frozen=True):
    payment: str
    amount: Any = None


class PaymentCompleted(PublicEvent, type="payments.completed", version=2):
    payment: str
    amount: int


def bus_of(store: EventStore) -> CommandBus:
    return CommandBus(
        store, [call(lambda command, envelope: None, MarkPaid)], authorise=lambda one: one.origin == "inbox"
    )


class FromOutside(Inbox):
    @accepts("payments.completed")
    def completed(self, data: Any, message: Any) -> MarkPaid | None:
        return None if data == "ignore" else MarkPaid(message.get_id(), data)

    @accepts(PaymentCompleted, Told)
    def typed(self, data: PaymentCompleted | Told, message: Any) -> MarkPaid:
        return MarkPaid("typed", data.amount if isinstance(data, PaymentCompleted) else data.number)


@pytest.fixture
def inbox(place: Place) -> FromOutside:
    return FromOutside(bus_of(place.store), place.store)


def body(**changes: Any) -> bytes:
    event = {"specversion": "1.0", "id": "m-1", "source": "/payments", "type": "payments.completed", "data": {"a": 1}}
    return json.dumps({key: value for key, value in {**event, **changes}.items() if value is not ...}).encode()


HEADERS = {"content-type": "application/cloudevents+json"}


def commands(store: EventStore) -> list[Any]:
    return [one.event.data for one in store.read_all() if isinstance(one.event, CommandStored)]


def test_a_message_becomes_a_command_in_the_log(place: Place, inbox: FromOutside) -> None:
    accepted = inbox.receive(HEADERS, body(correlationid="c-1"))
    assert accepted.command_id is not None
    assert not accepted.is_duplicate
    (recorded,) = place.store.read(command_stream(accepted.command_id))
    assert (recorded.event.command, recorded.event.data) == ("MarkPaid", {"payment": "m-1", "amount": {"a": 1}})
    assert recorded.metadata == {"correlation_id": "c-1", "causation_id": "m-1", "source": "/payments"}


def test_the_command_of_a_message_is_handled_once_by_who_is_made_for_it(place: Place) -> None:
    handled: list[Any] = []
    routes = [call(lambda command, envelope: handled.append((command, envelope.id, envelope.origin)), MarkPaid)]
    with Application(place.store, routes=routes) as app:
        inbox = FromOutside(app.bus, app.store)
        ids = {inbox.receive(HEADERS, body(data=7)).command_id for _ in range(3)}
        app.run(once=True)
    assert [one[0] for one in handled] == [MarkPaid("m-1", 7)]
    assert {one[1] for one in handled} == ids


def test_a_message_that_comes_again_is_told_and_does_nothing(place: Place, inbox: FromOutside) -> None:
    first = inbox.receive(HEADERS, body())
    again = FromOutside(bus_of(place.store), place.store).receive(HEADERS, body(data="other by now"))
    assert (again.command_id, again.is_duplicate) == (first.command_id, True)
    assert len(commands(place.store)) == 1


def test_a_message_is_known_by_source_and_id_together(place: Place, inbox: FromOutside) -> None:
    ids = {inbox.receive(HEADERS, body(source=source, id=id)).command_id for source in "ab" for id in ("1", "2")}
    assert len(ids) == len(commands(place.store)) == 4


def test_the_same_message_many_times_at_once_is_one_command(place: Place, inbox: FromOutside) -> None:
    together = threading.Barrier(8)

    def receive(_: int) -> Any:
        together.wait()
        return inbox.receive(HEADERS, body())

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(receive, range(8)))
    assert len({one.command_id for one in found}) == 1
    assert len(commands(place.store)) == 1


def test_of_two_at_once_whose_commands_differ_the_first_counts(place: Place, inbox: FromOutside) -> None:
    class Slow(FromOutside):
        @accepts("payments.completed")
        def completed(self, data: Any, message: Any) -> MarkPaid:
            assert not inbox.receive(HEADERS, body(data="first")).is_duplicate
            return MarkPaid(message.get_id(), data)

    assert Slow(bus_of(place.store), place.store).receive(HEADERS, body(data="second")).is_duplicate
    assert [one["amount"] for one in commands(place.store)] == ["first"]


def test_a_message_that_its_method_ignores_stores_nothing(place: Place, inbox: FromOutside) -> None:
    accepted = inbox.receive(HEADERS, body(data="ignore"))
    assert (accepted.command_id, accepted.is_duplicate, commands(place.store)) == (None, False, [])


def test_data_come_as_the_class_that_is_named(place: Place, inbox: FromOutside) -> None:
    inbox.receive(HEADERS, body(type="payments.completed.v2", data={"payment": "p", "amount": 7}))
    assert commands(place.store) == [{"payment": "typed", "amount": 7}]


def test_the_binary_mode_is_read_too(place: Place, inbox: FromOutside) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "m-2", "ce-source": "/p", "ce-type": "payments.completed"}
    inbox.receive({**headers, "content-type": "application/json"}, b'{"b":2}')
    assert commands(place.store) == [{"payment": "m-2", "amount": {"b": 2}}]


def test_an_event_of_the_library_is_taken(place: Place, inbox: FromOutside) -> None:
    inbox.take(CloudEvent({"id": "m-3", "source": "/p", "type": "payments.completed"}, {"c": 3}))
    assert commands(place.store) == [{"payment": "m-3", "amount": {"c": 3}}]


def test_a_type_that_nobody_accepts_is_told(place: Place, inbox: FromOutside) -> None:
    with pytest.raises(UnknownMessageType) as caught:
        inbox.receive(HEADERS, body(type="payments.else"))
    assert caught.value.known == ("conference.told", "payments.completed", "payments.completed.v2")


MALFORMED: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"null",
    b'"text"',
    b"\xff\xfe",
    b"[" * 100_000,
    body(id=...),
    body(id=""),
    body(id=7),
    body(id="a\x00b"),
    body(id="x" * 1_025),
    body(source=...),
    body(source=None),
    body(source="a\nb"),
    body(type=...),
    body(type={}),
    body(specversion=...),
    body(specversion="0.3"),
    body(specversion="2.0"),
    body(time="yesterday"),
    body(time=7),
    body(Upper="x"),
    body(data=float("nan")),
    body(data={"deep": [float("inf")]}),
    body(data=..., data_base64="not base64"),
    body(type="payments.completed.v2", data={"payment": "p", "amount": "seven"}),
    body(type="payments.completed.v2", data={}),
    body(type="payments.completed.v2", data=...),
    body(type="payments.completed.v2", data=[1]),
]


@pytest.mark.parametrize("wrong", MALFORMED, ids=lambda one: one[:60].decode(errors="replace"))
def test_what_is_no_message_is_told_and_stores_nothing(place: Place, inbox: FromOutside, wrong: bytes) -> None:
    with pytest.raises(MalformedMessage):
        inbox.receive(HEADERS, wrong)
    assert commands(place.store) == []


@pytest.mark.parametrize("id", ["c" * 1025, "\u4e00" * 342, "a\0b", "\ud800"], ids=["long", "wide", "NUL", "surrogate"])
def test_a_correlation_that_no_index_holds_is_the_senders_fault(place: Place, inbox: FromOutside, id: str) -> None:
    with pytest.raises(MalformedMessage, match="correlationid"):
        inbox.receive(HEADERS, body(correlationid=id))
    assert commands(place.store) == []


@pytest.mark.parametrize("wrong", [b"[]", b"null", b" [{}]", b"", b"7"])
def test_a_body_that_is_no_object_is_told_so_in_words(inbox: FromOutside, wrong: bytes) -> None:
    with pytest.raises(MalformedMessage, match="the body is no JSON object"):
        inbox.receive(HEADERS, wrong)


def test_an_oversized_message_is_not_read(place: Place) -> None:
    inbox = FromOutside(bus_of(place.store), place.store, most_bytes=1_000)
    with pytest.raises(MessageTooLarge) as caught:
        inbox.receive(HEADERS, body(data="x" * 1_000))
    assert caught.value.limit == 1_000


def test_with_a_secret_only_signed_messages_are_read(place: Place) -> None:
    inbox = FromOutside(bus_of(place.store), place.store, secret=SECRET)
    now = int(time.time())
    signed = {
        "webhook-id": "w",
        "webhook-timestamp": str(now),
        "webhook-signature": Secrets(SECRET).signature("w", now, body()),
    }
    with pytest.raises(InvalidSignature):
        inbox.receive(HEADERS, body())
    with pytest.raises(InvalidSignature):
        inbox.receive({**HEADERS, **signed}, b"{broken")
    assert not inbox.receive({**HEADERS, **signed}, body()).is_duplicate


def test_what_a_relay_posts_an_inbox_takes_once(place: Place) -> None:
    inbox = FromOutside(bus_of(place.store), place.store, secret=SECRET)

    def answers(posted: Posted) -> int:
        inbox.receive(posted.headers, posted.body)
        return 204

    with receiving() as receiver, WebhookTarget(receiver.url, secret=SECRET) as target:
        receiver.answers = answers
        note(place.store, 1, 2, 3)
        place.run(Outside(target))
        shelf = Shelf()

        class Again(Outside):
            name = "again"

        place.run(Again(shelf))
    assert [one["amount"] for one in commands(place.store)] == [1, 2, 3]


def declarations() -> Iterator[Any]:
    yield lambda: accepts()(lambda self, data, message: None)
    yield lambda: accepts("")(lambda self, data, message: None)
    yield lambda: accepts(dict)(lambda self, data, message: None)  # type: ignore[arg-type]
    yield lambda: accepts(PublicEvent)(lambda self, data, message: None)
    twice = {name: accepts("a.b")(lambda self, data, message: None) for name in ("one", "two")}
    yield lambda: type("Some", (Inbox,), twice)


@pytest.mark.parametrize("declare", list(declarations()))
def test_an_inbox_that_cannot_be_meant_is_refused(declare: Any) -> None:
    with pytest.raises(InvalidConsumer):
        declare()
