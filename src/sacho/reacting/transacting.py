"""The transaction that a worker has open, if it has one: begun when it is first needed, ended by the commit or a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from sacho.reacting.databases import ViewDatabase


class OpenTransaction:
    """One transaction for writing in the database of the views, of one thread."""

    def __init__(self, database: ViewDatabase) -> None:
        self._database = database
        self._connection: Any = None
        self._transaction: Any = None

    @property
    def is_open(self) -> bool:
        """Whether there is one."""
        return self._connection is not None

    def connection(self) -> sa.Connection:
        """Return the connection of the open transaction, or of a new one."""
        if self._connection is None:
            transaction = self._database.writing()
            connection = transaction.__enter__()
            self._transaction, self._connection = transaction, connection
        found: sa.Connection = self._connection
        return found

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection for reading: within the open transaction, if there is one."""
        if self._connection is not None:
            yield self._connection
        else:
            with self._database.reading() as connection:
                yield connection

    def end(self, error: BaseException | None) -> None:
        """End the open transaction: commit it, or roll it back for an error."""
        transaction, self._transaction, self._connection = self._transaction, None, None
        if transaction is None:
            return
        if error is None:
            transaction.__exit__(None, None, None)
        else:
            with suppress(BaseException):
                transaction.__exit__(type(error), error, None)
