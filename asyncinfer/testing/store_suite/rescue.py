"""Rescue: taking back what was proven lost, and nothing that still lives."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from asyncinfer.abc import JobError, JobKey, JobStore, RunningLease, StatusEvent
from asyncinfer.lifecycle import crash_budget_error, worker_lost_error
from asyncinfer.testing.builders import LEASE, PLENTY, lease_of, move_id, new_job, new_jobs, request, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    accept,
    claim,
    claim_one,
    crash,
    end,
    finish_one,
    get_one,
    last_status_event,
    rescue_one,
    running,
    start,
)
from asyncinfer.testing.store_suite.store_case import OpenStore, StoreCase, death_proving

OUT_OF_MEMORY = JobError(
    code="out_of_memory",
    message="its process was killed by SIGKILL: the system had no memory left",
    traceback="the tail of standard error",
    details={"signal": "SIGKILL"},
)


class RescueTests(StoreCase):
    async def test_a_lost_job_is_queued_again_and_charged_a_crash(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, asked=request(worker="worker-7", slots=1))

        assert await rescue_one(store, claimed.job_key) == "queued"

        job = await get_one(store, claimed.job_key)
        assert (job.status, job.attempt, job.crashes, job.failures, job.revision) == ("queued", 1, 1, 0, 3)
        assert await last_status_event(store, claimed.job_key) == StatusEvent(
            3, 1, clock.now(), "queued", worker_lost_error("worker-7", 1)
        )

    async def test_its_next_attempt_knows_of_the_crash(self, store: JobStore) -> None:
        claimed = await start(store)
        await rescue_one(store, claimed.job_key)

        again = await claim_one(store)

        assert (again.attempt, again.crashes, again.failures) == (2, 1, 0)

    async def test_a_job_at_its_budget_fails(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(crash_budget=2, retention_record=5_000)
        await accept(store, job)
        await crash(store, job.job_key)
        await claim_one(store)

        assert await rescue_one(store, job.job_key) == "failed"

        ended = await get_one(store, job.job_key)
        assert (ended.status, ended.crashes, ended.error) == ("failed", 2, crash_budget_error(2, 2))
        assert (ended.finished_at, ended.forget_at) == (clock.now(), clock.now() + 5_000)
        assert (await last_status_event(store, job.job_key)).error == crash_budget_error(2, 2)

    async def test_a_rescue_says_how_the_worker_died_where_that_is_known(self, store: JobStore) -> None:
        claimed = await start(store, asked=request(worker="worker-7", slots=1))
        seen = await running(store, claimed.job_key)

        await store.rescue([replace(seen, error=OUT_OF_MEMORY)])

        (attempt,) = await store.attempts(claimed.job_key)
        assert (attempt.outcome, attempt.error) == ("rescued", worker_lost_error("worker-7", 1, OUT_OF_MEMORY))
        assert (await last_status_event(store, claimed.job_key)).error == attempt.error

    async def test_a_job_at_its_budget_ends_with_the_last_reason(self, store: JobStore) -> None:
        claimed = await start(store, new_job(crash_budget=1))
        seen = await running(store, claimed.job_key)

        assert list(await store.rescue([replace(seen, error=OUT_OF_MEMORY)])) == ["failed"]

        job = await get_one(store, claimed.job_key)
        assert job.error == crash_budget_error(1, 1, OUT_OF_MEMORY)
        assert (await store.attempts(claimed.job_key))[-1].error == job.error

    async def test_a_reason_that_is_no_text_keeps_no_neighbour(self, store: JobStore) -> None:
        await accept(store, *new_jobs(2))
        await claim(store)
        hostile, other = await store.leases(None, PLENTY)

        await asyncio.gather(
            store.rescue([replace(hostile, error=replace(OUT_OF_MEMORY, message="\ud800", traceback="\ud800"))]),
            store.rescue([other]),
            return_exceptions=True,
        )

        assert (await get_one(store, JobKey(other.owner, other.id))).status == "queued"

    async def test_a_lost_job_that_should_be_canceled_ends_canceled(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.request_cancel([claimed.job_key])

        assert await rescue_one(store, claimed.job_key) == "canceled"

        job = await get_one(store, claimed.job_key)
        assert (job.status, job.crashes) == ("canceled", 1)

    async def test_a_canceled_job_at_its_budget_is_canceled_and_not_failed(self, store: JobStore) -> None:
        claimed = await start(store, new_job(crash_budget=1))
        await store.request_cancel([claimed.job_key])

        assert await rescue_one(store, claimed.job_key) == "canceled"

    async def test_a_lease_renewed_since_it_was_seen_is_held(self, store: JobStore) -> None:
        claimed = await start(store)
        seen = await running(store, claimed.job_key)
        await store.extend("worker-1", [lease_of(claimed)], LEASE)

        assert list(await store.rescue([seen])) == ["held"]

        assert (await get_one(store, claimed.job_key)).status == "running"
        assert await finish_one(store, success(claimed)) == "done"

    async def test_a_later_attempt_than_the_one_seen_is_held(self, store: JobStore) -> None:
        claimed = await start(store)
        seen = await running(store, claimed.job_key)
        await store.give_back([lease_of(claimed)], move_id())
        await claim_one(store)

        assert list(await store.rescue([seen])) == ["held"]

        assert (await get_one(store, claimed.job_key)).crashes == 0

    async def test_an_ended_job_is_held(self, store: JobStore) -> None:
        claimed = await start(store)
        seen = await running(store, claimed.job_key)
        ended = await end(store, success(claimed))

        assert list(await store.rescue([seen])) == ["held"]

        assert await get_one(store, claimed.job_key) == ended

    async def test_a_job_that_waits_again_is_held(self, store: JobStore) -> None:
        claimed = await start(store)
        seen = await running(store, claimed.job_key)
        await store.rescue([seen])

        assert list(await store.rescue([seen])) == ["held"]

        assert (await get_one(store, claimed.job_key)).crashes == 1

    async def test_an_unknown_job_is_held(self, store: JobStore) -> None:
        assert list(await store.rescue([RunningLease("alice", "nobody", 1, 0, "worker-1")])) == ["held"]

    async def test_two_rescuers_at_once_charge_one_crash(self, store: JobStore) -> None:
        claimed = await start(store)
        seen = await running(store, claimed.job_key)

        answers = await asyncio.gather(*(store.rescue([seen]) for _ in range(8)))

        assert sorted(answer for (answer,) in answers) == ["held"] * 7 + ["queued"]
        assert (await get_one(store, claimed.job_key)).crashes == 1

    async def test_the_same_lease_twice_in_one_call_is_charged_once(self, store: JobStore) -> None:
        claimed = await start(store)
        seen = await running(store, claimed.job_key)

        assert list(await store.rescue([seen, seen])) == ["queued", "held"]

    async def test_many_are_rescued_in_one_call_in_their_old_order(self, store: JobStore) -> None:
        jobs = new_jobs(200)
        await accept(store, *jobs)
        await claim(store)

        answers = await store.rescue(await store.leases(None, PLENTY))

        assert list(answers) == ["queued"] * 200
        assert [claimed.id for claimed in (await claim(store)).claims] == [job.id for job in jobs]


class DeathTests(StoreCase):
    async def test_the_leases_of_a_store_that_is_gone_are_known_at_once(self, open_store: OpenStore) -> None:
        watching, dying = await open_store(), await open_store()
        death_proving(watching)
        claimed = await start(dying)

        await dying.close()

        assert (await running(watching, claimed.job_key)).is_gone
        assert await rescue_one(watching, claimed.job_key) == "queued"

    async def test_the_leases_of_a_store_that_lives_are_not_gone(self, open_store: OpenStore) -> None:
        watching, living = await open_store(), await open_store()
        death_proving(watching)

        claimed = await start(living)

        assert not (await running(watching, claimed.job_key)).is_gone
        assert not (await running(living, claimed.job_key)).is_gone
