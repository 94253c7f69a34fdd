"""The proof `cloudevents`: a real receiver on the loopback is asked by OPTIONS, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import pytest
from standardwebhooks import Webhook

from asyncinfer import JobManager
from asyncinfer.adapters.webhook import Endpoints, Guard, NotProven, Secret, Transport, WebhookSender
from asyncinfer.adapters.webhook._registered import state_of
from asyncinfer.errors import InvalidOption
from tests.adapters.webhook.sending import URL, bench, echo
from tests.faults.harness.waiting import until
from tests.faults.harness.webhook_receiver import Behaviour, Receiver, Request, answering, receiving

BASE = "https://API.example.com:8443/inference"
ORIGIN = "api.example.com"


def granting(*lines: str, status: str = "200 OK") -> Behaviour:
    """Answer OPTIONS with these headers, and all else with 204."""

    async def behave(request: Request) -> None:
        is_asked = request.head.startswith(b"OPTIONS ")
        head = "\r\n".join([f"HTTP/1.1 {status}", *lines] if is_asked else ["HTTP/1.1 204 No Content"])
        await request.send(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())

    return behave


@asynccontextmanager
async def asking(behave: Behaviour, *, base: str = BASE) -> AsyncGenerator[tuple[WebhookSender, Receiver, str]]:
    async with receiving(behave) as receiver, JobManager("memory://", models=[echo]) as manager:
        guard = Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[receiver.port])
        async with WebhookSender(manager, secret=Secret.new(), guard=guard, public_base_url=base) as sender:
            yield sender, receiver, f"http://127.0.0.1:{receiver.port}/cb?token=x"


@pytest.mark.parametrize("allowed", [ORIGIN, "*", "API.example.com"])
async def test_an_endpoint_that_allows_the_sender_is_enabled_and_told_who_sends(allowed: str) -> None:
    async with asking(granting(f"WebHook-Allowed-Origin: {allowed}", "WebHook-Allowed-Rate: 5")) as (sender, to, url):
        endpoint = await sender.endpoints.register("", url, proof="cloudevents")
        assert not endpoint.is_enabled
        with pytest.raises(NotProven):
            await sender.endpoints.change("", endpoint.id, is_enabled=True)
        proven = await sender.endpoints.prove("", endpoint.id)
        await (await sender.manager.submit(echo.options(webhook=endpoint.id), "hello"))
        await until(lambda: len(to.requests) == 2, 10, what="the ending is sent")
        await sender.endpoints.test("", endpoint.id)

        assert (proven.is_enabled, state_of(proven).is_verified) == (True, True)
        asked, ended, tested = to.requests
        assert (asked.head.split(b" ")[0], asked.path, asked.body) == (b"OPTIONS", "/cb?token=x", b"")
        assert "webhook-request-callback" not in asked.headers
        # The specification, section 4.1.2: each delivery names the sender as the handshake did.
        assert [one.headers["webhook-request-origin"] for one in to.requests] == [ORIGIN] * 3
        for request in (ended, tested):
            Webhook(endpoint.secrets[0]).verify(request.body, request.headers)


@pytest.mark.parametrize(
    "behave",
    [
        granting(),
        granting("WebHook-Allowed-Origin: other.example.com"),
        granting("WebHook-Allowed-Origin: evil-api.example.com"),
        granting("WebHook-Allowed-Origin: api.example.com.evil.example"),
        granting("WebHook-Allowed-Origin: api.example.com, *"),
        granting("WebHook-Allowed-Origin: *.example.com"),
        granting("WebHook-Allowed-Origin:"),
        granting("WebHook-Allowed-Origin: *", status="405 Method Not Allowed"),
        granting("WebHook-Allowed-Origin: *", "Location: /", status="302 Found"),
        answering(b"no HTTP"),
        answering(b""),
    ],
)
async def test_anything_else_is_no_leave(behave: Behaviour) -> None:
    async with asking(behave) as (sender, to, url):
        endpoint = await sender.endpoints.register("", url, proof="cloudevents")
        with pytest.raises(NotProven, match=ORIGIN):
            await sender.endpoints.prove("", endpoint.id)

        assert not (await sender.endpoints.get("", endpoint.id)).is_enabled
        assert len(to.requests) == 1


@pytest.mark.parametrize("base", ["", "/inference", "https://", "https://a b/", "http://[", "https://ü.example/"])
async def test_a_sender_without_a_name_is_refused_before_anything_is_sent(base: str) -> None:
    async with asking(granting("WebHook-Allowed-Origin: *"), base=base) as (sender, to, url):
        with pytest.raises(InvalidOption, match=r"^proof: .*public_base_url"):
            await sender.endpoints.register("", url, proof="cloudevents")

        assert not await sender.endpoints.list("")
        assert not to.requests


async def test_at_a_new_url_leave_is_asked_for_again_and_the_name_told_to_nobody_meanwhile() -> None:
    async with asking(granting("WebHook-Allowed-Origin: *")) as (sender, to, url):
        endpoint = await sender.endpoints.register("", url, proof="cloudevents")
        await sender.endpoints.prove("", endpoint.id)
        moved = await sender.endpoints.change("", endpoint.id, url=f"{url}&elsewhere")
        assert (moved.is_enabled, state_of(moved).is_verified) == (False, False)
        await sender.endpoints.test("", endpoint.id)
        assert "webhook-request-origin" not in to.requests[-1].headers
        assert (await sender.endpoints.prove("", endpoint.id)).is_enabled


async def test_those_that_did_not_ask_for_it_are_not_told_who_sends() -> None:
    async with bench(public_base_url=BASE) as b:
        endpoint = await b.sender.endpoints.register("", URL)
        await b.end(webhook=endpoint.id)
        await b.end()
        await b.clock.advance(1)

        assert len(b.receivers.sent) == 2
        assert not any("webhook-request-origin" in sent.headers for sent in b.receivers.sent)


class Moving:
    """Finds a host at a public address first, and then where no webhook may go."""

    def __init__(self) -> None:
        self.asked = 0

    async def resolve(self, host: str) -> list[IPv4Address]:
        self.asked += 1
        return [IPv4Address("93.184.216.34" if self.asked == 1 else "127.0.0.1")]


@pytest.mark.parametrize("proof", ["cloudevents", "challenge"])
async def test_the_handshake_opens_no_socket_to_an_address_that_is_refused_by_then(proof: str) -> None:
    async with receiving(granting("WebHook-Allowed-Origin: *")) as receiver, JobManager("memory://") as manager:
        resolver = Moving()
        guard = Guard(resolver=resolver, allow_http=True, ports=[receiver.port])
        async with Transport(guard) as transport:
            endpoints = Endpoints(manager, guard, transport, public_base_url=BASE)
            url = f"http://hooks.example.com:{receiver.port}/cb"
            endpoint = await endpoints.register("", url, proof="cloudevents" if proof == "cloudevents" else "challenge")
            with pytest.raises(NotProven):
                await endpoints.prove("", endpoint.id)

        assert (resolver.asked, receiver.connections) == (2, 0)


async def test_canary_where_the_guard_allows_it_the_same_handshake_arrives() -> None:
    async with receiving(granting("WebHook-Allowed-Origin: *")) as receiver, JobManager("memory://") as manager:
        guard = Guard(resolver=Moving(), allow_http=True, ports=[receiver.port], allowed_networks=["127.0.0.0/8"])
        async with Transport(guard) as transport:
            endpoints = Endpoints(manager, guard, transport, public_base_url=BASE)
            url = f"http://hooks.example.com:{receiver.port}/cb"
            endpoint = await endpoints.register("", url, proof="cloudevents")
            assert (await endpoints.prove("", endpoint.id)).is_enabled

        assert receiver.connections == 1
