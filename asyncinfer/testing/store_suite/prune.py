"""Prune and delete: how a job is forgotten, and what stays of it."""

from __future__ import annotations

import pytest

from asyncinfer.abc import JobFilter, JobKey, JobStore
from asyncinfer.errors import InvalidOption
from asyncinfer.testing.builders import failure, new_job, new_jobs, subscription, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    accept,
    claim,
    claim_one,
    end,
    events_of,
    find_one,
    get_one,
    insert_one,
    owed_now,
    start,
)
from asyncinfer.testing.store_suite.store_case import StoreCase

TOMBSTONE = 10_000


class PruneTests(StoreCase):
    async def test_a_result_is_forgotten_before_its_record(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, new_job(retention_result=5_000, retention_record=10_000))
        await end(store, success(claimed))
        await clock.advance(6)

        await store.prune(100, TOMBSTONE)

        job = await get_one(store, claimed.job_key)
        assert (job.status, job.result) == ("succeeded", None)

    async def test_nothing_is_forgotten_before_its_time(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, new_job(retention_result=5_000, retention_record=10_000))
        ended = await end(store, success(claimed))
        await clock.advance(4.999)

        assert await store.prune(100, TOMBSTONE) == 0

        assert await get_one(store, claimed.job_key) == ended

    async def test_a_forgotten_job_leaves_a_tombstone_only(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_result=1_000, retention_record=2_000)
        await end(store, success(await start(store, job)))
        await clock.advance(3)

        await store.prune(100, TOMBSTONE)

        assert await find_one(store, job.job_key) is None
        assert await store.is_tombstone(job.job_key)
        assert list(await events_of(store, job.job_key)) == []
        assert list(await store.attempts(job.job_key)) == []
        assert list(await store.submissions([job.job_key])) == [None]
        assert list((await store.find("alice", JobFilter())).jobs) == []

    async def test_the_id_of_a_tombstone_is_gone(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_result=0, retention_record=0)
        await end(store, success(await start(store, job)))
        await clock.advance(1)
        await store.prune(100, TOMBSTONE)

        answer = await insert_one(store, job)

        assert (answer.kind, answer.id) == ("gone", job.id)

    async def test_a_tombstone_belongs_to_its_owner(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_result=0, retention_record=0)
        await end(store, success(await start(store, job)))
        await clock.advance(1)
        await store.prune(100, TOMBSTONE)

        assert not await store.is_tombstone(JobKey("bob", job.id))

    async def test_a_tombstone_is_forgotten_after_its_time(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_result=0, retention_record=0)
        await end(store, success(await start(store, job)))
        await clock.advance(1)
        await store.prune(100, TOMBSTONE)
        await clock.advance(11)

        await store.prune(100, TOMBSTONE)

        assert not await store.is_tombstone(job.job_key)
        assert (await insert_one(store, job)).kind == "inserted"

    async def test_jobs_that_have_not_ended_are_never_pruned(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, new_job(retention_result=0, retention_record=0))
        waiting = new_job(retention_result=0, retention_record=0)
        await accept(store, waiting)
        await clock.advance(30)

        assert await store.prune(100, TOMBSTONE) == 0

        jobs = await store.get([claimed.job_key, waiting.job_key])
        assert [job.status for job in jobs if job] == ["running", "queued"]

    async def test_a_call_prunes_no_more_than_its_limit(self, store: JobStore, clock: FakeClock) -> None:
        jobs = new_jobs(5, retention_result=0, retention_record=0)
        await accept(store, *jobs)
        await store.request_cancel([job.job_key for job in jobs])
        await clock.advance(1)

        pruned = [await store.prune(2, TOMBSTONE) for _ in range(3)]

        assert max(pruned) <= 2
        assert list(await store.get([job.job_key for job in jobs])) == [None] * 5

    async def test_a_job_that_is_still_owed_is_kept(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_result=0, retention_record=0, subscriptions=(subscription(),))
        await end(store, success(await start(store, job)))
        await clock.advance(1)

        await store.prune(100, TOMBSTONE)
        assert await find_one(store, job.job_key) is not None
        (owed,) = await owed_now(store)
        await store.outbox.expand([(owed, ())])
        await store.prune(100, TOMBSTONE)

        assert await find_one(store, job.job_key) is None


