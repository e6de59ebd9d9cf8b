"""Where Sacho's logs lie: files, or on PostgreSQL databases. The same sides measure both engines."""

from __future__ import annotations

from pathlib import Path

from benchmarks.job import Job


def url(path: Path) -> str:
    """Return the URL of a log in a file."""
    return f"sqlite:///{path.absolute()}"


def fresh(job: Job) -> str:
    """Return the URL of this measurement's own log, which is not there yet."""
    return job.database or url(job.file("log.db"))


def prepared(job: Job, name: str) -> str:
    """Return the URL of the log of this name that all rounds share."""
    return _in_database(job, name) or url(job.prepared / f"{name}-sacho.db")


def for_reading(job: Job, name: str) -> str:
    """Return the URL of a prepared log to be read: a copy of its file, or in PostgreSQL, where reading leaves nothing, itself."""
    return _in_database(job, name) or url(job.copy_of(f"{name}-sacho.db"))


def _in_database(job: Job, name: str) -> str:
    place = job.prepared_database
    return f"{place}{'&' if '?' in place else '?'}schema={name}_sacho" if place else ""
