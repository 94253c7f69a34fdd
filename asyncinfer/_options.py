"""What may be said of a model and of one submit, and the checks that name the option when it is wrong.

Durations are float seconds. A message shows numbers and types, never a text: a URL or a key may be a secret.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, TypeVar, cast

from msgspec import Struct

from asyncinfer._codec import encode
from asyncinfer._job import LIVE_EVENTS, Subscription
from asyncinfer._limits import MIB, Retention
from asyncinfer._resources import Resources
from asyncinfer._retry import RetryPolicy
from asyncinfer.errors import InvalidOption

T = TypeVar("T")

DEDUP_SECONDS = 600.0
"""How long `dedup=True` looks back."""
MAX_SECONDS = 10 * 366 * 86_400.0
"""Ten years: a duration beyond it is a mistake in the unit."""
MAX_LABELS = 64
"""What `Limits.labels` may be raised to."""
MAX_WEBHOOKS = 8


class Batch(Struct, frozen=True, kw_only=True):
    """How jobs of one model run together: `predict_batch` gets up to `max_size` items whose costs sum to `max_cost`."""

    max_size: int = 8
    """Jobs in one call, 1 to 10,000."""
    max_cost: int | None = None
    """The sum of the jobs' costs in one call; a single job above it runs alone."""
    cost: Callable[[Any], int] | None = None  # Any: the item of the model that takes this
    """Called with the item at submit; returns its cost, at least 1 (its length in tokens, say)."""
    key: Callable[[Any], str] | None = None  # Any: as above
    """Called with the item at submit; only jobs with equal keys share a batch."""
    buckets: tuple[int, ...] = ()
    """Ascending upper bounds of cost: only jobs of one bucket share a batch, which saves padding."""
    max_wait: float = 0.0
    """Seconds, up to 3,600, for which a batch that is not full waits for more jobs, counted from when its oldest became
    ready; default 0: it never waits."""
    on_error: Literal["bisect", "fail"] = "bisect"
    """When a batch raises: run its halves again until the bad item is alone, or fail all."""

    def __post_init__(self) -> None:
        _require("Batch", "max_size", self.max_size, _whole(1, 10_000))
        _require("Batch", "max_cost", self.max_cost, _optional(_whole(1, 2**53)))
        _require("Batch", "cost", self.cost, _CALLABLE)
        _require("Batch", "key", self.key, _CALLABLE)
        _require("Batch", "buckets", self.buckets, _BUCKETS)
        _require("Batch", "max_wait", self.max_wait, _BATCH_WAIT)
        _require("Batch", "on_error", self.on_error, _ON_ERROR)
        if (self.buckets or self.max_cost is not None) and self.cost is None:
            raise InvalidOption("Batch.cost: expected a callable, since max_cost and buckets need each item's cost")

    def place(self, item: object) -> tuple[str, int]:
        """Return (batch key, cost) of an item. Raise InvalidOption when key or cost raises or answers wrongly."""
        key = "" if self.key is None else _asked("key", self.key, item)
        cost = 1 if self.cost is None else _asked("cost", self.cost, item)
        _require("Batch", "key(item)", key, _BATCH_KEY)
        _require("Batch", "cost(item)", cost, _whole(1, 2**53))
        if self.buckets:
            bucket = sum(bound < cost for bound in self.buckets)
            key = f"{bucket}|{key}"
        return key, cost


class ModelOptions(TypedDict, total=False):
    """What `model()` takes beside the function or class."""

    name: str
    """How jobs name the model, 1 to 128 of A-Z a-z 0-9 _ . : -; default: the function's or class's own name."""
    executor: str
    """Where it runs; default "loop" for async code, "thread" otherwise."""
    queue: str
    """The queue of its jobs; default "default"."""
    batch: Batch | None
    """For a class with `predict_batch`; default: batches of one."""
    retry: RetryPolicy
    """What follows a failure; default: nothing (one attempt)."""
    time_limit: float | None
    """The longest that one attempt may take; default None, no limit."""
    queue_timeout: float | None
    """How long a job may wait for its first start; default None, for ever."""
    concurrency: int | None
    """How many of its jobs run at once in one manager; default None: as many as the executor has slots."""
    crash_budget: int
    """How many attempts may die with their worker before the job fails; default 3."""
    memory_limit: int | None
    """Bytes that a worker process of it may take, 64 MiB at least: above it the job fails; default None, no limit."""
    preload: bool
    """A class is set up when the manager opens, which waits for it; False: by its first job. Default True."""
    resources: Resources
    """What it takes of the machine; default `Resources()`: one slot, no memory to reckon with."""


