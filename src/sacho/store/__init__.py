"""EventStore: what users hold. It encodes and decodes, hands appends to an engine, reads and subscribes."""

from sacho.store.connecting import connect, open_storage
from sacho.store.context import OwnWrites, caused_by, current_metadata, metadata, note_append, own_writes
from sacho.store.event_store import EventStore
from sacho.store.ids import uuid7
from sacho.store.joining import Joined
from sacho.store.reading import Decoding, Reading
from sacho.store.subscription import Feed, Subscription

__all__ = [
    "Decoding",
    "EventStore",
    "Feed",
    "Joined",
    "OwnWrites",
    "Reading",
    "Subscription",
    "caused_by",
    "connect",
    "current_metadata",
    "metadata",
    "note_append",
    "open_storage",
    "own_writes",
    "uuid7",
]
