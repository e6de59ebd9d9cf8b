"""What stands beside the events: snapshots, the log's identity, wake-ups, statistics, reopening and closing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sacho.errors import StoreClosed
from sacho.events import Query
from sacho.storage.port import CAPABILITIES, ImportedEvent, Snapshot, Storage
from sacho.storage.statistics import CommitReport
from sacho.testing.conformance.building import (
    PATIENCE,
    Reopen,
    append,
    everything,
    listed,
    noted,
    notes,
    of_stream,
    raises,
    reopened,
    writing,
)


class OperatingConformance:
    """The engine itself."""

    def test_an_engine_names_itself_and_only_known_capabilities(self, storage: Storage) -> None:
        """What an application may require is a fixed set of words."""
        assert storage.name
        assert storage.capabilities <= set(CAPABILITIES)

    def test_an_engine_with_a_database_says_how_to_keep_views_in_it(self, storage: Storage) -> None:
        """It opens further connections, on which a driver's plain calls work; the log goes on beside them."""
        beside = storage.beside()
        if beside is None:
            return
        assert beside.dialect in {"sqlite", "postgresql"}
        append(storage, "seats-1", noted())
        connection = beside.connect()
        try:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        finally:
            connection.close()
        append(storage, "seats-1", noted())

    # --- snapshots ------------------------------------------------------------------------------------

    def test_a_snapshot_is_kept_and_replaced(self, storage: Storage) -> None:
        """There is at most one for a stream: the one saved last, to the byte."""
        assert storage.load_snapshot("seats-1") is None
        first = Snapshot("seats-1", 3, "fingerprint-ä", b"\x00\xff\x00")
        storage.save_snapshot(first)
        assert storage.load_snapshot("seats-1") == first
        second = Snapshot("seats-1", 2, "other", b"")
        storage.save_snapshot(second)
        assert storage.load_snapshot("seats-1") == second
        assert storage.load_snapshot("seats-2") is None

    def test_snapshots_may_be_dropped_and_nothing_is_lost(self, storage: Storage) -> None:
        """Of one stream or of all; of a stream without one it is a no-op."""
        append(storage, "seats-1", *notes(3))
        for stream in ("seats-1", "seats-2", "seats-3"):
            storage.save_snapshot(Snapshot(stream, 1, "f", b"state"))
        storage.delete_snapshots("seats-1")
        storage.delete_snapshots("never")
        assert storage.load_snapshot("seats-1") is None
        assert storage.load_snapshot("seats-2") is not None
        storage.delete_snapshots()
        assert [storage.load_snapshot(f"seats-{number}") for number in (2, 3)] == [None, None]
        assert len(everything(storage)) == 3

    # --- identity -------------------------------------------------------------------------------------

    def test_a_log_has_an_identity_that_stays(self, storage: Storage) -> None:
        """Appends do not change it."""
        before = storage.identity
        append(storage, "seats-1", noted())
        assert storage.identity == before
        assert before.epoch == 1

    def test_a_new_epoch_is_another_life_of_the_same_log(self, storage: Storage) -> None:
        """The id stays, the epoch rises, the events stay."""
        append(storage, "seats-1", noted())
        before = storage.identity
        after = storage.begin_epoch()
        assert (after.id, after.epoch) == (before.id, before.epoch + 1)
        assert storage.identity == after
        assert len(everything(storage)) == 1

    def test_what_is_durable_is_there_for_another_engine(self, storage: Storage, reopen: Reopen) -> None:
        """Events, identity, epoch and snapshots survive the engine that wrote them."""
        append(storage, "seats-1", *notes(150))
        storage.save_snapshot(Snapshot("seats-1", 1, "f", b"state"))
        identity, rows = storage.begin_epoch(), everything(storage)
        other = reopened(storage, reopen, "durable")
        storage.close()
        assert other.identity == identity
        assert everything(other) == rows
        assert other.load_snapshot("seats-1") == Snapshot("seats-1", 1, "f", b"state")
        assert append(other, "seats-1", noted(), expected=150).version == 151

    def test_two_engines_on_one_log_see_each_others_appends(self, storage: Storage, reopen: Reopen) -> None:
        """At once, in turn, with the versions, ids and conditions of both."""
        other = reopened(storage, reopen, "cross-process")
        shared = noted()
        for version in range(0, 200, 2):
            assert append(storage, "seats-1", noted(), expected=version).version == version + 1
            assert append(other, "seats-1", noted(), expected=version + 1).version == version + 2
        assert append(storage, "seats-2", shared) == append(other, "seats-2", shared)
        assert storage.head() == other.head()
        assert everything(storage) == everything(other)

    # --- wake-ups -------------------------------------------------------------------------------------

    def test_a_listener_hears_of_an_append(self, storage: Storage) -> None:
        """It is called with a head at or above the append's position."""
        heard, unlisten = _listening(storage, lambda: append(storage, "seats-1", *notes(3)).position)
        unlisten()
        assert heard

    def test_a_listener_hears_of_every_way_in(self, storage: Storage) -> None:
        """Of batches, of submitted writes and of imports."""
        ways: list[Callable[[], object]] = [
            lambda: storage.write_many([writing("seats-1", noted()) for _ in range(3)]),
            lambda: storage.submit(writing("seats-1", noted())).result(),
            lambda: storage.import_events([ImportedEvent(storage.head() + 3, None, None, noted(), 5)]),
        ]
        for way in ways:
            heard, unlisten = _listening(storage, lambda way=way: (way(), storage.head())[1])  # type: ignore[misc]
            unlisten()
            assert heard

    def test_a_listener_hears_of_another_engines_append(self, storage: Storage, reopen: Reopen) -> None:
        """Across processes too, without being asked."""
        other = reopened(storage, reopen, "cross-process")
        for _ in range(3):
            heard, unlisten = _listening(storage, lambda: append(other, "seats-1", noted()).position)
            unlisten()
            assert heard

    def test_every_listener_hears_and_one_that_ended_does_not(self, storage: Storage) -> None:
        """Ending one leaves the others; ending it twice is fine."""
        ended: list[int] = []
        first = storage.listen(ended.append)
        first()
        first()
        second = storage.listen(lambda _: None)
        heard, third = _listening(storage, lambda: append(storage, "seats-1", noted()).position)
        second()
        third()
        assert heard
        assert ended == []

    def test_every_append_is_heard_of(self, storage: Storage) -> None:
        """However fast they follow, the last head told is the last position."""
        for _ in range(20):
            heard, unlisten = _listening(
                storage, lambda: [append(storage, "seats-1", noted()).position for _ in range(10)][-1]
            )
            unlisten()
            assert heard

    # --- being watched --------------------------------------------------------------------------------

    def test_commits_are_reported_and_counted(self, storage: Storage) -> None:
        """Appends, refusals and events add up, in reports and in statistics."""
        reports: list[CommitReport] = []
        storage.observe(reports.append)
        append(storage, "seats-1", *notes(3))
        storage.write_many([writing("seats-1", noted()), writing("seats-1", noted(), expected=9)])
        found = storage.statistics()
        assert (found.appends, found.conflicts, found.events) == (2, 1, 4)
        assert found.commits == len(reports)
        assert [sum(column) for column in zip(*(report[:3] for report in reports), strict=True)] == [2, 1, 4]
        assert all(report.seconds >= 0 for report in reports)

    def test_sizes_and_ages_are_told(self, storage: Storage) -> None:
        """The log grows with its events; where nothing is under way, nothing is old."""
        before = storage.statistics()
        append(storage, "seats-1", *(noted(data=f'"{"x" * 10_000}"') for _ in range(100)))
        after = storage.statistics()
        assert after.log_bytes + after.wal_bytes > before.log_bytes + before.wal_bytes
        assert after.oldest_in_flight_seconds == 0

    # --- closing --------------------------------------------------------------------------------------

    def test_a_closed_engine_refuses_everything(self, storage: Storage) -> None:
        """Each call raises StoreClosed, and closing again is fine."""
        append(storage, "seats-1", noted())
        storage.close()
        storage.close()
        for use in _uses(storage):
            raises(StoreClosed, use)

    def test_what_was_handed_in_before_closing_is_done(self, storage: Storage, reopen: Reopen) -> None:
        """Closing waits for what is under way."""
        other = reopened(storage, reopen, "durable")
        futures = [storage.submit(writing("seats-1", noted())) for _ in range(200)]
        storage.close()
        assert all(future.done() for future in futures)
        assert [future.result()[0].version for future in futures] == list(range(1, 201))
        assert len(of_stream(other, "seats-1")) == 200

    def test_a_reader_under_way_is_told_of_the_closing(self, storage: Storage) -> None:
        """Its next page raises StoreClosed instead of ending as if it were complete."""
        append(storage, "seats-1", *notes(4_500))
        pages = storage.read_all(Query(), after=0, to=storage.head(), limit=None, backwards=False)
        next(pages)
        storage.close()
        raises(StoreClosed, lambda: list(pages))


