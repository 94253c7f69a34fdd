"""The receivers and deliveries of a store, through a manager that runs nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from msgspec import UNSET

from asyncinfer import JobManager, wire
from asyncinfer.abc import DeliveryFilter
from asyncinfer.adapters.webhook import Endpoints, Transport, delivery_told, endpoint_told
from asyncinfer.cli._client import client_of
from asyncinfer.cli._seen_webhooks import Webhooks
from asyncinfer.cli._webhook_calling import Calling
from asyncinfer.errors import AsyncinferError


@contextlib.asynccontextmanager
async def webhooks_of_store(url: str, owner: str, calling: Calling) -> AsyncGenerator[Webhooks]:
    """Open the store. Receivers are called from here, as the options say. Raises InvalidOption, and MissingExtra."""
    guard, signers = calling.guard(), calling.signers()
    async with client_of(url) as manager, Transport(guard) as transport:
        endpoints = Endpoints(manager, guard, transport, signers=signers, public_base_url=calling.public_base_url)
        yield WebhooksOfStore(manager, endpoints, owner)


class WebhooksOfStore:
    """Those of one owner."""

    def __init__(self, manager: JobManager, endpoints: Endpoints, owner: str) -> None:
        self._manager = manager
        self._outbox = manager.outbox
        self._endpoints = endpoints
        self._owner = owner

    async def list(self) -> Sequence[wire.WebhookEndpoint]:
        return [endpoint_told(one) for one in await self._endpoints.list(self._owner)]

    async def register(self, asked: wire.RegisterWebhook) -> wire.WebhookEndpoint:
        events = {} if asked.events is UNSET else {"events": asked.events}
        made = await self._endpoints.register(
            self._owner, asked.url, description=asked.description, proof=asked.proof, format=asked.format, **events
        )
        return endpoint_told(made, shows_secret=True)

    async def rotate(self, endpoint_id: str) -> wire.WebhookEndpoint:
        return endpoint_told(await self._endpoints.rotate(self._owner, endpoint_id), shows_secret=True)

    async def delete(self, endpoint_id: str) -> None:
        await self._endpoints.delete(self._owner, endpoint_id)

    async def enable(self, endpoint_id: str, *, is_enabled: bool) -> None:
        await self._endpoints.change(self._owner, endpoint_id, is_enabled=is_enabled)

    async def prove(self, endpoint_id: str) -> None:
        await self._endpoints.prove(self._owner, endpoint_id)

    async def test(self, endpoint_id: str) -> wire.DeliveryAttempt:
        at = datetime.now(UTC)
        went = await self._endpoints.test(self._owner, endpoint_id)
        return wire.DeliveryAttempt(
            at=at, kind=went.kind, status=went.status, latency_seconds=went.latency / 1000, detail=went.detail
        )

    async def page(self, matching: DeliveryFilter, *, after: str | None, limit: int) -> wire.DeliveryList:
        found = await self._outbox.deliveries(self._owner, matching, after=after, limit=limit + 1)
        cursor = found[limit - 1].id if len(found) > limit else None
        return wire.DeliveryList(data=[delivery_told(one) for one in found[:limit]], next_cursor=cursor)

    async def delivery(self, delivery_id: str) -> wire.Delivery:
        found = await self._outbox.delivery(self._owner, delivery_id)
        if found is None:
            raise _no_delivery(delivery_id)
        return delivery_told(found, await self._outbox.log(self._owner, delivery_id))

    async def redeliver(self, delivery_id: str) -> None:
        if list(await self._outbox.redeliver(self._owner, [delivery_id], self._manager.clock.now())) != [True]:
            raise _no_delivery(delivery_id)

    async def recover(self, endpoint_id: str, since: datetime, until: datetime | None) -> int:
        await self._endpoints.get(self._owner, endpoint_id)
        now = self._manager.clock.now()
        last = now if until is None else _milliseconds(until)
        return await self._outbox.recover(self._owner, endpoint_id, _milliseconds(since), last, now)


def _no_delivery(delivery_id: str) -> AsyncinferError:
    return AsyncinferError(f"there is no delivery {delivery_id} of this owner")


def _milliseconds(when: datetime) -> int:
    return round(when.timestamp() * 1000)
