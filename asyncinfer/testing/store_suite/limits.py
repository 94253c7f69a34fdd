"""Limits: refused in insert's own step, exactly at their number."""

from __future__ import annotations

import asyncio
from collections import Counter

from asyncinfer.abc import JobStore, Limits, QueueLimits
from asyncinfer.testing.builders import lease_of, move_id, new_job, new_jobs
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, find_one, insert_one, start
from asyncinfer.testing.store_suite.store_case import StoreCase


class LimitTests(StoreCase):
    async def test_a_queue_takes_jobs_up_to_its_limit_exactly(self, store: JobStore) -> None:
        answers = await store.insert(new_jobs(5), Limits(queued_jobs=3))

        assert [answer.kind for answer in answers] == ["inserted"] * 3 + ["full"] * 2
        assert {answer.limit for answer in answers[3:]} == {"queued_jobs"}

    async def test_inserts_at_once_do_not_overrun_the_limit(self, store: JobStore) -> None:
        answers = await asyncio.gather(
            *(insert_one(store, job, Limits(queued_jobs=10)) for job in new_jobs(40)),
        )

        assert Counter(answer.kind for answer in answers) == {"inserted": 10, "full": 30}

    async def test_a_refused_job_leaves_nothing(self, store: JobStore) -> None:
        job = new_job()

        await insert_one(store, job, Limits(queued_jobs=0))

        assert await find_one(store, job.job_key) is None
        assert not await store.is_tombstone(job.job_key)
        assert not (await claim(store)).claims

    async def test_each_queue_has_its_own_room(self, store: JobStore) -> None:
        limits = Limits(queued_jobs=1, queues={"wide": QueueLimits(queued_jobs=2)})
        jobs = [new_job(queue=queue) for queue in ("default", "default", "wide", "wide", "wide", "third")]

        answers = await store.insert(jobs, limits)

        assert [answer.kind for answer in answers] == ["inserted", "full", "inserted", "inserted", "full", "inserted"]

    async def test_running_jobs_leave_their_room_to_others(self, store: JobStore) -> None:
        await start(store)

        answer = await insert_one(store, new_job(), Limits(queued_jobs=1))

        assert answer.kind == "inserted"

    async def test_a_delayed_job_takes_room(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(not_before=clock.now() + 10_000))

        answer = await insert_one(store, new_job(), Limits(queued_jobs=1))

        assert (answer.kind, answer.limit) == ("full", "queued_jobs")

    async def test_a_job_given_back_takes_its_room_again(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.give_back([lease_of(claimed)], move_id())

        answer = await insert_one(store, new_job(), Limits(queued_jobs=1))

        assert answer.kind == "full"

    async def test_a_canceled_job_leaves_its_room(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)
        await store.request_cancel([job.job_key])

        answer = await insert_one(store, new_job(), Limits(queued_jobs=1, queued_bytes=len(job.input)))

        assert answer.kind == "inserted"

    async def test_waiting_bytes_are_bounded_exactly(self, store: JobStore) -> None:
        limits = Limits(queued_bytes=10)

        answers = await store.insert([new_job(input=b"12345") for _ in range(3)], limits)

        assert [answer.kind for answer in answers] == ["inserted", "inserted", "full"]
        assert answers[2].limit == "queued_bytes"

    async def test_a_smaller_input_still_fits(self, store: JobStore) -> None:
        limits = Limits(queued_bytes=10)

        answers = await store.insert([new_job(input=b"x" * size) for size in (6, 5, 4)], limits)

        assert [answer.kind for answer in answers] == ["inserted", "full", "inserted"]

    async def test_bytes_are_free_again_when_a_job_is_claimed(self, store: JobStore) -> None:
        await start(store, new_job(input=b"x" * 10))

        answer = await insert_one(store, new_job(input=b"y" * 10), Limits(queued_bytes=10))

        assert answer.kind == "inserted"

    async def test_an_owners_quota_counts_all_queues(self, store: JobStore) -> None:
        limits = Limits(owner_queued_jobs=2)
        jobs = [new_job(queue=queue) for queue in ("a", "b", "c")] + [new_job(owner="bob", queue="c")]

        answers = await store.insert(jobs, limits)

        assert [answer.kind for answer in answers] == ["inserted", "inserted", "full", "inserted"]
        assert answers[2].limit == "owner_queued_jobs"

    async def test_a_limit_below_what_waits_refuses_and_keeps(self, store: JobStore) -> None:
        await accept(store, *new_jobs(3))

        answer = await insert_one(store, new_job(), Limits(queued_jobs=1))

        assert answer.kind == "full"
        assert len((await claim(store)).claims) == 3
