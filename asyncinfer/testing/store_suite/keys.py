"""Idempotency keys and dedup: when a submission is answered by a job that is there already."""

from __future__ import annotations

import asyncio
from collections import Counter

from asyncinfer.abc import JobStore, Limits
from asyncinfer.testing.builders import failure, new_job, new_jobs, request, subscription, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    LIMITS,
    accept,
    claim,
    claim_one,
    end,
    find_one,
    finish_one,
    get_one,
    insert_one,
    owed_now,
    start,
)
from asyncinfer.testing.store_suite.store_case import StoreCase

NOTHING_FITS = Limits(queued_jobs=0)


class KeyTests(StoreCase):
    async def test_the_same_key_is_answered_by_the_first_job(self, store: JobStore) -> None:
        first, second = new_job(key="order-7"), new_job(key="order-7")
        await accept(store, first)

        answer = await insert_one(store, second)

        assert (answer.kind, answer.id, answer.status) == ("existing", first.id, "queued")
        assert await find_one(store, second.job_key) is None

    async def test_the_answer_says_where_the_first_job_stands(self, store: JobStore) -> None:
        await end(store, success(await start(store, new_job(key="order-7"))))

        answer = await insert_one(store, new_job(key="order-7"))

        assert (answer.kind, answer.status) == ("existing", "succeeded")

    async def test_a_key_with_another_fingerprint_is_a_conflict(self, store: JobStore) -> None:
        first = new_job(key="order-7", fingerprint=b"first")
        await accept(store, first)

        answer = await insert_one(store, new_job(key="order-7", fingerprint=b"second"))

        assert (answer.kind, answer.id) == ("conflict", first.id)

    async def test_the_same_key_twice_in_one_insert_is_one_job(self, store: JobStore) -> None:
        first, second = new_job(key="order-7"), new_job(key="order-7")

        answers = await store.insert([first, second], LIMITS)

        assert [(answer.kind, answer.id) for answer in answers] == [("inserted", first.id), ("existing", first.id)]

    async def test_the_same_key_twice_in_one_insert_with_two_inputs_is_a_conflict(self, store: JobStore) -> None:
        first, second = new_job(key="order-7", fingerprint=b"1"), new_job(key="order-7", fingerprint=b"2")

        answers = await store.insert([first, second], LIMITS)

        assert [(answer.kind, answer.id) for answer in answers] == [("inserted", first.id), ("conflict", first.id)]

    async def test_a_key_of_a_refused_item_is_not_taken(self, store: JobStore) -> None:
        refused, accepted = new_job(key="order-7"), new_job(key="order-7")
        await insert_one(store, refused, NOTHING_FITS)

        answer = await insert_one(store, accepted)

        assert (answer.kind, answer.id) == ("inserted", accepted.id)

    async def test_sixty_four_submits_of_one_key_at_once_make_one_job(self, store: JobStore) -> None:
        jobs = new_jobs(64, key="order-7")

        answers = await asyncio.gather(*(insert_one(store, job) for job in jobs))

        assert Counter(answer.kind for answer in answers) == {"inserted": 1, "existing": 63}
        assert len({answer.id for answer in answers}) == 1

    async def test_keys_of_two_owners_are_two_keys(self, store: JobStore) -> None:
        await accept(store, new_job(owner="alice", key="order-7"), new_job(owner="bob", key="order-7"))

    async def test_the_key_is_looked_at_before_the_id(self, store: JobStore) -> None:
        keyed, other = new_job(key="order-7"), new_job()
        await accept(store, keyed, other)

        answer = await insert_one(store, new_job(id=other.id, key="order-7"))

        assert (answer.kind, answer.id) == ("existing", keyed.id)

    async def test_a_full_queue_still_answers_for_a_key_and_an_id(self, store: JobStore) -> None:
        keyed, plain, dedup = new_job(key="order-7"), new_job(), new_job(dedup=b"same", dedup_until=2**60)
        await accept(store, keyed, plain, dedup)

        answers = await store.insert(
            [new_job(key="order-7"), plain, new_job(dedup=b"same", dedup_until=2**60)], NOTHING_FITS
        )

        assert [(answer.kind, answer.id) for answer in answers] == [
            ("existing", keyed.id),
            ("existing", plain.id),
            ("existing", dedup.id),
        ]

    async def test_a_key_outlives_its_time_while_its_job_is_there(self, store: JobStore, clock: FakeClock) -> None:
        first = new_job(key="order-7", key_until=clock.now() + 1_000)
        await end(store, success(await start(store, first)))
        await clock.advance(5)

        answer = await insert_one(store, new_job(key="order-7"))

        assert (answer.kind, answer.id) == ("existing", first.id)

    async def test_a_key_holds_while_its_jobs_tombstone_stays(self, store: JobStore, clock: FakeClock) -> None:
        first = new_job(key="order-7", key_until=clock.now() + 1_000, retention_result=0, retention_record=0)
        await end(store, success(await start(store, first)))
        await clock.advance(5)
        await store.prune(10, tombstone=20_000)

        answer = await insert_one(store, new_job(key="order-7"))

        assert (answer.kind, answer.id) == ("gone", first.id)

    async def test_a_key_holds_until_its_time_after_its_tombstone(self, store: JobStore, clock: FakeClock) -> None:
        first = new_job(key="order-7", key_until=clock.now() + 20_000, retention_result=0, retention_record=0)
        await end(store, success(await start(store, first)))
        await clock.advance(1)
        await store.prune(10, tombstone=1_000)
        await clock.advance(5)
        await store.prune(10, tombstone=1_000)

        answer = await insert_one(store, new_job(key="order-7"))

        assert (answer.kind, answer.id) == ("gone", first.id)

    async def test_a_key_is_free_after_its_time_and_its_tombstone(self, store: JobStore, clock: FakeClock) -> None:
        first = new_job(key="order-7", key_until=clock.now() + 5_000, retention_result=0, retention_record=0)
        await end(store, success(await start(store, first)))
        await clock.advance(1)
        await store.prune(10, tombstone=1_000)
        await clock.advance(10)
        await store.prune(10, tombstone=1_000)

        answer = await insert_one(store, new_job(key="order-7"))

        assert answer.kind == "inserted"


