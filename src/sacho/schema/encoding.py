"""Events to stored JSON and back: one pipeline each way, in one place, above the engines.

On the way in: event → JSON values → text. On the way out: text → (later: keys, upcasters) → event. A step that needs
to stand between, such as the encryption of personal fields, has its place in `encode` and in `decoder_for`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sacho.errors import InvalidEvent, PayloadTooLarge, UndecodableEvent, UnknownEventType, UnregisteredEvent
from sacho.events import EncodedEvent, EventData, RawEvent
from sacho.events.declaring import MAX_SCHEMA_VERSION, is_pydantic
from sacho.events.naming import checked_name, checked_tag
from sacho.schema.plain import check_finite, plain, pydantic_values
from sacho.schema.registry import Registry

DEFAULT_MAX_EVENT_BYTES = 1024 * 1024
MOST_BYTES_PER_CHARACTER = 4
MAX_CORRELATION_BYTES = 1024
"""As much as every engine's index holds, also where it escapes each character."""

_NO_TAGS: Sequence[str] = ()

_to_json = msgspec.json.Encoder(order="deterministic").encode
_from_json = msgspec.json.decode

Decode = Callable[[str], Any]


class _Correlated(msgspec.Struct):
    """What metadata tell of the index by correlation id."""

    correlation_id: Any = None


_correlated = msgspec.json.Decoder(_Correlated).decode
_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class Writer(NamedTuple):
    """How the events of one class are written: what was declared of it, and its values for JSON."""

    type: str
    version: int
    values: Callable[[Any], Any] | None
    tags: Callable[[Any], Sequence[str]] | None


