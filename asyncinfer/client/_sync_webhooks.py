"""Webhooks of a service, for code without asyncio."""

from __future__ import annotations

import builtins
from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Unpack

from asyncinfer.client import _webhook_calls as calls
from asyncinfer.client._shells import Shell
from asyncinfer.client._webhook_calls import DeliveryQuery
from asyncinfer.wire import (
    Delivery,
    DeliveryAttempt,
    DeliveryList,
    EndpointEvent,
    WebhookEndpoint,
    WebhookFormat,
    WebhookProof,
)


class Webhooks:
    """The caller's registered endpoints, and the log of deliveries. Raises NotFound for what is not the caller's."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def register(
        self,
        url: str,
        *,
        events: Sequence[EndpointEvent] | None = None,
        description: str = "",
        proof: WebhookProof = "none",
        format: WebhookFormat = "standard",  # noqa: A002  its name on the wire
    ) -> WebhookEndpoint:
        """Register a receiver; what is returned is the only record that has its `secret`.

        With a proof nothing is sent until `verify` has succeeded. `format` is how events are written for it, now and
        for ever. It is not repeated after a lost answer. Raises InvalidOption where the URL may not be called.
        """
        asked = calls.registration_of(url, events, description, proof, format)
        return self._shell.run(calls.register(asked, self._shell.patience))

    def list(self) -> builtins.list[WebhookEndpoint]:
        """Return every endpoint."""
        return self._shell.run(calls.endpoints(self._shell.patience))

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """Return one endpoint."""
        return self._shell.run(calls.endpoint(endpoint_id, self._shell.patience))

    def change(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[EndpointEvent] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> WebhookEndpoint:
        """Change what is given. Raises InvalidOption for enabling one that has not proven itself, where it must."""
        changes = calls.changes_of(url, events, description, enabled)
        return self._shell.run(calls.change(endpoint_id, changes, self._shell.patience))

    def delete(self, endpoint_id: str) -> None:
        """Forget an endpoint; what is pending for it is not sent."""
        self._shell.run(calls.delete(endpoint_id, self._shell.patience))

    def verify(self, endpoint_id: str) -> WebhookEndpoint:
        """Have the endpoint asked whether it wants webhooks, and enabled. Raises InvalidOption when it does not."""
        return self._shell.run(calls.verify(endpoint_id, self._shell.patience))

    def rotate_secret(self, endpoint_id: str) -> WebhookEndpoint:
        """Give an endpoint a new `secret`; for a day the old one signs too. It is not repeated after a lost answer."""
        return self._shell.run(calls.rotate_secret(endpoint_id, self._shell.patience))

    def test(self, endpoint_id: str) -> DeliveryAttempt:
        """Have a `webhook.test` sent, once, and return how it went."""
        return self._shell.run(calls.test(endpoint_id, self._shell.patience))

    def recover(self, endpoint_id: str, *, since: datetime, until: datetime | None = None) -> int:
        """Send again what came to nothing between two aware instants (until now); return how many."""
        return self._shell.run(calls.recover(endpoint_id, since, until, self._shell.patience))

    def deliveries(
        self, *, limit: int | None = None, **query: Unpack[DeliveryQuery]
    ) -> Generator[Delivery, None, None]:
        """Yield deliveries without their logs, newest first, at most `limit` of them, a page at a time."""
        return self._shell.iterate(calls.deliveries(query, limit, self._shell.patience))

    def delivery_page(
        self, *, after: str | None = None, limit: int = 50, **query: Unpack[DeliveryQuery]
    ) -> DeliveryList:
        """Return one page of `deliveries`; pass its `next_cursor` as `after` for the next. `limit` is 1 to 200."""
        return self._shell.run(calls.delivery_page(query, self._shell.patience, after=after, limit=limit))

    def delivery(self, delivery_id: str) -> Delivery:
        """Return one delivery with the log of its attempts."""
        return self._shell.run(calls.delivery(delivery_id, self._shell.patience))

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send a delivery again, with the same id and body."""
        return self._shell.run(calls.redeliver(delivery_id, self._shell.patience))
