"""Webhooks by client: which request each call makes, and the whole of it against a real service."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from asyncinfer.client import AsyncClient, Client, ConnectionLost, NotFound
from asyncinfer.errors import InvalidOption
from tests.adapters.http.hooks import Hooks, echo_the_challenge, hooked, verify
from tests.adapters.http.serving import served
from tests.client.fake_service import FakeService, problem
from tests.faults.harness.webhook_receiver import answer_ok

AT = datetime(2027, 1, 15, tzinfo=UTC)
ENDPOINT = {
    "object": "webhook",
    "id": "wh_1",
    "url": "https://hooks.example.com/s3cret",
    "events": ["job.failed"],
    "description": "",
    "enabled": True,
    "disabled_because": "",
    "verified": False,
    "failing_since": None,
    "secret_hint": "abc=",
    "created_at": "2027-01-15T08:00:00Z",
}
ATTEMPT = {"at": "2027-01-15T08:00:00Z", "kind": "delivered", "status": 200, "latency_seconds": 0.1, "detail": ""}
DELIVERY = {
    "object": "delivery",
    "id": "msg_1",
    "job_id": "job_1",
    "event": "job.failed",
    "endpoint": "wh_1",
    "url_host": "https://hooks.example.com",
    "status": "delivered",
    "attempts": 1,
    "created_at": "2027-01-15T08:00:00Z",
    "next_attempt_at": None,
    "last": ATTEMPT,
}


def answered(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def page(*ids: str, next_cursor: str | None = None) -> httpx.Response:
    data = [{**DELIVERY, "id": one} for one in ids]
    return answered({"object": "list", "data": data, "next_cursor": next_cursor})


async def test_each_call_asks_its_route() -> None:
    everything = answered({"object": "list", "data": [ENDPOINT]})
    service = FakeService(
        answered({**ENDPOINT, "secret": "whsec_s3cret"}, 201), everything, answered(ENDPOINT), answered(ENDPOINT),
        httpx.Response(204), answered(ENDPOINT), answered(ENDPOINT), answered(ATTEMPT),
        answered({"deliveries": 3}, 202), answered({**DELIVERY, "log": [ATTEMPT]}), answered(DELIVERY, 202),
    )  # fmt: skip

    async with service.client() as client:
        webhooks = client.webhooks
        made = await webhooks.register("https://hooks.example.com/s3cret", events=["job.failed"])
        assert [one.id for one in await webhooks.list()] == ["wh_1"]
        await webhooks.get("wh_1")
        await webhooks.change("wh_1", enabled=False)
        await webhooks.delete("wh_1")
        await webhooks.verify("wh_1")
        await webhooks.rotate_secret("wh_1")
        assert (await webhooks.test("wh_1")).kind == "delivered"
        assert await webhooks.recover("wh_1", since=AT) == 3
        assert (await webhooks.delivery("msg_1")).log
        await webhooks.redeliver("msg_1")

    assert made.secret == "whsec_s3cret"
    assert "s3cret" not in repr(made)
    assert [asked.replace("/inference/v1", "") for asked in service.asked] == [
        "POST /webhooks",
        "GET /webhooks",
        "GET /webhooks/wh_1",
        "PATCH /webhooks/wh_1",
        "DELETE /webhooks/wh_1",
        "POST /webhooks/wh_1/verify",
        "POST /webhooks/wh_1/rotate-secret",
        "POST /webhooks/wh_1/test",
        "POST /webhooks/wh_1/recover",
        "GET /deliveries/msg_1",
        "POST /deliveries/msg_1/redeliver",
    ]
    assert service.requests[3].content == b'{"enabled":false}'
    assert service.requests[8].content == b'{"since":"2027-01-15T00:00:00Z","until":null}'


async def test_deliveries_are_listed_page_by_page() -> None:
    service = FakeService(page("msg_3", "msg_2", next_cursor="msg_2"), page("msg_1"))

    async with service.client() as client:
        found = [one.id async for one in client.webhooks.deliveries(status="delivered", since=AT, limit=3)]

    assert found == ["msg_3", "msg_2", "msg_1"]
    assert [dict(one.url.params) for one in service.requests] == [
        {"status": "delivered", "since": "2027-01-15T00:00:00+00:00", "limit": "3"},
        {"status": "delivered", "since": "2027-01-15T00:00:00+00:00", "limit": "1", "after": "msg_2"},
    ]


async def test_a_page_of_deliveries_begins_behind_a_cursor() -> None:
    service = FakeService(page("msg_1", next_cursor="msg_1"))

    async with service.client() as client:
        found = await client.webhooks.delivery_page(after="msg_2", limit=1, endpoint="wh_1")
        with pytest.raises(InvalidOption, match="limit"):
            await client.webhooks.delivery_page(limit=201)

    assert ([one.id for one in found.data], found.next_cursor) == (["msg_1"], "msg_1")
    assert dict(service.requests[0].url.params) == {"endpoint": "wh_1", "limit": "1", "after": "msg_2"}


async def test_what_must_not_happen_twice_is_not_repeated_after_a_lost_answer() -> None:
    service = FakeService(httpx.ReadError("lost"))

    async with service.client() as client:
        with pytest.raises(ConnectionLost):
            await client.webhooks.register("https://hooks.example.com/")
        with pytest.raises(ConnectionLost):
            await client.webhooks.rotate_secret("wh_1")
        with pytest.raises(ConnectionLost):
            await client.webhooks.delete("wh_1")

    assert len(service.requests) == 3


async def test_what_may_happen_twice_is_repeated() -> None:
    service = FakeService(httpx.ReadError("lost"), answered(DELIVERY, 202))

    async with service.client() as client:
        assert (await client.webhooks.redeliver("msg_1")).id == "msg_1"


async def test_refusals_are_typed() -> None:
    service = FakeService(
        problem("not-found", 404),
        problem("webhook-url-rejected", 422, detail="address"),
        problem("webhook-not-proven", 422),
    )

    async with service.client() as client:
        with pytest.raises(NotFound):
            await client.webhooks.get("wh_1")
        with pytest.raises(InvalidOption, match="address"):
            await client.webhooks.register("https://10.0.0.1/s3cret")
        with pytest.raises(InvalidOption):
            await client.webhooks.verify("wh_1")


async def test_what_can_be_no_id_and_a_naive_instant_are_refused_at_once() -> None:
    async with FakeService(answered(ENDPOINT)).client() as client:
        for name in ("", "job_1", "wh_../jobs", "wh_1/verify"):
            with pytest.raises(InvalidOption, match="endpoint_id"):
                await client.webhooks.get(name)
        with pytest.raises(InvalidOption, match="delivery_id"):
            await client.webhooks.delivery("a/b")
        with pytest.raises(InvalidOption, match="since"):
            await client.webhooks.recover("wh_1", since=datetime(2027, 1, 15))  # noqa: DTZ001  the point


def test_code_without_asyncio_has_the_same_calls() -> None:
    service = FakeService(answered(ENDPOINT), page("msg_1"))

    with service.sync_client() as client:
        assert client.webhooks.get("wh_1").id == "wh_1"
        assert [one.id for one in client.webhooks.deliveries()] == ["msg_1"]

    def calls(face: object) -> set[str]:
        return {name for name in dir(face) if not name.startswith("_")}

    assert calls(AsyncClient("https://x.example").webhooks) == calls(client.webhooks)


async def test_a_service_registers_proves_rotates_delivers_and_delivers_again() -> None:
    async with hooked(echo_the_challenge) as hooks, served(hooks.app) as url, AsyncClient(url) as client:
        endpoint = await client.webhooks.register(hooks.url, proof="challenge", description="ours")
        assert (await client.webhooks.verify(endpoint.id)).verified
        hooks.receiver.behave = answer_ok
        assert (await client.webhooks.test(endpoint.id)).kind == "delivered"
        rotated = await client.webhooks.rotate_secret(endpoint.id)
        job = await client.submit("echo", {"text": "a"}, webhook=endpoint.id)
        await hooks.settled(job.id, status="delivered")
        (delivery,) = [one async for one in client.webhooks.deliveries(job=job.id)]
        assert (await client.webhooks.redeliver(delivery.id)).id == delivery.id
        await hooks.settled(job.id, status="delivered", attempts=2)
        assert [line.kind for line in (await client.webhooks.delivery(delivery.id)).log or []] == ["delivered"] * 2
        for request in hooks.receiver.requests[-2:]:
            verify(str(endpoint.secret), request)
            verify(str(rotated.secret), request)
        assert await client.webhooks.recover(endpoint.id, since=AT) == 0
        await _asked_without_asyncio(hooks, url)
        await client.webhooks.delete(endpoint.id)
        with pytest.raises(NotFound):
            await client.webhooks.get(endpoint.id)


async def _asked_without_asyncio(hooks: Hooks, url: str) -> None:
    def ask() -> None:
        with Client(url) as client:
            (endpoint,) = client.webhooks.list()
            changed = client.webhooks.change(endpoint.id, description="theirs", events=["job.failed"])
            assert (changed.description, changed.events) == ("theirs", ["job.failed"])

    await asyncio.to_thread(ask)
