"""The commands of `sacho`. They read raw, so they need no event classes, and may be pointed at any log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Annotated, Final, Literal

import cyclopts
from cyclopts import Parameter

from sacho.cli.ending import ended
from sacho.cli.escaping import visible
from sacho.cli.exporting import export
from sacho.cli.following import followed
from sacho.cli.lines import as_json, line_of, write_of
from sacho.cli.opening import migrating, named, opened
from sacho.cli.operating import backup, copy, new_epoch
from sacho.cli.options import DEFAULT_LOG, UNFILTERED, WHOLE, Filters, Limit, Log, Range, found, with_globals_last
from sacho.cli.showing import event_row, say, say_facts, say_lines, show_events, show_rows
from sacho.errors import InvalidAppend
from sacho.events import ANY, EXISTS, NO_STREAM, ExpectedVersion, RecordedEvent
from sacho.schema.encoding import DEFAULT_MAX_EVENT_BYTES
from sacho.storage.port import CategoryInfo, StreamInfo
from sacho.store import connect
from sacho.store.event_store import check_range

RUN_HELP: Final = """Run the consumers of an application, until SIGTERM or Ctrl-C; the batches in hand are finished then.

Any number of processes may run the same application: they share its partitions.
"""
PROJECTIONS_HELP: Final = "See how consumers and projections stand, and mend them."
PROCESSES_HELP: Final = "See which processes run, are done or stuck, look into one, and have it tried again."

EXPECTED: Final[dict[str, ExpectedVersion]] = {"any": ANY, "none": NO_STREAM, "exists": EXISTS}


def _version() -> str:
    try:
        return f"sacho {version('sacho')}"
    except PackageNotFoundError:
        return "sacho, of no known version: it runs without being installed"


app = cyclopts.App(
    name="sacho",
    help="Look into an event log, append to it, follow it, copy it, back it up, export it; run what reacts to it.",
    version=_version,
    suppress_keyboard_interrupt=False,
)


@app.command
def streams(
    *,
    category: Annotated[str | None, Parameter(help="Only the streams of this category.")] = None,
    after: Annotated[str, Parameter(help="Only streams whose id stands after this one.")] = "",
    limit: Limit = None,
    log: Log = DEFAULT_LOG,
) -> None:
    """List the streams with their versions and last times."""
    with opened(log.store) as store:
        _list(("stream", "version", "position"), store.streams(category, after=after, limit=limit), log)


@app.command
def categories(*, log: Log = DEFAULT_LOG) -> None:
    """List the categories with their last times."""
    with opened(log.store) as store:
        _list(("category", "position"), store.categories(), log)


@app.command
def read(stream: str, *, part: Range = WHOLE, log: Log = DEFAULT_LOG) -> None:
    """Show the events of a stream."""
    with opened(log.store) as store:
        events = store.read(stream, after=part.after, to=part.to, limit=part.limit, backwards=part.backwards, raw=True)
        _show(events, log)


@app.command(name="read-all")
def read_all(*, filters: Filters = UNFILTERED, part: Range = WHOLE, log: Log = DEFAULT_LOG) -> None:
    """Show the events of the whole log, or those that the filters mean."""
    with opened(log.store) as store:
        _show(found(store, filters, part), log)


@app.command
def append(
    stream: str,
    *,
    expected: Annotated[
        int | Literal["any", "none", "exists"],
        Parameter(help="What the stream must be at: a version, or one of these."),
    ] = "any",
    max_event_bytes: Annotated[int, Parameter(help="The largest event that is taken.")] = DEFAULT_MAX_EVENT_BYTES,
    log: Log = DEFAULT_LOG,
) -> None:
    """Append the events on standard input, one JSON object a line: all or none.

    A line has "type" and "data", and may have "id", "tags", "metadata" and "schema_version". Lines of `sacho read
    --json` are taken too. The log is made if it is not there.
    """
    url = named(log.store)
    if sys.stdin is None:
        raise InvalidAppend("standard input is closed; events are read from there")
    version = expected if isinstance(expected, int) else EXPECTED[expected]
    write = write_of(stream, sys.stdin.buffer, version, max_event_bytes)
    with connect(url) as store:
        (done,) = store.storage.write(write)
    count = len(write.parts[0].events)
    if log.json:
        say(as_json({"stream": stream, "version": done.version, "position": done.position, "events": count}))
    else:
        say(f"{count} event{'s' * (count != 1)} appended: version {done.version}, position {done.position}")


@app.command
def tail(
    *,
    filters: Filters = UNFILTERED,
    after: Annotated[int | Literal["head"], Parameter(help="Begin after this position.")] = "head",
    limit: Limit = None,
    log: Log = DEFAULT_LOG,
) -> None:
    """Follow the log: show events as they are recorded, until Ctrl-C."""
    with opened(log.store) as store:
        start = store.head() if isinstance(after, str) else after
        check_range(start, None, limit)
        with store.subscribe(filters.query, after=start, raw=True) as live:
            for recorded in islice(filter(filters.are_met_by, followed(live)), limit):
                say(line_of(recorded) if log.json else "  ".join(visible(str(fact)) for fact in event_row(recorded)))


@app.command
def head(*, log: Log = DEFAULT_LOG) -> None:
    """Print the highest position."""
    with opened(log.store) as store:
        position = store.head()
    say(as_json({"head": position}) if log.json else str(position))


@app.command
def info(*, log: Log = DEFAULT_LOG) -> None:
    """Say what log this is: engine, id, epoch, head, sizes, what it offers."""
    with opened(log.store) as store:
        sizes = store.storage.statistics()
        facts: dict[str, object] = {
            "engine": store.storage.name,
            "log_id": str(store.identity.id),
            "epoch": store.identity.epoch,
            "head": store.head(),
            "log_bytes": sizes.log_bytes,
            "wal_bytes": sizes.wal_bytes,
            "capabilities": sorted(store.capabilities),
        }
    say_facts(facts, json=log.json)


@app.command
def migrate(
    *,
    roles: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Also make the database's roles of least rights.")
    ] = False,
    log: Log = DEFAULT_LOG,
) -> None:
    """Make the log, or bring it to this Sacho's schema. Run it as the owner; older processes go on meanwhile."""
    with connect(migrating(named(log.store), may=True)) as store:
        made = store.storage.make_roles() if roles else ()
        facts = {"engine": store.storage.name, "log_id": str(store.identity.id), "roles": list(made)}
    if log.json:
        say(as_json(facts))
        return
    say(f"the log is ready: {facts['log_id']}")
    for role in made:
        say(f"role {role}: GRANT {role} TO the role that your processes log in as")


