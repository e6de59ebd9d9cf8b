"""The commands, and how they end: 0 well, 1 otherwise, 2 wrong usage, 3 conflict, 4 bad input, 5 the log itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Final

import cyclopts
import msgspec
from cyclopts import Parameter

from sacho.cli.lines import events_of, line_of
from sacho.cli.showing import EVENT_HEADINGS, event_row, say, show_rows, visible
from sacho.errors import (
    ConfigurationError,
    Conflict,
    InvalidAppend,
    InvalidInput,
    InvalidURL,
    SachoError,
    StorageError,
    StorageFailed,
)
from sacho.events import ANY, EXISTS, NO_STREAM, ExpectedVersion, Query, QueryItem, RecordedEvent
from sacho.store import EventStore, connect
from sacho.store.connecting import StoreURL, sqlite_path

OTHERWISE: Final = 1
USAGE: Final = 2
CONFLICT: Final = 3
BAD_INPUT: Final = 4
STORAGE: Final = 5
INTERRUPTED: Final = 130

Store = Annotated[
    str | None, Parameter(name="--store", env_var="SACHO_STORE", help="The log's URL, such as sqlite:///conference.db.")
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="One JSON object a line, for programs.")]
After = Annotated[int, Parameter(help="Only what stands after this version or position.")]
To = Annotated[int | None, Parameter(help="Only up to this version or position.")]
Limit = Annotated[int | None, Parameter(help="At most so many.")]
Backwards = Annotated[bool, Parameter(negative=(), help="The last first.")]
Types = Annotated[list[str] | None, Parameter(name="--type", negative=(), help="Any of these types; repeatable.")]
Tags = Annotated[list[str] | None, Parameter(name="--tag", negative=(), help="All of these tags; repeatable.")]
Categories = Annotated[
    list[str] | None, Parameter(name="--category", negative=(), help="Any of these categories; repeatable.")
]


def _version() -> str:
    try:
        return version("sacho")
    except PackageNotFoundError:
        return "not installed"


app = cyclopts.App(name="sacho", help="Look into an event log, append to it, follow it.", version=_version)


@app.command
def streams(
    *,
    category: Annotated[str | None, Parameter(help="Only the streams of this category.")] = None,
    after: Annotated[str, Parameter(help="Only streams whose id stands after this one.")] = "",
    limit: Limit = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """List the streams with their versions and last times."""
    with _opened(store) as log:
        infos = log.streams(category, after=after, limit=limit)
        if json:
            for info in infos:
                say(_as_json(info._asdict()))
        else:
            rows = ((i.stream, i.version, i.position, f"{i.recorded_at:%Y-%m-%d %H:%M:%S}") for i in infos)
            show_rows(("stream", "version", "position", "last event"), rows)


@app.command
def categories(*, store: Store = None, json: Json = False) -> None:
    """List the categories with their last times."""
    with _opened(store) as log:
        infos = log.categories()
        if json:
            for info in infos:
                say(_as_json(info._asdict()))
        else:
            rows = ((i.category, i.position, f"{i.recorded_at:%Y-%m-%d %H:%M:%S}") for i in infos)
            show_rows(("category", "position", "last event"), rows)


@app.command
def read(
    stream: str,
    *,
    after: After = 0,
    to: To = None,
    limit: Limit = None,
    backwards: Backwards = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """Show the events of a stream."""
    with _opened(store) as log:
        _show(log.read(stream, after=after, to=to, limit=limit, backwards=backwards, raw=True), json)


@app.command(name="read-all")
def read_all(
    *,
    type: Types = None,
    tag: Tags = None,
    category: Categories = None,
    correlation: Annotated[
        str | None, Parameter(help="The events of this correlation id, and no other filter.")
    ] = None,
    after: After = 0,
    to: To = None,
    limit: Limit = None,
    backwards: Backwards = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """Show the events of the whole log, or those that the filters mean."""
    if correlation is not None and (type or tag or category or backwards or to is not None or limit is not None):
        raise InvalidAppend("--correlation goes with --after only")
    with _opened(store) as log:
        if correlation is not None:
            _show(log.correlated(correlation, after=after, raw=True), json)
        else:
            query = _query(type, tag, category)
            _show(log.read_all(query, after=after, to=to, limit=limit, backwards=backwards, raw=True), json)


@app.command
def append(
    stream: str,
    *,
    expected: Annotated[str, Parameter(help="any, none, exists, or the version the stream must be at.")] = "any",
    store: Store = None,
    json: Json = False,
) -> None:
    """Append the events that stand on standard input, one JSON object a line, all or none.

    A line has "type" and "data", and may have "id", "tags", "metadata" and "schema_version". Lines of `sacho read
    --json` are taken too.
    """
    events = events_of(sys.stdin.buffer)
    wanted = _expected(expected)
    with _opened(store, make=True) as log:
        done = log.append(stream, events, expected=wanted)
    if json:
        say(_as_json({"stream": stream, "version": done.version, "position": done.position, "events": len(events)}))
    else:
        say(f"{len(events)} events appended: version {done.version}, position {done.position}")


@app.command
def tail(
    *,
    type: Types = None,
    tag: Tags = None,
    category: Categories = None,
    after: Annotated[int | None, Parameter(help="Begin after this position; at the head if left out.")] = None,
    limit: Limit = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Follow the log: show events as they are recorded, until Ctrl-C."""
    with _opened(store) as log:
        start = log.head() if after is None else after
        with log.subscribe(_query(type, tag, category), after=start, raw=True) as live:
            for count, recorded in enumerate(live, start=1):
                say(line_of(recorded) if json else "  ".join(map(visible, event_row(recorded))))
                if count == limit:
                    return


