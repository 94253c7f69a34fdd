"""Which live events may be posted now: a receiver that is slow or gone loses its own, and nobody else's.

A *lane* is everything that one owner sends to one host or one endpoint; a *line* one attempt's events for one target.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

import msgspec
from msgspec import Struct

AT_ONCE = 32
"""Posts, beside those of deliveries."""
AT_ONCE_OF_LANE = 8
AT_ONCE_OF_SUSPECTS = 8
"""Of all lanes together whose latest post failed: the dead, however many, leave the others the rest."""
LINES = 2_048
LINES_OF_LANE = 512
FAILURES = 5
"""In a row, before a lane is told nothing for a while."""
PAUSE_SECONDS = 10.0
LANES_KEPT = 1_024
"""Lanes remembered for their failures alone."""

LaneKey = tuple[str, str]


class Lane(Struct, eq=False):
    slots: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(AT_ONCE_OF_LANE))
    lines: int = 0
    failures: int = 0
    """In a row."""
    open_at: float = 0.0
    """On the monotonic clock: from when on one that failed so often is tried again."""


class Lanes:
    """The lanes of one sender, with room for so many lines in each and in all."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._slots_of_suspects = asyncio.Semaphore(AT_ONCE_OF_SUSPECTS)
        self._lanes: dict[LaneKey, Lane] = {}
        self._lines = 0

    def enter(self, key: LaneKey) -> Lane | None:
        """Return the lane of a new line, which must `leave` it; None when there is no room."""
        lane = self._lanes.setdefault(key, Lane())
        if self._lines >= LINES or lane.lines >= LINES_OF_LANE:
            self._forget(key, lane)
            return None
        self._lines += 1
        lane.lines += 1
        return lane

    def leave(self, key: LaneKey, lane: Lane) -> None:
        self._lines -= 1
        lane.lines -= 1
        self._forget(key, lane)

    @asynccontextmanager
    async def slot(self, lane: Lane) -> AsyncGenerator[None]:
        """Wait until something may be posted in the lane."""
        async with lane.slots, self._slots_of_suspects if lane.failures else nullcontext(), self._slots:
            yield

    def _forget(self, key: LaneKey, lane: Lane) -> None:
        if not lane.lines and not lane.failures:
            del self._lanes[key]
        if len(self._lanes) > LANES_KEPT:
            idle = next((each for each, one in self._lanes.items() if not one.lines), None)
            if idle is not None:
                del self._lanes[idle]


def is_open(lane: Lane, now: float) -> bool:
    """Tell whether the receiver is to be tried."""
    return lane.failures < FAILURES or now >= lane.open_at


def note(lane: Lane, now: float, *, is_delivered: bool) -> bool:
    """Note how a post went; tell whether the lane is told nothing from now on."""
    lane.failures = 0 if is_delivered else lane.failures + 1
    if lane.failures < FAILURES:
        return False
    lane.open_at = now + PAUSE_SECONDS
    return True
