"""What the tests of a store do again and again, as single steps that check what they rest on."""

from __future__ import annotations

from collections.abc import Sequence

from asyncinfer.abc import (
    Claim,
    ClaimRequest,
    Claims,
    Finish,
    Inserted,
    Job,
    JobKey,
    JobStore,
    Limits,
    NewJob,
    Owed,
    RescueAnswer,
    RunningLease,
    StatusEvent,
    StoredEvent,
    WriteAnswer,
)
from asyncinfer.testing.builders import LEASE, PLENTY, new_job, request

LIMITS = Limits()


async def insert_one(store: JobStore, job: NewJob, limits: Limits = LIMITS) -> Inserted:
    """Insert one job and return its answer."""
    (answer,) = await store.insert([job], limits)
    return answer


async def accept(store: JobStore, *jobs: NewJob) -> None:
    """Insert jobs that must be accepted."""
    answers = await store.insert(jobs, LIMITS)
    assert [answer.kind for answer in answers] == ["inserted"] * len(jobs), answers


async def claim(store: JobStore, asked: ClaimRequest | None = None) -> Claims:
    """Answer one claim request; without one, whatever is ready of the model `echo`."""
    (answer,) = await store.claim([asked or request()])
    return answer


async def claim_one(store: JobStore, asked: ClaimRequest | None = None) -> Claim:
    """Claim exactly one job: the next."""
    answer = await claim(store, asked or request(slots=1))
    (claimed,) = answer.claims
    return claimed


async def start(store: JobStore, job: NewJob | None = None, asked: ClaimRequest | None = None) -> Claim:
    """Insert a job and claim it; nothing else may be ready."""
    job = job or new_job()
    await accept(store, job)
    claimed = await claim_one(store, asked)
    assert claimed.job_key == job.job_key
    return claimed


async def finish_one(store: JobStore, ending: Finish) -> WriteAnswer:
    """End one attempt and return the answer."""
    (answer,) = await store.finish([ending])
    return answer


async def end(store: JobStore, ending: Finish) -> Job:
    """End one attempt, which must be held, and return the job."""
    assert await finish_one(store, ending) == "done"
    return await get_one(store, JobKey(ending.owner, ending.id))


async def get_one(store: JobStore, key: JobKey) -> Job:
    """Return a job that must be there."""
    (job,) = await store.get([key])
    assert job is not None
    return job


async def find_one(store: JobStore, key: JobKey) -> Job | None:
    """Return a job, or None where there is none."""
    (job,) = await store.get([key])
    return job


async def running(store: JobStore, key: JobKey) -> RunningLease:
    """Return the lease of a job that must be running."""
    (found,) = [lease for lease in await store.leases(None, PLENTY) if (lease.owner, lease.id) == key]
    return found


async def rescue_one(store: JobStore, key: JobKey) -> RescueAnswer:
    """Rescue a running job as an observer that has proof would."""
    (answer,) = await store.rescue([await running(store, key)])
    return answer


async def crash(store: JobStore, key: JobKey, times: int = 1) -> None:
    """Let the next `times` attempts of a waiting job die with their worker."""
    for _ in range(times):
        claimed = await claim_one(store)
        assert claimed.job_key == key
        assert await rescue_one(store, key) == "queued"


async def events_of(store: JobStore, key: JobKey) -> Sequence[StoredEvent]:
    """Return every stored event of a job."""
    page = await store.events(key, 0, PLENTY)
    return page.events


async def last_status_event(store: JobStore, key: JobKey) -> StatusEvent:
    """Return the newest status event of a job."""
    return [event for event in await events_of(store, key) if isinstance(event, StatusEvent)][-1]


async def owed_now(store: JobStore) -> Sequence[Owed]:
    """Lease and return whatever is owed."""
    return await store.outbox.owed(PLENTY, LEASE)
