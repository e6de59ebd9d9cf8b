"""What can go wrong, as one tree. Every error says what was wrong and what to do; its facts are attributes.

    SachoError
    ├── InvalidInput                what was handed in breaks a rule; nothing was written
    │   ├── InvalidName             a stream id, tag, type or category out of rules
    │   ├── InvalidAppend           an empty append, a wrong expected version, a wrong id
    │   ├── InvalidQuery            a query, range or limit that cannot be meant
    │   ├── InvalidConnection       a connection that an append cannot join
    │   ├── InvalidEvent            an event that cannot be written as JSON (NaN, lone surrogates, odd types)
    │   ├── PayloadTooLarge         an event over the size limit
    │   └── DestinationExists       what a backup or an export would overwrite
    ├── SchemaError                 event classes and stored formats
    │   ├── InvalidEventClass       a class that cannot be declared as an event
    │   ├── DuplicateEventType      two classes with one type name
    │   ├── UnregisteredEvent       an object whose class no registry knows, on append
    │   ├── UnknownEventType        a stored type that no class stands for, on read
    │   └── UndecodableEvent        a stored event that does not fit its class
    ├── Conflict                    somebody was faster, or the same id was used for something else
    │   ├── WrongExpectedVersion
    │   ├── AppendConditionFailed
    │   ├── DuplicateEventId
    │   ├── TargetHoldsOthers       a copy would have to mix its events with others
    │   ├── StreamClash             a stream of both logs has other events in the target
    │   └── OtherExport             what was exported to the destination is of another export, or one runs there
    ├── InlineViewFailed            a view that is written within the append refused its events
    ├── ReactingError               consumers, projections and their views
    │   ├── InvalidConsumer         a class that cannot be declared as a consumer or projection
    │   ├── DuplicateConsumer       two consumers of one name, two views of one table
    │   ├── UnknownConsumer         no consumer, version or parked event of that name
    │   ├── ProjectionChanged       another projection than its tables were built by, without a new version
    │   ├── CheckpointAhead         a checkpoint beyond the log's end: the log was restored
    │   ├── ForeignCheckpoint       a checkpoint of another log, or of another life of this one
    │   ├── PartitionsDiffer        another number of partitions than the checkpoints were kept for
    │   ├── UnknownProcess          an event for a process that was never begun
    │   ├── InvalidReaction         a process manager did what cannot be meant
    │   ├── CommandFailed           a command of a process, or a stored one, cannot be handled
    │   ├── ConsumerStopped         a consumer stopped at an event that it could not handle
    │   ├── KeyParked               an event of this key is parked, so the view lacks it
    │   ├── ViewNotReady            a view that is still being built for the first time
    │   ├── CannotSwitch            a version that cannot take over, or cannot be removed, as things stand
    │   ├── LeaseLost               another worker has taken over meanwhile; nothing was written
    │   └── ViewsUnreachable        the database of the views does not answer
    ├── CommandError                commands on their way to a handler; nothing was recorded
    │   ├── NoHandler               no route takes commands of this type
    │   ├── InvalidCommand          fields that break the rules of their class
    │   ├── NotAuthorised           this actor may not give this command
    │   ├── InvalidRoute            a route, step or hook that cannot be meant
    │   ├── DuplicateRoute          two routes for one type of command
    │   └── UnknownCommand          no stored command of this id
    ├── MessagingError              messages to and from the outside
    │   ├── InvalidPublicEvent      a class that cannot be declared as a public event
    │   ├── InvalidTarget           a target or a secret that cannot be meant
    │   ├── UnpublishableEvent      what a relay's method returned cannot leave
    │   ├── TargetUnreachable       the target does not answer: it is waited for
    │   │   └── StreamMissing       no stream of JetStream takes the subject
    │   ├── TargetFailed            the target did not take a message this time: sent again, then parked
    │   │   └── WebhookFailed       408, 425, 429, 5xx, or no answer in time
    │   ├── MessageRefused          the target will never take the message: parked at once
    │   │   ├── MessageTooLarge
    │   │   └── WebhookRefused      4xx, or a redirect
    │   │       └── WebhookGone     410
    │   ├── InvalidSignature        a signature that is missing, wrong or too old
    │   ├── MalformedMessage        no CloudEvent, or data that does not fit its type
    │   └── UnknownMessageType      a type that the inbox does not accept
    ├── CommandRefused              base for the refusals of your own domain
    ├── RetriesExhausted            a command lost its race too often
    ├── ConfigurationError          connect() cannot give what was asked for
    │   ├── UnknownScheme
    │   ├── InvalidURL
    │   ├── UnknownFormat
    │   ├── MissingExtra
    │   ├── UnsupportedOperation    the engine lacks what was asked for, and says so
    │   └── InlineViewMissing       the log keeps views that this process does not write
    └── StorageError                the log cannot be read or written
        ├── StoreClosed
        ├── StoreForked
        ├── StorageBusy
        ├── StorageFull
        ├── StorageReadOnly
        ├── StorageUnreachable      the server does not answer, or lets nobody in
        ├── UnsupportedServer       a server, or a pooler before it, that the log cannot live on
        ├── MissingRights           the database's role may not do what was asked
        ├── LogMissing              there is no log, and none was to be made
        ├── ForeignDatabase         not a database, or not one of Sacho
        ├── NewerSchema             written by a newer Sacho
        ├── OlderSchema             to be migrated first, by one who may
        ├── CorruptLog
        ├── LogsDiffer              a copy or backup that is not equal to its log
        └── StorageFailed

Source of the idea of drawing the tree: the httpx exceptions module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sacho.errors.base import SachoError as SachoError
from sacho.errors.commands import *  # noqa: F403 - they stand in the tree, too
from sacho.errors.messaging import *  # noqa: F403 - they stand in the tree, too
from sacho.errors.reacting import *  # noqa: F403 - they stand in the tree, too

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID


# --- what was handed in -------------------------------------------------------------------------------


class InvalidInput(SachoError, ValueError):
    """Something that was handed in breaks a rule; nothing was written."""


class InvalidName(InvalidInput):
    """A stream id, tag, type or category that is out of rules. `kind` says which, `name` what was given."""

    def __init__(self, kind: str, name: object, reason: str) -> None:
        self.kind = kind
        self.name = name
        self.reason = reason
        super().__init__(f"{kind} {_shown(name)} {reason}")


class InvalidAppend(InvalidInput):
    """An append that cannot be meant: no events, a wrong expected version, a wrong id."""


class InvalidQuery(InvalidInput):
    """A query, range or limit that cannot be meant."""


class InvalidConnection(InvalidInput):
    """A connection that an append cannot join: of another driver, without a transaction, to another log."""


class InvalidEvent(InvalidInput):
    """An event that cannot be written as JSON. `type` is its type name, `reason` what stands in the way."""

    def __init__(self, type: str, reason: str) -> None:
        self.type = type
        self.reason = reason
        super().__init__(f"event of type {type!r} cannot be stored: {reason}")


class PayloadTooLarge(InvalidInput):
    """An event over the limit. `size` and `limit` are bytes of its JSON."""

    def __init__(self, type: str, size: int, limit: int) -> None:
        self.type = type
        self.size = size
        self.limit = limit
        super().__init__(
            f"event of type {type!r} has {size:,} bytes as JSON, over the limit of {limit:,}; store the large "
            "part elsewhere and its reference in the event, or raise the limit with connect(max_event_bytes=...)"
        )


class DestinationExists(InvalidInput):
    """A backup or an export was to be written where something is. `where` names it; it was left as it was."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(f"{where} is there already; it was left as it was: name another file")


