"""The receivers and deliveries of a service, over HTTP. Needs the extra `client`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

from msgspec import UNSET

from asyncinfer import wire
from asyncinfer.abc import DeliveryFilter
from asyncinfer.cli._jobs_of_service import LONGEST_PAGE, MAX_REPEATS, TIMEOUT_SECONDS
from asyncinfer.cli._seen_webhooks import Webhooks
from asyncinfer.client import AsyncClient, AsyncWebhooks, DeliveryQuery, NotFound
from asyncinfer.errors import AsyncinferError


@contextlib.asynccontextmanager
async def webhooks_of_service(url: str, token: str | None) -> AsyncGenerator[Webhooks]:
    """Give those of the token's owner. Raises InvalidOption, which shows neither the URL nor the token."""
    async with AsyncClient(url, token=token, timeout=TIMEOUT_SECONDS, max_retries=MAX_REPEATS) as client:
        yield WebhooksOfService(client.webhooks)


class WebhooksOfService:
    """What a client can see of them; the service itself calls receivers, as it was started to."""

    def __init__(self, webhooks: AsyncWebhooks) -> None:
        self._webhooks = webhooks

    async def list(self) -> Sequence[wire.WebhookEndpoint]:
        return await self._webhooks.list()

    async def register(self, asked: wire.RegisterWebhook) -> wire.WebhookEndpoint:
        return await self._webhooks.register(
            asked.url,
            events=None if asked.events is UNSET else asked.events,
            description=asked.description,
            proof=asked.proof,
            format=asked.format,
        )

    async def rotate(self, endpoint_id: str) -> wire.WebhookEndpoint:
        return await self._webhooks.rotate_secret(endpoint_id)

    async def delete(self, endpoint_id: str) -> None:
        await self._webhooks.delete(endpoint_id)

    async def enable(self, endpoint_id: str, *, is_enabled: bool) -> None:
        await self._webhooks.change(endpoint_id, enabled=is_enabled)

    async def prove(self, endpoint_id: str) -> None:
        await self._webhooks.verify(endpoint_id)

    async def test(self, endpoint_id: str) -> wire.DeliveryAttempt:
        return await self._webhooks.test(endpoint_id)

    async def page(self, matching: DeliveryFilter, *, after: str | None, limit: int) -> wire.DeliveryList:
        """As asked for; the service's own pages are shorter."""
        found: list[wire.Delivery] = []
        while True:
            size = min(limit - len(found), LONGEST_PAGE)
            page = await self._webhooks.delivery_page(after=after, limit=size, **_query(matching))
            found += page.data
            after = page.next_cursor
            if after is None or len(found) == limit:
                return wire.DeliveryList(data=found, next_cursor=after)

    async def delivery(self, delivery_id: str) -> wire.Delivery:
        return await self._webhooks.delivery(delivery_id)

    async def redeliver(self, delivery_id: str) -> None:
        try:
            await self._webhooks.redeliver(delivery_id)
        except NotFound as error:
            raise AsyncinferError(f"delivery {delivery_id}: {error}") from error

    async def recover(self, endpoint_id: str, since: datetime, until: datetime | None) -> int:
        return await self._webhooks.recover(endpoint_id, since=since, until=until)


def _query(matching: DeliveryFilter) -> DeliveryQuery:
    query = DeliveryQuery()
    if matching.job_id is not None:
        query["job"] = matching.job_id
    if matching.endpoint is not None:
        query["endpoint"] = matching.endpoint
    if matching.status is not None:
        query["status"] = matching.status
    return query
