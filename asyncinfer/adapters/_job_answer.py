"""Jobs, attempts and events as the wire has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Raw

from asyncinfer import Attempt, Job, JobError, OutputEvent, Progress, ProgressEvent, StatusEvent, wire
from asyncinfer._json import json_of
from asyncinfer._offload import offload
from asyncinfer._weight import HEAVY_BYTES
from asyncinfer.abc import StoredEvent

NULL = Raw(b"null")
LONGEST_PAUSE = 30
"""Seconds that a poller is told to wait at most."""


class JobAnswers:
    """Makes the wire's records of one application's jobs."""

    def __init__(self, base_url: str, *, debug: bool) -> None:
        self._jobs = f"{base_url}/v1/jobs/"
        self._debug = debug

    def url(self, job_id: str) -> str:
        return self._jobs + job_id

    async def told(
        self, job: Job, now: int, *, place: wire.Place | None = None, is_deduplicated: bool = False
    ) -> wire.Job:
        """As `job`; a large result becomes JSON in a thread, not on the loop."""
        if job.result is None or len(job.result) <= HEAVY_BYTES:
            return self.job(job, now, place=place, is_deduplicated=is_deduplicated)
        return await offload(self.job, job, now, place=place, is_deduplicated=is_deduplicated)

    def job(self, job: Job, now: int, *, place: wire.Place | None = None, is_deduplicated: bool = False) -> wire.Job:
        """Return a job as it stands at `now`, in milliseconds."""
        url = self._jobs + job.id
        return wire.Job(
            id=job.id,
            model=job.model,
            status=job.status,
            revision=job.revision,
            created_at=_instant(job.created_at),
            not_before=instant(job.not_before),
            started_at=instant(job.started_at),
            finished_at=instant(job.finished_at),
            forget_at=instant(job.forget_at),
            deadline=instant(job.deadline),
            cancel_requested_at=instant(job.cancel_requested_at),
            output=NULL if job.result is None else value_of(job.result),
            error=self.error(job.error),
            progress=None if job.progress is None else progress_of(job.progress),
            queue=place,
            attempt=job.attempt,
            failures=job.failures,
            max_attempts=job.max_attempts,
            crashes=job.crashes,
            priority=job.priority,
            labels=job.labels,
            metadata=value_of(job.metadata) if job.metadata else NULL,
            retry_of=job.retry_of,
            deduplicated=is_deduplicated,
            metrics=_metrics(job, now),
            webhook=None,
            retry_after_seconds=pause_of(job, now, place),
            links=wire.JobLinks(
                self=url,
                result=f"{url}/result",
                events=f"{url}/events",
                cancel=f"{url}/cancel",
                retry=f"{url}/retry",
                deliveries=f"{url}/deliveries",
            ),
        )

    @staticmethod
    def instant(milliseconds: int) -> datetime:
        return _instant(milliseconds)

    def error(self, error: JobError | None) -> wire.Error | None:
        if error is None:
            return None
        return wire.Error(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            attempt=error.attempt,
            details={**error.details, "type": error.type} if error.type else error.details,
            traceback=error.traceback if self._debug else "",
        )

    def attempts(self, attempts: Sequence[Attempt]) -> list[wire.Attempt]:
        return [
            wire.Attempt(
                number=one.number,
                started_at=_instant(one.started_at),
                ended_at=instant(one.ended_at),
                outcome=one.outcome,
                error=self.error(one.error),
            )
            for one in attempts
        ]

    async def told_event(self, event: StoredEvent) -> wire.StatusEvent | wire.ProgressEvent | wire.OutputEvent:
        """As `event`; a large value becomes JSON in a thread, not on the loop."""
        if isinstance(event, OutputEvent) and len(event.data) > HEAVY_BYTES:
            return await offload(self.event, event)
        return self.event(event)

    def event(self, event: StoredEvent) -> wire.StatusEvent | wire.ProgressEvent | wire.OutputEvent:
        at = _instant(event.at)
        if isinstance(event, StatusEvent):
            return wire.StatusEvent(
                id=event.id, attempt=event.attempt, at=at, status=event.status, error=self.error(event.error)
            )
        if isinstance(event, ProgressEvent):
            return wire.ProgressEvent(id=event.id, attempt=event.attempt, at=at, progress=progress_of(event.progress))
        assert isinstance(event, OutputEvent)
        return wire.OutputEvent(id=event.id, attempt=event.attempt, at=at, value=value_of(event.data))


async def told_value(data: bytes) -> Raw:
    """As `value_of`; a large value becomes JSON in a thread, not on the loop."""
    return value_of(data) if len(data) <= HEAVY_BYTES else await offload(value_of, data)


def value_of(data: bytes) -> Raw:
    """Return a stored value as JSON; null for one that has no JSON form."""
    try:
        return Raw(json_of(data))
    except ValueError:
        return NULL


def progress_of(progress: Progress) -> wire.Progress:
    return wire.Progress(
        fraction=progress.fraction, current=progress.current, total=progress.total, message=progress.message
    )


def pause_of(job: Job, now: int, place: wire.Place | None) -> int | None:
    """Return after how many seconds a poller should look again: a tenth of what it has waited, or the estimate."""
    if job.is_terminal:
        return None
    if place is not None and place.eta_seconds is not None:
        seconds = place.eta_seconds
    else:
        seconds = max(now - (job.started_at or job.created_at), (job.not_before or now) - now) / 10_000
    return max(1, min(LONGEST_PAUSE, round(seconds)))


def instant(milliseconds: int | None) -> datetime | None:
    """Return an instant of the store as the wire writes it."""
    return None if milliseconds is None else _instant(milliseconds)


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _metrics(job: Job, now: int) -> wire.Metrics:
    started, ended = job.started_at, job.finished_at
    waited_until = started or ended or now
    ran = None if started is None else ((ended or now) - started) / 1000
    return wire.Metrics(queue_seconds=max(0, waited_until - job.created_at) / 1000, run_seconds=ran)
