"""The SQLite engine: the log in one file, for any number of threads and processes of one host, without a server."""

from sacho.storage.sqlite.connecting import DEFAULT_TIMEOUT
from sacho.storage.sqlite.engine import SqliteStorage

__all__ = ["DEFAULT_TIMEOUT", "SqliteStorage"]
