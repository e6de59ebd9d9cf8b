"""Messages to a real NATS server: acknowledged, told apart by id, in order of each key, also when the server is killed."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sacho.errors import InvalidTarget, MessageTooLarge, StreamMissing, TargetUnreachable
from sacho.reacting import Application, JetStreamTarget
from sacho.reacting.messaging import jetstream
from sacho.reacting.messaging.message import CONTENT_TYPE
from servers.nats import NatsServer, running_nats
from servers.postgres import kept_port
from tests.reacting.conftest import Place
from tests.reacting.domain import PATIENCE, until
from tests.reacting.messaging.broker import contents, count, make_stream, numbers
from tests.reacting.messaging.domain import Outside, Shelf, note


@pytest.fixture
def place(file_place: Place) -> Place:
    """One engine: what a target does hangs on none."""
    return file_place


@contextmanager
def relaying(place: Place, url: str, stream: str, **options: Any) -> Iterator[Application]:
    subject = f"{stream}.{{type}}"
    with JetStreamTarget(url, subject=subject, **options) as target, place.running(Outside(target)) as app:
        yield app


def relayed(place: Place, url: str, stream: str, **options: Any) -> None:
    with relaying(place, url, stream, **options) as app:
        assert app.wait_for(Outside, place.store.head(), PATIENCE)


def note_many(place: Place, begin: int, end: int, keys: int = 7) -> None:
    for number in range(begin, end):
        note(place.store, number, order=str(number % keys))


def expected(end: int, keys: int = 7) -> dict[str, list[int]]:
    return {str(key): list(range(key, end, keys)) for key in range(keys)}


def test_messages_lie_in_the_stream_in_order_of_their_keys(place: Place, nats_url: str, stream: str) -> None:
    note_many(place, 0, 100)
    relayed(place, nats_url, stream)
    found = contents(nats_url, stream)
    assert numbers(found) == expected(100)
    assert {one.subject for one in found} == {f"{stream}.conference.told"}
    assert {one.headers["content-type"] for one in found} == {"application/cloudevents+json; charset=utf-8"}
    assert [one.headers["Nats-Msg-Id"] for one in found] == [one.event["id"] for one in found]


def test_the_server_drops_what_comes_again(place: Place, nats_url: str, stream: str) -> None:
    note(place.store, 1, 2, 3)
    shelf = Shelf()
    place.run(Outside(shelf))
    with JetStreamTarget(nats_url, subject=f"{stream}.{{key}}") as target:
        for _ in range(3):
            assert target.send(shelf.messages) == [None] * 3
    assert numbers(contents(nats_url, stream)) == {"1": [1, 2, 3]}


def test_a_key_is_one_token_of_a_subject(place: Place, nats_url: str, stream: str) -> None:
    shelf = Shelf()
    for order in ("a.b", "x y", "ä*>", "$JS", "A-b_9~"):
        note(place.store, 1, order=order)
    place.run(Outside(shelf))
    with JetStreamTarget(nats_url, subject=f"{stream}.{{key}}.{{type}}") as target:
        assert target.send(shelf.messages) == [None] * 5
    tokens = {one.subject.split(".")[1] for one in contents(nats_url, stream)}
    assert tokens == {"a%2Eb", "x%20y", "%C3%A4%2A%3E", "%24JS", "A-b_9%7E"}


def test_a_message_over_the_servers_limit_parks_its_key_at_once(place: Place) -> None:
    with running_nats(max_payload=4_096) as server:
        make_stream(server.url, "small")
        position = note(place.store, 1, order="large", text="x" * 3_900)
        note(place.store, 2, order="large")
        note(place.store, 3, order="other", text="x" * 3_000)
        with relaying(place, server.url, "small") as app:
            assert app.wait_for(Outside, place.store.head(), PATIENCE)
            rows = app.administration.parked(Outside)
        assert [(row.position, row.attempts) for row in rows if row.error] == [(position, 1)]
        assert rows[0].error is not None
        assert rows[0].error.startswith("MessageTooLarge: nats://127.0.0.1")
        assert [row.key for row in rows] == ["large", "large"]
        assert numbers(contents(server.url, "small")) == {"other": [3]}


@pytest.mark.parametrize("spare", [0, 1])
def test_the_limit_is_exact_with_the_headers_in_it(place: Place, spare: int) -> None:
    shelf = Shelf()
    note(place.store, 1)
    place.run(Outside(shelf))
    headers = {"Nats-Msg-Id": shelf.messages[0].id, "content-type": CONTENT_TYPE}
    size = len(shelf.messages[0].structured()) + jetstream._size(headers)
    with running_nats(max_payload=size - spare) as server:
        make_stream(server.url, "exact")
        with JetStreamTarget(server.url, subject="exact.x") as target:
            (outcome,) = target.send(shelf.messages)
        if spare:
            assert isinstance(outcome, MessageTooLarge)
            assert (outcome.size, outcome.limit) == (size, size - 1)
        assert count(server.url, "exact") == (0 if spare else 1)


def test_a_message_over_the_streams_limit_is_told_with_it(place: Place, nats_url: str) -> None:
    stream, shelf = f"t{secrets.token_hex(6)}", Shelf()
    make_stream(nats_url, stream, max_msg_size=700)
    note(place.store, 1, text="x" * 700)
    place.run(Outside(shelf))
    with JetStreamTarget(nats_url, subject=f"{stream}.x") as target:
        (outcome,) = target.send(shelf.messages)
    assert isinstance(outcome, MessageTooLarge)
    assert (outcome.size > 700, outcome.limit) == (True, 700)


def test_a_stream_that_is_not_there_is_waited_for(place: Place, nats_url: str) -> None:
    stream, shelf = f"t{secrets.token_hex(6)}", Shelf()
    note_many(place, 0, 20)
    place.run(Outside(shelf))
    with JetStreamTarget(nats_url, subject=f"{stream}.x") as target:
        outcome = target.send(shelf.messages)[0]
    assert isinstance(outcome, StreamMissing)
    assert outcome.subject == f"{stream}.x"
    note_many(place, 20, 40)
    with relaying(place, nats_url, stream) as app:
        until(lambda: any("no stream takes" in (one.error or "") for one in app._runners[0].workers))
        assert app.administration.parked(Outside) == []
        make_stream(nats_url, stream)
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
    assert numbers(contents(nats_url, stream)) == {
        str(key): [one for one in range(20, 40) if one % 7 == key] for key in range(7)
    }


def test_a_stream_of_another_name_is_refused(place: Place, nats_url: str, stream: str) -> None:
    shelf = Shelf()
    note(place.store, 1)
    place.run(Outside(shelf))
    with JetStreamTarget(nats_url, subject=f"{stream}.x", stream="another") as target:
        (outcome,) = target.send(shelf.messages)
    assert "expected stream does not match" in str(outcome)
    with JetStreamTarget(nats_url, subject=f"{stream}.x", stream=stream) as target:
        assert target.send(shelf.messages) == [None]


def test_a_full_stream_is_waited_for(place: Place, nats_url: str) -> None:
    stream, shelf = f"t{secrets.token_hex(6)}", Shelf()
    make_stream(nats_url, stream, max_msgs=2, discard="new")
    note(place.store, 1, 2, 3)
    place.run(Outside(shelf))
    with JetStreamTarget(nats_url, subject=f"{stream}.x") as target:
        outcomes = target.send(shelf.messages)
    assert outcomes[:2] == [None, None]
    assert isinstance(outcomes[2], TargetUnreachable)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_is_down_for_a_while_loses_nothing_and_mixes_nothing_up(
    place: Place, own_nats: NatsServer, by: signal.Signals
) -> None:
    make_stream(own_nats.url, "lasting")
    with relaying(place, own_nats.url, "lasting") as app:
        note_many(place, 0, 50)
        until(lambda: count(own_nats.url, "lasting") > 10)
        own_nats.stop(by)
        note_many(place, 50, 150)
        until(lambda: any(one.error for one in app._runners[0].workers))
        assert app.administration.parked(Outside) == []
        own_nats.start()
        note_many(place, 150, 200)
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
    assert numbers(contents(own_nats.url, "lasting")) == expected(200)


def test_a_server_that_stands_still_is_waited_for(
    place: Place, own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "ACKNOWLEDGED_WITHIN", 0.3)
    make_stream(own_nats.url, "still")
    assert own_nats.process is not None
    with relaying(place, own_nats.url, "still", options={"connect_timeout": 1}) as app:
        note_many(place, 0, 20)
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
        own_nats.process.send_signal(signal.SIGSTOP)
        note_many(place, 20, 40)
        until(lambda: any(one.error for one in app._runners[0].workers))
        own_nats.process.send_signal(signal.SIGCONT)
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
    assert numbers(contents(own_nats.url, "still")) == expected(40)


def test_a_server_that_never_was_there_is_told(place: Place) -> None:
    port, keeper = kept_port()
    shelf = Shelf()
    note(place.store, 1)
    place.run(Outside(shelf))
    with keeper, JetStreamTarget(f"nats://ann:s3cret@127.0.0.1:{port}", subject="x") as target:
        (outcome,) = target.send(shelf.messages)
        assert isinstance(outcome, TargetUnreachable)
        assert "s3cret" not in f"{outcome} {outcome!r} {target!r} {outcome.target}"


def test_the_next_server_is_taken_where_the_first_does_not_answer(place: Place, nats_url: str, stream: str) -> None:
    port, keeper = kept_port()
    note(place.store, 1)
    with keeper:
        relayed(place, [f"nats://127.0.0.1:{port}", nats_url], stream)  # type: ignore[arg-type]
    assert numbers(contents(nats_url, stream)) == {"1": [1]}


def test_a_target_that_was_closed_opens_again(place: Place, nats_url: str, stream: str) -> None:
    target = JetStreamTarget(nats_url, subject=f"{stream}.x")
    for number in (1, 2):
        note(place.store, number)
        place.run(Outside(target))
        target.close()
    target.close()
    assert numbers(contents(nats_url, stream)) == {"1": [1, 2]}


@pytest.mark.parametrize("subject", ["", "a b", "a..b", "a.*", ">", "a.{who}", "{}", ".a", "a.", None, "a\r\nb"])
def test_a_subject_out_of_rules_is_refused(subject: Any) -> None:
    with pytest.raises(InvalidTarget):
        JetStreamTarget("nats://localhost", subject=subject)


@pytest.mark.parametrize("servers", ["", [], [""], [7], "http://localhost:4222", "nats://", ["nats://a", "amqp://b"]])
def test_servers_out_of_rules_are_refused(servers: Any) -> None:
    with pytest.raises(InvalidTarget):
        JetStreamTarget(servers, subject="x")
