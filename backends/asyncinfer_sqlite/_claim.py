"""Choosing what to run next: between models a head each in turn, within a model the smallest tag."""

from __future__ import annotations

from collections.abc import Sequence

from asyncinfer import lifecycle
from asyncinfer.abc import Claim, ClaimRequest, Claims, JobKey, ModelRoom
from asyncinfer_sqlite._heads import SQL, Heads, has_apart, lines_of, mates, promote
from asyncinfer_sqlite._known import Head, Line
from asyncinfer_sqlite._moves import ClaimRef, subscriptions_of
from asyncinfer_sqlite._transaction import Transaction, as_list

_READ_AHEAD = 256


def look(tx: Transaction, requests: Sequence[ClaimRequest]) -> list[Claims] | None:
    """Answer claims that would find nothing, without the write lock; None when a claim must be made."""
    for request in requests:
        for line in _lines(tx, request):
            if _may_find(tx, request, line):
                return None
    return [_answer(tx, request, []) for request in requests]


def claim(tx: Transaction, requests: Sequence[ClaimRequest]) -> list[Claims]:
    """Serve the requests in order, but a solo job first: it needs a worker that got nothing else."""
    for worker in {request.worker for request in requests}:
        tx.tie(worker)
    is_apart = has_apart(tx)
    if is_apart:
        for model in dict.fromkeys(room.model for request in requests for room in request.models):
            promote(tx, model)
    alone: dict[str, tuple[int, Claim]] = {}
    for at, request in enumerate(requests if is_apart else ()):
        if request.is_idle and not request.is_isolated and request.worker not in alone:
            claimed = _claim_solo(tx, request)
            if claimed is not None:
                alone[request.worker] = (at, claimed)
    answers: list[Claims] = []
    for at, request in enumerate(requests):
        if request.worker in alone:
            chosen, claimed = alone[request.worker]
            answers.append(_answer(tx, request, [claimed] if chosen == at else []))
        else:
            claiming = _Claiming(tx, request)
            claims = claiming.claims()
            answers.append(_answer(tx, request, claims, claiming.held_until))
    return answers


class _Turn:
    """One model's part in a claim."""

    def __init__(self, tx: Transaction, room: ModelRoom, request: ClaimRequest) -> None:
        self.room = room
        self.spare = room.room
        ahead = max(1, min(room.room, request.slots * max(1, room.batch_size), _READ_AHEAD))
        lines = [line.number for line in lines_of(tx, room.model) if not line.is_paused]
        self._ready = {line: Heads(tx, SQL["ready"], (line,), ahead) for line in lines}
        solo = [Heads(tx, SQL["solo"], (line,), ahead) for line in lines] if request.is_isolated else []
        self._heads = [*self._ready.values(), *solo]
        self._held = 0

    def head(self, taken: set[int]) -> Head | None:
        """Return the first of all lines that may run and is not held back."""
        if self._held == lifecycle.HELD_BATCHES:
            return None
        firsts = [head for heads in self._heads if (head := heads.first(taken)) is not None]
        if len(firsts) > 1:
            firsts.sort(key=_place_of)
        return firsts[0] if firsts else None

    def hold(self, head: Head) -> None:
        """Hold back a batch, and all jobs of its line and key."""
        self._ready[head.line].held.add(head.batch_key)
        self._held += 1


class _Claiming:
    """One request being served."""

    def __init__(self, tx: Transaction, request: ClaimRequest) -> None:
        self._tx = tx
        self._request = request
        self._slots = request.slots
        self._taken: set[int] = set()
        self._claims: list[Claim] = []
        self._groups = 0
        self.held_until: int | None = None
        """When the first batch that was held back goes."""

    def claims(self) -> list[Claim]:
        request = self._request
        turns = [_Turn(self._tx, room, request) for room in request.models if room.room > 0]
        while turns:
            turns = [turn for turn in turns if self._serve(turn)]
        _begin(self._tx, request, self._taken)
        return self._claims

    def _serve(self, turn: _Turn) -> bool:
        """Claim one head with its batch; tell whether the model's next turn may bring more."""
        if self._slots <= 0:
            return False
        batch: list[Head] = []
        while not batch:
            head = turn.head(self._taken)
            if head is None:
                return False
            batch = self._batch(turn, head)
        for each in batch:
            self._taken.add(each.n)
            self._claims.append(_claim_of(self._tx, each, self._request, turn.room.model, self._groups))
        self._groups += 1
        self._slots -= 1
        turn.spare -= len(batch)
        return turn.spare > 0

    def _batch(self, turn: _Turn, head: Head) -> list[Head]:
        """Return the head and who joins it: of its line and batch key, in order, until size or cost is reached.

        None of them when it is held back until there are more.
        """
        room = turn.room
        size = min(room.batch_size, turn.spare)
        batch = [head]
        if size <= 1 or head.is_solo:
            return batch
        cost = head.fixed.cost
        for mate in mates(self._tx, head, 2 * size):
            cost += mate.fixed.cost
            if len(batch) == size or (room.batch_cost is not None and cost > room.batch_cost):
                return batch
            if mate.n not in self._taken:
                batch.append(mate)
        if room.batch_wait and len(batch) < size and (room.batch_cost is None or cost < room.batch_cost):
            ready = (lifecycle.ready_since(each.created_at, each.not_before) for each in batch)
            until = lifecycle.batch_held_until(ready, room.batch_wait, self._tx.now)
            if until is not None:
                turn.hold(head)
                self.held_until = until if self.held_until is None else min(self.held_until, until)
                return []
        return batch


