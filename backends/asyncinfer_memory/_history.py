"""What can be told of a job: the records, events and attempts that are derived from its row.

Status events of the newest attempt are derived from the row's own instants; only what an attempt leaves behind when
another follows is kept as it was.
"""

from __future__ import annotations

from bisect import bisect_right

from asyncinfer.abc import Attempt, EventPage, Job, JobError, StatusEvent, StoredEvent
from asyncinfer_memory._rows import ATTEMPTS_KEPT, Row


def job_of(row: Row, *, with_result: bool) -> Job:
    """Return the public record."""
    new = row.new
    progress = None if row.history is None else row.history.progress
    return Job(
        owner=new.owner,
        id=new.id,
        model=new.model,
        queue=new.queue,
        status=row.status,
        revision=row.revision,
        created_at=row.created_at,
        attempt=row.attempt,
        failures=row.failures,
        crashes=row.crashes,
        max_attempts=new.max_attempts,
        crash_budget=new.crash_budget,
        priority=new.priority,
        content_type=new.content_type,
        has_result=row.result is not None,
        result=row.result if with_result else None,
        error=row.error,
        progress=None if progress is None else progress.progress,
        not_before=row.not_before,
        deadline=new.deadline,
        expire_at=new.expire_at,
        time_limit=new.time_limit,
        started_at=row.started_at,
        finished_at=row.finished_at,
        forget_at=row.forget_at,
        cancel_requested_at=row.cancel_requested_at,
        worker=row.worker,
        renewals=row.renewals,
        tag=0.0 if row.tag is None else row.tag,
        is_solo=row.is_solo,
        fingerprint=new.fingerprint,
        key=new.key,
        labels=new.labels,
        metadata=new.metadata,
        retry_of=new.retry_of,
        traceparent=new.traceparent,
        limit_key=new.limit_key,
        group_id=new.group_id,
        parent_id=new.parent_id,
        has_subscriptions=bool(row.subscriptions),
    )


def queued_event(row: Row) -> StatusEvent:
    """Return the first event of every job."""
    return StatusEvent(id=1, attempt=0, at=row.created_at, status="queued")


def running_event(row: Row) -> StatusEvent:
    """Return the beginning of the newest attempt."""
    assert row.started_at is not None
    return StatusEvent(id=row.running_revision, attempt=row.attempt, at=row.started_at, status="running")


def events_of(row: Row, after: int, limit: int) -> EventPage:
    """Return one page of the events behind `after`, in order of id."""
    events: list[StoredEvent] = [event for event in _statuses(row) if event.id > after]
    has_gap = False
    if (history := row.history) is not None:
        if history.progress is not None and history.progress.id > after:
            events.append(history.progress)
        start = bisect_right(history.output, after, key=_id_of)
        events += history.output[start : start + limit + 1]
        events.sort(key=_id_of)
        has_gap = after < history.dropped_id
    return EventPage(events=events[:limit], has_gap=has_gap, has_more=len(events) > limit)


def attempts_of(row: Row) -> list[Attempt]:
    """Return the newest attempts, oldest first."""
    earlier = [] if row.history is None else list(row.history.attempts)
    if row.attempt and (not earlier or earlier[-1].number < row.attempt):
        earlier.append(attempt_of(row, ended_at=row.finished_at, outcome=row.ending, error=row.error))
    return earlier[-ATTEMPTS_KEPT:]


def attempt_of(row: Row, *, ended_at: int | None, outcome: str | None, error: JobError | None) -> Attempt:
    """Return the newest attempt with its end."""
    assert row.started_at is not None
    return Attempt(
        number=row.attempt,
        worker=row.worker or "",
        started_at=row.started_at,
        ended_at=ended_at,
        outcome=outcome,
        error=error,
    )


def _statuses(row: Row) -> list[StatusEvent]:
    kept = [] if row.history is None else list(row.history.statuses)
    events = kept or [queued_event(row)]
    if row.running_revision > events[-1].id:
        events.append(running_event(row))
    if row.finished_at is not None:
        events.append(
            StatusEvent(id=row.revision, attempt=row.attempt, at=row.finished_at, status=row.status, error=row.error)
        )
    return events


def _id_of(event: StoredEvent) -> int:
    return event.id
