"""What tests do at a NATS server: make streams, and read what is in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from nats.aio.client import Client
from nats.js import JetStreamContext

T = TypeVar("T")


class Found(NamedTuple):
    """A message as it lies in a stream."""

    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def at(url: str, work: Callable[[JetStreamContext], Awaitable[T]]) -> T:
    """Do something at a server by a connection of its own."""

    async def connected() -> T:
        client = Client()
        await client.connect(url, connect_timeout=60)
        try:
            return await work(client.jetstream(timeout=60))
        finally:
            await client.close()

    return asyncio.run(connected())


def make_stream(url: str, name: str, **config: Any) -> None:
    """Make a stream that takes the subjects below its name."""

    async def work(js: JetStreamContext) -> None:
        await js.add_stream(name=name, subjects=[f"{name}.>"], **config)

    at(url, work)


def contents(url: str, name: str) -> list[Found]:
    """Return all messages of a stream, in order."""

    async def work(js: JetStreamContext) -> list[Found]:
        state = (await js.stream_info(name)).state
        found = []
        for number in range(state.first_seq or 1, state.last_seq + 1):
            message = await js.get_msg(name, number)
            found.append(Found(message.subject or "", message.headers or {}, message.data or b""))
        return found

    return at(url, work)


def count(url: str, name: str) -> int:
    """Return how many messages a stream has."""

    async def work(js: JetStreamContext) -> int:
        return (await js.stream_info(name)).state.messages

    return at(url, work)


def numbers(found: list[Found]) -> dict[str, list[int]]:
    """Return the numbers that were told of each key, in order."""
    by_key: dict[str, list[int]] = {}
    for one in found:
        by_key.setdefault(one.event["subject"], []).append(one.event["data"]["number"])
    return by_key
