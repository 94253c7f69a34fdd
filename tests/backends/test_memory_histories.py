"""Long random histories on the memory store: after every step each index holds what it promises and nothing else."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import pytest

from asyncinfer.abc import (
    Claim,
    ClaimRequest,
    DeliveryStatus,
    Finish,
    JobFilter,
    JobKey,
    Lease,
    Limits,
    ModelRoom,
    NewDelivery,
    NewJob,
    Owed,
    Progress,
    Record,
    Settlement,
    Status,
    Subscription,
)
from asyncinfer.abc import DeliveryAttempt as Line
from asyncinfer.lifecycle import TERMINAL, FinishOutcome
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from asyncinfer_memory._deliveries import DeliveryRow
from asyncinfer_memory._rows import Row, Tombstone
from asyncinfer_memory._sorted import SortedChunks
from asyncinfer_memory._tables import Tables

STEPS = 300
E = TypeVar("E", tuple[float, int, Row], tuple[int, int, DeliveryRow], tuple[int, int, Tombstone], tuple[int, int])
LIMITS = Limits(queued_jobs=25, queued_bytes=200, owner_queued_jobs=15, events_per_job=3)
OWNERS, MODELS, QUEUES = ("", "alice", "bob"), ("echo", "embed"), ("default", "slow")


class History:
    """Random commands of submitters, workers, owners and senders against one store."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.keys: list[JobKey] = []
        self.claims: list[Claim] = []
        self.finishes: list[tuple[int, Finish]] = []
        self.owed: list[Owed] = []
        self.due: list[tuple[str, int]] = []
        self.made = 0
        self.commands: list[Callable[[], Coroutine[Any, Any, None]]] = [  # Any: what a coroutine is sent and yields
            *[self.insert] * 6,
            *[self.claim] * 4,
            *[self.finish] * 4,
            self.record,
            self.extend,
            self.give_back,
            *[self.rescue] * 2,
            self.cancel,
            self.cancel_matching,
            self.delete,
            self.expire,
            *[self.prune] * 2,
            self.pause,
            self.resume,
            *[self.pass_time] * 3,
            self.jump,
            self.lease_owed,
            self.expand,
            *[self.settle] * 2,
            self.purge,
        ]

    async def step(self) -> None:
        await self.random.choice(self.commands)()

    def maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def later(self, chance: float, most: int) -> int | None:
        return self.clock.now() + self.random.randint(-most // 4, most) if self.maybe(chance) else None

    def new_job(self) -> NewJob:
        draw = self.random
        self.made += 1
        return NewJob(
            owner=draw.choice(OWNERS),
            id=f"job_{self.made if self.maybe(0.95) else draw.randint(1, self.made):05}",
            model=draw.choice(MODELS),
            queue=draw.choice(QUEUES),
            input=b"x" * draw.randint(0, 20),
            fingerprint=draw.choice((b"1", b"2")),
            priority=draw.randint(0, 9),
            not_before=self.later(0.2, 5_000),
            expire_at=self.later(0.3, 20_000),
            key=draw.choice("abcdef") if self.maybe(0.3) else None,
            key_until=self.later(0.5, 60_000),
            dedup=draw.choice((b"d", b"e")) if self.maybe(0.2) else None,
            dedup_until=self.later(0.5, 30_000),
            batch_key=draw.choice(("", "", "short", "long")),
            cost=draw.randint(1, 5),
            crash_budget=draw.randint(1, 3),
            retention_result=draw.choice((0, 1_000, 10_000)),
            retention_record=draw.choice((0, 5_000, 20_000)),
            subscriptions=(Subscription(draw.choice(("https://a", "https://b"))),) if self.maybe(0.3) else (),
        )

    async def insert(self) -> None:
        jobs = [self.new_job() for _ in range(self.random.randint(1, 5))]
        self.keys += [job.job_key for job in jobs]
        await self.store.insert(jobs, LIMITS)

    async def claim(self) -> None:
        draw = self.random
        models = draw.sample(MODELS, draw.randint(1, 2))
        rooms = tuple(
            ModelRoom(
                model, draw.randint(0, 6), None, draw.choice((1, 1, 3)), draw.choice((None, 6)), draw.choice((0, 2_000))
            )
            for model in models
        )
        asked = ClaimRequest("w", 60_000, draw.randint(0, 4), rooms, self.maybe(0.5), self.maybe(0.3))
        answers = await self.store.claim([asked] * draw.randint(1, 2))
        for answer in answers:
            if any(claim.is_solo for claim in answer.claims) and not asked.is_isolated:
                assert sum(len(each.claims) for each in answers) == 1
            self.claims += answer.claims

    def some_claim(self) -> Claim | None:
        # Stale ones stay in the list: a zombie repeats itself.
        return self.random.choice(self.claims[-30:]) if self.claims else None

    async def finish(self) -> None:
        claim = self.some_claim()
        if claim is None:
            return
        outcomes: tuple[FinishOutcome, ...] = ("succeeded", "failed", "canceled", "retry", "retry")
        outcome = self.random.choice(outcomes)
        item = Finish(
            claim.owner, claim.id, claim.attempt, outcome, self.random.randbytes(4), b"r", None, self.later(0.5, 9_000)
        )
        row = tables_of(self.store).row(item.owner, item.id)
        (answer,) = await self.store.finish([item])
        if answer == "done" and row is not None:
            self.finishes.append((row.n, item))
        await self.finish_again()

    async def finish_again(self) -> None:
        """Repeat a write whose answer was lost: it is answered the same and changes nothing."""
        n, item = self.random.choice(self.finishes or [(0, None)])
        row = None if item is None else tables_of(self.store).row(item.owner, item.id)
        # Once its tombstone is gone, the id may name another job.
        if item is None or row is None or row.n != n:
            return
        before = await self.store.get([row.new.job_key])
        assert await self.store.finish([item]) == ["done"]
        assert await self.store.get([row.new.job_key]) == before

    async def record(self) -> None:
        claim = self.some_claim()
        if claim is not None:
            output = tuple(b"o" for _ in range(self.random.randint(0, 3)))
            await self.store.record([Record(claim.owner, claim.id, claim.attempt, Progress(0.5), output, b"c")], LIMITS)

    async def extend(self) -> None:
        leases = [Lease(claim.owner, claim.id, claim.attempt) for claim in self.claims[-10:]]
        await self.store.extend("w", leases, 60_000)

    async def give_back(self) -> None:
        claim = self.some_claim()
        if claim is not None:
            await self.store.give_back([Lease(claim.owner, claim.id, claim.attempt)], self.random.randbytes(4))

    async def rescue(self) -> None:
        seen = await self.store.leases(None, 10)
        if seen:
            await self.store.rescue([self.random.choice(seen)])

    async def cancel(self) -> None:
        if self.keys:
            await self.store.request_cancel([self.random.choice(self.keys[-30:])])

    async def cancel_matching(self) -> None:
        if self.maybe(0.2):
            await self.store.request_cancel(owner=self.random.choice(OWNERS), matching=JobFilter(model="embed"))

    async def delete(self) -> None:
        if self.keys:
            await self.store.delete([self.random.choice(self.keys)])

    async def expire(self) -> None:
        await self.store.expire(self.random.randint(0, 5))

    async def prune(self) -> None:
        await self.store.prune(self.random.randint(0, 8), self.random.choice((0, 3_000)))

    async def purge(self) -> None:
        if self.maybe(0.2):
            await self.store.purge(None if self.maybe(0.5) else "alice", "slow")

    async def pause(self) -> None:
        if self.maybe(0.3):
            await self.store.pause(self.random.choice(QUEUES))

    async def resume(self) -> None:
        for queue in QUEUES:
            await self.store.resume(queue)

    async def pass_time(self) -> None:
        await self.clock.advance(self.random.choice((0.1, 1, 4, 30)))

    async def jump(self) -> None:
        if self.maybe(0.1):
            self.clock.jump(self.random.choice((-3600, -2, 2, 3600)))

    async def lease_owed(self) -> None:
        self.owed += await self.store.outbox.owed(3, 1_000)

    async def expand(self) -> None:
        if self.owed:
            owed = self.random.choice(self.owed)
            wanted = [
                NewDelivery(id=f"dlv_{owed.n}_{at}", target=each.target, event="job.ended", body=b"{}")
                for at, each in enumerate(owed.subscriptions)
            ]
            await self.store.outbox.expand([(owed, wanted)] * self.random.randint(1, 2))

    async def settle(self) -> None:
        skip = ["https://a"] if self.maybe(0.2) else []
        self.due += [(each.id, each.lease_token) for each in await self.store.outbox.due(3, 1_000, skip=skip)]
        if self.due:
            delivery, token = self.random.choice(self.due[-6:])
            statuses: tuple[DeliveryStatus, ...] = ("pending", "delivered", "exhausted")
            status = self.random.choice(statuses)
            line = Line(at=self.clock.now(), kind="status")
            await self.store.outbox.settle([Settlement(id=delivery, lease_token=token, status=status, attempt=line)])
            if self.maybe(0.3):
                await self.store.outbox.redeliver(self.random.choice(OWNERS), [delivery], self.clock.now())


@pytest.mark.parametrize("seed", range(40))
async def test_no_index_ever_holds_more_or_less_than_it_promises(seed: int) -> None:
    history = History(seed)
    revisions: dict[int, int] = {}

    for _ in range(STEPS):
        await history.step()
        check(history.store)
        for row in rows_of(history.store):
            assert row.revision >= revisions.get(row.n, 1)
            revisions[row.n] = row.revision

    assert history.claims


def rows_of(store: MemoryStore) -> list[Row]:
    return [row for shelf in tables_of(store).shelves.values() for row in shelf.rows.values()]


def tables_of(store: MemoryStore) -> Tables:
    return store._tables


def check(store: MemoryStore) -> None:
    """Rebuild every index and counter from the rows alone and compare."""
    tables = tables_of(store)
    rows = rows_of(store)
    _check_lines(tables, rows)
    _check_counts(tables, rows)
    _check_names(tables)
    _check_forgetting(store, rows)
    for row in rows:
        _check_row(row)


def _check_lines(tables: Tables, rows: list[Row]) -> None:
    queued = [row for row in rows if row.status == "queued"]
    lanes = [lane for line in tables.models.values() for lane in line.lanes.values()]
    ready = [entry for lane in lanes for entry in whole(lane.ready)]
    solo = [entry for lane in lanes for entry in whole(lane.solo)]
    delayed = [entry for line in tables.models.values() for entry in whole(line.delayed)]
    assert numbers(ready) == Counter(row.n for row in queued if row.tag is not None and not row.is_solo)
    assert numbers(solo) == Counter(row.n for row in queued if row.tag is not None and row.is_solo)
    assert numbers(delayed) == Counter(row.n for row in queued if row.tag is None)
    assert all(tag == row.tag for tag, _, row in ready + solo)
    assert all(at == row.not_before for at, _, row in delayed)
    for lane in lanes:
        if lane.by_batch_key is None:
            assert not any(row.new.batch_key for _, _, row in lane.ready)
        else:
            assert numbers(entry for line in lane.by_batch_key.values() for entry in whole(line)) == numbers(lane.ready)
            assert all(row.new.batch_key == key for key, line in lane.by_batch_key.items() for _, _, row in line)
            assert all(lane.by_batch_key.values())
    assert tables.solo_waiting == len(solo)
    assert numbers(whole(tables.expiring)) == Counter(row.n for row in queued if row.new.expire_at is not None)
    assert tables.running == {row.n: row for row in rows if row.status == "running"}


def _check_counts(tables: Tables, rows: list[Row]) -> None:
    def counted(some: Iterable[Row]) -> dict[Status, int]:
        count = Counter(row.status for row in some)
        return {status: count[status] for status in ("queued", "running", "succeeded", "failed", "canceled")}

    for line in tables.models.values():
        for lane in line.lanes.values():
            here = [row for row in rows if (row.new.queue, row.new.model) == (lane.queue, lane.model)]
            waiting = [row for row in here if row.status == "queued"]
            assert lane.tally.counts == counted(here)
            assert lane.tally.queued_bytes == sum(len(row.new.input) for row in waiting)
            assert (
                lane.oldest_queued_at(None) == min(((row.n, row.created_at) for row in waiting), default=(0, None))[1]
            )
            for owner, shelf in tables.shelves.items():
                mine = [row for row in here if row.new.owner == owner]
                tally = shelf.tallies.get(lane)
                assert (tally is None) == (not mine)
                assert tally is None or tally.counts == counted(mine)
    for name, state in tables.queues.items():
        waiting = [row for row in rows if row.new.queue == name and row.status == "queued"]
        assert (state.queued_jobs, state.queued_bytes) == (len(waiting), sum(len(row.new.input) for row in waiting))


def _check_names(tables: Tables) -> None:
    for shelf in tables.shelves.values():
        assert list(shelf.ids) == sorted(shelf.rows)
        assert not shelf.rows.keys() & shelf.tombstones.keys()
        assert all(held in shelf.rows or held in shelf.tombstones for held in shelf.keys.values())
        assert all(shelf.rows[row.new.id] is row for row in shelf.dedups.values())
        assert not shelf.is_empty


def _check_forgetting(store: MemoryStore, rows: list[Row]) -> None:
    outbox = store._outbox
    duties = Counter(row.n for _, row in outbox._owed.values())
    duties += Counter(each.job.n for each in outbox._deliveries.rows.values() if each.status == "pending")
    ended = [row for row in rows if row.status in TERMINAL]
    tables = tables_of(store)
    stones = [stone.n for shelf in tables.shelves.values() for stone in shelf.tombstones.values()]
    assert numbers(whole(tables.tombstones)) == Counter(n for n in stones if not duties[n])
    entries = whole(tables.ended)
    assert numbers(entries) == Counter(row.n for row in ended if not row.duties)
    assert all(due == row.retained_until for due, _, row in entries)
    assert {row.n: row.duties for row in rows if row.duties} == {row.n: duties[row.n] for row in rows if duties[row.n]}
    offered = [each for _, _, each in whole(outbox._deliveries.pending)]
    assert all(each.status == "pending" for each in offered)
    assert len(offered) == sum(each.status == "pending" for each in outbox._deliveries.rows.values())
    assert Counter(n for _, n in whole(outbox._offered)) == Counter(list(outbox._owed))


def _check_row(row: Row) -> None:
    assert (row.finished_at is not None) == (row.status in TERMINAL)
    assert row.result is None or row.status == "succeeded"
    assert row.crashes < row.new.crash_budget or row.status in TERMINAL
    if row.history is not None:
        assert len(row.history.output) <= LIMITS.events_per_job


def whole(line: SortedChunks[E]) -> list[E]:
    """Return the entries, having checked that they ascend and that no chunk is empty beside another."""
    entries = list(line)
    assert entries == sorted(entries)
    assert len(line._chunks) == 1 or all(line._chunks)
    return entries


def numbers(entries: Iterable[tuple[float, int, object]]) -> Counter[int]:
    return Counter(n for _, n, _ in entries)
