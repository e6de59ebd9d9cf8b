"""Document views: one typed JSON row for each key, with declared columns that are indexed. And entity views, by a decider.

Documents are kept in memory while a batch is gathered, each written once for the batch however often it changed.
"""

from __future__ import annotations

import inspect
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import ceil
from operator import attrgetter
from typing import Any, ClassVar, Final, Generic, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import sqlalchemy as sa

from sacho.deciding import Decider
from sacho.errors import InvalidConsumer, InvalidQuery
from sacho.events import Query, QueryItem, RecordedEvent
from sacho.reacting.columns import column_type_of
from sacho.reacting.databases import insert_into, is_passing
from sacho.reacting.declaring import Handler, class_parameter, code_of, default_name
from sacho.reacting.projection import Projection
from sacho.reacting.taking import Commits, Surroundings, Taking, failure

D = TypeVar("D")
S = TypeVar("S")

CACHE_BYTES: Final = 16 * 1024 * 1024
"""How much JSON of documents is remembered between batches."""
USUAL_BYTES: Final = 1_000
FIXED_BYTES: Final = 150
"""What a document takes in memory beside its text."""
KEYS_AT_ONCE: Final = 500

_MISSING: Final = object()
_encode = msgspec.json.Encoder().encode


class DocumentView(Projection, Generic[D]):
    """A view of documents: `class Orders(DocumentView[Order])`, with `document = Order` and methods by type of event.

    A method with `@handles(OrderConfirmed, key="order_id")` is given the event and the document of that key, or None, and
    returns what becomes of it, None to delete it; if it has one more parameter, it is given the recorded event, too, with
    its time, tags and metadata. One without a key is given the event and `Documents`, to look up, put and delete any.
    `indexed` names fields or properties of the document that become columns with an index, for queries.
    The table is `view`, named as the class's `name` is.
    """

    has_keyed_methods = True
    document: ClassVar[Any] = None
    indexed: ClassVar[Sequence[str]] = ()
    view: ClassVar[sa.Table]

    @classmethod
    def _declare_tables(cls) -> None:
        if cls.__module__ == __name__:
            return
        if getattr(cls, "document", None) is None:
            cls.document = class_parameter(cls)
        if cls.document is None:
            raise InvalidConsumer(
                cls.__qualname__, "does not say what its documents are: class Orders(DocumentView[Order])"
            )
        if "view" not in vars(cls):
            cls.view = _table(cls)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unkeyed = [handler.method for handler in cls.handlers.values() if handler.key is None]
        if unkeyed and cls.partitions > 1:
            raise InvalidConsumer(
                cls.__qualname__, f"with several partitions all its methods need a key: {unkeyed[0]} has none"
            )

    def key(self, recorded: RecordedEvent) -> str:
        """Return the key of the document that the event changes, where it is declared; else the stream."""
        handler = self.handlers.get(recorded.type)
        of = None if handler is None else _key_of(handler)
        return super().key(recorded) if of is None else of(recorded.event)

    @classmethod
    def shape(cls) -> Sequence[object]:
        """Return what the events, the table and the documents are."""
        return [*super().shape(), msgspec.json.schema(cls.document)]

    def taking(self, commits: Commits, here: Surroundings | None = None) -> Taking:
        """Return what takes events in for this view."""
        return Documents(self, commits)


class EntityView(DocumentView[S]):
    """A view that keeps the state of each stream of a category, folded by a decider's own `evolve`; the key is the stream.

    `decider` is the decider, `category` its streams' category, `document` the class of its states.
    """

    decider: ClassVar[Any]
    category: ClassVar[str]

    @classmethod
    def events(cls) -> Query:
        """Return the events of the category."""
        return Query(QueryItem(categories=[cls.category]))

    @classmethod
    def code(cls) -> str | None:
        """Return its code and that of the decider's `evolve`."""
        return code_of(cls, cls.decider.evolve)

    def handler(self, type: str) -> Callable[..., Any] | None:
        """Return the fold, for every type."""
        return self._evolve

    def _evolve(self, event: Any, documents: Documents[S]) -> None:
        stream = documents.recorded.stream
        if stream is not None:
            decider: Decider[Any, S, Any] = self.decider
            state = documents.get(stream)
            documents.put(stream, decider.evolve(decider.initial if state is None else state, event))


