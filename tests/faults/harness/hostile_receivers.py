"""Receivers of webhooks that mean ill: each path of one site is another way to do so.

They run in a process of their own: what the sender's holds is measured there, so none of this may count.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.faults.harness.webhook_receiver import Behaviour, Request, answering, receiving

PIECE = bytes(64 * 1024)
TEN_GB = 10_000_000_000
DRIP_SECONDS = 0.02
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(50_000_000))


class Ports(Struct, frozen=True, kw_only=True):
    """Where the receivers listen."""

    plain: int
    tls: int
    wrong_name: int
    self_signed: int
    expired: int
    wants_certificate: int
    silent_handshake: int
    dripping_handshake: int
    broken_handshake: int
    endless_handshake: int


class Certificates(Struct, frozen=True, kw_only=True):
    """Certificates with their keys, PEM, for a process that has to be handed them."""

    right: bytes
    wrong_name: bytes
    self_signed: bytes
    expired: bytes


async def never(request: Request) -> None:
    await asyncio.Event().wait()


def pouring(head: bytes, piece: bytes) -> Behaviour:
    """Answer a head, then the same piece for ever, as fast as it is taken."""

    async def behave(request: Request) -> None:
        await request.send(head)
        while True:
            await request.send(piece)

    return behave


def dripping(head: bytes, piece: bytes) -> Behaviour:
    """Answer a head, then the same piece for ever, slowly: a limit on each read would never be reached."""

    async def behave(request: Request) -> None:
        await request.send(head)
        while True:
            await asyncio.sleep(DRIP_SECONDS)
            await request.send(piece)

    return behave


async def resetting(request: Request) -> None:
    request.cut()


async def resetting_in_the_body(request: Request) -> None:
    await request.send(HEAD + b"Content-Length: 10\r\n\r\nok")
    request.cut()


async def redirecting_to_itself(request: Request) -> None:
    location = f"https://{request.headers['host']}{request.path}".encode()
    await request.send(b"HTTP/1.1 307 Again\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")


async def answering_twice(request: Request) -> None:
    await request.send(2 * (HEAD + b"Content-Length: 2\r\n\r\nok"))


BEHAVIOURS: Mapping[str, Behaviour] = {
    "redirect": answering(b"HTTP/1.1 302 There\r\nLocation: https://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
    "redirect-to-itself": redirecting_to_itself,
    "huge-body": pouring(HEAD + b"Content-Length: %d\r\n\r\n" % TEN_GB, PIECE),
    "huge-body-without-length": pouring(HEAD + b"\r\n", PIECE),
    "huge-body-in-chunks": pouring(CHUNKED, b"10000\r\n" + PIECE + b"\r\n"),
    "huge-body-in-tiny-chunks": pouring(CHUNKED, b"1\r\nx\r\n" * 1_000),
    "huge-body-of-an-error": pouring(b"HTTP/1.1 500 No\r\n\r\n", PIECE),
    "huge-chunk-extension": pouring(CHUNKED + b"1;", PIECE.replace(b"\0", b"x")),
    "huge-trailers": pouring(CHUNKED + b"0\r\n", b"X-Trailer: yes\r\n" * 1_000),
    "gzip-bomb": answering(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
    "endless-status-line": pouring(b"HTTP/1.1 200 ", PIECE.replace(b"\0", b"O")),
    "endless-header": pouring(HEAD + b"X-Endless: ", PIECE.replace(b"\0", b"x")),
    "endless-headers": pouring(HEAD, b"X-Endless: yes\r\n" * 1_000),
    "endless-1xx": pouring(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" * 1_000),
    "endless-blank-lines": pouring(b"", b"\r\n" * 1_000),
    "endless-zeros": pouring(b"", PIECE),
    "drip-body": dripping(HEAD + b"Content-Length: %d\r\n\r\n" % TEN_GB, b"x"),
    "drip-chunks": dripping(CHUNKED, b"1\r\nx\r\n"),
    "drip-headers": dripping(HEAD, b"X: y\r\n"),
    "drip-header": dripping(HEAD + b"X: ", b"y"),
    "drip-status-line": dripping(b"HTTP/1.1 200 ", b"O"),
    "drip-1xx": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence": never,
    "silence-after-1xx": dripping(b"HTTP/1.1 102 Processing\r\n\r\n", b""),
    "garbage": answering(bytes(range(256)) * 8),
    "another-protocol": answering(b"220 mail.example.com ESMTP\r\n\r\n"),
    "wrong-lengths": answering(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    "negative-length": answering(HEAD + b"Content-Length: -1\r\n\r\n"),
    "length-and-chunks": answering(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"zz\r\n"),
    "wrong-chunk": answering(CHUNKED + b"-1\r\nx\r\n"),
    "wrong-status": answering(b"HTTP/1.1 20 OK\r\n\r\n"),
    "wrong-version": answering(b"HTTP/9.9 200 OK\r\n\r\n"),
    "nul-in-a-header": answering(HEAD + b"X: \0\r\n\r\n"),
    "switching-protocols": answering(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
    "early-close": answering(b""),
    "early-close-in-the-head": answering(b"HTTP/1.1 200 OK\r\nContent-"),
    "early-close-in-the-body": answering(HEAD + b"Content-Length: 10\r\n\r\nok"),
    "reset": resetting,
    "reset-in-the-body": resetting_in_the_body,
    "two-answers": answering_twice,
    "wrong-retry-after": answering(b"HTTP/1.1 429 Slow\r\nRetry-After: " + b"9" * 5_000 + b"\r\n\r\n"),
}  # fmt: skip


async def serve(folder: Path, certificates: Certificates) -> None:
    """Listen, write the ports to `folder`, and go on until killed. `requests` there gets each path that came."""
    async with AsyncExitStack() as stack:
        ports = await _listen(stack, folder, certificates)
        _write(folder / "ports", msgspec.json.encode(ports))
        await asyncio.Event().wait()


async def _listen(stack: AsyncExitStack, folder: Path, certificates: Certificates) -> Ports:
    async def behave(request: Request) -> None:
        with (folder / "requests").open("a") as file:
            file.write(request.path + "\n")
        await BEHAVIOURS[request.path[1:]](request)

    async def port(tls: ssl.SSLContext | None = None) -> int:
        return (await stack.enter_async_context(receiving(behave, tls))).port

    picky = _context(folder, certificates.right)
    picky.verify_mode = ssl.CERT_REQUIRED
    return Ports(
        plain=await port(),
        tls=await port(_context(folder, certificates.right)),
        wrong_name=await port(_context(folder, certificates.wrong_name)),
        self_signed=await port(_context(folder, certificates.self_signed)),
        expired=await port(_context(folder, certificates.expired)),
        wants_certificate=await port(picky),
        silent_handshake=await stack.enter_async_context(_raw(b"", 0)),
        dripping_handshake=await stack.enter_async_context(_raw(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", 1)),
        broken_handshake=await stack.enter_async_context(_raw(b"HTTP/1.1 400 Plain HTTP\r\n\r\n", 64)),
        endless_handshake=await stack.enter_async_context(_raw(b"\x14\x03\x03\x00\x01\x01" * 1_000, 64_000)),
    )


def _context(folder: Path, pem: bytes) -> ssl.SSLContext:
    path = folder / "pem"
    path.write_bytes(pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


@asynccontextmanager
async def _raw(data: bytes, at_once: int) -> AsyncGenerator[int]:
    """Say these bytes over and over instead of a TLS handshake; one by one they come slowly."""

    alive: list[asyncio.StreamWriter] = []  # a transport that does not read is referred to by nobody else

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive.append(writer)
        try:
            while at_once:
                for start in range(0, len(data), at_once):
                    writer.write(data[start : start + at_once])
                    await writer.drain()
                    await asyncio.sleep(DRIP_SECONDS if at_once == 1 else 0)
            await asyncio.Event().wait()
        except OSError:
            writer.transport.abort()

    async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.rename(path)
