"""Strict idempotency by event id: a repeat returns the first result; anything between a repeat and a new append fails."""

from __future__ import annotations

from collections.abc import Callable

from sacho.errors import DuplicateEventId, SachoError
from sacho.events import NO_STREAM, EncodedEvent, QueryItem, Write
from sacho.storage.port import Storage
from sacho.testing.conformance.building import (
    PATIENCE,
    append,
    asks_for,
    condition,
    everything,
    noted,
    notes,
    part,
    raises,
    uuids,
    writing,
)


class IdempotencyConformance:
    """The same ids again."""

    def test_the_same_append_again_returns_the_first_result(self, storage: Storage) -> None:
        """Nothing is written the second time, and the result is that of the first, not of now."""
        given = notes(3)
        first = append(storage, "seats-1", *given)
        append(storage, "seats-1", noted())
        before = everything(storage)
        assert append(storage, "seats-1", *given) == first
        assert everything(storage) == before

    def test_a_repeat_is_taken_though_its_expected_version_is_stale(self, storage: Storage) -> None:
        """Ids are checked before versions."""
        given = notes(2)
        first = append(storage, "seats-1", *given, expected=NO_STREAM)
        assert append(storage, "seats-1", *given, expected=NO_STREAM) == first
        assert append(storage, "seats-1", *given, expected=77) == first

    def test_a_repeat_is_taken_though_its_condition_fails_by_now(self, storage: Storage) -> None:
        """Ids are checked before conditions: an append's own first events do not stand against its repeat."""
        asks_for(storage, "conditions")
        given = noted("Opened", tags=["seat:1"])
        unseen = condition(QueryItem(tags=["seat:1"]))
        first = append(storage, "seats-1", given, condition=unseen)
        assert append(storage, "seats-1", given, condition=unseen) == first

    def test_a_repeat_after_many_others_is_still_known(self, storage: Storage) -> None:
        """Ids are remembered for ever where that is offered."""
        asks_for(storage, "unique-ids")
        given = noted()
        first = append(storage, "seats-1", given)
        for _ in range(20):
            append(storage, "seats-1", *notes(100))
        assert append(storage, "seats-1", given) == first

    def test_a_repeat_over_several_streams_returns_each_first_result(self, storage: Storage) -> None:
        """Every part gets what it got the first time."""
        asks_for(storage, "atomic-streams")
        write = Write((part("seats-1", *notes(2), expected=0), part(None, noted()), part("orders-1", noted())))
        first = storage.write(write)
        append(storage, "seats-1", noted())
        assert storage.write(write) == first

    def test_metadata_and_schema_version_are_no_part_of_the_content(self, storage: Storage) -> None:
        """A repeat may come from another request: only stream, type, data and tags must be the same."""
        given = noted(metadata='{"actor":"a"}')
        first = append(storage, "seats-1", given)
        assert append(storage, "seats-1", noted(id=given.id, metadata='{"actor":"b"}')) == first

    def test_the_same_id_with_other_content_is_refused(self, storage: Storage) -> None:
        """Other data, type, tags, stream or none: each makes it another event."""
        given = noted("Opened", '{"n":1}', tags=["seat:1"])
        append(storage, "seats-1", given)

        def again(type: str = "Opened", data: str = '{"n":1}', tag: str = "seat:1") -> EncodedEvent:
            return noted(type, data, tags=[tag], id=given.id)

        _is_duplicate(storage, [given], lambda: append(storage, "seats-1", again(data='{"n":2}')))
        _is_duplicate(storage, [given], lambda: append(storage, "seats-1", again(type="Closed")))
        _is_duplicate(storage, [given], lambda: append(storage, "seats-1", again(tag="seat:2")))
        _is_duplicate(storage, [given], lambda: append(storage, "seats-2", again()))
        _is_duplicate(storage, [given], lambda: append(storage, None, again()))
        _is_duplicate(storage, [given], lambda: append(storage, "seats-1", noted("Opened", '{"n":1}', id=given.id)))

    def test_other_content_is_named_before_a_wrong_version_or_condition(self, storage: Storage) -> None:
        """Ids are checked first, whatever else is wrong."""
        given = noted()
        append(storage, "seats-1", given)
        changed = noted(data='{"n":2}', id=given.id)
        _is_duplicate(storage, [given], lambda: append(storage, "seats-1", changed, expected=9))
        if "conditions" in storage.capabilities:
            _is_duplicate(storage, [given], lambda: append(storage, "seats-1", changed, condition=condition()))

    def test_only_some_of_the_ids_are_refused(self, storage: Storage) -> None:
        """An append that holds old and new events is neither a repeat nor new."""
        first, second, third = notes(3)
        append(storage, "seats-1", first, second)
        _is_duplicate(storage, [first], lambda: append(storage, "seats-1", first, third))
        _is_duplicate(storage, [second], lambda: append(storage, "seats-1", third, second))
        _is_duplicate(storage, [first], lambda: append(storage, "seats-1", third, first, expected=9))

    def test_only_one_part_of_a_write_again_is_refused(self, storage: Storage) -> None:
        """Nothing of the other part is written."""
        asks_for(storage, "atomic-streams")
        given = noted()
        append(storage, "seats-1", given)
        write = Write((part("orders-1", noted()), part("seats-1", given)))
        _is_duplicate(storage, [given], lambda: storage.write(write))

    def test_one_id_twice_in_an_append_is_refused(self, storage: Storage) -> None:
        """Also where both times it is the very same event, and across the parts of a write."""
        given = noted()
        _is_duplicate(storage, [given], lambda: append(storage, "seats-1", given, given))
        _is_duplicate(storage, [given], lambda: append(storage, "seats-1", given, noted(), given, expected=5))
        if "atomic-streams" in storage.capabilities:
            write = Write((part("seats-1", given), part("seats-2", given)))
            _is_duplicate(storage, [given], lambda: storage.write(write))
        assert append(storage, "seats-1", given).version == 1

    def test_a_part_of_an_earlier_append_is_a_repeat_of_itself(self, storage: Storage) -> None:
        """All ids of the append are there with their content: it is told where its last event stands."""
        first, second, third = notes(3)
        append(storage, "seats-1", first, second, third)
        done = append(storage, "seats-1", first, second)
        assert (done.version, done.position) == (2, everything(storage)[1][0])

    def test_repeats_within_many_writes_are_known(self, storage: Storage) -> None:
        """Of two writes with the same events in one batch, the second returns the result of the first."""
        given = notes(2)
        other = noted(data='{"n":2}', id=given[0].id)
        outcomes = storage.write_many(
            [
                writing("seats-1", *given, expected=NO_STREAM),
                writing("seats-2", noted()),
                writing("seats-1", *given, expected=NO_STREAM),
                writing("seats-1", other),
                writing("seats-3", given[1], given[1]),
                writing("seats-3", noted()),
            ]
        )
        kinds = [type(outcome) if isinstance(outcome, SachoError) else len(outcome) for outcome in outcomes]
        assert kinds == [1, 1, 1, DuplicateEventId, DuplicateEventId, 1]
        assert outcomes[2] == outcomes[0]
        assert [row[1] for row in everything(storage)] == ["seats-1", "seats-1", "seats-2", "seats-3"]

    def test_a_refused_append_does_not_use_up_its_ids(self, storage: Storage) -> None:
        """The same events may be appended when what stood in the way has gone."""
        given = notes(2)
        raises(SachoError, lambda: append(storage, "seats-1", *given, expected=1))
        append(storage, "seats-1", noted())
        assert append(storage, "seats-1", *given, expected=1).version == 3

    def test_a_submitted_repeat_brings_the_first_result(self, storage: Storage) -> None:
        """The way in makes no difference."""
        write = writing("seats-1", *notes(2), expected=NO_STREAM)
        futures = [storage.submit(write) for _ in range(20)]
        assert {tuple(future.result(PATIENCE)) for future in futures} == {tuple(storage.write(write))}
        assert len(everything(storage)) == 2


def _is_duplicate(storage: Storage, named: list[EncodedEvent], action: Callable[[], object]) -> None:
    before = everything(storage)
    error = raises(DuplicateEventId, action)
    assert set(error.ids) == uuids(event.id for event in named)
    assert everything(storage) == before
