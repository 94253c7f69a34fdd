"""Registered endpoints of webhooks: made, proven, changed, tried out, given new secrets, and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import UNSET

from asyncinfer import wire
from asyncinfer._codec import UNREADABLE, misfit
from asyncinfer.abc import DeliveryAttempt
from asyncinfer.adapters.http._call import Answer, Call, answer
from asyncinfer.adapters.http._paths import ENDPOINT
from asyncinfer.adapters.http._problems import invalid, pointer_of, problem
from asyncinfer.adapters.http._sender import sender_of
from asyncinfer.adapters.webhook import endpoint_told
from asyncinfer.adapters.webhook._told import attempt_told

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import Endpoints

T = TypeVar("T")

EVERY_EVENT: tuple[wire.JobEvent, ...] = ("job.succeeded", "job.failed", "job.canceled")
_register = msgspec.json.Decoder(wire.RegisterWebhook)
_change = msgspec.json.Decoder(wire.ChangeWebhook)
_recover = msgspec.json.Decoder(wire.Recover)


async def register(call: Call) -> Answer:
    """Register an endpoint; the answer is the only one that shows its secret."""
    endpoints = await _endpoints(call)
    asked = await _asked(call, _register)
    endpoint = await endpoints.register(
        call.owned.owner,
        asked.url,
        events=EVERY_EVENT if asked.events is UNSET else asked.events,
        description=asked.description,
        proof=asked.proof,
        format=asked.format,
    )
    url = f"{call.service.base_url}/v1/webhooks/{endpoint.id}".encode()
    return answer(endpoint_told(endpoint, shows_secret=True), 201, [(b"location", url)])


async def find(call: Call) -> Answer:
    """Answer with every endpoint of who asks."""
    endpoints = await _endpoints(call)
    every = await endpoints.list(call.owned.owner)
    return answer(wire.WebhookEndpointList(data=[endpoint_told(one) for one in every]))


async def get(call: Call) -> Answer:
    """Answer with one endpoint."""
    endpoints = await _endpoints(call)
    return answer(endpoint_told(await endpoints.get(call.owned.owner, _id(call))))


async def change(call: Call) -> Answer:
    """Change what is given of an endpoint."""
    endpoints = await _endpoints(call)
    asked = await _asked(call, _change)
    endpoint = await endpoints.change(
        call.owned.owner,
        _id(call),
        url=None if asked.url is UNSET else asked.url,
        events=None if asked.events is UNSET else asked.events,
        description=None if asked.description is UNSET else asked.description,
        is_enabled=None if asked.enabled is UNSET else asked.enabled,
    )
    return answer(endpoint_told(endpoint))


async def delete(call: Call) -> Answer:
    """Forget an endpoint; what is pending for it is not sent."""
    endpoints = await _endpoints(call)
    await endpoints.delete(call.owned.owner, _id(call))
    return Answer(204)


async def verify(call: Call) -> Answer:
    """Ask the endpoint whether it wants webhooks; it is enabled when it does."""
    endpoints = await _endpoints(call)
    return answer(endpoint_told(await endpoints.prove(call.owned.owner, _id(call))))


async def rotate(call: Call) -> Answer:
    """Give an endpoint a new secret, shown in this answer only; the old one signs too for a day."""
    endpoints = await _endpoints(call)
    return answer(endpoint_told(await endpoints.rotate(call.owned.owner, _id(call)), shows_secret=True))


async def test(call: Call) -> Answer:
    """Send a `webhook.test`, once, and answer with how it went."""
    endpoints = await _endpoints(call)
    at = sender_of(call).manager.clock.now()
    went = await endpoints.test(call.owned.owner, _id(call))
    line = DeliveryAttempt(at=at, kind=went.kind, status_code=went.status, latency=went.latency, detail=went.detail)
    return answer(attempt_told(line))


async def recover(call: Call) -> Answer:
    """Send again what came to nothing at an endpoint in a time."""
    endpoints = await _endpoints(call)
    asked = await _asked(call, _recover)
    endpoint = await endpoints.get(call.owned.owner, _id(call))
    sender = sender_of(call)
    now = sender.manager.clock.now()
    since = round(asked.since.timestamp() * 1000)
    until = now if asked.until is None else round(asked.until.timestamp() * 1000)
    count = await sender.manager.outbox.recover(call.owned.owner, endpoint.id, since, until, now)
    sender.wake()
    return answer(wire.Recovered(deliveries=count), 202)


async def jwks(call: Call) -> Answer:
    """Answer with the public keys of the signatures `v1a`."""
    from asyncinfer.adapters.webhook import Ed25519Signer
    from asyncinfer.adapters.webhook import jwks as document_of

    keys = [signer.public_key for signer in sender_of(call).signers if isinstance(signer, Ed25519Signer)]
    return answer(document_of(keys), 200, [(b"cache-control", b"max-age=3600")])


async def _endpoints(call: Call) -> Endpoints:
    """Return the endpoints of all owners, to whoever may have some. Raise a Problem."""
    endpoints = sender_of(call).endpoints
    call.query()
    await call.may("webhooks")
    return endpoints


def _id(call: Call) -> str:
    endpoint_id = call.path["id"]
    if ENDPOINT.fullmatch(endpoint_id) is None:
        raise problem("not-found", "there is no such webhook endpoint")
    return endpoint_id


async def _asked(call: Call, decoder: msgspec.json.Decoder[T]) -> T:
    async with call.json_body() as data:
        try:
            return decoder.decode(data)
        except UNREADABLE as error:
            path, message = misfit(error, "body")
            raise invalid(pointer_of(path.removeprefix("body")), message) from None
