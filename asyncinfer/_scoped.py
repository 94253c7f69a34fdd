"""ScopedManager: everything one owner may do. A request handler never holds more than this."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, overload

from msgspec.structs import replace

from asyncinfer._core import ManagerCore
from asyncinfer._engine import Engine
from asyncinfer._handle import JobHandle
from asyncinfer._job import Attempt, Job, JobKey, NewJob
from asyncinfer._limits import Limits, Retention
from asyncinfer._models import Model, Submission
from asyncinfer._offload import offload
from asyncinfer._refusals import refusal_of
from asyncinfer._services.waiters import Waiter
from asyncinfer._weight import HEAVY_BYTES, is_heavy
from asyncinfer.abc import CancelAnswer, Counts, EventPage, Inserted, JobFilter, JobPage
from asyncinfer.errors import (
    AsyncinferError,
    InvalidOption,
    UnknownJob,
    UnknownModel,
)
from asyncinfer.lifecycle import accepted

P = ParamSpec("P")
R = TypeVar("R")

INSERT_CHUNK = 1_000
FIND_PAGE = 200


class ScopedManager:
    """The jobs of one owner. `JobManager.scoped(owner)` makes it; `JobManager` itself is the unnamed owner's."""

    def __init__(self, core: ManagerCore, owner: str) -> None:
        self._core = core
        self._owner = owner

    @property
    def owner(self) -> str:
        return self._owner

    @property
    def limits(self) -> Limits:
        """What a submit may ask for."""
        return self._engine.limits

    @property
    def retention(self) -> Retention:
        """How long an ended job is kept, where a submit asks for nothing else."""
        return self._engine.retention

    @property
    def _engine(self) -> Engine:
        return self._core.engine

    @property
    def _sees(self) -> str | None:
        """Whose jobs `find`, `counts` and the `…_all` calls see; None is everybody's."""
        return self._owner

    # Submitting

    async def submit(self, model: Model[P, R, object], /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Check the input, store the job, return its handle: once this returns, the job is committed.

        Raises InvalidInput, InvalidOption, TooLarge, QueueFull, QuotaExceeded, StorageFull, Draining,
        IdempotencyConflict, JobExpired (the key or id belonged to a pruned job), UnknownModel, or a StoreError; after
        OutcomeUnknown the same submission with a key or id may be repeated. Otherwise nothing was stored.
        """
        _require_model(model)
        if _is_heavy_input(args, kwargs):
            submission = await offload(model.bind, *args, **kwargs)
        else:
            submission = model.bind(*args, **kwargs)
        job, waiter, answer = await self._insert_one(submission)
        return self._handle_of(submission, job, waiter, answer)

    async def submit_bound(self, submission: Submission[R], /) -> tuple[JobHandle[R], Job]:
        """Store what a model has bound; return the job's handle, and its record as it was accepted.

        Where another job answers, that one's record as it stands. Raises what `submit` raises.
        """
        job, waiter, answer = await self._insert_one(submission)
        handle = self._handle_of(submission, job, waiter, answer)
        if answer.kind == "inserted":
            return handle, accepted(job, answer.created_at)
        return handle, await handle.job()

    async def _insert_one(self, submission: Submission[Any]) -> tuple[NewJob, Waiter, Inserted]:
        engine = self._core.engine
        self._core.require(submission.model)
        if len(submission.input) > HEAVY_BYTES:
            submission = await _hashed(submission)
        job = engine.factory.new_job(submission, self._owner, engine.clock.now())
        if not engine.observers.all:
            return job, *await self._insert(submission, job)
        with engine.observers.submit([job]) as submit:
            (job,) = submit.jobs
            waiter, answer = await self._insert(submission, job)
            submit.answers = [answer]
        return job, waiter, answer

    async def _insert(self, submission: Submission[Any], job: NewJob) -> tuple[Waiter, Inserted]:
        engine = self._core.engine
        waiter = engine.waiters.submitted(job.owner, job.id)  # before the insert: a worker may win the race
        (answer,) = await engine.insert([job])
        if answer.kind == "full" and submission.options.get("wait_for_room"):
            answer = await engine.insert_when_room(job)
        return waiter, answer

    async def submit_many(
        self, submissions: Iterable[Submission[R]], /, *, wait_for_room: bool = False
    ) -> list[JobHandle[R]]:
        """Store many jobs in as few commits as possible; handles in the same order.

        The first error (see `submit`) is raised once everything has been tried; its `accepted` holds the handles of
        those that were stored, by index.
        """
        everything = list(submissions)
        handles: dict[int, JobHandle[R]] = {}
        failures: list[AsyncinferError] = []
        for start in range(0, len(everything), INSERT_CHUNK):
            try:
                await self._submit_chunk(
                    everything[start : start + INSERT_CHUNK], start, wait_for_room, handles, failures
                )
            except AsyncinferError as error:
                failures.append(error)
        if failures:
            failures[0].accepted = dict(handles)
            raise failures[0]
        return [handles[index] for index in range(len(everything))]

    async def _submit_chunk(
        self,
        chunk: Sequence[Submission[R]],
        start: int,
        wait_for_room: bool,
        handles: dict[int, JobHandle[R]],
        failures: list[AsyncinferError],
    ) -> None:
        engine = self._engine
        if any(len(submission.input) > HEAVY_BYTES for submission in chunk):
            chunk = [await _hashed(submission) for submission in chunk]
        now = engine.clock.now()
        with engine.observers.submit([self._new_job(submission, now) for submission in chunk]) as submit:
            jobs = submit.jobs
            waiters = [engine.waiters.submitted(job.owner, job.id) for job in jobs]
            answers = submit.answers = list(await engine.insert(jobs))
            for index, (submission, job, waiter) in enumerate(zip(chunk, jobs, waiters, strict=True)):
                try:
                    may_wait = wait_for_room or submission.options.get("wait_for_room")
                    if may_wait and answers[index].kind == "full":
                        answers[index] = await engine.insert_when_room(job)
                    handles[start + index] = self._handle_of(submission, job, waiter, answers[index])
                except AsyncinferError as error:
                    failures.append(error)

    def _new_job(self, submission: Submission[Any], now: int) -> NewJob:
        core = self._core
        core.require(submission.model)
        return core.engine.factory.new_job(submission, self._owner, now)

    def _handle_of(self, submission: Submission[R], job: NewJob, waiter: Waiter, answer: Inserted) -> JobHandle[R]:
        if answer.kind == "inserted":
            engine = self._core.engine
            engine.inserted(waiter)
            return JobHandle(engine, waiter, submission.model)
        if answer.kind == "existing":
            waiter = self._engine.waiters.alias(waiter, JobKey(self._owner, answer.id))
            return JobHandle(self._engine, waiter, submission.model, is_existing=True)
        self._engine.waiters.forget(waiter)
        raise self._refused(job, answer)

    def _refused(self, job: NewJob, answer: Inserted) -> AsyncinferError:
        engine = self._engine
        return refusal_of(job, answer, quota=engine.limits.owner_queued_jobs, retry_after=engine.retry_after(job.queue))

    # One job

    @overload
    def handle(self, job_id: str, model: Model[..., R, object], /) -> JobHandle[R]: ...
    @overload
    def handle(self, job_id: str, /) -> JobHandle[Any]: ...
    def handle(self, job_id: str, model: Model[..., Any, object] | None = None, /) -> JobHandle[Any]:
        """Return a handle of a job by its id, from any process, also after a restart; typed by the model.

        Looks nothing up: an unknown id shows when the handle is used.
        """
        return JobHandle(self._engine, self._engine.waiters.waiter(self._key(job_id)), model)

    async def get(self, job_id: str) -> Job:
        """Return the job's record as it stands. Raises UnknownJob or JobExpired."""
        return await self.handle(job_id).job()

    async def attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return the job's attempts, oldest first (the newest 100); empty for an unknown job."""
        return await self._engine.store.attempts(self._key(job_id))

    async def events(self, job_id: str, after: int = 0, *, limit: int = 200) -> EventPage:
        """Return the job's events behind id `after` as they stand, at most `limit`; a handle's `events()` follows them.

        Empty for an unknown job.
        """
        return await self._engine.store.events(self._key(job_id), after, limit)

    async def submission(self, job_id: str) -> NewJob:
        """Return the job as it was submitted, with its input. Raises UnknownJob or JobExpired."""
        (found,) = await self._engine.store.submissions([self._key(job_id)])
        if found is None:
            raise await self._gone(job_id)
        return found

    async def position(self, job_id: str) -> int | None:
        """Return how many jobs of its model are ahead of it, a snapshot; None unless it waits and is ready."""
        (ahead,) = await self._engine.store.position([self._key(job_id)])
        return ahead

    def eta(self, model: str, ahead: int) -> float | None:
        """Return the seconds after which a job of the model with `ahead` others before it may start; None if unknown.

        At the rate at which jobs of that model have ended in this manager during the last 10 to 20 s.
        """
        return self._engine.seconds_until(ahead, model)

    async def cancel(self, job_id: str) -> CancelAnswer:
        """Cancel a waiting job, ask a running one to stop; `terminal` if it has ended.

        Raises UnknownJob or JobExpired.
        """
        return await self.handle(job_id).cancel()

    async def retry(self, job_id: str) -> JobHandle[Any]:
        """Run an ended job again, as a new job with `retry_of`.

        Raises UnknownJob, JobExpired, InvalidOption if it has not ended, and what `submit` raises.
        """
        job = await self.get(job_id)
        if not job.is_terminal:
            raise InvalidOption(f"job_id: expected an ended job, {job_id} is {job.status}")
        handles = await self._retry([job.job_key])
        if not handles:  # it was pruned or deleted since it was read
            raise await self._gone(job_id)
        return handles[0]

    async def delete(self, job_id: str) -> Literal["deleted", "running"]:
        """Forget an ended job now, cancel and forget a waiting one; a running one is left. Raises UnknownJob."""
        ((_, answer),) = await self._engine.store.delete([self._key(job_id)])
        if answer is None:
            raise UnknownJob(f"there is no job {job_id} for this owner")
        return answer

    # Many jobs

    async def find(
        self,
        matching: JobFilter | None = None,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Return jobs without results, newest first. Pass a page's `next_cursor` as `after` for the next.

        `limit` is 1 to 1,000. Raises InvalidOption.
        """
        if not 1 <= limit <= 1_000:
            raise InvalidOption(f"limit: expected 1 to 1000, got {limit!r}")
        if after is not None and before is not None:
            raise InvalidOption("before: expected none beside after, got both")
        return await self._engine.store.find(
            self._sees, matching or JobFilter(), after=after, before=before, limit=limit
        )

    async def find_all(self, matching: JobFilter | None = None) -> AsyncIterator[Job]:
        """Yield every job that matches, newest first, a page at a time."""
        after: str | None = None
        while True:
            page = await self.find(matching, after=after, limit=FIND_PAGE)
            for job in page.jobs:
                yield job
            after = page.next_cursor
            if after is None:
                return

    async def counts(self, queue: str | None = None) -> Sequence[Counts]:
        """Count jobs by queue and model."""
        return await self._engine.store.counts(self._sees, queue)

    async def has_room(self, queue: str) -> bool:
        """Tell whether a submit to the queue would be accepted now; a snapshot."""
        engine = self._engine
        jobs, size = engine.limits.of_queue(queue)
        counts = await engine.store.counts(None, queue)
        is_full = sum(one.queued for one in counts) >= jobs or sum(one.queued_bytes for one in counts) >= size
        return not (engine.is_draining or is_full)

    async def cancel_all(self, matching: JobFilter) -> Sequence[str]:
        """Cancel or ask to stop every live job that matches; return their ids.

        Raises InvalidOption on an empty filter.
        """
        _require_filter(matching)
        answers = await self._engine.store.request_cancel(owner=self._sees, matching=matching)
        for key, answer in answers:
            self._engine.canceled(key, answer)
        return [key.id for key, answer in answers if answer in ("canceled", "requested")]

    async def retry_all(self, matching: JobFilter) -> Sequence[JobHandle[Any]]:
        """Run every ended job that matches again, each as a new job. Raises InvalidOption on an empty filter.

        With 10,000 matches at most, so that a retry of retries ends.
        """
        _require_filter(matching)
        keys = [job.job_key async for job in self.find_all(matching) if job.is_terminal][:10_000]
        handles: list[JobHandle[Any]] = []
        for start in range(0, len(keys), FIND_PAGE):
            handles += await self._retry(keys[start : start + FIND_PAGE])
        return handles

    async def delete_all(self, matching: JobFilter) -> int:
        """Forget every ended or waiting job that matches; return how many. Raises InvalidOption on an empty filter."""
        _require_filter(matching)
        answers = await self._engine.store.delete(owner=self._sees, matching=matching)
        return sum(answer == "deleted" for _, answer in answers)

    async def purge(self, queue: str) -> Sequence[str]:
        """Cancel every waiting job of the queue; return their ids."""
        keys = await self._engine.store.purge(self._sees, queue)
        for key in keys:
            self._engine.canceled(key, "canceled")
        return [key.id for key in keys]

    async def _retry(self, keys: Sequence[JobKey]) -> list[JobHandle[Any]]:
        engine = self._engine
        now = engine.clock.now()
        originals = await engine.store.submissions(keys)
        again = [engine.factory.again(job, now) for job in originals if job is not None]
        handles: list[JobHandle[Any]] = []
        with engine.observers.submit(again) as submit:
            jobs = submit.jobs
            waiters = [engine.waiters.submitted(job.owner, job.id) for job in jobs]
            answers = submit.answers = await engine.insert(jobs)
        for job, waiter, answer in zip(jobs, waiters, answers, strict=True):
            if answer.kind != "inserted":
                engine.waiters.forget(waiter)
                raise self._refused(job, answer)
            engine.inserted(waiter)
            handles.append(JobHandle(engine, waiter, self._local_model(job.model)))
        return handles

    async def _gone(self, job_id: str) -> UnknownJob:
        """Return that a job is not known any more. Raises JobExpired, where the store still tells that it was."""
        await self.get(job_id)
        return UnknownJob(f"there is no job {job_id} for this owner")

    # Models

    def model(self, name: str, /) -> Model[..., Any, Any]:
        """Return a model by name, untyped: one of this manager, or one that a worker has published.

        Raises UnknownModel.
        """
        return self._core.model(name)

    def _local_model(self, name: str) -> Model[..., Any, Any] | None:
        try:
            return self.model(name)
        except UnknownModel:
            return None

    def _key(self, job_id: str) -> JobKey:
        if not isinstance(job_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise InvalidOption(f"job_id: expected str, got {type(job_id).__name__}")
        return JobKey(self._owner, job_id)


def _require_model(model: object) -> None:
    if isinstance(model, Model):
        return
    if isinstance(model, str):
        raise InvalidOption(f"model: expected a Model, got str; by name: manager.submit(manager.model({model!r}), …)")
    raise InvalidOption(f"model: expected a Model, got {type(model).__name__}; register it with asyncinfer.model(…)")


async def _hashed(submission: Submission[R]) -> Submission[R]:
    """Work out the fingerprint of a large input off the loop, where a key, an id or dedup will need it."""
    if len(submission.input) <= HEAVY_BYTES or _HASHED_FOR.isdisjoint(submission.options):
        return submission
    return replace(submission, hashed=await offload(submission.fingerprint))


def _require_filter(matching: JobFilter) -> None:
    if matching.is_empty:
        raise InvalidOption("matching: expected a filter that selects something, an empty one would be every job")


def _is_heavy_input(args: Iterable[object], kwargs: Mapping[str, object]) -> bool:
    """Tell whether an input is worth a thread; the usual small values cost a look at their type."""
    for value in args:
        if type(value) not in _LIGHT and is_heavy(value):
            return True
    for value in kwargs.values():  # noqa: SIM110  a generator costs more than the looks themselves
        if type(value) not in _LIGHT and is_heavy(value):
            return True
    return False


_HASHED_FOR = frozenset({"idempotency_key", "job_id", "dedup"})
_LIGHT = frozenset({type(None), bool, int, float})
