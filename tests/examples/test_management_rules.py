"""Every rule of conference management, as given/when/then; and slugs, which are unique across conferences."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import sacho
from examples.conference.management import (
    AddSeatType,
    Conference,
    ConferenceCreated,
    ConferenceExists,
    ConferencePublished,
    ConferenceUnpublished,
    ConferenceUpdated,
    CreateConference,
    Details,
    DropSeatType,
    NoSuchSeatType,
    PublishConference,
    SeatType,
    SeatTypeAdded,
    SeatTypeDrafted,
    SeatTypeDropped,
    SeatTypeExists,
    SeatTypeIsBooked,
    SeatTypeUpdated,
    SlugClaimed,
    SlugTaken,
    UnknownConference,
    UnpublishConference,
    UpdateConference,
    UpdateSeatType,
    conference_stream,
    create_conference,
    slug_stream,
)
from examples.conference.rules import InvalidField
from sacho.testing import given_for
from tests.conftest import ENGINES

given = given_for(Conference())

DETAILS = Details("PyConf", "All about Python", "Seoul", "Write less", date(2027, 5, 1), date(2027, 5, 3))
CREATE = CreateConference("c1", "pyconf", "A1B2C3", "Ann", "ann@example.org", DETAILS)
CREATED = ConferenceCreated("c1", "pyconf", "A1B2C3", "Ann", "ann@example.org", DETAILS)
GA = SeatType("General admission", "", 100, Decimal(199))
PLANNED = SeatTypeDrafted("c1", "GA", GA)
PUBLISHED = ConferencePublished("c1")
ADDED = SeatTypeAdded("c1", "GA", "General admission", "", 100, Decimal(199))
PATIENCE = 120


def add(seat_type: str, **changes: Any) -> AddSeatType:
    return AddSeatType("c1", seat_type, **{**msgspec.structs.asdict(GA), **changes})


def update(seat_type: str, **changes: Any) -> UpdateSeatType:
    return UpdateSeatType("c1", seat_type, **{**msgspec.structs.asdict(GA), **changes})


# --- the conference -----------------------------------------------------------------------------------


def test_a_conference_is_created_unpublished_with_the_access_code_of_its_caller() -> None:
    done = given().when(CREATE).then(CREATED)
    assert not done._state.is_published


def test_a_conference_is_created_once() -> None:
    given(CREATED).when(CREATE).then_refused(ConferenceExists)


@pytest.mark.parametrize("slug", ["", "a b", "a-b", "é", "a/b", "x" * 101])
def test_a_slug_is_of_word_characters(slug: str) -> None:
    refusal = given().when(msgspec.structs.replace(CREATE, slug=slug)).then_refused(InvalidField)
    assert refusal.field == "slug"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("access_code", "12345"),
        ("access_code", "abcdef"),
        ("owner_name", " "),
        ("owner_email", "ann"),
        ("owner_email", ""),
    ],
)
def test_a_conference_with_a_field_that_cannot_be_meant_is_refused_by_its_name(field: str, value: str) -> None:
    refusal = given().when(msgspec.structs.replace(CREATE, **{field: value})).then_refused(InvalidField)
    assert refusal.field == field


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("description", ""), ("location", ""), ("ends_on", date(2027, 4, 30))]
)
def test_details_that_cannot_be_meant_are_refused_by_the_name_of_the_field(field: str, value: Any) -> None:
    details = msgspec.structs.replace(DETAILS, **{field: value})
    for when in (
        given().when(msgspec.structs.replace(CREATE, details=details)),
        given(CREATED).when(UpdateConference("c1", details)),
    ):
        assert when.then_refused(InvalidField).field == field


def test_details_may_change_and_the_same_again_changes_nothing() -> None:
    other = msgspec.structs.replace(DETAILS, location="Busan")
    given(CREATED).when(UpdateConference("c1", other)).then(ConferenceUpdated("c1", other))
    given(CREATED, ConferenceUpdated("c1", other)).when(UpdateConference("c1", other)).then_nothing()


@pytest.mark.parametrize("command", [PublishConference("c1"), UpdateConference("c1", DETAILS), add("GA")])
def test_a_conference_that_is_not_there_is_unknown(command: Any) -> None:
    given().when(command).then_refused(UnknownConference)


# --- publishing ---------------------------------------------------------------------------------------


def test_seat_types_reach_booking_with_the_first_publication_one_event_each_before_it() -> None:
    workshop = SeatType("Workshop", "Hands on", 20, Decimal("500.00"))
    given(CREATED, PLANNED, SeatTypeDrafted("c1", "WS", workshop)).when(PublishConference("c1")).then(
        ADDED, SeatTypeAdded("c1", "WS", "Workshop", "Hands on", 20, Decimal("500.00")), PUBLISHED
    )


def test_later_publications_add_no_seat_types_again() -> None:
    before = given(CREATED, PLANNED, ADDED, PUBLISHED, ConferenceUnpublished("c1"))
    before.when(PublishConference("c1")).then(PUBLISHED)


def test_publishing_and_unpublishing_twice_changes_nothing() -> None:
    given(CREATED, PUBLISHED).when(PublishConference("c1")).then_nothing()
    given(CREATED, PUBLISHED).when(UnpublishConference("c1")).then(ConferenceUnpublished("c1"))
    given(CREATED).when(UnpublishConference("c1")).then_nothing()


# --- seat types ---------------------------------------------------------------------------------------


def test_before_the_first_publication_a_seat_type_is_a_draft_that_may_change_and_go() -> None:
    more = SeatTypeDrafted("c1", "GA", msgspec.structs.replace(GA, quantity=120))
    given(CREATED).when(add("GA")).then(PLANNED)
    given(CREATED, PLANNED).when(update("GA", quantity=120)).then(more)
    given(CREATED, PLANNED).when(DropSeatType("c1", "GA")).then(SeatTypeDropped("c1", "GA"))
    given(CREATED, PLANNED, SeatTypeDropped("c1", "GA")).when(PublishConference("c1")).then(PUBLISHED)


def test_after_it_a_seat_type_is_added_and_changed_for_booking_at_once_and_stays() -> None:
    given(CREATED, PUBLISHED).when(add("GA")).then(ADDED)
    given(CREATED, PUBLISHED, ADDED).when(update("GA", price=Decimal("149.50"))).then(
        SeatTypeUpdated("c1", "GA", "General admission", "", 100, Decimal("149.50"))
    )
    given(CREATED, PUBLISHED, ADDED).when(DropSeatType("c1", "GA")).then_refused(SeatTypeIsBooked)
    given(CREATED, ADDED, PUBLISHED, ConferenceUnpublished("c1")).when(DropSeatType("c1", "GA")).then_refused(
        SeatTypeIsBooked
    )


def test_a_seat_type_is_added_once_and_only_known_ones_change() -> None:
    given(CREATED, PLANNED).when(add("GA")).then_refused(SeatTypeExists)
    given(CREATED).when(update("GA")).then_refused(NoSuchSeatType)
    given(CREATED).when(DropSeatType("c1", "GA")).then_refused(NoSuchSeatType)
    given(CREATED, PLANNED).when(update("GA")).then_nothing()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x"),
        ("name", "x" * 71),
        ("description", "x" * 251),
        ("quantity", -1),
        ("quantity", 100_001),
        ("quantity", 1.5),
        ("quantity", True),
        ("price", Decimal("-0.01")),
        ("price", Decimal("50000.01")),
        ("price", Decimal("0.001")),
        ("price", Decimal("NaN")),
        ("price", 1.5),
        ("price", 1),
    ],
)
def test_a_seat_type_out_of_its_bounds_is_refused_by_the_name_of_the_field(field: str, value: Any) -> None:
    assert given(CREATED).when(add("GA", **{field: value})).then_refused(InvalidField).field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "xx"),
        ("name", "x" * 70),
        ("description", "x" * 250),
        ("quantity", 0),
        ("quantity", 100_000),
        ("price", Decimal(0)),
        ("price", Decimal("50000.00")),
        ("price", Decimal("0.01")),
    ],
)
def test_a_seat_type_at_its_bounds_is_taken(field: str, value: Any) -> None:
    plan = msgspec.structs.replace(GA, **{field: value})
    given(CREATED).when(add("GA", **{field: value})).then(SeatTypeDrafted("c1", "GA", plan))


# --- slugs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slug_is_of_one_conference_only_however_many_want_it_at_once(
    engine: str, url_of: Callable[[str], str]
) -> None:
    start = threading.Barrier(8, timeout=PATIENCE)
    with sacho.connect(url_of(engine)) as store, ThreadPoolExecutor(8) as threads:

        def create(number: int) -> str:
            slug = "PyConf" if number % 2 else "pyconf"
            start.wait()
            try:
                create_conference(
                    store, msgspec.structs.replace(CREATE, conference_id=f"c{number}", slug=slug), f"{number}"
                )
            except SlugTaken as refusal:
                assert refusal.slug == slug
                return ""
            return f"c{number}"

        [winner] = filter(None, threads.map(create, range(8)))
        [claim] = store.read(slug_stream("pyconf"))
        assert isinstance(claim.event, SlugClaimed)
        assert claim.event.conference_id == winner
        assert [len(list(store.read(conference_stream(f"c{n}")))) for n in range(8)].count(1) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_creating_a_conference_twice_by_one_command_changes_nothing(engine: str, url_of: Callable[[str], str]) -> None:
    with sacho.connect(url_of(engine)) as store:
        create_conference(store, CREATE, "1")
        create_conference(store, CREATE, "1")
        assert [recorded.event for recorded in store.read_all()] == [SlugClaimed("pyconf", "c1"), CREATED]
        with pytest.raises(ConferenceExists):
            create_conference(store, msgspec.structs.replace(CREATE, slug="other"), "2")
        with pytest.raises(SlugTaken):
            create_conference(store, msgspec.structs.replace(CREATE, conference_id="c2"), "3")
        assert len(list(store.read_all())) == 2
