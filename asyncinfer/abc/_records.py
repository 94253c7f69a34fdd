"""The records that a store is asked with and answers in. Times are integer milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from asyncinfer._events import StoredEvent
from asyncinfer._job import Backoff, Job, JobError, JobKey, Progress, Status, Subscription
from asyncinfer.abc._executor import ModelState
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
    created_at: int = 0
    """With `inserted`: when."""


class ModelRoom(Struct, frozen=True, gc=False):
    """One model a pool can run: `room` jobs of it, out of at most `limit` at once; batches up to size and cost.

    A batch that is not full (neither `batch_size` or `room` nor `batch_cost` is reached, and its last chance it is not)
    is held back until its oldest job has been ready for `batch_wait`; batches of other keys behind it are not.
    """

    model: str
    room: int
    limit: int | None = None
    batch_size: int = 1
    batch_cost: int | None = None
    batch_wait: int = 0
    """Milliseconds; 0 holds nothing back."""


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
    not_before: int | None = None
    """Of its latest wait in the queue, as in Job."""
    revision: int = 0
    """Of the job now: the id of this attempt's `running` event."""
    live_subscriptions: tuple[Subscription, ...] = ()
    """Those of its subscriptions that are `is_live`."""

    @property
    def job_key(self) -> JobKey:
        return JobKey(self.owner, self.id)

    @property
    def ready_at(self) -> int | None:
        """When its wait in the queue began; None after a give back or a rescue, whose instants no store hands out."""
        if self.not_before is not None:
            return max(self.created_at, self.not_before)
        return self.created_at if self.attempt == 1 else None


class Claims(Struct, frozen=True):
    """The answer to one ClaimRequest."""

    claims: Sequence[Claim] = ()
    is_solo_waiting: bool = False
    """A solo job could not be claimed because the worker was not idle: run dry, then ask again."""
    next_at: int | None = None
    """When the next delayed job of these models becomes ready, or the next batch that is held back goes."""
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
    error: JobError | None = None
    """With `rescue`: how the attempt's own process died, where that is known. No store reports it."""


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
    state: ModelState | None = None
    """How far it is loaded in the manager that was asked; None where its code is elsewhere, and in a store."""


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A manager that runs jobs, as it registers itself. `worker` is random per start."""

    worker: str
    host: str = ""
    pid: int = 0
    started_at: int = 0
    slots: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    """Slots per executor."""
    models: tuple[PublishedModel, ...] = ()
