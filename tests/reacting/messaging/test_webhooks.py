"""Webhooks: what is posted, and what becomes of each answer, and of none."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from sacho.errors import InvalidSignature, InvalidTarget, TargetUnreachable, WebhookFailed, WebhookGone, WebhookRefused
from sacho.reacting import Application, Message, WebhookTarget, verify_webhook
from sacho.reacting.messaging.webhook import retry_after
from servers.postgres import kept_port
from tests.reacting.conftest import Place
from tests.reacting.domain import PATIENCE, until
from tests.reacting.messaging.domain import AT_ONCE, Outside, Shelf, note
from tests.reacting.messaging.receiver import NEVER, TRICKLE, Posted, Receiver, receiving

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"another-another-another-another!").decode()


@pytest.fixture
def place(file_place: Place) -> Place:
    """One engine: what a target does hangs on none."""
    return file_place


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def told(posted: list[Posted]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in posted:
        event = json.loads(one.body)
        found.setdefault(event["subject"], []).append(event["data"]["number"])
    return found


def made(place: Place, *keys: str) -> list[Message]:
    shelf = Shelf()
    for number, key in enumerate(keys or ("1",)):
        note(place.store, number, order=key)
    place.run(Outside(shelf))
    return shelf.messages


def outcome(place: Place, receiver: Receiver, **options: Any) -> Any:
    with WebhookTarget(receiver.url, secret=SECRET, **options) as target:
        (found,) = target.send(made(place))
    return found


@contextmanager
def relaying(place: Place, url: str, **options: Any) -> Iterator[Application]:
    with WebhookTarget(url, secret=SECRET, **options) as target, place.running(Outside(target)) as app:
        yield app


def test_each_message_is_posted_signed_as_a_cloudevent(place: Place, receiver: Receiver) -> None:
    assert outcome(place, receiver) is None
    (posted,) = receiver.posted
    assert posted.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert posted.headers["webhook-id"] == json.loads(posted.body)["id"]
    verify_webhook(posted.headers, posted.body, SECRET)


def test_keys_go_together_and_each_in_order(place: Place, receiver: Receiver) -> None:
    gate = iter(range(1_000_000))

    def answers(posted: Posted) -> int:
        next(gate)
        until(lambda: receiver.most_together >= 4)
        return 200

    receiver.answers = answers
    for number in range(40):
        note(place.store, number, order=str(number % 4))
    with relaying(place, receiver.url) as app:
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
    assert told(receiver.posted) == {str(key): list(range(key, 40, 4)) for key in range(4)}


def test_no_more_requests_are_under_way_than_allowed(place: Place, receiver: Receiver) -> None:
    with WebhookTarget(receiver.url, secret=SECRET, in_parallel=2) as target:
        assert target.send(made(place, *map(str, range(30)))) == [None] * 30
    assert receiver.most_together <= 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 499])
def test_a_refusal_parks_the_message_at_once_and_its_key_only(place: Place, receiver: Receiver, status: int) -> None:
    receiver.text = b"no such order\nsecond line"
    receiver.answers = lambda posted: status if json.loads(posted.body)["subject"] == "bad" else 200
    for number, key in enumerate(["good", "bad", "good", "bad", "fine"]):
        note(place.store, number, order=key)
    with relaying(place, receiver.url) as app:
        until(lambda: len(app.administration.parked(Outside)) == 2)
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
        row = app.administration.parked(Outside)[0]
    assert (row.key, row.attempts) == ("bad", 1)
    assert row.error == f"WebhookRefused: {receiver.url} refuses the message: it answered {status}: no such order"
    assert told(receiver.taken) == {"good": [0, 2], "fine": [4]}


def test_gone_is_told_apart(place: Place, receiver: Receiver) -> None:
    receiver.answers = lambda posted: 410
    found = outcome(place, receiver)
    assert type(found) is WebhookGone
    assert found.status == 410


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(place: Place, receiver: Receiver, status: int) -> None:
    receiver.answers = lambda posted: (status, {"location": receiver.url + "/elsewhere"})
    found = outcome(place, receiver)
    assert (type(found), found.status, len(receiver.posted)) == (WebhookRefused, status, 1)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_a_failure_is_tried_again_and_then_parked(place: Place, receiver: Receiver, status: int) -> None:
    receiver.answers = lambda posted: status if json.loads(posted.body)["subject"] == "bad" else 200
    for number, key in enumerate(["good", "bad", "good"]):
        note(place.store, number, order=key)
    with relaying(place, receiver.url) as app:
        until(lambda: app.administration.parked(Outside))
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
        (row,) = app.administration.parked(Outside)
    assert (row.key, row.attempts) == ("bad", AT_ONCE.attempts)
    assert f"it answered {status}" in (row.error or "")
    tries = [one for one in receiver.posted if json.loads(one.body)["subject"] == "bad"]
    assert len(tries) == AT_ONCE.attempts
    assert len({one.headers["webhook-id"] for one in tries}) == 1
    assert told(receiver.taken)["good"] == [0, 2]


def test_a_failure_that_passes_is_got_over(place: Place, receiver: Receiver) -> None:
    receiver.answers = lambda posted: 500 if len(receiver.posted) < AT_ONCE.attempts else 200
    note(place.store, 1, 2)
    with relaying(place, receiver.url) as app:
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
        assert app.administration.parked(Outside) == []
    assert told(receiver.taken) == {"1": [1, 2]}


@pytest.mark.parametrize("answer", [NEVER, TRICKLE])
def test_a_receiver_that_does_not_come_to_an_end_is_given_up_in_time(
    place: Place, receiver: Receiver, answer: int
) -> None:
    receiver.answers = lambda posted: answer
    began = monotonic()
    found = outcome(place, receiver, timeout=0.3)
    assert monotonic() - began < PATIENCE / 4
    assert type(found) is WebhookFailed
    assert (found.status, "within 0.3 s" in str(found)) == (None, True)


def test_a_receiver_that_never_answers_parks_its_key_and_others_go_on(place: Place, receiver: Receiver) -> None:
    receiver.answers = lambda posted: NEVER if json.loads(posted.body)["subject"] == "bad" else 200
    for number, key in enumerate(["good", "bad", "good"]):
        note(place.store, number, order=key)
    with relaying(place, receiver.url, timeout=2.0) as app:
        until(lambda: app.administration.parked(Outside))
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
    assert told(receiver.taken) == {"good": [0, 2]}


def test_an_answer_that_goes_on_for_ever_is_not_heard_to_its_end(place: Place, receiver: Receiver) -> None:
    receiver.text = b"x" * 10_000_000
    receiver.answers = lambda posted: 400
    found = outcome(place, receiver)
    assert len(str(found)) < 400


def test_nobody_who_listens_is_waited_for(place: Place) -> None:
    port, keeper = kept_port()
    with keeper:
        for number in range(20):
            note(place.store, number, order=str(number % 3))
        with relaying(place, f"http://127.0.0.1:{port}/hooks") as app:
            until(lambda: any(one.error for one in app._runners[0].workers))
            assert app.administration.parked(Outside) == []
            with receiving(port) as receiver:
                assert app.wait_for(Outside, place.store.head(), PATIENCE)
        assert told(receiver.taken) == {str(key): list(range(key, 20, 3)) for key in range(3)}


def test_a_host_that_has_no_address_is_waited_for(place: Place) -> None:
    with WebhookTarget("http://no-such-host.invalid/", secret=SECRET) as target:
        (found,) = target.send(made(place))
    assert isinstance(found, TargetUnreachable)


def test_secrets_and_credentials_are_shown_nowhere(
    place: Place, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = lambda posted: 500
    url = receiver.url.replace("http://", "http://ann:p%40ssw0rd@")
    with WebhookTarget(url + "?token=t0ken", secret=SECRET) as target, place.running(Outside(target)) as app:
        note(place.store, 1)
        until(lambda: app.administration.parked(Outside))
        (row,) = app.administration.parked(Outside)
        shown = f"{target!r} {vars(target)!r} {row!r} {caplog.text}"
    assert receiver.posted[0].headers["authorization"] == "Basic " + base64.b64encode(b"ann:p@ssw0rd").decode()
    assert receiver.posted[0].path == "/hooks?token=t0ken"
    assert [one for one in (SECRET, SECRET[6:], "0123456789abcdef", "p%40ssw0rd", "p@ssw0rd") if one in shown] == []


@pytest.mark.parametrize("url", ["", "example.org", "ftp://example.org", "http://", "http://h:x/", None, "http://[::1"])
def test_a_url_out_of_rules_is_refused(url: Any) -> None:
    with pytest.raises(InvalidTarget):
        WebhookTarget(url, secret=SECRET)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_short", "not base64 at all!", "whsec_AAAA", [], None, "ä" * 40]
)
def test_a_secret_out_of_rules_is_refused_and_not_shown(secret: Any) -> None:
    with pytest.raises(InvalidTarget) as caught:
        WebhookTarget("http://example.org", secret=secret)
    assert not secret or secret[0] == "w" or str(secret) not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (None, None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("9" * 40, 999_999_999.0),
        ("-1", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


# --- verifying -------------------------------------------------------------------------------------------

BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
PUBLISHED_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example that the specification's own libraries are tested by."""


