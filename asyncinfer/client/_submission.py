"""From the arguments of `submit` to its request: made once, so that each repeat is the same request."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, cast

import msgspec
from msgspec import UNSET, Raw

from asyncinfer import Retention, RetryPolicy, Subscription, wire
from asyncinfer.client._encoding import Unsendable, encoded
from asyncinfer.client._exchange import Request
from asyncinfer.client._patience import require_seconds
from asyncinfer.errors import InvalidInput, InvalidOption

MAX_WAIT = 60.0
"""The longest that a service holds a submit."""
DEDUP_SECONDS = 600.0
"""How long `dedup=True` looks back."""


class RemoteOptions(TypedDict, total=False):
    """What a submit may say beside the input. Durations are float seconds; the service checks the values."""

    priority: int
    """0 (first) to 9; default 5."""
    not_before: datetime | None
    """Aware: the job waits until then. Not together with `delay`."""
    delay: float | None
    """Seconds from the submit for which the job waits."""
    deadline: datetime | None
    """Aware: after it the result is useless; a queued job fails, a running one is ended."""
    queue_timeout: float | None
    """How long it may wait for its first start, in place of the model's; None: for ever."""
    time_limit: float | None
    """The longest that one attempt may take, in place of the model's; None: no limit."""
    retry: RetryPolicy | None
    """In place of the model's; its `jitter` and `retry_on` stay the service's own."""
    retention: Retention | None
    """In place of the service's; its `tombstone` stays the service's own."""
    dedup: bool | float
    """Answer with a live or succeeded job of the same model and input, of the last 600 s (True) or so many seconds."""
    webhook: str | Subscription | None
    """Who must hear of the ending: an https URL, or the id of a registered endpoint."""
    labels: Mapping[str, str]
    """Pairs to find jobs by; at most 8 by default."""
    metadata: object
    """Anything that JSON can carry, at most 16 KiB by default; it comes back with the job."""
    idempotency_key: str | None
    """1 to 255 printable ASCII characters: the same key and submission again is answered with the same job."""
    job_id: str | None
    """The job's id, chosen by the caller: 1 to 64 of A-Z a-z 0-9 _ -. It makes the submit repeatable by itself."""
    traceparent: str | None
    """The W3C trace context that the job belongs to."""


class Prepared(NamedTuple):
    """A submit, ready to be sent as often as it takes."""

    request: Request
    is_named: bool
    """The caller chose the key or the id, so a replay is news."""


def key_for(options: Mapping[str, object]) -> str | None:
    """Return the idempotency key of one call of submit: the caller's, a random one, or none where the id serves."""
    given = options.get("idempotency_key")
    if given is None:
        return None if options.get("job_id") is not None else secrets.token_hex(16)
    if not isinstance(given, str) or not _KEY.fullmatch(given):
        raise InvalidOption("idempotency_key: expected 1 to 255 printable ASCII characters")
    return given


def prepare(
    model: str, given: Mapping[str, object] | None, wait: float | None, options: RemoteOptions, key: str | None
) -> Prepared:
    """Return the request of a submit. Raises InvalidInput and InvalidOption."""
    _require_known(options)
    job_id = options.get("job_id")
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["idempotency-key"] = _quoted(key)
    if options.get("traceparent") is not None:
        headers["traceparent"] = _matching("traceparent", options.get("traceparent"), _TRACEPARENT, "a W3C traceparent")
    hold = 0.0 if wait is None else min(require_seconds("wait", wait), MAX_WAIT)
    if hold:
        headers["prefer"] = f"wait={math.ceil(hold)}"
    request = Request(
        method="POST" if job_id is None else "PUT",
        path="/v1/jobs" if job_id is None else f"/v1/jobs/{require_job_id(job_id)}",
        headers=headers,
        body=_body(model, _input(given), options),
        hold=hold,
    )
    return Prepared(request, is_named=job_id is not None or options.get("idempotency_key") is not None)


def require_job_id(job_id: object) -> str:
    """Return `job_id` if it can be one. Raises InvalidOption."""
    return _matching("job_id", job_id, _JOB_ID, "1 to 64 of A-Z a-z 0-9 _ -")


def require_name(parameter: str, name: object) -> str:
    """Return a model's or queue's name if it can be one. Raises InvalidOption."""
    return _matching(parameter, name, _NAME, "1 to 128 of A-Z a-z 0-9 _ . : -")


