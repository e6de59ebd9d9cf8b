"""Messages to NATS JetStream, which acknowledges each once a stream has it. Sent together, in order of each key.

Source of the protocol: NATS documentation, "JetStream wire API" (publish and acknowledgement, `Nats-Msg-Id`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from sacho.errors import (
    InvalidTarget,
    MessageTooLarge,
    MissingExtra,
    StreamMissing,
    TargetFailed,
    TargetUnreachable,
)
from sacho.reacting.messaging.looping import LoopTarget
from sacho.reacting.messaging.message import CONTENT_TYPE, Message
from sacho.reacting.messaging.target import Outcome, filled, lanes

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

T = TypeVar("T")

SCHEMES: Final = ("nats", "tls", "ws", "wss")
AT_ONCE: Final = 2_000
IN_FLIGHT: Final = 500
"""How many messages are not acknowledged at a time."""
CONNECT_SECONDS: Final = 5
ACKNOWLEDGED_WITHIN: Final = 5.0
_ONCE: Final = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0.01}
"""Of nats-py's connect: come back at once, also where nobody listens."""
_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_TOO_LARGE: Final = 10054
_WAITS: Final = {10023, 10047, 10076, 10077, 10118}
"""Codes of a stream that takes nothing just now: the server lacks resources, the stream is full, or it has no leader."""


