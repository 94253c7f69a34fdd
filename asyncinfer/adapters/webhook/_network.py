"""The sockets of webhooks: to the addresses that were just checked, and with no more of an answer than we asked for.

httpcore knows the host by its name, so SNI, `Host` and the certificate check stay with the name, whatever the address.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout, ReadError

from asyncinfer.adapters.webhook._addresses import Address

ANSWER_BYTES = 64 * 1024
"""Of a whole answer: what comes before it, its head, its body."""
READ_BYTES = 4 * 1024
"""At a time: parsing 64 KiB of one-byte chunks holds the loop for 0.3 s, so others have their turn in between."""
TRIED_ADDRESSES = 3
"""Of a host that has more."""


class TlsFailed(ConnectError):
    """No TLS connection came about, or it broke: a certificate, a protocol, an end in the middle."""

    def __init__(self, cause: BaseException) -> None:
        """Take what happened; httpcore's own errors hold it as their argument."""
        reason = cause.args[0] if isinstance(cause, ConnectError) and cause.args else cause
        if isinstance(reason, ssl.SSLCertVerificationError):
            self.detail = f"certificate: {reason.verify_message}"
        elif isinstance(reason, ssl.SSLError):
            self.detail = f"TLS: {reason.reason}"
        else:
            self.detail = "the connection broke in the TLS handshake"
        super().__init__(self.detail)


class AnswerTooLong(ReadError):
    """The answer is longer than we read."""


class CheckedNetwork(AsyncNetworkBackend):
    """Connects to `addresses` in their order, and asks nobody where a host is.

    Without addresses it connects to the host by its name: only ever to an egress proxy.
    """

    def __init__(
        self, inner: AsyncNetworkBackend, addresses: Sequence[Address], *, connect_seconds: float, answer_bytes: int
    ) -> None:
        self._inner = inner
        self.addresses = addresses
        self._connect_seconds = connect_seconds
        self._answer_bytes = answer_bytes

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect within `connect_seconds` in all; each address may take its share of what is left."""
        connect_by = time.monotonic() + self._connect_seconds
        places = [str(address) for address in self.addresses[:TRIED_ADDRESSES]] or [host]
        failure: ConnectError | ConnectTimeout | None = None
        for left, place in zip(range(len(places), 0, -1), places, strict=True):
            share = max(0.0, connect_by - time.monotonic()) / left
            try:
                stream = await self._inner.connect_tcp(place, port, share, local_address, socket_options)
            except (ConnectError, ConnectTimeout) as error:
                failure = error
            else:
                return _AnswerStream(stream, connect_by, self._answer_bytes)
        raise failure or ConnectError("no address")


class _AnswerStream(AsyncNetworkStream):
    """Ends after `answer_bytes` between two writes, which HTTP/1.1 makes for each request anew."""

    def __init__(self, inner: AsyncNetworkStream, connect_by: float, answer_bytes: int) -> None:
        self._inner = inner
        self._connect_by = connect_by
        self._answer_bytes = answer_bytes
        self._left = answer_bytes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise AnswerTooLong(f"more than {self._answer_bytes} bytes")
        if self._left < self._answer_bytes:  # there was a piece before
            await asyncio.sleep(0)  # what TLS has decrypted already comes without a wait
        try:
            data = await self._inner.read(min(max_bytes, READ_BYTES, self._left), timeout)
        except ssl.SSLError as error:  # with TLS 1.3 a refused handshake shows only here
            raise TlsFailed(error) from error
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._left = self._answer_bytes
        try:
            await self._inner.write(buffer, timeout)
        except ssl.SSLError as error:
            raise TlsFailed(error) from error

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncNetworkStream:
        """Shake hands in what is left of the time to connect."""
        try:
            seconds = max(0.0, self._connect_by - time.monotonic())
            stream = await self._inner.start_tls(ssl_context, server_hostname, seconds)
        except BaseException as error:
            with anyio.CancelScope(shield=True):  # closing waits for nothing; httpcore forgets a canceled handshake
                await self._inner.aclose()
            if isinstance(error, (ConnectError, ssl.SSLError)):
                raise TlsFailed(error) from error
            raise
        return _AnswerStream(stream, self._connect_by, self._answer_bytes)

    def get_extra_info(self, info: str) -> Any:  # Any: httpcore's own
        return self._inner.get_extra_info(info)
