"""Counts of proofs: how many tries a run makes, and what it tells at its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from servers import nats
from servers.postgres import fresh_database
from tests.postgres_server import fresh_schema, given_or_started

COUNT = "count of a proof"
IS_SOAK = os.environ.get("SACHO_SOAK") == "1"

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


@pytest.fixture
def soak_count() -> Callable[[int], int]:
    """How many of a full count to try: all in a soak, else a tenth, at least one."""
    return lambda full: full if IS_SOAK else max(1, full // 10)


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Tell a count; it is printed when the run ends, whichever process ran the test."""
    return lambda label, count: request.node.user_properties.append((COUNT, f"{label}: {count}"))


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A PostgreSQL server, the same for all tests of the run."""
    yield from given_or_started()


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """A log in a schema of its own, which is not there yet."""
    with fresh_schema(postgres_server_url) as url:
        yield url


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """A NATS server with JetStream, the same for all tests of the run."""
    if nats.GIVEN_URL:
        yield nats.GIVEN_URL
        return
    with nats.running_nats() as server:
        yield server.url


ENGINES = ("memory", "sqlite", "postgres")


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Returns the URL of an empty log of an engine, the same for the whole test."""

    def find(engine: str) -> str:
        if engine == "postgres":
            found: str = request.getfixturevalue("postgres_url")
            return found
        return "memory://" if engine == "memory" else f"sqlite:///{tmp_path / 'log.db'}"

    return find


@pytest.fixture
def postgres_database_url(postgres_server_url: str) -> Iterator[str]:
    """A database of its own, in which there is nothing yet."""
    with fresh_database(postgres_server_url) as url:
        yield url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "proof" in Path(item.path).parts:
            item.add_marker(pytest.mark.proof)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for of_kind in ("passed", "failed") for report in terminalreporter.getreports(of_kind)]
    counts = [
        text for report in reports if report.when == "call" for name, text in report.user_properties if name == COUNT
    ]
    if counts:
        terminalreporter.section("counts")
        for line in counts:
            terminalreporter.write_line(line)
