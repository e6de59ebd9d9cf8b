"""A store whose positions may have gaps, seen as if they had none: a position is told as how many events stand up to it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import msgspec

import sacho
from sacho import Append, AppendCondition, Query
from sacho.errors import AppendConditionFailed
from sacho.events import Appended, RecordedEvent
from sacho.storage.port import CategoryInfo, StreamInfo


class Ranked:
    """One store of a log; `places` are the positions of the log's events, shared by all stores of it."""

    def __init__(self, url: str, places: list[int]) -> None:
        self._url = url
        self._store = sacho.connect(url)
        self._places = places

    def open_anew(self) -> None:
        self._store.close()
        self._store = sacho.connect(self._url)

    def append_many(self, appends: list[Append], *, condition: AppendCondition | None = None) -> list[Appended]:
        if condition is not None:
            condition = AppendCondition(condition.query, self._place(condition.after))
        try:
            done = self._store.append_many(appends, condition=condition)
        except AppendConditionFailed as error:
            raise AppendConditionFailed(self._rank(error.after), self._rank(error.position)) from error
        last = self._places[-1] if self._places else 0
        self._places += [one.position for one in self._store.read_all(after=last, raw=True)]
        return [msgspec.structs.replace(one, position=self._rank(one.position)) for one in done]

    def read(self, stream: str, **bounds: Any) -> Iterator[RecordedEvent]:
        yield from self._ranked(self._store.read(stream, **bounds))

    def read_all(self, query: Query, *, after: int = 0, to: int | None = None, **more: Any) -> Iterator[RecordedEvent]:
        until = None if to is None else self._place(to)
        yield from self._ranked(self._store.read_all(query, after=self._place(after), to=until, **more))

    def streams(self) -> list[StreamInfo]:
        return [info._replace(position=self._rank(info.position)) for info in self._store.streams()]

    def categories(self) -> list[CategoryInfo]:
        return [info._replace(position=self._rank(info.position)) for info in self._store.categories()]

    def version(self, stream: str) -> int:
        return self._store.version(stream)

    def head(self) -> int:
        return self._rank(self._store.head())

    def close(self) -> None:
        self._store.close()

    def _ranked(self, found: Any) -> Iterator[RecordedEvent]:
        for one in found:
            yield msgspec.structs.replace(one, position=self._rank(one.position))

    def _rank(self, position: int) -> int:
        """Return how many events stand up to a position, which must be one of an event, or 0."""
        rank = bisect_right(self._places, position)
        assert self._place(rank) == position
        return rank

    def _place(self, rank: int) -> int:
        """Return the position of the event of a rank; beyond the last, one as far behind it."""
        behind = max(0, rank - len(self._places))
        return (self._places[rank - behind - 1] if rank > behind else 0) + behind
