"""Running what an application declares: `sacho run`, and `sacho projections …` to look at consumers and mend them."""

from __future__ import annotations

import importlib
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from queue import SimpleQueue
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from sacho.cli.ending import Exit
from sacho.cli.escaping import visible, without_credentials
from sacho.cli.lines import as_json
from sacho.cli.options import Json
from sacho.cli.progress import shown
from sacho.cli.showing import is_narrow, say, say_facts, say_lines, show_rows
from sacho.errors import InvalidURL, SachoError, UnknownConsumer
from sacho.operations import Progress
from sacho.operations.pipeline import Tell, silent
from sacho.reacting import Application, Generation, Status
from sacho.reacting.tables import STANDBY

App = Annotated[
    str,
    Parameter(
        env_var="SACHO_APP", help="The application: MODULE:NAME of an Application, or of a function that makes one."
    ),
]
Consumer = Annotated[str, Parameter(help="The consumer's name.")]
Build = Annotated[
    int | None,
    Parameter(show_default=False, help="Which build of the version, as in NAME@VERSION.BUILD; 0 is the first."),
]
STATUS: Final = (
    "consumer",
    "state",
    "position",
    "behind",
    "seconds",
    "events/s",
    "left",
    "parked",
    "waiting",
    "workers",
    "error",
)
NARROW_STATUS: Final = ("consumer", "state", "position", "behind", "more")

LOOK_SECONDS: Final = 0.1
"""How often it is looked how far consumers have come, for the progress that is shown."""

projections = cyclopts.App(name="projections")


def run(
    application: App,
    *,
    once: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Catch up with the log as it is now, then end.")
    ] = False,
) -> None:
    """Run the consumers of an application; what users are told of it stands in `sacho.cli.commands`."""
    stopping = threading.Event()
    with application_of(application) as app, _signals(stopping), _watched(app) if once else nullcontext(), _told():
        app.run(once=once, stopping=stopping)


@projections.command
def status(*, app: App, json: Json = False) -> None:
    """Show how every consumer stands: position, how far behind, what is parked, who works on it."""
    with application_of(app) as opened:
        found = opened.administration.status()
    if json:
        say_lines(
            as_json({**one._asdict(), "partitions": [part._asdict() for part in one.partitions]}) for one in found
        )
    else:
        narrow = is_narrow()
        show_rows(NARROW_STATUS if narrow else STATUS, [_narrow_row(one) if narrow else _row(one) for one in found])


@projections.command
def parked(consumer: Consumer, *, app: App, json: Json = False) -> None:
    """List the parked events of a consumer, and those that wait behind them."""
    with application_of(app) as opened:
        found = opened.administration.parked(consumer)
    if json:
        say_lines(as_json(one._asdict()) for one in found)
    else:
        rows = [
            (one.position, one.key, one.type, one.attempts, one.error or "waits", one.action or "") for one in found
        ]
        show_rows(("position", "key", "type", "attempts", "error", "asked"), rows)


@projections.command
def show(consumer: Consumer, position: int, *, app: App) -> None:
    """Show a parked event with its data, its error and traceback."""
    with application_of(app) as opened:
        found = [one for one in opened.administration.parked(consumer) if one.position == position]
        events = list(opened.store.read_all(after=position - 1, to=position, raw=True)) if found else []
    if not found:
        raise UnknownConsumer(f"parked event at position {position}", [])
    facts = {name: _text(fact) for name, fact in found[0]._asdict().items()}
    trace = facts.pop("traceback")
    say_facts({**facts, "data": "".join(as_json(one.event.data) for one in events)}, json=False)
    for line in trace.splitlines():
        say(visible(line))


@projections.command
def retry(consumer: Consumer, position: int | None = None, *, app: App) -> None:
    """Have a parked event tried again, or all of them, by whoever runs the consumer."""
    with application_of(app) as opened:
        count = opened.administration.retry(consumer, position)
    say(f"{count} event{'s' * (count != 1)} will be tried again by the runner")


@projections.command
def drop(consumer: Consumer, position: int, *, app: App) -> None:
    """Leave a parked event out of the view for good; what waits behind it goes on."""
    with application_of(app) as opened:
        opened.administration.drop(consumer, position)
    say(f"the event at position {position} will be left out")


@projections.command
def rebuild(consumer: Consumer, *, app: App) -> None:
    """Build a projection again beside the one that serves; it takes over once it has caught up."""
    with application_of(app) as opened:
        generation = opened.administration.rebuild(consumer)
    say(f"{generation} will be built by the runner, and take over")


@projections.command
def switch(consumer: Consumer, version: int, *, app: App, build: Build = None) -> None:
    """Let another version of a projection take over, once it has caught up."""
    with application_of(app) as opened:
        generation = opened.administration.switch(consumer, version, build)
    say(f"{generation} takes over, once it has caught up")


