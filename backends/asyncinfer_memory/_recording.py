"""What a running attempt tells: progress, output, checkpoints."""

from __future__ import annotations

from asyncinfer.abc import Limits, OutputEvent, ProgressEvent, Record
from asyncinfer_memory._tables import Tables


def record_one(tables: Tables, item: Record, limits: Limits, now: int) -> int | None:
    """Store what one attempt tells; return the job's revision, or None when the attempt is no longer running."""
    row = tables.row(item.owner, item.id)
    if row is None or row.status != "running" or row.attempt != item.attempt:
        return None
    history = row.the_history
    if item.move_id and history.told[:2] == (item.attempt, item.move_id):
        return history.told[2]
    if item.progress is not None:
        row.revision += 1
        history.progress = ProgressEvent(id=row.revision, attempt=row.attempt, at=now, progress=item.progress)
    for data in item.output:
        row.revision += 1
        history.output.append(OutputEvent(id=row.revision, attempt=row.attempt, at=now, data=data))
    excess = len(history.output) - limits.events_per_job
    if excess > 0:
        history.dropped_id = history.output[excess - 1].id
        del history.output[:excess]
    if item.checkpoint is not None:
        history.checkpoint = item.checkpoint
    history.told = (item.attempt, item.move_id, row.revision)
    tables.changed(row)
    return row.revision
