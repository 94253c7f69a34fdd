"""Interruptions: a cancelled await leaves no half-done step, no stuck lock and no lost job."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncinfer.abc import Claims, JobFilter, JobStore
from asyncinfer.testing.builders import LEASE, lease_of, new_job, new_jobs, request, room, success
from asyncinfer.testing.steps import LIMITS, accept, claim, finish_one, insert_one, start
from asyncinfer.testing.store_suite.store_case import StoreCase

R = TypeVar("R")


async def interrupted(call: Awaitable[R], passes: int) -> R | None:
    """Await a call for that many passes of the loop, then cancel it; return its answer if it was in time."""
    task = asyncio.ensure_future(call)
    for _ in range(passes):
        await asyncio.sleep(0)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


class InterruptionTests(StoreCase):
    async def test_a_cancelled_claim_loses_and_doubles_no_job(self, store: JobStore) -> None:
        jobs = new_jobs(40)
        await accept(store, *jobs)
        rng = random.Random(7)
        ended: list[str] = []

        async def finish_all(answer: Claims | None) -> None:
            for claimed in answer.claims if answer else ():
                assert await finish_one(store, success(claimed)) == "done"
                ended.append(claimed.id)

        for _ in range(100):
            await finish_all(await interrupted(claim(store, request(slots=2)), rng.randrange(8)))
        async with asyncio.timeout(20):
            while len(ended) < len(jobs):
                await finish_all(await claim(store))

        assert sorted(ended) == [job.id for job in jobs]

    async def test_a_cancelled_insert_is_stored_whole_or_not_at_all(self, store: JobStore) -> None:
        rng = random.Random(7)
        batches = [new_jobs(3) for _ in range(50)]
        for batch in batches:
            await interrupted(store.insert(batch, LIMITS), rng.randrange(8))
        await accept(store, new_job())

        for batch in batches:
            stored = await store.get([job.job_key for job in batch])
            assert len({job is None for job in stored}) == 1

    async def test_a_cancelled_finish_is_written_whole_or_not_at_all(self, store: JobStore) -> None:
        await accept(store, *new_jobs(50))
        rng = random.Random(7)
        for claimed in (await claim(store)).claims:
            await interrupted(store.finish([success(claimed, b"result")]), rng.randrange(8))
        await accept(store, new_job(model="other"))

        for job in (await store.find("alice", JobFilter(model="echo"), limit=100)).jobs:
            ended = job.finished_at is not None
            assert (job.status, job.has_result) == (("succeeded", True) if ended else ("running", False))

    async def test_a_cancelled_read_holds_up_nobody(self, store: JobStore) -> None:
        await accept(store, *new_jobs(20))
        claimed = await claim(store, request(slots=1))
        lease = lease_of(claimed.claims[0])
        reads: list[Callable[[], Awaitable[object]]] = [
            lambda: store.find("alice", JobFilter()),
            store.counts,
            lambda: store.get([claimed.claims[0].job_key]),
            lambda: store.events(claimed.claims[0].job_key),
            lambda: store.leases(None, 10),
            lambda: store.extend("worker-1", [lease], LEASE),
        ]
        rng = random.Random(7)

        for _ in range(60):
            await interrupted(rng.choice(reads)(), rng.randrange(6))

        async with asyncio.timeout(20):
            assert (await insert_one(store, new_job())).kind == "inserted"
            assert await finish_one(store, success(claimed.claims[0])) == "done"

    async def test_one_cancelled_call_does_not_cancel_its_neighbours(self, store: JobStore) -> None:
        jobs = new_jobs(30)
        calls = [asyncio.create_task(insert_one(store, job)) for job in jobs]
        await asyncio.sleep(0)

        for call in calls[::3]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)

        kept = [answer for n, answer in enumerate(answers) if n % 3]
        assert all(not isinstance(answer, BaseException) and answer.kind == "inserted" for answer in kept)

    async def test_a_full_life_works_after_many_interruptions(self, store: JobStore) -> None:
        for passes in range(20):
            await interrupted(insert_one(store, new_job(model="noise")), passes % 5)
            await interrupted(claim(store, request(worker="noise")), passes % 5)

        async with asyncio.timeout(20):
            claimed = await start(store, new_job(model="calm"), request(room("calm"), slots=1))
            assert await finish_one(store, success(claimed)) == "done"
