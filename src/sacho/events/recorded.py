"""What a reader gets: a recorded event with its place in stream and log; and raw events, for tools without classes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_METADATA: dict[str, Any] = {}


class RawEvent(msgspec.Struct, frozen=True):
    """An event without its class: the type's name, its data as plain JSON values, the schema version."""

    type: str
    data: Any
    schema_version: int = 1


class RecordedEvent(msgspec.Struct, frozen=True, gc=False, repr_omit_defaults=True):
    """One event as it stands in the log.

    `position` is its place in the log, `version` its place in `stream` (both None-free unless the event has no
    stream), `type` and `schema_version` say how it is stored, `event` is the event itself: an instance of its class,
    or a RawEvent where raw reading was asked for. `id`, `tags`, `metadata` and `recorded_at` are read from their
    stored form when they are asked for, which keeps reading fast.
    """

    position: int
    stream: str | None
    version: int | None
    type: str
    schema_version: int
    event: Any
    stored_id: bytes
    stored_tags: str | None
    stored_metadata: str | None
    stored_at: int

    @property
    def id(self) -> UUID:
        """The event's id, unique in the log for ever."""
        return UUID(bytes=self.stored_id)

    @property
    def tags(self) -> frozenset[str]:
        """The event's tags, `key:value` each."""
        return frozenset(_names(self.stored_tags)) if self.stored_tags else frozenset()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Correlation id, causation id, actor and what the application added; JSON values."""
        return _object(self.stored_metadata) if self.stored_metadata else dict(_NO_METADATA)

    @property
    def recorded_at(self) -> datetime:
        """When the store wrote it (UTC, microseconds). For people: clocks step and tie, order is by position."""
        return _EPOCH + timedelta(microseconds=self.stored_at)

    def __repr__(self) -> str:
        return f"RecordedEvent({', '.join(f'{name}={value!r}' for name, value in self._shown())})"

    def _shown(self) -> Iterator[tuple[str, object]]:
        for name in ("stream", "version", "position", "type", "schema_version", "event", "id", "tags", "metadata"):
            yield name, getattr(self, name)
        yield "recorded_at", self.recorded_at.isoformat()


_names = msgspec.json.Decoder(list[str]).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
