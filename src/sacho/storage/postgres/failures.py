"""PostgreSQL's and libpq's failures as typed errors: one line each, with the remedy and without secrets."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from sacho.errors import (
    MissingRights,
    StorageBusy,
    StorageError,
    StorageFailed,
    StorageFull,
    StorageReadOnly,
    StorageUnreachable,
    UnsupportedServer,
)
from sacho.storage.postgres.settings import PostgresSettings

GRANT: Final = "grant it the role {schema}_writer or {schema}_reader, which `sacho migrate --roles` makes"
POOLER: Final = (
    "a pooler stands before the server in a mode that cannot work: a log needs whole transactions; set PgBouncer's "
    "pool_mode to session or transaction"
)
_LOGIN: Final = "check the user, and the password in the URL, PGPASSWORD or ~/.pgpass"
_LOST: Final = ("57P01", "57P02", "57P03", "25P03", "25P04", "57P05")
"""Codes of a backend that was ended: by an operator, a crash, a shutdown, a timeout of its transaction or session."""
_RETRIED: Final = ("40001", "40P01")


def translate(error: psycopg.Error, settings: PostgresSettings, *, may_have_happened: bool = False) -> StorageError:
    """Return the typed error for one of psycopg's."""
    where, code = settings.shown, error.sqlstate or ""
    said = _said(error, settings)
    if isinstance(error, PoolTimeout):
        return StorageBusy(settings.timeout, f"all {settings.pool} connections for reading were in use")
    if is_lost(error):
        return StorageUnreachable(where, said, may_have_happened=may_have_happened)
    match code:
        case "28P01" | "28000":
            return StorageUnreachable(where, f"{said}; {_LOGIN}")
        case "42501":
            return MissingRights(where, said, GRANT.format(schema=settings.schema))
        case "53100":
            return StorageFull(where)
        case "53200":
            return StorageFailed(f"{where}: {said}; raise max_locks_per_transaction or the server's memory")
        case "53300":
            return StorageUnreachable(where, f"{said}; use a pooler, or raise max_connections")
        case "25006":
            return StorageReadOnly(where, "connect to the primary, and see default_transaction_read_only")
        case "55P03":
            return StorageBusy(settings.timeout, "the log was locked by another transaction")
        case "57014":
            return StorageFailed(f"{where}: {said}; see statement_timeout")
        case "25000":
            return UnsupportedServer(where, f"{said}; set default_transaction_isolation to 'read committed'")
        case "26000" | "42P05":
            return UnsupportedServer(where, POOLER)
        case _:
            return StorageFailed(f"{where}: {said}", may_have_happened=may_have_happened)


def unreachable(error: psycopg.Error, settings: PostgresSettings) -> StorageError:
    """Return the typed error for a connection that could not be made."""
    said = _said(error, settings)
    if "statement pooling" in said:
        return UnsupportedServer(settings.shown, POOLER)
    if "password" in said or "authentication" in said or "no pg_hba.conf entry" in said:
        said = f"{said}; {_LOGIN}"
    elif "does not exist" in said and "database" in said:
        said = f"{said}; create it, or name another one behind the host in the URL"
    elif "hot standby" in said or "read-only" in said:
        said = f"{said}; a log is used on the primary: name it, or all hosts with commas between them"
    return StorageUnreachable(settings.shown, said)


def is_lost(error: psycopg.Error) -> bool:
    """Tell whether the connection is gone, so that what was under way may have happened."""
    code = error.sqlstate or ""
    if code:
        return code.startswith("08") or code in _LOST
    # libpq's own words come without a code, those about a result as a plain DatabaseError
    return type(error) is psycopg.DatabaseError or (
        isinstance(error, psycopg.OperationalError) and not isinstance(error, PoolTimeout)
    )


def is_passing(error: psycopg.Error) -> bool:
    """Tell whether the transaction failed as a whole, nothing was written, and trying again helps."""
    return (error.sqlstate or "") in _RETRIED


def _said(error: psycopg.Error, settings: PostgresSettings) -> str:
    """Return what the server or libpq said, on one line, without the password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if error.diag.message_primary:
        return error.diag.message_primary
    said = "; ".join(lines[:2]) or type(error).__name__
    for secret in ("password", "sslpassword"):
        if value := settings.parameters.get(secret):
            said = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "***", said)
    return said
