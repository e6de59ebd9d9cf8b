"""A copy is equal in everything, goes on where it was cut off, and never mixes two logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec
import pytest

from sacho import EventData, EventStore, RawEvent
from sacho.errors import DuplicateEventId, InvalidAppend, LogsDiffer, TargetHoldsOthers
from sacho.operations import PositionRange, Progress, copy, digest, verify
from sacho.storage.port import ImportedEvent
from sacho.testing.conformance.building import noted
from tests.operations.conftest import Opened
from tests.operations.logs import Interrupted, at, fill, found_by_names, grow, imported, interrupting, rows

COUNT = 2_600
"""More than two batches, and than one page."""


def test_a_copy_is_equal_in_everything(source: EventStore, target: EventStore) -> None:
    fill(source, COUNT)
    grow(source)
    done = copy(source, target)
    assert rows(target) == rows(source)
    assert target.head() == source.head()
    assert found_by_names(target, target.head()) == found_by_names(source, source.head())
    assert list(target.streams()) == list(source.streams())
    assert target.categories() == source.categories()
    assert (done.written, done.digest) == (COUNT + 4, digest(source))
    assert done.positions.ranges == (PositionRange(1, source.head(), 1, source.head()),)


def test_a_copied_log_goes_on_like_its_source(source: EventStore, target: EventStore) -> None:
    fill(source, 300)
    copy(source, target)
    version = source.version("seats-1")
    done = [store.append("seats-1", [RawEvent("Next", 1)], expected=version) for store in (source, target)]
    assert done[0] == done[1]


def test_an_id_that_was_copied_stays_taken(source: EventStore, target: EventStore) -> None:
    event = EventData(RawEvent("Once", 1), tags=["k:1"], id=None)
    source.append("seats-1", [event])
    copy(source, target)
    (there,) = source.read("seats-1", raw=True)
    again = EventData(RawEvent("Once", 1), id=there.id, tags=["k:1"])
    assert target.append("seats-1", [again], expected=0).position == 1
    with pytest.raises(DuplicateEventId):
        target.append("seats-1", [EventData(RawEvent("Once", 2), id=there.id)])


def test_an_empty_log_has_an_empty_copy(source: EventStore, target: EventStore) -> None:
    done = copy(source, target)
    assert (done.written, done.digest.events, done.positions.ranges) == (0, 0, ())
    assert done.digest == digest(source)
    assert target.head() == 0


def test_large_events_are_copied_a_few_at_a_time(
    source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [ImportedEvent(n, "large-1", n, noted(data=f'"{str(n) * 900_000}"'), n) for n in range(1, 13)]
    source.storage.import_events([*events, ImportedEvent(20, None, None, noted(data=f'"{"x" * 9_000_000}"'), 1)])
    batches = spied(monkeypatch, target)
    copy(source, target)
    assert rows(target) == rows(source)
    assert max(map(len, batches)) <= 8


def test_a_batch_has_a_thousand_events_at_most(
    source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source, COUNT)
    batches = spied(monkeypatch, target)
    copy(source, target)
    assert max(map(len, batches)) <= 1_000
    assert sum(map(len, batches)) == COUNT


def spied(monkeypatch: pytest.MonkeyPatch, target: EventStore) -> list[list[ImportedEvent]]:
    """Return the list in which the batches will stand that the target is given."""
    batches: list[list[ImportedEvent]] = []
    original = target.storage.import_events

    def spy(events: Iterable[ImportedEvent]) -> int:
        batches.append(list(events))
        return original(batches[-1])

    monkeypatch.setattr(target.storage, "import_events", spy)
    return batches


# --- going on -----------------------------------------------------------------------------------------


def test_copying_again_writes_nothing(source: EventStore, target: EventStore) -> None:
    fill(source, COUNT)
    first = copy(source, target)
    again = copy(source, target)
    assert (again.written, again.digest) == (0, first.digest)


def test_copying_again_catches_up(source: EventStore, target: EventStore) -> None:
    fill(source, 500)
    copy(source, target)
    grow(source)
    done = copy(source, target)
    assert (done.written, done.digest) == (4, digest(source))
    assert rows(target) == rows(source)


@pytest.mark.parametrize(("step", "number"), [("copying", 1), ("copying", 2), ("copying", 3), ("verifying", 2)])
def test_an_interrupted_copy_goes_on(source: EventStore, target: EventStore, step: str, number: int) -> None:
    fill(source, COUNT)
    with pytest.raises(Interrupted):
        copy(source, target, progress=interrupting(step, number))
    there = rows(target)
    assert there == rows(source)[: len(there)]
    assert (len(there) < COUNT) is (step == "copying")
    assert (len(there) > 0) is ((step, number) != ("copying", 1))
    done = copy(source, target)
    assert done.written == COUNT - len(there)
    assert rows(target) == rows(source)


def test_a_copy_ends_at_the_head_at_its_start(source: EventStore, target: EventStore) -> None:
    fill(source, 100)
    head = source.head()
    done = copy(source, target, progress=at("copying", 1, lambda: grow(source)))
    assert (done.digest.head, target.head()) == (head, head)
    assert done.digest == digest(source, to=head)


def test_another_copy_that_is_faster_is_gone_on_with(
    source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a copy is begun again while the server still commits what a killed one has left under way."""
    fill(source, COUNT)
    original, left = target.storage.import_events, [2]

    def late(events: list[ImportedEvent]) -> int:
        if left[0]:
            left[0] -= 1
            original(events)
        return original(events)

    monkeypatch.setattr(target.storage, "import_events", late)
    done = copy(source, target)
    assert done.digest == digest(source)
    assert rows(target) == rows(source)


