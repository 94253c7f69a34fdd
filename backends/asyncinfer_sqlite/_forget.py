"""Forgetting: results, then records, then tombstones; and jobs that their owner deletes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from asyncinfer.abc import JobKey, Status
from asyncinfer_sqlite._cancel import named
from asyncinfer_sqlite._moves import Ending, MoveRow, end
from asyncinfer_sqlite._rows import fixed_or_default, tombstone_blob
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction, as_list

_SQL = load("settle")
_CHILDREN = ("drop_inputs", "drop_large_results", "drop_reports", "drop_outputs", "drop_attempts", "drop_dedups")
DeleteAnswer = Literal["deleted", "running"]


def prune(tx: Transaction, limit: int, tombstone: int) -> int:
    """Forget what is past its time, at most `limit` things."""
    if tx.paused_for:
        return 0
    pruned = _prune_ended(tx, limit)
    pruned += _prune_tombstones(tx, limit - pruned, tombstone)
    if pruned < limit:
        tx.execute(_SQL["forget_flows"])
        tx.known.flows.clear()
        tx.execute(_SQL["forget_tallies"])
    return pruned


def _prune_ended(tx: Transaction, limit: int) -> int:
    due = tx.all(_SQL["due"], (tx.now, limit))
    dropped: list[tuple[int, int]] = []
    gone: list[tuple[int, str, str, int, Status, bytes]] = []
    for n, owner, id_, line, status, finished_at, blob in due:
        forget_at = finished_at + fixed_or_default(blob).retention_record
        if forget_at <= tx.now:
            gone.append((n, owner, id_, line, status, blob))
        else:
            dropped.append((n, forget_at))
    tx.write(_SQL["drop_results"], dropped)
    tx.execute(_SQL["drop_large_results"], (as_list(n for n, _ in dropped),))
    _bury(tx, gone)
    return len(due)


def _prune_tombstones(tx: Transaction, limit: int, tombstone: int) -> int:
    found = tx.all(_SQL["tombstones"], (tx.now - tombstone, limit))
    gone: list[int] = []
    for n, key_until, _, _ in found:
        if key_until is not None and key_until > tx.now:
            # The key must hold longer: the tombstone waits for it, as if the job had been pruned later.
            tx.execute(_SQL["keep_tombstone"], (key_until - tombstone, n))
        else:
            gone.append(n)
    if gone:
        tx.execute(_SQL["forget"], (as_list(gone),))
    return len(gone)


def delete(
    tx: Transaction, keys: Sequence[JobKey], statuses: Sequence[Status]
) -> list[tuple[JobKey, DeleteAnswer | None]]:
    """Forget ended jobs, cancel and forget queued ones; running ones stay. `statuses` as in request_cancel."""
    answers: list[tuple[JobKey, DeleteAnswer | None]] = []
    rows: dict[int, MoveRow] = {}
    for key, row in zip(keys, named(tx, keys), strict=True):
        if statuses and (row is None or row.status not in statuses):
            continue
        if row is None or row.n in rows:
            answers.append((key, None))
        elif row.status == "running":
            answers.append((key, "running"))
        else:
            rows[row.n] = row
            answers.append((key, "deleted"))
    end(tx, [Ending(row, "canceled") for row in rows.values() if row.status == "queued"])
    _bury(tx, [(row.n, row.owner, row.id, row.line, row.status, row.fixed_blob) for row in rows.values()])
    return answers


def _bury(tx: Transaction, gone: Sequence[tuple[int, str, str, int, Status, bytes]]) -> None:
    if not gone:
        return
    numbers = as_list(each[0] for each in gone)
    for child in _CHILDREN:
        tx.execute(_SQL[child], (numbers,))
    tx.execute(_SQL["drop_subscriptions"], (numbers,))
    tx.write(_SQL["bury"], [(each[0], tx.now, tombstone_blob(fixed_or_default(each[5]))) for each in gone])
    for _, owner, id_, line, status, _ in gone:
        tx.execute(_SQL["drop_deliveries"], (owner, id_))
        tx.count(owner, line, status, None, 0)