class SubmitOptions(TypedDict, total=False):
    """What `Model.options()` sets for the submits made with what it returns. None is as if not given."""

    priority: int
    """0 (first) to 9; default 5. A weight, so nothing starves."""
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
    idempotency_key: str | None
    """1 to 255 printable ASCII characters: the same key and input again is answered with the same job."""
    dedup: bool | float
    """Answer with a live or succeeded job of the same model and input, of the last 600 s (True) or so many seconds."""
    webhook: str | Subscription | Sequence[str | Subscription] | None
    """Who must hear of the ending: URLs, ids of registered endpoints, or Subscriptions; at most 8."""
    labels: Mapping[str, str]
    """At most `Limits.labels` pairs to find jobs by; a name has 1 to 64 characters, a value up to 256."""
    metadata: object
    """Anything the codec takes, at most `Limits.metadata_bytes` encoded; handed to the model and the webhook."""
    retry: RetryPolicy
    """In place of the model's; `retry_on` stays the model's, since it is code."""
    retention: Retention
    """In place of the manager's."""
    job_id: str | None
    """The job's id, chosen by the caller: 1 to 64 of A-Z a-z 0-9 _ -."""
    traceparent: str | None
    """The W3C trace context that the job belongs to."""
    wait_for_room: bool
    """When the queue is full, wait until there is room instead of raising QueueFull; default False."""


class _Check(Struct, frozen=True):
    """A test of a value, and the words for what it expects."""

    accepts: Callable[[object], bool]
    expected: str


def check_submit_options(options: Mapping[str, object], *, max_labels: int = MAX_LABELS) -> None:
    """Raise InvalidOption, naming the parameter, unless these are valid SubmitOptions."""
    _check(options, _SUBMIT_CHECKS, "submit option")
    if options.get("delay") is not None and options.get("not_before") is not None:
        raise InvalidOption("delay: expected none beside not_before, got both")
    labels = cast("Mapping[str, str]", options.get("labels", {}))
    if len(labels) > max_labels:
        raise InvalidOption(f"labels: expected at most {max_labels}, got {len(labels)}")
    if "metadata" in options:
        try:
            encode(options["metadata"])
        except TypeError as exc:
            raise InvalidOption(f"metadata: expected a value that can be encoded: {exc}") from exc


def check_model_options(options: Mapping[str, object]) -> None:
    """Raise InvalidOption, naming the parameter, unless these are valid ModelOptions."""
    _check(options, _MODEL_CHECKS, "model option")


def _check(options: Mapping[str, object], checks: Mapping[str, _Check], kind: str) -> None:
    for name, value in options.items():
        check = checks.get(name)
        if check is None:
            raise InvalidOption(f"{name}: unknown {kind}; known are {', '.join(checks)}")
        _require("", name, value, check)


