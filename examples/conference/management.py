"""Conference: what the organiser says of it, its seat types, and whether it is published.

One entity for each conference, stream `conference-<conference id>`. The booking side hears of seat types only when the
conference is published for the first time: until then they are drafts, which may change and go at will.

A slug is of one conference only. No decider can see to that, since it knows one stream and nothing beside it. So a slug
has a stream of its own, `slug-<slug>`, that must not exist: `create_conference` appends the claim together with the
conference, both or neither. That holds under any concurrency on every engine; an append condition on a tag would do the
same where the engine has conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Final, TypeAlias
from uuid import UUID, uuid5

import msgspec

from examples.conference.rules import InvalidField, check_email, check_number, check_price, check_text
from sacho import NO_STREAM, Append, CommandRefused, Decider, Event, EventData, EventStore, stream_id
from sacho.errors import WrongExpectedVersion

MOST_SEATS: Final = 100_000
HIGHEST_PRICE: Final = 50_000
_SLUG: Final = re.compile(r"\w{1,100}", re.ASCII)
_ACCESS_CODE: Final = re.compile(r"[A-Z0-9]{6}")
_IDS: Final = UUID("5ac40000-0000-5000-8000-000000000001")
"""The namespace of the ids of the events that create a conference."""


def conference_stream(conference_id: str) -> str:
    """Return the stream of a conference."""
    return stream_id("conference", conference_id)


def slug_stream(slug: str) -> str:
    """Return the stream that says whose a slug is. Case makes no difference."""
    return stream_id("slug", slug.lower())


class Details(msgspec.Struct, frozen=True):
    """What the organiser may change of a conference at any time."""

    name: str
    description: str
    location: str
    tagline: str
    starts_on: date
    ends_on: date


class SeatType(msgspec.Struct, frozen=True):
    """A kind of seats: how many there are, and what one costs."""

    name: str
    description: str
    quantity: int
    price: Decimal


# --- events -------------------------------------------------------------------------------------------


class ConferenceCreated(Event, tags=("conference:{conference_id}",)):
    """A conference was created, unpublished. Who knows the access code manages it."""

    conference_id: str
    slug: str
    access_code: str
    owner_name: str
    owner_email: str
    details: Details


class SlugClaimed(Event, tags=("conference:{conference_id}",)):
    """A slug is this conference's."""

    slug: str
    conference_id: str


class ConferenceUpdated(Event, tags=("conference:{conference_id}",)):
    """The organiser changed what is said of the conference."""

    conference_id: str
    details: Details


class ConferencePublished(Event, tags=("conference:{conference_id}",)):
    """Everybody may see the conference and register."""

    conference_id: str


class ConferenceUnpublished(Event, tags=("conference:{conference_id}",)):
    """Nobody but the organiser may see the conference."""

    conference_id: str


class SeatTypeDrafted(Event, tags=("conference:{conference_id}",)):
    """The organiser planned a seat type, or changed the plan, before the first publication."""

    conference_id: str
    seat_type: str
    plan: SeatType


class SeatTypeDropped(Event, tags=("conference:{conference_id}",)):
    """A planned seat type will not be."""

    conference_id: str
    seat_type: str


class SeatTypeAdded(Event, tags=("conference:{conference_id}",)):
    """There are seats of this type; they can be booked."""

    conference_id: str
    seat_type: str
    name: str
    description: str
    quantity: int
    price: Decimal


class SeatTypeUpdated(Event, tags=("conference:{conference_id}",)):
    """The organiser changed a seat type that can be booked."""

    conference_id: str
    seat_type: str
    name: str
    description: str
    quantity: int
    price: Decimal


ConferenceEvent: TypeAlias = (
    ConferenceCreated
    | ConferenceUpdated
    | ConferencePublished
    | ConferenceUnpublished
    | SeatTypeDrafted
    | SeatTypeDropped
    | SeatTypeAdded
    | SeatTypeUpdated
)

# --- commands -----------------------------------------------------------------------------------------


class CreateConference(msgspec.Struct, frozen=True):
    """Create a conference. Ids and the access code are made by the caller, the code by `secrets`: a decider has no dice."""

    conference_id: str
    slug: str
    access_code: str
    owner_name: str
    owner_email: str
    details: Details


class UpdateConference(msgspec.Struct, frozen=True):
    """Change what is said of a conference."""

    conference_id: str
    details: Details


