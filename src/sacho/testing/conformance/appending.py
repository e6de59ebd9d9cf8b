"""Appending: atomic, at the version expected, in ascending positions, with everything kept as it was given."""

from __future__ import annotations

import time

from sacho.errors import WrongExpectedVersion
from sacho.events import ANY, EXISTS, NO_STREAM, Appended, Expected
from sacho.storage.port import Storage
from sacho.testing.conformance.building import (
    append,
    everything,
    noted,
    notes,
    of_stream,
    positions,
    raises,
    tags_of,
)

_DAY = 24 * 60 * 60 * 1_000_000


class AppendingConformance:
    """One write at a time."""

    def test_an_empty_log_has_head_zero_and_no_events(self, storage: Storage) -> None:
        """A log that was just made holds nothing."""
        assert storage.head() == 0
        assert everything(storage) == []

    def test_an_append_tells_the_version_and_the_last_position(self, storage: Storage) -> None:
        """What an append returns is the stream's version after it and its last event's position."""
        first = append(storage, "seats-1", *notes(3))
        second = append(storage, "seats-1", *notes(2))
        assert first == Appended(3, everything(storage)[2][0])
        assert second == Appended(5, storage.head())

    def test_positions_ascend_from_above_zero_and_the_head_is_the_last(self, storage: Storage) -> None:
        """Each event has a position of its own, above those before; the head is the highest."""
        for stream in ("seats-1", "seats-2", None, "seats-1"):
            append(storage, stream, *notes(2))
        found = positions(everything(storage))
        assert len(found) == 8
        assert found == sorted(set(found))
        assert found[0] > 0
        assert storage.head() == found[-1]

    def test_versions_of_each_stream_count_from_one(self, storage: Storage) -> None:
        """The first event of a stream has version 1, and none is left out."""
        for _ in range(3):
            append(storage, "seats-1", *notes(2))
            append(storage, "seats-2", *notes(1))
        assert [row[2] for row in of_stream(storage, "seats-1")] == [1, 2, 3, 4, 5, 6]
        assert [row[2] for row in of_stream(storage, "seats-2")] == [1, 2, 3]

    def test_an_event_comes_back_as_it_was_given(self, storage: Storage) -> None:
        """Type, schema version, data, id, tags and metadata are kept to the letter."""
        given = noted(
            "Reserved",
            '{"seat":"4B","n":1.50}',
            tags=["seat:4B", "guest:Ann"],
            metadata='{"actor":"Ann","correlation_id":"c-1"}',
            correlation_id="c-1",
            schema_version=7,
        )
        append(storage, "seats-1", given)
        (row,) = everything(storage)
        assert row[1:7] == ("seats-1", 1, "Reserved", 7, given.data, given.id)
        assert tags_of(row) == ("guest:Ann", "seat:4B")
        assert row[8] == given.metadata

    def test_an_event_without_tags_and_metadata_has_none(self, storage: Storage) -> None:
        """What was not given does not come back as something else."""
        append(storage, "seats-1", noted())
        (row,) = everything(storage)
        assert (row[7], row[8]) == (None, None)

    def test_events_carry_the_time_of_their_recording(self, storage: Storage) -> None:
        """The time is in microseconds since 1970 UTC, by the store's clock."""
        append(storage, "seats-1", noted())
        assert abs(everything(storage)[0][9] - time.time_ns() // 1_000) < _DAY

    def test_odd_text_survives(self, storage: Storage) -> None:
        """NUL characters, all of Unicode, quotes and what looks like a pattern come back as they were."""
        data = '{"text":"nul \\u0000 and \U0001f3ab ä é e\u0301 \u202e % _ \' \\" \\\\ ; --"}'
        name = "söme %_'\";-\U0001f3ab 1"
        given = noted("Týpe 'x' %", data, tags=["k:\U0001f3ab%_'\"\\"], metadata=data, correlation_id="c'%_\U0001f3ab")
        append(storage, name, given)
        (row,) = of_stream(storage, name)
        assert (row[1], row[3], row[5], row[8]) == (name, given.type, data, data)
        assert tags_of(row) == given.tags
        assert [found[6] for page in storage.correlated("c'%_\U0001f3ab", after=0, to=row[0]) for found in page] == [
            given.id
        ]

    def test_many_events_in_one_append_stay_in_order(self, storage: Storage) -> None:
        """An append may be larger than any page or batch inside the engine."""
        given = notes(2_500)
        assert append(storage, "seats-1", *given, expected=NO_STREAM).version == 2_500
        assert [row[6] for row in of_stream(storage, "seats-1")] == [event.id for event in given]

    def test_names_that_begin_alike_are_streams_of_their_own(self, storage: Storage) -> None:
        """A stream is its whole id, in its case and its code points."""
        names = ["a", "a-", "a-1", "a-10", "A-1", "a-1 ", "a\u0301-1", "á-1", "a%", "a_"]
        for number, name in enumerate(names, 1):
            assert append(storage, name, *notes(number), expected=NO_STREAM).version == number
        assert [len(of_stream(storage, name)) for name in names] == list(range(1, len(names) + 1))

    # --- versions -------------------------------------------------------------------------------------

    def test_any_takes_a_stream_at_any_version(self, storage: Storage) -> None:
        """ANY asks for nothing."""
        assert append(storage, "seats-1", noted(), expected=ANY).version == 1
        assert append(storage, "seats-1", noted(), expected=ANY).version == 2

    def test_no_stream_takes_only_a_stream_that_is_not_there(self, storage: Storage) -> None:
        """NO_STREAM refuses a stream that has events, and says at which version it is."""
        append(storage, "seats-1", *notes(2), expected=NO_STREAM)
        _refused(storage, "seats-1", NO_STREAM, actual=2)

    def test_exists_takes_only_a_stream_that_is_there(self, storage: Storage) -> None:
        """EXISTS refuses a stream without events."""
        _refused(storage, "seats-1", EXISTS, actual=0)
        append(storage, "seats-1", noted())
        assert append(storage, "seats-1", noted(), expected=EXISTS).version == 2

    def test_an_exact_version_takes_only_that(self, storage: Storage) -> None:
        """A version below or above the stream's own is refused."""
        _refused(storage, "seats-1", 1, actual=0)
        append(storage, "seats-1", *notes(2))
        _refused(storage, "seats-1", 1, actual=2)
        _refused(storage, "seats-1", 3, actual=2)
        _refused(storage, "seats-1", 2**62, actual=2)
        assert append(storage, "seats-1", noted(), expected=2).version == 3

    def test_a_refused_append_changes_nothing(self, storage: Storage) -> None:
        """After a refusal the log is as it was, and its version is still free."""
        append(storage, "seats-1", noted())
        before = everything(storage)
        raises(WrongExpectedVersion, lambda: append(storage, "seats-1", *notes(5), expected=4))
        assert everything(storage) == before
        assert append(storage, "seats-1", noted(), expected=1).version == 2

    # --- no stream ------------------------------------------------------------------------------------

    def test_events_may_stand_in_no_stream(self, storage: Storage) -> None:
        """They have a position but no version, and belong to no stream of any name."""
        done = append(storage, None, noted(tags=["seat:1"]), noted())
        assert done == Appended(None, storage.head())
        assert [row[1:3] for row in everything(storage)] == [(None, None), (None, None)]
        assert [page for page in storage.streams(category=None, after="", limit=None) if page] == []
        assert storage.categories() == []
        assert of_stream(storage, "None") == []


def _refused(storage: Storage, stream: str, expected: int | Expected, *, actual: int) -> None:
    head = storage.head()
    error = raises(WrongExpectedVersion, lambda: append(storage, stream, noted(), expected=expected))
    assert (error.stream, error.expected, error.actual) == (stream, expected, actual)
    assert storage.head() == head