class DedupTests(StoreCase):
    async def test_a_waiting_job_answers_for_the_same_work(self, store: JobStore) -> None:
        first, second = new_job(dedup=b"same", dedup_until=2**60), new_job(dedup=b"same", dedup_until=2**60)
        await accept(store, first)

        answer = await insert_one(store, second)

        assert (answer.kind, answer.id, answer.status) == ("existing", first.id, "queued")

    async def test_a_running_job_answers_for_the_same_work(self, store: JobStore) -> None:
        first = new_job(dedup=b"same", dedup_until=2**60)
        await start(store, first)

        answer = await insert_one(store, new_job(dedup=b"same", dedup_until=2**60))

        assert (answer.kind, answer.id, answer.status) == ("existing", first.id, "running")

    async def test_a_succeeded_job_answers_until_its_dedup_ends(self, store: JobStore, clock: FakeClock) -> None:
        until = clock.now() + 10_000
        first = new_job(dedup=b"same", dedup_until=until)
        await end(store, success(await start(store, first)))

        await clock.advance(9)
        before = await insert_one(store, new_job(dedup=b"same", dedup_until=until))
        await clock.advance(2)
        after = await insert_one(store, new_job(dedup=b"same", dedup_until=2**60))

        assert (before.kind, before.id) == ("existing", first.id)
        assert after.kind == "inserted"

    async def test_a_failed_job_does_not_answer_for_the_same_work(self, store: JobStore) -> None:
        await end(store, failure(await start(store, new_job(dedup=b"same", dedup_until=2**60))))

        answer = await insert_one(store, new_job(dedup=b"same", dedup_until=2**60))

        assert answer.kind == "inserted"

    async def test_a_canceled_job_does_not_answer_for_the_same_work(self, store: JobStore) -> None:
        canceled = new_job(dedup=b"same", dedup_until=2**60)
        await accept(store, canceled)
        await store.request_cancel([canceled.job_key])

        answer = await insert_one(store, new_job(dedup=b"same", dedup_until=2**60))

        assert answer.kind == "inserted"

    async def test_after_a_failure_the_new_job_answers(self, store: JobStore) -> None:
        await end(store, failure(await start(store, new_job(dedup=b"same", dedup_until=2**60))))
        second = new_job(dedup=b"same", dedup_until=2**60)
        await accept(store, second)

        answer = await insert_one(store, new_job(dedup=b"same", dedup_until=2**60))

        assert (answer.kind, answer.id) == ("existing", second.id)

    async def test_the_same_work_twice_in_one_insert_is_one_job(self, store: JobStore) -> None:
        first, second = new_jobs(2, dedup=b"same", dedup_until=2**60)

        answers = await store.insert([first, second], LIMITS)

        assert [(answer.kind, answer.id) for answer in answers] == [("inserted", first.id), ("existing", first.id)]

    async def test_dedup_of_two_owners_does_not_meet(self, store: JobStore) -> None:
        await accept(store, *(new_job(owner=owner, dedup=b"same", dedup_until=2**60) for owner in ("alice", "bob")))

    async def test_dedup_of_two_models_does_not_meet(self, store: JobStore) -> None:
        await accept(store, *(new_job(model=model, dedup=b"same", dedup_until=2**60) for model in ("a", "b")))

    async def test_a_pruned_job_does_not_answer_for_the_same_work(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(dedup=b"same", dedup_until=2**60, retention_result=0, retention_record=0)
        await end(store, success(await start(store, job)))
        await clock.advance(1)
        await store.prune(10, tombstone=20_000)

        answer = await insert_one(store, new_job(dedup=b"same", dedup_until=2**60))

        assert answer.kind == "inserted"


class ReplayTests(StoreCase):
    async def test_a_replay_adds_its_subscription(self, store: JobStore) -> None:
        mine, theirs = subscription("https://mine.example.com/"), subscription("https://theirs.example.com/")
        await accept(store, new_job(key="order-7", subscriptions=(mine,)))
        await insert_one(store, new_job(key="order-7", subscriptions=(theirs,)))

        await end(store, success(await claim_one(store)))

        (owed,) = await owed_now(store)
        assert set(owed.subscriptions) == {mine, theirs}

    async def test_a_replay_gives_a_job_without_subscribers_its_first(self, store: JobStore) -> None:
        job = new_job(dedup=b"same", dedup_until=2**60)
        claimed = await start(store, job)
        await insert_one(store, new_job(dedup=b"same", dedup_until=2**60, subscriptions=(subscription(),)))
        assert (await get_one(store, job.job_key)).has_subscriptions

        await end(store, success(claimed))

        (owed,) = await owed_now(store)
        assert owed.subscriptions == (subscription(),)

    async def test_a_repeated_insert_does_not_subscribe_twice(self, store: JobStore) -> None:
        job = new_job(subscriptions=(subscription(),))
        await accept(store, job)
        await insert_one(store, job)

        await end(store, success(await claim_one(store)))

        (owed,) = await owed_now(store)
        assert owed.subscriptions == (subscription(),)

    async def test_a_replay_of_an_ended_job_is_owed_at_once(self, store: JobStore, clock: FakeClock) -> None:
        job = new_job(key="order-7")
        ended = await end(store, success(await start(store, job)))
        await clock.advance(1)

        await insert_one(store, new_job(key="order-7", subscriptions=(subscription(),)))

        (owed,) = await owed_now(store)
        assert (owed.id, owed.status, owed.revision, owed.at) == (
            job.id,
            "succeeded",
            ended.revision,
            ended.finished_at,
        )
        assert owed.subscriptions == (subscription(),)

    async def test_a_replay_of_an_ended_job_owes_nothing_to_who_was_told(self, store: JobStore) -> None:
        first, second = subscription("https://first.example.com/"), subscription("https://second.example.com/")
        job = new_job(key="order-7", subscriptions=(first,))
        await end(store, success(await start(store, job)))
        (owed,) = await owed_now(store)
        await store.outbox.expand([(owed, ())])

        await insert_one(store, job)
        await insert_one(store, new_job(key="order-7", subscriptions=(second,)))

        (owed_again,) = await owed_now(store)
        assert owed_again.subscriptions == (second,)

    async def test_a_conflict_subscribes_nobody(self, store: JobStore) -> None:
        claimed = await start(store, new_job(key="order-7"))
        await insert_one(store, new_job(key="order-7", fingerprint=b"other", subscriptions=(subscription(),)))

        await finish_one(store, success(claimed))

        assert list(await owed_now(store)) == []

    async def test_a_replay_claims_no_second_job(self, store: JobStore) -> None:
        await accept(store, new_job(key="order-7"))
        await insert_one(store, new_job(key="order-7"))

        answer = await claim(store, request())

        assert len(answer.claims) == 1
