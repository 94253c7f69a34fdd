"""How much a store accepts and how long it keeps it: every bound of the library stands here with its default."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class QueueLimits(Struct, frozen=True, kw_only=True):
    """The bounds of one queue."""

    queued_jobs: int = 10_000
    """Waiting jobs."""
    queued_bytes: int = GIB
    """Bytes of waiting input."""
    concurrency: int | None = None
    """How many of its jobs run at once in one manager; None is no bound."""
    reserve: int = 0
    """Slots of each executor that runs a model of it which are for its jobs alone, so that others cannot take all."""


class Limits(Struct, frozen=True, kw_only=True):
    """What a submit may ask for. Counts and bytes; 0 accepts nothing."""

    queued_jobs: int = 10_000
    """Waiting jobs in each queue that `queues` does not name."""
    queued_bytes: int = GIB
    """Bytes of waiting input in each queue that `queues` does not name."""
    owner_queued_jobs: int | None = None
    """Waiting jobs of one owner over all queues; None is no quota."""
    input_bytes: int = 16 * MIB
    """One encoded input."""
    result_bytes: int = 16 * MIB
    """One encoded result; of a stream all its yields together."""
    checkpoint_bytes: int = 16 * MIB
    """One encoded checkpoint."""
    metadata_bytes: int = 16 * KIB
    """One job's encoded metadata."""
    labels: int = 8
    """Labels of one job; at most 64."""
    events_per_job: int = 10_000
    """Durable output events kept for one job; the oldest leave first."""
    queues: Mapping[str, QueueLimits] = msgspec.field(default_factory=dict[str, QueueLimits])
    """Queues with bounds of their own, by name."""

    def of_queue(self, queue: str) -> tuple[int, int]:
        """Return (queued_jobs, queued_bytes) that hold for `queue`."""
        own = self.queues.get(queue)
        return (self.queued_jobs, self.queued_bytes) if own is None else (own.queued_jobs, own.queued_bytes)


class Retention(Struct, frozen=True, kw_only=True):
    """How long an ended job is kept, in seconds: its result, then its record, then only a tombstone of its id."""

    result: float = 86_400.0
    """Its result, from its ending."""
    record: float = 604_800.0
    """Its record, events and attempts, from its ending."""
    tombstone: float = 604_800.0
    """Its id and idempotency key, from the end of its record: they are answered `gone` instead of unknown."""
