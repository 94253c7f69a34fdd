"""One request to one receiver: what it is told, and what comes of it."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
from collections.abc import Sequence
from email.utils import formatdate

import pytest
import trustme
from httpcore import LocalProtocolError

from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._network import READ_BYTES
from asyncinfer.adapters.webhook._response import Kind, seconds_of
from asyncinfer.adapters.webhook._transport import Transport
from asyncinfer.errors import InvalidOption
from tests.faults.harness.webhook_network import Answer, CountingNetwork, ToldResolver
from tests.faults.harness.webhook_receiver import OK, Behaviour, Receiver, Request, answer_ok, answering, receiving

PUBLIC = "93.184.216.34"
URL = "https://hooks.example.com/cb?x=1"
HEADERS = {"content-type": "application/json", "webhook-id": "msg_1"}
BODY = b'{"type":"job.succeeded"}'
KNOWS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What a test without TLS hands over: the default one takes its time."""


class Authority:
    """A private certificate authority that both sides of a test know."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self.trusting = ssl.create_default_context()
        self._ca.configure_trust(self.trusting)  # pyright: ignore[reportUnknownMemberType]  or pyOpenSSL's, absent here

    def serving(self, *hosts: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*hosts).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def guard_told(*answers: Answer, **others: Sequence[Answer]) -> Guard:
    """A guard for whom names are where the test says, and http is as good as https."""
    hosts = {"hooks.example.com": answers, **{f"{name}.example.com": told for name, told in others.items()}}
    return Guard(allow_http=True, resolver=ToldResolver(hosts))


def to(receiver: Receiver, *answers: Answer, total_seconds: float = 5, **others: Sequence[Answer]) -> Transport:
    """A transport whose sockets end at the receiver, whatever public address they were opened to."""
    guard = guard_told(*(answers or ([PUBLIC],)), **others)
    network = CountingNetwork(receiver.port)
    return Transport(guard, total_seconds=total_seconds, ssl_context=KNOWS_NOBODY, network=network)


# What the receiver sees


async def test_the_connection_goes_to_the_checked_address_under_the_name_of_the_host(authority: Authority) -> None:
    names: list[str | None] = []
    tls = authority.serving("hooks.example.com")
    tls.sni_callback = lambda connection, name, context: names.append(name)
    async with receiving(tls=tls) as receiver:
        network = CountingNetwork(receiver.port)
        async with Transport(guard_told([PUBLIC]), ssl_context=authority.trusting, network=network) as transport:
            response = await transport.post(URL, HEADERS, BODY)

    (request,) = receiver.requests
    assert (response.kind, response.status, response.body) == ("delivered", 200, b"ok")
    assert network.opened == [(PUBLIC, 443)]
    assert names == ["hooks.example.com"]
    assert request.head.startswith(b"POST /cb?x=1 HTTP/1.1\r\n")
    assert request.body == BODY
    assert request.headers == {
        "host": "hooks.example.com",
        "content-length": str(len(BODY)),
        "accept-encoding": "identity",
        "user-agent": "asyncinfer-webhook",
        **HEADERS,
    }


async def test_the_transports_own_headers_are_not_the_callers() -> None:
    async with receiving() as receiver, to(receiver) as transport:
        await transport.post("http://hooks.example.com/", {"Host": "evil.example", "Content-Length": "0"}, BODY)

    (request,) = receiver.requests
    assert request.headers["host"] == "hooks.example.com"
    assert request.body == BODY


async def test_a_header_that_would_split_the_request_is_the_callers_mistake() -> None:
    async with receiving() as receiver, to(receiver) as transport:
        with pytest.raises(LocalProtocolError):
            await transport.post("http://hooks.example.com/", {"webhook-id": "a\r\nx: y"}, BODY)

    assert receiver.requests == []


async def test_a_handshake_asks_with_options_and_reads_the_allowed_origin() -> None:
    answer = b"HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: eventemitter.example.com\r\nContent-Length: 0\r\n\r\n"
    async with receiving(answering(answer)) as receiver, to(receiver) as transport:
        response = await transport.options("http://hooks.example.com/", {"webhook-request-origin": "us.example"})

    assert receiver.requests[0].head.startswith(b"OPTIONS / HTTP/1.1")
    assert response.allowed_origin == "eventemitter.example.com"


async def test_the_environments_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver, to(receiver) as transport:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert (proxy.connections, receiver.connections) == (0, 1)


async def test_a_cookie_is_not_given_back() -> None:
    async def behave(request: Request) -> None:
        await request.send(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n", 1))

    async with receiving(behave) as receiver, to(receiver) as transport:
        for _ in range(2):
            await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert "cookie" not in receiver.requests[1].headers


# What comes of it


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("200 OK", "delivered"),
        ("202 Accepted", "delivered"),
        ("204 No Content", "delivered"),
        ("299 So So", "delivered"),
        ("300 Choices", "redirect"),
        ("301 Moved\r\nLocation: http://169.254.169.254/", "redirect"),
        ("304 Not Modified", "redirect"),
        ("307 Temporary\r\nLocation: /", "redirect"),
        ("400 Bad", "status"),
        ("410 Gone", "status"),
        ("500 No", "status"),
        ("999 What", "status"),
    ],
)
async def test_the_status_decides(line: str, kind: Kind) -> None:
    async with receiving(answering(f"HTTP/1.1 {line}\r\n\r\n".encode())) as receiver, to(receiver) as transport:
        response = await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert (response.kind, response.status) == (kind, int(line[:3]))
    assert response.is_delivered == (kind == "delivered")
    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("data", "kind", "detail"),
    [
        (b"", "connect", "the connection broke before an answer"),
        (b"HTTP/1.1 200 O", "connect", "the connection broke before an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "status", "what came is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "status", "what came is not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "status", "what came is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "status", "no HTTP answer in the first 64 KiB"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3_000, "status", "no HTTP answer in the first 64 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "delivered", ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "delivered", ""),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000, "delivered", ""),
        (b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 70_000, "status", ""),
    ],
)
async def test_an_answer_that_is_none_is_told_from_one_that_is(data: bytes, kind: Kind, detail: str) -> None:
    async with receiving(answering(data)) as receiver, to(receiver) as transport:
        response = await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert (response.kind, response.detail) == (kind, detail)
    assert len(response.body) <= 64 * 1024


async def test_an_answer_that_is_hard_to_parse_lets_others_have_their_turn(authority: Authority) -> None:
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(0)
            await asyncio.sleep(0)

    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 8_000
    async with receiving(answering(chunks), authority.serving("hooks.example.com")) as receiver:
        network = CountingNetwork(receiver.port)
        async with Transport(guard_told([PUBLIC]), ssl_context=authority.trusting, network=network) as transport:
            await transport.post(URL, HEADERS, BODY)
            beside = asyncio.create_task(others())
            response = await transport.post(URL, HEADERS, BODY)
            beside.cancel()

    assert len(response.body) == 8_000
    assert len(turns) >= len(chunks) / READ_BYTES


async def test_an_encoded_body_is_left_encoded() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with receiving(answering(head + bomb)) as receiver, to(receiver) as transport:
        response = await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert response.is_delivered
    assert response.body == bomb


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("120", None, 120.0),
        ("0", None, 0.0),
        (None, None, None),
        ("-1", None, None),
        ("1.5", None, None),
        ("9" * 400, None, None),
        ("soon", formatdate(0, usegmt=True), None),
        (formatdate(90, usegmt=True), formatdate(30, usegmt=True), 60.0),
        (formatdate(30, usegmt=True), formatdate(90, usegmt=True), 0.0),
        (formatdate(90, usegmt=True), None, None),
        (formatdate(90, usegmt=True), "Thu, 01 Jan 1970 00:00:30 -0000", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_beside_that_of_the_answer(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    assert seconds_of(value, date) == seconds


async def test_a_receiver_may_ask_for_time() -> None:
    answer = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    async with receiving(answering(answer)) as receiver, to(receiver) as transport:
        response = await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert (response.kind, response.status, response.retry_after) == ("status", 429, 7.0)


async def never(request: Request) -> None:
    await asyncio.Event().wait()


async def head_only(request: Request) -> None:
    await request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("behave", "answer", "kind"),
    [(never, [PUBLIC], "timeout"), (head_only, [PUBLIC], "delivered"), (answer_ok, None, "dns")],
)
async def test_one_deadline_holds_for_look_up_and_answer(behave: Behaviour, answer: Answer, kind: Kind) -> None:
    async with receiving(behave) as receiver, to(receiver, answer, total_seconds=0.1) as transport:
        began = time.monotonic()
        response = await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert response.kind == kind
    assert 0.1 <= time.monotonic() - began <= 1.1
    assert 100 <= response.latency <= 1_100


@pytest.mark.parametrize(
    ("url", "answer", "kind", "detail"),
    [
        ("http://10.0.0.7/", [], "blocked", "address"),
        ("ftp://hooks.example.com/", [], "blocked", "scheme"),
        ("http://hooks.example.com/", [PUBLIC, "10.0.0.7"], "blocked", "address"),
        ("http://hooks.example.com/", [], "dns", "dns"),
    ],
)
async def test_a_refused_url_opens_no_socket(url: str, answer: Answer, kind: Kind, detail: str) -> None:
    network = CountingNetwork()
    async with Transport(guard_told(answer), network=network) as transport:
        response = await transport.post(url, HEADERS, BODY)

    assert (response.kind, response.detail) == (kind, detail)
    assert network.opened == []


async def test_the_next_address_is_tried_and_no_more_than_three() -> None:
    places = [f"93.184.216.{number}" for number in range(1, 6)]
    async with receiving() as receiver:
        for unreachable, kind, tried in ((places[:2], "delivered", 3), (places[:3], "connect", 3)):
            network = CountingNetwork(receiver.port, unreachable=unreachable)
            async with Transport(guard_told(places), network=network) as transport:
                response = await transport.post("http://hooks.example.com/", HEADERS, BODY)
            assert response.kind == kind
            assert network.opened == [(place, 80) for place in places[:tried]]


# Certificates


@pytest.mark.parametrize(
    ("names", "url", "kind"),
    [
        (["hooks.example.com"], "https://hooks.example.com/", "delivered"),
        (["other.example.com"], "https://hooks.example.com/", "tls"),
        ([PUBLIC], "https://hooks.example.com/", "tls"),
        ([PUBLIC], f"https://{PUBLIC}/", "delivered"),
        (["2606:4700:4700::1111"], "https://[2606:4700:4700::1111]/", "delivered"),
        (["xn--bcher-kva.example"], "https://bücher.example/", "delivered"),
    ],
)
async def test_a_certificate_has_to_be_the_hosts(names: list[str], url: str, kind: Kind, authority: Authority) -> None:
    resolver = ToldResolver({}, others=[PUBLIC])
    async with receiving(tls=authority.serving(*names)) as receiver:
        network = CountingNetwork(receiver.port)
        async with Transport(Guard(resolver=resolver), ssl_context=authority.trusting, network=network) as transport:
            response = await transport.post(url, HEADERS, BODY)

    assert response.kind == kind
    assert len(receiver.requests) == (kind == "delivered")


async def test_an_authority_that_nobody_knows_is_not_trusted(authority: Authority) -> None:
    async with receiving(tls=authority.serving("hooks.example.com")) as receiver, to(receiver) as transport:
        response = await transport.post(URL, HEADERS, BODY)

    assert response.kind == "tls"
    assert response.detail.startswith("certificate: ")
    assert PUBLIC not in response.detail


def test_a_context_that_does_not_verify_is_refused() -> None:
    lax = ssl.create_default_context()
    lax.check_hostname = False
    none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    none.check_hostname = False
    none.verify_mode = ssl.CERT_NONE
    for context in (lax, none):
        with pytest.raises(InvalidOption, match="ssl_context"):
            Transport(Guard(), ssl_context=context)


# Kept connections


async def test_a_connection_is_kept_for_the_same_host_at_the_same_addresses() -> None:
    async with receiving() as receiver, to(receiver, [PUBLIC, "1.1.1.1"], ["1.1.1.1", PUBLIC]) as transport:
        for _ in range(3):
            await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert (receiver.connections, len(receiver.requests)) == (1, 3)


async def test_a_connection_is_not_kept_for_other_addresses() -> None:
    async with receiving() as receiver, to(receiver, [PUBLIC], [PUBLIC, "1.1.1.1"], ["1.1.1.1"]) as transport:
        for _ in range(3):
            await transport.post("http://hooks.example.com/", HEADERS, BODY)

    assert receiver.connections == 3


async def test_a_connection_is_never_used_for_another_host_at_the_same_address(authority: Authority) -> None:
    guard = guard_told([PUBLIC], other=[[PUBLIC]])
    async with receiving(tls=authority.serving("hooks.example.com")) as receiver:
        network = CountingNetwork(receiver.port)
        async with Transport(guard, ssl_context=authority.trusting, network=network) as transport:
            kinds = [
                (await transport.post(url, HEADERS, BODY)).kind for url in (URL, "https://other.example.com/", URL)
            ]

    assert kinds == ["delivered", "tls", "delivered"]
    assert len(network.opened) == 2


async def test_a_kept_connection_is_not_used_once_the_host_is_refused() -> None:
    async with receiving() as receiver, to(receiver, [PUBLIC], ["10.0.0.7"]) as transport:
        kinds = [(await transport.post("http://hooks.example.com/", HEADERS, BODY)).kind for _ in range(2)]

    assert kinds == ["delivered", "blocked"]
    assert len(receiver.requests) == 1


async def test_a_request_on_a_kept_connection_that_the_receiver_closed_is_sent_again() -> None:
    async def closes_without_a_word(request: Request) -> None:
        if len(receiver.requests) % 2:
            await request.send(OK)
        else:
            request.writer.close()

    async with receiving(closes_without_a_word) as receiver, to(receiver) as transport:
        kinds = [(await transport.post("http://hooks.example.com/", HEADERS, BODY)).kind for _ in range(3)]

    assert kinds == ["delivered"] * 3
    assert (receiver.connections, len(receiver.requests)) == (3, 5)


async def test_what_was_kept_is_closed_at_the_end() -> None:
    ended = asyncio.Event()

    async def behave(request: Request) -> None:
        await request.send(OK)
        if await request.reader.read() == b"":
            ended.set()

    async with receiving(behave) as receiver:
        transport = to(receiver)
        await transport.post("http://hooks.example.com/", HEADERS, BODY)
        assert not ended.is_set()
        await transport.close()
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_canceled_request_leaves_no_connection(authority: Authority) -> None:
    async with receiving(never) as receiver, to(receiver) as transport:
        for seconds in (0.0, 0.001, 0.05):
            posting = asyncio.create_task(transport.post("http://hooks.example.com/", HEADERS, BODY))
            await asyncio.sleep(seconds)  # until it is somewhere on its way
            posting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await posting
        assert transport._pools._entries == {}


# The egress proxy


async def test_an_egress_proxy_is_asked_to_connect_to_the_name(authority: Authority) -> None:
    asked: list[tuple[bytes, str | None]] = []

    async def tunnels(request: Request) -> None:
        asked.append((request.head.partition(b"\r\n")[0], request.headers.get("proxy-authorization")))
        await request.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        await request.writer.start_tls(authority.serving("hooks.example.com"))
        await request.reader.readuntil(b"\r\n\r\n")
        await request.reader.readexactly(len(BODY))
        await request.send(OK)

    async with receiving(tunnels) as proxy:
        guard = Guard(egress_proxy=f"http://user:pass@127.0.0.1:{proxy.port}", resolver=ToldResolver({}))
        async with Transport(guard, ssl_context=authority.trusting) as transport:
            response = await transport.post(URL, HEADERS, BODY)
            blocked = await transport.post("https://10.0.0.7/", HEADERS, BODY)

    assert (response.kind, response.body) == ("delivered", b"ok")
    assert blocked.kind == "blocked"
    assert asked == [(b"CONNECT hooks.example.com:443 HTTP/1.1", "Basic dXNlcjpwYXNz")]


async def test_a_proxy_that_refuses_is_no_connection() -> None:
    async with receiving(answering(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")) as proxy:
        guard = Guard(egress_proxy=f"http://127.0.0.1:{proxy.port}", resolver=ToldResolver({}))
        async with Transport(guard) as transport:
            response = await transport.post(URL, HEADERS, BODY)

    assert (response.kind, response.detail) == ("connect", "the egress proxy refused to connect")
