"""A store that fails where a test wants it to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Literal

from asyncinfer.abc import (
    Attempt,
    CancelAnswer,
    ClaimRequest,
    Claims,
    Clock,
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
    Outbox,
    PublishedModel,
    Record,
    RescueAnswer,
    RunningLease,
    StoreFeatures,
    WorkerInfo,
    WriteAnswer,
)
from asyncinfer.errors import InvalidOption
from asyncinfer.testing.faults import Faults, StoreCall
from asyncinfer.testing.faulty_outbox import FaultyOutbox


class FaultyStore(Faults, JobStore):
    """Forwards every call to `store`, except where a fault is planned.

        faulty = FaultyStore(MemoryStore())
        faulty.fail("finish", OutcomeUnknown, when="after")      # it happened, and the answer is lost
        faulty.fail("*", StoreUnavailable, times=None)           # an outage, until heal()
        stuck = faulty.hang("insert", nth=2)
        await stuck.reached.wait()
        stuck.release()

    `call` is a method's name, `outbox.<name>` or `*` (every call but open and close); `when` is `before` or `after` the
    store has done its part. The fault strikes the `nth` such call from now on and those behind it, `times` in all (None
    is no end). A delay runs on the store's clock. `calls` lists what was called, in order.
    """

    def __init__(self, store: JobStore) -> None:
        super().__init__(store.clock)
        self._store = store
        self.features: StoreFeatures = store.features
        self.clock: Clock = store.clock
        self.outbox: Outbox = FaultyOutbox(store.outbox, self)

    @classmethod
    def from_url(cls, url: str) -> JobStore:
        raise InvalidOption(f"url: a FaultyStore wraps a store object and has no scheme, got {url!r}")

    async def open(self) -> None:
        await self.through("open", self._store.open)

    async def close(self) -> None:
        await self.through("close", self._store.close)

    def notices(self) -> Sequence[str]:
        return self._store.notices()

    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        return await self.through("insert", self._store.insert, jobs, limits)

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claims]:
        return await self.through("claim", self._store.claim, requests)

    async def extend(self, worker: str, leases: Sequence[Lease], lease: int) -> Sequence[ExtendAnswer]:
        return await self.through("extend", self._store.extend, worker, leases, lease)

    async def record(self, items: Sequence[Record], limits: Limits) -> Sequence[int | None]:
        return await self.through("record", self._store.record, items, limits)

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        return await self.through("finish", self._store.finish, items)

    async def give_back(self, leases: Sequence[Lease], move_id: bytes) -> Sequence[WriteAnswer]:
        return await self.through("give_back", self._store.give_back, leases, move_id)

    async def request_cancel(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, CancelAnswer | None]]:
        forward = self._store.request_cancel
        return await self.through("request_cancel", forward, keys, owner=owner, matching=matching)

    async def leases(self, after: JobKey | None, limit: int) -> Sequence[RunningLease]:
        return await self.through("leases", self._store.leases, after, limit)

    async def rescue(self, items: Sequence[RunningLease]) -> Sequence[RescueAnswer]:
        return await self.through("rescue", self._store.rescue, items)

    async def expire(self, limit: int) -> Sequence[JobKey]:
        return await self.through("expire", self._store.expire, limit)

    async def prune(self, limit: int, tombstone: int) -> int:
        return await self.through("prune", self._store.prune, limit, tombstone)

    async def delete(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, Literal["deleted", "running"] | None]]:
        return await self.through("delete", self._store.delete, keys, owner=owner, matching=matching)

    async def purge(self, owner: str | None, queue: str) -> Sequence[JobKey]:
        return await self.through("purge", self._store.purge, owner, queue)

    async def pause(self, queue: str) -> None:
        await self.through("pause", self._store.pause, queue)

    async def resume(self, queue: str) -> None:
        await self.through("resume", self._store.resume, queue)

    async def get(self, keys: Sequence[JobKey], *, with_result: bool = True) -> Sequence[Job | None]:
        return await self.through("get", self._store.get, keys, with_result=with_result)

    async def submissions(self, keys: Sequence[JobKey]) -> Sequence[NewJob | None]:
        return await self.through("submissions", self._store.submissions, keys)

    async def is_tombstone(self, key: JobKey) -> bool:
        return await self.through("is_tombstone", self._store.is_tombstone, key)

    async def find(
        self,
        owner: str | None,
        matching: JobFilter,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        forward = self._store.find
        return await self.through("find", forward, owner, matching, after=after, before=before, limit=limit)

    async def counts(self, owner: str | None = None, queue: str | None = None) -> Sequence[Counts]:
        return await self.through("counts", self._store.counts, owner, queue)

    async def position(self, keys: Sequence[JobKey]) -> Sequence[int | None]:
        return await self.through("position", self._store.position, keys)

    async def events(self, key: JobKey, after: int = 0, limit: int = 200) -> EventPage:
        return await self.through("events", self._store.events, key, after, limit)

    async def attempts(self, key: JobKey) -> Sequence[Attempt]:
        return await self.through("attempts", self._store.attempts, key)

    async def changes(self) -> AsyncIterator[Sequence[JobKey] | None]:
        self.calls.append(StoreCall("changes", ()))
        await self.meet("changes", "before")
        hints = self._store.changes()
        try:
            async for hint in hints:
                yield hint
        finally:
            if isinstance(hints, AsyncGenerator):
                await hints.aclose()

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        await self.through("register", self._store.register, worker, lease)

    async def unregister(self, worker: str) -> None:
        await self.through("unregister", self._store.unregister, worker)

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self.through("workers", self._store.workers)

    async def models(self) -> Sequence[PublishedModel]:
        return await self.through("models", self._store.models)
