"""What schemathesis makes of the API beside a webhook sender: of its routes, and of jobs that ask for webhooks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Literal

import httpx
import pytest
from starlette.applications import Starlette

from asyncinfer import JobManager
from asyncinfer.adapters.http import Bounds, create_app
from asyncinfer.adapters.webhook import Ed25519Signer, Guard, PrivateKey, Secret, WebhookSender
from asyncinfer.adapters.webhook._response import Response
from tests.adapters.http.models import ALL
from tests.adapters.http.serving import served_in_thread
from tests.adapters.http.test_referees import EXAMPLES, TOKENS, Run, greet


class _Resolver:
    """Finds every host at a public address."""

    async def resolve(self, host: str) -> Sequence[IPv4Address]:
        return [IPv4Address("93.184.216.34")]


class _Receiver:
    """Takes whatever is sent."""

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        return Response(kind="delivered", status=200)

    async def options(self, target: str, headers: Mapping[str, str]) -> Response:
        return Response(kind="delivered", status=200, allowed_origin="*")

    async def close(self) -> None:
        """Keep nothing."""


def service(url: str) -> Starlette:
    manager = JobManager("memory://", models=[*ALL, greet], drain_grace=0)
    sender = WebhookSender(
        manager,
        secret=Secret.new(),
        signers=[Ed25519Signer(PrivateKey.new())],
        guard=Guard(resolver=_Resolver()),
        transport=_Receiver(),
        public_base_url=url,
    )
    bounds = Bounds(wait_seconds=0.2, body_seconds=0.5)
    app = create_app(manager, public_base_url=url, authenticate=TOKENS, bounds=bounds, webhooks=sender)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with manager, sender:
            yield

    app.router.lifespan_context = lifespan
    return app


@pytest.fixture
def url() -> Iterator[str]:
    with served_in_thread(service) as url:
        yield url


def test_the_public_keys_are_public_too(url: str) -> None:
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert paths["/.well-known/jwks.json"]["get"]["security"] == []
    assert len(httpx.get(f"{url}/.well-known/jwks.json").json()["keys"]) == 1


def test_schemathesis_finds_nothing_beside_a_sender(
    url: str, size: Literal["pr", "rel"], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It registers more endpoints than one owner may have, and takes the refusal for a finding.
    monkeypatch.setattr("asyncinfer.adapters.webhook._endpoints.MOST_ENDPOINTS", 1_000_000)
    run = Run(url, EXAMPLES[size], seed=1 if size == "pr" else None)
    assert run.findings == []
    assert {200, 201, 202, 204, 401, 404, 405, 415, 422} <= run.statuses.keys()
