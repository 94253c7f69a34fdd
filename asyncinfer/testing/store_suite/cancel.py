"""Request cancel: a queued job ends at once, a running one is asked to."""

from __future__ import annotations

import pytest

from asyncinfer.abc import JobFilter, JobKey, JobStore, StatusEvent
from asyncinfer.errors import InvalidOption
from asyncinfer.testing.builders import failure, new_job, new_jobs, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, end, events_of, get_one, last_status_event, start
from asyncinfer.testing.store_suite.store_case import StoreCase


class CancelTests(StoreCase):
    async def test_a_queued_job_ends_canceled_at_once(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_record=5_000)
        await accept(store, job)

        answers = await store.request_cancel([job.job_key])

        assert list(answers) == [(job.job_key, "canceled")]
        ended = await get_one(store, job.job_key)
        assert (ended.status, ended.revision, ended.attempt) == ("canceled", 2, 0)
        assert (ended.finished_at, ended.forget_at) == (clock.now(), clock.now() + 5_000)
        assert await last_status_event(store, job.job_key) == StatusEvent(2, 0, clock.now(), "canceled")
        assert not (await claim(store)).claims

    async def test_a_running_job_is_marked_and_goes_on(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        await clock.advance(1)

        answers = await store.request_cancel([claimed.job_key])

        assert list(answers) == [(claimed.job_key, "requested")]
        job = await get_one(store, claimed.job_key)
        assert (job.status, job.cancel_requested_at, job.revision) == ("running", clock.now(), 3)

    async def test_a_wish_to_cancel_is_no_event(self, store: JobStore) -> None:
        claimed = await start(store)

        await store.request_cancel([claimed.job_key])

        assert [event.id for event in await events_of(store, claimed.job_key)] == [1, 2]

    async def test_a_second_wish_changes_nothing(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        await store.request_cancel([claimed.job_key])
        first = await get_one(store, claimed.job_key)
        await clock.advance(1)

        answers = await store.request_cancel([claimed.job_key])

        assert list(answers) == [(claimed.job_key, "requested")]
        assert await get_one(store, claimed.job_key) == first

    async def test_an_ended_job_is_left_as_it_is(self, store: JobStore) -> None:
        claimed = await start(store)
        ended = await end(store, success(claimed))

        assert list(await store.request_cancel([claimed.job_key])) == [(claimed.job_key, "terminal")]

        assert await get_one(store, claimed.job_key) == ended

    async def test_an_unknown_job_is_answered_none(self, store: JobStore) -> None:
        nobody = JobKey("alice", "nobody")

        assert list(await store.request_cancel([nobody])) == [(nobody, None)]

    async def test_another_owners_job_is_not_canceled(self, store: JobStore) -> None:
        job = new_job(owner="alice")
        await accept(store, job)
        bobs = JobKey("bob", job.id)

        assert list(await store.request_cancel([bobs])) == [(bobs, None)]

        assert (await get_one(store, job.job_key)).status == "queued"

    async def test_a_delayed_job_ends_at_once(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(not_before=clock.now() + 10_000)
        await accept(store, job)

        assert list(await store.request_cancel([job.job_key])) == [(job.job_key, "canceled")]

    async def test_answers_come_in_the_order_of_the_keys(self, store: JobStore) -> None:
        claimed = await start(store)
        job = new_job()
        await accept(store, job)
        nobody = JobKey("alice", "nobody")

        answers = await store.request_cancel([nobody, job.job_key, claimed.job_key])

        assert list(answers) == [(nobody, None), (job.job_key, "canceled"), (claimed.job_key, "requested")]

    async def test_the_same_key_twice_ends_the_job_once(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        answers = await store.request_cancel([job.job_key, job.job_key])

        assert list(answers) == [(job.job_key, "canceled"), (job.job_key, "terminal")]
        assert (await get_one(store, job.job_key)).revision == 2


class CancelMatchingTests(StoreCase):
    async def test_a_filter_cancels_what_matches_of_one_owner(self, store: JobStore) -> None:
        mine, other_label = new_job(labels={"run": "7"}), new_job(labels={"run": "8"})
        theirs = new_job(owner="bob", labels={"run": "7"})
        await accept(store, mine, other_label, theirs)

        answers = await store.request_cancel(owner="alice", matching=JobFilter(labels={"run": "7"}))

        assert list(answers) == [(mine.job_key, "canceled")]
        assert (await get_one(store, other_label.job_key)).status == "queued"
        assert (await get_one(store, theirs.job_key)).status == "queued"

    async def test_a_filter_without_an_owner_reaches_every_owner(self, store: JobStore) -> None:
        jobs = [new_job(owner=owner, queue="q") for owner in ("alice", "bob", "")]
        await accept(store, *jobs, new_job(queue="other"))

        answers = await store.request_cancel(matching=JobFilter(queue="q"))

        assert dict(answers) == {job.job_key: "canceled" for job in jobs}

    async def test_a_filter_meets_running_jobs_too(self, store: JobStore) -> None:
        claimed = await start(store)

        answers = await store.request_cancel(owner="alice", matching=JobFilter(model="echo"))

        assert list(answers) == [(claimed.job_key, "requested")]

    async def test_a_filter_by_status_leaves_the_others(self, store: JobStore) -> None:
        await end(store, failure(await start(store)))
        claimed = await start(store)
        waiting = new_job()
        await accept(store, waiting)

        answers = await store.request_cancel(owner="alice", matching=JobFilter(status=("queued",)))

        assert list(answers) == [(waiting.job_key, "canceled")]
        assert (await get_one(store, claimed.job_key)).cancel_requested_at is None

    async def test_an_empty_filter_cancels_nothing_and_is_refused(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        with pytest.raises(InvalidOption):
            await store.request_cancel(owner="alice", matching=JobFilter())

        assert (await get_one(store, job.job_key)).status == "queued"

    async def test_neither_keys_nor_a_filter_is_refused(self, store: JobStore) -> None:
        with pytest.raises(InvalidOption):
            await store.request_cancel(owner="alice")

    async def test_hundreds_are_canceled_in_one_call(self, store: JobStore) -> None:
        jobs = new_jobs(600, labels={"run": "7"})
        await accept(store, *jobs)

        answers = await store.request_cancel(owner="alice", matching=JobFilter(labels={"run": "7"}))

        assert len(answers) == 600
        assert not (await claim(store)).claims
