"""Submit to a service and await its jobs over HTTP, with asyncio or without. Needs the extra `client`.

async with AsyncClient("https://api.example.com/inference", token=token) as client:
    job = await client.submit("caption", {"image": image})
    caption = await job.result(type=Caption)
"""

from __future__ import annotations

from asyncinfer.errors import MissingExtra

try:
    from asyncinfer.client._async_client import AsyncClient
    from asyncinfer.client._async_job import AsyncRemoteJob
    from asyncinfer.client._async_webhooks import AsyncWebhooks
    from asyncinfer.client._calls import JobQuery
    from asyncinfer.client._patience import Timing
    from asyncinfer.client._submission import RemoteOptions
    from asyncinfer.client._sync_client import Client
    from asyncinfer.client._sync_job import RemoteJob
    from asyncinfer.client._sync_webhooks import Webhooks
    from asyncinfer.client._webhook_calls import DeliveryQuery
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "httpx":
        raise
    raise MissingExtra("asyncinfer.client needs httpx: pip install 'asyncinfer[client]'") from _error

from asyncinfer.client.errors import (
    ConnectionLost,
    Forbidden,
    JobNotEnded,
    NotFound,
    ServiceFailed,
    Unauthorized,
    UnexpectedAnswer,
)

__all__ = [
    "AsyncClient",
    "AsyncRemoteJob",
    "AsyncWebhooks",
    "Client",
    "ConnectionLost",
    "DeliveryQuery",
    "Forbidden",
    "JobNotEnded",
    "JobQuery",
    "NotFound",
    "RemoteJob",
    "RemoteOptions",
    "ServiceFailed",
    "Timing",
    "Unauthorized",
    "UnexpectedAnswer",
    "Webhooks",
]
