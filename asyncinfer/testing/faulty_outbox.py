"""The outbox of a FaultyStore."""

from __future__ import annotations

from collections.abc import Sequence

from asyncinfer.abc import (
    Delivery,
    DeliveryAttempt,
    DeliveryFilter,
    Endpoint,
    JobKey,
    NewDelivery,
    Outbox,
    Owed,
    Settlement,
)
from asyncinfer.testing.faults import Faults


class FaultyOutbox(Outbox):
    """Forwards to an outbox and meets the faults that its store has planned under `outbox.<method>`."""

    def __init__(self, outbox: Outbox, faults: Faults) -> None:
        self._outbox = outbox
        self._faults = faults

    async def owed(self, limit: int, lease: int) -> Sequence[Owed]:
        return await self._faults.through("outbox.owed", self._outbox.owed, limit, lease)

    async def expand(self, items: Sequence[tuple[Owed, Sequence[NewDelivery]]]) -> None:
        await self._faults.through("outbox.expand", self._outbox.expand, items)

    async def due(self, limit: int, lease: int, *, skip: Sequence[str] = ()) -> Sequence[Delivery]:
        return await self._faults.through("outbox.due", self._outbox.due, limit, lease, skip=skip)

    async def settle(self, items: Sequence[Settlement]) -> Sequence[bool]:
        return await self._faults.through("outbox.settle", self._outbox.settle, items)

    async def next_due_at(self) -> int | None:
        return await self._faults.through("outbox.next_due_at", self._outbox.next_due_at)

    async def deliveries(
        self, owner: str | None, matching: DeliveryFilter, *, after: str | None = None, limit: int = 50
    ) -> Sequence[Delivery]:
        forward = self._outbox.deliveries
        return await self._faults.through("outbox.deliveries", forward, owner, matching, after=after, limit=limit)

    async def delivery(self, owner: str, delivery_id: str) -> Delivery | None:
        return await self._faults.through("outbox.delivery", self._outbox.delivery, owner, delivery_id)

    async def log(self, owner: str, delivery_id: str) -> Sequence[DeliveryAttempt]:
        return await self._faults.through("outbox.log", self._outbox.log, owner, delivery_id)

    async def redeliver(self, owner: str, delivery_ids: Sequence[str], due_at: int) -> Sequence[bool]:
        return await self._faults.through("outbox.redeliver", self._outbox.redeliver, owner, delivery_ids, due_at)

    async def recover(self, owner: str, endpoint: str, since: int, until: int, due_at: int) -> int:
        return await self._faults.through("outbox.recover", self._outbox.recover, owner, endpoint, since, until, due_at)

    async def put_endpoint(self, endpoint: Endpoint, *, because: str = "", notices: Sequence[NewDelivery] = ()) -> bool:
        forward = self._outbox.put_endpoint
        return await self._faults.through("outbox.put_endpoint", forward, endpoint, because=because, notices=notices)

    async def endpoints(self, owner: str | None, ids: Sequence[str] | None = None) -> Sequence[Endpoint]:
        return await self._faults.through("outbox.endpoints", self._outbox.endpoints, owner, ids)

    async def delete_endpoint(self, owner: str, endpoint_id: str) -> bool:
        return await self._faults.through("outbox.delete_endpoint", self._outbox.delete_endpoint, owner, endpoint_id)

    async def of_job(self, key: JobKey) -> Sequence[Delivery]:
        return await self._faults.through("outbox.of_job", self._outbox.of_job, key)
