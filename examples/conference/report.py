"""What one sees of a race: its progress while it runs, then the history, the state now and before, and the verdict."""

from __future__ import annotations

import sys
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
from sacho import CommandHandler, EventStore, Query, QueryItem, RecordedEvent

ROWS: Final = 6
PATIENCE_SECONDS: Final = 60.0


def watch(race: Race, console: Console) -> Result:
    """Run the race and show its progress, as the log tells it; return what came of it."""
    with sacho.connect(race.url) as store:
        race.put_on_sale(store)
        processes = race.start()
        try:
            _follow(store, race, console)
            codes = [process.wait(PATIENCE_SECONDS) for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        result = race.result(store)
    if any(codes):
        result.faults.append(f"the processes ended with {codes}")
    return result


def show(race: Race, result: Result, console: Console) -> None:
    """Show the entity's history, its states, and the verdict."""
    with sacho.connect(race.url) as store:
        console.print(_history(store, race.stream))
        console.print(_states(store, race.stream))
    console.print(
        f"{result.registrants} registrants in {result.processes} processes: {result.complete} got all they wanted, "
        f"{result.partial} a part, {result.nothing} nothing; {result.cancelled} gave their seats back."
    )
    for fault in result.faults:
        console.print(f"[bold red]broken:[/] {fault}")
    if result.is_sound:
        console.print("[bold green]Not one seat was sold twice.[/]")


def _follow(store: EventStore, race: Race, console: Console) -> None:
    """Follow the ends of reservations in the log until there is one for each registrant."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    query = Query(
        QueryItem(types=[ReservationCommitted, ReservationCancelled], tags=[f"conference:{race.conference_id}"])
    )
    with Progress(*columns, console=console, disable=console.quiet) as progress, store.subscribe(query) as live:
        task = progress.add_task("registrants", total=race.registrants)
        for _ in range(race.registrants):
            if live.next(timeout=PATIENCE_SECONDS) is None:
                print(f"no registrant was done for {PATIENCE_SECONDS:g} s", file=sys.stderr)
                return
            progress.advance(task)


def _history(store: EventStore, stream: str) -> Table:
    table = Table(title=f"History of {stream}")
    for name in ("version", "time", "event", "what changed", "by"):
        table.add_column(name, justify="right" if name == "version" else "left")
    first = list(store.read(stream, limit=ROWS))
    last = list(store.read(stream, backwards=True, limit=ROWS))[::-1]
    for recorded in first:
        table.add_row(*_row(recorded))
    if last and first and last[0].version and first[-1].version and last[0].version > first[-1].version + 1:
        table.add_row("…", "", "", "", "")
    for recorded in last:
        if recorded.version and first[-1].version and recorded.version > first[-1].version:
            table.add_row(*_row(recorded))
    return table


def _row(recorded: RecordedEvent) -> tuple[str, ...]:
    changes = _in_words(getattr(recorded.event, "deltas", {}))
    whose = getattr(recorded.event, "reservation_id", "")
    return (
        str(recorded.version),
        f"{recorded.recorded_at:%H:%M:%S.%f}"[:-3],
        recorded.type,
        f"{whose} {changes}".strip(),
        str(recorded.metadata.get("actor", "")),
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


def _in_words(seats: Seats) -> str:
    return ", ".join(f"{quantity:+} {seat_type}" for seat_type, quantity in seats.items())
