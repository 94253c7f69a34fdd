"""Counters that are kept with every move, so that no limit and no overview ever counts jobs."""

from __future__ import annotations

from asyncinfer.abc import Status


class Tally:
    """Counts of one lane: of one owner's jobs in it, or of all."""

    __slots__ = ("counts", "queued_bytes")

    def __init__(self) -> None:
        self.counts: dict[Status, int] = {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "canceled": 0}
        self.queued_bytes = 0

    @property
    def is_empty(self) -> bool:
        return not any(self.counts.values())


class QueueState:
    """What a queue's limits are checked against, and whether it is paused."""

    __slots__ = ("is_paused", "queued_bytes", "queued_jobs")

    def __init__(self) -> None:
        self.queued_jobs = 0
        self.queued_bytes = 0
        self.is_paused = False