class DeleteTests(StoreCase):
    async def test_an_ended_job_is_forgotten_at_once(self, store: JobStore) -> None:
        job = new_job()
        await end(store, success(await start(store, job)))

        assert list(await store.delete([job.job_key])) == [(job.job_key, "deleted")]

        assert await find_one(store, job.job_key) is None
        assert await store.is_tombstone(job.job_key)
        assert (await insert_one(store, job)).kind == "gone"

    async def test_a_waiting_job_is_never_run(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        assert list(await store.delete([job.job_key])) == [(job.job_key, "deleted")]

        assert not (await claim(store)).claims
        assert await store.is_tombstone(job.job_key)

    async def test_a_waiting_job_that_is_deleted_leaves_its_room(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        await store.delete([job.job_key])

        assert sum(count.queued for count in await store.counts()) == 0
        assert sum(count.queued_bytes for count in await store.counts()) == 0

    async def test_a_tombstone_stays_while_its_ending_is_owed(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(subscriptions=(subscription(),))
        await accept(store, job)
        await store.delete([job.job_key])
        await clock.advance(1)

        await store.prune(100, tombstone=0)
        assert await store.is_tombstone(job.job_key)
        (owed,) = await owed_now(store)
        await store.outbox.expand([(owed, ())])
        await clock.advance(1)
        await store.prune(100, tombstone=0)

        assert not await store.is_tombstone(job.job_key)

    async def test_a_tombstone_whose_time_passes_while_its_ending_is_owed_goes_at_the_next_prune(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        job = new_job(subscriptions=(subscription(),))
        await accept(store, job)
        await store.delete([job.job_key])
        await clock.advance(20)
        await store.prune(100, tombstone=0)
        (owed,) = await owed_now(store)
        await store.outbox.expand([(owed, ())])

        await store.prune(100, tombstone=20_000)

        assert not await store.is_tombstone(job.job_key)

    async def test_a_running_job_is_left(self, store: JobStore) -> None:
        claimed = await start(store)

        assert list(await store.delete([claimed.job_key])) == [(claimed.job_key, "running")]

        assert (await get_one(store, claimed.job_key)).status == "running"

    async def test_unknown_and_other_owners_jobs_are_answered_none(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)
        bobs, nobody = JobKey("bob", job.id), JobKey("alice", "nobody")

        assert list(await store.delete([bobs, nobody])) == [(bobs, None), (nobody, None)]

        assert await find_one(store, job.job_key) is not None

    async def test_a_filter_deletes_what_matches_of_one_owner(self, store: JobStore) -> None:
        await end(store, failure(await start(store)))
        kept = await end(store, success(await start(store)))
        theirs = new_job(owner="bob")
        await end(store, failure(await start(store, theirs)))

        answers = await store.delete(owner="alice", matching=JobFilter(status=("failed",)))

        assert [answer for _, answer in answers] == ["deleted"]
        assert await find_one(store, kept.job_key) is not None
        assert await find_one(store, theirs.job_key) is not None

    async def test_an_empty_filter_deletes_nothing_and_is_refused(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        with pytest.raises(InvalidOption):
            await store.delete(owner="alice", matching=JobFilter())

        assert await find_one(store, job.job_key) is not None

    async def test_a_key_of_a_deleted_job_still_holds(self, store: JobStore) -> None:
        job = new_job(key="order-7")
        await end(store, success(await start(store, job)))
        await store.delete([job.job_key])

        answer = await insert_one(store, new_job(key="order-7"))

        assert (answer.kind, answer.id) == ("gone", job.id)


class PurgeTests(StoreCase):
    async def test_every_waiting_job_of_the_queue_is_canceled(self, store: JobStore, clock: FakeClock) -> None:
        jobs = [new_job(owner="alice"), new_job(owner="bob"), new_job(not_before=clock.now() + 9_000)]
        other = new_job(queue="other")
        await accept(store, *jobs, other)

        purged = await store.purge(None, "default")

        assert set(purged) == {job.job_key for job in jobs}
        assert {job.status for job in await store.get([job.job_key for job in jobs]) if job} == {"canceled"}
        assert (await get_one(store, other.job_key)).status == "queued"

    async def test_a_purge_of_one_owner_leaves_the_others(self, store: JobStore) -> None:
        mine, theirs = new_job(owner="alice"), new_job(owner="bob")
        await accept(store, mine, theirs)

        assert list(await store.purge("alice", "default")) == [mine.job_key]

        assert (await claim_one(store)).id == theirs.id

    async def test_running_and_ended_jobs_are_left(self, store: JobStore) -> None:
        ended = await end(store, success(await start(store)))
        claimed = await start(store)

        assert list(await store.purge(None, "default")) == []

        jobs = await store.get([ended.job_key, claimed.job_key])
        assert [(job.status, job.cancel_requested_at) for job in jobs if job] == [
            ("succeeded", None),
            ("running", None),
        ]

    async def test_the_unscoped_owner_is_an_owner_like_any_other(self, store: JobStore) -> None:
        unscoped, alices = new_job(owner=""), new_job(owner="alice")
        await accept(store, unscoped, alices)

        assert list(await store.purge("", "default")) == [unscoped.job_key]
