"""What an answer that is no success means, as an error of the tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

import msgspec

from asyncinfer import JobError
from asyncinfer.abc import ErrorCode
from asyncinfer.client._exchange import Answer, Failure, Request
from asyncinfer.client.errors import (
    ConnectionLost,
    Forbidden,
    JobNotEnded,
    NotFound,
    ServiceFailed,
    Unauthorized,
    UnexpectedAnswer,
)
from asyncinfer.errors import (
    AsyncinferError,
    Draining,
    IdempotencyConflict,
    InvalidInput,
    InvalidOption,
    JobCanceled,
    JobExpired,
    JobFailed,
    QueueFull,
    QuotaExceeded,
    Refused,
    StorageFull,
    StoreUnavailable,
    TooLarge,
    UnknownJob,
    UnknownModel,
)
from asyncinfer.wire import Problem

DEFAULT_RETRY_AFTER = 1.0


def error_of(request: Request, outcome: Answer | Failure) -> AsyncinferError:
    """Return what is raised when `outcome` is the last word on `request`."""
    if isinstance(outcome, Failure):
        lost = ConnectionLost(f"{_name(request)}: {outcome.reason}", is_sent=outcome.is_sent)
        lost.__cause__ = outcome.cause
        return lost
    problem = problem_in(outcome)
    if problem is None:
        return _without_problem(request, outcome)
    make = _BY_SLUG.get(problem.slug, _unknown_problem)
    error = make(f"{problem.detail or problem.title} ({_name(request)})", problem, outcome)
    error.problem = problem
    return error


def problem_in(answer: Answer) -> Problem | None:
    """Return the problem that an answer holds, if it is one of this contract."""
    if answer.media_type() != "application/problem+json":
        return None
    try:
        problem = _problems.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return problem if problem.slug != problem.type else None


def retry_after_of(answer: Answer) -> float | None:
    """Return the seconds of Retry-After; a date, which only proxies write, is as if it were not there."""
    told = answer.headers.get("retry-after", "").strip()
    return float(told) if _DIGITS.fullmatch(told) else None


def _without_problem(request: Request, answer: Answer) -> AsyncinferError:
    """Judge by the status alone: a proxy or a web server answered, whose words are not shown."""
    status, told = answer.status, f"{_name(request)} was answered {answer.status} by something else than the service"
    if status == 401:
        return Unauthorized(told)
    if status == 403:
        return Forbidden(told)
    if status == 413:
        return TooLarge(f"{told}: the request is too large for it")
    if status == 429:
        return QuotaExceeded(told, limit="rate", retry_after=_seconds(answer))
    if status == 408 or status >= 500:
        return ServiceFailed(told, status=status, retry_after=retry_after_of(answer))
    if 300 <= status < 400:
        told = f"{_name(request)} was answered {status}, a redirect; give the address that it leads to as base_url"
    return UnexpectedAnswer(told, status=status)


def _unknown_problem(told: str, problem: Problem, answer: Answer) -> AsyncinferError:
    """Judge a problem of a newer service by its status."""
    if answer.status == 429:
        return _quota_exceeded(told, problem, answer)
    if answer.status == 408 or answer.status >= 500:
        return _service_failed(told, problem, answer)
    return UnexpectedAnswer(told, status=answer.status)


def _plain(kind: type[AsyncinferError]) -> _Maker:
    return lambda told, problem, answer: kind(told)


def _refused(kind: type[Refused]) -> _Maker:
    return lambda told, problem, answer: kind(told, limit=problem.limit or "", retry_after=_seconds(answer))


def _quota_exceeded(told: str, problem: Problem, answer: Answer) -> AsyncinferError:
    return QuotaExceeded(told, limit=problem.limit or "rate", retry_after=_seconds(answer))


def _service_failed(told: str, problem: Problem, answer: Answer) -> AsyncinferError:
    return ServiceFailed(told, status=answer.status, retry_after=retry_after_of(answer))


def _not_ended(told: str, problem: Problem, answer: Answer) -> AsyncinferError:
    return JobNotEnded(told, retry_after=_seconds(answer))


def _conflict(told: str, problem: Problem, answer: Answer) -> AsyncinferError:
    job_id = problem.job_id or ""
    return IdempotencyConflict(f"the key or id already names job {job_id}, which was another submission", job_id=job_id)


def _no_result(told: str, problem: Problem, answer: Answer) -> AsyncinferError:
    job_id = problem.job_id or ""
    if problem.code is None:
        return JobCanceled(job_id)
    return JobFailed(job_id, JobError(code=cast("ErrorCode", problem.code), message=problem.detail))


def _invalid(told: str, problem: Problem, answer: Answer) -> AsyncinferError:
    """Tell a wrong input from a wrong option: by whether all that is wrong lies under `/input`."""
    paths = [path_of(one.pointer) for one in problem.errors]
    details = [one.detail.removeprefix("body.") for one in problem.errors]
    said = "; ".join(
        detail if detail.startswith(path) else f"{path}: {detail}" for path, detail in zip(paths, details, strict=True)
    )
    if paths and all(re.match(r"input(?![^.\[])", path) for path in paths):
        return InvalidInput(said, path=paths[0])
    return InvalidOption(said or told)


def path_of(pointer: str) -> str:
    """Return a JSON Pointer as Python shows paths: `/input/ps/1/x` is `input.ps[1].x`."""
    if not pointer.startswith("/"):
        return pointer
    first, *steps = (step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))
    return first + "".join(f"[{step}]" if step.isascii() and step.isdigit() else f".{step}" for step in steps)


def _seconds(answer: Answer) -> float:
    told = retry_after_of(answer)
    return DEFAULT_RETRY_AFTER if told is None else told


def _name(request: Request) -> str:
    return f"{request.method} {request.path}"


_Maker = Callable[[str, Problem, Answer], AsyncinferError]
_problems = msgspec.json.Decoder(Problem)
_DIGITS = re.compile(r"[0-9]{1,9}")
_BY_SLUG: dict[str, _Maker] = {
    "malformed-request": _plain(InvalidOption),
    "unauthorized": _plain(Unauthorized),
    "forbidden": _plain(Forbidden),
    "not-found": lambda told, problem, answer: NotFound(told, status=answer.status),
    "job-not-found": _plain(UnknownJob),
    "model-not-found": _plain(UnknownModel),
    "method-not-allowed": _plain(UnexpectedAnswer),
    "not-acceptable": _plain(UnexpectedAnswer),
    "request-timeout": _service_failed,
    "job-not-terminal": _not_ended,
    "job-expired": _plain(JobExpired),
    "payload-too-large": _plain(TooLarge),
    "unsupported-media-type": _plain(UnexpectedAnswer),
    "validation": _invalid,
    "idempotency-key-reused": _conflict,
    "webhook-url-rejected": _plain(InvalidOption),
    "webhook-not-proven": _plain(InvalidOption),
    "too-many-webhooks": _plain(InvalidOption),
    "no-result": _no_result,
    "quota-exceeded": _quota_exceeded,
    "rate-limited": _quota_exceeded,
    "headers-too-large": _plain(UnexpectedAnswer),
    "internal-error": _service_failed,
    "queue-full": _refused(QueueFull),
    "storage-full": _refused(StorageFull),
    "draining": _refused(Draining),
    "store-unavailable": _plain(StoreUnavailable),
    "webhook-not-signed": _service_failed,
}
"""One entry for each ProblemSlug."""
