"""Append conditions: an append fails if an event that its query means stands after a position.

Source of the semantics: the specification of Dynamic Consistency Boundaries, dcb.events.
"""

from __future__ import annotations

from random import Random

from sacho.errors import AppendConditionFailed, UnsupportedOperation, WrongExpectedVersion
from sacho.events import AppendCondition, Query, QueryItem
from sacho.storage.port import Row, Storage
from sacho.testing.conformance.building import (
    append,
    asks_for,
    condition,
    everything,
    filled,
    is_meant,
    noted,
    notes,
    raises,
    some_event,
    some_query,
    some_stream,
)


class ConditionsConformance:
    """The condition of a write against what the log holds."""

    def test_an_engine_without_conditions_refuses_them(self, storage: Storage) -> None:
        """What is not offered is refused with a clear error, and nothing of it is written."""
        if "conditions" in storage.capabilities:
            assert append(storage, "seats-1", noted(), condition=condition()).version == 1
        else:
            error = raises(UnsupportedOperation, lambda: append(storage, "seats-1", noted(), condition=condition()))
            assert error.capability == "conditions"
            assert storage.head() == 0

    def test_a_condition_by_type_is_held(self, storage: Storage) -> None:
        """Any of an item's types is enough to fail."""
        append_opened(storage)
        refuses(storage, QueryItem(types=["Opened"]))
        refuses(storage, QueryItem(types=["Never", "Opened"]))
        allows(storage, QueryItem(types=["Never"]))
        allows(storage, QueryItem(types=["opened"]))
        allows(storage, QueryItem(types=["Open"]))

    def test_a_condition_by_tags_is_held(self, storage: Storage) -> None:
        """An event must carry all of an item's tags to fail it."""
        append_opened(storage)
        refuses(storage, QueryItem(tags=["seat:1"]))
        refuses(storage, QueryItem(tags=["seat:1", "guest:a"]))
        allows(storage, QueryItem(tags=["seat:2"]))
        allows(storage, QueryItem(tags=["seat:1", "seat:2"]))
        allows(storage, QueryItem(tags=["seat:"]))

    def test_a_condition_by_category_is_held(self, storage: Storage) -> None:
        """The category is what stands before the first '-' of the stream's id, and the whole id where there is none."""
        append_opened(storage)
        append(storage, "bare", noted())
        refuses(storage, QueryItem(categories=["seats"]))
        refuses(storage, QueryItem(categories=["never", "seats"]))
        refuses(storage, QueryItem(categories=["bare"]))
        allows(storage, QueryItem(categories=["seat"]))
        allows(storage, QueryItem(categories=["seats-1"]))

    def test_the_parts_of_an_item_must_all_be_met_by_one_event(self, storage: Storage) -> None:
        """Type, tags and category of different events together fail nothing."""
        append_opened(storage)
        append(storage, "orders-1", noted("Placed", tags=["order:1"]))
        refuses(storage, QueryItem(types=["Opened"], tags=["seat:1"], categories=["seats"]))
        allows(storage, QueryItem(types=["Placed"], tags=["seat:1"]))
        allows(storage, QueryItem(types=["Placed"], categories=["seats"]))
        allows(storage, QueryItem(tags=["order:1"], categories=["seats"]))

    def test_any_item_that_is_met_fails_the_condition(self, storage: Storage) -> None:
        """A query is an OR over its items."""
        append_opened(storage)
        refuses(storage, QueryItem(types=["Never"]), QueryItem(tags=["seat:1"]))
        allows(storage, QueryItem(types=["Never"]), QueryItem(tags=["seat:9"]))

    def test_a_query_without_items_and_an_item_without_parts_mean_every_event(self, storage: Storage) -> None:
        """They allow an append only while nothing has happened since, in short logs and in longer ones."""
        asks_for(storage, "conditions")
        assert append(storage, "seats-1", noted(), condition=condition()).version == 1
        for count in (1, 150, 300):
            append(storage, "seats-1", *notes(count))
            head = storage.head()
            for items in ((), (QueryItem(),), (QueryItem(types=["Never"]), QueryItem())):
                assert refuses(storage, *items).position <= head
                assert refuses(storage, *items, after=head - 1).position == head
            append(storage, None, noted(), condition=condition(QueryItem(), after=storage.head()))

    def test_only_events_after_the_position_count(self, storage: Storage) -> None:
        """An event at the position itself was seen by the reader."""
        append_opened(storage)
        head = storage.head()
        assert refuses(storage, QueryItem(types=["Opened"]), after=head - 1).position == head
        allows(storage, QueryItem(types=["Opened"]), after=head)
        allows(storage, QueryItem(types=["Opened"]), after=2**62)

    def test_the_error_says_where_an_excluded_event_stands(self, storage: Storage) -> None:
        """`position` is that of an event that matches, `after` the bound that was given."""
        asks_for(storage, "conditions")
        for seat in (1, 2, 1, 2):
            append(storage, "seats-1", noted(tags=[f"seat:{seat}"]))
        rows = everything(storage)
        error = refuses(storage, QueryItem(tags=["seat:2"]), after=rows[0][0])
        assert error.after == rows[0][0]
        assert error.position in {rows[1][0], rows[3][0]}

    def test_events_of_no_stream_count_by_type_and_tag_and_in_no_category(self, storage: Storage) -> None:
        """They are as much a part of the log as all others."""
        asks_for(storage, "conditions")
        append(storage, None, noted("Opened", tags=["seat:1"]))
        refuses(storage, QueryItem(types=["Opened"], tags=["seat:1"]))
        allows(storage, QueryItem(types=["Opened"], categories=["seats"]))

    def test_an_appends_own_events_do_not_count(self, storage: Storage) -> None:
        """What is about to be written is not there yet."""
        asks_for(storage, "conditions")
        opened = condition(QueryItem(types=["Opened"]))
        assert append(storage, "seats-1", noted("Opened"), noted("Opened"), condition=opened).version == 2

    def test_a_refused_write_leaves_no_trace_in_later_conditions(self, storage: Storage) -> None:
        """What was not written is not found."""
        asks_for(storage, "conditions")
        raises(WrongExpectedVersion, lambda: append(storage, "seats-1", noted("Opened", tags=["seat:1"]), expected=3))
        allows(storage, QueryItem(types=["Opened"]))
        allows(storage, QueryItem(tags=["seat:1"]))
        allows(storage, QueryItem(categories=["seats"]))

    def test_the_condition_is_checked_before_the_version(self, storage: Storage) -> None:
        """Where both are wrong, the condition is named."""
        append_opened(storage)
        refused = condition(QueryItem(types=["Opened"]))
        raises(AppendConditionFailed, lambda: append(storage, "seats-1", noted(), expected=7, condition=refused))
        met = condition(QueryItem(types=["Never"]))
        raises(WrongExpectedVersion, lambda: append(storage, "seats-1", noted(), expected=7, condition=met))

    def test_a_condition_of_many_items_is_held(self, storage: Storage) -> None:
        """How many items a query has changes nothing."""
        asks_for(storage, "conditions")
        for seat in range(0, 600, 5):
            append(storage, None, noted(tags=[f"seat:{seat}"]))
        refuses(storage, *(QueryItem(tags=[f"seat:{seat}"]) for seat in range(600)))
        allows(storage, *(QueryItem(tags=[f"seat:{seat}"]) for seat in range(600) if seat % 5))

    def test_conditions_agree_with_a_plain_search_of_the_log(self, storage: Storage) -> None:
        """For queries, positions and events by chance an append is refused just when the search finds something."""
        asks_for(storage, "conditions")
        random = Random(20)
        filled(storage, random, 250)
        for _ in range(250):
            rows = everything(storage)
            wanted = AppendCondition(some_query(random), random.choice(rows[-200:])[0] - random.randrange(2))
            excluded = {row[0] for row in rows if row[0] > wanted.after and is_meant(wanted.query, row)}
            _held(storage, random, wanted, excluded)


