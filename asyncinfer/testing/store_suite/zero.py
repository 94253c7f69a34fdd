"""A bound of 0 is nothing, nowhere everything."""

from __future__ import annotations

from asyncinfer.abc import ClaimRequest, JobFilter, JobStore, Limits, NewDelivery, OutputEvent, Record
from asyncinfer.testing.builders import LEASE, cancellation, new_job, request, room, subscription, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, end, events_of, insert_one, owed_now, start
from asyncinfer.testing.store_suite.store_case import StoreCase


class ZeroTests(StoreCase):
    async def test_limits_of_zero_accept_nothing(self, store: JobStore) -> None:
        limits = (Limits(queued_jobs=0), Limits(queued_bytes=0), Limits(owner_queued_jobs=0))

        answers = [await insert_one(store, new_job(), limit) for limit in limits]

        assert [answer.kind for answer in answers] == ["full", "full", "full"]

    async def test_no_slots_claim_nothing(self, store: JobStore) -> None:
        await accept(store, new_job())

        assert not (await claim(store, request(slots=0))).claims

    async def test_no_room_claims_nothing(self, store: JobStore) -> None:
        await accept(store, new_job())

        assert not (await claim(store, request(room(jobs=0)))).claims

    async def test_no_models_claim_nothing(self, store: JobStore) -> None:
        await accept(store, new_job())

        assert not (await claim(store, ClaimRequest("worker-1", LEASE, 10, ()))).claims

    async def test_no_requests_are_no_answers(self, store: JobStore) -> None:
        await accept(store, new_job())

        assert list(await store.claim([])) == []

    async def test_no_leases_are_listed(self, store: JobStore) -> None:
        await start(store)

        assert list(await store.leases(None, 0)) == []

    async def test_nothing_expires(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, new_job(expire_at=clock.now() + 1_000))
        await clock.advance(2)

        assert list(await store.expire(0)) == []

    async def test_nothing_is_pruned(self, store: JobStore, clock: FakeClock) -> None:
        await end(store, cancellation(await start(store, new_job(retention_result=0, retention_record=0))))
        await clock.advance(1)

        assert await store.prune(0, tombstone=1_000) == 0

    async def test_no_retention_forgets_at_the_next_prune(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(retention_result=0, retention_record=0)
        await end(store, success(await start(store, job)))
        await clock.advance(0.001)

        await store.prune(10, tombstone=0)
        await clock.advance(0.001)
        await store.prune(10, tombstone=0)

        assert not await store.is_tombstone(job.job_key)

    async def test_no_events_are_read(self, store: JobStore) -> None:
        job = new_job()
        await accept(store, job)

        page = await store.events(job.job_key, 0, 0)

        assert list(page.events) == []

    async def test_no_output_is_kept(self, store: JobStore) -> None:
        claimed = await start(store)
        tells = Record(claimed.owner, claimed.id, claimed.attempt, output=(b"1", b"2"), ref=claimed.ref)

        (revision,) = await store.record([tells], Limits(events_per_job=0))

        assert revision == 4
        assert not [event for event in await events_of(store, claimed.job_key) if isinstance(event, OutputEvent)]

    async def test_no_jobs_are_found(self, store: JobStore) -> None:
        await accept(store, new_job())

        page = await store.find("alice", JobFilter(), limit=0)

        assert list(page.jobs) == []

    async def test_nothing_owed_is_leased(self, store: JobStore) -> None:
        await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))

        assert list(await store.outbox.owed(0, LEASE)) == []

    async def test_no_delivery_is_due(self, store: JobStore) -> None:
        await end(store, success(await start(store, new_job(subscriptions=(subscription(),)))))
        (owed,) = await owed_now(store)
        delivery = NewDelivery(id="dlv_1", target="https://a.example.com/", event="job.succeeded", body=b"{}")
        await store.outbox.expand([(owed, [delivery])])

        assert list(await store.outbox.due(0, LEASE)) == []
