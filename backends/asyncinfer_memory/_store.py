"""The store itself: each call of the contract as one step of the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, TypeVar

from asyncinfer.abc import (
    Attempt,
    CancelAnswer,
    ClaimRequest,
    Claims,
    Clock,
    ClockGuard,
    Counts,
    EventPage,
    ExtendAnswer,
    Finish,
    Inserted,
    Job,
    JobFilter,
    JobKey,
    JobPage,
    JobStore,
    Lease,
    Limits,
    NewJob,
    PublishedModel,
    Record,
    RescueAnswer,
    RunningLease,
    StoreFeatures,
    Subscription,
    SystemClock,
    WorkerInfo,
    WriteAnswer,
)
from asyncinfer.errors import InvalidOption
from asyncinfer_memory._claiming import claim_all
from asyncinfer_memory._endings import (
    cancel_row,
    expire_row,
    extend_one,
    finish_one,
    give_back_one,
    has_expired,
    rescue_one,
)
from asyncinfer_memory._history import attempts_of, events_of, job_of
from asyncinfer_memory._inserting import insert_one
from asyncinfer_memory._looking import counts, find, matching_rows, position
from asyncinfer_memory._outbox import MemoryOutbox
from asyncinfer_memory._recording import record_one
from asyncinfer_memory._retention import delete_row, prune
from asyncinfer_memory._rows import Row
from asyncinfer_memory._tables import Tables
from asyncinfer_memory._workers import Workers

A = TypeVar("A")


class MemoryStore(JobStore):
    """The reference store: every rule of the contract in plain dicts, and nothing left when the process ends.

    Use it from one event loop. Several managers on that loop may share one object; what it holds outlives them.
    """

    schemes = ("memory",)
    features = StoreFeatures(is_durable=False, is_shared=False, durability="nothing survives the process")

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = SystemClock() if clock is None else clock
        self._tables = Tables(self.clock, self._owe)
        self._outbox = MemoryOutbox(self._tables)
        self.outbox = self._outbox
        self._workers = Workers(self.clock)
        self._openings = 0

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        if url != "memory://":
            raise InvalidOption(f"store: expected memory:// with nothing behind it, got {url!r}")
        return cls()

    async def open(self) -> None:
        self._openings += 1

    async def close(self) -> None:
        self._openings = max(0, self._openings - 1)
        if not self._openings:
            self._tables.feeds.end()

    def notices(self) -> Sequence[str]:
        return self._tables.guard.notices()

    @property
    def clock_guard(self) -> ClockGuard:
        """Says whether expiry, pruning and promotion pause because the clock has jumped."""
        return self._tables.guard

    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        now = self.clock.now()
        if len(jobs) == 1:  # without the frame of a comprehension
            return [insert_one(self._tables, jobs[0], limits, now)]
        return [insert_one(self._tables, job, limits, now) for job in jobs]

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claims]:
        return claim_all(self._tables, requests, self.clock.now())

    async def extend(self, worker: str, leases: Sequence[Lease], lease: int) -> Sequence[ExtendAnswer]:
        self._workers.beat(worker, lease)
        self._tables.guard.lease = lease
        return [extend_one(self._tables, each) for each in leases]

    async def record(self, items: Sequence[Record], limits: Limits) -> Sequence[int | None]:
        now = self.clock.now()
        return [record_one(self._tables, item, limits, now) for item in items]

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        now = self.clock.now()
        return [finish_one(self._tables, item, now) for item in items]

    async def give_back(self, leases: Sequence[Lease], move_id: bytes) -> Sequence[WriteAnswer]:
        now = self.clock.now()
        return [give_back_one(self._tables, lease, move_id, now) for lease in leases]

    async def request_cancel(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, CancelAnswer | None]]:
        now = self.clock.now()
        return self._each_of(keys, owner, matching, lambda row: cancel_row(self._tables, row, now))

    async def leases(self, after: JobKey | None, limit: int) -> Sequence[RunningLease]:
        keyed = ((row.new.owner, row.new.id, row) for row in self._tables.running.values())
        behind = sorted(each for each in keyed if after is None or each[:2] > after)
        return [_lease_of(row) for _, _, row in behind[:limit]]

    async def rescue(self, items: Sequence[RunningLease]) -> Sequence[RescueAnswer]:
        now = self.clock.now()
        return [rescue_one(self._tables, item, now) for item in items]

    async def expire(self, limit: int) -> Sequence[JobKey]:
        now = self.clock.now()
        if self._tables.guard.is_paused():
            return []
        expired: list[JobKey] = []
        while len(expired) < limit and (first := self._tables.expiring.first) is not None:
            if not has_expired(self._tables, first[2], now):
                break
            expire_row(self._tables, first[2], now)
            expired.append(first[2].new.job_key)
        return expired

    async def prune(self, limit: int, tombstone: int) -> int:
        self._workers.forget_silent()
        if self._tables.guard.is_paused():
            return 0
        pruned, gone = prune(self._tables, limit, tombstone, self.clock.now())
        for row in gone:
            self._outbox.forget_job(row)
        return pruned

    async def delete(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, Literal["deleted", "running"] | None]]:
        now = self.clock.now()

        def delete(row: Row) -> Literal["deleted", "running"]:
            answer = delete_row(self._tables, row, now)
            if answer == "deleted":
                self._outbox.forget_job(row)
            return answer

        return self._each_of(keys, owner, matching, delete)

    async def purge(self, owner: str | None, queue: str) -> Sequence[JobKey]:
        now = self.clock.now()
        rows = matching_rows(self._tables, owner, JobFilter(status=("queued",), queue=queue))
        for row in rows:
            cancel_row(self._tables, row, now)
        return [row.new.job_key for row in rows]

    async def pause(self, queue: str) -> None:
        self._tables.queue(queue).is_paused = True

    async def resume(self, queue: str) -> None:
        self._tables.queue(queue).is_paused = False

    async def get(self, keys: Sequence[JobKey], *, with_result: bool = True) -> Sequence[Job | None]:
        rows = [self._tables.row(*key) for key in keys]
        return [None if row is None else job_of(row, with_result=with_result) for row in rows]

    async def submissions(self, keys: Sequence[JobKey]) -> Sequence[NewJob | None]:
        rows = [self._tables.row(*key) for key in keys]
        return [None if row is None else row.new for row in rows]

    async def is_tombstone(self, key: JobKey) -> bool:
        shelf = self._tables.shelves.get(key.owner)
        return shelf is not None and key.id in shelf.tombstones

    async def find(
        self,
        owner: str | None,
        matching: JobFilter,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        return find(self._tables, owner, matching, after, before, limit)

    async def counts(self, owner: str | None = None, queue: str | None = None) -> Sequence[Counts]:
        return counts(self._tables, owner, queue)

    async def position(self, keys: Sequence[JobKey]) -> Sequence[int | None]:
        return [position(self._tables, key) for key in keys]

    async def events(self, key: JobKey, after: int = 0, limit: int = 200) -> EventPage:
        row = self._tables.row(*key)
        return EventPage(events=[]) if row is None else events_of(row, after, limit)

    async def attempts(self, key: JobKey) -> Sequence[Attempt]:
        row = self._tables.row(*key)
        return [] if row is None else attempts_of(row)

    def changes(self) -> AsyncIterator[Sequence[JobKey] | None]:
        """Iterate over the changes of every manager on this object, while there are two iterators or more."""
        return self._tables.feeds.changes()

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        self._workers.register(worker, lease)
        self._tables.guard.lease = lease

    async def unregister(self, worker: str) -> None:
        self._workers.unregister(worker)

    async def workers(self) -> Sequence[WorkerInfo]:
        return self._workers.all()

    async def models(self) -> Sequence[PublishedModel]:
        return self._workers.models()

    def _owe(self, row: Row, subscriptions: tuple[Subscription, ...]) -> None:
        self._outbox.owe(row, subscriptions)

    def _each_of(
        self,
        keys: Sequence[JobKey] | None,
        owner: str | None,
        matching: JobFilter | None,
        move: Callable[[Row], A],
    ) -> list[tuple[JobKey, A | None]]:
        """Make one move on the named jobs, None for an unknown one, or on the selected ones."""
        if keys is not None:
            named = ((key, self._tables.row(*key)) for key in keys)
            return [(key, None if row is None else move(row)) for key, row in named]
        if matching is None:
            raise InvalidOption("keys, matching: give one of them")
        return [(row.new.job_key, move(row)) for row in matching_rows(self._tables, owner, matching)]


def _lease_of(row: Row) -> RunningLease:
    assert row.started_at is not None
    limit = row.new.time_limit
    return RunningLease(
        owner=row.new.owner,
        id=row.new.id,
        attempt=row.attempt,
        renewals=row.renewals,
        worker=row.worker or "",
        cancel_requested=row.cancel_requested_at is not None,
        time_limit_at=None if limit is None else row.started_at + limit,
        deadline=row.new.deadline,
    )
