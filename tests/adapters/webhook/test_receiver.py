"""A sender, its own transport and a real receiver on a loopback socket; and what of it may be seen (F28)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from asyncinfer import JobManager, Subscription
from asyncinfer.abc import Delivery, DeliveryFilter
from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender, _idle_connections, _pools
from tests.adapters.webhook.sending import Kind, echo, open_store
from tests.faults.harness.waiting import until
from tests.faults.harness.webhook_receiver import OK, Behaviour, Receiver, Request, answer_ok, answering, receiving

SECRET = Secret.new().reveal()


@asynccontextmanager
async def sending(
    behave: Behaviour, kind: Kind, folder: Path
) -> AsyncGenerator[tuple[Receiver, JobManager, WebhookSender]]:
    async with (
        receiving(behave) as receiver,
        open_store(kind, folder, None) as store,
        JobManager(store, models=[echo]) as manager,
    ):
        guard = Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[receiver.port])
        async with WebhookSender(manager, secret=SECRET, guard=guard) as sender:
            yield receiver, manager, sender


async def first(manager: JobManager) -> Delivery:
    """Wait until the first attempt at the only delivery is written down."""

    async def is_settled() -> bool:
        found = await manager.outbox.deliveries(None, DeliveryFilter())
        return bool(found) and found[0].attempts > 0

    await until(is_settled, 10, what="an attempt is settled")
    (found,) = await manager.outbox.deliveries(None, DeliveryFilter())
    return found


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_independent_library_verifies_what_arrives(kind: Kind, tmp_path: Path) -> None:
    async with sending(answer_ok, kind, tmp_path) as (receiver, manager, _):
        url = f"http://127.0.0.1:{receiver.port}/cb?x=1"
        await (await manager.submit(echo.options(webhook=url), "hello"))
        delivery = await first(manager)

        (request,) = receiver.requests
        told = Webhook(SECRET).verify(request.body, request.headers)
        assert (told["type"], told["data"]["output"]) == ("job.succeeded", "hello")
        assert (delivery.status, request.path) == ("delivered", "/cb?x=1")
        assert request.headers["content-type"] == "application/json"


async def test_an_idle_connection_is_closed_though_nothing_more_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_idle_connections, "LOOK_SECONDS", 0.01)
    closed = asyncio.Event()

    async def behave(request: Request) -> None:
        await request.send(OK)
        if await request.reader.read() == b"":
            closed.set()

    async with sending(behave, "memory", tmp_path) as (receiver, manager, _):
        await (await manager.submit(echo.options(webhook=f"http://127.0.0.1:{receiver.port}/cb"), "hello"))
        await first(manager)
        await asyncio.sleep(0.1)
        assert not closed.is_set()

        monkeypatch.setattr(_pools, "time", _Later())
        await asyncio.wait_for(closed.wait(), 5)


class _Later:
    """Stands for the module `time`, when connections have been kept for as long as they may."""

    def monotonic(self) -> float:
        return time.monotonic() + _pools.KEPT_SECONDS


async def test_a_redirect_is_a_failure_of_its_own_kind(tmp_path: Path) -> None:
    moved = answering(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    async with sending(moved, "memory", tmp_path) as (receiver, manager, _):
        url = f"http://127.0.0.1:{receiver.port}/cb"
        await (await manager.submit(echo.options(webhook=url), "hello"))
        delivery = await first(manager)

        assert delivery.last is not None
        assert (delivery.status, delivery.last.kind, delivery.last.status_code) == ("pending", "redirect", 302)
        assert [request.path for request in receiver.requests] == ["/cb"]


async def test_what_the_guard_refuses_is_not_sent_and_logged_so(tmp_path: Path) -> None:
    async with sending(answer_ok, "memory", tmp_path) as (receiver, manager, _):
        await (await manager.submit(echo.options(webhook="http://127.0.0.1:1/cb"), "hello"))
        delivery = await first(manager)

        assert delivery.last is not None
        assert (delivery.last.kind, delivery.last.detail) == ("blocked", "port")
        assert not receiver.requests


async def test_no_log_line_repr_or_body_shows_a_secret_of_a_webhook(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await hits(tmp_path, caplog) == []
    assert "500" in caplog.text


async def test_canary_without_the_mask_a_log_line_shows_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncinfer.adapters.webhook._attempts.shown_target", str)
    assert "log" in await hits(tmp_path, caplog)


async def hits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Put a mark in every secret there is of a webhook, and return where one is seen."""
    caplog.set_level(logging.INFO)
    own = Secret.new().reveal()
    refused = answering(b"HTTP/1.1 500 no\r\nX-Token: s3cret-header\r\nContent-Length: 11\r\n\r\ns3cret-body")
    async with sending(refused, "memory", tmp_path) as (receiver, manager, sender):
        base = f"http://127.0.0.1:{receiver.port}"
        endpoint = await sender.endpoints.register("", f"{base}/s3cret-path?token=s3cret-query")
        hook = Subscription(f"{base}/s3cret-other?token=s3cret", secret=own)
        several: list[str | Subscription] = [endpoint.id, hook]
        await (await manager.submit(echo.options(webhook=several, idempotency_key="s3cret-key"), "hello"))
        await until(lambda: caplog.text.count("status 500, ") == 2, 10, what="both are sent, and logged")
        found = await manager.outbox.deliveries(None, DeliveryFilter())
        leased = await manager.outbox.due(10, 1_000)
        logs = [await manager.outbox.log("", one.id) for one in found]

        bodies = "".join(request.body.decode() for request in receiver.requests)
        reprs = repr((endpoint, hook, found, leased, logs, sender, sender.endpoints, sender.transport))
        places = {"log": caplog.text, "body": bodies, "repr": reprs, "delivery log": "".join(map(str, logs))}
        marks = ("s3cret", own, own[6:], SECRET, SECRET[6:], endpoint.secrets[0], endpoint.secrets[0][6:])
        return [place for place, text in places.items() if any(mark in text for mark in marks)]
