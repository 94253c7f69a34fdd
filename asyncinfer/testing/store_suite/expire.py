"""Expire: a job that waited too long fails, and a clock that jumps fails nobody."""

from __future__ import annotations

from asyncinfer.abc import JobStore, StatusEvent
from asyncinfer.lifecycle import expired_error
from asyncinfer.testing.builders import LEASE, lease_of, move_id, new_job, new_jobs, request
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, find_one, get_one, last_status_event, start
from asyncinfer.testing.store_suite.store_case import StoreCase

HOUR = 3_600


class ExpireTests(StoreCase):
    async def test_a_job_that_waited_too_long_fails(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(expire_at=clock.now() + 10_000, retention_record=5_000)
        await accept(store, job)
        await clock.advance(11)

        assert list(await store.expire(100)) == [job.job_key]

        ended = await get_one(store, job.job_key)
        why = expired_error("queue_timeout", 0)
        assert (ended.status, ended.error, ended.failures, ended.revision) == ("failed", why, 0, 2)
        assert (ended.finished_at, ended.forget_at) == (clock.now(), clock.now() + 5_000)
        assert await last_status_event(store, job.job_key) == StatusEvent(2, 0, clock.now(), "failed", why)
        assert not (await claim(store)).claims

    async def test_its_code_says_which_bound_it_met(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(expire_at=clock.now() + 10_000, expire_code="deadline")
        await accept(store, job)
        await clock.advance(11)

        await store.expire(100)

        assert (await get_one(store, job.job_key)).error == expired_error("deadline", 0)

    async def test_nothing_expires_before_its_instant(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(expire_at=clock.now() + 10_000)
        await accept(store, job, new_job())
        await clock.advance(9.999)

        assert list(await store.expire(100)) == []

        assert (await get_one(store, job.job_key)).status == "queued"

    async def test_a_job_expires_at_its_very_instant(self, store: JobStore, clock: FakeClock) -> None:
        swept, met = new_jobs(2, expire_at=clock.now() + 10_000)
        await accept(store, swept)
        await clock.advance(10)

        assert list(await store.expire(100)) == [swept.job_key]
        await accept(store, met)
        assert not (await claim(store)).claims

    async def test_a_running_job_does_not_expire(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, new_job(expire_at=clock.now() + 10_000))
        await clock.advance(11)

        assert list(await store.expire(100)) == []

        assert (await get_one(store, claimed.job_key)).status == "running"

    async def test_a_job_given_back_expires_as_it_would_have(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, new_job(expire_at=clock.now() + 10_000))
        await store.give_back([lease_of(claimed)], move_id())
        await clock.advance(11)

        assert list(await store.expire(100)) == [claimed.job_key]

        assert (await get_one(store, claimed.job_key)).error == expired_error("queue_timeout", 1)

    async def test_a_delayed_job_expires_too(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(not_before=clock.now() + 20_000, expire_at=clock.now() + 10_000)
        await accept(store, job)
        await clock.advance(11)

        assert list(await store.expire(100)) == [job.job_key]

    async def test_a_job_in_a_paused_queue_expires_too(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(expire_at=clock.now() + 10_000)
        await accept(store, job)
        await store.pause("default")
        await clock.advance(11)

        assert list(await store.expire(100)) == [job.job_key]

    async def test_a_call_expires_no_more_than_its_limit(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, *new_jobs(5, expire_at=clock.now() + 1_000))
        await clock.advance(2)

        assert [len(await store.expire(2)) for _ in range(4)] == [2, 2, 1, 0]

    async def test_a_canceled_job_does_not_expire(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(expire_at=clock.now() + 1_000)
        await accept(store, job)
        await store.request_cancel([job.job_key])
        await clock.advance(2)

        assert list(await store.expire(100)) == []

        assert (await get_one(store, job.job_key)).status == "canceled"


class ClockJumpTests(StoreCase):
    """Wall time that jumps ends nothing for a lease, and holds nothing up for more than two."""

    async def test_a_jump_ahead_expires_no_waiting_job(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(expire_at=clock.now() + 1_800_000)
        await accept(store, job)

        clock.jump(HOUR)

        assert list(await store.expire(100)) == []
        assert [claimed.id for claimed in (await claim(store)).claims] == [job.id]

    async def test_a_jump_ahead_releases_no_delayed_job(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(not_before=clock.now() + 1_800_000))

        clock.jump(HOUR)

        assert not (await claim(store)).claims

    async def test_a_jump_ahead_prunes_nothing(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_result=1_000, retention_record=1_000)
        await accept(store, job)
        await store.request_cancel([job.job_key])

        clock.jump(HOUR)

        assert await store.prune(100, tombstone=1_000) == 0
        assert await find_one(store, job.job_key) is not None

    async def test_after_a_lease_of_steady_time_life_goes_on(self, store: JobStore, clock: FakeClock) -> None:
        expiring, delayed = new_job(expire_at=clock.now() + 1_800_000), new_job(not_before=clock.now() + 1_800_000)
        await accept(store, expiring, delayed)
        clock.jump(HOUR)
        await store.expire(100)

        await clock.advance(LEASE / 1000 + 1)

        assert list(await store.expire(100)) == [expiring.job_key]
        assert [claimed.id for claimed in (await claim(store)).claims] == [delayed.id]

    async def test_a_jump_back_holds_no_ready_job(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job()
        await accept(store, job)

        clock.jump(-HOUR)

        assert (await claim_one(store)).id == job.id

    async def test_leases_do_not_end_by_a_jump(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, asked=request(slots=1))

        clock.jump(24 * HOUR)

        assert list(await store.extend("worker-1", [lease_of(claimed)], LEASE)) == ["held"]
