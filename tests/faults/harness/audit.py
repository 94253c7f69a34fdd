"""What a store holds once all is over, read through its contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from asyncinfer.abc import Job, JobKey, JobStore, StatusEvent
from asyncinfer.lifecycle import TERMINAL

PAGE = 500


class Audited(Struct, frozen=True):
    """One job as it stands at the end. `job` is None when the store does not know it."""

    id: str
    job: Job | None
    terminal_moves: int
    owed_events: int


async def audit(store: JobStore, ids: Iterable[str]) -> Sequence[Audited]:
    """Return how each of these jobs of the unnamed owner stands; leases every owed event."""
    asked = list(ids)
    owed = await _owed(store)
    jobs = await jobs_of(store, asked)
    return [
        Audited(job_id, jobs.get(job_id), await _terminal_moves(store, JobKey("", job_id)), owed[job_id])
        for job_id in asked
    ]


async def jobs_of(store: JobStore, ids: Sequence[str]) -> Mapping[str, Job]:
    """Return these jobs of the unnamed owner by id; those that the store does not know are missing."""
    jobs: dict[str, Job] = {}
    for start in range(0, len(ids), PAGE):
        found = await store.get([JobKey("", job_id) for job_id in ids[start : start + PAGE]])
        jobs |= {job.id: job for job in found if job is not None}
    return jobs


async def _owed(store: JobStore) -> Counter[str]:
    counts: Counter[str] = Counter()
    while page := await store.outbox.owed(PAGE, lease=3_600_000):
        counts.update(owed.id for owed in page)
    return counts


async def _terminal_moves(store: JobStore, key: JobKey) -> int:
    moves, after = 0, 0
    while True:
        page = await store.events(key, after, PAGE)
        moves += sum(isinstance(event, StatusEvent) and event.status in TERMINAL for event in page.events)
        if not page.has_more:
            return moves
        after = page.events[-1].id
