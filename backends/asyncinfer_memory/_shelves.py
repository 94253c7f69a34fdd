"""What belongs to one owner: the jobs, their order, and the names that must not be given out twice."""

from __future__ import annotations

from asyncinfer.abc import Status
from asyncinfer_memory._rows import Row, Tombstone
from asyncinfer_memory._sorted import SortedChunks


class Tally:
    """Counts of one model in one queue: of one owner, or of all."""

    __slots__ = ("counts", "fresh", "queued_bytes", "returned")

    def __init__(self) -> None:
        self.counts: dict[Status, int] = {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "canceled": 0}
        self.queued_bytes = 0
        self.fresh: dict[int, Row] = {}
        """Queued and never claimed, by n: the first is the oldest."""
        self.returned: dict[int, Row] = {}
        """Queued again after an attempt; few."""

    def wait(self, row: Row) -> None:
        """Count a job that is queued now."""
        self.counts["queued"] += 1
        self.queued_bytes += len(row.new.input)
        (self.returned if row.attempt else self.fresh)[row.n] = row

    def leave(self, row: Row) -> None:
        """Count off a job that was queued until now."""
        self.counts["queued"] -= 1
        self.queued_bytes -= len(row.new.input)
        del (self.returned if row.attempt else self.fresh)[row.n]

    @property
    def is_empty(self) -> bool:
        return not any(self.counts.values())

    @property
    def oldest_queued_at(self) -> int | None:
        fresh = next(iter(self.fresh.values()), None)
        oldest = min((row.created_at for row in self.returned.values()), default=None)
        if fresh is None or (oldest is not None and oldest < fresh.created_at):
            return oldest
        return fresh.created_at


class Shelf:
    """One owner's jobs. Dropped when the last one and its tombstone are gone."""

    __slots__ = ("dedups", "ids", "keys", "queued_jobs", "rows", "tallies", "tombstones")

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.ids: SortedChunks[str] = SortedChunks()
        self.keys: dict[str, str] = {}
        """Idempotency key -> id of a row or a tombstone."""
        self.dedups: dict[tuple[str, bytes], Row] = {}
        """(model, dedup) -> the newest job with it."""
        self.tombstones: dict[str, Tombstone] = {}
        self.tallies: dict[tuple[str, str], Tally] = {}
        """By (queue, model)."""
        self.queued_jobs = 0

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.tombstones
