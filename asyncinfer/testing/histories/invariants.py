"""What no store may ever do to a job in one step, whatever it was told."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from asyncinfer.abc import Job, StatusEvent, StoredEvent
from asyncinfer.lifecycle import TERMINAL, is_legal


def broken_by_step(before: Job | None, after: Job | None) -> Iterator[str]:
    """Say which rules a step broke that led from `before` to `after`."""
    if before is None:
        return
    if after is None:
        if before.status == "running":
            yield "a running job was forgotten"
        return
    if before.status != after.status and not is_legal(before.status, after.status):
        yield f"no move leads from {before.status} to {after.status}"
    if before.is_terminal and _lasting(before) != _lasting(after):
        yield "a job changed after its end"
    begun = before.status == "queued" and after.status == "running"
    if after.attempt != before.attempt + begun:
        yield f"attempt {before.attempt} became {after.attempt}"
    if after.revision < before.revision or (after.status != before.status and after.revision == before.revision):
        yield f"revision {before.revision} became {after.revision}"
    for name in ("failures", "crashes"):
        if getattr(after, name) - getattr(before, name) not in (0, 1):
            yield f"{name} went from {getattr(before, name)} to {getattr(after, name)}"


def broken_by_history(job: Job, events: list[StoredEvent]) -> Iterator[str]:
    """Say which rules the events of a job break."""
    numbers = [event.id for event in events]
    if numbers != sorted(set(numbers)):
        yield f"event ids {numbers} do not only grow"
    if numbers[-1:] > [job.revision]:
        yield f"the newest event is {numbers[-1]}, the revision {job.revision}"
    statuses = [event for event in events if isinstance(event, StatusEvent)]
    endings = [event for event in statuses if event.status in TERMINAL]
    if len(endings) != job.is_terminal:
        yield f"{len(endings)} terminal events of a job that is {job.status}"
    if statuses and statuses[-1].status != job.status:
        yield f"the newest status event says {statuses[-1].status}, the record {job.status}"


def _lasting(job: Job) -> Job:
    """Return what is left of a terminal record when results are pruned and subscribers join."""
    return replace(job, result=None, has_result=False, has_subscriptions=False)
