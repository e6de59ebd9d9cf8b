"""The PostgreSQL engine: the log in a schema of a database, for any number of processes on any number of hosts.

An append is one call of one function of the database (migrations/0001_log.sql), which checks, orders and writes. What
waits in one process goes into one call. Readers are shown nothing that an append under way could still come before.
"""

from sacho.storage.postgres.engine import PostgresStorage
from sacho.storage.postgres.settings import PostgresSettings

__all__ = ["PostgresSettings", "PostgresStorage"]
