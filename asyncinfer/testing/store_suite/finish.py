"""Finish: the one write that ends an attempt, fenced by (running, attempt)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from asyncinfer.abc import Claim, Finish, JobKey, JobStore, Status, StatusEvent
from asyncinfer.testing.builders import (
    cancellation,
    error,
    failure,
    lease_of,
    move_id,
    new_job,
    new_jobs,
    request,
    retry,
    success,
)
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    accept,
    claim,
    claim_one,
    end,
    events_of,
    finish_one,
    get_one,
    last_status_event,
    rescue_one,
    start,
)
from asyncinfer.testing.store_suite.store_case import StoreCase

Ending = Callable[[Claim], Finish]


class FinishTests(StoreCase):
    async def test_a_success_keeps_its_result(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store, new_job(retention_record=7_000))
        await clock.advance(3)

        job = await end(store, success(claimed, b"\x00result"))

        assert (job.status, job.result, job.has_result, job.error) == ("succeeded", b"\x00result", True, None)
        assert (job.revision, job.attempt, job.failures, job.crashes) == (3, 1, 0, 0)
        assert (job.finished_at, job.forget_at) == (clock.now(), clock.now() + 7_000)

    async def test_a_failure_keeps_its_error_and_counts(self, store: JobStore) -> None:
        why = error("out_of_memory", "it took too much")

        job = await end(store, failure(await start(store), why))

        assert (job.status, job.error, job.failures, job.crashes) == ("failed", why, 1, 0)
        assert (job.result, job.has_result) == (None, False)

    async def test_a_cancellation_charges_nothing(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.request_cancel([claimed.job_key])

        job = await end(store, cancellation(claimed))

        assert (job.status, job.failures, job.crashes, job.result) == ("canceled", 0, 0, None)

    @pytest.mark.parametrize(
        ("ending", "status"), [(success, "succeeded"), (failure, "failed"), (cancellation, "canceled")]
    )
    async def test_an_ending_is_an_event(
        self, store: JobStore, clock: FakeClock, ending: Ending, status: Status
    ) -> None:
        claimed = await start(store)

        job = await end(store, ending(claimed))

        assert await last_status_event(store, claimed.job_key) == StatusEvent(3, 1, clock.now(), status, job.error)

    @pytest.mark.parametrize("size", [0, 1, 2_047, 2_048, 2_049, 1 << 20])
    async def test_a_result_of_any_size_comes_back_byte_for_byte(self, store: JobStore, size: int) -> None:
        result = (bytes(range(256)) * (size // 256 + 1))[:size]

        job = await end(store, success(await start(store), result))

        assert (job.result, job.has_result) == (result, True)

    async def test_an_ended_job_is_claimed_no_more(self, store: JobStore) -> None:
        await end(store, success(await start(store)))

        assert not (await claim(store)).claims

    async def test_many_attempts_end_in_one_call(self, store: JobStore) -> None:
        await accept(store, *new_jobs(300))
        claims = (await claim(store)).claims

        answers = await store.finish([success(claimed, claimed.id.encode()) for claimed in claims])

        assert list(answers) == ["done"] * 300
        jobs = await store.get([claimed.job_key for claimed in claims])
        assert [job.result for job in jobs if job] == [claimed.id.encode() for claimed in claims]

    async def test_a_finish_after_the_leases_end_holds_while_nobody_took_the_job(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        claimed = await start(store, asked=request(slots=1, lease=1_000))
        await clock.advance(30)

        job = await end(store, success(claimed))

        assert job.status == "succeeded"


class FenceTests(StoreCase):
    async def test_an_earlier_attempts_result_is_refused(self, store: JobStore) -> None:
        stale = await start(store)
        await rescue_one(store, stale.job_key)
        current = await claim_one(store)

        assert await finish_one(store, success(stale, b"stale")) == "lost"

        job = await get_one(store, stale.job_key)
        assert (job.status, job.attempt, job.revision) == ("running", 2, 4)
        assert (await end(store, success(current, b"current"))).result == b"current"

    async def test_a_result_for_a_job_that_waits_again_is_refused(self, store: JobStore) -> None:
        stale = await start(store)
        await rescue_one(store, stale.job_key)

        assert await finish_one(store, success(stale)) == "lost"

        assert (await get_one(store, stale.job_key)).status == "queued"

    async def test_a_terminal_status_absorbs_every_later_ending(self, store: JobStore) -> None:
        claimed = await start(store)
        ended = await end(store, success(claimed))

        answers = await store.finish([failure(claimed), retry(claimed), cancellation(claimed), success(claimed)])

        assert list(answers) == ["lost"] * 4
        assert await get_one(store, claimed.job_key) == ended

    async def test_an_attempt_that_has_not_begun_cannot_end(self, store: JobStore) -> None:
        claimed = await start(store)

        assert await finish_one(store, replace(success(claimed), attempt=2)) == "lost"

        assert (await get_one(store, claimed.job_key)).status == "running"

    async def test_a_queued_job_cannot_end(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        assert await finish_one(store, Finish(job.owner, job.id, 0, "succeeded", move_id(), result=b"")) == "lost"

        assert (await get_one(store, job.job_key)).status == "queued"

    async def test_an_unknown_job_cannot_end(self, store: JobStore) -> None:
        assert await finish_one(store, Finish("alice", "nobody", 1, "succeeded", move_id(), result=b"")) == "lost"

    async def test_another_owners_job_cannot_end(self, store: JobStore) -> None:
        claimed = await start(store)

        assert await finish_one(store, replace(success(claimed), owner="bob")) == "lost"

        assert (await get_one(store, claimed.job_key)).status == "running"

    async def test_a_ref_of_another_job_moves_nothing_but_what_is_named(self, store: JobStore) -> None:
        await accept(store, *new_jobs(2))
        first, second = (await claim(store)).claims

        await finish_one(store, replace(success(first), attempt=7, ref=second.ref))

        jobs = await store.get([first.job_key, second.job_key])
        assert [job.status for job in jobs if job] == ["running", "running"]

    async def test_a_stale_item_does_not_keep_its_neighbours(self, store: JobStore) -> None:
        await accept(store, *new_jobs(3))
        first, second, third = (await claim(store)).claims
        await rescue_one(store, second.job_key)

        answers = await store.finish([success(first), success(second), success(third)])

        assert list(answers) == ["done", "lost", "done"]


class MoveIdTests(StoreCase):
    @pytest.mark.parametrize("ending", [success, failure, cancellation, retry])
    async def test_the_same_write_again_is_done_again_and_changes_nothing(
        self, store: JobStore, ending: Ending
    ) -> None:
        write = ending(await start(store))
        first = await end(store, write)

        assert await finish_one(store, write) == "done"

        assert await get_one(store, JobKey(write.owner, write.id)) == first

    async def test_two_finishes_of_one_job_in_one_batch_write_once(self, store: JobStore) -> None:
        claimed = await start(store)

        answers = await store.finish([success(claimed, b"first"), success(claimed, b"second")])

        assert list(answers) == ["done", "lost"]
        job = await get_one(store, claimed.job_key)
        assert (job.result, job.revision) == (b"first", 3)

    async def test_the_same_write_twice_in_one_batch_is_done_twice_and_written_once(self, store: JobStore) -> None:
        write = success(await start(store))

        answers = await store.finish([write, write])

        assert list(answers) == ["done", "done"]
        assert (await get_one(store, JobKey(write.owner, write.id))).revision == 3

    async def test_two_finishes_of_one_job_at_once_write_once(self, store: JobStore) -> None:
        claimed = await start(store)

        answers = await asyncio.gather(finish_one(store, success(claimed, b"a")), finish_one(store, failure(claimed)))

        assert sorted(answers) == ["done", "lost"]
        assert (await get_one(store, claimed.job_key)).revision == 3

    async def test_a_finish_beside_an_extend_of_the_same_attempt_is_done(self, store: JobStore) -> None:
        claimed = await start(store)

        answer, _ = await asyncio.gather(
            finish_one(store, success(claimed)), store.extend("worker-1", [lease_of(claimed)], 60_000)
        )

        assert answer == "done"
        assert (await get_one(store, claimed.job_key)).status == "succeeded"


class RetryTests(StoreCase):
    async def test_a_retried_job_waits_again_and_is_charged_a_failure(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)

        job = await end(store, retry(claimed, not_before=clock.now() + 5_000))

        assert (job.status, job.failures, job.crashes, job.attempt) == ("queued", 1, 0, 1)
        assert (job.not_before, job.finished_at, job.revision) == (clock.now() + 5_000, None, 3)

    async def test_the_next_attempt_begins_when_its_time_has_come(self, store: JobStore, clock: FakeClock) -> None:
        await end(store, retry(await start(store), not_before=clock.now() + 5_000))

        early = await claim(store)
        await clock.advance(5)
        claimed = await claim_one(store)

        assert (list(early.claims), early.next_at) == ([], clock.now())
        assert (claimed.attempt, claimed.failures) == (2, 1)

    async def test_a_retry_without_a_time_is_ready_at_once(self, store: JobStore) -> None:
        await end(store, retry(await start(store)))

        assert (await claim_one(store)).attempt == 2

    async def test_a_retrys_event_says_why(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        why = error("model_error", "not this time")

        await end(store, retry(claimed, why=why))

        assert await last_status_event(store, claimed.job_key) == StatusEvent(3, 1, clock.now(), "queued", why)

    async def test_a_delay_that_was_served_does_not_hold_the_retry(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(not_before=clock.now() + 1_000))
        await clock.advance(1)

        await end(store, retry(await claim_one(store)))

        assert (await claim_one(store)).attempt == 2

    async def test_a_retry_of_a_job_that_should_be_canceled_ends_it(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        await store.request_cancel([claimed.job_key])

        job = await end(store, retry(claimed))

        assert (job.status, job.finished_at, job.failures) == ("canceled", clock.now(), 1)
        assert not (await claim(store)).claims

    async def test_a_success_ends_a_job_that_should_be_canceled_as_succeeded(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.request_cancel([claimed.job_key])

        job = await end(store, success(claimed))

        assert (job.status, job.has_result) == ("succeeded", True)

    async def test_earlier_attempts_stay_in_the_events(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        await end(store, retry(claimed))
        again = await claim_one(store)
        await end(store, success(again))

        statuses = [
            (event.id, event.attempt, getattr(event, "status", "")) for event in await events_of(store, claimed.job_key)
        ]

        assert statuses == [
            (1, 0, "queued"),
            (2, 1, "running"),
            (3, 1, "queued"),
            (4, 2, "running"),
            (5, 2, "succeeded"),
        ]
