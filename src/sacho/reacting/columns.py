"""Types of the columns of document views: they hold, and are compared with, the same on SQLite as on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

if TYPE_CHECKING:
    _Decorator = sa.TypeDecorator[Any]
else:
    _Decorator = sa.TypeDecorator


class Instant(_Decorator):
    """A time with its zone. SQLite keeps the hands of a clock only, so there it is put to UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return what is written, or compared with."""
        if dialect.name == "sqlite" and isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        return value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return what is read."""
        is_bare = dialect.name == "sqlite" and isinstance(value, datetime) and value.tzinfo is None
        return value.replace(tzinfo=UTC) if is_bare else value


class Named(_Decorator):
    """The value of a member of an enum, as text; it may be compared with members and with values."""

    impl: Any = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return what is written, or compared with."""
        return str(value.value) if isinstance(value, Enum) else value


class Numbered(Named):
    """The same for an enum whose values are whole numbers, which are in order of those."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return what is written, or compared with."""
        return value.value if isinstance(value, Enum) else value


_COLUMNS: Final[dict[type, Any]] = {
    str: sa.Text,
    int: sa.BigInteger,
    bool: sa.Boolean,
    float: sa.Double,
    Decimal: sa.Numeric,
    datetime: Instant,
    date: sa.Date,
    UUID: sa.Uuid,
}


def column_type_of(kind: Any) -> Any:
    """Return the type of a column for values of a class; None for one that no column holds."""
    if kind in _COLUMNS:
        return _COLUMNS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Numbered if all(type(one.value) is int for one in kind) else Named
    return None
