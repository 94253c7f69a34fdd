"""How attempts end: finish, give back, rescue. Each is fenced by (running, attempt)."""

from __future__ import annotations

from collections.abc import Sequence

from asyncinfer import lifecycle
from asyncinfer.abc import Finish, Lease, RescueAnswer, RunningLease, WriteAnswer
from asyncinfer_sqlite._moves import (
    SQL,
    ClaimRef,
    Ending,
    MoveRow,
    Return,
    drop_checkpoints,
    end,
    holds,
    queue_again,
    rows_named,
    was_done,
)
from asyncinfer_sqlite._rows import INLINE_BYTES, error_blob
from asyncinfer_sqlite._transaction import Transaction


class Missed(Exception):
    """A guarded write met a job that is not as its claim left it."""


def finish(tx: Transaction, items: Sequence[Finish]) -> list[WriteAnswer]:
    """End attempts as their workers say. Most are as their claim left them, and are ended unread."""
    refs = [ref for item in items if isinstance(ref := item.ref, ClaimRef)]
    if tx.is_careful or len({ref.n for ref in refs}) != len(items):
        return _finish_carefully(tx, items)
    quick: list[Finish] = []
    slow: list[Finish] = []
    for item in items:
        is_quick = item.outcome != "retry" and isinstance(item.ref, ClaimRef) and not item.ref.is_subscribed
        (quick if is_quick else slow).append(item)
    _finish_quickly(tx, quick)
    answers = iter(_finish_carefully(tx, slow))
    unread = set(map(id, quick))
    return ["done" if id(item) in unread else next(answers) for item in items]


def _finish_quickly(tx: Transaction, items: Sequence[Finish]) -> None:
    if not items:
        return
    now = tx.now
    values: list[tuple[object, ...]] = []
    large: list[tuple[object, ...]] = []
    for item in items:
        ref, result, status = item.ref, item.result, item.outcome
        assert isinstance(ref, ClaimRef)
        assert status != "retry"
        if result is None or status != "succeeded":
            result = size = None
            keep = ref.retention_record
        else:
            size = len(result)
            keep = min(ref.retention_result, ref.retention_record)
            if size >= INLINE_BYTES:
                large.append((ref.n, result))
                result = None
        error = item.error
        values.append(
            (
                ref.n,
                item.attempt,
                item.id,
                item.owner,
                status,
                1 if status == "failed" else 0,
                now + keep,
                size,
                result,
                None if error is None else error_blob(error),
                item.move_id,
                "time_limit" if error is not None and error.code == "time_limit" else status,
            )
        )
        tx.count(item.owner, ref.line, "running", status, 0)
    if tx.write(SQL["end_running"], values, (now,)) != len(items):
        raise Missed
    tx.write(SQL["keep_result"], large)
    drop_checkpoints(tx, [ref.n for item in items if isinstance(ref := item.ref, ClaimRef)])


def _finish_carefully(tx: Transaction, items: Sequence[Finish]) -> list[WriteAnswer]:
    """End attempts one by one; a second write of the same attempt is told what the first has done."""
    if not items:
        return []
    answers: list[WriteAnswer] = []
    endings: list[Ending] = []
    returns: list[Return] = []
    ended: dict[int, bytes] = {}
    for item, row in zip(items, rows_named(tx, items), strict=True):
        if row is not None and row.n in ended:
            answers.append("done" if ended[row.n] == item.move_id else "lost")
        elif row is None or not holds(row, item.attempt):
            answers.append("done" if was_done(tx, row, item.attempt, item.move_id) else "lost")
        else:
            ended[row.n] = item.move_id
            _decide(item, row, endings, returns)
            answers.append("done")
    end(tx, endings)
    queue_again(tx, returns)
    return answers


def _decide(item: Finish, row: MoveRow, endings: list[Ending], returns: list[Return]) -> None:
    status = lifecycle.status_after_finish(item.outcome, cancel_requested=row.cancel_requested_at is not None)
    charged = 1 if item.outcome in ("failed", "retry") else 0
    if status == "queued":
        returns.append(
            Return(
                row,
                "retried",
                error=item.error,
                move_id=item.move_id,
                not_before=item.not_before,
                keeps_tag=False,
                failures=charged,
            )
        )
        return
    result = item.result if status == "succeeded" else None
    how = "retried" if item.outcome == "retry" else None
    if how is None and item.error is not None and item.error.code == "time_limit":
        how = "time_limit"
    endings.append(
        Ending(row, status, error=item.error, result=result, move_id=item.move_id, how=how, failures=charged)
    )


def give_back(tx: Transaction, items: Sequence[tuple[Lease, bytes]]) -> list[WriteAnswer]:
    """Return attempts to the queue uncharged, in their old place."""
    answers: list[WriteAnswer] = []
    endings: list[Ending] = []
    returns: list[Return] = []
    ended: set[int] = set()
    for (lease, move_id), row in zip(items, rows_named(tx, [lease for lease, _ in items]), strict=True):
        if row is None or not holds(row, lease.attempt):
            answers.append("done" if was_done(tx, row, lease.attempt, move_id) else "lost")
            continue
        answers.append("done")
        if row.n in ended:
            continue
        ended.add(row.n)
        if lifecycle.status_after_give_back(cancel_requested=row.cancel_requested_at is not None) == "canceled":
            endings.append(Ending(row, "canceled", move_id=move_id, how="given_back"))
        else:
            returns.append(Return(row, "given_back", move_id=move_id))
    end(tx, endings)
    queue_again(tx, returns)
    return answers


def rescue(tx: Transaction, items: Sequence[RunningLease]) -> list[RescueAnswer]:
    """Take back attempts that are as they were observed; each is charged one crash."""
    answers: list[RescueAnswer] = []
    endings: list[Ending] = []
    returns: list[Return] = []
    taken: set[int] = set()
    for item, row in zip(items, rows_named(tx, items), strict=True):
        if row is None or not holds(row, item.attempt) or row.renewals != item.renewals or row.n in taken:
            answers.append("held")
            continue
        taken.add(row.n)
        answers.append(_decide_rescue(row, endings, returns))
    end(tx, endings)
    queue_again(tx, returns)
    return answers


def _decide_rescue(row: MoveRow, endings: list[Ending], returns: list[Return]) -> RescueAnswer:
    crashes = row.crashes + 1
    status = lifecycle.status_after_rescue(
        crashes=crashes, crash_budget=row.fixed.crash_budget, cancel_requested=row.cancel_requested_at is not None
    )
    if status == "queued":
        error = lifecycle.worker_lost_error(row.worker or "", row.attempt)
        returns.append(Return(row, "rescued", error=error, crashes=1))
        return "queued"
    if status == "failed":
        error = lifecycle.crash_budget_error(crashes, row.attempt)
        endings.append(Ending(row, "failed", error=error, how="rescued", crashes=1))
        return "failed"
    endings.append(Ending(row, "canceled", how="rescued", crashes=1))
    return "canceled"
