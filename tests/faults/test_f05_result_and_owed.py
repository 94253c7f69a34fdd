"""F5: a job's ending and its owed event are both there, or neither is.

Every move that can end a job is made through a store that fails before or after its part, and is repeated as the core
repeats it. Then a manager's own finish is failed in every way while jobs with a webhook run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct
from msgspec.structs import replace

from asyncinfer import JobKey, JobManager, Limits, Subscription, model
from asyncinfer.abc import Finish, Inserted, JobStore, NewJob, WriteAnswer
from asyncinfer.errors import OutcomeUnknown, StoreError, StoreUnavailable
from asyncinfer.testing import FakeClock, FaultyStore
from asyncinfer.testing.builders import LEASE, failure, lease_of, new_job, request, success
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish

pytestmark = pytest.mark.fault

HOOK = Subscription("https://hooks.example.com/cb")
Kind = Literal["memory", "sqlite"]
When = Literal["before", "after"]
Ending = Callable[[JobStore, FakeClock, NewJob], Awaitable[None]]
JOBS = {"pr": 40, "rel": 1_000}


class Figures(Struct, frozen=True):
    """What was found once every call had been repeated until it was answered."""

    ended: int
    still_live: int
    ended_without_owed: int
    owed_without_ending: int
    owed_twice: int


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.ended_without_owed:
        broken.append("every ending has its owed event")
    if figures.owed_without_ending or figures.owed_twice:
        broken.append("nothing is owed but one event for each ending")
    if figures.still_live:
        broken.append("every job ends")
    return broken


async def again(call: Callable[[], Awaitable[object]]) -> None:
    """Make a store call until it is answered, as the core does."""
    while True:
        try:
            await call()
        except StoreError:
            continue
        return


async def succeed(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    ((claim,),) = [answer.claims for answer in await store.claim([request()])]
    finish = success(claim)
    await again(lambda: store.finish([finish]))


async def fail(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    ((claim,),) = [answer.claims for answer in await store.claim([request()])]
    finish = failure(claim)
    await again(lambda: store.finish([finish]))


async def retry_what_should_be_canceled(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    ((claim,),) = [answer.claims for answer in await store.claim([request()])]
    await again(lambda: store.request_cancel([job.job_key]))
    finish = replace(failure(claim), outcome="retry")
    await again(lambda: store.finish([finish]))


async def give_back_what_should_be_canceled(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    ((claim,),) = [answer.claims for answer in await store.claim([request()])]
    await again(lambda: store.request_cancel([job.job_key]))
    await again(lambda: store.give_back([lease_of(claim)], b"move-give-back"))


async def cancel_waiting(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    await again(lambda: store.request_cancel([job.job_key]))


async def purge(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    await again(lambda: store.purge(None, job.queue))


async def rescue_at_the_crash_budget(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    await store.claim([request()])
    seen = await store.leases(None, 10)
    await again(lambda: store.rescue(seen))


async def expire(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    await clock.advance(20)
    await again(lambda: store.expire(10))


async def expire_in_a_claim(store: JobStore, clock: FakeClock, job: NewJob) -> None:
    await clock.advance(20)
    await again(lambda: store.claim([request()]))


ENDINGS: Sequence[tuple[Ending, str]] = (
    (succeed, "finish"),
    (fail, "finish"),
    (retry_what_should_be_canceled, "finish"),
    (give_back_what_should_be_canceled, "give_back"),
    (cancel_waiting, "request_cancel"),
    (purge, "purge"),
    (rescue_at_the_crash_budget, "rescue"),
    (expire, "expire"),
    (expire_in_a_claim, "claim"),
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("ending", "call"), ENDINGS, ids=[ending.__name__ for ending, _ in ENDINGS])
async def test_a_fault_beside_any_ending_parts_it_not_from_its_owed_event(
    ending: Ending, call: str, when: When, kind: Kind, tmp_path: Path
) -> None:
    clock = FakeClock()
    async with open_store(kind, tmp_path, clock) as store:
        faulty = FaultyStore(store)
        job = new_job(subscriptions=(HOOK,), crash_budget=1, expire_at=_expiry(ending, clock))
        await faulty.insert([job], Limits())
        faulty.fail(call, StoreUnavailable if when == "before" else OutcomeUnknown, when=when)
        await ending(faulty, clock, job)
        assert verdict(await figures_of(store, [job.job_key])) == []


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_manager_whose_finish_keeps_failing_owes_each_ending_once(
    kind: Kind, tmp_path: Path, size: Size
) -> None:
    async with open_store(kind, tmp_path) as store:
        faulty = FaultyStore(store)
        for nth in range(1, 60, 3):
            faulty.fail("finish", StoreUnavailable, when="before", nth=nth)
            faulty.fail("finish", OutcomeUnknown, when="after", nth=nth + 1)
        figures = await run_jobs(faulty, store, JOBS[size])
    publish(f"F5 {kind}", size, figures)
    assert verdict(figures) == []
    assert figures.ended == JOBS[size]


class ProcessDied(BaseException):
    """Stands for a death between two steps: nobody is left to repeat anything."""


class OwedAfterTheCommit(FaultyStore):
    """The protection removed: the subscription is added in a step of its own, once the finish has committed."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store)
        self._inner = store
        self._withheld: dict[JobKey, NewJob] = {}

    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        self._withheld |= {job.job_key: job for job in jobs}
        return await self._inner.insert([replace(job, subscriptions=()) for job in jobs], limits)

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        answers = await super().finish(items)
        owed = [self._withheld.pop(JobKey(item.owner, item.id)) for item in items]
        await self._inner.insert(owed, Limits())
        return answers