def test_a_failure_without_another_copy_is_told(
    source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source, 10)

    def never(events: object) -> int:
        raise InvalidAppend("position taken")

    monkeypatch.setattr(target.storage, "import_events", never)
    with pytest.raises(InvalidAppend, match="position taken"):
        copy(source, target)


# --- other events -------------------------------------------------------------------------------------


def test_a_log_with_events_of_its_own_is_refused_and_left_as_it_was(source: EventStore, target: EventStore) -> None:
    fill(source, 10)
    target.append("own-1", [RawEvent("Own", 1)])
    before = rows(target)
    with pytest.raises(TargetHoldsOthers, match="new positions") as refused:
        copy(source, target)
    assert refused.value.position == 1
    assert rows(target) == before


def test_a_target_that_went_its_own_way_is_refused(source: EventStore, target: EventStore) -> None:
    fill(source, 100)
    copy(source, target)
    head = target.append("seats-1", [RawEvent("Own", 1)]).position
    source.append("seats-1", [RawEvent("Other", 1)])
    before = rows(target)
    with pytest.raises(TargetHoldsOthers) as refused:
        copy(source, target)
    assert refused.value.position == head
    assert rows(target) == before


def test_a_target_that_is_ahead_is_refused(source: EventStore, target: EventStore) -> None:
    fill(source, 100)
    copy(source, target)
    ahead = target.append("seats-1", [RawEvent("Own", 1)]).position
    with pytest.raises(TargetHoldsOthers, match="not in the source") as refused:
        copy(source, target)
    assert refused.value.position == ahead


def test_who_writes_into_the_target_meanwhile_is_found(source: EventStore, target: EventStore) -> None:
    fill(source, COUNT, gaps=False)
    own = at("copying", 2, lambda: target.append("own-1", [RawEvent("Own", 1)]))
    with pytest.raises(TargetHoldsOthers) as refused:
        copy(source, target, progress=own)
    assert refused.value.position == 1_001


def test_who_writes_into_a_gap_of_the_target_is_found(source: EventStore, target: EventStore) -> None:
    fill(source, 1_000, gaps=False)
    source.storage.import_events([ImportedEvent(2_000, "late-1", 1, noted(), 1)])
    own = at("copying", 2, lambda: target.append("own-1", [RawEvent("Own", 1)]))
    with pytest.raises(LogsDiffer, match="not in the source") as differ:
        copy(source, target, progress=own)
    assert differ.value.position == 1_001


# --- verifying ----------------------------------------------------------------------------------------

Change = Callable[[ImportedEvent], ImportedEvent]


def changed(**facts: Any) -> Change:
    return lambda one: one._replace(event=msgspec.structs.replace(one.event, **facts))


CHANGES: dict[str, Change] = {
    "type": changed(type="Another"),
    "schema version": changed(schema_version=7),
    "data": changed(data='{"another":1}'),
    "tags": changed(tags=("another:1",)),
    "metadata": changed(metadata='{"another":1}'),
    "time": lambda one: one._replace(recorded_at=one.recorded_at + 1),
    "another one": changed(id=b"x" * 16),
    "stream": lambda one: one._replace(stream="another-1", version=1),
    "missing": lambda one: one._replace(position=one.position + 1),
}


