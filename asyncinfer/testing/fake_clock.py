"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from asyncinfer.abc import Clock, Timer

START_AT = 1_800_000_000_000
"""Where wall time begins: a round instant of the year 2027, in milliseconds."""

_SETTLING_PASSES = 32
"""Passes of the loop after each timer: a woken task may wake the next, a good dozen deep in a manager."""


class FakeClock(Clock):
    """Wall time, monotonic time and timers that stand still between calls.

    Lend it to a store (`clock=`) and to what works on it; then `await clock.advance(60)` is a minute without waiting.
    Use it from one event loop. It counts in microseconds, so that ten times 0.1 s is exactly one second.
    """

    def __init__(self, now: int = START_AT) -> None:
        """Start at wall time `now`, in milliseconds since 1970 UTC."""
        self._started_at_us = now * 1000
        self._elapsed_us = 0
        self._jumped_us = 0
        self._timers: list[_FakeTimer] = []
        self._numbers = itertools.count()

    def now(self) -> int:
        return (self._started_at_us + self._elapsed_us + self._jumped_us) // 1000

    def monotonic(self) -> float:
        return self._elapsed_us / 1_000_000

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        due_us = self._elapsed_us + _microseconds(max(seconds, 0.0))
        timer = _FakeTimer(due_us, next(self._numbers), callback)
        if due_us <= self._elapsed_us:
            asyncio.get_running_loop().call_soon(timer.fire)
        else:
            heapq.heappush(self._timers, timer)
        return timer

    @property
    def pending(self) -> int:
        """How many timers wait: what a test asserts before it moves the time on."""
        return sum(not timer.is_canceled for timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Move both times on by `seconds`, firing timers in order, each at its own instant.

        The loop runs before the first timer and after each one: what a timer wakes sees its instant and may set timers
        that fire within the same call. Work on other threads is not waited for. What a callback raises is raised here.
        """
        until_us = self._elapsed_us + _microseconds(seconds)
        await _let_the_loop_run()
        while self._timers and self._timers[0].due_us <= until_us:
            timer = heapq.heappop(self._timers)
            if timer.is_canceled:
                continue
            self._elapsed_us = max(self._elapsed_us, timer.due_us)
            timer.fire()
            await _let_the_loop_run()
        self._elapsed_us = max(self._elapsed_us, until_us)

    def jump(self, seconds: float) -> None:
        """Move wall time alone, forward or back, as a corrected system clock does: no timer fires."""
        microseconds = _microseconds(abs(seconds))
        self._jumped_us += microseconds if seconds >= 0 else -microseconds


class _FakeTimer:
    """A callback and its instant; ordered by (instant, age)."""

    __slots__ = ("_callback", "due_us", "is_canceled", "number")

    def __init__(self, due_us: int, number: int, callback: Callable[[], None]) -> None:
        self.due_us = due_us
        self.number = number
        self.is_canceled = False
        self._callback = callback

    def __lt__(self, other: _FakeTimer) -> bool:
        return (self.due_us, self.number) < (other.due_us, other.number)

    def fire(self) -> None:
        if not self.is_canceled:
            self._callback()

    def cancel(self) -> None:
        self.is_canceled = True


async def _let_the_loop_run() -> None:
    for _ in range(_SETTLING_PASSES):
        await asyncio.sleep(0)


def _microseconds(seconds: float) -> int:
    if seconds < 0:
        raise ValueError(f"time does not run back: got {seconds!r} seconds (jump() moves wall time)")
    return round(seconds * 1_000_000)
