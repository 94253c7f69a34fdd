"""Solo: a job with one crash left runs with nothing beside it, so that it convicts itself and never a neighbour."""

from __future__ import annotations

from asyncinfer.abc import JobStore, NewJob
from asyncinfer.testing.builders import failure, lease_of, move_id, new_job, new_jobs, request, retry, room
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, crash, end, get_one, rescue_one, start
from asyncinfer.testing.store_suite.store_case import StoreCase


async def suspect(store: JobStore, job: NewJob | None = None) -> NewJob:
    """Insert a job and let it crash until one chance is left; nothing else may be ready."""
    job = job or new_job(crash_budget=3)
    await accept(store, job)
    await crash(store, job.job_key, times=job.crash_budget - 1)
    return job


class SoloTests(StoreCase):
    async def test_a_job_with_one_crash_left_is_solo(self, store: JobStore) -> None:
        job = await suspect(store)

        assert (await get_one(store, job.job_key)).is_solo

    async def test_a_job_with_two_crashes_left_is_not_solo(self, store: JobStore) -> None:
        job = new_job(crash_budget=3)
        await accept(store, job)

        await crash(store, job.job_key, times=1)

        assert not (await get_one(store, job.job_key)).is_solo

    async def test_a_budget_of_one_does_not_make_the_first_attempt_solo(self, store: JobStore) -> None:
        await accept(store, new_job(crash_budget=1), new_job())

        answer = await claim(store, request(is_idle=False))

        assert (len(answer.claims), answer.is_solo_waiting) == (2, False)

    async def test_an_idle_worker_claims_a_solo_job_and_nothing_beside_it(self, store: JobStore) -> None:
        job = await suspect(store)
        await accept(store, *new_jobs(3))

        answer = await claim(store, request(is_idle=True))

        assert [(claimed.id, claimed.is_solo) for claimed in answer.claims] == [(job.id, True)]

    async def test_a_busy_worker_leaves_it_and_is_told_that_it_waits(self, store: JobStore) -> None:
        await suspect(store)
        other = new_job()
        await accept(store, other)

        answer = await claim(store, request(is_idle=False))

        assert answer.is_solo_waiting
        assert [claimed.id for claimed in answer.claims] in ([], [other.id])

    async def test_a_solo_job_is_not_starved_by_newcomers(self, store: JobStore) -> None:
        job = await suspect(store)

        for _ in range(3):
            await accept(store, *new_jobs(2))
            await claim(store, request(is_idle=False))
        answer = await claim(store, request(is_idle=True))

        assert [claimed.id for claimed in answer.claims] == [job.id]

    async def test_an_isolated_executor_claims_it_beside_others(self, store: JobStore) -> None:
        job = await suspect(store)
        other = new_job()
        await accept(store, other)

        answer = await claim(store, request(is_idle=False, is_isolated=True))

        assert {claimed.id: claimed.is_solo for claimed in answer.claims} == {job.id: True, other.id: False}
        assert not answer.is_solo_waiting

    async def test_in_an_isolated_executor_solo_is_a_batch_of_one(self, store: JobStore) -> None:
        job = await suspect(store, new_job(batch_key="same"))
        others = new_jobs(2, batch_key="same")
        await accept(store, *others)

        answer = await claim(store, request(room(batch_size=4), is_idle=False, is_isolated=True))

        groups = [{claimed.id for claimed in answer.claims if claimed.group == group.group} for group in answer.claims]
        assert {job.id} in groups
        assert {other.id for other in others} in groups

    async def test_a_solo_job_joins_no_batch_as_a_member(self, store: JobStore) -> None:
        job = await suspect(store, new_job(owner="bob", batch_key="same"))
        await accept(store, *new_jobs(2, owner="alice", batch_key="same"))

        answer = await claim(store, request(room(batch_size=4), is_idle=False))

        assert job.id not in {claimed.id for claimed in answer.claims}

    async def test_a_solo_job_of_another_model_does_not_wait_here(self, store: JobStore) -> None:
        await suspect(store)

        answer = await claim(store, request(room("other"), is_idle=False))

        assert not answer.is_solo_waiting

    async def test_it_runs_alone_across_the_pools_of_its_worker(self, store: JobStore) -> None:
        job = await suspect(store)
        await accept(store, new_job(model="other"))

        others, echoes = await store.claim([request(room("other")), request(room("echo"))])

        assert [claimed.id for claimed in (*others.claims, *echoes.claims)] == [job.id]

    async def test_a_worker_beside_the_one_that_runs_it_goes_on(self, store: JobStore) -> None:
        job = await suspect(store)
        other = new_job()
        await accept(store, other)

        first, second = await store.claim([request(worker="worker-1"), request(worker="worker-2", is_idle=False)])

        assert [[claimed.id for claimed in answer.claims] for answer in (first, second)] == [[job.id], [other.id]]

    async def test_a_solo_job_in_a_paused_queue_does_not_wait(self, store: JobStore) -> None:
        await suspect(store)
        await store.pause("default")

        assert not (await claim(store, request(is_idle=False))).is_solo_waiting
        assert not (await claim(store, request(is_idle=True))).claims

    async def test_a_solo_job_given_back_is_still_solo(self, store: JobStore) -> None:
        job = await suspect(store)
        await store.give_back([lease_of(await claim_one(store))], move_id())

        assert (await claim(store, request(is_idle=False))).is_solo_waiting
        assert (await claim_one(store)).job_key == job.job_key

    async def test_a_solo_job_retried_later_is_still_solo(self, store: JobStore, clock: FakeClock) -> None:
        await suspect(store)
        await end(store, retry(await claim_one(store), not_before=clock.now() + 1_000))

        early = await claim(store, request(is_idle=False))
        await clock.advance(1)
        ready = await claim(store, request(is_idle=False))

        assert (early.is_solo_waiting, ready.is_solo_waiting) == (False, True)

    async def test_no_entry_outlives_a_solo_jobs_end(self, store: JobStore) -> None:
        await suspect(store, new_job(batch_key="same"))
        await end(store, failure(await claim_one(store)))

        answer = await claim(store, request(room(batch_size=4), is_idle=False))

        assert (list(answer.claims), answer.is_solo_waiting) == ([], False)

    async def test_no_entry_outlives_a_solo_jobs_cancellation(self, store: JobStore) -> None:
        job = await suspect(store)
        await store.request_cancel([job.job_key])

        answer = await claim(store, request(is_idle=False))

        assert (list(answer.claims), answer.is_solo_waiting) == ([], False)

    async def test_no_entry_outlives_a_solo_jobs_expiry(self, store: JobStore, clock: FakeClock) -> None:
        await suspect(store, new_job(crash_budget=3, expire_at=clock.now() + 1_000))
        await clock.advance(2)

        answer = await claim(store, request(is_idle=False))

        assert (list(answer.claims), answer.is_solo_waiting) == ([], False)

    async def test_while_it_runs_a_solo_job_does_not_wait(self, store: JobStore) -> None:
        await suspect(store)
        await claim_one(store)

        assert not (await claim(store, request(is_idle=False))).is_solo_waiting

    async def test_a_solo_job_that_crashes_once_more_has_failed(self, store: JobStore) -> None:
        job = await suspect(store)
        await claim_one(store)

        assert await rescue_one(store, job.job_key) == "failed"

        ended = await get_one(store, job.job_key)
        assert (ended.status, ended.crashes, ended.attempt) == ("failed", 3, 3)
        assert ended.error is not None
        assert ended.error.code == "crash_budget"

    async def test_a_budget_of_one_fails_at_the_first_crash(self, store: JobStore) -> None:
        claimed = await start(store, new_job(crash_budget=1))

        assert await rescue_one(store, claimed.job_key) == "failed"
