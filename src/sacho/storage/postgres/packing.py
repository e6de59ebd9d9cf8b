"""Values and arrays in PostgreSQL's binary form.

Packing here costs a third of what a general driver takes, and an append has eighteen arrays. Source of the
form: array_recv in PostgreSQL's src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, pack, unpack_from
from typing import Final, NamedTuple

from psycopg.adapt import Dumper
from psycopg.pq import Format

BOOL: Final = 16
BIGINT: Final = 20
INTEGER: Final = 23
TEXT: Final = 25
UUID: Final = 2950

MAX_BIGINT: Final = 2**63 - 1

_head = Struct("!iiIii").pack
_length = Struct("!i").pack
_integer = Struct("!ii").pack
_bigint = Struct("!iq").pack
_NULL: Final = _length(-1)
_UUID_LENGTH: Final = _length(16)
_NO_ITEMS: Final = Struct("!iiI").pack
_FALSE_ITEM, _TRUE_ITEM = _length(1) + b"\0", _length(1) + b"\1"
FALSE: Final = b"\0"
TRUE: Final = b"\1"


def _array(type: int, items: Sequence[bytes], *, has_null: bool = False) -> bytes:
    if not items:
        return _NO_ITEMS(0, 0, type)
    return _head(1, has_null, type, len(items), 1) + b"".join(items)


_ONE_TEXT: Final = _head(1, 0, TEXT, 1, 1)
_ONE_NULL_TEXT: Final = _array(TEXT, [_NULL], has_null=True)
_NO_TEXTS: Final = _array(TEXT, [])


def texts(values: Sequence[str | None]) -> bytes:
    """Return a text[]."""
    if len(values) == 1:  # the common case, at less cost than what follows
        if (value := values[0]) is None:
            return _ONE_NULL_TEXT
        data = value.encode()
        return b"".join((_ONE_TEXT, _length(len(data)), data))
    items = []
    for value in values:
        if value is None:
            items.append(_NULL)
        else:
            data = value.encode()
            items.append(_length(len(data)))
            items.append(data)
    if not items:
        return _NO_TEXTS
    return _head(1, None in values, TEXT, len(values), 1) + b"".join(items)


def uuids(values: Sequence[bytes]) -> bytes:
    """Return a uuid[]."""
    return _head(1, 0, UUID, len(values), 1) + _UUID_LENGTH + _UUID_LENGTH.join(values)


def integers(values: Sequence[int]) -> bytes:
    """Return an integer[]."""
    return _few_integers(*values) if len(values) < 2 else _integers(values)


def _integers(values: Sequence[int]) -> bytes:
    return _array(INTEGER, [_integer(4, value) for value in values])


@lru_cache(maxsize=64)
def _few_integers(*values: int) -> bytes:
    return _integers(values)


_ONE_NULL_BIGINT: Final = _array(BIGINT, [_NULL], has_null=True)


def bigints(values: Sequence[int | None]) -> bytes:
    """Return a bigint[]; larger values are cut to the largest one."""
    if len(values) == 1 and values[0] is None:
        return _ONE_NULL_BIGINT
    items = [_NULL if value is None else _bigint(8, min(MAX_BIGINT, value)) for value in values]
    return _array(BIGINT, items, has_null=None in values)


_COUNT_AT: Final = 12
_ITEMS_AT: Final = 20


def bigints_of(data: bytes) -> list[int]:
    """Return what is in a bigint[] without nulls."""
    (count,) = unpack_from("!i", data, _COUNT_AT)
    return list(unpack_from("!" + "iq" * count, data, _ITEMS_AT)[1::2])


_ONE_FALSE: Final = _array(BOOL, [_FALSE_ITEM])


def booleans(values: Sequence[bool]) -> bytes:
    """Return a boolean[]."""
    if len(values) == 1 and not values[0]:
        return _ONE_FALSE
    return _array(BOOL, [_TRUE_ITEM if value else _FALSE_ITEM for value in values])


def boolean(value: bool) -> bytes:
    """Return a boolean."""
    return TRUE if value else FALSE


def integer(value: int | None) -> bytes | None:
    """Return an integer."""
    return None if value is None else pack("!i", value)


def bigint(value: int) -> bytes:
    """Return a bigint."""
    return pack("!q", value)


class Packed(NamedTuple):
    """A value in binary form, for a cursor; its type stands in the statement."""

    data: bytes


class PackedDumper(Dumper):
    """Hands packed values on as they are."""

    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        """Return the data."""
        return obj.data


def packed(values: Sequence[bytes | None]) -> list[Packed | None]:
    """Return values in binary form as parameters of a cursor that knows `PackedDumper`."""
    return [None if value is None else Packed(value) for value in values]
