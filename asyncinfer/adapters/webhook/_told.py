"""Endpoints and deliveries as they are told: to their owner over HTTP, to the operator on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import UNSET

from asyncinfer import wire
from asyncinfer._shown_target import shown_target
from asyncinfer.abc import Delivery, DeliveryAttempt, Endpoint
from asyncinfer.adapters._job_answer import JobAnswers, instant
from asyncinfer.adapters.webhook._registered import state_of


def endpoint_told(endpoint: Endpoint, *, shows_secret: bool = False) -> wire.WebhookEndpoint:
    """Return an endpoint with its whole URL, which is for its owner; `shows_secret` just after it was made."""
    state = state_of(endpoint)
    return wire.WebhookEndpoint(
        id=endpoint.id,
        url=endpoint.target,
        events=list(endpoint.events),
        description=state.description,
        enabled=endpoint.is_enabled,
        disabled_because=state.disabled_because,
        verified=state.is_verified,
        proof=state.proof,
        format=state.format,
        failing_since=instant(state.failing_since),
        secret_hint=endpoint.secrets[0][-4:],
        created_at=JobAnswers.instant(endpoint.created_at),
        secret=endpoint.secrets[0] if shows_secret else UNSET,
    )


def delivery_told(delivery: Delivery, log: Sequence[DeliveryAttempt] | None = None) -> wire.Delivery:
    """Return a delivery, with the log of its attempts where one is given. Of the URL scheme and host are told."""
    return wire.Delivery(
        id=delivery.id,
        job_id=delivery.job_id,
        event=delivery.event,
        endpoint=delivery.endpoint,
        url_host=host_told(delivery.target),
        status=delivery.status,
        attempts=delivery.attempts,
        created_at=JobAnswers.instant(delivery.created_at),
        next_attempt_at=instant(delivery.due_at) if delivery.status == "pending" else None,
        last=None if delivery.last is None else attempt_told(delivery.last),
        log=UNSET if log is None else [attempt_told(one) for one in log],
    )


def host_told(url: str) -> str:
    """Return scheme and host of a URL: the rest of it may be a secret."""
    return _PORT.sub("", shown_target(url))


def attempt_told(one: DeliveryAttempt) -> wire.DeliveryAttempt:
    """Return one line of the log."""
    return wire.DeliveryAttempt(
        at=JobAnswers.instant(one.at),
        kind=one.kind,
        status=one.status_code,
        latency_seconds=one.latency / 1000,
        detail=one.detail,
    )


_PORT = re.compile(r":[0-9]+$")