# --- event classes and stored formats -----------------------------------------------------------------


class SchemaError(SachoError):
    """An event class and the stored formats do not go together."""


class InvalidEventClass(SchemaError, TypeError):
    """A class that cannot be declared as an event, because of its type name, version, tags or fields."""


class DuplicateEventType(SchemaError, TypeError):
    """Two classes with one type name. `type` is the name, `first` and `second` the classes."""

    def __init__(self, type: str, first: object, second: object) -> None:
        self.type = type
        self.first = first
        self.second = second
        super().__init__(
            f"event type {type!r} stands for {first!r} already and cannot stand for {second!r}; "
            'give one of them another name with type="..."'
        )


class UnregisteredEvent(SchemaError, TypeError):
    """An object was appended whose class is no declared event. `cls` is the class."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        super().__init__(
            f"{cls.__module__}.{cls.__qualname__} is not an event of this registry; "
            "derive it from sacho.Event, decorate it with @sacho.event(), or add it to the registry in use"
        )


class UnknownEventType(SchemaError):
    """A stored event whose type no class stands for. Carries `type`, `stream`, `version`, `position`."""

    def __init__(self, type: str, stream: str | None, version: int | None, position: int) -> None:
        self.type = type
        self.stream = stream
        self.version = version
        self.position = position
        super().__init__(
            f"no class for event type {type!r} at {_place(stream, version, position)}; import the module that "
            "declares it, or read with raw=True"
        )


class UndecodableEvent(SchemaError):
    """A stored event that does not fit its class. Carries `type`, `stream`, `version`, `position`, `reason`."""

    def __init__(self, type: str, stream: str | None, version: int | None, position: int, reason: str) -> None:
        self.type = type
        self.stream = stream
        self.version = version
        self.position = position
        self.reason = reason
        super().__init__(f"event of type {type!r} at {_place(stream, version, position)}: {reason}")


# --- conflicts ----------------------------------------------------------------------------------------


class Conflict(SachoError):
    """An append was refused because of what the log holds; nothing was written."""


class WrongExpectedVersion(Conflict):
    """The stream is not at the version expected. Carries `stream`, `expected`, `actual` (0: no such stream)."""

    def __init__(self, stream: str, expected: object, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"stream {stream!r} is at version {actual}, expected {expected}; read it again and decide again"
        )


class AppendConditionFailed(Conflict):
    """An event that the condition excludes is there. `position` is that of one such event, `after` the bound."""

    def __init__(self, after: int, position: int) -> None:
        self.after = after
        self.position = position
        super().__init__(
            f"an event that matches the condition's query stands at position {position}, after {after}; "
            "read again and decide again"
        )


class DuplicateEventId(Conflict):
    """An event id is in the log already, with other content or without the rest of the append. `ids` names them."""

    def __init__(self, ids: Iterable[UUID], reason: str) -> None:
        self.ids = tuple(ids)
        self.reason = reason
        shown = ", ".join(str(id) for id in self.ids[:3]) + (", …" if len(self.ids) > 3 else "")
        super().__init__(f"event id {shown}: {reason}; use a new id for a new event")


class TargetHoldsOthers(Conflict):
    """The target of a copy holds events that are not the source's. Carries `position` and `reason`."""

    def __init__(self, position: int, reason: str) -> None:
        self.position = position
        self.reason = reason
        super().__init__(
            f"the target holds other events than the source: the one at position {position} {reason}; "
            "copy into an empty log, or behind the target's own events, with new positions"
        )


