"""Metadata that flows by itself: correlation, causation, actor and more, set for a block of code.

It follows threads' and tasks' own context (contextvars), so nothing has to be handed through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from sacho.errors import InvalidAppend
from sacho.events import RecordedEvent

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_current: ContextVar[Mapping[str, Any]] = ContextVar("sacho_metadata", default=_NOTHING)


@contextmanager
def metadata(
    *,
    actor: str | None = None,
    correlation_id: UUID | str | None = None,
    causation_id: UUID | str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Put this metadata on every event that is recorded within the block; what is left out stays as it was.

    `more` takes any further keys with JSON values. Blocks nest, the inner one wins.
    """
    if more is not None and not isinstance(more, Mapping):
        raise InvalidAppend(f"more={more!r} is no mapping")
    named = {"actor": actor, "correlation_id": _text(correlation_id), "causation_id": _text(causation_id)}
    given = {key: value for key, value in named.items() if value is not None}
    token = _current.set({**_current.get(), **(more or {}), **given})
    try:
        yield
    finally:
        _current.reset(token)


class exactly:  # noqa: N801 - a block, like `metadata`; a class, since it stands around every command
    """Put this metadata, and nothing of what was set around, on every event that is recorded within the block."""

    __slots__ = ("_metadata", "_token")

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata

    def __enter__(self) -> None:
        self._token = _current.set(self._metadata)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


@contextmanager
def caused_by(recorded: RecordedEvent) -> Iterator[None]:
    """Let what is recorded within the block say that `recorded` caused it, and share its correlation id."""
    correlation_id = recorded.metadata.get("correlation_id") or str(recorded.id)
    with metadata(correlation_id=correlation_id, causation_id=recorded.id):
        yield


class OwnWrites(msgspec.Struct):
    """What was appended within a block: `position` is that of the last event, 0 if there was none."""

    position: int = 0

    def note(self, position: int) -> None:
        """Take in an append."""
        self.position = max(self.position, position)


_own_writes: ContextVar[OwnWrites | None] = ContextVar("sacho_own_writes", default=None)


@contextmanager
def own_writes() -> Iterator[OwnWrites]:
    """Note the positions of what this thread or task, and tasks that it makes, append within the block.

    For a request that wants to read what it wrote: `app.wait_for(SeatsView, own.position)`. Blocks nest.
    """
    outer, own = _own_writes.get(), OwnWrites()
    token = _own_writes.set(own)
    try:
        yield own
    finally:
        _own_writes.reset(token)
        if outer is not None:
            outer.note(own.position)


def note_append(position: int) -> None:
    """Note an append for the block around, if there is one."""
    own = _own_writes.get()
    if own is not None:
        own.note(position)


current_metadata: Callable[[], Mapping[str, Any]] = _current.get
"""Return the metadata that an event recorded here and now would carry."""


def _text(id: UUID | str | None) -> str | None:
    return str(id) if isinstance(id, UUID) else id
