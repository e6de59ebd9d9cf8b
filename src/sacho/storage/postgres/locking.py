"""Which advisory locks an append takes, so that conditions hold and streams get their versions in turn.

Every append shares the keys of what it writes: all, and each category, type and tag. A condition takes the keys of its
query alone: for each item its first tag, else its types, else its categories, else all; an event that the query means
must hold one of them. A stream's key is taken alone. All are taken in one order, before the first look and before a
position is taken, so nobody waits in a circle. A key's hash is part of the stored format: all processes must agree on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from zlib import crc32

from sacho.events import QueryItem, Write, category_of

MOST_KEYS: Final = 200
"""An append with more keys takes `all` alone instead, since a server's table of locks has an end; appends that are
committed together never have more."""

Keys = dict[int, int]
"""For each hash, doubled, 1 where it is taken alone and 0 where it is shared."""


def hash_of(name: str) -> int:
    """Return the hash of a key's name, doubled, which leaves room for the mode."""
    return (crc32(name.encode()) & 0x7FFFFFFF) << 1


ALL: Final = hash_of("all")
ALL_ALONE: Final[Keys] = {ALL: 1}


def keys_of(write: Write) -> Keys:
    """Return the keys that a write takes."""
    shared, alone = {"all"}, set()
    for part in write.parts:
        if part.stream is not None:
            shared.add("category:" + category_of(part.stream))
            alone.add("stream:" + part.stream)
        for event in part.events:
            shared.add("type:" + event.type)
            for tag in event.tags:
                shared.add("tag:" + tag)
    if write.condition is not None:
        alone.update(_keys_of_query(write.condition.query.items))
    if len(shared) + len(alone) > MOST_KEYS:
        return ALL_ALONE
    keys = dict.fromkeys(map(hash_of, shared), 0)
    keys.update(dict.fromkeys(map(hash_of, alone), 1))
    return keys


def in_order(keys: Keys) -> list[int]:
    """Return the keys as the database takes them: hash and mode in one number, ascending."""
    return sorted([key + mode for key, mode in keys.items()])


def joined(keys: Keys, more: Keys) -> Keys | None:
    """Return the keys of a commit with those of one more write; None where they would be too many for one commit.

    A key that one of the writes takes alone is taken alone.
    """
    if ALL in keys and keys[ALL] | more[ALL]:
        return None
    both = {**keys, **more}
    if len(both) > MOST_KEYS:
        return None
    for key in keys.keys() & more.keys():
        both[key] |= keys[key]
    return both


def _keys_of_query(items: Sequence[QueryItem]) -> Iterator[str]:
    if not items:
        yield "all"
    for item in items:
        if item.tags:
            yield "tag:" + item.tags[0]
        elif item.types:
            yield from ("type:" + type for type in item.types)
        elif item.categories:
            yield from ("category:" + category for category in item.categories)
        else:
            yield "all"
