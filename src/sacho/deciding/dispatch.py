"""What a command bus does, in steps and without colour: CommandBus calls them, AsyncCommandBus awaits them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sacho.deciding.chain import Authorise, Chain, HandlingWays, Step, Steps, Ways
from sacho.deciding.command_handler import CommandHandler, one_form
from sacho.deciding.envelope import Envelope, Origin
from sacho.deciding.outcome import Outcome
from sacho.deciding.retry import Retry
from sacho.deciding.routing import RefusalId, Route, Routes, ToDecider
from sacho.deciding.storing import Replace, Stored, StoredCommands, StoredForms, Withdraw, checked_time
from sacho.errors import InvalidInput
from sacho.events import NO_STREAM, CommandStored, EventData, command_stream
from sacho.store import current_metadata
from sacho.store.ids import derived_id, new_id_text

if TYPE_CHECKING:
    from sacho.store import EventStore

BUS_RETRY: Final = Retry(attempts=6, first_pause=0.1, longest_pause=2.0)
STORED_STATES_KEPT: Final = 64


class Dispatch:
    """The routes and the chain of one bus."""

    def __init__(
        self,
        store: EventStore,
        routes: Iterable[Route],
        *,
        authorise: Authorise | None,
        steps: Iterable[Step],
        retry: Retry,
        may_await: bool,
    ) -> None:
        self._routes = Routes(store, routes, may_await=may_await)
        self.chain = Chain(steps, authorise, retry, may_await=may_await)
        self.forms = StoredForms(self._routes)
        stored = CommandHandler(store, StoredCommands(), cache_size=STORED_STATES_KEPT)
        self._stored = ToDecider(stored, lambda command: command_stream(command.command_id))

    def handling(
        self,
        ways: HandlingWays,
        command: Any,
        command_id: UUID | str | None,
        actor: str | None,
        metadata: Mapping[str, Any] | None,
        origin: Origin,
    ) -> Steps[Outcome]:
        """Handle a command."""
        self._routes.target(command)
        envelope = _enveloped(command, command_id, actor, metadata, origin)
        new_id = envelope.id if command_id is None else None
        envelope = yield from self.chain.passed(envelope)
        target = self._routes.target(envelope.command)
        return (yield from self.chain.handled(ways, target, envelope, is_new=envelope.id == new_id))

    def storing(
        self,
        ways: Ways,
        command: Any,
        at: datetime | None,
        command_id: UUID | str | None,
        key: str | None,
        actor: str | None,
        metadata: Mapping[str, Any] | None,
        origin: Origin,
    ) -> Steps[Stored]:
        """Store a command."""
        stored, envelope = yield from self._to_be_stored(command, at, command_id, key, actor, metadata, origin)
        stream = command_stream(stored.command_id)
        event_id = UUID(bytes=derived_id(stored.command_id, stream, "stored"))
        event = EventData(stored, id=event_id, metadata=envelope.metadata)
        done = yield from self.chain.appended(ways, stream, event, NO_STREAM)
        return Stored(stored.command_id, done.position)

    def replacing(
        self,
        ways: Ways,
        command: Any,
        at: datetime | None,
        command_id: UUID | str,
        key: str | None,
        actor: str | None,
        metadata: Mapping[str, Any] | None,
        origin: Origin,
    ) -> Steps[Stored | None]:
        """Put another command in the place of a stored one."""
        stored, envelope = yield from self._to_be_stored(command, at, command_id, key, actor, metadata, origin)
        change = Replace(stored, keeps_key=key is None)
        inner = Envelope(change, new_id_text(), envelope.actor, envelope.metadata, envelope.origin)
        outcome = yield from self.chain.handled(ways, self._stored, inner, is_new=True)
        return Stored(stored.command_id, outcome.position) if outcome.events else None

    def withdrawing(self, ways: HandlingWays, command_id: UUID | str) -> Steps[bool]:
        """Take a stored command back."""
        id = one_form(command_id)
        envelope = Envelope(Withdraw(id), new_id_text(), metadata={"correlation_id": id, **current_metadata()})
        outcome = yield from self.chain.handled(ways, self._stored, envelope, is_new=True)
        return bool(outcome.events)

    def refusal(self, command: Any, command_id: str) -> RefusalId:
        """Return the id of an event that tells of a command's refusal."""
        return self._routes.target(command).refusal(command, command_id)

    def _to_be_stored(
        self,
        command: Any,
        at: datetime | None,
        command_id: UUID | str | None,
        key: str | None,
        actor: str | None,
        metadata: Mapping[str, Any] | None,
        origin: Origin,
    ) -> Steps[tuple[CommandStored, Envelope]]:
        """Let a command go through the chain now, so that what is stored can be handled later."""
        due_at = checked_time(command, at)
        self._routes.target(command)
        envelope = yield from self.chain.passed(_enveloped(command, command_id, actor, metadata, origin))
        name, data = self.forms.of(envelope.command)
        self.forms.command(name, data)
        if key is None:
            key = self._routes.target(envelope.command).key(envelope)
        return CommandStored(envelope.id, name, data, key, due_at), envelope


class Front:
    """What a bus of either colour has that waits for nothing."""

    _dispatch: Dispatch

    def stored_form(self, command: Any) -> tuple[str, dict[str, Any]]:
        """Return the name of a command's type and its fields as plain JSON values. Raises NoHandler or InvalidCommand."""
        return self._dispatch.forms.of(command)

    def command(self, name: str, data: Mapping[str, Any]) -> Any:
        """Return the command of a stored form. Raises NoHandler or InvalidCommand."""
        return self._dispatch.forms.command(name, data)

    def refusal(self, command: Any, command_id: str) -> RefusalId:
        """Return the id of the event that tells of a command's refusal, so that a command is refused or effective, and never both."""
        return self._dispatch.refusal(command, command_id)

    @property
    def chain(self) -> tuple[str, ...]:
        """The names of the steps that every command goes through, in order."""
        return self._dispatch.chain.names


def _enveloped(
    command: Any,
    command_id: UUID | str | None,
    actor: str | None,
    metadata: Mapping[str, Any] | None,
    origin: Origin,
) -> Envelope:
    """Return a command with what the caller, and what surrounds the call, say of it."""
    id = new_id_text() if command_id is None else one_form(command_id)
    said = current_metadata()
    if actor is not None and not isinstance(actor, str):
        raise InvalidInput(f"actor={actor!r} is no text")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidInput(f"metadata={metadata!r} is no mapping")
    if metadata:
        ids = {key: str(value) for key, value in metadata.items() if isinstance(value, UUID)}
        said = {**said, **metadata, **ids}
    if actor is None:
        actor = said.get("actor")
    return Envelope(command, id, actor, said, origin)
