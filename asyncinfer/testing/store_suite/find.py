"""Find, get, counts and position: what can be seen of many jobs."""

from __future__ import annotations

import pytest

from asyncinfer.abc import Counts, Job, JobFilter, JobKey, JobStore
from asyncinfer.errors import InvalidOption
from asyncinfer.testing.builders import failure, lease_of, move_id, new_job, new_jobs, request, room, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, end, find_one, get_one, start
from asyncinfer.testing.store_suite.store_case import StoreCase


async def found(store: JobStore, matching: JobFilter, owner: str | None = "alice") -> list[str]:
    """Return the ids of what matches."""
    page = await store.find(owner, matching, limit=100)
    return [job.id for job in page.jobs]


class GetTests(StoreCase):
    async def test_jobs_come_in_the_order_of_the_keys(self, store: JobStore) -> None:
        first, second = new_jobs(2)
        await accept(store, first, second)
        nobody = JobKey("alice", "nobody")

        jobs = await store.get([second.job_key, nobody, first.job_key, second.job_key])

        assert [job and job.id for job in jobs] == [second.id, None, first.id, second.id]

    async def test_another_owners_job_is_an_unknown_one(self, store: JobStore) -> None:
        job = new_job(owner="alice")
        await accept(store, job)

        assert await find_one(store, JobKey("bob", job.id)) is None
        assert await find_one(store, JobKey("", job.id)) is None

    async def test_a_job_can_be_read_without_its_result(self, store: JobStore) -> None:
        ended = await end(store, success(await start(store)))

        (job,) = await store.get([ended.job_key], with_result=False)

        assert job is not None
        assert (job.status, job.has_result, job.result) == ("succeeded", True, None)

    async def test_hundreds_are_read_in_one_call(self, store: JobStore) -> None:
        jobs = new_jobs(1_500)
        await accept(store, *jobs)

        assert [job and job.id for job in await store.get([job.job_key for job in jobs])] == [job.id for job in jobs]

    async def test_no_keys_are_no_jobs(self, store: JobStore) -> None:
        assert list(await store.get([])) == []


class FindTests(StoreCase):
    async def test_jobs_come_newest_first(self, store: JobStore) -> None:
        jobs = new_jobs(5)
        await accept(store, *jobs)

        assert await found(store, JobFilter()) == [job.id for job in reversed(jobs)]

    async def test_only_the_owners_jobs_are_found(self, store: JobStore) -> None:
        mine, theirs, unscoped = new_job(owner="alice"), new_job(owner="bob"), new_job(owner="")
        await accept(store, mine, theirs, unscoped)

        assert await found(store, JobFilter()) == [mine.id]
        assert await found(store, JobFilter(), owner="") == [unscoped.id]
        assert await found(store, JobFilter(), owner=None) == [unscoped.id, theirs.id, mine.id]

    async def test_all_that_a_filter_names_must_hold(self, store: JobStore) -> None:
        wanted = new_job(model="m", queue="q", labels={"run": "7", "team": "red"})
        await accept(
            store,
            wanted,
            new_job(model="other", queue="q", labels={"run": "7", "team": "red"}),
            new_job(model="m", queue="other", labels={"run": "7", "team": "red"}),
            new_job(model="m", queue="q", labels={"run": "7"}),
            new_job(model="m", queue="q", labels={"run": "7", "team": "blue"}),
        )

        matching = JobFilter(status=("queued",), model="m", queue="q", labels={"run": "7", "team": "red"})

        assert await found(store, matching) == [wanted.id]

    async def test_several_statuses_are_any_of_them(self, store: JobStore) -> None:
        failed = await end(store, failure(await start(store)))
        succeeded = await end(store, success(await start(store)))
        running = await start(store)
        await accept(store, new_job())

        assert await found(store, JobFilter(status=("running", "failed"))) == [running.id, failed.id]
        assert await found(store, JobFilter(status=("succeeded",))) == [succeeded.id]

    async def test_bounds_of_time_are_inclusive(self, store: JobStore, clock: FakeClock) -> None:
        jobs = new_jobs(3)
        for job in jobs:
            await accept(store, job)
            await clock.advance(1)
        second = (await get_one(store, jobs[1].job_key)).created_at

        assert await found(store, JobFilter(created_after=second)) == [jobs[2].id, jobs[1].id]
        assert await found(store, JobFilter(created_before=second)) == [jobs[1].id, jobs[0].id]
        assert await found(store, JobFilter(created_after=second, created_before=second)) == [jobs[1].id]

    async def test_labels_are_compared_as_they_are(self, store: JobStore) -> None:
        labels = [{"a": "1"}, {"a": "%"}, {"a": "1%"}, {'"a"': "1"}, {"ä": "ß"}, {"a": ""}, {"": "1"}]
        jobs = [new_job(labels=label) for label in labels]
        await accept(store, *jobs)

        assert [await found(store, JobFilter(labels=job.labels)) for job in jobs] == [[job.id] for job in jobs]

    async def test_found_jobs_come_without_results(self, store: JobStore) -> None:
        await end(store, success(await start(store)))

        (job,) = (await store.find("alice", JobFilter())).jobs

        assert (job.has_result, job.result) == (True, None)


