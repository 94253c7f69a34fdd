"""Every way in which a model's code can end, as an outcome."""

from __future__ import annotations

import asyncio
import math
import traceback
from collections.abc import Sequence

import msgspec

from asyncinfer._codec import misfit
from asyncinfer._context import JobContext
from asyncinfer._job import MAX_MESSAGE, MAX_TRACEBACK, ErrorCode, JobError, storable
from asyncinfer._result import ResultRefused
from asyncinfer.abc import Outcome
from asyncinfer.errors import CancelRequested, InvalidInput, RetryLater

_MAX_FRAMES = 32


def outcome_of(exc: BaseException, context: JobContext, retry_on: tuple[type[Exception], ...]) -> Outcome:
    """Return how an attempt ended whose code raised `exc`."""
    if isinstance(exc, CancelRequested) or (isinstance(exc, asyncio.CancelledError) and context.is_canceled):
        return Outcome("canceled")
    if isinstance(exc, ResultRefused):
        return Outcome("raised", error=JobError(code=exc.code, message=storable(str(exc), MAX_MESSAGE)))
    error = error_of(exc, attempt=context.attempt, retryable=isinstance(exc, retry_on))
    if isinstance(exc, RetryLater):
        delay = exc.delay
        return Outcome("retry_later", error=error, delay=delay if _is_wait(delay) else None)
    return Outcome("raised", error=error)


def unreadable(exc: BaseException, context: JobContext) -> Outcome:
    """Return the outcome of an input that does not decode: wrong for the model, or no input at all."""
    is_invalid = isinstance(exc, (InvalidInput, msgspec.ValidationError))
    message = str(exc) if isinstance(exc, InvalidInput) else misfit(exc, "input")[1]
    code: ErrorCode = "invalid_input" if is_invalid else "undecodable"
    return Outcome("raised", error=JobError(code=code, message=storable(message, MAX_MESSAGE), attempt=context.attempt))


def failed(message: str, context: JobContext) -> Outcome:
    """Return the outcome of a model that broke its own contract."""
    return Outcome("raised", error=JobError(code="model_error", message=message, attempt=context.attempt))


def error_of(exc: BaseException, *, attempt: int, retryable: bool) -> JobError:
    """Return an exception as a record; texts are bounded and can be stored."""
    code: ErrorCode = "out_of_memory" if isinstance(exc, MemoryError) else "model_error"
    return JobError(
        code=code,
        message=storable(_text_of(exc), MAX_MESSAGE),
        type=storable(_type_of(exc), 256),
        traceback=_traceback_of(exc),
        retryable=retryable,
        attempt=attempt,
    )


def is_task_cancelled(exc: BaseException, contexts: Sequence[JobContext]) -> bool:
    """Tell whether the task is being cancelled while some job in it should go on: then it must go through."""
    if not isinstance(exc, asyncio.CancelledError) or all(context.is_canceled for context in contexts):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_wait(delay: object) -> bool:
    return isinstance(delay, (int, float)) and math.isfinite(delay) and delay >= 0


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001  a model's exception may have a broken __str__
        return "the exception's own text cannot be made"


def _type_of(exc: BaseException) -> str:
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _traceback_of(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("asyncinfer."):
        # The reader looks for the model's own lines.
        trace = trace.tb_next
    try:
        lines = traceback.format_exception(type(exc), exc, trace, limit=-_MAX_FRAMES)
    except Exception:  # noqa: BLE001  formatting calls __repr__, __notes__ and the like of the user's exception
        return ""
    return storable("".join(lines)[-MAX_TRACEBACK:], MAX_TRACEBACK)
