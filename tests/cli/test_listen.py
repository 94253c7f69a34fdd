"""`asyncinfer listen`: what it answers to webhooks, what it shows of them, how it ends."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from asyncinfer.adapters.webhook import Ed25519Signer, PrivateKey, Secret, signed_headers
from asyncinfer.cli._webhook_receiver import MAX_BODY_BYTES
from tests.cli.background import Background, Running
from tests.cli.conftest import Asyncinfer

SECRET = Secret.new().reveal()
BODY = '{"type":"job.succeeded","timestamp":"2026-11-24T12:00:00Z","data":{"id":"job_1"}}'


def signed(body: str, secret: str = SECRET, *, name: str = "msg_1") -> Mapping[str, str]:
    """Return the headers of a webhook, signed by the reference library."""
    at = datetime.fromtimestamp(int(time.time()), UTC)
    signature = Webhook(secret).sign(name, at, body)
    return {"webhook-id": name, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


class Listener:
    """A running `asyncinfer listen`."""

    def __init__(self, running: Running, client: httpx.AsyncClient) -> None:
        self.running = running
        self.client = client

    async def post(self, body: str, headers: Mapping[str, str], path: str = "/hooks?a=1") -> httpx.Response:
        return await self.client.post(path, content=body, headers=headers)

    async def told(self) -> Any:
        return await self.running.told()


@pytest.fixture
async def listener(background: Background) -> AsyncIterator[Listener]:
    async with background("listen", "--json", "--secret", SECRET) as running:
        url: str = (await running.told())["url"]
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield Listener(running, client)


async def test_a_signed_webhook_is_told_and_answered(listener: Listener) -> None:
    answer = await listener.post(BODY, signed(BODY))

    told = await listener.told()
    assert (answer.status_code, answer.content) == (200, b"")
    assert (told["kind"], told["is_verified"], told["id"], told["path"]) == ("webhook", True, "msg_1", "/hooks?a=1")
    assert (told["body"]["data"], told["is_repeated"], told["why"]) == ({"id": "job_1"}, False, None)


async def test_what_another_secret_signed_is_told_and_refused(listener: Listener) -> None:
    answer = await listener.post(BODY, signed(BODY, Secret.new().reveal()))

    told = await listener.told()
    assert (answer.status_code, told["is_verified"]) == (401, False)
    assert "no signature is by any" in told["why"]


async def test_a_webhook_that_comes_twice_is_known_by_its_id(listener: Listener) -> None:
    for name in ("msg_1", "msg_2", "msg_1"):
        await listener.post(BODY, signed(BODY, name=name))

    assert [(await listener.told())["is_repeated"] for _ in range(3)] == [False, False, True]


async def test_a_challenge_is_echoed_to_who_has_the_secret(listener: Listener) -> None:
    body = '{"type":"webhook.verification","data":{"challenge":"c-1"}}'

    answer = await listener.post(body, signed(body))
    refused = await listener.post(body, {"webhook-id": "msg_1"})

    assert (answer.json(), refused.status_code) == ({"challenge": "c-1"}, 401)


@pytest.mark.parametrize("is_binary", [False, True])
async def test_cloud_events_are_told_and_their_challenge_echoed(listener: Listener, is_binary: bool) -> None:
    event, data = "asyncinfer.webhook.verification", '{"challenge":"c-1","endpoint":"wh_1"}'
    body = data if is_binary else f'{{"specversion":"1.0","type":"{event}","data":{data}}}'
    headers = {"ce-type": event} if is_binary else {"content-type": "application/cloudevents+json"}

    answer = await listener.post(body, {**signed(body), **headers})

    told = await listener.told()
    assert (answer.json(), told["event"], told["is_verified"]) == ({"challenge": "c-1"}, "webhook.verification", True)


async def test_the_handshake_of_cloud_events_is_answered(listener: Listener) -> None:
    answer = await listener.client.options("/hooks", headers={"WebHook-Request-Origin": "api.example.com"})

    assert (answer.status_code, answer.headers["allow"]) == (200, "POST")
    assert answer.headers["webhook-allowed-origin"] == "api.example.com"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert (await listener.client.options("/hooks")).status_code == 405


async def test_a_body_that_is_too_large_is_not_kept(listener: Listener) -> None:
    body = "a" * (MAX_BODY_BYTES + 1)

    assert (await listener.post(body, signed(body))).status_code == 413
    assert (await listener.post(BODY, signed(BODY))).status_code == 200
    assert (await listener.told())["id"] == "msg_1"


async def test_only_posts_are_webhooks(listener: Listener) -> None:
    assert (await listener.client.get("/")).status_code == 405


async def test_a_secret_is_made_and_printed_where_none_is_given(background: Background) -> None:
    async with background("listen") as running:
        word, _, url = (await running.line()).partition(" ")
        name, _, secret = (await running.line()).partition(" ")
        async with httpx.AsyncClient(base_url=url) as client:
            answer = await client.post("/", content=BODY, headers=signed(BODY, secret))

        assert (word, name, answer.status_code) == ("listening", "secret", 200)
        assert "job.succeeded  verified  msg_1  /" in await running.line()


async def test_secrets_come_from_the_environment_and_are_not_printed(background: Background) -> None:
    old = Secret.new().reveal()
    async with background("listen", "--json", ASYNCINFER_WEBHOOK_SECRET=f"{SECRET} {old}") as running:
        url: str = (await running.told())["url"]
        async with httpx.AsyncClient(base_url=url) as client:
            answers = [await client.post("/", content=BODY, headers=signed(BODY, secret)) for secret in (SECRET, old)]
        await running.told()
        await running.told()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert not any(SECRET in line or old in line for line in running.printed)


async def test_a_senders_public_key_stands_for_a_secret(background: Background) -> None:
    key = PrivateKey.new()
    headers = await signed_headers("msg_1", int(time.time()), BODY.encode(), [Ed25519Signer(key)])
    async with background("listen", "--json", "--secret", str(key.public())) as running:
        url: str = (await running.told())["url"]
        async with httpx.AsyncClient(base_url=url) as client:
            answer = await client.post("/", content=BODY, headers=headers)

    assert answer.status_code == 200


async def test_what_anybody_sends_does_not_move_the_cursor(background: Background) -> None:
    async with background("listen") as running:
        url = (await running.line()).partition(" ")[2]
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post("/", content=b'\x1b[2J{"type":"\x1b[2J"}', headers={"webhook-id": "a\tb"})
        for _ in range(3):
            await running.line()

    assert "NOT verified" in running.printed[2]
    assert not any("\x1b" in line or "\t" in line for line in running.printed)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it(listener: Listener, stop: signal.Signals) -> None:
    assert await listener.running.ended(stop) == (0, "")


def test_a_secret_that_is_none_is_refused_and_not_shown(asyncinfer: Asyncinfer) -> None:
    done = asyncinfer("listen", "--secret", "whsec_hush")

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "hush" not in done.stderr