@projections.command
def compare(
    consumer: Consumer, old: int | None = None, new: int | None = None, *, app: App, json: Json = False
) -> None:
    """Show what a new version of a projection has otherwise than the one that serves."""
    with application_of(app) as opened:
        found = opened.administration.compare(consumer, old, new)
    facts = {"old": f"{found.old} at {found.position_old}", "new": f"{found.new} at {found.position_new}"}
    if json:
        tables = [{**one._asdict(), "shown": [row._asdict() for row in one.shown]} for one in found.tables]
        say(as_json({**facts, "tables": tables}))
        return
    say_facts(facts, json=False)
    if found.position_old != found.position_new:
        say("They stand at different positions: what only one of them has handled so far counts as a difference, too.")
    for table in found.tables:
        say(f"{table.table}: {table.added} rows added, {table.removed} removed, {table.changed} changed")
        for columns, how in ((table.columns_added, "added"), (table.columns_removed, "removed")):
            if columns:
                say(f"{table.table}: columns {how}: {', '.join(columns)}")
        rows = [(_text(row.key), _text(row.old), _text(row.new)) for row in table.shown]
        if rows:
            show_rows(("key", "old", "new"), rows)


@projections.command
def accept(consumer: Consumer, *, app: App) -> None:
    """Take the consumer and the log as they are now for those that its checkpoints belong to."""
    with application_of(app) as opened:
        opened.administration.accept(consumer)
    say(f"{consumer} is accepted as it is")


@projections.command
def remove(consumer: Consumer, version: int, *, app: App, build: Build = None) -> None:
    """Remove the tables and checkpoints of a version that does not serve, or of one build of it."""
    with application_of(app) as opened:
        gone = opened.administration.remove(consumer, version, build)
    say(f"removed: {', '.join(map(str, gone))}")


@contextmanager
def application_of(name: str) -> Iterator[Application]:
    """Import and open an application. Raises InvalidURL for a name that cannot be meant."""
    module_name, mark, attribute = name.partition(":")
    if not mark or not module_name or not attribute:
        raise InvalidURL(f"{name!r} names no application; write MODULE:NAME, such as conference.app:app")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise InvalidURL(f"the module {module_name} cannot be imported: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    with _made(name, found) as made:
        yield made


def _made(name: str, found: Any) -> Application:
    """Return the application that was named, or what the function that was named makes. Raises InvalidURL."""
    try:
        made = found if isinstance(found, Application) or not callable(found) else found()
    except SachoError:  # it says by itself what is wrong, and its exit code, too
        raise
    except (Exception, SystemExit) as error:
        raise InvalidURL(f"{name} makes no application: {type(error).__name__}: {error}") from error
    if not isinstance(made, Application):
        raise InvalidURL(f"{name} is no Application, nor a function that makes one")
    return made


@contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C be the normal end; a second one ends at once, wherever the main thread is and whatever hangs.

    The event is set by a thread: a signal may come while the main thread holds the event's lock, and would wait for itself.
    """
    came: SimpleQueue[int] = SimpleQueue()
    seen: list[int] = []

    def stop(number: int, _: object) -> None:
        seen.append(number)
        if len(seen) > 1:
            os._exit(Exit.INTERRUPTED)
        came.put(number)

    def pass_on() -> None:
        came.get()
        stopping.set()

    threading.Thread(target=pass_on, name="sacho-signals", daemon=True).start()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched(app: Application) -> Iterator[None]:
    """Show how far each consumer has come, for who sits at a terminal."""
    app.prepare()
    head, ended = app.store.head(), threading.Event()

    def look(tell: Tell) -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(LOOK_SECONDS)
            with suppress(Exception):  # what ails the consumers is told by them
                for one in app.administration.status():
                    if one.state != STANDBY:
                        tell(Progress(_name(one), "positions", min(one.position, head), head))

    with shown() as tell:
        watching = threading.Thread(target=look, args=(tell,), name="sacho-progress", daemon=True)
        if tell is not silent:
            watching.start()
        try:
            yield
        finally:
            ended.set()
            if watching.is_alive():
                watching.join(1)  # not for ever: a second signal ends at once


class _OneLine(logging.Formatter):
    """What the runner says, a line each, without tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return f"sacho: {visible(without_credentials(record.getMessage()))}"


@contextmanager
def _told() -> Iterator[None]:
    """Show on standard error what the runner says."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logger = logging.getLogger("sacho.reacting")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _row(one: Status) -> tuple[object, ...]:
    facts = (_name(one), one.state, one.position, one.lag_events, round(one.lag_seconds, 1), round(one.rate))
    return (*facts, _left(one), one.parked, one.waiting, _workers(one), _error(one))


def _narrow_row(one: Status) -> tuple[object, ...]:
    counts = (("parked", one.parked), ("waiting", one.waiting), ("events/s", round(one.rate)))
    texts = (("left", _left(one)), ("workers", _workers(one)), ("error", _error(one)))
    more = [f"{count} {name}" for name, count in counts if count] + [f"{name}: {text}" for name, text in texts if text]
    return (_name(one), one.state, one.position, one.lag_events, more)


def _left(one: Status) -> str:
    """Return how long it takes to the log's head, in words; nothing where that is reached or cannot be told."""
    return "" if not one.seconds_left else str(timedelta(seconds=math.ceil(one.seconds_left)))


def _workers(one: Status) -> str:
    return ", ".join(sorted({part.owner for part in one.partitions if part.owner}))


def _error(one: Status) -> str:
    stopped = next((f"stopped at {part.stopped_at}: {part.error}" for part in one.partitions if part.error), "")
    return stopped or _text(one.error)


def _name(one: Status) -> str:
    return str(Generation(one.name, one.version, one.build))


def _text(values: object) -> str:
    return "" if values is None else str(values)
