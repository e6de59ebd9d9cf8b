"""Inbox: messages from the outside become commands in the log, once in effect, whatever comes twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec

from sacho.errors import (
    DuplicateEventId,
    InvalidConsumer,
    MalformedMessage,
    MessageTooLarge,
    MissingExtra,
    UnknownMessageType,
)
from sacho.events.builtin import command_stream
from sacho.reacting.messaging.public_event import PublicEvent
from sacho.reacting.messaging.signing import TOLERANCE_SECONDS, Secrets, verify_webhook
from sacho.schema.encoding import MAX_CORRELATION_BYTES
from sacho.schema.plain import check_finite
from sacho.store.context import metadata
from sacho.store.ids import derived_id

if TYPE_CHECKING:
    from cloudevents.core.base import BaseCloudEvent

    from sacho.store import EventStore

F = TypeVar("F", bound=Callable[..., Any])

MOST_BYTES: Final = 1024 * 1024
MOST_CHARACTERS: Final = 1024
_ATTRIBUTE: Final = "__sacho_accepts__"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Storing(Protocol):
    """What an inbox needs of a command bus."""

    def store(self, command: Any, *, command_id: str, origin: Literal["inbox"]) -> object:
        """Put a command into the log, to be handled soon; the same id is stored once. Raises DuplicateEventId for other content."""


class Accepted(NamedTuple):
    """What became of a message. `command_id` is the id of its command, None where the method made none of it."""

    command_id: str | None
    is_duplicate: bool
    """Whether it had come before; then nothing was done."""


class _Way(NamedTuple):
    """The method that accepts a type, and the class of its data, if one was named."""

    method: str
    cls: type[PublicEvent] | None


def accepts(*types: str | type[PublicEvent]) -> Callable[[F], F]:
    """Mark a method `(self, data, message)` as what makes a command of messages of these types, or None of one to ignore.

    A type is the CloudEvents type, such as "payments.completed", and `data` then is as it came: JSON values. Or it is a
    class of PublicEvent, and `data` an object of it. `message` is the CloudEvent.
    """

    def mark(method: F) -> F:
        if not types:
            raise InvalidConsumer(method.__qualname__, '@accepts names no type; write @accepts("payments.completed")')
        for one in types:
            is_class = isinstance(one, type) and issubclass(one, PublicEvent) and one.message_type
            if not is_class and not (isinstance(one, str) and one):
                raise InvalidConsumer(
                    method.__qualname__, f"@accepts: {one!r} is neither a type's name nor a PublicEvent"
                )
        setattr(method, _ATTRIBUTE, types)
        return method

    return mark


class Inbox:
    """Turns messages into commands: `class FromPayments(Inbox)` with methods marked by `@accepts("payments.completed")`.

    `bus` stores the commands in `store`'s log; there they are handled in the background. A command's id is derived from the
    message's `source` and `id`, which CloudEvents say are unique together: what comes again is answered as a duplicate,
    for ever and whoever receives it, and does nothing. The command's metadata have the message's id as causation id, its
    `correlationid` and its source.

    With `secret` every message that comes as bytes must be signed (see `verify_webhook`). `most_bytes` bounds it.
    """

    ways: ClassVar[Mapping[str, _Way]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found: dict[str, _Way] = {}
        for base in reversed(cls.__mro__):
            own: dict[str, str] = {}
            for name, member in vars(base).items():
                for type in getattr(member, _ATTRIBUTE, ()):
                    way = _Way(name, None) if isinstance(type, str) else _Way(name, type)
                    text = type if isinstance(type, str) else type.message_type
                    if text in own:
                        raise InvalidConsumer(cls.__qualname__, f"both {own[text]} and {name} accept {text!r}")
                    own[text] = name
                    found[text] = way
        cls.ways = found

    def __init__(
        self,
        bus: Storing,
        store: EventStore,
        *,
        secret: str | Sequence[str] | None = None,
        tolerance: float = TOLERANCE_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if secret is not None:
            Secrets(secret)
        self._bus = bus
        self._store = store
        self._secret = secret
        self._tolerance = tolerance
        self._most_bytes = most_bytes

    def receive(self, headers: Mapping[str, str], body: bytes) -> Accepted:
        """Take a message as it came over HTTP, or from a broker: in the structured mode, or in the binary one.

        Once it returns, the command is durable, and the message may be acknowledged. Raises MessageTooLarge,
        InvalidSignature, MalformedMessage, UnknownMessageType, MissingExtra; and what the method or the bus raises.
        """
        if len(body) > self._most_bytes:
            raise MessageTooLarge("the inbox", len(body), self._most_bytes)
        if self._secret is not None:
            verify_webhook(headers, body, self._secret, tolerance=self._tolerance)
        return self.take(_read(headers, body))

    def take(self, message: BaseCloudEvent) -> Accepted:
        """Take a message that is a CloudEvent already; nothing says who sent it but whoever calls. Raises as `receive`."""
        source, id = _checked_name("source", message.get_source()), _checked_name("id", message.get_id())
        way = self.ways.get(message.get_type())
        if way is None:
            raise UnknownMessageType(message.get_type(), self.ways)
        correlation = _correlation(message)
        command_id = str(UUID(bytes=derived_id(id, "inbox", source)))
        if self._is_there(command_id):
            return Accepted(command_id, is_duplicate=True)
        command = getattr(self, way.method)(_data(message, way), message)
        if command is None:
            return Accepted(None, is_duplicate=False)
        with metadata(correlation_id=correlation, causation_id=id, more={"source": source}):
            try:
                self._bus.store(command, command_id=command_id, origin="inbox")
            except DuplicateEventId:  # it came twice at once, or its method makes another command of it by now
                return Accepted(command_id, is_duplicate=True)
        return Accepted(command_id, is_duplicate=False)

    def _is_there(self, command_id: str) -> bool:
        return next(iter(self._store.read(command_stream(command_id), limit=1, raw=True)), None) is not None


def _read(headers: Mapping[str, str], body: bytes) -> BaseCloudEvent:
    """Return what came as a CloudEvent. Raises MalformedMessage, MissingExtra."""
    try:
        from cloudevents.core.bindings.http import HTTPMessage, from_http
        from cloudevents.core.formats.json import JSONFormat
        from cloudevents.core.v1.event import CloudEvent
    except ImportError as error:
        raise MissingExtra("an inbox", "messages") from error

    def event(attributes: dict[str, Any], data: Any) -> BaseCloudEvent:
        missing = [name for name in ("specversion", "id") if name not in attributes]
        if missing:  # the library would make some up, and no message would ever be a duplicate
            raise ValueError(f"{missing[0]} is missing")
        return CloudEvent(attributes, data)

    try:
        return from_http(HTTPMessage(dict(headers), body), JSONFormat(), event)
    except Exception as error:  # whatever a stranger sent may break a reader anywhere
        reason = "the body is no JSON object" if _is_no_object(headers, body) else _said(error)
        raise MalformedMessage(f"it is no CloudEvent of version 1.0 in JSON: {reason}") from error


def _is_no_object(headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether a body in the structured mode is something else than an object, such as a batch."""
    type = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return type.startswith("application/cloudevents") and not body.lstrip().startswith(b"{")


def _data(message: BaseCloudEvent, way: _Way) -> Any:
    """Return the data of a message as its method is to have them. Raises MalformedMessage."""
    data: Any = message.get_data()
    try:
        check_finite(data)
        return data if way.cls is None else msgspec.json.decode(msgspec.json.encode(data), type=way.cls)
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise MalformedMessage(f"its data do not fit {message.get_type()!r}: {_said(error)}") from error


def _correlation(message: BaseCloudEvent) -> str | None:
    """Return a message's `correlationid`, or None. Raises MalformedMessage for one that the log would refuse."""
    found = message.get_extension("correlationid")
    if found is None or found == "":
        return None
    text = _checked_name("correlationid", str(found))
    if len(text.encode()) > MAX_CORRELATION_BYTES:
        raise MalformedMessage(f"its correlationid has over {MAX_CORRELATION_BYTES} bytes")
    return text


def _checked_name(attribute: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_CHARACTERS or _CONTROL.search(value):
        raise MalformedMessage(f"its {attribute} is out of rules: 1 to {MOST_CHARACTERS} printable characters")
    return value


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
