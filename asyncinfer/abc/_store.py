"""The store contract: where jobs live, and the only steps in which they move.

Batch first: a list in, **one commit, independent items, one answer each, in order**. A bad item fails alone. The core
decides, the store moves, fenced, and holds no policy. Times are integer milliseconds; `now` is the store's own clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Literal, Self

from asyncinfer._clock import Clock
from asyncinfer._job import Attempt, Job, JobKey, NewJob
from asyncinfer._limits import Limits
from asyncinfer.abc._outbox import Outbox
from asyncinfer.abc._records import (
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
    Lease,
    PublishedModel,
    Record,
    RescueAnswer,
    RunningLease,
    StoreFeatures,
    WorkerInfo,
    WriteAnswer,
)


class JobStore(ABC):
    """Where jobs live.

    Every method may raise StoreUnavailable (nothing happened) or OutcomeUnknown (it was handed over and did not answer:
    repeating is harmless); `insert` also StorageFull. A cancelled await never leaves a half-done step: what had started
    is completed, and a claim whose caller is gone is given back. `owner=""` is the unscoped owner, a value like any
    other.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    features: StoreFeatures
    clock: Clock
    outbox: Outbox

    @classmethod
    @abstractmethod
    def from_url(cls, url: str) -> JobStore:
        """Return a store, not yet opened, for a URL of one of its schemes. Raise InvalidOption on a wrong URL."""

    @abstractmethod
    async def open(self) -> None:
        """Make it ready: connect, migrate, check. Raise StoreUnusable, SchemaTooNew or StoreUnavailable."""

    @abstractmethod
    async def close(self) -> None:
        """Complete what has started and release everything. Idempotent."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def notices(self) -> Sequence[str]:
        """Say what an operator should know now, such as a pause after a jump of the clock; for health."""
        return ()

    # The life of a job

    @abstractmethod
    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        """Accept jobs. Once this returns `inserted`, the job is committed at the store's durability.

        Checked per item in this order: idempotency key, dedup, same id, pruned id, limits; so a full queue still
        answers `existing`, and an insert of unknown outcome may be repeated. Key and id answer `existing` when the
        fingerprint is equal, else `conflict`. A key whose job has been pruned is answered `gone` with that job's id. A
        replay adds its subscriptions to the job that answers, but for those it has (owed at once if that has ended).
        An earlier item of the same list counts as stored for a later one. `bad` takes no room and no key: an empty id,
        a text with a lone surrogate, an integer beyond 64 bits, a priority outside 0 to 9.
        """

    @abstractmethod
    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claims]:
        """Begin attempts: choose, attempt + 1, worker, lease end and status in one step.

        Ready means queued, not_before passed, queue not paused. Between models one head each in turn in the request's
        order; within a model by (tag, insertion). A batch is the head and the next of its queue and batch key; whether
        one that is not full is held back says `lifecycle.batch_held_until`, and how many are looked past
        `HELD_BATCHES`. A head that has expired is ended here instead. A row that cannot be decoded is failed with
        `undecodable`, and the claim goes on.
        """

    @abstractmethod
    async def extend(self, worker: str, leases: Sequence[Lease], lease: int) -> Sequence[ExtendAnswer]:
        """Extend the leases of a worker and count a renewal each. `cancel`: held, and its owner wants it canceled.

        Also keeps the worker's registration alive; an empty list does just that.
        """

    @abstractmethod
    async def record(self, items: Sequence[Record], limits: Limits) -> Sequence[int | None]:
        """Store progress, output and checkpoints of running attempts; return the new revision, or None: lease lost.

        Progress replaces the one before; each output value is one event with its own revision, the oldest leaving at
        `limits.events_per_job`; a checkpoint replaces the one before and is handed to the next attempt's claim.
        """

    @abstractmethod
    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        """End attempts: status, result, error, counters, event and owed event in one step.

        `lost` when (running, attempt) no longer holds, and then nothing is written; the `move_id` of the write that
        ended this attempt is answered `done` again. A retry of a job with a wish to cancel ends it canceled.
        """

    @abstractmethod
    async def give_back(self, leases: Sequence[Lease], move_id: bytes) -> Sequence[WriteAnswer]:
        """Return running attempts to the queue uncharged, in their old place (canceled if that was wished)."""

    @abstractmethod
    async def request_cancel(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, CancelAnswer | None]]:
        """Cancel queued jobs at once, mark running ones; None for an unknown key.

        Give either keys, or an owner (None is every owner) with a filter that is not empty; raise InvalidOption
        otherwise. A repeated wish changes nothing.
        """

    @abstractmethod
    async def leases(self, after: JobKey | None, limit: int) -> Sequence[RunningLease]:
        """Return running attempts of every worker, in order of key, behind `after`."""

    @abstractmethod
    async def rescue(self, items: Sequence[RunningLease]) -> Sequence[RescueAnswer]:
        """Take back attempts that the caller has proven lost; each is charged one crash.

        `held` when (running, attempt, renewals) has changed since it was observed: nothing is written. Otherwise the
        job is queued again with its old tag, failed(crash_budget) at its budget, or canceled if that was wished. The
        attempt keeps `lifecycle.worker_lost_error`, the failed job `crash_budget_error`; both say what `error` knows.
        """

    @abstractmethod
    async def expire(self, limit: int) -> Sequence[JobKey]:
        """Fail queued jobs whose `expire_at` has passed, with their `expire_code`; at most `limit` a call."""

    @abstractmethod
    async def prune(self, limit: int, tombstone: int) -> int:
        """Forget: results past `retention_result`, records past `forget_at` (a tombstone of id and key stays for
        `tombstone` ms more), tombstones past their time. At most `limit` rows a call; returns how many.
        A job with an owed event or a pending delivery is kept, and so is the tombstone of one that was deleted.
        """

    @abstractmethod
    async def delete(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, Literal["deleted", "running"] | None]]:
        """Forget terminal jobs now (a tombstone stays), cancel and forget queued ones; leave running ones.

        Keys and filters as in `request_cancel`.
        """

    @abstractmethod
    async def purge(self, owner: str | None, queue: str) -> Sequence[JobKey]:
        """Cancel every queued job of the queue (of one owner, or of all)."""

    @abstractmethod
    async def pause(self, queue: str) -> None:
        """Stop claims from the queue until `resume`; submits and running jobs go on. Kept across restarts."""

    @abstractmethod
    async def resume(self, queue: str) -> None: ...

    # Looking

    @abstractmethod
    async def get(self, keys: Sequence[JobKey], *, with_result: bool = True) -> Sequence[Job | None]:
        """Return jobs as they stand; None for unknown, another owner's, or pruned."""

    @abstractmethod
    async def submissions(self, keys: Sequence[JobKey]) -> Sequence[NewJob | None]:
        """Return jobs as they were inserted, with their input; None for unknown or pruned."""

    @abstractmethod
    async def is_tombstone(self, key: JobKey) -> bool:
        """Tell whether the id belonged to a job that has been pruned."""

    @abstractmethod
    async def find(
        self,
        owner: str | None,
        matching: JobFilter,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Return jobs without results, newest id first; cursors are opaque. Raise InvalidOption on a bad cursor."""

    @abstractmethod
    async def counts(self, owner: str | None = None, queue: str | None = None) -> Sequence[Counts]:
        """Count jobs by queue and model; a paused queue without jobs is there with model ''."""

    @abstractmethod
    async def position(self, keys: Sequence[JobKey]) -> Sequence[int | None]:
        """Return how many jobs of the same model are ahead, a snapshot; None unless queued and ready."""

    @abstractmethod
    async def events(self, key: JobKey, after: int = 0, limit: int = 200) -> EventPage:
        """Return events with id > after. Status and output are durable, progress only as its latest."""

    @abstractmethod
    async def attempts(self, key: JobKey) -> Sequence[Attempt]:
        """Return the attempts of a job, oldest first (the newest 100)."""

    @abstractmethod
    def changes(self) -> AsyncIterator[Sequence[JobKey] | None]:
        """Iterate over hints that jobs have changed elsewhere; None means "look at whatever you wait for".

        A hint may repeat or be lost: `get` and `events` are the truth. Changes made through this very object need
        no hint. Ends when the store closes.
        """

    # Workers

    @abstractmethod
    async def register(self, worker: WorkerInfo, lease: int) -> None:
        """Make a worker and its models known; forgotten `lease` ms after its last `extend`."""

    @abstractmethod
    async def unregister(self, worker: str) -> None: ...

    @abstractmethod
    async def workers(self) -> Sequence[WorkerInfo]: ...

    @abstractmethod
    async def models(self) -> Sequence[PublishedModel]:
        """Return models that any worker has published, by name; kept when the worker is gone."""
