"""Registered endpoints: their secrets, their proof, their ends, and whose they are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from asyncinfer.adapters.webhook import (
    NotProven,
    Secret,
    Signer,
    SigningFailed,
    TooManyEndpoints,
    UnknownEndpoint,
    UrlRejected,
)
from asyncinfer.adapters.webhook._registered import state_of
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.errors import InvalidOption
from asyncinfer.testing import FakeClock
from tests.adapters.webhook.sending import URL, Answer, Kind, Sent, bench, open_store, slow_days, status, verify

HOUR = 3_600.0
OTHER_URL = "https://other.example.com/cb"


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return cast("Kind", request.param)


async def test_an_endpoint_has_a_secret_of_its_own(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        endpoint = await b.sender.endpoints.register("alice", URL)
        await b.end(webhook=endpoint.id, owner="alice")
        await b.until(lambda: bool(b.receivers.sent))

        (sent,) = b.receivers.sent
        verify(endpoint.secrets[0], sent)
        (delivery,) = await b.deliveries()
        assert (delivery.endpoint, delivery.secret) == (endpoint.id, "")


async def test_through_a_rotation_receivers_may_change_over_when_they_like() -> None:
    async with bench() as b:
        endpoints = b.sender.endpoints
        old = (await endpoints.register("", URL)).secrets[0]
        (endpoint,) = await endpoints.list("")
        new = (await endpoints.rotate("", endpoint.id, overlap=100)).secrets[0]
        await b.end(webhook=endpoint.id)
        await b.clock.advance(101)
        await b.end(webhook=endpoint.id)
        await b.clock.advance(1)

        within, after = b.receivers.sent
        verify(old, within)  # the receiver has not changed over yet
        verify(new, within)  # it has, before anything else happened
        verify(new, after)
        with pytest.raises(Exception, match="No matching signature"):
            verify(old, after)
        assert [len(sent.headers["webhook-signature"].split(" ")) for sent in (within, after)] == [2, 1]


async def test_an_attempt_is_signed_with_the_secrets_and_goes_to_the_url_of_its_time() -> None:
    async with bench() as b:
        b.receivers.answer = lambda sent: status(500)
        endpoint = await b.sender.endpoints.register("", URL)
        await b.end(webhook=endpoint.id)
        await b.clock.advance(1)
        new = (await b.sender.endpoints.rotate("", endpoint.id, overlap=0)).secrets[0]
        await b.sender.endpoints.change("", endpoint.id, url=OTHER_URL)
        await b.clock.advance(7)

        first, second = b.receivers.sent
        verify(endpoint.secrets[0], first)
        verify(new, second)
        assert (first.target, second.target) == (URL, OTHER_URL)
        assert (first.id, first.body) == (second.id, second.body)


async def test_an_endpoint_hears_of_its_own_events_only() -> None:
    async with bench() as b:
        endpoint = await b.sender.endpoints.register("", URL, events=["job.failed"])
        await b.end("hello", webhook=endpoint.id)
        failed = await b.end("fail", webhook=endpoint.id)
        await b.clock.advance(1)

        assert [sent.told["data"]["id"] for sent in b.receivers.sent] == [failed]


async def test_410_disables_and_what_follows_can_be_recovered(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        endpoints = b.sender.endpoints
        b.receivers.answer = lambda sent: status(410)
        endpoint = await endpoints.register("", URL)
        began = clock.now()
        await b.end(webhook=endpoint.id)
        await b.until(lambda: bool(b.receivers.sent))
        await b.until_they_are("disabled")
        gone = await endpoints.get("", endpoint.id)
        assert (gone.is_enabled, state_of(gone).disabled_because) == (False, "it answered 410")

        await b.end(webhook=endpoint.id)
        await b.until_they_are("disabled", "disabled")
        assert len(b.receivers.sent) == 1

        b.receivers.answer = lambda sent: status(200)
        await endpoints.change("", endpoint.id, is_enabled=True)
        assert await b.manager.outbox.recover("", endpoint.id, began, clock.now(), clock.now()) == 2
        b.sender.wake()
        await b.until(lambda: len(b.receivers.sent) == 3, step=0.01, steps=50)
        await b.until_they_are("delivered", "delivered")


async def test_an_endpoint_that_only_fails_for_five_days_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    async with slow_days(monkeypatch) as days:
        days.receivers.answer = lambda sent: status(500)
        endpoint = await days.sender.endpoints.register("alice", URL)
        await days.manager.end_one(endpoint.id)
        await days.clock.advance(119 * HOUR)
        assert (await days.sender.endpoints.get("alice", endpoint.id)).is_enabled
        await days.clock.advance(1.1 * HOUR)
        await days.manager.end_one(endpoint.id)
        await days.clock.advance(1)

        disabled = await days.sender.endpoints.get("alice", endpoint.id)
        assert (disabled.is_enabled, state_of(disabled).disabled_because) == (
            False,
            "every attempt of 120 hours failed",
        )


async def test_a_new_url_has_not_failed_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    async with slow_days(monkeypatch) as days:
        days.receivers.answer = lambda sent: status(500)
        endpoint = await days.sender.endpoints.register("alice", URL)
        await days.manager.end_one(endpoint.id)
        await days.clock.advance(119 * HOUR)
        await days.sender.endpoints.change("alice", endpoint.id, url=OTHER_URL)
        await days.clock.advance(1.1 * HOUR)
        await days.manager.end_one(endpoint.id)
        await days.clock.advance(1)

        assert days.receivers.of(OTHER_URL)
        assert (await days.sender.endpoints.get("alice", endpoint.id)).is_enabled


async def test_an_answer_of_the_url_before_does_not_disable_the_new_one(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        is_changed = asyncio.Event()

        async def gone_later(sent: Sent) -> Response:
            await is_changed.wait()
            return status(410)

        b.receivers.answer = gone_later
        endpoint = await b.sender.endpoints.register("", URL)
        await b.end(webhook=endpoint.id)
        await b.until(lambda: bool(b.receivers.sent))
        await b.sender.endpoints.change("", endpoint.id, url=OTHER_URL)
        is_changed.set()
        await b.until_they_are("disabled")

        assert (await b.sender.endpoints.get("", endpoint.id)).is_enabled


async def test_an_endpoint_that_cannot_be_read_keeps_no_other_from_being_told(
    kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a later version may have written it; the sender did the same step over and over."""
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        endpoint = await b.sender.endpoints.register("", OTHER_URL)
        of_later = msgspec.msgpack.encode({"format": "of-later"})
        await b.manager.outbox.put_endpoint(replace(endpoint, settings=of_later, revision=endpoint.revision + 1))
        for webhook in (endpoint.id, URL):
            await b.end(webhook=webhook)
        await b.until(lambda: bool(b.receivers.of(URL)))
        assert "cannot be told to its webhook now: ValidationError" in caplog.text

        await b.manager.outbox.put_endpoint(replace(endpoint, revision=endpoint.revision + 2))
        await b.until(lambda: bool(b.receivers.of(OTHER_URL)), step=1)


