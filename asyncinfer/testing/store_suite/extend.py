"""Extend: keeping what runs, and the list of leases that observers read."""

from __future__ import annotations

from msgspec.structs import replace

from asyncinfer.abc import JobKey, JobStore
from asyncinfer.testing.builders import LEASE, PLENTY, lease_of, new_job, new_jobs, request, room, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, end, get_one, rescue_one, running, start
from asyncinfer.testing.store_suite.store_case import StoreCase


class ExtendTests(StoreCase):
    async def test_a_held_lease_is_extended_and_counted(self, store: JobStore) -> None:
        claimed = await start(store)

        answers = await store.extend("worker-1", [lease_of(claimed)], LEASE)

        assert list(answers) == ["held"]
        assert (await running(store, claimed.job_key)).renewals == 1
        assert (await get_one(store, claimed.job_key)).renewals == 1

    async def test_extending_is_no_event_and_no_revision(self, store: JobStore) -> None:
        claimed = await start(store)

        await store.extend("worker-1", [lease_of(claimed)], LEASE)

        assert (await get_one(store, claimed.job_key)).revision == 2

    async def test_a_lease_of_an_earlier_attempt_is_lost(self, store: JobStore) -> None:
        stale = await start(store)
        await rescue_one(store, stale.job_key)
        current = await claim_one(store)

        answers = await store.extend("worker-1", [lease_of(stale), lease_of(current)], LEASE)

        assert list(answers) == ["lost", "held"]
        assert (await running(store, stale.job_key)).renewals == 1

    async def test_a_lease_of_an_ended_job_is_lost(self, store: JobStore) -> None:
        claimed = await start(store)
        await end(store, success(claimed))

        assert list(await store.extend("worker-1", [lease_of(claimed)], LEASE)) == ["lost"]

    async def test_a_lease_of_an_unknown_job_is_lost(self, store: JobStore) -> None:
        claimed = await start(store)

        unknown = replace(lease_of(claimed), id="nobody", ref=None)

        assert list(await store.extend("worker-1", [unknown], LEASE)) == ["lost"]

    async def test_a_held_lease_tells_that_its_owner_wants_it_canceled(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.request_cancel([claimed.job_key])

        assert list(await store.extend("worker-1", [lease_of(claimed)], LEASE)) == ["cancel"]
        assert (await running(store, claimed.job_key)).renewals == 1

    async def test_a_new_attempt_starts_its_renewals_again(self, store: JobStore) -> None:
        claimed = await start(store)
        await store.extend("worker-1", [lease_of(claimed)], LEASE)
        await rescue_one(store, claimed.job_key)

        await claim_one(store)

        assert (await running(store, claimed.job_key)).renewals == 0

    async def test_hundreds_of_leases_are_extended_in_one_call(self, store: JobStore) -> None:
        await accept(store, *new_jobs(300))
        leases = [lease_of(claimed) for claimed in (await claim(store)).claims]

        assert list(await store.extend("worker-1", leases, LEASE)) == ["held"] * 300


class LeaseListTests(StoreCase):
    async def test_a_lease_shows_what_an_observer_needs(self, store: JobStore, clock: FakeClock) -> None:
        deadline = clock.now() + 9_000
        claimed = await start(store, new_job(time_limit=2_500, deadline=deadline), request(worker="worker-7", slots=1))
        await store.request_cancel([claimed.job_key])

        lease = await running(store, claimed.job_key)

        assert (lease.attempt, lease.renewals, lease.worker, lease.is_gone) == (1, 0, "worker-7", False)
        assert (lease.cancel_requested, lease.deadline) == (True, deadline)
        assert lease.time_limit_at == clock.now() + 2_500

    async def test_a_job_without_limits_shows_none(self, store: JobStore) -> None:
        lease = await running(store, (await start(store)).job_key)

        assert (lease.time_limit_at, lease.deadline, lease.cancel_requested) == (None, None, False)

    async def test_only_running_jobs_are_listed(self, store: JobStore) -> None:
        await end(store, success(await start(store)))
        claimed = await start(store)
        await accept(store, new_job())

        assert [lease.id for lease in await store.leases(None, PLENTY)] == [claimed.id]

    async def test_leases_of_every_worker_come_in_order_of_key(self, store: JobStore) -> None:
        jobs = [new_job(owner=owner) for owner in ("bob", "", "alice", "bob", "|")]
        await accept(store, *jobs)
        for n in range(5):
            await claim_one(store, request(worker=f"worker-{n}", slots=1))

        keys = [JobKey(lease.owner, lease.id) for lease in await store.leases(None, PLENTY)]

        assert keys == sorted(job.job_key for job in jobs)

    async def test_pages_of_leases_join_without_gap_or_double(self, store: JobStore) -> None:
        jobs = [new_job(owner=f"owner-{n % 3}") for n in range(10)]
        await accept(store, *jobs)
        await claim(store, request(room()))

        seen: list[JobKey] = []
        while page := await store.leases(seen[-1] if seen else None, 3):
            assert len(page) <= 3
            seen += [JobKey(lease.owner, lease.id) for lease in page]

        assert seen == sorted(job.job_key for job in jobs)