def _claim_solo(tx: Transaction, request: ClaimRequest) -> Claim | None:
    if request.slots <= 0:
        return None
    for room in request.models:
        for line in lines_of(tx, room.model):
            head = _solo_head(tx, line) if room.room > 0 else None
            if head is not None:
                claimed = _claim_of(tx, head, request, room.model, 0)
                _begin(tx, request, {head.n})
                return claimed
    return None


def _solo_head(tx: Transaction, line: Line) -> Head | None:
    """Return the first last chance that may run, ending those before it that have expired."""
    return None if line.is_paused else Heads(tx, SQL["solo"], (line.number,), 1).first(set())


def _claim_of(tx: Transaction, head: Head, request: ClaimRequest, model: str, group: int) -> Claim:
    fixed, n = head.fixed, head.n
    tx.advance(model, head.tag)
    tx.count(head.owner, head.line, "queued", "running", head.input_bytes)
    tx.known.fresh.pop(n, None)
    return Claim(
        head.owner,
        head.id,
        head.attempt + 1,
        model,
        tx.names(head.line)[1],
        _large_input(tx, head) if head.input is None else head.input,
        fixed.content_type,
        group,
        lifecycle.is_last_chance(crashes=head.crashes, crash_budget=fixed.crash_budget),
        fixed.traceparent,
        _checkpoint(tx, n) if head.attempt else None,
        head.failures,
        head.crashes,
        fixed.max_attempts,
        fixed.crash_budget,
        fixed.backoff,
        fixed.time_limit,
        fixed.deadline,
        head.created_at,
        tx.now,
        fixed.metadata,
        ClaimRef(n, head.owner, head.line, head.is_subscribed, fixed.retention_result, fixed.retention_record),
        head.not_before,
        head.revision + 1,
        tuple(each for each in subscriptions_of(tx, n) if each.is_live) if head.is_subscribed else (),
    )


def _large_input(tx: Transaction, head: Head) -> bytes:
    # A lost or damaged one is no input of any model: it fails where inputs are decoded.
    row = tx.one(SQL["input"], (head.n,))
    return row[0] if row is not None and isinstance(row[0], bytes) else b""


def _checkpoint(tx: Transaction, n: int) -> bytes | None:
    row = tx.one(SQL["checkpoint"], (n,))
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def _begin(tx: Transaction, request: ClaimRequest, numbers: set[int]) -> None:
    if not numbers:
        return
    changed = tx.execute(SQL["begin"], (request.worker, tx.now, as_list(numbers))).rowcount
    if changed != len(numbers):
        raise RuntimeError(f"a claim began {changed} jobs where {len(numbers)} were queued")


def _answer(tx: Transaction, request: ClaimRequest, claims: list[Claim], held_until: int | None = None) -> Claims:
    if not has_apart(tx):
        return Claims(claims, False, held_until, _take_ended(tx))
    firsts = [first for line in _lines(tx, request) if (first := _next_delayed(tx, line)) is not None]
    next_at = max(min(firsts), tx.now + tx.paused_for) if firsts else None
    if held_until is not None:
        next_at = held_until if next_at is None else min(next_at, held_until)
    is_solo_waiting = not request.is_isolated and any(
        _solo_head(tx, line) is not None
        for room in request.models
        if room.limit is None or room.limit > 0
        for line in lines_of(tx, room.model)
    )
    return Claims(claims, is_solo_waiting, next_at, _take_ended(tx))


def _take_ended(tx: Transaction) -> list[JobKey]:
    """Return the heads that were ended for this answer; the next answer of the batch tells of its own."""
    ended, tx.ended_heads = tx.ended_heads, []
    return ended


def _may_find(tx: Transaction, request: ClaimRequest, line: Line) -> bool:
    if not line.is_paused and tx.all(SQL["has_ready"], (line.number,))[0][0]:
        return True
    if not has_apart(tx):
        return False
    first = _next_delayed(tx, line)
    if first is not None and first <= tx.now and not tx.paused_for:
        return True
    solo = None if line.is_paused else tx.one(SQL["first_solo"], (line.number,))
    if solo is None:
        return False
    # One that has expired is ended by whoever meets it.
    return request.is_idle or request.is_isolated or (solo[0] is not None and solo[0] <= tx.now)


def _next_delayed(tx: Transaction, line: Line) -> int | None:
    found: int | None = tx.all(SQL["next_delayed"], (line.number,))[0][0]
    return found


def _lines(tx: Transaction, request: ClaimRequest) -> list[Line]:
    return [line for room in request.models for line in lines_of(tx, room.model)]


def _place_of(head: Head) -> tuple[float, int]:
    return head.place
