"""The jobs of a store, through a manager that runs nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

import msgspec

from asyncinfer import Job, JobFilter, ScopedManager
from asyncinfer.cli._client import client_of
from asyncinfer.cli._job_json import plain
from asyncinfer.cli._seen import SHOWN_EVENTS, Change, Jobs, SeenJob, SeenPage, SeenWhole, Wish
from asyncinfer.errors import JobExpired, UnknownJob

T = TypeVar("T")


@contextlib.asynccontextmanager
async def jobs_of_store(url: str, owner: str) -> AsyncGenerator[Jobs]:
    """Open the store. Of the unnamed owner `page` and `change_all` see everybody's jobs."""
    async with client_of(url) as manager:
        yield JobsOfStore(manager.scoped(owner) if owner else manager)


class JobsOfStore:
    """What an owner can see of them."""

    def __init__(self, manager: ScopedManager) -> None:
        self._manager = manager

    async def page(self, matching: JobFilter, *, after: str | None, limit: int) -> SeenPage:
        found = await self._manager.find(matching, after=after, limit=limit)
        return SeenPage([_seen(job) for job in found.jobs], found.next_cursor)

    async def whole(self, job_id: str) -> SeenWhole:
        job = await self._told_of_owners(self._manager.get(job_id))
        attempts = await self._manager.attempts(job_id)
        events = (await self._manager.events(job_id, limit=SHOWN_EVENTS)).events
        return SeenWhole(_seen(job), attempts, events, await self._result(job), job.result is not None)

    async def change(self, wish: Wish, job_id: str) -> Change:
        if wish == "cancel":
            return Change(job_id, await self._told_of_owners(self._manager.cancel(job_id)))
        again = await self._told_of_owners(self._manager.retry(job_id))
        return Change(job_id, f"runs again as {again.id}")

    async def change_all(self, wish: Wish, matching: JobFilter) -> AsyncGenerator[Change]:
        if wish == "cancel":
            for job_id in await self._manager.cancel_all(matching):
                yield Change(job_id, "canceled or requested")
        else:
            for handle in await self._manager.retry_all(matching):
                yield Change(handle.id, "queued")

    async def _told_of_owners(self, answer: Awaitable[T]) -> T:
        """Await `answer`; to an unknown job of the unnamed owner add that owners exist."""
        try:
            return await answer
        except UnknownJob as error:
            if self._manager.owner:
                raise
            raise UnknownJob(f"{error} (the unnamed one); if it has an owner, name it with --owner") from None

    async def _result(self, job: Job) -> object:
        if job.result is None:
            return None
        try:
            return await self._manager.handle(job.id).result()
        except JobExpired:
            return None


def _seen(job: Job) -> SeenJob:
    return SeenJob(
        id=job.id,
        owner=job.owner,
        model=job.model,
        queue=job.queue,
        status=job.status,
        revision=job.revision,
        created_at=job.created_at,
        not_before=job.not_before,
        deadline=job.deadline,
        started_at=job.started_at,
        finished_at=job.finished_at,
        forget_at=job.forget_at,
        cancel_requested_at=job.cancel_requested_at,
        attempt=job.attempt,
        failures=job.failures,
        max_attempts=job.max_attempts,
        crashes=job.crashes,
        crash_budget=job.crash_budget,
        priority=job.priority,
        time_limit_seconds=None if job.time_limit is None else job.time_limit / 1000,
        worker=job.worker,
        progress=job.progress,
        error=job.error,
        labels=job.labels,
        metadata=plain(msgspec.msgpack.decode(job.metadata)) if job.metadata else None,
        retry_of=job.retry_of,
    )
