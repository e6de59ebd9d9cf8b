"""What the organiser learns from history, at the terminal: how far orders come, how seats go, when, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table

from examples.conference.read_models import READ_MODELS
from examples.conference.read_models.conferences import ConferencePage, ConferencePages
from examples.conference.read_models.journeys import (
    OrderJourneys,
    Step,
    busiest_minutes,
    journey_funnel,
    time_to_pay,
)
from examples.conference.views import SalesByMinute, sell_out
from sacho import EventStore
from sacho.reacting import Application

WIDTH: Final = 40
LEVELS: Final = " ▁▂▃▄▅▆▇█"


def insight(store: str | EventStore, console: Console) -> int:
    """Bring the views of a log up to date and show each conference's figures; return how many conferences there are.

    Only views are run here, no processes: looking changes nothing.
    """
    with Application(store, consumers=READ_MODELS) as app:
        app.run(once=True)
        with app.reading(ConferencePages) as view:
            conferences = view.find()
        for conference_id, page in conferences:
            console.print(_figures(app, conference_id, page))
    return len(conferences)


def _figures(app: Application, conference_id: str, page: ConferencePage) -> RenderableType:
    with app.reading(OrderJourneys) as view:
        steps = journey_funnel(view, conference_id)
        minutes = busiest_minutes(view, conference_id, limit=3)
        times = time_to_pay(view, conference_id)
    with app.reading(SalesByMinute) as view:
        curves = sell_out(view, conference_id)
    busy = ", ".join(f"{minute} ({orders} orders)" for minute, orders in minutes) or "none"
    took = "no order was paid" if times is None else f"half of the orders were paid within {times.median:.0f} s"
    return Group(_funnel(page.details.name, steps), _sales(page, curves), f"busiest minutes: {busy}; {took}")


def _funnel(name: str, steps: Sequence[Step]) -> Table:
    table = Table("orders", "reached", "", "ended there", title=f"{name}: from order to payment")
    most = max(1, steps[0].reached)
    for step in steps:
        table.add_row(step.stage, str(step.reached), "█" * round(WIDTH * step.reached / most), str(step.dropped or ""))
    return table


def _sales(page: ConferencePage, curves: dict[str, list[tuple[str, int]]]) -> Table:
    table = Table("seat type", "minute by minute", "taken", "left", title="how seats went")
    for seat_type, one in page.seat_types.items():
        taken = [seats for _, seats in curves.get(seat_type, [])]
        left = page.available.get(seat_type, 0)
        table.add_row(one.name, sparkline(taken, most=one.quantity), str(taken[-1] if taken else 0), str(left))
    return table


def sparkline(values: Sequence[int], *, most: int) -> str:
    """Return a chart of one line: a block for each value, as high as its part of the most; the last ones where they are many."""
    steps = len(LEVELS) - 1
    return "".join(LEVELS[min(steps, -(-steps * max(value, 0) // max(1, most)))] for value in values[-WIDTH:])
