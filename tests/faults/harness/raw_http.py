"""An HTTP/1.1 client of a few lines: it shares no code with what it tests, and it can cut a connection anywhere."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

PROBLEM_PREFIX = "urn:asyncinfer:problem:"


class Answer(Struct, frozen=True):
    """What came back. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    seconds: float = 0.0

    def json(self) -> Any:  # Any: whatever was sent
        return msgspec.json.decode(self.body)

    @property
    def problem(self) -> str:
        """The problem's name, as `queue-full`; empty for an answer that is none."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        return str(self.json()["type"]).removeprefix(PROBLEM_PREFIX)

    @property
    def retry_after(self) -> int | None:
        """Whole seconds, as clients parse it, or None."""
        given = self.headers.get("retry-after", "")
        return int(given) if given.isascii() and given.isdigit() else None


class Message(Struct, frozen=True):
    """One message of an event stream."""

    event: str
    data: bytes
    id: int | None

    def json(self) -> Any:  # Any: whatever was sent
        return msgspec.json.decode(self.data)


class Connection:
    """One connection to a server on loopback."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, *, receive_buffer: int | None = None) -> Connection:
        """Connect; `receive_buffer` is what the kernel may hold of what is not read, in bytes."""
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        line.setblocking(False)
        if receive_buffer is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", port))
        except BaseException:
            line.close()
            raise
        return cls(*await asyncio.open_connection(sock=line))

    def stop_reading(self) -> None:
        """Read nothing any more: what comes fills the kernel's buffers."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> None:
        """Send a whole request; a body is JSON."""
        lines = [f"{method} {path} HTTP/1.1", "host: loopback"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        await self._writer.drain()

    async def head(self) -> Answer:
        """Read the status line and the headers. Raise ConnectionError when none come."""
        try:
            text = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the server closed the connection") from error
        status, *lines = text.decode("latin-1").split("\r\n")[:-2]
        pairs = (line.partition(":") for line in lines)
        return Answer(int(status.split()[1]), {name.lower(): value.strip() for name, _, value in pairs})

    async def answer(self) -> Answer:
        """Read a whole answer."""
        began = time.monotonic()
        head = await self.head()
        if head.headers.get("transfer-encoding") == "chunked":
            body = b"".join([piece async for piece in self.pieces()])
        else:
            body = await self._reader.readexactly(int(head.headers.get("content-length", "0")))
        return Answer(head.status, head.headers, body, time.monotonic() - began)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the chunks of a body until its end. Raise IncompleteReadError when it is cut before."""
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            piece = await self._reader.readexactly(size + 2)
            if size == 0:
                return
            yield piece[:-2]

    async def cut(self) -> None:
        """Close it at once; what was not read is dropped, and the server hears of a reset."""
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()


class MessageParser:
    """Feed it a stream cut anywhere, get the messages that are whole; what is left at a cut is none."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[Message]:
        """Return the messages that end in `piece`."""
        *whole, self._rest = (self._rest + piece).split(b"\n\n")
        return [message for text in whole if (message := _message(text)) is not None]


async def fetch(
    port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """Ask once, on a connection of its own."""
    began = time.monotonic()
    connection = await Connection.open(port)
    try:
        await connection.send(method, path, headers=headers, body=body)
        answer = await connection.answer()
    finally:
        await connection.cut()
    return msgspec.structs.replace(answer, seconds=time.monotonic() - began)


def _message(text: bytes) -> Message | None:
    """Return a message, or None for one without data: a comment, or a `retry`."""
    fields = dict(line.split(b": ", 1) for line in text.split(b"\n") if b": " in line)
    data = fields.get(b"data")
    if data is None:
        return None
    number = fields.get(b"id")
    return Message(fields.get(b"event", b"message").decode(), data, None if number is None else int(number))
