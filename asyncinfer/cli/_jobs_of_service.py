"""The jobs of a service, over HTTP. Needs the extra `client`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection
from datetime import UTC, datetime

import msgspec

from asyncinfer import Attempt, JobError, JobFilter, OutputEvent, Progress, ProgressEvent, Status, StatusEvent, wire
from asyncinfer.abc import StoredEvent
from asyncinfer.cli._seen import SHOWN_EVENTS, Change, Jobs, SeenJob, SeenPage, SeenWhole, Wish
from asyncinfer.client import AsyncClient, JobQuery
from asyncinfer.errors import JobExpired, UnknownJob
from asyncinfer.lifecycle import TERMINAL

LIVE: frozenset[Status] = frozenset({"queued", "running"})
LONGEST_PAGE = 200
AT_ONCE = 16
"""Jobs of a `change_all` that are changed side by side."""
MOST_RETRIES = 10_000
"""Jobs of a `change_all` that are run again at most, as in a store."""
TIMEOUT_SECONDS = 30.0
MAX_REPEATS = 2
"""A person waits: an address where nobody listens is told within a second or two."""


@contextlib.asynccontextmanager
async def jobs_of_service(url: str, token: str | None) -> AsyncGenerator[Jobs]:
    """Give the jobs that the token opens. Raises InvalidOption, which shows neither the URL nor the token."""
    async with AsyncClient(url, token=token, timeout=TIMEOUT_SECONDS, max_retries=MAX_REPEATS) as client:
        yield JobsOfService(client)


class JobsOfService:
    """What a client can see of them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def page(self, matching: JobFilter, *, after: str | None, limit: int) -> SeenPage:
        """As asked for; the service's own pages are shorter."""
        jobs: list[SeenJob] = []
        while True:
            size = min(limit - len(jobs), LONGEST_PAGE)
            found = await self._client.page(after=after, limit=size, **_query(matching))
            jobs += [_seen(job) for job in found.data]
            after = found.next_cursor
            if after is None or len(jobs) == limit:
                return SeenPage(jobs, after)

    async def whole(self, job_id: str) -> SeenWhole:
        remote = self._client.job(job_id)
        job = await remote.job(with_attempts=True)
        events = (await remote.event_page(limit=SHOWN_EVENTS)).data
        has_result, result = job.status == "succeeded", job.output
        if has_result and result is None:  # null, or no longer kept: the result itself says which
            try:
                result = await remote.result()
            except JobExpired:
                has_result = False
        attempts = [] if job.attempts is msgspec.UNSET else [_attempt(one) for one in job.attempts]
        return SeenWhole(_seen(job), attempts, [_event(one) for one in events], result, has_result)

    async def change(self, wish: Wish, job_id: str) -> Change:
        remote = self._client.job(job_id)
        if wish == "retry":
            return Change(job_id, f"runs again as {(await remote.retry()).id}")
        status = (await remote.cancel()).status
        if status == "canceled":
            return Change(job_id, "canceled")
        return Change(job_id, "terminal" if status in TERMINAL else "requested")

    async def change_all(self, wish: Wish, matching: JobFilter) -> AsyncGenerator[Change]:
        fitting = _narrowed(matching, LIVE if wish == "cancel" else TERMINAL)
        if fitting is None:
            return
        # All are found before any is changed, so that a retry of retries ends.
        limit = None if wish == "cancel" else MOST_RETRIES
        ids = [job.id async for job in self._client.jobs(limit=limit, **_query(fitting))]
        for start in range(0, len(ids), AT_ONCE):
            several = ids[start : start + AT_ONCE]
            answers = await asyncio.gather(*(self._one_of_all(wish, one) for one in several), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, Change):
                    yield answer
            for answer in answers:  # only now: what has been changed must be told
                if isinstance(answer, BaseException):
                    raise answer

    async def _one_of_all(self, wish: Wish, job_id: str) -> Change | None:
        """Change a job that was just found; None when it has been forgotten since."""
        try:
            if wish == "cancel":
                return await self.change(wish, job_id)
            return Change((await self._client.job(job_id).retry()).id, "queued")
        except (UnknownJob, JobExpired):
            return None


def _query(matching: JobFilter) -> JobQuery:
    query = JobQuery(status=matching.status, labels=matching.labels)
    if matching.model is not None:
        query["model"] = matching.model
    if matching.queue is not None:
        query["queue"] = matching.queue
    return query


def _narrowed(matching: JobFilter, statuses: Collection[Status]) -> JobFilter | None:
    """Return the filter for jobs of these statuses only; None when it excludes them all."""
    left = tuple(status for status in statuses if not matching.status or status in matching.status)
    return msgspec.structs.replace(matching, status=left) if left else None


def _seen(job: wire.Job) -> SeenJob:
    return SeenJob(
        id=job.id,
        owner=None,
        model=job.model,
        queue=None if job.queue is None else job.queue.name,
        status=job.status,
        revision=job.revision,
        created_at=_milliseconds(job.created_at),
        not_before=_instant(job.not_before),
        deadline=_instant(job.deadline),
        started_at=_instant(job.started_at),
        finished_at=_instant(job.finished_at),
        forget_at=_instant(job.forget_at),
        cancel_requested_at=_instant(job.cancel_requested_at),
        attempt=job.attempt,
        failures=job.failures,
        max_attempts=job.max_attempts,
        crashes=job.crashes,
        crash_budget=None,
        priority=job.priority,
        time_limit_seconds=None,
        worker=None,
        progress=None if job.progress is None else _progress(job.progress),
        error=_error(job.error),
        labels=job.labels,
        metadata=job.metadata,
        retry_of=job.retry_of,
    )


def _attempt(attempt: wire.Attempt) -> Attempt:
    return Attempt(
        number=attempt.number,
        worker="",
        started_at=_milliseconds(attempt.started_at),
        ended_at=_instant(attempt.ended_at),
        outcome=attempt.outcome,
        error=_error(attempt.error),
    )


def _event(event: wire.Event) -> StoredEvent:
    at = _milliseconds(event.at)
    if isinstance(event, wire.StatusEvent):
        return StatusEvent(event.id, event.attempt, at, event.status, _error(event.error))
    if isinstance(event, wire.ProgressEvent):
        return ProgressEvent(event.id, event.attempt, at, _progress(event.progress))
    return OutputEvent(event.id, event.attempt, at, msgspec.msgpack.encode(event.value))


def _error(error: wire.Error | None) -> JobError | None:
    if error is None:
        return None
    return error.to_record()


def _progress(progress: wire.Progress) -> Progress:
    return Progress(progress.fraction, progress.message, progress.current, progress.total)


def _instant(when: datetime | None) -> int | None:
    return None if when is None else _milliseconds(when)


def _milliseconds(when: datetime) -> int:
    return round((when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
