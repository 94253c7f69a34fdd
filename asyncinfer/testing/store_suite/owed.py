"""Owed events: written with the move that ends a job, whoever makes it, and exactly once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from asyncinfer.abc import JobStore, NewDelivery, NewJob
from asyncinfer.testing.builders import (
    LEASE,
    PLENTY,
    cancellation,
    failure,
    lease_of,
    move_id,
    new_job,
    new_jobs,
    retry,
    subscription,
    success,
)
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, end, finish_one, get_one, owed_now, rescue_one, start
from asyncinfer.testing.store_suite.store_case import StoreCase

Ending = Callable[[JobStore, FakeClock, NewJob], Awaitable[object]]


async def succeed(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    return await end(store, success(await claim_one(store)))


async def fail(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    return await end(store, failure(await claim_one(store)))


async def cancel_running(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    return await end(store, cancellation(await claim_one(store)))


async def retry_canceled(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    claimed = await claim_one(store)
    await store.request_cancel([job.job_key])
    return await end(store, retry(claimed))


async def give_back_canceled(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    claimed = await claim_one(store)
    await store.request_cancel([job.job_key])
    return await store.give_back([lease_of(claimed)], move_id())


async def rescue_canceled(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    await claim_one(store)
    await store.request_cancel([job.job_key])
    return await rescue_one(store, job.job_key)


async def rescue_at_the_budget(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    await claim_one(store)
    return await rescue_one(store, job.job_key)


async def cancel_queued(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    return await store.request_cancel([job.job_key])


async def expire(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    await clock.advance(11)
    return await store.expire(100)


async def expire_in_a_claim(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    await clock.advance(11)
    return await claim(store)


async def purge(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    return await store.purge(None, job.queue)


async def delete_queued(store: JobStore, clock: FakeClock, job: NewJob) -> object:
    return await store.delete([job.job_key])


ENDINGS = [
    (succeed, "succeeded"),
    (fail, "failed"),
    (cancel_running, "canceled"),
    (retry_canceled, "canceled"),
    (give_back_canceled, "canceled"),
    (rescue_canceled, "canceled"),
    (rescue_at_the_budget, "failed"),
    (cancel_queued, "canceled"),
    (expire, "failed"),
    (expire_in_a_claim, "failed"),
    (purge, "canceled"),
    (delete_queued, "canceled"),
]


class OwedTests(StoreCase):
    @pytest.mark.parametrize(("ending", "status"), ENDINGS)
    async def test_a_terminal_move_is_owed_once_to_its_subscribers(
        self, store: JobStore, clock: FakeClock, ending: Ending, status: str
    ) -> None:
        subscribers = (subscription("https://a.example.com/"), subscription("https://b.example.com/"))
        job = new_job(crash_budget=1, expire_at=clock.now() + 10_000, subscriptions=subscribers)
        await accept(store, job)

        await ending(store, clock, job)

        (owed,) = await owed_now(store)
        assert (owed.owner, owed.id, owed.status, owed.at) == (job.owner, job.id, status, clock.now())
        assert owed.subscriptions == subscribers

    @pytest.mark.parametrize(("ending", "status"), ENDINGS)
    async def test_a_terminal_move_of_a_job_without_subscribers_owes_nothing(
        self, store: JobStore, clock: FakeClock, ending: Ending, status: str
    ) -> None:
        job = new_job(crash_budget=1, expire_at=clock.now() + 10_000)
        await accept(store, job)

        await ending(store, clock, job)

        assert list(await owed_now(store)) == []

    async def test_what_does_not_end_a_job_owes_nothing(self, store: JobStore) -> None:
        job = new_job(subscriptions=(subscription(),))
        await end(store, retry(await start(store, job)))
        await store.give_back([lease_of(await claim_one(store))], move_id())
        claimed = await claim_one(store)
        await rescue_one(store, claimed.job_key)

        assert list(await owed_now(store)) == []

    async def test_an_owed_event_names_the_revision_of_the_move(self, store: JobStore) -> None:
        ended = await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))

        (owed,) = await owed_now(store)

        assert owed.revision == ended.revision

    async def test_a_repeated_finish_owes_nothing_more(self, store: JobStore) -> None:
        write = success(await start(store, new_job(subscriptions=(subscription(),))))
        await store.finish([write, write])
        await finish_one(store, write)

        assert len(await owed_now(store)) == 1

    async def test_owed_events_come_in_the_order_of_the_moves(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5, subscriptions=(subscription(),)))
        claims = list(reversed((await claim(store)).claims))
        for claimed in claims:
            await finish_one(store, success(claimed))

        owed = await owed_now(store)

        assert [event.id for event in owed] == [claimed.id for claimed in claims]
        numbers = [event.n for event in owed]
        assert numbers == sorted(set(numbers))

    async def test_a_call_leases_no_more_than_its_limit(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5, subscriptions=(subscription(),)))
        await store.finish([success(claimed) for claimed in (await claim(store)).claims])

        leased = [await store.outbox.owed(2, LEASE) for _ in range(4)]

        assert [len(page) for page in leased] == [2, 2, 1, 0]
        assert len({event.n for page in leased for event in page}) == 5

    async def test_an_owed_event_that_is_not_expanded_is_offered_again(self, store: JobStore, clock: FakeClock) -> None:
        await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))
        first = await store.outbox.owed(PLENTY, 10_000)

        await clock.advance(9)
        early = await store.outbox.owed(PLENTY, 10_000)
        await clock.advance(2)
        again = await store.outbox.owed(PLENTY, 10_000)

        assert list(early) == []
        assert [event.n for event in again] == [event.n for event in first]

    async def test_an_expanded_event_is_owed_no_more(self, store: JobStore, clock: FakeClock) -> None:
        await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))
        (owed,) = await store.outbox.owed(PLENTY, 1_000)

        await store.outbox.expand([(owed, ())])
        await clock.advance(2)

        assert list(await owed_now(store)) == []

    async def test_expanding_twice_adds_nothing(self, store: JobStore) -> None:
        ended = await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))
        (owed,) = await owed_now(store)
        delivery = NewDelivery(id="dlv_1", target="https://a.example.com/", event="job.succeeded", body=b"{}")

        await store.outbox.expand([(owed, [delivery])])
        await store.outbox.expand([(owed, [delivery])])

        assert [made.id for made in await store.outbox.of_job(ended.job_key)] == ["dlv_1"]
        assert len(await store.outbox.due(PLENTY, LEASE)) == 1

    async def test_a_late_repeat_does_not_send_again(self, store: JobStore) -> None:
        ended = await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))
        (owed,) = await owed_now(store)
        await store.outbox.expand([(owed, ())])
        delivery = NewDelivery(id="dlv_1", target="https://a.example.com/", event="job.succeeded", body=b"{}")

        await store.outbox.expand([(owed, [delivery])])

        assert list(await store.outbox.of_job(ended.job_key)) == []

    async def test_nothing_is_due_while_nothing_is_owed(self, store: JobStore) -> None:
        await end(store, success(await start(store)))

        assert await store.outbox.next_due_at() is None

    async def test_what_is_owed_is_due_now(self, store: JobStore, clock: FakeClock) -> None:
        await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))

        due_at = await store.outbox.next_due_at()

        assert due_at is not None
        assert due_at <= clock.now()

    async def test_an_ended_job_shows_its_subscribers(self, store: JobStore) -> None:
        job = new_job(subscriptions=(subscription(),))
        await end(store, success(await start(store, job)))

        assert (await get_one(store, job.job_key)).has_subscriptions
