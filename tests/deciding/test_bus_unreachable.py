"""A server that goes away in the middle of a command: the bus asks again until it knows what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pytest

import sacho
from sacho import CommandBus, route
from sacho.aio import AsyncCommandBus
from sacho.deciding import Retry
from sacho.errors import StorageUnreachable
from sacho.events import CommandStored, CommandWithdrawn, command_stream
from tests.aio.loops import in_a_loop
from tests.deciding.accounts import PATIENCE, REGISTRY, Deposited, recorded_events
from tests.deciding.banking import Bank, PutIn, stream_of
from tests.deciding.cutting import Line, line_to
from tests.postgres_server import without_schema

GIVES_UP_AFTER = 2.0
"""Seconds for which the engine itself tries again. Until then nothing comes up to the bus."""
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
PATIENT = Retry(attempts=500, first_pause=0.01, longest_pause=0.1)


def healing(line: Line) -> tuple[Retry, list[int]]:
    """Retries before each of which the line is whole again, and how many failures there were before each."""
    failed: list[int] = []

    class Healing(Retry, frozen=True):
        def pause(self, failures: int) -> float:
            failed.append(failures)
            line.heal()
            return PATIENT.pause(failures)

    return Healing(attempts=PATIENT.attempts), failed


@contextmanager
def cut(postgres_url: str) -> Iterator[tuple[sacho.EventStore, Line]]:
    """A store over a line that can be cut."""
    sacho.connect(postgres_url).close()
    with (
        line_to(f"{postgres_url}&timeout={GIVES_UP_AFTER}") as (url, line),
        sacho.connect(url, registry=REGISTRY) as store,
    ):
        yield store, line


def bus_of(store: sacho.EventStore, retry: Retry) -> CommandBus:
    return CommandBus(store, [route(Bank(), PutIn, stream=stream_of)], retry=retry)


@pytest.mark.parametrize("is_submitted", [False, True], ids=["handle", "submit"])
def test_a_command_whose_answer_is_lost_is_settled_by_asking_again(postgres_url: str, *, is_submitted: bool) -> None:
    """The server has committed; the line is cut before it is told, and no other one comes through for a while."""
    with cut(postgres_url) as (store, line):
        retry, failed = healing(line)
        bus = bus_of(store, retry)
        line.cut_after(b"Deposited")
        if is_submitted:
            outcome = bus.submit(PutIn("ada", 5)).result(timeout=PATIENCE)
        else:
            outcome = bus.handle(PutIn("ada", 5))
        assert failed[0] == 1
        assert (outcome.version, outcome.events) == (1, (Deposited(5),))
        assert recorded_events(store, "account-ada") == [Deposited(5)]


def test_without_another_try_the_caller_is_told_that_it_may_have_happened(postgres_url: str) -> None:
    with cut(postgres_url) as (store, line):
        line.cut_after(b"Deposited")
        with pytest.raises(StorageUnreachable) as lost:
            bus_of(store, Retry(attempts=1)).handle(PutIn("ada", 5), command_id="c1")
        assert lost.value.may_have_happened
        line.heal()
        assert bus_of(store, PATIENT).handle(PutIn("ada", 5), command_id="c1").version == 1
        assert recorded_events(store, "account-ada") == [Deposited(5)]


def test_storing_replacing_and_withdrawing_are_settled_the_same_way(postgres_url: str) -> None:
    """Each answer is lost; who asks is told what the log says."""
    with cut(postgres_url) as (store, line):
        retry, failed = healing(line)
        bus = bus_of(store, retry)
        line.cut_after(b"sacho.command-stored")
        assert bus.store(PutIn("ada", 5), at=NOON, command_id="c1").position == 1
        assert failed[0] == 1
        failed.clear()
        line.cut_after(b"sacho.command-stored")
        assert bus.replace("c1", PutIn("ada", 6), at=NOON) is not None
        assert failed[0] == 1
        failed.clear()
        line.cut_after(b"sacho.command-withdrawn")
        assert bus.withdraw("c1") is True
        assert failed[0] == 1
        events = recorded_events(store, command_stream("c1"))
        assert [type(event) for event in events] == [CommandStored, CommandStored, CommandWithdrawn]


def test_the_same_is_awaited(postgres_url: str) -> None:
    @in_a_loop
    async def run() -> None:
        with line_to(f"{postgres_url}&timeout={GIVES_UP_AFTER}") as (url, line):
            async with sacho.connect_async(url, registry=REGISTRY) as store:
                retry, failed = healing(line)
                bus = AsyncCommandBus(store, [route(Bank(), PutIn, stream=stream_of)], retry=retry)
                line.cut_after(b"Deposited")
                outcome = await bus.handle(PutIn("ada", 5))
                assert failed[0] == 1
                assert outcome.version == await store.version("account-ada") == 1

    sacho.connect(postgres_url).close()
    run()


def test_commands_go_on_while_backends_are_killed(postgres_url: str) -> None:
    server, _ = without_schema(postgres_url)
    with (
        sacho.connect(f"{postgres_url}&application_name=sacho%20bus", registry=REGISTRY) as store,
        psycopg.connect(server, autocommit=True) as admin,
    ):
        bus = bus_of(store, PATIENT)
        for number in range(10):
            waiting = [bus.submit(PutIn("ada", 1), command_id=f"{number}.{one}") for one in range(20)]
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sacho bus'")
            for one in waiting:
                one.result(timeout=PATIENCE)
        assert recorded_events(store, "account-ada") == [Deposited(1)] * 200
