"""`webhook.disabled`: what an owner's other endpoints hear when the sender has disabled one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import msgspec
import pytest

from asyncinfer.adapters.webhook import WebhookSender
from asyncinfer.adapters.webhook._registered import FAILING_MS
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.errors import StoreUnavailable
from asyncinfer.testing import FakeClock, FaultyStore
from asyncinfer_memory import MemoryStore
from tests.adapters.webhook.sending import (
    ANYWHERE,
    SECRET,
    URL,
    Kind,
    Sent,
    bench,
    open_store,
    slow_days,
    status,
    verify,
)

WATCHER = "https://watch.example.com/cb?token=hush"
EVENTS = ("webhook.disabled",)
HOUR = 3_600.0


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return cast("Kind", request.param)


def gone(sent: Sent) -> Response:
    """Answer as an endpoint that wants nothing more, beside a watcher that does."""
    return status(410 if sent.target == URL else 200)


async def test_another_endpoint_is_told_by_a_delivery_of_its_own(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        b.receivers.answer = gone
        watcher = await b.sender.endpoints.register("alice", WATCHER, events=EVENTS)
        endpoint = await b.sender.endpoints.register("alice", URL)
        job = await b.end(webhook=endpoint.id, owner="alice")
        await b.until(lambda: bool(b.receivers.of(WATCHER)))
        await b.until_they_are("disabled", "delivered")

        (sent,) = b.receivers.of(WATCHER)
        verify(watcher.secrets[0], sent)
        data = sent.told["data"]
        assert (sent.told["type"], data["endpoint"]) == ("webhook.disabled", endpoint.id)
        assert (data["url_host"], data["disabled_because"]) == ("https://hooks.example.com", "it answered 410")
        assert data["disabled_at"] == sent.told["timestamp"]
        (told,) = [one for one in await b.deliveries() if one.event == "webhook.disabled"]
        assert (told.id, told.endpoint, told.job_id, told.owner) == (sent.id, watcher.id, job, "alice")
        assert [line.kind for line in await b.log(told)] == ["delivered"]


async def test_only_those_who_asked_and_are_enabled_are_told_and_no_other_owner() -> None:
    async with bench() as b:
        b.receivers.answer = gone
        endpoints = b.sender.endpoints
        endpoint = await endpoints.register("alice", URL, events=("job.succeeded", *EVENTS))
        await endpoints.register("alice", f"{WATCHER}&asked_for_endings")
        disabled = await endpoints.register("alice", f"{WATCHER}&is_disabled", events=EVENTS)
        await endpoints.change("alice", disabled.id, is_enabled=False)
        await endpoints.register("alice", f"{WATCHER}&not_proven", events=EVENTS, proof="challenge")
        await endpoints.register("bob", f"{WATCHER}&of_bob", events=EVENTS)
        await endpoints.register("alice", f"{WATCHER}&asked", events=EVENTS)
        await b.end(webhook=endpoint.id, owner="alice")
        await b.clock.advance(5)

        assert [sent.target for sent in b.receivers.sent] == [URL, f"{WATCHER}&asked"]


async def test_it_is_sent_again_until_it_arrives_with_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        b.receivers.answer = lambda sent: (
            gone(sent) if sent.target == URL or len(b.receivers.of(WATCHER)) > 2 else status(500)
        )
        await b.sender.endpoints.register("", WATCHER, events=EVENTS)
        await b.end(webhook=(await b.sender.endpoints.register("", URL)).id)
        await b.until(lambda: len(b.receivers.of(WATCHER)) == 3, step=10)
        await b.until_they_are("disabled", "delivered")

        assert len({(sent.id, sent.body) for sent in b.receivers.of(WATCHER)}) == 1


async def test_an_endpoint_that_failed_for_five_days_is_told_of_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with slow_days(monkeypatch) as days:
        days.receivers.answer = lambda sent: status(500 if sent.target == URL else 200)
        await days.sender.endpoints.register("alice", WATCHER, events=EVENTS)
        endpoint = await days.sender.endpoints.register("alice", URL)
        await days.manager.end_one(endpoint.id)
        await days.clock.advance(FAILING_MS / 1000 + HOUR)
        assert not days.receivers.of(WATCHER)
        await days.manager.end_one(endpoint.id)
        await days.clock.advance(2 * HOUR)

        (sent,) = days.receivers.of(WATCHER)
        assert sent.told["data"]["disabled_because"] == "every attempt of 120 hours failed"


async def test_who_disables_an_endpoint_of_its_own_is_told_nothing() -> None:
    async with bench() as b:
        await b.sender.endpoints.register("", WATCHER, events=EVENTS)
        endpoint = await b.sender.endpoints.register("", URL)
        await b.sender.endpoints.change("", endpoint.id, is_enabled=False)
        await b.end(webhook=endpoint.id)
        await b.clock.advance(5)

        assert not b.receivers.sent


async def test_two_senders_that_hear_of_it_together_tell_it_once(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        bench(open_store(kind, tmp_path, clock), clock=clock) as b,
        WebhookSender(b.manager, secret=SECRET, guard=ANYWHERE, transport=b.receivers),
    ):
        together = asyncio.Barrier(4)

        async def answer(sent: Sent) -> Response:
            if sent.target == URL:
                await together.wait()
            return gone(sent)

        b.receivers.answer = answer
        await b.sender.endpoints.register("", WATCHER, events=EVENTS)
        endpoint = await b.sender.endpoints.register("", URL)
        for _ in range(4):
            await b.end(webhook=endpoint.id)
        await b.until(lambda: bool(b.receivers.of(WATCHER)))
        await b.pass_time(120, steps=60)

        assert len(b.receivers.of(WATCHER)) == 1
        assert len([one for one in await b.deliveries() if one.event == "webhook.disabled"]) == 1


@pytest.mark.parametrize("call", ["put_endpoint", "settle"])
async def test_a_store_that_fails_meanwhile_neither_loses_nor_doubles_it(call: str) -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as inner:
        store = FaultyStore(inner)
        async with bench(store, clock=clock) as b:
            b.receivers.answer = gone
            await b.sender.endpoints.register("", WATCHER, events=EVENTS)
            endpoint = await b.sender.endpoints.register("", URL)
            # The first two calls of put_endpoint were those registrations.
            store.fail(f"outbox.{call}", StoreUnavailable, when="before", nth=3 if call == "put_endpoint" else 1)
            await b.end(webhook=endpoint.id)
            await b.clock.advance(100)
            await b.end(webhook=endpoint.id)
            await b.clock.advance(100)

            assert len(b.receivers.of(WATCHER)) == 1


async def test_a_job_that_is_forgotten_meanwhile_does_not_lose_it() -> None:
    async with bench() as b:

        async def answer(sent: Sent) -> Response:
            if sent.target == URL:
                await b.manager.delete(sent.told["data"]["id"])
            return gone(sent)

        b.receivers.answer = answer
        await b.sender.endpoints.register("", WATCHER, events=EVENTS)
        endpoint = await b.sender.endpoints.register("", URL)
        await b.end(webhook=endpoint.id)
        await b.clock.advance(5)

        assert len(b.receivers.of(WATCHER)) == 1


async def test_a_notice_is_written_in_the_form_of_who_gets_it() -> None:
    async with bench(public_base_url="https://api.example.com") as b:
        b.receivers.answer = gone
        for form in ("cloudevents-structured", "cloudevents-binary"):
            await b.sender.endpoints.register("", f"{WATCHER}&{form}", events=EVENTS, format=form)
        endpoint = await b.sender.endpoints.register("", URL)
        await b.end(webhook=endpoint.id)
        await b.clock.advance(5)

        (structured,) = b.receivers.of(f"{WATCHER}&cloudevents-structured")
        (binary,) = b.receivers.of(f"{WATCHER}&cloudevents-binary")
        assert (structured.told["type"], structured.told["subject"]) == ("asyncinfer.webhook.disabled", endpoint.id)
        assert binary.headers["ce-type"] == "asyncinfer.webhook.disabled"
        assert binary.headers["ce-subject"] == binary.told["endpoint"] == endpoint.id
        assert binary.headers["ce-time"] == msgspec.json.decode(structured.body)["time"]


async def test_a_notice_shows_no_more_than_the_host_of_a_url() -> None:
    async with bench() as b:
        secretive = f"{URL}?token=hush"
        b.receivers.answer = lambda sent: status(410 if sent.target == secretive else 200)
        await b.sender.endpoints.register("", WATCHER, events=EVENTS)
        endpoint = await b.sender.endpoints.register("", secretive)
        await b.end(webhook=endpoint.id)
        await b.clock.advance(5)

        (sent,) = b.receivers.of(WATCHER)
        assert b"hush" not in sent.body
