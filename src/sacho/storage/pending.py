"""Events that have their place in a commit under way: they count for the conditions and versions behind them."""

from __future__ import annotations

from sacho.events import EncodedEvent, Query, QueryItem, category_of


class Pending:
    """The events of one commit, with the names they carry, so that most conditions are answered without a search."""

    def __init__(self, head: int) -> None:
        self.head = head
        self.entries: list[tuple[int, str | None, int | None, EncodedEvent]] = []
        self._types: set[str] = set()
        self._tags: set[str] = set()
        self._streams: set[str] = set()

    def add(self, stream: str | None, version: int | None, event: EncodedEvent) -> None:
        """Give `event` the next position."""
        self.head += 1
        self.entries.append((self.head, stream, version, event))
        self._types.add(event.type)
        if event.tags:
            self._tags.update(event.tags)
        if stream is not None:
            self._streams.add(stream)

    def first_match(self, query: Query, after: int) -> int | None:
        """Return the first position above `after` whose event matches, or None."""
        if not self.entries or (query.items and not any(self._may_match(item) for item in query.items)):
            return None
        for position, stream, _, event in self.entries:
            if position > after and query.matches_event(event, stream):
                return position
        return None

    def _may_match(self, item: QueryItem) -> bool:
        return (
            (not item.types or not self._types.isdisjoint(item.types))
            and self._tags.issuperset(item.tags)
            and (not item.categories or any(category_of(stream) in item.categories for stream in self._streams))
        )