class Documents(Taking, Generic[D]):
    """The documents of a view, as a handler sees them: `get`, `put`, `delete` and `find`, with all changes so far."""

    def __init__(self, view: DocumentView[D], commits: Commits) -> None:
        self._view = view
        self._commits = commits
        self._table = view.view
        self._decode: Callable[[Any], D] = msgspec.json.Decoder(view.document).decode
        self._class = _class_with_fields(view.document)
        self._values = [attrgetter(name) for name in view.indexed]
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._changed: dict[str, int] = {}
        self._handlers: dict[str, tuple[Callable[..., Any], Callable[[Any], str] | None] | None] = {}
        self._select = sa.select(self._table.c.key, self._table.c.document).where(
            self._table.c.key.in_(sa.bindparam("keys", expanding=True))
        )
        self._delete = self._table.delete().where(self._table.c.key == sa.bindparam("one"))
        self.recorded: RecordedEvent
        """The event in hand, with its place, time, tags and metadata."""

    # --- for handlers ---------------------------------------------------------------------------------

    def get(self, key: str) -> D | None:
        """Return the document of a key, or None."""
        found = self._known.get(key, _MISSING)
        if found is _MISSING:
            self._load([key])
            found = self._known[key]
        return cast("D | None", found)

    def put(self, key: str, document: D) -> None:
        """Keep a document by its key, in place of the one before."""
        self._known[key] = document
        self._changed[key] = self.recorded.position

    def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""
        self._known[key] = None
        self._changed[key] = self.recorded.position

    def find(self, where: sa.ColumnElement[bool]) -> list[tuple[str, D]]:
        """Return keys and documents by the indexed columns of `self.view`, in order of key. Commits what earlier events changed."""
        if any(position == self.recorded.position for position in self._changed.values()):
            raise InvalidQuery("find() comes before put() and delete() in a handler")
        if self._changed:
            self._commits.commit(self.recorded.position - 1)
        with self._commits.reading() as connection:
            c = self._table.c
            rows = connection.execute(sa.select(c.key, c.document).where(where).order_by(c.key)).all()
        return [(key, self._decode(text)) for key, text in rows]

    # --- for the worker -------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How much waits to be written, counted in documents of `USUAL_BYTES`."""
        measured = len(self._sizes)
        average = self._bytes / measured if measured and self._bytes else USUAL_BYTES
        return ceil(len(self._changed) * (average + FIXED_BYTES) / USUAL_BYTES)

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Handle events in order."""
        known, changed = self._known, self._changed
        for recorded, method, key in self._with_keys(events):
            self.recorded = recorded
            try:
                if key is None:
                    method(recorded.event, self)
                else:
                    known[key] = method(recorded.event, known[key] if key in known else self.get(key))
                    changed[key] = recorded.position
            except BaseException as error:
                raise failure(error, recorded) from error

    def write(self, connection: sa.Connection) -> None:
        """Write the documents that changed, and delete those that are gone."""
        rows, gone = [], []
        names = ["key", "document", "as_of", *self._view.indexed]
        for key, position in self._changed.items():
            document = self._known[key]
            if document is None:
                gone.append({"one": key})
            else:
                text = self._text(key, document)
                self._measure(key, len(text))
                values = [value(document) for value in self._values]
                rows.append(dict(zip(names, (key, text, position, *values), strict=True)))
        if gone:
            connection.execute(self._delete, gone)
        if rows:
            connection.execute(self._upsert(connection), rows)

    def _text(self, key: str, document: Any) -> str:
        """Return a document as it is kept. Raises TypeError for one that readers could not be given again."""
        if self._class is not None and not isinstance(document, self._class):
            raise TypeError(f"the document of {key!r} is a {type(document).__name__}, no {self._class.__name__}")
        text = _encode(document).decode()
        if "null" in text:  # what is no JSON, such as NaN, is null there
            try:
                self._decode(text)
            except msgspec.MsgspecError as error:
                raise TypeError(f"the document of {key!r} could not be read again: {error}") from error
        return text

    def committed(self) -> None:
        """Remember no more than there is room for."""
        self._changed.clear()
        while self._bytes > CACHE_BYTES or len(self._known) > len(self._sizes) + 10_000:
            key, _ = self._known.popitem(last=False)
            self._bytes -= self._sizes.pop(key, 0)

    def discard(self) -> None:
        """Forget all."""
        self._known.clear()
        self._sizes.clear()
        self._changed.clear()
        self._bytes = 0

    def _handler(self, type: str) -> tuple[Callable[..., Any], Callable[[Any], str] | None] | None:
        method = self._view.handler(type)
        declared = self._view.handlers.get(type)
        key_of = None if declared is None else _key_of(declared)
        if method is None or key_of is None or len(inspect.signature(method).parameters) < 3:
            return None if method is None else (method, key_of)
        with_recorded = method
        return lambda event, document: with_recorded(event, document, self.recorded), key_of

    def _with_keys(self, events: Sequence[RecordedEvent]) -> list[tuple[RecordedEvent, Callable[..., Any], str | None]]:
        """Return the events with their methods and keys; the documents of those keys are loaded, all at once."""
        handlers, known = self._handlers, self._known
        found: list[tuple[RecordedEvent, Callable[..., Any], str | None]] = []
        missing: dict[str, None] = {}
        for recorded in events:
            try:
                handler = handlers[recorded.type]
            except KeyError:
                handler = handlers[recorded.type] = self._handler(recorded.type)
            if handler is None:
                continue
            method, key_of = handler
            key = None
            if key_of is not None:
                try:
                    key = key_of(recorded.event)
                except BaseException as error:
                    raise failure(error, recorded) from error
                if key not in known:
                    missing[key] = None
            found.append((recorded, method, key))
        if missing:
            try:
                self._load(list(missing))
            except Exception as error:
                if is_passing(error):
                    raise
                # one cannot be asked for or decoded: each event loads its own, and the one to blame fails
        return found

    def _load(self, keys: Sequence[str]) -> None:
        with self._commits.reading() as connection:
            for start in range(0, len(keys), KEYS_AT_ONCE):
                some = keys[start : start + KEYS_AT_ONCE]
                found = {row.key: row.document for row in connection.execute(self._select, {"keys": some})}
                for key in some:
                    text = found.get(key)
                    self._known[key] = None if text is None else self._decode(text)
                    self._measure(key, len(text or ""))

    def _measure(self, key: str, size: int) -> None:
        self._bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _upsert(self, connection: sa.Connection) -> Any:
        insert = insert_into(self._table, connection.dialect.name)
        names = [column.name for column in self._table.columns if column.name != "key"]
        return insert.on_conflict_do_update(
            index_elements=["key"], set_={name: insert.excluded[name] for name in names}
        )


def _class_with_fields(kind: Any) -> type | None:
    """Return a class whose objects can be told from others; None for plain types, which JSON tells by itself."""
    has_fields = isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or hasattr(kind, "__match_args__"))
    return kind if has_fields else None


@cache
def _key_of(handler: Handler) -> Callable[[Any], str] | None:
    if handler.key is None:
        return None
    if isinstance(handler.key, str):
        get = attrgetter(handler.key)
        return lambda event: found if type(found := get(event)) is str else str(found)
    function = handler.key
    return lambda event: str(function(event))


def _table(cls: type[DocumentView[Any]]) -> sa.Table:
    name = (vars(cls).get("name") or default_name(cls)).replace("-", "_")
    columns = [sa.Column(field, _column_type(cls, field), index=True) for field in cls.indexed]
    return sa.Table(
        name,
        sa.MetaData(naming_convention={"ix": f"ix_{name}_%(column_0_name)s"}),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        *columns,
    )


def _column_type(cls: type[DocumentView[Any]], field: str) -> Any:
    """Return the type of a column for a field or property of the document."""
    member = getattr(cls.document, field, None)
    try:
        hints = get_type_hints(member.fget if isinstance(member, property) else cls.document)
    except (NameError, TypeError) as error:
        raise InvalidConsumer(
            cls.__qualname__, f"indexed: the types of {cls.document!r} cannot be told: {error}"
        ) from error
    hint = hints.get("return" if isinstance(member, property) else field)
    for kind in _kinds(hint):
        found = column_type_of(kind)
        if found is not None:
            return found
    raise InvalidConsumer(
        cls.__qualname__, f"indexed names {field!r}, which is no field or property of a plain type (it is {hint!r})"
    )


def _kinds(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        yield from (one for one in get_args(hint) if one is not type(None))
    elif hint is not None:
        yield hint if inspect.isclass(hint) else (str if all(isinstance(one, str) for one in get_args(hint)) else hint)
