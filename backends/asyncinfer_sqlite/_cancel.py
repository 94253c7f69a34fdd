"""Ending what waits: cancellation by the owner, and expiry."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from asyncinfer import lifecycle
from asyncinfer.abc import CancelAnswer, JobKey, Lease, Status
from asyncinfer_sqlite._moves import Ending, MoveRow, end, rows_named, rows_of
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction

_SQL = load("settle")


def request_cancel(
    tx: Transaction, keys: Sequence[JobKey], statuses: Sequence[Status]
) -> list[tuple[JobKey, CancelAnswer | None]]:
    """Cancel queued jobs, mark running ones; with `statuses`, pass over a job that has left them since it was found."""
    answers: list[tuple[JobKey, CancelAnswer | None]] = []
    endings: dict[int, Ending] = {}
    for key, row in zip(keys, named(tx, keys), strict=True):
        if statuses and (row is None or row.status not in statuses):
            continue
        answers.append((key, None if row is None else _cancel(tx, row, endings)))
    end(tx, list(endings.values()))
    return answers


def _cancel(tx: Transaction, row: MoveRow, endings: dict[int, Ending]) -> CancelAnswer:
    if row.n in endings or row.status not in ("queued", "running"):
        return "terminal"
    if row.status == "queued":
        endings[row.n] = Ending(row, "canceled")
        return "canceled"
    tx.execute(_SQL["mark_canceled"], (tx.now, row.n))
    return "requested"


def has_expired(connection: sqlite3.Connection, now: int) -> bool:
    """Tell whether any queued job has waited too long."""
    return connection.execute(_SQL["expired"].text, (now, 1)).fetchone() is not None


def expire(tx: Transaction, limit: int) -> list[JobKey]:
    """Fail queued jobs that have waited too long."""
    if tx.paused_for:
        return []
    numbers = [row[0] for row in tx.all(_SQL["expired"], (tx.now, limit))]
    rows = rows_of(tx, numbers)
    expired = [rows[n] for n in numbers]
    end(
        tx,
        [Ending(row, "failed", error=lifecycle.expired_error(row.fixed.expire_code, row.attempt)) for row in expired],
    )
    return [JobKey(row.owner, row.id) for row in expired]


def named(tx: Transaction, keys: Sequence[JobKey]) -> list[MoveRow | None]:
    """Return each job by key, or None."""
    return rows_named(tx, [Lease(key.owner, key.id, 0) for key in keys])
