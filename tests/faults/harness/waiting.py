"""Bounded waits for what other processes do: they have no event to set here, so this polls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.01


async def came_true(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within: float) -> bool:
    """Look until the condition holds; False if it does not within so many seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within: float, *, what: str) -> None:
    """Look until the condition holds. Raise AssertionError, naming `what`, after `within` seconds."""
    if not await came_true(condition, within):
        raise AssertionError(f"{within:g} s have passed without: {what}")
