"""The import path: events that keep their places, a thousand to a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from psycopg.errors import RestrictViolation

from sacho.errors import DuplicateEventId, InvalidAppend
from sacho.events import StreamWrite, Write
from sacho.storage.idempotency import first_result
from sacho.storage.inline_views import refuse_import
from sacho.storage.port import ImportedEvent
from sacho.storage.postgres.calls import Columns
from sacho.storage.postgres.locking import ALL
from sacho.storage.postgres.packing import Packed, PackedDumper, bigint, bigints, packed, texts
from sacho.storage.postgres.registering import registered

if TYPE_CHECKING:
    from sacho.storage.postgres.connecting import Connection
    from sacho.storage.postgres.settings import PostgresSettings

IMPORT_ROWS: Final = 1_000
ARGUMENTS: Final = (
    *("bigint", "bigint[]", "text[]", "bigint[]"),
    *("uuid[]", "text[]", "integer[]", "text[]", "text[]", "text[]", "text[]", "bigint[]", "integer[]", "text[]"),
)
"""The types of the import function's arguments."""
STATEMENT: Final = "SELECT problem, number, actual FROM {schema}.import_events({arguments})"

NOT_ABOVE, NOT_FOLLOWING, ID_FOUND = 1, 2, 3


def check_order(events: Sequence[ImportedEvent], above: int) -> int:
    """Return the last position. Raises InvalidAppend or DuplicateEventId for events that cannot stand in one log."""
    for imported in events:
        if imported.position <= above:
            raise InvalidAppend(f"position {imported.position} does not lie above {above}, the log's last")
        above = imported.position
    first_result(Write(tuple(StreamWrite(one.stream, [one.event]) for one in events)), ())
    return above


def import_batch(connection: Connection, settings: PostgresSettings, events: Sequence[ImportedEvent]) -> None:
    """Write some events in one transaction. Raises InvalidAppend or DuplicateEventId; nothing is written then."""
    typed = ", ".join(f"%b::{type}" for type in ARGUMENTS)
    statement = STATEMENT.format(schema=settings.schema, arguments=typed)
    with connection.cursor() as cursor:
        cursor.adapters.register_dumper(Packed, PackedDumper)
        try:
            problems = cursor.execute(statement, _arguments(events)).fetchall()
        except RestrictViolation:
            refuse_import(registered(connection, settings).views)
            raise
    if not problems:
        return
    problem, number, actual = problems[0]
    imported = events[number - 1]
    if problem == NOT_ABOVE:
        raise InvalidAppend(f"position {imported.position} does not lie above {actual}, the log's last")
    if problem == NOT_FOLLOWING:
        raise InvalidAppend(f"version {imported.version} of {imported.stream!r} does not follow on {actual}")
    ids = sorted(UUID(bytes=events[number - 1].event.id) for _, number, _ in problems)
    raise DuplicateEventId(ids, "is in the log already")


def _arguments(events: Sequence[ImportedEvent]) -> list[Any]:
    columns = Columns()
    for imported in events:
        columns.add(imported.event)
    return packed(
        [
            bigint(ALL),
            bigints([one.position for one in events]),
            texts([one.stream for one in events]),
            bigints([one.version for one in events]),
            *columns.packed(),
            bigints([one.recorded_at for one in events]),
            *columns.packed_tags(),
        ]
    )
