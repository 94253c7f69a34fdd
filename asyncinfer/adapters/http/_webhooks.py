"""Webhooks over HTTP: registered endpoints, the log of deliveries, sending again. Only where a sender is given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from asyncinfer import Subscription, wire
from asyncinfer import abc as records
from asyncinfer._codec import UNREADABLE, misfit
from asyncinfer.adapters._job_answer import JobAnswers, instant
from asyncinfer.adapters.http._call import Answer, Call, answer
from asyncinfer.adapters.http._look import count_in, found, milliseconds_in
from asyncinfer.adapters.http._problems import invalid, pointer_of, problem

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import WebhookSender

T = TypeVar("T")

_ENDPOINT = re.compile(r"wh_[A-Za-z0-9_-]{1,61}")
_DELIVERY = re.compile(r"[A-Za-z0-9_-]{1,64}")
STATUSES: tuple[records.DeliveryStatus, ...] = get_args(records.DeliveryStatus)
_register = msgspec.json.Decoder(wire.RegisterWebhook)
_change = msgspec.json.Decoder(wire.ChangeWebhook)
_recover = msgspec.json.Decoder(wire.Recover)
LONGEST_PAGE = 200


# Endpoints


async def register(call: Call) -> Answer:
    """Register an endpoint; the answer is the only one that shows its secret."""
    call.query()
    await call.may("webhooks")
    asked = await _asked(call, _register)
    endpoint = await _sender(call).endpoints.register(
        call.owned.owner,
        asked.url,
        events=_EVERY if asked.events is UNSET else asked.events,
        description=asked.description,
        proof=asked.proof,
    )
    url = f"{call.service.base_url}/v1/webhooks/{endpoint.id}".encode()
    return answer(_endpoint(endpoint, shows_secret=True), 201, [(b"location", url)])


async def list_endpoints(call: Call) -> Answer:
    """Answer with every endpoint of who asks."""
    call.query()
    await call.may("webhooks")
    found = await _sender(call).endpoints.list(call.owned.owner)
    return answer(wire.WebhookEndpointList(data=[_endpoint(one) for one in found]))


async def get_endpoint(call: Call) -> Answer:
    call.query()
    await call.may("webhooks")
    return answer(_endpoint(await _sender(call).endpoints.get(call.owned.owner, _endpoint_id(call))))


async def change(call: Call) -> Answer:
    """Change what is given of an endpoint."""
    call.query()
    await call.may("webhooks")
    asked = await _asked(call, _change)
    endpoint = await _sender(call).endpoints.change(
        call.owned.owner,
        _endpoint_id(call),
        url=None if asked.url is UNSET else asked.url,
        events=None if asked.events is UNSET else asked.events,
        description=None if asked.description is UNSET else asked.description,
        is_enabled=None if asked.enabled is UNSET else asked.enabled,
    )
    return answer(_endpoint(endpoint))


async def delete(call: Call) -> Answer:
    """Forget an endpoint; what is pending for it is not sent."""
    call.query()
    await call.may("webhooks")
    await _sender(call).endpoints.delete(call.owned.owner, _endpoint_id(call))
    return Answer(204)


async def verify(call: Call) -> Answer:
    """Send a challenge; the endpoint is enabled when it is echoed."""
    call.query()
    await call.may("webhooks")
    return answer(_endpoint(await _sender(call).endpoints.prove(call.owned.owner, _endpoint_id(call))))


async def rotate(call: Call) -> Answer:
    """Give an endpoint a new secret, shown in this answer only; the old one signs too for a day."""
    call.query()
    await call.may("webhooks")
    endpoint = await _sender(call).endpoints.rotate(call.owned.owner, _endpoint_id(call))
    return answer(_endpoint(endpoint, shows_secret=True))


async def test(call: Call) -> Answer:
    """Send a `webhook.test`, once, and answer with how it went."""
    call.query()
    await call.may("webhooks")
    now = call.now()
    response = await _sender(call).endpoints.test(call.owned.owner, _endpoint_id(call))
    return answer(
        wire.DeliveryAttempt(
            at=JobAnswers.instant(now),
            kind=response.kind,
            status=response.status,
            latency_seconds=response.latency / 1000,
            detail=response.detail,
        )
    )


async def recover(call: Call) -> Answer:
    """Send again what came to nothing at an endpoint in a time."""
    call.query()
    await call.may("webhooks")
    asked = await _asked(call, _recover)
    sender, owner = _sender(call), call.owned.owner
    endpoint = await sender.endpoints.get(owner, _endpoint_id(call))
    since, now = round(asked.since.timestamp() * 1000), call.now()
    until = now if asked.until is None else round(asked.until.timestamp() * 1000)
    count = await sender.manager.outbox.recover(owner, endpoint.id, since, until, now)
    sender.wake()
    return answer(wire.Recovered(deliveries=count), 202)


async def jwks(call: Call) -> Answer:
    """Answer with the public keys of the signatures `v1a`."""
    from asyncinfer.adapters.webhook import Ed25519Signer, jwks

    keys = [signer.public_key for signer in _sender(call).signers if isinstance(signer, Ed25519Signer)]
    return answer(jwks(keys), 200, [(b"cache-control", b"max-age=3600")])


# Deliveries


async def deliveries(call: Call) -> Answer:
    """Answer with a page of deliveries, newest first."""
    await call.may("webhooks")
    query = call.query("job", "endpoint", "status", "since", "until", "after", "limit")
    status = next((one for one in STATUSES if one == query.get("status")), None)
    if status is None and "status" in query:
        raise invalid("status", f"expected one of {', '.join(STATUSES)}")
    matching = records.DeliveryFilter(
        job_id=query.get("job"),
        endpoint=query.get("endpoint"),
        status=status,
        since=milliseconds_in(query, "since"),
        until=milliseconds_in(query, "until"),
    )
    limit = count_in(query, "limit", default=50, highest=LONGEST_PAGE)
    page = await _sender(call).manager.outbox.deliveries(
        call.owned.owner, matching, after=query.get("after"), limit=limit
    )
    cursor = page[-1].id if len(page) == limit else None
    return answer(wire.DeliveryList(data=[_delivery(one) for one in page], next_cursor=cursor))


async def deliveries_of_job(call: Call) -> Answer:
    """Answer with the deliveries of one job."""
    call.query()
    _, job = await found(call)
    await call.may("webhooks", job)
    page = await _sender(call).manager.outbox.of_job(job.job_key)
    return answer(wire.DeliveryList(data=[_delivery(one) for one in page], next_cursor=None))


async def get_delivery(call: Call) -> Answer:
    """Answer with one delivery and its log."""
    call.query()
    await call.may("webhooks")
    delivery = await _one(call)
    log = await _sender(call).manager.outbox.log(call.owned.owner, delivery.id)
    return answer(_delivery(delivery, log))


async def redeliver(call: Call) -> Answer:
    """Send a delivery again, with the same id and body."""
    call.query()
    await call.may("webhooks")
    delivery = await _one(call)
    sender = _sender(call)
    await sender.manager.outbox.redeliver(call.owned.owner, [delivery.id], call.now())
    sender.wake()
    return answer(_delivery(await _one(call)), 202)


# Of jobs


async def subscription_of(call: Call, asked: wire.Webhook | None) -> Subscription | None:
    """Return what a submit asks to be told by. Raise a Problem: a URL is judged before anything is stored."""
    if asked is None:
        return None
    if (asked.url is None) == (asked.endpoint is None):
        raise invalid("/webhook", "expected either url or endpoint")
    sender = call.service.webhooks
    if sender is None:
        raise invalid("/webhook", "this server sends no webhooks")
    events = _EVERY if asked.events is UNSET else tuple(asked.events)
    if asked.url is not None:
        await sender.guard.check(asked.url)
        return Subscription(asked.url, events)
    assert asked.endpoint is not None
    endpoint = await sender.endpoints.get(call.owned.owner, asked.endpoint)
    return Subscription(endpoint.id, endpoint.events if asked.events is UNSET else events)


_EVERY = ("job.succeeded", "job.failed", "job.canceled")


def _sender(call: Call) -> WebhookSender:
    sender = call.service.webhooks
    if sender is None:
        raise problem("not-found", "this server sends no webhooks")
    return sender


def _endpoint_id(call: Call) -> str:
    endpoint_id = call.path["id"]
    if _ENDPOINT.fullmatch(endpoint_id) is None:
        raise problem("not-found", "there is no such webhook endpoint")
    return endpoint_id


async def _one(call: Call) -> records.Delivery:
    """Return the delivery that the path names, if it is of who asks."""
    delivery_id = call.path["id"]
    if _DELIVERY.fullmatch(delivery_id) is not None:
        found = await _sender(call).manager.outbox.delivery(call.owned.owner, delivery_id)
        if found is not None:
            return found
    raise problem("not-found", "there is no such delivery")


async def _asked(call: Call, decoder: msgspec.json.Decoder[T]) -> T:
    async with call.json_body() as data:
        try:
            return decoder.decode(data)
        except UNREADABLE as error:
            path, message = misfit(error, "body")
            raise invalid(pointer_of(path.removeprefix("body")), message) from None


def _endpoint(endpoint: records.Endpoint, *, shows_secret: bool = False) -> wire.WebhookEndpoint:
    from asyncinfer.adapters.webhook._registered import state_of as endpoint_state

    state = endpoint_state(endpoint)
    return wire.WebhookEndpoint(
        id=endpoint.id,
        url=endpoint.target,
        events=list(endpoint.events),
        description=state.description,
        enabled=endpoint.is_enabled,
        disabled_because=state.disabled_because,
        verified=state.is_verified,
        failing_since=instant(state.failing_since),
        secret_hint=endpoint.secrets[0][-4:],
        created_at=JobAnswers.instant(endpoint.created_at),
        secret=endpoint.secrets[0] if shows_secret else UNSET,
    )


def _delivery(delivery: records.Delivery, log: Sequence[records.DeliveryAttempt] | None = None) -> wire.Delivery:
    parts = urlsplit(delivery.target)
    return wire.Delivery(
        id=delivery.id,
        job_id=delivery.job_id,
        event=delivery.event,
        endpoint=delivery.endpoint,
        url_host=f"{parts.scheme}://{parts.hostname}",
        status=delivery.status,
        attempts=delivery.attempts,
        created_at=JobAnswers.instant(delivery.created_at),
        next_attempt_at=instant(delivery.due_at) if delivery.status == "pending" else None,
        last=None if delivery.last is None else _attempt(delivery.last),
        log=UNSET if log is None else [_attempt(one) for one in log],
    )


def _attempt(one: records.DeliveryAttempt) -> wire.DeliveryAttempt:
    return wire.DeliveryAttempt(
        at=JobAnswers.instant(one.at),
        kind=one.kind,
        status=one.status_code,
        latency_seconds=one.latency / 1000,
        detail=one.detail,
    )