@pytest.mark.parametrize("fact", CHANGES)
def test_what_the_target_wrote_otherwise_is_found_in_the_end(
    source: EventStore, target: EventStore, fact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine of the target changes one event of the second batch, or puts it elsewhere."""
    events = [one._replace(stream=None, version=None) for one in imported(Random(3), 1_500)]
    place = events[1_200].position
    events[1_201:] = [one._replace(position=one.position + 10) for one in events[1_201:]]
    source.storage.import_events(events)
    original = target.storage.import_events

    def wrong(given: Iterable[ImportedEvent]) -> int:
        return original([CHANGES[fact](one) if one.position == place else one for one in given])

    monkeypatch.setattr(target.storage, "import_events", wrong)
    with pytest.raises(LogsDiffer, match=fact) as differ:
        copy(source, target)
    assert differ.value.position == place


@pytest.mark.parametrize("fact", CHANGES)
def test_a_target_whose_beginning_is_otherwise_is_refused(opened: Opened, fact: str) -> None:
    source, target = opened("sqlite"), opened("memory")
    events = [one._replace(stream=None, version=None) for one in imported(Random(4), 50)]
    events[31:] = [one._replace(position=one.position + 10) for one in events[31:]]
    source.storage.import_events(events)
    target.storage.import_events([*events[:30], CHANGES[fact](events[30]), *events[31:40]])
    before = rows(target)
    with pytest.raises(TargetHoldsOthers, match=fact) as refused:
        copy(source, target)
    assert refused.value.position == events[30].position
    assert rows(target) == before


def test_an_event_that_the_target_left_out_is_found(
    source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source, 100)
    last, original = source.head(), target.storage.import_events
    monkeypatch.setattr(
        target.storage, "import_events", lambda events: original([one for one in events if one.position != last])
    )
    with pytest.raises(LogsDiffer, match="missing") as differ:
        copy(source, target)
    assert differ.value.position == last


def test_verifying_two_equal_logs_gives_the_digest_of_both(source: EventStore, target: EventStore) -> None:
    fill(source, COUNT)
    copy(source, target)
    assert verify(source, target) == digest(source) == digest(target)


def test_verifying_names_the_first_position_that_differs(source: EventStore, target: EventStore) -> None:
    events = imported(Random(5), 200)
    source.storage.import_events(events)
    target.storage.import_events(events[:150])
    held = events[149].position
    assert verify(source, target, to=held).head == held
    with pytest.raises(LogsDiffer, match="missing") as differ:
        verify(source, target)
    assert differ.value.position == events[150].position
    with pytest.raises(LogsDiffer, match="not in the source") as differ:
        verify(target, source, to=source.head())
    assert differ.value.position == events[150].position


# --- the digest ---------------------------------------------------------------------------------------

BASE = ImportedEvent(
    5, "ab-1", 1, noted("cd", '{"e":"f"}', id=bytes(range(16)), tags=["g:h", "i:j"], metadata='{"k":1}'), 123_456
)


def digest_of(opened: Opened, *events: ImportedEvent, engine: str = "memory") -> str:
    store = opened(engine)
    store.storage.import_events(events)
    return digest(store).sha256


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_the_digest_of_a_log_is_a_promise(opened: Opened, engine: str) -> None:
    """It is the same for every engine and every version of Sacho: it may stand in a protocol of a backup."""
    alone = BASE._replace(position=9, stream=None, version=None, event=noted(id=bytes(16), data='"\\u0000"'))
    assert digest_of(opened, BASE, alone, engine=engine) == (
        "db3d4a32b4d2f1f61c766484af1510bc44e6731c711569363517b40328965780"
    )


def test_no_two_logs_have_one_digest(opened: Opened) -> None:
    """What could run together, if lengths were not part of the form, does not."""
    event = BASE.event
    others = [
        BASE,
        BASE._replace(stream="abc-1", event=msgspec.structs.replace(event, type="d")),
        BASE._replace(stream=None, version=None),
        BASE._replace(position=6),
        BASE._replace(recorded_at=123_457),
        *(
            BASE._replace(event=msgspec.structs.replace(event, **facts))
            for facts in (
                {"tags": ("g:hi:j",)},
                {"tags": ()},
                {"tags": ("g:h",), "metadata": "i:j"},
                {"metadata": None},
                {"metadata": ""},
                {"data": '{"e":"f"', "id": b"}" + bytes(range(15))},
                {"schema_version": 2},
            )
        ),
    ]
    found = [digest_of(opened, one) for one in others]
    assert len(set(found)) == len(others)
    second = BASE._replace(position=6, version=2, event=noted(id=b"2" * 16))
    assert digest_of(opened, BASE, second) not in found


# --- progress -----------------------------------------------------------------------------------------


def test_progress_is_told_from_nothing_to_all(source: EventStore, target: EventStore) -> None:
    fill(source, COUNT)
    told: list[Progress] = []
    copy(source, target, progress=told.append)
    for step in ("copying", "verifying"):
        found = [one for one in told if one.step == step]
        assert [one.done for one in found] == sorted(one.done for one in found)
        assert (found[0].done, found[-1].done, found[-1].total) == (0, source.head(), source.head())
        assert {one.unit for one in found} == {"positions"}
        assert len(found) > 3
