"""What is owed to subscribers, and how its deliveries went."""

from __future__ import annotations

from collections.abc import Sequence

from asyncinfer.abc import (
    Clock,
    Delivery,
    DeliveryAttempt,
    DeliveryFilter,
    Endpoint,
    JobKey,
    NewDelivery,
    Outbox,
    Owed,
    Settlement,
    Subscription,
)
from asyncinfer_memory._deliveries import LOG_KEPT, Deliveries, DeliveryRow
from asyncinfer_memory._rows import Row
from asyncinfer_memory._sorted import SortedChunks
from asyncinfer_memory._tables import Tables


class MemoryOutbox(Outbox):
    """The outbox of one MemoryStore. A job has a duty for each owed event and each pending delivery."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._clock: Clock = tables.clock
        self._owed: dict[int, tuple[Owed, Row]] = {}
        self._offered: SortedChunks[tuple[int, int]] = SortedChunks()
        """(instant from which it is offered, n) of each owed event."""
        self._offered_at: dict[int, int] = {}
        self._deliveries = Deliveries()
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._owed_made = 0
        self._tokens_made = 0

    def owe(self, row: Row, subscriptions: tuple[Subscription, ...]) -> None:
        """Write an owed event for a job that has ended: called inside the step that ends it."""
        assert row.finished_at is not None
        self._owed_made = n = self._owed_made + 1
        new = row.new
        owed = Owed(n, new.owner, new.id, row.status, row.finished_at, row.revision, subscriptions)
        self._owed[n] = (owed, row)
        self._offer(n, row.finished_at)
        self._charge(row)

    async def owed(self, limit: int, lease: int) -> Sequence[Owed]:
        now = self._clock.now()
        leased: list[Owed] = []
        while len(leased) < limit and (first := self._offered.first) is not None and first[0] <= now:
            leased.append(self._owed[first[1]][0])
            self._withdraw(first[1])
            self._offer(first[1], now + lease)
        return leased

    async def expand(self, items: Sequence[tuple[Owed, Sequence[NewDelivery]]]) -> None:
        for owed, deliveries in items:
            if owed.n not in self._owed:
                continue
            _, job = self._owed.pop(owed.n)
            self._withdraw(owed.n)
            self._add(job, deliveries)
            self._discharge(job)

    async def due(self, limit: int, lease: int, *, skip: Sequence[str] = ()) -> Sequence[Delivery]:
        now = self._clock.now()
        skipped = frozenset(skip)
        chosen: list[DeliveryRow] = []
        for at, _, row in self._deliveries.pending:
            if at > now or len(chosen) >= limit:
                break
            if row.new.target not in skipped:
                chosen.append(row)
        for row in chosen:
            self._tokens_made += 1
            row.lease_token = self._tokens_made
            self._deliveries.offer(row, now + lease)
        return [row.record(with_body=True) for row in chosen]

    async def settle(self, items: Sequence[Settlement]) -> Sequence[bool]:
        return [self._settle_one(item) for item in items]

    async def next_due_at(self) -> int | None:
        owed, pending = self._offered.first, self._deliveries.pending.first
        return min((first[0] for first in (owed, pending) if first is not None), default=None)

    async def deliveries(
        self, owner: str | None, matching: DeliveryFilter, *, after: str | None = None, limit: int = 50
    ) -> Sequence[Delivery]:
        found: list[Delivery] = []
        for each in self._deliveries.ids.descending(after):
            if len(found) >= limit:
                break
            row = self._deliveries.rows[each]
            if (owner is None or row.job.new.owner == owner) and row.matches(matching):
                found.append(row.record(with_body=False))
        return found

    async def delivery(self, owner: str, delivery_id: str) -> Delivery | None:
        row = self._deliveries.rows.get(delivery_id)
        return None if row is None or row.job.new.owner != owner else row.record(with_body=False)

    async def log(self, owner: str, delivery_id: str) -> Sequence[DeliveryAttempt]:
        row = self._deliveries.rows.get(delivery_id)
        return [] if row is None or row.job.new.owner != owner else list(row.log)

    async def redeliver(self, owner: str, delivery_ids: Sequence[str], due_at: int) -> Sequence[bool]:
        answers: list[bool] = []
        for each in delivery_ids:
            row = self._deliveries.rows.get(each)
            is_known = row is not None and row.job.new.owner == owner
            if row is not None and is_known:
                self._reopen(row, due_at)
            answers.append(is_known)
        return answers

    async def recover(self, owner: str, endpoint: str, since: int, until: int, due_at: int) -> int:
        rows = [
            row
            for row in self._deliveries.rows.values()
            if row.job.new.owner == owner
            and row.new.endpoint == endpoint
            and row.status in ("exhausted", "disabled")
            and since <= row.created_at <= until
        ]
        for row in rows:
            self._reopen(row, due_at)
        return len(rows)

    async def put_endpoint(self, endpoint: Endpoint, *, because: str = "", notices: Sequence[NewDelivery] = ()) -> bool:
        key = (endpoint.owner, endpoint.id)
        stored = self._endpoints.get(key)
        if endpoint.revision != (1 if stored is None else stored.revision + 1):
            return False
        self._endpoints[key] = endpoint
        cause = self._deliveries.rows.get(because)
        if cause is not None and cause.job.new.owner == endpoint.owner:
            self._add(cause.job, notices)
        return True

    async def endpoints(self, owner: str | None, ids: Sequence[str] | None = None) -> Sequence[Endpoint]:
        if owner is not None and ids is not None:
            found = (self._endpoints.get((owner, each)) for each in sorted(set(ids)))
            return [endpoint for endpoint in found if endpoint is not None]
        every = sorted(self._endpoints.values(), key=lambda endpoint: (endpoint.id, endpoint.owner))
        return [
            endpoint
            for endpoint in every
            if (owner is None or endpoint.owner == owner) and (ids is None or endpoint.id in ids)
        ]

    async def delete_endpoint(self, owner: str, endpoint_id: str) -> bool:
        if self._endpoints.pop((owner, endpoint_id), None) is None:
            return False
        for row in list(self._deliveries.rows.values()):
            if row.job.new.owner == owner and row.new.endpoint == endpoint_id and row.status == "pending":
                row.status = "disabled"
                self._close(row)
        return True

    async def of_job(self, key: JobKey) -> Sequence[Delivery]:
        rows = self._deliveries.of_job.get(key, {})
        return [rows[each].record(with_body=False) for each in sorted(rows)]

    def forget_job(self, row: Row) -> None:
        """Forget the ended deliveries of a job that is gone; pending ones go when they end."""
        rows = self._deliveries.of_job.get(row.new.job_key, {})
        for delivery in [each for each in rows.values() if each.status != "pending"]:
            self._deliveries.remove(delivery)

    def _add(self, job: Row, deliveries: Sequence[NewDelivery]) -> None:
        for new in deliveries:
            if self._deliveries.add(job, new, self._clock.now()):
                self._charge(job)

    def _settle_one(self, item: Settlement) -> bool:
        row = self._deliveries.rows.get(item.id)
        if row is None or row.status != "pending" or not row.lease_token or row.lease_token != item.lease_token:
            return False
        row.attempts += 1
        row.log.append(item.attempt)
        del row.log[:-LOG_KEPT]
        row.status, row.lease_token = item.status, 0
        if item.status == "pending":
            row.due_at = row.due_at if item.due_at is None else item.due_at
            self._deliveries.offer(row, row.due_at)
        else:
            self._close(row)
        return True

    def _close(self, row: DeliveryRow) -> None:
        """Take an ended delivery off the index, and its duty off the job; forget it if the job is gone."""
        self._deliveries.withdraw(row)
        row.lease_token = 0
        self._discharge(row.job)
        if not self._is_kept(row.job):
            self._deliveries.remove(row)

    def _reopen(self, row: DeliveryRow, due_at: int) -> None:
        if row.status != "pending":
            row.status, row.due_at = "pending", due_at
            row.attempts_before = row.attempts
            self._deliveries.offer(row, due_at)
            self._charge(row.job)

    def _charge(self, row: Row) -> None:
        row.duties += 1
        self._tables.release(row)

    def _discharge(self, row: Row) -> None:
        row.duties -= 1
        if row.duties:
            return
        if self._is_kept(row):
            self._tables.retain(row)
        else:
            self._tables.retain_tombstone(row)

    def _is_kept(self, row: Row) -> bool:
        """Tell whether the job is still there: its owner may have deleted it, and its id may name another by now."""
        return self._tables.row(row.new.owner, row.new.id) is row

    def _offer(self, n: int, at: int) -> None:
        self._offered_at[n] = at
        self._offered.add((at, n))

    def _withdraw(self, n: int) -> None:
        self._offered.remove((self._offered_at.pop(n), n))