async def test_attempts_that_end_together_lose_no_verdict() -> None:
    """One of several put its view of the endpoint over the others'; a 410 among them could be lost."""
    async with bench() as b:
        together = asyncio.Barrier(4)
        codes = iter([500, 500, 500, 410])

        async def answer(sent: Sent) -> Response:
            await together.wait()
            return status(next(codes))

        b.receivers.answer = answer
        endpoint = await b.sender.endpoints.register("", URL)
        for _ in range(4):
            await b.end(webhook=endpoint.id)
        await b.clock.advance(1)

        assert not (await b.sender.endpoints.get("", endpoint.id)).is_enabled


async def test_a_deleted_endpoint_is_sent_nothing_more(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        b.receivers.answer = lambda sent: status(500)
        endpoint = await b.sender.endpoints.register("", URL)
        await b.end(webhook=endpoint.id)
        await b.until(lambda: bool(b.receivers.sent))
        await b.pass_time(1)

        await b.sender.endpoints.delete("", endpoint.id)
        await b.end(webhook=endpoint.id)
        await b.pass_time(10)

        assert len(b.receivers.sent) == 1
        assert [one.status for one in await b.deliveries()] == ["disabled"]


async def test_owners_do_not_reach_each_others_endpoints(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        endpoints = b.sender.endpoints
        endpoint = await endpoints.register("alice", URL)
        await b.end(webhook=endpoint.id, owner="bob")
        await b.pass_time(3)

        assert not b.receivers.sent
        assert not await endpoints.list("bob")
        for attempt in (
            endpoints.get("bob", endpoint.id),
            endpoints.change("bob", endpoint.id, is_enabled=False),
            endpoints.rotate("bob", endpoint.id),
            endpoints.prove("bob", endpoint.id),
            endpoints.test("bob", endpoint.id),
            endpoints.delete("bob", endpoint.id),
        ):
            with pytest.raises(UnknownEndpoint):
                await attempt
        assert await endpoints.get("alice", endpoint.id) == endpoint


# Proof


def echoing(sent: Sent) -> Response:
    return Response(kind="delivered", status=200, body=sent.told["data"]["challenge"].encode())


def echoing_json(sent: Sent) -> Response:
    return Response(kind="delivered", status=200, body=msgspec.json.encode(sent.told["data"]))


def echoing_among_others(sent: Sent) -> Response:
    return Response(
        kind="delivered", status=200, body=msgspec.json.encode({**sent.told["data"], "ok": True, "tries": [1]})
    )


@pytest.mark.parametrize("answer", [echoing, echoing_json, echoing_among_others])
async def test_an_endpoint_that_echoes_the_challenge_is_enabled(answer: Answer) -> None:
    async with bench() as b:
        b.receivers.answer = answer
        endpoint = await b.sender.endpoints.register("", URL, proof="challenge")
        assert not endpoint.is_enabled

        proven = await b.sender.endpoints.prove("", endpoint.id)

        assert (proven.is_enabled, state_of(proven).is_verified) == (True, True)
        (sent,) = b.receivers.sent
        assert sent.told["type"] == "webhook.verification"
        verify(endpoint.secrets[0], sent)


@pytest.mark.parametrize(
    "answer",
    [
        Response(kind="delivered", status=200, body=b"yes"),
        Response(kind="delivered", status=200, body=b""),
        Response(kind="delivered", status=200, body=b'{"challenge": 1}'),
        Response(kind="delivered", status=200, body=b"\xff\xfe"),
        Response(kind="status", status=404, body=b"challenge"),
        Response(kind="timeout"),
    ],
)
async def test_any_other_answer_proves_nothing(answer: Response) -> None:
    async with bench() as b:
        b.receivers.answer = lambda sent: answer
        endpoint = await b.sender.endpoints.register("", URL, proof="challenge")

        with pytest.raises(NotProven):
            await b.sender.endpoints.prove("", endpoint.id)
        assert not (await b.sender.endpoints.get("", endpoint.id)).is_enabled


async def test_one_that_has_not_proven_itself_cannot_be_enabled_by_a_change() -> None:
    async with bench() as b:
        endpoint = await b.sender.endpoints.register("", URL, proof="challenge")
        with pytest.raises(NotProven):
            await b.sender.endpoints.change("", endpoint.id, is_enabled=True)


async def test_a_proof_holds_for_its_url_only() -> None:
    async with bench() as b:
        b.receivers.answer = echoing
        endpoint = await b.sender.endpoints.register("", URL, proof="challenge")
        await b.sender.endpoints.prove("", endpoint.id)

        moved = await b.sender.endpoints.change("", endpoint.id, url=OTHER_URL)
        assert (moved.is_enabled, state_of(moved).is_verified) == (False, False)
        assert (await b.sender.endpoints.prove("", endpoint.id)).is_enabled


async def test_a_test_event_is_sent_once_whatever_comes_of_it() -> None:
    async with bench() as b:
        b.receivers.answer = lambda sent: status(500)
        endpoint = await b.sender.endpoints.register("", URL)

        response = await b.sender.endpoints.test("", endpoint.id)
        await b.clock.advance(60)

        assert response.status == 500
        (sent,) = b.receivers.sent
        assert (sent.told["type"], sent.told["data"]) == ("webhook.test", {"endpoint": endpoint.id})


# What is refused


@pytest.mark.parametrize(
    "fields", [{"events": []}, {"events": ["job.begun"]}, {"description": "x" * 257}, {"description": "a\nb"}]
)
async def test_a_wrong_field_is_named(fields: dict[str, Any]) -> None:
    async with bench() as b:
        with pytest.raises(InvalidOption, match=next(iter(fields))):
            await b.sender.endpoints.register("", URL, **fields)


async def test_a_url_is_judged_when_it_is_registered_and_when_it_is_changed() -> None:
    async with bench() as b:
        with pytest.raises(UrlRejected):
            await b.sender.endpoints.register("", "https://127.0.0.1/cb")
        endpoint = await b.sender.endpoints.register("", URL)
        with pytest.raises(UrlRejected):
            await b.sender.endpoints.change("", endpoint.id, url="http://hooks.example.com/")


async def test_secrets_are_new_and_well_formed() -> None:
    async with bench() as b:
        endpoints = [await b.sender.endpoints.register("", URL) for _ in range(3)]
        assert len({Secret.parse(one.secrets[0]).key for one in endpoints}) == 3
        assert len({one.id for one in endpoints}) == 3


async def test_an_owner_has_so_many_endpoints_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncinfer.adapters.webhook._endpoints.MOST_ENDPOINTS", 3)
    async with bench() as b:
        endpoints = b.sender.endpoints
        several = await asyncio.gather(*(endpoints.register("", URL) for _ in range(6)), return_exceptions=True)
        assert {type(one) for one in several if isinstance(one, Exception)} == {TooManyEndpoints}
        assert len(await endpoints.list("")) <= 3
        while len(await endpoints.list("")) < 3:
            await endpoints.register("", URL)
        with pytest.raises(TooManyEndpoints, match="delete one"):
            await endpoints.register("", URL)
        await endpoints.register("bob", URL)

        await endpoints.delete("", (await endpoints.list(""))[0].id)
        await endpoints.register("", URL)


class Broken(Signer):
    """A signer that cannot."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs

    async def sign(self, message: bytes) -> str:
        if self.hangs:
            await asyncio.Event().wait()
        raise ConnectionError("https://kms.example.com/?token=hush")


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_signer_that_fails_is_named_and_nothing_is_sent(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncinfer.adapters.webhook._endpoints.SIGNING_SECONDS", 0.05)
    async with bench(signers=[Broken(hangs=hangs)]) as b:
        endpoint = await b.sender.endpoints.register("", URL, proof="challenge")
        for sending in (b.sender.endpoints.test, b.sender.endpoints.prove):
            with pytest.raises(SigningFailed, match="TimeoutError" if hangs else "ConnectionError") as raised:
                await sending("", endpoint.id)
            assert "hush" not in str(raised.value)
        assert not b.receivers.sent
