"""Time as the core sees it: injected, so that a test can hold it still or make it jump."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
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
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: woken.done() or woken.set_result(None))
        try:
            await woken
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
