"""One attempt in this process: what it is, what it reports, and what its outcome makes of the job."""

from __future__ import annotations

import itertools
import random
import secrets
from typing import TYPE_CHECKING, Literal

from asyncinfer._clock import Timer
from asyncinfer._context import JobContext
from asyncinfer._job import Backoff, JobError, JobKey, Progress
from asyncinfer._retry import delay_after
from asyncinfer.abc import Call, CallItem, Claim, Finish, Lease, Outcome
from asyncinfer.errors import TooLarge

if TYPE_CHECKING:
    from asyncinfer._services.journal import Journal
    from asyncinfer._services.pool import Pool

StopReason = Literal["cancel", "time_limit", "deadline", "drain", "lost"]
DEFAULT_BACKOFF = Backoff()


class RunningAttempt:
    """A claimed attempt until it is concluded; also the Reporter of its context.

    `unsent_*` is what the model has reported and the journal has not yet taken; the journal's lock guards it. `call`
    and `context` are dropped once it is concluded: they lead back here, and a ring of objects waits for the collector.
    """

    __slots__ = (
        "call",
        "claim",
        "context",
        "is_concluded",
        "journal",
        "key",
        "pool",
        "renewals",
        "stop_reason",
        "timer",
        "unsent_checkpoint",
        "unsent_output",
        "unsent_progress",
    )

    call: Call

    def __init__(self, claim: Claim, pool: Pool, journal: Journal) -> None:
        self.claim: Claim = claim
        self.key: JobKey = JobKey(claim.owner, claim.id)
        self.pool: Pool = pool
        self.journal: Journal = journal
        self.is_concluded: bool = False
        self.renewals: int = 0
        self.stop_reason: StopReason | None = None
        self.timer: Timer | None = None
        self.unsent_progress: Progress | None = None
        self.unsent_output: list[bytes] | None = None
        self.unsent_checkpoint: bytes | None = None
        self.context: JobContext = JobContext(
            self,
            claim.id,
            claim.owner,
            claim.model,
            claim.attempt,
            claim.deadline,
            claim.time_limit,
            claim.checkpoint,
            claim.metadata,
        )

    @property
    def is_stopping(self) -> bool:
        """Its code was asked to stop, or its outcome no longer counts."""
        return self.is_concluded or self.stop_reason is not None

    @property
    def item(self) -> CallItem | None:
        """Its item of a batch; None when it is the whole call."""
        items = self.call.items
        return None if len(items) == 1 else next(item for item in items if item.context is self.context)

    @property
    def lease(self) -> Lease:
        claim = self.claim
        return Lease(claim.owner, claim.id, claim.attempt, claim.ref)

    def report(self, progress: Progress) -> None:
        self.unsent_progress = progress
        self.journal.arm(self)

    def emit(self, data: bytes) -> None:
        self.journal.emit(self, data)

    def save_checkpoint(self, data: bytes) -> None:
        limit = self.journal.limits.checkpoint_bytes
        if len(data) > limit:
            raise TooLarge(f"checkpoint: {len(data)} bytes, the limit is {limit} (Limits.checkpoint_bytes)")
        self.unsent_checkpoint = data
        self.journal.arm(self)

    async def drain(self) -> None:
        await self.journal.drain(self)


class MoveIds:
    """Make the random names of writes: a random prefix per manager and a counter, 0.2 us instead of a system call."""

    def __init__(self) -> None:
        self._prefix = secrets.token_bytes(10)
        self._counter = itertools.count()

    def __call__(self) -> bytes:
        return self._prefix + next(self._counter).to_bytes(6, "big")


def succeeded(claim: Claim, result: bytes, move_id: bytes) -> Finish:
    """Return the usual ending."""
    return Finish(claim.owner, claim.id, claim.attempt, "succeeded", move_id, result, None, None, claim.ref)


def finish_of(claim: Claim, outcome: Outcome, *, move_id: bytes, now: int, source: random.Random) -> Finish:
    """Decide what an outcome makes of its job: succeeded, canceled, another attempt, or failed."""
    kind = outcome.kind
    if kind == "returned":
        return succeeded(claim, outcome.result, move_id)
    if kind == "canceled":
        return Finish(claim.owner, claim.id, claim.attempt, "canceled", move_id, None, None, None, claim.ref)
    error = outcome.error or JobError(code="model_error", message="the attempt ended without saying why")
    failures = claim.failures + 1
    wants_retry = kind == "retry_later" or (kind == "raised" and error.retryable)
    if not wants_retry or failures >= claim.max_attempts:
        return Finish(claim.owner, claim.id, claim.attempt, "failed", move_id, None, error, None, claim.ref)
    if outcome.delay is not None:
        delay = round(outcome.delay * 1000)
    else:
        delay = delay_after(failures, claim.backoff or DEFAULT_BACKOFF, source.random())
    return Finish(claim.owner, claim.id, claim.attempt, "retry", move_id, None, error, now + delay, claim.ref)


def stopped(reason: StopReason, claim: Claim) -> Outcome:
    """Return the outcome of an attempt that was ended for `reason` while its code may still run."""
    if reason == "time_limit":
        limit = (claim.time_limit or 0) / 1000
        return _ended(claim, "time_limit", f"the attempt took longer than its time_limit of {limit:g} s")
    if reason == "deadline":
        return _ended(claim, "deadline", "the job's deadline passed while it ran")
    return Outcome("canceled")


def _ended(claim: Claim, code: Literal["time_limit", "deadline"], message: str) -> Outcome:
    return Outcome("time_limit", error=JobError(code=code, message=message, attempt=claim.attempt))
