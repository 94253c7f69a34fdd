"""Endpoints and deliveries for a person's eyes. Of URLs scheme and host are shown: the rest may be a secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from msgspec import UNSET
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from asyncinfer import wire
from asyncinfer.cli._job_tables import age, table_of

STYLES = {"pending": "yellow", "delivered": "green", "exhausted": "red", "disabled": "magenta"}


def endpoints_table(endpoints: Sequence[wire.WebhookEndpoint], now: datetime) -> Table:
    """Return one line an endpoint."""
    table = table_of("id", "url", "events", "is", "secret", "age", "description")
    for one in endpoints:
        table.add_row(
            Text(one.id),
            Text(origin_of(one.url)),
            Text(", ".join(event.removeprefix("job.") for event in one.events)),
            _how_it_is(one, now),
            Text(f"…{one.secret_hint}"),
            _age(one.created_at, now),
            Text(one.description),
        )
    return table


def deliveries_table(deliveries: Sequence[wire.Delivery], now: datetime) -> Table:
    """Return one line a delivery."""
    table = table_of("id", "job", "event", "to", "status", "attempts", "last", "next in", "age")
    for one in deliveries:
        table.add_row(
            Text(one.id),
            Text(one.job_id),
            Text(one.event),
            Text(one.url_host if one.endpoint is None else f"{one.url_host} ({one.endpoint})"),
            Text(one.status, style=STYLES[one.status]),
            str(one.attempts),
            Text("" if one.last is None else outcome_of(one.last)),
            "" if one.next_attempt_at is None else age((one.next_attempt_at - now).total_seconds()),
            _age(one.created_at, now),
        )
    return table


def delivery_sheet(delivery: wire.Delivery, now: datetime) -> RenderableType:
    """Return a delivery with the log of its attempts."""
    log = table_of("at", "went", "latency", "why")
    for one in () if delivery.log is UNSET else delivery.log:
        took = f"{one.latency_seconds * 1000:,.0f} ms"
        log.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", Text(outcome_of(one)), took, Text(one.detail))
    return Group(deliveries_table([delivery], now), "", log)


def outcome_of(attempt: wire.DeliveryAttempt) -> str:
    """Return how an attempt went, as `delivered 200`."""
    return attempt.kind if attempt.status is None else f"{attempt.kind} {attempt.status}"


def origin_of(url: str) -> str:
    """Return scheme and host of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"


def _how_it_is(endpoint: wire.WebhookEndpoint, now: datetime) -> Text:
    if not endpoint.enabled:
        because = f": {endpoint.disabled_because}" if endpoint.disabled_because else ""
        return Text(f"disabled{because}", style="magenta")
    if endpoint.failing_since is not None:
        return Text(f"failing for {_age(endpoint.failing_since, now)}", style="red")
    return Text("enabled, proven" if endpoint.verified else "enabled", style="green")


def _age(since: datetime, now: datetime) -> str:
    return age((now - since).total_seconds())
