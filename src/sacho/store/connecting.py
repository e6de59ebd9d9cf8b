"""connect(): the only place that picks an engine, by the URL's scheme, importing it then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sacho.errors import InvalidURL, UnknownScheme
from sacho.schema import Encoding, Registry, default_registry
from sacho.schema.encoding import DEFAULT_MAX_EVENT_BYTES
from sacho.storage.port import Storage
from sacho.store.event_store import EventStore


def connect(
    url: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    require: Iterable[str] = (),
    max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
) -> EventStore:
    """Open the event store at `url`.

    `memory://` lives in this process; `sqlite:///conference.db` is a file (three slashes and a relative path, four and
    an absolute one), made if it is not there; `?timeout=SECONDS` bounds how long a write waits for other processes
    (30). `registry` names the event classes (all declared ones by default), `require` the capabilities that the
    application relies on, `max_event_bytes` the largest event as JSON.

    Raises UnknownScheme, InvalidURL, UnsupportedOperation, MissingExtra; ForeignDatabase, NewerSchema, CorruptLog and
    other StorageErrors.
    """
    parts = _split(url)
    storage = open_storage(parts)
    store = EventStore(storage, Encoding(registry or default_registry(), max_event_bytes), _shown(parts))
    try:
        store.require(require)
    except BaseException:
        store.close()
        raise
    return store


def open_storage(parts: SplitResult) -> Storage:
    """Open the engine for a split URL."""
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        raise UnknownScheme(parts.scheme, _OPENERS)
    return opener(parts)


def _split(url: str | os.PathLike[str]) -> SplitResult:
    text = os.fspath(url)
    if not isinstance(text, str) or "\x00" in text:
        raise InvalidURL("the store's URL is not text without NUL; write for example sqlite:///conference.db")
    try:
        return urlsplit(text)
    except ValueError as error:
        raise InvalidURL(f"the store's URL cannot be read: {error}") from None


def _open_memory(parts: SplitResult) -> Storage:
    from sacho.storage.memory import MemoryStorage

    if parts.netloc or parts.path.strip("/") or parts.query:
        raise InvalidURL("memory:// takes nothing behind it; each connect() makes a log of its own")
    return MemoryStorage()


def _open_sqlite(parts: SplitResult) -> Storage:
    from sacho.storage.sqlite import DEFAULT_TIMEOUT, SqliteStorage

    path = unquote(parts.path).removeprefix("/")
    if parts.netloc or not path or path == ":memory:":
        raise InvalidURL(
            "a SQLite log is named by a file: sqlite:///relative.db or sqlite:////absolute.db; "
            "for a log in memory use memory://"
        )
    timeout = DEFAULT_TIMEOUT
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "timeout":
            raise InvalidURL(f"unknown option {name!r} in a sqlite URL; known is timeout")
        timeout = _seconds(name, value)
    return SqliteStorage(Path(path).absolute(), timeout)


_OPENERS: dict[str, Callable[[SplitResult], Storage]] = {"memory": _open_memory, "sqlite": _open_sqlite}


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise InvalidURL(f"{name}={value} is no number of seconds from 0")
    return seconds


def _shown(parts: SplitResult) -> str:
    """Return the URL without credentials."""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
