"""The import path: events keep ids, versions, positions and times; what does not follow on what is there is refused."""

from __future__ import annotations

from uuid import UUID

from sacho.errors import AppendConditionFailed, DuplicateEventId, InvalidAppend, SachoError, WrongExpectedVersion
from sacho.events import Query, QueryItem
from sacho.storage.port import ImportedEvent, Storage
from sacho.testing.conformance.building import (
    append,
    asks_for,
    condition,
    everything,
    joined,
    listed,
    matching,
    noted,
    of_stream,
    positions,
    raises,
)


def some(count: int = 300, gap: int = 7) -> list[ImportedEvent]:
    """Return events of two streams and of none, with gaps between their positions."""
    events, versions = [], {"seats-1": 0, "orders-1": 0}
    for number in range(1, count + 1):
        stream = ("seats-1", "orders-1", None)[number % 3]
        if stream is not None:
            versions[stream] += 1
        event = noted(f"T{number % 5}", f"{number}", tags=[f"seat:{number % 4}"], correlation_id=f"c{number % 6}")
        version = None if stream is None else versions[stream]
        events.append(ImportedEvent(number * gap, stream, version, event, 1_000 * number))
    return events


class ImportingConformance:
    """What operators do when they copy or restore a log."""

    def test_imported_events_keep_everything(self, storage: Storage) -> None:
        """Ids, streams, versions, positions with their gaps, and times are those of the source."""
        source = some()
        assert storage.import_events(iter(source)) == len(source)
        assert [(row[0], row[1], row[2], row[5], row[6], row[9]) for row in everything(storage)] == [
            (one.position, one.stream, one.version, one.event.data, one.event.id, one.recorded_at) for one in source
        ]
        assert storage.head() == source[-1].position

    def test_importing_nothing_is_no_error(self, storage: Storage) -> None:
        """An empty source leaves the log as it is."""
        append(storage, "seats-1", noted())
        assert storage.import_events([]) == 0
        assert len(everything(storage)) == 1

    def test_imported_events_are_found_in_every_way(self, storage: Storage) -> None:
        """By stream, type, tag, category, correlation and id, in ranges that fall into gaps too."""
        source = some()
        storage.import_events(source)
        rows, head = everything(storage), storage.head()
        for item in (QueryItem(types=["T3"]), QueryItem(tags=["seat:1"]), QueryItem(categories=["orders"])):
            wanted = [row for row in rows if Query(item).matches(row[3], (f"seat:{int(row[5]) % 4}",), row[1])]
            assert matching(storage, Query(item)) == wanted
            assert matching(storage, Query(item), after=500, to=1_500) == [r for r in wanted if 500 < r[0] <= 1_500]
        assert len(of_stream(storage, "seats-1", after=10, to=20)) == 10
        assert len(joined(storage.correlated("c2", after=0, to=head))) == 50
        assert storage.find([source[9].event.id]) == [rows[9]]
        assert [(info.stream, info.version) for info in listed(storage)] == [("orders-1", 100), ("seats-1", 100)]
        assert [info.category for info in storage.categories()] == ["orders", "seats"]

    def test_appends_follow_on_imported_events(self, storage: Storage) -> None:
        """Versions, positions, ids and conditions go on from where the source ended."""
        source = some()
        storage.import_events(source)
        raises(WrongExpectedVersion, lambda: append(storage, "seats-1", noted(), expected=99))
        done = append(storage, "seats-1", noted(), expected=100)
        assert done.version == 101
        assert done.position > source[-1].position
        repeated = source[2]
        assert append(storage, repeated.stream, repeated.event).position == repeated.position

    def test_imported_events_count_for_conditions(self, storage: Storage) -> None:
        """Those between the gaps as well."""
        asks_for(storage, "conditions")
        storage.import_events(some())
        last = max(positions(matching(storage, Query(QueryItem(tags=["seat:1"])))))
        seat = QueryItem(tags=["seat:1"])
        error = raises(
            AppendConditionFailed, lambda: append(storage, None, noted(), condition=condition(seat, after=last - 1))
        )
        assert error.position == last
        append(storage, None, noted(), condition=condition(seat, after=last))

    def test_an_import_follows_on_appended_events(self, storage: Storage) -> None:
        """A copy may be continued."""
        append(storage, "seats-1", noted(), noted())
        head = storage.head()
        storage.import_events([ImportedEvent(head + 5, "seats-1", 3, noted(), 5)])
        assert [row[2] for row in of_stream(storage, "seats-1")] == [1, 2, 3]
        assert append(storage, "seats-1", noted(), expected=3).position > head + 5

    def test_an_append_after_an_import_leaves_its_gaps_alone(self, storage: Storage) -> None:
        """A position below the head may be free, but readers have gone past it."""
        head = append(storage, "seats-1", noted()).position
        storage.import_events([ImportedEvent(head + 5, "seats-2", 1, noted(), 5)])
        assert append(storage, "seats-3", noted()).position > head + 5

    def test_positions_that_do_not_ascend_are_refused(self, storage: Storage) -> None:
        """Neither at nor below what is there, nor among themselves, nor below 1."""
        storage.import_events([ImportedEvent(10, "seats-1", 1, noted(), 5)])
        _refused(storage, ImportedEvent(10, "seats-1", 2, noted(), 5))
        _refused(storage, ImportedEvent(9, "seats-1", 2, noted(), 5))
        _refused(storage, ImportedEvent(0, "seats-1", 2, noted(), 5))
        _refused(storage, ImportedEvent(-1, "seats-1", 2, noted(), 5))
        pair = [ImportedEvent(12, "seats-1", 2, noted(), 5), ImportedEvent(12, "seats-1", 3, noted(), 5)]
        raises(InvalidAppend, lambda: storage.import_events(pair))

    def test_versions_that_do_not_follow_are_refused(self, storage: Storage) -> None:
        """A stream's versions have no gaps and no repeats."""
        _refused(storage, ImportedEvent(10, "seats-1", 2, noted(), 5))
        _refused(storage, ImportedEvent(10, "seats-1", 0, noted(), 5))
        _refused(storage, ImportedEvent(10, "seats-1", None, noted(), 5))
        storage.import_events([ImportedEvent(10, "seats-1", 1, noted(), 5)])
        _refused(storage, ImportedEvent(11, "seats-1", 1, noted(), 5))
        _refused(storage, ImportedEvent(11, "seats-1", 3, noted(), 5))

    def test_an_id_that_is_there_is_refused(self, storage: Storage) -> None:
        """Whether it was in the log before or comes twice in the source."""
        given = noted()
        append(storage, "seats-1", given)
        head = storage.head()
        _refused(storage, ImportedEvent(head + 1, "seats-1", 2, given, 5), DuplicateEventId)
        twice = noted()
        pair = [
            ImportedEvent(head + 1, "seats-1", 2, twice, 5),
            ImportedEvent(head + 2, "seats-1", 3, twice, 5),
        ]
        assert raises(DuplicateEventId, lambda: storage.import_events(pair)).ids == (UUID(bytes=twice.id),)


def _refused(storage: Storage, event: ImportedEvent, kind: type[SachoError] = InvalidAppend) -> None:
    before = everything(storage)
    raises(kind, lambda: storage.import_events([event]))
    assert everything(storage) == before
