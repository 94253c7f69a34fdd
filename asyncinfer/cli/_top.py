"""`asyncinfer top`: what the queues and workers of a store do, once a second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import typer
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from asyncinfer import Counts, JobManager, WorkerInfo
from asyncinfer.cli._client import client_of
from asyncinfer.cli._job_tables import STYLES, age, console, table_of
from asyncinfer.cli._options import JOB_STATUSES, StoreOption
from asyncinfer.cli._running import run
from asyncinfer.errors import StoreError

REFRESH_SECONDS = 1.0


class Look(Struct, frozen=True):
    """The counts and workers of a store, and when they were looked at."""

    counts: Sequence[Counts]
    workers: Sequence[WorkerInfo]
    at: float
    """Seconds since 1970 UTC."""


def top(
    store: StoreOption,
    once: Annotated[bool, typer.Option("--once", help="Print one table and exit; no rates, they need two.")] = False,
) -> None:
    """Show jobs by queue and model, their rates and the workers, live until Ctrl-C."""
    run(_print_once(store) if once else _follow(store))


async def _print_once(store: str) -> None:
    async with client_of(store) as manager:
        console().print(frame(store, await _look(manager), None))


async def _follow(store: str) -> None:
    """Show a picture a second; into a pipe or a file, one below the other."""
    out = console()
    live = Live(console=out, auto_refresh=False, screen=True)
    async with client_of(store) as manager:
        before: Look | None = None
        # Ctrl-C cancels this task, and is how it is meant to end.
        with live if out.is_terminal else contextlib.nullcontext(), contextlib.suppress(asyncio.CancelledError):
            while True:
                picture, before = await _picture(store, manager, before)
                if out.is_terminal:
                    live.update(picture, refresh=True)
                else:
                    out.print(picture)
                await asyncio.sleep(REFRESH_SECONDS)


async def _picture(store: str, manager: JobManager, before: Look | None) -> tuple[RenderableType, Look | None]:
    """Return what to show and what to compare the next look with; a store that does not answer is shown too."""
    try:
        now = await _look(manager)
    except StoreError as error:
        return Text(f"{without_password(store)}: {error}", style="red"), before
    return frame(store, now, before), now


async def _look(manager: JobManager) -> Look:
    return Look(await manager.counts(), await manager.workers(), time.time())


def frame(store: str, now: Look, before: Look | None) -> RenderableType:
    """Return one picture; rates are the difference from `before`, blank without it."""
    title = Text.assemble(
        ("asyncinfer top", "bold"), f"  {without_password(store)}  {time.strftime('%X', time.localtime(now.at))}"
    )
    return Group(title, "", _queues(now, before), "", _workers(now))


def without_password(url: str) -> str:
    """Return a store's URL as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username}:…@{parts.netloc.rpartition('@')[2]}"))


def ended_per_second(now: Look, before: Look) -> Mapping[tuple[str, str], float]:
    """Return by queue and model how many jobs ended a second; pruned jobs leave the counts, so never below 0."""
    elapsed = max(now.at - before.at, 0.001)
    ended = {(one.queue, one.model): _ended(one) for one in before.counts}
    return {
        (one.queue, one.model): max(0.0, (_ended(one) - ended.get((one.queue, one.model), 0)) / elapsed)
        for one in now.counts
    }


def _queues(now: Look, before: Look | None) -> Table:
    table = table_of("queue", "model")
    for status in JOB_STATUSES:
        table.add_column(status, justify="right", style=STYLES[status])
    table.add_column("oldest", justify="right")
    table.add_column("ended/s", justify="right")
    rates: Mapping[tuple[str, str], float] = {} if before is None else ended_per_second(now, before)
    for one in sorted(now.counts, key=lambda counts: (counts.queue, counts.model)):
        rate = rates.get((one.queue, one.model))
        table.add_row(
            Text(f"{one.queue} (paused)" if one.is_paused else one.queue),
            Text(one.model),
            *(f"{getattr(one, status):,}" for status in JOB_STATUSES),
            "" if one.oldest_queued_at is None else age(now.at - one.oldest_queued_at / 1000),
            "" if rate is None else f"{rate:,.1f}",
        )
    if not now.counts:
        table.add_row(Text("no jobs", style="dim"))
    return table


def _workers(now: Look) -> Table:
    table = table_of("worker", "host", "pid", "slots", "models", "up for")
    for one in now.workers:
        table.add_row(
            Text(one.worker),
            Text(one.host),
            str(one.pid),
            ", ".join(f"{name} {count}" for name, count in sorted(one.slots.items())),
            Text(", ".join(model.name for model in one.models)),
            age(now.at - one.started_at / 1000),
        )
    if not now.workers:
        table.add_row(Text("no worker", style="dim"))
    return table


def _ended(counts: Counts) -> int:
    return counts.succeeded + counts.failed + counts.canceled
