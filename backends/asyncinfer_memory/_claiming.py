"""Choosing what to run next: between models a head each in turn, within a model the smallest tag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncinfer import lifecycle
from asyncinfer.abc import Claim, ClaimRequest, Claims, JobKey, ModelRoom
from asyncinfer_memory._endings import expire_row, has_expired
from asyncinfer_memory._lanes import Lane, ModelLine
from asyncinfer_memory._rows import Entry, Row
from asyncinfer_memory._tables import Tables


def claim_all(tables: Tables, requests: Sequence[ClaimRequest], now: int) -> list[Claims]:
    """Serve the requests in order, but a solo job first: it needs a worker that got nothing else."""
    for request in requests:
        for _, model in _models(tables, request):
            if model.delayed:
                tables.promote(model, now)
    served = [_Claiming(tables, request, now) for request in requests]
    alone: set[str] = set()
    if tables.solo_waiting:
        for claiming, request in zip(served, requests, strict=True):
            if request.is_idle and not request.is_isolated and request.worker not in alone and claiming.take_solo():
                alone.add(request.worker)
    for claiming, request in zip(served, requests, strict=True):
        if request.worker not in alone:
            claiming.take()
    return [claiming.answer() for claiming in served]


class _Turn:
    """One model's part in a claim."""

    __slots__ = ("_passed", "held", "model", "room", "spare")

    def __init__(self, room: ModelRoom, model: ModelLine) -> None:
        self.room = room
        self.model = model
        self.spare = room.room
        self.held: set[tuple[str, str]] = set()
        """Queue and batch key of each batch that is held back."""
        self._passed: dict[str, Entry] = {}
        """By queue: the entry before which every job is of those batches."""

    def first(self, lane: Lane) -> Entry | None:
        """Return the first ready job of a lane that is not held back."""
        passed = self._passed.get(lane.queue)
        if passed is None:
            return lane.ready.first
        if lane.by_batch_key is None:
            return None
        for entry in lane.ready.ascending(passed):
            if (lane.queue, entry[2].new.batch_key) not in self.held:
                self._passed[lane.queue] = entry
                return entry
        return None

    def hold(self, head: Row) -> None:
        """Hold back a batch, and all jobs of its queue and key."""
        assert head.tag is not None
        self.held.add((head.new.queue, head.new.batch_key))
        self._passed[head.new.queue] = (head.tag, head.n, head)


