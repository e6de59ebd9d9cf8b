"""Several at once: one write over several streams, many writes on their own, and writes that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import msgspec

from sacho.errors import AppendConditionFailed, SachoError, UnsupportedOperation, WrongExpectedVersion
from sacho.events import NO_STREAM, Appended, QueryItem, Write
from sacho.storage.port import Outcome, Storage
from sacho.testing.conformance.building import (
    PATIENCE,
    append,
    asks_for,
    comes_true,
    condition,
    everything,
    noted,
    notes,
    of_stream,
    part,
    raises,
    writing,
)


class SeveralConformance:
    """Writes of several parts, several writes, and writes handed in."""

    # --- one write over several streams ---------------------------------------------------------------

    def test_an_engine_without_atomic_streams_refuses_several(self, storage: Storage) -> None:
        """What is not offered is refused with a clear error, and nothing of it is written."""
        write = Write((part("seats-1", noted()), part("orders-1", noted())))
        if "atomic-streams" in storage.capabilities:
            assert len(storage.write(write)) == 2
        else:
            assert raises(UnsupportedOperation, lambda: storage.write(write)).capability == "atomic-streams"
            assert storage.head() == 0

    def test_a_write_over_several_streams_tells_of_each_part_in_order(self, storage: Storage) -> None:
        """There is one Appended for each part, in the order of the parts."""
        asks_for(storage, "atomic-streams")
        append(storage, "orders-1", noted())
        done = storage.write(Write((part("seats-1", *notes(2)), part("orders-1", noted()), part(None, noted()))))
        rows = everything(storage)
        assert done == [Appended(2, rows[2][0]), Appended(2, rows[3][0]), Appended(None, rows[4][0])]
        assert [row[1] for row in rows] == ["orders-1", "seats-1", "seats-1", "orders-1", None]

    def test_a_refusal_of_a_later_part_leaves_nothing_of_the_earlier(self, storage: Storage) -> None:
        """All parts or none: a wrong version of the last undoes the first."""
        asks_for(storage, "atomic-streams")
        append(storage, "orders-1", noted())
        before = everything(storage)
        write = Write(
            (part("seats-1", *notes(3)), part(None, noted()), part("orders-1", noted(), expected=NO_STREAM)),
        )
        error = raises(WrongExpectedVersion, lambda: storage.write(write))
        assert (error.stream, error.expected, error.actual) == ("orders-1", NO_STREAM, 1)
        assert everything(storage) == before
        assert append(storage, "seats-1", noted(), expected=NO_STREAM).version == 1

    def test_a_failed_condition_leaves_nothing_of_any_part(self, storage: Storage) -> None:
        """A condition stands over all parts together."""
        asks_for(storage, "atomic-streams")
        asks_for(storage, "conditions")
        append(storage, "seats-1", noted("Opened"))
        before = everything(storage)
        write = Write((part("a-1", noted()), part("b-1", noted())), condition(QueryItem(types=["Opened"])))
        raises(AppendConditionFailed, lambda: storage.write(write))
        assert everything(storage) == before

    def test_a_part_sees_the_parts_before_it(self, storage: Storage) -> None:
        """A stream may stand in a write twice: the second time it is at the version the first has made."""
        asks_for(storage, "atomic-streams")
        done = storage.write(
            Write(
                (
                    part("seats-1", *notes(2), expected=NO_STREAM),
                    part("orders-1", noted()),
                    part("seats-1", noted(), expected=2),
                )
            )
        )
        assert [one.version for one in done] == [2, 1, 3]
        again = Write((part("new-1", noted()), part("new-1", noted(), expected=NO_STREAM)))
        assert raises(WrongExpectedVersion, lambda: storage.write(again)).actual == 1
        assert of_stream(storage, "new-1") == []

    # --- many writes ----------------------------------------------------------------------------------

    def test_no_writes_have_no_outcomes(self, storage: Storage) -> None:
        """Nothing to write is no error."""
        assert storage.write_many([]) == []
        assert storage.head() == 0

    def test_each_of_many_writes_is_accepted_or_refused_on_its_own(self, storage: Storage) -> None:
        """One that is refused takes no other with it; the outcomes come in order."""
        outcomes = storage.write_many(
            [
                writing("seats-1", noted(), expected=NO_STREAM),
                writing("seats-1", noted(), expected=NO_STREAM),
                writing("seats-2", *notes(2)),
                writing("seats-3", noted(), expected=5),
                writing("seats-4", noted()),
            ]
        )
        assert [_told(outcome) for outcome in outcomes] == [1, WrongExpectedVersion, 2, WrongExpectedVersion, 1]
        assert [row[1] for row in everything(storage)] == ["seats-1", "seats-2", "seats-2", "seats-4"]

    def test_later_of_many_writes_may_build_on_earlier(self, storage: Storage) -> None:
        """They are taken in order, each on what the ones before have left."""
        outcomes = storage.write_many([writing("seats-1", noted(), expected=version) for version in (0, 1, 1, 2, 4)])
        assert [_told(outcome) for outcome in outcomes] == [1, 2, WrongExpectedVersion, 3, WrongExpectedVersion]
        assert len(of_stream(storage, "seats-1")) == 3

    def test_a_write_follows_one_that_was_accepted(self, storage: Storage) -> None:
        """As commands for one stream do that were decided in turn; also where their tags are too many for one commit."""
        chain = [writing("seats-1", noted(), expected=0), *(_following("seats-1", version) for version in range(1, 5))]
        assert [_told(outcome) for outcome in storage.write_many(chain)] == [1, 2, 3, 4, 5]
        tags = [[f"k:{write}-{tag}" for tag in range(120)] for write in range(4)]
        chain = [_following("seats-1", 5 + number, tags=some) for number, some in enumerate(tags)]
        chain[0] = msgspec.structs.replace(chain[0], follows=False)
        assert [_told(outcome) for outcome in storage.write_many(chain)] == [6, 7, 8, 9]

    def test_a_write_does_not_follow_one_that_was_refused(self, storage: Storage) -> None:
        """What was decided on events that are not there is refused, though its own version were right."""
        outcomes = storage.write_many(
            [
                writing("seats-1", noted(), expected=7),
                _following("seats-1", 0),
                _following("seats-1", 0),
                writing("seats-1", noted(), expected=0),
                _following("seats-1", 1),
            ]
        )
        assert [_told(outcome) for outcome in outcomes] == [*[WrongExpectedVersion] * 3, 1, 2]

    def test_a_write_does_not_follow_a_repeat(self, storage: Storage) -> None:
        """The repeat was recorded before; whoever decided on top of it did not know of what came since."""
        first = writing("seats-1", noted(), expected=0)
        storage.write(first)
        outcomes = storage.write_many([first, _following("seats-1", 1)])
        assert [_told(outcome) for outcome in outcomes] == [1, WrongExpectedVersion]

    def test_later_of_many_writes_are_held_to_their_conditions_by_earlier(self, storage: Storage) -> None:
        """A condition counts what the writes before it have written, and not what they were refused."""
        asks_for(storage, "conditions")
        seat = condition(QueryItem(tags=["seat:1"]))
        outcomes = storage.write_many(
            [
                writing("a-1", noted(tags=["seat:1"]), expected=9),
                writing("a-1", noted(tags=["seat:1"]), condition=seat),
                writing("a-2", noted(tags=["seat:1"]), condition=seat),
                writing("a-3", noted(tags=["seat:2"]), condition=condition(QueryItem(tags=["seat:2"]))),
            ]
        )
        assert [_told(outcome) for outcome in outcomes] == [WrongExpectedVersion, 1, AppendConditionFailed, 1]

    def test_more_writes_than_fit_one_commit_are_taken_in_order(self, storage: Storage) -> None:
        """How many there are changes nothing."""
        outcomes = storage.write_many([writing("seats-1", noted(), expected=version) for version in range(1_100)])
        assert [_told(outcome) for outcome in outcomes] == list(range(1, 1_101))

    # --- writes that nobody waits for -----------------------------------------------------------------

    def test_a_submitted_write_brings_its_result(self, storage: Storage) -> None:
        """The future has what `write` would have returned, and then it is in the log."""
        assert storage.submit(writing("seats-1", *notes(2))).result(PATIENCE) == [Appended(2, storage.head())]
        assert len(everything(storage)) == 2

    def test_a_submitted_write_brings_its_refusal(self, storage: Storage) -> None:
        """The future has the error that `write` would have raised."""
        error = storage.submit(writing("seats-1", noted(), expected=3)).exception(PATIENCE)
        assert isinstance(error, WrongExpectedVersion)
        assert error.actual == 0
        assert storage.head() == 0

    def test_submitted_writes_are_taken_in_the_order_of_one_thread(self, storage: Storage) -> None:
        """Those that build on each other may be submitted without waiting between them."""
        futures = [storage.submit(writing("seats-1", noted(), expected=version)) for version in range(300)]
        assert [future.result(PATIENCE)[0].version for future in futures] == list(range(1, 301))

    def test_cancelling_a_future_undoes_nothing(self, storage: Storage) -> None:
        """What was handed in may have happened; the same ids tell."""
        futures: list[Future[list[Appended]]] = []
        for _ in range(50):
            futures.append(storage.submit(writing("seats-1", noted())))
            futures[-1].cancel()
        last = storage.submit(writing("seats-1", noted())).result(PATIENCE)
        assert last[0].version == 51
        assert all(future.cancelled() or future.result(PATIENCE) for future in futures)

    def test_writes_handed_in_are_told_once_each_with_its_outcome(self, storage: Storage) -> None:
        """A refusal is told like a result, and not raised."""
        told: list[list[Outcome]] = []
        done = threading.Event()
        writes = [writing("seats-1", noted()), writing("seats-1", noted(), expected=7), writing("seats-2", noted())]
        storage.hand_in(writes, lambda outcomes: told.append(outcomes) or done.set())  # type: ignore[func-returns-value]
        assert comes_true(done)
        assert [[_told(outcome) for outcome in outcomes] for outcomes in told] == [[1, WrongExpectedVersion, 1]]


def _following(stream: str, version: int, tags: Sequence[str] = ()) -> Write:
    """Return a write that rests on the one before it."""
    return Write((part(stream, noted(tags=tags), expected=version),), follows=True)


def _told(outcome: Outcome) -> object:
    """Return the first part's version, or the kind of the refusal."""
    return type(outcome) if isinstance(outcome, SachoError) else outcome[0].version
