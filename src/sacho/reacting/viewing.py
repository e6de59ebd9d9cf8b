"""Viewing: what readers are given of a projection, as it is at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec
import sqlalchemy as sa

from sacho.reacting.documents import DocumentView
from sacho.reacting.tables import Generation

D = TypeVar("D")


class View:
    """A projection's view at one moment: `execute` queries over its tables; `position` is as of where it holds."""

    def __init__(self, connection: sa.Connection, position: int, generation: Generation) -> None:
        self.position = position
        self.generation = generation
        self._connection = connection

    def execute(self, statement: sa.Select[Any], values: dict[str, Any] | None = None) -> sa.CursorResult[Any]:
        """Return the result of a query."""
        return self._connection.execute(statement, values or {})


class DocumentReader(View, Generic[D]):
    """The view of a `DocumentView`, which also gives its documents, as objects of their class."""

    def __init__(
        self, connection: sa.Connection, position: int, generation: Generation, view: type[DocumentView[D]]
    ) -> None:
        super().__init__(connection, position, generation)
        self._view = view

    def get(self, key: str) -> D | None:
        """Return the document of a key, or None."""
        table = self._view.view
        text = self.execute(sa.select(table.c.document).where(table.c.key == key)).scalar()
        return None if text is None else self._decoded(text)

    def find(
        self,
        *where: sa.ColumnElement[bool],
        order_by: Sequence[sa.ColumnElement[Any]] = (),
        limit: int | None = None,
    ) -> list[tuple[str, D]]:
        """Return keys and documents by conditions on the columns of `view` (all must hold), by default in order of key.

        `reader.find(Orders.view.c.state == "confirmed", order_by=[Orders.view.c.total.desc()], limit=10)`
        """
        c = self._view.view.c
        rows = self.execute(sa.select(c.key, c.document).where(*where).order_by(*order_by, c.key).limit(limit))
        return [(row.key, self._decoded(row.document)) for row in rows]

    def count(self, *where: sa.ColumnElement[bool]) -> int:
        """Return how many documents there are for which conditions on the columns of `view` hold."""
        table = self._view.view
        return int(self.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one())

    def _decoded(self, text: str) -> D:
        return cast("D", msgspec.json.decode(text, type=self._view.document))
