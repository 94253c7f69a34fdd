"""When a failed attempt is followed by another, and after how long."""

from __future__ import annotations

from typing import cast

from msgspec import Struct

from asyncinfer._job import Backoff
from asyncinfer.errors import InvalidOption


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Exponential backoff with jitter. Durations in seconds.

    The wait before attempt n + 1 is `initial_delay * multiplier ** (failures - 1)`, at most `max_delay`, spread evenly
    over plus or minus `jitter` of itself. `max_attempts` counts failures only: an attempt lost with its worker is
    charged to the crash budget instead.
    """

    max_attempts: int = 1
    """Attempts until the job fails, 1 to 1,000; 1 is no retry."""
    initial_delay: float = 1.0
    """Seconds before the second attempt."""
    max_delay: float = 60.0
    """The longest wait in seconds, before jitter."""
    multiplier: float = 2.0
    """By which each wait is longer than the one before, 1 to 100."""
    jitter: float = 0.2
    """The random part of a wait, 0 to 1 of it, in both directions."""
    retry_on: tuple[type[Exception], ...] = (Exception,)
    """What is worth another attempt; any other exception fails the job at once."""

    def __post_init__(self) -> None:
        _require(1 <= self.max_attempts <= 1_000, "max_attempts: expected 1 to 1000", self.max_attempts)
        _require(0 <= self.initial_delay, "initial_delay: expected seconds >= 0", self.initial_delay)
        _require(self.initial_delay <= self.max_delay, "max_delay: expected seconds >= initial_delay", self.max_delay)
        _require(1 <= self.multiplier <= 100, "multiplier: expected 1 to 100", self.multiplier)
        _require(0 <= self.jitter <= 1, "jitter: expected 0 to 1", self.jitter)
        _require(_are_exceptions(self.retry_on), "retry_on: expected a tuple of Exception classes", self.retry_on)

    @property
    def backoff(self) -> Backoff:
        """The part that is stored with a job."""
        return Backoff(
            initial_delay=round(self.initial_delay * 1000),
            max_delay=round(self.max_delay * 1000),
            multiplier=self.multiplier,
            jitter=self.jitter,
        )


def delay_after(failures: int, backoff: Backoff, random: float) -> int:
    """Return the wait in milliseconds after the `failures`-th failure; `random` is drawn from [0, 1)."""
    exponent = min(max(failures - 1, 0), 64)
    delay = min(backoff.initial_delay * backoff.multiplier**exponent, float(backoff.max_delay))
    return round(delay * (1 + backoff.jitter * (2 * random - 1)))


def _are_exceptions(kinds: object) -> bool:
    if not isinstance(kinds, tuple):
        return False
    several = cast("tuple[object, ...]", kinds)
    return all(isinstance(kind, type) and issubclass(kind, Exception) for kind in several)


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise InvalidOption(f"RetryPolicy.{expected}, got {got!r}")


NO_RETRY = RetryPolicy()
