"""What one sees of a race: its progress while it runs, then the history, the state now and before, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from subprocess import Popen, TimeoutExpired
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import sacho
from examples.conference.race import Race, Result
from examples.conference.seats import (
    ReservationCancelled,
    ReservationCommitted,
    Seats,
    SeatsAvailability,
)
from examples.conference.views import Availability, SeatAvailability, application, availability
from sacho import CommandHandler, EventStore, Query, QueryItem, RecordedEvent, Subscription

ROWS: Final = 6
PATIENCE_SECONDS: Final = 60.0


def watch(race: Race, console: Console) -> Result:
    """Run the race and show its progress, as the log tells it; return what came of it."""
    with sacho.connect(race.url, require={"cross-process"}) as store:
        race.put_on_sale(store)
        with race.running() as processes:
            _follow(store, race, processes, console)
            codes = [_exit_code(process) for process in processes]
        result = race.result(store)
    if any(codes):
        result.faults.append(f"the processes ended with {codes}")
    return result


def show(race: Race, result: Result, console: Console) -> None:
    """Show the entity's history, its states, the view of what is available, and the verdict."""
    with sacho.connect(race.url) as store:
        console.print(_history(store, race.stream))
        console.print(_states(store, race.stream))
        view = _available(store, race.conference_id)
    console.print(_availability(view))
    result.faults.extend(_differences(view, result))
    console.print(
        f"{result.registrants} registrants in {result.processes} processes: {result.complete} got all they wanted, "
        f"{result.partial} a part, {result.nothing} nothing; {result.cancelled} gave their seats back."
    )
    for fault in result.faults:
        console.print(f"[bold red]broken:[/] {fault}")
    if result.is_sound:
        console.print("[bold green]Not one seat was sold twice.[/]")


def _follow(store: EventStore, race: Race, processes: Sequence[Popen[bytes]], console: Console) -> None:
    """Follow the ends of reservations in the log until there is one for each registrant, or nobody races any more."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    query = Query(
        QueryItem(types=[ReservationCommitted, ReservationCancelled], tags=[f"conference:{race.conference_id}"])
    )
    with Progress(*columns, console=console, disable=console.quiet) as progress, store.subscribe(query) as live:
        task = progress.add_task("registrants", total=race.registrants)
        for _ in range(race.registrants):
            if not _one_more(live, processes):
                return
            progress.advance(task)


def _one_more(live: Subscription, processes: Sequence[Popen[bytes]]) -> bool:
    """Wait for one more event; give up when all processes have ended without it, or have become silent."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        has_ended = all(process.poll() is not None for process in processes)
        if live.next(timeout=0.2) is not None:
            return True
        if has_ended:
            break
    return False


def _exit_code(process: Popen[bytes]) -> int | str:
    try:
        return process.wait(PATIENCE_SECONDS)
    except TimeoutExpired:
        return "no end"


def _history(store: EventStore, stream: str) -> Table:
    table = Table(title=f"History of {stream}")
    for name in ("version", "time", "event", "what changed", "by", "command"):
        table.add_column(name, justify="right" if name == "version" else "left")
    first = list(store.read(stream, limit=ROWS))
    last = list(store.read(stream, backwards=True, limit=ROWS))[::-1]
    for recorded in first:
        table.add_row(*_row(recorded))
    if last and first and last[0].version and first[-1].version and last[0].version > first[-1].version + 1:
        table.add_row("…")
    for recorded in last:
        if recorded.version and first[-1].version and recorded.version > first[-1].version:
            table.add_row(*_row(recorded))
    return table


def _row(recorded: RecordedEvent) -> tuple[str, ...]:
    deltas = getattr(recorded.event, "deltas", {})
    changes = ", ".join(f"{delta:+} {seat_type}" for seat_type, delta in deltas.items())
    whose = getattr(recorded.event, "reservation_id", "")
    return (
        str(recorded.version),
        f"{recorded.recorded_at:%H:%M:%S.%f}"[:-3],
        recorded.type,
        f"{whose} {changes}".strip(),
        str(recorded.metadata.get("actor", "")),
        str(recorded.metadata.get("command", "")),
    )


def _states(store: EventStore, stream: str) -> Table:
    """Show what remained after the sale began, half-way and in the end, each by replay up to that version."""
    handler = CommandHandler(store, SeatsAvailability())
    last = handler.load(stream)
    table = Table(title="State by replay")
    for name in ("version", "remaining", "pending", "committed"):
        table.add_column(name, justify="right" if name == "version" else "left")
    for version in (3, last.version // 2, last.version):
        state = handler.load(stream, to=version).state
        table.add_row(str(version), _in_words(state.remaining), str(len(state.pending)), str(len(state.committed)))
    return table


def _available(store: EventStore, conference_id: str) -> dict[str, Availability]:
    """Let the views catch up with the log, and return what one says."""
    with application(store) as views:
        views.run(once=True)
        with views.reading(SeatAvailability) as view:
            return availability(view, conference_id)


def _availability(view: dict[str, Availability]) -> Table:
    table = Table(title="View of what is available")
    for name in ("seat type", "on sale", "available"):
        table.add_column(name, justify="left" if name == "seat type" else "right")
    for seat_type, one in view.items():
        table.add_row(seat_type, str(one.on_sale), str(one.available))
    return table


def _differences(view: dict[str, Availability], result: Result) -> list[str]:
    """Return where the view says something else than the audit."""
    audited = {kind: Availability(count, count - result.held[kind]) for kind, count in result.on_sale.items()}
    return [
        f"{kind} seats: the view says {view.get(kind)}, the audit {audited.get(kind)}"
        for kind in dict.fromkeys([*audited, *view])
        if view.get(kind) != audited.get(kind)
    ]


def _in_words(seats: Seats) -> str:
    return ", ".join(f"{quantity} {seat_type}" for seat_type, quantity in seats.items())