app.command(copy)
app.command(backup)
app.command(export)
app.command(new_epoch, name="new-epoch")
# by name, since they import the database library of the views, which no other command waits for
app.command("sacho.cli.running:run", name="run", help=RUN_HELP)
app.command("sacho.cli.running:projections", name="projections", help=PROJECTIONS_HELP)
app.command("sacho.cli.processes:processes", name="processes", help=PROCESSES_HELP)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; every error is one line on standard error."""
    given = sys.argv[1:] if arguments is None else arguments
    logging.getLogger("psycopg").addHandler(
        logging.NullHandler()
    )  # what it would say of lost connections, the error says
    sys.exit(ended(lambda: _run(given), given))


def _run(arguments: list[str]) -> None:
    app(with_globals_last(arguments), result_action="return_value", exit_on_error=False, print_error=False)


def _show(events: Iterable[RecordedEvent], log: Log) -> None:
    if log.json:
        say_lines(map(line_of, events))
    else:
        show_events(events)


def _list(headings: tuple[str, ...], infos: Iterable[StreamInfo] | Iterable[CategoryInfo], log: Log) -> None:
    if log.json:
        say_lines(as_json(info._asdict()) for info in infos)
    else:
        rows = ((*info[:-1], f"{info.recorded_at:%Y-%m-%d %H:%M:%S}") for info in infos)
        show_rows((*headings, "last event (UTC)"), rows)