class StreamClash(Conflict):
    """A stream has other events in the target of a copy than in its source, from `version` of `stream` on."""

    def __init__(self, stream: str, version: int) -> None:
        self.stream = stream
        self.version = version
        super().__init__(
            f"version {version} of stream {stream!r} is an event of the target's own; versions are kept, so these logs "
            "cannot be joined: copy into another log"
        )


class OtherExport(Conflict):
    """What is at the destination of an export is not gone on with: it is of another export, or one runs there now.

    Carries `where` and `reason`; it was left as it was.
    """

    def __init__(self, where: str, reason: str, remedy: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where} {reason}; it was left as it was: {remedy}")


# --- inline views -------------------------------------------------------------------------------------


class InlineViewFailed(SachoError):
    """A view that is written within the append raised, so the append was undone. Carries `view` and `reason`.

    What it raised is the `__cause__`.
    """

    def __init__(self, view: str, reason: str) -> None:
        self.view = view
        self.reason = reason
        super().__init__(
            f"the inline view {view!r} could not take the events ({reason}); nothing was written: mend the view, or "
            "keep it behind the log instead"
        )


# --- deciding -----------------------------------------------------------------------------------------


class CommandRefused(SachoError):
    """Base for the refusals of your own domain; nothing of a refused command is recorded."""


