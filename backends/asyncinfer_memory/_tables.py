"""The tables of the store, and the only places where a job enters or leaves an index.

A status is changed by `insert`, `start`, `queue_again` and `end`, each keeping every index and counter true; the moves
in `_claiming` and `_endings` decide when.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncinfer.abc import Clock, ClockGuard, JobError, NewJob, Status, StatusEvent, Subscription
from asyncinfer_memory._feeds import Feeds
from asyncinfer_memory._history import attempt_of, queued_event, running_event
from asyncinfer_memory._lanes import Lane, ModelLine, QueueState
from asyncinfer_memory._rows import Entry, Row, Tombstone
from asyncinfer_memory._shelves import Shelf, Tally
from asyncinfer_memory._sorted import SortedChunks

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
        self.tallies: dict[tuple[str, str], Tally] = {}
        """By (queue, model), over all owners."""
        self.running: dict[int, Row] = {}
        self.expiring: SortedChunks[Entry] = SortedChunks()
        """Queued jobs by `expire_at`."""
        self.ended: SortedChunks[Entry] = SortedChunks()
        """Ended jobs by the instant at which something of them is pruned, but those with duties."""
        self.tombstones: SortedChunks[tuple[int, int, Tombstone]] = SortedChunks()
        """By the instant from which their time counts."""
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

    def insert(self, new: NewJob, now: int) -> Row:
        """Store an accepted job, queued."""
        self._rows_made = n = self._rows_made + 1
        row = Row(new, n, now, new.not_before, new.subscriptions)
        shelf = self.shelves.get(new.owner)
        if shelf is None:
            shelf = self.shelves[new.owner] = Shelf()
        shelf.rows[new.id] = row
        shelf.ids.add(new.id)
        if new.key is not None:
            shelf.keys[new.key] = new.id
        if new.dedup is not None:
            shelf.dedups[new.model, new.dedup] = row
        self._wait(row, now)
        return row

    def start(self, row: Row, worker: str, now: int) -> None:
        """Begin the next attempt of a queued job."""
        self._leave(row)
        assert row.tag is not None
        model = self.models[row.new.model]
        if row.tag > model.virtual_time:
            model.virtual_time = row.tag
        row.status = "running"
        row.attempt += 1
        row.revision = row.running_revision = row.revision + 1
        row.worker, row.started_at, row.renewals, row.move_id = worker, now, 0, None
        self.running[row.n] = row
        self._count(row, "running", 1)
        self.changed(row)

    def queue_again(
        self, row: Row, now: int, *, ending: str, error: JobError | None, not_before: int | None, keeps_tag: bool
    ) -> None:
        """End the running attempt with another to follow; `ending` says how it ended."""
        self._stop(row)
        history = row.the_history
        if not history.statuses:
            history.statuses.append(queued_event(row))
        history.statuses.append(running_event(row))
        history.attempts.append(attempt_of(row, ended_at=now, outcome=ending, error=error))
        if row.move_id is not None:
            history.moves.append((row.attempt, row.move_id))
            row.move_id = None
        row.status, row.worker, row.not_before = "queued", None, not_before
        row.revision += 1
        history.statuses.append(StatusEvent(id=row.revision, attempt=row.attempt, at=now, status="queued", error=error))
        if not keeps_tag:
            row.tag = None
        self._wait(row, now)
        self.changed(row)

    def end(self, row: Row, status: Status, now: int, *, error: JobError | None = None, ending: str = "") -> None:
        """Move a queued or running job into a terminal status, with its owed event."""
        if row.status == "running":
            self._stop(row)
            row.ending = ending or status
        else:
            self._leave(row)
        row.status, row.error, row.finished_at = status, error, now
        row.revision += 1
        row.forget_at = now + row.new.retention_record
        if row.history is not None:
            row.history.checkpoint = None
        self._count(row, status, 1)
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
            self._make_ready(first[2], model)

    def _wait(self, row: Row, now: int) -> None:
        new = row.new
        model = self.models.get(new.model)
        if model is None:
            model = self.models[new.model] = ModelLine()
        if row.tag is None and row.not_before is not None and row.not_before > now:
            model.delayed.add((row.not_before, row.n, row))
        else:
            self._make_ready(row, model)
        if new.expire_at is not None:
            self.expiring.add((new.expire_at, row.n, row))
        for tally in self._tallies(row):
            tally.wait(row)
        queue = self.queue(new.queue)
        queue.queued_jobs += 1
        queue.queued_bytes += len(new.input)
        self.shelves[new.owner].queued_jobs += 1

    def _make_ready(self, row: Row, model: ModelLine) -> None:
        new = row.new
        tag = row.tag
        if tag is None:
            tag = row.tag = model.draw_tag(new.owner, new.priority)
        lane = model.lanes.get(new.queue)
        if lane is None:
            lane = model.lanes[new.queue] = Lane(new.queue, self.queue(new.queue))
        lane.add(row, tag)
        self.solo_waiting += row.is_solo

    def _leave(self, row: Row) -> None:
        new = row.new
        model = self.models[new.model]
        if row.tag is None:
            assert row.not_before is not None
            model.delayed.remove((row.not_before, row.n, row))
        else:
            model.lanes[new.queue].remove(row, row.tag)
            self.solo_waiting -= row.is_solo
        if new.expire_at is not None:
            self.expiring.remove((new.expire_at, row.n, row))
        for tally in self._tallies(row):
            tally.leave(row)
        queue = self.queues[new.queue]
        queue.queued_jobs -= 1
        queue.queued_bytes -= len(new.input)
        self.shelves[new.owner].queued_jobs -= 1

    def _stop(self, row: Row) -> None:
        del self.running[row.n]
        self._count(row, "running", -1)

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
        self._count(row, row.status, -1)
        shelf = self.shelves[new.owner]
        del shelf.rows[new.id]
        shelf.ids.remove(new.id)
        if new.dedup is not None and shelf.dedups.get((new.model, new.dedup)) is row:
            del shelf.dedups[new.model, new.dedup]
        key = new.key if new.key is not None and shelf.keys.get(new.key) == new.id else None
        stone = Tombstone(new.owner, new.id, row.n, new.fingerprint, key, new.key_until)
        shelf.tombstones[new.id] = stone
        self.tombstones.add((now, row.n, stone))
        tally = shelf.tallies[new.queue, new.model]
        if tally.is_empty:
            del shelf.tallies[new.queue, new.model]
        self.changed(row)

    def forget_tombstone(self, stone: Tombstone) -> None:
        """Give the id and the key of a pruned job free; it has left `tombstones` already."""
        shelf = self.shelves[stone.owner]
        del shelf.tombstones[stone.id]
        if stone.key is not None:
            del shelf.keys[stone.key]
        if shelf.is_empty:
            del self.shelves[stone.owner]

    # Counting

    def _count(self, row: Row, status: Status, change: int) -> None:
        for tally in self._tallies(row):
            tally.counts[status] += change

    def _tallies(self, row: Row) -> tuple[Tally, Tally]:
        """Return the owner's tally and the tally of all, made when first needed."""
        place = (row.new.queue, row.new.model)
        of_owner = self.shelves[row.new.owner].tallies
        mine, all_ = of_owner.get(place), self.tallies.get(place)
        if mine is None:
            mine = of_owner[place] = Tally()
        if all_ is None:
            all_ = self.tallies[place] = Tally()
        return mine, all_
