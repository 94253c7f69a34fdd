"""Counts by queue and model, and places in line."""

from __future__ import annotations

import sqlite3

from asyncinfer.abc import Counts, JobKey
from asyncinfer_sqlite._jobs import SQL, asked_key
from asyncinfer_sqlite._rows import asked
from asyncinfer_sqlite._sql import Statement


def counts(connection: sqlite3.Connection, owner: str | None, queue: str | None) -> list[Counts]:
    """Return the counts of one owner, or of all, and a line for each paused queue."""
    paused = {row[0] for row in connection.execute(SQL["paused"].text).fetchall()}
    if owner is None:
        rows = connection.execute(SQL["counts"].text).fetchall()
    else:
        rows = connection.execute(SQL["counts_of_owner"].text, (asked(owner),)).fetchall()
    found = [
        Counts(
            queue=row[0],
            model=row[1],
            queued=row[3],
            running=row[4],
            succeeded=row[5],
            failed=row[6],
            canceled=row[7],
            queued_bytes=row[8],
            oldest_queued_at=_oldest(connection, owner, row[2]) if row[3] else None,
            is_paused=row[0] in paused,
        )
        for row in rows
        if any(row[3:8]) and (queue is None or row[0] == queue)
    ]
    named = {line.queue for line in found}
    found += [
        Counts(queue=name, model="", is_paused=True)
        for name in paused
        if name not in named and (queue is None or name == queue)
    ]
    return sorted(found, key=lambda line: (line.queue, line.model))


def _oldest(connection: sqlite3.Connection, owner: str | None, line: int) -> int | None:
    if owner is not None:
        return _one(connection, SQL["oldest_of_owner"], (owner, line))
    numbers = [_one(connection, SQL[name], (line,)) for name in ("oldest_ready", "oldest_solo", "oldest_delayed")]
    oldest = min((n for n in numbers if n is not None), default=None)
    return None if oldest is None else _one(connection, SQL["created_at"], (oldest,))


def position(connection: sqlite3.Connection, key: JobKey) -> int | None:
    """Return how many ready jobs of its model stand before a ready one."""
    row = connection.execute(SQL["place"].text, asked_key(key)).fetchone()
    if row is None or row[3] == "delayed":
        return None
    n, mine, tag, _ = row
    lines = connection.execute(SQL["lines_beside"].text, (mine,)).fetchall()
    if any(is_paused for line, is_paused in lines if line == mine):
        return None
    return sum(
        _one(connection, SQL[name], (line, tag, tag, n)) or 0
        for line, is_paused in lines
        if not is_paused
        for name in ("ready_before", "solo_before")
    )


def _one(connection: sqlite3.Connection, statement: Statement, values: tuple[object, ...]) -> int | None:
    row = connection.execute(statement.text, values).fetchone()
    return None if row is None else row[0]
