"""Removing: the tables and checkpoints of builds that nobody needs any more, also where the class that made them is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sacho.errors import CannotSwitch
from sacho.reacting.bookkeeping import Bookkeeping
from sacho.reacting.projection import drop_tables, drop_views
from sacho.reacting.tables import SERVING, Generation

if TYPE_CHECKING:
    from sacho.store import EventStore

SIGN_OF_LIFE_SECONDS: Final = 10.0
"""Whoever gave a sign of life within so many seconds is taken to live."""


def remove(
    store: EventStore, books: Bookkeeping, name: str, version: int, build: int | None, *, is_declared: bool
) -> list[Generation]:
    """Remove a version's builds, or one of them; return which.

    One that serves only where no consumer of its name is declared, and nobody works on it. Raises CannotSwitch.
    """
    if not is_declared:
        _check_is_left(store, books, name, version, build)
    with books.database.writing() as connection:
        books.lock(connection, name)
        found = books.named(connection, name, version, build)
        for row in found:
            if row.state == SERVING and is_declared:
                raise CannotSwitch(str(row.generation), "it serves; let another version take over first")
            books.fence_off(connection, row.generation)  # whoever writes them now is waited for
            if row.state == SERVING:
                drop_views(connection, (table.removesuffix(row.generation.suffix) for table in row.tables))
            drop_tables(connection, row.tables)
            books.forget(connection, row.generation)
    return [row.generation for row in found]


def _check_is_left(store: EventStore, books: Bookkeeping, name: str, version: int, build: int | None) -> None:
    """Raise CannotSwitch where others still work on a build. Appends have nothing to do with it from now on."""
    with books.database.reading() as connection:
        found = books.named(connection, name, version, build)
        for row in found:
            if books.has_workers(connection, row.generation, SIGN_OF_LIFE_SECONDS):
                raise CannotSwitch(str(row.generation), "workers of another application run it; stop them first")
    if books.database.is_beside:
        _have_appends_leave_out(store, {str(row.generation) for row in found})


def _have_appends_leave_out(store: EventStore, names: set[str]) -> None:
    """Have the log register all inline views but these."""
    while names.intersection(known := store.storage.inline_views()):
        rest = [name for name in known if name not in names]
        if store.storage.register_inline(rest, _nothing, known=known):
            return


def _nothing(position: int, connection: object) -> None:
    """Bring no view up to anywhere."""
