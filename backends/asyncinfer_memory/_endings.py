"""How attempts and jobs end: finish, give back, rescue, cancel, expire. Each is fenced by (running, attempt)."""

from __future__ import annotations

from asyncinfer import lifecycle
from asyncinfer.abc import CancelAnswer, ExtendAnswer, Finish, Lease, RescueAnswer, RunningLease, WriteAnswer
from asyncinfer_memory._rows import Row
from asyncinfer_memory._tables import Tables


def finish_one(tables: Tables, item: Finish, now: int) -> WriteAnswer:
    row = tables.row(item.owner, item.id)
    if row is None or row.status != "running" or row.attempt != item.attempt:
        return "done" if _has_made(row, item.attempt, item.move_id) else "lost"
    row.move_id = item.move_id
    if item.outcome == "failed" or item.outcome == "retry":
        row.failures += 1
    status = lifecycle.status_after_finish(item.outcome, cancel_requested=row.cancel_requested_at is not None)
    if status == "queued":
        tables.queue_again(row, now, ending="retried", error=item.error, not_before=item.not_before, keeps_tag=False)
        return "done"
    if status == "succeeded":
        row.result = item.result
    tables.end(row, status, now, error=item.error, ending=_ending_of(item))
    return "done"


def give_back_one(tables: Tables, lease: Lease, move_id: bytes, now: int) -> WriteAnswer:
    row = tables.row(lease.owner, lease.id)
    if row is None or row.status != "running" or row.attempt != lease.attempt:
        return "done" if _has_made(row, lease.attempt, move_id) else "lost"
    row.move_id = move_id
    if lifecycle.status_after_give_back(cancel_requested=row.cancel_requested_at is not None) == "canceled":
        tables.end(row, "canceled", now, ending="given_back")
    else:
        tables.queue_again(row, now, ending="given_back", error=None, not_before=None, keeps_tag=True)
    return "done"


def rescue_one(tables: Tables, item: RunningLease, now: int) -> RescueAnswer:
    row = tables.row(item.owner, item.id)
    if row is None or row.status != "running" or row.attempt != item.attempt or row.renewals != item.renewals:
        return "held"
    row.crashes += 1
    budget = row.new.crash_budget
    row.is_solo = lifecycle.is_last_chance(crashes=row.crashes, crash_budget=budget)
    status = lifecycle.status_after_rescue(
        crashes=row.crashes, crash_budget=budget, cancel_requested=row.cancel_requested_at is not None
    )
    if status == "queued":
        error = lifecycle.worker_lost_error(row.worker or "", row.attempt, item.error)
        tables.queue_again(row, now, ending="rescued", error=error, not_before=None, keeps_tag=True)
        return "queued"
    if status == "failed":
        error = lifecycle.crash_budget_error(row.crashes, row.attempt, item.error)
        tables.end(row, "failed", now, error=error, ending="rescued")
        return "failed"
    tables.end(row, "canceled", now, ending="rescued")
    return "canceled"


def extend_one(tables: Tables, lease: Lease) -> ExtendAnswer:
    row = tables.row(lease.owner, lease.id)
    if row is None or row.status != "running" or row.attempt != lease.attempt:
        return "lost"
    row.renewals += 1
    return "held" if row.cancel_requested_at is None else "cancel"


def cancel_row(tables: Tables, row: Row, now: int) -> CancelAnswer:
    """Cancel a queued job, mark a running one."""
    if row.finished_at is not None:
        return "terminal"
    if row.status == "queued":
        tables.end(row, "canceled", now)
        return "canceled"
    if row.cancel_requested_at is None:
        row.cancel_requested_at = now
        row.revision += 1
        tables.changed(row)
    return "requested"


def has_expired(tables: Tables, row: Row, now: int) -> bool:
    """Tell whether a queued job has waited past its `expire_at`; while the clock is in doubt none has."""
    expire_at = row.new.expire_at
    return expire_at is not None and expire_at <= now and not tables.guard.is_paused()


def expire_row(tables: Tables, row: Row, now: int) -> None:
    tables.end(row, "failed", now, error=lifecycle.expired_error(row.new.expire_code, row.attempt))


def _has_made(row: Row | None, attempt: int, move_id: bytes) -> bool:
    """Tell whether this very write has ended that attempt before: its answer was lost, not its effect."""
    if row is None:
        return False
    if row.attempt == attempt and row.move_id == move_id:
        return True
    return row.history is not None and (attempt, move_id) in row.history.moves


def _ending_of(item: Finish) -> str:
    if item.outcome == "retry":
        return "retried"
    if item.error is not None and item.error.code == "time_limit":
        return "time_limit"
    return item.outcome
