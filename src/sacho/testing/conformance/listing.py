"""Listing: which streams and categories there are, and which position stood at a time."""

from __future__ import annotations

from sacho.events import category_of
from sacho.storage.port import CHUNK_ROWS, ImportedEvent, Storage, StreamInfo, moment
from sacho.testing.conformance.building import append, everything, listed, noted, notes, of_stream, writing

NAMES = (
    "a", "a!x", "a-", "a--", "a-1", "a-10", "a-2", "a-b-1", "a.b", "a/1", "ab", "ab-1", "A-1", "b-1",
    "ä-1", "日本-1", "\U0001f3ab-1", "\U0010ffff-1", "-", "-x", "z-\U0010ffff",
)  # fmt: skip
"""Stream ids that stand close to each other, or at the ends of the order."""


class ListingConformance:
    """The streams and categories of a log."""

    def test_an_empty_log_lists_nothing(self, storage: Storage) -> None:
        """There are no streams, no categories, and no position at any time."""
        assert listed(storage) == []
        assert storage.categories() == []
        assert storage.position_at(2**50) == 0

    def test_streams_are_listed_in_order_of_id(self, storage: Storage) -> None:
        """By code point, each once."""
        _fill(storage)
        assert [info.stream for info in listed(storage)] == sorted(NAMES)

    def test_a_stream_is_listed_with_its_version_and_last_event(self, storage: Storage) -> None:
        """Version, position and time are those of its last event."""
        append(storage, "seats-1", *notes(3))
        append(storage, "seats-2", *notes(2))
        append(storage, "seats-1", noted())
        first, second = of_stream(storage, "seats-1")[-1], of_stream(storage, "seats-2")[-1]
        assert listed(storage) == [
            StreamInfo("seats-1", 4, first[0], moment(first[9])),
            StreamInfo("seats-2", 2, second[0], moment(second[9])),
        ]

    def test_streams_are_listed_from_after_an_id(self, storage: Storage) -> None:
        """The id need not be one that is there; `limit` counts from it."""
        _fill(storage)
        names = sorted(NAMES)
        for after in (*names, "", "a-0", "zzz"):
            wanted = [name for name in names if name > after]
            assert [info.stream for info in listed(storage, after=after)] == wanted
            assert [info.stream for info in listed(storage, after=after, limit=3)] == wanted[:3]
        assert listed(storage, limit=0) == []

    def test_streams_of_a_category_are_those_whose_ids_begin_with_it(self, storage: Storage) -> None:
        """The category is what stands before the first '-'; an id without one is a category by itself."""
        _fill(storage)
        for category in {*map(category_of, NAMES), "never", "a-b", "a-"}:
            wanted = sorted(name for name in NAMES if category_of(name) == category)
            assert [info.stream for info in listed(storage, category)] == wanted, category

    def test_streams_of_a_category_are_listed_from_after_an_id(self, storage: Storage) -> None:
        """`after` and `limit` hold within the category as they do in the whole log."""
        _fill(storage)
        wanted = sorted(name for name in NAMES if category_of(name) == "a")
        for after in ("", "Z", *NAMES):
            rest = [name for name in wanted if name > after]
            for limit in (None, 0, 1, 2):
                assert [info.stream for info in listed(storage, "a", after=after, limit=limit)] == rest[:limit], after

    def test_many_streams_are_listed_in_pages(self, storage: Storage) -> None:
        """No page is larger than a page may be; `limit` goes across them."""
        count = 2 * CHUNK_ROWS + 1
        storage.write_many([writing(f"seats-{number:05}", noted()) for number in range(count)])
        names = [f"seats-{number:05}" for number in range(count)]
        for category in (None, "seats"):
            pages = list(storage.streams(category=category, after="", limit=None))
            assert [info.stream for page in pages for info in page] == names
            assert all(0 < len(page) <= CHUNK_ROWS for page in pages)
        assert [info.stream for info in listed(storage, "seats", limit=CHUNK_ROWS + 1)] == names[: CHUNK_ROWS + 1]

    def test_categories_are_listed_in_order_with_their_last_event(self, storage: Storage) -> None:
        """Each once, whether its events are old or new."""
        _fill(storage)
        for _ in range(2):
            last = {category_of(row[1]): row for row in everything(storage) if row[1] is not None}
            assert [tuple(info) for info in storage.categories()] == [
                (name, last[name][0], moment(last[name][9])) for name in sorted(last)
            ]
            append(storage, "a-1", *notes(250))

    def test_the_position_at_a_time_is_the_last_recorded_until_then(self, storage: Storage) -> None:
        """Clocks step back and tie: it is the highest position whose time is not later."""
        times = [100, 300, 200, 200, 400]
        storage.import_events(
            ImportedEvent(position, "seats-1", position, noted(), at) for position, at in enumerate(times, 1)
        )
        asked = {99: 0, 100: 1, 199: 1, 200: 4, 250: 4, 300: 4, 399: 4, 400: 5, 2**50: 5}
        assert {at: storage.position_at(at) for at in asked} == asked


def _fill(storage: Storage) -> None:
    for number, name in enumerate(NAMES):
        append(storage, name, *notes(1 + number % 3))
    append(storage, None, noted())
