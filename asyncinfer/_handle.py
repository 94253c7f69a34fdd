"""JobHandle: a job as its submitter holds it - await it, stream it, cancel it, or keep only its id."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from asyncinfer._codec import decode
from asyncinfer._events import Event, GapEvent, OutputEvent, ResetEvent, StatusEvent, StoredEvent
from asyncinfer._job import Job, JobError, JobKey, Status
from asyncinfer._limits import KIB
from asyncinfer._models import Model
from asyncinfer._offload import offload
from asyncinfer._services.waiters import Waiter
from asyncinfer._weight import HEAVY_BYTES
from asyncinfer.errors import JobCanceled, JobExpired, JobFailed, StreamReset, UnknownJob
from asyncinfer.lifecycle import TERMINAL

if TYPE_CHECKING:
    from asyncinfer._engine import Engine
    from asyncinfer.abc import CancelAnswer

R_co = TypeVar("R_co", covariant=True)
Y = TypeVar("Y")
PAGE = 200
FIRST_PAGE = 20
"""How large a job's events are shows in the first ones: hundreds of readers of large ones would hold up the store."""
PAGE_BYTES = 512 * KIB


class JobHandle(Generic[R_co]):
    """One job. Awaiting it gives the model's result, typed; handles of the same job are interchangeable."""

    __slots__ = ("_engine", "_model", "_waiter", "is_existing")

    def __init__(
        self, engine: Engine, waiter: Waiter, model: Model[..., R_co, object] | None, *, is_existing: bool = False
    ) -> None:
        self._engine = engine
        self._waiter = waiter
        self._model = model
        self.is_existing: bool = is_existing
        """The submission was answered by a job that was there already (same key, id, or deduplicated)."""

    @property
    def id(self) -> str:
        return self._waiter.id

    @property
    def owner(self) -> str:
        return self._waiter.owner

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    def __await__(self) -> Generator[Any, Any, R_co]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait for the job to end and return its result.

        Raises JobFailed or JobCanceled for those endings, TimeoutError after `timeout` seconds (the job goes on),
        UnknownJob, and JobExpired once the result has been pruned. Cancelling the await does not cancel the job.
        """
        waiter = self._waiter
        ending = waiter.ending
        if ending is None:
            if timeout is None:
                ending = await self._engine.waiters.wait(waiter)
            else:
                async with asyncio.timeout(timeout):
                    ending = await self._engine.waiters.wait(waiter)
        if ending is None:
            raise await self._unknown()
        if ending.status == "succeeded":
            data = ending.result if ending.result is not None else await self._stored_result()
            if len(data) > HEAVY_BYTES:
                return await offload(self._decode, data)
            return self._decode(data)
        if ending.status == "canceled":
            raise JobCanceled(self.id)
        raise JobFailed(self.id, ending.error or JobError(code="undecodable", message="its error cannot be read"))

    async def job(self) -> Job:
        """Return the job's record as it stands. Raises UnknownJob or JobExpired."""
        (found,) = await self._engine.store.get([self._waiter.key])
        if found is None:
            raise await self._unknown()
        return found

    async def status(self) -> Status:
        """Return the job's status as it stands. Raises UnknownJob or JobExpired."""
        (found,) = await self._engine.store.get([self._waiter.key], with_result=False)
        if found is None:
            raise await self._unknown()
        return found.status

    async def wait(self, timeout: float | None = None, *, after: int | None = None) -> Job:
        """Return the job's record once it has ended or, with `after`, once its revision is above that.

        After `timeout` seconds it is returned as it stands. Raises UnknownJob or JobExpired.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                if after is None:
                    await self._engine.waiters.wait(self._waiter)
                else:
                    await self._wait_beyond(after)
        return await self.job()

    async def cancel(self) -> CancelAnswer:
        """Cancel the job if it waits, ask it to stop if it runs; `terminal` if it has ended. Raises UnknownJob."""
        answer = await self._engine.cancel(self._waiter.key)
        if answer is None:
            raise await self._unknown()
        return answer

    async def events(self, after: int = 0) -> AsyncGenerator[Event]:
        """Yield the job's events behind id `after`, as they happen, until it has ended.

        A `reset` opens every new attempt after the first; a `gap` says that output has left the bounded history.
        Raises UnknownJob.
        """
        async with contextlib.aclosing(self.event_batches(after)) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def event_batches(self, after: int = 0) -> AsyncGenerator[Sequence[Event]]:
        """Yield the same events in lists: all that are there, each time there are some."""
        key = self._waiter.key
        attempt = await self._attempt_at(after)
        changed = asyncio.Event()
        unwatch = self._engine.waiters.watch(key, changed)
        limit = FIRST_PAGE
        try:
            while True:
                changed.clear()
                page = await self._engine.store.events(key, after, limit)
                limit = _next_limit(page.events, limit)
                if not page.events and await self._is_over(after):
                    return
                batch: list[Event] = []
                if page.has_gap and page.events:
                    batch.append(GapEvent(after, page.events[0].attempt, page.events[0].at))
                for event in page.events:
                    if attempt and event.attempt > attempt:
                        batch.append(ResetEvent(after, event.attempt, event.at))
                    attempt = max(attempt, event.attempt)
                    after = event.id
                    batch.append(event)
                if batch:
                    yield batch
                    if isinstance(last := batch[-1], StatusEvent) and last.status in TERMINAL:
                        return
                if not page.has_more:
                    await changed.wait()
        finally:
            unwatch()

    async def stream(self: JobHandle[list[Y]]) -> AsyncIterator[Y]:
        """Yield what a generator model yields, typed.

        Raises StreamReset when another attempt begins after values were given, JobExpired when values that were not
        given yet have left the bounded history, JobFailed or JobCanceled when the job ends so, and UnknownJob.
        """
        given = False
        async for event in self.events():
            if isinstance(event, OutputEvent):
                given = True
                yield cast("Y", self._decode_output(event.data))
            elif isinstance(event, ResetEvent) and given:
                raise StreamReset(self.id, event.attempt)
            elif isinstance(event, GapEvent):
                raise JobExpired(
                    f"job {self.id}: values of its stream have left the history (Limits.events_per_job); its"
                    " result, if it succeeds, has them all",
                    job_id=self.id,
                )
            elif isinstance(event, StatusEvent) and event.status in TERMINAL:
                await cast("JobHandle[Any]", self)._raise_if_bad(event)

    async def _wait_beyond(self, revision: int) -> None:
        changed = asyncio.Event()
        unwatch = self._engine.waiters.watch(self._waiter.key, changed)
        try:
            while True:
                changed.clear()
                (found,) = await self._engine.store.get([self._waiter.key], with_result=False)
                if found is None or found.revision > revision:
                    return
                await changed.wait()
        finally:
            unwatch()

    async def _attempt_at(self, event_id: int) -> int:
        """Return the attempt of an event that a stream goes on behind, so that the next one is told as a reset."""
        if event_id <= 0:
            return 0
        page = await self._engine.store.events(self._waiter.key, event_id - 1, 1)
        return page.events[0].attempt if page.events and page.events[0].id == event_id else 0

    async def _raise_if_bad(self, event: StatusEvent) -> None:
        if event.status == "canceled":
            raise JobCanceled(self.id)
        if event.status == "failed":
            raise JobFailed(self.id, event.error or JobError(code="undecodable", message="its error cannot be read"))

    async def _is_over(self, after: int) -> bool:
        """A stream resumed behind the last event ends at once; a job that is gone has no more to tell."""
        (found,) = await self._engine.store.get([self._waiter.key], with_result=False)
        if found is None:
            if after == 0:
                raise await self._unknown()
            return True
        return found.is_terminal and found.revision <= after

    async def _stored_result(self) -> bytes:
        record = await self.job()
        if record.result is None:
            raise JobExpired(f"job {self.id} succeeded, but its result has passed its retention", job_id=self.id)
        return record.result

    def _decode(self, data: bytes) -> R_co:
        if self._model is None:
            return cast("R_co", decode(data))
        return self._model.decode_result(data)

    def _decode_output(self, data: bytes) -> Any:  # Any: the caller casts it to its own type
        return decode(data) if self._model is None else self._model.decode_output(data)

    async def _unknown(self) -> Exception:
        key: JobKey = self._waiter.key
        if await self._engine.store.is_tombstone(key):
            return JobExpired(f"job {key.id} has passed its retention", job_id=key.id)
        return UnknownJob(f"there is no job {key.id} for this owner")


def _next_limit(events: Sequence[StoredEvent], limit: int) -> int:
    """Return how many events to read next, when the next ones are as large as these."""
    size = sum(len(event.data) for event in events if isinstance(event, OutputEvent))
    return max(1, min(PAGE, PAGE_BYTES * len(events) // max(size, 1))) if events else limit
