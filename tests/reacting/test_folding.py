"""`fold`: a view that is made when it is asked for, of now or of any moment before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

import sacho
from sacho import Event, EventStore, Query, QueryItem
from sacho.errors import InvalidQuery
from sacho.reacting import Folded, fold
from tests.conftest import ENGINES
from tests.reacting.domain import until as wait_until


class Rung(Event, type="FoldedRung", tags=("bell:{bell}",)):
    bell: str
    times: int


def added(state: int, event: Rung) -> int:
    return state + event.times


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fold_is_of_a_stream_or_a_query_up_to_a_version_position_or_time(
    engine: str, url_of: Callable[[str], str]
) -> None:
    with sacho.connect(url_of(engine)) as store:
        first = store.append("bells-1", [Rung("a", 1), Rung("b", 2)])
        between = _after(store)
        last = store.append("bells-1", [Rung("a", 4)])
        store.append("bells-2", [Rung("a", 8)])
        bell = Query(QueryItem(tags=["bell:a"]))
        assert fold(store, added, 0, "bells-1").state == 7
        assert fold(store, added, 0, "bells-1", until=2).state == 3
        assert fold(store, added, 0, "bells-1", until=between).state == 3
        assert fold(store, added, 0, bell) == Folded(13, store.head())
        assert fold(store, added, 0, bell, until=last.position) == Folded(5, last.position)
        assert fold(store, added, 0, bell, until=between) == Folded(1, first.position)
        assert fold(store, added, 0, "bells-none").state == 0


def _after(store: EventStore) -> datetime:
    """Return a time after all that is recorded, and before what comes."""
    recorded = max(one.recorded_at for one in store.read_all())
    wait_until(lambda: datetime.now(UTC) > recorded)
    found = datetime.now(UTC)
    wait_until(lambda: datetime.now(UTC) > found)
    return found


def test_what_is_neither_a_stream_nor_a_query_is_refused() -> None:
    with sacho.connect("memory://") as store, pytest.raises(InvalidQuery, match="neither"):
        fold(store, added, 0, 3)  # type: ignore[arg-type]
