"""The contract with a webhook sender beside it, and a receiver on the loopback that does what its test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from standardwebhooks import Webhook
from starlette.types import ASGIApp

from asyncinfer import JobManager
from asyncinfer.abc import JobStore
from asyncinfer.adapters.http import Authenticate, Authorize, create_app
from asyncinfer.adapters.webhook import Guard, Secret, Signer, WebhookSender
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.steps import BASE, Json, ended
from tests.faults.harness.waiting import until
from tests.faults.harness.webhook_receiver import (
    Behaviour,
    Receiver,
    Request,
    answer_ok,
    answering,
    receiving,
)

SECRET = Secret.new().reveal()
"""What signs webhooks to URLs that came with a job."""
FAILS = answering(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
GONE = answering(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")


@dataclass
class Hooks:
    """What a test works with."""

    app: ASGIApp
    client: httpx.AsyncClient
    manager: JobManager
    sender: WebhookSender
    receiver: Receiver

    @property
    def url(self) -> str:
        """Where the receiver listens."""
        return f"http://127.0.0.1:{self.receiver.port}/hooks?token=of-the-receiver"

    async def registered(self, **members: object) -> Json:
        """Register the receiver; return the endpoint with its secret."""
        answered = await self.client.post("/v1/webhooks", json={"url": self.url, **members})
        assert answered.status_code == 201, answered.text
        endpoint: Json = answered.json()
        return endpoint

    async def sent(self, count: int = 1) -> Sequence[Request]:
        """Wait until the receiver has heard so many requests; return them all."""

        async def is_heard() -> bool:
            return len(self.receiver.requests) >= count

        await until(is_heard, 10, what=f"{count} requests to the receiver")
        return self.receiver.requests

    async def delivery(self, webhook: Mapping[str, object], *, status: str, attempts: int = 1) -> Json:
        """Submit a job with this webhook; return its delivery once it stands so."""
        job = await ended(self.client, webhook=webhook)
        return await self.settled(job["id"], status=status, attempts=attempts)

    async def settled(self, job_id: str, *, status: str, attempts: int = 1) -> Json:
        """Return a job's only delivery once it stands so."""
        found: list[Json] = []

        async def stands_so() -> bool:
            answered = await self.client.get(f"/v1/jobs/{job_id}/deliveries")
            assert answered.status_code == 200, answered.text
            found[:] = answered.json()["data"]
            return [(one["status"], one["attempts"]) for one in found] == [(status, attempts)]

        await until(stands_so, 10, what=f"a delivery that is {status}")
        return found[0]


@asynccontextmanager
async def hooked(
    behave: Behaviour = answer_ok,
    *,
    store: str | JobStore = "memory://",
    signers: Sequence[Signer] = (),
    guard: Guard | None = None,
    authenticate: Authenticate | None = None,
    authorize: Authorize | None = None,
) -> AsyncGenerator[Hooks]:
    async with (
        receiving(behave) as receiver,
        JobManager(store, models=ALL, cancel_grace=0.5, drain_grace=0) as manager,
        WebhookSender(
            manager, secret=SECRET, signers=signers, guard=guard or loopback(), public_base_url=BASE
        ) as sender,
    ):
        app = create_app(
            manager,
            public_base_url=BASE,
            authenticate=authenticate,
            authorize=authorize,
            allow_anonymous=authenticate is None,
            webhooks=sender,
        )
        async with connected(app) as client:
            yield Hooks(app, client, manager, sender, receiver)


def loopback() -> Guard:
    return Guard(allow_http=True, ports=range(1, 65_536), allowed_networks=["127.0.0.0/8"])


def told(request: Request) -> Json:
    """Return what a webhook says."""
    body: Json = json.loads(request.body)
    return body


def verify(secret: str, request: Request) -> None:
    """Verify with the independent library. Raises WebhookVerificationError."""
    Webhook(secret).verify(request.body, request.headers)


async def echo_the_challenge(request: Request) -> None:
    """Answer as a receiver does that wants webhooks."""
    body = told(request)["data"]["challenge"].encode()
    await request.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