async def test_canary_an_owed_event_after_the_commit_is_lost() -> None:
    async with MemoryStore() as store:
        faulty = OwedAfterTheCommit(store)
        job = new_job(subscriptions=(HOOK,))
        await faulty.insert([job], Limits())
        faulty.fail("finish", ProcessDied, when="after")
        with pytest.raises(ProcessDied):
            await succeed(faulty, FakeClock(), job)
        assert "every ending has its owed event" in verdict(await figures_of(store, [job.job_key]))


async def run_jobs(faulty: FaultyStore, store: JobStore, count: int) -> Figures:
    """Run jobs with a webhook through a manager on the faulty store, and look at the healthy one."""

    @model
    async def every_third_fails(number: int) -> int:
        if number % 3 == 0:
            raise ValueError(number)
        return number

    hooked = every_third_fails.options(webhook=HOOK.target)
    async with JobManager(faulty, models=[every_third_fails]) as manager:
        handles = [await manager.submit(hooked, number) for number in range(count)]
        await asyncio.gather(*handles, return_exceptions=True)
        return await figures_of(store, [JobKey(handle.owner, handle.id) for handle in handles])


async def figures_of(store: JobStore, keys: Sequence[JobKey]) -> Figures:
    """Count endings and owed events."""
    owed = [JobKey(one.owner, one.id) for one in await store.outbox.owed(10_000, LEASE)]
    ended = {key for key, job in zip(keys, await store.get(keys), strict=True) if job is not None and job.is_terminal}
    return Figures(
        ended=len(ended),
        still_live=len(keys) - len(ended),
        ended_without_owed=len(ended - set(owed)),
        owed_without_ending=len(set(owed) - ended),
        owed_twice=len(owed) - len(set(owed)),
    )


@asynccontextmanager
async def open_store(kind: Kind, folder: Path, clock: FakeClock | None = None) -> AsyncGenerator[JobStore]:
    store: JobStore = MemoryStore(clock=clock) if kind == "memory" else SQLiteStore(folder / "jobs.db", clock=clock)
    async with store:
        yield store


def _expiry(ending: Ending, clock: FakeClock) -> int | None:
    return clock.now() + 10_000 if ending in (expire, expire_in_a_claim) else None
