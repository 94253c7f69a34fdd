"""The workloads: how jobs are handed in and collected, and what is timed.

A job counts when its result, checked, is back in the submitter. The driver adds no task per job.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from benchmarks.jobs import NAP_SECONDS
from benchmarks.records import Metrics

T = TypeVar("T")

LANES = 1_000
WARM_UP = 100
CONCURRENCY = 100
PROCESSES = 2
"""Worker processes, of ours and of the pool beside them."""
BULK = 1_000
MIB = 1024 * 1024


class Door(Protocol[T]):
    """Where jobs of one kind go in. What comes back is awaited for the result, which equals what was handed in."""

    @property
    def submit(self) -> Callable[[T], Awaitable[Awaitable[T]]]: ...

    @property
    def submit_many(self) -> Callable[[Sequence[T]], Awaitable[Sequence[Awaitable[T]]]]: ...


class Subject(Protocol[T]):
    """Opens, fresh for each run, a door for one kind of job."""

    def open(self) -> AbstractAsyncContextManager[Door[T]]: ...


class WrongResult(Exception):
    """A job answered something else than it should have: the run is worth nothing."""


async def stream(subject: Subject[int], jobs: int) -> Metrics:
    """W1: submit one by one, up to 1,000 submits in flight."""
    async with subject.open() as door:
        await _one_by_one(door, range(WARM_UP))
        with Stopwatch() as watch:
            await _one_by_one(door, range(jobs))
    return watch.metrics(jobs)


async def bulk(subject: Subject[int], jobs: int) -> Metrics:
    """W1b: the same through the bulk submit, 1,000 a call, one call after the other."""
    async with subject.open() as door:
        await _one_by_one(door, range(WARM_UP))
        handles: dict[int, Awaitable[int]] = {}
        with Stopwatch() as watch:
            for start in range(0, jobs, BULK):
                values = range(start, min(start + BULK, jobs))
                handles.update(zip(values, await door.submit_many(values), strict=True))
            await _collect(handles, range(jobs))
    return watch.metrics(jobs)


async def turns(subject: Subject[int], jobs: int) -> Metrics:
    """W2: one job at a time, from submit to result."""
    laps: list[float] = []
    async with subject.open() as door:
        await _one_by_one(door, range(WARM_UP))
        with Stopwatch() as watch:
            for n in range(jobs):
                begun = time.perf_counter()
                _check(await (await door.submit(n)), n)
                laps.append((time.perf_counter() - begun) * 1e3)
    return watch.metrics(jobs) | percentiles(laps)


async def naps(subject: Subject[int], jobs: int) -> Metrics:
    """W3: jobs that only wait, ten times as many as may run at once."""
    async with subject.open() as door:
        await _one_by_one(door, range(WARM_UP))
        with Stopwatch() as watch:
            await _one_by_one(door, range(jobs))
    ideal = jobs / CONCURRENCY * NAP_SECONDS
    return watch.metrics(jobs) | {"over_ideal": watch.seconds / ideal}


async def payload(subject: Subject[bytes], jobs: int) -> Metrics:
    """W5: 1 MiB of bytes in and out; no two inputs are equal, so nothing can be shared."""
    filling = bytes(range(256)) * (MIB // 256 - 1)
    inputs = [n.to_bytes(256, "big") + filling for n in range(jobs)]
    async with subject.open() as door:
        await _one_by_one(door, inputs[:10])
        with Stopwatch() as watch:
            await _one_by_one(door, inputs)
    return watch.metrics(jobs)


class Stopwatch:
    """Times a `with` block: wall seconds, and CPU seconds of all threads of this process."""

    seconds = 0.0
    cpu_seconds = 0.0

    def __enter__(self) -> Stopwatch:
        gc.collect()  # what earlier runs left behind is not this run's to clear away
        self._cpu_begun, self._begun = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun
        self.cpu_seconds = time.process_time() - self._cpu_begun

    def metrics(self, jobs: int) -> Metrics:
        return {
            "seconds": self.seconds,
            "jobs_per_second": jobs / self.seconds,
            "cpu_seconds_per_1000": self.cpu_seconds / jobs * 1e3,
        }


def percentiles(milliseconds: Iterable[float]) -> Metrics:
    """Return p50_ms, p95_ms and p99_ms, nearest rank."""
    ordered = sorted(milliseconds)
    last = len(ordered) - 1
    return {f"p{percent}_ms": ordered[round(last * percent / 100)] for percent in (50, 95, 99)}


async def _one_by_one(door: Door[T], values: Sequence[T]) -> None:
    handles: dict[int, Awaitable[T]] = {}
    indexes = iter(range(len(values)))
    submit = door.submit

    async def lane() -> None:
        for n in indexes:
            handles[n] = await submit(values[n])

    await _lanes(lane, len(values))
    await _collect(handles, values)


async def _collect(handles: dict[int, Awaitable[T]], values: Sequence[T]) -> None:
    indexes = iter(range(len(values)))

    async def lane() -> None:
        for n in indexes:
            _check(await handles.pop(n), values[n])

    await _lanes(lane, len(values))


async def _lanes(lane: Callable[[], Awaitable[None]], jobs: int) -> None:
    await asyncio.gather(*(lane() for _ in range(min(LANES, jobs))))


def _check(result: object, expected: object) -> None:
    if result != expected:
        raise WrongResult(f"A job answered {str(result)[:80]} where {str(expected)[:80]} was due")
