"""Leave a receiver alone that fails again and again: others should not wait behind it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

FAILURES = 5
"""In a row, before a target is left alone."""
OPEN_SECONDS = 30.0
"""Until one delivery may try again whether it is back."""
AT_ONCE = 4
"""Attempts at one target at a time."""


class _Target(Struct):
    running: int = 0
    failures: int = 0
    """In a row."""
    closed_at: float = 0.0
    """On the monotonic clock: from when on it may be tried again."""


class Targets:
    """How the receivers of one sender do, by URL. Only those that run or fail are remembered."""

    def __init__(self) -> None:
        self._targets: dict[str, _Target] = {}

    def busy(self, now: float) -> Sequence[str]:
        """Return the targets to which nothing may be sent now."""
        return [url for url, target in self._targets.items() if not _has_room(target, now)]

    def next_at(self) -> float | None:
        """Return when the first of those that are left alone may be tried again."""
        return min((target.closed_at for target in self._targets.values() if _is_failing(target)), default=None)

    def begin(self, url: str, now: float) -> bool:
        """Count an attempt, or tell that there is no room for it."""
        target = self._targets.setdefault(url, _Target())
        if not _has_room(target, now):
            return False
        target.running += 1
        return True

    def end(self, url: str, now: float, *, is_delivered: bool) -> None:
        """Count how an attempt went."""
        target = self._targets[url]
        target.running -= 1
        target.failures = 0 if is_delivered else target.failures + 1
        if _is_failing(target):
            target.closed_at = now + OPEN_SECONDS
        elif not target.running and not target.failures:
            del self._targets[url]


def _is_failing(target: _Target) -> bool:
    return target.failures >= FAILURES


def _has_room(target: _Target, now: float) -> bool:
    if not _is_failing(target):
        return target.running < AT_ONCE
    return now >= target.closed_at and target.running == 0
