"""Comparing: what a new build of a projection has otherwise than another, row by row, before it takes over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import and_, or_

from sacho.errors import CannotSwitch
from sacho.reacting.bookkeeping import Bookkeeping
from sacho.reacting.tables import Generation

MOST_SHOWN: Final = 20
_OF_EACH: Final = {"as_of"}
"""Columns that say when a row was written, not what it holds."""


class Difference(NamedTuple):
    """One row that differs. `key` are its key's values; `old` and `new` the columns that differ, None where it is missing."""

    key: dict[str, Any]
    old: dict[str, Any] | None
    new: dict[str, Any] | None


class TableComparison(NamedTuple):
    """How a table differs: counts of rows, and the first differences of each kind."""

    table: str
    rows_old: int
    rows_new: int
    added: int
    removed: int
    changed: int
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    shown: tuple[Difference, ...]

    @property
    def is_equal(self) -> bool:
        """Whether both hold the same."""
        return not (self.added or self.removed or self.changed or self.columns_added or self.columns_removed)


class Comparison(NamedTuple):
    """How two builds differ. Where they stand at different positions, some differences may be of that."""

    old: Generation
    new: Generation
    position_old: int
    position_new: int
    tables: tuple[TableComparison, ...]


def compare(books: Bookkeeping, tables: Sequence[tuple[str, str]], old: Generation, new: Generation) -> Comparison:
    """Return how two builds of a projection differ, as they are at one moment.

    `tables` are the names of those that are compared, in the old version and in the new one.
    """
    with books.database.reading() as connection:
        positions = [
            min((one.position for one in books.partitions(connection, generation)), default=0)
            for generation in (old, new)
        ]
        found = tuple(
            _compared(connection, now, _reflected(connection, before, old), _reflected(connection, now, new))
            for before, now in tables
        )
    return Comparison(old, new, positions[0], positions[1], found)


def _reflected(connection: sa.Connection, name: str, generation: Generation) -> sa.Table:
    """Return a build's table as the database has it (the class that made it may be gone). Raises CannotSwitch."""
    try:
        return sa.Table(f"{name}{generation.suffix}", sa.MetaData(), autoload_with=connection)
    except sa.exc.NoSuchTableError as error:
        raise CannotSwitch(
            str(generation),
            f"it has no table {name!r} to compare; where the version before named it otherwise, keep that class among "
            "the application's consumers",
        ) from error


def _compared(connection: sa.Connection, name: str, old: sa.Table, new: sa.Table) -> TableComparison:
    both = [name for name in _names(new) if name in old.c]
    key = [name for name in both if new.c[name].primary_key] or both
    rest = [column for column in both if column not in key and column not in _OF_EACH]
    is_keyed = bool(len(new.primary_key) and key != both)
    same_key = and_(*(_same(old.c[one], new.c[one], is_keyed=is_keyed) for one in key))
    differs = or_(sa.false(), *(_comparable(old.c[one]).is_distinct_from(_comparable(new.c[one])) for one in rest))
    missing_new = sa.select(old).where(~sa.exists().where(same_key))
    missing_old = sa.select(new).where(~sa.exists().where(same_key))
    changed = (
        sa.select(*_named(old, "old", both), *_named(new, "new", both)).join_from(old, new, same_key).where(differs)
    )
    shown = [
        *(Difference(_part(row, key), None, _part(row, _names(new))) for row in _first(connection, missing_old)),
        *(Difference(_part(row, key), _part(row, _names(old)), None) for row in _first(connection, missing_new)),
        *(_change(row, key, rest) for row in _first(connection, changed)),
    ]
    return TableComparison(
        name,
        _count(connection, sa.select(old)),
        _count(connection, sa.select(new)),
        _count(connection, missing_old),
        _count(connection, missing_new),
        _count(connection, changed),
        tuple(name for name in _names(new) if name not in old.c),
        tuple(name for name in _names(old) if name not in new.c),
        tuple(shown),
    )


def _names(table: sa.Table) -> list[str]:
    """Return the names of a table's columns, as plain text: those that SQLAlchemy reads of a database are of a kind of its own."""
    return [str(column.name) for column in table.columns]


def _same(old: sa.Column[Any], new: sa.Column[Any], *, is_keyed: bool) -> sa.ColumnElement[bool]:
    """Compare by equality where nothing is null, which databases have an index for."""
    return old == new if is_keyed else _comparable(old).is_not_distinct_from(_comparable(new))


def _comparable(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return what stands for a column in comparisons: PostgreSQL compares no JSON but as text."""
    return sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column


def _named(table: sa.Table, side: str, columns: Sequence[str]) -> Iterator[sa.ColumnElement[Any]]:
    return (table.c[column].label(f"{side} {column}") for column in columns)


def _count(connection: sa.Connection, found: sa.Select[Any]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(found.subquery())).scalar_one())


def _first(connection: sa.Connection, found: sa.Select[Any]) -> Sequence[Any]:
    return connection.execute(found.limit(MOST_SHOWN)).all()


def _part(row: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: row._mapping[name] for name in names}


def _change(row: Any, key: Sequence[str], rest: Sequence[str]) -> Difference:
    values = row._mapping
    different = [name for name in rest if values[f"old {name}"] != values[f"new {name}"]]
    return Difference(
        {name: values[f"new {name}"] for name in key},
        {name: values[f"old {name}"] for name in different},
        {name: values[f"new {name}"] for name in different},
    )
