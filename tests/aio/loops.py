"""Runs a test in an event loop of its own, and says that it hangs when it takes too long."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")
PATIENCE = 120.0


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an ordinary test of a coroutine."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(_in_time(test(*args, **kwargs)))

    return run


async def _in_time(test: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await test
