"""What the document says of webhooks, held against what is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.adapters.http.hooks import Hooks, hooked, told
from tests.adapters.http.steps import Json, ended, submitted
from tests.faults.harness.webhook_receiver import Request

HEADERS = {"webhook-id", "webhook-timestamp", "webhook-signature"}


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with hooked() as hooks:
        yield hooks


@pytest.fixture
async def document(hooks: Hooks) -> Json:
    document: Json = (await hooks.client.get("/openapi.json")).json()
    return document


def fits(document: Json, operation: Json, request: Request) -> bool:
    """Tell whether a request's body and headers are those of a described one."""
    schema = {
        **operation["requestBody"]["content"][request.headers["content-type"]]["schema"],
        "components": document["components"],
    }
    headers: dict[str, Any] = {one["name"]: one["schema"] for one in operation["parameters"]}
    heads = {"type": "object", "required": list(headers), "properties": headers}
    # Any: whose types this package leaves open.
    validator: Any = OAS31Validator
    return bool(validator(schema).is_valid(told(request)) and validator(heads).is_valid(request.headers))


async def test_the_document_with_webhooks_is_openapi(document: Json) -> None:
    validate(document)
    assert document["webhooks"].keys() == {
        "job.succeeded",
        "job.failed",
        "job.canceled",
        "webhook.verification",
        "webhook.test",
        "webhook.disabled",
        "job.started",
        "job.progress",
        "job.output",
    }
    for webhook in document["webhooks"].values():
        assert {one["name"] for one in webhook["post"]["parameters"] if one["required"]} == HEADERS


async def test_every_ending_that_is_sent_is_as_the_document_says(hooks: Hooks, document: Json) -> None:
    webhook = {"url": hooks.url}
    await ended(hooks.client, webhook=webhook, labels={"a": "b"})
    await ended(hooks.client, "fails", {"message": "no"}, webhook=webhook)
    await ended(hooks.client, "echo", {"text": "x" * 30_000}, webhook=webhook)
    job = await submitted(hooks.client, "waits_for_ever", webhook=webhook)
    await hooks.client.post(f"/v1/jobs/{job['id']}/cancel")
    requests = await hooks.sent(4)
    assert [told(one).get("truncated", False) for one in requests].count(True) == 1
    for request in requests:
        event = told(request)["type"]
        assert fits(document, document["webhooks"][event]["post"], request)
        for path, method in (("/v1/jobs", "post"), ("/v1/jobs/{id}", "put")):
            (ending,) = document["paths"][path][method]["callbacks"]["ended"].values()
            assert fits(document, ending["post"], request)
    assert {told(one)["type"] for one in requests} == {"job.succeeded", "job.failed", "job.canceled"}


async def test_what_is_told_of_a_running_job_is_as_the_document_says(hooks: Hooks, document: Json) -> None:
    webhook = {"url": hooks.url, "events": ["job.started", "job.progress", "job.output"]}
    await ended(hooks.client, "counts", {"up_to": 3}, webhook=webhook)
    requests = await hooks.sent(3)
    for request in requests:
        event = told(request)["type"]
        assert fits(document, document["webhooks"][event]["post"], request)
        (running,) = document["paths"]["/v1/jobs"]["post"]["callbacks"][event.removeprefix("job.")].values()
        assert fits(document, running["post"], request)
    assert sorted(told(one)["type"] for one in requests) == ["job.output", "job.progress", "job.started"]


async def test_what_is_sent_to_an_endpoint_itself_is_as_the_document_says(hooks: Hooks, document: Json) -> None:
    path = f"/v1/webhooks/{(await hooks.registered())['id']}"
    await hooks.client.post(f"{path}/test")
    await hooks.client.post(f"{path}/verify")
    tested, asked = hooks.receiver.requests
    assert fits(document, document["webhooks"]["webhook.test"]["post"], tested)
    assert fits(document, document["webhooks"]["webhook.verification"]["post"], asked)
    assert not fits(document, document["webhooks"]["job.failed"]["post"], asked)


@pytest.mark.parametrize("form", ["cloudevents-structured", "cloudevents-binary"])
async def test_cloud_events_are_as_the_document_says(hooks: Hooks, document: Json, form: str) -> None:
    endpoint = await hooks.registered(format=form)
    await ended(hooks.client, webhook={"endpoint": endpoint["id"]})
    await hooks.sent(1)
    await hooks.client.post(f"/v1/webhooks/{endpoint['id']}/test")
    ending, tested = hooks.receiver.requests
    assert fits(document, document["webhooks"]["job.succeeded"]["post"], ending)
    assert fits(document, document["webhooks"]["webhook.test"]["post"], tested)
    assert not fits(document, document["webhooks"]["job.succeeded"]["post"], tested)


async def test_the_callback_goes_where_the_submit_says(document: Json) -> None:
    callbacks = document["paths"]["/v1/jobs"]["post"]["callbacks"]
    assert list(callbacks["ended"]) == ["{$request.body#/webhook/url}"]
    assert "callbacks" not in json.dumps(document["paths"]["/v1/jobs/{id}/cancel"])


async def test_of_410_the_document_says_whom_it_disables(document: Json) -> None:
    (to_url,) = document["paths"]["/v1/jobs"]["post"]["callbacks"]["ended"].values()
    sent = document["webhooks"]
    assert "endpoint" not in to_url["post"]["responses"]["410"]["description"]
    assert "endpoint, that is disabled" in sent["job.failed"]["post"]["responses"]["410"]["description"]
    for once in ("webhook.test", "webhook.verification"):
        assert sent[once]["post"]["responses"].keys() == {"2XX", "default"}
