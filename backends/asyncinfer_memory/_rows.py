"""What the store keeps of one job."""

from __future__ import annotations

from collections import deque

import msgspec

from asyncinfer.abc import Attempt, JobError, NewJob, OutputEvent, ProgressEvent, Status, StatusEvent, Subscription

ATTEMPTS_KEPT = 100
STATUS_EVENTS_KEPT = 2_000
"""Of earlier attempts: two each. A job that is given back for ever must not grow for ever."""


class History:
    """What only some jobs have: progress, output, a checkpoint, attempts before the newest one."""

    __slots__ = ("attempts", "checkpoint", "dropped_id", "moves", "output", "progress", "statuses", "told")

    def __init__(self) -> None:
        self.statuses: deque[StatusEvent] = deque(maxlen=STATUS_EVENTS_KEPT)
        """Of earlier attempts, and the `queued` event that followed them."""
        self.attempts: deque[Attempt] = deque(maxlen=ATTEMPTS_KEPT)
        self.moves: deque[tuple[int, bytes]] = deque(maxlen=ATTEMPTS_KEPT)
        """(attempt, move_id) of the writes that ended earlier attempts."""
        self.output: list[OutputEvent] = []
        self.dropped_id = 0
        """Id of the newest output event that has left."""
        self.progress: ProgressEvent | None = None
        self.checkpoint: bytes | None = None
        self.told: tuple[int, bytes, int] = (0, b"", 0)
        """(attempt, move_id, revision) of the newest record."""


# gc=False: a row and what it holds never point back at the tables, so a million rows cost the collector nothing.
class Row(msgspec.Struct, gc=False, eq=False):
    """One job as it stands. Mutable: only `Tables` and the moves beside it write it."""

    new: NewJob
    n: int
    """Order of insertion; breaks ties everywhere."""
    created_at: int
    not_before: int | None
    subscriptions: tuple[Subscription, ...]
    status: Status = "queued"
    revision: int = 1
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    tag: float | None = None
    """None until it becomes ready."""
    is_solo: bool = False
    worker: str | None = None
    renewals: int = 0
    started_at: int | None = None
    running_revision: int = 0
    """Revision of the newest attempt's beginning."""
    cancel_requested_at: int | None = None
    finished_at: int | None = None
    forget_at: int | None = None
    result: bytes | None = None
    error: JobError | None = None
    ending: str | None = None
    """How the newest attempt ended, once the job has ended in it."""
    move_id: bytes | None = None
    """The write that ended the newest attempt."""
    duties: int = 0
    """Owed events and pending deliveries: while there are any, it is not pruned."""
    retained_until: int | None = None
    """Its instant in the index of ended jobs; None while it lives or has duties."""
    history: History | None = None

    @property
    def the_history(self) -> History:
        """The history, made when first needed."""
        if self.history is None:
            self.history = History()
        return self.history


class Tombstone(msgspec.Struct, gc=False, eq=False):
    """What stays of a pruned job: its id and key are not given out again."""

    owner: str
    id: str
    n: int
    fingerprint: bytes
    key: str | None
    key_until: int | None
    buried_at: int


Entry = tuple[float, int, Row]
"""(tag, or an instant; n; row): the entry of every ordered index. n is unique, so rows are never compared."""
