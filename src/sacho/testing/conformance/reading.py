"""Reading: ranges are after < x <= to, in order, forwards or backwards, in pages, and end where they were told to."""

from __future__ import annotations

from random import Random

from sacho.events import Query, QueryItem
from sacho.storage.port import CHUNK_BYTES, CHUNK_ROWS, Row, Storage
from sacho.testing.conformance.building import (
    append,
    everything,
    filled,
    is_meant,
    joined,
    matching,
    noted,
    notes,
    of_stream,
    positions,
    some_query,
)


class ReadingConformance:
    """Reads of a stream, of the log, of a correlation id, and of single events."""

    # --- one stream -----------------------------------------------------------------------------------

    def test_a_stream_that_is_not_there_reads_as_empty(self, storage: Storage) -> None:
        """It is no error to ask for it."""
        append(storage, "seats-1", noted())
        assert of_stream(storage, "seats-2") == []
        assert of_stream(storage, "seats-2", backwards=True) == []

    def test_a_stream_is_read_in_ranges_of_versions(self, storage: Storage) -> None:
        """`after` is left out, `to` taken in; bounds beyond the stream are as good as its own."""
        for _ in range(5):
            append(storage, "other-1", noted())
            append(storage, "seats-1", *notes(2))
        for after in (0, 1, 4, 9, 10, 11, 2**62):
            for to in (None, 0, 1, 5, 10, 11, 2**62):
                wanted = [number for number in range(1, 11) if number > after and (to is None or number <= to)]
                assert [row[2] for row in of_stream(storage, "seats-1", after=after, to=to)] == wanted
                turned = of_stream(storage, "seats-1", after=after, to=to, backwards=True)
                assert [row[2] for row in turned] == wanted[::-1]

    def test_the_last_events_of_many_streams_are_found_together(self, storage: Storage) -> None:
        """Those of streams that are not there are left out, and a stream that is named twice does no harm."""
        names = [f"seats-{number}" for number in range(40)]
        for number, name in enumerate(names):
            append(storage, name, *notes(1 + number % 3))
        append(storage, "seats-odd-%_'ö", noted())
        found = {row[1]: row for row in storage.last([*names, "seats-", "nobody-1", "seats-odd-%_'ö", "seats-0"])}
        assert {name: row[2] for name, row in found.items()} == {
            **{name: 1 + number % 3 for number, name in enumerate(names)},
            "seats-odd-%_'ö": 1,
        }
        assert found["seats-7"] == of_stream(storage, "seats-7", backwards=True)[0]
        assert storage.last([]) == []

    def test_a_limit_counts_from_where_a_read_of_a_stream_begins(self, storage: Storage) -> None:
        """That is the range's end where it is read backwards; a limit of 0 reads nothing."""
        append(storage, "seats-1", *notes(10))
        assert [row[2] for row in of_stream(storage, "seats-1", after=2, limit=3)] == [3, 4, 5]
        assert [row[2] for row in of_stream(storage, "seats-1", to=8, limit=3, backwards=True)] == [8, 7, 6]
        assert of_stream(storage, "seats-1", limit=0) == []
        assert len(of_stream(storage, "seats-1", limit=2**62)) == 10

    def test_a_read_of_a_stream_ends_at_the_head_it_was_given(self, storage: Storage) -> None:
        """What was appended after the head was taken is not shown, in either direction."""
        append(storage, "seats-1", *notes(3))
        head = storage.head()
        append(storage, "seats-1", *notes(3))
        assert [row[2] for row in of_stream(storage, "seats-1", head=head)] == [1, 2, 3]
        assert [row[2] for row in of_stream(storage, "seats-1", head=head, to=5)] == [1, 2, 3]
        assert [row[2] for row in of_stream(storage, "seats-1", head=head, backwards=True)] == [3, 2, 1]
        assert of_stream(storage, "seats-1", head=0) == []

    def test_a_stream_may_be_read_as_far_as_it_was_acknowledged(self, storage: Storage) -> None:
        """At least to its last event, wherever the head of the whole log is."""
        done = append(storage, "seats-1", *notes(3))
        append(storage, "seats-2", noted())
        bounds = storage.bounds("seats-1")
        assert bounds.stream >= done.position
        assert bounds.head == storage.head()
        assert [row[2] for row in of_stream(storage, "seats-1", head=bounds.stream)] == [1, 2, 3]
        assert of_stream(storage, "never", head=storage.bounds("never").stream) == []

    # --- the whole log --------------------------------------------------------------------------------

    def test_the_log_is_read_in_ranges_of_positions(self, storage: Storage) -> None:
        """`after` is left out, `to` taken in, `limit` counts from where the read begins."""
        rows = filled(storage, Random(5), 30)
        bounds = [0, 1, *positions(rows)[8:20:3], rows[-1][0], rows[-1][0] + 5, 2**62]
        for after in bounds:
            for to in bounds:
                wanted = [row for row in rows if after < row[0] <= to]
                assert matching(storage, Query(), after=after, to=to) == wanted
                assert matching(storage, Query(), after=after, to=to, backwards=True) == wanted[::-1]
                assert matching(storage, Query(), after=after, to=to, limit=4) == wanted[:4]
                assert matching(storage, Query(), after=after, to=to, limit=4, backwards=True) == wanted[::-1][:4]

    def test_a_read_under_way_never_passes_its_end(self, storage: Storage) -> None:
        """Events that are appended between two pages stand after `to`."""
        append(storage, "seats-1", *notes(CHUNK_ROWS + 10))
        head = storage.head()
        pages = storage.read_all(Query(), after=0, to=head, limit=None, backwards=False)
        first = next(pages)
        append(storage, "seats-1", *notes(20))
        assert [row[2] for row in (*first, *joined(pages))] == list(range(1, CHUNK_ROWS + 11))

    def test_appending_while_a_read_is_under_way_waits_for_nobody(self, storage: Storage) -> None:
        """A reader between two pages holds nothing that a writer needs, however long it takes."""
        append(storage, "seats-1", *notes(CHUNK_ROWS + 10))
        readers = [
            storage.read_all(Query(), after=0, to=storage.head(), limit=None, backwards=False),
            storage.read("seats-1", after=0, to=None, limit=None, backwards=True, head=storage.head()),
        ]
        begun = [len(next(reader)) for reader in readers]
        assert max(begun) <= CHUNK_ROWS
        assert append(storage, "seats-1", noted()).version == CHUNK_ROWS + 11
        assert [first + len(joined(reader)) for first, reader in zip(begun, readers, strict=True)] == [
            CHUNK_ROWS + 10
        ] * 2

    # --- by query -------------------------------------------------------------------------------------

    def test_queries_agree_with_a_plain_search_of_the_log(self, storage: Storage) -> None:
        """For queries, ranges, limits and directions by chance, a read gives just what matches, in order."""
        random = Random(10)
        rows = filled(storage, random, 450)
        last = rows[-1][0]
        for _ in range(200):
            query, backwards = some_query(random), random.random() < 0.5
            after = random.choice([0, 0, random.randrange(last)])
            to = random.choice([last, random.randrange(after, last + 1)])
            limit = random.choice([None, None, 0, 1, 5, 50])
            wanted = [row for row in rows if after < row[0] <= to and is_meant(query, row)]
            wanted = (wanted[::-1] if backwards else wanted)[:limit]
            found = matching(storage, query, after=after, to=to, limit=limit, backwards=backwards)
            assert positions(found) == positions(wanted), (query, after, to, limit, backwards)
            assert found == wanted

    def test_an_event_that_several_items_mean_comes_once(self, storage: Storage) -> None:
        """A query is a set of events, however many of its items mean one."""
        append(storage, "seats-1", noted("Opened", tags=["seat:1", "guest:a"]))
        query = Query(
            QueryItem(types=["Opened"]),
            QueryItem(tags=["seat:1"]),
            QueryItem(tags=["guest:a"]),
            QueryItem(categories=["seats"]),
        )
        assert len(matching(storage, query)) == 1

    def test_an_item_without_parts_means_every_event(self, storage: Storage) -> None:
        """Beside it the other items say nothing."""
        rows = filled(storage, Random(3), 150)
        assert matching(storage, Query(QueryItem())) == rows
        assert matching(storage, Query(QueryItem(types=["Never"]), QueryItem()), backwards=True) == rows[::-1]

    def test_a_query_of_many_items_is_answered(self, storage: Storage) -> None:
        """How many items a query has changes nothing."""
        for seat in range(0, 900, 3):
            append(storage, None, noted(tags=[f"seat:{seat}"]))
        items = [QueryItem(tags=[f"seat:{seat}"]) for seat in range(700)]
        rows = everything(storage)
        assert matching(storage, Query(*items)) == rows[:234]
        assert matching(storage, Query(*items), limit=3, backwards=True) == rows[:234][:-4:-1]
        wide = QueryItem(types=["Noted", *(f"T{number}" for number in range(500))])
        assert matching(storage, Query(wide)) == rows

    def test_names_are_compared_as_they_are(self, storage: Storage) -> None:
        """By code points, with case, and nothing in them is a pattern."""
        names = ["a", "A", "ä", "a\u0308", "a%", "a_", "a'", 'a"', "a:b", "a b", "a\\", "\U0001f3ab"]
        for name in names:
            append(storage, f"{name}-1", noted(name, tags=[f"k:{name}"]))
        append(storage, "fill-1", *notes(150))
        for name in names:
            for item in (QueryItem(types=[name]), QueryItem(tags=[f"k:{name}"]), QueryItem(categories=[name])):
                assert [row[3] for row in matching(storage, Query(item))] == [name]

    # --- pages ----------------------------------------------------------------------------------------

    def test_long_reads_come_in_pages(self, storage: Storage) -> None:
        """No page is larger than a page may be, none is empty, and together they are complete and in order."""
        append(storage, "seats-1", *(noted(tags=["seat:1"]) for _ in range(2 * CHUNK_ROWS + 1)))
        head, rows = storage.head(), everything(storage)
        for backwards in (False, True):
            wanted = rows[::-1] if backwards else rows
            by_tag = Query(QueryItem(tags=["seat:1"]))
            for pages in (
                storage.read_all(Query(), after=0, to=head, limit=None, backwards=backwards),
                storage.read_all(by_tag, after=0, to=head, limit=None, backwards=backwards),
                storage.read("seats-1", after=0, to=None, limit=None, backwards=backwards, head=head),
            ):
                _check_pages(list(pages), wanted)

    def test_a_limit_across_pages_is_kept(self, storage: Storage) -> None:
        """It counts events, not pages."""
        append(storage, "seats-1", *notes(CHUNK_ROWS + 100))
        rows = everything(storage)
        for limit in (CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, CHUNK_ROWS + 100, CHUNK_ROWS + 101):
            assert matching(storage, Query(), limit=limit) == rows[:limit]
            assert of_stream(storage, "seats-1", limit=limit, backwards=True) == rows[::-1][:limit]

    def test_large_events_end_a_page_early(self, storage: Storage) -> None:
        """A page holds little more than CHUNK_BYTES, so that a reader's memory stays bounded."""
        size, count = CHUNK_BYTES // 8, 40
        for start in range(0, count, 8):
            some = [noted(data=f'"{"x" * size}"', tags=["seat:1"]) for _ in range(start, start + 8)]
            append(storage, "seats-1", *some)
        head, rows = storage.head(), everything(storage)
        for pages in (
            storage.read_all(Query(), after=0, to=head, limit=None, backwards=False),
            storage.read_all(Query(QueryItem(tags=["seat:1"])), after=0, to=head, limit=None, backwards=False),
            storage.read("seats-1", after=0, to=None, limit=None, backwards=False, head=head),
        ):
            found = list(pages)
            _check_pages(found, rows)
            assert max(sum(len(row[5]) for row in page) for page in found) <= 2 * CHUNK_BYTES

    # --- by id, by correlation ------------------------------------------------------------------------

    def test_events_are_found_by_id_in_order_of_position(self, storage: Storage) -> None:
        """Those that are not there are left out; each comes once, however often it is asked for."""
        given = notes(700)
        append(storage, "seats-1", *given)
        rows = everything(storage)
        ids = [event.id for event in given]
        assert storage.find([]) == []
        assert storage.find([noted().id]) == []
        assert storage.find([ids[5]]) == [rows[5]]
        assert storage.find([ids[9], noted().id, ids[2]]) == [rows[2], rows[9]]
        assert storage.find([*ids[::-1], ids[0], ids[-1]]) == rows

    def test_events_of_a_correlation_id_are_read_in_order(self, storage: Storage) -> None:
        """Across streams, in ranges of positions, in pages."""
        for number in range(40):
            append(storage, f"seats-{number % 3}", noted(correlation_id=f"c-{number % 4}"), noted())
        rows = everything(storage)
        wanted = [rows[index] for index in range(0, 80, 2) if index // 2 % 4 == 1]
        head = storage.head()
        assert joined(storage.correlated("c-1", after=0, to=head)) == wanted
        assert joined(storage.correlated("c-1", after=wanted[2][0], to=wanted[5][0])) == wanted[3:6]
        assert joined(storage.correlated("c-9", after=0, to=head)) == []
        append(storage, "long-1", *(noted(correlation_id="long") for _ in range(CHUNK_ROWS + 5)))
        _check_pages(
            list(storage.correlated("long", after=0, to=storage.head())), everything(storage)[-CHUNK_ROWS - 5 :]
        )


def _check_pages(pages: list[list[Row]], wanted: list[Row]) -> None:
    assert joined(pages) == wanted
    assert all(0 < len(page) <= CHUNK_ROWS for page in pages)