class PageTests(StoreCase):
    async def test_pages_forward_join_without_gap_or_double(self, store: JobStore) -> None:
        jobs = new_jobs(7)
        await accept(store, *jobs, new_job(owner="bob"))

        page = await store.find("alice", JobFilter(), limit=3)
        pages = [page.jobs]
        while page.next_cursor is not None:
            page = await store.find("alice", JobFilter(), after=page.next_cursor, limit=3)
            pages.append(page.jobs)

        assert [len(jobs) for jobs in pages] == [3, 3, 1]
        assert [job.id for jobs in pages for job in jobs] == [job.id for job in reversed(jobs)]

    async def test_a_page_back_is_the_page_before(self, store: JobStore) -> None:
        await accept(store, *new_jobs(7))
        first = await store.find("alice", JobFilter(), limit=3)
        second = await store.find("alice", JobFilter(), after=first.next_cursor, limit=3)

        back = await store.find("alice", JobFilter(), before=second.prev_cursor, limit=3)

        assert [job.id for job in back.jobs] == [job.id for job in first.jobs]

    async def test_a_page_that_holds_all_has_no_neighbours(self, store: JobStore) -> None:
        await accept(store, *new_jobs(3))

        page = await store.find("alice", JobFilter(), limit=3)

        assert (page.next_cursor, page.prev_cursor) == (None, None)

    async def test_new_jobs_do_not_shift_the_pages_behind(self, store: JobStore) -> None:
        jobs = new_jobs(4)
        await accept(store, *jobs)
        first = await store.find("alice", JobFilter(), limit=2)
        await accept(store, *new_jobs(2))

        second = await store.find("alice", JobFilter(), after=first.next_cursor, limit=2)

        assert [job.id for job in second.jobs] == [jobs[1].id, jobs[0].id]

    async def test_pages_over_all_owners_hold_jobs_of_the_same_id(self, store: JobStore) -> None:
        alices = new_job(owner="alice")
        bobs = new_job(owner="bob", id=alices.id)
        await accept(store, alices, bobs)

        seen: list[Job] = []
        page = await store.find(None, JobFilter(), limit=1)
        while True:
            seen += page.jobs
            if page.next_cursor is None:
                break
            page = await store.find(None, JobFilter(), after=page.next_cursor, limit=1)

        assert {job.job_key for job in seen} == {alices.job_key, bobs.job_key}
        assert len(seen) == 2

    async def test_a_filter_holds_over_all_pages(self, store: JobStore) -> None:
        jobs = [new_job(model="ab"[n % 2]) for n in range(10)]
        await accept(store, *jobs)
        first = await store.find("alice", JobFilter(model="a"), limit=3)

        second = await store.find("alice", JobFilter(model="a"), after=first.next_cursor, limit=3)

        assert [job.id for job in (*first.jobs, *second.jobs)] == [job.id for job in reversed(jobs) if job.model == "a"]
        assert second.next_cursor is None

    @pytest.mark.parametrize("cursor", ["", "x", "☃", "\ud800", "A" * 5_000, "' OR 1=1 --", "\x00"])
    async def test_a_text_that_is_no_cursor_is_refused(self, store: JobStore, cursor: str) -> None:
        with pytest.raises(InvalidOption):
            await store.find("alice", JobFilter(), after=cursor)
        with pytest.raises(InvalidOption):
            await store.find("alice", JobFilter(), before=cursor)


