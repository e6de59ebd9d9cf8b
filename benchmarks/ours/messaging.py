"""Sacho's relay: events of the log become messages, which go to JetStream in order of their keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import nats

import sacho
from benchmarks.domain import reservation
from benchmarks.job import Job
from benchmarks.ours.logs import for_reading, prepared, url
from benchmarks.ours.seats import SeatsReserved
from benchmarks.timing import seconds
from sacho.reacting import Application, Context, JetStreamTarget, Message, PublicEvent, Relay, publishes
from servers.nats import running_nats

LOG = "orders"
KEYS = 1_000
STREAM = "outside"
SUBJECT = f"{STREAM}.conference.seats-reserved"
PATIENCE_SECONDS = 300.0
ALWAYS, SELDOM = "always", "2m"


class PublicSeatsReserved(PublicEvent, type="conference.seats-reserved"):
    """What others are told: all that the event has, so that the message is no smaller than it."""

    conference_id: str
    reservation_id: str
    seat_type: str
    seats: int
    note: str


class Outside(Relay):
    """Tells each reservation, in order of its key."""

    source = "urn:benchmark:seats"

    @publishes(SeatsReserved, key="reservation_id")
    def reserved(self, event: SeatsReserved, context: Context) -> PublicEvent:
        return PublicSeatsReserved(*(getattr(event, name) for name in SeatsReserved.__struct_fields__))


def build(job: Job) -> float:
    """Build the log; return events a second."""
    events = job.count(10_000, 1_000)
    with sacho.connect(prepared(job, LOG)) as store:

        def append_all() -> None:
            for first in range(0, events, 100):
                numbers = [number % KEYS for number in range(first, first + 100)]
                store.append(f"seats-{first}", [SeatsReserved(*reservation(1, number)) for number in numbers])

        return events / seconds(append_all)


def relay(job: Job) -> float:
    """Messages a second: from the runner's start until each is acknowledged and the checkpoint is written."""
    return _relayed(job, ALWAYS)


def relay_unsynced(job: Job) -> float:
    """The same to a server that syncs every two minutes."""
    return _relayed(job, SELDOM)


def messages(job: Job) -> list[Message]:
    """Return the messages that the relay sends."""
    found: list[Message] = []
    with sacho.connect(for_reading(job, LOG)) as store:
        outside = Outside(_Nowhere())
        for recorded in store.read_all():
            found += outside.messages(recorded, store)
    return found


@contextmanager
def server_with_stream(job: Job, sync: str) -> Iterator[str]:
    """A server below the job's folder, which syncs as said, with an empty stream."""
    with running_nats(job.directory, sync=sync) as server:

        async def make() -> None:
            client = await nats.connect(server.url)
            await client.jetstream().add_stream(name=STREAM, subjects=[f"{STREAM}.>"])
            await client.close()

        asyncio.run(make())
        yield server.url


async def check(server: str, expected: int) -> None:
    """Raise an error unless the stream has so many messages."""
    client = await nats.connect(server)
    state = (await client.jetstream().stream_info(STREAM)).state
    await client.close()
    if state.messages != expected:
        raise AssertionError(f"the stream has {state.messages} messages, not {expected}")


class _Nowhere:
    """A target that is never asked."""

    at_once = 1

    def send(self, messages: Sequence[Message]) -> Sequence[None]:
        raise NotImplementedError


def _relayed(job: Job, sync: str) -> float:
    with server_with_stream(job, sync) as server, sacho.connect(for_reading(job, LOG)) as store:
        events = sum(1 for _ in store.read_all(raw=True))
        target = JetStreamTarget(server, subject=f"{STREAM}.{{type}}")
        with target, Application(store, consumers=[Outside(target)], views=url(job.file("views.db"))) as app:
            started = time.perf_counter()
            with app.running():
                if not app.wait_for(Outside, store.head(), PATIENCE_SECONDS):
                    raise AssertionError("the relay did not come to the log's end")
                took = time.perf_counter() - started
        asyncio.run(check(server, events))
        return events / took
