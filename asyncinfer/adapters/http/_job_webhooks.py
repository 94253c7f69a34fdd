"""A job's webhooks: what a submit asks for, and how they do, all together, as one member of the job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET

from asyncinfer import Job, Subscription, wire
from asyncinfer._job import LIVE_EVENTS
from asyncinfer.abc import Delivery
from asyncinfer.adapters._job_answer import instant
from asyncinfer.adapters.http._call import Call
from asyncinfer.adapters.http._problems import invalid

_ENDINGS = Subscription("").events


async def subscription_of(call: Call, asked: wire.Webhook | None) -> Subscription | None:
    """Return what a submit asks to be told by. Raise a Problem: all of it is judged before anything is stored."""
    if asked is None:
        return None
    sender = call.service.webhooks
    if sender is None:
        raise invalid("/webhook", "this server sends no webhooks")
    await call.may("webhooks")
    if asked.url is not None and asked.endpoint is None:
        await sender.guard.check(asked.url)
        return Subscription(asked.url, _ENDINGS if asked.events is UNSET else tuple(asked.events))
    if asked.endpoint is not None and asked.url is None:
        endpoint = await sender.endpoints.get(call.owned.owner, asked.endpoint)
        if asked.events is UNSET:
            # Of the endings, an endpoint hears those that it is registered for when they happen.
            live = (event for event in endpoint.events if event in LIVE_EVENTS)
            return Subscription(endpoint.id, (*_ENDINGS, *live))
        return Subscription(endpoint.id, tuple(asked.events))
    raise invalid("/webhook", "expected either url or endpoint")


async def webhooks_of(call: Call, job: Job) -> wire.WebhookState | None:
    """Return how a job's webhooks do; None for a job that has none."""
    if not job.has_subscriptions or call.service.webhooks is None:
        return None
    deliveries: Sequence[Delivery] = ()
    if job.is_terminal:  # before that nothing is owed, so nothing is looked up
        found = await call.service.webhooks.manager.outbox.of_job(job.job_key)
        deliveries = [one for one in found if one.event.startswith("job.")]  # others tell of endpoints
    due = [one.due_at for one in deliveries if one.status == "pending"]
    return wire.WebhookState(
        status=_status(deliveries),
        attempts=sum(one.attempts for one in deliveries),
        next_attempt_at=instant(min(due, default=None)),
        last_error=_last_error(deliveries),
    )


def _status(deliveries: Sequence[Delivery]) -> Literal["none_yet", "pending", "delivered", "failed"]:
    statuses = {one.status for one in deliveries}
    if not statuses:
        return "none_yet"
    if "pending" in statuses:
        return "pending"
    return "delivered" if statuses == {"delivered"} else "failed"


def _last_error(deliveries: Sequence[Delivery]) -> str | None:
    """Return the kind of the latest failure of what has not been delivered."""
    lasts = [one.last for one in deliveries if one.last is not None and one.status != "delivered"]
    # One that is sent again may have been delivered before.
    failures = [last for last in lasts if last.kind != "delivered"]
    return max(failures, key=lambda last: last.at).kind if failures else None
