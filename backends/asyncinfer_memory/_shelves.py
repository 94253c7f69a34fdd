"""What belongs to one owner: the jobs, their order, and the names that must not be given out twice."""

from __future__ import annotations

from asyncinfer_memory._lanes import Lane
from asyncinfer_memory._rows import Row, Tombstone
from asyncinfer_memory._sorted import SortedChunks
from asyncinfer_memory._tallies import Tally


class Shelf:
    """One owner's jobs. Dropped when the last one and its tombstone are gone."""

    __slots__ = ("dedups", "ids", "keys", "rows", "tallies", "tombstones")

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.ids: SortedChunks[str] = SortedChunks()
        self.keys: dict[str, str] = {}
        """Idempotency key -> id of a row or a tombstone."""
        self.dedups: dict[tuple[str, bytes], Row] = {}
        """(model, dedup) -> the newest job with it."""
        self.tombstones: dict[str, Tombstone] = {}
        self.tallies: dict[Lane, Tally] = {}

    @property
    def queued_jobs(self) -> int:
        return sum(tally.counts["queued"] for tally in self.tallies.values())

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.tombstones
