"""Give back: a drain returns what it runs, uncharged and in its old place."""

from __future__ import annotations

from asyncinfer.abc import JobStore, StatusEvent
from asyncinfer.testing.builders import lease_of, move_id, new_job, new_jobs, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    accept,
    claim,
    claim_one,
    end,
    finish_one,
    get_one,
    last_status_event,
    rescue_one,
    start,
)
from asyncinfer.testing.store_suite.store_case import StoreCase


class GiveBackTests(StoreCase):
    async def test_a_job_given_back_waits_again_uncharged(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)

        answers = await store.give_back([lease_of(claimed)], move_id())

        assert list(answers) == ["done"]
        job = await get_one(store, claimed.job_key)
        assert (job.status, job.attempt, job.failures, job.crashes, job.revision) == ("queued", 1, 0, 0, 3)
        assert await last_status_event(store, claimed.job_key) == StatusEvent(3, 1, clock.now(), "queued")

    async def test_its_next_attempt_has_the_next_number(self, store: JobStore) -> None:
        await store.give_back([lease_of(await start(store))], move_id())

        again = await claim_one(store)

        assert (again.attempt, again.failures, again.crashes) == (2, 0, 0)

    async def test_its_old_result_is_refused(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.give_back([lease_of(claimed)], move_id())

        assert await finish_one(store, success(claimed)) == "lost"

    async def test_a_job_given_back_that_should_be_canceled_ends_canceled(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        claimed = await start(store)
        await store.request_cancel([claimed.job_key])

        assert list(await store.give_back([lease_of(claimed)], move_id())) == ["done"]

        job = await get_one(store, claimed.job_key)
        assert (job.status, job.finished_at) == ("canceled", clock.now())
        assert (await last_status_event(store, claimed.job_key)).status == "canceled"
        assert not (await claim(store)).claims

    async def test_the_same_give_back_again_is_done_again_and_changes_nothing(self, store: JobStore) -> None:
        claimed, name = await start(store), move_id()
        await store.give_back([lease_of(claimed)], name)

        assert list(await store.give_back([lease_of(claimed)], name)) == ["done"]

        assert (await get_one(store, claimed.job_key)).revision == 3

    async def test_another_give_back_of_the_same_attempt_is_lost(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.give_back([lease_of(claimed)], move_id())

        assert list(await store.give_back([lease_of(claimed)], move_id())) == ["lost"]

    async def test_an_earlier_attempt_gives_nothing_back(self, store: JobStore) -> None:
        stale = await start(store)
        await rescue_one(store, stale.job_key)
        await claim_one(store)

        assert list(await store.give_back([lease_of(stale)], move_id())) == ["lost"]

        assert (await get_one(store, stale.job_key)).status == "running"

    async def test_an_ended_job_is_not_given_back(self, store: JobStore) -> None:
        claimed = await start(store)
        await end(store, success(claimed))

        assert list(await store.give_back([lease_of(claimed)], move_id())) == ["lost"]

    async def test_many_are_given_back_in_one_call(self, store: JobStore) -> None:
        jobs = new_jobs(200)
        await accept(store, *jobs)
        leases = [lease_of(claimed) for claimed in (await claim(store)).claims]

        assert list(await store.give_back(leases, move_id())) == ["done"] * 200

        assert [claimed.id for claimed in (await claim(store)).claims] == [job.id for job in jobs]

    async def test_a_delay_that_was_served_does_not_hold_it_again(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(not_before=clock.now() + 1_000))
        await clock.advance(1)
        await store.give_back([lease_of(await claim_one(store))], move_id())

        assert (await claim_one(store)).attempt == 2
