"""A copy behind the events of another log: new positions, a map of them, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from random import Random
from uuid import UUID

import pytest

from sacho import EventData, EventStore, RawEvent
from sacho.errors import InvalidAppend, LogsDiffer, StreamClash, TargetHoldsOthers
from sacho.operations import Copied, PositionMap, PositionRange, copy_behind, digest
from sacho.storage.port import ImportedEvent, Row
from sacho.testing.conformance.building import noted
from tests.operations.logs import Interrupted, at, fill, found_by_names, grow, imported, interrupting, rows

COUNT = 2_600


@pytest.fixture
def own(target: EventStore) -> Callable[[], int]:
    """Appends an event of the target's own, and returns its position."""
    return lambda: target.append("own-1", [RawEvent("Own", "\x00")]).position


def check(source: EventStore, target: EventStore, done: Copied, own: int) -> None:
    """All events of the source stand where the map says, equal in all else; besides there are so many of the target's."""
    there = {row[0]: row for row in rows(target)}
    ours = rows(source)
    moved = [done.positions.moved(row[0]) for row in ours]
    assert [there[position][1:] for position in moved] == [row[1:] for row in ours]
    assert moved == sorted(moved)
    assert len(there) == len(ours) + own
    assert done.digest == digest(source)


def test_events_go_behind_those_of_the_target(source: EventStore, target: EventStore, own: Callable[[], int]) -> None:
    own()
    head = own()
    fill(source, COUNT)
    done = copy_behind(source, target)
    assert done.written == COUNT
    last = source.head()
    assert done.positions.ranges == (PositionRange(rows(source)[0][0], last, head + rows(source)[0][0], head + last),)
    check(source, target, done, own=2)
    assert found_by_names(target, target.head()) == found_by_names(source, last)


def test_an_empty_source_changes_nothing(source: EventStore, target: EventStore, own: Callable[[], int]) -> None:
    own()
    done = copy_behind(source, target)
    assert (done.written, done.positions, done.digest.events) == (0, PositionMap(), 0)
    assert len(rows(target)) == 1


def test_copying_again_writes_nothing_and_knows_all_places(
    source: EventStore, target: EventStore, own: Callable[[], int]
) -> None:
    own()
    fill(source, COUNT)
    first = copy_behind(source, target)
    own()
    again = copy_behind(source, target)
    assert (again.written, again.positions, again.digest) == (0, first.positions, first.digest)


def test_copying_again_catches_up_behind_what_came_meanwhile(
    source: EventStore, target: EventStore, own: Callable[[], int]
) -> None:
    own()
    fill(source, 500)
    copy_behind(source, target)
    own()
    grow(source)
    done = copy_behind(source, target)
    assert done.written == 4
    assert len(done.positions.ranges) == 2
    check(source, target, done, own=2)


@pytest.mark.parametrize(("step", "number"), [("copying", 1), ("copying", 2), ("copying", 3), ("verifying", 2)])
def test_an_interrupted_copy_goes_on(
    source: EventStore, target: EventStore, own: Callable[[], int], step: str, number: int
) -> None:
    own()
    fill(source, COUNT)
    with pytest.raises(Interrupted):
        copy_behind(source, target, progress=interrupting(step, number))
    own()
    there = len(rows(target)) - 2
    done = copy_behind(source, target)
    assert done.written == COUNT - there
    check(source, target, done, own=2)


def test_the_target_may_be_in_use_meanwhile(source: EventStore, target: EventStore, own: Callable[[], int]) -> None:
    fill(source, COUNT)
    own()
    done = copy_behind(source, target, progress=at("copying", 2, own))
    check(source, target, done, own=2)


