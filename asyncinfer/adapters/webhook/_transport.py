"""Send one request to one receiver, hostile or not, and say in time what came of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, final

from httpcore import URL, AnyIOBackend, AsyncConnectionPool, AsyncNetworkBackend, Proxy, default_ssl_context

from asyncinfer.adapters.webhook._addresses import Address
from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._network import ANSWER_BYTES, CheckedNetwork
from asyncinfer.adapters.webhook._pools import KEPT_PER_HOST, KEPT_SECONDS, Pools
from asyncinfer.adapters.webhook._response import (
    NETWORK_FAILURES,
    Kind,
    Response,
    kind_of_failure,
    kind_of_status,
    seconds_of,
)
from asyncinfer.adapters.webhook._targets import Target
from asyncinfer.adapters.webhook._url_rejected import UrlRejected
from asyncinfer.errors import InvalidOption

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "user-agent"})


@dataclass(slots=True)
class _Progress:
    """How far an attempt has come: when its time is up, this is what there is to tell."""

    is_looked_up: bool = False
    is_connection_new: bool = False
    status: int | None = None
    headers: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    body: bytearray = field(default_factory=bytearray)

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1").strip()

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:  # Any: httpcore's own
        if name == "connection.connect_tcp.started":
            self.is_connection_new = True


@final
class Transport:
    """Sends to where `guard` lets it, by HTTP/1.1: no redirects, cookies, encodings, nor proxies of the environment.

    Nothing a receiver does takes longer than `total_seconds`, the look-up of its host included, or more memory than
    64 KiB of answer. `ssl_context` is for a private certificate authority; one that does not verify is refused, and no
    endpoint has a setting of its own. `network` is where sockets come from; it is given literal addresses only.

    A connection is kept for 15 s for the next request to the same host, while the host's look-up gives the same
    addresses; `close`, or leaving its context, closes all that is kept. Raises InvalidOption.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        network: AsyncNetworkBackend | None = None,
    ) -> None:
        self._guard = guard
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._ssl_context = _verifying(ssl_context)
        self._network: AsyncNetworkBackend = network or AnyIOBackend()
        self._pools = Pools(self._new_network, self._new_pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are kept. Requests still running close theirs when they end."""
        await self._pools.close_idle(kept_seconds=0)

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Post these bytes to the URL and return what came of it; nothing the receiver does is raised.

        The URL's form and every address of its host are judged now, whenever they were before. `headers` go out as they
        are, except for those that are the transport's own: Host, lengths, encodings, Connection, User-Agent.
        """
        return await self._send("POST", target, headers, body)

    async def options(self, target: str, headers: Mapping[str, str]) -> Response:
        """Ask with OPTIONS, as the handshake of CloudEvents does; all else is as with `post`."""
        return await self._send("OPTIONS", target, headers, b"")

    async def close_idle(self) -> None:
        """Close connections that were kept long enough.

        Every request does so too; this is for when none comes. A running `WebhookSender` calls it now and then.
        """
        await self._pools.close_idle()

    async def _send(
        self, method: Literal["POST", "OPTIONS"], url: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        began_at = time.monotonic()
        progress = _Progress()
        kind: Kind = "timeout"
        detail = ""
        try:
            async with asyncio.timeout(self._total_seconds):
                target = self._guard.read(url)
                addresses = await self._guard.addresses(target)
                progress.is_looked_up = True
                await self._exchange(method, target, addresses, _request_headers(target, headers, body), body, progress)
        except TimeoutError:
            kind, detail = ("timeout", "no answer in time") if progress.is_looked_up else ("dns", "no look-up in time")
        except (UrlRejected, *NETWORK_FAILURES) as error:
            kind, detail = kind_of_failure(error)
        if progress.status is not None:
            kind, detail = kind_of_status(progress.status), ""
        return Response(
            kind=kind,
            status=progress.status,
            retry_after=seconds_of(progress.header(b"retry-after"), progress.header(b"date")),
            allowed_origin=progress.header(b"webhook-allowed-origin"),
            body=bytes(progress.body),
            latency=round(1_000 * (time.monotonic() - began_at)),
            detail=detail,
        )

    async def _exchange(
        self,
        method: str,
        target: Target,
        addresses: Sequence[Address],
        headers: Sequence[tuple[str, str]],
        body: bytes,
        progress: _Progress,
    ) -> None:
        """Send the request, and send it again if it met a kept connection that the receiver has closed meanwhile.

        Each round takes one kept connection out of the pool, so the last one is on a new connection. A receiver may see
        the request twice, with the same id: as it may in any case.
        """
        async with self._pools.lend(target, addresses) as pool:
            while True:
                try:
                    return await self._exchange_once(pool, method, target, headers, body, progress)
                except NETWORK_FAILURES:
                    if progress.is_connection_new or progress.status is not None:
                        raise

    async def _exchange_once(
        self,
        pool: AsyncConnectionPool,
        method: str,
        target: Target,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        progress: _Progress,
    ) -> None:
        url = URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        extensions = {"trace": progress.trace}
        async with pool.stream(method, url, headers=headers, content=body, extensions=extensions) as answer:
            progress.headers = {name.lower(): value for name, value in answer.headers}
            progress.status = answer.status
            async for piece in answer.aiter_stream():
                progress.body += piece

    def _new_network(self, addresses: Sequence[Address]) -> CheckedNetwork:
        return CheckedNetwork(
            self._network, addresses, connect_seconds=self._connect_seconds, answer_bytes=ANSWER_BYTES
        )

    def _new_pool(self, network: CheckedNetwork) -> AsyncConnectionPool:
        return AsyncConnectionPool(
            ssl_context=self._ssl_context,
            proxy=self._proxy(),
            max_connections=None,  # bounded by who calls
            max_keepalive_connections=KEPT_PER_HOST,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=network,
        )

    def _proxy(self) -> Proxy | None:
        proxy = self._guard.egress_proxy
        if proxy is None:
            return None
        url = URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/")
        return Proxy(url, proxy.auth, ssl_context=self._ssl_context if proxy.scheme == "https" else None)


def _request_headers(target: Target, headers: Mapping[str, str], body: bytes) -> Sequence[tuple[str, str]]:
    return [
        ("host", target.authority),
        ("content-length", str(len(body))),
        ("accept-encoding", "identity"),
        ("user-agent", "asyncinfer-webhook"),
        *((name, value) for name, value in headers.items() if name.lower() not in _OWN_HEADERS),
    ]


def _verifying(context: ssl.SSLContext | None) -> ssl.SSLContext:
    if context is None:
        return default_ssl_context()
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise InvalidOption("ssl_context: expected one that verifies certificates and host names")
    return context
