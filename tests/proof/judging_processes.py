"""What holds of the processes of any application at the end, judged by its log alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from sacho import RecordedEvent
from sacho.events import CommandDue, CommandStored, CommandTurnedDown, DeadlinePassed, ProcessAdvanced
from sacho.reacting import Application
from sacho.reacting.agenda import Agenda


def is_at_rest(app: Application, lasting: frozenset[str] = frozenset()) -> bool:
    """Tell whether every process has ended, but for the lasting kinds, no command is due later, and all have come to the log's end."""
    head = app.store.head()
    if not app.wait_for(Agenda, head):
        return False
    with app.reading(Agenda) as view:
        if view.execute(sa.select(Agenda.agenda.c.id).where(Agenda.agenda.c.kind == "command").limit(1)).first():
            return False
    running = {one.process for one in app.administration.processes.find(only="running", limit=1_000)}
    return (
        running <= lasting
        and all(one.lag_events == 0 for one in app.administration.status())
        and app.store.head() == head
    )


def faults(events: Sequence[RecordedEvent]) -> list[str]:
    """Return what was taken, sent, called or told twice or not at all, and which links to causes lead nowhere."""
    steps, passed, commands, told = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    effects: dict[str, set[str]] = {}
    due: set[str] = set()
    for one in events:
        event = one.event
        match event:
            case ProcessAdvanced():
                steps[f"{event.process} {event.key} {event.input_id}"] += 1
                commands.update(sent.id for sent in event.commands)
                due.update(sent.id for sent in event.commands if sent.due_at is not None)
            case DeadlinePassed():
                passed[f"{event.process} {event.key} {event.name} {event.set_by}"] += 1
            case CommandTurnedDown():
                told[event.command_id] += 1
            case CommandDue():
                commands[f"due {event.command_id}"] += 1
                due.discard(event.command_id)
            case CommandStored() if event.due_at is not None:
                due.add(event.command_id)
            case _ if "command_id" in one.metadata:
                effects.setdefault(str(one.metadata["command_id"]), set()).add(str(one.stream))
    twice = [one for counter in (steps, passed, commands, told) for one, times in counter.items() if times > 1]
    found = [f"twice: {one}" for one in twice]
    found += [f"refused, and effective: {one}" for one in told if one in effects]
    found += [f"due, and never called: {one}" for one in due]
    found += [f"effective in several streams: {one}" for one, streams in effects.items() if len(streams) > 1]
    return found + broken_links(events)


def broken_links(events: Sequence[RecordedEvent]) -> list[str]:
    """Return events of Sacho's own, and of commands that it sent, whose cause is not in the log before them, or whose talk is another."""
    by_id = {str(one.id): one for one in events}
    found: list[str] = []
    for one in events:
        is_ours = one.type.startswith("sacho.") and not isinstance(one.event, CommandStored)
        if not is_ours and "command_id" not in one.metadata:
            continue
        cause = by_id.get(str(one.metadata.get("causation_id")))
        if cause is None or cause.position >= one.position:
            found.append(f"{one.type} at {one.position} has no cause")
        elif one.metadata.get("correlation_id") != (cause.metadata.get("correlation_id") or str(cause.id)):
            found.append(f"{one.type} at {one.position} is of another talk than {cause.type}, its cause")
    return found
