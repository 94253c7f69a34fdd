"""The store contract: where jobs live, and the only steps in which they move.

Batch first: a list in, **one commit, independent items, one answer each, in order**. A bad item fails alone. The core
decides, the store moves, fenced, and holds no policy. Times are integer milliseconds; `now` is the store's own clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Literal, Self

import msgspec
from msgspec import Struct

from asyncinfer._clock import Clock
from asyncinfer._events import StoredEvent
from asyncinfer._job import Attempt, Backoff, Job, JobError, JobKey, NewJob, Progress, Status
from asyncinfer._limits import Limits
from asyncinfer.abc._outbox import Outbox
from asyncinfer.lifecycle import FinishOutcome

InsertedKind = Literal["inserted", "existing", "conflict", "full", "gone", "bad"]
ExtendAnswer = Literal["held", "lost", "cancel"]
WriteAnswer = Literal["done", "lost"]
CancelAnswer = Literal["canceled", "requested", "terminal"]
RescueAnswer = Literal["queued", "failed", "canceled", "held"]


class StoreFeatures(Struct, frozen=True, kw_only=True):
    """What a store can do; the suite skips by it, with this as the reason."""

    is_durable: bool
    """An answered write survives the death of the process."""
    is_shared: bool
    """Several processes may open it at once."""
    durability: str
    """In words, for health and docs: what an answered write survives."""
    proves_death: bool = False
    """`leases` can say `is_gone` at once when a worker dies."""


class Inserted(Struct, frozen=True, gc=False):
    """The answer to one NewJob.

    inserted: it is committed · existing: `id` names the job that answers for it · conflict: `id` holds the key or id
    with another fingerprint · full: `limit` names the limit · gone: the id was pruned · bad: `message` says why.
    """

    kind: InsertedKind
    id: str
    status: Status = "queued"
    limit: str = ""
    """queued_jobs, queued_bytes, owner_queued_jobs, or min_free_bytes."""
    message: str = ""


class ModelRoom(Struct, frozen=True, gc=False):
    """One model a pool can run: `room` jobs of it, out of at most `limit` at once; batches up to size and cost."""

    model: str
    room: int
    limit: int | None = None
    batch_size: int = 1
    batch_cost: int | None = None


class ClaimRequest(Struct, frozen=True):
    """One pool (executor) of one worker asks for work: at most `slots` jobs in all (a batch is one slot)."""

    worker: str
    lease: int
    """Milliseconds until the lease ends if it is not extended."""
    slots: int
    models: tuple[ModelRoom, ...]
    """In the order in which this claim serves them, one head each in turn."""
    is_idle: bool = True
    """Nothing runs in this worker now: only then may a solo job be claimed, and then nothing beside it."""
    is_isolated: bool = False
    """A crash ends one slot only: solo then means a batch of one, not an idle worker."""


class Claim(Struct, frozen=True, gc=False):
    """One attempt, begun and leased. By position it is built six times as fast as by keyword (0.15 and 0.9 us)."""

    owner: str
    id: str
    attempt: int
    model: str
    queue: str
    input: bytes
    content_type: str
    group: int = 0
    """Claims of one answer with the same group are one batch, side by side; a job alone is a group of its own."""
    is_solo: bool = False
    traceparent: str | None = None
    checkpoint: bytes | None = None
    failures: int = 0
    crashes: int = 0
    max_attempts: int = 1
    crash_budget: int = 3
    backoff: Backoff | None = None
    time_limit: int | None = None
    deadline: int | None = None
    created_at: int = 0
    claimed_at: int = 0
    metadata: bytes = b""
    ref: object = None
    """Opaque: handed back in every write of this attempt, so that a store may skip a look-up."""

    @property
    def job_key(self) -> JobKey:
        return JobKey(self.owner, self.id)


class Claims(Struct, frozen=True):
    """The answer to one ClaimRequest."""

    claims: Sequence[Claim] = ()
    is_solo_waiting: bool = False
    """A solo job could not be claimed because the worker was not idle: run dry, then ask again."""
    next_at: int | None = None
    """When the next delayed job of these models becomes ready."""
    ended: Sequence[JobKey] = ()
    """Heads that this claim ended instead: expired, or undecodable."""


class Lease(Struct, frozen=True, gc=False):
    """Names one attempt in a worker's write: the fence is (owner, id, running, attempt)."""

    owner: str
    id: str
    attempt: int
    ref: object = None


class Record(Struct, frozen=True, gc=False):
    """What a running attempt has to tell: the latest progress, output values in order, the newest checkpoint."""

    owner: str
    id: str
    attempt: int
    progress: Progress | None = None
    output: tuple[bytes, ...] = ()
    checkpoint: bytes | None = None
    ref: object = None
    move_id: bytes = b""
    """Random per write: the attempt's newest one again is answered with its revision and writes nothing."""


class Finish(Struct, frozen=True, gc=False):
    """How an attempt ends. `move_id` is random per write: the same one again is answered `done` again."""

    owner: str
    id: str
    attempt: int
    outcome: FinishOutcome
    move_id: bytes
    result: bytes | None = None
    error: JobError | None = None
    not_before: int | None = None
    """For a retry: when the next attempt may be claimed."""
    ref: object = None


class RunningLease(Struct, frozen=True, gc=False):
    """One running attempt as an observer sees it."""

    owner: str
    id: str
    attempt: int
    renewals: int
    worker: str
    is_gone: bool = False
    """The store can prove that the worker is dead."""
    cancel_requested: bool = False
    time_limit_at: int | None = None
    deadline: int | None = None


class JobFilter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Selects jobs of an owner; all that is given must hold. Instants are inclusive milliseconds."""

    status: tuple[Status, ...] = ()
    model: str | None = None
    queue: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    @property
    def is_empty(self) -> bool:
        """An empty filter would select everything: calls that change jobs refuse it."""
        return self == JobFilter()


class JobPage(Struct, frozen=True):
    """Jobs in order of id, newest first. A cursor is None where nothing lies beyond."""

    jobs: Sequence[Job]
    next_cursor: str | None = None
    prev_cursor: str | None = None


class EventPage(Struct, frozen=True):
    """Events of one job in order of id. `has_gap`: output after the asked-for id has left the bounded history."""

    events: Sequence[StoredEvent]
    has_gap: bool = False
    has_more: bool = False


class Counts(Struct, frozen=True, kw_only=True):
    """How many jobs of one queue and model stand where. Records that are pruned no longer count."""

    queue: str
    model: str
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    queued_bytes: int = 0
    oldest_queued_at: int | None = None
    """`created_at` of the oldest waiting job."""
    is_paused: bool = False


class PublishedModel(Struct, frozen=True, kw_only=True):
    """A model as workers publish it, for submitters that do not import it."""

    name: str
    queue: str
    executor: str = ""
    input_schema: bytes = b""
    """JSON Schema, as JSON."""
    result_schema: bytes = b""
    max_attempts: int = 1
    crash_budget: int = 3
    backoff: Backoff | None = None
    time_limit: int | None = None
    queue_timeout: int | None = None


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A manager that runs jobs, as it registers itself. `worker` is random per start."""

    worker: str
    host: str = ""
    pid: int = 0
    started_at: int = 0
    slots: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    """Slots per executor."""
    models: tuple[PublishedModel, ...] = ()


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
        order; within a model by (tag, insertion). A head that has expired is ended here instead. A row that cannot be
        decoded is failed with `undecodable`, and the claim goes on.
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
        job is queued again with its old tag, failed(crash_budget) at its budget, or canceled if that was wished.
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
