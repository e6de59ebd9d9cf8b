"""Opening the log that a command is about. Looking into a log never makes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sacho.errors import InvalidURL, StorageFailed
from sacho.store import EventStore, connect
from sacho.store.connecting import StoreURL, sqlite_path


def named(url: str | None) -> str:
    """Return the URL if one was given. Raises InvalidURL."""
    if not url:
        raise InvalidURL("which log? Name it with --store URL or in SACHO_STORE, such as sqlite:///conference.db")
    return url


@contextmanager
def opened(url: str | None) -> Iterator[EventStore]:
    """Open a log that is there. Raises StorageFailed or LogMissing where there is none, and leaves it so."""
    given = named(url)
    parts = StoreURL.parse(given)
    if parts.scheme == "sqlite":
        _check_there(sqlite_path(parts))
    with connect(migrating(given, may=False)) as store:
        yield store


def migrating(url: str, *, may: bool) -> str:
    """Return the URL with the word whether a log may be made or migrated, where its engine asks for that."""
    parts = StoreURL.parse(url)
    if parts.scheme != "postgresql":
        return url
    return f"{url}{'&' if parts.options else '?'}migrate={'yes' if may else 'no'}"


def _check_there(path: Path) -> None:
    """Look at the file from without: only SQLite may open it."""
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        size = 0
    except OSError as error:
        raise StorageFailed(f"{path} cannot be opened: {error.strerror}") from error
    if not size:
        raise StorageFailed(f"there is no log at {path}; `sacho append` makes one")
