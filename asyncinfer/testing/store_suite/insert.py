"""Insert: what is accepted, what comes back of it, and what a bad item does to its neighbours."""

from __future__ import annotations

import asyncio

import pytest

from asyncinfer.abc import Backoff, JobKey, JobStore, NewJob, StatusEvent
from asyncinfer.testing.builders import new_job, new_jobs, subscription
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import LIMITS, accept, events_of, get_one, insert_one
from asyncinfer.testing.store_suite.store_case import StoreCase


def job_with_every_field(now: int) -> NewJob:
    """Return a job that uses what a submit can say."""
    return new_job(
        input=b"\x00\xff",
        content_type="application/json",
        fingerprint=b"\x01\x02",
        priority=2,
        not_before=now + 1_000,
        deadline=now + 20_000,
        expire_at=now + 10_000,
        expire_code="deadline",
        time_limit=5_000,
        key="order-7",
        key_until=now + 30_000,
        dedup=b"\x07",
        dedup_until=now + 30_000,
        batch_key="short",
        cost=3,
        max_attempts=4,
        crash_budget=5,
        backoff=Backoff(initial_delay=10, max_delay=20, multiplier=3.0, jitter=0.5),
        retention_result=11_000,
        retention_record=22_000,
        subscriptions=(subscription(),),
        labels={"team": "red", "größe": "klein"},
        metadata=b"\x80",
        retry_of="job_earlier",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        limit_key="tenant",
        group_id="group",
        parent_id="parent",
    )


class InsertTests(StoreCase):
    async def test_an_accepted_job_is_queued(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job()

        answer = await insert_one(store, job)

        assert (answer.kind, answer.id, answer.status) == ("inserted", job.id, "queued")
        assert answer.created_at == clock.now()
        stored = await get_one(store, job.job_key)
        assert (stored.status, stored.revision, stored.attempt) == ("queued", 1, 0)
        assert stored.created_at == clock.now()

    async def test_a_jobs_first_event_says_that_it_is_queued(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job()

        await accept(store, job)

        assert list(await events_of(store, job.job_key)) == [StatusEvent(1, 0, clock.now(), "queued")]

    async def test_the_record_shows_what_was_asked_for(self, store: JobStore, clock: FakeClock) -> None:
        job = job_with_every_field(clock.now())

        await accept(store, job)

        stored = await get_one(store, job.job_key)
        shown = {name: getattr(stored, name) for name in stored.__struct_fields__ if hasattr(job, name)}
        assert shown == {name: getattr(job, name) for name in shown}
        assert stored.has_subscriptions

    async def test_a_submission_can_be_read_back_as_it_came(self, store: JobStore, clock: FakeClock) -> None:
        job = job_with_every_field(clock.now())
        plain = new_job()

        await accept(store, job, plain)

        assert list(await store.submissions([plain.job_key, job.job_key])) == [plain, job]

    async def test_answers_come_in_the_order_of_the_items(self, store: JobStore) -> None:
        jobs = new_jobs(5)

        answers = await store.insert(list(reversed(jobs)), LIMITS)

        assert [answer.id for answer in answers] == [job.id for job in reversed(jobs)]

    async def test_an_empty_list_is_answered_with_an_empty_list(self, store: JobStore) -> None:
        assert list(await store.insert([], LIMITS)) == []

    async def test_two_owners_may_use_the_same_id(self, store: JobStore) -> None:
        alices = new_job(owner="alice", input=b"alice's")
        bobs = new_job(owner="bob", id=alices.id, input=b"bob's", fingerprint=b"another")

        await accept(store, alices, bobs)

        assert list(await store.submissions([bobs.job_key, alices.job_key])) == [bobs, alices]

    async def test_the_same_id_and_fingerprint_is_the_same_job(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        answer = await insert_one(store, job)

        assert (answer.kind, answer.id, answer.status) == ("existing", job.id, "queued")
        assert (await get_one(store, job.job_key)).revision == 1

    async def test_the_same_id_with_another_fingerprint_is_a_conflict(self, store: JobStore) -> None:
        job = new_job(fingerprint=b"first")
        await accept(store, job)

        answer = await insert_one(store, new_job(id=job.id, fingerprint=b"second", input=b"second"))

        assert (answer.kind, answer.id) == ("conflict", job.id)
        assert list(await store.submissions([job.job_key])) == [job]

    async def test_the_same_id_twice_in_one_insert_is_one_job(self, store: JobStore) -> None:
        job = new_job()

        answers = await store.insert([job, job], LIMITS)

        assert [answer.kind for answer in answers] == ["inserted", "existing"]

    async def test_sixty_four_inserts_at_once_are_all_stored(self, store: JobStore) -> None:
        jobs = new_jobs(64)

        answers = await asyncio.gather(*(insert_one(store, job) for job in jobs))

        assert {answer.kind for answer in answers} == {"inserted"}
        assert None not in await store.get([job.job_key for job in jobs])

    @pytest.mark.parametrize("size", [0, 1, 2_047, 2_048, 2_049, 1 << 20])
    async def test_an_input_of_any_size_comes_back_byte_for_byte(self, store: JobStore, size: int) -> None:
        job = new_job(input=bytes(range(256)) * (size // 256) + b"\x00" * (size % 256))

        await accept(store, job)

        (read,) = await store.submissions([job.job_key])
        assert read is not None
        assert read.input == job.input

    @pytest.mark.parametrize("priority", [-1, 10, 2**63])
    async def test_a_priority_outside_zero_to_nine_is_answered_bad(self, store: JobStore, priority: int) -> None:
        bad, good = new_job(priority=priority), new_job()

        answers = await store.insert([bad, good], LIMITS)

        assert [answer.kind for answer in answers] == ["bad", "inserted"]
        assert "priority" in answers[0].message

    async def test_an_unknown_jobs_submission_is_none(self, store: JobStore) -> None:
        assert list(await store.submissions([JobKey("alice", "nobody")])) == [None]
