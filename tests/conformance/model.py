"""The log as a plain list: what every engine must be equal to, told in the fewest words."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from sacho import ANY, EXISTS, AppendCondition, Query
from sacho.errors import AppendConditionFailed, DuplicateEventId, WrongExpectedVersion
from sacho.events import Appended, ExpectedVersion


@dataclass(frozen=True)
class Given:
    """An event as it is handed in."""

    id: UUID
    type: str
    data: int
    tags: frozenset[str]


@dataclass(frozen=True)
class Part:
    """Events for one stream, and the version expected."""

    stream: str | None
    events: tuple[Given, ...]
    expected: ExpectedVersion = ANY


@dataclass(frozen=True)
class Stood:
    """An event as it stands in the log."""

    position: int
    stream: str | None
    version: int | None
    event: Given


@dataclass
class ModelLog:
    """All events, in order; positions have no gaps here."""

    events: list[Stood] = field(default_factory=list)

    def append(self, parts: tuple[Part, ...], condition: AppendCondition | None) -> list[Appended]:
        """Append all parts or raise what an engine must raise."""
        first = self._first_result(parts)
        if first is not None:
            return first
        if condition is not None:
            found = self.matching(condition.query, condition.after, len(self.events))
            if found:
                raise AppendConditionFailed(condition.after, found[0].position)
        before = len(self.events)
        try:
            return [self._join(part) for part in parts]
        except WrongExpectedVersion:
            del self.events[before:]
            raise

    def version(self, stream: str) -> int:
        """Return how many events a stream has."""
        return sum(1 for stood in self.events if stood.stream == stream)

    def of_stream(self, stream: str, after: int, to: int | None) -> list[Stood]:
        """Return a range of one stream."""
        return [
            stood
            for stood in self.events
            if stood.stream == stream
            and stood.version is not None
            and stood.version > after
            and (to is None or stood.version <= to)
        ]

    def matching(self, query: Query, after: int, to: int) -> list[Stood]:
        """Return the events in a range of the log that a query means."""
        return [
            stood
            for stood in self.events
            if after < stood.position <= to and query.matches(stood.event.type, stood.event.tags, stood.stream)
        ]

    def _first_result(self, parts: tuple[Part, ...]) -> list[Appended] | None:
        given = {event.id: (part.stream, event) for part in parts for event in part.events}
        if len(given) < sum(len(part.events) for part in parts):
            raise DuplicateEventId([], "twice")
        there = {stood.event.id: stood for stood in self.events if stood.event.id in given}
        if not there:
            return None
        changed = [id for id, stood in there.items() if (stood.stream, stood.event) != given[id]]
        if changed or len(there) < len(given):
            raise DuplicateEventId(changed or there, "there")
        last = [max((there[event.id] for event in part.events), key=lambda stood: stood.position) for part in parts]
        return [Appended(stood.version, stood.position) for stood in last]

    def _join(self, part: Part) -> Appended:
        version = None
        if part.stream is not None:
            version = self.version(part.stream)
            if not (part.expected is ANY or part.expected == version or (part.expected is EXISTS and version)):
                raise WrongExpectedVersion(part.stream, part.expected, version)
        for event in part.events:
            version = None if version is None else version + 1
            self.events.append(Stood(len(self.events) + 1, part.stream, version, event))
        return Appended(version, len(self.events))
