"""`asyncinfer work`: run a manager as a process of its own, until it is told to stop.

Signal handlers are set here and nowhere else: a library has no business with them, a process that is only a worker has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Generator
from typing import Annotated

import typer

from asyncinfer import JobManager
from asyncinfer.cli._import_path import manager_at
from asyncinfer.cli._running import errors_told, run
from asyncinfer.errors import InvalidOption

LOOK_SECONDS = 5.0
"""Between two looks at the manager's health; only a change is logged."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)
LEVELS = ("debug", "info", "warning", "error")
logger = logging.getLogger("asyncinfer.work")


def work(
    manager: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:MANAGER",
            help="Where the JobManager is, or a function without arguments that returns one, as app.jobs:manager.",
        ),
    ],
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help=f"What to log: {', '.join(LEVELS)}.")
    ] = "info",
) -> None:
    """Run the jobs of a manager until SIGTERM or Ctrl-C.

    The first signal drains: nothing more is claimed, what runs has the manager's drain_grace to finish, the rest is
    given back uncharged. A second signal gives back at once. The exit code is 0 after a drain. The working directory is
    importable.
    """
    if log_level not in LEVELS:
        raise typer.BadParameter(f"--log-level: expected one of {', '.join(LEVELS)}, got {log_level!r}")
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with errors_told():
        found = manager_at(manager)
    run(_work(found))


async def _work(manager: JobManager) -> None:
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
        await _require_worker(manager)
        logger.info("process %d runs %s", os.getpid(), ", ".join(model.name for model in manager.models()))
        telling = asyncio.ensure_future(_tell_health(manager))
        stack.callback(telling.cancel)
        logger.info("%s: draining; a second signal gives back at once what still runs", await first)
        await _drain(manager, stops)


async def _drain(manager: JobManager, stops: asyncio.Queue[str]) -> None:
    """Drain with the manager's grace, or with none once a second signal has come."""
    draining = asyncio.ensure_future(manager.drain())
    second = asyncio.ensure_future(stops.get())
    await asyncio.wait([draining, second], return_when=asyncio.FIRST_COMPLETED)
    if second.done():
        logger.info("%s again: giving back at once", second.result())
        await manager.drain(0)
    second.cancel()
    await draining


async def _require_worker(manager: JobManager) -> None:
    pids = {(worker.host, worker.pid) for worker in await manager.workers()}
    if (socket.gethostname(), os.getpid()) not in pids:
        raise InvalidOption("MANAGER: expected a JobManager that runs jobs, this one has run_jobs=False")


async def _tell_health(manager: JobManager) -> None:
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
