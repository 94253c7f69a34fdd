"""How many requests one principal may make: a token bucket each."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from asyncinfer.adapters.http._problems import problem
from asyncinfer.errors import InvalidOption

KEPT = 100_000
"""Buckets that are remembered; of the others, the least recently used is full again."""

Headers = list[tuple[bytes, bytes]]


class RateLimit(Struct, frozen=True, kw_only=True):
    """`requests` at once, and as many again in each `per_seconds`, evenly."""

    requests: int
    per_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not (self.requests >= 1 and self.per_seconds > 0):
            raise InvalidOption("RateLimit: expected requests >= 1 and per_seconds > 0")


class RateLimiter:
    """The buckets of one application."""

    def __init__(self, limit: RateLimit, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._policy = b'"burst";q=%d;w=%d' % (limit.requests, round(limit.per_seconds))

    def take(self, owner: str) -> Headers:
        """Take one request of the owner's; return its RateLimit headers. Raise a Problem when none is left."""
        limit, now = self._limit, self._monotonic()
        left, seen = self._buckets.pop(owner, (float(limit.requests), now))
        rate = limit.requests / limit.per_seconds
        left = min(float(limit.requests), left + (now - seen) * rate)
        is_allowed = left >= 1
        self._buckets[owner] = (left - 1 if is_allowed else left, now)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        headers = self._headers(left - 1 if is_allowed else left, rate)
        if not is_allowed:
            raise problem("rate-limited", "slow down", headers=headers, retry_after=(1 - left) / rate)
        return headers

    def _headers(self, left: float, rate: float) -> Headers:
        """As in the IETF draft (draft-ietf-httpapi-ratelimit-headers): what is left, and seconds until it is full."""
        until_full = (self._limit.requests - left) / rate
        return [
            (b"ratelimit-policy", self._policy),
            (b"ratelimit", b'"burst";r=%d;t=%d' % (int(left), round(until_full))),
        ]