class JetStreamTarget(LoopTarget):
    """Sends messages to a stream of JetStream: `JetStreamTarget("nats://localhost:4222", subject="outside.{type}")`.

    `servers` is one URL or several. `subject` may hold `{type}` (the message's, with its dots) and `{key}` (percent-encoded
    to be one token). The stream is yours: one must take the subject; `stream` names it where it must be that one. `options`
    go to nats-py's `connect` (credentials, TLS).

    Messages are CloudEvents in the structured mode. `Nats-Msg-Id` is the message's id: within the stream's duplicate window
    (two minutes, unless it says otherwise) the server drops what comes again. What a server has acknowledged survives a
    loss of power only if it syncs always (`sync_interval: always`).

    It connects when it is first used, and anew once a connection is lost. Raises InvalidTarget, MissingExtra.
    """

    at_once = AT_ONCE

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        subject: str,
        stream: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__("sacho-jetstream")
        check_installed()
        self._servers = checked_servers(servers)
        self.where = shown(self._servers)
        """The servers, without credentials."""
        self._subject = _checked_subject(subject)
        self._headers = {"Nats-Msg-Id": "", "content-type": CONTENT_TYPE}
        if stream is not None:
            self._headers["Nats-Expected-Stream"] = stream
        self._options = dict(options or {})
        self._connection: _Publishing | None = None
        self._turn: asyncio.Lock | None = None

    def __repr__(self) -> str:
        return f"<JetStreamTarget {self.where} {self._subject}>"

    def subject_of(self, message: Message) -> str:
        """Return the subject of a message."""
        return self._subject.replace("{type}", message.type).replace("{key}", token(message.subject))

    # --- in the loop ----------------------------------------------------------------------------------

    async def _send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        try:
            connection = await self._connected()
        except TargetUnreachable as error:
            return [error] * len(messages)
        return await connection.publish([(one, self.subject_of(one)) for one in messages], self._headers)

    async def _connected(self) -> _Publishing:
        """Return the connection; a new one where there is none, or where a fork or a failure has taken it."""
        loop = asyncio.get_running_loop()
        if self._connection is None or self._connection.loop is not loop:
            self._connection, self._turn = None, None
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            if self._connection is None or not self._connection.is_open:
                await self._closed()
                self._connection = await _Publishing.open(self._servers, self._options, self.where)
            return self._connection

    async def _closed(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.loop is asyncio.get_running_loop():
            await connection.close()


class _Acknowledgement(msgspec.Struct):
    """What a stream answers."""

    error: dict[str, Any] | None = None
    stream: str = ""
    seq: int = 0


_acknowledgement: Final = msgspec.json.Decoder(_Acknowledgement).decode


class _Batch:
    """Messages that are sent together: of each lane the first that is not acknowledged, of so many lanes at a time."""

    def __init__(self, messages: Sequence[tuple[Message, str]], headers: Mapping[str, str]) -> None:
        self.messages = messages
        self.headers = headers
        self.outcomes: list[Outcome] = [None] * len(messages)
        self.behind: dict[int, list[int]] = {}
        """By the message that is the first of its lane: what follows it, the next one last."""
        self._waiting: list[int] = []
        for lane in lanes(one for one, _ in messages):
            self._waiting.append(lane[0])
            self.behind[lane[0]] = lane[:0:-1]
        self._waiting.reverse()
        self.acknowledged = 0
        self.done = asyncio.Event()

    def begin(self) -> int | None:
        """Return the first message of a lane that has not begun."""
        return self._waiting.pop() if self._waiting else None

    def next(self, place: int) -> int | None:
        """Note that a message is acknowledged; return which one is to be sent next, if any is."""
        self.acknowledged += 1
        rest = self.behind.pop(place)
        if not rest:
            return self._another()
        follower = rest.pop()
        self.behind[follower] = rest
        return follower

    def fail(self, place: int, error: BaseException) -> int | None:
        """Note that a message failed, and with it what is behind it; return which one is to be sent next."""
        filled(self.outcomes, [place, *self.behind.pop(place, ())], error)
        return self._another()

    def fail_all(self, error: BaseException) -> None:
        """Note that all failed that are not acknowledged."""
        self._waiting.clear()
        for place in list(self.behind):
            self.fail(place, error)

    def _another(self) -> int | None:
        if not self.behind:
            self.done.set()
        return self.begin()


class _Publishing:
    """One connection. Once it is lost it stays so, and what was under way on it failed."""

    def __init__(self, client: Client, where: str) -> None:
        self.loop = asyncio.get_running_loop()
        self._client = client
        self._where = where
        self._inbox = client.new_inbox()
        self._batches: dict[int, _Batch] = {}
        self._count = 0

    @classmethod
    async def open(cls, servers: Sequence[str], options: Mapping[str, Any], where: str) -> _Publishing:
        """Connect to the first server that answers. Raises TargetUnreachable."""
        lost: list[_Publishing] = []

        async def on_lost() -> None:
            for one in lost:
                one.fail("the connection was lost")

        client = await connected(servers, {**options, "disconnected_cb": on_lost, "closed_cb": on_lost}, where)
        publishing = cls(client, where)
        lost.append(publishing)
        await client.subscribe(f"{publishing._inbox}.*.*", cb=publishing._answered)
        return publishing

    @property
    def is_open(self) -> bool:
        return bool(self._client.is_connected)

    async def close(self) -> None:
        with suppress(Exception):
            await self._client.close()

    def fail(self, reason: str) -> None:
        """Have all that is under way come to nothing."""
        for batch in list(self._batches.values()):
            batch.fail_all(TargetUnreachable(self._where, reason))

    async def publish(self, messages: Sequence[tuple[Message, str]], headers: Mapping[str, str]) -> list[Outcome]:
        """Send messages, of each key one at a time; return what became of them."""
        self._count += 1
        number, batch = self._count, _Batch(messages, headers)
        self._batches[number] = batch
        try:
            for _ in range(IN_FLIGHT):
                await self._publish(number, batch, batch.begin())
            while not batch.done.is_set():
                before = batch.acknowledged
                with suppress(TimeoutError):
                    await asyncio.wait_for(batch.done.wait(), ACKNOWLEDGED_WITHIN)
                if not batch.done.is_set() and batch.acknowledged == before:
                    batch.fail_all(TargetUnreachable(self._where, f"no acknowledgement in {ACKNOWLEDGED_WITHIN:g} s"))
                    await self.close()  # what it still holds is not to be sent later, behind what comes now
        finally:
            del self._batches[number]
        return batch.outcomes

    async def _publish(self, number: int, batch: _Batch, place: int | None) -> None:
        """Send a message; where it cannot be sent, the next one that may be."""
        while place is not None:
            error = await self._sent(number, batch, place)
            if error is None:
                return
            place = batch.fail(place, error)

    async def _sent(self, number: int, batch: _Batch, place: int) -> Outcome:
        """Send a message; return what kept it from being sent."""
        message, subject = batch.messages[place]
        try:
            body = message.structured()
            headers = {**batch.headers, "Nats-Msg-Id": message.id}
            limit, size = self._client.max_payload, len(body) + _size(headers)
            if size > limit:
                return MessageTooLarge(self._where, size, limit)
            await self._client.publish(subject, body, f"{self._inbox}.{number}.{place}", headers)
        except Exception as error:
            return TargetUnreachable(self._where, str(error) or type(error).__name__)
        return None

    async def _answered(self, answer: Msg) -> None:
        """Take an acknowledgement, or a refusal; send the next message of the key."""
        _, number, place = answer.subject.rsplit(".", 2)
        batch, at = self._batches.get(int(number)), int(place)
        if batch is None or at not in batch.behind:
            return  # it comes too late
        error = await self._error(answer, batch.messages[at])
        if at in batch.behind:
            follower = batch.next(at) if error is None else batch.fail(at, error)
            await self._publish(int(number), batch, follower)

    async def _error(self, answer: Msg, sent: tuple[Message, str]) -> BaseException | None:
        if answer.headers and answer.headers.get("Status") == "503":
            return StreamMissing(self._where, sent[1])
        try:
            found = _acknowledgement(answer.data)
        except msgspec.MsgspecError:
            return TargetFailed(self._where, f"{bytes(answer.data[:80])!r} is no acknowledgement")
        if found.error is None:
            return None
        code, status = found.error.get("err_code", 0), found.error.get("code", 0)
        reason = f"{found.error.get('description', 'no reason')} (error {code})"
        if code == _TOO_LARGE:
            return MessageTooLarge(self._where, len(sent[0].structured()), await self._limit_of(sent[1]))
        return (
            TargetUnreachable(self._where, reason)
            if code in _WAITS or status == 503
            else TargetFailed(self._where, reason)
        )

    async def _limit_of(self, subject: str) -> int:
        """Return how large the stream of a subject lets messages be; 0 where it does not say."""
        try:
            manager = self._client.jetstream(timeout=ACKNOWLEDGED_WITHIN)
            found = await manager.stream_info(await manager.find_stream_name_by_subject(subject))
        except Exception:
            return 0
        return found.config.max_msg_size or 0


async def connected(servers: Sequence[str], options: Mapping[str, Any], where: str) -> Client:
    """Return a connection to the first server that answers; it is not mended when it is lost.

    nats-py would hold back what is sent meanwhile, and send it when nobody knows any more. Raises TargetUnreachable.
    """
    from nats.aio.client import Client

    met: list[Exception] = []

    async def note(error: Exception) -> None:
        met.append(error)

    given = {"connect_timeout": CONNECT_SECONDS, **options, **_ONCE, "error_cb": note}
    for server in servers:
        client = Client()
        try:
            async with asyncio.timeout(3 * given["connect_timeout"]):
                await client.connect(server, **given)
            return client
        except Exception as error:
            met.insert(0, error)
            with suppress(Exception):
                await client.close()
    raise TargetUnreachable(where, str(met[-1]) or type(met[-1]).__name__)


def check_installed() -> None:
    """Raise MissingExtra where nats-py is not installed: where a target is made, not in its thread."""
    try:
        import nats.aio.client  # noqa: F401
    except ImportError as error:
        raise MissingExtra("JetStream", "nats") from error


def token(text: str) -> str:
    """Return a text as one token of a subject: percent-encoded but for letters, digits, `-` and `_`."""
    return quote(text, safe="-_").replace(".", "%2E").replace("~", "%7E")


def checked_servers(servers: str | Sequence[str]) -> tuple[str, ...]:
    """Return the URLs of servers as a tuple. Raises InvalidTarget."""
    found = (servers,) if isinstance(servers, str) else tuple(servers)
    if not found or not all(isinstance(one, str) and _is_server(one) for one in found):
        raise InvalidTarget('the servers of JetStream are one URL or several: "nats://localhost:4222"')
    return found


def _is_server(url: str) -> bool:
    scheme, separator, rest = url.partition("://")
    return scheme in SCHEMES and bool(rest) if separator else bool(url)


def shown(servers: Sequence[str]) -> str:
    """Return the URLs of servers without credentials."""
    return ", ".join(f"{one.partition('://')[0]}://{one.rpartition('@')[2]}" if "@" in one else one for one in servers)


def _checked_subject(subject: object) -> str:
    if not isinstance(subject, str) or not subject:
        raise InvalidTarget('a subject is text: subject="outside.{type}"')
    unknown = [name for name in _FIELD.findall(subject) if name not in {"type", "key"}]
    plain = _FIELD.sub("x", subject)
    if unknown or not re.fullmatch(r"[^\s.*>{}]+(\.[^\s.*>{}]+)*", plain):
        raise InvalidTarget(
            f"subject {subject!r} is out of rules: tokens between dots, without spaces, * and >; {{type}} and {{key}} are filled in"
        )
    return subject


def _size(headers: Mapping[str, str]) -> int:
    """Return how many bytes headers have, as a server counts them."""
    return len("NATS/1.0\r\n\r\n") + sum(len(name) + len(value) + len(": \r\n") for name, value in headers.items())