class PublishConference(msgspec.Struct, frozen=True):
    """Let everybody see the conference."""

    conference_id: str


class UnpublishConference(msgspec.Struct, frozen=True):
    """Let nobody but the organiser see the conference. What is booked stays booked."""

    conference_id: str


class AddSeatType(msgspec.Struct, frozen=True):
    """Add a type of seats."""

    conference_id: str
    seat_type: str
    name: str
    description: str
    quantity: int
    price: Decimal


class UpdateSeatType(msgspec.Struct, frozen=True):
    """Change a type of seats: what it is called, costs, and how many there are."""

    conference_id: str
    seat_type: str
    name: str
    description: str
    quantity: int
    price: Decimal


class DropSeatType(msgspec.Struct, frozen=True):
    """Give up a type of seats; only before the first publication."""

    conference_id: str
    seat_type: str


ConferenceCommand: TypeAlias = (
    CreateConference
    | UpdateConference
    | PublishConference
    | UnpublishConference
    | AddSeatType
    | UpdateSeatType
    | DropSeatType
)

# --- refusals -----------------------------------------------------------------------------------------


class SlugTaken(CommandRefused):
    """Another conference has the slug. Carries `slug`."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        super().__init__(f"the slug {slug!r} is taken; choose another one")


class ConferenceExists(CommandRefused):
    """The conference is there already. Carries `conference_id`."""

    def __init__(self, conference_id: str) -> None:
        self.conference_id = conference_id
        super().__init__(f"conference {conference_id!r} is there already")


class UnknownConference(CommandRefused):
    """There is no such conference. Carries `conference_id`."""

    def __init__(self, conference_id: str) -> None:
        self.conference_id = conference_id
        super().__init__(f"there is no conference {conference_id!r}")


class SeatTypeExists(CommandRefused):
    """The conference has a seat type of this id. Carries `seat_type`."""

    def __init__(self, seat_type: str) -> None:
        self.seat_type = seat_type
        super().__init__(f"seat type {seat_type!r} is there already; update it")


class NoSuchSeatType(CommandRefused):
    """The conference has no seat type of this id. Carries `seat_type`."""

    def __init__(self, seat_type: str) -> None:
        self.seat_type = seat_type
        super().__init__(f"there is no seat type {seat_type!r}")


class SeatTypeIsBooked(CommandRefused):
    """A seat type that was published once stays. Carries `seat_type`."""

    def __init__(self, seat_type: str) -> None:
        self.seat_type = seat_type
        super().__init__(f"seat type {seat_type!r} has been published and stays; set its quantity to 0 instead")


# --- state --------------------------------------------------------------------------------------------


class ConferenceState(msgspec.Struct, frozen=True):
    """What the organiser has said so far."""

    exists: bool = False
    details: Details | None = None
    seat_types: dict[str, SeatType] = {}
    is_published: bool = False
    was_published: bool = False


class Conference(Decider[ConferenceCommand, ConferenceState, ConferenceEvent]):
    """Decides what the organiser may do with a conference."""

    initial = ConferenceState()

    def decide(self, command: ConferenceCommand, state: ConferenceState) -> Iterator[ConferenceEvent]:
        if isinstance(command, CreateConference):
            yield _created(command, state)
            return
        if not state.exists:
            raise UnknownConference(command.conference_id)
        match command:
            case UpdateConference(conference_id, details):
                _check_details(details)
                if details != state.details:
                    yield ConferenceUpdated(conference_id, details)
            case PublishConference(conference_id) if not state.is_published:
                if not state.was_published:
                    for seat_type, plan in state.seat_types.items():
                        yield _added(conference_id, seat_type, plan)
                yield ConferencePublished(conference_id)
            case UnpublishConference(conference_id) if state.is_published:
                yield ConferenceUnpublished(conference_id)
            case AddSeatType() | UpdateSeatType():
                yield from _changed_seat_type(command, state)
            case DropSeatType(conference_id, seat_type):
                _check_known(seat_type, state)
                if state.was_published:
                    raise SeatTypeIsBooked(seat_type)
                yield SeatTypeDropped(conference_id, seat_type)

    def evolve(self, state: ConferenceState, event: ConferenceEvent) -> ConferenceState:
        replace, types = msgspec.structs.replace, state.seat_types
        match event:
            case ConferenceCreated():
                return replace(state, exists=True, details=event.details)
            case ConferenceUpdated(_, details):
                return replace(state, details=details)
            case ConferencePublished():
                return replace(state, is_published=True, was_published=True)
            case ConferenceUnpublished():
                return replace(state, is_published=False)
            case SeatTypeDrafted(_, seat_type, plan):
                return replace(state, seat_types={**types, seat_type: plan})
            case SeatTypeDropped(_, gone):
                return replace(state, seat_types={key: plan for key, plan in types.items() if key != gone})
            case SeatTypeAdded() | SeatTypeUpdated():
                return replace(state, seat_types={**types, event.seat_type: _plan(event)})


def create_conference(store: EventStore, command: CreateConference, command_id: str) -> None:
    """Create a conference and claim its slug, both or neither. The same command again changes nothing.

    Raises SlugTaken, ConferenceExists, InvalidField.
    """
    created = _created(command, Conference.initial)
    claim = SlugClaimed(command.slug, command.conference_id)
    slug, conference = slug_stream(command.slug), conference_stream(command.conference_id)
    ids = [uuid5(_IDS, f"{command_id} {part}") for part in ("claim", "conference")]
    try:
        store.append_many(
            [
                Append(slug, [EventData(claim, id=ids[0])], NO_STREAM),
                Append(conference, [EventData(created, id=ids[1])], NO_STREAM),
            ]
        )
    except WrongExpectedVersion as error:
        if error.stream == conference:
            raise ConferenceExists(command.conference_id) from error
        raise SlugTaken(command.slug) from error


def _created(command: CreateConference, state: ConferenceState) -> ConferenceCreated:
    if state.exists:
        raise ConferenceExists(command.conference_id)
    if not _SLUG.fullmatch(command.slug):
        raise InvalidField("slug", f"{command.slug!r} is not of 1 to 100 letters, digits and _")
    if not _ACCESS_CODE.fullmatch(command.access_code):
        raise InvalidField("access_code", "is not of 6 capital letters and digits")
    check_text("owner_name", command.owner_name, most=100)
    check_email("owner_email", command.owner_email)
    _check_details(command.details)
    return ConferenceCreated(**msgspec.structs.asdict(command))


def _check_details(details: Details) -> None:
    check_text("name", details.name, most=100)
    check_text("description", details.description, most=5_000)
    check_text("location", details.location, most=200)
    check_text("tagline", details.tagline, least=0, most=200)
    if details.ends_on < details.starts_on:
        raise InvalidField("ends_on", "is before starts_on")


def _changed_seat_type(command: AddSeatType | UpdateSeatType, state: ConferenceState) -> Iterator[ConferenceEvent]:
    plan, is_new = _plan(command), isinstance(command, AddSeatType)
    if is_new and command.seat_type in state.seat_types:
        raise SeatTypeExists(command.seat_type)
    if not is_new:
        _check_known(command.seat_type, state)
    _check_plan(command.seat_type, plan)
    if state.seat_types.get(command.seat_type) == plan:
        return
    if not state.was_published:
        yield SeatTypeDrafted(command.conference_id, command.seat_type, plan)
    elif is_new:
        yield _added(command.conference_id, command.seat_type, plan)
    else:
        yield SeatTypeUpdated(command.conference_id, command.seat_type, **msgspec.structs.asdict(plan))


def _check_plan(seat_type: str, plan: SeatType) -> None:
    check_text("seat_type", seat_type, most=50)
    check_text("name", plan.name, least=2, most=70)
    check_text("description", plan.description, least=0, most=250)
    check_number("quantity", plan.quantity, least=0, most=MOST_SEATS)
    check_price("price", plan.price, most=HIGHEST_PRICE)


def _check_known(seat_type: str, state: ConferenceState) -> None:
    if seat_type not in state.seat_types:
        raise NoSuchSeatType(seat_type)


def _plan(source: AddSeatType | UpdateSeatType | SeatTypeAdded | SeatTypeUpdated) -> SeatType:
    return SeatType(source.name, source.description, source.quantity, source.price)


def _added(conference_id: str, seat_type: str, plan: SeatType) -> SeatTypeAdded:
    return SeatTypeAdded(conference_id, seat_type, **msgspec.structs.asdict(plan))
