"""F35: thousands wait at one HTTP server, by long-poll and event stream: its jobs go on, and each hears of its own.

The server runs in the test's process, the readers in a second one.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from asyncinfer import Job, JobManager, Limits, current_job, model
from asyncinfer._services.waiters import Waiters
from asyncinfer.abc import JobKey, JobStore
from asyncinfer.adapters.http import create_app
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import nursery
from tests.faults.harness.raw_http import Connection, MessageParser
from tests.faults.harness.serving import Site, allow_files, resident_bytes, served
from tests.faults.harness.waiting import came_true, until
from tests.faults.harness.witness import Testimony, Witness
from tests.faults.harness.witnessed_store import opened

pytestmark = pytest.mark.fault

Place = Literal["memory", "sqlite", "sqlite elsewhere"]
"""The store, and whether the jobs run in the server's process."""
READERS: dict[Size, dict[Place, int]] = {
    "pr": {"memory": 100, "sqlite": 1_000, "sqlite elsewhere": 200},
    "rel": {"memory": 1_000, "sqlite": 1_000, "sqlite elsewhere": 1_000},
}
"""Of each kind, each with a job of its own."""
MEASURED_SECONDS = {"pr": 1.0, "rel": 10.0}
SUBMITTERS = 64
"""Each submits one tiny job after another and awaits it."""
OUTPUTS = 3
AT_ONCE = 64
"""Connections that are being opened at a time."""
PATIENCE = 60.0
LOOK_SECONDS = 100e-6
"""What one reader's work costs the loop in the canary, however fast the machine is."""
LAG_INTERVAL = 0.005
LEAST_SHARE = 0.3
"""Of their pace alone that jobs must keep beside readers that wait; on a quiet machine it is 0.7 to 1."""
KIB_EACH = 128
"""What one waiting reader may cost the server."""
FILES = 16_000
LIMITS = Limits(queued_jobs=100_000)


class Figures(Struct, frozen=True, kw_only=True):
    """What waiting readers cost, and whether all were told."""

    long_polls: int
    streams: int
    jobs_per_second_alone: float
    jobs_per_second_beside: float
    lag_ms_alone: Sequence[float]
    """How late the loop is for a timer: p50 and p99."""
    lag_ms_beside: Sequence[float]
    kib_each: float
    """Growth of the process for each of them; less where tests before have left it memory that is free."""
    told_of_their_ending: int
    ending_seconds_p50: float
    """From the commit of an ending, to the millisecond, to its reader's hearing of it, while all of them end."""
    ending_seconds_max: float
    tasks_left: int
    watchers_left: int
    waiters_left: int
    connections_left: int
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "waiting readers do not starve the workers": figures.jobs_per_second_beside
        >= LEAST_SHARE * figures.jobs_per_second_alone,
        "every reader hears of its ending": figures.told_of_their_ending == figures.long_polls + figures.streams,
        "a reader costs little memory": figures.kib_each <= KIB_EACH,
        "readers that have gone leave nothing": not (
            figures.tasks_left or figures.watchers_left or figures.waiters_left or figures.connections_left
        ),
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("place", ["memory", "sqlite", "sqlite elsewhere"])
async def test_many_wait_and_the_jobs_go_on(place: Place, size: Size, tmp_path: Path) -> None:
    figures = await scenario(place, tmp_path, READERS[size][place], MEASURED_SECONDS[size])
    publish(f"F35 {place}", size, figures)
    assert verdict(figures) == []


