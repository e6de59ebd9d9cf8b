"""Very many deadlines within a minute, and at one instant: none is missed, none passes twice. How late they were is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event

import pytest

from sacho.reacting.agenda import Agenda
from tests.proof import judging_processes, reminders
from tests.proof.process_programs import workers
from tests.proof.processes import WAIT, Count, Counted, until

ALLOWED_SECONDS = 2.0
A_MINUTE = 60.0
BEGUN_A_SECOND = 700
"""How many processes surely begin in a second, on a busy machine."""


def seconds_until(time: datetime) -> float:
    return max(0.0, (time - datetime.now(UTC)).total_seconds())


@pytest.mark.parametrize("spread", [pytest.param(A_MINUTE, id="in-a-minute"), pytest.param(0.0, id="at-one-instant")])
def test_ten_thousand_deadlines_pass_once_each_while_a_worker_is_killed(
    log_url: str, spread: float, soak_count: Count, counted: Counted
) -> None:
    count, pace = soak_count(10_000), Event()
    span = spread * count / 10_000
    with reminders.application(log_url) as app:
        app.prepare()
        with workers(reminders, log_url) as running:
            first = datetime.now(UTC) + timedelta(seconds=2 + count / BEGUN_A_SECOND)
            times = [first + timedelta(seconds=span * number / count) for number in range(count)]
            reminders.begin(app.store, times)
            for consumer in (reminders.Waiting, Agenda):
                assert app.wait_for(consumer, app.store.head(), WAIT)
            was_begun = seconds_until(first)
            pace.wait(seconds_until(first + timedelta(seconds=span / 2)))
            if spread:
                running.kill_one(Random(9))
            until(lambda: pace.wait(0.5) or judging_processes.is_at_rest(app))
        events = list(app.store.read_all())
    assert judging_processes.faults(events) == []
    passed, stepped = reminders.lateness(events)
    assert len(stepped) == count
    name = f"{log_url.partition(':')[0]}: {count} deadlines " + (
        f"in {span:g} s, a worker killed" if spread else "at once"
    )
    counted(f"{name}: passed", reminders.shown(passed, ALLOWED_SECONDS))
    counted(f"{name}: step taken", reminders.shown(stepped, ALLOWED_SECONDS))
    if not was_begun:
        counted(f"{name}: the processes had not begun before the first was due", "late by that")
