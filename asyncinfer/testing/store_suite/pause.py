"""Pause and resume: a queue whose jobs wait while submits and running jobs go on."""

from __future__ import annotations

from asyncinfer.abc import JobStore
from asyncinfer.testing.builders import new_job, request, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, end, start
from asyncinfer.testing.store_suite.store_case import OpenStore, StoreCase, durable


class PauseTests(StoreCase):
    async def test_a_paused_queues_jobs_are_not_claimed(self, store: JobStore) -> None:
        await accept(store, new_job(queue="a"))

        await store.pause("a")

        assert not (await claim(store)).claims

    async def test_other_queues_of_the_same_model_go_on(self, store: JobStore) -> None:
        paused, other = new_job(queue="a"), new_job(queue="b")
        await accept(store, paused, other)
        await store.pause("a")

        answer = await claim(store, request(slots=5))

        assert [claimed.id for claimed in answer.claims] == [other.id]

    async def test_a_resumed_queue_goes_on_in_its_order(self, store: JobStore) -> None:
        jobs = [new_job(queue="a") for _ in range(3)]
        await store.pause("a")
        await accept(store, *jobs)

        await store.resume("a")

        assert [claimed.id for claimed in (await claim(store)).claims] == [job.id for job in jobs]

    async def test_submits_are_accepted_while_paused(self, store: JobStore) -> None:
        await store.pause("default")

        await accept(store, new_job())

    async def test_running_jobs_end_while_paused(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.pause("default")

        assert (await end(store, success(claimed))).status == "succeeded"

    async def test_pausing_and_resuming_twice_is_no_error(self, store: JobStore) -> None:
        await store.pause("a")
        await store.pause("a")
        await store.resume("a")
        await store.resume("a")
        await store.resume("never paused")
        await accept(store, new_job(queue="a"))

        assert len((await claim(store)).claims) == 1

    async def test_a_delayed_job_of_a_paused_queue_waits_for_both(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(queue="a", not_before=clock.now() + 1_000)
        await accept(store, job)
        await store.pause("a")
        await clock.advance(2)
        assert not (await claim(store)).claims

        await store.resume("a")

        assert (await claim_one(store)).id == job.id

    async def test_a_pause_survives_a_restart(self, store: JobStore, open_store: OpenStore) -> None:
        durable(store)
        await accept(store, new_job(queue="a"))
        await store.pause("a")
        await store.close()

        again = await open_store()

        assert not (await claim(again)).claims
        await again.resume("a")
        assert len((await claim(again)).claims) == 1
