"""Memory, SQLite and PostgreSQL, side by side, do what a plain list does, whatever is asked of them in whatever order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import sacho
from sacho import ANY, EXISTS, NO_STREAM, Append, AppendCondition, EventData, EventStore, Query, QueryItem, RawEvent
from sacho.errors import AppendConditionFailed, Conflict, DuplicateEventId, WrongExpectedVersion
from sacho.events import Appended, ExpectedVersion, RecordedEvent, category_of
from sacho.storage.sqlite import remembering
from tests.conformance.model import Given, ModelLog, Part, Stood
from tests.conformance.ranked import Ranked
from tests.conftest import IS_SOAK
from tests.postgres_server import fresh_schema

STREAMS = ("seats-1", "seats-2", "orders-1", "orders", "söme-1")
TYPES = ("Opened", "Reserved", "Closed")
TAGS = ("seat:1", "seat:2", "guest:ä")

streams = st.sampled_from((*STREAMS, None))
tags = st.frozensets(st.sampled_from(TAGS), max_size=3)
counts = st.sampled_from((1, 1, 1, 2, 3, 30, 120))
versions = st.one_of(st.just(ANY), st.just(EXISTS), st.just(NO_STREAM), st.just("right"), st.integers(0, 5))
items = st.builds(
    QueryItem,
    types=st.lists(st.sampled_from((*TYPES, "Never")), max_size=2),
    tags=st.lists(st.sampled_from((*TAGS, "seat:9")), max_size=2),
    categories=st.lists(st.sampled_from(("seats", "orders", "söme", "never")), max_size=2),
)
queries = st.lists(items, max_size=3).map(lambda found: Query(*found))
limits = st.one_of(st.none(), st.integers(0, 40))
back = st.integers(0, 250)
"""How far behind the head a bound lies."""


class SideBySide(RuleBasedStateMachine):
    """One log in a list, one in memory, and one in a file that two stores hold open."""

    @initialize(index_every=st.sampled_from([1, 4, 200]))
    def open(self, index_every: int) -> None:
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(remembering, "INDEX_EVERY", index_every)
        self.folder = tempfile.TemporaryDirectory(prefix="sacho-model-")
        self.url = f"sqlite:///{Path(self.folder.name) / 'log.db'}"
        self.model = ModelLog()
        self.memory = sacho.connect("memory://")
        self.files = [sacho.connect(self.url), sacho.connect(self.url)]
        self.others = self.open_others()
        self.turn = 0
        self.made = 0
        self.history: list[tuple[Part, ...]] = []

    def teardown(self) -> None:
        if hasattr(self, "files"):
            for store in self.stores:
                store.close()
            self.folder.cleanup()
            self.patched.undo()

    def open_others(self) -> list[Ranked]:
        """Open two stores of one more log, or none."""
        return []

    @rule(stream=streams, type=st.sampled_from(TYPES), tags=tags, count=counts, expected=versions)
    def append(self, stream: str | None, type: str, tags: frozenset[str], count: int, expected: object) -> None:
        events = tuple(self.new(type, tags) for _ in range(count))
        self.write((Part(stream, events, self.meant(stream, expected)),))

    @rule(stream=streams, type=st.sampled_from(TYPES), tags=tags, query=queries, behind=back, expected=versions)
    def append_under_a_condition(
        self, stream: str | None, type: str, tags: frozenset[str], query: Query, behind: int, expected: object
    ) -> None:
        condition = AppendCondition(query, max(0, self.head - behind))
        self.write((Part(stream, (self.new(type, tags),), self.meant(stream, expected)),), condition)

    @rule(
        parts=st.lists(st.tuples(streams, counts, versions, tags), min_size=1, max_size=4),
        condition=st.one_of(st.none(), st.tuples(queries, back)),
    )
    def append_many(
        self,
        parts: list[tuple[str | None, int, object, frozenset[str]]],
        condition: tuple[Query, int] | None,
    ) -> None:
        written = tuple(
            Part(stream, tuple(self.new("Opened", tags) for _ in range(count)), self.meant(stream, expected))
            for stream, count, expected, tags in parts
        )
        self.write(written, condition and AppendCondition(condition[0], max(0, self.head - condition[1])))

    @precondition(lambda self: self.history)
    @rule(
        which=st.integers(0, 1_000), change=st.sampled_from(("none", "data", "tags", "stream", "some", "more", "twice"))
    )
    def append_again(self, which: int, change: str) -> None:
        parts = self.history[which % len(self.history)]
        part = parts[0]
        first, *rest = part.events
        changed = {
            "none": part,
            "data": Part(part.stream, (Given(first.id, first.type, first.data + 1, first.tags), *rest), part.expected),
            "tags": Part(part.stream, (Given(first.id, first.type, first.data, first.tags ^ {"seat:1"}), *rest)),
            "stream": Part("other-1", part.events),
            "some": Part(part.stream, part.events[: len(part.events) // 2 + 1], 3 if part.stream else ANY),
            "more": Part(part.stream, (*part.events, self.new("Closed", frozenset()))),
            "twice": Part(part.stream, (*part.events, first)),
        }[change]
        self.write((changed, *parts[1:]))

    @rule(stream=st.sampled_from(STREAMS), after=st.integers(0, 60), to=limits, limit=limits, backwards=st.booleans())
    def read(self, stream: str, after: int, to: int | None, limit: int | None, backwards: bool) -> None:
        wanted = cut(self.model.of_stream(stream, after, to), limit, backwards)
        for store in self.stores:
            found = store.read(stream, after=after, to=to, limit=limit, backwards=backwards, raw=True)
            assert stood(found) == wanted
            assert store.version(stream) == self.model.version(stream)

    @rule(query=queries, behind=back, width=st.one_of(st.none(), back), limit=limits, backwards=st.booleans())
    def read_all(self, query: Query, behind: int, width: int | None, limit: int | None, backwards: bool) -> None:
        after = max(0, self.head - behind)
        to = None if width is None else after + width
        wanted = cut(self.model.matching(query, after, self.head if to is None else to), limit, backwards)
        for store in self.stores:
            found = store.read_all(query, after=after, to=to, limit=limit, backwards=backwards, raw=True)
            assert stood(found) == wanted

    @rule(query=queries)
    def read_the_whole_log(self, query: Query) -> None:
        wanted = self.model.matching(query, 0, self.head)
        for store in self.stores:
            assert stood(store.read_all(query, raw=True)) == wanted

    @rule()
    def list_streams(self) -> None:
        there = {stood.stream: stood for stood in self.model.events if stood.stream is not None}
        categories = {category_of(stream): stood.position for stream, stood in there.items()}
        for stood in self.model.events:
            if stood.stream is not None:
                categories[category_of(stood.stream)] = stood.position
        for store in self.stores:
            listed = [(info.stream, info.version, info.position) for info in store.streams()]
            assert listed == [(name, there[name].version, there[name].position) for name in sorted(there)]
            assert [(info.category, info.position) for info in store.categories()] == sorted(categories.items())

    @rule()
    def open_the_file_anew(self) -> None:
        self.files.pop(0).close()
        self.files.append(sacho.connect(self.url))

    @invariant()
    def heads_are_equal(self) -> None:
        if hasattr(self, "files"):
            assert {store.head() for store in self.stores} == {self.head}

    # --- how it is done -------------------------------------------------------------------------------

    @property
    def stores(self) -> list[EventStore | Ranked]:
        return [self.memory, *self.files, *self.others]

    @property
    def head(self) -> int:
        return len(self.model.events)

    def new(self, type: str, tags: frozenset[str]) -> Given:
        self.made += 1
        return Given(UUID(int=self.made * 7919), type, self.made, tags)

    def meant(self, stream: str | None, expected: object) -> ExpectedVersion:
        if stream is None:
            return ANY
        return self.model.version(stream) if expected == "right" else expected  # type: ignore[return-value]

    def write(self, parts: tuple[Part, ...], condition: AppendCondition | None = None) -> None:
        """Write to the list, to memory, and through one store of each other log; all must tell the same."""
        self.history.append(parts)
        self.turn += 1
        wanted = told(lambda: self.model.append(parts, condition))
        logs: list[EventStore | Ranked] = [self.memory, self.files[self.turn % 2], *self.others[self.turn % 2 :: 2]]
        for store in logs:
            appends = [
                Append(part.stream, [enveloped(event) for event in part.events], part.expected) for part in parts
            ]
            assert told(lambda: store.append_many(appends, condition=condition)) == wanted  # noqa: B023 - called at once


def enveloped(event: Given) -> EventData:
    return EventData(RawEvent(event.type, event.data), id=event.id, tags=tuple(event.tags))


def told(action: Callable[[], list[Appended]]) -> object:
    """Return the result of an append, or the facts of its refusal that every engine must agree on."""
    try:
        return action()
    except WrongExpectedVersion as error:
        return ("version", error.stream, error.expected, error.actual)
    except AppendConditionFailed as error:
        return ("condition", error.after)
    except DuplicateEventId:
        return "duplicate"
    except Conflict as error:
        raise AssertionError(f"a conflict of no known kind: {error!r}") from error


def stood(found: Iterable[RecordedEvent]) -> list[Stood]:
    return [
        Stood(
            recorded.position,
            recorded.stream,
            recorded.version,
            Given(recorded.id, recorded.type, recorded.event.data, recorded.tags),
        )
        for recorded in found
    ]


def cut(events: list[Stood], limit: int | None, backwards: bool) -> list[Stood]:
    return (events[::-1] if backwards else events)[:limit]


class BesidePostgres(SideBySide):
    """The same with two stores of a log on PostgreSQL; each example has a schema of its own."""

    server = ""

    def open_others(self) -> list[Ranked]:
        self.schema = ExitStack()
        url = self.schema.enter_context(fresh_schema(self.server))
        places: list[int] = []
        return [Ranked(url, places) for _ in range(2)]

    @rule()
    def open_the_schema_anew(self) -> None:
        self.others.reverse()
        self.others[0].open_anew()

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "schema"):
            self.schema.close()


def often(examples: int, steps: int) -> settings:
    """Return settings for so many examples; in a soak ten times as many, of more steps."""
    return settings(
        max_examples=10 * examples if IS_SOAK else examples,
        stateful_step_count=80 if IS_SOAK else steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


SideBySide.TestCase.settings = often(100, 30)
BesidePostgres.TestCase.settings = often(20, 20)
TestSideBySide = SideBySide.TestCase
TestBesidePostgres = BesidePostgres.TestCase


@pytest.fixture(autouse=True, scope="module")
def _server(postgres_server_url: str) -> None:
    BesidePostgres.server = postgres_server_url
