"""Forgetting, in order of time: results, records, tombstones; and jobs that somebody deletes."""

from __future__ import annotations

from typing import Literal

from asyncinfer_memory._endings import cancel_row
from asyncinfer_memory._rows import Row
from asyncinfer_memory._tables import Tables


def prune(tables: Tables, limit: int, tombstone: int, now: int) -> tuple[int, list[Row]]:
    """Forget at most `limit` things; return how many, and the rows that are gone."""
    gone: list[Row] = []
    pruned = 0
    while pruned < limit and (first := tables.ended.first) is not None and first[0] <= now:
        row = first[2]
        pruned += 1
        assert row.forget_at is not None
        if row.forget_at <= now:
            tables.forget(row, now)
            gone.append(row)
        else:
            tables.release(row)
            row.result = None
            tables.retain(row)
    return pruned + _prune_tombstones(tables, limit - pruned, tombstone, now), gone


def _prune_tombstones(tables: Tables, limit: int, tombstone: int, now: int) -> int:
    pruned = 0
    for _ in range(limit):
        first = tables.tombstones.first
        if first is None or first[0] + tombstone > now:
            break
        tables.tombstones.remove(first)
        stone = first[2]
        if stone.key is not None and stone.key_until is not None and stone.key_until > now:
            # The key must hold longer: the tombstone waits for it, as if the job had been pruned later.
            tables.tombstones.add((stone.key_until - tombstone, stone.n, stone))
            continue
        tables.forget_tombstone(stone)
        pruned += 1
    return pruned


def delete_row(tables: Tables, row: Row, now: int) -> Literal["deleted", "running"]:
    """Forget an ended job, cancel and forget a queued one; a running one stays."""
    if row.status == "running":
        return "running"
    if row.status == "queued":
        cancel_row(tables, row, now)
    tables.forget(row, now)
    return "deleted"
