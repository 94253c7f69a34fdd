"""Lifetime: opening, closing, opening again, and several at once on one place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncinfer.abc import JobStore, Progress, Record
from asyncinfer.errors import StoreError
from asyncinfer.testing.builders import lease_of, move_id, new_job, new_jobs, request, subscription, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    LIMITS,
    accept,
    claim,
    claim_one,
    end,
    events_of,
    find_one,
    finish_one,
    get_one,
    insert_one,
    owed_now,
    start,
)
from asyncinfer.testing.store_suite.store_case import OpenStore, StoreCase, durable, shared


class CloseTests(StoreCase):
    async def test_closing_twice_is_no_error(self, store: JobStore) -> None:
        await store.close()
        await store.close()

    async def test_a_store_that_was_never_opened_can_be_closed(self, clock: FakeClock, tmp_path: Path) -> None:
        await self.make_store(clock, tmp_path).close()

    async def test_what_has_started_is_completed_by_closing(self, store: JobStore, open_store: OpenStore) -> None:
        durable(store)
        jobs = new_jobs(50)
        calls = [asyncio.create_task(insert_one(store, job)) for job in jobs]
        await asyncio.sleep(0)

        await store.close()
        answers = await asyncio.gather(*calls, return_exceptions=True)

        again = await open_store()
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, BaseException):
                assert isinstance(answer, StoreError)
            else:
                assert answer.kind == "inserted"
                assert await find_one(again, job.job_key) is not None

    async def test_a_closed_store_says_so(self, store: JobStore) -> None:
        durable(store)
        await store.close()

        with pytest.raises(StoreError):
            await insert_one(store, new_job())


class ReopenTests(StoreCase):
    async def test_an_answered_insert_is_there_after_a_restart(self, store: JobStore, open_store: OpenStore) -> None:
        durable(store)
        job = new_job(input=b"x" * 5_000, labels={"a": "b"})
        await accept(store, job)
        before = await get_one(store, job.job_key)
        await store.close()

        again = await open_store()

        assert await get_one(again, job.job_key) == before
        assert (await claim_one(again)).input == job.input

    async def test_a_result_and_its_history_are_there_after_a_restart(
        self, store: JobStore, open_store: OpenStore
    ) -> None:
        durable(store)
        claimed = await start(store, new_job(subscriptions=(subscription(),)))
        await store.record([Record(*claimed.job_key, 1, Progress(fraction=0.5), (b"out",), ref=claimed.ref)], LIMITS)
        ended = await end(store, success(claimed, b"r" * 5_000))
        history, attempts = await events_of(store, ended.job_key), await store.attempts(ended.job_key)
        await store.close()

        again = await open_store()

        assert await get_one(again, ended.job_key) == ended
        assert list(await events_of(again, ended.job_key)) == list(history)
        assert list(await again.attempts(ended.job_key)) == list(attempts)
        assert len(await owed_now(again)) == 1

    async def test_a_running_attempt_may_end_after_its_store_reopened(
        self, store: JobStore, open_store: OpenStore
    ) -> None:
        durable(store)
        claimed = await start(store)
        await store.close()

        again = await open_store()

        assert await finish_one(again, success(claimed)) == "done"

    async def test_the_fair_order_survives_a_restart(self, store: JobStore, open_store: OpenStore) -> None:
        durable(store)
        await accept(store, *new_jobs(50, owner="alice"))
        await claim(store, request(slots=20))
        await store.close()
        again = await open_store()
        newcomer = new_job(owner="bob")
        await accept(again, newcomer)

        assert newcomer.id in {claimed.id for claimed in (await claim(again, request(slots=2))).claims}
        assert {claimed.owner for claimed in (await claim(again, request(slots=2))).claims} == {"alice"}

    async def test_keys_and_tombstones_survive_a_restart(
        self, store: JobStore, open_store: OpenStore, clock: FakeClock
    ) -> None:
        durable(store)
        job = new_job(key="order-7", retention_result=0, retention_record=0)
        await end(store, success(await start(store, job)))
        await clock.advance(1)
        await store.prune(10, tombstone=20_000)
        await store.close()

        again = await open_store()

        assert await again.is_tombstone(job.job_key)
        assert (await insert_one(again, new_job(key="order-7"))).kind == "gone"

    async def test_a_delayed_job_becomes_ready_after_a_restart(
        self, store: JobStore, open_store: OpenStore, clock: FakeClock
    ) -> None:
        durable(store)
        job = new_job(not_before=clock.now() + 10_000)
        await accept(store, job)
        await store.close()
        again = await open_store()
        await clock.advance(11)

        assert (await claim_one(again)).id == job.id


class SharedTests(StoreCase):
    async def test_eight_may_open_a_new_store_at_once(self, store: JobStore, open_store: OpenStore) -> None:
        shared(store)
        await store.close()

        stores = await asyncio.gather(*(open_store() for _ in range(8)))

        for each in stores:
            await accept(each, new_job())
        assert sum(count.queued for count in await stores[0].counts()) == 8

    async def test_what_one_has_answered_the_other_sees(self, open_store: OpenStore) -> None:
        here, there = await open_store(), await open_store()
        shared(here)
        job = new_job()
        await accept(here, job)

        claimed = await claim_one(there)
        await end(there, success(claimed))

        assert (await get_one(here, job.job_key)).result == b"result"

    async def test_two_claim_at_once_and_take_no_job_twice(self, open_store: OpenStore) -> None:
        here, there = await open_store(), await open_store()
        shared(here)
        jobs = new_jobs(100)
        await accept(here, *jobs)

        answers = await asyncio.gather(*(claim(store, request(slots=3)) for store in (here, there) * 20))

        taken = [claimed.id for answer in answers for claimed in answer.claims]
        assert sorted(taken) == [job.id for job in jobs]

    async def test_one_key_through_two_makes_one_job(self, open_store: OpenStore) -> None:
        here, there = await open_store(), await open_store()
        shared(here)
        jobs = new_jobs(40, key="order-7")

        answers = await asyncio.gather(
            *(insert_one((here, there)[n % 2], job) for n, job in enumerate(jobs)),
        )

        assert sorted(answer.kind for answer in answers) == ["existing"] * 39 + ["inserted"]
        assert len({answer.id for answer in answers}) == 1

    async def test_an_attempt_claimed_through_one_may_end_through_the_other(self, open_store: OpenStore) -> None:
        here, there = await open_store(), await open_store()
        shared(here)
        claimed = await start(here)

        assert list(await there.extend("worker-1", [lease_of(claimed)], 60_000)) == ["held"]
        assert list(await there.give_back([lease_of(claimed)], move_id())) == ["done"]

        assert await finish_one(here, success(claimed)) == "lost"