def _held(storage: Storage, random: Random, wanted: AppendCondition, excluded: set[int]) -> None:
    stream, event = some_stream(random), some_event(random)
    if not excluded:
        append(storage, stream, event, condition=wanted)
        return
    error = raises(AppendConditionFailed, lambda: append(storage, stream, event, condition=wanted))
    assert error.position in excluded, wanted
    assert storage.find([event.id]) == []


def append_opened(storage: Storage) -> list[Row]:
    """Append a first event that others are measured by; return the log."""
    asks_for(storage, "conditions")
    append(storage, "seats-1", noted("Opened", tags=["seat:1", "guest:a"]))
    return everything(storage)


def refuses(storage: Storage, *items: QueryItem, after: int = 0) -> AppendConditionFailed:
    """Assert that the condition refuses an append, which leaves nothing; return the error."""
    head = storage.head()
    wanted = AppendCondition(Query(*items), after)
    error = raises(AppendConditionFailed, lambda: append(storage, "probe-1", noted("Probed"), condition=wanted))
    assert storage.head() == head
    assert error.after == after
    assert error.position > after
    return error


def allows(storage: Storage, *items: QueryItem, after: int = 0) -> None:
    """Assert that the condition lets an append through."""
    head = storage.head()
    append(storage, "probe-1", noted("Probed"), condition=AppendCondition(Query(*items), after))
    assert storage.head() > head