class Encoding:
    """Encodes and decodes the events of one registry. Thread-safe: what it remembers is only ever added to."""

    def __init__(self, registry: Registry, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        self.registry = registry
        self._classes = registry.classes
        self.max_event_bytes = max_event_bytes
        self._writers: dict[type, Writer] = {}
        self._decoders: dict[tuple[type, int], Decode] = {}

    def encode(self, event: Any, new_id: Callable[[], bytes], metadata: Mapping[str, Any]) -> EncodedEvent:
        """Return `event` (an event, RawEvent or EventData) in its stored form.

        `metadata` is what the surroundings say; the envelope's goes above it. Raises UnregisteredEvent,
        InvalidEvent, InvalidName or PayloadTooLarge.
        """
        id, tags, more_tags = None, _NO_TAGS, _NO_TAGS
        writer = self._writers.get(event.__class__)
        if writer is None and isinstance(event, EventData):
            id, more_tags = event.id, event.tags
            metadata = {**metadata, **event.metadata} if event.metadata else metadata
            event = event.event
            writer = self._writers.get(event.__class__)
        if writer is None and isinstance(event, RawEvent):
            type, version = _checked_raw(event)
            data = _json(type, event.data)
        else:
            cls = event.__class__
            if writer is None or self._classes.get(writer.type) is not cls:
                writer = self._writers[cls] = self._writer_for(cls)
            type, version, values, own_tags = writer
            data = _json(type, event, values)
            if own_tags is not None:
                tags = own_tags(event)
        if len(data) * MOST_BYTES_PER_CHARACTER > self.max_event_bytes:
            self._check_size(type, data)
        if more_tags:
            tags = [*tags, *map(checked_tag, more_tags)]
        return EncodedEvent(
            new_id() if id is None else id.bytes,
            type,
            version,
            data,
            tuple(tags) if len(tags) < 2 else tuple(sorted(set(tags))),
            encode_metadata(type, metadata) if metadata else None,
            _bounded(type, _correlation_id(type, metadata.get("correlation_id"))) if metadata else None,
        )

    def decode(self, type: str, schema_version: int, data: str, place: tuple[str | None, int | None, int]) -> Any:
        """Return the event of a stored type. `place` is (stream, version, position), for the error's sake.

        Raises UnknownEventType or UndecodableEvent.
        """
        cls = self._classes.get(type)
        if cls is None:
            raise UnknownEventType(type, *place)
        decode = self._decoders.get((cls, schema_version))
        if decode is None:
            decode = self._decoders[cls, schema_version] = self._decoder_for(cls, schema_version, place)
        try:
            return decode(data)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise UndecodableEvent(type, *place, f"does not fit {cls.__qualname__}: {error}") from error

    def decoder(self, type: str, schema_version: int) -> Decode | None:
        """Return the function that decodes this type if it was used before, else None: the fast way of `decode`."""
        cls = self._classes.get(type)
        return None if cls is None else self._decoders.get((cls, schema_version))

    def _check_size(self, type: str, data: str) -> None:
        size = len(data.encode())
        if size > self.max_event_bytes:
            raise PayloadTooLarge(type, size, self.max_event_bytes)

    def _writer_for(self, cls: type) -> Writer:
        declared = self.registry.declaration(cls)
        if self.registry.find(declared.type) is not cls:
            raise UnregisteredEvent(cls)
        return Writer(
            declared.type,
            declared.version,
            pydantic_values if is_pydantic(cls) else None,
            declared.tags if declared.has_tags else None,
        )

    def _decoder_for(self, cls: type, schema_version: int, place: tuple[str | None, int | None, int]) -> Decode:
        declared = self.registry.declaration(cls)
        if schema_version != declared.version:
            raise UndecodableEvent(
                declared.type,
                *place,
                f"was written as schema version {schema_version}, {cls.__qualname__} is version {declared.version}",
            )
        return decoder_of(cls)


def decoder_of(cls: type) -> Decode:
    """Return what makes an object of a class out of its JSON text; it raises ValueError, TypeError or MsgspecError."""
    if is_pydantic(cls):
        return cls.model_validate_json  # type: ignore[attr-defined,no-any-return]  # pydantic is not imported here
    return msgspec.json.Decoder(cls).decode


def _checked_raw(event: RawEvent) -> tuple[str, int]:
    """Return the type and schema version of a raw event."""
    version = event.schema_version
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_SCHEMA_VERSION:
        raise InvalidEvent(
            event.type, f"schema version {version!r} is not a whole number from 1 to {MAX_SCHEMA_VERSION}"
        )
    return checked_name("event type", event.type), version


def encode_json(type: str, values: Any) -> str:
    """Return values as events are written: deterministic JSON text. Raises InvalidEvent where JSON cannot carry them."""
    return _json(type, values)


def encode_metadata(type: str, metadata: Mapping[str, Any]) -> str:
    """Return metadata as deterministic JSON text. Raises InvalidEvent where JSON cannot carry it."""
    if any(not isinstance(key, str) for key in metadata):
        raise InvalidEvent(type, "a key of its metadata is not text")
    return _json(type, dict(metadata))


def encoded_again(
    id: bytes, type: str, schema_version: int, data: str, tags: str | None, metadata: str | None
) -> EncodedEvent:
    """Return an event in its stored form from what an engine gives out of it: the way from one log into another.

    Raises InvalidEvent where its tags or metadata are not what `encode` makes.
    """
    try:
        found = _correlated(metadata).correlation_id if metadata else None
        names = _tags(tags) if tags else ()
    except msgspec.MsgspecError as error:
        raise InvalidEvent(type, f"its stored tags or metadata are broken: {error}") from error
    return EncodedEvent(id, type, schema_version, data, names, metadata, _correlation_id(type, found))


def plain_values(type: str, value: Any) -> Any:
    """Return the plain JSON values that stand for `value` in the log. Raises InvalidEvent where JSON cannot carry it."""
    return _from_json(_json(type, value, pydantic_values if is_pydantic(value.__class__) else None))


def decode_json(data: str) -> Any:
    """Return stored JSON as plain values: dict, list, str, int, float, bool, None."""
    return _from_json(data)


def _json(type: str, values: Any, convert: Callable[[Any], Any] | None = None) -> str:
    """Encode, deterministic; refuse what JSON cannot carry. NaN and infinity come out as null, so null is looked into."""
    try:
        if convert is not None:
            values = convert(values)
        try:
            data = _to_json(values).decode()
        except TypeError:
            values = plain(values)
            data = _to_json(values).decode()
        if "null" in data:
            check_finite(msgspec.to_builtins(values, str_keys=False))
    except (TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise InvalidEvent(type, str(error)) from error
    return data


def _correlation_id(type: str, found: Any) -> str | None:
    if found is None:
        return None
    if isinstance(found, UUID):
        return str(found)
    if not isinstance(found, str):
        raise InvalidEvent(type, f"metadata correlation_id {found!r} is neither text nor a UUID")
    return found


def _bounded(type: str, correlation_id: str | None) -> str | None:
    """Refuse what not every engine's index could hold; what is in a log already is copied as it is."""
    if correlation_id is None or len(correlation_id) * MOST_BYTES_PER_CHARACTER <= MAX_CORRELATION_BYTES:
        return correlation_id
    size = len(correlation_id.encode())
    if size > MAX_CORRELATION_BYTES:
        raise InvalidEvent(type, f"metadata correlation_id has {size} bytes; {MAX_CORRELATION_BYTES} are allowed")
    return correlation_id
