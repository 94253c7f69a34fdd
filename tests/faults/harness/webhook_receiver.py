"""A receiver on a loopback socket that does to a request whatever its test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Request:
    """One request as it came, and the connection to answer on."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode().split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}

    async def send(self, data: bytes) -> None:
        """Send it, and let the others have a turn: `drain` alone hears nothing of a TLS connection that is cut."""
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)
        if self.writer.is_closing():
            raise ConnectionResetError

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


Behaviour = Callable[[Request], Awaitable[object]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Receiver:
    """A receiver that listens. It answers requests of one connection after another until it has ended it."""

    behave: Behaviour
    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list[Request])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(OSError, EOFError, ssl.SSLError):
                while not writer.is_closing():
                    request = await read_request(reader, writer)
                    self.requests.append(request)
                    await self.behave(request)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    request = Request(await reader.readuntil(b"\r\n\r\n"), b"", reader, writer)
    request.body = await reader.readexactly(int(request.headers.get("content-length", "0")))
    return request


async def answer_ok(request: Request) -> None:
    await request.send(OK)


def answering(data: bytes) -> Behaviour:
    """Answer these bytes, and end the connection."""

    async def behave(request: Request) -> None:
        await request.send(data)
        request.writer.close()

    return behave


@asynccontextmanager
async def receiving(behave: Behaviour = answer_ok, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Receiver]:
    """Listen with this behaviour; whatever connection is still open at the end is cut."""
    receiver = Receiver(behave)
    running: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(receiver.serve(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for request in receiver.requests:
            request.cut()
        await asyncio.sleep(0)  # in which the loop hears of the cuts
