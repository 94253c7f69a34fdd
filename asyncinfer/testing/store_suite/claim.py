"""Claim: one atomic step that begins attempts."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from asyncinfer.abc import Backoff, JobStore, StatusEvent, StoredEvent, Subscription
from asyncinfer.testing.builders import lease_of, move_id, new_job, new_jobs, request, retry, room, subscription
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    LIMITS,
    accept,
    claim,
    claim_one,
    crash,
    events_of,
    finish_one,
    get_one,
    last_status_event,
    owed_now,
    start,
)
from asyncinfer.testing.store_suite.store_case import StoreCase


class ClaimTests(StoreCase):
    async def test_a_claimed_job_runs_its_first_attempt(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job()
        await accept(store, job)
        await clock.advance(1)

        claimed = await claim_one(store, request(worker="worker-7"))

        stored = await get_one(store, job.job_key)
        assert (stored.status, stored.attempt, stored.worker, stored.revision) == ("running", 1, "worker-7", 2)
        assert (stored.started_at, claimed.claimed_at) == (clock.now(), clock.now())

    async def test_a_claim_writes_a_running_event(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)

        assert list(await events_of(store, claimed.job_key)) == [
            StatusEvent(1, 0, clock.now(), "queued"),
            StatusEvent(2, 1, clock.now(), "running"),
        ]

    async def test_a_claim_carries_what_the_attempt_needs(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(
            queue="q",
            content_type="application/json",
            traceparent="00-1-2-01",
            max_attempts=4,
            crash_budget=5,
            backoff=Backoff(initial_delay=7),
            time_limit=1_234,
            deadline=clock.now() + 9_999,
            metadata=b"m",
        )

        claimed = await start(store, job)

        names = [name for name in claimed.__struct_fields__ if hasattr(job, name)]
        assert {name: getattr(claimed, name) for name in names} == {name: getattr(job, name) for name in names}
        assert (claimed.attempt, claimed.failures, claimed.crashes, claimed.checkpoint) == (1, 0, 0, None)
        assert claimed.created_at == clock.now()
        assert not claimed.is_solo

    async def test_a_claim_tells_when_the_wait_for_it_began(self, store: JobStore, clock: FakeClock) -> None:
        began = clock.now()
        await accept(store, new_job(not_before=began + 1_000))
        await clock.advance(2)

        first = await claim_one(store)
        await finish_one(store, retry(first, not_before=clock.now() + 500))
        await clock.advance(1)
        second = await claim_one(store)
        await store.give_back([lease_of(second)], move_id())
        third = await claim_one(store)

        assert (first.ready_at, second.ready_at, third.ready_at) == (began + 1_000, began + 2_500, None)

    async def test_a_claim_names_the_revision_of_its_running_event(self, store: JobStore) -> None:
        first = await start(store)
        await finish_one(store, retry(first))
        second = await claim_one(store)

        running = [event for event in await events_of(store, second.job_key) if _is_running(event)]
        assert [event.id for event in running] == [first.revision, second.revision]

    async def test_a_claim_carries_who_must_hear_of_it_before_it_ends(self, store: JobStore) -> None:
        live = Subscription("https://live.example.com/", ("job.started", "job.failed"), "whsec_x")
        await accept(store, new_job(), new_job(subscriptions=(subscription(), live)))

        plain, subscribed = (await claim(store)).claims

        assert (plain.live_subscriptions, subscribed.live_subscriptions) == ((), (live,))

    @pytest.mark.parametrize("is_waiting", [True, False])
    async def test_a_subscription_that_is_added_later_comes_with_the_next_claim(
        self, store: JobStore, is_waiting: bool
    ) -> None:
        live = Subscription("https://live.example.com/", ("job.progress",))
        job = new_job()
        await accept(store, job)
        if not is_waiting:
            await finish_one(store, retry(await claim_one(store)))
        await store.insert([replace(job, subscriptions=(live,))], LIMITS)

        assert (await claim_one(store)).live_subscriptions == (live,)

    @pytest.mark.parametrize("size", [0, 1, 2_047, 2_048, 2_049, 1 << 20])
    async def test_a_claim_hands_out_the_input_byte_for_byte(self, store: JobStore, size: int) -> None:
        job = new_job(input=(bytes(range(256)) * (size // 256 + 1))[:size])

        claimed = await start(store, job)

        assert claimed.input == job.input

    async def test_jobs_of_one_owner_come_in_the_order_they_came(self, store: JobStore) -> None:
        jobs = new_jobs(20)
        await accept(store, *jobs)

        answer = await claim(store)

        assert [claimed.id for claimed in answer.claims] == [job.id for job in jobs]

    async def test_a_claim_takes_no_more_than_its_slots(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5))

        assert len((await claim(store, request(slots=3))).claims) == 3
        assert len((await claim(store, request(slots=3))).claims) == 2
        assert len((await claim(store, request(slots=3))).claims) == 0

    async def test_a_claim_takes_no_more_than_a_models_room(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5, model="a"), *new_jobs(5, model="b"))

        answer = await claim(store, request(room("a", jobs=1), room("b", jobs=3), slots=10))

        assert sorted(claimed.model for claimed in answer.claims) == ["a", "b", "b", "b"]

    async def test_slots_bound_all_models_together(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5, model="a"), *new_jobs(5, model="b"))

        answer = await claim(store, request(room("a"), room("b"), slots=4))

        assert len(answer.claims) == 4

    async def test_only_the_models_asked_for_are_claimed(self, store: JobStore) -> None:
        await accept(store, new_job(model="other"), new_job(model="echo"))

        answer = await claim(store, request(room("echo")))

        assert [claimed.model for claimed in answer.claims] == ["echo"]

    async def test_two_requests_of_one_call_share_no_job(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5))

        first, second = await store.claim([request(slots=3), request(worker="worker-2", slots=3)])

        assert (len(first.claims), len(second.claims)) == (3, 2)
        assert {claimed.id for claimed in first.claims}.isdisjoint(claimed.id for claimed in second.claims)

    async def test_sixty_four_claims_at_once_take_no_job_twice(self, store: JobStore) -> None:
        jobs = new_jobs(200)
        await accept(store, *jobs)

        answers = await asyncio.gather(*(claim(store, request(worker=f"w{n}", slots=4)) for n in range(64)))

        taken = [claimed.id for answer in answers for claimed in answer.claims]
        assert sorted(taken) == [job.id for job in jobs]

    async def test_a_claim_beside_inserts_loses_and_doubles_nothing(self, store: JobStore) -> None:
        jobs = new_jobs(50)

        inserts = [accept(store, job) for job in jobs]
        claims = [claim(store, request(slots=2)) for _ in jobs]
        results = await asyncio.gather(*(call for pair in zip(inserts, claims, strict=True) for call in pair))

        taken = [claimed.id for answer in results if answer is not None for claimed in answer.claims]
        taken += [claimed.id for claimed in (await claim(store)).claims]
        assert sorted(taken) == [job.id for job in jobs]

    async def test_an_empty_store_has_nothing_to_claim(self, store: JobStore) -> None:
        answer = await claim(store)

        assert (list(answer.claims), answer.is_solo_waiting, answer.next_at) == ([], False, None)


class ReadinessTests(StoreCase):
    async def test_a_delayed_job_is_claimed_at_its_instant_and_not_before(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        await accept(store, new_job(not_before=clock.now() + 10_000))

        await clock.advance(9.999)
        assert not (await claim(store)).claims
        await clock.advance(0.001)

        assert len((await claim(store)).claims) == 1

    async def test_a_claim_says_when_the_next_delayed_job_is_ready(self, store: JobStore, clock: FakeClock) -> None:
        soon, later = clock.now() + 5_000, clock.now() + 9_000
        await accept(store, new_job(not_before=later), new_job(not_before=soon), new_job(model="other", not_before=1))

        answer = await claim(store)

        assert answer.next_at == soon

    async def test_a_delay_that_has_passed_already_is_no_delay(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(not_before=clock.now() - 1))

        assert len((await claim(store)).claims) == 1

    async def test_a_delayed_job_is_still_claimed_once(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(not_before=clock.now() + 1_000))
        await clock.advance(1)

        await claim_one(store)

        assert not (await claim(store)).claims

    async def test_a_canceled_delayed_job_never_becomes_ready(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(not_before=clock.now() + 1_000)
        await accept(store, job)
        await store.request_cancel([job.job_key])
        await clock.advance(2)

        answer = await claim(store)

        assert (list(answer.claims), answer.next_at) == ([], None)


class ExpiredHeadTests(StoreCase):
    async def test_an_expired_head_is_ended_inside_the_claim(self, store: JobStore, clock: FakeClock) -> None:
        expired = new_job(expire_at=clock.now() + 1_000)
        await accept(store, expired)
        await clock.advance(2)

        answer = await claim(store)

        assert (list(answer.claims), list(answer.ended)) == ([], [expired.job_key])
        ended = await get_one(store, expired.job_key)
        assert (ended.status, ended.attempt, ended.finished_at) == ("failed", 0, clock.now())
        assert ended.error is not None
        assert ended.error.code == "queue_timeout"

    async def test_a_head_is_told_once_as_ended(self, store: JobStore, clock: FakeClock) -> None:
        expired, last_chance = (
            new_job(expire_at=clock.now() + 1_000),
            new_job(expire_at=clock.now() + 1_000, crash_budget=2),
        )
        await accept(store, last_chance)
        await crash(store, last_chance.job_key)
        await accept(store, expired)
        await clock.advance(2)

        answers = await store.claim([request(worker=worker, is_idle=False) for worker in ("a", "b", "c")])

        ended = [key for answer in answers for key in answer.ended]
        assert sorted(ended) == sorted([expired.job_key, last_chance.job_key])

    async def test_the_claim_goes_on_behind_expired_heads(self, store: JobStore, clock: FakeClock) -> None:
        live = new_job()
        await accept(store, *new_jobs(30, expire_at=clock.now() + 1_000), live)
        await clock.advance(2)

        answer = await claim(store, request(slots=1))

        assert [claimed.id for claimed in answer.claims] == [live.id]

    async def test_a_head_expired_in_a_claim_is_owed(self, store: JobStore, clock: FakeClock) -> None:
        expired = new_job(expire_at=clock.now() + 1_000, expire_code="deadline", subscriptions=(subscription(),))
        await accept(store, expired)
        await clock.advance(2)

        await claim(store)

        (owed,) = await owed_now(store)
        assert (owed.id, owed.status, owed.subscriptions) == (expired.id, "failed", expired.subscriptions)

    async def test_a_head_expired_in_a_claim_tells_why(self, store: JobStore, clock: FakeClock) -> None:
        expired = new_job(expire_at=clock.now() + 1_000, expire_code="deadline")
        await accept(store, expired)
        await clock.advance(2)

        await claim(store)

        event = await last_status_event(store, expired.job_key)
        assert (event.id, event.attempt, event.at, event.status) == (2, 0, clock.now(), "failed")
        assert event.error is not None
        assert event.error.code == "deadline"

    async def test_a_head_is_claimed_up_to_its_last_millisecond(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(expire_at=clock.now() + 1_000))
        await clock.advance(0.999)

        assert len((await claim(store)).claims) == 1

    async def test_an_expired_member_does_not_join_a_batch(self, store: JobStore, clock: FakeClock) -> None:
        head, expired, live = new_job(), new_job(expire_at=clock.now() + 1_000), new_job()
        await accept(store, head, expired, live)
        await clock.advance(2)

        answer = await claim(store, request(room(batch_size=3), slots=1))

        assert [claimed.id for claimed in answer.claims] == [head.id, live.id]


def _is_running(event: StoredEvent) -> bool:
    return isinstance(event, StatusEvent) and event.status == "running"
