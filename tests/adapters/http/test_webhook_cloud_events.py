"""Over HTTP: endpoints that are proven and told as CloudEvents have it, and what one is told of another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

from asyncinfer.adapters.webhook import Signer
from tests.adapters.http.hooks import GONE, Hooks, hooked, told, verify
from tests.adapters.http.steps import BASE, ended, pointer_of, slug_of
from tests.faults.harness.webhook_receiver import Request, answer_ok


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with hooked() as hooks:
        yield hooks


async def allow_everybody(request: Request) -> None:
    await request.send(b"HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: *\r\nContent-Length: 0\r\n\r\n")


async def test_an_endpoint_that_allows_the_service_is_enabled(hooks: Hooks) -> None:
    endpoint = await hooks.registered(proof="cloudevents")
    path = f"/v1/webhooks/{endpoint['id']}"
    refused = await hooks.client.post(f"{path}/verify")
    assert (refused.status_code, slug_of(refused)) == (422, "webhook-not-proven")
    assert "did not allow" in refused.json()["detail"]
    hooks.receiver.behave = allow_everybody
    proven = (await hooks.client.post(f"{path}/verify")).json()
    assert (proven["enabled"], proven["verified"], proven["proof"]) == (True, True, "cloudevents")
    assert {one.head.split(b" ")[0] for one in hooks.receiver.requests} == {b"OPTIONS"}
    hooks.receiver.behave = answer_ok
    await hooks.delivery({"endpoint": endpoint["id"]}, status="delivered")
    origins = {one.headers["webhook-request-origin"] for one in hooks.receiver.requests}
    assert origins == {"api.example.com"}


@pytest.mark.parametrize("form", ["cloudevents-structured", "cloudevents-binary"])
async def test_endings_are_cloud_events_for_who_registered_so(hooks: Hooks, form: str) -> None:
    endpoint = await hooks.registered(format=form)
    assert endpoint["format"] == form
    job = await ended(hooks.client, webhook={"endpoint": endpoint["id"]})
    await hooks.settled(job["id"], status="delivered")
    (request,) = hooks.receiver.requests
    verify(endpoint["secret"], request)
    event = from_http_event(HTTPMessage(request.headers, request.body), JSONFormat())
    attributes = event.get_attributes()
    assert (attributes["type"], attributes["source"]) == ("asyncinfer.job.succeeded", BASE)
    assert (attributes["id"], attributes["subject"]) == (request.headers["webhook-id"], job["id"])
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["id"] == job["id"]


async def test_a_form_cannot_be_changed(hooks: Hooks) -> None:
    endpoint = await hooks.registered(format="cloudevents-binary")
    answered = await hooks.client.patch(f"/v1/webhooks/{endpoint['id']}", json={"format": "standard"})
    assert (answered.status_code, pointer_of(answered)) == (422, "/format")


async def test_of_a_disabled_endpoint_another_is_told_and_the_job_is_not_charged_with_it(hooks: Hooks) -> None:
    async def behave(request: Request) -> None:
        await (GONE if b"/hooks?" in request.head else answer_ok)(request)

    hooks.receiver.behave = behave
    watcher = await hooks.registered(url=hooks.url.replace("/hooks?", "/watch?"), events=["webhook.disabled"])
    endpoint = await hooks.registered()
    job = await ended(hooks.client, webhook={"endpoint": endpoint["id"]})
    _, notice = await hooks.sent(2)
    verify(watcher["secret"], notice)
    assert told(notice)["data"]["endpoint"] == endpoint["id"]
    assert told(notice)["data"]["url_host"] == "http://127.0.0.1"
    listed = (await hooks.client.get("/v1/deliveries?endpoint=" + watcher["id"])).json()["data"]
    assert [(one["event"], one["job_id"]) for one in listed] == [("webhook.disabled", job["id"])]
    state = (await hooks.client.get(f"/v1/jobs/{job['id']}")).json()["webhook"]
    assert (state["status"], state["attempts"]) == ("failed", 1)


async def test_a_job_cannot_ask_for_what_is_told_of_endpoints(hooks: Hooks) -> None:
    asked = {"model": "echo", "input": {"text": "a"}, "webhook": {"url": hooks.url, "events": ["webhook.disabled"]}}
    answered = await hooks.client.post("/v1/jobs", json=asked)
    assert (answered.status_code, pointer_of(answered)) == (422, "/webhook/events/0")


async def test_one_caller_has_so_many_endpoints_and_no_more(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncinfer.adapters.webhook._endpoints.MOST_ENDPOINTS", 2)
    first, _ = [await hooks.registered() for _ in range(2)]
    answered = await hooks.client.post("/v1/webhooks", json={"url": hooks.url})
    assert (answered.status_code, slug_of(answered)) == (422, "too-many-webhooks")
    await hooks.client.delete(f"/v1/webhooks/{first['id']}")
    await hooks.registered()


class Broken(Signer):
    async def sign(self, message: bytes) -> str:
        raise ConnectionError("https://kms.example.com/?token=hush")


async def test_a_signer_that_fails_is_a_problem_of_its_own() -> None:
    async with hooked(signers=[Broken()]) as hooks:
        endpoint = await hooks.registered(proof="challenge")
        for route in ("test", "verify"):
            answered = await hooks.client.post(f"/v1/webhooks/{endpoint['id']}/{route}")
            assert (answered.status_code, slug_of(answered)) == (503, "webhook-not-signed")
            assert "hush" not in answered.text
        assert hooks.receiver.requests == []
