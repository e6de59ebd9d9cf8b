"""`sacho processes …`: which process managers' processes run, are done or stuck; one of them in detail; to retry one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

import cyclopts
from cyclopts import Parameter, validators

from sacho.cli.lines import as_json
from sacho.cli.options import Json
from sacho.cli.running import App, application_of
from sacho.cli.showing import is_narrow, say, say_facts, say_lines, show_rows
from sacho.reacting import ProcessDetail, ProcessStatus
from sacho.reacting.processes.overview import Standing

Kind = Annotated[str, Parameter(help="The process manager's name.")]
Key = Annotated[str, Parameter(help="The key of the process, such as the order's id.")]

MOST_MINUTES: Final = 100 * 366 * 24 * 60

processes = cyclopts.App(name="processes")


def _checked_minutes(_: type, minutes: float | None) -> None:
    if minutes is not None and not 0 <= minutes <= MOST_MINUTES:  # NaN is neither
        raise ValueError(f"Must be from 0 to {MOST_MINUTES}, a hundred years.")


@processes.command(name="list")
def list_(
    kind: Annotated[str | None, Parameter(help="Only the processes of this process manager.")] = None,
    *,
    app: App,
    only: Annotated[Standing | None, Parameter(help="Only those that run, are done, or are stuck.")] = None,
    idle_minutes: Annotated[
        float | None, Parameter(help="Only those that took no step for so many minutes.", validator=_checked_minutes)
    ] = None,
    limit: Annotated[int, Parameter(help="At most so many.", validator=validators.Number(gte=0))] = 100,
    json: Json = False,
) -> None:
    """List processes, those that took a step longest ago first."""
    with application_of(app) as opened:
        idle = None if idle_minutes is None else timedelta(minutes=idle_minutes)
        found = opened.administration.processes.find(kind, only=only, idle_for=idle, limit=limit)
    if json:
        say_lines(as_json({**one._asdict(), "standing": one.standing}) for one in found)
    elif is_narrow():
        show_rows(
            ("process", "key", "standing", "why"),
            [(one.process, one.key, one.standing, one.stuck or "") for one in found],
        )
    else:
        columns = ("process", "key", "standing", "steps", "last step", "by", "next deadline", "why")
        show_rows(columns, [_row(one) for one in found])


@processes.command
def show(kind: Kind, key: Key, *, app: App, json: Json = False) -> None:
    """Show one process: its state, its deadlines, its steps with what they sent, and what of it is parked."""
    with application_of(app) as opened:
        found = opened.administration.processes.show(kind, key)
    if json:
        parked = [one._asdict() for one in found.parked]
        say(as_json({**found._asdict(), "steps": [step.event for step in found.steps], "parked": parked}))
        return
    say_facts(
        {
            "process": found.process,
            "key": found.key,
            "stream": found.stream,
            "done": "yes" if found.is_done else "no",
            "state": as_json(found.state),
            "deadlines": ", ".join(f"{name} at {_time(at)}" for name, at in sorted(found.deadlines.items())),
        },
        json=False,
    )
    _show_steps(found)
    for one in found.parked:
        say(f"parked: {one.consumer} at position {one.position}: {one.error or 'waits behind another'}")


@processes.command
def retry(kind: Kind, key: Key, *, app: App) -> None:
    """Have what is parked of a process tried again, by whoever runs it."""
    with application_of(app) as opened:
        count = opened.administration.processes.retry(kind, key)
    say(f"{count} parked event{'s' * (count != 1)} of {kind} {key} will be tried again by the runner")


def _show_steps(found: ProcessDetail) -> None:
    rows = []
    for recorded in found.steps:
        step = recorded.event
        sent = ", ".join(f"{one.command}{f' at {_time(one.due_at)}' if one.due_at else ''}" for one in step.commands)
        rows.append((recorded.version, _time(step.at), step.input_type, step.input_position, sent, as_json(step.state)))
    if rows:
        show_rows(("step", "at", "by", "position", "sent", "state"), rows)


def _row(one: ProcessStatus) -> tuple[object, ...]:
    due = _time(one.next_due) if one.next_due else ""
    return (
        one.process,
        one.key,
        one.standing,
        one.version,
        _time(one.advanced_at) if one.version else "",
        one.last_input,
        due,
        one.stuck or "",
    )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
