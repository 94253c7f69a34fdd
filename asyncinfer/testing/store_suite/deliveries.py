"""Deliveries and endpoints: what a sender leases, settles, and can look up."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from asyncinfer.abc import (
    Delivery,
    DeliveryAttempt,
    DeliveryFilter,
    DeliveryStatus,
    Endpoint,
    JobKey,
    JobStore,
    NewDelivery,
    Settlement,
)
from asyncinfer.testing.builders import LEASE, PLENTY, new_job, subscription, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import end, find_one, owed_now, start
from asyncinfer.testing.store_suite.store_case import StoreCase

HERE = "https://here.example.com/"
THERE = "https://there.example.com/"


def delivery(name: str = "dlv_1", *, target: str = HERE, due_at: int = 0, endpoint: str | None = None) -> NewDelivery:
    """Return a delivery that is due at once."""
    return NewDelivery(
        id=name,
        target=target,
        event="job.succeeded",
        body=b'{"n": 1}\x00',
        endpoint=endpoint,
        secret="whsec_1",
        due_at=due_at,
    )


async def deliver(store: JobStore, *deliveries: NewDelivery, owner: str = "alice") -> JobKey:
    """End a job and expand what it owes into these deliveries; return the job."""
    job = new_job(owner=owner, subscriptions=(subscription(),), retention_result=0, retention_record=0)
    await end(store, success(await start(store, job)))
    (owed,) = await owed_now(store)
    await store.outbox.expand([(owed, deliveries)])
    return job.job_key


async def due(store: JobStore, lease: int = LEASE, skip: Sequence[str] = ()) -> Sequence[Delivery]:
    """Lease every delivery that is due."""
    return await store.outbox.due(PLENTY, lease, skip=skip)


def settled(sent: Delivery, status: DeliveryStatus, *, at: int, due_at: int | None = None) -> Settlement:
    """Return how an attempt went."""
    if status == "delivered":
        line = DeliveryAttempt(at=at, kind="delivered", status_code=200, latency=12)
    else:
        line = DeliveryAttempt(at=at, kind="timeout", latency=5_000, detail="no answer")
    return Settlement(id=sent.id, lease_token=sent.lease_token, status=status, attempt=line, due_at=due_at)


class DeliveryTests(StoreCase):
    async def test_a_due_delivery_holds_all_that_is_to_be_sent(self, store: JobStore, clock: FakeClock) -> None:
        key = await deliver(store, delivery(endpoint="ep_1"))

        (sent,) = await due(store)

        assert (sent.id, sent.owner, sent.job_id) == ("dlv_1", key.owner, key.id)
        assert (sent.target, sent.event, sent.body, sent.secret) == (HERE, "job.succeeded", b'{"n": 1}\x00', "whsec_1")
        assert (sent.status, sent.attempts, sent.endpoint, sent.last) == ("pending", 0, "ep_1", None)
        assert sent.created_at == clock.now()

    async def test_a_delivery_is_due_at_its_instant_and_not_before(self, store: JobStore, clock: FakeClock) -> None:
        await deliver(store, delivery(due_at=clock.now() + 5_000))

        await clock.advance(4.999)
        assert list(await due(store)) == []
        assert await store.outbox.next_due_at() == clock.now() + 1
        await clock.advance(0.001)

        assert len(await due(store)) == 1

    async def test_the_oldest_comes_first(self, store: JobStore, clock: FakeClock) -> None:
        now = clock.now()
        dues = {"dlv_1": now, "dlv_2": now - 9, "dlv_3": now - 5}
        await deliver(store, *(delivery(name, due_at=due_at) for name, due_at in dues.items()))

        assert [sent.id for sent in await due(store)] == ["dlv_2", "dlv_3", "dlv_1"]

    async def test_a_target_that_is_skipped_holds_up_no_other(self, store: JobStore) -> None:
        here = [delivery(f"dlv_{n}", target=HERE) for n in range(20)]
        await deliver(store, *here, delivery("dlv_there", target=THERE))

        sent = await store.outbox.due(1, LEASE, skip=[HERE])

        assert [one.id for one in sent] == ["dlv_there"]

    async def test_a_leased_delivery_is_offered_to_no_other_sender(self, store: JobStore) -> None:
        await deliver(store, delivery())
        await due(store)

        assert list(await due(store)) == []

    async def test_a_delivery_that_is_not_settled_is_offered_again(self, store: JobStore, clock: FakeClock) -> None:
        await deliver(store, delivery())
        (first,) = await due(store, lease=10_000)
        await clock.advance(11)

        (again,) = await due(store)

        assert (again.id, again.body) == (first.id, first.body)
        assert again.lease_token != first.lease_token

    async def test_one_delivery_is_told_to_its_owner_alone(self, store: JobStore) -> None:
        await deliver(store, delivery(), owner="alice")

        told = await store.outbox.delivery("alice", "dlv_1")

        assert told is not None
        assert (told.id, told.target, told.body) == ("dlv_1", HERE, b"")
        assert await store.outbox.delivery("bob", "dlv_1") is None
        assert await store.outbox.delivery("alice", "dlv_2") is None


class SettleTests(StoreCase):
    async def test_a_delivered_one_is_done_with(self, store: JobStore, clock: FakeClock) -> None:
        key = await deliver(store, delivery())
        (sent,) = await due(store)

        assert list(await store.outbox.settle([settled(sent, "delivered", at=clock.now())])) == [True]

        (done,) = await store.outbox.of_job(key)
        assert (done.status, done.attempts) == ("delivered", 1)
        assert done.last is not None
        assert (done.last.kind, done.last.status_code) == ("delivered", 200)
        await clock.advance(25)
        assert list(await due(store)) == []
        assert await store.outbox.next_due_at() is None

    async def test_one_that_stays_pending_is_due_at_its_new_instant(self, store: JobStore, clock: FakeClock) -> None:
        await deliver(store, delivery())
        (sent,) = await due(store)
        later = clock.now() + 5_000

        await store.outbox.settle([settled(sent, "pending", at=clock.now(), due_at=later)])

        assert list(await due(store)) == []
        assert await store.outbox.next_due_at() == later
        await clock.advance(5)
        (again,) = await due(store)
        assert again.attempts == 1

    async def test_each_attempt_has_its_line_in_the_log(self, store: JobStore, clock: FakeClock) -> None:
        await deliver(store, delivery())
        (first,) = await due(store)
        failed = settled(first, "pending", at=clock.now(), due_at=clock.now())
        await store.outbox.settle([failed])
        (second,) = await due(store)
        done = settled(second, "delivered", at=clock.now())
        await store.outbox.settle([done])

        assert list(await store.outbox.log("alice", "dlv_1")) == [failed.attempt, done.attempt]

    async def test_a_log_is_for_its_owner(self, store: JobStore, clock: FakeClock) -> None:
        await deliver(store, delivery())
        (sent,) = await due(store)
        await store.outbox.settle([settled(sent, "delivered", at=clock.now())])

        assert list(await store.outbox.log("bob", "dlv_1")) == []
        assert list(await store.outbox.log("alice", "dlv_unknown")) == []

    async def test_a_sender_whose_lease_has_ended_settles_nothing(self, store: JobStore, clock: FakeClock) -> None:
        key = await deliver(store, delivery())
        (stale,) = await due(store, lease=1_000)
        await clock.advance(2)
        (current,) = await due(store)

        answers = await store.outbox.settle(
            [settled(stale, "exhausted", at=clock.now()), settled(current, "delivered", at=clock.now())]
        )

        assert list(answers) == [False, True]
        (done,) = await store.outbox.of_job(key)
        assert (done.status, done.attempts) == ("delivered", 1)

    async def test_settling_twice_counts_once(self, store: JobStore, clock: FakeClock) -> None:
        key = await deliver(store, delivery())
        (sent,) = await due(store)
        settlement = settled(sent, "exhausted", at=clock.now())
        await store.outbox.settle([settlement])

        assert list(await store.outbox.settle([settlement])) == [False]

        (done,) = await store.outbox.of_job(key)
        assert done.attempts == 1

    async def test_an_unknown_delivery_is_not_settled(self, store: JobStore, clock: FakeClock) -> None:
        await deliver(store, delivery())
        (sent,) = await due(store)

        unknown = replace(settled(sent, "delivered", at=clock.now()), id="dlv_unknown")

        assert list(await store.outbox.settle([unknown])) == [False]

    async def test_a_job_with_a_pending_delivery_is_not_pruned(self, store: JobStore, clock: FakeClock) -> None:
        key = await deliver(store, delivery())
        (sent,) = await due(store)
        await clock.advance(1)
        await store.prune(100, tombstone=20_000)
        assert await find_one(store, key) is not None

        await store.outbox.settle([settled(sent, "delivered", at=clock.now())])
        await store.prune(100, tombstone=20_000)

        assert await find_one(store, key) is None


class DeliveryListTests(StoreCase):
    async def test_deliveries_come_newest_first_without_bodies(self, store: JobStore) -> None:
        await deliver(store, delivery("dlv_1"), delivery("dlv_2"))
        await deliver(store, delivery("dlv_9"), owner="bob")

        listed = await store.outbox.deliveries("alice", DeliveryFilter())

        assert [(one.id, one.body) for one in listed] == [("dlv_2", b""), ("dlv_1", b"")]

    async def test_pages_join_behind_an_id(self, store: JobStore) -> None:
        await deliver(store, *(delivery(f"dlv_{n}") for n in range(5)))

        first = await store.outbox.deliveries("alice", DeliveryFilter(), limit=2)
        rest = await store.outbox.deliveries("alice", DeliveryFilter(), after=first[-1].id, limit=5)

        assert [one.id for one in (*first, *rest)] == ["dlv_4", "dlv_3", "dlv_2", "dlv_1", "dlv_0"]

    async def test_all_that_a_filter_of_deliveries_names_must_hold(self, store: JobStore, clock: FakeClock) -> None:
        first = await deliver(store, delivery("dlv_1", endpoint="ep_1"), delivery("dlv_2", endpoint="ep_2"))
        await deliver(store, delivery("dlv_3", endpoint="ep_1"))
        (sent,) = [one for one in await due(store) if one.id == "dlv_1"]
        await store.outbox.settle([settled(sent, "delivered", at=clock.now())])

        async def listed(matching: DeliveryFilter) -> list[str]:
            return [one.id for one in await store.outbox.deliveries(None, matching)]

        assert await listed(DeliveryFilter(job_id=first.id)) == ["dlv_2", "dlv_1"]
        assert await listed(DeliveryFilter(endpoint="ep_1")) == ["dlv_3", "dlv_1"]
        assert await listed(DeliveryFilter(status="delivered")) == ["dlv_1"]
        assert await listed(DeliveryFilter(endpoint="ep_1", status="pending")) == ["dlv_3"]
        assert await listed(DeliveryFilter(since=clock.now() + 1)) == []
        assert await listed(DeliveryFilter(until=clock.now() - 1)) == []

    async def test_a_jobs_deliveries_are_for_its_owner(self, store: JobStore) -> None:
        key = await deliver(store, delivery())

        assert [(one.id, one.body) for one in await store.outbox.of_job(key)] == [("dlv_1", b"")]
        assert list(await store.outbox.of_job(JobKey("bob", key.id))) == []


class RedeliverTests(StoreCase):
    async def test_an_ended_delivery_is_sent_again_with_the_same_id_and_body(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        await deliver(store, delivery())
        (sent,) = await due(store)
        await store.outbox.settle([settled(sent, "delivered", at=clock.now())])

        assert list(await store.outbox.redeliver("alice", ["dlv_1"], clock.now())) == [True]

        (again,) = await due(store)
        assert (again.id, again.body, again.status) == (sent.id, sent.body, "pending")

    async def test_what_is_sent_again_keeps_its_attempts_and_counts_anew(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        key = await deliver(store, *(delivery(name, endpoint="ep_1") for name in ("dlv_1", "dlv_2")))
        for _ in range(2):
            for sent in await due(store):
                await store.outbox.settle([settled(sent, "pending", at=clock.now(), due_at=clock.now())])
        for sent in await due(store):
            await store.outbox.settle([settled(sent, "exhausted", at=clock.now())])

        await store.outbox.redeliver("alice", ["dlv_1"], clock.now())
        await store.outbox.recover("alice", "ep_1", 0, clock.now(), clock.now())

        for sent in await due(store):
            assert (sent.attempts, sent.attempts_before) == (3, 3)
            await store.outbox.settle([settled(sent, "pending", at=clock.now(), due_at=clock.now())])
        await store.outbox.redeliver("alice", ["dlv_1"], clock.now())
        for listed in await store.outbox.of_job(key):
            assert (listed.attempts, listed.attempts_before) == (4, 3)
            assert len(await store.outbox.log("alice", listed.id)) == 4

    async def test_unknown_and_other_owners_deliveries_are_not(self, store: JobStore, clock: FakeClock) -> None:
        await deliver(store, delivery())
        (sent,) = await due(store)
        await store.outbox.settle([settled(sent, "exhausted", at=clock.now())])

        assert list(await store.outbox.redeliver("bob", ["dlv_1"], clock.now())) == [False]
        assert list(await store.outbox.redeliver("alice", ["dlv_unknown"], clock.now())) == [False]
        assert list(await due(store)) == []

    async def test_an_endpoint_recovers_what_it_missed(self, store: JobStore, clock: FakeClock) -> None:
        endings: dict[str, DeliveryStatus] = {"dlv_1": "delivered", "dlv_2": "exhausted", "dlv_3": "disabled"}
        await deliver(store, *(delivery(name, endpoint="ep_1") for name in endings))
        await deliver(store, delivery("dlv_other", endpoint="ep_2"))
        for sent in await due(store):
            await store.outbox.settle([settled(sent, endings.get(sent.id, "exhausted"), at=clock.now())])
        since, until = clock.now() - 1_000, clock.now() + 1_000

        assert await store.outbox.recover("bob", "ep_1", since, until, clock.now()) == 0
        assert await store.outbox.recover("alice", "ep_1", since - 9_000, since - 1, clock.now()) == 0
        assert await store.outbox.recover("alice", "ep_1", since, until, clock.now()) == 2

        assert {sent.id for sent in await due(store)} == {"dlv_2", "dlv_3"}


class EndpointTests(StoreCase):
    async def test_an_endpoint_is_kept_as_it_was_put(self, store: JobStore) -> None:
        endpoint = Endpoint(
            id="ep_1",
            owner="alice",
            target=HERE,
            events=("job.failed", "job.succeeded"),
            secrets=("new", "old"),
            is_enabled=False,
            created_at=123,
            settings=b"\x00\x01",
        )

        assert await store.outbox.put_endpoint(endpoint)

        assert list(await store.outbox.endpoints("alice")) == [endpoint]

    async def test_an_endpoint_changes_by_its_next_revision_only(self, store: JobStore) -> None:
        first = Endpoint(id="ep_1", owner="alice", target=HERE, events=("job.failed",))
        second = replace(first, target=THERE, revision=2)

        answers = [await store.outbox.put_endpoint(put) for put in (replace(first, revision=2), first, first, second)]

        assert answers == [False, True, False, True]
        assert list(await store.outbox.endpoints("alice")) == [second]

    async def test_with_an_endpoint_notices_are_stored_as_deliveries_of_the_job(
        self, store: JobStore, clock: FakeClock
    ) -> None:
        key = await deliver(store, delivery("dlv_1"))
        (sent,) = await due(store)
        endpoint = Endpoint(id="ep_1", owner="alice", target=HERE, events=())
        notice = replace(delivery("dlv_2", target=THERE, endpoint="ep_2"), event="webhook.disabled")

        assert await store.outbox.put_endpoint(endpoint, because="dlv_1", notices=[notice])
        await store.outbox.settle([settled(sent, "delivered", at=clock.now())])

        (told,) = await due(store)
        assert (told.id, told.owner, told.job_id, told.target) == ("dlv_2", "alice", key.id, THERE)
        assert (told.event, told.endpoint, told.body) == ("webhook.disabled", "ep_2", notice.body)
        await clock.advance(1)
        await store.prune(100, tombstone=20_000)
        assert await find_one(store, key) is not None  # it is kept while something of it is pending
        await store.outbox.settle([settled(told, "delivered", at=clock.now())])
        await store.prune(100, tombstone=20_000)
        assert await find_one(store, key) is None

    async def test_a_notice_is_stored_once_and_with_its_endpoint_only(self, store: JobStore) -> None:
        await deliver(store, delivery("dlv_1"))
        await deliver(store, delivery("dlv_bob"), owner="bob")
        notices = [delivery("dlv_2")]
        first = Endpoint(id="ep_1", owner="alice", target=HERE, events=())
        second, third = replace(first, revision=2), replace(first, revision=3)

        assert await store.outbox.put_endpoint(first, because="dlv_unknown", notices=notices)
        assert not await store.outbox.put_endpoint(third, because="dlv_1", notices=notices)
        assert await store.outbox.put_endpoint(second, because="dlv_bob", notices=notices)
        assert await store.outbox.delivery("alice", "dlv_2") is None
        assert await store.outbox.put_endpoint(third, because="dlv_1", notices=[*notices, *notices])

        assert {sent.id for sent in await due(store)} == {"dlv_1", "dlv_bob", "dlv_2"}
        assert (await store.outbox.endpoints("alice"))[0].revision == 3

    async def test_endpoints_are_for_their_owner(self, store: JobStore) -> None:
        endpoints = [Endpoint(id=f"ep_{owner}", owner=owner, target=HERE, events=()) for owner in ("alice", "bob")]
        for endpoint in endpoints:
            await store.outbox.put_endpoint(endpoint)

        assert [one.id for one in await store.outbox.endpoints("alice")] == ["ep_alice"]
        assert [one.id for one in await store.outbox.endpoints("alice", ["ep_bob", "ep_alice"])] == ["ep_alice"]
        assert [one.id for one in await store.outbox.endpoints(None)] == ["ep_alice", "ep_bob"]
        assert list(await store.outbox.endpoints("alice", [])) == []

    async def test_a_deleted_endpoint_disables_what_was_pending_for_it(self, store: JobStore) -> None:
        await store.outbox.put_endpoint(Endpoint(id="ep_1", owner="alice", target=HERE, events=()))
        key = await deliver(store, delivery("dlv_1", endpoint="ep_1"), delivery("dlv_2", endpoint="ep_2"))

        assert not await store.outbox.delete_endpoint("bob", "ep_1")
        assert await store.outbox.delete_endpoint("alice", "ep_1")
        assert not await store.outbox.delete_endpoint("alice", "ep_1")

        assert {one.id: one.status for one in await store.outbox.of_job(key)} == {
            "dlv_1": "disabled",
            "dlv_2": "pending",
        }
        assert [sent.id for sent in await due(store)] == ["dlv_2"]
        assert list(await store.outbox.endpoints("alice")) == []
