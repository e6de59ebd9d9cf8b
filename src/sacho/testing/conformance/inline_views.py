"""Inline views: written within the append's own transaction, by all who append, each event once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import msgspec

from sacho.errors import (
    InlineViewFailed,
    InlineViewMissing,
    InvalidAppend,
    InvalidName,
    SachoError,
    UnsupportedOperation,
    WrongExpectedVersion,
)
from sacho.events import NO_STREAM, Query, Write
from sacho.storage.port import ImportedEvent, Outcome, Row, Storage
from sacho.testing.conformance.building import (
    PATIENCE,
    Reopen,
    append,
    asks_for,
    comes_true,
    everything,
    matching,
    noted,
    notes,
    part,
    raises,
    reopened,
    writing,
)

CAPABILITY: Final = "inline-views"
MAKE: Final = "CREATE TABLE {table} (events integer, last bigint)"
FILL: Final = "INSERT INTO {table} VALUES ({events}, {last})"
ADD: Final = "UPDATE {table} SET events = events + {events}, last = {last}"
READ: Final = "SELECT events, last FROM {table}"

WRITERS: Final = 4
EACH: Final = 60
REGISTRATIONS: Final = 6


class Totals:
    """A view of one row: how many events there are, and where the last one stands. It raises `failure` if that is set."""

    def __init__(self, storage: Storage, name: str = "totals@1", types: Sequence[str] = ()) -> None:
        beside = storage.beside()
        assert beside is not None, f"an engine that offers {CAPABILITY!r} says how to keep views beside the log"
        self.name = name
        self.types = frozenset(types)
        self.seen: list[Row] = []
        self.failure: Callable[[Sequence[Row]], BaseException | None] = lambda _: None
        place = "" if beside.schema is None else f"{beside.schema}."
        self._table = f"{place}view_{name.replace('@', '_')}"
        self._connect = beside.connect

    def take(self, rows: Sequence[Row], connection: Any) -> None:
        """Add the events to the row; then raise what there is to raise."""
        self.seen += rows
        connection.execute(ADD.format(table=self._table, events=len(rows), last=rows[-1][0]))
        if (failure := self.failure(rows)) is not None:
            raise failure

    def make(self, connection: Any, events: int = 0, last: int = 0) -> None:
        """Make the table, with its row."""
        connection.execute(MAKE.format(table=self._table))
        connection.execute(FILL.format(table=self._table, events=events, last=last))

    def row(self) -> tuple[int, int]:
        """Return what stands in the table: how many events, and the last position."""
        connection = self._connect()
        try:
            events, last = connection.execute(READ.format(table=self._table)).fetchone()
        finally:
            connection.close()
        return int(events), int(last)


class InlineViewsConformance:
    """Views beside the events."""

    def test_an_engine_without_inline_views_refuses_them(self, storage: Storage) -> None:
        """What is not offered is refused with a clear error, and no view is registered."""
        if CAPABILITY in storage.capabilities:
            return
        assert raises(UnsupportedOperation, lambda: storage.attach([])).capability == CAPABILITY
        error = raises(UnsupportedOperation, lambda: storage.register_inline([], lambda *_: None))
        assert error.capability == CAPABILITY
        assert storage.inline_views() == ()

    # --- registering ----------------------------------------------------------------------------------

    def test_a_view_that_is_attached_only_is_not_written(self, storage: Storage) -> None:
        """It is still being built; whoever builds it reads the log."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage)
        storage.attach([view])
        append(storage, "seats-1", noted())
        assert view.seen == []
        assert storage.inline_views() == ()

    def test_a_view_is_brought_up_to_the_last_position_and_written_from_there(self, storage: Storage) -> None:
        """What brings it there and the entry of its name are one transaction."""
        asks_for(storage, CAPABILITY)
        append(storage, "seats-1", *notes(3))
        view, told = Totals(storage), []

        def finish(position: int, connection: Any) -> None:
            told.append(position)
            view.make(connection, 3, position)

        storage.attach([view])
        storage.register_inline([view.name], finish)
        assert told == [storage.head()]
        assert storage.inline_views() == (view.name,)
        done = append(storage, "seats-1", *notes(2))
        assert view.row() == (5, done.position)
        assert len(view.seen) == 2

    def test_a_registration_that_fails_leaves_nothing(self, storage: Storage) -> None:
        """Neither a table nor a name, and the error is that of whoever failed."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage)
        storage.attach([view])

        def fail(_: int, connection: Any) -> None:
            view.make(connection)
            raise LookupError("no")

        raises(LookupError, lambda: storage.register_inline([view.name], fail))
        raises(Exception, view.row)
        assert storage.inline_views() == ()
        append(storage, "seats-1", noted())
        _register(storage, view)  # and the table can be made now

    def test_the_names_given_are_the_whole_set(self, storage: Storage) -> None:
        """They are told in order; one that is left out is written no more."""
        asks_for(storage, CAPABILITY)
        first, second = Totals(storage, "b@1"), Totals(storage, "a@1")
        _register(storage, first, second)
        assert storage.inline_views() == ("a@1", "b@1")
        append(storage, "seats-1", noted())
        storage.register_inline(["a@1"], lambda *_: None)
        append(storage, "seats-1", noted())
        assert (first.row()[0], second.row()[0]) == (1, 2)
        storage.register_inline([], lambda *_: None)
        append(storage, "seats-1", noted())
        assert (first.row()[0], second.row()[0]) == (1, 2)
        assert storage.inline_views() == ()

    def test_who_was_not_told_of_a_change_changes_nothing(self, storage: Storage) -> None:
        """Two that register at once do not take each other's names out."""
        asks_for(storage, CAPABILITY)
        first, second = Totals(storage, "a@1"), Totals(storage, "b@1")
        _register(storage, first)
        storage.attach([second])
        assert not storage.register_inline(["b@1"], _never, known=[])
        assert storage.inline_views() == ("a@1",)
        append(storage, "seats-1", noted())
        finish = partial(_finish, storage, [second])
        assert storage.register_inline(["a@1", "b@1"], finish, known=["a@1"])
        append(storage, "seats-1", noted())
        assert (first.row()[0], second.row()[0]) == (2, 2)

    def test_a_name_out_of_rules_is_refused(self, storage: Storage) -> None:
        """As the names of events are; nothing is called and nothing registered."""
        asks_for(storage, CAPABILITY)
        for name in ("", "a\nb", "x" * 256):
            raises(InvalidName, lambda name=name: storage.register_inline([name], _never))  # type: ignore[misc]  # bound
        assert storage.inline_views() == ()

    # --- writing --------------------------------------------------------------------------------------

    def test_every_way_of_appending_writes_the_views(self, storage: Storage) -> None:
        """One write, many, submitted, handed in: the rows are those that a read gives."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage)
        _register(storage, view)
        tagged = noted("Opened", '{"a":"\\u0000ä"}', tags=["a:1", "b:2"], metadata='{"m":1}', correlation_id="c")
        storage.write(writing("seats-1", tagged, *notes(2)))
        storage.write(Write((part("seats-2", *notes(2)), part(None, noted()), part("seats-1", noted()))))
        storage.write_many([writing(f"seats-{number}", noted(), *notes(number)) for number in range(3)])
        storage.submit(writing("seats-3", noted())).result(PATIENCE)
        told = threading.Event()
        storage.hand_in([writing("seats-3", noted()), writing(None, *notes(2))], lambda _: told.set())
        assert comes_true(told)
        assert view.seen == everything(storage)
        assert view.row() == (len(view.seen), storage.head())

    def test_a_view_takes_the_events_of_its_types(self, storage: Storage) -> None:
        """Others do not come to it, and it is not called for nothing."""
        asks_for(storage, CAPABILITY)
        opened, all_of_them = Totals(storage, "opened@1", ["Opened", "Reopened"]), Totals(storage, "all@1")
        _register(storage, opened, all_of_them)
        append(storage, "seats-1", noted("Closed"))
        append(storage, "seats-1", noted("Opened"), noted("Closed"), noted("Reopened"))
        assert [row[3] for row in opened.seen] == ["Opened", "Reopened"]
        assert all_of_them.row()[0] == 4

    def test_appends_without_events_for_a_view_are_accepted_and_refused_as_ever(self, storage: Storage) -> None:
        """Versions, conditions and repeats, in a log whose views take nothing of them."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage, types=["Never"])
        _register(storage, view)
        first = writing("seats-1", noted(), expected=NO_STREAM)
        assert storage.write(first) == storage.write(first)
        raises(WrongExpectedVersion, lambda: append(storage, "seats-1", noted(), expected=NO_STREAM))
        assert (view.seen, len(everything(storage))) == ([], 1)

    def test_a_refused_write_and_a_repeat_write_nothing_to_a_view(self, storage: Storage) -> None:
        """Alone and among others that are accepted."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage)
        _register(storage, view)
        first = writing("seats-1", noted(), expected=NO_STREAM)
        done = storage.write(first)
        assert storage.write(first) == done
        raises(WrongExpectedVersion, lambda: append(storage, "seats-1", noted(), expected=NO_STREAM))
        refused = writing("seats-1", noted(), expected=NO_STREAM)
        outcomes = storage.write_many([first, refused, writing("seats-1", *notes(2), expected=1), first])
        assert [_told(outcome) for outcome in outcomes] == [1, WrongExpectedVersion, 3, 1]
        assert view.seen == everything(storage)
        assert view.row() == (3, storage.head())

    # --- views that fail ------------------------------------------------------------------------------

    def test_a_view_that_fails_refuses_the_write(self, storage: Storage) -> None:
        """Neither its events nor what any view wrote is there; the error says which view, and why."""
        asks_for(storage, CAPABILITY)
        view, other = Totals(storage, "b@1"), Totals(storage, "a@1")
        _register(storage, view, other)
        view.failure = lambda _: ValueError("full")
        error = raises(InlineViewFailed, lambda: append(storage, "seats-1", noted()))
        assert (error.view, error.reason) == ("b@1", "ValueError: full")
        assert isinstance(error.__cause__, ValueError)
        assert (everything(storage), view.row(), other.row()) == ([], (0, 0), (0, 0))
        view.failure = lambda _: None
        assert append(storage, "seats-1", noted(), expected=NO_STREAM).version == 1
        assert (view.row()[0], other.row()[0]) == (1, 1)

    def test_a_view_that_fails_refuses_no_other_write(self, storage: Storage) -> None:
        """Not even one that shares its commit; but one that follows on it."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage)
        view.failure = lambda rows: ValueError("bad") if any(row[3] == "Bad" for row in rows) else None
        _register(storage, view)
        outcomes = storage.write_many(
            [
                writing("seats-1", noted(), expected=0),
                msgspec.structs.replace(writing("seats-1", noted(), expected=1), follows=True),
                msgspec.structs.replace(writing("seats-1", noted("Bad"), expected=2), follows=True),
                msgspec.structs.replace(writing("seats-1", noted(), expected=2), follows=True),
                writing("seats-2", noted()),
            ]
        )
        assert [_told(outcome) for outcome in outcomes] == [1, 2, InlineViewFailed, WrongExpectedVersion, 1]
        assert view.row() == (3, storage.head())
        assert len(everything(storage)) == 3

    def test_an_interrupt_within_a_view_ends_the_append_and_nothing_else(self, storage: Storage) -> None:
        """It is raised as it is; the events are not there, and the engine goes on."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage)
        _register(storage, view)
        view.failure = lambda _: KeyboardInterrupt()
        raises(KeyboardInterrupt, lambda: append(storage, "seats-1", noted()))
        view.failure = lambda _: None
        assert append(storage, "seats-1", noted(), expected=NO_STREAM).version == 1
        assert view.row() == (1, storage.head())

    # --- several engines ------------------------------------------------------------------------------

    def test_a_writer_without_the_view_is_refused(self, storage: Storage, reopen: Reopen) -> None:
        """Whether it was there before the view was registered or came later; reading goes on."""
        asks_for(storage, CAPABILITY)
        before = reopened(storage, reopen, "cross-process")
        append(before, "seats-1", noted())
        view = Totals(storage)
        _register(storage, view)
        for other in (before, reopened(storage, reopen, "cross-process")):
            for write in (writing("seats-1", noted(), expected=1), writing(None, noted())):
                assert raises(InlineViewMissing, lambda other=other, write=write: other.write(write)).views == (  # type: ignore[misc]  # bound
                    view.name,
                )
            assert raises(InlineViewMissing, other.submit(writing("seats-1", noted())).result).views == (view.name,)
            assert (len(everything(other)), other.inline_views()) == (1, (view.name,))
        assert append(storage, "seats-1", noted()).version == 2
        storage.register_inline([], lambda *_: None)
        assert append(before, "seats-1", noted()).version == 3

    def test_a_writer_with_the_view_writes_it_from_its_next_append_on(self, storage: Storage, reopen: Reopen) -> None:
        """Nobody need be told that another engine has registered it."""
        asks_for(storage, CAPABILITY)
        other = reopened(storage, reopen, "cross-process")
        view = Totals(other)
        other.attach([view])
        append(other, "seats-1", noted())
        _register(storage, Totals(storage))
        append(storage, "seats-1", noted())
        append(other, "seats-1", *notes(2))
        assert view.row() == (4, storage.head())
        assert len(view.seen) == 2

    def test_an_import_is_refused(self, storage: Storage) -> None:
        """It would leave holes in the views."""
        asks_for(storage, CAPABILITY)
        view = Totals(storage)
        _register(storage, view)
        imported = ImportedEvent(7, "seats-1", 1, noted(), 1_000_000)
        assert view.name in str(raises(InvalidAppend, lambda: storage.import_events([imported])))
        assert storage.head() == 0
        storage.register_inline([], lambda *_: None)
        assert storage.import_events([imported]) == 1

    # --- many at once ---------------------------------------------------------------------------------

    def test_a_registration_amid_appends_counts_each_event_once(self, storage: Storage, reopen: Reopen) -> None:
        """Nobody appends beside it: what it was told of, and what views took since, is the whole log."""
        asks_for(storage, CAPABILITY)
        engines = [storage, reopened(storage, reopen, "cross-process")]
        views = [Totals(storage, f"totals@{number}") for number in range(REGISTRATIONS)]
        for engine in engines:
            engine.attach([Totals(storage, view.name) for view in views])
        with _writing(engines):
            for registered, view in enumerate(views, 1):
                names = [one.name for one in views[:registered]]
                storage.register_inline(names, partial(_finish, storage, [view]))
        whole = everything(storage)
        assert [view.row() for view in views] == [(len(whole), storage.head())] * len(views)

    def test_a_view_has_each_event_that_was_accepted_of_many_at_once(self, storage: Storage, reopen: Reopen) -> None:
        """Through several engines, with refusals, repeats, and failures of the view now and then."""
        asks_for(storage, CAPABILITY)
        engines = [storage, reopened(storage, reopen, "cross-process")]
        _register(storage, Totals(storage))
        for engine in engines:
            view = Totals(storage)
            view.failure = lambda rows: ValueError("bad") if any(row[3] == "Bad" for row in rows) else None
            engine.attach([view])
        with _writing(engines):
            pass
        whole = everything(storage)
        assert {row[3] for row in whole} == {"Noted"}
        assert len(whole) == len(engines) * WRITERS * (EACH - EACH // 10)
        assert Totals(storage).row() == (len(whole), storage.head())


@contextmanager
def _writing(engines: Sequence[Storage]) -> Iterator[None]:
    """Have threads append through each engine meanwhile; wait for them at the end of the block."""
    with ThreadPoolExecutor(len(engines) * WRITERS) as pool:
        racers = [
            pool.submit(_write, engine, f"seats-{number}-{index}")
            for index, engine in enumerate(engines)
            for number in range(WRITERS)
        ]
        yield
        for racer in racers:
            racer.result()


def _write(engine: Storage, stream: str) -> None:
    """Append events one by one: each tenth is of another type and may be refused by a view, some are repeated."""
    for number in range(1, EACH + 1):
        write = writing(stream, noted("Noted" if number % 10 else "Bad"))
        with suppress(InlineViewFailed):
            engine.write(write)
            if number % 7 == 0:
                engine.write(write)


def _register(storage: Storage, *views: Totals) -> None:
    """Attach and register views of a log, with their tables."""
    storage.attach(views)
    storage.register_inline([view.name for view in views], partial(_finish, storage, views))


def _finish(storage: Storage, views: Sequence[Totals], position: int, connection: Any) -> None:
    """Make the views' tables, with all events up to a position."""
    for view in views:
        view.make(connection, len(matching(storage, Query(), to=position)), position)


def _never(_: int, __: Any) -> None:
    raise AssertionError("nothing was to be called")


def _told(outcome: Outcome) -> object:
    """Return the first part's version, or the kind of the refusal."""
    return type(outcome) if isinstance(outcome, SachoError) else outcome[0].version
