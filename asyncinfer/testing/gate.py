"""Where a model's code waits until its test lets it go on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter, defaultdict
from types import TracebackType


class Gate:
    """A door that code enters by name and that the test opens by name.

    It is a socket, so the code may run on the test's own loop, in a thread or in another process, and the test knows,
    without a poll, who has entered and who has left or died.
    """

    def __init__(self) -> None:
        self.address: str = ""
        """What the code hands to `wait_at` or `wait_at_async`."""
        self.visits: Counter[str] = Counter()
        """How often code of each name has entered."""
        self._inside: defaultdict[str, list[asyncio.StreamWriter]] = defaultdict(list)
        self._open: set[str] = set()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_server(self._receive, "127.0.0.1", 0)
        self.address = str(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let everybody out, and return when they have left."""
        for name in list(self._inside):
            self.open(name)
            await self.left(name)
        self._server.close()
        await self._server.wait_closed()

    async def entered(self, name: str) -> None:
        """Return once code of that name is inside."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.is_inside(name))

    async def left(self, name: str) -> None:
        """Return once no code of that name is inside."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.is_inside(name))

    def is_inside(self, name: str) -> bool:
        return bool(self._inside[name])

    def open(self, name: str) -> None:
        """Let the codes of that name go on, now and later."""
        self._open.add(name)
        for writer in self._inside[name]:
            writer.write(b"\n")

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        self._inside[name].append(writer)
        self.visits[name] += 1
        if name in self._open:
            writer.write(b"\n")
        await self._tell()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        self._inside[name].remove(writer)
        writer.close()
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def wait_at(address: str, name: str) -> None:
    """Enter the gate and return when it is opened."""
    with socket.create_connection(("127.0.0.1", int(address))) as door:
        door.sendall(f"{name}\n".encode())
        door.recv(1)


async def wait_at_async(address: str, name: str) -> None:
    """Enter the gate and return when it is opened; canceled, leave it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address))
    try:
        writer.write(f"{name}\n".encode())
        await reader.read(1)
    finally:
        writer.close()
