"""Every error that asyncinfer raises, as one tree.

AsyncinferError
├── InvalidInput              a submitted input does not fit the model's signature
├── InvalidOption             an argument of the API is wrong: names the parameter and the expected type
├── InvalidModel              a function or class cannot be registered as a model
├── UnknownModel              no model of that name is registered here or published in the store
├── UnknownJob                no such job for this owner
├── JobExpired                the job is known, but its record or result has been pruned
├── IdempotencyConflict       the same idempotency key (or id) came with another input
├── Refused                   nothing was stored; try later or elsewhere
│   ├── QueueFull             a limit of the queue or the store is reached: carries retry_after
│   ├── QuotaExceeded         this owner's own limit is reached: carries retry_after
│   ├── StorageFull           the disk keeps its last room for finishing what runs
│   └── Draining              the manager is shutting down
├── TooLarge                  an input, result, checkpoint or metadata exceeds its limit
├── JobFailed                 awaiting a job that ended failed: carries its error
├── JobCanceled               awaiting a job that ended canceled
├── StreamReset               a streamed job began another attempt: what it yielded so far is void
├── StoreError                the store could not do what was asked
│   ├── StoreUnavailable      it did not answer, or refused before any effect
│   ├── OutcomeUnknown        it was asked and did not answer: repeating is harmless
│   ├── SchemaTooNew          its schema is newer than this code
│   ├── StoreUnusable         path, permission or file system does not allow a store
│   └── Undecodable           a stored row cannot be read back
├── MissingExtra              an optional package is not installed: names the pip line
├── UnknownPlugin             no installed package provides that store scheme or executor
├── LeaseLost                 the attempt is no longer this worker's: stop working on it
└── SetupFailed               a model or executor could not be set up

Raised by a model, for the manager:  RetryLater (an Exception), CancelRequested (a BaseException).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncinfer._handle import JobHandle
    from asyncinfer._job import JobError
    from asyncinfer.wire import Problem


class AsyncinferError(Exception):
    """The root: catch it to catch everything this library raises."""

    accepted: Mapping[int, JobHandle[Any]] = MappingProxyType({})
    """From `submit_many`: the handles of those submissions that were stored all the same, by index."""
    idempotency_key: str | None = None
    """From the HTTP client's `submit`: the key of that call, under which it can be repeated whatever came of it."""
    problem: Problem | None = None
    """From the HTTP client: what the service answered."""


class InvalidInput(AsyncinferError, ValueError):
    """The input does not fit the model's signature; the message starts with the path, as `input.image: …`."""

    def __init__(self, message: str, *, path: str = "input") -> None:
        super().__init__(message)
        self.path = path


class InvalidOption(AsyncinferError, ValueError, TypeError):
    """An argument has the wrong type or value; the message names the parameter."""


class InvalidModel(AsyncinferError, TypeError):
    """The function or class cannot be a model; the message says what to change."""


class UnknownModel(AsyncinferError, LookupError):
    """No model of that name is registered with this manager or published in its store."""


class UnknownJob(AsyncinferError, LookupError):
    """There is no such job for this owner (another owner's job is exactly an unknown job)."""


class JobExpired(AsyncinferError, LookupError):
    """The job existed, but its record or its result has passed its retention."""

    def __init__(self, message: str, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class IdempotencyConflict(AsyncinferError):
    """The key or the id already names a job with another input."""

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class Refused(AsyncinferError):
    """The job was not accepted and nothing was stored. `retry_after` is in seconds."""

    def __init__(self, message: str, *, limit: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after = retry_after


class QueueFull(Refused):
    """A limit of the queue or the store is reached; `limit` names it, `retry_after` is 1 to 60 seconds."""


class QuotaExceeded(Refused):
    """This owner has as many jobs waiting as it may; `retry_after` is in seconds."""


class StorageFull(Refused):
    """Free space is below `min_free_bytes`: running jobs can still finish, new ones are refused."""


class Draining(Refused):
    """The manager is shutting down and accepts nothing new."""


class TooLarge(AsyncinferError, ValueError):
    """Something exceeds its limit in bytes; the message names what, its size and the limit."""


class JobFailed(AsyncinferError):
    """The awaited job ended `failed`; `error.code` says why."""

    def __init__(self, job_id: str, error: JobError) -> None:
        super().__init__(f"job {job_id} failed ({error.code}): {error.message}")
        self.job_id = job_id
        self.error = error

    @property
    def code(self) -> str:
        return self.error.code


class JobCanceled(AsyncinferError):
    """The awaited job ended `canceled`."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} was canceled")
        self.job_id = job_id


class StreamReset(AsyncinferError):
    """The job began another attempt after values were streamed: drop them and stream again."""

    def __init__(self, job_id: str, attempt: int) -> None:
        super().__init__(f"job {job_id} began attempt {attempt}: values streamed before are void, stream it again")
        self.job_id = job_id
        self.attempt = attempt


class StoreError(AsyncinferError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store did not answer in time, or refused before any effect; nothing was changed."""


class OutcomeUnknown(StoreError):
    """The call was handed to the store and its answer did not come: it may have happened. Repeating it is harmless."""


class SchemaTooNew(StoreError):
    """The store was written by a newer asyncinfer; the message gives both schema numbers."""


class StoreUnusable(StoreError):
    """The path cannot hold a store: not writable, not a file, or on a file system that cannot lock."""


class Undecodable(StoreError):
    """A stored row cannot be read back."""


class MissingExtra(AsyncinferError, ImportError):
    """An optional package is missing; the message is the line to type."""


class UnknownPlugin(AsyncinferError, LookupError):
    """No installed package registers that URL scheme or executor name."""


class LeaseLost(AsyncinferError):
    """The attempt has been taken over or ended elsewhere; whatever it still writes is refused."""


class SetupFailed(AsyncinferError):
    """A model's `setup` or an executor's start raised; the cause is chained."""


class RetryLater(Exception):
    """Raise it in a model: run this job again after `delay` seconds, charged as a failure.

    With `delay=None` the retry policy's backoff decides.
    """

    def __init__(self, delay: float | None = None, message: str = "the model asked to be run again later") -> None:
        super().__init__(message)
        self.delay = delay


class CancelRequested(BaseException):
    """Raised inside a model by `ctx.raise_if_canceled()`.

    A BaseException, so that a model's own `except Exception` does not swallow it.
    """
