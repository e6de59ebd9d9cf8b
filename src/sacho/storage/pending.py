"""Events that have their place in a commit under way: they count for the conditions and versions behind them."""

from __future__ import annotations

from sacho.events import EncodedEvent, Query, QueryItem, category_of

Entry = tuple[int, "str | None", "int | None", EncodedEvent]
"""Position, stream, version and event."""


class Pending:
    """The events of one commit, in order. What names they carry is gathered only where a condition asks for it."""

    __slots__ = ("_gathered", "_streams", "_tags", "_types", "entries", "head")

    def __init__(self, head: int) -> None:
        self.head = head
        self.entries: list[Entry] = []
        self._gathered = 0
        self._types: set[str] = set()
        self._tags: set[str] = set()
        self._streams: set[str | None] = set()

    def add(self, stream: str | None, version: int | None, event: EncodedEvent) -> None:
        """Give `event` the next position."""
        self.head += 1
        self.entries.append((self.head, stream, version, event))

    def first_match(self, query: Query, after: int) -> int | None:
        """Return the first position above `after` whose event matches, or None."""
        self._gather()
        if not self.entries or (query.items and not any(self._may_match(item) for item in query.items)):
            return None
        for position, stream, _, event in self.entries:
            if position > after and query.matches(event.type, event.tags, stream):
                return position
        return None

    def _gather(self) -> None:
        for _, stream, _, event in self.entries[self._gathered :]:
            self._types.add(event.type)
            self._tags.update(event.tags)
            self._streams.add(stream)
        self._gathered = len(self.entries)

    def _may_match(self, item: QueryItem) -> bool:
        return (
            (not item.types or not self._types.isdisjoint(item.types))
            and self._tags.issuperset(item.tags)
            and (not item.categories or any(category_of(name) in item.categories for name in self._streams if name))
        )
