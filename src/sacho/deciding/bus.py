"""CommandBus: takes any command to its handler, through one visible chain, now or later."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sacho.deciding.chain import Authorise, Step
from sacho.deciding.dispatch import BUS_RETRY, Dispatch, Front
from sacho.deciding.envelope import Envelope, Origin
from sacho.deciding.outcome import Outcome
from sacho.deciding.retry import Retry
from sacho.deciding.routing import Route, Target
from sacho.deciding.storing import Stored
from sacho.deciding.submitting import BackgroundWays, Submitted
from sacho.store.context import exactly
from sacho.store.joining import finished

if TYPE_CHECKING:
    from sacho.events import Appended, EventData
    from sacho.store import EventStore


class CommandBus(Front):
    """Takes commands to the handlers of `routes`. Thread-safe; make one and keep it.

    Every command goes through the chain that `chain` names: its fields are checked, then come your own `steps`, each
    `(envelope) -> envelope`, then `authorise(envelope)`, which raises NotAuthorised or returns False to refuse. Errors
    that pass (a log that is busy or unreachable) are met by handling the command again under the same id, as often as
    `retry` says: six times in about two seconds.

    Raises DuplicateRoute and InvalidRoute.
    """

    def __init__(
        self,
        store: EventStore,
        routes: Iterable[Route],
        *,
        authorise: Authorise | None = None,
        steps: Iterable[Step] = (),
        retry: Retry = BUS_RETRY,
    ) -> None:
        self._dispatch = Dispatch(store, routes, authorise=authorise, steps=steps, retry=retry, may_await=False)
        self._ways = _BlockingWays(store)
        self._event_store = store

    def handle(
        self,
        command: Any,
        *,
        command_id: UUID | str | None = None,
        actor: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin = "caller",
    ) -> Outcome:
        """Handle one command and return its outcome, once its events are durable.

        The same `command_id` again returns the first outcome. Actor, correlation_id, causation_id and more come from
        the surroundings (`sacho.metadata`, `caused_by`), unless given here. A command for a function has an outcome without events.

        Raises NoHandler, InvalidCommand, NotAuthorised, and what the handler raises: see CommandHandler.handle.
        """
        return finished(self._dispatch.handling(self._ways, command, command_id, actor, metadata, origin))

    def submit(
        self,
        command: Any,
        *,
        command_id: UUID | str | None = None,
        actor: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin = "caller",
    ) -> Future[Outcome]:
        """Begin to handle a command; the future has its outcome or error, also that of a step.

        The steps before `retry` run here and now; functions given to `call` run on up to eight threads.
        """
        ways = BackgroundWays(self._event_store)
        return Submitted(self._dispatch.handling(ways, command, command_id, actor, metadata, origin)).begin()

    def store(
        self,
        command: Any,
        *,
        at: datetime | None = None,
        command_id: UUID | str | None = None,
        key: str | None = None,
        actor: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin = "caller",
    ) -> Stored:
        """Put a command into the log, to be handled by a worker as soon as it can, or `at` a time (with a zone).

        It goes through the chain now, up to `correlate`, and again when it is handled. Commands of one `key` are handled
        in order: those for one stream where no key is given, each by itself where a function takes them. The same
        `command_id` with the same content again returns the first result; with other content it raises
        DuplicateEventId. Raises as `handle`; InvalidCommand also where a command cannot be read back from its JSON.
        """
        return finished(self._dispatch.storing(self._ways, command, at, command_id, key, actor, metadata, origin))

    def replace(
        self,
        command_id: UUID | str,
        command: Any,
        *,
        at: datetime | None = None,
        key: str | None = None,
        actor: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin = "caller",
    ) -> Stored | None:
        """Put another command, or another time, in the place of a stored one (its key stays, unless given).

        Returns None, and changes nothing, if that one was due or withdrawn already: of two who come at once, one wins.
        Raises UnknownCommand for an id that was never stored, and as `store`.
        """
        return finished(self._dispatch.replacing(self._ways, command, at, command_id, key, actor, metadata, origin))

    def withdraw(self, command_id: UUID | str) -> bool:
        """Take back a stored command; return False, and change nothing, if it was due or withdrawn already.

        `authorise` is not asked: there is no command. Raises UnknownCommand for an id that was never stored.
        """
        return finished(self._dispatch.withdrawing(self._ways, command_id))


class _BlockingWays:
    """Does what waits in the caller's own thread."""

    pause = staticmethod(time.sleep)

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def handle(self, target: Target, envelope: Envelope, *, is_new: bool) -> Outcome:
        return target.handle(envelope, is_new=is_new)

    def append(self, stream: str, event: EventData, expected: int) -> Appended:
        with exactly(event.metadata):
            return self._store.append(stream, [event], expected=expected)
