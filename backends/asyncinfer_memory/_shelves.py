"""What belongs to one owner: the jobs, their order, and the names that must not be given out twice."""

from __future__ import annotations

from asyncinfer_memory._lanes import Lane
from asyncinfer_memory._rows import Row, Tombstone
from asyncinfer_memory._sorted import SortedChunks
from asyncinfer_memory._tallies import Tally

_NEW_IDS = 256


class Shelf:
    """One owner's jobs. Dropped when the last one and its tombstone are gone."""

    __slots__ = ("_ids", "_new_ids", "dedups", "keys", "rows", "tallies", "tombstones")

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._ids: SortedChunks[str] = SortedChunks()
        self._new_ids: list[str] = []
        """Not yet in their place: ids of one millisecond come in any order, and many at a time are sorted faster."""
        self.keys: dict[str, str] = {}
        """Idempotency key -> id of a row or a tombstone."""
        self.dedups: dict[tuple[str, bytes], Row] = {}
        """(model, dedup) -> the newest job with it."""
        self.tombstones: dict[str, Tombstone] = {}
        self.tallies: dict[Lane, Tally] = {}

    @property
    def ids(self) -> SortedChunks[str]:
        """The ids of all rows, in order."""
        if self._new_ids:
            self._place_new_ids()
        return self._ids

    def add_id(self, job_id: str) -> None:
        self._new_ids.append(job_id)
        if len(self._new_ids) >= _NEW_IDS:
            self._place_new_ids()

    def _place_new_ids(self) -> None:
        for job_id in sorted(self._new_ids):
            self._ids.add(job_id)
        self._new_ids.clear()

    @property
    def queued_jobs(self) -> int:
        return sum(tally.counts["queued"] for tally in self.tallies.values())

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.tombstones
