"""Plain records for tests: valid as they are, and each test names only the fields that it is about."""

from __future__ import annotations

import itertools
import secrets
from typing import Literal, TypedDict, Unpack

from msgspec.structs import replace

from asyncinfer.abc import (
    Backoff,
    Claim,
    ClaimRequest,
    ErrorCode,
    Finish,
    JobError,
    Lease,
    ModelRoom,
    NewJob,
    Subscription,
)

LEASE = 60_000
"""Milliseconds; no test of the suite lets more than half of it pass unless it is about that."""
PLENTY = 10_000


class JobFields(TypedDict, total=False):
    """The fields of NewJob, each of them optional."""

    owner: str
    id: str
    model: str
    queue: str
    input: bytes
    input_ref: str | None
    content_type: str
    fingerprint: bytes
    priority: int
    not_before: int | None
    deadline: int | None
    expire_at: int | None
    expire_code: Literal["queue_timeout", "deadline"]
    time_limit: int | None
    key: str | None
    key_until: int | None
    dedup: bytes | None
    dedup_until: int | None
    batch_key: str
    cost: int
    max_attempts: int
    crash_budget: int
    backoff: Backoff | None
    retention_result: int
    retention_record: int
    subscriptions: tuple[Subscription, ...]
    labels: dict[str, str]
    metadata: bytes
    retry_of: str | None
    traceparent: str | None
    limit_key: str | None
    group_id: str | None
    parent_id: str | None


_numbers = itertools.count(1)


def new_job(**fields: Unpack[JobFields]) -> NewJob:
    """Return a job of alice's for the model `echo`; ids grow in the order of the calls."""
    plain = NewJob(
        owner="alice",
        id=f"job_{next(_numbers):026d}",
        model="echo",
        queue="default",
        input=b"input",
        fingerprint=b"fingerprint",
    )
    return replace(plain, **fields)


def new_jobs(count: int, **fields: Unpack[JobFields]) -> list[NewJob]:
    """Return `count` such jobs in order of id."""
    return [new_job(**fields) for _ in range(count)]


def room(
    model: str = "echo",
    *,
    jobs: int = PLENTY,
    limit: int | None = None,
    batch_size: int = 1,
    batch_cost: int | None = None,
    batch_wait: int = 0,
) -> ModelRoom:
    """Return room for `jobs` jobs of the model."""
    return ModelRoom(model, jobs, limit, batch_size, batch_cost, batch_wait)


def request(
    *models: ModelRoom,
    worker: str = "worker-1",
    slots: int = PLENTY,
    lease: int = LEASE,
    is_idle: bool = True,
    is_isolated: bool = False,
) -> ClaimRequest:
    """Return a claim for these models, or for `echo` alone."""
    return ClaimRequest(worker, lease, slots, models or (room(),), is_idle, is_isolated)


def lease_of(claim: Claim) -> Lease:
    """Return the lease that the claim began."""
    return Lease(claim.owner, claim.id, claim.attempt, claim.ref)


def error(code: ErrorCode = "model_error", message: str = "it raised") -> JobError:
    """Return why an attempt failed."""
    return JobError(code=code, message=message, type="ValueError")


def success(claim: Claim, result: bytes = b"result") -> Finish:
    """Return the ending of an attempt that returned `result`."""
    return Finish(claim.owner, claim.id, claim.attempt, "succeeded", move_id(), result=result, ref=claim.ref)


def failure(claim: Claim, why: JobError | None = None) -> Finish:
    """Return the ending of an attempt that failed for good."""
    return Finish(claim.owner, claim.id, claim.attempt, "failed", move_id(), error=why or error(), ref=claim.ref)


def retry(claim: Claim, *, not_before: int | None = None, why: JobError | None = None) -> Finish:
    """Return the ending of an attempt that another one follows."""
    return Finish(
        claim.owner,
        claim.id,
        claim.attempt,
        "retry",
        move_id(),
        error=why or error(),
        not_before=not_before,
        ref=claim.ref,
    )


def cancellation(claim: Claim) -> Finish:
    """Return the ending of an attempt that obeyed its owner's wish to cancel."""
    return Finish(claim.owner, claim.id, claim.attempt, "canceled", move_id(), ref=claim.ref)


def move_id() -> bytes:
    """Return a name for one write, as a worker draws it."""
    return secrets.token_bytes(8)


def subscription(target: str = "https://hooks.example.com/jobs") -> Subscription:
    """Return a subscriber to every ending."""
    return Subscription(target=target)
