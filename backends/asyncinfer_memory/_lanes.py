"""The waiting jobs of one model, in fair order (start-time fair queueing; the tags are `lifecycle.next_tag`)."""

from __future__ import annotations

from asyncinfer import lifecycle
from asyncinfer_memory._rows import Entry, Row
from asyncinfer_memory._sorted import SortedChunks
from asyncinfer_memory._tallies import QueueState, Tally

_FLOWS_UNSWEPT = 64


class ModelLine:
    """The lanes of one model, its delayed jobs, and its fair clock."""

    __slots__ = ("_flows", "_sweep_at", "delayed", "lanes", "virtual_time")

    def __init__(self) -> None:
        self.virtual_time = 0.0
        """The largest tag that has been claimed."""
        self.lanes: dict[str, Lane] = {}
        """By queue: usually one."""
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


class Lane:
    """The jobs of one model in one queue: counted all, the ready ones in order, each in one line."""

    __slots__ = ("_fresh", "_returned", "by_batch_key", "line", "model", "queue", "ready", "solo", "state", "tally")

    def __init__(self, queue: str, model: str, state: QueueState, line: ModelLine) -> None:
        self.queue = queue
        self.model = model
        self.state = state
        self.line = line
        self.tally = Tally()
        self.ready: SortedChunks[Entry] = SortedChunks()
        self.solo: SortedChunks[Entry] = SortedChunks()
        """The last chances: apart, so that a busy worker steps over them without a search."""
        self.by_batch_key: dict[str, SortedChunks[Entry]] | None = None
        """A second index of `ready`; None as long as nothing there had a batch key."""
        self._fresh: dict[int, Row] = {}
        """Queued and never claimed, by n: the first is the oldest."""
        self._returned: dict[int, Row] = {}
        """Queued again after an attempt; few."""

    def wait(self, row: Row) -> None:
        """Charge a job that is queued now, ready or not, to the queue."""
        (self._returned if row.attempt else self._fresh)[row.n] = row
        size = len(row.new.input)
        self.state.queued_jobs += 1
        self.state.queued_bytes += size
        self.tally.queued_bytes += size

    def leave(self, row: Row) -> None:
        """Take back the charge of a job that was queued until now."""
        del (self._returned if row.attempt else self._fresh)[row.n]
        size = len(row.new.input)
        self.state.queued_jobs -= 1
        self.state.queued_bytes -= size
        self.tally.queued_bytes -= size

    def oldest_queued_at(self, owner: str | None) -> int | None:
        """Return when the queued job that came first was accepted, of one owner or of all."""
        fresh = (row for row in self._fresh.values() if owner is None or row.new.owner == owner)
        returned = (row for row in self._returned.values() if owner is None or row.new.owner == owner)
        candidates = [
            row for row in (next(fresh, None), min(returned, key=_number_of, default=None)) if row is not None
        ]
        return min(candidates, key=_number_of).created_at if candidates else None

    def add(self, row: Row, tag: float) -> None:
        """Put a ready job into its line."""
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
        """Take a ready job out of its line."""
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
        """Return the line whose first entries may join `head`, the first of `ready`, in a batch."""
        return self.ready if self.by_batch_key is None else self.by_batch_key[head.new.batch_key]

    def _index(self, entry: Entry) -> None:
        assert self.by_batch_key is not None
        key = entry[2].new.batch_key
        line = self.by_batch_key.get(key)
        if line is None:
            line = self.by_batch_key[key] = SortedChunks()
        line.add(entry)


def _number_of(row: Row) -> int:
    return row.n
