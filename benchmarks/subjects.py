"""asyncinfer itself as a subject: a manager with one model, over a fresh store."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, Literal, TypeVar

from asyncinfer import JobManager, Limits, Model
from benchmarks.workloads import CONCURRENCY, PROCESSES

T = TypeVar("T")

StoreName = Literal["memory", "sqlite"]
STORES: tuple[StoreName, ...] = ("memory", "sqlite")
QUEUE_LIMIT = 2_000_000
LIMITS = Limits(queued_jobs=QUEUE_LIMIT)


class Asyncinfer(Generic[T]):
    """`asyncinfer-<store>`: every duty of the library on, everything at its default but the queue limit."""

    def __init__(self, store: StoreName, directory: Path, model: Model[[T], T, object]) -> None:
        self._store: StoreName = store
        self._directory = directory / f"asyncinfer-{store}"
        self._model = model

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_ManagerDoor[T]]:
        fresh_directory(self._directory)
        url = store_url(self._store, self._directory)
        concurrency = {"loop": CONCURRENCY, "process": PROCESSES}
        async with JobManager(url, models=[self._model], limits=LIMITS, concurrency=concurrency) as manager:
            yield _ManagerDoor(manager, self._model)


class _ManagerDoor(Generic[T]):
    def __init__(self, manager: JobManager, model: Model[[T], T, object]) -> None:
        self._manager = manager
        self._model = model

    async def submit(self, value: T) -> Awaitable[T]:
        return await self._manager.submit(self._model, value)

    async def submit_many(self, values: Sequence[T]) -> Sequence[Awaitable[T]]:
        bind = self._model.bind
        return await self._manager.submit_many([bind(value) for value in values])


def store_url(name: StoreName, directory: Path) -> str:
    return "memory://" if name == "memory" else f"sqlite:///{store_file(directory)}"


def store_file(directory: Path) -> Path:
    return directory / "jobs.db"


def fresh_directory(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
