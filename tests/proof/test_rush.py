"""A rush on one entity: no command runs out of retries, each is recorded once, the state is the fold of its events."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import sacho
from sacho import CommandHandler
from sacho.aio import AsyncCommandHandler
from tests.proof.judging import check_log, check_sound
from tests.proof.processes import Count, Counted, finished, started
from tests.proof.programs import Booking, registry

TASKS = 64


def test_no_command_of_a_rush_runs_out_of_retries(log_url: str, soak_count: Count, counted: Counted) -> None:
    """64 tasks here and eight threads in each of two other processes, all for one stream.

    Every fifth command is sent by all three with one id: it is recorded once, and all hear of the same outcome.
    Seen to fail with two attempts instead of a hundred, and with events' ids that do not come from the command's.
    """
    engine, each = log_url.partition(":")[0], soak_count(200)
    outcomes: dict[str, list[int]] = {}

    async def rush() -> None:
        async with sacho.connect_async(log_url, registry=registry()) as store:
            handler = AsyncCommandHandler(store, Booking())

            async def task(number: int) -> None:
                for count in range(each):
                    command = f"{'all' if count % 5 == 0 else 'here'} {number} {count}"
                    done = await handler.handle("hot-1", command, command_id=command)
                    outcomes[command] = [done.version or 0, done.position]

            await asyncio.gather(*map(task, range(TASKS)))

    with ExitStack() as stack:
        others = [stack.enter_context(started("book", log_url, name, each)) for name in ("first", "second")]
        asyncio.run(rush())
        told = [outcomes, *finished(*others)]
    with sacho.connect(log_url, registry=registry()) as store:
        recorded = {one.event.name: [one.version, one.position] for one in store.read("hot-1")}
        loaded = CommandHandler(store, Booking()).load("hot-1")
        assert loaded.state == loaded.version == store.version("hot-1") == len(recorded) == len(check_log(store))
    assert recorded == told[0] | told[1] | told[2]
    assert all(recorded[name] == outcome for one in told for name, outcome in one.items())
    check_sound(log_url)
    sent = sum(map(len, told))
    counted(f"commands of a rush on one stream ({engine}): sent, recorded once each", f"{sent}, {len(recorded)}")
