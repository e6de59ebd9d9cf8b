"""PostgreSQL's conditions: no append stands behind an event that its condition excluded, whatever happens beside it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

import sacho
from tests.proof.disturbing import foreign, killing, named
from tests.proof.judging import check_batches, check_log, check_sound
from tests.proof.processes import Count, Counted, finished, started
from tests.proof.test_races import violations

PROCESSES = 4
SLOWEST = 0.004


@pytest.mark.parametrize("breaks", [False, True], ids=["sacho", "without the locks of keys"])
def test_no_condition_is_violated(postgres_url: str, breaks: bool, soak_count: Count, counted: Counted) -> None:
    """20 connections with random queries, slow to commit; some roll back, some are killed, beside all that others hold.

    By the order of positions no append stands behind an event that its condition excluded. Without the locks of keys
    many do: the proof can fail. Appends on conditions that nobody else touches never fail.
    """
    url, appends = named(postgres_url), soak_count(4_000 if breaks else 34_000)
    with ExitStack() as stack:
        with sacho.connect(postgres_url):
            pass
        stack.enter_context(foreign(postgres_url))
        killed = stack.enter_context(killing(postgres_url, 0.2))
        arguments = (appends // PROCESSES, SLOWEST, "of streams" if breaks else "of keys and streams")
        racers = [
            stack.enter_context(started("slow_conditions.race", url, seed, *arguments)) for seed in range(PROCESSES)
        ]
        told = finished(*racers)
    with sacho.connect(postgres_url) as store:
        events = check_log(store)
    check_sound(postgres_url)
    check_batches(events, side_by_side=False)
    won, violated = violations([one for one in events if one.event.data["query"]])
    refused, alone, failed = (sum(one[fact] for one in told) for fact in ("refused", "alone", "alone, refused"))
    assert (violated > 0) is breaks
    assert failed == 0
    assert alone > 0
    how = " without locks" * breaks
    counted(f"conditional appends in disorder{how}: won, violated, refused", f"{won}, {violated}, {refused}")
    counted(f"appends on a condition of one's own{how}: all, refused", f"{alone}, {failed}")
    counted(f"conditional appends in disorder{how}: backends killed", len(killed))
