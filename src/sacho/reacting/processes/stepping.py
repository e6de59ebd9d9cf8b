"""One step of a process: from what it was and what came in to what it is and does. Pure, so that it can be tried anywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec

from sacho.errors import InvalidReaction, UnknownProcess
from sacho.events import DeadlinePassed, PendingDeadline, ProcessAdvanced, RecordedEvent, SentCommand
from sacho.reacting.processes.declaring import Takes
from sacho.reacting.processes.reactions import Become, CancelDeadline, Done, Moment, Reaction, Send, SetDeadline
from sacho.store.ids import derived_id

if TYPE_CHECKING:
    from sacho.reacting.processes.process_manager import ProcessManager

StoredForm = Callable[[Any], tuple[str, Any]]
"""Returns a command's name and its fields as JSON values."""


class Process(NamedTuple):
    """A process as its stream says: the stream's version, and the last step; 0 and None before the first."""

    version: int
    last: ProcessAdvanced | None


NOT_BEGUN = Process(0, None)


class Step(NamedTuple):
    """What a process did about an input: the event to be recorded, under an id that belongs to process and input."""

    id: UUID
    advanced: ProcessAdvanced
    reactions: list[Reaction]
    state: Any


class Stepping:
    """Takes steps for the processes of one kind. `stored_form` turns commands into what is recorded of them."""

    def __init__(self, manager: ProcessManager[Any], stored_form: StoredForm) -> None:
        self._manager = manager
        self._stored_form = stored_form
        self._decode = msgspec.json.Decoder(manager.state_class).decode

    def state(self, process: Process) -> Any:
        """Return the state of a process. Raises msgspec's ValidationError where it is none of the manager's states."""
        return self._manager.initial if process.last is None else self._state_of(process.last)

    def step(self, process: Process, recorded: RecordedEvent, now: datetime) -> Step | None:
        """Return the step of a process on an event, or None if it has taken it already, or does nothing about it.

        Raises UnknownProcess for an event of a process that was never begun, InvalidReaction, and what the method raises.
        """
        manager, last = self._manager, process.last
        takes, key = manager.taken(recorded), manager.process_key(recorded)
        if takes is None or key is None or (last is not None and recorded.position <= last.input_position):
            return None
        deadlines = dict(last.deadlines) if last else {}
        if not _is_awaited(recorded, takes, process, manager, key):
            return None
        passed = deadlines.pop(recorded.event.name) if isinstance(recorded.event, DeadlinePassed) else None
        present = max([now, *([last.at] if last else []), *([passed.due_at] if passed else [])])
        state = self.state(process)
        reactions = manager.react(takes, recorded.event, state, Moment(present, recorded, key))
        if not reactions and passed is None:
            return None
        found = _Outcome(manager, process, state, deadlines, is_done=bool(last and last.is_done and not reactions))
        for reaction in reactions:
            found.take(reaction)
        id = UUID(bytes=derived_id(str(recorded.id), manager.name, key))
        advanced = ProcessAdvanced(
            manager.name,
            key,
            str(recorded.id),
            recorded.type,
            recorded.position,
            present,
            msgspec.to_builtins(found.state, str_keys=True),
            tuple(self._sent(id, number, one) for number, one in enumerate(found.commands)),
            found.deadlines,
            found.is_done,
        )
        return Step(id, advanced, reactions, found.state)

    def _state_of(self, last: ProcessAdvanced) -> Any:
        return self._decode(msgspec.json.encode(last.state))

    def _sent(self, step_id: UUID, number: int, send: Send) -> SentCommand:
        name, data = self._stored_form(send.command)
        id = UUID(bytes=derived_id(str(step_id), "command", str(number)))
        return SentCommand(str(id), name, data, send.at and send.at.astimezone(UTC))


class _Outcome:
    """Gathers the reactions of one step."""

    def __init__(
        self,
        manager: ProcessManager[Any],
        process: Process,
        state: Any,
        deadlines: dict[str, PendingDeadline],
        *,
        is_done: bool,
    ) -> None:
        self.state = state
        self.commands: list[Send] = []
        self.deadlines = deadlines
        self.is_done = is_done
        self._manager = manager
        self._version = process.version + 1

    def take(self, reaction: object) -> None:
        """Take in one reaction. Raises InvalidReaction."""
        match reaction:
            case Send(_, at):
                self._check_time(reaction, at)
                self.commands.append(reaction)
            case SetDeadline(name, at):
                self._check_time(reaction, at)
                if ("deadline", name) not in self._manager.takes:
                    raise InvalidReaction(
                        self._manager.name, reaction, f"no method is marked by @on_deadline({name!r})"
                    )
                self.deadlines[name] = PendingDeadline(at.astimezone(UTC), self._version)
            case CancelDeadline(name):
                self.deadlines.pop(name, None)
            case Become(state):
                if isinstance(self._manager.state_class, type) and not isinstance(state, self._manager.state_class):
                    raise InvalidReaction(
                        self._manager.name, reaction, f"its states are of {self._manager.state_class.__name__}"
                    )
                self.state = state
            case Done():
                self.is_done = True
                self.deadlines.clear()
            case _:
                raise InvalidReaction(
                    self._manager.name, reaction, "yield Send, SetDeadline, CancelDeadline, Become or Done"
                )

    def _check_time(self, reaction: object, at: object) -> None:
        if at is None and isinstance(reaction, Send):
            return
        if not isinstance(at, datetime) or at.utcoffset() is None:
            raise InvalidReaction(self._manager.name, reaction, "its time is no datetime with a time zone")
        try:
            at.astimezone(UTC)
        except OverflowError as error:
            raise InvalidReaction(
                self._manager.name, reaction, "its time is none of the years 1 to 9999 in UTC"
            ) from error


def _is_awaited(
    recorded: RecordedEvent, takes: Takes, process: Process, manager: ProcessManager[Any], key: str
) -> bool:
    """Tell whether a process has to do with an event. Raises UnknownProcess if there is no such process."""
    last, event = process.last, recorded.event
    if isinstance(event, DeadlinePassed):
        pending = last.deadlines.get(event.name) if last else None
        return pending is not None and pending.set_by == event.set_by
    if last is None and not takes.may_start:
        raise UnknownProcess(manager.name, key, recorded.type)
    return last is None or not last.is_done or takes.when_done
