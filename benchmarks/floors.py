"""Floors without a store: what asyncio, threads and processes cost by themselves for the same jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import get_context
from typing import Any, Generic, TypeVar

from benchmarks.jobs import nap_and_tell
from benchmarks.workloads import CONCURRENCY, PROCESSES

T = TypeVar("T")

THREADS = 4
"""As many as the library's thread executor starts by default."""


class AsyncioFloor(Generic[T]):
    """`floor-asyncio`: submit is a task under one semaphore, the result is awaited from it. Nothing is kept."""

    # Any: what a coroutine yields and is sent is the loop's own business.
    def __init__(self, job: Callable[[T], Coroutine[Any, Any, T]]) -> None:
        self._job = job

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_TaskDoor[T]]:
        yield _TaskDoor(self._job)


class _TaskDoor(Generic[T]):
    def __init__(self, job: Callable[[T], Coroutine[Any, Any, T]]) -> None:
        self._job = job
        self._semaphore = asyncio.Semaphore(CONCURRENCY)

    async def submit(self, value: T) -> Awaitable[T]:
        return asyncio.create_task(self._run(value))

    async def submit_many(self, values: Sequence[T]) -> Sequence[Awaitable[T]]:
        return [asyncio.create_task(self._run(value)) for value in values]

    async def _run(self, value: T) -> T:
        async with self._semaphore:
            return await self._job(value)


class ThreadFloor(Generic[T]):
    """`floor-threads`: the standard pool through the loop, 4 threads."""

    def __init__(self, job: Callable[[T], T]) -> None:
        self._job = job

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_PoolDoor[T]]:
        with ThreadPoolExecutor(THREADS) as pool:
            yield _PoolDoor(self._job, pool)


class ProcessFloor(Generic[T]):
    """`floor-processes`: the standard process pool through the loop, 2 processes."""

    def __init__(self, job: Callable[[T], T]) -> None:
        self._job = job

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_PoolDoor[T]]:
        async with warm_pool(PROCESSES) as pool:
            yield _PoolDoor(self._job, pool)


@asynccontextmanager
async def warm_pool(workers: int) -> AsyncGenerator[ProcessPoolExecutor]:
    """Yield a standard pool that has all its processes; spawned: a fork would copy locks of this one's threads."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pids: set[int] = set()
        while len(pids) < workers:
            naps = (loop.run_in_executor(pool, nap_and_tell, 0.05) for _ in range(workers))
            pids.update(await asyncio.gather(*naps))
        yield pool


class _PoolDoor(Generic[T]):
    def __init__(self, job: Callable[[T], T], pool: Executor) -> None:
        self._job = job
        self._pool = pool

    async def submit(self, value: T) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, self._job, value)

    async def submit_many(self, values: Sequence[T]) -> Sequence[Awaitable[T]]:
        return [await self.submit(value) for value in values]


async def copied_echo(data: bytes) -> bytes:
    """Move 1 MiB as a store without sharing must: the input in and out of it, the result in and out of it."""
    received = bytes(memoryview(bytes(memoryview(data))))
    return bytes(memoryview(bytes(memoryview(received))))


def blocking_copied_echo(data: bytes) -> bytes:
    """Do the same on a thread."""
    received = bytes(memoryview(bytes(memoryview(data))))
    return bytes(memoryview(bytes(memoryview(received))))