async def test_canary_readers_that_keep_the_loop_busy_starve_the_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Show that starving is seen where it happens: the work of each reader is made up.

    Taking the shared look away alone does not do it on a fast machine: 1,000 streams that each read the store every
    millisecond left the workers 0.44 to 0.78 of their pace.
    """

    async def look(manager: JobManager) -> None:
        while True:
            for watched in list(manager._core.engine.waiters._watched.values()):
                watched.wake()
                began = time.perf_counter()
                while time.perf_counter() - began < LOOK_SECONDS:
                    pass
            await asyncio.sleep(0.001)  # each reader works this often

    async def beside_looks(manager: JobManager, seconds: float) -> tuple[float, Sequence[float]]:
        looks = asyncio.create_task(look(manager))
        try:
            return await measured_as_it_is(manager, seconds)
        finally:
            looks.cancel()

    measured_as_it_is = measured
    monkeypatch.setattr(sys.modules[__name__], "measured", beside_looks)
    figures = await scenario("sqlite", tmp_path, 200, 1.0)
    assert "waiting readers do not starve the workers" in verdict(figures), figures


async def test_canary_a_watch_that_is_never_left_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch = Waiters.watch

    def never_left(waiters: Waiters, key: JobKey, event: asyncio.Event) -> Callable[[], None]:
        watch(waiters, key, event)
        return lambda: None

    monkeypatch.setattr(Waiters, "watch", never_left)
    assert "readers that have gone leave nothing" in verdict(await scenario("memory", tmp_path, 5, 0.1))


@model(concurrency=AT_ONCE)
async def tiny(number: int) -> int:
    return number


@model(queue="parked")
async def parked(number: int) -> int:
    for value in range(OUTPUTS):
        current_job().emit(value)
    return number


async def work(database: Path) -> None:
    """Run the jobs in a process of its own, until it is killed."""
    async with opened(SQLiteStore(database)) as store, JobManager(store, models=[tiny, parked], limits=LIMITS):
        await asyncio.Event().wait()


async def wait_for_endings(port: int, witnesses: Path, streamed: Sequence[str], polled: Sequence[str]) -> None:
    """Be that many readers: write `connected` once all wait, and `told` when one hears of its ending."""
    allow_files(FILES)
    witness = Witness(witnesses)
    room = asyncio.Semaphore(AT_ONCE)
    connected: list[Connection] = []

    async def connect(path: str, *, is_stream: bool) -> Connection:
        async with room:
            connection = await Connection.open(port)
            headers = {"accept": "text/event-stream"} if is_stream else {}
            await connection.send("GET", path, headers=headers)
            if is_stream:
                await connection.head()
        connected.append(connection)
        if len(connected) == len(streamed) + len(polled):
            witness.write("connected")
        return connection

    async def stream(job: str) -> None:
        connection = await connect(f"/v1/jobs/{job}/events", is_stream=True)
        parser = MessageParser()
        outputs = 0
        async for piece in connection.pieces():
            for message in parser.feed(piece):
                outputs += message.event == "output"
                if message.event == "done":
                    witness.write("told", job, note=f"stream {outputs} {message.json()['job']['status']}")
        await connection.cut()

    async def poll(job: str) -> None:
        connection = await connect(f"/v1/jobs/{job}?wait={PATIENCE:.0f}", is_stream=False)
        answer = await connection.answer()
        witness.write("told", job, note=f"poll {OUTPUTS} {answer.json()['status']}")
        await connection.cut()

    async with asyncio.TaskGroup() as group:
        for job in streamed:
            group.create_task(stream(job))
        for job in polled:
            group.create_task(poll(job))
    witness.write("gone")


async def scenario(place: Place, folder: Path, readers: int, seconds: float) -> Figures:
    """Measure jobs alone, then beside the readers; let all end; look at what is left."""
    began = time.monotonic()
    allow_files(FILES)
    witnesses = folder / "witnesses"
    testimony = Testimony(witnesses)
    with nursery(folder / "logs") as processes:
        if place == "sqlite elsewhere":
            processes.start(work, folder / "jobs.db")
        async with service(place, folder) as (manager, site):
            waiters = manager._core.engine.waiters
            handles = await manager.submit_many(parked.bind(number) for number in range(2 * readers))
            ids = [handle.id for handle in handles]
            del handles
            await measured(manager, 0.5)  # so that what is made once is made
            pace_alone, lag_alone = await measured(manager, seconds)
            tasks = len(asyncio.all_tasks())
            gc.collect()
            resident = resident_bytes()
            child = processes.start(wait_for_endings, site.port, witnesses, ids[:readers], ids[readers:])
            await until(lambda: bool(testimony.lines("connected")), PATIENCE, what="all readers are connected")
            await until(
                lambda: len(waiters._awaited) >= readers and len(waiters._watched) >= readers,
                PATIENCE,
                what="they wait",
            )
            gc.collect()
            grown = resident_bytes() - resident
            pace_beside, lag_beside = await measured(manager, seconds)
            await manager.resume("parked")
            await came_true(lambda: bool(testimony.lines("gone")) or not child.is_alive, PATIENCE)
            await came_true(lambda: site.connections == 0, 5)
            await came_true(lambda: len(asyncio.all_tasks()) <= tasks + 1, 5)
            told = {line.job: line for line in testimony.lines("told") if line.note.endswith(f"{OUTPUTS} succeeded")}
            waits = sorted([told[job.id].at - _monotonic(job) async for job in manager.find_all() if job.id in told])
            return Figures(
                long_polls=readers,
                streams=readers,
                jobs_per_second_alone=round(pace_alone),
                jobs_per_second_beside=round(pace_beside),
                lag_ms_alone=lag_alone,
                lag_ms_beside=lag_beside,
                kib_each=round(grown / (2 * readers) / 1024, 1),
                told_of_their_ending=len(told),
                ending_seconds_p50=round(statistics.median(waits or [-1.0]), 3),
                ending_seconds_max=round(max(waits or [-1.0]), 3),
                tasks_left=max(0, len(asyncio.all_tasks()) - tasks - 1),  # one waits for the drain, for all of them
                watchers_left=len(waiters._watched),
                waiters_left=len(waiters._awaited),
                connections_left=site.connections,
                seconds=round(time.monotonic() - began, 1),
            )


@asynccontextmanager
async def service(place: Place, folder: Path) -> AsyncGenerator[tuple[JobManager, Site]]:
    store: JobStore = MemoryStore() if place == "memory" else SQLiteStore(folder / "jobs.db")
    runs = place != "sqlite elsewhere"
    async with store, JobManager(store, models=[tiny, parked], limits=LIMITS, run_jobs=runs) as manager:
        await manager.pause("parked")
        app = create_app(manager, public_base_url="http://loopback", allow_anonymous=True)
        async with served(app) as site:
            yield manager, site


async def measured(manager: JobManager, seconds: float) -> tuple[float, Sequence[float]]:
    """Run tiny jobs for so long; return how many a second, and how late the loop was meanwhile, in ms: p50, p99."""
    is_over = asyncio.Event()
    counts = [0] * SUBMITTERS
    lags: list[float] = []

    async def submit(number: int) -> None:
        while not is_over.is_set():
            await (await manager.submit(tiny, number))
            counts[number] += 1

    async def watch() -> None:
        while not is_over.is_set():
            due = time.monotonic() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)  # what is measured is how late it returns
            lags.append(time.monotonic() - due)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        for number in range(SUBMITTERS):
            group.create_task(submit(number))
        await asyncio.sleep(seconds)  # how long it is measured
        is_over.set()
    quantiles = statistics.quantiles(lags, n=100)
    return sum(counts) / (time.monotonic() - began), [round(1000 * quantiles[at], 2) for at in (49, 98)]


def _monotonic(job: Job) -> float:
    """Return when the job ended, on the monotonic clock, which the processes of a host share."""
    assert job.finished_at is not None
    return job.finished_at / 1000 - time.time() + time.monotonic()
