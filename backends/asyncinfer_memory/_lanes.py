"""The waiting jobs of one model, in fair order (start-time fair queueing; the tags are `lifecycle.next_tag`)."""

from __future__ import annotations

from asyncinfer import lifecycle
from asyncinfer_memory._rows import Entry, Row
from asyncinfer_memory._sorted import SortedChunks

_FLOWS_UNSWEPT = 64


class QueueState:
    """What a queue's limits are checked against, and whether it is paused."""

    __slots__ = ("is_paused", "queued_bytes", "queued_jobs")

    def __init__(self) -> None:
        self.queued_jobs = 0
        self.queued_bytes = 0
        self.is_paused = False


class Lane:
    """The ready jobs of one model in one queue (a model usually has one lane). Every job is in one line or none."""

    __slots__ = ("by_batch_key", "queue", "ready", "solo", "state")

    def __init__(self, queue: str, state: QueueState) -> None:
        self.queue = queue
        self.state = state
        self.ready: SortedChunks[Entry] = SortedChunks()
        self.solo: SortedChunks[Entry] = SortedChunks()
        """The last chances: apart, so that a busy worker steps over them without a search."""
        self.by_batch_key: dict[str, SortedChunks[Entry]] | None = None
        """A second index of `ready`; None as long as nothing there had a batch key."""

    def add(self, row: Row, tag: float) -> None:
        entry = (tag, row.n, row)
        if row.is_solo:
            self.solo.add(entry)
            return
        self.ready.add(entry)
        if self.by_batch_key is not None:
            self._index(entry)
        elif row.new.batch_key:
            self.by_batch_key = {}
            for each in self.ready:
                self._index(each)

    def remove(self, row: Row, tag: float) -> None:
        entry = (tag, row.n, row)
        if row.is_solo:
            self.solo.remove(entry)
            return
        self.ready.remove(entry)
        if self.by_batch_key is not None:
            line = self.by_batch_key[row.new.batch_key]
            line.remove(entry)
            if not line:
                del self.by_batch_key[row.new.batch_key]

    def mates(self, head: Row) -> SortedChunks[Entry]:
        """Return the line whose first entries may join `head` in a batch."""
        if self.by_batch_key is None:
            return self.ready
        return self.by_batch_key.get(head.new.batch_key) or SortedChunks()

    def _index(self, entry: Entry) -> None:
        assert self.by_batch_key is not None
        key = entry[2].new.batch_key
        line = self.by_batch_key.get(key)
        if line is None:
            line = self.by_batch_key[key] = SortedChunks()
        line.add(entry)


class ModelLine:
    """Everything of one model that waits, and its fair clock."""

    __slots__ = ("_flows", "_sweep_at", "delayed", "lanes", "virtual_time")

    def __init__(self) -> None:
        self.virtual_time = 0.0
        """The largest tag that has been claimed."""
        self.lanes: dict[str, Lane] = {}
        self.delayed: SortedChunks[Entry] = SortedChunks()
        """By not_before."""
        self._flows: dict[tuple[str, int], float] = {}
        self._sweep_at = _FLOWS_UNSWEPT

    def draw_tag(self, owner: str, priority: int) -> float:
        """Return the tag of a job that becomes ready now, and move its flow on."""
        flow = (owner, priority)
        tag, self._flows[flow] = lifecycle.next_tag(self.virtual_time, self._flows.get(flow, 0.0), priority)
        if len(self._flows) > self._sweep_at:
            self._forget_passed_flows()
        return tag

    def _forget_passed_flows(self) -> None:
        self._flows = {flow: end for flow, end in self._flows.items() if end > self.virtual_time}
        self._sweep_at = max(_FLOWS_UNSWEPT, 2 * len(self._flows))
