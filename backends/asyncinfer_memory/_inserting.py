"""Accepting jobs: who answers for a submission already, what is wrong with it, and whether there is room."""

from __future__ import annotations

from asyncinfer.abc import Inserted, Limits, NewJob, Subscription
from asyncinfer_memory._faults import fault_of
from asyncinfer_memory._rows import Row
from asyncinfer_memory._shelves import Shelf
from asyncinfer_memory._tables import Tables


def insert_one(tables: Tables, new: NewJob, limits: Limits, now: int) -> Inserted:
    """Answer one submission, in the contract's order: key, dedup, id, pruned id, limits."""
    fault = fault_of(new)
    if fault:
        return Inserted("bad", new.id, message=fault)
    shelf = tables.shelves.get(new.owner)
    if shelf is not None:
        answer = _answered_before(tables, shelf, new, now)
        if answer is not None:
            return answer
    limit = _limit_reached(tables, shelf, new, limits)
    if limit:
        return Inserted("full", new.id, limit=limit)
    tables.insert(new, now)
    return Inserted("inserted", new.id, "queued", "", "", now)


def _answered_before(tables: Tables, shelf: Shelf, new: NewJob, now: int) -> Inserted | None:
    if new.key is not None:
        held = shelf.keys.get(new.key)
        if held is not None:
            return _answer_of(tables, shelf, held, new)
    if new.dedup is not None:
        row = shelf.dedups.get((new.model, new.dedup))
        if row is not None and _answers_for_duplicates(tables, row, now):
            return _existing(tables, row, new)
    if new.id in shelf.rows or new.id in shelf.tombstones:
        return _answer_of(tables, shelf, new.id, new)
    return None


def _answer_of(tables: Tables, shelf: Shelf, held: str, new: NewJob) -> Inserted:
    """Answer for a key or an id that is taken by the job `held`, which may have been pruned."""
    row = shelf.rows.get(held)
    if row is None:
        same = shelf.tombstones[held].fingerprint == new.fingerprint
        return Inserted("gone" if same or held == new.id else "conflict", held)
    if row.new.fingerprint != new.fingerprint:
        return Inserted("conflict", held, row.status)
    return _existing(tables, row, new)


def _answers_for_duplicates(tables: Tables, row: Row, now: int) -> bool:
    if row.status == "failed" or row.status == "canceled":
        return False
    until = row.new.dedup_until
    return until is None or now < until or tables.guard.is_paused()


def _existing(tables: Tables, row: Row, new: NewJob) -> Inserted:
    added = tuple(each for each in new.subscriptions if each not in row.subscriptions)
    if added:
        subscribe(tables, row, added)
    return Inserted("existing", row.new.id, row.status)


def subscribe(tables: Tables, row: Row, added: tuple[Subscription, ...]) -> None:
    """Add subscriptions to a stored job; what it has ended in already is owed at once."""
    row.subscriptions += added
    if row.finished_at is not None:
        tables.owe(row, added)


def _limit_reached(tables: Tables, shelf: Shelf | None, new: NewJob, limits: Limits) -> str:
    jobs, size = limits.of_queue(new.queue) if limits.queues else (limits.queued_jobs, limits.queued_bytes)
    queue = tables.queues.get(new.queue)
    if queue is None:
        queued_jobs = queued_bytes = 0
    else:
        queued_jobs, queued_bytes = queue.queued_jobs, queue.queued_bytes
    if queued_jobs >= jobs:
        return "queued_jobs"
    if queued_bytes + len(new.input) > size:
        return "queued_bytes"
    quota = limits.owner_queued_jobs
    if quota is not None and (0 if shelf is None else shelf.queued_jobs) >= quota:
        return "owner_queued_jobs"
    return ""
