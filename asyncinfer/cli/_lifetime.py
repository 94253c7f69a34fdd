"""The life of a process: until SIGTERM or Ctrl-C. One that holds a manager opens it, runs, drains.

Signal handlers are set here and nowhere else: a library has no business with them, a process of its own has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager

from asyncinfer import JobManager

LOOK_SECONDS = 5.0
"""Between two looks at the manager's health; only a change is logged."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def until_told(beside: AbstractAsyncContextManager[None]) -> None:
    """Enter `beside`, and leave it at the first signal."""
    stops: asyncio.Queue[str] = asyncio.Queue()
    with _signals_in(stops):
        async with beside:
            await stops.get()


async def run_until_told(
    manager: JobManager, beside: AbstractAsyncContextManager[None], logger: logging.Logger
) -> None:
    """Open the manager, enter `beside`, and drain at the first signal; then leave both.

    The manager has its own grace to drain, and none once a second signal has come. `beside` is left while the manager
    is still open.
    """
    stops: asyncio.Queue[str] = asyncio.Queue()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_signals_in(stops))
        stack.callback(lambda: logger.info("stopped"))
        first = asyncio.ensure_future(stops.get())
        stack.callback(first.cancel)
        # Weights may take minutes to load: a signal meanwhile ends that too.
        opening = asyncio.ensure_future(stack.enter_async_context(manager))
        await asyncio.wait([opening, first], return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            logger.info("%s while opening", first.result())
            opening.cancel()
            await asyncio.wait([opening])
            return
        await opening
        await stack.enter_async_context(beside)
        telling = asyncio.ensure_future(_tell_health(manager, logger))
        stack.callback(telling.cancel)
        logger.info("%s: draining; a second signal gives back at once what still runs", await first)
        await _drain(manager, stops, logger)


async def _drain(manager: JobManager, stops: asyncio.Queue[str], logger: logging.Logger) -> None:
    """Drain with the manager's grace, or with none once a second signal has come."""
    draining = asyncio.ensure_future(manager.drain())
    second = asyncio.ensure_future(stops.get())
    await asyncio.wait([draining, second], return_when=asyncio.FIRST_COMPLETED)
    if second.done():
        logger.info("%s again: giving back at once", second.result())
        await manager.drain(0)
    second.cancel()
    await draining


async def _tell_health(manager: JobManager, logger: logging.Logger) -> None:
    """Log the manager's health, and again whenever it has changed."""
    told: object = None
    while True:
        health = await manager.health()
        seen = (health.is_ready, tuple(health.reasons), dict(health.abandoned))
        if seen != told:
            told = seen
            level = logging.INFO if health.is_ready else logging.WARNING
            reasons = "; ".join(health.reasons) or "ready"
            logger.log(level, "health: %s (jobs survive: %s)", reasons, health.durability)
            for executor, count in health.abandoned.items():
                logger.warning("health: %d slots of executor %s are held by code of ended jobs", count, executor)
        await asyncio.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def _signals_in(stops: asyncio.Queue[str]) -> Generator[None, None, None]:
    """Put the names of SIGTERM and SIGINT into `stops` as they come."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stops.put_nowait, number.name)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
