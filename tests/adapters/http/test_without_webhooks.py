"""An application that was given no sender."""

from __future__ import annotations

import httpx
import pytest
from openapi_spec_validator import validate

from asyncinfer.adapters.http._operations import OPERATIONS
from asyncinfer.adapters.http._webhook_operations import WEBHOOKS
from tests.adapters.http.steps import ended, pointer_of, request_of, slug_of

ROUTES = [(method, path) for path, methods in WEBHOOKS.items() for method in methods]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_the_routes_of_webhooks_are_not_there(client: httpx.AsyncClient, method: str, path: str) -> None:
    job = await ended(client)
    answers = [
        await client.request(method, path.format(id=job["id"])),
        await client.request(method, path.format(id="wh_1"), json={"url": "https://93.184.216.34/"}),
    ]
    assert {(answered.status_code, slug_of(answered)) for answered in answers} == {(404, "not-found")}


@pytest.mark.parametrize(
    "webhook", [{"url": "https://93.184.216.34/"}, {"url": "http://127.0.0.1/"}, {"endpoint": "wh_1"}, {}]
)
async def test_a_submit_that_asks_for_a_webhook_is_refused(client: httpx.AsyncClient, webhook: dict[str, str]) -> None:
    answered = await client.post("/v1/jobs", json=request_of("echo", {"text": "a"}, webhook=webhook))
    assert (answered.status_code, pointer_of(answered)) == (422, "/webhook")
    assert answered.json()["detail"] == "this server sends no webhooks"
    assert (await client.get("/v1/jobs")).json()["data"] == []


def test_every_route_of_webhooks_is_an_operation() -> None:
    assert WEBHOOKS.items() <= OPERATIONS.items()


async def test_the_document_tells_of_none_of_it(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    validate(document)
    assert document["webhooks"] == {}
    assert WEBHOOKS.keys().isdisjoint(document["paths"])
    assert len(document["paths"]) == len(OPERATIONS) - len(WEBHOOKS)
    assert "callbacks" not in document["paths"]["/v1/jobs"]["post"]
