"""What is handed to the log: envelopes, expected versions, appends; and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from sacho.errors import InvalidAppend


class Expected(Enum):
    """What an append may expect of its stream besides an exact version."""

    ANY = "any"
    EXISTS = "exists"

    def __repr__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name


ANY: Final = Expected.ANY
"""The stream may be at any version, also not exist."""
EXISTS: Final = Expected.EXISTS
"""The stream must have at least one event."""
NO_STREAM: Final = 0
"""The stream must not exist: it has no events, so its version is 0."""

ExpectedVersion: TypeAlias = int | Expected
"""ANY, EXISTS, NO_STREAM or the exact version that the stream must be at."""


def checked_expected(expected: object) -> ExpectedVersion:
    """Return `expected` if it is one of the four kinds, else raise InvalidAppend."""
    if isinstance(expected, Expected):
        return expected
    if not isinstance(expected, int) or isinstance(expected, bool):
        raise InvalidAppend(f"expected={expected!r} is none of ANY, NO_STREAM, EXISTS or a version")
    if expected < 0:
        raise InvalidAppend(f"expected={expected} is below 0; versions start at 1, NO_STREAM is 0")
    return expected


class EventData(msgspec.Struct, frozen=True):
    """An envelope for those who set their own id, tags or metadata.

    `id` makes the append idempotent; a UUIDv7 is made where it is None. `tags` add to those of the event's class.
    `metadata` goes above what the surrounding block of code has set.
    """

    event: Any
    id: UUID | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        if self.id is not None and not isinstance(self.id, UUID):
            raise InvalidAppend(f"id={self.id!r} is no uuid.UUID")
        if isinstance(self.tags, str):
            raise InvalidAppend(f"tags={self.tags!r} is one text; write a list: [{self.tags!r}]")
        msgspec.structs.force_setattr(self, "tags", tuple(self.tags))
        if not isinstance(self.metadata, Mapping):
            raise InvalidAppend(f"metadata={self.metadata!r} is no mapping")


class Append(msgspec.Struct, frozen=True):
    """One stream's part of an atomic write over several: its id, its events in order, the version expected."""

    stream: str | None
    events: Sequence[Any]
    expected: ExpectedVersion = ANY


class Appended(msgspec.Struct, frozen=True):
    """What an append has made: the stream's version after it (None without a stream), its last event's position."""

    version: int | None
    position: int
