"""Registered endpoints: made, looked at, changed, forgotten."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from tests.adapters.http.hooks import FAILS, GONE, Hooks, hooked
from tests.adapters.http.steps import BASE, Json, ended, pointer_of, slug_of

UNKNOWN = "wh_000000000000000000000000"


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with hooked() as hooks:
        yield hooks


async def listed(hooks: Hooks) -> list[Json]:
    every: list[Json] = (await hooks.client.get("/v1/webhooks")).json()["data"]
    return every


async def test_an_endpoint_is_registered_with_a_secret(hooks: Hooks) -> None:
    answered = await hooks.client.post("/v1/webhooks", json={"url": hooks.url, "description": "ours"})
    endpoint = answered.json()
    assert answered.status_code == 201
    assert answered.headers["location"] == f"{BASE}/v1/webhooks/{endpoint['id']}"
    assert (endpoint["object"], endpoint["url"], endpoint["description"]) == ("webhook", hooks.url, "ours")
    assert endpoint["events"] == ["job.succeeded", "job.failed", "job.canceled"]
    assert (endpoint["enabled"], endpoint["verified"], endpoint["failing_since"]) == (True, False, None)
    assert endpoint["secret_hint"] == endpoint["secret"][-4:]


async def test_a_secret_is_32_bytes_in_padded_standard_base64(hooks: Hooks) -> None:
    # A real verifier splits on the underscore, which URL-safe base64 has among its digits.
    for _ in range(20):
        prefix, _, text = (await hooks.registered())["secret"].partition("_")
        assert (prefix, len(base64.b64decode(text, validate=True))) == ("whsec", 32)


async def test_a_secret_is_shown_once(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    answers = [
        await hooks.client.get(f"/v1/webhooks/{endpoint['id']}"),
        await hooks.client.get("/v1/webhooks"),
        await hooks.client.patch(f"/v1/webhooks/{endpoint['id']}", json={"description": "again"}),
    ]
    assert [answered.status_code for answered in answers] == [200, 200, 200]
    assert [endpoint["secret"] in answered.text for answered in answers] == [False, False, False]
    assert [f'"secret_hint":"{endpoint["secret_hint"]}"' in answered.text for answered in answers] == [True] * 3


async def test_every_endpoint_is_listed(hooks: Hooks) -> None:
    both = {(await hooks.registered())["id"] for _ in range(2)}
    assert {one["id"] for one in await listed(hooks)} == both


async def test_what_is_given_of_an_endpoint_is_changed_and_nothing_else(hooks: Hooks) -> None:
    endpoint = await hooks.registered(description="old", events=["job.failed"])
    path = f"/v1/webhooks/{endpoint['id']}"
    first = (await hooks.client.patch(path, json={"description": "new"})).json()
    second = (await hooks.client.patch(path, json={"url": f"{hooks.url}&more", "events": ["job.canceled"]})).json()
    del endpoint["secret"]
    assert first == {**endpoint, "description": "new"}
    assert second == {**first, "url": f"{hooks.url}&more", "events": ["job.canceled"]}
    assert (await hooks.client.get(path)).json() == second


async def test_changing_nothing_changes_nothing(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    answered = await hooks.client.patch(f"/v1/webhooks/{endpoint.pop('id')}", json={})
    del endpoint["secret"]
    assert answered.status_code == 200
    assert endpoint.items() <= answered.json().items()


async def test_nothing_is_sent_to_a_disabled_endpoint_until_it_is_enabled_again(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    path = f"/v1/webhooks/{endpoint['id']}"
    assert (await hooks.client.patch(path, json={"enabled": False})).json()["enabled"] is False
    await hooks.delivery({"endpoint": endpoint["id"]}, status="disabled")
    assert hooks.receiver.requests == []
    assert (await hooks.client.patch(path, json={"enabled": True})).json()["enabled"] is True
    await hooks.delivery({"endpoint": endpoint["id"]}, status="delivered")
    assert len(hooks.receiver.requests) == 1


async def test_an_endpoint_that_wants_no_more_is_disabled_and_may_be_enabled_again(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    hooks.receiver.behave = GONE
    await hooks.delivery({"endpoint": endpoint["id"]}, status="disabled")
    path = f"/v1/webhooks/{endpoint['id']}"
    disabled = (await hooks.client.get(path)).json()
    assert (disabled["enabled"], "410" in disabled["disabled_because"]) == (False, True)
    enabled = (await hooks.client.patch(path, json={"enabled": True})).json()
    assert (enabled["enabled"], enabled["disabled_because"], enabled["failing_since"]) == (True, "", None)


async def test_an_endpoint_is_told_only_of_the_endings_it_is_registered_for(hooks: Hooks) -> None:
    endpoint = await hooks.registered(events=["job.failed"])
    await ended(hooks.client, webhook={"endpoint": endpoint["id"]})
    failed = await ended(hooks.client, "fails", {"message": "no"}, webhook={"endpoint": endpoint["id"]})
    delivery = await hooks.settled(failed["id"], status="delivered")
    assert (delivery["event"], len(hooks.receiver.requests)) == ("job.failed", 1)


async def test_a_deleted_endpoint_is_gone_and_what_was_pending_for_it_is_not_sent(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    path = f"/v1/webhooks/{endpoint['id']}"
    hooks.receiver.behave = FAILS
    delivery = await hooks.delivery({"endpoint": endpoint["id"]}, status="pending")
    deleted = await hooks.client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await hooks.client.get(f"/v1/deliveries/{delivery['id']}")).json()["status"] == "disabled"
    assert await listed(hooks) == []
    for answered in (await hooks.client.get(path), await hooks.client.delete(path)):
        assert (answered.status_code, slug_of(answered)) == (404, "not-found")


@pytest.mark.parametrize("endpoint", [UNKNOWN, "wh_", "wh_%00", "job_1", "wh_" + "a" * 62, "%FF"])
async def test_what_is_no_endpoint_is_not_found(hooks: Hooks, endpoint: str) -> None:
    path = f"/v1/webhooks/{endpoint}"
    answers = [
        await hooks.client.get(path),
        await hooks.client.patch(path, json={}),
        await hooks.client.delete(path),
        await hooks.client.post(f"{path}/verify"),
        await hooks.client.post(f"{path}/rotate-secret"),
        await hooks.client.post(f"{path}/test"),
        await hooks.client.post(f"{path}/recover", json={"since": "2026-01-01T00:00:00Z"}),
    ]
    assert {(answered.status_code, slug_of(answered)) for answered in answers} == {(404, "not-found")}
    assert len({answered.content for answered in answers}) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": 7}, "/url"),
        ({"url": "https://x.example", "events": []}, "/events"),
        ({"url": "https://x.example", "events": ["job.begun"]}, "/events/0"),
        ({"url": "https://x.example", "description": "a\nb"}, "/description"),
        ({"url": "https://x.example", "description": "a" * 257}, "/description"),
        ({"url": "https://x.example", "proof": "oauth"}, "/proof"),
        ({"url": "https://x.example", "format": "xml"}, "/format"),
        ({"url": "https://x.example", "secret": "whsec_mine"}, "/secret"),
    ],
)
async def test_a_wrong_registration_is_named_and_makes_nothing(hooks: Hooks, body: Json, pointer: str) -> None:
    answered = await hooks.client.post("/v1/webhooks", json=body)
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)
    assert await listed(hooks) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"enabled": 1}, "/enabled"),
        ({"format": "standard"}, "/format"),
        ({"url": None}, "/url"),
        ({"events": []}, "/events"),
        ({"owner": "bob"}, "/owner"),
    ],
)
async def test_a_wrong_change_is_named_and_changes_nothing(hooks: Hooks, body: Json, pointer: str) -> None:
    await hooks.registered()
    before = await listed(hooks)
    answered = await hooks.client.patch(f"/v1/webhooks/{before[0]['id']}", json={"description": "new", **body})
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)
    assert await listed(hooks) == before


async def test_changes_at_once_are_all_kept(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    path = f"/v1/webhooks/{endpoint['id']}"
    answers = await asyncio.gather(
        hooks.client.patch(path, json={"description": "new"}),
        hooks.client.patch(path, json={"events": ["job.failed"]}),
        hooks.client.post(f"{path}/rotate-secret"),
        hooks.client.patch(path, json={"enabled": False}),
    )
    assert [answered.status_code for answered in answers] == [200] * 4
    now = (await hooks.client.get(path)).json()
    assert (now["description"], now["events"], now["enabled"]) == ("new", ["job.failed"], False)
    assert now["secret_hint"] == answers[2].json()["secret_hint"]
