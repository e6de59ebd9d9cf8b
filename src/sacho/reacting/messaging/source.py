"""From JetStream into an inbox: a durable consumer of a stream, whose messages are acknowledged once their commands are stored."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sacho.deciding import Retry
from sacho.errors import (
    ConfigurationError,
    InvalidSignature,
    InvalidTarget,
    MalformedMessage,
    MessageTooLarge,
    RetriesExhausted,
    SachoError,
    StorageError,
    TargetUnreachable,
    UnknownMessageType,
)
from sacho.reacting.messaging.inbox import Inbox
from sacho.reacting.messaging.jetstream import check_installed, checked_servers, connected, shown
from sacho.reacting.taking import said

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

logger = logging.getLogger("sacho.messaging")

PAUSES: Final = Retry(attempts=2**31, first_pause=0.05, longest_pause=5.0)
"""How soon a server, or a log, that does not answer is asked again."""
BACK: Final = Retry(attempts=2**31, first_pause=1.0, longest_pause=60.0)
"""For how long a message is put back whose command could not be stored."""
AT_ONCE: Final = 100
_NAME: Final = re.compile(r"[^\s.*>/\\\x00-\x1f\x7f]+")
PASSING: Final = (StorageError, ConfigurationError, RetriesExhausted)
"""What says nothing of the message: the log's state, or how this process is set up. It is waited for."""
SENDERS: Final = (InvalidSignature, MalformedMessage, MessageTooLarge, UnknownMessageType)
"""What is the sender's fault, or for somebody else: such a message is left out."""
FETCH_SECONDS: Final = 1.0
"""For how long a stream is asked for messages at a time; so long an end waits."""


class JetStreamSource:
    """Hands a stream's messages to an inbox, in order, in a thread of its own, for the length of a `with` block.

        with JetStreamSource("nats://localhost:4222", inbox, stream="payments", durable="booking"):
            ...

    `durable` names the consumer on the server, which knows what was acknowledged; it is made if it is not there, and begins
    with the stream's first message. `subject` takes a part of the stream. A message is acknowledged once its command is in
    the log; until then it comes again, and is told by its id. One that is no message for the inbox (malformed, not signed, of
    a type that it does not accept) is logged as an error and not asked for again: it stays in the stream. One whose
    command cannot be stored (no handler, fields that do not fit, a method that fails) is put back for a while, more and
    more, up to a minute, and others go on. While the log or the server does not answer, the source waits. In several
    processes the messages are shared, and their order is not kept.

    Raises InvalidTarget, MissingExtra.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        inbox: Inbox,
        *,
        stream: str,
        durable: str,
        subject: str = ">",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        check_installed()
        self._servers = checked_servers(servers)
        for what, name in (("stream", stream), ("durable", durable)):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise InvalidTarget(f"{what} {name!r} is out of rules: no spaces, dots, *, >, / and \\")
        self.where = shown(self._servers)
        """The servers, without credentials."""
        self._inbox = inbox
        self._stream = stream
        self._durable = durable
        self._subject = subject
        self._options = dict(options or {})
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: str | None = None
        """What it last met and has not got over."""

    def start(self) -> None:
        """Begin, in the background."""
        self._ends.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="sacho-source", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, once the message in hand is stored."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<JetStreamSource {self.where} {self._stream} {self._durable}>"

    # --- in the thread --------------------------------------------------------------------------------

    async def _work(self) -> None:
        failures = 0
        while not self._ends.is_set():
            try:
                client = await connected(self._servers, self._options, self.where)
                try:
                    await self._take(client.jetstream())
                finally:
                    with suppress(Exception):
                        await client.close()
                failures = 0
            except Exception as error:
                failures += 1
                self._met(error)
                await asyncio.to_thread(self._ends.wait, PAUSES.pause(failures + 1))

    async def _take(self, stream: JetStreamContext) -> None:
        """Take messages until the end is asked for, or the connection is lost."""
        from nats.errors import TimeoutError as NothingCame
        from nats.js.errors import NotFoundError

        try:
            found = await stream.pull_subscribe(self._subject, durable=self._durable, stream=self._stream)
        except NotFoundError as error:
            raise TargetUnreachable(self.where, f"there is no stream {self._stream!r}; make it") from error
        while not self._ends.is_set():
            try:
                messages = await found.fetch(AT_ONCE, timeout=FETCH_SECONDS)
            except NothingCame:
                if not stream._nc.is_connected:
                    raise TargetUnreachable(self.where, "the connection was lost") from None
                continue
            self.error = None
            for message in messages:
                if self._ends.is_set():
                    return
                await self._received(message)

    async def _received(self, message: Msg) -> None:
        """Hand a message to the inbox until that has it, or will never take it."""
        failures = 0
        while not self._ends.is_set():
            try:
                await asyncio.to_thread(self._inbox.receive, message.headers or {}, message.data)
                await message.ack()
                return
            except PASSING as error:
                failures += 1
                self._met(error)
                await message.in_progress()
                await asyncio.to_thread(self._ends.wait, PAUSES.pause(failures + 1))
            except SENDERS as error:
                await self._leave_out(message, error)
                return
            except Exception as error:
                await self._put_back(message, error)
                return

    async def _leave_out(self, message: Msg, error: Exception) -> None:
        """Not ask for a message again."""
        logger.error("%s: a message of %s is left out: %s", self._durable, message.subject, said(error))
        await message.term()

    async def _put_back(self, message: Msg, error: Exception) -> None:
        """Have a message come again later: what is wrong is ours, and may be mended."""
        times = message.metadata.num_delivered or 1
        pause = BACK.pause(times + 1)
        log = logger.error if isinstance(error, SachoError) else partial(logger.error, exc_info=error)
        log("%s: a message of %s comes again in %.1f s: %s", self._durable, message.subject, pause, said(error))
        await message.nak(delay=pause)

    def _met(self, error: Exception) -> None:
        reason = said(error)
        if reason != self.error:
            logger.warning("%s waits: %s", self._durable, reason)
        self.error = reason
