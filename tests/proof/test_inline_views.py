"""Processes that append to a log with an inline view: however they end, the view has each event once."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from sacho.events import Query
from sacho.testing.conformance.building import everything, matching
from sacho.testing.conformance.inline_views import Totals
from tests.proof.inline_views import opened
from tests.proof.processes import Count, Counted, finished, started, until

PROCESSES = 3


def test_a_view_has_each_event_whoever_appends_is_killed_or_comes_without_it(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    """It is registered amid the appends of processes with it, which go on, and without it, which are refused."""
    each = soak_count(5_000)
    storage = opened(log_url)
    view = Totals(storage)

    def finish(position: int, connection: Any) -> None:
        view.make(connection, len(matching(storage, Query(), to=position)), position)

    with ExitStack() as stack:
        start = partial(_start, stack, log_url)
        with_view = [start("append_with_view", seed, each) for seed in range(PROCESSES)]
        doomed = [start("append_with_view", f"doomed{seed}", 100 * each) for seed in range(PROCESSES)]
        without = [start("append_without_view", f"without{seed}", 1_000 * each) for seed in range(PROCESSES)]
        until(lambda: _are_there(storage, len(with_view) + len(doomed) + len(without)))
        storage.register_inline([view.name], finish)
        refused = finished(*without)
        for process in doomed:
            process.kill()
            process.wait()
        finished(*with_view)
    whole = everything(storage)
    assert sum(1 for row in whole if str(row[1]).startswith("seats-without")) == sum(refused)
    assert view.row() == (len(whole), whole[-1][0])
    counted("events of processes with an inline view, some killed", len(whole))
    storage.close()


def _start(stack: ExitStack, url: str, name: str, *arguments: object) -> Any:
    return stack.enter_context(started(f"inline_views.{name}", url, *arguments))


def _are_there(storage: Any, count: int) -> bool:
    return sum(len(page) for page in storage.streams(category=None, after="", limit=None)) == count