def _require(owner: str, name: str, value: object, check: _Check) -> None:
    if not check.accepts(value):
        raise InvalidOption(f"{owner + '.' if owner else ''}{name}: expected {check.expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    if value is None or isinstance(value, (int, float, datetime)):
        return repr(value)
    if isinstance(value, str):
        return f"a str of {len(value)} characters"
    return type(value).__qualname__


def _asked(name: str, function: Callable[[Any], T], item: object) -> T:
    try:
        return function(item)
    except Exception as exc:  # the user's function may raise anything
        raise InvalidOption(f"Batch.{name}(item): raised {type(exc).__qualname__}: {exc}") from exc


def _optional(check: _Check) -> _Check:
    return _Check(lambda value: value is None or check.accepts(value), f"{check.expected} or None")


def _whole(low: int, high: int) -> _Check:
    return _Check(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        f"an int from {low} to {high}",
    )


def _seconds(low: float, high: float = MAX_SECONDS) -> _Check:
    def accepts(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        return low <= value <= high

    return _Check(accepts, f"a number of seconds from {low:g} to {high:.0f}")


def _text(pattern: str, expected: str) -> _Check:
    whole = re.compile(pattern)
    return _Check(lambda value: isinstance(value, str) and whole.fullmatch(value) is not None, expected)


def _instance(kind: type, expected: str) -> _Check:
    return _Check(lambda value: isinstance(value, kind), expected)


def _is_aware(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None and value.utcoffset() is not None


def _is_dedup(value: object) -> bool:
    return isinstance(value, bool) or _SOME_SECONDS.accepts(value)


def _is_target(value: object) -> bool:
    if isinstance(value, Subscription):
        return _is_target(value.target) and _are_events(value.events) and _is_secret(value.secret)
    return isinstance(value, str) and _TARGET.fullmatch(value) is not None


def _are_events(value: object) -> bool:
    """Tell whether these are events that are sent; one that is not would be waited for in vain."""
    if not isinstance(value, tuple):
        return False
    events = cast("tuple[object, ...]", value)
    return bool(events) and all(event in _EVENTS for event in events)


def _is_secret(value: object) -> bool:
    """Tell whether a sender can sign with it: a malformed one would only show when the job has ended."""
    if not isinstance(value, str) or not value:
        return value == ""
    encoded = value.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    # The one canonical text of the key: some receivers take no other.
    return value != encoded and 24 <= len(key) <= 64 and base64.b64encode(key).decode() == encoded


def _is_webhook(value: object) -> bool:
    if isinstance(value, (str, Subscription)):
        return _is_target(value)
    if not isinstance(value, Sequence):
        return False
    targets = cast("Sequence[object]", value)
    return len(targets) <= MAX_WEBHOOKS and all(_is_target(target) for target in targets)


def _are_labels(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and isinstance(text, str)
        and 1 <= len(name) <= 64
        and len(text) <= 256
        # A lone surrogate cannot be stored.
        and name.isprintable()
        and text.encode(errors="replace").decode() == text
        for name, text in cast("Mapping[object, object]", value).items()
    )


def _is_retention(value: object) -> bool:
    return isinstance(value, Retention) and all(
        _seconds(0).accepts(kept) for kept in (value.result, value.record, value.tombstone)
    )


def _is_submit_retry(value: object) -> bool:
    return isinstance(value, RetryPolicy) and value.retry_on == (Exception,)


def _is_batch_key(value: object) -> bool:
    # A lone surrogate cannot be stored.
    return isinstance(value, str) and len(value) <= 200 and value.encode(errors="replace").decode() == value


def _are_buckets(value: object) -> bool:
    if not isinstance(value, tuple):
        return False
    bounds = cast("tuple[object, ...]", value)
    numbers = [bound for bound in bounds if isinstance(bound, int)]
    return len(numbers) == len(bounds) <= 64 and numbers == sorted(set(numbers)) and all(n > 0 for n in numbers)


_TARGET = re.compile(r"[!-~]{1,2048}")
_EVENTS = (*Subscription("").events, *LIVE_EVENTS)
_SOME_SECONDS = _seconds(0.001)
_AWARE = _optional(_Check(_is_aware, "an aware datetime"))
_CALLABLE = _optional(_Check(callable, "a callable"))
_BUCKETS = _Check(_are_buckets, "a tuple of at most 64 ascending positive ints")
_ON_ERROR = _Check(lambda value: value in ("bisect", "fail"), "'bisect' or 'fail'")
_BATCH_WAIT = _seconds(0, 3600)
_BATCH_KEY = _Check(_is_batch_key, "a str of at most 200 characters")
_NAME = _text(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}", "1 to 128 of A-Z a-z 0-9 _ . : -")
_RETRY = _instance(RetryPolicy, "a RetryPolicy")

_MODEL_CHECKS: dict[str, _Check] = {
    "name": _NAME,
    "executor": _NAME,
    "queue": _NAME,
    "batch": _optional(_instance(Batch, "a Batch")),
    "retry": _RETRY,
    "time_limit": _optional(_SOME_SECONDS),
    "queue_timeout": _optional(_SOME_SECONDS),
    "concurrency": _optional(_whole(1, 1_000_000)),
    "crash_budget": _whole(1, 1_000),
    "memory_limit": _optional(_whole(64 * MIB, 2**53)),
    "preload": _instance(bool, "a bool"),
    "resources": _instance(Resources, "a Resources"),
}
_SUBMIT_CHECKS: dict[str, _Check] = {
    "priority": _whole(0, 9),
    "not_before": _AWARE,
    "delay": _optional(_seconds(0)),
    "deadline": _AWARE,
    "queue_timeout": _optional(_SOME_SECONDS),
    "time_limit": _optional(_SOME_SECONDS),
    "idempotency_key": _optional(_text(r"[ -~]{1,255}", "1 to 255 printable ASCII characters")),
    "dedup": _Check(_is_dedup, "a bool or a number of seconds"),
    "webhook": _optional(
        _Check(
            _is_webhook,
            f"a URL, a Subscription (to {', '.join(_EVENTS)}; to sign with: whsec_ and standard padded base64 "
            f"of 24 to 64 bytes), or at most {MAX_WEBHOOKS} of them",
        )
    ),
    "labels": _Check(_are_labels, "a mapping of str (1 to 64 printable characters) to str (up to 256)"),
    "metadata": _Check(lambda value: True, "anything"),
    "retry": _Check(_is_submit_retry, "a RetryPolicy without retry_on (that stays the model's)"),
    "retention": _Check(_is_retention, "a Retention of seconds from 0"),
    "job_id": _optional(_text(r"[A-Za-z0-9_-]{1,64}", "1 to 64 of A-Z a-z 0-9 _ -")),
    "traceparent": _optional(_text(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", "a W3C traceparent")),
    "wait_for_room": _instance(bool, "a bool"),
}