def verify(
    headers: dict[str, str] = HEADERS, body: bytes = BODY, secret: Any = PUBLISHED_SECRET, **options: Any
) -> None:
    verify_webhook(headers, body, secret, **{"now": 1614265330, **options})


def test_the_published_example_is_verified_whatever_the_case_of_headers() -> None:
    verify()
    verify({name.title(): value for name, value in HEADERS.items()})


def test_one_of_several_signatures_or_secrets_is_enough() -> None:
    verify({**HEADERS, "webhook-signature": f"v1a,abc v1,wrong {HEADERS['webhook-signature']}"})
    verify(secret=[OTHER, PUBLISHED_SECRET])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"webhook-id": "another"}, "no signature is by this secret"),
        ({"webhook-timestamp": "1614265331"}, "no signature is by this secret"),
        ({"webhook-signature": "v1,AAAA"}, "no signature is by this secret"),
        ({"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "v2,")}, "no signature is by this secret"),
        ({"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "")}, "no signature is by this secret"),
        ({"webhook-signature": "v1,ä\ud800"}, "no signature is by this secret"),
        ({"webhook-signature": ""}, "webhook-signature is missing"),
        ({"webhook-timestamp": "later"}, "no number of seconds"),
        ({"webhook-timestamp": "١٢٣"}, "no number of seconds"),
        ({"webhook-timestamp": "9" * 50}, "no number of seconds"),
        ({"webhook-timestamp": "1614264000"}, "1330 s ago"),
        ({"webhook-timestamp": "1614266000"}, "670 s ahead"),
    ],
)
def test_a_signature_that_does_not_hold_is_refused(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidSignature, match=reason) as caught:
        verify({**HEADERS, **changes})
    assert HEADERS["webhook-signature"][3:] not in str(caught.value)


def test_another_body_or_secret_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        verify(body=BODY + b" ")
    with pytest.raises(InvalidSignature):
        verify(secret=OTHER)


def test_the_tolerance_is_the_receivers_to_choose() -> None:
    verify(now=1614265330 + 3_600, tolerance=3_600)
    with pytest.raises(InvalidSignature):
        verify(now=1614265330 + 3_601, tolerance=3_600)