@app.command
def head(*, store: Store = None, json: Json = False) -> None:
    """Print the highest position."""
    with _opened(store) as log:
        position = log.head()
    say(_as_json({"head": position}) if json else str(position))


@app.command
def info(*, store: Store = None, json: Json = False) -> None:
    """Say what log this is: engine, id, epoch, head, sizes, what it offers."""
    with _opened(store) as log:
        statistics = log.storage.statistics()
        facts: dict[str, object] = {
            "engine": log.storage.name,
            "id": str(log.identity.id),
            "epoch": log.identity.epoch,
            "head": log.head(),
            "log_bytes": statistics.log_bytes,
            "wal_bytes": statistics.wal_bytes,
            "offers": sorted(log.capabilities),
        }
    if json:
        say(_as_json(facts))
    else:
        shown = ((name, ", ".join(value) if isinstance(value, list) else str(value)) for name, value in facts.items())
        show_rows(("", ""), shown)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; every error is one line on standard error."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    try:
        app(arguments, result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        return _failed(USAGE, " ".join(str(error).split()))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except SachoError as error:
        return _failed(_code(error), str(error))
    return 0


def _failed(code: int, message: str) -> int:
    sys.stderr.write(f"sacho: error: {message}\n")
    return code


def _code(error: SachoError) -> int:
    match error:
        case Conflict():
            return CONFLICT
        case InvalidURL() | ConfigurationError():
            return USAGE
        case InvalidInput():
            return BAD_INPUT
        case StorageError():
            return STORAGE
        case _:
            return OTHERWISE


@contextmanager
def _opened(url: str | None, *, make: bool = False) -> Iterator[EventStore]:
    """Open the log; only `append` makes one where there is none."""
    if not url:
        raise InvalidURL("which log? Name it with --store URL or in SACHO_STORE")
    parts = StoreURL.parse(url)
    if parts.scheme == "sqlite" and not make and not sqlite_path(parts).exists():
        raise StorageFailed(f"there is no log at {sqlite_path(parts)}; `sacho append` makes one")
    with connect(url) as store:
        yield store


def _show(events: Iterable[RecordedEvent], json: bool) -> None:
    if json:
        for recorded in events:
            sys.stdout.write(f"{line_of(recorded)}\n")
    else:
        show_rows(EVENT_HEADINGS, map(event_row, events))


def _query(types: list[str] | None, tags: list[str] | None, categories: list[str] | None) -> Query:
    return Query(QueryItem(types or (), tags or (), categories or ()))


def _expected(text: str) -> ExpectedVersion:
    named: dict[str, ExpectedVersion] = {"any": ANY, "none": NO_STREAM, "exists": EXISTS}
    if text in named:
        return named[text]
    if not text.isascii() or not text.isdigit():
        raise InvalidAppend(f"--expected {text!r} is none of any, none, exists or a version")
    return int(text)


def _as_json(facts: dict[str, object]) -> str:
    return msgspec.json.encode(facts).decode()
