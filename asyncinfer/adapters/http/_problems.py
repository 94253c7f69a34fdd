"""Problem documents (RFC 9457): every error of the library as the client sees it.

A problem never shows an input, a header's value, an exception's text or another owner's anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from asyncinfer import wire
from asyncinfer.adapters.webhook.errors import (
    NotProven,
    SigningFailed,
    TooManyEndpoints,
    UnknownEndpoint,
    UrlRejected,
)
from asyncinfer.errors import (
    AsyncinferError,
    Draining,
    IdempotencyConflict,
    InvalidInput,
    InvalidOption,
    JobExpired,
    QueueFull,
    QuotaExceeded,
    StorageFull,
    StoreError,
    TooLarge,
    UnknownJob,
    UnknownModel,
)

_STATUS: dict[wire.ProblemSlug, tuple[int, str]] = {
    "malformed-request": (400, "The request is malformed"),
    "unauthorized": (401, "Who is asking is not known"),
    "forbidden": (403, "This is not allowed"),
    "not-found": (404, "There is nothing here"),
    "job-not-found": (404, "There is no such job"),
    "model-not-found": (404, "There is no such model"),
    "method-not-allowed": (405, "This method is not allowed here"),
    "not-acceptable": (406, "No accepted form is offered"),
    "request-timeout": (408, "The request did not arrive in time"),
    "job-not-terminal": (409, "The job has not ended"),
    "job-expired": (410, "The job's retention has passed"),
    "payload-too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The body must be JSON in UTF-8"),
    "validation": (422, "The request does not fit"),
    "idempotency-key-reused": (422, "The idempotency key names a job of another request"),
    "webhook-url-rejected": (422, "Webhooks cannot be sent there"),
    "webhook-not-proven": (422, "The endpoint did not prove that it wants webhooks"),
    "too-many-webhooks": (422, "You have as many endpoints as one may have"),
    "no-result": (424, "The job ended without a result"),
    "quota-exceeded": (429, "Your quota is used up"),
    "rate-limited": (429, "Too many requests"),
    "headers-too-large": (431, "The headers are too large"),
    "internal-error": (500, "The server failed"),
    "queue-full": (503, "The queue is full"),
    "storage-full": (503, "The storage is full"),
    "draining": (503, "The service is shutting down"),
    "store-unavailable": (503, "The store does not answer"),
    "webhook-not-signed": (503, "The webhook could not be signed"),
}


class ProblemRaised(Exception):
    """A request ends with this document."""

    def __init__(self, document: wire.Problem, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(document.type)
        self.document = document
        self.headers = headers


def problem(
    slug: wire.ProblemSlug,
    detail: str = "",
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    retry_after: float | None = None,
    **members: Any,  # the other members of wire.Problem
) -> ProblemRaised:
    """Return a problem to raise. `retry_after` is in seconds; the header takes whole ones, rounded up."""
    status, title = _STATUS[slug]
    seconds = None if retry_after is None else max(1, math.ceil(retry_after))
    document = wire.Problem(
        type=wire.PROBLEM_PREFIX + slug,
        title=title,
        status=status,
        detail=detail,
        retry_after_seconds=seconds,
        **members,
    )
    if seconds is not None:
        headers = [*headers, (b"retry-after", b"%d" % seconds)]
    return ProblemRaised(document, headers)


def status_of(slug: wire.ProblemSlug) -> int:
    """Return the HTTP status of a problem."""
    return _STATUS[slug][0]


def invalid(pointer: str, detail: str) -> ProblemRaised:
    """Return the problem of one wrong member, header or query parameter."""
    return problem("validation", detail, errors=[wire.FieldError(pointer=pointer, detail=detail)])


def problem_of(error: AsyncinferError) -> ProblemRaised:
    """Return the problem that an error of the library is on the wire."""
    for kind, answer in _ANSWERS:
        if isinstance(error, kind):
            return answer(error)
    return problem("draining", "the manager is not open", retry_after=1)


def pointer_of(path: str) -> str:
    """Return a JSON Pointer (RFC 6901) of a path such as `input.ps[1].x`; of `a[...].x`, a nameless one, `/a`."""
    steps = [name or index for name, index in _STEP.findall(path.partition("[...]")[0])]
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def _invalid_input(error: InvalidInput) -> ProblemRaised:
    return invalid(pointer_of(error.path), str(error))


def _invalid_option(error: InvalidOption) -> ProblemRaised:
    name = str(error).partition(":")[0].partition(".")[0]
    return invalid(_MEMBERS.get(name, f"/{name}"), str(error))


def _too_large(error: TooLarge) -> ProblemRaised:
    found = _LIMIT.search(str(error))
    return problem("payload-too-large", str(error), max_bytes=int(found[1]) if found else None)


def _full(slug: wire.ProblemSlug) -> Callable[[Any], ProblemRaised]:
    def answer(error: Any) -> ProblemRaised:  # Any: a Refused, whichever it is
        return problem(slug, "nothing was stored", retry_after=error.retry_after, limit=error.limit or None)

    return answer


_STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")
_LIMIT = re.compile(r"the limit is (\d+)")
_MEMBERS = {
    "delay": "/delay_seconds",
    "idempotency_key": "Idempotency-Key",
    "job_id": "id",
    "queue_timeout": "/queue_timeout_seconds",
    "retention": "/retention_result_seconds",
    "time_limit": "/time_limit_seconds",
}
"""Options of the library whose members on the wire have other names."""

# Any: each takes its own kind of error.
_ANSWERS: Sequence[tuple[type[AsyncinferError], Callable[[Any], ProblemRaised]]] = (
    (InvalidInput, _invalid_input),
    (InvalidOption, _invalid_option),
    (TooLarge, _too_large),
    (UrlRejected, lambda error: problem("webhook-url-rejected", error.kind)),
    (UnknownEndpoint, lambda error: problem("not-found", "there is no such webhook endpoint")),
    (NotProven, lambda error: problem("webhook-not-proven", str(error))),
    (TooManyEndpoints, lambda error: problem("too-many-webhooks", str(error))),
    (SigningFailed, lambda error: problem("webhook-not-signed", "nothing was sent; a signer of the server failed")),
    (UnknownModel, lambda error: problem("model-not-found")),
    (UnknownJob, lambda error: problem("job-not-found")),
    (JobExpired, lambda error: problem("job-expired", job_id=error.job_id or None)),
    (
        IdempotencyConflict,
        lambda error: problem("idempotency-key-reused", "use a new key for a new request", job_id=error.job_id),
    ),
    (QuotaExceeded, _full("quota-exceeded")),
    (QueueFull, _full("queue-full")),
    (StorageFull, _full("storage-full")),
    (Draining, lambda error: problem("draining", "submit to another one", retry_after=error.retry_after)),
    (
        StoreError,
        lambda error: problem("store-unavailable", "a submit may be repeated with its Idempotency-Key", retry_after=1),
    ),
)
