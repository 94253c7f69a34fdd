"""A store whose calls are measured: in place only while somebody watches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, TypeVar

from asyncinfer._clock import Clock
from asyncinfer._job import Attempt, Job, JobKey, NewJob
from asyncinfer._limits import Limits
from asyncinfer.abc import (
    CancelAnswer,
    ClaimRequest,
    Claims,
    Counts,
    EventPage,
    ExtendAnswer,
    Finish,
    Inserted,
    JobFilter,
    JobPage,
    JobStore,
    Lease,
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

T = TypeVar("T")


class MeasuredStore(JobStore):
    """Forwards every call to an open store, and tells `on_called` how long it took: (name, seconds, error or None)."""

    def __init__(self, store: JobStore, on_called: Callable[[str, float, BaseException | None], None]) -> None:
        self._store = store
        self._on_called = on_called
        self.features: StoreFeatures = store.features
        self.clock: Clock = store.clock
        self.outbox: Outbox = store.outbox

    async def _timed(self, call: str, answer: Awaitable[T]) -> T:
        began = self.clock.monotonic()
        failure: BaseException | None = None
        try:
            return await answer
        except BaseException as error:
            failure = error
            raise
        finally:
            self._on_called(call, self.clock.monotonic() - began, failure)
            failure = None  # it leads back here, by its traceback

    @classmethod
    def from_url(cls, url: str) -> JobStore:
        raise InvalidOption(f"url: a MeasuredStore wraps a store object and has no scheme, got {url!r}")

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    def notices(self) -> Sequence[str]:
        return self._store.notices()

    def changes(self) -> AsyncIterator[Sequence[JobKey] | None]:
        return self._store.changes()

    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        return await self._timed("insert", self._store.insert(jobs, limits))

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claims]:
        return await self._timed("claim", self._store.claim(requests))

    async def extend(self, worker: str, leases: Sequence[Lease], lease: int) -> Sequence[ExtendAnswer]:
        return await self._timed("extend", self._store.extend(worker, leases, lease))

    async def record(self, items: Sequence[Record], limits: Limits) -> Sequence[int | None]:
        return await self._timed("record", self._store.record(items, limits))

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        return await self._timed("finish", self._store.finish(items))

    async def give_back(self, leases: Sequence[Lease], move_id: bytes) -> Sequence[WriteAnswer]:
        return await self._timed("give_back", self._store.give_back(leases, move_id))

    async def request_cancel(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, CancelAnswer | None]]:
        return await self._timed("request_cancel", self._store.request_cancel(keys, owner=owner, matching=matching))

    async def leases(self, after: JobKey | None, limit: int) -> Sequence[RunningLease]:
        return await self._timed("leases", self._store.leases(after, limit))

    async def rescue(self, items: Sequence[RunningLease]) -> Sequence[RescueAnswer]:
        return await self._timed("rescue", self._store.rescue(items))

    async def expire(self, limit: int) -> Sequence[JobKey]:
        return await self._timed("expire", self._store.expire(limit))

    async def prune(self, limit: int, tombstone: int) -> int:
        return await self._timed("prune", self._store.prune(limit, tombstone))

    async def delete(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, Literal["deleted", "running"] | None]]:
        return await self._timed("delete", self._store.delete(keys, owner=owner, matching=matching))

    async def purge(self, owner: str | None, queue: str) -> Sequence[JobKey]:
        return await self._timed("purge", self._store.purge(owner, queue))

    async def pause(self, queue: str) -> None:
        await self._timed("pause", self._store.pause(queue))

    async def resume(self, queue: str) -> None:
        await self._timed("resume", self._store.resume(queue))

    async def get(self, keys: Sequence[JobKey], *, with_result: bool = True) -> Sequence[Job | None]:
        return await self._timed("get", self._store.get(keys, with_result=with_result))

    async def submissions(self, keys: Sequence[JobKey]) -> Sequence[NewJob | None]:
        return await self._timed("submissions", self._store.submissions(keys))

    async def is_tombstone(self, key: JobKey) -> bool:
        return await self._timed("is_tombstone", self._store.is_tombstone(key))

    async def find(
        self,
        owner: str | None,
        matching: JobFilter,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        return await self._timed("find", self._store.find(owner, matching, after=after, before=before, limit=limit))

    async def counts(self, owner: str | None = None, queue: str | None = None) -> Sequence[Counts]:
        return await self._timed("counts", self._store.counts(owner, queue))

    async def position(self, keys: Sequence[JobKey]) -> Sequence[int | None]:
        return await self._timed("position", self._store.position(keys))

    async def events(self, key: JobKey, after: int = 0, limit: int = 200) -> EventPage:
        return await self._timed("events", self._store.events(key, after, limit))

    async def attempts(self, key: JobKey) -> Sequence[Attempt]:
        return await self._timed("attempts", self._store.attempts(key))

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        await self._timed("register", self._store.register(worker, lease))

    async def unregister(self, worker: str) -> None:
        await self._timed("unregister", self._store.unregister(worker))

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self._timed("workers", self._store.workers())

    async def models(self) -> Sequence[PublishedModel]:
        return await self._timed("models", self._store.models())
