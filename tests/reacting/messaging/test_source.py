"""From a stream of JetStream into an inbox: each message once in effect, in order, though the server is killed."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

import sacho
from sacho.errors import InvalidTarget, MissingExtra, NoHandler, RetriesExhausted
from sacho.reacting import Accepted, JetStreamSource, JetStreamTarget
from servers.nats import NatsServer
from tests.reacting.conftest import Place
from tests.reacting.domain import until
from tests.reacting.messaging.broker import at, make_stream
from tests.reacting.messaging.domain import Outside, note
from tests.reacting.messaging.test_inbox import FromOutside, body, bus_of, commands


def numbers(place: Place) -> list[int]:
    return [one["amount"] for one in commands(place.store)]


def source(place: Place, url: str, stream: str, **options: Any) -> JetStreamSource:
    return JetStreamSource(
        url, FromOutside(bus_of(place.store), place.store), stream=stream, durable="booking", **options
    )


def relayed(place: Place, url: str, stream: str, *some: int) -> None:
    note(place.store, *some)
    with JetStreamTarget(url, subject=f"{stream}.{{type}}") as target:
        place.run(Outside(target))


def publish(url: str, subject: str, *bodies: bytes) -> None:
    async def work(js: Any) -> None:
        for one in bodies:
            await js.publish(subject, one, headers={"content-type": "application/cloudevents+json"})

    at(url, work)


def unacknowledged(url: str, stream: str) -> int:
    async def work(js: Any) -> int:
        info = await js.consumer_info(stream, "booking")
        return int(info.num_ack_pending + info.num_pending)

    return at(url, work)


def test_what_is_relayed_becomes_commands_in_order_and_a_source_goes_on_where_it_was(
    place: Place, nats_url: str, stream: str
) -> None:
    relayed(place, nats_url, stream, *range(30))
    with source(place, nats_url, stream):
        until(lambda: len(numbers(place)) == 30)
        until(lambda: unacknowledged(nats_url, stream) == 0)
    relayed(place, nats_url, stream, *range(30, 40))
    with source(place, nats_url, stream):
        until(lambda: len(numbers(place)) == 40)
    assert numbers(place) == list(range(40))


def test_the_same_message_in_the_stream_twice_is_one_command(place: Place, nats_url: str, stream: str) -> None:
    publish(nats_url, f"{stream}.x", body(data=1), body(data=1), body(id="m-2", data=2))
    with source(place, nats_url, stream):
        until(lambda: numbers(place) == [1, 2])
        until(lambda: unacknowledged(nats_url, stream) == 0)
    assert numbers(place) == [1, 2]


def test_what_is_no_message_is_left_out_and_the_rest_goes_on(
    place: Place, nats_url: str, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(nats_url, f"{stream}.x", b"{", body(type="else"), body(data=3))
    with source(place, nats_url, stream):
        until(lambda: numbers(place) == [3])
        until(lambda: unacknowledged(nats_url, stream) == 0)
    assert [one for one in ("MalformedMessage", "UnknownMessageType") if one not in caplog.text] == []
    assert "Traceback" not in caplog.text


def test_a_stream_that_is_not_there_is_named_and_waited_for(place: Place, nats_url: str, stream: str) -> None:
    with source(place, nats_url, f"{stream}-later") as taking:
        until(lambda: taking.error)
        assert f"there is no stream '{stream}-later'" in str(taking.error)
        make_stream(nats_url, f"{stream}-later")
        publish(nats_url, f"{stream}-later.x", body(data=1))
        until(lambda: numbers(place) == [1])


@pytest.mark.parametrize("names", [("a b", "c"), ("a", "c.d"), ("a", ""), ("", "c"), ("a", None), ("a>", "c")])
def test_names_out_of_rules_are_refused(place: Place, names: tuple[Any, Any]) -> None:
    inbox = FromOutside(bus_of(place.store), place.store)
    with pytest.raises(InvalidTarget, match="out of rules"):
        JetStreamSource("nats://localhost", inbox, stream=names[0], durable=names[1])


def test_a_server_that_is_killed_is_waited_for(place: Place, own_nats: NatsServer) -> None:
    make_stream(own_nats.url, "lasting")
    with source(place, own_nats.url, "lasting") as taking:
        relayed(place, own_nats.url, "lasting", *range(10))
        until(lambda: len(numbers(place)) == 10)
        own_nats.kill()
        until(lambda: taking.error)
        own_nats.start()
        relayed(place, own_nats.url, "lasting", *range(10, 20))
        until(lambda: len(numbers(place)) == 20)
    assert numbers(place) == list(range(20))


def test_a_log_that_is_busy_is_waited_for(nats_url: str, stream: str, tmp_path: Path) -> None:
    publish(nats_url, f"{stream}.x", body(data=1))
    with sacho.connect(f"sqlite:///{tmp_path / 'log.db'}?timeout=0.05") as store:
        holder = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        place = Place(store, None)
        with source(place, nats_url, stream) as taking:
            until(lambda: taking.error)
            holder.execute("ROLLBACK")
            holder.close()
            until(lambda: numbers(place) == [1])


@pytest.mark.parametrize(
    "error",
    [MissingExtra("an inbox", "messages"), RetriesExhausted("x-1", 9)],
    ids=["extra", "race"],
)
def test_what_is_no_fault_of_the_message_is_waited_for(
    place: Place, nats_url: str, stream: str, error: Exception
) -> None:
    is_ready = threading.Event()

    class Unready(FromOutside):
        def receive(self, headers: Any, body: bytes) -> Accepted:
            if not is_ready.is_set():
                raise error
            return super().receive(headers, body)

    publish(nats_url, f"{stream}.x", body(data=1))
    inbox = Unready(bus_of(place.store), place.store)
    with JetStreamSource(nats_url, inbox, stream=stream, durable="booking") as taking:
        until(lambda: taking.error)
        is_ready.set()
        until(lambda: numbers(place) == [1])


def test_a_message_whose_command_has_no_handler_yet_comes_again_and_others_go_on(
    place: Place, nats_url: str, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    is_mended = threading.Event()

    class Forgetful(FromOutside):
        def receive(self, headers: Any, body: bytes) -> Accepted:
            if b'"data": 1' in body and not is_mended.is_set():
                raise NoHandler("MarkPaid", [])
            return super().receive(headers, body)

    publish(nats_url, f"{stream}.x", body(data=1), body(id="m-2", data=2))
    with JetStreamSource(nats_url, Forgetful(bus_of(place.store), place.store), stream=stream, durable="booking"):
        until(lambda: numbers(place) == [2])
        is_mended.set()
        until(lambda: numbers(place) == [2, 1])
        until(lambda: unacknowledged(nats_url, stream) == 0)
    assert "comes again in" in caplog.text
    assert "NoHandler" in caplog.text
