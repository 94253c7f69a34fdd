"""Fairness: who comes next between owners, priorities and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from asyncinfer.abc import Claim, JobStore, NewJob
from asyncinfer.testing.builders import lease_of, move_id, new_job, new_jobs, request, retry, room
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, finish_one, rescue_one
from asyncinfer.testing.store_suite.store_case import StoreCase


async def next_claims(store: JobStore, count: int) -> Sequence[Claim]:
    """Claim the next jobs of the model `echo` one by one, as workers with one free slot do."""
    return [await claim_one(store) for _ in range(count)]


def position_of(job: NewJob, claims: Sequence[Claim]) -> int:
    """Return where the job stands among the claims, counted from 1."""
    return [claimed.id for claimed in claims].index(job.id) + 1


class OwnerTests(StoreCase):
    async def test_two_owners_take_turns(self, store: JobStore) -> None:
        await accept(store, *new_jobs(10, owner="alice"), *new_jobs(10, owner="bob"))

        claims = await next_claims(store, 20)

        turns = [Counter(claimed.owner for claimed in claims[: 2 * n]) for n in range(1, 11)]
        assert turns == [Counter(alice=n, bob=n) for n in range(1, 11)]

    async def test_one_claim_of_many_is_as_fair_as_many_of_one(self, store: JobStore) -> None:
        await accept(store, *new_jobs(10, owner="alice"), *new_jobs(10, owner="bob"))

        answer = await claim(store, request(slots=10))

        assert Counter(claimed.owner for claimed in answer.claims) == Counter(alice=5, bob=5)

    async def test_a_newcomer_does_not_wait_behind_a_backlog(self, store: JobStore) -> None:
        await accept(store, *new_jobs(1_000, owner="alice"))
        await claim(store, request(slots=500))
        newcomers = new_jobs(10, owner="bob")
        await accept(store, *newcomers)

        claims = await next_claims(store, 21)

        assert Counter(claimed.owner for claimed in claims)["bob"] == 10

    async def test_an_owner_saves_up_no_credit_while_away(self, store: JobStore) -> None:
        await accept(store, new_job(owner="bob"), *new_jobs(200, owner="alice"))
        await claim(store, request(slots=101))
        await accept(store, *new_jobs(100, owner="bob"))

        claims = await next_claims(store, 20)

        assert 9 <= Counter(claimed.owner for claimed in claims)["bob"] <= 11

    async def test_a_hundred_owners_get_their_first_before_anyones_third(self, store: JobStore) -> None:
        jobs = [new_job(owner=f"owner-{n}") for n in range(100) for _ in range(3)]
        await accept(store, *jobs)

        claims = (await claim(store, request(slots=200))).claims

        assert max(Counter(claimed.owner for claimed in claims).values()) == 2


class PriorityTests(StoreCase):
    async def test_an_urgent_job_overtakes_a_thousand_of_its_own_owner(self, store: JobStore) -> None:
        await accept(store, *new_jobs(1_000))
        urgent = new_job(priority=0)
        await accept(store, urgent)

        claims = await next_claims(store, 3)

        assert position_of(urgent, claims) <= 2

    async def test_the_least_urgent_does_not_starve(self, store: JobStore) -> None:
        patient = new_jobs(3, priority=9)
        await accept(store, *new_jobs(300, priority=0), *patient)

        claims = (await claim(store, request(slots=60))).claims

        assert {job.id for job in patient} <= {claimed.id for claimed in claims}

    async def test_a_stream_of_urgent_jobs_does_not_starve_a_waiting_one(self, store: JobStore) -> None:
        await accept(store, *new_jobs(5, priority=0))
        waiting = new_job(priority=9)
        await accept(store, waiting)
        claimed: list[str] = []

        for _ in range(10):
            await accept(store, new_job(priority=0))
            claimed.append((await claim_one(store)).id)

        assert waiting.id in claimed

    async def test_priorities_share_by_their_weights(self, store: JobStore) -> None:
        jobs = new_jobs(100, priority=0)
        await accept(store, *jobs, *new_jobs(100, priority=5))
        urgent = {job.id for job in jobs}

        claims = (await claim(store, request(slots=66))).claims

        # A step of 0.18 against 1: between five and six urgent jobs for each ordinary one.
        assert 54 <= sum(claimed.id in urgent for claimed in claims) <= 57


class TagTests(StoreCase):
    async def test_a_job_given_back_keeps_its_place(self, store: JobStore) -> None:
        jobs = new_jobs(3)
        await accept(store, *jobs)
        first = await claim_one(store)

        await store.give_back([lease_of(first)], move_id())

        assert [claimed.id for claimed in await next_claims(store, 3)] == [job.id for job in jobs]

    async def test_a_rescued_job_keeps_its_place(self, store: JobStore) -> None:
        jobs = new_jobs(3)
        await accept(store, *jobs)
        first = await claim_one(store)

        await rescue_one(store, first.job_key)

        assert [claimed.id for claimed in await next_claims(store, 3)] == [job.id for job in jobs]

    async def test_a_retried_job_stands_at_the_end_of_its_flow(self, store: JobStore) -> None:
        jobs = new_jobs(3)
        await accept(store, *jobs)

        await finish_one(store, retry(await claim_one(store)))

        assert [claimed.id for claimed in await next_claims(store, 3)] == [jobs[1].id, jobs[2].id, jobs[0].id]

    async def test_a_delayed_job_gets_its_place_when_it_is_ready(self, store: JobStore, clock: FakeClock) -> None:
        delayed, *others = new_job(not_before=clock.now() + 1_000), *new_jobs(3)
        await accept(store, delayed, *others)
        await clock.advance(1)

        claims = await next_claims(store, 4)

        assert [claimed.id for claimed in claims] == [*(job.id for job in others), delayed.id]

    async def test_a_retry_overtakes_no_newcomer(self, store: JobStore) -> None:
        await accept(store, *new_jobs(3, owner="alice"))
        await finish_one(store, retry(await claim_one(store)))
        newcomer = new_job(owner="bob")
        await accept(store, newcomer)

        claims = await next_claims(store, 2)

        assert newcomer.id in {claimed.id for claimed in claims}


class ModelTests(StoreCase):
    async def test_models_serve_one_head_each_in_turn(self, store: JobStore) -> None:
        await accept(store, *new_jobs(10, model="a"), *new_jobs(10, model="b"))

        answer = await claim(store, request(room("b"), room("a"), slots=5))

        assert [claimed.model for claimed in answer.claims] == ["b", "a", "b", "a", "b"]

    async def test_a_model_without_work_leaves_its_turn(self, store: JobStore) -> None:
        await accept(store, *new_jobs(1, model="a"), *new_jobs(10, model="b"))

        answer = await claim(store, request(room("a"), room("idle"), room("b"), slots=5))

        assert Counter(claimed.model for claimed in answer.claims) == Counter(a=1, b=4)

    async def test_a_busy_model_does_not_age_the_newcomers_of_another(self, store: JobStore) -> None:
        await accept(store, *new_jobs(300, model="busy"))
        await claim(store, request(room("busy")))
        await accept(store, *new_jobs(50, owner="alice", model="calm"))
        newcomer = new_job(owner="bob", model="calm")
        await accept(store, newcomer)

        answer = await claim(store, request(room("calm"), slots=3))

        assert newcomer.id in {claimed.id for claimed in answer.claims}
