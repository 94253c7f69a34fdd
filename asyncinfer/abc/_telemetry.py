"""The telemetry contract: what a manager tells whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal

from msgspec import Struct

from asyncinfer._job import JobError, NewJob
from asyncinfer.abc._records import Claim, Inserted, RescueAnswer, RunningLease
from asyncinfer.errors import Refused

AttemptOutcome = Literal[
    "succeeded", "failed", "retried", "canceled", "given_back", "lease_lost", "worker_lost", "unwritten"
]


class Submitted(Struct, frozen=True):
    """How one submission ended: with the store's last word, or with an error in its place."""

    job: NewJob
    """As it was handed to the store."""
    answer: Inserted | None
    error: BaseException | None = None
    """Draining, a StoreError, or a cancellation, where there is no answer."""
    is_known: bool = True
    """Its model is registered here or published by a worker. Only then are its model and queue of a bounded number."""

    @property
    def limit(self) -> str:
        """What refused it: a limit of the store's answer, `draining`, or nothing."""
        if self.answer is not None:
            return self.answer.limit
        if isinstance(self.error, Refused):
            return self.error.limit or type(self.error).__name__.lower()
        return ""


class EndedAttempt(Struct, frozen=True):
    """How one attempt of this manager ended, once the store has said so.

    succeeded, failed, canceled: and the job with it · retried: queued for another attempt · given_back: uncharged, by a
    drain · lease_lost: it was no longer ours, its outcome is dropped · worker_lost: its executor died or broke ·
    unwritten: the manager closed before the store took its ending, or it took too long and was dropped.
    """

    claim: Claim
    outcome: AttemptOutcome
    error: JobError | None = None
    """Of one that failed or is retried."""
    run_seconds: float = 0.0
    """From its claim until its code returned, or until it was ended without that."""


class Rescued(Struct, frozen=True):
    """An attempt of a lost worker that this manager took back, and what became of its job."""

    lease: RunningLease
    answer: RescueAnswer
    """queued, failed, or canceled."""


class Telemetry:
    """Watches a manager: override what you want to hear of.

    Every method is called on the manager's loop and must return at once, without awaiting or blocking. An exception is
    logged, once for each method, and changes nothing. What is told in batches comes in the batches in which the manager
    works; one that begins to watch an open manager hears the end of some things whose beginning it missed.
    """

    def submitting(self, jobs: Sequence[NewJob]) -> Sequence[str | None] | None:
        """Before the insert of jobs. May return, one for each, the W3C traceparent to keep with it; None leaves it.

        A job whose submitter gave a traceparent, or that retries one that had it, comes with it. Called in the context
        of whoever submits, and followed by one `submitted` for each job, always.
        """
        return None

    def submitted(self, submits: Sequence[Submitted]) -> None:
        """After the insert, when the answers are final: one that waits for room is told when it has got it.

        Submissions that are wrong by themselves (an input that does not fit, an unknown model) are not told.
        """

    def claimed(self, claims: Sequence[Claim]) -> None:
        """After attempts have been begun, before any of their code runs. Each is followed by one `ended`, always."""

    def running(self, claims: Sequence[Claim]) -> AbstractContextManager[object] | None:
        """Before the code of one job, or of one batch, runs: what is returned is entered around it.

        In the task that runs an `async def` model, and in the one whose context variables a thread is lent. Left when
        the code has returned, which may be after the attempt has ended. Not called for what is stopped before it runs.
        """
        return None

    def ended(self, attempts: Sequence[EndedAttempt]) -> None:
        """After the store has answered how attempts ended."""

    def rescued(self, rescues: Sequence[Rescued]) -> None:
        """After attempts of lost workers have been taken back by this manager."""

    def store_called(self, call: str, seconds: float, error: BaseException | None) -> None:
        """After each call of the store; `call` is the method's name, a cancelled call has a CancelledError."""
