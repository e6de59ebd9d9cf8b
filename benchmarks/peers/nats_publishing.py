"""Plain nats-py: the messages that the relay sends, made before the clock starts, with the same headers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import nats
from nats.js import JetStreamContext

from benchmarks.job import Job
from benchmarks.ours.messaging import ALWAYS, SELDOM, SUBJECT, check, messages, server_with_stream
from sacho.reacting.messaging.jetstream import IN_FLIGHT
from sacho.reacting.messaging.message import CONTENT_TYPE


def publish_together(job: Job) -> float:
    """Messages a second: `await js.publish`, as many at once as the relay has under way."""
    return _published(job, ALWAYS, IN_FLIGHT)


def publish_in_turn(job: Job) -> float:
    """Messages a second: `await js.publish`, one after the other."""
    return _published(job, ALWAYS, 1)


def publish_together_unsynced(job: Job) -> float:
    """As many at once, to a server that syncs every two minutes."""
    return _published(job, SELDOM, IN_FLIGHT)


def _published(job: Job, sync: str, at_once: int) -> float:
    bodies = [(one.id, one.structured()) for one in messages(job)]
    with server_with_stream(job, sync) as server:
        took = asyncio.run(_publish(server, bodies, at_once))
        asyncio.run(check(server, len(bodies)))
    return len(bodies) / took


async def _publish(server: str, bodies: list[tuple[str, bytes]], at_once: int) -> float:
    client = await nats.connect(server)
    stream, waiting = client.jetstream(timeout=60), iter(bodies)
    started = time.perf_counter()
    await asyncio.gather(*(_publish_some(stream, waiting) for _ in range(at_once)))
    took = time.perf_counter() - started
    await client.close()
    return took


async def _publish_some(stream: JetStreamContext, waiting: Iterator[tuple[str, bytes]]) -> None:
    for id, body in waiting:
        await stream.publish(SUBJECT, body, headers={"Nats-Msg-Id": id, "content-type": CONTENT_TYPE})