def test_who_appends_at_the_last_instant_is_given_way(
    source: EventStore, target: EventStore, own: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice for one batch: after its place was chosen, before it is written."""
    fill(source, COUNT)
    original, left = target.storage.import_events, [2]

    def late(events: object) -> int:
        if left[0]:
            left[0] -= 1
            own()
        return original(events)  # type: ignore[arg-type]

    monkeypatch.setattr(target.storage, "import_events", late)
    done = copy_behind(source, target)
    assert done.positions.ranges[0].new_first > 1_000
    check(source, target, done, own=2)


def test_who_is_never_given_a_place_is_told(
    source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source, 10)

    def never(events: object) -> int:
        raise InvalidAppend("position taken")

    monkeypatch.setattr(target.storage, "import_events", never)
    with pytest.raises(InvalidAppend, match="position taken"):
        copy_behind(source, target)


def test_the_same_events_written_by_two_stand_there_once(
    source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another copy of the same source is faster with one batch, at the last instant."""
    fill(source, COUNT)
    original, left = target.storage.import_events, [1]

    def late(events: object) -> int:
        if left[0]:
            left[0] -= 1
            copy_behind(source, target)
        return original(events)  # type: ignore[arg-type]

    monkeypatch.setattr(target.storage, "import_events", late)
    done = copy_behind(source, target)
    check(source, target, done, own=0)


def test_another_copy_that_is_faster_is_no_clash(
    source: EventStore, target: EventStore, own: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes the events just after it was looked for them again, before it is asked why they cannot be written."""
    fill(source, 100)
    find, import_events, calls = target.storage.find, target.storage.import_events, count()

    def stale(ids: Sequence[bytes]) -> list[Row]:
        found = find(ids)
        if next(calls) == 1:
            copy_behind(source, target)
        return found

    def taken(events: Iterable[ImportedEvent]) -> int:
        monkeypatch.setattr(target.storage, "import_events", import_events)
        raise InvalidAppend("position taken")

    monkeypatch.setattr(target.storage, "find", stale)
    monkeypatch.setattr(target.storage, "import_events", taken)
    check(source, target, copy_behind(source, target), own=0)


# --- clashes ------------------------------------------------------------------------------------------


def test_a_stream_with_other_events_is_found_before_anything_is_written(
    source: EventStore, target: EventStore, own: Callable[[], int]
) -> None:
    fill(source, COUNT)
    own()
    source.append("own-1", [RawEvent("Other", 1)])
    before = rows(target)
    with pytest.raises(StreamClash, match="'own-1'") as clash:
        copy_behind(source, target)
    assert (clash.value.stream, clash.value.version) == ("own-1", 1)
    assert rows(target) == before


def test_a_stream_that_went_on_otherwise_is_found_with_its_version(source: EventStore, target: EventStore) -> None:
    fill(source, 100)
    copy_behind(source, target)
    target.append("orders", [RawEvent("Own", 1), RawEvent("Own", 2)])
    assert copy_behind(source, target).written == 0
    source.append("orders", [RawEvent("Other", 1)])
    version, before = source.version("orders"), rows(target)
    with pytest.raises(StreamClash) as clash:
        copy_behind(source, target)
    assert (clash.value.stream, clash.value.version) == ("orders", version)
    assert rows(target) == before


def test_a_stream_that_somebody_appends_to_meanwhile_is_found(source: EventStore, target: EventStore) -> None:
    fill(source, COUNT, gaps=False)
    first = at("copying", 2, lambda: target.append("seats-2", [RawEvent("Own", 1)]))
    version = sum(row[1] == "seats-2" for row in rows(source)[:1_000]) + 1
    with pytest.raises(StreamClash) as clash:
        copy_behind(source, target, progress=first)
    assert (clash.value.stream, clash.value.version) == ("seats-2", version)
    there = [row[6] for row in rows(target) if row[3] != "Own"]
    assert there == [row[6] for row in rows(source)[: len(there)]]


def test_an_id_that_is_another_event_is_found(source: EventStore, target: EventStore) -> None:
    id = UUID(int=7)
    source.append(None, [EventData(RawEvent("A", 1), id=id)])
    place = target.append(None, [EventData(RawEvent("A", 2), id=id)]).position
    with pytest.raises(TargetHoldsOthers, match="has the id") as refused:
        copy_behind(source, target)
    assert refused.value.position == place


def test_events_that_are_there_in_another_order_are_refused(source: EventStore, target: EventStore) -> None:
    first, second = ImportedEvent(1, None, None, noted(), 1), ImportedEvent(2, None, None, noted(), 2)
    source.storage.import_events([first, second])
    target.storage.import_events([second._replace(position=1), first._replace(position=2)])
    with pytest.raises(LogsDiffer, match="stands at 1") as differ:
        copy_behind(source, target)
    assert differ.value.position == 2


def test_an_event_behind_which_earlier_ones_are_missing_is_refused_before_it_is_written(
    source: EventStore, target: EventStore
) -> None:
    first, second = ImportedEvent(1, None, None, noted(), 1), ImportedEvent(2, None, None, noted(), 2)
    source.storage.import_events([first, second])
    target.storage.import_events([second])
    with pytest.raises(LogsDiffer):
        copy_behind(source, target)
    assert len(rows(target)) == 1


def test_what_the_target_wrote_otherwise_is_found_in_the_end(
    source: EventStore, target: EventStore, own: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own()
    events = imported(Random(3), 1_500)
    source.storage.import_events(events)
    original = target.storage.import_events

    def wrong(given: list[ImportedEvent]) -> int:
        return original(
            [one._replace(recorded_at=7) if one.event.id == events[1_200].event.id else one for one in given]
        )

    monkeypatch.setattr(target.storage, "import_events", wrong)
    with pytest.raises(LogsDiffer, match="other time") as differ:
        copy_behind(source, target)
    assert differ.value.position == events[1_200].position


# --- the map ------------------------------------------------------------------------------------------


def test_a_moved_checkpoint_has_seen_the_same_events(source: EventStore, target: EventStore) -> None:
    fill(source, 300, seed=9)
    target.append("own-1", [RawEvent("Own", 1)])
    copy_behind(source, target)
    target.append("own-1", [RawEvent("Own", 2)])
    grow(source)
    done = copy_behind(source, target)
    there = {row[6]: row[0] for row in rows(target)}
    places = [(row[0], there[row[6]]) for row in rows(source)]
    for checkpoint in {0, *(old + step for old, _ in places for step in (-1, 0, 1))}:
        moved = done.positions.moved(checkpoint)
        assert [old for old, _ in places if old <= checkpoint] == [old for old, new in places if new <= moved]


def test_a_map_says_nothing_of_what_stands_before_it() -> None:
    places = PositionMap((PositionRange(5, 9, 15, 19), PositionRange(12, 12, 30, 30)))
    assert [places.moved(position) for position in (0, 4, 5, 7, 9, 10, 12, 99)] == [0, 0, 15, 17, 19, 19, 30, 30]
