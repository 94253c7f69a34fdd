"""Waiting for a batch to fill: what is held back, until when, and what is never kept by it."""

from __future__ import annotations

from asyncinfer.abc import Claims, JobStore, ModelRoom
from asyncinfer.lifecycle import HELD_BATCHES
from asyncinfer.testing.builders import PLENTY, lease_of, move_id, new_job, new_jobs, request, retry, room
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import accept, claim, claim_one, crash, end, get_one, start
from asyncinfer.testing.store_suite.store_case import StoreCase

WAIT = 1_000


def waiting(*, size: int = 4, cost: int | None = None, jobs: int = PLENTY) -> ModelRoom:
    """Return room for batches that wait a second to be filled."""
    return room(jobs=jobs, batch_size=size, batch_cost=cost, batch_wait=WAIT)


def ids(answer: Claims) -> list[str]:
    return [claimed.id for claimed in answer.claims]


class BatchWaitTests(StoreCase):
    async def test_a_batch_that_is_not_full_is_held_back_and_says_until_when(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        jobs = new_jobs(3)
        await accept(store, *jobs)

        answer = await claim(store, request(waiting()))

        assert (ids(answer), answer.next_at) == ([], clock.now() + WAIT)
        assert (await get_one(store, jobs[0].job_key)).status == "queued"

    async def test_it_goes_when_its_oldest_job_has_waited_so_long(self, store: JobStore, clock: FakeClock) -> None:
        first = new_job()
        await accept(store, first)
        await clock.advance(0.9)
        second = new_job()
        await accept(store, second)

        early = await claim(store, request(waiting()))
        await clock.advance(0.1)
        due = await claim(store, request(waiting()))

        assert (ids(early), early.next_at) == ([], clock.now())
        assert (ids(due), due.next_at) == ([first.id, second.id], None)

    async def test_a_job_that_fills_it_lets_it_go_at_once(self, store: JobStore) -> None:
        jobs = new_jobs(4)
        await accept(store, *jobs[:3])
        held = await claim(store, request(waiting()))
        await accept(store, jobs[3])

        answer = await claim(store, request(waiting()))

        assert ids(held) == []
        assert ids(answer) == [job.id for job in jobs]
        assert len({claimed.group for claimed in answer.claims}) == 1

    async def test_what_is_left_of_full_batches_is_held_back(self, store: JobStore, clock: FakeClock) -> None:
        jobs = new_jobs(10)
        await accept(store, *jobs)

        answer = await claim(store, request(waiting(), slots=5))

        assert ids(answer) == [job.id for job in jobs[:8]]
        assert answer.next_at == clock.now() + WAIT

    async def test_a_batch_that_has_reached_its_cost_is_full(self, store: JobStore) -> None:
        jobs = new_jobs(2, cost=5)
        await accept(store, *jobs)

        assert ids(await claim(store, request(waiting(cost=10)))) == [job.id for job in jobs]

    async def test_a_batch_that_the_next_job_would_overfill_is_full(self, store: JobStore) -> None:
        jobs = new_jobs(2, cost=6)
        await accept(store, *jobs)

        answer = await claim(store, request(waiting(cost=10), slots=5))

        assert ids(answer) == [jobs[0].id]

    async def test_a_job_that_alone_exceeds_the_cost_does_not_wait(self, store: JobStore) -> None:
        job = new_job(cost=11)
        await accept(store, job)

        assert ids(await claim(store, request(waiting(cost=10)))) == [job.id]

    async def test_a_batch_that_fills_the_models_room_does_not_wait(self, store: JobStore) -> None:
        jobs = new_jobs(2)
        await accept(store, *jobs)

        assert ids(await claim(store, request(waiting(jobs=2)))) == [job.id for job in jobs]

    async def test_without_a_wait_nothing_is_held_back(self, store: JobStore) -> None:
        jobs = new_jobs(3)
        await accept(store, *jobs)

        assert ids(await claim(store, request(room(batch_size=4)))) == [job.id for job in jobs]

    async def test_an_urgent_newcomer_does_not_begin_the_wait_anew(self, store: JobStore, clock: FakeClock) -> None:
        await accept(store, *new_jobs(2, owner="alice"))
        await clock.advance(1)
        await accept(store, new_job(owner="bob", priority=0))

        answer = await claim(store, request(waiting()))

        assert len(answer.claims) == 3

    async def test_a_delayed_job_waits_from_when_it_became_ready(self, store: JobStore, clock: FakeClock) -> None:
        ready_at = clock.now() + 5_000
        await accept(store, new_job(not_before=ready_at))
        await clock.advance(5.5)

        answer = await claim(store, request(waiting()))

        assert (ids(answer), answer.next_at) == ([], ready_at + WAIT)

    async def test_a_retry_waits_from_when_it_became_ready(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        ready_at = clock.now() + 5_000
        await end(store, retry(claimed, not_before=ready_at))
        await clock.advance(5.5)

        answer = await claim(store, request(waiting()))

        assert (ids(answer), answer.next_at) == ([], ready_at + WAIT)

    async def test_a_job_given_back_has_waited_since_it_was_accepted(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        await clock.advance(5)
        await store.give_back([lease_of(claimed)], move_id())

        assert ids(await claim(store, request(waiting()))) == [claimed.id]

    async def test_it_holds_up_no_full_batch_of_another_key(self, store: JobStore, clock: FakeClock) -> None:
        rare, others = new_job(batch_key="rare"), new_jobs(6, batch_key="common")
        await accept(store, rare, *others)

        first = await claim(store, request(waiting(), slots=3))
        await clock.advance(1)
        second = await claim(store, request(waiting(), slots=1))
        third = await claim(store, request(waiting(), slots=1))

        assert ids(first) == [job.id for job in others[:4]]
        assert (ids(second), ids(third)) == ([rare.id], [job.id for job in others[4:]])

    async def test_the_first_of_several_that_wait_says_when_to_ask_again(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        await accept(store, new_job(batch_key="a"), new_job(batch_key="a"))
        await clock.advance(0.5)
        await accept(store, new_job(batch_key="b"), new_job(not_before=clock.now() + 800))

        answer = await claim(store, request(waiting()))

        assert (ids(answer), answer.next_at) == ([], clock.now() + 500)

    async def test_more_batches_than_a_claim_looks_past_all_go_in_the_end(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        jobs = [new_job(batch_key=f"key-{n}") for n in range(HELD_BATCHES + 10)]
        await accept(store, *jobs)

        held = await claim(store, request(waiting()))
        await clock.advance(1)
        answer = await claim(store, request(waiting()))

        assert (ids(held), held.next_at) == ([], clock.now())
        assert ids(answer) == [job.id for job in jobs]

    async def test_a_last_chance_does_not_wait(self, store: JobStore) -> None:
        job, other = new_job(crash_budget=2), new_job()
        await accept(store, job)
        await crash(store, job.job_key)
        await accept(store, other)

        beside = await claim(store, request(waiting(), is_idle=False, is_isolated=True))

        assert ids(beside) == [job.id]

    async def test_a_last_chance_of_an_idle_worker_does_not_wait(self, store: JobStore) -> None:
        job = new_job(crash_budget=2)
        await accept(store, job)
        await crash(store, job.job_key)

        assert ids(await claim(store, request(waiting(), is_idle=True))) == [job.id]

    async def test_a_clock_that_is_set_back_holds_nothing_back(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job()
        await accept(store, job)
        clock.jump(-3_600)

        assert ids(await claim(store, request(waiting()))) == [job.id]

    async def test_a_canceled_job_is_not_counted(self, store: JobStore) -> None:
        jobs = new_jobs(4)
        await accept(store, *jobs)
        await store.request_cancel([jobs[0].job_key])

        assert ids(await claim(store, request(waiting()))) == []

    async def test_another_worker_that_does_not_wait_takes_what_is_held_back(self, store: JobStore) -> None:
        jobs = new_jobs(2)
        await accept(store, *jobs)
        await claim(store, request(waiting()))

        assert ids(await claim(store, request(room(batch_size=4), worker="worker-2"))) == [job.id for job in jobs]


class BatchFairnessTests(StoreCase):
    async def test_a_rare_key_runs_when_its_turn_comes_under_a_flood_of_another(self, store: JobStore) -> None:
        await accept(store, *new_jobs(12, batch_key="common"))
        rare = new_job(batch_key="rare")
        await accept(store, rare)

        answers: list[Claims] = []
        for _ in range(4):
            answers.append(await claim(store, request(room(batch_size=8), slots=1)))
            await accept(store, *new_jobs(16, batch_key="common"))

        assert [len(answer.claims) for answer in answers] == [8, 8, 1, 8]
        assert ids(answers[2]) == [rare.id]

    async def test_a_rare_key_that_waits_runs_first_when_its_wait_is_over(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        await accept(store, *new_jobs(4, batch_key="common"))
        rare = new_job(batch_key="rare")
        await accept(store, rare, *new_jobs(40, batch_key="common"))
        common = [await claim(store, request(waiting(), slots=1)) for _ in range(5)]
        await clock.advance(1)

        answer = await claim(store, request(waiting(), slots=1))

        assert all(claimed.id != rare.id for each in common for claimed in each.claims)
        assert [len(each.claims) for each in common] == [4] * 5
        assert ids(answer) == [rare.id]

    async def test_a_rare_key_of_a_newcomer_overtakes_a_backlog_of_another(self, store: JobStore) -> None:
        await accept(store, *new_jobs(100, owner="alice", batch_key="common"))
        await claim_one(store, request(slots=1))
        rare = new_job(owner="bob", batch_key="rare")
        await accept(store, rare)

        answers = [await claim(store, request(room(batch_size=8), slots=1)) for _ in range(2)]

        assert rare.id in {claimed.id for answer in answers for claimed in answer.claims}
