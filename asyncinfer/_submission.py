"""From a checked submission to the record that a store inserts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from asyncinfer._codec import encode, fingerprint
from asyncinfer._definition import Definition
from asyncinfer._job import JobIds, NewJob, Subscription
from asyncinfer._limits import Limits, Retention
from asyncinfer._models import Model, Submission
from asyncinfer._options import DEDUP_SECONDS
from asyncinfer._retry import RetryPolicy
from asyncinfer.errors import InvalidOption, TooLarge

IDEMPOTENCY_SECONDS = 86_400
"""An idempotency key holds at least this long, and as long as its job's record and tombstone."""


class _Defaults(NamedTuple):
    """What a model gives every one of its jobs, looked up once."""

    job: NewJob
    """A job without id and input: a changed copy takes 0.5 us, a new record by keyword 1.4."""
    queue_timeout: float | None
    """Seconds."""


class JobFactory:
    """Makes NewJob records for one manager."""

    def __init__(self, limits: Limits, retention: Retention) -> None:
        self._limits = limits
        self._retention_result = _milliseconds(retention.result)
        self._retention_record = _milliseconds(retention.record)
        self._new_id = JobIds()
        self._defaults: dict[Definition, _Defaults] = {}

    def new_job(self, submission: Submission[Any], owner: str, now: int) -> NewJob:
        """Return the record of `submission`. Raises TooLarge or InvalidOption."""
        model = submission.model
        data = submission.input
        if len(data) > self._limits.input_bytes:
            raise TooLarge(f"input: {len(data)} bytes, the limit is {self._limits.input_bytes} (Limits.input_bytes)")
        defaults = self._defaults.get(model.definition) or self._defaults_of(model)
        if submission.options or defaults.queue_timeout is not None:
            return self._with_options(submission, defaults, owner, now)
        return replace(
            defaults.job,
            owner=owner,
            id=self._new_id(now),
            input=data,
            content_type=submission.content_type,
            batch_key=submission.batch_key,
            cost=submission.cost,
        )

    def again(self, job: NewJob, now: int) -> NewJob:
        """Return a new job with the input and options of an ended one; its key, dedup and instants are not kept."""
        return replace(
            job,
            id=self._new_id(now),
            retry_of=job.id,
            key=None,
            key_until=None,
            dedup=None,
            dedup_until=None,
            not_before=None,
            deadline=None,
            expire_at=None,
        )

    def _defaults_of(self, model: Model[..., Any, object]) -> _Defaults:
        job = NewJob(
            owner="",
            id="",
            model=model.name,
            queue=model.queue,
            input=b"",
            time_limit=_optional_milliseconds(model.time_limit),
            max_attempts=model.retry.max_attempts,
            crash_budget=model.crash_budget,
            backoff=model.retry.backoff,
            retention_result=self._retention_result,
            retention_record=self._retention_record,
        )
        defaults = self._defaults[model.definition] = _Defaults(job, model.queue_timeout)
        return defaults

    def _with_options(self, submission: Submission[Any], defaults: _Defaults, owner: str, now: int) -> NewJob:
        options: Mapping[str, Any] = submission.options
        retry: RetryPolicy | None = options.get("retry")
        retention: Retention | None = options.get("retention")
        job_id: str | None = options.get("job_id")
        key: str | None = options.get("idempotency_key")
        dedup_seconds = _dedup_seconds(options.get("dedup", False))
        hashed = submission.fingerprint() if key is not None or job_id is not None or dedup_seconds else b""
        deadline = _instant(options.get("deadline"))
        expire_at, expire_code = _expiry(options.get("queue_timeout", defaults.queue_timeout), deadline, now)
        return replace(
            defaults.job,
            owner=owner,
            id=job_id or self._new_id(now),
            input=submission.input,
            content_type=submission.content_type,
            fingerprint=fingerprint(hashed, submission.request) if hashed and submission.request else hashed,
            priority=options.get("priority", 5),
            not_before=_not_before(options, now),
            deadline=deadline,
            expire_at=expire_at,
            expire_code=expire_code,
            time_limit=(
                _optional_milliseconds(options["time_limit"]) if "time_limit" in options else defaults.job.time_limit
            ),
            key=key,
            key_until=None if key is None else now + IDEMPOTENCY_SECONDS * 1000,
            dedup=hashed if dedup_seconds else None,
            dedup_until=now + _milliseconds(dedup_seconds) if dedup_seconds else None,
            batch_key=submission.batch_key,
            cost=submission.cost,
            max_attempts=defaults.job.max_attempts if retry is None else retry.max_attempts,
            backoff=defaults.job.backoff if retry is None else retry.backoff,
            retention_result=self._retention_result if retention is None else _milliseconds(retention.result),
            retention_record=self._retention_record if retention is None else _milliseconds(retention.record),
            subscriptions=_subscriptions(options.get("webhook")),
            labels=self._labels(options),
            metadata=self._metadata(options),
            traceparent=options.get("traceparent"),
        )

    def _labels(self, options: Mapping[str, Any]) -> dict[str, str]:
        labels = dict(options.get("labels") or {})
        if len(labels) > self._limits.labels:
            raise InvalidOption(f"labels: expected at most {self._limits.labels} (Limits.labels), got {len(labels)}")
        return labels

    def _metadata(self, options: Mapping[str, Any]) -> bytes:
        if options.get("metadata") is None:
            return b""
        data = encode(options["metadata"])
        if len(data) > self._limits.metadata_bytes:
            raise TooLarge(
                f"metadata: {len(data)} bytes, the limit is {self._limits.metadata_bytes} (Limits.metadata_bytes)"
            )
        return data


def _expiry(queue_timeout: float | None, deadline: int | None, now: int) -> tuple[int | None, Any]:
    timeout_at = None if queue_timeout is None else now + _milliseconds(queue_timeout)
    if deadline is not None and (timeout_at is None or deadline <= timeout_at):
        return deadline, "deadline"
    return timeout_at, "queue_timeout"


def _not_before(options: Mapping[str, Any], now: int) -> int | None:
    delay: float | None = options.get("delay")
    return _instant(options.get("not_before")) if delay is None else now + _milliseconds(delay)


def _subscriptions(
    webhook: str | Subscription | Sequence[str | Subscription] | None,
) -> tuple[Subscription, ...]:
    if webhook is None:
        return ()
    several = (webhook,) if isinstance(webhook, (str, Subscription)) else webhook
    return tuple(one if isinstance(one, Subscription) else Subscription(one) for one in several)


def _dedup_seconds(dedup: bool | float) -> float:
    return DEDUP_SECONDS if dedup is True else float(dedup)


def _instant(when: datetime | None) -> int | None:
    return None if when is None else round(when.timestamp() * 1000)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _optional_milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
