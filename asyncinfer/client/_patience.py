"""How long a client goes on trying, and the clocks by which it does."""

from __future__ import annotations

import asyncio
import math
import random
import time

import msgspec
from msgspec import Struct

from asyncinfer.errors import InvalidOption


class Timing:
    """The host's clock, sleeps and random numbers; a test hands in its own."""

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        """Draw from [0, 1)."""
        return random.random()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Patience(Struct, frozen=True, kw_only=True):
    """The bounds of every call, in seconds; the constructors of the clients explain them."""

    timeout: float = 60.0
    attempt_timeout: float = 20.0
    connect_timeout: float = 5.0
    reconnect_for: float = 300.0
    max_retries: int = 5
    timing: Timing = msgspec.field(default_factory=Timing)

    def __post_init__(self) -> None:
        for name in ("timeout", "attempt_timeout", "connect_timeout", "reconnect_for"):
            require_seconds(name, getattr(self, name), above=0.0)
        if not isinstance(self.max_retries, int) or isinstance(self.max_retries, bool) or self.max_retries < 0:  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise InvalidOption(f"max_retries: expected an int >= 0, got {self.max_retries!r}")


def require_seconds(name: str, value: object, *, above: float | None = None) -> float:
    """Return `value` if it is a finite number, not negative, and above `above` if that is given."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise InvalidOption(f"{name}: expected a number of seconds >= 0, got {_shown(value)}")
    if above is not None and value <= above:
        raise InvalidOption(f"{name}: expected more than {above:g} seconds, got {value!r}")
    return float(value)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, (int, float)) else type(value).__name__
