"""connect(): the only place that picks an engine, by the URL's scheme, importing it then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from sacho.errors import InvalidURL, MissingExtra, UnknownScheme
from sacho.schema import Encoding, Registry, default_registry
from sacho.schema.encoding import DEFAULT_MAX_EVENT_BYTES
from sacho.storage.port import Storage
from sacho.store.event_store import EventStore


class StoreURL(NamedTuple):
    """A store's URL in its parts. Shown without what stands before an `@`, which may be credentials."""

    scheme: str
    authority: str
    path: str
    options: str

    @classmethod
    def parse(cls, url: object) -> StoreURL:
        """Take a URL apart: `scheme://authority/path?options`. A `#` is part of a file's name. Raises InvalidURL."""
        if not isinstance(url, str) or "\x00" in url or "\x00" in unquote(url):
            raise InvalidURL("the store's URL is not text without NUL; write for example sqlite:///conference.db")
        scheme, mark, rest = url.partition("://")
        if not mark:
            return cls("", "", url, "")
        location, _, options = rest.partition("?")
        authority, slash, path = location.partition("/")
        return cls(scheme.lower(), authority, unquote(slash + path), options)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.rpartition('@')[2]}{self.path}"


def connect(
    url: str,
    *,
    registry: Registry | None = None,
    require: Iterable[str] = (),
    max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
) -> EventStore:
    """Open the event store at `url`.

    `memory://` lives in this process; `sqlite:///conference.db` is a file (three slashes and a relative path, four and
    an absolute one), made if it is not there; `?timeout=SECONDS` bounds how long a write waits for other processes
    (30). `postgresql://user:password@host:port/database` is a schema of a database, made if it is not there and rights
    allow; `?schema=NAME` names it (sacho), and the page "Move to PostgreSQL" tells of the other options.

    `registry` names the event classes (all declared ones by default), `require` the capabilities that the application
    relies on, `max_event_bytes` the largest event as JSON.

    Raises UnknownScheme, InvalidURL, UnsupportedOperation, MissingExtra; ForeignDatabase, NewerSchema, CorruptLog and
    other StorageErrors.
    """
    parts = StoreURL.parse(url)
    store = EventStore(open_storage(parts), Encoding(registry or default_registry(), max_event_bytes), str(parts))
    try:
        store.require(require)
    except BaseException:
        store.close()
        raise
    return store


def open_storage(parts: StoreURL) -> Storage:
    """Open the engine for a URL."""
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        raise UnknownScheme(parts.scheme, _OPENERS)
    return opener(parts)


def memory_storage(clock: Callable[[], int]) -> Storage:
    """Return an empty log in memory that goes by a clock (nanoseconds since 1970)."""
    from sacho.storage.memory import MemoryStorage

    return MemoryStorage(clock)


def _open_memory(parts: StoreURL) -> Storage:
    from sacho.storage.memory import MemoryStorage

    if parts.authority or parts.path.strip("/") or parts.options:
        raise InvalidURL("memory:// takes nothing behind it; each connect() makes a log of its own")
    return MemoryStorage()


def sqlite_path(parts: StoreURL) -> Path:
    """Return the file that a sqlite URL names. Raises InvalidURL."""
    name = parts.path.removeprefix("/")
    if parts.authority or not name or name == ":memory:":
        raise InvalidURL(
            "a SQLite log is named by a file: sqlite:///relative.db or sqlite:////absolute.db; "
            "for a log in memory use memory://"
        )
    return Path(name).absolute()


def _open_sqlite(parts: StoreURL) -> Storage:
    from sacho.storage.sqlite import DEFAULT_TIMEOUT, SqliteStorage

    path, timeout = sqlite_path(parts), DEFAULT_TIMEOUT
    for name, value in parse_qsl(parts.options, keep_blank_values=True):
        if name != "timeout":
            raise InvalidURL(f"unknown option {name!r} in a sqlite URL; known is timeout")
        timeout = _seconds(name, value)
    return SqliteStorage(path, timeout)


def _open_postgres(parts: StoreURL) -> Storage:
    try:
        from sacho.storage.postgres import PostgresSettings, PostgresStorage
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"psycopg", "psycopg_pool"}:
            raise MissingExtra("the postgresql engine", "postgres") from error
        raise
    except ImportError as error:
        raise MissingExtra("the postgresql engine (libpq)", "postgres") from error
    return PostgresStorage(PostgresSettings.of(parts.authority, parts.path, parts.options))


_OPENERS: dict[str, Callable[[StoreURL], Storage]] = {
    "memory": _open_memory,
    "postgresql": _open_postgres,
    "sqlite": _open_sqlite,
}


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise InvalidURL(f"{name}={value} is no number of seconds from 0")
    return seconds