class CountTests(StoreCase):
    async def test_jobs_are_counted_where_they_stand(self, store: JobStore, clock: FakeClock) -> None:
        created_at = clock.now()
        await end(store, success(await start(store)))
        await end(store, failure(await start(store)))
        await start(store)
        waiting, canceled = new_job(input=b"12345"), new_job()
        await accept(store, waiting, canceled)
        await store.request_cancel([canceled.job_key])

        (count,) = await store.counts()

        assert count == Counts(
            queue="default",
            model="echo",
            queued=1,
            running=1,
            succeeded=1,
            failed=1,
            canceled=1,
            queued_bytes=5,
            oldest_queued_at=created_at,
        )

    async def test_queues_and_models_are_counted_apart(self, store: JobStore) -> None:
        await accept(store, new_job(queue="q", model="a"), new_job(queue="q", model="b"), new_job(queue="r", model="a"))

        counts = {(count.queue, count.model): count.queued for count in await store.counts()}

        assert counts == {("q", "a"): 1, ("q", "b"): 1, ("r", "a"): 1}

    async def test_one_owner_or_one_queue_is_counted_alone(self, store: JobStore) -> None:
        await accept(store, new_job(owner="alice", queue="q"), new_job(owner="bob", queue="q"), new_job(queue="r"))

        assert [count.queued for count in await store.counts(queue="q")] == [2]
        assert [count.queued for count in await store.counts("bob")] == [1]
        assert [count.queued for count in await store.counts("alice", "q")] == [1]
        assert list(await store.counts("nobody", "q")) == []

    async def test_the_oldest_waiting_job_is_dated(self, store: JobStore, clock: FakeClock) -> None:
        first_at = clock.now()
        await accept(store, new_job())
        await clock.advance(1)
        second_at = clock.now()
        await accept(store, new_job())

        (before,) = await store.counts()
        await claim_one(store)
        (after,) = await store.counts()

        assert (before.oldest_queued_at, after.oldest_queued_at) == (first_at, second_at)

    async def test_a_paused_queue_is_counted_as_paused(self, store: JobStore) -> None:
        await accept(store, new_job(queue="busy"))
        await store.pause("busy")
        await store.pause("empty")

        counts = {(count.queue, count.model): (count.queued, count.is_paused) for count in await store.counts()}

        assert counts == {("busy", "echo"): (1, True), ("empty", ""): (0, True)}

    async def test_a_forgotten_job_counts_no_more(self, store: JobStore) -> None:
        job = await end(store, success(await start(store)))

        await store.delete([job.job_key])

        assert sum(count.succeeded for count in await store.counts()) == 0

    async def test_a_job_given_back_is_counted_as_waiting(self, store: JobStore) -> None:
        claimed = await start(store, new_job(input=b"12345"))

        await store.give_back([lease_of(claimed)], move_id())

        (count,) = await store.counts()
        assert (count.queued, count.running, count.queued_bytes) == (1, 0, 5)


class PositionTests(StoreCase):
    async def test_a_position_is_the_number_of_jobs_ahead(self, store: JobStore) -> None:
        jobs = new_jobs(5)
        await accept(store, *jobs)

        assert list(await store.position([job.job_key for job in jobs])) == [0, 1, 2, 3, 4]

    async def test_a_position_moves_up_with_each_claim(self, store: JobStore) -> None:
        jobs = new_jobs(5)
        await accept(store, *jobs)
        await claim(store, request(slots=2))

        assert list(await store.position([jobs[4].job_key])) == [2]

    async def test_other_models_do_not_stand_ahead(self, store: JobStore) -> None:
        job = new_job(model="calm")
        await accept(store, *new_jobs(5, model="busy"), job)

        assert list(await store.position([job.job_key])) == [0]

    async def test_a_position_follows_the_fair_order(self, store: JobStore) -> None:
        await accept(store, *new_jobs(10, owner="alice"))
        newcomer = new_job(owner="bob")
        await accept(store, newcomer)

        assert list(await store.position([newcomer.job_key])) == [1]

    async def test_only_a_ready_job_has_a_position(self, store: JobStore, clock: FakeClock) -> None:
        ended = await end(store, success(await start(store)))
        running = await start(store)
        delayed = new_job(not_before=clock.now() + 1_000)
        await accept(store, delayed)

        keys = [ended.job_key, running.job_key, delayed.job_key, JobKey("alice", "nobody")]

        assert list(await store.position(keys)) == [None] * 4

    async def test_another_owners_job_has_no_position(self, store: JobStore) -> None:
        job = new_job(owner="alice")
        await accept(store, job)

        assert list(await store.position([JobKey("bob", job.id)])) == [None]

    async def test_a_job_of_an_unasked_model_keeps_its_place(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        await claim(store, request(room("other")))

        assert list(await store.position([job.job_key])) == [0]
