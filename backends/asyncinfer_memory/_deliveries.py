"""What the outbox keeps of one delivery, and the tables it is found in."""

from __future__ import annotations

import msgspec

from asyncinfer.abc import (
    Delivery,
    DeliveryAttempt,
    DeliveryFilter,
    DeliveryStatus,
    JobKey,
    NewDelivery,
)
from asyncinfer_memory._rows import Row
from asyncinfer_memory._sorted import SortedChunks

LOG_KEPT = 100
"""Newest lines of a delivery's log."""


class DeliveryRow(msgspec.Struct, eq=False):
    """One delivery as it stands."""

    new: NewDelivery
    n: int
    job: Row
    created_at: int
    due_at: int
    status: DeliveryStatus = "pending"
    attempts: int = 0
    attempts_before: int = 0
    lease_token: int = 0
    offered_at: int | None = None
    """Its instant in the index of pending ones: `due_at`, or the end of a sender's lease."""
    log: list[DeliveryAttempt] = msgspec.field(default_factory=list[DeliveryAttempt])

    def record(self, *, with_body: bool) -> Delivery:
        """Return the public record."""
        new = self.new
        return Delivery(
            id=new.id,
            owner=self.job.new.owner,
            job_id=self.job.new.id,
            target=new.target,
            event=new.event,
            body=new.body if with_body else b"",
            status=self.status,
            attempts=self.attempts,
            due_at=self.due_at,
            created_at=self.created_at,
            endpoint=new.endpoint,
            secret=new.secret,
            last=self.log[-1] if self.log else None,
            lease_token=self.lease_token,
            attempts_before=self.attempts_before,
        )

    def matches(self, matching: DeliveryFilter) -> bool:
        return (
            (matching.job_id is None or self.job.new.id == matching.job_id)
            and (matching.endpoint is None or self.new.endpoint == matching.endpoint)
            and (matching.status is None or self.status == matching.status)
            and (matching.since is None or self.created_at >= matching.since)
            and (matching.until is None or self.created_at <= matching.until)
        )


class Deliveries:
    """Deliveries by id, by job, and the pending ones by the instant at which they may be offered."""

    def __init__(self) -> None:
        self.rows: dict[str, DeliveryRow] = {}
        self.ids: SortedChunks[str] = SortedChunks()
        self.of_job: dict[JobKey, dict[str, DeliveryRow]] = {}
        self.pending: SortedChunks[tuple[int, int, DeliveryRow]] = SortedChunks()
        self._made = 0

    def add(self, job: Row, new: NewDelivery, now: int) -> bool:
        """Store a pending delivery; False when its id is known already."""
        if new.id in self.rows:
            return False
        self._made += 1
        row = DeliveryRow(new, self._made, job, now, new.due_at)
        self.rows[new.id] = row
        self.ids.add(new.id)
        self.of_job.setdefault(job.new.job_key, {})[new.id] = row
        self.offer(row, new.due_at)
        return True

    def offer(self, row: DeliveryRow, at: int) -> None:
        """Let a pending delivery be leased from `at` on."""
        self.withdraw(row)
        row.offered_at = at
        self.pending.add((at, row.n, row))

    def withdraw(self, row: DeliveryRow) -> None:
        """Offer a delivery no more."""
        if row.offered_at is not None:
            self.pending.remove((row.offered_at, row.n, row))
            row.offered_at = None

    def remove(self, row: DeliveryRow) -> None:
        """Forget one that is not pending."""
        del self.rows[row.new.id]
        self.ids.remove(row.new.id)
        key = row.job.new.job_key
        del self.of_job[key][row.new.id]
        if not self.of_job[key]:
            del self.of_job[key]
