"""How attempts end: finish, give back, rescue. Each is fenced by (running, attempt)."""

from __future__ import annotations

from collections.abc import Sequence

from asyncinfer import lifecycle
from asyncinfer.abc import Finish, JobError, Lease, RescueAnswer, RunningLease, WriteAnswer
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
from asyncinfer_sqlite._rows import INLINE_BYTES
from asyncinfer_sqlite._transaction import Transaction


class Missed(Exception):
    """A guarded write met a job that is not as its claim left it."""


def finish(tx: Transaction, items: Sequence[Finish]) -> list[WriteAnswer]:
    """End attempts as their workers say. Most have succeeded and are as their claim left them: those are not read."""
    if tx.is_careful or len({item.ref for item in items if isinstance(item.ref, ClaimRef)}) != len(items):
        return _finish_carefully(tx, items)
    quick: dict[int, list[tuple[Finish, ClaimRef]]] = {}
    slow: list[Finish] = []
    slow_at: list[int] = []
    for at, item in enumerate(items):
        ref = item.ref
        if (
            item.outcome != "succeeded"
            or item.error is not None
            or not isinstance(ref, ClaimRef)
            or ref.is_subscribed
            or ref.owner != item.owner
        ):
            slow.append(item)
            slow_at.append(at)
        else:
            result_kept = ref.retention_record if item.result is None else ref.retention_result
            kept = result_kept if result_kept < ref.retention_record else ref.retention_record
            quick.setdefault(kept, []).append((item, ref))
    for kept, ended in quick.items():
        _succeed(tx, ended, kept)
    answers: list[WriteAnswer] = ["done"] * len(items)
    for at, answer in zip(slow_at, _finish_carefully(tx, slow), strict=True):
        answers[at] = answer
    return answers


def _succeed(tx: Transaction, ended: Sequence[tuple[Finish, ClaimRef]], kept: int) -> None:
    values: list[tuple[object, ...]] = []
    large: list[tuple[object, ...]] = []
    for item, ref in ended:
        result = item.result
        size = None if result is None else len(result)
        if size is not None and size >= INLINE_BYTES:
            large.append((ref.n, result))
            result = None
        values.append((ref.n, item.attempt, item.id, size, result, item.move_id))
        tx.count(ref.owner, ref.line, "running", "succeeded", 0)
    if tx.write(SQL["succeed"], values, (tx.now, tx.now + kept)) != len(ended):
        raise Missed
    tx.write(SQL["keep_result"], large)
    drop_checkpoints(tx, [ref.n for _, ref in ended])


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
        answers.append(_decide_rescue(row, item.error, endings, returns))
    end(tx, endings)
    queue_again(tx, returns)
    return answers


def _decide_rescue(row: MoveRow, cause: JobError | None, endings: list[Ending], returns: list[Return]) -> RescueAnswer:
    if type(row.attempt) is not int:
        # A damaged fence: no worker can hold it, and no next attempt can be counted.
        error = lifecycle.undecodable_error(f"its attempt is {row.attempt!r}", 0)
        endings.append(Ending(row, "failed", error=error, how="rescued"))
        return "failed"
    crashes = row.crashes + 1
    status = lifecycle.status_after_rescue(
        crashes=crashes, crash_budget=row.fixed.crash_budget, cancel_requested=row.cancel_requested_at is not None
    )
    if status == "queued":
        error = lifecycle.worker_lost_error(row.worker or "", row.attempt, cause)
        returns.append(Return(row, "rescued", error=error, crashes=1))
        return "queued"
    if status == "failed":
        error = lifecycle.crash_budget_error(crashes, row.attempt, cause)
        endings.append(Ending(row, "failed", error=error, how="rescued", crashes=1))
        return "failed"
    endings.append(Ending(row, "canceled", how="rescued", crashes=1))
    return "canceled"
