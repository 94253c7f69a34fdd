"""F37: readers of event streams that never read are dropped in time and cost little; a drain sends all readers away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from asyncinfer import JobHandle, JobManager, Model, current_job, model
from asyncinfer.abc import JobStore
from asyncinfer.adapters.http import Bounds, create_app
from asyncinfer.adapters.http._call import Service
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.raw_http import Connection, MessageParser
from tests.faults.harness.serving import Site, resident_bytes, served
from tests.faults.harness.waiting import came_true

pytestmark = pytest.mark.fault

STUCK = {"pr": 40, "rel": 100}
SEND_SECONDS = 0.5
"""Bounds.send_seconds of the server at hand."""
VALUES = 96
VALUE_BYTES = 64 * 1024
"""A job pours 6 MiB, more than a kernel keeps for a connection whose reader has a small buffer."""
RECEIVE_BUFFER = 4_096
STEADY_VALUES = 60
STEADY_SECONDS = 0.02
WAITING = {"pr": 50, "rel": 500}
LONG_POLL_SECONDS = 30
MIB = 1024 * 1024
AT_MOST = 3 * MIB
"""What one stuck reader may cost: the first page of its events, and what is on its way."""
GRACE = 1.0


class Figures(Struct, frozen=True, kw_only=True):
    """What readers that never read cost the server, and those that do."""

    stuck: int
    dropped: int
    dropped_seconds: float
    """From when they were full to when the server worked for none of them any more."""
    mib_each: float
    """Growth of the process at its largest, for each of them."""
    watchers_left: int
    jobs_canceled: int
    """Whose readers were dropped."""
    events_missed: int
    """By a reader that reads, beside them."""
    longest_silence: float
    """Seconds between two events of a job that tells one every 0.02 s."""


class DrainFigures(Struct, frozen=True, kw_only=True):
    """How those who wait for news were sent away when the manager began to drain."""

    streams: int
    streams_ended: int
    """Whole, and without `done`."""
    long_polls: int
    refused: int
    """503 `draining` with Retry-After."""
    slowest_seconds: float


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "whoever never reads is dropped in time": figures.dropped == figures.stuck
        and figures.dropped_seconds <= SEND_SECONDS + GRACE,
        "and costs bounded memory": figures.mib_each * MIB <= AT_MOST,
        "and leaves nothing": figures.watchers_left == 0,
        "and cancels no job": figures.jobs_canceled == 0,
        "and disturbs nobody": figures.events_missed == 0 and figures.longest_silence <= SEND_SECONDS + GRACE,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


def drain_verdict(figures: DrainFigures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "a drain ends streams": figures.streams_ended == figures.streams,
        "and refuses long-polls": figures.refused == figures.long_polls,
        "at once": figures.slowest_seconds < GRACE,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_readers_that_never_read_are_dropped(store: str, size: Size, tmp_path: Path) -> None:
    held = MemoryStore() if store == "memory" else SQLiteStore(tmp_path / "jobs.db")
    figures = await scenario(held, STUCK[size])
    publish(f"F37 {store}", size, figures)
    assert verdict(figures) == []


async def test_canary_a_stream_without_a_limit_of_time_waits_for_ever() -> None:
    broken = verdict(await scenario(MemoryStore(), 3, send_seconds=60.0))
    assert {"whoever never reads is dropped in time", "and leaves nothing"} <= set(broken)


async def test_a_drain_sends_all_who_wait_away_at_once(size: Size) -> None:
    figures = await drain(WAITING[size])
    publish("F37 drain", size, figures)
    assert drain_verdict(figures) == []


async def test_canary_who_does_not_hear_of_the_drain_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def deaf(service: Service) -> asyncio.Future[None]:
        return never

    monkeypatch.setattr(Service, "draining", deaf)
    assert len(drain_verdict(await drain(2, patience=GRACE))) == 3


@model
async def pours(values: int) -> int:
    job = current_job()
    for _ in range(values):
        job.emit(b"x" * VALUE_BYTES)
        await job.drain()
    return values


@model
async def tells_steadily(values: int) -> int:
    job = current_job()
    for number in range(values):
        job.emit(number)
        await job.drain()
        await asyncio.sleep(STEADY_SECONDS)  # what a step of a model takes
    return values


@model
async def waits_for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def service(store: JobStore, bounds: Bounds | None = None) -> AsyncGenerator[tuple[JobManager, Site]]:
    models: list[Model[..., Any, Any]] = [pours, tells_steadily, waits_for_ever]
    async with store, JobManager(store, models=models, concurrency={"loop": 1_000}, drain_grace=0) as manager:
        app = create_app(manager, public_base_url="http://loopback", allow_anonymous=True, bounds=bounds)
        async with served(app) as site:
            yield manager, site


async def scenario(store: JobStore, stuck: int, *, send_seconds: float = SEND_SECONDS) -> Figures:
    """Let so many readers get stuck beside one that reads."""
    async with service(store, Bounds(send_seconds=send_seconds)) as (manager, site):
        waiters = manager._core.engine.waiters
        poured = await manager.submit(pours, VALUES)
        await poured
        before = peak = resident_bytes()
        steady = await manager.submit(tells_steadily, STEADY_VALUES)
        reading = asyncio.create_task(_silences(site, steady))
        connections = [await _stuck(site, poured) for _ in range(stuck)]
        stuck_at = time.monotonic()

        def is_over() -> bool:
            nonlocal peak
            peak = max(peak, resident_bytes())
            return site.requests <= 1 - reading.done()

        await came_true(is_over, SEND_SECONDS + 2 * GRACE)
        dropped_seconds = time.monotonic() - stuck_at
        silences = await reading
        figures = Figures(
            stuck=stuck,
            dropped=stuck - site.requests,
            dropped_seconds=round(dropped_seconds, 2),
            mib_each=round((peak - before) / stuck / MIB, 2),
            watchers_left=len(waiters._watched),
            jobs_canceled=sum([job.status != "succeeded" async for job in manager.find_all()]),
            events_missed=STEADY_VALUES - len(silences) + 1,
            longest_silence=round(max(silences), 3),
        )
        for connection in connections:
            await connection.cut()
    return figures


async def _stuck(site: Site, handle: JobHandle[int]) -> Connection:
    """Ask for a job's events, and read nothing."""
    connection = await Connection.open(site.port, receive_buffer=RECEIVE_BUFFER)
    connection.stop_reading()
    await connection.send("GET", f"/v1/jobs/{handle.id}/events", headers={"accept": "text/event-stream"})
    return connection