class _Claiming:
    """One request being served."""

    def __init__(self, tables: Tables, request: ClaimRequest, now: int) -> None:
        self._tables = tables
        self._request = request
        self._now = now
        self._slots = request.slots
        self._claims: list[Claim] = []
        self._ended: list[JobKey] = []
        self._groups = 0
        self._held_until: int | None = None

    def take_solo(self) -> bool:
        """Claim one last chance and nothing else; False when there is none or no room."""
        if self._slots <= 0:
            return False
        for room, model in _models(self._tables, self._request):
            for lane in model.lanes.values():
                head = self._solo_head(lane) if room.room > 0 else None
                if head is not None:
                    self._claims.append(_start(self._tables, head, self._request, self._now, 0))
                    return True
        return False

    def take(self) -> None:
        """Claim heads, one of each model in turn, until slots or heads run out."""
        turns = [_Turn(room, model) for room, model in _models(self._tables, self._request) if room.room > 0]
        while len(turns) > 1:
            turns = [turn for turn in turns if self._serve(turn)]
        while turns and self._serve(turns[0]):
            pass

    def answer(self) -> Claims:
        is_solo_waiting = bool(self._tables.solo_waiting) and self._is_solo_waiting()
        next_at = _next_at(self._tables, self._request, self._now)
        if self._held_until is not None:
            next_at = self._held_until if next_at is None else min(next_at, self._held_until)
        return Claims(self._claims, is_solo_waiting, next_at, self._ended)

    def _serve(self, turn: _Turn) -> bool:
        """Claim one head with its batch; tell whether the model's next turn may bring more."""
        if self._slots <= 0:
            return False
        rows: Sequence[Row] = ()
        while not rows:
            head = self._head(turn)
            if head is None:
                return False
            size = min(turn.room.batch_size, turn.spare)
            rows = (head,) if size <= 1 or head.is_solo else self._batch(turn, head, size)
        for row in rows:
            self._claims.append(_start(self._tables, row, self._request, self._now, self._groups))
        self._groups += 1
        self._slots -= 1
        turn.spare -= len(rows)
        return turn.spare > 0

    def _head(self, turn: _Turn) -> Row | None:
        """Return the first that may run, ending those before it that have expired."""
        while len(turn.held) < lifecycle.HELD_BATCHES:
            first: Entry | None = None
            for lane in turn.model.lanes.values():
                if not lane.state.is_paused:
                    first = _smaller(first, turn.first(lane) if turn.held else lane.ready.first)
                    if self._request.is_isolated:
                        first = _smaller(first, lane.solo.first)
            if first is None:
                return None
            row = first[2]
            if row.new.expire_at is None or not self._ends(row):
                return row
        return None

    def _batch(self, turn: _Turn, head: Row, size: int) -> list[Row]:
        """Return the head and those that join it: of its batch key, in order, until size or cost is reached.

        None of them when it is held back until there are more.
        """
        room = turn.room
        rows: list[Row] = []
        expired: list[Row] = []
        cost = 0
        is_full = False
        for _, _, row in turn.model.lanes[head.new.queue].mates(head):
            if has_expired(self._tables, row, self._now):
                expired.append(row)
                continue
            cost += row.new.cost
            if rows and (len(rows) == size or (room.batch_cost is not None and cost > room.batch_cost)):
                is_full = True
                break
            rows.append(row)
        for row in expired:
            self._ends(row)
        if room.batch_wait and not is_full and len(rows) < size and (room.batch_cost is None or cost < room.batch_cost):
            ready = (lifecycle.ready_since(row.created_at, row.not_before) for row in rows)
            until = lifecycle.batch_held_until(ready, room.batch_wait, self._now)
            if until is not None:
                turn.hold(head)
                self._held_until = until if self._held_until is None else min(self._held_until, until)
                return []
        return rows

    def _solo_head(self, lane: Lane) -> Row | None:
        """Return the first last chance that may run, ending those before it that have expired."""
        while not lane.state.is_paused and (first := lane.solo.first) is not None:
            if not self._ends(first[2]):
                return first[2]
        return None

    def _ends(self, row: Row) -> bool:
        """End a job instead of claiming it if it has expired."""
        if not has_expired(self._tables, row, self._now):
            return False
        expire_row(self._tables, row, self._now)
        self._ended.append(row.new.job_key)
        return True

    def _is_solo_waiting(self) -> bool:
        return not self._request.is_isolated and any(
            self._solo_head(lane) is not None
            for room, model in _models(self._tables, self._request)
            if room.limit is None or room.limit > 0
            for lane in model.lanes.values()
        )


def _start(tables: Tables, row: Row, request: ClaimRequest, now: int, group: int) -> Claim:
    tables.start(row, request.worker, now)
    new = row.new
    return Claim(
        new.owner,
        new.id,
        row.attempt,
        new.model,
        new.queue,
        new.input,
        new.content_type,
        group,
        row.is_solo,
        new.traceparent,
        None if row.history is None else row.history.checkpoint,
        row.failures,
        row.crashes,
        new.max_attempts,
        new.crash_budget,
        new.backoff,
        new.time_limit,
        new.deadline,
        row.created_at,
        now,
        new.metadata,
        None,
        row.not_before,
        row.revision,
        tuple(each for each in row.subscriptions if each.is_live) if row.subscriptions else (),
    )


def _models(tables: Tables, request: ClaimRequest) -> Iterator[tuple[ModelRoom, ModelLine]]:
    for room in request.models:
        model = tables.models.get(room.model)
        if model is not None:
            yield room, model


def _next_at(tables: Tables, request: ClaimRequest, now: int) -> int | None:
    firsts = [int(model.delayed.first[0]) for _, model in _models(tables, request) if model.delayed.first is not None]
    if not firsts:
        return None
    return max(min(firsts), now + tables.guard.paused_for())


def _smaller(left: Entry | None, right: Entry | None) -> Entry | None:
    if left is None:
        return right
    return left if right is None or left < right else right
