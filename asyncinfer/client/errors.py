"""What a call to a service raises beside the errors of the library itself.

AsyncinferError
├── ConnectionLost            no answer came: the service was not reached, or the connection or the time ran out
├── ServiceFailed             the service or a proxy before it answered that it failed: carries retry_after
├── Unauthorized              the service does not know this token
├── Forbidden                 it knows it, and does not let it do this
├── JobNotEnded               only an ended job can be deleted or run again: cancel it, or wait
└── UnexpectedAnswer          an answer that is not of this contract: look at the base_url and the versions
    └── NotFound              no such queue, webhook endpoint or delivery for this caller, or no such route there

All other refusals are classes of `asyncinfer.errors`: UnknownJob, UnknownModel, JobExpired, IdempotencyConflict,
InvalidInput, InvalidOption, TooLarge, StoreUnavailable, Refused (QuotaExceeded, QueueFull, StorageFull, Draining).
Each carries `problem`, what the service answered, and after a submit `idempotency_key`. No message shows a token, the
query of a URL, or an input.
"""

from __future__ import annotations

from asyncinfer.errors import AsyncinferError


class ConnectionLost(AsyncinferError, ConnectionError):
    """No answer came. With `is_sent` the request may have been done all the same."""

    def __init__(self, message: str, *, is_sent: bool) -> None:
        super().__init__(message)
        self.is_sent: bool = is_sent


class ServiceFailed(AsyncinferError):
    """The service, or a proxy before it, answered 5xx or 408. `retry_after` is in seconds, where it was told."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status: int = status
        self.retry_after: float | None = retry_after


class Unauthorized(AsyncinferError):
    """The service asks for a token, or does not know the one it got."""


class Forbidden(AsyncinferError):
    """The service knows the token, and does not let its owner do this."""


class JobNotEnded(AsyncinferError):
    """The job runs or waits, and only an ended one can be treated so. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after: float = retry_after


class UnexpectedAnswer(AsyncinferError):
    """The answer is not of this contract: another service, a proxy's page, a redirect, or another version."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status: int | None = status


class NotFound(UnexpectedAnswer, LookupError):
    """The service has no such queue, webhook endpoint or delivery for this caller, or has no such route at all."""
