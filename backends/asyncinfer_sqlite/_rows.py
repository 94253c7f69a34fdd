"""The row codec: what of a job lies in `fixed`, and the pure checks that each job passes before it joins a batch."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from asyncinfer.abc import Backoff, Inserted, JobError, Limits, NewJob, Subscription

INLINE_BYTES = 2048
"""Inputs and results from here on lie in their own tables: an UPDATE rewrites the row, 30 us a job at 1 KiB."""
_INT64 = 2**63
_NO_NUMBERS = (None,) * 6


class Fixed(Struct, frozen=True, array_like=True, gc=False):
    """What never changes in a job's life and only code reads, in one blob. The defaults stand for a damaged one."""

    priority: int = 5
    content_type: str = ""
    fingerprint: bytes = b""
    deadline: int | None = None
    expire_code: Literal["queue_timeout", "deadline"] = "queue_timeout"
    time_limit: int | None = None
    max_attempts: int = 1
    crash_budget: int = 3
    backoff: Backoff | None = None
    retention_result: int = 0
    retention_record: int = 604_800_000
    cost: int = 1
    labels: dict[str, str] = {}
    metadata: bytes = b""
    traceparent: str | None = None
    key: str | None = None
    key_until: int | None = None
    dedup: bytes | None = None
    dedup_until: int | None = None
    not_before: int | None = None
    retry_of: str | None = None
    limit_key: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    input_ref: str | None = None
    subscriptions: tuple[Subscription, ...] = ()


class PreparedJob(Struct, frozen=True, gc=False):
    """A job that has passed its checks: nothing in it can break a batch."""

    job: NewJob
    fixed: bytes
    limits: Limits


Row = tuple[Any, ...]
"""A row as sqlite3 gives it: the columns' types are the schema's to know."""

_encode = msgspec.msgpack.Encoder().encode
_decode_fixed = msgspec.msgpack.Decoder(Fixed).decode
_decode_error = msgspec.msgpack.Decoder(JobError).decode
DECODING_ERRORS = (msgspec.MsgspecError, UnicodeError, TypeError, ValueError, RecursionError)


def prepare(job: NewJob, limits: Limits) -> PreparedJob | Inserted:
    """Encode a job, or say why it cannot be stored."""
    try:
        fixed = _encode(
            Fixed(
                job.priority,
                job.content_type,
                job.fingerprint,
                job.deadline,
                job.expire_code,
                job.time_limit,
                job.max_attempts,
                job.crash_budget,
                job.backoff,
                job.retention_result,
                job.retention_record,
                job.cost,
                job.labels,
                job.metadata,
                job.traceparent,
                job.key,
                job.key_until,
                job.dedup,
                job.dedup_until,
                job.not_before,
                job.retry_of,
                job.limit_key,
                job.group_id,
                job.parent_id,
                job.input_ref,
                job.subscriptions,
            )
        )
        _check_columns(job)
    except (UnicodeError, OverflowError, TypeError, ValueError) as error:
        return Inserted("bad", job.id, message=f"the job cannot be stored: {error}")
    return PreparedJob(job, fixed, limits)


def _check_columns(job: NewJob) -> None:
    if not job.id:
        raise ValueError("id: expected a text that is not empty")
    for text in (job.owner, job.id, job.model, job.queue, job.batch_key):
        if not text.isascii():
            text.encode()
    if not 0 <= job.priority <= 9:
        raise ValueError(f"priority: expected 0 to 9, got {job.priority}")
    for number in (job.cost, job.max_attempts, job.crash_budget, job.retention_result, job.retention_record):
        if not -_INT64 <= number < _INT64:
            raise ValueError(f"expected an integer of 64 bits, got {number}")
    optional = (job.not_before, job.expire_at, job.deadline, job.time_limit, job.key_until, job.dedup_until)
    if optional != _NO_NUMBERS:
        for instant in optional:
            if instant is not None and not -_INT64 <= instant < _INT64:
                raise ValueError(f"expected an integer of 64 bits, got {instant}")


def asked(text: str) -> str | bytes:
    """Return a text to compare with; one that is no Unicode text becomes a blob, which equals no stored text."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def fixed_of(blob: bytes) -> Fixed:
    """Decode `fixed`. Raise ValueError with the reason when it is damaged."""
    try:
        return _decode_fixed(blob)
    except DECODING_ERRORS as error:
        raise ValueError(str(error)) from error


def fixed_or_default(blob: bytes) -> Fixed:
    """Decode `fixed`, or return one with defaults: a damaged job must still be shown, ended and pruned."""
    try:
        return fixed_of(blob)
    except ValueError:
        return Fixed()


def tombstone_blob(fixed: Fixed) -> bytes:
    """Return what of `fixed` a tombstone keeps: enough to answer for its key and id."""
    return _encode(
        msgspec.structs.replace(
            fixed, labels={}, metadata=b"", backoff=None, subscriptions=(), input_ref=None, traceparent=None
        )
    )


def error_blob(error: JobError | None) -> bytes | None:
    """Encode an error. Characters that are no text are replaced: a model's message must not break a batch."""
    if error is None:
        return None
    try:
        return _encode(error)
    except UnicodeError:
        return _encode(
            msgspec.structs.replace(
                error,
                message=_as_text(error.message),
                type=_as_text(error.type),
                traceback=_as_text(error.traceback),
                details={_as_text(name): _as_text(value) for name, value in error.details.items()},
            )
        )


def error_of(blob: bytes | None) -> JobError | None:
    """Decode an error; a damaged one is shown as such."""
    if blob is None:
        return None
    try:
        return _decode_error(blob)
    except DECODING_ERRORS as error:
        return JobError(code="undecodable", message=f"the stored error cannot be read back: {error}")


def _as_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
