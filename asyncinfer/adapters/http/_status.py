"""How the service is: for load balancers, operators and newcomers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from asyncinfer import wire
from asyncinfer.adapters.http._call import Answer, Call, answer
from asyncinfer.adapters.http._openapi import openapi_of

LIVE_SECONDS = 0.5
"""How long the store may keep a look at whether this process lives: starting it again mends no store that is late."""


async def live(call: Call) -> Answer:
    """Answer 503 when the process should be started again."""
    if not call.service.manager.is_open:
        return _health(["the manager is not open"])
    try:
        async with asyncio.timeout(LIVE_SECONDS):
            health = await call.service.manager.health()
    except TimeoutError:
        return _health([])
    return _health([] if health.is_live else health.reasons)


async def ready(call: Call) -> Answer:
    """Answer 503 when no job should be sent here now, and say why."""
    if not call.service.manager.is_open:
        return _health(["the manager is not open"])
    return _health((await call.service.manager.health()).reasons)


async def metrics(call: Call) -> Answer:
    """Answer with the metrics of this process and of its store, for Prometheus."""
    await call.may("metrics")
    accepted = call.headers.get(b"accept", b"").decode("latin-1")
    body, content_type = await call.service.metrics.render(call.service.manager, accepted)
    return Answer(200, body, [(b"content-type", content_type.encode())])


async def openapi(call: Call) -> Answer:
    """Answer with the OpenAPI document."""
    document = openapi_of(call.service.base_url, has_webhooks=call.service.webhooks is not None)
    return Answer(200, document, [(b"content-type", b"application/json")])


async def service(call: Call) -> Answer:
    """Answer with what this is."""
    from importlib.metadata import version

    url = call.service.base_url
    links = {
        "jobs": f"{url}/v1/jobs",
        "models": f"{url}/v1/models",
        "openapi": f"{url}/openapi.json",
        "live": f"{url}/healthz",
        "ready": f"{url}/readyz",
        "metrics": f"{url}/metrics",
    }
    return answer(wire.Service(version=version("asyncinfer"), links=links))


def _health(reasons: Sequence[str]) -> Answer:
    # Behind a colon stands an exception's text, which is for the operator's eyes alone: this is asked without a name.
    told = [reason.partition(":")[0] for reason in reasons]
    if told:
        return answer(wire.Health(status="unavailable", reasons=told), 503, [(b"retry-after", b"5")])
    return answer(wire.Health(status="ok", reasons=[]))
