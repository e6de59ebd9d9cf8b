"""A poison event holds up its own key only; mended and tried again, the view is exact, whatever is killed on the way."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import sqlalchemy as sa

from sacho import RecordedEvent
from sacho.errors import KeyParked
from sacho.reacting import Application
from tests.proof.consumer_programs import LEASE_SECONDS, TOTAL, Entered, Poisoned
from tests.proof.consuming import check_sums, enter, program
from tests.proof.processes import WAIT, Count, Counted, until

ROUND = 200
"""How many events come before, and while, parked ones are tried again."""


@contextmanager
def running(url: str, *, is_mended: bool) -> Iterator[Application]:
    with Application(url, consumers=[Poisoned(is_mended=is_mended)]) as app, app.running(lease_seconds=LEASE_SECONDS):
        yield app


def reached(app: Application) -> None:
    """Wait until all is handled, or parked."""
    with suppress(KeyParked):  # the last event may be
        assert app.wait_for(Poisoned, app.store.head(), WAIT)


def check_held_back(app: Application, mended_at: int) -> int:
    """The keys of poison events that came after a position stand before the first of them, all else is done; in order."""
    streams: dict[str, list[RecordedEvent]] = defaultdict(list)
    for recorded in app.store.read_all():
        streams[recorded.event.account].append(recorded)
    expected, parked = {}, {}
    for account, events in streams.items():
        bad = [n for n, one in enumerate(events) if one.event.is_poison and one.position > mended_at]
        free = events[: bad[0]] if bad else events
        if free:
            expected[account] = (len(free), sum(one.event.amount for one in free))
        parked.update({one.position: (f"accounts-{account}", one is events[bad[0]]) for one in events[len(free) :]})
    with app.reading(Poisoned) as view:
        rows = list(view.execute(sa.select(Poisoned.rows).where(Poisoned.rows.c.account != TOTAL)))
    assert {row.account: (row.events, row.amount) for row in rows} == expected
    assert [row for row in rows if row.faults] == []
    found = app.administration.parked(Poisoned)
    assert {one.position: (one.key, one.error is not None) for one in found} == parked
    return len(parked)


def poison_some(app: Application, chance: Random) -> None:
    """Have events come, some of which are poison."""
    for number in range(ROUND):
        enter(app, chance, is_poison=number % 40 == 20)


def left_by_the_killed(app: Application, url: str, chance: Random, waiting: int, *, kills_itself: bool) -> int:
    """Ask for a retry, have more events come, and have the worker die at a random instant; return how many are left parked.

    It kills itself with an event in hand, which leaves some for sure, or is killed from outside, wherever it is.
    """
    left, dies_at = chance.randrange(waiting), chance.randint(1, waiting)
    with program("mended", url, dies_at if kills_itself else 0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        app.administration.retry(Poisoned)
        if kills_itself:
            until(lambda: enter(app, chance) and process.poll() is not None)
            assert process.returncode == -signal.SIGKILL
        else:
            until(lambda: enter(app, chance) and len(app.administration.parked(Poisoned)) <= left)
    return len(app.administration.parked(Poisoned))


def test_what_waits_behind_a_poison_event_goes_on_after_who_tried_it_again_was_killed(log_url: str) -> None:
    with Application(log_url, consumers=[Poisoned(is_mended=False)]) as app:
        with running(log_url, is_mended=False):
            app.store.append("accounts-a", [Entered("a", number, is_poison=number == 1) for number in range(1, 6)])
            until(lambda: len(app.administration.parked(Poisoned)) == 5)
        app.administration.retry(Poisoned)
        with program("mended", log_url, 3) as process:
            assert process.wait(WAIT) == -signal.SIGKILL
        assert [row.error for row in app.administration.parked(Poisoned)] == [None] * 3
        app.administration.retry(Poisoned)
        with running(log_url, is_mended=True):
            until(lambda: not app.administration.parked(Poisoned))
        assert check_sums(app, Poisoned) == 5


def test_a_key_that_is_tried_again_is_exact_and_in_order_whoever_is_killed(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    chance, kills, mended_at, parked, left = Random(11), soak_count(30), 0, 0, []
    with Application(log_url, consumers=[Poisoned(is_mended=False)]) as app:
        for number in range(kills):
            with running(log_url, is_mended=False):
                poison_some(app, chance)
                reached(app)
            waiting = check_held_back(app, mended_at)
            parked += waiting
            left.append(left_by_the_killed(app, log_url, chance, waiting, kills_itself=number % 2 == 0))
            with running(log_url, is_mended=True):
                until(lambda: not app.administration.parked(Poisoned))
                reached(app)
            mended_at = app.store.head()
            events = check_sums(app, Poisoned)
    assert all(left[::2])  # those who killed themselves
    counted(
        f"{log_url.partition(':')[0]}: workers killed while they tried parked events again / those parked,"
        " and left by the killed / events exact and in order",
        (kills, parked, sum(left), events),
    )