def _listening(storage: Storage, action: Callable[[], int]) -> tuple[bool, Callable[[], None]]:
    """Listen, act, and wait until the position that the action returns was told; return whether it was."""
    changed = threading.Condition()
    highest = 0

    def hear(head: int) -> None:
        nonlocal highest
        with changed:
            highest = max(highest, head)
            changed.notify_all()

    unlisten = storage.listen(hear)
    wanted = action()
    with changed:
        return changed.wait_for(lambda: highest >= wanted, timeout=PATIENCE), unlisten


def _uses(storage: Storage) -> list[Callable[[], object]]:
    """Return a call of everything that an engine does."""
    done = threading.Event()
    return [
        lambda: storage.write(writing("seats-1", noted())),
        lambda: storage.write_many([writing("seats-1", noted())]),
        lambda: storage.submit(writing("seats-1", noted())).result(PATIENCE),
        lambda: storage.hand_in([writing("seats-1", noted())], lambda _: done.set()),
        storage.head,
        lambda: storage.bounds("seats-1"),
        lambda: of_stream(storage, "seats-1", head=1),
        lambda: list(storage.read_all(Query(), after=0, to=1, limit=None, backwards=False)),
        lambda: list(storage.correlated("c", after=0, to=1)),
        lambda: storage.find([noted().id]),
        lambda: listed(storage),
        lambda: listed(storage, "seats"),
        storage.categories,
        lambda: storage.position_at(5),
        lambda: storage.listen(lambda _: None),
        lambda: storage.save_snapshot(Snapshot("seats-1", 1, "f", b"")),
        lambda: storage.load_snapshot("seats-1"),
        lambda: storage.delete_snapshots("seats-1"),
        storage.delete_snapshots,
        lambda: storage.import_events([ImportedEvent(99, None, None, noted(), 5)]),
        storage.begin_epoch,
        storage.statistics,
    ]
