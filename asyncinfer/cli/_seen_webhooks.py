"""Receivers and deliveries as the commands show them, told by a store or by a service, and what is asked of either."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from asyncinfer import wire
from asyncinfer.abc import DeliveryFilter


class Webhooks(Protocol):
    """One owner's registered receivers, and the log of deliveries.

    Everything raises AsyncinferError for a receiver or a delivery that is not this owner's.
    """

    async def list(self) -> Sequence[wire.WebhookEndpoint]: ...

    async def register(self, asked: wire.RegisterWebhook) -> wire.WebhookEndpoint:
        """Return the receiver with its secret."""
        ...

    async def rotate(self, endpoint_id: str) -> wire.WebhookEndpoint:
        """Return the receiver with its new secret."""
        ...

    async def delete(self, endpoint_id: str) -> None: ...

    async def enable(self, endpoint_id: str, *, is_enabled: bool) -> None: ...

    async def prove(self, endpoint_id: str) -> None: ...

    async def test(self, endpoint_id: str) -> wire.DeliveryAttempt: ...

    async def page(self, matching: DeliveryFilter, *, after: str | None, limit: int) -> wire.DeliveryList:
        """Return deliveries without their logs; the next ones lie behind the page's cursor."""
        ...

    async def delivery(self, delivery_id: str) -> wire.Delivery:
        """Return one with its log."""
        ...

    async def redeliver(self, delivery_id: str) -> None: ...

    async def recover(self, endpoint_id: str, since: datetime, until: datetime | None) -> int:
        """Return how many deliveries are sent again."""
        ...
