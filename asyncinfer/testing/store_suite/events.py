"""Events and attempts: a job's history, readable from any point of it."""

from __future__ import annotations

import asyncio

from asyncinfer.abc import JobKey, JobStore, Limits, OutputEvent, Progress, ProgressEvent, Record, StatusEvent
from asyncinfer.testing.builders import cancellation, error, failure, lease_of, move_id, new_job, retry, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import LIMITS, accept, claim_one, end, events_of, get_one, rescue_one, start
from asyncinfer.testing.store_suite.store_case import OpenStore, StoreCase, shared


class EventTests(StoreCase):
    async def test_a_whole_life_is_told_in_order(self, store: JobStore) -> None:
        first = await start(store)
        key = first.job_key
        await store.record([Record(*key, 1, Progress(fraction=0.5), (b"one",), ref=first.ref)], LIMITS)
        await end(store, retry(first))
        second = await claim_one(store)
        await store.give_back([lease_of(second)], move_id())
        await claim_one(store)
        await rescue_one(store, key)
        last = await claim_one(store)
        await end(store, success(last))

        told = [
            (event.attempt, getattr(event, "status", type(event).__name__)) for event in await events_of(store, key)
        ]

        assert sorted(told[2:4]) == [(1, "OutputEvent"), (1, "ProgressEvent")]
        assert told[:2] + told[4:] == [
            (0, "queued"),
            (1, "running"),
            (1, "queued"),
            (2, "running"),
            (2, "queued"),
            (3, "running"),
            (3, "queued"),
            (4, "running"),
            (4, "succeeded"),
        ]

    async def test_ids_only_grow_and_end_at_the_revision(self, store: JobStore) -> None:
        claimed = await start(store)
        for n in range(3):
            await store.record([Record(*claimed.job_key, 1, Progress(current=n), (b"x",), ref=claimed.ref)], LIMITS)
        ended = await end(store, success(claimed))

        ids = [event.id for event in await events_of(store, claimed.job_key)]

        assert ids == sorted(set(ids))
        assert ids[-1] == ended.revision

    async def test_events_resume_exactly_behind_an_id(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.record([Record(*claimed.job_key, 1, None, (b"a", b"b"), ref=claimed.ref)], LIMITS)
        await end(store, success(claimed))
        everything = await events_of(store, claimed.job_key)

        for event in everything:
            page = await store.events(claimed.job_key, event.id)
            assert list(page.events) == [later for later in everything if later.id > event.id]

    async def test_a_page_says_whether_there_is_more(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.record([Record(*claimed.job_key, 1, None, (b"a", b"b", b"c"), ref=claimed.ref)], LIMITS)

        pages = [await store.events(claimed.job_key, after, 2) for after in (0, 2, 4, 5)]

        assert [[event.id for event in page.events] for page in pages] == [[1, 2], [3, 4], [5], []]
        assert [page.has_more for page in pages] == [True, True, False, False]

    async def test_unknown_and_other_owners_jobs_have_no_events(self, store: JobStore) -> None:
        claimed = await start(store)

        for key in (JobKey("bob", claimed.id), JobKey("alice", "nobody")):
            page = await store.events(key)
            assert (list(page.events), page.has_gap, page.has_more) == ([], False, False)

    async def test_status_events_outlive_the_bound_of_output(self, store: JobStore) -> None:
        claimed = await start(store)
        limits = Limits(events_per_job=1)
        await store.record([Record(*claimed.job_key, 1, None, (b"a", b"b", b"c"), ref=claimed.ref)], limits)
        await end(store, success(claimed))

        events = await events_of(store, claimed.job_key)

        assert [type(event) for event in events] == [StatusEvent, StatusEvent, OutputEvent, StatusEvent]

    async def test_progress_is_read_with_its_attempt(self, store: JobStore, clock: FakeClock) -> None:
        await end(store, retry(await start(store)))
        again = await claim_one(store)
        await store.record([Record(*again.job_key, 2, Progress(fraction=0.5), ref=again.ref)], LIMITS)

        page = await store.events(again.job_key, 4)

        assert list(page.events) == [ProgressEvent(5, 2, clock.now(), Progress(fraction=0.5))]


class AttemptTests(StoreCase):
    async def test_a_job_that_waits_has_no_attempts(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        assert list(await store.attempts(job.job_key)) == []

    async def test_a_running_attempt_is_open(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)

        (attempt,) = await store.attempts(claimed.job_key)

        assert (attempt.number, attempt.worker, attempt.started_at) == (1, "worker-1", clock.now())
        assert (attempt.ended_at, attempt.outcome, attempt.error) == (None, None, None)

    async def test_each_way_an_attempt_ends_has_its_name(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, new_job(crash_budget=9))
        key = claimed.job_key
        await end(store, retry(claimed))
        await store.give_back([lease_of(await claim_one(store))], move_id())
        await claim_one(store)
        await rescue_one(store, key)
        await clock.advance(1)
        await end(store, success(await claim_one(store)))

        attempts = await store.attempts(key)

        assert [(attempt.number, attempt.outcome) for attempt in attempts] == [
            (1, "retried"),
            (2, "given_back"),
            (3, "rescued"),
            (4, "succeeded"),
        ]
        assert attempts[-1].ended_at == clock.now()

    async def test_failure_cancellation_and_time_limit_have_theirs(self, store: JobStore) -> None:
        failed = await end(store, failure(await start(store)))
        canceled = await end(store, cancellation(await start(store)))
        late = await end(store, failure(await start(store), error("time_limit")))

        outcomes = [(await store.attempts(job.job_key))[0].outcome for job in (failed, canceled, late)]

        assert outcomes == ["failed", "canceled", "time_limit"]

    async def test_an_attempt_keeps_why_it_ended(self, store: JobStore) -> None:
        why = error("model_error", "first try")
        claimed = await start(store)
        await end(store, retry(claimed, why=why))
        await claim_one(store)

        first, second = await store.attempts(claimed.job_key)

        assert (first.error, second.error) == (why, None)

    async def test_the_newest_hundred_are_kept(self, store: JobStore) -> None:
        claimed = await start(store)
        for _ in range(110):
            await store.give_back([lease_of(claimed)], move_id())
            claimed = await claim_one(store)

        numbers = [attempt.number for attempt in await store.attempts(claimed.job_key)]

        assert numbers == list(range(12, 112))

    async def test_unknown_and_other_owners_jobs_have_no_attempts(self, store: JobStore) -> None:
        claimed = await start(store)

        assert list(await store.attempts(JobKey("bob", claimed.id))) == []
        assert list(await store.attempts(JobKey("alice", "nobody"))) == []


class ChangeTests(StoreCase):
    async def test_hints_end_when_the_store_closes(self, store: JobStore, clock: FakeClock) -> None:
        async def read_hints() -> None:
            async for _ in store.changes():
                pass

        reader = asyncio.create_task(read_hints())
        await clock.advance(1)

        await store.close()

        await asyncio.wait_for(reader, timeout=10)

    async def test_a_change_made_elsewhere_is_hinted(self, open_store: OpenStore, clock: FakeClock) -> None:
        here, there = await open_store(), await open_store()
        shared(here)
        hinted = asyncio.Event()
        job = new_job()

        async def read_hints() -> None:
            async for keys in here.changes():
                if keys is None or job.job_key in keys:
                    hinted.set()

        reader = asyncio.create_task(read_hints())
        await clock.advance(1)
        hinted.clear()
        await accept(there, job)
        async with asyncio.timeout(20):
            while not hinted.is_set():
                await clock.advance(0.1)

        assert (await get_one(here, job.job_key)).status == "queued"
        reader.cancel()
        await asyncio.wait([reader])
