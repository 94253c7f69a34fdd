"""The only file that speaks HTTP: it does what the flows ask for, through httpx (or httpx2, whose API is the same)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, TypeAlias

import httpx

from asyncinfer.client._exchange import Answer, Effect, Failure, Read, Request, Send, Wait
from asyncinfer.client._patience import Timing

AsyncTransport: TypeAlias = httpx.AsyncBaseTransport
Transport: TypeAlias = httpx.BaseTransport

MAX_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 4.0
"""How long an idle connection is kept: less than uvicorn's 5 s, so that no request meets its closing."""


class Options:
    """What both kinds of client tell httpx: no redirects, no environment, and the bounds of the pool."""

    def __init__(
        self, root: str, headers: Mapping[str, str], *, verify: ssl.SSLContext | bool, trust_env: bool, connections: int
    ) -> None:
        self.root: str = root
        self.verify: ssl.SSLContext | bool = verify
        self.trust_env: bool = trust_env
        self.headers: dict[str, str] = dict(headers)
        self.limits: httpx.Limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEP_ALIVE_SECONDS
        )


class AsyncConnections:
    """One pool of connections, and the flows that use it."""

    def __init__(self, options: Options, transport: AsyncTransport | None) -> None:
        self._root = options.root
        self._client = httpx.AsyncClient(
            headers=options.headers,
            verify=options.verify,
            trust_env=options.trust_env,
            limits=options.limits,
            transport=transport,
            follow_redirects=False,
        )

    def line(self, timing: Timing) -> AsyncLine:
        return AsyncLine(self._client, self._root, timing)

    async def close(self) -> None:
        await self._client.aclose()


class Connections:
    """One pool of connections, and the flows that use it."""

    def __init__(self, options: Options, transport: Transport | None) -> None:
        self._root = options.root
        self._client = httpx.Client(
            headers=options.headers,
            verify=options.verify,
            trust_env=options.trust_env,
            limits=options.limits,
            transport=transport,
            follow_redirects=False,
        )

    def line(self, timing: Timing) -> Line:
        return Line(self._client, self._root, timing)

    def close(self) -> None:
        self._client.close()


class AsyncLine:
    """Does the effects of one flow, which has at most one stream open."""

    def __init__(self, client: httpx.AsyncClient, root: str, timing: Timing) -> None:
        self._client = client
        self._root = root
        self._timing = timing
        self._stream: httpx.Response | None = None
        self._parts: AsyncIterator[bytes] | None = None

    async def do(self, effect: Effect) -> Answer | bytes | Failure | None:
        if isinstance(effect, Wait):
            await self.close()
            await self._timing.sleep_async(effect.seconds)
            return None
        try:
            if isinstance(effect, Send):
                return await self._send(effect)
            return await anext(self._parts, b"") if isinstance(effect, Read) and self._parts is not None else None
        except httpx.RequestError as exc:
            return _failure(exc)

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            parts, self._parts = self._parts, None
            if isinstance(parts, AsyncGenerator):  # else the loop's hook would close it, some time later
                await parts.aclose()
            await stream.aclose()

    async def _send(self, effect: Send) -> Answer:
        await self.close()
        request = self._client.build_request(**_arguments(self._root, effect))
        response = await self._client.send(request, stream=effect.is_stream)
        if effect.is_stream:
            if response.status_code == 200:
                self._stream, self._parts = response, response.aiter_bytes()
                return _answer(response, b"")
            try:
                await response.aread()
            finally:
                await response.aclose()
        return _answer(response, response.content)


class Line:
    """Does the effects of one flow, which has at most one stream open."""

    def __init__(self, client: httpx.Client, root: str, timing: Timing) -> None:
        self._client = client
        self._root = root
        self._timing = timing
        self._stream: httpx.Response | None = None
        self._parts: Iterator[bytes] = iter(())

    def do(self, effect: Effect) -> Answer | bytes | Failure | None:
        if isinstance(effect, Wait):
            self.close()
            self._timing.sleep(effect.seconds)
            return None
        try:
            if isinstance(effect, Send):
                return self._send(effect)
            return next(self._parts, b"") if isinstance(effect, Read) else None
        except httpx.RequestError as exc:
            return _failure(exc)

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _send(self, effect: Send) -> Answer:
        self.close()
        request = self._client.build_request(**_arguments(self._root, effect))
        response = self._client.send(request, stream=effect.is_stream)
        if effect.is_stream:
            if response.status_code == 200:
                self._stream, self._parts = response, response.iter_bytes()
                return _answer(response, b"")
            try:
                response.read()
            finally:
                response.close()
        return _answer(response, response.content)


def _arguments(root: str, effect: Send) -> dict[str, Any]:  # Any: what build_request takes
    request: Request = effect.request
    return {
        "method": request.method,
        "url": root + request.path,
        "params": list(request.query) or None,
        "headers": dict(request.headers),
        "content": request.body,
        "timeout": httpx.Timeout(connect=effect.connect, read=effect.silence, write=effect.silence, pool=effect.queue),
    }


def _answer(response: httpx.Response, body: bytes) -> Answer:
    return Answer(status=response.status_code, headers=dict(response.headers), body=body)


def _failure(exc: httpx.RequestError) -> Failure:
    """Put an error into words of our own: httpx's may show a header."""
    for kind, reason, is_sent in _REASONS:
        if isinstance(exc, kind):
            return Failure(reason=reason, is_sent=is_sent, cause=exc)
    return Failure(reason=f"the connection failed ({type(exc).__name__})", is_sent=True, cause=exc)


_REASONS: tuple[tuple[type[httpx.RequestError], str, bool], ...] = (
    (httpx.ConnectTimeout, "no connection in time", False),
    (httpx.PoolTimeout, "all connections of this client were busy (max_connections)", False),
    (httpx.ConnectError, "no connection", False),
    (httpx.ProxyError, "the proxy made no connection", False),
    (httpx.UnsupportedProtocol, "the address is of no known kind", False),
    (httpx.LocalProtocolError, "the request is no HTTP", False),
    (httpx.WriteTimeout, "the request could not be sent in time", True),
    (httpx.ReadTimeout, "nothing was heard in time", True),
    (httpx.DecodingError, "the answer could not be decompressed", True),
    (httpx.NetworkError, "the connection was lost before the answer was complete", True),
    (httpx.RemoteProtocolError, "the connection was lost before the answer was complete", True),
)
