"""The tables of the store, and the only places where a job enters or leaves an index.

A status is changed by `insert`, `start`, `queue_again` and `end`, each keeping every index and counter true; the moves
in `_claiming` and `_endings` decide when.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncinfer.abc import Clock, ClockGuard, JobError, NewJob, Status, StatusEvent, Subscription
from asyncinfer_memory._feeds import Feeds
from asyncinfer_memory._history import attempt_of, queued_event, running_event
from asyncinfer_memory._lanes import Lane, ModelLine
from asyncinfer_memory._rows import Entry, Row, Tombstone
from asyncinfer_memory._shelves import Shelf
from asyncinfer_memory._sorted import SortedChunks
from asyncinfer_memory._tallies import QueueState, Tally

_PROMOTED_AT_ONCE = 1_000


class Tables:
    """All that the store knows of jobs. No method awaits: each is one atomic step of the loop that calls it."""

    def __init__(self, clock: Clock, owe: Callable[[Row, tuple[Subscription, ...]], None]) -> None:
        self.clock = clock
        self.guard = ClockGuard(clock)
        self.feeds = Feeds()
        self.shelves: dict[str, Shelf] = {}
        self.queues: dict[str, QueueState] = {}
        self.models: dict[str, ModelLine] = {}
        self.running: dict[int, Row] = {}
        self.expiring: SortedChunks[Entry] = SortedChunks()
        """Queued jobs by `expire_at`."""
        self.ended: SortedChunks[Entry] = SortedChunks()
        """Ended jobs by the instant at which something of them is pruned, but those with duties."""
        self.tombstones: SortedChunks[tuple[int, int, Tombstone]] = SortedChunks()
        """By the instant from which their time counts, but those of jobs with duties."""
        self.solo_waiting = 0
        self.owe = owe
        self._rows_made = 0

    def row(self, owner: str, id: str) -> Row | None:  # noqa: A002  the glossary's name
        shelf = self.shelves.get(owner)
        return None if shelf is None else shelf.rows.get(id)

    def queue(self, name: str) -> QueueState:
        state = self.queues.get(name)
        if state is None:
            state = self.queues[name] = QueueState()
        return state

    # Moves

    def insert(self, new: NewJob, now: int) -> None:
        """Store an accepted job, queued."""
        self._rows_made = n = self._rows_made + 1
        row = Row(new, n, now, new.not_before, new.subscriptions)
        shelf = self.shelves.get(new.owner)
        if shelf is None:
            shelf = self.shelves[new.owner] = Shelf()
        shelf.rows[new.id] = row
        shelf.add_id(new.id)
        if new.key is not None:
            shelf.keys[new.key] = new.id
        if new.dedup is not None:
            shelf.dedups[new.model, new.dedup] = row
        lane = self._lane(new)
        mine = shelf.tallies.get(lane)
        if mine is None:
            mine = shelf.tallies[lane] = Tally()
        lane.tally.counts["queued"] += 1
        mine.counts["queued"] += 1
        self._wait(row, lane, mine, now)
        self.changed(row)

    def start(self, row: Row, worker: str, now: int) -> None:
        """Begin the next attempt of a queued job."""
        lane, mine = self._place(row)
        self._leave(row, lane, mine)
        assert row.tag is not None
        if row.tag > lane.line.virtual_time:
            lane.line.virtual_time = row.tag
        self._set_status(row, "running", lane, mine)
        row.attempt += 1
        row.revision = row.running_revision = row.revision + 1
        row.worker, row.started_at, row.renewals, row.move_id = worker, now, 0, None
        self.running[row.n] = row
        self.changed(row)

    def queue_again(
        self, row: Row, now: int, *, ending: str, error: JobError | None, not_before: int | None, keeps_tag: bool
    ) -> None:
        """End the running attempt with another to follow; `ending` says how it ended."""
        lane, mine = self._place(row)
        del self.running[row.n]
        history = row.the_history
        if not history.statuses:
            history.statuses.append(queued_event(row))
        history.statuses.append(running_event(row))
        history.attempts.append(attempt_of(row, ended_at=now, outcome=ending, error=error))
        if row.move_id is not None:
            history.moves.append((row.attempt, row.move_id))
            row.move_id = None
        self._set_status(row, "queued", lane, mine)
        row.worker, row.not_before = None, not_before
        row.revision += 1
        history.statuses.append(StatusEvent(id=row.revision, attempt=row.attempt, at=now, status="queued", error=error))
        if not keeps_tag:
            row.tag = None
        self._wait(row, lane, mine, now)
        self.changed(row)

    def end(self, row: Row, status: Status, now: int, *, error: JobError | None = None, ending: str = "") -> None:
        """Move a queued or running job into a terminal status, with its owed event."""
        lane, mine = self._place(row)
        if row.status == "running":
            del self.running[row.n]
            row.ending = ending or status
        else:
            self._leave(row, lane, mine)
        self._set_status(row, status, lane, mine)
        row.error, row.finished_at = error, now
        row.revision += 1
        row.forget_at = now + row.new.retention_record
        if row.history is not None:
            row.history.checkpoint = None
        if row.subscriptions:
            self.owe(row, row.subscriptions)
        self.retain(row)
        self.changed(row)

    def changed(self, row: Row) -> None:
        """Hint at a change, where anybody listens."""
        if self.feeds.is_wanted:
            self.feeds.hint(row.new.owner, row.new.id)

    # Waiting

    def promote(self, model: ModelLine, now: int) -> None:
        """Make delayed jobs ready whose time has come, oldest first, a bounded number a call."""
        for _ in range(_PROMOTED_AT_ONCE):
            first = model.delayed.first
            if first is None or first[0] > now or self.guard.is_paused():
                return
            model.delayed.remove(first)
            self._make_ready(first[2], model.lanes[first[2].new.queue])

    def _wait(self, row: Row, lane: Lane, mine: Tally, now: int) -> None:
        new = row.new
        lane.wait(row)
        mine.queued_bytes += len(new.input)
        if new.expire_at is not None:
            self.expiring.add((new.expire_at, row.n, row))
        if row.tag is None and row.not_before is not None and row.not_before > now:
            lane.line.delayed.add((row.not_before, row.n, row))
        else:
            self._make_ready(row, lane)

    def _make_ready(self, row: Row, lane: Lane) -> None:
        tag = row.tag
        if tag is None:
            tag = row.tag = lane.line.draw_tag(row.new.owner, row.new.priority)
        lane.add(row, tag)
        if row.is_solo:
            self.solo_waiting += 1

    def _leave(self, row: Row, lane: Lane, mine: Tally) -> None:
        new = row.new
        lane.leave(row)
        mine.queued_bytes -= len(new.input)
        if new.expire_at is not None:
            self.expiring.remove((new.expire_at, row.n, row))
        if row.tag is None:
            assert row.not_before is not None
            lane.line.delayed.remove((row.not_before, row.n, row))
        else:
            lane.remove(row, row.tag)
            if row.is_solo:
                self.solo_waiting -= 1

    def _set_status(self, row: Row, status: Status, lane: Lane, mine: Tally) -> None:
        old = row.status
        counts, own_counts = lane.tally.counts, mine.counts
        counts[old] -= 1
        own_counts[old] -= 1
        counts[status] += 1
        own_counts[status] += 1
        row.status = status

    def _place(self, row: Row) -> tuple[Lane, Tally]:
        """Return where a job is counted: its lane, and its owner's tally of that lane."""
        new = row.new
        lane = self.models[new.model].lanes[new.queue]
        return lane, self.shelves[new.owner].tallies[lane]

    def _lane(self, new: NewJob) -> Lane:
        """Return the lane of a new job, made when first needed."""
        line = self.models.get(new.model)
        if line is None:
            line = self.models[new.model] = ModelLine()
        lane = line.lanes.get(new.queue)
        if lane is None:
            lane = line.lanes[new.queue] = Lane(new.queue, new.model, self.queue(new.queue), line)
        return lane

    # Keeping and forgetting

    def retain(self, row: Row) -> None:
        """Put an ended job into the index of `prune`, unless it has duties."""
        assert row.forget_at is not None
        assert row.finished_at is not None
        if row.duties:
            return
        due = row.forget_at
        if row.result is not None:
            due = min(due, row.finished_at + row.new.retention_result)
        row.retained_until = due
        self.ended.add((due, row.n, row))

    def release(self, row: Row) -> None:
        """Take an ended job out of the index of `prune`, if it is there."""
        if row.retained_until is not None:
            self.ended.remove((row.retained_until, row.n, row))
            row.retained_until = None

    def forget(self, row: Row, now: int) -> None:
        """Leave only a tombstone of an ended job."""
        new = row.new
        self.release(row)
        lane, mine = self._place(row)
        lane.tally.counts[row.status] -= 1
        mine.counts[row.status] -= 1
        shelf = self.shelves[new.owner]
        del shelf.rows[new.id]
        shelf.ids.remove(new.id)
        if new.dedup is not None and shelf.dedups.get((new.model, new.dedup)) is row:
            del shelf.dedups[new.model, new.dedup]
        key = new.key if new.key is not None and shelf.keys.get(new.key) == new.id else None
        shelf.tombstones[new.id] = Tombstone(new.owner, new.id, row.n, new.fingerprint, key, new.key_until, now)
        if not row.duties:
            self.retain_tombstone(row)
        if mine.is_empty:
            del shelf.tallies[lane]
        self.changed(row)

    def retain_tombstone(self, row: Row) -> None:
        """Put the tombstone of a job without duties into the index of `prune`."""
        stone = self.shelves[row.new.owner].tombstones[row.new.id]
        self.tombstones.add((stone.buried_at, stone.n, stone))

    def forget_tombstone(self, stone: Tombstone) -> None:
        """Give the id and the key of a pruned job free; it has left `tombstones` already."""
        shelf = self.shelves[stone.owner]
        del shelf.tombstones[stone.id]
        if stone.key is not None:
            del shelf.keys[stone.key]
        if shelf.is_empty:
            del self.shelves[stone.owner]
