"""Workers that are killed, or stopped and passed, at any instant: each process takes each step once, and all of them end."""

from __future__ import annotations

import signal
from random import Random
from threading import Event

from sacho.events import CommandTurnedDown, DeadlinePassed, ProcessAdvanced
from sacho.reacting import Application
from tests.proof import judging_processes, purchases
from tests.proof.process_programs import LEASE_SECONDS, placing, workers
from tests.proof.processes import Count, Counted, until

PAUSE = 0.03
PACE = Event()
SURELY_ALL_KINDS = 20
"""In so many rounds deadlines pass and commands are refused, however slow the machine is."""


def check(app: Application, rounds: int) -> str:
    """Let all come to its end and judge it; return how much there was."""
    with app.running(lease_seconds=LEASE_SECONDS):
        until(lambda: PACE.wait(0.1) or judging_processes.is_at_rest(app))
    events = list(app.store.read_all())
    assert judging_processes.faults(events) == []
    assert purchases.faults(events) == []
    kinds = (purchases.Wanted, ProcessAdvanced, DeadlinePassed, CommandTurnedDown)
    counts = [sum(isinstance(one.event, kind) for one in events) for kind in kinds]
    assert all(counts[1:] if rounds >= SURELY_ALL_KINDS else counts[1:2])
    return "{} processes, {} steps, {} deadlines, {} refusals".format(*counts)


def test_workers_killed_at_random_instants_leave_every_process_ended_and_every_step_once(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    chance, rounds, pace = Random(7), soak_count(60), Event()
    with purchases.application(log_url) as app:
        app.prepare()
        with workers(purchases, log_url) as running, placing(purchases, app, PAUSE):
            for _ in range(rounds):
                pace.wait(chance.uniform(0, 0.5))
                running.kill_one(chance)
        found = check(app, rounds)
    counted(f"{log_url.partition(':')[0]}: workers of processes killed / all ended, each step once", (rounds, found))


def test_a_worker_that_is_stopped_beyond_its_lease_and_goes_on_does_nothing_twice(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    chance, rounds, pace = Random(8), soak_count(20), Event()
    with purchases.application(log_url) as app:
        app.prepare()
        with workers(purchases, log_url) as running, placing(purchases, app, PAUSE):
            for _ in range(rounds):
                pace.wait(chance.uniform(0, 0.3))
                stopped = chance.choice(running.alive)
                stopped.send_signal(signal.SIGSTOP)
                pace.wait(LEASE_SECONDS * chance.uniform(1.1, 2.0))
                stopped.send_signal(signal.SIGCONT)
        found = check(app, rounds)
    counted(f"{log_url.partition(':')[0]}: workers of processes stopped and passed / each step once", (rounds, found))