class RetriesExhausted(SachoError):
    """A command lost its race too often. Carries `stream` and `attempts`; nothing was recorded, try again later."""

    def __init__(self, stream: str, attempts: int) -> None:
        self.stream = stream
        self.attempts = attempts
        super().__init__(
            f"a command on stream {stream!r} met a conflict {attempts} times in a row and was given up; "
            "nothing was recorded: try again, or allow more attempts"
        )


# --- connecting ---------------------------------------------------------------------------------------


class ConfigurationError(SachoError):
    """connect() cannot give what was asked for."""


class UnknownScheme(ConfigurationError, ValueError):
    """No engine for this URL. `scheme` is what was given, `known` what there is."""

    def __init__(self, scheme: str, known: Iterable[str]) -> None:
        self.scheme = scheme
        self.known = tuple(sorted(known))
        named = f"unknown scheme {scheme!r}" if scheme else "no scheme"
        super().__init__(f"{named} in the store's URL; known are {', '.join(f'{name}://' for name in self.known)}")


class InvalidURL(ConfigurationError, ValueError):
    """A URL whose scheme is known but whose rest cannot be meant. Never shows credentials."""


class UnknownFormat(ConfigurationError, ValueError):
    """No such format of an export. `format` is what was given, `known` what there is."""

    def __init__(self, format: str, known: Iterable[str]) -> None:
        self.format = format
        self.known = tuple(known)
        named = f"unknown format {format!r}" if format else "no format, and no ending that tells it"
        super().__init__(f"{named}; known are {', '.join(self.known)}")


class MissingExtra(ConfigurationError, ImportError):
    """An engine or feature whose libraries are not installed. `extra` names what to install."""

    def __init__(self, what: str, extra: str) -> None:
        self.what = what
        self.extra = extra
        super().__init__(f"{what} needs more libraries: pip install 'sacho[{extra}]'")


class UnsupportedOperation(ConfigurationError):
    """The engine lacks what was asked for. Carries `capability`, `engine` and `offered`; `remedy` says what to do instead."""

    def __init__(self, capability: str, engine: str, offered: Iterable[str], remedy: str = "") -> None:
        self.capability = capability
        self.engine = engine
        self.offered = tuple(sorted(offered))
        self.remedy = remedy
        instead = remedy or f"it offers {', '.join(self.offered)}"
        super().__init__(f"the {engine} engine does not offer {capability!r}; {instead}")


class InlineViewMissing(ConfigurationError):
    """The log keeps inline views that this process does not write. `views` names them; nothing was written."""

    def __init__(self, views: Iterable[str]) -> None:
        self.views = tuple(sorted(views))
        super().__init__(
            f"this log keeps inline views that this process does not write: {', '.join(self.views)}; nothing was "
            "written: open the log through the application that declares them"
        )


# --- storage ------------------------------------------------------------------------------------------


class StorageError(SachoError):
    """The log cannot be read or written. `may_have_happened` is true if a failed append may still be recorded."""

    may_have_happened = False


class StoreClosed(StorageError):
    """The store was used after close()."""

    def __init__(self) -> None:
        super().__init__("the store is closed; connect again")


class StoreForked(StorageError):
    """The store was made in another process. Connections do not survive a fork."""

    def __init__(self) -> None:
        super().__init__("the store was opened before this process was forked; connect again in the new process")


