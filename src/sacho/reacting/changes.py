"""Changes: what the handlers of a projection say, gathered for a batch of events and written in one short transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa

from sacho.errors import InvalidConsumer
from sacho.events import RecordedEvent
from sacho.reacting.databases import took_too_long
from sacho.reacting.taking import Commits, HandlerFailed, Taking, failure

if TYPE_CHECKING:
    from sacho.reacting.projection import Projection

logger = logging.getLogger("sacho.reacting")

TOO_LONG: Final = "the server ended the transaction: after a lookup behind a change of its own a handler is to end soon"

Change: TypeAlias = tuple[sa.Executable, Mapping[str, Any] | None]


class Changes(Taking):
    """What a handler of a projection is given: `execute` statements, `fetch` rows, do something `after_commit`."""

    def __init__(self, projection: Projection, commits: Commits) -> None:
        self._projection = projection
        self._handlers: dict[str, Callable[..., Any] | None] = {}
        self._commits = commits
        self._gathered: list[Change] = []
        self._is_own = 0
        """How many were gathered before the event in hand."""
        self._open: sa.Connection | None = None
        self._effects: list[Callable[[], object]] = []
        self.recorded: RecordedEvent
        """The event in hand, with its place, time, tags and metadata."""
        self.is_replay = False
        """Whether a build is replaying what happened; then effects stay silent."""

    # --- for handlers ---------------------------------------------------------------------------------

    def execute(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> None:
        """Have a statement executed, with values for its parameters, when the batch is written.

        Statements are executed in order. One that is made once (in `prepare`) and given values is much faster than one
        that is made for each event.
        """
        self._gathered.append((statement, values))

    def fetch(self, statement: sa.Select[Any], values: Mapping[str, Any] | None = None) -> Sequence[sa.Row[Any]]:
        """Return the rows of a query, now: all that earlier events and this one have changed is in them.

        What was gathered of earlier events is committed for it, so a query for each event makes batches of one.
        """
        if self._open is None and len(self._gathered) == self._is_own:
            if self._gathered:
                self._commits.commit(self.recorded.position - 1)
            with self._commits.reading() as connection:
                found: Sequence[sa.Row[Any]] = connection.execute(statement, values or {}).all()
                return found
        if self._open is None:
            self._open = self._commits.begin()
        self._flush(self._open)
        return self._open.execute(statement, values or {}).all()

    def after_commit(self, effect: Callable[[], object]) -> None:
        """Have something called once the event is in the view; never while a build replays.

        A crash may leave it out; what it raises is logged. What must happen belongs into a plain consumer.
        """
        if self._projection.inline:
            raise InvalidConsumer(self._projection.name, "what is written by an append has no effects after its commit")
        if not self.is_replay:
            self._effects.append(effect)

    # --- for the worker -------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many statements wait to be written."""
        return len(self._gathered)

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Handle events in order, gathering what they change."""
        self.is_replay = is_replay
        handlers, gathered = self._handlers, self._gathered
        for recorded in events:
            try:
                handler = handlers[recorded.type]
            except KeyError:
                handler = handlers[recorded.type] = self._projection.handler(recorded.type)
            if handler is None:
                continue
            self.recorded = recorded
            self._is_own = len(gathered)
            try:
                handler(recorded.event, self)
                if self._open is not None:
                    self._commits.commit(recorded.position)
            except BaseException as error:
                if self._open is not None and took_too_long(error):
                    raise HandlerFailed(recorded) from TimeoutError(TOO_LONG)
                raise failure(error, recorded) from error

    def write(self, connection: sa.Connection) -> None:
        """Execute what was gathered, statements that follow on each other with other values together."""
        self._flush(connection)

    def committed(self) -> None:
        """Forget what is written; let the effects happen."""
        self._open = None
        self._is_own = 0
        effects, self._effects = self._effects, []
        for effect in effects:
            try:
                effect()
            except BaseException:  # the event is in the view, and no other is to blame
                logger.exception("%s: an effect after the commit failed", self._projection.name)

    def discard(self) -> None:
        """Forget what was gathered."""
        self._gathered.clear()
        self._effects.clear()
        self._open = None
        self._is_own = 0

    def _flush(self, connection: sa.Connection) -> None:
        """Execute and forget what was gathered.

        What is executed together has values for the same parameters: SQLAlchemy goes by the first, and leaves out others.
        """
        if not self._gathered:
            return
        for _, group in groupby(self._gathered, key=lambda change: (id(change[0]), change[1] and change[1].keys())):
            same = list(group)
            statement = same[0][0]
            if same[0][1] is None:
                for _ in same:
                    connection.execute(statement)
            else:
                connection.execute(statement, [values for _, values in same if values is not None])
        self._gathered.clear()
        self._is_own = 0
