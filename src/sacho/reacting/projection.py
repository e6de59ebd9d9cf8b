"""Projection: a consumer whose effects are rows of ordinary SQL tables, written in one transaction with its checkpoint.

Each version of a projection has tables of its own, `seats_available_v2`; an SQL view by the table's plain name shows those
of the version that serves, so that a new version takes over at one instant.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import sqlalchemy as sa

from sacho.errors import CannotSwitch, InvalidConsumer
from sacho.reacting.changes import Changes
from sacho.reacting.consumer import Consumer
from sacho.reacting.databases import insert_into
from sacho.reacting.tables import Generation
from sacho.reacting.taking import Commits, Surroundings, Taking

MOST_CHARACTERS = 48
"""How long a table's name may be, so that its version fits behind it."""


class Projection(Consumer):
    """A view in tables: class attributes that are `sqlalchemy.Table`s, and methods `(self, event, changes)`.

        class SeatsAvailable(Projection):
            available = Table("seats_available", MetaData(), Column("conference", Text, primary_key=True), ...)

            @handles(SeatsReserved)
            def reserved(self, event, changes):
                changes.execute(self.available.update().where(...).values(...))

    In methods `self.available` is the table of the version at hand; `SeatsAvailable.available`, by the class, is the SQL
    view for readers. Statements made once belong into `prepare`. A changed projection needs a new `version`, which is built
    beside the old one and takes over once it has caught up; with `takes_over = "manual"` it waits to be told to.

    With `inline = True` it is written in each append's own transaction (SQLite, PostgreSQL; in the log's own database), so
    that it is never behind. Its handlers then hold up who appends, and one that raises refuses the append.
    """

    tables: ClassVar[Mapping[str, sa.Table]] = {}
    inline: ClassVar[bool] = False
    takes_over: ClassVar[Literal["automatic", "manual"]] = "automatic"
    dialect: str = ""

    def __init_subclass__(cls) -> None:
        cls._declare_tables()
        super().__init_subclass__()
        cls.tables = {
            name: member
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if isinstance(member, sa.Table)
        }
        for table in cls.tables.values():
            _check_table(cls, table)
        if cls.takes_over not in ("automatic", "manual"):
            raise InvalidConsumer(cls.__qualname__, f'takes_over = {cls.takes_over!r} is not "automatic" or "manual"')
        if cls.inline and cls.partitions > 1:
            raise InvalidConsumer(cls.__qualname__, "an inline projection has no workers, and so one partition")

    @classmethod
    def _declare_tables(cls) -> None:
        """Let kinds of projections add tables of their own to the class."""

    @classmethod
    def shape(cls) -> Sequence[object]:
        """Return what the events and tables are."""
        return [*super().shape(), *(line for table in cls.tables.values() for line in _shape(table))]

    def prepare(self) -> None:
        """Make the statements that are used again and again. Called once the tables of the version are known.

        `self.dialect` is "sqlite" or "postgresql" by then.
        """

    def upsert(self, table: sa.Table, *, add: Sequence[str] = (), set: Sequence[str] | None = None) -> sa.Executable:
        """Return a statement that inserts a row or, where its key is there, changes it; values are given by column.

        Columns named by `add` are added to what is there; those named by `set` are replaced: by default, if nothing is
        to be added, all that are not of the key.

            self.move = self.upsert(self.available, add=["seats"])
            changes.execute(self.move, {"conference_id": "42", "seats": -2})
        """
        keys = [column.name for column in table.primary_key]
        if set is None:
            set = [] if add else [column.name for column in table.columns if column.name not in keys]
        if not keys or not {*add, *set} <= {*table.c.keys()} - {*keys}:
            raise InvalidConsumer(
                type(self).__qualname__,
                f"upsert() needs a primary key in {table.name!r}, and names of its other columns",
            )
        insert = insert_into(table, self.dialect)
        new = insert.excluded
        changes = {name: new[name] for name in set} | {name: table.c[name] + new[name] for name in add}
        found: sa.Executable = (
            insert.on_conflict_do_update(index_elements=keys, set_=changes)
            if changes
            else insert.on_conflict_do_nothing(index_elements=keys)
        )
        return found

    def bound(self, generation: Generation, dialect: str, schema: str | None = None) -> Projection:
        """Return this projection over the tables of one build; `schema` names where they are, if the connection does not."""
        found = copy.copy(self)
        found.dialect = dialect
        for name, table in self.physical_tables(generation, schema).items():
            setattr(found, name, table)
        found.prepare()
        return found

    @classmethod
    def physical_tables(cls, generation: Generation, schema: str | None = None) -> dict[str, sa.Table]:
        """Return the tables of one build, by the names of the attributes."""
        return {name: _renamed(table, generation.suffix, schema) for name, table in cls.tables.items()}

    def taking(self, commits: Commits, here: Surroundings | None = None) -> Taking:
        """Return what takes events in for this projection, which is bound to its tables."""
        return Changes(self, commits)


