"""Queries over the whole log, and the append conditions made of them (specification: dcb.events)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from sacho.errors import InvalidQuery
from sacho.events.declaring import type_name_of
from sacho.events.naming import category_of, checked_name, checked_tag


@dataclass(frozen=True, slots=True, init=False)
class QueryItem:
    """Any of these types AND all of these tags AND any of these categories; an absent part does not constrain.

    Types are names or event classes. The parts are kept sorted and without repeats, so equal items compare equal.
    Raises InvalidName or InvalidQuery.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def __init__(
        self, types: Iterable[str | type] = (), tags: Iterable[str] = (), categories: Iterable[str] = ()
    ) -> None:
        put = object.__setattr__
        put(self, "types", types if types == () else _names("types", types, type_name_of))
        put(self, "tags", tags if tags == () else _names("tags", tags, checked_tag))
        put(self, "categories", categories if categories == () else _names("categories", categories, _checked_category))

    @property
    def is_everything(self) -> bool:
        """Whether every event matches: no part constrains."""
        return not (self.types or self.tags or self.categories)

    def matches(self, type: str, tags: Iterable[str], stream: str | None) -> bool:
        """Tell whether an event of this type, with these tags, in this stream is meant."""
        return (
            (not self.types or type in self.types)
            and (not self.categories or (stream is not None and category_of(stream) in self.categories))
            and (not self.tags or set(self.tags).issubset(tags))
        )


@dataclass(frozen=True, slots=True, init=False)
class Query:
    """An OR over items: `Query(QueryItem(...), QueryItem(...))`; `Query()` matches every event."""

    items: tuple[QueryItem, ...] = ()

    def __init__(self, *items: QueryItem) -> None:
        for item in items:
            if not isinstance(item, QueryItem):
                raise InvalidQuery(f"{item!r} is no QueryItem; write Query(QueryItem(...), ...)")
        object.__setattr__(self, "items", items if len(items) < 2 else tuple(dict.fromkeys(items)))

    @property
    def is_everything(self) -> bool:
        """Whether every event matches: there are no items, or one that does not constrain."""
        for item in self.items:
            if item.is_everything:
                return True
        return not self.items

    def matches(self, type: str, tags: Iterable[str], stream: str | None) -> bool:
        """Tell whether an event of this type, with these tags, in this stream is meant."""
        return not self.items or any(item.matches(type, tags, stream) for item in self.items)


class AppendCondition(msgspec.Struct, frozen=True):
    """Fail the append if an event that matches `query` stands after position `after`.

    `after` comes from `found.head` of the read that was decided on, or from `store.head()` taken before it.
    """

    query: Query
    after: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.query, Query):
            raise InvalidQuery(f"query={self.query!r} is no Query")
        if self.after != 0 or self.after.__class__ is not int:
            checked_position("after", self.after)


def checked_position(name: str, value: object) -> int:
    """Return `value` if it is a whole number from 0, else raise InvalidQuery."""
    if type(value) is int and value >= 0:
        return value
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidQuery(f"{name}={value!r} is not a whole number from 0")
    return value


def _checked_category(name: object) -> str:
    return checked_name("category", name)


def _names(part: str, given: object, checked: Callable[[Any], str]) -> tuple[str, ...]:
    if type(given) is not list and (isinstance(given, str) or not isinstance(given, Iterable)):
        raise InvalidQuery(f"{part}={given!r} is not a list; write {part}=[...]")
    names = [checked(name) for name in given]
    return tuple(names) if len(names) < 2 else tuple(sorted(set(names)))
