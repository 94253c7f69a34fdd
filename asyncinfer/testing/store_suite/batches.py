"""Batches: one slot filled with jobs of one model and one batch key."""

from __future__ import annotations

from asyncinfer.abc import JobStore
from asyncinfer.testing.builders import lease_of, move_id, new_job, new_jobs, request, room
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one
from asyncinfer.testing.store_suite.store_case import StoreCase


class BatchTests(StoreCase):
    async def test_a_batch_is_one_slot_and_one_group(self, store: JobStore) -> None:
        await accept(store, *new_jobs(4))

        answer = await claim(store, request(room(batch_size=4), slots=1))

        assert len(answer.claims) == 4
        assert len({claimed.group for claimed in answer.claims}) == 1

    async def test_a_batch_is_filled_in_the_order_of_the_line(self, store: JobStore) -> None:
        jobs = new_jobs(6)
        await accept(store, *jobs)

        answer = await claim(store, request(room(batch_size=4), slots=2))

        assert [claimed.id for claimed in answer.claims] == [job.id for job in jobs]
        groups = [claimed.group for claimed in answer.claims]
        assert groups == [groups[0]] * 4 + [groups[4]] * 2
        assert groups[0] != groups[4]

    async def test_single_jobs_are_groups_of_their_own(self, store: JobStore) -> None:
        await accept(store, *new_jobs(3))

        answer = await claim(store, request(slots=3))

        assert len({claimed.group for claimed in answer.claims}) == 3

    async def test_batches_of_two_requests_do_not_share_a_group_within_an_answer(self, store: JobStore) -> None:
        await accept(store, *new_jobs(4, model="a"), *new_jobs(4, model="b"))

        answer = await claim(store, request(room("a", batch_size=4), room("b", batch_size=4), slots=2))

        groups = {claimed.group: claimed.model for claimed in answer.claims}
        assert sorted(groups.values()) == ["a", "b"]
        assert all(groups[claimed.group] == claimed.model for claimed in answer.claims)

    async def test_the_heads_key_fixes_the_batchs(self, store: JobStore) -> None:
        short, long = "short", "long"
        jobs = [new_job(batch_key=key) for key in (short, long, short, long, short)]
        await accept(store, *jobs)

        first = await claim(store, request(room(batch_size=8), slots=1))
        second = await claim(store, request(room(batch_size=8), slots=1))

        assert [claimed.id for claimed in first.claims] == [jobs[0].id, jobs[2].id, jobs[4].id]
        assert [claimed.id for claimed in second.claims] == [jobs[1].id, jobs[3].id]

    async def test_a_batch_holds_no_more_than_its_cost(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5, cost=3))

        answer = await claim(store, request(room(batch_size=8, batch_cost=7), slots=1))

        assert len(answer.claims) == 2

    async def test_a_job_that_costs_more_than_a_batch_runs_alone(self, store: JobStore) -> None:
        big, small = new_job(cost=100), new_job(cost=1)
        await accept(store, big, small)

        answer = await claim(store, request(room(batch_size=8, batch_cost=7), slots=1))

        assert [claimed.id for claimed in answer.claims] == [big.id]

    async def test_a_batch_takes_no_more_than_the_models_room(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5))

        answer = await claim(store, request(room(jobs=3, batch_size=4), slots=5))

        assert len(answer.claims) == 3

    async def test_jobs_of_several_owners_meet_in_a_batch(self, store: JobStore) -> None:
        await accept(store, *new_jobs(4, owner="alice"), *new_jobs(4, owner="bob"))

        answer = await claim(store, request(room(batch_size=4), slots=1))

        assert {claimed.owner for claimed in answer.claims} == {"alice", "bob"}

    async def test_delayed_and_paused_jobs_join_no_batch(self, store: JobStore, clock: FakeClock) -> None:
        head = new_job()
        await accept(store, head, new_job(not_before=clock.now() + 1_000), new_job(queue="paused"))
        await store.pause("paused")

        answer = await claim(store, request(room(batch_size=4), slots=1))

        assert [claimed.id for claimed in answer.claims] == [head.id]

    async def test_a_member_that_was_canceled_joins_no_batch(self, store: JobStore) -> None:
        jobs = new_jobs(3, batch_key="same")
        await accept(store, *jobs)
        await store.request_cancel([jobs[1].job_key])

        answer = await claim(store, request(room(batch_size=4), slots=1))

        assert [claimed.id for claimed in answer.claims] == [jobs[0].id, jobs[2].id]

    async def test_members_given_back_may_meet_again(self, store: JobStore) -> None:
        jobs = new_jobs(3, batch_key="same")
        await accept(store, *jobs)
        answer = await claim(store, request(room(batch_size=3), slots=1))
        await store.give_back([lease_of(claimed) for claimed in answer.claims], move_id())

        again = await claim(store, request(room(batch_size=3), slots=1))

        assert [(claimed.id, claimed.attempt) for claimed in again.claims] == [(job.id, 2) for job in jobs]

    async def test_a_claim_of_size_one_ignores_batch_keys(self, store: JobStore) -> None:
        jobs = [new_job(batch_key=key) for key in ("x", "y", "x")]
        await accept(store, *jobs)

        assert [(await claim_one(store)).id for _ in jobs] == [job.id for job in jobs]