def _body(model: str, given: Raw, options: RemoteOptions) -> bytes:
    retention = options.get("retention")
    try:
        return msgspec.json.encode(
            wire.Submit(
                model=require_name("model", model),
                input=given,
                priority=options.get("priority", 5),
                not_before=_instant("not_before", options.get("not_before")),
                delay_seconds=None if (delay := options.get("delay")) is None else require_seconds("delay", delay),
                queue_timeout_seconds=_duration("queue_timeout", options),
                time_limit_seconds=_duration("time_limit", options),
                deadline=_instant("deadline", options.get("deadline")),
                retry=_retry(options.get("retry")),
                retention_result_seconds=UNSET if retention is None else _retention(retention).result,
                retention_record_seconds=UNSET if retention is None else retention.record,
                dedup=_dedup(options.get("dedup", False)),
                webhook=_webhook(options.get("webhook")),
                labels=dict(options.get("labels", {})),
                metadata=_metadata(options.get("metadata")),
            )
        )
    except UnicodeEncodeError:
        raise InvalidOption("labels: a lone surrogate in a text cannot be sent") from None


def _input(given: object) -> Raw:
    if given is None:
        return Raw(b"{}")
    if not isinstance(given, Mapping):
        raise InvalidOption(f"input: expected a mapping of the model's parameters, got {type(given).__name__}")
    try:
        return encoded(dict(cast("Mapping[str, object]", given)), "input")
    except Unsendable as exc:
        raise InvalidInput(str(exc), path=exc.path) from exc


def _metadata(metadata: object) -> Any:  # Any: what the record declares
    try:
        return None if metadata is None else encoded(metadata, "metadata")
    except Unsendable as exc:
        raise InvalidOption(str(exc)) from exc


def _retry(policy: RetryPolicy | None) -> wire.Retry | None:
    if policy is None:
        return None
    if not isinstance(policy, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        raise InvalidOption(f"retry: expected a RetryPolicy, got {type(policy).__name__}")
    if policy.jitter != _PLAIN_RETRY.jitter or policy.retry_on != _PLAIN_RETRY.retry_on:
        raise InvalidOption("retry: expected neither jitter nor retry_on, those stay the service's")
    return wire.Retry(
        max_attempts=policy.max_attempts,
        initial_delay_seconds=policy.initial_delay,
        max_delay_seconds=policy.max_delay,
        multiplier=policy.multiplier,
    )


def _retention(retention: Retention) -> Retention:
    if not isinstance(retention, Retention):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        raise InvalidOption(f"retention: expected a Retention, got {type(retention).__name__}")
    if retention.tombstone != _PLAIN_RETENTION.tombstone:
        raise InvalidOption("retention: expected no tombstone, that stays the service's")
    return retention


def _dedup(dedup: bool | float) -> wire.Dedup | None:
    if dedup is False:
        return None
    return wire.Dedup(ttl_seconds=DEDUP_SECONDS if dedup is True else require_seconds("dedup", dedup))


def _webhook(webhook: str | Subscription | None) -> wire.Webhook | None:
    if webhook is None:
        return None
    if isinstance(webhook, str):
        return wire.Webhook(url=webhook) if "://" in webhook else wire.Webhook(endpoint=webhook)
    if webhook.secret:
        raise InvalidOption("webhook: expected no secret, register an endpoint for one of your own")
    return msgspec.structs.replace(_webhook(webhook.target) or wire.Webhook(), events=list(webhook.events))


def _instant(name: str, when: datetime | None) -> datetime | None:
    if when is not None and when.utcoffset() is None:
        raise InvalidOption(f"{name}: expected an aware datetime")
    return when


def _duration(name: str, options: Mapping[str, Any]) -> float | msgspec.UnsetType | None:
    if name not in options:
        return UNSET
    return None if options[name] is None else require_seconds(name, options[name], above=0)


def _require_known(options: Mapping[str, object]) -> None:
    for name in options:
        if name not in RemoteOptions.__annotations__:
            known = ", ".join(RemoteOptions.__annotations__)
            raise InvalidOption(f"{name}: unknown submit option; known are {known}")


def _matching(parameter: str, value: object, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidOption(f"{parameter}: expected {expected}")
    return value


def _quoted(key: str) -> str:
    """Write a key as RFC 8941 does where bare it could be read otherwise: spaces at its ends, quotes."""
    if _BARE_KEY.fullmatch(key):
        return key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_KEY = re.compile(r"[ -~]{1,255}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_.:/-]+")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_PLAIN_RETRY = RetryPolicy()
_PLAIN_RETENTION = Retention()
