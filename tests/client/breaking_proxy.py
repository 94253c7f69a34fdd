"""A TCP proxy that passes every request on, and breaks a connection after so many bytes of answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self


class BreakingProxy:
    """Breaks the first connections after `cuts` bytes each, then none; a broken one is reset, not closed."""

    def __init__(self, target: int, cuts: Iterable[int]) -> None:
        self._target = target
        self._cuts = list(cuts)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._cuts[self.connections] if self.connections < len(self._cuts) else None
        self.connections += 1
        service_reader, service_writer = await asyncio.open_connection("127.0.0.1", self._target)
        asking = asyncio.create_task(_pass_on(reader, service_writer))
        try:
            while data := await service_reader.read(64 * 1024):
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    await writer.drain()
                    break
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # the client has gone
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            service_writer.transport.abort()
            if left is None:
                writer.close()
            else:
                writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
