"""The log's schema in the database: made and migrated once, under a lock; and who may do what with it."""

from __future__ import annotations

import secrets
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg.errors import InsufficientPrivilege

from sacho.errors import ForeignDatabase, LogMissing, NewerSchema, OlderSchema, UnsupportedServer
from sacho.storage.port import LogIdentity
from sacho.storage.postgres.failures import translate, unreachable

if TYPE_CHECKING:
    from sacho.storage.postgres.connecting import Connection
    from sacho.storage.postgres.settings import PostgresSettings

PACKAGE: Final = "sacho.storage.postgres"
SETTINGS: Final = (
    "SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan "
    "SET enable_seqscan = off SET enable_bitmapscan = off"
)
"""What holds within the log's functions, whatever the session has set: each statement uses the index meant for it."""
LARGEST_LOCK: Final = 2**31 - 1

FOUND: Final = """
SELECT current_setting('server_encoding'), current_setting('fsync'), pg_is_in_recovery(),
       EXISTS (SELECT FROM pg_namespace WHERE nspname = %(schema)s),
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s),
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'key_locks'
               WHERE n.nspname = %(schema)s AND c.relname = 'log')
"""
"""What is in the database: its settings, whether the schema is there, whether something is in it, and a log."""
LOG: Final = "SELECT id, epoch, schema_version, channel FROM {schema}.log"
ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtext('sacho migrates'), hashtext(%(schema)s))"
MAKE_SCHEMA: Final = "CREATE SCHEMA IF NOT EXISTS {schema}"
NAMES: Final = "SELECT order_locks, key_locks, channel FROM {schema}.log"
ENTER_VERSION: Final = "UPDATE {schema}.log SET schema_version = %s"
NEXT_EPOCH: Final = "UPDATE {schema}.log SET epoch = epoch + 1 RETURNING id, epoch"


STANDBY: Final = (
    "the server is a standby, which does not know what is in flight on the primary; connect to the primary, or name all "
    "hosts with commas between them"
)


class Log(NamedTuple):
    """The log as it was found: its identity, the channel that tells of appends, whether the server writes to the disk."""

    identity: LogIdentity
    channel: str
    is_durable: bool


class _Found(NamedTuple):
    encoding: str
    fsync: str
    is_standby: bool
    has_schema: bool
    has_content: bool
    has_log: bool


def prepare(connection: Connection, settings: PostgresSettings) -> Log:
    """Find the log, and make or migrate it where that is allowed. Raises StorageErrors."""
    try:
        with connection.transaction():  # a pooler that cannot give whole transactions says so here
            found = _found(connection, settings)
            if found.is_standby:
                raise UnsupportedServer(settings.shown, STANDBY)
            if found.encoding != "UTF8":
                raise UnsupportedServer(
                    settings.shown, f"the database's encoding is {found.encoding}; create one with ENCODING 'UTF8'"
                )
            known = len(migrations())
            version = _version(connection, settings, found)
        if version > known:
            raise NewerSchema(settings.shown, version, known)
        if version < known:
            _migrate(connection, settings, version)
        return _log(connection, settings, is_durable=found.fsync == "on")
    except psycopg.Error as error:
        failure = unreachable(error, settings) if "statement pooling" in str(error) else translate(error, settings)
        raise failure from None


def make_roles(connection: Connection, settings: PostgresSettings) -> tuple[str, str]:
    """Make the roles for those who read and those who append, and give them their rights; return their names."""
    script = (files(PACKAGE) / "roles.sql").read_text(encoding="utf-8")
    with connection.transaction():
        connection.execute(_filled(script, {"schema": settings.schema}))
    return f"{settings.schema}_reader", f"{settings.schema}_writer"


def begin_epoch(connection: Connection, settings: PostgresSettings) -> LogIdentity:
    """Begin a new epoch and return the identity."""
    row = connection.execute(NEXT_EPOCH.format(schema=settings.schema)).fetchone()
    assert row is not None
    return LogIdentity(*row)


def migrations() -> list[str]:
    """Return the texts of the migrations, in order."""
    folder = files(PACKAGE) / "migrations"
    return [one.read_text(encoding="utf-8") for one in sorted(folder.iterdir(), key=lambda one: one.name)]


def _found(connection: Connection, settings: PostgresSettings) -> _Found:
    row = connection.execute(FOUND, {"schema": settings.schema}).fetchone()
    assert row is not None
    found = _Found(*row)
    if found.has_content and not found.has_log:
        raise ForeignDatabase(settings.shown, "holds something else than a log", "name another one with ?schema=NAME")
    return found


def _version(connection: Connection, settings: PostgresSettings, found: _Found) -> int:
    if not found.has_log:
        return 0
    row = connection.execute(LOG.format(schema=settings.schema)).fetchone()
    return 0 if row is None else int(row[2])


def _log(connection: Connection, settings: PostgresSettings, *, is_durable: bool) -> Log:
    row = connection.execute(LOG.format(schema=settings.schema)).fetchone()
    if row is None:
        raise ForeignDatabase(settings.shown, "lacks the row that names the log", "restore it from a backup")
    id, epoch, _, channel = row
    return Log(LogIdentity(id, epoch), channel, is_durable)


def _migrate(connection: Connection, settings: PostgresSettings, version: int) -> None:
    """Run the migrations that are missing, all or none. Older processes go on: what they call stays."""
    missing = LogMissing(settings.shown) if version == 0 else OlderSchema(settings.shown, version, len(migrations()))
    if not settings.may_migrate:
        raise missing
    try:
        _run_migrations(connection, settings)
    except InsufficientPrivilege as error:
        raise missing from error


def _run_migrations(connection: Connection, settings: PostgresSettings) -> None:
    with connection.transaction():
        connection.execute(ONE_AT_A_TIME, {"schema": settings.schema})
        found = _found(connection, settings)
        version = _version(connection, settings, found)
        if not found.has_schema:
            connection.execute(MAKE_SCHEMA.format(schema=settings.schema))
        names = _names(connection, settings) if version else _new_names(settings)
        steps = migrations()
        for step in steps[version:]:
            connection.execute(_filled(step, {"schema": settings.schema, "settings": SETTINGS, **names}))
        connection.execute(ENTER_VERSION.format(schema=settings.schema), (len(steps),))


def _new_names(settings: PostgresSettings) -> dict[str, str]:
    """Return what a new log is told apart by from all else in the database: two locks, and a channel."""
    return {
        "order_locks": str(1 + secrets.randbelow(LARGEST_LOCK)),
        "key_locks": str(1 + secrets.randbelow(LARGEST_LOCK)),
        "channel": f"{settings.schema}_{secrets.token_hex(4)}",
    }


def _names(connection: Connection, settings: PostgresSettings) -> dict[str, str]:
    row = connection.execute(NAMES.format(schema=settings.schema)).fetchone()
    assert row is not None
    return dict(zip(("order_locks", "key_locks", "channel"), map(str, row), strict=True))


def _filled(text: str, names: dict[str, str]) -> str:
    """Return an SQL script with its names; they are numbers, and words of a-z, 0-9 and _."""
    for name, value in names.items():
        text = text.replace(f"@{name}@", value)
    return text