async def _silences(site: Site, handle: JobHandle[int]) -> Sequence[float]:
    """Read a stream to its end; return the seconds before each output, and before the end."""
    silences: list[float] = []
    connection = await Connection.open(site.port)
    await connection.send("GET", f"/v1/jobs/{handle.id}/events", headers={"accept": "text/event-stream"})
    await connection.head()
    parser, heard_at = MessageParser(), time.monotonic()
    async for piece in connection.pieces():
        for message in parser.feed(piece):
            if message.event in ("output", "done"):
                silences.append(time.monotonic() - heard_at)
                heard_at = time.monotonic()
    await connection.cut()
    return silences


async def drain(waiting: int, *, patience: float = LONG_POLL_SECONDS / 2) -> DrainFigures:
    """Drain a manager for which so many streams and as many long-polls wait."""
    async with service(MemoryStore()) as (manager, site):
        handle = await manager.submit(waits_for_ever)
        streams = [await _opened(site, handle, "/events") for _ in range(waiting)]
        for stream in streams:
            assert (await stream.head()).status == 200
        queries = ("?wait=30", "?wait=30&until=change")
        polls = [await _opened(site, handle, queries[number % 2]) for number in range(waiting)]
        assert await came_true(lambda: site.requests == 2 * waiting, 10)
        began = time.monotonic()
        ending = [asyncio.create_task(_ends_whole(stream)) for stream in streams]
        answering = [asyncio.create_task(poll.answer()) for poll in polls]
        await manager.drain(grace=0)
        await asyncio.wait([*ending, *answering], timeout=patience)
        seconds = time.monotonic() - began
        answers = [task.result() for task in answering if task.done()]
        figures = DrainFigures(
            streams=waiting,
            streams_ended=sum(task.done() and task.result() for task in ending),
            long_polls=waiting,
            refused=sum(answer.problem == "draining" and answer.retry_after is not None for answer in answers),
            slowest_seconds=round(seconds, 3),
        )
        for connection in [*streams, *polls]:
            await connection.cut()
        await asyncio.gather(*ending, *answering, return_exceptions=True)
    return figures


async def _opened(site: Site, handle: JobHandle[None], rest: str) -> Connection:
    connection = await Connection.open(site.port)
    await connection.send("GET", f"/v1/jobs/{handle.id}{rest}", headers={"accept": "text/event-stream"})
    return connection


async def _ends_whole(stream: Connection) -> bool:
    """Tell whether the stream ends as a whole answer does, without `done`."""
    parser = MessageParser()
    messages = [message async for piece in stream.pieces() for message in parser.feed(piece)]
    return all(message.event != "done" for message in messages)