class StorageBusy(StorageError):
    """What is needed was held by others for too long. `seconds` is how long was waited; nothing was written."""

    def __init__(self, seconds: float, reason: str = "the log was locked by another process") -> None:
        self.seconds = seconds
        super().__init__(
            f"{reason} for {seconds:g} s; nothing was written: try again, "
            "or allow more time with ?timeout=SECONDS in the URL"
        )


class StorageFull(StorageError):
    """The disk is full; the log is whole. `kept` says what became of what was to be written."""

    def __init__(self, where: str, kept: str = "nothing was written, the log is whole") -> None:
        self.where = where
        self.kept = kept
        super().__init__(f"no space left for {where}; {kept}: free some space, try again")


class StorageReadOnly(StorageError):
    """The log may be read but not written here."""

    def __init__(self, where: str, remedy: str = "check the file's and its folder's permissions") -> None:
        self.where = where
        super().__init__(f"{where} is read-only; nothing was written: {remedy}")


class StorageUnreachable(StorageError):
    """The server does not answer, or lets nobody in. `where` is the log, `reason` what the server or the network said."""

    def __init__(self, where: str, reason: str, *, may_have_happened: bool = False) -> None:
        self.where = where
        self.reason = reason
        self.may_have_happened = may_have_happened
        super().__init__(f"{where}: {reason}{_settle(may_have_happened=may_have_happened)}")


class UnsupportedServer(StorageError):
    """A server, or a pooler before it, that the log cannot live on; `reason` says why and what to do."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where}: {reason}")


class MissingRights(StorageError):
    """The role that is logged in may not do what was asked. `reason` is what the database said; nothing was written."""

    def __init__(self, where: str, reason: str, remedy: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where}: {reason}; nothing was written: {remedy}")


class LogMissing(StorageError):
    """There is no log, and none was to be made here."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(f"{where}: there is no log; `sacho migrate --store URL` makes one, as a role that may")


class StorageFailed(StorageError):
    """The engine failed in a way that has no name of its own; the message says what the engine said."""

    def __init__(self, reason: str, *, may_have_happened: bool = False) -> None:
        self.may_have_happened = may_have_happened
        super().__init__(f"{reason}{_settle(may_have_happened=may_have_happened)}")


class ForeignDatabase(StorageError):
    """The file or schema is no database, or one that is not Sacho's. It was left as it was."""

    def __init__(self, where: str, reason: str, remedy: str = "name another file") -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where} {reason}; it was left as it was: {remedy}")


class NewerSchema(StorageError):
    """The log was written by a newer Sacho. Carries `found` and `known`, schema numbers."""

    def __init__(self, where: str, found: int, known: int) -> None:
        self.where = where
        self.found = found
        self.known = known
        super().__init__(f"{where} has schema {found}, this Sacho knows up to {known}: upgrade sacho")


class OlderSchema(StorageError):
    """The log is to be migrated first, and whoever connects may not. Carries `found` and `known`, schema numbers."""

    def __init__(self, where: str, found: int, known: int) -> None:
        self.where = where
        self.found = found
        self.known = known
        super().__init__(
            f"{where} has schema {found}, this Sacho needs {known}: run `sacho migrate --store URL`, as the log's owner"
        )


class CorruptLog(StorageError):
    """The log's file is damaged; restore it from a backup."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where} is damaged ({reason}): restore it from a backup")


class LogsDiffer(StorageError):
    """A copy or backup is not equal to its log. `position` is the first that differs, `reason` says in what."""

    def __init__(self, position: int, reason: str) -> None:
        self.position = position
        self.reason = reason
        super().__init__(f"the logs differ from position {position} on: that event {reason}; do not rely on the copy")


def _settle(*, may_have_happened: bool) -> str:
    return "; the append may have happened: repeat it with the same ids to settle it" if may_have_happened else ""


def _shown(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:76]}…{text[-1]}"


def _place(stream: str | None, version: int | None, position: int) -> str:
    return f"position {position}" if stream is None else f"{stream!r} version {version} (position {position})"
