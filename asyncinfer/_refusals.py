"""What a submitter is told when a store does not take a job."""

from __future__ import annotations

from asyncinfer._job import NewJob
from asyncinfer.abc import Inserted
from asyncinfer.errors import (
    AsyncinferError,
    IdempotencyConflict,
    InvalidInput,
    JobExpired,
    QueueFull,
    QuotaExceeded,
    StorageFull,
)


def refusal_of(job: NewJob, answer: Inserted, *, quota: int | None, retry_after: float) -> AsyncinferError:
    """Return the error of an answer that is neither `inserted` nor `existing`.

    `quota` is how many jobs of one owner may wait, `retry_after` the seconds after which the queue may have room.
    """
    match answer.kind:
        case "conflict":
            what = "idempotency key" if job.key is not None else f"id {job.id!r}"
            return IdempotencyConflict(
                f"the {what} already names job {answer.id}, which has another input", job_id=answer.id
            )
        case "gone":
            return JobExpired(
                f"job {answer.id} existed and has passed its retention; submit with a new key or id", job_id=answer.id
            )
        case "bad":
            return InvalidInput(f"input: the store cannot hold it: {answer.message}")
        case _:
            return _full(job, answer.limit, quota, retry_after)


def _full(job: NewJob, limit: str, quota: int | None, retry_after: float) -> AsyncinferError:
    when = f"try again in {retry_after:.0f} s"
    if limit == "owner_queued_jobs":
        return QuotaExceeded(
            f"owner {job.owner!r} has {quota} jobs waiting already; {when}", limit=limit, retry_after=retry_after
        )
    if limit == "min_free_bytes":
        return StorageFull(
            "the store keeps its last free space for finishing running jobs; free some space",
            limit=limit,
            retry_after=retry_after,
        )
    return QueueFull(
        f"queue {job.queue!r} is full ({limit}); nothing was stored, {when}", limit=limit, retry_after=retry_after
    )
