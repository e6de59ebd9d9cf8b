"""The conference's registration with workers that are killed at any instant: at the end every invariant holds."""

from __future__ import annotations

from collections import Counter
from random import Random
from threading import Event

from tests.proof import bookings, judging_processes
from tests.proof.process_programs import LEASE_SECONDS, placing, workers
from tests.proof.processes import Count, Counted, until

PAUSE = 0.04
PACE = Event()


def test_the_registration_is_sound_at_the_end_however_often_its_workers_were_killed(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    chance, rounds, pace = Random(11), soak_count(50), Event()
    with bookings.application(log_url) as app:
        app.prepare()
        bookings.begin(app)
        with app.running():
            until(lambda: PACE.wait(0.1) or judging_processes.is_at_rest(app, bookings.LASTING))
        with workers(bookings, log_url) as running, placing(bookings, app, PAUSE):
            for _ in range(rounds):
                pace.wait(chance.uniform(0, 0.5))
                running.kill_one(chance)
        with app.running(lease_seconds=LEASE_SECONDS):
            until(lambda: PACE.wait(0.1) or judging_processes.is_at_rest(app, bookings.LASTING))
            parked = [(str(one), one.parked) for one in app.administration.status() if one.parked]
        events = list(app.store.read_all())
    assert parked == []
    assert judging_processes.faults(events) == []
    assert bookings.faults(events) == []
    counts = Counter(one.type for one in events)
    kinds = ("OrderPlaced", "OrderConfirmed", "OrderExpired", "PaymentCompleted", "PaymentRefunded", "SeatsOffered")
    assert counts["OrderPlaced"]
    assert counts["OrderConfirmed"] or rounds < 50
    found = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    counted(f"{log_url.partition(':')[0]}: workers of the registration killed / all invariants hold", (rounds, found))