def _renamed(table: sa.Table, suffix: str, schema: str | None) -> sa.Table:
    """Return a copy of a table, and of all that is named in it, with something behind the names."""
    found = table.to_metadata(
        sa.MetaData(), schema=schema or sa.schema.SchemaConst.RETAIN_SCHEMA, name=f"{table.name}{suffix}"
    )
    named_parts: list[Any] = [*found.indexes, *found.constraints]
    for named in named_parts:
        if isinstance(named.name, str):
            named.name = f"{named.name}{suffix}"
    return found


def _check_table(cls: type, table: sa.Table) -> None:
    if table.schema is not None or table.foreign_keys:
        raise InvalidConsumer(
            cls.__qualname__,
            f"table {table.name!r} has a schema or foreign keys; each version has its tables for itself",
        )
    is_own = cls.__module__.partition(".")[0] == "sacho"
    if len(table.name) > MOST_CHARACTERS or (table.name.startswith("sacho_") and not is_own):
        raise InvalidConsumer(
            cls.__qualname__,
            f"table name {table.name!r} is out of rules: up to {MOST_CHARACTERS} characters, not sacho_…",
        )


def _shape(table: sa.Table) -> list[str]:
    return [
        table.name,
        *(f"{c.name} {c.type!r} {c.primary_key} {c.nullable}" for c in table.columns),
        *sorted(f"{index.name} {index.unique} {[str(one) for one in index.expressions]}" for index in table.indexes),
    ]


def create_tables(connection: sa.Connection, tables: Mapping[str, sa.Table]) -> None:
    """Make the tables of a build."""
    for table in tables.values():
        table.create(connection)


def drop_tables(connection: sa.Connection, names: Iterable[str]) -> None:
    """Drop tables of a build."""
    for name in names:
        sa.Table(name, sa.MetaData()).drop(connection, checkfirst=True)


def drop_views(connection: sa.Connection, names: Iterable[str]) -> None:
    """Drop SQL views by the plain names. Raises CannotSwitch where something stands on them."""
    for name in names:
        _drop_view(connection, name, connection.dialect.identifier_preparer.quote(name))


def show(connection: sa.Connection, logical: Mapping[str, sa.Table], physical: Mapping[str, sa.Table]) -> None:
    """Let the SQL views by the plain names show the tables of a build."""
    quote = connection.dialect.identifier_preparer.quote
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        # a long reader delays the change, and not other readers
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
    for name, table in logical.items():
        columns = ", ".join(quote(column.name) for column in physical[name].columns)
        shown, source = quote(table.name), quote(physical[name].name)
        select = f"AS SELECT {columns} FROM {source}"  # noqa: S608 - quoted names
        if is_postgres and _is_replaced(connection, f"CREATE OR REPLACE VIEW {shown} {select}"):
            continue
        granted = _grants(connection, shown) if is_postgres else []
        _drop_view(connection, table.name, shown)
        connection.exec_driver_sql(f"CREATE VIEW {shown} {select}")
        for grant in granted:
            connection.exec_driver_sql(grant)


def _is_replaced(connection: sa.Connection, statement: str) -> bool:
    """Replace a view, with what stands on it and who may read it; return whether PostgreSQL can: only columns may come."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") != "42P16":  # the columns are others
            raise
        return False
    return True


def _drop_view(connection: sa.Connection, name: str, shown: str) -> None:
    try:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {shown}")
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") != "2BP01":
            raise
        raise CannotSwitch(
            name,
            "its columns change, or it goes, and something of yours stands on the view: "
            f"{str(error.orig).partition('DETAIL:')[2].partition(chr(10))[0].strip()}; drop that, and make it again after",
        ) from error


def _grants(connection: sa.Connection, shown: str) -> list[str]:
    """Return the statements that give a view's readers their rights again once it was made anew."""
    rows = connection.execute(
        sa.text(
            "SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS who, privilege_type"
            " FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = to_regclass(:shown) AND grantee <> relowner"
        ),
        {"shown": shown},
    )
    return [f"GRANT {row.privilege_type} ON {shown} TO {row.who}" for row in rows]


def is_inline(consumer: Consumer) -> bool:
    """Tell whether a consumer is a projection that is written by appends."""
    return isinstance(consumer, Projection) and consumer.inline
