"""The options that commands share: which log, which events, how many, and for whom the output is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Annotated, Final

from cyclopts import Parameter

from sacho.events import Query, QueryItem, RecordedEvent
from sacho.store import EventStore
from sacho.store.event_store import check_range

_GLOBAL = {"--store": 2, "--json": 1}
"""Options that may also stand before the command, and how many words each takes."""

Limit = Annotated[int | None, Parameter(help="At most so many.")]
Json = Annotated[bool, Parameter(negative=(), show_default=False, help="One JSON object a line, for programs.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Log:
    """Which log, and for whom."""

    store: Annotated[
        str | None, Parameter(env_var="SACHO_STORE", help="The log's URL, such as sqlite:///conference.db.")
    ] = None
    json: Json = False


@Parameter(name="*")
@dataclass(frozen=True)
class Range:
    """Which part, and in which order."""

    after: Annotated[int, Parameter(help="Only what stands after this version or position.")] = 0
    to: Annotated[int | None, Parameter(help="Only up to this version or position.")] = None
    limit: Limit = None
    backwards: Annotated[bool, Parameter(negative=(), show_default=False, help="The last first.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Filters:
    """Which events: any of the types, all of the tags, any of the categories, and the correlation id."""

    type: Annotated[
        Sequence[str], Parameter(negative=(), show_default=False, help="Any of these types; repeatable.")
    ] = ()
    tag: Annotated[
        Sequence[str], Parameter(negative=(), show_default=False, help="All of these tags; repeatable.")
    ] = ()
    category: Annotated[
        Sequence[str], Parameter(negative=(), show_default=False, help="Any of these categories; repeatable.")
    ] = ()
    correlation: Annotated[str | None, Parameter(help="Only events of this correlation id.")] = None

    @property
    def query(self) -> Query:
        """What they mean, but for the correlation id."""
        return Query(QueryItem(self.type, self.tag, self.category))

    def are_met_by(self, recorded: RecordedEvent) -> bool:
        """Tell whether an event that matches the query is of the correlation id, too."""
        return self.correlation is None or str(recorded.metadata.get("correlation_id")) == self.correlation


DEFAULT_LOG: Final = Log()
WHOLE: Final = Range()
UNFILTERED: Final = Filters()


def found(log: EventStore, filters: Filters, part: Range) -> Iterable[RecordedEvent]:
    """Return the events of the log that are meant, by an index."""
    if filters.correlation is not None:
        return _correlated(log, filters, filters.correlation, part)
    return log.read_all(
        filters.query, after=part.after, to=part.to, limit=part.limit, backwards=part.backwards, raw=True
    )


def _correlated(log: EventStore, filters: Filters, correlation: str, part: Range) -> Iterable[RecordedEvent]:
    """Filter the events of one correlation id here: they are few. Backwards they are gathered, as far as `limit` goes."""
    check_range(part.after, part.to, part.limit)
    query, to = filters.query, part.to
    events = takewhile(
        lambda recorded: to is None or recorded.position <= to, log.correlated(correlation, after=part.after, raw=True)
    )
    meant = (recorded for recorded in events if query.matches(recorded.type, recorded.tags, recorded.stream))
    return reversed(deque(meant, maxlen=part.limit)) if part.backwards else islice(meant, part.limit)


def with_globals_last(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--store` and `--json` behind the command, where they stood before it."""
    count = 0
    while count < len(arguments):
        name, mark, _ = arguments[count].partition("=")
        if name not in _GLOBAL:
            break
        count += 1 if mark else _GLOBAL[name]
    words = count + (
        2 if arguments[count : count + 1] in (["projections"], ["processes"]) else 1
    )  # a group's command has two words
    return [*arguments[count:words], *arguments[:count], *arguments[words:]]
